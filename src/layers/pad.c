/* pad: cells around the input: a constant, its mirror image (reflect: the outermost cell is not
 * repeated) or its outermost cells (replicate); channels of the constant too. The borders are laid
 * one axis after another, innermost first, so that a corner is the border of a border. */
#include "layers/box.h"
#include <stddef.h>
#include <string.h>

static const char *const mode_names[] = {"constant", "reflect", "replicate", NULL};

static const fv_param params[] = {{.key = "pad",
                                   .type = FV_PARAM_PADS,
                                   .offset = offsetof(fv_pad_options, pad),
                                   .position = 1,
                                   .low = 0,
                                   .high = 1 << 20,
                                   .help = "cells outside the input, before:after along each axis"},
                                  {.key = "mode",
                                   .type = FV_PARAM_CHOICE,
                                   .offset = offsetof(fv_pad_options, mode),
                                   .choices = mode_names,
                                   .help = "what they hold: constant: value; reflect: the input "
                                           "mirrored; replicate: its outermost cells"},
                                  {.key = "value",
                                   .type = FV_PARAM_NUMBER,
                                   .offset = offsetof(fv_pad_options, value),
                                   .low = -1e30,
                                   .high = 1e30,
                                   .help = "of the cells, with mode=constant"},
                                  {.key = "channels_before",
                                   .type = FV_PARAM_INT,
                                   .offset = offsetof(fv_pad_options, channels_before),
                                   .low = 0,
                                   .high = 1 << 24,
                                   .help = "channels in front, with mode=constant"},
                                  {.key = "channels_after",
                                   .type = FV_PARAM_INT,
                                   .offset = offsetof(fv_pad_options, channels_after),
                                   .low = 0,
                                   .high = 1 << 24,
                                   .help = "channels behind, with mode=constant"},
                                  {0}};

/* A vector has channels only; pad= may say 0 for its missing axes. */
static fv_status check_options(const fv_pad_options *o, const fv_shape *input) {
    int cells = 0, channels = o->channels_before | o->channels_after;
    for (int i = 0; i < 3; i++)
        cells |= o->pad[i][0] | o->pad[i][1];
    if (!cells && !channels)
        return fv_fail(FV_INVALID,
                       "pad adds nothing (give pad=, channels_before= or channels_after=)");
    if (channels && o->mode != FV_PAD_CONSTANT)
        return fv_fail(FV_INVALID,
                       "channels_before and channels_after need mode=constant, not mode=%s",
                       mode_names[o->mode]);
    return cells ? fv_need_axes(input, "pad") : FV_OK;
}

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_pad_options *o = options;
    char text[64];
    fv_status status = check_options(o, inputs);
    if (status)
        return status;
    inference->output = inputs[0];
    if (fv_set_size((int64_t)inputs[0].channels + o->channels_before + o->channels_after, inputs,
                    &inference->output.channels))
        return FV_SHAPE;
    for (int i = 0; i < inputs[0].rank; i++) {
        int in = inputs[0].size[i], before = o->pad[i][0], after = o->pad[i][1];
        if (in == FV_ANY)
            continue;
        if (o->mode == FV_PAD_REFLECT && (before >= in || after >= in))
            return fv_fail(FV_SHAPE,
                           "pad %d:%d does not fit axis %d of the input %s: a mirror image has at "
                           "most %d cells (use mode=replicate or a smaller pad)",
                           before, after, i + 1, fv_shape_text(inputs, text), in - 1);
        if (fv_set_size((int64_t)in + before + after, inputs, &inference->output.size[i]))
            return FV_SHAPE;
    }
    return FV_OK;
}

static fv_box middle(const fv_call *call) {
    const fv_pad_options *o = call->options;
    return fv_box_of(call->in_shape[0], call->out_shape,
                     (const int[4]){o->pad[0][0], o->pad[1][0], o->pad[2][0], o->channels_before});
}

/* The cell that a border cell repeats, both counted within the padded axis. */
static size_t repeated_cell(const fv_box *b, int axis, size_t cell, fv_pad_mode mode) {
    size_t first = b->at[axis], last = first + b->size[axis] - 1;
    if (mode == FV_PAD_REPLICATE)
        return cell < first ? first : last;
    return cell < first ? 2 * first - cell : 2 * last - cell;
}

/* Lays the borders along `axis`, in each line of it that is in the middle of the axes outside it;
 * or (kernels given) adds them, as gradients, to the cells that they repeat. */
static void lay_borders(const fv_box *b, int axis, fv_pad_mode mode, const fv_kernels *add,
                        real *y) {
    size_t count = b->whole[3]; /* values of a cell */
    for (int i = 2; i > axis; i--)
        count *= b->whole[i];
    size_t lines[2] = {axis > 0 ? b->size[0] : 1, axis > 1 ? b->size[1] : 1};
    for (size_t line = 0; line < lines[0] * lines[1]; line++) {
        size_t outer = axis > 0 ? b->at[0] + line / lines[1] : 0;
        size_t row = axis > 1 ? outer * b->whole[1] + b->at[1] + line % lines[1] : outer;
        real *cells = y + row * b->whole[axis] * count;
        for (size_t i = 0; i < b->whole[axis]; i++) {
            if (i >= b->at[axis] && i < b->at[axis] + b->size[axis])
                continue;
            real *border = cells + i * count;
            real *inner = cells + repeated_cell(b, axis, i, mode) * count;
            if (add)
                add->add(count, border, inner);
            else
                memcpy(border, inner, count * sizeof(real));
        }
    }
}

static void forward(const fv_call *call) {
    const fv_pad_options *o = call->options;
    size_t in = fv_shape_count(call->in_shape[0]), out = fv_shape_count(call->out_shape);
    fv_box box = middle(call);
    for (int s = 0; s < call->samples; s++) {
        real *y = call->out + (size_t)s * out;
        for (size_t i = 0; i < out && o->mode == FV_PAD_CONSTANT; i++)
            y[i] = (real)o->value;
        fv_box_put(&box, call->in[0] + (size_t)s * in, y);
        for (int axis = 2; axis >= 0 && o->mode != FV_PAD_CONSTANT; axis--)
            lay_borders(&box, axis, o->mode, NULL, y);
    }
}

static void backward(const fv_call *call) {
    const fv_pad_options *o = call->options;
    size_t in = fv_shape_count(call->in_shape[0]), out = fv_shape_count(call->out_shape);
    fv_box box = middle(call);
    for (int s = 0; s < call->samples && call->in_gradient[0]; s++) {
        real *dy = call->out_gradient + (size_t)s * out;
        for (int axis = 0; axis < 3 && o->mode != FV_PAD_CONSTANT; axis++)
            lay_borders(&box, axis, o->mode, call->kernels, dy);
        fv_box_take(&box, dy, call->in_gradient[0] + (size_t)s * in);
    }
}

const fv_layer_type fv_layer_pad = {.name = "pad",
                                    .help = "cells around the input, or channels",
                                    .options_size = sizeof(fv_pad_options),
                                    .params = params,
                                    .min_inputs = 1,
                                    .max_inputs = 1,
                                    .infer = infer,
                                    .forward = forward,
                                    .backward = backward};
