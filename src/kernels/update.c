/* The optimisers' update of weights from gradients (docs of each formula in train/optimizer.c), and
 * what happens to gradients before and to weights after it (train/update.c). Each value depends on
 * itself alone, sums run over fixed lanes; the compilers vectorise these loops. */
#include "kernels/local.h"
#include <math.h>

#ifdef FV_DOUBLE
#define FV_SQRT sqrt
#else
#define FV_SQRT sqrtf
#endif

/* ---- Optimisers ------------------------------------------------------------------------------ */

static void sgd_momentum(const fv_update *u, size_t count, real *restrict w, const real *restrict g,
                         real *restrict v) {
    const real lr = u->lr, momentum = u->momentum;
    if (u->torch)
        for (size_t i = 0; i < count; i++) {
            v[i] = momentum * v[i] + g[i];
            w[i] -= lr * v[i];
        }
    else
        for (size_t i = 0; i < count; i++) {
            v[i] = momentum * v[i] - lr * g[i];
            w[i] += v[i];
        }
}

static void sgd_nesterov(const fv_update *u, size_t count, real *restrict w, const real *restrict g,
                         real *restrict v) {
    const real lr = u->lr, momentum = u->momentum;
    if (u->torch)
        for (size_t i = 0; i < count; i++) {
            v[i] = momentum * v[i] + g[i];
            w[i] -= lr * (g[i] + momentum * v[i]);
        }
    else
        for (size_t i = 0; i < count; i++) {
            v[i] = momentum * v[i] - lr * g[i];
            w[i] += momentum * v[i] - lr * g[i];
        }
}

void FV_LOCAL(sgd)(const fv_update *u, size_t count, real *restrict w, const real *restrict g,
                   real *const *slots) {
    const real lr = u->lr;
    if (slots[0] && u->nesterov)
        sgd_nesterov(u, count, w, g, slots[0]);
    else if (slots[0])
        sgd_momentum(u, count, w, g, slots[0]);
    else
        for (size_t i = 0; i < count; i++)
            w[i] -= lr * g[i];
}

void FV_LOCAL(adagrad)(const fv_update *u, size_t count, real *restrict w, const real *restrict g,
                       real *const *slots) {
    const real lr = u->lr, epsilon = u->epsilon;
    real *restrict sum = slots[0];
    if (u->torch)
        for (size_t i = 0; i < count; i++) {
            sum[i] += g[i] * g[i];
            w[i] -= lr * g[i] / (FV_SQRT(sum[i]) + epsilon);
        }
    else
        for (size_t i = 0; i < count; i++) {
            sum[i] += g[i] * g[i];
            w[i] -= lr * g[i] / FV_SQRT(sum[i] + epsilon);
        }
}

/* g / sqrt(v), v less the square of the mean gradient where there is one (which rounding could make
 * negative). */
FV_INLINE real rms_step(const fv_update *u, real g, real square, const real *mean, size_t i) {
    real v = mean ? square - mean[i] * mean[i] : square;
    v = v < 0 ? 0 : v;
    return u->torch ? g / (FV_SQRT(v) + u->epsilon) : g / FV_SQRT(v + u->epsilon);
}

void FV_LOCAL(rmsprop)(const fv_update *u, size_t count, real *restrict w, const real *restrict g,
                       real *const *slots) {
    const real lr = u->lr, rho = u->rho, fresh = u->new_rho, momentum = u->momentum;
    real *restrict square = slots[0], *restrict velocity = momentum != 0 ? slots[1] : NULL;
    real *restrict mean = u->centered ? slots[velocity ? 2 : 1] : NULL;
    for (size_t i = 0; i < count; i++)
        square[i] = rho * square[i] + fresh * g[i] * g[i];
    for (size_t i = 0; mean && i < count; i++)
        mean[i] = rho * mean[i] + fresh * g[i];
    if (!velocity)
        for (size_t i = 0; i < count; i++)
            w[i] -= lr * rms_step(u, g[i], square[i], mean, i);
    else if (u->torch)
        for (size_t i = 0; i < count; i++) {
            velocity[i] = momentum * velocity[i] + rms_step(u, g[i], square[i], mean, i);
            w[i] -= lr * velocity[i];
        }
    else
        for (size_t i = 0; i < count; i++) {
            velocity[i] = momentum * velocity[i] + lr * rms_step(u, g[i], square[i], mean, i);
            w[i] -= velocity[i];
        }
}

void FV_LOCAL(adadelta)(const fv_update *u, size_t count, real *restrict w, const real *restrict g,
                        real *const *slots) {
    const real lr = u->lr, rho = u->rho, fresh = u->new_rho, epsilon = u->epsilon;
    real *restrict square = slots[0], *restrict step = slots[1];
    for (size_t i = 0; i < count; i++) {
        real a = rho * square[i] + fresh * g[i] * g[i];
        real d = FV_SQRT((step[i] + epsilon) / (a + epsilon)) * g[i];
        square[i] = a;
        step[i] = rho * step[i] + fresh * d * d;
        w[i] -= lr * d;
    }
}

void FV_LOCAL(adam)(const fv_update *u, size_t count, real *restrict w, const real *restrict g,
                    real *const *slots) {
    const real b1 = u->beta1, b2 = u->beta2, epsilon = u->epsilon;
    const real fresh1 = u->new_beta1, fresh2 = u->new_beta2;
    const real rate = u->rate, root = u->root;
    real *restrict m = slots[0], *restrict v = slots[1], *restrict most = slots[2];
    if (!u->amsgrad)
        for (size_t i = 0; i < count; i++) {
            m[i] = b1 * m[i] + fresh1 * g[i];
            v[i] = b2 * v[i] + fresh2 * g[i] * g[i];
            w[i] -= rate * m[i] / (FV_SQRT(v[i]) * root + epsilon);
        }
    else
        for (size_t i = 0; i < count; i++) {
            m[i] = b1 * m[i] + fresh1 * g[i];
            v[i] = b2 * v[i] + fresh2 * g[i] * g[i];
            most[i] = most[i] > v[i] ? most[i] : v[i];
            w[i] -= rate * m[i] / (FV_SQRT(most[i]) * root + epsilon);
        }
}

FV_INLINE real absolute(real x) {
    return x < 0 ? -x : x;
}

void FV_LOCAL(adamax)(const fv_update *u, size_t count, real *restrict w, const real *restrict g,
                      real *const *slots) {
    const real b1 = u->beta1, b2 = u->beta2, fresh1 = u->new_beta1, rate = u->rate;
    const real inside = u->torch ? u->epsilon : 0, outside = u->torch ? 0 : u->epsilon;
    real *restrict m = slots[0], *restrict most = slots[1];
    for (size_t i = 0; i < count; i++) {
        real old = b2 * most[i], fresh = absolute(g[i]) + inside;
        m[i] = b1 * m[i] + fresh1 * g[i];
        most[i] = old > fresh ? old : fresh;
        w[i] -= rate * m[i] / (most[i] + outside);
    }
}

void FV_LOCAL(nadam)(const fv_update *u, size_t count, real *restrict w, const real *restrict g,
                     real *const *slots) {
    const real b1 = u->beta1, b2 = u->beta2, epsilon = u->epsilon;
    const real fresh1 = u->new_beta1, fresh2 = u->new_beta2;
    const real rate = u->rate, gradient_rate = u->gradient_rate, root = u->root;
    real *restrict m = slots[0], *restrict v = slots[1];
    for (size_t i = 0; i < count; i++) {
        m[i] = b1 * m[i] + fresh1 * g[i];
        v[i] = b2 * v[i] + fresh2 * g[i] * g[i];
        w[i] -= (rate * m[i] + gradient_rate * g[i]) / (FV_SQRT(v[i]) * root + epsilon);
    }
}

/* The sign of 0 is 0, and that of NaN is NaN. */
FV_INLINE real sign(real x) {
    return x > 0 ? 1 : x < 0 ? -1 : x;
}

void FV_LOCAL(lion)(const fv_update *u, size_t count, real *restrict w, const real *restrict g,
                    real *const *slots) {
    const real b1 = u->beta1, b2 = u->beta2, lr = u->lr;
    const real fresh1 = u->new_beta1, fresh2 = u->new_beta2;
    real *restrict m = slots[0];
    for (size_t i = 0; i < count; i++) {
        w[i] -= lr * sign(b1 * m[i] + fresh1 * g[i]);
        m[i] = b2 * m[i] + fresh2 * g[i];
    }
}

void FV_LOCAL(lamb)(const fv_update *u, size_t count, real *restrict w, const real *restrict g,
                    real *const *slots) {
    const real epsilon = u->epsilon, rate = u->rate, root = u->root;
    const real *restrict m = slots[0], *restrict v = slots[1];
    (void)g; /* it is in the moments already */
    for (size_t i = 0; i < count; i++)
        w[i] -= rate * m[i] / (FV_SQRT(v[i]) * root + epsilon);
}

/* ---- Sums ------------------------------------------------------------------------------------ */

enum { LANES = 8 }; /* sums side by side, so that they fill vectors of any instruction set alike */

static double add_lanes(const double sums[LANES]) {
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) +
           ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

double FV_LOCAL(sum_squares)(size_t count, const real *x) {
    double sums[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            sums[j] += (double)x[i + j] * (double)x[i + j];
    for (size_t j = 0; i + j < count; j++)
        sums[j] += (double)x[i + j] * (double)x[i + j];
    return add_lanes(sums);
}

double FV_LOCAL(sum_absolute)(size_t count, const real *x) {
    double sums[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            sums[j] += (double)absolute(x[i + j]);
    for (size_t j = 0; i + j < count; j++)
        sums[j] += (double)absolute(x[i + j]);
    return add_lanes(sums);
}

double FV_LOCAL(lamb_moments)(const fv_update *u, size_t count, const real *restrict g,
                              real *const *slots) {
    enum { BLOCK = 64 }; /* speed only */
    const real b1 = u->beta1, b2 = u->beta2, epsilon = u->epsilon, root = u->root;
    const real fresh1 = u->new_beta1, fresh2 = u->new_beta2;
    real *restrict m = slots[0], *restrict v = slots[1];
    double sum = 0;
    for (size_t first = 0; first < count; first += BLOCK) {
        real step[BLOCK];
        size_t size = count - first < BLOCK ? count - first : BLOCK;
        for (size_t j = 0; j < size; j++) {
            size_t i = first + j;
            m[i] = b1 * m[i] + fresh1 * g[i];
            v[i] = b2 * v[i] + fresh2 * g[i] * g[i];
            step[j] = m[i] / (FV_SQRT(v[i]) * root + epsilon);
        }
        sum += FV_LOCAL(sum_squares)(size, step);
    }
    return sum;
}

/* ---- Before and after the optimiser ---------------------------------------------------------- */

void FV_LOCAL(regularize)(size_t count, real l1, real l2, const real *restrict w,
                          real *restrict g) {
    for (size_t i = 0; i < count; i++)
        g[i] += l1 * sign(w[i]) + l2 * w[i];
}

void FV_LOCAL(clamp)(size_t count, real limit, real *g) {
    for (size_t i = 0; i < count; i++) {
        real x = g[i] > limit ? limit : g[i];
        g[i] = x < -limit ? -limit : x;
    }
}

void FV_LOCAL(decay)(size_t count, real share, real *w) {
    for (size_t i = 0; i < count; i++)
        w[i] -= share * w[i];
}

void FV_LOCAL(average)(size_t count, real old_share, real new_share, const real *restrict w,
                       real *restrict mean) {
    for (size_t i = 0; i < count; i++)
        mean[i] = old_share * mean[i] + new_share * w[i];
}
