/* Holds normalisation and noise layers to their oracles (layer_cases.h). */
#include "layer_cases.h"
#include <math.h>

/* ---- dropout: the contract at the top of src/layers/dropout.c ----------------------------------
 */

static double dropout_threshold(const layer_case *c) {
    return round(((const fv_dropout_options *)c->options)->rate * 65536);
}

static double dropout_factor(const layer_case *c, int sample, size_t value) {
    enum { PURPOSE_DROPOUT = 3 };
    uint32_t key[2] = {(uint32_t)c->seed, (uint32_t)(c->seed >> 32)};
    uint32_t stream[3] = {sample_indices[sample], sample_epochs[sample],
                          PURPOSE_DROPOUT + c->node * 256};
    double threshold = dropout_threshold(c);
    return ref_philox_half(key, stream, value) >= threshold ? 65536 / (65536 - threshold) : 0;
}

static void dropout(const layer_case *c, const double *x, double *y) {
    size_t values = fv_shape_count(&c->inputs[0]);
    for (int s = 0; s < c->samples; s++)
        for (size_t i = 0; i < values; i++)
            y[(size_t)s * values + i] = x[(size_t)s * values + i] * dropout_factor(c, s, i);
}

static void dropout_forward(const layer_case *c, sums *v) {
    if (c->training)
        dropout(c, v->x[0], v->z);
    else
        copy_forward(c, v);
}

static void dropout_backward(const layer_case *c, sums *v) {
    dropout(c, v->dz, v->dx[0]);
}

/* Exact where what is kept grows by a power of two. */
static bool dropout_infer(const layer_case *c, wanted *w) {
    int kept = 65536 - (int)dropout_threshold(c);
    w->inexact = (kept & (kept - 1)) != 0;
    return same_output(c, w);
}

static void dropout_cases(const oracle *self) {
    static const double rates[] = {0.5, 0, 1e-6, 0.1, 0.25, 0.75, 0.999};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++)
        if (i < 2 || full_run() || i % 2 == 0)
            check_shapes(self, &(fv_dropout_options){.rate = rates[i]}, "some rate");
}

/* ---- The list -------------------------------------------------------------------------------- */

static const oracle oracles[] = {
    {.type = "dropout",
     .cases = dropout_cases,
     .infer = dropout_infer,
     .forward = dropout_forward,
     .backward = dropout_backward},
};

int main(void) {
    return run_family("norm", oracles, sizeof oracles / sizeof oracles[0]);
}
