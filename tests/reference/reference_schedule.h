/* The oracle of learning rates (reference_schedule.c): see reference.h. */
#ifndef FV_TESTS_REFERENCE_SCHEDULE_H
#define FV_TESTS_REFERENCE_SCHEDULE_H

#include <fovea.h>

/* The rate at step t (from 0) of a run of `steps`, by the formulas of fv_schedule; zeros of gamma,
 * power, multiply and decay_steps are their defaults. plateau is constant here. */
double ref_schedule(const fv_train_options *options, int64_t steps, int64_t t);

/* Reduce on plateau: the factor on the rate after `epochs` validation losses (Keras: a loss counts
 * as lower when it is below the best less min_delta; after `patience` epochs without, times
 * gamma). */
double ref_plateau(const fv_train_options *options, int epochs, const double *losses);

#endif
