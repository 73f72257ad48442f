/* ONNX files that are damaged, hostile, or beyond the library: each is refused by a status and a
 * message that names the node, value or tensor; nothing crashes, hangs, takes much memory or leaves
 * a file open. golden/make_onnx_hostile.py made those of golden/onnx/hostile. */
#include "files.h"
#include "onnx_bytes.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#ifndef __has_feature
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
static const double patience = 20; /* seconds a file */
#else
static const double patience = 2;
#endif
#ifdef __SANITIZE_ADDRESS__
enum { MOST_KILOBYTES = 128 * 1024 }; /* the sanitizer fences off each block */
#else
enum { MOST_KILOBYTES = 64 * 1024 }; /* that a small file may take */
#endif

static const char *golden;
static int wrong;

/* ---- Loading under watch ----------------------------------------------------------------------
 */

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static long peak_kilobytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static int entries_of(const char *path) {
    DIR *folder = opendir(path);
    assert_non_null(folder);
    int count = 0;
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static fv_net *watched_load(const char *path) {
    double start = now();
    long before = peak_kilobytes();
    int files = entries_of("/proc/self/fd");
    fv_net *net = fv_net_load(path);
    if (now() - start > patience)
        fail_msg("%s took %.1f s", path, now() - start);
    if (peak_kilobytes() - before > MOST_KILOBYTES)
        fail_msg("%s took %ld kB", path, peak_kilobytes() - before);
    if (!net && entries_of("/proc/self/fd") != files)
        fail_msg("%s: a file is left open", path);
    if (!net && (fv_error_status() == FV_OK || !*fv_error_message()))
        fail_msg("%s: refused without a reason", path);
    return net;
}

/* What a refusal may be: of bytes or a graph that break the format's rules; of what the library has
 * no layer for; of files. */
typedef enum refusal { DAMAGED, UNSUPPORTED, EITHER, FILES } refusal;

static bool is_refusal(fv_status status, refusal kind) {
    bool damaged = status == FV_FORMAT || status == FV_SHAPE || status == FV_INVALID;
    switch (kind) {
    case DAMAGED:
        return damaged;
    case UNSUPPORTED:
        return status == FV_UNSUPPORTED;
    case EITHER:
        return damaged || status == FV_UNSUPPORTED;
    default:
        return status == FV_IO || status == FV_FORMAT;
    }
}

/* Whether the message holds the word; not in the file's own path, if it is a word of the reason. */
static bool says(const char *path, const char *word) {
    char text[4000];
    const char *message = fv_error_message(), *own = strstr(message, path);
    if (!own || strstr(word, ".onnx"))
        return strstr(message, word);
    snprintf(text, sizeof text, "%.*s%s", (int)(own - message), message, own + strlen(path));
    return strstr(text, word);
}

/* Reports unless the file is refused so, in a message with both words. */
static void refused(const char *path, refusal kind, const char *word, const char *other) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    fv_net *net = watched_load(path);
    if (net) {
        print_error("%s: not refused\n", name);
    } else if (!is_refusal(fv_error_status(), kind)) {
        print_error("%s: status %d: %s\n", name, fv_error_status(), fv_error_message());
    } else if (!says(path, word) || !says(path, other)) {
        print_error("%s: the message '%s' lacks '%s' or '%s'\n", name, fv_error_message(), word,
                    other);
    } else {
        return;
    }
    fv_net_free(net);
    wrong++;
}

static void none_wrong(void) {
    int count = wrong;
    wrong = 0;
    assert_int_equal(count, 0);
}

/* ---- Files that are kept ----------------------------------------------------------------------
 */

/* word: of the message; NULL: the node's name, which is "faulty". */
static const struct {
    const char *name;
    refusal kind;
    const char *word;
} kept[] = {
    {"add_rank", EITHER, NULL},
    {"add_sizes", EITHER, NULL},
    {"batch_flattened", EITHER, NULL},
    {"batch_joined", UNSUPPORTED, NULL},
    {"batch_moved", UNSUPPORTED, NULL},
    {"batch_padded", UNSUPPORTED, NULL},
    {"batch_reduced", UNSUPPORTED, NULL},
    {"batch_sliced", UNSUPPORTED, NULL},
    {"batchnorm_lengths_3233", DAMAGED, NULL},
    {"batchnorm_lengths_3313", DAMAGED, NULL},
    {"batchnorm_lengths_3334", DAMAGED, NULL},
    {"batchnorm_lengths_4333", DAMAGED, NULL},
    {"batchnorm_training", UNSUPPORTED, NULL},
    {"clip_by_text", EITHER, ""},
    {"concat_axis", DAMAGED, NULL},
    {"concat_no_axis", DAMAGED, NULL},
    {"concat_sizes", DAMAGED, NULL},
    {"constant_doubling", EITHER, ""},
    {"constant_empty_joined", DAMAGED, "bad_weight"},
    {"constant_empty_turned", DAMAGED, "bad_weight"},
    {"constant_expanded", EITHER, NULL},
    {"constant_for_places", UNSUPPORTED, NULL},
    {"constant_of_shape", EITHER, NULL},
    {"constant_of_shape_negative", EITHER, NULL},
    {"constant_of_shape_overflow", EITHER, NULL},
    {"constant_range", EITHER, NULL},
    {"constant_short", DAMAGED, NULL},
    {"constant_sliced_twice", DAMAGED, NULL},
    {"constant_tiled", EITHER, NULL},
    {"constant_without_value", DAMAGED, NULL},
    {"conv_auto_pad", DAMAGED, NULL},
    {"conv_bias_length", DAMAGED, NULL},
    {"conv_channels", DAMAGED, NULL},
    {"conv_dilation_0", DAMAGED, NULL},
    {"conv_dilation_huge", EITHER, NULL},
    {"conv_group_0", DAMAGED, NULL},
    {"conv_group_largest", DAMAGED, NULL},
    {"conv_group_negative", DAMAGED, NULL},
    {"conv_group_not_divisor", DAMAGED, NULL},
    {"conv_kernel_shape", DAMAGED, NULL},
    {"conv_kernel_shape_short", DAMAGED, NULL},
    {"conv_large_kernel", DAMAGED, NULL},
    {"conv_of_vector", DAMAGED, NULL},
    {"conv_pads_largest", EITHER, NULL},
    {"conv_pads_negative", EITHER, NULL},
    {"conv_pads_short", DAMAGED, NULL},
    {"conv_rank_3", DAMAGED, NULL},
    {"conv_rank_5", DAMAGED, NULL},
    {"conv_stride_0", DAMAGED, NULL},
    {"conv_stride_largest", EITHER, NULL},
    {"conv_stride_negative", DAMAGED, NULL},
    {"conv_stride_short", DAMAGED, NULL},
    {"conv_stride_text", DAMAGED, NULL},
    {"convolution_of_two_values", UNSUPPORTED, NULL},
    {"convtranspose_channels", DAMAGED, NULL},
    {"convtranspose_output_padding", EITHER, NULL},
    {"convtranspose_output_shape", EITHER, NULL},
    {"cycle", DAMAGED, ""},
    {"depth_block", DAMAGED, NULL},
    {"depth_block_0", DAMAGED, NULL},
    {"domain", UNSUPPORTED, "com.example"},
    {"domain_microsoft", UNSUPPORTED, "FusedConv"},
    {"domain_of_constants", UNSUPPORTED, "com.example"},
    {"duplicate_initialiser", DAMAGED, "twice"},
    {"duplicate_of_initialiser", DAMAGED, "twice"},
    {"duplicate_of_input", DAMAGED, "input"},
    {"duplicate_value", DAMAGED, "twice"},
    {"empty_operator", EITHER, NULL},
    {"empty_output_name", DAMAGED, ""},
    {"flatten_axis_2", EITHER, NULL},
    {"gather_beyond", DAMAGED, NULL},
    {"gather_of_floats", EITHER, NULL},
    {"gemm_alpha_nan", EITHER, NULL},
    {"gemm_bias", DAMAGED, NULL},
    {"gemm_of_picture", EITHER, NULL},
    {"gemm_rank", DAMAGED, NULL},
    {"gemm_sizes", DAMAGED, NULL},
    {"gemm_transA", EITHER, NULL},
    {"groups_of_norm", DAMAGED, NULL},
    {"if", UNSUPPORTED, NULL},
    {"input_channels_open", EITHER, "input"},
    {"input_left_out", DAMAGED, NULL},
    {"input_of_int64", UNSUPPORTED, "input"},
    {"input_of_rank_0", EITHER, "input"},
    {"input_of_rank_7", UNSUPPORTED, "input"},
    {"input_sequence", EITHER, "input"},
    {"input_size_0", EITHER, "input"},
    {"input_size_huge", EITHER, "input"},
    {"input_size_negative", DAMAGED, "input"},
    {"input_without_shape", EITHER, "input"},
    {"input_without_type", EITHER, "input"},
    {"instancenorm_lengths", DAMAGED, NULL},
    {"ir_99", EITHER, "99"},
    {"ir_none", DAMAGED, ""},
    {"layernorm_lengths", DAMAGED, NULL},
    {"loop", UNSUPPORTED, NULL},
    {"lrn_no_size", DAMAGED, NULL},
    {"lrn_size", DAMAGED, NULL},
    {"mask_is_used", UNSUPPORTED, "/Dropout_0"},
    {"matmul_itself", EITHER, NULL},
    {"matmul_sizes", DAMAGED, NULL},
    {"missing_initialiser", DAMAGED, "no_such_weight"},
    {"mul_sizes", EITHER, NULL},
    {"no_graph", DAMAGED, ""},
    {"no_input", DAMAGED, "input"},
    {"no_output", DAMAGED, "output"},
    {"no_outputs_of_node", DAMAGED, NULL},
    {"operator", UNSUPPORTED, "NonMaxSuppression"},
    {"operator_unknown", UNSUPPORTED, "Frobnicate"},
    {"opset_1", UNSUPPORTED, "1"},
    {"opset_99", UNSUPPORTED, "99"},
    {"opset_negative", EITHER, "-5"},
    {"opset_none", EITHER, ""},
    {"opset_of_other_domain", EITHER, ""},
    {"output_by_constant_node", EITHER, "fixed"},
    {"output_is_constant", EITHER, "fixed"},
    {"own_output", DAMAGED, NULL},
    {"pad_all_away", DAMAGED, NULL},
    {"pad_count", DAMAGED, NULL},
    {"pad_largest", EITHER, NULL},
    {"pad_mode", EITHER, NULL},
    {"pad_reflects_beyond", DAMAGED, NULL},
    {"pool_indices", EITHER, ""},
    {"pool_kernel_0", DAMAGED, NULL},
    {"pool_kernel_huge", EITHER, NULL},
    {"pool_kernel_large", DAMAGED, NULL},
    {"pool_kernel_short", DAMAGED, NULL},
    {"pool_no_kernel", DAMAGED, NULL},
    {"pool_pads_large", EITHER, NULL},
    {"prelu_sizes", EITHER, NULL},
    {"quantized", UNSUPPORTED, "QuantizeLinear"},
    {"reshape_batch_into_channels", EITHER, NULL},
    {"reshape_by_data", EITHER, ""},
    {"reshape_does_not_fit", DAMAGED, NULL},
    {"reshape_negative", DAMAGED, NULL},
    {"reshape_of_floats", DAMAGED, NULL},
    {"reshape_other_count", DAMAGED, NULL},
    {"reshape_overflow", DAMAGED, NULL},
    {"reshape_two_open", DAMAGED, NULL},
    {"reshape_zero_beyond", DAMAGED, NULL},
    {"resize_batch", EITHER, NULL},
    {"resize_huge", EITHER, NULL},
    {"resize_infinite", EITHER, NULL},
    {"resize_mode", EITHER, NULL},
    {"resize_nan", EITHER, NULL},
    {"resize_negative", EITHER, NULL},
    {"resize_no_size", EITHER, NULL},
    {"resize_short", EITHER, NULL},
    {"resize_zero", EITHER, NULL},
    {"same_input_twice", EITHER, "input"},
    {"slice_axis", DAMAGED, NULL},
    {"slice_counts", DAMAGED, NULL},
    {"slice_nothing", EITHER, NULL},
    {"slice_step_0", EITHER, NULL},
    {"split_count", DAMAGED, NULL},
    {"split_negative", DAMAGED, NULL},
    {"split_sum", DAMAGED, NULL},
    {"squeeze_size", DAMAGED, NULL},
    {"tensor_dims_huge", DAMAGED, "bad_weight"},
    {"tensor_dims_largest", DAMAGED, "bad_weight"},
    {"tensor_dims_many", EITHER, "bad_weight"},
    {"tensor_dims_negative", DAMAGED, "bad_weight"},
    {"tensor_dims_overflow", DAMAGED, "bad_weight"},
    {"tensor_dims_overflow_to_fit", DAMAGED, "bad_weight"},
    {"tensor_empty", EITHER, ""},
    {"tensor_raw_long", DAMAGED, "bad_weight"},
    {"tensor_raw_none", DAMAGED, "bad_weight"},
    {"tensor_raw_short", DAMAGED, "bad_weight"},
    {"tensor_segment", EITHER, "bad_weight"},
    {"tensor_sparse", EITHER, "sparse"},
    {"tensor_type_0", EITHER, "bad_weight"},
    {"tensor_type_99", EITHER, "bad_weight"},
    {"tensor_type_complex", EITHER, "bad_weight"},
    {"tensor_type_int64", EITHER, ""},
    {"tensor_type_negative", EITHER, "bad_weight"},
    {"tensor_type_string", EITHER, "bad_weight"},
    {"tensor_values_few", DAMAGED, "bad_weight"},
    {"tensor_values_many", DAMAGED, "bad_weight"},
    {"tensor_values_of_other_type", DAMAGED, "bad_weight"},
    {"tensor_values_twice", DAMAGED, "bad_weight"},
    {"tensor_without_name", DAMAGED, ""},
    {"too_few_inputs", DAMAGED, NULL},
    {"too_many_inputs", DAMAGED, NULL},
    {"transpose_beyond", DAMAGED, NULL},
    {"transpose_short", DAMAGED, NULL},
    {"transpose_twice", DAMAGED, NULL},
    {"two_inputs", UNSUPPORTED, "second"},
    {"unknown_output", DAMAGED, "nowhere"},
    {"unknown_value", DAMAGED, "nowhere"},
    {"unsorted", DAMAGED, "later"},
    {"unsqueeze_beyond", DAMAGED, NULL},
};
enum { KEPT = sizeof kept / sizeof kept[0] };

/* An unsupported operator is named, beside the node. */
static void kept_files(void **state) {
    (void)state;
    char path[700];
    for (int i = 0; i < KEPT; i++) {
        bool node = !kept[i].word;
        bool named = kept[i].kind == UNSUPPORTED && strstr(kept[i].name, "operator");
        snprintf(path, sizeof path, "%s/hostile/%s.onnx", golden, kept[i].name);
        refused(path, kept[i].kind, node ? "faulty" : kept[i].word, named ? "faulty" : "");
    }
    snprintf(path, sizeof path, "%s/hostile", golden);
    assert_int_equal(entries_of(path), KEPT + 2); /* . and .. */
    none_wrong();
}

/* ---- Damaged copies of good ones ---------------------------------------------------------------
 */

static const char *const good[] = {"lenet_opset17", "flatten_dynamic", "weights_float_data",
                                   "convnext"};
enum { GOOD = sizeof good / sizeof good[0] };

static unsigned char *read_good(int i, size_t *size) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s.onnx", golden, good[i]);
    return read_whole(path, size);
}

static void cut_short(void **state) {
    (void)state;
    const char *path = in_folder("cut.onnx");
    for (int i = 0; i < GOOD; i++) {
        size_t size;
        unsigned char *bytes = read_good(i, &size);
        for (size_t end = 0; end < size; end += 37) {
            write_file(path, bytes, end);
            refused(path, EITHER, "cut.onnx", "");
        }
        write_file(path, bytes, size - 1);
        refused(path, EITHER, "cut.onnx", "");
        free(bytes);
    }
    none_wrong();
}

/* A net of damaged numbers still runs, if it does not want much memory. */
static void try_to_run(const fv_net *net) {
    fv_shape shape = fv_input_shape(net);
    fv_memory memory;
    for (int i = 0; i < shape.rank; i++)
        if (shape.size[i] == FV_ANY)
            return;
    if (fv_net_memory(net, 1, 1, false, false, &memory) != FV_OK || memory.total > 4 << 20)
        return;
    fv_session *session = fv_session_new(net, &(fv_session_options){.threads = 1});
    float *input = calloc(fv_shape_count(&shape), sizeof *input);
    assert_non_null(input);
    if (session)
        assert_int_equal(fv_session_run(session, input, 1), FV_OK);
    free(input);
    fv_session_free(session);
}

/* A byte is another: refused, or a net. */
static void bytes_turned(void **state) {
    (void)state;
    const char *path = in_folder("turned.onnx");
    uint32_t random = 1;
    int read = 0, tried = 0;
    for (int i = 0; i < GOOD; i++) {
        size_t size;
        unsigned char *bytes = read_good(i, &size);
        for (size_t at = 0; at < size; at += at < 600 ? 1 : 7) {
            unsigned char before = bytes[at];
            random = random * 1664525 + 1013904223;
            bytes[at] ^= (unsigned char)(1 + (random >> 24) % 255);
            write_file(path, bytes, size);
            fv_net *net = watched_load(path);
            bytes[at] = before;
            tried++;
            if (!net)
                continue;
            read++;
            try_to_run(net);
            fv_net_free(net);
        }
        free(bytes);
    }
    print_message("%d of %d damaged files were read\n", read, tried);
    assert_in_range(read, 1, tried - 100);
}

static void no_model(void **state) {
    (void)state;
    static const char text[] = "input 4\ndense 2\n";
    unsigned char zeros[1000] = {0}, ones[1000];
    memset(ones, 255, sizeof ones);
    write_file(in_folder("a.onnx"), "", 0);
    refused(in_folder("a.onnx"), EITHER, "a.onnx", "");
    write_file(in_folder("a.onnx"), text, sizeof text - 1);
    refused(in_folder("a.onnx"), EITHER, "a.onnx", "");
    write_file(in_folder("a.onnx"), zeros, sizeof zeros);
    refused(in_folder("a.onnx"), EITHER, "a.onnx", "");
    write_file(in_folder("a.onnx"), ones, sizeof ones);
    refused(in_folder("a.onnx"), EITHER, "a.onnx", "");
    refused(in_folder("none.onnx"), FILES, "none.onnx", "");
    assert_int_equal(mkdir(in_folder("folder.onnx"), 0700), 0);
    refused(in_folder("folder.onnx"), FILES, "folder.onnx", "");
    assert_int_equal(rmdir(in_folder("folder.onnx")), 0);
    none_wrong();
}

/* ---- Weights beside the model -------------------------------------------------------------------
 */

static void add_entry(onnx_bytes *tensor, const char *key, const void *value, size_t size) {
    onnx_bytes entry = {0};
    onnx_string(&entry, 1, key);
    onnx_blob(&entry, 2, value, size);
    onnx_message(tensor, TENSOR_EXTERNAL, &entry);
}

/* input[N,2] + weight[2], whose numbers are elsewhere. */
static void write_external(const char *path, const void *location, size_t size, const char *offset,
                           const char *length) {
    onnx_bytes graph = {0}, tensor = {0};
    onnx_node(&graph, "Add", "input", "far_weight", "output");
    onnx_number(&tensor, TENSOR_DIMS, 2);
    onnx_number(&tensor, TENSOR_TYPE, 1);
    onnx_string(&tensor, TENSOR_NAME, "far_weight");
    if (location)
        add_entry(&tensor, "location", location, size);
    if (offset)
        add_entry(&tensor, "offset", offset, strlen(offset));
    if (length)
        add_entry(&tensor, "length", length, strlen(length));
    onnx_number(&tensor, TENSOR_LOCATION, 1);
    onnx_message(&graph, GRAPH_INITIALIZER, &tensor);
    onnx_port(&graph, GRAPH_INPUT, "input", 2);
    onnx_port(&graph, GRAPH_OUTPUT, "output", 2);
    onnx_write_model(path, &graph);
}

static const float numbers[] = {3, 5, 7, 11};

/* a/model.onnx, a/numbers.bin, a/b/numbers.bin, and a file that is none of the model's. */
static void make_folders(void) {
    assert_int_equal(mkdir(in_folder("a"), 0700), 0);
    assert_int_equal(mkdir(in_folder("a/b"), 0700), 0);
    write_file(in_folder("secret.bin"), numbers, sizeof numbers);
    write_file(in_folder("a/numbers.bin"), numbers, sizeof numbers);
    write_file(in_folder("a/b/numbers.bin"), numbers, sizeof numbers);
    assert_int_equal(symlink(in_folder("secret.bin"), in_folder("a/link.bin")), 0);
    assert_int_equal(symlink("../secret.bin", in_folder("a/near.bin")), 0);
    assert_int_equal(symlink("..", in_folder("a/up")), 0);
    assert_int_equal(mkfifo(in_folder("a/pipe.bin"), 0600), 0);
}

static void external_refused(const char *location, const char *offset, const char *length,
                             const char *word) {
    const char *path = in_folder("a/model.onnx");
    write_external(path, location, location ? strlen(location) : 0, offset, length);
    refused(path, FILES, "far_weight", word);
}

/* The first number of the weight that a model has from elsewhere, by running it. */
static void external_read(const char *location, const char *offset, const char *length,
                          float expected) {
    const char *path = in_folder("a/model.onnx");
    write_external(path, location, strlen(location), offset, length);
    fv_net *net = watched_load(path);
    if (!net)
        fail_msg("%s, offset %s: %s", location, offset, fv_error_message());
    fv_session *session = fv_session_new(net, NULL);
    const float zeros[2] = {0};
    assert_non_null(session);
    assert_int_equal(fv_session_run(session, zeros, 1), FV_OK);
    assert_true(fv_session_output(session, NULL, NULL)[0] == expected);
    fv_session_free(session);
    fv_net_free(net);
}

static void external_files(void **state) {
    (void)state;
    make_folders();
    external_read("numbers.bin", "8", NULL, 7); /* without a length: what is left */
    external_read("numbers.bin", "8", "8", 7);
    external_read("b/numbers.bin", "4", "8", 5);
    external_read("./numbers.bin", "0", "8", 3);
    external_refused("../secret.bin", NULL, NULL, "secret.bin");
    external_refused("b/../../secret.bin", NULL, NULL, "secret.bin");
    external_refused("up/secret.bin", NULL, NULL, "secret.bin");
    external_refused(in_folder("secret.bin"), NULL, NULL, "secret.bin");
    external_refused(in_folder("a/numbers.bin"), NULL, NULL, "numbers.bin");
    external_refused("link.bin", NULL, NULL, "link.bin");
    external_refused("near.bin", NULL, NULL, "near.bin");
    external_refused("missing.bin", NULL, NULL, "missing.bin");
    external_refused("pipe.bin", NULL, NULL, "pipe.bin");
    external_refused("b", NULL, NULL, "");
    external_refused("..", NULL, NULL, "");
    external_refused("", NULL, NULL, "");
    external_refused(NULL, NULL, NULL, "");
    external_refused("model.onnx/x", NULL, NULL, "");
    none_wrong();
}

static void external_places(void **state) {
    (void)state;
    external_refused("numbers.bin", "12", NULL, "numbers.bin"); /* four bytes are left */
    external_refused("numbers.bin", "16", "8", "numbers.bin");
    external_refused("numbers.bin", "8", "16", "");
    external_refused("numbers.bin", "0", "4", ""); /* of two floats */
    external_refused("numbers.bin", "0", "16", "");
    external_refused("numbers.bin", "1000000000000", "8", "numbers.bin");
    external_refused("numbers.bin", "18446744073709551612", "8", "");
    external_refused("numbers.bin", "9223372036854775807", "8", "");
    external_refused("numbers.bin", "99999999999999999999999", "8", "");
    external_refused("numbers.bin", "-4", "8", "");
    external_refused("numbers.bin", "four", "8", "");
    external_refused("numbers.bin", "", "8", "");
    external_refused("numbers.bin", "0", "-8", "");
    external_refused("numbers.bin", "0", "8 bytes", "");
    none_wrong();
}

static void external_names(void **state) {
    (void)state;
    static const char zero[] = "numbers.bin\0.txt", *const path = "a/model.onnx";
    char longest[5000];
    write_external(in_folder(path), zero, sizeof zero - 1, NULL, NULL);
    refused(in_folder(path), FILES, "far_weight", "");
    memset(longest, 'x', sizeof longest);
    write_external(in_folder(path), longest, sizeof longest, NULL, NULL);
    refused(in_folder(path), FILES, "far_weight", "");
    none_wrong();
}

/* The file is cut short when the model is there already. */
static void external_shrinks(void **state) {
    (void)state;
    const char *path = in_folder("a/model.onnx");
    write_external(path, "b/numbers.bin", 13, "0", "8");
    fv_net *net = watched_load(path);
    if (!net)
        fail_msg("%s", fv_error_message());
    assert_int_equal(truncate(in_folder("a/b/numbers.bin"), 2), 0);
    fv_session *session = fv_session_new(net, NULL);
    if (session) { /* it had the numbers */
        const float zeros[2] = {0};
        assert_int_equal(fv_session_run(session, zeros, 1), FV_OK);
        assert_true(fv_session_output(session, NULL, NULL)[0] == 3);
    } else {
        expect_failure(fv_error_status(), FV_IO, "numbers.bin");
    }
    fv_session_free(session);
    fv_net_free(net);
}

/* ---- Large and deep ----------------------------------------------------------------------------
 */

/* `count` nodes in a row, the last a Relu; written from the last to the first if `reversed`. */
static void write_chain(const char *path, const char *op, int count, bool reversed) {
    onnx_bytes graph = {0};
    for (int k = 0; k < count; k++) {
        int i = reversed ? count - 1 - k : k;
        char from[32], to[32];
        snprintf(from, sizeof from, i > 0 ? "v%d" : "input", i);
        snprintf(to, sizeof to, i + 1 < count ? "v%d" : "output", i + 1);
        onnx_node(&graph, i + 1 < count ? op : "Relu", from, NULL, to);
    }
    onnx_port(&graph, GRAPH_INPUT, "input", 4);
    onnx_port(&graph, GRAPH_OUTPUT, "output", 4);
    onnx_write_model(path, &graph);
}

static void expect_relu(const fv_net *net) {
    const float input[] = {-1, 2, -3, 4}, output[] = {0, 2, 0, 4};
    fv_session *session = fv_session_new(net, NULL);
    if (!session || fv_session_run(session, input, 1) != FV_OK)
        fail_msg("%s", fv_error_message());
    assert_memory_equal(fv_session_output(session, NULL, NULL), output, sizeof output);
    fv_session_free(session);
}

static void many_nodes(void **state) {
    (void)state;
    const char *path = in_folder("many.onnx");
    write_chain(path, "Identity", 100000, false);
    fv_net *net = watched_load(path);
    if (!net)
        fail_msg("%s", fv_error_message());
    assert_int_equal(fv_layer_count(net), 2);
    expect_relu(net);
    fv_net_free(net);
    write_chain(path, "Relu", 9000, false);
    net = watched_load(path);
    if (!net)
        fail_msg("%s", fv_error_message());
    assert_int_equal(fv_layer_count(net), 9001);
    expect_relu(net);
    fv_net_free(net);
    write_chain(path, "Relu", 10000, false);
    refused(path, EITHER, "10000 layers", "");
    /* ONNX wants nodes in order; however it is taken, not by recursion without end. */
    write_chain(path, "Relu", 100000, true);
    fv_net_free(watched_load(path));
    unlink(path);
    none_wrong();
}

static void many_constants(void **state) {
    (void)state;
    const char *path = in_folder("many.onnx");
    onnx_bytes graph = {0};
    for (int i = 0; i < 50000; i++) {
        onnx_bytes tensor = {0};
        char name[32];
        snprintf(name, sizeof name, "w%d", i);
        onnx_number(&tensor, TENSOR_TYPE, 1);
        onnx_string(&tensor, TENSOR_NAME, name);
        onnx_blob(&tensor, TENSOR_RAW, numbers, sizeof *numbers);
        onnx_message(&graph, GRAPH_INITIALIZER, &tensor);
    }
    onnx_node(&graph, "Relu", "input", NULL, "output");
    onnx_port(&graph, GRAPH_INPUT, "input", 4);
    onnx_port(&graph, GRAPH_OUTPUT, "output", 4);
    onnx_write_model(path, &graph);
    fv_net *net = watched_load(path);
    if (!net)
        fail_msg("%s", fv_error_message());
    expect_relu(net);
    fv_net_free(net);
    unlink(path);
}

/* Bytes of a field in front of what is there, so that a message can be wrapped without end. */
static void wrap(unsigned char **at, int field, size_t *size) {
    unsigned char head[12];
    size_t used = 0;
    head[used++] = (unsigned char)(field << 3 | 2);
    for (size_t rest = *size;; rest >>= 7) {
        head[used++] = (unsigned char)((rest & 127) | (rest > 127 ? 128 : 0));
        if (rest <= 127)
            break;
    }
    *at -= used;
    memcpy(*at, head, used);
    *size += used;
}

/* A graph in an attribute of a node of a graph in an attribute ..., 20,000 deep. */
static void nested_graphs(void **state) {
    (void)state;
    enum { DEPTH = 20000, ROOM = DEPTH * 24 };
    const char *path = in_folder("nested.onnx");
    unsigned char *room = malloc(ROOM), *at = room + ROOM;
    size_t size = 0;
    assert_non_null(room);
    for (int i = 0; i < DEPTH; i++) {
        wrap(&at, ATTRIBUTE_GRAPH, &size);
        wrap(&at, NODE_ATTRIBUTE, &size);
        wrap(&at, GRAPH_NODE, &size);
    }
    onnx_bytes graph = {0};
    onnx_node(&graph, "Relu", "input", NULL, "output");
    onnx_add(&graph, at, size);
    onnx_port(&graph, GRAPH_INPUT, "input", 4);
    onnx_port(&graph, GRAPH_OUTPUT, "output", 4);
    onnx_write_model(path, &graph);
    refused(path, EITHER, "nested.onnx", "");
    unlink(path);
    free(room);
    none_wrong();
}

int main(int count, char **arguments) {
    golden = count > 1 ? arguments[1] : "tests/golden/onnx";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_files),     cmocka_unit_test(cut_short),
        cmocka_unit_test(bytes_turned),   cmocka_unit_test(no_model),
        cmocka_unit_test(external_files), cmocka_unit_test(external_places),
        cmocka_unit_test(external_names), cmocka_unit_test(external_shrinks),
        cmocka_unit_test(many_nodes),     cmocka_unit_test(many_constants),
        cmocka_unit_test(nested_graphs),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
