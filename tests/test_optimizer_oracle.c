/* Holds the training step to the oracles of tests/reference: ten steps of every optimiser in both
 * formulas, with decay, clipping, accumulation and averages, on two weights of different sizes and
 * every instruction set of this machine; and every schedule over a run. */
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

enum { STEPS = 10, INPUTS = 23, UNITS = 41, TENSORS = 2 };

static const fv_kernels *tables[MOST_TABLES];
static int table_count;

/* ---- What is tried ----------------------------------------------------------------------------
 */

static const fv_train_options optimizers[] = {
    {.optimizer = "sgd"},
    {.optimizer = "sgd", .lr = 0.05, .momentum = 0.9},
    {.optimizer = "sgd", .lr = 0.05, .momentum = 0.9, .nesterov = true},
    {.optimizer = "adagrad"},
    {.optimizer = "adagrad", .lr = 0.1, .accumulator = 0.5, .epsilon = 1e-3},
    {.optimizer = "rmsprop"},
    {.optimizer = "rmsprop", .rho = 0.8, .centered = true},
    {.optimizer = "rmsprop", .momentum = 0.7},
    {.optimizer = "rmsprop", .momentum = 0.7, .rho = 0.8, .centered = true, .epsilon = 1e-3},
    {.optimizer = "adadelta"},
    {.optimizer = "adadelta", .lr = 0.5, .rho = 0.8, .epsilon = 1e-3},
    {.optimizer = "adam"},
    {.optimizer = "adam", .beta1 = 0.6, .beta2 = 0.7, .amsgrad = true},
    {.optimizer = "adamw"},
    {.optimizer = "adamw", .weight_decay = 0.3, .lr = 0.01, .beta1 = 0.6, .amsgrad = true},
    {.optimizer = "adamax"},
    {.optimizer = "adamax", .lr = 0.02, .beta1 = 0.7, .beta2 = 0.6, .epsilon = 1e-3},
    {.optimizer = "nadam"},
    {.optimizer = "nadam", .lr = 0.02, .beta1 = 0.7, .beta2 = 0.8, .epsilon = 1e-3},
    {.optimizer = "lion"},
    {.optimizer = "lion", .lr = 0.02, .beta1 = 0.7, .beta2 = 0.8},
    {.optimizer = "lamb"},
    {.optimizer = "lamb", .lr = 0.02, .beta1 = 0.7, .beta2 = 0.8, .epsilon = 1e-3},
};
enum { OPTIMIZERS = sizeof optimizers / sizeof optimizers[0] };

/* What may be added to each of them. */
static const struct extra {
    const char *name;
    fv_train_options options; /* the fields that are named by `name` */
} extras[] = {
    {"nothing", {.lr = 0}},
    {"weight decay", {.weight_decay = 0.2}},
    {"clip_value", {.clip_value = 0.5}},
    {"clip_norm", {.clip_norm = 2}},
    {"global_clip_norm", {.global_clip_norm = 3}},
    {"global_clip_norm, never reached", {.global_clip_norm = 1e5}},
    {"accumulate, ema", {.accumulate = 3, .ema = 0.75}},
    {"a schedule", {.schedule = FV_COSINE, .decay_steps = 8, .end = 0.001, .warmup = 3}},
    {"l1, l2, decay, clipping", {.l1 = 0.03, .l2 = 0.04, .weight_decay = 0.1, .clip_norm = 2}},
};
enum { EXTRAS = sizeof extras / sizeof extras[0] };

static fv_train_options join(const fv_train_options *optimizer, const struct extra *extra,
                             fv_formula formula) {
    fv_train_options o = *optimizer;
    const fv_train_options *e = &extra->options;
    o.formula = formula;
    o.weight_decay = e->weight_decay != 0 ? e->weight_decay : o.weight_decay;
    o.clip_value = e->clip_value;
    o.clip_norm = e->clip_norm;
    o.global_clip_norm = e->global_clip_norm;
    o.accumulate = e->accumulate;
    o.ema = e->ema;
    o.schedule = e->schedule;
    o.decay_steps = e->decay_steps;
    o.end = e->end;
    o.warmup = e->warmup;
    o.l1 = e->l1;
    o.l2 = e->l2;
    return o;
}

/* ---- The oracle's side -------------------------------------------------------------------------
 */

/* One weight tensor; of biases, to which l1 and l2 do not apply. */
typedef struct tensor {
    bool bias;
    size_t offset, count;
    double *weight, *gradient, *average, *slots[REF_SLOTS];
    double *before, *moved; /* of this step, and how far the weight has come on its way */
} tensor;

static void start_tensor(const fv_train_options *o, const fv_net *net, int w, tensor *t) {
    const fv_weight *weight = &net->nodes[net->count - 1].weights[w];
    *t = (tensor){.bias = w == 1, .offset = weight->offset, .count = weight->count};
    t->weight = new_doubles(t->count);
    t->gradient = new_doubles(t->count);
    t->average = new_doubles(t->count);
    t->before = new_doubles(t->count);
    t->moved = new_doubles(t->count);
    for (int s = 0; s < REF_SLOTS; s++)
        t->slots[s] = new_doubles(t->count);
    to_double(t->count, net->weights + t->offset, t->weight);
    ref_optimizer_start(o, t->count, t->slots);
}

static void free_tensor(tensor *t) {
    free(t->weight);
    free(t->gradient);
    free(t->average);
    free(t->before);
    free(t->moved);
    for (int s = 0; s < REF_SLOTS; s++)
        free(t->slots[s]);
}

static void add_penalty(const fv_train_options *o, tensor *t) {
    for (size_t i = 0; i < t->count && !t->bias; i++) {
        double w = t->weight[i];
        t->gradient[i] += o->l1 * ((w > 0) - (w < 0)) + 2 * o->l2 * w;
    }
}

/* Gradients are means of the accumulated batches. A tensor's own norm is Keras's affair alone. */
static void oracle_step(const fv_train_options *o, int step, tensor tensors[TENSORS]) {
    double squares = 0, lr = ref_schedule(o, 1000, step - 1);
    for (int t = 0; t < TENSORS; t++) {
        add_penalty(o, &tensors[t]);
        ref_clip_value(o->clip_value, tensors[t].count, tensors[t].gradient);
        squares += pow(ref_length(tensors[t].count, tensors[t].gradient), 2);
    }
    for (int i = 0; i < TENSORS; i++) {
        tensor *t = &tensors[i];
        ref_clip_norm(FV_KERAS, o->clip_norm, ref_length(t->count, t->gradient), t->count,
                      t->gradient);
        ref_clip_norm(o->formula, o->global_clip_norm, sqrt(squares), t->count, t->gradient);
        memcpy(t->before, t->weight, t->count * sizeof(double));
        ref_optimizer_step(o, lr, step, t->count, t->weight, t->gradient, t->slots);
        for (size_t k = 0; k < t->count; k++)
            t->moved[k] += fabs(t->weight[k] - t->before[k]);
        ref_ema(o->ema, step, t->count, t->weight, t->average);
    }
}

/* ---- The library's -----------------------------------------------------------------------------
 */

static fv_net *make_net(const fv_train_options *o) {
    fv_net *net = fv_net_new();
    assert_non_null(net);
    fv_tensor x = fv_input(net, .shape = {.channels = INPUTS});
    fv_dense(net, x, .units = UNITS);
    fv_set_train_options(net, o);
    if (fv_net_build(net))
        fail_case("refused: %s", fv_error_message());
    return net;
}

/* Gradients of 0.05 to 1, of either sign, for weights of 0.25 to 1: what Lion and RMSprop make of a
 * g near 0 is its sign, and Adam's first steps are. Each of the batches adds one. */
static void draw(numbers *n, double least, size_t count, real *x) {
    numbers_floats(n, count, x);
    for (size_t i = 0; i < count; i++)
        x[i] = (real)(x[i] < 0 ? -least : least) + x[i] * (real)(1 - least);
}

static void run_step(fv_trainer *trainer, const fv_train_options *o, numbers *n,
                     tensor tensors[TENSORS]) {
    int batches = o->accumulate ? o->accumulate : 1;
    for (int t = 0; t < TENSORS; t++)
        memset(tensors[t].gradient, 0, tensors[t].count * sizeof(double));
    for (int b = 0; b < batches; b++) {
        for (int t = 0; t < TENSORS; t++) {
            real *g = fv_runner_gradients(&trainer->runner) + tensors[t].offset;
            real *one = fv_alloc(tensors[t].count, sizeof *one);
            assert_non_null(one);
            draw(n, 0.05, tensors[t].count, one);
            for (size_t i = 0; i < tensors[t].count; i++) {
                tensors[t].gradient[i] += (double)one[i] / batches;
                g[i] = b > 0 ? g[i] + one[i] : one[i];
            }
            fv_free(one);
        }
        trainer->added++;
    }
    fv_trainer_update(trainer);
}

/* 1e-5 of the way that it has come, and two roundings of the weight in each step. */
static void compare(const char *what, const tensor *t, int step, const real *got,
                    const double *wanted) {
    double *bound = new_doubles(t->count);
    for (size_t i = 0; i < t->count; i++)
        bound[i] = 1e-5 * t->moved[i] + 2 * (step + 1) * ROUNDING * fabs(wanted[i]);
    expect_close(what, t->count, got + t->offset, wanted, bound);
    free(bound);
}

static void run(const fv_train_options *optimizer, const struct extra *extra, fv_formula formula,
                const fv_kernels *table) {
    fv_train_options given = join(optimizer, extra, formula), o = given;
    tensor tensors[TENSORS];
    numbers n = {(uint64_t)(optimizer - optimizers)};
    describe("%s (%d), %s, formula %d, %s", o.optimizer, (int)(optimizer - optimizers), extra->name,
             (int)formula, table->name);
    fv_net *net = make_net(&given);
    fv_trainer *trainer = fv_trainer_new(net, &(fv_trainer_options){.batch = 1, .threads = 2});
    if (!trainer)
        fail_case("refused: %s", fv_error_message());
    trainer->runner.plan.kernels = table;
    assert_int_equal(fv_optimizer_make(&trainer->train, table, &trainer->optimizer), FV_OK);
    ref_optimizer_defaults(&o);
    draw(&n, 0.25, INPUTS * UNITS + UNITS, net->weights);
    for (int t = 0; t < TENSORS; t++)
        start_tensor(&o, net, t, &tensors[t]);
    for (int step = 1; step <= STEPS; step++) {
        run_step(trainer, &o, &n, tensors);
        oracle_step(&o, step, tensors);
        for (int t = 0; t < TENSORS; t++) {
            compare(t ? "bias" : "weight", &tensors[t], step, net->weights, tensors[t].weight);
            if (o.ema != 0)
                compare("average", &tensors[t], step, trainer->average, tensors[t].average);
        }
    }
    for (int t = 0; t < TENSORS; t++)
        free_tensor(&tensors[t]);
    fv_trainer_free(trainer);
    fv_net_free(net);
}

static void test_steps(void **state) {
    const struct extra *extra = *state;
    for (int i = 0; i < OPTIMIZERS; i++)
        for (int formula = FV_KERAS; formula <= FV_TORCH; formula++)
            for (int table = 0; table < table_count; table++)
                run(&optimizers[i], extra, (fv_formula)formula, tables[table]);
}

/* ---- Schedules ---------------------------------------------------------------------------------
 */

static const fv_train_options schedules[] = {
    {.schedule = FV_CONSTANT},
    {.schedule = FV_STEP, .every = 7, .gamma = 0.4},
    {.schedule = FV_STEP, .every = 30},
    {.schedule = FV_MULTI_STEP, .milestones = {5, 6, 40}, .milestone_count = 3},
    {.schedule = FV_EXPONENTIAL, .gamma = 0.3, .decay_steps = 11},
    {.schedule = FV_EXPONENTIAL},
    {.schedule = FV_POLYNOMIAL, .power = 1.5, .end = 0.02},
    {.schedule = FV_POLYNOMIAL, .decay_steps = 13},
    {.schedule = FV_INVERSE, .gamma = 2, .power = 0.5},
    {.schedule = FV_INVERSE, .decay_steps = 9},
    {.schedule = FV_COSINE, .end = 0.03},
    {.schedule = FV_COSINE, .decay_steps = 17},
    {.schedule = FV_RESTARTS, .decay_steps = 5},
    {.schedule = FV_RESTARTS, .decay_steps = 3, .multiply = 2, .end = 0.01},
    {.schedule = FV_RESTARTS, .decay_steps = 4, .multiply = 1.5},
    {.schedule = FV_ONE_CYCLE},
    {.schedule = FV_ONE_CYCLE, .decay_steps = 20},
};

static void test_schedules(void **state) {
    (void)state;
    enum { RUN = 100 };
    for (size_t i = 0; i < sizeof schedules / sizeof schedules[0]; i++)
        for (int warmup = 0; warmup <= 9; warmup += 9) {
            fv_train_options o = schedules[i];
            o.lr = 0.3;
            o.warmup = warmup;
            fv_train_options given = o;
            fv_train_resolve(&o);
            assert_int_equal(fv_schedule_prepare(&o, RUN), FV_OK);
            for (int t = 0; t < RUN; t++) {
                double rate = fv_schedule_rate(&o, t, 1), wanted = ref_schedule(&given, RUN, t);
                if (!(fabs(rate - wanted) <= 1e-7 * fabs(wanted) + 1e-12))
                    fail_msg("schedule %zu, warmup %d, step %d: %.17g, not %.17g", i, warmup, t,
                             rate, wanted);
            }
        }
}

/* A validation loss that falls, stands and falls again. */
static void test_plateau(void **state) {
    (void)state;
    enum { EPOCHS = 40 };
    double losses[EPOCHS];
    fv_train_options o = {.patience = 3, .gamma = 0.5, .min_delta = 0.01};
    numbers n = {1};
    fv_patience patience = {.best = INFINITY};
    double factor = 1;
    for (int e = 0; e < EPOCHS; e++) {
        losses[e] = 1.0 / (1 + e / 3) + numbers_below(&n, 100) / 1000.0;
        if (fv_patience_end(&patience, losses[e], o.min_delta, o.patience)) {
            factor *= o.gamma;
            patience.wait = 0;
        }
        assert_true(factor == ref_plateau(&o, e + 1, losses));
    }
    assert_true(factor < 1);
}

static int set_up(void **state) {
    (void)state;
    table_count = kernel_tables(tables);
    return 0;
}

int main(void) {
    struct CMUnitTest tests[EXTRAS + 2];
    for (int i = 0; i < EXTRAS; i++)
        tests[i] = (struct CMUnitTest){.name = extras[i].name,
                                       .test_func = test_steps,
                                       .initial_state = (void *)(uintptr_t)&extras[i]};
    tests[EXTRAS] = (struct CMUnitTest)cmocka_unit_test(test_schedules);
    tests[EXTRAS + 1] = (struct CMUnitTest)cmocka_unit_test(test_plateau);
    return cmocka_run_group_tests(tests, set_up, NULL);
}
