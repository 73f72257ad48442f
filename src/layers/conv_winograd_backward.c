/* The backward pass of conv_winograd.c, in chunks of tiles: the points of the output's gradient and
 * of the input, then the kernels' gradient (threads own blocks of it), then the input's gradient
 * (threads own channels). Sums run over the chunks in order. */
#include "layers/conv_winograd.h"
#include <string.h>

enum { TILES_A_UNIT = 4 }; /* speed only */

static const int at_tile[2] = {0, 0};

/* ---- The output gradient's points ---------------------------------------------------------------
 */

static void gradients_unit(void *argument, int unit, int thread) {
    const fv_winograd_pass *p = argument;
    const fv_winograd *w = &p->w;
    const int picture[2] = {p->g->axis[1].out, p->g->axis[2].out};
    (void)thread;
    int end = (unit + 1) * TILES_A_UNIT < p->count ? (unit + 1) * TILES_A_UNIT : p->count;
    for (int t = unit * TILES_A_UNIT; t < end; t++) {
        ptrdiff_t at;
        fv_patch tile =
            fv_winograd_patch(w, p->first + t, w->form->tile, at_tile, picture, w->filters, &at);
        w->form->output_back(&tile, p->call->out_gradient + at, p->z + t * w->output.row,
                             w->output.step);
    }
}

/* ---- The kernels' gradient ----------------------------------------------------------------------
 */

/* sums (+)= v' z at point e, for channels [c, c + rows) and filters [f, f + columns). */
static void weight_product(const fv_winograd_pass *p, int e, int c, int rows, int f, int columns,
                           real *sums, ptrdiff_t sums_row, bool add) {
    const fv_winograd *w = &p->w;
    const ptrdiff_t zero = 0;
    fv_product product = {.rows = rows,
                          .depth = p->count,
                          .terms = 1,
                          .a = p->v + e * w->input.step + c,
                          .a_offset = &zero,
                          .a_row = 1,
                          .a_column = w->input.row,
                          .b_offset = &zero,
                          .b_row = w->output.row,
                          .c_row = sums_row,
                          .add = add};
    for (int j = 0; j < columns; j += w->k->panel) {
        product.columns = columns - j < w->k->panel ? columns - j : w->k->panel;
        product.b = p->z + e * w->output.step + f + j;
        product.c = sums + j;
        w->k->product(&product);
    }
}

static void weights_back(const fv_winograd_pass *p, int c, int count, int f, int columns,
                         fv_points points, const real *sums, bool add) {
    fv_winograd_kernels at = fv_winograd_block(&p->w, count, columns, points);
    p->w.form->weights_back(&at, sums, add,
                            p->call->weight_gradients[0] + (ptrdiff_t)c * p->w.filters + f);
}

/* Over the batch, a block of channels x two panels of filters, all points, and at once back to the
 * kernels. */
static void weights_unit(void *argument, int unit, int thread) {
    const fv_winograd_pass *p = argument;
    const fv_winograd *w = &p->w;
    int width = 2 * w->k->panel, across = (w->filters + width - 1) / width;
    int c = unit / across * w->block, f = unit % across * width;
    int count = w->channels - c < w->block ? w->channels - c : w->block;
    int columns = w->filters - f < width ? w->filters - f : width;
    real *sums = fv_winograd_scratch(p, thread);
    for (int e = 0; e < FV_WINOGRAD_ALL; e++)
        weight_product(p, e, c, count, f, columns, sums + e * w->sums.step, w->sums.row, false);
    weights_back(p, c, count, f, columns, w->sums, sums, p->first > 0);
}

/* ---- The input's gradient -----------------------------------------------------------------------
 */

/* made (+)= z U' at point e, for filters [f, f + depth) and the channels of a panel. */
static void input_product(const fv_winograd_pass *p, int e, int columns, int f, int depth,
                          const real *b, real *made, ptrdiff_t made_row) {
    const fv_winograd *w = &p->w;
    const ptrdiff_t zero = 0;
    fv_product product = {.rows = p->count,
                          .columns = columns,
                          .depth = depth,
                          .terms = 1,
                          .a = p->z + e * w->output.step + f,
                          .a_offset = &zero,
                          .a_row = w->output.row,
                          .a_column = 1,
                          .b = b,
                          .b_offset = &zero,
                          .b_row = w->k->panel,
                          .c = made,
                          .c_row = made_row,
                          .add = f > 0};
    w->k->product(&product);
}

/* The kernels of channels [c, c + count), turned on the way. */
static void made_products(const fv_winograd_pass *p, int c, int count, real *made, real *scratch) {
    const fv_winograd *w = &p->w;
    fv_points plain = {.row = FV_WINOGRAD_DEPTH, .step = w->kernel_turned.step};
    real *turned = scratch + fv_points_count(plain, w->k->panel);
    for (int f = 0; f < w->filters; f += FV_WINOGRAD_DEPTH) {
        int depth = w->filters - f < FV_WINOGRAD_DEPTH ? w->filters - f : FV_WINOGRAD_DEPTH;
        fv_winograd_make_kernels(p, c, count, f, depth, plain, scratch);
        for (int e = 0; e < FV_WINOGRAD_ALL; e++) {
            real *b = turned + e * w->kernel_turned.step;
            w->k->pack(scratch + e * plain.step, plain.row, true, depth, count, b);
            input_product(p, e, count, f, depth, b, made + e * w->made.step, w->made.row);
        }
    }
}

static void add_patches(const fv_winograd_pass *p, int c, int count, const real *made,
                        fv_points points) {
    const fv_winograd *w = &p->w;
    const fv_axis *axis = p->g->axis;
    const int before[2] = {axis[1].before, axis[2].before}, picture[2] = {axis[1].in, axis[2].in};
    for (int t = 0; t < p->count; t++) {
        ptrdiff_t at;
        fv_patch patch = fv_winograd_patch(w, p->first + t, FV_WINOGRAD_POINTS, before, picture,
                                           w->channels, &at);
        patch.channels = count;
        w->k->winograd_input_back(&patch, made + t * points.row, points.step,
                                  p->call->in_gradient[0] + at + c);
    }
}

static void inputs_unit(void *argument, int panel, int thread) {
    const fv_winograd_pass *p = argument;
    const fv_winograd *w = &p->w;
    int c = panel * w->k->panel;
    int count = w->channels - c < w->k->panel ? w->channels - c : w->k->panel;
    real *made = fv_winograd_scratch(p, thread);
    made_products(p, c, count, made, made + fv_points_count(w->made, w->chunk));
    add_patches(p, c, count, made, w->made);
}

/* ---- Sample by sample ---------------------------------------------------------------------------
 */

/* Both gradients point after point, while a point's arrays are in the first cache. The input
 * gradient's points take the place of the input's, which have done their work. */
static void run_points(const fv_winograd_pass *p) {
    const fv_winograd *w = &p->w;
    ptrdiff_t kernels = (ptrdiff_t)w->channels * w->filters;
    bool inputs = p->call->in_gradient[0] != NULL;
    for (int e = 0; e < FV_WINOGRAD_ALL; e++) {
        real *made = p->v + e * w->input.step;
        const real *b = p->back + e * (ptrdiff_t)fv_winograd_back_point(w);
        if (p->sums)
            weight_product(p, e, 0, w->channels, 0, w->filters, p->sums + e * kernels, w->filters,
                           !p->call->first || p->first > 0);
        for (int c = 0; inputs && c < w->channels; c += w->k->panel) {
            int count = w->channels - c < w->k->panel ? w->channels - c : w->k->panel;
            input_product(p, e, count, 0, w->filters, b + (ptrdiff_t)c * w->filters, made + c,
                          w->input.row);
        }
    }
    if (inputs)
        add_patches(p, 0, w->channels, p->v, w->input);
}

/* ---- Bias, and the whole ------------------------------------------------------------------------
 */

/* A sample's sums over its pixels, and the input's gradient made zero. */
static void begin_sample(void *argument, int sample, int thread) {
    const fv_winograd_pass *p = argument;
    const fv_call *call = p->call;
    (void)thread;
    size_t inputs = fv_conv_input_count(p->g), outputs = fv_conv_output_count(p->g);
    size_t filters = (size_t)p->w.filters;
    if (call->in_gradient[0])
        memset(call->in_gradient[0] + (size_t)sample * inputs, 0, inputs * sizeof(real));
    if (!call->weight_gradients[1])
        return;
    real *sums = call->weight_gradients[1];
    if (p->w.whole_batch)
        sums = (real *)call->shared + fv_points_count(p->w.input, p->w.chunk) +
               fv_points_count(p->w.output, p->w.chunk) + (size_t)sample * filters;
    if (p->w.whole_batch || (call->first && sample == 0))
        memset(sums, 0, filters * sizeof(real));
    p->w.k->add_rows(outputs / filters, p->w.filters, p->w.filters,
                     call->out_gradient + (size_t)sample * outputs, sums);
}

static void add_bias(const fv_winograd_pass *p) {
    const fv_call *call = p->call;
    const real *sums = p->z + fv_points_count(p->w.output, p->w.chunk);
    memset(call->weight_gradients[1], 0, (size_t)p->w.filters * sizeof(real));
    p->w.k->add_rows((size_t)call->samples, p->w.filters, p->w.filters, sums,
                     call->weight_gradients[1]);
}

static void run_chunk(fv_winograd_pass *p, fv_pool *pool) {
    int width = 2 * p->w.k->panel, across = (p->w.filters + width - 1) / width;
    int blocks = (p->w.channels + p->w.block - 1) / p->w.block;
    fv_pool_run(pool, (p->count + TILES_A_UNIT - 1) / TILES_A_UNIT, gradients_unit, p);
    if (p->call->weight_gradients[0])
        fv_winograd_transform_inputs(p, pool);
    if (!p->w.whole_batch) {
        run_points(p);
        return;
    }
    if (p->call->weight_gradients[0])
        fv_pool_run(pool, blocks * across, weights_unit, p);
    if (p->call->in_gradient[0])
        fv_pool_run(pool, fv_panels(p->w.channels, p->w.k), inputs_unit, p);
}

void fv_winograd_backward(const fv_conv_geometry *g, const fv_call *call) {
    fv_winograd_pass p = fv_winograd_open(g, call);
    int tiles = p.w.rows * p.w.columns * call->samples;
    fv_pool *pool = p.w.whole_batch ? call->pool : NULL;
    fv_pool_run(pool, call->samples, begin_sample, &p);
    if (p.w.whole_batch && call->weight_gradients[1])
        add_bias(&p);
    for (p.first = 0; p.first < tiles; p.first += p.w.chunk) {
        p.count = tiles - p.first < p.w.chunk ? tiles - p.first : p.w.chunk;
        run_chunk(&p, pool);
    }
    if (call->last && p.sums) {
        fv_points points = {.row = p.w.filters, .step = (ptrdiff_t)p.w.channels * p.w.filters};
        weights_back(&p, 0, p.w.channels, 0, p.w.filters, points, p.sums, false);
    }
}
