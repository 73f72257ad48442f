/* Windows that ONNX has no operator for: which cells they gather. export_*.c writes these numbers
 * into index matrices, import_windows.c compares what it reads with them. */
#ifndef FV_FORMATS_ONNX_WINDOWS_H
#define FV_FORMATS_ONNX_WINDOWS_H

#include "layers/layer.h"

/* local: the value that number `number` of the patch of place `place` is (cells x channels, both
 * row by row) within the padded input, which lies there N, places x channels. */
int64_t fv_onnx_patch_value(const fv_axis axes[3], int rank, int channels, size_t place,
                            size_t number);

/* Adaptive pools, along one axis from `in` to `out` sizes: cells of the longest window; cell `cell`
 * of window `window`, where shorter ones name their last cell again; what it counts in the mean. */
int64_t fv_onnx_longest_window(int64_t in, int64_t out);
int64_t fv_onnx_window_cell(int64_t in, int64_t out, int64_t window, int64_t cell);
float fv_onnx_window_share(int64_t in, int64_t out, int64_t window, int64_t cell);

#endif
