/* Holds max pooling to its two promises that sums of small integers do not show, on every
 * instruction set of this machine: NaN wins over every value, the last of several; and of equal
 * values, minus infinity too, the first in scan order gets the gradient. */
#include "support.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { HIGH = 7, WIDE = 9, MOST_CHANNELS = 150, NOTE_BYTES = 4 };

static const fv_kernels *tables[MOST_TABLES];
static int table_count;

static real draw_value(numbers *n) {
    static const real values[] = {-INFINITY, -INFINITY, -1, 0, 2, 2, NAN};
    return values[numbers_below(n, sizeof values / sizeof values[0])];
}

static fv_window make_window(int channels, int size, int stride) {
    return (fv_window){.in = {1, HIGH, WIDE},
                       .out = {1, (HIGH - size) / stride + 1, (WIDE - size) / stride + 1},
                       .size = {1, size, size},
                       .stride = {1, stride, stride},
                       .channels = channels};
}

static size_t cell(const fv_window *w, int h, int x, int c) {
    return (size_t)((h * WIDE + x) * w->channels + c);
}

/* The index in x of the value that wins the window at (row, column). */
static size_t winner(const fv_window *w, const real *x, int row, int column, int c) {
    size_t best = cell(w, row * w->stride[1], column * w->stride[2], c);
    for (int h = 0; h < w->size[1]; h++)
        for (int i = 0; i < w->size[2]; i++) {
            size_t at = cell(w, row * w->stride[1] + h, column * w->stride[2] + i, c);
            if (isnan(x[at]) || x[at] > x[best])
                best = at;
        }
    return best;
}

static void check_window(const fv_kernels *k, const fv_window *w, numbers *n) {
    size_t in = (size_t)(HIGH * WIDE * w->channels), position = 0;
    size_t out = (size_t)(w->out[1] * w->out[2] * w->channels);
    guarded x = guard_new(in * sizeof(real)), dx = guard_new(in * sizeof(real));
    guarded y = guard_new(out * sizeof(real)), dy = guard_new(out * sizeof(real));
    guarded notes = guard_new(out * NOTE_BYTES);
    double *wanted = calloc(in, sizeof *wanted);
    real *from = x.data, *to = y.data, *gradient = dy.data, *got = dx.data;
    for (size_t i = 0; i < in; i++)
        from[i] = draw_value(n);
    for (size_t i = 0; i < out; i++)
        gradient[i] = (real)(1 + i % 50);
    k->maxpool(w, from, to, notes.data);
    k->maxpool_back(w, gradient, notes.data, got);
    for (int row = 0; row < w->out[1]; row++)
        for (int column = 0; column < w->out[2]; column++)
            for (int c = 0; c < w->channels; c++, position++) {
                size_t best = winner(w, from, row, column, c);
                wanted[best] += (double)gradient[position];
                assert_true(isnan(from[best]) ? isnan(to[position]) : to[position] == from[best]);
            }
    for (size_t i = 0; i < in; i++)
        if ((double)got[i] != wanted[i])
            fail_msg("%s, %d channels, %dx%d: gradient of value %zu is %g, not %g", k->name,
                     w->channels, w->size[1], w->size[2], i, (double)got[i], wanted[i]);
    guarded *all[] = {&x, &dx, &y, &dy, &notes};
    for (int i = 0; i < 5; i++) {
        guard_check(all[i], "maxpool");
        guard_free(all[i]);
    }
    free(wanted);
}

static void test_special_values(void **state) {
    static const int sizes[][2] = {{2, 2}, {3, 2}, {2, 3}, {3, 3}, {1, 1}, {7, 1}};
    (void)state;
    for (int t = 0; t < table_count; t++)
        for (int channels = 1; channels <= MOST_CHANNELS; channels += 1 + channels / 5)
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
                fv_window w = make_window(channels, sizes[i][0], sizes[i][1]);
                check_window(tables[t], &w, &(numbers){i});
            }
}

int main(void) {
    table_count = kernel_tables(tables);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_special_values)};
    return cmocka_run_group_tests_name("maxpool", tests, NULL, NULL);
}
