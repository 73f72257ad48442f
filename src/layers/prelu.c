/* prelu: y = x > 0 ? x : a(c) x, with slopes a that learn, one for each channel or one for all (He
 * et al. 2015). da(c) = sum of dy x over the x <= 0. The slopes count as scales: that paper leaves
 * their decay out. */
#include "layers/layer.h"
#include <stddef.h>
#include <string.h>

static const fv_param params[] = {{.key = "shared",
                                   .type = FV_PARAM_BOOL,
                                   .offset = offsetof(fv_prelu_options, shared),
                                   .help = "one slope for all channels"},
                                  {.key = "init",
                                   .type = FV_PARAM_INIT,
                                   .offset = offsetof(fv_prelu_options, init),
                                   .fallback_text = "constant(0.25)",
                                   .help = "how the slopes start; Keras: constant(0)"},
                                  {0}};

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_prelu_options *o = options;
    size_t slopes = o->shared ? 1 : (size_t)inputs[0].channels;
    inference->output = inputs[0];
    inference->weight_count = 1;
    inference->weights[0] =
        (fv_weight_spec){.name = "weight",
                         .bias = true,
                         .rank = 1,
                         .size = {slopes},
                         .fan_in = slopes,
                         .fan_out = slopes,
                         .init = o->init.kind ? o->init : (fv_init){FV_INIT_CONSTANT, 0.25}};
    return FV_OK;
}

/* A thread's scratch: the slope of each channel and, in training, the sum of its gradient. */
static void prepare(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan) {
    (void)options, (void)inputs, (void)count;
    plan->keep_input = setting->training;
    plan->scratch = (setting->training ? 2 : 1) * (size_t)output->channels * sizeof(real);
}

/* The slope of each channel, in scratch. */
static const real *slopes_of(const fv_call *call) {
    const fv_prelu_options *o = call->options;
    if (!o->shared)
        return call->weights[0];
    real *slopes = (real *)(void *)call->scratch;
    for (int c = 0; c < call->out_shape->channels; c++)
        slopes[c] = call->weights[0][0];
    return slopes;
}

static size_t row_count(const fv_call *call) {
    return (size_t)call->samples * fv_shape_count(call->out_shape) /
           (size_t)call->out_shape->channels;
}

static void forward(const fv_call *call) {
    call->kernels->prelu(row_count(call), call->out_shape->channels, call->in[0], slopes_of(call),
                         call->out);
}

static void add_slope_gradient(const fv_call *call, const real *sums) {
    const fv_prelu_options *o = call->options;
    int channels = call->out_shape->channels;
    real *gradient = call->weight_gradients[0];
    if (call->first)
        memset(gradient, 0, (o->shared ? 1 : (size_t)channels) * sizeof(real));
    for (int c = 0; c < channels; c++)
        gradient[o->shared ? 0 : c] += sums[c];
}

static void backward(const fv_call *call) {
    int channels = call->out_shape->channels;
    real *sums = (real *)(void *)call->scratch + channels;
    memset(sums, 0, (size_t)channels * sizeof(real));
    call->kernels->prelu_back(row_count(call), channels, call->in[0], slopes_of(call),
                              call->out_gradient, call->in_gradient[0],
                              call->weight_gradients[0] ? sums : NULL);
    if (call->weight_gradients[0])
        add_slope_gradient(call, sums);
}

const fv_layer_type fv_layer_prelu = {.name = "prelu",
                                      .help = "x > 0 ? x : slope x, with slopes that learn",
                                      .options_size = sizeof(fv_prelu_options),
                                      .params = params,
                                      .min_inputs = 1,
                                      .max_inputs = 1,
                                      .infer = infer,
                                      .prepare = prepare,
                                      .forward = forward,
                                      .backward = backward};
