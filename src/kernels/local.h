/* The kernels of one instruction set, as table.c lists them: each is defined in a kernel file and
 * named apart by FV_LOCAL. */
#ifndef FV_KERNELS_LOCAL_H
#define FV_KERNELS_LOCAL_H

#include "kernels/kernels.h"
#include "kernels/vec.h"

void FV_LOCAL(product)(const fv_product *product);
void FV_LOCAL(depthwise)(const fv_depthwise *row);
void FV_LOCAL(depthwise_weights)(const fv_depthwise *row);
void FV_LOCAL(pack)(const real *b, ptrdiff_t b_row, bool transposed, int depth, int columns,
                    real *panels);
void FV_LOCAL(activate)(fv_activation kind, real constant, size_t rows, int channels, real *y);
void FV_LOCAL(activate_back)(fv_activation kind, real constant, size_t rows, int channels,
                             const real *y, real *gradient);
void FV_LOCAL(prelu)(size_t rows, int channels, const real *x, const real *slope, real *y);
void FV_LOCAL(prelu_back)(size_t rows, int channels, const real *x, const real *slope,
                          const real *dy, real *dx, real *sums);
void FV_LOCAL(positive_bits)(size_t count, const real *y, uint8_t *bits);
void FV_LOCAL(between_bits)(size_t count, real low, real high, const real *y, uint8_t *bits);
void FV_LOCAL(scale_rest)(size_t count, const uint8_t *bits, real scale, real *y);
void FV_LOCAL(keep_bits)(size_t count, const uint8_t *bits, real scale, const real *x, real *y);
void FV_LOCAL(random_bits)(size_t count, const uint32_t key[2], const uint32_t stream[3],
                           uint32_t threshold, uint8_t *bits);
void FV_LOCAL(bytes_to_real)(size_t count, const uint8_t *bytes, real *y);
void FV_LOCAL(scale)(size_t count, real factor, real *y);
void FV_LOCAL(add)(size_t count, const real *x, real *y);
void FV_LOCAL(add_rows)(size_t rows, int channels, ptrdiff_t row, const real *x, real *sum);
void FV_LOCAL(tree_sum)(size_t count, int units, size_t stride, real *parts, real *sums);
bool FV_LOCAL(all_finite)(size_t count, const real *x);
void FV_LOCAL(channel_sums)(size_t rows, int channels, const real *x, const real *shift,
                            const real *dy, double *sums);
void FV_LOCAL(affine)(size_t rows, int channels, const real *x, const real *mean,
                      const real *factor, const real *offset, real *y);
void FV_LOCAL(affine_back)(size_t rows, int channels, const real *x, const real *mean,
                           const real *dy, const fv_affine_back *by, real *dx);
void FV_LOCAL(norm_rows)(const fv_row_norm *norm, size_t rows, const real *x, real *notes, real *y);
void FV_LOCAL(norm_rows_back)(const fv_row_norm *norm, size_t rows, const real *x,
                              const real *notes, const real *dy, real *dx, real *dscale,
                              real *dbias);
void FV_LOCAL(lrn)(const fv_lrn_window *l, size_t rows, const real *x, real *scratch, real *y);
void FV_LOCAL(lrn_back)(const fv_lrn_window *l, size_t rows, const real *x, const real *dy,
                        real *scratch, real *dx);
void FV_LOCAL(add_normals)(size_t count, const uint32_t key[2], const uint32_t stream[3],
                           real deviation, real *y);
double FV_LOCAL(multiply_adds)(size_t rounds, real factor, int64_t *count);
void FV_LOCAL(maxpool)(const fv_window *window, const real *x, real *y, void *winners);
void FV_LOCAL(maxpool_back)(const fv_window *window, const real *dy, const void *winners, real *dx);
void FV_LOCAL(avgpool)(const fv_window *window, const real *x, real *y);
void FV_LOCAL(avgpool_back)(const fv_window *window, const real *dy, real *dx);
void FV_LOCAL(winograd_input)(const fv_patch *at, const real *x, real *v, ptrdiff_t step);
void FV_LOCAL(winograd_input_back)(const fv_patch *at, const real *v, ptrdiff_t step, real *dx);
extern const fv_winograd_form FV_LOCAL(winograd_3x3), FV_LOCAL(winograd_5x5);
fv_update_kernel FV_LOCAL(sgd), FV_LOCAL(adagrad), FV_LOCAL(rmsprop), FV_LOCAL(adadelta);
fv_update_kernel FV_LOCAL(adam), FV_LOCAL(adamax), FV_LOCAL(nadam), FV_LOCAL(lion), FV_LOCAL(lamb);
double FV_LOCAL(lamb_moments)(const fv_update *update, size_t count, const real *g,
                              real *const *slots);
double FV_LOCAL(sum_squares)(size_t count, const real *x);
double FV_LOCAL(sum_absolute)(size_t count, const real *x);
void FV_LOCAL(regularize)(size_t count, real l1, real l2, const real *w, real *g);
void FV_LOCAL(clamp)(size_t count, real limit, real *g);
void FV_LOCAL(decay)(size_t count, real share, real *w);
void FV_LOCAL(average)(size_t count, real old_share, real new_share, const real *w, real *mean);

#endif
