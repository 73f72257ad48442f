/* Constants of ONNX reckoned value by value, and joined over axes. Of whole numbers NaN is one that
 * is not known; what depends on it is not known either. Called by fold.c. */
#include "formats/onnx/fold.h"
#include <math.h>
#include <string.h>

typedef fv_onnx_constant constant;

/* ---- Value by value ------------------------------------------------------------------------- */

/* Where number `index` of an array of those sizes is in x, which broadcasts to it. */
static size_t source(const constant *x, size_t index, int rank, const int64_t *size) {
    size_t place = 0, step = 1;
    for (int i = 1; i <= rank; i++) {
        size_t at = index % (size_t)size[rank - i];
        index /= (size_t)size[rank - i];
        if (i <= x->rank) {
            place += x->size[x->rank - i] == 1 ? 0 : at * step;
            step *= (size_t)x->size[x->rank - i];
        }
    }
    return place;
}

typedef double pair_function(double x, double y, bool whole);

static double plus(double x, double y, bool whole) {
    (void)whole;
    return x + y;
}
static double minus(double x, double y, bool whole) {
    (void)whole;
    return x - y;
}
static double times(double x, double y, bool whole) {
    (void)whole;
    return x * y;
}
static double over(double x, double y, bool whole) {
    return whole ? trunc(x / y) : x / y;
}
static double modulo(double x, double y, bool whole) {
    return whole ? x - y * floor(x / y) : fmod(x, y);
}
static double power(double x, double y, bool whole) {
    (void)whole;
    return pow(x, y);
}
static double smaller(double x, double y, bool whole) {
    (void)whole;
    return y < x || isnan(y) ? y : x;
}
static double larger(double x, double y, bool whole) {
    (void)whole;
    return y > x || isnan(y) ? y : x;
}
/* Of what is not known neither is the comparison; but no size is less than 0, as is asked of each
 * where -1 means the array's own. */
static double known(double x, double y, bool truth) {
    return isnan(x) || isnan(y) ? (double)NAN : truth;
}
static double equal(double x, double y, bool whole) {
    (void)whole;
    return x < 0 || y < 0 ? x == y : known(x, y, x == y);
}
static double less(double x, double y, bool whole) {
    (void)whole;
    return known(x, y, x < y);
}
static double greater(double x, double y, bool whole) {
    (void)whole;
    return known(x, y, x > y);
}
static double less_or_equal(double x, double y, bool whole) {
    (void)whole;
    return known(x, y, x <= y);
}
static double greater_or_equal(double x, double y, bool whole) {
    (void)whole;
    return known(x, y, x >= y);
}
static double both_true(double x, double y, bool whole) {
    (void)whole;
    return x == 0 || y == 0 ? 0 : known(x, y, true);
}
static double any_true(double x, double y, bool whole) {
    (void)whole;
    return (x != 0 && !isnan(x)) || (y != 0 && !isnan(y)) ? 1 : known(x, y, false);
}

static const struct {
    const char *op;
    pair_function *join;
    bool truth;
} pairs[] = {{"Add", plus, false},
             {"Sum", plus, false},
             {"Sub", minus, false},
             {"Mul", times, false},
             {"Div", over, false},
             {"Mod", modulo, false},
             {"Pow", power, false},
             {"Min", smaller, false},
             {"Max", larger, false},
             {"Equal", equal, true},
             {"Less", less, true},
             {"Greater", greater, true},
             {"LessOrEqual", less_or_equal, true},
             {"GreaterOrEqual", greater_or_equal, true},
             {"And", both_true, true},
             {"Or", any_true, true}};

static fv_status fold_pair(fv_onnx_import *im, pair_function *join, fv_onnx_kind kind,
                           const constant *x, const constant *y, constant *out) {
    int64_t size[FV_ONNX_RANK];
    int rank = 0;
    fv_status status = fv_onnx_broadcast(x, y->size, y->rank, size, &rank);
    if (status != FV_OK)
        return status;
    bool whole = x->kind != FV_NUMBER_FLOAT;
    double *numbers = fv_onnx_make(im, kind, rank, size, out);
    for (size_t i = 0; numbers && i < out->count; i++)
        numbers[i] = join(fv_onnx_number(x, source(x, i, rank, size)),
                          fv_onnx_number(y, source(y, i, rank, size)), whole);
    return numbers ? FV_OK : fv_error_status();
}

/* The operators of pairs, some of which take more. */
static fv_status fold_pairs(fv_onnx_import *im, const fv_onnx_fold_call *c) {
    size_t at = 0;
    while (strcmp(pairs[at].op, im->node->op) != 0)
        at++;
    constant sum = *c->in[0];
    fv_status status = FV_OK;
    for (size_t i = 1; i < c->count && status == FV_OK; i++) {
        constant next;
        status = fold_pair(im, pairs[at].join, pairs[at].truth ? FV_NUMBER_TRUTH : sum.kind, &sum,
                           c->in[i], &next);
        sum = next;
    }
    if (status == FV_OK)
        *c->out = sum;
    return status;
}

fv_status fv_onnx_fold_where(fv_onnx_import *im, const fv_onnx_fold_call *c) {
    int64_t size[FV_ONNX_RANK];
    int rank = 0;
    fv_status status = fv_onnx_broadcast(c->in[0], c->in[1]->size, c->in[1]->rank, size, &rank);
    if (status == FV_OK)
        status = fv_onnx_broadcast(c->in[2], size, rank, size, &rank);
    if (status != FV_OK)
        return status;
    double *numbers = fv_onnx_make(im, c->in[1]->kind, rank, size, c->out);
    for (size_t i = 0; numbers && i < c->out->count; i++) {
        double first = fv_onnx_number(c->in[0], source(c->in[0], i, rank, size));
        double one = fv_onnx_number(c->in[1], source(c->in[1], i, rank, size));
        double other = fv_onnx_number(c->in[2], source(c->in[2], i, rank, size));
        numbers[i] = isnan(first) && one != other ? (double)NAN : first != 0 ? one : other;
    }
    return numbers ? FV_OK : fv_error_status();
}

static double negative(double x) {
    return -x;
}
static double inverse(double x) {
    return 1 / x;
}
static double opposite(double x) {
    return isnan(x) ? x : x == 0;
}

static const struct {
    const char *op;
    double (*map)(double);
} maps[] = {{"Neg", negative}, {"Abs", fabs},   {"Floor", floor},   {"Ceil", ceil},
            {"Sqrt", sqrt},    {"Exp", exp},    {"Log", log},       {"Reciprocal", inverse},
            {"Not", opposite}, {"Round", rint}, {"Identity", NULL}, {"Cast", NULL},
            {"CastLike", NULL}};

/* Cast to whole numbers cuts the fraction off. */
static fv_status fold_map(fv_onnx_import *im, const fv_onnx_fold_call *c) {
    size_t at = 0;
    const constant *x = c->in[0];
    fv_onnx_kind kind = x->kind;
    while (strcmp(maps[at].op, im->node->op) != 0)
        at++;
    if (strcmp(im->node->op, "Cast") == 0)
        kind = fv_onnx_kind_of((int)fv_onnx_integer(im, "to", FV_ONNX_FLOAT));
    if (strcmp(im->node->op, "CastLike") == 0 && c->count > 1)
        kind = c->in[1]->kind;
    if (!maps[at].map && kind == x->kind) {
        *c->out = *x;
        return FV_OK;
    }
    double *numbers = fv_onnx_make(im, kind, x->rank, x->size, c->out);
    for (size_t i = 0; numbers && i < x->count; i++) {
        double number = fv_onnx_number(x, i);
        numbers[i] = maps[at].map              ? maps[at].map(number)
                     : kind == FV_NUMBER_WHOLE ? trunc(number)
                     : kind == FV_NUMBER_TRUTH ? known(number, 0, number != 0)
                                               : number;
    }
    return numbers ? FV_OK : fv_error_status();
}

/* ---- Reductions ----------------------------------------------------------------------------- */

static const struct {
    const char *op;
    pair_function *join;
} reductions[] = {{"ReduceSum", plus},
                  {"ReduceMean", plus},
                  {"ReduceProd", times},
                  {"ReduceMax", larger},
                  {"ReduceMin", smaller}};

/* Marks the axes that a reduction of x joins. */
static fv_status mark_reduced(fv_onnx_import *im, const constant *x, bool *joined) {
    int64_t axes[FV_ONNX_RANK];
    int count;
    fv_status status = fv_onnx_list(im, "axes", 1, FV_ONNX_RANK, axes, &count);
    bool all = count <= 0 && fv_onnx_integer(im, "noop_with_empty_axes", 0) == 0;
    for (int a = 0; a < x->rank; a++)
        joined[a] = all;
    for (int i = 0; i < count && status == FV_OK; i++) {
        int axis = fv_onnx_axis(axes[i], x->rank);
        if (axis < 0)
            return fv_error_status();
        joined[axis] = true;
    }
    return status;
}

/* A result's first number is met where all axes that are joined have index 0. */
static fv_status fold_reduce(fv_onnx_import *im, const fv_onnx_fold_call *c) {
    const constant *x = c->in[0];
    bool joined[FV_ONNX_RANK], keep = fv_onnx_integer(im, "keepdims", 1) != 0;
    int64_t size[FV_ONNX_RANK];
    size_t step[FV_ONNX_RANK], at = 0, results = 1;
    int rank = 0;
    if (x->count == 0)
        return fv_fail(FV_UNSUPPORTED, "it joins constants of which there are none");
    fv_status status = mark_reduced(im, x, joined);
    if (status != FV_OK)
        return status;
    while (strcmp(reductions[at].op, im->node->op) != 0)
        at++;
    for (int a = 0; a < x->rank; a++)
        if (keep || !joined[a])
            size[rank++] = joined[a] ? 1 : x->size[a];
    for (int a = x->rank - 1; a >= 0; a--) {
        step[a] = joined[a] ? 0 : results;
        results *= joined[a] ? 1 : (size_t)x->size[a];
    }
    double *numbers = fv_onnx_make(im, x->kind, rank, size, c->out);
    for (size_t i = 0; numbers && i < x->count; i++) {
        size_t rest = i, place = 0;
        bool first = true;
        for (int a = x->rank - 1; a >= 0; a--) {
            size_t index = rest % (size_t)x->size[a];
            place += index * step[a];
            first = first && (!joined[a] || index == 0);
            rest /= (size_t)x->size[a];
        }
        double number = fv_onnx_number(x, i);
        numbers[place] =
            first ? number
                  : reductions[at].join(numbers[place], number, x->kind != FV_NUMBER_FLOAT);
    }
    bool is_mean = strcmp(im->node->op, "ReduceMean") == 0;
    for (size_t i = 0; numbers && is_mean && i < results; i++)
        numbers[i] /= (double)(x->count / results);
    return numbers ? FV_OK : fv_error_status();
}

/* ---- Which operator ------------------------------------------------------------------------- */

fv_onnx_fold_operator *fv_onnx_fold_values(const char *op) {
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++)
        if (strcmp(maps[i].op, op) == 0)
            return fold_map;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (strcmp(pairs[i].op, op) == 0)
            return fold_pairs;
    for (size_t i = 0; i < sizeof reductions / sizeof reductions[0]; i++)
        if (strcmp(reductions[i].op, op) == 0)
            return fold_reduce;
    return NULL;
}
