/* A net from an ONNX model (opset 6 to 28): finds out which values are constants and which nodes
 * the outputs need, has each node imported by the function that the table names, and reads the net
 * from the draft's text. Weights that lie in the file as a layer wants them stay there. The public
 * fv_net_load. */
#include "formats/onnx/import.h"
#include "base/text.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#ifdef FV_HAVE_ONNX

enum { LAST_IR = 14, FIRST_OPSET = 6, LAST_OPSET = 28 };

/* ---- Operators ------------------------------------------------------------------------------ */

enum { ANY = INT_MAX };

typedef struct known_operator {
    const char *op;
    fv_onnx_operator *import;
    size_t inputs; /* at most */
} known_operator;

static const known_operator operators[] = {
    {"Conv", fv_onnx_conv, 3},
    {"ConvTranspose", fv_onnx_conv_transpose, 3},
    {"Gemm", fv_onnx_gemm, 3},
    {"MatMul", fv_onnx_matmul, 2},
    {"MaxPool", fv_onnx_max_pool, 1},
    {"AveragePool", fv_onnx_average_pool, 1},
    {"GlobalMaxPool", fv_onnx_global_max_pool, 1},
    {"GlobalAveragePool", fv_onnx_global_average_pool, 1},
    {"ReduceMean", fv_onnx_reduce_mean, 2},
    {"ReduceSum", fv_onnx_reduce_sum, 2},
    {"ReduceMax", fv_onnx_reduce_max, 2},
    {"BatchNormalization", fv_onnx_batch_norm, 5},
    {"InstanceNormalization", fv_onnx_instance_norm, 3},
    {"LayerNormalization", fv_onnx_layer_norm, 3},
    {"GroupNormalization", fv_onnx_group_norm, 3},
    {"RMSNormalization", fv_onnx_rms_norm, 2},
    {"LRN", fv_onnx_lrn, 1},
    {"LpNormalization", fv_onnx_lp_norm, 1},
    {"Relu", fv_onnx_activation, 1},
    {"Sigmoid", fv_onnx_activation, 1},
    {"Tanh", fv_onnx_activation, 1},
    {"LeakyRelu", fv_onnx_activation, 1},
    {"Elu", fv_onnx_activation, 1},
    {"Selu", fv_onnx_activation, 1},
    {"HardSigmoid", fv_onnx_activation, 1},
    {"HardSwish", fv_onnx_activation, 1},
    {"Mish", fv_onnx_activation, 1},
    {"Softplus", fv_onnx_activation, 1},
    {"Softsign", fv_onnx_activation, 1},
    {"Gelu", fv_onnx_gelu, 1},
    {"Swish", fv_onnx_swish, 1},
    {"Celu", fv_onnx_celu, 1},
    {"PRelu", fv_onnx_prelu, 2},
    {"Clip", fv_onnx_clip, 3},
    {"Softmax", fv_onnx_softmax, 1},
    {"LogSoftmax", fv_onnx_softmax, 1},
    {"Add", fv_onnx_sum, 2},
    {"Sum", fv_onnx_sum, ANY},
    {"Sub", fv_onnx_subtract, 2},
    {"Mul", fv_onnx_multiply, 2},
    {"Div", fv_onnx_divide, 2},
    {"Max", fv_onnx_maximum, ANY},
    {"Min", fv_onnx_minimum, ANY},
    {"Mean", fv_onnx_mean, ANY},
    {"Neg", fv_onnx_negate, 1},
    {"Abs", fv_onnx_absolute, 1},
    {"Pow", fv_onnx_power, 2},
    {"Identity", fv_onnx_same, 1},
    {"Cast", fv_onnx_same, 1},
    {"Dropout", fv_onnx_same, 3},
    {"Flatten", fv_onnx_flatten, 1},
    {"Reshape", fv_onnx_reshape_node, 2},
    {"Transpose", fv_onnx_transpose_node, 1},
    {"Squeeze", fv_onnx_squeeze, 2},
    {"Unsqueeze", fv_onnx_unsqueeze, 2},
    {"Expand", fv_onnx_expand, 2},
    {"Concat", fv_onnx_concat, ANY},
    {"Split", fv_onnx_split, 2},
    {"Slice", fv_onnx_slice, 5},
    {"Gather", fv_onnx_gather, 2},
    {"Pad", fv_onnx_pad, 4},
    {"Resize", fv_onnx_resize, 4},
    {"Upsample", fv_onnx_upsample, 2},
    {"DepthToSpace", fv_onnx_depth_to_space, 1},
    {"SpaceToDepth", fv_onnx_space_to_depth, 1},
};

static const known_operator *find_operator(const fv_onnx_node *node) {
    for (size_t i = 0; fv_onnx_is_standard(node) && i < sizeof operators / sizeof operators[0]; i++)
        if (strcmp(operators[i].op, node->op) == 0)
            return &operators[i];
    return NULL;
}

static fv_status import_node(fv_onnx_import *im) {
    const fv_onnx_node *node = im->node;
    bool done = false;
    for (size_t i = 0; i < node->input_count; i++) {
        const fv_onnx_value *in = fv_onnx_in(im, i);
        if (in && in->kind == FV_VALUE_UNKNOWN)
            return fv_fail(FV_FORMAT,
                           "it reads \"%.100s\" before a node gives it: the nodes are in no order, "
                           "or run in a circle",
                           in->name);
    }
    if (!fv_onnx_out(im, 0))
        return fv_fail(FV_FORMAT, "its first output is left out");
    if (fv_onnx_integer(im, "broadcast", 0) != 0)
        return fv_fail(FV_UNSUPPORTED, "it broadcasts as operator sets up to 6 did");
    fv_status status = fv_onnx_fold(im, &done);
    if (status == FV_OK && !done)
        status = fv_onnx_find_pattern(im, &done);
    if (status != FV_OK || done)
        return status;
    const known_operator *found = find_operator(node);
    if (!found)
        return fv_fail(FV_UNSUPPORTED, "there is no layer for this operator%s%.60s",
                       node->domain[0] ? " of " : "", node->domain);
    if (node->input_count > found->inputs)
        return fv_fail(FV_FORMAT, "it has %zu inputs, at most %zu are possible", node->input_count,
                       found->inputs);
    return found->import(im);
}

/* ---- Values --------------------------------------------------------------------------------- */

/* A new value; -1 and a message where there is one of that name. */
static int add_value(fv_onnx_import *im, const char *name, int producer) {
    if (fv_lookup_find(&im->names, name) >= 0) {
        fv_fail(FV_FORMAT, "two values are called \"%.100s\"", name);
        return -1;
    }
    if (fv_lookup_add(&im->names, name, im->value_count) != FV_OK)
        return -1;
    im->values[im->value_count] = (fv_onnx_value){.name = name, .producer = producer, .reader = -1};
    return im->value_count++;
}

/* The one input that is no initialiser with a value to change; those have their names by now. */
static fv_status find_input(const fv_onnx_import *im, fv_onnx_port **input) {
    const fv_onnx_model *model = im->model;
    *input = NULL;
    for (size_t i = 0; i < model->input_count; i++) {
        if (fv_lookup_find(&im->names, model->inputs[i].name) >= 0)
            continue;
        if (*input)
            return fv_fail(FV_UNSUPPORTED,
                           "it has several inputs (\"%.100s\" and \"%.100s\"); a net here has one",
                           (*input)->name, model->inputs[i].name);
        *input = &model->inputs[i];
    }
    return *input ? FV_OK : fv_fail(FV_FORMAT, "it has no input");
}

/* Room for all values; those of initialisers. */
static fv_status add_tensors(fv_onnx_import *im) {
    fv_onnx_model *model = im->model;
    size_t count = 1 + model->tensor_count;
    for (size_t i = 0; i < model->node_count; i++)
        count += model->nodes[i].output_count;
    im->values = fv_arena_new(&model->arena, count, sizeof *im->values);
    if (!im->values)
        return FV_MEMORY;
    for (size_t i = 0; i < model->tensor_count; i++) {
        int value = add_value(im, model->tensors[i].name, -1);
        if (value < 0)
            return fv_error_status();
        fv_onnx_set_tensor(&model->tensors[i], &im->values[value]);
    }
    return FV_OK;
}

/* Values of what nodes give. */
static fv_status add_outputs_of_nodes(fv_onnx_import *im) {
    fv_onnx_model *model = im->model;
    for (size_t i = 0; i < model->node_count; i++) {
        fv_onnx_node *n = &model->nodes[i];
        n->output_values = fv_arena_new(&model->arena, n->output_count, sizeof *n->output_values);
        for (size_t k = 0; n->output_values && k < n->output_count; k++) {
            n->output_values[k] = n->outputs[k][0] ? add_value(im, n->outputs[k], (int)i) : -1;
            if (n->outputs[k][0] && n->output_values[k] < 0)
                return fv_error_status();
        }
        if (!n->output_values)
            return FV_MEMORY;
    }
    return FV_OK;
}

static fv_status fail_at(const fv_onnx_node *node, fv_status status) {
    bool named = node->name[0] != 0;
    const char *output = node->output_count > 0 ? node->outputs[0] : "?";
    return fv_fail_in(status, "node \"%.100s\" (%.40s)", named ? node->name : output, node->op);
}

/* The values that nodes read, by their numbers. */
static fv_status link_inputs(fv_onnx_import *im) {
    for (size_t i = 0; i < im->model->node_count; i++) {
        fv_onnx_node *n = &im->model->nodes[i];
        n->input_values = fv_arena_new(&im->model->arena, n->input_count, sizeof *n->input_values);
        if (!n->input_values)
            return FV_MEMORY;
        for (size_t k = 0; k < n->input_count; k++) {
            n->input_values[k] = fv_lookup_find(&im->names, n->inputs[k]);
            if (n->inputs[k][0] && n->input_values[k] < 0)
                return fail_at(n, fv_fail(FV_FORMAT,
                                          "it reads \"%.100s\", which is no input, initialiser or "
                                          "node's output",
                                          n->inputs[k]));
        }
    }
    return FV_OK;
}

/* Marks the nodes that the outputs need, and counts who reads what. */
static fv_status find_needed(fv_onnx_import *im, bool *needed) {
    const fv_onnx_model *model = im->model;
    for (size_t i = 0; i < model->output_count; i++) {
        int value = fv_lookup_find(&im->names, model->outputs[i].name);
        if (value < 0)
            return fv_fail(FV_FORMAT, "no node gives the output \"%.100s\"",
                           model->outputs[i].name);
        im->values[value].is_output = true;
        im->values[value].readers++;
    }
    for (size_t i = model->node_count; i-- > 0;) {
        const fv_onnx_node *n = &model->nodes[i];
        for (size_t k = 0; k < n->output_count; k++)
            needed[i] |= n->output_values[k] >= 0 && im->values[n->output_values[k]].readers > 0;
        for (size_t k = 0; needed[i] && k < n->input_count; k++)
            if (n->input_values[k] >= 0) {
                im->values[n->input_values[k]].readers++;
                im->values[n->input_values[k]].reader = (int)i;
            }
    }
    return FV_OK;
}

/* ---- The input ------------------------------------------------------------------------------ */

static bool is_picture_type(int type) {
    return type == FV_ONNX_FLOAT || type == FV_ONNX_DOUBLE || type == FV_ONNX_FLOAT16 ||
           type == FV_ONNX_BFLOAT16 || type == FV_ONNX_UINT8;
}

static fv_status add_input(fv_onnx_import *im, const fv_onnx_port *port) {
    fv_input_options options = {.shape = {.rank = port->rank > 2 ? port->rank - 2 : 0}};
    fv_tensor layer;
    if (port->rank < 1)
        return fv_fail(FV_UNSUPPORTED, "the axes of its input \"%.100s\" are not said, or none",
                       port->name);
    if (port->rank > 5 || !is_picture_type(port->type))
        return fv_fail(
            FV_UNSUPPORTED,
            "its input \"%.100s\" has %d axes of type %d; at most five of floats (batch, "
            "channels and three more) are possible",
            port->name, port->rank, port->type);
    for (int a = 1; a < port->rank; a++) {
        int64_t size = port->size[a];
        if (size < -1)
            return fv_fail(FV_FORMAT, "its input \"%.100s\" has a size of %lld", port->name,
                           (long long)size);
        if (size == 0 || size > INT32_MAX || (a == 1 && size < 0))
            return fv_fail(FV_UNSUPPORTED,
                           "axis %d of its input \"%.100s\" %s: give it a size, --set %.60s=SIZE",
                           a, port->name, a == 1 ? "has the channels, and varies" : "has no size",
                           port->word[a] ? port->word[a] : "NAME");
        *(a == 1 ? &options.shape.channels : &options.shape.size[a - 2]) = (int)size;
    }
    options.shape.channels += port->rank == 1;
    fv_status status = fv_onnx_add(im, "input", 0, NULL, &options, &layer);
    return status == FV_OK ? fv_onnx_set_standard(im, &im->values[im->input], layer, port->rank)
                           : status;
}

/* Takes the settings that name a size of the input, "height=224"; *rest: the others. */
static fv_status set_sizes(fv_onnx_port *input, const char *const *settings, int count,
                           const char **rest, int *rest_count) {
    for (int i = 0; i < count; i++) {
        const char *equals = strchr(settings[i], '=');
        size_t length = equals ? (size_t)(equals - settings[i]) : 0;
        bool taken = false;
        for (int a = 0; a < input->rank; a++) {
            const char *word = input->word[a];
            if (!equals || !word || strncmp(word, settings[i], length) != 0 || word[length])
                continue;
            char *end;
            long size = strtol(equals + 1, &end, 10);
            if (*end || end == equals + 1 || size < 1 || size > INT32_MAX)
                return fv_fail(FV_INVALID, "%.100s: expected a size of 1 or more", settings[i]);
            input->size[a] = size;
            taken = true;
        }
        if (!taken)
            rest[(*rest_count)++] = settings[i];
    }
    return FV_OK;
}

/* ---- Outputs -------------------------------------------------------------------------------- */

/* Makes each output a layer with the channels last, and an output of the net. */
static fv_status add_outputs(fv_onnx_import *im) {
    const fv_onnx_model *model = im->model;
    if (model->output_count == 0)
        return fv_fail(FV_FORMAT, "it has no output");
    for (size_t i = 0; i < model->output_count; i++) {
        const char *name = model->outputs[i].name;
        const fv_onnx_value *value = &im->values[fv_lookup_find(&im->names, name)];
        fv_tensor layer = 0;
        if (value->kind != FV_VALUE_ARRAY)
            return fv_fail(FV_UNSUPPORTED, "its output \"%.100s\" is a constant", name);
        im->node = value->producer >= 0 ? &model->nodes[value->producer] : NULL;
        fv_status status = fv_onnx_standard(im, &value->array, &layer);
        bool taken = layer == 0 || im->draft->nodes[layer].named_output;
        if (status == FV_OK && taken) /* a layer that gives it as it is */
            status =
                fv_onnx_add1(im, "reshape", layer,
                             &(fv_reshape_options){.shape = *fv_onnx_shape(im, layer)}, &layer);
        if (status == FV_OK && model->output_count > 1)
            status = fv_onnx_rename(im, layer, name);
        if (status != FV_OK)
            return fv_fail_in(status, "output \"%.100s\"", name);
        im->draft->nodes[layer].named_output = model->output_count > 1;
        if (i + 1 == model->output_count && layer + 1 != im->draft->count)
            im->draft->nodes[layer].named_output = true;
    }
    return FV_OK;
}

/* ---- The net -------------------------------------------------------------------------------- */

/* Whether all weights lie in the model's own file as the layers want them. */
static bool all_in_file(const fv_onnx_import *im) {
    const fv_mapping *mapping = &im->model->files[0].mapping;
    bool inside = true;
    for (size_t i = 0; i < im->weight_count && inside; i++) {
        const fv_onnx_weight *w = &im->weights[i];
        inside = !w->values && w->tensor->bytes >= mapping->bytes &&
                 w->tensor->bytes < mapping->bytes + mapping->size;
    }
    return inside;
}

static fv_weight *weight_of(fv_node *node, const char *name) {
    for (int w = 0; w < node->weight_count; w++)
        if (strcmp(node->weights[w].spec.name, name) == 0)
            return &node->weights[w];
    return NULL;
}

static fv_status place_weight(const fv_onnx_import *im, const fv_onnx_weight *w, fv_net *net,
                              bool in_file) {
    fv_node *node = &net->nodes[w->layer];
    fv_weight *weight = weight_of(node, w->name);
    if (!weight || weight->count != w->count)
        return fv_fail(FV_SHAPE, "%s.%s has %zu values in the model, and the net %zu", node->name,
                       w->name, w->count, weight ? weight->count : 0);
    if (in_file) {
        weight->file_at = (size_t)(w->tensor->bytes - im->model->files[0].mapping.bytes);
        return FV_OK;
    }
    float *aligned = w->values ? w->values : fv_alloc(w->count, sizeof *aligned);
    if (!aligned)
        return FV_MEMORY;
    if (!w->values)
        fv_onnx_to_floats(w->tensor, aligned);
    fv_weight_from_file(weight, aligned, net->weights + weight->offset);
    if (!w->values)
        fv_free(aligned);
    return FV_OK;
}

/* All weights of the net come from the model: as many as it has. */
static fv_status place_weights(fv_onnx_import *im, fv_net *net) {
    bool in_file = all_in_file(im);
    size_t wanted = 0;
    for (int n = 0; n < net->count; n++)
        wanted += (size_t)net->nodes[n].weight_count;
    if (net->count != im->draft->count || wanted != im->weight_count)
        return fv_fail(FV_SHAPE, "the net has %zu weights, the model gives %zu", wanted,
                       im->weight_count);
    fv_status status = in_file ? FV_OK : fv_net_make_room(net);
    for (size_t i = 0; i < im->weight_count && status == FV_OK; i++)
        status = place_weight(im, &im->weights[i], net, in_file);
    if (status == FV_OK && in_file)
        fv_net_leave_in_file(net, &im->model->file);
    if (status == FV_OK && im->model->classes)
        status = fv_classes_from_json(im->model->classes, net);
    net->initialized = status == FV_OK;
    return status;
}

/* The net of the draft's text: whoever changes its settings finds their names there. */
static fv_net *read_draft(fv_onnx_import *im, const char *const *settings, int count) {
    char *text = fv_net_print(im->draft, false);
    fv_net *net =
        text ? fv_net_parse_model(text, strlen(text), im->model->path, settings, count, SIZE_MAX)
             : NULL;
    fv_free_memory(text);
    return net;
}

/* ---- The walk ------------------------------------------------------------------------------- */

/* Reckons what depends on constants alone, so that formulas find their numbers before their first
 * node is imported. */
static fv_status fold_constants(fv_onnx_import *im, const bool *needed) {
    for (size_t i = 0; i < im->model->node_count; i++) {
        im->node = &im->model->nodes[i];
        im->node_number = (int)i;
        bool of_sizes = strcmp(im->node->op, "Shape") == 0 || strcmp(im->node->op, "Size") == 0;
        if (!needed[i] || of_sizes || fv_onnx_integer(im, "broadcast", 0) != 0)
            continue;
        fv_status status = fv_onnx_fold(im, &im->done[i]);
        if (status != FV_OK)
            return fail_at(im->node, status);
    }
    return FV_OK;
}

static fv_status import_nodes(fv_onnx_import *im, const bool *needed) {
    for (size_t i = 0; i < im->model->node_count; i++) {
        if (!needed[i] || im->done[i])
            continue;
        im->node = &im->model->nodes[i];
        im->node_number = (int)i;
        fv_status status = import_node(im);
        if (status != FV_OK)
            return fail_at(im->node, status);
    }
    return FV_OK;
}

/* A model of other domains' operators alone says no set of the standard ones. */
static fv_status check_versions(const fv_onnx_model *model) {
    bool standard = false;
    for (size_t i = 0; i < model->node_count; i++)
        standard = standard || fv_onnx_is_standard(&model->nodes[i]);
    if (model->ir < 1 || (standard && model->opset == 0))
        return fv_fail(FV_FORMAT, "it does not say which version of ONNX or of its operators it is "
                                  "written in (damaged, or no ONNX model)");
    if (model->ir > LAST_IR)
        return fv_fail(FV_UNSUPPORTED,
                       "it is written in version %lld of ONNX's format, expected at most %d "
                       "(onnx.version_converter changes it)",
                       (long long)model->ir, LAST_IR);
    if (standard && (model->opset < FIRST_OPSET || model->opset > LAST_OPSET))
        return fv_fail(FV_UNSUPPORTED,
                       "it is written in operator set %lld, expected %d to %d "
                       "(onnx.version_converter changes it)",
                       (long long)model->opset, FIRST_OPSET, LAST_OPSET);
    return FV_OK;
}

/* Fills *rest with the settings that are not about the input's sizes. */
static fv_status import_graph(fv_onnx_import *im, const char *const *settings, int count,
                              const char **rest, int *rest_count) {
    fv_onnx_port *input;
    fv_onnx_model *model = im->model;
    bool *needed = fv_arena_new(&model->arena, model->node_count, sizeof *needed);
    im->done = fv_arena_new(&model->arena, model->node_count, sizeof *im->done);
    if (!needed || !im->done)
        return FV_MEMORY;
    fv_status status = check_versions(model);
    if (status == FV_OK)
        status = add_tensors(im);
    if (status == FV_OK)
        status = find_input(im, &input);
    if (status == FV_OK)
        status = set_sizes(input, settings, count, rest, rest_count);
    if (status == FV_OK)
        status = (im->input = add_value(im, input->name, -1)) >= 0 ? FV_OK : fv_error_status();
    if (status == FV_OK)
        status = add_outputs_of_nodes(im);
    if (status == FV_OK)
        status = link_inputs(im);
    if (status == FV_OK)
        status = find_needed(im, needed);
    if (status == FV_OK)
        status = add_input(im, input);
    if (status == FV_OK)
        status = fold_constants(im, needed);
    if (status == FV_OK)
        status = import_nodes(im, needed);
    return status == FV_OK ? add_outputs(im) : status;
}

static void free_import(fv_onnx_import *im) {
    for (size_t i = 0; i < im->weight_count; i++)
        fv_free(im->weights[i].values);
    fv_lookup_free(&im->names);
    fv_net_free(im->draft);
}

static fv_net *import(fv_onnx_model *model, const char *const *settings, int count) {
    fv_onnx_import im = {.model = model, .draft = fv_net_new()};
    const char **rest = fv_alloc((size_t)count, sizeof *rest);
    int rest_count = 0;
    fv_net *net = NULL;
    im.is_own = strcmp(model->producer, "fovea") == 0;
    fv_status status =
        im.draft && rest ? import_graph(&im, settings, count, rest, &rest_count) : FV_MEMORY;
    if (status != FV_OK)
        fv_fail_in(status, "%s", model->path);
    else
        net = read_draft(&im, rest, rest_count);
    if (net && (status = place_weights(&im, net)) != FV_OK) {
        fv_fail_in(status, "%s", model->path);
        fv_net_free(net);
        net = NULL;
    }
    fv_free(rest);
    free_import(&im);
    return net;
}

fv_net *fv_onnx_load(const char *path, const char *const *settings, int count) {
    fv_onnx_model model;
    if (fv_onnx_open(path, &model) != FV_OK)
        return NULL;
    fv_net *net = import(&model, settings, count);
    fv_onnx_close(&model);
    return net;
}

#else

fv_net *fv_onnx_load(const char *path, const char *const *settings, int count) {
    (void)settings, (void)count;
    fv_fail(FV_UNSUPPORTED,
            "%s: this build has no ONNX: build fovea with nanopb and onnx.proto (-Donnx=enabled)",
            path);
    return NULL;
}

#endif
