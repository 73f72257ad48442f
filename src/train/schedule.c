/* Learning rates by step: a pure function of the options and, for plateau, of how often the
 * validation loss stood still. Called by trainer.c for each step and by fit.c after each epoch. */
#include "train/train.h"
#include <math.h>

static const double pi = 3.14159265358979323846;

/* From `from` to `to` by half a cosine, as share goes from 0 to 1. */
static double cosine(double from, double to, double share) {
    return to + (from - to) * (1 + cos(pi * share)) / 2;
}

/* The share of its period that t has run through, periods being T, multiply T, multiply^2 T ... A
 * period begins on its step, whatever rounding makes of its place. */
static double restart_share(double t, double period, double multiply) {
    static const double close = 1e-9;
    if (multiply == 1)
        return fmod(t, period) / period;
    double u = t / period;
    double size = pow(multiply, floor(log1p((multiply - 1) * (u + close)) / log(multiply)));
    double share = (u - (size - 1) / (multiply - 1)) / size;
    return share < 0 || share > 1 - close ? 0 : share;
}

/* PyTorch's OneCycleLR: the top at step 0.3 T - 1, the end at step T - 1. */
static double one_cycle(double lr, double t, double period) {
    double top = 0.3 * period - 1, last = period - 1;
    if (t <= top && top > 0)
        return cosine(lr / 25, lr, t / top);
    top = fmax(top, 0);
    double share = last > top ? (t - top) / (last - top) : 1;
    return cosine(lr, lr / 25 / 1e4, fmin(share, 1));
}

static int reached(const fv_train_options *o, double t) {
    int count = 0;
    for (int i = 0; i < o->milestone_count; i++)
        count += t >= o->milestones[i];
    return count;
}

double fv_schedule_rate(const fv_train_options *o, int64_t step, double plateau) {
    if (step < o->warmup)
        return o->lr * (double)(step + 1) / (double)o->warmup;
    double t = (double)(step - o->warmup), lr = o->lr, end = o->end;
    double period = (double)o->decay_steps, share = period > 0 ? t / period : 0;
    switch (o->schedule) {
    case FV_CONSTANT:
        return lr;
    case FV_STEP:
        return lr * pow(o->gamma, floor(t / (double)o->every));
    case FV_MULTI_STEP:
        return lr * pow(o->gamma, reached(o, t));
    case FV_EXPONENTIAL:
        return lr * pow(o->gamma, share);
    case FV_POLYNOMIAL:
        return (lr - end) * pow(1 - fmin(share, 1), o->power) + end;
    case FV_INVERSE:
        return lr / pow(1 + o->gamma * share, o->power);
    case FV_COSINE:
        return cosine(lr, end, fmin(share, 1));
    case FV_RESTARTS:
        return cosine(lr, end, restart_share(t, period, o->multiply));
    case FV_ONE_CYCLE:
        return one_cycle(lr, t, period);
    case FV_PLATEAU:
        return fmax(lr * plateau, fmin(lr, end));
    }
    return lr;
}

static bool has_period(fv_schedule schedule) {
    return schedule == FV_EXPONENTIAL || schedule == FV_POLYNOMIAL || schedule == FV_INVERSE ||
           schedule == FV_COSINE || schedule == FV_RESTARTS || schedule == FV_ONE_CYCLE;
}

fv_status fv_schedule_prepare(fv_train_options *o, int64_t steps) {
    if (o->decay_steps || !has_period(o->schedule))
        return FV_OK;
    if (steps == 0)
        return fv_fail(FV_INVALID, "the schedule needs to know when it ends: give the train line "
                                   "decay_steps, or steps");
    o->decay_steps = steps > o->warmup ? steps - o->warmup : 1;
    return FV_OK;
}

bool fv_patience_end(fv_patience *p, double loss, double min_delta, int patience) {
    p->wait++;
    if (loss < p->best - min_delta) {
        p->best = loss;
        p->wait = 0;
    }
    return p->wait >= patience;
}
