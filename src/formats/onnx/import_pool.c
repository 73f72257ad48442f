/* ONNX's pools, and means, sums and maxima over axes, which are pools too. Called by import.c
 * by its table. */
#include "formats/onnx/import.h"
#include <string.h>

/* ---- Sliding windows ------------------------------------------------------------------------ */

/* Windows along an axis: of n cells with padding `after`, rounded down or up. One that would begin
 * in the padding behind is left out when rounding up. */
static int64_t windows(const fv_onnx_window *w, int axis, int64_t n, int64_t after, bool up) {
    int64_t stride = w->stride[axis], rest = n + w->pad[axis][0] + after - w->kernel[axis];
    if (rest < 0)
        return 0;
    int64_t count = (rest + (up ? stride - 1 : 0)) / stride + 1;
    return up && (count - 1) * stride >= n + w->pad[axis][0] ? count - 1 : count;
}

/* Padding behind that is more than half the window is how a size is rounded up in disguise. Where
 * the padding counts for nothing, the same windows are had by rounding up with as much as layers
 * take. */
static void round_up(const fv_onnx_window *w, const fv_shape *input, fv_pool_options *o) {
    int64_t after[3] = {0};
    bool more = false, same = !o->ceil && !o->count_include_pad;
    for (int i = 0; i < input->rank; i++) {
        after[i] = w->pad[i][1] <= w->kernel[i] / 2 ? w->pad[i][1] : w->kernel[i] / 2;
        more = more || after[i] != w->pad[i][1];
        same = same && input->size[i] != FV_ANY &&
               windows(w, i, input->size[i], after[i], true) ==
                   windows(w, i, input->size[i], w->pad[i][1], false);
    }
    for (int i = 0; more && same && i < input->rank; i++)
        o->pad[i][1] = (int)after[i];
    o->ceil = o->ceil || (more && same);
}

static fv_status pool(fv_onnx_import *im, const char *type, bool average) {
    fv_onnx_window w;
    fv_tensor x, layer;
    fv_onnx_value *in = fv_onnx_in_array(im, 0);
    fv_status status = in ? fv_onnx_read_window(im, in->array.rank - 2, &w) : fv_error_status();
    if (status == FV_OK && w.kernel[0] == 0)
        status = fv_fail(FV_FORMAT, "kernel_shape is missing");
    for (int i = 0; i < 3 && status == FV_OK; i++)
        if (w.dilation[i] > 1)
            status = fv_fail(FV_UNSUPPORTED, "dilations of a pool");
    if (status == FV_OK && fv_onnx_out(im, 1) && fv_onnx_out(im, 1)->readers > 0)
        status = fv_fail(FV_UNSUPPORTED, "the indices of the largest values are read");
    if (status == FV_OK)
        status = fv_onnx_standard(im, &in->array, &x);
    if (status != FV_OK)
        return status;
    fv_pool_options o = {.padding = w.padding, .ceil = fv_onnx_integer(im, "ceil_mode", 0) != 0};
    o.ceil = o.ceil && w.padding == FV_VALID;
    o.count_include_pad = average && fv_onnx_integer(im, "count_include_pad", 0) != 0;
    memcpy(o.size, w.kernel, sizeof o.size);
    memcpy(o.pad, w.pad, sizeof o.pad);
    round_up(&w, fv_onnx_shape(im, x), &o);
    if (memcmp(w.stride, w.kernel, sizeof w.stride) != 0) {
        memcpy(o.stride, w.stride, sizeof o.stride);
        fv_onnx_shorten(o.stride, in->array.rank - 2, 0);
    }
    fv_onnx_shorten(o.size, in->array.rank - 2, 0);
    status = fv_onnx_add1(im, type, x, &o, &layer);
    return status == FV_OK ? fv_onnx_set_standard(im, fv_onnx_out(im, 0), layer, in->array.rank)
                           : status;
}

fv_status fv_onnx_max_pool(fv_onnx_import *im) {
    return pool(im, "maxpool", false);
}

fv_status fv_onnx_average_pool(fv_onnx_import *im) {
    return pool(im, "avgpool", true);
}

/* ---- Over all places ------------------------------------------------------------------------ */

/* Whether what comes next only drops axes of size 1: then the pool gives a vector at once. */
static bool is_flattened_next(const fv_onnx_import *im, const fv_onnx_value *out) {
    static const char *const ops[] = {"Flatten", "Reshape", "Squeeze"};
    if (out->readers != 1 || out->reader < 0)
        return false;
    const char *op = im->model->nodes[out->reader].op;
    bool drops = false;
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        drops = drops || strcmp(op, ops[i]) == 0;
    return drops;
}

/* The spatial axes of a standard array, into `out` of `rank` axes: as many, of size 1, or two. */
static fv_status pool_places(fv_onnx_import *im, const char *type, const fv_onnx_value *in,
                             int rank, fv_onnx_value *out) {
    fv_tensor x, layer;
    fv_global_pool_options o = {.keep = rank > 2 && !is_flattened_next(im, out)};
    fv_status status = fv_onnx_standard(im, &in->array, &x);
    if (status == FV_OK)
        status = fv_onnx_add1(im, type, x, &o, &layer);
    return status == FV_OK ? fv_onnx_set_standard(im, out, layer, rank) : status;
}

static fv_status global_pool(fv_onnx_import *im, const char *type) {
    const fv_onnx_value *in = fv_onnx_in_array(im, 0);
    if (!in)
        return fv_error_status();
    if (in->array.rank < 3)
        return fv_fail(FV_FORMAT, "its input has no spatial axes");
    return pool_places(im, type, in, in->array.rank, fv_onnx_out(im, 0));
}

fv_status fv_onnx_global_average_pool(fv_onnx_import *im) {
    return global_pool(im, "global_avgpool");
}

fv_status fv_onnx_global_max_pool(fv_onnx_import *im) {
    return global_pool(im, "global_maxpool");
}

/* ---- Reductions ----------------------------------------------------------------------------- */

/* Which axes are reduced. */
typedef struct reduction {
    bool axis[FV_ONNX_RANK];
    int count;
    bool keep;
    int64_t values; /* that are joined; -1: they vary */
} reduction;

static fv_status read_axes(const fv_onnx_import *im, const fv_onnx_array *a, reduction *r) {
    int64_t axes[FV_ONNX_RANK];
    int count;
    *r = (reduction){.keep = fv_onnx_integer(im, "keepdims", 1) != 0, .values = 1};
    fv_status status = fv_onnx_list(im, "axes", 1, FV_ONNX_RANK, axes, &count);
    if (status == FV_OK && count <= 0 && !fv_onnx_integer(im, "noop_with_empty_axes", 0))
        return fv_fail(FV_UNSUPPORTED, "it works over all axes, the batch's too");
    for (int i = 0; i < count && status == FV_OK; i++) {
        int axis = fv_onnx_axis(axes[i], a->rank);
        if (axis <= 0)
            return axis < 0 ? fv_error_status()
                            : fv_fail(FV_UNSUPPORTED, "it works over the batch's axis");
        if (r->axis[axis])
            continue;
        int size = fv_onnx_size(a, axis);
        r->axis[axis] = true;
        r->count++;
        r->values = size == FV_ANY || r->values < 0 ? -1 : r->values * size;
    }
    return status;
}

/* Sizes of the result, without the batch's; returns how many axes it has. */
static int result_sizes(const fv_onnx_array *a, const reduction *r, int64_t *sizes) {
    int rank = 1;
    sizes[0] = FV_ANY;
    for (int axis = 1; axis < a->rank; axis++)
        if (!r->axis[axis] || r->keep)
            sizes[rank++] = r->axis[axis] ? 1 : fv_onnx_size(a, axis);
    return rank;
}

/* Any axes: those that are reduced in front as one, the others behind as one, then pooled. */
static fv_status pool_axes(fv_onnx_import *im, const char *type, const fv_onnx_array *a,
                           const reduction *r, fv_onnx_value *out) {
    int order[FV_ONNX_RANK] = {0}, next = 1, rank;
    int64_t sizes[FV_ONNX_RANK], two[3] = {FV_ANY, r->values, fv_onnx_sample(a) / r->values};
    fv_onnx_array turned, pair;
    fv_tensor x, layer;
    fv_onnx_value vector = fv_onnx_between();
    for (int reduced = 1; reduced >= 0; reduced--)
        for (int axis = 1; axis < a->rank; axis++)
            if (r->axis[axis] == (reduced == 1))
                order[next++] = axis;
    fv_status status = fv_onnx_transpose(a, order, &turned);
    if (status == FV_OK)
        status = fv_onnx_reshape(im, &turned, 3, two, &pair);
    if (status == FV_OK)
        status = fv_onnx_arrange(im, &pair, 2, (const int[]){1, 2}, &x);
    if (status == FV_OK)
        status = fv_onnx_add1(im, type, x, NULL, &layer);
    if (status == FV_OK)
        status = fv_onnx_set_standard(im, &vector, layer, 2);
    rank = result_sizes(a, r, sizes);
    if (status == FV_OK)
        status = fv_onnx_reshape(im, &vector.array, rank, sizes, &out->array);
    out->kind = FV_VALUE_ARRAY;
    return status;
}

static fv_status reduce(fv_onnx_import *im, const char *type, fv_onnx_value *out, int64_t *values) {
    reduction r;
    const fv_onnx_value *in = fv_onnx_in_array(im, 0);
    fv_status status = in ? read_axes(im, &in->array, &r) : fv_error_status();
    if (status != FV_OK)
        return status;
    int rank = in->array.rank;
    *values = r.values;
    if (r.count == 0) {
        fv_onnx_set_like(out, in, in->array.layer);
        return FV_OK;
    }
    if (rank > 2 && !r.axis[1] && r.count == rank - 2)
        return pool_places(im, type, in, r.keep ? rank : 2, out);
    if (fv_onnx_sample(&in->array) < 1)
        return fv_fail(FV_UNSUPPORTED, "its input's sizes vary (give the input fixed sizes: --set "
                                       "NAME=SIZE)");
    return pool_axes(im, type, &in->array, &r, out);
}

fv_status fv_onnx_reduce_mean(fv_onnx_import *im) {
    int64_t values;
    return reduce(im, "global_avgpool", fv_onnx_out(im, 0), &values);
}

fv_status fv_onnx_reduce_max(fv_onnx_import *im) {
    int64_t values;
    return reduce(im, "global_maxpool", fv_onnx_out(im, 0), &values);
}

/* The mean times how many. */
fv_status fv_onnx_reduce_sum(fv_onnx_import *im) {
    fv_onnx_value mean = fv_onnx_between();
    int64_t values;
    fv_status status = reduce(im, "global_avgpool", &mean, &values);
    if (status == FV_OK && values < 0)
        status =
            fv_fail(FV_UNSUPPORTED, "a sum over sizes that vary (give the input fixed sizes: --set "
                                    "NAME=SIZE)");
    return status == FV_OK ? fv_onnx_scale(im, &mean, (double)values, fv_onnx_out(im, 0)) : status;
}
