/* What options mean where they are silent or say it shortly. For translators of nets into other
 * languages (formats/), so that a default has one place: the layer's own file. */
#ifndef FV_LAYERS_MEANING_H
#define FV_LAYERS_MEANING_H

#include "layers/layer.h"

double fv_batch_norm_epsilon(const fv_batch_norm_options *options);

/* Of layer_norm, group_norm, instance_norm: `epsilon` as given, or the formula's. */
double fv_norm_epsilon(double epsilon, fv_formula formula);

/* The window and the constants, alpha as factor of the sum. */
fv_lrn_window fv_lrn_of(const fv_lrn_options *options, int channels);

/* The axes of the convolution from the layer's output (`in`, FV_ANY where it varies) to `input`
 * (`out`); before and after are what the transpose takes from its output. */
fv_status fv_conv_transpose_axes(const fv_conv_transpose_options *options, const fv_shape *input,
                                 fv_axis axes[3]);

#endif
