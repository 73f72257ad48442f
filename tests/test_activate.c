/* Holds the kernels of the activations to the oracle more closely than layers are, whose bounds
 * allow for what comes before them: within a few roundings of each value, out to where they end, on
 * every instruction set of this machine. */
#include "layers/activation.h"
#include "reference/reference.h"
#include "support.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { COUNT = 40001 }; /* of x from -30 to 30; every eighth is small */

static const fv_kernels *tables[MOST_TABLES];
static int table_count;

typedef struct arrays {
    guarded x, y, gradient;
    double *at, *wanted, *bound, *own, *one;
} arrays;

static arrays new_arrays(void) {
    arrays a = {guard_new(COUNT * sizeof(real)),
                guard_new(COUNT * sizeof(real)),
                guard_new(COUNT * sizeof(real)),
                new_doubles(COUNT),
                new_doubles(COUNT),
                new_doubles(COUNT),
                new_doubles(COUNT),
                new_doubles(COUNT)};
    real *x = a.x.data, *gradient = a.gradient.data;
    for (int i = 0; i < COUNT; i++) {
        double value = -30 + 60.0 * i / (COUNT - 1);
        x[i] = (real)(i % 8 ? value : value * 1e-4);
        gradient[i] = 1;
        a.at[i] = (double)x[i];
        a.one[i] = 1;
    }
    return a;
}

static void free_arrays(arrays *a) {
    guard_free(&a->x);
    guard_free(&a->y);
    guard_free(&a->gradient);
    double *all[] = {a->at, a->wanted, a->bound, a->own, a->one};
    for (int i = 0; i < 5; i++)
        free(all[i]);
}

/* exp(-u) is as much less exact as u is large. */
static double exponent(fv_activation kind, double y) {
    return kind == FV_GELU_TANH && y != 0 ? fabs(log(fabs(y))) : 0;
}

/* What is left of 1/2 + x / 6 near its lower kink is the rounding of 1/2. */
static bool cancels(fv_activation kind) {
    return kind == FV_HARD_SIGMOID || kind == FV_HARD_SWISH;
}

static void check_forward(arrays *a, fv_activation kind, double constant) {
    ref_activate(kind, constant, COUNT, 1, a->at, a->wanted);
    for (int i = 0; i < COUNT; i++) {
        double y = fabs(a->wanted[i]);
        double size = cancels(kind) ? 1 + fabs(a->at[i]) : y * (1 + exponent(kind, y));
        a->bound[i] = 12 * ROUNDING * size + 1e-37;
    }
    expect_close("output", COUNT, a->y.data, a->wanted, a->bound);
}

/* By the kernel's own outputs where it goes by outputs. Derivatives by inputs are differences of
 * numbers of about 1, times x; derivatives by outputs of 1 and y. */
static void check_backward(arrays *a, fv_activation kind, double constant) {
    bool by_input = fv_activation_by_input(kind);
    to_double(COUNT, a->y.data, a->own);
    ref_activation_gradient(kind, constant, COUNT, 1, a->at, a->own, a->one, a->wanted);
    for (int i = 0; i < COUNT; i++) {
        bool kink = kind == FV_HARD_SWISH && fabs(fabs(a->at[i]) - 3) < 1e-5;
        double size = by_input ? fmin(1 + fabs(a->at[i]), 1e5 * fabs(a->wanted[i]) + 1e-3) : 2;
        a->bound[i] = 8 * ROUNDING * size + (kink ? 0.51 : 0);
    }
    expect_close("derivative", COUNT, a->gradient.data, a->wanted, a->bound);
}

static void test_all(void **state) {
    (void)state;
    static const double others[] = {0.3, 0.2, 1.5};
    for (int t = 0; t < table_count; t++)
        for (fv_activation kind = FV_LINEAR; kind < FV_LOG_SOFTMAX; kind++)
            for (int other = 0; other < 4; other++) {
                bool has_constant = fv_activation_constant(kind) != 0;
                if (kind == FV_SOFTMAX || (other && !has_constant))
                    continue;
                real constant = (real)(other ? others[other - 1] : fv_activation_constant(kind));
                arrays a = new_arrays();
                real *y = a.y.data;
                for (int i = 0; i < COUNT; i++)
                    y[i] = ((real *)a.x.data)[i];
                describe("%s of %g, %s", fv_activation_names[kind], (double)constant,
                         tables[t]->name);
                tables[t]->activate(kind, constant, COUNT, 1, y);
                tables[t]->activate_back(kind, constant, COUNT, 1,
                                         fv_activation_by_input(kind) ? a.x.data : y,
                                         a.gradient.data);
                check_forward(&a, kind, (double)constant);
                check_backward(&a, kind, (double)constant);
                guard_check(&a.y, "outputs");
                guard_check(&a.gradient, "gradient");
                free_arrays(&a);
            }
}

static int set_up(void **state) {
    (void)state;
    table_count = kernel_tables(tables);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, set_up, NULL);
}
