/* Metrics of classes. Of one class: hits h, places that are of it a, places that were named it n.
 * Called by metric.c.
 *
 * accuracy   share of places named rightly
 * top_k      share of places where fewer than k classes have a larger output than the right one
 * precision  h / n        recall  h / a        f1  2 h / (a + n)        mean_iou  h / (a + n - h)
 *            means over the classes that occur; of one channel: of class 1 (mean_iou: of both)
 * dice       2 h / (a + n) in one sample, mean over the classes that occur in it, then over
 * samples; samples in which none occurs do not count */
#include "train/metric.h"
#include <math.h>
#include <string.h>

enum { HITS, ARE, NAMED, COUNTS };

static double share(double part, double whole) {
    return whole > 0 ? part / whole : 0;
}

/* ---- Single places -------------------------------------------------------------------------- */

static fv_status add_accuracy(fv_metric *m, const fv_metric_sample *s) {
    for (size_t r = 0; r < s->rows; r++)
        if (s->labels[r] >= 0) {
            m->sum += fv_metric_answer(m, s, r) == s->labels[r];
            m->count++;
        }
    return FV_OK;
}

static fv_status add_top_k(fv_metric *m, const fv_metric_sample *s) {
    for (size_t r = 0; r < s->rows; r++) {
        if (s->labels[r] < 0)
            continue;
        const real *y = s->outputs + r * s->channels;
        int better = 0;
        for (size_t c = 0; c < s->channels; c++) {
            real right = y[s->labels[r]];
            better += m->answer == FV_ANSWER_SMALLEST ? !(y[c] >= right) : !(y[c] <= right);
        }
        m->sum += better < m->options.k;
        m->count++;
    }
    return FV_OK;
}

static double mean(fv_metric *m) {
    return m->count > 0 ? m->sum / (double)m->count : NAN;
}

/* ---- Counts of classes ---------------------------------------------------------------------- */

static fv_status add_counts(fv_metric *m, const fv_metric_sample *s) {
    for (size_t r = 0; r < s->rows; r++) {
        int label = s->labels[r], named = fv_metric_answer(m, s, r);
        if (label < 0)
            continue;
        m->counts[COUNTS * label + ARE]++;
        m->counts[COUNTS * named + NAMED]++;
        m->counts[COUNTS * label + HITS] += label == named;
    }
    return FV_OK;
}

typedef double of_class(double hits, double are, double named);

/* Mean over the classes from `first` on that occur; NaN where none does. */
static double mean_of(const fv_metric *m, size_t first, of_class *value) {
    double sum = 0;
    size_t count = 0;
    for (size_t c = first; c < m->classes; c++) {
        const int64_t *n = m->counts + COUNTS * c;
        if (n[ARE] + n[NAMED] == 0)
            continue;
        sum += value((double)n[HITS], (double)n[ARE], (double)n[NAMED]);
        count++;
    }
    return count > 0 ? sum / (double)count : NAN;
}

static size_t first_class(const fv_metric *m) {
    return m->answer == FV_ANSWER_BINARY;
}

static double precision(double hits, double are, double named) {
    (void)are;
    return share(hits, named);
}

static double recall(double hits, double are, double named) {
    (void)named;
    return share(hits, are);
}

static double f1(double hits, double are, double named) {
    return share(2 * hits, are + named);
}

static double iou(double hits, double are, double named) {
    return share(hits, are + named - hits);
}

static double result_precision(fv_metric *m) {
    return mean_of(m, first_class(m), precision);
}

static double result_recall(fv_metric *m) {
    return mean_of(m, first_class(m), recall);
}

static double result_f1(fv_metric *m) {
    return mean_of(m, first_class(m), f1);
}

static double result_mean_iou(fv_metric *m) {
    return mean_of(m, 0, iou);
}

static fv_status add_dice(fv_metric *m, const fv_metric_sample *s) {
    memset(m->counts, 0, COUNTS * m->classes * sizeof *m->counts);
    add_counts(m, s);
    double dice = mean_of(m, first_class(m), f1);
    if (!isnan(dice)) {
        m->sum += dice;
        m->count++;
    }
    return FV_OK;
}

static fv_status add_confusion(fv_metric *m, const fv_metric_sample *s) {
    for (size_t r = 0; r < s->rows; r++)
        if (s->labels[r] >= 0)
            m->matrix[(size_t)s->labels[r] * m->classes + (size_t)fv_metric_answer(m, s, r)]++;
    return FV_OK;
}

const fv_metric_type fv_metric_accuracy = {
    .name = "accuracy", .classes = true, .add = add_accuracy, .result = mean};
const fv_metric_type fv_metric_top_k = {
    .name = "top_k", .classes = true, .add = add_top_k, .result = mean};
const fv_metric_type fv_metric_precision = {.name = "precision",
                                            .classes = true,
                                            .counts = true,
                                            .add = add_counts,
                                            .result = result_precision};
const fv_metric_type fv_metric_recall = {
    .name = "recall", .classes = true, .counts = true, .add = add_counts, .result = result_recall};
const fv_metric_type fv_metric_f1 = {
    .name = "f1", .classes = true, .counts = true, .add = add_counts, .result = result_f1};
const fv_metric_type fv_metric_mean_iou = {.name = "mean_iou",
                                           .classes = true,
                                           .counts = true,
                                           .add = add_counts,
                                           .result = result_mean_iou};
const fv_metric_type fv_metric_dice = {
    .name = "dice", .classes = true, .counts = true, .add = add_dice, .result = mean};
const fv_metric_type fv_metric_confusion = {
    .name = "confusion", .classes = true, .add = add_confusion, .result = mean};
