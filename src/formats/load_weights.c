/* All weights of a net from a file of tensors: by the net's own names, else by those under which
 * the same net is published (published.c). Names are paired, never guessed: a set of names counts
 * where every weight finds a tensor of its shape and no tensor is left over. The public
 * fv_load_weights.
 */
#include "base/status.h"
#include "formats/published.h"
#include "formats/tensor_file.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

typedef struct loading {
    fv_net *net;
    fv_tensor_file file;
    fv_lookup tensors; /* name: index */
    fv_weight_info *weights;
    int count;         /* of the net's weights */
    size_t *pairs;     /* of each weight: its tensor */
    bool *taken;       /* of each tensor */
    float *values;     /* room for the largest */
    const char *whose; /* the names that are paired; NULL: the net's own */
} loading;

/* ---- Messages -------------------------------------------------------------------------------- */

enum { SHAPE_TEXT = 192 };

/* "[32, 1, 3, 3]" into text; returns it. */
static const char *shape_text(int rank, const size_t *size, char text[SHAPE_TEXT]) {
    int used = snprintf(text, SHAPE_TEXT, "[");
    for (int i = 0; i < rank; i++)
        used +=
            snprintf(text + used, (size_t)(SHAPE_TEXT - used), i > 0 ? ", %zu" : "%zu", size[i]);
    snprintf(text + used, (size_t)(SHAPE_TEXT - used), "]");
    return text;
}

static const char *whose(const loading *l) {
    return l->whose ? l->whose : "the net";
}

static fv_status fail_missing(const loading *l, const fv_weight_info *weight, const char *name) {
    char needed[SHAPE_TEXT], there[SHAPE_TEXT];
    const fv_tensors *tensors = &l->file.tensors;
    shape_text(weight->rank, weight->size, needed);
    if (tensors->count == 0)
        return fv_fail(FV_FORMAT, "tensor \"%s\" %s is missing: the file has none", name, needed);
    return fv_fail(FV_FORMAT,
                   "tensor \"%s\" %s of %s is missing; the file has %zu tensors, the first is "
                   "\"%.100s\" %s",
                   name, needed, whose(l), tensors->count, tensors->entries[0].name,
                   shape_text(tensors->entries[0].rank, tensors->entries[0].size, there));
}

/* ---- Pairing --------------------------------------------------------------------------------- */

/* What the weight's tensor is called: its own name, or that by which its layer is published. False:
 * by these names it has none. */
static bool tensor_name(const fv_published *published, const fv_weight_info *weight,
                        char name[FV_PUBLISHED_SIZE + 32]) {
    const char *dot = strrchr(weight->name, '.');
    char layer[sizeof weight->name], begin[FV_PUBLISHED_SIZE];
    snprintf(layer, sizeof layer, "%.*s", (int)(dot - weight->name), weight->name);
    if (!published)
        snprintf(name, FV_PUBLISHED_SIZE + 32, "%s", weight->name);
    else if (fv_published_name(published, layer, begin))
        snprintf(name, FV_PUBLISHED_SIZE + 32, "%s%.31s", begin, dot);
    else
        return false;
    return true;
}

/* PyTorch's count of batches, which no net here keeps. */
static bool is_ignored(const fv_tensor_entry *entry) {
    static const char end[] = "num_batches_tracked";
    size_t size = strlen(entry->name), tail = sizeof end - 1;
    return entry->count == 1 && entry->rank <= 1 && strcmp(entry->dtype, "I64") == 0 &&
           size >= tail && strcmp(entry->name + size - tail, end) == 0;
}

/* Equal shapes; or a convolution over the whole input, (4096, 512, 7, 7), for the dense layer that
 * it is, (4096, 25088): both lie in memory alike. */
static bool shapes_agree(const fv_weight_info *weight, const fv_tensor_entry *entry) {
    if (entry->rank == weight->rank)
        return memcmp(entry->size, weight->size, (size_t)weight->rank * sizeof *weight->size) == 0;
    return weight->rank == 2 && entry->rank > 2 && entry->size[0] == weight->size[0] &&
           entry->count == weight->count;
}

static fv_status check_pair(const fv_weight_info *weight, const fv_tensor_entry *entry) {
    char needed[SHAPE_TEXT], there[SHAPE_TEXT];
    if (!shapes_agree(weight, entry))
        return fv_fail(FV_SHAPE, "tensor \"%.100s\" is %s in the file, the net's %s is %s",
                       entry->name, shape_text(entry->rank, entry->size, there), weight->name,
                       shape_text(weight->rank, weight->size, needed));
    if (!fv_tensor_is_real(entry))
        return fv_fail(FV_FORMAT,
                       "tensor \"%.100s\" %s is of type %s; F32, F64, F16 and BF16 are read",
                       entry->name, shape_text(entry->rank, entry->size, there), entry->dtype);
    return FV_OK;
}

/* Every tensor that no weight took must be one that is ignored. */
static fv_status check_left_over(const loading *l) {
    const fv_tensors *tensors = &l->file.tensors;
    char there[SHAPE_TEXT];
    for (size_t i = 0; i < tensors->count; i++) {
        const fv_tensor_entry *entry = &tensors->entries[i];
        if (!l->taken[i] && !is_ignored(entry))
            return fv_fail(FV_FORMAT, "tensor \"%.100s\" %s is none of %s", entry->name,
                           shape_text(entry->rank, entry->size, there), whose(l));
    }
    return FV_OK;
}

/* Pairs all by these names. FV_OK, or the first that does not; *found: how many have a tensor. */
static fv_status pair_all(loading *l, const fv_published *published, int *found) {
    fv_status status = FV_OK;
    l->whose = published ? published->who : NULL;
    *found = 0;
    memset(l->taken, 0, l->file.tensors.count * sizeof *l->taken);
    for (int i = 0; i < l->count; i++) {
        const fv_weight_info *weight = &l->weights[i];
        char name[FV_PUBLISHED_SIZE + 32];
        bool named = tensor_name(published, weight, name);
        int index = named ? fv_lookup_find(&l->tensors, name) : -1;
        *found += index >= 0;
        if (status == FV_OK)
            status = index < 0 ? fail_missing(l, weight, named ? name : weight->name)
                               : check_pair(weight, &l->file.tensors.entries[index]);
        if (index >= 0) {
            l->pairs[i] = (size_t)index;
            l->taken[index] = true;
        }
    }
    return status == FV_OK ? check_left_over(l) : status;
}

/* By the net's own names, else by published ones. Where none fits, the message is about those that
 * come nearest. */
static fv_status pair_names(loading *l) {
    const fv_published *best = NULL;
    int found, most;
    fv_status status = pair_all(l, NULL, &most);
    for (const fv_published *p = fv_published_nets; status != FV_OK && p->who; p++) {
        status = pair_all(l, p, &found);
        best = found > most ? p : best;
        most = found > most ? found : most;
    }
    return status == FV_OK ? FV_OK : pair_all(l, best, &found);
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* Reads the values of each weight, and sets them unless this is only to see that all can be. */
static fv_status read_values(loading *l, bool set) {
    fv_status status = FV_OK;
    for (int i = 0; i < l->count && status == FV_OK; i++) {
        status = fv_tensor_file_read(&l->file, l->pairs[i], l->values);
        if (status == FV_OK && set)
            status = fv_set_weight(l->net, i, l->values);
    }
    return status;
}

/* Room for what is known of each weight, and for the values of one. */
static fv_status describe_weights(loading *l) {
    size_t most = 0;
    l->count = fv_weight_count(l->net);
    l->weights = fv_alloc((size_t)l->count, sizeof *l->weights);
    l->pairs = fv_alloc((size_t)l->count, sizeof *l->pairs);
    if (!l->weights || !l->pairs)
        return FV_MEMORY;
    for (int i = 0; i < l->count; i++) {
        fv_weight_describe(l->net, i, &l->weights[i]);
        most = l->weights[i].count > most ? l->weights[i].count : most;
    }
    l->values = fv_alloc(most, sizeof *l->values);
    return l->values ? FV_OK : FV_MEMORY;
}

/* Every name of the file, which must be there once. */
static fv_status list_tensors(loading *l) {
    const fv_tensors *tensors = &l->file.tensors;
    if (tensors->count > INT_MAX / 4)
        return fv_fail(FV_FORMAT, "more tensors than any net has");
    l->taken = fv_alloc(tensors->count, sizeof *l->taken);
    if (!l->taken)
        return FV_MEMORY;
    for (size_t i = 0; i < tensors->count; i++) {
        const char *name = tensors->entries[i].name;
        if (fv_lookup_find(&l->tensors, name) >= 0)
            return fv_fail(FV_FORMAT, "two tensors are called \"%.100s\"", name);
        if (fv_lookup_add(&l->tensors, name, (int)i))
            return FV_MEMORY;
    }
    return FV_OK;
}

/* All is read once before anything is set, so that a damaged file leaves the net as it was. */
static fv_status load(loading *l) {
    const char *classes = fv_tensors_metadata(&l->file.tensors, FV_CLASSES_KEY);
    fv_status status = describe_weights(l);
    if (status == FV_OK)
        status = list_tensors(l);
    if (status == FV_OK)
        status = pair_names(l);
    if (status == FV_OK)
        status = read_values(l, false);
    if (status == FV_OK && classes)
        status = fv_classes_from_json(classes, l->net);
    if (status == FV_OK)
        status = fv_net_make_room(l->net);
    return status == FV_OK ? read_values(l, true) : status;
}

fv_status fv_load_weights(fv_net *net, const char *path) {
    fv_status status = fv_net_acquire_as_is(net, true); /* it is built, and nobody uses it */
    if (status != FV_OK)
        return status;
    fv_net_release(net, true);
    loading l = {.net = net};
    status = fv_tensor_file_open(path, &l.file);
    if (status != FV_OK)
        return status;
    status = load(&l);
    if (status != FV_OK)
        fv_fail_in(status, "%s", path);
    fv_tensor_file_close(&l.file);
    fv_lookup_free(&l.tensors);
    fv_free(l.weights);
    fv_free(l.pairs);
    fv_free(l.taken);
    fv_free(l.values);
    return status;
}
