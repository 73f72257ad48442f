/* input: where samples enter. Bytes or floats become real numbers y = x * scale - mean. */
#include "layers/layer.h"
#include <stddef.h>
#include <string.h>

static const fv_param params[] = {
    {.key = "shape",
     .type = FV_PARAM_SHAPE,
     .offset = offsetof(fv_input_options, shape),
     .required = true,
     .position = 1,
     .low = 1,
     .high = 1 << 24,
     .help = "spatial sizes and channels of a sample; * is a size that may vary"},
    {.key = "scale",
     .type = FV_PARAM_NUMBER,
     .offset = offsetof(fv_input_options, scale),
     .low = FV_ABOVE_ZERO,
     .high = 1e30,
     .fallback = 1,
     .help = "factor on every value, such as 1/255 for bytes"},
    {.key = "mean",
     .type = FV_PARAM_NUMBERS,
     .offset = offsetof(fv_input_options, mean),
     .offset2 = offsetof(fv_input_options, means),
     .low = -1e30,
     .high = 1e30,
     .help = "subtracted after scaling: one number, or one for each of up to 4 channels"},
    {.key = "resize",
     .type = FV_PARAM_CHOICE,
     .offset = offsetof(fv_input_options, resize),
     .choices = fv_resize_names,
     .help = "how pictures of another size are made to fit"},
    {0}};

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)inputs, (void)count;
    const fv_input_options *o = options;
    char text[64];
    if (o->shape.rank < 0 || o->shape.rank > 3 || o->shape.channels < 1)
        return fv_fail(FV_SHAPE,
                       "input has %d spatial axes and %d channels; 0 to 3 axes and at "
                       "least 1 channel are possible",
                       o->shape.rank, o->shape.channels);
    for (int i = 0; i < o->shape.rank; i++)
        if (o->shape.size[i] < 1 && o->shape.size[i] != FV_ANY)
            return fv_fail(FV_SHAPE, "input %s: sizes must be 1 or more, or * (FV_ANY)",
                           fv_shape_text(&o->shape, text));
    if (o->means > 1 && o->means != o->shape.channels)
        return fv_fail(FV_SHAPE, "%d means were given for an input of %d channels", o->means,
                       o->shape.channels);
    inference->output = o->shape;
    for (int i = o->shape.rank; i < 3; i++)
        inference->output.size[i] = 0;
    return FV_OK;
}

static void subtract_mean(const fv_input_options *options, size_t pixels, int channels, real *y) {
    for (size_t p = 0; p < pixels; p++)
        for (int c = 0; c < channels; c++)
            y[p * (size_t)channels + (size_t)c] -= (real)options->mean[options->means > 1 ? c : 0];
}

static void forward(const fv_call *call) {
    const fv_input_options *options = call->options;
    size_t values = fv_shape_count(call->out_shape);
    for (int s = 0; s < call->samples; s++) {
        real *y = call->out + (size_t)s * values;
        if (call->source_bytes) {
            call->kernels->bytes_to_real(values, call->source[s], y);
        } else if (call->source_reals) {
            memcpy(y, call->source[s], values * sizeof *y);
        } else {
            const float *x = call->source[s];
            for (size_t i = 0; i < values; i++)
                y[i] = (real)x[i];
        }
        if (options->scale != 0 && options->scale != 1)
            call->kernels->scale(values, (real)options->scale, y);
        if (options->means > 0)
            subtract_mean(options, values / (size_t)call->out_shape->channels,
                          call->out_shape->channels, y);
    }
}

const fv_layer_type fv_layer_input = {.name = "input",
                                      .help = "where samples enter: x * scale - mean",
                                      .options_size = sizeof(fv_input_options),
                                      .params = params,
                                      .infer = infer,
                                      .forward = forward};
