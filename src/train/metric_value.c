/* Metrics of values. Called by metric.c.
 *
 * mae, mse  means of |output - target| and its square over all values
 * r2        1 - sum (output - target)^2 / sum (target - mean target)^2, mean over the channels; a
 *           channel of equal targets counts as 1 where it is met exactly, else as 0
 * psnr      10 log10(range^2 / mse) of a sample, mean over samples
 * ssim      of a sample, see loss_picture.c, mean over samples */
#include "train/metric.h"
#include <math.h>

/* Calls back for each value that counts. */
static double sum_errors(const fv_metric_sample *s, bool square, size_t *count) {
    double sum = 0;
    for (size_t i = 0; i < s->rows * s->channels; i++) {
        if (s->labels[i / s->channels] < 0)
            continue;
        double d = (double)s->outputs[i] - (double)s->values[i];
        sum += square ? d * d : fabs(d);
        (*count)++;
    }
    return sum;
}

static fv_status add_mae(fv_metric *m, const fv_metric_sample *s) {
    m->sum += sum_errors(s, false, &m->count);
    return FV_OK;
}

static fv_status add_mse(fv_metric *m, const fv_metric_sample *s) {
    m->sum += sum_errors(s, true, &m->count);
    return FV_OK;
}

static double mean(fv_metric *m) {
    return m->count > 0 ? m->sum / (double)m->count : NAN;
}

static fv_status add_psnr(fv_metric *m, const fv_metric_sample *s) {
    size_t values = 0;
    double error = sum_errors(s, true, &values);
    if (values == 0)
        return FV_OK;
    m->sum += 10 * log10(m->options.range * m->options.range * (double)values / error);
    m->count++;
    return FV_OK;
}

static fv_status add_ssim(fv_metric *m, const fv_metric_sample *s) {
    m->sum +=
        fv_ssim(&m->judged.shape, m->options.range, s->outputs, s->values, 0, NULL, s->scratch);
    m->count++;
    return FV_OK;
}

enum { MEAN, SPREAD, RESIDUAL, TOTALS };

/* Mean and spread of the targets as they come (Welford 1962): no two large sums are subtracted. */
static fv_status add_r2(fv_metric *m, const fv_metric_sample *s) {
    for (size_t r = 0; r < s->rows; r++) {
        if (s->labels[r] < 0)
            continue;
        m->count++;
        for (size_t c = 0; c < s->channels; c++) {
            double *total = m->totals + TOTALS * c, t = (double)s->values[r * s->channels + c];
            double before = t - total[MEAN], error = (double)s->outputs[r * s->channels + c] - t;
            total[MEAN] += before / (double)m->count;
            total[SPREAD] += before * (t - total[MEAN]);
            total[RESIDUAL] += error * error;
        }
    }
    return FV_OK;
}

static double result_r2(fv_metric *m) {
    double sum = 0;
    int channels = m->judged.shape.channels;
    for (int c = 0; c < channels; c++) {
        const double *total = m->totals + TOTALS * c;
        if (total[SPREAD] > 0)
            sum += 1 - total[RESIDUAL] / total[SPREAD];
        else
            sum += total[RESIDUAL] == 0;
    }
    return m->count > 0 ? sum / channels : NAN;
}

const fv_metric_type fv_metric_mae = {.name = "mae", .add = add_mae, .result = mean};
const fv_metric_type fv_metric_mse = {.name = "mse", .add = add_mse, .result = mean};
const fv_metric_type fv_metric_r2 = {
    .name = "r2", .totals = TOTALS, .add = add_r2, .result = result_r2};
const fv_metric_type fv_metric_psnr = {.name = "psnr", .add = add_psnr, .result = mean};
const fv_metric_type fv_metric_ssim = {.name = "ssim",
                                       .fits = fv_ssim_fits,
                                       .scratch = fv_ssim_scratch,
                                       .add = add_ssim,
                                       .result = mean};
