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
    static const char *const lines[] = {adam,
                                        "optimizer=adadelta lr=1 batch=32 epochs=2",
                                        "optimizer=sgd momentum=0.9 batch=7 epochs=1",
                                        "optimizer=sgd batch=40 steps=9 last_batch=carry",
                                        "optimizer=lamb lr=0.01 batch=16 clip_norm=0.1 ema=0.9",
                                        "optimizer=nadam batch=16 epochs=1 accumulate=3 l1=1e-3 "
                                        "l2=1e-3 global_clip_norm=0.5 schedule=cosine warmup=2"};
    static const int threads[] = {1, 2, 3, 64};
    for (size_t l = 0; l < sizeof lines / sizeof *lines; l++) {
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

/* ---- What observers are told ------------------------------------------------------------------
 */

enum { WATCH_BATCH = 32, WATCH_EPOCHS = 3 };

typedef struct watch {
    int steps, epochs; /* events seen */
} watch;

/* Counts along with the run: each number must be what the arithmetic of epochs and batches says. */
static bool count_along(void *argument, const fv_progress *now) {
    watch *w = argument;
    int per_epoch = (TRAIN + WATCH_BATCH - 1) / WATCH_BATCH;
    bool step = now->event == FV_EVENT_STEP;
    w->steps += step;
    w->epochs += now->event == FV_EVENT_EPOCH;
    int epoch = (w->steps - 1) / per_epoch;
    assert_int_equal(now->step, w->steps);
    assert_int_equal(now->steps, WATCH_EPOCHS * per_epoch);
    assert_int_equal(now->epoch, epoch + 1);
    assert_int_equal(now->epochs, WATCH_EPOCHS);
    assert_int_equal(now->epoch_step, w->steps - epoch * per_epoch);
    assert_int_equal(now->epoch_steps, per_epoch);
    assert_true(isfinite(now->loss) && now->loss > 0);
    assert_true(now->accuracy >= 0 && now->accuracy <= 1);
    assert_true(now->lr == 0.01);
    assert_true(now->seconds >= 0 && now->samples_per_second > 0 && now->seconds_left >= 0);
    double left = (double)(now->steps - now->step) * WATCH_BATCH / now->samples_per_second;
    assert_true(fabs(left - now->seconds_left) <= 1e-6 * left);
    assert_int_equal(isnan(now->val_loss), step);
    assert_int_equal(now->validation == NULL, step);
    if (!step) {
        assert_true(now->val_loss == now->validation->loss);
        assert_true(now->val_accuracy == now->validation->accuracy);
        assert_int_equal(now->validation->samples, TEST);
    }
    return true;
}

static void observers_are_told_where_the_run_stands(void **state) {
    (void)state;
    fv_net *net = make_net("optimizer=sgd lr=0.01 batch=32 epochs=3");
    watch seen = {0};
    fit(net, &(fv_fit_options){
                 .validate = test_data, .observer = count_along, .argument = &seen, .threads = 1});
    assert_int_equal(seen.epochs, WATCH_EPOCHS);
    fv_net_free(net);
}

/* Every optimiser, and all else that a checkpoint must remember. */
static const char *const resumed[] = {
    adam,
    "optimizer=sgd momentum=0.9 nesterov=true batch=16 epochs=3 schedule=step every=7 gamma=0.5",
    "optimizer=adagrad batch=16 epochs=2 schedule=one_cycle",
    "optimizer=rmsprop momentum=0.5 centered=true batch=16 epochs=2 weight_decay=0.01",
    "optimizer=adadelta lr=1 batch=16 epochs=2 accumulate=3 schedule=exponential",
    "optimizer=adam amsgrad=true batch=40 steps=9 last_batch=carry accumulate=2 ema=0.8",
    "optimizer=adamw formula=torch batch=16 epochs=2 ema=0.9 restore_best=true",
    "optimizer=adamax batch=16 epochs=2 schedule=restarts decay_steps=3 multiply=1.5 warmup=4",
    "optimizer=nadam batch=16 epochs=2 l1=1e-4 l2=1e-3 clip_value=0.1",
    "optimizer=lion lr=1e-4 batch=16 epochs=2 clip_norm=1 schedule=inverse",
    "optimizer=lamb batch=16 epochs=2 global_clip_norm=1 schedule=polynomial",
    /* No epoch is better than the first by so much: the rate falls, the run ends early. */
    "optimizer=adam lr=0.003 batch=50 epochs=9 schedule=plateau patience=1 min_delta=5 "
    "early_stopping=4 restore_best=true",
};

static void resume_until_done(const char *line, const char *name, int64_t every) {
    for (int64_t stop = every;; stop += every) {
        fv_net *net = make_net(line);
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
            return;
        if (status != FV_INTERRUPTED || stop >= 40)
            fail_msg("%s: status %d, %s", line, status, fv_error_message());
    }
}

static void expect_same_file(const char *name, const unsigned char *wanted, size_t size) {
    size_t other_size;
    unsigned char *made = read_whole(in_folder(name), &other_size);
    assert_int_equal(size, other_size);
    assert_memory_equal(wanted, made, size);
    free(made);
}

static void stopped_anywhere_it_goes_on_with_the_same_bits(void **state) {
    (void)state;
    for (size_t l = 0; l < sizeof resumed / sizeof *resumed; l++) {
        char name[64];
        print_message("%s\n", resumed[l]);
        fv_net *whole = make_net(resumed[l]);
        snprintf(name, sizeof name, "whole-%zu", l);
        fit(whole, &(fv_fit_options){
                       .seed = 3, .threads = 1, .validate = test_data, .folder = in_folder(name)});
        fv_net_free(whole);
        size_t size;
        snprintf(name, sizeof name, "whole-%zu/model.safetensors", l);
        unsigned char *wanted = read_whole(in_folder(name), &size);
        for (int64_t every = l == 0 ? 1 : 3; every <= 11; every += 5) {
            snprintf(name, sizeof name, "stopped-%zu-%d", l, (int)every);
            resume_until_done(resumed[l], name, every);
            resume_until_done(resumed[l], name, every); /* when finished: as it is */
            snprintf(name, sizeof name, "stopped-%zu-%d/model.safetensors", l, (int)every);
            expect_same_file(name, wanted, size);
        }
        free(wanted);
    }
}

/* ---- What follows from the validation loss --------------------------------------------------- */

typedef struct seen {
    int epochs, notes;
    int64_t steps;
    double rates[64], losses[64];
    char last_note[200];
} seen;

static bool see(void *argument, const fv_progress *now) {
    seen *s = argument;
    if (now->event == FV_EVENT_NOTE) {
        s->notes++;
        snprintf(s->last_note, sizeof s->last_note, "%s", now->note);
    }
    if (now->event == FV_EVENT_EPOCH && s->epochs < 64) {
        assert_non_null(now->validation);
        s->rates[s->epochs] = now->lr;
        s->losses[s->epochs++] = now->val_loss;
    }
    s->steps = now->step > s->steps ? now->step : s->steps;
    return true;
}

static double loss_of(const fv_net *net) {
    fv_score score;
    assert_int_equal(fv_evaluate(&net, 1, test_data, 0, 1, false, &score), FV_OK);
    return score.loss;
}

static void a_plateau_lowers_the_rate_and_ends_the_run(void **state) {
    (void)state;
    seen s = {0};
    fv_net *net = make_net("optimizer=adam lr=0.004 batch=50 epochs=20 schedule=plateau gamma=0.5 "
                           "patience=2 min_delta=5 early_stopping=5");
    fit(net, &(fv_fit_options){.validate = test_data, .observer = see, .argument = &s});
    /* The first epoch is lower than none; five more are waited for. */
    assert_int_equal(s.epochs, 6);
    static const double wanted[] = {0.004, 0.004, 0.004, 0.002, 0.002, 0.001};
    for (int i = 0; i < 6; i++)
        assert_true(fabs(s.rates[i] - wanted[i]) <= 1e-12);
    assert_int_equal(s.notes, 1);
    assert_non_null(strstr(s.last_note, "stopped after step 18"));
    fv_net_free(net);
}

/* With a rate as high as this the loss goes up and down. */
static void the_best_weights_are_restored(void **state) {
    (void)state;
    seen s = {0};
    fv_net *net = make_net("optimizer=adam lr=0.03 batch=16 epochs=8 restore_best=true ema=0.5");
    fit(net, &(fv_fit_options){.seed = 2, .validate = test_data, .observer = see, .argument = &s});
    double best = INFINITY;
    for (int i = 0; i < 8; i++)
        best = s.losses[i] < best ? s.losses[i] : best;
    assert_int_equal(s.epochs, 8);
    assert_true(best < s.losses[7]);
    assert_true(fabs(loss_of(net) - best) <= 1e-6);
    assert_non_null(strstr(s.last_note, "restored"));
    fv_net_free(net);
}

/* Validated and saved are the averages; the checkpoint goes on with the weights themselves. */
static void averages_are_validated_and_saved(void **state) {
    (void)state;
    seen s = {0};
    fv_net *plain = make_net("optimizer=adam lr=0.01 batch=16 epochs=2");
    fv_net *net = make_net("optimizer=adam lr=0.01 batch=16 epochs=2 ema=0.9");
    fit(plain, &(fv_fit_options){.seed = 1});
    fit(net, &(fv_fit_options){.seed = 1,
                               .validate = test_data,
                               .folder = in_folder("averages"),
                               .observer = see,
                               .argument = &s});
    assert_memory_not_equal(plain->weights, net->weights, net->weight_size * sizeof(real));
    assert_true(fabs(loss_of(net) - s.losses[1]) <= 1e-6);
    fv_net *saved = fv_net_load(in_folder("averages/model.safetensors"));
    fv_net *raw = fv_net_load(in_folder("averages/checkpoint.safetensors"));
    assert_int_equal(fv_net_read_weights(saved), FV_OK);
    assert_int_equal(fv_net_read_weights(raw), FV_OK);
    assert_memory_equal(saved->weights, net->weights, net->weight_size * sizeof(real));
    assert_memory_equal(raw->weights, plain->weights, net->weight_size * sizeof(real));
    fv_net_free(plain);
    fv_net_free(net);
    fv_net_free(saved);
    fv_net_free(raw);
}

static void what_goes_by_validation_needs_it(void **state) {
    (void)state;
    static const char *const lines[] = {"early_stopping=3", "restore_best=true",
                                        "schedule=plateau"};
    static const char *const words[] = {"early_stopping", "restore_best", "schedule=plateau"};
    for (int i = 0; i < 3; i++) {
        fv_net *net = make_net(lines[i]);
        expect_failure(fv_fit(net, train_data, NULL), FV_INVALID, words[i]);
        expect_message("holdout");
        fv_net_free(net);
    }
}

/* 150 samples in batches of 16 are 10 batches: steps of 4, 4 and 2. */
static void steps_take_several_batches(void **state) {
    (void)state;
    static const struct {
        const char *line;
        int epochs;
        int64_t steps;
    } runs[] = {{"batch=16 epochs=2 accumulate=4", 2, 6},
                {"batch=16 epochs=2 accumulate=4 last_batch=drop", 2, 6},
                {"batch=16 epochs=2 accumulate=5 last_batch=carry", 2, 4},
                {"batch=16 steps=7 accumulate=4", 3, 7},
                {"batch=16 epochs=2 accumulate=400", 2, 2}};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        seen s = {0};
        fv_net *net = make_net(runs[i].line);
        fit(net, &(fv_fit_options){.validate = test_data, .observer = see, .argument = &s});
        assert_int_equal(s.steps, runs[i].steps);
        assert_int_equal(s.epochs, runs[i].epochs);
        fv_net_free(net);
    }
}

/* Without dropout the mean gradient of three batches of 50 is that of one of 150. */
static void batches_added_are_one_large_batch(void **state) {
    (void)state;
    static const char small[] = "input 12x12x1 scale=1/255\nflatten\ndense 3 softmax\n"
                                "train optimizer=sgd lr=0.1 epochs=3 ";
    char lines[2][256];
    snprintf(lines[0], sizeof lines[0], "%sbatch=150", small);
    snprintf(lines[1], sizeof lines[1], "%sbatch=50 accumulate=3", small);
    fv_net *nets[2];
    for (int i = 0; i < 2; i++) {
        nets[i] = fv_net_parse(lines[i], "small.net");
        assert_non_null(nets[i]);
        fit(nets[i], &(fv_fit_options){.seed = 1});
    }
    for (size_t i = 0; i < nets[0]->weight_size; i++)
        assert_true(fabs((double)nets[0]->weights[i] - (double)nets[1]->weights[i]) <= 1e-5);
    fv_net_free(nets[0]);
    fv_net_free(nets[1]);
}

static void metrics_have_columns(void **state) {
    (void)state;
    fv_net *net = fv_net_parse("input 12x12x1 scale=1/255\nflatten\nx: dense 9 relu\n"
                               "dense 3 softmax\nmetric accuracy\nmetric top_k\n"
                               "metric top_k of=x\ntrain epochs=2 lr=0.25",
                               "metrics.net");
    assert_non_null(net);
    fit(net, &(fv_fit_options){.folder = in_folder("metrics"), .validate = test_data});
    size_t size;
    char *log = (char *)read_whole(in_folder("metrics/log.csv"), &size);
    static const char header[] = "epoch,step,loss,accuracy,val_loss,val_accuracy,seconds,"
                                 "samples_per_second,lr,val_accuracy,val_dense2.top_k,val_x.top_k,"
                                 "data_seconds\n";
    assert_memory_equal(log, header, sizeof header - 1);
    char *row = strchr(log, '\n') + 1;
    int commas = 0;
    for (const char *at = row; *at != '\n'; at++)
        commas += *at == ',';
    assert_int_equal(commas, 12);
    row[strcspn(row, "\n")] = 0;
    assert_non_null(strstr(row, ",0.25,"));
    free(log);
    fv_net_free(net);
}

/* The share of the last epoch that training waited for data. */
static bool keep_share(void *argument, const fv_progress *now) {
    assert_true(now->data_seconds >= 0 && now->data_seconds <= now->seconds);
    if (now->event == FV_EVENT_EPOCH)
        *(double *)argument = now->data_seconds / now->seconds;
    return true;
}

/* Of a small net with pictures of 8x8, whose samples have a mask of side x side that nobody reads.
 */
static double waiting_share(int side, int epochs) {
    enum { COUNT = 48 };
    size_t values = (size_t)side * (size_t)side;
    fv_data *data = fv_data_new(COUNT);
    uint8_t *bytes = calloc(COUNT * (values > 64 ? values : 64), 1);
    float labels[COUNT] = {0};
    fv_net *net = fv_net_parse("input 8x8x1\nconv 32 3x3 relu\nconv 32 3x3 relu\nflatten\n"
                               "dense 64 relu\ndense 3 softmax\ntrain batch=8 lr=0.1",
                               "waiting.net");
    assert_true(data && bytes && net);
    assert_false(fv_data_add_bytes(data, "input", (fv_shape){2, {8, 8}, 1}, bytes));
    assert_false(fv_data_add_bytes(data, "mask", (fv_shape){2, {side, side}, 1}, bytes));
    assert_false(fv_data_add(data, "label", (fv_shape){0, {0}, 1}, labels));
    double share = -1;
    assert_false(
        fv_fit(net, data,
               &(fv_fit_options){
                   .epochs = epochs, .threads = 1, .observer = keep_share, .argument = &share}));
    fv_net_free(net);
    fv_data_free(data);
    free(bytes);
    return share;
}

static void waiting_for_data_is_told(void **state) {
    (void)state;
    assert_true(waiting_share(700, 2) > 0.2);
    double least = 1; /* a busy machine may keep the loader from running now and then */
    for (int i = 0; i < 20 && least > 0.02; i++)
        least = fmin(least, waiting_share(4, 2));
    assert_true(least <= 0.02);
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

/* A log of a version that had fewer columns: its rows get empty ones. */
static void older_logs_are_gone_on_with(void **state) {
    (void)state;
    size_t size;
    fv_net *net = make_net("batch=50 epochs=2");
    fit(net, &(fv_fit_options){.folder = in_folder("older"), .epochs = 1});
    write_file(in_folder("older/log.csv"), "epoch,step\n1,3\n", 15);
    fit(net, &(fv_fit_options){.folder = in_folder("older"), .resume = true});
    char *log = (char *)read_whole(in_folder("older/log.csv"), &size);
    assert_non_null(strstr(log, ",lr,data_seconds\n1,3,,,,,,,,\n2,6,"));
    free(log);
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
    } wrong[] = {
        {"optimizer=sgd batch=16 epochs=3", 1, "made with optimizer adam"},
        {"optimizer=adam lr=0.003 batch=16 epochs=3 ema=0.9", 1, "ema=0.9"},
        {"optimizer=adam lr=0.003 batch=16 epochs=3 schedule=cosine", 1, "schedule=cosine"},
        {"optimizer=adam lr=0.003 batch=16 epochs=3 accumulate=2", 1, "accumulate=2"},
        {"optimizer=adam lr=0.003 batch=8 epochs=3", 1, "made with batch size 16"},
        {"optimizer=adam lr=0.003 batch=16 epochs=3", 2, "made with seed 1"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
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
        fv_net *net = make_net("optimizer=adam batch=50 epochs=1 accumulate=2 ema=0.9 "
                               "restore_best=true");
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
        cmocka_unit_test(observers_are_told_where_the_run_stands),
        cmocka_unit_test(the_same_bits_on_any_threads),
        cmocka_unit_test(stopped_anywhere_it_goes_on_with_the_same_bits),
        cmocka_unit_test(a_plateau_lowers_the_rate_and_ends_the_run),
        cmocka_unit_test(the_best_weights_are_restored),
        cmocka_unit_test(averages_are_validated_and_saved),
        cmocka_unit_test(what_goes_by_validation_needs_it),
        cmocka_unit_test(steps_take_several_batches),
        cmocka_unit_test(batches_added_are_one_large_batch),
        cmocka_unit_test(metrics_have_columns),
        cmocka_unit_test(waiting_for_data_is_told),
        cmocka_unit_test(logs_have_a_row_an_epoch_and_a_row_a_log_step),
        cmocka_unit_test(older_logs_are_gone_on_with),
        cmocka_unit_test(another_run_cannot_be_resumed),
        cmocka_unit_test(a_loss_that_is_no_number_stops_the_run),
        cmocka_unit_test(data_that_does_not_fit_is_refused),
        cmocka_unit_test(pictures_of_another_size_are_resized),
        cmocka_unit_test(folders_that_cannot_be_written_are_named),
        cmocka_unit_test(no_memory_leaves_the_old_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
