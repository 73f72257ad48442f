/* crop: cells cut off along the spatial axes. */
#include "layers/box.h"
#include <stddef.h>

static const fv_param params[] = {{.key = "crop",
                                   .type = FV_PARAM_PADS,
                                   .offset = offsetof(fv_crop_options, crop),
                                   .required = true,
                                   .position = 1,
                                   .low = 0,
                                   .high = 1 << 24,
                                   .help = "cells cut off, before:after along each axis"},
                                  {0}};

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_crop_options *o = options;
    char text[64];
    if (fv_need_axes(inputs, "crop"))
        return FV_SHAPE;
    inference->output = inputs[0];
    for (int i = 0; i < inputs[0].rank; i++) {
        int64_t left = (int64_t)inputs[0].size[i] - o->crop[i][0] - o->crop[i][1];
        if (inputs[0].size[i] == FV_ANY)
            continue;
        if (left < 1)
            return fv_fail(FV_SHAPE, "crop %d:%d leaves nothing of axis %d of the input %s",
                           o->crop[i][0], o->crop[i][1], i + 1, fv_shape_text(inputs, text));
        inference->output.size[i] = (int)left;
    }
    return FV_OK;
}

static fv_box rest(const fv_call *call) {
    const fv_crop_options *o = call->options;
    return fv_box_of(call->out_shape, call->in_shape[0],
                     (const int[4]){o->crop[0][0], o->crop[1][0], o->crop[2][0], 0});
}

static void forward(const fv_call *call) {
    fv_box box = rest(call);
    fv_box_forward(call, &box);
}

static void backward(const fv_call *call) {
    fv_box box = rest(call);
    fv_box_backward(call, &box);
}

const fv_layer_type fv_layer_crop = {.name = "crop",
                                     .help = "cells cut off at the borders",
                                     .options_size = sizeof(fv_crop_options),
                                     .params = params,
                                     .min_inputs = 1,
                                     .max_inputs = 1,
                                     .infer = infer,
                                     .forward = forward,
                                     .backward = backward};
