/* The oracle of metrics: counts pairs and places one by one. Called by tests/test_metric.c. */
#include "reference.h"
#include <math.h>
#include <string.h>

static bool is(const ref_measured *m, const char *type) {
    return strcmp(m->options->type, type) == 0;
}

static int place_count(const ref_measured *m) {
    int places = 1;
    for (int axis = 0; axis < m->shape.rank; axis++)
        places *= m->shape.size[axis];
    return places;
}

static int class_count(const ref_measured *m) {
    return m->shape.channels == 1 ? 2 : m->shape.channels;
}

static double output(const ref_measured *m, int row, int c) {
    return m->outputs[row * m->shape.channels + c];
}

static double target(const ref_measured *m, int row, int c) {
    int channels = m->shape.channels;
    return !m->indices     ? m->targets[row * channels + c]
           : channels == 1 ? m->indices[row]
                           : m->indices[row] == c;
}

static bool counts(const ref_measured *m, int row) {
    if (!m->indices && m->shape.channels > 1)
        return true;
    double number = m->indices ? m->indices[row] : m->targets[row];
    for (int i = 0; i < m->options->ignore_count; i++)
        if (number == m->options->ignore[i])
            return false;
    return true;
}

static int class_of(const ref_measured *m, int row) {
    int best = 0;
    if (m->shape.channels == 1)
        return target(m, row, 0) > 0.5;
    for (int c = 1; c < m->shape.channels; c++)
        if (target(m, row, c) > target(m, row, best))
            best = c;
    return best;
}

static int named(const ref_measured *m, int row) {
    int best = 0;
    double threshold = m->options->threshold != 0 ? m->options->threshold : 0.5;
    if (m->shape.channels == 1)
        return output(m, row, 0) > threshold;
    for (int c = 1; c < m->shape.channels; c++)
        if (m->smallest ? output(m, row, c) < output(m, row, best)
                        : output(m, row, c) > output(m, row, best))
            best = c;
    return best;
}

/* ---- Classes -------------------------------------------------------------------------------- */

static double share_right(const ref_measured *m, int rows, int k) {
    double right = 0, all = 0;
    for (int r = 0; r < rows; r++) {
        if (!counts(m, r))
            continue;
        int better = 0;
        for (int c = 0; c < m->shape.channels && k > 0; c++) {
            double of_class = output(m, r, class_of(m, r));
            better += m->smallest ? output(m, r, c) < of_class : output(m, r, c) > of_class;
        }
        right += k > 0 ? better < k : named(m, r) == class_of(m, r);
        all++;
    }
    return right / all;
}

static double over(double a, double b) {
    return b > 0 ? a / b : 0;
}

/* The measure of one class over rows [first, end); NaN where it does not occur. */
static double of_class(const ref_measured *m, int first, int end, int class) {
    double hits = 0, falsely = 0, missed = 0;
    for (int r = first; r < end; r++) {
        if (!counts(m, r))
            continue;
        bool is_it = class_of(m, r) == class, is_named = named(m, r) == class;
        hits += is_it && is_named;
        falsely += !is_it && is_named;
        missed += is_it && !is_named;
    }
    if (hits + falsely + missed == 0)
        return NAN;
    return is(m, "precision")  ? over(hits, hits + falsely)
           : is(m, "recall")   ? over(hits, hits + missed)
           : is(m, "mean_iou") ? hits / (hits + falsely + missed)
                               : 2 * hits / (2 * hits + falsely + missed);
}

static double over_classes(const ref_measured *m, int first, int end) {
    double sum = 0, count = 0;
    int class = m->shape.channels == 1 && !is(m, "mean_iou");
    for (; class < class_count(m); class ++) {
        double value = of_class(m, first, end, class);
        sum += isnan(value) ? 0 : value;
        count += !isnan(value);
    }
    return sum / count;
}

static double dice(const ref_measured *m) {
    double sum = 0, count = 0;
    int places = place_count(m);
    for (int s = 0; s < m->samples; s++) {
        double value = over_classes(m, s * places, (s + 1) * places);
        sum += isnan(value) ? 0 : value;
        count += !isnan(value);
    }
    return sum / count;
}

static double auc(const ref_measured *m, int rows) {
    double sum = 0, classes = 0, sign = m->smallest ? -1 : 1;
    for (int c = 0; c < m->shape.channels; c++) {
        double won = 0, pairs = 0;
        for (int a = 0; a < rows; a++)
            for (int b = 0; b < rows; b++) {
                if (!counts(m, a) || !counts(m, b) || target(m, a, c) <= 0.5 ||
                    target(m, b, c) > 0.5)
                    continue;
                double up = sign * output(m, a, c), down = sign * output(m, b, c);
                won += up > down ? 1 : up == down ? 0.5 : 0;
                pairs++;
            }
        sum += pairs > 0 ? won / pairs : 0;
        classes += pairs > 0;
    }
    return sum / classes;
}

/* ---- Values --------------------------------------------------------------------------------- */

/* Mean of |output - target| to that power over rows [first, end). */
static double mean_error(const ref_measured *m, int first, int end, int power) {
    double sum = 0, count = 0;
    for (int r = first; r < end; r++)
        for (int c = 0; counts(m, r) && c < m->shape.channels; c++, count++)
            sum += pow(fabs(output(m, r, c) - target(m, r, c)), power);
    return sum / count;
}

static double r2(const ref_measured *m, int rows) {
    double sum = 0;
    for (int c = 0; c < m->shape.channels; c++) {
        double mean = 0, count = 0, error = 0, spread = 0;
        for (int r = 0; r < rows; r++) {
            mean += counts(m, r) ? target(m, r, c) : 0;
            count += counts(m, r);
        }
        mean /= count;
        for (int r = 0; r < rows; r++) {
            error += counts(m, r) ? pow(output(m, r, c) - target(m, r, c), 2) : 0;
            spread += counts(m, r) ? pow(target(m, r, c) - mean, 2) : 0;
        }
        sum += spread > 0 ? 1 - error / spread : error == 0;
    }
    return sum / m->shape.channels;
}

enum { MOST_VALUES = 4096 };

static double over_pictures(const ref_measured *m) {
    double sum = 0, range = m->options->range != 0 ? m->options->range : 1;
    int places = place_count(m), values = places * m->shape.channels;
    double unused[MOST_VALUES]; /* a sample's gradient */
    for (int s = 0; s < m->samples && values <= MOST_VALUES; s++)
        sum += is(m, "psnr")
                   ? 10 * log10(range * range / mean_error(m, s * places, (s + 1) * places, 2))
                   : ref_ssim(m->shape.size[0], m->shape.size[1], m->shape.channels, range,
                              m->outputs + s * values, m->targets + s * values, unused);
    return sum / m->samples;
}

double ref_metric(const ref_measured *m) {
    int rows = m->samples * place_count(m);
    return is(m, "accuracy") ? share_right(m, rows, 0)
           : is(m, "top_k")  ? share_right(m, rows, m->options->k ? m->options->k : 5)
           : is(m, "auc")    ? auc(m, rows)
           : is(m, "mae")    ? mean_error(m, 0, rows, 1)
           : is(m, "mse")    ? mean_error(m, 0, rows, 2)
           : is(m, "r2")     ? r2(m, rows)
           : is(m, "dice")   ? dice(m)
           : is(m, "psnr") || is(m, "ssim") ? over_pictures(m)
                                            : over_classes(m, 0, rows);
}
