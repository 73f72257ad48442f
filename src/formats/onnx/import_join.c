/* ONNX's arithmetic, value by value: of two arrays by add, multiply and maximum; of an array and
 * constants by what the layer before can take up (a convolution's bias, the input's scale and
 * mean), else by constant layers. Called by import.c by its table. */
#include "formats/onnx/import.h"
#include <math.h>
#include <string.h>

fv_onnx_value fv_onnx_between(void) {
    return (fv_onnx_value){.name = "", .readers = 1, .reader = -1, .producer = -1};
}

/* ---- Two arrays ----------------------------------------------------------------------------- */

/* Whether they have the same axes, which lie the same way in layers of the same shape. */
static bool lie_alike(const fv_onnx_import *im, const fv_onnx_array *a, const fv_onnx_array *b) {
    const fv_shape *x = fv_onnx_shape(im, a->layer), *y = fv_onnx_shape(im, b->layer);
    bool alike = a->rank == b->rank && a->count == b->count && x->rank == y->rank &&
                 x->channels == y->channels;
    for (int i = 0; alike && i < x->rank; i++)
        alike = x->size[i] == y->size[i];
    for (int i = 0; alike && i < a->count; i++)
        alike = a->factor[i] == b->factor[i] && a->order[i] == b->order[i];
    for (int i = 0; alike && i <= a->rank; i++)
        alike = a->begin[i] == b->begin[i];
    return alike;
}

/* Whether all axes but this one have size 1. */
static bool has_one_place(const fv_onnx_array *a, int axis) {
    return a->rank > axis && a->begin[axis] == 0 && a->begin[axis + 1] == a->count;
}

/* The one axis that has another size than 1; 1: all have it; -1: there are more. */
static int only_axis(const fv_onnx_array *a) {
    int only = 1;
    for (int axis = 2; axis < a->rank; axis++)
        only = a->begin[axis] < a->begin[axis + 1] ? axis : only;
    return has_one_place(a, only) ? only : -1;
}

bool fv_onnx_has_channels(const fv_onnx_import *im, const fv_onnx_array *a, int axis) {
    if (a->rank <= axis || fv_onnx_size(a, axis) != fv_onnx_shape(im, a->layer)->channels)
        return false;
    int count = a->begin[axis + 1] - a->begin[axis];
    bool last = true;
    for (int i = 0; last && i < count; i++)
        last = a->order[a->count - count + i] == a->begin[axis] + i;
    return last;
}

/* How two arrays meet. */
typedef struct pair {
    const fv_onnx_array *larger; /* whose sizes the result has */
    int axis;                    /* that the other has alone; 0: both have all */
} pair;

static fv_status find_pair(const fv_onnx_array *a, const fv_onnx_array *b, pair *p) {
    if (a->rank != b->rank)
        return fv_fail(FV_FORMAT, "its inputs have %d and %d axes, expected as many", a->rank,
                       b->rank);
    int axis_a = only_axis(a), axis_b = only_axis(b);
    p->larger = axis_a > 0 ? b : a;
    p->axis = axis_a > 0 && axis_b < 0 ? axis_a : axis_b > 0 && axis_a < 0 ? axis_b : 0;
    for (int axis = 1; axis < a->rank; axis++)
        if ((p->axis == 0 || axis == p->axis) && fv_onnx_size(a, axis) != fv_onnx_size(b, axis))
            return fv_fail(FV_UNSUPPORTED,
                           "its inputs have different sizes; they must be equal, or one "
                           "have as many channels and one place");
    return FV_OK;
}

/* An operand with those axes; one that has the last alone as it is, if it is a vector or its others
 * have size 1. */
static fv_status operand(fv_onnx_import *im, const fv_onnx_array *a, const pair *p, int count,
                         const int *axes, fv_tensor *layer) {
    if (a == p->larger || p->axis == 0)
        return fv_onnx_arrange(im, a, count, axes, layer);
    *layer = a->layer;
    return fv_onnx_has_channels(im, a, p->axis) ? FV_OK
                                                : fv_onnx_arrange(im, a, 1, &p->axis, layer);
}

/* add, multiply or maximum of two arrays. */
static fv_status join(fv_onnx_import *im, const char *type, fv_onnx_value *a, fv_onnx_value *b,
                      fv_onnx_value *out) {
    fv_tensor inputs[2] = {a->array.layer, b->array.layer}, layer;
    int axes[FV_ONNX_RANK], count;
    pair p;
    if (lie_alike(im, &a->array, &b->array)) {
        fv_status status = fv_onnx_add(im, type, 2, inputs, NULL, &layer);
        if (status == FV_OK)
            fv_onnx_set_like(out, a, layer);
        return status;
    }
    fv_status status = find_pair(&a->array, &b->array, &p);
    if (status != FV_OK)
        return status;
    count = fv_onnx_axes_as_is(p.larger, axes);
    if (count > 0 && p.axis > 0 && axes[count - 1] != p.axis)
        count = fv_onnx_axes_to_last(p.larger->rank, p.axis, axes);
    status = operand(im, &a->array, &p, count, axes, &inputs[0]);
    if (status == FV_OK)
        status = operand(im, &b->array, &p, count, axes, &inputs[1]);
    if (status == FV_OK)
        status = fv_onnx_add(im, type, 2, inputs, NULL, &layer);
    return status == FV_OK ? fv_onnx_set_array(im, out, layer, p.larger->rank, count, axes)
                           : status;
}

/* ---- One array and constants ---------------------------------------------------------------- */

/* The array's layer and numbers as a layer of that shape. */
static fv_status join_numbers(fv_onnx_import *im, const char *type, fv_tensor x, fv_shape shape,
                              float *values, fv_tensor *layer) {
    fv_tensor inputs[2] = {x};
    fv_status status = fv_onnx_add_constant(im, shape, values, &inputs[1]);
    return status == FV_OK ? fv_onnx_add(im, type, 2, inputs, NULL, layer) : status;
}

/* count numbers, or one, spread over the channels. */
static float *spread(const float *numbers, size_t count, size_t channels) {
    float *values = fv_alloc(channels, sizeof *values);
    for (size_t c = 0; values && c < channels; c++)
        values[c] = numbers[count == 1 ? 0 : c];
    return values;
}

/* x op one number, or one for each of the axis, by a layer of its own. */
static fv_status by_channels(fv_onnx_import *im, const char *type, const fv_onnx_value *x, int axis,
                             size_t count, const float *numbers, fv_onnx_value *out) {
    int axes[FV_ONNX_RANK], axis_count;
    fv_tensor layer = x->array.layer;
    bool as_is = count == 1 || fv_onnx_has_channels(im, &x->array, axis);
    fv_status status =
        as_is ? FV_OK : fv_onnx_arrange_last(im, &x->array, axis, axes, &axis_count, &layer);
    if (status != FV_OK)
        return status;
    fv_shape vector = {.channels = fv_onnx_shape(im, layer)->channels};
    status = join_numbers(im, type, layer, vector, spread(numbers, count, (size_t)vector.channels),
                          &layer);
    if (status == FV_OK && !as_is)
        return fv_onnx_set_array(im, out, layer, x->array.rank, axis_count, axes);
    if (status == FV_OK)
        fv_onnx_set_like(out, x, layer);
    return status;
}

/* The input line's y = (x scale - mean) / deviation takes up what normalises the samples, but not
 * all that a model does. */
static bool join_input(fv_onnx_import *im, const fv_onnx_value *x, size_t count, const float *scale,
                       const float *shift, bool is_last) {
    fv_input_options *o = im->draft->nodes[0].options;
    bool one = scale && count == 1 && o->means == 0 && o->deviations == 0;
    if (x->array.layer != 0 || x->array.shared || x->readers != 1 || x->is_output || count > 4 ||
        im->draft->count != 1 || (scale && shift) || is_last)
        return false;
    for (size_t c = 0; scale && c < count; c++)
        if (!(scale[c] > 0) || !isfinite(scale[c]))
            return false;
    if (one) {
        o->scale = (o->scale != 0 ? o->scale : 1) * (double)scale[0];
        return true;
    }
    if (shift && o->deviations == 0 && o->means == 0) {
        o->means = (int)count;
        for (size_t c = 0; c < count; c++)
            o->mean[c] = -(double)shift[c];
        return true;
    }
    if (!scale || o->deviations > 0)
        return false;
    o->deviations = (int)count;
    for (size_t c = 0; c < count; c++)
        o->deviation[c] = 1 / (double)scale[c];
    return true;
}

/* Joins the numbers to the layer that gives x; *joined false: it cannot be. */
static fv_status join_before(fv_onnx_import *im, const fv_onnx_value *x, int axis, size_t count,
                             const float *scale, const float *shift, bool is_last, bool *joined) {
    size_t channels = (size_t)fv_onnx_shape(im, x->array.layer)->channels;
    *joined = false;
    if (count != 1 && !fv_onnx_has_channels(im, &x->array, axis))
        return FV_OK;
    *joined = join_input(im, x, count, scale, shift, is_last);
    if (*joined)
        return FV_OK;
    float *scales = scale ? spread(scale, count, channels) : NULL;
    float *shifts = shift ? spread(shift, count, channels) : NULL;
    fv_status status = (scale && !scales) || (shift && !shifts)
                           ? FV_MEMORY
                           : fv_onnx_join_affine(im, x, (int)channels, scales, shifts, joined);
    fv_free(scales);
    fv_free(shifts);
    return status;
}

/* y = x scale or x + shift, of one number or one for each of the axis. */
static fv_status scale_or_shift(fv_onnx_import *im, fv_onnx_value *x, int axis, size_t count,
                                const float *scale, const float *shift, fv_onnx_value *out) {
    bool joined;
    fv_status status = join_before(im, x, axis, count, scale, shift, out->is_output, &joined);
    if (status == FV_OK && !joined)
        return by_channels(im, scale ? "multiply" : "add", x, axis, count, scale ? scale : shift,
                           out);
    fv_onnx_set_like(out, x, x->array.layer);
    return status;
}

fv_status fv_onnx_scale(fv_onnx_import *im, fv_onnx_value *x, double factor, fv_onnx_value *out) {
    const float scale = (float)factor;
    return scale_or_shift(im, x, 1, 1, &scale, NULL, out);
}

fv_status fv_onnx_at_least(fv_onnx_import *im, fv_onnx_value *x, double number,
                           fv_onnx_value *out) {
    const float least = (float)number;
    return number == 0 ? fv_onnx_activate(im, x, FV_RELU, 0, out)
                       : by_channels(im, "maximum", x, 1, 1, &least, out);
}

/* How constants meet an array. */
typedef enum meeting { ONE, ALONG, PLACES, NO_MEETING } meeting;

/* ALONG: one for each of *axis, the channels or what the layer has as its channels. */
static meeting meet(const fv_onnx_import *im, const fv_onnx_constant *c, const fv_onnx_array *a,
                    int *axis) {
    int ahead = a->rank - c->rank, along = 0;
    *axis = 1;
    if (ahead < 0)
        return NO_MEETING;
    if (c->count == 1)
        return ONE;
    for (int i = 0; i < c->rank; i++) {
        if (c->size[i] == 1)
            continue;
        *axis = ahead + i;
        along++;
        if (*axis < 1 || c->size[i] != fv_onnx_size(a, *axis))
            return NO_MEETING;
    }
    return along == 1 && (*axis == 1 || fv_onnx_has_channels(im, a, *axis)) ? ALONG : PLACES;
}

/* Number i of c for each value of a sample, numbers[i], in the order of files of a layer that has
 * these axes: its channels, the last, come first. */
static float *for_all(const fv_onnx_constant *c, const float *numbers, const fv_onnx_array *a,
                      int count, const int *axes) {
    size_t step[FV_ONNX_RANK] = {0}, values = 1, all = (size_t)fv_onnx_sample(a);
    for (int axis = a->rank - 1, k = c->rank - 1; axis >= 1 && k >= 0; axis--, k--) {
        step[axis] = c->size[k] == 1 ? 0 : values;
        values *= (size_t)c->size[k];
    }
    float *to = fv_alloc(all, sizeof *to);
    for (size_t i = 0; to && i < all; i++) {
        size_t rest = i, place = 0;
        for (int k = count - 2; k >= -1; k--) {
            int axis = axes[k < 0 ? count - 1 : k];
            size_t size = (size_t)fv_onnx_size(a, axis);
            place += rest % size * step[axis];
            rest /= size;
        }
        to[i] = numbers[place];
    }
    return to;
}

/* x op constants that differ from place to place. */
static fv_status by_places(fv_onnx_import *im, const char *type, const fv_onnx_value *x,
                           const fv_onnx_constant *c, const float *numbers, fv_onnx_value *out) {
    const fv_onnx_array *a = &x->array;
    int axes[FV_ONNX_RANK], count = fv_onnx_axes_as_is(a, axes);
    fv_tensor layer;
    if (fv_onnx_sample(a) < 1)
        return fv_fail(FV_UNSUPPORTED, "constants for places of an input whose size varies, or is "
                                       "beyond 2^31 (give the input fixed sizes: --set NAME=SIZE)");
    fv_status status = fv_onnx_check_count(im, (size_t)fv_onnx_sample(a));
    if (status == FV_OK)
        status = fv_onnx_arrange(im, a, count, axes, &layer);
    if (status == FV_OK)
        status = join_numbers(im, type, layer, *fv_onnx_shape(im, layer),
                              for_all(c, numbers, a, count, axes), &layer);
    return status == FV_OK ? fv_onnx_set_array(im, out, layer, a->rank, count, axes) : status;
}

/* What happens to the constants of an operator before they are added, multiplied or compared. */
typedef enum use { AS_THEY_ARE, NEGATED, INVERTED } use;

/* They, which the caller frees; NULL with a message. */
static float *numbers_of(const fv_onnx_constant *c, use how) {
    if (fv_onnx_check_known(c) != FV_OK)
        return NULL;
    float *numbers = fv_alloc(c->count, sizeof *numbers);
    for (size_t i = 0; numbers && i < c->count; i++) {
        double number = fv_onnx_number(c, i);
        if (how == INVERTED && number == 0) {
            fv_free(numbers);
            fv_fail(FV_UNSUPPORTED, "it divides by 0");
            return NULL;
        }
        numbers[i] = (float)(how == NEGATED ? -number : how == INVERTED ? 1 / number : number);
    }
    return numbers;
}

/* x + constants, x times them or the larger of both: "add", "multiply", "maximum". */
static fv_status with_constants(fv_onnx_import *im, const char *type, fv_onnx_value *x,
                                const fv_onnx_constant *c, use how, fv_onnx_value *out) {
    int axis;
    meeting m = meet(im, c, &x->array, &axis);
    bool multiply = strcmp(type, "multiply") == 0, compare = strcmp(type, "maximum") == 0;
    if (c->kind != FV_NUMBER_FLOAT)
        return fv_fail(FV_FORMAT, "its constants are whole numbers, its input has floats");
    if (m == NO_MEETING)
        return fv_fail(FV_UNSUPPORTED,
                       "its constants have other sizes than a sample (one for each of the "
                       "batch, or larger)");
    float *numbers = numbers_of(c, how);
    if (!numbers)
        return fv_error_status();
    fv_status status = m == PLACES           ? by_places(im, type, x, c, numbers, out)
                       : compare && m == ONE ? fv_onnx_at_least(im, x, (double)numbers[0], out)
                       : compare  ? by_channels(im, type, x, axis, c->count, numbers, out)
                       : multiply ? scale_or_shift(im, x, axis, c->count, numbers, NULL, out)
                                  : scale_or_shift(im, x, axis, c->count, NULL, numbers, out);
    fv_free(numbers);
    return status;
}

/* ---- Operators ------------------------------------------------------------------------------ */

/* Both inputs; *constant NULL: both are arrays, a and b, else the array is a and *first says
 * whether the constant is the first input. */
static fv_status operands(fv_onnx_import *im, fv_onnx_value **a, fv_onnx_value **b,
                          const fv_onnx_constant **constant, bool *first) {
    *a = fv_onnx_in(im, 0);
    *b = fv_onnx_in(im, 1);
    *constant = NULL;
    *first = false;
    if (!*a || !*b)
        return fv_fail(FV_FORMAT, "it needs two inputs");
    if ((*a)->kind == FV_VALUE_CONSTANT) {
        *constant = &(*a)->constant;
        *a = *b;
        *first = true;
    } else if ((*b)->kind == FV_VALUE_CONSTANT) {
        *constant = &(*b)->constant;
    }
    return FV_OK;
}

static fv_status negate(fv_onnx_import *im, fv_onnx_value *x, fv_onnx_value *out) {
    return fv_onnx_scale(im, x, -1, out);
}

/* The inputs one after another; the last result is the output, or `out`. */
static fv_status join_all(fv_onnx_import *im, const char *type, fv_onnx_value *out) {
    fv_onnx_value *so_far = fv_onnx_in(im, 0), between[2] = {fv_onnx_between(), fv_onnx_between()};
    size_t count = im->node->input_count;
    if (!so_far)
        return fv_fail(FV_FORMAT, "its first input is missing");
    if (count == 1)
        fv_onnx_set_like(out, so_far, so_far->array.layer);
    for (size_t i = 1; i < count; i++) {
        fv_onnx_value *next = fv_onnx_in(im, i), *to = i + 1 == count ? out : &between[i % 2];
        if (!next)
            return fv_fail(FV_FORMAT, "its input %zu is missing", i + 1);
        fv_status status = next->kind == FV_VALUE_CONSTANT && so_far->kind == FV_VALUE_CONSTANT
                               ? fv_fail(FV_UNSUPPORTED, "several constants before an array")
                           : next->kind == FV_VALUE_CONSTANT
                               ? with_constants(im, type, so_far, &next->constant, AS_THEY_ARE, to)
                           : so_far->kind == FV_VALUE_CONSTANT
                               ? with_constants(im, type, next, &so_far->constant, AS_THEY_ARE, to)
                               : join(im, type, so_far, next, to);
        if (status != FV_OK)
            return status;
        so_far = to;
    }
    return FV_OK;
}

fv_status fv_onnx_sum(fv_onnx_import *im) {
    return join_all(im, "add", fv_onnx_out(im, 0));
}

fv_status fv_onnx_multiply(fv_onnx_import *im) {
    return join_all(im, "multiply", fv_onnx_out(im, 0));
}

fv_status fv_onnx_mean(fv_onnx_import *im) {
    fv_onnx_value sum = fv_onnx_between();
    fv_status status = join_all(im, "add", &sum);
    return status == FV_OK
               ? fv_onnx_scale(im, &sum, 1 / (double)im->node->input_count, fv_onnx_out(im, 0))
               : status;
}

fv_status fv_onnx_subtract(fv_onnx_import *im) {
    fv_onnx_value *a, *b, minus = fv_onnx_between(), *out = fv_onnx_out(im, 0);
    const fv_onnx_constant *constant;
    bool first;
    fv_status status = operands(im, &a, &b, &constant, &first);
    if (status != FV_OK)
        return status;
    if (constant && !first)
        return with_constants(im, "add", a, constant, NEGATED, out);
    status = negate(im, b, &minus);
    if (status != FV_OK)
        return status;
    return constant ? with_constants(im, "add", &minus, constant, AS_THEY_ARE, out)
                    : join(im, "add", a, &minus, out);
}

fv_status fv_onnx_divide(fv_onnx_import *im) {
    fv_onnx_value *a, *b;
    const fv_onnx_constant *constant;
    bool first;
    fv_status status = operands(im, &a, &b, &constant, &first);
    if (status != FV_OK)
        return status;
    if (!constant || first)
        return fv_fail(FV_UNSUPPORTED, "it divides by what the net reckons");
    return with_constants(im, "multiply", a, constant, INVERTED, fv_onnx_out(im, 0));
}

fv_status fv_onnx_maximum(fv_onnx_import *im) {
    return join_all(im, "maximum", fv_onnx_out(im, 0));
}

/* min(a, b) = -max(-a, -b) */
fv_status fv_onnx_minimum(fv_onnx_import *im) {
    fv_onnx_value *a, *b, x = fv_onnx_between(), y = fv_onnx_between(), most = fv_onnx_between();
    const fv_onnx_constant *constant;
    bool first;
    if (im->node->input_count != 2)
        return fv_fail(FV_UNSUPPORTED, "it has %zu inputs, expected 2", im->node->input_count);
    fv_status status = operands(im, &a, &b, &constant, &first);
    if (status == FV_OK)
        status = negate(im, a, &x);
    if (status == FV_OK && !constant)
        status = negate(im, b, &y);
    if (status == FV_OK)
        status = constant ? with_constants(im, "maximum", &x, constant, NEGATED, &most)
                          : join(im, "maximum", &x, &y, &most);
    return status == FV_OK ? negate(im, &most, fv_onnx_out(im, 0)) : status;
}

fv_status fv_onnx_negate(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0);
    return x ? negate(im, x, fv_onnx_out(im, 0)) : fv_error_status();
}

/* max(x, -x) */
fv_status fv_onnx_absolute(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0), held, minus = fv_onnx_between();
    if (!x)
        return fv_error_status();
    held = *x;
    held.readers = 2; /* so that the layer before keeps x */
    fv_status status = negate(im, &held, &minus);
    return status == FV_OK ? join(im, "maximum", x, &minus, fv_onnx_out(im, 0)) : status;
}

/* x^n for n = 1, 2, 3, 4, by products. */
fv_status fv_onnx_power(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0), held, product;
    const fv_onnx_constant *exponent = x ? fv_onnx_in_constant(im, 1) : NULL;
    if (!exponent)
        return fv_error_status();
    double n = exponent->count == 1 ? fv_onnx_number(exponent, 0) : 0;
    if (n != 1 && n != 2 && n != 3 && n != 4)
        return fv_fail(FV_UNSUPPORTED, "its exponent is none of the numbers 1, 2, 3 and 4");
    held = product = *x;
    held.readers = 2;
    fv_status status = FV_OK;
    for (int i = 1; i < (int)n && status == FV_OK; i++) {
        fv_onnx_value next = fv_onnx_between();
        status = join(im, "multiply", &product, &held, &next);
        product = next;
    }
    fv_onnx_set_like(fv_onnx_out(im, 0), n == 1 ? x : &product, product.array.layer);
    return status;
}
