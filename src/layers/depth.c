/* depth_to_space: channels become blocks of cells; space_to_depth: the reverse. With order dcr
 * (TensorFlow, ONNX's default) channel = cell x channels + c, with crd (PyTorch's PixelShuffle,
 * ONNX's CRD) channel = c x cells + cell; the cells of a block are counted in scan order. */
#include "layers/layer.h"
#include <stddef.h>
#include <string.h>

static const char *const order_names[] = {"dcr", "crd", NULL};

static const fv_param params[] = {
    {.key = "block",
     .type = FV_PARAM_INT,
     .offset = offsetof(fv_depth_options, block),
     .required = true,
     .position = 1,
     .low = 1,
     .high = 1024,
     .help = "cells of a block along each spatial axis"},
    {.key = "order",
     .type = FV_PARAM_CHOICE,
     .offset = offsetof(fv_depth_options, order),
     .choices = order_names,
     .help = "of the many channels: dcr: cell, then channel, as TensorFlow; crd: channel, then "
             "cell, as PyTorch"},
    {0}};

static int64_t block_cells(const fv_depth_options *o, int rank) {
    int64_t cells = 1;
    for (int i = 0; i < rank; i++)
        cells *= o->block; /* at most 2^30 */
    return cells;
}

static fv_status infer_space(const void *options, const fv_shape *inputs, int count,
                             fv_inference *inference) {
    (void)count;
    const fv_depth_options *o = options;
    int64_t cells = block_cells(o, inputs[0].rank);
    char text[64];
    if (fv_need_axes(inputs, "depth_to_space"))
        return FV_SHAPE;
    if (inputs[0].channels % cells != 0)
        return fv_fail(FV_SHAPE, "block %d needs a multiple of %lld channels, but the input is %s",
                       o->block, (long long)cells, fv_shape_text(inputs, text));
    inference->output = inputs[0];
    inference->output.channels = (int)(inputs[0].channels / cells);
    for (int i = 0; i < inputs[0].rank; i++)
        if (inputs[0].size[i] != FV_ANY &&
            fv_set_size((int64_t)inputs[0].size[i] * o->block, inputs, &inference->output.size[i]))
            return FV_SHAPE;
    return FV_OK;
}

static fv_status infer_depth(const void *options, const fv_shape *inputs, int count,
                             fv_inference *inference) {
    (void)count;
    const fv_depth_options *o = options;
    char text[64];
    if (fv_need_axes(inputs, "space_to_depth"))
        return FV_SHAPE;
    inference->output = inputs[0];
    for (int i = 0; i < inputs[0].rank; i++) {
        int size = inputs[0].size[i];
        if (size != FV_ANY && size % o->block != 0)
            return fv_fail(FV_SHAPE,
                           "block %d does not divide axis %d of the input %s (pad or crop it)",
                           o->block, i + 1, fv_shape_text(inputs, text));
        inference->output.size[i] = size == FV_ANY ? FV_ANY : size / o->block;
    }
    return fv_set_size(inputs[0].channels * block_cells(o, inputs[0].rank), inputs,
                       &inference->output.channels);
}

/* Three axes of the small picture of many channels; those that are missing come first. */
typedef struct blocks {
    size_t size[3], block[3]; /* places, and cells of a block along each axis */
    size_t channels, cells;   /* of a cell; of a block */
    bool cells_last;
} blocks;

static blocks blocks_of(const fv_depth_options *o, const fv_shape *deep) {
    blocks b = {.cells = 1, .cells_last = o->order == FV_COLUMN_FIRST};
    for (int i = 0; i < 3; i++) {
        int own = i - (3 - deep->rank);
        b.size[i] = own < 0 ? 1 : (size_t)deep->size[own];
        b.block[i] = own < 0 ? 1 : (size_t)o->block;
        b.cells *= b.block[i];
    }
    b.channels = (size_t)deep->channels / b.cells;
    return b;
}

/* A row of a block's cells, which lies side by side in the large picture; `cell` is its first. */
static void move_row(const blocks *b, size_t cell, real *deep, real *wide, bool to_depth) {
    size_t count = b->block[2] * b->channels;
    if (!b->cells_last && to_depth)
        memcpy(deep + cell * b->channels, wide, count * sizeof(real));
    else if (!b->cells_last)
        memcpy(wide, deep + cell * b->channels, count * sizeof(real));
    else
        for (size_t i = 0; i < b->block[2]; i++)
            for (size_t c = 0; c < b->channels; c++) {
                real *one = deep + c * b->cells + cell + i, *other = wide + i * b->channels + c;
                *(to_depth ? one : other) = *(to_depth ? other : one);
            }
}

/* One sample. */
static void move(const blocks *b, real *deep, real *wide, bool to_depth) {
    size_t row = b->size[2] * b->block[2] * b->channels; /* of the large picture */
    size_t places = b->size[0] * b->size[1] * b->size[2];
    for (size_t p = 0; p < places; p++, deep += b->cells * b->channels) {
        size_t x = p % b->size[2], y = p / b->size[2] % b->size[1], z = p / b->size[2] / b->size[1];
        for (size_t k = 0; k < b->block[0] * b->block[1]; k++) {
            size_t plane = z * b->block[0] + k / b->block[1];
            size_t line = plane * b->size[1] * b->block[1] + y * b->block[1] + k % b->block[1];
            move_row(b, k * b->block[2], deep, wide + line * row + x * b->block[2] * b->channels,
                     to_depth);
        }
    }
}

/* All samples; the arrays have equally many values. */
static void move_all(const fv_call *call, const fv_shape *deep_shape, real *deep, real *wide,
                     bool to_depth) {
    blocks b = blocks_of(call->options, deep_shape);
    size_t values = fv_shape_count(deep_shape);
    for (int s = 0; s < call->samples; s++)
        move(&b, deep + (size_t)s * values, wide + (size_t)s * values, to_depth);
}

/* What is only read is not const here, since one function moves both ways. */
static real *input_of(const fv_call *call) {
    return (real *)(uintptr_t)call->in[0];
}

static void space_forward(const fv_call *call) {
    move_all(call, call->in_shape[0], input_of(call), call->out, false);
}

static void space_backward(const fv_call *call) {
    if (call->in_gradient[0])
        move_all(call, call->in_shape[0], call->in_gradient[0], call->out_gradient, true);
}

static void depth_forward(const fv_call *call) {
    move_all(call, call->out_shape, call->out, input_of(call), true);
}

static void depth_backward(const fv_call *call) {
    if (call->in_gradient[0])
        move_all(call, call->out_shape, call->out_gradient, call->in_gradient[0], false);
}

const fv_layer_type fv_layer_depth_to_space = {.name = "depth_to_space",
                                               .help = "channels become blocks of cells",
                                               .options_size = sizeof(fv_depth_options),
                                               .params = params,
                                               .min_inputs = 1,
                                               .max_inputs = 1,
                                               .infer = infer_space,
                                               .forward = space_forward,
                                               .backward = space_backward};

const fv_layer_type fv_layer_space_to_depth = {.name = "space_to_depth",
                                               .help = "blocks of cells become channels",
                                               .options_size = sizeof(fv_depth_options),
                                               .params = params,
                                               .min_inputs = 1,
                                               .max_inputs = 1,
                                               .infer = infer_depth,
                                               .forward = depth_forward,
                                               .backward = depth_backward};
