/* From gradients to weights: ten steps of each optimiser in Keras's and in PyTorch's formula with
 * decay, clipping, accumulation and averaging, on every instruction set of this machine; and what a
 * layer's own tuning changes. */
#include "support.h"
#include "train/train.h"
#include "updates.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const fv_kernels *tables[MOST_TABLES];
static int table_count;

static int set_up(void **state) {
    (void)state;
    table_count = kernel_tables(tables);
    return 0;
}

static fv_net *make_net(const char *layers, const char *line) {
    char text[1024];
    snprintf(text, sizeof text, "%strain batch=4 %s\n", layers, line);
    fv_net *net = fv_net_parse(text, "update.net");
    if (!net || fv_net_draw(net))
        fail_msg("%s", fv_error_message());
    return net;
}

static fv_trainer *make_trainer(fv_net *net, int threads) {
    fv_trainer *t = fv_trainer_new(net, &(fv_trainer_options){.threads = threads});
    if (!t)
        fail_msg("%s", fv_error_message());
    return t;
}

static real *weights_of(const fv_net *net, const char *node, int w) {
    return net->weights + net->nodes[fv_net_find(net, node)].weights[w].offset;
}

static real *gradients_of(const fv_trainer *t, const char *node, int w) {
    return fv_runner_gradients(&t->runner) +
           t->net->nodes[fv_net_find(t->net, node)].weights[w].offset;
}

static void step(fv_trainer *t) {
    t->added++;
    if (t->added >= t->train.accumulate)
        fv_trainer_update(t);
}

/* ---- Optimisers ------------------------------------------------------------------------------ */

/* `copies` of the golden weights side by side: norms of all of them grow, quotients stay. */
static void run_golden(const struct golden_update *g, const fv_kernels *table, int copies) {
    char layers[64];
    snprintf(layers, sizeof layers, "input %d\ndense 1 bias=false\n", GOLDEN * copies);
    fv_net *net = make_net(layers, g->line);
    fv_trainer *t = make_trainer(net, 2);
    t->runner.plan.kernels = table;
    assert_int_equal(fv_optimizer_make(&net->train, table, &t->optimizer), FV_OK);
    for (int i = 0; i < GOLDEN * copies; i++)
        net->weights[i] = (real)start_weights[i % GOLDEN];
    for (int s = 0; s < GOLDEN_STEPS; s++) {
        real *gradients = fv_runner_gradients(&t->runner);
        for (int i = 0; i < GOLDEN * copies; i++)
            gradients[i] = (real)step_gradients[s][i % GOLDEN] + (t->added > 0 ? gradients[i] : 0);
        step(t);
    }
    const real *made = t->average ? t->average : net->weights;
    for (int i = 0; i < GOLDEN * copies; i++) {
        double wanted = g->weights[i % GOLDEN];
        if (!(fabs((double)made[i] - wanted) <= 2e-6 * fmax(1, fabs(wanted))))
            fail_msg("%s, %s, %d copies: weight %d is %.9g, expected %.9g", g->line, table->name,
                     copies, i, (double)made[i], wanted);
    }
    fv_trainer_free(t);
    fv_net_free(net);
}

static void ten_steps_are_those_of_the_frameworks(void **state) {
    (void)state;
    for (size_t g = 0; g < sizeof golden_updates / sizeof *golden_updates; g++)
        for (int table = 0; table < table_count; table++) {
            bool norm = strstr(golden_updates[g].line, "clip_norm") != NULL;
            run_golden(&golden_updates[g], tables[table], 1);
            if (!norm)
                run_golden(&golden_updates[g], tables[table], 9);
        }
}

static void nadam_goes_on_anywhere(void **state) {
    (void)state;
    fv_train_options options = {.optimizer = "nadam"};
    fv_optimizer whole, part;
    assert_int_equal(fv_optimizer_make(&options, tables[0], &whole), FV_OK);
    for (int64_t at = 1; at <= 50; at++) {
        fv_optimizer_begin_step(&whole, at, 0.001);
        assert_int_equal(fv_optimizer_make(&options, tables[0], &part), FV_OK);
        fv_optimizer_begin_step(&part, at, 0.001);
        assert_memory_equal(&whole.numbers, &part.numbers, sizeof part.numbers);
    }
    fv_optimizer_begin_step(&whole, 2, 0.001); /* and back */
    assert_int_equal(fv_optimizer_make(&options, tables[0], &part), FV_OK);
    fv_optimizer_begin_step(&part, 2, 0.001);
    assert_memory_equal(&whole.numbers, &part.numbers, sizeof part.numbers);
}

/* ---- A layer's own tuning -------------------------------------------------------------------- */

static const char two[] = "input 4\na: dense 3\nb: dense 2 ";

static void fill(fv_trainer *t, real weight, real gradient) {
    for (size_t i = 0; i < t->net->weight_size; i++) {
        t->net->weights[i] = weight;
        fv_runner_gradients(&t->runner)[i] = gradient;
    }
}

static void expect_weights(const fv_net *net, const char *node, int w, double wanted) {
    const real *values = weights_of(net, node, w);
    size_t count = net->nodes[fv_net_find(net, node)].weights[w].count;
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)values[i] - wanted) <= 1e-6))
            fail_msg("%s, weight %d: %.9g, expected %.9g", node, w, (double)values[i], wanted);
}

static fv_net *tuned(const char *tuning, const char *line, fv_trainer **t, double gradient) {
    char layers[256];
    snprintf(layers, sizeof layers, "%s%s\n", two, tuning);
    fv_net *net = make_net(layers, line);
    *t = make_trainer(net, 1);
    fill(*t, 2, (real)gradient);
    return net;
}

static void end(fv_net *net, fv_trainer *t) {
    fv_trainer_free(t);
    fv_net_free(net);
}

static void rates_and_decay_by_layer(void **state) {
    (void)state;
    fv_trainer *t;
    fv_net *net = tuned("lr=0.5 bias_lr=3", "lr=0.1", &t, 1);
    step(t);
    expect_weights(net, "a", 0, 1.9);
    expect_weights(net, "a", 1, 1.9);
    expect_weights(net, "b", 0, 1.95);
    expect_weights(net, "b", 1, 1.7);
    end(net, t);
    net = tuned("lr=0.5", "lr=0.1 weight_decay=0.5", &t, 0);
    step(t);
    expect_weights(net, "a", 0, 2 - 2 * 0.1 * 0.5);
    expect_weights(net, "b", 0, 2 - 2 * 0.05 * 0.5);
    expect_weights(net, "b", 1, 2 - 2 * 0.05 * 0.5);
    end(net, t);
    net = tuned("bias_decay=false", "lr=0.1 weight_decay=0.5", &t, 0);
    step(t);
    expect_weights(net, "b", 0, 1.9);
    expect_weights(net, "b", 1, 2);
    end(net, t);
    net = tuned("decay=false", "lr=0.1 weight_decay=0.5 formula=torch", &t, 0);
    step(t);
    expect_weights(net, "a", 0, 1.9);
    expect_weights(net, "b", 0, 2);
    expect_weights(net, "b", 1, 2);
    end(net, t);
}

/* Neither moved nor counted. */
static void frozen_layers_stay(void **state) {
    (void)state;
    fv_trainer *t;
    fv_net *net = tuned("freeze=true l1=7",
                        "lr=1 weight_decay=0.5 momentum=0.9 global_clip_norm=1 "
                        "l2=0.25 ema=0.5",
                        &t, 1);
    double sum = 12 * (1 + 1) * (1 + 1) + 3; /* g = 1 + 2 l2 w */
    assert_true(fabs(fv_update_penalty(t) - 0.25 * 12 * 4) <= 1e-9);
    step(t);
    expect_weights(net, "a", 0, 2 - 2 * 0.5 - 2 / sqrt(sum));
    expect_weights(net, "a", 1, 2 - 2 * 0.5 - 1 / sqrt(sum));
    expect_weights(net, "b", 0, 2);
    expect_weights(net, "b", 1, 2);
    for (size_t i = 0; i < 6; i++) {
        size_t at = (size_t)(weights_of(net, "b", 0) - net->weights) + i;
        assert_true(t->slots[0][at] == 0 && t->average[at] == 2);
    }
    end(net, t);
    net = make_net("input 4\ndense 2 freeze=true\n", "");
    assert_null(fv_trainer_new(net, NULL));
    assert_non_null(strstr(fv_error_message(), "no weights to train"));
    fv_net_free(net);
}

static void penalties_pull(void **state) {
    (void)state;
    fv_trainer *t;
    fv_net *net = tuned("l1=0.5", "lr=0.1 l1=0.25 l2=0.125", &t, 0);
    weights_of(net, "a", 0)[0] = -2;
    weights_of(net, "a", 0)[1] = 0;
    /* a: 11 of |w| = 2, b: 6; biases do not count. */
    double wanted = 0.25 * 22 + 0.125 * 44 + 0.5 * 12 + 0.125 * 24;
    assert_true(fabs(fv_update_penalty(t) - wanted) <= 1e-9);
    step(t);
    assert_true(fabs((double)weights_of(net, "a", 0)[0] + 2 - 0.1 * 0.75) <= 1e-6);
    assert_true(weights_of(net, "a", 0)[1] == 0);
    assert_true(fabs((double)weights_of(net, "a", 0)[2] - 2 + 0.1 * 0.75) <= 1e-6);
    expect_weights(net, "a", 1, 2);
    expect_weights(net, "b", 0, 2 - 0.1 * (0.5 + 0.5));
    expect_weights(net, "b", 1, 2);
    end(net, t);
}

static void the_loss_of_a_step_holds_the_penalty(void **state) {
    (void)state;
    static const float input[4] = {1, 2, 3, 4};
    static const int labels[1] = {1};
    fv_score plain, with;
    fv_net *nets[2] = {make_net("input 4\ndense 2\n", "lr=0.1"),
                       make_net("input 4\ndense 2\n", "lr=0.1 l2=0.5")};
    double sum = 0;
    for (int i = 0; i < 8; i++)
        sum += (double)nets[0]->weights[i] * (double)nets[0]->weights[i];
    fv_trainer *t = make_trainer(nets[0], 1);
    assert_int_equal(fv_trainer_step(t, input, labels, 1, &plain), FV_OK);
    fv_trainer_free(t);
    t = make_trainer(nets[1], 1);
    assert_int_equal(fv_trainer_step(t, input, labels, 1, &with), FV_OK);
    fv_trainer_free(t);
    assert_true(sum > 0 && fabs(with.loss - plain.loss - 0.5 * sum) <= 1e-6);
    fv_net_free(nets[0]);
    fv_net_free(nets[1]);
}

/* The weights of output o as a file has them: in conv and dense (F, ...). */
static void longest_vectors_are_cut(void **state) {
    (void)state;
    static const char *const layers[] = {
        "input 5x5x3\nx: conv 70 3x3 max_norm=2\nflatten\ndense 2\n",
        "input 90\nx: dense 70 max_norm=2\ndense 2\n"};
    for (int l = 0; l < 2; l++) {
        fv_net *net = make_net(layers[l], "lr=0.001");
        fv_trainer *t = make_trainer(net, 3);
        const fv_weight *weight = &net->nodes[1].weights[0];
        size_t rest = weight->count / 70;
        static float file[70 * 90], made[70 * 90];
        for (size_t i = 0; i < weight->count; i++) /* output 7 k has a length of 2.1 k */
            file[i] = (float)(i / rest) * 0.3f / sqrtf((float)rest);
        fv_weight_from_file(weight, file, net->weights + weight->offset);
        memset(gradients_of(t, "x", 0), 0, weight->count * sizeof(real));
        step(t);
        fv_weight_to_file(weight, net->weights + weight->offset, made);
        for (size_t i = 0; i < weight->count; i++) {
            double length = 0.3 * (double)(i / rest);
            double wanted = (double)file[i] * (length > 2 ? 2 / length : 1);
            if (!(fabs((double)made[i] - wanted) <= 1e-6))
                fail_msg("output %zu: %g, expected %g", i / rest, (double)made[i], wanted);
        }
        fv_trainer_free(t);
        fv_net_free(net);
    }
}

static void statistics_are_taken_over(void **state) {
    (void)state;
    fv_net *net = make_net("input 4\na: dense 3\n", "lr=1 weight_decay=0.5 ema=0.5");
    fv_weight *weight = &net->nodes[1].weights[1];
    weight->spec.statistic = weight->spec.updated = true;
    fv_trainer *t = make_trainer(net, 1);
    fill(t, 2, 5);
    fv_update_statistics(t);
    expect_weights(net, "a", 0, 2);
    expect_weights(net, "a", 1, 5);
    step(t);
    expect_weights(net, "a", 0, 2 - 1 - 5);
    expect_weights(net, "a", 1, 5);
    assert_true(t->average[weight->offset] == 5);
    fv_trainer_free(t);
    fv_net_free(net);
}

/* A trainer that averages leaves the averages behind. */
static void the_average_remains(void **state) {
    (void)state;
    fv_trainer *t;
    fv_net *net = tuned("", "lr=1 ema=0.75", &t, 1);
    step(t); /* 1, average 1 */
    step(t); /* 0, average 0.75 */
    expect_weights(net, "a", 0, 0);
    fv_trainer_free(t);
    expect_weights(net, "a", 0, 0.75);
    fv_net_free(net);
}

static void every_public_call_adds_a_batch(void **state) {
    (void)state;
    static const float input[4] = {1, 2, 3, 4}, label[1] = {1};
    const fv_target target = {.field = "label", .shape = {.channels = 1}, .values = label};
    fv_net *net = make_net("input 4\ndense 2\n", "lr=0.1 accumulate=3");
    fv_trainer *t = make_trainer(net, 1);
    real first = net->weights[0];
    for (int i = 1; i <= 6; i++) {
        assert_int_equal(fv_trainer_step_targets(t, input, &target, 1, 1, NULL), FV_OK);
        assert_int_equal(t->step, i / 3);
        if (i < 3)
            assert_true(net->weights[0] == first);
    }
    assert_true(net->weights[0] != first);
    assert_int_equal(fv_trainer_step_targets(t, input, &target, 1, 9, NULL), FV_INVALID);
    assert_int_equal(fv_trainer_step_targets(t, input, &target, 0, 1, NULL), FV_INVALID);
    fv_trainer_free(t);
    fv_net_free(net);
}

/* The gradients after these batches, one a call; `first` and `last` of the two there are. */
static void add_batches(fv_net *net, int first, int last, real *gradients) {
    enum { SAMPLES = 3, VALUES = 8 * 8 * 2 };
    static const int labels[SAMPLES] = {1, 0, 1};
    float input[SAMPLES * VALUES];
    fv_trainer *t = make_trainer(net, SAMPLES);
    for (int b = first; b <= last; b++) {
        for (int i = 0; i < SAMPLES * VALUES; i++)
            input[i] = (float)((i * (b + 3) * 7) % 31) / 31;
        assert_int_equal(fv_trainer_step(t, input, labels, SAMPLES, NULL), FV_OK);
    }
    memcpy(gradients, fv_runner_gradients(&t->runner), net->weight_size * sizeof(real));
    fv_trainer_free(t);
}

/* Layers that go a few samples at a time, over the batch, and in both ways. */
static void gradients_of_batches_are_added_by_all_layers(void **state) {
    (void)state;
    fv_net *net = make_net("input 8x8x2\nconv 4 3x3 pad=1\nbatch_norm relu\nlocal 3 3x3 relu\n"
                           "flatten\ndense 5 tanh\ndense 2 softmax\n",
                           "lr=0.1 accumulate=3");
    real *sums[3];
    for (int i = 0; i < 3; i++) {
        sums[i] = fv_alloc(net->weight_size, sizeof(real));
        assert_non_null(sums[i]);
        add_batches(net, i == 1, i > 0, sums[i]);
    }
    for (int n = 0; n < net->count; n++)
        for (int w = 0; w < net->nodes[n].weight_count; w++) {
            const fv_weight *weight = &net->nodes[n].weights[w];
            for (size_t i = weight->offset;
                 !weight->spec.statistic && i < weight->offset + weight->count; i++)
                if (!(fabs((double)(sums[0][i] + sums[1][i] - sums[2][i])) <= 1e-6))
                    fail_msg("%s.%s: %.9g and %.9g make %.9g", net->nodes[n].name,
                             weight->spec.name, (double)sums[0][i], (double)sums[1][i],
                             (double)sums[2][i]);
        }
    for (int i = 0; i < 3; i++)
        fv_free(sums[i]);
    fv_net_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_steps_are_those_of_the_frameworks),
        cmocka_unit_test(gradients_of_batches_are_added_by_all_layers),
        cmocka_unit_test(nadam_goes_on_anywhere),
        cmocka_unit_test(rates_and_decay_by_layer),
        cmocka_unit_test(frozen_layers_stay),
        cmocka_unit_test(penalties_pull),
        cmocka_unit_test(the_loss_of_a_step_holds_the_penalty),
        cmocka_unit_test(longest_vectors_are_cut),
        cmocka_unit_test(statistics_are_taken_over),
        cmocka_unit_test(the_average_remains),
        cmocka_unit_test(every_public_call_adds_a_batch),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
