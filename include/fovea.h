/* fovea: train and run convolutional networks.
 *
 * Conventions
 * - Arrays are NHWC: sample, spatial sizes (outermost first), channels; row-major float.
 * - "Shape" is that of one sample: spatial sizes and channels, without the batch axis.
 * - In an options struct zero means the default, so that designated initialisers read as keyword
 *   arguments: fv_conv(net, x, .filters = 32, .kernel = {3, 3}, .activation = FV_RELU).
 * - Every fallible function returns fv_status or a pointer that is NULL on failure;
 *   fv_error_message() then says what went wrong. Nothing here exits, aborts or prints.
 * - Objects may be used by one thread at a time, except that a const fv_net or fv_data may be
 *   shared by any number of threads, each with its own fv_session.
 */
#ifndef FOVEA_H
#define FOVEA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define FV_API __attribute__((visibility("default")))
#else
#define FV_API
#endif

/* ---- Errors ------------------------------------------------------------------------------ */

typedef enum fv_status {
    FV_OK = 0,
    FV_MEMORY,      /* out of memory */
    FV_IO,          /* a file or folder cannot be read or written */
    FV_FORMAT,      /* a file's contents are damaged or not what they should be */
    FV_INVALID,     /* an argument, key or value is not allowed */
    FV_SHAPE,       /* shapes do not fit together */
    FV_NUMERIC,     /* a loss or weight is no longer a finite number */
    FV_BUSY,        /* the net is being trained, or is used by a session while asked to train */
    FV_UNSUPPORTED, /* an optional part was left out of this build */
    FV_INTERRUPTED, /* the observer asked to stop; the checkpoint is saved */
} fv_status;

/* The calling thread's last error message: what, where, what to do. Never NULL; valid until the
 * thread's next failing call. */
FV_API const char *fv_error_message(void);
/* Its status: why a function returned NULL. FV_OK before the thread's first failure. */
FV_API fv_status fv_error_status(void);

/* ---- About this build -------------------------------------------------------------------- */

FV_API const char *fv_version(void); /* "0.1.0" */
/* The kernels in use: "v2", "v3", "v4" (x86-64 levels) or "generic". FOVEA_ISA=v2|v3|v4|generic in
 * the environment forces one; NULL with a message when that is not possible here. */
FV_API const char *fv_instruction_set(void);
FV_API int fv_default_threads(void);  /* the processors that this process may use */
FV_API const char *fv_features(void); /* optional parts built in: "zlib png jpeg zip json" */

/* ---- Shapes ------------------------------------------------------------------------------ */

#define FV_ANY (-1) /* a spatial size that may vary: `*` in a .net file */

/* One sample: size[0..rank-1] x channels. rank 0 is a plain vector of `channels` values; its
 * size[] keeps the spatial sizes that a flatten layer folded in, which model files need. */
typedef struct fv_shape {
    int rank; /* 0 to 3 */
    int size[3];
    int channels;
} fv_shape;

FV_API size_t fv_shape_count(const fv_shape *shape); /* values in one sample */

/* ---- Nets -------------------------------------------------------------------------------- */

typedef struct fv_net fv_net;
typedef int fv_tensor; /* a layer's output; negative: that layer could not be added */

typedef enum fv_activation {
    FV_LINEAR = 0,
    FV_RELU,    /* max(x, 0) */
    FV_SIGMOID, /* 1 / (1 + exp(-x)) */
    FV_TANH,
    FV_SOFTMAX, /* over the channels: exp(x_c) / sum_k exp(x_k) */
} fv_activation;

typedef enum fv_padding {
    FV_VALID = 0, /* none, but what `pad` says */
    FV_SAME,      /* TensorFlow's: output = ceil(input / stride); the odd cell goes to the end */
} fv_padding;

/* How weights start. fan_in = kernel cells x input channels, fan_out = kernel cells x outputs;
 * the "normal" kinds are normals cut at two deviations, as in Keras. */
typedef enum fv_init_kind {
    FV_INIT_DEFAULT = 0,    /* weights: glorot_uniform; biases: constant(0) */
    FV_INIT_GLOROT_UNIFORM, /* Glorot & Bengio 2010: +-sqrt(6 / (fan_in + fan_out)) */
    FV_INIT_GLOROT_NORMAL,
    FV_INIT_HE_UNIFORM, /* He et al. 2015: +-sqrt(6 / fan_in) */
    FV_INIT_HE_NORMAL,
    FV_INIT_LECUN_UNIFORM, /* LeCun et al. 1998: +-sqrt(3 / fan_in) */
    FV_INIT_LECUN_NORMAL,
    FV_INIT_NORMAL,   /* deviation `value`, not cut */
    FV_INIT_CONSTANT, /* `value` */
} fv_init_kind;

typedef struct fv_init {
    fv_init_kind kind;
    double value; /* of normal and constant */
} fv_init;

typedef enum fv_resize {
    FV_RESIZE_NONE = 0, /* a picture of another size is an error */
    FV_RESIZE_NEAREST,
    FV_RESIZE_BILINEAR, /* half-pixel centres, no antialiasing */
} fv_resize;

typedef struct fv_input_options {
    fv_shape shape;
    double scale;     /* y = x * scale - mean; default 1 */
    double mean[4];   /* one for each channel; one value stands for all */
    int means;        /* how many of `mean` are given; 0: none */
    fv_resize resize; /* for pictures of another size */
} fv_input_options;

/* Sizes of fewer axes than the input has repeat their first: {3} is {3, 3} on pictures. */
typedef struct fv_conv_options {
    int filters;   /* output channels, 1 or more */
    int kernel[3]; /* cells along each axis */
    fv_activation activation;
    int stride[3]; /* default 1 */
    fv_padding padding;
    int pad[3][2]; /* explicit zeros {before, after} along each axis, with FV_VALID */
    bool no_bias;
    fv_init init, bias_init;
} fv_conv_options;

typedef struct fv_pool_options {
    int size[3];   /* window */
    int stride[3]; /* default: the window */
    fv_padding padding;
    int pad[3][2];          /* at most half the window */
    bool count_include_pad; /* avgpool: padded cells count in the divisor (PyTorch's default) */
} fv_pool_options;

typedef struct fv_dense_options {
    int units; /* outputs, 1 or more */
    fv_activation activation;
    bool no_bias;
    fv_init init, bias_init;
} fv_dense_options;

typedef struct fv_dropout_options {
    double rate; /* share of values set to 0 in training, 0 <= rate < 1; the others grow by
                    1 / (1 - rate) (Srivastava et al. 2014). Rounded to 1/65536 */
} fv_dropout_options;

/* A new net without layers; NULL when out of memory. Free it with fv_net_free(). */
FV_API fv_net *fv_net_new(void);
FV_API void fv_net_free(fv_net *net);

/* Adds a layer of a type by name ("conv", "dense", ...; see fovea.net(5)), with its options
 * struct and that struct's size (NULL, 0: all defaults). Returns its output; negative on failure
 * or when an input is negative: the first failure is kept and returned by fv_net_build(), so a
 * builder checks once. */
FV_API fv_tensor fv_add_layer(fv_net *net, const char *type, const fv_tensor *inputs,
                              int input_count, const void *options, size_t options_size);
FV_API fv_tensor fv_add_layer1(fv_net *net, const char *type, fv_tensor input, const void *options,
                               size_t options_size);

#ifdef __cplusplus
#define FV_OPTIONS(type, ...)                                                                      \
    [&] {                                                                                          \
        static thread_local type fv_options_;                                                      \
        fv_options_ = type{__VA_ARGS__};                                                           \
        return &fv_options_;                                                                       \
    }()
#else
#define FV_OPTIONS(type, ...) (&(type){__VA_ARGS__})
#endif

/* The same with the options written as keyword arguments (C99, or C++20). */
#define fv_input(net, ...)                                                                         \
    fv_add_layer(net, "input", 0, 0, FV_OPTIONS(fv_input_options, __VA_ARGS__),                    \
                 sizeof(fv_input_options))
#define fv_conv(net, x, ...)                                                                       \
    fv_add_layer1(net, "conv", x, FV_OPTIONS(fv_conv_options, __VA_ARGS__), sizeof(fv_conv_options))
#define fv_maxpool(net, x, ...)                                                                    \
    fv_add_layer1(net, "maxpool", x, FV_OPTIONS(fv_pool_options, __VA_ARGS__),                     \
                  sizeof(fv_pool_options))
#define fv_avgpool(net, x, ...)                                                                    \
    fv_add_layer1(net, "avgpool", x, FV_OPTIONS(fv_pool_options, __VA_ARGS__),                     \
                  sizeof(fv_pool_options))
#define fv_dense(net, x, ...)                                                                      \
    fv_add_layer1(net, "dense", x, FV_OPTIONS(fv_dense_options, __VA_ARGS__),                      \
                  sizeof(fv_dense_options))
#define fv_dropout(net, x, ...)                                                                    \
    fv_add_layer1(net, "dropout", x, FV_OPTIONS(fv_dropout_options, __VA_ARGS__),                  \
                  sizeof(fv_dropout_options))
#define fv_flatten(net, x) fv_add_layer1(net, "flatten", x, 0, 0)
#define fv_relu(net, x) fv_add_layer1(net, "relu", x, 0, 0)
#define fv_sigmoid(net, x) fv_add_layer1(net, "sigmoid", x, 0, 0)
#define fv_tanh(net, x) fv_add_layer1(net, "tanh", x, 0, 0)
#define fv_softmax(net, x) fv_add_layer1(net, "softmax", x, 0, 0)

/* How a net is trained: the `train` lines of a .net file. Zero or NULL: the default, which for the
 * optimiser's numbers depends on the optimiser and its formula (fovea.net(5) lists them). */
typedef enum fv_formula { FV_KERAS = 0, FV_TORCH } fv_formula;
typedef enum fv_last_batch {
    FV_LAST_SHORT = 0, /* the rest of the epoch is a smaller batch (Keras) */
    FV_LAST_DROP,      /* the rest is left out of this epoch */
    FV_LAST_CARRY,     /* batches run on across epochs */
} fv_last_batch;

typedef struct fv_train_options {
    char loss[32];      /* "cross_entropy" */
    char optimizer[32]; /* "sgd", "adadelta", "adam"; default sgd */
    fv_formula formula; /* whose formula and defaults */
    double lr, momentum, rho, beta1, beta2, epsilon;
    int batch;     /* default 32 */
    int epochs;    /* default 1; not together with steps */
    int64_t steps; /* stop after so many steps */
    int log_every; /* steps.csv and a line each so many steps: the batch's loss, dropout off */
    int holdout;   /* the first so many training samples are kept for validation */
    fv_last_batch last_batch;
    int test_samples; /* the final test of `fovea train` uses the first so many; 0: all */
} fv_train_options;

FV_API void fv_set_train_options(fv_net *net, const fv_train_options *options);
FV_API const fv_train_options *fv_get_train_options(const fv_net *net); /* as set or read */

/* Checks all shapes, makes the weights and draws them from seed 0. After it no layer can be
 * added. Returns the builder's first error. */
FV_API fv_status fv_net_build(fv_net *net);

/* Draws all weights anew from their initialisers. */
FV_API fv_status fv_net_initialize(fv_net *net, uint64_t seed);

/* A net from a file: .net text (weights drawn from seed 0) or .safetensors model. A name without
 * a slash or suffix is looked for in the installed nets ($FOVEA_NETS first). */
FV_API fv_net *fv_net_load(const char *path);
/* The same with settings changed first: "conv2.filters=8", "train.lr=0.1". */
FV_API fv_net *fv_net_load_with(const char *path, const char *const *settings, int count);
/* The same from .net text; `name` stands for the file in messages. */
FV_API fv_net *fv_net_parse(const char *text, const char *name);
/* The net's .net text; with `resolved` every default is written out. Free with fv_free_memory(). */
FV_API char *fv_net_print(const fv_net *net, bool resolved);
FV_API void fv_free_memory(void *memory);

/* Writes a model file (safetensors, by way of a temporary file: the old one stays until the new one
 * is whole). fv_export() picks the format by the suffix: .safetensors, .npz or .net. */
FV_API fv_status fv_save(const fv_net *net, const char *path);
FV_API fv_status fv_export(const fv_net *net, const char *path);

/* Names of the classes of the last layer, saved with the model. NULL when not known. */
FV_API fv_status fv_set_class_names(fv_net *net, const char *const *names, int count);
FV_API const char *fv_class_name(const fv_net *net, int index);

/* ---- What a net is made of ---------------------------------------------------------------- */

typedef struct fv_layer_info {
    const char *name, *type;
    const char *detail; /* the layer's own settings, e.g. "32 3x3 relu" */
    fv_shape output;    /* sizes that vary are FV_ANY */
    int64_t parameters;
    int64_t macs;        /* multiply-adds a sample, bias not counted; 0 where sizes vary */
    int64_t activations; /* values of its output a sample; 0 where that is only a view */
} fv_layer_info;

FV_API int fv_layer_count(const fv_net *net);
FV_API fv_status fv_layer_describe(const fv_net *net, int index, fv_layer_info *info);
FV_API int64_t fv_parameter_count(const fv_net *net);

typedef struct fv_memory {
    size_t weights;     /* as stored */
    size_t packed;      /* rearranged for the kernels */
    size_t activations; /* outputs and what the backward pass keeps */
    size_t scratch;     /* of all threads */
    size_t gradients;   /* training only, with the partial sums of the units */
    size_t optimizer;   /* training only */
    size_t total;       /* the sum */
} fv_memory;

/* Bytes that a session (or, with `training`, a trainer) of that batch and thread count will
 * allocate for numbers, exactly. threads 0: the default. */
FV_API fv_status fv_net_memory(const fv_net *net, int batch, int threads, bool training, bool exact,
                               fv_memory *memory);

/* ---- Running a net ------------------------------------------------------------------------ */

typedef struct fv_session fv_session;

typedef struct fv_session_options {
    int batch;      /* most samples of a run; default 1 */
    int threads;    /* default: the processors of this process */
    bool exact;     /* direct algorithms only */
    fv_shape shape; /* of the input, for nets whose sizes vary; rank 0: the net's own */
    /* Layers whose outputs are kept ("conv1"; "conv1.pre": before its activation), ended by NULL;
     * the last layer's always is. */
    const char *const *outputs;
    bool profile; /* time each layer */
} fv_session_options;

/* Holds a reference on `net`'s weights: free the session before the net. */
FV_API fv_session *fv_session_new(const fv_net *net, const fv_session_options *options);
FV_API void fv_session_free(fv_session *session);

/* Runs `samples` (1 to batch) of the input's shape through the net, values as in the data (the
 * input line's scale and mean are applied here). */
FV_API fv_status fv_session_run(fv_session *session, const float *input, int samples);
/* The last run's output of a layer kept by the options, samples x *shape; NULL name: the last
 * layer. Valid until the next run. NULL with a message for a layer that was not kept. */
FV_API const float *fv_session_output(const fv_session *session, const char *name, fv_shape *shape);
/* Seconds spent in layer `index` since the session began, summed over threads, when profiling. */
FV_API double fv_session_seconds(const fv_session *session, int index);
FV_API void fv_session_memory(const fv_session *session, fv_memory *memory); /* as allocated */

/* ---- Data ---------------------------------------------------------------------------------- */

typedef struct fv_data fv_data;

/* A data set by name ("mnist", "fashion-mnist": found in $FOVEA_DATA, ~/.local/share/fovea, or
 * where the distribution puts it) or by the path of a folder with IDX files. split: "train",
 * "val" or "test". */
FV_API fv_data *fv_data_open(const char *name, const char *split);
FV_API void fv_data_free(fv_data *data);
/* A view of samples [first, first + count) of `data`, which must outlive it. */
FV_API fv_data *fv_data_slice(const fv_data *data, size_t first, size_t count);
FV_API size_t fv_data_count(const fv_data *data);
FV_API fv_shape fv_data_shape(const fv_data *data);
FV_API int fv_data_classes(const fv_data *data);                       /* largest label + 1 */
FV_API const char *fv_data_class_name(const fv_data *data, int index); /* NULL: not known */
FV_API const char *fv_data_place(const fv_data *data);                 /* its folder */
/* Sample `index` as values of fv_data_shape() (bytes as 0 to 255), and its label. */
FV_API fv_status fv_data_sample(const fv_data *data, size_t index, float *values, int *label);

typedef struct fv_known_data {
    const char *name, *description, *how_to_get;
} fv_known_data;
FV_API const fv_known_data *fv_data_known(int index); /* NULL past the last */
/* Folder in which a known set was found, for the caller to fv_free_memory(); NULL: not found. */
FV_API char *fv_data_find(const char *name);

/* A picture (PNG, JPEG: values 0 to 255) or array (.npy, of 1 to 4 axes, channels last) as values
 * of *shape, which the caller frees with fv_free_memory(). */
FV_API fv_status fv_read_array(const char *path, fv_shape *shape, float **values);
/* The raw axes of a .npy file (at most 5). Free *values with fv_free_memory(). */
FV_API fv_status fv_read_npy(const char *path, int *rank, size_t sizes[5], float **values);
FV_API fv_status fv_write_npy(const char *path, int rank, const size_t *sizes, const float *values);
/* Fits a picture to the net's input: grey from colour and colour from grey, resized as the input
 * line says. FV_SHAPE when it does not fit. `fitted` holds fv_shape_count(to) values. */
FV_API fv_status fv_fit_picture(const fv_net *net, const fv_shape *from, const float *values,
                                const fv_shape *to, float *fitted);
FV_API fv_shape fv_input_shape(const fv_net *net);

/* ---- Training ------------------------------------------------------------------------------ */

typedef struct fv_score {
    double loss; /* mean a sample */
    double accuracy;
    size_t samples;
} fv_score;

/* One training step at a time, for loops of your own. */
typedef struct fv_trainer fv_trainer;

typedef struct fv_trainer_options {
    int batch;     /* most samples of a step; default: the net's train line */
    int threads;   /* default: the processors of this process */
    uint64_t seed; /* of dropout */
    bool exact;
} fv_trainer_options;

/* While a trainer lives, the net is its alone (FV_BUSY for others). */
FV_API fv_trainer *fv_trainer_new(fv_net *net, const fv_trainer_options *options);
FV_API void fv_trainer_free(fv_trainer *trainer);
/* Forward, backward, update: samples x input shape, a class index for each sample. *score (may be
 * NULL) is that of this batch before the update, dropout on. FV_NUMERIC when the loss is no number:
 * the message names layer and step, the weights are as before the step. */
FV_API fv_status fv_trainer_step(fv_trainer *trainer, const float *input, const int *labels,
                                 int samples, fv_score *score);
FV_API void fv_trainer_memory(const fv_trainer *trainer, fv_memory *memory); /* as allocated */

typedef enum fv_event {
    FV_EVENT_STEP,  /* after each step */
    FV_EVENT_LOG,   /* after a step that the net asks to log: loss and accuracy of that batch */
    FV_EVENT_EPOCH, /* after an epoch and its validation */
    FV_EVENT_NOTE,  /* something worth knowing, in `note` */
} fv_event;

typedef struct fv_progress {
    fv_event event;
    int epoch, epochs;   /* from 1; epochs is 0 where steps are counted */
    int64_t step, steps; /* of the whole run, from 1 */
    int64_t epoch_step, epoch_steps;
    double loss, accuracy;         /* running means of the epoch; of the batch for FV_EVENT_LOG */
    double val_loss, val_accuracy; /* FV_EVENT_EPOCH; NaN without validation */
    double seconds;                /* since the epoch began */
    double samples_per_second, seconds_left;
    const char *note; /* FV_EVENT_NOTE: a sentence, else NULL */
} fv_progress;

/* Called on the training thread. Returning false stops the run after this step: the checkpoint
 * is written and fv_fit() returns FV_INTERRUPTED. */
typedef bool fv_observer(void *argument, const fv_progress *progress);

typedef struct fv_fit_options {
    int epochs, batch; /* 0: the net's train line */
    double lr;
    uint64_t seed; /* of the weights (where they are not trained yet), the order and dropout */
    int threads;
    bool exact;
    size_t limit; /* train on the first so many samples (after the net's holdout); 0: all */
    /* Measured after each epoch; NULL: the samples that the net holds out, if it does. */
    const fv_data *validate;
    /* Folder for model.safetensors, checkpoint.safetensors, log.csv, steps.csv; NULL: none. */
    const char *folder;
    bool resume; /* go on from folder's checkpoint, where there is one */
    fv_observer *observer;
    void *argument; /* the observer's */
} fv_fit_options;

/* Trains the net on the data by its train line. FV_BUSY while sessions or a trainer use it. The
 * same seed gives the same bits for any number of threads, interrupted or not. */
FV_API fv_status fv_fit(fv_net *net, const fv_data *data, const fv_fit_options *options);

/* Loss and accuracy on a data set; several nets are an ensemble whose outputs are averaged.
 * threads and batch 0: the defaults. */
FV_API fv_status fv_evaluate(const fv_net *const *nets, int count, const fv_data *data, int batch,
                             int threads, bool exact, fv_score *score);

#ifdef __cplusplus
}
#endif

#endif
