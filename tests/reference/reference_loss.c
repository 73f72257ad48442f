/* The oracle of losses and of accuracy. Called by tests/test_*.c. */
#include "reference.h"
#include <math.h>
#include <string.h>

static int first_largest(int count, const double *x) {
    int largest = 0;
    for (int i = 1; i < count; i++)
        if (x[i] > x[largest])
            largest = i;
    return largest;
}

/* ---- Rows, their targets and their weights ------------------------------------------------------
 */

enum { MOST_CHANNELS = 4096 };

static double either(double given, double fallback) {
    return given != 0 ? given : fallback;
}

static bool is(const ref_judged *j, const char *type) {
    return strcmp(j->options->type, type) == 0;
}

/* PyTorch's way with class weights, which only its cross-entropy has. */
static bool torch_weights(const ref_judged *j) {
    return j->options->formula == FV_TORCH && is(j, "cross_entropy");
}

static int place_count(const ref_judged *j) {
    int places = 1;
    for (int axis = 0; axis < j->shape.rank; axis++)
        places *= j->shape.size[axis];
    return places;
}

static bool ignored(const ref_judged *j, int row) {
    for (int i = 0; j->indices && i < j->options->ignore_count; i++)
        if (j->indices[row] == j->options->ignore[i])
            return true;
    return false;
}

/* The class that a row's weight goes by; of one channel there are two. */
static int class_of(const ref_judged *j, int row) {
    if (j->indices)
        return (int)j->indices[row];
    const double *t = j->targets + (size_t)row * (size_t)j->shape.channels;
    return j->shape.channels == 1 ? t[0] > 0.5 : first_largest(j->shape.channels, t);
}

static double class_weight(const ref_judged *j, int class) {
    return class < j->options->class_weight_count ? j->options->class_weights[class] : 1;
}

/* The targets of a row, smoothed. */
static void read_targets(const ref_judged *j, int row, double *t) {
    int channels = j->shape.channels;
    double e = j->options->label_smoothing;
    bool binary = is(j, "binary_cross_entropy") || is(j, "focal");
    bool value = channels == 1 && !is(j, "cross_entropy") && !is(j, "rbf");
    for (int c = 0; c < channels; c++) {
        t[c] = !j->indices ? j->targets[row * channels + c]
               : value     ? j->indices[row]
                           : j->indices[row] == c;
        t[c] = (1 - e) * t[c] + e / (binary ? 2 : channels);
    }
}

/* ---- Losses of a row: the sum over its channels, and d / d outputs
 * ------------------------------- */

/* -sum of a_c log softmax_c; d / dz_k = softmax_k sum a - a_k. */
static double softmax_row(int channels, const double *z, const double *a, double *slope) {
    double largest = z[first_largest(channels, z)], sum = 0, all = 0, loss = 0;
    for (int c = 0; c < channels; c++) {
        sum += exp(z[c] - largest);
        all += a[c];
    }
    for (int c = 0; c < channels; c++) {
        loss += a[c] * (log(sum) + largest - z[c]);
        slope[c] = exp(z[c] - largest) / sum * all - a[c];
    }
    return loss;
}

static double log_sigmoid(double z) {
    return fmin(z, 0) - log1p(exp(-fabs(z)));
}

/* d / dz log sigmoid(z) = sigmoid(-z). */
static double logistic(double z, double t, double *slope) {
    *slope = -t * exp(log_sigmoid(-z)) + (1 - t) * exp(log_sigmoid(z));
    return -t * log_sigmoid(z) - (1 - t) * log_sigmoid(-z);
}

/* With p = sigmoid(z), dp/dz = p (1 - p), q = 1 - p_t = t + p - 2 t p, dq/dz = (1 - 2 t) dp/dz. */
static double focal(const fv_loss_options *o, double z, double t, double *slope) {
    double alpha = either(o->alpha, 0.25), gamma = either(o->gamma, 2);
    double balance = alpha * t + (1 - alpha) * (1 - t);
    double p = exp(log_sigmoid(z)), r = exp(log_sigmoid(-z)), q = t * r + (1 - t) * p;
    double by_z, loss = logistic(z, t, &by_z);
    double factor = pow(q, gamma), by_factor = gamma * pow(q, gamma - 1) * (1 - 2 * t) * p * r;
    *slope = balance * (factor * by_z + by_factor * loss);
    return balance * factor * loss;
}

static double huber(double delta, double d, double *slope) {
    *slope = fabs(d) <= delta ? d : d > 0 ? delta : -delta;
    return fabs(d) <= delta ? d * d / 2 : delta * fabs(d) - delta * delta / 2;
}

static double kl(double y, double t, double *slope) {
    double high = fmin(fmax(t, 1e-7), 1), low = fmin(fmax(y, 1e-7), 1);
    *slope = y >= 1e-7 && y <= 1 ? -high / y : 0;
    return high * log(high / low);
}

static double value_loss(const ref_judged *j, double y, double t, double *slope) {
    double d = y - t, delta = either(j->options->delta, 1), loss;
    if (is(j, "binary_cross_entropy"))
        return logistic(y, t, slope);
    if (is(j, "focal"))
        return focal(j->options, y, t, slope);
    if (is(j, "huber"))
        return huber(delta, d, slope);
    if (is(j, "smooth_l1")) {
        loss = huber(delta, d, slope) / delta;
        *slope /= delta;
        return loss;
    }
    if (is(j, "kl"))
        return kl(y, t, slope);
    if (is(j, "mse")) {
        *slope = 2 * d;
        return d * d;
    }
    if (is(j, "mae")) {
        *slope = (d > 0) - (d < 0);
        return fabs(d);
    }
    double sign = t == 0 ? -1 : t; /* hinge */
    *slope = sign * y < 1 ? -sign : 0;
    return fmax(1 - sign * y, 0);
}

/* d cos / dy = (t / |t| - cos y / |y|) / |y|. */
static double cosine_row(int channels, const double *y, const double *t, double *slope) {
    double length = ref_length((size_t)channels, y), other = ref_length((size_t)channels, t);
    double cosine = 0;
    for (int c = 0; c < channels; c++)
        cosine += y[c] / length * t[c] / other;
    for (int c = 0; c < channels; c++)
        slope[c] = -(t[c] / other - cosine * y[c] / length) / length;
    return 1 - cosine;
}

static double rbf_row(double margin, int channels, const double *y, const double *t,
                      double *slope) {
    double sum = exp(-margin), loss = 0;
    for (int c = 0; c < channels; c++) {
        sum += exp(-y[c]);
        loss += t[c] * y[c];
    }
    for (int c = 0; c < channels; c++)
        slope[c] = t[c] - exp(-y[c]) / sum;
    return loss + log(sum);
}

/* Numbers as center x, center y, width, height: x1 = x - w / 2, x2 = x + w / 2. */
static double box_row(const ref_judged *j, const double *y, const double *t, double *slope) {
    if (j->options->boxes == FV_BOX_CORNERS)
        return ref_box_loss(j->options->type, y, t, slope);
    double a[4], b[4], by[4];
    for (int i = 0; i < 4; i++) {
        double half = i < 2 ? -0.5 : 0.5;
        a[i] = y[i % 2] + half * y[2 + i % 2];
        b[i] = t[i % 2] + half * t[2 + i % 2];
    }
    double loss = ref_box_loss(j->options->type, a, b, by);
    for (int i = 0; i < 2; i++) {
        slope[i] = by[i] + by[i + 2];
        slope[i + 2] = (by[i + 2] - by[i]) / 2;
    }
    return loss;
}

static double row_loss(const ref_judged *j, int row, const double *y, double *slope) {
    int channels = j->shape.channels;
    double t[MOST_CHANNELS], loss = 0;
    bool torch = torch_weights(j);
    read_targets(j, row, t);
    if (is(j, "cross_entropy")) {
        for (int c = 0; torch && c < channels; c++)
            t[c] *= class_weight(j, c);
        return softmax_row(channels, y, t, slope);
    }
    if (is(j, "cosine"))
        return cosine_row(channels, y, t, slope);
    if (is(j, "rbf"))
        return rbf_row(either(j->options->margin, 0.1), channels, y, t, slope);
    if (strstr(j->options->type, "iou"))
        return box_row(j, y, t, slope);
    for (int c = 0; c < channels; c++)
        loss += value_loss(j, y[c], t[c], &slope[c]);
    return loss;
}

/* ---- Means over rows or values
 * ------------------------------------------------------------------- */

static bool by_rows(const ref_judged *j) {
    return is(j, "cross_entropy") || is(j, "kl") || is(j, "cosine") || is(j, "rbf") ||
           strstr(j->options->type, "iou");
}

static double mean_of_rows(const ref_judged *j, double *gradient) {
    int rows = j->samples * place_count(j), channels = j->shape.channels;
    bool torch = torch_weights(j);
    double sum = 0, divisor = 0;
    for (int r = 0; r < rows; r++) {
        const double *y = j->outputs + (size_t)r * (size_t)channels;
        double *slope = gradient + (size_t)r * (size_t)channels;
        bool out = ignored(j, r);
        double weight = out || torch ? 1 : class_weight(j, class_of(j, r));
        double loss = out ? 0 : row_loss(j, r, y, slope);
        sum += weight * loss;
        divisor += out ? 0 : torch && j->indices ? class_weight(j, class_of(j, r)) : 1;
        for (int c = 0; c < channels; c++)
            slope[c] = out ? 0 : weight * slope[c];
    }
    divisor *= by_rows(j) ? 1 : channels;
    for (int i = 0; i < rows * channels; i++)
        gradient[i] = divisor > 0 ? gradient[i] / divisor : 0;
    return divisor > 0 ? sum / divisor : 0;
}

/* ---- Losses of a whole sample
 * -------------------------------------------------------------------- */

/* tversky: 1 - (hit + smooth) / (hit + alpha false + beta missed + smooth) with hit = sum t y,
 * false = sum (1 - t) y, missed = sum t (1 - y). dice is the one of alpha = beta = 1/2, above and
 * below times two, and so with half the smooth. */
static double area_loss(const ref_judged *j, int sample, double *gradient) {
    int places = place_count(j), channels = j->shape.channels;
    bool dice = is(j, "dice");
    double alpha = dice ? 0.5 : either(j->options->alpha, 0.5);
    double beta = dice ? 0.5 : either(j->options->beta, 0.5);
    double smooth = either(j->options->smooth, 1) / (dice ? 2 : 1);
    double above = smooth, below = smooth, t[MOST_CHANNELS];
    for (int p = 0; p < places; p++) {
        int row = sample * places + p;
        const double *y = j->outputs + (size_t)row * (size_t)channels;
        read_targets(j, row, t);
        for (int c = 0; !ignored(j, row) && c < channels; c++) {
            above += t[c] * y[c];
            below += t[c] * y[c] + alpha * (1 - t[c]) * y[c] + beta * t[c] * (1 - y[c]);
        }
    }
    for (int p = 0; p < places; p++) {
        int row = sample * places + p;
        read_targets(j, row, t);
        for (int c = 0; c < channels; c++) {
            double by_above = t[c], by_below = t[c] + alpha * (1 - t[c]) - beta * t[c];
            gradient[p * channels + c] =
                ignored(j, row) ? 0 : -by_above / below + above * by_below / (below * below);
        }
    }
    return 1 - above / below;
}

static double sample_loss(const ref_judged *j, int sample, double *gradient) {
    int values = place_count(j) * j->shape.channels;
    size_t at = (size_t)sample * (size_t)values;
    if (is(j, "dice") || is(j, "tversky"))
        return area_loss(j, sample, gradient);
    if (is(j, "total_variation"))
        return ref_total_variation(&j->shape, j->outputs + at, gradient);
    double similarity = ref_ssim(j->shape.size[0], j->shape.size[1], j->shape.channels, 1,
                                 j->outputs + at, j->targets + at, gradient);
    for (int i = 0; i < values; i++)
        gradient[i] = -gradient[i];
    return 1 - similarity;
}

double ref_loss(const ref_judged *j, double *gradient) {
    size_t values = (size_t)place_count(j) * (size_t)j->shape.channels;
    double loss = 0;
    if (!is(j, "dice") && !is(j, "tversky") && !is(j, "ssim") && !is(j, "total_variation"))
        return mean_of_rows(j, gradient);
    for (int s = 0; s < j->samples; s++)
        loss += sample_loss(j, s, gradient + (size_t)s * values) / j->samples;
    for (size_t i = 0; i < values * (size_t)j->samples; i++)
        gradient[i] /= j->samples;
    return loss;
}

/* ---- The usual case
 * ------------------------------------------------------------------------------- */

/* -log of the softmax at the label = log(sum over k of exp(x_k - x_label)), shifted so that
 * nothing overflows; d / dx_k = softmax_k - (k == label). */
void ref_cross_entropy(int samples, int classes, const double *logits, const int *labels,
                       double *loss, double *accuracy, double *gradient) {
    *loss = *accuracy = 0;
    for (int s = 0; s < samples; s++, logits += classes, gradient += classes) {
        int best = first_largest(classes, logits);
        double sum = 0;
        for (int k = 0; k < classes; k++)
            sum += exp(logits[k] - logits[best]);
        *loss += (log(sum) + logits[best] - logits[labels[s]]) / samples;
        *accuracy += (best == labels[s]) / (double)samples;
        for (int k = 0; k < classes; k++) {
            double softmax = exp(logits[k] - logits[best]) / sum;
            gradient[k] = (softmax - (k == labels[s])) / samples;
        }
    }
}
