/* The oracle of convolution: windows, forward, gradients with respect to input, weights and bias.
 * Each is its own naive sum; none is derived from another's loops. Called by tests/test_*.c. */
#include "reference.h"

int ref_cells(const int size[3]) {
    return size[0] * size[1] * size[2];
}

/* One axis: Dumoulin & Visin 2016 for explicit padding; TensorFlow's "same". */
static bool slide(ref_window *w, int axis, fv_padding padding, const int pad[2]) {
    int n = w->in[axis], k = w->kernel[axis], s = w->stride[axis];
    if (padding == FV_SAME) {
        int out = (n + s - 1) / s;
        int total = (out - 1) * s + k - n;
        if (total < 0)
            total = 0;
        w->out[axis] = out;
        w->before[axis] = total / 2;
        w->after[axis] = total - total / 2;
        return true;
    }
    w->before[axis] = pad[0];
    w->after[axis] = pad[1];
    if (n + pad[0] + pad[1] < k)
        return false;
    w->out[axis] = (n + pad[0] + pad[1] - k) / s + 1;
    return true;
}

/* Sizes that are not given repeat their first. */
static int size_of(const int sizes[3], int axis, int otherwise) {
    if (sizes[axis] > 0)
        return sizes[axis];
    return sizes[0] > 0 ? sizes[0] : otherwise;
}

static bool window_of(const fv_shape *input, const int kernel[3], const int stride[3],
                      bool stride_is_kernel, fv_padding padding, const int pad[3][2],
                      ref_window *w) {
    bool fits = true;
    w->rank = input->rank;
    for (int axis = 0; axis < 3; axis++) {
        w->in[axis] = w->out[axis] = w->kernel[axis] = w->stride[axis] = 1;
        w->before[axis] = w->after[axis] = 0;
        if (axis >= input->rank)
            continue;
        w->in[axis] = input->size[axis];
        w->kernel[axis] = size_of(kernel, axis, 1);
        w->stride[axis] = size_of(stride, axis, stride_is_kernel ? w->kernel[axis] : 1);
        fits &= slide(w, axis, padding, pad[axis]);
    }
    return fits;
}

bool ref_conv_window(const fv_shape *input, const fv_conv_options *o, ref_window *window) {
    return window_of(input, o->kernel, o->stride, false, o->padding, o->pad, window);
}

bool ref_pool_window(const fv_shape *input, const fv_pool_options *o, ref_window *window) {
    return window_of(input, o->size, o->stride, true, o->padding, o->pad, window);
}

/* Index of a position given as three coordinates. */
static size_t place(const int size[3], int a, int b, int c) {
    return ((size_t)a * (size_t)size[1] + (size_t)b) * (size_t)size[2] + (size_t)c;
}

/* The input coordinate under kernel cell k of output o; -1: in the padding. */
static int under(const ref_window *w, int axis, int o, int k) {
    int i = o * w->stride[axis] + k - w->before[axis];
    return i >= 0 && i < w->in[axis] ? i : -1;
}

/* All filters of one output position. */
static void conv_position(const ref_window *w, const int o[3], int channels, int filters,
                          const double *x, const double *weight, double *y) {
    for (int a = 0; a < w->kernel[0]; a++)
        for (int b = 0; b < w->kernel[1]; b++)
            for (int c = 0; c < w->kernel[2]; c++) {
                int i = under(w, 0, o[0], a), j = under(w, 1, o[1], b), k = under(w, 2, o[2], c);
                if (i < 0 || j < 0 || k < 0)
                    continue;
                const double *pixel = x + place(w->in, i, j, k) * (size_t)channels;
                const double *cell =
                    weight + place(w->kernel, a, b, c) * (size_t)channels * (size_t)filters;
                for (int n = 0; n < channels; n++)
                    for (int f = 0; f < filters; f++)
                        y[f] += pixel[n] * cell[n * filters + f];
            }
}

void ref_conv(const ref_window *w, int samples, int channels, int filters, const double *x,
              const double *weight, const double *bias, double *y) {
    size_t in_size = (size_t)ref_cells(w->in) * (size_t)channels;
    for (int s = 0; s < samples; s++)
        for (int a = 0; a < w->out[0]; a++)
            for (int b = 0; b < w->out[1]; b++)
                for (int c = 0; c < w->out[2]; c++, y += filters) {
                    for (int f = 0; f < filters; f++)
                        y[f] = bias ? bias[f] : 0;
                    conv_position(w, (const int[3]){a, b, c}, channels, filters,
                                  x + (size_t)s * in_size, weight, y);
                }
}

/* The output coordinate whose kernel cell k lies over input i; -1: there is none. */
static int over(const ref_window *w, int axis, int i, int k) {
    int distance = i + w->before[axis] - k;
    if (distance < 0 || distance % w->stride[axis] != 0)
        return -1;
    int o = distance / w->stride[axis];
    return o < w->out[axis] ? o : -1;
}

/* dx(i, c) = sum over cells k, filters f of dy((i + before - k) / stride, f) w(k, c, f), where the
 * division leaves no rest. */
static void input_gradient_pixel(const ref_window *w, const int at[3], int channels, int filters,
                                 const double *dy, const double *weight, double *dx) {
    for (int a = 0; a < w->kernel[0]; a++)
        for (int b = 0; b < w->kernel[1]; b++)
            for (int c = 0; c < w->kernel[2]; c++) {
                int o = over(w, 0, at[0], a), p = over(w, 1, at[1], b), q = over(w, 2, at[2], c);
                if (o < 0 || p < 0 || q < 0)
                    continue;
                const double *gradient = dy + place(w->out, o, p, q) * (size_t)filters;
                const double *cell =
                    weight + place(w->kernel, a, b, c) * (size_t)channels * (size_t)filters;
                for (int n = 0; n < channels; n++)
                    for (int f = 0; f < filters; f++)
                        dx[n] += gradient[f] * cell[n * filters + f];
            }
}

void ref_conv_input_gradient(const ref_window *w, int samples, int channels, int filters,
                             const double *dy, const double *weight, double *dx) {
    size_t out_size = (size_t)ref_cells(w->out) * (size_t)filters;
    for (int s = 0; s < samples; s++)
        for (int a = 0; a < w->in[0]; a++)
            for (int b = 0; b < w->in[1]; b++)
                for (int c = 0; c < w->in[2]; c++, dx += channels) {
                    for (int n = 0; n < channels; n++)
                        dx[n] = 0;
                    input_gradient_pixel(w, (const int[3]){a, b, c}, channels, filters,
                                         dy + (size_t)s * out_size, weight, dx);
                }
}

/* One kernel cell over one sample: dw(c, f) += sum over outputs o of x(o * stride + k - before, c)
 * dy(o, f). */
static void weight_gradient_cell(const ref_window *w, const int cell[3], int channels, int filters,
                                 const double *x, const double *dy, double *dweight) {
    for (int o = 0; o < w->out[0]; o++)
        for (int p = 0; p < w->out[1]; p++)
            for (int q = 0; q < w->out[2]; q++) {
                int i = under(w, 0, o, cell[0]), j = under(w, 1, p, cell[1]),
                    k = under(w, 2, q, cell[2]);
                if (i < 0 || j < 0 || k < 0)
                    continue;
                const double *pixel = x + place(w->in, i, j, k) * (size_t)channels;
                const double *gradient = dy + place(w->out, o, p, q) * (size_t)filters;
                for (int n = 0; n < channels; n++)
                    for (int f = 0; f < filters; f++)
                        dweight[n * filters + f] += pixel[n] * gradient[f];
            }
}

void ref_conv_weight_gradient(const ref_window *w, int samples, int channels, int filters,
                              const double *x, const double *dy, double *dweight) {
    size_t in_size = (size_t)ref_cells(w->in) * (size_t)channels;
    size_t out_size = (size_t)ref_cells(w->out) * (size_t)filters;
    int matrix = channels * filters;
    for (int a = 0; a < w->kernel[0]; a++)
        for (int b = 0; b < w->kernel[1]; b++)
            for (int c = 0; c < w->kernel[2]; c++, dweight += matrix) {
                for (int i = 0; i < matrix; i++)
                    dweight[i] = 0;
                for (int s = 0; s < samples; s++)
                    weight_gradient_cell(w, (const int[3]){a, b, c}, channels, filters,
                                         x + (size_t)s * in_size, dy + (size_t)s * out_size,
                                         dweight);
            }
}

void ref_bias_gradient(size_t rows, int channels, const double *dy, double *dbias) {
    for (int c = 0; c < channels; c++) {
        dbias[c] = 0;
        for (size_t r = 0; r < rows; r++)
            dbias[c] += dy[r * (size_t)channels + (size_t)c];
    }
}
