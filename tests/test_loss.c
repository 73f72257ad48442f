/* Holds the losses to their oracle: value, gradient and accuracy, of vectors and of places, by
 * class indices and by values, with every option; that the threads do not matter; several losses on
 * one output; losses through another net; and what a net must be like for each. */
#include "files.h"
#include "judge.h"
#include "reference/reference.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- Against the oracle --------------------------------------------------------------------- */

typedef enum targets_kind { INDICES, ANY_VALUES, PROBABILITIES, ZERO_OR_ONE, BOXES } targets_kind;

typedef struct loss_case {
    const char *line;
    const char *activation; /* taken over; NULL: none is */
    targets_kind kinds[3];
    int kind_count;
    int channels;      /* 0: several numbers of them */
    const char *shape; /* NULL: several */
} loss_case;

#define VALUES {ANY_VALUES, INDICES}, 2

static const loss_case cases[] = {
    {"cross_entropy", "softmax", {INDICES, PROBABILITIES}, 2, 0, NULL},
    {"cross_entropy", "log_softmax", {INDICES}, 1, 0, NULL},
    {"cross_entropy label_smoothing=0.1 weight=0.5", NULL, {INDICES, PROBABILITIES}, 2, 0, NULL},
    {"cross_entropy class_weights=1,0.5,3", "softmax", {INDICES, PROBABILITIES}, 2, 3, NULL},
    {"cross_entropy class_weights=1,0.5,3 formula=torch label_smoothing=0.2",
     "softmax",
     {INDICES, PROBABILITIES},
     2,
     3,
     NULL},
    {"cross_entropy ignore=1,2 label_smoothing=0.1", "softmax", {INDICES}, 1, 5, NULL},
    {"cross_entropy ignore=2 class_weights=1,2,3,4 formula=torch", NULL, {INDICES}, 1, 4, NULL},
    {"binary_cross_entropy", "sigmoid", {ZERO_OR_ONE, PROBABILITIES, INDICES}, 3, 0, NULL},
    {"binary_cross_entropy label_smoothing=0.2", NULL, {ZERO_OR_ONE}, 1, 0, NULL},
    {"binary_cross_entropy class_weights=0.5,2", "sigmoid", {ZERO_OR_ONE}, 1, 1, NULL},
    {"focal", "sigmoid", {ZERO_OR_ONE, INDICES}, 2, 0, NULL},
    {"focal alpha=0.6 gamma=0.7 label_smoothing=0.1", NULL, {ZERO_OR_ONE}, 1, 0, NULL},
    {"focal class_weights=1,2,0.5", "sigmoid", {INDICES}, 1, 3, NULL},
    {"binary_cross_entropy class_weights=1,2,0.5 ignore=1", NULL, {INDICES}, 1, 3, NULL},
    {"kl", NULL, {PROBABILITIES, INDICES}, 2, 0, NULL},
    {"rbf", NULL, {INDICES, PROBABILITIES}, 2, 0, NULL},
    {"rbf margin=2 ignore=0", NULL, {INDICES}, 1, 3, NULL},
    {"mse", NULL, VALUES, 0, NULL},
    {"mse ignore=1", NULL, {INDICES}, 1, 3, NULL},
    {"mae weight=2", NULL, VALUES, 0, NULL},
    {"huber", NULL, VALUES, 0, NULL},
    {"huber delta=0.2", NULL, VALUES, 0, NULL},
    {"smooth_l1 delta=0.3", NULL, VALUES, 0, NULL},
    {"hinge", NULL, {ZERO_OR_ONE, INDICES}, 2, 0, NULL},
    {"cosine", NULL, VALUES, 0, NULL},
    {"dice", NULL, {ZERO_OR_ONE, INDICES, PROBABILITIES}, 3, 0, NULL},
    {"dice smooth=0.1 ignore=2", NULL, {INDICES}, 1, 4, NULL},
    {"tversky alpha=0.3 beta=0.8", NULL, {ZERO_OR_ONE, INDICES}, 2, 0, NULL},
    {"iou", NULL, {BOXES}, 1, 4, NULL},
    {"giou", NULL, {BOXES}, 1, 4, NULL},
    {"diou", NULL, {BOXES}, 1, 4, NULL},
    {"ciou", NULL, {BOXES}, 1, 4, NULL},
    {"giou boxes=center", NULL, {BOXES}, 1, 4, NULL},
    {"ciou boxes=center", NULL, {BOXES}, 1, 4, NULL},
    {"ssim", NULL, {PROBABILITIES}, 1, 3, "13x11"},
    {"ssim weight=3", NULL, {PROBABILITIES}, 1, 1, "12x17"},
    {"total_variation", NULL, {ANY_VALUES}, 1, 2, "6"},
    {"total_variation", NULL, {ANY_VALUES}, 1, 3, "4x7"},
    {"total_variation weight=4", NULL, {ANY_VALUES}, 1, 1, "3x1x5"},
};

/* Places of a sample; the last makes several blocks, and blocks that hold parts of two samples. */
static const char *const sizes[] = {"", "7", "3x5", "2x3x2", "57x61"};
static const int channel_counts[] = {1, 2, 3, 10, 33};

static void fill_box(numbers *n, bool center, float *box) {
    float x[4];
    for (int i = 0; i < 4; i++)
        x[i] = (float)(1 + numbers_below(n, 1000000)) / 1000000;
    box[0] = x[0];
    box[1] = x[1];
    box[2] = center ? x[2] : x[0] + x[2];
    box[3] = center ? x[3] : x[1] + x[3];
}

static void fill(numbers *n, targets_kind kind, const char *line, int channels, size_t count,
                 float *values) {
    for (size_t i = 0; i < count; i++) {
        float x = (float)(numbers_below(n, 20001) - 10000) / 10000;
        values[i] = kind == INDICES         ? (float)numbers_below(n, channels)
                    : kind == ZERO_OR_ONE   ? (float)numbers_below(n, 2)
                    : kind == PROBABILITIES ? 0.5F + x / 2
                                            : x;
    }
    for (size_t i = 0; kind == BOXES && i + 4 <= count; i += 4)
        fill_box(n, strstr(line, "center") != NULL, values + i);
}

/* What the oracle says about the judge's numbers. */
static double ask_oracle(const judge *j, int samples, bool indices, double *gradient) {
    size_t outputs = (size_t)samples * j->output_values;
    size_t targets = (size_t)samples * j->target_values;
    double *y = new_doubles(outputs), *t = new_doubles(targets);
    for (size_t i = 0; i < outputs; i++)
        y[i] = (double)j->outputs[i];
    for (size_t i = 0; i < targets; i++)
        t[i] = (double)j->targets[i];
    ref_judged judged = {.options = &j->net->losses[0].options,
                         .samples = samples,
                         .shape = j->net->nodes[0].output,
                         .outputs = y,
                         .targets = indices ? NULL : t,
                         .indices = indices ? t : NULL};
    double loss = ref_loss(&judged, gradient);
    free(y);
    free(t);
    return loss;
}

static double weight_of(const judge *j) {
    double weight = j->net->losses[0].options.weight;
    return weight != 0 ? weight : 1;
}

/* Targets are rounded where they are smoothed or weighed, gradients once for each term. */
static void check_against_oracle(judge *j, int samples, bool indices) {
    size_t count = (size_t)samples * j->output_values;
    double *gradient = new_doubles(count), *bound = new_doubles(count), largest = 0;
    double wanted = ask_oracle(j, samples, indices, gradient) * weight_of(j);
    const fv_loss_options *o = &j->net->losses[0].options;
    double relative = o->label_smoothing > 0 || o->class_weight_count > 0 ? 8 * ROUNDING : 1e-11;
    fv_score score, again;
    if (judge_run(j, samples, true, &score))
        fail_case("%s", fv_error_message());
    int node = j->objective.terms[0].judged.root;
    if (!(fabs(score.loss - wanted) <= relative * (1 + 10 * fabs(wanted))))
        fail_case("loss is %.17g, not %.17g", score.loss, wanted);
    for (size_t i = 0; i < count; i++) {
        gradient[i] *= weight_of(j);
        largest = fmax(largest, fabs(gradient[i]));
    }
    for (size_t i = 0; i < count; i++)
        bound[i] = 4 * ROUNDING * fabs(gradient[i]) + 12 * ROUNDING * largest + 1e-15;
    expect_close("gradient", count, fv_runner_output_gradient(&j->runner, node), gradient, bound);
    assert_int_equal(judge_run(j, samples, false, &again), FV_OK);
    if (memcmp(&score.loss, &again.loss, sizeof score.loss) != 0)
        fail_case("without a gradient the loss is another");
    free(gradient);
    free(bound);
}

/* The same numbers on three threads: the same bits. */
static void check_threads(judge *j, const char *text, int samples) {
    judge three = judge_new(text, &j->field.shape, 3, true);
    size_t count = (size_t)samples * j->output_values;
    fv_score one, other;
    memcpy(three.outputs, j->outputs, JUDGE_SAMPLES * j->output_values * sizeof(float));
    memcpy(three.targets, j->targets, JUDGE_SAMPLES * j->target_values * sizeof(float));
    assert_int_equal(judge_run(j, samples, true, &one), FV_OK);
    assert_int_equal(judge_run(&three, samples, true, &other), FV_OK);
    int node = j->objective.terms[0].judged.root;
    expect_same_bits("loss", sizeof one.loss, &other.loss, &one.loss);
    expect_same_bits("gradient", count * sizeof(real),
                     fv_runner_output_gradient(&three.runner, node),
                     fv_runner_output_gradient(&j->runner, node));
    judge_free(&three);
}

static void run_case(const loss_case *c, const char *size, int channels, targets_kind kind,
                     numbers *n) {
    char text[300];
    snprintf(text, sizeof text, "input %s%s%d\n%s\nloss %s\n", size, *size ? "x" : "", channels,
             c->activation ? c->activation : "", c->line);
    describe("%s on %s, targets %d", c->line, text, (int)kind);
    fv_net *net = fv_net_parse(text, "shape.net");
    assert_non_null(net);
    fv_shape shape = net->nodes[0].output;
    fv_net_free(net);
    if (kind == INDICES)
        shape.channels = 1;
    judge j = judge_new(text, &shape, 1, true);
    for (int samples = 1; samples <= JUDGE_SAMPLES; samples += JUDGE_SAMPLES - 1) {
        targets_kind outputs = kind == BOXES                   ? BOXES
                               : strstr(c->line, "kl") != NULL ? PROBABILITIES
                                                               : ANY_VALUES;
        fill(n, kind, c->line, channels, JUDGE_SAMPLES * j.target_values, j.targets);
        fill(n, outputs, c->line, channels, JUDGE_SAMPLES * j.output_values, j.outputs);
        for (size_t i = 0; c->activation && i < JUDGE_SAMPLES * j.output_values; i++)
            j.outputs[i] *= 8; /* logits */
        check_against_oracle(&j, samples, kind == INDICES);
        check_threads(&j, text, samples);
    }
    judge_free(&j);
}

static bool has_activation(const char *name) {
    return !name || fv_layer_type_find(name) != NULL;
}

static void test_all_losses(void **state) {
    (void)state;
    numbers n = {1};
    int count = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t s = 0; s < 5; s++)
            for (size_t k = 0; k < 5; k++) {
                const loss_case *c = &cases[i];
                int channels = c->channels ? c->channels : channel_counts[k];
                bool many = s == 4 && channels > 3; /* large enough already */
                if (channels == 1 && strcmp(c->line, "cosine") == 0)
                    continue; /* there is no angle */
                if (many || (c->channels && k > 0) || (c->shape && s > 0) ||
                    !has_activation(c->activation))
                    continue;
                for (int kind = 0; kind < c->kind_count; kind++) {
                    /* A single number would be a class index. */
                    if (channels == 1 && kind > 0 && c->kinds[0] == INDICES)
                        continue;
                    run_case(c, c->shape ? c->shape : sizes[s], channels, c->kinds[kind], &n);
                    count++;
                }
            }
    print_message("%d cases\n", count);
    assert_true(count > 500);
}

/* Every loss that a net can name is one that runs, stands in the manual's table, and is tested. */
static void test_names(void **state) {
    (void)state;
    for (int i = 0; fv_loss_names[i]; i++) {
        size_t length = strlen(fv_loss_names[i]);
        bool tested = false;
        assert_string_equal(fv_loss_types[i].name, fv_loss_names[i]);
        const fv_loss_type *type = fv_loss_find(fv_loss_names[i]);
        assert_non_null(type);
        assert_string_equal(type->name, fv_loss_names[i]);
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
            tested |= strncmp(cases[c].line, fv_loss_names[i], length) == 0;
        assert_true(tested);
    }
    assert_ptr_equal(fv_loss_find(""), &fv_loss_cross_entropy);
    assert_null(fv_loss_find("cross_entropi"));
    assert_non_null(strstr(fv_error_message(), "cross_entropy"));
}

/* Logits as far apart as floats go. */
static void test_extreme_logits(void **state) {
    (void)state;
    static const float spreads[] = {0, 100, 1e4F, 1e30F};
    static const char *const lines[] = {"cross_entropy", "binary_cross_entropy"};
    numbers n = {2};
    for (int line = 0; line < 2; line++)
        for (int s = 0; s < 4; s++) {
            char text[100];
            snprintf(text, sizeof text, "input 33\nloss %s\n", lines[line]);
            describe("%s to %g", text, (double)spreads[s]);
            judge j = judge_new(text, &(fv_shape){.channels = 1}, 1, true);
            fill(&n, INDICES, "", 33, JUDGE_SAMPLES, j.targets);
            fill(&n, ANY_VALUES, "", 33, JUDGE_SAMPLES * 33, j.outputs);
            for (int i = 0; i < JUDGE_SAMPLES * 33; i++)
                j.outputs[i] *= spreads[s];
            check_against_oracle(&j, JUDGE_SAMPLES, true);
            judge_free(&j);
        }
}

/* ---- Accuracy ------------------------------------------------------------------------------- */

static double accuracy_of(const char *text, int channels, const float *outputs,
                          const float *labels) {
    fv_score score;
    judge j = judge_new(text, &(fv_shape){.channels = 1}, 1, false);
    memcpy(j.outputs, outputs, (size_t)(JUDGE_SAMPLES * channels) * sizeof(float));
    memcpy(j.targets, labels, JUDGE_SAMPLES * sizeof(float));
    assert_int_equal(judge_run(&j, JUDGE_SAMPLES, false, &score), FV_OK);
    judge_free(&j);
    return score.accuracy;
}

static void expect_number(double got, double wanted) {
    if (!(fabs(got - wanted) <= 1e-15))
        fail_msg("%.17g, not %.17g", got, wanted);
}

static void test_accuracy(void **state) {
    (void)state;
    /* Largest: 1 (the first of equals), 1, 0, 3, 0; smallest: 0, 0, 1, 0, 0 of all equals. */
    static const float outputs[] = {1, 3, 3, 2, 0, 5, 1, 4, 9, 1, 2, 8, -1, 2, 3, 4, 2, 2, 2, 2};
    static const float labels[] = {1, 2, 0, 3, 1}, least[] = {0, 0, 1, 3, 1};
    expect_number(accuracy_of("input 4\nloss cross_entropy\n", 4, outputs, labels), 3 / 5.0);
    expect_number(accuracy_of("input 4\nloss cross_entropy ignore=3,1\n", 4, outputs, labels),
                  1 / 2.0);
    expect_number(accuracy_of("input 4\nloss rbf\n", 4, outputs, least), 3 / 5.0);
    static const float logits[] = {-1, 0.1F, 0.7F, 3, 0}, yes[] = {0, 1, 0, 1, 0};
    static const char *const binary[] = {"input 1\nsigmoid\nloss binary_cross_entropy\n",
                                         "input 1\nloss binary_cross_entropy\n",
                                         "input 1\nloss focal\n"};
    for (int i = 0; i < 3; i++)
        expect_number(accuracy_of(binary[i], 1, logits, yes), 4 / 5.0);
    assert_true(isnan(accuracy_of("input 1\nloss mse\n", 1, logits, yes)));
    assert_true(isnan(accuracy_of("input 4\nloss binary_cross_entropy\n", 4, outputs, labels)));
}

/* A loss that is no number must not look like one. */
static void test_not_a_number(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int at = 0; at < 4; at++) {
            const loss_case *c = &cases[i];
            char text[200];
            int channels = c->channels ? c->channels : 4;
            const char *size = c->shape ? c->shape : "2";
            snprintf(text, sizeof text, "input %sx%d\nloss %s\n", size, channels, c->line);
            describe("%s", text);
            fv_net *net = fv_net_parse(text, "shape.net");
            assert_non_null(net);
            fv_shape shape = net->nodes[0].output;
            fv_net_free(net);
            judge j = judge_new(text, &shape, 1, true);
            fv_score score;
            for (size_t k = 0; k < JUDGE_SAMPLES * j.target_values; k++)
                j.targets[k] = 0.25F * (float)(k % 4);
            j.outputs[(size_t)at % j.output_values] = NAN;
            assert_int_equal(judge_run(&j, JUDGE_SAMPLES, true, &score), FV_OK);
            if (isfinite(score.loss))
                fail_case("a NaN at %d gives %g", at, score.loss);
            judge_free(&j);
        }
}

/* Nothing counts: no loss, no gradient, no number that is none. */
static void test_all_ignored(void **state) {
    (void)state;
    judge j =
        judge_new("input 3\nloss cross_entropy ignore=2\n", &(fv_shape){.channels = 1}, 1, true);
    fv_score score;
    for (int s = 0; s < JUDGE_SAMPLES; s++)
        j.targets[s] = 2;
    assert_int_equal(judge_run(&j, JUDGE_SAMPLES, true, &score), FV_OK);
    assert_true(score.loss == 0);
    assert_true(isnan(score.accuracy));
    const real *gradient = fv_runner_output_gradient(&j.runner, 0);
    for (int i = 0; i < JUDGE_SAMPLES * 3; i++)
        assert_true(gradient[i] == 0);
    judge_free(&j);
}

/* ---- Several losses ------------------------------------------------------------------------- */

static void test_sum_of_losses(void **state) {
    (void)state;
    static const char *const lines[] = {"loss mse weight=0.5\n", "loss total_variation\n",
                                        "loss mae target=input weight=2\n"};
    fv_shape shape = {.rank = 2, .size = {4, 3}, .channels = 2};
    enum { COUNT = JUDGE_SAMPLES * 24 };
    double loss = 0, gradient[COUNT] = {0}, bound[COUNT];
    numbers n = {3};
    for (int only = 0; only <= 3; only++) { /* 3: all */
        char text[300];
        snprintf(text, sizeof text, "input 4x3x2\n%s%s%s", only % 3 == 0 ? lines[0] : "",
                 only % 2 == 1 ? lines[1] : "", only >= 2 ? lines[2] : "");
        judge j = judge_new(text, &shape, 2, true);
        fv_score score;
        n.state = 3;
        fill(&n, ANY_VALUES, "", 2, COUNT, j.outputs);
        fill(&n, ANY_VALUES, "", 2, COUNT, j.targets);
        assert_int_equal(judge_run(&j, JUDGE_SAMPLES, true, &score), FV_OK);
        const real *got = fv_runner_output_gradient(&j.runner, 0);
        if (only == 3) {
            expect_number(score.loss - loss, 0);
            expect_close("sum", COUNT, got, gradient, bound);
        }
        loss += score.loss;
        for (int i = 0; i < COUNT; i++) {
            gradient[i] += (double)got[i];
            bound[i] = 1e-8;
        }
        judge_free(&j);
    }
}

/* Outputs compared with the sample itself: nothing is wrong with them. */
static void test_input_as_target(void **state) {
    (void)state;
    judge j = judge_new("input 6 scale=0.5 mean=0.25\nflatten\nloss mse target=input\n",
                        &(fv_shape){.channels = 1}, 1, true);
    fv_score score;
    numbers n = {4};
    fill(&n, ANY_VALUES, "", 6, JUDGE_SAMPLES * 6, j.outputs);
    assert_int_equal(judge_run(&j, JUDGE_SAMPLES, true, &score), FV_OK);
    assert_true(score.loss == 0);
    judge_free(&j);
}

/* ---- Through another net -------------------------------------------------------------------- */

/* Features f = means of four of 2 x - 0.5, so that d mse / dy = 2 (f(y) - f(t)) / count / 2. */
static void test_through(void **state) {
    (void)state;
    static const char model[] =
        "input 4x4x1 scale=4 mean=1 deviation=2\ndropout 0.5\ng: avgpool 2x2\n"
        "flatten\ndense 3 softmax\n";
    enum { COUNT = JUDGE_SAMPLES * 16 };
    double loss = 0, gradient[COUNT], bound[COUNT];
    char text[400];
    numbers n = {5};
    write_file(in_folder("model.net"), model, strlen(model));
    snprintf(text, sizeof text, "input 4x4x1\nloss mse weight=3 through=%s layer=g\n",
             in_folder("model.net"));
    fv_shape shape = {.rank = 2, .size = {4, 4}, .channels = 1};
    judge j = judge_new(text, &shape, 2, true);
    fill(&n, ANY_VALUES, "", 1, COUNT, j.outputs);
    fill(&n, ANY_VALUES, "", 1, COUNT, j.targets);
    for (int s = 0; s < JUDGE_SAMPLES; s++)
        for (int place = 0; place < 4; place++) {
            int first = 16 * s + place / 2 * 8 + place % 2 * 2, cells[4] = {0, 1, 4, 5};
            double difference = 0;
            for (int i = 0; i < 4; i++)
                difference +=
                    ((double)j.outputs[first + cells[i]] - (double)j.targets[first + cells[i]]) *
                    2 / 4;
            loss += 3 * difference * difference / (4 * JUDGE_SAMPLES);
            for (int i = 0; i < 4; i++)
                gradient[first + cells[i]] = 3 * difference / (4 * JUDGE_SAMPLES);
        }
    fv_score score;
    for (int i = 0; i < COUNT; i++)
        bound[i] = 1e-7;
    for (int again = 0; again < 2; again++) {
        assert_int_equal(judge_run(&j, JUDGE_SAMPLES, true, &score), FV_OK);
        assert_true(fabs(score.loss - loss) <= 1e-6);
        expect_close("gradient", COUNT, fv_runner_output_gradient(&j.runner, 0), gradient, bound);
    }
    judge_free(&j);
}

/* ---- What does not fit ---------------------------------------------------------------------- */

static void expect_refusal(const char *text, fv_status status, const char *words) {
    fv_objective o;
    fv_net *net = fv_net_parse(text, "bad.net");
    describe("%s", text);
    if (net)
        expect_failure(fv_objective_open(&o, net, true), status, words);
    else
        expect_message(words);
    fv_net_free(net);
}

static void test_fits_the_net(void **state) {
    (void)state;
    expect_refusal("input 3\nsigmoid\nloss cross_entropy\n", FV_INVALID, "needs softmax");
    expect_refusal("input 3\nsoftmax\nloss focal\n", FV_INVALID, "needs sigmoid");
    expect_refusal("input 3\nx: softmax\nloss cross_entropy\ndense 2\n", FV_INVALID,
                   "dense1 (bad.net:4) reads its output too");
    expect_refusal("input 3\nx: sigmoid\nloss binary_cross_entropy\nloss mse\n", FV_INVALID,
                   "loss mse judges too");
    expect_refusal("input 2x3\nsoftmax\nflatten\nloss cross_entropy\n", FV_SHAPE, "3 channels");
    expect_refusal("input 3\nloss cross_entropy class_weights=1,2\n", FV_SHAPE, "2 class weights");
    expect_refusal("input 2x3\nloss giou\n", FV_SHAPE, "a box is 4 numbers, but the output is 2x3");
    expect_refusal("input 10x20x3\nloss ssim\n", FV_SHAPE, "10x20x3");
    expect_refusal("input 5\nloss total_variation\n", FV_SHAPE, "neighbours");
    expect_refusal("input 5\nloss mse\ntrain loss=mae\n", FV_INVALID, "keep one of them");
    expect_refusal("input 5\nloss mse delta=2\n", FV_INVALID, "mse has no option delta");
    expect_refusal("input 5\nloss mae through=nowhere.net\n", FV_IO,
                   "loss mae through nowhere.net");
    write_file(in_folder("other.net"), "input 5\ndense 2\n", 16);
    char text[300];
    snprintf(text, sizeof text, "input 6\nloss mse through=%s\n", in_folder("other.net"));
    expect_refusal(text, FV_SHAPE, "it takes 5, but the output of input1 (bad.net:1) is 6");
    snprintf(text, sizeof text, "input 5\nloss mse through=%s layer=x\n", in_folder("other.net"));
    expect_refusal(text, FV_INVALID, "no layer of that name");
}

/* Sigmoid through a flatten is taken over too. */
static void test_through_views(void **state) {
    (void)state;
    fv_objective o;
    fv_net *net = fv_net_parse("input 2x3\nsigmoid\nflatten\nloss focal\n", "view.net");
    assert_non_null(net);
    assert_int_equal(fv_objective_open(&o, net, true), FV_OK);
    assert_true(o.plan[0].node == 1 && o.plan[0].raw);
    fv_objective_close(&o);
    fv_net_free(net);
}

static void test_fits_the_data(void **state) {
    (void)state;
    fv_score score;
    fv_shape one = {.channels = 1}, five = {.channels = 5};
    judge j = judge_new("input 3\nloss cross_entropy\n", &five, 1, false);
    expect_failure(judge_run(&j, 1, false, &score), FV_SHAPE, "label, which is 5");
    judge_free(&j);
    j = judge_new("input 3\nloss mse target=mask\n", &one, 1, false);
    expect_failure(judge_run(&j, 1, false, &score), FV_INVALID,
                   "'mask', but the data has only label");
    judge_free(&j);
    static const float wrong[] = {3, -1, 1.5F, NAN};
    for (int i = 0; i < 4; i++) {
        j = judge_new("input 3\nloss cross_entropy\n", &one, 2, true);
        j.targets[4] = wrong[i];
        assert_int_equal(judge_run(&j, 4, true, &score), FV_OK);
        expect_failure(judge_run(&j, 5, true, &score), FV_INVALID, "of sample 4");
        judge_free(&j);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_losses),     cmocka_unit_test(test_names),
        cmocka_unit_test(test_extreme_logits), cmocka_unit_test(test_accuracy),
        cmocka_unit_test(test_not_a_number),   cmocka_unit_test(test_all_ignored),
        cmocka_unit_test(test_sum_of_losses),  cmocka_unit_test(test_input_as_target),
        cmocka_unit_test(test_through),        cmocka_unit_test(test_fits_the_net),
        cmocka_unit_test(test_through_views),  cmocka_unit_test(test_fits_the_data),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
