/* Activation functions over rows of channels, in place, and their derivatives by the outputs. */
#include "kernels/local.h"
#include <math.h>

/* Math in the width of real, so that the double build is double throughout. */
#ifdef FV_DOUBLE
#define FV_EXP exp
#define FV_TANH_OF tanh
#else
#define FV_EXP expf
#define FV_TANH_OF tanhf
#endif

static void relu(size_t count, real *y) {
    size_t i = 0;
    for (; i + VL <= count; i += VL)
        store(y + i, rectify(load(y + i)));
    for (; i < count; i++)
        y[i] = y[i] <= 0 ? 0 : y[i];
}

/* exp of the difference to the row's largest: no overflow, and at least one term is 1. */
static void softmax_row(int channels, real *y) {
    real largest = y[0], sum = 0;
    for (int c = 1; c < channels; c++)
        largest = y[c] > largest ? y[c] : largest;
    for (int c = 0; c < channels; c++)
        sum += y[c] = FV_EXP(y[c] - largest);
    for (int c = 0; c < channels; c++)
        y[c] /= sum;
}

void FV_LOCAL(activate)(fv_activation kind, real constant, size_t rows, int channels, real *y) {
    size_t count = rows * (size_t)channels;
    (void)constant;
    switch (kind) {
    case FV_LINEAR:
        break;
    case FV_RELU:
        relu(count, y);
        break;
    case FV_SIGMOID:
        for (size_t i = 0; i < count; i++)
            y[i] = 1 / (1 + FV_EXP(-y[i]));
        break;
    case FV_TANH:
        for (size_t i = 0; i < count; i++)
            y[i] = FV_TANH_OF(y[i]);
        break;
    case FV_SOFTMAX:
        for (size_t r = 0; r < rows; r++)
            softmax_row(channels, y + r * (size_t)channels);
        break;
    default:
        break;
    }
}

/* dx_c = y_c (dy_c - sum_k dy_k y_k) */
static void softmax_back_row(int channels, const real *y, real *gradient) {
    real sum = 0;
    for (int c = 0; c < channels; c++)
        sum += gradient[c] * y[c];
    for (int c = 0; c < channels; c++)
        gradient[c] = y[c] * (gradient[c] - sum);
}

void FV_LOCAL(activate_back)(fv_activation kind, real constant, size_t rows, int channels,
                             const real *y, real *gradient) {
    size_t count = rows * (size_t)channels;
    (void)constant;
    switch (kind) {
    case FV_LINEAR:
        break;
    case FV_RELU:
        for (size_t i = 0; i < count; i++)
            gradient[i] = y[i] > 0 ? gradient[i] : 0;
        break;
    case FV_SIGMOID:
        for (size_t i = 0; i < count; i++)
            gradient[i] *= y[i] * (1 - y[i]);
        break;
    case FV_TANH:
        for (size_t i = 0; i < count; i++)
            gradient[i] *= 1 - y[i] * y[i];
        break;
    case FV_SOFTMAX:
        for (size_t r = 0; r < rows; r++)
            softmax_back_row(channels, y + r * (size_t)channels, gradient + r * (size_t)channels);
        break;
    default:
        break;
    }
}
