/* Dense and the convolutions. Their pads and activations may be layers of their own around them.
 * Called by build.c. */
#include "keras.h"
#include <string.h>

/* ---- Shared ---------------------------------------------------------------------------------- */

/* valid, same, or causal where the class has it. */
static fv_status read_padding(const making *m, fv_padding *padding) {
    const char *text = "valid";
    fv_status status = config_word(m->config, "padding", &text);
    if (status)
        return status;
    if (strcmp(text, "valid") == 0)
        *padding = FV_VALID;
    else if (strcmp(text, "same") == 0)
        *padding = FV_SAME;
    else if (strcmp(text, "causal") == 0 && m->axes == 1)
        *padding = FV_CAUSAL;
    else
        return fv_fail(FV_UNSUPPORTED, "its padding is %.40s; expected valid or same%s", text,
                       m->axes == 1 ? " or causal" : "");
    return FV_OK;
}

/* A pad layer READER.pad of ours goes into the reader's own pad. */
static fv_status take_pad(making *m, fv_padding padding, int pad[3][2]) {
    const keras_layer *layer = m->inputs[0].pad;
    if (!layer)
        return FV_OK;
    m->inputs[0].pad = NULL;
    if (padding != FV_VALID || strncmp(layer->class_name, "ZeroPadding", 11) != 0)
        return add_pad(m, layer, &m->inputs[0]);
    return config_pads(layer->config, "padding", m->axes, pad);
}

/* What all of them have. */
typedef struct window {
    int filters, kernel[3], stride[3], dilation[3], pad[3][2];
    fv_padding padding;
    bool bias;
    keras_activation activation;
    fv_init init, bias_init;
} window;

static fv_status read_window(making *m, window *w) {
    *w = (window){.bias = true};
    const json_t *config = m->config;
    fv_status status = config_int(config, "filters", 1, 1 << 24, &w->filters);
    if (!status)
        status = config_sizes(config, "kernel_size", m->axes, w->kernel);
    if (!status)
        status = config_sizes(config, "strides", m->axes, w->stride);
    if (!status)
        status = config_sizes(config, "dilation_rate", m->axes, w->dilation);
    if (!status)
        status = read_padding(m, &w->padding);
    if (!status)
        status = take_pad(m, w->padding, w->pad);
    if (!status)
        status = config_bool(config, "use_bias", &w->bias);
    if (!status)
        status = activation_read(m, &w->activation);
    simplify_sizes(w->stride);
    simplify_sizes(w->dilation);
    w->init = init_read(config, "kernel_initializer", "glorotuniform");
    w->bias_init = init_read(config, "bias_initializer", "zeros");
    return status;
}

/* Copies the fields that the options structs have in common. */
#define COPY_WINDOW(to, from)                                                                      \
    (memcpy((to).kernel, (from).kernel, sizeof(to).kernel),                                        \
     memcpy((to).stride, (from).stride, sizeof(to).stride),                                        \
     memcpy((to).pad, (from).pad, sizeof(to).pad))

static fv_status finish(making *m, fv_status status, const keras_activation *a, flow *output) {
    return status ? status : activation_add(m, a, ".activation", output);
}

/* ---- The classes ----------------------------------------------------------------------------- */

static fv_status make_conv(making *m, flow *output) {
    window w;
    int groups = 1;
    fv_status status = read_window(m, &w);
    if (!status)
        status = config_int(m->config, "groups", 1, 1 << 24, &groups);
    if (status)
        return status;
    fv_conv_options o = {.filters = w.filters,
                         .activation = w.activation.fused,
                         .groups = groups > 1 ? groups : 0,
                         .padding = w.padding,
                         .no_bias = !w.bias,
                         .init = w.init,
                         .bias_init = w.bias_init};
    COPY_WINDOW(o, w);
    memcpy(o.dilation, w.dilation, sizeof o.dilation);
    return finish(m, add_weighted(m, "conv", &o, output), &w.activation, output);
}

static fv_status make_depthwise(making *m, flow *output) {
    window w;
    int multiplier = 1;
    fv_status status = read_window(m, &w);
    if (!status)
        status = config_int(m->config, "depth_multiplier", 1, 1 << 24, &multiplier);
    if (status)
        return status;
    fv_depthwise_conv_options o = {
        .activation = w.activation.fused,
        .multiplier = multiplier > 1 ? multiplier : 0,
        .padding = w.padding,
        .no_bias = !w.bias,
        .init = init_read(m->config, "depthwise_initializer", "glorotuniform"),
        .bias_init = w.bias_init};
    COPY_WINDOW(o, w);
    memcpy(o.dilation, w.dilation, sizeof o.dilation);
    return finish(m, add_weighted(m, "depthwise_conv", &o, output), &w.activation, output);
}

static fv_status make_separable(making *m, flow *output) {
    window w;
    int multiplier = 1;
    fv_status status = read_window(m, &w);
    if (!status)
        status = config_int(m->config, "depth_multiplier", 1, 1 << 24, &multiplier);
    if (status)
        return status;
    fv_separable_conv_options o = {
        .filters = w.filters,
        .activation = w.activation.fused,
        .multiplier = multiplier > 1 ? multiplier : 0,
        .padding = w.padding,
        .no_bias = !w.bias,
        .depthwise_init = init_read(m->config, "depthwise_initializer", "glorotuniform"),
        .init = init_read(m->config, "pointwise_initializer", "glorotuniform"),
        .bias_init = w.bias_init};
    COPY_WINDOW(o, w);
    memcpy(o.dilation, w.dilation, sizeof o.dilation);
    return finish(m, add_weighted(m, "separable_conv", &o, output), &w.activation, output);
}

/* An axis of a transposed convolution. With output_padding p its output has (n - 1) stride + reach
 * + p cells (valid) or (n - 1) stride + reach % 2 + p (same: what is cut off is cut in halves, the
 * larger one at the end); without it n stride, or more where the kernel is wider (valid). */
static void transpose_axis(int reach, int stride, int more, fv_padding padding, int pad[2],
                           int *output_pad) {
    if (padding == FV_VALID) {
        *output_pad = more >= 0 ? more : reach < stride ? stride - reach : 0;
        return;
    }
    int cut = reach - reach % 2 - more;
    pad[0] = cut > 0 ? cut / 2 : 0;
    pad[1] = cut > 0 ? cut - cut / 2 : 0;
    *output_pad = cut < 0 ? -cut : 0;
}

/* The reach of a kernel along an axis; FV_SHAPE when it is no size. */
static fv_status reach_of(const window *w, int axis, int *reach) {
    int dilation = w->dilation[axis] ? w->dilation[axis] : w->dilation[0] ? w->dilation[0] : 1;
    int64_t cells = (int64_t)dilation * (w->kernel[axis] - 1) + 1;
    if (cells > 1 << 28)
        return fv_fail(FV_SHAPE, "its kernel of %d cells with dilation %d is too large",
                       w->kernel[axis], dilation);
    *reach = (int)cells;
    return FV_OK;
}

static fv_status read_output_padding(const making *m, int more[3], bool *given) {
    const json_t *json = json_object_get(m->config, "output_padding");
    *given = json && !json_is_null(json);
    for (int i = 0; i < m->axes && *given; i++) {
        const json_t *one = json_is_array(json) ? json_array_get(json, (size_t)i) : json;
        more[i] = (int)json_integer_value(one);
        if (!json_is_integer(one) || json_integer_value(one) < 0 ||
            json_integer_value(one) > 1 << 20)
            return fv_fail(FV_FORMAT, "its config's output_padding is no small integer");
    }
    return FV_OK;
}

static fv_status make_transpose(making *m, flow *output) {
    window w;
    bool given = false;
    int more[3] = {-1, -1, -1};
    fv_status status = read_window(m, &w);
    if (!status)
        status = read_output_padding(m, more, &given);
    fv_conv_transpose_options o = {.filters = w.filters,
                                   .activation = w.activation.fused,
                                   .no_bias = !w.bias,
                                   .init = w.init,
                                   .bias_init = w.bias_init};
    COPY_WINDOW(o, w);
    memcpy(o.dilation, w.dilation, sizeof o.dilation);
    if (w.padding == FV_SAME && !given)
        o.padding = FV_SAME;
    for (int i = 0; i < m->axes && !status && !o.padding; i++) {
        int reach = 1, stride = w.stride[i] ? w.stride[i] : w.stride[0] ? w.stride[0] : 1;
        status = reach_of(&w, i, &reach);
        transpose_axis(reach, stride, more[i], w.padding, o.pad[i], &o.output_pad[i]);
    }
    return finish(m, status ? status : add_weighted(m, "conv_transpose", &o, output), &w.activation,
                  output);
}

/* Of Keras 2; implementation 1 has the kernels of each place side by side. */
static fv_status make_local(making *m, flow *output) {
    window w;
    int implementation = 1;
    fv_status status = read_window(m, &w);
    if (!status)
        status = config_int(m->config, "implementation", 1, 3, &implementation);
    if (!status && implementation != 1)
        status = fv_fail(FV_UNSUPPORTED,
                         "its implementation is %d; the weights of implementation=1 can be read",
                         implementation);
    fv_local_options o = {.filters = w.filters,
                          .activation = w.activation.fused,
                          .padding = w.padding,
                          .no_bias = !w.bias,
                          .init = w.init,
                          .bias_init = w.bias_init};
    COPY_WINDOW(o, w);
    return finish(m, status ? status : add_weighted(m, "local", &o, output), &w.activation, output);
}

/* Of a vector; with spatial axes it is a 1x1 convolution. */
static fv_status make_dense(making *m, flow *output) {
    int units = 0, rank = input_shape(m, 0)->rank;
    bool bias = true;
    keras_activation a;
    fv_status status = config_int(m->config, "units", 1, 1 << 24, &units);
    if (!status)
        status = config_bool(m->config, "use_bias", &bias);
    if (!status)
        status = activation_read(m, &a);
    if (status)
        return status;
    fv_init init = init_read(m->config, "kernel_initializer", "glorotuniform");
    fv_init bias_init = init_read(m->config, "bias_initializer", "zeros");
    fv_dense_options dense = {units, a.fused, !bias, init, bias_init};
    fv_conv_options conv = {.filters = units,
                            .kernel = {1, rank > 1, rank > 2},
                            .activation = a.fused,
                            .no_bias = !bias,
                            .init = init,
                            .bias_init = bias_init};
    status = rank == 0 ? add_weighted(m, "dense", &dense, output)
                       : add_weighted(m, "conv", &conv, output);
    return finish(m, status, &a, output);
}

static const char kernel_bias[] = "kernel bias:use_bias";
static const char depthwise_bias[] = "kernel|depthwise_kernel bias:use_bias";
static const char separable_bias[] = "depthwise_kernel pointwise_kernel bias:use_bias";

const keras_class conv_classes[] = {
    {"Dense", ANY_AXES, 1, kernel_bias, false, false, make_dense},
    {"Conv1D", 1, 1, kernel_bias, false, true, make_conv},
    {"Conv2D", 2, 1, kernel_bias, false, true, make_conv},
    {"Conv3D", 3, 1, kernel_bias, false, true, make_conv},
    {"DepthwiseConv1D", 1, 1, depthwise_bias, false, true, make_depthwise},
    {"DepthwiseConv2D", 2, 1, depthwise_bias, false, true, make_depthwise},
    {"SeparableConv1D", 1, 1, separable_bias, false, true, make_separable},
    {"SeparableConv2D", 2, 1, separable_bias, false, true, make_separable},
    {"Conv1DTranspose", 1, 1, kernel_bias, false, false, make_transpose},
    {"Conv2DTranspose", 2, 1, kernel_bias, false, false, make_transpose},
    {"Conv3DTranspose", 3, 1, kernel_bias, false, false, make_transpose},
    {"LocallyConnected1D", 1, 1, kernel_bias, false, true, make_local},
    {"LocallyConnected2D", 2, 1, kernel_bias, false, true, make_local},
    {.name = NULL},
};
