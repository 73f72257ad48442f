/* subsample: LeNet-5's S2 (LeCun et al. 1998), activation(coefficient(c) x sum of the window +
 * bias(c)). Training keeps the sums for the coefficients' gradients. */
#include "layers/activation.h"
#include "layers/pool.h"
#include <stddef.h>
#include <string.h>

static const fv_param params[] = {{.key = "size",
                                   .type = FV_PARAM_SIZES,
                                   .offset = offsetof(fv_subsample_options, size),
                                   .required = true,
                                   .position = 1,
                                   .low = 1,
                                   .high = 1 << 20,
                                   .help = "cells of the window along each axis"},
                                  {.key = "activation",
                                   .type = FV_PARAM_CHOICE,
                                   .offset = offsetof(fv_subsample_options, activation),
                                   .position = 2,
                                   .choices = fv_activation_names,
                                   .help = "applied to the output"},
                                  {.key = "stride",
                                   .type = FV_PARAM_SIZES,
                                   .offset = offsetof(fv_subsample_options, stride),
                                   .low = 1,
                                   .high = 1 << 20,
                                   .fallback_text = "size",
                                   .help = "step of the window along each axis"},
                                  {.key = "init",
                                   .type = FV_PARAM_INIT,
                                   .offset = offsetof(fv_subsample_options, init),
                                   .fallback_text = "default",
                                   .help = "how the coefficients start; default: 1 / cells of "
                                           "the window"},
                                  {.key = "bias_init",
                                   .type = FV_PARAM_INIT,
                                   .offset = offsetof(fv_subsample_options, bias_init),
                                   .fallback_text = "constant(0)",
                                   .help = "how the biases start"},
                                  {0}};

static fv_status slide(const fv_subsample_options *o, const fv_shape *input, fv_axis axes[3]) {
    static const int no_pad[3][2] = {{0}};
    return fv_slide(input,
                    &(fv_slide_options){.kernel = o->size,
                                        .stride = o->stride[0] ? o->stride : o->size,
                                        .pad = no_pad,
                                        .what = "window"},
                    axes);
}

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_subsample_options *o = options;
    fv_axis axes[3];
    fv_status status = slide(o, inputs, axes);
    if (status)
        return status;
    inference->output = inputs[0];
    size_t cells = 1; /* at most 2^60 */
    for (int i = 0; i < inputs[0].rank; i++) {
        inference->output.size[i] = axes[i].out;
        cells *= (size_t)axes[i].kernel;
    }
    inference->activation = o->activation;
    inference->weight_count = 2;
    fv_weight_spec spec = {.name = "weight",
                           .bias = true,
                           .rank = 1,
                           .size = {(size_t)inputs[0].channels},
                           .fan_in = cells,
                           .fan_out = cells,
                           .init = o->init};
    if (spec.init.kind == FV_INIT_DEFAULT)
        spec.init = (fv_init){FV_INIT_CONSTANT, 1 / (double)cells};
    inference->weights[0] = spec;
    spec.name = "bias";
    spec.init = fv_init_or(o->bias_init, FV_INIT_CONSTANT);
    inference->weights[1] = spec;
    return FV_OK;
}

static fv_window window_of(const fv_call *call) {
    fv_axis axes[3];
    slide(call->options, call->in_shape[0], axes); /* infer has checked it */
    fv_window window = fv_window_of(call->in_shape[0], axes);
    window.sum = true;
    return window;
}

/* Bytes a sample that the activation keeps; the sums come after them. */
static size_t activation_notes(const fv_subsample_options *o, const fv_shape *output,
                               const fv_setting *setting) {
    fv_layer_plan plan = {0};
    fv_activation_prepare(o->activation, fv_shape_count(output), setting, &plan);
    return fv_round_up(plan.kept, 64);
}

static void prepare(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan) {
    (void)inputs, (void)count;
    const fv_subsample_options *o = options;
    fv_activation_prepare(o->activation, fv_shape_count(output), setting, plan);
    if (setting->training)
        plan->kept = activation_notes(o, output, setting) +
                     fv_round_up(fv_shape_count(output) * sizeof(real), 64);
}

static real *sums_of(const fv_call *call, int sample) {
    return (real *)(call->kept + (size_t)sample * call->plan->kept +
                    activation_notes(call->options, call->out_shape, call->setting));
}

static void forward(const fv_call *call) {
    fv_window window = window_of(call);
    size_t values = fv_shape_count(call->out_shape), channels = (size_t)window.channels;
    fv_avgpool_forward(call, &window);
    for (int s = 0; s < call->samples; s++) {
        real *y = call->out + (size_t)s * values;
        if (call->setting->training)
            memcpy(sums_of(call, s), y, values * sizeof(real));
        for (size_t p = 0; p < values; p += channels)
            for (size_t c = 0; c < channels; c++)
                y[p + c] = y[p + c] * call->weights[0][c] + call->weights[1][c];
    }
    fv_activation_forward(call, 0, call->samples, FV_LINEAR);
}

/* Sums over the places of dy x sum, and of dy. */
static void weight_gradients(const fv_call *call) {
    size_t values = fv_shape_count(call->out_shape), channels = (size_t)call->out_shape->channels;
    real *coefficient = call->weight_gradients[0], *bias = call->weight_gradients[1];
    if (call->first) {
        memset(coefficient, 0, channels * sizeof(real));
        memset(bias, 0, channels * sizeof(real));
    }
    for (int s = 0; s < call->samples; s++) {
        const real *dy = call->out_gradient + (size_t)s * values, *sum = sums_of(call, s);
        for (size_t p = 0; p < values; p += channels)
            for (size_t c = 0; c < channels; c++) {
                coefficient[c] += dy[p + c] * sum[p + c];
                bias[c] += dy[p + c];
            }
    }
}

static void backward(const fv_call *call) {
    fv_window window = window_of(call);
    size_t values = fv_shape_count(call->out_shape) * (size_t)call->samples;
    size_t channels = (size_t)window.channels;
    fv_activation_backward(call, 0, call->samples);
    if (call->weight_gradients[0])
        weight_gradients(call);
    for (size_t p = 0; p < values; p += channels)
        for (size_t c = 0; c < channels; c++)
            call->out_gradient[p + c] *= call->weights[0][c];
    fv_avgpool_backward(call, &window);
}

const fv_layer_type fv_layer_subsample = {
    .name = "subsample",
    .help = "LeNet-5's: activation(coefficient(c) x sum of the window + bias(c))",
    .options_size = sizeof(fv_subsample_options),
    .params = params,
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = infer,
    .prepare = prepare,
    .forward = forward,
    .backward = backward};
