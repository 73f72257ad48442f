/* fovea-keras: Keras' files to fovea's models and back. A program of its own, started by the
 * command (cli/keras.c), because libhdf5 may crash on hostile files: then only this program does.
 *
 * import: model.c makes a tree of layers of the file's JSON, variables.c finds out where in the
 * HDF5 file each layer's variables lie, build.c walks the tree and adds layers to the net by the
 * table of classes (class_*.c, on making.c and settings.c), weights.c reads the weights. export:
 * export.c and export_*.c. Shared: archive.c (zip), store.c (HDF5), config.c (JSON). */
#ifndef FOVEA_KERAS_H
#define FOVEA_KERAS_H

#include "net/net.h"
#include <jansson.h>
#include <stdio.h>

enum {
    MOST_DEPTH = 16,      /* models within models */
    MOST_LAYERS = 10000,  /* of all models together */
    MOST_VARIABLES = 4,   /* of a layer */
    MOST_JSON = 64 << 20, /* bytes of a config */
};

/* A line "note: ..." to standard error: what of the file does not come along, and why that does not
 * matter for its outputs. */
__attribute__((format(printf, 1, 2))) void note(const char *format, ...);

/* ---- archive.c: zip files -------------------------------------------------------------------- */

typedef struct member {
    const char *name;
    const void *bytes;
    size_t size;
} member;

/* A member's bytes, with a 0 after them, into *bytes (free with fv_free). FV_FORMAT when it is
 * missing, larger than `most`, or packed so tightly that it must be a bomb. */
fv_status archive_read(const char *path, const char *name, size_t most, char **bytes, size_t *size);
/* A new archive, stored without compression and without times: equal members, equal files. */
fv_status archive_write(const char *path, const member *members, int count);

/* ---- store.c: HDF5 files --------------------------------------------------------------------- */

typedef struct store store;

store *store_open(const char *path);                     /* NULL with a message */
store *store_open_image(const char *bytes, size_t size); /* a file in memory, which is copied */
store *store_new(void);                                  /* to be written, in memory */
void store_close(store *file);

/* The text attribute of a group ("" is the root) into *text (free with fv_free); *text is NULL when
 * there is none. */
fv_status store_text(store *file, const char *group, const char *attribute, char **text);
/* An attribute that is a list of texts, which may be split into attribute0, attribute1 ...; free
 * with texts_free. */
typedef struct texts {
    char **items;
    size_t count;
} texts;
fv_status store_texts(store *file, const char *group, const char *attribute, texts *list);
void texts_free(texts *list);

typedef struct array {
    int rank;
    size_t size[FV_MAX_RANK];
    float *values; /* free with fv_free */
} array;

/* Reads the array at `path`. `most` values are allowed. */
fv_status store_read(store *file, const char *path, size_t most, array *values);
/* Adds an array at `path`, and the groups above it. */
fv_status store_write(store *file, const char *path, const array *values);
fv_status store_add_group(store *file, const char *path);
/* The finished file's bytes (free with fv_free). */
fv_status store_image(store *file, char **bytes, size_t *size);

/* ---- config.c: values of a layer's config ---------------------------------------------------- */

/* A missing or null value leaves *value as it is. FV_FORMAT says what was expected. */
fv_status config_bool(const json_t *config, const char *key, bool *value);
fv_status config_int(const json_t *config, const char *key, int low, int high, int *value);
fv_status config_number(const json_t *config, const char *key, double *value);
/* A number or a list of `count` numbers (count 0: of any length up to 3), at least 1 each. */
fv_status config_sizes(const json_t *config, const char *key, int count, int values[3]);
/* ZeroPadding's and Cropping's: a number, one for each axis, or two for each axis. */
fv_status config_pads(const json_t *config, const char *key, int axes, int values[3][2]);
/* One of a config's words: *value stays where it is missing or null, FV_FORMAT where it is no text.
 */
fv_status config_word(const json_t *config, const char *key, const char **value);
/* NULL when there is none; that is no error. */
const char *config_text(const json_t *config, const char *key);
/* A number or a list of numbers; *count 0: missing or null. */
fv_status config_numbers(const json_t *config, const char *key, int most, double *values,
                         int *count);
/* An int or a list with one int, `fallback` where missing: an axis. FV_INVALID for others. */
fv_status config_axis(const json_t *config, int fallback, int *axis);

/* ---- model.c: the tree of layers ------------------------------------------------------------- */

/* Output of a call of a layer of the same model. */
typedef struct reference {
    int layer, call;
} reference;

/* One use of a layer. */
typedef struct layer_call {
    reference inputs[FV_MAX_INPUTS];
    int input_count;
    const json_t *arguments; /* the other arguments, a list; NULL: none */
    const json_t *keywords;  /* likewise, by name; NULL: none */
} layer_call;

typedef struct keras_layer {
    const char *name, *class_name;
    const json_t *config;
    bool operation;            /* a keras.ops function, no layer: it has no variables */
    bool trainable;            /* the models around it are too */
    struct keras_model *model; /* a model in the model; else NULL */
    layer_call *calls;
    int call_count;
    int readers;                     /* uses of its outputs, as the model's output too */
    char *variables[MOST_VARIABLES]; /* their paths in the HDF5 file */
    int variable_count;
} keras_layer;

typedef struct keras_model {
    const char *name;
    bool sequential;
    keras_layer *layers;
    int count;
    int input; /* the layer that is its input */
    reference outputs[FV_MAX_INPUTS];
    int output_count;
} keras_model;

/* The model of a config ({"class_name":, "config":}), to be freed with model_free(); `json` must
 * outlive it. */
fv_status model_read(const json_t *json, keras_model **model);
void model_free(keras_model *model);
/* Whether the class is that of a model. */
bool is_model_class(const char *class_name);

/* ---- build.c and class_*.c: what each class is here ------------------------------------------ */

/* A value that flows in the net. */
typedef struct flow {
    int node; /* -1: not there yet */
    int readers;
    bool alone; /* it is the net's input, and nothing else reads that */
    /* Cells that its only reader may add itself, made by a layer called READER.pad; NULL: none. */
    const keras_layer *pad;
} flow;

/* Values of a constant layer, set once the net is built. */
typedef struct constant_values {
    int node;
    float *values;
} constant_values;

typedef struct import_state {
    fv_net *net;
    store *file;
    bool keras_2;              /* defaults and formulas of Keras 2 */
    size_t most;               /* weights, by the size of the file */
    char prefix[FV_NAME_SIZE]; /* of the names of a model's layers: "encoder." */
    const keras_layer *
        *sources; /* by node: the layer whose variables are its weights; NULL: none */
    constant_values *constants;
    int constant_count;
} import_state;

/* A layer being made. */
typedef struct making {
    import_state *importer;
    const keras_layer *layer;
    const json_t *config;
    const layer_call *call;
    int axes; /* of the class: Conv2D has 2 */
    flow *inputs;
    int input_count;
    char name[FV_NAME_SIZE]; /* for its node; "": one by its type */
    int readers;             /* of the result */
} making;

typedef struct keras_class {
    const char *name;
    int axes;   /* spatial axes that its input must have; ANY_AXES */
    int inputs; /* 1; 2: two or more */
    /* Its variables in order: "kernel|depthwise_kernel bias:use_bias -moving_mean": other names
     * after |, the config's key that must be true (!key: missing) after :, a - before those that do
     * not learn. NULL: none. */
    const char *variables;
    bool arguments; /* it reads the call's other arguments */
    bool pads;      /* it may add its input's pad itself */
    /* Adds its layers to the net; output->node is the result. */
    fv_status (*make)(making *m, flow *output);
} keras_class;

enum { ANY_AXES = -1 };

const keras_class *class_find(const char *name);
/* Ended by a NULL name. */
extern const keras_class conv_classes[], pool_classes[], norm_classes[], shape_classes[],
    join_classes[], activation_classes[], scale_classes[];

/* ---- making.c: what the classes share -------------------------------------------------------- */

/* The shape of input `i`. */
const fv_shape *input_shape(const making *m, int i);
/* Adds a layer of ours with options (checked) on the given inputs, called NAME + suffix; *output is
 * its node. */
fv_status add_layer(making *m, const char *type, const char *suffix, const int *inputs, int count,
                    const void *options, flow *output);
/* The same on the layer's own first input, called NAME. */
fv_status add_plain(making *m, const char *type, const void *options, flow *output);
/* add_plain for a layer with variables: its weights and how they learn. */
fv_status add_weighted(making *m, const char *type, const void *options, flow *output);
/* The layer does nothing at inference: `why` (NULL: never) is a note. */
fv_status skip_layer(making *m, const char *why, flow *output);
/* A layer of READER.pad that its reader could not take in, after all. */
fv_status add_pad(making *m, const keras_layer *pad, flow *value);
/* y = x scale + offset, values for each channel (count of them) or one for all (count 1). */
fv_status add_affine(making *m, const double *scale, const double *offset, int count, flow *value);
/* x + 3.0 and the like, of functions that may have a number as an argument (class_scale.c). */
fv_status add_number(making *m, flow *output);
/* FV_INVALID unless the config's axis is the channels', the last one. */
fv_status check_axis(const making *m);
/* FV_INVALID unless `axis` (Keras counts the batch as 0) is the channels'. */
fv_status check_last_axis(const making *m, int axis);
/* A value given on purpose, where 0 in our options means the default. */
double explicitly(double value);
/* {2, 2, 0} as {2, 0, 0}, and {1, 1, 1} as nothing: options as one writes them. */
void simplify_sizes(int values[3]);

/* ---- settings.c: activations, initialisers, how weights learn -------------------------------- */

/* An activation: fused into the layer, or a layer of its own behind it. */
typedef struct keras_activation {
    fv_activation fused;
    const char *type; /* of that layer; NULL: none */
    double constant;  /* its slope or alpha; 0: it has none */
} keras_activation;

fv_status activation_read(const making *m, keras_activation *a);
/* One by its class as a layer ("LeakyReLU") or operation ("LeakyRelu"); always a layer of ours. */
fv_status activation_of_class(const making *m, const char *class_name, const json_t *config,
                              keras_activation *a);
/* Adds its layer behind *value, called NAME + suffix, where there is one. */
fv_status activation_add(making *m, const keras_activation *a, const char *suffix, flow *value);
/* Puts it into the layer of ours that made *value, where that has none; whether it could. */
bool activation_fuse(making *m, const keras_activation *a, const flow *value);

/* Reads an initialiser; FV_INIT_DEFAULT where it is `usual` ("glorotuniform") or none of ours. */
fv_init init_read(const json_t *config, const char *key, const char *usual);
json_t *init_write(fv_init init, const char *usual);
/* Regularisers, constraints and trainable of a layer into fv_tune(). */
fv_status tuning_read(const making *m, int node);

/* ---- variables.c: where the variables lie ---------------------------------------------------- */

/* Finds the paths of all variables of the tree; `legacy`: in a whole-model .h5. */
fv_status variables_locate(keras_model *model, store *file, bool legacy);
/* The group that a layer's variables lie in: "conv2d_1" of the second Conv2D of a model's layers.
 * `seen` counts them. */
fv_status group_name(json_t *seen, const char *class_name, char name[160]);

/* ---- build.c, weights.c, training.c ---------------------------------------------------------- */

/* All layers of the model into importer->net, which is then built. */
fv_status net_make(import_state *importer, const keras_model *model);
void import_state_free(import_state *importer); /* and its net; not its file */
/* The weights of all layers from the file. */
fv_status weights_read(import_state *importer);

/* A weight's sizes in the order in which Keras has them: spatial axes, inputs, outputs; returns how
 * many. And its values from that order to our files' and back. */
int keras_sizes(const fv_node *node, const fv_weight *weight, size_t size[FV_MAX_RANK]);
void keras_to_file(const fv_node *node, const fv_weight *weight, const float *keras, float *file);
void file_to_keras(const fv_node *node, const fv_weight *weight, const float *file, float *keras);

/* Optimiser and loss of a compile_config or training_config into the net's train line. */
fv_status training_read(const json_t *compiled, fv_net *net);
/* The compile_config for a net; null where Keras cannot say it. */
json_t *training_write(const fv_net *net);

/* ---- The two jobs ---------------------------------------------------------------------------- */

fv_status keras_import(const char *path, const char *output);
fv_status keras_export(const char *path, const char *output);

#endif
