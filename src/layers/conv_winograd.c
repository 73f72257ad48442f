/* Convolution with 3x3 kernels in the plane by Winograd's F(4x4, 3x3): 36 products of transformed
 * tiles in place of 144, and both gradients by its exact transpose on the same tiles (formulas in
 * kernels/winograd.c). Tiles go through in blocks that fit the second cache: transform, 36
 * products, transform back. Rounds a little differently from the direct algorithm (about 1e-6 of
 * the largest value). Called by conv.c. */
#include "layers/conv.h"
#include <string.h>

enum {
    TILE = FV_WINOGRAD_TILE,
    EDGE = FV_WINOGRAD_POINTS - FV_WINOGRAD_TILE, /* input cells beyond a tile of outputs */
    POINTS = FV_WINOGRAD_POINTS * FV_WINOGRAD_POINTS,
    BLOCK_BYTES = 256 << 10, /* speed only */
    BLOCKS_A_THREAD = 4,     /* speed only: fewer are shared step by step */
};

/* ---- Sizes, in reals --------------------------------------------------------------------------
 */

typedef struct winograd {
    int rows, columns; /* tiles */
    int block;         /* tiles that go through together */
    int channels, filters;
    ptrdiff_t v_step, z_step;       /* between the points of a block: of the input, of the output */
    size_t input_copy, output_copy; /* padded copies; 0: the array itself will do */
} winograd;

static bool exact_fit(const fv_axis *a, int tiles) {
    return a->before == 0 && a->in == tiles * TILE + EDGE;
}

static winograd measure(const fv_conv_geometry *g, const fv_kernels *k) {
    winograd w = {.rows = (g->axis[1].out + TILE - 1) / TILE,
                  .columns = (g->axis[2].out + TILE - 1) / TILE,
                  .channels = g->channels,
                  .filters = g->filters};
    int tiles = w.rows * w.columns;
    int fit = BLOCK_BYTES / (POINTS * (g->channels + g->filters) * (int)sizeof(real));
    fit = fit < k->rows ? k->rows : fit / k->rows * k->rows;
    int blocks = (tiles + fit - 1) / fit;
    w.block = (tiles + blocks - 1) / blocks;
    w.v_step = (ptrdiff_t)w.block * g->channels;
    w.z_step = (ptrdiff_t)w.block * g->filters;
    if (!exact_fit(&g->axis[1], w.rows) || !exact_fit(&g->axis[2], w.columns))
        w.input_copy = (size_t)(w.rows * TILE + EDGE) * (size_t)(w.columns * TILE + EDGE) *
                       (size_t)g->channels;
    if (g->axis[1].out != w.rows * TILE || g->axis[2].out != w.columns * TILE)
        w.output_copy = (size_t)(w.rows * TILE) * (size_t)(w.columns * TILE) * (size_t)g->filters;
    return w;
}

/* One point of the packed kernels, forward and transposed. */
static size_t forward_point(const winograd *w, const fv_kernels *k) {
    return (size_t)fv_panels(w->filters, k) * (size_t)k->panel * (size_t)w->channels;
}

static size_t backward_point(const winograd *w, const fv_kernels *k) {
    return (size_t)fv_panels(w->channels, k) * (size_t)k->panel * (size_t)w->filters;
}

static size_t kernel_count(const winograd *w) {
    return (size_t)w->channels * (size_t)w->filters;
}

/* ---- Whether it pays ---------------------------------------------------------------------------
 *
 * Both algorithms as multiply-adds a sample, for each pair of channel and filter: those that they
 * do, and those that could be done while their weights are read. A sample reads all of them in each
 * pass, so that small maps are bound by the 36 weights for 9: those of many channels do not stay in
 * the cache. What it costs to read was measured, see docs/performance.md. */

enum {
    READ_CACHED = 2, /* speed only, all four: multiply-adds in the time of reading a weight */
    READ_MEMORY = 16,
    CACHED_BYTES = 8 << 20, /* weights of a layer that stay in the last cache */
    TRANSFORM = 18,         /* multiply-adds for a point of one channel's or filter's tile */
};

/* Of `values` weights for each pair, each used in `steps` places a pass. */
static double pair_cost(const fv_conv_geometry *g, const fv_setting *setting, int values,
                        double steps) {
    double pairs = (double)g->channels * g->filters;
    bool stay = pairs * values * (double)sizeof(real) <= CACHED_BYTES;
    int passes = 1, reads = 1;
    if (g->uses & FV_CONV_INPUT_GRADIENT)
        passes++, reads++;
    if (g->uses & FV_CONV_WEIGHT_GRADIENT) /* sums are read and written */
        passes++, reads += 2;
    /* Training packs them before each batch. */
    double packing = setting->training ? (double)passes / setting->batch : 0;
    return values * (steps * passes + (stay ? READ_CACHED : READ_MEMORY) * (reads + packing));
}

static bool pays(const fv_conv_geometry *g, const fv_setting *setting) {
    int rows = (g->axis[1].out + TILE - 1) / TILE, columns = (g->axis[2].out + TILE - 1) / TILE;
    double tiles = (double)rows * columns, places = (double)g->axis[1].out * g->axis[2].out;
    double transforms = TRANSFORM * tiles * (1. / g->channels + 1. / g->filters);
    return pair_cost(g, setting, POINTS, tiles + transforms) < pair_cost(g, setting, 9, places);
}

/* Whole vectors of channels and filters, and not so many that the points fill the memory. */
bool fv_conv_winograd_fits(const fv_conv_geometry *g, const fv_setting *setting) {
    int vector = setting->kernels->vector;
    const fv_axis *h = &g->axis[1], *w = &g->axis[2];
    if (setting->exact || g->axis[0].in != 1 || g->axis[0].out != 1 || g->axis[0].kernel != 1)
        return false;
    if (h->kernel != 3 || w->kernel != 3 || h->stride != 1 || w->stride != 1 || h->dilation != 1 ||
        w->dilation != 1 || g->groups != 1)
        return false;
    if (g->channels % vector || g->filters % vector || g->channels < 16 || g->filters < 16)
        return false;
    return (int64_t)g->channels * g->filters <= 1 << 20 && pays(g, setting);
}

/* Channels whose kernels are transformed and packed together: a panel of the transposed ones. */
static size_t pack_room(const winograd *w, const fv_kernels *k) {
    return (size_t)POINTS * (size_t)k->panel * (size_t)w->filters;
}

static void prepare(const fv_conv_geometry *g, const fv_setting *setting, fv_layer_plan *plan) {
    const fv_kernels *k = setting->kernels;
    winograd w = measure(g, k);
    size_t points = (size_t)POINTS;
    /* Kernels in panels, the bias, transposed panels. */
    plan->packed = points * forward_point(&w, k) + (size_t)w.filters;
    plan->scratch = points * (size_t)(w.v_step + w.z_step) + w.input_copy;
    if (setting->training)
        plan->scratch += w.output_copy + w.input_copy;
    if (plan->scratch < pack_room(&w, k))
        plan->scratch = pack_room(&w, k);
    if (g->uses & FV_CONV_WEIGHT_GRADIENT)
        plan->held = points * kernel_count(&w) * sizeof(real);
    if (setting->input_gradient)
        plan->packed += points * backward_point(&w, k);
    plan->packed *= sizeof(real);
    plan->scratch *= sizeof(real);
}

typedef struct packing {
    const fv_call *call;
    winograd w;
    real *forward, *back; /* NULL: not wanted */
} packing;

static void pack_channels(void *argument, int unit, int thread) {
    const packing *p = argument;
    const fv_call *call = p->call;
    const fv_kernels *k = call->kernels;
    int channels = p->w.channels, filters = p->w.filters, first = unit * k->panel;
    int count = channels - first < k->panel ? channels - first : k->panel;
    size_t values = (size_t)count * (size_t)filters, at = (size_t)first * (size_t)filters;
    real *points = (real *)(call->scratch + (size_t)thread * call->scratch_stride);
    k->winograd_weights(values, call->weights[0] + at, kernel_count(&p->w), points);
    for (size_t e = 0; e < POINTS; e++, points += values) {
        fv_pack_rows(k, points, filters, channels, filters, first, count,
                     p->forward + e * forward_point(&p->w, k));
        if (p->back)
            k->pack(points, filters, true, filters, count,
                    p->back + e * backward_point(&p->w, k) + at);
    }
}

static void pack(const fv_conv_geometry *g, const fv_call *call) {
    const fv_kernels *k = call->kernels;
    packing p = {.call = call, .w = measure(g, k), .forward = call->packed};
    real *bias = p.forward + (size_t)POINTS * forward_point(&p.w, k);
    for (int f = 0; f < p.w.filters; f++)
        bias[f] = call->weights[1] ? call->weights[1][f] : 0;
    if (call->setting->input_gradient)
        p.back = bias + p.w.filters;
    fv_pool_run(call->pool, fv_panels(p.w.channels, k), pack_channels, &p);
}

/* ---- Copies
 * ----------------------------------------------------------------------------------------- */

static const real *padded_input(const fv_conv_geometry *g, const winograd *w, fv_pool *pool,
                                const real *x, real *copy) {
    if (!w->input_copy)
        return x;
    int high[2] = {w->rows * TILE + EDGE - g->axis[1].before - g->axis[1].in,
                   w->columns * TILE + EDGE - g->axis[2].before - g->axis[2].in};
    fv_border b = {.size = {1, g->axis[1].in, g->axis[2].in},
                   .low = {0, g->axis[1].before, g->axis[2].before},
                   .high = {0, high[0], high[1]},
                   .channels = w->channels,
                   .repeat = 1,
                   .row = w->channels};
    fv_copy_with_border(&b, pool, x, copy);
    return copy;
}

static const real *padded_gradient(const fv_conv_geometry *g, const winograd *w, const real *dy,
                                   real *copy) {
    if (!w->output_copy)
        return dy;
    fv_border b = {.size = {1, g->axis[1].out, g->axis[2].out},
                   .high = {0, w->rows * TILE - g->axis[1].out, w->columns * TILE - g->axis[2].out},
                   .channels = w->filters,
                   .repeat = 1,
                   .row = w->filters};
    fv_copy_with_border(&b, NULL, dy, copy);
    return copy;
}

/* The input's part of a padded gradient. */
static void crop_gradient(const fv_conv_geometry *g, const winograd *w, const real *padded,
                          real *dx) {
    size_t row = (size_t)(w->columns * TILE + EDGE) * (size_t)w->channels;
    size_t width = (size_t)g->axis[2].in * (size_t)w->channels;
    padded += (size_t)g->axis[1].before * row + (size_t)g->axis[2].before * (size_t)w->channels;
    for (int h = 0; h < g->axis[1].in; h++)
        memcpy(dx + (size_t)h * width, padded + (size_t)h * row, width * sizeof(real));
}

/* ---- Blocks of tiles
 * ----------------------------------------------------------------------------------- */

typedef struct arrays {
    const fv_kernels *k;
    const real *x, *dy; /* padded */
    real *y, *dx;       /* dx padded; NULL: not wanted */
    real *v, *z;        /* points of a block */
    ptrdiff_t x_row, y_row, dy_row;
    const real *forward, *bias, *back; /* packed */
    real *sums;                        /* of the kernel gradient's points; NULL: not wanted */
    bool add;                          /* to what `sums` holds */
    bool relu;                         /* max(., 0) of the output */
} arrays;

static void transform_inputs(const winograd *w, const arrays *a, int first, int begin, int end) {
    for (int t = begin; t < end; t++) {
        int row = (first + t) / w->columns * TILE, column = (first + t) % w->columns * TILE;
        a->k->winograd_input(a->x + row * a->x_row + (ptrdiff_t)column * w->channels, a->x_row,
                             w->channels, a->v + (ptrdiff_t)t * w->channels, w->v_step);
    }
}

/* z = v U at point e, for panels [begin, end) of filters. */
static void forward_products(const winograd *w, const arrays *a, int count, ptrdiff_t e, int begin,
                             int end) {
    const ptrdiff_t zero = 0;
    fv_product p = {.rows = count,
                    .depth = w->channels,
                    .terms = 1,
                    .a = a->v + e * w->v_step,
                    .a_offset = &zero,
                    .a_row = w->channels,
                    .a_column = 1,
                    .b_offset = &zero,
                    .b_row = a->k->panel,
                    .c_row = w->filters};
    for (int f = begin * a->k->panel; f < w->filters && f < end * a->k->panel; f += a->k->panel) {
        p.columns = w->filters - f < a->k->panel ? w->filters - f : a->k->panel;
        p.b = a->forward + e * (ptrdiff_t)forward_point(w, a->k) + (ptrdiff_t)f * w->channels;
        p.c = a->z + e * w->z_step + f;
        a->k->product(&p);
    }
}

static void transform_outputs(const fv_conv_geometry *g, const winograd *w, const arrays *a,
                              int first, int begin, int end) {
    for (int t = begin; t < end; t++) {
        int row = (first + t) / w->columns * TILE, column = (first + t) % w->columns * TILE;
        int rows = g->axis[1].out - row < TILE ? g->axis[1].out - row : TILE;
        int columns = g->axis[2].out - column < TILE ? g->axis[2].out - column : TILE;
        a->k->winograd_output(a->z + (ptrdiff_t)t * w->filters, w->z_step, w->filters, a->bias,
                              a->relu, rows, columns,
                              a->y + row * a->y_row + (ptrdiff_t)column * w->filters, a->y_row);
    }
}

/* sums += v' z for each point: the kernel's gradient. */
static void weight_products(const winograd *w, const arrays *a, ptrdiff_t e, int count) {
    const ptrdiff_t zero = 0;
    fv_product p = {.rows = w->channels,
                    .depth = count,
                    .terms = 1,
                    .a = a->v + e * w->v_step,
                    .a_offset = &zero,
                    .a_row = 1,
                    .a_column = w->channels,
                    .b_offset = &zero,
                    .b_row = w->filters,
                    .c_row = w->filters,
                    .add = a->add};
    for (int f = 0; f < w->filters; f += a->k->panel) {
        p.columns = w->filters - f < a->k->panel ? w->filters - f : a->k->panel;
        p.b = a->z + e * w->z_step + f;
        p.c = a->sums + e * (ptrdiff_t)kernel_count(w) + f;
        a->k->product(&p);
    }
}

/* v = z U', in place of the input's points: they have done their work. */
static void input_products(const winograd *w, const arrays *a, ptrdiff_t e, int count) {
    const ptrdiff_t zero = 0;
    fv_product p = {.rows = count,
                    .depth = w->filters,
                    .terms = 1,
                    .a = a->z + e * w->z_step,
                    .a_offset = &zero,
                    .a_row = w->filters,
                    .a_column = 1,
                    .b_offset = &zero,
                    .b_row = a->k->panel,
                    .c_row = w->channels};
    for (int c = 0; c < w->channels; c += a->k->panel) {
        p.columns = w->channels - c < a->k->panel ? w->channels - c : a->k->panel;
        p.b = a->back + e * (ptrdiff_t)backward_point(w, a->k) + (ptrdiff_t)c * w->filters;
        p.c = a->v + e * w->v_step + c;
        a->k->product(&p);
    }
}

static void backward_block(const winograd *w, const arrays *a, int first, int count) {
    if (a->sums)
        transform_inputs(w, a, first, 0, count);
    for (int t = 0; t < count; t++) {
        int row = (first + t) / w->columns * TILE, column = (first + t) % w->columns * TILE;
        a->k->winograd_output_back(a->dy + row * a->dy_row + (ptrdiff_t)column * w->filters,
                                   a->dy_row, w->filters, a->z + (ptrdiff_t)t * w->filters,
                                   w->z_step);
    }
    for (ptrdiff_t e = 0; e < POINTS; e++) {
        if (a->sums)
            weight_products(w, a, e, count);
        if (a->dx)
            input_products(w, a, e, count);
    }
    for (int t = 0; a->dx && t < count; t++) {
        int row = (first + t) / w->columns * TILE, column = (first + t) % w->columns * TILE;
        a->k->winograd_input_back(a->v + (ptrdiff_t)t * w->channels, w->v_step, w->channels,
                                  a->dx + row * a->x_row + (ptrdiff_t)column * w->channels,
                                  a->x_row);
    }
}

/* ---- Samples
 * --------------------------------------------------------------------------------------------- */

static arrays point_arrays(const fv_conv_geometry *g, const winograd *w, const fv_call *call) {
    const fv_kernels *k = call->kernels;
    arrays a = {.k = k,
                .v = (real *)call->scratch,
                .x_row = (ptrdiff_t)g->axis[2].in * w->channels,
                .y_row = (ptrdiff_t)g->axis[2].out * w->filters,
                .dy_row = (ptrdiff_t)w->columns * TILE * w->filters,
                .forward = call->packed,
                .sums = call->weight_gradients[0] ? (real *)call->held : NULL,
                .add = !call->first};
    a.z = a.v + POINTS * w->v_step;
    a.bias = a.forward + (size_t)POINTS * forward_point(w, k);
    a.back = a.bias + w->filters;
    if (w->input_copy)
        a.x_row = (ptrdiff_t)(w->columns * TILE + EDGE) * w->channels;
    return a;
}

/* One sample's output. Threads that share it take blocks, each in scratch of its own; or, where
 * there are few, one block after another, each of its three steps together. Neither changes a
 * number. */
typedef struct shared_output {
    const fv_conv_geometry *g;
    const fv_call *call;
    winograd w;
    arrays a;
    int first, count, parts; /* a block that is shared, and the parts of its steps */
} shared_output;

static void forward_block(void *argument, int unit, int thread) {
    const shared_output *o = argument;
    const winograd *w = &o->w;
    arrays a = o->a;
    int first = unit * w->block, left = w->rows * w->columns - first;
    int count = left < w->block ? left : w->block;
    a.v = (real *)(o->call->scratch + (size_t)thread * o->call->scratch_stride);
    a.z = a.v + POINTS * w->v_step;
    transform_inputs(w, &a, first, 0, count);
    for (ptrdiff_t e = 0; e < POINTS; e++)
        forward_products(w, &a, count, e, 0, fv_panels(w->filters, a.k));
    transform_outputs(o->g, w, &a, first, 0, count);
}

static int part_at(const shared_output *o, int part) {
    return o->count * part / o->parts;
}

static void inputs_part(void *argument, int part, int thread) {
    const shared_output *o = argument;
    (void)thread;
    transform_inputs(&o->w, &o->a, o->first, part_at(o, part), part_at(o, part + 1));
}

static void products_part(void *argument, int unit, int thread) {
    const shared_output *o = argument;
    int panels = fv_panels(o->w.filters, o->a.k), half = (panels + 1) / 2;
    (void)thread;
    forward_products(&o->w, &o->a, o->count, unit / 2, unit % 2 * half, unit % 2 ? panels : half);
}

static void outputs_part(void *argument, int part, int thread) {
    const shared_output *o = argument;
    (void)thread;
    transform_outputs(o->g, &o->w, &o->a, o->first, part_at(o, part), part_at(o, part + 1));
}

static void share_blocks(shared_output *o, fv_pool *pool) {
    int tiles = o->w.rows * o->w.columns;
    for (o->first = 0; o->first < tiles; o->first += o->w.block) {
        o->count = tiles - o->first < o->w.block ? tiles - o->first : o->w.block;
        o->parts = o->count < 2 * fv_pool_threads(pool) ? o->count : 2 * fv_pool_threads(pool);
        fv_pool_run(pool, o->parts, inputs_part, o);
        fv_pool_run(pool, 2 * POINTS, products_part, o);
        fv_pool_run(pool, o->parts, outputs_part, o);
    }
}

static void forward(const fv_conv_geometry *g, const fv_call *call) {
    shared_output o = {.g = g, .call = call, .w = measure(g, call->kernels)};
    int blocks = (o.w.rows * o.w.columns + o.w.block - 1) / o.w.block;
    o.a = point_arrays(g, &o.w, call);
    o.a.relu = call->activation == FV_RELU;
    real *copy = o.a.z + POINTS * o.w.z_step;
    for (int s = 0; s < call->samples; s++) {
        o.a.x = padded_input(g, &o.w, call->pool, call->in[0] + (size_t)s * fv_conv_input_count(g),
                             copy);
        o.a.y = call->out + (size_t)s * fv_conv_output_count(g);
        if (call->pool && blocks < BLOCKS_A_THREAD * fv_pool_threads(call->pool))
            share_blocks(&o, call->pool);
        else
            fv_pool_run(call->pool, blocks, forward_block, &o);
    }
}

static void backward_sample(const fv_conv_geometry *g, const winograd *w, const fv_call *call,
                            arrays *a, int s) {
    real *copy = a->z + POINTS * w->z_step;
    real *dy_copy = copy + w->input_copy, *dx_copy = dy_copy + w->output_copy;
    real *dx =
        call->in_gradient[0] ? call->in_gradient[0] + (size_t)s * fv_conv_input_count(g) : NULL;
    if (a->sums)
        a->x = padded_input(g, w, NULL, call->in[0] + (size_t)s * fv_conv_input_count(g), copy);
    a->dy =
        padded_gradient(g, w, call->out_gradient + (size_t)s * fv_conv_output_count(g), dy_copy);
    a->dx = dx && w->input_copy ? dx_copy : dx;
    if (a->dx)
        memset(a->dx, 0, (w->input_copy ? w->input_copy : fv_conv_input_count(g)) * sizeof(real));
    for (int t = 0; t < w->rows * w->columns; t += w->block, a->add = true) {
        int left = w->rows * w->columns - t;
        backward_block(w, a, t, left < w->block ? left : w->block);
    }
    if (dx && w->input_copy)
        crop_gradient(g, w, dx_copy, dx);
    if (call->weight_gradients[1])
        call->kernels->add_rows(
            (size_t)g->axis[1].out * (size_t)g->axis[2].out, w->filters, w->filters,
            call->out_gradient + (size_t)s * fv_conv_output_count(g), call->weight_gradients[1]);
}

static void backward(const fv_conv_geometry *g, const fv_call *call) {
    winograd w = measure(g, call->kernels);
    arrays a = point_arrays(g, &w, call);
    if (call->first && call->weight_gradients[1])
        memset(call->weight_gradients[1], 0, (size_t)w.filters * sizeof(real));
    for (int s = 0; s < call->samples; s++)
        backward_sample(g, &w, call, &a, s);
    if (call->last && a.sums)
        call->kernels->winograd_weights_back(kernel_count(&w), a.sums, call->weight_gradients[0]);
}

const fv_conv_algorithm fv_conv_by_winograd = {prepare, pack, forward, backward};
