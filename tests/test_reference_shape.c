/* Holds the oracles of layers that move values, and of joins, to examples worked by hand and to
 * numbers of PyTorch 2.15, TensorFlow 2 and Keras 3.15 (in double, on the CPU): checksums
 * (doubles.h) of output and input gradient of x = pattern(7, 3, 11, 5) and dy = pattern(3, 2, 5, 2)
 * in our order of memory. */
#include "doubles.h"
#include "reference/reference.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

typedef void mover(const fv_shape *input, const void *options, int samples, ref_way way);

static void check_checksums(mover *f, const fv_shape *input, const fv_shape *output,
                            const void *options, int samples, double y_sum, double dx_sum,
                            double bound) {
    size_t in = (size_t)samples * fv_shape_count(input);
    size_t out = (size_t)samples * fv_shape_count(output);
    double *x = new_doubles(in), *dx = new_doubles(in), *y = new_doubles(out);
    double *dy = new_doubles(out);
    pattern(in, 7, 3, 11, 5, x);
    pattern(out, 3, 2, 5, 2, dy);
    f(input, options, samples, (ref_way){.from = x, .to = y});
    f(input, options, samples, (ref_way){.from = dy, .to = dx, .back = true});
    double got[] = {checksum(out, y), checksum(in, dx)};
    expect_doubles("sums", 2, got, (double[]){y_sum, dx_sum}, bound);
    double *all[] = {x, dx, y, dy};
    for (int i = 0; i < 4; i++)
        free(all[i]);
}

static void expect_shape(const fv_shape *got, const fv_shape *wanted) {
    assert_int_equal(got->rank, wanted->rank);
    assert_int_equal(got->channels, wanted->channels);
    for (int axis = 0; axis < wanted->rank; axis++)
        assert_int_equal(got->size[axis], wanted->size[axis]);
}

static void move_pad(const fv_shape *input, const void *options, int samples, ref_way way) {
    ref_pad(input, options, samples, way);
}

static void move_upsample(const fv_shape *input, const void *options, int samples, ref_way way) {
    ref_upsample(input, options, samples, way);
}

static void move_permute(const fv_shape *input, const void *options, int samples, ref_way way) {
    ref_permute(input, options, samples, way);
}

static void move_wide(const fv_shape *input, const void *options, int samples, ref_way way) {
    ref_depth_to_space(input, options, samples, way);
}

static void move_deep(const fv_shape *input, const void *options, int samples, ref_way way) {
    ref_space_to_depth(input, options, samples, way);
}

/* F.pad(x, (2, 1, 0, 3), mode="constant", value=1.5), "reflect", "replicate". */
static void test_pad(void **state) {
    (void)state;
    static const double sums[3][2] = {{1652.5, -23}, {518, -33}, {74, -34}};
    fv_shape input = {2, {4, 5}, 2}, output;
    for (int mode = 0; mode < 3; mode++) {
        fv_pad_options o = {.pad = {{0, 3}, {2, 1}}, .mode = (fv_pad_mode)mode, .value = 1.5};
        assert_true(ref_pad_output(&input, &o, &output));
        expect_shape(&output, &(fv_shape){2, {7, 8}, 2});
        check_checksums(move_pad, &input, &output, &o, 2, sums[mode][0], sums[mode][1], 0);
    }
    fv_pad_options deep = {.value = 1.5, .channels_before = 2, .channels_after = 1};
    assert_true(ref_pad_output(&input, &deep, &output));
    expect_shape(&output, &(fv_shape){2, {4, 5}, 5});
    check_checksums(move_pad, &input, &output, &deep, 2, 1383.5, -1, 0);
    fv_pad_options far = {.pad = {{4, 0}}, .mode = FV_PAD_REFLECT};
    assert_false(ref_pad_output(&input, &far, &output));
}

/* F.interpolate(x, scale_factor=(2, 3)); size=(5, 7); mode="bilinear", scale_factor=(2, 3);
 * size=(5, 7), align_corners=True; mode="linear", size=4; mode="trilinear", size=(3, 5, 2); the
 * last: tf.image.resize(x, (6, 7)), which calculates in float. */
static void test_upsample(void **state) {
    (void)state;
    static const struct {
        int samples;
        fv_shape input;
        fv_upsample_options options;
        fv_shape output;
        double sums[2], bound;
    } list[] = {
        {2, {2, {3, 2}, 3}, {.factor = {2, 3}}, {2, {6, 6}, 3}, {96, -63}, 0},
        {2, {2, {3, 4}, 2}, {.size = {5, 7}}, {2, {5, 7}, 2}, {343, 29}, 0},
        {2,
         {2, {3, 4}, 2},
         {.factor = {2, 3}, .mode = FV_RESIZE_BILINEAR},
         {2, {6, 12}, 2},
         {20.75, -0.8333333333333206},
         1e-9},
        {2,
         {2, {3, 4}, 2},
         {.size = {5, 7}, .mode = FV_RESIZE_BILINEAR, .align_corners = true},
         {2, {5, 7}, 2},
         {254.75, 10.75},
         1e-9},
        {2,
         {1, {7}, 2},
         {.size = {4}, .mode = FV_RESIZE_BILINEAR},
         {1, {4}, 2},
         {-7.375, -8.875},
         1e-9},
        {1,
         {3, {2, 3, 4}, 2},
         {.size = {3, 5, 2}, .mode = FV_RESIZE_BILINEAR},
         {3, {3, 5, 2}, 2},
         {7.1, 54.6},
         1e-9},
        {1,
         {2, {3, 4}, 2},
         {.size = {6, 7}, .mode = FV_RESIZE_BILINEAR},
         {2, {6, 7}, 2},
         {89.41067284345627, -11.392855435609818},
         1e-4},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        fv_shape output;
        assert_true(ref_upsample_output(&list[i].input, &list[i].options, &output));
        expect_shape(&output, &list[i].output);
        check_checksums(move_upsample, &list[i].input, &output, &list[i].options, list[i].samples,
                        list[i].sums[0], list[i].sums[1], list[i].bound);
    }
}

/* tf.nn.depth_to_space and space_to_depth(x, 2); F.pixel_shuffle and pixel_unshuffle(x, 2). */
static void test_depth(void **state) {
    (void)state;
    static const double sums[2][2][2] = {{{114, -24}, {64, -58}}, {{-191, -9}, {38, -52}}};
    fv_shape deep = {2, {2, 3}, 12}, wide = {2, {4, 6}, 3}, output;
    for (int order = 0; order < 2; order++) {
        fv_depth_options o = {.block = 2, .order = (fv_depth_order)order};
        assert_true(ref_depth_to_space_output(&deep, &o, &output));
        expect_shape(&output, &wide);
        assert_true(ref_space_to_depth_output(&wide, &o, &output));
        expect_shape(&output, &deep);
        check_checksums(move_wide, &deep, &wide, &o, 2, sums[order][0][0], sums[order][0][1], 0);
        check_checksums(move_deep, &wide, &deep, &o, 2, sums[order][1][0], sums[order][1][1], 0);
    }
}

/* keras.layers.Permute((3, 1, 2)). */
static void test_permute(void **state) {
    (void)state;
    fv_shape input = {2, {4, 5}, 3}, output;
    fv_permute_options o = {.axes = {3, 1, 2}, .count = 3};
    assert_true(ref_permute_output(&input, &o, &output));
    expect_shape(&output, &(fv_shape){2, {3, 4}, 5});
    check_checksums(move_permute, &input, &output, &o, 2, 166, -17, 0);
    fv_permute_options twice = {.axes = {1, 1, 2}, .count = 3};
    assert_false(ref_permute_output(&input, &twice, &output));
}

/* Of 2 x 3 pixels of two channels, 0 to 11. */
static void test_parts(void **state) {
    (void)state;
    fv_shape input = {2, {2, 3}, 2}, output;
    double x[12], y[12];
    pattern(12, 1, 0, 100, 0, x);
    fv_crop_options crop = {.crop = {{1, 0}, {0, 1}}};
    assert_true(ref_crop_output(&input, &crop, &output));
    expect_shape(&output, &(fv_shape){2, {1, 2}, 2});
    pattern(12, 0, 0, 1, 0, y);
    ref_crop(&input, &crop, 1, (ref_way){.from = x, .to = y});
    expect_doubles("crop", 4, y, (double[]){6, 7, 8, 9}, 0);
    fv_slice_options slice = {.begin = 1, .axis = 2}, channels = {.begin = 1, .end = 2};
    assert_true(ref_slice_output(&input, &slice, &output));
    expect_shape(&output, &(fv_shape){2, {2, 2}, 2});
    pattern(12, 0, 0, 1, 0, y);
    ref_slice(&input, &slice, 1, (ref_way){.from = x, .to = y});
    expect_doubles("slice", 8, y, (double[]){2, 3, 4, 5, 8, 9, 10, 11}, 0);
    assert_true(ref_slice_output(&input, &channels, &output));
    pattern(12, 0, 0, 1, 0, y);
    ref_slice(&input, &channels, 1, (ref_way){.from = x, .to = y});
    expect_doubles("channel", 6, y, (double[]){1, 3, 5, 7, 9, 11}, 0);
    assert_false(ref_slice_output(&input, &(fv_slice_options){.begin = 2}, &output));
    assert_false(ref_crop_output(&input, &(fv_crop_options){.crop = {{1, 1}}}, &output));
}

static void test_reshape(void **state) {
    (void)state;
    fv_shape input = {2, {4, 6}, 3}, output;
    fv_reshape_options open = {{2, {FV_ANY, 4}, 9}}, wrong = {{1, {7}, 10}};
    assert_true(ref_reshape_output(&input, &open, &output));
    expect_shape(&output, &(fv_shape){2, {2, 4}, 9});
    assert_false(ref_reshape_output(&input, &wrong, &output));
}

/* Two pixels of two channels behind one, and channels behind channels. */
static void test_concat(void **state) {
    (void)state;
    fv_shape inputs[2] = {{1, {1}, 2}, {1, {2}, 2}}, output;
    fv_concat_options along = {.axis = 1}, channels = {0};
    double a[] = {1, 2, 3, 4}, b[] = {5, 6, 7, 8}, y[8] = {0}, z[8] = {0}, db[4] = {0};
    assert_true(ref_concat_output(inputs, 2, &along, &output));
    expect_shape(&output, &(fv_shape){1, {3}, 2});
    ref_concat(inputs, 2, 0, &along, 1, (ref_way){.from = a, .to = y});
    ref_concat(inputs, 2, 1, &along, 1, (ref_way){.from = b, .to = y});
    expect_doubles("along", 6, y, (double[]){1, 2, 5, 6, 7, 8}, 0);
    assert_false(ref_concat_output(inputs, 2, &channels, &output));
    fv_shape equal[2] = {{1, {2}, 2}, {1, {2}, 2}};
    assert_true(ref_concat_output(equal, 2, &channels, &output));
    expect_shape(&output, &(fv_shape){1, {2}, 4});
    ref_concat(equal, 2, 0, &channels, 1, (ref_way){.from = a, .to = z});
    ref_concat(equal, 2, 1, &channels, 1, (ref_way){.from = b, .to = z});
    expect_doubles("channels", 8, z, (double[]){1, 2, 5, 6, 3, 4, 7, 8}, 0);
    ref_concat(equal, 2, 1, &channels, 1, (ref_way){.from = z, .to = db, .back = true});
    expect_doubles("db", 4, db, b, 0);
}

/* Two places of two channels and one place that counts for both. */
static void test_joins(void **state) {
    (void)state;
    fv_shape inputs[2] = {{1, {2}, 2}, {0, {0}, 2}}, output;
    double a[] = {1, 2, 5, 3}, b[] = {3, 2}, dy[] = {1, 10, 100, 1000};
    double *x[] = {a, b};
    const double y[3][4] = {{4, 4, 8, 5}, {3, 4, 15, 6}, {3, 2, 5, 3}};
    const double da[3][4] = {{1, 10, 100, 1000}, {3, 20, 300, 2000}, {0, 10, 100, 1000}};
    const double db[3][2] = {{101, 1010}, {501, 3020}, {1, 0}};
    assert_true(ref_join_output(inputs, 2, &output));
    expect_shape(&output, &inputs[0]);
    for (int kind = 0; kind < 3; kind++) {
        double got[4], first[4] = {0}, second[2] = {0};
        ref_join((ref_join_kind)kind, inputs, 2, 1, x, got);
        expect_doubles("y", 4, got, y[kind], 0);
        ref_join_back((ref_join_kind)kind, inputs, 2, 0, 1, x, dy, first);
        expect_doubles("da", 4, first, da[kind], 0);
        ref_join_back((ref_join_kind)kind, inputs, 2, 1, 1, x, dy, second);
        expect_doubles("db", 2, second, db[kind], 0);
    }
    fv_shape others[2] = {{1, {2}, 2}, {1, {3}, 2}};
    assert_false(ref_join_output(others, 2, &output));
}

/* (1 - 3)^2 + (2 - 0)^2 = 8 and (1 - 0)^2 + (2 - 2)^2 = 1. */
static void test_rbf(void **state) {
    (void)state;
    const double x[] = {1, 2}, w[] = {3, 0, 0, 2}, dy[] = {1, 10};
    double y[2], dx[2] = {0}, dw[4] = {0};
    ref_rbf(1, 2, 2, x, w, y);
    expect_doubles("y", 2, y, (double[]){8, 1}, 0);
    ref_rbf_back(1, 2, 2, x, w, dy, dx, dw);
    expect_doubles("dx", 2, dx, (double[]){16, 4}, 0);
    expect_doubles("dw", 4, dw, (double[]){4, -4, -20, 0}, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pad),    cmocka_unit_test(test_upsample),
        cmocka_unit_test(test_depth),  cmocka_unit_test(test_permute),
        cmocka_unit_test(test_parts),  cmocka_unit_test(test_reshape),
        cmocka_unit_test(test_concat), cmocka_unit_test(test_joins),
        cmocka_unit_test(test_rbf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
