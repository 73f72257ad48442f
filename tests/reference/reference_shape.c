/* The oracle of layers that move values: each output value says which input values it is made of.
 * Called by tests/test_*.c. */
#include "reference.h"
#include <math.h>
#include <stdint.h>

/* ---- Positions --------------------------------------------------------------------------------
 */

/* A shape as four axes: spatial ones, then 1 for those that are missing, then the channels. */
typedef struct grid {
    int size[4];
} grid;

static grid grid_of(const fv_shape *shape) {
    grid g = {{1, 1, 1, shape->channels}};
    for (int axis = 0; axis < shape->rank; axis++)
        g.size[axis] = shape->size[axis];
    return g;
}

static size_t cells_of(const grid *g) {
    return (size_t)g->size[0] * (size_t)g->size[1] * (size_t)g->size[2] * (size_t)g->size[3];
}

static void position_of(const grid *g, size_t index, int at[4]) {
    for (int axis = 3; axis >= 0; axis--) {
        at[axis] = (int)(index % (size_t)g->size[axis]);
        index /= (size_t)g->size[axis];
    }
}

static size_t index_of(const grid *g, const int at[4]) {
    size_t index = 0;
    for (int axis = 0; axis < 4; axis++)
        index = index * (size_t)g->size[axis] + (size_t)at[axis];
    return index;
}

/* y[y] has `factor` x[x]. */
static void move(const ref_way *way, size_t x, double factor, size_t y) {
    if (way->back)
        way->to[x] += factor * way->from[y];
    else
        way->to[y] += factor * way->from[x];
}

/* The place in a grid's memory of grid axis `axis`, from 1 the spatial axes, 0 the channels. */
static int grid_axis(int axis) {
    return axis == 0 ? 3 : axis - 1;
}

/* ---- Output shapes ----------------------------------------------------------------------------
 */

bool ref_reshape_output(const fv_shape *input, const fv_reshape_options *o, fv_shape *output) {
    size_t values = fv_shape_count(input), known = 1;
    int *open = NULL;
    *output = o->shape;
    for (int axis = 0; axis <= output->rank; axis++) {
        int *size = axis < output->rank ? &output->size[axis] : &output->channels;
        if (*size == FV_ANY)
            open = size;
        else
            known *= (size_t)*size;
    }
    if (open) {
        *open = (int)(values / known);
        known *= (size_t)*open;
    }
    return known == values;
}

bool ref_permute_output(const fv_shape *input, const fv_permute_options *o, fv_shape *output) {
    int axes = input->rank + 1, seen = 0;
    *output = *input;
    for (int i = 0; i < o->count && o->count == axes; i++) {
        int from = (int)o->axes[i];
        if (from < 1 || from > axes)
            return false;
        seen |= 1 << from;
        int size = from == axes ? input->channels : input->size[from - 1];
        *(i == axes - 1 ? &output->channels : &output->size[i]) = size;
    }
    return o->count == axes && seen == (1 << (axes + 1)) - 2;
}

/* Pads of axes that the input lacks do not count: one number in a .net file stands for all. */
bool ref_pad_output(const fv_shape *input, const fv_pad_options *o, fv_shape *output) {
    bool any = o->channels_before > 0 || o->channels_after > 0;
    bool fits = !any || o->mode == FV_PAD_CONSTANT;
    for (int axis = 0; axis < 3; axis++)
        if (o->pad[axis][0] > 0 || o->pad[axis][1] > 0) {
            any = true;
            fits = fits && input->rank > 0;
        }
    *output = *input;
    output->channels += o->channels_before + o->channels_after;
    for (int axis = 0; axis < input->rank; axis++)
        for (int side = 0; side < 2; side++) {
            int pad = o->pad[axis][side];
            fits = fits && (o->mode != FV_PAD_REFLECT || pad < input->size[axis]);
            output->size[axis] += pad;
        }
    return any && fits;
}

bool ref_crop_output(const fv_shape *input, const fv_crop_options *o, fv_shape *output) {
    bool fits = input->rank > 0;
    *output = *input;
    for (int axis = 0; axis < input->rank; axis++) {
        output->size[axis] -= o->crop[axis][0] + o->crop[axis][1];
        fits = fits && output->size[axis] > 0;
    }
    return fits;
}

bool ref_slice_output(const fv_shape *input, const fv_slice_options *o, fv_shape *output) {
    *output = *input;
    if (o->axis > input->rank)
        return false;
    int *size = o->axis == 0 ? &output->channels : &output->size[o->axis - 1];
    int end = o->end ? o->end : *size;
    bool fits = o->begin < end && end <= *size;
    *size = end - o->begin;
    return fits;
}

bool ref_concat_output(const fv_shape *inputs, int count, const fv_concat_options *o,
                       fv_shape *output) {
    bool fits = o->axis <= inputs[0].rank;
    *output = inputs[0];
    for (int i = 1; i < count && fits; i++) {
        fits = inputs[i].rank == inputs[0].rank;
        for (int axis = 0; axis <= inputs[0].rank && fits; axis++) {
            int *size = axis == 0 ? &output->channels : &output->size[axis - 1];
            int more = axis == 0 ? inputs[i].channels : inputs[i].size[axis - 1];
            if (axis == o->axis)
                *size += more;
            else
                fits = *size == more;
        }
    }
    return fits;
}

bool ref_upsample_output(const fv_shape *input, const fv_upsample_options *o, fv_shape *output) {
    bool by_size = o->size[0] > 0, fits = input->rank > 0 && by_size != (o->factor[0] > 0);
    *output = *input;
    for (int axis = 0; axis < 3; axis++) {
        const int *given = by_size ? o->size : o->factor;
        int value = given[axis] > 0 ? given[axis] : given[0];
        if (axis >= input->rank)
            fits = fits && given[axis] == 0;
        else
            output->size[axis] = by_size ? value : input->size[axis] * value;
    }
    return fits;
}

static int block_cells(int rank, int block) {
    int cells = 1;
    for (int axis = 0; axis < rank; axis++)
        cells *= block;
    return cells;
}

bool ref_depth_to_space_output(const fv_shape *input, const fv_depth_options *o, fv_shape *output) {
    int cells = block_cells(input->rank, o->block);
    *output = *input;
    output->channels /= cells;
    for (int axis = 0; axis < input->rank; axis++)
        output->size[axis] *= o->block;
    return input->rank > 0 && input->channels % cells == 0;
}

bool ref_space_to_depth_output(const fv_shape *input, const fv_depth_options *o, fv_shape *output) {
    bool fits = input->rank > 0;
    *output = *input;
    output->channels *= block_cells(input->rank, o->block);
    for (int axis = 0; axis < input->rank; axis++) {
        fits = fits && input->size[axis] % o->block == 0;
        output->size[axis] /= o->block;
    }
    return fits;
}

/* ---- permute ----------------------------------------------------------------------------------
 */

void ref_permute(const fv_shape *input, const fv_permute_options *o, int samples, ref_way way) {
    fv_shape output;
    ref_permute_output(input, o, &output);
    grid in = grid_of(input), out = grid_of(&output);
    size_t values = cells_of(&in);
    for (size_t y = 0; y < values * (size_t)samples; y++) {
        int at[4], from[4] = {0};
        position_of(&out, y % values, at);
        for (int i = 0; i < o->count; i++) {
            int axis = (int)o->axes[i];
            from[axis == o->count ? 3 : axis - 1] = at[i == o->count - 1 ? 3 : i];
        }
        move(&way, y / values * values + index_of(&in, from), 1, y);
    }
}

/* ---- pad, crop, slice, concat -----------------------------------------------------------------
 */

/* The cell that stands at coordinate i of an axis of n cells; -1: none. */
static int mirrored(int i, int n, fv_pad_mode mode) {
    if (i >= 0 && i < n)
        return i;
    if (mode == FV_PAD_CONSTANT)
        return -1;
    if (mode == FV_PAD_REPLICATE)
        return i < 0 ? 0 : n - 1;
    return i < 0 ? -i : 2 * (n - 1) - i;
}

void ref_pad(const fv_shape *input, const fv_pad_options *o, int samples, ref_way way) {
    fv_shape output;
    ref_pad_output(input, o, &output);
    grid in = grid_of(input), out = grid_of(&output);
    size_t values = cells_of(&in), wide = cells_of(&out);
    for (size_t y = 0; y < wide * (size_t)samples; y++) {
        int at[4];
        bool real = true;
        position_of(&out, y % wide, at);
        for (int axis = 0; axis < input->rank; axis++) {
            at[axis] = mirrored(at[axis] - o->pad[axis][0], in.size[axis], o->mode);
            real = real && at[axis] >= 0;
        }
        at[3] -= o->channels_before;
        real = real && at[3] >= 0 && at[3] < input->channels;
        if (real)
            move(&way, y / wide * values + index_of(&in, at), 1, y);
        else if (!way.back)
            way.to[y] += o->value;
    }
}

/* The part of a large grid that begins at `begin`; `small` counts the way's output, or its input
 * where `small_is_input`. */
static void move_part(const grid *large, const grid *small, const int begin[4], int samples,
                      bool small_is_input, const ref_way *way) {
    size_t values = cells_of(small), all = cells_of(large);
    for (size_t i = 0; i < values * (size_t)samples; i++) {
        int at[4];
        position_of(small, i % values, at);
        for (int axis = 0; axis < 4; axis++)
            at[axis] += begin[axis];
        size_t other = i / values * all + index_of(large, at);
        move(way, small_is_input ? i : other, 1, small_is_input ? other : i);
    }
}

void ref_crop(const fv_shape *input, const fv_crop_options *o, int samples, ref_way way) {
    fv_shape output;
    ref_crop_output(input, o, &output);
    grid in = grid_of(input), out = grid_of(&output);
    int begin[4] = {0};
    for (int axis = 0; axis < input->rank; axis++)
        begin[axis] = o->crop[axis][0];
    move_part(&in, &out, begin, samples, false, &way);
}

void ref_slice(const fv_shape *input, const fv_slice_options *o, int samples, ref_way way) {
    fv_shape output;
    ref_slice_output(input, o, &output);
    grid in = grid_of(input), out = grid_of(&output);
    int begin[4] = {0};
    begin[grid_axis(o->axis)] = o->begin;
    move_part(&in, &out, begin, samples, false, &way);
}

void ref_concat(const fv_shape *inputs, int count, int which, const fv_concat_options *o,
                int samples, ref_way way) {
    fv_shape output;
    ref_concat_output(inputs, count, o, &output);
    grid in = grid_of(&inputs[which]), out = grid_of(&output);
    int begin[4] = {0}, axis = grid_axis(o->axis);
    for (int i = 0; i < which; i++)
        begin[axis] += grid_of(&inputs[i]).size[axis];
    move_part(&out, &in, begin, samples, true, &way);
}

/* ---- constant ---------------------------------------------------------------------------------
 */

void ref_constant(size_t values, int samples, const double *weight, double *y) {
    for (size_t i = 0; i < values * (size_t)samples; i++)
        y[i] += weight[i % values];
}

void ref_constant_back(size_t values, int samples, const double *dy, double *dweight) {
    for (size_t i = 0; i < values * (size_t)samples; i++)
        dweight[i % values] += dy[i];
}

/* ---- upsample ---------------------------------------------------------------------------------
 */

/* An output cell of an axis is made of cell[0] and cell[1] by these factors. */
typedef struct blend {
    int cell[2];
    double factor[2];
} blend;

static blend blend_of(const fv_upsample_options *o, int in, int out, int i) {
    double scale = (double)in / out;
    if (o->mode != FV_RESIZE_BILINEAR) /* in integers: no rounding at whole numbers */
        return (blend){{(int)((int64_t)i * in / out), 0}, {1, 0}};
    double at = (i + 0.5) * scale - 0.5;
    if (o->align_corners)
        at = out > 1 ? (double)i * (in - 1) / (out - 1) : 0;
    at = fmin(fmax(at, 0), in - 1);
    int first = (int)floor(at), second = first + 1 < in ? first + 1 : first;
    return (blend){{first, second}, {1 - (at - first), at - first}};
}

void ref_upsample(const fv_shape *input, const fv_upsample_options *o, int samples, ref_way way) {
    fv_shape output;
    ref_upsample_output(input, o, &output);
    grid in = grid_of(input), out = grid_of(&output);
    size_t values = cells_of(&in), wide = cells_of(&out);
    for (size_t y = 0; y < wide * (size_t)samples; y++) {
        int at[4];
        position_of(&out, y % wide, at);
        for (int corner = 0; corner < 8; corner++) {
            int from[4] = {0, 0, 0, at[3]};
            double factor = 1;
            for (int axis = 0; axis < 3; axis++) {
                blend b = blend_of(o, in.size[axis], out.size[axis], at[axis]);
                int side = corner >> axis & 1;
                from[axis] = b.cell[side];
                factor *= b.factor[side];
            }
            if (factor != 0)
                move(&way, y / wide * values + index_of(&in, from), factor, y);
        }
    }
}

/* ---- depth_to_space, space_to_depth -----------------------------------------------------------
 */

/* The position among many channels of a position in wide space. */
static void fold(const int wide[4], int rank, const fv_depth_options *o, int channels,
                 int deep[4]) {
    int cell = 0, cells = block_cells(rank, o->block);
    for (int axis = 0; axis < 3; axis++) {
        deep[axis] = axis < rank ? wide[axis] / o->block : 0;
        if (axis < rank)
            cell = cell * o->block + wide[axis] % o->block;
    }
    deep[3] = o->order == FV_DEPTH_FIRST ? cell * channels + wide[3] : wide[3] * cells + cell;
}

static void move_depth(const fv_shape *wide_shape, const fv_shape *deep_shape,
                       const fv_depth_options *o, int samples, bool wide_is_input,
                       const ref_way *way) {
    grid wide = grid_of(wide_shape), deep = grid_of(deep_shape);
    size_t values = cells_of(&wide);
    for (size_t i = 0; i < values * (size_t)samples; i++) {
        int at[4], folded[4];
        position_of(&wide, i % values, at);
        fold(at, wide_shape->rank, o, wide_shape->channels, folded);
        size_t other = i / values * values + index_of(&deep, folded);
        move(way, wide_is_input ? i : other, 1, wide_is_input ? other : i);
    }
}

void ref_depth_to_space(const fv_shape *input, const fv_depth_options *o, int samples,
                        ref_way way) {
    fv_shape output;
    ref_depth_to_space_output(input, o, &output);
    move_depth(&output, input, o, samples, false, &way);
}

void ref_space_to_depth(const fv_shape *input, const fv_depth_options *o, int samples,
                        ref_way way) {
    fv_shape output;
    ref_space_to_depth_output(input, o, &output);
    move_depth(input, &output, o, samples, true, &way);
}
