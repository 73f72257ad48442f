/* Runs a plan. A runner owns the plan's arena and threads; the session and the trainer own a
 * runner. */
#ifndef FV_NET_EXECUTE_H
#define FV_NET_EXECUTE_H

#include "net/plan.h"

typedef struct fv_runner {
    fv_plan plan;
    fv_pool *pool;
    unsigned char *arena;
    double *seconds; /* when profiling: [thread][fv_pass][node] */
} fv_runner;

/* The samples of one run, as the loader or the caller has them. */
typedef struct fv_samples {
    int count; /* 1 to the plan's batch */
    const void *const *source;
    bool bytes; /* source points to bytes, not floats */
    bool reals; /* ... to real, which differs from float in the double build only */
    uint64_t seed;
    const uint32_t *epochs, *indices; /* for dropout; NULL: no dropout, also in training */
    bool adds; /* to the weight gradients of the batches before (plan.accumulates) */
} fv_samples;

/* `pool` may be shared with another runner (the caller keeps it, and its threads count, not the
 * options'); NULL: one of its own. */
fv_status fv_runner_open(fv_runner *runner, const fv_net *net, const fv_plan_options *options,
                         fv_pool *pool, bool profile);
void fv_runner_close(fv_runner *runner, bool own_pool);

/* Rearranges the weights for the kernels: once for inference, before each step in training. Fails
 * only where they are in the net's file. */
fv_status fv_runner_pack(fv_runner *runner);
void fv_runner_forward(fv_runner *runner, const fv_samples *samples);
/* From the gradient of the last output to all weight gradients (summed over the samples). */
void fv_runner_backward(fv_runner *runner, const fv_samples *samples);

real *fv_runner_output(const fv_runner *runner, int node, bool before_activation);
/* Of a node that a loss judges, to be written before fv_runner_backward(), several losses added; of
 * node 0 with the plan's input_gradient, to be read after. NULL where no gradient is wanted. */
real *fv_runner_output_gradient(const fv_runner *runner, int node);
/* When profiling, what a node has taken in a pass so far, summed over the threads; else 0. */
double fv_runner_seconds(const fv_runner *runner, fv_pass in, int node);
const char *fv_runner_algorithm(const fv_runner *runner, int node); /* see fovea.h */
real *fv_runner_gradients(const fv_runner *runner); /* in the order of net->weights */

#endif
