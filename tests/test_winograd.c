/* Holds convolutions by Winograd's algorithm to the direct sum in double, on inputs that are made
 * to hurt it. The bound is that of F(m x m, r x r) itself, whoever computes it:
 *
 * With n = m + r - 1 points (0, 1, -1, 2, -2 and infinity for n = 6) the 1-D matrices are A (n to m
 * powers of the points), G (r powers over the products of differences of points) and B' (the
 * coefficients of the products of x - p over the other points). The algorithm is
 *     Y = A' [sum over c of U o V] A,  U = G w G',  V = B' X B,  Z = A dY A',
 *     dX = B [sum over f of U o Z] B', added where patches overlap,
 *     dw = G' [sum over tiles of V o Z] G.
 * Each result is a sum of products of one input, one weight and coefficients. A computed product
 * went through k roundings, each a factor of 1 + d with |d| <= u, so that the error of the sum is
 * to first order at most k u times the sum of the absolute values of all products (Higham
 * 2002, 3.1), that is, of the same formulas on absolute values: |dY| <= k u |A'| [sum of (|G| |w|
 * |G'|) o (|B'| |X| |B|)] |A|, and so the gradients. A 1-D transform of n values has at most n - 1
 * additions, a product, and a coefficient that is rounded itself: n + 1. Three transforms along two
 * axes are 6 (n + 1), the sum adds its terms, and the overlap of patches (n / m)^2. Below 2^-126 a
 * rounding is no factor but an absolute error of at most 2^-150: as large as that of a value
 * 2^-126, which is therefore added to U, V, Z and the sums.
 *
 * Scaling a point's row of G up and that of B' down changes nothing in it; worse points do. Its
 * largest factor, for a kernel and a patch of ones, is the square of max over i of sum over e of
 * |A'|(i, e) (|G| 1)(e) (|B'| 1)(e): 48^2 = 2304 for F(4x4, 3x3). Where signs are random, roundings
 * cancel: there sqrt(k) takes the place of k (Higham & Mary 2019), times a small constant. */
#include "drive.h"
#include "reference/reference.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_POINTS = 6, SAMPLES = 2 };

static const double random_factor = 0.5, smallest = 0x1p-126;

static const fv_kernels *tables[MOST_TABLES];
static int table_count;

/* ---- The algorithm's matrices, absolute values ------------------------------------------------
 */

typedef struct matrix {
    int rows, columns;
    double at[MOST_POINTS][MOST_POINTS];
} matrix;

static matrix transposed(const matrix *m) {
    matrix t = {m->columns, m->rows, {{0}}};
    for (int i = 0; i < m->rows; i++)
        for (int j = 0; j < m->columns; j++)
            t.at[j][i] = m->at[i][j];
    return t;
}

typedef struct winograd {
    int kernel, tile, points; /* along an axis */
    matrix a, g, bt;
} winograd;

static const double points[] = {0, 1, -1, 2, -2};

/* Row `e` of B': the coefficients of the product of x - p over the finite points but point e. */
static void product_row(int finite, int e, double row[MOST_POINTS]) {
    double sum[MOST_POINTS] = {1};
    for (int p = 0; p < finite; p++)
        for (int k = MOST_POINTS - 1; k >= 0 && p != e; k--)
            sum[k] = (k > 0 ? sum[k - 1] : 0) - points[p] * sum[k];
    for (int k = 0; k < MOST_POINTS; k++)
        row[k] = fabs(sum[k]);
}

/* The product of its differences from the other finite points. */
static double differences(int finite, int e) {
    double product = 1;
    for (int p = 0; p < finite; p++)
        product *= p == e ? 1 : fabs(points[e] - points[p]);
    return product;
}

static winograd make_winograd(int kernel, int tile) {
    int n = kernel + tile - 1, last = n - 1;
    winograd w = {kernel, tile, n, {n, tile, {{0}}}, {n, kernel, {{0}}}, {n, n, {{0}}}};
    for (int e = 0; e < n; e++) {
        for (int i = 0; i < tile; i++)
            w.a.at[e][i] = e < last ? pow(fabs(points[e]), i) : i == tile - 1;
        for (int i = 0; i < kernel; i++)
            w.g.at[e][i] =
                e < last ? pow(fabs(points[e]), i) / differences(last, e) : i == kernel - 1;
        product_row(last, e, w.bt.at[e]);
    }
    return w;
}

/* out = T in T' of values `step` apart, plus `least`. */
static void transform(const matrix *t, double in[MOST_POINTS][MOST_POINTS], double least,
                      size_t step, double *out) {
    double half[MOST_POINTS][MOST_POINTS] = {{0}};
    for (int i = 0; i < t->rows; i++)
        for (int j = 0; j < t->columns; j++)
            for (int k = 0; k < t->columns; k++)
                half[i][j] += t->at[i][k] * in[k][j];
    for (int i = 0; i < t->rows; i++)
        for (int j = 0; j < t->rows; j++) {
            double sum = least;
            for (int k = 0; k < t->columns; k++)
                sum += half[i][k] * t->at[j][k];
            out[(size_t)(i * t->rows + j) * step] = sum;
        }
}

/* ---- A case and its bounds --------------------------------------------------------------------
 */

typedef struct shape_case {
    int height, width;
    fv_padding padding;
    int channels, filters;
} shape_case;

/* Arrays of all samples; the bounds before the factor k u. */
typedef struct problem {
    winograd w;
    ref_conv conv;
    int rows, columns; /* tiles */
    size_t x_count, w_count, y_count;
    double *x, *weight, *dy; /* absolute values, once the wanted ones are made */
    real *got;               /* output: backward may spoil the layer's */
    double *y, *dx, *dw;     /* wanted */
    double *y_bound, *dx_bound, *dw_bound;
} problem;

static problem make_problem(const winograd *w, const shape_case *s) {
    fv_shape input = {2, {s->height, s->width}, s->channels};
    fv_conv_options o = {.filters = s->filters, .kernel = {w->kernel}, .padding = s->padding};
    problem p = {
        .w = *w,
        .conv = {.samples = SAMPLES, .channels = s->channels, .filters = s->filters, .groups = 1}};
    assert_true(ref_conv_window(&input, &o, &p.conv.window));
    int *out = p.conv.window.out;
    p.rows = (out[0] + w->tile - 1) / w->tile;
    p.columns = (out[1] + w->tile - 1) / w->tile;
    p.x_count = SAMPLES * fv_shape_count(&input);
    p.y_count = (size_t)(SAMPLES * out[0] * out[1] * s->filters);
    p.w_count = ref_conv_weights(&p.conv);
    double **arrays[] = {&p.x,        &p.dx, &p.dx_bound, &p.weight, &p.dw,
                         &p.dw_bound, &p.dy, &p.y,        &p.y_bound};
    for (int i = 0; i < 9; i++)
        *arrays[i] = new_doubles(i < 3 ? p.x_count : i < 6 ? p.w_count : p.y_count);
    return p;
}

static void free_problem(problem *p) {
    double *arrays[] = {p->x,        p->dx, p->dx_bound, p->weight, p->dw,
                        p->dw_bound, p->dy, p->y,        p->y_bound};
    for (int i = 0; i < 9; i++)
        free(arrays[i]);
}

/* A picture's place of row i, column j of a tile's patch or outputs; NULL outside of the picture.
 */
static double *place(double *picture, const int size[2], int channels, int sample, int i, int j) {
    if (i < 0 || j < 0 || i >= size[0] || j >= size[1])
        return NULL;
    return picture + (((ptrdiff_t)sample * size[0] + i) * size[1] + j) * channels;
}

typedef struct tiling { /* of a picture: its tiles are `side` wide, `step` apart */
    int size[2], first[2], side, step, channels;
} tiling;

static tiling tiles_of_input(const problem *p) {
    const ref_window *w = &p->conv.window;
    return (tiling){{w->in[0], w->in[1]},
                    {-w->before[0], -w->before[1]},
                    p->w.points,
                    p->w.tile,
                    p->conv.channels};
}

static tiling tiles_of_output(const problem *p) {
    const ref_window *w = &p->conv.window;
    return (tiling){{w->out[0], w->out[1]}, {0, 0}, p->w.tile, p->w.tile, p->conv.filters};
}

static size_t tile_count(const problem *p) {
    return (size_t)(SAMPLES * p->rows * p->columns);
}

/* The tile's value (i, j) of channel c; NULL outside of the picture. */
static double *tile_value(const problem *p, const tiling *t, double *picture, int tile, int i,
                          int j, int c) {
    int sample = tile / (p->rows * p->columns), row = tile / p->columns % p->rows;
    double *value = place(picture, t->size, t->channels, sample, t->first[0] + row * t->step + i,
                          t->first[1] + tile % p->columns * t->step + j);
    return value ? value + c : NULL;
}

/* points[e][tile][channel] = T patch T' */
static double *to_points(const problem *p, const tiling *t, const matrix *m, double *picture) {
    size_t tiles = tile_count(p), step = tiles * (size_t)t->channels;
    double *all = new_doubles(step * MOST_POINTS * MOST_POINTS);
    for (int tile = 0; tile < (int)tiles; tile++)
        for (int c = 0; c < t->channels; c++) {
            double patch[MOST_POINTS][MOST_POINTS] = {{0}};
            for (int i = 0; i < t->side; i++)
                for (int j = 0; j < t->side; j++) {
                    const double *value = tile_value(p, t, picture, tile, i, j, c);
                    patch[i][j] = value ? *value : 0;
                }
            transform(m, patch, smallest, step,
                      all + (size_t)tile * (size_t)t->channels + (size_t)c);
        }
    return all;
}

/* picture += T' points T, where tiles overlap too; then the points are freed. */
static void from_points(const problem *p, const tiling *t, const matrix *m, double *all,
                        double *picture) {
    size_t tiles = tile_count(p), step = tiles * (size_t)t->channels;
    for (int tile = 0; tile < (int)tiles; tile++)
        for (int c = 0; c < t->channels; c++) {
            double patch[MOST_POINTS][MOST_POINTS], result[MOST_POINTS * MOST_POINTS];
            const double *at = all + (size_t)tile * (size_t)t->channels + (size_t)c;
            for (int e = 0; e < m->columns * m->columns; e++)
                patch[e / m->columns][e % m->columns] = at[(size_t)e * step];
            transform(m, patch, 0, 1, result);
            for (int e = 0; e < t->side * t->side; e++) {
                double *value = tile_value(p, t, picture, tile, e / t->side, e % t->side, c);
                if (value)
                    *value += result[e];
            }
        }
    free(all);
}

/* c(i, j) = smallest + sum over k of a(i, k) b(k, j), at each point; strides of a and b. */
typedef struct stride {
    size_t outer, inner;
} stride;

static double *multiply(const problem *p, size_t rows, size_t depth, size_t columns,
                        const double *a, stride sa, const double *b, stride sb) {
    int count = p->w.points * p->w.points;
    double *c = new_doubles((size_t)count * rows * columns);
    for (int e = 0; e < count; e++)
        for (size_t i = 0; i < rows; i++) {
            double *row = c + ((size_t)e * rows + i) * columns;
            for (size_t j = 0; j < columns; j++)
                row[j] = smallest;
            for (size_t k = 0; k < depth; k++) {
                double factor = a[(size_t)e * rows * depth + i * sa.outer + k * sa.inner];
                const double *terms = b + (size_t)e * depth * columns + k * sb.outer;
                for (size_t j = 0; j < columns; j++)
                    row[j] += factor * terms[j * sb.inner];
            }
        }
    return c;
}

/* [e][channel][filter] of kernels [cell][channel][filter] */
static double *kernel_points(const problem *p) {
    size_t pairs = (size_t)p->conv.channels * (size_t)p->conv.filters;
    double *u = new_doubles(pairs * MOST_POINTS * MOST_POINTS);
    for (size_t pair = 0; pair < pairs; pair++) {
        double kernel[MOST_POINTS][MOST_POINTS] = {{0}};
        for (int cell = 0; cell < p->w.kernel * p->w.kernel; cell++)
            kernel[cell / p->w.kernel][cell % p->w.kernel] = p->weight[(size_t)cell * pairs + pair];
        transform(&p->w.g, kernel, smallest, pairs, u + pair);
    }
    return u;
}

static void kernels_from_points(const problem *p, double *sums) {
    size_t pairs = (size_t)p->conv.channels * (size_t)p->conv.filters;
    matrix gt = transposed(&p->w.g);
    for (size_t pair = 0; pair < pairs; pair++) {
        double at[MOST_POINTS][MOST_POINTS];
        for (int e = 0; e < p->w.points * p->w.points; e++)
            at[e / p->w.points][e % p->w.points] = sums[(size_t)e * pairs + pair];
        transform(&gt, at, 0, pairs, p->dw_bound + pair);
    }
    free(sums);
}

/* The formulas on absolute values. */
static void make_bounds(problem *p) {
    to_absolute(p->x_count, p->x, p->x);
    to_absolute(p->w_count, p->weight, p->weight);
    to_absolute(p->y_count, p->dy, p->dy);
    size_t channels = (size_t)p->conv.channels, filters = (size_t)p->conv.filters;
    size_t tiles = tile_count(p);
    tiling in = tiles_of_input(p), out = tiles_of_output(p);
    matrix at = transposed(&p->w.a), b = transposed(&p->w.bt);
    double *u = kernel_points(p), *v = to_points(p, &in, &p->w.bt, p->x);
    double *z = to_points(p, &out, &p->w.a, p->dy);
    from_points(
        p, &out, &at,
        multiply(p, tiles, channels, filters, v, (stride){channels, 1}, u, (stride){filters, 1}),
        p->y_bound);
    from_points(
        p, &in, &b,
        multiply(p, tiles, filters, channels, z, (stride){filters, 1}, u, (stride){1, filters}),
        p->dx_bound);
    kernels_from_points(p, multiply(p, channels, tiles, filters, v, (stride){1, channels}, z,
                                    (stride){filters, 1}));
    free(u);
    free(v);
    free(z);
}

static void make_wanted(problem *p) {
    ref_conv_forward(&p->conv, p->x, p->weight, p->y);
    ref_conv_back(&p->conv, p->dy, p->weight, p->dx);
    ref_conv_weights_back(&p->conv, p->x, p->dy, p->dw);
}

/* ---- Inputs ------------------------------------------------------------------------------------
 */

/* Values [rows][columns][channels]. */
typedef void fill(numbers *n, int rows, int columns, int channels, real *x);

static size_t volume(int rows, int columns, int channels) {
    return (size_t)rows * (size_t)columns * (size_t)channels;
}

static void scaled(numbers *n, size_t count, double scale, real *x) {
    numbers_floats(n, count, x);
    for (size_t i = 0; i < count; i++)
        x[i] *= (real)scale;
}

static void noise(numbers *n, int rows, int columns, int channels, real *x) {
    scaled(n, volume(rows, columns, channels), 1, x);
}

static void offset(numbers *n, int rows, int columns, int channels, real *x) {
    size_t count = volume(rows, columns, channels);
    scaled(n, count, 1e-3, x);
    for (size_t i = 0; i < count; i++)
        x[i] += 1000;
}

/* p^i q^j, what the points see best, of each pair of points p, q in a channel of its own. */
static void powers(numbers *n, int rows, int columns, int channels, real *x) {
    static const double list[] = {1, -1, 2, -2};
    (void)n;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++)
            for (int c = 0; c < channels; c++)
                *x++ = (real)(pow(list[c % 4], i % MOST_POINTS) *
                              pow(list[c / 4 % 4], j % MOST_POINTS));
}

static void outlier(numbers *n, int rows, int columns, int channels, real *x) {
    size_t count = volume(rows, columns, channels);
    scaled(n, count, 1e-3, x);
    x[numbers_next(n) % count] = (real)1e6;
}

static void denormal(numbers *n, int rows, int columns, int channels, real *x) {
    scaled(n, volume(rows, columns, channels), 1e-40, x);
}

static void zeros(numbers *n, int rows, int columns, int channels, real *x) {
    (void)n;
    memset(x, 0, volume(rows, columns, channels) * sizeof *x);
}

static void large(numbers *n, int rows, int columns, int channels, real *x) {
    scaled(n, volume(rows, columns, channels), 1e31, x);
}

/* The transforms of these exceed the largest float; a direct sum with `small` does not. */
static void largest(numbers *n, int rows, int columns, int channels, real *x) {
    scaled(n, volume(rows, columns, channels), 1e37, x);
    x[0] = (real)1e37;
}

static void small(numbers *n, int rows, int columns, int channels, real *x) {
    scaled(n, volume(rows, columns, channels), 1e-4, x);
}

typedef enum wanted_error {
    BY_TERMS,  /* grows as the number of roundings */
    CANCELS,   /* as its root: signs are random */
    NONE,      /* all results are exactly 0 */
    OVERFLOWS, /* as BY_TERMS, but where the transforms overflow, a result is no finite number */
} wanted_error;

typedef struct kind {
    const char *name;
    fill *x, *weight, *dy;
    wanted_error error;
} kind;

static const kind kinds[] = {
    {"noise", noise, noise, noise, CANCELS},
    {"an offset", offset, noise, offset, BY_TERMS},
    {"powers of the points", powers, noise, powers, BY_TERMS},
    {"powers, of the kernels too", powers, powers, powers, BY_TERMS},
    {"an outlier", outlier, noise, outlier, BY_TERMS},
    {"denormals", denormal, noise, denormal, BY_TERMS},
    {"denormal kernels", noise, denormal, noise, BY_TERMS},
    {"zeros", zeros, noise, zeros, NONE},
    {"large values", large, noise, noise, CANCELS},
    {"values near overflow", largest, small, small, OVERFLOWS},
};

/* ---- Running ------------------------------------------------------------------------------------
 */

typedef struct counts {
    unsigned winograd, finite, infinite; /* runs; values of those that may overflow */
    double worst;                        /* of the bound, of random inputs */
} counts;

/* Compares with k u times the bound; values that may overflow must be right or not finite. */
static void compare(const char *what, const kind *of, size_t terms, size_t count, const real *got,
                    const double *wanted, const double *bound, counts *seen) {
    double k = (double)terms,
           factor = ROUNDING * (of->error == CANCELS ? random_factor * sqrt(k) : k);
    for (size_t i = 0; i < count; i++) {
        double error = fabs((double)got[i] - wanted[i]);
        double most = of->error == NONE ? 0 : factor * bound[i];
        if (of->error == OVERFLOWS && !isfinite((double)got[i])) {
            seen->infinite++;
            continue;
        }
        seen->finite += of->error == OVERFLOWS;
        if (of->error == CANCELS && error > seen->worst * most)
            seen->worst = error / most;
        if (!(error <= most))
            fail_case("%s %zu is %.9g, wanted %.17g: off by %.3g, at most %.3g", what, i,
                      (double)got[i], wanted[i], error, most);
    }
}

typedef struct numbers_in {
    real *x, *weight, *dy;
} numbers_in;

static drive run(const problem *p, const numbers_in *in, const fv_conv_options *options,
                 const fv_kernels *kernels, bool exact) {
    drive d = {.type = fv_layer_type_find("conv"),
               .options = options,
               .input_count = 1,
               .inputs = {{2, {p->conv.window.in[0], p->conv.window.in[1]}, p->conv.channels}},
               .kernels = kernels,
               .samples = SAMPLES,
               .batch = SAMPLES,
               .training = true,
               .exact = exact,
               .wants_gradient = {true}};
    if (drive_prepare(&d))
        fail_case("refused: %s", fv_error_message());
    memcpy(d.in[0].data, in->x, p->x_count * sizeof(real));
    memcpy(d.weights[0].data, in->weight, p->w_count * sizeof(real));
    drive_forward(&d);
    memcpy(p->got, d.out.data, p->y_count * sizeof(real));
    memcpy(d.out_gradient.data, in->dy, p->y_count * sizeof(real));
    drive_backward(&d);
    return d;
}

static void check_winograd(const problem *p, const kind *of, const drive *d, counts *seen) {
    int overlap = (p->w.points + p->w.tile - 1) / p->w.tile;
    size_t transforms = 6 * (size_t)(p->w.points + 1);
    compare("output", of, transforms + (size_t)p->conv.channels, p->y_count, p->got, p->y,
            p->y_bound, seen);
    compare("gradient of the input", of,
            transforms + (size_t)p->conv.filters + (size_t)(overlap * overlap), p->x_count,
            d->in_gradient[0].data, p->dx, p->dx_bound, seen);
    compare("gradient of the kernels", of, transforms + tile_count(p), p->w_count,
            d->weight_gradients[0].data, p->dw, p->dw_bound, seen);
    seen->winograd++;
}

/* What the direct algorithms make of values near overflow: they are what --exact is for. */
static void check_direct(const problem *p, const drive *d) {
    ref_conv conv = p->conv; /* p's inputs are absolute values by now */
    double *sum = new_doubles(p->y_count);
    ref_conv_forward(&conv, p->x, p->weight, sum);
    double roundings = (double)(p->w.kernel * p->w.kernel * p->conv.channels) + 1;
    for (size_t i = 0; i < p->y_count; i++)
        sum[i] *= roundings * ROUNDING;
    expect_close("output of direct algorithms", p->y_count, p->got, p->y, sum);
    free(sum);
    for (size_t i = 0; i < p->x_count; i++)
        assert_true(isfinite((double)((const real *)d->in_gradient[0].data)[i]));
    for (size_t i = 0; i < p->w_count; i++)
        assert_true(isfinite((double)((const real *)d->weight_gradients[0].data)[i]));
}

static real *filled(fill *with, numbers *n, int rows, int columns, int channels, double *values) {
    size_t count = volume(rows, columns, channels);
    real *x = calloc(count, sizeof *x);
    assert_non_null(x);
    with(n, rows, columns, channels, x);
    to_double(count, x, values);
    return x;
}

static void check_kind(const winograd *w, const shape_case *s, const kind *of, counts *seen) {
    problem p = make_problem(w, s);
    const int *out = p.conv.window.out;
    numbers n = {(uint64_t)s->height * 1000 + (uint64_t)s->width};
    numbers_in in = {
        filled(of->x, &n, SAMPLES * s->height, s->width, s->channels, p.x),
        filled(of->weight, &n, w->kernel, w->kernel, s->channels * s->filters, p.weight),
        filled(of->dy, &n, SAMPLES * out[0], out[1], s->filters, p.dy)};
    make_wanted(&p);
    make_bounds(&p);
    p.got = calloc(p.y_count, sizeof *p.got);
    assert_non_null(p.got);
    fv_conv_options o = {
        .filters = s->filters, .kernel = {w->kernel}, .padding = s->padding, .no_bias = true};
    for (int t = 0; t < table_count; t++)
        for (int exact = 0; exact <= (of->error == OVERFLOWS); exact++) {
            describe("%s, %dx%dx%d, %d filters %dx%d, %s, %s%s", of->name, s->height, s->width,
                     s->channels, s->filters, w->kernel, w->kernel,
                     s->padding == FV_SAME ? "same" : "valid", tables[t]->name,
                     exact ? ", exact" : "");
            drive d = run(&p, &in, &o, tables[t], exact);
            if (exact)
                check_direct(&p, &d);
            else if (strstr(d.plan.words, "winograd"))
                check_winograd(&p, of, &d, seen);
            drive_free(&d);
        }
    free(p.got);
    free(in.x);
    free(in.weight);
    free(in.dy);
    free_problem(&p);
}

/* Kernel and tile; most shapes must be those where the algorithm is chosen. */
static const int algorithms[][2] = {{3, 4}, {5, 2}};

static const shape_case shapes[] = {
    {4, 4, FV_SAME, 16, 16},    {7, 9, FV_SAME, 128, 128}, {5, 7, FV_SAME, 64, 64},
    {8, 8, FV_VALID, 256, 16},  {9, 9, FV_SAME, 16, 256},  {13, 14, FV_SAME, 64, 64},
    {6, 29, FV_VALID, 16, 64},  {18, 10, FV_SAME, 64, 16}, {29, 27, FV_SAME, 16, 16},
    {29, 29, FV_VALID, 64, 16},
};

static void results_are_within_the_bound(void **state) {
    (void)state;
    enum { SHAPES = sizeof shapes / sizeof *shapes, KINDS = sizeof kinds / sizeof *kinds };
    for (size_t a = 0; a < sizeof algorithms / sizeof *algorithms; a++) {
        winograd w = make_winograd(algorithms[a][0], algorithms[a][1]);
        counts seen = {0};
        for (int s = 0; s < SHAPES; s++)
            for (int k = 0; k < KINDS; k++)
                check_kind(&w, &shapes[s], &kinds[k], &seen);
        print_message("%dx%d kernels: %u runs by Winograd's algorithm, noise at most %.2f of its "
                      "bound; near overflow %u values finite, %u not\n",
                      w.kernel, w.kernel, seen.winograd, seen.worst, seen.finite, seen.infinite);
        assert_true(seen.winograd >= (unsigned)(SHAPES * KINDS * table_count / 2));
        assert_true(seen.finite > 0 && seen.infinite > 0);
    }
}

/* The matrices of F(4x4, 3x3) as Lavin & Gray (2016) print them. */
static void matrices_are_those_of_the_paper(void **state) {
    static const double bt[6][6] = {{4, 0, 5, 0, 1, 0}, {0, 4, 4, 1, 1, 0}, {0, 4, 4, 1, 1, 0},
                                    {0, 2, 1, 2, 1, 0}, {0, 2, 1, 2, 1, 0}, {0, 4, 0, 5, 0, 1}};
    static const double g[6][3] = {{6, 0, 0}, {4, 4, 4}, {4, 4, 4},
                                   {1, 2, 4}, {1, 2, 4}, {0, 0, 24}};
    (void)state;
    winograd w = make_winograd(3, 4);
    double most = 0;
    for (int i = 0; i < 4; i++) {
        double sum = 0;
        for (int e = 0; e < 6; e++) {
            double inputs = 0, weights = 0;
            for (int k = 0; k < 6; k++) {
                assert_true(w.bt.at[e][k] == bt[e][k]);
                assert_true(k >= 3 || fabs(24 * w.g.at[e][k] - g[e][k]) < 1e-12);
                inputs += w.bt.at[e][k];
                weights += k < 3 ? w.g.at[e][k] : 0;
            }
            sum += w.a.at[e][i] * inputs * weights;
        }
        most = sum > most ? sum : most;
    }
    assert_true(fabs(most - 48) < 1e-12);
}

int main(void) {
    const char *forced = getenv("FOVEA_ALGO");
    if (forced && strcmp(forced, "direct") == 0) {
        printf("skipped: FOVEA_ALGO forbids what is tested here\n");
        return 77;
    }
    table_count = kernel_tables(tables);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices_are_those_of_the_paper),
        cmocka_unit_test(results_are_within_the_bound),
    };
    return cmocka_run_group_tests_name("winograd", tests, NULL, NULL);
}
