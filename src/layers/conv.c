/* conv: y(p, f) = bias(f) + sum over kernel cells k and channels c of x(p S + k - P, c) w(k, c, f),
 * the cross-correlation that the field calls convolution, in one to three axes.
 * Stored weights: [kernel cells][channels][filters]; in files PyTorch's (filters, channels,
 * kernel). */
#include "layers/conv.h"
#include "layers/activation.h"
#include <limits.h>
#include <stddef.h>

static const fv_param params[] = {
    {.key = "filters",
     .type = FV_PARAM_INT,
     .offset = offsetof(fv_conv_options, filters),
     .required = true,
     .position = 1,
     .low = 1,
     .high = 1 << 24,
     .help = "output channels"},
    {.key = "kernel",
     .type = FV_PARAM_SIZES,
     .offset = offsetof(fv_conv_options, kernel),
     .required = true,
     .position = 2,
     .low = 1,
     .high = 1 << 20,
     .help = "cells of the kernel along each axis"},
    {.key = "activation",
     .type = FV_PARAM_CHOICE,
     .offset = offsetof(fv_conv_options, activation),
     .position = 3,
     .choices = fv_activation_names,
     .help = "applied to the output"},
    {.key = "stride",
     .type = FV_PARAM_SIZES,
     .offset = offsetof(fv_conv_options, stride),
     .low = 1,
     .high = 1 << 20,
     .fallback = 1,
     .help = "step of the kernel along each axis"},
    {.key = "padding",
     .type = FV_PARAM_CHOICE,
     .offset = offsetof(fv_conv_options, padding),
     .choices = fv_padding_names,
     .help = "valid: none but pad; same: ceil(input / stride) outputs, as TensorFlow pads"},
    {.key = "pad",
     .type = FV_PARAM_PADS,
     .offset = offsetof(fv_conv_options, pad),
     .low = 0,
     .high = 1 << 20,
     .help = "zeros around the input, before:after along each axis"},
    {.key = "bias",
     .type = FV_PARAM_NOT,
     .offset = offsetof(fv_conv_options, no_bias),
     .help = "a number added to each filter's output"},
    {.key = "init",
     .type = FV_PARAM_INIT,
     .offset = offsetof(fv_conv_options, init),
     .fallback_text = "glorot_uniform",
     .help = "how the weights start"},
    {.key = "bias_init",
     .type = FV_PARAM_INIT,
     .offset = offsetof(fv_conv_options, bias_init),
     .fallback_text = "constant(0)",
     .help = "how the biases start"},
    {0}};

static void describe_weights(const fv_conv_options *o, const fv_shape *input, const fv_axis axes[3],
                             fv_inference *inference) {
    int rank = input->rank;
    size_t cells = 1, channels = (size_t)input->channels, filters = (size_t)o->filters;
    fv_weight_spec *w = &inference->weights[0];
    *w = (fv_weight_spec){.name = "weight", .rank = rank + 2};
    w->size[0] = filters;
    w->size[1] = channels;
    for (int i = 0; i < rank; i++) {
        w->size[2 + i] = (size_t)axes[i].kernel;
        w->axes[i] = 2 + i;
        cells *= (size_t)axes[i].kernel; /* at most 2^60 */
    }
    w->axes[rank] = 1;
    w->axes[rank + 1] = 0;
    w->fan_in = cells > SIZE_MAX / channels ? SIZE_MAX : cells * channels;
    w->fan_out = cells > SIZE_MAX / filters ? SIZE_MAX : cells * filters;
    w->init = fv_init_or(o->init, FV_INIT_GLOROT_UNIFORM);
    inference->weight_count = o->no_bias ? 1 : 2;
    inference->weights[1] = (fv_weight_spec){.name = "bias",
                                             .bias = true,
                                             .rank = 1,
                                             .size = {filters},
                                             .fan_in = w->fan_in,
                                             .fan_out = w->fan_out,
                                             .init = fv_init_or(o->bias_init, FV_INIT_CONSTANT)};
}

static fv_status slide(const fv_conv_options *o, const fv_shape *input, fv_axis axes[3]) {
    return fv_slide(input,
                    &(fv_slide_options){.kernel = o->kernel,
                                        .stride = o->stride,
                                        .dilation = o->dilation,
                                        .padding = o->padding,
                                        .pad = o->pad,
                                        .what = "kernel"},
                    axes);
}

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_conv_options *o = options;
    fv_axis axes[3];
    fv_status status = slide(o, inputs, axes);
    if (status)
        return status;
    describe_weights(o, inputs, axes, inference);
    inference->output = inputs[0];
    inference->output.channels = o->filters;
    inference->activation = o->activation;
    double macs = (double)inference->weights[0].fan_in * o->filters;
    for (int i = 0; i < inputs[0].rank; i++) {
        inference->output.size[i] = axes[i].out;
        macs *= axes[i].out == FV_ANY ? 0 : axes[i].out;
    }
    inference->macs = macs < 9e18 ? (int64_t)macs : INT64_MAX;
    return FV_OK;
}

fv_conv_geometry fv_conv_measure(const fv_conv_options *options, const fv_shape *input,
                                 const fv_setting *setting) {
    fv_conv_geometry g = {.channels = input->channels, .filters = options->filters};
    fv_axis axes[3];
    slide(options, input, axes); /* infer has checked it */
    for (int i = 0; i < 3; i++) {
        int missing = 3 - input->rank;
        g.axis[i] = i < missing
                        ? (fv_axis){.in = 1, .out = 1, .kernel = 1, .stride = 1, .dilation = 1}
                        : axes[i - missing];
    }
    for (int i = 1; i < 3; i++) {
        fv_axis *outer = &g.axis[i - 1], *inner = &g.axis[i];
        bool plain = outer->kernel == 1 && outer->stride == 1 && inner->kernel == 1 &&
                     inner->stride == 1 && outer->in == outer->out && inner->in == inner->out;
        if (plain && (int64_t)outer->in * inner->in <= INT_MAX) {
            inner->in = inner->out = outer->in * inner->in;
            outer->in = outer->out = 1;
        }
    }
    for (int i = 0; i < 3; i++) {
        const fv_axis *a = &g.axis[i];
        g.padded_input |= a->before > 0 || a->after > 0;
        if (!setting->input_gradient)
            continue;
        /* Input cell i sees outputs (i + before) / stride - m, m < ceil(kernel / stride). */
        int reach = (a->kernel + a->stride - 1) / a->stride - 1 - a->before / a->stride;
        int last = (a->in - 1 + a->before) / a->stride - (a->out - 1);
        g.low[i] = reach > 0 ? reach : 0;
        g.high[i] = last > 0 ? last : 0;
    }
    g.filter_row = (int)fv_round_up((size_t)g.filters, (size_t)setting->kernels->vector);
    return g;
}

/* The algorithms, in fv_layer_plan.algorithm. */
typedef struct algorithm {
    void (*prepare)(const fv_conv_geometry *g, const fv_setting *setting, fv_layer_plan *plan);
    void (*pack)(const fv_conv_geometry *g, const fv_call *call);
    void (*forward)(const fv_conv_geometry *g, const fv_call *call);
    void (*backward)(const fv_conv_geometry *g, const fv_call *call);
} algorithm;

enum { DIRECT, WINOGRAD };
static const algorithm algorithms[] = {
    [DIRECT] = {fv_conv_direct_prepare, fv_conv_direct_pack, fv_conv_direct_forward,
                fv_conv_direct_backward},
    [WINOGRAD] = {fv_conv_winograd_prepare, fv_conv_winograd_pack, fv_conv_winograd_forward,
                  fv_conv_winograd_backward}};

static void prepare(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan) {
    (void)count;
    const fv_conv_options *o = options;
    fv_conv_geometry g = fv_conv_measure(o, inputs, setting);
    fv_activation_prepare(o->activation, fv_shape_count(output), setting, plan);
    plan->keep_input = setting->training;
    plan->algorithm = fv_conv_winograd_fits(&g, setting) ? WINOGRAD : DIRECT;
    algorithms[plan->algorithm].prepare(&g, setting, plan);
}

static void pack(const fv_call *call) {
    fv_conv_geometry g = fv_conv_measure(call->options, call->in_shape[0], call->setting);
    algorithms[call->plan->algorithm].pack(&g, call);
}

static void forward(const fv_call *call) {
    fv_conv_geometry g = fv_conv_measure(call->options, call->in_shape[0], call->setting);
    algorithms[call->plan->algorithm].forward(&g, call);
    fv_activation_forward(call, 0, call->samples, true);
}

static void backward(const fv_call *call) {
    fv_conv_geometry g = fv_conv_measure(call->options, call->in_shape[0], call->setting);
    fv_activation_backward(call, 0, call->samples);
    algorithms[call->plan->algorithm].backward(&g, call);
}

const fv_layer_type fv_layer_conv = {.name = "conv",
                                     .help = "convolution in as many axes as the input has",
                                     .options_size = sizeof(fv_conv_options),
                                     .params = params,
                                     .min_inputs = 1,
                                     .max_inputs = 1,
                                     .infer = infer,
                                     .prepare = prepare,
                                     .pack = pack,
                                     .forward = forward,
                                     .backward = backward};
