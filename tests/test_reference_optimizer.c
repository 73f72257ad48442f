/* Holds the oracles of optimisers and schedules to PyTorch 2.15 and Keras 3.15 (on PyTorch), both
 * in double precision on the CPU. Keras rounds its settings to float. The numbers were printed by,
 * for each optimiser, with the settings below and otherwise its defaults, w.grad = g;
 * torch.optim.X([w], ...).step()       three times keras.optimizers.X(...).apply([g], [w]) three
 * times, floatx float64 and for each schedule by the learning rates of 20 steps of
 * torch.optim.lr_scheduler.X(SGD([w], 0.5), ...) and keras.optimizers.schedules.X(0.5, ...)(step).
 */
#include "doubles.h"
#include "reference/reference.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { WEIGHTS = 3, STEPS = 3 };
static const double start[WEIGHTS] = {1, -2, 0.5};
static const double gradients[STEPS][WEIGHTS] = {{0.1, -1, 2}, {0.3, 0.5, -1}, {-0.2, 0.25, 0}};

static const struct known {
    fv_train_options options;
    double weights[WEIGHTS]; /* after the steps */
} known[] = {
    {{.optimizer = "sgd", .lr = 0.1, .momentum = 0.9, .nesterov = true, .formula = FV_TORCH},
     {0.92231, -1.8391, 0.08319999999999998}},
    {{.optimizer = "sgd", .lr = 0.1, .momentum = 0.9, .weight_decay = 0.1, .formula = FV_TORCH},
     {0.880958, -1.741048, 0.1267695}},
    {{.optimizer = "adagrad", .formula = FV_TORCH},
     {0.9858583918693147, -1.996654314857769, 0.4944721359552995}},
    {{.optimizer = "rmsprop", .formula = FV_TORCH},
     {0.8587476078474067, -1.966911749094237, 0.4449013284905645}},
    {{.optimizer = "rmsprop", .momentum = 0.5, .centered = true, .formula = FV_TORCH},
     {0.7343336172361641, -1.913550817673343, 0.3915356777466324}},
    {{.optimizer = "adadelta", .formula = FV_TORCH},
     {0.9959696871434361, -2.000075943128374, 0.4989228668635739}},
    {{.optimizer = "adam", .formula = FV_TORCH},
     {0.997824315228898, -1.998672274111845, 0.4985277836650344}},
    {{.optimizer = "adam", .weight_decay = 0.1, .formula = FV_TORCH},
     {0.9974465274320895, -1.998193954759063, 0.4984631776621729}},
    {{.optimizer = "adam", .beta1 = 0.5, .beta2 = 0.6, .amsgrad = true, .formula = FV_TORCH},
     {0.9981114392315708, -1.9992000000072, 0.499000000005}},
    {{.optimizer = "adamw", .formula = FV_TORCH},
     {0.9977943447066059, -1.998612297375114, 0.4985128064783043}},
    {{.optimizer = "adamw",
      .beta1 = 0.5,
      .beta2 = 0.6,
      .weight_decay = 0.1,
      .amsgrad = true,
      .formula = FV_TORCH},
     {0.9978117644784813, -1.998600259995198, 0.498850214994499}},
    {{.optimizer = "adamax", .formula = FV_TORCH},
     {0.9962597436551897, -1.997497182502044, 0.4973123110875016}},
    {{.optimizer = "nadam", .formula = FV_TORCH},
     {0.9969188245459651, -1.999151162407131, 0.498656916964928}},
    {{.optimizer = "sgd", .lr = 0.1, .momentum = 0.9, .nesterov = true},
     {0.92231, -1.8391, 0.08319999999999994}},
    {{.optimizer = "sgd", .lr = 0.1, .momentum = 0.9, .weight_decay = 0.1},
     {0.9067879999999999, -1.791988, 0.1379294999999999}},
    {{.optimizer = "adagrad"}, {0.9994359167723401, -1.999687220494577, 0.4994550778538247}},
    {{.optimizer = "rmsprop"}, {0.9955829950957037, -1.99906677888826, 0.4983121421364022}},
    {{.optimizer = "rmsprop", .momentum = 0.5, .centered = true},
     {0.9910269343351791, -1.99714889832732, 0.4963938442472885}},
    {{.optimizer = "adadelta"}, {0.9999981789634789, -1.999999994656076, 0.4999994986574161}},
    {{.optimizer = "adam"}, {0.9978243580564026, -1.998672278183024, 0.4985277859061175}},
    {{.optimizer = "adam", .weight_decay = 0.1},
     {0.9975246798162727, -1.99807256480402, 0.4983780275289675}},
    {{.optimizer = "adam", .beta1 = 0.5, .beta2 = 0.6, .amsgrad = true},
     {0.9981114411303976, -1.999200000126491, 0.4990000000790569}},
    {{.optimizer = "adamw"}, {0.9978123697752213, -1.998648287344328, 0.4985217949954354}},
    {{.optimizer = "adamw", .beta1 = 0.5, .beta2 = 0.6, .weight_decay = 0.1, .amsgrad = true},
     {0.9978117663769673, -1.998600260114459, 0.4988502150685411}},
    {{.optimizer = "adamax"}, {0.9981298729886942, -1.998748591363678, 0.4986561556042477}},
    {{.optimizer = "nadam"}, {0.9984271200284202, -1.999533225146245, 0.4992991061157457}},
    {{.optimizer = "lion"}, {0.999, -2.001, 0.499}},
    {{.optimizer = "lion", .weight_decay = 0.1},
     {0.998700329989, -2.000400159988, 0.4988501149895}},
    {{.optimizer = "lamb"}, {0.9948015564600178, -1.997644140599872, 0.4966593800754199}},
    {{.optimizer = "lamb", .weight_decay = 0.1},
     {0.9945031458361319, -1.997044907285019, 0.496510397160682}},
    /* momentum, at a steady rate: the same in both */
    {{.optimizer = "sgd", .lr = 0.1, .momentum = 0.9}, {0.9359, -1.849, 0.148}},
    {{.optimizer = "sgd", .lr = 0.1, .momentum = 0.9, .formula = FV_TORCH},
     {0.9359, -1.849, 0.148}},
};

static void test_optimizers(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof known / sizeof known[0]; k++) {
        fv_train_options o = known[k].options;
        double w[WEIGHTS], slot[REF_SLOTS][WEIGHTS];
        double *const slots[REF_SLOTS] = {slot[0], slot[1], slot[2]};
        char what[64];
        ref_optimizer_defaults(&o);
        ref_optimizer_start(&o, WEIGHTS, slots);
        memcpy(w, start, sizeof w);
        for (int s = 0; s < STEPS; s++)
            ref_optimizer_step(&o, o.lr, s + 1, WEIGHTS, w, gradients[s], slots);
        snprintf(what, sizeof what, "%s (%zu)", o.optimizer, k);
        expect_doubles(what, WEIGHTS, w, known[k].weights, o.formula == FV_KERAS ? 3e-8 : 1e-14);
    }
}

/* The two momenta differ when the rate changes. */
static void test_changing_rate(void **state) {
    (void)state;
    double w = 1, velocity = 0; /* but not when the rate changes: v = 2; v = 0.5 * 2 + 2 = 3 */
    ref_sgd(FV_TORCH, 1, 0.1, 0.5, &w, (double[]){2}, &velocity);
    ref_sgd(FV_TORCH, 1, 1, 0.5, &w, (double[]){2}, &velocity);
    assert_true(fabs(w - (1 - 0.2 - 3)) <= 1e-15);
    w = 1, velocity = 0; /* v = -0.2; v = 0.5 * -0.2 - 2 = -2.1 */
    ref_sgd(FV_KERAS, 1, 0.1, 0.5, &w, (double[]){2}, &velocity);
    ref_sgd(FV_KERAS, 1, 1, 0.5, &w, (double[]){2}, &velocity);
    assert_true(fabs(w - (1 - 0.2 - 2.1)) <= 1e-15);
}

/* keras.optimizers.SGD(1.0, clipvalue=0.4 / clipnorm=0.6 / global_clipnorm=0.6), one tensor, so
 * that the last two are the same; torch.nn.utils.clip_grad_norm_([0.3, -0.4, 1.2], 0.6) and 6. */
static void test_clipping(void **state) {
    (void)state;
    static const double by_value[] = {0.8, -2.25, 0.5};
    static const double by_norm[] = {1.0176976556849588, -2.2411002836687537, 0.4822005872057217};
    for (int kind = 0; kind < 2; kind++) {
        double w[WEIGHTS];
        memcpy(w, start, sizeof w);
        for (int s = 0; s < STEPS; s++) {
            double g[WEIGHTS];
            memcpy(g, gradients[s], sizeof g);
            if (kind == 0)
                ref_clip_value(0.4, WEIGHTS, g);
            else
                ref_clip_norm(FV_KERAS, 0.6, ref_length(WEIGHTS, g), WEIGHTS, g);
            for (int i = 0; i < WEIGHTS; i++)
                w[i] -= g[i];
        }
        expect_doubles("clipped", WEIGHTS, w, kind ? by_norm : by_value, 5e-8);
    }
    double g[WEIGHTS] = {0.3, -0.4, 1.2};
    ref_clip_norm(FV_TORCH, 0.6, 1.3, WEIGHTS, g);
    expect_doubles("PyTorch", WEIGHTS, g,
                   (double[]){0.13846143195274466, -0.18461524260365955, 0.5538457278109786},
                   1e-15);
    ref_clip_norm(FV_TORCH, 6, 1.3, WEIGHTS, g);
    expect_doubles("short enough", 1, g, (double[]){0.13846143195274466}, 1e-15);
    ref_clip_norm(FV_TORCH, 0, 1.3, WEIGHTS, g);
    ref_clip_value(0, WEIGHTS, g);
    expect_doubles("no limit", 1, g, (double[]){0.13846143195274466}, 1e-15);
}

/* keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.75): its averages. */
static void test_averages(void **state) {
    (void)state;
    double w[WEIGHTS], average[WEIGHTS];
    memcpy(w, start, sizeof w);
    for (int s = 0; s < STEPS; s++) {
        for (int i = 0; i < WEIGHTS; i++)
            w[i] -= gradients[s][i];
        ref_ema(0.75, s + 1, WEIGHTS, w, average);
    }
    expect_doubles("average", WEIGHTS, average, (double[]){0.81875, -1.28125, -1.0625}, 1e-15);
}

enum { RATES = 20 };
static const struct {
    fv_train_options options;
    double rates[RATES];
} schedules[] = {
    {{.lr = 0.5, .schedule = FV_STEP, .every = 4, .gamma = 0.5},
     {0.5,   0.5,   0.5,    0.5,    0.25,   0.25,   0.25,    0.25,    0.125,   0.125,
      0.125, 0.125, 0.0625, 0.0625, 0.0625, 0.0625, 0.03125, 0.03125, 0.03125, 0.03125}},
    {{.lr = 0.5,
      .schedule = FV_MULTI_STEP,
      .milestones = {3, 7, 8},
      .milestone_count = 3,
      .gamma = 0.5},
     {0.5,    0.5,    0.5,    0.25,   0.25,   0.25,   0.25,   0.125,  0.0625, 0.0625,
      0.0625, 0.0625, 0.0625, 0.0625, 0.0625, 0.0625, 0.0625, 0.0625, 0.0625, 0.0625}},
    {{.lr = 0.5, .schedule = FV_COSINE, .decay_steps = 19, .end = 0.01},
     {0.5,          0.4966585193,  0.4867252242,  0.470471069,   0.4483394248,
      0.420933985,  0.3890022987,  0.353415379,   0.3151439443,  0.2752319396,
      0.2347680604, 0.1948560557,  0.156584621,   0.1209977013,  0.08906601495,
      0.0616605752, 0.03952893095, 0.02327477578, 0.01334148067, 0.01}},
    {{.lr = 0.5, .schedule = FV_RESTARTS, .decay_steps = 3, .multiply = 2, .end = 0.01},
     {0.5,          0.3775,        0.1325,       0.5,          0.4671762239,  0.3775,       0.255,
      0.1325,       0.04282377607, 0.5,          0.4916518274, 0.4671762239,  0.4282411614, 0.3775,
      0.3184106661, 0.255,         0.1915893339, 0.1325,       0.08175883861, 0.04282377607}},
    {{.lr = 0.5, .schedule = FV_POLYNOMIAL, .decay_steps = 12, .power = 2},
     {0.5,
      0.4201388889,
      0.3472222222,
      0.28125,
      0.2222222222,
      0.1701388889,
      0.125,
      0.08680555556,
      0.05555555556,
      0.03125,
      0.01388888889,
      0.003472222222,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0}},
    {{.lr = 0.5, .schedule = FV_ONE_CYCLE},
     {0.02,          0.06583592135, 0.1858359214,  0.3341640786,   0.4541640786,
      0.5,           0.4937320031,  0.475242316,   0.4454580888,   0.405872827,
      0.3584715009,  0.305631011,   0.250001,      0.194370989,    0.1415304991,
      0.09412917303, 0.05454391121, 0.02475968399, 0.006269996882, 2e-06}},
    {{.lr = 0.5, .schedule = FV_EXPONENTIAL, .decay_steps = 8, .gamma = 0.3},
     {0.5,           0.4301403272,  0.3700414022,  0.3183394597,  0.2738612788,
      0.2355975601,  0.2026800232,  0.174361703,   0.15,          0.1290420982,
      0.1110124207,  0.09550183791, 0.08215838363, 0.07067926804, 0.06080400697,
      0.05230851091, 0.045,         0.03871262945, 0.0333037262,  0.02865055137}},
    {{.lr = 0.5, .schedule = FV_POLYNOMIAL, .decay_steps = 12, .end = 0.02, .power = 1.5},
     {0.5,           0.4412679274,  0.3851483717, 0.3317691454, 0.2812789059,
      0.2338535324,  0.1897056275,  0.1490994449, 0.1123760431, 0.08,
      0.05265986324, 0.03154700538, 0.02,         0.02,         0.02,
      0.02,          0.02,          0.02,         0.02,         0.02}},
    {{.lr = 0.5, .schedule = FV_INVERSE, .decay_steps = 8, .gamma = 0.3},
     {0.5,          0.4819277108, 0.4651162791, 0.4494382022, 0.4347826087,
      0.4210526316, 0.4081632653, 0.396039604,  0.3846153846, 0.3738317757,
      0.3636363636, 0.3539823009, 0.3448275862, 0.3361344538, 0.3278688525,
      0.32,         0.3125,       0.3053435115, 0.2985074627, 0.2919708029}},
    {{.lr = 0.5, .schedule = FV_COSINE, .decay_steps = 12, .end = 0.05},
     {0.5,          0.4923333109, 0.4698557159, 0.4340990258,  0.3875,        0.3332342851, 0.275,
      0.2167657149, 0.1625,       0.1159009742, 0.08014428415, 0.05766668908, 0.05,         0.05,
      0.05,         0.05,         0.05,         0.05,          0.05,          0.05}},
    {{.lr = 0.5, .schedule = FV_RESTARTS, .decay_steps = 3, .multiply = 2, .end = 0.05},
     {0.5,          0.3875,        0.1625,       0.5,          0.4698557159, 0.3875,       0.275,
      0.1625,       0.08014428415, 0.5,          0.4923333109, 0.4698557159, 0.4340990258, 0.3875,
      0.3332342851, 0.275,         0.2167657149, 0.1625,       0.1159009742, 0.08014428415}},
    {{.lr = 0.5, .schedule = FV_COSINE, .decay_steps = 12, .end = 0.05, .warmup = 5},
     {0,
      0.1,
      0.2,
      0.3,
      0.4,
      0.5,
      0.4923333109,
      0.4698557159,
      0.4340990258,
      0.3875,
      0.3332342851,
      0.275,
      0.2167657149,
      0.1625,
      0.1159009742,
      0.08014428415,
      0.05766668908,
      0.05,
      0.05,
      0.05}},
};

static void test_schedules(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof schedules / sizeof schedules[0]; k++) {
        double rates[RATES];
        char what[64];
        for (int t = 0; t < RATES; t++)
            rates[t] = ref_schedule(&schedules[k].options, RATES, t);
        for (int t = (int)schedules[k].options.warmup; t > 0; t--)
            rates[t] = rates[t - 1]; /* Keras's warm-up is a step late, from a rate of 0 */
        if (schedules[k].options.warmup)
            rates[0] = 0;
        snprintf(what, sizeof what, "schedule %zu", k);
        expect_doubles(what, RATES, rates, schedules[k].rates, 2e-8);
    }
    fv_train_options o = {.lr = 0.3};
    assert_true(ref_schedule(&o, RATES, 7) == 0.3);
    o.schedule = FV_INVERSE, o.gamma = 2, o.power = 0.5, o.decay_steps = 1; /* Caffe's inv */
    assert_true(fabs(ref_schedule(&o, RATES, 4) - 0.1) <= 1e-15);
    o.schedule = FV_COSINE, o.decay_steps = 0, o.end = 0; /* over the run */
    assert_true(fabs(ref_schedule(&o, RATES, 10) - 0.15) <= 1e-15);
}

/* Keras's ReduceLROnPlateau(patience=2, factor=0.5, min_delta=0.1), step by step: best 1; 0.95 is
 * not low enough, nor 0.92 (reduce); 0.85 is; then three that are not, of which two reduce. */
static void test_plateau(void **state) {
    (void)state;
    static const double losses[] = {1, 0.95, 0.92, 0.85, 0.9, 0.8, 0.8, 0.7};
    static const double factors[] = {1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25};
    fv_train_options o = {.patience = 2, .gamma = 0.5, .min_delta = 0.1};
    for (int e = 0; e < 8; e++)
        assert_true(ref_plateau(&o, e + 1, losses) == factors[e]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optimizers), cmocka_unit_test(test_changing_rate),
        cmocka_unit_test(test_clipping),   cmocka_unit_test(test_averages),
        cmocka_unit_test(test_schedules),  cmocka_unit_test(test_plateau),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
