/* The net as a graph: nodes in the order in which they were written, weights in one block.
 * Called by the parser, the plan, formats and train. */
#ifndef FV_NET_NET_H
#define FV_NET_NET_H

#include "base/file.h"
#include "layers/layer.h"
#include "net/lookup.h"
#include <pthread.h>
#include <stdatomic.h>

typedef struct fv_weight {
    fv_weight_spec spec;
    size_t count;   /* values */
    size_t offset;  /* of the first value in net->weights; a multiple of 16 */
    size_t file_at; /* of the first byte in net->file: floats in the file's order */
} fv_weight;

typedef struct fv_node {
    const fv_layer_type *type;
    char *name;
    void *options; /* the type's options struct; NULL when it has none */
    int input_count;
    int inputs[FV_MAX_INPUTS]; /* earlier nodes */
    fv_shape output;           /* as inferred from the net's own input; FV_ANY where it varies */
    int64_t macs;
    fv_activation activation;
    double activation_constant;
    fv_tuning tuning;
    int weight_count;
    fv_weight weights[FV_MAX_WEIGHTS];
    int line, column;   /* in the .net text; 0: built in C */
    bool named_output;  /* by an `output` statement or fv_add_output() */
    bool training_only; /* see fv_net_find_outputs() */
} fv_node;

/* A loss or a metric, and the node that it judges. */
typedef struct fv_net_loss {
    fv_loss_options options;
    int node;
    int line;
} fv_net_loss;

typedef struct fv_net_metric {
    fv_metric_options options;
    int node;
    int line;
} fv_net_metric;

struct fv_net {
    fv_node *nodes; /* node 0 is the input */
    int count, capacity;
    fv_lookup names;        /* of the nodes, and of the blocks of its text: their last nodes */
    fv_train_options train; /* zeros where the text was silent */
    fv_net_loss *losses;    /* FV_MOST_LOSSES of them; NULL: train.loss of the last layer */
    fv_net_metric *metrics; /* FV_MOST_METRICS of them, or NULL */
    int loss_count, metric_count;
    int main_output;  /* see fv_net_find_outputs() */
    char *source;     /* file name for messages; NULL: built in C */
    fv_status status; /* the builder's first failure, with its message below */
    char *message;
    bool built;
    bool initialized; /* weights were drawn with a seed, loaded or trained */
    real *weights;    /* weight_size values, see fv_weight.offset; NULL: they are in `file`, or, if
                         that is not open, to be drawn when first asked for */
    size_t weight_size;
    fv_file file;       /* open until the weights are read into memory, see weight_file.c */
    char **class_names; /* class_count of them; NULL: not known */
    int class_count;
    atomic_int users;        /* sessions and trainers alive; -1 while training */
    pthread_mutex_t drawing; /* held while weights are drawn */
};

/* The node of that name; -1: none. */
int fv_net_find(const fv_net *net, const char *name);

/* "conv2 (net.net:4)" into text[128]; returns it. For messages. */
const char *fv_node_place(const fv_net *net, const fv_node *node, char text[128]);

/* Adds a node with `options` (copied). Gives it the default name when name is NULL. Returns its
 * index, or -1 with net->status and the message set. Infers its shape at once. */
int fv_net_add(fv_net *net, const fv_layer_type *type, const char *name, const int *inputs,
               int input_count, const void *options, int line, int column);

/* fv_net_build() for a net whose weights come from a file that holds at most `most` of them: a text
 * that promises more is FV_FORMAT. fv_net_leave_in_file() or fv_net_make_room() comes next. */
fv_status fv_net_build_in_file(fv_net *net, size_t most);

/* FV_OK when the output of each layer but the last is read by a layer, judged by a loss or metric,
 * or an output of the net; else FV_INVALID and the first that is not. */
fv_status fv_net_find_unread(const fv_net *net, int *unread);

/* Infers shapes anew for another input shape (no FV_ANY), into shapes[net->count]: of the nodes in
 * `wanted` (NULL: all), which has those that they read. */
fv_status fv_net_shapes(const fv_net *net, const fv_shape *input, const bool *wanted,
                        fv_shape *shapes, int64_t *macs);

/* ---- What a net is for (outputs.c) -------------------------------------------------------------
 */

/* Of the net as it stands: its main output, which is the last layer that is not there for auxiliary
 * losses alone, and which nodes only such losses need. Called when layers, losses, metrics and
 * outputs are complete, and again when one is added to a net that is built. */
void fv_net_find_outputs(fv_net *net);
/* Whether a built net's user sees the output of node n: see fv_add_output(). */
bool fv_net_is_output(const fv_net *net, int n);
/* Adds to the needed nodes all that they read, and what those read ... */
void fv_net_mark_needed(const fv_net *net, bool *needed);

/* FV_OK and one more user (exclusive: the only one, who has the weights in memory), or FV_BUSY. */
fv_status fv_net_acquire(fv_net *net, bool exclusive);
/* The same for who sets all weights: they are not read or drawn first. */
fv_status fv_net_acquire_as_is(fv_net *net, bool exclusive);
void fv_net_release(fv_net *net, bool exclusive);

/* The weight's shape in files into size[]; returns its rank (2 where the spec is flat). */
int fv_weight_file_shape(const fv_weight *weight, size_t size[FV_MAX_RANK]);

/* Weight <-> array in the file's order (float, rank and sizes of the spec). */
void fv_weight_to_file(const fv_weight *weight, const real *values, float *file);
void fv_weight_from_file(const fv_weight *weight, const float *file, real *values);

/* ---- Weights that stay in their file until they are wanted (weight_file.c) ---------------------
 *
 * Of any format that holds them as little-endian floats in the file's order, each at its
 * fv_weight.file_at. */

/* The weights of a net that was built without memory for them are in `file`, which it takes over.
 */
void fv_net_leave_in_file(fv_net *net, fv_file *file);
/* Memory for all weights, of any value, in place of those in the file or to be drawn. */
fv_status fv_net_make_room(fv_net *net);
/* Draws the weights of seed 0, unless net->weights are there. Any number of threads may ask. */
fv_status fv_net_draw(fv_net *net);
/* Reads or draws them into net->weights and closes the file. For whoever has the net alone, but to
 * draw. */
fv_status fv_net_read_weights(fv_net *net);

/* A weight's values in the library's order, from the net's file into `values`. Each thread of the
 * pool (NULL: the caller's) has `stride` bytes of `buffers`: FV_READ_BYTES or, if that is less, a
 * float for each value. */
enum { FV_READ_BYTES = 256 << 10 };
fv_status fv_weight_read(const fv_net *net, const fv_weight *weight, fv_pool *pool,
                         unsigned char *buffers, size_t stride, real *values);
/* Outputs [first, first + count) of a weight (of the file's first axis) as a weight of its own. */
fv_weight fv_weight_outputs(const fv_weight *weight, size_t first, size_t count);
/* Its values in the file's order, from the file or from memory. */
fv_status fv_weight_values(const fv_net *net, const fv_weight *weight, float *file);

/* ---- The .net text (parse.c, print.c) ----------------------------------------------------------
 */

/* The table of the `train` statement, for fv_train_options (train_line.c). */
extern const fv_param fv_train_params[];
/* Those of the `loss` and `metric` statements, and the keys of fv_tuning (loss_line.c). */
extern const fv_param fv_loss_params[], fv_metric_params[], fv_tuning_params[];
extern const char *const fv_metric_names[]; /* ended by NULL */
/* The types of losses and metrics in the order of their names, and which keys each has beside type,
 * of, target and weight. Ended by a NULL name. */
typedef struct fv_judge_type {
    const char *name, *keys;
} fv_judge_type;
extern const fv_judge_type fv_loss_types[], fv_metric_types[];
extern const char *const fv_loss_names[], *const fv_optimizer_names[]; /* ended by NULL */

/* Sets one value of an options struct from its text. FV_INVALID with what was expected. */
fv_status fv_param_parse(const fv_param *param, const char *text, void *options);
/* "key" of the table; NULL when there is none. */
const fv_param *fv_param_find(const fv_param *params, const char *key);
/* The value as text, as fv_param_parse reads it; a field that is not given as its default, or as
 * nothing where no one value says it ("the optimizer's"). */
struct fv_text;
void fv_param_print(const fv_param *param, const void *options, struct fv_text *text);
/* Whether the field is zero, that is, not given. */
bool fv_param_is_default(const fv_param *param, const void *options);
/* Whether 0 is a value of its own, as in "dropout 0", and no sign of a value left out. */
bool fv_param_allows_zero(const fv_param *param);
/* Whether an initialiser takes a value: normal(0.1), constant(0). */
bool fv_init_has_value(fv_init_kind kind);
/* Checks ranges and required values of a whole options struct (built in C). */
fv_status fv_params_check(const fv_param *params, const void *options);

/* FV_INVALID: unknown `what`, the nearest of the names `known` (ended by NULL), and all of them. */
fv_status fv_fail_unknown(const char *what, const char *word, const char *const *known);

/* Adds a loss or a metric of `node`; options are checked by their table. */
fv_status fv_net_add_loss(fv_net *net, int node, const fv_loss_options *options, int line);
fv_status fv_net_add_metric(fv_net *net, int node, const fv_metric_options *options, int line);
/* Whether something can be added to what is judged or given out: `node` is one, and nobody uses the
 * net. */
fv_status fv_net_check_node(const fv_net *net, int node, const char *what);

/* Writes the defaults into what is not given; the optimiser's depend on it and on the formula. */
void fv_train_resolve(fv_train_options *options);
/* Whether the key says something about these options: momentum does about sgd, not about adam. */
bool fv_train_uses(const fv_train_options *options, const char *key);
/* Ranges, and what cannot stand together. */
fv_status fv_train_check(const fv_train_options *options);

/* The name of the next node of that type when it has none of its own: "conv2". `counts` has an
 * element for each of fv_layer_types, zero at first, for nodes in their order. */
enum { FV_NAME_SIZE = 64 };
size_t fv_layer_type_count(void);
void fv_default_name(const fv_layer_type *type, int *counts, char name[FV_NAME_SIZE]);

enum { FV_MOST_TEXT = 16 << 20 }; /* bytes of a .net text */

/* The text of the net that a `use` line names; `beside`: the path of the file that says so, or NULL
 * where it is no file. The caller frees *path and *text. */
typedef fv_status fv_net_finder(const char *name, const char *beside, char **path, char **text,
                                size_t *size);

/* A .net text to be read, and how. */
typedef struct fv_net_text {
    const char *bytes;
    size_t size;
    const char *name;            /* for messages */
    bool is_file;                /* whose path is `name` */
    fv_net_finder *find;         /* NULL: it may not use other nets */
    const char *const *settings; /* "conv1.filters=8", "train.lr=0.1", "depth=56": made first */
    int setting_count;
    bool in_file; /* the weights stay in a file that holds at most so many: fv_net_build_in_file */
    size_t most_weights;
} fv_net_text;

fv_net *fv_net_read(const fv_net_text *text);
/* Of a text that uses no other net. */
fv_net *fv_net_parse_with(const char *text, size_t size, const char *name,
                          const char *const *settings, int setting_count);
/* The same for a model file, whose weights come next: see fv_net_build_in_file. */
fv_net *fv_net_parse_model(const char *text, size_t size, const char *name,
                           const char *const *settings, int setting_count, size_t most_weights);

#endif
