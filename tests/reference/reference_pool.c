/* The oracle of max and average pooling, forward and backward. Called by tests/test_*.c. */
#include "reference.h"

/* Output value number `at` of all samples, seen through cell number `cell` of its window: the
 * index of the input value there. False in the padding. Both are numbered in memory's order. */
static bool input_under(const ref_window *w, int channels, size_t at, int cell, size_t *index) {
    size_t channel = at % (size_t)channels, pixel = at / (size_t)channels;
    int in[3];
    for (int axis = 2; axis >= 0; axis--) {
        int o = (int)(pixel % (size_t)w->out[axis]), k = cell % w->kernel[axis];
        pixel /= (size_t)w->out[axis];
        cell /= w->kernel[axis];
        in[axis] = o * w->stride[axis] + k - w->before[axis];
        if (in[axis] < 0 || in[axis] >= w->in[axis])
            return false;
    }
    *index = pixel; /* what is left is the sample */
    for (int axis = 0; axis < 3; axis++)
        *index = *index * (size_t)w->in[axis] + (size_t)in[axis];
    *index = *index * (size_t)channels + channel;
    return true;
}

/* The index of the largest input value under an output value, the first of equals. */
static size_t largest_under(const ref_window *w, int channels, const double *x, size_t at) {
    bool found = false;
    size_t largest = 0;
    for (int cell = 0; cell < ref_cells(w->kernel); cell++) {
        size_t i;
        if (input_under(w, channels, at, cell, &i) && (!found || x[i] > x[largest])) {
            largest = i;
            found = true;
        }
    }
    return largest;
}

static size_t values(int samples, const int size[3], int channels) {
    return (size_t)samples * (size_t)ref_cells(size) * (size_t)channels;
}

void ref_maxpool(const ref_window *w, int samples, int channels, const double *x, double *y) {
    for (size_t at = 0; at < values(samples, w->out, channels); at++)
        y[at] = x[largest_under(w, channels, x, at)];
}

void ref_maxpool_gradient(const ref_window *w, int samples, int channels, const double *x,
                          const double *dy, double *dx) {
    for (size_t i = 0; i < values(samples, w->in, channels); i++)
        dx[i] = 0;
    for (size_t at = 0; at < values(samples, w->out, channels); at++)
        dx[largest_under(w, channels, x, at)] += dy[at];
}

/* What the sum under an output value is divided by. */
static double divisor(const ref_window *w, bool count_include_pad, int channels, size_t at) {
    int cells = 0;
    size_t i;
    for (int cell = 0; cell < ref_cells(w->kernel); cell++)
        cells += count_include_pad || input_under(w, channels, at, cell, &i);
    return cells;
}

void ref_avgpool(const ref_window *w, bool count_include_pad, int samples, int channels,
                 const double *x, double *y) {
    for (size_t at = 0; at < values(samples, w->out, channels); at++) {
        double sum = 0;
        for (int cell = 0; cell < ref_cells(w->kernel); cell++) {
            size_t i;
            if (input_under(w, channels, at, cell, &i))
                sum += x[i];
        }
        y[at] = sum / divisor(w, count_include_pad, channels, at);
    }
}

void ref_avgpool_gradient(const ref_window *w, bool count_include_pad, int samples, int channels,
                          const double *dy, double *dx) {
    for (size_t i = 0; i < values(samples, w->in, channels); i++)
        dx[i] = 0;
    for (size_t at = 0; at < values(samples, w->out, channels); at++) {
        double share = dy[at] / divisor(w, count_include_pad, channels, at);
        for (int cell = 0; cell < ref_cells(w->kernel); cell++) {
            size_t i;
            if (input_under(w, channels, at, cell, &i))
                dx[i] += share;
        }
    }
}
