/* ONNX nodes of pooling. Called by export.c by its table. */
#include "formats/onnx/export.h"
#include "formats/onnx/windows.h"

/* ---- Sliding windows ------------------------------------------------------------------------ */

/* What is padded behind so that ONNX, rounding down, has as many windows as our ceil: ONNX's own
 * ceil_mode changed its mind, between versions, on windows that begin in the padding. */
static int ceil_after(const fv_axis *axis) {
    int64_t needed =
        ((int64_t)axis->out - 1) * axis->stride + axis->kernel - axis->in - axis->before;
    return needed > axis->after ? (int)needed : axis->after;
}

/* Where sizes vary ONNX must round up itself: it does as we do unless a window can begin in the
 * padding behind. */
static bool same_ceil(const fv_export_window *w) {
    bool same = true;
    for (int i = 0; i < w->rank; i++)
        same = same && w->axes[i].stride <= w->axes[i].kernel - w->axes[i].after;
    return same;
}

/* Rounds up, by more padding or by ceil_mode (*mode). FV_EXPORT_NONE where ONNX cannot. */
static bool round_up(const fv_export_call *c, fv_export_window *w, bool *mode) {
    bool varies = false;
    for (int i = 0; i < w->rank; i++)
        varies = varies || w->axes[i].in == FV_ANY;
    if (varies && !same_ceil(w)) {
        fv_export_refuse(c,
                         "ceil=true with a stride larger than the window less its padding, and an "
                         "input whose size varies (give the input fixed sizes)");
        return false;
    }
    *mode = varies;
    for (int i = 0; i < w->rank && !varies; i++)
        w->axes[i].after = ceil_after(&w->axes[i]);
    return true;
}

static int pool(const fv_export_call *c, const char *op, bool average) {
    const fv_pool_options *o = c->node->options;
    fv_export_graph *g = c->graph;
    fv_export_window w;
    bool mode = false, count_pads = average && o->count_include_pad;
    if (!fv_export_window_of(c,
                             &(fv_slide_options){.kernel = o->size,
                                                 .stride = o->stride[0] ? o->stride : o->size,
                                                 .padding = o->padding,
                                                 .pad = o->pad,
                                                 .ceil = o->ceil,
                                                 .what = "window"},
                             &w))
        return FV_EXPORT_NONE;
    int x = fv_export_in(c, 0);
    fv_export_window asked = w;
    bool ceil = o->ceil && o->padding != FV_SAME && o->padding != FV_SAME_LOWER;
    if (ceil && !round_up(c, &w, &mode))
        return FV_EXPORT_NONE;
    if (ceil && count_pads) {
        /* The padding counts, but not what rounding up adds to it: so that is the only padding. */
        x = fv_export_pad(g, x, w.rank, asked.axes);
        for (int i = 0; i < w.rank; i++) {
            w.axes[i].before = 0;
            w.axes[i].after -= asked.axes[i].after;
        }
        count_pads = false;
    }
    int y = fv_export_1(g, op, x);
    fv_export_set_window(g, &w, false);
    fv_export_set(g, "ceil_mode", mode);
    if (average)
        fv_export_set(g, "count_include_pad", count_pads);
    return y;
}

int fv_export_maxpool(const fv_export_call *c) {
    return pool(c, "MaxPool", false);
}

int fv_export_avgpool(const fv_export_call *c) {
    return pool(c, "AveragePool", true);
}

/* ---- Over all places ------------------------------------------------------------------------ */

static int global_pool(const fv_export_call *c, const char *op) {
    const fv_global_pool_options *o = c->node->options;
    int y = fv_export_1(c->graph, op, fv_export_in(c, 0));
    return o->keep ? y : fv_export_1(c->graph, "Flatten", y);
}

int fv_export_global_maxpool(const fv_export_call *c) {
    return global_pool(c, "GlobalMaxPool");
}

int fv_export_global_avgpool(const fv_export_call *c) {
    return global_pool(c, "GlobalAveragePool");
}

/* ---- Windows by the output's sizes ---------------------------------------------------------- */

/* The cells of each window of an axis; shorter windows name their last cell again, which has a
 * share of 0 in means and does not count among the largest. */
typedef struct windows {
    size_t size[2]; /* windows, cells of the longest */
    int64_t *cells;
    float *shares;
} windows;

static windows windows_of(const fv_export_call *c, int64_t in, int64_t out, bool average) {
    windows w = {{(size_t)out, (size_t)fv_onnx_longest_window(in, out)}, NULL, NULL};
    size_t count = w.size[0] * w.size[1]; /* of ints: no overflow */
    w.cells = c->graph->status ? NULL : fv_alloc(count, sizeof *w.cells);
    w.shares = w.cells && average ? fv_alloc(count, sizeof *w.shares) : NULL;
    for (size_t i = 0; w.cells && i < count; i++) {
        int64_t window = (int64_t)(i / w.size[1]), cell = (int64_t)(i % w.size[1]);
        w.cells[i] = fv_onnx_window_cell(in, out, window, cell);
        if (w.shares)
            w.shares[i] = fv_onnx_window_share(in, out, window, cell);
    }
    return w;
}

/* One spatial axis of x: its windows become an axis of their own behind it, which is reduced. */
static int pool_axis(const fv_export_call *c, int x, int axis, int rank, bool average) {
    fv_export_graph *g = c->graph;
    windows w =
        windows_of(c, fv_export_shape_in(c, 0)->size[axis], c->node->output.size[axis], average);
    x = fv_export_2(g, "Gather", x, fv_export_integers(g, "cells", 2, w.size, w.cells));
    fv_export_set(g, "axis", 2 + axis);
    if (average) { /* the windows' axes are 2 + axis, 3 + axis; those behind have size 1 */
        size_t size[5] = {w.size[0], w.size[1], 1, 1, 1};
        x = fv_export_2(g, "Mul", x,
                        fv_export_floats(g, "shares", 1 + rank - axis, size, w.shares));
    }
    const int64_t axes[] = {3 + axis};
    int y = average ? fv_export_2(g, "ReduceSum", x, fv_export_list(g, 1, axes))
                    : fv_export_1(g, "ReduceMax", x);
    if (!average)
        fv_export_set_all(g, "axes", 1, axes);
    fv_export_set(g, "keepdims", 0);
    return y;
}

/* Where the windows of all axes have one size and meet: an ordinary pooling. */
static bool evenly(const fv_shape *in, const fv_shape *out, fv_export_window *w) {
    bool even = true;
    *w = (fv_export_window){.rank = in->rank};
    for (int i = 0; i < in->rank; i++) {
        int cells = in->size[i] / out->size[i];
        even = even && in->size[i] % out->size[i] == 0;
        w->axes[i] = (fv_axis){.kernel = cells, .stride = cells, .dilation = 1};
    }
    return even;
}

static int adaptive_pool(const fv_export_call *c, const char *op, const char *global,
                         bool average) {
    const fv_shape *in = fv_export_shape_in(c, 0), *out = &c->node->output;
    fv_export_window w;
    int x = fv_export_in(c, 0);
    bool whole = true, varies = false;
    for (int i = 0; i < in->rank; i++) {
        whole = whole && out->size[i] == 1;
        varies = varies || in->size[i] == FV_ANY;
    }
    if (whole)
        return fv_export_1(c->graph, global, x);
    if (varies)
        return fv_export_refuse(c, "its windows follow from an input size that varies (give the "
                                   "input fixed sizes)");
    if (evenly(in, out, &w)) {
        x = fv_export_1(c->graph, op, x);
        fv_export_set_window(c->graph, &w, false);
        return x;
    }
    for (int i = 0; i < in->rank; i++)
        x = pool_axis(c, x, i, in->rank, average);
    return x;
}

int fv_export_adaptive_maxpool(const fv_export_call *c) {
    return adaptive_pool(c, "MaxPool", "GlobalMaxPool", false);
}

int fv_export_adaptive_avgpool(const fv_export_call *c) {
    return adaptive_pool(c, "AveragePool", "GlobalAveragePool", true);
}
