/* At inference a layer that maps each channel by a factor and a shift (batch norm with its running
 * statistics) is taken up by the weights of the layer before: w' = w scale, bias' = bias scale +
 * shift, and its activation becomes that layer's. Then it only shares that layer's output. What is
 * folded is decided by the plan, and done where weights are packed. Called by plan.c and execute.c.
 */
#include "net/fold.h"
#include <string.h>

/* ---- Which layers --------------------------------------------------------------------------- */

/* Whether each output of the layer has weights of its own, of all of which the map's factor can be
 * taken up. */
static bool has_channels(const fv_node *node, int channels) {
    const fv_weight_spec *spec = &node->weights[0].spec;
    return node->weight_count > 0 && spec->size[spec->output_axis] == (size_t)channels;
}

static bool can_fold(const fv_plan *plan, const int *readers, int n) {
    const fv_node *node = &plan->net->nodes[n];
    const fv_node_plan *own = &plan->nodes[n];
    if (!own->runs || !node->type->affine || own->tap.place != FV_PLACE_NONE)
        return false;
    int before = node->inputs[0];
    const fv_node *taker = &plan->net->nodes[before];
    const fv_node_plan *p = &plan->nodes[before];
    return taker->type->takes_affine && taker->activation == FV_LINEAR && readers[before] == 1 &&
           !p->tapped && p->tap.place == FV_PLACE_NONE && has_channels(taker, own->shape.channels);
}

void fv_find_folds(fv_plan *plan, const int *readers) {
    const fv_net *net = plan->net;
    for (int n = 1; n < net->count; n++)
        if (can_fold(plan, readers, n)) {
            plan->nodes[n].view = plan->nodes[n].folded = true;
            plan->nodes[net->nodes[n].inputs[0]].fold = n;
        }
}

/* ---- Their weights -------------------------------------------------------------------------- */

static size_t array_bytes(size_t count) {
    return fv_round_up(count * sizeof(real), 64);
}

size_t fv_fold_bytes(const fv_plan *plan, int n) {
    const fv_node_plan *p = &plan->nodes[n];
    const fv_node *node = &plan->net->nodes[n], *map = &plan->net->nodes[p->fold];
    if (!p->fold)
        return 0;
    size_t bytes = 3 * array_bytes((size_t)p->shape.channels);
    if (!plan->from_file) /* a copy; what comes from a file is changed where it was read to */
        return bytes + array_bytes(node->weights[0].count);
    for (int w = 0; w < map->weight_count; w++)
        bytes += array_bytes(map->weights[w].count);
    return bytes;
}

/* Multiplies the weights of each output by its factor. */
static void scale_weights(const fv_weight *weight, const real *scale, const real *from, real *to) {
    const fv_weight_spec *spec = &weight->spec;
    size_t outputs = spec->size[spec->output_axis], inner = 1;
    for (int axis = spec->rank - 1; axis >= 0 && spec->axes[axis] != spec->output_axis; axis--)
        inner *= spec->size[spec->axes[axis]];
    for (size_t at = 0; at < weight->count; at += outputs * inner)
        if (inner == 1) /* most: a loop over a single value would cost more than its product */
            for (size_t output = 0; output < outputs; output++)
                to[at + output] = from[at + output] * scale[output];
        else
            for (size_t output = 0; output < outputs; output++)
                for (size_t i = 0; i < inner; i++)
                    to[at + output * inner + i] = from[at + output * inner + i] * scale[output];
}

void fv_fold(const fv_plan *plan, int n, const real *const *map_weights, unsigned char *room,
             fv_call *call) {
    const fv_node_plan *p = &plan->nodes[n];
    const fv_node *node = &plan->net->nodes[n], *map = &plan->net->nodes[p->fold];
    size_t channels = (size_t)p->shape.channels;
    real *scale = (real *)room, *shift = (real *)(room + array_bytes(channels)),
         *bias = (real *)(room + 2 * array_bytes(channels));
    fv_weight weight = node->weights[0];
    if (plan->from_file && p->layer.slice)
        weight = fv_weight_outputs(&weight, (size_t)call->first_output, (size_t)call->outputs);
    map->type->affine(map->options, (int)channels, map_weights, scale, shift);
    scale += call->first_output;
    shift += call->first_output;
    real *weights = plan->from_file ? (real *)(uintptr_t)call->weights[0]
                                    : (real *)(room + 3 * array_bytes(channels));
    scale_weights(&weight, scale, call->weights[0], weights);
    for (int c = 0; c < call->outputs; c++)
        bias[c] = (node->weight_count > 1 ? call->weights[1][c] * scale[c] : 0) + shift[c];
    call->weights[0] = weights;
    call->weights[1] = bias;
    call->weight_count = 2;
}
