/* Tests of src/data/idx.c: whole files, plain and gzipped, and each way in which one can lie. */
#include "base/alloc.h"
#include "data/data.h"
#include "files.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#ifdef FV_HAVE_ZLIB
#include <zlib.h>
#endif

enum { MOST = 400 };

typedef struct content {
    uint8_t bytes[MOST];
    size_t size;
} content;

static void add_sizes(content *c, int type, int axes, const uint32_t *sizes) {
    const uint8_t magic[] = {0, 0, (uint8_t)type, (uint8_t)axes};
    memcpy(c->bytes, magic, 4);
    c->size = 4;
    for (int axis = 0; axis < axes; axis++)
        for (int shift = 24; shift >= 0; shift -= 8)
            c->bytes[c->size++] = (uint8_t)(sizes[axis] >> shift);
}

static void add_values(content *c, size_t count) {
    for (size_t i = 0; i < count; i++)
        c->bytes[c->size++] = (uint8_t)(i * 37 + 11);
}

static content make_idx(int axes, const uint32_t *sizes, size_t values) {
    content c = {.size = 0};
    add_sizes(&c, 8, axes, sizes);
    add_values(&c, values);
    return c;
}

#ifdef FV_HAVE_ZLIB
static content compress_member(const uint8_t *bytes, size_t size) {
    content packed;
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (uint8_t *)(uintptr_t)bytes;
    stream.avail_in = (uInt)size;
    stream.next_out = packed.bytes;
    stream.avail_out = MOST;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    packed.size = MOST - stream.avail_out;
    deflateEnd(&stream);
    return packed;
}
#endif

static fv_status read_content(const content *c, int *rank, size_t sizes[4], uint8_t **bytes) {
    const char *path = in_folder("file");
    write_file(path, c->bytes, c->size);
    *bytes = NULL;
    return fv_read_idx(path, rank, sizes, bytes);
}

static void expect_read(const content *c, int axes, const uint32_t *wanted) {
    int rank;
    size_t sizes[4], count = 1;
    uint8_t *bytes;
    fv_status status = read_content(c, &rank, sizes, &bytes);
    if (status)
        fail_msg("%s", fv_error_message());
    assert_int_equal(rank, axes);
    for (int axis = 0; axis < axes; axis++) {
        assert_int_equal(sizes[axis], wanted[axis]);
        count *= sizes[axis];
    }
    for (size_t i = 0; i < count; i++)
        assert_int_equal(bytes[i], (uint8_t)(i * 37 + 11));
    fv_free(bytes);
}

/* Refused with these words and the path, the result untouched; plain and, if it can be, packed. */
static void expect_refused(const content *c, fv_status expected, const char *words) {
    int rank;
    size_t sizes[4];
    uint8_t *bytes;
    expect_failure(read_content(c, &rank, sizes, &bytes), expected, words);
    expect_message(in_folder("file"));
    assert_null(bytes);
#ifdef FV_HAVE_ZLIB
    content packed = compress_member(c->bytes, c->size);
    expect_failure(read_content(&packed, &rank, sizes, &bytes), expected, words);
    expect_message(in_folder("file"));
    assert_null(bytes);
#endif
}

static const uint32_t four_sizes[] = {3, 2, 5, 4};

static void whole_files(void **state) {
    (void)state;
    size_t count = 1;
    for (int axes = 1; axes <= 4; axes++) {
        count *= four_sizes[axes - 1];
        content plain = make_idx(axes, four_sizes, count);
        expect_read(&plain, axes, four_sizes);
#ifdef FV_HAVE_ZLIB
        content packed = compress_member(plain.bytes, plain.size);
        expect_read(&packed, axes, four_sizes);
#endif
    }
}

static void wrong_magic(void **state) {
    (void)state;
    const uint32_t sizes[] = {1, 1, 1, 1, 1};
    content c = {.size = 0};
    expect_refused(&c, FV_FORMAT, "too short for an IDX file: 0 bytes");
    c = (content){.bytes = {0, 0, 8}, .size = 3};
    expect_refused(&c, FV_FORMAT, "too short for an IDX file: 3 bytes");
    c = (content){.bytes = "\x89PNG\r\n\x1a\n", .size = 8};
    expect_refused(&c, FV_FORMAT, "its magic number is 0x89504e47, expected 0x00000801");
    c = (content){.bytes = {1, 0, 8, 1, 0, 0, 0, 1, 7}, .size = 9};
    expect_refused(&c, FV_FORMAT, "0x01000801");
    c = (content){.bytes = {0, 1, 8, 1, 0, 0, 0, 1, 7}, .size = 9};
    expect_refused(&c, FV_FORMAT, "0x00010801");
    c = make_idx(0, sizes, 1);
    expect_refused(&c, FV_FORMAT, "0x00000800");
    c = make_idx(5, sizes, 1);
    expect_refused(&c, FV_FORMAT, "1 to 4 axes");
}

static void other_types(void **state) {
    (void)state;
    static const struct {
        int type;
        fv_status status;
        const char *words;
    } cases[] = {{0x09, FV_UNSUPPORTED, "signed bytes"},
                 {0x0b, FV_UNSUPPORTED, "16-bit integers"},
                 {0x0c, FV_UNSUPPORTED, "32-bit integers"},
                 {0x0d, FV_UNSUPPORTED, "32-bit floats (type 0x0d); only unsigned bytes"},
                 {0x0e, FV_UNSUPPORTED, "64-bit floats"},
                 {0x0a, FV_FORMAT, "0x00000a01"},
                 {0x00, FV_FORMAT, "0x00000001"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        content c = {.size = 0};
        add_sizes(&c, cases[i].type, 1, (const uint32_t[]){8});
        add_values(&c, 64);
        expect_refused(&c, cases[i].status, cases[i].words);
    }
}

static void lying_sizes(void **state) {
    (void)state;
    content c = make_idx(3, (const uint32_t[]){6, 2, 5}, 59);
    expect_refused(&c, FV_FORMAT, "cut off: its header says 6x2x5 = 60 values, found 59");
    c = make_idx(3, (const uint32_t[]){6, 2, 5}, 61);
    expect_refused(&c, FV_FORMAT,
                   "goes on after its end: its header says 6x2x5 = 60 values, found "
                   "61 or more");
    c = make_idx(1, (const uint32_t[]){0}, 0);
    expect_refused(&c, FV_FORMAT, "axis 1 of 1 has size 0");
    c = make_idx(3, (const uint32_t[]){60000, 28, 0}, 0);
    expect_refused(&c, FV_FORMAT, "axis 3 of 3 has size 0 (60000x28x0)");
    c = make_idx(4, (const uint32_t[]){UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}, 9);
    expect_refused(&c, FV_FORMAT, "4294967295x4294967295x4294967295x4294967295 are more values");
    c = make_idx(3, (const uint32_t[]){1u << 31, 1u << 31, 3}, 9); /* below 2^64, but of no use */
    expect_refused(&c, FV_FORMAT, "2147483648x2147483648x3 are more values");
    /* A product of exactly 2^64, which is 0 where nobody looks. */
    c = make_idx(4, (const uint32_t[]){1u << 16, 1u << 16, 1u << 16, 1u << 16}, 9);
    expect_refused(&c, FV_FORMAT, "65536x65536x65536x65536 are more values");
}

/* A promise of 4 GiB in a few bytes is refused before anything of that size is asked for. */
static void large_promise(void **state) {
    (void)state;
    int rank;
    size_t sizes[4];
    uint8_t *bytes;
    content c = make_idx(2, (const uint32_t[]){UINT32_MAX, 1}, 20);
    expect_failure(read_content(&c, &rank, sizes, &bytes), FV_FORMAT,
                   "4294967295x1 = 4294967295 values, found 20");
#ifdef FV_HAVE_ZLIB
    content packed = compress_member(c.bytes, c.size);
    expect_failure(read_content(&packed, &rank, sizes, &bytes), FV_FORMAT,
                   "its header says 4294967295x1 values, more than");
#endif
}

static void cut_plain(void **state) {
    (void)state;
    int rank;
    size_t sizes[4];
    uint8_t *bytes;
    content c = make_idx(3, four_sizes, 30);
    while (c.size > 0) {
        c.size--;
        const char *words = c.size < 4    ? "too short"
                            : c.size < 16 ? "cut off inside its header"
                                          : "cut off: its header says 3x2x5 = 30";
        expect_failure(read_content(&c, &rank, sizes, &bytes), FV_FORMAT, words);
    }
}

#ifdef FV_HAVE_ZLIB
static void cut_gzip(void **state) {
    (void)state;
    int rank;
    size_t sizes[4];
    uint8_t *bytes;
    content plain = make_idx(3, four_sizes, 30);
    content c = compress_member(plain.bytes, plain.size);
    while (c.size > 0) {
        c.size--;
        const char *words = c.size < 2 ? "too short" : "cut off: the gzip data does not end";
        expect_failure(read_content(&c, &rank, sizes, &bytes), FV_FORMAT, words);
    }
}

/* A changed byte is noticed, or (in the times and names of gzip's header) changes nothing. */
static void damaged_gzip(void **state) {
    (void)state;
    content plain = make_idx(3, four_sizes, 30);
    content packed = compress_member(plain.bytes, plain.size);
    int noticed = 0;
    for (size_t at = 0; at < packed.size; at++) {
        for (int bit = 0; bit < 8; bit++) {
            content c = packed;
            c.bytes[at] ^= (uint8_t)(1 << bit);
            int rank;
            size_t sizes[4];
            uint8_t *bytes;
            fv_status status = read_content(&c, &rank, sizes, &bytes);
            noticed += status != FV_OK;
            if (status == FV_OK)
                assert_memory_equal(bytes, plain.bytes + 16, 30);
            fv_free(bytes);
        }
    }
    assert_true(noticed > 8 * ((int)packed.size - 10)); /* 10: gzip's header */
}

static void several_members(void **state) {
    (void)state;
    content plain = make_idx(3, four_sizes, 30);
    for (size_t cut = 0; cut <= plain.size; cut++) {
        content c = compress_member(plain.bytes, cut);
        content second = compress_member(plain.bytes + cut, plain.size - cut);
        memcpy(c.bytes + c.size, second.bytes, second.size);
        c.size += second.size;
        expect_read(&c, 3, four_sizes);
    }
}

static void bytes_after_gzip(void **state) {
    (void)state;
    int rank;
    size_t sizes[4];
    uint8_t *bytes;
    content plain = make_idx(3, four_sizes, 30);
    content c = compress_member(plain.bytes, plain.size);
    memcpy(c.bytes + c.size, "nonsense", 8);
    c.size += 8;
    expect_failure(read_content(&c, &rank, sizes, &bytes), FV_FORMAT, "damaged gzip data");
}
#else
static void gzip_left_out(void **state) {
    (void)state;
    int rank;
    size_t sizes[4];
    uint8_t *bytes;
    content c = {.bytes = {0x1f, 0x8b, 8, 0}, .size = 4};
    expect_failure(read_content(&c, &rank, sizes, &bytes), FV_UNSUPPORTED, "-Dzlib=enabled");
}
#endif

static void no_file(void **state) {
    (void)state;
    int rank;
    size_t sizes[4];
    uint8_t *bytes;
    expect_failure(fv_read_idx(in_folder("nowhere"), &rank, sizes, &bytes), FV_IO, "nowhere");
    expect_failure(fv_read_idx(in_folder(""), &rank, sizes, &bytes), FV_IO, "folder");
}

static void no_memory(void **state) {
    (void)state;
    int rank;
    size_t sizes[4];
    uint8_t *bytes;
    content c = make_idx(3, four_sizes, 30);
#ifdef FV_HAVE_ZLIB
    c = compress_member(c.bytes, c.size);
#endif
    fv_status status = FV_MEMORY;
    int failures = -1;
    while (status == FV_MEMORY) {
        allocations_left = ++failures;
        status = read_content(&c, &rank, sizes, &bytes);
        allocations_left = -1;
    }
    assert_int_equal(status, FV_OK);
    assert_true(failures >= 1);
    fv_free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_files),     cmocka_unit_test(wrong_magic),
        cmocka_unit_test(other_types),     cmocka_unit_test(lying_sizes),
        cmocka_unit_test(large_promise),   cmocka_unit_test(cut_plain),
#ifdef FV_HAVE_ZLIB
        cmocka_unit_test(cut_gzip),        cmocka_unit_test(damaged_gzip),
        cmocka_unit_test(several_members), cmocka_unit_test(bytes_after_gzip),
#else
        cmocka_unit_test(gzip_left_out),
#endif
        cmocka_unit_test(no_file),         cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
