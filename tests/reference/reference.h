/* The oracles: what every layer, loss and optimiser computes, as naive loops in double, written
 * from the formulas. They share no code and no headers with src/, only the enums and option structs
 * of fovea.h. Called by tests/test_*.c; test_reference.c holds them to published numbers.
 *
 * Arrays are NHWC; convolution weights [kernel cells][input channels][filters], dense weights
 * [inputs][units], as the library stores them. Gradients are overwritten, not added to. */
#ifndef FV_TESTS_REFERENCE_H
#define FV_TESTS_REFERENCE_H

#include "reference_activation.h"
#include "reference_loss.h"
#include "reference_norm.h"
#include "reference_optimizer.h"
#include "reference_schedule.h"
#include <fovea.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Sliding windows (reference_conv.c) ---------------------------------------------------- */

/* Along axes that the input does not have: sizes and stride 1, no padding. */
typedef struct ref_window {
    int rank;
    int in[3], out[3];
    int kernel[3], stride[3];
    int before[3], after[3]; /* padding */
} ref_window;

/* False where the kernel is larger than the padded input: no output exists. */
bool ref_conv_window(const fv_shape *input, const fv_conv_options *options, ref_window *window);
bool ref_pool_window(const fv_shape *input, const fv_pool_options *options, ref_window *window);

int ref_cells(const int size[3]); /* the product */

/* y(o, f) = bias(f) + sum over cells k, channels c of x(o * stride + k - before, c) w(k, c, f),
 * x being 0 outside. `bias` NULL: none. */
void ref_conv(const ref_window *window, int samples, int channels, int filters, const double *x,
              const double *weight, const double *bias, double *y);
void ref_conv_input_gradient(const ref_window *window, int samples, int channels, int filters,
                             const double *dy, const double *weight, double *dx);
void ref_conv_weight_gradient(const ref_window *window, int samples, int channels, int filters,
                              const double *x, const double *dy, double *dweight);
/* Of convolution and dense layers: the sum over rows. */
void ref_bias_gradient(size_t rows, int channels, const double *dy, double *dbias);

/* ---- Pooling (reference_pool.c) ------------------------------------------------------------ */

/* The largest real cell of each window; the first of equals takes the whole gradient. */
void ref_maxpool(const ref_window *window, int samples, int channels, const double *x, double *y);
void ref_maxpool_gradient(const ref_window *window, int samples, int channels, const double *x,
                          const double *dy, double *dx);
/* The sum of the real cells over their number, or over all the window's with count_include_pad. */
void ref_avgpool(const ref_window *window, bool count_include_pad, int samples, int channels,
                 const double *x, double *y);
void ref_avgpool_gradient(const ref_window *window, bool count_include_pad, int samples,
                          int channels, const double *dy, double *dx);

/* ---- Dense (reference_dense.c) ------------------------------------------------------------- */

/* y(i, u) = bias(u) + sum over inputs k of x(i, k) w(k, u) */
void ref_dense(int samples, int inputs, int units, const double *x, const double *weight,
               const double *bias, double *y);
void ref_dense_input_gradient(int samples, int inputs, int units, const double *dy,
                              const double *weight, double *dx);
void ref_dense_weight_gradient(int samples, int inputs, int units, const double *x,
                               const double *dy, double *dweight);

/* ---- Input (reference_input.c) ------------------------------------------------------------- */

/* y = x * scale - mean(c); no means: 0, one mean: for all channels; scale 0: 1. */
void ref_input(const fv_input_options *options, int samples, const double *x, double *y);

/* ---- Random numbers (reference_philox.c) --------------------------------------------------- */

/* Philox4x32-10 (Salmon et al., SC 2011, section 3.3). */
void ref_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t result[4]);
/* Number i of the 16-bit stream of counters {0, s0, s1, s2}, {1, s0, s1, s2}, ...: eight to a
 * block, word 0 first, low half first. */
uint32_t ref_philox_half(const uint32_t key[2], const uint32_t stream[3], size_t i);
/* Number i of the normal numbers of that stream (Box & Muller 1958): of a block's words w0 to w3,
 * r cos(a) and r sin(a) with r = sqrt(-2 log((floor(w0 / 2^9) + 1/2) / 2^23)), a = 2 pi floor(w1 /
 * 2^8) / 2^24; then the same of w2, w3. */
double ref_normal(const uint32_t key[2], const uint32_t stream[3], size_t i);

#endif
