/* The oracle of layers of several inputs, add, multiply and maximum, and of rbf. Called by
 * tests/test_*.c. */
#include "reference.h"

/* ---- add, multiply, maximum -------------------------------------------------------------------
 */

static bool one_place(const fv_shape *shape) {
    return fv_shape_count(shape) == (size_t)shape->channels;
}

/* The output is the first input with several places, or the one of most axes; all that have several
 * places are equal, and all have as many channels. */
bool ref_join_output(const fv_shape *inputs, int count, fv_shape *output) {
    int first = -1;
    for (int i = 0; i < count && first < 0; i++)
        first = one_place(&inputs[i]) ? -1 : i;
    for (int i = 0; i < count && (first < 0 || one_place(&inputs[first])); i++)
        if (first < 0 || inputs[i].rank > inputs[first].rank)
            first = i;
    *output = inputs[first];
    bool fit = true;
    for (int i = 0; i < count; i++) {
        fit = fit && inputs[i].channels == output->channels;
        if (one_place(&inputs[i]))
            continue;
        fit = fit && inputs[i].rank == output->rank;
        for (int axis = 0; axis < output->rank && fit; axis++)
            fit = inputs[i].size[axis] == output->size[axis];
    }
    return fit;
}

/* The index in an input of what output value `at` sees of it. */
static size_t seen(const fv_shape *input, const fv_shape *output, size_t at) {
    size_t values = fv_shape_count(output), sample = at / values;
    return sample * fv_shape_count(input) + at % values % fv_shape_count(input);
}

void ref_join(ref_join_kind kind, const fv_shape *inputs, int count, int samples, double *const *x,
              double *y) {
    fv_shape output;
    ref_join_output(inputs, count, &output);
    for (size_t at = 0; at < (size_t)samples * fv_shape_count(&output); at++) {
        y[at] = x[0][seen(&inputs[0], &output, at)];
        for (int i = 1; i < count; i++) {
            double value = x[i][seen(&inputs[i], &output, at)];
            y[at] = kind == REF_ADD        ? y[at] + value
                    : kind == REF_MULTIPLY ? y[at] * value
                    : value > y[at]        ? value
                                           : y[at];
        }
    }
}

/* d y / d x[which] at an output value. */
static double derivative(ref_join_kind kind, const fv_shape *inputs, int count, int which,
                         const fv_shape *output, double *const *x, size_t at) {
    double own = x[which][seen(&inputs[which], output, at)], product = 1;
    bool wins = true;
    for (int i = 0; i < count; i++) {
        double value = x[i][seen(&inputs[i], output, at)];
        if (i != which)
            product *= value;
        wins = wins && (i < which ? own > value : own >= value);
    }
    return kind == REF_ADD ? 1 : kind == REF_MULTIPLY ? product : wins;
}

void ref_join_back(ref_join_kind kind, const fv_shape *inputs, int count, int which, int samples,
                   double *const *x, const double *dy, double *dx) {
    fv_shape output;
    ref_join_output(inputs, count, &output);
    for (size_t at = 0; at < (size_t)samples * fv_shape_count(&output); at++)
        dx[seen(&inputs[which], &output, at)] +=
            dy[at] * derivative(kind, inputs, count, which, &output, x, at);
}

/* ---- rbf --------------------------------------------------------------------------------------
 */

void ref_rbf(int samples, int inputs, int units, const double *x, const double *weight, double *y) {
    for (int s = 0; s < samples; s++)
        for (int u = 0; u < units; u++) {
            double sum = 0;
            for (int k = 0; k < inputs; k++) {
                double distance = x[s * inputs + k] - weight[u * inputs + k];
                sum += distance * distance;
            }
            y[s * units + u] = sum;
        }
}

void ref_rbf_back(int samples, int inputs, int units, const double *x, const double *weight,
                  const double *dy, double *dx, double *dweight) {
    for (int s = 0; s < samples; s++)
        for (int u = 0; u < units; u++)
            for (int k = 0; k < inputs; k++) {
                double slope = 2 * (x[s * inputs + k] - weight[u * inputs + k]) * dy[s * units + u];
                dx[s * inputs + k] += slope;
                dweight[u * inputs + k] -= slope;
            }
}
