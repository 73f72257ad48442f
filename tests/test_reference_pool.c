/* Holds the oracles of pooling to examples worked by hand and to numbers of PyTorch 2.15 and
 * TensorFlow (in double, on the CPU): checksums (doubles.h) of output and input gradient of
 * x = pattern(7, 3, 11, 5) and dy = pattern(3, 2, 5, 2) in our order of memory. */
#include "doubles.h"
#include "reference/reference.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* 3 x 3 ones, window 2, stride 2, padding 1: PyTorch's example of the two divisors. */
static void test_average(void **state) {
    (void)state;
    fv_pool_options o = {.size = {2}, .pad = {{1, 1}, {1, 1}}};
    ref_pool pool = {.samples = 1, .channels = 1, .count_include_pad = true};
    double ones[9], y[4], dx[9] = {0}, dx_without[9] = {0};
    pattern(9, 0, 1, 2, 0, ones);
    assert_true(ref_pool_window(&(fv_shape){2, {3, 3}, 1}, &o, &pool.window));
    ref_avgpool(&pool, ones, y);
    expect_doubles("with padding", 4, y, (double[]){0.25, 0.5, 0.5, 1}, 0);
    ref_avgpool_back(&pool, (double[]){4, 8, 12, 16}, dx);
    expect_doubles("with padding", 9, dx, (double[]){1, 2, 2, 3, 4, 4, 3, 4, 4}, 0);
    assert_true(ref_avgpool_exact(&pool));
    pool.count_include_pad = false;
    ref_avgpool(&pool, ones, y);
    expect_doubles("without", 4, y, (double[]){1, 1, 1, 1}, 0);
    ref_avgpool_back(&pool, (double[]){4, 8, 12, 16}, dx_without);
    expect_doubles("without", 9, dx_without, (double[]){4, 4, 4, 6, 4, 4, 6, 4, 4}, 0);
}

/* The first of equals takes the gradient; windows overlap; all values may be negative. */
static void test_maximum(void **state) {
    (void)state;
    fv_pool_options o = {.size = {2}, .stride = {1}};
    ref_pool pool = {.samples = 1, .channels = 1};
    double x[6] = {-3, -1, -1, -1, -5, -4}, y[2], dx[6] = {0};
    ref_pool_window(&(fv_shape){2, {2, 3}, 1}, &o, &pool.window);
    ref_maxpool(&pool, x, y);
    expect_doubles("largest", 2, y, (double[]){-1, -1}, 0);
    ref_maxpool_back(&pool, x, (double[]){10, 7}, dx);
    expect_doubles("gradient", 6, dx, (double[]){0, 17, 0, 0, 0, 0}, 0);
    fv_pool_options padded = {.size = {3}, .stride = {2}, .pad = {{1, 1}, {1, 1}}};
    ref_pool_window(&(fv_shape){2, {2, 3}, 1}, &padded, &pool.window);
    ref_maxpool(&pool, x, y);
    expect_doubles("padding is never the largest", 2, y, (double[]){-1, -1}, 0);
}

/* 2 x 2 sums of 1 to 4 at stride 2, times 10, plus 3. */
static void test_subsample(void **state) {
    (void)state;
    ref_pool pool = {.samples = 1, .channels = 1};
    double x[4] = {1, 2, 3, 4}, y[1], dx[4] = {0}, dw[1] = {0}, db[1] = {0};
    ref_pool_window(&(fv_shape){2, {2, 2}, 1}, &(fv_pool_options){.size = {2}}, &pool.window);
    ref_subsample(&pool, x, (double[]){10}, (double[]){3}, y);
    expect_doubles("y", 1, y, (double[]){103}, 0);
    ref_subsample_back(&pool, x, (double[]){10}, (double[]){2}, dx, dw, db);
    expect_doubles("dx", 4, dx, (double[]){20, 20, 20, 20}, 0);
    expect_doubles("dw", 1, dw, (double[]){20}, 0);
    expect_doubles("db", 1, db, (double[]){2}, 0);
}

typedef struct framework_case {
    int samples;
    fv_shape input;
    fv_pool_options options;
    bool maximum;
    fv_shape output;
    double sums[2];
} framework_case;

static void check_checksums(const ref_pool *pool, bool maximum, const double sums[2]) {
    size_t in = (size_t)(pool->samples * ref_cells(pool->window.in) * pool->channels);
    size_t out = (size_t)(pool->samples * ref_cells(pool->window.out) * pool->channels);
    double *x = new_doubles(in), *dx = new_doubles(in), *y = new_doubles(out);
    double *dy = new_doubles(out);
    pattern(in, 7, 3, 11, 5, x);
    pattern(out, 3, 2, 5, 2, dy);
    (maximum ? ref_maxpool : ref_avgpool)(pool, x, y);
    if (maximum)
        ref_maxpool_back(pool, x, dy, dx);
    else
        ref_avgpool_back(pool, dy, dx);
    double got[] = {checksum(out, y), checksum(in, dx)};
    expect_doubles("sums", 2, got, sums, 1e-12 * (double)in);
    double *all[] = {x, dx, y, dy};
    for (int i = 0; i < 4; i++)
        free(all[i]);
}

/* F.avg_pool1d, 2d, 3d(x, size, stride, padding, ceil_mode, count_include_pad), F.max_pool2d, 3d(x,
 * size, stride, padding, ceil_mode); the last two: tf.nn.avg_pool2d and max_pool2d(x, size, stride,
 * "SAME"). */
static const framework_case framework_cases[] = {
    {2,
     {1, {8}, 3},
     {.size = {3}, .stride = {2}, .pad = {{1, 1}}, .ceil = true, .count_include_pad = true},
     false,
     {1, {5}, 3},
     {34.166666666666664, -16.33333333333332}},
    {2,
     {1, {8}, 3},
     {.size = {3}, .stride = {2}, .pad = {{1, 1}}, .ceil = true},
     false,
     {1, {5}, 3},
     {56, -2.6666666666666607}},
    {1,
     {2, {7, 8}, 2},
     {.size = {3, 2},
      .stride = {2, 3},
      .pad = {{1, 1}, {1, 1}},
      .ceil = true,
      .count_include_pad = true},
     false,
     {2, {4, 3}, 2},
     {-13.833333333333334, -11.999999999999996}},
    {1,
     {2, {7, 8}, 2},
     {.size = {3, 2}, .stride = {2, 3}, .pad = {{1, 1}, {1, 1}}, .ceil = true},
     false,
     {2, {4, 3}, 2},
     {-22.16666666666667, -15.583333333333332}},
    {1,
     {3, {3, 4, 6}, 2},
     {.size = {2}, .stride = {1, 2, 3}, .ceil = true},
     false,
     {3, {2, 2, 2}, 2},
     {0.125, 10.25}},
    {2,
     {2, {7, 6}, 3},
     {.size = {3}, .stride = {2}, .pad = {{1, 1}, {1, 1}}, .ceil = true},
     true,
     {2, {4, 4}, 3},
     {2441, 3}},
    {1,
     {3, {4, 5, 3}, 2},
     {.size = {2, 3, 2}, .stride = {2, 1, 1}},
     true,
     {3, {2, 3, 2}, 2},
     {732, 11}},
    {2,
     {2, {7, 6}, 3},
     {.size = {3}, .stride = {2}, .padding = FV_SAME},
     false,
     {2, {4, 3}, 3},
     {26.888888888888893, -19.972222222222232}},
    {2,
     {2, {7, 6}, 3},
     {.size = {3, 2}, .stride = {2}, .padding = FV_SAME},
     true,
     {2, {4, 3}, 3},
     {1846, -67}},
};

static void test_frameworks(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof framework_cases / sizeof framework_cases[0]; i++) {
        const framework_case *c = &framework_cases[i];
        ref_pool pool = {.samples = c->samples,
                         .channels = c->input.channels,
                         .count_include_pad = c->options.count_include_pad};
        assert_true(ref_pool_window(&c->input, &c->options, &pool.window));
        for (int axis = 0; axis < c->output.rank; axis++)
            assert_int_equal(pool.window.out[axis], c->output.size[axis]);
        check_checksums(&pool, c->maximum, c->sums);
    }
}

/* F.adaptive_avg_pool2d, 3d and F.adaptive_max_pool1d(x, size). */
static void test_adaptive(void **state) {
    (void)state;
    static const framework_case list[] = {
        {2, {2, {7, 6}, 2}, {.size = {3, 4}}, false, {0}, {-27.833333333333336, 0}},
        {1, {2, {3, 5}, 2}, {.size = {5, 2}}, false, {0}, {19.66666666666667, -1}},
        {2, {1, {10}, 3}, {.size = {4}}, true, {0}, {259, -37}},
        {1, {3, {3, 4, 5}, 2}, {.size = {2, 1, 3}}, false, {0}, {-1.3125, -15.145833333333334}},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        ref_pool pool = {
            .samples = list[i].samples, .channels = list[i].input.channels, .adaptive = true};
        assert_true(ref_adaptive_window(&list[i].input, list[i].options.size, &pool.window));
        check_checksums(&pool, list[i].maximum, list[i].sums);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_average),   cmocka_unit_test(test_maximum),
        cmocka_unit_test(test_subsample), cmocka_unit_test(test_frameworks),
        cmocka_unit_test(test_adaptive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
