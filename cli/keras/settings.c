/* What many classes have in their configs: activations, initialisers, regularisers, constraints.
 * Called by the class files; the initialisers by export_layers.c too. */
#include "keras.h"
#include <ctype.h>
#include <math.h>
#include <string.h>

/* ---- Activations ----------------------------------------------------------------------------- */

static const struct named_activation {
    const char *name;
    keras_activation is;
} named_activations[] = {
    {"linear", {FV_LINEAR, NULL, 0}},
    {"relu", {FV_RELU, NULL, 0}},
    {"sigmoid", {FV_SIGMOID, NULL, 0}},
    {"tanh", {FV_TANH, NULL, 0}},
    {"softmax", {FV_SOFTMAX, NULL, 0}},
    {"relu6", {FV_RELU6, NULL, 0}},
    {"elu", {FV_ELU, NULL, 0}},
    {"selu", {FV_SELU, NULL, 0}},
    {"gelu", {FV_GELU, NULL, 0}},
    {"silu", {FV_SILU, NULL, 0}},
    {"swish", {FV_SILU, NULL, 0}},
    {"mish", {FV_MISH, NULL, 0}},
    {"hard_sigmoid", {FV_HARD_SIGMOID, NULL, 0}},
    {"hard_silu", {FV_HARD_SWISH, NULL, 0}},
    {"hard_swish", {FV_HARD_SWISH, NULL, 0}},
    {"softplus", {FV_SOFTPLUS, NULL, 0}},
    {"softsign", {FV_SOFTSIGN, NULL, 0}},
    {"log_softmax", {FV_LOG_SOFTMAX, NULL, 0}},
    {"leaky_relu", {FV_LINEAR, "leaky_relu", 0.2}},
    {NULL, {FV_LINEAR, NULL, 0}},
};

static fv_status find_named(const making *m, const char *name, keras_activation *a) {
    const struct named_activation *found = named_activations;
    while (found->name && strcmp(found->name, name) != 0)
        found++;
    *a = found->is;
    if (m->importer->keras_2 && strcmp(name, "hard_sigmoid") == 0)
        *a = (keras_activation){FV_LINEAR, "hard_sigmoid", 0.2};
    return found->name
               ? FV_OK
               : fv_fail(FV_UNSUPPORTED, "its activation %.80s has no counterpart in fovea", name);
}

/* A name, a function or a layer. */
static fv_status read_activation(const making *m, const json_t *json, keras_activation *a) {
    *a = (keras_activation){FV_LINEAR, NULL, 0};
    const char *class_name = config_text(json, "class_name");
    const json_t *config = json_object_get(json, "config");
    if (!json || json_is_null(json))
        return FV_OK;
    if (json_is_string(json))
        return find_named(m, json_string_value(json), a);
    if (json_is_string(config)) /* {"class_name": "function", "config": "relu"} */
        return find_named(m, json_string_value(config), a);
    if (class_name && json_is_object(config) && strcmp(class_name, "Activation") != 0)
        return activation_of_class(m, class_name, config, a);
    return fv_fail(FV_UNSUPPORTED, "its activation is no name and no activation layer");
}

fv_status activation_read(const making *m, keras_activation *a) {
    return read_activation(m, json_object_get(m->config, "activation"), a);
}

static fv_status read_relu(const json_t *config, keras_activation *a) {
    double most = NAN, slope = 0, threshold = 0;
    fv_status status = config_number(config, "max_value", &most);
    if (!status)
        status = config_number(config, "negative_slope", &slope);
    if (!status)
        status = config_number(config, "threshold", &threshold);
    if (status)
        return status;
    if (threshold != 0 || (!isnan(most) && most != 6) || (!isnan(most) && slope != 0))
        return fv_fail(FV_UNSUPPORTED,
                       "a ReLU with max_value %g, negative_slope %g and threshold %g: fovea has "
                       "relu, relu6 and leaky_relu",
                       most, slope, threshold);
    *a = !isnan(most) ? (keras_activation){FV_LINEAR, "relu6", 0}
         : slope != 0 ? (keras_activation){FV_LINEAR, "leaky_relu", slope}
                      : (keras_activation){FV_LINEAR, "relu", 0};
    return FV_OK;
}

/* LeakyReLU and ELU: a class with one number, by its names in Keras 3 and 2. */
static fv_status read_constant(const json_t *config, const char *key, const char *old_key,
                               double fallback, const char *type, keras_activation *a) {
    double value = fallback;
    fv_status status = config_number(config, old_key, &value);
    if (!status)
        status = config_number(config, key, &value);
    *a = (keras_activation){FV_LINEAR, type, explicitly(value)};
    return status;
}

static fv_status read_softmax(const making *m, const json_t *config, const char *type,
                              keras_activation *a) {
    int axis;
    *a = (keras_activation){FV_LINEAR, type, 0};
    fv_status status = config_axis(config, -1, &axis);
    return status ? status : check_last_axis(m, axis);
}

static fv_status read_gelu(const json_t *config, keras_activation *a) {
    bool approximate = true;
    fv_status status = config_bool(config, "approximate", &approximate);
    *a = (keras_activation){FV_LINEAR, approximate ? "gelu_tanh" : "gelu", 0};
    return status;
}

fv_status activation_of_class(const making *m, const char *class_name, const json_t *config,
                              keras_activation *a) {
    static const char *const plain[][2] = {
        {"Relu", "relu"},         {"Relu6", "relu6"},         {"Selu", "selu"},
        {"Silu", "silu"},

        {"Sigmoid", "sigmoid"},   {"Tanh", "tanh"},           {"Softplus", "softplus"},
        {"Softsign", "softsign"}, {"HardSilu", "hard_swish"}, {"HardSigmoid", "hard_sigmoid"}};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strcmp(class_name, plain[i][0]) == 0) {
            *a = (keras_activation){FV_LINEAR, plain[i][1], 0};
            return FV_OK;
        }
    if (strcmp(class_name, "ReLU") == 0)
        return read_relu(config, a);
    if (strcmp(class_name, "LeakyReLU") == 0)
        return read_constant(config, "negative_slope", "alpha", 0.3, "leaky_relu", a);
    if (strcmp(class_name, "LeakyRelu") == 0)
        return read_constant(config, "negative_slope", "alpha", 0.2, "leaky_relu", a);
    if (strcmp(class_name, "ELU") == 0 || strcmp(class_name, "Elu") == 0)
        return read_constant(config, "alpha", "alpha", 1, "elu", a);
    if (strcmp(class_name, "Softmax") == 0)
        return read_softmax(m, config, "softmax", a);
    if (strcmp(class_name, "LogSoftmax") == 0)
        return read_softmax(m, config, "log_softmax", a);
    if (strcmp(class_name, "Gelu") == 0)
        return read_gelu(config, a);
    return fv_fail(FV_UNSUPPORTED, "its activation %.80s has no counterpart in fovea", class_name);
}

fv_status activation_add(making *m, const keras_activation *a, const char *suffix, flow *value) {
    if (!a->type)
        return FV_OK;
    /* The options of all three are this one number, see layers/activation.c. */
    fv_elu_options options = {.alpha = a->constant};
    return add_layer(m, a->type, suffix, &value->node, 1, &options, value);
}

/* The number of a layer type among the activations; -1: none. */
static int find_fused(const char *type) {
    for (int i = 0; fv_activation_names[i]; i++)
        if (strcmp(fv_activation_names[i], type) == 0)
            return i;
    return -1;
}

bool activation_fuse(making *m, const keras_activation *a, const flow *value) {
    fv_node *node = &m->importer->net->nodes[value->node];
    const fv_param *param = fv_param_find(node->type->params, "activation");
    int fused = a->type ? find_fused(a->type) : (int)a->fused;
    if (!param || fused < 0 || node->activation != FV_LINEAR || value->readers != 1)
        return false;
    double constant = fv_activation_constant((fv_activation)fused);
    if (a->constant != 0 && a->constant != constant)
        return false;
    memcpy((char *)node->options + param->offset, &fused, sizeof fused);
    node->activation = (fv_activation)fused;
    node->activation_constant = constant;
    return true;
}

/* ---- Initialisers ---------------------------------------------------------------------------- */

/* "glorot_uniform" and "GlorotUniform" as "glorotuniform". */
static void small_letters(const char *text, char small[40]) {
    size_t used = 0;
    for (; *text && used < 39; text++)
        if (isalnum((unsigned char)*text))
            small[used++] = (char)tolower((unsigned char)*text);
    small[used] = 0;
}

static const struct named_init {
    const char *name, *class_name;
    fv_init_kind kind;
    const char *key; /* of its value in the config; NULL: none */
    double fallback;
} named_inits[] = {
    {"glorotuniform", "GlorotUniform", FV_INIT_GLOROT_UNIFORM, NULL, 0},
    {"glorotnormal", "GlorotNormal", FV_INIT_GLOROT_NORMAL, NULL, 0},
    {"heuniform", "HeUniform", FV_INIT_HE_UNIFORM, NULL, 0},
    {"henormal", "HeNormal", FV_INIT_HE_NORMAL, NULL, 0},
    {"lecununiform", "LecunUniform", FV_INIT_LECUN_UNIFORM, NULL, 0},
    {"lecunnormal", "LecunNormal", FV_INIT_LECUN_NORMAL, NULL, 0},
    {"randomnormal", "RandomNormal", FV_INIT_NORMAL, "stddev", 0.05},
    {"truncatednormal", "TruncatedNormal", FV_INIT_TRUNCATED_NORMAL, "stddev", 0.05},
    {"randomuniform", "RandomUniform", FV_INIT_UNIFORM, "maxval", 0.05},
    {"orthogonal", "Orthogonal", FV_INIT_ORTHOGONAL, "gain", 1},
    {"constant", "Constant", FV_INIT_CONSTANT, "value", 0},
    {"zeros", "Zeros", FV_INIT_CONSTANT, NULL, 0},
    {"ones", "Ones", FV_INIT_CONSTANT, NULL, 1},
};

/* Keras' VarianceScaling: its numbers for those of ours that have no class there. */
static const struct scaling {
    fv_init_kind kind;
    double scale;
    const char *mode, *distribution;
} scalings[] = {
    {FV_INIT_KAIMING_NORMAL, 2, "fan_in", "untruncated_normal"},
    {FV_INIT_KAIMING_NORMAL_OUT, 2, "fan_out", "untruncated_normal"},
    {FV_INIT_FAN_IN_UNIFORM, 1.0 / 3, "fan_in", "uniform"},
};

static fv_init read_scaling(const json_t *config) {
    const char *mode = config_text(config, "mode");
    const char *distribution = config_text(config, "distribution");
    double scale = json_number_value(json_object_get(config, "scale"));
    for (size_t i = 0; mode && distribution && i < sizeof scalings / sizeof *scalings; i++)
        if (scalings[i].scale == scale && strcmp(scalings[i].mode, mode) == 0 &&
            strcmp(scalings[i].distribution, distribution) == 0)
            return (fv_init){.kind = scalings[i].kind};
    return (fv_init){FV_INIT_DEFAULT, 0};
}

fv_init init_read(const json_t *config, const char *key, const char *usual) {
    const json_t *json = json_object_get(config, key);
    const char *name =
        json_is_string(json) ? json_string_value(json) : config_text(json, "class_name");
    const json_t *own = json_object_get(json, "config");
    char small[40];
    small_letters(name ? name : "", small);
    if (!name || strcmp(small, usual) == 0)
        return (fv_init){FV_INIT_DEFAULT, 0};
    if (strcmp(small, "variancescaling") == 0)
        return read_scaling(own);
    for (size_t i = 0; i < sizeof named_inits / sizeof *named_inits; i++) {
        const struct named_init *known = &named_inits[i];
        if (strcmp(small, known->name) != 0)
            continue;
        const json_t *value = known->key ? json_object_get(own, known->key) : NULL;
        double given = json_is_number(value) ? json_number_value(value) : known->fallback;
        return (fv_init){known->kind, isfinite(given) && fabs(given) <= 1e6 ? given : 0};
    }
    return (fv_init){FV_INIT_DEFAULT, 0};
}

static json_t *init_object(const char *class_name, json_t *config) {
    return json_pack("{s:s, s:s, s:o, s:n}", "module", "keras.initializers", "class_name",
                     class_name, "config", config, "registered_name");
}

json_t *init_write(fv_init init, const char *usual) {
    for (size_t i = 0; i < sizeof scalings / sizeof *scalings; i++)
        if (scalings[i].kind == init.kind)
            return init_object("VarianceScaling",
                               json_pack("{s:f, s:s, s:s}", "scale", scalings[i].scale, "mode",
                                         scalings[i].mode, "distribution",
                                         scalings[i].distribution));
    for (size_t i = 0; i < sizeof named_inits / sizeof *named_inits; i++) {
        const struct named_init *known = &named_inits[i];
        bool found = init.kind == FV_INIT_DEFAULT || init.kind == FV_INIT_SIGN
                         ? strcmp(known->name, usual) == 0
                         : known->kind == init.kind;
        if (!found)
            continue;
        json_t *config = json_object();
        double value = init.kind == FV_INIT_ORTHOGONAL && init.value == 0 ? 1 : init.value;
        if (known->key && config)
            json_object_set_new(config, known->key, json_real(value));
        if (known->kind == FV_INIT_UNIFORM && config)
            json_object_set_new(config, "minval", json_real(-value));
        return init_object(known->class_name, config);
    }
    return NULL;
}

/* ---- How weights learn ----------------------------------------------------------------------- */

/* L1, L2, L1L2; false: another one. */
static bool read_penalty(const json_t *json, fv_tuning *tuning) {
    const char *name = config_text(json, "class_name");
    const json_t *config = json_object_get(json, "config");
    bool known =
        name && (strcmp(name, "L1") == 0 || strcmp(name, "L2") == 0 || strcmp(name, "L1L2") == 0);
    double l1 = json_number_value(json_object_get(config, "l1"));
    double l2 = json_number_value(json_object_get(config, "l2"));
    if (!known || !(l1 >= 0 && l1 <= 1e6 && l2 >= 0 && l2 <= 1e6))
        return false;
    tuning->l1 = l1;
    tuning->l2 = l2;
    return true;
}

/* MaxNorm along all axes but the last, where the outputs lie; false: another constraint. */
static bool read_max_norm(const making *m, const json_t *json, fv_tuning *tuning) {
    const char *name = config_text(json, "class_name");
    const json_t *config = json_object_get(json, "config"), *axis = json_object_get(config, "axis");
    double most = json_number_value(json_object_get(config, "max_value"));
    int inputs = strcmp(m->layer->class_name, "Dense") == 0 ? 1 : m->axes + 1;
    bool fits = json_is_array(axis) ? json_array_size(axis) == (size_t)inputs : inputs == 1;
    for (int i = 0; i < inputs && fits; i++)
        fits =
            json_integer_value(json_is_array(axis) ? json_array_get(axis, (size_t)i) : axis) == i;
    if (!name || strcmp(name, "MaxNorm") != 0 || !fits || !(most > 0 && most <= 1e6))
        return false;
    tuning->max_norm = most;
    return true;
}

static bool has_ending(const char *text, const char *ending) {
    size_t size = strlen(text), tail = strlen(ending);
    return size >= tail && strcmp(text + size - tail, ending) == 0;
}

fv_status tuning_read(const making *m, int node) {
    fv_tuning tuning = {.freeze = !m->layer->trainable};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)m->config, key, value) {
        bool penalty = has_ending(key, "_regularizer"), limit = has_ending(key, "_constraint");
        if (json_is_null(value) || !(penalty || limit))
            continue;
        bool own = strncmp(key, "kernel_", 7) == 0;
        if (!own || !(penalty ? read_penalty(value, &tuning) : read_max_norm(m, value, &tuning)))
            note("layer %s (%s): its %s is left out; it matters in training only", m->layer->name,
                 m->layer->class_name, key);
    }
    bool any = tuning.freeze || tuning.l1 > 0 || tuning.l2 > 0 || tuning.max_norm > 0;
    return any ? fv_tune(m->importer->net, node, &tuning) : FV_OK;
}
