/* See judge.h. */
#include "judge.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect_ok(fv_status status) {
    if (status)
        fail_case("%s", fv_error_message());
}

judge judge_new(const char *text, const fv_shape *targets, int threads, bool training) {
    judge j = {.net = fv_net_parse(text, "judge.net"), .field = {.name = "label"}};
    fv_objective objective;
    fv_metrics metrics;
    fv_plan_loss losses[FV_MOST_LOSSES + 1 + 2 * FV_MOST_METRICS];
    if (!j.net)
        fail_case("%s", fv_error_message());
    expect_ok(fv_objective_open(&objective, j.net, true));
    expect_ok(fv_metrics_open(&metrics, j.net, &objective));
    for (int i = 0; i < objective.loss_count; i++)
        losses[i] = objective.plan[i];
    fv_plan_options options = {.batch = JUDGE_SAMPLES,
                               .threads = threads,
                               .training = training,
                               .frozen = true,
                               .input_gradient = training,
                               .losses = losses};
    options.loss_count = fv_metrics_plan(&metrics, losses, objective.loss_count);
    expect_ok(fv_runner_open(&j.runner, j.net, &options, NULL, false));
    fv_runner_pack(&j.runner);
    fv_metrics_close(&metrics);
    fv_objective_close(&objective);
    j.field.shape = *targets;
    j.output_values = fv_shape_count(&j.net->nodes[0].output);
    j.target_values = fv_shape_count(targets);
    j.outputs = calloc(JUDGE_SAMPLES * j.output_values, sizeof(float));
    j.targets = calloc(JUDGE_SAMPLES * j.target_values, sizeof(float));
    assert_true(j.outputs && j.targets);
    return j;
}

void judge_free(judge *j) {
    fv_objective_close(&j->objective);
    fv_runner_close(&j->runner, true);
    fv_net_free(j->net);
    free(j->outputs);
    free(j->targets);
}

fv_batch judge_batch(judge *j, const float *const *targets) {
    for (size_t s = 0; s < JUDGE_SAMPLES; s++)
        j->source[s] = j->outputs + s * j->output_values;
    return (fv_batch){.samples = JUDGE_SAMPLES, .source = j->source, .targets = targets};
}

fv_status judge_run(judge *j, int samples, bool gradients, fv_score *score) {
    const float *targets[1] = {j->targets};
    fv_batch batch = judge_batch(j, targets);
    batch.samples = samples;
    if (!j->objective.net)
        expect_ok(fv_objective_open(&j->objective, j->net, true));
    fv_status status = fv_objective_bind(&j->objective, &j->field, 1);
    fv_samples run = {.count = samples, .source = j->source};
    if (status)
        return status;
    fv_runner_forward(&j->runner, &run);
    return fv_objective_run(&j->objective, &j->runner, &batch, gradients, score);
}
