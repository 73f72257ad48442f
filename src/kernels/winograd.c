/* Winograd's minimal filtering (Winograd 1980; Lavin & Gray 2016) on the points 0, 1, -1, 2, -2 and
 * infinity, F(4x4, 3x3) and F(2x2, 5x5), and its exact transpose for the gradients. With X the 6x6
 * patch of the input that a tile of outputs sees, w the kernel, and sums over channels left out:
 *   forward          Y = A' [(G w G') o (B' X B)] A
 *   weight gradient  dw = G' [(B' X B) o (A dY A')] G
 *   input gradient   dX = B [(G w G') o (A dY A')] B', added where patches overlap
 * Here are the transforms; the products in between are batch-reduce products. Each 2-D transform is
 * its 1-D one along columns, then along rows. B is the same for both forms. */
#include "kernels/local.h"

enum { N = FV_WINOGRAD_POINTS };

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

FV_INLINE void multiply_at4(vec *o, const vec *i) /* A', 6 to 4 */
{
    vec sum1 = i[1] + i[2], difference1 = i[1] - i[2];
    vec sum2 = i[3] + i[4], difference2 = i[3] - i[4];
    o[0] = i[0] + sum1 + sum2;
    o[1] = difference1 + 2 * difference2;
    o[2] = sum1 + 4 * sum2;
    o[3] = difference1 + 8 * difference2 + i[5];
}

FV_INLINE void multiply_a4(vec *o, const vec *i) /* A, 4 to 6 */
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

FV_INLINE void multiply_g3(vec *o, const vec *i) /* G, 3 to 6 */
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

FV_INLINE void multiply_gt3(vec *o, const vec *i) /* G', 6 to 3 */
{
    vec sum1 = i[1] + i[2], difference1 = i[1] - i[2];
    vec sum2 = i[3] + i[4], difference2 = i[3] - i[4];
    o[0] = (real)0.25 * i[0] - (real)(1. / 6) * sum1 + (real)(1. / 24) * sum2;
    o[1] = (real)(1. / 12) * difference2 - (real)(1. / 6) * difference1;
    o[2] = (real)(1. / 6) * (sum2 - sum1) + i[5];
}

FV_INLINE void multiply_at2(vec *o, const vec *i) /* A', 6 to 2 */
{
    o[0] = i[0] + (i[1] + i[2]) + (i[3] + i[4]);
    o[1] = (i[1] - i[2]) + 2 * (i[3] - i[4]) + i[5];
}

FV_INLINE void multiply_a2(vec *o, const vec *i) /* A, 2 to 6 */
{
    o[0] = i[0];
    o[1] = i[0] + i[1];
    o[2] = i[0] - i[1];
    o[3] = i[0] + 2 * i[1];
    o[4] = i[0] - 2 * i[1];
    o[5] = i[1];
}

FV_INLINE void multiply_g5(vec *o, const vec *i) /* G, 5 to 6 */
{
    vec even = i[0] + i[2] + i[4], odd = i[1] + i[3];
    vec far_even = (real)(1. / 24) * i[0] + (real)(1. / 6) * i[2] + (real)(2. / 3) * i[4];
    vec far_odd = (real)(1. / 12) * i[1] + (real)(1. / 3) * i[3];
    o[0] = (real)0.25 * i[0];
    o[1] = (real)(-1. / 6) * (even + odd);
    o[2] = (real)(-1. / 6) * (even - odd);
    o[3] = far_even + far_odd;
    o[4] = far_even - far_odd;
    o[5] = i[4];
}

FV_INLINE void multiply_gt5(vec *o, const vec *i) /* G', 6 to 5 */
{
    vec sum1 = i[1] + i[2], difference1 = i[1] - i[2];
    vec sum2 = i[3] + i[4], difference2 = i[3] - i[4];
    o[0] = (real)0.25 * i[0] - (real)(1. / 6) * sum1 + (real)(1. / 24) * sum2;
    o[1] = (real)(1. / 12) * difference2 - (real)(1. / 6) * difference1;
    o[2] = (real)(1. / 6) * (sum2 - sum1);
    o[3] = (real)(1. / 3) * difference2 - (real)(1. / 6) * difference1;
    o[4] = (real)(2. / 3) * sum2 - (real)(1. / 6) * sum1 + i[5];
}

/* ---- Along columns, then rows -------------------------------------------------------------------
 */

typedef void transform_1d(vec *output, const vec *input);

/* Squares of vectors in memory, `row` and `column` values apart. */
typedef struct square {
    real *first;
    ptrdiff_t row, column;
} square;

/* half[to][from] = T in[from][from]. Each value is loaded when it is needed, and below stored when
 * it is known: 36 vectors are more than there are registers. */
FV_INLINE void transform_columns(transform_1d *transform, const int from, const int to, square in,
                                 vec half[N][N]) {
    FV_UNROLL
    for (int j = 0; j < from; j++) {
        const real *p = in.first + j * in.column;
        vec column[N], result[N];
        FV_UNROLL
        for (int i = 0; i < from; i++, p += in.row)
            column[i] = load(p);
        transform(result, column);
        FV_UNROLL
        for (int i = 0; i < to; i++)
            half[i][j] = result[i];
    }
}

/* out[to][to] = (add: +=) T in[from][from] T'. */
FV_INLINE void transform_2d(transform_1d *transform, const int from, const int to, square in,
                            square out, const bool add) {
    vec half[N][N];
    transform_columns(transform, from, to, in, half);
    FV_UNROLL
    for (int i = 0; i < to; i++) {
        real *p = out.first + i * out.row;
        vec result[N];
        transform(result, half[i]);
        FV_UNROLL
        for (int j = 0; j < to; j++, p += out.column) {
            if (add)
                result[j] += load(p);
            store(p, result[j]);
        }
    }
}

FV_INLINE bool is_whole(const fv_patch *at, const int size) {
    return at->first_row == 0 && at->first_column == 0 && at->end_row == size &&
           at->end_column == size;
}

/* A square of its own. */
FV_INLINE square local(vec cells[N][N]) {
    return (square){(real *)cells, N * VL, VL};
}

/* Point e of a square is `step` values behind point e - 1. */
FV_INLINE square points_at(const real *first, ptrdiff_t step) {
    return (square){(real *)(uintptr_t)first, N * step, step};
}

/* The patch's cells in the picture; the others stay as they are. */
static void load_some_cells(vec cells[N][N], const fv_patch *at, const real *x) {
    for (int i = at->first_row; i < at->end_row; i++)
        for (int j = at->first_column; j < at->end_column; j++)
            cells[i][j] =
                load(x + (i - at->first_row) * at->row + (j - at->first_column) * at->pixel);
}

/* Pictures to points: v = T x T' of a patch of size x size. */
FV_INLINE void to_points(transform_1d *transform, const int size, const fv_patch *at, const real *x,
                         real *v, ptrdiff_t step) {
    vec cells[N][N];
    bool whole = is_whole(at, size);
    if (!whole)
        memset(cells, 0, sizeof cells);
    for (int c = 0; c < at->channels; c += VL) {
        square from = {(real *)(uintptr_t)x + c, at->row, at->pixel};
        if (!whole) {
            load_some_cells(cells, at, x + c);
            from = local(cells);
        }
        transform_2d(transform, size, N, from, points_at(v + c, step), false);
    }
}

/* ---- The kernels --------------------------------------------------------------------------------
 */

void FV_LOCAL(winograd_input)(const fv_patch *at, const real *x, real *v, ptrdiff_t step) {
    to_points(multiply_bt, N, at, x, v, step);
}

static void add_some_cells(vec cells[N][N], const fv_patch *at, real *dx) {
    for (int i = at->first_row; i < at->end_row; i++)
        for (int j = at->first_column; j < at->end_column; j++) {
            real *p = dx + (i - at->first_row) * at->row + (j - at->first_column) * at->pixel;
            store(p, load(p) + cells[i][j]);
        }
}

void FV_LOCAL(winograd_input_back)(const fv_patch *at, const real *v, ptrdiff_t step, real *dx) {
    vec cells[N][N];
    bool whole = is_whole(at, N);
    for (int c = 0; c < at->channels; c += VL)
        if (whole) {
            square to = {dx + c, at->row, at->pixel};
            transform_2d(multiply_b, N, N, points_at(v + c, step), to, true);
        } else {
            transform_2d(multiply_b, N, N, points_at(v + c, step), local(cells), false);
            add_some_cells(cells, at, dx + c);
        }
}

FV_INLINE void output(transform_1d *transform, const int size, const fv_patch *at, const real *m,
                      ptrdiff_t step, const real *bias, const real *addend, bool relu, real *y) {
    const vec lowest = splat(relu ? 0 : -(real)INFINITY);
    for (int f = 0; f < at->channels; f += VL) {
        vec half[N][N], offset = {0};
        if (bias)
            offset = load(bias + f);
        transform_columns(transform, N, size, points_at(m + f, step), half);
        FV_UNROLL
        for (int i = 0; i < size; i++) {
            ptrdiff_t cell = i * at->row + f;
            vec result[N];
            if (i >= at->end_row)
                continue;
            transform(result, half[i]);
            FV_UNROLL
            for (int j = 0; j < size; j++, cell += at->pixel) {
                vec value = result[j] + offset;
                if (j >= at->end_column)
                    continue;
                if (addend)
                    value += load(addend + cell);
                store(y + cell, larger(lowest, value));
            }
        }
    }
}

FV_INLINE void weights(transform_1d *transform, const int size, const fv_winograd_kernels *at,
                       const real *w, real *u) {
    for (int c = 0; c < at->channels; c++)
        for (int f = 0; f < at->filters; f += VL) {
            const real *kernel = w + c * at->row + f;
            transform_2d(transform, size, N,
                         (square){(real *)(uintptr_t)kernel, size * at->cell, at->cell},
                         points_at(u + c * at->points_row + f, at->step), false);
        }
}

FV_INLINE void weights_back(transform_1d *transform, const int size, const fv_winograd_kernels *at,
                            const real *u, bool add, real *dw) {
    for (int c = 0; c < at->channels; c++)
        for (int f = 0; f < at->filters; f += VL) {
            square from = points_at(u + c * at->points_row + f, at->step);
            square to = {dw + c * at->row + f, size * at->cell, at->cell};
            transform_2d(transform, N, size, from, to, add);
        }
}

/* ---- The two forms ------------------------------------------------------------------------------
 */

static void output_4(const fv_patch *at, const real *m, ptrdiff_t step, const real *bias,
                     const real *addend, bool relu, real *y) {
    output(multiply_at4, 4, at, m, step, bias, addend, relu, y);
}

static void output_2(const fv_patch *at, const real *m, ptrdiff_t step, const real *bias,
                     const real *addend, bool relu, real *y) {
    output(multiply_at2, 2, at, m, step, bias, addend, relu, y);
}

static void output_back_4(const fv_patch *at, const real *dy, real *z, ptrdiff_t step) {
    to_points(multiply_a4, 4, at, dy, z, step);
}

static void output_back_2(const fv_patch *at, const real *dy, real *z, ptrdiff_t step) {
    to_points(multiply_a2, 2, at, dy, z, step);
}

static void weights_3(const fv_winograd_kernels *at, const real *w, real *u) {
    weights(multiply_g3, 3, at, w, u);
}

static void weights_5(const fv_winograd_kernels *at, const real *w, real *u) {
    weights(multiply_g5, 5, at, w, u);
}

static void weights_back_3(const fv_winograd_kernels *at, const real *u, bool add, real *dw) {
    weights_back(multiply_gt3, 3, at, u, add, dw);
}

static void weights_back_5(const fv_winograd_kernels *at, const real *u, bool add, real *dw) {
    weights_back(multiply_gt5, 5, at, u, add, dw);
}

const fv_winograd_form FV_LOCAL(winograd_3x3) = {.tile = 4,
                                                 .kernel = 3,
                                                 .output = output_4,
                                                 .output_back = output_back_4,
                                                 .weights = weights_3,
                                                 .weights_back = weights_back_3};

const fv_winograd_form FV_LOCAL(winograd_5x5) = {.tile = 2,
                                                 .kernel = 5,
                                                 .output = output_2,
                                                 .output_back = output_back_2,
                                                 .weights = weights_5,
                                                 .weights_back = weights_back_5};
