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
    double dbias[2] = {0};
    ref_bias_back(3, 2, (double[]){1, 2, 3, 4, 5, 6}, dbias);
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
    o.deviations = 2, o.deviation[0] = 0.5, o.deviation[1] = 4;
    ref_input(&o, 1, x, y);
    expect_doubles("deviations", 4, y, (double[]){0, 0.25, 4, 0.75}, 0);
    o.deviations = 1;
    ref_input(&o, 1, x, y);
    expect_doubles("one deviation", 4, y, (double[]){0, 2, 4, 6}, 0);
    o.means = 0, o.scale = 0, o.deviations = 0;
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
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_input),
        cmocka_unit_test(test_philox),
        cmocka_unit_test(test_normal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
