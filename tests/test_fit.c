/* Training runs: the same bits for any number of threads and however often they stop, logs,
 * checkpoints, and runs that go wrong. */
#include "base/alloc.h"
#include "files.h"
#include "net/net.h"
#include "pictures.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { TRAIN = 150, TEST = 60, SIZE = 12, CLASSES = 3 };

static const char text[] = "input 12x12x1 scale=1/255\nconv 16 3x3 relu padding=same\n"
                           "conv 16 3x3 relu\nmaxpool 2x2\ndropout 0.25\nflatten\n"
                           "dense 20 relu\ndropout 0.5\ndense 3 softmax\n";

static fv_data *train_data, *test_data;

static int set_up(void **state) {
    if (make_test_folder(state))
        return -1;
    const char *folder = in_folder("pictures");
    mkdir(folder, 0777);
    make_pictures(folder, "train", TRAIN, SIZE, CLASSES);
    make_pictures(folder, "t10k", TEST, SIZE, CLASSES);
    train_data = fv_data_open(folder, "train");
    test_data = fv_data_open(folder, "test");
    return train_data && test_data ? 0 : -1;
}

static int tear_down(void **state) {
    fv_data_free(train_data);
    fv_data_free(test_data);
    return remove_test_folder(state);
}

static fv_net *make_net(const char *train_line) {
    char all[1024];
    snprintf(all, sizeof all, "%strain %s\n", text, train_line);
    fv_net *net = fv_net_parse(all, "test.net");
    if (!net)
        fail_msg("%s", fv_error_message());
    return net;
}

static void fit(fv_net *net, const fv_fit_options *options) {
    fv_status status = fv_fit(net, train_data, options);
    if (status)
        fail_msg("status %d: %s", status, fv_error_message());
}

static const char adam[] = "optimizer=adam lr=0.003 batch=16 epochs=3";

static void it_learns(void **state) {
    (void)state;
    fv_net *net = make_net("optimizer=adam lr=0.003 batch=16 epochs=8");
    fit(net, &(fv_fit_options){.seed = 1, .threads = 2});
    const fv_net *nets[] = {net, net};
    fv_score score, pair;
    assert_int_equal(fv_evaluate(nets, 1, test_data, 0, 1, false, &score), FV_OK);
    assert_true(score.accuracy >= 0.9);
    assert_true(score.loss < 0.5);
    assert_int_equal(score.samples, TEST);
    /* An ensemble of equals is that equal. */
    assert_int_equal(fv_evaluate(nets, 2, test_data, 7, 2, false, &pair), FV_OK);
    assert_true(pair.accuracy == score.accuracy);
    assert_true(fabs(pair.loss - score.loss) <= 1e-5);
    fv_net_free(net);
}

static void the_same_bits_on_any_threads(void **state) {
    (void)state;
    static const char *const lines[] = {adam, "optimizer=adadelta lr=1 batch=32 epochs=2",
                                        "optimizer=sgd momentum=0.9 batch=7 epochs=1",
                                        "optimizer=sgd batch=40 steps=9 last_batch=carry"};
    static const int threads[] = {1, 2, 3, 64};
    for (size_t l = 0; l < 4; l++) {
        fv_net *first = make_net(lines[l]);
        fit(first, &(fv_fit_options){.seed = 5, .threads = 1, .validate = test_data});
        for (size_t t = 1; t < 4; t++) {
            fv_net *net = make_net(lines[l]);
            fit(net, &(fv_fit_options){.seed = 5, .threads = threads[t]});
            assert_memory_equal(first->weights, net->weights, net->weight_size * sizeof(real));
            fv_net_free(net);
        }
        fv_net *other = make_net(lines[l]);
        fit(other, &(fv_fit_options){.seed = 6, .threads = 1});
        assert_memory_not_equal(first->weights, other->weights, other->weight_size * sizeof(real));
        fv_net_free(other);
        fv_net_free(first);
    }
}

/* Stops the run when the step of its argument is reached. */
static bool stop_at(void *argument, const fv_progress *now) {
    return now->step < *(const int64_t *)argument;
}

static void stopped_anywhere_it_goes_on_with_the_same_bits(void **state) {
    (void)state;
    fv_net *whole = make_net(adam);
    fit(whole, &(fv_fit_options){
                   .seed = 3, .threads = 1, .validate = test_data, .folder = in_folder("whole")});
    size_t size, other_size;
    unsigned char *wanted = read_whole(in_folder("whole/model.safetensors"), &size);
    for (int64_t every = 1; every <= 11; every += 5) {
        char name[64];
        snprintf(name, sizeof name, "stopped-%d", (int)every);
        for (int64_t stop = every;; stop += every) {
            fv_net *net = make_net(adam);
            fv_status status = fv_fit(net, train_data,
                                      &(fv_fit_options){.seed = 3,
                                                        .threads = 1 + (int)(stop % 3),
                                                        .validate = test_data,
                                                        .folder = in_folder(name),
                                                        .resume = true,
                                                        .observer = stop_at,
                                                        .argument = &stop});
            fv_net_free(net);
            if (status == FV_OK)
                break;
            assert_int_equal(status, FV_INTERRUPTED);
            assert_true(stop < 40);
        }
        snprintf(name, sizeof name, "stopped-%d/model.safetensors", (int)every);
        unsigned char *made = read_whole(in_folder(name), &other_size);
        assert_int_equal(size, other_size);
        assert_memory_equal(wanted, made, size);
        free(made);
    }
    free(wanted);
    fv_net_free(whole);
}

static int count_lines(const char *path) {
    size_t size;
    int lines = 0;
    unsigned char *bytes = read_whole(path, &size);
    for (size_t i = 0; i < size; i++)
        lines += bytes[i] == '\n';
    free(bytes);
    return lines;
}

static void logs_have_a_row_an_epoch_and_a_row_a_log_step(void **state) {
    (void)state;
    fv_net *net = make_net("batch=40 steps=9 last_batch=carry log_every=2");
    fit(net, &(fv_fit_options){.folder = in_folder("logs"), .validate = test_data});
    /* 360 samples of 150: two whole epochs and a part. */
    assert_int_equal(count_lines(in_folder("logs/log.csv")), 1 + 3);
    assert_int_equal(count_lines(in_folder("logs/steps.csv")), 1 + 4);
    fv_net_free(net);
    /* A finished run is left as it is. */
    net = make_net("batch=40 steps=9 last_batch=carry log_every=2");
    fit(net, &(fv_fit_options){.folder = in_folder("logs"), .resume = true});
    assert_int_equal(count_lines(in_folder("logs/log.csv")), 1 + 3);
    fv_net_free(net);
}

static void another_run_cannot_be_resumed(void **state) {
    (void)state;
    const char *folder = in_folder("other");
    fv_net *net = make_net(adam);
    fit(net, &(fv_fit_options){.seed = 1, .folder = folder});
    fv_net_free(net);
    static const struct {
        const char *line;
        uint64_t seed;
        const char *words;
    } wrong[] = {{"optimizer=sgd batch=16 epochs=3", 1, "made with optimizer adam"},
                 {"optimizer=adam lr=0.003 batch=8 epochs=3", 1, "made with batch size 16"},
                 {"optimizer=adam lr=0.003 batch=16 epochs=3", 2, "made with seed 1"}};
    for (size_t i = 0; i < 3; i++) {
        net = make_net(wrong[i].line);
        fv_fit_options o = {.seed = wrong[i].seed, .folder = folder, .resume = true};
        expect_failure(fv_fit(net, train_data, &o), FV_INVALID, wrong[i].words);
        fv_net_free(net);
    }
    net = fv_net_parse("input 12x12x1\nflatten\ndense 3 softmax\ntrain optimizer=adam lr=0.003 "
                       "batch=16 epochs=3",
                       "other.net");
    fv_fit_options o = {.seed = 1, .folder = folder, .resume = true};
    expect_failure(fv_fit(net, train_data, &o), FV_INVALID, "made by another net");
    fv_net_free(net);
}

static void a_loss_that_is_no_number_stops_the_run(void **state) {
    (void)state;
    size_t size, after_size;
    const char *folder = in_folder("nan");
    fv_net *net = make_net("optimizer=sgd lr=0.01 batch=16 epochs=1");
    fit(net, &(fv_fit_options){.seed = 1, .folder = folder});
    fv_net_free(net);
    unsigned char *before = read_whole(in_folder("nan/checkpoint.safetensors"), &size);
    /* The same run with an endless learning rate, from the checkpoint's weights. */
    net = fv_net_load(in_folder("nan/model.safetensors"));
    assert_non_null(net);
    fv_status status = fv_fit(net, train_data, &(fv_fit_options){.lr = 1e6, .epochs = 3});
    expect_failure(status, FV_NUMERIC, "step ");
    expect_message("layer ");
    expect_message("learning rate");
    unsigned char *after = read_whole(in_folder("nan/checkpoint.safetensors"), &after_size);
    assert_int_equal(size, after_size);
    assert_memory_equal(before, after, size);
    free(before);
    free(after);
    fv_net_free(net);
}

static void data_that_does_not_fit_is_refused(void **state) {
    (void)state;
    fv_net *net = fv_net_parse("input 10x12x1\nflatten\ndense 3 softmax", "a.net");
    expect_failure(fv_fit(net, train_data, NULL), FV_SHAPE, "10x12x1");
    expect_message("12x12x1");
    fv_net_free(net);
    net = fv_net_parse("input 12x12x1\nflatten\ndense 2 softmax", "b.net");
    expect_failure(fv_fit(net, train_data, NULL), FV_SHAPE, "labels up to 2");
    fv_net_free(net);
    net = fv_net_parse("input 12x12x1\nflatten\ndense 3 sigmoid", "c.net");
    expect_failure(fv_fit(net, train_data, NULL), FV_INVALID, "softmax");
    fv_net_free(net);
    net = fv_net_parse("input 12x12x1\nconv 3 3x3 softmax", "d.net");
    expect_failure(fv_fit(net, train_data, NULL), FV_SHAPE, "flatten");
    fv_net_free(net);
    net = fv_net_parse("input 12x12x1\nflatten\ndense 3 softmax\n"
                       "train batch=200 last_batch=drop",
                       "e.net");
    expect_failure(fv_fit(net, train_data, NULL), FV_INVALID, "do not fill a batch");
    fv_net_free(net);
}

static void pictures_of_another_size_are_resized(void **state) {
    (void)state;
    fv_net *net = fv_net_parse("input 9x9x1 scale=1/255 resize=bilinear\nconv 8 3x3 relu\nflatten\n"
                               "dense 3 softmax\ntrain optimizer=adam lr=0.01 batch=16 epochs=8",
                               "resize.net");
    fit(net, &(fv_fit_options){.seed = 1, .validate = test_data});
    const fv_net *nets[] = {net};
    fv_score score;
    assert_int_equal(fv_evaluate(nets, 1, test_data, 0, 1, false, &score), FV_OK);
    assert_true(score.accuracy >= 0.9);
    fv_net_free(net);
}

static void folders_that_cannot_be_written_are_named(void **state) {
    (void)state;
    fv_net *net = make_net(adam);
    write_file(in_folder("a-file"), "x", 1);
    fv_fit_options o = {.folder = in_folder("a-file")};
    assert_int_equal(fv_fit(net, train_data, &o), FV_IO);
    expect_message("a-file");
    fv_net_free(net);
}

static void no_memory_leaves_the_old_files(void **state) {
    (void)state;
    for (int i = 0; i < 20000; i += 1 + i / 8) {
        char name[64];
        snprintf(name, sizeof name, "memory-%d", i);
        fv_net *net = make_net("optimizer=adam batch=50 epochs=1");
        fv_fit_options o = {.threads = 2, .folder = in_folder(name), .validate = test_data};
        allocations_left = i;
        fv_status status = fv_fit(net, train_data, &o);
        allocations_left = -1;
        fv_net_free(net);
        snprintf(name, sizeof name, "memory-%d/model.safetensors", i);
        if (status == FV_OK)
            return; /* every allocation of the run was failed, in steps */
        assert_int_not_equal(status, FV_OK);
        assert_int_not_equal(access(in_folder(name), F_OK), 0);
    }
    fail_msg("the run needs more allocations than the test tried");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_learns),
        cmocka_unit_test(the_same_bits_on_any_threads),
        cmocka_unit_test(stopped_anywhere_it_goes_on_with_the_same_bits),
        cmocka_unit_test(logs_have_a_row_an_epoch_and_a_row_a_log_step),
        cmocka_unit_test(another_run_cannot_be_resumed),
        cmocka_unit_test(a_loss_that_is_no_number_stops_the_run),
        cmocka_unit_test(data_that_does_not_fit_is_refused),
        cmocka_unit_test(pictures_of_another_size_are_resized),
        cmocka_unit_test(folders_that_cannot_be_written_are_named),
        cmocka_unit_test(no_memory_leaves_the_old_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
