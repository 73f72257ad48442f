/* The net's losses on a batch: which node, which field of the data, what they come to, and the
 * gradients of the outputs. Called by the training step and by evaluation. */
#include "train/train.h"
#include <math.h>
#include <string.h>

enum { UNIT_SAMPLES = 16 };

fv_status fv_objective_open(fv_objective *o, const fv_net *net) {
    *o = (fv_objective){.net = net, .loss_count = 1};
    fv_loss_term *term = &o->losses[0];
    term->weight = 1;
    term->plan = (fv_plan_loss){.node = net->count - 1, .raw = true};
    o->plan[0] = term->plan;
    return fv_loss_find(net->train.loss, net, &term->type);
}

void fv_objective_close(fv_objective *o) {
    fv_free(o->sample_losses);
    *o = (fv_objective){0};
}

fv_status fv_objective_bind(fv_objective *o, const fv_field *fields, int count) {
    for (int i = 0; i < o->loss_count; i++) {
        o->losses[i].field = -1;
        for (int f = 0; f < count; f++)
            if (strcmp(fields[f].name, "label") == 0)
                o->losses[i].field = f;
        if (o->losses[i].field < 0)
            return fv_fail(FV_INVALID, "the data has no labels");
    }
    return FV_OK;
}

typedef struct work {
    fv_objective *objective;
    fv_runner *runner;
    const fv_batch *batch;
    bool gradients;
} work;

static void run_unit(void *argument, int unit, int thread) {
    (void)thread;
    const work *w = argument;
    const fv_loss_term *term = &w->objective->losses[0];
    int node = term->plan.node, channels = w->runner->plan.nodes[node].shape.channels;
    const real *outputs = fv_runner_output(w->runner, node, false);
    real *gradients = w->gradients ? fv_runner_output_gradient(w->runner, node) : NULL;
    const float *labels = w->batch->targets[term->field];
    real scale = (real)1 / (real)w->batch->samples;
    for (int s = unit * UNIT_SAMPLES; s < w->batch->samples && s < (unit + 1) * UNIT_SAMPLES; s++)
        w->objective->sample_losses[s] =
            term->type->sample(outputs + (ptrdiff_t)s * channels, channels, (int)labels[s], scale,
                               gradients ? gradients + (ptrdiff_t)s * channels : NULL);
}

static fv_status check_labels(const fv_objective *o, const fv_batch *batch) {
    int classes = o->net->nodes[o->losses[0].plan.node].output.channels;
    const float *labels = batch->targets[o->losses[0].field];
    for (int s = 0; s < batch->samples; s++)
        if (!(labels[s] >= 0 && labels[s] < (float)classes))
            return fv_fail(FV_INVALID, "label %g of sample %d: the net has classes 0 to %d",
                           (double)labels[s], s, classes - 1);
    return FV_OK;
}

fv_status fv_objective_run(fv_objective *o, fv_runner *runner, const fv_batch *batch,
                           bool gradients, fv_score *score) {
    fv_status status = check_labels(o, batch);
    if (status)
        return status;
    if (o->capacity < batch->samples) {
        fv_free(o->sample_losses);
        o->sample_losses = fv_alloc((size_t)batch->samples, sizeof *o->sample_losses);
        o->capacity = o->sample_losses ? batch->samples : 0;
        if (!o->sample_losses)
            return FV_MEMORY;
    }
    work w = {.objective = o, .runner = runner, .batch = batch, .gradients = gradients};
    fv_pool_run(runner->pool, (batch->samples + UNIT_SAMPLES - 1) / UNIT_SAMPLES, run_unit, &w);
    *score = (fv_score){.samples = (size_t)batch->samples};
    for (int s = 0; s < batch->samples; s++) {
        score->loss += o->sample_losses[s].loss;
        score->accuracy += o->sample_losses[s].correct;
    }
    score->loss /= batch->samples;
    score->accuracy /= batch->samples;
    return FV_OK;
}
