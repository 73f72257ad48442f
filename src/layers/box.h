/* A box of cells within a larger array of three spatial axes and channels: what pad, crop, slice
 * and concat copy. */
#ifndef FV_LAYERS_BOX_H
#define FV_LAYERS_BOX_H

#include "layers/layer.h"

typedef struct fv_box {
    size_t size[4], whole[4], at[4]; /* of the box, of the array, and where the box begins */
} fv_box;

/* Of two shapes of one rank; `at` are the whole's spatial axes and then the channels. */
fv_box fv_box_of(const fv_shape *part, const fv_shape *whole, const int at[4]);

/* The box is dense in `part`. */
void fv_box_take(const fv_box *box, const real *whole, real *part);
void fv_box_put(const fv_box *box, const real *part, real *whole);

/* Of a layer whose output is the box of its input: all samples of a call. */
void fv_box_forward(const fv_call *call, const fv_box *box);
void fv_box_backward(const fv_call *call, const fv_box *box);

/* FV_SHAPE where the input has no such axis, counted from 1; 0: the channels. */
fv_status fv_check_axis(const fv_shape *input, int axis);

#endif
