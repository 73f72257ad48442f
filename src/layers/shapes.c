/* Shapes and sliding windows, shared by the layer files; and the words for option values. */
#include "layers/layer.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

const char *const fv_activation_names[] = {
    "linear",     "relu",     "sigmoid",  "tanh",        "softmax",     "relu6", "leaky_relu",
    "elu",        "selu",     "gelu",     "gelu_tanh",   "silu",        "mish",  "hard_sigmoid",
    "hard_swish", "softplus", "softsign", "scaled_tanh", "log_softmax", NULL};
const char *const fv_padding_names[] = {"valid", "same", "same_lower", "causal", NULL};
const char *const fv_formula_names[] = {"keras", "torch", "onnx", "caffe", NULL};
const char *const fv_init_names[] = {"default",
                                     "glorot_uniform",
                                     "glorot_normal",
                                     "he_uniform",
                                     "he_normal",
                                     "lecun_uniform",
                                     "lecun_normal",
                                     "normal",
                                     "constant",
                                     "truncated_normal",
                                     "uniform",
                                     "orthogonal",
                                     "kaiming_normal",
                                     "kaiming_normal_out",
                                     "fan_in_uniform",
                                     "sign",
                                     NULL};
const char *const fv_resize_names[] = {"none", "nearest", "bilinear", "antialias", NULL};

size_t fv_shape_count(const fv_shape *shape) {
    size_t count = (size_t)shape->channels;
    for (int i = 0; i < shape->rank; i++)
        count *= (size_t)shape->size[i];
    return count;
}

bool fv_same_shape(const fv_shape *a, const fv_shape *b) {
    bool same = a->rank == b->rank && a->channels == b->channels;
    for (int i = 0; same && i < a->rank; i++)
        same = a->size[i] == b->size[i];
    return same;
}

bool fv_sizes_fit(const fv_shape *a, const fv_shape *b) {
    bool fit = a->rank == b->rank;
    for (int i = 0; fit && i < a->rank; i++)
        fit = a->size[i] == b->size[i] || a->size[i] == FV_ANY || b->size[i] == FV_ANY;
    return fit;
}

const char *fv_shape_text(const fv_shape *shape, char text[64]) {
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < shape->rank; i++)
        if (shape->size[i] == FV_ANY)
            used += (size_t)snprintf(text + used, 64 - used, "*x");
        else
            used += (size_t)snprintf(text + used, 64 - used, "%dx", shape->size[i]);
    snprintf(text + used, 64 - used, "%d", shape->channels);
    return text;
}

fv_status fv_infer_same(const void *options, const fv_shape *inputs, int count,
                        fv_inference *inference) {
    (void)options, (void)count;
    inference->output = inputs[0];
    return FV_OK;
}

fv_init fv_init_or(fv_init init, fv_init_kind fallback) {
    if (init.kind == FV_INIT_DEFAULT)
        init.kind = fallback;
    return init;
}

int fv_size_at(const int values[3], int i, int fallback) {
    int value = values[i] ? values[i] : values[0];
    return value ? value : fallback;
}

/* Cells from a kernel's first to its last. */
static int64_t reach(const fv_axis *axis) {
    return (int64_t)axis->dilation * (axis->kernel - 1) + 1;
}

/* Padding and output size of one axis: the lecture's (W - F + P) / S + 1, rounded down or up; with
 * `same`, TensorFlow's: ceil(W / S) outputs, the padding that needs, its larger half behind (or,
 * same_lower, in front); causal: all of it in front. */
static void slide_axis(fv_axis *axis, fv_padding padding, bool ceil) {
    int64_t in = axis->in, kernel = reach(axis), stride = axis->stride;
    if (padding == FV_SAME || padding == FV_SAME_LOWER) {
        int64_t out = (in + stride - 1) / stride;
        int64_t needed = (out - 1) * stride + kernel - in;
        int64_t total = needed > 0 ? needed : 0;
        axis->before = (int)(padding == FV_SAME ? total / 2 : total - total / 2);
        axis->after = (int)(total - axis->before);
        axis->out = (int)out;
        return;
    }
    if (padding == FV_CAUSAL)
        axis->before = (int)(kernel - 1);
    int64_t room = in + axis->before + axis->after - kernel;
    int64_t out = room < 0 ? 0 : (room + (ceil ? stride - 1 : 0)) / stride + 1;
    if (ceil && out > 1 && (out - 1) * stride >= in + axis->before)
        out--; /* it would begin in the padding behind */
    axis->out = (int)out;
}

fv_status fv_need_axes(const fv_shape *input, const char *what) {
    if (input->rank > 0)
        return FV_OK;
    return fv_fail(FV_SHAPE,
                   "input is a vector of %d values, but a %s needs spatial axes, as in 28x28x1 "
                   "(remove the flatten or dense layer before it)",
                   input->channels, what);
}

fv_status fv_repeat_sizes(const fv_shape *input, const int given[3], const char *what,
                          int sizes[3]) {
    char text[64];
    if (fv_need_axes(input, what))
        return FV_SHAPE;
    for (int i = 0; i < 3; i++) {
        if (i >= input->rank && given[i] > 0)
            return fv_fail(FV_SHAPE, "the %s has %d axes, but the input %s has %d spatial axes",
                           what, i + 1, fv_shape_text(input, text), input->rank);
        sizes[i] = i < input->rank ? fv_size_at(given, i, 1) : 1;
    }
    return FV_OK;
}

fv_status fv_set_size(int64_t size, const fv_shape *input, int *output) {
    char text[64];
    if (size > INT_MAX)
        return fv_fail(FV_SHAPE,
                       "of the input %s it would make a size of %lld; 2147483647 is the "
                       "largest possible",
                       fv_shape_text(input, text), (long long)size);
    *output = (int)size;
    return FV_OK;
}

fv_status fv_slide_check(const fv_shape *input, const fv_slide_options *o) {
    char text[64];
    if (fv_need_axes(input, o->what))
        return FV_SHAPE;
    for (int i = input->rank; i < 3; i++)
        if (o->kernel[i] > 0 || o->stride[i] > 0 || (o->dilation && o->dilation[i] > 0))
            return fv_fail(FV_SHAPE,
                           "the %s or its stride has %d axes, but the input %s has %d spatial "
                           "axes",
                           o->what, i + 1, fv_shape_text(input, text), input->rank);
    for (int i = 0; i < 3; i++)
        if (o->padding != FV_VALID && (o->pad[i][0] > 0 || o->pad[i][1] > 0))
            return fv_fail(FV_INVALID, "padding=%s and pad= exclude each other (leave one out)",
                           fv_padding_names[o->padding]);
    if (o->padding == FV_CAUSAL && input->rank != 1)
        return fv_fail(FV_SHAPE, "padding=causal is for one spatial axis, but the input is %s",
                       fv_shape_text(input, text));
    return FV_OK;
}

fv_status fv_slide(const fv_shape *input, const fv_slide_options *o, fv_axis axes[3]) {
    char text[64];
    fv_status status = fv_slide_check(input, o);
    for (int i = 0; !status && i < input->rank; i++) {
        fv_axis *axis = &axes[i];
        *axis = (fv_axis){.in = input->size[i],
                          .out = FV_ANY,
                          .kernel = fv_size_at(o->kernel, i, 1),
                          .stride = fv_size_at(o->stride, i, 1),
                          .dilation = o->dilation ? fv_size_at(o->dilation, i, 1) : 1,
                          .before = o->padding == FV_VALID ? o->pad[i][0] : 0,
                          .after = o->padding == FV_VALID ? o->pad[i][1] : 0};
        if (reach(axis) > INT_MAX / 2)
            return fv_fail(FV_SHAPE, "%s of %d cells with dilation %d is too large", o->what,
                           axis->kernel, axis->dilation);
        if (axis->in != FV_ANY)
            slide_axis(axis, o->padding, o->ceil);
        if (axis->out == 0)
            return fv_fail(FV_SHAPE,
                           "%s of %lld cells is larger than axis %d of the input %s, which is %lld "
                           "with its padding (make the %s smaller or add padding=same)",
                           o->what, (long long)reach(axis), i + 1, fv_shape_text(input, text),
                           (long long)axis->in + axis->before + axis->after, o->what);
    }
    return status;
}
