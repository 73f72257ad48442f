/* Direct convolution on the batch-reduce product, sample by sample. Rows of an image are contiguous
 * (NHWC), so one output row is one product whose list runs over the kernel's rows:
 *   output:          y[row] = sum over kernel rows of x[row + k] * W[k], depth = kernel width x
 *                    channels
 *   input gradient:  dx[row] = sum over kernel cells of dy[row - k] * W[k]^T, depth = filters
 *   weight gradient: dW[k] = sum over output rows of x[row + k]^T * dy[row], depth = pixels of a
 * row Where a kernel row's cells do not lie side by side (dilation along it, groups), cells take
 * the place of kernel rows; each group is a problem of its own. With a stride S the input gradient
 * is S interleaved problems an axis, each with the kernel cells of its phase. Called by the layers
 * conv, depthwise_conv, separable_conv and conv_transpose. */
#include "layers/conv.h"
#include <string.h>

enum {
    ROW_PIXELS = 128,       /* speed only: weight gradient: pixels of a row in one product */
    BLOCK_BYTES = 24 << 10, /* speed only: and bytes of x and dy rows, to stay in the first cache */
    BLOCK_ROWS = 64,        /* speed only */
    PACK_ROWS = 64,         /* speed only: rows of weights that a thread packs at a time */
    PACK_ALONE = 32 << 10,  /* speed only: fewer weights are packed by one thread */
    UNITS_A_THREAD = 4,     /* speed only: of an output that threads share */
};

/* ---- Sizes, in reals unless it says bytes ------------------------------------------------------
 */

/* Values of `columns` as panels hold them. */
static size_t panel_width(int columns, const fv_kernels *k) {
    return (size_t)fv_panels(columns, k) * (size_t)k->panel;
}

static int group_channels(const fv_conv_geometry *g) {
    return g->channels / g->groups;
}

static int group_filters(const fv_conv_geometry *g) {
    return g->filters / g->groups;
}

/* One group's weights: panels over its filters, depth = cells x channels. */
static size_t forward_group(const fv_conv_geometry *g, const fv_kernels *k) {
    return panel_width(group_filters(g), k) * fv_conv_cells(g) * (size_t)group_channels(g);
}

/* One group's kernel cell, transposed: panels over its channels, depth = its filters. */
static size_t back_group(const fv_conv_geometry *g, const fv_kernels *k) {
    return panel_width(group_channels(g), k) * (size_t)group_filters(g);
}

static size_t back_cell(const fv_conv_geometry *g, const fv_kernels *k) {
    return back_group(g, k) * (size_t)g->groups;
}

static size_t forward_packed(const fv_conv_geometry *g, const fv_kernels *k) {
    return g->uses & FV_CONV_OUTPUT ? forward_group(g, k) * (size_t)g->groups : 0;
}

static size_t back_packed(const fv_conv_geometry *g, const fv_kernels *k) {
    return g->uses & FV_CONV_INPUT_GRADIENT ? back_cell(g, k) * fv_conv_cells(g) : 0;
}

/* Bytes of a list of offsets: of kernel cells, or of the rows of a block. */
static size_t list_bytes(const fv_conv_geometry *g) {
    size_t cells = fv_conv_cells(g);
    return fv_round_up((cells > BLOCK_ROWS ? cells : BLOCK_ROWS) * sizeof(ptrdiff_t), 64);
}

static size_t row_bytes(const fv_conv_geometry *g) {
    return g->depthwise ? fv_round_up(fv_conv_depthwise_row(g) * sizeof(real), 64) : 0;
}

size_t fv_conv_direct_packed(const fv_conv_geometry *g, const fv_kernels *k) {
    size_t count =
        g->depthwise ? fv_conv_depthwise_packed(g, k) : forward_packed(g, k) + back_packed(g, k);
    return count * sizeof(real);
}

size_t fv_conv_direct_scratch(const fv_conv_geometry *g, const fv_kernels *k) {
    size_t window = g->depthwise && (g->uses & FV_CONV_OUTPUT) ? fv_conv_window_count(g, k) : 0;
    return 2 * list_bytes(g) + fv_conv_input_copy(g, k) + fv_conv_gradient_copy(g, k) +
           row_bytes(g) + window * sizeof(real);
}

fv_conv_direct fv_conv_direct_open(const fv_conv_geometry *g, const fv_kernels *k, real *packed,
                                   unsigned char *scratch) {
    unsigned char *input_copy = scratch + 2 * list_bytes(g);
    unsigned char *gradient_copy = input_copy + fv_conv_input_copy(g, k);
    unsigned char *row = gradient_copy + fv_conv_gradient_copy(g, k);
    return (fv_conv_direct){.g = g,
                            .k = k,
                            .forward = packed,
                            .back = g->depthwise ? packed : packed + forward_packed(g, k),
                            .a_offset = (ptrdiff_t *)scratch,
                            .b_offset = (ptrdiff_t *)(scratch + list_bytes(g)),
                            .input_copy = (real *)input_copy,
                            .gradient_copy = (real *)gradient_copy,
                            .row = (real *)row,
                            .window = (real *)(row + row_bytes(g))};
}

/* ---- Packing ------------------------------------------------------------------------------------
 */

typedef struct packing {
    const fv_conv_direct *d;
    const real *weights;
    int depth, blocks; /* rows of a group's matrix, and units that they make */
} packing;

/* Some rows of a group's matrix into all of its panels. */
static void pack_rows(void *argument, int unit, int thread) {
    (void)thread;
    const packing *p = argument;
    const fv_conv_geometry *g = p->d->g;
    const fv_kernels *k = p->d->k;
    int group = unit / p->blocks, first = unit % p->blocks * PACK_ROWS;
    int count = p->depth - first < PACK_ROWS ? p->depth - first : PACK_ROWS;
    fv_pack_rows(k, p->weights + (ptrdiff_t)first * g->filters + group * group_filters(g),
                 g->filters, p->depth, group_filters(g), first, count,
                 p->d->forward + (size_t)group * forward_group(g, k));
}

/* One kernel cell of one group, transposed. */
static void pack_cell(void *argument, int unit, int thread) {
    (void)thread;
    const packing *p = argument;
    const fv_conv_geometry *g = p->d->g;
    const fv_kernels *k = p->d->k;
    size_t cell = (size_t)(unit / g->groups), group = (size_t)(unit % g->groups);
    size_t values = (size_t)group_channels(g) * (size_t)g->filters;
    k->pack(p->weights + cell * values + group * (size_t)group_filters(g), g->filters, true,
            group_filters(g), group_channels(g),
            p->d->back + cell * back_cell(g, k) + group * back_group(g, k));
}

void fv_conv_direct_pack(const fv_conv_direct *d, fv_pool *pool, const real *weights) {
    const fv_conv_geometry *g = d->g;
    if (g->depthwise) {
        fv_conv_depthwise_pack(d, weights);
        return;
    }
    int cells = (int)fv_conv_cells(g), depth = cells * group_channels(g);
    packing p = {
        .d = d, .weights = weights, .depth = depth, .blocks = (depth + PACK_ROWS - 1) / PACK_ROWS};
    fv_pool *helpers = (int64_t)depth * g->filters < PACK_ALONE ? NULL : pool;
    if (g->uses & FV_CONV_OUTPUT)
        fv_pool_run(helpers, g->groups * p.blocks, pack_rows, &p);
    if (g->uses & FV_CONV_INPUT_GRADIENT)
        fv_pool_run(helpers, g->groups * cells, pack_cell, &p);
}

size_t fv_conv_bias_count(int columns, int groups, const fv_kernels *k) {
    int group = columns / groups;
    return fv_round_up((size_t)(columns - group) + panel_width(group, k), (size_t)k->panel);
}

void fv_conv_pack_bias(const real *bias, int columns, int groups, const fv_kernels *k, real *to) {
    size_t count = (size_t)columns;
    memcpy(to, bias, count * sizeof(real));
    memset(to + count, 0, (fv_conv_bias_count(columns, groups, k) - count) * sizeof(real));
}

/* ---- Output -------------------------------------------------------------------------------------
 */

/* Kernel cells that lie side by side in the padded input: one term of a product. */
static int run_cells(const fv_conv_geometry *g) {
    return g->groups == 1 && g->axis[2].dilation == 1 ? g->axis[2].kernel : 1;
}

/* Where in the padded input the kernel's cell number `cell` lies. */
static ptrdiff_t cell_at(const fv_conv_geometry *g, int cell) {
    const fv_axis *a = g->axis;
    int row = cell / a[2].kernel;
    return fv_conv_input_at(g, row / a[1].kernel * a[0].dilation, row % a[1].kernel * a[1].dilation,
                            cell % a[2].kernel * a[2].dilation);
}

/* An output in units: a panel of filters over a stretch of the rows, or of the pixels where there
 * is one row. A unit's numbers do not depend on how many there are. */
typedef struct output_work {
    const fv_conv_direct *d;
    fv_product product;
    const real *x, *bias;
    real *y;
    int panels, stretches; /* of a group's filters; of rows or pixels */
} output_work;

/* Where stretch `i` of `count` begins. */
static int stretch_at(int all, int count, int i) {
    return (int)((int64_t)all * i / count);
}

/* The product to the output's values from `at` on. */
static void output_product(const output_work *o, fv_product *p, ptrdiff_t at) {
    p->c = o->y + at;
    p->addend = o->d->addend ? o->d->addend + at : NULL;
    o->d->k->product(p);
}

static void output_row(const output_work *o, fv_product *p, const real *x, int filter, int row) {
    const fv_axis *a = o->d->g->axis;
    p->a = x +
           fv_conv_input_at(o->d->g, row / a[1].out * a[0].stride, row % a[1].out * a[1].stride, 0);
    output_product(o, p, (ptrdiff_t)row * a[2].out * o->d->g->filters + filter);
}

static void output_unit(void *argument, int unit, int thread) {
    const output_work *o = argument;
    const fv_conv_geometry *g = o->d->g;
    fv_product p = o->product;
    int width = o->d->k->panel, filters = group_filters(g), rows = g->axis[0].out * g->axis[1].out;
    int panel = unit / o->stretches, stretch = unit % o->stretches;
    int group = panel / o->panels, f = panel % o->panels * width, filter = group * filters + f;
    const real *x = o->x + (ptrdiff_t)group * group_channels(g);
    (void)thread;
    p.columns = filters - f < width ? filters - f : width;
    p.bias = o->bias ? o->bias + filter : NULL;
    p.b += (ptrdiff_t)panel * p.terms * p.depth * width;
    if (rows > 1) {
        for (int row = stretch_at(rows, o->stretches, stretch);
             row < stretch_at(rows, o->stretches, stretch + 1); row++)
            output_row(o, &p, x, filter, row);
        return;
    }
    int first = stretch_at(p.rows, o->stretches, stretch);
    p.rows = stretch_at(p.rows, o->stretches, stretch + 1) - first;
    p.a = x + first * p.a_row;
    output_product(o, &p, filter + first * p.c_row);
}

/* So many that each thread has several, and none less than a few rows' work. */
static int count_stretches(const fv_conv_direct *d, int panels) {
    const fv_axis *a = d->g->axis;
    int rows = a[0].out * a[1].out, most = rows > 1 ? rows : a[2].out / (2 * d->k->rows);
    int wanted = d->pool ? (UNITS_A_THREAD * fv_pool_threads(d->pool) + panels - 1) / panels : 1;
    return wanted < most ? wanted : most > 1 ? most : 1;
}

void fv_conv_sample_output(const fv_conv_direct *d, const real *x, const real *bias, bool relu,
                           real *y) {
    const fv_conv_geometry *g = d->g;
    if (g->depthwise) {
        fv_conv_depthwise_output(d, NULL, x, bias, relu, y);
        return;
    }
    int run = run_cells(g);
    output_work o = {.d = d,
                     .product = {.rows = g->axis[2].out,
                                 .depth = run * group_channels(g),
                                 .terms = (int)fv_conv_cells(g) / run,
                                 .a_offset = d->a_offset,
                                 .a_row = (ptrdiff_t)g->axis[2].stride * g->channels,
                                 .a_column = 1,
                                 .b = d->forward,
                                 .b_offset = d->b_offset,
                                 .b_row = d->k->panel,
                                 .c_row = g->filters,
                                 .relu = relu,
                                 .most = d->most},
                     .x = fv_conv_pad_input(g, d->pool, x, d->input_copy),
                     .bias = bias,
                     .y = y,
                     .panels = fv_panels(group_filters(g), d->k)};
    for (int t = 0; t < o.product.terms; t++) {
        d->a_offset[t] = cell_at(g, t * run);
        d->b_offset[t] = (ptrdiff_t)t * o.product.depth * d->k->panel;
    }
    o.stretches = count_stretches(d, g->groups * o.panels);
    fv_pool_run(d->pool, g->groups * o.panels * o.stretches, output_unit, &o);
}

/* ---- Input gradient -----------------------------------------------------------------------------
 */

/* The pixels of a row that see the same kernel cells. */
static void input_gradient_phase(const fv_conv_direct *d, fv_conv_phase *phase, const real *dy,
                                 const real *bias, bool relu, real *dx) {
    const fv_conv_geometry *g = d->g;
    int channels = group_channels(g), filters = group_filters(g);
    fv_conv_list_phase(g, (ptrdiff_t)back_cell(g, d->k), phase, d->a_offset, d->b_offset);
    fv_product p = {.rows = phase->pixels,
                    .depth = filters,
                    .terms = phase->terms,
                    .a_offset = d->a_offset,
                    .a_row = g->filter_row,
                    .a_column = 1,
                    .b_offset = d->b_offset,
                    .b_row = d->k->panel,
                    .c_row = (ptrdiff_t)g->axis[2].stride * g->channels,
                    .relu = relu};
    p.b = d->back;
    for (int group = 0; group < g->groups; group++) {
        p.a = dy + phase->dy + (ptrdiff_t)group * filters;
        for (int c = 0; c < channels; c += d->k->panel) {
            int channel = group * channels + c;
            p.columns = channels - c < d->k->panel ? channels - c : d->k->panel;
            p.bias = bias ? bias + channel : NULL;
            p.c = dx + phase->dx + channel;
            d->k->product(&p);
            p.b += (ptrdiff_t)filters * d->k->panel;
        }
    }
}

void fv_conv_sample_input_gradient(const fv_conv_direct *d, const real *dy, const real *bias,
                                   bool relu, real *dx) {
    const fv_axis *a = d->g->axis;
    int phases = a[2].stride < a[2].in ? a[2].stride : a[2].in;
    fv_conv_phase phase;
    for (phase.d = 0; phase.d < a[0].in; phase.d++)
        for (phase.h = 0; phase.h < a[1].in; phase.h++)
            for (phase.first = 0; phase.first < phases; phase.first++)
                if (d->g->depthwise)
                    fv_conv_depthwise_phase(d, &phase, dy, bias, relu, dx);
                else
                    input_gradient_phase(d, &phase, dy, bias, relu, dx);
}

/* ---- Weight gradient ----------------------------------------------------------------------------
 */

/* A block of output rows (their (d, h) counted through) and of pixels [w0, w0 + p->depth) in them.
 */
static void weight_gradient_block(const fv_conv_direct *d, fv_product *p, const real *x,
                                  const real *dy, int row0, int w0, real *dw) {
    const fv_conv_geometry *g = d->g;
    const fv_axis *a = g->axis;
    int run = run_cells(g), terms = (int)fv_conv_cells(g) / run;
    int channels = group_channels(g), filters = group_filters(g);
    for (int t = 0; t < p->terms; t++) {
        int i = (row0 + t) / a[1].out, j = (row0 + t) % a[1].out;
        d->a_offset[t] = fv_conv_input_at(g, i * a[0].stride, j * a[1].stride, w0 * a[2].stride);
        d->b_offset[t] = fv_conv_gradient_at(g, i, j, w0);
    }
    for (int t = 0; t < terms; t++)
        for (int group = 0; group < g->groups; group++) {
            p->a = x + cell_at(g, t * run) + (ptrdiff_t)group * channels;
            for (int f = 0; f < filters; f += d->k->panel) {
                p->columns = filters - f < d->k->panel ? filters - f : d->k->panel;
                p->b = dy + (ptrdiff_t)group * filters + f;
                p->c = dw + (ptrdiff_t)t * p->rows * g->filters + (ptrdiff_t)group * filters + f;
                d->k->product(p);
            }
        }
}

void fv_conv_sample_weight_gradient(const fv_conv_direct *d, const real *x, const real *dy,
                                    bool add, real *dw) {
    const fv_conv_geometry *g = d->g;
    const fv_axis *a = g->axis;
    if (g->depthwise) {
        fv_conv_depthwise_weight_gradient(d, x, dy, add, dw);
        return;
    }
    int rows = a[0].out * a[1].out;
    int width = a[2].out < ROW_PIXELS ? a[2].out : ROW_PIXELS;
    size_t pixel = (size_t)a[2].stride * (size_t)g->channels + (size_t)g->filter_row;
    size_t fit = BLOCK_BYTES / ((size_t)width * pixel * sizeof(real));
    int block = fit < 1 ? 1 : fit > BLOCK_ROWS ? BLOCK_ROWS : (int)fit;
    fv_product p = {.rows = run_cells(g) * group_channels(g),
                    .a_offset = d->a_offset,
                    .a_row = 1,
                    .a_column = (ptrdiff_t)a[2].stride * g->channels,
                    .b_offset = d->b_offset,
                    .b_row = g->filter_row,
                    .c_row = g->filters,
                    .add = add};
    for (int row = 0; row < rows; row += block)
        for (int w = 0; w < a[2].out; w += width) {
            p.terms = rows - row < block ? rows - row : block;
            p.depth = a[2].out - w < width ? a[2].out - w : width;
            weight_gradient_block(d, &p, x, dy, row, w, dw);
            p.add = true;
        }
}

void fv_conv_sample_bias_gradient(const fv_conv_direct *d, const real *dy, real *db) {
    const fv_conv_geometry *g = d->g;
    for (int i = 0; i < g->axis[0].out; i++)
        for (int j = 0; j < g->axis[1].out; j++)
            d->k->add_rows((size_t)g->axis[2].out, g->filters, g->filter_row,
                           dy + fv_conv_gradient_at(g, i, j, 0), db);
}

/* ---- As an algorithm of the layer conv ----------------------------------------------------------
 */

static void prepare(const fv_conv_geometry *g, const fv_setting *setting, fv_layer_plan *plan) {
    const fv_kernels *k = setting->kernels;
    plan->packed =
        fv_conv_direct_packed(g, k) + fv_conv_bias_count(g->filters, g->groups, k) * sizeof(real);
    plan->scratch = fv_conv_direct_scratch(g, k);
}

/* Behind the weights; NULL where there is none. */
static real *packed_bias(const fv_conv_geometry *g, const fv_call *call) {
    return call->weight_count > 1
               ? call->packed + fv_conv_direct_packed(g, call->kernels) / sizeof(real)
               : NULL;
}

static fv_conv_direct direct_of(const fv_conv_geometry *g, const fv_call *call) {
    return fv_conv_direct_open(g, call->kernels, call->packed, call->scratch);
}

static void pack(const fv_conv_geometry *g, const fv_call *call) {
    fv_conv_direct d = direct_of(g, call);
    fv_conv_direct_pack(&d, call->pool, call->weights[0]);
    if (call->weights[1])
        fv_conv_pack_bias(call->weights[1], g->filters, g->groups, call->kernels,
                          packed_bias(g, call));
}

static bool has_relu(const fv_call *call) {
    return call->activation == FV_RELU || call->activation == FV_RELU6;
}

/* Ready for the call's output. */
static fv_conv_direct output_of(const fv_conv_geometry *g, const fv_call *call) {
    fv_conv_direct d = direct_of(g, call);
    d.pool = call->pool;
    d.stride = call->scratch_stride;
    d.most = call->activation == FV_RELU6 ? 6 : 0;
    return d;
}

/* With the convolution before carried out too. */
static void forward_fed(const fv_conv_geometry *g, const fv_call *call) {
    const fv_call *before = call->feed;
    fv_conv_geometry own =
        fv_conv_geometry_of(before->options, before->in_shape[0], FV_CONV_OUTPUT, call->kernels);
    fv_conv_direct d = output_of(g, call);
    fv_conv_feed feed = {.d = output_of(&own, before),
                         .bias = packed_bias(&own, before),
                         .relu = has_relu(before),
                         .activation = has_relu(before) ? FV_LINEAR : before->activation,
                         .activation_constant = before->activation_constant};
    size_t in = fv_conv_input_count(&own), out = fv_conv_output_count(g);
    for (int s = 0; s < call->samples; s++) {
        feed.x = before->in[0] + (size_t)s * in;
        fv_conv_depthwise_output(&d, &feed, NULL, packed_bias(g, call), has_relu(call),
                                 call->out + (size_t)s * out);
    }
}

static void forward(const fv_conv_geometry *g, const fv_call *call) {
    if (call->feed) {
        forward_fed(g, call);
        return;
    }
    fv_conv_direct d = output_of(g, call);
    size_t in = fv_conv_input_count(g), out = fv_conv_output_count(g);
    for (int s = 0; s < call->samples; s++) {
        d.addend = call->addend ? call->addend + (size_t)s * out : NULL;
        fv_conv_sample_output(&d, call->in[0] + (size_t)s * in, packed_bias(g, call),
                              has_relu(call), call->out + (size_t)s * out);
    }
}

static void backward(const fv_conv_geometry *g, const fv_call *call) {
    fv_conv_direct d = direct_of(g, call);
    size_t in = fv_conv_input_count(g), out = fv_conv_output_count(g);
    real *dw = call->weight_gradients[0], *db = call->weight_gradients[1];
    if (call->first && db)
        memset(db, 0, (size_t)g->filters * sizeof(real));
    for (size_t s = 0; s < (size_t)call->samples; s++) {
        const real *dy = fv_conv_border_gradient(g, call->out_gradient + s * out, d.gradient_copy);
        if (dw)
            fv_conv_sample_weight_gradient(
                &d, fv_conv_pad_input(g, NULL, call->in[0] + s * in, d.input_copy), dy,
                s > 0 || !call->first, dw);
        if (db)
            fv_conv_sample_bias_gradient(&d, dy, db);
        if (call->in_gradient[0])
            fv_conv_sample_input_gradient(&d, dy, NULL, false, call->in_gradient[0] + s * in);
    }
}

const fv_conv_algorithm fv_conv_by_products = {prepare, pack, forward, backward};
