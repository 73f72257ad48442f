/* Winograd's minimal filtering F(4x4, 3x3) (Winograd 1980; Lavin & Gray 2016) on the points 0, 1,
 * -1, 2, -2 and infinity, and its exact transpose for the gradients. With X the 6x6 patch of the
 * input that a 4x4 tile of outputs sees, w the 3x3 kernel, and sums over channels left out: forward
 * Y = A' [(G w G') o (B' X B)] A weight gradient  dw = G' [(B' X B) o (A dY A')] G input gradient
 * dX = B [(G w G') o (A dY A')] B', added where patches overlap Here are the six transforms; the
 * products in between are batch-reduce products. Each 2-D transform is its 1-D one along columns,
 * then along rows. */
#include "kernels/local.h"

enum { N = FV_WINOGRAD_POINTS, M = FV_WINOGRAD_TILE, R = 3 };

/* ---- The 1-D transforms: o = T i --------------------------------------------------------------
 */

FV_INLINE void multiply_bt(vec *o, const vec *i) /* B', 6 to 6 */
{
    vec even = i[4] - 4 * i[2], odd = i[3] - 4 * i[1];
    vec far_even = i[4] - i[2], far_odd = 2 * (i[3] - i[1]);
    o[0] = 4 * i[0] - 5 * i[2] + i[4];
    o[1] = even + odd;
    o[2] = even - odd;
    o[3] = far_even + far_odd;
    o[4] = far_even - far_odd;
    o[5] = 4 * i[1] - 5 * i[3] + i[5];
}

FV_INLINE void multiply_b(vec *o, const vec *i) /* B, 6 to 6 */
{
    vec sum1 = i[1] + i[2], difference1 = i[1] - i[2];
    vec sum2 = i[3] + i[4], difference2 = i[3] - i[4];
    o[0] = 4 * i[0];
    o[1] = 4 * (i[5] - difference1) - 2 * difference2;
    o[2] = -5 * i[0] - 4 * sum1 - sum2;
    o[3] = difference1 + 2 * difference2 - 5 * i[5];
    o[4] = i[0] + sum1 + sum2;
    o[5] = i[5];
}

FV_INLINE void multiply_at(vec *o, const vec *i) /* A', 6 to 4 */
{
    vec sum1 = i[1] + i[2], difference1 = i[1] - i[2];
    vec sum2 = i[3] + i[4], difference2 = i[3] - i[4];
    o[0] = i[0] + sum1 + sum2;
    o[1] = difference1 + 2 * difference2;
    o[2] = sum1 + 4 * sum2;
    o[3] = difference1 + 8 * difference2 + i[5];
}

FV_INLINE void multiply_a(vec *o, const vec *i) /* A, 4 to 6 */
{
    vec even = i[0] + i[2], odd = i[1] + i[3];
    vec far_even = i[0] + 4 * i[2], far_odd = 2 * i[1] + 8 * i[3];
    o[0] = i[0];
    o[1] = even + odd;
    o[2] = even - odd;
    o[3] = far_even + far_odd;
    o[4] = far_even - far_odd;
    o[5] = i[3];
}

FV_INLINE void multiply_g(vec *o, const vec *i) /* G, 3 to 6 */
{
    vec even = i[0] + i[2];
    vec far_even = (real)(1. / 24) * i[0] + (real)(1. / 6) * i[2], far_odd = (real)(1. / 12) * i[1];
    o[0] = (real)0.25 * i[0];
    o[1] = (real)(-1. / 6) * (even + i[1]);
    o[2] = (real)(-1. / 6) * (even - i[1]);
    o[3] = far_even + far_odd;
    o[4] = far_even - far_odd;
    o[5] = i[2];
}

FV_INLINE void multiply_gt(vec *o, const vec *i) /* G', 6 to 3 */
{
    vec sum1 = i[1] + i[2], difference1 = i[1] - i[2];
    vec sum2 = i[3] + i[4], difference2 = i[3] - i[4];
    o[0] = (real)0.25 * i[0] - (real)(1. / 6) * sum1 + (real)(1. / 24) * sum2;
    o[1] = (real)(1. / 12) * difference2 - (real)(1. / 6) * difference1;
    o[2] = (real)(1. / 6) * (sum2 - sum1) + i[5];
}

/* ---- Along columns, then rows
 * -------------------------------------------------------------------- */

typedef void transform_1d(vec *output, const vec *input);

/* out[to][to] = T in[from][from] T' */
FV_INLINE void transform_2d(transform_1d *transform, const int from, const int to, vec out[N][N],
                            vec in[N][N]) {
    vec half[N][N];
    FV_UNROLL
    for (int j = 0; j < from; j++) {
        vec column[N], result[N];
        FV_UNROLL
        for (int i = 0; i < from; i++)
            column[i] = in[i][j];
        transform(result, column);
        FV_UNROLL
        for (int i = 0; i < to; i++)
            half[i][j] = result[i];
    }
    FV_UNROLL
    for (int i = 0; i < to; i++)
        transform(out[i], half[i]);
}

/* Reads a patch of size x size pixels (row and pixel are distances), or points `step` apart. */
FV_INLINE void load_patch(vec patch[N][N], const int size, const real *x, ptrdiff_t row,
                          ptrdiff_t pixel) {
    FV_UNROLL
    for (int i = 0; i < size; i++)
        FV_UNROLL
    for (int j = 0; j < size; j++)
        patch[i][j] = load(x + i * row + j * pixel);
}

FV_INLINE void store_patch(vec patch[N][N], const int size, real *x, ptrdiff_t row,
                           ptrdiff_t pixel) {
    FV_UNROLL
    for (int i = 0; i < size; i++)
        FV_UNROLL
    for (int j = 0; j < size; j++)
        store(x + i * row + j * pixel, patch[i][j]);
}

/* ---- The kernels
 * -------------------------------------------------------------------------------------- */

void FV_LOCAL(winograd_input)(const real *x, ptrdiff_t row, int channels, real *v, ptrdiff_t step) {
    for (int c = 0; c < channels; c += VL) {
        vec patch[N][N], points[N][N];
        load_patch(patch, N, x + c, row, channels);
        transform_2d(multiply_bt, N, N, points, patch);
        store_patch(points, N, v + c, N * step, step);
    }
}

void FV_LOCAL(winograd_input_back)(const real *v, ptrdiff_t step, int channels, real *dx,
                                   ptrdiff_t row) {
    for (int c = 0; c < channels; c += VL) {
        vec points[N][N], patch[N][N];
        load_patch(points, N, v + c, N * step, step);
        transform_2d(multiply_b, N, N, patch, points);
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                real *p = dx + i * row + (ptrdiff_t)j * channels + c;
                store(p, load(p) + patch[i][j]);
            }
    }
}

void FV_LOCAL(winograd_output)(const real *m, ptrdiff_t step, int filters, const real *bias,
                               bool relu, int rows, int columns, real *y, ptrdiff_t row) {
    for (int f = 0; f < filters; f += VL) {
        vec points[N][N], tile[N][N], offset = load(bias + f);
        load_patch(points, N, m + f, N * step, step);
        transform_2d(multiply_at, N, M, tile, points);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++) {
                vec value = tile[i][j] + offset;
                store(y + i * row + (ptrdiff_t)j * filters + f, relu ? rectify(value) : value);
            }
    }
}

void FV_LOCAL(winograd_output_back)(const real *dy, ptrdiff_t row, int filters, real *z,
                                    ptrdiff_t step) {
    for (int f = 0; f < filters; f += VL) {
        vec tile[N][N], points[N][N];
        load_patch(tile, M, dy + f, row, filters);
        transform_2d(multiply_a, M, N, points, tile);
        store_patch(points, N, z + f, N * step, step);
    }
}

void FV_LOCAL(winograd_weights)(size_t count, const real *w, size_t step, real *u) {
    ptrdiff_t cell = (ptrdiff_t)step, point = (ptrdiff_t)count;
    for (ptrdiff_t i = 0; i < point; i += VL) {
        vec kernel[N][N], points[N][N];
        load_patch(kernel, R, w + i, R * cell, cell);
        transform_2d(multiply_g, R, N, points, kernel);
        store_patch(points, N, u + i, N * point, point);
    }
}

void FV_LOCAL(winograd_weights_back)(size_t count, const real *u, real *dw) {
    ptrdiff_t cell = (ptrdiff_t)count;
    for (ptrdiff_t i = 0; i < cell; i += VL) {
        vec points[N][N], kernel[N][N];
        load_patch(points, N, u + i, N * cell, cell);
        transform_2d(multiply_gt, N, R, kernel, points);
        store_patch(kernel, R, dw + i, R * cell, cell);
    }
}
