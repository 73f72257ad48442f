/* Checkpoints: the model file plus the state of optimiser and averages and the run's position, so
 * that a resumed run goes on with the same bits. Called by fit.c. */
#include "base/text.h"
#include "formats/formats.h"
#include "train/train.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- The run as text
 * ------------------------------------------------------------------------------ */

/* What must be the same for a resumed run to give the same bits. */
enum { SAME_NET, SAME_OPTIMIZER, SAME_BATCH, SAME_SAMPLES, SAME_ALGORITHMS, SAME_COUNT };
static const char *const same_keys[SAME_COUNT] = {"fovea.layers", "fovea.optimizer", "fovea.batch",
                                                  "fovea.samples", "fovea.algorithms"};
static const char *const same_words[SAME_COUNT] = {"net", "optimizer", "batch size",
                                                   "number of training samples", "--exact"};

/* The layers of the net without its train line, which may change (more epochs, say). */
static char *layers_text(const fv_net *net) {
    char *text = fv_net_print(net, true);
    if (!text)
        return NULL;
    char *train = strncmp(text, "train ", 6) == 0 ? text : strstr(text, "\ntrain ");
    if (train)
        *train = 0;
    return text;
}

/* The keys of the train line that change no bit of a weight, or are compared elsewhere. */
static bool may_differ(const char *key) {
    static const char *const keys[] = {"optimizer", "formula",        "batch",
                                       "epochs",    "steps",          "log_every",
                                       "holdout",   "early_stopping", "test_samples"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}

/* "adam keras lr=0.001 beta1=0.9 ...": all that is given or that the optimiser and the schedule
 * use.
 */
static char *optimizer_text(const fv_train_options *train) {
    fv_text text = {0};
    fv_text_add(&text, "%s %s", train->optimizer, train->formula == FV_TORCH ? "torch" : "keras");
    for (const fv_param *param = fv_train_params; param->key; param++) {
        fv_text value = {0};
        if (!may_differ(param->key) &&
            (fv_train_uses(train, param->key) || !fv_param_is_default(param, train)))
            fv_param_print(param, train, &value);
        if (value.size > 0)
            fv_text_add(&text, " %s=%s", param->key, value.bytes);
        text.failed = text.failed || value.failed;
        fv_text_free(&value);
    }
    return fv_text_take(&text);
}

static char *number_text(uint64_t number) {
    fv_text text = {0};
    fv_text_add(&text, "%llu", (unsigned long long)number);
    return fv_text_take(&text);
}

static void describe_run(const fv_trainer *t, int batch, size_t data_count,
                         char *values[SAME_COUNT]) {
    values[SAME_NET] = layers_text(t->net);
    values[SAME_OPTIMIZER] = optimizer_text(&t->train);
    values[SAME_BATCH] = number_text((uint64_t)batch);
    values[SAME_SAMPLES] = number_text(data_count);
    values[SAME_ALGORITHMS] = fv_copy_string(t->runner.plan.exact ? "exact" : "fast");
}

static void free_texts(char **texts, size_t count) {
    for (size_t i = 0; i < count; i++)
        fv_free(texts[i]);
}

static bool all_there(char *const *texts, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!texts[i])
            return false;
    return true;
}

/* Doubles as hexadecimal floats, which read back exactly. */
static char *position_text(const fv_run_position *p) {
    fv_text text = {0};
    fv_text_add(&text, "%lld %a %a %lld %a %lld", (long long)p->step, p->loss_sum, p->accuracy_sum,
                (long long)p->samples, p->best_loss, (long long)p->best_step);
    fv_text_add(&text, " %a %d %a %d %a", p->stop.best, p->stop.wait, p->plateau.best,
                p->plateau.wait, p->plateau_factor);
    return fv_text_take(&text);
}

static fv_status parse_position(const char *text, fv_run_position *p) {
    long long step, samples, best_step;
    if (!text ||
        sscanf(text, "%lld %la %la %lld %la %lld %la %d %la %d %la", &step, &p->loss_sum,
               &p->accuracy_sum, &samples, &p->best_loss, &best_step, &p->stop.best, &p->stop.wait,
               &p->plateau.best, &p->plateau.wait, &p->plateau_factor) != 11 ||
        step < 0 || samples < 0 || best_step < 0 || best_step > step || p->stop.wait < 0 ||
        p->plateau.wait < 0 || !(p->plateau_factor >= 0))
        return fv_fail(FV_FORMAT, "its position (fovea.position) is damaged");
    p->step = step;
    p->samples = samples;
    p->best_step = best_step;
    return FV_OK;
}

/* ---- State as tensors
 * --------------------------------------------------------------------- */

/* Arrays in the order of the net's weights, and what their tensors' names begin with. */
enum { MOST_STATES = FV_MAX_SLOTS + 2 };

typedef struct state {
    const char *prefix;
    real *values;
} state;

static int list_states(const fv_trainer *t, const fv_run_position *p, state states[MOST_STATES]) {
    static const char *const slots[FV_MAX_SLOTS] = {"optimizer.0", "optimizer.1", "optimizer.2"};
    int count = 0;
    for (int i = 0; i < t->optimizer.slots; i++)
        states[count++] = (state){slots[i], t->slots[i]};
    if (t->average && p->step > 0)
        states[count++] = (state){"average", t->average};
    if (p->best && p->best_step > 0)
        states[count++] = (state){"best", p->best};
    return count;
}

/* "optimizer.0.conv1.weight" */
static char *state_name(const state *s, const fv_node *node, const fv_weight *weight) {
    fv_text text = {0};
    fv_text_add(&text, "%s.%s.%s", s->prefix, node->name, weight->spec.name);
    return fv_text_take(&text);
}

static size_t weight_total(const fv_net *net) {
    size_t count = 0;
    for (int n = 0; n < net->count; n++)
        count += (size_t)net->nodes[n].weight_count;
    return count;
}

static fv_status state_entry(const state *s, const fv_node *node, const fv_weight *weight,
                             fv_tensor_entry *entry) {
    float *values = fv_alloc(weight->count, sizeof *values);
    *entry = (fv_tensor_entry){.name = state_name(s, node, weight),
                               .dtype = "F32",
                               .count = weight->count,
                               .bytes = (const unsigned char *)values};
    entry->rank = fv_weight_file_shape(weight, entry->size);
    if (!values || !entry->name)
        return FV_MEMORY;
    fv_weight_to_file(weight, s->values + weight->offset, values);
    return FV_OK;
}

static fv_status state_entries(const fv_net *net, const state *states, int state_count,
                               fv_tensor_entry *entries, size_t *count) {
    *count = 0;
    for (int i = 0; i < state_count; i++)
        for (int n = 0; n < net->count; n++)
            for (int w = 0; w < net->nodes[n].weight_count; w++) {
                const fv_node *node = &net->nodes[n];
                fv_status status =
                    state_entry(&states[i], node, &node->weights[w], &entries[(*count)++]);
                if (status)
                    return status;
            }
    return FV_OK;
}

static void free_entries(fv_tensor_entry *entries, size_t count) {
    for (size_t i = 0; entries && i < count; i++) {
        fv_free(entries[i].name);
        fv_free((void *)(uintptr_t)entries[i].bytes);
    }
    fv_free(entries);
}

/* ---- Writing
 * ------------------------------------------------------------------------------------------ */

enum { SEED = SAME_COUNT, POSITION, ISA, PAIRS };

fv_status fv_checkpoint_write(const char *path, const fv_trainer *t, int batch, size_t data_count,
                              const fv_run_position *position) {
    const char *keys[PAIRS];
    char *values[PAIRS];
    for (int i = 0; i < SAME_COUNT; i++)
        keys[i] = same_keys[i];
    describe_run(t, batch, data_count, values);
    keys[SEED] = "fovea.seed";
    values[SEED] = number_text(t->seed);
    keys[POSITION] = "fovea.position";
    values[POSITION] = position_text(position);
    keys[ISA] = "fovea.isa";
    values[ISA] = fv_copy_string(t->runner.plan.kernels->name);
    state states[MOST_STATES];
    int state_count = list_states(t, position, states);
    size_t most = weight_total(t->net) * (size_t)state_count, count = 0;
    fv_tensor_entry *entries = fv_alloc(most, sizeof *entries);
    fv_status status = entries && all_there(values, PAIRS)
                           ? state_entries(t->net, states, state_count, entries, &count)
                           : FV_MEMORY;
    if (!status) {
        fv_model_extra extra = {.entries = entries,
                                .count = count,
                                .keys = keys,
                                .values = (const char *const *)values,
                                .pairs = PAIRS};
        status = fv_model_write(t->net, path, &extra);
    }
    free_entries(entries, count);
    free_texts(values, PAIRS);
    return status;
}

/* ---- Reading
 * -------------------------------------------------------------------------------------------- */

static fv_status check_same(const fv_tensors *file, const fv_trainer *t, int batch,
                            size_t data_count) {
    char *values[SAME_COUNT];
    describe_run(t, batch, data_count, values);
    fv_status status = all_there(values, SAME_COUNT) ? FV_OK : FV_MEMORY;
    for (int i = 0; !status && i < SAME_COUNT; i++) {
        const char *was = fv_tensors_metadata(file, same_keys[i]);
        if (!was)
            status = fv_fail(FV_FORMAT, "is a model, not a checkpoint: it has no %s", same_keys[i]);
        else if (strcmp(was, values[i]) != 0 && i == SAME_NET)
            status = fv_fail(FV_INVALID, "was made by another net (resume with that net, or train "
                                         "this one into another folder with --out)");
        else if (strcmp(was, values[i]) != 0)
            status = fv_fail(FV_INVALID, "was made with %s %s, but this run has %s", same_words[i],
                             was, values[i]);
    }
    free_texts(values, SAME_COUNT);
    return status;
}

static fv_status read_seed(const fv_tensors *file, fv_trainer *t) {
    const char *text = fv_tensors_metadata(file, "fovea.seed");
    char *end = NULL;
    errno = 0;
    uint64_t seed = text ? strtoull(text, &end, 10) : 0;
    if (!text || errno || end == text || *end)
        return fv_fail(FV_FORMAT, "its seed (fovea.seed) is damaged");
    if (t->seed != 0 && t->seed != seed)
        return fv_fail(FV_INVALID, "was made with seed %llu, but this run has seed %llu",
                       (unsigned long long)seed, (unsigned long long)t->seed);
    t->seed = seed;
    return FV_OK;
}

static fv_status read_state(const fv_tensors *file, const state *s, const fv_node *node,
                            const fv_weight *weight) {
    char *name = state_name(s, node, weight);
    if (!name)
        return FV_MEMORY;
    const fv_tensor_entry *entry = fv_tensors_find(file, name);
    fv_status status = FV_OK;
    if (!entry || strcmp(entry->dtype, "F32") != 0 || entry->count != weight->count)
        status = fv_fail(FV_FORMAT, "its tensor %s is missing or of another shape", name);
    fv_free(name);
    float *values = status ? NULL : fv_alloc(weight->count, sizeof *values);
    if (!values)
        return status ? status : FV_MEMORY;
    memcpy(values, entry->bytes, weight->count * sizeof *values); /* may be unaligned there */
    fv_weight_from_file(weight, values, s->values + weight->offset);
    fv_free(values);
    return FV_OK;
}

static fv_status read_states(const fv_tensors *file, fv_trainer *t, const fv_run_position *p) {
    state states[MOST_STATES];
    int count = list_states(t, p, states);
    for (int i = 0; i < count; i++)
        for (int n = 0; n < t->net->count; n++)
            for (int w = 0; w < t->net->nodes[n].weight_count; w++) {
                const fv_node *node = &t->net->nodes[n];
                fv_status status = read_state(file, &states[i], node, &node->weights[w]);
                if (status)
                    return status;
            }
    return FV_OK;
}

fv_status fv_checkpoint_read(const char *path, fv_trainer *t, int batch, size_t data_count,
                             fv_run_position *position, char isa[16]) {
    fv_tensors file;
    fv_status status = fv_tensors_open(path, &file);
    if (status)
        return status;
    status = check_same(&file, t, batch, data_count);
    if (!status)
        status = read_seed(&file, t);
    if (!status)
        status = parse_position(fv_tensors_metadata(&file, "fovea.position"), position);
    if (!status)
        status = fv_model_read_weights(&file, t->net);
    if (!status)
        status = read_states(&file, t, position);
    if (!status) {
        t->step = position->step;
        t->plateau = position->plateau_factor;
    }
    const char *written = fv_tensors_metadata(&file, "fovea.isa");
    snprintf(isa, 16, "%s", written ? written : "");
    fv_tensors_close(&file);
    return status ? fv_fail_in(status, "%s", path) : FV_OK;
}
