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

static fv_status check_axis(const making *m) {
    int axis;
    fv_status status = config_axis(m->config, -1, &axis);
    return status ? status : check_last_axis(m, axis);
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

/* ---- Scales ---------------------------------------------------------------------------------- */

enum { MOST_SCALES = 4096 };

/* As given, or all of them again where there is one for `count`. */
static void repeat(double *values, int given, int count) {
    for (int i = given; i < count && given == 1; i++)
        values[i] = values[0];
}

/* Whether the input line can hold one value for each of `count` channels. */
static bool input_holds(const making *m, int count) {
    const fv_input_options *o = m->importer->net->nodes[0].options;
    return count <= 4 && (count == 1 || count == o->shape.channels);
}

static bool are_all(const double *values, int count, double wanted) {
    int equal = 0;
    while (equal < count && values[equal] == wanted)
        equal++;
    return equal == count;
}

/* (y scale + offset) / divisor behind the input line's own y = (x s - m) / d: where one factor
 * scales all channels s becomes s scale, m m scale - offset d; else m becomes m - offset d / scale
 * and d d divisor / scale. */
static void fold_into_input(const making *m, const double *scale, const double *offset,
                            const double *divisor, int count) {
    fv_input_options *o = m->importer->net->nodes[0].options;
    int all = count > o->means ? count : o->means;
    all = all > o->deviations ? all : o->deviations;
    bool uniform = are_all(scale, count, scale[0]) && are_all(divisor, count, 1);
    repeat(o->mean, o->means, all);
    repeat(o->deviation, o->deviations, all);
    for (int c = 0; c < all; c++) {
        int i = count > 1 ? c : 0;
        double mean = o->means ? o->mean[c] : 0, deviation = o->deviations ? o->deviation[c] : 1;
        o->mean[c] = uniform ? mean * scale[0] - offset[i] * deviation
                             : mean - offset[i] * deviation / scale[i];
        o->deviation[c] = uniform ? deviation : deviation * divisor[i] / scale[i];
    }
    if (uniform)
        o->scale = (o->scale != 0 ? o->scale : 1) * scale[0];
    o->means = are_all(o->mean, all, 0) ? 0 : all;
    o->deviations = are_all(o->deviation, all, 1) ? 0 : all;
    if (o->scale == 1)
        o->scale = 0;
}

/* y = (x scale + offset) / divisor. */
static fv_status make_scale(making *m, double *scale, double *offset, double *divisor, int count,
                            flow *output) {
    bool positive = true;
    for (int c = 0; c < count; c++)
        positive = positive && scale[c] / divisor[c] > 0 && isfinite(scale[c] / divisor[c]);
    if (m->inputs[0].alone && m->inputs[0].node == 0 && positive && input_holds(m, count)) {
        fold_into_input(m, scale, offset, divisor, count);
        return skip_layer(m, NULL, output);
    }
    for (int c = 0; c < count; c++) {
        scale[c] /= divisor[c];
        offset[c] /= divisor[c];
    }
    *output = m->inputs[0];
    output->readers = m->readers;
    output->alone = false;
    return add_affine(m, scale, offset, count, output);
}

static fv_status make_rescaling(making *m, flow *output) {
    double *scale = fv_alloc(3 * MOST_SCALES, sizeof *scale);
    if (!scale)
        return FV_MEMORY;
    double *offset = scale + MOST_SCALES, *divisor = offset + MOST_SCALES;
    int scales, offsets;
    fv_status status = config_numbers(m->config, "scale", MOST_SCALES, scale, &scales);
    if (!status)
        status = config_numbers(m->config, "offset", MOST_SCALES, offset, &offsets);
    if (!status && (scales == 0 || (scales > 1 && offsets > 1 && scales != offsets)))
        status = fv_fail(FV_FORMAT, "its config has %d scales and %d offsets", scales, offsets);
    int count = !status && offsets > scales ? offsets : scales;
    if (!status) {
        repeat(scale, scales, count);
        repeat(offset, offsets ? offsets : 1, count);
        for (int c = 0; c < count; c++)
            divisor[c] = 1;
        status = make_scale(m, scale, offset, divisor, count, output);
    }
    fv_free(scale);
    return status;
}

/* Statistics that adapt() left among the weights. */
static fv_status read_adapted(making *m, double *mean, double *variance, int *count) {
    array arrays[2] = {{0}, {0}};
    double *const to[2] = {mean, variance};
    fv_status status = FV_OK;
    size_t size[2] = {0, 0};
    for (int i = 0; i < 2 && !status; i++) {
        status = store_read(m->importer->file, m->layer->variables[i], MOST_SCALES, &arrays[i]);
        size[i] = !status;
        for (int a = 0; a < arrays[i].rank && !status; a++)
            size[i] *= arrays[i].size[a];
        for (size_t c = 0; c < size[i]; c++)
            to[i][c] = (double)arrays[i].values[c];
    }
    if (!status && (size[0] != size[1] || size[0] == 0))
        status = fv_fail(FV_FORMAT, "its mean has %zu values, its variance %zu", size[0], size[1]);
    *count = (int)size[0];
    fv_free(arrays[0].values);
    fv_free(arrays[1].values);
    return status;
}

static fv_status read_statistics(making *m, double *mean, double *variance, int *count) {
    int variances;
    if (m->layer->variable_count > 0)
        return read_adapted(m, mean, variance, count);
    fv_status status = config_numbers(m->config, "mean", MOST_SCALES, mean, count);
    if (!status)
        status = config_numbers(m->config, "variance", MOST_SCALES, variance, &variances);
    if (!status && (*count != variances || variances == 0))
        status = fv_fail(FV_FORMAT, "its config has %d means and %d variances", *count, variances);
    return status;
}

/* One mean for each channel (axis -1) or one for all (axis null). */
static fv_status check_normalization(const making *m) {
    bool inverted = false;
    const json_t *axis = json_object_get(m->config, "axis");
    fv_status status = config_bool(m->config, "invert", &inverted);
    if (!status && inverted)
        status = fv_fail(FV_UNSUPPORTED, "its invert=true has no counterpart in fovea");
    if (status || json_is_null(axis) || (json_is_array(axis) && json_array_size(axis) == 0))
        return status;
    return check_axis(m);
}

static fv_status make_normalization(making *m, flow *output) {
    double *mean = fv_alloc(3 * MOST_SCALES, sizeof *mean);
    if (!mean)
        return FV_MEMORY;
    double *variance = mean + MOST_SCALES, *ones = variance + MOST_SCALES;
    int count = 0;
    fv_status status = check_normalization(m);
    if (!status)
        status = read_statistics(m, mean, variance, &count);
    for (int c = 0; c < count && !status; c++) {
        double deviation = sqrt(variance[c]);
        variance[c] = deviation > 1e-7 ? deviation : 1e-7; /* Keras' epsilon */
        mean[c] = -mean[c];
        ones[c] = 1;
    }
    if (!status)
        status = make_scale(m, ones, mean, variance, count, output);
    fv_free(mean);
    return status;
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
    {"Rescaling", ANY_AXES, 1, NULL, false, false, make_rescaling},
    {"Normalization", ANY_AXES, 1, "-mean:!mean -variance:!mean -count:!mean", false, false,
     make_normalization},
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
