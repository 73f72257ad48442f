/* The oracle of the optimisers: one step in Keras's and in PyTorch's formula, weight decay,
 * clipping and averages of weights. Called by tests/test_*.c. */
#include "reference.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Defaults ----------------------------------------------------------------------------------
 */

static bool is(const fv_train_options *o, const char *name) {
    return strcmp(o->optimizer[0] ? o->optimizer : "sgd", name) == 0;
}

static void fill(double *number, double keras, double torch, fv_formula formula) {
    if (*number == 0)
        *number = formula == FV_TORCH ? torch : keras;
}

void ref_optimizer_defaults(fv_train_options *o) {
    fv_formula f = o->formula;
    if (is(o, "sgd"))
        fill(&o->lr, 0.01, 0.001, f);
    else if (is(o, "adadelta"))
        fill(&o->lr, 0.001, 1, f);
    else if (is(o, "adagrad") || is(o, "rmsprop"))
        fill(&o->lr, 0.001, 0.01, f);
    else if (is(o, "adamax") || is(o, "nadam"))
        fill(&o->lr, 0.001, 0.002, f);
    else
        fill(&o->lr, 0.001, 0.001, f);
    if (is(o, "adadelta"))
        fill(&o->rho, 0.95, 0.9, f);
    else
        fill(&o->rho, 0.9, 0.99, f);
    fill(&o->beta1, 0.9, 0.9, f);
    if (is(o, "lion"))
        fill(&o->beta2, 0.99, 0.99, f);
    else
        fill(&o->beta2, 0.999, 0.999, f);
    if (is(o, "lamb"))
        fill(&o->epsilon, 1e-7, 1e-7, f);
    else if (is(o, "adadelta"))
        fill(&o->epsilon, 1e-7, 1e-6, f);
    else if (is(o, "adagrad"))
        fill(&o->epsilon, 1e-7, 1e-10, f);
    else
        fill(&o->epsilon, 1e-7, 1e-8, f);
    if (is(o, "adagrad"))
        fill(&o->accumulator, 0.1, 0, f);
    if (is(o, "adamw"))
        fill(&o->weight_decay, 0.004, 0.01, f);
}

void ref_optimizer_start(const fv_train_options *o, size_t count, double *const slots[REF_SLOTS]) {
    for (int s = 0; s < REF_SLOTS; s++)
        for (size_t i = 0; i < count; i++)
            slots[s][i] = s == 0 && is(o, "adagrad") ? o->accumulator : 0;
}

/* ---- One step ----------------------------------------------------------------------------------
 */

/* Keras: v = m v - lr g, w += v. PyTorch: v = m v + g, w -= lr v. */
void ref_sgd(fv_formula formula, size_t count, double lr, double momentum, double *weight,
             const double *gradient, double *velocity) {
    for (size_t i = 0; i < count; i++) {
        if (formula == FV_KERAS) {
            velocity[i] = momentum * velocity[i] - lr * gradient[i];
            weight[i] = weight[i] + velocity[i];
        } else {
            velocity[i] = momentum * velocity[i] + gradient[i];
            weight[i] = weight[i] - lr * velocity[i];
        }
    }
}

/* Keras: w += m v - lr g with the new v; PyTorch: w -= lr (g + m v). */
static void nesterov(fv_formula formula, size_t count, double lr, double momentum, double *weight,
                     const double *gradient, double *velocity) {
    for (size_t i = 0; i < count; i++) {
        if (formula == FV_KERAS) {
            velocity[i] = momentum * velocity[i] - lr * gradient[i];
            weight[i] += momentum * velocity[i] - lr * gradient[i];
        } else {
            velocity[i] = momentum * velocity[i] + gradient[i];
            weight[i] -= lr * (gradient[i] + momentum * velocity[i]);
        }
    }
}

/* Duchi et al. 2011. */
static void adagrad(fv_formula formula, size_t count, double lr, double epsilon, double *weight,
                    const double *gradient, double *sum) {
    for (size_t i = 0; i < count; i++) {
        sum[i] += gradient[i] * gradient[i];
        double root = formula == FV_KERAS ? sqrt(sum[i] + epsilon) : sqrt(sum[i]) + epsilon;
        weight[i] -= lr * gradient[i] / root;
    }
}

/* Tieleman & Hinton 2012; centred: Graves 2013. Keras: b = m b + lr g / root, w -= b; PyTorch:
 * b = m b + g / root, w -= lr b. */
static void rmsprop(const fv_train_options *o, double lr, size_t count, double *weight,
                    const double *gradient, double *const slots[REF_SLOTS]) {
    double *square = slots[0], *mean = slots[1], *last = slots[2];
    for (size_t i = 0; i < count; i++) {
        double g = gradient[i];
        square[i] = o->rho * square[i] + (1 - o->rho) * g * g;
        mean[i] = o->rho * mean[i] + (1 - o->rho) * g;
        double variance = square[i] - (o->centered ? mean[i] * mean[i] : 0);
        if (o->formula == FV_KERAS) {
            last[i] = o->momentum * last[i] + lr * g / sqrt(variance + o->epsilon);
            weight[i] -= last[i];
        } else {
            last[i] = o->momentum * last[i] + g / (sqrt(variance) + o->epsilon);
            weight[i] -= lr * last[i];
        }
    }
}

/* Zeiler 2012; Keras and PyTorch agree. */
void ref_adadelta(size_t count, double lr, double rho, double epsilon, double *weight,
                  const double *gradient, double *mean_square, double *mean_step) {
    for (size_t i = 0; i < count; i++) {
        double g = gradient[i];
        mean_square[i] = rho * mean_square[i] + (1 - rho) * g * g;
        double step = sqrt(mean_step[i] + epsilon) / sqrt(mean_square[i] + epsilon) * g;
        mean_step[i] = rho * mean_step[i] + (1 - rho) * step * step;
        weight[i] = weight[i] - lr * step;
    }
}

/* Kingma & Ba 2015; `largest` (NULL: not): Reddi et al. 2018, the largest second mean so far takes
 * its place. PyTorch: the algorithm, w -= lr m' / (sqrt(v') + epsilon) with the means corrected for
 * their start at 0. Keras: the paper's shorter form at the end of its section 2, where epsilon
 * stands beside the uncorrected root. */
static void adam(fv_formula formula, size_t count, int step, double lr, double beta1, double beta2,
                 double epsilon, double *weight, const double *gradient, double *first,
                 double *second, double *largest) {
    double correction1 = 1 - pow(beta1, step), correction2 = 1 - pow(beta2, step);
    for (size_t i = 0; i < count; i++) {
        double g = gradient[i];
        first[i] = beta1 * first[i] + (1 - beta1) * g;
        second[i] = beta2 * second[i] + (1 - beta2) * g * g;
        if (largest)
            largest[i] = fmax(largest[i], second[i]);
        double v = largest ? largest[i] : second[i];
        if (formula == FV_KERAS)
            weight[i] -= lr * sqrt(correction2) / correction1 * first[i] / (sqrt(v) + epsilon);
        else
            weight[i] -= lr * (first[i] / correction1) / (sqrt(v / correction2) + epsilon);
    }
}

void ref_adam(fv_formula formula, size_t count, int step, double lr, double beta1, double beta2,
              double epsilon, double *weight, const double *gradient, double *first,
              double *second) {
    adam(formula, count, step, lr, beta1, beta2, epsilon, weight, gradient, first, second, NULL);
}

/* Kingma & Ba 2015, section 7.1. Keras adds epsilon to u where it divides, PyTorch to |g|. */
static void adamax(const fv_train_options *o, double lr, int step, size_t count, double *weight,
                   const double *gradient, double *mean, double *largest) {
    for (size_t i = 0; i < count; i++) {
        double g = gradient[i], divisor;
        mean[i] = o->beta1 * mean[i] + (1 - o->beta1) * g;
        if (o->formula == FV_KERAS) {
            largest[i] = fmax(o->beta2 * largest[i], fabs(g));
            divisor = largest[i] + o->epsilon;
        } else {
            largest[i] = fmax(o->beta2 * largest[i], fabs(g) + o->epsilon);
            divisor = largest[i];
        }
        weight[i] -= lr / (1 - pow(o->beta1, step)) * mean[i] / divisor;
    }
}

/* The momentum of step t: Keras beta1 (1 - 0.96^t / 2), PyTorch with 0.004 t for t. */
static double nadam_momentum(const fv_train_options *o, int t) {
    return o->beta1 * (1 - 0.5 * pow(0.96, o->formula == FV_KERAS ? t : 0.004 * t));
}

/* Dozat 2016, algorithm 2. */
static void nadam(const fv_train_options *o, double lr, int step, size_t count, double *weight,
                  const double *gradient, double *first, double *second) {
    double now = nadam_momentum(o, step), next = nadam_momentum(o, step + 1), product = 1;
    for (int t = 1; t <= step; t++)
        product *= nadam_momentum(o, t);
    for (size_t i = 0; i < count; i++) {
        double g = gradient[i];
        first[i] = o->beta1 * first[i] + (1 - o->beta1) * g;
        second[i] = o->beta2 * second[i] + (1 - o->beta2) * g * g;
        double mean = next * first[i] / (1 - product * next) + (1 - now) * g / (1 - product);
        double root = sqrt(second[i] / (1 - pow(o->beta2, step)));
        weight[i] -= lr * mean / (root + o->epsilon);
    }
}

/* Chen et al. 2023. */
static void lion(const fv_train_options *o, double lr, size_t count, double *weight,
                 const double *gradient, double *mean) {
    for (size_t i = 0; i < count; i++) {
        double g = gradient[i], direction = o->beta1 * mean[i] + (1 - o->beta1) * g;
        weight[i] -= lr * ((direction > 0) - (direction < 0));
        mean[i] = o->beta2 * mean[i] + (1 - o->beta2) * g;
    }
}

double ref_length(size_t count, const double *x) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

/* You et al. 2020: Adam's step u as long as the tensor of weights, w -= lr |w| / |u| u; where one
 * of the lengths is 0, w -= lr u. */
static void lamb(const fv_train_options *o, double lr, int step, size_t count, double *weight,
                 const double *gradient, double *first, double *second) {
    double correction1 = 1 - pow(o->beta1, step), correction2 = 1 - pow(o->beta2, step);
    double squares = 0, length = ref_length(count, weight);
    for (size_t i = 0; i < count; i++) {
        double g = gradient[i];
        first[i] = o->beta1 * first[i] + (1 - o->beta1) * g;
        second[i] = o->beta2 * second[i] + (1 - o->beta2) * g * g;
        double u = first[i] / correction1 / (sqrt(second[i] / correction2) + o->epsilon);
        squares += u * u;
    }
    double ratio = length > 0 && squares > 0 ? length / sqrt(squares) : 1;
    for (size_t i = 0; i < count; i++) {
        double u = first[i] / correction1 / (sqrt(second[i] / correction2) + o->epsilon);
        weight[i] -= lr * ratio * u;
    }
}

/* ---- By name, with weight decay ----------------------------------------------------------------
 */

static void step_of(const fv_train_options *o, double lr, int step, size_t count, double *weight,
                    const double *gradient, double *const slots[REF_SLOTS]) {
    if (is(o, "adagrad"))
        adagrad(o->formula, count, lr, o->epsilon, weight, gradient, slots[0]);
    else if (is(o, "rmsprop"))
        rmsprop(o, lr, count, weight, gradient, slots);
    else if (is(o, "adadelta"))
        ref_adadelta(count, lr, o->rho, o->epsilon, weight, gradient, slots[0], slots[1]);
    else if (is(o, "adam") || is(o, "adamw"))
        adam(o->formula, count, step, lr, o->beta1, o->beta2, o->epsilon, weight, gradient,
             slots[0], slots[1], o->amsgrad ? slots[2] : NULL);
    else if (is(o, "adamax"))
        adamax(o, lr, step, count, weight, gradient, slots[0], slots[1]);
    else if (is(o, "nadam"))
        nadam(o, lr, step, count, weight, gradient, slots[0], slots[1]);
    else if (is(o, "lion"))
        lion(o, lr, count, weight, gradient, slots[0]);
    else if (is(o, "lamb"))
        lamb(o, lr, step, count, weight, gradient, slots[0], slots[1]);
    else if (o->nesterov)
        nesterov(o->formula, count, lr, o->momentum, weight, gradient, slots[0]);
    else
        ref_sgd(o->formula, count, lr, o->momentum, weight, gradient, slots[0]);
}

/* Decoupled (Loshchilov & Hutter 2019): w -= lr decay w before the step; else g += decay w. */
void ref_optimizer_step(const fv_train_options *o, double lr, int step, size_t count,
                        double *weight, const double *gradient, double *const slots[REF_SLOTS]) {
    bool decoupled = o->formula == FV_KERAS || is(o, "adamw") || is(o, "lion") || is(o, "lamb");
    double *decayed = malloc((count + 1) * sizeof(double));
    if (!decayed)
        abort();
    for (size_t i = 0; i < count; i++) {
        decayed[i] = gradient[i] + (decoupled ? 0 : o->weight_decay * weight[i]);
        weight[i] -= decoupled ? lr * o->weight_decay * weight[i] : 0;
    }
    step_of(o, lr, step, count, weight, decayed, slots);
    free(decayed);
}

/* ---- Around the step ---------------------------------------------------------------------------
 */

void ref_clip_value(double limit, size_t count, double *gradient) {
    for (size_t i = 0; limit > 0 && i < count; i++)
        gradient[i] = fmin(fmax(gradient[i], -limit), limit);
}

void ref_clip_norm(fv_formula formula, double limit, double norm, size_t count, double *gradient) {
    double factor =
        formula == FV_TORCH ? fmin(1, limit / (norm + 1e-6)) : limit / fmax(norm, limit);
    for (size_t i = 0; limit > 0 && i < count; i++)
        gradient[i] *= factor;
}

void ref_ema(double share, int step, size_t count, const double *weight, double *average) {
    for (size_t i = 0; i < count; i++)
        average[i] = step == 1 ? weight[i] : share * average[i] + (1 - share) * weight[i];
}
