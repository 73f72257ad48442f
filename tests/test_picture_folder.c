/* Tests of src/data/picture_folder.c, read.c and fitted.c: pictures in a folder for each class,
 * read when they are wanted or kept, damaged, and trained on. */
#include "base/alloc.h"
#include "data/data.h"
#include "files.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#ifdef FV_HAVE_PNG
#include <png.h>

static void make_sub_folder(const char *name) {
    assert_int_equal(mkdir(in_folder(name), 0777), 0);
}

static uint8_t pixel(int number, size_t i) {
    return (uint8_t)((size_t)number * 53 + i * 37 + i * i * 3);
}

/* Picture `number` in colour. */
static void write_picture(const char *name, int number, int height, int width) {
    uint8_t pixels[3 * 400];
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)width,
                       .height = (png_uint_32)height,
                       .format = PNG_FORMAT_RGB};
    assert_true((size_t)(3 * height * width) <= sizeof pixels);
    for (size_t i = 0; i < (size_t)(3 * height * width); i++)
        pixels[i] = pixel(number, i);
    if (!png_image_write_to_file(&image, in_folder(name), 0, pixels, 0, NULL))
        fail_msg("the test cannot write %s", name);
}

static fv_data *open_data(const char *name, const char *split) {
    fv_data *data = fv_data_open(in_folder(name), split);
    if (!data)
        fail_msg("%s", fv_error_message());
    return data;
}

static void expect_no_data(const char *name, const char *split, fv_status status,
                           const char *words) {
    assert_null(fv_data_open(in_folder(name), split));
    expect_failure(fv_error_status(), status, words);
}

static fv_net *parse(const char *text) {
    fv_net *net = fv_net_parse(text, "a.net");
    if (!net)
        fail_msg("%s", fv_error_message());
    return net;
}

/* ---- What is found ----------------------------------------------------------------------------
 */

/* Samples are the pictures of those numbers, their classes these. */
static void expect_samples(const fv_data *data, size_t count, const int *numbers,
                           const int *labels) {
    float values[18];
    fv_shape shape = fv_data_shape(data);
    assert_int_equal(fv_data_count(data), count);
    assert_int_equal(fv_shape_count(&shape), 18);
    for (size_t i = 0; i < count; i++) {
        int label;
        if (fv_data_sample(data, i, values, &label))
            fail_msg("%s", fv_error_message());
        assert_int_equal(label, labels[i]);
        for (size_t k = 0; k < 18; k++)
            assert_true(values[k] == (float)pixel(numbers[i], k));
    }
}

static void make_set(void) {
    make_sub_folder("a");
    make_sub_folder("a/train");
    make_sub_folder("a/train/pear");
    make_sub_folder("a/train/apple");
    make_sub_folder("a/train/a plum");
    make_sub_folder("a/train/pear/more.png.d");
    write_picture("a/train/pear/10.png", 0, 2, 3);
    write_picture("a/train/pear/9.PNG", 1, 2, 3);
    write_picture("a/train/pear/11.png", 2, 2, 3);
    write_picture("a/train/pear/0.jpg", 3, 2, 3); /* told by its contents */
    write_picture("a/train/apple/b.png", 4, 2, 3);
    write_picture("a/train/apple/a.jpeg", 5, 2, 3);
    write_picture("a/train/a plum/x.png", 6, 2, 3);
    write_file(in_folder("a/train/apple/README.txt"), "x", 1);
    write_file(in_folder("a/train/apple/.hidden.png"), "x", 1);
    write_file(in_folder("a/train/list.png"), "x", 1);
    make_sub_folder("a/train/.cache");
    make_sub_folder("a/validation");
    make_sub_folder("a/validation/pear");
    write_picture("a/validation/pear/1.png", 7, 2, 3);
    make_sub_folder("a/test");
    make_sub_folder("a/test/apple");
    make_sub_folder("a/test/a plum");
    write_picture("a/test/apple/1.png", 8, 2, 3);
}

/* The classes in the order of their names, their pictures spread evenly over the set. */
static void a_folder(void **state) {
    (void)state;
    make_set();
    fv_data *data = open_data("a", "train");
    /* pear: 0.jpg, 10, 11, 9.PNG at 1/8, 3/8, 5/8, 7/8; apple at 1/4, 3/4; a plum at 1/2 */
    expect_samples(data, 7, (int[]){3, 5, 0, 6, 2, 4, 1}, (int[]){2, 1, 2, 0, 2, 1, 2});
    assert_int_equal(fv_data_classes(data), 3);
    assert_string_equal(fv_data_class_name(data, 0), "a plum");
    assert_string_equal(fv_data_class_name(data, 1), "apple");
    assert_string_equal(fv_data_class_name(data, 2), "pear");
    assert_null(fv_data_class_name(data, 3));
    assert_true(fv_data_bytes(data));
    assert_string_equal(fv_data_place(data), in_folder("a"));
    fv_data *part = fv_data_slice(data, 2, 4), *less = fv_data_slice(part, 1, 2);
    assert_non_null(less);
    expect_samples(part, 4, (int[]){0, 6, 2, 4}, (int[]){2, 0, 2, 1});
    expect_samples(less, 2, (int[]){6, 2}, (int[]){0, 2});
    fv_data_free(less);
    fv_data_free(part);
    fv_data_free(data);
    data = open_data("a", "val"); /* the labels are those of training */
    expect_samples(data, 1, (int[]){7}, (int[]){2});
    assert_int_equal(fv_data_classes(data), 3);
    fv_data_free(data);
    data = open_data("a", "test");
    expect_samples(data, 1, (int[]){8}, (int[]){1});
    fv_data_free(data);
    assert_int_equal(rename(in_folder("a/train"), in_folder("a/other")), 0);
    data = open_data("a", "val"); /* on its own */
    expect_samples(data, 1, (int[]){7}, (int[]){0});
    fv_data_free(data);
    expect_no_data("a", "train", FV_IO, "and a folder train with the pictures of each class");
    assert_int_equal(rename(in_folder("a/other"), in_folder("a/train")), 0);
}

static void bad_folders(void **state) {
    (void)state;
    make_sub_folder("b");
    make_sub_folder("b/train");
    expect_no_data("b", "train", FV_INVALID, "b/train has no folders: pictures are expected");
    write_picture("b/train/1.png", 1, 2, 3);
    expect_no_data("b", "train", FV_INVALID, "b/train has no folders");
    make_sub_folder("b/train/x");
    write_file(in_folder("b/train/x/notes.txt"), "x", 1);
    expect_no_data("b", "train", FV_INVALID, "b/train/x has no pictures (.png, .jpg, .jpeg)");
    write_picture("b/train/x/1.png", 1, 2, 3);
    make_sub_folder("b/test");
    make_sub_folder("b/test/x");
    expect_no_data("b", "test", FV_INVALID, "b/test has 0 pictures");
    make_sub_folder("b/test/y");
    expect_no_data("b", "test", FV_INVALID, "b/test has a class 'y', which is not in ");
    make_sub_folder("b/val");
    make_sub_folder("b/validation");
    expect_no_data("b", "val", FV_INVALID, "two data sets for 'val': ");
    make_sub_folder("b/train/new\nline");
    write_picture("b/train/new\nline/1.png", 1, 2, 3);
    expect_no_data("b", "train", FV_FORMAT, "has control characters or is not UTF-8 (byte 0x0a)");
    assert_int_equal(rename(in_folder("b/train/new\nline"), in_folder("b/train/\xff")), 0);
    expect_no_data("b", "train", FV_FORMAT, "byte 0xff");
    assert_int_equal(rename(in_folder("b/train/\xff"), in_folder("b/train/\xc3\xa9")), 0);
    fv_data *data = open_data("b", "train");
    assert_string_equal(fv_data_class_name(data, 1), "\xc3\xa9");
    fv_data_free(data);
}

/* Links to folders above, to themselves and to nowhere. */
static void links(void **state) {
    (void)state;
    make_sub_folder("c");
    make_sub_folder("c/train");
    make_sub_folder("c/train/x");
    write_picture("c/train/x/1.png", 1, 2, 3);
    assert_int_equal(symlink("1.png", in_folder("c/train/x/2.png")), 0);
    assert_int_equal(symlink("self", in_folder("c/train/self")), 0);
    assert_int_equal(symlink("nowhere", in_folder("c/train/gone")), 0);
    fv_data *data = open_data("c", "train");
    expect_samples(data, 2, (int[]){1, 1}, (int[]){0, 0});
    fv_data_free(data);
    assert_int_equal(symlink("../train", in_folder("c/train/above")), 0);
    expect_no_data("c", "train", FV_INVALID, "c/train/above has no pictures");
    remove(in_folder("c/train/above"));
    assert_int_equal(symlink("0.png", in_folder("c/train/x/0.png")), 0);
    expect_no_data("c", "train", FV_IO, "c/train/x/0.png");
}

/* What has the ending of a picture, but is none. */
static void no_pictures(void **state) {
    (void)state;
    make_sub_folder("d");
    make_sub_folder("d/train");
    make_sub_folder("d/train/x");
    write_picture("d/train/x/1.png", 1, 2, 3);
    write_file(in_folder("d/train/x/0.png"), "text", 4);
    expect_no_data("d", "train", FV_FORMAT, "d/train/x/0.png: not a PNG or JPEG picture");
    fv_write_npy(in_folder("d/array.npy"), 1, (size_t[]){6}, (float[6]){0});
    rename(in_folder("d/array.npy"), in_folder("d/train/x/0.png"));
    expect_no_data("d", "train", FV_FORMAT, "d/train/x/0.png is an array, not a picture");
    remove(in_folder("d/train/x/0.png"));
    make_sub_folder("d/train/x/2.png");
    assert_int_equal(mkfifo(in_folder("d/train/x/3.png"), 0600), 0);
    write_picture("d/train/x/new\nline.png", 1, 2, 3);
    write_picture("d/train/x/wide.png", 1, 2, 4);
    fv_data *data = open_data("d", "train");
    float values[24];
    int label;
    assert_int_equal(fv_data_count(data), 5);
    assert_int_equal(fv_data_sample(data, 0, values, &label), FV_OK);
    expect_failure(fv_data_sample(data, 1, values, &label), FV_IO, "d/train/x/2.png is a folder");
    expect_failure(fv_data_sample(data, 2, values, &label), FV_IO, "d/train/x/3.png is a device");
    assert_int_equal(fv_data_sample(data, 3, values, &label), FV_OK);
    expect_failure(fv_data_sample(data, 4, values, &label), FV_SHAPE,
                   "d/train/x/wide.png: a picture of 2x4x3 does not fit");
    expect_failure(fv_data_sample(data, 5, values, &label), FV_INVALID, "no sample 5");
    fv_data_free(data);
}

/* ---- Pictures of many sizes, read for a net ---------------------------------------------------
 */

enum { MIXED = 23 };

static void mixed_name(int i, char name[64]) {
    snprintf(name, 64, "m/train/%c/%02d.png", 'x' + i % 2, i / 2);
}

static void make_mixed_set(void) {
    make_sub_folder("m");
    make_sub_folder("m/train");
    make_sub_folder("m/train/x");
    make_sub_folder("m/train/y");
    for (int i = 0; i < MIXED; i++) {
        char name[64];
        mixed_name(i, name);
        write_picture(name, i, 5 + i % 7, 5 + i * 3 % 11);
    }
}

static const char net_text[] = "input 6x5x3 scale=1/255 mean=0.5,0.4,0.3 deviation=0.2 "
                               "resize=antialias side=6\n"
                               "conv 4 3x3 relu\nflatten\ndropout 0.2\ndense 2 softmax\n"
                               "train loss=cross_entropy optimizer=adam lr=0.01 batch=4 epochs=3 "
                               "holdout=3\n";
enum { FITTED = 6 * 5 * 3 };

/* Points *data to a fitted set; the caller frees that. */
static fv_data *fit_data(const fv_net *net, const fv_data *data, int threads, size_t keep) {
    fv_data *made;
    const fv_data *fitted = data;
    if (fv_data_fit(net, threads, keep, &fitted, &made))
        fail_msg("%s", fv_error_message());
    assert_non_null(made);
    assert_ptr_equal(fitted, made);
    return made;
}

static void expect_same_inputs(const fv_data *data, const uint8_t *wanted, size_t count,
                               int threads) {
    uint8_t got[MIXED * FITTED];
    float labels[MIXED], *targets[] = {labels};
    fv_pool *pool = fv_pool_new(threads);
    memset(got, 1, sizeof got);
    assert_int_equal(fv_data_input_size(data), FITTED);
    assert_int_equal(fv_data_read(data, pool, NULL, 0, (int)count, got, targets), FV_OK);
    assert_memory_equal(got, wanted, count * FITTED);
    fv_pool_free(pool);
}

/* Kept or read when wanted, by any number of threads: as fv_fit_picture() makes them, rounded. */
static void read_for_a_net(void **state) {
    (void)state;
    static uint8_t wanted[MIXED * FITTED];
    make_mixed_set();
    fv_net *net = parse(net_text);
    fv_data *data = open_data("m", "train");
    const fv_shape to = fv_input_shape(net);
    for (int i = 0; i < MIXED; i++) { /* x and y take turns */
        char name[64];
        fv_shape from;
        float *values, fitted[FITTED];
        mixed_name(i, name);
        if (fv_read_array(in_folder(name), &from, &values) ||
            fv_fit_picture(net, &from, values, &to, fitted))
            fail_msg("%s", fv_error_message());
        for (int k = 0; k < FITTED; k++)
            wanted[i * FITTED + k] = (uint8_t)lrintf(fitted[k]);
        fv_free_memory(values);
    }
    for (int threads = 1; threads < 4; threads++)
        for (int kept = 0; kept < 2; kept++) {
            fv_data *made =
                fit_data(net, data, threads, kept ? MIXED * FITTED : MIXED * FITTED - 1);
            assert_true(kept == (made->columns[0].bytes != NULL));
            expect_same_inputs(made, wanted, MIXED, threads);
            fv_data *part = fv_data_slice(made, 4, 9);
            assert_non_null(part);
            expect_same_inputs(part, wanted + 4 * FITTED, 9, threads);
            fv_data_free(part);
            const fv_data *again = made;
            fv_data *none;
            if (!kept) { /* it fits already */
                assert_int_equal(fv_data_fit(net, 1, 0, &again, &none), FV_OK);
                assert_null(none);
            }
            fv_data_free(made);
        }
    fv_data_free(data);
    fv_net_free(net);
}

/* Samples in memory are resized when they are wanted, too, where they are too large to keep. */
static void memory_read_for_a_net(void **state) {
    (void)state;
    const fv_shape shape = {2, {2, 2}, 1}, number = {.channels = 1};
    const uint8_t bytes[] = {0, 10, 20, 30, 200, 100, 50, 250, 1, 2, 3, 4};
    float floats[12];
    fv_net *net = parse("input 4x3x1 resize=bilinear\nflatten\ndense 2 softmax\n");
    for (int i = 0; i < 12; i++)
        floats[i] = (float)bytes[i] - 100.5f;
    for (int kind = 0; kind < 2; kind++) {
        fv_data *data = fv_data_new(3);
        assert_non_null(data);
        assert_int_equal(kind ? fv_data_add(data, "input", shape, floats)
                              : fv_data_add_bytes(data, "input", shape, bytes),
                         FV_OK);
        assert_int_equal(fv_data_add(data, "label", number, (float[]){0, 1, 0}), FV_OK);
        fv_data *kept = fit_data(net, data, 1, SIZE_MAX), *wanted = fit_data(net, data, 1, 0);
        fv_data *part = fv_data_slice(wanted, 1, 2);
        float inputs[2][3 * 12], label, *targets[] = {&label};
        size_t size = fv_data_input_size(kept);
        assert_int_equal(size, kind ? 48 : 12);
        assert_int_equal(fv_data_read(kept, NULL, NULL, 2, 1, inputs[0], targets), FV_OK);
        assert_int_equal(fv_data_read(part, NULL, NULL, 1, 1, inputs[1], targets), FV_OK);
        assert_memory_equal(inputs[0], inputs[1], size);
        assert_true(kind || ((uint8_t *)inputs[0])[0] == 1);
        assert_true(!kind || inputs[0][0] == -99.5f);
        fv_data_free(part);
        fv_data_free(wanted);
        fv_data_free(kept);
        fv_data_free(data);
    }
    fv_net_free(net);
}

static void batches_are_the_same(void **state) {
    (void)state;
    fv_net *net = parse(net_text);
    fv_data *data = open_data("m", "train");
    fv_data *kept = fit_data(net, data, 1, SIZE_MAX), *wanted = fit_data(net, data, 1, 0);
    for (int threads = 1; threads < 4; threads++) {
        fv_loader *a = fv_loader_new(kept, 5, 3, FV_LAST_CARRY, 2, threads);
        fv_loader *b = fv_loader_new(wanted, 5, 3, FV_LAST_CARRY, 2, threads);
        assert_non_null(a);
        assert_non_null(b);
        for (int step = 0; step < 20; step++) {
            const fv_batch *x = fv_loader_next(a), *y = fv_loader_next(b);
            assert_true(x && y && x->samples == 5 && y->samples == 5 && y->bytes);
            for (int i = 0; i < 5; i++) {
                assert_int_equal(x->indices[i], y->indices[i]);
                assert_true(x->targets[0][i] == y->targets[0][i]);
                assert_memory_equal(x->source[i], y->source[i], FITTED);
            }
        }
        fv_loader_free(a);
        fv_loader_free(b);
    }
    fv_data_free(wanted);
    fv_data_free(kept);
    fv_data_free(data);
    fv_net_free(net);
}

/* ---- Training ---------------------------------------------------------------------------------
 */

/* The bytes of all weights, summed in a way that sees their order. */
static uint64_t hash_weights(const fv_net *net) {
    static float values[4096];
    uint64_t hash = 1;
    for (int w = 0; w < fv_weight_count(net); w++) {
        fv_weight_info info;
        assert_int_equal(fv_weight_describe(net, w, &info), FV_OK);
        assert_true(info.count <= 4096);
        assert_int_equal(fv_get_weight(net, w, values), FV_OK);
        for (size_t i = 0; i < info.count; i++) {
            uint32_t bits;
            memcpy(&bits, &values[i], 4);
            hash = hash * 0x9e3779b97f4a7c15u + bits;
        }
    }
    return hash;
}

static uint64_t train(const fv_data *data, fv_fit_options options) {
    fv_net *net = parse(net_text);
    options.seed = 5;
    if (fv_fit(net, data, &options))
        fail_msg("%s", fv_error_message());
    uint64_t hash = hash_weights(net);
    fv_net_free(net);
    return hash;
}

static void one_seed_one_net(void **state) {
    (void)state;
    fv_net *net = parse(net_text);
    fv_data *data = open_data("m", "train"), *wanted = fit_data(net, data, 1, 0);
    uint64_t hash = train(data, (fv_fit_options){.threads = 1});
    assert_true(train(data, (fv_fit_options){.threads = 3}) == hash);
    assert_true(train(wanted, (fv_fit_options){.threads = 1}) == hash);
    assert_true(train(wanted, (fv_fit_options){.threads = 3}) == hash);
    fv_data_free(wanted);
    fv_data_free(data);
    fv_net_free(net);
}

static void damage(const char *name) {
    size_t size;
    unsigned char *bytes = read_whole(in_folder(name), &size);
    write_file(in_folder(name), bytes, size - 20);
    free(bytes);
}

static const char damaged[] = "m/train/y/07.png";

/* Damages a picture after the first epoch. */
static bool damage_later(void *argument, const fv_progress *progress) {
    (void)argument;
    if (progress->event == FV_EVENT_EPOCH && progress->epoch == 1)
        damage(damaged);
    return true;
}

/* The run fails when the picture is met, and goes on from its checkpoint once it is whole again. */
static void damaged_while_training(void **state) {
    (void)state;
#ifndef FV_HAVE_JSON
    skip();
#endif
    fv_net *net = parse(net_text);
    fv_data *data = open_data("m", "train"), *wanted = fit_data(net, data, 1, 0);
    uint64_t hash = train(data, (fv_fit_options){.threads = 1});
    fv_fit_options options = {.seed = 5, .folder = in_folder("run"), .observer = damage_later};
    expect_failure(fv_fit(net, wanted, &options), FV_FORMAT, damaged);
    assert_false(access(in_folder("run/checkpoint.safetensors"), F_OK));
    assert_true(access(in_folder("run/model.safetensors"), F_OK) != 0);
    write_picture(damaged, 15, 5 + 15 % 7, 5 + 15 * 3 % 11);
    assert_true(train(wanted, (fv_fit_options){.folder = in_folder("run"), .resume = true}) ==
                hash);
    fv_data_free(wanted);
    fv_data_free(data);
    fv_net_free(net);
}

/* Kept pictures are all met before the first step; of several damaged ones the first is named. */
static void damaged_before(void **state) {
    (void)state;
    fv_net *net = parse(net_text);
    fv_data *data = open_data("m", "train");
    const fv_net *const nets[] = {net};
    fv_score score;
    damage("m/train/y/05.png");
    damage(damaged);
    for (int threads = 1; threads < 4; threads++) {
        fv_fit_options options = {.threads = threads};
        expect_failure(fv_fit(net, data, &options), FV_FORMAT, "m/train/y/05.png: cannot read");
        expect_failure(fv_evaluate(nets, 1, data, 4, threads, false, &score), FV_FORMAT,
                       "m/train/y/05.png: cannot read");
    }
    fv_data_free(data);
    fv_net_free(net);
    net = parse("input 6x5x3\nflatten\ndense 2 softmax\n");
    data = open_data("m", "train");
    expect_failure(fv_fit(net, data, &(fv_fit_options){0}), FV_SHAPE,
                   "m/train/x/00.png: a picture of 5x5x3 does not fit the net's input of 6x5x3");
    fv_data_free(data);
    fv_net_free(net);
}

static void sizes_that_vary(void **state) {
    (void)state;
    fv_net *net = parse("input *x*x3 resize=antialias\nconv 2 1 relu\nglobal_avgpool\ndense 3 "
                        "softmax\n");
    fv_data *data = open_data("a", "train");
    expect_failure(fv_fit(net, data, &(fv_fit_options){0}), FV_SHAPE, "the net takes *x*x3, but");
    fv_data_free(data);
    fv_net_free(net);
}

/* ---- Memory -----------------------------------------------------------------------------------
 */

static void open_without_memory(void **state) {
    (void)state;
    fv_data *data = NULL;
    int failures = -1;
    while (!data) {
        allocations_left = ++failures;
        data = fv_data_open(in_folder("a"), "test");
        allocations_left = -1;
        if (!data)
            expect_failure(fv_error_status(), FV_MEMORY, "out of memory");
    }
    assert_true(failures > 20);
    expect_samples(data, 1, (int[]){8}, (int[]){1});
    assert_int_equal(fv_data_classes(data), 3);
    fv_data_free(data);
}

static void fit_without_memory(void **state) {
    (void)state;
    fv_net *net = parse("input 4x4x1 resize=antialias\nflatten\ndense 3 softmax\n");
    fv_data *data = open_data("a", "train"), *made = NULL;
    int failures = -1;
    while (!made) {
        const fv_data *fitted = data;
        allocations_left = ++failures;
        fv_status status = fv_data_fit(net, 1, SIZE_MAX, &fitted, &made);
        allocations_left = -1;
        if (status)
            expect_failure(status, FV_MEMORY, "out of memory");
        assert_true(fitted == (made ? made : data));
    }
    assert_true(failures > 4 + 7 * 10);
    fv_data_free(made);
    made = fit_data(net, data, 1, 0);
    float label[7], *targets[] = {label};
    uint8_t inputs[7 * 16];
    fv_status status = FV_MEMORY;
    for (failures = 0; status; failures++) {
        allocations_left = failures;
        status = fv_data_read(made, NULL, NULL, 0, 7, inputs, targets);
        allocations_left = -1;
        if (status)
            expect_failure(status, FV_MEMORY, "out of memory");
    }
    fv_data_free(made);
    fv_data_free(data);
    fv_net_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder),
        cmocka_unit_test(bad_folders),
        cmocka_unit_test(links),
        cmocka_unit_test(no_pictures),
        cmocka_unit_test(read_for_a_net),
        cmocka_unit_test(memory_read_for_a_net),
        cmocka_unit_test(batches_are_the_same),
        cmocka_unit_test(one_seed_one_net),
        cmocka_unit_test(damaged_while_training),
        cmocka_unit_test(damaged_before),
        cmocka_unit_test(sizes_that_vary),
        cmocka_unit_test(open_without_memory),
        cmocka_unit_test(fit_without_memory),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
#else
int main(void) {
    puts("skipped: this build reads no PNG pictures");
    return 77;
}
#endif
