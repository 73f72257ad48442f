/* Dense, the convolutions and the pools as layers of Keras. Pads that Keras does not know become a
 * layer NODE.pad in front. Called by export.c. */
#include "export.h"
#include <float.h>
#include <string.h>

/* ---- Pads ------------------------------------------------------------------------------------ */

json_t *sizes_json(const int values[3], int count, int fallback) {
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_integer(fv_size_at(values, i, fallback)));
    return list;
}

json_t *pads_json(int pads[3][2], int count) {
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_pack("[i, i]", pads[i][0], pads[i][1]));
    return list;
}

/* The shape with these pads. */
static fv_shape padded(const fv_shape *shape, int pads[3][2], const int channels[2]) {
    fv_shape result = *shape;
    for (int i = 0; i < shape->rank; i++)
        if (shape->size[i] != FV_ANY)
            result.size[i] += pads[i][0] + pads[i][1];
    result.channels += channels[0] + channels[1];
    return result;
}

fv_status emit_zero_pad(writing *w, int pads[3][2], const tensor *input, tensor *output) {
    static const int no_channels[2] = {0};
    int axes = input->shape.rank;
    fv_shape shape = padded(&input->shape, pads, no_channels);
    json_t *list = pads_json(pads, axes);
    json_t *own = axes == 1 ? json_incref(json_array_get(list, 0)) : json_incref(list);
    json_decref(list);
    return emit(w, &(layer_text){.class_name = "ZeroPadding", .axes = axes, .suffix = ".pad"},
                json_pack("{s:o}", "padding", own), input, 1, &shape, output);
}

fv_status emit_pad(writing *w, const char *suffix, int pads[3][2], const int channels[2],
                   const char *mode, double value, const tensor *input, tensor *output) {
    fv_shape shape = padded(&input->shape, pads, channels);
    json_t *widths = json_pack("[[i, i]]", 0, 0);
    for (int i = 0; i < input->shape.rank; i++)
        json_array_append_new(widths, json_pack("[i, i]", pads[i][0], pads[i][1]));
    json_array_append_new(widths, json_pack("[i, i]", channels[0], channels[1]));
    json_t *keywords = strcmp(mode, "constant") == 0 ? json_pack("{s:f}", "constant_values", value)
                                                     : json_object();
    return emit(
        w,
        &(layer_text){
            .class_name = "Pad", .operation = "numpy", .suffix = suffix, .keywords = keywords},
        json_pack("{s:o, s:s}", "pad_width", widths, "mode", mode), input, 1, &shape, output);
}

static bool is_empty(int pads[3][2]) {
    int sum = 0;
    for (int i = 0; i < 3; i++)
        sum |= pads[i][0] | pads[i][1];
    return sum == 0;
}

/* Whether a size above 1 is among the first `axes`. */
static bool any_above_one(const int values[3], int axes) {
    bool any = false;
    for (int i = 0; i < axes; i++)
        any = any || fv_size_at(values, i, 1) > 1;
    return any;
}

static bool all_equal(const int values[3], int axes) {
    bool equal = true;
    for (int i = 1; i < axes; i++)
        equal = equal && fv_size_at(values, i, 1) == fv_size_at(values, 0, 1);
    return equal;
}

static bool sizes_vary(const fv_shape *shape) {
    bool vary = false;
    for (int i = 0; i < shape->rank; i++)
        vary = vary || shape->size[i] == FV_ANY;
    return vary;
}

/* The word of Keras for a convolution's padding, and what must be padded before it. */
static fv_status choose_padding(const writing *w, const fv_slide_options *o, int pads[3][2],
                                const char **word) {
    const fv_shape *input = &w->inputs[0].shape;
    fv_axis axes[3];
    memset(pads, 0, sizeof(int[3][2]));
    *word = o->padding == FV_SAME ? "same" : o->padding == FV_CAUSAL ? "causal" : "valid";
    if (any_above_one(o->stride, input->rank) && any_above_one(o->dilation, input->rank))
        return cannot("Keras has no convolution with both strides and dilation");
    if (o->padding == FV_SAME || o->padding == FV_CAUSAL)
        return FV_OK;
    if (o->padding == FV_SAME_LOWER && sizes_vary(input))
        return cannot("padding=same_lower of an input whose sizes vary");
    fv_status status = fv_slide(input, o, axes);
    for (int i = 0; i < input->rank && !status; i++) {
        pads[i][0] = axes[i].before;
        pads[i][1] = axes[i].after;
    }
    return status;
}

/* ---- Convolutions ---------------------------------------------------------------------------- */

/* What the configs have in common; takes the activation that Keras has as an argument. */
static json_t *window_config(const writing *w, const fv_slide_options *o, const char *padding,
                             fv_activation activation, bool bias, fv_init bias_init) {
    int axes = w->inputs[0].shape.rank;
    const char *name = activation_name(activation);
    json_t *config = json_pack("{s:o, s:o, s:s, s:s, s:s, s:b, s:o}", "kernel_size",
                               sizes_json(o->kernel, axes, 1), "strides",
                               sizes_json(o->stride, axes, 1), "padding", padding, "data_format",
                               "channels_last", "activation", name ? name : "linear", "use_bias",
                               bias, "bias_initializer", init_write(bias_init, "zeros"));
    json_object_set_new(config, "dilation_rate", sizes_json(o->dilation, axes, 1));
    return config;
}

static void set_init(json_t *config, const char *key, fv_init init) {
    json_object_set_new(config, key, init_write(init, "glorotuniform"));
}

/* The layer itself, behind its pad. */
static fv_status emit_window(writing *w, const layer_text *text, int pads[3][2], json_t *config,
                             tensor *output) {
    tensor input = w->inputs[0];
    fv_status status = is_empty(pads) ? FV_OK : emit_zero_pad(w, pads, &input, &input);
    if (!status)
        return emit(w, text, config, &input, 1, &w->node->output, output);
    json_decref(config);
    return status;
}

/* The activation of a layer in whose config there is no name for it. */
static fv_status finish(writing *w, fv_status status, fv_activation activation, tensor *output) {
    return status || activation_name(activation) ? status : emit_activation(w, activation, output);
}

static fv_status write_conv(writing *w, tensor *output) {
    const fv_conv_options *o = w->node->options;
    fv_slide_options slide = {o->kernel, o->stride, o->dilation, o->padding,
                              o->pad,    false,     "kernel"};
    int pads[3][2], axes = w->inputs[0].shape.rank;
    const char *padding;
    fv_status status = choose_padding(w, &slide, pads, &padding);
    for (int f = 0; f < FV_MOST_TABLE && !status; f++)
        if (o->table[f])
            status = cannot("Keras has no connection tables");
    if (status)
        return status;
    json_t *config = window_config(w, &slide, padding, o->activation, !o->no_bias, o->bias_init);
    json_object_set_new(config, "filters", json_integer(o->filters));
    json_object_set_new(config, "groups", json_integer(o->groups ? o->groups : 1));
    set_init(config, "kernel_initializer", o->init);
    add_tuning(w, "kernel", axes + 1, config);
    status =
        emit_window(w, &(layer_text){.class_name = "Conv", .axes = axes}, pads, config, output);
    if (!status)
        status = emit_weights(w);
    return finish(w, status, o->activation, output);
}

/* Kernel sizes, channels, multiplier. */
static fv_status emit_depthwise_weight(const writing *w, int channels) {
    size_t sizes[FV_MAX_RANK];
    int rank = keras_sizes(w->node, &w->node->weights[0], sizes);
    sizes[rank - 1] = sizes[rank - 1] / (size_t)channels;
    sizes[rank - 2] = (size_t)channels;
    return emit_weight(w, 0, rank, sizes);
}

/* As a Conv with a group for each channel, where DepthwiseConv cannot do it. */
static void make_grouped(const writing *w, const fv_depthwise_conv_options *o, json_t *config) {
    json_object_set_new(config, "filters", json_integer(w->node->output.channels));
    json_object_set_new(config, "groups", json_integer(w->inputs[0].shape.channels));
    set_init(config, "kernel_initializer", o->init);
    add_tuning(w, "kernel", w->inputs[0].shape.rank + 1, config);
}

static fv_status write_depthwise(writing *w, tensor *output) {
    const fv_depthwise_conv_options *o = w->node->options;
    fv_slide_options slide = {o->kernel, o->stride, o->dilation, o->padding,
                              o->pad,    false,     "kernel"};
    int pads[3][2], axes = w->inputs[0].shape.rank, channels = w->inputs[0].shape.channels;
    const char *padding;
    fv_status status = choose_padding(w, &slide, pads, &padding);
    if (status)
        return status;
    /* TensorFlow wants equal strides; Keras has no DepthwiseConv3D. */
    bool grouped = axes == 3 || !all_equal(o->stride, axes) || o->padding == FV_CAUSAL;
    json_t *config = window_config(w, &slide, padding, o->activation, !o->no_bias, o->bias_init);
    if (grouped) {
        make_grouped(w, o, config);
    } else {
        json_object_set_new(config, "depth_multiplier",
                            json_integer(o->multiplier ? o->multiplier : 1));
        set_init(config, "depthwise_initializer", o->init);
        add_tuning(w, "depthwise", 0, config);
    }
    status = emit_window(
        w, &(layer_text){.class_name = grouped ? "Conv" : "DepthwiseConv", .axes = axes}, pads,
        config, output);
    if (!status)
        status = grouped ? emit_weight(w, 0, 0, NULL) : emit_depthwise_weight(w, channels);
    if (!status && !o->no_bias)
        status = emit_weight(w, 1, 0, NULL);
    return finish(w, status, o->activation, output);
}

static fv_status write_separable(writing *w, tensor *output) {
    const fv_separable_conv_options *o = w->node->options;
    fv_slide_options slide = {o->kernel, o->stride, o->dilation, o->padding,
                              o->pad,    false,     "kernel"};
    int pads[3][2], axes = w->inputs[0].shape.rank;
    const char *padding;
    fv_status status = choose_padding(w, &slide, pads, &padding);
    if (!status && (axes == 3 || !all_equal(o->stride, axes) || o->padding == FV_CAUSAL))
        status =
            cannot("Keras has separable convolutions along one or two axes, with equal strides "
                   "and without causal padding");
    if (status)
        return status;
    json_t *config = window_config(w, &slide, padding, o->activation, !o->no_bias, o->bias_init);
    json_object_set_new(config, "filters", json_integer(o->filters));
    json_object_set_new(config, "depth_multiplier",
                        json_integer(o->multiplier ? o->multiplier : 1));
    set_init(config, "depthwise_initializer", o->depthwise_init);
    set_init(config, "pointwise_initializer", o->init);
    add_tuning(w, "pointwise", 0, config);
    status = emit_window(w, &(layer_text){.class_name = "SeparableConv", .axes = axes}, pads,
                         config, output);
    if (!status)
        status = emit_depthwise_weight(w, w->inputs[0].shape.channels);
    for (int i = 1; i < w->node->weight_count && !status; i++)
        status = emit_weight(w, i, 0, NULL);
    return finish(w, status, o->activation, output);
}

/* The cells that `pad` takes from the output, as a layer NODE.crop. */
static fv_status emit_crop(writing *w, int pads[3][2], tensor *value) {
    int axes = value->shape.rank;
    json_t *list = pads_json(pads, axes);
    json_t *own = axes == 1 ? json_incref(json_array_get(list, 0)) : json_incref(list);
    json_decref(list);
    return emit(w, &(layer_text){.class_name = "Cropping", .axes = axes, .suffix = ".crop"},
                json_pack("{s:o}", "cropping", own), value, 1, &w->node->output, value);
}

static fv_status write_transpose(writing *w, tensor *output) {
    const fv_conv_transpose_options *o = w->node->options;
    fv_slide_options slide = {o->kernel, o->stride, o->dilation, o->padding,
                              o->pad,    false,     "kernel"};
    int axes = w->inputs[0].shape.rank, pads[3][2];
    memcpy(pads, o->pad, sizeof pads);
    bool same = o->padding == FV_SAME, cut = !same && !is_empty(pads);
    if (o->groups > 1)
        return cannot("Keras has no groups in transposed convolutions");
    if (any_above_one(o->stride, axes) && any_above_one(o->dilation, axes))
        return cannot("Keras has no convolution with both strides and dilation");
    fv_shape shape = w->node->output;
    for (int i = 0; i < axes && cut; i++)
        shape.size[i] += shape.size[i] == FV_ANY ? 0 : pads[i][0] + pads[i][1];
    fv_activation activation = cut ? FV_LINEAR : o->activation;
    json_t *config =
        window_config(w, &slide, same ? "same" : "valid", activation, !o->no_bias, o->bias_init);
    json_object_set_new(config, "filters", json_integer(o->filters));
    json_object_set_new(config, "output_padding",
                        same ? json_null() : sizes_json(o->output_pad, axes, 0));
    set_init(config, "kernel_initializer", o->init);
    add_tuning(w, "kernel", 0, config);
    fv_status status =
        emit(w, &(layer_text){.class_name = "Conv", .axes = axes, .ending = "Transpose"}, config,
             w->inputs, 1, &shape, output);
    if (!status)
        status = emit_weights(w);
    if (!status && cut)
        status = emit_crop(w, pads, output);
    bool own = cut ? o->activation != FV_LINEAR : !activation_name(o->activation);
    return !status && own ? emit_activation(w, o->activation, output) : status;
}

static fv_status write_dense(writing *w, tensor *output) {
    const fv_dense_options *o = w->node->options;
    const fv_weight *kernel = &w->node->weights[0];
    const char *name = activation_name(o->activation);
    size_t sizes[2] = {kernel->count / (size_t)o->units, (size_t)o->units};
    json_t *config = json_pack("{s:i, s:s, s:b, s:o, s:o}", "units", o->units, "activation",
                               name ? name : "linear", "use_bias", !o->no_bias,
                               "kernel_initializer", init_write(o->init, "glorotuniform"),
                               "bias_initializer", init_write(o->bias_init, "zeros"));
    add_tuning(w, "kernel", 1, config);
    fv_status status = emit_plain(w, "Dense", 0, config, output);
    if (!status)
        status = emit_weight(w, 0, 2, sizes);
    if (!status && !o->no_bias)
        status = emit_weight(w, 1, 0, NULL);
    return finish(w, status, o->activation, output);
}

const export_type export_conv_types[] = {{"conv", write_conv, false},
                                         {"depthwise_conv", write_depthwise, false},
                                         {"separable_conv", write_separable, false},
                                         {"conv_transpose", write_transpose, false},
                                         {"dense", write_dense, false},
                                         {.name = NULL}};

/* ---- Pools ----------------------------------------------------------------------------------- */

/* Whether the axes are those of TensorFlow's same: ceil(in / stride) outputs, the odd cell behind.
 */
static bool are_same(const fv_axis *axes, int rank) {
    bool same = true;
    for (int i = 0; i < rank; i++) {
        const fv_axis *a = &axes[i];
        int64_t out = ((int64_t)a->in + a->stride - 1) / a->stride;
        int64_t total = (out - 1) * a->stride + a->kernel - a->in;
        total = total > 0 ? total : 0;
        same = same && a->in != FV_ANY && a->out == out && a->before == total / 2;
    }
    return same;
}

/* Cells before and behind with which windows that all fit give as many outputs; *beyond: some of
 * them lie behind the pad that was asked for. */
static void explicit_pads(const fv_axis *axes, int rank, int pads[3][2], bool *beyond) {
    *beyond = false;
    memset(pads, 0, sizeof(int[3][2]));
    for (int i = 0; i < rank; i++) {
        const fv_axis *a = &axes[i];
        pads[i][0] = a->before;
        pads[i][1] = a->after;
        if (a->in == FV_ANY)
            continue;
        int64_t needed = (int64_t)(a->out - 1) * a->stride + a->kernel - a->in - a->before;
        *beyond = *beyond || needed > a->after;
        pads[i][1] = needed > 0 ? (int)needed : 0;
    }
}

/* `same` or pads for the pool; counting: padded cells count in the mean. */
static fv_status choose_pool_padding(const writing *w, bool maximum, int pads[3][2], bool *same) {
    const fv_pool_options *o = w->node->options;
    const fv_shape *input = &w->inputs[0].shape;
    bool counting = !maximum && o->count_include_pad, beyond;
    fv_axis axes[3];
    fv_slide_options slide = {
        o->size, o->stride[0] ? o->stride : o->size, NULL, o->padding, o->pad, o->ceil, "window"};
    memset(pads, 0, sizeof(int[3][2]));
    *same = o->padding == FV_SAME && !counting;
    if (*same)
        return FV_OK;
    if (sizes_vary(input) && (o->ceil || o->padding != FV_VALID))
        return cannot("the input's sizes vary, and with them how much must be padded");
    fv_status status = fv_slide(input, &slide, axes);
    if (status)
        return status;
    explicit_pads(axes, input->rank, pads, &beyond);
    if (is_empty(pads) || maximum)
        return FV_OK;
    *same = !counting && are_same(axes, input->rank);
    if (!*same && (!counting || beyond))
        return cannot("Keras has no means of windows that reach beyond the input, but those of "
                      "padding=same");
    return FV_OK;
}

static fv_status write_pool(writing *w, bool maximum, tensor *output) {
    static const int no_channels[2] = {0};
    const fv_pool_options *o = w->node->options;
    int pads[3][2], axes = w->inputs[0].shape.rank;
    bool same;
    fv_status status = choose_pool_padding(w, maximum, pads, &same);
    tensor input = w->inputs[0];
    if (!status && !same && !is_empty(pads))
        status = maximum ? emit_pad(w, ".pad", pads, no_channels, "constant", -(double)FLT_MAX,
                                    &input, &input)
                         : emit_zero_pad(w, pads, &input, &input);
    if (status)
        return status;
    return emit(
        w, &(layer_text){.class_name = maximum ? "MaxPooling" : "AveragePooling", .axes = axes},
        json_pack("{s:o, s:o, s:s, s:s}", "pool_size", sizes_json(o->size, axes, 1), "strides",
                  sizes_json(o->stride[0] ? o->stride : o->size, axes, 1), "padding",
                  same ? "same" : "valid", "data_format", "channels_last"),
        &input, 1, &w->node->output, output);
}

static fv_status write_maxpool(writing *w, tensor *output) {
    return write_pool(w, true, output);
}

static fv_status write_avgpool(writing *w, tensor *output) {
    return write_pool(w, false, output);
}

static fv_status write_global(writing *w, const char *class_name, tensor *output) {
    const fv_global_pool_options *o = w->node->options;
    return emit_plain(w, class_name, w->inputs[0].shape.rank,
                      json_pack("{s:b, s:s}", "keepdims", o->keep, "data_format", "channels_last"),
                      output);
}

static fv_status write_global_max(writing *w, tensor *output) {
    return write_global(w, "GlobalMaxPooling", output);
}

static fv_status write_global_average(writing *w, tensor *output) {
    return write_global(w, "GlobalAveragePooling", output);
}

static fv_status write_adaptive(writing *w, const char *class_name, tensor *output) {
    const fv_adaptive_pool_options *o = w->node->options;
    int axes = w->inputs[0].shape.rank;
    return emit_plain(w, class_name, axes,
                      json_pack("{s:o, s:s}", "output_size", sizes_json(o->size, axes, 1),
                                "data_format", "channels_last"),
                      output);
}

static fv_status write_adaptive_max(writing *w, tensor *output) {
    return write_adaptive(w, "AdaptiveMaxPooling", output);
}

static fv_status write_adaptive_average(writing *w, tensor *output) {
    return write_adaptive(w, "AdaptiveAveragePooling", output);
}

const export_type export_pool_types[] = {{"maxpool", write_maxpool, false},
                                         {"avgpool", write_avgpool, false},
                                         {"global_maxpool", write_global_max, false},
                                         {"global_avgpool", write_global_average, false},
                                         {"adaptive_maxpool", write_adaptive_max, false},
                                         {"adaptive_avgpool", write_adaptive_average, false},
                                         {.name = NULL}};
