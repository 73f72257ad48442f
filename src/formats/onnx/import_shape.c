/* ONNX's operators that give the same numbers other axes, or leave them as they are: arrays are
 * only noted down otherwise, no number moves. Constants that are repeated for each sample become
 * layers. Called by import.c by its table. */
#include "formats/onnx/import.h"
#include <limits.h>
#include <math.h>
#include <string.h>

/* ---- What is the same ----------------------------------------------------------------------- */

static bool is_float_type(int64_t type) {
    return type == FV_ONNX_FLOAT || type == FV_ONNX_DOUBLE || type == FV_ONNX_FLOAT16 ||
           type == FV_ONNX_BFLOAT16;
}

/* From opset 12 on an input says whether it drops. */
static fv_status check_dropout(const fv_onnx_import *im) {
    const fv_onnx_value *mask = fv_onnx_out(im, 1);
    double training;
    if (mask && mask->readers > 0)
        return fv_fail(FV_UNSUPPORTED, "which values it drops is read");
    fv_status status = fv_onnx_scalar(im, "training_mode", 2, 0, &training);
    if (status == FV_OK && training != 0)
        return fv_fail(FV_UNSUPPORTED, "it drops values at random: export the model for inference");
    return status;
}

fv_status fv_onnx_same(fv_onnx_import *im) {
    fv_onnx_value *in, *out;
    fv_status status = fv_onnx_in_and_out(im, &in, &out);
    if (status == FV_OK && strcmp(im->node->op, "Dropout") == 0)
        status = check_dropout(im);
    if (status == FV_OK && strcmp(im->node->op, "Cast") == 0 &&
        !is_float_type(fv_onnx_integer(im, "to", 0)))
        return fv_fail(FV_UNSUPPORTED, "it makes other numbers than floats of what depends on the "
                                       "net's input");
    if (status == FV_OK)
        fv_onnx_set_like(out, in, in->array.layer);
    return status;
}

/* ---- Reshape -------------------------------------------------------------------------------- */

/* The input under these sizes, sizes[0] being the batch's. */
static fv_status give_view(fv_onnx_import *im, const fv_onnx_value *in, int rank,
                           const int64_t *sizes, fv_onnx_value *out) {
    fv_onnx_array view;
    fv_status status = fv_onnx_reshape(im, &in->array, rank, sizes, &view);
    if (status == FV_OK)
        fv_onnx_set_view(out, in, &view);
    return status;
}

/* Whether a list's first number is the batch's size as Shape gave it, and not reckoned from it:
 * twice the batch's size is unknown too. */
static bool begins_with_batch(const fv_onnx_import *im, const fv_onnx_value *list) {
    static const char *const passing[] = {"Concat", "Unsqueeze", "Squeeze", "Reshape",
                                          "Cast",   "Identity",  "Gather",  "Slice"};
    while (list && list->producer >= 0) { /* nodes only read those before them */
        const fv_onnx_node *node = &im->model->nodes[list->producer];
        bool passes = false;
        if (strcmp(node->op, "Shape") == 0)
            return true;
        for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++)
            passes = passes || strcmp(node->op, passing[i]) == 0;
        passes = passes && node->input_count > 0 && node->input_values[0] >= 0;
        list = passes ? &im->values[node->input_values[0]] : NULL;
    }
    return false;
}

/* The batch's entry. Where another size is what is left, it must be the batch's size indeed. */
static fv_status check_first(const fv_onnx_import *im, double first, bool others_open) {
    bool zero = fv_onnx_integer(im, "allowzero", 0) != 0;
    if (first == -1 && others_open)
        return fv_fail(FV_FORMAT, "two of its sizes are -1");
    if (first < -1 || (first == 0 && zero))
        return fv_fail(FV_FORMAT, "its first size is %g", first);
    if (!others_open || first == 0 || first == -1)
        return FV_OK;
    if (isnan(first) ? !begins_with_batch(im, fv_onnx_in(im, 1)) : !fv_onnx_is_batch(im, first))
        return fv_fail(FV_UNSUPPORTED, "its first size is another than the batch's");
    return FV_OK;
}

/* Size `axis` of the target; -1 (what is left) is noted in *open. */
static fv_status read_size(const fv_onnx_import *im, const fv_onnx_array *a, int axis,
                           double number, int64_t *size, int *open) {
    if (isnan(number))
        return fv_fail(FV_UNSUPPORTED,
                       "size %d of its output is known only when the net runs (give the "
                       "input fixed sizes: --set NAME=SIZE)",
                       axis);
    if (number == 0 && axis < a->rank && fv_onnx_integer(im, "allowzero", 0) == 0) {
        *size = fv_onnx_size(a, axis);
        return FV_OK;
    }
    if (number == -1 && *open >= 0)
        return fv_fail(FV_FORMAT, "two of its sizes are -1");
    if (number == -1) {
        *open = axis;
        *size = 1;
        return FV_OK;
    }
    if (!(number >= 1 && number <= INT_MAX) || number != floor(number))
        return fv_fail(FV_FORMAT, "size %d of its output is %g", axis, number);
    *size = (int64_t)number;
    return FV_OK;
}

/* The product of sizes, and how many vary; false where it is too large. */
static bool multiply(int count, const int64_t *sizes, int64_t *known, int *varying) {
    *known = 1;
    *varying = 0;
    for (int i = 0; i < count; i++)
        if (sizes[i] == FV_ANY)
            ++*varying;
        else if (__builtin_mul_overflow(*known, sizes[i], known))
            return false;
    return true;
}

/* Sets the size that is what is left, 1 so far. */
static fv_status fill_open(const fv_onnx_array *a, int rank, int64_t *sizes, int open) {
    int64_t own[FV_ONNX_FACTORS], have, wanted;
    int varying, wanted_varying;
    for (int f = 0; f < a->count; f++)
        own[f] = a->factor[f];
    if (!multiply(a->count, own, &have, &varying) ||
        !multiply(rank - 1, sizes + 1, &wanted, &wanted_varying))
        return fv_fail(FV_UNSUPPORTED, "its sizes are too large");
    if (varying == wanted_varying && have % wanted == 0 && have / wanted <= INT_MAX)
        sizes[open] = have / wanted;
    else if (varying == wanted_varying + 1 && have == wanted)
        sizes[open] = FV_ANY;
    else if (varying > 0)
        return fv_fail(FV_UNSUPPORTED, "its input's sizes vary (give the input fixed sizes: --set "
                                       "NAME=SIZE)");
    else
        return fv_fail(FV_SHAPE, "its input has %lld values a sample, which is no multiple of %lld",
                       (long long)have, (long long)wanted);
    return FV_OK;
}

fv_status fv_onnx_reshape_node(fv_onnx_import *im) {
    int64_t sizes[FV_ONNX_RANK];
    int open = -1;
    fv_onnx_value *in, *out;
    fv_status status = fv_onnx_in_and_out(im, &in, &out);
    const fv_onnx_constant *shape = status == FV_OK ? fv_onnx_in_constant(im, 1) : NULL;
    if (!shape)
        return fv_error_status();
    if (shape->count < 1 || shape->count > FV_ONNX_RANK)
        return fv_fail(FV_UNSUPPORTED, "its output has %zu axes, expected 1 to %d", shape->count,
                       FV_ONNX_RANK);
    int rank = (int)shape->count;
    for (int axis = 1; axis < rank && status == FV_OK; axis++)
        status = read_size(im, &in->array, axis, fv_onnx_number(shape, (size_t)axis), &sizes[axis],
                           &open);
    if (status == FV_OK)
        status = check_first(im, fv_onnx_number(shape, 0), open >= 0);
    if (status == FV_OK && open >= 0)
        status = fill_open(&in->array, rank, sizes, open);
    return status == FV_OK ? give_view(im, in, rank, sizes, out) : status;
}

/* ---- Axes fewer, more, in another order ----------------------------------------------------- */

fv_status fv_onnx_flatten(fv_onnx_import *im) {
    fv_onnx_value *in, *out;
    fv_status status = fv_onnx_in_and_out(im, &in, &out);
    if (status != FV_OK)
        return status;
    const fv_onnx_array *a = &in->array;
    int64_t axis = fv_onnx_integer(im, "axis", 1), sizes[2] = {0, fv_onnx_sample(a)};
    axis += axis < 0 ? a->rank : 0;
    if (axis < 0 || axis > a->rank)
        return fv_fail(FV_FORMAT, "there is no axis %lld: its input has %d", (long long)axis,
                       a->rank);
    if (axis == 0)
        return fv_fail(FV_UNSUPPORTED, "it joins the batch's axis with others");
    for (int before = 1; before < axis; before++)
        if (fv_onnx_size(a, before) != 1)
            return fv_fail(FV_UNSUPPORTED, "it joins axis %d with the batch's", before);
    return give_view(im, in, 2, sizes, out);
}

fv_status fv_onnx_transpose_node(fv_onnx_import *im) {
    int64_t perm[FV_ONNX_RANK];
    int axes[FV_ONNX_RANK], count;
    unsigned seen = 0;
    fv_onnx_array view;
    fv_onnx_value *in, *out;
    fv_status status = fv_onnx_in_and_out(im, &in, &out);
    if (status == FV_OK)
        status = fv_onnx_list(im, "perm", 0, FV_ONNX_RANK, perm, &count);
    if (status != FV_OK)
        return status;
    int rank = in->array.rank;
    for (int i = 0; i < rank; i++) {
        int64_t axis = count < 0 ? rank - 1 - i : count == rank ? perm[i] : -1;
        if (axis < 0 || axis >= rank || (seen >> axis & 1))
            return fv_fail(FV_FORMAT, "perm is no order of its input's %d axes", rank);
        seen |= 1U << axis;
        axes[i] = (int)axis;
    }
    status = fv_onnx_transpose(&in->array, axes, &view);
    if (status == FV_OK)
        fv_onnx_set_view(out, in, &view);
    return status;
}

/* Marks the axes of an array of `rank` that the node names; *count -1: it names none. */
static fv_status mark_axes(const fv_onnx_import *im, int rank, bool *marked, int *count) {
    int64_t axes[FV_ONNX_RANK];
    fv_status status = fv_onnx_list(im, "axes", 1, FV_ONNX_RANK, axes, count);
    for (int i = 0; i < *count && status == FV_OK; i++) {
        int axis = fv_onnx_axis(axes[i], rank);
        if (axis < 0)
            return fv_error_status();
        if (axis == 0)
            return fv_fail(FV_UNSUPPORTED, "it changes the batch's axis");
        if (marked[axis])
            return fv_fail(FV_FORMAT, "it names axis %d twice", axis);
        marked[axis] = true;
    }
    return status;
}

fv_status fv_onnx_squeeze(fv_onnx_import *im) {
    bool drops[FV_ONNX_RANK] = {0};
    int64_t sizes[FV_ONNX_RANK];
    int count, rank = 1;
    fv_onnx_value *in, *out;
    fv_status status = fv_onnx_in_and_out(im, &in, &out);
    if (status == FV_OK)
        status = mark_axes(im, in->array.rank, drops, &count);
    if (status != FV_OK)
        return status;
    for (int axis = 1; axis < in->array.rank; axis++) {
        int size = fv_onnx_size(&in->array, axis);
        if (drops[axis] && size != 1)
            return size == FV_ANY
                       ? fv_fail(FV_UNSUPPORTED, "it drops axis %d, whose size varies", axis)
                       : fv_fail(FV_FORMAT, "it drops axis %d, whose size is %d", axis, size);
        if (!drops[axis] && (count > 0 || size != 1))
            sizes[rank++] = size;
    }
    return give_view(im, in, rank, sizes, out);
}

fv_status fv_onnx_unsqueeze(fv_onnx_import *im) {
    bool adds[FV_ONNX_RANK] = {0};
    int64_t sizes[FV_ONNX_RANK], axes[FV_ONNX_RANK];
    int count;
    fv_onnx_value *in, *out;
    fv_status status = fv_onnx_in_and_out(im, &in, &out);
    if (status == FV_OK)
        status = fv_onnx_list(im, "axes", 1, FV_ONNX_RANK, axes, &count);
    if (status != FV_OK)
        return status;
    int rank = in->array.rank + (count > 0 ? count : 0);
    if (rank > FV_ONNX_RANK)
        return fv_fail(FV_UNSUPPORTED, "it makes an array of more than %d axes", FV_ONNX_RANK);
    status = mark_axes(im, rank, adds, &count);
    for (int axis = 1, own = 1; axis < rank && status == FV_OK; axis++)
        sizes[axis] = adds[axis] ? 1 : fv_onnx_size(&in->array, own++);
    return status == FV_OK ? give_view(im, in, rank, sizes, out) : status;
}

/* ---- Expand --------------------------------------------------------------------------------- */

/* Whether the one node that reads `out` repeats the values of itself, for it joins them with an
 * array of the sizes that are wanted. */
static bool repeats_next(const fv_onnx_import *im, const fv_onnx_value *out,
                         const fv_onnx_constant *shape) {
    static const char *const joining[] = {"Add", "Sub", "Mul", "Max", "Min"};
    if (out->readers != 1 || out->reader < 0)
        return false;
    const fv_onnx_node *node = &im->model->nodes[out->reader];
    bool joins = false;
    for (size_t i = 0; i < sizeof joining / sizeof joining[0]; i++)
        joins = joins || strcmp(node->op, joining[i]) == 0;
    if (!joins || !fv_onnx_is_standard(node) || node->input_count != 2)
        return false;
    int first = node->input_values[0], second = node->input_values[1];
    int number = first >= 0 && &im->values[first] == out ? second : first;
    const fv_onnx_value *other = number >= 0 ? &im->values[number] : NULL;
    bool fits = other && other->kind == FV_VALUE_ARRAY && other->array.rank == (int)shape->count;
    for (int axis = 1; fits && axis < other->array.rank; axis++) {
        double wanted = fv_onnx_number(shape, (size_t)axis);
        int size = fv_onnx_size(&other->array, axis);
        fits = size == FV_ANY ? isnan(wanted) : wanted == size;
    }
    return fits;
}

/* An array whose sizes stay as they are. */
static fv_status expand_array(fv_onnx_import *im, const fv_onnx_constant *shape) {
    fv_onnx_value *in, *out;
    fv_status status = fv_onnx_in_and_out(im, &in, &out);
    if (status != FV_OK)
        return status;
    int rank = in->array.rank;
    if (shape->count > (size_t)rank)
        return fv_fail(FV_UNSUPPORTED, "it adds axes to what depends on the net's input");
    for (int axis = rank - (int)shape->count; axis < rank; axis++) {
        double wanted = fv_onnx_number(shape, shape->count - (size_t)(rank - axis));
        int size = axis > 0 ? fv_onnx_size(&in->array, axis) : FV_ANY;
        bool same = axis == 0        ? fv_onnx_is_batch(im, wanted)
                    : size == FV_ANY ? isnan(wanted)
                                     : wanted == size;
        if (!same && wanted != 1 && (axis == 0 || !repeats_next(im, out, shape)))
            return fv_fail(FV_UNSUPPORTED, "it repeats values along axis %d", axis);
    }
    fv_onnx_set_like(out, in, in->array.layer);
    return FV_OK;
}

/* Sizes that numbers have for each sample, by those wanted and their own. */
static fv_status sizes_of_sample(const fv_onnx_constant *x, const fv_onnx_constant *shape,
                                 int64_t *sizes, size_t *count) {
    enum { MOST = 1 << 24 };
    int rank = (int)shape->count;
    *count = 1;
    for (int axis = 0; axis < rank; axis++) {
        int at = axis - (rank - x->rank);
        int64_t own = at >= 0 ? x->size[at] : 1;
        double wanted = axis == 0 ? 1 : fv_onnx_number(shape, (size_t)axis);
        bool fits = own >= 1 && own <= MOST && wanted >= 1 && wanted <= MOST;
        if (!fits || (own != 1 && wanted != 1 && wanted != (double)own) || (axis == 0 && own != 1))
            return fv_fail(FV_UNSUPPORTED, "along axis %d it makes a size of %g out of %lld", axis,
                           wanted, (long long)own);
        sizes[axis] = own != 1 ? own : (int64_t)wanted;
        *count *= (size_t)sizes[axis];
        if (*count > MOST)
            return fv_fail(FV_UNSUPPORTED, "it makes more than %d numbers", MOST);
    }
    return FV_OK;
}

/* Where number i of an array of those sizes is in x. */
static size_t source(const fv_onnx_constant *x, size_t i, int rank, const int64_t *sizes) {
    size_t place = 0, step = 1;
    for (int axis = rank - 1, own = x->rank - 1; own >= 0; axis--, own--) {
        size_t at = i % (size_t)sizes[axis];
        i /= (size_t)sizes[axis];
        place += x->size[own] == 1 ? 0 : at * step;
        step *= (size_t)x->size[own];
    }
    return place;
}

/* Numbers for each sample of the batch: a layer of them. */
static fv_status expand_constant(fv_onnx_import *im, const fv_onnx_constant *x,
                                 const fv_onnx_constant *shape) {
    int64_t sizes[FV_ONNX_RANK];
    size_t count;
    int rank = (int)shape->count;
    fv_tensor layer;
    if (shape->count < 2 || shape->count > 5 || x->rank > rank)
        return fv_fail(FV_UNSUPPORTED,
                       "it makes constants of %d axes for each sample, expected 2 to 5",
                       x->rank > rank ? x->rank : rank);
    fv_status status = sizes_of_sample(x, shape, sizes, &count);
    if (status != FV_OK)
        return status;
    fv_shape of_sample = {.rank = rank - 2, .channels = (int)sizes[1]};
    for (int axis = 2; axis < rank; axis++)
        of_sample.size[axis - 2] = (int)sizes[axis];
    float *values = fv_alloc(count, sizeof *values);
    for (size_t i = 0; values && i < count; i++)
        values[i] = (float)fv_onnx_number(x, source(x, i, rank, sizes));
    status = fv_onnx_add_constant(im, of_sample, values, &layer);
    return status == FV_OK ? fv_onnx_set_standard(im, fv_onnx_out(im, 0), layer, rank) : status;
}

fv_status fv_onnx_expand(fv_onnx_import *im) {
    const fv_onnx_value *x = fv_onnx_in(im, 0);
    const fv_onnx_constant *shape = fv_onnx_in_constant(im, 1);
    if (!shape)
        return fv_error_status();
    return x && x->kind == FV_VALUE_CONSTANT ? expand_constant(im, &x->constant, shape)
                                             : expand_array(im, shape);
}
