/* Convolution inside the layers room: conv.c is the record, conv_direct.c the algorithm by the
 * batch-reduce product, conv_winograd.c the one for 3x3 kernels in the plane. */
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

/* A copy with zeros before and after along each axis, and pixels of `row` values. */
typedef struct fv_border {
    int size[3], low[3], high[3]; /* of the source; zeros added */
    int channels, row;            /* values of a pixel in the source and in the copy */
} fv_border;

void fv_copy_with_border(const fv_border *border, const real *from, real *to);

void fv_conv_direct_prepare(const fv_conv_geometry *g, const fv_setting *setting,
                            fv_layer_plan *plan);
void fv_conv_direct_pack(const fv_conv_geometry *g, const fv_call *call);
void fv_conv_direct_forward(const fv_conv_geometry *g, const fv_call *call);
void fv_conv_direct_backward(const fv_conv_geometry *g, const fv_call *call);

/* Whether Winograd's algorithm can do this layer and pays. */
bool fv_conv_winograd_fits(const fv_conv_geometry *g, const fv_setting *setting);
void fv_conv_winograd_prepare(const fv_conv_geometry *g, const fv_setting *setting,
                              fv_layer_plan *plan);
void fv_conv_winograd_pack(const fv_conv_geometry *g, const fv_call *call);
void fv_conv_winograd_forward(const fv_conv_geometry *g, const fv_call *call);
void fv_conv_winograd_backward(const fv_conv_geometry *g, const fv_call *call);

#endif
