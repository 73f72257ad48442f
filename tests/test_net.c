/* The net as a whole: building in C, the plan's promise of memory, sessions, taps, sharing, and
 * each allocation failed once. */
#include "base/alloc.h"
#include "net/execute.h"
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The seam: counts what is mapped, and can fail the n-th request. */
static atomic_size_t mapped;
static atomic_int requests, fail_at = -1;

void *fv_system_alloc(size_t bytes) {
    void *block = NULL;
    if (requests++ == fail_at)
        return NULL;
    return posix_memalign(&block, 64, bytes) == 0 ? block : NULL;
}

bool fv_system_may_map(size_t bytes) {
    mapped += bytes;
    return requests++ != fail_at;
}

static const char lecture[] = "input 28x28x1 scale=1/255\nconv 32 3x3 relu\nconv 64 3x3 relu\n"
                              "maxpool 2x2\ndropout 0.25\nflatten\ndense 128 relu\ndropout 0.5\n"
                              "dense 10 softmax\n"
                              "train optimizer=adadelta lr=1 batch=128\n";

static fv_net *parse(const char *text) {
    fv_net *net = fv_net_parse(text, "test.net");
    if (!net || fv_net_draw(net))
        fail_msg("%s", fv_error_message());
    return net;
}

/* ---- Building
 * ------------------------------------------------------------------------------------ */

static void builder_and_text_give_the_same_net(void **state) {
    (void)state;
    fv_net *net = fv_net_new();
    fv_tensor x = fv_input(net, .shape = {2, {28, 28}, 1}, .scale = 1 / 255.);
    x = fv_conv(net, x, .filters = 32, .kernel = {3, 3}, .activation = FV_RELU);
    x = fv_conv(net, x, .filters = 64, .kernel = {3}, .activation = FV_RELU);
    x = fv_maxpool(net, x, .size = {2, 2});
    x = fv_dropout(net, x, .rate = 0.25);
    x = fv_flatten(net, x);
    x = fv_dense(net, x, .units = 128, .activation = FV_RELU);
    x = fv_dropout(net, x, .rate = 0.5);
    x = fv_dense(net, x, .units = 10, .activation = FV_SOFTMAX);
    assert_true(x >= 0);
    assert_int_equal(fv_net_build(net), FV_OK);
    assert_int_equal(fv_net_draw(net), FV_OK);
    assert_int_equal(fv_parameter_count(net), 1199882);
    fv_net *text = parse(lecture);
    assert_int_equal(net->weight_size, text->weight_size);
    assert_memory_equal(net->weights, text->weights, net->weight_size * sizeof(real));
    fv_net_free(net);
    fv_net_free(text);
}

static void builder_keeps_its_first_failure(void **state) {
    (void)state;
    fv_net *net = fv_net_new();
    fv_tensor x = fv_input(net, .shape = {2, {8, 8}, 1});
    x = fv_conv(net, x, .filters = 4, .kernel = {9, 9});
    assert_true(x < 0);
    x = fv_dense(net, x, .units = 0);
    assert_true(x < 0);
    assert_int_equal(fv_net_build(net), FV_SHAPE);
    assert_non_null(strstr(fv_error_message(), "9 cells"));
    assert_non_null(strstr(fv_error_message(), "8x8x1"));
    fv_net_free(net);
}

static void parameters_of_the_lecture_nets(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t parameters, macs;
    } nets[] = {{"lecture-keras", 1199882, 11992448}, {"lecture-tensorflow", 3274634, 13883904}};
    for (int i = 0; i < 2; i++) {
        fv_net *net = fv_net_load(nets[i].name);
        assert_non_null(net);
        int64_t macs = 0;
        for (int n = 0; n < fv_layer_count(net); n++) {
            fv_layer_info info;
            assert_int_equal(fv_layer_describe(net, n, &info), FV_OK);
            macs += info.macs;
        }
        assert_int_equal(fv_parameter_count(net), nets[i].parameters);
        assert_int_equal(macs, nets[i].macs);
        fv_net_free(net);
    }
}

/* ---- Memory
 * ---------------------------------------------------------------------------------------- */

static void memory_is_known_to_the_byte(void **state) {
    (void)state;
    static const int batches[] = {1, 3, 32, 128, 129}, threads[] = {1, 2, 7, 64};
    fv_net *net = parse(lecture);
    for (size_t b = 0; b < 5; b++)
        for (size_t t = 0; t < 4; t++)
            for (int training = 0; training < 2; training++) {
                fv_memory promised, made;
                assert_int_equal(
                    fv_net_memory(net, batches[b], threads[t], training, false, &promised), FV_OK);
                mapped = 0;
                if (training) {
                    fv_trainer_options o = {.batch = batches[b], .threads = threads[t]};
                    fv_trainer *trainer = fv_trainer_new(net, &o);
                    assert_non_null(trainer);
                    fv_trainer_memory(trainer, &made);
                    fv_trainer_free(trainer);
                } else {
                    fv_session_options o = {.batch = batches[b], .threads = threads[t]};
                    fv_session *session = fv_session_new(net, &o);
                    assert_non_null(session);
                    fv_session_memory(session, &made);
                    fv_session_free(session);
                }
                assert_memory_equal(&promised, &made, sizeof made);
                assert_int_equal(mapped, promised.total - promised.weights - promised.optimizer);
                assert_int_equal(promised.total, promised.weights + promised.packed +
                                                     promised.activations + promised.scratch +
                                                     promised.gradients + promised.optimizer);
            }
    fv_net_free(net);
}

/* ---- Running
 * ------------------------------------------------------------------------------------------ */

static void fill(float *values, size_t count, unsigned seed) {
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)(seed >> 24);
    }
}

static void outputs_before_and_after_the_activation(void **state) {
    (void)state;
    fv_net *net = parse("input 9x9x2\nconv 5 3x3 relu\nmaxpool 2x2\nflatten\ndense 3 softmax\n");
    const char *const names[] = {"conv1.pre", "conv1", "dense1.pre", "input1", NULL};
    fv_session_options o = {.batch = 4, .threads = 2, .outputs = names};
    fv_session *session = fv_session_new(net, &o);
    assert_non_null(session);
    float input[4 * 162];
    fill(input, 4 * 162, 1);
    assert_int_equal(fv_session_run(session, input, 4), FV_OK);
    fv_shape shape;
    const float *before = fv_session_output(session, "conv1.pre", &shape);
    const float *after = fv_session_output(session, "conv1", &shape);
    assert_int_equal(fv_shape_count(&shape), 7 * 7 * 5);
    int negative = 0;
    for (int i = 0; i < 4 * 245; i++) {
        assert_true(after[i] == (before[i] > 0 ? before[i] : 0));
        negative += before[i] < 0;
    }
    assert_true(negative > 0);
    assert_memory_equal(fv_session_output(session, "input1", NULL), input, sizeof input);
    const float *logits = fv_session_output(session, "dense1.pre", NULL);
    const float *classes = fv_session_output(session, NULL, NULL);
    for (int s = 0; s < 4; s++) {
        double sum = 0;
        for (int c = 0; c < 3; c++)
            sum += exp((double)(logits[3 * s + c] - logits[3 * s]));
        for (int c = 0; c < 3; c++)
            assert_true(fabs(exp((double)(logits[3 * s + c] - logits[3 * s])) / sum -
                             (double)classes[3 * s + c]) <= 1e-5);
    }
    assert_null(fv_session_output(session, "maxpool1", NULL));
    assert_non_null(strstr(fv_error_message(), "not kept"));
    fv_session_free(session);
    fv_net_free(net);
}

static void exact_runs_do_not_depend_on_batch_or_threads(void **state) {
    (void)state;
    fv_net *net = parse(lecture);
    enum { SAMPLES = 37 };
    float *input = malloc(SAMPLES * 784 * sizeof *input), wanted[SAMPLES * 10];
    fill(input, SAMPLES * 784, 5);
    for (int threads = 1; threads <= 3; threads++)
        for (int batch = 1; batch <= SAMPLES; batch += batch == 1 ? 11 : 25) {
            fv_session_options o = {.batch = batch, .threads = threads, .exact = true};
            fv_session *session = fv_session_new(net, &o);
            for (int s = 0; s < SAMPLES; s += batch) {
                int n = SAMPLES - s < batch ? SAMPLES - s : batch;
                assert_int_equal(fv_session_run(session, input + s * 784, n), FV_OK);
                const float *output = fv_session_output(session, NULL, NULL);
                if (threads == 1 && batch == 1)
                    memcpy(wanted + s * 10, output, 40);
                else
                    assert_memory_equal(wanted + s * 10, output, (size_t)n * 40);
            }
            fv_session_free(session);
        }
    free(input);
    fv_net_free(net);
}

static void sizes_may_vary(void **state) {
    (void)state;
    fv_net *net = parse("input *x*x3\nconv 4 3x3 relu stride=2 padding=same\nmaxpool 2x2\n");
    fv_session_options o = {.shape = {2, {21, 10}, 3}};
    assert_null(fv_session_new(net, NULL));
    assert_non_null(strstr(fv_error_message(), "varies"));
    fv_session *session = fv_session_new(net, &o);
    assert_non_null(session);
    float input[21 * 10 * 3];
    fill(input, 630, 2);
    fv_shape shape;
    assert_int_equal(fv_session_run(session, input, 1), FV_OK);
    assert_non_null(fv_session_output(session, NULL, &shape));
    assert_int_equal(shape.size[0], 5);
    assert_int_equal(shape.size[1], 2);
    fv_session_free(session);
    fv_session_options small = {.shape = {2, {2, 1}, 3}};
    assert_null(fv_session_new(net, &small));
    assert_non_null(strstr(fv_error_message(), "maxpool1"));
    fv_net_free(net);
}

static void training_needs_the_net_alone(void **state) {
    (void)state;
    fv_net *net = parse(lecture);
    fv_trainer_options o = {.batch = 2, .threads = 1};
    fv_session *session = fv_session_new(net, NULL);
    assert_null(fv_trainer_new(net, &o));
    assert_non_null(strstr(fv_error_message(), "used by a session"));
    fv_session_free(session);
    fv_trainer *trainer = fv_trainer_new(net, &o);
    assert_non_null(trainer);
    assert_null(fv_session_new(net, NULL));
    assert_non_null(strstr(fv_error_message(), "being trained"));
    fv_trainer_free(trainer);
    session = fv_session_new(net, NULL);
    assert_non_null(session);
    fv_session_free(session);
    fv_net_free(net);
}

static void *run_alone(void *argument) {
    const fv_net *net = argument;
    float input[784], *copy = malloc(40);
    fill(input, 784, 3);
    fv_session_options o = {.threads = 2};
    fv_session *session = fv_session_new(net, &o);
    for (int i = 0; session && i < 5; i++)
        fv_session_run(session, input, 1);
    if (session)
        memcpy(copy, fv_session_output(session, NULL, NULL), 40);
    fv_session_free(session);
    return copy;
}

static void threads_share_a_net(void **state) {
    (void)state;
    fv_net *net = parse(lecture);
    pthread_t threads[4];
    float *first = run_alone(net);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, run_alone, net);
    for (int i = 0; i < 4; i++) {
        void *other;
        pthread_join(threads[i], &other);
        assert_memory_equal(first, other, 40);
        free(other);
    }
    free(first);
    fv_net_free(net);
}

/* ---- Every allocation failed once
 * ------------------------------------------------------------------------ */

static bool whole_life(void) {
    static const char small[] =
        "input 8x8x1\nconv 16 3x3 relu padding=same\nconv 16 3x3 relu\n"
        "flatten\nside: dense 3 from=flatten1\ndense 3 softmax from=flatten1\noutput conv2\n"
        "loss cross_entropy\nloss cross_entropy of=side auxiliary=true\n"
        "train optimizer=adam";
    float input[2 * 64];
    int labels[2] = {0, 2};
    const char *const names[] = {"conv1.pre", NULL};
    fv_session_options o = {.batch = 2, .threads = 2, .outputs = names};
    fv_trainer_options t = {.batch = 2, .threads = 2};
    fill(input, 128, 1);
    fv_net *net = fv_net_parse(small, "small.net");
    fv_session *session = net ? fv_session_new(net, &o) : NULL;
    bool good = session && fv_session_run(session, input, 2) == FV_OK;
    fv_session_free(session);
    fv_trainer *trainer = good ? fv_trainer_new(net, &t) : NULL;
    good = trainer && fv_trainer_step(trainer, input, labels, 2, NULL) == FV_OK;
    fv_trainer_free(trainer);
    fv_net_free(net);
    return good;
}

static void no_memory_is_an_error(void **state) {
    (void)state;
    fail_at = -1;
    requests = 0;
    assert_true(whole_life());
    int all = requests;
    assert_true(all > 40);
    for (int i = 0; i < all; i++) {
        requests = 0;
        fail_at = i;
        bool good = whole_life();
        fail_at = -1;
        if (good)
            fail_msg("request %d of %d failed, but nobody noticed", i, all);
        assert_non_null(strstr(fv_error_message(), "memory"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builder_and_text_give_the_same_net),
        cmocka_unit_test(builder_keeps_its_first_failure),
        cmocka_unit_test(parameters_of_the_lecture_nets),
        cmocka_unit_test(memory_is_known_to_the_byte),
        cmocka_unit_test(outputs_before_and_after_the_activation),
        cmocka_unit_test(exact_runs_do_not_depend_on_batch_or_threads),
        cmocka_unit_test(sizes_may_vary),
        cmocka_unit_test(training_needs_the_net_alone),
        cmocka_unit_test(threads_share_a_net),
        cmocka_unit_test(no_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
