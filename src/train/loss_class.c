/* Losses on classes and distributions. The first two and focal take the logits z before a softmax
 * or sigmoid, and so are stable for any z. Called by objective.c.
 *
 * cross_entropy         sum_c t_c (log sum_k exp(z_k) - z_c)
 * binary_cross_entropy  log(1 + exp(z)) - t z, mean over the channels
 * focal                 a_t (1 - p_t)^gamma times that, p = sigmoid(z), p_t = t p + (1 - t)(1 - p),
 *                       a_t = t alpha + (1 - t)(1 - alpha) (Lin et al. 2017)
 * kl                    sum_c t_c log(t_c / y_c), both cut to [1e-7, 1] as in Keras
 * rbf                   y_t + log(exp(-margin) + sum_k exp(-y_k)) (LeCun et al. 1998, equation 9):
 *                       outputs are penalties, the smallest is the answer */
#include "train/loss.h"
#include <math.h>

static double softmax_cross_entropy(const real *z, const real *t, int channels, double scale,
                                    real *gradient) {
    double largest = (double)z[0], sum = 0, share = 0, loss = 0;
    for (int c = 1; c < channels; c++)
        largest = (double)z[c] > largest ? (double)z[c] : largest;
    for (int c = 0; c < channels; c++) {
        sum += exp((double)z[c] - largest);
        share += (double)t[c];
    }
    double whole = log(sum) + largest;
    for (int c = 0; c < channels; c++)
        loss += t[c] != 0 ? (double)t[c] * (whole - (double)z[c]) : 0;
    for (int c = 0; gradient && c < channels; c++)
        gradient[c] += (real)(scale * (share * exp((double)z[c] - largest) / sum - (double)t[c]));
    return loss;
}

static double run_cross_entropy(const fv_loss_block *b) {
    double sum = 0;
    for (size_t r = 0; r < b->rows; r++) {
        size_t at = r * (size_t)b->channels;
        if (b->weights[r] > 0)
            sum += b->weights[r] * softmax_cross_entropy(b->outputs + at, b->targets + at,
                                                         b->channels, b->scale * b->weights[r],
                                                         b->gradient ? b->gradient + at : NULL);
    }
    return sum;
}

static double sigmoid(double z) {
    return z >= 0 ? 1 / (1 + exp(-z)) : exp(z) / (1 + exp(z));
}

/* log(1 + exp(z)) - t z */
static double logistic_loss(double z, double t) {
    return fmax(z, 0) - t * z + log1p(exp(-fabs(z)));
}

static double run_binary_cross_entropy(const fv_loss_block *b) {
    double sum = 0;
    size_t channels = (size_t)b->channels;
    for (size_t i = 0; i < b->rows * channels; i++) {
        double weight = b->weights[i / channels], z = (double)b->outputs[i];
        double t = (double)b->targets[i];
        if (!(weight > 0))
            continue;
        sum += weight * logistic_loss(z, t);
        if (b->gradient)
            b->gradient[i] += (real)(b->scale * weight * (sigmoid(z) - t));
    }
    return sum;
}

/* a F B with F = (1 - p_t)^gamma, B the logistic loss; its derivative by z to *slope. */
static double focal_value(const fv_loss_options *o, double z, double t, double *slope) {
    double p = sigmoid(z), q = sigmoid(-z);
    double missing = t * q + (1 - t) * p; /* 1 - p_t */
    double factor = pow(missing, o->gamma), loss = logistic_loss(z, t);
    double balance = t * o->alpha + (1 - t) * (1 - o->alpha);
    double factor_slope = missing > 0 ? -o->gamma * factor / missing * (2 * t - 1) * p * q : 0;
    *slope = balance * (factor_slope * loss + factor * (p - t));
    return balance * factor * loss;
}

static double run_focal(const fv_loss_block *b) {
    double sum = 0, slope;
    size_t channels = (size_t)b->channels;
    for (size_t i = 0; i < b->rows * channels; i++) {
        double weight = b->weights[i / channels], z = (double)b->outputs[i];
        if (!(weight > 0))
            continue;
        sum += weight * focal_value(b->options, z, (double)b->targets[i], &slope);
        if (b->gradient)
            b->gradient[i] += (real)(b->scale * weight * slope);
    }
    return sum;
}

static const double least = 1e-7;

static double cut(double x) {
    return x < least ? least : x > 1 ? 1 : x;
}

static double run_kl(const fv_loss_block *b) {
    double sum = 0;
    size_t channels = (size_t)b->channels;
    for (size_t i = 0; i < b->rows * channels; i++) {
        double weight = b->weights[i / channels], y = (double)b->outputs[i];
        double t = cut((double)b->targets[i]);
        if (!(weight > 0))
            continue;
        sum += weight * t * log(t / cut(y));
        if (b->gradient && y >= least && y <= 1)
            b->gradient[i] -= (real)(b->scale * weight * t / y);
    }
    return sum;
}

/* exp is taken of the difference to the smallest penalty, so that nothing underflows to log 0. */
static double rbf_row(const real *y, const real *t, int channels, double margin, double scale,
                      real *gradient) {
    double smallest = margin, loss = 0;
    for (int c = 0; c < channels; c++)
        smallest = (double)y[c] < smallest ? (double)y[c] : smallest;
    double sum = exp(smallest - margin);
    for (int c = 0; c < channels; c++) {
        sum += exp(smallest - (double)y[c]);
        loss += (double)t[c] * (double)y[c];
    }
    for (int c = 0; gradient && c < channels; c++)
        gradient[c] += (real)(scale * ((double)t[c] - exp(smallest - (double)y[c]) / sum));
    return loss + log(sum) - smallest;
}

static double run_rbf(const fv_loss_block *b) {
    double sum = 0;
    for (size_t r = 0; r < b->rows; r++) {
        size_t at = r * (size_t)b->channels;
        if (b->weights[r] > 0)
            sum += b->weights[r] * rbf_row(b->outputs + at, b->targets + at, b->channels,
                                           b->options->margin, b->scale * b->weights[r],
                                           b->gradient ? b->gradient + at : NULL);
    }
    return sum;
}

const fv_loss_type fv_loss_cross_entropy = {.name = "cross_entropy",
                                            .takes_over = {FV_SOFTMAX, FV_LOG_SOFTMAX},
                                            .classes = true,
                                            .answer = FV_ANSWER_LARGEST,
                                            .mean = FV_MEAN_ROWS,
                                            .run = run_cross_entropy};
const fv_loss_type fv_loss_binary_cross_entropy = {.name = "binary_cross_entropy",
                                                   .takes_over = {FV_SIGMOID},
                                                   .binary = true,
                                                   .answer = FV_ANSWER_BINARY,
                                                   .run = run_binary_cross_entropy};
const fv_loss_type fv_loss_focal = {.name = "focal",
                                    .takes_over = {FV_SIGMOID},
                                    .binary = true,
                                    .answer = FV_ANSWER_BINARY,
                                    .run = run_focal};
const fv_loss_type fv_loss_kl = {.name = "kl", .mean = FV_MEAN_ROWS, .run = run_kl};
const fv_loss_type fv_loss_rbf = {.name = "rbf",
                                  .classes = true,
                                  .answer = FV_ANSWER_SMALLEST,
                                  .mean = FV_MEAN_ROWS,
                                  .run = run_rbf};
