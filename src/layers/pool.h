/* Windows over one sample, and pooling by the kernels: shared by the layers that pool. */
#ifndef FV_LAYERS_POOL_H
#define FV_LAYERS_POOL_H

#include "layers/layer.h"

/* The kernels' three axes: those that the input lacks are 1 and come first. */
fv_window fv_window_of(const fv_shape *input, const fv_axis axes[3]);

/* Bytes a sample that max pooling keeps for its backward pass. */
size_t fv_maxpool_notes(const fv_window *window);
void fv_maxpool_forward(const fv_call *call, const fv_window *window);
void fv_maxpool_backward(const fv_call *call, const fv_window *window);
void fv_avgpool_forward(const fv_call *call, const fv_window *window);
void fv_avgpool_backward(const fv_call *call, const fv_window *window);

#endif
