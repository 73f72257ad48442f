/* The order in which a Functional model of Keras 3 has its layers, whatever order its config has
 * them in (keras/src/ops/function.py, map_graph): those that are farthest from the outputs first,
 * and of those that are equally far the one that is come by first, going from the outputs to what
 * they read. The groups of weights in a file are named by it. Called by export.c. */
#include "export.h"
#include <stdlib.h>

/* A layer's rank in the order. */
typedef struct place {
    int layer;
    int depth; /* steps to the farthest layer that reads nothing but it, and its like */
    int visit; /* -1: no output needs it */
} place;

const tensor *output_tensor(const exporter *e, int index) {
    return &e->outputs[fv_net_find(e->net, fv_output_name(e->net, index))];
}

/* Numbers the layers as they are come by, depth first, a layer before its inputs, these in order.
 * `stack` has room for all outputs and inputs. */
static void visit_all(const exporter *e, place *places, int *stack) {
    int top = 0, seen = 0;
    for (int i = fv_output_count(e->net) - 1; i >= 0; i--)
        stack[top++] = output_tensor(e, i)->layer;
    while (top > 0) {
        int n = stack[--top];
        const added_layer *layer = &e->layers[n];
        if (places[n].visit >= 0)
            continue;
        places[n].visit = seen++;
        for (int i = layer->input_count - 1; i >= 0; i--)
            stack[top++] = layer->inputs[i];
    }
}

/* Layers stand behind their inputs. */
static void find_depths(const exporter *e, place *places) {
    for (int n = e->layer_count - 1; n >= 0; n--) {
        const added_layer *layer = &e->layers[n];
        for (int i = 0; i < layer->input_count && places[n].visit >= 0; i++) {
            place *input = &places[layer->inputs[i]];
            if (input->depth <= places[n].depth)
                input->depth = places[n].depth + 1;
        }
    }
}

static int compare(const void *first, const void *second) {
    const place *a = first, *b = second;
    return a->depth != b->depth ? b->depth - a->depth : a->visit - b->visit;
}

fv_status find_order(const exporter *e, int *order, int *count) {
    size_t room = (size_t)fv_output_count(e->net);
    for (int n = 0; n < e->layer_count; n++)
        room += (size_t)e->layers[n].input_count;
    place *places = fv_alloc((size_t)e->layer_count, sizeof *places);
    int *stack = fv_alloc(room, sizeof *stack);
    *count = 0;
    if (places && stack) {
        for (int n = 0; n < e->layer_count; n++)
            places[n] = (place){.layer = n, .visit = -1};
        visit_all(e, places, stack);
        find_depths(e, places);
        qsort(places, (size_t)e->layer_count, sizeof *places, compare);
        for (int n = 0; n < e->layer_count; n++)
            if (places[n].visit >= 0)
                order[(*count)++] = places[n].layer;
    }
    fv_status status = places && stack ? FV_OK : FV_MEMORY;
    fv_free(places);
    fv_free(stack);
    return status;
}
