/* An ONNX model as a net. import.c walks the nodes, in whose order each value becomes a
 * constant or a layer's output; layout.c knows how a layer's numbers lie as ONNX has them;
 * fold*.c reckon constants; import_*.c know the operators, by subject, and join what is one
 * layer here: bias, batch norm, activation; patterns.c knows formulas that are one layer, which
 * match.c finds. Layers and their weights are added to a draft (draft.c), a net whose text
 * the net itself is then read from. */
#ifndef FV_FORMATS_ONNX_IMPORT_H
#define FV_FORMATS_ONNX_IMPORT_H

#include "formats/formats.h"
#include "formats/onnx/model.h"

/* ---- Values --------------------------------------------------------------------------------- */

typedef enum fv_onnx_kind { FV_NUMBER_FLOAT, FV_NUMBER_WHOLE, FV_NUMBER_TRUTH } fv_onnx_kind;

/* Numbers that are known before the net runs. Of whole numbers NaN is one that is not: the size of
 * the batch, or one that varies. */
typedef struct fv_onnx_constant {
    fv_onnx_kind kind;
    int rank;
    int64_t size[FV_ONNX_RANK];
    size_t count;
    const fv_onnx_tensor *tensor; /* either these numbers */
    const double *numbers;        /* or those */
} fv_onnx_constant;

/* A layer's output as an array of ONNX: axis 0 is the batch, the others are products of factors.
 * What is reshaped or transposed has other factors or another order of them, and nothing moves
 * until an operator wants its numbers in an order of its own. */
enum { FV_ONNX_FACTORS = 16 };
typedef struct fv_onnx_array {
    fv_tensor layer; /* of the draft */
    int rank;        /* axes, with the batch's; 1 or more */
    int begin[FV_ONNX_RANK +
              1]; /* axis a: factors begin[a] to begin[a + 1] - 1; none: its size is 1 */
    int count;
    int factor[FV_ONNX_FACTORS]; /* in ONNX's order; more than 1, or FV_ANY */
    int order[FV_ONNX_FACTORS];  /* which factor is at which place in memory */
    bool shared;                 /* others read the same layer */
} fv_onnx_array;

typedef struct fv_onnx_value {
    const char *name;
    enum { FV_VALUE_UNKNOWN, FV_VALUE_CONSTANT, FV_VALUE_ARRAY } kind;
    union {
        fv_onnx_constant constant;
        fv_onnx_array array;
    };
    int readers;    /* inputs of nodes that are needed, and outputs */
    int reader;     /* the first node that reads it, -1: none */
    int producer;   /* the node that gives it, -1: none */
    bool is_output; /* of the model */
} fv_onnx_value;

/* ---- Weights of the draft's layers ---------------------------------------------------------- */

typedef struct fv_onnx_weight {
    int layer;
    const char *name; /* "weight", static */
    size_t count;
    float *values; /* owned; NULL: they are the tensor's */
    const fv_onnx_tensor *tensor;
} fv_onnx_weight;

/* ---- The import ----------------------------------------------------------------------------- */

typedef struct fv_onnx_import {
    fv_onnx_model *model;
    fv_net *draft;
    fv_onnx_value *values;
    int value_count;
    int input;       /* the value that is the net's input */
    fv_lookup names; /* of the values */
    fv_onnx_weight *weights;
    size_t weight_count, weight_capacity;
    size_t given;  /* numbers of all weights */
    size_t folded; /* numbers of all constants that were reckoned */
    bool is_own;   /* written by fovea: layers come back as they were, and batch_norm layers stay */
    bool *done;    /* of the nodes: another's pattern has taken it up */
    const fv_onnx_node *node; /* which is being imported, and its number */
    int node_number;
} fv_onnx_import;

/* Imports a node: gives each output that is read a value. */
typedef fv_status fv_onnx_operator(fv_onnx_import *im);

/* Operators fail with FV_FORMAT where the node contradicts itself or the operator's definition, and
 * with FV_UNSUPPORTED where it has no form here; import.c puts the node before the message. */

/* ---- The node being imported ---------------------------------------------------------------- */

/* Input or output i; NULL: left out. */
fv_onnx_value *fv_onnx_in(const fv_onnx_import *im, size_t i);
fv_onnx_value *fv_onnx_out(const fv_onnx_import *im, size_t i);
/* The input, which must be an array, or a constant; else the import is refused and NULL returned.
 */
fv_onnx_value *fv_onnx_in_array(const fv_onnx_import *im, size_t i);
const fv_onnx_constant *fv_onnx_in_constant(const fv_onnx_import *im, size_t i);
/* Whether its operator is one of ONNX's own. */
bool fv_onnx_is_standard(const fv_onnx_node *node);
const fv_onnx_attribute *fv_onnx_find(const fv_onnx_node *node, const char *name); /* NULL: none */
int64_t fv_onnx_integer(const fv_onnx_import *im, const char *name, int64_t fallback);
double fv_onnx_float(const fv_onnx_import *im, const char *name, double fallback);
/* The shortest decimal that is the same float: 0.1 for 0.100000001490116. */
double fv_onnx_as_written(double number);
const char *fv_onnx_word(const fv_onnx_import *im, const char *name, const char *fallback);
/* The integers of an attribute, or where it is not there those of input `input` (0: only the
 * attribute), into list[most]. *count -1: neither is there. Refuses more, and what is not known. */
fv_status fv_onnx_list(const fv_onnx_import *im, const char *name, size_t input, int most,
                       int64_t *list, int *count);
/* A number from an attribute, or else from input `input`; `fallback` where neither is there. */
fv_status fv_onnx_scalar(const fv_onnx_import *im, const char *name, size_t input, double fallback,
                         double *number);
/* The slices of a Slice node of that rank: begin, end (as they are given) and step, each of an axis
 * in 0..rank-1, none of them twice. */
fv_status fv_onnx_slices(const fv_onnx_import *im, int rank, int64_t *begin, int64_t *end,
                         int64_t *axes, int64_t *step, int *count);
/* The array that is the first input, and the first output. */
fv_status fv_onnx_in_and_out(const fv_onnx_import *im, fv_onnx_value **in, fv_onnx_value **out);
/* Axis in 0..rank-1 from one that may be counted from the end; -1 and a message: it is none. */
int fv_onnx_axis(int64_t axis, int rank);

/* ---- Constants (fold*.c) --------------------------------------------------------------- */

double fv_onnx_number(const fv_onnx_constant *constant, size_t i);
/* Refuses constants that were reckoned of what only a run would know. */
fv_status fv_onnx_check_known(const fv_onnx_constant *constant);
/* As floats, which the caller frees; NULL with a message. */
float *fv_onnx_floats(const fv_onnx_constant *constant);
void fv_onnx_set_tensor(const fv_onnx_tensor *tensor, fv_onnx_value *value);
/* Whether all inputs are constants (or only sizes are asked for); then the outputs are reckoned. */
fv_status fv_onnx_fold(fv_onnx_import *im, bool *folded);

/* ---- How arrays lie (layout.c) --------------------------------------------------------- */

/* Size of an axis from 1 on; FV_ANY where it varies. */
int fv_onnx_size(const fv_onnx_array *array, int axis);
/* Values of a sample; -1: they vary. */
int64_t fv_onnx_sample(const fv_onnx_array *array);
const fv_shape *fv_onnx_shape(const fv_onnx_import *im, fv_tensor layer);
/* A layer with these axes of the array in this order, the last its channels; all others must have
 * size 1. Adds layers that move numbers where they lie otherwise. At most 4 axes, or one that is
 * none (count 0: one value). */
fv_status fv_onnx_arrange(fv_onnx_import *im, const fv_onnx_array *array, int count,
                          const int *axes, fv_tensor *layer);
/* ... with the channels, axis 1, last: what most operators want. Rank 2: a vector. */
fv_status fv_onnx_standard(fv_onnx_import *im, const fv_onnx_array *array, fv_tensor *layer);
/* A vector with the numbers in any order, for dense layers. */
fv_status fv_onnx_vector(fv_onnx_import *im, const fv_onnx_array *array, fv_tensor *layer);
/* Orders of all axes from 1 on, the channels last, and how many they are: with axis 1 last; or as
 * they lie, so that nothing must move (the former where one lies in parts). */
int fv_onnx_standard_axes(int rank, int *axes);
int fv_onnx_axes_to_last(int rank, int axis, int *axes); /* with that axis last */
int fv_onnx_axes_as_is(const fv_onnx_array *array, int *axes);
/* Where in the vector's memory ONNX's number i of the sample lies, for all i: places[values]. */
void fv_onnx_places(const fv_onnx_array *array, size_t *places);
/* The array of a layer whose axes, its channels last, are ONNX's axes[count] of `rank`. */
fv_status fv_onnx_set_array(fv_onnx_import *im, fv_onnx_value *value, fv_tensor layer, int rank,
                            int count, const int *axes);
fv_status fv_onnx_set_standard(fv_onnx_import *im, fv_onnx_value *value, fv_tensor layer, int rank);
/* What an operator on single values gives: the input's axes and order. */
void fv_onnx_set_like(fv_onnx_value *value, const fv_onnx_value *like, fv_tensor layer);
/* The numbers of `in` under the sizes or axes of `view`, which was made of its array. */
void fv_onnx_set_view(fv_onnx_value *value, const fv_onnx_value *in, const fv_onnx_array *view);
/* Other sizes (without the batch's); other axes. FV_SHAPE where they do not fit. */
fv_status fv_onnx_reshape(fv_onnx_import *im, const fv_onnx_array *array, int rank,
                          const int64_t *sizes, fv_onnx_array *reshaped);
fv_status fv_onnx_transpose(const fv_onnx_array *array, const int *axes, fv_onnx_array *transposed);

/* ---- Layers of the draft (draft.c) ----------------------------------------------------- */

/* Adds a layer of that type; called as the first of the node's outputs or weights is. */
fv_status fv_onnx_add(fv_onnx_import *im, const char *type, int count, const fv_tensor *inputs,
                      const void *options, fv_tensor *layer);
fv_status fv_onnx_add1(fv_onnx_import *im, const char *type, fv_tensor input, const void *options,
                       fv_tensor *layer);
/* Gives a layer the name of one of several outputs, where no other layer has it. */
fv_status fv_onnx_rename(fv_onnx_import *im, fv_tensor layer, const char *output);
/* Numbers as a layer: those of `values` (taken over; NULL is out of memory) in the order of files.
 */
fv_status fv_onnx_add_constant(fv_onnx_import *im, fv_shape shape, float *values, fv_tensor *layer);
/* Whether layers may have that many weights more, which is asked before numbers are repeated. */
fv_status fv_onnx_check_count(const fv_onnx_import *im, size_t count);
/* A weight of a layer: values that are taken over, or a constant's as they lie. */
fv_status fv_onnx_give(fv_onnx_import *im, fv_tensor layer, const char *name, size_t count,
                       float *values);
fv_status fv_onnx_give_constant(fv_onnx_import *im, fv_tensor layer, const char *name,
                                const fv_onnx_constant *constant);
/* The weight that was given, its values in memory of their own; *weight NULL: there is none. */
fv_status fv_onnx_own(fv_onnx_import *im, fv_tensor layer, const char *name,
                      fv_onnx_weight **weight);
/* Whether a layer that this value alone reads can still be changed: nothing else reads it, and it
 * has no activation yet. */
bool fv_onnx_is_open(const fv_onnx_import *im, const fv_onnx_value *value);
/* Applies y = x scale(c) + shift(c) over `channels` channels to the value's layer by changing its
 * weights; *joined false: it has none, or is read by others. scale, shift: NULL for 1, 0. */
fv_status fv_onnx_join_affine(fv_onnx_import *im, const fv_onnx_value *value, int channels,
                              const float *scale, const float *shift, bool *joined);
/* `activation` with its constant on the value's layer or as one of its own; sets `out`. */
fv_status fv_onnx_activate(fv_onnx_import *im, fv_onnx_value *value, fv_activation activation,
                           double constant, fv_onnx_value *out);

/* ---- Parts that several operators share ------------------------------------------------------ */

/* A layer with that axis (from 1) last, as the channels, the others before it in their order:
 * axes[] and *count say which. */
fv_status fv_onnx_arrange_last(fv_onnx_import *im, const fv_onnx_array *array, int axis, int *axes,
                               int *count, fv_tensor *layer);
/* Whether that axis, from 1 on, is the channels of the array's layer. */
bool fv_onnx_has_channels(const fv_onnx_import *im, const fv_onnx_array *array, int axis);
/* Adds a layer whose channels are axis 1 and sets `out` (import_norm.c). */
fv_status fv_onnx_add_on_channels(fv_onnx_import *im, const fv_onnx_value *x, const char *type,
                                  const void *options, fv_onnx_value *out);
/* Adds a layer whose channels are that axis, from 1, and sets `out`; weight and bias (NULL: none)
 * are one for each of them. */
fv_status fv_onnx_add_on_axis(fv_onnx_import *im, const fv_onnx_value *x, int axis,
                              const char *type, const void *options, const fv_onnx_constant *weight,
                              const fv_onnx_constant *bias, fv_onnx_value *out);
/* x times a number: joined to the layer before, or by a layer of its own (import_join.c). */
fv_status fv_onnx_scale(fv_onnx_import *im, fv_onnx_value *x, double factor, fv_onnx_value *out);
/* The larger of x and a number, value by value. */
fv_status fv_onnx_at_least(fv_onnx_import *im, fv_onnx_value *x, double number, fv_onnx_value *out);
/* A value of the import's own: what a layer in the middle of an operator gives. */
fv_onnx_value fv_onnx_between(void);
/* Whether a first size stands for the batch's: NaN, or the one that the input has. */
bool fv_onnx_is_batch(const fv_onnx_import *im, double size);
/* Sliding windows: kernel, strides, dilations and pads of the node's attributes, of `rank` spatial
 * axes. */
typedef struct fv_onnx_window {
    int kernel[3], stride[3], dilation[3], pad[3][2];
    fv_padding padding;
} fv_onnx_window;
/* Sizes as options have them: one that all axes have once, none where that is `fallback`. */
void fv_onnx_shorten(int sizes[3], int rank, int fallback);
fv_status fv_onnx_read_window(const fv_onnx_import *im, int rank, fv_onnx_window *window);

/* ---- Operators ------------------------------------------------------------------------------ */

fv_onnx_operator fv_onnx_conv, fv_onnx_conv_transpose, fv_onnx_gemm, fv_onnx_matmul;
fv_onnx_operator fv_onnx_max_pool, fv_onnx_average_pool, fv_onnx_global_average_pool,
    fv_onnx_global_max_pool, fv_onnx_reduce_mean, fv_onnx_reduce_sum, fv_onnx_reduce_max;
fv_onnx_operator fv_onnx_batch_norm, fv_onnx_instance_norm, fv_onnx_layer_norm, fv_onnx_group_norm,
    fv_onnx_rms_norm, fv_onnx_lrn, fv_onnx_lp_norm;
fv_onnx_operator fv_onnx_activation, fv_onnx_clip, fv_onnx_celu, fv_onnx_prelu, fv_onnx_softmax,
    fv_onnx_gelu, fv_onnx_swish;
fv_onnx_operator fv_onnx_sum, fv_onnx_multiply, fv_onnx_divide, fv_onnx_subtract, fv_onnx_maximum,
    fv_onnx_minimum, fv_onnx_mean, fv_onnx_negate, fv_onnx_absolute, fv_onnx_power;
fv_onnx_operator fv_onnx_same, fv_onnx_flatten, fv_onnx_reshape_node, fv_onnx_transpose_node,
    fv_onnx_squeeze, fv_onnx_unsqueeze, fv_onnx_expand, fv_onnx_concat, fv_onnx_split,
    fv_onnx_slice, fv_onnx_gather, fv_onnx_pad, fv_onnx_resize, fv_onnx_upsample,
    fv_onnx_depth_to_space, fv_onnx_space_to_depth;

/* A group of nodes that is one layer here, beginning with this node: then it is imported and *found
 * set (patterns.c). */
fv_status fv_onnx_find_pattern(fv_onnx_import *im, bool *found);

#endif
