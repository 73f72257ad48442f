/* ONNX out: the graph in memory (export_graph.c), its encoding (write.c), and what makes
 * ONNX nodes of layers (export.c walks the net and has the table; export_*.c the layers
 * by subject). ONNX is NCHW: an array of ours with spatial axes is there N, channels, sizes; a
 * vector is N, channels. */
#ifndef FV_FORMATS_ONNX_EXPORT_H
#define FV_FORMATS_ONNX_EXPORT_H

#include "formats/formats.h"

/* ---- The graph ------------------------------------------------------------------------------ */

enum { FV_EXPORT_RANK = 8, FV_EXPORT_NONE = -1 };

typedef struct fv_export_attribute {
    const char *name;
    enum { FV_EXPORT_FLOAT, FV_EXPORT_INT, FV_EXPORT_STRING, FV_EXPORT_INTS } type;
    float number;
    int64_t integers[FV_EXPORT_RANK]; /* INT: the first */
    int count;                        /* INTS */
    const char *text;                 /* static */
} fv_export_attribute;

typedef struct fv_export_node {
    const char *op; /* static */
    int input_count;
    int inputs[FV_MAX_INPUTS]; /* values, by their index; FV_EXPORT_NONE: left out */
    int output;
    size_t first_attribute, attribute_count;
} fv_export_node;

/* A constant: a weight of the net, converted when it is written, or numbers of its own. */
typedef struct fv_export_tensor {
    int value;
    int rank;
    size_t size[FV_EXPORT_RANK];
    size_t count;
    const fv_net *net; /* the weight of this number in it; NULL: not a weight */
    int weight;
    float *floats;
    int64_t *integers;
} fv_export_tensor;

/* An array that goes in or out; sizes that vary are FV_ANY. */
typedef struct fv_export_port {
    int value;
    fv_shape shape;
} fv_export_port;

typedef struct fv_export_graph {
    fv_status status; /* the first failure, whose message stands; later calls do nothing */
    char **values;    /* names: of an input, a constant or the output of a node */
    fv_export_node *nodes;
    fv_export_attribute *attributes;
    fv_export_tensor *tensors;
    fv_export_port *inputs, *outputs;
    size_t value_count, node_count, attribute_count, tensor_count, input_count, output_count;

    const char *prefix;  /* of new names: the layer's */
    size_t first;        /* values of earlier layers */
    char *classes, *doc; /* names of classes: a JSON array, a sentence; NULL: none */
} fv_export_graph;

void fv_export_free(fv_export_graph *graph);

/* Encodes the graph into a file, by way of a temporary one. */
fv_status fv_export_write(const fv_export_graph *graph, const char *path);

/* The functions below return a value, or FV_EXPORT_NONE with graph->status set. New values are
 * called LAYER:WORD. */

int fv_export_input(fv_export_graph *graph, const char *name, const fv_shape *shape);
void fv_export_output(fv_export_graph *graph, int value, const fv_shape *shape);
/* The name must be no other value's. */
void fv_export_rename(fv_export_graph *graph, int value, const char *name);

/* A node of an operator; attributes that are added belong to the last node. */
int fv_export_node_of(fv_export_graph *graph, const char *op, int count, const int *inputs);
int fv_export_1(fv_export_graph *graph, const char *op, int a);
int fv_export_2(fv_export_graph *graph, const char *op, int a, int b);
int fv_export_3(fv_export_graph *graph, const char *op, int a, int b, int c);
void fv_export_set(fv_export_graph *graph, const char *name, int64_t value);
void fv_export_set_all(fv_export_graph *graph, const char *name, int count, const int64_t *values);
void fv_export_set_number(fv_export_graph *graph, const char *name, double value);
void fv_export_set_text(fv_export_graph *graph, const char *name, const char *text);

/* Constants. */
int fv_export_number(fv_export_graph *graph, double value); /* a scalar */
int fv_export_integer(fv_export_graph *graph, int64_t value);
int fv_export_list(fv_export_graph *graph, int count, const int64_t *values);
/* Of these sizes; takes the array over, on failure too. NULL, for out of memory, is allowed. */
int fv_export_floats(fv_export_graph *graph, const char *word, int rank, const size_t *size,
                     float *floats);
int fv_export_integers(fv_export_graph *graph, const char *word, int rank, const size_t *size,
                       int64_t *integers);
/* Weight number `weight` of the net, with other sizes than in files (rank 0: with those). */
int fv_export_weight(fv_export_graph *graph, const fv_net *net, int weight, int rank,
                     const size_t *size);

/* ---- Nodes that many layers need ------------------------------------------------------------ */

/* Under another shape; 0 keeps a size, -1 is what is left. */
int fv_export_reshape(fv_export_graph *graph, int x, int count, const int64_t *sizes);
int fv_export_transpose(fv_export_graph *graph, int x, int count, const int64_t *order);
/* Channels to the end, and back to axis 1; nothing for vectors. */
int fv_export_channels_last(fv_export_graph *graph, int x, int rank);
int fv_export_channels_first(fv_export_graph *graph, int x, int rank);
/* Over one axis, which stays with size 1: "ReduceMean", "ReduceSum", "ReduceMax". */
int fv_export_reduce(fv_export_graph *graph, const char *op, int x, int axis);
/* `activation` of x; x itself where it is linear. */
int fv_export_activate(fv_export_graph *graph, fv_activation activation, double constant, int x);

/* ---- A layer's translation ------------------------------------------------------------------ */

/* The output of a layer. `value` is in our order of a sample's values; a vector that was folded of
 * an array with spatial axes may be there with its channels first, `folded`, as a dense layer's
 * weights want it. Each is made of the other when it is asked for. */
typedef struct fv_export_result {
    int value, folded;
} fv_export_result;

typedef struct fv_export_call {
    fv_export_graph *graph;
    const fv_net *net;
    const fv_node *node;
    int first_weight;          /* number of the layer's first weight in the net */
    fv_export_result *results; /* of all the net's layers */
} fv_export_call;

/* Adds the layer's nodes without its activation; returns its output in our order. */
typedef int fv_export_layer(const fv_export_call *call);

const fv_shape *fv_export_shape_in(const fv_export_call *call, int input);
/* Input i in our order; channels first. */
int fv_export_in(const fv_export_call *call, int input);
int fv_export_folded_in(const fv_export_call *call, int input);
/* The layer's weight of that name: as a constant, with other sizes than in files, or with the sizes
 * 1 that `rank` spatial axes need behind the channels. FV_EXPORT_NONE where it has none. */
int fv_export_weight_in(const fv_export_call *call, const char *name);
int fv_export_weight_as(const fv_export_call *call, const char *name, int rank, const size_t *size);
int fv_export_channel_weight(const fv_export_call *call, const char *name, int rank);
/* What it is like, NULL where there is none; and its values in the order of files, which the caller
 * frees: NULL, and the graph has failed, where they cannot be had. */
const fv_weight *fv_export_find_weight(const fv_export_call *call, const char *name);
float *fv_export_values(const fv_export_call *call, const char *name);
/* FV_UNSUPPORTED: what of the layer ONNX cannot say. */
__attribute__((format(printf, 2, 3))) int fv_export_refuse(const fv_export_call *call,
                                                           const char *format, ...);

/* Kernel, stride, dilation and padding of a window as attributes of the last node. */
typedef struct fv_export_window {
    fv_axis axes[3];
    int rank;
    const char *automatic; /* auto_pad, where padding depends on a size that varies; else NULL */
} fv_export_window;

/* The window; false, and the call's graph has failed, where ONNX has none like it. */
bool fv_export_window_of(const fv_export_call *call, const fv_slide_options *options,
                         fv_export_window *window);
void fv_export_set_window(fv_export_graph *graph, const fv_export_window *window, bool dilation);
/* Pad with zeros along the spatial axes. */
int fv_export_pad(fv_export_graph *graph, int x, int rank, const fv_axis *axes);

fv_export_layer fv_export_conv, fv_export_depthwise_conv, fv_export_separable_conv,
    fv_export_conv_transpose, fv_export_local, fv_export_subsample;
fv_export_layer fv_export_dense, fv_export_rbf, fv_export_constant, fv_export_prelu;
fv_export_layer fv_export_maxpool, fv_export_avgpool, fv_export_global_maxpool,
    fv_export_global_avgpool, fv_export_adaptive_maxpool, fv_export_adaptive_avgpool;
fv_export_layer fv_export_reshape_layer, fv_export_permute, fv_export_pad_layer, fv_export_crop,
    fv_export_slice, fv_export_concat, fv_export_upsample, fv_export_depth_to_space,
    fv_export_space_to_depth;
fv_export_layer fv_export_add, fv_export_multiply, fv_export_maximum;
fv_export_layer fv_export_batch_norm, fv_export_layer_norm, fv_export_group_norm,
    fv_export_instance_norm, fv_export_rms_norm, fv_export_lrn, fv_export_l2_normalize;

#endif
