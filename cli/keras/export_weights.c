/* The variables of the layers of Keras: noted while layers are added, written when all are there,
 * since their places follow from the layers' order. Called by export.c, export_conv.c and
 * export_plain.c. */
#include "export.h"
#include <string.h>

/* ---- Noting ---------------------------------------------------------------------------------- */

fv_status emit_weight(const writing *w, int index, int rank, const size_t *sizes) {
    exporter *e = w->exporter;
    added_variable *all = grow(e->variables, e->variable_count, sizeof *all);
    if (!all)
        return FV_MEMORY;
    e->variables = all;
    added_variable *own = &all[e->variable_count];
    *own = (added_variable){
        .layer = e->layer_count - 1, .node = w->index, .weight = index, .rank = rank};
    if (e->variable_count > 0 && own[-1].layer == own->layer)
        own->number = own[-1].number + 1;
    if (rank > 0)
        memcpy(own->size, sizes, sizeof(size_t) * (size_t)rank);
    else
        own->rank = keras_sizes(w->node, &w->node->weights[index], own->size);
    e->variable_count++;
    return FV_OK;
}

fv_status emit_weights(const writing *w) {
    fv_status status = FV_OK;
    for (int i = 0; i < w->node->weight_count && !status; i++)
        status = emit_weight(w, i, 0, NULL);
    return status;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static int weight_number(const fv_net *net, int node, int index) {
    for (int n = 0; n < node; n++)
        index += net->nodes[n].weight_count;
    return index;
}

/* The variable's values in Keras' order. */
static fv_status read_values(const fv_net *net, const added_variable *v, size_t count,
                             float *values) {
    for (size_t i = 0; i < count; i++)
        values[i] = 1;
    if (v->weight < 0)
        return FV_OK;
    const fv_node *node = &net->nodes[v->node];
    float *file = fv_alloc(count, sizeof *file);
    fv_status status =
        file ? fv_get_weight(net, weight_number(net, v->node, v->weight), file) : FV_MEMORY;
    if (!status)
        file_to_keras(node, &node->weights[v->weight], file, values);
    fv_free(file);
    return status;
}

static fv_status write_variable(const exporter *e, const added_variable *v, const char *group,
                                store *file) {
    array a = {.rank = v->rank};
    char path[256];
    size_t count = 1;
    for (int i = 0; i < v->rank; i++)
        count *= a.size[i] = v->size[i];
    a.values = fv_alloc(count, sizeof *a.values);
    fv_status status = a.values ? read_values(e->net, v, count, a.values) : FV_MEMORY;
    snprintf(path, sizeof path, "layers/%s/vars/%d", group, v->number);
    if (!status)
        status = store_write(file, path, &a);
    fv_free(a.values);
    return status;
}

/* The first variable of each layer; those of one layer stand together. */
static int *find_firsts(const exporter *e) {
    int *firsts = fv_alloc((size_t)e->layer_count + 1, sizeof *firsts);
    for (int n = 0, v = 0; firsts && n <= e->layer_count; n++) {
        while (v < e->variable_count && e->variables[v].layer < n)
            v++;
        firsts[n] = v;
    }
    return firsts;
}

fv_status weights_write(const exporter *e, const int *order, int count, store *file) {
    json_t *seen = json_object();
    int *firsts = find_firsts(e);
    fv_status status = seen && firsts ? FV_OK : FV_MEMORY;
    char group[160];
    for (int i = 0; i < count && !status; i++) {
        const added_layer *layer = &e->layers[order[i]];
        if (!layer->operation)
            status = group_name(seen, layer->class_name, group);
        for (int v = firsts[order[i]]; v < firsts[order[i] + 1] && !status; v++)
            status = write_variable(e, &e->variables[v], group, file);
    }
    fv_free(firsts);
    json_decref(seen);
    return status;
}
