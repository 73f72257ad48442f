/* Normalisations, activations as layers, dropout, and what only training needs; scales of the
 * input. Called by build.c. */
#include "keras.h"
#include <math.h>
#include <string.h>

/* ---- Normalisations -------------------------------------------------------------------------- */

typedef struct norm {
    double epsilon;
    bool center, scale;
} norm;

static fv_status read_norm(const making *m, norm *n) {
    *n = (norm){.epsilon = 1e-3, .center = true, .scale = true};
    fv_status status = config_number(m->config, "epsilon", &n->epsilon);
    if (!status)
        status = config_bool(m->config, "center", &n->center);
    if (!status)
        status = config_bool(m->config, "scale", &n->scale);
    n->epsilon = n->epsilon == 1e-3 ? 0 : explicitly(n->epsilon); /* 0: that default */
    return status;
}

static fv_status make_batch_norm(making *m, flow *output) {
    norm n;
    double momentum = 0.99;
    bool renorm = false;
    fv_status status = read_norm(m, &n);
    if (!status)
        status = check_axis(m);
    if (!status)
        status = config_number(m->config, "momentum", &momentum);
    if (!status)
        status = config_bool(m->config, "renorm", &renorm);
    if (!status && renorm)
        status = fv_fail(FV_UNSUPPORTED, "batch renormalisation has no counterpart in fovea");
    fv_batch_norm_options o = {.momentum = momentum == 0.99 ? 0 : explicitly(momentum),
                               .epsilon = n.epsilon,
                               .no_scale = !n.scale,
                               .no_bias = !n.center,
                               .init = init_read(m->config, "gamma_initializer", "ones"),
                               .bias_init = init_read(m->config, "beta_initializer", "zeros")};
    return status ? status : add_weighted(m, "batch_norm", &o, output);
}

/* The channels, or all axes but the batch. */
static fv_status read_axes(const making *m, bool *all) {
    const json_t *axes = json_object_get(m->config, "axis");
    int rank = input_shape(m, 0)->rank, axis;
    *all = false;
    if (json_array_size(axes) <= 1) {
        fv_status status = config_axis(m->config, -1, &axis);
        return status ? status : check_last_axis(m, axis);
    }
    *all = json_array_size(axes) == (size_t)rank + 1;
    for (int i = 0; i <= rank && *all; i++) {
        const json_t *one = json_array_get(axes, (size_t)i);
        json_int_t value = json_integer_value(one);
        *all = json_is_integer(one) && (value == i + 1 || value == i - rank - 1);
    }
    return *all ? FV_OK
                : fv_fail(FV_UNSUPPORTED, "it normalises along some axes; fovea does so along the "
                                          "channels or all");
}

static fv_status make_layer_norm(making *m, flow *output) {
    norm n;
    bool all = false, rms = false;
    fv_status status = read_norm(m, &n);
    if (!status)
        status = read_axes(m, &all);
    if (!status)
        status = config_bool(m->config, "rms_scaling", &rms);
    if (!status && rms)
        status = fv_fail(FV_UNSUPPORTED, "its rms_scaling=true has no counterpart in fovea");
    fv_layer_norm_options o = {
        .all = all, .epsilon = n.epsilon, .no_scale = !n.scale, .no_bias = !n.center};
    return status ? status : add_weighted(m, "layer_norm", &o, output);
}

/* groups=-1: each channel is one. */
static fv_status make_group_norm(making *m, flow *output) {
    norm n;
    int groups = 32;
    fv_status status = read_norm(m, &n);
    if (!status)
        status = check_axis(m);
    if (!status)
        status = config_int(m->config, "groups", -1, 1 << 24, &groups);
    if (!status && groups == 0)
        status = fv_fail(FV_FORMAT, "its config's groups is 0");
    if (status)
        return status;
    fv_group_norm_options o = {.groups = groups == 32 ? 0 : groups,
                               .epsilon = n.epsilon,
                               .no_scale = !n.scale,
                               .no_bias = !n.center};
    fv_instance_norm_options each = {
        .epsilon = n.epsilon, .no_scale = !n.scale, .no_bias = !n.center};
    return groups < 0 ? add_weighted(m, "instance_norm", &each, output)
                      : add_weighted(m, "group_norm", &o, output);
}

static fv_status make_rms_norm(making *m, flow *output) {
    double epsilon = 1e-6;
    fv_status status = check_axis(m);
    if (!status)
        status = config_number(m->config, "epsilon", &epsilon);
    fv_rms_norm_options o = {.epsilon = epsilon == 1e-6 ? 0 : explicitly(epsilon)};
    return status ? status : add_weighted(m, "rms_norm", &o, output);
}

static fv_status make_unit_norm(making *m, flow *output) {
    fv_l2_normalize_options o = {0};
    fv_status status = check_axis(m);
    return status ? status : add_plain(m, "l2_normalize", &o, output);
}

/* ---- Activations ----------------------------------------------------------------------------- */

/* Whether this is the layer X.activation behind a layer X of ours. */
static bool belongs_to_input(const making *m) {
    const char *other = m->importer->net->nodes[m->inputs[0].node].name;
    size_t size = strlen(other);
    return strncmp(m->name, other, size) == 0 && strcmp(m->name + size, ".activation") == 0;
}

static fv_status make_activation(making *m, flow *output) {
    keras_activation a;
    bool named = strcmp(m->layer->class_name, "Activation") == 0;
    fv_status status = named ? activation_read(m, &a)
                             : activation_of_class(m, m->layer->class_name, m->config, &a);
    if (status)
        return status;
    if (belongs_to_input(m) && activation_fuse(m, &a, &m->inputs[0]))
        return skip_layer(m, NULL, output);
    if (named && !a.type && a.fused == FV_LINEAR)
        return skip_layer(m, NULL, output);
    if (!a.type)
        a.type = fv_activation_names[a.fused];
    if (a.fused != FV_LINEAR)
        a.constant = 0;
    *output = m->inputs[0];
    return activation_add(m, &a, "", output);
}

/* One slope for each channel, or one for all. */
static fv_status make_prelu(making *m, flow *output) {
    const json_t *axes = json_object_get(m->config, "shared_axes");
    int rank = input_shape(m, 0)->rank;
    unsigned shared = 0, spatial = (2u << rank) - 2, all = (4u << rank) - 2;
    for (size_t i = 0; i < json_array_size(axes); i++) {
        json_int_t axis = json_integer_value(json_array_get(axes, i));
        if (axis >= 1 && axis <= 4)
            shared |= 1u << axis;
    }
    if (shared != spatial && shared != all)
        return fv_fail(FV_UNSUPPORTED,
                       "its slopes differ from place to place; fovea has one for each channel or "
                       "one for all (shared_axes=[1, 2] of pictures)");
    fv_prelu_options o = {.shared = shared == all,
                          .init = init_read(m->config, "alpha_initializer", "")};
    if (o.init.kind == FV_INIT_DEFAULT)
        o.init = (fv_init){FV_INIT_CONSTANT, 0};
    if (o.init.kind == FV_INIT_CONSTANT && o.init.value == 0.25)
        o.init = (fv_init){FV_INIT_DEFAULT, 0};
    return add_weighted(m, "prelu", &o, output);
}

/* ---- Training only --------------------------------------------------------------------------- */

static fv_status make_dropout(making *m, flow *output) {
    fv_dropout_options o = {0};
    const json_t *noise = json_object_get(m->config, "noise_shape");
    bool spatial = strncmp(m->layer->class_name, "Spatial", 7) == 0;
    if (noise && !json_is_null(noise))
        return skip_layer(m, "its noise_shape has no counterpart; it matters in training only",
                          output);
    fv_status status = config_number(m->config, "rate", &o.rate);
    return status ? status : add_plain(m, spatial ? "spatial_dropout" : "dropout", &o, output);
}

static fv_status make_noise(making *m, flow *output) {
    fv_gaussian_noise_options o = {0};
    fv_status status = config_number(m->config, "stddev", &o.deviation);
    return status ? status : add_plain(m, "gaussian_noise", &o, output);
}

static fv_status make_training_only(making *m, flow *output) {
    return skip_layer(m, "it works in training only", output);
}

static fv_status make_identity(making *m, flow *output) {
    return skip_layer(m, NULL, output);
}

static const char gamma_beta[] = "gamma:scale beta:center";

const keras_class norm_classes[] = {
    {"BatchNormalization", ANY_AXES, 1, "gamma:scale beta:center -moving_mean -moving_variance",
     false, false, make_batch_norm},
    {"LayerNormalization", ANY_AXES, 1, gamma_beta, false, false, make_layer_norm},
    {"GroupNormalization", ANY_AXES, 1, gamma_beta, false, false, make_group_norm},
    {"RMSNormalization", ANY_AXES, 1, "scale", false, false, make_rms_norm},
    {"UnitNormalization", ANY_AXES, 1, NULL, false, false, make_unit_norm},
    {"Dropout", ANY_AXES, 1, NULL, false, false, make_dropout},
    {"SpatialDropout1D", 1, 1, NULL, false, false, make_dropout},
    {"SpatialDropout2D", 2, 1, NULL, false, false, make_dropout},
    {"SpatialDropout3D", 3, 1, NULL, false, false, make_dropout},
    {"GaussianNoise", ANY_AXES, 1, NULL, false, false, make_noise},
    {"GaussianDropout", ANY_AXES, 1, NULL, false, false, make_training_only},
    {"AlphaDropout", ANY_AXES, 1, NULL, false, false, make_training_only},
    {"ActivityRegularization", ANY_AXES, 1, NULL, false, false, make_training_only},
    {"RandomFlip", ANY_AXES, 1, NULL, false, false, make_training_only},
    {"RandomRotation", ANY_AXES, 1, NULL, false, false, make_training_only},
    {"RandomZoom", ANY_AXES, 1, NULL, false, false, make_training_only},
    {"RandomTranslation", ANY_AXES, 1, NULL, false, false, make_training_only},
    {"Identity", ANY_AXES, 1, NULL, false, false, make_identity},
    {.name = NULL},
};

const keras_class activation_classes[] = {
    {"Activation", ANY_AXES, 1, NULL, false, false, make_activation},
    {"ReLU", ANY_AXES, 1, NULL, false, false, make_activation},
    {"LeakyReLU", ANY_AXES, 1, NULL, false, false, make_activation},
    {"ELU", ANY_AXES, 1, NULL, false, false, make_activation},
    {"Softmax", ANY_AXES, 1, NULL, false, false, make_activation},
    {"PReLU", ANY_AXES, 1, "alpha", false, false, make_prelu},
    /* keras.ops */
    {"Relu", ANY_AXES, 1, NULL, false, false, make_activation},
    {"Relu6", ANY_AXES, 1, NULL, false, false, make_activation},
    {"LeakyRelu", ANY_AXES, 1, NULL, false, false, make_activation},
    {"Elu", ANY_AXES, 1, NULL, false, false, make_activation},
    {"Selu", ANY_AXES, 1, NULL, false, false, make_activation},
    {"Gelu", ANY_AXES, 1, NULL, false, false, make_activation},
    {"Silu", ANY_AXES, 1, NULL, false, false, make_activation},
    {"Sigmoid", ANY_AXES, 1, NULL, false, false, make_activation},
    {"Tanh", ANY_AXES, 1, NULL, false, false, make_activation},
    {"Softplus", ANY_AXES, 1, NULL, false, false, make_activation},
    {"Softsign", ANY_AXES, 1, NULL, false, false, make_activation},
    {"HardSigmoid", ANY_AXES, 1, NULL, false, false, make_activation},
    {"HardSilu", ANY_AXES, 1, NULL, false, false, make_activation},
    {"LogSoftmax", ANY_AXES, 1, NULL, false, false, make_activation},
    {.name = NULL},
};
