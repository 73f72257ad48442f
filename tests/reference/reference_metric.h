/* The oracles of metrics (reference_metric.c): see reference.h. */
#ifndef FV_TESTS_REFERENCE_METRIC_H
#define FV_TESTS_REFERENCE_METRIC_H

#include <fovea.h>

/* What a metric measures. */
typedef struct ref_measured {
    const fv_metric_options *options; /* zeros are defaults */
    int samples;
    fv_shape shape;        /* of one sample's output */
    const double *outputs; /* samples x shape, after their activation */
    const double *targets; /* the same; or NULL: */
    const double *indices; /* a class index for each place */
    bool smallest;         /* the smallest output is the answer, not the largest */
} ref_measured;

/* A place's class is its index, or that of the first largest target; of one channel, whether the
 * target is above 1/2. What a place is named is the first largest (smallest) output; of one
 * channel, whether it is above the threshold. Places whose index (of one channel: target) is to be
 * ignored count nowhere. NaN where nothing counts.
 *
 *   accuracy   share of places named rightly
 *   top_k      share of places with fewer than k outputs larger than that of the class
 *   precision, recall, f1, mean_iou   as scikit-learn's macro averages over the classes that occur;
 *              of one channel that of class 1 (mean_iou: of both)
 *   dice       f1 of each sample by itself, mean over the samples where a class occurs
 *   auc        share of pairs (place of the class, other place) that the outputs order rightly,
 * ties half; mean over the channels that have pairs mae, mse, r2 (mean over channels), psnr and
 * ssim (means over samples) */
double ref_metric(const ref_measured *measured);

#endif
