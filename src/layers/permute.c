/* permute: the axes of a sample in another order, channels counted last, as Keras has it. */
#include "layers/layer.h"
#include <stddef.h>
#include <string.h>

static const fv_param params[] = {
    {.key = "axes",
     .type = FV_PARAM_NUMBERS,
     .offset = offsetof(fv_permute_options, axes),
     .offset2 = offsetof(fv_permute_options, count),
     .required = true,
     .position = 1,
     .low = 1,
     .high = 4,
     .help = "for each axis of the output one of the input, from 1, channels last: 2,1,3"},
    {0}};

static int size_of(const fv_shape *shape, int axis) {
    return axis < shape->rank ? shape->size[axis] : shape->channels;
}

static fv_status check(const fv_permute_options *o, const fv_shape *input) {
    char text[64];
    if (o->count != input->rank + 1)
        return fv_fail(FV_SHAPE, "%d axes are given, but the input %s has %d, channels included",
                       o->count, fv_shape_text(input, text), input->rank + 1);
    unsigned seen = 0;
    for (int i = 0; i < o->count; i++)
        for (int axis = 1; axis <= o->count; axis++)
            seen |= o->axes[i] == axis ? 1u << axis : 0;
    if (seen != (2u << o->count) - 2)
        return fv_fail(FV_SHAPE, "axes must name each of 1 to %d once, for the input %s", o->count,
                       fv_shape_text(input, text));
    if (size_of(input, (int)o->axes[o->count - 1] - 1) == FV_ANY)
        return fv_fail(FV_SHAPE,
                       "an axis of %s whose size varies cannot become the channels (give the "
                       "input fixed sizes)",
                       fv_shape_text(input, text));
    return FV_OK;
}

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_permute_options *o = options;
    if (check(o, inputs))
        return FV_SHAPE;
    inference->output = inputs[0];
    for (int i = 0; i < inputs[0].rank; i++)
        inference->output.size[i] = size_of(inputs, (int)o->axes[i] - 1);
    inference->output.channels = size_of(inputs, (int)o->axes[inputs[0].rank] - 1);
    return FV_OK;
}

/* A dense array of four axes gathered from one whose steps along them are `step`; axis `dense` is
 * that which lies side by side there. */
typedef struct order {
    size_t size[4], step[4];
    int dense;
} order;

/* source[i]: which axis of the other array axis i is. Axes that are missing come first. */
static order order_of(const fv_shape *from, const fv_shape *to, const int source[4]) {
    order o = {.dense = 3};
    size_t steps[4] = {0}, step = 1;
    int missing = 3 - to->rank;
    for (int i = 3; i >= missing; i--) {
        steps[i] = step;
        step *= (size_t)size_of(from, i - missing);
    }
    for (int i = 0; i < 4; i++) {
        o.size[i] = i < missing ? 1 : (size_t)size_of(to, i - missing);
        o.step[i] = i < missing ? 0 : steps[source[i]];
        if (source[i] == 3)
            o.dense = i;
    }
    return o;
}

/* Rows of the last axis are copied where it is dense there too; else it and the dense axis are
 * transposed in tiles that stay in the cache. */
static void gather(const order *o, const real *from, real *to) {
    enum { TILE = 16 }; /* speed only */
    size_t row[4] = {o->size[1] * o->size[2] * o->size[3], o->size[2] * o->size[3], o->size[3], 1};
    size_t size[3] = {o->size[0], o->size[1], o->size[2]}, rows = 1;
    if (o->dense < 3) {
        rows = size[o->dense];
        size[o->dense] = 1;
    }
    for (size_t a = 0; a < size[0]; a++)
        for (size_t b = 0; b < size[1]; b++)
            for (size_t c = 0; c < size[2]; c++) {
                const real *x = from + a * o->step[0] + b * o->step[1] + c * o->step[2];
                real *y = to + a * row[0] + b * row[1] + c * row[2];
                if (o->dense == 3) {
                    memcpy(y, x, o->size[3] * sizeof(real));
                    continue;
                }
                for (size_t i = 0; i < rows; i += TILE)
                    for (size_t j = 0; j < o->size[3]; j += TILE)
                        for (size_t k = i; k < rows && k < i + TILE; k++)
                            for (size_t l = j; l < o->size[3] && l < j + TILE; l++)
                                y[k * row[o->dense] + l] = x[k + l * o->step[3]];
            }
}

/* Four axes of the input for those of the output, the missing ones in front. */
static void sources(const fv_permute_options *o, int source[4]) {
    int missing = 4 - o->count;
    for (int i = 0; i < 4; i++)
        source[i] = i < missing ? i : (int)o->axes[i - missing] - 1 + missing;
}

static void forward(const fv_call *call) {
    size_t values = fv_shape_count(call->out_shape);
    int source[4];
    sources(call->options, source);
    order o = order_of(call->in_shape[0], call->out_shape, source);
    for (int s = 0; s < call->samples; s++)
        gather(&o, call->in[0] + (size_t)s * values, call->out + (size_t)s * values);
}

static void backward(const fv_call *call) {
    size_t values = fv_shape_count(call->out_shape);
    int source[4], inverse[4];
    sources(call->options, source);
    for (int i = 0; i < 4; i++)
        inverse[source[i]] = i;
    order o = order_of(call->out_shape, call->in_shape[0], inverse);
    for (int s = 0; s < call->samples && call->in_gradient[0]; s++)
        gather(&o, call->out_gradient + (size_t)s * values,
               call->in_gradient[0] + (size_t)s * values);
}

const fv_layer_type fv_layer_permute = {.name = "permute",
                                        .help = "the axes in another order",
                                        .options_size = sizeof(fv_permute_options),
                                        .params = params,
                                        .min_inputs = 1,
                                        .max_inputs = 1,
                                        .infer = infer,
                                        .forward = forward,
                                        .backward = backward};
