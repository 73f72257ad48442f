/* Constants of an ONNX model, and what is reckoned of them before the net runs: sizes that reshapes
 * ask for, weights that are transposed, numbers that exporters write as small graphs. In double; of
 * whole numbers NaN is one that only a run would know, the size of the batch. Called by
 * import.c. */
#include "formats/onnx/import.h"
#include <math.h>
#include <string.h>

enum { MOST_FOLDED = 1 << 20 }; /* numbers of a model in all, and four times those of its files */

static size_t most_folded(const fv_onnx_import *im) {
    size_t most = MOST_FOLDED;
    for (size_t i = 0; i < im->model->file_count; i++)
        most += im->model->files[i].mapping.size;
    return most;
}

typedef fv_onnx_constant constant;

double fv_onnx_number(const constant *c, size_t i) {
    return c->tensor ? fv_onnx_element(c->tensor, i) : c->numbers[i];
}

float *fv_onnx_floats(const constant *c) {
    float *values = fv_alloc(c->count, sizeof *values);
    if (values && c->tensor)
        fv_onnx_to_floats(c->tensor, values);
    for (size_t i = 0; values && !c->tensor && i < c->count; i++)
        values[i] = (float)c->numbers[i];
    return values;
}

fv_status fv_onnx_check_known(const constant *c) {
    for (size_t i = 0; !c->tensor && i < c->count; i++)
        if (isnan(c->numbers[i]))
            return fv_fail(FV_UNSUPPORTED,
                           "its constants depend on a size that is known only when the "
                           "net runs (give the input fixed sizes: --set NAME=SIZE)");
    return FV_OK;
}

static fv_onnx_kind kind_of(int type) {
    if (type == FV_ONNX_BOOL)
        return FV_NUMBER_TRUTH;
    bool is_float = type == FV_ONNX_FLOAT || type == FV_ONNX_DOUBLE || type == FV_ONNX_FLOAT16 ||
                    type == FV_ONNX_BFLOAT16;
    return is_float ? FV_NUMBER_FLOAT : FV_NUMBER_WHOLE;
}

static constant of_tensor(const fv_onnx_tensor *t) {
    constant c = {.rank = t->rank, .count = t->count, .tensor = t};
    c.kind = kind_of(t->type);
    memcpy(c.size, t->size, sizeof c.size);
    return c;
}

void fv_onnx_set_tensor(const fv_onnx_tensor *tensor, fv_onnx_value *value) {
    value->kind = FV_VALUE_CONSTANT;
    value->constant = of_tensor(tensor);
}

/* ---- New constants -------------------------------------------------------------------------- */

/* A constant of `like`'s kind with these sizes; NULL with a message, or its numbers to be filled.
 */
static double *make(fv_onnx_import *im, fv_onnx_kind kind, int rank, const int64_t *size,
                    constant *out) {
    fv_onnx_tensor t = {.name = im->node->name, .rank = rank};
    if (rank > FV_ONNX_RANK) {
        fv_fail(FV_UNSUPPORTED, "it makes an array of more than 8 axes");
        return NULL;
    }
    memcpy(t.size, size, (size_t)rank * sizeof *size);
    if (fv_onnx_count(&t) != FV_OK)
        return NULL;
    if (t.count > most_folded(im) - im->folded) {
        fv_fail(FV_UNSUPPORTED,
                "the model's constants make more numbers than its file can mean: %zu", t.count);
        return NULL;
    }
    double *numbers = fv_arena_new(&im->model->arena, t.count, sizeof *numbers);
    im->folded += t.count;
    *out = (constant){.rank = rank, .count = t.count, .numbers = numbers};
    out->kind = kind;
    memcpy(out->size, t.size, sizeof out->size);
    return numbers;
}

/* The same numbers under other sizes. */
static fv_status resized(fv_onnx_import *im, const constant *c, int rank, const int64_t *size,
                         constant *out) {
    fv_onnx_tensor t = {.name = im->node->name, .rank = rank};
    if (rank > FV_ONNX_RANK)
        return fv_fail(FV_UNSUPPORTED, "it makes an array of more than 8 axes");
    memcpy(t.size, size, (size_t)rank * sizeof *size);
    fv_status status = fv_onnx_count(&t);
    if (status == FV_OK && t.count != c->count)
        return fv_fail(FV_SHAPE, "a constant of %zu values does not fit into %zu", c->count,
                       t.count);
    *out = *c;
    out->rank = rank;
    memcpy(out->size, t.size, sizeof out->size);
    return status;
}

typedef struct fold_call {
    const constant *in[FV_ONNX_FACTORS];
    size_t count;
    constant *out;
} fold_call;

typedef fv_status fold_operator(fv_onnx_import *im, const fold_call *c);

static fv_status no_memory_or_message(void) {
    return fv_error_status();
}

/* ---- Where values come from ----------------------------------------------------------------- */

static fv_status listed(fv_onnx_import *im, const fv_onnx_attribute *a, constant *out) {
    const int64_t size[] = {(int64_t)a->count};
    bool whole = strcmp(a->name, "value_ints") == 0;
    double *numbers = make(im, whole ? FV_NUMBER_WHOLE : FV_NUMBER_FLOAT, 1, size, out);
    for (size_t i = 0; numbers && i < a->count; i++)
        numbers[i] = whole && a->integers ? (double)a->integers[i]
                     : a->numbers         ? (double)a->numbers[i]
                                          : 0;
    return numbers ? FV_OK : no_memory_or_message();
}

static fv_status fold_constant(fv_onnx_import *im, const fold_call *c) {
    for (size_t i = 0; i < im->node->attribute_count; i++) {
        const fv_onnx_attribute *a = &im->node->attributes[i];
        if (strcmp(a->name, "value") == 0 && a->tensor) {
            *c->out = of_tensor(a->tensor);
            return FV_OK;
        }
        if (strcmp(a->name, "value_floats") == 0 || strcmp(a->name, "value_ints") == 0)
            return listed(im, a, c->out);
        bool is_float = strcmp(a->name, "value_float") == 0;
        if (!is_float && strcmp(a->name, "value_int") != 0)
            continue;
        double *number =
            make(im, is_float ? FV_NUMBER_FLOAT : FV_NUMBER_WHOLE, 0, (const int64_t[]){0}, c->out);
        if (number)
            *number = is_float ? (double)a->number : (double)a->integer;
        return number ? FV_OK : no_memory_or_message();
    }
    return fv_fail(FV_FORMAT, "its value is neither numbers nor a tensor");
}

/* Sizes of the input: of an array those of the batch, and those that vary, are not known. */
static fv_status fold_shape(fv_onnx_import *im, const fold_call *c) {
    const fv_onnx_value *in = fv_onnx_in(im, 0);
    bool is_array = in && in->kind == FV_VALUE_ARRAY;
    if (!in || in->kind == FV_VALUE_UNKNOWN)
        return fv_fail(FV_FORMAT, "it has no input");
    int rank = is_array ? in->array.rank : in->constant.rank;
    int64_t begin = fv_onnx_integer(im, "start", 0), end = fv_onnx_integer(im, "end", rank);
    begin = begin < 0 ? begin + rank : begin;
    end = end < 0 ? end + rank : end;
    begin = begin < 0 ? 0 : begin > rank ? rank : begin;
    end = end < begin ? begin : end > rank ? rank : end;
    double *sizes = make(im, FV_NUMBER_WHOLE, 1, (const int64_t[]){end - begin}, c->out);
    for (int64_t i = begin; sizes && i < end; i++) {
        int size = is_array && i > 0 ? fv_onnx_size(&in->array, (int)i) : FV_ANY;
        sizes[i - begin] = !is_array        ? (double)in->constant.size[i]
                           : size == FV_ANY ? (double)NAN
                                            : (double)size;
    }
    return sizes ? FV_OK : no_memory_or_message();
}

static fv_status fold_size(fv_onnx_import *im, const fold_call *c) {
    const fv_onnx_value *in = fv_onnx_in(im, 0);
    double *size = make(im, FV_NUMBER_WHOLE, 0, (const int64_t[]){0}, c->out);
    if (size)
        *size = in && in->kind == FV_VALUE_CONSTANT ? (double)in->constant.count : (double)NAN;
    return size ? FV_OK : no_memory_or_message();
}

/* A list of sizes into size[]; FV_UNSUPPORTED where one is not known. */
static fv_status sizes_of(const constant *list, int64_t *size) {
    if (list->rank > 1 || list->count > FV_ONNX_RANK)
        return fv_fail(FV_FORMAT, "its sizes are no list of at most 8");
    for (size_t i = 0; i < list->count; i++) {
        double number = fv_onnx_number(list, i);
        if (!(fabs(number) < 0x1p53))
            return fv_fail(FV_UNSUPPORTED, "it needs a size that is known only when the net runs");
        size[i] = (int64_t)number;
    }
    return FV_OK;
}

static fv_status fold_constant_of_shape(fv_onnx_import *im, const fold_call *c) {
    const fv_onnx_attribute *value = fv_onnx_find(im->node, "value");
    const fv_onnx_tensor *t = value ? value->tensor : NULL;
    int64_t size[FV_ONNX_RANK];
    fv_status status = sizes_of(c->in[0], size);
    if (status != FV_OK)
        return status;
    double *numbers =
        make(im, t ? kind_of(t->type) : FV_NUMBER_FLOAT, (int)c->in[0]->count, size, c->out);
    double number = t && t->count > 0 ? fv_onnx_element(t, 0) : 0;
    for (size_t i = 0; numbers && i < c->out->count; i++)
        numbers[i] = number;
    return numbers ? FV_OK : no_memory_or_message();
}

static fv_status fold_range(fv_onnx_import *im, const fold_call *c) {
    double begin = fv_onnx_number(c->in[0], 0), end = fv_onnx_number(c->in[1], 0),
           step = fv_onnx_number(c->in[2], 0), count = ceil((end - begin) / step);
    if (!(count >= 0 && count < 0x1p40))
        return fv_fail(FV_FORMAT, "its limits give no list of numbers");
    double *numbers = make(im, c->in[0]->kind, 1, (const int64_t[]){(int64_t)count}, c->out);
    for (size_t i = 0; numbers && i < c->out->count; i++)
        numbers[i] = begin + (double)i * step;
    return numbers ? FV_OK : no_memory_or_message();
}

/* ---- Value by value ------------------------------------------------------------------------- */

/* The sizes that both broadcast to. */
static fv_status broadcast(const constant *x, const int64_t *size, int rank, int64_t *both,
                           int *both_rank) {
    int most = x->rank > rank ? x->rank : rank;
    int64_t joined[FV_ONNX_RANK];
    for (int i = 1; i <= most; i++) {
        int64_t a = i <= x->rank ? x->size[x->rank - i] : 1, b = i <= rank ? size[rank - i] : 1;
        if (a != b && a != 1 && b != 1)
            return fv_fail(FV_FORMAT, "its constants have sizes that do not fit together");
        joined[most - i] = a == 1 ? b : a;
    }
    memcpy(both, joined, (size_t)most * sizeof *both);
    *both_rank = most;
    return FV_OK;
}

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
    fv_status status = broadcast(x, y->size, y->rank, size, &rank);
    if (status != FV_OK)
        return status;
    bool whole = x->kind != FV_NUMBER_FLOAT;
    double *numbers = make(im, kind, rank, size, out);
    for (size_t i = 0; numbers && i < out->count; i++)
        numbers[i] = join(fv_onnx_number(x, source(x, i, rank, size)),
                          fv_onnx_number(y, source(y, i, rank, size)), whole);
    return numbers ? FV_OK : no_memory_or_message();
}

/* The operators of pairs, some of which take more. */
static fv_status fold_pairs(fv_onnx_import *im, const fold_call *c) {
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

static fv_status fold_where(fv_onnx_import *im, const fold_call *c) {
    int64_t size[FV_ONNX_RANK];
    int rank = 0;
    fv_status status = broadcast(c->in[0], c->in[1]->size, c->in[1]->rank, size, &rank);
    if (status == FV_OK)
        status = broadcast(c->in[2], size, rank, size, &rank);
    if (status != FV_OK)
        return status;
    double *numbers = make(im, c->in[1]->kind, rank, size, c->out);
    for (size_t i = 0; numbers && i < c->out->count; i++) {
        double first = fv_onnx_number(c->in[0], source(c->in[0], i, rank, size));
        double one = fv_onnx_number(c->in[1], source(c->in[1], i, rank, size));
        double other = fv_onnx_number(c->in[2], source(c->in[2], i, rank, size));
        numbers[i] = isnan(first) && one != other ? (double)NAN : first != 0 ? one : other;
    }
    return numbers ? FV_OK : no_memory_or_message();
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
static fv_status fold_map(fv_onnx_import *im, const fold_call *c) {
    size_t at = 0;
    const constant *x = c->in[0];
    fv_onnx_kind kind = x->kind;
    while (strcmp(maps[at].op, im->node->op) != 0)
        at++;
    if (strcmp(im->node->op, "Cast") == 0)
        kind = kind_of((int)fv_onnx_integer(im, "to", FV_ONNX_FLOAT));
    if (strcmp(im->node->op, "CastLike") == 0 && c->count > 1)
        kind = c->in[1]->kind;
    if (!maps[at].map && kind == x->kind) {
        *c->out = *x;
        return FV_OK;
    }
    double *numbers = make(im, kind, x->rank, x->size, c->out);
    for (size_t i = 0; numbers && i < x->count; i++) {
        double number = fv_onnx_number(x, i);
        numbers[i] = maps[at].map              ? maps[at].map(number)
                     : kind == FV_NUMBER_WHOLE ? trunc(number)
                     : kind == FV_NUMBER_TRUTH ? known(number, 0, number != 0)
                                               : number;
    }
    return numbers ? FV_OK : no_memory_or_message();
}

/* ---- Sizes and axes ------------------------------------------------------------------------- */

static fv_status fold_reshape(fv_onnx_import *im, const fold_call *c) {
    int64_t size[FV_ONNX_RANK], known = 1;
    int open = -1, rank = (int)c->in[1]->count;
    fv_status status = sizes_of(c->in[1], size);
    for (int i = 0; i < rank && status == FV_OK; i++) {
        if (size[i] == 0 && i < c->in[0]->rank && fv_onnx_integer(im, "allowzero", 0) == 0)
            size[i] = c->in[0]->size[i];
        open = size[i] == -1 ? i : open;
        if (size[i] > 0 && __builtin_mul_overflow(known, size[i], &known))
            return fv_fail(FV_UNSUPPORTED, "its sizes are too large");
    }
    if (status == FV_OK && open >= 0)
        size[open] = (int64_t)c->in[0]->count / known;
    return status == FV_OK ? resized(im, c->in[0], rank, size, c->out) : status;
}

static fv_status fold_flatten(fv_onnx_import *im, const fold_call *c) {
    const constant *x = c->in[0];
    int64_t axis = fv_onnx_integer(im, "axis", 1), size[2] = {1, 1};
    axis = axis < 0 ? axis + x->rank : axis;
    for (int i = 0; i < x->rank; i++)
        size[i >= axis] *= x->size[i];
    return resized(im, x, 2, size, c->out);
}

static fv_status fold_squeeze(fv_onnx_import *im, const fold_call *c) {
    const constant *x = c->in[0];
    int64_t axes[FV_ONNX_RANK], size[FV_ONNX_RANK];
    int count, rank = 0;
    fv_status status = fv_onnx_list(im, "axes", 1, FV_ONNX_RANK, axes, &count);
    for (int i = 0; i < x->rank && status == FV_OK; i++) {
        bool gone = count < 0 && x->size[i] == 1;
        for (int k = 0; k < count; k++)
            gone = gone || axes[k] == i || axes[k] + x->rank == i;
        if (!gone)
            size[rank++] = x->size[i];
    }
    return status == FV_OK ? resized(im, x, rank, size, c->out) : status;
}

static fv_status fold_unsqueeze(fv_onnx_import *im, const fold_call *c) {
    const constant *x = c->in[0];
    int64_t axes[FV_ONNX_RANK], size[FV_ONNX_RANK] = {0};
    int count, next = 0;
    fv_status status = fv_onnx_list(im, "axes", 1, FV_ONNX_RANK, axes, &count);
    int rank = x->rank + (count > 0 ? count : 0);
    if (status == FV_OK && rank > FV_ONNX_RANK)
        return fv_fail(FV_UNSUPPORTED, "it makes an array of more than 8 axes");
    for (int k = 0; k < count && status == FV_OK; k++) {
        int axis = fv_onnx_axis(axes[k], rank);
        if (axis < 0)
            return fv_error_status();
        size[axis] = 1;
    }
    for (int i = 0; i < rank && status == FV_OK; i++)
        if (size[i] == 0 && next < x->rank)
            size[i] = x->size[next++];
    return status == FV_OK ? resized(im, x, rank, size, c->out) : status;
}

/* Numbers taken from x: that of `index` in an array of these sizes at begin + sum of index x step.
 */
static fv_status pick(fv_onnx_import *im, const constant *x, int rank, const int64_t *size,
                      int64_t begin, const int64_t *step, constant *out) {
    double *numbers = make(im, x->kind, rank, size, out);
    for (size_t i = 0; numbers && i < out->count; i++) {
        int64_t place = begin;
        size_t rest = i;
        for (int a = rank - 1; a >= 0; a--) {
            place += (int64_t)(rest % (size_t)size[a]) * step[a];
            rest /= (size_t)size[a];
        }
        numbers[i] = fv_onnx_number(x, (size_t)place);
    }
    return numbers ? FV_OK : no_memory_or_message();
}

/* Values from one number of an axis to the next. */
static void steps_of(const constant *x, int64_t *step) {
    int64_t values = 1;
    for (int a = x->rank - 1; a >= 0; a--) {
        step[a] = values;
        values *= x->size[a];
    }
}

static fv_status fold_transpose(fv_onnx_import *im, const fold_call *c) {
    const constant *x = c->in[0];
    const fv_onnx_attribute *perm = fv_onnx_find(im->node, "perm");
    int64_t own[FV_ONNX_RANK], size[FV_ONNX_RANK], step[FV_ONNX_RANK];
    unsigned seen = 0;
    steps_of(x, own);
    for (int a = 0; a < x->rank; a++) {
        int64_t from = x->rank - 1 - a;
        if (perm)
            from = perm->count == (size_t)x->rank && perm->integers ? perm->integers[a] : -1;
        if (from < 0 || from >= x->rank || seen >> from & 1)
            return fv_fail(FV_FORMAT, "perm is no order of its axes");
        seen |= 1U << from;
        size[a] = x->size[from];
        step[a] = own[from];
    }
    return pick(im, x, x->rank, size, 0, step, c->out);
}

static fv_status fold_expand(fv_onnx_import *im, const fold_call *c) {
    const constant *x = c->in[0];
    int64_t wanted[FV_ONNX_RANK], size[FV_ONNX_RANK], own[FV_ONNX_RANK], step[FV_ONNX_RANK] = {0};
    int rank = 0;
    fv_status status = sizes_of(c->in[1], wanted);
    if (status == FV_OK)
        status = broadcast(x, wanted, (int)c->in[1]->count, size, &rank);
    if (status != FV_OK)
        return status;
    steps_of(x, own);
    for (int i = 1; i <= x->rank; i++)
        step[rank - i] = x->size[x->rank - i] == 1 ? 0 : own[x->rank - i];
    return pick(im, x, rank, size, 0, step, c->out);
}

/* Where a slice of an axis begins and how many numbers it has. */
static void clamp_slice(int64_t size, double begin, double end, int64_t step, int64_t *first,
                        int64_t *count) {
    double low = step > 0 ? 0 : -1, high = step > 0 ? (double)size : (double)size - 1;
    begin += begin < 0 ? (double)size : 0;
    end += end < 0 ? (double)size : 0;
    begin = begin < (step > 0 ? 0 : low) ? low : begin > high ? high : begin;
    end = end < low ? low : end > high ? high : end;
    double numbers = ceil((end - begin) / (double)step);
    *first = (int64_t)(begin < 0 ? 0 : begin);
    *count = numbers > 0 ? (int64_t)numbers : 0;
}

static fv_status fold_slice(fv_onnx_import *im, const fold_call *c) {
    const constant *x = c->in[0];
    int64_t begins[FV_ONNX_RANK], ends[FV_ONNX_RANK], axes[FV_ONNX_RANK], jumps[FV_ONNX_RANK];
    int64_t step[FV_ONNX_RANK], size[FV_ONNX_RANK], begin = 0;
    int count;
    fv_status status = fv_onnx_slices(im, x->rank, begins, ends, axes, jumps, &count);
    steps_of(x, step);
    memcpy(size, x->size, sizeof size);
    for (int i = 0; i < count && status == FV_OK; i++) {
        int64_t first, own = step[axes[i]];
        clamp_slice(x->size[axes[i]], (double)begins[i], (double)ends[i], jumps[i], &first,
                    &size[axes[i]]);
        begin += first * own;
        step[axes[i]] = own * jumps[i];
    }
    return status == FV_OK ? pick(im, x, x->rank, size, begin, step, c->out) : status;
}

/* Of one axis the numbers at `indices`, whose axes come in its place. */
static fv_status fold_gather(fv_onnx_import *im, const fold_call *c) {
    const constant *x = c->in[0], *indices = c->in[1];
    int64_t size[2 * FV_ONNX_RANK], inner = 1;
    int rank = 0, axis = fv_onnx_axis(fv_onnx_integer(im, "axis", 0), x->rank);
    if (axis < 0)
        return fv_error_status();
    for (int a = 0; a < x->rank; a++) {
        inner *= a > axis ? x->size[a] : 1;
        for (int k = 0; a == axis && k < indices->rank; k++)
            size[rank++] = indices->size[k];
        if (a != axis)
            size[rank++] = x->size[a];
    }
    double *numbers = make(im, x->kind, rank, size, c->out);
    for (size_t i = 0; numbers && i < c->out->count; i++) {
        size_t in = i % (size_t)inner, k = i / (size_t)inner % indices->count,
               out = i / (size_t)inner / indices->count;
        double index = fv_onnx_number(indices, k), all = (double)x->size[axis];
        index += index < 0 ? all : 0;
        if (!(index >= 0 && index < all))
            return fv_fail(FV_FORMAT, "an index lies outside its axis");
        numbers[i] =
            fv_onnx_number(x, (out * (size_t)x->size[axis] + (size_t)index) * (size_t)inner + in);
    }
    return numbers ? FV_OK : no_memory_or_message();
}

static fv_status fold_concat(fv_onnx_import *im, const fold_call *c) {
    const constant *first = c->in[0];
    int64_t size[FV_ONNX_RANK], inner = 1;
    int axis = fv_onnx_axis(fv_onnx_integer(im, "axis", 1), first->rank);
    if (axis < 0)
        return fv_error_status();
    memcpy(size, first->size, sizeof size);
    for (int a = axis + 1; a < first->rank; a++)
        inner *= size[a];
    for (size_t i = 1; i < c->count; i++) {
        for (int a = 0; a < first->rank; a++)
            if (c->in[i]->rank != first->rank || (a != axis && c->in[i]->size[a] != size[a]))
                return fv_fail(FV_FORMAT, "its constants have sizes that do not fit together");
        size[axis] += c->in[i]->size[axis];
    }
    double *numbers = make(im, first->kind, first->rank, size, c->out);
    for (size_t i = 0, at = 0; numbers && i < c->count; i++) {
        const constant *x = c->in[i];
        size_t run = (size_t)(x->size[axis] * inner), all = (size_t)(size[axis] * inner);
        for (size_t k = 0; k < x->count; k++)
            numbers[k / run * all + at + k % run] = fv_onnx_number(x, k);
        at += run;
    }
    return numbers ? FV_OK : no_memory_or_message();
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
static fv_status fold_reduce(fv_onnx_import *im, const fold_call *c) {
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
    double *numbers = make(im, x->kind, rank, size, c->out);
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
    return numbers ? FV_OK : no_memory_or_message();
}

/* ---- The table ------------------------------------------------------------------------------ */

static const struct {
    const char *op;
    size_t needed; /* inputs */
    fold_operator *fold;
} operators[] = {{"Constant", 0, fold_constant},   {"ConstantOfShape", 1, fold_constant_of_shape},
                 {"Range", 3, fold_range},         {"Where", 3, fold_where},
                 {"Reshape", 2, fold_reshape},     {"Flatten", 1, fold_flatten},
                 {"Squeeze", 1, fold_squeeze},     {"Unsqueeze", 1, fold_unsqueeze},
                 {"Transpose", 1, fold_transpose}, {"Expand", 2, fold_expand},
                 {"Slice", 1, fold_slice},         {"Gather", 2, fold_gather},
                 {"Concat", 1, fold_concat}};

static fold_operator *find_operator(const char *op, size_t *needed) {
    *needed = 1;
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++)
        if (strcmp(maps[i].op, op) == 0)
            return fold_map;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (strcmp(pairs[i].op, op) == 0)
            return fold_pairs;
    for (size_t i = 0; i < sizeof reductions / sizeof reductions[0]; i++)
        if (strcmp(reductions[i].op, op) == 0)
            return fold_reduce;
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
        if (strcmp(operators[i].op, op) == 0) {
            *needed = operators[i].needed;
            return operators[i].fold;
        }
    return NULL;
}

/* Numbers that are repeated for each sample: a layer, not a constant. */
static bool is_of_batch(const fv_onnx_import *im, const fold_call *c) {
    return strcmp(im->node->op, "Expand") == 0 && c->count == 2 && c->in[1]->count > 0 &&
           isnan(fv_onnx_number(c->in[1], 0));
}

fv_status fv_onnx_fold(fv_onnx_import *im, bool *folded) {
    constant result = {0};
    fold_call call = {.out = &result};
    const char *op = im->node->op;
    size_t needed = 0;
    *folded = false;
    if (!fv_onnx_is_standard(im->node))
        return FV_OK;
    fold_operator *fold = strcmp(op, "Shape") == 0  ? fold_shape
                          : strcmp(op, "Size") == 0 ? fold_size
                                                    : find_operator(op, &needed);
    *folded = fold == fold_shape || fold == fold_size;
    if (!fold || im->node->input_count > FV_ONNX_FACTORS)
        return FV_OK;
    for (size_t i = 0; !*folded && i < im->node->input_count; i++) {
        const fv_onnx_value *in = fv_onnx_in(im, i);
        if (in && in->kind != FV_VALUE_CONSTANT)
            return FV_OK;
        if (in)
            call.in[call.count++] = &in->constant;
        else
            break; /* what follows is read by number */
    }
    if (is_of_batch(im, &call))
        return FV_OK;
    *folded = true;
    if (call.count < needed)
        return fv_fail(FV_FORMAT, "an input is missing");
    if (strcmp(op, "Range") == 0)
        for (size_t i = 0; i < 3; i++)
            if (call.in[i]->count != 1)
                return fv_fail(FV_FORMAT, "its limits are no single numbers");
    fv_onnx_value *out = fv_onnx_out(im, 0);
    fv_status status = out ? fold(im, &call) : fv_fail(FV_FORMAT, "it has no output");
    if (status == FV_OK) {
        out->kind = FV_VALUE_CONSTANT;
        out->constant = result;
    }
    return status;
}
