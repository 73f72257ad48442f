/* adaptive_maxpool and adaptive_avgpool: windows chosen so that the output has the sizes asked for,
 * whatever the input's: window i of an axis is [floor(i in / out), ceil((i + 1) in / out)), as in
 * PyTorch. */
#include "layers/pool.h"
#include <stddef.h>

static const fv_param params[] = {{.key = "size",
                                   .type = FV_PARAM_SIZES,
                                   .offset = offsetof(fv_adaptive_pool_options, size),
                                   .required = true,
                                   .position = 1,
                                   .low = 1,
                                   .high = 1 << 20,
                                   .help = "sizes of the output"},
                                  {0}};

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_adaptive_pool_options *o = options;
    int size[3];
    if (fv_repeat_sizes(inputs, o->size, "output of adaptive pooling", size))
        return FV_SHAPE;
    inference->output = inputs[0];
    for (int i = 0; i < inputs[0].rank; i++)
        inference->output.size[i] = size[i];
    return FV_OK;
}

/* `kernel` is the largest window: it has at most ceil(in / out) + 1 cells. */
static fv_window window_of(const fv_shape *input, const fv_shape *output) {
    fv_axis axes[3];
    for (int i = 0; i < input->rank; i++) {
        int in = input->size[i], out = output->size[i];
        int largest = in / out + 2;
        axes[i] =
            (fv_axis){.in = in, .out = out, .kernel = largest < in ? largest : in, .stride = 1};
    }
    fv_window window = fv_window_of(input, axes);
    window.adaptive = true;
    return window;
}

static void max_prepare(const void *options, const fv_shape *inputs, int count,
                        const fv_shape *output, const fv_setting *setting, fv_layer_plan *plan) {
    (void)options, (void)count;
    fv_window window = window_of(inputs, output);
    if (setting->training)
        plan->kept = fv_maxpool_notes(&window);
}

static void max_forward(const fv_call *call) {
    fv_window window = window_of(call->in_shape[0], call->out_shape);
    fv_maxpool_forward(call, &window);
}

static void max_backward(const fv_call *call) {
    fv_window window = window_of(call->in_shape[0], call->out_shape);
    fv_maxpool_backward(call, &window);
}

static void average_forward(const fv_call *call) {
    fv_window window = window_of(call->in_shape[0], call->out_shape);
    fv_avgpool_forward(call, &window);
}

static void average_backward(const fv_call *call) {
    fv_window window = window_of(call->in_shape[0], call->out_shape);
    fv_avgpool_backward(call, &window);
}

const fv_layer_type fv_layer_adaptive_maxpool = {
    .name = "adaptive_maxpool",
    .help = "largest value of each window; windows follow from the output's sizes",
    .options_size = sizeof(fv_adaptive_pool_options),
    .params = params,
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = infer,
    .prepare = max_prepare,
    .forward = max_forward,
    .backward = max_backward};

const fv_layer_type fv_layer_adaptive_avgpool = {
    .name = "adaptive_avgpool",
    .help = "mean of each window; windows follow from the output's sizes",
    .options_size = sizeof(fv_adaptive_pool_options),
    .params = params,
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = infer,
    .forward = average_forward,
    .backward = average_backward};
