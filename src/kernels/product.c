/* The batch-reduce matrix product and the packing of its right-hand side: the inner loop of
 * convolution, dense layers and all their gradients. See fv_product in kernels.h. */
#include "kernels/local.h"

/* A register tile of `rows` x `vectors` sums, kept in registers over the whole list. The
 * constants must be known to the compiler, so each pair is an instance of its own below. */
FV_INLINE void tile(const fv_product *p, int first_row, const int rows, const int vectors) {
    vec sum[FV_TILE_ROWS][2];
    const ptrdiff_t a_row = p->a_row, a_column = p->a_column, b_row = p->b_row;
    real *c = p->c + first_row * p->c_row;
    const int tail = p->columns - (vectors - 1) * VL; /* columns of the last vector */

    FV_UNROLL
    for (int i = 0; i < rows; i++)
        FV_UNROLL
    for (int j = 0; j < vectors; j++) {
        if (p->bias)
            sum[i][j] = load(p->bias + j * VL);
        else if (!p->add)
            sum[i][j] = (vec){0};
        else if (j == vectors - 1 && tail < VL)
            sum[i][j] = load_some(c + i * p->c_row + j * VL, tail);
        else
            sum[i][j] = load(c + i * p->c_row + j * VL);
    }
    for (int t = 0; t < p->terms; t++) {
        const real *a = p->a + p->a_offset[t] + first_row * a_row;
        const real *b = p->b + p->b_offset[t];
        for (int k = 0; k < p->depth; k++) {
            vec column[2];
            FV_UNROLL
            for (int j = 0; j < vectors; j++)
                column[j] = load(b + j * VL);
            FV_UNROLL
            for (int i = 0; i < rows; i++) {
                vec factor = splat(a[i * a_row]);
                FV_UNROLL
                for (int j = 0; j < vectors; j++)
                    sum[i][j] += factor * column[j];
            }
            a += a_column;
            b += b_row;
        }
    }
    if (p->addend) {
        const real *addend = p->addend + first_row * p->c_row;
        FV_UNROLL
        for (int i = 0; i < rows; i++)
            FV_UNROLL
        for (int j = 0; j < vectors; j++)
            if (j == vectors - 1 && tail < VL)
                sum[i][j] += load_some(addend + i * p->c_row + j * VL, tail);
            else
                sum[i][j] += load(addend + i * p->c_row + j * VL);
    }
    if (p->relu) {
        vec bound = upper_bound(p->most);
        FV_UNROLL
        for (int i = 0; i < rows; i++)
            FV_UNROLL
        for (int j = 0; j < vectors; j++)
            sum[i][j] = smaller(bound, rectify(sum[i][j]));
    }
    FV_UNROLL
    for (int i = 0; i < rows; i++)
        FV_UNROLL
    for (int j = 0; j < vectors; j++)
        if (j == vectors - 1 && tail < VL)
            store_some(c + i * p->c_row + j * VL, sum[i][j], tail);
        else
            store(c + i * p->c_row + j * VL, sum[i][j]);
}

typedef void tile_function(const fv_product *p, int first_row);

#define TILE(rows)                                                                                 \
    static void tile_##rows##_1(const fv_product *p, int first_row) {                              \
        tile(p, first_row, rows, 1);                                                               \
    }                                                                                              \
    static void tile_##rows##_2(const fv_product *p, int first_row) {                              \
        tile(p, first_row, rows, 2);                                                               \
    }

TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
#if FV_TILE_ROWS > 6
TILE(7)
TILE(8)
TILE(9)
TILE(10)
TILE(11)
TILE(12)
TILE(13)
TILE(14)
#endif

static tile_function *const tiles[2][FV_TILE_ROWS] = {
    {tile_1_1, tile_2_1, tile_3_1, tile_4_1, tile_5_1, tile_6_1,
#if FV_TILE_ROWS > 6
     tile_7_1, tile_8_1, tile_9_1, tile_10_1, tile_11_1, tile_12_1, tile_13_1, tile_14_1
#endif
    },
    {tile_1_2, tile_2_2, tile_3_2, tile_4_2, tile_5_2, tile_6_2,
#if FV_TILE_ROWS > 6
     tile_7_2, tile_8_2, tile_9_2, tile_10_2, tile_11_2, tile_12_2, tile_13_2, tile_14_2
#endif
    },
};

void FV_LOCAL(product)(const fv_product *p) {
    if (p->rows <= 0 || p->columns <= 0)
        return;
    /* Tiles of nearly equal height, since low ones waste registers: 26 rows are 6 + 5 + 5 + 5 + 5,
     * not 6 + 6 + 6 + 6 + 2. */
    int blocks = (p->rows + FV_TILE_ROWS - 1) / FV_TILE_ROWS;
    int low = p->rows / blocks, high = p->rows % blocks;
    int vectors = p->columns > VL ? 2 : 1;
    for (int b = 0, row = 0; b < blocks; b++) {
        int rows = low + (b < high);
        tiles[vectors - 1][rows - 1](p, row);
        row += rows;
    }
}

/* Row by row, so that what lies together is read together. */
static void pack_rows(const real *b, ptrdiff_t b_row, int depth, int columns, real *panels) {
    ptrdiff_t panel = (ptrdiff_t)depth * PANEL;
    int whole = columns / PANEL, rest = columns % PANEL;
    for (int k = 0; k < depth; k++, b += b_row, panels += PANEL) {
        for (int p = 0; p < whole; p++)
            memcpy(panels + p * panel, b + p * PANEL, PANEL * sizeof(real));
        for (int j = 0; j < PANEL && rest; j++)
            panels[whole * panel + j] = j < rest ? b[whole * PANEL + j] : 0;
    }
}

/* A square of VL x VL values turned: VL rows of b, VL columns of a panel. */
FV_INLINE void turn_square(const real *b, ptrdiff_t b_row, real *panel) {
    vec rows[VL], next[VL];
    FV_UNROLL
    for (int i = 0; i < VL; i++)
        rows[i] = load(b + i * b_row);
    FV_UNROLL
    for (int round = 1; round < VL; round *= 2) {
        FV_UNROLL
        for (int i = 0; i < VL / 2; i++) {
            next[2 * i] = interleave_low(rows[i], rows[i + VL / 2]);
            next[2 * i + 1] = interleave_high(rows[i], rows[i + VL / 2]);
        }
        FV_UNROLL
        for (int i = 0; i < VL; i++)
            rows[i] = next[i];
    }
    FV_UNROLL
    for (int i = 0; i < VL; i++)
        store(panel + i * PANEL, rows[i]);
}

static void pack_columns(const real *b, ptrdiff_t b_row, int depth, int columns, real *panel) {
    int whole = columns / VL * VL, k = 0;
    for (; k + VL <= depth; k += VL)
        for (int j = 0; j < whole; j += VL)
            turn_square(b + j * b_row + k, b_row, panel + (ptrdiff_t)k * PANEL + j);
    int turned = k;
    for (k = 0; k < depth; k++)
        for (int j = k < turned ? whole : 0; j < PANEL; j++)
            panel[(ptrdiff_t)k * PANEL + j] = j < columns ? b[j * b_row + k] : 0;
}

void FV_LOCAL(pack)(const real *b, ptrdiff_t b_row, bool transposed, int depth, int columns,
                    real *panels) {
    if (!transposed) {
        pack_rows(b, b_row, depth, columns, panels);
        return;
    }
    for (int j = 0; j < columns; j += PANEL, panels += (ptrdiff_t)depth * PANEL)
        pack_columns(b + j * b_row, b_row, depth, columns - j < PANEL ? columns - j : PANEL,
                     panels);
}
