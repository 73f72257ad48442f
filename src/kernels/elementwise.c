/* Plain loops over arrays: conversion, scaling, sums. */
#include "kernels/local.h"

void FV_LOCAL(bytes_to_real)(size_t count, const uint8_t *bytes, real *y) {
    for (size_t i = 0; i < count; i++)
        y[i] = (real)bytes[i];
}

void FV_LOCAL(scale)(size_t count, real factor, real *y) {
    for (size_t i = 0; i < count; i++)
        y[i] *= factor;
}

void FV_LOCAL(add)(size_t count, const real *x, real *y) {
    for (size_t i = 0; i < count; i++)
        y[i] += x[i];
}

/* Bias gradients: the sum over rows, a few vectors of channels at a time so that they stay in
 * registers; rows are added in order. */
void FV_LOCAL(add_rows)(size_t rows, int channels, ptrdiff_t row, const real *x, real *sum) {
    int c = 0;
    for (; c + PANEL <= channels; c += PANEL) {
        vec s0 = load(sum + c), s1 = load(sum + c + VL);
        const real *p = x + c;
        for (size_t r = 0; r < rows; r++, p += row) {
            s0 += load(p);
            s1 += load(p + VL);
        }
        store(sum + c, s0);
        store(sum + c + VL, s1);
    }
    for (; c < channels; c++) {
        real s = sum[c];
        for (size_t r = 0; r < rows; r++)
            s += x[(ptrdiff_t)r * row + c];
        sum[c] = s;
    }
}

/* Neighbours are added in pairs, then pairs of pairs: the order depends on `units` alone. Blocks
 * keep the first levels of the tree in the cache. */
void FV_LOCAL(tree_sum)(size_t count, int units, size_t stride, real *parts, real *sums) {
    enum { BLOCK = 512 }; /* speed only */
    for (size_t i = 0; i < count; i += BLOCK) {
        size_t n = count - i < BLOCK ? count - i : BLOCK;
        for (int step = 1; step < units; step *= 2)
            for (int u = 0; u + step < units; u += 2 * step)
                FV_LOCAL(add)
        (n, parts + (size_t)(u + step) * stride + i, parts + (size_t)u * stride + i);
        if (sums != parts)
            memcpy(sums + i, parts + i, n * sizeof(real));
    }
}

/* x - x is 0 for finite numbers, NaN for infinities and NaN. */
bool FV_LOCAL(all_finite)(size_t count, const real *x) {
    bool finite = true;
    for (size_t i = 0; i < count; i++)
        finite &= x[i] - x[i] == 0;
    return finite;
}
