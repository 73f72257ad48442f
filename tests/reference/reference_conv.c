/* The oracle of convolutions: windows, and the sums as one walk over all products x w -> y, from
 * which forward and both gradients follow. Called by tests/test_*.c. */
#include "reference.h"

/* ---- Windows --------------------------------------------------------------------------------- */

int ref_cells(const int size[3]) {
    return size[0] * size[1] * size[2];
}

fv_shape ref_window_output(const ref_window *w, int channels) {
    fv_shape output = {.rank = w->rank, .channels = channels};
    for (int axis = 0; axis < w->rank; axis++)
        output.size[axis] = w->out[axis];
    return output;
}

/* Sizes that are not given repeat their first. */
static int size_of(const int *sizes, int axis, int otherwise) {
    if (!sizes)
        return otherwise;
    if (sizes[axis] > 0)
        return sizes[axis];
    return sizes[0] > 0 ? sizes[0] : otherwise;
}

/* Output size and padding of one axis: Dumoulin & Visin 2016 for explicit padding; TensorFlow's
 * "same" and ONNX's SAME_LOWER; causal as in WaveNet (van den Oord et al. 2016). */
static bool slide_axis(ref_window *w, int axis, const ref_slide *slide) {
    int n = w->in[axis], s = w->stride[axis];
    int k = (w->kernel[axis] - 1) * w->dilation[axis] + 1;
    if (slide->padding == FV_SAME || slide->padding == FV_SAME_LOWER) {
        int out = (n + s - 1) / s, total = (out - 1) * s + k - n;
        if (total < 0)
            total = 0;
        w->out[axis] = out;
        w->before[axis] = slide->padding == FV_SAME ? total / 2 : (total + 1) / 2;
        w->after[axis] = total - w->before[axis];
        return true;
    }
    if (slide->padding == FV_CAUSAL)
        w->before[axis] = k - 1;
    else if (slide->pad) {
        w->before[axis] = slide->pad[axis][0];
        w->after[axis] = slide->pad[axis][1];
    }
    int room = n + w->before[axis] + w->after[axis] - k;
    if (room < 0)
        return false;
    w->out[axis] = room / s + 1;
    /* One more window where a rest is left, unless it begins behind the last real cell. */
    if (slide->ceil && room % s != 0 && w->out[axis] * s - w->before[axis] < n)
        w->out[axis]++;
    return true;
}

/* Windows have no more axes than the input. */
static bool axes_fit(const fv_shape *input, const int *sizes) {
    bool fit = true;
    for (int axis = input->rank; axis < 3 && sizes; axis++)
        fit = fit && sizes[axis] == 0;
    return fit;
}

bool ref_make_window(const fv_shape *input, const ref_slide *slide, ref_window *w) {
    bool fits = input->rank > 0 && axes_fit(input, slide->kernel) &&
                axes_fit(input, slide->stride) && axes_fit(input, slide->dilation) &&
                (slide->padding != FV_CAUSAL || input->rank == 1);
    *w = (ref_window){.rank = input->rank};
    for (int axis = 0; axis < 3; axis++) {
        w->in[axis] = w->out[axis] = w->kernel[axis] = w->stride[axis] = w->dilation[axis] = 1;
        if (axis >= input->rank || !fits)
            continue;
        w->in[axis] = input->size[axis];
        w->kernel[axis] = size_of(slide->kernel, axis, 1);
        w->stride[axis] = size_of(slide->stride, axis, 1);
        w->dilation[axis] = size_of(slide->dilation, axis, 1);
        fits = slide_axis(w, axis, slide);
    }
    return fits;
}

bool ref_conv_window(const fv_shape *input, const fv_conv_options *o, ref_window *window) {
    return ref_make_window(input,
                           &(ref_slide){.kernel = o->kernel,
                                        .stride = o->stride,
                                        .dilation = o->dilation,
                                        .padding = o->padding,
                                        .pad = o->pad},
                           window);
}

/* The convolution that is transposed takes the output to the input: its size is
 * (n - 1) s - before - after + d (k - 1) + 1 + output_pad, or n s with "same". */
bool ref_transpose_window(const fv_shape *input, const fv_conv_transpose_options *o,
                          ref_window *w) {
    bool fits = input->rank > 0 && axes_fit(input, o->kernel) && axes_fit(input, o->stride) &&
                axes_fit(input, o->dilation);
    *w = (ref_window){.rank = input->rank};
    for (int axis = 0; axis < 3; axis++) {
        w->in[axis] = w->out[axis] = w->kernel[axis] = w->stride[axis] = w->dilation[axis] = 1;
        if (axis >= input->rank || !fits)
            continue;
        int n = w->out[axis] = input->size[axis], more = size_of(o->output_pad, axis, 0);
        int s = w->stride[axis] = size_of(o->stride, axis, 1);
        w->kernel[axis] = size_of(o->kernel, axis, 1);
        w->dilation[axis] = size_of(o->dilation, axis, 1);
        int k = (w->kernel[axis] - 1) * w->dilation[axis] + 1;
        if (o->padding == FV_SAME) {
            int total = k > s ? k - s : 0;
            w->in[axis] = n * s;
            w->before[axis] = total / 2;
            w->after[axis] = total - total / 2;
        } else {
            w->before[axis] = o->pad[axis][0];
            w->after[axis] = o->pad[axis][1];
            w->in[axis] = (n - 1) * s - w->before[axis] - w->after[axis] + k + more;
        }
        fits = w->in[axis] > 0 && more < s;
    }
    return fits;
}

/* ---- All products ---------------------------------------------------------------------------- */

/* Products x[x + i x_step] w[w + i w_step] -> y[y + i y_step], i < count. */
typedef struct run {
    size_t x, w, y, count;
    size_t x_step, w_step, y_step;
} run;

/* The arrays; what is summed is the one that is not const. */
typedef struct operands {
    const double *x, *w, *dy;
    double *y, *dx, *dw;
} operands;

static void add_run(const operands *v, const run *r) {
    for (size_t i = 0; i < r->count && v->y; i++)
        v->y[r->y + i * r->y_step] += v->x[r->x + i * r->x_step] * v->w[r->w + i * r->w_step];
    for (size_t i = 0; i < r->count && v->dx; i++)
        v->dx[r->x + i * r->x_step] += v->dy[r->y + i * r->y_step] * v->w[r->w + i * r->w_step];
    for (size_t i = 0; i < r->count && v->dw; i++)
        v->dw[r->w + i * r->w_step] += v->x[r->x + i * r->x_step] * v->dy[r->y + i * r->y_step];
}

/* The input place under kernel cell `cell` of output place `place`; false in the padding. All are
 * numbered in memory's order. */
static bool place_under(const ref_window *w, int place, int cell, size_t *under) {
    int at[3];
    for (int axis = 2; axis >= 0; axis--) {
        int o = place % w->out[axis], k = cell % w->kernel[axis];
        place /= w->out[axis];
        cell /= w->kernel[axis];
        at[axis] = o * w->stride[axis] + k * w->dilation[axis] - w->before[axis];
        if (at[axis] < 0 || at[axis] >= w->in[axis])
            return false;
    }
    *under = (size_t)((at[0] * w->in[1] + at[1]) * w->in[2] + at[2]);
    return true;
}

static bool linked(const ref_conv *conv, int filter, int channel) {
    return conv->table[filter] >> channel & 1;
}

static size_t links(const ref_conv *conv) {
    size_t count = 0;
    for (int f = 0; f < conv->filters; f++)
        for (int c = 0; c < conv->channels; c++)
            count += linked(conv, f, c);
    return count;
}

/* One kernel cell at one place, by the table; `w`: the cell's first weight. */
static void walk_links(const ref_conv *conv, size_t x, size_t w, size_t y, const operands *v) {
    for (int f = 0; f < conv->filters; f++)
        for (int c = 0; c < conv->channels; c++)
            if (linked(conv, f, c))
                add_run(v, &(run){.x = x + (size_t)c, .w = w++, .y = y + (size_t)f, .count = 1});
}

/* The same by groups: channel c of a group meets all the group's filters. */
static void walk_groups(const ref_conv *conv, size_t x, size_t w, size_t y, const operands *v) {
    size_t channels = (size_t)(conv->channels / conv->groups);
    size_t filters = (size_t)(conv->filters / conv->groups);
    for (size_t g = 0; g < (size_t)conv->groups; g++)
        for (size_t c = 0; c < channels; c++)
            add_run(v, &(run){.x = x + g * channels + c,
                              .w = w + c * (size_t)conv->filters + g * filters,
                              .w_step = 1,
                              .y = y + g * filters,
                              .y_step = 1,
                              .count = filters});
}

static size_t weights_of_cell(const ref_conv *conv) {
    return conv->table ? links(conv)
                       : (size_t)(conv->channels / conv->groups) * (size_t)conv->filters;
}

static void walk(const ref_conv *conv, const operands *v) {
    const ref_window *window = &conv->window;
    int places = ref_cells(window->out), cells = ref_cells(window->kernel);
    size_t in = (size_t)ref_cells(window->in), step = weights_of_cell(conv), under;
    for (int s = 0; s < conv->samples; s++)
        for (int p = 0; p < places; p++)
            for (int k = 0; k < cells; k++) {
                if (!place_under(window, p, k, &under))
                    continue;
                size_t x = ((size_t)s * in + under) * (size_t)conv->channels;
                size_t y = ((size_t)s * (size_t)places + (size_t)p) * (size_t)conv->filters;
                size_t w = (size_t)(conv->local ? p * cells + k : k) * step;
                (conv->table ? walk_links : walk_groups)(conv, x, w, y, v);
            }
}

size_t ref_conv_weights(const ref_conv *conv) {
    size_t kernels = conv->local ? (size_t)ref_cells(conv->window.out) : 1;
    return kernels * (size_t)ref_cells(conv->window.kernel) * weights_of_cell(conv);
}

int64_t ref_conv_macs(const ref_conv *conv) {
    return (int64_t)ref_cells(conv->window.out) * ref_cells(conv->window.kernel) *
           (int64_t)weights_of_cell(conv);
}

void ref_conv_forward(const ref_conv *conv, const double *x, const double *weight, double *y) {
    walk(conv, &(operands){.x = x, .w = weight, .y = y});
}

void ref_conv_back(const ref_conv *conv, const double *dy, const double *weight, double *dx) {
    walk(conv, &(operands){.dy = dy, .w = weight, .dx = dx});
}

void ref_conv_weights_back(const ref_conv *conv, const double *x, const double *dy,
                           double *dweight) {
    walk(conv, &(operands){.x = x, .dy = dy, .dw = dweight});
}

/* ---- Bias ------------------------------------------------------------------------------------ */

void ref_bias(size_t rows, size_t columns, const double *bias, double *y) {
    for (size_t i = 0; i < rows * columns; i++)
        y[i] += bias[i % columns];
}

void ref_bias_back(size_t rows, size_t columns, const double *dy, double *dbias) {
    for (size_t i = 0; i < rows * columns; i++)
        dbias[i % columns] += dy[i];
}
