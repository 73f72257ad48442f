/* What a case should give: data, the oracle's arrays on it, and how far a layer may be from them.
 * Called by tests/layer_cases.c. */
#ifndef FV_TESTS_LAYER_EXPECT_H
#define FV_TESTS_LAYER_EXPECT_H

#include "layer_cases.h"

typedef struct expectation {
    layer_case c; /* its pass is that of the data */
    wanted want;
    fv_activation activation; /* FV_LINEAR where the loss takes it over */
    double constant;
    size_t in[MOST_INPUTS], out; /* values of all samples */
    real *x[MOST_INPUTS], *w[FV_MAX_WEIGHTS], *dy;
    sums value, size;    /* the oracle's arrays, and those of forward_size, backward_size */
    double *bound_z;     /* of the last comparison of the output */
    double *bound;       /* room for one comparison */
    double *gradient[2]; /* dz and its size: those that value.dx and so on belong to */
    bool integers, backward_known;
} expectation;

expectation expectation_new(const layer_case *c, const wanted *want);
void expectation_free(expectation *e);

/* New data, and what forward should make of it. */
void expect_forward(expectation *e, bool integers, bool training, bool frozen);
/* What backward should give, from the outputs that the layer itself had: whether a ReLU near its
 * kink let through is forward's affair. After a comparison of the output. */
void expect_backward(expectation *e, const real *y);

/* `exact`: the layer may not choose another algorithm than the direct one. */
void compare_output(expectation *e, bool exact, const real *y);
void compare_next(expectation *e, bool exact, int weight, const real *next);
void compare_input_gradient(expectation *e, bool exact, int input, const real *dx);
void compare_weight_gradient(expectation *e, bool exact, int weight, const real *dw);

/* Holds the oracle's gradients to central differences of its forward, at a few places. */
void check_oracle_gradients(expectation *e);

#endif
