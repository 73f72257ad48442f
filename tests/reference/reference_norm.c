/* The oracle of the normalisation layers, forward and backward. Called by tests/test_*.c. */
#include "reference.h"
#include <math.h>
#include <stdlib.h>

/* ---- Mean and variance ------------------------------------------------------------------------
 */

int ref_norm_sets(const ref_norm *n) {
    switch (n->kind) {
    case REF_NORM_BATCH:
        return n->channels;
    case REF_NORM_LAYER:
        return n->samples * n->places;
    case REF_NORM_SAMPLE:
        return n->samples;
    case REF_NORM_GROUP:
        return n->samples * n->groups;
    default:
        return n->samples * n->channels;
    }
}

int ref_norm_scales(const ref_norm *n) {
    return n->kind == REF_NORM_SAMPLE ? n->places * n->channels : n->channels;
}

static int value_count(const ref_norm *n) {
    return n->samples * n->places * n->channels;
}

int ref_norm_set(const ref_norm *n, int i) {
    int channel = i % n->channels, row = i / n->channels, sample = row / n->places;
    switch (n->kind) {
    case REF_NORM_BATCH:
        return channel;
    case REF_NORM_LAYER:
        return row;
    case REF_NORM_SAMPLE:
        return sample;
    case REF_NORM_GROUP:
        return sample * n->groups + channel / (n->channels / n->groups);
    default:
        return sample * n->channels + channel;
    }
}

int ref_norm_scale(const ref_norm *n, int i) {
    return i % ref_norm_scales(n);
}

static double set_size(const ref_norm *n) {
    return (double)value_count(n) / ref_norm_sets(n);
}

void ref_norm_statistics(const ref_norm *n, const double *x, double *mean, double *variance) {
    for (int s = 0; s < ref_norm_sets(n); s++)
        mean[s] = variance[s] = 0;
    for (int i = 0; i < value_count(n); i++)
        mean[ref_norm_set(n, i)] += x[i] / set_size(n);
    for (int i = 0; i < value_count(n); i++) {
        double distance = x[i] - mean[ref_norm_set(n, i)];
        variance[ref_norm_set(n, i)] += distance * distance / set_size(n);
    }
}

static double normalized(const ref_norm *n, const double *x, const double *mean,
                         const double *variance, int i) {
    int s = ref_norm_set(n, i);
    return (x[i] - mean[s]) / sqrt(variance[s] + n->epsilon);
}

void ref_norm_forward(const ref_norm *n, const double *x, const double *mean,
                      const double *variance, const double *scale, const double *bias, double *y) {
    for (int i = 0; i < value_count(n); i++)
        y[i] = normalized(n, x, mean, variance, i) * (scale ? scale[ref_norm_scale(n, i)] : 1) +
               (bias ? bias[ref_norm_scale(n, i)] : 0);
}

static void scale_gradients(const ref_norm *n, const double *x, const double *mean,
                            const double *variance, const double *dy, double *dscale,
                            double *dbias) {
    for (int p = 0; p < ref_norm_scales(n); p++) {
        if (dscale)
            dscale[p] = 0;
        if (dbias)
            dbias[p] = 0;
    }
    for (int i = 0; i < value_count(n); i++) {
        if (dscale)
            dscale[ref_norm_scale(n, i)] += dy[i] * normalized(n, x, mean, variance, i);
        if (dbias)
            dbias[ref_norm_scale(n, i)] += dy[i];
    }
}

/* With h = (x - mean) / deviation, g = dy scale, and means over the set:
 *   dx = (g - mean(g) - h mean(g h)) / deviation    (Ioffe & Szegedy 2015, section 3) */
void ref_norm_gradient(const ref_norm *n, bool fixed, const double *x, const double *mean,
                       const double *variance, const double *scale, const double *dy, double *dx,
                       double *dscale, double *dbias) {
    size_t sets = (size_t)ref_norm_sets(n);
    double *mean_g = calloc(sets, sizeof(double)), *mean_gh = calloc(sets, sizeof(double));
    if (!mean_g || !mean_gh)
        abort();
    scale_gradients(n, x, mean, variance, dy, dscale, dbias);
    for (int i = 0; !fixed && i < value_count(n); i++) {
        double g = dy[i] * (scale ? scale[ref_norm_scale(n, i)] : 1);
        mean_g[ref_norm_set(n, i)] += g / set_size(n);
        mean_gh[ref_norm_set(n, i)] += g * normalized(n, x, mean, variance, i) / set_size(n);
    }
    for (int i = 0; i < value_count(n); i++) {
        int s = ref_norm_set(n, i);
        double g = dy[i] * (scale ? scale[ref_norm_scale(n, i)] : 1);
        dx[i] = (g - mean_g[s] - normalized(n, x, mean, variance, i) * mean_gh[s]) /
                sqrt(variance[s] + n->epsilon);
    }
    free(mean_g);
    free(mean_gh);
}

/* ---- batch_norm's conventions ------------------------------------------------------------------
 */

double ref_batch_norm_momentum(fv_formula formula) {
    return formula == FV_KERAS ? 0.99 : formula == FV_CAFFE ? 0.999 : 0.9;
}

double ref_batch_norm_epsilon(fv_formula formula) {
    return formula == FV_KERAS ? 1e-3 : 1e-5;
}

double ref_layer_norm_epsilon(fv_formula formula) {
    return formula == FV_KERAS ? 1e-3 : 1e-5;
}

/* Of a single value the unbiased variance does not exist; Caffe then stores the biased one. */
void ref_running_statistics(fv_formula formula, double momentum, int channels, double values,
                            const double *mean, const double *variance, double *running_mean,
                            double *running_variance) {
    bool unbiased = formula == FV_TORCH || formula == FV_CAFFE;
    for (int c = 0; c < channels; c++) {
        double stored = unbiased && values > 1 ? variance[c] * values / (values - 1) : variance[c];
        running_mean[c] = momentum * running_mean[c] + (1 - momentum) * mean[c];
        running_variance[c] = momentum * running_variance[c] + (1 - momentum) * stored;
    }
}

/* ---- Without a mean ----------------------------------------------------------------------------
 */

static double sum_of_squares(int channels, const double *x) {
    double sum = 0;
    for (int c = 0; c < channels; c++)
        sum += x[c] * x[c];
    return sum;
}

void ref_rms_norm(int rows, int channels, double epsilon, const double *x, const double *scale,
                  double *y) {
    for (int r = 0; r < rows; r++, x += channels, y += channels)
        for (int c = 0; c < channels; c++)
            y[c] = x[c] / sqrt(sum_of_squares(channels, x) / channels + epsilon) *
                   (scale ? scale[c] : 1);
}

/* With r = 1 / sqrt(mean x^2 + epsilon), g = dy scale: dx = r g - r^3 x mean(g x). */
void ref_rms_norm_gradient(int rows, int channels, double epsilon, const double *x,
                           const double *scale, const double *dy, double *dx, double *dscale) {
    for (int c = 0; dscale && c < channels; c++)
        dscale[c] = 0;
    for (int row = 0; row < rows; row++, x += channels, dy += channels, dx += channels) {
        double r = 1 / sqrt(sum_of_squares(channels, x) / channels + epsilon), mean = 0;
        for (int c = 0; c < channels; c++)
            mean += dy[c] * (scale ? scale[c] : 1) * x[c] / channels;
        for (int c = 0; c < channels; c++) {
            dx[c] = r * dy[c] * (scale ? scale[c] : 1) - r * r * r * x[c] * mean;
            if (dscale)
                dscale[c] += dy[c] * x[c] * r;
        }
    }
}

void ref_l2_normalize(int rows, int channels, double epsilon, const double *x, double *y) {
    for (int r = 0; r < rows; r++, x += channels, y += channels)
        for (int c = 0; c < channels; c++)
            y[c] = x[c] / sqrt(fmax(sum_of_squares(channels, x), epsilon));
}

/* With r = 1 / sqrt(sum x^2): dx = r dy - r^3 x sum(dy x); under epsilon r is a constant. */
void ref_l2_normalize_gradient(int rows, int channels, double epsilon, const double *x,
                               const double *dy, double *dx) {
    for (int row = 0; row < rows; row++, x += channels, dy += channels, dx += channels) {
        double squares = sum_of_squares(channels, x), r = 1 / sqrt(fmax(squares, epsilon));
        double along = 0;
        for (int c = 0; c < channels; c++)
            along += dy[c] * x[c];
        for (int c = 0; c < channels; c++)
            dx[c] = r * dy[c] - (squares > epsilon ? r * r * r * x[c] * along : 0);
    }
}

/* ---- Local response ----------------------------------------------------------------------------
 */

typedef struct lrn {
    int before, after; /* channels in front of and behind c */
    double a, beta, k;
} lrn;

static lrn resolve(const fv_lrn_options *o) {
    bool keras = o->formula == FV_KERAS;
    int size = o->size ? o->size : 5;
    double alpha = o->alpha != 0 ? o->alpha : keras || o->formula == FV_CAFFE ? 1 : 1e-4;
    int less = (size - 1) / 2, more = size - 1 - less;
    return (lrn){.before = o->formula == FV_ONNX ? less : more,
                 .after = o->formula == FV_ONNX ? more : less,
                 .a = keras ? alpha : alpha / size,
                 .beta = o->beta != 0 ? o->beta
                         : keras      ? 0.5
                                      : 0.75,
                 .k = o->k != 0 ? o->k : 1};
}

/* k + a sum of x^2 around channel c. */
static double base(const lrn *l, int channels, const double *x, int c) {
    double sum = 0;
    for (int i = c - l->before; i <= c + l->after; i++)
        if (i >= 0 && i < channels)
            sum += x[i] * x[i];
    return l->k + l->a * sum;
}

void ref_lrn(int rows, int channels, const fv_lrn_options *options, const double *x, double *y) {
    lrn l = resolve(options);
    for (int r = 0; r < rows; r++, x += channels, y += channels)
        for (int c = 0; c < channels; c++)
            y[c] = x[c] * pow(base(&l, channels, x, c), -l.beta);
}

/* dy_c / dx_i = (i == c) base_c^-beta - 2 a beta x_c x_i base_c^(-beta - 1) for i around c. */
void ref_lrn_gradient(int rows, int channels, const fv_lrn_options *options, const double *x,
                      const double *dy, double *dx) {
    lrn l = resolve(options);
    for (int r = 0; r < rows; r++, x += channels, dy += channels, dx += channels) {
        for (int i = 0; i < channels; i++)
            dx[i] = dy[i] * pow(base(&l, channels, x, i), -l.beta);
        for (int c = 0; c < channels; c++) {
            double by_square =
                -l.a * l.beta * dy[c] * x[c] * pow(base(&l, channels, x, c), -l.beta - 1);
            for (int i = c - l.before; i <= c + l.after; i++)
                if (i >= 0 && i < channels)
                    dx[i] += by_square * 2 * x[i];
        }
    }
}
