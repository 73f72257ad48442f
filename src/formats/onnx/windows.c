/* See windows.h. Called by export_conv.c, export_pool.c and import_windows.c. */
#include "formats/onnx/windows.h"

int64_t fv_onnx_patch_value(const fv_axis axes[3], int rank, int channels, size_t place,
                            size_t number) {
    size_t cell = number / (size_t)channels, step = 1;
    int64_t at = 0;
    for (int a = rank - 1; a >= 0; a--) {
        const fv_axis *axis = &axes[a];
        size_t out = (size_t)axis->out, kernel = (size_t)axis->kernel;
        at += (int64_t)(step * (place % out * (size_t)axis->stride + cell % kernel));
        place /= out;
        cell /= kernel;
        step *= (size_t)(axis->before + axis->in + axis->after);
    }
    return at * channels + (int64_t)(number % (size_t)channels);
}

/* The cells from `low` on of a window; returns how many it has. */
static int64_t window_at(int64_t in, int64_t out, int64_t window, int64_t *low) {
    *low = window * in / out;
    return ((window + 1) * in + out - 1) / out - *low;
}

int64_t fv_onnx_longest_window(int64_t in, int64_t out) {
    int64_t longest = 0, low;
    for (int64_t window = 0; window < out; window++) {
        int64_t cells = window_at(in, out, window, &low);
        longest = cells > longest ? cells : longest;
    }
    return longest;
}

int64_t fv_onnx_window_cell(int64_t in, int64_t out, int64_t window, int64_t cell) {
    int64_t low, cells = window_at(in, out, window, &low);
    return low + (cell < cells ? cell : cells - 1);
}

float fv_onnx_window_share(int64_t in, int64_t out, int64_t window, int64_t cell) {
    int64_t low, cells = window_at(in, out, window, &low);
    return cell < cells ? 1 / (float)cells : 0;
}
