/* The oracle of pooling: each output value looks through its window. Called by tests/test_*.c. */
#include "reference.h"

bool ref_pool_window(const fv_shape *input, const fv_pool_options *o, ref_window *w) {
    /* The stride is the window unless given. */
    int stride[3] = {o->stride[0], o->stride[1], o->stride[2]};
    for (int axis = 0; axis < 3 && o->stride[0] == 0; axis++)
        stride[axis] = o->size[axis];
    bool fits = ref_make_window(input,
                                &(ref_slide){.kernel = o->size,
                                             .stride = stride,
                                             .padding = o->padding,
                                             .pad = o->pad,
                                             .ceil = o->ceil},
                                w);
    for (int axis = 0; axis < input->rank && o->padding == FV_VALID; axis++)
        fits =
            fits && w->before[axis] <= w->kernel[axis] / 2 && w->after[axis] <= w->kernel[axis] / 2;
    return fits;
}

bool ref_adaptive_window(const fv_shape *input, const int size[3], ref_window *w) {
    bool fits = input->rank > 0;
    *w = (ref_window){.rank = input->rank};
    for (int axis = 0; axis < 3; axis++) {
        w->in[axis] = w->out[axis] = w->kernel[axis] = w->stride[axis] = w->dilation[axis] = 1;
        if (axis >= input->rank)
            fits = fits && size[axis] == 0;
        else {
            w->in[axis] = input->size[axis];
            w->out[axis] = size[axis] > 0 ? size[axis] : size[0];
        }
    }
    return fits;
}

/* The real cells [begin, end) under window o of an axis, and how many there are with those of the
 * padding; cells past the padding do not count. */
typedef struct range {
    int begin, end, padded;
} range;

static range range_of(const ref_pool *pool, int axis, int o) {
    const ref_window *w = &pool->window;
    int in = w->in[axis], out = w->out[axis];
    if (pool->adaptive) {
        int begin = o * in / out, end = ((o + 1) * in + out - 1) / out;
        return (range){begin, end, end - begin};
    }
    int begin = o * w->stride[axis] - w->before[axis], end = begin + w->kernel[axis];
    int last = in + w->after[axis];
    int padded = (end < last ? end : last) - begin;
    return (range){begin < 0 ? 0 : begin, end < in ? end : in, padded};
}

/* The window of output value number `at`. */
typedef struct view {
    range axis[3];
    size_t sample, channel;
} view;

static view view_of(const ref_pool *pool, size_t at) {
    view v = {.channel = at % (size_t)pool->channels};
    at /= (size_t)pool->channels;
    for (int axis = 2; axis >= 0; axis--) {
        v.axis[axis] = range_of(pool, axis, (int)(at % (size_t)pool->window.out[axis]));
        at /= (size_t)pool->window.out[axis];
    }
    v.sample = at;
    return v;
}

static int real_cells(const view *v) {
    int cells = 1;
    for (int axis = 0; axis < 3; axis++)
        cells *= v->axis[axis].end - v->axis[axis].begin;
    return cells;
}

/* The index of real cell number `cell` of a window, in memory's order. */
static size_t index_of(const ref_pool *pool, const view *v, int cell) {
    int at[3];
    for (int axis = 2; axis >= 0; axis--) {
        int size = v->axis[axis].end - v->axis[axis].begin;
        at[axis] = v->axis[axis].begin + cell % size;
        cell /= size;
    }
    size_t index = v->sample;
    for (int axis = 0; axis < 3; axis++)
        index = index * (size_t)pool->window.in[axis] + (size_t)at[axis];
    return index * (size_t)pool->channels + v->channel;
}

static size_t outputs(const ref_pool *pool) {
    return (size_t)pool->samples * (size_t)ref_cells(pool->window.out) * (size_t)pool->channels;
}

static size_t largest_under(const ref_pool *pool, const double *x, size_t at) {
    view v = view_of(pool, at);
    size_t largest = index_of(pool, &v, 0);
    for (int cell = 1; cell < real_cells(&v); cell++) {
        size_t i = index_of(pool, &v, cell);
        if (x[i] > x[largest])
            largest = i;
    }
    return largest;
}

void ref_maxpool(const ref_pool *pool, const double *x, double *y) {
    for (size_t at = 0; at < outputs(pool); at++)
        y[at] = x[largest_under(pool, x, at)];
}

void ref_maxpool_back(const ref_pool *pool, const double *x, const double *dy, double *dx) {
    for (size_t at = 0; at < outputs(pool); at++)
        dx[largest_under(pool, x, at)] += dy[at];
}

static double divisor(const ref_pool *pool, const view *v) {
    if (!pool->count_include_pad)
        return real_cells(v);
    return (double)v->axis[0].padded * v->axis[1].padded * v->axis[2].padded;
}

void ref_avgpool(const ref_pool *pool, const double *x, double *y) {
    for (size_t at = 0; at < outputs(pool); at++) {
        view v = view_of(pool, at);
        double sum = 0;
        for (int cell = 0; cell < real_cells(&v); cell++)
            sum += x[index_of(pool, &v, cell)];
        y[at] = sum / divisor(pool, &v);
    }
}

void ref_avgpool_back(const ref_pool *pool, const double *dy, double *dx) {
    for (size_t at = 0; at < outputs(pool); at++) {
        view v = view_of(pool, at);
        for (int cell = 0; cell < real_cells(&v); cell++)
            dx[index_of(pool, &v, cell)] += dy[at] / divisor(pool, &v);
    }
}

void ref_subsample(const ref_pool *pool, const double *x, const double *coefficient,
                   const double *bias, double *y) {
    for (size_t at = 0; at < outputs(pool); at++) {
        view v = view_of(pool, at);
        double sum = 0;
        for (int cell = 0; cell < real_cells(&v); cell++)
            sum += x[index_of(pool, &v, cell)];
        y[at] = coefficient[v.channel] * sum + bias[v.channel];
    }
}

void ref_subsample_back(const ref_pool *pool, const double *x, const double *coefficient,
                        const double *dy, double *dx, double *dcoefficient, double *dbias) {
    for (size_t at = 0; at < outputs(pool); at++) {
        view v = view_of(pool, at);
        dbias[v.channel] += dy[at];
        for (int cell = 0; cell < real_cells(&v); cell++) {
            size_t i = index_of(pool, &v, cell);
            dx[i] += coefficient[v.channel] * dy[at];
            dcoefficient[v.channel] += x[i] * dy[at];
        }
    }
}

bool ref_avgpool_exact(const ref_pool *pool) {
    bool exact = true;
    for (size_t at = 0; at < outputs(pool); at += (size_t)pool->channels) {
        view v = view_of(pool, at);
        int cells = (int)divisor(pool, &v);
        exact = exact && (cells & (cells - 1)) == 0;
    }
    return exact;
}

size_t ref_pool_cells(const ref_pool *pool) {
    int most = 0;
    for (size_t at = 0; at < outputs(pool); at += (size_t)pool->channels) {
        view v = view_of(pool, at);
        most = real_cells(&v) > most ? real_cells(&v) : most;
    }
    return (size_t)most;
}
