/* upsample: another size by the nearest cell, or by linear interpolation along each spatial axis.
 * Output cell i of an axis lies at
 *   nearest:             floor(i in / out)
 *   half-pixel centres:  max((i + 1/2) in / out - 1/2, 0)
 *   align_corners:       i (in - 1) / (out - 1)
 * of the input. A row of the output is made from a row that is blended from at most four of the
 * input. */
#include "layers/layer.h"
#include <stddef.h>
#include <string.h>

/* By fv_resize, whose 0 means the default here. */
static const char *const mode_names[] = {"default", "nearest", "bilinear", NULL};

static const fv_param params[] = {{.key = "factor",
                                   .type = FV_PARAM_SIZES,
                                   .offset = offsetof(fv_upsample_options, factor),
                                   .position = 1,
                                   .low = 1,
                                   .high = 1 << 16,
                                   .fallback_text = "none",
                                   .help = "of the output's sizes by the input's"},
                                  {.key = "size",
                                   .type = FV_PARAM_SIZES,
                                   .offset = offsetof(fv_upsample_options, size),
                                   .low = 1,
                                   .high = 1 << 20,
                                   .fallback_text = "by factor",
                                   .help = "sizes of the output, instead of a factor"},
                                  {.key = "mode",
                                   .type = FV_PARAM_CHOICE,
                                   .offset = offsetof(fv_upsample_options, mode),
                                   .choices = mode_names,
                                   .fallback = FV_RESIZE_NEAREST,
                                   .help = "nearest, or bilinear: linear along each axis"},
                                  {.key = "align_corners",
                                   .type = FV_PARAM_BOOL,
                                   .offset = offsetof(fv_upsample_options, align_corners),
                                   .help = "the outermost centres meet, with mode=bilinear"},
                                  {0}};

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_upsample_options *o = options;
    bool by_factor = o->factor[0] > 0;
    int given[3];
    if (by_factor == (o->size[0] > 0))
        return fv_fail(FV_INVALID, "upsample takes a factor or a size: give one of them");
    if (o->align_corners && o->mode != FV_RESIZE_BILINEAR)
        return fv_fail(FV_INVALID, "align_corners=true needs mode=bilinear");
    if (fv_repeat_sizes(inputs, by_factor ? o->factor : o->size,
                        by_factor ? "factor of upsample" : "size of upsample", given))
        return FV_SHAPE;
    inference->output = inputs[0];
    for (int i = 0; i < inputs[0].rank; i++) {
        int *size = &inference->output.size[i];
        if (!by_factor)
            *size = given[i];
        else if (*size != FV_ANY && fv_set_size((int64_t)*size * given[i], inputs, size))
            return FV_SHAPE;
    }
    return FV_OK;
}

/* ---- Where output cells lie in the input ----------------------------------------------------- */

/* Between two cells of the input; `share` of the higher one, 0: at the lower one. */
typedef struct tap {
    int low, high;
    real share;
} tap;

/* As the exact fraction above / below. */
static tap tap_at(const fv_upsample_options *o, int i, int in, int out) {
    int64_t above = (int64_t)i * in, below = out;
    if (o->mode == FV_RESIZE_BILINEAR && o->align_corners) {
        above = (int64_t)i * (in - 1);
        below = out > 1 ? out - 1 : 1;
    } else if (o->mode == FV_RESIZE_BILINEAR) {
        above = (2 * (int64_t)i + 1) * in - out;
        above = above > 0 ? above : 0;
        below = 2 * (int64_t)out;
    }
    tap t = {.low = (int)(above / below)};
    bool last = t.low + 1 >= in || o->mode != FV_RESIZE_BILINEAR;
    t.share = last ? 0 : (real)((double)(above % below) / (double)below);
    t.high = t.share > 0 ? t.low + 1 : t.low;
    return t;
}

/* All sizes of one sample; missing axes come first. The taps, and a row of the input, lie in the
 * scratch memory. */
typedef struct geometry {
    int in[3], out[3];
    size_t channels, in_row, out_row, in_values, out_values; /* values */
    tap *taps[3];
    real *row;
} geometry;

static size_t tap_bytes(const fv_shape *output) {
    size_t count = 3;
    for (int i = 0; i < output->rank; i++)
        count += (size_t)output->size[i];
    return fv_round_up(count * sizeof(tap), 64);
}

static geometry measure(const fv_call *call) {
    const fv_shape *input = call->in_shape[0], *output = call->out_shape;
    geometry g = {.channels = (size_t)input->channels,
                  .in_values = fv_shape_count(input),
                  .out_values = fv_shape_count(output),
                  .row = (real *)(call->scratch + tap_bytes(output))};
    tap *next = (tap *)call->scratch;
    for (int axis = 0; axis < 3; axis++) {
        int own = axis - (3 - input->rank);
        g.in[axis] = own < 0 ? 1 : input->size[own];
        g.out[axis] = own < 0 ? 1 : output->size[own];
        g.taps[axis] = next;
        for (int i = 0; i < g.out[axis]; i++)
            *next++ = tap_at(call->options, i, g.in[axis], g.out[axis]);
    }
    g.in_row = (size_t)g.in[2] * g.channels;
    g.out_row = (size_t)g.out[2] * g.channels;
    return g;
}

static void prepare(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan) {
    (void)options, (void)count, (void)setting;
    size_t row = (size_t)inputs[0].size[inputs[0].rank - 1] * (size_t)inputs[0].channels;
    plan->scratch = tap_bytes(output) + row * sizeof(real);
}

/* The rows of the input, one to four, of which an output row is blended. */
typedef struct blend {
    int count;
    size_t place[4]; /* of the row's first value */
    real share[4];
} blend;

static blend blend_of(const geometry *g, int d, int h) {
    const tap *outer = &g->taps[0][d], *inner = &g->taps[1][h];
    blend b = {0};
    for (int i = 0; i < 4; i++) {
        bool behind = i / 2, below = i % 2;
        real share =
            (behind ? outer->share : 1 - outer->share) * (below ? inner->share : 1 - inner->share);
        size_t plane = (size_t)(behind ? outer->high : outer->low);
        size_t row = plane * (size_t)g->in[1] + (size_t)(below ? inner->high : inner->low);
        if (share > 0) {
            b.place[b.count] = row * g->in_row;
            b.share[b.count++] = share;
        }
    }
    return b;
}

/* ---- Forward and backward of an output row --------------------------------------------------- */

/* The blended row: in g->row, or where it lies when it is one row of the input. */
static const real *blend_rows(const geometry *g, const blend *b, const real *x) {
    if (b->count == 1)
        return x + b->place[0];
    for (size_t i = 0; i < g->in_row; i++)
        g->row[i] = b->share[0] * x[b->place[0] + i];
    for (int k = 1; k < b->count; k++)
        for (size_t i = 0; i < g->in_row; i++)
            g->row[i] += b->share[k] * x[b->place[k] + i];
    return g->row;
}

static void stretch_row(const geometry *g, const real *row, real *y) {
    for (int i = 0; i < g->out[2]; i++, y += g->channels) {
        tap t = g->taps[2][i];
        const real *low = row + (size_t)t.low * g->channels;
        const real *high = row + (size_t)t.high * g->channels;
        if (t.share > 0)
            for (size_t c = 0; c < g->channels; c++)
                y[c] = (1 - t.share) * low[c] + t.share * high[c];
        else
            memcpy(y, low, g->channels * sizeof(real));
    }
}

/* Adds to the gradient of the blended row. */
static void stretch_row_back(const geometry *g, const real *dy, real *row) {
    for (int i = 0; i < g->out[2]; i++, dy += g->channels) {
        tap t = g->taps[2][i];
        real *low = row + (size_t)t.low * g->channels;
        real *high = row + (size_t)t.high * g->channels;
        for (size_t c = 0; c < g->channels; c++)
            low[c] += (1 - t.share) * dy[c];
        for (size_t c = 0; t.share > 0 && c < g->channels; c++)
            high[c] += t.share * dy[c];
    }
}

static void row_back(const geometry *g, const blend *b, const real *dy, real *dx) {
    if (b->count == 1) {
        stretch_row_back(g, dy, dx + b->place[0]);
        return;
    }
    memset(g->row, 0, g->in_row * sizeof(real));
    stretch_row_back(g, dy, g->row);
    for (int k = 0; k < b->count; k++)
        for (size_t i = 0; i < g->in_row; i++)
            dx[b->place[k] + i] += b->share[k] * g->row[i];
}

static void forward(const fv_call *call) {
    geometry g = measure(call);
    for (int s = 0; s < call->samples; s++) {
        const real *x = call->in[0] + (size_t)s * g.in_values;
        real *y = call->out + (size_t)s * g.out_values;
        for (int d = 0; d < g.out[0]; d++)
            for (int h = 0; h < g.out[1]; h++, y += g.out_row) {
                blend b = blend_of(&g, d, h);
                stretch_row(&g, blend_rows(&g, &b, x), y);
            }
    }
}

static void backward(const fv_call *call) {
    if (!call->in_gradient[0])
        return;
    geometry g = measure(call);
    memset(call->in_gradient[0], 0, (size_t)call->samples * g.in_values * sizeof(real));
    for (int s = 0; s < call->samples; s++) {
        const real *dy = call->out_gradient + (size_t)s * g.out_values;
        real *dx = call->in_gradient[0] + (size_t)s * g.in_values;
        for (int d = 0; d < g.out[0]; d++)
            for (int h = 0; h < g.out[1]; h++, dy += g.out_row) {
                blend b = blend_of(&g, d, h);
                row_back(&g, &b, dy, dx);
            }
    }
}

const fv_layer_type fv_layer_upsample = {.name = "upsample",
                                         .help = "other spatial sizes, interpolated",
                                         .options_size = sizeof(fv_upsample_options),
                                         .params = params,
                                         .min_inputs = 1,
                                         .max_inputs = 1,
                                         .infer = infer,
                                         .prepare = prepare,
                                         .forward = forward,
                                         .backward = backward};
