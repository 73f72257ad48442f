/* maxpool and avgpool: the largest value, or the mean, of a window that slides over each channel.
 * Of equal largest values the first in scan order gets the gradient. */
#include "layers/pool.h"
#include <limits.h>
#include <stddef.h>

/* ---- Shared, see pool.h ---------------------------------------------------------------------- */

fv_window fv_window_of(const fv_shape *input, const fv_axis axes[3]) {
    fv_window w = {.channels = input->channels};
    for (int i = 0; i < 3; i++) {
        fv_axis one = {.in = 1, .out = 1, .kernel = 1, .stride = 1};
        const fv_axis *axis = i < 3 - input->rank ? &one : &axes[i - (3 - input->rank)];
        w.in[i] = axis->in;
        w.out[i] = axis->out;
        w.size[i] = axis->kernel;
        w.stride[i] = axis->stride;
        w.before[i] = axis->before;
        w.after[i] = axis->after;
    }
    return w;
}

static size_t in_values(const fv_window *w) {
    return (size_t)w->in[0] * (size_t)w->in[1] * (size_t)w->in[2] * (size_t)w->channels;
}

static size_t out_values(const fv_window *w) {
    return (size_t)w->out[0] * (size_t)w->out[1] * (size_t)w->out[2] * (size_t)w->channels;
}

/* A winner is a byte where the window has at most 256 cells. */
size_t fv_maxpool_notes(const fv_window *w) {
    size_t bytes = (int64_t)w->size[0] * w->size[1] * w->size[2] <= 256 ? 1 : sizeof(int32_t);
    return fv_round_up(bytes * out_values(w), 64);
}

/* A sample at inference by rows of its output, which threads share. */
typedef struct pool_rows {
    const fv_call *call;
    const fv_window *window;
    bool average;
    const real *x;
    real *y;
} pool_rows;

/* The windows of row r are those of the first row of a map that is padded by r strides less. */
static void pool_row(void *argument, int row, int thread) {
    const pool_rows *p = argument;
    const fv_kernels *k = p->call->kernels;
    fv_window w = *p->window;
    real *y = p->y + (size_t)row * (size_t)w.out[2] * (size_t)w.channels;
    (void)thread;
    w.out[1] = 1;
    w.before[1] -= row * w.stride[1];
    if (p->average)
        k->avgpool(&w, p->x, y);
    else
        k->maxpool(&w, p->x, y, NULL);
}

/* False: not in this way. */
static bool share_rows(const fv_call *call, const fv_window *w, bool average) {
    if (!call->pool || w->adaptive || w->out[0] > 1 || w->out[1] == 1)
        return false;
    pool_rows p = {.call = call, .window = w, .average = average};
    for (int s = 0; s < call->samples; s++) {
        p.x = call->in[0] + (size_t)s * in_values(w);
        p.y = call->out + (size_t)s * out_values(w);
        fv_pool_run(call->pool, w->out[1], pool_row, &p);
    }
    return true;
}

void fv_maxpool_forward(const fv_call *call, const fv_window *w) {
    if (share_rows(call, w, false))
        return;
    size_t in = in_values(w), out = out_values(w);
    for (int s = 0; s < call->samples; s++)
        call->kernels->maxpool(w, call->in[0] + (size_t)s * in, call->out + (size_t)s * out,
                               call->setting->training ? call->kept + (size_t)s * call->plan->kept
                                                       : NULL);
}

void fv_maxpool_backward(const fv_call *call, const fv_window *w) {
    size_t in = in_values(w), out = out_values(w);
    for (int s = 0; s < call->samples && call->in_gradient[0]; s++)
        call->kernels->maxpool_back(w, call->out_gradient + (size_t)s * out,
                                    call->kept + (size_t)s * call->plan->kept,
                                    call->in_gradient[0] + (size_t)s * in);
}

void fv_avgpool_forward(const fv_call *call, const fv_window *w) {
    if (share_rows(call, w, true))
        return;
    size_t in = in_values(w), out = out_values(w);
    for (int s = 0; s < call->samples; s++)
        call->kernels->avgpool(w, call->in[0] + (size_t)s * in, call->out + (size_t)s * out);
}

void fv_avgpool_backward(const fv_call *call, const fv_window *w) {
    size_t in = in_values(w), out = out_values(w);
    for (int s = 0; s < call->samples && call->in_gradient[0]; s++)
        call->kernels->avgpool_back(w, call->out_gradient + (size_t)s * out,
                                    call->in_gradient[0] + (size_t)s * in);
}

/* ---- The layers ------------------------------------------------------------------------------ */

#define POOL_PARAMS                                                                                \
    {.key = "size",                                                                                \
     .type = FV_PARAM_SIZES,                                                                       \
     .offset = offsetof(fv_pool_options, size),                                                    \
     .required = true,                                                                             \
     .position = 1,                                                                                \
     .low = 1,                                                                                     \
     .high = 1 << 20,                                                                              \
     .help = "cells of the window along each axis"},                                               \
        {.key = "stride",                                                                          \
         .type = FV_PARAM_SIZES,                                                                   \
         .offset = offsetof(fv_pool_options, stride),                                              \
         .low = 1,                                                                                 \
         .high = 1 << 20,                                                                          \
         .fallback_text = "size",                                                                  \
         .help = "step of the window along each axis"},                                            \
        {.key = "padding",                                                                         \
         .type = FV_PARAM_CHOICE,                                                                  \
         .offset = offsetof(fv_pool_options, padding),                                             \
         .choices = fv_padding_names,                                                              \
         .help = "valid: none but pad; same: ceil(input / stride) outputs, as TensorFlow pads; "   \
                 "same_lower: its odd cell in front; causal: all in front"},                       \
        {.key = "pad",                                                                             \
         .type = FV_PARAM_PADS,                                                                    \
         .offset = offsetof(fv_pool_options, pad),                                                 \
         .low = 0,                                                                                 \
         .high = 1 << 20,                                                                          \
         .help = "cells outside the input, before:after along each axis"},                         \
    {                                                                                              \
        .key = "ceil", .type = FV_PARAM_BOOL, .offset = offsetof(fv_pool_options, ceil),           \
        .help = "round the output size up: the last windows reach past the end"                    \
    }

static const fv_param max_params[] = {POOL_PARAMS, {0}};
static const fv_param average_params[] = {
    POOL_PARAMS,
    {.key = "count_include_pad",
     .type = FV_PARAM_BOOL,
     .offset = offsetof(fv_pool_options, count_include_pad),
     .help = "padded cells count in the mean's divisor (PyTorch's default)"},
    {0}};

static fv_status slide(const fv_pool_options *o, const fv_shape *input, fv_axis axes[3]) {
    fv_status status = fv_slide(input,
                                &(fv_slide_options){.kernel = o->size,
                                                    .stride = o->stride[0] ? o->stride : o->size,
                                                    .padding = o->padding,
                                                    .pad = o->pad,
                                                    .ceil = o->ceil,
                                                    .what = "window"},
                                axes);
    for (int i = 0; !status && i < input->rank; i++)
        if (axes[i].before > axes[i].kernel / 2 || axes[i].after > axes[i].kernel / 2)
            if (o->padding == FV_VALID)
                return fv_fail(FV_SHAPE,
                               "pad %d:%d is more than half the window of %d: some windows would "
                               "see padding only (use a smaller pad)",
                               axes[i].before, axes[i].after, axes[i].kernel);
    return status;
}

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    fv_axis axes[3];
    fv_status status = slide(options, inputs, axes);
    if (status)
        return status;
    inference->output = inputs[0];
    for (int i = 0; i < inputs[0].rank; i++)
        inference->output.size[i] = axes[i].out;
    return FV_OK;
}

static fv_window window_of(const fv_pool_options *options, const fv_shape *input) {
    fv_axis axes[3];
    slide(options, input, axes); /* infer has checked it */
    fv_window window = fv_window_of(input, axes);
    window.count_pad = options->count_include_pad;
    return window;
}

static void max_prepare(const void *options, const fv_shape *inputs, int count,
                        const fv_shape *output, const fv_setting *setting, fv_layer_plan *plan) {
    (void)count, (void)output;
    fv_window window = window_of(options, inputs);
    if (setting->training)
        plan->kept = fv_maxpool_notes(&window);
}

static void max_forward(const fv_call *call) {
    fv_window window = window_of(call->options, call->in_shape[0]);
    fv_maxpool_forward(call, &window);
}

static void max_backward(const fv_call *call) {
    fv_window window = window_of(call->options, call->in_shape[0]);
    fv_maxpool_backward(call, &window);
}

static void average_forward(const fv_call *call) {
    fv_window window = window_of(call->options, call->in_shape[0]);
    fv_avgpool_forward(call, &window);
}

static void average_backward(const fv_call *call) {
    fv_window window = window_of(call->options, call->in_shape[0]);
    fv_avgpool_backward(call, &window);
}

const fv_layer_type fv_layer_maxpool = {.name = "maxpool",
                                        .help = "largest value of each window",
                                        .options_size = sizeof(fv_pool_options),
                                        .params = max_params,
                                        .min_inputs = 1,
                                        .max_inputs = 1,
                                        .infer = infer,
                                        .prepare = max_prepare,
                                        .forward = max_forward,
                                        .backward = max_backward};

const fv_layer_type fv_layer_avgpool = {.name = "avgpool",
                                        .help = "mean of each window",
                                        .options_size = sizeof(fv_pool_options),
                                        .params = average_params,
                                        .min_inputs = 1,
                                        .max_inputs = 1,
                                        .infer = infer,
                                        .forward = average_forward,
                                        .backward = average_backward};
