/* What a metric is: a record and three functions that gather numbers sample by sample and make one
 * of them at the end. The records stand in metric_*.c; metric.c runs them over a data set. */
#ifndef FV_TRAIN_METRIC_H
#define FV_TRAIN_METRIC_H

#include "train/train.h"

/* One sample: `rows` places of the judged shape's channels. */
typedef struct fv_metric_sample {
    size_t rows, channels;
    const real *outputs, *values; /* rows x channels; outputs after their activation */
    const int *labels;            /* of each place; -1: does not count */
    double *scratch;
} fv_metric_sample;

typedef struct fv_metric_type {
    const char *name;
    bool classes;  /* a target of a single number is always a class index */
    bool counts;   /* needs fv_metric.counts */
    size_t totals; /* needs so many fv_metric.totals a channel */
    fv_status (*fits)(const fv_shape *shape); /* NULL: any */
    size_t (*scratch)(const fv_shape *shape); /* doubles; NULL: none */
    fv_status (*add)(fv_metric *metric, const fv_metric_sample *sample);
    double (*result)(fv_metric *metric);
} fv_metric_type;

struct fv_metric {
    const fv_metric_type *type;
    fv_metric_options options; /* with all defaults */
    char what[48];
    fv_judged judged;
    bool activate;    /* the runner leaves the activation of its output to a loss */
    fv_answer answer; /* how its outputs name a class: FV_ANSWER_BINARY for one channel */
    double positive;  /* then class 1 is above this */
    size_t classes;
    /* What is gathered; all zero at the beginning. */
    double sum;
    size_t count;
    int64_t *counts; /* of each class {hits, places that are, places that were named} */
    double *totals;
    struct fv_ranked *ranked; /* of auc: room x channels, of which held x channels are there */
    size_t held, room;
    int64_t *matrix; /* of fv_confusion() */
};

static inline int fv_metric_answer(const fv_metric *m, const fv_metric_sample *s, size_t row) {
    return fv_answer_of(m->answer, s->outputs + row * s->channels, (int)s->channels, m->positive);
}

extern const fv_metric_type fv_metric_accuracy, fv_metric_top_k, fv_metric_precision,
    fv_metric_recall, fv_metric_f1, fv_metric_mean_iou, fv_metric_dice,
    fv_metric_confusion; /* metric_class.c */
extern const fv_metric_type fv_metric_mae, fv_metric_mse, fv_metric_r2, fv_metric_psnr,
    fv_metric_ssim;                        /* metric_value.c */
extern const fv_metric_type fv_metric_auc; /* metric_rank.c */

#endif
