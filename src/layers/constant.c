/* constant: the same values for every sample, whatever the input, which only says how many samples
 * there are (PyTorch's nn.Parameter, ONNX's initialisers as operands). Their gradient is the sum of
 * the output's over the samples; the input's is 0. Stored: spatial sizes, channels; in files
 * (channels, spatial...). */
#include "layers/layer.h"
#include <stddef.h>
#include <string.h>

static const fv_param params[] = {{.key = "shape",
                                   .type = FV_PARAM_SHAPE,
                                   .offset = offsetof(fv_constant_options, shape),
                                   .required = true,
                                   .position = 1,
                                   .low = 1,
                                   .high = 1 << 24,
                                   .help = "of the values"},
                                  {.key = "learn",
                                   .type = FV_PARAM_BOOL,
                                   .offset = offsetof(fv_constant_options, learn),
                                   .help = "the values learn"},
                                  {.key = "init",
                                   .type = FV_PARAM_INIT,
                                   .offset = offsetof(fv_constant_options, init),
                                   .fallback_text = "constant(0)",
                                   .help = "how the values start"},
                                  {0}};

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)inputs, (void)count;
    const fv_constant_options *o = options;
    fv_shape output = {.rank = o->shape.rank, .channels = o->shape.channels};
    fv_weight_spec *weight = &inference->weights[0];
    *weight = (fv_weight_spec){.name = "weight",
                               .rank = output.rank + 1,
                               .size = {(size_t)output.channels},
                               .fan_in = (size_t)output.channels,
                               .fan_out = (size_t)output.channels,
                               .init = o->init.kind ? o->init : (fv_init){FV_INIT_CONSTANT, 0},
                               .statistic = !o->learn};
    bool known = output.channels != FV_ANY;
    for (int i = 0; i < output.rank; i++) { /* axes[rank] is 0: the channels come last */
        output.size[i] = o->shape.size[i];
        known = known && output.size[i] != FV_ANY;
        weight->size[i + 1] = (size_t)output.size[i];
        weight->axes[i] = i + 1;
    }
    char text[64];
    if (!known)
        return fv_fail(FV_SHAPE, "constant needs each size as a number, not %s",
                       fv_shape_text(&output, text));
    inference->output = output;
    inference->weight_count = 1;
    return FV_OK;
}

static void forward(const fv_call *call) {
    size_t values = fv_shape_count(call->out_shape);
    for (size_t s = 0; s < (size_t)call->samples; s++)
        memcpy(call->out + s * values, call->weights[0], values * sizeof(real));
}

static void backward(const fv_call *call) {
    const fv_constant_options *o = call->options;
    size_t values = fv_shape_count(call->out_shape);
    real *dw = call->weight_gradients[0];
    if (call->in_gradient[0])
        memset(call->in_gradient[0], 0,
               (size_t)call->samples * fv_shape_count(call->in_shape[0]) * sizeof(real));
    if (!dw || !o->learn)
        return;
    if (call->first)
        memset(dw, 0, values * sizeof(real));
    for (size_t s = 0; s < (size_t)call->samples; s++)
        call->kernels->add(values, call->out_gradient + s * values, dw);
}

const fv_layer_type fv_layer_constant = {.name = "constant",
                                         .help = "the same values for every sample",
                                         .options_size = sizeof(fv_constant_options),
                                         .params = params,
                                         .min_inputs = 1,
                                         .max_inputs = 1,
                                         .infer = infer,
                                         .forward = forward,
                                         .backward = backward};
