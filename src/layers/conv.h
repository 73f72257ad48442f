/* Convolution inside the layers room: conv.c is the record, conv_direct.c the algorithm by the
 * batch-reduce product. */
#ifndef FV_LAYERS_CONV_H
#define FV_LAYERS_CONV_H

#include "layers/layer.h"

/* Three axes, those that the input lacks first and of size 1; so one code path serves 1-D to 3-D.
 * Neighbouring axes that a 1x1 kernel does not tell apart are folded into one. */
typedef struct fv_conv_geometry {
    fv_axis axis[3];
    int channels, filters;
    /* dy is laid out with zeros around it, and its rows of filters padded to whole vectors:
     * [low + out + high along each axis][filter_row]. */
    int low[3], high[3], filter_row;
    bool padded_input;
} fv_conv_geometry;

fv_conv_geometry fv_conv_measure(const fv_conv_options *options, const fv_shape *input,
                                 const fv_setting *setting);

void fv_conv_direct_prepare(const fv_conv_geometry *g, const fv_setting *setting,
                            fv_layer_plan *plan);
void fv_conv_direct_pack(const fv_conv_geometry *g, const fv_call *call);
void fv_conv_direct_forward(const fv_conv_geometry *g, const fv_call *call);
void fv_conv_direct_backward(const fv_conv_geometry *g, const fv_call *call);

#endif
