/* Windows that ONNX files gather by matrices of indices: a matrix is a layer's only if every number
 * in it and all that stands around it say so. Files of ours are changed byte by byte and must be
 * refused; and who wrote a file does not matter. */
#include "files.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char local[] = "input 4x3x1\nlocal 2 2x2 stride=2x1 pad=0:0x1:0\n";
static const char local_1d[] = "input 5x2\nlocal 3 3 stride=2\n";
static const char largest[] = "input 5x2\nadaptive_maxpool 3\n";
static const char mean[] = "input 5x2\nadaptive_avgpool 3\n";
static const char mean_2d[] = "input 5x4x2\nadaptive_avgpool 3x4\n";

/* ---- Files ----------------------------------------------------------------------------------- */

typedef struct file {
    unsigned char *bytes;
    size_t size;
} file;

/* The net as an ONNX file; free `bytes`. */
static file exported(const char *text) {
    file f;
    fv_net *net = fv_net_parse(text, "test.net");
    if (!net || fv_net_initialize(net, 1) != FV_OK ||
        fv_export(net, in_folder("good.onnx")) != FV_OK)
        fail_msg("%s", fv_error_message());
    fv_net_free(net);
    f.bytes = read_whole(in_folder("good.onnx"), &f.size);
    return f;
}

/* Where those bytes are, which the file has once. */
static unsigned char *find(const file *f, const void *bytes, size_t size) {
    unsigned char *found = NULL;
    for (size_t at = 0; at + size <= f->size; at++)
        if (memcmp(f->bytes + at, bytes, size) == 0) {
            if (found)
                fail_msg("bytes are in the file at %td and %zu", found - f->bytes, at);
            found = f->bytes + at;
        }
    assert_non_null(found);
    return found;
}

static fv_net *load(const file *f) {
    write_file(in_folder("changed.onnx"), f->bytes, f->size);
    return fv_net_load(in_folder("changed.onnx"));
}

/* Refused for what the nodes of the layer are. */
static void refused(const file *f, const char *what, long long place) {
    fv_net *net = load(f);
    fv_status status = fv_error_status();
    if (net)
        fail_msg("%s, %lld: not refused:\n%s", what, place, fv_net_print(net, false));
    if (status != FV_FORMAT && status != FV_UNSUPPORTED && status != FV_SHAPE)
        fail_msg("%s, %lld: status %d: %s", what, place, status, fv_error_message());
    if (!strstr(fv_error_message(), "node \"local1") &&
        !strstr(fv_error_message(), "node \"adaptive_"))
        fail_msg("%s, %lld: %s", what, place, fv_error_message());
}

/* ---- Numbers --------------------------------------------------------------------------------- */

/* Index matrices, by hand. */
static const int64_t local_index[] = {0, 1, 4,  5,  1, 2,  5,  6,  2,  3,  6,  7,
                                      8, 9, 12, 13, 9, 10, 13, 14, 10, 11, 14, 15};
static const int64_t local_1d_index[] = {0, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9};
static const int64_t pool_index[] = {0, 1, 1, 1, 2, 3, 3, 4, 4};

static void each_index_counts(const char *text, const int64_t *index, size_t count) {
    file f = exported(text);
    unsigned char *at = find(&f, index, count * sizeof *index);
    for (size_t i = 0; i < count; i++) {
        const int64_t others[] = {index[i] + 1, index[i] - 1,     index[i] - 10, 1000000,
                                  INT32_MAX,    (int64_t)1 << 40, INT64_MAX,     INT64_MIN};
        for (size_t k = 0; k < sizeof others / sizeof others[0]; k++) {
            memcpy(at + i * sizeof *index, &others[k], sizeof *index);
            refused(&f, text, others[k]);
        }
        memcpy(at + i * sizeof *index, &index[i], sizeof *index);
    }
    fv_net *net = load(&f);
    assert_non_null(net);
    assert_int_equal(fv_layer_count(net), 2);
    fv_net_free(net);
    free(f.bytes);
}

static void indices(void **state) {
    (void)state;
    each_index_counts(local, local_index, sizeof local_index / sizeof *local_index);
    each_index_counts(local_1d, local_1d_index, sizeof local_1d_index / sizeof *local_1d_index);
    each_index_counts(largest, pool_index, sizeof pool_index / sizeof *pool_index);
    each_index_counts(mean, pool_index, sizeof pool_index / sizeof *pool_index);
}

static void shares(void **state) {
    (void)state;
    const float third = 1 / 3.0f;
    const float numbers[] = {0.5f, 0.5f, 0, third, third, third, 0.5f, 0.5f, 0};
    file f = exported(mean);
    unsigned char *at = find(&f, numbers, sizeof numbers);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const float others[] = {numbers[i] + 0.001f, -1, 1, 1e30f, 0.25f};
        for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
            memcpy(at + i * sizeof *numbers, &others[k], sizeof *numbers);
            refused(&f, mean, (long long)i);
        }
        memcpy(at + i * sizeof *numbers, &numbers[i], sizeof *numbers);
    }
    free(f.bytes);
}

/* ---- What stands around them ------------------------------------------------------------------
 */

#define BYTES(from, to) from, to, sizeof(from) - 1

/* Sizes of tensors, attributes and operators; fields of onnx.proto are in front of the numbers. */
static const struct {
    const char *text, *from, *to;
    size_t size;
} changes[] = {
    /* sizes of the index matrix, of the weights, of the bias */
    {local, BYTES("\x08\x06\x08\x04\x10\x07", "\x08\x04\x08\x06\x10\x07")},
    {local, BYTES("\x08\x06\x08\x04\x10\x07", "\x08\x18\x08\x01\x10\x07")},
    {local, BYTES("\x08\x06\x08\x04\x10\x07", "\x08\x02\x08\x0c\x10\x07")},
    {local, BYTES("\x08\x06\x08\x04\x08\x02\x10\x01", "\x08\x06\x08\x02\x08\x04\x10\x01")},
    {local, BYTES("\x08\x06\x08\x04\x08\x02\x10\x01", "\x08\x03\x08\x04\x08\x04\x10\x01")},
    {local, BYTES("\x08\x06\x08\x04\x08\x02\x10\x01", "\x08\x06\x08\x08\x08\x01\x10\x01")},
    {local, BYTES("\x08\x06\x08\x01\x08\x02\x10\x01", "\x08\x06\x08\x02\x08\x01\x10\x01")},
    {local, BYTES("\x08\x06\x08\x01\x08\x02\x10\x01", "\x08\x01\x08\x06\x08\x02\x10\x01")},
    /* perm of the three Transposes; axis of the Gather */
    {local, BYTES("\x40\0\x40\2\x40\3\x40\1", "\x40\0\x40\3\x40\2\x40\1")},
    {local, BYTES("\x40\0\x40\2\x40\3\x40\1", "\x40\0\x40\1\x40\2\x40\3")},
    {local, BYTES("\x40\1\x40\0\x40\2\xa0", "\x40\0\x40\1\x40\2\xa0")},
    {local, BYTES("\x40\1\x40\0\x40\2\xa0", "\x40\2\x40\0\x40\1\xa0")},
    {local, BYTES("\x40\1\x40\2\x40\0\xa0", "\x40\1\x40\0\x40\2\xa0")},
    {local, BYTES("\x04"
                  "axis\x18\1",
                  "\x04"
                  "axis\x18\0")},
    {local, BYTES("\x04"
                  "axis\x18\1",
                  "\x04"
                  "axis\x18\2")},
    /* the Pad, where its width changes, and of channels or the batch */
    {local, BYTES("J\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1",
                  "J\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2")},
    {local, BYTES("J\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1",
                  "J\x40\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1")},
    {local, BYTES("J\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1",
                  "J\x40\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1")},
    /* the sizes 2x3 of the output */
    {local, BYTES("\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0Z", "\3\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0Z")},
    {local, BYTES("\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0Z", "\6\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0Z")},
    /* operators */
    {local, BYTES("\x22\x03"
                  "Add",
                  "\x22\x03"
                  "Sub")},
    {local, BYTES("\x22\x03"
                  "Add",
                  "\x22\x03"
                  "Mul")},
    {largest, BYTES("\x22\x09"
                    "ReduceMax",
                    "\x22\x09"
                    "ReduceMin")},
    {largest, BYTES("\x22\x09"
                    "ReduceMax",
                    "\x22\x09"
                    "ReduceSum")},
    {mean, BYTES("\x22\x09"
                 "ReduceSum",
                 "\x22\x09"
                 "ReduceMax")},
    {mean, BYTES("\x22\x03"
                 "Mul",
                 "\x22\x03"
                 "Add")},
    {mean, BYTES("\x22\x03"
                 "Mul",
                 "\x22\x03"
                 "Div")},
    /* what is reduced, and whether the axis goes; where is gathered; sizes of the tensors */
    {largest, BYTES("\x04"
                    "axes\x40\3",
                    "\x04"
                    "axes\x40\2")},
    {largest, BYTES("\x04"
                    "axes\x40\3",
                    "\x04"
                    "axes\x40\1")},
    {mean, BYTES("J\x08\3\0\0", "J\x08\2\0\0")},
    {mean, BYTES("keepdims\x18\0", "keepdims\x18\1")},
    {largest, BYTES("keepdims\x18\0", "keepdims\x18\1")},
    {largest, BYTES("\x04"
                    "axis\x18\2",
                    "\x04"
                    "axis\x18\1")},
    {largest, BYTES("\x04"
                    "axis\x18\2",
                    "\x04"
                    "axis\x18\0")},
    {mean, BYTES("\x08\3\x08\3\x10\7", "\x08\x09\x08\1\x10\7")},
    {mean, BYTES("\x08\3\x08\3\x10\7", "\x08\1\x08\x09\x10\7")},
    {mean, BYTES("\x08\3\x08\3\x10\1", "\x08\x09\x08\1\x10\1")},
    {mean_2d, BYTES("\x08\3\x08\3\x08\1\x10\1", "\x08\1\x08\3\x08\3\x10\1")},
};

static void surroundings(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        file f = exported(changes[i].text);
        unsigned char *at = find(&f, changes[i].from, changes[i].size);
        memcpy(at, changes[i].to, changes[i].size);
        refused(&f, changes[i].text, (long long)i);
        free(f.bytes);
    }
}

/* ---- Other writers ----------------------------------------------------------------------------
 */

/* The layer is found by what the file says, not by who wrote it. */
static void any_writer(void **state) {
    (void)state;
    static const char *const texts[] = {local, local_1d, largest, mean, mean_2d};
    static const char *const types[] = {"local", "local", "adaptive_maxpool", "adaptive_avgpool",
                                        "adaptive_avgpool"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        fv_layer_info info;
        file f = exported(texts[i]);
        memcpy(find(&f,
                    "\x12\x05"
                    "fovea\x1a",
                    8),
               "\x12\x05"
               "other\x1a",
               8);
        fv_net *net = load(&f);
        if (!net)
            fail_msg("%s", fv_error_message());
        assert_int_equal(fv_layer_count(net), 2);
        assert_int_equal(fv_layer_describe(net, 1, &info), FV_OK);
        assert_string_equal(info.type, types[i]);
        fv_net_free(net);
        free(f.bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(indices),
        cmocka_unit_test(shares),
        cmocka_unit_test(surroundings),
        cmocka_unit_test(any_writer),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
