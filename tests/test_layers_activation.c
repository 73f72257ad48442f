/* Holds activation layers to their oracles (layer_cases.h). */
#include "layer_cases.h"
#include <math.h>
#include <string.h>

/* ---- Those of fv_activation ------------------------------------------------------------------ */

static double constant_of(const layer_case *c) {
    return c->options ? *(const double *)c->options : 0;
}

static bool activation_infer(const layer_case *c, wanted *w) {
    for (int i = 0; fv_activation_names[i]; i++)
        if (strcmp(c->oracle->type, fv_activation_names[i]) == 0)
            w->activation = (fv_activation)i;
    w->constant = constant_of(c);
    return same_output(c, w);
}

/* To 8 on both sides, so that limits, kinks and tails are met. */
static void spread(const layer_case *c, bool integers, real *const *x, real *const *w) {
    (void)w;
    for (size_t i = 0; i < values_in(c, 0) && !integers; i++)
        x[0][i] *= 8;
}

static void activation_cases(const oracle *self) {
    check_shapes(self, NULL, "no options");
}

static void constant_cases(const oracle *self) {
    static const double constants[] = {0, 0.2, 0.3, 1.5};
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++)
        if (i < 2 || full_run())
            check_shapes(self, &constants[i], i ? "another constant" : "the default");
}

#define ACTIVATION_ORACLE(name, cases_of)                                                          \
    {                                                                                              \
        .type = name, .cases = cases_of, .infer = activation_infer, .forward = copy_forward,       \
        .backward = copy_backward, .adjust = spread                                                \
    }

/* ---- prelu ------------------------------------------------------------------------------------
 */

static bool prelu_infer(const layer_case *c, wanted *w) {
    const fv_prelu_options *o = c->options;
    w->terms_dw = (size_t)c->samples * fv_shape_count(&c->inputs[0]);
    if (!o->shared)
        w->terms_dw /= (size_t)c->inputs[0].channels;
    want_bias(w, "weight", o->shared ? 1 : (size_t)c->inputs[0].channels);
    return same_output(c, w);
}

static size_t rows_of(const layer_case *c) {
    return values_in(c, 0) / (size_t)c->inputs[0].channels;
}

static void prelu_forward(const layer_case *c, sums *v) {
    const fv_prelu_options *o = c->options;
    ref_prelu(rows_of(c), c->inputs[0].channels, o->shared, v->x[0], v->w[0], v->z);
}

static void prelu_backward(const layer_case *c, sums *v) {
    const fv_prelu_options *o = c->options;
    ref_prelu_gradient(rows_of(c), c->inputs[0].channels, o->shared, v->x[0], v->w[0], v->dz,
                       v->dx[0], v->dw[0]);
}

/* Absolute values would all be above 0: those of the results instead, and of each term of dw. */
static void prelu_forward_size(const layer_case *c, const sums *value, sums *size) {
    to_absolute(values_in(c, 0), value->z, size->z);
}

static void prelu_backward_size(const layer_case *c, const sums *value, sums *size) {
    const fv_prelu_options *o = c->options;
    size_t channels = (size_t)c->inputs[0].channels;
    to_absolute(values_in(c, 0), value->dx[0], size->dx[0]);
    memset(size->dw[0], 0, (o->shared ? 1 : channels) * sizeof(double));
    for (size_t i = 0; i < values_in(c, 0); i++)
        size->dw[0][o->shared ? 0 : i % channels] += fabs(value->x[0][i] * value->dz[i]);
}

/* No x at the kink, where differences say nothing: integers are odd halves, and floats that are as
 * near as h = 1e-5 are moved away. */
static void prelu_adjust(const layer_case *c, bool integers, real *const *x, real *const *w) {
    (void)w;
    for (size_t i = 0; i < values_in(c, 0); i++)
        if (integers)
            x[0][i] += (real)0.5;
        else if (x[0][i] > (real)-1e-4 && x[0][i] < (real)1e-4)
            x[0][i] = (real)0.25;
}

static void prelu_cases(const oracle *self) {
    check_shapes(self, &(fv_prelu_options){.shared = false}, "a slope a channel");
    check_shapes(self, &(fv_prelu_options){.shared = true}, "one slope");
}

/* ---- The list ---------------------------------------------------------------------------------
 */

static const oracle oracles[] = {
    ACTIVATION_ORACLE("relu", activation_cases),
    ACTIVATION_ORACLE("sigmoid", activation_cases),
    ACTIVATION_ORACLE("tanh", activation_cases),
    ACTIVATION_ORACLE("softmax", activation_cases),
    ACTIVATION_ORACLE("relu6", activation_cases),
    ACTIVATION_ORACLE("leaky_relu", constant_cases),
    ACTIVATION_ORACLE("elu", constant_cases),
    ACTIVATION_ORACLE("selu", activation_cases),
    ACTIVATION_ORACLE("gelu", activation_cases),
    ACTIVATION_ORACLE("gelu_tanh", activation_cases),
    ACTIVATION_ORACLE("silu", activation_cases),
    ACTIVATION_ORACLE("mish", activation_cases),
    ACTIVATION_ORACLE("hard_sigmoid", constant_cases),
    ACTIVATION_ORACLE("hard_swish", activation_cases),
    ACTIVATION_ORACLE("softplus", activation_cases),
    ACTIVATION_ORACLE("softsign", activation_cases),
    ACTIVATION_ORACLE("scaled_tanh", activation_cases),
    ACTIVATION_ORACLE("log_softmax", activation_cases),
    {.type = "prelu",
     .cases = prelu_cases,
     .infer = prelu_infer,
     .forward = prelu_forward,
     .backward = prelu_backward,
     .forward_size = prelu_forward_size,
     .backward_size = prelu_backward_size,
     .adjust = prelu_adjust},
};

int main(void) {
    return run_family("activation", oracles, sizeof oracles / sizeof oracles[0]);
}
