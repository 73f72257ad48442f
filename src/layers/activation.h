/* The activation at the end of a layer: shared by the activation layers and by those that have it
 * fused. For the gradient those with one kink keep a bit a value, others their output, and those
 * whose derivative that does not tell (fv_activation_by_input) a copy of what they were applied to.
 */
#ifndef FV_LAYERS_ACTIVATION_H
#define FV_LAYERS_ACTIVATION_H

#include "layers/layer.h"

/* Whether fv_kernels.activate_back goes by the values before the activation, not after it. */
bool fv_activation_by_input(fv_activation activation);

/* What the gradient needs, added to the plan; `values` a sample. */
void fv_activation_prepare(fv_activation activation, size_t values, const fv_setting *setting,
                           fv_layer_plan *plan);

/* Samples [first, first + count) of the call, in place in call->out. `done`: the activation that
 * the layer has applied already if the call has it. In training the notes for the gradient are
 * kept. */
void fv_activation_forward(const fv_call *call, int first, int count, fv_activation done);

/* In place in call->out_gradient. */
void fv_activation_backward(const fv_call *call, int first, int count);

#endif
