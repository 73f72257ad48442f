/* ONNX's convolutions and products with matrices, and the windows that pools have too. Weights have
 * the order of files; those of a dense layer only where ONNX has them transposed. Called by
 * import.c by its table. */
#include "formats/onnx/import.h"
#include <limits.h>
#include <math.h>
#include <string.h>

/* ---- Windows -------------------------------------------------------------------------------- */

/* An attribute of `count` numbers, each of at least `low`, into to[], `step` apart; as it was where
 * it is not there. */
static fv_status numbers_of(const fv_onnx_import *im, const char *name, int count, int low,
                            int *to) {
    int64_t list[2 * FV_ONNX_RANK];
    int found;
    fv_status status = fv_onnx_list(im, name, 0, 2 * FV_ONNX_RANK, list, &found);
    if (status != FV_OK || found < 0)
        return status;
    if (found != count)
        return fv_fail(FV_FORMAT, "%s has %d numbers, expected %d", name, found, count);
    for (int i = 0; i < count; i++) {
        if (list[i] < low || list[i] > INT_MAX / 4)
            return fv_fail(FV_FORMAT, "%s has the number %lld, expected %d or more", name,
                           (long long)list[i], low);
        to[i] = (int)list[i];
    }
    return FV_OK;
}

static fv_status padding_of(const fv_onnx_import *im, fv_padding *padding) {
    static const char *const words[] = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", ""};
    static const fv_padding meanings[] = {FV_VALID, FV_VALID, FV_SAME, FV_SAME_LOWER, FV_VALID};
    const char *word = fv_onnx_word(im, "auto_pad", "NOTSET");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i], word) == 0) {
            *padding = meanings[i];
            return FV_OK;
        }
    return fv_fail(FV_FORMAT,
                   "auto_pad is \"%.40s\", expected NOTSET, VALID, SAME_UPPER or "
                   "SAME_LOWER",
                   word);
}

void fv_onnx_shorten(int sizes[3], int rank, int fallback) {
    for (int i = 1; i < rank; i++)
        if (sizes[i] != sizes[0])
            return;
    const int all = sizes[0];
    memset(sizes, 0, 3 * sizeof *sizes);
    sizes[0] = all == fallback ? 0 : all;
}

fv_status fv_onnx_read_window(const fv_onnx_import *im, int rank, fv_onnx_window *w) {
    int pads[6] = {0};
    *w = (fv_onnx_window){0};
    if (rank < 1 || rank > 3)
        return fv_fail(FV_FORMAT, "its input has %d spatial axes, expected 1 to 3", rank);
    for (int i = 0; i < rank; i++)
        w->stride[i] = w->dilation[i] = 1;
    fv_status status = numbers_of(im, "kernel_shape", rank, 1, w->kernel);
    if (status == FV_OK)
        status = numbers_of(im, "strides", rank, 1, w->stride);
    if (status == FV_OK)
        status = numbers_of(im, "dilations", rank, 1, w->dilation);
    if (status == FV_OK)
        status = numbers_of(im, "pads", 2 * rank, 0, pads);
    if (status == FV_OK)
        status = padding_of(im, &w->padding);
    const char *automatic = fv_onnx_word(im, "auto_pad", "NOTSET");
    for (int i = 0; i < rank && strcmp(automatic, "NOTSET") == 0; i++) {
        w->pad[i][0] = pads[i];
        w->pad[i][1] = pads[rank + i];
    }
    return status;
}

/* ---- Convolutions --------------------------------------------------------------------------- */

/* The window of a convolution: the weights know its kernel. */
static fv_status kernel_window(const fv_onnx_import *im, const fv_onnx_value *x,
                               const fv_onnx_constant *weight, fv_onnx_window *w) {
    int rank = x->array.rank - 2;
    fv_status status = fv_onnx_read_window(im, rank, w);
    if (status != FV_OK)
        return status;
    if (weight->rank != rank + 2)
        return fv_fail(FV_FORMAT, "its weights have %d axes, expected %d", weight->rank, rank + 2);
    for (int i = 0; i < rank; i++) {
        int64_t cells = weight->size[2 + i];
        if (cells < 1 || cells > INT_MAX / 4 || (w->kernel[i] > 0 && w->kernel[i] != cells))
            return fv_fail(FV_FORMAT, "kernel_shape and its weights disagree, or the kernel is "
                                      "empty");
        w->kernel[i] = (int)cells;
    }
    fv_onnx_shorten(w->stride, rank, 1);
    fv_onnx_shorten(w->dilation, rank, 1);
    return FV_OK;
}

static bool is_bias(const fv_onnx_constant *bias, int64_t outputs) {
    return !bias || bias->count == (size_t)outputs;
}

/* The bias, or NULL; *status says where it is no constant or has another length. */
static const fv_onnx_constant *bias_of(const fv_onnx_import *im, int64_t outputs,
                                       fv_status *status) {
    const fv_onnx_constant *bias = fv_onnx_in(im, 2) ? fv_onnx_in_constant(im, 2) : NULL;
    if (fv_onnx_in(im, 2) && !bias)
        *status = fv_error_status();
    else if (!is_bias(bias, outputs))
        *status = fv_fail(FV_FORMAT, "its bias has %zu numbers, expected %lld", bias->count,
                          (long long)outputs);
    return bias;
}

/* Gives the layer its weights and makes it the output. */
static fv_status finish(fv_onnx_import *im, fv_tensor layer, int rank,
                        const fv_onnx_constant *weight, const fv_onnx_constant *bias) {
    fv_status status = fv_onnx_give_constant(im, layer, "weight", weight);
    if (status == FV_OK && bias)
        status = fv_onnx_give_constant(im, layer, "bias", bias);
    return status == FV_OK ? fv_onnx_set_standard(im, fv_onnx_out(im, 0), layer, rank) : status;
}

/* Into the options of a layer, of which every kind of convolution has its own. */
static void put_window(const fv_onnx_window *w, int *kernel, int *stride, int *dilation,
                       int (*pad)[2]) {
    memcpy(kernel, w->kernel, sizeof w->kernel);
    memcpy(stride, w->stride, sizeof w->stride);
    memcpy(dilation, w->dilation, sizeof w->dilation);
    memcpy(pad, w->pad, sizeof w->pad);
}

static fv_status add_conv(fv_onnx_import *im, const fv_onnx_window *w, fv_tensor x, int64_t filters,
                          int64_t groups, bool bias, fv_tensor *layer) {
    fv_conv_options o = {.filters = (int)filters,
                         .groups = groups > 1 ? (int)groups : 0,
                         .padding = w->padding,
                         .no_bias = !bias};
    put_window(w, o.kernel, o.stride, o.dilation, o.pad);
    return fv_onnx_add1(im, "conv", x, &o, layer);
}

static fv_status add_depthwise(fv_onnx_import *im, const fv_onnx_window *w, fv_tensor x,
                               int64_t multiplier, bool bias, fv_tensor *layer) {
    fv_depthwise_conv_options o = {.multiplier = multiplier > 1 ? (int)multiplier : 0,
                                   .padding = w->padding,
                                   .no_bias = !bias};
    put_window(w, o.kernel, o.stride, o.dilation, o.pad);
    return fv_onnx_add1(im, "depthwise_conv", x, &o, layer);
}

fv_status fv_onnx_conv(fv_onnx_import *im) {
    fv_onnx_window w;
    fv_tensor x, layer;
    fv_onnx_value *in = fv_onnx_in_array(im, 0);
    const fv_onnx_constant *weight = in ? fv_onnx_in_constant(im, 1) : NULL;
    fv_status status = weight ? kernel_window(im, in, weight, &w) : fv_error_status();
    if (status == FV_OK)
        status = fv_onnx_standard(im, &in->array, &x);
    if (status != FV_OK)
        return status;
    int64_t channels = fv_onnx_shape(im, x)->channels, filters = weight->size[0],
            groups = fv_onnx_integer(im, "group", 1);
    if (groups < 1 || groups > channels || channels % groups != 0 || filters < 1 ||
        filters > INT_MAX || filters % groups != 0 || weight->size[1] != channels / groups)
        return fv_fail(FV_FORMAT,
                       "its weights are for %lld channels in %lld groups, and its input "
                       "has %lld",
                       (long long)weight->size[1], (long long)groups, (long long)channels);
    const fv_onnx_constant *bias = bias_of(im, filters, &status);
    if (status == FV_OK && groups == channels && channels > 1)
        status = add_depthwise(im, &w, x, filters / channels, bias, &layer);
    else if (status == FV_OK)
        status = add_conv(im, &w, x, filters, groups, bias, &layer);
    return status == FV_OK ? finish(im, layer, in->array.rank, weight, bias) : status;
}

/* ---- Transposed convolutions ---------------------------------------------------------------- */

/* Padding that gives the wanted output size, n x stride where auto_pad asks for it: total = stride
 * (n - 1) + output_padding + dilation (kernel - 1) + 1 - size. */
static fv_status fit_output(const fv_onnx_import *im, const fv_shape *input, fv_onnx_window *w,
                            int *output_pad) {
    int wanted[3] = {0};
    bool upper = strcmp(fv_onnx_word(im, "auto_pad", "NOTSET"), "SAME_UPPER") == 0;
    fv_status status = numbers_of(im, "output_shape", input->rank, 1, wanted);
    if (status != FV_OK || (w->padding == FV_VALID && wanted[0] == 0))
        return status;
    for (int i = 0; i < input->rank; i++) {
        if (input->size[i] == FV_ANY && wanted[i] > 0)
            return fv_fail(FV_UNSUPPORTED, "output_shape for an input whose size varies");
        int64_t n = input->size[i], stride = fv_size_at(w->stride, i, 1);
        int64_t size = wanted[i] > 0 ? wanted[i] : n * stride;
        int64_t total = stride * (n - 1) + output_pad[i] +
                        (int64_t)fv_size_at(w->dilation, i, 1) * (w->kernel[i] - 1) + 1 - size;
        if (total > INT_MAX || total < -INT_MAX)
            return fv_fail(FV_UNSUPPORTED, "its sizes are too large");
        output_pad[i] += total < 0 ? (int)-total : 0;
        int cut = total > 0 ? (int)total : 0;
        w->pad[i][0] = upper ? cut / 2 : cut - cut / 2;
        w->pad[i][1] = cut - w->pad[i][0];
    }
    w->padding = FV_VALID;
    return FV_OK;
}

fv_status fv_onnx_conv_transpose(fv_onnx_import *im) {
    fv_onnx_window w;
    fv_tensor x, layer;
    int output_pad[3] = {0};
    fv_onnx_value *in = fv_onnx_in_array(im, 0);
    const fv_onnx_constant *weight = in ? fv_onnx_in_constant(im, 1) : NULL;
    fv_status status = weight ? kernel_window(im, in, weight, &w) : fv_error_status();
    if (status == FV_OK)
        status = fv_onnx_standard(im, &in->array, &x);
    if (status == FV_OK)
        status = numbers_of(im, "output_padding", in->array.rank - 2, 0, output_pad);
    if (status == FV_OK)
        status = fit_output(im, fv_onnx_shape(im, x), &w, output_pad);
    if (status != FV_OK)
        return status;
    int64_t channels = fv_onnx_shape(im, x)->channels, groups = fv_onnx_integer(im, "group", 1),
            filters = weight->size[1];
    if (weight->size[0] != channels || groups < 1 || channels % groups != 0 || filters < 1 ||
        filters > INT_MAX / groups)
        return fv_fail(FV_FORMAT,
                       "its weights are for %lld channels in %lld groups, and its input "
                       "has %lld",
                       (long long)weight->size[0], (long long)groups, (long long)channels);
    const fv_onnx_constant *bias = bias_of(im, filters * groups, &status);
    fv_conv_transpose_options o = {.filters = (int)(filters * groups),
                                   .groups = groups > 1 ? (int)groups : 0,
                                   .no_bias = !bias};
    put_window(&w, o.kernel, o.stride, o.dilation, o.pad);
    memcpy(o.output_pad, output_pad, sizeof o.output_pad);
    if (status == FV_OK)
        status = fv_onnx_add1(im, "conv_transpose", x, &o, &layer);
    return status == FV_OK ? finish(im, layer, in->array.rank, weight, bias) : status;
}

/* ---- Products with matrices ----------------------------------------------------------------- */

/* A constant matrix of inputs x outputs, or transposed, and what it is multiplied with. */
typedef struct matrix {
    const fv_onnx_constant *constant;
    size_t inputs, outputs;
    bool transposed; /* rows are outputs */
    double factor;
} matrix;

static fv_status find_matrix(const fv_onnx_import *im, bool transposed, double factor, matrix *m) {
    m->constant = fv_onnx_in_constant(im, 1);
    m->transposed = transposed;
    m->factor = factor;
    if (!m->constant)
        return fv_error_status();
    if (m->constant->rank != 2 || m->constant->count == 0 || m->constant->size[0] > INT_MAX ||
        m->constant->size[1] > INT_MAX)
        return fv_fail(FV_FORMAT, "its second input is no matrix (it has %d axes)",
                       m->constant->rank);
    m->inputs = (size_t)m->constant->size[transposed];
    m->outputs = (size_t)m->constant->size[!transposed];
    return FV_OK;
}

/* Where a flattened vector's number in memory stands in the weights of files, which have the
 * channels before the sizes that were folded in. */
static size_t file_column(const fv_shape *vector, size_t place) {
    size_t sizes = 1;
    for (int i = 0; i < 3 && vector->size[i] > 0; i++)
        sizes *= (size_t)vector->size[i];
    size_t channels = (size_t)vector->channels / sizes;
    return place % channels * sizes + place / channels;
}

/* The matrix as a dense layer's weights, column k of ONNX at columns[k]. */
static float *turn(const matrix *m, const size_t *columns) {
    float *from = fv_onnx_floats(m->constant), *to = NULL;
    if (from)
        to = fv_alloc(m->constant->count, sizeof *to);
    for (size_t k = 0; to && k < m->inputs; k++) {
        size_t column = columns ? columns[k] : k;
        for (size_t u = 0; u < m->outputs; u++) {
            float value = from[m->transposed ? u * m->inputs + k : k * m->outputs + u];
            to[u * m->inputs + column] =
                m->factor == 1 ? value : (float)(m->factor * (double)value);
        }
    }
    fv_free(from);
    return to;
}

static fv_status give_matrix(fv_onnx_import *im, fv_tensor layer, const matrix *m,
                             const size_t *columns) {
    bool straight = m->transposed && m->factor == 1;
    for (size_t k = 0; straight && columns && k < m->inputs; k++)
        straight = columns[k] == k;
    if (straight)
        return fv_onnx_give_constant(im, layer, "weight", m->constant);
    return fv_onnx_give(im, layer, "weight", m->constant->count, turn(m, columns));
}

/* What is added to a product: numbers that broadcast to one for each output, times a factor. */
static fv_status check_added(const fv_onnx_constant *c, size_t outputs) {
    bool last = c->count == 1 || (c->rank > 0 && c->size[c->rank - 1] == (int64_t)c->count);
    if (last && (c->count == 1 || c->count == outputs))
        return FV_OK;
    return fv_fail(FV_FORMAT, "what it adds has %zu numbers, expected one for each of %zu outputs",
                   c->count, outputs);
}

static fv_status give_added(fv_onnx_import *im, fv_tensor layer, const fv_onnx_constant *c,
                            size_t outputs, double factor) {
    if (factor == 1 && c->count == outputs)
        return fv_onnx_give_constant(im, layer, "bias", c);
    float *values = fv_alloc(outputs, sizeof *values);
    for (size_t u = 0; values && u < outputs; u++)
        values[u] = (float)(factor * fv_onnx_number(c, c->count == 1 ? 0 : u));
    return fv_onnx_give(im, layer, "bias", outputs, values);
}

/* The sample as a vector through a dense layer. */
static fv_status add_dense(fv_onnx_import *im, const fv_onnx_value *in, const matrix *m,
                           const fv_onnx_constant *bias, double factor) {
    fv_tensor x, layer;
    fv_dense_options o = {.units = (int)m->outputs, .no_bias = !bias};
    size_t *columns = NULL;
    fv_status status = fv_onnx_vector(im, &in->array, &x);
    if (status == FV_OK && (size_t)fv_onnx_shape(im, x)->channels != m->inputs)
        status = fv_fail(FV_FORMAT, "its matrix is for %zu values, and its input has %d", m->inputs,
                         fv_onnx_shape(im, x)->channels);
    if (status == FV_OK)
        status = (columns = fv_alloc(m->inputs, sizeof *columns)) ? FV_OK : FV_MEMORY;
    if (status == FV_OK) {
        fv_onnx_places(&in->array, columns);
        for (size_t k = 0; k < m->inputs; k++)
            columns[k] = file_column(fv_onnx_shape(im, x), columns[k]);
        status = fv_onnx_add1(im, "dense", x, &o, &layer);
    }
    if (status == FV_OK)
        status = give_matrix(im, layer, m, columns);
    if (status == FV_OK && bias)
        status = give_added(im, layer, bias, m->outputs, factor);
    fv_free(columns);
    return status == FV_OK ? fv_onnx_set_standard(im, fv_onnx_out(im, 0), layer, 2) : status;
}

/* alpha A B + beta C, with A what the net reckons. */
fv_status fv_onnx_gemm(fv_onnx_import *im) {
    matrix m;
    fv_onnx_value *in = fv_onnx_in_array(im, 0);
    if (!in)
        return fv_error_status();
    if (in->array.rank != 2 || fv_onnx_integer(im, "transA", 0) != 0)
        return fv_fail(FV_UNSUPPORTED,
                       "its first input is transposed, or has %d axes instead of two",
                       in->array.rank);
    double alpha = fv_onnx_float(im, "alpha", 1), beta = fv_onnx_float(im, "beta", 1);
    if (!isfinite(alpha) || !isfinite(beta))
        return fv_fail(FV_FORMAT, "alpha or beta is no number");
    fv_status status = find_matrix(im, fv_onnx_integer(im, "transB", 0) != 0, alpha, &m);
    if (status != FV_OK)
        return status;
    if (!fv_onnx_in(im, 2))
        return add_dense(im, in, &m, NULL, 1);
    const fv_onnx_constant *c = fv_onnx_in_constant(im, 2);
    status = c ? check_added(c, m.outputs) : fv_error_status();
    return status == FV_OK ? add_dense(im, in, &m, c, beta) : status;
}

/* The last axis of several as the channels of a 1x1 convolution. */
static fv_status multiply_last(fv_onnx_import *im, const fv_onnx_value *in, const matrix *m) {
    int axes[FV_ONNX_RANK], count, rank = in->array.rank;
    fv_tensor x, layer;
    fv_onnx_window w = {.kernel = {1}};
    fv_status status = fv_onnx_arrange_last(im, &in->array, rank - 1, axes, &count, &x);
    if (status == FV_OK && (size_t)fv_onnx_shape(im, x)->channels != m->inputs)
        status = fv_fail(FV_FORMAT, "its matrix has %zu rows, and its input's last axis %d",
                         m->inputs, fv_onnx_shape(im, x)->channels);
    if (status == FV_OK)
        status = add_conv(im, &w, x, (int64_t)m->outputs, 1, false, &layer);
    if (status == FV_OK)
        status = give_matrix(im, layer, m, NULL);
    return status == FV_OK ? fv_onnx_set_array(im, fv_onnx_out(im, 0), layer, rank, count, axes)
                           : status;
}

fv_status fv_onnx_matmul(fv_onnx_import *im) {
    matrix m;
    fv_onnx_value *in = fv_onnx_in_array(im, 0);
    const fv_onnx_constant *second = in ? fv_onnx_in_constant(im, 1) : NULL;
    if (second && second->rank != 2)
        return fv_fail(FV_UNSUPPORTED, "its second input has %d axes, expected 2", second->rank);
    fv_status status = second ? find_matrix(im, false, 1, &m) : fv_error_status();
    if (status != FV_OK)
        return status;
    if (in->array.rank < 2)
        return fv_fail(FV_FORMAT, "its first input has the batch's axis only");
    return in->array.rank == 2 ? add_dense(im, in, &m, NULL, 1) : multiply_last(im, in, &m);
}
