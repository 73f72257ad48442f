/* The forward pass of conv_winograd.c: chunks of tiles go through in two steps, the points of the
 * inputs, then for each group of filters the 36 products and the outputs. Threads share a chunk, or
 * take chunks of their own where there are many. No number depends on it. */
#include "layers/conv_winograd.h"

enum {
    TILES_A_UNIT = 4,    /* speed only, all */
    CHUNKS_A_THREAD = 4, /* fewer are shared */
    PRODUCT_DEPTH = 256, /* of one product with packed kernels, to stay in the first cache */
    UNITS_A_THREAD = 3,  /* of a chunk's outputs */
};

/* ---- The inputs' points -------------------------------------------------------------------------
 */

static void inputs_unit(void *argument, int unit, int thread) {
    const fv_winograd_pass *p = argument;
    const fv_axis *axis = p->g->axis;
    const int before[2] = {axis[1].before, axis[2].before}, picture[2] = {axis[1].in, axis[2].in};
    (void)thread;
    int end = (unit + 1) * TILES_A_UNIT < p->count ? (unit + 1) * TILES_A_UNIT : p->count;
    for (int t = unit * TILES_A_UNIT; t < end; t++) {
        ptrdiff_t at;
        fv_patch patch = fv_winograd_patch(&p->w, p->first + t, FV_WINOGRAD_POINTS, before, picture,
                                           p->w.channels, &at);
        p->w.k->winograd_input(&patch, p->call->in[0] + at, p->v + t * p->w.input.row,
                               p->w.input.step);
    }
}

void fv_winograd_transform_inputs(fv_winograd_pass *p, fv_pool *pool) {
    fv_pool_run(pool, (p->count + TILES_A_UNIT - 1) / TILES_A_UNIT, inputs_unit, p);
}

/* ---- Products and outputs -----------------------------------------------------------------------
 */

/* Tiles [first, first + count) of the chunk, filters [f, f + columns). */
typedef struct output_unit {
    const fv_winograd_pass *p;
    int first, count, f, columns;
    real *made; /* their points */
} output_unit;

/* made (+)= v U for channels [c, c + depth), whose kernels are at `b`. */
static void add_products(const output_unit *o, int c, int depth, const real *b, ptrdiff_t b_step,
                         ptrdiff_t b_row, ptrdiff_t b_panel) {
    const fv_winograd *w = &o->p->w;
    const ptrdiff_t zero = 0;
    fv_product product = {.rows = o->count,
                          .depth = depth,
                          .terms = 1,
                          .a_offset = &zero,
                          .a_row = w->input.row,
                          .a_column = 1,
                          .b_offset = &zero,
                          .b_row = b_row,
                          .c_row = w->made.row,
                          .add = c > 0};
    for (int e = 0; e < FV_WINOGRAD_ALL; e++)
        for (int j = 0; j < o->columns; j += w->k->panel) {
            product.columns = o->columns - j < w->k->panel ? o->columns - j : w->k->panel;
            product.a = o->p->v + e * w->input.step + o->first * w->input.row + c;
            product.b = b + e * b_step + j / w->k->panel * b_panel;
            product.c = o->made + e * w->made.step + j;
            w->k->product(&product);
        }
}

static void make_products(const output_unit *o, real *kernels) {
    const fv_winograd_pass *p = o->p;
    const fv_winograd *w = &p->w;
    int most = p->forward ? PRODUCT_DEPTH : FV_WINOGRAD_DEPTH;
    for (int c = 0; c < w->channels; c += most) {
        int depth = w->channels - c < most ? w->channels - c : most;
        if (p->forward) {
            add_products(o, c, depth,
                         p->forward + (ptrdiff_t)o->f * w->channels + (ptrdiff_t)c * w->k->panel,
                         (ptrdiff_t)fv_winograd_forward_point(w), w->k->panel,
                         (ptrdiff_t)w->k->panel * w->channels);
        } else {
            fv_winograd_make_kernels(p, c, depth, o->f, o->columns, w->kernel, kernels);
            add_products(o, c, depth, kernels, w->kernel.step, w->kernel.row, w->k->panel);
        }
    }
}

static void transform_outputs(const output_unit *o) {
    const fv_winograd_pass *p = o->p;
    const fv_winograd *w = &p->w;
    const fv_axis *axis = p->g->axis;
    const int before[2] = {0, 0}, picture[2] = {axis[1].out, axis[2].out};
    bool relu = p->call->activation == FV_RELU;
    for (int t = 0; t < o->count; t++) {
        ptrdiff_t at;
        fv_patch tile = fv_winograd_patch(w, p->first + o->first + t, w->form->tile, before,
                                          picture, w->filters, &at);
        tile.channels = o->columns;
        w->form->output(
            &tile, o->made + t * w->made.row, w->made.step, p->bias ? p->bias + o->f : NULL,
            p->call->addend ? p->call->addend + at + o->f : NULL, relu, p->call->out + at + o->f);
    }
}

static void outputs_unit(void *argument, int unit, int thread) {
    const fv_winograd_pass *p = argument;
    const fv_winograd *w = &p->w;
    int width = w->group * w->k->panel, f = unit / p->parts * width, part = unit % p->parts;
    output_unit o = {.p = p,
                     .first = (int)((int64_t)p->count * part / p->parts),
                     .f = f,
                     .columns = w->filters - f < width ? w->filters - f : width,
                     .made = fv_winograd_scratch(p, thread)};
    o.count = (int)((int64_t)p->count * (part + 1) / p->parts) - o.first;
    make_products(&o, o.made + fv_points_count(w->made, w->chunk));
    transform_outputs(&o);
}

/* Filters are shared, and tiles too where there are few filters for many threads. */
static void run_chunk(fv_winograd_pass *p, fv_pool *pool) {
    int width = p->w.group * p->w.k->panel, groups = (p->w.filters + width - 1) / width;
    int wanted = pool ? (UNITS_A_THREAD * fv_pool_threads(pool) + groups - 1) / groups : 1;
    int most = p->count / (2 * p->w.k->rows);
    p->parts = wanted < most ? wanted : most > 1 ? most : 1;
    fv_winograd_transform_inputs(p, pool);
    fv_pool_run(pool, groups * p->parts, outputs_unit, p);
}

/* ---- Chunks -------------------------------------------------------------------------------------
 */

static int tile_count(const fv_winograd_pass *p) {
    return p->w.rows * p->w.columns * p->call->samples;
}

static void choose_chunk(fv_winograd_pass *p, int chunk) {
    int left = tile_count(p) - chunk * p->w.chunk;
    p->first = chunk * p->w.chunk;
    p->count = left < p->w.chunk ? left : p->w.chunk;
}

/* By one thread, in memory of its own: it poses as the caller. */
static void own_chunk(void *argument, int chunk, int thread) {
    fv_winograd_pass p = *(const fv_winograd_pass *)argument;
    fv_call call = *p.call;
    call.scratch += (size_t)thread * call.scratch_stride;
    p.call = &call;
    p.v = (real *)call.scratch;
    choose_chunk(&p, chunk);
    run_chunk(&p, NULL);
}

void fv_winograd_forward(const fv_conv_geometry *g, const fv_call *call) {
    fv_winograd_pass p = fv_winograd_open(g, call);
    int chunks = (tile_count(&p) + p.w.chunk - 1) / p.w.chunk;
    if (!p.w.whole_batch && call->pool && chunks >= CHUNKS_A_THREAD * fv_pool_threads(call->pool)) {
        fv_pool_run(call->pool, chunks, own_chunk, &p);
        return;
    }
    for (int chunk = 0; chunk < chunks; chunk++) {
        choose_chunk(&p, chunk);
        run_chunk(&p, call->pool);
    }
}
