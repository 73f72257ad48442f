/* The oracle of activation functions and their derivatives. Called by tests/test_*.c. */
#include "reference.h"
#include <math.h>

static void softmax(int channels, const double *x, double *y) {
    double largest = x[0], sum = 0;
    for (int c = 1; c < channels; c++)
        largest = fmax(largest, x[c]);
    for (int c = 0; c < channels; c++)
        sum += exp(x[c] - largest);
    for (int c = 0; c < channels; c++)
        y[c] = exp(x[c] - largest) / sum;
}

void ref_activation(fv_activation kind, size_t rows, int channels, const double *x, double *y) {
    if (kind == FV_SOFTMAX) {
        for (size_t r = 0; r < rows; r++)
            softmax(channels, x + r * (size_t)channels, y + r * (size_t)channels);
        return;
    }
    for (size_t i = 0; i < rows * (size_t)channels; i++)
        y[i] = kind == FV_RELU      ? fmax(x[i], 0)
               : kind == FV_SIGMOID ? 1 / (1 + exp(-x[i]))
               : kind == FV_TANH    ? tanh(x[i])
                                    : x[i];
}

/* The Jacobian of softmax: dy_k / dx_c = y_k ((k == c) - y_c). */
static void softmax_gradient(int channels, const double *y, const double *dy, double *dx) {
    for (int c = 0; c < channels; c++) {
        dx[c] = 0;
        for (int k = 0; k < channels; k++)
            dx[c] += dy[k] * y[k] * ((k == c) - y[c]);
    }
}

void ref_activation_gradient(fv_activation kind, size_t rows, int channels, const double *y,
                             const double *dy, double *dx) {
    if (kind == FV_SOFTMAX) {
        for (size_t r = 0; r < rows; r++) {
            size_t at = r * (size_t)channels;
            softmax_gradient(channels, y + at, dy + at, dx + at);
        }
        return;
    }
    for (size_t i = 0; i < rows * (size_t)channels; i++)
        dx[i] = kind == FV_RELU      ? (y[i] > 0 ? dy[i] : 0)
                : kind == FV_SIGMOID ? dy[i] * y[i] * (1 - y[i])
                : kind == FV_TANH    ? dy[i] * (1 - y[i] * y[i])
                                     : dy[i];
}
