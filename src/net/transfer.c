/* Transfer: a net that starts from the weights of another, and layers that do not learn. The public
 * fv_init_from and fv_freeze. */
#include "base/text.h"
#include "net/net.h"
#include <fnmatch.h>
#include <string.h>

/* ---- Weights from another net ---------------------------------------------------------------- */

typedef struct transfer {
    fv_net *net;
    const fv_net *model;
    fv_lookup names; /* the model's weights */
    int *sources;    /* of each of the net's weights: the model's, or -1 */
    bool *named;     /* of each of the model's weights: the net has one of that name */
    fv_text report;
} transfer;

static void add_shape(fv_text *text, const fv_weight_info *weight) {
    for (int i = 0; i < weight->rank; i++)
        fv_text_add(text, "%s%zu", i > 0 ? ", " : "[", weight->size[i]);
    fv_text_add(text, "]");
}

static bool same_shape(const fv_weight_info *a, const fv_weight_info *b) {
    return a->rank == b->rank && memcmp(a->size, b->size, (size_t)a->rank * sizeof *a->size) == 0;
}

/* Finds the model's weight of that name and shape for weight `index`; says where there is none. */
static int find_source(transfer *t, int index) {
    fv_weight_info weight, other;
    fv_weight_describe(t->net, index, &weight);
    int source = fv_lookup_find(&t->names, weight.name);
    if (source < 0) {
        fv_text_add(&t->report, "%s ", weight.name);
        add_shape(&t->report, &weight);
        fv_text_add(&t->report, " is not in the model\n");
        return -1;
    }
    t->named[source] = true;
    fv_weight_describe(t->model, source, &other);
    if (same_shape(&weight, &other))
        return source;
    fv_text_add(&t->report, "%s is ", weight.name);
    add_shape(&t->report, &weight);
    fv_text_add(&t->report, ", in the model ");
    add_shape(&t->report, &other);
    fv_text_add(&t->report, "\n");
    return -1;
}

/* Pairs the weights by name; *agreeing: how many. */
static fv_status pair(transfer *t, int *agreeing) {
    int count = fv_weight_count(t->net), others = fv_weight_count(t->model);
    fv_weight_info weight;
    t->sources = fv_alloc((size_t)count, sizeof *t->sources);
    t->named = fv_alloc((size_t)others, sizeof *t->named);
    if (!t->sources || !t->named)
        return FV_MEMORY;
    for (int i = 0; i < others; i++) {
        fv_weight_describe(t->model, i, &weight);
        if (fv_lookup_add(&t->names, weight.name, i))
            return FV_MEMORY;
    }
    *agreeing = 0;
    for (int i = 0; i < count; i++) {
        t->sources[i] = find_source(t, i);
        *agreeing += t->sources[i] >= 0;
    }
    for (int i = 0; i < others; i++) {
        fv_weight_describe(t->model, i, &weight);
        if (!t->named[i])
            fv_text_add(&t->report, "%s is only in the model\n", weight.name);
    }
    return t->report.failed ? FV_MEMORY : FV_OK;
}

static fv_status copy(transfer *t, uint64_t seed) {
    size_t most = 0;
    int count = fv_weight_count(t->net);
    for (int i = 0; i < count; i++) {
        fv_weight_info weight;
        fv_weight_describe(t->net, i, &weight);
        most = weight.count > most ? weight.count : most;
    }
    float *values = fv_alloc(most, sizeof *values);
    fv_status status = values ? fv_net_initialize(t->net, seed) : FV_MEMORY;
    for (int i = 0; i < count && !status; i++) {
        if (t->sources[i] < 0)
            continue;
        status = fv_get_weight(t->model, t->sources[i], values);
        if (!status)
            status = fv_set_weight(t->net, i, values);
    }
    fv_free(values);
    return status;
}

static fv_status pair_and_copy(transfer *t, uint64_t seed) {
    int agreeing = 0;
    fv_status status = pair(t, &agreeing);
    if (!status && agreeing == 0)
        return fv_fail(FV_INVALID, "no weight of the model has the name and shape of one of the "
                                   "net: there is nothing to start from");
    return status ? status : copy(t, seed);
}

fv_status fv_init_from(fv_net *net, const fv_net *model, uint64_t seed, char **report) {
    if (!model->built)
        return fv_fail(FV_INVALID, "the model is not built yet: call fv_net_build() first");
    if (model == net)
        return fv_fail(FV_INVALID, "a net cannot start from itself");
    fv_status status = fv_net_acquire_as_is(net, true); /* it is built, and nobody uses it */
    if (status)
        return status;
    fv_net_release(net, true);
    transfer t = {.net = net, .model = model};
    status = pair_and_copy(&t, seed);
    if (!status && report && !(*report = fv_text_take(&t.report)))
        status = FV_MEMORY;
    fv_text_free(&t.report);
    fv_lookup_free(&t.names);
    fv_free(t.sources);
    fv_free(t.named);
    return status;
}

/* ---- Freezing -------------------------------------------------------------------------------- */

static bool matches(const fv_node *node, const char *pattern) {
    return node->weight_count > 0 && fnmatch(pattern, node->name, 0) == 0;
}

/* Some names of layers that could have been meant. */
static fv_status fail_no_match(const fv_net *net, const char *pattern) {
    enum { SHOWN = 300 };
    fv_text names = {0};
    for (int i = 0; i < net->count && names.size < SHOWN; i++)
        if (net->nodes[i].weight_count > 0)
            fv_text_add(&names, "%s%s", names.size > 0 ? ", " : "", net->nodes[i].name);
    if (names.size >= SHOWN)
        fv_text_add(&names, " ...");
    char *list = fv_text_take(&names);
    if (!list)
        return FV_MEMORY;
    fv_fail(FV_INVALID, "\"%s\" matches no layer with weights; those are: %s", pattern, list);
    fv_free(list);
    return FV_INVALID;
}

fv_status fv_freeze(fv_net *net, const char *pattern, int *count) {
    enum { LONGEST = 200 }; /* fnmatch's stack grows with it */
    int found = 0;
    if (strlen(pattern) > LONGEST)
        return fv_fail(FV_INVALID, "a pattern of %zu bytes; at most %d are allowed",
                       strlen(pattern), LONGEST);
    for (int i = 0; i < net->count; i++)
        found += matches(&net->nodes[i], pattern);
    if (found == 0)
        return fail_no_match(net, pattern);
    fv_status status = FV_OK;
    for (int i = 0; i < net->count && !status; i++)
        if (matches(&net->nodes[i], pattern)) {
            fv_tuning tuning = net->nodes[i].tuning;
            tuning.freeze = true;
            status = fv_tune(net, i, &tuning);
        }
    if (!status && count)
        *count = found;
    return status;
}
