/* Pictures made to fit a net's input: grey or colour, another size, the centre cut out. Called by
 * read.c and, through fovea.h, by the command and users' programs.
 *
 * Along an axis that goes from m to n cells, cell i of n lies at c = (i + 1/2) m / n. Nearest takes
 * cell floor(c). The others take all cells j whose centres are nearer to c than r, with the weights
 * 1 - |j + 1/2 - c| / r divided by their sum: r is 1 (bilinear), or m / n where that is more
 * (antialias), as in Pillow and torchvision. */
#include "base/alloc.h"
#include "base/status.h"
#include "data/data.h"
#include "net/net.h"
#include <limits.h>
#include <math.h>
#include <string.h>

/* ---- Weights along an axis ------------------------------------------------------------------- */

/* `from` cells become `size`, of which the `count` from `first` on are wanted. */
typedef struct axis {
    int64_t from, size, first, count;
} axis;

/* What goes into each wanted cell: `count` cells from `first` on. */
typedef struct tap {
    size_t first, count;
    float *weights;
} tap;

typedef struct taps {
    tap *each;
    float *weights; /* of all, `most` for each */
} taps;

static void free_taps(taps *t) {
    fv_free(t->each);
    fv_free(t->weights);
}

static void take_nearest(const axis *a, int64_t i, tap *t) {
    t->first = (size_t)((2 * i + 1) * a->from / (2 * a->size));
    t->count = 1;
    t->weights[0] = 1;
}

static void take_around(const axis *a, int64_t i, double radius, tap *t) {
    double centre = ((double)i + 0.5) * (double)a->from / (double)a->size, sum = 0;
    double low = floor(centre - radius + 0.5), high = floor(centre + radius + 0.5);
    t->first = low > 0 ? (size_t)low : 0;
    t->count = (size_t)fmin(high, (double)a->from) - t->first;
    for (size_t k = 0; k < t->count; k++)
        sum += fmax(1 - fabs((double)(t->first + k) + 0.5 - centre) / radius, 0);
    for (size_t k = 0; k < t->count; k++)
        t->weights[k] =
            (float)(fmax(1 - fabs((double)(t->first + k) + 0.5 - centre) / radius, 0) / sum);
}

static fv_status make_taps(const axis *a, fv_resize resize, taps *t) {
    bool nearest = a->from == a->size || resize == FV_RESIZE_NEAREST;
    double scale = (double)a->from / (double)a->size;
    double radius = resize == FV_RESIZE_ANTIALIAS && scale > 1 ? scale : 1;
    size_t most = nearest ? 1 : (size_t)ceil(2 * radius) + 1, count = (size_t)a->count, all;
    if (!fv_size_product(count, most, &all))
        return fv_fail(FV_MEMORY, "resizing %lld to %lld cells takes more than any memory holds",
                       (long long)a->from, (long long)a->size);
    t->each = fv_alloc(count, sizeof *t->each);
    t->weights = fv_alloc(all, sizeof *t->weights);
    if (!t->each || !t->weights)
        return FV_MEMORY;
    for (size_t i = 0; i < count; i++) {
        t->each[i].weights = t->weights + i * most;
        if (nearest)
            take_nearest(a, a->first + (int64_t)i, &t->each[i]);
        else
            take_around(a, a->first + (int64_t)i, radius, &t->each[i]);
    }
    return FV_OK;
}

/* ---- Rows ------------------------------------------------------------------------------------ */

/* row = the sum of the tap's rows of `size` values, each by its weight. */
static void blend_rows(const tap *t, size_t size, const float *values, float *restrict row) {
    memset(row, 0, size * sizeof *row);
    for (size_t k = 0; k < t->count; k++) {
        const float *x = values + (t->first + k) * size;
        float weight = t->weights[k];
        for (size_t i = 0; i < size; i++)
            row[i] += weight * x[i];
    }
}

/* Cells of a row that are blended to one. */
static void blend_cells(const tap *t, int channels, const float *row, float *cell) {
    for (int c = 0; c < channels; c++)
        cell[c] = 0;
    for (size_t k = 0; k < t->count; k++)
        for (int c = 0; c < channels; c++)
            cell[c] += t->weights[k] * row[(t->first + k) * (size_t)channels + (size_t)c];
}

/* A cell in the channels of the net. */
static void put_cell(const float *cell, int from, int to, float *out) {
    if (from == to)
        memcpy(out, cell, (size_t)to * sizeof *out);
    else if (from == 1)
        for (int c = 0; c < to; c++)
            out[c] = cell[0];
    else /* luma, ITU-R BT.601 */
        out[0] = 0.299f * cell[0] + 0.587f * cell[1] + 0.114f * cell[2];
}

/* Each row of the output is made from one that is blended from rows of the input, so that most of
 * the work is on whole rows. */
static fv_status resample(const axis axes[2], fv_resize resize, const fv_shape *from,
                          const float *values, int channels, float *fitted) {
    size_t depth = (size_t)from->channels, size = (size_t)from->size[1] * depth;
    taps rows = {0}, columns = {0};
    float *row = fv_alloc(size, sizeof *row), *cell = fv_alloc(depth, sizeof *cell);
    fv_status status = row && cell ? make_taps(&axes[0], resize, &rows) : FV_MEMORY;
    if (!status)
        status = make_taps(&axes[1], resize, &columns);
    for (int64_t i = 0; !status && i < axes[0].count; i++) {
        blend_rows(&rows.each[i], size, values, row);
        for (int64_t j = 0; j < axes[1].count; j++, fitted += channels) {
            blend_cells(&columns.each[j], from->channels, row, cell);
            put_cell(cell, from->channels, channels, fitted);
        }
    }
    free_taps(&rows);
    free_taps(&columns);
    fv_free(row);
    fv_free(cell);
    return status;
}

/* ---- Sizes ----------------------------------------------------------------------------------- */

/* The sizes to which a picture is resized, and the part that is kept. As torchvision's Resize(side)
 * and CenterCrop have them: the longer side is rounded down, half a cell goes to the even side. */
static void plan_axes(const fv_shape *from, const fv_shape *to, int side, axis axes[2]) {
    int64_t shorter = from->size[0] < from->size[1] ? from->size[0] : from->size[1];
    for (int i = 0; i < 2; i++) {
        axis *a = &axes[i];
        *a = (axis){.from = from->size[i], .size = to->size[i], .count = to->size[i]};
        if (side > 0) {
            a->size = (int64_t)side * a->from / shorter;
            int64_t over = a->size - a->count;
            a->first = over / 2 + (over % 2 && over / 2 % 2);
        }
    }
}

static bool channels_fit(int from, int to) {
    return from == to || (from == 1 && to == 3) || (from == 3 && to == 1);
}

static bool has_values(const fv_shape *shape) {
    bool good = shape->rank >= 0 && shape->rank <= 3 && shape->channels > 0;
    for (int i = 0; good && i < shape->rank; i++)
        good = shape->size[i] > 0;
    return good;
}

/* A grey picture saved by NumPy often has no channel axis: 28x28 is taken for 28x28x1. */
static bool lacks_only_channel(const fv_shape *from, const fv_shape *to) {
    bool good =
        to->channels == 1 && from->rank + 1 == to->rank && from->channels == to->size[from->rank];
    for (int i = 0; good && i < from->rank; i++)
        good = from->size[i] == to->size[i];
    return good;
}

fv_status fv_fit_values(const fv_fitting *fitting, const fv_shape *from, const float *values,
                        const fv_shape *to, float *fitted) {
    char has[64], wants[64];
    if (!has_values(from) || !has_values(to))
        return fv_fail(FV_INVALID, "a shape to fit must have 0 to 3 spatial sizes, all known and 1 "
                                   "or more");
    fv_shape with_channel = *to;
    if (lacks_only_channel(from, to))
        from = &with_channel;
    if (fitting->side == 0 && fv_same_shape(from, to)) {
        memcpy(fitted, values, fv_shape_count(to) * sizeof *fitted);
        return FV_OK;
    }
    if (from->rank != 2 || to->rank != 2 || !channels_fit(from->channels, to->channels))
        return fv_fail(FV_SHAPE, "a picture or array of %s does not fit the net's input of %s",
                       fv_shape_text(from, has), fv_shape_text(to, wants));
    if (fitting->resize == FV_RESIZE_NONE && !fv_sizes_fit(from, to))
        return fv_fail(FV_SHAPE,
                       "a picture of %s does not fit the net's input of %s; resize it, or write "
                       "resize=antialias on the net's input line",
                       fv_shape_text(from, has), fv_shape_text(to, wants));
    axis axes[2];
    plan_axes(from, to, fitting->side, axes);
    if (axes[0].size < axes[0].count || axes[1].size < axes[1].count)
        return fv_fail(FV_SHAPE, "%s cannot be cut out of pictures whose side is %d",
                       fv_shape_text(to, wants), fitting->side);
    return resample(axes, fitting->resize, from, values, to->channels, fitted);
}

/* ---- For a net ------------------------------------------------------------------------------- */

fv_status fv_fit_picture(const fv_net *net, const fv_shape *from, const float *values,
                         const fv_shape *to, float *fitted) {
    if (net->count < 1)
        return fv_fail(FV_INVALID, "the net has no input line yet");
    const fv_input_options *input = net->nodes[0].options;
    fv_fitting fitting = {.resize = input->resize, .side = input->side};
    return fv_fit_values(&fitting, from, values, to, fitted);
}

fv_shape fv_input_shape(const fv_net *net) {
    return net->count > 0 ? net->nodes[0].output : (fv_shape){0};
}
