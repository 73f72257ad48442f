/* The oracle of the schedules: the learning rate at each step. Called by tests/test_*.c. */
#include "reference.h"
#include <math.h>

static const double pi = 3.14159265358979323846;

/* From `from` at share 0 to `to` at share 1 by half a cosine. */
static double cosine(double from, double to, double share) {
    return to + (from - to) * (1 + cos(pi * share)) / 2;
}

static double either(double given, double fallback) {
    return given != 0 ? given : fallback;
}

static double multi_step(const fv_train_options *o, double gamma, double t) {
    double lr = o->lr;
    for (int m = 0; m < o->milestone_count; m++)
        if (t >= o->milestones[m])
            lr *= gamma;
    return lr;
}

static double restarts(const fv_train_options *o, double period, double t) {
    while (t >= period) {
        t -= period;
        period *= either(o->multiply, 1);
    }
    return cosine(o->lr, o->end, t / period);
}

/* PyTorch's OneCycleLR: the top is step 0.3 T - 1, the end step T - 1. */
static double one_cycle(double lr, double total, double t) {
    double top = 0.3 * total - 1, last = total - 1;
    if (t <= top)
        return cosine(lr / 25, lr, t / top);
    return cosine(lr, lr / 250000, fmin((t - top) / (last - top), 1));
}

/* In a warm-up of W steps the rate of step t is (t + 1) / W of lr: Keras has t / W, and so does
 * nothing at step 0. Then the schedule begins: its step 0 is W, its T the rest of the run. */
double ref_schedule(const fv_train_options *o, int64_t steps, int64_t step) {
    double t = (double)(step - o->warmup);
    double total = (double)(o->decay_steps ? o->decay_steps : steps - o->warmup);
    double gamma = either(o->gamma, 0.1), power = either(o->power, 1);
    double done = fmin(t, total) / total;
    if (t < 0)
        return o->lr * (double)(step + 1) / (double)o->warmup;
    switch (o->schedule) {
    case FV_STEP:
        return o->lr * pow(gamma, floor(t / (double)o->every));
    case FV_MULTI_STEP:
        return multi_step(o, gamma, t);
    case FV_EXPONENTIAL:
        return o->lr * pow(gamma, t / total);
    case FV_POLYNOMIAL:
        return (o->lr - o->end) * pow(1 - done, power) + o->end;
    case FV_INVERSE:
        return o->lr / pow(1 + gamma * t / total, power);
    case FV_COSINE:
        return cosine(o->lr, o->end, done);
    case FV_RESTARTS:
        return restarts(o, total, t);
    case FV_ONE_CYCLE:
        return one_cycle(o->lr, total, t);
    default:
        return o->lr;
    }
}

double ref_plateau(const fv_train_options *o, int epochs, const double *losses) {
    double best = INFINITY, factor = 1;
    int waited = 0;
    for (int e = 0; e < epochs; e++) {
        waited++;
        if (losses[e] < best - o->min_delta) {
            best = losses[e];
            waited = 0;
        } else if (waited >= (o->patience ? o->patience : 10)) {
            factor *= either(o->gamma, 0.1);
            waited = 0;
        }
    }
    return factor;
}
