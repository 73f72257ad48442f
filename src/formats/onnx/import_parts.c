/* ONNX's operators that take parts of an array, put arrays behind one another and lay borders
 * around them: slice, crop, concat, pad. Numbers are taken as they lie: what is not of the order of
 * most layers is not put into it only to be cut. Called by import.c by its table. */
#include "formats/onnx/import.h"
#include <limits.h>
#include <math.h>
#include <string.h>

/* ---- An array as a layer -------------------------------------------------------------------- */

typedef struct laid {
    fv_tensor layer;
    int rank;
    int count; /* of axes: the layer's spatial ones, then its channels */
    int axes[FV_ONNX_RANK];
} laid;

/* As the numbers lie, or with axis 1 as the channels. */
static fv_status lay(fv_onnx_import *im, const fv_onnx_array *a, bool standard, laid *l) {
    l->rank = a->rank;
    if (a->rank < 2)
        return fv_fail(FV_UNSUPPORTED, "its input has no axes but the batch's");
    l->count = standard ? fv_onnx_standard_axes(a->rank, l->axes) : fv_onnx_axes_as_is(a, l->axes);
    return fv_onnx_arrange(im, a, l->count, l->axes, &l->layer);
}

static fv_status set_laid(fv_onnx_import *im, const laid *l, fv_onnx_value *out) {
    return fv_onnx_set_array(im, out, l->layer, l->rank, l->count, l->axes);
}

static int place_of(const laid *l, int axis) {
    int place = 0;
    while (l->axes[place] != axis)
        place++;
    return place;
}

/* The number by which layers call an axis: from 1, and 0 for the channels. */
static int layer_axis(const laid *l, int axis) {
    int place = place_of(l, axis);
    return place + 1 < l->count ? place + 1 : 0;
}

/* ---- Parts of axes -------------------------------------------------------------------------- */

/* What is taken of an axis. Of one whose size varies either `end` or `after` is known. */
typedef struct part {
    int begin; /* cells before it */
    int end;   /* the first cell that is not in it; 0: `after` says where that is */
    int after; /* cells behind it, -1: `end` says where they begin */
    int step;
    bool to_last;  /* all that follow, however many */
    bool from_end; /* `after` is what was given */
} part;

static bool is_whole(const part *p) {
    return p->begin == 0 && p->after == 0;
}

/* A stretch of one axis by slice, of several, or where its end is counted from the axis', by crop.
 */
static fv_status cut(fv_onnx_import *im, laid *l, const part *parts) {
    fv_crop_options crop = {0};
    fv_status status = FV_OK;
    int several = 0;
    for (int i = 0; i + 1 < l->count; i++) {
        const part *p = &parts[l->axes[i]];
        several += (!is_whole(p) && p->after >= 0) || p->to_last;
    }
    for (int i = 0; i < l->count && status == FV_OK; i++) {
        const part *p = &parts[l->axes[i]];
        fv_slice_options slice = {p->begin, p->to_last ? 0 : p->end, layer_axis(l, l->axes[i])};
        bool crops = p->after >= 0 && (several > 1 || p->from_end || p->end == 0);
        if (is_whole(p))
            continue;
        if (i + 1 < l->count && crops) {
            crop.crop[i][0] = p->begin;
            crop.crop[i][1] = p->after;
        } else
            status = fv_onnx_add1(im, "slice", l->layer, &slice, &l->layer);
    }
    bool any = false;
    for (int i = 0; i < 3; i++)
        any = any || crop.crop[i][0] > 0 || crop.crop[i][1] > 0;
    return status == FV_OK && any ? fv_onnx_add1(im, "crop", l->layer, &crop, &l->layer) : status;
}

/* Every so many cells: pools of one cell, of which a size n has floor((n - 1) / step) + 1, as many
 * as ONNX takes. */
static fv_status take_steps(fv_onnx_import *im, laid *l, const part *parts) {
    fv_pool_options o = {0};
    bool steps = false;
    for (int i = 0; i + 1 < l->count; i++) {
        o.size[i] = 1;
        o.stride[i] = parts[l->axes[i]].step;
        steps = steps || o.stride[i] > 1;
    }
    if (parts[l->axes[l->count - 1]].step > 1)
        return fv_fail(FV_UNSUPPORTED, "it takes every %d values of the channels",
                       parts[l->axes[l->count - 1]].step);
    return steps ? fv_onnx_add1(im, "maxpool", l->layer, &o, &l->layer) : FV_OK;
}

/* The parts of a value's axes, parts[1] to parts[rank - 1], into `out`. */
static fv_status take_parts(fv_onnx_import *im, const fv_onnx_value *in, const part *parts,
                            fv_onnx_value *out) {
    bool whole = true;
    laid l;
    for (int axis = 1; axis < in->array.rank; axis++)
        whole = whole && is_whole(&parts[axis]) && parts[axis].step <= 1;
    if (whole) {
        fv_onnx_set_like(out, in, in->array.layer);
        return FV_OK;
    }
    fv_status status = lay(im, &in->array, false, &l);
    if (status == FV_OK)
        status = cut(im, &l, parts);
    if (status == FV_OK)
        status = take_steps(im, &l, parts);
    return status == FV_OK ? set_laid(im, &l, out) : status;
}

/* All of every axis. */
static void take_all(const fv_onnx_array *a, part *parts) {
    for (int axis = 1; axis < a->rank; axis++) {
        int size = fv_onnx_size(a, axis);
        parts[axis] = (part){.end = size == FV_ANY ? 0 : size, .step = 1};
    }
}

/* Cells begin to end - 1 of an axis, which are there if its size is known. */
static part stretch(const fv_onnx_array *a, int axis, int begin, int end) {
    int size = fv_onnx_size(a, axis);
    return (part){begin, end, size == FV_ANY ? -1 : size - end, 1, false, false};
}

/* ---- Slice ---------------------------------------------------------------------------------- */

static fv_status refuse_empty(int axis) {
    return fv_fail(FV_FORMAT, "it takes nothing of axis %d", axis);
}

static fv_status part_of_known(int axis, int size, int64_t begin, int64_t end, int step, part *p) {
    bool to_last = end > size, from_end = end < 0;
    begin += begin < 0 ? size : 0;
    end += end < 0 ? size : 0;
    begin = begin < 0 ? 0 : begin;
    end = end > size ? size : end;
    if (begin >= end)
        return refuse_empty(axis);
    if (end - begin <= step) { /* one cell */
        to_last = to_last && end == begin + 1;
        end = begin + 1;
        step = 1;
    }
    *p = (part){(int)begin, (int)end, (int)(size - end), step, to_last, from_end};
    return FV_OK;
}

static fv_status part_of_varying(int axis, int64_t begin, int64_t end, int step, part *p) {
    bool to_last = end >= INT_MAX;
    if (begin < 0 || begin > INT_MAX || end < -INT_MAX)
        return fv_fail(FV_UNSUPPORTED,
                       "it counts from the end of axis %d, whose size varies (give the "
                       "input fixed sizes: --set NAME=SIZE)",
                       axis);
    if (end >= 0 && end <= begin)
        return refuse_empty(axis);
    *p = (part){.begin = (int)begin,
                .end = to_last || end < 0 ? 0 : (int)end,
                .after = to_last   ? 0
                         : end < 0 ? (int)-end
                                   : -1,
                .step = step,
                .to_last = to_last};
    return FV_OK;
}

static fv_status find_part(const fv_onnx_import *im, const fv_onnx_array *a, int axis,
                           int64_t begin, int64_t end, int64_t step, part *p) {
    if (axis == 0)
        return begin == 0 && step == 1 && (end >= INT_MAX || fv_onnx_is_batch(im, (double)end))
                   ? FV_OK
                   : fv_fail(FV_UNSUPPORTED, "it takes a part of the batch");
    if (step < 0)
        return fv_fail(FV_UNSUPPORTED, "it takes axis %d backwards", axis);
    int size = fv_onnx_size(a, axis);
    return size == FV_ANY ? part_of_varying(axis, begin, end, (int)step, p)
                          : part_of_known(axis, size, begin, end, (int)step, p);
}

fv_status fv_onnx_slice(fv_onnx_import *im) {
    int64_t begin[FV_ONNX_RANK], end[FV_ONNX_RANK], axes[FV_ONNX_RANK], step[FV_ONNX_RANK];
    part parts[FV_ONNX_RANK];
    int count = 0;
    fv_onnx_value *in, *out;
    fv_status status = fv_onnx_in_and_out(im, &in, &out);
    if (status == FV_OK)
        status = fv_onnx_slices(im, in->array.rank, begin, end, axes, step, &count);
    if (status != FV_OK)
        return status;
    take_all(&in->array, parts);
    for (int i = 0; i < count && status == FV_OK; i++) {
        int axis = (int)axes[i];
        status = find_part(im, &in->array, axis, begin[i], end[i], step[i], &parts[axis]);
    }
    return status == FV_OK ? take_parts(im, in, parts, out) : status;
}

/* ---- Split ---------------------------------------------------------------------------------- */

/* Sizes of `count` parts of an axis of that size: those given, or equal ones, of which the last may
 * be smaller where the node says how many there are. */
static fv_status find_sizes(const fv_onnx_import *im, int size, int count, int64_t *sizes) {
    int given;
    int64_t left = size, told = fv_onnx_integer(im, "num_outputs", 0);
    fv_status status = fv_onnx_list(im, "split", 1, count, sizes, &given);
    if (status != FV_OK)
        return status;
    if ((given >= 0 && given != count) || (told != 0 && told != count))
        return fv_fail(FV_FORMAT, "it has %d outputs, expected one for each part", count);
    if (given < 0 && told == 0 && size % count != 0)
        return fv_fail(FV_FORMAT, "%d equal parts of an axis of size %d", count, size);
    int equal = size / count + (size % count != 0);
    for (int i = 0; i < count; i++) {
        sizes[i] = given >= 0 ? sizes[i] : left < equal ? left : equal;
        if (sizes[i] < 0 || sizes[i] > left)
            return fv_fail(FV_FORMAT, "its parts are not those of an axis of size %d", size);
        left -= sizes[i];
    }
    return left == 0 ? FV_OK : fv_fail(FV_FORMAT, "its parts leave something of the axis");
}

/* A part without values: Concat leaves it out. */
static void set_empty(const fv_onnx_array *a, int axis, fv_onnx_value *out) {
    static const double none;
    fv_onnx_constant *c = &out->constant;
    out->kind = FV_VALUE_CONSTANT;
    *c = (fv_onnx_constant){.kind = FV_NUMBER_FLOAT, .rank = a->rank, .numbers = &none};
    for (int other = 1; other < a->rank; other++)
        c->size[other] = other == axis ? 0 : fv_onnx_size(a, other);
}

static fv_status split(fv_onnx_import *im, const fv_onnx_value *in, int axis,
                       const int64_t *sizes) {
    fv_status status = FV_OK;
    int begin = 0;
    for (size_t i = 0; i < im->node->output_count && status == FV_OK; i++) {
        fv_onnx_value *out = fv_onnx_out(im, i);
        int end = begin + (int)sizes[i];
        part parts[FV_ONNX_RANK];
        take_all(&in->array, parts);
        parts[axis] = stretch(&in->array, axis, begin, end);
        if (out && out->readers > 0 && begin < end)
            status = take_parts(im, in, parts, out);
        else if (out)
            set_empty(&in->array, axis, out);
        begin = end;
    }
    return status;
}

fv_status fv_onnx_split(fv_onnx_import *im) {
    fv_onnx_value *in, *out;
    size_t count = im->node->output_count;
    fv_status status = fv_onnx_in_and_out(im, &in, &out);
    if (status != FV_OK)
        return status;
    int axis = fv_onnx_axis(fv_onnx_integer(im, "axis", 0), in->array.rank);
    if (axis <= 0)
        return axis < 0 ? fv_error_status() : fv_fail(FV_UNSUPPORTED, "it parts the batch");
    int size = fv_onnx_size(&in->array, axis);
    if (size == FV_ANY || count > INT_MAX)
        return fv_fail(FV_UNSUPPORTED,
                       "the size of axis %d varies (give the input fixed sizes: --set "
                       "NAME=SIZE)",
                       axis);
    int64_t *sizes = fv_arena_new(&im->model->arena, count, sizeof *sizes);
    status = sizes ? find_sizes(im, size, (int)count, sizes) : FV_MEMORY;
    return status == FV_OK ? split(im, in, axis, sizes) : status;
}

/* ---- Gather --------------------------------------------------------------------------------- */

/* What Gather takes of an axis. */
typedef struct choice {
    int axis, size, count;   /* of the axis, FV_ANY: varies; of the indices */
    int first;               /* index */
    bool is_run, is_nearest; /* first, first + 1 ...; floor(i size / count) */
} choice;

static fv_status read_indices(const fv_onnx_constant *indices, choice *c) {
    c->count = (int)indices->count;
    c->is_run = true;
    c->is_nearest = c->size != FV_ANY;
    for (int i = 0; i < c->count; i++) {
        double index = fv_onnx_number(indices, (size_t)i);
        index += index < 0 && c->size != FV_ANY ? c->size : 0;
        if (isnan(index))
            return fv_fail(FV_UNSUPPORTED,
                           "its indices depend on a size that is known only when the "
                           "net runs (give the input fixed sizes: --set NAME=SIZE)");
        if (!(index >= 0 && index < (c->size == FV_ANY ? INT_MAX : c->size)))
            return fv_fail(FV_FORMAT, "index %g of axis %d", index, c->axis);
        c->first = i == 0 ? (int)index : c->first;
        c->is_run = c->is_run && index == (double)c->first + i;
        c->is_nearest = c->is_nearest && index == (double)((int64_t)i * c->size / c->count);
    }
    return FV_OK;
}

/* What the node takes of an array with the axes of `a`. */
static fv_status read_choice(const fv_onnx_import *im, const fv_onnx_array *a, choice *c) {
    const fv_onnx_constant *indices = fv_onnx_in_constant(im, 1);
    if (!indices)
        return fv_error_status();
    *c = (choice){.axis = fv_onnx_axis(fv_onnx_integer(im, "axis", 0), a->rank)};
    if (c->axis <= 0)
        return c->axis < 0 ? fv_error_status()
                           : fv_fail(FV_UNSUPPORTED, "it takes samples of the batch");
    if (indices->rank > 1 || indices->count < 1 || indices->count > INT_MAX / 2)
        return fv_fail(FV_UNSUPPORTED, "its indices are neither one number nor a list");
    c->size = fv_onnx_size(a, c->axis);
    return read_indices(indices, c);
}

/* Whether what reads `out`, and nothing else does, takes the nearest cells along another axis too:
 * both are one layer, as fovea's exporter has written it. Then that node is the one imported. */
static bool take_up_next(fv_onnx_import *im, const fv_onnx_array *a, int *sizes,
                         fv_onnx_value **out) {
    const fv_onnx_node *own = im->node;
    int reader = (*out)->reader;
    choice c;
    if (reader < 0 || (*out)->readers != 1 || strcmp(im->model->nodes[reader].op, own->op) != 0 ||
        strcmp(im->model->nodes[reader].domain, own->domain) != 0)
        return false;
    im->node = &im->model->nodes[reader];
    const fv_onnx_value *indices = fv_onnx_in(im, 1);
    bool fits = fv_onnx_in(im, 0) == *out && fv_onnx_out(im, 0) && indices &&
                indices->kind == FV_VALUE_CONSTANT && read_choice(im, a, &c) == FV_OK &&
                !c.is_run && c.is_nearest && sizes[c.axis] == 0;
    if (!fits) {
        im->node = own;
        return false;
    }
    sizes[c.axis] = c.count;
    im->done[reader] = true;
    *out = fv_onnx_out(im, 0);
    return true;
}

/* Other sizes of axes by their nearest cells. */
static fv_status take_nearest(fv_onnx_import *im, const fv_onnx_value *in, const choice *c,
                              fv_onnx_value *out) {
    laid l;
    fv_upsample_options o = {.mode = FV_RESIZE_NEAREST};
    int axes[FV_ONNX_RANK], count = fv_onnx_axes_as_is(&in->array, axes);
    int sizes[FV_ONNX_RANK] = {0}; /* wanted, 0: as they are */
    sizes[c->axis] = c->count;
    while (take_up_next(im, &in->array, sizes, &out))
        ;
    fv_status status = lay(im, &in->array, sizes[axes[count - 1]] > 0, &l);
    if (status == FV_OK && sizes[l.axes[l.count - 1]] > 0)
        return fv_fail(FV_UNSUPPORTED, "it repeats channels");
    for (int i = 0; i + 1 < l.count && status == FV_OK; i++) {
        int size = fv_onnx_size(&in->array, l.axes[i]);
        o.size[i] = sizes[l.axes[i]] > 0 ? sizes[l.axes[i]] : size;
        if (size == FV_ANY)
            return fv_fail(FV_UNSUPPORTED,
                           "its input's sizes vary (give the input fixed sizes: --set "
                           "NAME=SIZE)");
    }
    if (status == FV_OK)
        status = fv_onnx_add1(im, "upsample", l.layer, &o, &l.layer);
    return status == FV_OK ? set_laid(im, &l, out) : status;
}

/* One index that is no list: its axis goes. */
static fv_status drop_axis(fv_onnx_import *im, const fv_onnx_value *in, int axis,
                           fv_onnx_value *out) {
    int64_t sizes[FV_ONNX_RANK];
    int rank = 1;
    fv_onnx_array view;
    for (int other = 1; other < in->array.rank; other++)
        if (other != axis)
            sizes[rank++] = fv_onnx_size(&in->array, other);
    fv_status status = fv_onnx_reshape(im, &in->array, rank, sizes, &view);
    if (status == FV_OK)
        fv_onnx_set_view(out, in, &view);
    return status;
}

fv_status fv_onnx_gather(fv_onnx_import *im) {
    choice c;
    part parts[FV_ONNX_RANK];
    fv_onnx_value *in, *out, taken = fv_onnx_between();
    fv_status status = fv_onnx_in_and_out(im, &in, &out);
    if (status == FV_OK)
        status = read_choice(im, &in->array, &c);
    if (status != FV_OK)
        return status;
    if (!c.is_run && c.is_nearest)
        return take_nearest(im, in, &c, out);
    if (!c.is_run)
        return fv_fail(FV_UNSUPPORTED,
                       "its indices are neither a run of consecutive ones nor those of "
                       "the nearest cells for another size");
    take_all(&in->array, parts);
    parts[c.axis] = stretch(&in->array, c.axis, c.first, c.first + c.count);
    if (fv_onnx_in(im, 1)->constant.rank > 0)
        return take_parts(im, in, parts, out);
    status = take_parts(im, in, parts, &taken);
    return status == FV_OK ? drop_axis(im, &taken, c.axis, out) : status;
}

/* ---- Concat --------------------------------------------------------------------------------- */

/* Numbers that are the same for each sample: a constant of batch size 1, as a layer. */
static fv_status lay_constant(fv_onnx_import *im, const fv_onnx_constant *c, fv_onnx_value *value) {
    fv_tensor layer;
    fv_shape shape = {.rank = c->rank - 2};
    if (c->rank < 2 || c->rank > 5 || c->size[0] != 1)
        return fv_fail(FV_UNSUPPORTED, "its constant has %d axes, or other numbers for each sample",
                       c->rank);
    for (int axis = 1; axis < c->rank; axis++) {
        if (c->size[axis] > INT_MAX)
            return fv_fail(FV_UNSUPPORTED, "its constant is too large");
        *(axis == 1 ? &shape.channels : &shape.size[axis - 2]) = (int)c->size[axis];
    }
    fv_status status = fv_onnx_add_constant(im, shape, fv_onnx_floats(c), &layer);
    return status == FV_OK ? fv_onnx_set_standard(im, value, layer, c->rank) : status;
}

/* One operand, laid as the first array is. */
static fv_status lay_operand(fv_onnx_import *im, size_t i, const laid *like, fv_tensor *layer) {
    const fv_onnx_value *in = fv_onnx_in(im, i);
    fv_onnx_value constant = fv_onnx_between();
    fv_status status = FV_OK;
    if (in->kind == FV_VALUE_CONSTANT)
        status = lay_constant(im, &in->constant, &constant);
    const fv_onnx_array *a = in->kind == FV_VALUE_CONSTANT ? &constant.array : &in->array;
    if (status == FV_OK && a->rank != like->rank)
        return fv_fail(FV_FORMAT, "its inputs have %d and %d axes, expected as many", like->rank,
                       a->rank);
    return status == FV_OK ? fv_onnx_arrange(im, a, like->count, like->axes, layer) : status;
}

/* Layers one behind another; more than a layer takes by layers of layers. */
static fv_status join(fv_onnx_import *im, size_t count, fv_tensor *layers, int axis) {
    const fv_concat_options o = {axis};
    fv_status status = FV_OK;
    while (count > 1 && status == FV_OK) {
        size_t groups = 0;
        for (size_t i = 0; i < count && status == FV_OK; i += FV_MAX_INPUTS) {
            int n = count - i < FV_MAX_INPUTS ? (int)(count - i) : FV_MAX_INPUTS;
            if (n == 1)
                layers[groups] = layers[i];
            else
                status = fv_onnx_add(im, "concat", n, layers + i, &o, &layers[groups]);
            groups++;
        }
        count = groups;
    }
    return status;
}

/* The first operand that is an array: one is, or all would be a constant. */
static const fv_onnx_value *find_array(const fv_onnx_import *im) {
    for (size_t i = 0; i < im->node->input_count; i++) {
        const fv_onnx_value *in = fv_onnx_in(im, i);
        if (in && in->kind == FV_VALUE_ARRAY)
            return in;
    }
    return NULL;
}

fv_status fv_onnx_concat(fv_onnx_import *im) {
    const fv_onnx_value *first = find_array(im);
    size_t inputs = im->node->input_count, count = 0;
    laid l;
    if (!first)
        return fv_fail(FV_FORMAT, "it has no inputs");
    if (!fv_onnx_find(im->node, "axis"))
        return fv_fail(FV_FORMAT, "axis is missing");
    int axis = fv_onnx_axis(fv_onnx_integer(im, "axis", 1), first->array.rank);
    if (axis <= 0)
        return axis < 0 ? fv_error_status() : fv_fail(FV_UNSUPPORTED, "it makes the batch larger");
    fv_tensor *layers = fv_arena_new(&im->model->arena, inputs, sizeof *layers);
    fv_status status = layers ? lay(im, &first->array, false, &l) : FV_MEMORY;
    for (size_t i = 0; i < inputs && status == FV_OK; i++) {
        const fv_onnx_value *in = fv_onnx_in(im, i);
        if (!in)
            return fv_fail(FV_FORMAT, "its input %zu is missing", i + 1);
        if (in == first)
            layers[count++] = l.layer;
        else if (in->kind == FV_VALUE_ARRAY || in->constant.count > 0)
            status = lay_operand(im, i, &l, &layers[count++]);
    }
    if (status == FV_OK)
        status = join(im, count, layers, layer_axis(&l, axis));
    if (status != FV_OK)
        return status;
    if (count == 1) {
        fv_onnx_set_like(fv_onnx_out(im, 0), first, first->array.layer);
        return FV_OK;
    }
    l.layer = layers[0];
    return set_laid(im, &l, fv_onnx_out(im, 0));
}

/* ---- Pad ------------------------------------------------------------------------------------ */

typedef struct borders {
    int size[FV_ONNX_RANK][2]; /* before and behind each axis; negative: cells cut off */
    fv_pad_options options;    /* mode and value */
} borders;

static fv_status read_mode(const fv_onnx_import *im, fv_pad_options *o) {
    const char *mode = fv_onnx_word(im, "mode", "constant");
    o->mode = strcmp(mode, "reflect") == 0 ? FV_PAD_REFLECT
              : strcmp(mode, "edge") == 0  ? FV_PAD_REPLICATE
                                           : FV_PAD_CONSTANT;
    if (o->mode == FV_PAD_CONSTANT && strcmp(mode, "constant") != 0)
        return fv_fail(FV_UNSUPPORTED, "mode \"%.20s\"", mode);
    fv_status status = fv_onnx_scalar(im, "value", 2, 0, &o->value);
    if (status == FV_OK && isnan(o->value))
        return fv_fail(FV_UNSUPPORTED, "its value is no number");
    o->value = o->mode == FV_PAD_CONSTANT ? o->value : 0;
    return status;
}

static fv_status read_borders(const fv_onnx_import *im, int rank, borders *b) {
    int64_t pads[2 * FV_ONNX_RANK], axes[FV_ONNX_RANK];
    int count, axis_count;
    *b = (borders){0};
    fv_status status = fv_onnx_list(im, "pads", 1, 2 * FV_ONNX_RANK, pads, &count);
    if (status == FV_OK)
        status = fv_onnx_list(im, "axes", 3, FV_ONNX_RANK, axes, &axis_count);
    if (status != FV_OK)
        return status;
    int named = axis_count >= 0 ? axis_count : rank;
    if (count != 2 * named)
        return fv_fail(FV_FORMAT, "pads has not two numbers for each of %d axes", named);
    for (int i = 0; i < named; i++) {
        int axis = fv_onnx_axis(axis_count >= 0 ? axes[i] : i, rank);
        if (axis < 0)
            return fv_error_status();
        for (int end = 0; end < 2; end++) {
            int64_t size = pads[i + end * named];
            if (size < -INT_MAX || size > INT_MAX || (axis == 0 && size != 0))
                return fv_fail(FV_UNSUPPORTED, "a border of %lld along axis %d", (long long)size,
                               axis);
            b->size[axis][end] = (int)size;
        }
    }
    return read_mode(im, &b->options);
}

/* Cuts off what borders less than 0 say. */
static fv_status cut_borders(fv_onnx_import *im, const fv_onnx_value *in, const borders *b,
                             fv_onnx_value *out) {
    part parts[FV_ONNX_RANK];
    const fv_onnx_array *a = &in->array;
    take_all(a, parts);
    for (int axis = 1; axis < a->rank; axis++) {
        int before = b->size[axis][0], after = b->size[axis][1], size = fv_onnx_size(a, axis);
        part *p = &parts[axis];
        if ((before < 0 || after < 0) && (before > 0 || after > 0) &&
            b->options.mode != FV_PAD_CONSTANT)
            return fv_fail(FV_UNSUPPORTED, "it cuts off one end of axis %d and repeats the other",
                           axis);
        p->begin = before < 0 ? -before : 0;
        p->after = after < 0 ? -after : 0;
        if (size != FV_ANY && (int64_t)p->begin + p->after >= size)
            return refuse_empty(axis);
        p->end = size != FV_ANY ? size - p->after : 0;
        p->from_end = true;
    }
    return take_parts(im, in, parts, out);
}

/* Adds what borders more than 0 say. */
static fv_status add_borders(fv_onnx_import *im, const fv_onnx_value *in, const borders *b,
                             fv_onnx_value *out) {
    fv_pad_options o = b->options;
    laid l;
    int axes[FV_ONNX_RANK], count = fv_onnx_axes_as_is(&in->array, axes);
    const int *last = b->size[axes[count - 1]];
    bool repeats = o.mode != FV_PAD_CONSTANT && (last[0] > 0 || last[1] > 0);
    fv_status status = lay(im, &in->array, repeats, &l);
    for (int i = 0; i < l.count && status == FV_OK; i++) {
        const int *size = b->size[l.axes[i]];
        bool channels = i + 1 == l.count;
        *(channels ? &o.channels_before : &o.pad[i][0]) = size[0] > 0 ? size[0] : 0;
        *(channels ? &o.channels_after : &o.pad[i][1]) = size[1] > 0 ? size[1] : 0;
    }
    if (status == FV_OK)
        status = fv_onnx_add1(im, "pad", l.layer, &o, &l.layer);
    return status == FV_OK ? set_laid(im, &l, out) : status;
}

fv_status fv_onnx_pad(fv_onnx_import *im) {
    borders b;
    bool adds = false;
    fv_onnx_value *in, *out, rest = fv_onnx_between();
    fv_status status = fv_onnx_in_and_out(im, &in, &out);
    if (status == FV_OK)
        status = read_borders(im, in->array.rank, &b);
    if (status == FV_OK)
        status = cut_borders(im, in, &b, &rest);
    if (status != FV_OK)
        return status;
    for (int axis = 1; axis < in->array.rank; axis++)
        adds = adds || b.size[axis][0] > 0 || b.size[axis][1] > 0;
    if (adds)
        return add_borders(im, &rest, &b, out);
    fv_onnx_set_view(out, in, &rest.array);
    return FV_OK;
}
