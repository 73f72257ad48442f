/* Convolution inside the layers room. conv.c is the record; conv_geometry.c measures a convolution
 * and lays out its arrays; conv_direct.c is the algorithm by the batch-reduce product, sample by
 * sample, which conv_transpose.c and separable_conv.c use too, conv_depthwise.c and conv_window.c
 * where no sum runs over channels; conv_winograd.c is the algorithm for 3x3 kernels in the plane.
 */
#ifndef FV_LAYERS_CONV_H
#define FV_LAYERS_CONV_H

#include "layers/layer.h"

/* ---- Geometry (conv_geometry.c) ---------------------------------------------------------------
 */

/* What is computed, besides the bias gradient: decides which memory is needed. */
enum { FV_CONV_OUTPUT = 1, FV_CONV_INPUT_GRADIENT = 2, FV_CONV_WEIGHT_GRADIENT = 4 };

/* Three axes, those that the input lacks first and of size 1; so one code path serves 1-D to 3-D.
 * Neighbouring axes that a 1x1 kernel does not tell apart are folded into one. */
typedef struct fv_conv_geometry {
    fv_axis axis[3];
    int channels, filters, groups;
    int uses;       /* FV_CONV_ bits */
    bool depthwise; /* more than one group, and a channel in each */
    /* The input is padded with zeros, and each channel repeated for its filters where it is
     * depthwise: values of a pixel there. */
    int pixel;
    /* dy is laid out with zeros around it, and its rows of filters padded so that a group's can be
     * read in whole vectors: [low + out + high along each axis][filter_row]. */
    int low[3], high[3], filter_row;
    int cell_step[3]; /* kernel cells so far apart see input cells of the same phase of the stride
                       */
    bool copy_input, copy_gradient; /* the layouts above are not those of the arrays themselves */
} fv_conv_geometry;

/* Completes *g, whose first `rank` axes, channels, filters, groups and uses are set. */
void fv_conv_measure(fv_conv_geometry *g, int rank, const fv_kernels *kernels);
/* Measures the convolution of the options. */
fv_conv_geometry fv_conv_geometry_of(const fv_conv_options *options, const fv_shape *input,
                                     int uses, const fv_kernels *kernels);
/* Refuses what could not be counted. `input` is for the message; its sizes may be FV_ANY. */
fv_status fv_conv_check_sizes(const fv_axis *axes, const fv_shape *input, int channels,
                              int filters);

size_t fv_conv_cells(const fv_conv_geometry *g);        /* of the kernel */
size_t fv_conv_input_count(const fv_conv_geometry *g);  /* values of a sample of x */
size_t fv_conv_output_count(const fv_conv_geometry *g); /* ... and of y */
size_t fv_conv_input_copy(const fv_conv_geometry *g, const fv_kernels *k);    /* bytes */
size_t fv_conv_gradient_copy(const fv_conv_geometry *g, const fv_kernels *k); /* bytes */

/* The input padded, and dy with its border, in `copy`; or the array itself if that will do. */
const real *fv_conv_pad_input(const fv_conv_geometry *g, fv_pool *pool, const real *x, real *copy);
const real *fv_conv_border_gradient(const fv_conv_geometry *g, const real *dy, real *copy);

/* Offsets of pixel (d, h, w) in these layouts. */
static inline ptrdiff_t fv_conv_input_at(const fv_conv_geometry *g, int d, int h, int w) {
    const fv_axis *a = g->axis;
    ptrdiff_t height = a[1].before + a[1].in + a[1].after;
    ptrdiff_t width = a[2].before + a[2].in + a[2].after;
    return ((d * height + h) * width + w) * g->pixel;
}

static inline ptrdiff_t fv_conv_gradient_at(const fv_conv_geometry *g, int d, int h, int w) {
    ptrdiff_t height = g->low[1] + g->axis[1].out + g->high[1];
    ptrdiff_t width = g->low[2] + g->axis[2].out + g->high[2];
    return (((d + g->low[0]) * height + h + g->low[1]) * width + w + g->low[2]) * g->filter_row;
}

/* Pixels of input row (d, h) that see the same kernel cells: every stride-th from `first` on.
 * dy points to what cell 0 would bring to the first of them; a_offset[t] leads from there to what
 * term t does, through kernel cell number b_offset[t] / cell_size. */
typedef struct fv_conv_phase {
    int d, h, first;
    int pixels, terms;
    ptrdiff_t dy; /* in the bordered gradient */
    ptrdiff_t dx; /* of the first pixel, in a sample of `channels` values a pixel */
} fv_conv_phase;

void fv_conv_list_phase(const fv_conv_geometry *g, ptrdiff_t cell_size, fv_conv_phase *phase,
                        ptrdiff_t *a_offset, ptrdiff_t *b_offset);

/* A copy with zeros before and after along each axis (conv_border.c). A pixel of the copy holds
 * each channel `repeat` times in a row, and zeros up to `row` values. */
typedef struct fv_border {
    int size[3], low[3], high[3]; /* of the source; zeros added */
    int channels, repeat, row;
} fv_border;

void fv_copy_with_border(const fv_border *border, fv_pool *pool, const real *from, real *to);

/* ---- The direct algorithm (conv_direct.c, conv_depthwise.c) -----------------------------------
 */

/* On one thread: the packed weights, and its memory. */
typedef struct fv_conv_direct {
    const fv_conv_geometry *g;
    const fv_kernels *k;
    real *forward, *back;           /* packed, for the output and for the input gradient */
    ptrdiff_t *a_offset, *b_offset; /* lists of a product's terms */
    real *input_copy, *gradient_copy;
    real *row; /* depthwise: a row of the input gradient before a channel's filters are added up */
    real *window;       /* depthwise: see conv_window.c */
    size_t stride;      /* bytes from this memory to that of the next thread of the pool */
    real most;          /* bound of an output with relu, see fv_product; 0: none */
    const real *addend; /* of an output, see fv_product; NULL: none; not where depthwise */
    fv_pool *pool;      /* whose threads share an output; NULL: the caller does all of it */
} fv_conv_direct;

/* A 1x1 convolution that makes a sample of a depthwise convolution's input while that needs it:
 * then there is no such array. */
typedef struct fv_conv_feed {
    fv_conv_direct d;
    const real *x, *bias;
    bool relu;
    fv_activation activation; /* one that the product does not apply */
    real activation_constant;
} fv_conv_feed;

size_t fv_conv_direct_packed(const fv_conv_geometry *g, const fv_kernels *k); /* bytes */
size_t fv_conv_direct_scratch(const fv_conv_geometry *g, const fv_kernels *k);
fv_conv_direct fv_conv_direct_open(const fv_conv_geometry *g, const fv_kernels *k, real *packed,
                                   unsigned char *scratch);
/* weights: [kernel cells][channels / groups][filters]. The pool may be NULL. */
void fv_conv_direct_pack(const fv_conv_direct *d, fv_pool *pool, const real *weights);

/* A bias as the functions below want it: `columns` values in `groups` groups. */
size_t fv_conv_bias_count(int columns, int groups, const fv_kernels *k);
void fv_conv_pack_bias(const real *bias, int columns, int groups, const fv_kernels *k, real *to);

/* Of one sample: `dy` with its border, `x` padded for the weight gradient alone. `bias` may be
 * NULL; `relu`: max(., 0) last. */
void fv_conv_sample_output(const fv_conv_direct *d, const real *x, const real *bias, bool relu,
                           real *y);
void fv_conv_sample_input_gradient(const fv_conv_direct *d, const real *dy, const real *bias,
                                   bool relu, real *dx);
void fv_conv_sample_weight_gradient(const fv_conv_direct *d, const real *x, const real *dy,
                                    bool add, real *dw);
void fv_conv_sample_bias_gradient(const fv_conv_direct *d, const real *dy, real *db); /* adds */

/* The same where g->depthwise. */
size_t fv_conv_depthwise_packed(const fv_conv_geometry *g, const fv_kernels *k); /* reals */
size_t fv_conv_depthwise_row(const fv_conv_geometry *g);                         /* reals */
void fv_conv_depthwise_pack(const fv_conv_direct *d, const real *weights);
size_t fv_conv_window_count(const fv_conv_geometry *g, const fv_kernels *k); /* reals */
bool fv_conv_window_takes_feed(const fv_conv_geometry *g, const fv_conv_geometry *feeder);
void fv_conv_depthwise_output(const fv_conv_direct *d, const fv_conv_feed *feed, const real *x,
                              const real *bias, bool relu, real *y);
void fv_conv_depthwise_phase(const fv_conv_direct *d, fv_conv_phase *phase, const real *dy,
                             const real *bias, bool relu, real *dx);
void fv_conv_depthwise_weight_gradient(const fv_conv_direct *d, const real *x, const real *dy,
                                       bool add, real *dw);

/* ---- Algorithms of the layers conv and depthwise_conv -----------------------------------------
 */

typedef struct fv_conv_algorithm {
    void (*prepare)(const fv_conv_geometry *g, const fv_setting *setting, fv_layer_plan *plan);
    void (*pack)(const fv_conv_geometry *g, const fv_call *call);
    void (*forward)(const fv_conv_geometry *g, const fv_call *call);
    void (*backward)(const fv_conv_geometry *g, const fv_call *call);
} fv_conv_algorithm;

extern const fv_conv_algorithm fv_conv_by_products, fv_conv_by_winograd;

/* Whether Winograd's algorithm can do this layer and pays. */
bool fv_conv_winograd_fits(const fv_conv_geometry *g, const fv_setting *setting);

/* A connection table's weights, [kernel cells][links], as those of a convolution that sees all
 * channels, and the gradient back (conv_table.c). */
bool fv_conv_has_table(const fv_conv_options *options);
fv_status fv_conv_check_table(const fv_conv_options *options, const fv_shape *input);
int fv_conv_links(const fv_conv_options *options);
void fv_conv_expand_table(const fv_conv_options *options, int channels, size_t cells,
                          const real *links, real *dense);
void fv_conv_gather_table(const fv_conv_options *options, int channels, size_t cells,
                          const real *dense, real *links);

/* ---- The layer conv, for others that are a case of it (conv.c) -------------------------------
 */

fv_status fv_conv_check_groups(int groups, const fv_shape *input, int filters);
int fv_conv_uses(const fv_setting *setting); /* FV_CONV_ bits of a layer that is a convolution */
fv_status fv_conv_infer(const fv_conv_options *options, const fv_shape *input,
                        fv_inference *inference);
void fv_conv_prepare(const fv_conv_options *options, const fv_shape *input, const fv_shape *output,
                     const fv_setting *setting, fv_layer_plan *plan);
void fv_conv_pack(const fv_conv_options *options, const fv_call *call);
void fv_conv_forward(const fv_conv_options *options, const fv_call *call);
void fv_conv_backward(const fv_conv_options *options, const fv_call *call);

extern const fv_layer_type fv_layer_conv;
bool fv_conv_takes_feed(const fv_conv_options *options, const fv_feeder *feeder,
                        const fv_kernels *kernels);

/* Options of a convolution with a group a channel (depthwise_conv.c). */
fv_status fv_conv_check_multiplier(int multiplier, const fv_shape *input);
fv_conv_options fv_conv_depthwise_options(const fv_depthwise_conv_options *options,
                                          const fv_shape *input);

/* ---- Weights of the family (conv_geometry.c) ----------------------------------------------------
 */

/* Kernels (outs, ins, cells...) stored [cells][ins][outs], where an output sees `ins` channels. */
fv_weight_spec fv_conv_weight(const char *name, int rank, const fv_axis *axes, int outs, int ins,
                              fv_init init);
fv_weight_spec fv_conv_bias(int filters, const fv_weight_spec *weight, fv_init init);
/* Multiply-adds: the weights' number times the places of `shape`, 0 where those vary. */
int64_t fv_conv_macs(const fv_weight_spec *weight, const fv_shape *shape);

#endif
