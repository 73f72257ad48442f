/* One training step: pack, forward, loss, backward, update (update.c). Called by fit.c and, through
 * the public fv_trainer functions, by loops of the user's own. */
#include "train/train.h"
#include <math.h>
#include <string.h>

/* ---- Making ------------------------------------------------------------------------------------
 */

int fv_trainer_arrays(const fv_optimizer *optimizer) {
    return optimizer->slots + (optimizer->train.ema != 0);
}

static fv_status allocate(fv_trainer *t, size_t batch) {
    size_t count = t->net->weight_size;
    for (int i = 0; i < t->optimizer.slots; i++)
        if (!(t->slots[i] = fv_alloc(count, sizeof(real))))
            return FV_MEMORY;
    for (size_t i = 0; t->optimizer.start != 0 && i < count; i++)
        t->slots[0][i] = (real)t->optimizer.start;
    if (t->train.ema != 0 && !(t->average = fv_alloc(count, sizeof(real))))
        return FV_MEMORY;
    t->labels = fv_alloc(batch, sizeof *t->labels);
    t->source = fv_alloc(batch, sizeof *t->source);
    t->epochs = fv_alloc(batch, sizeof *t->epochs);
    t->indices = fv_alloc(batch, sizeof *t->indices);
    if (!t->labels || !t->source || !t->epochs || !t->indices)
        return FV_MEMORY;
    return fv_update_open(t);
}

/* The optimiser and the schedule, with all defaults. */
static fv_status choose_optimizer(fv_trainer *t, const fv_train_options *train) {
    const fv_kernels *kernels = fv_kernels_get();
    fv_status status = kernels ? fv_train_check(train) : FV_INVALID;
    if (!status)
        status = fv_optimizer_make(train, kernels, &t->optimizer);
    if (status)
        return status;
    t->train = t->optimizer.train;
    t->plateau = 1;
    return fv_schedule_prepare(&t->train, train->steps);
}

static fv_status open_trainer(fv_trainer *t, const fv_train_options *train,
                              const fv_trainer_options *options) {
    fv_plan_options plan = {.batch = options->batch ? options->batch
                                     : train->batch ? train->batch
                                                    : 32,
                            .threads = options->threads ? options->threads : fv_default_threads(),
                            .training = true,
                            .exact = options->exact};
    fv_status status = fv_objective_open(&t->objective, t->net, true);
    if (status)
        return status;
    plan.losses = t->objective.plan;
    plan.loss_count = t->objective.loss_count;
    status = choose_optimizer(t, train);
    plan.accumulates = t->train.accumulate > 1;
    if (!status)
        status = fv_runner_open(&t->runner, t->net, &plan, NULL, options->profile);
    if (!status && t->net->weight_size == 0)
        status = fv_fail(FV_INVALID, "the net has no weights to train");
    return status ? status : allocate(t, (size_t)plan.batch);
}

fv_trainer *fv_trainer_open(fv_net *net, const fv_train_options *train,
                            const fv_trainer_options *options) {
    fv_trainer *t = fv_alloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->net = net;
    t->seed = options->seed;
    if (open_trainer(t, train, options)) {
        fv_trainer_free(t);
        return NULL;
    }
    return t;
}

fv_trainer *fv_trainer_new(fv_net *net, const fv_trainer_options *options) {
    static const fv_trainer_options defaults = {0};
    if (fv_net_acquire(net, true))
        return NULL;
    fv_trainer *t = fv_trainer_open(net, &net->train, options ? options : &defaults);
    if (t)
        t->owns_net = true;
    else
        fv_net_release(net, true);
    return t;
}

void fv_trainer_free(fv_trainer *t) {
    if (!t)
        return;
    if (t->owns_net && t->average && t->step > 0) /* what is to be saved */
        memcpy(t->net->weights, t->average, t->net->weight_size * sizeof *t->average);
    fv_runner_close(&t->runner, true);
    for (int i = 0; i < FV_MAX_SLOTS; i++)
        fv_free(t->slots[i]);
    fv_free(t->average);
    fv_free(t->learners);
    fv_free(t->chunks);
    fv_free(t->labels);
    fv_objective_close(&t->objective);
    fv_free(t->source);
    fv_free(t->epochs);
    fv_free(t->indices);
    if (t->owns_net)
        fv_net_release(t->net, true);
    fv_free(t);
}

double fv_trainer_seconds(const fv_trainer *trainer, fv_pass pass, int index) {
    return fv_runner_seconds(&trainer->runner, pass, index);
}

const char *fv_trainer_algorithm(const fv_trainer *trainer, int index) {
    return fv_runner_algorithm(&trainer->runner, index);
}

/* ---- When the loss is no number
 * -------------------------------------------------------------------- */

int fv_trainer_broken_weights(const fv_trainer *t) {
    for (int n = 0; n < t->net->count; n++)
        for (int w = 0; w < t->net->nodes[n].weight_count; w++) {
            const fv_weight *weight = &t->net->nodes[n].weights[w];
            if (!t->runner.plan.kernels->all_finite(weight->count,
                                                    t->net->weights + weight->offset))
                return n;
        }
    return -1;
}

/* The first layer whose output is not finite, by a second forward pass that keeps every output. */
static int find_broken_output(fv_trainer *t, const fv_samples *samples) {
    int found = t->net->count - 1;
    const char **names = fv_alloc((size_t)t->net->count + 1, sizeof *names);
    fv_runner runner;
    fv_plan_options options = {.batch = samples->count,
                               .outputs = names,
                               .losses = t->objective.plan,
                               .loss_count = t->objective.loss_count};
    if (!names)
        return found;
    for (int n = 0; n < t->net->count; n++)
        names[n] = t->net->nodes[n].name;
    if (fv_runner_open(&runner, t->net, &options, t->runner.pool, false) == FV_OK) {
        bool packed = fv_runner_pack(&runner) == FV_OK;
        if (packed)
            fv_runner_forward(&runner, samples);
        for (int n = t->net->count - 1; packed && n >= 0; n--)
            if (!runner.plan.kernels->all_finite(fv_shape_count(&runner.plan.nodes[n].shape) *
                                                     (size_t)samples->count,
                                                 fv_runner_output(&runner, n, false)))
                found = n;
        fv_runner_close(&runner, false);
    }
    fv_free(names);
    return found;
}

static fv_status explain_broken(fv_trainer *t, const fv_samples *samples) {
    char place[128];
    int n = fv_trainer_broken_weights(t);
    if (n >= 0)
        return fv_fail(FV_NUMERIC,
                       "step %lld: the loss is not a finite number; the weights of layer %s are "
                       "not (lower the learning rate)",
                       (long long)t->step + 1, fv_node_place(t->net, &t->net->nodes[n], place));
    n = find_broken_output(t, samples);
    return fv_fail(FV_NUMERIC,
                   "step %lld: the loss is not a finite number, from layer %s on (lower the "
                   "learning rate, or scale the input)",
                   (long long)t->step + 1, fv_node_place(t->net, &t->net->nodes[n], place));
}

/* ---- The step
 * ---------------------------------------------------------------------------------------- */

fv_status fv_trainer_add(fv_trainer *t, const fv_batch *batch, fv_score *score) {
    fv_samples samples = {.count = batch->samples,
                          .source = batch->source,
                          .bytes = batch->bytes,
                          .seed = t->seed,
                          .epochs = batch->epochs,
                          .indices = batch->indices,
                          .adds = t->added > 0};
    fv_status status = fv_runner_pack(&t->runner);
    if (status)
        return status;
    fv_runner_forward(&t->runner, &samples);
    status = fv_objective_run(&t->objective, &t->runner, batch, true, score);
    if (status)
        return status;
    score->loss += fv_update_penalty(t);
    if (!isfinite(score->loss))
        return explain_broken(t, &samples);
    fv_update_statistics(t);
    fv_runner_backward(&t->runner, &samples);
    t->added++;
    return FV_OK;
}

/* The caller's samples as a batch of the running step. */
static fv_batch take_samples(fv_trainer *t, const float *input, const float *const *targets,
                             int samples) {
    size_t values = fv_shape_count(&t->runner.plan.nodes[0].shape);
    for (int s = 0; s < samples; s++) {
        t->source[s] = input + (size_t)s * values;
        t->epochs[s] = (uint32_t)t->step;
        t->indices[s] = (uint32_t)(t->added * t->runner.plan.batch + s);
    }
    return (fv_batch){.samples = samples,
                      .source = t->source,
                      .targets = targets,
                      .epochs = t->epochs,
                      .indices = t->indices};
}

static fv_status check_count(const fv_trainer *t, int samples) {
    if (samples >= 1 && samples <= t->runner.plan.batch)
        return FV_OK;
    return fv_fail(FV_INVALID, "a step of %d samples: this trainer takes 1 to %d", samples,
                   t->runner.plan.batch);
}

fv_status fv_trainer_step_targets(fv_trainer *t, const float *input, const fv_target *targets,
                                  int count, int samples, fv_score *score) {
    fv_field fields[FV_MOST_FIELDS];
    const float *values[FV_MOST_FIELDS];
    fv_score sink;
    fv_status status = check_count(t, samples);
    if (!status && (count < 0 || count > FV_MOST_FIELDS))
        status = fv_fail(FV_INVALID, "%d targets: a step takes at most %d", count, FV_MOST_FIELDS);
    for (int i = 0; !status && i < count; i++) {
        fields[i].shape = targets[i].shape;
        values[i] = targets[i].values;
        int size = snprintf(fields[i].name, sizeof fields[i].name, "%s", targets[i].field);
        if (size >= (int)sizeof fields[i].name)
            status = fv_fail(FV_INVALID, "the target's name \"%.60s\" is longer than %zu letters",
                             targets[i].field, sizeof fields[i].name - 1);
    }
    if (!status)
        status = fv_objective_bind(&t->objective, fields, count);
    if (status)
        return status;
    fv_batch batch = take_samples(t, input, values, samples);
    status = fv_trainer_add(t, &batch, score ? score : &sink);
    if (!status && t->added >= t->train.accumulate)
        fv_trainer_update(t);
    return status;
}

fv_status fv_trainer_step(fv_trainer *t, const float *input, const int *labels, int samples,
                          fv_score *score) {
    fv_status status = check_count(t, samples);
    for (int s = 0; !status && s < samples; s++)
        t->labels[s] = (float)labels[s];
    const fv_target label = {.field = "label", .shape = {.channels = 1}, .values = t->labels};
    return status ? status : fv_trainer_step_targets(t, input, &label, 1, samples, score);
}

static size_t state_bytes(const fv_net *net, const fv_optimizer *optimizer) {
    return (size_t)fv_trainer_arrays(optimizer) * net->weight_size * sizeof(real);
}

void fv_trainer_memory(const fv_trainer *t, fv_memory *memory) {
    *memory = t->runner.plan.memory;
    memory->optimizer = state_bytes(t->net, &t->optimizer);
    memory->total += memory->optimizer;
}

fv_status fv_net_memory(const fv_net *net, int batch, int threads, bool training, bool exact,
                        fv_memory *memory) {
    fv_plan plan;
    fv_optimizer optimizer = {0};
    fv_objective objective = {0};
    fv_plan_options options = {.batch = batch,
                               .threads = threads ? threads : fv_default_threads(),
                               .training = training,
                               .exact = exact};
    if (!net->built)
        return fv_fail(FV_INVALID, "the net is not built yet: call fv_net_build() first");
    const fv_kernels *kernels = fv_kernels_get();
    fv_status status = kernels ? FV_OK : FV_INVALID;
    if (!status && training)
        status = fv_optimizer_make(&net->train, kernels, &optimizer);
    if (!status && training)
        status = fv_objective_open(&objective, net, true);
    options.accumulates = optimizer.train.accumulate > 1;
    options.losses = objective.plan;
    options.loss_count = objective.loss_count;
    if (!status)
        status = fv_plan_make(&plan, net, &options);
    fv_objective_close(&objective);
    if (status)
        return status;
    *memory = plan.memory;
    memory->optimizer = state_bytes(net, &optimizer);
    memory->total += memory->optimizer;
    fv_plan_free(&plan);
    return FV_OK;
}
