/* Losses that compare values, d = output - target; means over all of them. Called by objective.c.
 *
 * mse        d^2
 * mae        |d|
 * huber      d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2)
 * smooth_l1  huber / delta
 * hinge      max(1 - t y, 0), targets -1 and 1 (0 becomes -1, as in Keras)
 * cosine     1 - cos(y, t) over the channels of a place; lengths are at least 1e-6, as in Keras */
#include "train/loss.h"
#include <math.h>

/* Value of one output y with target t, and its derivative by y. */
typedef double value_loss(double y, double t, const fv_loss_options *options, double *slope);

static double run_values(const fv_loss_block *b, value_loss *loss) {
    double sum = 0, slope;
    for (size_t r = 0; r < b->rows; r++) {
        size_t first = r * (size_t)b->channels, end = first + (size_t)b->channels;
        double weight = b->weights[r];
        for (size_t i = first; weight > 0 && i < end; i++) {
            sum += weight * loss((double)b->outputs[i], (double)b->targets[i], b->options, &slope);
            if (b->gradient)
                b->gradient[i] += (real)(b->scale * weight * slope);
        }
    }
    return sum;
}

static double mse(double y, double t, const fv_loss_options *options, double *slope) {
    (void)options;
    *slope = 2 * (y - t);
    return (y - t) * (y - t);
}

static double mae(double y, double t, const fv_loss_options *options, double *slope) {
    (void)options;
    *slope = (y > t) - (y < t);
    return fabs(y - t);
}

static double huber(double y, double t, const fv_loss_options *options, double *slope) {
    double d = y - t, delta = options->delta;
    bool square = fabs(d) <= delta;
    *slope = square ? d : copysign(delta, d);
    return square ? d * d / 2 : delta * (fabs(d) - delta / 2);
}

static double smooth_l1(double y, double t, const fv_loss_options *options, double *slope) {
    double loss = huber(y, t, options, slope) / options->delta;
    *slope /= options->delta;
    return loss;
}

static double hinge(double y, double t, const fv_loss_options *options, double *slope) {
    (void)options;
    double sign = t == 0 ? -1 : t, loss = 1 - sign * y;
    *slope = loss > 0 ? -sign : 0;
    return loss <= 0 ? 0 : loss;
}

static double run_mse(const fv_loss_block *block) {
    return run_values(block, mse);
}

static double run_mae(const fv_loss_block *block) {
    return run_values(block, mae);
}

static double run_huber(const fv_loss_block *block) {
    return run_values(block, huber);
}

static double run_smooth_l1(const fv_loss_block *block) {
    return run_values(block, smooth_l1);
}

static double run_hinge(const fv_loss_block *block) {
    return run_values(block, hinge);
}

static const double least_length = 1e-6;

/* d cos / dy = t / (|y| |t|) - cos y / |y|^2; the second term is not there at the least length. */
static double cosine_row(const real *y, const real *t, int channels, double scale, real *gradient) {
    double yy = 0, tt = 0, yt = 0;
    for (int c = 0; c < channels; c++) {
        yy += (double)y[c] * (double)y[c];
        tt += (double)t[c] * (double)t[c];
        yt += (double)y[c] * (double)t[c];
    }
    double length = sqrt(yy), other = fmax(sqrt(tt), least_length);
    bool shortest = length < least_length;
    length = shortest ? least_length : length;
    double cosine = yt / (length * other), along = shortest ? 0 : cosine / (length * length);
    for (int c = 0; gradient && c < channels; c++)
        gradient[c] -= (real)(scale * ((double)t[c] / (length * other) - along * (double)y[c]));
    return 1 - cosine;
}

static double run_cosine(const fv_loss_block *b) {
    double sum = 0;
    for (size_t r = 0; r < b->rows; r++) {
        size_t at = r * (size_t)b->channels;
        if (b->weights[r] > 0)
            sum += b->weights[r] * cosine_row(b->outputs + at, b->targets + at, b->channels,
                                              b->scale * b->weights[r],
                                              b->gradient ? b->gradient + at : NULL);
    }
    return sum;
}

const fv_loss_type fv_loss_mse = {.name = "mse", .run = run_mse};
const fv_loss_type fv_loss_mae = {.name = "mae", .run = run_mae};
const fv_loss_type fv_loss_huber = {.name = "huber", .run = run_huber};
const fv_loss_type fv_loss_smooth_l1 = {.name = "smooth_l1", .run = run_smooth_l1};
const fv_loss_type fv_loss_hinge = {.name = "hinge", .run = run_hinge};
const fv_loss_type fv_loss_cosine = {.name = "cosine", .mean = FV_MEAN_ROWS, .run = run_cosine};
