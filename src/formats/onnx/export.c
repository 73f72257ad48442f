/* A net as an ONNX model: a table says which function writes the nodes of which layer type; this
 * file walks the layers, hands each its inputs in the order that it wants, and adds activations.
 * Called by the public fv_export. */
#include "formats/onnx/export.h"
#include "base/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- What layers ask for -------------------------------------------------------------------- */

const fv_shape *fv_export_shape_in(const fv_export_call *c, int input) {
    return &c->net->nodes[c->node->inputs[input]].output;
}

/* Sizes that were folded into a vector; false where its order is the same with the channels first.
 */
static bool folded_sizes(const fv_shape *shape, int64_t sizes[3], int *rank, int64_t *channels) {
    int64_t places = 1;
    for (*rank = 0; *rank < 3 && shape->size[*rank] > 0; ++*rank)
        places *= sizes[*rank] = shape->size[*rank];
    *channels = shape->channels / places;
    return shape->rank == 0 && places > 1 && *channels > 1;
}

/* N, channels, sizes from or to N, sizes, channels: a vector of one order from the other. */
static int reorder(fv_export_graph *g, const fv_shape *shape, int x, bool to_folded) {
    int64_t sizes[3], channels, split[5] = {0};
    int rank;
    folded_sizes(shape, sizes, &rank, &channels);
    split[to_folded ? 1 + rank : 1] = channels;
    for (int i = 0; i < rank; i++)
        split[(to_folded ? 1 : 2) + i] = sizes[i];
    int parts = fv_export_reshape(g, x, 2 + rank, split);
    int turned = to_folded ? fv_export_channels_first(g, parts, rank)
                           : fv_export_channels_last(g, parts, rank);
    return fv_export_1(g, "Flatten", turned);
}

/* The output of node n in our order, made of the folded one where there is no other. */
static int value_of(fv_export_graph *g, const fv_net *net, fv_export_result *results, int n) {
    if (results[n].value == FV_EXPORT_NONE)
        results[n].value = reorder(g, &net->nodes[n].output, results[n].folded, false);
    return results[n].value;
}

int fv_export_in(const fv_export_call *c, int input) {
    return value_of(c->graph, c->net, c->results, c->node->inputs[input]);
}

int fv_export_folded_in(const fv_export_call *c, int input) {
    const fv_shape *shape = fv_export_shape_in(c, input);
    fv_export_result *result = &c->results[c->node->inputs[input]];
    int64_t sizes[3], channels;
    int rank;
    if (!folded_sizes(shape, sizes, &rank, &channels))
        return fv_export_in(c, input);
    if (result->folded == FV_EXPORT_NONE)
        result->folded = reorder(c->graph, shape, result->value, true);
    return result->folded;
}

const fv_weight *fv_export_find_weight(const fv_export_call *c, const char *name) {
    for (int w = 0; w < c->node->weight_count; w++)
        if (strcmp(c->node->weights[w].spec.name, name) == 0)
            return &c->node->weights[w];
    return NULL;
}

static int weight_number(const fv_export_call *c, const fv_weight *weight) {
    return c->first_weight + (int)(weight - c->node->weights);
}

int fv_export_weight_as(const fv_export_call *c, const char *name, int rank, const size_t *size) {
    const fv_weight *weight = fv_export_find_weight(c, name);
    return weight ? fv_export_weight(c->graph, c->net, weight_number(c, weight), rank, size)
                  : FV_EXPORT_NONE;
}

int fv_export_weight_in(const fv_export_call *c, const char *name) {
    return fv_export_weight_as(c, name, 0, NULL);
}

int fv_export_channel_weight(const fv_export_call *c, const char *name, int rank) {
    const fv_weight *weight = fv_export_find_weight(c, name);
    size_t size[4] = {weight ? weight->count : 0, 1, 1, 1};
    return fv_export_weight_as(c, name, 1 + rank, size);
}

float *fv_export_values(const fv_export_call *c, const char *name) {
    const fv_weight *weight = fv_export_find_weight(c, name);
    if (c->graph->status)
        return NULL;
    float *values = fv_alloc(weight->count, sizeof *values);
    c->graph->status = values ? fv_get_weight(c->net, weight_number(c, weight), values) : FV_MEMORY;
    if (c->graph->status == FV_OK)
        return values;
    fv_free(values);
    return NULL;
}

int fv_export_refuse(const fv_export_call *c, const char *format, ...) {
    char reason[400];
    va_list values;
    va_start(values, format);
    vsnprintf(reason, sizeof reason, format, values);
    va_end(values);
    if (c->graph->status == FV_OK)
        c->graph->status =
            fv_fail(FV_UNSUPPORTED, "%s has no ONNX form: %s", c->node->type->name, reason);
    return FV_EXPORT_NONE;
}

/* ---- The layers ----------------------------------------------------------------------------- */

/* x op the numbers: one, or one for each channel; x itself where all of them are `nothing`. */
static int by_channel(const fv_export_call *c, const char *op, int x, const double *numbers,
                      int count, double nothing) {
    fv_export_graph *g = c->graph;
    bool needed = false;
    for (int i = 0; i < count; i++)
        needed = needed || numbers[i] != nothing;
    if (!needed)
        return x;
    if (count == 1)
        return fv_export_2(g, op, x, fv_export_number(g, numbers[0]));
    size_t size[4] = {(size_t)count, 1, 1, 1};
    float *floats = g->status ? NULL : fv_alloc((size_t)count, sizeof *floats);
    for (int i = 0; i < count && floats; i++)
        floats[i] = (float)numbers[i];
    return fv_export_2(g, op, x,
                       fv_export_floats(g, "numbers", 1 + c->node->output.rank, size, floats));
}

/* y = (x scale - mean) / deviation: the model takes values as they are in the data. */
static int input_layer(const fv_export_call *c) {
    const fv_input_options *o = c->node->options;
    int x = fv_export_input(c->graph, c->node->name, &c->node->output);
    if (o->scale != 0)
        x = by_channel(c, "Mul", x, &o->scale, 1, 1);
    x = by_channel(c, "Sub", x, o->mean, o->means, 0);
    return by_channel(c, "Div", x, o->deviation, o->deviations, 1);
}

/* Activations of their own, which the walk adds as it adds any layer's; dropout and noise. */
static int unchanged(const fv_export_call *c) {
    const fv_export_result *in = &c->results[c->node->inputs[0]];
    return in->value != FV_EXPORT_NONE ? in->value : in->folded;
}

/* Our vectors have the channels last, ONNX's flattened ones first: the order is put right where
 * somebody needs ours. */
static int flatten(const fv_export_call *c) {
    int x = fv_export_in(c, 0);
    return fv_export_shape_in(c, 0)->rank == 0 ? x : fv_export_1(c->graph, "Flatten", x);
}

/* How a layer's output is ordered: as ours, channels first, or as its input is. */
typedef enum value_order { OURS, FOLDED, AS_INPUT } value_order;

static const struct {
    const char *type;
    fv_export_layer *write;
    value_order order;
} layers[] = {
    {"input", input_layer, OURS},
    {"conv", fv_export_conv, OURS},
    {"depthwise_conv", fv_export_depthwise_conv, OURS},
    {"separable_conv", fv_export_separable_conv, OURS},
    {"conv_transpose", fv_export_conv_transpose, OURS},
    {"local", fv_export_local, OURS},
    {"maxpool", fv_export_maxpool, OURS},
    {"avgpool", fv_export_avgpool, OURS},
    {"global_maxpool", fv_export_global_maxpool, OURS},
    {"global_avgpool", fv_export_global_avgpool, OURS},
    {"adaptive_maxpool", fv_export_adaptive_maxpool, OURS},
    {"adaptive_avgpool", fv_export_adaptive_avgpool, OURS},
    {"subsample", fv_export_subsample, OURS},
    {"rbf", fv_export_rbf, OURS},
    {"constant", fv_export_constant, OURS},
    {"dense", fv_export_dense, OURS},
    {"flatten", flatten, FOLDED},
    {"reshape", fv_export_reshape_layer, OURS},
    {"permute", fv_export_permute, OURS},
    {"pad", fv_export_pad_layer, OURS},
    {"crop", fv_export_crop, OURS},
    {"slice", fv_export_slice, OURS},
    {"concat", fv_export_concat, OURS},
    {"add", fv_export_add, OURS},
    {"multiply", fv_export_multiply, OURS},
    {"maximum", fv_export_maximum, OURS},
    {"upsample", fv_export_upsample, OURS},
    {"depth_to_space", fv_export_depth_to_space, OURS},
    {"space_to_depth", fv_export_space_to_depth, OURS},
    {"dropout", unchanged, AS_INPUT},
    {"spatial_dropout", unchanged, AS_INPUT},
    {"gaussian_noise", unchanged, AS_INPUT},
    {"relu", unchanged, AS_INPUT},
    {"sigmoid", unchanged, AS_INPUT},
    {"tanh", unchanged, AS_INPUT},
    {"softmax", unchanged, AS_INPUT},
    {"relu6", unchanged, AS_INPUT},
    {"leaky_relu", unchanged, AS_INPUT},
    {"elu", unchanged, AS_INPUT},
    {"selu", unchanged, AS_INPUT},
    {"gelu", unchanged, AS_INPUT},
    {"gelu_tanh", unchanged, AS_INPUT},
    {"silu", unchanged, AS_INPUT},
    {"mish", unchanged, AS_INPUT},
    {"hard_sigmoid", unchanged, AS_INPUT},
    {"hard_swish", unchanged, AS_INPUT},
    {"softplus", unchanged, AS_INPUT},
    {"softsign", unchanged, AS_INPUT},
    {"scaled_tanh", unchanged, AS_INPUT},
    {"log_softmax", unchanged, AS_INPUT},
    {"prelu", fv_export_prelu, OURS},
    {"batch_norm", fv_export_batch_norm, OURS},
    {"layer_norm", fv_export_layer_norm, OURS},
    {"group_norm", fv_export_group_norm, OURS},
    {"instance_norm", fv_export_instance_norm, OURS},
    {"rms_norm", fv_export_rms_norm, OURS},
    {"lrn", fv_export_lrn, OURS},
    {"l2_normalize", fv_export_l2_normalize, OURS},
};

/* Whether a vector that a layer gives has its channels first. */
static bool gives_folded(const fv_export_call *c, value_order order) {
    int64_t sizes[3], channels;
    int rank;
    if (!folded_sizes(&c->node->output, sizes, &rank, &channels))
        return false;
    if (order == AS_INPUT)
        return c->results[c->node->inputs[0]].value == FV_EXPORT_NONE;
    return order == FOLDED && fv_export_shape_in(c, 0)->rank > 0;
}

/* Adds the nodes of layer n; its last value gets the layer's name. */
static fv_status add_layer(fv_export_graph *g, const fv_net *net, fv_export_result *results, int n,
                           int first_weight) {
    const fv_node *node = &net->nodes[n];
    fv_export_call call = {
        .graph = g, .net = net, .node = node, .first_weight = first_weight, .results = results};
    char place[128];
    g->prefix = node->name;
    g->first = g->value_count;
    results[n] = (fv_export_result){FV_EXPORT_NONE, FV_EXPORT_NONE};
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        if (strcmp(layers[i].type, node->type->name) != 0)
            continue;
        bool folded = gives_folded(&call, layers[i].order);
        int value = layers[i].write(&call);
        value = fv_export_activate(g, node->activation, node->activation_constant, value);
        *(folded ? &results[n].folded : &results[n].value) = value;
        if (g->status == FV_OK && n > 0 && (size_t)value >= g->first)
            fv_export_rename(g, value, node->name);
        return g->status ? fv_fail_in(g->status, "%s", fv_node_place(net, node, place)) : FV_OK;
    }
    return fv_fail(FV_UNSUPPORTED, "%s: %s layers have no ONNX form",
                   fv_node_place(net, node, place), node->type->name);
}

/* ---- Outputs, classes ----------------------------------------------------------------------- */

static bool is_named(const fv_export_graph *g, int value, const char *name) {
    return g->status == FV_OK && value != FV_EXPORT_NONE && strcmp(g->values[value], name) == 0;
}

/* Makes node n's value an output called as the layer is: a copy where the value has another layer's
 * name, and where the input has this one's. */
static void add_output(fv_export_graph *g, const fv_net *net, fv_export_result *results, int n) {
    const fv_node *node = &net->nodes[n];
    char folded[FV_NAME_SIZE + 8];
    g->prefix = node->name;
    g->first = 0;
    int value = value_of(g, net, results, n);
    if (n == 0 ||
        (g->status == FV_OK && !strchr(g->values[value], ':') && !is_named(g, value, node->name)))
        value = fv_export_1(g, "Identity", value);
    if (is_named(g, results[n].folded, node->name)) {
        snprintf(folded, sizeof folded, "%s:folded", node->name);
        fv_export_rename(g, results[n].folded, folded);
    }
    if (n > 0)
        fv_export_rename(g, value, node->name);
    fv_export_output(g, value, &node->output);
}

static fv_status add_classes(fv_export_graph *g, const fv_net *net) {
    fv_text doc = {0};
    if (net->class_count == 0)
        return FV_OK;
    fv_text_add(&doc, "The classes of the last layer, in the order of its channels: ");
    for (int i = 0; i < net->class_count; i++)
        fv_text_add(&doc, "%s%s", i > 0 ? ", " : "", net->class_names[i]);
    g->doc = fv_text_take(&doc);
    return g->doc ? fv_classes_to_json(net, &g->classes) : FV_MEMORY;
}

/* The layers that the outputs need, in their order, and the outputs. */
static fv_status add_net(fv_export_graph *g, const fv_net *net, fv_export_result *results,
                         bool *needed) {
    for (int n = 0; n < net->count; n++)
        needed[n] = fv_net_is_output(net, n);
    fv_net_mark_needed(net, needed);
    for (int n = 0, weights = 0; n < net->count; weights += net->nodes[n++].weight_count) {
        fv_status status = needed[n] ? add_layer(g, net, results, n, weights) : FV_OK;
        if (status != FV_OK)
            return status;
    }
    for (int n = 0; n < net->count; n++)
        if (fv_net_is_output(net, n))
            add_output(g, net, results, n);
    return g->status ? g->status : add_classes(g, net);
}

fv_status fv_onnx_export(const fv_net *net, const char *path) {
    if (!net->built)
        return fv_fail(FV_INVALID, "the net is not built yet and has no weights to write: call "
                                   "fv_net_build first");
    fv_export_graph graph = {0};
    fv_export_result *results = fv_alloc((size_t)net->count, sizeof *results);
    bool *needed = fv_alloc((size_t)net->count, sizeof *needed);
    fv_status status = results && needed ? add_net(&graph, net, results, needed) : FV_MEMORY;
    if (status == FV_OK)
        status = fv_export_write(&graph, path);
    fv_export_free(&graph);
    fv_free(results);
    fv_free(needed);
    return status;
}
