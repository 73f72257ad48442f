/* Depthwise convolution of one row of pixels, channel by channel: no sum runs over channels, so a
 * vector of them goes through together. Forward and both gradients; see fv_depthwise in kernels.h.
 */
#include "kernels/local.h"

enum { TILE = 8 }; /* sums kept in registers; speed only */

FV_INLINE vec load_channels(const real *p, int count) {
    return count == VL ? load(p) : load_some(p, count);
}

FV_INLINE void store_channels(real *p, vec v, int count) {
    if (count == VL)
        store(p, v);
    else
        store_some(p, v, count);
}

/* `pixels` of the row, the `count` channels from `channel` on. */
FV_INLINE void row_tile(const fv_depthwise *p, int pixel, int channel, int count,
                        const int pixels) {
    vec sum[TILE];
    const real *x = p->x + pixel * p->x_pixel + channel;
    real *y = p->y + pixel * p->y_pixel + channel;
    vec start = p->bias ? load(p->bias + channel) : (vec){0};
    FV_UNROLL
    for (int i = 0; i < pixels; i++)
        sum[i] = start;
    for (int t = 0; t < p->terms; t++) {
        const real *cell = x + p->x_offset[t];
        vec weight = load(p->w + p->w_offset[t] + channel);
        FV_UNROLL
        for (int i = 0; i < pixels; i++)
            sum[i] += load(cell + i * p->x_pixel) * weight;
    }
    if (p->relu) {
        vec bound = upper_bound(p->most);
        FV_UNROLL
        for (int i = 0; i < pixels; i++)
            sum[i] = smaller(bound, rectify(sum[i]));
    }
    FV_UNROLL
    for (int i = 0; i < pixels; i++)
        store_channels(y + i * p->y_pixel, sum[i], count);
}

/* The gradient of `terms` kernel cells. */
FV_INLINE void weights_tile(const fv_depthwise *p, int term, int channel, int count,
                            const int terms) {
    vec sum[TILE];
    const real *x = p->x + channel, *dy = p->dy + channel;
    const ptrdiff_t *x_offset = p->x_offset + term, *w_offset = p->w_offset + term;
    FV_UNROLL
    for (int t = 0; t < terms; t++)
        sum[t] = load_channels(p->dw + w_offset[t] + channel, count);
    for (int i = 0; i < p->pixels; i++, x += p->x_pixel, dy += p->y_pixel) {
        vec gradient = load(dy);
        FV_UNROLL
        for (int t = 0; t < terms; t++)
            sum[t] += load(x + x_offset[t]) * gradient;
    }
    FV_UNROLL
    for (int t = 0; t < terms; t++)
        store_channels(p->dw + w_offset[t] + channel, sum[t], count);
}

/* `first`: pixel or term; a function for each size, since the compiler must know it. */
typedef void tile_function(const fv_depthwise *p, int first, int channel, int count);

#define TILES(size)                                                                                \
    static void row_##size(const fv_depthwise *p, int first, int channel, int count) {             \
        row_tile(p, first, channel, count, size);                                                  \
    }                                                                                              \
    static void weights_##size(const fv_depthwise *p, int first, int channel, int count) {         \
        weights_tile(p, first, channel, count, size);                                              \
    }

TILES(1)
TILES(2)
TILES(3)
TILES(4)
TILES(5)
TILES(6)
TILES(7)
TILES(8)

static tile_function *const row_tiles[TILE] = {row_1, row_2, row_3, row_4,
                                               row_5, row_6, row_7, row_8};
static tile_function *const weights_tiles[TILE] = {weights_1, weights_2, weights_3, weights_4,
                                                   weights_5, weights_6, weights_7, weights_8};

static void each_channel(const fv_depthwise *p, tile_function *tile, int first) {
    for (int c = 0; c < p->channels; c += VL)
        tile(p, first, c, p->channels - c < VL ? p->channels - c : VL);
}

/* Tiles of nearly equal size, as in product.c. */
static void each_tile(const fv_depthwise *p, tile_function *const tiles[TILE], int size) {
    int blocks = (size + TILE - 1) / TILE;
    for (int b = 0, first = 0; b < blocks; b++) {
        int count = size / blocks + (b < size % blocks);
        each_channel(p, tiles[count - 1], first);
        first += count;
    }
}

void FV_LOCAL(depthwise)(const fv_depthwise *p) {
    if (p->pixels > 0)
        each_tile(p, row_tiles, p->pixels);
}

void FV_LOCAL(depthwise_weights)(const fv_depthwise *p) {
    each_tile(p, weights_tiles, p->terms);
}
