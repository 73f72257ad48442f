/* Losses on whole pictures. Called by objective.c; fv_ssim by metric.c too.
 *
 * ssim             1 - the mean over places and channels of
 *                  (2 mx my + C1)(2 sxy + C2) / ((mx^2 + my^2 + C1)(sxx + syy + C2)), means and
 *                  variances in a gaussian window of 11x11 cells, deviation 1.5, that lies in the
 *                  picture; C1 = (0.01 range)^2, C2 = (0.03 range)^2 (Wang et al. 2004)
 * total_variation  mean |difference| of neighbours along each axis (Rudin et al. 1992) */
#include "base/status.h"
#include "layers/layer.h"
#include "train/loss.h"
#include <math.h>

enum { WINDOW = 11 };

/* ---- Structural similarity ------------------------------------------------------------------ */

typedef struct plane {
    size_t rows, columns;         /* of the picture */
    size_t out_rows, out_columns; /* places of the window */
    double taps[WINDOW];
    double *field;                  /* rows x columns */
    double *half;                   /* rows x out_columns */
    double *mx, *my, *xx, *yy, *xy; /* out_rows x out_columns, weighted means */
} plane;

size_t fv_ssim_scratch(const fv_shape *shape) {
    return 7 * (size_t)shape->size[0] * (size_t)shape->size[1];
}

fv_status fv_ssim_fits(const fv_shape *shape) {
    char text[64];
    bool fits = shape->rank == 2;
    for (int i = 0; fits && i < 2; i++)
        fits = shape->size[i] >= WINDOW || shape->size[i] == FV_ANY;
    return fits ? FV_OK
                : fv_fail(FV_SHAPE, "ssim compares pictures of 11x11 or more, but the output is %s",
                          fv_shape_text(shape, text));
}

static plane make_plane(const fv_shape *shape, double *scratch) {
    plane p = {.rows = (size_t)shape->size[0], .columns = (size_t)shape->size[1]};
    size_t all = p.rows * p.columns;
    double sum = 0;
    p.out_rows = p.rows - WINDOW + 1;
    p.out_columns = p.columns - WINDOW + 1;
    double **parts[7] = {&p.field, &p.half, &p.mx, &p.my, &p.xx, &p.yy, &p.xy};
    for (size_t i = 0; i < 7; i++)
        *parts[i] = scratch + i * all;
    for (int i = 0; i < WINDOW; i++) {
        double x = (i - WINDOW / 2) / 1.5;
        sum += p.taps[i] = exp(-x * x / 2);
    }
    for (int i = 0; i < WINDOW; i++)
        p.taps[i] /= sum;
    return p;
}

/* Weighted means of p->field in every window. */
static void blur(const plane *p, double *means) {
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->out_columns; c++) {
            double sum = 0;
            for (size_t i = 0; i < WINDOW; i++)
                sum += p->taps[i] * p->field[r * p->columns + c + i];
            p->half[r * p->out_columns + c] = sum;
        }
    for (size_t r = 0; r < p->out_rows; r++)
        for (size_t c = 0; c < p->out_columns; c++) {
            double sum = 0;
            for (size_t i = 0; i < WINDOW; i++)
                sum += p->taps[i] * p->half[(r + i) * p->out_columns + c];
            means[r * p->out_columns + c] = sum;
        }
}

/* The transpose of blur: p->field = what each value adds to, times the window's weights. */
static void spread(const plane *p, const double *means) {
    for (size_t i = 0; i < p->rows * p->out_columns; i++)
        p->half[i] = 0;
    for (size_t r = 0; r < p->out_rows; r++)
        for (size_t i = 0; i < WINDOW; i++)
            for (size_t c = 0; c < p->out_columns; c++)
                p->half[(r + i) * p->out_columns + c] += p->taps[i] * means[r * p->out_columns + c];
    for (size_t i = 0; i < p->rows * p->columns; i++)
        p->field[i] = 0;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t i = 0; i < WINDOW; i++)
            for (size_t c = 0; c < p->out_columns; c++)
                p->field[r * p->columns + c + i] += p->taps[i] * p->half[r * p->out_columns + c];
}

/* The weighted means of x, y and their products in one channel. */
static void measure(const plane *p, const real *x, const real *y, size_t channels) {
    const real *left[5] = {x, y, x, y, x}, *right[5] = {NULL, NULL, x, y, y};
    double *means[5] = {p->mx, p->my, p->xx, p->yy, p->xy};
    for (int k = 0; k < 5; k++) {
        for (size_t i = 0; i < p->rows * p->columns; i++)
            p->field[i] =
                (double)left[k][i * channels] * (right[k] ? (double)right[k][i * channels] : 1);
        blur(p, means[k]);
    }
}

/* Sum of the similarities of all windows. The means mx, xx and xy are overwritten with the sum's
 * derivatives by them. */
static double compare(const plane *p, double range) {
    double c1 = 0.01 * range * 0.01 * range, c2 = 0.03 * range * 0.03 * range, sum = 0;
    for (size_t i = 0; i < p->out_rows * p->out_columns; i++) {
        double mx = p->mx[i], my = p->my[i];
        double a1 = 2 * mx * my + c1, a2 = 2 * (p->xy[i] - mx * my) + c2;
        double b1 = mx * mx + my * my + c1, b2 = p->xx[i] - mx * mx + p->yy[i] - my * my + c2;
        double similarity = a1 * a2 / (b1 * b2);
        double by_xx = -similarity / b2, by_xy = 2 * a1 / (b1 * b2);
        sum += similarity;
        p->mx[i] = 2 * my * a2 / (b1 * b2) - 2 * mx * similarity / b1 - 2 * mx * by_xx - my * by_xy;
        p->xx[i] = by_xx;
        p->xy[i] = by_xy;
    }
    return sum;
}

/* dx = spread(d/dmx) + 2 x spread(d/dxx) + y spread(d/dxy) */
static void add_gradient(const plane *p, const real *x, const real *y, size_t channels,
                         double scale, real *gradient) {
    const double *derivatives[3] = {p->mx, p->xx, p->xy};
    for (int k = 0; k < 3; k++) {
        spread(p, derivatives[k]);
        for (size_t i = 0; i < p->rows * p->columns; i++) {
            double factor = k == 0   ? 1
                            : k == 1 ? 2 * (double)x[i * channels]
                                     : (double)y[i * channels];
            gradient[i * channels] += (real)(scale * factor * p->field[i]);
        }
    }
}

double fv_ssim(const fv_shape *shape, double range, const real *x, const real *y, double scale,
               real *gradient, double *scratch) {
    plane p = make_plane(shape, scratch);
    size_t channels = (size_t)shape->channels;
    double count = (double)(p.out_rows * p.out_columns * channels), sum = 0;
    for (size_t c = 0; c < channels; c++) {
        measure(&p, x + c, y + c, channels);
        sum += compare(&p, range);
        if (gradient)
            add_gradient(&p, x + c, y + c, channels, scale / count, gradient + c);
    }
    return sum / count;
}

static double run_ssim(const fv_loss_block *b) {
    return 1 - fv_ssim(b->shape, 1, b->outputs, b->targets, -b->scale, b->gradient, b->scratch);
}

/* ---- Total variation ------------------------------------------------------------------------ */

/* Pairs of neighbours in a sample. */
static double pair_count(const fv_shape *shape) {
    double pairs = 0;
    for (int axis = 0; axis < shape->rank; axis++)
        pairs += (double)fv_shape_count(shape) / shape->size[axis] * (shape->size[axis] - 1);
    return pairs;
}

/* Neighbours along an axis of `size` cells, each of `step` values. */
static double axis_variation(const fv_loss_block *b, size_t size, size_t step, double scale) {
    double sum = 0;
    size_t count = fv_shape_count(b->shape);
    for (size_t i = 0; i < count; i++) {
        if (i / step % size == size - 1)
            continue;
        double d = (double)b->outputs[i + step] - (double)b->outputs[i];
        sum += fabs(d);
        if (b->gradient && d != 0) {
            b->gradient[i + step] += (real)copysign(scale, d);
            b->gradient[i] -= (real)copysign(scale, d);
        }
    }
    return sum;
}

static double run_total_variation(const fv_loss_block *b) {
    double pairs = pair_count(b->shape), sum = 0;
    size_t step = (size_t)b->channels;
    for (int axis = b->shape->rank - 1; axis >= 0; axis--) {
        sum += axis_variation(b, (size_t)b->shape->size[axis], step, b->scale / pairs);
        step *= (size_t)b->shape->size[axis];
    }
    return sum / pairs;
}

static fv_status has_neighbours(const fv_shape *shape) {
    char text[64];
    bool any = false;
    for (int i = 0; i < shape->rank; i++)
        any |= shape->size[i] > 1 || shape->size[i] == FV_ANY;
    return any ? FV_OK
               : fv_fail(FV_SHAPE, "total_variation compares neighbours, but the output is %s",
                         fv_shape_text(shape, text));
}

const fv_loss_type fv_loss_ssim = {.name = "ssim",
                                   .mean = FV_MEAN_SAMPLES,
                                   .fits = fv_ssim_fits,
                                   .scratch = fv_ssim_scratch,
                                   .run = run_ssim};
const fv_loss_type fv_loss_total_variation = {.name = "total_variation",
                                              .no_target = true,
                                              .mean = FV_MEAN_SAMPLES,
                                              .fits = has_neighbours,
                                              .run = run_total_variation};
