/* rbf: LeNet-5's output layer (LeCun et al. 1998): y_u = sum over inputs k of (x_k - w(u, k))^2,
 * the squared distance to each class's code, small for the right class. For 10 units of 84 inputs
 * the codes are pictures of the digits, 7 wide and 12 high, else +-1 at random; they are fixed
 * unless asked to learn. Stored weights, and in files: (units, inputs). */
#include "layers/layer.h"
#include <stddef.h>
#include <string.h>

static const fv_param params[] = {{.key = "units",
                                   .type = FV_PARAM_INT,
                                   .offset = offsetof(fv_rbf_options, units),
                                   .required = true,
                                   .position = 1,
                                   .low = 1,
                                   .high = 1 << 24,
                                   .help = "classes"},
                                  {.key = "learn",
                                   .type = FV_PARAM_BOOL,
                                   .offset = offsetof(fv_rbf_options, learn),
                                   .help = "the codes learn"},
                                  {0}};

enum { DIGITS = 10, DIGIT_VALUES = 7 * 12 };

/* Ink and paper. */
enum { X = 1, o = -1 };

/* clang-format off */
static const real digits[DIGITS][DIGIT_VALUES] = {
    {
        o, o, o, o, o, o, o,
        o, o, X, X, X, o, o,
        o, X, X, o, X, X, o,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        o, X, X, o, X, X, o,
        o, o, X, X, X, o, o,
        o, o, o, o, o, o, o
    },
    {
        o, o, o, o, o, o, o,
        o, o, o, X, X, o, o,
        o, o, X, X, X, o, o,
        o, X, X, X, X, o, o,
        o, o, o, X, X, o, o,
        o, o, o, X, X, o, o,
        o, o, o, X, X, o, o,
        o, o, o, X, X, o, o,
        o, o, o, X, X, o, o,
        o, o, o, X, X, o, o,
        o, X, X, X, X, X, X,
        o, o, o, o, o, o, o
    },
    {
        o, o, o, o, o, o, o,
        o, X, X, X, X, X, o,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        o, o, o, o, o, X, X,
        o, o, o, o, X, X, o,
        o, o, o, X, X, o, o,
        o, o, X, X, o, o, o,
        o, X, X, o, o, o, o,
        X, X, o, o, o, o, o,
        X, X, X, X, X, X, X,
        o, o, o, o, o, o, o
    },
    {
        o, o, o, o, o, o, o,
        X, X, X, X, X, X, X,
        o, o, o, o, o, X, X,
        o, o, o, o, X, X, o,
        o, o, o, X, X, o, o,
        o, o, X, X, X, X, o,
        o, o, o, o, o, X, X,
        o, o, o, o, o, X, X,
        o, o, o, o, o, X, X,
        X, X, o, o, o, X, X,
        o, X, X, X, X, X, o,
        o, o, o, o, o, o, o
    },
    {
        o, o, o, o, o, o, o,
        o, o, o, o, X, X, o,
        o, o, o, X, X, X, o,
        o, o, X, X, X, X, o,
        o, X, X, o, X, X, o,
        X, X, o, o, X, X, o,
        X, X, o, o, X, X, o,
        X, X, X, X, X, X, X,
        o, o, o, o, X, X, o,
        o, o, o, o, X, X, o,
        o, o, o, o, X, X, o,
        o, o, o, o, o, o, o
    },
    {
        o, o, o, o, o, o, o,
        X, X, X, X, X, X, X,
        X, X, o, o, o, o, o,
        X, X, o, o, o, o, o,
        X, X, X, X, X, X, o,
        o, o, o, o, o, X, X,
        o, o, o, o, o, X, X,
        o, o, o, o, o, X, X,
        o, o, o, o, o, X, X,
        X, X, o, o, o, X, X,
        o, X, X, X, X, X, o,
        o, o, o, o, o, o, o
    },
    {
        o, o, o, o, o, o, o,
        o, o, o, X, X, X, o,
        o, o, X, X, o, o, o,
        o, X, X, o, o, o, o,
        X, X, o, o, o, o, o,
        X, X, X, X, X, X, o,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        o, X, X, X, X, X, o,
        o, o, o, o, o, o, o
    },
    {
        o, o, o, o, o, o, o,
        X, X, X, X, X, X, X,
        X, X, o, o, o, X, X,
        o, o, o, o, o, X, X,
        o, o, o, o, X, X, o,
        o, o, o, o, X, X, o,
        o, o, o, X, X, o, o,
        o, o, o, X, X, o, o,
        o, o, X, X, o, o, o,
        o, o, X, X, o, o, o,
        o, o, X, X, o, o, o,
        o, o, o, o, o, o, o
    },
    {
        o, o, o, o, o, o, o,
        o, X, X, X, X, X, o,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        o, X, X, X, X, X, o,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        o, X, X, X, X, X, o,
        o, o, o, o, o, o, o
    },
    {
        o, o, o, o, o, o, o,
        o, X, X, X, X, X, o,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        X, X, o, o, o, X, X,
        o, X, X, X, X, X, X,
        o, o, o, o, o, X, X,
        o, o, o, o, o, X, X,
        o, o, o, o, X, X, o,
        o, X, X, X, X, o, o,
        o, o, o, o, o, o, o
    }
};
/* clang-format on */

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_rbf_options *asked = options;
    char text[64];
    if (inputs[0].rank != 0)
        return fv_fail(FV_SHAPE,
                       "rbf needs a vector, but its input is %s (put a `flatten` line before it)",
                       fv_shape_text(inputs, text));
    size_t values = (size_t)inputs[0].channels, units = (size_t)asked->units;
    inference->output = (fv_shape){.channels = asked->units};
    inference->macs = (int64_t)inputs[0].channels * asked->units;
    inference->weight_count = 1;
    inference->weights[0] = (fv_weight_spec){.name = "weight",
                                             .rank = 2,
                                             .size = {units, values},
                                             .axes = {0, 1},
                                             .fan_in = values,
                                             .fan_out = units,
                                             .init = {.kind = FV_INIT_SIGN},
                                             .statistic = !asked->learn};
    if (units == DIGITS && values == DIGIT_VALUES)
        inference->weights[0].values = digits[0];
    return FV_OK;
}

static void prepare(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan) {
    (void)options, (void)inputs, (void)count, (void)output;
    plan->keep_input = setting->training;
}

/* Sums side by side, which the compiler makes vectors of, then added in order. */
static real squared_distance(size_t count, const real *x, const real *w) {
    enum { SUMS = 16 }; /* speed only */
    real sums[SUMS] = {0}, sum = 0;
    size_t k = 0;
    for (; k + SUMS <= count; k += SUMS)
        for (size_t i = 0; i < SUMS; i++)
            sums[i] += (x[k + i] - w[k + i]) * (x[k + i] - w[k + i]);
    for (; k < count; k++)
        sum += (x[k] - w[k]) * (x[k] - w[k]);
    for (size_t i = 0; i < SUMS; i++)
        sum += sums[i];
    return sum;
}

static void forward(const fv_call *call) {
    size_t inputs = (size_t)call->in_shape[0]->channels, units = (size_t)call->out_shape->channels;
    for (size_t s = 0; s < (size_t)call->samples; s++)
        for (size_t u = 0; u < units; u++)
            call->out[s * units + u] =
                squared_distance(inputs, call->in[0] + s * inputs, call->weights[0] + u * inputs);
}

/* sum += (x - w) factor */
static void add_difference(size_t count, real factor, const real *x, const real *w, real *sum) {
    for (size_t k = 0; k < count; k++)
        sum[k] += (x[k] - w[k]) * factor;
}

/* dx = sum over u of (x - w) 2 dy, dw = sum over samples of (w - x) 2 dy. */
static void backward(const fv_call *call) {
    size_t inputs = (size_t)call->in_shape[0]->channels, units = (size_t)call->out_shape->channels;
    real *dw = call->weight_gradients[0], *dx = call->in_gradient[0];
    bool learns = dw && ((const fv_rbf_options *)call->options)->learn;
    if (learns && call->first)
        memset(dw, 0, units * inputs * sizeof(real));
    if (dx)
        memset(dx, 0, (size_t)call->samples * inputs * sizeof(real));
    for (size_t s = 0; s < (size_t)call->samples; s++)
        for (size_t u = 0; u < units; u++) {
            const real *x = call->in[0] + s * inputs, *w = call->weights[0] + u * inputs;
            real slope = 2 * call->out_gradient[s * units + u];
            if (learns)
                add_difference(inputs, slope, w, x, dw + u * inputs);
            if (dx)
                add_difference(inputs, slope, x, w, dx + s * inputs);
        }
}

const fv_layer_type fv_layer_rbf = {
    .name = "rbf",
    .help = "squared distance to a code of +-1 for each class, small for the right class",
    .options_size = sizeof(fv_rbf_options),
    .params = params,
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = infer,
    .prepare = prepare,
    .forward = forward,
    .backward = backward};
