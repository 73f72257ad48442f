/* ONNX nodes of layers on vectors, of constants and slopes, and of what joins several inputs.
 * Called by export.c by its table. */
#include "formats/onnx/export.h"

/* ---- Vectors -------------------------------------------------------------------------------- */

/* The weights (units, inputs) have the channels of a flattened input first, as its ONNX form has.
 */
int fv_export_dense(const fv_export_call *c) {
    fv_export_graph *g = c->graph;
    int inputs[3] = {fv_export_folded_in(c, 0)};
    inputs[1] = fv_export_weight_in(c, "weight");
    inputs[2] = fv_export_weight_in(c, "bias");
    int y = fv_export_node_of(g, "Gemm", inputs[2] == FV_EXPORT_NONE ? 2 : 3, inputs);
    fv_export_set(g, "transB", 1);
    return y;
}

/* The sum over the inputs of (x - w)^2: x as N, 1, inputs against the weights (units, inputs). */
int fv_export_rbf(const fv_export_call *c) {
    fv_export_graph *g = c->graph;
    int x = fv_export_in(c, 0);
    x = fv_export_reshape(g, x, 3, (const int64_t[]){0, 1, fv_export_shape_in(c, 0)->channels});
    int rest = fv_export_2(g, "Sub", x, fv_export_weight_in(c, "weight"));
    int square = fv_export_2(g, "Mul", rest, rest);
    int y = fv_export_2(g, "ReduceSum", square, fv_export_list(g, 1, (const int64_t[]){2}));
    fv_export_set(g, "keepdims", 0);
    return y;
}

/* The values for as many samples as the input has. */
int fv_export_constant(const fv_export_call *c) {
    const fv_shape *shape = &c->node->output;
    const fv_export_result *in = &c->results[c->node->inputs[0]];
    fv_export_graph *g = c->graph;
    size_t size[5] = {1, (size_t)shape->channels};
    for (int i = 0; i < shape->rank; i++)
        size[2 + i] = (size_t)shape->size[i];
    int sizes = fv_export_1(g, "Shape", in->value != FV_EXPORT_NONE ? in->value : in->folded);
    int samples = fv_export_2(g, "Gather", sizes, fv_export_list(g, 1, (const int64_t[]){0}));
    int ones = fv_export_list(g, 1 + shape->rank, (const int64_t[]){1, 1, 1, 1});
    int wanted = fv_export_2(g, "Concat", samples, ones);
    fv_export_set(g, "axis", 0);
    return fv_export_2(g, "Expand", fv_export_weight_as(c, "weight", 2 + shape->rank, size),
                       wanted);
}

int fv_export_prelu(const fv_export_call *c) {
    int x = fv_export_in(c, 0);
    return fv_export_2(c->graph, "PRelu", x,
                       fv_export_channel_weight(c, "weight", c->node->output.rank));
}

/* ---- Several inputs ------------------------------------------------------------------------- */

/* Input i with as many axes as the output: it has one place where it lacks some. */
static int operand(const fv_export_call *c, int i) {
    const fv_shape *in = fv_export_shape_in(c, i), *out = &c->node->output;
    int x = fv_export_in(c, i);
    if (in->rank == out->rank)
        return x;
    const int64_t sizes[5] = {0, in->channels, 1, 1, 1};
    return fv_export_reshape(c->graph, x, 2 + out->rank, sizes);
}

static int join(const fv_export_call *c, const char *op) {
    int joined = operand(c, 0);
    for (int i = 1; i < c->node->input_count; i++)
        joined = fv_export_2(c->graph, op, joined, operand(c, i));
    return joined;
}

int fv_export_add(const fv_export_call *c) {
    return join(c, "Add");
}

int fv_export_multiply(const fv_export_call *c) {
    return join(c, "Mul");
}

int fv_export_maximum(const fv_export_call *c) {
    return join(c, "Max");
}
