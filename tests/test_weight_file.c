/* Nets whose weights are still in their model file: they compute, train, save and tell the same as
 * in memory; a file that changes under them is an error; memory to the byte; each allocation failed
 * once. */
#include "formats/formats.h"
#include "net/execute.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static char folder[] = "/tmp/fovea-weights-XXXXXX", path[64], other[64];

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/a.safetensors", folder);
    snprintf(other, sizeof other, "%s/b.safetensors", folder);
    return 0;
}

/* Fails when anything else was left behind. */
static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    unlink(other);
    return rmdir(folder);
}

/* All layers with weights, those that pack them and those that read them as they are. */
static const char many[] =
    "input 14x14x3\nconv 16 3x3 padding=same\nbatch_norm relu\nconv 32 3x3 padding=same relu\n"
    "conv 32 3x3 groups=4 bias=false\nlayer_norm\ndepthwise_conv 3x3 multiplier=2 padding=same\n"
    "prelu\nseparable_conv 24 3x3 stride=2\nconv_transpose 17 3x3 stride=2 relu\n"
    "group_norm 1\nsubsample 2x2 tanh\nlocal 5 2x2\nflatten\ndense 33 relu\ndense 84 tanh\nrbf 10\n"
    "train optimizer=adam lr=0.001\nloss mse target=y\n";
/* Rows longer than a buffer, weights in more than one slice; and wide, short ones. */
static const char wide[] = "input 5000\ndense 900 relu\ndense 4 softmax\n"
                           "train optimizer=sgd lr=0.01\n";
/* Winograd's points, twice as many columns as rows. */
static const char plane[] = "input 16x16x64\nconv 48 3x3 padding=same relu\nconv 16 3x3\n"
                            "conv 1 1x1\nglobal_avgpool\n";
static const char *const texts[] = {many, wide, plane};
enum { TEXTS = 3, SAMPLES = 3 };

static fv_net *parse(const char *text, uint64_t seed) {
    fv_net *net = fv_net_parse(text, "test.net");
    if (!net)
        fail_msg("%s", fv_error_message());
    assert_int_equal(fv_net_initialize(net, seed), FV_OK);
    /* Biases, scales and statistics that are not all the same. */
    for (int n = 0; n < net->count; n++)
        for (int w = 0; w < net->nodes[n].weight_count; w++)
            for (size_t i = 0; i < net->nodes[n].weights[w].count; i++)
                net->weights[net->nodes[n].weights[w].offset + i] += (real)0.001f * (real)(i % 37);
    return net;
}

static fv_net *load(const char *name) {
    fv_net *net = fv_net_load(name);
    if (!net)
        fail_msg("%s", fv_error_message());
    assert_null(net->weights);
    return net;
}

/* A net in memory, and the same in its file. */
static fv_net *make_pair(const char *text, fv_net **loaded) {
    fv_net *net = parse(text, 7);
    if (fv_save(net, path))
        fail_msg("%s", fv_error_message());
    *loaded = load(path);
    return net;
}

static void fill(float *values, size_t count) {
    unsigned seed = 5;
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)(seed >> 8) / (float)(1 << 24);
    }
}

/* The outputs of a few samples, which the caller frees; NULL with *bytes 0 on failure. */
static float *run(const fv_net *net, const fv_session_options *options, size_t *bytes) {
    fv_shape input = fv_input_shape(net), output;
    size_t count = fv_shape_count(&input) * SAMPLES;
    float *values = malloc(count * sizeof *values), *copy = NULL;
    fill(values, count);
    *bytes = 0;
    fv_session *session = fv_session_new(net, options);
    if (session && fv_session_run(session, values, SAMPLES) == FV_OK) {
        const float *made = fv_session_output(session, NULL, &output);
        *bytes = made ? fv_shape_count(&output) * SAMPLES * sizeof *copy : 0;
        copy = made ? malloc(*bytes) : NULL;
        if (made)
            memcpy(copy, made, *bytes);
    }
    fv_session_free(session);
    free(values);
    return copy;
}

static void expect_same_outputs(const fv_net *a, const fv_net *b, const fv_session_options *o) {
    size_t a_bytes, b_bytes;
    float *wanted = run(a, o, &a_bytes), *got = run(b, o, &b_bytes);
    if (!wanted || !got)
        fail_msg("%s", fv_error_message());
    assert_int_equal(a_bytes, b_bytes);
    assert_memory_equal(wanted, got, a_bytes);
    free(wanted);
    free(got);
}

static void expect_message(const char *words) {
    if (!strstr(fv_error_message(), words))
        fail_msg("message \"%s\", expected \"%s\" in it", fv_error_message(), words);
}

/* ---- The same bits --------------------------------------------------------------------------- */

static void sessions_give_the_same_bits(void **state) {
    (void)state;
    for (int t = 0; t < TEXTS; t++) {
        fv_net *loaded, *net = make_pair(texts[t], &loaded);
        for (int i = 0; i < 2 * 3; i++) {
            fv_session_options o = {.batch = SAMPLES + i % 2, .threads = 1 + i / 2, .exact = i % 2};
            expect_same_outputs(net, loaded, &o);
        }
        assert_null(loaded->weights);
        fv_net_free(loaded);
        fv_net_free(net);
    }
}

static void *run_alone(void *argument) {
    size_t bytes;
    return run(argument, &(fv_session_options){.batch = SAMPLES, .threads = 2}, &bytes);
}

static void threads_share_a_net_in_its_file(void **state) {
    (void)state;
    fv_net *loaded, *net = make_pair(many, &loaded);
    pthread_t threads[4];
    float *wanted = run_alone(net);
    assert_non_null(wanted);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_alone, loaded), 0);
    for (int i = 0; i < 4; i++) {
        void *got;
        pthread_join(threads[i], &got);
        assert_non_null(got);
        assert_memory_equal(wanted, got, SAMPLES * 10 * sizeof *wanted);
        free(got);
    }
    free(wanted);
    fv_net_free(loaded);
    fv_net_free(net);
}

static void expect_same_weights(const fv_net *a, const fv_net *b) {
    assert_int_equal(fv_weight_count(a), fv_weight_count(b));
    for (int i = 0; i < fv_weight_count(a); i++) {
        fv_weight_info info;
        assert_int_equal(fv_weight_describe(a, i, &info), FV_OK);
        float *wanted = malloc(info.count * sizeof *wanted);
        float *got = malloc(info.count * sizeof *got);
        assert_int_equal(fv_get_weight(a, i, wanted), FV_OK);
        assert_int_equal(fv_get_weight(b, i, got), FV_OK);
        assert_memory_equal(wanted, got, info.count * sizeof *wanted);
        free(wanted);
        free(got);
    }
}

static void weights_are_told_and_set(void **state) {
    (void)state;
    for (int t = 0; t < TEXTS; t++) {
        fv_net *loaded, *net = make_pair(texts[t], &loaded);
        expect_same_weights(net, loaded);
        assert_null(loaded->weights);
        fv_weight_info info;
        assert_int_equal(fv_weight_describe(net, 0, &info), FV_OK);
        float *values = malloc(info.count * sizeof *values);
        fill(values, info.count);
        fv_session *session = fv_session_new(loaded, NULL);
        assert_non_null(session);
        assert_int_equal(fv_set_weight(loaded, 0, values), FV_BUSY);
        fv_session_free(session);
        assert_int_equal(fv_set_weight(loaded, 0, values), FV_OK);
        assert_int_equal(fv_set_weight(net, 0, values), FV_OK);
        free(values);
        expect_same_weights(net, loaded);
        assert_memory_equal(net->weights, loaded->weights, net->weight_size * sizeof(real));
        expect_same_outputs(net, loaded, &(fv_session_options){.batch = SAMPLES});
        fv_net_free(loaded);
        fv_net_free(net);
    }
}

static void new_weights_replace_those_in_the_file(void **state) {
    (void)state;
    fv_net *loaded, *net = make_pair(many, &loaded);
    assert_int_equal(fv_net_initialize(net, 3), FV_OK);
    assert_int_equal(fv_net_initialize(loaded, 3), FV_OK);
    assert_memory_equal(net->weights, loaded->weights, net->weight_size * sizeof(real));
    fv_net_free(loaded);
    fv_net_free(net);
}

/* Three steps of training. */
static fv_status train(fv_net *net) {
    fv_shape shape = fv_input_shape(net), y = {.channels = 10};
    size_t count = fv_shape_count(&shape) * SAMPLES;
    float *input = malloc(count * sizeof *input), targets[SAMPLES * 10];
    const int labels[SAMPLES] = {1, 0, 2};
    fill(input, count);
    fill(targets, SAMPLES * 10);
    const fv_target target = {.field = "y", .shape = y, .values = targets};
    fv_trainer *trainer =
        fv_trainer_new(net, &(fv_trainer_options){.batch = SAMPLES, .threads = 2});
    fv_status status = trainer ? FV_OK : fv_error_status();
    for (int i = 0; !status && i < 3; i++)
        status = net->loss_count
                     ? fv_trainer_step_targets(trainer, input, &target, 1, SAMPLES, NULL)
                     : fv_trainer_step(trainer, input, labels, SAMPLES, NULL);
    fv_trainer_free(trainer);
    free(input);
    return status;
}

static void training_goes_on_from_the_file(void **state) {
    (void)state;
    fv_net *loaded, *net = make_pair(many, &loaded);
    assert_int_equal(train(net), FV_OK);
    assert_int_equal(train(loaded), FV_OK);
    assert_memory_equal(net->weights, loaded->weights, net->weight_size * sizeof(real));
    expect_same_outputs(net, loaded, &(fv_session_options){.batch = SAMPLES});
    fv_net_free(loaded);
    fv_net_free(net);
}

/* Trains a small net by a loss through that model, and returns its net. */
static fv_net *trained_through(const char *model) {
    char text[256];
    snprintf(text, sizeof text,
             "input 6x6x16\nconv 16 3x3 padding=same\nloss mse target=y through=%s\n"
             "train optimizer=sgd lr=0.01\n",
             model);
    fv_net *net = parse(text, 1);
    fv_shape shape = fv_input_shape(net);
    float input[SAMPLES * 576];
    fill(input, SAMPLES * 576);
    const fv_target target = {.field = "y", .shape = shape, .values = input};
    fv_trainer *trainer =
        fv_trainer_new(net, &(fv_trainer_options){.batch = SAMPLES, .threads = 2});
    if (!trainer || fv_trainer_step_targets(trainer, input, &target, 1, SAMPLES, NULL))
        fail_msg("%s", fv_error_message());
    fv_trainer_free(trainer);
    return net;
}

/* The model of such a loss stays in its file, though gradients go back through it. */
static void losses_through_a_model_in_its_file(void **state) {
    (void)state;
    static const char text[] = "input 6x6x16\nconv 48 3x3 padding=same relu\nbatch_norm\nprelu\n"
                               "conv 8 2x2 stride=2\nlayer_norm\nflatten\ndense 20 tanh\ndense 5\n";
    char plain[64];
    snprintf(plain, sizeof plain, "%s/a.net", folder);
    FILE *file = fopen(plain, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    fv_net *model = fv_net_load(plain);
    assert_non_null(model);
    assert_int_equal(fv_save(model, path), FV_OK);
    fv_net *in_memory = trained_through(plain), *in_file = trained_through(path);
    assert_memory_equal(in_memory->weights, in_file->weights, in_file->weight_size * sizeof(real));
    unlink(plain);
    fv_net_free(model);
    fv_net_free(in_memory);
    fv_net_free(in_file);
}

/* ---- The file changes ------------------------------------------------------------------------ */

/* The old file lives on, without a name, while the net has it open. */
static void saved_over_their_own_file(void **state) {
    (void)state;
    fv_net *loaded, *net = make_pair(many, &loaded);
    assert_int_equal(fv_save(loaded, path), FV_OK);
    assert_null(loaded->weights);
    expect_same_outputs(net, loaded, &(fv_session_options){.batch = SAMPLES});
    fv_net *again = load(path);
    expect_same_weights(net, again);
    fv_net_free(again);
    fv_net *stranger = parse(wide, 1);
    assert_int_equal(fv_save(stranger, path), FV_OK);
    expect_same_outputs(net, loaded, &(fv_session_options){.batch = SAMPLES});
    assert_int_equal(unlink(path), 0);
    expect_same_weights(net, loaded);
    assert_int_equal(train(loaded), FV_OK);
    fv_net_free(stranger);
    fv_net_free(loaded);
    fv_net_free(net);
}

/* All that reads the weights fails with these words, and nothing is changed. */
static void expect_no_weights(fv_net *loaded, const char *words) {
    size_t bytes;
    float *values = malloc(loaded->nodes[1].weights[0].count * sizeof *values);
    assert_null(run(loaded, &(fv_session_options){.batch = SAMPLES, .threads = 2}, &bytes));
    assert_int_equal(fv_error_status(), FV_IO);
    expect_message(words);
    assert_int_equal(fv_get_weight(loaded, 0, values), FV_IO);
    expect_message(words);
    assert_int_equal(fv_set_weight(loaded, 0, values), FV_IO);
    expect_message(words);
    assert_int_equal(fv_save(loaded, other), FV_IO);
    expect_message(words);
    assert_int_equal(access(other, F_OK), -1);
    assert_int_equal(train(loaded), FV_IO);
    expect_message(words);
    assert_null(loaded->weights);
    assert_int_equal(atomic_load(&loaded->users), 0);
    free(values);
}

static void a_file_cut_short_is_an_error(void **state) {
    (void)state;
    fv_net *loaded, *net = make_pair(many, &loaded);
    assert_int_equal(truncate(path, 4000), 0);
    expect_no_weights(loaded, "shorter");
    assert_int_equal(truncate(path, 0), 0);
    expect_no_weights(loaded, "load it again");
    fv_net_free(loaded);
    fv_net_free(net);
}

static void a_file_written_to_is_an_error(void **state) {
    (void)state;
    fv_net *loaded, *net = make_pair(many, &loaded);
    struct timespec times[2] = {{.tv_sec = 1, .tv_nsec = 5}, {.tv_sec = 1, .tv_nsec = 5}};
    int file = open(path, O_WRONLY);
    assert_int_equal(pwrite(file, "x", 1, 4000), 1);
    assert_int_equal(futimens(file, times), 0); /* not to depend on the clock's grain */
    close(file);
    expect_no_weights(loaded, "written to");
    fv_net_free(loaded);
    fv_net_free(net);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void memory_is_known_to_the_byte(void **state) {
    (void)state;
    for (int t = 0; t < TEXTS; t++) {
        fv_net *loaded, *net = make_pair(texts[t], &loaded);
        for (int i = 0; i < 2 * 2 * 2; i++) {
            fv_session_options o = {.batch = i & 1 ? 33 : 1, .threads = i & 2 ? 7 : 1};
            fv_memory promised, made, in_memory;
            o.exact = i & 4;
            assert_int_equal(fv_net_memory(loaded, o.batch, o.threads, false, o.exact, &promised),
                             FV_OK);
            assert_int_equal(fv_net_memory(net, o.batch, o.threads, false, o.exact, &in_memory),
                             FV_OK);
            mapped = 0;
            fv_session *session = fv_session_new(loaded, &o);
            assert_non_null(session);
            assert_int_equal(mapped, promised.total);
            fv_session_memory(session, &made);
            fv_session_free(session);
            assert_memory_equal(&promised, &made, sizeof made);
            assert_int_equal(promised.total, promised.weights + promised.packed +
                                                 promised.activations + promised.scratch);
            assert_true(promised.weights < in_memory.weights);
            assert_int_equal(promised.packed, in_memory.packed);
        }
        fv_memory a, b;
        assert_int_equal(fv_net_memory(loaded, 4, 2, true, false, &a), FV_OK);
        assert_int_equal(fv_net_memory(net, 4, 2, true, false, &b), FV_OK);
        assert_memory_equal(&a, &b, sizeof a);
        fv_net_free(loaded);
        fv_net_free(net);
    }
}

/* Dense and convolutional weights are packed and gone; a large layer is staged in slices. */
static void weights_are_not_kept_twice(void **state) {
    (void)state;
    fv_net *loaded, *net = make_pair(wide, &loaded);
    fv_memory memory;
    size_t all = net->weight_size * sizeof(real);
    assert_int_equal(fv_net_memory(loaded, 1, 1, false, true, &memory), FV_OK);
    assert_int_equal(memory.weights, 0);
    assert_true(memory.total < all + all * 3 / 5);
    fv_net_free(loaded);
    fv_net_free(net);
}

static bool whole_life(void) {
    static const char small[] = "input 8x8x4\nconv 16 3x3 relu\nbatch_norm\nlayer_norm\nflatten\n"
                                "dense 10 softmax\n";
    fv_net *net = fv_net_parse(small, "small.net");
    bool good = net && fv_save(net, path) == FV_OK;
    fv_net_free(net);
    net = good ? fv_net_load(path) : NULL;
    size_t bytes;
    float *output =
        net ? run(net, &(fv_session_options){.batch = SAMPLES, .threads = 2}, &bytes) : NULL;
    good = output && fv_save(net, path) == FV_OK && train(net) == FV_OK;
    free(output);
    fv_net_free(net);
    return good;
}

static void no_memory_is_an_error(void **state) {
    (void)state;
    fail_at = -1;
    requests = 0;
    assert_true(whole_life());
    int all = requests;
    assert_true(all > 60);
    int unnoticed = 0; /* each of two saves may do without syncing the folder */
    for (int i = 0; i < all; i++) {
        requests = 0;
        fail_at = i;
        bool good = whole_life();
        fail_at = -1;
        if (good && ++unnoticed > 2)
            fail_msg("request %d of %d failed, but nobody noticed", i, all);
        if (!good)
            expect_message("memory");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_give_the_same_bits),
        cmocka_unit_test(threads_share_a_net_in_its_file),
        cmocka_unit_test(weights_are_told_and_set),
        cmocka_unit_test(new_weights_replace_those_in_the_file),
        cmocka_unit_test(training_goes_on_from_the_file),
        cmocka_unit_test(losses_through_a_model_in_its_file),
        cmocka_unit_test(saved_over_their_own_file),
        cmocka_unit_test(a_file_cut_short_is_an_error),
        cmocka_unit_test(a_file_written_to_is_an_error),
        cmocka_unit_test(memory_is_known_to_the_byte),
        cmocka_unit_test(weights_are_not_kept_twice),
        cmocka_unit_test(no_memory_is_an_error),
    };
    if (fv_model_supported() != FV_OK)
        return 77; /* skipped */
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
