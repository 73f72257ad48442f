/* Losses and metrics of nets on data, dropout off. Called by fit.c for validation and by the public
 * fv_evaluate and fv_confusion. */
#include "train/train.h"
#include <math.h>
#include <string.h>

enum { DEFAULT_BATCH = 128 }; /* speed only */

fv_status fv_check_data(const fv_net *net, const fv_data *data, bool training) {
    const fv_shape *in = &net->nodes[0].output;
    fv_shape shape = fv_data_shape(data);
    fv_field fields[FV_MOST_FIELDS];
    char text[2][64];
    if (!fv_same_shape(&shape, in))
        return fv_fail(FV_SHAPE,
                       "the net takes %s, but the samples of %s are %s (change the net's input "
                       "line or use other data)",
                       fv_shape_text(in, text[0]), fv_data_place(data),
                       fv_shape_text(&shape, text[1]));
    int count = fv_data_fields(data, fields);
    fv_status status = fv_objective_check(net, fields, count, fv_data_classes(data), training);
    return status ? fv_fail_in(status, "the data in %s", fv_data_place(data)) : FV_OK;
}

/* ---- Batches of a data set, in order -------------------------------------------------------- */

typedef struct reader {
    const fv_data *data;
    fv_field fields[FV_MOST_FIELDS];
    int field_count;
    size_t batch;
    fv_pool *pool;
    unsigned char *inputs;
    const void **source; /* of each sample in `inputs` */
    float *targets[FV_MOST_FIELDS];
} reader;

static void close_reader(reader *r) {
    for (int f = 0; f < r->field_count; f++)
        fv_free(r->targets[f]);
    fv_free(r->inputs);
    fv_free(r->source);
}

static fv_status open_reader(reader *r, const fv_data *data, size_t batch, fv_pool *pool) {
    *r = (reader){.data = data, .batch = batch, .pool = pool};
    r->field_count = fv_data_fields(data, r->fields);
    r->source = fv_alloc(batch, sizeof *r->source);
    r->inputs = fv_alloc(batch, fv_data_input_size(data));
    bool whole = r->source && r->inputs;
    for (size_t i = 0; whole && i < batch; i++)
        r->source[i] = r->inputs + i * fv_data_input_size(data);
    for (int f = 0; f < r->field_count; f++) {
        size_t values;
        if (!fv_size_product(batch, fv_shape_count(&r->fields[f].shape), &values))
            whole = false;
        else
            whole &= (r->targets[f] = fv_alloc(values, sizeof(float))) != NULL;
    }
    if (whole)
        return FV_OK;
    close_reader(r);
    return FV_MEMORY;
}

/* Samples from `first` on, as many as a batch has or as are left. */
static fv_status read_batch(const reader *r, size_t first, fv_batch *batch) {
    size_t left = fv_data_count(r->data) - first;
    *batch = (fv_batch){.samples = (int)(left < r->batch ? left : r->batch),
                        .source = r->source,
                        .bytes = fv_data_bytes(r->data),
                        .targets = (const float *const *)r->targets};
    return fv_data_read(r->data, r->pool, NULL, first, batch->samples, r->inputs, r->targets);
}

/* ---- One net -------------------------------------------------------------------------------- */

/* After objective and metrics are open: the runner that keeps what they read. */
static fv_status open_runner(fv_evaluator *e, const fv_net *net, int batch, int threads, bool exact,
                             fv_pool *pool) {
    static const char *const none[] = {NULL};
    fv_plan_loss losses[FV_MOST_LOSSES + 1 + 2 * FV_MOST_METRICS];
    memcpy(losses, e->objective.plan, sizeof e->objective.plan);
    fv_plan_options options = {.batch = batch ? batch : DEFAULT_BATCH,
                               .threads = threads ? threads : fv_default_threads(),
                               .exact = exact,
                               .losses = losses,
                               .outputs = none};
    options.loss_count = fv_metrics_plan(&e->metrics, losses, e->objective.loss_count);
    fv_status status = fv_runner_open(&e->runner, net, &options, pool, false);
    if (!status)
        fv_runner_pack(&e->runner);
    return status;
}

/* confusion: counts of classes x classes instead of the net's metrics; NULL: not wanted. */
static fv_status open_evaluator(fv_evaluator *e, const fv_net *net, int batch, int threads,
                                bool exact, fv_pool *pool, int classes, int64_t *confusion) {
    *e = (fv_evaluator){.owns_pool = !pool};
    fv_status status = fv_objective_open(&e->objective, net, false);
    if (status)
        return status;
    status = confusion
                 ? fv_metrics_open_confusion(&e->metrics, net, &e->objective, classes, confusion)
                 : fv_metrics_open(&e->metrics, net, &e->objective);
    if (!status)
        status = open_runner(e, net, batch, threads, exact, pool);
    if (status)
        fv_evaluator_close(e);
    return status;
}

fv_status fv_evaluator_open(fv_evaluator *e, const fv_net *net, int batch, int threads, bool exact,
                            fv_pool *pool) {
    return open_evaluator(e, net, batch, threads, exact, pool, 0, NULL);
}

void fv_evaluator_close(fv_evaluator *e) {
    fv_objective_close(&e->objective); /* before the pool that its models run on */
    fv_metrics_close(&e->metrics);
    fv_runner_close(&e->runner, e->owns_pool);
    *e = (fv_evaluator){0};
}

void fv_evaluator_refresh(fv_evaluator *e) {
    fv_runner_pack(&e->runner);
}

static void run_net(fv_evaluator *e, const fv_batch *batch) {
    fv_samples run = {.count = batch->samples, .source = batch->source, .bytes = batch->bytes};
    fv_runner_forward(&e->runner, &run);
}

fv_status fv_evaluator_batch(fv_evaluator *e, const fv_batch *batch, fv_score *score) {
    run_net(e, batch);
    return fv_objective_run(&e->objective, &e->runner, batch, false, score);
}

static fv_status score_batches(fv_evaluator *e, const reader *r, fv_score *score) {
    fv_totals totals = {0};
    fv_status status = FV_OK;
    size_t count = fv_data_count(r->data);
    fv_metrics_begin(&e->metrics);
    for (size_t i = 0; !status && i < count; i += r->batch) {
        fv_batch batch;
        status = read_batch(r, i, &batch);
        if (!status)
            status = fv_evaluator_batch(e, &batch, score);
        if (!status)
            status = fv_metrics_add(&e->metrics, &e->runner, &batch);
        fv_totals_add(&totals, &e->objective.batch);
    }
    if (!status) {
        *score = fv_objective_score(&e->objective, &totals);
        fv_metrics_score(&e->metrics, score);
    }
    return status;
}

static size_t batch_of(const fv_evaluator *e, const fv_data *data) {
    size_t batch = (size_t)e->runner.plan.batch, count = fv_data_count(data);
    return batch < count ? batch : count;
}

fv_status fv_evaluator_data(fv_evaluator *e, const fv_data *data, fv_score *score) {
    reader r;
    fv_status status = fv_check_data(e->runner.plan.net, data, false);
    if (!status)
        status = open_reader(&r, data, batch_of(e, data), e->runner.pool);
    if (status)
        return status;
    status = fv_objective_bind(&e->objective, r.fields, r.field_count);
    if (!status)
        status = fv_metrics_bind(&e->metrics, r.fields, r.field_count);
    if (!status)
        status = score_batches(e, &r, score);
    close_reader(&r);
    return status;
}

/* ---- Several nets: the probabilities of their classes are averaged -------------------------- */

/* sums += softmax of the logits, which is what the loss leaves the runner with. */
static void add_probabilities(const real *logits, size_t channels, double *sums) {
    double largest = (double)logits[0], sum = 0;
    for (size_t c = 1; c < channels; c++)
        largest = (double)logits[c] > largest ? (double)logits[c] : largest;
    for (size_t c = 0; c < channels; c++)
        sum += exp((double)logits[c] - largest);
    for (size_t c = 0; c < channels; c++)
        sums[c] += exp((double)logits[c] - largest) / sum;
}

/* -log p(label) of the averaged probabilities p of one place. */
static void judge_place(const double *sums, size_t channels, int label, int nets,
                        fv_totals *totals) {
    size_t best = 0;
    if (label < 0)
        return;
    for (size_t c = 1; c < channels; c++)
        if (sums[c] > sums[best])
            best = c;
    double p = sums[label] / nets;
    totals->sums[0] -= log(p <= 0 ? 1e-38 : p);
    totals->divisors[0]++;
    totals->counted++;
    totals->correct += best == (size_t)label;
}

static fv_status ensemble_batch(fv_evaluator *evaluators, int nets, const fv_batch *batch,
                                double *sums, int *labels, fv_totals *totals) {
    const fv_judged *judged = &evaluators[0].objective.terms[0].judged;
    size_t channels = (size_t)judged->shape.channels;
    size_t rows = fv_judged_places(judged) * (size_t)batch->samples;
    memset(sums, 0, rows * channels * sizeof *sums);
    for (int n = 0; n < nets; n++) {
        run_net(&evaluators[n], batch);
        const real *logits = fv_runner_output(&evaluators[n].runner,
                                              evaluators[n].objective.terms[0].judged.root, false);
        for (size_t r = 0; r < rows; r++)
            add_probabilities(logits + r * channels, channels, sums + r * channels);
    }
    size_t read = fv_judged_read(judged, &evaluators[0].runner, batch, 0, rows, NULL, labels);
    if (read < rows)
        return fv_judged_fail(judged, evaluators[0].objective.net, batch, read);
    for (size_t r = 0; r < rows; r++)
        judge_place(sums + r * channels, channels, labels[r], nets, totals);
    totals->samples += (size_t)batch->samples;
    return FV_OK;
}

static fv_status ensemble_data(fv_evaluator *evaluators, int nets, const fv_data *data,
                               fv_score *score) {
    fv_objective *o = &evaluators[0].objective;
    const fv_judged *judged = &o->terms[0].judged;
    fv_totals totals = {0};
    reader r;
    fv_status status =
        open_reader(&r, data, batch_of(&evaluators[0], data), evaluators[0].runner.pool);
    if (status)
        return status;
    double *sums = fv_alloc(r.batch * fv_shape_count(&judged->shape), sizeof *sums);
    int *labels = fv_alloc(r.batch * fv_judged_places(judged), sizeof *labels);
    status = sums && labels ? fv_objective_bind(o, r.fields, r.field_count) : FV_MEMORY;
    for (size_t i = 0; !status && i < fv_data_count(data); i += r.batch) {
        fv_batch batch;
        status = read_batch(&r, i, &batch);
        if (!status)
            status = ensemble_batch(evaluators, nets, &batch, sums, labels, &totals);
    }
    if (!status)
        *score = fv_objective_score(o, &totals);
    fv_free(sums);
    fv_free(labels);
    close_reader(&r);
    return status;
}

/* Only probabilities of the same classes can be averaged. */
static fv_status check_ensemble(const fv_evaluator *evaluators, int nets) {
    const fv_shape *first = &evaluators[0].objective.terms[0].judged.shape;
    char text[2][64];
    for (int n = 0; n < nets; n++) {
        const fv_objective *o = &evaluators[n].objective;
        const fv_judged *judged = &o->terms[0].judged;
        const fv_shape *shape = &judged->shape;
        if (o->term_count != 1 || o->terms[0].type != &fv_loss_cross_entropy ||
            judged->node != o->net->main_output)
            return fv_fail(FV_INVALID,
                           "an ensemble averages probabilities of classes, but net %d has %s (each "
                           "net needs cross_entropy of its last layer, and no other loss)",
                           n + 1, o->term_count != 1 ? "several losses" : o->terms[0].what);
        if (!fv_same_shape(shape, first))
            return fv_fail(FV_SHAPE, "nets of an ensemble have outputs of %s and %s",
                           fv_shape_text(first, text[0]), fv_shape_text(shape, text[1]));
    }
    return FV_OK;
}

/* ---- The public functions ------------------------------------------------------------------- */

static fv_status evaluate_acquired(const fv_net *const *nets, int count, const fv_data *data,
                                   int batch, int threads, bool exact, fv_score *score) {
    fv_evaluator *evaluators = fv_alloc((size_t)count, sizeof *evaluators);
    fv_status status = evaluators ? FV_OK : FV_MEMORY;
    int opened = 0;
    for (; !status && opened < count; opened += !status) {
        status = fv_check_data(nets[opened], data, false);
        if (!status)
            status = fv_evaluator_open(&evaluators[opened], nets[opened], batch, threads, exact,
                                       opened ? evaluators[0].runner.pool : NULL);
    }
    if (!status && count > 1)
        status = check_ensemble(evaluators, count);
    if (!status)
        status = count == 1 ? fv_evaluator_data(&evaluators[0], data, score)
                            : ensemble_data(evaluators, count, data, score);
    while (opened > 0)
        fv_evaluator_close(&evaluators[--opened]);
    fv_free(evaluators);
    return status;
}

/* Each input is read once, so none is kept. */
static fv_status fit_data(const fv_net *net, int threads, const fv_data **data, fv_data **made) {
    return fv_data_fit(net, threads ? threads : fv_default_threads(), 0, data, made);
}

fv_status fv_evaluate(const fv_net *const *nets, int count, const fv_data *data, int batch,
                      int threads, bool exact, fv_score *score) {
    if (count < 1)
        return fv_fail(FV_INVALID, "no net to evaluate");
    int acquired = 0;
    fv_data *resized;
    fv_status status = fit_data(nets[0], threads, &data, &resized);
    for (; !status && acquired < count; acquired += !status)
        status = fv_net_acquire((fv_net *)(uintptr_t)nets[acquired], false);
    if (!status)
        status = evaluate_acquired(nets, count, data, batch, threads, exact, score);
    while (acquired > 0)
        fv_net_release((fv_net *)(uintptr_t)nets[--acquired], false);
    fv_data_free(resized);
    return status;
}

fv_status fv_confusion(const fv_net *net, const fv_data *data, int batch, int threads, int classes,
                       int64_t *counts) {
    fv_evaluator e;
    fv_score score;
    fv_data *resized;
    fv_status status = fit_data(net, threads, &data, &resized);
    if (!status)
        status = fv_net_acquire((fv_net *)(uintptr_t)net, false);
    if (status) {
        fv_data_free(resized);
        return status;
    }
    status = open_evaluator(&e, net, batch, threads, false, NULL, classes, counts);
    if (!status) {
        status = fv_evaluator_data(&e, data, &score);
        fv_evaluator_close(&e);
    }
    fv_net_release((fv_net *)(uintptr_t)net, false);
    fv_data_free(resized);
    return status;
}
