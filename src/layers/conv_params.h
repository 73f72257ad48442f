/* Rows that the parameter tables of the convolution family have in common. `options` is the layer's
 * options struct. */
#ifndef FV_LAYERS_CONV_PARAMS_H
#define FV_LAYERS_CONV_PARAMS_H

#include "layers/layer.h"
#include <stddef.h>

#define FV_CONV_FILTERS(options)                                                                   \
    {                                                                                              \
        .key = "filters", .type = FV_PARAM_INT, .offset = offsetof(options, filters),              \
        .required = true, .position = 1, .low = 1, .high = 1 << 24, .help = "output channels"      \
    }

#define FV_CONV_KERNEL(options, place)                                                             \
    {                                                                                              \
        .key = "kernel", .type = FV_PARAM_SIZES, .offset = offsetof(options, kernel),              \
        .required = true, .position = place, .low = 1, .high = 1 << 20,                            \
        .help = "cells of the kernel along each axis"                                              \
    }

#define FV_CONV_ACTIVATION(options, place)                                                         \
    {                                                                                              \
        .key = "activation", .type = FV_PARAM_CHOICE, .offset = offsetof(options, activation),     \
        .position = place, .choices = fv_activation_names, .help = "applied to the output"         \
    }

#define FV_CONV_MULTIPLIER(options)                                                                \
    {                                                                                              \
        .key = "multiplier", .type = FV_PARAM_INT, .offset = offsetof(options, multiplier),        \
        .low = 1, .high = 1 << 20, .fallback = 1, .help = "kernels of each channel"                \
    }

#define FV_CONV_STRIDE(options, text)                                                              \
    {                                                                                              \
        .key = "stride", .type = FV_PARAM_SIZES, .offset = offsetof(options, stride), .low = 1,    \
        .high = 1 << 20, .fallback = 1, .help = text                                               \
    }

#define FV_CONV_DILATION(options)                                                                  \
    {                                                                                              \
        .key = "dilation", .type = FV_PARAM_SIZES, .offset = offsetof(options, dilation),          \
        .low = 1, .high = 1 << 20, .fallback = 1,                                                  \
        .help = "distance of the kernel's cells along each axis"                                   \
    }

#define FV_CONV_GROUPS(options)                                                                    \
    {                                                                                              \
        .key = "groups", .type = FV_PARAM_INT, .offset = offsetof(options, groups), .low = 1,      \
        .high = 1 << 24, .fallback = 1,                                                            \
        .help = "parts of the channels and of the filters that see only each other"                \
    }

#define FV_CONV_PADDING(options, words, text)                                                      \
    {                                                                                              \
        .key = "padding", .type = FV_PARAM_CHOICE, .offset = offsetof(options, padding),           \
        .choices = words, .help = text                                                             \
    }

#define FV_CONV_PAD(options, text)                                                                 \
    {                                                                                              \
        .key = "pad", .type = FV_PARAM_PADS, .offset = offsetof(options, pad), .low = 0,           \
        .high = 1 << 20, .help = text                                                              \
    }

/* What a layer that slides a kernel over its input says of stride, padding and pad. */
#define FV_CONV_SLIDE(options) FV_CONV_STRIDE(options, "step of the kernel along each axis")
#define FV_CONV_BORDER(options)                                                                    \
    FV_CONV_PADDING(options, fv_padding_names,                                                     \
                    "valid: none but pad; same: ceil(input / stride) outputs, as TensorFlow "      \
                    "pads; same_lower: the odd cell in front; causal: one axis, all in front"),    \
        FV_CONV_PAD(options, "zeros around the input, before:after along each axis")

#define FV_CONV_BIAS(options)                                                                      \
    {                                                                                              \
        .key = "bias", .type = FV_PARAM_NOT, .offset = offsetof(options, no_bias),                 \
        .help = "a number added to each filter's output"                                           \
    }

#define FV_CONV_INIT(options, name, text)                                                          \
    {                                                                                              \
        .key = #name, .type = FV_PARAM_INIT, .offset = offsetof(options, name),                    \
        .fallback_text = "glorot_uniform", .help = text                                            \
    }

#define FV_CONV_BIAS_INIT(options)                                                                 \
    {                                                                                              \
        .key = "bias_init", .type = FV_PARAM_INIT, .offset = offsetof(options, bias_init),         \
        .fallback_text = "constant(0)", .help = "how the biases start"                             \
    }

#endif
