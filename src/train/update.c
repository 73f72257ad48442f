/* From gradients to weights, in this order: mean of the accumulated batches, l1 and l2, clipping,
 * weight decay (PyTorch's: to the gradient; decoupled: to the weight), the optimiser, max_norm, the
 * average of weights. Called by trainer.c. Frozen weights and statistics take no part.
 *
 * Each weight is cut into chunks of a fixed size; sums are taken within a chunk, then over chunks
 * in their order, in double: which thread works on one cannot matter. */
#include "train/train.h"
#include <math.h>
#include <string.h>

enum { CHUNK = 8192, NORM_BLOCK = 64 }; /* speed only */

/* ---- Making ---------------------------------------------------------------------------------- */

/* Whether the optimiser moves it. */
static bool learns(const fv_trainer *t, int n, const fv_weight *weight) {
    return !weight->spec.statistic && !t->runner.plan.nodes[n].setting.frozen;
}

static double either(double own, double common) {
    return own != 0 ? own : common;
}

static fv_learner make_learner(const fv_trainer *t, const fv_node *node, const fv_weight *weight) {
    const fv_tuning *tuning = &node->tuning;
    bool bias = weight->spec.bias;
    double lr = either(tuning->lr, 1);
    fv_learner learner = {.weight = weight, .factor = bias ? either(tuning->bias_lr, lr) : lr};
    if (!tuning->no_decay && !(bias && tuning->no_bias_decay))
        learner.decay = t->train.weight_decay;
    if (!bias) {
        learner.l1 = either(tuning->l1, t->train.l1);
        learner.l2 = either(tuning->l2, t->train.l2);
        learner.max_norm = tuning->max_norm;
    }
    return learner;
}

static void cut_learner(fv_trainer *t, int index) {
    fv_learner *learner = &t->learners[index];
    const fv_weight *weight = learner->weight;
    learner->first_chunk = t->chunk_count;
    for (size_t i = 0; i < weight->count; i += CHUNK)
        t->chunks[t->chunk_count++] =
            (fv_chunk){.offset = weight->offset + i,
                       .count = weight->count - i < CHUNK ? weight->count - i : CHUNK,
                       .learner = index};
    learner->chunk_count = t->chunk_count - learner->first_chunk;
}

fv_status fv_update_open(fv_trainer *t) {
    size_t learners = 0, chunks = 0;
    for (int n = 0; n < t->net->count; n++)
        for (int w = 0; w < t->net->nodes[n].weight_count; w++)
            if (learns(t, n, &t->net->nodes[n].weights[w])) {
                learners++;
                chunks += (t->net->nodes[n].weights[w].count + CHUNK - 1) / CHUNK;
            }
    if (learners == 0)
        return fv_fail(FV_INVALID, "the net has no weights to train");
    t->learners = fv_alloc(learners, sizeof *t->learners);
    t->chunks = fv_alloc(chunks, sizeof *t->chunks);
    if (!t->learners || !t->chunks)
        return FV_MEMORY;
    for (int n = 0; n < t->net->count; n++)
        for (int w = 0; w < t->net->nodes[n].weight_count; w++) {
            const fv_node *node = &t->net->nodes[n];
            if (!learns(t, n, &node->weights[w]))
                continue;
            t->learners[t->learner_count] = make_learner(t, node, &node->weights[w]);
            cut_learner(t, t->learner_count++);
        }
    return FV_OK;
}

/* ---- Sums over chunks ------------------------------------------------------------------------ */

static void run_chunks(fv_trainer *t, fv_work *work) {
    fv_pool_run(t->runner.pool, t->chunk_count, work, t);
}

static double sum_of(const fv_trainer *t, const fv_learner *learner, int which) {
    double sum = 0;
    for (int i = 0; i < learner->chunk_count; i++)
        sum += t->chunks[learner->first_chunk + i].sums[which];
    return sum;
}

/* ---- Each batch ------------------------------------------------------------------------------ */

/* The next values of running means and variances, which the forward pass left in the gradients. */
void fv_update_statistics(fv_trainer *t) {
    const real *made = fv_runner_gradients(&t->runner);
    for (int n = 0; n < t->net->count; n++)
        for (int w = 0; w < t->net->nodes[n].weight_count; w++) {
            const fv_weight *weight = &t->net->nodes[n].weights[w];
            if (weight->spec.updated && !t->runner.plan.nodes[n].setting.frozen)
                memcpy(t->net->weights + weight->offset, made + weight->offset,
                       weight->count * sizeof *made);
        }
}

static void penalty_chunk(void *argument, int unit, int thread) {
    (void)thread;
    fv_trainer *t = argument;
    fv_chunk *chunk = &t->chunks[unit];
    const fv_learner *learner = &t->learners[chunk->learner];
    const fv_kernels *kernels = t->runner.plan.kernels;
    const real *w = t->net->weights + chunk->offset;
    chunk->sums[0] = learner->l1 != 0 ? kernels->sum_absolute(chunk->count, w) : 0;
    chunk->sums[1] = learner->l2 != 0 ? kernels->sum_squares(chunk->count, w) : 0;
}

static bool is_regularized(const fv_trainer *t) {
    bool any = false;
    for (int i = 0; i < t->learner_count; i++)
        any |= t->learners[i].l1 != 0 || t->learners[i].l2 != 0;
    return any;
}

double fv_update_penalty(fv_trainer *t) {
    double penalty = 0;
    if (!is_regularized(t))
        return 0;
    run_chunks(t, penalty_chunk);
    for (int i = 0; i < t->learner_count; i++) {
        const fv_learner *learner = &t->learners[i];
        penalty += learner->l1 * sum_of(t, learner, 0) + learner->l2 * sum_of(t, learner, 1);
    }
    return penalty;
}

/* ---- The gradient's last shape --------------------------------------------------------------- */

static bool clips_norms(const fv_trainer *t) {
    return t->train.clip_norm != 0 || t->train.global_clip_norm != 0;
}

static void shape_chunk(void *argument, int unit, int thread) {
    (void)thread;
    fv_trainer *t = argument;
    fv_chunk *chunk = &t->chunks[unit];
    const fv_learner *learner = &t->learners[chunk->learner];
    const fv_kernels *kernels = t->runner.plan.kernels;
    real *g = fv_runner_gradients(&t->runner) + chunk->offset;
    if (t->added > 1)
        kernels->scale(chunk->count, (real)(1.0 / t->added), g);
    if (learner->l1 != 0 || learner->l2 != 0)
        kernels->regularize(chunk->count, (real)learner->l1, (real)(2 * learner->l2),
                            t->net->weights + chunk->offset, g);
    if (t->train.clip_value != 0)
        kernels->clamp(chunk->count, (real)t->train.clip_value, g);
    if (clips_norms(t))
        chunk->sums[0] = kernels->sum_squares(chunk->count, g);
}

/* Keras: c / max(norm, c). PyTorch's clip_grad_norm_, for the norm of all: c / (norm + 1e-6). */
static void find_clips(fv_trainer *t) {
    double all = 0, common = 1, limit = t->train.global_clip_norm;
    for (int i = 0; i < t->learner_count; i++)
        all += sum_of(t, &t->learners[i], 0);
    if (limit != 0 && t->train.formula == FV_TORCH)
        common = fmin(1, limit / (sqrt(all) + 1e-6));
    else if (limit != 0)
        common = limit / fmax(sqrt(all), limit);
    for (int i = 0; i < t->learner_count; i++) {
        double own = t->train.clip_norm;
        t->learners[i].clip =
            own != 0 ? own / fmax(sqrt(sum_of(t, &t->learners[i], 0)), own) : common;
    }
}

static void shape_gradients(fv_trainer *t) {
    for (int i = 0; i < t->learner_count; i++)
        t->learners[i].clip = 1;
    if (t->added > 1 || t->train.clip_value != 0 || clips_norms(t) || is_regularized(t))
        run_chunks(t, shape_chunk);
    if (clips_norms(t))
        find_clips(t);
}

/* ---- The optimiser --------------------------------------------------------------------------- */

static void optimize_chunk(fv_trainer *t, const fv_chunk *chunk) {
    const fv_learner *learner = &t->learners[chunk->learner];
    real *slots[FV_MAX_SLOTS] = {0};
    for (int i = 0; i < t->optimizer.slots; i++)
        slots[i] = t->slots[i] + chunk->offset;
    t->optimizer.update(&learner->numbers, chunk->count, t->net->weights + chunk->offset,
                        fv_runner_gradients(&t->runner) + chunk->offset, slots);
}

static void measure_direction(fv_trainer *t, fv_chunk *chunk) {
    const fv_kernels *kernels = t->runner.plan.kernels;
    real *slots[FV_MAX_SLOTS] = {t->slots[0] + chunk->offset, t->slots[1] + chunk->offset};
    chunk->sums[0] = kernels->sum_squares(chunk->count, t->net->weights + chunk->offset);
    chunk->sums[1] = kernels->lamb_moments(&t->learners[chunk->learner].numbers, chunk->count,
                                           fv_runner_gradients(&t->runner) + chunk->offset, slots);
}

static void update_chunk(void *argument, int unit, int thread) {
    (void)thread;
    fv_trainer *t = argument;
    fv_chunk *chunk = &t->chunks[unit];
    const fv_learner *learner = &t->learners[chunk->learner];
    const fv_kernels *kernels = t->runner.plan.kernels;
    real *w = t->net->weights + chunk->offset, *g = fv_runner_gradients(&t->runner) + chunk->offset;
    if (learner->clip != 1)
        kernels->scale(chunk->count, (real)learner->clip, g);
    if (learner->decay != 0 && t->optimizer.decoupled)
        kernels->decay(chunk->count, (real)(t->optimizer.lr * learner->factor * learner->decay), w);
    else if (learner->decay != 0)
        kernels->regularize(chunk->count, 0, (real)learner->decay, w, g);
    if (t->optimizer.norms)
        measure_direction(t, chunk);
    else
        optimize_chunk(t, chunk);
}

static void second_chunk(void *argument, int unit, int thread) {
    (void)thread;
    fv_trainer *t = argument;
    optimize_chunk(t, &t->chunks[unit]);
}

/* LAMB's trust ratio |w| / |d|, d with the correction that lamb_moments leaves out. */
static void find_ratios(fv_trainer *t) {
    for (int i = 0; i < t->learner_count; i++) {
        fv_learner *learner = &t->learners[i];
        double weight = sqrt(sum_of(t, learner, 0));
        double direction = sqrt(sum_of(t, learner, 1)) * t->optimizer.rate;
        double ratio = weight > 0 && direction > 0 ? weight / direction : 1;
        learner->numbers = fv_optimizer_numbers(&t->optimizer, learner->factor * ratio);
    }
}

/* ---- After the optimiser --------------------------------------------------------------------- */

/* The stored array as [outer][outputs][inner], by the place of the file's first axis. */
typedef struct output_axis {
    size_t outer, outputs, inner;
} output_axis;

static output_axis find_outputs(const fv_weight_spec *spec) {
    output_axis a = {1, 1, 1};
    bool found = false;
    for (int i = 0; i < spec->rank; i++) {
        size_t size = spec->size[spec->axes[i]];
        if (spec->axes[i] == spec->output_axis) {
            a.outputs = size;
            found = true;
        } else {
            *(found ? &a.inner : &a.outer) *= size;
        }
    }
    return a;
}

typedef struct limit_work {
    const fv_learner *learner;
    output_axis axis;
    real *weights;
} limit_work;

/* Shortens the longer ones of NORM_BLOCK outputs' weights. */
static void limit_block(void *argument, int unit, int thread) {
    (void)thread;
    const limit_work *l = argument;
    const output_axis *a = &l->axis;
    double sums[NORM_BLOCK] = {0};
    size_t first = (size_t)unit * NORM_BLOCK;
    size_t count = a->outputs - first < NORM_BLOCK ? a->outputs - first : NORM_BLOCK;
    for (size_t o = 0; o < a->outer; o++)
        for (size_t j = 0; j < count; j++) {
            const real *w = l->weights + (o * a->outputs + first + j) * a->inner;
            for (size_t i = 0; i < a->inner; i++)
                sums[j] += (double)w[i] * (double)w[i];
        }
    real factors[NORM_BLOCK];
    for (size_t j = 0; j < count; j++)
        factors[j] = (real)(l->learner->max_norm / fmax(sqrt(sums[j]), l->learner->max_norm));
    for (size_t o = 0; o < a->outer; o++)
        for (size_t j = 0; j < count; j++) {
            real *w = l->weights + (o * a->outputs + first + j) * a->inner;
            for (size_t i = 0; i < a->inner; i++)
                w[i] *= factors[j];
        }
}

static void limit_norms(fv_trainer *t) {
    for (int i = 0; i < t->learner_count; i++) {
        const fv_learner *learner = &t->learners[i];
        if (learner->max_norm == 0)
            continue;
        limit_work work = {.learner = learner,
                           .axis = find_outputs(&learner->weight->spec),
                           .weights = t->net->weights + learner->weight->offset};
        size_t blocks = (work.axis.outputs + NORM_BLOCK - 1) / NORM_BLOCK;
        fv_pool_run(t->runner.pool, (int)blocks, limit_block, &work);
    }
}

/* The first step's weights are the first average, as in Keras. */
static void average_chunk(void *argument, int unit, int thread) {
    (void)thread;
    const fv_trainer *t = argument;
    const fv_chunk *chunk = &t->chunks[unit];
    double old = t->step == 0 ? 0 : t->train.ema;
    t->runner.plan.kernels->average(chunk->count, (real)old, (real)(1 - old),
                                    t->net->weights + chunk->offset, t->average + chunk->offset);
}

/* Statistics are taken over as they are; frozen weights once. */
static void average_weights(fv_trainer *t) {
    if (!t->average)
        return;
    for (int n = 0; n < t->net->count; n++)
        for (int w = 0; w < t->net->nodes[n].weight_count; w++) {
            const fv_weight *weight = &t->net->nodes[n].weights[w];
            if (!learns(t, n, weight) && (t->step == 0 || weight->spec.updated))
                memcpy(t->average + weight->offset, t->net->weights + weight->offset,
                       weight->count * sizeof *t->average);
        }
    run_chunks(t, average_chunk);
}

void fv_trainer_update(fv_trainer *t) {
    fv_optimizer_begin_step(&t->optimizer, t->step + 1,
                            fv_schedule_rate(&t->train, t->step, t->plateau));
    for (int i = 0; i < t->learner_count; i++)
        t->learners[i].numbers = fv_optimizer_numbers(&t->optimizer, t->learners[i].factor);
    shape_gradients(t);
    run_chunks(t, update_chunk);
    if (t->optimizer.norms) {
        find_ratios(t);
        run_chunks(t, second_chunk);
    }
    limit_norms(t);
    average_weights(t);
    t->added = 0;
    t->step++;
}
