/* The table of one instruction set's kernels, for choose.c. */
#include "kernels/local.h"

#define FV_TEXT_(isa) #isa
#define FV_TEXT(isa) FV_TEXT_(isa)

extern const fv_kernels FV_LOCAL(kernels);

const fv_kernels FV_LOCAL(kernels) = {
    .name = FV_TEXT(FV_ISA),
    .vector = VL,
    .panel = PANEL,
    .rows = FV_TILE_ROWS,
    .product = FV_LOCAL(product),
    .depthwise = FV_LOCAL(depthwise),
    .depthwise_weights = FV_LOCAL(depthwise_weights),
    .pack = FV_LOCAL(pack),
    .activate = FV_LOCAL(activate),
    .activate_back = FV_LOCAL(activate_back),
    .prelu = FV_LOCAL(prelu),
    .prelu_back = FV_LOCAL(prelu_back),
    .positive_bits = FV_LOCAL(positive_bits),
    .between_bits = FV_LOCAL(between_bits),
    .scale_rest = FV_LOCAL(scale_rest),
    .keep_bits = FV_LOCAL(keep_bits),
    .random_bits = FV_LOCAL(random_bits),
    .bytes_to_real = FV_LOCAL(bytes_to_real),
    .scale = FV_LOCAL(scale),
    .add = FV_LOCAL(add),
    .add_rows = FV_LOCAL(add_rows),
    .tree_sum = FV_LOCAL(tree_sum),
    .all_finite = FV_LOCAL(all_finite),
    .channel_sums = FV_LOCAL(channel_sums),
    .affine = FV_LOCAL(affine),
    .affine_back = FV_LOCAL(affine_back),
    .norm_rows = FV_LOCAL(norm_rows),
    .norm_rows_back = FV_LOCAL(norm_rows_back),
    .lrn = FV_LOCAL(lrn),
    .lrn_back = FV_LOCAL(lrn_back),
    .add_normals = FV_LOCAL(add_normals),
    .maxpool = FV_LOCAL(maxpool),
    .maxpool_back = FV_LOCAL(maxpool_back),
    .avgpool = FV_LOCAL(avgpool),
    .avgpool_back = FV_LOCAL(avgpool_back),
    .winograd_input = FV_LOCAL(winograd_input),
    .winograd_input_back = FV_LOCAL(winograd_input_back),
    .winograd_output = FV_LOCAL(winograd_output),
    .winograd_output_back = FV_LOCAL(winograd_output_back),
    .winograd_weights = FV_LOCAL(winograd_weights),
    .winograd_weights_back = FV_LOCAL(winograd_weights_back),
    .sgd = FV_LOCAL(sgd),
    .adadelta = FV_LOCAL(adadelta),
    .adam = FV_LOCAL(adam),
};
