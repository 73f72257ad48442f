/* Activation layers: relu, sigmoid, softmax, elu ...; and the activation fused onto other layers.
 */
#include "layers/activation.h"
#include <stddef.h>
#include <string.h>

/* What the gradient goes by. */
typedef enum note { NOTE_NONE, NOTE_BITS, NOTE_OUTPUT, NOTE_INPUT } note;

static note note_of(fv_activation activation) {
    switch (activation) {
    case FV_LINEAR:
        return NOTE_NONE;
    case FV_RELU:
    case FV_RELU6:
    case FV_LEAKY_RELU:
    case FV_HARD_SIGMOID:
        return NOTE_BITS;
    case FV_GELU:
    case FV_GELU_TANH:
    case FV_SILU:
    case FV_MISH:
    case FV_HARD_SWISH:
    case FV_SOFTPLUS:
        return NOTE_INPUT;
    default:
        return NOTE_OUTPUT;
    }
}

bool fv_activation_by_input(fv_activation activation) {
    return note_of(activation) == NOTE_INPUT;
}

void fv_activation_prepare(fv_activation activation, size_t values, const fv_setting *setting,
                           fv_layer_plan *plan) {
    note kind = setting->training ? note_of(activation) : NOTE_NONE;
    if (kind == NOTE_BITS)
        plan->kept = fv_bit_bytes(values);
    else if (kind == NOTE_INPUT)
        plan->kept = values * sizeof(real);
    else if (kind == NOTE_OUTPUT)
        plan->keep_output = true;
}

/* ---- Forward -----------------------------------------------------------------------------------
 */
/* Of a sample's values z before the activation (or, of ReLU, after it). */
static void take_note(const fv_call *call, size_t values, const real *z, unsigned char *kept) {
    const real slope = call->activation_constant;
    if (fv_activation_by_input(call->activation))
        memcpy(kept, z, values * sizeof(real));
    else if (call->activation == FV_RELU || call->activation == FV_LEAKY_RELU)
        call->kernels->positive_bits(values, z, kept);
    else if (call->activation == FV_RELU6)
        call->kernels->between_bits(values, 0, 6, z, kept);
    else if (call->activation == FV_HARD_SIGMOID)
        call->kernels->between_bits(values, (real)-0.5 / slope, (real)0.5 / slope, z, kept);
}

void fv_activation_forward(const fv_call *call, int first, int count, fv_activation done) {
    const fv_shape *shape = call->out_shape;
    size_t values = fv_shape_count(shape);
    for (int s = first; s < first + count; s++) {
        real *y = call->out + (size_t)s * values;
        if (call->setting->training)
            take_note(call, values, y, call->kept + (size_t)s * call->plan->kept);
        if (call->activation != done)
            call->kernels->activate(call->activation, call->activation_constant,
                                    values / (size_t)shape->channels, shape->channels, y);
    }
}

/* ---- Backward ----------------------------------------------------------------------------------
 */
static void backward_by_bits(const fv_call *call, size_t values, const unsigned char *bits,
                             real *gradient) {
    const real slope = call->activation_constant;
    if (call->activation == FV_LEAKY_RELU)
        call->kernels->scale_rest(values, bits, slope, gradient);
    else
        call->kernels->keep_bits(values, bits, call->activation == FV_HARD_SIGMOID ? slope : 1,
                                 gradient, gradient);
}

void fv_activation_backward(const fv_call *call, int first, int count) {
    const fv_shape *shape = call->out_shape;
    size_t values = fv_shape_count(shape);
    note kind = note_of(call->activation);
    for (int s = first; s < first + count && kind != NOTE_NONE; s++) {
        real *gradient = call->out_gradient + (size_t)s * values;
        const unsigned char *kept = call->kept + (size_t)s * call->plan->kept;
        if (kind == NOTE_BITS)
            backward_by_bits(call, values, kept, gradient);
        else
            call->kernels->activate_back(call->activation, call->activation_constant,
                                         values / (size_t)shape->channels, shape->channels,
                                         kind == NOTE_INPUT ? (const real *)(const void *)kept
                                                            : call->out + (size_t)s * values,
                                         gradient);
    }
}

double fv_activation_constant(fv_activation activation) {
    return activation == FV_LEAKY_RELU     ? 0.01
           : activation == FV_ELU          ? 1
           : activation == FV_HARD_SIGMOID ? 1.0 / 6
                                           : 0;
}

/* ---- As layers of their own ------------------------------------------------------------------ */

static fv_status infer(const fv_shape *input, fv_activation activation, double constant,
                       fv_inference *inference) {
    inference->output = *input;
    inference->activation = activation;
    inference->activation_constant = constant;
    return FV_OK;
}

static void prepare(fv_activation activation, const fv_shape *output, const fv_setting *setting,
                    fv_layer_plan *plan) {
    fv_activation_prepare(activation, fv_shape_count(output), setting, plan);
}

static void forward(const fv_call *call) {
    size_t bytes = (size_t)call->samples * fv_shape_count(call->out_shape) * sizeof(real);
    memcpy(call->out, call->in[0], bytes);
    fv_activation_forward(call, 0, call->samples, FV_LINEAR);
}

static void backward(const fv_call *call) {
    size_t bytes = (size_t)call->samples * fv_shape_count(call->out_shape) * sizeof(real);
    fv_activation_backward(call, 0, call->samples);
    if (call->in_gradient[0])
        memcpy(call->in_gradient[0], call->out_gradient, bytes);
}

/* Of layers whose options are the one constant. */
static double constant_of(const void *options, fv_activation activation) {
    double given = *(const double *)options;
    return given != 0 ? given : fv_activation_constant(activation);
}

#define CONSTANT_PARAM(word, field, text, number)                                                  \
    {                                                                                              \
        .key = #field, .type = FV_PARAM_NUMBER, .offset = offsetof(fv_##word##_options, field),    \
        .position = 1, .low = FV_ABOVE_ZERO, .high = 1e6, .fallback = number, .help = text         \
    }

static const fv_param leaky_relu_params[] = {
    CONSTANT_PARAM(leaky_relu, slope, "below 0 (Keras has 0.3)", 0.01), {0}};
static const fv_param elu_params[] = {
    CONSTANT_PARAM(elu, alpha, "the output tends to minus this", 1), {0}};
static const fv_param hard_sigmoid_params[] = {
    CONSTANT_PARAM(hard_sigmoid, slope, "between 0 and 1 (ONNX and early Keras have 0.2)", 1.0 / 6),
    {0}};

/* The record of one activation: its two functions that need to know which. */
#define ACTIVATION_LAYER(word, value, size, table, constant, text)                                 \
    static fv_status infer_##word(const void *options, const fv_shape *inputs, int count,          \
                                  fv_inference *inference) {                                       \
        (void)options, (void)count;                                                                \
        return infer(inputs, value, constant, inference);                                          \
    }                                                                                              \
    static void prepare_##word(const void *options, const fv_shape *inputs, int count,             \
                               const fv_shape *output, const fv_setting *setting,                  \
                               fv_layer_plan *plan) {                                              \
        (void)options, (void)inputs, (void)count;                                                  \
        prepare(value, output, setting, plan);                                                     \
    }                                                                                              \
    const fv_layer_type fv_layer_##word = {.name = #word,                                          \
                                           .help = text,                                           \
                                           .options_size = size,                                   \
                                           .params = table,                                        \
                                           .min_inputs = 1,                                        \
                                           .max_inputs = 1,                                        \
                                           .infer = infer_##word,                                  \
                                           .prepare = prepare_##word,                              \
                                           .forward = forward,                                     \
                                           .backward = backward}
#define PLAIN_LAYER(word, value, text) ACTIVATION_LAYER(word, value, 0, NULL, 0, text)
#define CONSTANT_LAYER(word, value, text)                                                          \
    ACTIVATION_LAYER(word, value, sizeof(fv_##word##_options), word##_params,                      \
                     constant_of(options, value), text)

PLAIN_LAYER(relu, FV_RELU, "rectifier: max(x, 0)");
PLAIN_LAYER(sigmoid, FV_SIGMOID, "logistic function: 1 / (1 + exp(-x))");
PLAIN_LAYER(tanh, FV_TANH, "hyperbolic tangent");
PLAIN_LAYER(softmax, FV_SOFTMAX, "exp(x_c) / sum over the channels k of exp(x_k)");
PLAIN_LAYER(relu6, FV_RELU6, "min(max(x, 0), 6)");
PLAIN_LAYER(selu, FV_SELU, "1.0507 (x > 0 ? x : 1.6733 (exp(x) - 1))");
PLAIN_LAYER(gelu, FV_GELU, "x Phi(x) = x / 2 (1 + erf(x / sqrt 2))");
PLAIN_LAYER(gelu_tanh, FV_GELU_TANH, "x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))");
PLAIN_LAYER(silu, FV_SILU, "x sigmoid(x), also called swish");
PLAIN_LAYER(mish, FV_MISH, "x tanh(log(1 + exp(x)))");
PLAIN_LAYER(hard_swish, FV_HARD_SWISH, "x min(max(x / 6 + 1/2, 0), 1)");
PLAIN_LAYER(softplus, FV_SOFTPLUS, "log(1 + exp(x))");
PLAIN_LAYER(softsign, FV_SOFTSIGN, "x / (1 + |x|)");
PLAIN_LAYER(scaled_tanh, FV_SCALED_TANH, "1.7159 tanh(2/3 x)");
PLAIN_LAYER(log_softmax, FV_LOG_SOFTMAX, "x_c - log of the sum over the channels k of exp(x_k)");
CONSTANT_LAYER(leaky_relu, FV_LEAKY_RELU, "x > 0 ? x : slope x");
CONSTANT_LAYER(elu, FV_ELU, "x > 0 ? x : alpha (exp(x) - 1)");
CONSTANT_LAYER(hard_sigmoid, FV_HARD_SIGMOID, "min(max(slope x + 1/2, 0), 1)");
