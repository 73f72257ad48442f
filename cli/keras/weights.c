/* Weights between Keras' order of axes and that of our files. Keras: (spatial..., inputs, outputs);
 * our files, as PyTorch: (outputs, inputs, spatial...). Called by import.c and export.c. */
#include "keras.h"
#include <string.h>

/* ---- Orders ---------------------------------------------------------------------------------- */

/* Which of the file's axes each of Keras' axes is. */
static int order_of(const fv_node *node, const fv_weight *weight, int axes[FV_MAX_RANK]) {
    int rank = weight->spec.rank;
    bool same = rank == 1 || strcmp(node->type->name, "local") == 0; /* (places, inputs, outputs) */
    bool norm = strcmp(node->type->name, "layer_norm") == 0;         /* (channels, spatial...) */
    for (int i = 0; i < rank; i++)
        axes[i] = i;
    if (same)
        return rank;
    int moved = norm ? 1 : 2; /* to the end, the first one last */
    for (int i = 0; i < rank - moved; i++)
        axes[i] = i + moved;
    for (int i = 0; i < moved; i++)
        axes[rank - 1 - i] = i;
    return rank;
}

int keras_sizes(const fv_node *node, const fv_weight *weight, size_t size[FV_MAX_RANK]) {
    int axes[FV_MAX_RANK], rank = order_of(node, weight, axes);
    for (int i = 0; i < rank; i++)
        size[i] = weight->spec.size[axes[i]];
    return rank;
}

/* For each value in Keras' order its place in the file's, one after another. */
typedef struct places {
    int rank;
    size_t size[FV_MAX_RANK], step[FV_MAX_RANK], at[FV_MAX_RANK], place;
} places;

static places places_of(const fv_node *node, const fv_weight *weight) {
    int axes[FV_MAX_RANK];
    places p = {.rank = order_of(node, weight, axes)};
    for (int i = 0; i < p.rank; i++) {
        p.size[i] = weight->spec.size[axes[i]];
        p.step[i] = 1;
        for (int axis = axes[i] + 1; axis < p.rank; axis++)
            p.step[i] *= weight->spec.size[axis];
    }
    return p;
}

static void next_place(places *p) {
    for (int i = p->rank - 1; i >= 0; i--) {
        p->place += p->step[i];
        if (++p->at[i] < p->size[i])
            return;
        p->place -= p->step[i] * p->size[i];
        p->at[i] = 0;
    }
}

void keras_to_file(const fv_node *node, const fv_weight *weight, const float *keras, float *file) {
    places p = places_of(node, weight);
    for (size_t i = 0; i < weight->count; i++, next_place(&p))
        file[p.place] = keras[i];
}

void file_to_keras(const fv_node *node, const fv_weight *weight, const float *file, float *keras) {
    places p = places_of(node, weight);
    for (size_t i = 0; i < weight->count; i++, next_place(&p))
        keras[i] = file[p.place];
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* Without axes of size 1. */
static int drop_ones(const size_t *from, int rank, size_t *to) {
    int left = 0;
    for (int i = 0; i < rank; i++)
        if (from[i] != 1)
            to[left++] = from[i];
    return left;
}

/* Whether two lists of sizes are the same but for axes of size 1 and neighbours that are one axis
 * in the other: a dense kernel (inputs, outputs) is our (height, width, channels, outputs), a
 * depthwise one (3, 3, channels, multiplier) our (3, 3, 1, outputs). */
static bool sizes_agree(const array *given, const size_t *wanted, int rank) {
    size_t a[FV_MAX_RANK], b[FV_MAX_RANK];
    int m = drop_ones(given->size, given->rank, a), n = drop_ones(wanted, rank, b), i = 0, j = 0;
    while (i < m && j < n) {
        int first = i, second = j;
        size_t left = a[i++], right = b[j++];
        while (left < right && i < m)
            left *= a[i++];
        while (right < left && j < n)
            right *= b[j++];
        if (left != right || (i - first > 1 && j - second > 1))
            return false;
    }
    return i == m && j == n;
}

static void sizes_text(int rank, const size_t *size, char text[128]) {
    size_t used = 0;
    snprintf(text, 128, "1");
    for (int i = 0; i < rank && used < 100; i++)
        used += (size_t)snprintf(text + used, 128 - used, i ? ", %zu" : "%zu", size[i]);
}

static fv_status set_weight(import_state *importer, const fv_node *node, const fv_weight *weight,
                            int index, const char *path, const array *values) {
    size_t wanted[FV_MAX_RANK];
    int rank = keras_sizes(node, weight, wanted);
    char found[128], expected[128];
    if (!sizes_agree(values, wanted, rank)) {
        sizes_text(values->rank, values->size, found);
        sizes_text(rank, wanted, expected);
        return fv_fail(FV_SHAPE, "%s has the shape (%s); by its config it should be (%s)", path,
                       found, expected);
    }
    float *file = fv_alloc(weight->count, sizeof *file);
    if (!file)
        return FV_MEMORY;
    keras_to_file(node, weight, values->values, file);
    fv_status status = fv_set_weight(importer->net, index, file);
    fv_free(file);
    return status;
}

/* Weights of node n, of which the first is the net's weight `index`. */
static fv_status read_node(import_state *importer, int n, int index) {
    const fv_node *node = &importer->net->nodes[n];
    const keras_layer *layer = importer->sources[n];
    if (layer && layer->variable_count != node->weight_count)
        return fv_fail(FV_FORMAT, "it has %d variables, expected %d", layer->variable_count,
                       node->weight_count);
    fv_status status = FV_OK;
    for (int w = 0; w < node->weight_count && layer && !status; w++) {
        const fv_weight *weight = &node->weights[w];
        array values;
        status = store_read(importer->file, layer->variables[w], weight->count, &values);
        if (!status)
            status = set_weight(importer, node, weight, index + w, layer->variables[w], &values);
        fv_free(values.values);
    }
    return status ? fv_fail_in(status, "layer %.80s (%.80s)", layer->name, layer->class_name)
                  : FV_OK;
}

fv_status weights_read(import_state *importer) {
    fv_status status = FV_OK;
    for (int n = 0, index = 0; n < importer->net->count && !status; n++) {
        status = read_node(importer, n, index);
        for (int i = 0; i < importer->constant_count && !status; i++)
            if (importer->constants[i].node == n)
                status = fv_set_weight(importer->net, index, importer->constants[i].values);
        index += importer->net->nodes[n].weight_count;
    }
    return status;
}
