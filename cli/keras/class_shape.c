/* Layers that move numbers about: flatten, reshape, pads, crops, slices. Called by build.c. */
#include "keras.h"
#include <float.h>
#include <limits.h>
#include <string.h>

/* ---- Shapes ---------------------------------------------------------------------------------- */

static fv_status make_flatten(making *m, flow *output) {
    return add_plain(m, "flatten", NULL, output);
}

/* Values of the input; -1 where its sizes vary. */
static int64_t input_values(const making *m) {
    const fv_shape *input = input_shape(m, 0);
    int64_t values = input->channels;
    for (int i = 0; i < input->rank; i++)
        values = input->size[i] == FV_ANY ? -1 : values < 0 ? -1 : values * input->size[i];
    return values;
}

static fv_status read_target(const json_t *target, int sizes[4], int *count, int *open) {
    *count = (int)json_array_size(target);
    *open = -1;
    if (*count < 1 || *count > 4)
        return fv_fail(FV_UNSUPPORTED,
                       "its target_shape has %zu axes; 1 to 4 are possible, the channels last",
                       json_array_size(target));
    for (int i = 0; i < *count; i++) {
        json_int_t size = json_integer_value(json_array_get(target, (size_t)i));
        bool rest = size == -1 && *open < 0;
        if (!rest && (size < 1 || size > 1 << 24))
            return fv_fail(FV_FORMAT, "its target_shape is no list of sizes");
        sizes[i] = (int)size;
        *open = rest ? i : *open;
    }
    return FV_OK;
}

static fv_status make_reshape(making *m, flow *output) {
    int sizes[4], count, open;
    fv_status status =
        read_target(json_object_get(m->config, "target_shape"), sizes, &count, &open);
    if (status)
        return status;
    int64_t values = input_values(m), known = 1;
    for (int i = 0; i < count; i++)
        known = i == open ? known : known > INT_MAX ? known : known * sizes[i];
    if (open >= 0 && values > 0 && values % known == 0 && values / known <= INT_MAX)
        sizes[open] = (int)(values / known);
    if (sizes[count - 1] < 1)
        return fv_fail(FV_UNSUPPORTED, "how many channels its output has is not known");
    fv_reshape_options o = {.shape = {.rank = count - 1, .channels = sizes[count - 1]}};
    for (int i = 0; i < count - 1; i++)
        o.shape.size[i] = sizes[i] < 1 ? FV_ANY : sizes[i];
    return add_plain(m, "reshape", &o, output);
}

static fv_status make_permute(making *m, flow *output) {
    fv_permute_options o = {0};
    fv_status status = config_numbers(m->config, "dims", 4, o.axes, &o.count);
    return status ? status : add_plain(m, "permute", &o, output);
}

/* ---- Pads and crops -------------------------------------------------------------------------- */

static bool is_empty(int values[3][2]) {
    int sum = 0;
    for (int i = 0; i < 3; i++)
        sum |= values[i][0] | values[i][1];
    return sum == 0;
}

/* Whether the only reader of this layer may be one called NAME, and this NAME.pad. */
static bool waits_for_reader(const making *m) {
    size_t size = strlen(m->layer->name);
    return m->readers == 1 && size > 4 && strcmp(m->layer->name + size - 4, ".pad") == 0;
}

/* Leaves it to the reader. */
static fv_status wait_for_reader(making *m, flow *output) {
    *output = (flow){.node = m->inputs[0].node, .readers = 1, .pad = m->layer};
    return FV_OK;
}

static fv_status make_zero_padding(making *m, flow *output) {
    fv_pad_options o = {0};
    int ones[3][2] = {{1, 1}, {1, 1}, {1, 1}};
    memcpy(o.pad, ones, sizeof(int[2]) * (size_t)m->axes); /* Keras' default */
    fv_status status = config_pads(m->config, "padding", m->axes, o.pad);
    if (status)
        return status;
    if (is_empty(o.pad))
        return skip_layer(m, NULL, output);
    return waits_for_reader(m) ? wait_for_reader(m, output) : add_plain(m, "pad", &o, output);
}

/* Whether this is the layer X.crop behind a transposed convolution X of ours, which cuts its output
 * itself. */
static bool belongs_to_transpose(const making *m) {
    const fv_node *node = &m->importer->net->nodes[m->inputs[0].node];
    const fv_conv_transpose_options *o = node->options;
    size_t size = strlen(node->name);
    int pads[3][2];
    if (strcmp(node->type->name, "conv_transpose") != 0)
        return false;
    memcpy(pads, o->pad, sizeof pads);
    return m->inputs[0].readers == 1 && o->padding == FV_VALID && is_empty(pads) &&
           node->activation == FV_LINEAR && strncmp(m->name, node->name, size) == 0 &&
           strcmp(m->name + size, ".crop") == 0;
}

static fv_status cut_transpose(making *m, int crop[3][2], flow *output) {
    fv_net *net = m->importer->net;
    fv_node *node = &net->nodes[m->inputs[0].node];
    fv_conv_transpose_options *o = node->options;
    fv_inference inference = {.weight_count = 0};
    memcpy(o->pad, crop, sizeof o->pad);
    fv_status status = node->type->infer(o, &net->nodes[node->inputs[0]].output, 1, &inference);
    if (status)
        return status;
    node->output = inference.output;
    return skip_layer(m, NULL, output);
}

static fv_status make_cropping(making *m, flow *output) {
    fv_crop_options o = {0};
    fv_status status = config_pads(m->config, "cropping", m->axes, o.crop);
    if (status)
        return status;
    if (!is_empty(o.crop) && belongs_to_transpose(m))
        return cut_transpose(m, o.crop, output);
    return is_empty(o.crop) ? skip_layer(m, NULL, output) : add_plain(m, "crop", &o, output);
}

/* keras.ops.pad: widths for all axes, the batch's first and the channels' last. */
static fv_status read_widths(const making *m, fv_pad_options *o) {
    json_t *list = json_object_get(m->config, "pad_width");
    size_t axes = (size_t)input_shape(m, 0)->rank + 2;
    int widths[5][2] = {{0}};
    if (json_array_size(list) != axes)
        return fv_fail(FV_UNSUPPORTED, "its pad_width has %zu pairs; expected %zu",
                       json_array_size(list), axes);
    for (size_t i = 0; i < axes; i++)
        for (size_t side = 0; side < 2; side++) {
            json_t *width = json_array_get(json_array_get(list, i), side);
            json_int_t cells = json_integer_value(width);
            if (!json_is_integer(width) || cells < 0 || cells > 1 << 20)
                return fv_fail(FV_FORMAT, "its pad_width is no list of pairs of small integers");
            widths[i][side] = (int)cells;
        }
    if (widths[0][0] || widths[0][1])
        return fv_fail(FV_UNSUPPORTED, "it pads the batch");
    memcpy(o->pad, widths + 1, (axes - 2) * sizeof *widths);
    o->channels_before = widths[axes - 1][0];
    o->channels_after = widths[axes - 1][1];
    return FV_OK;
}

static fv_status make_pad(making *m, flow *output) {
    fv_pad_options o = {0};
    const char *mode = "constant";
    fv_status status = read_widths(m, &o);
    if (!status && m->call->arguments)
        status = fv_fail(FV_UNSUPPORTED, "it is called with other arguments than a layer's output");
    if (!status)
        status = config_word(m->config, "mode", &mode);
    if (!status && strcmp(mode, "reflect") == 0)
        o.mode = FV_PAD_REFLECT;
    else if (!status && strcmp(mode, "constant") != 0)
        status =
            fv_fail(FV_UNSUPPORTED, "its mode is %.40s; constant and reflect are possible", mode);
    if (!status)
        status = config_number(m->call->keywords, "constant_values", &o.value);
    if (status)
        return status;
    if (o.mode == FV_PAD_CONSTANT && o.value <= -FLT_MAX && waits_for_reader(m))
        return wait_for_reader(m, output);
    return is_empty(o.pad) && !o.channels_before && !o.channels_after
               ? skip_layer(m, NULL, output)
               : add_plain(m, "pad", &o, output);
}

/* ---- Slices: x[..., 2:6] ----------------------------------------------------------------------
 */

typedef struct stretch {
    int begin, end; /* end 0: all */
} stretch;

/* One entry of the key for an axis of `size` cells. */
static fv_status read_slice(const json_t *json, int size, stretch *s) {
    const json_t *config = json_object_get(json, "config");
    const char *class_name = config_text(json, "class_name");
    json_t *start = json_object_get(config, "start"), *stop = json_object_get(config, "stop");
    json_t *step = json_object_get(config, "step");
    bool plain = class_name && strcmp(class_name, "__slice__") == 0 &&
                 (!json_is_integer(step) || json_integer_value(step) == 1);
    json_int_t begin = json_is_integer(start) ? json_integer_value(start) : 0;
    json_int_t end = json_is_integer(stop) ? json_integer_value(stop) : size;
    *s = (stretch){0, 0};
    if (!plain)
        return fv_fail(FV_UNSUPPORTED,
                       "it is no plain slice; x[..., 2:6], without steps and indices, is possible");
    if (begin == 0 && (end == size || !json_is_integer(stop)))
        return FV_OK;
    if (size == FV_ANY)
        return fv_fail(FV_UNSUPPORTED, "it slices an axis whose size varies");
    begin += begin < 0 ? size : 0;
    end += end < 0 ? size : 0;
    end = end > size ? size : end;
    if (begin < 0 || begin >= end)
        return fv_fail(FV_SHAPE, "[%lld:%lld] is no part of an axis of %d", (long long)begin,
                       (long long)end, size);
    *s = (stretch){(int)begin, (int)end};
    return FV_OK;
}

static bool is_ellipsis(const json_t *json) {
    const char *class_name = config_text(json, "class_name");
    return class_name && strcmp(class_name, "__ellipsis__") == 0;
}

/* The stretch of each axis, from 1; 4 stands for the channels. */
static fv_status read_key(const making *m, const json_t *key, stretch all[5]) {
    const fv_shape *input = input_shape(m, 0);
    size_t count = json_is_array(key) ? json_array_size(key) : 1;
    int axes = input->rank + 2, axis = 0;
    fv_status status = FV_OK;
    for (size_t i = 0; i < count && !status; i++, axis++) {
        const json_t *one = json_is_array(key) ? json_array_get(key, i) : key;
        if (is_ellipsis(one)) {
            axis = axes - (int)(count - i); /* those that follow are the last ones */
            continue;
        }
        if (axis < 0 || axis >= axes)
            return fv_fail(FV_FORMAT, "it has more slices than its input has axes");
        int size = axis == 0 ? FV_ANY : axis == axes - 1 ? input->channels : input->size[axis - 1];
        status = read_slice(one, size, &all[axis == axes - 1 ? 4 : axis]);
    }
    return status;
}

static fv_status make_slice(making *m, flow *output) {
    stretch all[5] = {{0}};
    if (m->call->keywords)
        return fv_fail(FV_UNSUPPORTED, "it is called with other arguments than a slice");
    fv_status status = read_key(m, json_array_get(m->call->arguments, 1), all);
    int left = 0;
    for (int axis = 1; axis <= 4; axis++)
        left += all[axis].end > 0;
    *output = m->inputs[0];
    output->alone = output->alone && left == 0 && m->readers == 1;
    output->readers = m->readers;
    for (int axis = 1; axis <= 4 && !status; axis++) {
        fv_slice_options o = {all[axis].begin, all[axis].end, axis == 4 ? 0 : axis};
        if (o.end > 0)
            status = add_layer(m, "slice", --left > 0 ? ".part" : "", &output->node, 1, &o, output);
    }
    return status;
}

/* ---- Other sizes ------------------------------------------------------------------------------
 */

static fv_status make_upsampling(making *m, flow *output) {
    fv_upsample_options o = {.factor = {1}};
    const char *mode = "nearest";
    fv_status status = config_sizes(m->config, "size", m->axes, o.factor);
    if (!status)
        status = config_word(m->config, "interpolation", &mode);
    if (!status && strcmp(mode, "bilinear") == 0)
        o.mode = FV_RESIZE_BILINEAR;
    else if (!status && strcmp(mode, "nearest") != 0)
        status = fv_fail(FV_UNSUPPORTED,
                         "its interpolation is %.40s; nearest and bilinear are possible", mode);
    if (o.factor[1] == o.factor[0] && (o.factor[2] == o.factor[0] || o.factor[2] == 0))
        o.factor[1] = o.factor[2] = 0;
    return status ? status : add_plain(m, "upsample", &o, output);
}

static fv_status make_depth(making *m, const char *type, flow *output) {
    fv_depth_options o = {0};
    fv_status status = config_int(m->config, "block_size", 1, 1 << 10, &o.block);
    return status ? status : add_plain(m, type, &o, output);
}

static fv_status make_depth_to_space(making *m, flow *output) {
    return make_depth(m, "depth_to_space", output);
}

static fv_status make_space_to_depth(making *m, flow *output) {
    return make_depth(m, "space_to_depth", output);
}

const keras_class shape_classes[] = {
    {"Flatten", ANY_AXES, 1, NULL, false, false, make_flatten},
    {"Reshape", ANY_AXES, 1, NULL, false, false, make_reshape},
    {"Permute", ANY_AXES, 1, NULL, false, false, make_permute},
    {"ZeroPadding1D", 1, 1, NULL, false, false, make_zero_padding},
    {"ZeroPadding2D", 2, 1, NULL, false, false, make_zero_padding},
    {"ZeroPadding3D", 3, 1, NULL, false, false, make_zero_padding},
    {"Cropping1D", 1, 1, NULL, false, false, make_cropping},
    {"Cropping2D", 2, 1, NULL, false, false, make_cropping},
    {"Cropping3D", 3, 1, NULL, false, false, make_cropping},
    {"UpSampling1D", 1, 1, NULL, false, false, make_upsampling},
    {"UpSampling2D", 2, 1, NULL, false, false, make_upsampling},
    {"UpSampling3D", 3, 1, NULL, false, false, make_upsampling},
    /* keras.ops */
    {"Pad", ANY_AXES, 1, NULL, true, false, make_pad},
    {"GetItem", ANY_AXES, 1, NULL, true, false, make_slice},
    {"DepthToSpace", 2, 1, NULL, false, false, make_depth_to_space},
    {"SpaceToDepth", 2, 1, NULL, false, false, make_space_to_depth},
    {.name = NULL},
};
