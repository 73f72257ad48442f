/* The oracles of the optimisers (reference_optimizer.c): see reference.h. */
#ifndef FV_TESTS_REFERENCE_OPTIMIZER_H
#define FV_TESTS_REFERENCE_OPTIMIZER_H

#include <fovea.h>
#include <stddef.h>

enum { REF_SLOTS = 3 };

/* Fills the zeros of lr, rho, beta1, beta2, epsilon, accumulator and (adamw) weight_decay with the
 * defaults of Keras 3 or PyTorch 2 by optimizer and formula. lion and lamb, which PyTorch does not
 * have, have Keras's. */
void ref_optimizer_defaults(fv_train_options *options);

/* First values of the slots: all 0, but adagrad's `accumulator`. */
void ref_optimizer_start(const fv_train_options *options, size_t count,
                         double *const slots[REF_SLOTS]);

/* One step of one weight tensor. `lr` stands for the schedule's rate; `step` counts from 1. The
 * options are complete (see ref_optimizer_defaults). Slots by optimizer:
 *   sgd       velocity                        adagrad   sum of g^2
 *   rmsprop   mean of g^2, of g, last step    adadelta  mean of g^2, of step^2
 *   adam, adamw, lamb, nadam  m, v (with amsgrad: largest v)
 *   adamax    m, u                            lion      m */
void ref_optimizer_step(const fv_train_options *options, double lr, int step, size_t count,
                        double *weight, const double *gradient, double *const slots[REF_SLOTS]);

/* The three clippings, in place; limit 0: none. By norm, Keras scales by limit / max(norm, limit),
 * PyTorch by min(1, limit / (norm + 1e-6)). `norm` is the tensor's or (global) that of all. */
double ref_length(size_t count, const double *gradient);
void ref_clip_value(double limit, size_t count, double *gradient);
void ref_clip_norm(fv_formula formula, double limit, double norm, size_t count, double *gradient);

/* average = share average + (1 - share) weight; after the first step it is the weight itself. */
void ref_ema(double share, int step, size_t count, const double *weight, double *average);

/* Single optimisers, one step. */
void ref_sgd(fv_formula formula, size_t count, double lr, double momentum, double *weight,
             const double *gradient, double *velocity);
void ref_adadelta(size_t count, double lr, double rho, double epsilon, double *weight,
                  const double *gradient, double *mean_square, double *mean_step);
void ref_adam(fv_formula formula, size_t count, int step, double lr, double beta1, double beta2,
              double epsilon, double *weight, const double *gradient, double *first,
              double *second);

#endif
