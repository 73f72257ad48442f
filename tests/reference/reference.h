/* The oracles: what every layer, loss and optimiser computes, as naive loops in double, written
 * from the formulas. They share no code and no headers with src/, only the enums and option structs
 * of fovea.h. Called by tests/test_*.c; test_reference.c holds them to published numbers.
 *
 * Arrays are NHWC, weights in the order in which the library stores them. Gradients are
 * overwritten, unless a header says that they are added to. */
#ifndef FV_TESTS_REFERENCE_H
#define FV_TESTS_REFERENCE_H

#include "reference_activation.h"
#include "reference_conv.h"
#include "reference_loss.h"
#include "reference_metric.h"
#include "reference_norm.h"
#include "reference_optimizer.h"
#include "reference_pool.h"
#include "reference_schedule.h"
#include "reference_shape.h"
#include <fovea.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Dense (reference_dense.c) ------------------------------------------------------------- */

/* y(i, u) = bias(u) + sum over inputs k of x(i, k) w(k, u) */
void ref_dense(int samples, int inputs, int units, const double *x, const double *weight,
               const double *bias, double *y);
void ref_dense_input_gradient(int samples, int inputs, int units, const double *dy,
                              const double *weight, double *dx);
void ref_dense_weight_gradient(int samples, int inputs, int units, const double *x,
                               const double *dy, double *dweight);

/* ---- Input (reference_input.c) ------------------------------------------------------------- */

/* y = (x * scale - mean(c)) / deviation(c); none: 0 and 1, one: for all channels; scale 0: 1. */
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
