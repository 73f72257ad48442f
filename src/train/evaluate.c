/* Loss and accuracy of nets on data, dropout off. Called by fit.c for validation and by the public
 * fv_evaluate. */
#include "train/train.h"
#include <math.h>
#include <string.h>

enum { DEFAULT_BATCH = 128 };

fv_status fv_check_data(const fv_net *net, const fv_data *data) {
    const fv_shape *in = &net->nodes[0].output, *out = &net->nodes[net->count - 1].output;
    fv_shape shape = fv_data_shape(data);
    char text[2][64];
    bool same = shape.rank == in->rank && shape.channels == in->channels;
    for (int i = 0; same && i < in->rank; i++)
        same = in->size[i] == shape.size[i];
    if (!same)
        return fv_fail(FV_SHAPE,
                       "the net takes %s, but the samples of %s are %s (change the net's input "
                       "line or use other data)",
                       fv_shape_text(in, text[0]), fv_data_place(data),
                       fv_shape_text(&shape, text[1]));
    const fv_column *label = fv_data_label(data);
    if (!label || label->values != 1)
        return fv_fail(FV_SHAPE,
                       "the data in %s has no labels: expected a field 'label' of one number a "
                       "sample, the index of its class",
                       fv_data_place(data));
    if (fv_data_classes(data) > out->channels)
        return fv_fail(FV_SHAPE,
                       "the data in %s has labels up to %d, but the net has %d outputs (give the "
                       "last layer %d)",
                       fv_data_place(data), fv_data_classes(data) - 1, out->channels,
                       fv_data_classes(data));
    return FV_OK;
}

/* ---- One net ------------------------------------------------------------------------------------
 */

static fv_status open_evaluator(fv_evaluator *e, const fv_net *net, int batch, int threads,
                                bool exact, fv_pool *pool, bool raw) {
    fv_plan_options options = {.batch = batch ? batch : DEFAULT_BATCH,
                               .threads = threads ? threads : fv_default_threads(),
                               .exact = exact};
    *e = (fv_evaluator){.owns_pool = !pool};
    fv_status status = fv_objective_open(&e->objective, net);
    if (raw) {
        options.losses = e->objective.plan;
        options.loss_count = e->objective.loss_count;
    }
    if (!status)
        status = fv_runner_open(&e->runner, net, &options, pool, false);
    if (status) {
        fv_objective_close(&e->objective);
        return status;
    }
    e->source = fv_alloc((size_t)options.batch, sizeof *e->source);
    if (!e->source) {
        fv_evaluator_close(e);
        return FV_MEMORY;
    }
    fv_runner_pack(&e->runner);
    return FV_OK;
}

fv_status fv_evaluator_open(fv_evaluator *e, const fv_net *net, int batch, int threads, bool exact,
                            fv_pool *pool) {
    return open_evaluator(e, net, batch, threads, exact, pool, true);
}

void fv_evaluator_close(fv_evaluator *e) {
    fv_runner_close(&e->runner, e->owns_pool);
    fv_objective_close(&e->objective);
    fv_free(e->source);
    *e = (fv_evaluator){0};
}

void fv_evaluator_refresh(fv_evaluator *e) {
    fv_runner_pack(&e->runner);
}

static const real *outputs_of(const fv_evaluator *e, int *channels) {
    int last = e->runner.plan.net->count - 1;
    *channels = e->runner.plan.nodes[last].shape.channels;
    return fv_runner_output(&e->runner, last, false);
}

fv_status fv_evaluator_batch(fv_evaluator *e, const fv_batch *batch, fv_score *score) {
    fv_samples run = {.count = batch->samples, .source = batch->source, .bytes = batch->bytes};
    fv_runner_forward(&e->runner, &run);
    return fv_objective_run(&e->objective, &e->runner, batch, false, score);
}

/* Binds the objective to the data's fields, and makes room for the labels of `batch` samples; the
 * other fields are left out: NULL. */
static fv_status make_targets(fv_objective *objective, const fv_data *data, size_t batch,
                              float *targets[FV_MOST_FIELDS], float **labels) {
    fv_field fields[FV_MOST_FIELDS];
    size_t size;
    *labels = NULL;
    memset(targets, 0, FV_MOST_FIELDS * sizeof *targets);
    fv_status status = fv_objective_bind(objective, fields, fv_data_fields(data, fields));
    if (status)
        return status;
    int label = objective->losses[0].field;
    if (!fv_size_product(batch, fv_shape_count(&fields[label].shape), &size))
        return fv_fail(FV_MEMORY, "a batch of %zu labels is larger than any memory", batch);
    *labels = targets[label] = fv_alloc(size, sizeof **labels);
    return *labels ? FV_OK : FV_MEMORY;
}

fv_status fv_evaluator_data(fv_evaluator *e, const fv_data *data, fv_score *score) {
    size_t count = fv_data_count(data), batch = (size_t)e->runner.plan.batch;
    float *targets[FV_MOST_FIELDS], *labels;
    fv_status status = fv_check_data(e->runner.plan.net, data);
    if (!status)
        status = make_targets(&e->objective, data, batch, targets, &labels);
    if (status)
        return status;
    *score = (fv_score){.samples = count};
    for (size_t i = 0; !status && i < count; i += batch) {
        int samples = (int)(count - i < batch ? count - i : batch);
        fv_score part;
        fv_data_point(data, i, samples, e->source, targets);
        fv_batch one = {.samples = samples,
                        .source = e->source,
                        .bytes = fv_data_bytes(data),
                        .targets = (const float *const *)targets};
        status = fv_evaluator_batch(e, &one, &part);
        score->loss += part.loss * samples;
        score->accuracy += part.accuracy * samples;
    }
    score->loss /= (double)count;
    score->accuracy /= (double)count;
    fv_free(labels);
    return status;
}

/* ---- Several nets: their outputs are averaged
 * -------------------------------------------------------- */

/* -log p(label) of the averaged probabilities of one sample. */
static fv_sample_loss ensemble_sample(const double *p, int channels, int label, int nets) {
    int best = 0;
    for (int c = 1; c < channels; c++)
        if (p[c] > p[best])
            best = c;
    double share = p[label] / nets;
    return (fv_sample_loss){.loss = -log(share > 1e-38 ? share : 1e-38), .correct = best == label};
}

static fv_status ensemble_batch(fv_evaluator *evaluators, int nets, const float *labels,
                                int samples, bool bytes, double *sums, fv_score *score) {
    int channels = 0;
    for (int n = 0; n < nets; n++) {
        fv_samples run = {.count = samples, .source = evaluators[0].source, .bytes = bytes};
        fv_runner_forward(&evaluators[n].runner, &run);
        const real *outputs = outputs_of(&evaluators[n], &channels);
        for (size_t i = 0; i < (size_t)samples * (size_t)channels; i++)
            sums[i] = (n ? sums[i] : 0) + (double)outputs[i];
    }
    for (int s = 0; s < samples; s++) {
        if (!(labels[s] >= 0 && labels[s] < (float)channels))
            return fv_fail(FV_INVALID, "label %g: the nets have classes 0 to %d", (double)labels[s],
                           channels - 1);
        fv_sample_loss one =
            ensemble_sample(sums + (ptrdiff_t)s * channels, channels, (int)labels[s], nets);
        score->loss += one.loss;
        score->accuracy += one.correct;
    }
    return FV_OK;
}

static fv_status ensemble_data(fv_evaluator *evaluators, int nets, const fv_data *data,
                               fv_score *score) {
    size_t count = fv_data_count(data), batch = (size_t)evaluators[0].runner.plan.batch;
    int channels;
    outputs_of(&evaluators[0], &channels);
    float *targets[FV_MOST_FIELDS], *labels;
    fv_status status = make_targets(&evaluators[0].objective, data, batch, targets, &labels);
    if (status)
        return status;
    double *sums = fv_alloc(batch * (size_t)channels, sizeof *sums);
    status = sums ? FV_OK : FV_MEMORY;
    *score = (fv_score){.samples = count};
    for (size_t i = 0; !status && i < count; i += batch) {
        int samples = (int)(count - i < batch ? count - i : batch);
        fv_data_point(data, i, samples, evaluators[0].source, targets);
        status =
            ensemble_batch(evaluators, nets, labels, samples, fv_data_bytes(data), sums, score);
    }
    score->loss /= (double)count;
    score->accuracy /= (double)count;
    fv_free(labels);
    fv_free(sums);
    return status;
}

static fv_status check_ensemble(const fv_net *const *nets, int count) {
    for (int n = 1; n < count; n++) {
        int a = nets[0]->nodes[nets[0]->count - 1].output.channels;
        int b = nets[n]->nodes[nets[n]->count - 1].output.channels;
        if (a != b)
            return fv_fail(FV_SHAPE, "nets of an ensemble have %d and %d outputs", a, b);
    }
    return FV_OK;
}

static fv_status evaluate_acquired(const fv_net *const *nets, int count, const fv_data *data,
                                   int batch, int threads, bool exact, fv_score *score) {
    fv_evaluator *evaluators = fv_alloc((size_t)count, sizeof *evaluators);
    fv_status status = evaluators ? check_ensemble(nets, count) : FV_MEMORY;
    int opened = 0;
    for (; !status && opened < count; opened += !status) {
        status = fv_check_data(nets[opened], data);
        if (!status)
            status = open_evaluator(&evaluators[opened], nets[opened], batch, threads, exact,
                                    opened ? evaluators[0].runner.pool : NULL, count == 1);
    }
    if (!status)
        status = count == 1 ? fv_evaluator_data(&evaluators[0], data, score)
                            : ensemble_data(evaluators, count, data, score);
    while (opened > 0)
        fv_evaluator_close(&evaluators[--opened]);
    fv_free(evaluators);
    return status;
}

fv_status fv_evaluate(const fv_net *const *nets, int count, const fv_data *data, int batch,
                      int threads, bool exact, fv_score *score) {
    if (count < 1)
        return fv_fail(FV_INVALID, "no net to evaluate");
    int acquired = 0;
    fv_data *resized;
    fv_status status = fv_data_fit(nets[0], &data, &resized);
    for (; !status && acquired < count; acquired += !status)
        status = fv_net_acquire((fv_net *)(uintptr_t)nets[acquired], false);
    if (!status)
        status = evaluate_acquired(nets, count, data, batch, threads, exact, score);
    while (acquired > 0)
        fv_net_release((fv_net *)(uintptr_t)nets[--acquired], false);
    fv_data_free(resized);
    return status;
}
