/* The output of a depthwise convolution. A unit is a block of channels over a strip of output rows,
 * and takes the input rows that its kernel sees through a window in the first cache: a ring of
 * rows with the border's zeros around them, each pixel's channels of the block side by side. The
 * rows are copied from the input, or computed where a 1x1 convolution makes them and nobody else
 * reads them (fv_conv_feed): then its output, the largest array of an inverted residual block, is
 * never in memory. Called by conv_direct.c. */
#include "layers/conv.h"
#include <string.h>

enum {
    BLOCK_CHANNELS = 32,     /* speed only: of a unit, unless the window gets too large */
    STRETCH_PIXELS = 128,    /* speed only: of an output row that a unit takes at once */
    WINDOW_BYTES = 24 << 10, /* speed only: to stay in the first cache */
    UNITS_A_THREAD = 4,      /* speed only */
    LEAST_ROWS = 4,          /* speed only: strips share the input rows at their ends */
    LEAST_FEED = 12,         /* speed only: pixels of a row that is computed */
    COPY_VALUES = 16,        /* speed only */
};

/* ---- Sizes ------------------------------------------------------------------------------------
 */

static int extent(const fv_axis *a) {
    return (a->kernel - 1) * a->dilation + 1;
}

/* Stretches of an output row, of nearly equal size. */
static int count_stretches(const fv_conv_geometry *g) {
    return (g->axis[2].out + STRETCH_PIXELS - 1) / STRETCH_PIXELS;
}

static int window_width(const fv_conv_geometry *g) {
    int stretches = count_stretches(g), pixels = (g->axis[2].out + stretches - 1) / stretches;
    return (pixels - 1) * g->axis[2].stride + extent(&g->axis[2]);
}

/* Rows of the ring, one ring for each plane of the kernel. */
static size_t window_rows(const fv_conv_geometry *g) {
    return (size_t)g->axis[0].kernel * (size_t)extent(&g->axis[1]);
}

static int block_channels(const fv_conv_geometry *g, const fv_kernels *k) {
    size_t panel = (size_t)k->panel * sizeof(real);
    size_t fit = WINDOW_BYTES / panel / ((size_t)window_width(g) * window_rows(g));
    size_t wanted = BLOCK_CHANNELS / (size_t)k->panel;
    fit = fit < wanted ? fit : wanted;
    return (fit > 1 ? (int)fit : 1) * k->panel;
}

size_t fv_conv_window_count(const fv_conv_geometry *g, const fv_kernels *k) {
    return window_rows(g) * (size_t)window_width(g) * (size_t)block_channels(g, k);
}

/* ---- The window -------------------------------------------------------------------------------
 */

typedef struct output_work {
    const fv_conv_direct *d;
    const fv_conv_feed *feed; /* NULL: x holds the input */
    const real *x, *bias;
    bool relu;
    real *y;
    int block; /* channels of a unit */
    int blocks, strips, stretches;
} output_work;

/* What a thread works on. */
typedef struct window {
    const output_work *o;
    int channel, channels; /* of the block; of the output, so with each channel repeated */
    int pixel, pixels;     /* of the output row */
    int width;             /* of a row of the ring, in pixels */
    real *rows;
    ptrdiff_t *x_offset, *w_offset;
} window;

static real *ring_row(const window *w, int kd, int row) {
    int height = extent(&w->o->d->g->axis[1]);
    return w->rows + ((ptrdiff_t)kd * height + row % height) * w->width * w->o->block;
}

static void copy_pixels(const window *w, size_t pixel, int count, real *to) {
    const fv_conv_geometry *g = w->o->d->g;
    const real *from = w->o->x + pixel * (size_t)g->channels;
    int repeat = g->filters / g->channels;
    for (int i = 0; i < count; i++, from += g->channels, to += w->o->block) {
        int c = 0;
        for (; repeat == 1 && c + COPY_VALUES <= w->channels; c += COPY_VALUES)
            memcpy(to + c, from + w->channel + c, COPY_VALUES * sizeof(real));
        for (; c < w->channels; c++)
            to[c] = from[(w->channel + c) / repeat];
    }
}

/* The same pixels of the block's channels, as the 1x1 convolution before makes them. */
static void compute_pixels(const window *w, size_t pixel, int count, real *to) {
    static const ptrdiff_t none = 0;
    const fv_conv_feed *feed = w->o->feed;
    const fv_kernels *k = feed->d.k;
    int depth = feed->d.g->channels, step = w->o->block;
    fv_product p = {.rows = count,
                    .depth = depth,
                    .terms = 1,
                    .a = feed->x + pixel * (size_t)depth,
                    .a_offset = &none,
                    .a_row = depth,
                    .a_column = 1,
                    .b_offset = &none,
                    .b_row = k->panel,
                    .c_row = step,
                    .relu = feed->relu,
                    .most = feed->d.most};
    for (int c = 0; c < w->channels; c += k->panel) {
        p.columns = w->channels - c < k->panel ? w->channels - c : k->panel;
        p.b = feed->d.forward + (ptrdiff_t)(w->channel + c) * depth;
        p.bias = feed->bias ? feed->bias + w->channel + c : NULL;
        p.c = to + c;
        k->product(&p);
    }
    if (feed->activation != FV_LINEAR)
        k->activate(feed->activation, feed->activation_constant, (size_t)count, step, to);
}

/* Row `row` of the input, counted with its border, in plane kd of the kernel on output plane d. */
static void load_row(const window *w, int d, int kd, int row) {
    const fv_axis *a = w->o->d->g->axis;
    int plane = d * a[0].stride + kd * a[0].dilation - a[0].before, h = row - a[1].before;
    int first = w->pixel * a[2].stride - a[2].before; /* may lie in the border */
    int begin = first > 0 ? first : 0, end = first + w->width;
    size_t pixel_bytes = (size_t)w->o->block * sizeof(real);
    real *to = ring_row(w, kd, row);
    end = end < a[2].in ? end : a[2].in;
    if (plane < 0 || plane >= a[0].in || h < 0 || h >= a[1].in || begin >= end) {
        memset(to, 0, (size_t)w->width * pixel_bytes);
        return;
    }
    real *inside = to + (ptrdiff_t)(begin - first) * w->o->block;
    real *behind = inside + (ptrdiff_t)(end - begin) * w->o->block;
    memset(to, 0, (size_t)(begin - first) * pixel_bytes);
    memset(behind, 0, (size_t)(first + w->width - end) * pixel_bytes);
    (w->o->feed ? compute_pixels : copy_pixels)(
        w, ((size_t)plane * (size_t)a[1].in + (size_t)h) * (size_t)a[2].in + (size_t)begin,
        end - begin, inside);
}

/* Where in the window the cells of the kernel lie for output row h. */
static int list_cells(const window *w, int h) {
    const fv_conv_geometry *g = w->o->d->g;
    const fv_axis *a = g->axis;
    int terms = 0;
    for (int kd = 0; kd < a[0].kernel; kd++)
        for (int kh = 0; kh < a[1].kernel; kh++) {
            const real *row = ring_row(w, kd, h * a[1].stride + kh * a[1].dilation);
            for (int kw = 0; kw < a[2].kernel; kw++, terms++) {
                w->x_offset[terms] = row - w->rows + (ptrdiff_t)kw * a[2].dilation * w->o->block;
                w->w_offset[terms] = (ptrdiff_t)terms * g->filters;
            }
        }
    return terms;
}

/* Not where rows are too short for the products' register tiles, and not in three axes, where each
 * plane of the kernel would compute its rows anew. */
bool fv_conv_window_takes_feed(const fv_conv_geometry *g, const fv_conv_geometry *feeder) {
    for (int i = 0; i < 3; i++) {
        const fv_axis *a = &feeder->axis[i];
        if (a->kernel != 1 || a->stride != 1 || a->in != a->out)
            return false;
    }
    return g->depthwise && g->filters == g->channels && feeder->groups == 1 &&
           g->axis[0].kernel == 1 && g->axis[2].in >= LEAST_FEED;
}

/* ---- Units ------------------------------------------------------------------------------------
 */

static void write_row(const window *w, int row) {
    const output_work *o = w->o;
    const fv_conv_geometry *g = o->d->g;
    const fv_axis *a = g->axis;
    fv_depthwise p = {.pixels = w->pixels,
                      .channels = w->channels,
                      .terms = list_cells(w, row % a[1].out),
                      .x = w->rows,
                      .x_offset = w->x_offset,
                      .x_pixel = (ptrdiff_t)a[2].stride * o->block,
                      .w = o->d->forward + w->channel,
                      .w_offset = w->w_offset,
                      .bias = o->bias ? o->bias + w->channel : NULL,
                      .y = o->y + ((ptrdiff_t)row * a[2].out + w->pixel) * g->filters + w->channel,
                      .y_pixel = g->filters,
                      .relu = o->relu,
                      .most = o->d->most};
    o->d->k->depthwise(&p);
}

/* Output rows [first, end), counted through the planes. */
static void write_rows(const window *w, int first, int end) {
    const fv_axis *a = w->o->d->g->axis;
    int loaded = 0; /* rows of this plane, with the border */
    for (int row = first; row < end; row++) {
        int d = row / a[1].out, h = row % a[1].out, begin = h * a[1].stride;
        if (row == first || h == 0)
            loaded = 0;
        for (loaded = loaded > begin ? loaded : begin; loaded < begin + extent(&a[1]); loaded++)
            for (int kd = 0; kd < a[0].kernel; kd++)
                load_row(w, d, kd, loaded);
        write_row(w, row);
    }
}

/* Where part `i` of `count` begins. */
static int part_at(int all, int count, int i) {
    return (int)((int64_t)all * i / count);
}

static void output_unit(void *argument, int unit, int thread) {
    const output_work *o = argument;
    const fv_conv_direct *d = o->d;
    const fv_axis *a = d->g->axis;
    int block = unit % o->blocks, part = unit / o->blocks;
    int stretch = part % o->stretches, strip = part / o->stretches, rows = a[0].out * a[1].out;
    ptrdiff_t own = (ptrdiff_t)((size_t)thread * d->stride); /* bytes to this thread's memory */
    window w = {.o = o,
                .channel = block * o->block,
                .pixel = part_at(a[2].out, o->stretches, stretch),
                .width = window_width(d->g),
                .rows = (real *)((unsigned char *)d->window + own),
                .x_offset = (ptrdiff_t *)((unsigned char *)d->a_offset + own),
                .w_offset = (ptrdiff_t *)((unsigned char *)d->b_offset + own)};
    int left = d->g->filters - w.channel;
    w.channels = left < o->block ? left : o->block;
    w.pixels = part_at(a[2].out, o->stretches, stretch + 1) - w.pixel;
    write_rows(&w, part_at(rows, o->strips, strip), part_at(rows, o->strips, strip + 1));
}

void fv_conv_depthwise_output(const fv_conv_direct *d, const fv_conv_feed *feed, const real *x,
                              const real *bias, bool relu, real *y) {
    const fv_conv_geometry *g = d->g;
    int block = block_channels(g, d->k), rows = g->axis[0].out * g->axis[1].out;
    output_work o = {.d = d,
                     .feed = feed,
                     .x = x,
                     .bias = bias,
                     .relu = relu,
                     .y = y,
                     .block = block,
                     .blocks = (g->filters + block - 1) / block,
                     .stretches = count_stretches(g)};
    int units = o.blocks * o.stretches, most = rows / LEAST_ROWS;
    o.strips = d->pool ? (UNITS_A_THREAD * fv_pool_threads(d->pool) + units - 1) / units : 1;
    o.strips = o.strips < most ? o.strips : most > 1 ? most : 1;
    fv_pool_run(d->pool, units * o.strips, output_unit, &o);
}
