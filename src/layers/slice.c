/* slice: a stretch [begin, end) of one axis, or of the channels. */
#include "layers/box.h"
#include <limits.h>
#include <stddef.h>

static const fv_param params[] = {{.key = "begin",
                                   .type = FV_PARAM_INT,
                                   .offset = offsetof(fv_slice_options, begin),
                                   .position = 1,
                                   .low = 0,
                                   .high = INT_MAX,
                                   .help = "the first that is taken, counted from 0"},
                                  {.key = "end",
                                   .type = FV_PARAM_INT,
                                   .offset = offsetof(fv_slice_options, end),
                                   .position = 2,
                                   .low = 0,
                                   .high = INT_MAX,
                                   .fallback_text = "behind the last",
                                   .help = "the first that is no longer taken"},
                                  {.key = "axis",
                                   .type = FV_PARAM_INT,
                                   .offset = offsetof(fv_slice_options, axis),
                                   .low = 0,
                                   .high = 3,
                                   .help = "a spatial axis, from 1; 0: the channels"},
                                  {0}};

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_slice_options *o = options;
    fv_shape *output = &inference->output;
    char text[64];
    if (fv_check_axis(inputs, o->axis))
        return FV_SHAPE;
    *output = inputs[0];
    for (int i = output->rank; i < 3; i++)
        output->size[i] = 0; /* a part of a vector remembers no sizes */
    int *size = o->axis == 0 ? &output->channels : &output->size[o->axis - 1];
    int end = o->end > 0 ? o->end : *size;
    if (*size == FV_ANY && o->end == 0)
        return FV_OK;
    if (o->begin >= end || (*size != FV_ANY && end > *size))
        return fv_fail(FV_SHAPE, "[%d, %d) is no part of the %d %s of the input %s", o->begin, end,
                       *size, o->axis == 0 ? "channels" : "cells of that axis",
                       fv_shape_text(inputs, text));
    *size = end - o->begin;
    return FV_OK;
}

static fv_box stretch(const fv_call *call) {
    const fv_slice_options *o = call->options;
    int at[4] = {0};
    at[o->axis == 0 ? 3 : o->axis - 1] = o->begin;
    return fv_box_of(call->out_shape, call->in_shape[0], at);
}

static void forward(const fv_call *call) {
    fv_box box = stretch(call);
    fv_box_forward(call, &box);
}

static void backward(const fv_call *call) {
    fv_box box = stretch(call);
    fv_box_backward(call, &box);
}

const fv_layer_type fv_layer_slice = {.name = "slice",
                                      .help = "a stretch of one axis, or of the channels",
                                      .options_size = sizeof(fv_slice_options),
                                      .params = params,
                                      .min_inputs = 1,
                                      .max_inputs = 1,
                                      .infer = infer,
                                      .forward = forward,
                                      .backward = backward};
