/* Tests of src/data: the order of epochs, the loader's batches, data sets and slices. Those of real
 * data sets want FOVEA_DATA, the folder in which they are. */
#include "base/alloc.h"
#include "data/data.h"
#include "files.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

enum { COUNT = 10, SAMPLE = 6, CLASSES = 4, STEPS = 24 };
static const fv_last_batch all_kinds[] = {FV_LAST_SHORT, FV_LAST_DROP, FV_LAST_CARRY};

static uint8_t pixels[COUNT * SAMPLE], labels[COUNT];

/* Ten samples of 2x3x1: sample i is 10 i, 10 i + 1 ..., its label i % 4. */
static fv_data make_data(void) {
    for (int i = 0; i < COUNT; i++) {
        labels[i] = (uint8_t)(i % CLASSES);
        for (int j = 0; j < SAMPLE; j++)
            pixels[i * SAMPLE + j] = (uint8_t)(10 * i + j);
    }
    return (fv_data){.shape = {.rank = 2, .size = {2, 3}, .channels = 1},
                     .count = COUNT,
                     .pixels = pixels,
                     .labels = labels,
                     .classes = CLASSES};
}

/* ---- Order ------------------------------------------------------------------------------- */

static bool is_permutation(const uint32_t *order, uint32_t count) {
    char *seen = calloc(count, 1);
    bool good = seen != NULL;
    for (uint32_t i = 0; good && i < count; i++)
        good = order[i] < count && seen[order[i]]++ == 0;
    free(seen);
    return good;
}

static void order_is_a_permutation(void **state) {
    (void)state;
    static uint32_t order[60000];
    const uint32_t counts[] = {1, 2, 3, 10, 127, 60000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        for (uint32_t epoch = 0; epoch < 4; epoch++) {
            fv_epoch_order(order, counts[i], 7, epoch);
            assert_true(is_permutation(order, counts[i]));
        }
}

static void order_follows_seed_and_epoch(void **state) {
    (void)state;
    enum { SETTINGS = 6, N = 100 };
    const struct {
        uint64_t seed;
        uint32_t epoch;
    } settings[SETTINGS] = {{1, 0}, {1, 1}, {2, 0}, {1 + (1ull << 32), 0}, {0, 1}, {1, UINT32_MAX}};
    uint32_t orders[SETTINGS][N], again[N];
    for (int i = 0; i < SETTINGS; i++)
        fv_epoch_order(orders[i], N, settings[i].seed, settings[i].epoch);
    for (int i = 0; i < SETTINGS; i++) {
        fv_epoch_order(again, N, settings[i].seed, settings[i].epoch);
        assert_memory_equal(again, orders[i], sizeof again);
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(orders[i], orders[j], sizeof again);
    }
}

/* Each sample comes first about equally often: 1000 of 10,000 epochs, deviation 30. */
static void order_is_even(void **state) {
    (void)state;
    int first[COUNT] = {0};
    for (uint32_t epoch = 0; epoch < 10000; epoch++) {
        uint32_t order[COUNT];
        fv_epoch_order(order, COUNT, 3, epoch);
        first[order[0]]++;
    }
    for (int i = 0; i < COUNT; i++)
        assert_in_range(first[i], 1000 - 150, 1000 + 150);
}

static void steps_of_an_epoch(void **state) {
    (void)state;
    assert_int_equal(fv_epoch_steps(60000, 128, FV_LAST_SHORT), 469);
    assert_int_equal(fv_epoch_steps(60000, 128, FV_LAST_DROP), 468);
    assert_int_equal(fv_epoch_steps(60000, 128, FV_LAST_CARRY), 468);
    assert_int_equal(fv_epoch_steps(128, 128, FV_LAST_SHORT), 1);
    assert_int_equal(fv_epoch_steps(128, 128, FV_LAST_DROP), 1);
    assert_int_equal(fv_epoch_steps(5, 128, FV_LAST_SHORT), 1);
    assert_int_equal(fv_epoch_steps(5, 128, FV_LAST_DROP), 0);
}

/* ---- Loader ------------------------------------------------------------------------------ */

/* What a batch should be, by definition: a piece of the epochs' orders one after another. */
static int wanted_batch(int count, int batch, uint64_t seed, fv_last_batch last, int64_t step,
                        uint32_t *epochs, uint32_t *indices) {
    int64_t epoch_steps = fv_epoch_steps((size_t)count, batch, last);
    int64_t first = step * batch;
    int samples = batch;
    if (last != FV_LAST_CARRY) {
        int64_t epoch = step / epoch_steps, position = step % epoch_steps * batch;
        first = epoch * count + position;
        samples = count - position < batch ? (int)(count - position) : batch;
    }
    for (int i = 0; i < samples; i++) {
        uint32_t order[COUNT];
        epochs[i] = (uint32_t)((first + i) / count);
        fv_epoch_order(order, (uint32_t)count, seed, epochs[i]);
        indices[i] = order[(first + i) % count];
    }
    return samples;
}

static void check_batch(const fv_data *data, const fv_batch *got, int batch, uint64_t seed,
                        fv_last_batch last, int64_t step) {
    uint32_t epochs[64], indices[64];
    if (!got)
        fail_msg("no batch at step %d: %s", (int)step, fv_error_message());
    int samples = wanted_batch((int)data->count, batch, seed, last, step, epochs, indices);
    assert_int_equal(got->samples, samples);
    for (int i = 0; i < samples; i++) {
        const uint8_t *bytes = got->source[i];
        assert_int_equal(got->epochs[i], epochs[i]);
        assert_int_equal(got->indices[i], data->first + indices[i]);
        assert_int_equal((int)got->targets[0][i], labels[data->first + indices[i]]);
        assert_memory_equal(bytes, pixels + (data->first + indices[i]) * SAMPLE, SAMPLE);
        assert_ptr_equal(bytes, (const uint8_t *)got->source[0] + i * SAMPLE);
    }
}

/* From every first step on, the batches are those of a run from the start. */
static void batches_of_each_kind(void **state) {
    (void)state;
    fv_data data = make_data();
    const int batches[] = {1, 3, 4, 5, 10, 25};
    for (int kind = 0; kind < 3; kind++)
        for (int b = 0; b < 6; b++)
            for (int64_t first = 0; first < STEPS; first += 5) {
                if (all_kinds[kind] == FV_LAST_DROP && batches[b] > COUNT)
                    continue;
                fv_loader *loader = fv_loader_new(&data, batches[b], 9, all_kinds[kind], first);
                assert_non_null(loader);
                for (int64_t step = first; step < STEPS; step++)
                    check_batch(&data, fv_loader_next(loader), batches[b], 9, all_kinds[kind],
                                step);
                fv_loader_free(loader);
            }
}

static void each_epoch_each_sample_once(void **state) {
    (void)state;
    fv_data data = make_data();
    const fv_last_batch kinds[] = {FV_LAST_SHORT, FV_LAST_CARRY};
    for (int kind = 0; kind < 2; kind++) {
        int seen[6][COUNT] = {{0}}, total = 0;
        fv_loader *loader = fv_loader_new(&data, 4, 1, kinds[kind], 0);
        assert_non_null(loader);
        while (total < 6 * COUNT) {
            const fv_batch *batch = fv_loader_next(loader);
            assert_non_null(batch);
            for (int i = 0; i < batch->samples && total < 6 * COUNT; i++, total++)
                seen[batch->epochs[i]][batch->indices[i]]++;
        }
        fv_loader_free(loader);
        for (int i = 0; i < 6 * COUNT; i++)
            assert_int_equal(seen[i / COUNT][i % COUNT], 1);
    }
}

static void carried_batch_has_two_epochs(void **state) {
    (void)state;
    fv_data data = make_data();
    fv_loader *loader = fv_loader_new(&data, 4, 1, FV_LAST_CARRY, 2);
    assert_non_null(loader);
    const fv_batch *batch = fv_loader_next(loader); /* samples 8, 9 of epoch 0 and 0, 1 of 1 */
    assert_non_null(batch);
    assert_int_equal(batch->samples, 4);
    assert_memory_equal(batch->epochs, ((const uint32_t[]){0, 0, 1, 1}), 4 * sizeof(uint32_t));
    fv_loader_free(loader);
}

/* A batch stays as it is while the next is prepared. */
static void batch_is_valid_until_the_next(void **state) {
    (void)state;
    fv_data data = make_data();
    for (int64_t step = 0; step < STEPS; step++) {
        fv_loader *loader = fv_loader_new(&data, 4, 5, FV_LAST_SHORT, step);
        assert_non_null(loader);
        const fv_batch *batch = fv_loader_next(loader);
        for (int i = 0; i < 50; i++)
            check_batch(&data, batch, 4, 5, FV_LAST_SHORT, step);
        fv_loader_free(loader);
    }
}

static void loader_of_a_slice(void **state) {
    (void)state;
    fv_data data = make_data();
    fv_data *slice = fv_data_slice(&data, 3, 5);
    assert_non_null(slice);
    fv_loader *loader = fv_loader_new(slice, 2, 1, FV_LAST_CARRY, 0);
    assert_non_null(loader);
    for (int64_t step = 0; step < STEPS; step++)
        check_batch(slice, fv_loader_next(loader), 2, 1, FV_LAST_CARRY, step);
    fv_loader_free(loader);
    fv_data_free(slice);
}

static void expect_no_loader(const fv_data *data, int batch, fv_last_batch last, int64_t first,
                             const char *words) {
    assert_null(fv_loader_new(data, batch, 1, last, first));
    expect_message(words);
}

static void loader_refuses(void **state) {
    (void)state;
    fv_data data = make_data();
    expect_no_loader(&data, 0, FV_LAST_SHORT, 0, "batch of 1 or more (not 0)");
    expect_no_loader(&data, -1, FV_LAST_SHORT, 0, "(not -1)");
    expect_no_loader(&data, 1, FV_LAST_SHORT, -1, "first step of 0 or more (not -1)");
    expect_no_loader(&data, 11, FV_LAST_DROP, 0, "batch of 11 is more than the 10 samples");
    data.count = 0;
    expect_no_loader(&data, 1, FV_LAST_SHORT, 0, "data set of 0 samples");
}

/* Random numbers have 32 bits for the epoch: the last one works, then it ends with a message. */
static void last_epoch(void **state) {
    (void)state;
    fv_data data = make_data();
    const int64_t last_step[] = {3 * (1ll << 32) - 1, 2 * (1ll << 32) - 1,
                                 (COUNT * (1ll << 32)) / 4 - 1};
    const int64_t far_step[] = {INT64_MAX, INT64_MAX / 2, INT64_MAX};
    for (int kind = 0; kind < 3; kind++) {
        fv_loader *loader = fv_loader_new(&data, 4, 1, all_kinds[kind], last_step[kind]);
        assert_non_null(loader);
        check_batch(&data, fv_loader_next(loader), 4, 1, all_kinds[kind], last_step[kind]);
        for (int i = 0; i < 3; i++) {
            assert_null(fv_loader_next(loader));
            expect_message("2^32 epochs");
        }
        fv_loader_free(loader);
        loader = fv_loader_new(&data, 4, 1, all_kinds[kind], far_step[kind]);
        assert_non_null(loader);
        assert_null(fv_loader_next(loader));
        fv_loader_free(loader);
    }
}

static void loader_stops_at_any_time(void **state) {
    (void)state;
    fv_data data = make_data();
    for (int i = 0; i < 60; i++) {
        fv_loader *loader = fv_loader_new(&data, 3, 1, FV_LAST_SHORT, 0);
        assert_non_null(loader);
        for (int step = 0; step < i % 4; step++)
            assert_non_null(fv_loader_next(loader));
        fv_loader_free(loader);
    }
    fv_loader_free(NULL);
}

static void loader_without_memory(void **state) {
    (void)state;
    fv_data data = make_data();
    fv_loader *loader = NULL;
    int failures = -1;
    while (!loader) {
        allocations_left = ++failures;
        loader = fv_loader_new(&data, 3, 1, FV_LAST_SHORT, 0);
        allocations_left = -1;
        if (!loader)
            expect_message("out of memory");
    }
    assert_true(failures > 2);
    fv_loader_free(loader);
}

/* ---- Data sets and slices ---------------------------------------------------------------- */

static void slices(void **state) {
    (void)state;
    fv_data data = make_data();
    fv_data *slice = fv_data_slice(&data, 2, 6);
    fv_data *part = slice ? fv_data_slice(slice, 4, 2) : NULL; /* samples 6 and 7 */
    assert_non_null(part);
    assert_ptr_equal(part->owner, &data);
    assert_int_equal(part->first, 6);
    assert_int_equal(fv_data_count(part), 2);
    assert_int_equal(fv_data_classes(part), CLASSES);
    assert_int_equal(fv_data_shape(part).size[1], 3);
    fv_data_free(slice); /* only the owner must stay */
    float values[SAMPLE];
    int label;
    assert_int_equal(fv_data_sample(part, 1, values, &label), FV_OK);
    assert_int_equal(label, 3);
    for (int j = 0; j < SAMPLE; j++)
        assert_true(values[j] == (float)(70 + j));
    expect_failure(fv_data_sample(part, 2, values, &label), FV_INVALID, "no sample 2");
    fv_data_free(part);
}

static void slices_out_of_bounds(void **state) {
    (void)state;
    fv_data data = make_data();
    const size_t bad[][2] = {{0, 0}, {0, 11}, {10, 1}, {11, 1}, {1, SIZE_MAX}, {SIZE_MAX, 2}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(fv_data_slice(&data, bad[i][0], bad[i][1]));
        expect_message("in a data set of 10");
    }
    fv_data *whole = fv_data_slice(&data, 0, 10);
    assert_non_null(whole);
    fv_data_free(whole);
    fv_data_free(NULL);
}

static void make_sub_folder(const char *name) {
    assert_int_equal(mkdir(in_folder(name), 0777), 0);
}

/* `axes` sizes: count, 2, 3 ...; values 0, 1, 2 ... modulo `below`. */
static void write_idx(const char *name, int axes, uint8_t count, int below) {
    uint8_t bytes[400] = {0, 0, 8, (uint8_t)axes};
    size_t size = 4, values = 1;
    for (int axis = 0; axis < axes; axis++, size += 4) {
        bytes[size + 3] = axis ? (uint8_t)(axis + 1) : count;
        values *= bytes[size + 3];
    }
    for (size_t i = 0; i < values; i++)
        bytes[size++] = (uint8_t)(i % (size_t)below);
    write_file(in_folder(name), bytes, size);
}

static void expect_no_data(const char *name, const char *split, const char *words) {
    assert_null(fv_data_open(name, split));
    expect_message(words);
}

static void a_folder(void **state) {
    (void)state;
    make_sub_folder("a");
    write_idx("a/train-images-idx3-ubyte", 3, 5, 256);
    write_idx("a/train-labels-idx1-ubyte", 1, 5, 3);
    write_idx("a/t10k-images.idx2-ubyte", 2, 4, 256);
    write_idx("a/t10k-labels.idx1-ubyte", 1, 4, 256);
    write_idx("a/val-voxels32.idx4-ubyte", 4, 2, 256);
    write_idx("a/val-labels.idx1-ubyte", 1, 2, 1);
    const char *place = in_folder("a");
    fv_data *data = fv_data_open(place, "train");
    assert_non_null(data);
    fv_shape shape = fv_data_shape(data);
    assert_int_equal(fv_data_count(data), 5);
    assert_int_equal(shape.rank, 2);
    assert_int_equal(shape.size[0], 2);
    assert_int_equal(shape.size[1], 3);
    assert_int_equal(shape.channels, 1);
    assert_int_equal(fv_data_classes(data), 3);
    assert_null(fv_data_class_name(data, 0));
    assert_string_equal(fv_data_place(data), place);
    float values[6];
    int label;
    assert_int_equal(fv_data_sample(data, 4, values, &label), FV_OK);
    assert_true(values[5] == 29.0f);
    assert_int_equal(label, 1);
    fv_data_free(data);
    data = fv_data_open(place, "test");
    assert_non_null(data);
    assert_int_equal(fv_data_shape(data).rank, 1);
    assert_int_equal(fv_data_classes(data), 4);
    fv_data_free(data);
    data = fv_data_open(place, "val");
    assert_non_null(data);
    shape = fv_data_shape(data);
    assert_int_equal(shape.rank, 3);
    assert_int_equal(shape.size[2], 4);
    assert_int_equal(fv_data_classes(data), 1);
    fv_data_free(data);
    expect_no_data(place, "tset", "no split 'tset': expected train, val or test; did you mean");
    expect_no_data(place, "other", "no split 'other': expected train, val or test");
}

static void bad_folders(void **state) {
    (void)state;
    make_sub_folder("b");
    const char *place = in_folder("b");
    expect_no_data(place, "test",
                   "has no pictures for 'test': looked for a file that begins with "
                   "t10k- or test-");
    write_idx("b/train-images-idx3-ubyte", 3, 5, 256);
    write_idx("b/notes-labels-idx1-ubyte", 1, 5, 3);
    write_file(in_folder("b/train-labels-idx1-ubyte.txt"), "x", 1);
    expect_no_data(place, "train", "has no labels for 'train'");
    write_idx("b/train-labels-idx1-ubyte", 1, 4, 3);
    expect_no_data(place, "train", "train-labels-idx1-ubyte has 4 labels, but ");
    expect_message("train-images-idx3-ubyte has 5 pictures");
    write_idx("b/train-labels-idx1-ubyte", 2, 5, 3);
    expect_no_data(place, "train", "labels with 2 axes, expected 1");
    write_idx("b/train-labels-idx1-ubyte", 1, 5, 3);
    write_idx("b/train-images-idx3-ubyte", 1, 5, 3);
    expect_no_data(place, "train", "has 1 axis, expected 2 to 4");
    write_idx("b/train-images-idx3-ubyte", 3, 5, 3);
    write_idx("b/train-images-idx3-ubyte.gz", 3, 5, 3);
    expect_no_data(place, "train", "two files of pictures");
    expect_message("leave only one there");
}

static void known_sets(void **state) {
    (void)state;
    unsetenv("HOME");
    setenv("FOVEA_DATA", "", 1);
    expect_no_data("mnist", "train", "(looked for /usr/share/datasets/mnist)");
    setenv("FOVEA_DATA", in_folder("data"), 1);
    setenv("HOME", in_folder("home"), 1);
    make_sub_folder("data");
    expect_no_data("mnist", "train", "the data set mnist is not on this machine (looked for ");
    expect_message("home/.local/share/fovea/mnist, /usr/share/datasets/mnist)");
    expect_message("to get it: put the four IDX files");
    expect_no_data("mnits", "train", "no data set 'mnits'; did you mean 'mnist'? `fovea data`");
    expect_no_data("quite-other", "train", "no data set or folder 'quite-other'");
    expect_no_data("no/folder", "train", "no folder 'no/folder'");
    expect_no_data("", "train", "no folder ''");
    make_sub_folder("data/mnist");
    write_idx("data/mnist/train-images-idx3-ubyte", 3, 5, 256);
    write_idx("data/mnist/train-labels-idx1-ubyte", 1, 5, 3);
    write_idx("data/mnist/test-images-idx3-ubyte", 3, 12, 256);
    write_idx("data/mnist/test-labels-idx1-ubyte", 1, 12, 12);
    fv_data *data = fv_data_open("mnist", "train");
    assert_non_null(data);
    assert_int_equal(fv_data_classes(data), 10); /* though only 3 occur */
    assert_string_equal(fv_data_class_name(data, 9), "9");
    assert_null(fv_data_class_name(data, 10));
    assert_null(fv_data_class_name(data, -1));
    fv_data_free(data);
    data = fv_data_open("mnist", "test"); /* labels up to 11: not what is known as mnist */
    assert_non_null(data);
    assert_int_equal(fv_data_classes(data), 12);
    assert_null(fv_data_class_name(data, 0));
    fv_data_free(data);
}

static void table_of_known_sets(void **state) {
    (void)state;
    int count = 0;
    for (; fv_data_known(count); count++) {
        const fv_known_data *known = fv_data_known(count);
        assert_true(*known->name && *known->description && *known->how_to_get);
    }
    assert_int_equal(count, 2);
    assert_null(fv_data_known(-1));
    int classes;
    assert_string_equal(fv_known_classes("fashion-mnist", &classes)[9], "Ankle boot");
    assert_int_equal(classes, 10);
    assert_null(fv_known_classes("other", &classes));
    assert_int_equal(classes, 0);
}

static void data_without_memory(void **state) {
    (void)state;
    fv_data *data = NULL;
    const char *place = in_folder("a");
    int failures = -1;
    while (!data) {
        allocations_left = ++failures;
        data = fv_data_open(place, "train");
        allocations_left = -1;
        if (!data)
            expect_message("out of memory");
    }
    assert_true(failures > 4);
    fv_data_free(data);
}

/* ---- Real data --------------------------------------------------------------------------- */

static const char *real_folder; /* FOVEA_DATA as it was at the start */

static void real_mnist(void **state) {
    (void)state;
    if (!real_folder) {
        puts("skipped: FOVEA_DATA is not set");
        skip();
    }
    setenv("FOVEA_DATA", real_folder, 1);
    fv_data *train = fv_data_open("mnist", "train"), *test = fv_data_open("mnist", "test");
    if (!train || !test)
        fail_msg("%s", fv_error_message());
    assert_int_equal(fv_data_count(train), 60000);
    assert_int_equal(fv_data_count(test), 10000);
    assert_int_equal(fv_data_classes(test), 10);
    int zeros = 0;
    double sum = 0;
    for (size_t i = 0; i < 60000; i++)
        zeros += train->labels[i] == 0;
    for (size_t i = 0; i < 60000 * (size_t)784; i++)
        sum += train->pixels[i];
    assert_int_equal(zeros, 5923);
    double mean = sum / (60000.0 * 784 * 255); /* 0.1307, as in every tutorial */
    assert_true(mean > 0.13065 && mean < 0.13067);
    float values[784];
    int label;
    assert_int_equal(fv_data_sample(test, 0, values, &label), FV_OK);
    assert_int_equal(label, 7);
    fv_data_free(train);
    fv_data_free(test);
}

static void real_volumes(void **state) {
    (void)state;
    if (!real_folder) {
        puts("skipped: FOVEA_DATA is not set");
        skip();
    }
    setenv("FOVEA_DATA", real_folder, 1);
    fv_data *data = fv_data_open("adrenal3d", "val");
    if (!data) {
        printf("skipped: %s\n", fv_error_message());
        skip();
    }
    fv_shape shape = fv_data_shape(data);
    assert_int_equal(fv_data_count(data), 98);
    assert_int_equal(shape.rank, 3);
    assert_int_equal(fv_shape_count(&shape), 32 * 32 * 32);
    assert_int_equal(fv_data_classes(data), 2);
    fv_data_free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_a_permutation),
        cmocka_unit_test(order_follows_seed_and_epoch),
        cmocka_unit_test(order_is_even),
        cmocka_unit_test(steps_of_an_epoch),
        cmocka_unit_test(batches_of_each_kind),
        cmocka_unit_test(each_epoch_each_sample_once),
        cmocka_unit_test(carried_batch_has_two_epochs),
        cmocka_unit_test(batch_is_valid_until_the_next),
        cmocka_unit_test(loader_of_a_slice),
        cmocka_unit_test(loader_refuses),
        cmocka_unit_test(last_epoch),
        cmocka_unit_test(loader_stops_at_any_time),
        cmocka_unit_test(loader_without_memory),
        cmocka_unit_test(slices),
        cmocka_unit_test(slices_out_of_bounds),
        cmocka_unit_test(a_folder),
        cmocka_unit_test(bad_folders),
        cmocka_unit_test(known_sets),
        cmocka_unit_test(table_of_known_sets),
        cmocka_unit_test(data_without_memory),
        cmocka_unit_test(real_mnist),
        cmocka_unit_test(real_volumes),
    };
    const char *set = getenv("FOVEA_DATA");
    real_folder = set && *set ? strdup(set) : NULL;
    int failures = cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
    free((void *)(uintptr_t)real_folder);
    return failures;
}
