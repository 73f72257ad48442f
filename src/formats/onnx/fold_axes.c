/* Constants of ONNX under other sizes, in another order of axes, and parts of them. Called by
 * fold.c by its table. */
#include "formats/onnx/fold.h"
#include <math.h>
#include <string.h>

typedef fv_onnx_constant constant;

/* ---- Sizes and axes ------------------------------------------------------------------------- */

fv_status fv_onnx_fold_reshape(fv_onnx_import *im, const fv_onnx_fold_call *c) {
    int64_t size[FV_ONNX_RANK], known = 1;
    int open = -1, rank = (int)c->in[1]->count;
    fv_status status = fv_onnx_sizes_of(c->in[1], size);
    for (int i = 0; i < rank && status == FV_OK; i++) {
        if (size[i] == 0 && i < c->in[0]->rank && fv_onnx_integer(im, "allowzero", 0) == 0)
            size[i] = c->in[0]->size[i];
        open = size[i] == -1 ? i : open;
        if (size[i] > 0 && __builtin_mul_overflow(known, size[i], &known))
            return fv_fail(FV_UNSUPPORTED, "its sizes are too large");
    }
    if (status == FV_OK && open >= 0)
        size[open] = (int64_t)c->in[0]->count / known;
    return status == FV_OK ? fv_onnx_resized(im, c->in[0], rank, size, c->out) : status;
}

fv_status fv_onnx_fold_flatten(fv_onnx_import *im, const fv_onnx_fold_call *c) {
    const constant *x = c->in[0];
    int64_t axis = fv_onnx_integer(im, "axis", 1), size[2] = {1, 1};
    axis = axis < 0 ? axis + x->rank : axis;
    for (int i = 0; i < x->rank; i++)
        size[i >= axis] *= x->size[i];
    return fv_onnx_resized(im, x, 2, size, c->out);
}

fv_status fv_onnx_fold_squeeze(fv_onnx_import *im, const fv_onnx_fold_call *c) {
    const constant *x = c->in[0];
    int64_t axes[FV_ONNX_RANK], size[FV_ONNX_RANK];
    int count, rank = 0;
    fv_status status = fv_onnx_list(im, "axes", 1, FV_ONNX_RANK, axes, &count);
    for (int i = 0; i < x->rank && status == FV_OK; i++) {
        bool gone = count < 0 && x->size[i] == 1;
        for (int k = 0; k < count; k++)
            gone = gone || axes[k] == i || axes[k] + x->rank == i;
        if (!gone)
            size[rank++] = x->size[i];
    }
    return status == FV_OK ? fv_onnx_resized(im, x, rank, size, c->out) : status;
}

fv_status fv_onnx_fold_unsqueeze(fv_onnx_import *im, const fv_onnx_fold_call *c) {
    const constant *x = c->in[0];
    int64_t axes[FV_ONNX_RANK], size[FV_ONNX_RANK] = {0};
    int count, next = 0;
    fv_status status = fv_onnx_list(im, "axes", 1, FV_ONNX_RANK, axes, &count);
    int rank = x->rank + (count > 0 ? count : 0);
    if (status == FV_OK && rank > FV_ONNX_RANK)
        return fv_fail(FV_UNSUPPORTED, "it makes an array of more than 8 axes");
    for (int k = 0; k < count && status == FV_OK; k++) {
        int axis = fv_onnx_axis(axes[k], rank);
        if (axis < 0)
            return fv_error_status();
        size[axis] = 1;
    }
    for (int i = 0; i < rank && status == FV_OK; i++)
        if (size[i] == 0 && next < x->rank)
            size[i] = x->size[next++];
    return status == FV_OK ? fv_onnx_resized(im, x, rank, size, c->out) : status;
}

/* Numbers taken from x: that of `index` in an array of these sizes at begin + sum of index x step.
 */
static fv_status pick(fv_onnx_import *im, const constant *x, int rank, const int64_t *size,
                      int64_t begin, const int64_t *step, constant *out) {
    double *numbers = fv_onnx_make(im, x->kind, rank, size, out);
    for (size_t i = 0; numbers && i < out->count; i++) {
        int64_t place = begin;
        size_t rest = i;
        for (int a = rank - 1; a >= 0; a--) {
            place += (int64_t)(rest % (size_t)size[a]) * step[a];
            rest /= (size_t)size[a];
        }
        numbers[i] = fv_onnx_number(x, (size_t)place);
    }
    return numbers ? FV_OK : fv_error_status();
}

/* Values from one number of an axis to the next. */
static void steps_of(const constant *x, int64_t *step) {
    int64_t values = 1;
    for (int a = x->rank - 1; a >= 0; a--) {
        step[a] = values;
        values *= x->size[a];
    }
}

fv_status fv_onnx_fold_transpose(fv_onnx_import *im, const fv_onnx_fold_call *c) {
    const constant *x = c->in[0];
    const fv_onnx_attribute *perm = fv_onnx_find(im->node, "perm");
    int64_t own[FV_ONNX_RANK], size[FV_ONNX_RANK], step[FV_ONNX_RANK];
    unsigned seen = 0;
    steps_of(x, own);
    for (int a = 0; a < x->rank; a++) {
        int64_t from = x->rank - 1 - a;
        if (perm)
            from = perm->count == (size_t)x->rank && perm->integers ? perm->integers[a] : -1;
        if (from < 0 || from >= x->rank || seen >> from & 1)
            return fv_fail(FV_FORMAT, "perm is no order of its axes");
        seen |= 1U << from;
        size[a] = x->size[from];
        step[a] = own[from];
    }
    return pick(im, x, x->rank, size, 0, step, c->out);
}

fv_status fv_onnx_fold_expand(fv_onnx_import *im, const fv_onnx_fold_call *c) {
    const constant *x = c->in[0];
    int64_t wanted[FV_ONNX_RANK], size[FV_ONNX_RANK], own[FV_ONNX_RANK], step[FV_ONNX_RANK] = {0};
    int rank = 0;
    fv_status status = fv_onnx_sizes_of(c->in[1], wanted);
    if (status == FV_OK)
        status = fv_onnx_broadcast(x, wanted, (int)c->in[1]->count, size, &rank);
    if (status != FV_OK)
        return status;
    steps_of(x, own);
    for (int i = 1; i <= x->rank; i++)
        step[rank - i] = x->size[x->rank - i] == 1 ? 0 : own[x->rank - i];
    return pick(im, x, rank, size, 0, step, c->out);
}

/* Where a slice of an axis begins and how many numbers it has. */
static void clamp_slice(int64_t size, double begin, double end, int64_t step, int64_t *first,
                        int64_t *count) {
    double low = step > 0 ? 0 : -1, high = step > 0 ? (double)size : (double)size - 1;
    begin += begin < 0 ? (double)size : 0;
    end += end < 0 ? (double)size : 0;
    begin = begin < low ? low : begin > high ? high : begin;
    end = end < low ? low : end > high ? high : end;
    double numbers = ceil((end - begin) / (double)step);
    *first = (int64_t)(begin < 0 ? 0 : begin);
    *count = numbers > 0 ? (int64_t)numbers : 0;
}

fv_status fv_onnx_fold_slice(fv_onnx_import *im, const fv_onnx_fold_call *c) {
    const constant *x = c->in[0];
    int64_t begins[FV_ONNX_RANK], ends[FV_ONNX_RANK], axes[FV_ONNX_RANK], jumps[FV_ONNX_RANK];
    int64_t step[FV_ONNX_RANK], size[FV_ONNX_RANK], begin = 0;
    int count;
    fv_status status = fv_onnx_slices(im, x->rank, begins, ends, axes, jumps, &count);
    steps_of(x, step);
    memcpy(size, x->size, sizeof size);
    for (int i = 0; i < count && status == FV_OK; i++) {
        int64_t first, own = step[axes[i]];
        clamp_slice(x->size[axes[i]], (double)begins[i], (double)ends[i], jumps[i], &first,
                    &size[axes[i]]);
        begin += first * own;
        step[axes[i]] = own * jumps[i];
    }
    return status == FV_OK ? pick(im, x, x->rank, size, begin, step, c->out) : status;
}

/* Of one axis the numbers at `indices`, whose axes come in its place. */
fv_status fv_onnx_fold_gather(fv_onnx_import *im, const fv_onnx_fold_call *c) {
    const constant *x = c->in[0], *indices = c->in[1];
    int64_t size[2 * FV_ONNX_RANK], inner = 1;
    int rank = 0, axis = fv_onnx_axis(fv_onnx_integer(im, "axis", 0), x->rank);
    if (axis < 0)
        return fv_error_status();
    for (int a = 0; a < x->rank; a++) {
        inner *= a > axis ? x->size[a] : 1;
        for (int k = 0; a == axis && k < indices->rank; k++)
            size[rank++] = indices->size[k];
        if (a != axis)
            size[rank++] = x->size[a];
    }
    double *numbers = fv_onnx_make(im, x->kind, rank, size, c->out);
    for (size_t i = 0; numbers && i < c->out->count; i++) {
        size_t in = i % (size_t)inner, k = i / (size_t)inner % indices->count,
               out = i / (size_t)inner / indices->count;
        double index = fv_onnx_number(indices, k), all = (double)x->size[axis];
        index += index < 0 ? all : 0;
        if (!(index >= 0 && index < all))
            return fv_fail(FV_FORMAT, "an index lies outside its axis");
        numbers[i] =
            fv_onnx_number(x, (out * (size_t)x->size[axis] + (size_t)index) * (size_t)inner + in);
    }
    return numbers ? FV_OK : fv_error_status();
}

fv_status fv_onnx_fold_concat(fv_onnx_import *im, const fv_onnx_fold_call *c) {
    const constant *first = c->in[0];
    int64_t size[FV_ONNX_RANK], inner = 1;
    int axis = fv_onnx_axis(fv_onnx_integer(im, "axis", 1), first->rank);
    if (axis < 0)
        return fv_error_status();
    memcpy(size, first->size, sizeof size);
    for (int a = axis + 1; a < first->rank; a++)
        inner *= size[a];
    for (size_t i = 1; i < c->count; i++) {
        for (int a = 0; a < first->rank; a++)
            if (c->in[i]->rank != first->rank || (a != axis && c->in[i]->size[a] != size[a]))
                return fv_fail(FV_FORMAT, "its constants have sizes that do not fit together");
        size[axis] += c->in[i]->size[axis];
    }
    double *numbers = fv_onnx_make(im, first->kind, first->rank, size, c->out);
    for (size_t i = 0, at = 0; numbers && i < c->count; i++) {
        const constant *x = c->in[i];
        size_t run = (size_t)(x->size[axis] * inner), all = (size_t)(size[axis] * inner);
        for (size_t k = 0; k < x->count; k++)
            numbers[k / run * all + at + k % run] = fv_onnx_number(x, k);
        at += run;
    }
    return numbers ? FV_OK : fv_error_status();
}
