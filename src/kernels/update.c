/* The optimisers' update of weights from gradients (docs of each formula in train/optimizer.c).
 * Each value depends on itself alone; the compilers vectorise these loops. */
#include "kernels/local.h"
#include <math.h>

#ifdef FV_DOUBLE
#define FV_SQRT sqrt
#else
#define FV_SQRT sqrtf
#endif

void FV_LOCAL(sgd)(const fv_update *u, size_t count, real *restrict w, const real *restrict g,
                   real *const *slots) {
    const real lr = u->lr, momentum = u->momentum;
    real *restrict v = slots[0];
    if (!v)
        for (size_t i = 0; i < count; i++)
            w[i] -= lr * g[i];
    else if (u->torch)
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
    const real rate = u->correction1, root = u->correction2;
    real *restrict m = slots[0], *restrict v = slots[1];
    for (size_t i = 0; i < count; i++) {
        m[i] = b1 * m[i] + fresh1 * g[i];
        v[i] = b2 * v[i] + fresh2 * g[i] * g[i];
        w[i] -= rate * m[i] / (FV_SQRT(v[i]) * root + epsilon);
    }
}
