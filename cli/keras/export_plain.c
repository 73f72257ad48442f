/* All other layer types as layers and functions of Keras. Called by export.c. */
#include "export.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* ---- The input: InputLayer, Rescaling, Normalization ----------------------------------------- */

/* Means (power 1) or variances (power 2) of so many channels; without values 0 or 1. */
static json_t *numbers_json(const double *values, int count, int channels, int power) {
    json_t *list = json_array();
    for (int i = 0; i < channels; i++) {
        double value = count == 0 ? power - 1 : values[count > 1 ? i : 0];
        json_array_append_new(list, json_real(power == 2 ? value * value : value));
    }
    return list;
}

static json_t *batch_shape(const fv_shape *shape) {
    json_t *list = json_pack("[n]");
    for (int i = 0; i < shape->rank; i++)
        json_array_append_new(list, shape->size[i] == FV_ANY ? json_null()
                                                             : json_integer(shape->size[i]));
    json_array_append_new(list, json_integer(shape->channels));
    return list;
}

static bool are_all(const double *values, int count, double wanted) {
    int equal = 0;
    while (equal < count && values[equal] == wanted)
        equal++;
    return equal == count;
}

/* (x - mean) / deviation: the square root of a square is exact. */
static fv_status emit_normalization(writing *w, tensor *value) {
    const fv_input_options *o = w->node->options;
    bool each = o->means > 1 || o->deviations > 1;
    int channels = each ? value->shape.channels : 1;
    json_t *mean = numbers_json(o->mean, o->means, channels, 1);
    json_t *variance = numbers_json(o->deviation, o->deviations, channels, 2);
    json_t *config =
        json_pack("{s:o, s:b, s:o, s:o}", "axis", each ? json_pack("[i]", -1) : json_array(),
                  "invert", 0, "mean", json_incref(each ? mean : json_array_get(mean, 0)),
                  "variance", json_incref(each ? variance : json_array_get(variance, 0)));
    json_decref(mean);
    json_decref(variance);
    return emit(w, &(layer_text){.class_name = "Normalization", .suffix = ".normalize"}, config,
                value, 1, &value->shape, value);
}

static fv_status write_input(writing *w, tensor *output) {
    const fv_input_options *o = w->node->options;
    const fv_shape *shape = &w->node->output;
    fv_status status = emit(
        w, &(layer_text){.class_name = "InputLayer"},
        json_pack("{s:o, s:b, s:b}", "batch_shape", batch_shape(shape), "sparse", 0, "optional", 0),
        NULL, 0, shape, output);
    w->exporter->input = *output;
    if (!status && o->scale != 0 && o->scale != 1)
        status = emit(w, &(layer_text){.class_name = "Rescaling", .suffix = ".scale"},
                      json_pack("{s:f, s:f}", "scale", o->scale, "offset", 0.0), output, 1, shape,
                      output);
    bool plain = are_all(o->mean, o->means, 0) && are_all(o->deviation, o->deviations, 1);
    return status || plain ? status : emit_normalization(w, output);
}

/* ---- Activations ----------------------------------------------------------------------------- */

const char *activation_name(fv_activation activation) {
    switch (activation) {
    case FV_LEAKY_RELU: /* whose slope is another */
    case FV_GELU_TANH:
    case FV_SCALED_TANH:
        return NULL;
    case FV_HARD_SWISH:
        return "hard_silu";
    default:
        return fv_activation_names[activation];
    }
}

/* One as a layer of its own, with its slope or alpha. */
static fv_status emit_activation_layer(writing *w, fv_activation activation, double constant,
                                       const char *suffix, tensor *value) {
    layer_text text = {.class_name = "Activation", .suffix = suffix};
    json_t *config = NULL;
    switch (activation) {
    case FV_RELU:
    case FV_RELU6:
        text.class_name = "ReLU";
        config =
            json_pack("{s:o}", "max_value", activation == FV_RELU6 ? json_real(6) : json_null());
        break;
    case FV_LEAKY_RELU:
        text.class_name = "LeakyReLU";
        config = json_pack("{s:f}", "negative_slope", constant);
        break;
    case FV_ELU:
        text.class_name = "ELU";
        config = json_pack("{s:f}", "alpha", constant);
        break;
    case FV_SOFTMAX:
        text.class_name = "Softmax";
        config = json_pack("{s:i}", "axis", -1);
        break;
    case FV_GELU_TANH:
        text.class_name = "Gelu";
        text.operation = "nn";
        config = json_pack("{s:b}", "approximate", 1);
        break;
    case FV_SCALED_TANH:
        return cannot("Keras has no scaled tanh");
    case FV_HARD_SIGMOID:
        if (constant != fv_activation_constant(FV_HARD_SIGMOID))
            return cannot("Keras' hard_sigmoid has the slope 1/6, this one %g", constant);
        /* fall through */
    default:
        config = json_pack("{s:s}", "activation", activation_name(activation));
    }
    return emit(w, &text, config, value, 1, &value->shape, value);
}

fv_status emit_activation(writing *w, fv_activation activation, tensor *value) {
    return emit_activation_layer(w, activation, fv_activation_constant(activation), ".activation",
                                 value);
}

/* relu, sigmoid, elu ...: the node's activation is the layer. */
static fv_status write_activation(writing *w, tensor *output) {
    *output = w->inputs[0];
    return emit_activation_layer(w, w->node->activation, w->node->activation_constant, "", output);
}

/* The activation of a layer that has none in Keras. */
static fv_status finish(writing *w, fv_status status, fv_activation activation, tensor *output) {
    return status || activation == FV_LINEAR ? status : emit_activation(w, activation, output);
}

static fv_status write_prelu(writing *w, tensor *output) {
    const fv_prelu_options *o = w->node->options;
    int rank = w->node->output.rank, shared = o->shared ? rank + 1 : rank;
    size_t sizes[FV_MAX_RANK];
    json_t *axes = shared > 0 ? json_array() : json_null();
    for (int i = 0; i < shared; i++)
        json_array_append_new(axes, json_integer(i + 1));
    for (int i = 0; i < rank; i++)
        sizes[i] = 1;
    sizes[rank] = w->node->weights[0].count;
    fv_init init = o->init.kind ? o->init : (fv_init){FV_INIT_CONSTANT, 0.25};
    fv_status status = emit_plain(w, "PReLU", 0,
                                  json_pack("{s:o, s:o}", "shared_axes", axes, "alpha_initializer",
                                            init_write(init, "constant")),
                                  output);
    return status ? status : emit_weight(w, 0, rank + 1, sizes);
}

/* ---- How weights learn ----------------------------------------------------------------------- */

static void set_with(json_t *config, const char *prefix, const char *what, json_t *value) {
    char key[64];
    snprintf(key, sizeof key, "%s_%s", prefix, what);
    json_object_set_new(config, key, value);
}

void add_tuning(const writing *w, const char *prefix, int axes, json_t *config) {
    const fv_tuning *t = &w->node->tuning;
    const fv_train_options *train = &w->exporter->net->train;
    double l1 = t->l1 > 0 ? t->l1 : train->l1, l2 = t->l2 > 0 ? t->l2 : train->l2;
    if (l1 > 0 || l2 > 0)
        set_with(config, prefix, "regularizer",
                 json_pack("{s:s, s:s, s:{s:f, s:f}, s:n}", "module", "keras.regularizers",
                           "class_name", "L1L2", "config", "l1", l1, "l2", l2, "registered_name"));
    if (t->lr != 0 || t->bias_lr != 0 || t->no_decay || t->no_bias_decay ||
        (t->max_norm > 0 && axes == 0))
        note("layer %s: some of how its weights learn (lr, decay, max_norm) is left out; Keras has "
             "it not by layer",
             w->node->name);
    if (t->max_norm <= 0 || axes == 0)
        return;
    json_t *list = json_array();
    for (int i = 0; i < axes; i++)
        json_array_append_new(list, json_integer(i));
    set_with(config, prefix, "constraint",
             json_pack("{s:s, s:s, s:{s:f, s:o}, s:n}", "module", "keras.constraints", "class_name",
                       "MaxNorm", "config", "max_value", t->max_norm, "axis", list,
                       "registered_name"));
}

/* ---- Normalisations -------------------------------------------------------------------------- */

static double either(double given, double fallback) {
    return given != 0 ? given : fallback;
}

/* batch_norm's by formula: see fv_batch_norm_options. */
static fv_status write_batch_norm(writing *w, tensor *output) {
    static const double momenta[] = {0.99, 0.9, 0.9, 0.999};
    const fv_batch_norm_options *o = w->node->options;
    json_t *config =
        json_pack("{s:i, s:f, s:f, s:b, s:b, s:o, s:o}", "axis", -1, "momentum",
                  either(o->momentum, momenta[o->formula]), "epsilon",
                  either(o->epsilon, o->formula == FV_KERAS ? 1e-3 : 1e-5), "center", !o->no_bias,
                  "scale", !o->no_scale, "gamma_initializer", init_write(o->init, "ones"),
                  "beta_initializer", init_write(o->bias_init, "zeros"));
    fv_status status = emit_plain(w, "BatchNormalization", 0, config, output);
    if (!status)
        status = emit_weights(w);
    return finish(w, status, o->activation, output);
}

/* Takes `axis` over. */
static json_t *norm_config(json_t *axis, double epsilon, fv_formula formula, bool no_scale,
                           bool no_bias) {
    return json_pack("{s:o, s:f, s:b, s:b}", "axis", axis, "epsilon",
                     either(epsilon, formula == FV_KERAS ? 1e-3 : 1e-5), "center", !no_bias,
                     "scale", !no_scale);
}

static fv_status write_layer_norm(writing *w, tensor *output) {
    const fv_layer_norm_options *o = w->node->options;
    json_t *axis = o->all ? json_array() : json_pack("[i]", -1);
    for (int i = 0; i <= w->node->output.rank && o->all; i++)
        json_array_append_new(axis, json_integer(i + 1));
    fv_status status =
        emit_plain(w, "LayerNormalization", 0,
                   norm_config(axis, o->epsilon, o->formula, o->no_scale, o->no_bias), output);
    return status ? status : emit_weights(w);
}

static fv_status emit_group_norm(writing *w, json_t *config, int groups, tensor *output) {
    json_object_set_new(config, "groups", json_integer(groups));
    fv_status status = emit_plain(w, "GroupNormalization", 0, config, output);
    return status ? status : emit_weights(w);
}

static fv_status write_group_norm(writing *w, tensor *output) {
    const fv_group_norm_options *o = w->node->options;
    return emit_group_norm(
        w, norm_config(json_integer(-1), o->epsilon, o->formula, o->no_scale, o->no_bias),
        o->groups ? o->groups : 32, output);
}

static fv_status write_instance_norm(writing *w, tensor *output) {
    const fv_instance_norm_options *o = w->node->options;
    return emit_group_norm(
        w, norm_config(json_integer(-1), o->epsilon, o->formula, o->no_scale, o->no_bias), -1,
        output);
}

/* Its scale is always there in Keras. */
static fv_status write_rms_norm(writing *w, tensor *output) {
    const fv_rms_norm_options *o = w->node->options;
    size_t channels = (size_t)w->node->output.channels;
    fv_status status = emit_plain(
        w, "RMSNormalization", 0,
        json_pack("{s:i, s:f}", "axis", -1, "epsilon", either(o->epsilon, 1e-6)), output);
    if (status || !o->no_scale)
        return status ? status : emit_weights(w);
    return emit_weight(w, -1, 1, &channels);
}

static fv_status write_l2_normalize(writing *w, tensor *output) {
    const fv_l2_normalize_options *o = w->node->options;
    if (o->epsilon != 0 && o->epsilon != 1e-12)
        return cannot("Keras' UnitNormalization has the epsilon 1e-12, this one %g", o->epsilon);
    return emit_plain(w, "UnitNormalization", 0, json_pack("{s:i}", "axis", -1), output);
}

/* ---- Training only --------------------------------------------------------------------------- */

static fv_status write_dropout(writing *w, tensor *output) {
    const fv_dropout_options *o = w->node->options;
    return emit_plain(w, "Dropout", 0, json_pack("{s:f}", "rate", o->rate), output);
}

static fv_status write_spatial_dropout(writing *w, tensor *output) {
    const fv_dropout_options *o = w->node->options;
    int rank = w->node->output.rank;
    return emit_plain(w, rank ? "SpatialDropout" : "Dropout", rank,
                      json_pack("{s:f}", "rate", o->rate), output);
}

static fv_status write_noise(writing *w, tensor *output) {
    const fv_gaussian_noise_options *o = w->node->options;
    return emit_plain(w, "GaussianNoise", 0, json_pack("{s:f}", "stddev", o->deviation), output);
}

/* ---- Shapes ---------------------------------------------------------------------------------- */

static fv_status write_flatten(writing *w, tensor *output) {
    return emit_plain(w, "Flatten", 0, json_pack("{s:s}", "data_format", "channels_last"), output);
}

static fv_status write_reshape(writing *w, tensor *output) {
    const fv_shape *shape = &((const fv_reshape_options *)w->node->options)->shape;
    json_t *target = json_array();
    for (int i = 0; i < shape->rank; i++)
        json_array_append_new(target, json_integer(shape->size[i] == FV_ANY ? -1 : shape->size[i]));
    json_array_append_new(target, json_integer(shape->channels));
    return emit_plain(w, "Reshape", 0, json_pack("{s:o}", "target_shape", target), output);
}

static fv_status write_permute(writing *w, tensor *output) {
    const fv_permute_options *o = w->node->options;
    json_t *axes = json_array();
    for (int i = 0; i < o->count; i++)
        json_array_append_new(axes, json_integer((json_int_t)o->axes[i]));
    return emit_plain(w, "Permute", 0, json_pack("{s:o}", "dims", axes), output);
}

static fv_status write_pad(writing *w, tensor *output) {
    const fv_pad_options *o = w->node->options;
    const int channels[2] = {o->channels_before, o->channels_after};
    int axes = w->inputs[0].shape.rank, pads[3][2];
    memcpy(pads, o->pad, sizeof pads);
    if (o->mode == FV_PAD_REPLICATE)
        return cannot("Keras has no padding with the outermost cells (mode=replicate)");
    if (o->mode == FV_PAD_REFLECT || o->value != 0 || channels[0] || channels[1])
        return emit_pad(w, "", pads, channels, o->mode == FV_PAD_REFLECT ? "reflect" : "constant",
                        o->value, w->inputs, output);
    json_t *list = pads_json(pads, axes);
    json_t *own = axes == 1 ? json_incref(json_array_get(list, 0)) : json_incref(list);
    json_decref(list);
    return emit_plain(w, "ZeroPadding", axes, json_pack("{s:o}", "padding", own), output);
}

static fv_status write_crop(writing *w, tensor *output) {
    const fv_crop_options *o = w->node->options;
    int axes = w->inputs[0].shape.rank, crops[3][2];
    memcpy(crops, o->crop, sizeof crops);
    json_t *list = pads_json(crops, axes);
    json_t *own = axes == 1 ? json_incref(json_array_get(list, 0)) : json_incref(list);
    json_decref(list);
    return emit_plain(w, "Cropping", axes, json_pack("{s:o}", "cropping", own), output);
}

static json_t *slice_json(json_t *start, json_t *stop) {
    return json_pack("{s:s, s:{s:o, s:o, s:n}}", "class_name", "__slice__", "config", "start",
                     start, "stop", stop, "step");
}

/* x[..., begin:end], or x[:, :, begin:end]. */
static fv_status write_slice(writing *w, tensor *output) {
    const fv_slice_options *o = w->node->options;
    json_t *key = json_array();
    for (int i = 0; i < o->axis; i++)
        json_array_append_new(key, slice_json(json_null(), json_null()));
    if (o->axis == 0)
        json_array_append_new(key,
                              json_pack("{s:s, s:{}}", "class_name", "__ellipsis__", "config"));
    json_array_append_new(
        key, slice_json(json_integer(o->begin), o->end ? json_integer(o->end) : json_null()));
    return emit(w, &(layer_text){.class_name = "GetItem", .operation = "numpy", .argument = key},
                json_object(), w->inputs, 1, &w->node->output, output);
}

static fv_status write_upsample(writing *w, tensor *output) {
    const fv_upsample_options *o = w->node->options;
    const fv_shape *in = &w->inputs[0].shape, *out = &w->node->output;
    int factor[3] = {1, 1, 1};
    for (int i = 0; i < in->rank; i++) {
        bool known = in->size[i] != FV_ANY && out->size[i] != FV_ANY;
        factor[i] = o->factor[0] ? fv_size_at(o->factor, i, 1)
                    : known      ? out->size[i] / in->size[i]
                                 : 0;
        if (factor[i] < 1 || (known && factor[i] * in->size[i] != out->size[i]))
            return cannot("Keras enlarges by whole factors only");
    }
    bool linear = o->mode == FV_RESIZE_BILINEAR;
    if (linear && (in->rank != 2 || o->align_corners))
        return cannot("Keras has bilinear enlargement of pictures only, without align_corners");
    json_t *size = in->rank == 1 ? json_integer(factor[0]) : sizes_json(factor, in->rank, 1);
    json_t *config = json_pack("{s:o}", "size", size);
    if (in->rank == 2)
        json_object_set_new(config, "interpolation", json_string(linear ? "bilinear" : "nearest"));
    return emit_plain(w, "UpSampling", in->rank, config, output);
}

static fv_status write_depth(writing *w, const char *class_name, tensor *output) {
    const fv_depth_options *o = w->node->options;
    if (w->inputs[0].shape.rank != 2 || (o->order != FV_DEPTH_FIRST && o->block > 1))
        return cannot("Keras has it of pictures only, with order=depth_first");
    return emit(w, &(layer_text){.class_name = class_name, .operation = "nn"},
                json_pack("{s:i, s:s}", "block_size", o->block, "data_format", "channels_last"),
                w->inputs, 1, &w->node->output, output);
}

static fv_status write_depth_to_space(writing *w, tensor *output) {
    return write_depth(w, "DepthToSpace", output);
}

static fv_status write_space_to_depth(writing *w, tensor *output) {
    return write_depth(w, "SpaceToDepth", output);
}

/* ---- Several inputs -------------------------------------------------------------------------- */

/* A constant is written by its readers. */
static fv_status write_constant(writing *w, tensor *output) {
    *output = (tensor){.shape = w->node->output};
    return w->node->output.rank == 0 ? FV_OK : cannot("Keras has no constants but vectors");
}

/* A product or sum with a constant vector as a Rescaling layer; the other input is `other`. */
static fv_status emit_rescaling(writing *w, int constant, int other, bool product, tensor *output) {
    const fv_net *net = w->exporter->net;
    int node = w->node->inputs[constant], index = 0;
    for (int n = 0; n < node; n++)
        index += net->nodes[n].weight_count;
    size_t count = net->nodes[node].weights[0].count;
    float *values = fv_alloc(count, sizeof *values);
    json_t *list = json_array();
    fv_status status = values ? fv_get_weight(net, index, values) : FV_MEMORY;
    for (size_t i = 0; i < count && !status; i++)
        json_array_append_new(list, json_real((double)values[i]));
    fv_free(values);
    if (!status)
        status = emit(w, &(layer_text){.class_name = "Rescaling"},
                      json_pack("{s:o, s:o}", "scale", product ? json_incref(list) : json_real(1),
                                "offset", product ? json_real(0) : json_incref(list)),
                      &w->inputs[other], 1, &w->node->output, output);
    json_decref(list);
    return status;
}

static fv_status write_join(writing *w, const char *class_name, tensor *output) {
    const fv_join_options *o = w->node->options;
    int count = w->node->input_count, constants = 0, constant = 0;
    for (int i = 0; i < count; i++)
        if (!w->inputs[i].name[0]) {
            constants++;
            constant = i;
        }
    bool rescales = constants == 1 && count == 2 && strcmp(class_name, "Maximum") != 0 &&
                    w->inputs[constant].shape.channels == w->inputs[1 - constant].shape.channels;
    if (constants > 0 && !rescales)
        return cannot("Keras has no constants but in a product or sum with one other layer");
    fv_status status = rescales ? emit_rescaling(w, constant, 1 - constant,
                                                 strcmp(class_name, "Multiply") == 0, output)
                                : emit(w, &(layer_text){.class_name = class_name}, json_object(),
                                       w->inputs, count, &w->node->output, output);
    return finish(w, status, o->activation, output);
}

static fv_status write_add(writing *w, tensor *output) {
    return write_join(w, "Add", output);
}

static fv_status write_multiply(writing *w, tensor *output) {
    return write_join(w, "Multiply", output);
}

static fv_status write_maximum(writing *w, tensor *output) {
    return write_join(w, "Maximum", output);
}

static fv_status write_concat(writing *w, tensor *output) {
    const fv_concat_options *o = w->node->options;
    return emit(w, &(layer_text){.class_name = "Concatenate"},
                json_pack("{s:i}", "axis", o->axis ? o->axis : -1), w->inputs, w->node->input_count,
                &w->node->output, output);
}

const export_type export_plain_types[] = {{"input", write_input, false},
                                          {"relu", write_activation, false},
                                          {"sigmoid", write_activation, false},
                                          {"tanh", write_activation, false},
                                          {"softmax", write_activation, false},
                                          {"relu6", write_activation, false},
                                          {"leaky_relu", write_activation, false},
                                          {"elu", write_activation, false},
                                          {"selu", write_activation, false},
                                          {"gelu", write_activation, false},
                                          {"gelu_tanh", write_activation, false},
                                          {"silu", write_activation, false},
                                          {"mish", write_activation, false},
                                          {"hard_sigmoid", write_activation, false},
                                          {"hard_swish", write_activation, false},
                                          {"softplus", write_activation, false},
                                          {"softsign", write_activation, false},
                                          {"scaled_tanh", write_activation, false},
                                          {"log_softmax", write_activation, false},
                                          {"prelu", write_prelu, false},
                                          {"batch_norm", write_batch_norm, false},
                                          {"layer_norm", write_layer_norm, false},
                                          {"group_norm", write_group_norm, false},
                                          {"instance_norm", write_instance_norm, false},
                                          {"rms_norm", write_rms_norm, false},
                                          {"l2_normalize", write_l2_normalize, false},
                                          {"dropout", write_dropout, false},
                                          {"spatial_dropout", write_spatial_dropout, false},
                                          {"gaussian_noise", write_noise, false},
                                          {"flatten", write_flatten, false},
                                          {"reshape", write_reshape, false},
                                          {"permute", write_permute, false},
                                          {"pad", write_pad, false},
                                          {"crop", write_crop, false},
                                          {"slice", write_slice, false},
                                          {"upsample", write_upsample, false},
                                          {"depth_to_space", write_depth_to_space, false},
                                          {"space_to_depth", write_space_to_depth, false},
                                          {"constant", write_constant, false},
                                          {"add", write_add, true},
                                          {"multiply", write_multiply, true},
                                          {"maximum", write_maximum, false},
                                          {"concat", write_concat, false},
                                          {.name = NULL}};
