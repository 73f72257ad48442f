/* Max and average pooling of one sample over windows in one to three axes. Channels lie side by
 * side, so a vector of channels walks a window together. */
#include "kernels/local.h"

/* The part of a window that lies inside the input. */
typedef struct span {
    int low[3], high[3]; /* input cells low <= i < high */
    int start[3];        /* where the window begins, perhaps before 0 */
} span;

static span window_span(const fv_window *w, const int at[3]) {
    span s;
    for (int i = 0; i < 3; i++) {
        s.start[i] = at[i] * w->stride[i] - w->before[i];
        s.low[i] = s.start[i] > 0 ? s.start[i] : 0;
        s.high[i] = s.start[i] + w->size[i] < w->in[i] ? s.start[i] + w->size[i] : w->in[i];
    }
    return s;
}

static span adaptive_span(const fv_window *w, const int at[3]) {
    span s;
    for (int i = 0; i < 3; i++) {
        int64_t in = w->in[i], out = w->out[i];
        s.start[i] = s.low[i] = (int)(at[i] * in / out);
        s.high[i] = (int)(((at[i] + 1) * in + out - 1) / out);
    }
    return s;
}

static ptrdiff_t pixel(const fv_window *w, int d, int h, int x) {
    return (((ptrdiff_t)d * w->in[1] + h) * w->in[2] + x) * w->channels;
}

static lane cell_number(const fv_window *w, const span *s, int d, int h, int x) {
    return ((lane)(d - s->start[0]) * w->size[1] + (h - s->start[1])) * w->size[2] +
           (x - s->start[2]);
}

static bool narrow(const fv_window *w) {
    return (int64_t)w->size[0] * w->size[1] * w->size[2] <= 256;
}

/* Calls back for each output position, in order. */
typedef void at_window(const fv_window *w, const span *s, size_t position, void *argument);

FV_INLINE void each_window(const fv_window *w, at_window *function, void *argument) {
    size_t position = 0;
    int at[3];
    for (at[0] = 0; at[0] < w->out[0]; at[0]++)
        for (at[1] = 0; at[1] < w->out[1]; at[1]++)
            for (at[2] = 0; at[2] < w->out[2]; at[2]++, position++) {
                span s = w->adaptive ? adaptive_span(w, at) : window_span(w, at);
                function(w, &s, position, argument);
            }
}

typedef struct pool_arrays {
    const real *x, *dy;
    real *y, *dx;
    void *winners;
} pool_arrays;

/* `count` channels (VL, or fewer at the end) from `channel` on: largest value and its cell. */
FV_INLINE void max_channels(const fv_window *w, const span *s, const real *x, int channel,
                            int count, vec *largest, ivec *winner) {
    ivec everywhere = ~(ivec){0}; /* the first cell */
    for (int d = s->low[0]; d < s->high[0]; d++)
        for (int h = s->low[1]; h < s->high[1]; h++)
            for (int i = s->low[2]; i < s->high[2]; i++) {
                const real *p = x + pixel(w, d, h, i) + channel;
                vec v = count == VL ? load(p) : load_some(p, count);
                ivec cell = cell_number(w, s, d, h, i) - (ivec){0};
                /* Strictly greater: the first of equals wins. NaN always wins. */
                ivec better = (ivec)(v > *largest) | (ivec)(v != v) | everywhere;
                *largest = choose(better, v, *largest);
                *winner = choose_lanes(better, cell, *winner);
                everywhere = (ivec){0};
            }
}

/* Winners as bytes or as int32_t, to and from lanes. */
typedef uint8_t bytes_of_lanes __attribute__((vector_size(VL), aligned(1), may_alias));
typedef int32_t ints_of_lanes __attribute__((vector_size(4 * VL), aligned(4), may_alias));

FV_INLINE void store_winners(bool bytes, void *winners, size_t index, ivec winner, int count) {
    bytes_of_lanes as_bytes = __builtin_convertvector(winner, bytes_of_lanes);
    ints_of_lanes as_ints = __builtin_convertvector(winner, ints_of_lanes);
    if (bytes)
        memcpy((uint8_t *)winners + index, &as_bytes, (size_t)count);
    else
        memcpy((int32_t *)winners + index, &as_ints, (size_t)count * sizeof(int32_t));
}

FV_INLINE ivec load_winners(bool bytes, const void *winners, size_t index, int count) {
    bytes_of_lanes as_bytes = {0};
    ints_of_lanes as_ints = {0};
    if (bytes) {
        memcpy(&as_bytes, (const uint8_t *)winners + index, (size_t)count);
        return __builtin_convertvector(as_bytes, ivec);
    }
    memcpy(&as_ints, (const int32_t *)winners + index, (size_t)count * sizeof(int32_t));
    return __builtin_convertvector(as_ints, ivec);
}

FV_INLINE void max_window(const fv_window *w, const span *s, size_t position, void *argument) {
    const pool_arrays *arrays = argument;
    for (int c = 0; c < w->channels; c += VL) {
        int count = w->channels - c < VL ? w->channels - c : VL;
        size_t index = position * (size_t)w->channels + (size_t)c;
        vec largest = {0};
        ivec winner = {0};
        if (count == VL) {
            max_channels(w, s, arrays->x, c, VL, &largest, &winner);
            store(arrays->y + index, largest);
        } else {
            max_channels(w, s, arrays->x, c, count, &largest, &winner);
            store_some(arrays->y + index, largest, count);
        }
        if (arrays->winners && count == VL)
            store_winners(narrow(w), arrays->winners, index, winner, VL);
        else if (arrays->winners)
            store_winners(narrow(w), arrays->winners, index, winner, count);
    }
}

void FV_LOCAL(maxpool)(const fv_window *w, const real *x, real *y, void *winners) {
    pool_arrays arrays = {.x = x, .y = y, .winners = winners};
    each_window(w, max_window, &arrays);
}

/* Each cell of the window gets the gradient of the channels that it won. */
FV_INLINE void max_back_channels(const fv_window *w, const span *s, const pool_arrays *arrays,
                                 size_t index, int channel, int count) {
    ivec winner = load_winners(narrow(w), arrays->winners, index, count);
    vec dy = count == VL ? load(arrays->dy + index) : load_some(arrays->dy + index, count);
    for (int d = s->low[0]; d < s->high[0]; d++)
        for (int h = s->low[1]; h < s->high[1]; h++)
            for (int i = s->low[2]; i < s->high[2]; i++) {
                real *dx = arrays->dx + pixel(w, d, h, i) + channel;
                ivec cell = cell_number(w, s, d, h, i) - (ivec){0};
                vec won = keep_where((ivec)(winner == cell), dy);
                if (count == VL)
                    store(dx, load(dx) + won);
                else
                    store_some(dx, load_some(dx, count) + won, count);
            }
}

FV_INLINE void max_back_window(const fv_window *w, const span *s, size_t position, void *argument) {
    const pool_arrays *arrays = argument;
    size_t index = position * (size_t)w->channels;
    int c = 0;
    for (; c + VL <= w->channels; c += VL)
        max_back_channels(w, s, arrays, index + (size_t)c, c, VL);
    if (c < w->channels)
        max_back_channels(w, s, arrays, index + (size_t)c, c, w->channels - c);
}

static size_t input_bytes(const fv_window *w) {
    return (size_t)w->in[0] * (size_t)w->in[1] * (size_t)w->in[2] * (size_t)w->channels *
           sizeof(real);
}

void FV_LOCAL(maxpool_back)(const fv_window *w, const real *dy, const void *winners, real *dx) {
    pool_arrays arrays = {.dy = dy, .dx = dx, .winners = (void *)(uintptr_t)winners};
    memset(dx, 0, input_bytes(w));
    each_window(w, max_back_window, &arrays);
}

static real divisor(const fv_window *w, const span *s) {
    real cells = 1;
    for (int i = 0; i < 3 && !w->sum; i++) {
        int padded = w->in[i] + w->after[i], end = s->start[i] + w->size[i];
        cells *= (real)(w->count_pad ? (end < padded ? end : padded) - s->start[i]
                                     : s->high[i] - s->low[i]);
    }
    return cells;
}

static void average_window(const fv_window *w, const span *s, size_t position, void *argument) {
    const pool_arrays *arrays = argument;
    real *y = arrays->y + position * (size_t)w->channels;
    for (int c = 0; c < w->channels; c++)
        y[c] = 0;
    for (int d = s->low[0]; d < s->high[0]; d++)
        for (int h = s->low[1]; h < s->high[1]; h++)
            for (int i = s->low[2]; i < s->high[2]; i++)
                FV_LOCAL(add)((size_t)w->channels, arrays->x + pixel(w, d, h, i), y);
    real cells = divisor(w, s);
    for (int c = 0; c < w->channels; c++)
        y[c] /= cells;
}

void FV_LOCAL(avgpool)(const fv_window *w, const real *x, real *y) {
    pool_arrays arrays = {.x = x, .y = y};
    each_window(w, average_window, &arrays);
}

static void average_back_window(const fv_window *w, const span *s, size_t position,
                                void *argument) {
    const pool_arrays *arrays = argument;
    const real *dy = arrays->dy + position * (size_t)w->channels;
    real cells = divisor(w, s);
    for (int d = s->low[0]; d < s->high[0]; d++)
        for (int h = s->low[1]; h < s->high[1]; h++)
            for (int i = s->low[2]; i < s->high[2]; i++) {
                real *dx = arrays->dx + pixel(w, d, h, i);
                for (int c = 0; c < w->channels; c++)
                    dx[c] += dy[c] / cells;
            }
}

void FV_LOCAL(avgpool_back)(const fv_window *w, const real *dy, real *dx) {
    pool_arrays arrays = {.dy = dy, .dx = dx};
    memset(dx, 0, input_bytes(w));
    each_window(w, average_back_window, &arrays);
}
