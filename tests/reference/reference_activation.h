/* The oracles of activations (reference_activation.c): see reference.h. */
#ifndef FV_TESTS_REFERENCE_ACTIVATION_H
#define FV_TESTS_REFERENCE_ACTIVATION_H

#include <fovea.h>
#include <stdbool.h>
#include <stddef.h>

/* The constant that fovea.h names: leaky_relu's slope, elu's alpha, hard_sigmoid's slope; else 0.
 */
double ref_activation_constant(fv_activation kind);

/* Over rows x channels; only the two softmaxes look at a whole row. */
void ref_activate(fv_activation kind, double constant, size_t rows, int channels, const double *x,
                  double *y);
/* dx from the inputs x. At a kink the derivative is that of the side below; hard_sigmoid's and
 * relu6's upper kinks have 0 (PyTorch). */
void ref_activate_gradient(fv_activation kind, double constant, size_t rows, int channels,
                           const double *x, const double *dy, double *dx);

/* y = x > 0 ? x : slope(c) x. shared: one slope for all channels. */
void ref_prelu(size_t rows, int channels, bool shared, const double *x, const double *slope,
               double *y);
void ref_prelu_gradient(size_t rows, int channels, bool shared, const double *x,
                        const double *slope, const double *dy, double *dx, double *dslope);

/* All kinds by their default constants. */
void ref_activation(fv_activation kind, size_t rows, int channels, const double *x, double *y);
/* dx from the outputs y; from the inputs x where y does not tell them: gelu, gelu_tanh, silu, mish,
 * hard_swish. For layers whose own outputs say on which side of a kink, and how far from a limit,
 * they came out. */
void ref_activation_gradient(fv_activation kind, double constant, size_t rows, int channels,
                             const double *x, const double *y, const double *dy, double *dx);

#endif
