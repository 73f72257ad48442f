/* Normalisation of channels over rows (batch, group and instance norm), of rows over channels
 * (layer and RMS norm, L2) and by neighbouring channels (LRN). Sums are in double and of
 * differences to a value of the data, so that data far from 0 lose nothing. Called by the layers of
 * these names.
 */
#include "kernels/local.h"
#include "kernels/vecmath.h"

/* As many doubles as fill a vector, and as many reals. */
enum { DL = FV_VEC_BYTES / sizeof(double) };
typedef double dvec __attribute__((vector_size(FV_VEC_BYTES), aligned(sizeof(double)), may_alias));
typedef real half_vec
    __attribute__((vector_size(DL * sizeof(real)), aligned(sizeof(real)), may_alias));

FV_INLINE dvec load_wide(const real *p) {
    return __builtin_convertvector(*(const half_vec *)p, dvec);
}

FV_INLINE double add_lanes(dvec v) {
    double sum = v[0];
    for (int i = 1; i < DL; i++)
        sum += v[i];
    return sum;
}

/* ---- Channels over rows ------------------------------------------------------------------------
 */

/* See fv_kernels.channel_sums; of `vectors` x DL channels, which stay in registers. */
FV_INLINE void sum_block(size_t rows, int channels, const real *x, const real *shift,
                         const real *dy, const int vectors, double *sums) {
    dvec sum[2] = {{0}}, product[2] = {{0}}, from[2];
    for (int v = 0; v < vectors; v++)
        from[v] = load_wide(shift + v * DL);
    for (size_t r = 0; r < rows; r++) {
        size_t at = r * (size_t)channels;
        FV_UNROLL
        for (int v = 0; v < vectors; v++) {
            dvec difference = load_wide(x + at + v * DL) - from[v];
            dvec value = dy ? load_wide(dy + at + v * DL) : difference;
            sum[v] += value;
            product[v] += value * difference;
        }
    }
    for (int v = 0; v < vectors; v++) {
        *(dvec *)(sums + v * DL) = sum[v];
        *(dvec *)(sums + channels + v * DL) = product[v];
    }
}

static void sum_channel(size_t rows, int channels, const real *x, const real *shift, const real *dy,
                        double *sums) {
    double sum = 0, product = 0;
    for (size_t r = 0; r < rows; r++) {
        size_t at = r * (size_t)channels;
        double difference = (double)x[at] - (double)*shift;
        double value = dy ? (double)dy[at] : difference;
        sum += value;
        product += value * difference;
    }
    sums[0] = sum;
    sums[channels] = product;
}

static void sum_channels(size_t rows, int channels, const real *x, const real *shift,
                         const real *dy, double *sums) {
    int c = 0;
    for (; c + 2 * DL <= channels; c += 2 * DL)
        sum_block(rows, channels, x + c, shift + c, dy ? dy + c : NULL, 2, sums + c);
    for (; c + DL <= channels; c += DL)
        sum_block(rows, channels, x + c, shift + c, dy ? dy + c : NULL, 1, sums + c);
    for (; c < channels; c++)
        sum_channel(rows, channels, x + c, shift + c, dy ? dy + c : NULL, sums + c);
}

/* Few channels: VL rows are taken as one, so that vectors are full. */
enum { FEW = 2 * VL, MOST_FOLDED = VL * FEW }; /* speed only */

static void repeat(int channels, const real *once, real *folded) {
    for (int i = 0; i < VL; i++)
        memcpy(folded + i * channels, once, (size_t)channels * sizeof(real));
}

static void sum_few_channels(size_t rows, int channels, const real *x, const real *shift,
                             const real *dy, double *sums) {
    real folded_shift[MOST_FOLDED];
    double folded[2 * MOST_FOLDED];
    int width = VL * channels;
    size_t rest = rows % VL, done = (rows - rest) * (size_t)channels;
    repeat(channels, shift, folded_shift);
    sum_channels(rows / VL, width, x, folded_shift, dy, folded);
    sum_channels(rest, channels, x + done, shift, dy ? dy + done : NULL, sums);
    for (int i = 0; i < VL; i++)
        for (int c = 0; c < channels; c++) {
            sums[c] += folded[i * channels + c];
            sums[channels + c] += folded[width + i * channels + c];
        }
}

void FV_LOCAL(channel_sums)(size_t rows, int channels, const real *x, const real *shift,
                            const real *dy, double *sums) {
    if (channels < FEW && rows >= VL)
        sum_few_channels(rows, channels, x, shift, dy, sums);
    else
        sum_channels(rows, channels, x, shift, dy, sums);
}

static void affine_rows(size_t rows, int channels, const real *restrict x,
                        const real *restrict mean, const real *restrict factor,
                        const real *restrict offset, real *restrict y) {
    for (size_t r = 0; r < rows; r++, x += channels, y += channels)
        if (mean)
            for (int c = 0; c < channels; c++)
                y[c] = (x[c] - mean[c]) * factor[c] + offset[c];
        else
            for (int c = 0; c < channels; c++)
                y[c] = x[c] * factor[c];
}

void FV_LOCAL(affine)(size_t rows, int channels, const real *x, const real *mean,
                      const real *factor, const real *offset, real *y) {
    real folded[3][MOST_FOLDED];
    size_t rest = rows;
    if (channels < FEW && rows >= 2 * VL) {
        rest = rows % VL;
        repeat(channels, factor, folded[0]);
        if (mean) {
            repeat(channels, mean, folded[1]);
            repeat(channels, offset, folded[2]);
        }
        affine_rows(rows / VL, VL * channels, x, mean ? folded[1] : NULL, folded[0], folded[2], y);
    }
    size_t done = (rows - rest) * (size_t)channels;
    affine_rows(rest, channels, x + done, mean, factor, offset, y + done);
}

static void affine_back_rows(size_t rows, int channels, const real *restrict x,
                             const real *restrict mean, const real *restrict dy,
                             const fv_affine_back *restrict by, real *restrict dx) {
    const real *restrict factor = by->factor, *restrict slope = by->slope,
                         *restrict offset = by->offset;
    for (size_t r = 0; r < rows; r++, x += channels, dy += channels, dx += channels)
        for (int c = 0; c < channels; c++)
            dx[c] = dy[c] * factor[c] - (x[c] - mean[c]) * slope[c] - offset[c];
}

void FV_LOCAL(affine_back)(size_t rows, int channels, const real *x, const real *mean,
                           const real *dy, const fv_affine_back *by, real *dx) {
    real folded[4][MOST_FOLDED];
    size_t rest = rows;
    if (channels < FEW && rows >= 2 * VL) {
        rest = rows % VL;
        repeat(channels, mean, folded[0]);
        repeat(channels, by->factor, folded[1]);
        repeat(channels, by->slope, folded[2]);
        repeat(channels, by->offset, folded[3]);
        affine_back_rows(rows / VL, VL * channels, x, folded[0], dy,
                         &(fv_affine_back){folded[1], folded[2], folded[3]}, dx);
    }
    size_t done = (rows - rest) * (size_t)channels;
    affine_back_rows(rest, channels, x + done, mean, dy + done, by, dx + done);
}

/* ---- Rows over channels ------------------------------------------------------------------------
 */

/* *sum = sum of x - shift, *square of its square. */
static void row_moments(size_t length, const real *x, double shift, double *sum, double *square) {
    dvec sums = {0}, squares = {0};
    size_t i = 0;
    for (; i + DL <= length; i += DL) {
        dvec difference = load_wide(x + i) - shift;
        sums += difference;
        squares += difference * difference;
    }
    *sum = add_lanes(sums);
    *square = add_lanes(squares);
    for (; i < length; i++) {
        double difference = (double)x[i] - shift;
        *sum += difference;
        *square += difference * difference;
    }
}

void FV_LOCAL(norm_rows)(const fv_row_norm *norm, size_t rows, const real *x, real *notes,
                         real *y) {
    const real *scale = norm->scale, *bias = norm->bias;
    size_t length = norm->length;
    double divisor = norm->unit_length ? 1 : (double)length;
    for (size_t r = 0; r < rows; r++, x += length, y += length) {
        double shift = norm->center ? (double)x[0] : 0, sum, square;
        row_moments(length, x, shift, &sum, &square);
        double lift = norm->center ? sum / divisor : 0;
        double variance = square / divisor - lift * lift;
        variance = variance < 0 ? 0 : variance;
        variance = !norm->unit_length         ? variance + norm->epsilon
                   : variance < norm->epsilon ? norm->epsilon
                                              : variance;
        real mean = (real)(shift + lift), inverse = (real)(1 / sqrt(variance));
        for (size_t i = 0; i < length; i++)
            y[i] = (x[i] - mean) * inverse;
        for (size_t i = 0; i < length && scale; i++)
            y[i] *= scale[i];
        for (size_t i = 0; i < length && bias; i++)
            y[i] += bias[i];
        if (notes) {
            notes[2 * r] = mean;
            notes[2 * r + 1] = inverse;
        }
    }
}

/* *sum = sum of dy scale, *product of dy scale (x - mean). */
static void row_sums(size_t length, const real *x, double mean, const real *scale, const real *dy,
                     double *sum, double *product) {
    dvec sums = {0}, products = {0};
    size_t i = 0;
    for (; i + DL <= length; i += DL) {
        dvec g = load_wide(dy + i);
        if (scale)
            g *= load_wide(scale + i);
        sums += g;
        products += g * (load_wide(x + i) - mean);
    }
    *sum = add_lanes(sums);
    *product = add_lanes(products);
    for (; i < length; i++) {
        double g = (double)dy[i] * (scale ? (double)scale[i] : 1);
        *sum += g;
        *product += g * ((double)x[i] - mean);
    }
}

/* dx = inverse (g - mean of g - (x - mean) inverse^2 mean of g (x - mean)), g = dy scale. */
static void row_back(const fv_row_norm *norm, const real *x, const real note[2], const real *dy,
                     real *dx) {
    const real mean = note[0], inverse = note[1], *scale = norm->scale;
    double divisor = norm->unit_length ? 1 : (double)norm->length, sum, product;
    row_sums(norm->length, x, (double)mean, scale, dy, &sum, &product);
    /* Below epsilon the length that divides is no function of x. */
    bool constant = norm->unit_length && inverse >= (real)(1 / sqrt(norm->epsilon));
    real lift = norm->center ? (real)(sum / divisor) : 0;
    real slope = constant ? 0 : (real)(product / divisor * (double)inverse * (double)inverse);
    for (size_t i = 0; i < norm->length; i++)
        dx[i] = scale ? dy[i] * scale[i] : dy[i];
    for (size_t i = 0; i < norm->length; i++)
        dx[i] = inverse * (dx[i] - lift - (x[i] - mean) * slope);
}

void FV_LOCAL(norm_rows_back)(const fv_row_norm *norm, size_t rows, const real *x,
                              const real *notes, const real *dy, real *dx, real *dscale,
                              real *dbias) {
    size_t length = norm->length;
    for (size_t r = 0; r < rows; r++, x += length, dy += length, notes += 2) {
        if (dx)
            row_back(norm, x, notes, dy, dx + r * length);
        for (size_t i = 0; i < length && dscale; i++)
            dscale[i] += dy[i] * ((x[i] - notes[0]) * notes[1]);
        for (size_t i = 0; i < length && dbias; i++)
            dbias[i] += dy[i];
    }
}

/* ---- By neighbouring channels ------------------------------------------------------------------
 */

/* p = s^-beta: by roots where beta is a number of quarters, as it mostly is. */
static void inverse_power(int count, const real *restrict s, real beta, real *restrict p) {
    int quarters = beta <= 2 ? (int)(4 * beta) : 0;
    if (quarters == 0 || (real)quarters != 4 * beta) {
        for (int c = 0; c < count; c++)
            p[c] = FV_POW(s[c], -beta);
        return;
    }
    for (int c = 0; c < count; c++)
        p[c] = quarters % 2 ? FV_SQRT(FV_SQRT(s[c])) : 1;
    for (int c = 0; c < count && quarters & 2; c++)
        p[c] *= FV_SQRT(s[c]);
    for (int i = 4; i <= quarters; i += 4)
        for (int c = 0; c < count; c++)
            p[c] *= s[c];
    for (int c = 0; c < count; c++)
        p[c] = 1 / p[c];
}

/* sum(c) = the sum of `size` values of `padded` from c on. */
static void window_sums(int count, int size, const real *restrict padded, real *restrict sum) {
    memcpy(sum, padded, (size_t)count * sizeof(real));
    for (int i = 1; i < size; i++)
        for (int c = 0; c < count; c++)
            sum[c] += padded[i + c];
}

/* s = k + alpha x the squares' sum over the window, and p = s^-beta. `scratch`: channels + size - 1
 * values of 0 but for the middle. */
static void lrn_scales(const fv_lrn_window *l, const real *x, real *padded, real *s, real *p) {
    for (int c = 0; c < l->channels; c++)
        padded[l->before + c] = x[c] * x[c];
    window_sums(l->channels, l->before + 1 + l->after, padded, s);
    for (int c = 0; c < l->channels; c++)
        s[c] = l->k + l->alpha * s[c];
    inverse_power(l->channels, s, l->beta, p);
}

void FV_LOCAL(lrn)(const fv_lrn_window *l, size_t rows, const real *x, real *scratch, real *y) {
    size_t padded = (size_t)l->channels + (size_t)l->before + (size_t)l->after;
    real *s = scratch + padded;
    memset(scratch, 0, padded * sizeof(real));
    for (size_t r = 0; r < rows; r++, x += l->channels, y += l->channels) {
        lrn_scales(l, x, scratch, s, y);
        for (int c = 0; c < l->channels; c++)
            y[c] *= x[c];
    }
}

/* dx_j = dy_j s_j^-beta - 2 alpha beta x_j sum over c whose window holds j of t_c, t = dy x s^-beta
 * / s: the window the other way round. */
void FV_LOCAL(lrn_back)(const fv_lrn_window *l, size_t rows, const real *x, const real *dy,
                        real *scratch, real *dx) {
    size_t count = (size_t)l->channels, padded = count + (size_t)l->before + (size_t)l->after;
    real *s = scratch + padded, *p = s + count, *turned = p + count, *t = turned + l->after;
    const real factor = 2 * l->alpha * l->beta;
    memset(scratch, 0, padded * sizeof(real));
    memset(turned, 0, padded * sizeof(real));
    for (size_t r = 0; r < rows; r++, x += count, dy += count, dx += count) {
        lrn_scales(l, x, scratch, s, p);
        for (size_t c = 0; c < count; c++)
            t[c] = dy[c] * x[c] * p[c] / s[c];
        window_sums(l->channels, l->before + 1 + l->after, turned, s);
        for (size_t c = 0; c < count; c++)
            dx[c] = dy[c] * p[c] - factor * x[c] * s[c];
    }
}
