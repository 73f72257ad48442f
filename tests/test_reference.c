/* Holds the oracles themselves: to examples worked by hand, to published vectors, to numbers that
 * PyTorch 2.15 and Keras 3.15 gave (double precision, on the CPU), and to identities that bind
 * forward and backward. */
#include "doubles.h"
#include "reference/reference.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A ramp of 1 to 16 under 3 x 3 ones at stride 2: TensorFlow's "same" and PyTorch's padding=1
 * differ. */
static void test_padding(void **state) {
    (void)state;
    double ramp[16], ones[9], y[4];
    fv_shape picture = {2, {4, 4}, 1};
    ref_window w;
    for (int i = 0; i < 16; i++)
        ramp[i] = i + 1;
    for (int i = 0; i < 9; i++)
        ones[i] = 1;
    fv_conv_options same = {.kernel = {3}, .stride = {2}, .padding = FV_SAME};
    assert_true(ref_conv_window(&picture, &same, &w));
    ref_conv(&w, 1, 1, 1, ramp, ones, NULL, y);
    expect_doubles("TensorFlow", 4, y, (double[]){54, 45, 72, 54}, 0);
    fv_conv_options one = {.kernel = {3}, .stride = {2}, .pad = {{1, 1}, {1, 1}}};
    assert_true(ref_conv_window(&picture, &one, &w));
    ref_conv(&w, 1, 1, 1, ramp, ones, NULL, y);
    expect_doubles("PyTorch", 4, y, (double[]){14, 30, 57, 99}, 0);
    fv_conv_options large = {.kernel = {5, 3}};
    assert_false(ref_conv_window(&picture, &large, &w));
}

/* The order of channels, filters and kernel axes, by hand: one cell of the kernel is 1. */
static void test_layout(void **state) {
    (void)state;
    enum { CHANNELS = 2, FILTERS = 3 };
    double x[3 * 4 * CHANNELS], weight[2 * 2 * CHANNELS * FILTERS] = {0}, y[2 * 3 * FILTERS];
    double bias[FILTERS] = {100, 200, 300};
    ref_window w;
    for (int i = 0; i < 3 * 4 * CHANNELS; i++)
        x[i] = i;
    weight[((0 * 2 + 1) * CHANNELS + 1) * FILTERS + 2] = 1; /* cell (0, 1), channel 1, filter 2 */
    ref_conv_window(&(fv_shape){2, {3, 4}, CHANNELS}, &(fv_conv_options){.kernel = {2}}, &w);
    ref_conv(&w, 1, CHANNELS, FILTERS, x, weight, bias, y);
    /* Output (1, 2) sees x(1, 3, channel 1) = ((1 * 4) + 3) * 2 + 1 = 15. */
    expect_doubles("y(1, 2)", FILTERS, y + (1 * 3 + 2) * FILTERS, (double[]){100, 200, 315}, 0);
}

/* Convolution is linear in x and in w, so <dy, conv(x, w)> = <dx, x> = <dw, w>. */
static void check_adjoints(numbers *n, const ref_window *w) {
    int samples = 2, channels = 3, filters = 2;
    size_t in = (size_t)(samples * ref_cells(w->in) * channels);
    size_t out = (size_t)(samples * ref_cells(w->out) * filters);
    size_t weights = (size_t)(ref_cells(w->kernel) * channels * filters);
    double *x = new_doubles(in), *dx = new_doubles(in), *y = new_doubles(out);
    double *dy = new_doubles(out), *k = new_doubles(weights), *dk = new_doubles(weights);
    random_doubles(n, in, x);
    random_doubles(n, out, dy);
    random_doubles(n, weights, k);
    ref_conv(w, samples, channels, filters, x, k, NULL, y);
    ref_conv_input_gradient(w, samples, channels, filters, dy, k, dx);
    ref_conv_weight_gradient(w, samples, channels, filters, x, dy, dk);
    double forward = dot(out, dy, y);
    assert_true(fabs(forward - dot(in, dx, x)) <= 1e-12 * (1 + fabs(forward)) * (double)out);
    assert_true(fabs(forward - dot(weights, dk, k)) <= 1e-12 * (1 + fabs(forward)) * (double)out);
    double *all[] = {x, dx, y, dy, k, dk};
    for (int i = 0; i < 6; i++)
        free(all[i]);
}

static void test_convolution_adjoints(void **state) {
    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        numbers n = {i};
        fv_shape input = {.rank = 1 + (int)(i % 3), .channels = 3};
        fv_conv_options o = {.padding = numbers_below(&n, 3) == 0 ? FV_SAME : FV_VALID};
        ref_window w;
        for (int axis = 0; axis < input.rank; axis++) {
            input.size[axis] = 1 + numbers_below(&n, 7);
            o.kernel[axis] = 1 + numbers_below(&n, 4);
            o.stride[axis] = 1 + numbers_below(&n, 3);
            o.pad[axis][0] = numbers_below(&n, 3);
            o.pad[axis][1] = numbers_below(&n, 3);
        }
        if (ref_conv_window(&input, &o, &w))
            check_adjoints(&n, &w);
    }
}

/* 3 x 3 ones, window 2, stride 2, padding 1: PyTorch's example of the two divisors. */
static void test_average(void **state) {
    (void)state;
    fv_pool_options o = {.size = {2}, .pad = {{1, 1}, {1, 1}}};
    double ones[9], y[4], dx[9];
    ref_window w;
    for (int i = 0; i < 9; i++)
        ones[i] = 1;
    ref_pool_window(&(fv_shape){2, {3, 3}, 1}, &o, &w);
    ref_avgpool(&w, true, 1, 1, ones, y);
    expect_doubles("with padding", 4, y, (double[]){0.25, 0.5, 0.5, 1}, 0);
    ref_avgpool_gradient(&w, true, 1, 1, (double[]){4, 8, 12, 16}, dx);
    expect_doubles("with padding", 9, dx, (double[]){1, 2, 2, 3, 4, 4, 3, 4, 4}, 0);
    ref_avgpool(&w, false, 1, 1, ones, y);
    expect_doubles("without", 4, y, (double[]){1, 1, 1, 1}, 0);
    ref_avgpool_gradient(&w, false, 1, 1, (double[]){4, 8, 12, 16}, dx);
    expect_doubles("without", 9, dx, (double[]){4, 4, 4, 6, 4, 4, 6, 4, 4}, 0);
}

/* The first of equals takes the gradient; windows overlap; all values may be negative. */
static void test_maximum(void **state) {
    (void)state;
    fv_pool_options o = {.size = {2}, .stride = {1}};
    double x[6] = {-3, -1, -1, -1, -5, -4}, y[2], dx[6];
    ref_window w;
    ref_pool_window(&(fv_shape){2, {2, 3}, 1}, &o, &w);
    ref_maxpool(&w, 1, 1, x, y);
    expect_doubles("largest", 2, y, (double[]){-1, -1}, 0);
    ref_maxpool_gradient(&w, 1, 1, x, (double[]){10, 7}, dx);
    expect_doubles("gradient", 6, dx, (double[]){0, 17, 0, 0, 0, 0}, 0);
    fv_pool_options padded = {.size = {3}, .stride = {2}, .pad = {{1, 1}, {1, 1}}};
    ref_pool_window(&(fv_shape){2, {2, 3}, 1}, &padded, &w);
    ref_maxpool(&w, 1, 1, x, y);
    expect_doubles("padding is never the largest", 2, y, (double[]){-1, -1}, 0);
}

static void test_dense(void **state) {
    (void)state;
    const double x[] = {1, 2, 3}, weight[] = {1, 10, 2, 20, 3, 30}, dy[] = {5, 7};
    double y[2], dx[3], dw[6];
    ref_dense(1, 3, 2, x, weight, (double[]){0.5, -0.5}, y);
    expect_doubles("y", 2, y, (double[]){14.5, 139.5}, 0);
    ref_dense_input_gradient(1, 3, 2, dy, weight, dx);
    expect_doubles("dx", 3, dx, (double[]){75, 150, 225}, 0);
    ref_dense_weight_gradient(1, 3, 2, x, dy, dw);
    expect_doubles("dw", 6, dw, (double[]){5, 7, 10, 14, 15, 21}, 0);
    double dbias[2];
    ref_bias_gradient(3, 2, (double[]){1, 2, 3, 4, 5, 6}, dbias);
    expect_doubles("dbias", 2, dbias, (double[]){9, 12}, 0);
}

static void test_input(void **state) {
    (void)state;
    fv_input_options o = {.shape = {1, {2}, 2}, .scale = 0.5, .mean = {1, 10}, .means = 2};
    double x[4] = {2, 4, 6, 8}, y[4];
    ref_input(&o, 1, x, y);
    expect_doubles("y", 4, y, (double[]){0, -8, 2, -6}, 0);
    o.means = 1;
    ref_input(&o, 1, x, y);
    expect_doubles("one mean", 4, y, (double[]){0, 1, 2, 3}, 0);
    o.means = 0, o.scale = 0;
    ref_input(&o, 1, x, y);
    expect_doubles("defaults", 4, y, x, 0);
}

/* The known answers of the authors' Random123 library (kat_vectors, philox4x32 10). */
static void test_philox(void **state) {
    (void)state;
    static const uint32_t known[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1}};
    for (int i = 0; i < 3; i++) {
        uint32_t result[4];
        ref_philox(known[i], known[i] + 4, result);
        assert_memory_equal(result, known[i] + 6, sizeof result);
    }
    static const uint32_t halves[8] = {0xe8d5, 0x6627, 0xc58d, 0xe169,
                                       0xac4c, 0xbc57, 0xdbd8, 0x9b00};
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(ref_philox_half((uint32_t[]){0, 0}, (uint32_t[]){0, 0, 0}, i), halves[i]);
}

/* Of the first block above; and the moments of 100,000. */
static void test_normal(void **state) {
    (void)state;
    static const double wanted[] = {0.9911374751458971, -0.9246627803544332, -0.6176090549848544,
                                    -0.4820683472644963};
    const uint32_t key[2] = {0, 0}, stream[3] = {0, 0, 0};
    enum { COUNT = 100000 };
    double x[4], mean = 0, square = 0, fourth = 0;
    for (size_t i = 0; i < 4; i++)
        x[i] = ref_normal(key, stream, i);
    expect_doubles("normal", 4, x, wanted, 1e-15);
    for (size_t i = 0; i < COUNT; i++) {
        double n = ref_normal(key, stream, i);
        mean += n / COUNT;
        square += n * n / COUNT;
        fourth += n * n * n * n / COUNT;
    }
    assert_true(fabs(mean) <= 0.02 && fabs(square - 1) <= 0.02 && fabs(fourth - 3) <= 0.15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_padding), cmocka_unit_test(test_layout),
        cmocka_unit_test(test_average), cmocka_unit_test(test_convolution_adjoints),
        cmocka_unit_test(test_maximum), cmocka_unit_test(test_dense),
        cmocka_unit_test(test_input),   cmocka_unit_test(test_philox),
        cmocka_unit_test(test_normal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
