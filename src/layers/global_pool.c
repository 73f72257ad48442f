/* global_maxpool and global_avgpool: one window over all places, for each channel (Lin et al.
 * 2013). A vector of the channels, or (keep) all spatial sizes 1. */
#include "layers/pool.h"
#include <stddef.h>

static const fv_param params[] = {{.key = "keep",
                                   .type = FV_PARAM_BOOL,
                                   .offset = offsetof(fv_global_pool_options, keep),
                                   .help = "keep the spatial axes, with size 1"},
                                  {0}};

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_global_pool_options *o = options;
    if (fv_need_axes(inputs, "global pool"))
        return FV_SHAPE;
    inference->output = (fv_shape){.channels = inputs[0].channels};
    if (!o->keep)
        return FV_OK;
    inference->output.rank = inputs[0].rank;
    for (int i = 0; i < inputs[0].rank; i++)
        inference->output.size[i] = 1;
    return FV_OK;
}

static fv_window window_of(const fv_shape *input) {
    fv_axis axes[3];
    for (int i = 0; i < input->rank; i++)
        axes[i] = (fv_axis){.in = input->size[i], .out = 1, .kernel = input->size[i], .stride = 1};
    return fv_window_of(input, axes);
}

static void max_prepare(const void *options, const fv_shape *inputs, int count,
                        const fv_shape *output, const fv_setting *setting, fv_layer_plan *plan) {
    (void)options, (void)count, (void)output;
    fv_window window = window_of(inputs);
    if (setting->training)
        plan->kept = fv_maxpool_notes(&window);
}

static void max_forward(const fv_call *call) {
    fv_window window = window_of(call->in_shape[0]);
    fv_maxpool_forward(call, &window);
}

static void max_backward(const fv_call *call) {
    fv_window window = window_of(call->in_shape[0]);
    fv_maxpool_backward(call, &window);
}

static void average_forward(const fv_call *call) {
    fv_window window = window_of(call->in_shape[0]);
    fv_avgpool_forward(call, &window);
}

static void average_backward(const fv_call *call) {
    fv_window window = window_of(call->in_shape[0]);
    fv_avgpool_backward(call, &window);
}

const fv_layer_type fv_layer_global_maxpool = {.name = "global_maxpool",
                                               .help = "largest value of each channel",
                                               .options_size = sizeof(fv_global_pool_options),
                                               .params = params,
                                               .min_inputs = 1,
                                               .max_inputs = 1,
                                               .infer = infer,
                                               .prepare = max_prepare,
                                               .forward = max_forward,
                                               .backward = max_backward};

const fv_layer_type fv_layer_global_avgpool = {.name = "global_avgpool",
                                               .help = "mean of each channel",
                                               .options_size = sizeof(fv_global_pool_options),
                                               .params = params,
                                               .min_inputs = 1,
                                               .max_inputs = 1,
                                               .infer = infer,
                                               .forward = average_forward,
                                               .backward = average_backward};
