/* Tests of src/base: allocation, messages, suggestions, growing text, numbers as text. The seam is
 * replaced here, so that allocations can be made to fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <base/status.h>
#include <base/text.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int allocations_left = -1; /* negative: as many as the system gives */
static bool may_map = true;

void *fv_system_alloc(size_t bytes) {
    if (allocations_left == 0 || bytes > (size_t)1 << 30) {
        return NULL;
    }
    allocations_left -= allocations_left > 0;
    void *block = NULL;
    if (posix_memalign(&block, 64, bytes) != 0) {
        return NULL;
    }
    return memset(block, 0xA5, bytes); /* zeroing is fv_alloc's task */
}

bool fv_system_may_map(size_t bytes) {
    (void)bytes;
    return may_map;
}

static int restore_memory(void **state) {
    (void)state;
    allocations_left = -1;
    may_map = true;
    return 0;
}

static void assert_bytes(const void *block, size_t from, size_t to, unsigned char value) {
    const unsigned char *bytes = block;
    for (size_t i = from; i < to; i++) {
        assert_int_equal(bytes[i], value);
    }
}

static void test_sizes(void **state) {
    (void)state;
    size_t result;
    assert_true(fv_size_product(SIZE_MAX / 2, 2, &result));
    assert_true(result == SIZE_MAX - 1);
    assert_false(fv_size_product(SIZE_MAX / 2 + 1, 2, &result));
    assert_true(fv_sum(SIZE_MAX - 1, 1, &result));
    assert_false(fv_sum(SIZE_MAX, 1, &result));
    assert_int_equal(fv_round_up(0, 64), 0);
    assert_int_equal(fv_round_up(1, 64), 64);
    assert_int_equal(fv_round_up(64, 64), 64);
    assert_int_equal(fv_round_up(65, 64), 128);
}

static void test_alloc(void **state) {
    (void)state;
    for (size_t count = 0; count < 200; count += 7) {
        void *block = fv_alloc(count, 3);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 64, 0);
        assert_bytes(block, 0, count * 3, 0);
        fv_free(block);
    }
    fv_free(NULL);
    fv_free_memory(NULL);
    fv_fail(FV_IO, "old");
    assert_null(fv_alloc(SIZE_MAX / 2, 3)); /* the product overflows */
    assert_non_null(strstr(fv_error_message(), "out of memory"));
    fv_fail(FV_IO, "old");
    allocations_left = 0;
    assert_null(fv_alloc(100, 1));
    assert_non_null(strstr(fv_error_message(), "100 bytes"));
    assert_null(fv_copy_string("text"));
}

static void test_growing(void **state) {
    (void)state;
    unsigned char *block = fv_realloc(NULL, 0, 10, 2);
    assert_non_null(block);
    assert_bytes(block, 0, 20, 0);
    memset(block, 1, 20);
    block = fv_realloc(block, 10, 100, 2);
    assert_bytes(block, 0, 20, 1);
    assert_bytes(block, 20, 200, 0);
    allocations_left = 0;
    assert_null(fv_realloc(block, 100, 200, 2));
    allocations_left = -1;
    assert_null(fv_realloc(block, 100, SIZE_MAX, 2));
    assert_bytes(block, 0, 20, 1); /* still there */
    block = fv_realloc(block, 100, 5, 2);
    assert_bytes(block, 0, 10, 1);
    block = fv_realloc(block, 5, 0, 2);
    assert_non_null(block);
    fv_free(block);
}

static void test_map(void **state) {
    (void)state;
    size_t sizes[] = {0, 1, 5000, (size_t)5 << 20};
    for (int i = 0; i < 4; i++) {
        unsigned char *block = fv_map(sizes[i]);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 4096, 0);
        assert_bytes(block, 0, sizes[i], 0);
        memset(block, 1, sizes[i]);
        fv_unmap(block, sizes[i]);
    }
    fv_unmap(NULL, 100);
    assert_null(fv_map(SIZE_MAX / 2)); /* more than the system has */
    assert_non_null(strstr(fv_error_message(), "out of memory"));
    may_map = false;
    assert_null(fv_map(4096));
    assert_non_null(strstr(fv_error_message(), "4096 bytes"));
}

static void test_copy_string(void **state) {
    (void)state;
    char *copy = fv_copy_string("conv1");
    assert_string_equal(copy, "conv1");
    fv_free_memory(copy);
    copy = fv_copy_string("");
    assert_string_equal(copy, "");
    fv_free(copy);
}

static void *message_of_new_thread(void *argument) {
    char *message = argument;
    strcpy(message, fv_error_message());
    fv_fail(FV_IO, "of the other thread");
    return NULL;
}

static void test_messages(void **state) {
    (void)state;
    assert_int_equal(fv_fail(FV_SHAPE, "%d is not %s", 3, "four"), FV_SHAPE);
    assert_string_equal(fv_error_message(), "3 is not four");
    assert_int_equal(fv_fail_in(FV_IO, "%s:%d", "a.net", 7), FV_IO);
    assert_string_equal(fv_error_message(), "a.net:7: 3 is not four");
    fv_fail(FV_IO, "again: %s", fv_error_message()); /* the old message as an argument */
    assert_string_equal(fv_error_message(), "again: a.net:7: 3 is not four");

    char other[1024] = "not run";
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, message_of_new_thread, other), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(other, "");
    assert_string_equal(fv_error_message(), "again: a.net:7: 3 is not four");

    char longer[3000];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = 0;
    fv_fail(FV_IO, "a%s", longer);
    assert_int_equal(strlen(fv_error_message()), 1023);
    fv_fail_in(FV_IO, "b");
    assert_int_equal(strlen(fv_error_message()), 1023);
    assert_memory_equal(fv_error_message(), "b: axx", 6);
    fv_fail_in(FV_IO, "%s", longer);
    assert_int_equal(strlen(fv_error_message()), 1023);
}

static void test_nearest(void **state) {
    (void)state;
    const char *const layers[] = {"input", "conv",    "maxpool", "avgpool", "dense",
                                  "relu",  "flatten", "dropout", "softmax", NULL};
    assert_string_equal(fv_nearest("conv", layers), "conv");
    assert_string_equal(fv_nearest("CONV", layers), "conv");
    assert_string_equal(fv_nearest("con", layers), "conv");
    assert_string_equal(fv_nearest("cnov", layers), "conv");
    assert_string_equal(fv_nearest("conv2", layers), "conv");
    assert_string_equal(fv_nearest("dens", layers), "dense");
    assert_string_equal(fv_nearest("Dropuot", layers), "dropout");
    assert_string_equal(fv_nearest("max_pool", layers), "maxpool");
    assert_string_equal(fv_nearest("sotfmaxx", layers), "softmax");
    assert_null(fv_nearest("batchnorm", layers));
    assert_null(fv_nearest("lstm", layers));
    assert_null(fv_nearest("", layers));
    assert_null(fv_nearest("x", layers));

    const char *const keys[] = {"lr", "rho", "batch", "batches", NULL};
    assert_string_equal(fv_nearest("r", keys), "lr");
    assert_string_equal(fv_nearest("batche", keys), "batch"); /* the first of equals */
    assert_null(fv_nearest("epochs", keys));

    const char *const letters[] = {"a", NULL}, *const none[] = {NULL};
    assert_null(fv_nearest("x", letters)); /* nothing in common */
    assert_string_equal(fv_nearest("A", letters), "a");
    assert_null(fv_nearest("conv", none));

    char longer[200];
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = 0;
    const char *const candidates[] = {longer, "aaaa", NULL};
    assert_null(fv_nearest(longer, candidates));
    assert_string_equal(fv_nearest("aaaa", candidates), "aaaa");
}

static void test_text(void **state) {
    (void)state;
    fv_text text = {0};
    char expected[5001] = "";
    for (int i = 0; i < 1000; i++) {
        fv_text_add(&text, "%03d,", i);
        fv_text_add_bytes(&text, "+-", (size_t)i % 2);
        size_t end = strlen(expected);
        snprintf(expected + end, sizeof expected - end, "%03d,%s", i, i % 2 ? "+" : "");
    }
    assert_int_equal(text.size, strlen(expected));
    assert_string_equal(text.bytes, expected);
    char *taken = fv_text_take(&text);
    assert_string_equal(taken, expected);
    assert_null(text.bytes);
    assert_int_equal(text.size, 0);
    fv_free_memory(taken);

    taken = fv_text_take(&text); /* nothing was added */
    assert_string_equal(taken, "");
    fv_free(taken);
    fv_text_add_bytes(&text, "a\0b", 3);
    assert_int_equal(text.size, 3);
    assert_memory_equal(text.bytes, "a\0b", 4);
    fv_text_free(&text);
    fv_text_free(&text);
}

/* Each allocation fails in turn: no append after it does anything, and taking says so. */
static void test_text_without_memory(void **state) {
    (void)state;
    for (int allowed = 0; allowed < 100; allowed++) {
        fv_text text = {0};
        allocations_left = allowed;
        for (int i = 0; i < 100; i++) {
            fv_text_add(&text, "some words ");
            fv_text_add_number(&text, 0.5);
        }
        bool failed = text.failed;
        char *taken = fv_text_take(&text);
        allocations_left = -1;
        assert_true(failed == !taken);
        assert_false(text.failed);
        assert_null(text.bytes);
        if (taken) {
            assert_int_equal(strlen(taken), 1400);
            fv_free(taken);
            assert_true(allowed > 1);
            return;
        }
    }
    fail();
}

static void assert_number(double value, const char *expected) {
    fv_text text = {0};
    fv_text_add_number(&text, value);
    assert_string_equal(text.bytes, expected);
    fv_text_free(&text);
}

static void test_numbers(void **state) {
    (void)state;
    assert_number(0, "0");
    assert_number(0.1, "0.1");
    assert_number(1e-7, "1e-07");
    assert_number(128, "128");
    assert_number(100, "100");
    assert_number(-1000000, "-1000000");
    assert_number(0.95, "0.95");
    assert_number(1.0 / 255, "0.00392156862745098");
    assert_number(0.1 + 0.2, "0.30000000000000004");
    assert_number(1234.5, "1234.5");
    assert_number(1e15, "1e+15");
    assert_number(999999999999999, "999999999999999");
    assert_number(-1.5e300, "-1.5e+300");
    assert_number(5e-324, "5e-324");
    assert_number(INFINITY, "inf");
    assert_number(-INFINITY, "-inf");
    assert_number(1.7976931348623157e308, "1.7976931348623157e+308");
}

static void test_numbers_read_back(void **state) {
    (void)state;
    uint64_t bits = 1;
    for (int i = 0; i < 2000; i++) {
        bits = bits * 6364136223846793005u + 1442695040888963407u;
        double value;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) {
            continue;
        }
        fv_text text = {0};
        fv_text_add_number(&text, value);
        double back = strtod(text.bytes, NULL);
        assert_memory_equal(&back, &value, sizeof value);
        fv_text_free(&text);
    }
}

static void test_build(void **state) {
    (void)state;
    assert_string_equal(fv_version(), FV_VERSION);
    const char *const parts[] = {"zlib", "png", "jpeg", "zip", "json", "onnx", "hdf5", NULL};
    char features[100];
    assert_true(strlen(fv_features()) < sizeof features);
    strcpy(features, fv_features());
    for (char *part = strtok(features, " "); part; part = strtok(NULL, " ")) {
        const char *known = fv_nearest(part, parts);
        assert_non_null(known);
        assert_string_equal(part, known);
    }
    assert_true(fv_default_threads() >= 1);
    assert_true(fv_peak_gflops(1, 0.01) > 0.1); /* any machine does more */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test_teardown(test_alloc, restore_memory),
        cmocka_unit_test_teardown(test_growing, restore_memory),
        cmocka_unit_test_teardown(test_map, restore_memory),
        cmocka_unit_test(test_copy_string),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_text),
        cmocka_unit_test_teardown(test_text_without_memory, restore_memory),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_numbers_read_back),
        cmocka_unit_test(test_build),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
