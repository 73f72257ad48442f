/* What the tests of losses and metrics share: a net of one input layer, so that its outputs are
 * whatever numbers the test says, judged by the lines that the test writes. Called by test_loss.c
 * and test_metric.c. */
#ifndef FV_TESTS_JUDGE_H
#define FV_TESTS_JUDGE_H

#include "support.h"
#include "train/train.h"

enum { JUDGE_SAMPLES = 5 };

typedef struct judge {
    fv_net *net;
    fv_objective objective;
    fv_runner runner;
    fv_field field; /* "label" */
    float *outputs, *targets;
    size_t output_values, target_values; /* of a sample */
    const void *source[JUDGE_SAMPLES];
} judge;

/* A net of that text (the last layer is judged), with `targets` of that shape, all zero so far.
 * training: with the gradient of the input. */
judge judge_new(const char *text, const fv_shape *targets, int threads, bool training);
void judge_free(judge *j);
fv_batch judge_batch(judge *j, const float *const *targets);
/* Runs the net and its losses. */
fv_status judge_run(judge *j, int samples, bool gradients, fv_score *score);

#endif
