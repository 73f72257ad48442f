/* The oracle of the optimisers: one step in Keras's and in PyTorch's formula. Called by
 * tests/test_optimizer.c. */
#include "reference.h"
#include <math.h>

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

/* Kingma & Ba 2015. PyTorch: the algorithm, w -= lr m' / (sqrt(v') + epsilon) with the means
 * corrected for their start at 0. Keras: the paper's shorter form at the end of its section 2,
 * where epsilon stands beside the uncorrected root. */
void ref_adam(fv_formula formula, size_t count, int step, double lr, double beta1, double beta2,
              double epsilon, double *weight, const double *gradient, double *first,
              double *second) {
    double correction1 = 1 - pow(beta1, step), correction2 = 1 - pow(beta2, step);
    for (size_t i = 0; i < count; i++) {
        double g = gradient[i];
        first[i] = beta1 * first[i] + (1 - beta1) * g;
        second[i] = beta2 * second[i] + (1 - beta2) * g * g;
        if (formula == FV_KERAS)
            weight[i] -=
                lr * sqrt(correction2) / correction1 * first[i] / (sqrt(second[i]) + epsilon);
        else
            weight[i] -= lr * (first[i] / correction1) / (sqrt(second[i] / correction2) + epsilon);
    }
}
