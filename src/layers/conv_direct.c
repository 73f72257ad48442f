/* Direct convolution on the batch-reduce product. Rows of an image are contiguous (NHWC), so one
 * output row is one product whose list runs over the kernel's rows:
 *   forward:         y[row] = sum over kernel rows of x[row + k] * W[k], depth = kernel width x
 * channels input gradient:  dx[row] = sum over kernel cells of dy[row - k] * W[k]^T, depth =
 * filters weight gradient: dW[k] = sum over output rows of x[row + k]^T * dy[row], depth = pixels
 * of a row With a stride S the input gradient is S interleaved problems an axis, each with the
 * kernel cells of its phase. Called by conv.c. */
#include "layers/conv.h"
#include <string.h>

enum {
    ROW_PIXELS = 128,       /* weight gradient: pixels of a row in one product */
    BLOCK_BYTES = 24 << 10, /* ... and bytes of x and dy rows, to stay in the first cache */
    BLOCK_ROWS = 64,
};

/* ---- Sizes, in reals unless it says bytes ------------------------------------------------------
 */

static size_t cells(const fv_conv_geometry *g) {
    return (size_t)g->axis[0].kernel * (size_t)g->axis[1].kernel * (size_t)g->axis[2].kernel;
}

static size_t forward_packed(const fv_conv_geometry *g, const fv_kernels *k) {
    return (size_t)fv_panels(g->filters, k) * (size_t)k->panel * cells(g) * (size_t)g->channels;
}

static size_t bias_packed(const fv_conv_geometry *g, const fv_kernels *k) {
    return (size_t)fv_panels(g->filters, k) * (size_t)k->panel;
}

/* One kernel cell, transposed: panels over channels, depth = filters. */
static size_t cell_packed(const fv_conv_geometry *g, const fv_kernels *k) {
    return (size_t)fv_panels(g->channels, k) * (size_t)k->panel * (size_t)g->filters;
}

static int padded_size(const fv_axis *a) {
    return a->before + a->in + a->after;
}

static size_t padded_count(const fv_conv_geometry *g) {
    return (size_t)padded_size(&g->axis[0]) * (size_t)padded_size(&g->axis[1]) *
           (size_t)padded_size(&g->axis[2]) * (size_t)g->channels;
}

static int gradient_size(const fv_conv_geometry *g, int axis) {
    return g->low[axis] + g->axis[axis].out + g->high[axis];
}

static size_t gradient_count(const fv_conv_geometry *g) {
    return (size_t)gradient_size(g, 0) * (size_t)gradient_size(g, 1) * (size_t)gradient_size(g, 2) *
           (size_t)g->filter_row;
}

/* Two lists of offsets for products: kernel cells, or rows of a block. */
static size_t list_bytes(const fv_conv_geometry *g) {
    size_t terms = cells(g) > BLOCK_ROWS ? cells(g) : BLOCK_ROWS;
    return fv_round_up(terms * sizeof(ptrdiff_t), 64);
}

void fv_conv_direct_prepare(const fv_conv_geometry *g, const fv_setting *setting,
                            fv_layer_plan *plan) {
    const fv_kernels *k = setting->kernels;
    plan->packed = (forward_packed(g, k) + bias_packed(g, k)) * sizeof(real);
    plan->scratch = 2 * list_bytes(g);
    if (setting->training && setting->input_gradient)
        plan->packed += cells(g) * cell_packed(g, k) * sizeof(real);
    if (g->padded_input)
        plan->scratch += fv_round_up(padded_count(g) * sizeof(real), 64);
    if (setting->training)
        plan->scratch += fv_round_up(gradient_count(g) * sizeof(real), 64);
}

void fv_conv_direct_pack(const fv_conv_geometry *g, const fv_call *call) {
    const fv_kernels *k = call->kernels;
    real *bias = call->packed + forward_packed(g, k), *back = bias + bias_packed(g, k);
    size_t depth = cells(g) * (size_t)g->channels;
    k->pack(call->weights[0], g->filters, false, (int)depth, g->filters, call->packed);
    for (int f = 0; f < fv_panels(g->filters, k) * k->panel; f++)
        bias[f] = call->weights[1] && f < g->filters ? call->weights[1][f] : 0;
    if (!call->setting->training || !call->setting->input_gradient)
        return;
    size_t cell = (size_t)g->channels * (size_t)g->filters;
    for (size_t i = 0; i < cells(g); i++)
        k->pack(call->weights[0] + i * cell, g->filters, true, g->filters, g->channels,
                back + i * cell_packed(g, k));
}

/* ---- Copies with borders ----------------------------------------------------------------------
 */

/* The input with its padding: a copy in scratch, or the input itself when there is none. */
static const real *padded_input(const fv_conv_geometry *g, const real *x, real *scratch) {
    if (!g->padded_input)
        return x;
    fv_border b = {.channels = g->channels, .row = g->channels};
    for (int i = 0; i < 3; i++) {
        b.size[i] = g->axis[i].in;
        b.low[i] = g->axis[i].before;
        b.high[i] = g->axis[i].after;
    }
    fv_copy_with_border(&b, x, scratch);
    return scratch;
}

static const real *bordered_gradient(const fv_conv_geometry *g, const real *dy, real *scratch) {
    bool plain = g->filter_row == g->filters;
    fv_border b = {.channels = g->filters, .row = g->filter_row};
    for (int i = 0; i < 3; i++) {
        b.size[i] = g->axis[i].out;
        b.low[i] = g->low[i];
        b.high[i] = g->high[i];
        plain &= g->low[i] == 0 && g->high[i] == 0;
    }
    if (plain)
        return dy;
    fv_copy_with_border(&b, dy, scratch);
    return scratch;
}

/* ---- The three products -------------------------------------------------------------------------
 */

/* Offsets of pixel (d, h, w) in the padded input and in the bordered gradient. */
static ptrdiff_t input_at(const fv_conv_geometry *g, int d, int h, int w) {
    return (((ptrdiff_t)d * padded_size(&g->axis[1]) + h) * padded_size(&g->axis[2]) + w) *
           g->channels;
}

static ptrdiff_t gradient_at(const fv_conv_geometry *g, int d, int h, int w) {
    return (((ptrdiff_t)(d + g->low[0]) * gradient_size(g, 1) + h + g->low[1]) *
                gradient_size(g, 2) +
            w + g->low[2]) *
           g->filter_row;
}

static void forward_sample(const fv_conv_geometry *g, const fv_call *call, const real *x, real *y,
                           ptrdiff_t *a_offset, ptrdiff_t *b_offset) {
    const fv_axis *a = g->axis;
    const fv_kernels *k = call->kernels;
    fv_product p = {.rows = a[2].out,
                    .depth = a[2].kernel * g->channels,
                    .terms = a[0].kernel * a[1].kernel,
                    .a_offset = a_offset,
                    .a_row = (ptrdiff_t)a[2].stride * g->channels,
                    .a_column = 1,
                    .b_offset = b_offset,
                    .b_row = k->panel,
                    .c_row = g->filters,
                    .relu = call->activation == FV_RELU};
    for (int t = 0; t < p.terms; t++) {
        a_offset[t] = input_at(g, t / a[1].kernel, t % a[1].kernel, 0);
        b_offset[t] = (ptrdiff_t)t * p.depth * k->panel;
    }
    const real *bias = call->packed + forward_packed(g, k);
    ptrdiff_t panel = (ptrdiff_t)p.terms * p.depth * k->panel;
    for (int f = 0; f < g->filters; f += k->panel) {
        p.columns = g->filters - f < k->panel ? g->filters - f : k->panel;
        p.b = call->packed + f / k->panel * panel;
        p.bias = bias + f;
        for (int d = 0; d < a[0].out; d++)
            for (int h = 0; h < a[1].out; h++) {
                p.a = x + input_at(g, d * a[0].stride, h * a[1].stride, 0);
                p.c = y + ((ptrdiff_t)d * a[1].out + h) * a[2].out * g->filters + f;
                k->product(&p);
            }
    }
}

/* Of input row (d, h), the pixels whose innermost axis has phase `phase`. */
static void input_gradient_row(const fv_conv_geometry *g, const fv_kernels *k, const real *dy,
                               const real *packed, real *dx, const int at[2], int phase,
                               ptrdiff_t *a_offset, ptrdiff_t *b_offset) {
    const fv_axis *a = g->axis;
    int first = ((phase - a[2].before) % a[2].stride + a[2].stride) % a[2].stride;
    int q0 = (at[0] + a[0].before) / a[0].stride, r0 = (at[0] + a[0].before) % a[0].stride;
    int q1 = (at[1] + a[1].before) / a[1].stride, r1 = (at[1] + a[1].before) % a[1].stride;
    fv_product p = {.rows = (a[2].in - first + a[2].stride - 1) / a[2].stride,
                    .depth = g->filters,
                    .a = dy + gradient_at(g, q0, q1, (first + a[2].before) / a[2].stride),
                    .a_offset = a_offset,
                    .a_row = g->filter_row,
                    .a_column = 1,
                    .b_offset = b_offset,
                    .b_row = k->panel,
                    .c_row = (ptrdiff_t)a[2].stride * g->channels};
    for (int kd = r0; kd < a[0].kernel; kd += a[0].stride)
        for (int kh = r1; kh < a[1].kernel; kh += a[1].stride)
            for (int kw = phase; kw < a[2].kernel; kw += a[2].stride, p.terms++) {
                ptrdiff_t cell = ((ptrdiff_t)kd * a[1].kernel + kh) * a[2].kernel + kw;
                a_offset[p.terms] =
                    -(((ptrdiff_t)(kd / a[0].stride) * gradient_size(g, 1) + kh / a[1].stride) *
                          gradient_size(g, 2) +
                      kw / a[2].stride) *
                    g->filter_row;
                b_offset[p.terms] = cell * (ptrdiff_t)cell_packed(g, k);
            }
    real *row = dx + (((ptrdiff_t)at[0] * a[1].in + at[1]) * a[2].in + first) * g->channels;
    for (int c = 0; c < g->channels; c += k->panel) {
        p.columns = g->channels - c < k->panel ? g->channels - c : k->panel;
        p.b = packed + (ptrdiff_t)c * g->filters;
        p.c = row + c;
        k->product(&p);
    }
}

static void input_gradient_sample(const fv_conv_geometry *g, const fv_call *call, const real *dy,
                                  real *dx, ptrdiff_t *a_offset, ptrdiff_t *b_offset) {
    const fv_kernels *k = call->kernels;
    const real *packed = call->packed + forward_packed(g, k) + bias_packed(g, k);
    int at[2];
    for (at[0] = 0; at[0] < g->axis[0].in; at[0]++)
        for (at[1] = 0; at[1] < g->axis[1].in; at[1]++)
            for (int phase = 0; phase < g->axis[2].stride; phase++)
                input_gradient_row(g, k, dy, packed, dx, at, phase, a_offset, b_offset);
}

/* A block of output rows (their (d, h) counted through) and of pixels [w0, w0 + p.depth) in them.
 */
static void weight_gradient_block(const fv_conv_geometry *g, const fv_kernels *k, fv_product *p,
                                  const real *x, const real *dy, int row0, int w0, real *dw,
                                  ptrdiff_t *a_offset, ptrdiff_t *b_offset) {
    const fv_axis *a = g->axis;
    for (int t = 0; t < p->terms; t++) {
        int d = (row0 + t) / a[1].out, h = (row0 + t) % a[1].out;
        a_offset[t] = input_at(g, d * a[0].stride, h * a[1].stride, w0 * a[2].stride);
        b_offset[t] = gradient_at(g, d, h, w0);
    }
    for (int kd = 0; kd < a[0].kernel; kd++)
        for (int kh = 0; kh < a[1].kernel; kh++) {
            ptrdiff_t first_row = ((ptrdiff_t)kd * a[1].kernel + kh) * p->rows;
            p->a = x + input_at(g, kd, kh, 0);
            for (int f = 0; f < g->filters; f += k->panel) {
                p->columns = g->filters - f < k->panel ? g->filters - f : k->panel;
                p->b = dy + f;
                p->c = dw + first_row * g->filters + f;
                k->product(p);
            }
        }
}

static void weight_gradient_sample(const fv_conv_geometry *g, const fv_call *call, const real *x,
                                   const real *dy, bool add, ptrdiff_t *a_offset,
                                   ptrdiff_t *b_offset) {
    const fv_axis *a = g->axis;
    int rows = a[0].out * a[1].out;
    int width = a[2].out < ROW_PIXELS ? a[2].out : ROW_PIXELS;
    int row_bytes = width * (a[2].stride * g->channels + g->filter_row) * (int)sizeof(real);
    int block = BLOCK_BYTES / row_bytes;
    block = block < 1 ? 1 : block > BLOCK_ROWS ? BLOCK_ROWS : block;
    fv_product p = {.rows = a[2].kernel * g->channels,
                    .a_offset = a_offset,
                    .a_row = 1,
                    .a_column = (ptrdiff_t)a[2].stride * g->channels,
                    .b_offset = b_offset,
                    .b_row = g->filter_row,
                    .c_row = g->filters,
                    .add = add};
    for (int row = 0; row < rows; row += block)
        for (int w = 0; w < a[2].out; w += width) {
            p.terms = rows - row < block ? rows - row : block;
            p.depth = a[2].out - w < width ? a[2].out - w : width;
            weight_gradient_block(g, call->kernels, &p, x, dy, row, w, call->weight_gradients[0],
                                  a_offset, b_offset);
            p.add = true;
        }
}

static void bias_gradient_sample(const fv_conv_geometry *g, const fv_call *call, const real *dy) {
    for (int d = 0; d < g->axis[0].out; d++)
        for (int h = 0; h < g->axis[1].out; h++)
            call->kernels->add_rows((size_t)g->axis[2].out, g->filters, g->filter_row,
                                    dy + gradient_at(g, d, h, 0), call->weight_gradients[1]);
}

/* ---- Samples
 * -------------------------------------------------------------------------------------- */

static size_t input_count(const fv_conv_geometry *g) {
    return (size_t)g->axis[0].in * (size_t)g->axis[1].in * (size_t)g->axis[2].in *
           (size_t)g->channels;
}

static size_t output_count(const fv_conv_geometry *g) {
    return (size_t)g->axis[0].out * (size_t)g->axis[1].out * (size_t)g->axis[2].out *
           (size_t)g->filters;
}

void fv_conv_direct_forward(const fv_conv_geometry *g, const fv_call *call) {
    ptrdiff_t *a_offset = (ptrdiff_t *)call->scratch;
    ptrdiff_t *b_offset = (ptrdiff_t *)(call->scratch + list_bytes(g));
    real *copy = (real *)(call->scratch + 2 * list_bytes(g));
    for (int s = 0; s < call->samples; s++) {
        const real *x = padded_input(g, call->in[0] + (size_t)s * input_count(g), copy);
        forward_sample(g, call, x, call->out + (size_t)s * output_count(g), a_offset, b_offset);
    }
}

void fv_conv_direct_backward(const fv_conv_geometry *g, const fv_call *call) {
    ptrdiff_t *a_offset = (ptrdiff_t *)call->scratch;
    ptrdiff_t *b_offset = (ptrdiff_t *)(call->scratch + list_bytes(g));
    real *copy = (real *)(call->scratch + 2 * list_bytes(g));
    real *border = copy;
    if (g->padded_input)
        border += fv_round_up(padded_count(g) * sizeof(real), 64) / sizeof(real);
    if (call->first && call->weight_gradients[1])
        memset(call->weight_gradients[1], 0, (size_t)g->filters * sizeof(real));
    for (int s = 0; s < call->samples; s++) {
        const real *dy =
            bordered_gradient(g, call->out_gradient + (size_t)s * output_count(g), border);
        const real *x = padded_input(g, call->in[0] + (size_t)s * input_count(g), copy);
        weight_gradient_sample(g, call, x, dy, s > 0 || !call->first, a_offset, b_offset);
        if (call->weight_gradients[1])
            bias_gradient_sample(g, call, dy);
        if (call->in_gradient[0])
            input_gradient_sample(g, call, dy, call->in_gradient[0] + (size_t)s * input_count(g),
                                  a_offset, b_offset);
    }
}
