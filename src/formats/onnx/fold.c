/* Constants of an ONNX model, and what is reckoned of them before the net runs: sizes that reshapes
 * ask for, weights that are transposed, numbers that exporters write as small graphs. In double; of
 * whole numbers NaN is one that only a run would know, the size of the batch. This file has the
 * table of operators and what makes numbers; fold_values.c and fold_axes.c have the others. Called
 * by import.c. */
#include "formats/onnx/fold.h"
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

fv_onnx_kind fv_onnx_kind_of(int type) {
    if (type == FV_ONNX_BOOL)
        return FV_NUMBER_TRUTH;
    bool is_float = type == FV_ONNX_FLOAT || type == FV_ONNX_DOUBLE || type == FV_ONNX_FLOAT16 ||
                    type == FV_ONNX_BFLOAT16;
    return is_float ? FV_NUMBER_FLOAT : FV_NUMBER_WHOLE;
}

static constant of_tensor(const fv_onnx_tensor *t) {
    constant c = {.rank = t->rank, .count = t->count, .tensor = t};
    c.kind = fv_onnx_kind_of(t->type);
    memcpy(c.size, t->size, sizeof c.size);
    return c;
}

void fv_onnx_set_tensor(const fv_onnx_tensor *tensor, fv_onnx_value *value) {
    value->kind = FV_VALUE_CONSTANT;
    value->constant = of_tensor(tensor);
}

/* ---- New constants -------------------------------------------------------------------------- */

double *fv_onnx_make(fv_onnx_import *im, fv_onnx_kind kind, int rank, const int64_t *size,
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

fv_status fv_onnx_resized(fv_onnx_import *im, const constant *c, int rank, const int64_t *size,
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

fv_status fv_onnx_sizes_of(const constant *list, int64_t *size) {
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

fv_status fv_onnx_broadcast(const constant *x, const int64_t *size, int rank, int64_t *both,
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

/* ---- Where values come from ----------------------------------------------------------------- */

static fv_status listed(fv_onnx_import *im, const fv_onnx_attribute *a, constant *out) {
    const int64_t size[] = {(int64_t)a->count};
    bool whole = strcmp(a->name, "value_ints") == 0;
    double *numbers = fv_onnx_make(im, whole ? FV_NUMBER_WHOLE : FV_NUMBER_FLOAT, 1, size, out);
    for (size_t i = 0; numbers && i < a->count; i++)
        numbers[i] = whole && a->integers ? (double)a->integers[i]
                     : a->numbers         ? (double)a->numbers[i]
                                          : 0;
    return numbers ? FV_OK : fv_error_status();
}

static fv_status fold_constant(fv_onnx_import *im, const fv_onnx_fold_call *c) {
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
        double *number = fv_onnx_make(im, is_float ? FV_NUMBER_FLOAT : FV_NUMBER_WHOLE, 0,
                                      (const int64_t[]){0}, c->out);
        if (number)
            *number = is_float ? (double)a->number : (double)a->integer;
        return number ? FV_OK : fv_error_status();
    }
    return fv_fail(FV_FORMAT, "its value is neither numbers nor a tensor");
}

/* Sizes of the input: of an array those of the batch, and those that vary, are not known. */
static fv_status fold_shape(fv_onnx_import *im, const fv_onnx_fold_call *c) {
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
    double *sizes = fv_onnx_make(im, FV_NUMBER_WHOLE, 1, (const int64_t[]){end - begin}, c->out);
    for (int64_t i = begin; sizes && i < end; i++) {
        int size = is_array && i > 0 ? fv_onnx_size(&in->array, (int)i) : FV_ANY;
        sizes[i - begin] = !is_array        ? (double)in->constant.size[i]
                           : size == FV_ANY ? (double)NAN
                                            : (double)size;
    }
    return sizes ? FV_OK : fv_error_status();
}

static fv_status fold_size(fv_onnx_import *im, const fv_onnx_fold_call *c) {
    const fv_onnx_value *in = fv_onnx_in(im, 0);
    double *size = fv_onnx_make(im, FV_NUMBER_WHOLE, 0, (const int64_t[]){0}, c->out);
    if (size)
        *size = in && in->kind == FV_VALUE_CONSTANT ? (double)in->constant.count : (double)NAN;
    return size ? FV_OK : fv_error_status();
}

static fv_status fold_constant_of_shape(fv_onnx_import *im, const fv_onnx_fold_call *c) {
    const fv_onnx_attribute *value = fv_onnx_find(im->node, "value");
    const fv_onnx_tensor *t = value ? value->tensor : NULL;
    int64_t size[FV_ONNX_RANK];
    fv_status status = fv_onnx_sizes_of(c->in[0], size);
    if (status != FV_OK)
        return status;
    double *numbers = fv_onnx_make(im, t ? fv_onnx_kind_of(t->type) : FV_NUMBER_FLOAT,
                                   (int)c->in[0]->count, size, c->out);
    double number = t && t->count > 0 ? fv_onnx_element(t, 0) : 0;
    for (size_t i = 0; numbers && i < c->out->count; i++)
        numbers[i] = number;
    return numbers ? FV_OK : fv_error_status();
}

static fv_status fold_range(fv_onnx_import *im, const fv_onnx_fold_call *c) {
    for (size_t i = 0; i < 3; i++)
        if (c->in[i]->count != 1)
            return fv_fail(FV_FORMAT, "its limits are no single numbers");
    double begin = fv_onnx_number(c->in[0], 0), end = fv_onnx_number(c->in[1], 0),
           step = fv_onnx_number(c->in[2], 0), count = ceil((end - begin) / step);
    if (!(count >= 0 && count < 0x1p40))
        return fv_fail(FV_FORMAT, "its limits give no list of numbers");
    double *numbers =
        fv_onnx_make(im, c->in[0]->kind, 1, (const int64_t[]){(int64_t)count}, c->out);
    for (size_t i = 0; numbers && i < c->out->count; i++)
        numbers[i] = begin + (double)i * step;
    return numbers ? FV_OK : fv_error_status();
}

/* ---- The table ------------------------------------------------------------------------------ */

static const struct {
    const char *op;
    size_t needed; /* inputs */
    fv_onnx_fold_operator *fold;
} operators[] = {{"Constant", 0, fold_constant},
                 {"ConstantOfShape", 1, fold_constant_of_shape},
                 {"Range", 3, fold_range},
                 {"Where", 3, fv_onnx_fold_where},
                 {"Reshape", 2, fv_onnx_fold_reshape},
                 {"Flatten", 1, fv_onnx_fold_flatten},
                 {"Squeeze", 1, fv_onnx_fold_squeeze},
                 {"Unsqueeze", 1, fv_onnx_fold_unsqueeze},
                 {"Transpose", 1, fv_onnx_fold_transpose},
                 {"Expand", 2, fv_onnx_fold_expand},
                 {"Slice", 1, fv_onnx_fold_slice},
                 {"Gather", 2, fv_onnx_fold_gather},
                 {"Concat", 1, fv_onnx_fold_concat}};

static fv_onnx_fold_operator *find_operator(const char *op, size_t *needed) {
    *needed = 1;
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
        if (strcmp(operators[i].op, op) == 0) {
            *needed = operators[i].needed;
            return operators[i].fold;
        }
    return fv_onnx_fold_values(op);
}

/* Numbers that are repeated for each sample: a layer, not a constant. */
static bool is_of_batch(const fv_onnx_import *im, const fv_onnx_fold_call *c) {
    return strcmp(im->node->op, "Expand") == 0 && c->count == 2 && c->in[1]->count > 0 &&
           isnan(fv_onnx_number(c->in[1], 0));
}

fv_status fv_onnx_fold(fv_onnx_import *im, bool *folded) {
    constant result = {0};
    fv_onnx_fold_call call = {.out = &result};
    const char *op = im->node->op;
    size_t needed = 0;
    *folded = false;
    if (!fv_onnx_is_standard(im->node))
        return FV_OK;
    fv_onnx_fold_operator *fold = strcmp(op, "Shape") == 0  ? fold_shape
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
    fv_onnx_value *out = fv_onnx_out(im, 0);
    fv_status status = out ? fold(im, &call) : fv_fail(FV_FORMAT, "it has no output");
    if (status == FV_OK) {
        out->kind = FV_VALUE_CONSTANT;
        out->constant = result;
    }
    return status;
}
