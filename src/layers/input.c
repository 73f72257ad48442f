/* input: where samples enter. Bytes or floats become real numbers y = (x * scale - mean) /
 * deviation. How pictures are made to fit is in data/picture.c. */
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
    {.key = "deviation",
     .type = FV_PARAM_NUMBERS,
     .offset = offsetof(fv_input_options, deviation),
     .offset2 = offsetof(fv_input_options, deviations),
     .low = 1e-30,
     .high = 1e30,
     .fallback = 1,
     .help = "divides what is left: one number, or one for each of up to 4 channels"},
    {.key = "resize",
     .type = FV_PARAM_CHOICE,
     .offset = offsetof(fv_input_options, resize),
     .choices = fv_resize_names,
     .help = "how pictures of another size are made to fit"},
    {.key = "side",
     .type = FV_PARAM_INT,
     .offset = offsetof(fv_input_options, side),
     .low = 1,
     .high = 1 << 16,
     .fallback_text = "none",
     .help = "pictures are first resized to this shorter side, then the centre is cut out"},
    {0}};

static fv_status check_side(const fv_input_options *o) {
    char text[64];
    if (o->shape.rank != 2)
        return fv_fail(FV_SHAPE, "side=%d is for pictures, and the input %s is none", o->side,
                       fv_shape_text(&o->shape, text));
    if (o->resize == FV_RESIZE_NONE)
        return fv_fail(FV_INVALID, "side=%d needs to know how to resize: add resize=antialias",
                       o->side);
    if (o->shape.size[0] == FV_ANY || o->shape.size[1] == FV_ANY)
        return fv_fail(FV_SHAPE, "side=%d cuts an input of known sizes out, not one of %s", o->side,
                       fv_shape_text(&o->shape, text));
    if (o->shape.size[0] > o->side || o->shape.size[1] > o->side)
        return fv_fail(FV_SHAPE, "an input of %s cannot be cut out of pictures whose side is %d",
                       fv_shape_text(&o->shape, text), o->side);
    return FV_OK;
}

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
    if (o->deviations > 1 && o->deviations != o->shape.channels)
        return fv_fail(FV_SHAPE, "%d deviations were given for an input of %d channels",
                       o->deviations, o->shape.channels);
    fv_status status = o->side > 0 ? check_side(o) : FV_OK;
    if (status)
        return status;
    inference->output = o->shape;
    for (int i = o->shape.rank; i < 3; i++)
        inference->output.size[i] = 0;
    return FV_OK;
}

/* Mean and deviation of each channel again and again: an inner loop of a length that vectors like.
 * 1 to 4 channels fit in a whole number of times; more have one value for all. */
enum { PERIOD = 12 };
typedef struct pattern {
    real mean[PERIOD], deviation[PERIOD];
} pattern;

static pattern make_pattern(const fv_input_options *o, int channels) {
    pattern p;
    for (int i = 0; i < PERIOD; i++) {
        int c = i % channels;
        p.mean[i] = o->means > 0 ? (real)o->mean[o->means > 1 ? c : 0] : 0;
        p.deviation[i] = o->deviations > 0 ? (real)o->deviation[o->deviations > 1 ? c : 0] : 1;
    }
    return p;
}

static void standardize(const pattern *p, size_t count, real *y) {
    size_t i = 0;
    for (; i + PERIOD <= count; i += PERIOD)
        for (size_t k = 0; k < PERIOD; k++)
            y[i + k] = (y[i + k] - p->mean[k]) / p->deviation[k];
    for (size_t k = 0; i < count; i++, k++)
        y[i] = (y[i] - p->mean[k]) / p->deviation[k];
}

void fv_input_gradient(const fv_input_options *options, const fv_kernels *kernels, size_t count,
                       real *gradient) {
    pattern p = make_pattern(options, options->shape.channels);
    if (options->scale != 0 && options->scale != 1)
        kernels->scale(count, (real)options->scale, gradient);
    for (size_t i = 0; options->deviations > 0 && i < count; i++)
        gradient[i] /= p.deviation[i % PERIOD];
}

/* Some values of a sample, so that threads may share it. */
typedef struct stretch_work {
    const fv_call *call;
    pattern pattern;
    int sample;
    size_t values; /* of a stretch: whole periods */
} stretch_work;

enum { STRETCH_VALUES = 1024 * PERIOD }; /* speed only */

static void read_values(const fv_call *call, int sample, size_t first, size_t count, real *y) {
    const void *source = call->source[sample];
    if (call->source_bytes)
        call->kernels->bytes_to_real(count, (const unsigned char *)source + first, y);
    else if (call->source_reals)
        memcpy(y, (const real *)source + first, count * sizeof *y);
    else
        for (size_t i = 0; i < count; i++)
            y[i] = (real)((const float *)source)[first + i];
}

static void input_stretch(void *argument, int unit, int thread) {
    const stretch_work *w = argument;
    const fv_call *call = w->call;
    const fv_input_options *options = call->options;
    size_t all = fv_shape_count(call->out_shape), first = (size_t)unit * w->values;
    size_t count = all - first < w->values ? all - first : w->values;
    real *y = call->out + (size_t)w->sample * all + first;
    (void)thread;
    read_values(call, w->sample, first, count, y);
    if (options->scale != 0 && options->scale != 1)
        call->kernels->scale(count, (real)options->scale, y);
    if (options->means > 0 || options->deviations > 0)
        standardize(&w->pattern, count, y);
}

static void forward(const fv_call *call) {
    size_t all = fv_shape_count(call->out_shape);
    stretch_work w = {.call = call,
                      .pattern = make_pattern(call->options, call->out_shape->channels),
                      .values = call->pool ? STRETCH_VALUES : all};
    for (w.sample = 0; w.sample < call->samples; w.sample++)
        fv_pool_run(call->pool, (int)((all + w.values - 1) / w.values), input_stretch, &w);
}

const fv_layer_type fv_layer_input = {.name = "input",
                                      .help = "where samples enter: (x * scale - mean) / deviation",
                                      .options_size = sizeof(fv_input_options),
                                      .params = params,
                                      .infer = infer,
                                      .forward = forward};
