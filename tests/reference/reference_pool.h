/* The oracles of pooling (reference_pool.c): see reference.h. */
#ifndef FV_TESTS_REFERENCE_POOL_H
#define FV_TESTS_REFERENCE_POOL_H

#include "reference_conv.h"

typedef struct ref_pool {
    ref_window window;
    int samples, channels;
    bool adaptive;          /* window i is [floor(i in / out), ceil((i + 1) in / out)) */
    bool count_include_pad; /* mean: cells of the padding count in the divisor */
} ref_pool;

bool ref_pool_window(const fv_shape *input, const fv_pool_options *options, ref_window *window);
/* Adaptive windows for an output of these sizes; the first repeats. */
bool ref_adaptive_window(const fv_shape *input, const int size[3], ref_window *window);

/* The largest real cell of each window; the first of equals takes the whole gradient. The
 * gradients add to dx. */
void ref_maxpool(const ref_pool *pool, const double *x, double *y);
void ref_maxpool_back(const ref_pool *pool, const double *x, const double *dy, double *dx);
/* The sum of the real cells over the divisor. */
void ref_avgpool(const ref_pool *pool, const double *x, double *y);
void ref_avgpool_back(const ref_pool *pool, const double *dy, double *dx);

/* y = coefficient(c) x sum of the window + bias(c); the gradients add. */
void ref_subsample(const ref_pool *pool, const double *x, const double *coefficient,
                   const double *bias, double *y);
void ref_subsample_back(const ref_pool *pool, const double *x, const double *coefficient,
                        const double *dy, double *dx, double *dcoefficient, double *dbias);

/* Whether all divisors are powers of two, so that means of integers are exact. */
bool ref_avgpool_exact(const ref_pool *pool);
size_t ref_pool_cells(const ref_pool *pool); /* the most real cells under a window */

#endif
