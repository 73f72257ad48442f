/* A loss seen through another net: outputs and targets go through a trained model first, and its
 * features are compared (Johnson et al. 2016, "perceptual losses"). The model's weights stay as
 * they are; the gradient goes back through it. Called by objective.c. */
#include "train/train.h"
#include <string.h>

/* The model as far as its layer. The copy shares nodes and weights, and is never freed as a net. */
static fv_status cut_model(fv_through *t, const char *layer) {
    int last = *layer ? fv_net_find(t->model, layer) : t->model->main_output;
    if (last < 0)
        return fv_fail(FV_INVALID, "layer=%s: that model has no layer of that name", layer);
    t->head = fv_alloc(1, sizeof *t->head);
    if (!t->head)
        return FV_MEMORY;
    memcpy(t->head, t->model, sizeof *t->head);
    t->head->count = last + 1;
    t->head->main_output = last;
    t->head->loss_count = t->head->metric_count = 0; /* they may be of layers that are cut off */
    return FV_OK;
}

/* The shape of its features for what is judged. */
static fv_status find_shape(fv_through *t, const fv_judged *judged, const fv_net *net) {
    char place[128], text[2][64];
    const fv_shape *input = &t->model->nodes[0].output;
    if (input->channels != judged->shape.channels || !fv_sizes_fit(input, &judged->shape))
        return fv_fail(FV_SHAPE, "it takes %s, but the output of %s is %s",
                       fv_shape_text(input, text[0]),
                       fv_node_place(net, &net->nodes[judged->node], place),
                       fv_shape_text(&judged->shape, text[1]));
    fv_shape *shapes = fv_alloc((size_t)t->head->count, sizeof *shapes);
    int64_t *macs = fv_alloc((size_t)t->head->count, sizeof *macs);
    fv_status status =
        shapes && macs ? fv_net_shapes(t->head, &judged->shape, NULL, shapes, macs) : FV_MEMORY;
    if (!status)
        t->shape = shapes[t->head->count - 1];
    fv_free(shapes);
    fv_free(macs);
    return status;
}

fv_through *fv_through_new(const fv_loss_options *options, const fv_judged *judged,
                           const fv_net *net) {
    fv_through *t = fv_alloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->model = fv_net_load(options->through);
    fv_status status = t->model ? FV_OK : fv_error_status();
    if (!status && !t->model->file.path) /* before the head shares them */
        status = fv_net_draw(t->model);
    if (!status)
        status = cut_model(t, options->layer);
    if (!status)
        status = find_shape(t, judged, net);
    if (!status)
        return t;
    fv_through_free(t);
    fv_fail_in(status, "%s through %s", judged->what, options->through);
    return NULL;
}

static void close_runner(fv_through *t) {
    if (t->opened)
        fv_runner_close(&t->runner, false);
    t->opened = false;
    fv_free(t->source);
    fv_free(t->targets);
    fv_free(t->pictures);
    t->source = NULL;
    t->targets = t->pictures = NULL;
}

void fv_through_free(fv_through *t) {
    if (!t)
        return;
    close_runner(t);
    fv_free(t->head);
    fv_net_free(t->model);
    fv_free(t);
}

/* With the batch and the threads of the runner whose outputs are judged. */
static fv_status open_runner(fv_through *t, const fv_judged *judged, const fv_runner *outer) {
    static const char *const none[] = {NULL};
    fv_plan_loss loss = {.node = t->head->count - 1};
    fv_plan_options options = {.batch = outer->plan.batch,
                               .threads = outer->plan.threads,
                               .training = outer->plan.training,
                               .exact = outer->plan.exact,
                               .input_gradient = true,
                               .frozen = true,
                               .losses = &loss,
                               .loss_count = 1,
                               .outputs = none,
                               .input = judged->shape};
    size_t batch = (size_t)outer->plan.batch, features, values;
    if (!fv_size_product(batch, fv_shape_count(&t->shape), &features) ||
        !fv_size_product(batch, fv_shape_count(&judged->shape), &values))
        return fv_fail(FV_MEMORY, "a batch of %zu is too large for this loss", batch);
    fv_status status = fv_runner_open(&t->runner, t->head, &options, outer->pool, false);
    t->opened = !status;
    if (status)
        return status;
    t->source = fv_alloc(batch, sizeof *t->source);
    t->targets = fv_alloc(features, sizeof *t->targets);
    t->pictures = fv_alloc(values, sizeof *t->pictures);
    if (!t->source || !t->targets || !t->pictures) {
        close_runner(t);
        return FV_MEMORY;
    }
    status = fv_runner_pack(&t->runner);
    if (status)
        close_runner(t);
    return status;
}

static fv_samples samples_at(fv_through *t, const real *values, size_t sample, int count) {
    for (int s = 0; s < count; s++)
        t->source[s] = values + (size_t)s * sample;
    return (fv_samples){.count = count, .source = t->source, .reals = true};
}

real *fv_through_features(const fv_through *t) {
    return fv_runner_output(&t->runner, t->head->count - 1, false);
}

real *fv_through_gradient(const fv_through *t) {
    return fv_runner_output_gradient(&t->runner, t->head->count - 1);
}

fv_status fv_through_forward(fv_through *t, const fv_judged *judged, const fv_runner *outer,
                             const fv_batch *batch, bool gradients) {
    fv_status status = t->opened ? FV_OK : open_runner(t, judged, outer);
    if (status)
        return status;
    size_t sample = fv_shape_count(&judged->shape), places = fv_judged_places(judged);
    size_t features = fv_shape_count(&t->shape) * (size_t)batch->samples * sizeof(real);
    fv_judged_read(judged, outer, batch, 0, places * (size_t)batch->samples, t->pictures, NULL);
    fv_samples run = samples_at(t, t->pictures, sample, batch->samples);
    fv_runner_forward(&t->runner, &run);
    memcpy(t->targets, fv_through_features(t), features);
    run = samples_at(t, fv_runner_output(outer, judged->root, false), sample, batch->samples);
    fv_runner_forward(&t->runner, &run);
    if (gradients)
        memset(fv_through_gradient(t), 0, features);
    return FV_OK;
}

void fv_through_backward(fv_through *t, int samples, real *gradient) {
    const fv_input_options *input = t->model->nodes[0].options;
    fv_samples run = {.count = samples, .source = t->source, .reals = true};
    size_t count = fv_shape_count(&t->runner.plan.nodes[0].shape) * (size_t)samples;
    fv_runner_backward(&t->runner, &run);
    real *inner = fv_runner_output_gradient(&t->runner, 0);
    fv_input_gradient(input, t->runner.plan.kernels, count, inner);
    t->runner.plan.kernels->add(count, inner, gradient);
}
