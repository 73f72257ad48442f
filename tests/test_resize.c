/* Tests of src/data/resize.c: pictures made to fit a net, with values worked by hand, values from
 * torchvision, and an oracle. */
#include "base/alloc.h"
#include "data/data.h"
#include "files.h"
#include "net/net.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_values(const float *got, const float *wanted, size_t count, float bound) {
    for (size_t i = 0; i < count; i++)
        if (!(fabsf(got[i] - wanted[i]) <= bound))
            fail_msg("value %zu is %g, expected %g within %g", i, (double)got[i], (double)wanted[i],
                     (double)bound);
}

static fv_shape picture(int height, int width, int channels) {
    return (fv_shape){.rank = 2, .size = {height, width}, .channels = channels};
}

/* Fits to a net whose input line says `resize` and `side`. */
static fv_status fit_side(fv_resize resize, int side, fv_shape from, const float *values,
                          fv_shape to, float *fitted) {
    fv_input_options options = {.shape = to, .resize = resize, .side = side};
    fv_node node = {.options = &options, .output = to};
    fv_net net = {.nodes = &node, .count = 1};
    fv_shape input = fv_input_shape(&net);
    assert_memory_equal(&input, &to, sizeof to);
    return fv_fit_picture(&net, &from, values, &to, fitted);
}

static fv_status fit(fv_resize resize, fv_shape from, const float *values, fv_shape to,
                     float *fitted) {
    return fit_side(resize, 0, from, values, to, fitted);
}

static void expect_side(fv_resize resize, int side, fv_shape from, const float *values, fv_shape to,
                        const float *wanted, float bound) {
    float fitted[64];
    for (int i = 0; i < 64; i++)
        fitted[i] = NAN;
    if (fit_side(resize, side, from, values, to, fitted))
        fail_msg("%s", fv_error_message());
    expect_values(fitted, wanted, fv_shape_count(&to), bound);
    assert_true(isnan(fitted[fv_shape_count(&to)])); /* nothing more is written */
}

static void expect_fit(fv_resize resize, fv_shape from, const float *values, fv_shape to,
                       const float *wanted, float bound) {
    expect_side(resize, 0, from, values, to, wanted, bound);
}

static void grey_and_colour(void **state) {
    (void)state;
    const float grey[] = {0, 51, 102, 255};
    const float copies[] = {0, 0, 0, 51, 51, 51, 102, 102, 102, 255, 255, 255};
    const float colours[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255};
    const float luma[] = {76.245f, 149.685f, 29.07f, 255};
    expect_fit(FV_RESIZE_NONE, picture(2, 2, 1), grey, picture(2, 2, 1), grey, 0);
    expect_fit(FV_RESIZE_NONE, picture(2, 2, 3), colours, picture(2, 2, 3), colours, 0);
    expect_fit(FV_RESIZE_NONE, picture(2, 2, 1), grey, picture(2, 2, 3), copies, 0);
    expect_fit(FV_RESIZE_NONE, picture(2, 2, 3), colours, picture(2, 2, 1), luma, 1e-4f);
}

/* Worked by hand: cell i of n takes from cells around (i + 1/2) m / n - 1/2. */
static void bilinear(void **state) {
    (void)state;
    const float small[] = {0, 1, 2, 3};
    const float large[] = {0,    0.25f, 0.75f, 1,    0.5f, 0.75f, 1.25f, 1.5f,
                           1.5f, 1.75f, 2.25f, 2.5f, 2,    2.25f, 2.75f, 3};
    expect_fit(FV_RESIZE_BILINEAR, picture(2, 2, 1), small, picture(4, 4, 1), large, 0);
    const float row[] = {0, 10, 20, 40};
    expect_fit(FV_RESIZE_BILINEAR, picture(1, 4, 1), row, picture(1, 2, 1), (const float[]){5, 30},
               0);
    expect_fit(FV_RESIZE_BILINEAR, picture(4, 1, 1), row, picture(2, 1, 1), (const float[]){5, 30},
               0);
    /* 4 to 3: at 1/6, 3/2, 17/6 */
    expect_fit(FV_RESIZE_BILINEAR, picture(1, 4, 1), row, picture(1, 3, 1),
               (const float[]){10 / 6.0f, 15, 20 + 20 * 5 / 6.0f}, 1e-4f);
    /* Not antialiased: 4 to 1 takes the middle two only. */
    expect_fit(FV_RESIZE_BILINEAR, picture(1, 4, 1), row, picture(1, 1, 1), (const float[]){15}, 0);
    const float pair[] = {0, 0, 0, 100, 200, 0}; /* luma 0 and 147.3 */
    expect_fit(FV_RESIZE_BILINEAR, picture(1, 2, 3), pair, picture(1, 4, 1),
               (const float[]){0, 147.3f / 4, 147.3f * 3 / 4, 147.3f}, 1e-4f);
}

static void nearest(void **state) {
    (void)state;
    const float row[] = {0, 10, 20, 30, 40};
    expect_fit(FV_RESIZE_NEAREST, picture(1, 5, 1), row, picture(1, 3, 1),
               (const float[]){0, 20, 40}, 0);
    expect_fit(FV_RESIZE_NEAREST, picture(2, 1, 1), row, picture(4, 1, 1),
               (const float[]){0, 0, 10, 10}, 0);
    expect_fit(FV_RESIZE_NEAREST, picture(1, 4, 1), row, picture(1, 2, 3),
               (const float[]){10, 10, 10, 30, 30, 30}, 0);
}

static void does_not_fit(void **state) {
    (void)state;
    const float v[64] = {0};
    float fitted[64];
    expect_failure(fit(FV_RESIZE_NONE, picture(4, 5, 1), v, picture(4, 4, 1), fitted), FV_SHAPE,
                   "a picture of 4x5x1 does not fit the net's input of 4x4x1; resize it, or write "
                   "resize=antialias");
    expect_failure(fit(FV_RESIZE_BILINEAR, picture(4, 4, 2), v, picture(4, 4, 3), fitted), FV_SHAPE,
                   "4x4x2 does not fit the net's input of 4x4x3");
    fv_shape vector = {.channels = 16}, signal = {.rank = 1, .size = {16}, .channels = 1};
    expect_failure(fit(FV_RESIZE_BILINEAR, picture(4, 4, 1), v, vector, fitted), FV_SHAPE,
                   "4x4x1 does not fit the net's input of 16");
    expect_failure(fit(FV_RESIZE_BILINEAR, signal, v, picture(4, 4, 1), fitted), FV_SHAPE, "16x1");
    expect_failure(fit(FV_RESIZE_BILINEAR, picture(4, 4, 1), v, picture(FV_ANY, 4, 1), fitted),
                   FV_INVALID, "all known");
    expect_failure(fit(FV_RESIZE_BILINEAR, picture(0, 4, 1), v, picture(4, 4, 1), fitted),
                   FV_INVALID, "1 or more");
    fv_net empty = {.count = 0};
    fv_shape shape = picture(4, 4, 1);
    expect_failure(fv_fit_picture(&empty, &shape, v, &shape, fitted), FV_INVALID, "no input");
    assert_int_equal(fv_input_shape(&empty).channels, 0);
}

/* An array of 2x3 values is a grey picture of that size, or a signal of three channels. */
static void missing_channel_axis(void **state) {
    (void)state;
    const float v[] = {0, 1, 2, 3, 4, 5};
    const fv_shape array = {.rank = 1, .size = {2}, .channels = 3};
    expect_fit(FV_RESIZE_NONE, array, v, picture(2, 3, 1), v, 0);
    expect_fit(FV_RESIZE_NONE, array, v, array, v, 0);
    float fitted[6];
    expect_failure(fit(FV_RESIZE_NEAREST, array, v, picture(1, 1, 1), fitted), FV_SHAPE, "2x3");
}

/* ---- As torchvision has them ------------------------------------------------------------------
 */

/* Sample values, those of torchvision's below too. */
static void fill(float *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        values[i] = (float)((i * 37 + 11) % 256);
}

/* 4 to 1: the centre is 2, the weights 1 - d / 4 for d = 3/2, 1/2, 1/2, 3/2. */
static void antialias_by_hand(void **state) {
    (void)state;
    const float row[] = {0, 10, 20, 40};
    const float wanted[] = {(0 * 5 + 10 * 7 + 20 * 7 + 40 * 5) / 24.0f};
    expect_fit(FV_RESIZE_ANTIALIAS, picture(1, 4, 1), row, picture(1, 1, 1), wanted, 1e-5f);
    expect_fit(FV_RESIZE_ANTIALIAS, picture(4, 1, 1), row, picture(1, 1, 1), wanted, 1e-5f);
    expect_fit(FV_RESIZE_ANTIALIAS, picture(1, 1, 1), row, picture(3, 2, 1), (float[6]){0}, 0);
}

/* F.resize(x, sizes, antialias=...) of torchvision 0.29, then center_crop. */
static void as_torchvision(void **state) {
    (void)state;
    float x[80];
    fill(x, 80);
    expect_fit(FV_RESIZE_ANTIALIAS, picture(5, 7, 1), x, picture(3, 4, 1),
               (const float[]){31.6667f, 89.2457f, 157.3257f, 214.9047f, 36.3810f, 93.9600f,
                               162.0400f, 219.6190f, 41.0952f, 98.6743f, 166.7543f, 224.3333f},
               2e-4f);
    expect_fit(FV_RESIZE_ANTIALIAS, picture(9, 2, 3), x, picture(4, 3, 3),
               (const float[]){143.7429f, 71.0286f,  56.8286f,  118.7857f, 100.9286f, 112.3286f,
                               93.8286f,  130.8286f, 167.8286f, 169.9756f, 188.2439f, 156.5610f,
                               128.6951f, 128.2317f, 127.7683f, 87.4146f,  68.2195f,  98.9756f,
                               92.0244f,  129.0244f, 166.0244f, 144.4024f, 153.3049f, 137.2317f,
                               196.7805f, 177.5854f, 108.4390f, 118.2571f, 60.1714f,  97.1714f,
                               126.2143f, 115.6714f, 152.6714f, 134.1714f, 171.1714f, 208.1714f},
               2e-4f);
    expect_side(FV_RESIZE_ANTIALIAS, 4, picture(6, 11, 1), x, picture(3, 4, 1),
                (const float[]){102.5000f, 156.6250f, 126.7500f, 111.7361f, 125.2083f, 150.0585f,
                                97.9028f, 144.9877f, 138.8750f, 125.6433f, 145.3472f, 160.8272f},
                2e-4f);
    expect_side(FV_RESIZE_BILINEAR, 4, picture(11, 6, 1), x, picture(4, 3, 1),
                (const float[]){159.6786f, 215.1786f, 96.9643f, 106.2500f, 161.7500f, 217.2500f,
                                52.8214f, 108.3214f, 163.8214f, 200.5357f, 64.0357f, 110.3929f},
                2e-4f);
    /* Also where the picture has the input's sizes already. */
    expect_side(FV_RESIZE_ANTIALIAS, 5, picture(4, 4, 1), x, picture(4, 4, 1),
                (const float[]){11.0000f, 36.9000f, 66.5000f, 96.1000f, 114.6000f, 140.5000f,
                                170.1000f, 145.9400f, 105.0000f, 130.9000f, 160.5000f, 151.7000f,
                                95.4000f, 121.3000f, 112.5000f, 103.7000f},
                2e-4f);
}

/* Half a cell goes to the even side: of 0 to 8 columns too many this is the first that is kept. */
static void centre_of_a_picture(void **state) {
    (void)state;
    const float first[] = {0, 0, 1, 2, 2, 2, 3, 4, 4};
    float x[5 * 13], wanted[25];
    for (int over = 0; over < 9; over++)
        for (int turned = 0; turned < 2; turned++) {
            int width = 5 + over;
            for (int i = 0; i < 5; i++)
                for (int j = 0; j < width; j++)
                    x[turned ? j * 5 + i : i * width + j] = (float)(100 * i + j);
            for (int i = 0; i < 5; i++)
                for (int j = 0; j < 5; j++)
                    wanted[turned ? j * 5 + i : i * 5 + j] = (float)(100 * i + j) + first[over];
            expect_side(FV_RESIZE_ANTIALIAS, 5,
                        turned ? picture(width, 5, 1) : picture(5, width, 1), x, picture(5, 5, 1),
                        wanted, 0);
        }
}

/* ---- An oracle --------------------------------------------------------------------------------
 */

/* The weight of cell `j` of `from` in cell `i` of `to`, not yet divided by the sum. */
static double oracle_weight(fv_resize resize, int i, int from, int to, int j) {
    double scale = (double)from / to, centre = (i + 0.5) * scale;
    if (resize == FV_RESIZE_NEAREST)
        return 2 * to * j <= (2 * i + 1) * from && (2 * i + 1) * from < 2 * to * (j + 1);
    double radius = resize == FV_RESIZE_ANTIALIAS && scale > 1 ? scale : 1;
    double weight = 1 - fabs(j + 0.5 - centre) / radius;
    return weight > 0 ? weight : 0;
}

static double oracle_cell(fv_resize resize, const int from[2], const int to[2], int row, int column,
                          const float *x, int channels, int c) {
    double sum = 0, weights = 0;
    for (int i = 0; i < from[0]; i++)
        for (int j = 0; j < from[1]; j++) {
            double weight = oracle_weight(resize, row, from[0], to[0], i) *
                            oracle_weight(resize, column, from[1], to[1], j);
            weights += weight;
            sum += weight * (double)x[(i * from[1] + j) * channels + c];
        }
    return sum / weights;
}

static void check_oracle(fv_resize resize, const int from[2], const int to[2], int channels) {
    float x[12 * 12 * 3], got[12 * 12 * 3], wanted[12 * 12 * 3];
    size_t count = 0;
    fill(x, sizeof x / sizeof *x);
    for (int i = 0; i < to[0]; i++)
        for (int j = 0; j < to[1]; j++)
            for (int c = 0; c < channels; c++)
                wanted[count++] = (float)oracle_cell(resize, from, to, i, j, x, channels, c);
    assert_int_equal(
        fit(resize, picture(from[0], from[1], channels), x, picture(to[0], to[1], channels), got),
        FV_OK);
    expect_values(got, wanted, count, 1e-4f);
}

static void as_the_oracle(void **state) {
    (void)state;
    static const int sizes[][2] = {{1, 1}, {1, 12},  {12, 1}, {2, 3}, {3, 2},  {5, 7},
                                   {7, 5}, {12, 12}, {11, 4}, {6, 6}, {12, 6}, {4, 9}};
    static const fv_resize all[] = {FV_RESIZE_NEAREST, FV_RESIZE_BILINEAR, FV_RESIZE_ANTIALIAS};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    for (int kind = 0; kind < 3; kind++)
        for (int i = 0; i < SIZES * SIZES; i++)
            check_oracle(all[kind], sizes[i / SIZES], sizes[i % SIZES], i % 2 ? 3 : 1);
}

/* ---- What goes wrong --------------------------------------------------------------------------
 */

static void sides_that_do_not_fit(void **state) {
    (void)state;
    float x[36], fitted[36];
    fill(x, 36);
    expect_failure(fit_side(FV_RESIZE_BILINEAR, 3, picture(6, 6, 1), x, picture(4, 3, 1), fitted),
                   FV_SHAPE, "4x3x1 cannot be cut out of pictures whose side is 3");
    expect_failure(fit_side(FV_RESIZE_BILINEAR, 3, picture(6, 6, 1), x, picture(3, 4, 1), fitted),
                   FV_SHAPE, "cannot be cut out");
    expect_failure(fit_side(FV_RESIZE_BILINEAR, 3, (fv_shape){.channels = 4}, x,
                            (fv_shape){.channels = 4}, fitted),
                   FV_SHAPE, "a picture or array of 4 does not fit");
}

static void without_memory(void **state) {
    (void)state;
    float x[36], fitted[16];
    fill(x, 36);
    fv_status status = FV_MEMORY;
    int failures = -1;
    while (status == FV_MEMORY) {
        allocations_left = ++failures;
        status = fit(FV_RESIZE_ANTIALIAS, picture(6, 6, 1), x, picture(4, 4, 1), fitted);
        allocations_left = -1;
        if (status)
            expect_message("out of memory");
    }
    assert_int_equal(status, FV_OK);
    assert_int_equal(failures, 6); /* a row, a cell, twice the places and weights of an axis */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grey_and_colour),
        cmocka_unit_test(bilinear),
        cmocka_unit_test(nearest),
        cmocka_unit_test(does_not_fit),
        cmocka_unit_test(missing_channel_axis),
        cmocka_unit_test(antialias_by_hand),
        cmocka_unit_test(as_torchvision),
        cmocka_unit_test(centre_of_a_picture),
        cmocka_unit_test(as_the_oracle),
        cmocka_unit_test(sides_that_do_not_fit),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
