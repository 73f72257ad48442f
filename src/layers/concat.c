/* concat: inputs one behind another along an axis, or their channels side by side. */
#include "layers/box.h"
#include <stddef.h>

static const fv_param params[] = {{.key = "axis",
                                   .type = FV_PARAM_INT,
                                   .offset = offsetof(fv_concat_options, axis),
                                   .low = 0,
                                   .high = 3,
                                   .help = "a spatial axis, from 1; 0: the channels"},
                                  {0}};

static fv_status fail_unequal(const fv_shape *inputs, int i, int axis) {
    char text[2][64];
    return fv_fail(FV_SHAPE, "inputs 1 and %d do not fit together: %s and %s may differ in %s only",
                   i + 1, fv_shape_text(&inputs[0], text[0]), fv_shape_text(&inputs[i], text[1]),
                   axis == 0   ? "their channels"
                   : axis == 1 ? "their first size"
                   : axis == 2 ? "their second size"
                               : "their third size");
}

/* Joins the shape of input i to that of those before it. */
static fv_status join_shape(const fv_shape *inputs, int i, int axis, fv_shape *output) {
    if (inputs[i].rank != output->rank)
        return fail_unequal(inputs, i, axis);
    for (int a = 0; a <= output->rank; a++) { /* axis 0 are the channels */
        int more = a == 0 ? inputs[i].channels : inputs[i].size[a - 1];
        int *size = a == 0 ? &output->channels : &output->size[a - 1];
        if (a != axis && *size != more && *size != FV_ANY && more != FV_ANY)
            return fail_unequal(inputs, i, axis);
        if (a != axis)
            *size = *size == FV_ANY ? more : *size;
        else if (*size == FV_ANY || more == FV_ANY)
            *size = FV_ANY;
        else if (fv_set_size((int64_t)*size + more, &inputs[i], size))
            return FV_SHAPE;
    }
    return FV_OK;
}

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    int axis = ((const fv_concat_options *)options)->axis;
    if (fv_check_axis(inputs, axis))
        return FV_SHAPE;
    inference->output = inputs[0];
    for (int i = inputs[0].rank; i < 3; i++)
        inference->output.size[i] = 0; /* vectors together remember no sizes */
    fv_status status = FV_OK;
    for (int i = 1; !status && i < count; i++)
        status = join_shape(inputs, i, axis, &inference->output);
    return status;
}

/* The part of the output that is input i; *begin moves on behind it. */
static fv_box part(const fv_call *call, int i, int *begin) {
    int axis = ((const fv_concat_options *)call->options)->axis;
    const fv_shape *input = call->in_shape[i];
    int at[4] = {0};
    at[axis == 0 ? 3 : axis - 1] = *begin;
    *begin += axis == 0 ? input->channels : input->size[axis - 1];
    return fv_box_of(input, call->out_shape, at);
}

/* Of each input rows of its outermost axis, so that threads may share a sample. */
typedef struct stretch_work {
    const fv_call *call;
    int sample, stretches;
} stretch_work;

enum { STRETCH_VALUES = 4096 }; /* speed only */

static void put_stretch(void *argument, int unit, int thread) {
    const stretch_work *w = argument;
    const fv_call *call = w->call;
    size_t out = fv_shape_count(call->out_shape), share = (size_t)unit;
    (void)thread;
    for (int i = 0, begin = 0; i < call->input_count; i++) {
        const fv_shape *shape = call->in_shape[i];
        size_t in = fv_shape_count(shape), stretches = (size_t)w->stretches;
        fv_box box = part(call, i, &begin);
        int outer = shape->rank > 0 ? 3 - shape->rank : 3;
        size_t rows = box.size[outer], row = in / rows, first = rows * share / stretches;
        box.size[outer] = rows * (share + 1) / stretches - first;
        box.at[outer] += first;
        if (box.size[outer] > 0)
            fv_box_put(&box, call->in[i] + (size_t)w->sample * in + first * row,
                       call->out + (size_t)w->sample * out);
    }
}

static void forward(const fv_call *call) {
    size_t all = fv_shape_count(call->out_shape);
    stretch_work w = {.call = call, .stretches = 1};
    if (call->pool && all > STRETCH_VALUES)
        w.stretches = (int)((all + STRETCH_VALUES - 1) / STRETCH_VALUES);
    for (w.sample = 0; w.sample < call->samples; w.sample++)
        fv_pool_run(call->pool, w.stretches, put_stretch, &w);
}

static void backward(const fv_call *call) {
    size_t out = fv_shape_count(call->out_shape);
    for (int i = 0, begin = 0; i < call->input_count; i++) {
        size_t in = fv_shape_count(call->in_shape[i]);
        fv_box box = part(call, i, &begin);
        for (int s = 0; s < call->samples && call->in_gradient[i]; s++)
            fv_box_take(&box, call->out_gradient + (size_t)s * out,
                        call->in_gradient[i] + (size_t)s * in);
    }
}

const fv_layer_type fv_layer_concat = {.name = "concat",
                                       .help = "inputs one behind another along an axis, or their "
                                               "channels side by side",
                                       .options_size = sizeof(fv_concat_options),
                                       .params = params,
                                       .min_inputs = 2,
                                       .max_inputs = FV_MAX_INPUTS,
                                       .recomputes = true,
                                       .infer = infer,
                                       .forward = forward,
                                       .backward = backward};
