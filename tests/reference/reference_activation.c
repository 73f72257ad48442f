/* The oracle of activation functions and their derivatives. Called by tests/test_*.c. */
#include "reference.h"
#include <math.h>
#include <stdlib.h>

static const double pi = 3.14159265358979323846;
/* Klambauer et al. 2017, appendix 1: alpha and lambda that keep mean 0 and variance 1. */
static const double selu_alpha = 1.6732632423543772848, selu_scale = 1.0507009873554804934;

double ref_activation_constant(fv_activation kind) {
    if (kind == FV_LEAKY_RELU)
        return 0.01;
    if (kind == FV_ELU)
        return 1;
    return kind == FV_HARD_SIGMOID ? 1.0 / 6 : 0;
}

/* ---- One value: f(x) and f'(x) ----------------------------------------------------------------
 */

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

/* log(1 + exp(x)), without overflow. */
static double softplus(double x) {
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static double hard_sigmoid(double slope, double x) {
    return fmin(fmax(slope * x + 0.5, 0), 1);
}

static double hard_sigmoid_slope(double slope, double x) {
    double inner = slope * x + 0.5;
    return inner > 0 && inner < 1 ? slope : 0;
}

/* The normal distribution: its integral and its density. */
static double normal_integral(double x) {
    return erfc(-x / sqrt(2)) / 2;
}

static double normal_density(double x) {
    return exp(-x * x / 2) / sqrt(2 * pi);
}

static double gelu_tanh_inner(double x) {
    return sqrt(2 / pi) * (x + 0.044715 * x * x * x);
}

static double function(fv_activation kind, double constant, double x) {
    switch (kind) {
    case FV_RELU:
        return fmax(x, 0);
    case FV_SIGMOID:
        return sigmoid(x);
    case FV_TANH:
        return tanh(x);
    case FV_RELU6:
        return fmin(fmax(x, 0), 6);
    case FV_LEAKY_RELU:
        return x > 0 ? x : constant * x;
    case FV_ELU:
        return x > 0 ? x : constant * expm1(x);
    case FV_SELU:
        return selu_scale * (x > 0 ? x : selu_alpha * expm1(x));
    case FV_GELU:
        return x * normal_integral(x);
    case FV_GELU_TANH:
        return x * sigmoid(2 * gelu_tanh_inner(x)); /* (1 + tanh(u)) / 2 = sigmoid(2 u) */
    case FV_SILU:
        return x * sigmoid(x);
    case FV_MISH:
        return x * tanh(softplus(x));
    case FV_HARD_SIGMOID:
        return hard_sigmoid(constant, x);
    case FV_HARD_SWISH:
        return x * hard_sigmoid(1.0 / 6, x);
    case FV_SOFTPLUS:
        return softplus(x);
    case FV_SOFTSIGN:
        return x / (1 + fabs(x));
    case FV_SCALED_TANH:
        return 1.7159 * tanh(2.0 / 3 * x);
    default:
        return x;
    }
}

static double square(double x) {
    return x * x;
}

static double derivative(fv_activation kind, double constant, double x) {
    double s = sigmoid(x), t;
    switch (kind) {
    case FV_RELU:
        return x > 0;
    case FV_SIGMOID:
        return s * (1 - s);
    case FV_TANH:
        return 1 - square(tanh(x));
    case FV_RELU6:
        return x > 0 && x < 6;
    case FV_LEAKY_RELU:
        return x > 0 ? 1 : constant;
    case FV_ELU:
        return x > 0 ? 1 : constant * exp(x);
    case FV_SELU:
        return selu_scale * (x > 0 ? 1 : selu_alpha * exp(x));
    case FV_GELU:
        return normal_integral(x) + x * normal_density(x);
    case FV_GELU_TANH:
        t = tanh(gelu_tanh_inner(x));
        return (1 + t) / 2 + x / 2 * (1 - t * t) * sqrt(2 / pi) * (1 + 3 * 0.044715 * x * x);
    case FV_SILU:
        return s + x * s * (1 - s);
    case FV_MISH:
        t = tanh(softplus(x));
        return t + x * (1 - t * t) * s;
    case FV_HARD_SIGMOID:
        return hard_sigmoid_slope(constant, x);
    case FV_HARD_SWISH:
        return hard_sigmoid(1.0 / 6, x) + x * hard_sigmoid_slope(1.0 / 6, x);
    case FV_SOFTPLUS:
        return s;
    case FV_SOFTSIGN:
        return 1 / square(1 + fabs(x));
    case FV_SCALED_TANH:
        return 1.7159 * 2 / 3 * (1 - square(tanh(2.0 / 3 * x)));
    default:
        return 1;
    }
}

/* ---- A row: softmax and log softmax -----------------------------------------------------------
 */

static double log_sum(int channels, const double *x) {
    double largest = x[0], sum = 0;
    for (int c = 1; c < channels; c++)
        largest = fmax(largest, x[c]);
    for (int c = 0; c < channels; c++)
        sum += exp(x[c] - largest);
    return largest + log(sum);
}

static void softmax(bool logarithm, int channels, const double *x, double *y) {
    double log_of_sum = log_sum(channels, x);
    for (int c = 0; c < channels; c++)
        y[c] = logarithm ? x[c] - log_of_sum : exp(x[c] - log_of_sum);
}

/* The Jacobian of softmax: dy_k / dx_c = y_k ((k == c) - y_c). */
static void softmax_gradient(int channels, const double *y, const double *dy, double *dx) {
    for (int c = 0; c < channels; c++) {
        dx[c] = 0;
        for (int k = 0; k < channels; k++)
            dx[c] += dy[k] * y[k] * ((k == c) - y[c]);
    }
}

/* That of its logarithm: dy_k / dx_c = (k == c) - exp(y_c). */
static void log_softmax_gradient(int channels, const double *y, const double *dy, double *dx) {
    for (int c = 0; c < channels; c++) {
        dx[c] = 0;
        for (int k = 0; k < channels; k++)
            dx[c] += dy[k] * ((k == c) - exp(y[c]));
    }
}

/* ---- Arrays -----------------------------------------------------------------------------------
 */

void ref_activate(fv_activation kind, double constant, size_t rows, int channels, const double *x,
                  double *y) {
    for (size_t r = 0; r < rows; r++, x += channels, y += channels)
        if (kind == FV_SOFTMAX || kind == FV_LOG_SOFTMAX)
            softmax(kind == FV_LOG_SOFTMAX, channels, x, y);
        else
            for (int c = 0; c < channels; c++)
                y[c] = function(kind, constant, x[c]);
}

void ref_activate_gradient(fv_activation kind, double constant, size_t rows, int channels,
                           const double *x, const double *dy, double *dx) {
    bool logarithm = kind == FV_LOG_SOFTMAX;
    double *y = malloc((size_t)channels * sizeof(double));
    if (!y)
        abort();
    for (size_t r = 0; r < rows; r++, x += channels, dy += channels, dx += channels)
        if (kind == FV_SOFTMAX || logarithm) {
            softmax(logarithm, channels, x, y);
            (logarithm ? log_softmax_gradient : softmax_gradient)(channels, y, dy, dx);
        } else
            for (int c = 0; c < channels; c++)
                dx[c] = dy[c] * derivative(kind, constant, x[c]);
    free(y);
}

void ref_activation(fv_activation kind, size_t rows, int channels, const double *x, double *y) {
    ref_activate(kind, ref_activation_constant(kind), rows, channels, x, y);
}

static double derivative_by_output(fv_activation kind, double constant, double x, double y) {
    switch (kind) {
    case FV_RELU:
        return y > 0;
    case FV_SIGMOID:
        return y * (1 - y);
    case FV_TANH:
        return 1 - y * y;
    case FV_RELU6:
        return y > 0 && y < 6;
    case FV_LEAKY_RELU:
        return y > 0 ? 1 : constant;
    case FV_ELU:
        return y > 0 ? 1 : y + constant;
    case FV_SELU:
        return y > 0 ? selu_scale : y + selu_scale * selu_alpha;
    case FV_HARD_SIGMOID:
        return y > 0 && y < 1 ? constant : 0;
    case FV_SOFTPLUS:
        return -expm1(-y);
    case FV_SOFTSIGN:
        return square(1 - fabs(y));
    case FV_SCALED_TANH:
        return 1.7159 * 2 / 3 * (1 - square(y / 1.7159));
    default:
        return derivative(kind, constant, x);
    }
}

void ref_activation_gradient(fv_activation kind, double constant, size_t rows, int channels,
                             const double *x, const double *y, const double *dy, double *dx) {
    for (size_t r = 0; r < rows; r++, x += channels, y += channels, dy += channels, dx += channels)
        if (kind == FV_SOFTMAX)
            softmax_gradient(channels, y, dy, dx);
        else if (kind == FV_LOG_SOFTMAX)
            log_softmax_gradient(channels, y, dy, dx);
        else
            for (int c = 0; c < channels; c++)
                dx[c] = dy[c] * derivative_by_output(kind, constant, x[c], y[c]);
}

/* ---- prelu ------------------------------------------------------------------------------------
 */

void ref_prelu(size_t rows, int channels, bool shared, const double *x, const double *slope,
               double *y) {
    for (size_t r = 0; r < rows; r++, x += channels, y += channels)
        for (int c = 0; c < channels; c++)
            y[c] = x[c] > 0 ? x[c] : slope[shared ? 0 : c] * x[c];
}

void ref_prelu_gradient(size_t rows, int channels, bool shared, const double *x,
                        const double *slope, const double *dy, double *dx, double *dslope) {
    for (int c = 0; c < (shared ? 1 : channels); c++)
        dslope[c] = 0;
    for (size_t r = 0; r < rows; r++, x += channels, dy += channels, dx += channels)
        for (int c = 0; c < channels; c++) {
            int at = shared ? 0 : c;
            dx[c] = x[c] > 0 ? dy[c] : slope[at] * dy[c];
            if (!(x[c] > 0))
                dslope[at] += x[c] * dy[c];
        }
}
