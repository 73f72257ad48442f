/* The net as a graph: making it, adding nodes, asking about them. See net.h. */
#include "net/net.h"
#include "base/text.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NODES = 10000 };
static const size_t max_values = (size_t)1 << 40; /* of one layer's output or weights */

fv_net *fv_net_new(void) {
    fv_net *net = fv_alloc(1, sizeof *net);
    if (!net)
        return NULL;
    atomic_init(&net->users, 0);
    pthread_mutex_init(&net->drawing, NULL);
    return net;
}

void fv_net_free(fv_net *net) {
    if (!net)
        return;
    for (int i = 0; i < net->count; i++) {
        fv_free(net->nodes[i].name);
        fv_free(net->nodes[i].options);
    }
    for (int i = 0; i < net->class_count; i++)
        fv_free(net->class_names[i]);
    fv_free(net->class_names);
    fv_lookup_free(&net->names);
    fv_free(net->nodes);
    fv_free(net->losses);
    fv_free(net->metrics);
    fv_free(net->weights);
    fv_file_close(&net->file);
    pthread_mutex_destroy(&net->drawing);
    fv_free(net->source);
    fv_free(net->message);
    fv_free(net);
}

int fv_net_find(const fv_net *net, const char *name) {
    return fv_lookup_find(&net->names, name);
}

const char *fv_node_place(const fv_net *net, const fv_node *node, char text[128]) {
    if (node->line > 0 && net->source)
        snprintf(text, 128, "%s (%s:%d)", node->name, net->source, node->line);
    else
        snprintf(text, 128, "%s", node->name);
    return text;
}

/* ---- Adding ------------------------------------------------------------------------------------
 */

/* Keeps the builder's first failure; returns its status. */
static fv_status keep_failure(fv_net *net, fv_status status) {
    if (net->status == FV_OK) {
        net->message = fv_copy_string(fv_error_message());
        net->status = net->message ? status : FV_MEMORY;
    }
    return status;
}

static fv_status check_inputs(const fv_net *net, const fv_layer_type *type, const int *inputs,
                              int count) {
    if (net->built)
        return fv_fail(FV_INVALID, "%s: the net is built; layers can only be added before",
                       type->name);
    if (net->count >= MAX_NODES)
        return fv_fail(FV_INVALID, "a net has at most %d layers", MAX_NODES);
    if (net->count == 0 && type->min_inputs > 0)
        return fv_fail(FV_INVALID,
                       "the first layer must be an input, as in `input 28x28x1`, not %s",
                       type->name);
    if (net->count > 0 && type->max_inputs == 0)
        return fv_fail(FV_INVALID, "a second input: a net has one, as its first layer");
    if (count < type->min_inputs || count > type->max_inputs)
        return type->max_inputs > type->min_inputs
                   ? fv_fail(FV_INVALID, "%s takes %d to %d inputs, but %d were given", type->name,
                             type->min_inputs, type->max_inputs, count)
                   : fv_fail(FV_INVALID, "%s takes %d input%s, but %d were given", type->name,
                             type->min_inputs, type->min_inputs == 1 ? "" : "s", count);
    for (int i = 0; i < count; i++)
        if (inputs[i] < 0 || inputs[i] >= net->count)
            return fv_fail(FV_INVALID, "%s: input %d is no layer of this net", type->name,
                           inputs[i]);
    return FV_OK;
}

/* Values of a shape, sizes that vary counted as 1; false when more than max_values. */
static bool count_values(const fv_shape *shape, size_t *count) {
    *count = (size_t)shape->channels;
    for (int i = 0; i < shape->rank; i++)
        if (shape->size[i] != FV_ANY && !fv_size_product(*count, (size_t)shape->size[i], count))
            return false;
    return *count <= max_values;
}

static fv_status check_sizes(const fv_layer_type *type, const fv_inference *inference) {
    size_t count;
    char text[64];
    if (!count_values(&inference->output, &count))
        return fv_fail(FV_SHAPE, "the output of %s, %s, has more than 2^40 values", type->name,
                       fv_shape_text(&inference->output, text));
    for (int w = 0; w < inference->weight_count; w++) {
        const fv_weight_spec *spec = &inference->weights[w];
        count = 1;
        bool fits = spec->fan_in <= INT_MAX;
        for (int i = 0; fits && i < spec->rank; i++)
            fits = fv_size_product(count, spec->size[i], &count) && count <= max_values;
        if (!fits)
            return fv_fail(FV_SHAPE,
                           "the %s of %s is too large: at most 2^31 inputs an output and 2^40 "
                           "numbers are possible",
                           spec->name, type->name);
    }
    return FV_OK;
}

static fv_status infer_node(const fv_net *net, const fv_layer_type *type, const void *options,
                            const int *inputs, int count, fv_inference *inference) {
    fv_shape shapes[FV_MAX_INPUTS];
    for (int i = 0; i < count; i++)
        shapes[i] = net->nodes[inputs[i]].output;
    *inference = (fv_inference){0};
    fv_status status = type->infer(options, shapes, count, inference);
    if (inference->activation_constant == 0)
        inference->activation_constant = fv_activation_constant(inference->activation);
    return status ? status : check_sizes(type, inference);
}

/* "conv2": the type and its ordinal among the net's layers of that type. */
static char *default_name(const fv_net *net, const fv_layer_type *type) {
    char name[64];
    int ordinal = 1;
    for (int i = 0; i < net->count; i++)
        ordinal += net->nodes[i].type == type;
    snprintf(name, sizeof name, "%s%d", type->name, ordinal);
    while (fv_net_find(net, name) >= 0)
        snprintf(name, sizeof name, "%s%d", type->name, ++ordinal);
    return fv_copy_string(name);
}

static fv_status grow(fv_net *net) {
    if (net->count < net->capacity)
        return FV_OK;
    int capacity = net->capacity ? 2 * net->capacity : 16;
    fv_node *nodes = fv_realloc(net->nodes, (size_t)net->capacity, (size_t)capacity, sizeof *nodes);
    if (!nodes)
        return FV_MEMORY;
    net->nodes = nodes;
    net->capacity = capacity;
    return FV_OK;
}

static fv_status append_node(fv_net *net, const fv_layer_type *type, const char *name,
                             const void *options, const fv_inference *inference) {
    if (grow(net))
        return FV_MEMORY;
    fv_node *node = &net->nodes[net->count];
    *node = (fv_node){.type = type,
                      .output = inference->output,
                      .macs = inference->macs,
                      .activation = inference->activation,
                      .activation_constant = inference->activation_constant,
                      .weight_count = inference->weight_count};
    node->name = name ? fv_copy_string(name) : default_name(net, type);
    node->options = type->options_size ? fv_alloc(1, type->options_size) : NULL;
    if (!node->name || (type->options_size && !node->options) ||
        fv_lookup_add(&net->names, node->name, net->count)) {
        fv_free(node->name);
        fv_free(node->options);
        return FV_MEMORY;
    }
    if (options && type->options_size)
        memcpy(node->options, options, type->options_size);
    for (int w = 0; w < inference->weight_count; w++) {
        fv_weight *weight = &node->weights[w];
        *weight = (fv_weight){.spec = inference->weights[w], .count = 1};
        for (int i = 0; i < weight->spec.rank; i++)
            weight->count *= weight->spec.size[i];
    }
    net->count++;
    return FV_OK;
}

int fv_net_add(fv_net *net, const fv_layer_type *type, const char *name, const int *inputs,
               int input_count, const void *options, int line, int column) {
    if (net->status != FV_OK)
        return -1;
    fv_inference inference;
    fv_status status = check_inputs(net, type, inputs, input_count);
    if (!status && name && fv_net_find(net, name) >= 0)
        status = fv_fail(FV_INVALID, "the name %s is used twice", name);
    if (!status)
        status = infer_node(net, type, options, inputs, input_count, &inference);
    if (!status)
        status = append_node(net, type, name, options, &inference);
    if (status) {
        keep_failure(net, status);
        return -1;
    }
    fv_node *node = &net->nodes[net->count - 1];
    node->line = line;
    node->column = column;
    node->input_count = input_count;
    for (int i = 0; i < input_count; i++)
        node->inputs[i] = inputs[i];
    return net->count - 1;
}

fv_tensor fv_add_layer(fv_net *net, const char *type_name, const fv_tensor *inputs, int input_count,
                       const void *options, size_t options_size) {
    if (!net || net->status != FV_OK)
        return -1;
    const fv_layer_type *type = fv_layer_type_find(type_name);
    if (!type) {
        keep_failure(net, fv_fail(FV_INVALID, "there is no layer type %s", type_name));
        return -1;
    }
    if (options && options_size != type->options_size) {
        keep_failure(net, fv_fail(FV_INVALID, "%s takes options of %zu bytes, but %zu were given",
                                  type_name, type->options_size, options_size));
        return -1;
    }
    void *defaults = type->options_size && !options ? fv_alloc(1, type->options_size) : NULL;
    const void *given = options ? options : defaults;
    fv_status status = type->options_size && !given ? FV_MEMORY
                       : type->params               ? fv_params_check(type->params, given)
                                                    : FV_OK;
    if (status)
        keep_failure(net, fv_fail_in(status, "layer %d (%s)", net->count + 1, type_name));
    int node = status ? -1 : fv_net_add(net, type, NULL, inputs, input_count, given, 0, 0);
    fv_free(defaults);
    return node;
}

fv_tensor fv_add_layer1(fv_net *net, const char *type, fv_tensor input, const void *options,
                        size_t options_size) {
    return fv_add_layer(net, type, &input, 1, options, options_size);
}

/* ---- Asking -------------------------------------------------------------------------------------
 */

fv_status fv_net_shapes(const fv_net *net, const fv_shape *input, const bool *wanted,
                        fv_shape *shapes, int64_t *macs) {
    for (int n = 0; n < net->count; n++) {
        if (wanted && !wanted[n])
            continue;
        const fv_node *node = &net->nodes[n];
        fv_shape inputs[FV_MAX_INPUTS];
        for (int i = 0; i < node->input_count; i++)
            inputs[i] = shapes[node->inputs[i]];
        fv_inference inference = {0};
        char place[128];
        fv_status status = FV_OK;
        if (node->input_count == 0)
            inference.output = *input;
        else
            status = node->type->infer(node->options, inputs, node->input_count, &inference);
        if (!status)
            status = check_sizes(node->type, &inference);
        if (status)
            return fv_fail_in(status, "%s", fv_node_place(net, node, place));
        shapes[n] = inference.output;
        if (macs)
            macs[n] = inference.macs;
    }
    return FV_OK;
}

int fv_layer_count(const fv_net *net) {
    return net->count;
}

static int64_t node_parameters(const fv_node *node) {
    int64_t count = 0;
    for (int w = 0; w < node->weight_count; w++)
        if (!node->weights[w].spec.statistic)
            count += (int64_t)node->weights[w].count;
    return count;
}

int64_t fv_parameter_count(const fv_net *net) {
    int64_t count = 0;
    for (int n = 0; n < net->count; n++)
        count += net->nodes[n].training_only ? 0 : node_parameters(&net->nodes[n]);
    return count;
}

/* Settings of the node as its .net line has them: cached nowhere, so made for the asking. */
static const char *detail(const fv_node *node, char text[256]) {
    fv_text made = {0};
    for (const fv_param *p = node->type->params; p && p->key; p++) {
        if (fv_param_is_default(p, node->options))
            continue;
        fv_text_add(&made, made.size ? " " : "");
        if (p->position == 0)
            fv_text_add(&made, "%s=", p->key);
        fv_param_print(p, node->options, &made);
    }
    snprintf(text, 256, "%s", made.bytes ? made.bytes : "");
    fv_text_free(&made);
    return text;
}

fv_status fv_layer_describe(const fv_net *net, int index, fv_layer_info *info) {
    if (index < 0 || index >= net->count)
        return fv_fail(FV_INVALID, "there is no layer %d: the net has %d", index, net->count);
    static _Thread_local char text[256];
    const fv_node *node = &net->nodes[index];
    size_t values;
    count_values(&node->output, &values);
    for (int i = 0; i < node->output.rank; i++)
        values = node->output.size[i] == FV_ANY ? 0 : values;
    *info = (fv_layer_info){.name = node->name,
                            .type = node->type->name,
                            .detail = detail(node, text),
                            .output = node->output,
                            .macs = node->macs,
                            .activations = (int64_t)values,
                            .training_only = node->training_only};
    if (node->type->view || node->type->identity)
        info->activations = 0;
    info->parameters = node_parameters(node);
    return FV_OK;
}

/* ---- Use
 * ------------------------------------------------------------------------------------------ */

fv_status fv_net_acquire_as_is(fv_net *net, bool exclusive) {
    if (!net->built)
        return fv_fail(FV_INVALID, "the net is not built yet: call fv_net_build() first");
    int users = atomic_load(&net->users);
    do {
        if (users < 0 || (exclusive && users > 0))
            return fv_fail(FV_BUSY, "the net is %s (free that first)",
                           users < 0 ? "being trained" : "used by a session");
    } while (!atomic_compare_exchange_weak(&net->users, &users, exclusive ? -1 : users + 1));
    return FV_OK;
}

fv_status fv_net_acquire(fv_net *net, bool exclusive) {
    fv_status status = fv_net_acquire_as_is(net, exclusive);
    if (status || !exclusive)
        return status;
    status = fv_net_read_weights(net);
    if (status)
        fv_net_release(net, exclusive);
    return status;
}

void fv_net_release(fv_net *net, bool exclusive) {
    if (exclusive)
        atomic_store(&net->users, 0);
    else
        atomic_fetch_sub(&net->users, 1);
}
