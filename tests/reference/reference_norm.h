/* The oracles of normalisation (reference_norm.c): see reference.h. Arrays are samples x places x
 * channels. */
#ifndef FV_TESTS_REFERENCE_NORM_H
#define FV_TESTS_REFERENCE_NORM_H

#include <fovea.h>
#include <stdbool.h>

/* Whose values share a mean and a variance: */
typedef enum ref_norm_kind {
    REF_NORM_BATCH,    /* those of a channel, in all samples */
    REF_NORM_LAYER,    /* of a place of a sample */
    REF_NORM_SAMPLE,   /* of a sample (layer_norm all); then each has a scale of its own */
    REF_NORM_GROUP,    /* of a group of channels of a sample */
    REF_NORM_INSTANCE, /* of a channel of a sample */
} ref_norm_kind;

typedef struct ref_norm {
    ref_norm_kind kind;
    int samples, places, channels;
    int groups; /* of REF_NORM_GROUP */
    double epsilon;
} ref_norm;

int ref_norm_sets(const ref_norm *norm);         /* means and variances */
int ref_norm_scales(const ref_norm *norm);       /* scales and biases */
int ref_norm_set(const ref_norm *norm, int i);   /* that value i belongs to */
int ref_norm_scale(const ref_norm *norm, int i); /* and its scale */

/* Mean and variance (divided by their number) of each set. */
void ref_norm_statistics(const ref_norm *norm, const double *x, double *mean, double *variance);
/* y = (x - mean) / sqrt(variance + epsilon) scale + bias. NULL scale: 1, bias: 0. */
void ref_norm_forward(const ref_norm *norm, const double *x, const double *mean,
                      const double *variance, const double *scale, const double *bias, double *y);
/* `fixed`: mean and variance do not depend on x. dscale, dbias may be NULL. */
void ref_norm_gradient(const ref_norm *norm, bool fixed, const double *x, const double *mean,
                       const double *variance, const double *scale, const double *dy, double *dx,
                       double *dscale, double *dbias);

/* Defaults of batch_norm by formula; running = momentum running + (1 - momentum) new, in place,
 * with the new variance of `values` values divided by their number or (torch, caffe) by one less.
 */
double ref_batch_norm_momentum(fv_formula formula);
double ref_batch_norm_epsilon(fv_formula formula);
double ref_layer_norm_epsilon(fv_formula formula); /* and group_norm, instance_norm */
void ref_running_statistics(fv_formula formula, double momentum, int channels, double values,
                            const double *mean, const double *variance, double *running_mean,
                            double *running_variance);

/* y = x / sqrt(mean over channels of x^2 + epsilon) scale. NULL scale: 1, dscale: not wanted. */
void ref_rms_norm(int rows, int channels, double epsilon, const double *x, const double *scale,
                  double *y);
void ref_rms_norm_gradient(int rows, int channels, double epsilon, const double *x,
                           const double *scale, const double *dy, double *dx, double *dscale);

/* y = x / sqrt(max(sum over channels of x^2, epsilon)); the derivative of max is 0 or 1. */
void ref_l2_normalize(int rows, int channels, double epsilon, const double *x, double *y);
void ref_l2_normalize_gradient(int rows, int channels, double epsilon, const double *x,
                               const double *dy, double *dx);

/* Zeros of the options become their defaults. */
void ref_lrn(int rows, int channels, const fv_lrn_options *options, const double *x, double *y);
void ref_lrn_gradient(int rows, int channels, const fv_lrn_options *options, const double *x,
                      const double *dy, double *dx);

#endif
