/* The direct algorithm where each channel is a group: no sum runs over channels, so a kernel of its
 * own takes a row of pixels, all channels side by side (kernels/depthwise.c). Here are both
 * gradients; conv_window.c has the output. Where a channel has several filters the padded input
 * holds it as often, and the input gradient of its filters is added up. Weights stay as stored,
 * [kernel cells][filters], for all three operations. Called by conv_direct.c. */
#include "layers/conv.h"
#include <string.h>

/* With room to read a whole vector from the last weights on. */
size_t fv_conv_depthwise_packed(const fv_conv_geometry *g, const fv_kernels *k) {
    return fv_round_up(fv_conv_cells(g) * (size_t)g->filters + (size_t)k->vector, 16);
}

void fv_conv_depthwise_pack(const fv_conv_direct *d, const real *weights) {
    size_t count = fv_conv_cells(d->g) * (size_t)d->g->filters;
    memcpy(d->forward, weights, count * sizeof(real));
    memset(d->forward + count, 0, (fv_conv_depthwise_packed(d->g, d->k) - count) * sizeof(real));
}

/* Only where channels have several filters. */
size_t fv_conv_depthwise_row(const fv_conv_geometry *g) {
    if (g->pixel == g->channels || !(g->uses & FV_CONV_INPUT_GRADIENT))
        return 0;
    return (size_t)g->axis[2].in * (size_t)g->filters;
}

static int list_cells(const fv_conv_direct *d) {
    const fv_conv_geometry *g = d->g;
    const fv_axis *a = g->axis;
    int terms = 0;
    for (int kd = 0; kd < a[0].kernel; kd++)
        for (int kh = 0; kh < a[1].kernel; kh++)
            for (int kw = 0; kw < a[2].kernel; kw++, terms++) {
                d->a_offset[terms] =
                    fv_conv_input_at(g, kd * a[0].dilation, kh * a[1].dilation, kw * a[2].dilation);
                d->b_offset[terms] = (ptrdiff_t)terms * g->filters;
            }
    return terms;
}

/* A row's product over all kernel cells, of the weight gradient. */
static fv_depthwise gradient_row(const fv_conv_direct *d) {
    const fv_conv_geometry *g = d->g;
    return (fv_depthwise){.pixels = g->axis[2].out,
                          .channels = g->filters,
                          .terms = list_cells(d),
                          .x_offset = d->a_offset,
                          .x_pixel = (ptrdiff_t)g->axis[2].stride * g->filters,
                          .w_offset = d->b_offset,
                          .y_pixel = g->filters};
}

void fv_conv_depthwise_weight_gradient(const fv_conv_direct *d, const real *x, const real *dy,
                                       bool add, real *dw) {
    const fv_conv_geometry *g = d->g;
    const fv_axis *a = g->axis;
    fv_depthwise row = gradient_row(d);
    row.dw = dw;
    if (!add)
        memset(dw, 0, fv_conv_cells(g) * (size_t)g->filters * sizeof(real));
    for (int i = 0; i < a[0].out; i++)
        for (int j = 0; j < a[1].out; j++) {
            row.x = x + fv_conv_input_at(g, i * a[0].stride, j * a[1].stride, 0);
            row.dy = dy + fv_conv_gradient_at(g, i, j, 0);
            d->k->depthwise_weights(&row);
        }
}

/* Adds up each channel's filters; `pixels` of the row, `step` values apart in dx. */
static void add_filters(const fv_conv_geometry *g, int pixels, const real *row, const real *bias,
                        bool relu, ptrdiff_t step, real *dx) {
    int repeat = g->filters / g->channels;
    for (int i = 0; i < pixels; i++, dx += step)
        for (int c = 0; c < g->channels; c++, row += repeat) {
            real sum = bias ? bias[c] : 0;
            for (int f = 0; f < repeat; f++)
                sum += row[f];
            dx[c] = relu && sum <= 0 ? 0 : sum;
        }
}

/* Of a transposed convolution with several filters a channel the bias is one of channels, so it and
 * the rectifier wait for the sum. */
void fv_conv_depthwise_phase(const fv_conv_direct *d, fv_conv_phase *phase, const real *dy,
                             const real *bias, bool relu, real *dx) {
    const fv_conv_geometry *g = d->g;
    bool several = g->filters != g->channels;
    ptrdiff_t step = (ptrdiff_t)g->axis[2].stride * g->channels;
    fv_conv_list_phase(g, g->filters, phase, d->a_offset, d->b_offset);
    fv_depthwise row = {.pixels = phase->pixels,
                        .channels = g->filters,
                        .terms = phase->terms,
                        .x = dy + phase->dy,
                        .x_offset = d->a_offset,
                        .x_pixel = g->filter_row,
                        .w = d->back,
                        .w_offset = d->b_offset,
                        .bias = several ? NULL : bias,
                        .y = several ? d->row : dx + phase->dx,
                        .y_pixel = several ? g->filters : step,
                        .relu = relu && !several};
    d->k->depthwise(&row);
    if (several)
        add_filters(g, phase->pixels, d->row, bias, relu, step, dx + phase->dx);
}
