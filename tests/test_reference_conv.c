/* Holds the oracles of convolutions to examples worked by hand, to numbers of PyTorch 2.15 and
 * Keras 3.15 on TensorFlow (in double, on the CPU), and to identities that bind forward and
 * backward.
 *
 * The frameworks' numbers are checksums (doubles.h) of output, input gradient and weight gradient
 * in our order of memory, of x = pattern(7, 3, 11, 5), weight = pattern(5, 1, 7, 3) and dy =
 * pattern(3, 2, 5, 2), each in our order too; all numbers are whole. */
#include "doubles.h"
#include "reference/reference.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- By hand ----------------------------------------------------------------------------------
 */

/* A ramp of 1 to 16 under 3 x 3 ones at stride 2: TensorFlow's "same", ONNX's SAME_LOWER and
 * PyTorch's padding=1 differ. */
static void test_padding(void **state) {
    (void)state;
    double ramp[16], ones[9];
    fv_shape picture = {2, {4, 4}, 1};
    pattern(16, 1, 1, 100, 0, ramp);
    pattern(9, 0, 1, 2, 0, ones);
    const struct {
        fv_conv_options options;
        double y[4];
    } list[] = {
        {{.kernel = {3}, .stride = {2}, .padding = FV_SAME}, {54, 45, 72, 54}},
        {{.kernel = {3}, .stride = {2}, .padding = FV_SAME_LOWER}, {14, 30, 57, 99}},
        {{.kernel = {3}, .stride = {2}, .pad = {{1, 1}, {1, 1}}}, {14, 30, 57, 99}},
        {{.kernel = {3}, .stride = {2}, .pad = {{0, 1}, {0, 1}}}, {54, 45, 72, 54}},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        ref_conv conv = {.samples = 1, .channels = 1, .filters = 1, .groups = 1};
        double y[4] = {0};
        assert_true(ref_conv_window(&picture, &list[i].options, &conv.window));
        ref_conv_forward(&conv, ramp, ones, y);
        expect_doubles("y", 4, y, list[i].y, 0);
    }
}

static void test_misfits(void **state) {
    (void)state;
    fv_shape picture = {2, {4, 4}, 1};
    static const fv_conv_options list[] = {{.kernel = {5, 3}},
                                           {.kernel = {3}, .dilation = {2}},
                                           {.kernel = {1, 1, 1}},
                                           {.kernel = {1}, .padding = FV_CAUSAL}};
    ref_window w;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        assert_false(ref_conv_window(&picture, &list[i], &w));
    assert_false(ref_conv_window(&(fv_shape){0, {0}, 7}, &(fv_conv_options){.kernel = {1}}, &w));
}

/* The order of channels, filters and kernel axes: one cell of the kernel is 1. */
static void test_layout(void **state) {
    (void)state;
    enum { CHANNELS = 2, FILTERS = 3 };
    double x[3 * 4 * CHANNELS], weight[2 * 2 * CHANNELS * FILTERS] = {0}, y[2 * 3 * FILTERS] = {0};
    ref_conv conv = {.samples = 1, .channels = CHANNELS, .filters = FILTERS, .groups = 1};
    for (int i = 0; i < 3 * 4 * CHANNELS; i++)
        x[i] = i;
    weight[((0 * 2 + 1) * CHANNELS + 1) * FILTERS + 2] = 1; /* cell (0, 1), channel 1, filter 2 */
    ref_conv_window(&(fv_shape){2, {3, 4}, CHANNELS}, &(fv_conv_options){.kernel = {2}},
                    &conv.window);
    ref_conv_forward(&conv, x, weight, y);
    ref_bias(2 * 3, FILTERS, (double[]){100, 200, 300}, y);
    /* Output (1, 2) sees x(1, 3, channel 1) = ((1 * 4) + 3) * 2 + 1 = 15. */
    expect_doubles("y(1, 2)", FILTERS, y + (1 * 3 + 2) * FILTERS, (double[]){100, 200, 315}, 0);
    double dbias[FILTERS] = {0};
    ref_bias_back(2, FILTERS, (double[]){1, 2, 3, 4, 5, 6}, dbias);
    expect_doubles("dbias", FILTERS, dbias, (double[]){5, 7, 9}, 0);
}

/* ---- Frameworks -------------------------------------------------------------------------------
 */

/* Checksums of y, dx and dweight; `transposed`: the convolution goes from y to x. */
static void check_checksums(const ref_conv *conv, bool transposed, double y_sum, double dx_sum,
                            double dweight_sum) {
    size_t samples = (size_t)conv->samples, weights = ref_conv_weights(conv);
    size_t in = samples * (size_t)(ref_cells(conv->window.in) * conv->channels);
    size_t out = samples * (size_t)(ref_cells(conv->window.out) * conv->filters);
    size_t xs = transposed ? out : in, ys = transposed ? in : out;
    double *x = new_doubles(xs), *dx = new_doubles(xs), *y = new_doubles(ys);
    double *dy = new_doubles(ys), *w = new_doubles(weights), *dw = new_doubles(weights);
    pattern(xs, 7, 3, 11, 5, x);
    pattern(weights, 5, 1, 7, 3, w);
    pattern(ys, 3, 2, 5, 2, dy);
    (transposed ? ref_conv_back : ref_conv_forward)(conv, x, w, y);
    (transposed ? ref_conv_forward : ref_conv_back)(conv, dy, w, dx);
    ref_conv_weights_back(conv, transposed ? dy : x, transposed ? x : dy, dw);
    double sums[] = {checksum(ys, y), checksum(xs, dx), checksum(weights, dw)};
    expect_doubles("sums", 3, sums, (double[]){y_sum, dx_sum, dweight_sum}, 0);
    double *all[] = {x, dx, y, dy, w, dw};
    for (int i = 0; i < 6; i++)
        free(all[i]);
}

/* F.conv1d, conv2d, conv3d(x, weight, stride, padding, dilation, groups); the sixth:
 * padding="same"; the last: tf.nn.conv2d(x, weight, [1, 2, 3, 1], "SAME"). */
static void test_convolution(void **state) {
    (void)state;
    static const struct {
        int samples, filters;
        fv_shape input;
        fv_conv_options options;
        double sums[3];
    } list[] = {
        {2,
         4,
         {1, {9}, 3},
         {.kernel = {3}, .stride = {2}, .dilation = {2}, .pad = {{1, 1}}},
         {-771, 89, 266}},
        {2,
         6,
         {2, {7, 8}, 4},
         {.kernel = {3, 2},
          .stride = {2, 1},
          .dilation = {1, 2},
          .pad = {{1, 1}, {2, 2}},
          .groups = 2},
         {-253, -1234, -150}},
        {1,
         3,
         {3, {4, 5, 6}, 2},
         {.kernel = {2, 3, 2}, .stride = {1, 2, 1}, .pad = {{0, 0}, {1, 1}, {2, 2}}},
         {1221, -598, -750}},
        {2,
         6,
         {2, {6, 5}, 3},
         {.kernel = {3}, .pad = {{1, 1}, {1, 1}}, .groups = 3},
         {-973, 29, 554}},
        {1, 3, {2, {7, 6}, 2}, {.kernel = {4}, .padding = FV_SAME}, {1426, -1016, -682}},
        {2,
         4,
         {2, {7, 8}, 3},
         {.kernel = {3, 4}, .stride = {2, 3}, .padding = FV_SAME},
         {-1710, -539, 262}},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        ref_conv conv = {.samples = list[i].samples,
                         .channels = list[i].input.channels,
                         .filters = list[i].filters,
                         .groups = list[i].options.groups ? list[i].options.groups : 1};
        assert_true(ref_conv_window(&list[i].input, &list[i].options, &conv.window));
        check_checksums(&conv, false, list[i].sums[0], list[i].sums[1], list[i].sums[2]);
    }
}

/* keras.layers.Conv1D(4, 3, padding="causal", dilation_rate=2), forward. */
static void test_causal(void **state) {
    (void)state;
    ref_conv conv = {.samples = 2, .channels = 3, .filters = 4, .groups = 1};
    fv_conv_options o = {.kernel = {3}, .dilation = {2}, .padding = FV_CAUSAL};
    double x[2 * 7 * 3], w[3 * 3 * 4], y[2 * 7 * 4] = {0};
    pattern(2 * 7 * 3, 7, 3, 11, 5, x);
    pattern(3 * 3 * 4, 5, 1, 7, 3, w);
    assert_true(ref_conv_window(&(fv_shape){1, {7}, 3}, &o, &conv.window));
    ref_conv_forward(&conv, x, w, y);
    assert_true(checksum(2 * 7 * 4, y) == -139);
}

/* F.conv_transpose1d, 2d, 3d(x, weight, stride, padding, output_padding, groups, dilation); the
 * last two: keras.layers.Conv2DTranspose(3, (3, 2), (2, 3), "same") and (3, (5, 4), 2, "same"). */
static void test_transposed(void **state) {
    (void)state;
    static const struct {
        int samples, filters;
        fv_shape input;
        fv_conv_transpose_options options;
        fv_shape output;
        double sums[3];
    } list[] = {
        {2,
         2,
         {1, {4}, 3},
         {.kernel = {3}, .stride = {3}, .dilation = {2}, .pad = {{1, 1}}, .output_pad = {2}},
         {1, {14}, 2},
         {-69, 37, 126}},
        {1,
         6,
         {2, {3, 4}, 4},
         {.kernel = {3}, .stride = {2}, .pad = {{1, 1}, {1, 1}}, .output_pad = {1, 1}, .groups = 2},
         {2, {6, 8}, 6},
         {1106, -335, -45}},
        {1,
         3,
         {3, {2, 3, 2}, 2},
         {.kernel = {2, 3, 2}, .stride = {2, 1, 2}},
         {3, {4, 5, 4}, 3},
         {144, -193, 961}},
        {1,
         3,
         {2, {3, 4}, 2},
         {.kernel = {3, 2}, .stride = {2, 3}, .padding = FV_SAME},
         {2, {6, 12}, 3},
         {-433, -386, 96}},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        ref_conv conv = {.samples = list[i].samples,
                         .channels = list[i].filters,
                         .filters = list[i].input.channels,
                         .groups = list[i].options.groups ? list[i].options.groups : 1};
        assert_true(ref_transpose_window(&list[i].input, &list[i].options, &conv.window));
        for (int axis = 0; axis < list[i].output.rank; axis++)
            assert_int_equal(conv.window.in[axis], list[i].output.size[axis]);
        check_checksums(&conv, true, list[i].sums[0], list[i].sums[1], list[i].sums[2]);
    }
}

/* F.unfold(x, (2, 3), stride=(2, 1), padding=(1, 0)) and einsum("nckp,pkcf->nfp"). */
static void test_local(void **state) {
    (void)state;
    ref_conv conv = {.samples = 2, .channels = 2, .filters = 3, .groups = 1, .local = true};
    fv_conv_options o = {.kernel = {2, 3}, .stride = {2, 1}, .pad = {{1, 1}}};
    assert_true(ref_conv_window(&(fv_shape){2, {4, 5}, 2}, &o, &conv.window));
    assert_int_equal(ref_conv_weights(&conv), 9 * 6 * 2 * 3);
    check_checksums(&conv, false, -634, -230, 193);
}

/* F.conv2d with kernels of 0 where filter 0 does not see channel 1, nor filter 1 channels 0 and 2.
 */
static void test_table(void **state) {
    (void)state;
    static const uint64_t table[] = {1 + 4, 2, 1 + 2 + 4};
    ref_conv conv = {.samples = 2, .channels = 3, .filters = 3, .groups = 1, .table = table};
    ref_conv_window(&(fv_shape){2, {4, 4}, 3}, &(fv_conv_options){.kernel = {2}}, &conv.window);
    assert_int_equal(ref_conv_weights(&conv), 4 * 6);
    check_checksums(&conv, false, 194, -50, -226);
}

/* keras.layers.SeparableConv2D(5, (3, 2), strides=2, padding="same", depth_multiplier=2), with the
 * pointwise kernel pattern(7, 3, 11, 5). */
static void test_separable(void **state) {
    (void)state;
    ref_conv depthwise = {.samples = 2, .channels = 3, .filters = 6, .groups = 3};
    ref_conv pointwise = {.samples = 2, .channels = 6, .filters = 5, .groups = 1};
    fv_conv_options o = {.kernel = {3, 2}, .stride = {2}, .padding = FV_SAME},
                    one = {.kernel = {1}};
    double x[2 * 5 * 6 * 3], w[6 * 6], between[2 * 3 * 3 * 6] = {0}, v[6 * 5],
                                                           y[2 * 3 * 3 * 5] = {0};
    pattern(2 * 5 * 6 * 3, 7, 3, 11, 5, x);
    pattern(6 * 6, 5, 1, 7, 3, w);
    pattern(6 * 5, 7, 3, 11, 5, v);
    ref_conv_window(&(fv_shape){2, {5, 6}, 3}, &o, &depthwise.window);
    ref_conv_forward(&depthwise, x, w, between);
    fv_shape middle = ref_window_output(&depthwise.window, 6);
    ref_conv_window(&middle, &one, &pointwise.window);
    ref_conv_forward(&pointwise, between, v, y);
    assert_true(checksum(2 * 3 * 3 * 5, y) == -503);
}

/* ---- Identities -------------------------------------------------------------------------------
 */

/* Convolution is linear in x and in w, so <dy, conv(x, w)> = <dx, x> = <dw, w>. */
static void check_adjoints(numbers *n, const ref_conv *conv) {
    size_t in = (size_t)(conv->samples * ref_cells(conv->window.in) * conv->channels);
    size_t out = (size_t)(conv->samples * ref_cells(conv->window.out) * conv->filters);
    size_t weights = ref_conv_weights(conv);
    double *x = new_doubles(in), *dx = new_doubles(in), *y = new_doubles(out);
    double *dy = new_doubles(out), *w = new_doubles(weights), *dw = new_doubles(weights);
    random_doubles(n, in, x);
    random_doubles(n, out, dy);
    random_doubles(n, weights, w);
    ref_conv_forward(conv, x, w, y);
    ref_conv_back(conv, dy, w, dx);
    ref_conv_weights_back(conv, x, dy, dw);
    double forward = dot(out, dy, y), bound = 1e-12 * (1 + fabs(forward)) * (double)out;
    assert_true(fabs(forward - dot(in, dx, x)) <= bound);
    assert_true(fabs(forward - dot(weights, dw, w)) <= bound);
    double *all[] = {x, dx, y, dy, w, dw};
    for (int i = 0; i < 6; i++)
        free(all[i]);
}

static void test_adjoints(void **state) {
    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        numbers n = {i};
        fv_shape input = {.rank = 1 + (int)(i % 3), .channels = 4};
        fv_conv_options o = {.padding = (fv_padding)numbers_below(&n, 3)};
        ref_conv conv = {.samples = 2, .channels = 4, .filters = 2, .groups = 1 + i % 2};
        conv.local = i % 5 == 0;
        for (int axis = 0; axis < input.rank; axis++) {
            input.size[axis] = 1 + numbers_below(&n, 7);
            o.kernel[axis] = 1 + numbers_below(&n, 4);
            o.stride[axis] = 1 + numbers_below(&n, 3);
            o.dilation[axis] = 1 + numbers_below(&n, 2);
            o.pad[axis][0] = numbers_below(&n, 3);
            o.pad[axis][1] = numbers_below(&n, 3);
        }
        if (ref_conv_window(&input, &o, &conv.window))
            check_adjoints(&n, &conv);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_padding),   cmocka_unit_test(test_misfits),
        cmocka_unit_test(test_layout),    cmocka_unit_test(test_convolution),
        cmocka_unit_test(test_causal),    cmocka_unit_test(test_transposed),
        cmocka_unit_test(test_local),     cmocka_unit_test(test_table),
        cmocka_unit_test(test_separable), cmocka_unit_test(test_adjoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
