/* An ONNX graph in memory: values by number, nodes in their order, constants. After a failure
 * nothing more is added, so that a translator checks once, at its end. Called by onnx_export*.c. */
#include "base/text.h"
#include "formats/onnx/export.h"
#include <math.h>
#include <string.h>

void fv_export_free(fv_export_graph *g) {
    for (size_t i = 0; i < g->value_count; i++)
        fv_free(g->values[i]);
    for (size_t i = 0; i < g->tensor_count; i++) {
        fv_free(g->tensors[i].floats);
        fv_free(g->tensors[i].integers);
    }
    fv_free(g->values);
    fv_free(g->nodes);
    fv_free(g->attributes);
    fv_free(g->tensors);
    fv_free(g->inputs);
    fv_free(g->outputs);
    fv_free(g->classes);
    fv_free(g->doc);
    *g = (fv_export_graph){0};
}

/* Room for one more of `count`: blocks hold 8, 16, 32 ... NULL, and the graph has failed, when out
 * of memory. */
static void *more(fv_export_graph *g, void *block, size_t count, size_t size) {
    if (count > 0 && (count < 8 || (count & (count - 1))))
        return block;
    void *moved = fv_realloc(block, count, count > 0 ? 2 * count : 8, size);
    if (!moved)
        g->status = FV_MEMORY;
    return moved;
}

/* ---- Values --------------------------------------------------------------------------------- */

static int add_value(fv_export_graph *g, char *name) {
    void *moved = name ? more(g, g->values, g->value_count, sizeof *g->values) : NULL;
    if (!moved) {
        g->status = FV_MEMORY;
        fv_free(name);
        return FV_EXPORT_NONE;
    }
    g->values = moved;
    g->values[g->value_count] = name;
    return (int)g->value_count++;
}

static bool taken(const fv_export_graph *g, const char *name) {
    for (size_t i = g->first; i < g->value_count; i++)
        if (strcmp(g->values[i], name) == 0)
            return true;
    return false;
}

/* LAYER:WORD, or LAYER:WORD_2 ... No layer's name has a colon. */
static char *new_name(const fv_export_graph *g, const char *word) {
    for (int number = 1;; number++) {
        fv_text text = {0};
        fv_text_add(&text, "%s:%s", g->prefix, word);
        if (number > 1)
            fv_text_add(&text, "_%d", number);
        char *name = fv_text_take(&text);
        if (!name || !taken(g, name))
            return name;
        fv_free(name);
    }
}

void fv_export_rename(fv_export_graph *g, int value, const char *name) {
    char *copy = g->status ? NULL : fv_copy_string(name);
    if (!copy) {
        g->status = g->status ? g->status : FV_MEMORY;
        return;
    }
    fv_free(g->values[value]);
    g->values[value] = copy;
}

int fv_export_input(fv_export_graph *g, const char *name, const fv_shape *shape) {
    int value = g->status ? FV_EXPORT_NONE : add_value(g, fv_copy_string(name));
    void *moved = g->status ? NULL : more(g, g->inputs, g->input_count, sizeof *g->inputs);
    if (!moved)
        return FV_EXPORT_NONE;
    g->inputs = moved;
    g->inputs[g->input_count++] = (fv_export_port){.value = value, .shape = *shape};
    return value;
}

void fv_export_output(fv_export_graph *g, int value, const fv_shape *shape) {
    void *moved = g->status ? NULL : more(g, g->outputs, g->output_count, sizeof *g->outputs);
    if (!moved)
        return;
    g->outputs = moved;
    g->outputs[g->output_count++] = (fv_export_port){.value = value, .shape = *shape};
}

/* ---- Nodes ---------------------------------------------------------------------------------- */

int fv_export_node_of(fv_export_graph *g, const char *op, int count, const int *inputs) {
    int output = g->status ? FV_EXPORT_NONE : add_value(g, new_name(g, op));
    void *moved = g->status ? NULL : more(g, g->nodes, g->node_count, sizeof *g->nodes);
    if (!moved)
        return FV_EXPORT_NONE;
    g->nodes = moved;
    fv_export_node *node = &g->nodes[g->node_count++];
    *node = (fv_export_node){
        .op = op, .input_count = count, .output = output, .first_attribute = g->attribute_count};
    memcpy(node->inputs, inputs, (size_t)count * sizeof *inputs);
    return output;
}

int fv_export_1(fv_export_graph *g, const char *op, int a) {
    return fv_export_node_of(g, op, 1, &a);
}

int fv_export_2(fv_export_graph *g, const char *op, int a, int b) {
    return fv_export_node_of(g, op, 2, (const int[]){a, b});
}

int fv_export_3(fv_export_graph *g, const char *op, int a, int b, int c) {
    return fv_export_node_of(g, op, 3, (const int[]){a, b, c});
}

static void add_attribute(fv_export_graph *g, const fv_export_attribute *attribute) {
    void *moved =
        g->status ? NULL : more(g, g->attributes, g->attribute_count, sizeof *g->attributes);
    if (!moved)
        return;
    g->attributes = moved;
    g->attributes[g->attribute_count++] = *attribute;
    g->nodes[g->node_count - 1].attribute_count++;
}

void fv_export_set(fv_export_graph *g, const char *name, int64_t value) {
    add_attribute(g, &(fv_export_attribute){
                         .name = name, .type = FV_EXPORT_INT, .integers = {value}, .count = 1});
}

void fv_export_set_all(fv_export_graph *g, const char *name, int count, const int64_t *values) {
    fv_export_attribute attribute = {.name = name, .type = FV_EXPORT_INTS, .count = count};
    memcpy(attribute.integers, values, (size_t)count * sizeof *values);
    add_attribute(g, &attribute);
}

void fv_export_set_number(fv_export_graph *g, const char *name, double value) {
    add_attribute(
        g, &(fv_export_attribute){.name = name, .type = FV_EXPORT_FLOAT, .number = (float)value});
}

void fv_export_set_text(fv_export_graph *g, const char *name, const char *text) {
    add_attribute(g, &(fv_export_attribute){.name = name, .type = FV_EXPORT_STRING, .text = text});
}

/* ---- Constants ------------------------------------------------------------------------------ */

/* Takes over the tensor's arrays, on failure too. `name` likewise; NULL: out of memory. */
static int add_tensor(fv_export_graph *g, char *name, fv_export_tensor tensor) {
    bool failed = g->status || !name;
    tensor.count = 1;
    for (int i = 0; i < tensor.rank && !failed; i++)
        failed = !fv_size_product(tensor.count, tensor.size[i], &tensor.count);
    void *moved = failed ? NULL : more(g, g->tensors, g->tensor_count, sizeof *g->tensors);
    if (!moved) {
        g->status = g->status ? g->status : FV_MEMORY;
        fv_free(name);
        fv_free(tensor.floats);
        fv_free(tensor.integers);
        return FV_EXPORT_NONE;
    }
    g->tensors = moved;
    tensor.value = FV_EXPORT_NONE;
    g->tensors[g->tensor_count++] = tensor;
    return g->tensors[g->tensor_count - 1].value = add_value(g, name);
}

int fv_export_floats(fv_export_graph *g, const char *word, int rank, const size_t *size,
                     float *floats) {
    fv_export_tensor tensor = {.rank = rank, .floats = floats};
    if (rank > 0)
        memcpy(tensor.size, size, (size_t)rank * sizeof *size);
    return add_tensor(g, g->status || !floats ? NULL : new_name(g, word), tensor);
}

int fv_export_integers(fv_export_graph *g, const char *word, int rank, const size_t *size,
                       int64_t *integers) {
    fv_export_tensor tensor = {.rank = rank, .integers = integers};
    if (rank > 0)
        memcpy(tensor.size, size, (size_t)rank * sizeof *size);
    return add_tensor(g, g->status || !integers ? NULL : new_name(g, word), tensor);
}

int fv_export_number(fv_export_graph *g, double value) {
    float *floats = g->status ? NULL : fv_alloc(1, sizeof *floats);
    if (floats)
        *floats = (float)value;
    return fv_export_floats(g, "number", 0, NULL, floats);
}

int fv_export_integer(fv_export_graph *g, int64_t value) {
    int64_t *integers = g->status ? NULL : fv_alloc(1, sizeof *integers);
    if (integers)
        *integers = value;
    return fv_export_integers(g, "integer", 0, NULL, integers);
}

int fv_export_list(fv_export_graph *g, int count, const int64_t *values) {
    int64_t *integers = g->status ? NULL : fv_alloc((size_t)count, sizeof *integers);
    if (integers)
        memcpy(integers, values, (size_t)count * sizeof *values);
    return fv_export_integers(g, "integers", 1, (const size_t[]){(size_t)count}, integers);
}

/* LAYER.WEIGHT as in other files or, where a layer is called that, with "_" after it. */
static char *weight_name(const fv_net *net, const char *name) {
    fv_text text = {0};
    fv_text_add(&text, "%s", name);
    while (!text.failed && fv_net_find(net, text.bytes) >= 0)
        fv_text_add(&text, "_");
    return fv_text_take(&text);
}

int fv_export_weight(fv_export_graph *g, const fv_net *net, int weight, int rank,
                     const size_t *size) {
    fv_weight_info info;
    fv_export_tensor tensor = {.net = net, .weight = weight};
    g->status = g->status ? g->status : fv_weight_describe(net, weight, &info);
    if (g->status)
        return FV_EXPORT_NONE;
    tensor.rank = rank > 0 ? rank : info.rank;
    memcpy(tensor.size, rank > 0 ? size : info.size, (size_t)tensor.rank * sizeof *size);
    return add_tensor(g, weight_name(net, info.name), tensor);
}

/* ---- Nodes that many layers need ------------------------------------------------------------ */

/* Where two arguments of a call make something, they are made before it: C does not say in which
 * order it would do that, and equal nets shall give equal files. */

int fv_export_reshape(fv_export_graph *g, int x, int count, const int64_t *sizes) {
    return fv_export_2(g, "Reshape", x, fv_export_list(g, count, sizes));
}

int fv_export_transpose(fv_export_graph *g, int x, int count, const int64_t *order) {
    int y = fv_export_1(g, "Transpose", x);
    fv_export_set_all(g, "perm", count, order);
    return y;
}

int fv_export_channels_last(fv_export_graph *g, int x, int rank) {
    int64_t order[5] = {0};
    for (int i = 0; i < rank; i++)
        order[1 + i] = 2 + i;
    order[1 + rank] = 1;
    return rank > 0 ? fv_export_transpose(g, x, rank + 2, order) : x;
}

int fv_export_channels_first(fv_export_graph *g, int x, int rank) {
    int64_t order[5] = {0, rank + 1};
    for (int i = 0; i < rank; i++)
        order[2 + i] = 1 + i;
    return rank > 0 ? fv_export_transpose(g, x, rank + 2, order) : x;
}

int fv_export_reduce(fv_export_graph *g, const char *op, int x, int axis) {
    const int64_t axes[] = {axis};
    bool by_input = strcmp(op, "ReduceSum") == 0; /* opset 13 moved its axes alone */
    int y = by_input ? fv_export_2(g, op, x, fv_export_list(g, 1, axes)) : fv_export_1(g, op, x);
    if (!by_input)
        fv_export_set_all(g, "axes", 1, axes);
    fv_export_set(g, "keepdims", 1);
    return y;
}

/* ---- Activations ---------------------------------------------------------------------------- */

/* x / 2 (1 + erf(x / sqrt 2)) */
static int gelu(fv_export_graph *g, int x) {
    int erf = fv_export_1(g, "Erf", fv_export_2(g, "Div", x, fv_export_number(g, sqrt(2))));
    int twice = fv_export_2(g, "Mul", x, fv_export_2(g, "Add", erf, fv_export_number(g, 1)));
    return fv_export_2(g, "Mul", twice, fv_export_number(g, 0.5));
}

/* x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
static int gelu_tanh(fv_export_graph *g, int x) {
    int cube = fv_export_2(g, "Pow", x, fv_export_number(g, 3));
    int bent = fv_export_2(g, "Add", x, fv_export_2(g, "Mul", cube, fv_export_number(g, 0.044715)));
    int inner = fv_export_2(g, "Mul", bent, fv_export_number(g, 0.7978845608028654));
    int tanh = fv_export_2(g, "Add", fv_export_1(g, "Tanh", inner), fv_export_number(g, 1));
    int half = fv_export_2(g, "Mul", x, fv_export_number(g, 0.5));
    return fv_export_2(g, "Mul", half, tanh);
}

static int relu6(fv_export_graph *g, int x) {
    int low = fv_export_number(g, 0), high = fv_export_number(g, 6);
    return fv_export_3(g, "Clip", x, low, high);
}

static int scaled_tanh(fv_export_graph *g, int x) {
    int inner = fv_export_2(g, "Mul", x, fv_export_number(g, 2.0 / 3));
    return fv_export_2(g, "Mul", fv_export_1(g, "Tanh", inner), fv_export_number(g, 1.7159));
}

/* An operator whose attribute `name` is the constant. */
static int with_constant(fv_export_graph *g, const char *op, int x, const char *name,
                         double constant) {
    int y = fv_export_1(g, op, x);
    fv_export_set_number(g, name, constant);
    return y;
}

static int over_channels(fv_export_graph *g, const char *op, int x) {
    int y = fv_export_1(g, op, x);
    fv_export_set(g, "axis", 1);
    return y;
}

static int hard_sigmoid(fv_export_graph *g, int x, double slope) {
    int y = with_constant(g, "HardSigmoid", x, "alpha", slope);
    fv_export_set_number(g, "beta", 0.5);
    return y;
}

int fv_export_activate(fv_export_graph *g, fv_activation activation, double constant, int x) {
    switch (activation) {
    case FV_LINEAR:
        return x;
    case FV_RELU:
        return fv_export_1(g, "Relu", x);
    case FV_SIGMOID:
        return fv_export_1(g, "Sigmoid", x);
    case FV_TANH:
        return fv_export_1(g, "Tanh", x);
    case FV_SOFTMAX:
        return over_channels(g, "Softmax", x);
    case FV_RELU6:
        return relu6(g, x);
    case FV_LEAKY_RELU:
        return with_constant(g, "LeakyRelu", x, "alpha", constant);
    case FV_ELU:
        return with_constant(g, "Elu", x, "alpha", constant);
    case FV_SELU:
        return fv_export_1(g, "Selu", x);
    case FV_GELU:
        return gelu(g, x);
    case FV_GELU_TANH:
        return gelu_tanh(g, x);
    case FV_SILU:
        return fv_export_2(g, "Mul", x, fv_export_1(g, "Sigmoid", x));
    case FV_MISH:
        return fv_export_2(g, "Mul", x, fv_export_1(g, "Tanh", fv_export_1(g, "Softplus", x)));
    case FV_HARD_SIGMOID:
        return hard_sigmoid(g, x, constant);
    case FV_HARD_SWISH:
        return fv_export_1(g, "HardSwish", x);
    case FV_SOFTPLUS:
        return fv_export_1(g, "Softplus", x);
    case FV_SOFTSIGN:
        return fv_export_1(g, "Softsign", x);
    case FV_SCALED_TANH:
        return scaled_tanh(g, x);
    case FV_LOG_SOFTMAX:
        return over_channels(g, "LogSoftmax", x);
    }
    g->status = fv_fail(FV_UNSUPPORTED, "%s: its activation has no ONNX form", g->prefix);
    return FV_EXPORT_NONE;
}
