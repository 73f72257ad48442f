/* ONNX out: the graph in memory (onnx_export_graph.c), its encoding (onnx_write.c), and what makes
 * ONNX nodes of layers (onnx_export.c walks the net and has the table; onnx_export_*.c the layers
 * by subject). ONNX is NCHW: an array of ours with spatial axes is there N, channels, sizes; a
 * vector is N, channels. */
#ifndef FV_FORMATS_ONNX_EXPORT_H
#define FV_FORMATS_ONNX_EXPORT_H

#include "formats/formats.h"

/* ---- The graph --------------------------------------------------------------------------------
 */

enum { FV_ONNX_RANK = 8, FV_ONNX_NONE = -1 };

typedef struct fv_onnx_attribute {
    const char *name;
    enum { FV_ONNX_FLOAT, FV_ONNX_INT, FV_ONNX_STRING, FV_ONNX_INTS } type;
    float number;
    int64_t integers[FV_ONNX_RANK]; /* INT: the first */
    int count;                      /* INTS */
    const char *text;               /* static */
} fv_onnx_attribute;

typedef struct fv_onnx_node {
    const char *op; /* static */
    int input_count;
    int inputs[FV_MAX_INPUTS]; /* values, by their index; FV_ONNX_NONE: left out */
    int output;
    size_t first_attribute, attribute_count;
} fv_onnx_node;

/* A constant: a weight of the net, converted when it is written, or numbers of its own. */
typedef struct fv_onnx_tensor {
    int value;
    int rank;
    size_t size[FV_ONNX_RANK];
    size_t count;
    const fv_weight *weight; /* with `stored`, its values in the net */
    const real *stored;
    float *floats;
    int64_t *integers;
} fv_onnx_tensor;

/* An array that goes in or out; sizes that vary are FV_ANY. */
typedef struct fv_onnx_port {
    int value;
    fv_shape shape;
} fv_onnx_port;

typedef struct fv_onnx {
    fv_status status; /* the first failure, whose message stands; later calls do nothing */
    char **values;    /* names: of an input, a constant or the output of a node */
    fv_onnx_node *nodes;
    fv_onnx_attribute *attributes;
    fv_onnx_tensor *tensors;
    fv_onnx_port *inputs, *outputs;
    size_t value_count, node_count, attribute_count, tensor_count, input_count, output_count;

    const char *prefix;  /* of new names: the layer's */
    size_t first;        /* values of earlier layers */
    char *classes, *doc; /* names of classes: a JSON array, a sentence; NULL: none */
} fv_onnx;

void fv_onnx_free(fv_onnx *graph);

/* Encodes the graph into a file, by way of a temporary one. */
fv_status fv_onnx_write(const fv_onnx *graph, const char *path);

/* The functions below return a value, or FV_ONNX_NONE with graph->status set. New values are called
 * LAYER:WORD. */

int fv_onnx_input(fv_onnx *graph, const char *name, const fv_shape *shape);
void fv_onnx_output(fv_onnx *graph, int value, const fv_shape *shape);
/* Takes the name from a value that has it. */
void fv_onnx_rename(fv_onnx *graph, int value, const char *name);

/* A node of an operator; attributes that are added belong to the last node. */
int fv_onnx_node_of(fv_onnx *graph, const char *op, int count, const int *inputs);
int fv_onnx_1(fv_onnx *graph, const char *op, int a);
int fv_onnx_2(fv_onnx *graph, const char *op, int a, int b);
int fv_onnx_3(fv_onnx *graph, const char *op, int a, int b, int c);
void fv_onnx_set(fv_onnx *graph, const char *name, int64_t value);
void fv_onnx_set_all(fv_onnx *graph, const char *name, int count, const int64_t *values);
void fv_onnx_set_number(fv_onnx *graph, const char *name, double value);
void fv_onnx_set_text(fv_onnx *graph, const char *name, const char *text);

/* Constants. */
int fv_onnx_number(fv_onnx *graph, double value); /* a scalar */
int fv_onnx_integer(fv_onnx *graph, int64_t value);
int fv_onnx_list(fv_onnx *graph, int count, const int64_t *values);
/* Of these sizes; takes the array over, on failure too. NULL, for out of memory, is allowed. */
int fv_onnx_floats(fv_onnx *graph, const char *word, int rank, const size_t *size, float *floats);
int fv_onnx_integers(fv_onnx *graph, const char *word, int rank, const size_t *size,
                     int64_t *integers);
/* A weight of the net, with other sizes than in files (rank 0: with those). */
int fv_onnx_weight(fv_onnx *graph, const fv_net *net, const fv_weight *weight, int rank,
                   const size_t *size);

/* ---- Nodes that many layers need ---------------------------------------------------------------
 */

/* Under another shape; 0 keeps a size, -1 is what is left. */
int fv_onnx_reshape(fv_onnx *graph, int x, int count, const int64_t *sizes);
int fv_onnx_transpose(fv_onnx *graph, int x, int count, const int64_t *order);
/* Channels to the end, and back to axis 1; nothing for vectors. */
int fv_onnx_channels_last(fv_onnx *graph, int x, int rank);
int fv_onnx_channels_first(fv_onnx *graph, int x, int rank);
/* Over one axis, which stays with size 1: "ReduceMean", "ReduceSum", "ReduceMax". */
int fv_onnx_reduce(fv_onnx *graph, const char *op, int x, int axis);
/* `activation` of x; x itself where it is linear. */
int fv_onnx_activate(fv_onnx *graph, fv_activation activation, double constant, int x);

/* ---- A layer's translation ---------------------------------------------------------------------
 */

/* The output of a layer. `value` is in our order of a sample's values; a vector that was folded of
 * an array with spatial axes may be there with its channels first, `folded`, as a dense layer's
 * weights want it. Each is made of the other when it is asked for. */
typedef struct fv_onnx_result {
    int value, folded;
} fv_onnx_result;

typedef struct fv_onnx_call {
    fv_onnx *graph;
    const fv_net *net;
    const fv_node *node;
    fv_onnx_result *results; /* of all the net's layers */
} fv_onnx_call;

/* Adds the layer's nodes without its activation; returns its output in our order. */
typedef int fv_onnx_layer(const fv_onnx_call *call);

const fv_shape *fv_onnx_shape_in(const fv_onnx_call *call, int input);
/* Input i in our order; channels first. */
int fv_onnx_in(const fv_onnx_call *call, int input);
int fv_onnx_folded_in(const fv_onnx_call *call, int input);
/* The layer's weight of that name; FV_ONNX_NONE where it has none. fv_onnx_channel_weight: of one
 * value a channel, with the sizes 1 that `rank` spatial axes need. */
int fv_onnx_weight_in(const fv_onnx_call *call, const char *name);
int fv_onnx_channel_weight(const fv_onnx_call *call, const char *name, int rank);
const fv_weight *fv_onnx_find_weight(const fv_onnx_call *call, const char *name);
/* FV_UNSUPPORTED: what of the layer ONNX cannot say. */
__attribute__((format(printf, 2, 3))) int fv_onnx_refuse(const fv_onnx_call *call,
                                                         const char *format, ...);

/* Kernel, stride, dilation and padding of a window as attributes of the last node. */
typedef struct fv_onnx_window {
    fv_axis axes[3];
    int rank;
    const char *automatic; /* auto_pad, where padding depends on a size that varies; else NULL */
} fv_onnx_window;

/* The window; false, and the call's graph has failed, where ONNX has none like it. */
bool fv_onnx_window_of(const fv_onnx_call *call, const fv_slide_options *options,
                       fv_onnx_window *window);
void fv_onnx_set_window(fv_onnx *graph, const fv_onnx_window *window, bool dilation);
/* Pad with zeros along the spatial axes. */
int fv_onnx_pad(fv_onnx *graph, int x, int rank, const fv_axis *axes);

fv_onnx_layer fv_onnx_conv, fv_onnx_depthwise_conv, fv_onnx_separable_conv, fv_onnx_conv_transpose,
    fv_onnx_local, fv_onnx_subsample;
fv_onnx_layer fv_onnx_dense, fv_onnx_rbf, fv_onnx_constant, fv_onnx_prelu;
fv_onnx_layer fv_onnx_maxpool, fv_onnx_avgpool, fv_onnx_global_maxpool, fv_onnx_global_avgpool,
    fv_onnx_adaptive_maxpool, fv_onnx_adaptive_avgpool;
fv_onnx_layer fv_onnx_reshape_layer, fv_onnx_permute, fv_onnx_pad_layer, fv_onnx_crop,
    fv_onnx_slice, fv_onnx_concat, fv_onnx_upsample, fv_onnx_depth_to_space, fv_onnx_space_to_depth;
fv_onnx_layer fv_onnx_add, fv_onnx_multiply, fv_onnx_maximum;
fv_onnx_layer fv_onnx_batch_norm, fv_onnx_layer_norm, fv_onnx_group_norm, fv_onnx_instance_norm,
    fv_onnx_rms_norm, fv_onnx_lrn, fv_onnx_l2_normalize;

#endif
