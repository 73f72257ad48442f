/* Tests of src/data: the order of epochs, the loader's batches, data sets and their fields, slices,
 * folders. Those of real data sets want FOVEA_DATA, the folder in which they are. */
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
    static char place[] = "pixels";
    return (fv_data){
        .count = COUNT,
        .column_count = 2,
        .columns = {{.field = {"input", {.rank = 2, .size = {2, 3}, .channels = 1}},
                     .values = SAMPLE,
                     .bytes = pixels},
                    {.field = {"label", {.channels = 1}}, .values = 1, .bytes = labels}},
        .classes = CLASSES,
        .place = place};
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
                fv_loader *loader = fv_loader_new(&data, batches[b], 9, all_kinds[kind], first, 1);
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
        fv_loader *loader = fv_loader_new(&data, 4, 1, kinds[kind], 0, 1);
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
    fv_loader *loader = fv_loader_new(&data, 4, 1, FV_LAST_CARRY, 2, 1);
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
        fv_loader *loader = fv_loader_new(&data, 4, 5, FV_LAST_SHORT, step, 1);
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
    fv_loader *loader = fv_loader_new(slice, 2, 1, FV_LAST_CARRY, 0, 1);
    assert_non_null(loader);
    for (int64_t step = 0; step < STEPS; step++)
        check_batch(slice, fv_loader_next(loader), 2, 1, FV_LAST_CARRY, step);
    fv_loader_free(loader);
    fv_data_free(slice);
}

static void expect_no_loader(const fv_data *data, int batch, fv_last_batch last, int64_t first,
                             const char *words) {
    assert_null(fv_loader_new(data, batch, 1, last, first, 1));
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
    data = make_data();
    data.column_count = 0;
    expect_no_loader(&data, 1, FV_LAST_SHORT, 0, "no field 'input' yet");
    data = make_data();
    data.columns[1].values = SIZE_MAX / 8;
    expect_no_loader(&data, 3, FV_LAST_SHORT, 0, "larger than any memory");
}

/* Random numbers have 32 bits for the epoch: the last one works, then it ends with a message. */
static void last_epoch(void **state) {
    (void)state;
    fv_data data = make_data();
    const int64_t last_step[] = {3 * (1ll << 32) - 1, 2 * (1ll << 32) - 1,
                                 (COUNT * (1ll << 32)) / 4 - 1};
    const int64_t far_step[] = {INT64_MAX, INT64_MAX / 2, INT64_MAX};
    for (int kind = 0; kind < 3; kind++) {
        fv_loader *loader = fv_loader_new(&data, 4, 1, all_kinds[kind], last_step[kind], 1);
        assert_non_null(loader);
        check_batch(&data, fv_loader_next(loader), 4, 1, all_kinds[kind], last_step[kind]);
        for (int i = 0; i < 3; i++) {
            assert_null(fv_loader_next(loader));
            expect_message("2^32 epochs");
        }
        fv_loader_free(loader);
        loader = fv_loader_new(&data, 4, 1, all_kinds[kind], far_step[kind], 1);
        assert_non_null(loader);
        assert_null(fv_loader_next(loader));
        fv_loader_free(loader);
    }
}

static void loader_stops_at_any_time(void **state) {
    (void)state;
    fv_data data = make_data();
    for (int i = 0; i < 60; i++) {
        fv_loader *loader = fv_loader_new(&data, 3, 1, FV_LAST_SHORT, 0, 1);
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
        loader = fv_loader_new(&data, 3, 1, FV_LAST_SHORT, 0, 1);
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
    assert_ptr_equal(part->columns[0].bytes, pixels + 6 * SAMPLE);
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

/* ---- Fields ------------------------------------------------------------------------------ */

static const fv_shape number = {.channels = 1};

/* Ten samples: input 2x3x1 of floats i + j / 8, mask 2x2x1 of bytes i + j, label i % 4, age i / 2.
 */
static fv_data *make_fields(void) {
    float input[COUNT * SAMPLE], label[COUNT], age[COUNT];
    uint8_t mask[COUNT * 4];
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j < SAMPLE; j++)
            input[i * SAMPLE + j] = (float)i + (float)j / 8;
        for (int j = 0; j < 4; j++)
            mask[i * 4 + j] = (uint8_t)(i + j);
        label[i] = (float)(i % CLASSES);
        age[i] = (float)i / 2;
    }
    const fv_shape shape = {.rank = 2, .size = {2, 3}, .channels = 1};
    const fv_shape mask_shape = {.rank = 2, .size = {2, 2}, .channels = 1};
    fv_data *data = fv_data_new(COUNT);
    assert_non_null(data);
    if (fv_data_add(data, "input", shape, input) ||
        fv_data_add_bytes(data, "mask", mask_shape, mask) ||
        fv_data_add(data, "label", number, label) || fv_data_add(data, "age", number, age))
        fail_msg("%s", fv_error_message());
    return data; /* of copies: the arrays end here */
}

/* Sample `index` of make_fields() in the arrays. */
static void check_fields(uint32_t index, const float *input, const float *mask, float label,
                         float age) {
    for (int j = 0; j < SAMPLE; j++)
        assert_true(input[j] == (float)index + (float)j / 8);
    for (int j = 0; j < 4; j++)
        assert_true(mask[j] == (float)index + (float)j);
    assert_true(label == (float)(index % CLASSES));
    assert_true(age == (float)index / 2);
}

static void fields_in_memory(void **state) {
    (void)state;
    fv_data *data = make_fields();
    fv_shape shape;
    const char *const names[] = {"input", "mask", "label", "age"};
    for (int i = 0; i < 4; i++)
        assert_string_equal(fv_data_field(data, i, &shape), names[i]);
    assert_null(fv_data_field(data, 4, &shape));
    assert_null(fv_data_field(data, -1, NULL));
    assert_string_equal(fv_data_field(data, 1, &shape), "mask");
    assert_int_equal(shape.rank, 2);
    assert_int_equal(shape.size[1], 2);
    fv_field fields[FV_MOST_FIELDS];
    assert_int_equal(fv_data_fields(data, fields), 3);
    assert_string_equal(fields[2].name, "age");
    assert_int_equal(fields[2].shape.channels, 1);
    assert_int_equal(fv_data_count(data), COUNT);
    assert_int_equal(fv_data_shape(data).size[1], 3);
    assert_int_equal(fv_data_classes(data), CLASSES);
    assert_null(fv_data_class_name(data, 0));
    assert_string_equal(fv_data_place(data), "memory");
    assert_false(fv_data_bytes(data));
    float values[SAMPLE];
    int label;
    assert_int_equal(fv_data_sample(data, 7, values, &label), FV_OK);
    assert_int_equal(label, 3);
    assert_true(values[5] == 7.625f);
    fv_data_free(data);
}

static void expect_no_field(fv_data *data, const char *name, fv_shape shape, const char *words) {
    static const float values[COUNT * SAMPLE];
    expect_failure(fv_data_add(data, name, shape, values), FV_INVALID, words);
}

static void fields_refused(void **state) {
    (void)state;
    assert_null(fv_data_new(0));
    expect_message("1 sample or more");
    fv_data *data = fv_data_new(COUNT);
    assert_non_null(data);
    assert_null(fv_data_slice(data, 0, 1));
    expect_message("no field 'input' yet");
    expect_failure(fv_data_sample(data, 0, &(float){0}, &(int){0}), FV_INVALID, "no field 'input'");
    assert_null(fv_data_field(data, 0, NULL));
    expect_no_field(data, "label", number, "'label' comes before the input: add 'input' first");
    expect_no_field(data, "input", (fv_shape){0}, "'input' is of 0: all sizes must be 1 or more");
    expect_no_field(data, "input", (fv_shape){.rank = 2, .size = {2, -1}, .channels = 1}, "2x*x1");
    expect_no_field(data, "input", (fv_shape){.rank = 4, .channels = 1}, "4 spatial sizes");
    expect_no_field(data, "input", (fv_shape){.rank = -1, .channels = 1}, "-1 spatial sizes");
    const int big = 0x7fffffff;
    expect_no_field(data, "input", (fv_shape){.rank = 3, .size = {big, big, big}, .channels = big},
                    "10 samples of 2147483647x2147483647x2147483647x2147483647 are more than any");
    expect_no_field(data, "input", (fv_shape){.rank = 1, .size = {big}, .channels = big},
                    "more than any memory holds");
    expect_failure(fv_data_add(data, "input", number, NULL), FV_INVALID, "given no values");
    assert_int_equal(fv_data_add(data, "input", number, (float[COUNT]){0}), FV_OK);
    expect_no_field(data, "input", number, "has a field 'input' already");
    expect_no_field(data, "", number, "the field ''");
    expect_no_field(data, "two words", number, "the field 'two words': a name has 1 to 31");
    expect_no_field(data, "12345678901234567890123456789012", number, "1 to 31");
    char name[] = "0";
    for (int i = 0; i < FV_MOST_FIELDS; i++, name[0]++)
        assert_int_equal(fv_data_add(data, name, number, (float[COUNT]){0}), FV_OK);
    expect_no_field(data, name, number, "one too many: at most 8 beside the input");
    assert_int_equal(fv_data_classes(data), 0);
    float values[1];
    int label = 9;
    assert_int_equal(fv_data_sample(data, 0, values, &label), FV_OK);
    assert_int_equal(label, 0); /* there is none */
    fv_data_free(data);
}

static void expect_classes(int classes, float label, fv_shape shape) {
    float values[2 * 2] = {1, label, 0, -1};
    fv_data *data = fv_data_new(2);
    if (!data || fv_data_add(data, "input", (fv_shape){.channels = 2}, values) ||
        fv_data_add(data, "label", shape, values))
        fail_msg("%s", fv_error_message());
    assert_int_equal(fv_data_classes(data), classes);
    int first;
    assert_int_equal(fv_data_sample(data, 1, values, &first), FV_OK);
    fv_data_free(data);
}

/* Largest index + 1 over all places, where all values are indices. */
static void classes_of_labels(void **state) {
    (void)state;
    const fv_shape map = {.rank = 1, .size = {2}, .channels = 1};
    expect_classes(6, 5, number);
    expect_classes(2, -7, number);
    expect_classes(6, 5, map);
    expect_classes(0, 5, (fv_shape){.channels = 2}); /* values, not indices */
    const float none[] = {0.5f, 1e9f, -1e9f, (float)(0.0 / 0.0), 1.0f / 0.0f};
    for (int i = 0; i < 5; i++)
        expect_classes(0, none[i], number);
}

static void fields_without_memory(void **state) {
    (void)state;
    const fv_shape shape = {.channels = 6};
    for (int failures = 0; failures < 4; failures++) {
        allocations_left = failures;
        fv_data *data = fv_data_new(COUNT);
        fv_status status = data ? fv_data_add_bytes(data, "input", shape, pixels) : FV_MEMORY;
        if (!status)
            status = fv_data_add(data, "label", number, (float[COUNT]){0});
        allocations_left = -1;
        expect_failure(status, FV_MEMORY, "out of memory");
        fv_data_free(data);
    }
}

/* Floats and all fields come in the order of the epochs, in the arrays of their fields. */
static void batches_with_fields(void **state) {
    (void)state;
    fv_data *whole = make_fields(), *slice = fv_data_slice(whole, 2, 7);
    assert_non_null(slice);
    const fv_data *sets[] = {whole, slice};
    for (int set = 0; set < 2; set++) {
        fv_loader *loader = fv_loader_new(sets[set], 4, 9, FV_LAST_CARRY, 0, 1);
        assert_non_null(loader);
        for (int64_t step = 0; step < STEPS; step++) {
            uint32_t epochs[4], indices[4], first = sets[set]->first;
            int samples =
                wanted_batch((int)sets[set]->count, 4, 9, FV_LAST_CARRY, step, epochs, indices);
            const fv_batch *got = fv_loader_next(loader);
            assert_non_null(got);
            assert_int_equal(got->samples, samples);
            assert_false(got->bytes);
            for (int i = 0; i < samples; i++) {
                assert_int_equal(got->epochs[i], epochs[i]);
                assert_int_equal(got->indices[i], first + indices[i]);
                check_fields(got->indices[i], got->source[i], got->targets[0] + 4 * i,
                             got->targets[1][i], got->targets[2][i]);
            }
        }
        fv_loader_free(loader);
    }
    fv_data_free(slice);
    fv_data_free(whole);
}

static void loader_of_fields_without_memory(void **state) {
    (void)state;
    fv_data *data = make_fields();
    fv_loader *loader = NULL;
    int failures = -1;
    while (!loader) {
        allocations_left = ++failures;
        loader = fv_loader_new(data, 3, 1, FV_LAST_SHORT, 0, 1);
        allocations_left = -1;
        if (!loader)
            expect_message("out of memory");
    }
    assert_int_equal(failures, 1 + 1 + 2 * (1 + 3 + 3)); /* loader, order, two slots */
    fv_loader_free(loader);
    fv_data_free(data);
}

/* A field whose target is NULL is left out; a slice counts from its own start. */
static void samples_read(void **state) {
    (void)state;
    fv_data *data = make_fields(), *slice = fv_data_slice(data, 3, 6);
    assert_non_null(slice);
    const size_t size = fv_data_input_size(slice);
    assert_int_equal(size, sizeof(float) * slice->columns[0].values);
    const uint32_t order[] = {0, 2, 3};
    float inputs[64];
    float mask[8], label[2], age[2] = {-1, -1};
    assert_true(2 * size <= sizeof inputs);
    assert_int_equal(fv_data_read(slice, NULL, order, 1, 2, inputs, (float *[]){mask, label, NULL}),
                     FV_OK);
    for (uint32_t i = 0; i < 2; i++) {
        check_fields(5 + i, inputs + i * slice->columns[0].values, mask + 4 * i, label[i],
                     (float)(5 + i) / 2);
        assert_true(age[i] == -1);
    }
    assert_int_equal(fv_data_read(slice, NULL, NULL, 5, 1, inputs, (float *[]){NULL, NULL, age}),
                     FV_OK);
    assert_true(age[0] == 4 && age[1] == -1);
    fv_data_free(slice);
    fv_data_free(data);
}

/* Floats stay floats, below 0 and above 255 too; the other fields are those of the original. */
static void float_inputs_resized(void **state) {
    (void)state;
    const fv_shape shape = {.rank = 2, .size = {1, 1}, .channels = 1};
    float values[] = {-1.25f, 300.5f};
    fv_data *data = fv_data_new(2), *made;
    if (!data || fv_data_add(data, "input", shape, values) ||
        fv_data_add(data, "age", number, values))
        fail_msg("%s", fv_error_message());
    fv_net *net = fv_net_parse("input 2x2x1 resize=bilinear\nflatten\ndense 2 softmax", "a.net");
    assert_non_null(net);
    fv_data *part = fv_data_slice(data, 1, 1);
    const fv_data *fitted = part;
    assert_int_equal(fv_data_fit(net, 1, SIZE_MAX, &fitted, &made), FV_OK);
    assert_ptr_equal(fitted, made);
    assert_false(fv_data_bytes(made));
    for (int i = 0; i < 4; i++)
        assert_true(made->columns[0].floats[i] == 300.5f);
    assert_ptr_equal(made->columns[1].floats, part->columns[1].floats);
    assert_int_equal(fv_data_shape(made).size[1], 2);
    assert_int_equal(fv_data_shape(part).size[1], 1);
    fv_data_free(made);
    fitted = part;
    for (int failures = 0; failures < 5; failures++) {
        allocations_left = failures;
        fv_status status = fv_data_fit(net, 1, SIZE_MAX, &fitted, &made);
        allocations_left = -1;
        fitted = part;
        expect_failure(status, FV_MEMORY, "out of memory");
        assert_null(made);
    }
    fv_data_free(part);
    fv_data_free(data);
    fv_net_free(net);
}

/* ---- Folders ----------------------------------------------------------------------------- */

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

/* ---- Folders of arrays ------------------------------------------------------------------- */

/* A .npy file of `count` values of `size` bytes. */
static void write_array(const char *name, const char *type, const char *shape, const void *values,
                        size_t count, size_t size) {
    char file[1024] = "\x93NUMPY\1\0\166\0", dictionary[118];
    snprintf(dictionary, sizeof dictionary,
             "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", type, shape);
    snprintf(file + 10, 119, "%-117s\n", dictionary);
    assert_true(128 + count * size <= sizeof file);
    memcpy(file + 128, values, count * size);
    write_file(in_folder(name), file, 128 + count * size);
}

static void write_bytes(const char *name, const char *shape, size_t count) {
    uint8_t values[256];
    for (size_t i = 0; i < count; i++)
        values[i] = (uint8_t)(i % 200);
    write_array(name, "|u1", shape, values, count, 1);
}

static void a_folder_of_arrays(void **state) {
    (void)state;
    make_sub_folder("c");
    const char *place = in_folder("c");
    const int64_t numbers[] = {2, 0, 6};
    const double doubles[] = {0.5, -1, 2.25};
    float floats[3 * 4];
    for (int i = 0; i < 12; i++)
        floats[i] = (float)i / 4;
    write_bytes("c/train-input.npy", "(3, 2, 4, 1)", 24);
    write_array("c/train-label.npy", "<i8", "(3,)", numbers, 3, 8);
    write_array("c/train-age.npy", "<f8", "(3, 1)", doubles, 3, 8);
    write_bytes("c/train-mask.npy", "(3, 2, 2, 2)", 24);
    write_array("c/test-input.npy", "<f4", "(3, 4)", floats, 12, 4);
    write_array("c/val-input.npy", "<f4", "(1, 1, 1, 2, 6)", floats, 12, 4);
    write_file(in_folder("c/train-notes.txt"), "x", 1);
    write_file(in_folder("c/training-input.npy"), "x", 1);
    fv_data *data = fv_data_open(place, "train");
    if (!data)
        fail_msg("%s", fv_error_message());
    const char *const names[] = {"input", "age", "label", "mask"};
    const int ranks[] = {2, 0, 0, 2};
    for (int i = 0; i < 4; i++) {
        fv_shape shape;
        assert_string_equal(fv_data_field(data, i, &shape), names[i]);
        assert_int_equal(shape.rank, ranks[i]);
        assert_int_equal(shape.channels, i == 3 ? 2 : 1);
    }
    assert_null(fv_data_field(data, 4, NULL));
    assert_int_equal(fv_data_count(data), 3);
    assert_int_equal(fv_data_classes(data), 7);
    assert_true(fv_data_bytes(data));
    assert_string_equal(fv_data_place(data), place);
    uint8_t input[8];
    float age[1], label[1], mask[8];
    assert_int_equal(fv_data_input_size(data), sizeof input);
    assert_int_equal(fv_data_read(data, NULL, NULL, 2, 1, input, (float *[]){age, label, mask}),
                     FV_OK);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(input[i], 16 + i);
        assert_true(mask[i] == (float)(16 + i));
    }
    assert_true(age[0] == 2.25f && label[0] == 6);
    fv_data_free(data);
    data = fv_data_open(place, "test"); /* vectors, and nothing but inputs */
    assert_non_null(data);
    assert_int_equal(fv_data_shape(data).rank, 0);
    assert_int_equal(fv_data_shape(data).channels, 4);
    assert_false(fv_data_bytes(data));
    float values[12];
    int none = 9;
    assert_int_equal(fv_data_sample(data, 2, values, &none), FV_OK);
    assert_true(values[3] == 2.75f && none == 0);
    fv_data_free(data);
    data = fv_data_open(place, "val");
    assert_non_null(data);
    assert_int_equal(fv_data_shape(data).rank, 3);
    assert_int_equal(fv_data_shape(data).size[2], 2);
    assert_int_equal(fv_data_shape(data).channels, 6);
    fv_data_free(data);
}

static void bad_folders_of_arrays(void **state) {
    (void)state;
    make_sub_folder("d");
    char place[512];
    snprintf(place, sizeof place, "%s", in_folder("d"));
    expect_no_data(place, "train", "an array train-input.npy");
    assert_int_equal(fv_error_status(), FV_IO);
    write_bytes("d/train-label.npy", "(3,)", 3);
    expect_no_data(place, "train", "d/train-label.npy is there, but not ");
    expect_message("d/train-input.npy, the samples themselves");
    write_bytes("d/train-input.npy", "(3,)", 3);
    expect_no_data(place, "train", "train-input.npy: has 1 axes, expected 2 to 5");
    write_bytes("d/train-input.npy", "(4, 2)", 8);
    expect_no_data(place, "train", "train-label.npy has 3 samples, but ");
    expect_message("train-input.npy has 4");
    write_bytes("d/train-input.npy", "(3, 2)", 6);
    write_bytes("d/train-label.npy", "()", 1);
    expect_no_data(place, "train", "train-label.npy: has 0 axes, expected 1 to 5");
    write_bytes("d/train-label.npy", "(3, 1000000)", 3);
    expect_no_data(place, "train", "train-label.npy: cut off");
    write_bytes("d/train-label.npy", "(3, 4294967296, 4294967296, 4294967296)", 3);
    expect_no_data(place, "train", "more values than any memory holds");
    write_bytes("d/train-label.npy", "(3, 0)", 3);
    expect_no_data(place, "train", "train-label.npy: the array is empty");
    write_array("d/train-label.npy", "<U1", "(3,)", "aaaabbbbcccc", 3, 4);
    expect_no_data(place, "train", "dtype '<U1' is not read");
    write_bytes("d/train-label.npy", "(3,)", 3);
    write_bytes("d/train-a b.npy", "(3,)", 3);
    expect_no_data(place, "train", "train-a b.npy: the field 'a b'");
    remove(in_folder("d/train-a b.npy"));
    write_bytes("d/train-12345678901234567890123456789012.npy", "(3,)", 3);
    expect_no_data(place, "train", "name of a field has at most 31 letters");
    remove(in_folder("d/train-12345678901234567890123456789012.npy"));
    write_idx("d/train-images-idx3-ubyte", 3, 3, 256);
    expect_no_data(place, "train", "two data sets for 'train': ");
    expect_message("d/train-images-idx3-ubyte and ");
    expect_message("d/train-input.npy; leave only");
    remove(in_folder("d/train-images-idx3-ubyte"));
    char name[] = "d/train-0.npy";
    for (; name[8] < '8'; name[8]++)
        write_bytes(name, "(3,)", 3);
    expect_no_data(place, "train", "one array too many: at most 9 for each split");
    remove(in_folder("d/train-0.npy"));
    fv_data *data = fv_data_open(place, "train");
    assert_non_null(data);
    assert_string_equal(fv_data_field(data, 8, NULL), "label");
    fv_data_free(data);
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
    assert_int_equal(count, 3);
    assert_null(fv_data_known(-1));
    int classes;
    assert_string_equal(fv_known_classes("fashion-mnist", &classes)[9], "Ankle boot");
    assert_int_equal(classes, 10);
    assert_null(fv_known_classes("other", &classes));
    assert_int_equal(classes, 0);
}

static void open_without_memory(const char *place) {
    fv_data *data = NULL;
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

static void data_without_memory(void **state) {
    (void)state;
    open_without_memory(in_folder("a"));
    open_without_memory(in_folder("c"));
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
        zeros += fv_data_label(train)->bytes[i] == 0;
    for (size_t i = 0; i < 60000 * (size_t)784; i++)
        sum += train->columns[0].bytes[i];
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
        cmocka_unit_test(fields_in_memory),
        cmocka_unit_test(fields_refused),
        cmocka_unit_test(classes_of_labels),
        cmocka_unit_test(fields_without_memory),
        cmocka_unit_test(batches_with_fields),
        cmocka_unit_test(loader_of_fields_without_memory),
        cmocka_unit_test(samples_read),
        cmocka_unit_test(float_inputs_resized),
        cmocka_unit_test(a_folder),
        cmocka_unit_test(bad_folders),
        cmocka_unit_test(a_folder_of_arrays),
        cmocka_unit_test(bad_folders_of_arrays),
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
