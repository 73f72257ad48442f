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

/* Whether all but the channels have size 1. */
static bool has_one_place(const fv_onnx_array *a) {
    return a->rank >= 2 && a->begin[2] == a->count;
}

/* Whether axis 1 is the channels of the layer. */
bool fv_onnx_has_channels(const fv_onnx_import *im, const fv_onnx_array *a) {
    int count = a->rank >= 2 ? a->begin[2] - a->begin[1] : 0;
    bool last = a->rank >= 2 && fv_onnx_size(a, 1) == fv_onnx_shape(im, a->layer)->channels;
    for (int i = 0; last && i < count; i++)
        last = a->order[a->count - count + i] == a->begin[1] + i;
    return last;
}

/* An operand with its channels last; one place as it is, if it is a vector or has size 1. */
static fv_status operand(fv_onnx_import *im, const fv_onnx_array *a, fv_tensor *layer) {
    if (has_one_place(a) && fv_onnx_has_channels(im, a) &&
        fv_onnx_sample(a) == fv_onnx_size(a, 1)) {
        *layer = a->layer;
        return FV_OK;
    }
    return fv_onnx_standard(im, a, layer);
}

/* Where both have one place, one may be a vector and the other have axes of size 1: then both get
 * the axes that their arrays have, which the result's has too. */
static fv_status lay_both(fv_onnx_import *im, const fv_onnx_array *a, const fv_onnx_array *b,
                          fv_tensor layers[2]) {
    bool mixed = has_one_place(a) && has_one_place(b) &&
                 !fv_same_shape(fv_onnx_shape(im, a->layer), fv_onnx_shape(im, b->layer));
    fv_status status = mixed ? fv_onnx_standard(im, a, &layers[0]) : operand(im, a, &layers[0]);
    if (status != FV_OK)
        return status;
    return mixed ? fv_onnx_standard(im, b, &layers[1]) : operand(im, b, &layers[1]);
}

/* Of two arrays the one whose sizes the result has. */
static fv_status find_larger(const fv_onnx_import *im, const fv_onnx_value *a,
                             const fv_onnx_value *b, const fv_onnx_value **larger) {
    if (a->array.rank != b->array.rank)
        return fv_onnx_wrong(im, "its inputs have %d and %d axes, expected as many", a->array.rank,
                             b->array.rank);
    *larger = has_one_place(&a->array) ? b : a;
    bool fit = true, places = has_one_place(&a->array) || has_one_place(&b->array);
    for (int axis = 1; axis < a->array.rank && fit; axis++)
        fit =
            (places && axis > 1) || fv_onnx_size(&a->array, axis) == fv_onnx_size(&b->array, axis);
    return fit ? FV_OK
               : fv_onnx_refuse(im,
                                "its inputs have different sizes; they must be equal, or one have "
                                "as many channels and one place");
}

/* add, multiply or maximum of two arrays. */
static fv_status join(fv_onnx_import *im, const char *type, fv_onnx_value *a, fv_onnx_value *b,
                      fv_onnx_value *out) {
    fv_tensor inputs[2] = {a->array.layer, b->array.layer}, layer;
    const fv_onnx_value *larger = a;
    if (lie_alike(im, &a->array, &b->array)) {
        fv_status status = fv_onnx_add(im, type, 2, inputs, NULL, &layer);
        if (status == FV_OK)
            fv_onnx_set_like(out, a, layer);
        return status;
    }
    fv_status status = find_larger(im, a, b, &larger);
    if (status == FV_OK)
        status = lay_both(im, &a->array, &b->array, inputs);
    if (status == FV_OK)
        status = fv_onnx_add(im, type, 2, inputs, NULL, &layer);
    return status == FV_OK ? fv_onnx_set_standard(im, out, layer, larger->array.rank) : status;
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

/* x op the numbers of its channels, by a layer of its own. */
static fv_status by_channels(fv_onnx_import *im, const char *type, size_t count,
                             const float *numbers, fv_onnx_array *a) {
    fv_tensor layer = a->layer;
    fv_status status = count == 1 ? FV_OK : operand(im, a, &layer);
    if (status != FV_OK)
        return status;
    fv_shape vector = {.channels = fv_onnx_shape(im, layer)->channels};
    if (count != 1 && (size_t)vector.channels != count)
        return fv_onnx_refuse(im, "it has %zu constants, and its input %d channels", count,
                              vector.channels);
    return join_numbers(im, type, layer, vector, spread(numbers, count, (size_t)vector.channels),
                        &a->layer);
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
static fv_status join_before(fv_onnx_import *im, const fv_onnx_value *x, size_t count,
                             const float *scale, const float *shift, bool is_last, bool *joined) {
    size_t channels = (size_t)fv_onnx_shape(im, x->array.layer)->channels;
    *joined = false;
    if (count != 1 && (count != channels || !fv_onnx_has_channels(im, &x->array)))
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

fv_status fv_onnx_scale_shift(fv_onnx_import *im, fv_onnx_value *x, size_t count,
                              const float *scale, const float *shift, fv_onnx_value *out) {
    bool joined;
    fv_status status = join_before(im, x, count, scale, shift, out->is_output, &joined);
    if (status != FV_OK || joined) {
        fv_onnx_set_like(out, x, x->array.layer);
        return status;
    }
    fv_onnx_array array = x->array;
    if (scale)
        status = by_channels(im, "multiply", count, scale, &array);
    if (status == FV_OK && shift)
        status = by_channels(im, "add", count, shift, &array);
    if (status != FV_OK)
        return status;
    if (count == 1) {
        fv_onnx_set_like(out, x, array.layer);
        return FV_OK;
    }
    return fv_onnx_set_standard(im, out, array.layer, x->array.rank);
}

fv_status fv_onnx_at_least(fv_onnx_import *im, fv_onnx_value *x, double number,
                           fv_onnx_value *out) {
    const float least = (float)number;
    fv_onnx_array array = x->array;
    if (number == 0)
        return fv_onnx_activate(im, x, FV_RELU, 0, out);
    fv_status status = by_channels(im, "maximum", 1, &least, &array);
    if (status == FV_OK)
        fv_onnx_set_like(out, x, array.layer);
    return status;
}

/* How constants meet an array of `rank` axes. */
typedef enum meeting { ONE, CHANNELS, PLACES, NO_MEETING } meeting;

static meeting meet(const fv_onnx_constant *c, const fv_onnx_array *a) {
    int ahead = a->rank - c->rank;
    bool places = false;
    if (c->count == 1)
        return ahead >= 0 ? ONE : NO_MEETING;
    for (int i = 0; i < c->rank; i++) {
        int axis = ahead + i;
        if (c->size[i] == 1)
            continue;
        if (axis < 1 || c->size[i] != fv_onnx_size(a, axis))
            return NO_MEETING;
        places = places || axis > 1;
    }
    return places ? PLACES : CHANNELS;
}

/* The constants for each value of a sample, in ONNX's order; NULL with a message. */
static float *for_all(const fv_onnx_constant *c, const fv_onnx_array *a) {
    size_t count = (size_t)fv_onnx_sample(a);
    float *values = fv_alloc(count, sizeof *values);
    for (size_t i = 0; values && i < count; i++) {
        size_t rest = i, place = 0, step = 1;
        for (int axis = a->rank - 1, k = c->rank - 1; axis >= 1 && k >= 0; axis--, k--) {
            size_t size = (size_t)fv_onnx_size(a, axis), at = rest % size;
            place += c->size[k] == 1 ? 0 : at * step;
            step *= (size_t)c->size[k];
            rest /= size;
        }
        values[i] = (float)fv_onnx_number(c, place);
    }
    return values;
}

/* x op constants that differ from place to place. */
static fv_status by_places(fv_onnx_import *im, const char *type, fv_onnx_value *x,
                           const fv_onnx_constant *c, double factor, fv_onnx_value *out) {
    fv_tensor layer;
    if (fv_onnx_sample(&x->array) < 1)
        return fv_onnx_refuse(im, "constants for places of an input whose size varies");
    fv_status status = fv_onnx_check_count(im, (size_t)fv_onnx_sample(&x->array));
    if (status == FV_OK)
        status = fv_onnx_standard(im, &x->array, &layer);
    if (status != FV_OK)
        return status;
    fv_shape shape = *fv_onnx_shape(im, layer);
    float *values = for_all(c, &x->array);
    for (size_t i = 0; values && factor != 1 && i < fv_shape_count(&shape); i++)
        values[i] = factor == -1 ? -values[i] : 1 / values[i];
    status = join_numbers(im, type, layer, shape, values, &layer);
    return status == FV_OK ? fv_onnx_set_standard(im, out, layer, x->array.rank) : status;
}

/* What happens to the constants of an operator before they are added or multiplied. */
typedef enum use { AS_THEY_ARE, NEGATED, INVERTED } use;

/* x + constants or x times them. */
static fv_status with_constants(fv_onnx_import *im, fv_onnx_value *x, const fv_onnx_constant *c,
                                bool multiply, use how, fv_onnx_value *out) {
    meeting m = meet(c, &x->array);
    if (c->kind != FV_NUMBER_FLOAT)
        return fv_onnx_wrong(im, "its constants are whole numbers, its input has floats");
    if (fv_onnx_check_known(im, c) != FV_OK)
        return fv_error_status();
    if (m == NO_MEETING)
        return fv_onnx_refuse(im,
                              "its constants have other sizes than a sample (one for each of the "
                              "batch, or larger)");
    if (m == PLACES)
        return by_places(im, multiply ? "multiply" : "add", x, c,
                         how == NEGATED    ? -1
                         : how == INVERTED ? 0
                                           : 1,
                         out);
    float *numbers = fv_alloc(c->count, sizeof *numbers);
    if (!numbers)
        return FV_MEMORY;
    for (size_t i = 0; i < c->count; i++) {
        double number = fv_onnx_number(c, i);
        if (how == INVERTED && number == 0) {
            fv_free(numbers);
            return fv_onnx_refuse(im, "it divides by 0");
        }
        numbers[i] = (float)(how == NEGATED ? -number : how == INVERTED ? 1 / number : number);
    }
    fv_status status = fv_onnx_scale_shift(im, x, c->count, multiply ? numbers : NULL,
                                           multiply ? NULL : numbers, out);
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
        return fv_onnx_wrong(im, "it needs two inputs");
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
    const float minus = -1;
    return fv_onnx_scale_shift(im, x, 1, &minus, NULL, out);
}

/* The inputs one after another; the last result is the output, or `out`. */
static fv_status join_all(fv_onnx_import *im, const char *type, fv_onnx_value *out) {
    fv_onnx_value *so_far = fv_onnx_in(im, 0), between[2] = {fv_onnx_between(), fv_onnx_between()};
    size_t count = im->node->input_count;
    bool multiply = strcmp(type, "multiply") == 0;
    if (!so_far)
        return fv_onnx_wrong(im, "its first input is missing");
    if (count == 1)
        fv_onnx_set_like(out, so_far, so_far->array.layer);
    for (size_t i = 1; i < count; i++) {
        fv_onnx_value *next = fv_onnx_in(im, i), *to = i + 1 == count ? out : &between[i % 2];
        if (!next)
            return fv_onnx_wrong(im, "its input %zu is missing", i + 1);
        fv_status status =
            next->kind == FV_VALUE_CONSTANT && so_far->kind == FV_VALUE_CONSTANT
                ? fv_onnx_refuse(im, "several constants before an array")
            : next->kind == FV_VALUE_CONSTANT
                ? with_constants(im, so_far, &next->constant, multiply, AS_THEY_ARE, to)
            : so_far->kind == FV_VALUE_CONSTANT
                ? with_constants(im, next, &so_far->constant, multiply, AS_THEY_ARE, to)
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
    const float part = 1 / (float)im->node->input_count;
    fv_status status = join_all(im, "add", &sum);
    return status == FV_OK ? fv_onnx_scale_shift(im, &sum, 1, &part, NULL, fv_onnx_out(im, 0))
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
        return with_constants(im, a, constant, false, NEGATED, out);
    status = negate(im, b, &minus);
    if (status != FV_OK)
        return status;
    return constant ? with_constants(im, &minus, constant, false, AS_THEY_ARE, out)
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
        return fv_onnx_refuse(im, "it divides by what the net reckons");
    return with_constants(im, a, constant, true, INVERTED, fv_onnx_out(im, 0));
}

/* The larger of an array and constants. */
static fv_status larger(fv_onnx_import *im, fv_onnx_value *a, fv_onnx_value *b,
                        const fv_onnx_constant *constant, fv_onnx_value *out) {
    if (!constant)
        return join(im, "maximum", a, b, out);
    if (fv_onnx_check_known(im, constant) != FV_OK)
        return fv_error_status();
    meeting m = meet(constant, &a->array);
    if (m == ONE)
        return fv_onnx_at_least(im, a, fv_onnx_number(constant, 0), out);
    return m == NO_MEETING ? fv_onnx_refuse(im, "its constants have other sizes than a sample")
                           : by_places(im, "maximum", a, constant, 1, out);
}

fv_status fv_onnx_maximum(fv_onnx_import *im) {
    fv_onnx_value *so_far = fv_onnx_in(im, 0), between[2] = {fv_onnx_between(), fv_onnx_between()};
    size_t count = im->node->input_count;
    if (!so_far)
        return fv_onnx_wrong(im, "its first input is missing");
    if (count == 1)
        fv_onnx_set_like(fv_onnx_out(im, 0), so_far, so_far->array.layer);
    for (size_t i = 1; i < count; i++) {
        fv_onnx_value *next = fv_onnx_in(im, i),
                      *to = i + 1 == count ? fv_onnx_out(im, 0) : &between[i % 2];
        if (!next || (next->kind != FV_VALUE_ARRAY && so_far->kind != FV_VALUE_ARRAY))
            return fv_onnx_refuse(im, "several constants before an array, or an input is missing");
        bool swap = so_far->kind == FV_VALUE_CONSTANT;
        fv_onnx_value *a = swap ? next : so_far, *b = swap ? so_far : next;
        fv_status status = larger(im, a, b, b->kind == FV_VALUE_CONSTANT ? &b->constant : NULL, to);
        if (status != FV_OK)
            return status;
        so_far = to;
    }
    return FV_OK;
}

/* min(a, b) = -max(-a, -b) */
fv_status fv_onnx_minimum(fv_onnx_import *im) {
    fv_onnx_value *a, *b, x = fv_onnx_between(), y = fv_onnx_between(), most = fv_onnx_between();
    const fv_onnx_constant *constant;
    bool first;
    if (im->node->input_count != 2)
        return fv_onnx_refuse(im, "it has %zu inputs, expected 2", im->node->input_count);
    fv_status status = operands(im, &a, &b, &constant, &first);
    if (status == FV_OK && constant && constant->count != 1)
        return fv_onnx_refuse(im, "constants of several numbers");
    if (status == FV_OK && constant)
        status = fv_onnx_check_known(im, constant);
    if (status == FV_OK)
        status = negate(im, a, &x);
    if (status == FV_OK && !constant)
        status = negate(im, b, &y);
    if (status == FV_OK)
        status = constant ? fv_onnx_at_least(im, &x, -fv_onnx_number(constant, 0), &most)
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
        return fv_onnx_refuse(im, "its exponent is none of the numbers 1, 2, 3 and 4");
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
