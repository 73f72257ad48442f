/* ONNX nodes of layers that move values: shapes, axes, borders, parts, other sizes. Called by
 * export.c by its table. */
#include "formats/onnx/export.h"
#include <string.h>

/* Where axis `axis` of ours (0: the channels, else a spatial one from 1) lies in ONNX. */
static int onnx_axis(int axis) {
    return axis == 0 ? 1 : axis + 1;
}

/* ---- Shapes and axes ------------------------------------------------------------------------ */

/* The same numbers in our order: with the channels last. */
int fv_export_reshape_layer(const fv_export_call *c) {
    const fv_shape *in = fv_export_shape_in(c, 0), *out = &c->node->output;
    fv_export_graph *g = c->graph;
    int64_t sizes[5] = {0};
    int x = fv_export_channels_last(g, fv_export_in(c, 0), in->rank);
    for (int i = 0; i < out->rank; i++)
        sizes[1 + i] = out->size[i] == FV_ANY ? -1 : out->size[i];
    sizes[1 + out->rank] = out->channels;
    return fv_export_channels_first(g, fv_export_reshape(g, x, 2 + out->rank, sizes), out->rank);
}

/* Our axes are counted from 1 with the channels last; ONNX has them first. */
int fv_export_permute(const fv_export_call *c) {
    const fv_permute_options *o = c->node->options;
    int64_t order[5] = {0};
    for (int i = 0; i < o->count; i++) {
        int to = i + 1 < o->count ? 2 + i : 1, from = (int)o->axes[i];
        order[to] = from < o->count ? 1 + from : 1;
    }
    return fv_export_transpose(c->graph, fv_export_in(c, 0), 1 + o->count, order);
}

/* ---- Borders and parts ---------------------------------------------------------------------- */

int fv_export_pad_layer(const fv_export_call *c) {
    static const char *const modes[] = {"constant", "reflect", "edge"};
    const fv_pad_options *o = c->node->options;
    fv_export_graph *g = c->graph;
    int rank = c->node->output.rank;
    int64_t pads[10] = {0};
    pads[1] = o->channels_before;
    pads[rank + 3] = o->channels_after;
    for (int i = 0; i < rank; i++) {
        pads[2 + i] = o->pad[i][0];
        pads[rank + 4 + i] = o->pad[i][1];
    }
    int x = fv_export_in(c, 0), widths = fv_export_list(g, 2 * (rank + 2), pads);
    bool constant = o->mode == FV_PAD_CONSTANT;
    int y = constant ? fv_export_3(g, "Pad", x, widths, fv_export_number(g, o->value))
                     : fv_export_2(g, "Pad", x, widths);
    fv_export_set_text(g, "mode", modes[o->mode]);
    return y;
}

/* [begin, end) of `count` axes; ends may be negative: counted from the axis' own end. */
static int slice(fv_export_graph *g, int x, int count, const int64_t *begin, const int64_t *end,
                 const int64_t *axes) {
    int inputs[4] = {x};
    inputs[1] = fv_export_list(g, count, begin);
    inputs[2] = fv_export_list(g, count, end);
    inputs[3] = fv_export_list(g, count, axes);
    return fv_export_node_of(g, "Slice", 4, inputs);
}

int fv_export_crop(const fv_export_call *c) {
    const fv_crop_options *o = c->node->options;
    int64_t begin[3], end[3], axes[3];
    int rank = c->node->output.rank;
    for (int i = 0; i < rank; i++) {
        begin[i] = o->crop[i][0];
        end[i] = o->crop[i][1] > 0 ? -o->crop[i][1] : INT64_MAX;
        axes[i] = 2 + i;
    }
    return slice(c->graph, fv_export_in(c, 0), rank, begin, end, axes);
}

int fv_export_slice(const fv_export_call *c) {
    const fv_slice_options *o = c->node->options;
    const int64_t begin = o->begin, end = o->end > 0 ? o->end : INT64_MAX,
                  axis = onnx_axis(o->axis);
    return slice(c->graph, fv_export_in(c, 0), 1, &begin, &end, &axis);
}

int fv_export_concat(const fv_export_call *c) {
    const fv_concat_options *o = c->node->options;
    int inputs[FV_MAX_INPUTS];
    for (int i = 0; i < c->node->input_count; i++)
        inputs[i] = fv_export_in(c, i);
    int y = fv_export_node_of(c->graph, "Concat", c->node->input_count, inputs);
    fv_export_set(c->graph, "axis", onnx_axis(o->axis));
    return y;
}

/* ---- Other sizes ---------------------------------------------------------------------------- */

/* The nearest cell floor(i in / out) for each i < out. As whole numbers: ONNX's Resize divides by a
 * rounded scale and takes the cell before now and then. */
static int nearest_cells(fv_export_graph *g, int x, int axis, int in, int64_t out) {
    const size_t size[] = {(size_t)out};
    int64_t *cells = g->status ? NULL : fv_alloc(size[0], sizeof *cells);
    for (int64_t i = 0; cells && i < out; i++)
        cells[i] = in == FV_ANY ? i : i * in / out;
    int index = fv_export_integers(g, "cells", 1, size, cells);
    if (in == FV_ANY) {
        int sizes = fv_export_1(g, "Shape", x);
        int own = fv_export_2(g, "Gather", sizes, fv_export_integer(g, 2 + axis));
        int times = fv_export_2(g, "Mul", index, own);
        index = fv_export_2(g, "Div", times, fv_export_integer(g, out));
    }
    int y = fv_export_2(g, "Gather", x, index);
    fv_export_set(g, "axis", 2 + axis);
    return y;
}

/* The output's sizes, with the input's samples and channels. */
static int wanted_sizes(fv_export_graph *g, int x, const fv_shape *output) {
    int64_t sizes[3];
    for (int i = 0; i < output->rank; i++)
        sizes[i] = output->size[i];
    const int64_t zero = 0, two = 2;
    int own = slice(g, fv_export_1(g, "Shape", x), 1, &zero, &two, &zero);
    int wanted = fv_export_2(g, "Concat", own, fv_export_list(g, output->rank, sizes));
    fv_export_set(g, "axis", 0);
    return wanted;
}

/* By whole factors, or to the output's sizes (factors NULL). */
static int resize(fv_export_graph *g, int x, const fv_shape *output, const int *factors,
                  const char *mode, const char *coordinates) {
    int inputs[4] = {x, FV_EXPORT_NONE, FV_EXPORT_NONE, FV_EXPORT_NONE}, count = 3;
    const size_t size[] = {(size_t)output->rank + 2};
    float *scales = factors && !g->status ? fv_alloc(size[0], sizeof *scales) : NULL;
    for (int i = 0; scales && i < output->rank + 2; i++)
        scales[i] = i < 2 ? 1 : (float)factors[i - 2];
    if (factors)
        inputs[2] = fv_export_floats(g, "scales", 1, size, scales);
    else
        inputs[count++] = wanted_sizes(g, x, output);
    int y = fv_export_node_of(g, "Resize", count, inputs);
    fv_export_set_text(g, "mode", mode);
    fv_export_set_text(g, "coordinate_transformation_mode", coordinates);
    if (strcmp(mode, "nearest") == 0)
        fv_export_set_text(g, "nearest_mode", "floor");
    return y;
}

int fv_export_upsample(const fv_export_call *c) {
    const fv_upsample_options *o = c->node->options;
    const fv_shape *in = fv_export_shape_in(c, 0), *out = &c->node->output;
    bool linear = o->mode == FV_RESIZE_BILINEAR;
    int x = fv_export_in(c, 0), factors[3];
    for (int i = 0; i < in->rank; i++)
        factors[i] = fv_size_at(o->factor, i, 1);
    if (linear || o->factor[0] > 0)
        return resize(c->graph, x, out, o->factor[0] > 0 ? factors : NULL,
                      linear ? "linear" : "nearest",
                      !linear            ? "asymmetric"
                      : o->align_corners ? "align_corners"
                                         : "half_pixel");
    for (int i = 0; i < in->rank; i++)
        x = nearest_cells(c->graph, x, i, in->size[i], out->size[i]);
    return x;
}

/* ---- Channels and blocks of cells ----------------------------------------------------------- */

/* Reshape, where at most one size may vary. */
static int reshape_open(const fv_export_call *c, int x, int count, const int64_t *sizes) {
    int open = 0;
    for (int i = 0; i < count; i++)
        open += sizes[i] < 0;
    if (open > 1)
        return fv_export_refuse(c, "blocks of an input with several sizes that vary (give it fixed "
                                   "sizes)");
    return fv_export_reshape(c->graph, x, count, sizes);
}

/* N, channels, places from or to N, channels x cells, places: the channels are parted into cells of
 * a block, one factor an axis, which go beside the places. `wide` has the larger sizes. */
static int blocks(const fv_export_call *c, const fv_shape *deep, const fv_shape *wide,
                  bool to_depth) {
    const fv_depth_options *o = c->node->options;
    bool cells_last = o->order == FV_COLUMN_FIRST; /* channel = c x cells + cell */
    int rank = deep->rank, count = 2 * rank + 2;
    int64_t many[8] = {0}, order[8] = {0}, back[8] = {0}, places[8] = {0}, joined[5] = {0};
    many[cells_last ? 1 : 1 + rank] = wide->channels;
    order[1] = cells_last ? 1 : 1 + rank;
    for (int i = 0; i < rank; i++) {
        int cell = (cells_last ? 2 : 1) + i, place = 2 + rank + i;
        many[cell] = o->block;
        many[place] = deep->size[i];
        order[2 + 2 * i] = place; /* N, channels, place, cell, place, cell ... */
        order[3 + 2 * i] = cell;
    }
    for (int i = 0; i < count; i++) {
        back[order[i]] = i;
        places[i] = many[order[i]];
    }
    const fv_shape *out = to_depth ? deep : wide;
    joined[1] = out->channels;
    for (int i = 0; i < rank; i++)
        joined[2 + i] = out->size[i];
    int x = reshape_open(c, fv_export_in(c, 0), count, to_depth ? places : many);
    x = fv_export_transpose(c->graph, x, count, to_depth ? back : order);
    return reshape_open(c, x, 2 + rank, joined);
}

int fv_export_depth_to_space(const fv_export_call *c) {
    const fv_depth_options *o = c->node->options;
    const fv_shape *in = fv_export_shape_in(c, 0);
    if (in->rank != 2)
        return blocks(c, in, &c->node->output, false);
    int y = fv_export_1(c->graph, "DepthToSpace", fv_export_in(c, 0));
    fv_export_set(c->graph, "blocksize", o->block);
    fv_export_set_text(c->graph, "mode", o->order == FV_COLUMN_FIRST ? "CRD" : "DCR");
    return y;
}

/* ONNX's has our first order: cell, then channel. */
int fv_export_space_to_depth(const fv_export_call *c) {
    const fv_depth_options *o = c->node->options;
    const fv_shape *in = fv_export_shape_in(c, 0);
    if (in->rank != 2 || o->order == FV_COLUMN_FIRST)
        return blocks(c, &c->node->output, in, true);
    int y = fv_export_1(c->graph, "SpaceToDepth", fv_export_in(c, 0));
    fv_export_set(c->graph, "blocksize", o->block);
    return y;
}
