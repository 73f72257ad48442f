/* The net's metrics over a data set: sample after sample, on one thread, so that no order of
 * threads can matter. Called by evaluate.c. */
#include "train/metric.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const fv_metric_type *const types[] = {
    &fv_metric_accuracy, &fv_metric_top_k,    &fv_metric_precision, &fv_metric_recall,
    &fv_metric_f1,       &fv_metric_auc,      &fv_metric_mae,       &fv_metric_mse,
    &fv_metric_r2,       &fv_metric_mean_iou, &fv_metric_dice,      &fv_metric_psnr,
    &fv_metric_ssim,
};

static const fv_metric_type *find_type(const char *name) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i]->name, name) == 0)
            return types[i];
    fv_fail_unknown("metric", name, fv_metric_names);
    return NULL;
}

/* ---- Opening -------------------------------------------------------------------------------- */

/* What a loss of the same outputs knows of them. A loss on logits moves the threshold of one
 * channel to theirs. */
static void ask_loss(fv_metric *m, const fv_net *net, const fv_loss_type *type) {
    double threshold = m->options.threshold;
    if (type->answer == FV_ANSWER_SMALLEST)
        m->answer = FV_ANSWER_SMALLEST;
    if (type->binary && net->nodes[m->judged.root].activation == FV_LINEAR)
        m->positive = log(threshold / (1 - threshold));
}

/* How the outputs of the node name a class, which its losses may know (the auxiliary ones, which do
 * not run here, too), and whether a loss has taken over its activation. */
static void ask_losses(fv_metric *m, const fv_net *net, const fv_objective *o) {
    m->positive = m->options.threshold;
    m->answer = m->judged.shape.channels == 1 ? FV_ANSWER_BINARY : FV_ANSWER_LARGEST;
    for (int i = 0; i < o->term_count; i++) {
        const fv_loss_term *term = &o->terms[i];
        if (term->judged.root != m->judged.root)
            continue;
        m->activate |= term->raw;
        ask_loss(m, net, term->type);
    }
    for (int i = 0; i < net->loss_count; i++) {
        const fv_net_loss *loss = &net->losses[i];
        const fv_loss_type *type =
            loss->options.auxiliary ? fv_loss_find(loss->options.type) : NULL;
        if (type && fv_judged_make(net, loss->node, "", "").root == m->judged.root)
            ask_loss(m, net, type);
    }
    m->classes = m->answer == FV_ANSWER_BINARY ? 2 : (size_t)m->judged.shape.channels;
}

static fv_status open_metric(fv_metric *m, const fv_metric_options *options, int node,
                             const fv_net *net, const fv_objective *o) {
    char place[128];
    m->options = *options;
    m->options.k = options->k ? options->k : 5;
    m->options.threshold = options->threshold != 0 ? options->threshold : 0.5;
    m->options.range = options->range != 0 ? options->range : 1;
    snprintf(m->what, sizeof m->what, "metric %s", m->type->name);
    m->judged = fv_judged_make(net, node, m->what, m->options.target);
    m->judged.classes = m->type->classes && m->judged.shape.channels > 1;
    m->judged.ignore = m->options.ignore;
    m->judged.ignore_count = m->options.ignore_count;
    ask_losses(m, net, o);
    fv_status status = m->type->fits ? m->type->fits(&m->judged.shape) : FV_OK;
    return status ? fv_fail_in(status, "%s of %s", m->what,
                               fv_node_place(net, &net->nodes[node], place))
                  : FV_OK;
}

fv_status fv_metrics_open(fv_metrics *metrics, const fv_net *net, const fv_objective *o) {
    *metrics = (fv_metrics){.net = net};
    if (net->metric_count == 0)
        return FV_OK;
    metrics->metrics = fv_alloc((size_t)net->metric_count, sizeof *metrics->metrics);
    fv_status status = metrics->metrics ? FV_OK : FV_MEMORY;
    while (!status && metrics->count < net->metric_count) {
        const fv_net_metric *given = &net->metrics[metrics->count];
        fv_metric *m = &metrics->metrics[metrics->count++];
        m->type = find_type(given->options.type);
        status = m->type ? open_metric(m, &given->options, given->node, net, o) : FV_INVALID;
    }
    if (status)
        fv_metrics_close(metrics);
    return status;
}

fv_status fv_metrics_open_confusion(fv_metrics *metrics, const fv_net *net, const fv_objective *o,
                                    int classes, int64_t *counts) {
    *metrics = (fv_metrics){.net = net};
    if (o->answer < 0)
        return fv_fail(FV_INVALID, "no loss of the net has classes: there is nothing to confuse");
    const fv_loss_term *term = &o->terms[o->answer];
    fv_metric_options options = {.ignore_count = term->options.ignore_count};
    memcpy(options.ignore, term->options.ignore, sizeof options.ignore);
    snprintf(options.target, sizeof options.target, "%s", term->judged.target);
    metrics->metrics = fv_alloc(1, sizeof *metrics->metrics);
    if (!metrics->metrics)
        return FV_MEMORY;
    fv_metric *m = &metrics->metrics[metrics->count++];
    m->type = &fv_metric_confusion;
    fv_status status = open_metric(m, &options, term->judged.node, net, o);
    if (!status && (size_t)classes != m->classes)
        status = fv_fail(FV_SHAPE, "the net has %zu classes, but %d were asked for", m->classes,
                         classes);
    m->matrix = counts;
    memset(counts, 0, m->classes * m->classes * sizeof *counts * !status);
    if (status)
        fv_metrics_close(metrics);
    return status;
}

void fv_metrics_close(fv_metrics *metrics) {
    for (int i = 0; i < metrics->count; i++) {
        fv_free(metrics->metrics[i].counts);
        fv_free(metrics->metrics[i].totals);
        fv_free(metrics->metrics[i].ranked);
    }
    fv_free(metrics->metrics);
    fv_free(metrics->outputs);
    fv_free(metrics->values);
    fv_free(metrics->labels);
    fv_free(metrics->scratch);
    *metrics = (fv_metrics){0};
}

int fv_metrics_plan(const fv_metrics *metrics, fv_plan_loss *losses, int count) {
    for (int i = 0; i < metrics->count; i++) {
        const fv_judged *judged = &metrics->metrics[i].judged;
        losses[count++] = (fv_plan_loss){.node = judged->root};
        if (strcmp(judged->target, "input") == 0)
            losses[count++] = (fv_plan_loss){.node = 0};
    }
    return count;
}

/* ---- Binding and beginning ------------------------------------------------------------------ */

/* Room for one sample of the largest metric, and for what each one gathers. */
static fv_status make_room(fv_metrics *metrics) {
    size_t values = 1, places = 1, scratch = 1;
    bool whole = true;
    for (int i = 0; i < metrics->count; i++) {
        fv_metric *m = &metrics->metrics[i];
        size_t count = fv_shape_count(&m->judged.shape), rows = fv_judged_places(&m->judged);
        size_t numbers = m->type->scratch ? m->type->scratch(&m->judged.shape) : 0;
        values = count > values ? count : values;
        places = rows > places ? rows : places;
        scratch = numbers > scratch ? numbers : scratch;
        if (m->type->counts)
            whole &= (m->counts = fv_alloc(3 * m->classes, sizeof *m->counts)) != NULL;
        if (m->type->totals)
            whole &= (m->totals = fv_alloc(m->type->totals * (size_t)m->judged.shape.channels,
                                           sizeof *m->totals)) != NULL;
    }
    metrics->outputs = fv_alloc(values, sizeof *metrics->outputs);
    metrics->values = fv_alloc(values, sizeof *metrics->values);
    metrics->labels = fv_alloc(places, sizeof *metrics->labels);
    metrics->scratch = fv_alloc(scratch, sizeof *metrics->scratch);
    return whole && metrics->outputs && metrics->values && metrics->labels && metrics->scratch
               ? FV_OK
               : FV_MEMORY;
}

fv_status fv_metrics_bind(fv_metrics *metrics, const fv_field *fields, int count) {
    fv_status status = metrics->outputs || metrics->count == 0 ? FV_OK : make_room(metrics);
    for (int i = 0; !status && i < metrics->count; i++)
        status = fv_judged_bind(&metrics->metrics[i].judged, metrics->net, fields, count);
    return status;
}

void fv_metrics_begin(fv_metrics *metrics) {
    for (int i = 0; i < metrics->count; i++) {
        fv_metric *m = &metrics->metrics[i];
        m->sum = 0;
        m->count = m->held = 0;
        if (m->counts)
            memset(m->counts, 0, 3 * m->classes * sizeof *m->counts);
        if (m->totals)
            memset(m->totals, 0,
                   m->type->totals * (size_t)m->judged.shape.channels * sizeof *m->totals);
    }
}

/* ---- Measuring ------------------------------------------------------------------------------ */

/* The outputs of sample s; after the activation, where the runner left it out. */
static const real *outputs_of(fv_metrics *metrics, const fv_metric *m, const fv_runner *runner,
                              int s) {
    const fv_node *root = &metrics->net->nodes[m->judged.root];
    size_t values = fv_shape_count(&m->judged.shape), channels = (size_t)root->output.channels;
    const real *outputs = fv_runner_output(runner, m->judged.root, false) + (size_t)s * values;
    if (!m->activate)
        return outputs;
    memcpy(metrics->outputs, outputs, values * sizeof *outputs);
    runner->plan.kernels->activate(root->activation, (real)root->activation_constant,
                                   values / channels, (int)channels, metrics->outputs);
    return metrics->outputs;
}

static fv_status add_samples(fv_metrics *metrics, fv_metric *m, const fv_runner *runner,
                             const fv_batch *batch) {
    size_t rows = fv_judged_places(&m->judged);
    fv_status status = FV_OK;
    for (int s = 0; !status && s < batch->samples; s++) {
        size_t first = (size_t)s * rows;
        size_t read = fv_judged_read(&m->judged, runner, batch, first, rows, metrics->values,
                                     metrics->labels);
        if (read < rows)
            return fv_judged_fail(&m->judged, metrics->net, batch, first + read);
        fv_metric_sample sample = {.rows = rows,
                                   .channels = (size_t)m->judged.shape.channels,
                                   .outputs = outputs_of(metrics, m, runner, s),
                                   .values = metrics->values,
                                   .labels = metrics->labels,
                                   .scratch = metrics->scratch};
        status = m->type->add(m, &sample);
    }
    return status;
}

fv_status fv_metrics_add(fv_metrics *metrics, const fv_runner *runner, const fv_batch *batch) {
    fv_status status = FV_OK;
    for (int i = 0; !status && i < metrics->count; i++)
        status = add_samples(metrics, &metrics->metrics[i], runner, batch);
    return status;
}

/* The type, or LAYER.TYPE where several metrics are of that type. */
static void name_metric(const fv_metrics *metrics, const fv_metric *m, char name[64]) {
    int alike = 0;
    for (int i = 0; i < metrics->count; i++)
        alike += metrics->metrics[i].type == m->type;
    const char *layer = alike > 1 ? metrics->net->nodes[m->judged.node].name : "";
    snprintf(name, 64, "%.40s%s%s", layer, alike > 1 ? "." : "", m->type->name);
}

void fv_metrics_score(fv_metrics *metrics, fv_score *score) {
    score->metric_count = metrics->count;
    for (int i = 0; i < metrics->count; i++) {
        fv_metric *m = &metrics->metrics[i];
        score->metrics[i].value = m->type->result(m);
        name_metric(metrics, m, score->metrics[i].name);
    }
}
