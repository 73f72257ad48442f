/* Max and average pooling of one sample over windows in one to three axes. Channels lie side by
 * side, so vectors of channels walk a window together. */
#include "kernels/local.h"

enum { WIDE = 4 }; /* speed only: vectors of channels that walk a window together */

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

FV_INLINE vec load_up_to(const real *p, const int count) {
    return count == VL ? load(p) : load_some(p, count);
}

FV_INLINE void store_up_to(real *p, vec v, const int count) {
    if (count == VL)
        store(p, v);
    else
        store_some(p, v, count);
}

/* Of `vectors` vectors of channels (of one, the last, with `count` channels) the largest value and
 * its cell. Strictly greater: the first of equals wins. NaN always wins. */
FV_INLINE void max_channels(const fv_window *w, const span *s, const real *x, const int vectors,
                            const int count, vec *largest, ivec *winner) {
    FV_UNROLL
    for (int v = 0; v < vectors; v++) {
        largest[v] = splat(-(real)INFINITY);
        winner[v] = cell_number(w, s, s->low[0], s->low[1], s->low[2]) - (ivec){0};
    }
    for (int d = s->low[0]; d < s->high[0]; d++)
        for (int h = s->low[1]; h < s->high[1]; h++) {
            const real *p = x + pixel(w, d, h, s->low[2]);
            ivec cell = cell_number(w, s, d, h, s->low[2]) - (ivec){0};
            for (int i = s->low[2]; i < s->high[2]; i++, p += w->channels, cell += 1)
                FV_UNROLL
            for (int v = 0; v < vectors; v++) {
                vec value = load_up_to(p + v * VL, count);
                ivec better = (ivec)(value > largest[v]) | (ivec)(value != value);
                largest[v] = choose(better, value, largest[v]);
                winner[v] = choose_lanes(better, cell, winner[v]);
            }
        }
}

/* Winners as bytes or as int32_t, to and from lanes. The bytes of WIDE vectors take turns: those of
 * a lane lie together. */
typedef uint8_t bytes_of_lanes __attribute__((vector_size(VL), aligned(1), may_alias));
typedef uint32_t words_of_lanes __attribute__((vector_size(4 * VL), aligned(1), may_alias));

FV_INLINE void store_winners(bool bytes, void *winners, size_t index, const int vectors,
                             const int count, const ivec *winner) {
    words_of_lanes all = {0};
    for (int v = 0; bytes && v < vectors; v++)
        all |= __builtin_convertvector(winner[v], words_of_lanes) << (8 * v);
    if (bytes && vectors == WIDE) {
        memcpy((uint8_t *)winners + index, &all, sizeof all);
    } else if (bytes) {
        bytes_of_lanes few = __builtin_convertvector(all, bytes_of_lanes);
        memcpy((uint8_t *)winners + index, &few, (size_t)count);
    }
    for (int v = 0; !bytes && v < vectors; v++) {
        all = __builtin_convertvector(winner[v], words_of_lanes);
        memcpy((int32_t *)winners + index + v * VL, &all, (size_t)count * sizeof(int32_t));
    }
}

FV_INLINE void load_winners(bool bytes, const void *winners, size_t index, const int vectors,
                            const int count, ivec *winner) {
    words_of_lanes all = {0};
    bytes_of_lanes few = {0};
    if (bytes && vectors == WIDE) {
        memcpy(&all, (const uint8_t *)winners + index, sizeof all);
    } else if (bytes) {
        memcpy(&few, (const uint8_t *)winners + index, (size_t)count);
        all = __builtin_convertvector(few, words_of_lanes);
    }
    for (int v = 0; v < vectors; v++) {
        if (!bytes)
            memcpy(&all, (const int32_t *)winners + index + v * VL,
                   (size_t)count * sizeof(int32_t));
        words_of_lanes one = all;
        if (bytes)
            one = all >> (8 * v) & 255;
        winner[v] = __builtin_convertvector(one, ivec);
    }
}

FV_INLINE void max_block(const fv_window *w, const span *s, const pool_arrays *arrays, size_t index,
                         int channel, const int vectors, const int count) {
    vec largest[WIDE];
    ivec winner[WIDE];
    max_channels(w, s, arrays->x + channel, vectors, count, largest, winner);
    index += (size_t)channel;
    FV_UNROLL
    for (int v = 0; v < vectors; v++)
        store_up_to(arrays->y + index + v * VL, largest[v], count);
    if (arrays->winners)
        store_winners(narrow(w), arrays->winners, index, vectors, count, winner);
}

FV_INLINE void max_window(const fv_window *w, const span *s, size_t position, void *argument) {
    size_t index = position * (size_t)w->channels;
    int c = 0;
    for (; c + WIDE * VL <= w->channels; c += WIDE * VL)
        max_block(w, s, argument, index, c, WIDE, VL);
    for (; c + VL <= w->channels; c += VL)
        max_block(w, s, argument, index, c, 1, VL);
    if (c < w->channels)
        max_block(w, s, argument, index, c, 1, w->channels - c);
}

void FV_LOCAL(maxpool)(const fv_window *w, const real *x, real *y, void *winners) {
    pool_arrays arrays = {.x = x, .y = y, .winners = winners};
    each_window(w, max_window, &arrays);
}

/* Each cell of the window gets the gradient of the channels that it won; alone: of no other window.
 */
FV_INLINE void max_back_block(const fv_window *w, const span *s, const pool_arrays *arrays,
                              size_t index, int channel, const int vectors, const int count,
                              const bool alone) {
    vec dy[WIDE];
    ivec winner[WIDE];
    index += (size_t)channel;
    load_winners(narrow(w), arrays->winners, index, vectors, count, winner);
    FV_UNROLL
    for (int v = 0; v < vectors; v++)
        dy[v] = load_up_to(arrays->dy + index + v * VL, count);
    for (int d = s->low[0]; d < s->high[0]; d++)
        for (int h = s->low[1]; h < s->high[1]; h++) {
            real *dx = arrays->dx + pixel(w, d, h, s->low[2]) + channel;
            ivec cell = cell_number(w, s, d, h, s->low[2]) - (ivec){0};
            for (int i = s->low[2]; i < s->high[2]; i++, dx += w->channels, cell += 1)
                FV_UNROLL
            for (int v = 0; v < vectors; v++) {
                vec won = keep_where((ivec)(winner[v] == cell), dy[v]);
                if (!alone)
                    won += load_up_to(dx + v * VL, count);
                store_up_to(dx + v * VL, won, count);
            }
        }
}

FV_INLINE void max_back_window(const fv_window *w, const span *s, size_t position, void *argument,
                               const bool alone) {
    size_t index = position * (size_t)w->channels;
    int c = 0;
    for (; c + WIDE * VL <= w->channels; c += WIDE * VL)
        max_back_block(w, s, argument, index, c, WIDE, VL, alone);
    for (; c + VL <= w->channels; c += VL)
        max_back_block(w, s, argument, index, c, 1, VL, alone);
    if (c < w->channels)
        max_back_block(w, s, argument, index, c, 1, w->channels - c, alone);
}

FV_INLINE void add_to_window(const fv_window *w, const span *s, size_t position, void *argument) {
    max_back_window(w, s, position, argument, false);
}

FV_INLINE void set_window(const fv_window *w, const span *s, size_t position, void *argument) {
    max_back_window(w, s, position, argument, true);
}

static size_t input_bytes(const fv_window *w) {
    return (size_t)w->in[0] * (size_t)w->in[1] * (size_t)w->in[2] * (size_t)w->channels *
           sizeof(real);
}

/* Whether each cell is in one window and no more. */
static bool tiled(const fv_window *w) {
    for (int i = 0; i < 3; i++)
        if (w->adaptive || w->stride[i] != w->size[i] ||
            (int64_t)w->out[i] * w->size[i] - w->before[i] < w->in[i])
            return false;
    return true;
}

void FV_LOCAL(maxpool_back)(const fv_window *w, const real *dy, const void *winners, real *dx) {
    pool_arrays arrays = {.dy = dy, .dx = dx, .winners = (void *)(uintptr_t)winners};
    if (tiled(w)) {
        each_window(w, set_window, &arrays);
        return;
    }
    memset(dx, 0, input_bytes(w));
    each_window(w, add_to_window, &arrays);
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
