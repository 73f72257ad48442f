/* Measures a convolution: its axes as three, how its arrays are laid out for the products, which
 * kernel cells an input pixel sees; and the weights that the family has in common. Called by the
 * layers conv, depthwise_conv, separable_conv, conv_transpose and local. */
#include "layers/conv.h"
#include <limits.h>

/* ---- Measuring --------------------------------------------------------------------------------
 */

static int padded_size(const fv_axis *a) {
    return a->before + a->in + a->after;
}

/* Axes that the input lacks come first; those that the kernel does not tell apart become one. */
static void order_axes(fv_axis axis[3], int rank) {
    for (int i = 2; i >= 0; i--)
        axis[i] = i >= 3 - rank
                      ? axis[i - (3 - rank)]
                      : (fv_axis){.in = 1, .out = 1, .kernel = 1, .stride = 1, .dilation = 1};
    for (int i = 0; i < 3; i++)
        if (axis[i].kernel == 1)
            axis[i].dilation = 1;
    for (int i = 1; i < 3; i++) {
        fv_axis *outer = &axis[i - 1], *inner = &axis[i];
        bool plain = outer->kernel == 1 && outer->stride == 1 && inner->kernel == 1 &&
                     inner->stride == 1 && outer->in == outer->out && inner->in == inner->out;
        if (plain && (int64_t)outer->in * inner->in <= INT_MAX) {
            inner->in = inner->out = outer->in * inner->in;
            outer->in = outer->out = 1;
        }
    }
}

static int common_divisor(int a, int b) {
    while (b) {
        int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Input cell i sees output (i + before - k dilation) / stride through each kernel cell k for which
 * that is whole: at most `reach` outputs before the one that cell 0 would lead to. */
static void measure_border(fv_conv_geometry *g, int i) {
    const fv_axis *a = &g->axis[i];
    int reach = (a->kernel - 1) * a->dilation / a->stride - a->before / a->stride;
    int last = (a->in - 1 + a->before) / a->stride - (a->out - 1);
    g->low[i] = reach > 0 ? reach : 0;
    g->high[i] = last > 0 ? last : 0;
}

void fv_conv_measure(fv_conv_geometry *g, int rank, const fv_kernels *kernels) {
    int vector = kernels->vector, group = g->filters / g->groups;
    order_axes(g->axis, rank);
    g->depthwise = g->groups > 1 && g->groups == g->channels;
    g->pixel = g->depthwise ? g->filters : g->channels;
    g->filter_row = g->filters;
    if (!g->depthwise && (g->uses & FV_CONV_WEIGHT_GRADIENT))
        g->filter_row += (int)fv_round_up((size_t)group, (size_t)vector) - group;
    /* The depthwise kernels read whole vectors, past the last pixel too. */
    bool past = g->depthwise && g->filters % vector;
    g->copy_input = g->pixel != g->channels || past;
    g->copy_gradient = g->filter_row != g->filters || past;
    for (int i = 0; i < 3; i++) {
        const fv_axis *a = &g->axis[i];
        g->cell_step[i] = a->stride / common_divisor(a->stride, a->dilation);
        g->copy_input |= a->before > 0 || a->after > 0;
        if (g->uses & FV_CONV_INPUT_GRADIENT)
            measure_border(g, i);
        g->copy_gradient |= g->low[i] > 0 || g->high[i] > 0;
    }
}

fv_conv_geometry fv_conv_geometry_of(const fv_conv_options *o, const fv_shape *input, int uses,
                                     const fv_kernels *kernels) {
    fv_conv_geometry g = {.channels = input->channels,
                          .filters = o->filters,
                          .groups = o->groups ? o->groups : 1,
                          .uses = uses};
    fv_slide(input,
             &(fv_slide_options){.kernel = o->kernel,
                                 .stride = o->stride,
                                 .dilation = o->dilation,
                                 .padding = o->padding,
                                 .pad = o->pad,
                                 .what = "kernel"},
             g.axis); /* infer has checked it */
    fv_conv_measure(&g, input->rank, kernels);
    return g;
}

fv_status fv_conv_check_sizes(const fv_axis *axes, const fv_shape *input, int channels,
                              int filters) {
    const size_t most = (size_t)1 << 40;
    size_t values = (size_t)channels + (size_t)filters;
    bool fits = channels <= 1 << 30;
    char text[64];
    for (int i = 0; fits && i < input->rank; i++) {
        const fv_axis *a = &axes[i];
        int64_t padded = (int64_t)(a->in == FV_ANY ? 1 : a->in) + a->before + a->after;
        fits =
            padded <= 1 << 29 && fv_size_product(values, (size_t)padded, &values) && values <= most;
    }
    return fits
               ? FV_OK
               : fv_fail(FV_SHAPE,
                         "the padding of the input %s makes it too large: at most 2^29 cells along "
                         "an axis and 2^40 values are possible",
                         fv_shape_text(input, text));
}

/* ---- Layouts ----------------------------------------------------------------------------------
 */

size_t fv_conv_cells(const fv_conv_geometry *g) {
    return (size_t)g->axis[0].kernel * (size_t)g->axis[1].kernel * (size_t)g->axis[2].kernel;
}

size_t fv_conv_input_count(const fv_conv_geometry *g) {
    return (size_t)g->axis[0].in * (size_t)g->axis[1].in * (size_t)g->axis[2].in *
           (size_t)g->channels;
}

size_t fv_conv_output_count(const fv_conv_geometry *g) {
    return (size_t)g->axis[0].out * (size_t)g->axis[1].out * (size_t)g->axis[2].out *
           (size_t)g->filters;
}

/* With room for a vector that begins with the last values. */
static size_t copy_bytes(size_t count, const fv_conv_geometry *g, const fv_kernels *k) {
    return fv_round_up((count + (g->depthwise ? (size_t)k->vector : 0)) * sizeof(real), 64);
}

size_t fv_conv_input_copy(const fv_conv_geometry *g, const fv_kernels *k) {
    const fv_axis *a = g->axis;
    int uses = g->depthwise ? FV_CONV_WEIGHT_GRADIENT : FV_CONV_OUTPUT | FV_CONV_WEIGHT_GRADIENT;
    if (!g->copy_input || !(g->uses & uses))
        return 0;
    return copy_bytes((size_t)padded_size(&a[0]) * (size_t)padded_size(&a[1]) *
                          (size_t)padded_size(&a[2]) * (size_t)g->pixel,
                      g, k);
}

size_t fv_conv_gradient_copy(const fv_conv_geometry *g, const fv_kernels *k) {
    size_t count = (size_t)g->filter_row;
    if (!g->copy_gradient || !(g->uses & (FV_CONV_INPUT_GRADIENT | FV_CONV_WEIGHT_GRADIENT)))
        return 0;
    for (int i = 0; i < 3; i++)
        count *= (size_t)(g->low[i] + g->axis[i].out + g->high[i]);
    return copy_bytes(count, g, k);
}

const real *fv_conv_pad_input(const fv_conv_geometry *g, fv_pool *pool, const real *x, real *copy) {
    if (!g->copy_input)
        return x;
    fv_border b = {.channels = g->channels, .repeat = g->pixel / g->channels, .row = g->pixel};
    for (int i = 0; i < 3; i++) {
        b.size[i] = g->axis[i].in;
        b.low[i] = g->axis[i].before;
        b.high[i] = g->axis[i].after;
    }
    fv_copy_with_border(&b, pool, x, copy);
    return copy;
}

const real *fv_conv_border_gradient(const fv_conv_geometry *g, const real *dy, real *copy) {
    if (!g->copy_gradient)
        return dy;
    fv_border b = {.channels = g->filters, .repeat = 1, .row = g->filter_row};
    for (int i = 0; i < 3; i++) {
        b.size[i] = g->axis[i].out;
        b.low[i] = g->low[i];
        b.high[i] = g->high[i];
    }
    fv_copy_with_border(&b, NULL, dy, copy);
    return copy;
}

/* ---- The input gradient's kernel cells ----------------------------------------------------------
 */

/* The first kernel cell k with k dilation = rest, modulo the stride; past the kernel where there is
 * none. */
static int first_cell(const fv_axis *a, int step, int rest) {
    int k = 0;
    while (k < step && k < a->kernel && k * a->dilation % a->stride != rest)
        k++;
    return k < step ? k : a->kernel;
}

void fv_conv_list_phase(const fv_conv_geometry *g, ptrdiff_t cell_size, fv_conv_phase *phase,
                        ptrdiff_t *a_offset, ptrdiff_t *b_offset) {
    const fv_axis *a = g->axis;
    const int at[3] = {phase->d, phase->h, phase->first}, *step = g->cell_step;
    int output[3], first[3]; /* that cell 0 leads to, rounded down; the first cell */
    for (int i = 0; i < 3; i++) {
        output[i] = (at[i] + a[i].before) / a[i].stride;
        first[i] = first_cell(&a[i], step[i], (at[i] + a[i].before) % a[i].stride);
    }
    ptrdiff_t start = fv_conv_gradient_at(g, 0, 0, 0);
    int terms = 0;
    for (int kd = first[0]; kd < a[0].kernel; kd += step[0])
        for (int kh = first[1]; kh < a[1].kernel; kh += step[1])
            for (int kw = first[2]; kw < a[2].kernel; kw += step[2], terms++) {
                ptrdiff_t cell = ((ptrdiff_t)kd * a[1].kernel + kh) * a[2].kernel + kw;
                a_offset[terms] = start - fv_conv_gradient_at(g, kd * a[0].dilation / a[0].stride,
                                                              kh * a[1].dilation / a[1].stride,
                                                              kw * a[2].dilation / a[2].stride);
                b_offset[terms] = cell * cell_size;
            }
    phase->terms = terms;
    phase->pixels = (a[2].in - phase->first + a[2].stride - 1) / a[2].stride;
    phase->dy = fv_conv_gradient_at(g, output[0], output[1], output[2]);
    phase->dx = (((ptrdiff_t)phase->d * a[1].in + phase->h) * a[2].in + phase->first) * g->channels;
}

/* ---- Weights ------------------------------------------------------------------------------------
 */

fv_weight_spec fv_conv_weight(const char *name, int rank, const fv_axis *axes, int outs, int ins,
                              fv_init init) {
    fv_weight_spec w = {.name = name, .rank = rank + 2, .size = {(size_t)outs, (size_t)ins}};
    size_t cells = 1;
    for (int i = 0; i < rank; i++) {
        w.size[2 + i] = (size_t)axes[i].kernel;
        w.axes[i] = 2 + i;
        cells *= (size_t)axes[i].kernel; /* at most 2^60 */
    }
    w.axes[rank] = 1;
    w.axes[rank + 1] = 0;
    if (!fv_size_product(cells, (size_t)ins, &w.fan_in))
        w.fan_in = SIZE_MAX;
    if (!fv_size_product(cells, (size_t)outs, &w.fan_out))
        w.fan_out = SIZE_MAX;
    w.init = fv_init_or(init, FV_INIT_GLOROT_UNIFORM);
    return w;
}

fv_weight_spec fv_conv_bias(int filters, const fv_weight_spec *weight, fv_init init) {
    return (fv_weight_spec){.name = "bias",
                            .bias = true,
                            .rank = 1,
                            .size = {(size_t)filters},
                            .fan_in = weight->fan_in,
                            .fan_out = weight->fan_out,
                            .init = fv_init_or(init, FV_INIT_CONSTANT)};
}

int64_t fv_conv_macs(const fv_weight_spec *weight, const fv_shape *shape) {
    double macs = 1;
    for (int i = 0; i < weight->rank; i++)
        macs *= (double)weight->size[i];
    for (int i = 0; i < shape->rank; i++)
        macs *= shape->size[i] == FV_ANY ? 0 : shape->size[i];
    return macs < 9e18 ? (int64_t)macs : INT64_MAX;
}
