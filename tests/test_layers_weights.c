/* How layers describe their weights: name, shape in files (PyTorch's, where it has the layer),
 * order in memory, fans and initialiser. */
#include "layers/layer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef struct weight_case {
    const char *type;
    const void *options;
    fv_shape input;
    int index;
    const char *name;
    int rank;
    size_t size[FV_MAX_RANK];
    int axes[FV_MAX_RANK]; /* of the file's array, in the order of memory */
    size_t fan_in, fan_out;
    fv_init init;
} weight_case;

#define GLOROT                                                                                     \
    { FV_INIT_GLOROT_UNIFORM, 0 }
#define ZERO                                                                                       \
    { FV_INIT_CONSTANT, 0 }
#define ONE                                                                                        \
    { FV_INIT_CONSTANT, 1 }

static const fv_conv_options conv = {.filters = 7, .kernel = {2, 4, 5}};
static const fv_conv_options line = {.filters = 7, .kernel = {2}};
static const fv_conv_options plane = {
    .filters = 6, .kernel = {2, 4}, .groups = 3, .init = {FV_INIT_NORMAL, 0.5}};
static const fv_conv_options table = {.filters = 3, .kernel = {2, 4}, .table = {1 + 4, 2, 7}};
static const fv_depthwise_conv_options depthwise = {.kernel = {2, 4}, .multiplier = 2};
static const fv_separable_conv_options separable = {
    .filters = 7, .kernel = {2, 4}, .multiplier = 2};
static const fv_conv_transpose_options transpose = {.filters = 6, .kernel = {2, 4}, .groups = 3};
static const fv_local_options local = {.filters = 7, .kernel = {2, 4}};
static const fv_dense_options dense = {
    .units = 7, .init = {FV_INIT_HE_NORMAL, 0}, .bias_init = {FV_INIT_CONSTANT, 0.1}};
static const fv_subsample_options subsample = {.size = {2, 4}};
static const fv_rbf_options rbf = {.units = 7};
static const fv_batch_norm_options batch_norm = {0};
static const fv_batch_norm_options no_scale = {.no_scale = true};
static const fv_layer_norm_options layer_norm = {0}, all = {.all = true};
static const fv_group_norm_options group_norm = {.groups = 3};
static const fv_instance_norm_options instance_norm = {0};
static const fv_rms_norm_options rms_norm = {0};
static const fv_prelu_options prelu = {0}, shared = {.shared = true};

static const weight_case cases[] = {
    {"conv", &line, {1, {6}, 3}, 0, "weight", 3, {7, 3, 2}, {2, 1, 0}, 6, 14, GLOROT},
    {"conv",
     &conv,
     {3, {6, 6, 6}, 3},
     0,
     "weight",
     5,
     {7, 3, 2, 4, 5},
     {2, 3, 4, 1, 0},
     120,
     280,
     GLOROT},
    {"conv", &conv, {3, {6, 6, 6}, 3}, 1, "bias", 1, {7}, {0}, 120, 280, ZERO},
    {"conv",
     &plane,
     {2, {6, 6}, 12},
     0,
     "weight",
     4,
     {6, 4, 2, 4},
     {2, 3, 1, 0},
     32,
     48,
     {FV_INIT_NORMAL, 0.5}},
    {"conv", &table, {2, {6, 6}, 3}, 0, "weight", 3, {6, 2, 4}, {1, 2, 0}, 16, 16, GLOROT},
    {"depthwise_conv",
     &depthwise,
     {2, {6, 6}, 3},
     0,
     "weight",
     4,
     {6, 1, 2, 4},
     {2, 3, 1, 0},
     8,
     48,
     GLOROT},
    {"depthwise_conv", &depthwise, {2, {6, 6}, 3}, 1, "bias", 1, {6}, {0}, 8, 48, ZERO},
    {"separable_conv",
     &separable,
     {2, {6, 6}, 3},
     0,
     "depthwise_weight",
     4,
     {6, 1, 2, 4},
     {2, 3, 1, 0},
     8,
     48,
     GLOROT},
    {"separable_conv",
     &separable,
     {2, {6, 6}, 3},
     1,
     "weight",
     4,
     {7, 6, 1, 1},
     {2, 3, 1, 0},
     6,
     7,
     GLOROT},
    {"separable_conv", &separable, {2, {6, 6}, 3}, 2, "bias", 1, {7}, {0}, 6, 7, ZERO},
    {"conv_transpose",
     &transpose,
     {2, {6, 6}, 12},
     0,
     "weight",
     4,
     {12, 2, 2, 4},
     {2, 3, 1, 0},
     16,
     96,
     GLOROT},
    {"conv_transpose", &transpose, {2, {6, 6}, 12}, 1, "bias", 1, {6}, {0}, 16, 96, ZERO},
    {"local", &local, {2, {6, 6}, 3}, 0, "weight", 3, {15, 24, 7}, {0, 1, 2}, 24, 56, GLOROT},
    {"local", &local, {2, {6, 6}, 3}, 1, "bias", 2, {15, 7}, {0, 1}, 24, 56, ZERO},
    {"dense", &dense, {0, {0}, 30}, 0, "weight", 2, {7, 30}, {1, 0}, 30, 7, {FV_INIT_HE_NORMAL, 0}},
    {"dense",
     &dense,
     {0, {3, 5}, 30},
     0,
     "weight",
     4,
     {7, 2, 3, 5},
     {2, 3, 1, 0},
     30,
     7,
     {FV_INIT_HE_NORMAL, 0}},
    {"dense", &dense, {0, {3, 5}, 30}, 1, "bias", 1, {7}, {0}, 30, 7, {FV_INIT_CONSTANT, 0.1}},
    {"subsample",
     &subsample,
     {2, {6, 6}, 3},
     0,
     "weight",
     1,
     {3},
     {0},
     8,
     8,
     {FV_INIT_CONSTANT, 0.125}},
    {"subsample", &subsample, {2, {6, 6}, 3}, 1, "bias", 1, {3}, {0}, 8, 8, ZERO},
    {"rbf", &rbf, {0, {0}, 30}, 0, "weight", 2, {7, 30}, {0, 1}, 30, 7, {FV_INIT_SIGN, 0}},
    {"batch_norm", &batch_norm, {2, {4, 5}, 3}, 0, "weight", 1, {3}, {0}, 3, 3, ONE},
    {"batch_norm", &batch_norm, {2, {4, 5}, 3}, 1, "bias", 1, {3}, {0}, 3, 3, ZERO},
    {"batch_norm", &batch_norm, {2, {4, 5}, 3}, 2, "running_mean", 1, {3}, {0}, 3, 3, ZERO},
    {"batch_norm", &batch_norm, {2, {4, 5}, 3}, 3, "running_var", 1, {3}, {0}, 3, 3, ONE},
    {"batch_norm", &no_scale, {2, {4, 5}, 3}, 0, "bias", 1, {3}, {0}, 3, 3, ZERO},
    {"layer_norm", &layer_norm, {2, {4, 5}, 3}, 0, "weight", 1, {3}, {0}, 3, 3, ONE},
    {"layer_norm", &all, {2, {4, 5}, 3}, 0, "weight", 3, {3, 4, 5}, {1, 2, 0}, 60, 60, ONE},
    {"layer_norm", &all, {2, {4, 5}, 3}, 1, "bias", 3, {3, 4, 5}, {1, 2, 0}, 60, 60, ZERO},
    {"group_norm", &group_norm, {2, {4, 5}, 3}, 0, "weight", 1, {3}, {0}, 3, 3, ONE},
    {"instance_norm", &instance_norm, {2, {4, 5}, 3}, 1, "bias", 1, {3}, {0}, 3, 3, ZERO},
    {"rms_norm", &rms_norm, {2, {4, 5}, 3}, 0, "weight", 1, {3}, {0}, 3, 3, ONE},
    {"prelu", &prelu, {2, {4, 5}, 3}, 0, "weight", 1, {3}, {0}, 3, 3, {FV_INIT_CONSTANT, 0.25}},
    {"prelu", &shared, {2, {4, 5}, 3}, 0, "weight", 1, {1}, {0}, 1, 1, {FV_INIT_CONSTANT, 0.25}},
};

/* "7x3x2" */
static const char *dimensions(int rank, const size_t *size, char text[160]) {
    int used = 0;
    for (int i = 0; i < rank; i++)
        used += snprintf(text + used, 160 - (size_t)used, i ? "x%zu" : "%zu", size[i]);
    return text;
}

static void check_weight(const weight_case *c) {
    const fv_layer_type *type = fv_layer_type_find(c->type);
    fv_inference inference = {0};
    char texts[2][160];
    assert_non_null(type);
    assert_int_equal(type->infer(c->options, &c->input, 1, &inference), FV_OK);
    assert_true(inference.weight_count > c->index);
    const fv_weight_spec *got = &inference.weights[c->index];
    assert_string_equal(got->name, c->name);
    if (got->rank != c->rank || memcmp(got->size, c->size, (size_t)c->rank * sizeof(size_t)) != 0)
        fail_msg("%s.%s is %s in files, not %s", c->type, c->name,
                 dimensions(got->rank, got->size, texts[0]),
                 dimensions(c->rank, c->size, texts[1]));
    for (int i = 0; i < c->rank; i++)
        if (got->axes[i] != c->axes[i])
            fail_msg("axis %d of %s.%s in memory is axis %d of the file's, not %d", i, c->type,
                     c->name, got->axes[i], c->axes[i]);
    bool scale = c->fan_in == c->fan_out && c->init.kind == FV_INIT_CONSTANT; /* fans say nothing */
    if (!scale && (got->fan_in != c->fan_in || got->fan_out != c->fan_out))
        fail_msg("%s.%s has the fans %zu and %zu, not %zu and %zu", c->type, c->name, got->fan_in,
                 got->fan_out, c->fan_in, c->fan_out);
    if (got->init.kind != c->init.kind || got->init.value != c->init.value)
        fail_msg("%s.%s starts by %s(%g), not %s(%g)", c->type, c->name,
                 fv_init_names[got->init.kind], got->init.value, fv_init_names[c->init.kind],
                 c->init.value);
}

static void test_weights(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_weight(&cases[i]);
}

/* LeNet-5's bitmaps: 10 units of 84 inputs, +1 and -1. */
static void test_digits(void **state) {
    (void)state;
    const fv_layer_type *type = fv_layer_type_find("rbf");
    fv_inference inference = {0};
    fv_rbf_options o = {.units = 10};
    assert_int_equal(type->infer(&o, &(fv_shape){.channels = 84}, 1, &inference), FV_OK);
    assert_non_null(inference.weights[0].values);
    for (int i = 0; i < 840; i++) {
        real value = inference.weights[0].values[i];
        assert_true(value == 1 || value == -1);
    }
}

/* A padded input has at most 2^29 cells along an axis. */
static void test_largest_input(void **state) {
    (void)state;
    const fv_layer_type *type = fv_layer_type_find("conv");
    fv_inference inference = {0};
    fv_shape input = {1, {(1 << 29) - 2}, 1};
    fv_conv_options o = {.filters = 1, .kernel = {3}, .pad = {{1, 1}}};
    assert_int_equal(type->infer(&o, &input, 1, &inference), FV_OK);
    o.pad[0][1] = 2;
    assert_int_equal(type->infer(&o, &input, 1, &inference), FV_SHAPE);
    assert_non_null(strstr(fv_error_message(), "at most 2^29 cells"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_weights),
                                       cmocka_unit_test(test_largest_input),
                                       cmocka_unit_test(test_digits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
