/* Shapes and sliding windows, shared by the layer files; and the words for option values. */
#include "layers/layer.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

const char *const fv_activation_names[] = {"linear", "relu", "sigmoid", "tanh", "softmax", NULL};
const char *const fv_padding_names[] = {"valid", "same", NULL};
const char *const fv_init_names[] = {
    "default",       "glorot_uniform", "glorot_normal", "he_uniform", "he_normal",
    "lecun_uniform", "lecun_normal",   "normal",        "constant",   NULL};
const char *const fv_resize_names[] = {"none", "nearest", "bilinear", NULL};

size_t fv_shape_count(const fv_shape *shape) {
    size_t count = (size_t)shape->channels;
    for (int i = 0; i < shape->rank; i++)
        count *= (size_t)shape->size[i];
    return count;
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

fv_init fv_init_or(fv_init init, fv_init_kind fallback) {
    if (init.kind == FV_INIT_DEFAULT)
        init.kind = fallback;
    return init;
}

/* Value i of a list in which trailing zeros repeat the first (as sizes in options do). */
static int repeated(const int values[3], int i, int fallback) {
    int value = values[i] ? values[i] : values[0];
    return value ? value : fallback;
}

/* Padding and output size of one axis: the lecture's (W - F + P) / S + 1, rounded down; with
 * `same`, TensorFlow's: ceil(W / S) outputs, the padding that needs, its larger half behind. */
static void slide_axis(fv_axis *axis, fv_padding padding) {
    if (axis->in == FV_ANY) {
        axis->out = FV_ANY;
        return;
    }
    int64_t in = axis->in, kernel = axis->kernel, stride = axis->stride;
    if (padding == FV_SAME) {
        int64_t out = (in + stride - 1) / stride;
        int64_t needed = (out - 1) * stride + kernel - in;
        int64_t total = needed > 0 ? needed : 0;
        axis->before = (int)(total / 2);
        axis->after = (int)(total - total / 2);
        axis->out = (int)out;
    } else {
        int64_t room = in + axis->before + axis->after - kernel;
        axis->out = room < 0 ? 0 : (int)(room / stride + 1);
    }
}

fv_status fv_slide(const fv_shape *input, const int kernel[3], const int stride[3],
                   fv_padding padding, const int pad[3][2], const char *what, fv_axis axes[3]) {
    char text[64];
    if (input->rank == 0)
        return fv_fail(FV_SHAPE,
                       "input is a vector of %d values, but a %s needs spatial axes, as in "
                       "28x28x1 (remove the flatten or dense layer before it)",
                       input->channels, what);
    for (int i = input->rank; i < 3; i++)
        if (kernel[i] > 0 || stride[i] > 0)
            return fv_fail(FV_SHAPE,
                           "the %s or its stride has %d axes, but the input %s has %d spatial "
                           "axes",
                           what, i + 1, fv_shape_text(input, text), input->rank);
    for (int i = 0; i < 3; i++)
        if (padding == FV_SAME && (pad[i][0] > 0 || pad[i][1] > 0))
            return fv_fail(FV_INVALID, "padding=same and pad= exclude each other (leave one out)");
    for (int i = 0; i < input->rank; i++) {
        fv_axis *axis = &axes[i];
        *axis = (fv_axis){.in = input->size[i],
                          .kernel = repeated(kernel, i, 1),
                          .stride = repeated(stride, i, 1),
                          .before = padding == FV_SAME ? 0 : pad[i][0],
                          .after = padding == FV_SAME ? 0 : pad[i][1]};
        slide_axis(axis, padding);
        if (axis->out == 0)
            return fv_fail(FV_SHAPE,
                           "%s of %d cells is larger than axis %d of the input %s, which is %lld "
                           "with its padding (make the %s smaller or add padding=same)",
                           what, axis->kernel, i + 1, fv_shape_text(input, text),
                           (long long)axis->in + axis->before + axis->after, what);
    }
    return FV_OK;
}
