/* Holds layers that move values, and joins of several inputs, to their oracles (layer_cases.h). */
#include "layer_cases.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- What they share --------------------------------------------------------------------------
 */

/* One of the shapes of a list, with channels that follow from `n`. */
static fv_shape some_shape(numbers *n, int rank) {
    static const int sizes[] = {1, 2, 3, 4, 6, 7, 12};
    fv_shape shape = {.rank = rank, .channels = channel_list[numbers_below(n, CHANNELS)]};
    for (int axis = 0; axis < rank; axis++)
        shape.size[axis] = sizes[numbers_below(n, 7)];
    return shape;
}

/* How many cases a type draws; each draws its options anew. */
static int draws(void) {
    return full_run() ? 2000 : 250;
}

static ref_way forth(const layer_case *c, sums *v) {
    (void)c;
    return (ref_way){.from = v->x[0], .to = v->z};
}

static ref_way back(const layer_case *c, sums *v) {
    (void)c;
    return (ref_way){.from = v->dz, .to = v->dx[0], .back = true};
}

static bool any_axis(const layer_case *c) {
    return c->inputs[0].rank > 0;
}

/* ---- flatten, reshape -------------------------------------------------------------------------
 */

static bool flatten_infer(const layer_case *c, wanted *w) {
    w->output = (fv_shape){.channels = (int)fv_shape_count(&c->inputs[0])};
    w->refuses_any = any_axis(c);
    return true;
}

static void flatten_cases(const oracle *self) {
    check_shapes(self, NULL, "no options");
}

static bool reshape_infer(const layer_case *c, wanted *w) {
    const fv_reshape_options *o = c->options;
    w->refuses_any = o->shape.rank == 0;
    return ref_reshape_output(&c->inputs[0], o, &w->output);
}

static void reshape_cases(const oracle *self) {
    static const fv_shape inputs[] = {
        {0, {0}, 36}, {1, {12}, 3}, {2, {3, 6}, 2}, {2, {6, 6}, 1}, {3, {2, 3, 2}, 3}};
    static const fv_shape outputs[] = {
        {0, {0}, 36},           {1, {9}, 4},         {2, {2, 9}, 2},
        {3, {2, 2, 3}, 3},      {1, {FV_ANY}, 6},    {2, {3, FV_ANY}, 2},
        {3, {1, FV_ANY, 1}, 1}, {2, {5, FV_ANY}, 1}, {1, {5}, 7}};
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++)
        for (size_t k = 0; k < sizeof outputs / sizeof outputs[0]; k++) {
            numbers n = {i * 100 + k};
            fv_reshape_options o = {outputs[k]};
            layer_case c = make_case(self, &n, &o, &inputs[i]);
            check_case(&c, "shape %zu", k);
        }
}

/* ---- permute ----------------------------------------------------------------------------------
 */

static bool permute_infer(const layer_case *c, wanted *w) {
    const fv_permute_options *o = c->options;
    const fv_shape *input = &c->inputs[0];
    bool exists = ref_permute_output(input, o, &w->output);
    int last = o->count > 0 ? (int)o->axes[o->count - 1] : 0;
    w->refuses_any = exists && last <= input->rank && input->size[last - 1] > 1;
    return exists;
}

static void permute_forward(const layer_case *c, sums *v) {
    ref_permute(&c->inputs[0], c->options, c->samples, forth(c, v));
}

static void permute_backward(const layer_case *c, sums *v) {
    ref_permute(&c->inputs[0], c->options, c->samples, back(c, v));
}

static void permute_case(const oracle *self, numbers *n, int rank, int count) {
    fv_shape input = some_shape(n, rank);
    fv_permute_options o = {.axes = {1, 2, 3, 4}, .count = count};
    for (int i = count - 1; i > 0; i--) {
        int other = numbers_below(n, i + 1);
        double kept = o.axes[i];
        o.axes[i] = o.axes[other];
        o.axes[other] = kept;
    }
    if (numbers_below(n, 20) == 0)
        o.axes[0] = o.axes[count - 1]; /* refused unless it is the only one */
    layer_case c = make_case(self, n, &o, &input);
    check_case(&c, "%g, %g, %g, %g of %d", o.axes[0], o.axes[1], o.axes[2], o.axes[3], count);
}

static void permute_cases(const oracle *self) {
    for (int i = 0; i < draws(); i++) {
        numbers n = {(uint64_t)i};
        int rank = i % 4;
        permute_case(self, &n, rank, numbers_below(&n, 20) ? rank + 1 : 2);
    }
}

/* ---- pad --------------------------------------------------------------------------------------
 */

/* Every cell of a replicated border adds its gradient to one cell. */
static bool pad_infer(const layer_case *c, wanted *w) {
    const fv_pad_options *o = c->options;
    bool channels = o->channels_before > 0 || o->channels_after > 0, cells = false;
    for (int axis = 0; axis < 3; axis++)
        cells = cells || o->pad[axis][0] > 0 || o->pad[axis][1] > 0;
    if (!channels && !cells) {
        w->refusal = FV_INVALID;
        w->says = "adds nothing";
    } else if (channels && o->mode != FV_PAD_CONSTANT) {
        w->refusal = FV_INVALID;
        w->says = "mode=constant";
    }
    w->terms_dx = 1000;
    return ref_pad_output(&c->inputs[0], c->options, &w->output);
}

static void pad_forward(const layer_case *c, sums *v) {
    ref_pad(&c->inputs[0], c->options, c->samples, forth(c, v));
}

static void pad_backward(const layer_case *c, sums *v) {
    ref_pad(&c->inputs[0], c->options, c->samples, back(c, v));
}

static void pad_cases(const oracle *self) {
    static const double values[] = {0, 1, -2, 0.25};
    for (int i = 0; i < draws(); i++) {
        numbers n = {(uint64_t)i};
        int rank = i % 4;
        fv_shape input = some_shape(&n, rank);
        fv_pad_options o = {.mode = (fv_pad_mode)(i / 4 % 3)};
        if (o.mode == FV_PAD_CONSTANT)
            o.value = values[numbers_below(&n, 4)];
        for (int axis = 0; axis < 3; axis++)
            for (int side = 0; side < 2 && (axis < rank || numbers_below(&n, 50) == 0); side++)
                o.pad[axis][side] = numbers_below(&n, 4);
        if (numbers_below(&n, 20) == 0)
            memset(o.pad, 0, sizeof o.pad);
        if (numbers_below(&n, o.mode == FV_PAD_CONSTANT ? 2 : 20) == 0) {
            o.channels_before = numbers_below(&n, 2) * (1 + numbers_below(&n, 20));
            o.channels_after = numbers_below(&n, 2) * (1 + numbers_below(&n, 20));
        }
        layer_case c = make_case(self, &n, &o, &input);
        check_case(&c, "%d:%dx%d:%dx%d:%d, channels %d:%d, mode %d, value %g", o.pad[0][0],
                   o.pad[0][1], o.pad[1][0], o.pad[1][1], o.pad[2][0], o.pad[2][1],
                   o.channels_before, o.channels_after, (int)o.mode, o.value);
    }
}

/* ---- constant ---------------------------------------------------------------------------------
 */

static size_t constant_values(const layer_case *c) {
    return fv_shape_count(&((const fv_constant_options *)c->options)->shape);
}

/* Its output has a size of its own where the input's varies. */
static bool constant_infer(const layer_case *c, wanted *w) {
    const fv_constant_options *o = c->options;
    w->output = o->shape;
    want_weight(w, "weight", constant_values(c));
    w->weights[0].statistic = !o->learn;
    w->terms_dw = (size_t)c->samples;
    w->says = "each size as a number";
    for (int axis = 0; axis < o->shape.rank; axis++)
        if (o->shape.size[axis] == FV_ANY)
            return false;
    return o->shape.channels != FV_ANY;
}

static void constant_forward(const layer_case *c, sums *v) {
    ref_constant(constant_values(c), c->samples, v->w[0], v->z);
}

static void constant_backward(const layer_case *c, sums *v) {
    ref_constant_back(constant_values(c), c->samples, v->dz, v->dw[0]);
}

static void constant_cases(const oracle *self) {
    for (int i = 0; i < draws(); i++) {
        numbers n = {(uint64_t)i};
        fv_shape input = some_shape(&n, i % 4);
        fv_constant_options o = {some_shape(&n, i / 4 % 4), .learn = numbers_below(&n, 2)};
        if (numbers_below(&n, 30) == 0)
            o.shape.channels = FV_ANY;
        if (numbers_below(&n, 30) == 0 && o.shape.rank > 0)
            o.shape.size[o.shape.rank - 1] = FV_ANY;
        layer_case c = make_case(self, &n, &o, &input);
        char text[64];
        check_case(&c, "%s%s", fv_shape_text(&o.shape, text), o.learn ? ", learn" : "");
    }
}

/* ---- crop, slice ------------------------------------------------------------------------------
 */

static bool crop_infer(const layer_case *c, wanted *w) {
    return ref_crop_output(&c->inputs[0], c->options, &w->output);
}

static void crop_forward(const layer_case *c, sums *v) {
    ref_crop(&c->inputs[0], c->options, c->samples, forth(c, v));
}

static void crop_backward(const layer_case *c, sums *v) {
    ref_crop(&c->inputs[0], c->options, c->samples, back(c, v));
}

static void crop_cases(const oracle *self) {
    for (int i = 0; i < draws(); i++) {
        numbers n = {(uint64_t)i};
        int rank = i % 4;
        fv_shape input = some_shape(&n, rank);
        fv_crop_options o = {0};
        for (int axis = 0; axis < 3; axis++)
            for (int side = 0; side < 2 && (axis < rank || numbers_below(&n, 50) == 0); side++)
                o.crop[axis][side] = numbers_below(&n, 2) * numbers_below(&n, 4);
        layer_case c = make_case(self, &n, &o, &input);
        check_case(&c, "%d:%dx%d:%dx%d:%d", o.crop[0][0], o.crop[0][1], o.crop[1][0], o.crop[1][1],
                   o.crop[2][0], o.crop[2][1]);
    }
}

static bool slice_infer(const layer_case *c, wanted *w) {
    return ref_slice_output(&c->inputs[0], c->options, &w->output);
}

static void slice_forward(const layer_case *c, sums *v) {
    ref_slice(&c->inputs[0], c->options, c->samples, forth(c, v));
}

static void slice_backward(const layer_case *c, sums *v) {
    ref_slice(&c->inputs[0], c->options, c->samples, back(c, v));
}

static void slice_cases(const oracle *self) {
    for (int i = 0; i < draws(); i++) {
        numbers n = {(uint64_t)i};
        fv_shape input = some_shape(&n, i % 4);
        fv_slice_options o = {.axis = numbers_below(&n, 8) ? numbers_below(&n, input.rank + 1) : 3};
        int size = o.axis == 0 ? input.channels : o.axis > input.rank ? 2 : input.size[o.axis - 1];
        o.begin = numbers_below(&n, size);
        o.end = numbers_below(&n, 4) ? o.begin + 1 + numbers_below(&n, size - o.begin) : 0;
        if (numbers_below(&n, 8) == 0)
            *(numbers_below(&n, 2) ? &o.begin : &o.end) += size; /* mostly refused */
        layer_case c = make_case(self, &n, &o, &input);
        check_case(&c, "[%d, %d) of axis %d", o.begin, o.end, o.axis);
    }
}

/* ---- upsample ---------------------------------------------------------------------------------
 */

static bool power_of_two(int value) {
    return (value & (value - 1)) == 0;
}

/* Shares are whole parts of 2 out, or of out - 1. */
static bool upsample_infer(const layer_case *c, wanted *w) {
    const fv_upsample_options *o = c->options;
    const fv_shape *input = &c->inputs[0];
    bool exists = ref_upsample_output(input, o, &w->output);
    size_t most = 1;
    for (int axis = 0; axis < input->rank && exists; axis++) {
        int in = input->size[axis], out = w->output.size[axis];
        bool exact = o->align_corners ? out == 1 || (in - 1) % (out - 1) == 0
                                      : out % in == 0 && power_of_two(out / in);
        w->inexact |= o->mode == FV_RESIZE_BILINEAR && !exact;
        most *= 2 * (size_t)((out + in - 1) / in + 1);
    }
    w->terms_z = 8;
    w->terms_dx = most;
    w->work = 8 * (int64_t)fv_shape_count(&w->output);
    if ((o->factor[0] > 0) == (o->size[0] > 0)) {
        w->refusal = FV_INVALID;
        w->says = "factor";
        return false;
    }
    if (o->align_corners && o->mode != FV_RESIZE_BILINEAR) {
        w->refusal = FV_INVALID;
        w->says = "bilinear";
        return false;
    }
    return exists;
}

static void upsample_forward(const layer_case *c, sums *v) {
    ref_upsample(&c->inputs[0], c->options, c->samples, forth(c, v));
}

static void upsample_backward(const layer_case *c, sums *v) {
    ref_upsample(&c->inputs[0], c->options, c->samples, back(c, v));
}

static void upsample_cases(const oracle *self) {
    static const fv_resize modes[] = {FV_RESIZE_NONE, FV_RESIZE_NEAREST, FV_RESIZE_BILINEAR,
                                      FV_RESIZE_BILINEAR};
    for (int i = 0; i < 2 * draws(); i++) {
        numbers n = {(uint64_t)i};
        int rank = i % 40 == 0 ? 0 : 1 + i % 3;
        fv_shape input = some_shape(&n, rank);
        fv_upsample_options o = {.mode = modes[i / 3 % 4]};
        o.align_corners = o.mode == FV_RESIZE_BILINEAR && i % 2;
        bool by_size = numbers_below(&n, 2);
        for (int axis = 0; axis < (rank ? rank : 1); axis++)
            *(by_size ? &o.size[axis] : &o.factor[axis]) = 1 + numbers_below(&n, by_size ? 14 : 4);
        if (rank == 2 && numbers_below(&n, 4) == 0)
            o.factor[1] = o.size[1] = 0; /* the first repeats */
        if (numbers_below(&n, 50) == 0)
            o.factor[0] = o.size[0] = 2 * numbers_below(&n, 2); /* both or none: refused */
        if (numbers_below(&n, 50) == 0)
            o.align_corners = true;
        layer_case c = make_case(self, &n, &o, &input);
        char texts[2][48];
        check_case(&c, "factor %s, size %s, mode %d%s", sizes_text(o.factor, texts[0]),
                   sizes_text(o.size, texts[1]), (int)o.mode,
                   o.align_corners ? ", align_corners" : "");
    }
}

/* ---- depth_to_space, space_to_depth -----------------------------------------------------------
 */

static bool depth_to_space_infer(const layer_case *c, wanted *w) {
    return ref_depth_to_space_output(&c->inputs[0], c->options, &w->output);
}

static void depth_to_space_forward(const layer_case *c, sums *v) {
    ref_depth_to_space(&c->inputs[0], c->options, c->samples, forth(c, v));
}

static void depth_to_space_backward(const layer_case *c, sums *v) {
    ref_depth_to_space(&c->inputs[0], c->options, c->samples, back(c, v));
}

static bool space_to_depth_infer(const layer_case *c, wanted *w) {
    return ref_space_to_depth_output(&c->inputs[0], c->options, &w->output);
}

static void space_to_depth_forward(const layer_case *c, sums *v) {
    ref_space_to_depth(&c->inputs[0], c->options, c->samples, forth(c, v));
}

static void space_to_depth_backward(const layer_case *c, sums *v) {
    ref_space_to_depth(&c->inputs[0], c->options, c->samples, back(c, v));
}

/* Most fit; those as drawn mostly do not. */
static void depth_cases(const oracle *self) {
    bool deep = strcmp(self->type, "depth_to_space") == 0;
    for (int i = 0; i < draws(); i++) {
        numbers n = {(uint64_t)i};
        fv_shape input = some_shape(&n, i % 20 == 0 ? 0 : 1 + i % 3);
        fv_depth_options o = {.block = 1 + numbers_below(&n, 3),
                              .order = (fv_depth_order)numbers_below(&n, 2)};
        bool fit = numbers_below(&n, 8) != 0;
        for (int axis = 0; axis < input.rank && fit; axis++) {
            if (deep)
                input.channels *= o.block;
            else
                input.size[axis] *= o.block;
        }
        layer_case c = make_case(self, &n, &o, &input);
        check_case(&c, "block %d, order %d", o.block, (int)o.order);
    }
}

/* ---- concat -----------------------------------------------------------------------------------
 */

static bool concat_infer(const layer_case *c, wanted *w) {
    const fv_concat_options *o = c->options;
    if (o->axis > c->inputs[0].rank) /* whatever else is wrong */
        w->says = "there is no axis";
    return ref_concat_output(c->inputs, c->input_count, c->options, &w->output);
}

static void concat_forward(const layer_case *c, sums *v) {
    for (int i = 0; i < c->input_count; i++)
        ref_concat(c->inputs, c->input_count, i, c->options, c->samples,
                   (ref_way){.from = v->x[i], .to = v->z});
}

static void concat_backward(const layer_case *c, sums *v) {
    for (int i = 0; i < c->input_count; i++)
        ref_concat(c->inputs, c->input_count, i, c->options, c->samples,
                   (ref_way){.from = v->dz, .to = v->dx[i], .back = true});
}

static void concat_cases(const oracle *self) {
    for (int i = 0; i < draws(); i++) {
        numbers n = {(uint64_t)i};
        int rank = i % 4, count = 2 + numbers_below(&n, MOST_INPUTS - 1);
        fv_concat_options o = {.axis = numbers_below(&n, rank + 1)};
        if (numbers_below(&n, 30) == 0)
            o.axis = rank + 1; /* refused */
        fv_shape inputs[MOST_INPUTS] = {some_shape(&n, rank)};
        for (int k = 1; k < count; k++) {
            fv_shape other = some_shape(&n, rank);
            inputs[k] = inputs[0];
            if (o.axis == 0)
                inputs[k].channels = other.channels;
            else if (o.axis <= rank)
                inputs[k].size[o.axis - 1] = other.size[o.axis - 1];
            if (numbers_below(&n, 30) == 0)
                inputs[k] = other; /* mostly refused */
        }
        layer_case c = make_join(self, &n, &o, inputs, count);
        check_case(&c, "axis %d", o.axis);
    }
}

/* ---- add, multiply, maximum -------------------------------------------------------------------
 */

static ref_join_kind kind_of(const layer_case *c) {
    return strcmp(c->oracle->type, "add") == 0        ? REF_ADD
           : strcmp(c->oracle->type, "multiply") == 0 ? REF_MULTIPLY
                                                      : REF_MAXIMUM;
}

static bool join_infer(const layer_case *c, wanted *w) {
    w->activation = ((const fv_join_options *)c->options)->activation;
    if (!ref_join_output(c->inputs, c->input_count, &w->output))
        return false;
    w->terms_z = (size_t)c->input_count;
    w->terms_dx = (size_t)c->input_count + fv_shape_count(&w->output);
    return true;
}

static void join_forward(const layer_case *c, sums *v) {
    ref_join(kind_of(c), c->inputs, c->input_count, c->samples, v->x, v->z);
}

static void join_backward(const layer_case *c, sums *v) {
    for (int i = 0; i < c->input_count; i++)
        ref_join_back(kind_of(c), c->inputs, c->input_count, i, c->samples, v->x, v->dz, v->dx[i]);
}

/* maximum rounds nothing forward; backward adds up what the same winners get. */
static void maximum_forward_size(const layer_case *c, const sums *value, sums *size) {
    (void)c, (void)value, (void)size;
}

static void maximum_backward_size(const layer_case *c, const sums *value, sums *size) {
    for (int i = 0; i < c->input_count; i++) {
        memset(size->dx[i], 0, values_in(c, i) * sizeof(double));
        ref_join_back(REF_MAXIMUM, c->inputs, c->input_count, i, c->samples, value->x, size->dz,
                      size->dx[i]);
    }
}

static void join_cases(const oracle *self) {
    for (int i = 0; i < 2 * draws(); i++) {
        numbers n = {(uint64_t)i};
        int rank = i % 4, count = 2 + numbers_below(&n, MOST_INPUTS - 1);
        fv_join_options o = {.activation = some_activation(&n)};
        fv_shape inputs[MOST_INPUTS], shape = some_shape(&n, rank);
        for (int k = 0; k < count; k++) {
            int kind = numbers_below(&n, 30);
            inputs[k] = shape;
            if (kind < 5) /* one place for all */
                inputs[k] = (fv_shape){rank, {1, 1, 1}, shape.channels};
            else if (kind < 10)
                inputs[k] = (fv_shape){.channels = shape.channels};
            else if (kind == 10) /* mostly refused */
                inputs[k] = some_shape(&n, rank);
        }
        layer_case c = make_join(self, &n, &o, inputs, count);
        check_case(&c, "%s", fv_activation_names[o.activation]);
    }
}

/* ---- The list -------------------------------------------------------------------------------- */

#define MOVER(name)                                                                                \
    {                                                                                              \
        .type = #name, .cases = name##_cases, .infer = name##_infer, .forward = name##_forward,    \
        .backward = name##_backward                                                                \
    }

static const oracle oracles[] = {
    {.type = "flatten",
     .cases = flatten_cases,
     .infer = flatten_infer,
     .forward = copy_forward,
     .backward = copy_backward},
    {.type = "reshape",
     .cases = reshape_cases,
     .infer = reshape_infer,
     .forward = copy_forward,
     .backward = copy_backward},
    MOVER(permute),
    MOVER(pad),
    MOVER(constant),
    MOVER(crop),
    MOVER(slice),
    MOVER(upsample),
    MOVER(concat),
    {.type = "depth_to_space",
     .cases = depth_cases,
     .infer = depth_to_space_infer,
     .forward = depth_to_space_forward,
     .backward = depth_to_space_backward},
    {.type = "space_to_depth",
     .cases = depth_cases,
     .infer = space_to_depth_infer,
     .forward = space_to_depth_forward,
     .backward = space_to_depth_backward},
    {.type = "add",
     .cases = join_cases,
     .infer = join_infer,
     .forward = join_forward,
     .backward = join_backward},
    {.type = "multiply",
     .cases = join_cases,
     .infer = join_infer,
     .forward = join_forward,
     .backward = join_backward},
    {.type = "maximum",
     .cases = join_cases,
     .infer = join_infer,
     .forward = join_forward,
     .backward = join_backward,
     .forward_size = maximum_forward_size,
     .backward_size = maximum_backward_size},
};

int main(void) {
    return run_family("shape", oracles, sizeof oracles / sizeof oracles[0]);
}
