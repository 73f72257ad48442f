/* Pools, of windows that slide, of the whole, of a number of cells. Called by build.c. */
#include "keras.h"
#include <float.h>
#include <string.h>

/* The pad of a mean is zeros that count; that of a maximum the lowest number. */
static fv_status take_pad(making *m, bool maximum, fv_pool_options *o) {
    const keras_layer *layer = m->inputs[0].pad;
    double value = 0;
    if (!layer)
        return FV_OK;
    fv_status status = config_number(layer->calls[0].keywords, "constant_values", &value);
    bool zeros = strncmp(layer->class_name, "ZeroPadding", 11) == 0;
    bool lowest = strcmp(layer->class_name, "Pad") == 0 && value <= -FLT_MAX;
    m->inputs[0].pad = NULL;
    if (status || o->padding != FV_VALID || !(maximum ? lowest : zeros))
        return status ? status : add_pad(m, layer, &m->inputs[0]);
    o->count_include_pad = !maximum;
    if (zeros)
        return config_pads(layer->config, "padding", m->axes, o->pad);
    json_t *widths = json_copy(json_object_get(layer->config, "pad_width")), *own = json_object();
    json_array_remove(widths, 0); /* the batch's, and the channels' */
    json_array_remove(widths, json_array_size(widths) - 1);
    if (own)
        json_object_set(own, "pad_width", widths);
    status = config_pads(own, "pad_width", m->axes, o->pad);
    json_decref(widths);
    json_decref(own);
    return status;
}

static fv_status make_pool(making *m, const char *type, flow *output) {
    fv_pool_options o = {0};
    const char *padding = "valid";
    fv_status status = config_sizes(m->config, "pool_size", m->axes, o.size);
    if (!status && o.size[0] == 0)
        status = fv_fail(FV_FORMAT, "its config has no pool_size");
    if (!status)
        status = config_sizes(m->config, "strides", m->axes, o.stride);
    if (!status)
        status = config_word(m->config, "padding", &padding);
    if (!status && strcmp(padding, "same") == 0)
        o.padding = FV_SAME;
    else if (!status && strcmp(padding, "valid") != 0)
        status = fv_fail(FV_UNSUPPORTED, "its padding is %.40s; expected valid or same", padding);
    if (!status)
        status = take_pad(m, strcmp(type, "maxpool") == 0, &o);
    if (memcmp(o.size, o.stride, sizeof o.size) == 0)
        memset(o.stride, 0, sizeof o.stride); /* the default */
    else if (o.stride[1] == o.stride[0] && (o.stride[2] == o.stride[0] || o.stride[2] == 0))
        o.stride[1] = o.stride[2] = 0;
    return status ? status : add_plain(m, type, &o, output);
}

static fv_status make_max(making *m, flow *output) {
    return make_pool(m, "maxpool", output);
}

static fv_status make_average(making *m, flow *output) {
    return make_pool(m, "avgpool", output);
}

static fv_status make_global(making *m, const char *type, flow *output) {
    fv_global_pool_options o = {0};
    fv_status status = config_bool(m->config, "keepdims", &o.keep);
    return status ? status : add_plain(m, type, &o, output);
}

static fv_status make_global_max(making *m, flow *output) {
    return make_global(m, "global_maxpool", output);
}

static fv_status make_global_average(making *m, flow *output) {
    return make_global(m, "global_avgpool", output);
}

static fv_status make_adaptive(making *m, const char *type, flow *output) {
    fv_adaptive_pool_options o = {0};
    fv_status status = config_sizes(m->config, "output_size", m->axes, o.size);
    return status ? status : add_plain(m, type, &o, output);
}

static fv_status make_adaptive_max(making *m, flow *output) {
    return make_adaptive(m, "adaptive_maxpool", output);
}

static fv_status make_adaptive_average(making *m, flow *output) {
    return make_adaptive(m, "adaptive_avgpool", output);
}

const keras_class pool_classes[] = {
    {"MaxPooling1D", 1, 1, NULL, false, true, make_max},
    {"MaxPooling2D", 2, 1, NULL, false, true, make_max},
    {"MaxPooling3D", 3, 1, NULL, false, true, make_max},
    {"AveragePooling1D", 1, 1, NULL, false, true, make_average},
    {"AveragePooling2D", 2, 1, NULL, false, true, make_average},
    {"AveragePooling3D", 3, 1, NULL, false, true, make_average},
    {"GlobalMaxPooling1D", 1, 1, NULL, false, false, make_global_max},
    {"GlobalMaxPooling2D", 2, 1, NULL, false, false, make_global_max},
    {"GlobalMaxPooling3D", 3, 1, NULL, false, false, make_global_max},
    {"GlobalAveragePooling1D", 1, 1, NULL, false, false, make_global_average},
    {"GlobalAveragePooling2D", 2, 1, NULL, false, false, make_global_average},
    {"GlobalAveragePooling3D", 3, 1, NULL, false, false, make_global_average},
    {"AdaptiveMaxPooling1D", 1, 1, NULL, false, false, make_adaptive_max},
    {"AdaptiveMaxPooling2D", 2, 1, NULL, false, false, make_adaptive_max},
    {"AdaptiveMaxPooling3D", 3, 1, NULL, false, false, make_adaptive_max},
    {"AdaptiveAveragePooling1D", 1, 1, NULL, false, false, make_adaptive_average},
    {"AdaptiveAveragePooling2D", 2, 1, NULL, false, false, make_adaptive_average},
    {"AdaptiveAveragePooling3D", 3, 1, NULL, false, false, make_adaptive_average},
    {.name = NULL},
};
