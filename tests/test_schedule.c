/* Holds the schedules to Keras 3.15 and PyTorch 2.15: the learning rates of 20 steps; and tells how
 * long a plateau lasts. */
#include "train/train.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { STEPS = 20 };

/* ExponentialDecay, PolynomialDecay, InverseTimeDecay, CosineDecay, CosineDecayRestarts of Keras;
 * StepLR, MultiStepLR, CosineAnnealingLR, CosineAnnealingWarmRestarts, OneCycleLR of PyTorch. */
static const struct golden {
    const char *line;
    double rates[STEPS];
} goldens[] = {
    {"lr=0.1 schedule=step every=3 gamma=0.5",
     {0.1,     0.1,      0.1,      0.05,     0.05,      0.05,     0.025,
      0.025,   0.025,    0.0125,   0.0125,   0.0125,    0.00625,  0.00625,
      0.00625, 0.003125, 0.003125, 0.003125, 0.0015625, 0.0015625}},
    {"lr=0.1 schedule=multi_step milestones=4,9,15",
     {0.1,   0.1,   0.1,   0.1,   0.01,  0.01,   0.01,   0.01,   0.01,   0.001,
      0.001, 0.001, 0.001, 0.001, 0.001, 0.0001, 0.0001, 0.0001, 0.0001, 0.0001}},
    {"lr=0.1 schedule=exponential decay_steps=5 gamma=0.5",
     {0.1,    0.08705505633, 0.07578582833,  0.06597539554,  0.05743491775,
      0.05,   0.04352752816, 0.03789291416,  0.03298769777,  0.02871745887,
      0.025,  0.02176376408, 0.01894645708,  0.01649384888,  0.01435872944,
      0.0125, 0.01088188204, 0.009473228541, 0.008246924442, 0.007179364719}},
    {"lr=0.1 schedule=polynomial decay_steps=15 power=2 end=0.01",
     {0.1,  0.0884, 0.0776, 0.0676, 0.0584, 0.05, 0.0424, 0.0356, 0.0296, 0.0244,
      0.02, 0.0164, 0.0136, 0.0116, 0.0104, 0.01, 0.01,   0.01,   0.01,   0.01}},
    {"lr=0.1 schedule=inverse decay_steps=4 gamma=0.5",
     {0.1,           0.08888888889, 0.08,          0.07272727273, 0.06666666667,
      0.06153846154, 0.05714285714, 0.05333333333, 0.05,          0.04705882353,
      0.04444444444, 0.04210526316, 0.04,          0.0380952381,  0.03636363636,
      0.0347826087,  0.03333333333, 0.032,         0.03076923077, 0.02962962963}},
    {"lr=0.1 schedule=cosine decay_steps=15 end=0.01",
     {0.1,    0.09901664203, 0.09610954559, 0.09140576475, 0.08511087729,
      0.0775, 0.06890576475, 0.05970378085, 0.05029621915, 0.04109423525,
      0.0325, 0.02488912271, 0.01859423525, 0.01389045441, 0.01098335797,
      0.01,   0.01,          0.01,          0.01,          0.01}},
    {"lr=0.1 schedule=cosine decay_steps=20 end=0.01",
     {0.1,           0.09944597533, 0.09779754323, 0.09509529359, 0.09140576475,
      0.08681980515, 0.08145033635, 0.07542957249, 0.06890576475, 0.06203955093,
      0.055,         0.04796044907, 0.04109423525, 0.03457042751, 0.02854966365,
      0.02318019485, 0.01859423525, 0.01490470641, 0.01220245677, 0.01055402467}},
    {"lr=0.1 schedule=restarts decay_steps=4 end=0.01",
     {0.1, 0.08681980515, 0.055, 0.02318019485, 0.1, 0.08681980515, 0.055, 0.02318019485,
      0.1, 0.08681980515, 0.055, 0.02318019485, 0.1, 0.08681980515, 0.055, 0.02318019485,
      0.1, 0.08681980515, 0.055, 0.02318019485}},
    {"lr=0.1 schedule=restarts decay_steps=4 multiply=2",
     {0.1,           0.08535533906,  0.05,          0.01464466094, 0.1,
      0.09619397663, 0.08535533906,  0.06913417162, 0.05,          0.03086582838,
      0.01464466094, 0.003806023374, 0.1,           0.09903926402, 0.09619397663,
      0.09157348062, 0.08535533906,  0.07777851165, 0.06913417162, 0.0597545161}},
    {"lr=0.1 schedule=one_cycle decay_steps=20",
     {0.004,         0.01316718427, 0.03716718427,  0.06683281573,  0.09083281573,
      0.1,           0.09874640062, 0.0950484632,   0.08909161776,  0.08117456539,
      0.07169430018, 0.06112620219, 0.0500002,      0.03887419781,  0.02830609982,
      0.01882583461, 0.01090878224, 0.004951936799, 0.001253999376, 4e-07}},
    {"lr=0.1 schedule=cosine decay_steps=15 warmup=5",
     {0.02,  0.04,          0.06,           0.08,           0.1,
      0.1,   0.09890738004, 0.09567727288,  0.09045084972,  0.08345653032,
      0.075, 0.06545084972, 0.05522642316,  0.04477357684,  0.03454915028,
      0.025, 0.01654346968, 0.009549150281, 0.004322727118, 0.001092619963}},
};

static fv_train_options options_of(const char *line) {
    char text[400];
    snprintf(text, sizeof text, "input 3\ndense 1\ntrain %s\n", line);
    fv_net *net = fv_net_parse(text, "schedule.net");
    if (!net)
        fail_msg("%s", fv_error_message());
    fv_train_options options = net->train;
    fv_train_resolve(&options);
    fv_net_free(net);
    return options;
}

static void expect_rate(const fv_train_options *o, int64_t step, double wanted) {
    double rate = fv_schedule_rate(o, step, 1);
    if (!(fabs(rate - wanted) <= 1e-9 * fabs(wanted) + 1e-11))
        fail_msg("step %d: %.12g, expected %.12g", (int)step, rate, wanted);
}

static void rates_are_those_of_the_frameworks(void **state) {
    (void)state;
    for (size_t g = 0; g < sizeof goldens / sizeof *goldens; g++) {
        print_message("%s\n", goldens[g].line);
        fv_train_options o = options_of(goldens[g].line);
        for (int step = 0; step < STEPS; step++)
            expect_rate(&o, step, goldens[g].rates[step]);
    }
}

static void a_constant_rate_rises_in_the_warmup(void **state) {
    (void)state;
    fv_train_options o = options_of("lr=0.5 warmup=4");
    for (int step = 0; step < 10; step++)
        expect_rate(&o, step, step < 4 ? 0.125 * (step + 1) : 0.5);
    o = options_of("lr=1 warmup=10 schedule=step every=5");
    expect_rate(&o, 9, 1);
    expect_rate(&o, 10, 1);
    expect_rate(&o, 14, 1);
    expect_rate(&o, 15, 0.1);
}

static void schedules_end_with_the_run(void **state) {
    (void)state;
    fv_train_options o = options_of("lr=1 schedule=cosine warmup=20");
    assert_int_equal(fv_schedule_prepare(&o, 120), FV_OK);
    assert_int_equal(o.decay_steps, 100);
    expect_rate(&o, 70, 0.5);
    expect_rate(&o, 120, 0);
    expect_rate(&o, 100000, 0);
    o = options_of("lr=1 schedule=cosine");
    assert_int_equal(fv_schedule_prepare(&o, 0), FV_INVALID);
    assert_non_null(strstr(fv_error_message(), "decay_steps"));
    o = options_of("lr=1 schedule=step every=3");
    assert_int_equal(fv_schedule_prepare(&o, 0), FV_OK);
    o = options_of("lr=1 schedule=one_cycle decay_steps=1");
    for (int step = 0; step < 5; step++)
        assert_true(isfinite(fv_schedule_rate(&o, step, 1)));
}

/* Each period begins at the top, whatever rounding makes of its place. */
static void restarts_begin_on_their_steps(void **state) {
    (void)state;
    static const char *const lines[] = {"lr=1 schedule=restarts decay_steps=10 multiply=1.1",
                                        "lr=1 schedule=restarts decay_steps=10 multiply=3",
                                        "lr=1 schedule=restarts decay_steps=3",
                                        "lr=1 schedule=restarts decay_steps=7 multiply=1.5"};
    for (size_t l = 0; l < sizeof lines / sizeof *lines; l++) {
        fv_train_options o = options_of(lines[l]);
        double begin = 0, period = (double)o.decay_steps;
        for (int64_t step = 0; step < 2000; step++) {
            while ((double)step >= begin + period * (1 - 1e-9)) {
                begin += period;
                period *= o.multiply;
            }
            double share = ((double)step - begin) / period;
            double wanted = (1 + cos(3.14159265358979323846 * fmax(share, 0))) / 2;
            if (!(fabs(fv_schedule_rate(&o, step, 1) - wanted) <= 1e-6))
                fail_msg("%s, step %d: %g, expected %g", lines[l], (int)step,
                         fv_schedule_rate(&o, step, 1), wanted);
        }
    }
}

static void patience_ends(void **state) {
    (void)state;
    static const double losses[] = {3, 2, 1.95, 1.95, 1.8, 1.8, 1.79, NAN, 1};
    static const bool plain[] = {false, false, false, false, false, false, false, false, false};
    static const bool delta[] = {false, false, false, true, false, false, true, true, false};
    fv_patience a = {.best = INFINITY}, b = a;
    for (int i = 0; i < 9; i++) {
        assert_int_equal(fv_patience_end(&a, losses[i], 0, 3), plain[i]);
        assert_int_equal(fv_patience_end(&b, losses[i], 0.1, 2), delta[i]);
    }
    assert_true(a.best == 1 && a.wait == 0);
}

static void a_plateau_lowers_the_rate_down_to_its_end(void **state) {
    (void)state;
    fv_train_options o = options_of("lr=1 schedule=plateau end=0.05");
    assert_true(o.gamma == 0.1 && o.patience == 10);
    assert_true(fabs(fv_schedule_rate(&o, 5, 0.1) - 0.1) <= 1e-15);
    assert_true(fabs(fv_schedule_rate(&o, 5, 0.01) - 0.05) <= 1e-15);
    o.end = 2; /* never above lr */
    assert_true(fv_schedule_rate(&o, 5, 0.01) == 1);
}

static void what_a_schedule_needs_is_asked_for(void **state) {
    (void)state;
    fv_train_options o = {.schedule = FV_STEP};
    assert_int_equal(fv_train_check(&o), FV_INVALID);
    assert_non_null(strstr(fv_error_message(), "every="));
    o = (fv_train_options){.schedule = FV_MULTI_STEP};
    assert_int_equal(fv_train_check(&o), FV_INVALID);
    assert_non_null(strstr(fv_error_message(), "milestones="));
    o = (fv_train_options){.clip_norm = 1, .clip_value = 1};
    assert_int_equal(fv_train_check(&o), FV_INVALID);
    assert_non_null(strstr(fv_error_message(), "keep one"));
    o = (fv_train_options){.accumulate = -1};
    assert_int_equal(fv_train_check(&o), FV_INVALID);
    o = (fv_train_options){.schedule = (fv_schedule)77};
    assert_int_equal(fv_train_check(&o), FV_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_those_of_the_frameworks),
        cmocka_unit_test(a_constant_rate_rises_in_the_warmup),
        cmocka_unit_test(schedules_end_with_the_run),
        cmocka_unit_test(restarts_begin_on_their_steps),
        cmocka_unit_test(patience_ends),
        cmocka_unit_test(a_plateau_lowers_the_rate_down_to_its_end),
        cmocka_unit_test(what_a_schedule_needs_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
