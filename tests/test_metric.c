/* Holds the metrics to their oracle, on vectors and places, over several batches; with activations
 * that a loss has taken over; and evaluation, confusion and ensembles to what they are made of. */
#include "files.h"
#include "judge.h"
#include "pictures.h"
#include "reference/reference.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* ---- Against the oracle --------------------------------------------------------------------- */

typedef struct metric_case {
    const char *line;
    bool indices, values; /* kinds of targets */
    int channels;         /* 0: several numbers of them */
    const char *shape;    /* NULL: several */
} metric_case;

static const metric_case cases[] = {
    {"accuracy", true, true, 0, NULL},
    {"accuracy ignore=1", true, false, 0, NULL},
    {"accuracy threshold=0.2", true, true, 1, NULL},
    {"top_k", true, true, 10, NULL},
    {"top_k k=2 ignore=0,3", true, false, 10, NULL},
    {"precision", true, true, 0, NULL},
    {"precision ignore=0", true, false, 0, NULL},
    {"recall", true, true, 0, NULL},
    {"recall threshold=0.7", true, true, 1, NULL},
    {"f1", true, true, 0, NULL},
    {"mean_iou", true, true, 0, NULL},
    {"mean_iou ignore=2", true, false, 0, NULL},
    {"dice", true, true, 0, NULL},
    {"dice ignore=1", true, false, 0, NULL},
    {"auc", true, true, 0, NULL},
    {"auc ignore=1", true, false, 3, NULL},
    {"mae", true, true, 0, NULL},
    {"mse", true, true, 0, NULL},
    {"mse ignore=1", true, false, 3, NULL},
    {"r2", true, true, 0, NULL},
    {"r2 ignore=2", true, false, 4, NULL},
    {"psnr", false, true, 0, NULL},
    {"psnr range=255", false, true, 0, NULL},
    {"ssim", false, true, 3, "13x12"},
    {"ssim range=2", false, true, 1, "11x14"},
};

static const char *const sizes[] = {"", "9", "3x5", "2x3x2"};
static const int channel_counts[] = {1, 2, 3, 10};

static void fill(numbers *n, bool indices, int channels, size_t count, float *values) {
    int classes = channels == 1 ? 2 : channels;
    for (size_t i = 0; i < count; i++)
        values[i] = indices ? (float)numbers_below(n, classes) /* outputs: some are equal */
                            : (float)numbers_below(n, 51) / 50;
}

/* Gathers samples [first, first + count) of the judge's. */
static void add_batch(judge *j, fv_metrics *metrics, int first, int count) {
    const float *targets[1] = {j->targets + (size_t)first * j->target_values};
    fv_batch batch = judge_batch(j, targets);
    batch.source += first;
    batch.samples = count;
    fv_samples run = {.count = count, .source = batch.source};
    fv_runner_forward(&j->runner, &run);
    if (fv_metrics_add(metrics, &j->runner, &batch))
        fail_case("%s", fv_error_message());
}

/* The first metric of the net, gathered in batches of 1, 3 and the rest. */
static double measure(judge *j) {
    fv_metrics metrics;
    fv_objective objective;
    fv_score score = {0};
    assert_int_equal(fv_objective_open(&objective, j->net, true), FV_OK);
    assert_int_equal(fv_metrics_open(&metrics, j->net, &objective), FV_OK);
    if (fv_metrics_bind(&metrics, &j->field, 1))
        fail_case("%s", fv_error_message());
    for (int again = 0; again < 2; again++) { /* it begins anew */
        fv_metrics_begin(&metrics);
        add_batch(j, &metrics, 0, 1);
        add_batch(j, &metrics, 1, 3);
        add_batch(j, &metrics, 4, JUDGE_SAMPLES - 4);
    }
    fv_metrics_score(&metrics, &score);
    assert_int_equal(score.metric_count, j->net->metric_count);
    assert_string_equal(score.metrics[0].name, j->net->metrics[0].options.type);
    fv_metrics_close(&metrics);
    fv_objective_close(&objective);
    return score.metrics[0].value;
}

static double ask_oracle(const judge *j, bool indices, bool smallest, const double *outputs) {
    size_t count = JUDGE_SAMPLES * j->target_values;
    double *t = new_doubles(count);
    for (size_t i = 0; i < count; i++)
        t[i] = (double)j->targets[i];
    ref_measured measured = {.options = &j->net->metrics[0].options,
                             .samples = JUDGE_SAMPLES,
                             .shape = j->net->nodes[j->net->metrics[0].node].output,
                             .outputs = outputs,
                             .targets = indices ? NULL : t,
                             .indices = indices ? t : NULL,
                             .smallest = smallest};
    double value = ref_metric(&measured);
    free(t);
    return value;
}

static void expect_near(double got, double wanted, double bound) {
    bool same = got == wanted || (isnan(wanted) && isnan(got)) ||
                fabs(got - wanted) <= bound * (1 + fabs(wanted));
    if (!same)
        fail_case("%.17g, not %.17g", got, wanted);
}

static judge judge_of(const char *text, bool indices, numbers *n) {
    fv_net *net = fv_net_parse(text, "shape.net");
    if (!net)
        fail_case("%s", fv_error_message());
    fv_shape shape = net->nodes[0].output;
    fv_net_free(net);
    int channels = shape.channels;
    if (indices)
        shape.channels = 1;
    judge j = judge_new(text, &shape, 2, false);
    fill(n, indices, channels, JUDGE_SAMPLES * j.target_values, j.targets);
    fill(n, false, channels, JUDGE_SAMPLES * j.output_values, j.outputs);
    return j;
}

static void run_case(const char *head, const char *line, bool indices, bool smallest, numbers *n) {
    char text[300];
    snprintf(text, sizeof text, "%s\nmetric %s\n", head, line);
    describe("%s, indices %d", text, indices);
    judge j = judge_of(text, indices, n);
    size_t count = JUDGE_SAMPLES * j.output_values;
    double *outputs = new_doubles(count);
    for (size_t i = 0; i < count; i++)
        outputs[i] = (double)j.outputs[i];
    expect_near(measure(&j), ask_oracle(&j, indices, smallest, outputs), 1e-11);
    free(outputs);
    judge_free(&j);
}

static void test_all_metrics(void **state) {
    (void)state;
    numbers n = {1};
    int count = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t s = 0; s < 4; s++)
            for (size_t k = 0; k < 4; k++) {
                const metric_case *c = &cases[i];
                char head[100];
                int channels = c->channels ? c->channels : channel_counts[k];
                const char *size = c->shape ? c->shape : sizes[s];
                if ((c->channels && k > 0) || (c->shape && s > 0))
                    continue;
                snprintf(head, sizeof head, "input %s%s%d\nloss mse", size, *size ? "x" : "",
                         channels);
                for (int kind = 0; kind < 2; kind++)
                    if (kind ? c->values : c->indices) {
                        run_case(head, c->line, !kind, false, &n);
                        count++;
                    }
            }
    for (size_t i = 0; i < 3; i++) { /* under rbf the smallest output is the answer */
        static const char *const lines[] = {"accuracy", "top_k k=2", "auc"};
        run_case("input 3x4\nloss rbf", lines[i], true, true, &n);
    }
    print_message("%d cases\n", count);
    assert_true(count > 300);
}

/* Every metric that a net can name stands in the manual's table and is tested. */
static void test_names(void **state) {
    (void)state;
    for (int i = 0; fv_metric_names[i]; i++) {
        size_t length = strlen(fv_metric_names[i]);
        bool tested = false;
        assert_string_equal(fv_metric_types[i].name, fv_metric_names[i]);
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
            tested |= strncmp(cases[c].line, fv_metric_names[i], length) == 0;
        assert_true(tested);
    }
}

/* Published numbers: scikit-learn's examples of roc_auc_score, f1_score and r2_score. */
static void test_known_numbers(void **state) {
    (void)state;
    static const struct known {
        const char *text;
        float outputs[5], targets[5];
        double value;
    } known[] = {
        /* y_true 0 0 1 1, y_score 0.1 0.4 0.35 0.8: 0.75; a fifth place is ignored */
        {"input 1\nloss mse\nmetric auc ignore=9\n",
         {0.1F, 0.4F, 0.35F, 0.8F, 0},
         {0, 0, 1, 1, 9},
         0.75},
        /* y_true 3 -0.5 2 7, y_pred 2.5 0 2 8: 0.948... */
        {"input 1\nloss mse\nmetric r2 ignore=9\n",
         {2.5F, 0, 2, 8, 1},
         {3, -0.5F, 2, 7, 9},
         0.94860813704496794},
    };
    for (int i = 0; i < 2; i++) {
        judge j = judge_new(known[i].text, &(fv_shape){.channels = 1}, 1, false);
        memcpy(j.outputs, known[i].outputs, sizeof known[i].outputs);
        memcpy(j.targets, known[i].targets, sizeof known[i].targets);
        describe("%s", known[i].text);
        expect_near(measure(&j), known[i].value, 1e-15);
        judge_free(&j);
    }
}

/* ---- Outputs whose activation a loss has taken over ----------------------------------------- */

static void test_taken_activations(void **state) {
    (void)state;
    static const struct taken {
        const char *head;
        fv_activation activation;
        const char *line;
    } taken[] = {
        {"input 2x4\nsoftmax\nloss cross_entropy", FV_SOFTMAX, "mse"},
        {"input 2x4\nsoftmax\nloss cross_entropy", FV_SOFTMAX, "auc"},
        {"input 3x1\nsigmoid\nloss binary_cross_entropy", FV_SIGMOID, "accuracy threshold=0.6"},
        {"input 3x1\nsigmoid\nflatten\nloss focal", FV_SIGMOID, "mae"},
        {"input 3x2\nsigmoid\nloss mse", FV_SIGMOID, "mae"}, /* nothing is taken over */
    };
    numbers n = {6};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        char text[300];
        bool indices = i < 2;
        snprintf(text, sizeof text, "%s\nmetric %s\n", taken[i].head, taken[i].line);
        describe("%s", text);
        judge j = judge_of(text, indices, &n);
        if (i == 3) /* what is judged is the flattened vector */
            j.field.shape = (fv_shape){.channels = 3};
        size_t count = JUDGE_SAMPLES * j.output_values;
        double *outputs = new_doubles(count), *activated = new_doubles(count);
        for (size_t k = 0; k < count; k++)
            outputs[k] = (double)(j.outputs[k] = 4 * j.outputs[k] - 2);
        int channels = j.net->nodes[0].output.channels;
        ref_activation(taken[i].activation, count / (size_t)channels, channels, outputs, activated);
        expect_near(measure(&j), ask_oracle(&j, indices, false, activated), 1e-6);
        free(outputs);
        free(activated);
        judge_free(&j);
    }
}

/* Of one channel of logits, without a sigmoid: the threshold is still one of probabilities. */
static void test_threshold_of_logits(void **state) {
    (void)state;
    static const float logits[] = {-1, 0.3F, 0.5F, 2, 3}, yes[] = {0, 0, 1, 1, 1};
    judge j = judge_new("input 1\nloss binary_cross_entropy\nmetric accuracy threshold=0.6\n",
                        &(fv_shape){.channels = 1}, 1, false); /* log(0.6 / 0.4) = 0.405 */
    memcpy(j.outputs, logits, sizeof logits);
    memcpy(j.targets, yes, sizeof yes);
    expect_near(measure(&j), 1, 1e-15);
    judge_free(&j);
}

static void test_no_number(void **state) {
    (void)state;
    judge j = judge_new("input 2\nloss mse\nmetric auc\n", &(fv_shape){.channels = 1}, 1, false);
    expect_near(measure(&j), NAN, 0); /* one class only */
    j.targets[0] = 1;
    expect_near(measure(&j), 0.5, 1e-15); /* all are equal */
    j.outputs[3] = NAN;
    expect_near(measure(&j), NAN, 0);
    judge_free(&j);
    j = judge_new("input 2\nloss mse\nmetric accuracy ignore=0\n", &(fv_shape){.channels = 1}, 1,
                  false);
    expect_near(measure(&j), NAN, 0);
    judge_free(&j);
}

/* ---- Evaluation ----------------------------------------------------------------------------- */

enum { TEST = 60, CLASSES = 3 };

static fv_data *test_data;

static int set_up(void **state) {
    if (make_test_folder(state))
        return -1;
    mkdir(in_folder("pictures"), 0777);
    make_pictures(in_folder("pictures"), "t10k", TEST, 12, CLASSES);
    test_data = fv_data_open(in_folder("pictures"), "test");
    return test_data ? 0 : -1;
}

static int tear_down(void **state) {
    fv_data_free(test_data);
    return remove_test_folder(state);
}

static fv_net *net_of(const char *lines) {
    char text[600];
    snprintf(text, sizeof text, "input 12x12x1 scale=1/255\nconv 4 3x3 relu\nflatten\n%s", lines);
    fv_net *net = fv_net_parse(text, "test.net");
    if (!net)
        fail_msg("%s", fv_error_message());
    return net;
}

static fv_score evaluate(const fv_net *net, int batch, int threads) {
    fv_score score;
    const fv_net *nets[] = {net};
    if (fv_evaluate(nets, 1, test_data, batch, threads, false, &score))
        fail_msg("%s", fv_error_message());
    return score;
}

/* Several outputs, losses and metrics; batches and threads do not matter. */
static void test_evaluation(void **state) {
    (void)state;
    fv_net *net = net_of("x: dense 3 softmax\nloss cross_entropy ignore=1\nmetric accuracy\n"
                         "y: dense 1 sigmoid from=flatten1\nloss mse target=label weight=0.1\n"
                         "metric mae of=y\nmetric accuracy of=y\nmetric dice of=x\n");
    fv_score one = evaluate(net, 7, 1), other = evaluate(net, 60, 3);
    static const char *const names[] = {"x.accuracy", "mae", "y.accuracy", "dice"};
    assert_int_equal(one.metric_count, 4);
    assert_int_equal(one.samples, TEST);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(one.metrics[i].name, names[i]);
        expect_near(one.metrics[i].value, other.metrics[i].value, 1e-7);
    }
    expect_near(one.loss, other.loss, 1e-6);
    expect_near(one.accuracy, other.accuracy, 0);
    fv_net_free(net);
}

static void test_confusion(void **state) {
    (void)state;
    fv_net *net = net_of("dense 3 softmax\n");
    fv_score score = evaluate(net, 0, 1);
    int64_t counts[CLASSES * CLASSES] = {7}, sum = 0, right = 0;
    assert_int_equal(fv_confusion(net, test_data, 11, 2, CLASSES, counts), FV_OK);
    for (int i = 0; i < CLASSES * CLASSES; i++) {
        sum += counts[i];
        right += i / CLASSES == i % CLASSES ? counts[i] : 0;
    }
    assert_int_equal(sum, TEST);
    expect_near((double)right / TEST, score.accuracy, 0);
    expect_failure(fv_confusion(net, test_data, 0, 1, 4, counts), FV_SHAPE, "3 classes");
    fv_net_free(net);
    net = net_of("dense 3\nloss mse\n");
    expect_failure(fv_confusion(net, test_data, 0, 1, 3, counts), FV_INVALID, "classes");
    fv_net_free(net);
}

/* Logits or probabilities: an ensemble of equals is that equal. */
static void test_ensemble(void **state) {
    (void)state;
    static const char *const ends[] = {"dense 3 softmax\n", "dense 3\n", "dense 3\nsoftmax\n"};
    fv_score alone, both;
    for (int i = 0; i < 3; i++) {
        fv_net *net = net_of(ends[i]);
        const fv_net *nets[] = {net, net, net};
        alone = evaluate(net, 0, 1);
        assert_int_equal(fv_evaluate(nets, 3, test_data, 9, 2, false, &both), FV_OK);
        expect_near(both.loss, alone.loss, 1e-6);
        expect_near(both.accuracy, alone.accuracy, 0);
        fv_net_free(net);
    }
    fv_net *net = net_of("dense 3 softmax\n"), *other = net_of("dense 3\nloss mse\n");
    fv_net *more = net_of("dense 4 softmax\n");
    const fv_net *nets[] = {net, other}, *unlike[] = {net, more};
    expect_failure(fv_evaluate(nets, 2, test_data, 0, 1, false, &both), FV_INVALID,
                   "net 2 has loss mse");
    expect_failure(fv_evaluate(unlike, 2, test_data, 0, 1, false, &both), FV_SHAPE, "3 and 4");
    fv_net_free(net);
    fv_net_free(other);
    fv_net_free(more);
}

static void expect_unfit(const char *lines, fv_status status, const char *words) {
    fv_net *net = net_of(lines);
    const fv_net *nets[] = {net};
    fv_score score;
    expect_failure(fv_evaluate(nets, 1, test_data, 0, 1, false, &score), status, words);
    fv_net_free(net);
}

static void test_what_does_not_fit(void **state) {
    (void)state;
    expect_unfit("dense 2 softmax\n", FV_SHAPE, "labels up to 2, but the net has 2 outputs");
    expect_unfit("dense 3\nloss mse target=mask\n", FV_INVALID, "the data has only label");
    expect_unfit("dense 3\nloss mse target=input\n", FV_SHAPE, "input, which is 12x12x1");
    expect_unfit("dense 3\nloss mse\nmetric mae target=mask\n", FV_INVALID, "metric mae");
    expect_unfit("dense 3\nloss mse\nmetric ssim\n", FV_SHAPE, "pictures");
    assert_null(fv_net_parse("input 3\nmetric mae k=2\n", "bad.net"));
    expect_message("mae has no option k");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_metrics),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_known_numbers),
        cmocka_unit_test(test_taken_activations),
        cmocka_unit_test(test_threshold_of_logits),
        cmocka_unit_test(test_no_number),
        cmocka_unit_test(test_evaluation),
        cmocka_unit_test(test_confusion),
        cmocka_unit_test(test_ensemble),
        cmocka_unit_test(test_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
