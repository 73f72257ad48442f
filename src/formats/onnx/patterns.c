/* Nodes of ONNX that together are one layer here: formulas of layers that ONNX, or its older
 * operator sets, have no operator for, as fovea, PyTorch and Keras write them. A formula is found
 * when its first node is imported; the longest that begins there is taken. Called by import.c
 * before it asks for the node's operator. */
#include "formats/onnx/match.h"
#include <math.h>
#include <string.h>

/* ---- What matches hold ----------------------------------------------------------------------- */

/* The number that a letter is, 0 or more; false: it is none. */
static bool number_of(const fv_onnx_match *m, char c, double *number) {
    const fv_onnx_constant *constant = fv_onnx_letter(m, c);
    if (!constant || constant->count != 1)
        return false;
    *number = fv_onnx_as_written(fv_onnx_number(constant, 0));
    return *number >= 0 && isfinite(*number);
}

/* The axis of x that is reduced; -1: none, or its size varies. */
static int reduced_axis(const fv_onnx_match *m, const fv_onnx_array *a) {
    int64_t axis = m->axis < 0 ? m->axis + a->rank : m->axis;
    return m->keeps && axis >= 1 && axis < a->rank && fv_onnx_size(a, (int)axis) >= 1 ? (int)axis
                                                                                      : -1;
}

/* Whether the constants, if there are any, are one for each of that axis. */
static bool are_on_axis(const fv_onnx_constant *c, const fv_onnx_array *a, int axis) {
    int at = c ? c->rank - a->rank + axis : 0;
    return !c || (c->rank <= a->rank && at >= 0 && c->size[at] == (int64_t)c->count &&
                  c->size[at] == fv_onnx_size(a, axis));
}

/* Whether letter s, if it is constant, has the sizes of x; of the batch 1 or none known. */
static bool is_own_shape(const fv_onnx_match *m, const fv_onnx_array *a) {
    const fv_onnx_constant *sizes = fv_onnx_letter(m, 's');
    bool own = !sizes || sizes->count == (size_t)a->rank;
    for (int i = 0; sizes && own && i < a->rank; i++) {
        double size = fv_onnx_number(sizes, (size_t)i);
        own = size == (i > 0 ? fv_onnx_size(a, i) : 1) || (i == 0 && (isnan(size) || size == -1));
    }
    return own;
}

/* ---- Activations ---------------------------------------------------------------------------- */

static fv_status make_activation(fv_onnx_import *im, const fv_onnx_match *m,
                                 fv_activation activation, bool *made) {
    *made = true;
    return fv_onnx_activate(im, &im->values[m->x], activation, 0, fv_onnx_out(im, 0));
}

/* ---- Normalisations -------------------------------------------------------------------------- */

static fv_status make_layer_norm(fv_onnx_import *im, const fv_onnx_match *m, fv_activation none,
                                 bool *made) {
    const fv_onnx_value *x = &im->values[m->x];
    const fv_onnx_constant *w = fv_onnx_letter(m, 'w'), *b = fv_onnx_letter(m, 'b');
    fv_layer_norm_options options = {.formula = FV_ONNX, .no_scale = !w, .no_bias = !b};
    int axis = reduced_axis(m, &x->array);
    (void)none;
    *made = number_of(m, 'e', &options.epsilon) && options.epsilon > 0 && axis > 0 &&
            are_on_axis(w, &x->array, axis) && are_on_axis(b, &x->array, axis);
    return *made
               ? fv_onnx_add_on_axis(im, x, axis, "layer_norm", &options, w, b, fv_onnx_out(im, 0))
               : FV_OK;
}

static fv_status make_rms_norm(fv_onnx_import *im, const fv_onnx_match *m, fv_activation none,
                               bool *made) {
    const fv_onnx_value *x = &im->values[m->x];
    const fv_onnx_constant *w = fv_onnx_letter(m, 'w');
    fv_rms_norm_options options = {.no_scale = !w};
    int axis = reduced_axis(m, &x->array);
    (void)none;
    *made = number_of(m, 'e', &options.epsilon) && options.epsilon > 0 && axis > 0 &&
            are_on_axis(w, &x->array, axis);
    return *made
               ? fv_onnx_add_on_axis(im, x, axis, "rms_norm", &options, w, NULL, fv_onnx_out(im, 0))
               : FV_OK;
}

/* x / sqrt(sum of x^2 + e) = x / sqrt(mean of x^2 + e / n) / sqrt(n) */
static fv_status make_sum_norm(fv_onnx_import *im, const fv_onnx_match *m, fv_activation none,
                               bool *made) {
    const fv_onnx_value *x = &im->values[m->x];
    fv_onnx_value *out = fv_onnx_out(im, 0);
    double least;
    int axis = reduced_axis(m, &x->array);
    (void)none;
    *made = number_of(m, 'e', &least) && least > 0 && axis > 0;
    if (!*made)
        return FV_OK;
    size_t count = (size_t)fv_onnx_size(&x->array, axis);
    const fv_rms_norm_options options = {.epsilon = least / (double)count};
    fv_status status = fv_onnx_add_on_axis(im, x, axis, "rms_norm", &options, NULL, NULL, out);
    if (status != FV_OK)
        return status;
    float *scale = fv_alloc(count, sizeof *scale);
    for (size_t i = 0; scale && i < count; i++)
        scale[i] = (float)(1 / sqrt((double)count));
    return fv_onnx_give(im, out->array.layer, "weight", count, scale);
}

/* Letter e bounds the sum of squares from below, l its root; without either nothing does, and the
 * smallest epsilon keeps 0 / 0 at 0. */
static fv_status make_l2_normalize(fv_onnx_import *im, const fv_onnx_match *m, fv_activation none,
                                   bool *made) {
    const fv_onnx_value *x = &im->values[m->x];
    double least = 0, length = 0;
    int axis = reduced_axis(m, &x->array);
    (void)none;
    *made = axis > 0 && is_own_shape(m, &x->array) &&
            (!fv_onnx_letter(m, 'e') || number_of(m, 'e', &least)) &&
            (!fv_onnx_letter(m, 'l') || number_of(m, 'l', &length));
    least = length > 0 ? length * length : least;
    const fv_l2_normalize_options options = {.epsilon = least > 1e-37 ? least : 1e-37};
    return *made ? fv_onnx_add_on_axis(im, x, axis, "l2_normalize", &options, NULL, NULL,
                                       fv_onnx_out(im, 0))
                 : FV_OK;
}

/* The window of channels of an AveragePool over rows that are the channels. */
static bool read_rows(const fv_onnx_node *pool, int64_t *before, int64_t *after) {
    const fv_onnx_attribute *pads = fv_onnx_find(pool, "pads");
    const fv_onnx_attribute *padded = fv_onnx_find(pool, "count_include_pad");
    const int64_t ones[2] = {1, 1};
    if (!pads || pads->count != 4 || !pads->integers || !padded || padded->integer != 1)
        return false;
    *before = pads->integers[0];
    *after = pads->integers[2];
    if (*before < 0 || *after < 0 || *before > 1 << 20 || *after > 1 << 20)
        return false;
    const int64_t kernel[2] = {*before + *after + 1, 1};
    return fv_onnx_holds(pool, "kernel_shape", false, 2, kernel) && pads->integers[1] == 0 &&
           pads->integers[3] == 0 && fv_onnx_holds(pool, "strides", true, 2, ones) &&
           fv_onnx_holds(pool, "dilations", true, 2, ones) && !fv_onnx_find(pool, "auto_pad") &&
           !fv_onnx_find(pool, "ceil_mode");
}

/* Whether letter r makes a sample's channels rows: N, 1, channels, all others. */
static bool are_rows(const fv_onnx_match *m, const fv_onnx_array *a) {
    const fv_onnx_constant *sizes = fv_onnx_letter(m, 'r');
    return sizes && a->rank >= 2 && sizes->count == 4 && fv_onnx_number(sizes, 0) == 0 &&
           fv_onnx_number(sizes, 1) == 1 && fv_onnx_number(sizes, 2) == fv_onnx_size(a, 1) &&
           fv_onnx_number(sizes, 3) == -1;
}

static fv_status make_lrn(fv_onnx_import *im, const fv_onnx_match *m, fv_activation none,
                          bool *made) {
    const fv_onnx_value *x = &im->values[m->x];
    fv_lrn_options options = {0};
    int64_t before, after;
    (void)none;
    *made = m->pool && are_rows(m, &x->array) && is_own_shape(m, &x->array) &&
            read_rows(m->pool, &before, &after) && number_of(m, 'a', &options.alpha) &&
            number_of(m, 'k', &options.k) && number_of(m, 'b', &options.beta) &&
            options.alpha > 0 && options.k > 0 && options.beta > 0;
    *made = *made && (before == after || before == after + 1 || before == after - 1);
    if (!*made)
        return FV_OK;
    options.size = (int)(before + after + 1);
    options.formula = before > after ? FV_TORCH : FV_ONNX;
    return fv_onnx_add_on_channels(im, x, "lrn", &options, fv_onnx_out(im, 0));
}

/* ---- LeNet-5 -------------------------------------------------------------------------------- */

/* x as N, 1, inputs against the weights (units, inputs). */
static fv_status make_rbf(fv_onnx_import *im, const fv_onnx_match *m, fv_activation none,
                          bool *made) {
    const fv_onnx_value *x = &im->values[m->x];
    const fv_onnx_constant *w = fv_onnx_letter(m, 'w'), *r = fv_onnx_letter(m, 'r');
    int64_t values = x->array.rank == 2 ? fv_onnx_size(&x->array, 1) : 0;
    (void)none;
    *made = !m->keeps && (m->axis == 2 || m->axis == -1) && values > 0 && w->rank == 2 &&
            w->size[1] == values && w->size[0] >= 1 && w->size[0] <= INT32_MAX && r->count == 3 &&
            fv_onnx_number(r, 0) == 0 && fv_onnx_number(r, 1) == 1 &&
            (fv_onnx_number(r, 2) == (double)values || fv_onnx_number(r, 2) == -1);
    if (!*made)
        return FV_OK;
    const fv_rbf_options options = {.units = (int)w->size[0]};
    return fv_onnx_add_on_axis(im, x, 1, "rbf", &options, w, NULL, fv_onnx_out(im, 0));
}

/* The one number of each kernel; NULL: they have several, or memory is short. */
static float *coefficients_of(const fv_onnx_constant *w, size_t channels) {
    float *all = fv_alloc(channels, sizeof *all);
    size_t cells = w->count / channels;
    for (size_t i = 0; all && i < w->count; i++) {
        float number = (float)fv_onnx_number(w, i);
        if (i % cells == 0)
            all[i / cells] = number;
        if (number == all[i / cells])
            continue;
        fv_free(all);
        all = NULL;
    }
    return all;
}

/* Whether the node is a convolution of each channel whose kernels fovea's exporter made up. */
static bool is_subsample(const fv_onnx_import *im, const fv_onnx_value *x, const fv_onnx_value *w) {
    static const char ending[] = ":weight";
    const fv_onnx_constant *c = &w->constant;
    size_t size = strlen(w->name), tail = sizeof ending - 1;
    int channels = x->array.rank >= 3 ? fv_onnx_size(&x->array, 1) : 0;
    return im->is_own && size > tail && strcmp(w->name + size - tail, ending) == 0 &&
           channels > 0 && fv_onnx_integer(im, "group", 1) == channels &&
           c->rank == x->array.rank && c->rank <= 5 && c->size[0] == channels && c->size[1] == 1 &&
           c->count > 0;
}

/* coefficient(c) x sum of the window + bias(c) */
static fv_status find_subsample(fv_onnx_import *im, bool *found) {
    const fv_onnx_value *x = fv_onnx_in(im, 0), *w = fv_onnx_in(im, 1), *b = fv_onnx_in(im, 2);
    fv_onnx_value *out = fv_onnx_out(im, 0);
    fv_onnx_window window;
    if (strcmp(im->node->op, "Conv") != 0 || !x || !w || !b || !out || x->kind != FV_VALUE_ARRAY ||
        w->kind != FV_VALUE_CONSTANT || b->kind != FV_VALUE_CONSTANT || !is_subsample(im, x, w) ||
        b->constant.count != (size_t)w->constant.size[0])
        return FV_OK;
    int rank = x->array.rank - 2;
    fv_status status = fv_onnx_read_window(im, rank, &window);
    bool plain = status == FV_OK && window.padding == FV_VALID, apart = false;
    fv_subsample_options options = {0};
    for (int i = 0; plain && i < rank; i++) {
        plain = window.pad[i][0] == 0 && window.pad[i][1] == 0 && window.dilation[i] <= 1 &&
                window.kernel[i] == w->constant.size[2 + i];
        options.size[i] = window.kernel[i];
        apart = apart || window.stride[i] != window.kernel[i];
    }
    for (int i = 0; apart && i < rank; i++)
        options.stride[i] = window.stride[i];
    float *all = plain ? coefficients_of(&w->constant, b->constant.count) : NULL;
    if (!all)
        return status;
    fv_tensor layer;
    status = fv_onnx_standard(im, &x->array, &layer);
    if (status == FV_OK)
        status = fv_onnx_add1(im, "subsample", layer, &options, &layer);
    if (status == FV_OK)
        status = fv_onnx_set_standard(im, out, layer, x->array.rank);
    if (status != FV_OK) {
        fv_free(all);
        return status;
    }
    *found = true;
    status = fv_onnx_give(im, layer, "weight", b->constant.count, all);
    return status == FV_OK ? fv_onnx_give_constant(im, layer, "bias", &b->constant) : status;
}

/* ---- The formulas --------------------------------------------------------------------------- */

#define EITHER "|"
#define SQUARE "Mul(x,x)" EITHER "Pow(x,2)"
#define CUBE "Pow(x,3)" EITHER "Mul(Mul(x,x),x)"
#define ERF "Add(Erf(Mul(x,0.70710678)),1)"
#define BENT_TANH "Add(Tanh(Mul(Add(x,Mul(" CUBE ",0.044715)),0.79788456)),1)"
#define STEP "Clip6(Add(x,3))"
#define SOFTPLUS "Log(Add(Exp(x),1))"
#define CENTRED "Sub(x,ReduceMean(x))"
#define DEVIATION                                                                                  \
    "Sqrt(Add(ReduceMean(Mul(" CENTRED "," CENTRED ")" EITHER "Pow(" CENTRED ",2)),e))"
#define NORMAL "Div(" CENTRED "," DEVIATION ")"
#define NORMAL_TIMES "Mul(" CENTRED ",Reciprocal(" DEVIATION "))"
#define ROOT "Sqrt(Add(ReduceMean(" SQUARE "),e))"
#define RMS "Div(x," ROOT ")"
#define RMS_TIMES "Mul(x,Reciprocal(" ROOT ")" EITHER "Div(1," ROOT "))"
#define LENGTH "Clip(ReduceL2(x),l)" EITHER "Max(ReduceL2(x),l)"
#define TO_CODES "Sub(Reshape(x,r),w)"
#define PATCHES "Transpose(Gather(Flatten(Transpose(Pad(x,p)" EITHER "x)),i))"
#define LOCAL "MatMul(" PATCHES ",w)"
#define WINDOW_SUM "Mul(AveragePool(Reshape(" SQUARE ",r)),a)"

static const struct {
    const char *formula;
    fv_onnx_make_layer *make;
    fv_activation activation;
} patterns[] = {
    {"Mul(Mul(x," ERF "),0.5)", make_activation, FV_GELU},
    {"Mul(Mul(x,0.5)," ERF ")", make_activation, FV_GELU},
    {"Mul(x,Mul(" ERF ",0.5))", make_activation, FV_GELU},
    {"Mul(Mul(x," BENT_TANH "),0.5)", make_activation, FV_GELU_TANH},
    {"Mul(Mul(x,0.5)," BENT_TANH ")", make_activation, FV_GELU_TANH},
    {"Mul(x,Mul(" BENT_TANH ",0.5))", make_activation, FV_GELU_TANH},
    {"Mul(x,Sigmoid(x))", make_activation, FV_SILU},
    {"Mul(x,Tanh(Softplus(x)" EITHER SOFTPLUS "))", make_activation, FV_MISH},
    {"Mul(" STEP ",0.16666667)", make_activation, FV_HARD_SIGMOID},
    {"Mul(x,HardSigmoid(x)" EITHER "Mul(" STEP ",0.16666667))", make_activation, FV_HARD_SWISH},
    {"Mul(Mul(x," STEP "),0.16666667)", make_activation, FV_HARD_SWISH},
    {SOFTPLUS, make_activation, FV_SOFTPLUS},
    {"Div(x,Add(Abs(x),1))", make_activation, FV_SOFTSIGN},
    {"Mul(Tanh(Mul(x,0.66666667)),1.7159)", make_activation, FV_SCALED_TANH},
    {NORMAL, make_layer_norm, FV_LINEAR},
    {NORMAL_TIMES, make_layer_norm, FV_LINEAR},
    {"Mul(" NORMAL EITHER NORMAL_TIMES ",w)", make_layer_norm, FV_LINEAR},
    {"Add(" NORMAL EITHER NORMAL_TIMES ",b)", make_layer_norm, FV_LINEAR},
    {"Add(Mul(" NORMAL EITHER NORMAL_TIMES ",w),b)", make_layer_norm, FV_LINEAR},
    {RMS, make_rms_norm, FV_LINEAR},
    {RMS_TIMES, make_rms_norm, FV_LINEAR},
    {"Mul(" RMS EITHER RMS_TIMES ",w)", make_rms_norm, FV_LINEAR},
    {"Div(x,Sqrt(Max(ReduceSum(" SQUARE "),e)))", make_l2_normalize, FV_LINEAR},
    {"Div(x,ReduceL2(x)" EITHER LENGTH EITHER "Expand(" LENGTH ",s))", make_l2_normalize,
     FV_LINEAR},
    {"Div(x,Sqrt(Add(ReduceSum(" SQUARE "),e)))", make_sum_norm, FV_LINEAR},
    {"Div(x,Reshape(Pow(Add(" WINDOW_SUM ",k),b),s))", make_lrn, FV_LINEAR},
    {"ReduceSum(Mul(" TO_CODES "," TO_CODES ")" EITHER "Pow(" TO_CODES ",2))", make_rbf, FV_LINEAR},
    {"Reshape(Transpose(" LOCAL "),r)", fv_onnx_make_local, FV_LINEAR},
    {"Reshape(Transpose(Add(" LOCAL ",b)),r)", fv_onnx_make_local, FV_LINEAR},
};

/* ---- Finding -------------------------------------------------------------------------------- */

enum { LONGEST = 9 }; /* nodes from a formula's first to its last */

/* Whether an operator is part of a formula: most nodes' are not, and nothing is tried. */
static bool is_in_formulas(const char *op) {
    static const char *const parts[] = {
        "Abs",        "Add",         "AveragePool", "Clip",      "Div",     "Erf",
        "Exp",        "Expand",      "Flatten",     "Gather",    "MatMul",  "Pad",
        "Transpose",  "HardSigmoid", "Log",         "Max",       "Mul",     "Pow",
        "Reciprocal", "ReduceL2",    "ReduceMean",  "ReduceSum", "Reshape", "Shape",
        "Sigmoid",    "Softplus",    "Sqrt",        "Sub",       "Tanh"};
    bool found = false;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        found = found || strcmp(parts[i], op) == 0;
    return found;
}

/* The nodes from the first on, each the first that reads the one before: the longest way. */
static int follow(const fv_onnx_import *im, int *path) {
    int count = 0, node = im->node_number;
    while (count < LONGEST) {
        const fv_onnx_node *n = &im->model->nodes[node];
        if (!is_in_formulas(n->op))
            break;
        path[count++] = node;
        int value = n->output_count > 0 ? n->output_values[0] : -1;
        if (value < 0 || im->values[value].is_output || im->values[value].reader <= node)
            break;
        node = im->values[value].reader;
    }
    return count;
}

/* How often the nodes of the match read x. */
static int reads_of_x(const fv_onnx_import *im, const fv_onnx_match *m) {
    int reads = 0;
    for (int i = 0; i < m->count; i++) {
        const fv_onnx_node *node = &im->model->nodes[m->nodes[i]];
        for (size_t k = 0; k < node->input_count; k++)
            reads += node->input_values[k] == m->x;
    }
    return reads;
}

/* Imports the match as the root alone, which reads x once. */
static fv_status take(fv_onnx_import *im, const fv_onnx_match *m, int root, size_t pattern,
                      bool *made) {
    const fv_onnx_node *first = im->node;
    fv_onnx_value *x = &im->values[m->x];
    int more = reads_of_x(im, m) - 1;
    im->node = &im->model->nodes[root];
    x->readers -= more;
    fv_status status = patterns[pattern].make(im, m, patterns[pattern].activation, made);
    for (int i = 0; *made && i < m->count; i++)
        im->done[m->nodes[i]] = true;
    if (!*made) {
        im->node = first;
        x->readers += more;
    }
    return status;
}

static fv_status find_at(fv_onnx_import *im, int x, int root, bool *found) {
    fv_status status = FV_OK;
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0] && !*found; i++) {
        fv_onnx_match match;
        if (fv_onnx_match_formula(im, patterns[i].formula, x, root, &match))
            status = take(im, &match, root, i, found);
    }
    return status;
}

fv_status fv_onnx_find_pattern(fv_onnx_import *im, bool *found) {
    const fv_onnx_node *node = im->node;
    int path[LONGEST], count = follow(im, path);
    fv_status status = find_subsample(im, found);
    if (status == FV_OK && !*found)
        status = fv_onnx_find_adaptive_pool(im, found);
    for (int last = count - 1; last >= 0 && status == FV_OK && !*found; last--)
        for (size_t i = 0; i < node->input_count && i < 2 && status == FV_OK && !*found; i++) {
            int x = node->input_values[i];
            if (x >= 0 && im->values[x].kind == FV_VALUE_ARRAY)
                status = find_at(im, x, path[last], found);
        }
    if (status == FV_OK && !*found && strcmp(node->op, "Erf") == 0)
        return fv_fail(FV_UNSUPPORTED, "it is not part of a GELU, x / 2 (1 + erf(x / sqrt 2))");
    return status;
}
