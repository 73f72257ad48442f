/* The safetensors container: what is written comes back, and every way in which a file can be
 * wrong gives an error that names the file and the fault. Files are made here byte by byte, not by
 * the writer under test. */
#include "formats/formats.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/fovea-safetensors-XXXXXX";
static char path[sizeof folder + 20];

static int make_folder(void **state) {
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/t.safetensors", folder);
    return 0;
}

/* Fails when a test left a file behind, a temporary one too. */
static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

#ifdef FV_HAVE_JSON

static void write_bytes(const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static unsigned char *read_bytes(size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    unsigned char *bytes = malloc(1 << 20);
    assert_non_null(bytes);
    *size = fread(bytes, 1, 1 << 20, file);
    assert_int_equal(fclose(file), 0);
    return bytes;
}

/* A file of this header length, these header bytes and `data` bytes 0, 1, 2 ... */
static void write_container(uint64_t length, const char *header, size_t size, size_t data) {
    unsigned char *bytes = malloc(8 + size + data + 1);
    assert_non_null(bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(length >> (8 * i));
    memcpy(bytes + 8, header, size);
    for (size_t i = 0; i < data; i++)
        bytes[8 + size + i] = (unsigned char)i;
    write_bytes(bytes, 8 + size + data);
    free(bytes);
}

/* Opening must fail with FV_FORMAT; the message names the file and contains `part`. */
static void expect_refusal(const char *part) {
    fv_tensors tensors;
    fv_status status = fv_tensors_open(path, &tensors);
    if (status != FV_FORMAT)
        fail_msg("status %d, expected FV_FORMAT for \"%s\"", status, part);
    if (strstr(fv_error_message(), path) == NULL || strstr(fv_error_message(), part) == NULL)
        fail_msg("message \"%s\", expected \"%s\" in it", fv_error_message(), part);
    assert_null(tensors.entries);
    assert_int_equal(tensors.count, 0);
    fv_tensors_close(&tensors); /* harmless after a failure */
}

/* Every byte that the entries promise can be read. Returns their sum, so that it is read. */
static unsigned touch(const fv_tensors *tensors) {
    const unsigned char *end = tensors->mapping.bytes + tensors->mapping.size;
    unsigned sum = 0;
    for (size_t i = 0; i < tensors->count; i++) {
        const unsigned char *next = i + 1 < tensors->count ? tensors->entries[i + 1].bytes : end;
        for (const unsigned char *byte = tensors->entries[i].bytes; byte < next; byte++)
            sum += *byte;
    }
    return sum;
}

/* ---- Good files ------------------------------------------------------------------------------ */

static const float floats[6] = {1.5f, -2, 3, 4, 5, 1e-30f};
static const double doubles[2] = {0.1, -7};
static const int64_t one = INT64_C(-9000000000);
static const unsigned char octets[3] = {7, 8, 9};

static fv_tensor_entry samples[] = {
    {.name = "b.weight", .dtype = "F32", .rank = 3, .size = {1, 2, 3}, .count = 6},
    {.name = "octets", .dtype = "U8", .rank = 1, .size = {3}, .count = 3},
    {.name = "a.\"quoted\" \xc3\xa9", .dtype = "F64", .rank = 2, .size = {2, 1}, .count = 2},
    {.name = "step", .dtype = "I64", .rank = 0, .count = 1},
    {.name = "empty", .dtype = "F32", .rank = 2, .size = {0, 5}, .count = 0},
};
enum { SAMPLES = sizeof samples / sizeof samples[0] };
static const size_t sample_bytes[SAMPLES] = {24, 3, 16, 8, 0};
static const char *const sample_keys[] = {"zeta", "alpha"};
static const char *const sample_values[] = {"line\nline \"x\"", ""};

static void write_samples(void) {
    samples[0].bytes = (const unsigned char *)floats;
    samples[1].bytes = octets;
    samples[2].bytes = (const unsigned char *)doubles;
    samples[3].bytes = (const unsigned char *)&one;
    assert_int_equal(fv_tensors_write(path, samples, SAMPLES, sample_keys, sample_values, 2),
                     FV_OK);
}

static void round_trip(void **state) {
    (void)state;
    write_samples();
    fv_tensors tensors;
    assert_int_equal(fv_tensors_open(path, &tensors), FV_OK);
    assert_int_equal(tensors.count, SAMPLES);
    for (size_t i = 0; i < SAMPLES; i++) {
        const fv_tensor_entry *entry = fv_tensors_find(&tensors, samples[i].name);
        assert_non_null(entry);
        assert_string_equal(entry->dtype, samples[i].dtype);
        assert_int_equal(entry->rank, samples[i].rank);
        assert_int_equal(entry->count, samples[i].count);
        assert_memory_equal(entry->size, samples[i].size, sizeof entry->size);
        if (sample_bytes[i] > 0)
            assert_memory_equal(entry->bytes, samples[i].bytes, sample_bytes[i]);
        /* Larger types first, after a header of a multiple of 8: all values are aligned. */
        size_t width = entry->count > 0 ? sample_bytes[i] / entry->count : 1;
        assert_int_equal((uintptr_t)entry->bytes % width, 0);
    }
    assert_int_equal(tensors.metadata_count, 2);
    assert_string_equal(fv_tensors_metadata(&tensors, "zeta"), sample_values[0]);
    assert_string_equal(fv_tensors_metadata(&tensors, "alpha"), "");
    assert_null(fv_tensors_metadata(&tensors, "other"));
    assert_null(fv_tensors_find(&tensors, "other"));
    assert_null(fv_tensors_find(&tensors, "__metadata__"));
    fv_tensors_close(&tensors);
}

/* The whole file, as the format's description gives it. */
static void exact_bytes(void **state) {
    (void)state;
    static const char expected[] = "\x88\0\0\0\0\0\0\0"
                                   "{\"__metadata__\":{\"k\":\"v\"},"
                                   "\"x\":{\"data_offsets\":[0,4],\"dtype\":\"F32\",\"shape\":[1]},"
                                   "\"y\":{\"data_offsets\":[4,5],\"dtype\":\"U8\",\"shape\":[]}}";
    const char *key = "k", *value = "v";
    static const unsigned char four[4] = {1, 2, 3, 4};
    const fv_tensor_entry entries[] = {
        {.name = "y", .dtype = "U8", .count = 1, .bytes = octets},
        {.name = "x", .dtype = "F32", .rank = 1, .size = {1}, .count = 1, .bytes = four},
    };
    assert_int_equal(fv_tensors_write(path, entries, 2, &key, &value, 1), FV_OK);
    size_t size;
    unsigned char *bytes = read_bytes(&size);
    size_t text = sizeof expected - 1;
    assert_int_equal(size, 8 + 0x88 + 5);
    assert_memory_equal(bytes, expected, text);
    for (size_t i = text; i < 8 + 0x88; i++)
        assert_int_equal(bytes[i], ' ');
    assert_memory_equal(bytes + 8 + 0x88, "\x01\x02\x03\x04\x07", 5);
    free(bytes);
}

/* Equal contents give equal files, in whatever order they are given. */
static void order_does_not_matter(void **state) {
    (void)state;
    write_samples();
    size_t size, other_size;
    unsigned char *bytes = read_bytes(&size);
    fv_tensor_entry reversed[SAMPLES];
    for (size_t i = 0; i < SAMPLES; i++)
        reversed[i] = samples[SAMPLES - 1 - i];
    const char *keys[] = {sample_keys[1], sample_keys[0]};
    const char *values[] = {sample_values[1], sample_values[0]};
    assert_int_equal(fv_tensors_write(path, reversed, SAMPLES, keys, values, 2), FV_OK);
    unsigned char *other = read_bytes(&other_size);
    assert_int_equal(size, other_size);
    assert_memory_equal(bytes, other, size);
    free(bytes);
    free(other);
}

static void unusual_but_allowed(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data, count;
    } good[] = {
        {"{}", 0, 0},
        {"{}   ", 0, 0},
        {"{\"__metadata__\":{}}", 0, 0},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, 1},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, 1},
        {"{\"z\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]},"
         "\"m\":{\"dtype\":\"F64\",\"shape\":[3,0,9],\"data_offsets\":[1,1]},"
         "\"a\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[0,1]}}",
         3, 3},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[2,3],\"data_offsets\":[0,3]}}", 3, 1},
        {"{\"a\":{\"dtype\":\"F6_E2M3\",\"shape\":[4],\"data_offsets\":[0,3]}}", 3, 1},
        {"{\"a\":{\"dtype\":\"F8_E5M2FNUZ\",\"shape\":[1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}",
         1, 1},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        size_t size = strlen(good[i].header);
        write_container(size, good[i].header, size, good[i].data);
        fv_tensors tensors;
        if (fv_tensors_open(path, &tensors) != FV_OK)
            fail_msg("%s: %s", good[i].header, fv_error_message());
        assert_int_equal(tensors.count, good[i].count);
        assert_int_equal(touch(&tensors), good[i].data * (good[i].data - 1) / 2);
        fv_tensors_close(&tensors);
    }
}

/* ---- Bad files ------------------------------------------------------------------------------- */

/* At every byte up to the header's end, then at every 64th and just before the end. */
static void cut_short(void **state) {
    (void)state;
    static float many[1000];
    const fv_tensor_entry entry = {.name = "w",
                                   .dtype = "F32",
                                   .rank = 1,
                                   .size = {1000},
                                   .count = 1000,
                                   .bytes = (const unsigned char *)many};
    assert_int_equal(fv_tensors_write(path, &entry, 1, NULL, NULL, 0), FV_OK);
    size_t size;
    unsigned char *bytes = read_bytes(&size);
    size_t header = size - sizeof many;
    for (size_t cut = 0; cut < size; cut += cut < header ? 1 : 64) {
        write_bytes(bytes, cut);
        expect_refusal(cut < 8 ? "too few" : "cut short");
    }
    write_bytes(bytes, size - 1);
    expect_refusal("cut short");
    free(bytes);
}

/* Each bit of the first bytes turned over: refused, or the tensors still lie inside the file. */
static void bit_flips(void **state) {
    (void)state;
    write_samples();
    size_t size;
    unsigned refused = 0;
    unsigned char *bytes = read_bytes(&size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        write_bytes(bytes, size);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        fv_tensors tensors;
        fv_status status = fv_tensors_open(path, &tensors);
        if (status == FV_OK) {
            touch(&tensors);
            fv_tensors_close(&tensors);
        } else {
            assert_int_equal(status, FV_FORMAT);
            assert_non_null(strstr(fv_error_message(), path));
            refused++;
        }
    }
    assert_true(refused > 1000);
    free(bytes);
}

static void header_lengths(void **state) {
    (void)state;
    static const struct {
        uint64_t length;
        const char *message;
    } bad[] = {
        {0, "does not begin with {"},
        {1, "not valid JSON"},
        {3, "announced but only 2 follow"},
        {100000000, "announced but only 2 follow"},
        {100000001, "expected at most 100000000"},
        {UINT64_C(1) << 32, "header length 4294967296"},
        {UINT64_C(1) << 63, "header length 9223372036854775808"},
        {UINT64_MAX, "header length 18446744073709551615"},
        {UINT64_MAX - 7, "header length 18446744073709551608"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_container(bad[i].length, "{}", 2, 0);
        expect_refusal(bad[i].message);
    }
}

#define ONE(dtype, shape, offsets)                                                                 \
    "{\"a\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define BYTES(name, begin, end, size)                                                              \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":[" size "],\"data_offsets\":[" begin "," end "]}"

static void bad_headers(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *message;
    } bad[] = {
        {"[]", 0, "does not begin with {"},
        {" {}", 0, "does not begin with {"},
        {"{} {}", 0, "not valid JSON"},
        {"{\"a\":1,}", 0, "not valid JSON"},
        {"{\"a\xff\":{}}", 0, "not valid JSON"},
        {"{\"a\\u0000b\":{}}", 0, "not valid JSON"},
        {"{\"a\":7}", 0, "tensor \"a\": no dtype"},
        {"{\"a\":[]}", 0, "tensor \"a\": no dtype"},
        {"{\"a\":{}}", 0, "tensor \"a\": no dtype"},
        {"{\"a\":{\"dtype\":\"F32\"}}", 0, "tensor \"a\": no shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "tensor \"a\": data_offsets"},
        {ONE("32", "[1]", "[0,4]"), 4, "no dtype"},
        {ONE("\"float32\"", "[1]", "[0,4]"), 4, "dtype \"float32\" is not known"},
        {ONE("\"\"", "[1]", "[0,4]"), 4, "dtype \"\" is not known"},
        {ONE("\"F32\"", "1", "[0,4]"), 4, "no shape"},
        {ONE("\"F32\"", "[-1]", "[0,4]"), 4, "shape[0] is no whole number"},
        {ONE("\"F32\"", "[1,1.0]", "[0,4]"), 4, "shape[1] is no whole number"},
        {ONE("\"F32\"", "[\"1\"]", "[0,4]"), 4, "shape[0] is no whole number"},
        {ONE("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "9 axes"},
        {ONE("\"F32\"", "[99999999999999999999]", "[0,4]"), 4, "not valid JSON"},
        {ONE("\"F32\"", "[4294967296,4294967296]", "[0,4]"), 4, "product of the shape"},
        {ONE("\"F32\"", "[4294967296,4294967296,0]", "[0,0]"), 0, "product of the shape"},
        {ONE("\"U8\"", "[9223372036854775807,2,2]", "[0,0]"), 0, "product of the shape"},
        {ONE("\"F32\"", "[4611686018427387905]", "[0,4]"), 4, "too many"},
        {ONE("\"F4\"", "[3]", "[0,2]"), 2, "no whole bytes"},
        {ONE("\"F32\"", "[2]", "[0,4]"), 4, "expected 8 bytes"},
        {ONE("\"F64\"", "[1]", "[0,4]"), 4, "expected 8 bytes"},
        {ONE("\"F32\"", "[1]", "[4,0]"), 4, "expected 4 bytes"},
        {ONE("\"F32\"", "[1]", "[0]"), 4, "no two whole numbers"},
        {ONE("\"F32\"", "[1]", "[0,4,8]"), 4, "no two whole numbers"},
        {ONE("\"F32\"", "[1]", "[-4,0]"), 4, "no two whole numbers"},
        {ONE("\"F32\"", "[1]", "[0,4.0]"), 4, "no two whole numbers"},
        {ONE("\"F32\"", "[1]", "{}"), 4, "no two whole numbers"},
        {ONE("\"F32\"", "[1]", "[0,4]"), 3, "past the end"},
        {ONE("\"F32\"", "[1]", "[4,8]"), 4, "past the end"},
        {ONE("\"F32\"", "[1]", "[9223372036854775803,9223372036854775807]"), 4, "past the end"},
        {ONE("\"F32\"", "[0]", "[8,8]"), 4, "past the end"},
        {ONE("\"F32\"", "[1]", "[0,4]"), 5, "5 bytes of data, expected the 4"},
        {ONE("\"F32\"", "[1]", "[4,8]"), 8, "a hole"},
        {"{}", 1, "1 bytes of data, expected the 0"},
        {"{" BYTES("a", "0", "2", "2") "," BYTES("b", "3", "4", "1") "}", 4, "\"b\": data_off"},
        {"{" BYTES("a", "0", "2", "2") "," BYTES("b", "3", "4", "1") "}", 4, "a hole"},
        {"{" BYTES("b", "1", "3", "2") "," BYTES("a", "0", "2", "2") "}", 3, "an overlap"},
        {"{" BYTES("a", "0", "2", "2") "," BYTES("b", "0", "2", "2") "}", 2, "an overlap"},
        {"{" BYTES("a", "0", "3", "3") "," BYTES("b", "1", "1", "0") "}", 3, "an overlap"},
        {"{" BYTES("a", "0", "1", "1") "," BYTES("a", "0", "1", "1") "}", 1, "duplicate"},
        {"{" BYTES("a", "0", "1", "1") "," BYTES("a", "1", "2", "1") "}", 2, "\"a\""},
        {"{\"__metadata__\":{\"k\":\"v\",\"k\":\"v\"}}", 0, "duplicate"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate"},
        {"{\"__metadata__\":{\"k\":1}}", 0, "\"k\" is no text"},
        {"{\"__metadata__\":{\"k\":null}}", 0, "\"k\" is no text"},
        {"{\"__metadata__\":[]}", 0, "__metadata__ is no object"},
        {"{\"a\\u001b[2J\":{}}", 0, "tensor \"a?[2J\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t size = strlen(bad[i].header);
        write_container(size, bad[i].header, size, bad[i].data);
        expect_refusal(bad[i].message);
    }
}

static void deep_nesting(void **state) {
    (void)state;
    enum { DEPTH = 1000000 };
    char *header = malloc(5 * DEPTH);
    assert_non_null(header);
    memcpy(header, "{\"a\":", 5);
    memset(header + 5, '[', DEPTH);
    write_container(5 + DEPTH, header, 5 + DEPTH, 0);
    expect_refusal("depth");
    for (size_t i = 0; i < DEPTH; i++)
        memcpy(header + 5 * i, "{\"a\":", 5);
    write_container(5 * DEPTH, header, 5 * DEPTH, 0);
    expect_refusal("depth");
    free(header);
}

/* A long name is cut in the message, not in the file. */
static void long_names(void **state) {
    (void)state;
    char name[3001];
    memset(name, 'n', sizeof name - 1);
    name[3000] = 0;
    fv_tensor_entry entry = {.name = name, .dtype = "U8", .count = 1, .bytes = octets};
    assert_int_equal(fv_tensors_write(path, &entry, 1, NULL, NULL, 0), FV_OK);
    fv_tensors tensors;
    assert_int_equal(fv_tensors_open(path, &tensors), FV_OK);
    assert_non_null(fv_tensors_find(&tensors, name));
    fv_tensors_close(&tensors);
    size_t size;
    unsigned char *bytes = read_bytes(&size);
    write_bytes(bytes, size - 1);
    expect_refusal("cut short");
    free(bytes);
}

static void no_file(void **state) {
    (void)state;
    fv_tensors tensors;
    unlink(path);
    assert_int_equal(fv_tensors_open(path, &tensors), FV_IO);
    assert_non_null(strstr(fv_error_message(), path));
    fv_tensors_close(&tensors);
    assert_int_equal(fv_tensors_open(folder, &tensors), FV_IO);
    fv_tensors_close(&tensors);
}

/* ---- What the writer refuses ----------------------------------------------------------------- */

static void expect_unwritten(const fv_tensor_entry *entries, size_t count, const char *key,
                             const char *value, const char *part) {
    const char *keys[] = {key, key}, *values[] = {value, value};
    size_t pairs = key == NULL ? 0 : strcmp(key, "twice") == 0 ? 2 : 1;
    assert_int_equal(fv_tensors_write(path, entries, count, keys, values, pairs), FV_INVALID);
    if (strstr(fv_error_message(), path) == NULL || strstr(fv_error_message(), part) == NULL)
        fail_msg("message \"%s\", expected \"%s\" in it", fv_error_message(), part);
}

static void refused_contents(void **state) {
    (void)state;
    const fv_tensor_entry good = {.name = "a", .dtype = "U8", .count = 1, .bytes = octets};
    fv_tensor_entry pair[2] = {good, good}, wrong = good;
    write_bytes("old", 3);
    expect_unwritten(pair, 2, NULL, NULL, "two tensors are named \"a\"");
    pair[1].dtype[0] = 'I';
    expect_unwritten(pair, 2, NULL, NULL, "two tensors are named \"a\"");
    strcpy(wrong.dtype, "F31");
    expect_unwritten(&wrong, 1, NULL, NULL, "dtype \"F31\"");
    wrong = good, wrong.count = 2;
    expect_unwritten(&wrong, 1, NULL, NULL, "count 2");
    wrong = good, wrong.rank = 9;
    expect_unwritten(&wrong, 1, NULL, NULL, "tensor \"a\"");
    wrong = good, wrong.name = (char[]){"__metadata__"};
    expect_unwritten(&wrong, 1, NULL, NULL, "tensor \"__metadata__\"");
    wrong = good, wrong.name = (char[]){"\xff"};
    expect_unwritten(&wrong, 1, NULL, NULL, "not UTF-8");
    expect_unwritten(&good, 1, "key", "\xc0\x80", "text \"key\" is not UTF-8");
    expect_unwritten(&good, 1, "twice", "x", "two texts are named \"twice\"");
    size_t size;
    unsigned char *bytes = read_bytes(&size);
    assert_int_equal(size, 3); /* the old file is as it was */
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(exact_bytes),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(unusual_but_allowed),
        cmocka_unit_test(cut_short),
        cmocka_unit_test(bit_flips),
        cmocka_unit_test(header_lengths),
        cmocka_unit_test(bad_headers),
        cmocka_unit_test(deep_nesting),
        cmocka_unit_test(long_names),
        cmocka_unit_test(no_file),
        cmocka_unit_test(refused_contents),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

#else

static void says_what_is_missing(void **state) {
    (void)state;
    fv_tensors tensors;
    assert_int_equal(fv_tensors_open(path, &tensors), FV_UNSUPPORTED);
    assert_non_null(strstr(fv_error_message(), "-Djson=enabled"));
    fv_tensors_close(&tensors);
    assert_int_equal(fv_tensors_write(path, NULL, 0, NULL, NULL, 0), FV_UNSUPPORTED);
    assert_non_null(strstr(fv_error_message(), "-Djson=enabled"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(says_what_is_missing)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

#endif
