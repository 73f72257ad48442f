/* The table of kernels: arithmetic on plain arrays, which knows nothing of graphs. Each kernel
 * file is compiled once for each instruction set; fv_kernels_get() picks a table once by CPUID.
 * Called by the layers, the executor and the training step. */
#ifndef FV_KERNELS_KERNELS_H
#define FV_KERNELS_KERNELS_H

#include "base/real.h"
#include <fovea.h>
#include <stddef.h>
#include <stdint.h>

/* The batch-reduce matrix product:
 *   C(i, j) (+)= bias(j) + sum over t < terms, k < depth of A_t(i, k) * B_t(k, j)
 * with A_t(i, k) = a[a_offset[t] + i * a_row + k * a_column]
 * and  B_t(k, j) = b[b_offset[t] + k * b_row + j].
 * The register tile is held across the whole list, so a convolution in any number of dimensions is
 * this one call with a list of kernel rows. Each C(i, j) is summed in the order of t, then k,
 * whatever the tile. */
typedef struct fv_product {
    int rows, columns; /* columns <= kernels->panel */
    int depth, terms;
    const real *a;
    const ptrdiff_t *a_offset;
    ptrdiff_t a_row, a_column;
    const real *b; /* readable up to the next multiple of kernels->vector columns */
    const ptrdiff_t *b_offset;
    ptrdiff_t b_row;
    real *c; /* only `columns` are written */
    ptrdiff_t c_row;
    const real *bias;   /* readable as B is; NULL: 0 */
    bool add;           /* add to what C holds (then no bias) */
    const real *addend; /* added after all of these; laid out as C, or C itself; NULL: 0 */
    bool relu;          /* max(., 0) at the end */
    real most;          /* with relu: and min(., most); 0: no bound */
} fv_product;

/* A row of pixels of a depthwise convolution, channel by channel:
 *   depthwise:          y(i, c) = bias(c) + sum over t < terms of x_t(i, c) * w_t(c)
 *   depthwise_weights:  dw_t(c) += sum over i < pixels of x_t(i, c) * dy(i, c)
 * with x_t(i, c) = x[x_offset[t] + i * x_pixel + c], w_t(c) = w[w_offset[t] + c] (dw alike) and
 * y(i, c) = y[i * y_pixel + c] (dy alike). */
typedef struct fv_depthwise {
    int pixels, channels, terms;
    const real
        *x; /* x, w, dy, bias: readable up to the next multiple of kernels->vector channels */
    const ptrdiff_t *x_offset;
    ptrdiff_t x_pixel;
    const real *w, *bias; /* bias NULL: 0 */
    const ptrdiff_t *w_offset;
    const real *dy;
    real *y, *dw; /* only `channels` are written */
    ptrdiff_t y_pixel;
    bool relu; /* max(., 0) at the end of y */
    real most; /* with relu: and min(., most); 0: no bound */
} fv_depthwise;

/* A pooling window over one sample, three spatial axes (outer ones may be 1), NHWC. */
typedef struct fv_window {
    int in[3], out[3];                           /* sizes */
    int size[3], stride[3], before[3], after[3]; /* window, step, padding in front and behind */
    int channels;
    bool adaptive; /* window i is [floor(i in / out), ceil((i + 1) in / out)), `size` the largest */
    bool count_pad; /* average: cells in the padding count in the divisor, those past it do not */
    bool sum;       /* average: no divisor */
} fv_window;

/* Numbers of an optimiser's update; which are used depends on the optimiser. */
typedef struct fv_update {
    real lr, momentum, rho, beta1, beta2, epsilon;
    real new_rho, new_beta1, new_beta2; /* 1 - rho and so on, rounded once from double */
    /* Of Adam and its kin: lr with this step's corrections; the factor of sqrt(v); nadam's share
     * of the gradient itself. See optimizer.c. */
    real rate, root, gradient_rate;
    bool nesterov, centered, amsgrad;
    bool torch; /* PyTorch's formula */
} fv_update;

/* How the gradient goes through an affine map whose mean and deviation depend on x. */
typedef struct fv_affine_back {
    const real *factor, *slope, *offset; /* one for each channel */
} fv_affine_back;

/* Each row of `length` values is normalised on its own: y = (x - mean) / sqrt(variance + epsilon)
 * scale(i) + bias(i). */
typedef struct fv_row_norm {
    size_t length;
    bool center;      /* else the mean counts as 0 */
    bool unit_length; /* divide by sqrt(max(sum of x^2, epsilon)): the row gets the length 1 */
    double epsilon;
    const real *scale, *bias; /* NULL: 1 and 0 */
} fv_row_norm;

/* Local response normalisation: the window of channel c is c - before to c + after. */
typedef struct fv_lrn_window {
    int channels, before, after;
    real alpha, beta, k;
} fv_lrn_window;

/* Cells of a picture that one of Winograd's tiles reads or writes, some channels of them. */
typedef struct fv_patch {
    ptrdiff_t row, pixel; /* distances of the picture's rows and pixels */
    int channels;         /* a multiple of kernels->vector */
    /* The patch's cells that lie in the picture: the others are zeros, and are not written. The
     * picture's pointer is to the first of them. */
    int first_row, end_row, first_column, end_column;
} fv_patch;

/* A block of kernels w[cell][channel][filter], and of their points u[point][channel][filter]. */
typedef struct fv_winograd_kernels {
    int channels, filters;      /* filters: a multiple of kernels->vector */
    ptrdiff_t cell, row;        /* distances in w of kernel cells and of channels */
    ptrdiff_t step, points_row; /* distances in u of points and of channels */
} fv_winograd_kernels;

/* F(tile x tile, kernel x kernel), where tile + kernel - 1 = FV_WINOGRAD_POINTS. */
typedef struct fv_winograd_form {
    int tile, kernel;
    /* y = the tile of points m, plus bias (NULL: 0) and addend (laid out as y, or y itself; NULL:
     * 0), with relu max(., 0); and the transpose. */
    void (*output)(const fv_patch *at, const real *m, ptrdiff_t step, const real *bias,
                   const real *addend, bool relu, real *y);
    void (*output_back)(const fv_patch *at, const real *dy, real *z, ptrdiff_t step);
    void (*weights)(const fv_winograd_kernels *at, const real *w, real *u);
    /* dw = (add: +=) what the points' gradients u come to. */
    void (*weights_back)(const fv_winograd_kernels *at, const real *u, bool add, real *dw);
} fv_winograd_form;

enum { FV_WINOGRAD_POINTS = 6 };

typedef void fv_update_kernel(const fv_update *update, size_t count, real *weight,
                              const real *gradient, real *const *slots);

typedef struct fv_kernels {
    const char *name; /* "v2", "v3", "v4", "generic" */
    int vector;       /* values in a vector */
    int panel;        /* columns of a register tile: 2 vectors */
    int rows;         /* rows of a register tile */

    void (*product)(const fv_product *product);

    void (*depthwise)(const fv_depthwise *row);
    void (*depthwise_weights)(const fv_depthwise *row);

    /* Packs B (depth x columns, row stride b_row) as panels: [columns / panel][depth][panel], the
     * last panel padded with zeros. `transposed`: B(k, j) is at b[j * b_row + k]. */
    void (*pack)(const real *b, ptrdiff_t b_row, bool transposed, int depth, int columns,
                 real *panels);

    /* In place over rows x channels; `constant`: see fv_activation_constant(). backward: gradient
     * *= derivative, by `seen`: the outputs, or the inputs where fv_activation_by_input(kind). */
    void (*activate)(fv_activation kind, real constant, size_t rows, int channels, real *y);
    void (*activate_back)(fv_activation kind, real constant, size_t rows, int channels,
                          const real *seen, real *gradient);
    /* y = x > 0 ? x : slope(c) x, over rows x channels. backward: dx, sums may be NULL; sums[c] +=
     * dy x where x <= 0. */
    void (*prelu)(size_t rows, int channels, const real *x, const real *slope, real *y);
    void (*prelu_back)(size_t rows, int channels, const real *x, const real *slope, const real *dy,
                       real *dx, real *sums);
    /* ReLU's derivative as one bit a value: bits[i / 8] bit i % 8 = y[i] > 0; count rounds up to
     * fv_bit_bytes(count). */
    void (*positive_bits)(size_t count, const real *y, uint8_t *bits);
    /* The same for low < y[i] < high. */
    void (*between_bits)(size_t count, real low, real high, const real *y, uint8_t *bits);
    /* y[i] *= scale where bit i is not set. */
    void (*scale_rest)(size_t count, const uint8_t *bits, real scale, real *y);
    /* y[i] = x[i] * scale where bit i is set, else 0; x == y is allowed. */
    void (*keep_bits)(size_t count, const uint8_t *bits, real scale, const real *x, real *y);
    /* Dropout's bits: bit i is set where 16 random bits of (key, stream) are >= threshold. */
    void (*random_bits)(size_t count, const uint32_t key[2], const uint32_t stream[3],
                        uint32_t threshold, uint8_t *bits);

    void (*bytes_to_real)(size_t count, const uint8_t *bytes, real *y);
    void (*scale)(size_t count, real factor, real *y); /* y *= factor */
    void (*add)(size_t count, const real *x, real *y); /* y += x */
    void (*add_rows)(size_t rows, int channels, ptrdiff_t row, const real *x, real *sum);
    /* sums[i] = sum over u < units of parts[u * stride + i], in a fixed binary tree over u. */
    void (*tree_sum)(size_t count, int units, size_t stride, real *parts, real *sums);
    bool (*all_finite)(size_t count, const real *x);

    /* Normalisation over rows x channels, see normalize.c. sums[c] = sum over the rows of u,
     * sums[channels + c] = that of u (x - shift(c)); u is dy, or x - shift(c) where dy is NULL. */
    void (*channel_sums)(size_t rows, int channels, const real *x, const real *shift,
                         const real *dy, double *sums);
    /* y = (x - mean(c)) factor(c) + offset(c); mean NULL: y = x factor(c). */
    void (*affine)(size_t rows, int channels, const real *x, const real *mean, const real *factor,
                   const real *offset, real *y);
    /* dx = dy factor(c) - (x - mean(c)) slope(c) - offset(c). */
    void (*affine_back)(size_t rows, int channels, const real *x, const real *mean, const real *dy,
                        const fv_affine_back *by, real *dx);
    /* notes (NULL in inference): mean and 1 / deviation of each row, for backward, which adds to
     * dscale and dbias; dx, dscale, dbias may be NULL. */
    void (*norm_rows)(const fv_row_norm *norm, size_t rows, const real *x, real *notes, real *y);
    void (*norm_rows_back)(const fv_row_norm *norm, size_t rows, const real *x, const real *notes,
                           const real *dy, real *dx, real *dscale, real *dbias);
    /* scratch: 4 channels + 2 (before + after) values. */
    void (*lrn)(const fv_lrn_window *lrn, size_t rows, const real *x, real *scratch, real *y);
    void (*lrn_back)(const fv_lrn_window *lrn, size_t rows, const real *x, const real *dy,
                     real *scratch, real *dx);
    /* y[i] += deviation x normal number i of (key, stream), see layers/gaussian_noise.c. */
    void (*add_normals)(size_t count, const uint32_t key[2], const uint32_t stream[3],
                        real deviation, real *y);

    /* Max pooling keeps each window's winner (its cell, the first of equals) as a byte where the
     * window has at most 256 cells, in an order that only these two know, else as an int32_t.
     * `winners` NULL: inference. */
    void (*maxpool)(const fv_window *window, const real *x, real *y, void *winners);
    void (*maxpool_back)(const fv_window *window, const real *dy, const void *winners, real *dx);
    void (*avgpool)(const fv_window *window, const real *x, real *y);
    void (*avgpool_back)(const fv_window *window, const real *dy, real *dx);

    /* Winograd's minimal filtering: the transforms of 6x6 points, see winograd.c. The points of a
     * patch lie `step` apart. winograd_input_back adds to dx. */
    void (*winograd_input)(const fv_patch *at, const real *x, real *v, ptrdiff_t step);
    void (*winograd_input_back)(const fv_patch *at, const real *v, ptrdiff_t step, real *dx);
    const fv_winograd_form *winograd[2]; /* F(4x4, 3x3) and F(2x2, 5x5) */

    fv_update_kernel *sgd;      /* slot 0: velocity */
    fv_update_kernel *adagrad;  /* slot 0: sum of g^2 */
    fv_update_kernel *rmsprop;  /* slots: mean of g^2, velocity (with momentum), mean of g */
    fv_update_kernel *adadelta; /* slots: mean of g^2, mean of step^2 */
    fv_update_kernel *adam;     /* slots: m, v, the largest v (amsgrad) */
    fv_update_kernel *adamax;   /* slots: m, the largest |g| */
    fv_update_kernel *nadam;    /* slots: m, v */
    fv_update_kernel *lion;     /* slot 0: m */
    fv_update_kernel *lamb;     /* slots: m, v, both brought up to date by lamb_moments */
    /* The sum of squares of the step's directions m / (sqrt(v) root + epsilon). */
    double (*lamb_moments)(const fv_update *update, size_t count, const real *gradient,
                           real *const *slots);

    /* Multiply-adds in registers, *count of them, a multiple of `rounds`; 0 < factor < 1. Their
     * sum. */
    double (*multiply_adds)(size_t rounds, real factor, int64_t *count);

    double (*sum_squares)(size_t count, const real *x);
    double (*sum_absolute)(size_t count, const real *x);
    /* g += l1 sign(w) + l2 w */
    void (*regularize)(size_t count, real l1, real l2, const real *w, real *g);
    void (*clamp)(size_t count, real limit, real *g); /* to -limit ... limit */
    void (*decay)(size_t count, real share, real *w); /* w -= share w */
    /* mean = old_share mean + new_share w */
    void (*average)(size_t count, real old_share, real new_share, const real *w, real *mean);
} fv_kernels;

static inline size_t fv_bit_bytes(size_t count) {
    return (count + 63) / 64 * 8;
}

/* Panels that hold so many columns. */
static inline int fv_panels(int columns, const fv_kernels *kernels) {
    return (columns + kernels->panel - 1) / kernels->panel;
}

/* Packs rows [first, first + count) of a matrix of depth x columns, of which `b` is row `first`,
 * into its panels. */
static inline void fv_pack_rows(const fv_kernels *kernels, const real *b, ptrdiff_t b_row,
                                int depth, int columns, int first, int count, real *panels) {
    for (int j = 0; j < columns; j += kernels->panel)
        kernels->pack(b + j, b_row, false, count,
                      columns - j < kernels->panel ? columns - j : kernels->panel,
                      panels + (ptrdiff_t)j * depth + (ptrdiff_t)first * kernels->panel);
}

/* The table for this machine, or that which FOVEA_ISA names; NULL with a message. */
const fv_kernels *fv_kernels_get(void);
/* The table of that name, NULL (no message) where this processor or build lacks it. */
const fv_kernels *fv_kernels_by_name(const char *name);

#endif
