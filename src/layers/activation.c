/* Activation layers: relu, sigmoid, tanh, softmax; and the activation fused onto other layers. */
#include "layers/activation.h"
#include <string.h>

void fv_activation_prepare(fv_activation activation, size_t values, const fv_setting *setting,
                           fv_layer_plan *plan) {
    if (!setting->training || activation == FV_LINEAR)
        return;
    if (activation == FV_RELU)
        plan->kept = fv_bit_bytes(values);
    else
        plan->keep_output = true;
}

void fv_activation_forward(const fv_call *call, int first, int count, bool relu_done) {
    const fv_shape *shape = call->out_shape;
    size_t values = fv_shape_count(shape);
    for (int s = first; s < first + count; s++) {
        real *y = call->out + (size_t)s * values;
        if (call->activation != FV_RELU || !relu_done)
            call->kernels->activate(call->activation, call->activation_constant,
                                    values / (size_t)shape->channels, shape->channels, y);
        if (call->activation == FV_RELU && call->setting->training)
            call->kernels->positive_bits(values, y, call->kept + (size_t)s * call->plan->kept);
    }
}

void fv_activation_backward(const fv_call *call, int first, int count) {
    const fv_shape *shape = call->out_shape;
    size_t values = fv_shape_count(shape);
    for (int s = first; s < first + count; s++) {
        real *gradient = call->out_gradient + (size_t)s * values;
        if (call->activation == FV_RELU)
            call->kernels->keep_bits(values, call->kept + (size_t)s * call->plan->kept, 1, gradient,
                                     gradient);
        else if (call->activation != FV_LINEAR)
            call->kernels->activate_back(call->activation, call->activation_constant,
                                         values / (size_t)shape->channels, shape->channels,
                                         call->out + (size_t)s * values, gradient);
    }
}

double fv_activation_constant(fv_activation activation) {
    return activation == FV_LEAKY_RELU     ? 0.01
           : activation == FV_ELU          ? 1
           : activation == FV_HARD_SIGMOID ? 1.0 / 6
                                           : 0;
}

/* ---- As layers of their own ------------------------------------------------------------------ */

static fv_status infer(const fv_shape *input, fv_activation activation, fv_inference *inference) {
    inference->output = *input;
    inference->activation = activation;
    return FV_OK;
}

static void prepare(fv_activation activation, const fv_shape *output, const fv_setting *setting,
                    fv_layer_plan *plan) {
    fv_activation_prepare(activation, fv_shape_count(output), setting, plan);
}

static void forward(const fv_call *call) {
    size_t bytes = (size_t)call->samples * fv_shape_count(call->out_shape) * sizeof(real);
    memcpy(call->out, call->in[0], bytes);
    fv_activation_forward(call, 0, call->samples, false);
}

static void backward(const fv_call *call) {
    size_t bytes = (size_t)call->samples * fv_shape_count(call->out_shape) * sizeof(real);
    fv_activation_backward(call, 0, call->samples);
    if (call->in_gradient[0])
        memcpy(call->in_gradient[0], call->out_gradient, bytes);
}

/* The record of one activation: its two functions that need to know which. */
#define ACTIVATION_LAYER(word, value, text)                                                        \
    static fv_status infer_##word(const void *options, const fv_shape *inputs, int count,          \
                                  fv_inference *inference) {                                       \
        (void)options, (void)count;                                                                \
        return infer(inputs, value, inference);                                                    \
    }                                                                                              \
    static void prepare_##word(const void *options, const fv_shape *inputs, int count,             \
                               const fv_shape *output, const fv_setting *setting,                  \
                               fv_layer_plan *plan) {                                              \
        (void)options, (void)inputs, (void)count;                                                  \
        prepare(value, output, setting, plan);                                                     \
    }                                                                                              \
    const fv_layer_type fv_layer_##word = {.name = #word,                                          \
                                           .help = text,                                           \
                                           .min_inputs = 1,                                        \
                                           .max_inputs = 1,                                        \
                                           .infer = infer_##word,                                  \
                                           .prepare = prepare_##word,                              \
                                           .forward = forward,                                     \
                                           .backward = backward}

ACTIVATION_LAYER(relu, FV_RELU, "rectifier: max(x, 0)");
ACTIVATION_LAYER(sigmoid, FV_SIGMOID, "logistic function: 1 / (1 + exp(-x))");
ACTIVATION_LAYER(tanh, FV_TANH, "hyperbolic tangent");
ACTIVATION_LAYER(softmax, FV_SOFTMAX, "exp(x_c) / sum over the channels k of exp(x_k)");
