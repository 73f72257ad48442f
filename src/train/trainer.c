/* One training step: pack, forward, loss, backward, update. Called by fit.c and, through the
 * public fv_trainer functions, by loops of the user's own. */
#include "train/train.h"
#include <math.h>
#include <string.h>

enum { CHUNK = 8192, LOSS_SAMPLES = 16 };

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
    t->losses = fv_alloc(batch, sizeof *t->losses);
    t->source = fv_alloc(batch, sizeof *t->source);
    t->epochs = fv_alloc(batch, sizeof *t->epochs);
    t->indices = fv_alloc(batch, sizeof *t->indices);
    if (!t->losses || !t->source || !t->epochs || !t->indices)
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
                            .exact = options->exact,
                            .raw_output = true};
    fv_status status = fv_loss_find(train->loss, t->net, &t->loss);
    if (status)
        return status;
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
    fv_free(t->losses);
    fv_free(t->source);
    fv_free(t->epochs);
    fv_free(t->indices);
    if (t->owns_net)
        fv_net_release(t->net, true);
    fv_free(t);
}

/* ---- Loss
 * ---------------------------------------------------------------------------------------- */

typedef struct loss_work {
    fv_trainer *trainer;
    const int *labels;
    int samples;
} loss_work;

static void loss_unit(void *argument, int unit, int thread) {
    (void)thread;
    const loss_work *work = argument;
    fv_trainer *t = work->trainer;
    int last = t->net->count - 1, channels = t->net->nodes[last].output.channels;
    const real *outputs = fv_runner_output(&t->runner, last, false);
    real *gradients = fv_runner_output_gradient(&t->runner);
    real scale = (real)1 / (real)work->samples;
    for (int s = unit * LOSS_SAMPLES; s < work->samples && s < (unit + 1) * LOSS_SAMPLES; s++)
        t->losses[s] = t->loss->sample(outputs + (ptrdiff_t)s * channels, channels, work->labels[s],
                                       scale, gradients + (ptrdiff_t)s * channels);
}

static fv_score add_losses(const fv_trainer *t, int samples) {
    fv_score score = {.samples = (size_t)samples};
    for (int s = 0; s < samples; s++) {
        score.loss += t->losses[s].loss;
        score.accuracy += t->losses[s].correct;
    }
    score.loss /= samples;
    score.accuracy /= samples;
    return score;
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
    fv_plan_options options = {.batch = samples->count, .raw_output = true, .outputs = names};
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

static fv_status check_labels(const fv_trainer *t, const int *labels, int samples) {
    int classes = t->net->nodes[t->net->count - 1].output.channels;
    for (int s = 0; s < samples; s++)
        if (labels[s] < 0 || labels[s] >= classes)
            return fv_fail(FV_INVALID, "label %d of sample %d: the net has classes 0 to %d",
                           labels[s], s, classes - 1);
    return FV_OK;
}

fv_status fv_trainer_run(fv_trainer *t, const fv_batch *batch, bool bytes, fv_score *score) {
    fv_status status = check_labels(t, batch->labels, batch->samples);
    if (status)
        return status;
    fv_samples samples = {.count = batch->samples,
                          .source = batch->source,
                          .bytes = bytes,
                          .seed = t->seed,
                          .epochs = batch->epochs,
                          .indices = batch->indices};
    loss_work work = {.trainer = t, .labels = batch->labels, .samples = batch->samples};
    fv_runner_pack(&t->runner);
    fv_runner_forward(&t->runner, &samples);
    fv_pool_run(t->runner.pool, (batch->samples + LOSS_SAMPLES - 1) / LOSS_SAMPLES, loss_unit,
                &work);
    *score = add_losses(t, batch->samples);
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
    }
    fv_batch batch = {.samples = samples,
                      .source = t->source,
                      .labels = labels,
                      .epochs = t->epochs,
                      .indices = t->indices};
    fv_score sink;
    return fv_trainer_run(t, &batch, false, score ? score : &sink);
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
    fv_plan_options options = {.batch = batch,
                               .threads = threads ? threads : fv_default_threads(),
                               .training = training,
                               .exact = exact,
                               .raw_output = training};
    if (!net->built)
        return fv_fail(FV_INVALID, "the net is not built yet: call fv_net_build() first");
    const fv_kernels *kernels = fv_kernels_get();
    fv_status status = kernels ? FV_OK : FV_INVALID;
    if (!status && training)
        status = fv_optimizer_make(&net->train, kernels, &optimizer);
    if (!status)
        status = fv_plan_make(&plan, net, &options);
    if (status)
        return status;
    *memory = plan.memory;
    memory->optimizer = state_bytes(net, optimizer.slots);
    memory->total += memory->optimizer;
    fv_plan_free(&plan);
    return FV_OK;
}
