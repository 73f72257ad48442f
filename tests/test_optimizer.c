/* Holds the optimisers to their oracles: ten steps of SGD with and without momentum, Adadelta and
 * Adam, in Keras's and in PyTorch's formula and by their defaults, on every instruction set of this
 * machine. */
#include "reference/reference.h"
#include "support.h"
#include "train/train.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STEPS = 10, MOST_WEIGHTS = 1000, SLOTS = FV_MAX_SLOTS };

static const fv_kernels *tables[MOST_TABLES];
static int table_count;

/* What is asked for, and the numbers that it should come to. */
typedef struct trial {
    const char *name;
    fv_train_options options;
    int slots;
    double lr, momentum, rho, beta1, beta2, epsilon;
} trial;

/* Defaults: Keras 3 and PyTorch (whose SGD has had one since 2.3). */
static const trial trials[] = {
    {"sgd", {.optimizer = "sgd"}, .lr = 0.01},
    {"the default", {.optimizer = ""}, .lr = 0.01},
    {"sgd, PyTorch", {.optimizer = "sgd", .formula = FV_TORCH}, .lr = 0.001},
    {"sgd with momentum",
     {.optimizer = "sgd", .lr = 0.05, .momentum = 0.9},
     .slots = 1,
     .lr = 0.05,
     .momentum = 0.9},
    {"sgd with momentum, PyTorch",
     {.optimizer = "sgd", .formula = FV_TORCH, .lr = 0.05, .momentum = 0.9},
     .slots = 1,
     .lr = 0.05,
     .momentum = 0.9},
    {"adadelta", {.optimizer = "adadelta"}, .slots = 2, .lr = 0.001, .rho = 0.95, .epsilon = 1e-7},
    {"adadelta, PyTorch",
     {.optimizer = "adadelta", .formula = FV_TORCH},
     .slots = 2,
     .lr = 1,
     .rho = 0.9,
     .epsilon = 1e-6},
    {"adadelta of the lecture",
     {.optimizer = "adadelta", .lr = 1, .rho = 0.95, .epsilon = 1e-7},
     .slots = 2,
     .lr = 1,
     .rho = 0.95,
     .epsilon = 1e-7},
    {"adam",
     {.optimizer = "adam"},
     .slots = 2,
     .lr = 0.001,
     .beta1 = 0.9,
     .beta2 = 0.999,
     .epsilon = 1e-7},
    {"adam, PyTorch",
     {.optimizer = "adam", .formula = FV_TORCH},
     .slots = 2,
     .lr = 0.001,
     .beta1 = 0.9,
     .beta2 = 0.999,
     .epsilon = 1e-8},
    {"adam by other numbers",
     {.optimizer = "adam", .lr = 0.02, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-3},
     .slots = 2,
     .lr = 0.02,
     .beta1 = 0.8,
     .beta2 = 0.95,
     .epsilon = 1e-3},
    {"adam by other numbers, PyTorch",
     {.optimizer = "adam",
      .formula = FV_TORCH,
      .lr = 0.02,
      .beta1 = 0.8,
      .beta2 = 0.95,
      .epsilon = 1e-3},
     .slots = 2,
     .lr = 0.02,
     .beta1 = 0.8,
     .beta2 = 0.95,
     .epsilon = 1e-3},
};
enum { TRIALS = sizeof trials / sizeof trials[0] };

static void reference_step(const trial *t, int step, size_t count, double *weight,
                           const double *gradient, double *const slots[SLOTS]) {
    fv_formula formula = t->options.formula;
    if (strcmp(t->options.optimizer, "adam") == 0)
        ref_adam(formula, count, step, t->lr, t->beta1, t->beta2, t->epsilon, weight, gradient,
                 slots[0], slots[1]);
    else if (strcmp(t->options.optimizer, "adadelta") == 0)
        ref_adadelta(count, t->lr, t->rho, t->epsilon, weight, gradient, slots[0], slots[1]);
    else
        ref_sgd(formula, count, t->lr, t->momentum, weight, gradient, slots[0]);
}

/* Gradients of all sizes that training meets, zeros among them; larger at odd steps, so that
 * momentum and means matter. */
static void draw_gradient(numbers *n, int step, size_t count, real *gradient) {
    static const real sizes[] = {1, 0, (real)1e-3, 100, (real)1e-6};
    numbers_floats(n, count, gradient);
    for (size_t i = 0; i < count; i++)
        gradient[i] *= sizes[i % 5] * (real)(step % 2 ? 3 : 1);
}

/* 1e-5 of the largest value that entered it so far. */
static void widen(size_t count, const double *value, double *most, double *bound) {
    for (size_t i = 0; i < count; i++) {
        most[i] = fmax(most[i], fabs(value[i]));
        bound[i] = 1e-5 * most[i] + 1e-30;
    }
}

typedef struct state {
    guarded weight, gradient, slot[SLOTS];
    double *weights, *gradients, *slots[SLOTS]; /* the oracle's */
    double *most[1 + SLOTS], *bound;
} state;

static state new_state(numbers *n, const trial *t, size_t count) {
    state s = {.weight = guard_new(count * sizeof(real)),
               .gradient = guard_new(count * sizeof(real)),
               .weights = new_doubles(count),
               .gradients = new_doubles(count),
               .bound = new_doubles(count)};
    numbers_floats(n, count, s.weight.data);
    to_double(count, s.weight.data, s.weights);
    for (int i = 0; i < SLOTS; i++) {
        s.slots[i] = new_doubles(count);
        if (i < t->slots) {
            s.slot[i] = guard_new(count * sizeof(real));
            memset(s.slot[i].data, 0, count * sizeof(real));
        }
    }
    for (int i = 0; i < 1 + SLOTS; i++)
        s.most[i] = new_doubles(count);
    return s;
}

static void free_state(state *s) {
    guard_free(&s->weight);
    guard_free(&s->gradient);
    free(s->weights);
    free(s->gradients);
    free(s->bound);
    for (int i = 0; i < SLOTS; i++) {
        guard_free(&s->slot[i]);
        free(s->slots[i]);
    }
    for (int i = 0; i < 1 + SLOTS; i++)
        free(s->most[i]);
}

static void take_step(state *s, const trial *t, fv_optimizer *optimizer, int step, size_t count) {
    real *slots[SLOTS] = {s->slot[0].data, s->slot[1].data, s->slot[2].data};
    uint64_t hash = guard_hash(&s->gradient);
    to_double(count, s->gradient.data, s->gradients);
    fv_optimizer_begin_step(optimizer, step, optimizer->lr);
    optimizer->update(&optimizer->numbers, count, s->weight.data, s->gradient.data, slots);
    reference_step(t, step, count, s->weights, s->gradients, s->slots);
    if (guard_hash(&s->gradient) != hash)
        fail_case("the gradient was changed");
    widen(count, s->weights, s->most[0], s->bound);
    expect_close("weight", count, s->weight.data, s->weights, s->bound);
    for (int i = 0; i < t->slots; i++) {
        widen(count, s->slots[i], s->most[1 + i], s->bound);
        expect_close(i ? "slot 1" : "slot 0", count, s->slot[i].data, s->slots[i], s->bound);
        guard_check(&s->slot[i], "slot");
    }
    guard_check(&s->weight, "weights");
    guard_check(&s->gradient, "gradient");
}

static void run_trial(const trial *t, const fv_kernels *kernels, size_t count) {
    numbers n = {count};
    state s = new_state(&n, t, count);
    fv_optimizer optimizer;
    describe("%s, %s", t->name, kernels->name);
    if (fv_optimizer_make(&t->options, kernels, &optimizer))
        fail_case("refused: %s", fv_error_message());
    assert_int_equal(optimizer.slots, t->slots);
    for (int step = 1; step <= STEPS; step++) {
        describe("%s, %s, %zu weights, step %d", t->name, kernels->name, count, step);
        draw_gradient(&n, step, count, s.gradient.data);
        take_step(&s, t, &optimizer, step, count);
    }
    free_state(&s);
}

static void test_ten_steps(void **argument) {
    const trial *t = *argument;
    for (int table = 0; table < table_count; table++) {
        for (size_t count = 1; count <= 70; count++)
            run_trial(t, tables[table], count);
        run_trial(t, tables[table], MOST_WEIGHTS);
    }
}

static void test_unknown(void **argument) {
    (void)argument;
    fv_optimizer optimizer;
    fv_train_options options = {.optimizer = "adem"};
    assert_int_equal(fv_optimizer_make(&options, tables[0], &optimizer), FV_INVALID);
    assert_non_null(strstr(fv_error_message(), "adem"));
    assert_non_null(strstr(fv_error_message(), "did you mean \"adam\""));
}

static int set_up(void **argument) {
    (void)argument;
    table_count = kernel_tables(tables);
    return 0;
}

int main(void) {
    struct CMUnitTest tests[TRIALS + 1];
    for (int i = 0; i < TRIALS; i++)
        tests[i] = (struct CMUnitTest){.name = trials[i].name,
                                       .test_func = test_ten_steps,
                                       .initial_state = (void *)(uintptr_t)&trials[i]};
    tests[TRIALS] = (struct CMUnitTest)cmocka_unit_test(test_unknown);
    return cmocka_run_group_tests(tests, set_up, NULL);
}
