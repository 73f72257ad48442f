/* What a layer type is: a record of data and a few functions. Each layer file defines one (or a
 * few alike); layers.def lists them. The core never asks which kind a layer is. */
#ifndef FV_LAYERS_LAYER_H
#define FV_LAYERS_LAYER_H

#include "base/alloc.h"
#include "base/pool.h"
#include "base/status.h"
#include "kernels/kernels.h"
#include <float.h>
#include <fovea.h>

/* ---- The parameter table: the parser, the printer and the manual all read it ---------------- */

typedef enum fv_param_type {
    FV_PARAM_INT,     /* int field */
    FV_PARAM_NUMBER,  /* double field; "1/255" is a number */
    FV_PARAM_NUMBERS, /* double[most] field, int count at offset2: "0.5,0.4" */
    FV_PARAM_BOOL,    /* bool field: true or false */
    FV_PARAM_NOT,     /* bool field that holds the opposite: key bias, field no_bias */
    FV_PARAM_CHOICE,  /* int-sized enum field; choices[value] are the words */
    FV_PARAM_SIZES,   /* int[3] field: "3x3"; one number stands for all axes */
    FV_PARAM_PADS,    /* int[3][2] field: "1x1", "0:1x0:1" (before:after); one for all axes */
    FV_PARAM_SHAPE,   /* fv_shape field: "28x28x1", "*x*x3" */
    FV_PARAM_INIT,    /* fv_init field: "he_normal", "normal(0.1)" */
    FV_PARAM_NAME,    /* char[most] field */
    FV_PARAM_COUNT,   /* int64_t field */
    FV_PARAM_TABLE,   /* uint64_t[FV_MOST_TABLE] field of bits: "0+1+2,1-3,0-5" */
} fv_param_type;

#define FV_ABOVE_ZERO DBL_MIN /* as fv_param.low: 0 itself is not allowed */

typedef struct fv_param {
    const char *key;
    fv_param_type type;
    size_t offset, offset2;
    int most; /* NUMBERS: values of the field, 0 means 4; NAME: its bytes, 0 means 32 */
    bool required;
    int position;        /* > 0: may stand without its key, in this order */
    double low, high;    /* allowed values, both included, of each number */
    double fallback;     /* what zero in the field means (CHOICE: the value; SIZES: each size) */
    bool exclusive_high; /* `high` itself is not allowed */
    const char *fallback_text;  /* default as text where it is no plain number: "size" ... */
    const char *const *choices; /* CHOICE: words by value, ended by NULL */
    const char *help;           /* one line */
} fv_param;

extern const char *const fv_activation_names[]; /* "linear", "relu", ... NULL */
extern const char *const fv_padding_names[];
extern const char *const fv_formula_names[];
extern const char *const fv_init_names[];
extern const char *const fv_resize_names[];

/* ---- The record ------------------------------------------------------------------------------ */

enum { FV_MAX_WEIGHTS = 4, FV_MAX_INPUTS = 16, FV_MAX_RANK = 5 };

typedef struct fv_weight_spec {
    const char *name; /* "weight", "bias": the tensor is LAYER.weight in files */
    /* Shape in files: PyTorch's order (out, in, spatial...). The library keeps the order that
     * `axes` gives: axis i of the stored array is axis axes[i] of the file's. */
    int rank;
    size_t size[FV_MAX_RANK];
    int axes[FV_MAX_RANK];
    bool flat;       /* in files all axes but the first are one: a dense layer's (out, in) */
    int output_axis; /* of the file's: where the layer's outputs lie, for max_norm */
    size_t fan_in, fan_out;
    fv_init init; /* resolved: never FV_INIT_DEFAULT */
    /* Kept and saved with the model, but no parameter: no gradient (running mean and variance of
     * batch_norm, the fixed weights of rbf). In training, forward may write its next value to
     * weight_gradients[w]: `updated`. */
    bool statistic, updated;
    bool bias; /* a bias, scale or shift: no l1, l2; bias_lr and no_bias_decay are about it */
    const real *values; /* starts from these (static), not from init; NULL: from init */
} fv_weight_spec;

/* What shapes imply. Sizes may be FV_ANY while a net is built, never when it is planned. */
typedef struct fv_inference {
    fv_shape output;
    int weight_count;
    fv_weight_spec weights[FV_MAX_WEIGHTS];
    int64_t macs;             /* multiply-adds a sample without bias; 0 where sizes vary */
    fv_activation activation; /* applied last, so that a loss may take it over */
    /* Of leaky_relu, elu, hard_sigmoid; fv_activation_constant(activation) where it is fused. */
    double activation_constant;
} fv_inference;

/* The constant that an activation has by default: the slope of leaky_relu, elu's alpha ... */
double fv_activation_constant(fv_activation activation);

/* What a layer tells the planner. Bytes; the defaults (all zero) are right for simple layers. */
typedef struct fv_layer_plan {
    int algorithm;                /* the layer's own choice, by shape, batch, pass and kernels */
    const char *words;            /* what it is called; NULL: there is but one. Static */
    bool whole_batch;             /* runs over the batch, as those types do that always say so */
    bool keep_input, keep_output; /* the backward pass reads them */
    size_t kept;                  /* a sample: notes from forward to backward */
    size_t packed;                /* weights rearranged by pack() */
    bool spent[FV_MAX_WEIGHTS];   /* weights that nothing reads after pack(): then they are NULL */
    int slice; /* outputs that pack() takes at a time of weights in a file, all of them spent; 0: it
                  takes all at once */
    size_t scratch; /* a thread, for one call */
    size_t held;    /* a thread, from the first to the last call of a backward unit */
    size_t shared;  /* batch layers: scratch for all threads together */
    bool adds; /* batch layers: backward heeds call->first where batches are accumulated. Else it
                  overwrites weight_gradients of its own. Those that mix samples do */
} fv_layer_plan;

/* What FOVEA_ALGO names, for tests: a convolution runs by it wherever it can, whether it pays or
 * not. FV_INVALID where it names none. Not set: FV_ANY_ALGORITHM. */
typedef enum fv_algorithm {
    FV_ANY_ALGORITHM,
    FV_DIRECT,         /* "direct" */
    FV_WINOGRAD,       /* "winograd": sample by sample */
    FV_WINOGRAD_BATCH, /* "winograd-batch": over the batch, in training */
} fv_algorithm;
fv_status fv_forced_algorithm(fv_algorithm *algorithm);

/* Facts that prepare() may use. Never the number of threads: results must not depend on it. */
typedef struct fv_setting {
    const fv_kernels *kernels;
    int batch;
    bool training, exact;
    fv_algorithm forced;
    bool input_gradient; /* someone wants the gradient of this layer's inputs */
    bool frozen;         /* training, but nobody wants the gradients of its weights: then
                            weight_gradients are NULL, and batch_norm uses its running statistics */
} fv_setting;

/* One call of forward or backward: `samples` consecutive samples; pointers are to the first. */
typedef struct fv_call {
    const void *options;
    const fv_kernels *kernels;
    const fv_layer_plan *plan;
    const fv_setting *setting;
    fv_pool *pool; /* of batch layers; of others, where all threads may share one call; else NULL */
    int samples;
    int input_count;
    const fv_shape *in_shape[FV_MAX_INPUTS], *out_shape;
    const real *in[FV_MAX_INPUTS];
    /* The call of the layer before, which this one carries out too; then in[0] and its `out` are
     * NULL. See takes_feed. */
    const struct fv_call *feed;
    const real *addend; /* as much as `out`, or `out` itself; NULL: none. See takes_addend */
    real *out;
    real *out_gradient;               /* backward reads it and may spoil it */
    real *in_gradient[FV_MAX_INPUTS]; /* backward overwrites; NULL where nobody asks */
    int weight_count;
    const real *weights[FV_MAX_WEIGHTS];
    int first_output, outputs;              /* pack() with a slice: those that the weights are of */
    real *weight_gradients[FV_MAX_WEIGHTS]; /* NULL in inference and for frozen layers */
    /* Backward of a sample layer: first and last call that adds to these weight_gradients. On
     * the first they hold nothing: overwrite. Batch layers see both set, but those that add to
     * the gradients of the batches before. */
    bool first, last;
    unsigned char *kept;
    real *packed;
    /* This thread's scratch; where there is a pool thread t's is `scratch_stride` bytes after that
     * of t - 1, and all threads see `shared`. */
    unsigned char *scratch, *held, *shared;
    size_t scratch_stride;
    fv_activation activation; /* FV_LINEAR where the loss takes the layer's own over */
    real activation_constant;
    /* Where the data comes from: the input layer reads `samples` pointers to bytes or floats. */
    const void *const *source;
    bool source_bytes, source_reals; /* ... or to real */
    /* Random numbers of these samples: seed, node, epoch and index in the data set. epochs NULL: no
     * noise, also in training. */
    uint64_t seed;
    uint32_t node;
    const uint32_t *epochs, *indices;
} fv_call;

/* Whether dropout and noise draw their numbers. */
static inline bool fv_call_draws(const fv_call *call) {
    return call->setting->training && call->epochs;
}

/* A layer that another one might carry out. */
typedef struct fv_feeder {
    const struct fv_layer_type *type;
    const void *options;
    const fv_shape *input, *output;
    fv_activation activation;
} fv_feeder;

typedef struct fv_layer_type {
    const char *name;
    const char *help; /* one line, for the manual */
    size_t options_size;
    const fv_param *params; /* ended by a NULL key; NULL: none */
    int min_inputs, max_inputs;
    bool whole_batch;   /* runs over the batch with the pool; others go a few samples at a time */
    bool mixes_samples; /* in training (unless frozen) each pass is in three steps: measure() of a
                           few samples at a time, join() over the batch, forward() of a few again;
                           and measure_back(), join_back(), backward() alike */
    bool recomputes;    /* forward() may be called again before backward(), with the same inputs: it
                           costs little, and leaves the same output and notes */
    bool view;          /* output is the input's memory under another shape: no forward, backward */
    bool takes_affine; /* its weights can take up an affine map behind it (net/fold.c): weight 0 has
                          the outputs along its output_axis, and pack() and forward() heed a bias in
                          weight 1 also where the options have none */
    bool sum;          /* its output is the sum of its inputs, then its activation */
    bool identity;     /* at inference its output is its input, and so it is a view then: dropout */
    /* Output shape, weights, cost; on misfit fails with both shapes in the message. */
    fv_status (*infer)(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference);
    /* Choose the algorithm and say what is needed. NULL: nothing is. */
    void (*prepare)(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan);
    /* At inference the layer is y = x scale(c) + shift(c), then its activation: fills both. NULL:
     * it is no such map. */
    void (*affine)(const void *options, int channels, const real *const *weights, real *scale,
                   real *shift);
    /* Whether at inference forward can make its input itself, a few places at a time, where that is
     * the output of this layer and nobody else reads it: call->feed (net/feed.c). NULL: never. */
    bool (*takes_feed)(const void *options, const fv_feeder *feeder, const fv_kernels *kernels);
    /* Whether at inference forward adds call->addend to its output before its activation: of layers
     * of one input (net/residual.c). NULL: never. */
    bool (*takes_addend)(const void *options, const fv_shape *input);
    /* weights -> packed; before a run with new weights. With the pool and all threads' scratch. */
    void (*pack)(const fv_call *call);
    /* Of layers that mix samples. What measure() finds of a sample is in `kept`, what join() makes
     * of all in `packed`; the weights' gradients are join_back()'s. */
    void (*measure)(const fv_call *call);
    void (*join)(const fv_call *call);
    void (*measure_back)(const fv_call *call);
    void (*join_back)(const fv_call *call);
    void (*forward)(const fv_call *call);
    void (*backward)(const fv_call *call); /* NULL for the input */
} fv_layer_type;

/* The list of layers.def, ended by NULL; and one by name, NULL when there is none. */
extern const fv_layer_type *const fv_layer_types[];
const fv_layer_type *fv_layer_type_find(const char *name);

/* ---- Shared by layer files (shapes.c) ----------------------------------------------------------
 */

/* "28x28x1" into text[64]; returns it. */
const char *fv_shape_text(const fv_shape *shape, char text[64]);

/* Whether rank, sizes and channels are the same. */
bool fv_same_shape(const fv_shape *a, const fv_shape *b);
/* Whether rank and sizes are; a size that varies fits any. */
bool fv_sizes_fit(const fv_shape *a, const fv_shape *b);

/* An axis of a sliding window: output size and padding from the options (conventions: floor, the
 * lecture's (W - F + P) / S + 1; same: TensorFlow's). size may be FV_ANY, and then is the output.
 */
typedef struct fv_axis {
    int in, out, kernel, stride, dilation, before, after;
} fv_axis;

/* Fills axes[0..rank-1] of `input`; repeats first sizes (see fovea.h). FV_SHAPE when the kernel is
 * larger than the padded input. `what` is "kernel" or "window", for the message. */

typedef struct fv_slide_options {
    const int *kernel, *stride; /* int[3] each */
    const int *dilation;        /* NULL: 1 */
    fv_padding padding;
    const int (*pad)[2]; /* int[3][2] */
    bool ceil;           /* see fv_pool_options */
    const char *what;
} fv_slide_options;

fv_status fv_slide(const fv_shape *input, const fv_slide_options *options, fv_axis axes[3]);
/* The part of it that knows nothing of sizes: axes and padding that do not go with the input. */
fv_status fv_slide_check(const fv_shape *input, const fv_slide_options *options);

/* Value i of a list in which trailing zeros repeat the first (as sizes in options do). */
int fv_size_at(const int values[3], int i, int fallback);

/* FV_SHAPE where the input is a vector, but a `what` needs spatial axes. */
fv_status fv_need_axes(const fv_shape *input, const char *what);
/* Sizes from the options for each spatial axis of `input`, 1 for those that it lacks; the first
 * repeats. FV_SHAPE where more are given than it has axes. */
fv_status fv_repeat_sizes(const fv_shape *input, const int given[3], const char *what,
                          int sizes[3]);
/* The size as int; FV_SHAPE where it is none. */
fv_status fv_set_size(int64_t size, const fv_shape *input, int *output);

/* fv_layer_type.infer of layers without weights whose output has their input's shape. */
fv_status fv_infer_same(const void *options, const fv_shape *inputs, int count,
                        fv_inference *inference);

/* The input line's y = (x * scale - mean) / deviation: a gradient by `count` values y, whole
 * samples, becomes that by x. */
void fv_input_gradient(const fv_input_options *options, const fv_kernels *kernels, size_t count,
                       real *gradient);

/* The initialiser, or the default for a weight (glorot_uniform) or bias (constant 0). */
fv_init fv_init_or(fv_init init, fv_init_kind fallback);

#endif
