/* ONNX in: models of golden/onnx, in the forms that exporters write, give what ONNX Runtime
 * computed of them (golden/make_onnx.py made both); pretrained models, with FOVEA_DATA, what they
 * should. */
#include "files.h"
#include "formats/formats.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Of the largest value of an output: with all algorithms, and with the direct ones only. */
static const double tolerance = 1e-4, exact_tolerance = 1e-5;

static const char *golden;
static fv_tensors file;
static int wrong;

__attribute__((format(printf, 2, 3))) static void report(const char *name, const char *format,
                                                         ...) {
    va_list values;
    char text[700];
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    print_error("%s: %s\n", name, text);
    wrong++;
}

/* ---- A case of the file ---------------------------------------------------------------------- */

typedef struct golden_case {
    char name[64], path[600];
    int samples;
    fv_shape shape;
    float
        *input; /* the samples, and once more: what comes of them must not depend on their place */
    const char *refused; /* words of the message with which it is; NULL: it is read */
} golden_case;

static const char *metadata(const char *name, const char *part) {
    char key[100];
    snprintf(key, sizeof key, "%s.%s", name, part);
    return fv_tensors_metadata(&file, key);
}

/* "even 2 5 6 4": two samples of 5x6x4 of the array `even`. */
static void read_input(golden_case *c, const char *text) {
    char array[32];
    int sizes[5], used, rank = 0;
    assert_int_equal(sscanf(text, "%31s%n", array, &used), 1);
    for (const char *at = text + used; rank < 5 && sscanf(at, "%d%n", &sizes[rank], &used) == 1;
         at += used)
        rank++;
    assert_true(rank >= 2);
    c->samples = sizes[0];
    c->shape = (fv_shape){.rank = rank - 2, .channels = sizes[rank - 1]};
    for (int i = 0; i < c->shape.rank; i++)
        c->shape.size[i] = sizes[1 + i];
    const fv_tensor_entry *values = fv_tensors_find(&file, array);
    size_t count = (size_t)c->samples * fv_shape_count(&c->shape);
    assert_non_null(values);
    assert_true(count <= values->count);
    c->input = malloc(2 * count * sizeof *c->input);
    assert_non_null(c->input);
    memcpy(c->input, values->bytes, count * sizeof *c->input);
    memcpy(c->input + count, values->bytes, count * sizeof *c->input);
}

/* The wanted output number `index` of a case, and its name; NULL past the last. */
static const fv_tensor_entry *wanted_output(const golden_case *c, int index, const char **name) {
    size_t size = strlen(c->name);
    for (size_t i = 0; i < file.count; i++) {
        const char *entry = file.entries[i].name;
        if (strncmp(entry, c->name, size) == 0 && entry[size] == '.' && index-- == 0) {
            *name = entry + size + 1;
            return &file.entries[i];
        }
    }
    return NULL;
}

static bool has_shape(const fv_tensor_entry *wanted, const fv_shape *shape) {
    bool same = wanted->rank == shape->rank + 2 &&
                wanted->size[wanted->rank - 1] == (size_t)shape->channels;
    for (int i = 0; same && i < shape->rank; i++)
        same = wanted->size[1 + i] == (size_t)shape->size[i];
    return same;
}

/* Twice the wanted values. */
static void compare(const golden_case *c, const char *what, const float *got,
                    const fv_tensor_entry *wanted, double allowed) {
    float *values = malloc(wanted->count * sizeof *values);
    double largest = 0;
    assert_non_null(values);
    memcpy(values, wanted->bytes, wanted->count * sizeof *values);
    for (size_t i = 0; i < wanted->count; i++)
        largest = fmax(largest, fabs((double)values[i]));
    for (size_t i = 0; i < 2 * wanted->count; i++) {
        double value = values[i % wanted->count];
        if (!(fabs((double)got[i] - value) <= allowed * largest)) {
            report(c->name, "%s: value %zu of 2 x %zu is %.9g, not %.9g", what, i, wanted->count,
                   (double)got[i], value);
            break;
        }
    }
    free(values);
}

/* ---- Running it ------------------------------------------------------------------------------ */

/* A session that has run the case's input; NULL where that fails. */
static fv_session *run(const golden_case *c, const fv_net *net, bool exact) {
    fv_session_options options = {.batch = 2 * c->samples, .threads = 1, .exact = exact};
    fv_shape own = fv_input_shape(net);
    for (int i = 0; i < own.rank; i++)
        if (own.size[i] == FV_ANY)
            options.shape = c->shape;
    fv_session *session = fv_session_new(net, &options);
    if (session && fv_session_run(session, c->input, 2 * c->samples) == FV_OK)
        return session;
    report(c->name, "%s", fv_error_message());
    fv_session_free(session);
    return NULL;
}

static void check_outputs(const golden_case *c, const fv_net *net, bool exact) {
    const char *name = NULL;
    const fv_tensor_entry *wanted;
    bool several = wanted_output(c, 1, &name);
    fv_session *session = run(c, net, exact);
    for (int i = 0; session && (wanted = wanted_output(c, i, &name)); i++) {
        fv_shape shape;
        const float *got = fv_session_output(session, several ? name : NULL, &shape);
        char what[100];
        snprintf(what, sizeof what, "%s%s", name, exact ? ", exact" : "");
        if (!got)
            report(c->name, "%s: %s", what, fv_error_message());
        else if (!has_shape(wanted, &shape))
            report(c->name, "%s has rank %d, sizes %d %d %d, %d channels", what, shape.rank,
                   shape.size[0], shape.size[1], shape.size[2], shape.channels);
        else
            compare(c, what, got, wanted, exact ? exact_tolerance : tolerance);
    }
    fv_session_free(session);
}

/* What the net becomes as a model file of ours computes the same bits. */
static void check_saved(const golden_case *c, const fv_net *net) {
    const char *path = in_folder("saved.safetensors");
    fv_net *again = fv_save(net, path) == FV_OK ? fv_net_load(path) : NULL;
    if (!again) {
        report(c->name, "saved and read again: %s", fv_error_message());
        return;
    }
    fv_session *first = run(c, net, false), *second = run(c, again, false);
    for (int i = 0; first && second && i < fv_output_count(net); i++) {
        fv_shape shape;
        const char *name = fv_output_name(net, i);
        const float *a = fv_session_output(first, name, &shape);
        const float *b = fv_session_output(second, name, &shape);
        size_t bytes = 2 * (size_t)c->samples * fv_shape_count(&shape) * sizeof *a;
        if (!a || !b || memcmp(a, b, bytes) != 0)
            report(c->name, "saved and read again: %s has other bits", name);
    }
    fv_session_free(first);
    fv_session_free(second);
    fv_net_free(again);
}

/* The message has each of the words, one of which is the node's name. */
static void check_refusal(const golden_case *c, fv_net *net) {
    char words[200], *rest = words;
    if (net || fv_error_status() != FV_UNSUPPORTED) {
        report(c->name, "status %d (%s), not refused", fv_error_status(), fv_error_message());
        return;
    }
    snprintf(words, sizeof words, "%s", c->refused);
    for (char *word; (word = strsep(&rest, " ")) != NULL;)
        if (!strstr(fv_error_message(), word))
            report(c->name, "the message '%s' lacks '%s'", fv_error_message(), word);
}

static void check_case(golden_case *c) {
    fv_net *net = fv_net_load(c->path);
    if (c->refused) {
        check_refusal(c, net);
    } else if (!net) {
        report(c->name, "%s", fv_error_message());
    } else {
        const char *name;
        int outputs = 0;
        while (wanted_output(c, outputs, &name))
            outputs++;
        if (outputs == 0 || outputs != fv_output_count(net))
            report(c->name, "%d outputs, not %d", fv_output_count(net), outputs);
        check_outputs(c, net, false);
        check_outputs(c, net, true);
        check_saved(c, net);
    }
    fv_net_free(net);
}

static void onnx_runtime_gives_these_numbers(void **state) {
    (void)state;
    char path[600];
    int cases = 0;
    snprintf(path, sizeof path, "%s/cases.safetensors", golden);
    if (fv_tensors_open(path, &file) == FV_UNSUPPORTED)
        skip();
    if (file.count == 0)
        fail_msg("%s", fv_error_message());
    for (size_t i = 0; i < file.metadata_count; i++) {
        golden_case c = {.samples = 0};
        size_t size = strlen(file.keys[i]);
        if (size < 7 || size >= sizeof c.name || strcmp(file.keys[i] + size - 6, ".input") != 0)
            continue;
        snprintf(c.name, sizeof c.name, "%.*s", (int)size - 6, file.keys[i]);
        snprintf(c.path, sizeof c.path, "%s/%s.onnx", golden, c.name);
        read_input(&c, file.values[i]);
        c.refused = metadata(c.name, "refused");
        check_case(&c);
        free(c.input);
        cases++;
    }
    print_message("%d models, %d faults; %s\n", cases, wrong,
                  fv_tensors_metadata(&file, "versions"));
    fv_tensors_close(&file);
    assert_true(cases > 300);
    assert_int_equal(wrong, 0);
}

/* ---- What a model is besides its numbers ------------------------------------------------------
 */

static fv_net *load(const char *name) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s.onnx", golden, name);
    fv_net *net = fv_net_load(path);
    if (!net)
        fail_msg("%s: %s", name, fv_error_message());
    return net;
}

static void class_names(void **state) {
    (void)state;
#ifndef FV_HAVE_JSON
    skip();
#endif
    static const char *const names[] = {"cat", "Hund \"Rex\"", "\u9ce5", "", "e"};
    fv_net *net = load("classes");
    for (int i = 0; i < 5; i++)
        assert_string_equal(fv_class_name(net, i), names[i]);
    assert_null(fv_class_name(net, 5));
    fv_net_free(net);
    net = load("lenet_opset17");
    assert_null(fv_class_name(net, 0));
    fv_net_free(net);
}

/* Outputs keep the model's names, in its order; sizes that vary are open. */
static void ports(void **state) {
    (void)state;
    fv_net *net = load("two_outputs");
    assert_int_equal(fv_output_count(net), 2);
    assert_string_equal(fv_output_name(net, 0), "mask");
    assert_string_equal(fv_output_name(net, 1), "scores");
    fv_net_free(net);
    net = load("conv_dynamic_sizes");
    fv_shape shape = fv_input_shape(net);
    assert_int_equal(shape.rank, 2);
    assert_int_equal(shape.size[0], FV_ANY);
    assert_int_equal(shape.size[1], FV_ANY);
    assert_int_equal(shape.channels, 3);
    fv_net_free(net);
}

static int layers_of(const fv_net *net, const char *type, char *detail, size_t size) {
    int count = 0;
    for (int i = 0; i < fv_layer_count(net); i++) {
        fv_layer_info info;
        assert_int_equal(fv_layer_describe(net, i, &info), FV_OK);
        if (strcmp(info.type, type) != 0)
            continue;
        snprintf(detail, size, "%s", info.detail);
        count++;
    }
    return count;
}

/* What several nodes say together becomes the one layer that means it. */
static void subgraphs_become_layers(void **state) {
    (void)state;
    static const struct {
        const char *model, *type, *word; /* word: in the layer's detail */
        int layers;                      /* of the whole net, with the input */
    } cases[] = {
        {"activation_gelu_of_conv", "conv", "gelu", 2},
        {"activation_gelu_tanh_of_conv", "conv", "gelu_tanh", 2},
        {"activation_silu_of_conv", "conv", "silu", 2},
        {"activation_mish_of_conv", "conv", "mish", 2},
        {"activation_hard_swish_of_conv", "conv", "hard_swish", 2},
        {"activation_relu6_of_conv", "conv", "relu6", 2},
        {"conv_bias_as_add", "conv", "relu", 2},
        {"matmul_add", "dense", "relu", 2},
        {"groupnorm_torch", "group_norm", "3", 2},
        {"layernorm_of_vector_decomposed", "layer_norm", "", 2},
        {"groupnorm_scaled_groups_2", "group_norm", "2", 2},
        {"layernorm_of_all", "layer_norm", "all=true", 2},
        {"layernorm_by_channels_decomposed", "layer_norm", "", 2},
        {"rmsnorm_decomposed", "rms_norm", "", 2},
        {"l2norm_torch", "l2_normalize", "", 2},
        {"l2norm_least", "l2_normalize", "epsilon=2", 2},
        {"rbf_formula", "rbf", "5", 2},
        {"lrn_formula", "lrn", "4", 2},
        {"formula_hard_swish", "conv", "hard_swish", 2},
        {"formula_hard_sigmoid", "conv", "hard_sigmoid", 2},
        {"formula_softplus", "conv", "softplus", 2},
        {"formula_softsign", "conv", "softsign", 2},
        {"formula_gelu_half_first", "conv", "gelu", 2},
        {"formula_gelu_and_its_input", "gelu", "", 4},
        {"formula_clip_nothing", "conv", "", 2},
        {"batchnorm_of_conv", "conv", "", 2},
        {"conv_depthwise", "depthwise_conv", "", 2},
        {"scaled_input_mul_sub_div", "input", "mean", 2},
        {"nothing_identity", "conv", "relu", 2},
        {"nothing_unused_nodes", "conv", "relu", 2},
        {"flatten_dynamic", "flatten", "", 4},
    };
    wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fv_net *net = load(cases[i].model);
        char detail[300];
        if (layers_of(net, cases[i].type, detail, sizeof detail) != 1 ||
            !strstr(detail, cases[i].word) || fv_layer_count(net) != cases[i].layers) {
            char *text = fv_net_print(net, false);
            print_error("%s: not %d layers with one %s %s\n%s", cases[i].model, cases[i].layers,
                        cases[i].type, cases[i].word, text);
            fv_free_memory(text);
            wrong++;
        }
        fv_net_free(net);
    }
    assert_int_equal(wrong, 0);
}

/* ---- Pretrained models ------------------------------------------------------------------------
 */

static const char *real_folder; /* FOVEA_DATA as it was at the start */

static fv_net *real_model(const char *name) {
    char path[600];
    if (!real_folder) {
        puts("skipped: FOVEA_DATA is not set");
        skip();
    }
    snprintf(path, sizeof path, "%s/models/onnx/%s.onnx", real_folder, name);
    FILE *there = fopen(path, "rb");
    if (!there) {
        printf("skipped: there is no %s\n", path);
        skip();
    }
    fclose(there);
    fv_net *net = fv_net_load(path);
    if (!net)
        fail_msg("%s", fv_error_message());
    return net;
}

static float *reference(const char *name, size_t expected) {
    char path[600];
    int rank;
    size_t sizes[5], count = 1;
    float *values;
    snprintf(path, sizeof path, "%s/models/reference/%s.npy", real_folder, name);
    if (fv_read_npy(path, &rank, sizes, &values) != FV_OK)
        fail_msg("%s", fv_error_message());
    for (int i = 0; i < rank; i++)
        count *= sizes[i];
    assert_int_equal(count, expected);
    return values;
}

/* Of a net from one digit to ten logits. */
static void check_reference(const char *name, const fv_net *net) {
    char wanted_name[100];
    snprintf(wanted_name, sizeof wanted_name, "%s.out0", name);
    float *input = reference("mnist-cntk-8.in0", 784), *wanted = reference(wanted_name, 10);
    double largest = 0;
    for (int i = 0; i < 10; i++)
        largest = fmax(largest, fabs((double)wanted[i]));
    for (int exact = 0; exact < 2; exact++) {
        fv_session *session =
            fv_session_new(net, &(fv_session_options){.batch = 1, .exact = exact});
        assert_non_null(session);
        assert_int_equal(fv_session_run(session, input, 1), FV_OK);
        fv_shape shape;
        const float *got = fv_session_output(session, NULL, &shape);
        assert_int_equal(fv_shape_count(&shape), 10);
        for (int i = 0; i < 10; i++)
            if (!(fabs((double)got[i] - (double)wanted[i]) <=
                  (exact ? exact_tolerance : tolerance) * largest))
                fail_msg("%s: output %d is %.9g, not %.9g", name, i, (double)got[i],
                         (double)wanted[i]);
        fv_session_free(session);
    }
    fv_free_memory(input);
    fv_free_memory(wanted);
}

static int largest_of_ten(const float *values) {
    int best = 0;
    for (int i = 1; i < 10; i++)
        best = values[i] > values[best] ? i : best;
    return best;
}

/* How many of the first 2,000 test digits the net knows, whose values are 0 to 255. */
static int digits_known(const fv_net *net) {
    enum { BATCH = 100, ALL = 2000 };
    setenv("FOVEA_DATA", real_folder, 1);
    fv_data *data = fv_data_open("mnist", "test");
    fv_session *session = fv_session_new(net, &(fv_session_options){.batch = BATCH});
    float *input = malloc(BATCH * 784 * sizeof *input);
    int known = 0;
    if (!data || !session || !input)
        fail_msg("%s", fv_error_message());
    for (size_t first = 0; first < ALL; first += BATCH) {
        int labels[BATCH];
        for (size_t i = 0; i < BATCH; i++)
            assert_int_equal(fv_data_sample(data, first + i, input + i * 784, &labels[i]), FV_OK);
        assert_int_equal(fv_session_run(session, input, BATCH), FV_OK);
        const float *output = fv_session_output(session, NULL, NULL);
        assert_non_null(output);
        for (size_t i = 0; i < BATCH; i++)
            known += largest_of_ten(output + i * 10) == labels[i];
    }
    free(input);
    fv_session_free(session);
    fv_data_free(data);
    return known;
}

static void real_cntk(void **state) {
    (void)state;
    fv_net *net = real_model("mnist-cntk-8");
    check_reference("mnist-cntk-8", net);
    assert_int_equal(digits_known(net), 1968); /* 98.40 % */
    fv_net_free(net);
}

static void real_pytorch(void **state) {
    (void)state;
    fv_net *net = real_model("lenet5-pytorch");
    check_reference("lenet5-pytorch", net);
    assert_int_equal(digits_known(net), 1957); /* 97.85 % */
    fv_net_free(net);
}

static void real_smallest(void **state) {
    (void)state;
    fv_net *net = real_model("single_relu");
    fv_session *session = fv_session_new(net, NULL);
    const float input[] = {-1.5f, 2.5f};
    assert_non_null(session);
    assert_int_equal(fv_session_run(session, input, 1), FV_OK);
    const float *output = fv_session_output(session, NULL, NULL);
    assert_true(output[0] == 0 && output[1] == 2.5f);
    fv_session_free(session);
    fv_net_free(net);
}

int main(int count, char **arguments) {
    golden = count > 1 ? arguments[1] : "tests/golden/onnx";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(onnx_runtime_gives_these_numbers),
        cmocka_unit_test(class_names),
        cmocka_unit_test(ports),
        cmocka_unit_test(subgraphs_become_layers),
        cmocka_unit_test(real_cntk),
        cmocka_unit_test(real_pytorch),
        cmocka_unit_test(real_smallest),
    };
    const char *set = getenv("FOVEA_DATA");
    real_folder = set && *set ? strdup(set) : NULL;
    int failures = cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
    free((void *)(uintptr_t)real_folder);
    return failures;
}
