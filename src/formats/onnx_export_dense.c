/* ONNX nodes of layers on vectors, of constants and slopes, and of what joins several inputs.
 * Called by onnx_export.c by its table. */
#include "formats/onnx_export.h"

/* ---- Vectors -----------------------------------------------------------------------------------
 */

/* The weights (units, inputs) have the channels of a flattened input first, as its ONNX form has.
 */
int fv_onnx_dense(const fv_onnx_call *c) {
    fv_onnx *g = c->graph;
    int inputs[3] = {fv_onnx_folded_in(c, 0)};
    inputs[1] = fv_onnx_weight_in(c, "weight");
    inputs[2] = fv_onnx_weight_in(c, "bias");
    int y = fv_onnx_node_of(g, "Gemm", inputs[2] == FV_ONNX_NONE ? 2 : 3, inputs);
    fv_onnx_set(g, "transB", 1);
    return y;
}

/* The sum over the inputs of (x - w)^2: x as N, 1, inputs against the weights (units, inputs). */
int fv_onnx_rbf(const fv_onnx_call *c) {
    fv_onnx *g = c->graph;
    int x = fv_onnx_in(c, 0);
    x = fv_onnx_reshape(g, x, 3, (const int64_t[]){0, 1, fv_onnx_shape_in(c, 0)->channels});
    int rest = fv_onnx_2(g, "Sub", x, fv_onnx_weight_in(c, "weight"));
    int square = fv_onnx_2(g, "Mul", rest, rest);
    int y = fv_onnx_2(g, "ReduceSum", square, fv_onnx_list(g, 1, (const int64_t[]){2}));
    fv_onnx_set(g, "keepdims", 0);
    return y;
}

/* The values for as many samples as the input has. */
int fv_onnx_constant(const fv_onnx_call *c) {
    const fv_shape *shape = &c->node->output;
    const fv_weight *weight = fv_onnx_find_weight(c, "weight");
    const fv_onnx_result *in = &c->results[c->node->inputs[0]];
    fv_onnx *g = c->graph;
    size_t size[5] = {1, (size_t)shape->channels};
    for (int i = 0; i < shape->rank; i++)
        size[2 + i] = (size_t)shape->size[i];
    int sizes = fv_onnx_1(g, "Shape", in->value != FV_ONNX_NONE ? in->value : in->folded);
    int samples = fv_onnx_2(g, "Gather", sizes, fv_onnx_list(g, 1, (const int64_t[]){0}));
    int ones = fv_onnx_list(g, 1 + shape->rank, (const int64_t[]){1, 1, 1, 1});
    int wanted = fv_onnx_2(g, "Concat", samples, ones);
    fv_onnx_set(g, "axis", 0);
    return fv_onnx_2(g, "Expand", fv_onnx_weight(g, c->net, weight, 2 + shape->rank, size), wanted);
}

int fv_onnx_prelu(const fv_onnx_call *c) {
    int x = fv_onnx_in(c, 0);
    return fv_onnx_2(c->graph, "PRelu", x,
                     fv_onnx_channel_weight(c, "weight", c->node->output.rank));
}

/* ---- Several inputs ----------------------------------------------------------------------------
 */

/* Input i with as many axes as the output: it has one place where it lacks some. */
static int operand(const fv_onnx_call *c, int i) {
    const fv_shape *in = fv_onnx_shape_in(c, i), *out = &c->node->output;
    int x = fv_onnx_in(c, i);
    if (in->rank == out->rank)
        return x;
    const int64_t sizes[5] = {0, in->channels, 1, 1, 1};
    return fv_onnx_reshape(c->graph, x, 2 + out->rank, sizes);
}

static int join(const fv_onnx_call *c, const char *op) {
    int joined = operand(c, 0);
    for (int i = 1; i < c->node->input_count; i++)
        joined = fv_onnx_2(c->graph, op, joined, operand(c, i));
    return joined;
}

int fv_onnx_add(const fv_onnx_call *c) {
    return join(c, "Add");
}

int fv_onnx_multiply(const fv_onnx_call *c) {
    return join(c, "Mul");
}

int fv_onnx_maximum(const fv_onnx_call *c) {
    return join(c, "Max");
}
