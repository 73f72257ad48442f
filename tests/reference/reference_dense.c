/* The oracle of dense layers, forward and backward. Called by tests/test_*.c. */
#include "reference.h"

void ref_dense(int samples, int inputs, int units, const double *x, const double *weight,
               const double *bias, double *y) {
    for (int s = 0; s < samples; s++, x += inputs, y += units) {
        for (int u = 0; u < units; u++)
            y[u] = bias ? bias[u] : 0;
        for (int i = 0; i < inputs; i++)
            for (int u = 0; u < units; u++)
                y[u] += x[i] * weight[(size_t)i * (size_t)units + (size_t)u];
    }
}

void ref_dense_input_gradient(int samples, int inputs, int units, const double *dy,
                              const double *weight, double *dx) {
    for (int s = 0; s < samples; s++, dx += inputs, dy += units)
        for (int i = 0; i < inputs; i++) {
            dx[i] = 0;
            for (int u = 0; u < units; u++)
                dx[i] += dy[u] * weight[(size_t)i * (size_t)units + (size_t)u];
        }
}

void ref_dense_weight_gradient(int samples, int inputs, int units, const double *x,
                               const double *dy, double *dweight) {
    for (size_t i = 0; i < (size_t)inputs * (size_t)units; i++)
        dweight[i] = 0;
    for (int s = 0; s < samples; s++, x += inputs, dy += units)
        for (int i = 0; i < inputs; i++)
            for (int u = 0; u < units; u++)
                dweight[(size_t)i * (size_t)units + (size_t)u] += x[i] * dy[u];
}
