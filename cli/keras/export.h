/* What the files of the export share. export.c writes the three parts of a .keras file, the tables
 * of export_conv.c and export_plain.c know for each layer type of ours which layers of Keras it is,
 * export_order.c in which order Keras has them, export_weights.c where their weights go by that. */
#ifndef FOVEA_KERAS_EXPORT_H
#define FOVEA_KERAS_EXPORT_H

#include "keras.h"

/* The output of a layer of Keras. */
typedef struct tensor {
    char name[2 * FV_NAME_SIZE]; /* "": there is none */
    fv_shape shape;
    int layer; /* of the exporter's */
} tensor;

/* A layer of Keras, or an operation. */
typedef struct added_layer {
    json_t *json; /* for the config */
    char class_name[64];
    bool operation; /* it has no variables, and its class does not count */
    int inputs[FV_MAX_INPUTS], input_count;
} added_layer;

/* A variable of a layer of Keras, to be written once the layers' order is known. */
typedef struct added_variable {
    int layer, number; /* of the layer's variables */
    int node, weight;  /* whose values it has; weight -1: ones */
    int rank;
    size_t size[FV_MAX_RANK];
} added_variable;

typedef struct exporter {
    const fv_net *net;
    added_layer *layers; /* as they were added, each behind its inputs */
    int layer_count;
    added_variable *variables; /* by layer */
    int variable_count;
    json_t *names;   /* of the layers */
    tensor *outputs; /* by node */
    tensor input;    /* the InputLayer's; outputs[0] is scaled */
} exporter;

/* A node being written. */
typedef struct writing {
    exporter *exporter;
    const fv_node *node;
    int index; /* of the node */
    tensor inputs[FV_MAX_INPUTS];
} writing;

typedef struct export_type {
    const char *name;
    fv_status (*write)(writing *w, tensor *output);
    bool constants; /* it may read constant layers, whose tensors have no name */
} export_type;

/* Ended by a NULL name. */
extern const export_type export_conv_types[], export_pool_types[], export_plain_types[];

/* Adds a layer of Keras called NODE + suffix, with `config` (taken over; NULL: out of memory) and
 * the trainable of the node. *output gets its name and `shape`. With an axis count `axes` above 0
 * the class is CLASS + "2D" + ending. */
typedef struct layer_text {
    const char *class_name, *ending;
    int axes;
    const char *suffix;
    const char *operation; /* the module of a keras.ops function: "nn", "numpy"; NULL: a layer */
    json_t *argument;      /* its second argument; NULL: none */
    json_t *keywords;      /* taken over; NULL: none */
} layer_text;

fv_status emit(writing *w, const layer_text *text, json_t *config, const tensor *inputs, int count,
               const fv_shape *shape, tensor *output);
/* The same of the node's first input, with its output's shape. */
fv_status emit_plain(writing *w, const char *class_name, int axes, json_t *config, tensor *output);

/* Weight `index` of the node (-1: ones) as the next variable of the layer added last, under the
 * sizes that Keras gives it (rank 0: those of keras_sizes). */
fv_status emit_weight(const writing *w, int index, int rank, const size_t *sizes);
/* All of them. */
fv_status emit_weights(const writing *w);
/* Room for one more than `count` elements in a block that nothing else has grown: the block, or a
 * new one of twice the size; NULL, and the block as it was, where there is no memory. */
void *grow(void *block, int count, size_t size);
/* Writes all variables into `file`, by the order of the layers. */
fv_status weights_write(const exporter *e, const int *order, int count, store *file);

/* The layers that the net's outputs need, in the order that Keras gives them, into
 * order[layer_count]; *count: how many. */
fv_status find_order(const exporter *e, int *order, int *count);
/* The layer of Keras whose output is output `index` of the net. */
const tensor *output_tensor(const exporter *e, int index);

/* FV_UNSUPPORTED: why Keras cannot have this layer. */
__attribute__((format(printf, 1, 2))) fv_status cannot(const char *format, ...);

/* A list of `count` sizes from options; 0 stands for `fallback`. */
json_t *sizes_json(const int values[3], int count, int fallback);
json_t *pads_json(int pads[3][2], int count);
/* Pads as a layer NODE.pad: zeros, or the lowest number. */
fv_status emit_zero_pad(writing *w, int pads[3][2], const tensor *input, tensor *output);
fv_status emit_pad(writing *w, const char *suffix, int pads[3][2], const int channels[2],
                   const char *mode, double value, const tensor *input, tensor *output);

/* The activation's name for a layer's config, or NULL where it needs a layer of its own. */
const char *activation_name(fv_activation activation);
/* Adds that layer, NODE.activation, behind *value. */
fv_status emit_activation(writing *w, fv_activation activation, tensor *value);
/* The regulariser and constraint of the node's kernel, along `axes` input axes, into its config. */
void add_tuning(const writing *w, const char *prefix, int axes, json_t *config);

#endif
