/* Convolution with 3x3 or 5x5 kernels in the plane by Winograd's F(4x4, 3x3) and F(2x2, 5x5): 36
 * products of transformed tiles in place of 144 or 100, and both gradients by the exact transpose
 * on the same tiles (formulas in kernels/winograd.c). Rounds a little differently from the direct
 * algorithm (about 1e-6 of the largest value). Two ways through the same code:
 *   - sample by sample, with the kernels' points packed before the run: inference, and training
 *     where those points stay in a thread's cache;
 *   - over the whole batch, where they would not: tiles of all samples go through in chunks that
 *     all threads share, and each thread makes the points of its kernels on the way, uses them for
 *     the whole chunk, and forgets them. Nothing is packed, and nothing summed apart.
 * Here is the choice between them and the direct algorithm, the sizes, and the packing. Called by
 * conv.c. */
#include "layers/conv_winograd.h"

enum {
    SCRATCH_BYTES = 512 << 10, /* speed only: what a thread makes at a time */
    SAMPLE_LOW = 256 << 10,    /* speed only: points of a thread's chunk: half of the kernels', */
    SAMPLE_HIGH = 4 << 20,     /* ... within these bounds */
    BATCH_BYTES = 12 << 20,    /* speed only: points of a chunk that all threads share */
    STAY_BYTES = 1 << 20,      /* speed only: kernels' points that stay in a thread's cache */
    LINE = 64 / sizeof(real),
    WEIGHT_ROWS = 48, /* speed only: channels of a unit of the weight gradient */
};

/* ---- Sizes, in reals --------------------------------------------------------------------------
 */

/* Rows that are not a multiple of many lines apart, and points an odd number of lines: a column of
 * rows, or of points, then lies in many sets of the first cache. */
static fv_points spread(int width, int rows) {
    fv_points p = {.row = width % (8 * LINE) == 0 ? width + LINE : width};
    ptrdiff_t lines = (rows * p.row + LINE - 1) / LINE;
    p.step = (lines + (lines % 2 == 0)) * LINE;
    return p;
}

size_t fv_points_count(fv_points points, int rows) {
    return (size_t)(FV_WINOGRAD_ALL - 1) * (size_t)points.step + (size_t)rows * (size_t)points.row;
}

static int64_t kernel_bytes(const fv_conv_geometry *g) {
    return (int64_t)FV_WINOGRAD_ALL * g->channels * g->filters * (int64_t)sizeof(real);
}

static int choose_chunk(const fv_conv_geometry *g, const fv_winograd *w, int64_t tiles) {
    int64_t tile = FV_WINOGRAD_ALL * (int64_t)sizeof(real), bytes = BATCH_BYTES;
    if (!w->whole_batch) {
        bytes = kernel_bytes(g) / 2;
        bytes = bytes < SAMPLE_LOW ? SAMPLE_LOW : bytes > SAMPLE_HIGH ? SAMPLE_HIGH : bytes;
    }
    int64_t fit = bytes / (tile * (g->channels + (w->whole_batch ? g->filters : 0)));
    fit = fit < 2 * w->k->rows ? 2 * w->k->rows : fit;
    int64_t chunks = (tiles + fit - 1) / fit;
    return (int)((tiles + chunks - 1) / chunks);
}

fv_winograd fv_winograd_measure(const fv_conv_geometry *g, const fv_setting *setting,
                                bool whole_batch) {
    const fv_kernels *k = setting->kernels;
    const fv_winograd_form *form = k->winograd[g->axis[1].kernel == 5];
    fv_winograd w = {.k = k,
                     .form = form,
                     .whole_batch = whole_batch,
                     .rows = (g->axis[1].out + form->tile - 1) / form->tile,
                     .columns = (g->axis[2].out + form->tile - 1) / form->tile,
                     .channels = g->channels,
                     .filters = g->filters};
    int panels = fv_panels(g->filters, k);
    w.chunk = choose_chunk(g, &w, (int64_t)w.rows * w.columns * setting->batch);
    int64_t panel_bytes = FV_WINOGRAD_ALL * (int64_t)w.chunk * k->panel * (int64_t)sizeof(real);
    w.group = panels > 1 && 2 * panel_bytes <= SCRATCH_BYTES ? 2 : 1;
    w.block = WEIGHT_ROWS / k->rows * k->rows;
    w.input = spread(g->channels, w.chunk);
    w.output = spread(g->filters, w.chunk);
    w.made = spread(w.group * k->panel, w.chunk);
    w.kernel = spread(w.group * k->panel, FV_WINOGRAD_DEPTH);
    w.kernel_turned = spread(k->panel, FV_WINOGRAD_DEPTH);
    w.sums = spread(2 * k->panel, w.block);
    return w;
}

size_t fv_winograd_forward_point(const fv_winograd *w) {
    return (size_t)fv_panels(w->filters, w->k) * (size_t)w->k->panel * (size_t)w->channels;
}

size_t fv_winograd_back_point(const fv_winograd *w) {
    return (size_t)fv_panels(w->channels, w->k) * (size_t)w->k->panel * (size_t)w->filters;
}

static size_t kernel_count(const fv_winograd *w) {
    return (size_t)w->channels * (size_t)w->filters;
}

/* ---- Whether it pays ---------------------------------------------------------------------------
 *
 * Both algorithms as multiply-adds a sample, for each pair of channel and filter: those that they
 * do, and those that could be done while their weights are read. A sample that goes by itself reads
 * all of them in each pass, so that small maps are bound by the 36 weights for 9: those of many
 * channels do not stay in the cache. What it costs to read was measured, see docs/performance.md.
 */

enum {
    READ_CACHED = 2, /* speed only, all: multiply-adds in the time of reading a weight */
    READ_MEMORY = 16,
    CACHED_BYTES = 8 << 20, /* weights of a layer that stay in the last cache */
    TRANSFORM = 18,         /* multiply-adds for a point of one channel's or filter's tile */
    MAKE_KERNELS = 12,      /* ... of a kernel, in each of three passes over a chunk */
};

static int passes(const fv_conv_geometry *g) {
    return 1 + !!(g->uses & FV_CONV_INPUT_GRADIENT) + !!(g->uses & FV_CONV_WEIGHT_GRADIENT);
}

/* Of `values` weights for each pair, each used in `steps` places a pass. */
static double pair_cost(const fv_conv_geometry *g, const fv_setting *setting, int values,
                        double steps) {
    double pairs = (double)g->channels * g->filters;
    bool stay = pairs * values * (double)sizeof(real) <= CACHED_BYTES;
    /* The weight gradient's sums are read and written. */
    int reads = passes(g) + !!(g->uses & FV_CONV_WEIGHT_GRADIENT);
    /* Training packs them before each batch. */
    double packing = setting->training ? (double)passes(g) / setting->batch : 0;
    return values * (steps * passes(g) + (stay ? READ_CACHED : READ_MEMORY) * (reads + packing));
}

static bool wants_whole_batch(const fv_conv_geometry *g, const fv_setting *setting) {
    if (setting->forced == FV_WINOGRAD || !setting->training)
        return false;
    return setting->forced == FV_WINOGRAD_BATCH || kernel_bytes(g) > STAY_BYTES;
}

static bool pays(const fv_conv_geometry *g, const fv_setting *setting) {
    fv_winograd w = fv_winograd_measure(g, setting, wants_whole_batch(g, setting));
    double tiles = (double)w.rows * w.columns, places = (double)g->axis[1].out * g->axis[2].out;
    double steps = tiles + TRANSFORM * tiles * (1. / g->channels + 1. / g->filters);
    double direct = pair_cost(g, setting, w.form->kernel * w.form->kernel, places);
    if (!w.whole_batch)
        return pair_cost(g, setting, FV_WINOGRAD_ALL, steps) < direct;
    double chunks = tiles / w.chunk;
    return FV_WINOGRAD_ALL * passes(g) * (steps + MAKE_KERNELS * chunks) < direct;
}

/* Whole vectors of channels and filters, and not so many that the points fill the memory. */
static bool can_do(const fv_conv_geometry *g, const fv_setting *setting) {
    int vector = setting->kernels->vector;
    const fv_axis *h = &g->axis[1], *w = &g->axis[2];
    if (g->axis[0].in != 1 || g->axis[0].out != 1 || g->axis[0].kernel != 1 || g->groups != 1)
        return false;
    if ((h->kernel != 3 && h->kernel != 5) || w->kernel != h->kernel || h->stride != 1 ||
        w->stride != 1 || h->dilation != 1 || w->dilation != 1)
        return false;
    if (g->channels % vector || g->filters % vector || g->channels < 16 || g->filters < 16)
        return false;
    return (int64_t)g->channels * g->filters <= 1 << 20 &&
           (int64_t)h->out * w->out * setting->batch <= INT32_MAX;
}

bool fv_conv_winograd_fits(const fv_conv_geometry *g, const fv_setting *setting) {
    if (setting->exact || setting->forced == FV_DIRECT || !can_do(g, setting))
        return false;
    return setting->forced != FV_ANY_ALGORITHM || pays(g, setting);
}

/* ---- Memory -------------------------------------------------------------------------------------
 */

/* Points of a chunk: of the input, and in training of the output's gradient. */
static size_t chunk_count(const fv_winograd *w, const fv_setting *setting) {
    return fv_points_count(w->input, w->chunk) +
           (setting->training ? fv_points_count(w->output, w->chunk) : 0);
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

size_t fv_winograd_scratch_count(const fv_winograd *w, const fv_setting *setting) {
    size_t made = fv_points_count(w->made, w->chunk);
    size_t kernel = fv_points_count(w->kernel, FV_WINOGRAD_DEPTH);
    if (!w->whole_batch)
        return made;
    size_t turned = fv_points_count((fv_points){FV_WINOGRAD_DEPTH, w->kernel_turned.step},
                                    w->k->panel) + /* before they are turned */
                    fv_points_count(w->kernel_turned, FV_WINOGRAD_DEPTH);
    size_t forward = made + kernel;
    if (!setting->training)
        return forward;
    return larger(larger(forward, made + turned), fv_points_count(w->sums, w->block));
}

/* A panel's kernels before they are turned: [36][panel of channels][filters]. */
static size_t pack_room(const fv_winograd *w) {
    return (size_t)FV_WINOGRAD_ALL * (size_t)w->k->panel * (size_t)w->filters;
}

static void prepare(const fv_conv_geometry *g, const fv_setting *setting, fv_layer_plan *plan) {
    plan->whole_batch = wants_whole_batch(g, setting);
    fv_winograd w = fv_winograd_measure(g, setting, plan->whole_batch);
    size_t points = FV_WINOGRAD_ALL, chunk = chunk_count(&w, setting);
    plan->scratch = fv_winograd_scratch_count(&w, setting);
    if (w.whole_batch) {
        plan->spent[0] = plan->spent[1] = false;
        plan->shared = chunk + (size_t)setting->batch * (size_t)w.filters; /* bias sums */
    } else {
        /* Kernels in panels, the bias, turned panels. */
        plan->packed = points * fv_winograd_forward_point(&w) + (size_t)w.filters;
        plan->scratch += chunk;
        if (g->uses & FV_CONV_WEIGHT_GRADIENT)
            plan->held = points * kernel_count(&w) * sizeof(real);
        if (setting->input_gradient) {
            plan->packed += points * fv_winograd_back_point(&w);
            plan->scratch = larger(plan->scratch, pack_room(&w));
        }
    }
    plan->packed *= sizeof(real);
    plan->scratch *= sizeof(real);
    plan->shared *= sizeof(real);
}

/* ---- Packing ------------------------------------------------------------------------------------
 */

/* One panel of filters: [36][panel][channels][a panel's filters]. */
static void pack_forward(void *argument, int panel, int thread) {
    const fv_winograd_pass *p = argument;
    const fv_winograd *w = &p->w;
    (void)thread;
    int f = panel * w->k->panel;
    int columns = w->filters - f < w->k->panel ? w->filters - f : w->k->panel;
    fv_points to = {.row = w->k->panel, .step = (ptrdiff_t)fv_winograd_forward_point(w)};
    fv_winograd_make_kernels(p, 0, w->channels, f, columns, to,
                             (real *)(uintptr_t)p->forward + (ptrdiff_t)f * w->channels);
}

/* One panel of channels, turned: [36][panel][filters][a panel's channels]. */
static void pack_back(void *argument, int panel, int thread) {
    const fv_winograd_pass *p = argument;
    const fv_winograd *w = &p->w;
    int c = panel * w->k->panel;
    int count = w->channels - c < w->k->panel ? w->channels - c : w->k->panel;
    real *points = (real *)(p->call->scratch + (size_t)thread * p->call->scratch_stride);
    real *to = (real *)(uintptr_t)p->back + (ptrdiff_t)c * w->filters;
    fv_points made = {.row = w->filters, .step = (ptrdiff_t)count * w->filters};
    fv_winograd_make_kernels(p, c, count, 0, w->filters, made, points);
    for (int e = 0; e < FV_WINOGRAD_ALL; e++)
        w->k->pack(points + e * made.step, made.row, true, w->filters, count,
                   to + (size_t)e * fv_winograd_back_point(w));
}

static void pack(const fv_conv_geometry *g, const fv_call *call) {
    if (call->plan->whole_batch)
        return;
    fv_winograd_pass p = fv_winograd_open(g, call);
    real *bias = (real *)(uintptr_t)p.bias;
    for (int f = 0; f < p.w.filters; f++)
        bias[f] = call->weights[1] ? call->weights[1][f] : 0;
    fv_pool_run(call->pool, fv_panels(p.w.filters, p.w.k), pack_forward, &p);
    if (call->setting->input_gradient)
        fv_pool_run(call->pool, fv_panels(p.w.channels, p.w.k), pack_back, &p);
}

/* ---- Shared by both passes ----------------------------------------------------------------------
 */

fv_winograd_pass fv_winograd_open(const fv_conv_geometry *g, const fv_call *call) {
    fv_winograd_pass p = {
        .g = g, .call = call, .w = fv_winograd_measure(g, call->setting, call->plan->whole_batch)};
    p.v = (real *)(p.w.whole_batch ? call->shared : call->scratch);
    p.z = p.v + fv_points_count(p.w.input, p.w.chunk);
    if (p.w.whole_batch) {
        p.bias = call->weights[1];
        return p;
    }
    p.forward = call->packed;
    p.bias = p.forward + (size_t)FV_WINOGRAD_ALL * fv_winograd_forward_point(&p.w);
    p.back = p.bias + p.w.filters;
    p.sums = call->weight_gradients[0] ? (real *)call->held : NULL;
    return p;
}

real *fv_winograd_scratch(const fv_winograd_pass *p, int thread) {
    real *own = (real *)(p->call->scratch + (size_t)thread * p->call->scratch_stride);
    return p->w.whole_batch ? own : own + chunk_count(&p->w, p->call->setting);
}

fv_winograd_kernels fv_winograd_block(const fv_winograd *w, int channels, int filters,
                                      fv_points points) {
    return (fv_winograd_kernels){.channels = channels,
                                 .filters = filters,
                                 .cell = (ptrdiff_t)w->channels * w->filters,
                                 .row = w->filters,
                                 .step = points.step,
                                 .points_row = points.row};
}

void fv_winograd_make_kernels(const fv_winograd_pass *p, int c, int count, int f, int columns,
                              fv_points to, real *points) {
    fv_winograd_kernels at = fv_winograd_block(&p->w, count, columns, to);
    p->w.form->weights(&at, p->call->weights[0] + (ptrdiff_t)c * p->w.filters + f, points);
}

/* Cells [0, size) from `start` on of an axis of the picture: those that it has, *at the first. */
static void clip(int start, int size, int picture, int *first, int *end, int *at) {
    *first = start < 0 ? -start : 0;
    *end = picture - start < size ? picture - start : size;
    if (*end <= *first)
        *first = *end = 0;
    *at = *end > *first ? start + *first : 0;
}

fv_patch fv_winograd_patch(const fv_winograd *w, int t, int size, const int before[2],
                           const int picture[2], int channels, ptrdiff_t *at) {
    int tiles = w->rows * w->columns, sample = t / tiles, row, column;
    fv_patch p = {.row = (ptrdiff_t)picture[1] * channels, .pixel = channels, .channels = channels};
    clip(t % tiles / w->columns * w->form->tile - before[0], size, picture[0], &p.first_row,
         &p.end_row, &row);
    clip(t % w->columns * w->form->tile - before[1], size, picture[1], &p.first_column,
         &p.end_column, &column);
    *at = ((ptrdiff_t)sample * picture[0] + row) * p.row + (ptrdiff_t)column * channels;
    return p;
}

const fv_conv_algorithm fv_conv_by_winograd = {prepare, pack, fv_winograd_forward,
                                               fv_winograd_backward};
