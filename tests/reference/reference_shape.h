/* The oracles of layers that move values, and of joins (reference_shape.c, reference_join.c): see
 * reference.h. */
#ifndef FV_TESTS_REFERENCE_SHAPE_H
#define FV_TESTS_REFERENCE_SHAPE_H

#include <fovea.h>
#include <stdbool.h>
#include <stddef.h>

/* ---- Output shapes; false where there is none -------------------------------------------------
 */

bool ref_reshape_output(const fv_shape *input, const fv_reshape_options *o, fv_shape *output);
bool ref_permute_output(const fv_shape *input, const fv_permute_options *o, fv_shape *output);
bool ref_pad_output(const fv_shape *input, const fv_pad_options *o, fv_shape *output);
bool ref_crop_output(const fv_shape *input, const fv_crop_options *o, fv_shape *output);
bool ref_slice_output(const fv_shape *input, const fv_slice_options *o, fv_shape *output);
bool ref_concat_output(const fv_shape *inputs, int count, const fv_concat_options *o,
                       fv_shape *output);
bool ref_upsample_output(const fv_shape *input, const fv_upsample_options *o, fv_shape *output);
bool ref_depth_to_space_output(const fv_shape *input, const fv_depth_options *o, fv_shape *output);
bool ref_space_to_depth_output(const fv_shape *input, const fv_depth_options *o, fv_shape *output);
/* Of add, multiply, maximum: equal shapes, but that those of one place fit any. */
bool ref_join_output(const fv_shape *inputs, int count, fv_shape *output);

/* ---- Layers that move values ------------------------------------------------------------------
 */

/* y = A x (+ what padding adds), one way, or dx = A^T dy, the way back; adds to `to`. */
typedef struct ref_way {
    const double *from;
    double *to;
    bool back;
} ref_way;

void ref_permute(const fv_shape *input, const fv_permute_options *o, int samples, ref_way way);
void ref_pad(const fv_shape *input, const fv_pad_options *o, int samples, ref_way way);
void ref_crop(const fv_shape *input, const fv_crop_options *o, int samples, ref_way way);
void ref_slice(const fv_shape *input, const fv_slice_options *o, int samples, ref_way way);
/* Of one of the inputs. */
void ref_concat(const fv_shape *inputs, int count, int which, const fv_concat_options *o,
                int samples, ref_way way);
void ref_upsample(const fv_shape *input, const fv_upsample_options *o, int samples, ref_way way);
void ref_depth_to_space(const fv_shape *input, const fv_depth_options *o, int samples, ref_way way);
void ref_space_to_depth(const fv_shape *input, const fv_depth_options *o, int samples, ref_way way);

/* The values in memory's order (spatial..., channels), once for each sample. */
void ref_constant(size_t values, int samples, const double *weight, double *y);
void ref_constant_back(size_t values, int samples, const double *dy, double *dweight);

/* ---- Joins ------------------------------------------------------------------------------------
 */

typedef enum ref_join_kind { REF_ADD, REF_MULTIPLY, REF_MAXIMUM } ref_join_kind;

/* Of equal largest values the first takes the gradient. The gradient adds to dx[which]. */
void ref_join(ref_join_kind kind, const fv_shape *inputs, int count, int samples, double *const *x,
              double *y);
void ref_join_back(ref_join_kind kind, const fv_shape *inputs, int count, int which, int samples,
                   double *const *x, const double *dy, double *dx);

/* ---- rbf --------------------------------------------------------------------------------------
 */

/* y(u) = sum over k of (x(k) - w(u, k))^2; gradients add. */
void ref_rbf(int samples, int inputs, int units, const double *x, const double *weight, double *y);
void ref_rbf_back(int samples, int inputs, int units, const double *x, const double *weight,
                  const double *dy, double *dx, double *dweight);

#endif
