/* Tests of src/data/cifar.c: CIFAR's binary files made here, whole and damaged, the names of their
 * classes, and the known data set. The real one wants FOVEA_DATA, the folder in which it is. */
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

enum { PIXELS = 32 * 32, VALUES = 3 * PIXELS, MOST = 4 };

static void make_sub_folder(const char *name) {
    assert_int_equal(mkdir(in_folder(name), 0777), 0);
}

/* Value of pixel `p` in picture `i`: another one for each colour. */
static uint8_t pixel(int i, int p, int colour) {
    return (uint8_t)(i * 50 + p * 7 + colour * 90);
}

/* `count` rows, numbered from `first`, with the fine label first + i. */
static size_t make_rows(uint8_t *rows, int first, int count, int labels) {
    uint8_t *next = rows;
    for (int i = first; i < first + count; i++) {
        if (labels == 2)
            *next++ = (uint8_t)(i / 2);
        *next++ = (uint8_t)i;
        for (int colour = 0; colour < 3; colour++)
            for (int p = 0; p < PIXELS; p++)
                *next++ = pixel(i, p, colour);
    }
    return (size_t)(next - rows);
}

static void write_rows(const char *name, int first, int count, int labels) {
    static uint8_t rows[MOST * (VALUES + 2)];
    assert_true(count <= MOST);
    write_file(in_folder(name), rows, make_rows(rows, first, count, labels));
}

static void write_text(const char *name, const char *text) {
    write_file(in_folder(name), text, strlen(text));
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

/* Row k is number first + k. */
static void expect_rows(const fv_data *data, int first, int count) {
    static float values[VALUES];
    fv_shape shape = fv_data_shape(data);
    assert_int_equal(fv_data_count(data), count);
    assert_int_equal(shape.rank, 2);
    assert_int_equal(shape.size[0], 32);
    assert_int_equal(shape.size[1], 32);
    assert_int_equal(shape.channels, 3);
    assert_true(fv_data_bytes(data));
    for (int i = 0; i < count; i++) {
        int label;
        assert_int_equal(fv_data_sample(data, (size_t)i, values, &label), FV_OK);
        assert_int_equal(label, first + i);
        for (int p = 0; p < PIXELS; p++)
            for (int colour = 0; colour < 3; colour++)
                assert_true(values[3 * p + colour] == (float)pixel(first + i, p, colour));
    }
}

/* ---- Whole files ------------------------------------------------------------------------------
 */

static void official_names(void **state) {
    (void)state;
    make_sub_folder("a");
    write_rows("a/data_batch_10.bin", 5, 1, 1);
    write_rows("a/data_batch_1.bin", 0, 3, 1);
    write_rows("a/data_batch_2.bin", 3, 2, 1);
    write_rows("a/test_batch.bin", 7, 2, 1);
    write_text("a/batches.meta.txt", "aa\nb b\r\n c\nd\ne\nf\ng\n\nh\ni\n\n");
    write_text("a/classes.txt", "not\nthese\n");
    fv_data *data = open_data("a", "train");
    expect_rows(data, 0, 6);
    assert_int_equal(fv_data_classes(data), 9);
    assert_string_equal(fv_data_class_name(data, 0), "aa");
    assert_string_equal(fv_data_class_name(data, 1), "b b");
    assert_string_equal(fv_data_class_name(data, 2), "c");
    assert_string_equal(fv_data_class_name(data, 8), "i");
    assert_null(fv_data_class_name(data, 9));
    fv_data *part = fv_data_slice(data, 4, 2);
    assert_non_null(part);
    expect_rows(part, 4, 2);
    assert_string_equal(fv_data_class_name(part, 8), "i");
    fv_data_free(part);
    fv_data_free(data);
    data = open_data("a", "test");
    expect_rows(data, 7, 2);
    fv_data_free(data);
    expect_no_data("a", "val", FV_IO, "CIFAR's files val_*.bin");
}

/* Names may lie in the folder above; without any the classes have none. */
static void other_names(void **state) {
    (void)state;
    make_sub_folder("b");
    make_sub_folder("b/c");
    write_rows("b/c/train_0.bin", 2, 2, 1);
    write_rows("b/c/val_0.bin", 4, 1, 1);
    write_rows("b/c/test_0.bin", 5, 1, 1);
    fv_data *data = open_data("b/c", "val");
    expect_rows(data, 4, 1);
    assert_int_equal(fv_data_classes(data), 5);
    assert_null(fv_data_class_name(data, 0));
    fv_data_free(data);
    write_text("b/classes.txt", "0\n1\n2\n3\n4\nfive");
    data = open_data("b/c", "train");
    expect_rows(data, 2, 2);
    assert_int_equal(fv_data_classes(data), 6);
    assert_string_equal(fv_data_class_name(data, 5), "five");
    fv_data_free(data);
    data = open_data("b/c", "test");
    expect_rows(data, 5, 1);
    fv_data_free(data);
}

static void two_labels(void **state) {
    (void)state;
    make_sub_folder("d");
    write_rows("d/train.bin", 20, 4, 2);
    write_rows("d/test.bin", 38, 2, 2);
    fv_data *data = open_data("d", "train");
    expect_rows(data, 20, 4);
    assert_string_equal(fv_data_field(data, 1, NULL), "coarse");
    assert_string_equal(fv_data_field(data, 2, NULL), "label");
    float coarse[4];
    fv_column_read(&data->columns[1], 0, 4, coarse);
    for (int i = 0; i < 4; i++)
        assert_true(coarse[i] == (float)((20 + i) / 2));
    assert_int_equal(fv_data_classes(data), 24);
    assert_null(fv_data_class_name(data, 0));
    fv_data_free(data);
    char names[400] = "";
    for (int i = 0; i < 100; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "n%d\n", i);
    write_text("d/fine_label_names.txt", names);
    data = open_data("d", "test");
    expect_rows(data, 38, 2);
    assert_int_equal(fv_data_classes(data), 100);
    assert_string_equal(fv_data_class_name(data, 99), "n99");
    fv_data_free(data);
}

/* ---- What goes wrong --------------------------------------------------------------------------
 */

static void wrong_lengths(void **state) {
    (void)state;
    static uint8_t rows[2 * (VALUES + 2) + 1];
    make_sub_folder("e");
    size_t row = make_rows(rows, 0, 1, 1), size = make_rows(rows, 0, 2, 1);
    const size_t cuts[] = {0, 1, row - 1, row + 2, size - 1, size + 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        write_file(in_folder("e/train_0.bin"), rows, cuts[i]);
        expect_no_data("e", "train", FV_FORMAT, "e/train_0.bin has ");
        expect_message("no whole number of CIFAR's rows of 3073 bytes (1 label, 32x32x3 pixels)");
    }
    write_file(in_folder("e/train_0.bin"), rows, size);
    write_rows("e/train_1.bin", 0, 1, 2); /* another kind than the first */
    expect_no_data("e", "train", FV_FORMAT, "e/train_1.bin has 3074 bytes");
    write_rows("e/train_1.bin", 2, 1, 1);
    write_rows("e/data_batch_1.bin", 3, 1, 1);
    expect_no_data("e", "train", FV_INVALID, "two data sets for 'train'");
    expect_message("leave only one");
    remove(in_folder("e/data_batch_1.bin"));
    fv_data *data = open_data("e", "train");
    expect_rows(data, 0, 3);
    fv_data_free(data);
}

static void labels_out_of_range(void **state) {
    (void)state;
    make_sub_folder("f");
    write_rows("f/train_0.bin", 8, 2, 1);
    write_rows("f/train_1.bin", 9, 2, 1);
    expect_no_data("f", "train", FV_FORMAT,
                   "f/train_1.bin: the label of picture 1 is 10, but there are 10 classes");
    write_text("f/classes.txt", "a\nb\nc\n");
    expect_no_data("f", "train", FV_FORMAT, "picture 0 is 8, but there are 3 classes in ");
    expect_message("f/classes.txt");
    write_rows("f/test.bin", 99, 2, 2); /* coarse 49 */
    expect_no_data("f", "test", FV_FORMAT, "f/test.bin: the coarse label of picture 0 is 49");
}

static void bad_class_names(void **state) {
    (void)state;
    make_sub_folder("g");
    write_rows("g/train_0.bin", 0, 2, 1);
    static const struct {
        const char *text;
        size_t size;
        const char *words;
    } cases[] = {
        {"", 0, "has 0 names of classes, expected 1 to 256"},
        {" \n\t\r\n", 5, "has 0 names of classes"},
        {"a\0b\n", 4, "is no text file"},
        {"a\nb\x1b[1m\n", 8, "control characters"},
        {"a\n\xff\xfe\n", 5, "not UTF-8 (byte 0xff)"},
        {"a\n\xc3\n", 4, "not UTF-8 (byte 0xc3)"},
        {"a\n\xc0\xaf\n", 5, "byte 0xc0"},         /* longer than it need be */
        {"a\n\xed\xa0\x80\n", 6, "byte 0xed"},     /* a surrogate */
        {"a\n\xf5\x80\x80\x80\n", 7, "byte 0xf5"}, /* beyond Unicode */
        {"a\n\xc2\x85\n", 5, "byte 0xc2"},         /* a control character of two bytes */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(in_folder("g/classes.txt"), cases[i].text, cases[i].size);
        expect_no_data("g", "train", FV_FORMAT, cases[i].words);
        expect_message("g/classes.txt");
    }
    write_text("g/classes.txt", "\xc3\xa9t\xc3\xa9\n\xe2\x82\xac \xf0\x9f\x98\x80\n");
    fv_data *data = open_data("g", "train");
    assert_string_equal(fv_data_class_name(data, 0), "\xc3\xa9t\xc3\xa9");
    fv_data_free(data);
}

/* IDX files and arrays go first. */
static void beside_other_kinds(void **state) {
    (void)state;
    static const uint8_t pictures[] = {0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 1, 5};
    static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 1, 0};
    make_sub_folder("h");
    write_rows("h/train_0.bin", 0, 2, 1);
    write_file(in_folder("h/train-idx2-ubyte"), pictures, sizeof pictures);
    write_file(in_folder("h/train-labels-idx1-ubyte"), labels, sizeof labels);
    fv_data *data = open_data("h", "train");
    assert_int_equal(fv_data_count(data), 1);
    fv_data_free(data);
}

static void without_memory(void **state) {
    (void)state;
    const char *const names[] = {"a", "d"};
    for (int i = 0; i < 2; i++) {
        fv_data *data = NULL;
        int failures = -1;
        while (!data) {
            allocations_left = ++failures;
            data = fv_data_open(in_folder(names[i]), i ? "test" : "train");
            allocations_left = -1;
            if (!data)
                expect_failure(fv_error_status(), FV_MEMORY, "out of memory");
        }
        assert_true(failures > 12);
        assert_string_equal(fv_data_class_name(data, 8), i ? "n8" : "i");
        fv_data_free(data);
    }
}

/* ---- The known set ----------------------------------------------------------------------------
 */

static void known_set(void **state) {
    (void)state;
    unsetenv("HOME");
    setenv("FOVEA_DATA", in_folder("data"), 1);
    make_sub_folder("data");
    assert_null(fv_data_open("cifar10", "train"));
    expect_message("to get it: unpack cifar-10-binary.tar.gz");
    make_sub_folder("data/cifar10");
    make_sub_folder("data/cifar10/lossless");
    write_rows("data/cifar10/lossless/train_0.bin", 1, 2, 1);
    fv_data *data = fv_data_open("cifar10", "train");
    assert_non_null(data);
    expect_rows(data, 1, 2);
    assert_int_equal(fv_data_classes(data), 10); /* though only 2 occur, and no file names them */
    assert_string_equal(fv_data_class_name(data, 9), "truck");
    fv_data_free(data);
    make_sub_folder("data/cifar10/cifar-10-batches-bin");
    write_rows("data/cifar10/cifar-10-batches-bin/data_batch_1.bin", 3, 2, 1);
    data = fv_data_open("cifar10", "train");
    assert_non_null(data);
    expect_rows(data, 3, 2);
    fv_data_free(data);
    char *place = fv_data_find("cifar10");
    assert_non_null(place);
    assert_string_equal(place + strlen(place) - 20, "cifar-10-batches-bin");
    fv_free_memory(place);
}

static const char *real_folder; /* FOVEA_DATA as it was at the start */

static void real_cifar(void **state) {
    (void)state;
    if (!real_folder) {
        puts("skipped: FOVEA_DATA is not set");
        skip();
    }
    setenv("FOVEA_DATA", real_folder, 1);
    fv_data *data = fv_data_open("cifar10", "test");
    if (!data) {
        printf("skipped: %s\n", fv_error_message());
        skip();
    }
    static const int labels[] = {3, 8, 8, 0, 6, 6, 1, 6, 3, 1}; /* of the test set, as published */
    static float values[VALUES];
    for (int i = 0; i < 10; i++) {
        int label;
        assert_int_equal(fv_data_sample(data, (size_t)i, values, &label), FV_OK);
        assert_int_equal(label, labels[i]);
    }
    assert_string_equal(fv_data_class_name(data, 3), "cat");
    fv_data_free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(official_names),      cmocka_unit_test(other_names),
        cmocka_unit_test(two_labels),          cmocka_unit_test(wrong_lengths),
        cmocka_unit_test(labels_out_of_range), cmocka_unit_test(bad_class_names),
        cmocka_unit_test(beside_other_kinds),  cmocka_unit_test(without_memory),
        cmocka_unit_test(known_set),           cmocka_unit_test(real_cifar),
    };
    const char *set = getenv("FOVEA_DATA");
    real_folder = set && *set ? strdup(set) : NULL;
    int failures = cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
    free((void *)(uintptr_t)real_folder);
    return failures;
}
