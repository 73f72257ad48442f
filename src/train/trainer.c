/* One training step: pack, forward, loss, backward, update. Called by fit.c and, through the
 * public fv_trainer functions, by loops of the user's own. */
#include "train/train.h"
#include <math.h>
#include <string.h>

enum { CHUNK = 8192 };

/* ---- Making ------------------------------------------------------------------------------------
 */

/* Cuts each weight into chunks of a fixed size: which thread updates one cannot matter. */
static fv_status cut_chunks(fv_trainer *t) {
    int count = 0;
    for (int pass = 0; pass < 2; pass++) {
        count = 0;
        for (int n = 0; n < t->net->count; n++)
            for (int w = 0; w < t->net->nodes[n].weight_count; w++) {
                const fv_weight *weight = &t->net->nodes[n].weights[w];
                for (size_t i = 0; i < weight->count; i += CHUNK, count++)
                    if (t->chunks)
                        t->chunks[count] = (fv_chunk){
                            .offset = weight->offset + i,
                            .count = weight->count - i < CHUNK ? weight->count - i : CHUNK};
            }
        if (!t->chunks && !(t->chunks = fv_alloc((size_t)count, sizeof *t->chunks)))
            return FV_MEMORY;
    }
    t->chunk_count = count;
    return FV_OK;
}

static fv_status allocate(fv_trainer *t, size_t batch) {
    for (int i = 0; i < t->optimizer.slots; i++)
        if (!(t->slots[i] = fv_alloc(t->net->weight_size, sizeof(real))))
            return FV_MEMORY;
    t->labels = fv_alloc(batch, sizeof *t->labels);
    t->source = fv_alloc(batch, sizeof *t->source);
    t->epochs = fv_alloc(batch, sizeof *t->epochs);
    t->indices = fv_alloc(batch, sizeof *t->indices);
    if (!t->labels || !t->source || !t->epochs || !t->indices)
        return FV_MEMORY;
    return cut_chunks(t);
}

static fv_status open_trainer(fv_trainer *t, const fv_train_options *train,
                              const fv_trainer_options *options) {
    fv_plan_options plan = {.batch = options->batch ? options->batch
                                     : train->batch ? train->batch
                                                    : 32,
                            .threads = options->threads ? options->threads : fv_default_threads(),
                            .training = true,
                            .exact = options->exact};
    fv_status status = fv_objective_open(&t->objective, t->net);
    if (status)
        return status;
    plan.losses = t->objective.plan;
    plan.loss_count = t->objective.loss_count;
    const fv_kernels *kernels = fv_kernels_get();
    status = kernels ? fv_optimizer_make(train, kernels, &t->optimizer) : FV_INVALID;
    if (!status)
        status = fv_runner_open(&t->runner, t->net, &plan, NULL, false);
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
    fv_runner_close(&t->runner, true);
    for (int i = 0; i < FV_MAX_SLOTS; i++)
        fv_free(t->slots[i]);
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
        fv_runner_pack(&runner);
        fv_runner_forward(&runner, samples);
        for (int n = t->net->count - 1; n >= 0; n--)
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

static void update_chunk(void *argument, int unit, int thread) {
    (void)thread;
    fv_trainer *t = argument;
    const fv_chunk *chunk = &t->chunks[unit];
    real *slots[FV_MAX_SLOTS] = {0};
    for (int i = 0; i < t->optimizer.slots; i++)
        slots[i] = t->slots[i] + chunk->offset;
    t->optimizer.update(&t->optimizer.numbers, chunk->count, t->net->weights + chunk->offset,
                        fv_runner_gradients(&t->runner) + chunk->offset, slots);
}

fv_status fv_trainer_run(fv_trainer *t, const fv_batch *batch, fv_score *score) {
    fv_samples samples = {.count = batch->samples,
                          .source = batch->source,
                          .bytes = batch->bytes,
                          .seed = t->seed,
                          .epochs = batch->epochs,
                          .indices = batch->indices};
    fv_runner_pack(&t->runner);
    fv_runner_forward(&t->runner, &samples);
    fv_status status = fv_objective_run(&t->objective, &t->runner, batch, true, score);
    if (status)
        return status;
    if (!isfinite(score->loss))
        return explain_broken(t, &samples);
    fv_runner_backward(&t->runner, &samples);
    fv_optimizer_begin_step(&t->optimizer, t->step + 1);
    fv_pool_run(t->runner.pool, t->chunk_count, update_chunk, t);
    t->step++;
    return FV_OK;
}

fv_status fv_trainer_step(fv_trainer *t, const float *input, const int *labels, int samples,
                          fv_score *score) {
    if (samples < 1 || samples > t->runner.plan.batch)
        return fv_fail(FV_INVALID, "a step of %d samples: this trainer takes 1 to %d", samples,
                       t->runner.plan.batch);
    size_t values = fv_shape_count(&t->runner.plan.nodes[0].shape);
    for (int s = 0; s < samples; s++) {
        t->source[s] = input + (size_t)s * values;
        t->epochs[s] = (uint32_t)t->step;
        t->indices[s] = (uint32_t)s;
        t->labels[s] = (float)labels[s];
    }
    const float *targets[1] = {t->labels};
    const fv_field field = {.name = "label", .shape = {.channels = 1}};
    fv_status status = fv_objective_bind(&t->objective, &field, 1);
    if (status)
        return status;
    fv_batch batch = {.samples = samples,
                      .source = t->source,
                      .targets = targets,
                      .epochs = t->epochs,
                      .indices = t->indices};
    fv_score sink;
    return fv_trainer_run(t, &batch, score ? score : &sink);
}

static size_t state_bytes(const fv_net *net, int slots) {
    return (size_t)slots * net->weight_size * sizeof(real);
}

void fv_trainer_memory(const fv_trainer *t, fv_memory *memory) {
    *memory = t->runner.plan.memory;
    memory->optimizer = state_bytes(t->net, t->optimizer.slots);
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
        status = fv_objective_open(&objective, net);
    options.losses = objective.plan;
    options.loss_count = objective.loss_count;
    if (!status)
        status = fv_plan_make(&plan, net, &options);
    fv_objective_close(&objective);
    if (status)
        return status;
    *memory = plan.memory;
    memory->optimizer = state_bytes(net, optimizer.slots);
    memory->total += memory->optimizer;
    fv_plan_free(&plan);
    return FV_OK;
}
