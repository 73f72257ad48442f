/* ONNX's operators that change the sizes of a picture: Resize and Upsample as the layer upsample,
 * where both take the same cells with the same weights; blocks of cells as channels and back.
 * Called by import.c by its table. */
#include "formats/onnx/import.h"
#include <limits.h>
#include <math.h>
#include <string.h>

/* ---- The node ------------------------------------------------------------------------------- */

enum { MOST_FACTOR = 1 << 16, MOST_SIZE = 1 << 20 }; /* of the layer */

typedef struct stretch {
    int in, out; /* sizes; FV_ANY: it varies */
    int factor;  /* out / in where that is a whole number, else 0 */
} stretch;

typedef struct resize {
    const char *mode, *coordinates, *rounding;
    bool antialias;
    int rank;
    stretch axis[FV_ONNX_RANK];
} resize;

static fv_status refuse_varying(int axis) {
    return fv_fail(FV_UNSUPPORTED,
                   "size %d of its output is known only when the net runs (give the input "
                   "fixed sizes: --set NAME=SIZE)",
                   axis);
}

static void set_out(stretch *s, int64_t out) {
    s->out = (int)out;
    s->factor = s->in != FV_ANY && out % s->in == 0 ? (int)(out / s->in) : 0;
}

/* A scale is a float: its product with the size is whole up to rounding. */
static fv_status set_scale(int axis, double scale, stretch *s) {
    bool whole = scale >= 1 && scale <= MOST_FACTOR && scale == floor(scale);
    if (axis == 0)
        return scale == 1 ? FV_OK : fv_fail(FV_UNSUPPORTED, "it resizes the batch");
    if (s->in == FV_ANY && !whole)
        return refuse_varying(axis);
    if (s->in == FV_ANY) {
        *s = (stretch){FV_ANY, FV_ANY, (int)scale};
        return FV_OK;
    }
    double exact = scale * s->in, out = whole ? exact : floorf((float)scale * (float)s->in);
    if (!(out >= 1 && out <= (whole ? INT_MAX : MOST_SIZE)) || fabs(exact - out) > 1e-6 * out)
        return fv_fail(FV_FORMAT, "a size of %d scaled by %g is no size", s->in, scale);
    set_out(s, (int64_t)out);
    return FV_OK;
}

static fv_status set_size(const fv_onnx_import *im, int axis, double size, stretch *s) {
    if (axis == 0)
        return fv_onnx_is_batch(im, size) ? FV_OK : fv_fail(FV_UNSUPPORTED, "it resizes the batch");
    if (isnan(size))
        return refuse_varying(axis);
    if (!(size >= 1 && size <= INT_MAX) || size != floor(size))
        return fv_fail(FV_FORMAT, "size %d of its output is %g", axis, size);
    set_out(s, (int64_t)size);
    return FV_OK;
}

/* Scales or sizes of the axes that are named, or of all. */
static fv_status set_axes(const fv_onnx_import *im, const fv_onnx_constant *numbers, bool sizes,
                          resize *r) {
    int64_t axes[FV_ONNX_RANK];
    int named;
    fv_status status = fv_onnx_list(im, "axes", 0, FV_ONNX_RANK, axes, &named);
    if (status == FV_OK && numbers->count != (size_t)(named >= 0 ? named : r->rank))
        return fv_fail(FV_FORMAT, "it has %zu %s, expected one for each of %d axes", numbers->count,
                       sizes ? "sizes" : "scales", named >= 0 ? named : r->rank);
    for (size_t i = 0; i < numbers->count && status == FV_OK; i++) {
        double number = fv_onnx_number(numbers, i);
        int axis = fv_onnx_axis(named >= 0 ? axes[i] : (int64_t)i, r->rank);
        if (axis < 0)
            return fv_error_status();
        status = sizes ? set_size(im, axis, number, &r->axis[axis])
                       : set_scale(axis, number, &r->axis[axis]);
    }
    return status;
}

/* The scales of input `scales`, or where there are none the sizes of input `sizes`. */
static fv_status read_targets(const fv_onnx_import *im, size_t scales, size_t sizes, resize *r) {
    const fv_onnx_value *value = fv_onnx_in(im, scales);
    bool by_size = !value || (value->kind == FV_VALUE_CONSTANT && value->constant.count == 0);
    const fv_onnx_constant *numbers = fv_onnx_in_constant(im, by_size ? sizes : scales);
    if (!numbers)
        return fv_error_status();
    const char *policy = fv_onnx_word(im, "keep_aspect_ratio_policy", "stretch");
    if (by_size && strcmp(policy, "stretch") != 0)
        return fv_fail(FV_UNSUPPORTED, "keep_aspect_ratio_policy \"%.20s\"", policy);
    return set_axes(im, numbers, by_size, r);
}

/* ---- Nearest cells -------------------------------------------------------------------------- */

static bool is(const char *word, const char *other) {
    return strcmp(word, other) == 0;
}

/* Where output cell i lies in the input, as *above / *below; false: there is no such way. */
static bool place_of(const resize *r, int64_t i, int64_t in, int64_t out, int64_t *above,
                     int64_t *below) {
    bool half = is(r->coordinates, "half_pixel") || is(r->coordinates, "half_pixel_symmetric");
    *below = 2 * out;
    if (is(r->coordinates, "asymmetric"))
        *above = 2 * i * in;
    else if (half || is(r->coordinates, "pytorch_half_pixel"))
        *above = half || out > 1 ? (2 * i + 1) * in - out : 0;
    else if (is(r->coordinates, "tf_half_pixel_for_nn"))
        *above = (2 * i + 1) * in;
    else if (is(r->coordinates, "align_corners")) {
        *above = i * (in - 1);
        *below = out > 1 ? out - 1 : 1;
    } else
        return false;
    return true;
}

/* The whole number at or below above / below. */
static int64_t floor_of(int64_t above, int64_t below) {
    return above / below - (above % below < 0);
}

/* The fraction rounded as the node says; INT_MIN where it says something else. As opset 10 says
 * nothing, ONNX Runtime takes the cell before in larger pictures, the one behind in smaller ones.
 */
static int64_t round_as(const resize *r, int64_t above, int64_t below, bool shrinks) {
    if (is(r->rounding, "floor") || (is(r->rounding, "simple") && !shrinks))
        return floor_of(above, below);
    if (is(r->rounding, "ceil") || is(r->rounding, "simple"))
        return -floor_of(-above, below);
    if (is(r->rounding, "round_prefer_floor"))
        return -floor_of(below - 2 * above, 2 * below);
    return is(r->rounding, "round_prefer_ceil") ? floor_of(2 * above + below, 2 * below) : INT_MIN;
}

/* Whether the node takes floor(i in / out) for every i < out, as the layer does: found by trying
 * all of them in whole numbers. Of a factor f and coordinates other than align_corners three cells
 * stand for any number: cell q f + r lies at q plus what r and f say, so all inner cells behave
 * alike, and the first and last are the only ones where a place outside the input is moved in. */
static bool is_nearest(const resize *r, const stretch *s) {
    bool aligned = is(r->coordinates, "align_corners");
    int64_t in = s->in, out = s->out, above, below;
    if (s->in == FV_ANY && (s->factor == 0 || aligned)) /* any size to a given one */
        return is(r->coordinates, "asymmetric") && is(r->rounding, "floor");
    if (s->factor > 0 && !aligned && (s->in == FV_ANY || s->in > 3)) {
        in = 3;
        out = (int64_t)in * s->factor;
    }
    bool same = out <= MOST_SIZE;
    for (int64_t i = 0; i < out && same; i++) {
        if (!place_of(r, i, in, out, &above, &below))
            return false;
        int64_t cell = round_as(r, above, below, out < in);
        if (cell == INT_MIN)
            return false;
        cell = cell < 0 ? 0 : cell >= in ? in - 1 : cell;
        same = cell == i * in / out;
    }
    return same;
}

static fv_status check_nearest(const resize *r) {
    for (int axis = 1; axis < r->rank; axis++)
        if (r->axis[axis].factor != 1 && !is_nearest(r, &r->axis[axis]))
            return fv_fail(FV_UNSUPPORTED,
                           "along axis %d the nearest cells by coordinates %.30s and "
                           "rounding %.30s are not cells floor(i x in / out), the only ones "
                           "possible here (those of asymmetric and floor)",
                           axis, r->coordinates, r->rounding);
    return FV_OK;
}

/* ---- Linear interpolation ------------------------------------------------------------------- */

/* One cell is the same everywhere, whatever the coordinates. */
static fv_status check_linear(const resize *r) {
    bool half = is(r->coordinates, "half_pixel") || is(r->coordinates, "half_pixel_symmetric"),
         torch = is(r->coordinates, "pytorch_half_pixel"),
         aligned = is(r->coordinates, "align_corners");
    for (int axis = 1; axis < r->rank; axis++) {
        const stretch *s = &r->axis[axis];
        bool shrinks = s->factor == 0 && (s->in == FV_ANY || s->out < s->in);
        if (s->factor == 1 || s->in == 1)
            continue;
        if (r->antialias && shrinks)
            return fv_fail(FV_UNSUPPORTED, "smaller pictures with antialias");
        if (!half && !torch && !aligned)
            return fv_fail(FV_UNSUPPORTED, "linear interpolation with coordinates %.30s",
                           r->coordinates);
        if (torch && s->out == 1)
            return fv_fail(FV_UNSUPPORTED, "the first cell of axis %d as the only one", axis);
    }
    return FV_OK;
}

/* ---- The layer ------------------------------------------------------------------------------ */

static bool keeps(const resize *r, int axis) {
    return r->axis[axis].factor == 1;
}

/* The layer's options for axes in that order: factors, or else sizes. */
static fv_status set_options(const resize *r, int count, const int *axes, fv_upsample_options *o) {
    bool factors = true;
    for (int i = 0; i + 1 < count; i++)
        factors = factors && r->axis[axes[i]].factor > 0;
    for (int i = 0; i + 1 < count; i++) {
        const stretch *s = &r->axis[axes[i]];
        if (!factors && s->out == FV_ANY)
            return refuse_varying(axes[i]);
        o->factor[i] = factors ? s->factor : 0;
        o->size[i] = factors ? 0 : s->out;
    }
    return FV_OK;
}

/* As the numbers lie, where that keeps what the layer has as its channels. */
static fv_status add_layer(fv_onnx_import *im, const fv_onnx_value *in, const resize *r,
                           fv_onnx_value *out) {
    int axes[FV_ONNX_RANK], count;
    fv_tensor layer;
    bool linear = !is(r->mode, "nearest");
    fv_upsample_options o = {.mode = linear ? FV_RESIZE_BILINEAR : FV_RESIZE_NEAREST,
                             .align_corners = linear && is(r->coordinates, "align_corners")};
    count = fv_onnx_axes_as_is(&in->array, axes);
    if (!keeps(r, axes[count - 1]))
        count = fv_onnx_standard_axes(r->rank, axes);
    if (!keeps(r, axes[count - 1]))
        return fv_fail(FV_UNSUPPORTED, "it resizes the channels");
    fv_status status = fv_onnx_arrange(im, &in->array, count, axes, &layer);
    if (status == FV_OK)
        status = set_options(r, count, axes, &o);
    if (status == FV_OK)
        status = fv_onnx_add1(im, "upsample", layer, &o, &layer);
    return status == FV_OK ? fv_onnx_set_array(im, out, layer, r->rank, count, axes) : status;
}

static fv_status resize_picture(fv_onnx_import *im, const fv_onnx_value *in, const resize *r,
                                fv_onnx_value *out) {
    bool changes = false, nearest = is(r->mode, "nearest");
    for (int axis = 1; axis < r->rank; axis++)
        changes = changes || r->axis[axis].factor != 1;
    if (!changes) {
        fv_onnx_set_like(out, in, in->array.layer);
        return FV_OK;
    }
    if (!nearest && !is(r->mode, "linear") && !is(r->mode, "bilinear"))
        return fv_fail(FV_UNSUPPORTED, "interpolation \"%.20s\"", r->mode);
    fv_status status = nearest ? check_nearest(r) : check_linear(r);
    return status == FV_OK ? add_layer(im, in, r, out) : status;
}

/* ---- Resize and Upsample -------------------------------------------------------------------- */

static void keep_sizes(const fv_onnx_array *a, resize *r) {
    r->rank = a->rank;
    for (int axis = 1; axis < a->rank; axis++) {
        int size = fv_onnx_size(a, axis);
        r->axis[axis] = (stretch){size, size, 1};
    }
}

fv_status fv_onnx_resize(fv_onnx_import *im) {
    bool first = im->model->opset < 11;
    fv_onnx_value *in, *out;
    fv_status status = fv_onnx_in_and_out(im, &in, &out);
    resize r = {
        .mode = fv_onnx_word(im, "mode", "nearest"),
        .coordinates =
            first ? "asymmetric" : fv_onnx_word(im, "coordinate_transformation_mode", "half_pixel"),
        .rounding = first ? "simple" : fv_onnx_word(im, "nearest_mode", "round_prefer_floor"),
        .antialias = fv_onnx_integer(im, "antialias", 0) != 0};
    if (status != FV_OK)
        return status;
    keep_sizes(&in->array, &r);
    status = read_targets(im, first ? 1 : 2, first ? 1 : 3, &r);
    return status == FV_OK ? resize_picture(im, in, &r, out) : status;
}

/* Up to opset 8 the scales are an attribute. */
fv_status fv_onnx_upsample(fv_onnx_import *im) {
    const fv_onnx_attribute *scales = fv_onnx_find(im->node, "scales");
    fv_onnx_value *in, *out;
    fv_status status = fv_onnx_in_and_out(im, &in, &out);
    resize r = {.mode = fv_onnx_word(im, "mode", "nearest"),
                .coordinates = "asymmetric",
                .rounding = "simple"};
    if (status != FV_OK)
        return status;
    keep_sizes(&in->array, &r);
    if (!scales)
        status = read_targets(im, 1, 1, &r);
    else if (scales->count != (size_t)r.rank || !scales->numbers)
        status = fv_fail(FV_FORMAT, "it has %zu scales, expected one for each of %d axes",
                         scales->count, r.rank);
    for (int axis = 0; scales && axis < r.rank && status == FV_OK; axis++)
        status = set_scale(axis, (double)scales->numbers[axis], &r.axis[axis]);
    return status == FV_OK ? resize_picture(im, in, &r, out) : status;
}

/* ---- Blocks of cells ------------------------------------------------------------------------ */

static fv_status move_blocks(fv_onnx_import *im, const char *type, fv_depth_order order) {
    int64_t block = fv_onnx_integer(im, "blocksize", 0);
    fv_tensor layer;
    fv_onnx_value *in, *out;
    fv_status status = fv_onnx_in_and_out(im, &in, &out);
    if (status != FV_OK)
        return status;
    if (in->array.rank != 4)
        return fv_fail(FV_FORMAT, "its input has %d axes, expected 4", in->array.rank);
    if (block < 1 || block > INT_MAX)
        return fv_fail(FV_FORMAT, "blocksize %lld", (long long)block);
    const fv_depth_options o = {.block = (int)block, .order = order};
    status = fv_onnx_standard(im, &in->array, &layer);
    if (status == FV_OK)
        status = fv_onnx_add1(im, type, layer, &o, &layer);
    return status == FV_OK ? fv_onnx_set_standard(im, out, layer, 4) : status;
}

/* SpaceToDepth has its mode from operator set 28 on. */
static fv_status move_by_mode(fv_onnx_import *im, const char *type) {
    const char *mode = fv_onnx_word(im, "mode", "DCR");
    if (!is(mode, "DCR") && !is(mode, "CRD"))
        return fv_fail(FV_UNSUPPORTED, "mode \"%.20s\"", mode);
    return move_blocks(im, type, is(mode, "CRD") ? FV_COLUMN_FIRST : FV_DEPTH_FIRST);
}

fv_status fv_onnx_depth_to_space(fv_onnx_import *im) {
    return move_by_mode(im, "depth_to_space");
}

fv_status fv_onnx_space_to_depth(fv_onnx_import *im) {
    return move_by_mode(im, "space_to_depth");
}
