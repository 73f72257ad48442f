/* The oracles of convolutions (reference_conv.c): see reference.h. */
#ifndef FV_TESTS_REFERENCE_CONV_H
#define FV_TESTS_REFERENCE_CONV_H

#include <fovea.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Sliding windows ------------------------------------------------------------------------- */

/* Along axes that the input does not have: sizes, stride and dilation 1, no padding. */
typedef struct ref_window {
    int rank;
    int in[3], out[3];
    int kernel[3], stride[3], dilation[3];
    int before[3], after[3]; /* padding */
} ref_window;

typedef struct ref_slide {
    const int *kernel, *stride, *dilation; /* int[3]; NULL: 1 */
    fv_padding padding;
    const int (*pad)[2]; /* int[3][2]; NULL: 0 */
    bool ceil;           /* see fv_pool_options */
} ref_slide;

/* False where no output exists: the kernel is larger than the padded input, has more axes than the
 * input, or the input has none. */
bool ref_make_window(const fv_shape *input, const ref_slide *slide, ref_window *window);
bool ref_conv_window(const fv_shape *input, const fv_conv_options *options, ref_window *window);
/* Of a transposed convolution: the window that goes back from its output (`in`) to its input
 * (`out`). */
bool ref_transpose_window(const fv_shape *input, const fv_conv_transpose_options *options,
                          ref_window *window);

int ref_cells(const int size[3]); /* the product */
/* The window's output, with so many channels. */
fv_shape ref_window_output(const ref_window *window, int channels);

/* ---- Convolution ----------------------------------------------------------------------------- */

/* y(o, f) = sum over cells k, linked channels c of x(o stride + k dilation - before, c) w(k, c, f),
 * x being 0 outside. A depthwise convolution has as many groups as channels.
 * Weights: [cells][channels / groups][filters]; with a table [cells][links], links by filter, then
 * by channel; local: [places][cells][channels][filters]. */
typedef struct ref_conv {
    ref_window window;
    int samples, channels, filters, groups;
    const uint64_t *table; /* NULL: all channels of the group */
    bool local;            /* weights of its own for each place */
} ref_conv;

size_t ref_conv_weights(const ref_conv *conv); /* how many there are */
int64_t ref_conv_macs(const ref_conv *conv);   /* of a sample, those on padding included */

/* Each adds to its last argument. */
void ref_conv_forward(const ref_conv *conv, const double *x, const double *weight, double *y);
void ref_conv_back(const ref_conv *conv, const double *dy, const double *weight, double *dx);
void ref_conv_weights_back(const ref_conv *conv, const double *x, const double *dy,
                           double *dweight);

/* y(r, f) += bias(f), and dbias(f) += the sum over rows r of dy(r, f). */
void ref_bias(size_t rows, size_t columns, const double *bias, double *y);
void ref_bias_back(size_t rows, size_t columns, const double *dy, double *dbias);

#endif
