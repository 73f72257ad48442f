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
FV_API int fv_default_threads(void); /* the processors that this process may use */
/* 2 x the multiply-adds a second, in billions, that so many threads (0: the default) do from
 * registers with these kernels: what nothing exceeds but algorithms that need fewer. Takes
 * `seconds` (0.05 is enough). Negative with a message where there is no memory or thread. */
FV_API double fv_peak_gflops(int threads, double seconds);
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

/* Elementwise but for the two softmaxes. In a layer's options an activation has the constants named
 * here; as a layer of its own (leaky_relu, elu, hard_sigmoid) it takes others. */
typedef enum fv_activation {
    FV_LINEAR = 0,
    FV_RELU,    /* max(x, 0) */
    FV_SIGMOID, /* 1 / (1 + exp(-x)) */
    FV_TANH,
    FV_SOFTMAX,      /* over the channels: exp(x_c) / sum_k exp(x_k) */
    FV_RELU6,        /* min(max(x, 0), 6) */
    FV_LEAKY_RELU,   /* x > 0 ? x : 0.01 x */
    FV_ELU,          /* x > 0 ? x : exp(x) - 1 (Clevert et al. 2016) */
    FV_SELU,         /* 1.0507 (x > 0 ? x : 1.6733 (exp(x) - 1)) (Klambauer et al. 2017) */
    FV_GELU,         /* x Phi(x) = x / 2 (1 + erf(x / sqrt 2)) (Hendrycks & Gimpel 2016) */
    FV_GELU_TANH,    /* x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
    FV_SILU,         /* x sigmoid(x), also called swish */
    FV_MISH,         /* x tanh(log(1 + exp(x))) */
    FV_HARD_SIGMOID, /* min(max(x / 6 + 1/2, 0), 1) */
    FV_HARD_SWISH,   /* x hard_sigmoid(x) */
    FV_SOFTPLUS,     /* log(1 + exp(x)) */
    FV_SOFTSIGN,     /* x / (1 + |x|) */
    FV_SCALED_TANH,  /* 1.7159 tanh(2/3 x) (LeCun et al. 1998) */
    FV_LOG_SOFTMAX,  /* over the channels: x_c - log sum_k exp(x_k) */
} fv_activation;

typedef enum fv_padding {
    FV_VALID = 0,  /* none, but what `pad` says */
    FV_SAME,       /* TensorFlow's: output = ceil(input / stride); the odd cell goes to the end */
    FV_SAME_LOWER, /* the same with the odd cell in front (ONNX) */
    FV_CAUSAL,     /* one axis only: all padding in front, so that no output sees later inputs */
} fv_padding;

/* Whose defaults and formula, where frameworks differ. */
typedef enum fv_formula { FV_KERAS = 0, FV_TORCH, FV_ONNX, FV_CAFFE } fv_formula;

/* How weights start. fan_in = kernel cells x input channels, fan_out = kernel cells x outputs
 * (of conv_transpose the other way round, as Keras and PyTorch have it);
 * the "normal" kinds are normals cut at two deviations, as in Keras. */
typedef enum fv_init_kind {
    FV_INIT_DEFAULT = 0,    /* weights: glorot_uniform; biases: constant(0) */
    FV_INIT_GLOROT_UNIFORM, /* Glorot & Bengio 2010: +-sqrt(6 / (fan_in + fan_out)) */
    FV_INIT_GLOROT_NORMAL,
    FV_INIT_HE_UNIFORM, /* He et al. 2015: +-sqrt(6 / fan_in) */
    FV_INIT_HE_NORMAL,
    FV_INIT_LECUN_UNIFORM, /* LeCun et al. 1998: +-sqrt(3 / fan_in) */
    FV_INIT_LECUN_NORMAL,
    FV_INIT_NORMAL,             /* deviation `value`, not cut */
    FV_INIT_CONSTANT,           /* `value` */
    FV_INIT_TRUNCATED_NORMAL,   /* deviation `value` before it is cut at two of them */
    FV_INIT_UNIFORM,            /* +-`value` */
    FV_INIT_ORTHOGONAL,         /* Saxe et al. 2014: rows or columns orthonormal, times `value` */
    FV_INIT_KAIMING_NORMAL,     /* not cut, deviation sqrt(2 / fan_in); Caffe's msra */
    FV_INIT_KAIMING_NORMAL_OUT, /* not cut, deviation sqrt(2 / fan_out), as in ResNet */
    FV_INIT_FAN_IN_UNIFORM,     /* +-1 / sqrt(fan_in): PyTorch's weights and biases */
    FV_INIT_SIGN,               /* +1 or -1, each as likely */
} fv_init_kind;

typedef struct fv_init {
    fv_init_kind kind;
    double value; /* of normal, truncated_normal, uniform, constant; orthogonal: 0 means 1 */
} fv_init;

typedef enum fv_resize {
    FV_RESIZE_NONE = 0, /* a picture of another size is an error */
    FV_RESIZE_NEAREST,
    FV_RESIZE_BILINEAR,  /* half-pixel centres, no antialiasing */
    FV_RESIZE_ANTIALIAS, /* bilinear with a triangle as wide as the reduction (Pillow,
                            torchvision) */
} fv_resize;

typedef struct fv_input_options {
    fv_shape shape;
    double scale;        /* y = (x * scale - mean) / deviation; default 1 */
    double mean[4];      /* one for each channel; one value stands for all */
    int means;           /* how many of `mean` are given; 0: none */
    double deviation[4]; /* likewise */
    int deviations;
    fv_resize resize; /* for pictures of another size */
    int side;         /* pictures: first the shorter side is made this long, then the centre is cut
                         out; default: the whole picture is made to fit */
} fv_input_options;

/* Sizes of fewer axes than the input has repeat their first: {3} is {3, 3} on pictures. */

enum { FV_MOST_TABLE = 64 };

typedef struct fv_conv_options {
    int filters;   /* output channels, 1 or more */
    int kernel[3]; /* cells along each axis */
    fv_activation activation;
    int stride[3];   /* default 1 */
    int dilation[3]; /* distance of kernel cells; default 1 */
    int groups;      /* divides input channels and filters; default 1 */
    fv_padding padding;
    int pad[3][2]; /* explicit zeros {before, after} along each axis, with FV_VALID */
    bool no_bias;
    fv_init init, bias_init;
    /* Connection table (LeNet-5's C3): bit c of table[f] is set where filter f sees channel c; all
     * zero: every filter sees every channel. At most 64 filters and channels, no groups. */
    uint64_t table[FV_MOST_TABLE];
} fv_conv_options;

/* Each channel has kernels of its own: filters = channels x multiplier, filter c multiplier + m
 * sees channel c. */
typedef struct fv_depthwise_conv_options {
    int kernel[3];
    fv_activation activation;
    int multiplier; /* default 1 */
    int stride[3], dilation[3];
    fv_padding padding;
    int pad[3][2];
    bool no_bias;
    fv_init init, bias_init;
} fv_depthwise_conv_options;

/* A depthwise convolution without bias, then a 1x1 convolution to `filters`. */
typedef struct fv_separable_conv_options {
    int filters;
    int kernel[3];
    fv_activation activation;
    int multiplier; /* default 1 */
    int stride[3], dilation[3];
    fv_padding padding;
    int pad[3][2];
    bool no_bias;
    fv_init depthwise_init, init, bias_init;
} fv_separable_conv_options;

/* The transpose of a convolution from output to input (Zeiler et al. 2010). Output size (n - 1)
 * stride - before - after + dilation (kernel - 1) + 1 + output_pad; with FV_SAME n x stride. */
typedef struct fv_conv_transpose_options {
    int filters;
    int kernel[3];
    fv_activation activation;
    int stride[3], dilation[3];
    int groups;
    fv_padding padding; /* FV_VALID (with pad) or FV_SAME */
    int pad[3][2];      /* cells taken from the output, {before, after} */
    int output_pad[3];  /* cells added to its end; less than the stride */
    bool no_bias;
    fv_init init, bias_init;
} fv_conv_transpose_options;

/* A convolution whose weights are not shared: each output place has kernels of its own. */
typedef struct fv_local_options {
    int filters;
    int kernel[3];
    fv_activation activation;
    int stride[3];
    fv_padding padding;
    int pad[3][2];
    bool no_bias; /* the bias too has a number for each place and filter */
    fv_init init, bias_init;
} fv_local_options;

typedef struct fv_pool_options {
    int size[3];   /* window */
    int stride[3]; /* default: the window */
    fv_padding padding;
    int pad[3][2];          /* at most half the window */
    bool ceil;              /* round the output size up; a window that would begin in the padding
                               behind is left out, one that reaches past it is cut there */
    bool count_include_pad; /* avgpool: padded cells count in the divisor (PyTorch's default) */
} fv_pool_options;

typedef struct fv_global_pool_options {
    bool keep; /* keep the spatial axes, of size 1; default: a vector of the channels */
} fv_global_pool_options;

/* Window i of an axis is [floor(i in / out), ceil((i + 1) in / out)), as in PyTorch. */
typedef struct fv_adaptive_pool_options {
    int size[3]; /* of the output */
} fv_adaptive_pool_options;

/* LeNet-5's S2: activation(coefficient(c) x sum of the window + bias(c)). */
typedef struct fv_subsample_options {
    int size[3];
    fv_activation activation;
    int stride[3];           /* default: the window */
    fv_init init, bias_init; /* defaults: constant(1 / cells of the window), constant(0) */
} fv_subsample_options;

/* LeNet-5's output: y_u = sum over inputs k of (x_k - w(u, k))^2, to be small for the right class.
 * For 10 units of 84 inputs the weights are 7x12 bitmaps of the digits, else +-1 at random; they
 * do not learn unless asked to. */
typedef struct fv_rbf_options {
    int units;
    bool learn;
} fv_rbf_options;

/* The same values for every sample, whatever the input (which says how many samples there are). */
typedef struct fv_constant_options {
    fv_shape shape;
    bool learn;   /* the values learn (PyTorch's nn.Parameter) */
    fv_init init; /* default constant(0) */
} fv_constant_options;

typedef struct fv_dense_options {
    int units; /* outputs, 1 or more */
    fv_activation activation;
    bool no_bias;
    fv_init init, bias_init;
} fv_dense_options;

typedef struct fv_reshape_options {
    fv_shape shape; /* one size may be FV_ANY: what is left */
} fv_reshape_options;

/* Output axis i is input axis axes[i], counted from 1 with the channels last, as in Keras. */
typedef struct fv_permute_options {
    double axes[4];
    int count;
} fv_permute_options;

typedef enum fv_pad_mode {
    FV_PAD_CONSTANT = 0, /* `value` */
    FV_PAD_REFLECT,      /* mirrored at the outermost cell, which is not repeated */
    FV_PAD_REPLICATE,    /* the outermost cell again and again */
} fv_pad_mode;

typedef struct fv_pad_options {
    int pad[3][2];
    fv_pad_mode mode;
    double value;
    int channels_before, channels_after; /* channels added, with mode=constant */
} fv_pad_options;

typedef struct fv_crop_options {
    int crop[3][2]; /* cells cut off before and behind along each axis */
} fv_crop_options;

typedef struct fv_slice_options {
    int begin, end; /* [begin, end) of the axis; end 0: to its last */
    int axis;       /* from 1, the spatial axes; 0: the channels */
} fv_slice_options;

typedef struct fv_concat_options {
    int axis; /* from 1, the spatial axes; 0: the channels */
} fv_concat_options;

/* add, multiply, maximum of two or more inputs. One of them may have size 1 along all spatial axes
 * (or be a vector) where another has more: its values then count for every place. */
typedef struct fv_join_options {
    fv_activation activation;
} fv_join_options;

typedef struct fv_upsample_options {
    int factor[3];      /* whole factors of the sizes; or */
    int size[3];        /* the sizes wanted */
    fv_resize mode;     /* nearest (default) or bilinear: linear along each spatial axis */
    bool align_corners; /* the outermost centres meet; default: half-pixel centres */
} fv_upsample_options;

typedef enum fv_depth_order {
    FV_DEPTH_FIRST = 0, /* channel = (block cell) x channels + c: TensorFlow, ONNX's DCR */
    FV_COLUMN_FIRST,    /* channel = c x cells + block cell: PyTorch's PixelShuffle, ONNX's CRD */
} fv_depth_order;

typedef struct fv_depth_options {
    int block; /* cells of a block along each spatial axis */
    fv_depth_order order;
} fv_depth_options;

/* y = (x - mean) / sqrt(variance + epsilon) scale(c) + bias(c), mean and variance of each channel
 * over batch and places (Ioffe & Szegedy 2015). The running statistics become momentum x old +
 * (1 - momentum) x new in each training step; inference and frozen layers use them. By formula:
 *            momentum  epsilon  stored variance
 *   keras    0.99      1e-3     biased (divided by n)
 *   torch    0.9       1e-5     unbiased (n - 1)
 *   onnx     0.9       1e-5     biased
 *   caffe    0.999     1e-5     unbiased */
typedef struct fv_batch_norm_options {
    fv_activation activation;
    fv_formula formula;
    double momentum; /* share of the old statistics that is kept */
    double epsilon;
    bool no_scale, no_bias;
    fv_init init, bias_init; /* defaults: constant(1), constant(0) */
} fv_batch_norm_options;

/* The same with mean and variance of each sample: of each place over the channels, or of all its
 * values (layer_norm), of each group of channels (group_norm), of each channel (instance_norm).
 * epsilon by formula: keras 1e-3, others 1e-5. scale and bias are one for each channel (layer_norm
 * with all: one for each value). */
typedef struct fv_layer_norm_options {
    bool all;
    fv_formula formula;
    double epsilon;
    bool no_scale, no_bias;
} fv_layer_norm_options;

typedef struct fv_group_norm_options {
    int groups; /* default 32 */
    fv_formula formula;
    double epsilon;
    bool no_scale, no_bias;
} fv_group_norm_options;

typedef struct fv_instance_norm_options {
    fv_formula formula;
    double epsilon;
    bool no_scale, no_bias;
} fv_instance_norm_options;

/* y = x / sqrt(mean over the channels of x^2 + epsilon) scale(c) (Zhang & Sennrich 2019). */
typedef struct fv_rms_norm_options {
    double epsilon; /* default 1e-6 */
    bool no_scale;
} fv_rms_norm_options;

/* Local response normalisation (Krizhevsky et al. 2012): y_c = x_c / (k + a sum x^2)^beta over
 * `size` channels around c. a = alpha with formula keras (the paper, TensorFlow), alpha / size
 * with torch, onnx and caffe. Of an even size, torch sees one more channel in front, onnx behind.
 * Defaults: keras size 5, alpha 1, beta 0.5, k 1; else 5, 1e-4 (caffe 1), 0.75, 1. */
typedef struct fv_lrn_options {
    int size;
    fv_formula formula;
    double alpha, beta, k;
} fv_lrn_options;

/* y = x / sqrt(max(sum over the channels of x^2, epsilon)). */
typedef struct fv_l2_normalize_options {
    double epsilon; /* default 1e-12 */
} fv_l2_normalize_options;

typedef struct fv_dropout_options {
    double rate; /* share of values (spatial_dropout: of channels) set to 0 in training, 0 <= rate
                    < 1; the others grow by 1 / (1 - rate) (Srivastava et al. 2014). Rounded to
                    1/65536 */
} fv_dropout_options;

typedef struct fv_gaussian_noise_options {
    double deviation; /* of the noise that training adds */
} fv_gaussian_noise_options;

typedef struct fv_leaky_relu_options {
    double slope; /* below 0; default 0.01 (PyTorch; Keras has 0.3) */
} fv_leaky_relu_options;

typedef struct fv_elu_options {
    double alpha; /* default 1 */
} fv_elu_options;

typedef struct fv_hard_sigmoid_options {
    double slope; /* default 1/6; ONNX and early Keras have 0.2 */
} fv_hard_sigmoid_options;

/* x > 0 ? x : slope(c) x, with slopes that learn (He et al. 2015). */
typedef struct fv_prelu_options {
    bool shared;  /* one slope for all channels */
    fv_init init; /* default constant(0.25), PyTorch's; Keras has 0 */
} fv_prelu_options;

/* How a layer's weights learn, apart from the train line: keys that any layer with weights takes.
 * l1, l2: this is added to the loss: l1 sum |w| + l2 sum w^2, over all but biases and statistics
 * (Keras' kernel_regularizer). max_norm: after each step the weights of each output are scaled down
 * to this length. */
typedef struct fv_tuning {
    double lr, bias_lr; /* factors on the learning rate; default 1 (bias_lr: lr) */
    bool no_decay;      /* no weight decay on any of its weights */
    bool no_bias_decay; /* ... on its biases, scales and shifts */
    double l1, l2;
    double max_norm;
    bool freeze; /* its weights do not learn; batch_norm then uses its running statistics */
} fv_tuning;

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

#define FV_LAYER(net, type, x, options, ...)                                                       \
    fv_add_layer1(net, type, x, FV_OPTIONS(options, __VA_ARGS__), sizeof(options))
#define FV_LAYER_OF(net, type, inputs, count, options, ...)                                        \
    fv_add_layer(net, type, inputs, count, FV_OPTIONS(options, __VA_ARGS__), sizeof(options))

/* The same with the options written as keyword arguments (C99, or C++20). */
#define fv_input(net, ...)                                                                         \
    fv_add_layer(net, "input", 0, 0, FV_OPTIONS(fv_input_options, __VA_ARGS__),                    \
                 sizeof(fv_input_options))
#define fv_conv(net, x, ...) FV_LAYER(net, "conv", x, fv_conv_options, __VA_ARGS__)
#define fv_depthwise_conv(net, x, ...)                                                             \
    FV_LAYER(net, "depthwise_conv", x, fv_depthwise_conv_options, __VA_ARGS__)
#define fv_separable_conv(net, x, ...)                                                             \
    FV_LAYER(net, "separable_conv", x, fv_separable_conv_options, __VA_ARGS__)
#define fv_conv_transpose(net, x, ...)                                                             \
    FV_LAYER(net, "conv_transpose", x, fv_conv_transpose_options, __VA_ARGS__)
#define fv_local(net, x, ...) FV_LAYER(net, "local", x, fv_local_options, __VA_ARGS__)
#define fv_maxpool(net, x, ...) FV_LAYER(net, "maxpool", x, fv_pool_options, __VA_ARGS__)
#define fv_avgpool(net, x, ...) FV_LAYER(net, "avgpool", x, fv_pool_options, __VA_ARGS__)
#define fv_global_maxpool(net, x, ...)                                                             \
    FV_LAYER(net, "global_maxpool", x, fv_global_pool_options, __VA_ARGS__)
#define fv_global_avgpool(net, x, ...)                                                             \
    FV_LAYER(net, "global_avgpool", x, fv_global_pool_options, __VA_ARGS__)
#define fv_adaptive_maxpool(net, x, ...)                                                           \
    FV_LAYER(net, "adaptive_maxpool", x, fv_adaptive_pool_options, __VA_ARGS__)
#define fv_adaptive_avgpool(net, x, ...)                                                           \
    FV_LAYER(net, "adaptive_avgpool", x, fv_adaptive_pool_options, __VA_ARGS__)
#define fv_subsample(net, x, ...) FV_LAYER(net, "subsample", x, fv_subsample_options, __VA_ARGS__)
#define fv_rbf(net, x, ...) FV_LAYER(net, "rbf", x, fv_rbf_options, __VA_ARGS__)
#define fv_constant(net, x, ...) FV_LAYER(net, "constant", x, fv_constant_options, __VA_ARGS__)
#define fv_dense(net, x, ...) FV_LAYER(net, "dense", x, fv_dense_options, __VA_ARGS__)
#define fv_reshape(net, x, ...) FV_LAYER(net, "reshape", x, fv_reshape_options, __VA_ARGS__)
#define fv_permute(net, x, ...) FV_LAYER(net, "permute", x, fv_permute_options, __VA_ARGS__)
#define fv_pad(net, x, ...) FV_LAYER(net, "pad", x, fv_pad_options, __VA_ARGS__)
#define fv_crop(net, x, ...) FV_LAYER(net, "crop", x, fv_crop_options, __VA_ARGS__)
#define fv_slice(net, x, ...) FV_LAYER(net, "slice", x, fv_slice_options, __VA_ARGS__)
#define fv_upsample(net, x, ...) FV_LAYER(net, "upsample", x, fv_upsample_options, __VA_ARGS__)
#define fv_depth_to_space(net, x, ...)                                                             \
    FV_LAYER(net, "depth_to_space", x, fv_depth_options, __VA_ARGS__)
#define fv_space_to_depth(net, x, ...)                                                             \
    FV_LAYER(net, "space_to_depth", x, fv_depth_options, __VA_ARGS__)
#define fv_batch_norm(net, x, ...)                                                                 \
    FV_LAYER(net, "batch_norm", x, fv_batch_norm_options, __VA_ARGS__)
#define fv_layer_norm(net, x, ...)                                                                 \
    FV_LAYER(net, "layer_norm", x, fv_layer_norm_options, __VA_ARGS__)
#define fv_group_norm(net, x, ...)                                                                 \
    FV_LAYER(net, "group_norm", x, fv_group_norm_options, __VA_ARGS__)
#define fv_instance_norm(net, x, ...)                                                              \
    FV_LAYER(net, "instance_norm", x, fv_instance_norm_options, __VA_ARGS__)
#define fv_rms_norm(net, x, ...) FV_LAYER(net, "rms_norm", x, fv_rms_norm_options, __VA_ARGS__)
#define fv_lrn(net, x, ...) FV_LAYER(net, "lrn", x, fv_lrn_options, __VA_ARGS__)
#define fv_l2_normalize(net, x, ...)                                                               \
    FV_LAYER(net, "l2_normalize", x, fv_l2_normalize_options, __VA_ARGS__)
#define fv_dropout(net, x, ...) FV_LAYER(net, "dropout", x, fv_dropout_options, __VA_ARGS__)
#define fv_spatial_dropout(net, x, ...)                                                            \
    FV_LAYER(net, "spatial_dropout", x, fv_dropout_options, __VA_ARGS__)
#define fv_gaussian_noise(net, x, ...)                                                             \
    FV_LAYER(net, "gaussian_noise", x, fv_gaussian_noise_options, __VA_ARGS__)
#define fv_leaky_relu(net, x, ...)                                                                 \
    FV_LAYER(net, "leaky_relu", x, fv_leaky_relu_options, __VA_ARGS__)
#define fv_elu(net, x, ...) FV_LAYER(net, "elu", x, fv_elu_options, __VA_ARGS__)
#define fv_hard_sigmoid(net, x, ...)                                                               \
    FV_LAYER(net, "hard_sigmoid", x, fv_hard_sigmoid_options, __VA_ARGS__)
#define fv_prelu(net, x, ...) FV_LAYER(net, "prelu", x, fv_prelu_options, __VA_ARGS__)
/* Of several inputs: an array of them and their number. */
#define fv_concat(net, inputs, count, ...)                                                         \
    FV_LAYER_OF(net, "concat", inputs, count, fv_concat_options, __VA_ARGS__)
#define fv_add(net, inputs, count, ...)                                                            \
    FV_LAYER_OF(net, "add", inputs, count, fv_join_options, __VA_ARGS__)
#define fv_multiply(net, inputs, count, ...)                                                       \
    FV_LAYER_OF(net, "multiply", inputs, count, fv_join_options, __VA_ARGS__)
#define fv_maximum(net, inputs, count, ...)                                                        \
    FV_LAYER_OF(net, "maximum", inputs, count, fv_join_options, __VA_ARGS__)
/* Layers without options: relu, sigmoid, ... (see fv_activation), flatten. */
#define fv_flatten(net, x) fv_add_layer1(net, "flatten", x, 0, 0)
#define fv_relu(net, x) fv_add_layer1(net, "relu", x, 0, 0)
#define fv_relu6(net, x) fv_add_layer1(net, "relu6", x, 0, 0)
#define fv_selu(net, x) fv_add_layer1(net, "selu", x, 0, 0)
#define fv_gelu(net, x) fv_add_layer1(net, "gelu", x, 0, 0)
#define fv_gelu_tanh(net, x) fv_add_layer1(net, "gelu_tanh", x, 0, 0)
#define fv_silu(net, x) fv_add_layer1(net, "silu", x, 0, 0)
#define fv_mish(net, x) fv_add_layer1(net, "mish", x, 0, 0)
#define fv_hard_swish(net, x) fv_add_layer1(net, "hard_swish", x, 0, 0)
#define fv_softplus(net, x) fv_add_layer1(net, "softplus", x, 0, 0)
#define fv_softsign(net, x) fv_add_layer1(net, "softsign", x, 0, 0)
#define fv_tanh(net, x) fv_add_layer1(net, "tanh", x, 0, 0)
#define fv_scaled_tanh(net, x) fv_add_layer1(net, "scaled_tanh", x, 0, 0)
#define fv_sigmoid(net, x) fv_add_layer1(net, "sigmoid", x, 0, 0)
#define fv_softmax(net, x) fv_add_layer1(net, "softmax", x, 0, 0)
#define fv_log_softmax(net, x) fv_add_layer1(net, "log_softmax", x, 0, 0)

/* Sets how the weights of `layer` learn. FV_INVALID for a layer without weights. */
FV_API fv_status fv_tune(fv_net *net, fv_tensor layer, const fv_tuning *tuning);

/* ---- Losses and metrics ------------------------------------------------------------------- */

enum { FV_MOST_CLASS_WEIGHTS = 64, FV_MOST_LOSSES = 16, FV_MOST_METRICS = 16 };

typedef enum fv_box_format {
    FV_BOX_CORNERS = 0, /* x1, y1, x2, y2 */
    FV_BOX_CENTER,      /* center x, center y, width, height */
} fv_box_format;

/* A `loss` line of a .net file: what is made small. The loss of a batch is the mean over samples
 * and places (and, where a loss compares values, over the channels); several losses are added with
 * their weights. fovea.net(5) lists the types, their formulas and which options each one has.
 *
 * target: a field of the data ("label", or any other); "input": the sample itself, as the input
 * layer gives it. A field of one channel with the spatial sizes of the output (for a vector: a
 * single number) holds class indices, from 0; where a loss wants values they become one-hot. Else a
 * field must have the output's shape. */
typedef struct fv_loss_options {
    char type[32];
    char of[64];            /* the layer whose output it judges; default: the last */
    char target[64];        /* default "label" */
    double weight;          /* default 1 */
    double label_smoothing; /* e: targets become (1 - e) t + e / classes */
    double class_weights[FV_MOST_CLASS_WEIGHTS];
    int class_weight_count;
    double ignore[4]; /* class indices that do not count */
    int ignore_count;
    fv_formula formula; /* cross_entropy with class weights: the mean divides by the number of
                           samples (keras) or by the sum of their weights (torch) */
    double delta;       /* huber, smooth_l1 */
    double alpha, beta, gamma; /* focal, tversky */
    double smooth;             /* dice, tversky */
    double margin;             /* rbf */
    fv_box_format boxes;       /* iou, giou, diou, ciou */
    /* Both output and target first go through this trained model, up to its layer `layer` (default:
     * the last); its weights stay as they are. */
    char through[200], layer[64];
    /* Only helps training, as GoogLeNet's side classifiers do: it is left out of validation and
     * tests, and layers that only such losses need do not run at inference. */
    bool auxiliary;
} fv_loss_options;

/* A `metric` line: measured on validation and test data. Types: accuracy, top_k, precision, recall,
 * f1 (means over the classes, or of the positive class where the output has one channel), auc, mae,
 * mse, r2, mean_iou, dice, psnr, ssim. */
typedef struct fv_metric_options {
    char type[32];
    char of[64], target[64]; /* as in fv_loss_options */
    int k;                   /* top_k; default 5 */
    double threshold;        /* of outputs with one channel; default 0.5 */
    double range;            /* psnr, ssim: largest value less smallest; default 1 */
    double ignore[4];
    int ignore_count;
} fv_metric_options;

/* Adds a loss (of `layer`, unless options->of names one); before training. */
FV_API fv_status fv_add_loss(fv_net *net, fv_tensor layer, const fv_loss_options *options);
FV_API fv_status fv_add_metric(fv_net *net, fv_tensor layer, const fv_metric_options *options);
#define fv_loss(net, x, ...) fv_add_loss(net, x, FV_OPTIONS(fv_loss_options, __VA_ARGS__))
#define fv_metric(net, x, ...) fv_add_metric(net, x, FV_OPTIONS(fv_metric_options, __VA_ARGS__))

/* Makes a layer's output one of the net's outputs. These are: what fv_add_output() and `output`
 * lines name, what losses that are not auxiliary judge, and the last layer that runs at inference;
 * in the order of the layers. */
FV_API fv_status fv_add_output(fv_net *net, fv_tensor layer);
FV_API int fv_output_count(const fv_net *net);                   /* 0 before fv_net_build() */
FV_API const char *fv_output_name(const fv_net *net, int index); /* NULL past the last */

/* How a net is trained: the `train` lines of a .net file. Zero or NULL: the default, which for the
 * optimiser's numbers depends on the optimiser and its formula (fovea.net(5) lists them). */
typedef enum fv_last_batch {
    FV_LAST_SHORT = 0, /* the rest of the epoch is a smaller batch (Keras) */
    FV_LAST_DROP,      /* the rest is left out of this epoch */
    FV_LAST_CARRY,     /* batches run on across epochs */
} fv_last_batch;

/* The learning rate at step t (from 0), with T = decay_steps (default: the run's steps less the
 * warmup); t counts from the end of the warmup. */
typedef enum fv_schedule {
    FV_CONSTANT = 0,
    FV_STEP,        /* lr gamma^floor(t / every) */
    FV_MULTI_STEP,  /* lr gamma^(number of milestones reached) */
    FV_EXPONENTIAL, /* lr gamma^(t / T) */
    FV_POLYNOMIAL,  /* (lr - end) (1 - min(t, T) / T)^power + end */
    FV_INVERSE,     /* lr / (1 + gamma t / T)^power */
    FV_COSINE,      /* end + (lr - end) (1 + cos(pi min(t, T) / T)) / 2 */
    FV_RESTARTS,  /* cosine that starts again: periods T, multiply T, multiply^2 T ... (Loshchilov &
                     Hutter 2017) */
    FV_ONE_CYCLE, /* up from lr / 25 to lr at 0.3 T - 1, down to lr / 250000 at T - 1, by cosines
                     (Smith & Topin 2018; PyTorch's OneCycleLR) */
    FV_PLATEAU,   /* lr times gamma when the validation loss has not fallen for `patience` epochs */
} fv_schedule;

typedef struct fv_train_options {
    char loss[32];      /* "cross_entropy"; short for one fv_add_loss of the last layer */
    char optimizer[32]; /* "sgd", "adagrad", "rmsprop", "adadelta", "adam", "adamw", "adamax",
                           "nadam", "lion", "lamb"; default sgd */
    fv_formula formula; /* whose formula and defaults: FV_KERAS or FV_TORCH */
    double lr, momentum, rho, beta1, beta2, epsilon;
    bool nesterov, centered, amsgrad;
    double accumulator;  /* adagrad: first value of the sum of squares */
    double weight_decay; /* keras (and adamw, lion, lamb): decoupled, w -= lr wd w before the step;
                            torch: wd w is added to the gradient */
    double clip_value, clip_norm, global_clip_norm; /* of gradients; 0: not */
    int accumulate; /* batches whose mean gradient makes a step; default 1 */
    double ema;     /* share of the old average of weights; 0: none. Validation and the saved model
                       use the averages */
    double l1, l2;  /* of all layers that do not have their own, see fv_tuning */
    fv_schedule schedule;
    double end, gamma, power, multiply; /* of schedules; defaults: 0, 0.1, 1, 1 */
    int64_t every, decay_steps, warmup; /* steps; in step t of the warmup lr is multiplied
                                            by (t + 1) / warmup */
    double milestones[16];              /* steps */
    int milestone_count;
    int patience;       /* plateau: epochs; default 10 */
    int early_stopping; /* stop after so many epochs without a lower validation loss; 0: never */
    double min_delta;   /* what counts as lower; default 0, for plateau 1e-4 */
    bool restore_best;  /* end with the weights of the lowest validation loss */
    int batch;          /* default 32 */
    int epochs;         /* default 1; not together with steps */
    int64_t steps;      /* stop after so many steps */
    int log_every;      /* steps.csv and a line each so many steps: the batch's loss, dropout off */
    int holdout;        /* the first so many training samples are kept for validation */
    fv_last_batch last_batch;
    int test_samples; /* the final test of `fovea train` uses the first so many; 0: all */
} fv_train_options;

FV_API void fv_set_train_options(fv_net *net, const fv_train_options *options);
FV_API const fv_train_options *fv_get_train_options(const fv_net *net); /* as set or read */

/* Checks all shapes. After it no layer can be added; the weights are those of seed 0, drawn when
 * they are first asked for. Returns the builder's first error. */
FV_API fv_status fv_net_build(fv_net *net);

/* Draws all weights anew from their initialisers. */
FV_API fv_status fv_net_initialize(fv_net *net, uint64_t seed);

/* A net from a file: .net text (weights drawn from seed 0), a .safetensors model, or .onnx. A name
 * without a slash or suffix is looked for in the installed nets ($FOVEA_NETS first). Keras' files
 * are read by the command only: `fovea export model.keras model.safetensors`.
 * A model's weights stay in its file, which is kept open, until the net is trained, drawn anew or
 * set: sessions read them from there when they are made, a layer at a time. A file that is written
 * to or cut short meanwhile is FV_IO then; one that is replaced by renaming, as fv_save() does, or
 * removed stays whole for this net. */
FV_API fv_net *fv_net_load(const char *path);
/* The same with settings changed first: "conv2.filters=8", "train.lr=0.1", or, of a parameter of
 * the text, "depth=56"; of an .onnx file, sizes of its input: "height=224". */
FV_API fv_net *fv_net_load_with(const char *path, const char *const *settings, int count);
/* The same from .net text; `name` stands for the file in messages. */
FV_API fv_net *fv_net_parse(const char *text, const char *name);
/* The net's .net text; with `resolved` every default is written out. Free with fv_free_memory(). */
FV_API char *fv_net_print(const fv_net *net, bool resolved);
FV_API void fv_free_memory(void *memory);

/* Writes a model file (safetensors, by way of a temporary file: the old one stays until the new one
 * is whole). fv_export() picks the format by the suffix: .safetensors, .npz, .net or .onnx. */
FV_API fv_status fv_save(const fv_net *net, const char *path);
FV_API fv_status fv_export(const fv_net *net, const char *path);

/* ---- Weights, one by one: in PyTorch's order of axes (outputs, inputs, spatial), as in files ----
 */

typedef struct fv_weight_info {
    char name[96]; /* "conv1.weight" */
    int rank;
    size_t size[5];
    size_t count;   /* their product */
    bool parameter; /* learns; not, say, a running mean */
} fv_weight_info;

FV_API int fv_weight_count(const fv_net *net); /* 0 before fv_net_build() */
FV_API fv_status fv_weight_describe(const fv_net *net, int index, fv_weight_info *info);
/* fv_weight_info.count values. Setting one is FV_BUSY while sessions or a trainer use the net. */
FV_API fv_status fv_get_weight(const fv_net *net, int index, float *values);
FV_API fv_status fv_set_weight(fv_net *net, int index, const float *values);

/* All weights from a .safetensors or .npz file, by the net's own names or by those that torchvision
 * and timm give the same net. FV_FORMAT or FV_SHAPE, and the net as it was, when one is missing or
 * left over, or has another shape. */
FV_API fv_status fv_load_weights(fv_net *net, const char *path);
/* Draws the weights from `seed`, then copies those of `model` whose names and shapes agree. *report
 * (may be NULL; free it with fv_free_memory()) says in a line each which did not. FV_INVALID where
 * none agrees. */
FV_API fv_status fv_init_from(fv_net *net, const fv_net *model, uint64_t seed, char **report);
/* Freezes the layers with weights whose names match a shell pattern ("conv*", "layer[12].*").
 * FV_INVALID where none does. *count (may be NULL): how many did. */
FV_API fv_status fv_freeze(fv_net *net, const char *pattern, int *count);

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
    int64_t activations; /* values of its output a sample; 0 where that is only a view or, at
                            inference, its input unchanged */
    bool training_only;  /* only auxiliary losses need it */
} fv_layer_info;

FV_API int fv_layer_count(const fv_net *net);
FV_API fv_status fv_layer_describe(const fv_net *net, int index, fv_layer_info *info);
/* Values that learn; without those of layers that only train. */
FV_API int64_t fv_parameter_count(const fv_net *net);

typedef struct fv_memory {
    size_t weights;     /* as stored: all of a net in memory, which its sessions share. Of a net
                           whose weights are in its file, those that a session must keep beside
                           the packed ones */
    size_t packed;      /* rearranged for the kernels */
    size_t activations; /* outputs and what the backward pass keeps; before the first run, weights
                           on their way from a file */
    size_t scratch;     /* of all threads */
    size_t gradients;   /* training only, with the partial sums of the units */
    size_t optimizer;   /* training only */
    size_t total;       /* the sum */
} fv_memory;

/* Bytes for numbers, exactly: what a session (or, with `training`, a trainer) of that batch and
 * thread count will allocate, and the net's weights in memory. threads 0: the default. */
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
     * the main one, the net's last output, always is. Default: all outputs of the net. Layers that
     * nothing kept needs do not run. */
    const char *const *outputs;
    bool profile; /* time each layer */
} fv_session_options;

/* Holds a reference on `net`: free the session before the net. */
FV_API fv_session *fv_session_new(const fv_net *net, const fv_session_options *options);
FV_API void fv_session_free(fv_session *session);

/* Runs `samples` (1 to batch) of the input's shape through the net, values as in the data (the
 * input line's scale, mean and deviation are applied here). */
FV_API fv_status fv_session_run(fv_session *session, const float *input, int samples);
/* The last run's output of a layer kept by the options, samples x *shape; NULL name: the main
 * output. Valid until the next run. NULL with a message for a layer that was not kept. */
FV_API const float *fv_session_output(const fv_session *session, const char *name, fv_shape *shape);
/* Seconds spent in the forward pass of layer `index` since the session began, summed over threads,
 * when profiling. */
FV_API double fv_session_seconds(const fv_session *session, int index);
/* How layer `index` is run, in a word or two: "winograd 4x4", "products"; "folded" where the
 * weights of the layer before have taken it up (batch norm), "view" where it moves no number, ""
 * where there is but one way or it does not run. Static. */
FV_API const char *fv_session_algorithm(const fv_session *session, int index);
FV_API void fv_session_memory(const fv_session *session, fv_memory *memory); /* as allocated */

/* ---- Data ---------------------------------------------------------------------------------- */

typedef struct fv_data fv_data;

/* A data set by name ("mnist", "fashion-mnist", "cifar10": found in $FOVEA_DATA,
 * ~/.local/share/fovea, or where the distribution puts it) or by the path of a folder with IDX
 * files, CIFAR's binary files, arrays SPLIT-FIELD.npy, or pictures in a folder for each class (see
 * fovea(1), DATA SETS). split: "train", "val" or "test". */
FV_API fv_data *fv_data_open(const char *name, const char *split);
FV_API void fv_data_free(fv_data *data);
/* A data set of `count` samples from memory: add the field "input", then at most 8 targets
 * ("label": class indices from 0, one number a sample; or any other name and shape). Values are
 * copied. */
FV_API fv_data *fv_data_new(size_t count);
FV_API fv_status fv_data_add(fv_data *data, const char *field, fv_shape shape, const float *values);
FV_API fv_status fv_data_add_bytes(fv_data *data, const char *field, fv_shape shape,
                                   const uint8_t *values);
/* Name and shape of field `index`; 0 is the input. NULL past the last. */
FV_API const char *fv_data_field(const fv_data *data, int index, fv_shape *shape);
/* A view of samples [first, first + count) of `data`, which must outlive it. */
FV_API fv_data *fv_data_slice(const fv_data *data, size_t first, size_t count);
FV_API size_t fv_data_count(const fv_data *data);
/* Of pictures in files: that of the first, until training or evaluation fits them to a net; sample
 * by sample those of another size are FV_SHAPE. */
FV_API fv_shape fv_data_shape(const fv_data *data);
/* Largest label + 1; 0 without a field "label" of one channel that holds class indices. */
FV_API int fv_data_classes(const fv_data *data);
FV_API const char *fv_data_class_name(const fv_data *data, int index); /* NULL: not known */
FV_API const char *fv_data_place(const fv_data *data);                 /* its folder, or "memory" */
/* Sample `index` as values of fv_data_shape() (bytes as 0 to 255), and its label: 0 where the data
 * has none of one number a sample. */
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
/* Fits a picture to the net's input: grey from colour and colour from grey, resized and cut as the
 * input line says (with `side` also where it has that shape). FV_SHAPE when it does not fit.
 * `fitted` holds fv_shape_count(to) values. */
FV_API fv_status fv_fit_picture(const fv_net *net, const fv_shape *from, const float *values,
                                const fv_shape *to, float *fitted);
FV_API fv_shape fv_input_shape(const fv_net *net);

/* ---- Training ------------------------------------------------------------------------------ */

typedef struct fv_metric_value {
    char name[64]; /* the metric's type, or OF.TYPE where several have that */
    double value;
} fv_metric_value;

typedef struct fv_score {
    double loss;     /* mean of the losses with their weights, l1 and l2 included in training */
    double accuracy; /* share of samples (or places) of the right class, by the first loss with
                        classes; NaN where no loss has them */
    size_t samples;
    int metric_count; /* the net's metrics; not measured in training steps */
    fv_metric_value metrics[FV_MOST_METRICS];
} fv_score;

/* One training step at a time, for loops of your own. */
typedef struct fv_trainer fv_trainer;

typedef struct fv_trainer_options {
    int batch;     /* most samples of a step; default: the net's train line */
    int threads;   /* default: the processors of this process */
    uint64_t seed; /* of dropout */
    bool exact;    /* direct algorithms only */
    bool profile;  /* time each layer */
} fv_trainer_options;

/* While a trainer lives, the net is its alone (FV_BUSY for others). */
FV_API fv_trainer *fv_trainer_new(fv_net *net, const fv_trainer_options *options);
/* With `ema` it leaves the averages in the net. */
FV_API void fv_trainer_free(fv_trainer *trainer);
/* Forward, backward, update (with `accumulate` = n each n-th call): samples x input shape, a class
 * index for each sample. *score (may be NULL) is that of this batch before the update, dropout on.
 * FV_NUMERIC when the loss is no number: the message names layer and step, the weights are as
 * before the step. */
FV_API fv_status fv_trainer_step(fv_trainer *trainer, const float *input, const int *labels,
                                 int samples, fv_score *score);
/* The same with any targets: `count` fields of `samples` samples each. */
typedef struct fv_target {
    const char *field;
    fv_shape shape; /* of one sample */
    const float *values;
} fv_target;
FV_API fv_status fv_trainer_step_targets(fv_trainer *trainer, const float *input,
                                         const fv_target *targets, int count, int samples,
                                         fv_score *score);
/* Seconds spent in a pass of layer `index` since the trainer began, summed over threads, when
 * profiling: FV_PASS_PACK is what rearranges its weights before each step. */
typedef enum fv_pass { FV_PASS_PACK, FV_PASS_FORWARD, FV_PASS_BACKWARD } fv_pass;
FV_API double fv_trainer_seconds(const fv_trainer *trainer, fv_pass pass, int index);
FV_API const char *fv_trainer_algorithm(const fv_trainer *trainer, int index); /* of a session */
FV_API void fv_trainer_memory(const fv_trainer *trainer, fv_memory *memory);   /* as allocated */

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
    const fv_score *validation;    /* FV_EVENT_EPOCH: with its metrics; NULL without validation */
    double lr;                     /* of the step just done */
    double seconds;                /* since the epoch began */
    double data_seconds;           /* of these, waited for samples that were not ready */
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

/* Counts of samples (or places) by class: counts[actual x classes + predicted] over the data, of
 * the first loss with classes. classes must be the net's. */
FV_API fv_status fv_confusion(const fv_net *net, const fv_data *data, int batch, int threads,
                              int classes, int64_t *counts);

#ifdef __cplusplus
}
#endif

#endif
