/* depthwise_conv: each channel has `multiplier` kernels of its own. It is the convolution with a
 * group a channel; in files its weights are (channels x multiplier, 1, kernel). */
#include "layers/conv.h"
#include "layers/conv_params.h"
#include <string.h>

static const fv_param params[] = {
    FV_CONV_KERNEL(fv_depthwise_conv_options, 1),
    FV_CONV_ACTIVATION(fv_depthwise_conv_options, 2),
    FV_CONV_MULTIPLIER(fv_depthwise_conv_options),
    FV_CONV_SLIDE(fv_depthwise_conv_options),
    FV_CONV_DILATION(fv_depthwise_conv_options),
    FV_CONV_BORDER(fv_depthwise_conv_options),
    FV_CONV_BIAS(fv_depthwise_conv_options),
    FV_CONV_INIT(fv_depthwise_conv_options, init, "how the weights start"),
    FV_CONV_BIAS_INIT(fv_depthwise_conv_options),
    {0}};

fv_status fv_conv_check_multiplier(int multiplier, const fv_shape *input) {
    char text[64];
    if ((int64_t)input->channels * multiplier <= 1 << 24)
        return FV_OK;
    return fv_fail(FV_SHAPE,
                   "multiplier=%d of the input %s gives more than 2^24 filters (make it smaller)",
                   multiplier, fv_shape_text(input, text));
}

fv_conv_options fv_conv_depthwise_options(const fv_depthwise_conv_options *o,
                                          const fv_shape *input) {
    fv_conv_options conv = {.filters = input->channels * (o->multiplier ? o->multiplier : 1),
                            .activation = o->activation,
                            .groups = input->channels,
                            .padding = o->padding,
                            .no_bias = o->no_bias,
                            .init = o->init,
                            .bias_init = o->bias_init};
    memcpy(conv.kernel, o->kernel, sizeof conv.kernel);
    memcpy(conv.stride, o->stride, sizeof conv.stride);
    memcpy(conv.dilation, o->dilation, sizeof conv.dilation);
    memcpy(conv.pad, o->pad, sizeof conv.pad);
    return conv;
}

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_depthwise_conv_options *o = options;
    fv_status status = fv_conv_check_multiplier(o->multiplier, inputs);
    if (status)
        return status;
    fv_conv_options conv = fv_conv_depthwise_options(o, inputs);
    return fv_conv_infer(&conv, inputs, inference);
}

static void prepare(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan) {
    (void)count;
    fv_conv_options conv = fv_conv_depthwise_options(options, inputs);
    fv_conv_prepare(&conv, inputs, output, setting, plan);
}

static bool takes_feed(const void *options, const fv_feeder *feeder, const fv_kernels *kernels) {
    fv_conv_options conv = fv_conv_depthwise_options(options, feeder->output);
    return fv_conv_takes_feed(&conv, feeder, kernels);
}

static void pack(const fv_call *call) {
    fv_conv_options conv = fv_conv_depthwise_options(call->options, call->in_shape[0]);
    fv_conv_pack(&conv, call);
}

static void forward(const fv_call *call) {
    fv_conv_options conv = fv_conv_depthwise_options(call->options, call->in_shape[0]);
    fv_conv_forward(&conv, call);
}

static void backward(const fv_call *call) {
    fv_conv_options conv = fv_conv_depthwise_options(call->options, call->in_shape[0]);
    fv_conv_backward(&conv, call);
}

const fv_layer_type fv_layer_depthwise_conv = {.name = "depthwise_conv",
                                               .help = "each channel has kernels of its own",
                                               .options_size = sizeof(fv_depthwise_conv_options),
                                               .params = params,
                                               .min_inputs = 1,
                                               .max_inputs = 1,
                                               .takes_affine = true,
                                               .infer = infer,
                                               .prepare = prepare,
                                               .takes_feed = takes_feed,
                                               .pack = pack,
                                               .forward = forward,
                                               .backward = backward};
