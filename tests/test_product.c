/* Holds the batch-reduce matrix product and the packing of its right-hand side to naive sums, on
 * every instruction set of this machine: every number of rows to two tiles and one, every number
 * of columns of a panel, lists of blocks in any order and with any strides. FV_FULL=1 runs every
 * depth and number of terms with each of them. */
#include "support.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NO_ADDEND, OWN_ADDEND, C_ADDEND };
enum { MOST_TERMS = 9, MOST_DEPTH = 40, MOST_ROWS = 29, MOST_COLUMNS = 32 };

static const fv_kernels *tables[MOST_TABLES];
static int table_count;

/* One call with its buffers, each exactly as large as the strides make it. */
typedef struct product_case {
    fv_product p;
    ptrdiff_t a_offset[MOST_TERMS], b_offset[MOST_TERMS];
    guarded a, b, c, bias, addend;
    double wanted[MOST_ROWS * MOST_COLUMNS], sizes[MOST_ROWS * MOST_COLUMNS];
} product_case;

/* The blocks of a list lie in memory in another order than in the list. */
static void place_blocks(numbers *n, int terms, size_t block, ptrdiff_t *offsets) {
    for (int t = 0; t < terms; t++)
        offsets[t] = (ptrdiff_t)block * t;
    for (int t = terms - 1; t > 0; t--) {
        int other = numbers_below(n, t + 1);
        ptrdiff_t swapped = offsets[t];
        offsets[t] = offsets[other];
        offsets[other] = swapped;
    }
}

/* A by rows, by columns (transposed), or with gaps between values (strided convolution); rows of B
 * and C with gaps or without. */
static void choose_strides(numbers *n, fv_product *p, int vector) {
    int gap = numbers_below(n, 3) * 5;
    p->a_column = numbers_below(n, 4) == 0 ? 3 : 1;
    p->a_row = p->depth * p->a_column + gap;
    if (numbers_below(n, 3) == 0) {
        p->a_row = 1;
        p->a_column = p->rows + gap;
    }
    p->b_row = (p->columns + vector - 1) / vector * vector;
    if (numbers_below(n, 2))
        p->b_row = p->columns + numbers_below(n, 3) * 7;
    p->c_row = p->columns + numbers_below(n, 2) * 9;
}

/* Values from the first to the last that strides reach. */
static size_t span(ptrdiff_t outer, int rows, ptrdiff_t inner, int columns) {
    return (size_t)(outer * (rows - 1) + inner * (columns - 1) + 1);
}

static real *reals(const guarded *g) {
    return g->data;
}

static void fill(numbers *n, bool integers, size_t count, real *x) {
    if (integers)
        numbers_integers(n, 3, count, x);
    else
        numbers_floats(n, count, x);
}

/* C's rows filled, the gaps between them left as they are. */
static void fill_rows(numbers *n, bool integers, const fv_product *p, real *rows) {
    for (int i = 0; i < p->rows; i++)
        fill(n, integers, (size_t)p->columns, rows + i * p->c_row);
}

/* addend: one of the words above. */
static void make_case(product_case *x, numbers *n, const fv_kernels *kernels, bool integers,
                      int addend) {
    fv_product *p = &x->p;
    choose_strides(n, p, kernels->vector);
    size_t a = span(p->a_row, p->rows, p->a_column, p->depth);
    size_t b = span(p->b_row, p->depth, 1, p->columns), terms = (size_t)p->terms;
    /* B and the bias may be read to the next whole vector. */
    size_t slack = (size_t)(kernels->vector - 1) * sizeof(real);
    place_blocks(n, p->terms, a, x->a_offset);
    place_blocks(n, p->terms, b, x->b_offset);
    x->a = guard_new(a * terms * sizeof(real));
    x->b = guard_new_readable(b * terms * sizeof(real), slack);
    x->c = guard_new(span(p->c_row, p->rows, 1, p->columns) * sizeof(real));
    x->bias = guard_new_readable((size_t)p->columns * sizeof(real), slack);
    x->addend = guard_new(span(p->c_row, p->rows, 1, p->columns) * sizeof(real));
    fill(n, integers, a * terms, reals(&x->a));
    fill(n, integers, b * terms, reals(&x->b));
    fill(n, integers, (size_t)p->columns, reals(&x->bias));
    p->a = reals(&x->a);
    p->b = reals(&x->b);
    p->c = reals(&x->c);
    p->a_offset = x->a_offset;
    p->b_offset = x->b_offset;
    /* What C holds counts only when it is added to; else it stays NaN until it is written. */
    if (p->add || addend == C_ADDEND)
        fill_rows(n, integers, p, p->c);
    fill_rows(n, integers, p, reals(&x->addend));
    if (addend)
        p->addend = addend == C_ADDEND ? p->c : reals(&x->addend);
    p->bias = p->bias ? reals(&x->bias) : NULL;
}

static void free_case(product_case *x) {
    guard_check(&x->a, "A");
    guard_check(&x->b, "B");
    guard_check(&x->c, "C");
    guard_check(&x->bias, "bias");
    guard_check(&x->addend, "addend");
    guard_free(&x->a);
    guard_free(&x->b);
    guard_free(&x->c);
    guard_free(&x->bias);
    guard_free(&x->addend);
}

/* The sum of kernels.h, before relu, and that of absolute values. */
static void reference_product(product_case *x) {
    const fv_product *p = &x->p;
    for (int i = 0; i < p->rows; i++)
        for (int j = 0; j < p->columns; j++) {
            double sum = 0, size = 0;
            if (p->bias)
                sum = (double)p->bias[j];
            if (p->add)
                sum = (double)p->c[i * p->c_row + j];
            size = fabs(sum);
            for (int t = 0; t < p->terms; t++)
                for (int k = 0; k < p->depth; k++) {
                    double product = (double)p->a[p->a_offset[t] + i * p->a_row + k * p->a_column] *
                                     (double)p->b[p->b_offset[t] + k * p->b_row + j];
                    sum += product;
                    size += fabs(product);
                }
            double addend = p->addend ? (double)p->addend[i * p->c_row + j] : 0;
            x->wanted[i * p->columns + j] = sum + addend;
            x->sizes[i * p->columns + j] = size + fabs(addend);
        }
}

/* Integers: equal. Else off by one rounding a term at most, of the absolute sum. The gaps between
 * the rows of C must not be touched. */
static void check_case(product_case *x, bool integers) {
    const fv_product *p = &x->p;
    double terms = (double)p->terms * p->depth + 2;
    for (int i = 0; i < p->rows; i++) {
        const real *row = p->c + i * p->c_row;
        for (int j = 0; j < p->columns; j++) {
            double wanted = x->wanted[i * p->columns + j];
            double bound = integers ? 0 : terms * ROUNDING * x->sizes[i * p->columns + j];
            if (p->relu && wanted < 0)
                wanted = 0;
            if (p->relu && p->most != 0 && wanted > (double)p->most)
                wanted = (double)p->most;
            if (!(fabs((double)row[j] - wanted) <= bound))
                fail_case("C(%d, %d) is %.9g, not %.9g", i, j, (double)row[j], wanted);
        }
        for (ptrdiff_t j = p->columns; i + 1 < p->rows && j < p->c_row; j++)
            for (size_t byte = 0; byte < sizeof(real); byte++)
                if (((const unsigned char *)&row[j])[byte] != 0xFF)
                    fail_case("C(%d, %td) is past the columns but written", i, j);
    }
}

static void describe_case(const fv_kernels *kernels, const fv_product *p) {
    describe(
        "product %s, %d x %d, depth %d, %d terms, A by %td and %td, B by %td, C by %td%s%s%s%s",
        kernels->name, p->rows, p->columns, p->depth, p->terms, p->a_row, p->a_column, p->b_row,
        p->c_row, p->bias ? ", bias" : "", p->add ? ", add" : "",
        !p->addend          ? ""
        : p->addend == p->c ? ", C added again"
                            : ", addend",
        !p->relu       ? ""
        : p->most != 0 ? ", relu to 2"
                       : ", relu");
}

/* One choice of rows, columns, depth and terms; strides and epilogue follow from its number. */
static void run_case(const fv_kernels *kernels, numbers *n, const fv_product *size) {
    static product_case x;
    static const real yes = 0;
    bool integers = numbers_below(n, 4) != 0;
    int epilogue = numbers_below(n, 6), addend = numbers_below(n, 4) % 3; /* none: half of them */
    x = (product_case){.p = *size};
    x.p.relu = epilogue % 2;
    x.p.most = numbers_below(n, 2) ? 2 : 0; /* without relu it bounds nothing */
    x.p.add = epilogue / 2 == 1;
    x.p.bias = epilogue / 2 == 2 ? &yes : NULL;
    make_case(&x, n, kernels, integers, addend);
    describe_case(kernels, &x.p);
    reference_product(&x);
    kernels->product(&x.p);
    check_case(&x, integers);
    free_case(&x);
}

/* Every rows x columns; of the depths x terms each with a few that walk through all of them. */
static void test_product(void **state) {
    (void)state;
    enum { SIZES = MOST_DEPTH * MOST_TERMS };
    for (int table = 0; table < table_count; table++) {
        const fv_kernels *kernels = tables[table];
        int step = full_run() ? 1 : 7, at = 0; /* 7: prime to SIZES */
        unsigned count = 0;
        assert_true(2 * kernels->rows + 1 <= MOST_ROWS && kernels->panel <= MOST_COLUMNS);
        assert_int_equal(kernels->panel, 2 * kernels->vector);
        for (int rows = 1; rows <= 2 * kernels->rows + 1; rows++)
            for (int columns = 1; columns <= kernels->panel; columns++)
                for (int i = 0; i < SIZES; i += step, at = (at + step) % SIZES, count++) {
                    numbers n = {count};
                    run_case(kernels, &n,
                             &(fv_product){.rows = rows,
                                           .columns = columns,
                                           .depth = 1 + at % MOST_DEPTH,
                                           .terms = 1 + at / MOST_DEPTH});
                }
        print_message("product %s: %u cases\n", kernels->name, count);
    }
}

/* Long sums and many rows, as layers ask for. */
static void test_long_products(void **state) {
    (void)state;
    for (int table = 0; table < table_count; table++)
        for (int i = 0; i < 40; i++) {
            numbers n = {(uint64_t)i};
            run_case(tables[table], &n,
                     &(fv_product){.rows = 1 + numbers_below(&n, MOST_ROWS),
                                   .columns = 1 + numbers_below(&n, tables[table]->panel),
                                   .depth = 100 + numbers_below(&n, 1000),
                                   .terms = 1 + numbers_below(&n, MOST_TERMS)});
        }
}

static void test_nothing_to_do(void **state) {
    (void)state;
    for (int table = 0; table < table_count; table++) {
        real c[2] = {5, 7}, one = 1;
        ptrdiff_t zero = 0;
        fv_product p = {.a = &one, .b = &one, .a_offset = &zero, .b_offset = &zero, .c = c};
        tables[table]->product(&p); /* no rows, no columns */
        assert_true(c[0] == 5 && c[1] == 7);
    }
}

/* The bits of a sum in the order of t, then k, each step rounded once (`fused`) or twice. */
static real sum_in_order(const fv_product *p, int i, int j, bool fused) {
    real sum = 0;
    for (int t = 0; t < p->terms; t++)
        for (int k = 0; k < p->depth; k++) {
            real a = p->a[p->a_offset[t] + i * p->a_row + k * p->a_column];
            real b = p->b[p->b_offset[t] + k * p->b_row + j];
            volatile real product = a * b; /* no compiler may fuse it with the sum */
            sum = fused ? fmaf(a, b, sum) : sum + product;
        }
    return sum;
}

/* Each C(i, j) is summed in this order whatever the tile: all of them either with or without
 * fused multiply-adds, as the instruction set has it. */
static void test_order_of_sums(void **state) {
    (void)state;
    static product_case x;
    for (int table = 0; table < table_count; table++) {
        int others[2] = {0, 0};
        for (int i = 0; i < 60; i++) {
            const fv_kernels *kernels = tables[table];
            numbers n = {(uint64_t)i};
            x = (product_case){.p = {.rows = 1 + numbers_below(&n, 2 * kernels->rows + 1),
                                     .columns = 1 + numbers_below(&n, kernels->panel),
                                     .depth = 1 + numbers_below(&n, MOST_DEPTH),
                                     .terms = 1 + numbers_below(&n, MOST_TERMS)}};
            make_case(&x, &n, kernels, false, NO_ADDEND);
            kernels->product(&x.p);
            for (int r = 0; r < x.p.rows; r++)
                for (int c = 0; c < x.p.columns; c++)
                    for (int fused = 0; fused < 2; fused++)
                        others[fused] +=
                            !(x.p.c[r * x.p.c_row + c] == sum_in_order(&x.p, r, c, fused));
            free_case(&x);
        }
        describe("product %s", tables[table]->name);
        if (others[0] && others[1])
            fail_case("%d sums are not in order, %d where each step is fused", others[0],
                      others[1]);
    }
}

/* pack(): [columns / panel][depth][panel], zeros in the last panel. */
static void check_pack(const fv_kernels *kernels, numbers *n, int depth, int columns,
                       bool transposed) {
    int panel = kernels->panel, panels = (columns + panel - 1) / panel;
    ptrdiff_t row = (transposed ? depth : columns) + numbers_below(n, 2) * 3;
    size_t count = transposed ? span(row, columns, 1, depth) : span(row, depth, 1, columns);
    guarded b = guard_new(count * sizeof(real));
    guarded packed = guard_new((size_t)(panels * depth * panel) * sizeof(real));
    describe("pack %s, %d x %d%s", kernels->name, depth, columns, transposed ? ", transposed" : "");
    numbers_floats(n, count, b.data);
    kernels->pack(b.data, row, transposed, depth, columns, packed.data);
    const real *got = packed.data, *from = b.data;
    for (int j = 0; j < panels * panel; j++)
        for (int k = 0; k < depth; k++) {
            real wanted = j >= columns ? 0 : transposed ? from[j * row + k] : from[k * row + j];
            real value = got[(j / panel * depth + k) * panel + j % panel];
            expect_same_bits("packed value", sizeof(real), &value, &wanted);
        }
    guard_check(&b, "B");
    guard_check(&packed, "panels");
    guard_free(&b);
    guard_free(&packed);
}

static void test_pack(void **state) {
    (void)state;
    for (int table = 0; table < table_count; table++)
        for (int depth = 1; depth <= 70; depth += depth < 5 ? 1 : 13)
            for (int columns = 1; columns <= 3 * tables[table]->panel + 1; columns++)
                for (int transposed = 0; transposed < 2; transposed++) {
                    numbers n = {(uint64_t)(depth * 1000 + columns)};
                    check_pack(tables[table], &n, depth, columns, transposed);
                }
}

static int set_up(void **state) {
    (void)state;
    table_count = kernel_tables(tables);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_product),       cmocka_unit_test(test_long_products),
        cmocka_unit_test(test_nothing_to_do), cmocka_unit_test(test_order_of_sums),
        cmocka_unit_test(test_pack),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
