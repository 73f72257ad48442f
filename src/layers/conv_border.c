/* Copies of a sample with zeros around it, for all convolution algorithms. */
#include "layers/conv.h"
#include <string.h>

/* Each channel `repeat` times. */
static void repeat_channels(const fv_border *b, const real *from, real *to) {
    for (int c = 0; c < b->channels; c++)
        for (int i = 0; i < b->repeat; i++)
            *to++ = from[c];
}

static void copy_pixels(const fv_border *b, const real *from, real *to) {
    size_t used = (size_t)b->channels * sizeof(real);
    if (b->repeat > 1) {
        for (int i = 0; i < b->size[2]; i++)
            repeat_channels(b, from + (ptrdiff_t)i * b->channels, to + (ptrdiff_t)i * b->row);
        return;
    }
    if (b->row == b->channels) {
        memcpy(to, from, (size_t)b->size[2] * used);
        return;
    }
    for (int i = 0; i < b->size[2]; i++, from += b->channels, to += b->row) {
        memcpy(to, from, used);
        memset(to + b->channels, 0, (size_t)(b->row - b->channels) * sizeof(real));
    }
}

typedef struct border_copy {
    const fv_border *border;
    const real *from;
    real *to;
} border_copy;

/* One row of the copy, counted through the planes. */
static void copy_row(void *argument, int row, int thread) {
    const border_copy *copy = argument;
    const fv_border *b = copy->border;
    size_t pixel = (size_t)b->row, width = (size_t)(b->low[2] + b->size[2] + b->high[2]);
    int rows = b->low[1] + b->size[1] + b->high[1];
    int d = row / rows - b->low[0], h = row % rows - b->low[1];
    real *to = copy->to + (size_t)row * width * pixel;
    (void)thread;
    if (d < 0 || d >= b->size[0] || h < 0 || h >= b->size[1]) {
        memset(to, 0, width * pixel * sizeof(real));
        return;
    }
    real *inside = to + (size_t)b->low[2] * pixel;
    memset(to, 0, (size_t)b->low[2] * pixel * sizeof(real));
    copy_pixels(b,
                copy->from + ((size_t)d * (size_t)b->size[1] + (size_t)h) * (size_t)b->size[2] *
                                 (size_t)b->channels,
                inside);
    memset(inside + (size_t)b->size[2] * pixel, 0, (size_t)b->high[2] * pixel * sizeof(real));
}

void fv_copy_with_border(const fv_border *b, fv_pool *pool, const real *from, real *to) {
    border_copy copy = {b, from, to};
    int planes = b->low[0] + b->size[0] + b->high[0], rows = b->low[1] + b->size[1] + b->high[1];
    fv_pool_run(pool, planes * rows, copy_row, &copy);
}
