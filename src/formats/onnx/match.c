/* Finds formulas in an ONNX graph: from the node that gives the result back to x, as a text says.
 * Called by patterns.c. */
#include "formats/onnx/match.h"
#include <ctype.h>
#include <math.h>
#include <string.h>

/* ---- The text ------------------------------------------------------------------------------- */

/* What comes behind a formula that may have alternatives: one of , ) | or the end. */
static const char *end_of(const char *formula) {
    for (int depth = 0; *formula; formula++) {
        if (depth == 0 && strchr(",)|", *formula))
            break;
        depth += (*formula == '(') - (*formula == ')');
    }
    return formula;
}

/* The next input's formula; NULL: there is none. */
static const char *next_of(const char *formula) {
    for (formula = end_of(formula); *formula == '|';)
        formula = end_of(formula + 1);
    return *formula == ',' ? formula + 1 : NULL;
}

/* 0.5, whatever the locale calls it. */
static double read_number(const char *text) {
    double number = 0, unit = 1;
    for (; isdigit((unsigned char)*text); text++)
        number = number * 10 + (*text - '0');
    for (text += *text == '.'; isdigit((unsigned char)*text); text++)
        number += (*text - '0') * (unit /= 10);
    return number;
}

static bool is_operator(const char *formula, const char *name) {
    size_t size = strlen(name);
    return strncmp(formula, name, size) == 0 && formula[size] == '(';
}

/* ---- Numbers -------------------------------------------------------------------------------- */

static const fv_onnx_value *value_at(const fv_onnx_match *m, int value) {
    return value >= 0 ? &m->im->values[value] : NULL;
}

static bool is_near(double number, double wanted) {
    return fabs(number - wanted) <= 1e-3 * fabs(wanted);
}

static bool is_number(const fv_onnx_match *m, int value, double wanted) {
    const fv_onnx_value *v = value_at(m, value);
    return v && v->kind == FV_VALUE_CONSTANT && v->constant.count == 1 &&
           v->constant.rank <= m->im->values[m->x].array.rank &&
           is_near(fv_onnx_number(&v->constant, 0), wanted);
}

static bool is_attribute(const fv_onnx_node *node, const char *name, double fallback,
                         double wanted) {
    const fv_onnx_attribute *attribute = fv_onnx_find(node, name);
    return is_near(attribute ? (double)attribute->number : fallback, wanted);
}

static int input_of(const fv_onnx_node *node, size_t i) {
    return i < node->input_count ? node->input_values[i] : -1;
}

/* ---- What operators have apart from their first inputs --------------------------------------- */

bool fv_onnx_holds(const fv_onnx_node *node, const char *name, bool may_lack, size_t count,
                   const int64_t *numbers) {
    const fv_onnx_attribute *a = fv_onnx_find(node, name);
    if (!a || a->count != count || !a->integers)
        return !a && may_lack;
    return memcmp(a->integers, numbers, count * sizeof *numbers) == 0;
}

double fv_onnx_reduced_axis(const fv_onnx_import *im, const fv_onnx_node *node) {
    const fv_onnx_attribute *axes = fv_onnx_find(node, "axes");
    const int input = input_of(node, 1);
    const fv_onnx_value *list = input >= 0 ? &im->values[input] : NULL;
    if (axes)
        return axes->count == 1 && axes->integers ? (double)axes->integers[0] : NAN;
    return list && list->kind == FV_VALUE_CONSTANT && list->constant.count == 1
               ? fv_onnx_number(&list->constant, 0)
               : NAN;
}

/* Whether the axis of a reduction is the same as that of the others. */
static bool reduces_alike(fv_onnx_match *m, const fv_onnx_node *node) {
    const fv_onnx_attribute *keep = fv_onnx_find(node, "keepdims");
    double axis = fv_onnx_reduced_axis(m->im, node);
    if (!(fabs(axis) <= FV_ONNX_RANK))
        return false;
    bool keeps = !keep || keep->integer != 0;
    bool alike = !m->reduces || (m->axis == (int64_t)axis && m->keeps == keeps);
    m->reduces = true;
    m->axis = (int64_t)axis;
    m->keeps = keeps;
    return alike;
}

static bool clips_to_6(const fv_onnx_match *m, const fv_onnx_node *node) {
    const fv_onnx_value *low = value_at(m, input_of(node, 1));
    bool from_0 = low ? low->kind == FV_VALUE_CONSTANT && low->constant.count == 1 &&
                            fv_onnx_number(&low->constant, 0) == 0
                      : is_attribute(node, "min", 1, 0);
    return from_0 && (input_of(node, 2) >= 0 ? is_number(m, input_of(node, 2), 6)
                                             : is_attribute(node, "max", 0, 6));
}

/* How many inputs of the node the formula need not name. -1: its attributes are others. */
static int more_inputs(fv_onnx_match *m, const char *formula, const fv_onnx_node *node) {
    if (strncmp(formula, "Reduce", 6) == 0)
        return reduces_alike(m, node) ? 1 : -1;
    if (is_operator(formula, "Clip6"))
        return clips_to_6(m, node) ? 2 : -1;
    if (is_operator(formula, "HardSigmoid"))
        return is_attribute(node, "alpha", 0.2, 1.0 / 6) && is_attribute(node, "beta", 0.5, 0.5)
                   ? 0
                   : -1;
    if (is_operator(formula, "AveragePool"))
        m->pool = node;
    return 0;
}

/* ---- Matching ------------------------------------------------------------------------------- */

static bool match_any(fv_onnx_match *m, const char *formula, int value);

static bool match_inputs(fv_onnx_match *m, const char *formula, const fv_onnx_node *node,
                         bool swapped) {
    size_t i = 0;
    for (const char *input = strchr(formula, '(') + 1; input; input = next_of(input), i++)
        if (!match_any(m, input, input_of(node, swapped ? 1 - i : i)))
            return false;
    int more = more_inputs(m, formula, node);
    size_t used = node->input_count;
    while (used > i && node->input_values[used - 1] < 0)
        used--;
    return more >= 0 && used <= i + (size_t)more;
}

/* Mul(y,number) as y / (1 / number). */
static bool match_division(fv_onnx_match *m, const char *formula, const fv_onnx_node *node) {
    const char *first = strchr(formula, '(') + 1, *second = next_of(first);
    return node->input_count == 2 && second && isdigit((unsigned char)*second) &&
           is_number(m, input_of(node, 1), 1 / read_number(second)) &&
           match_any(m, first, input_of(node, 0));
}

static bool add_node(fv_onnx_match *m, int node) {
    for (int i = 0; i < m->count; i++)
        if (m->nodes[i] == node)
            return true;
    if (m->count == FV_MATCH_NODES)
        return false;
    m->nodes[m->count++] = node;
    return true;
}

/* A node that is still to be imported; NULL: the value comes from elsewhere. */
static const fv_onnx_node *open_node(const fv_onnx_match *m, int value) {
    int number = value >= 0 ? m->im->values[value].producer : -1;
    if (number < m->im->node_number || m->im->done[number])
        return NULL;
    const fv_onnx_node *node = &m->im->model->nodes[number];
    return fv_onnx_is_standard(node) && node->output_values[0] == value ? node : NULL;
}

/* Whether the operator may be the formula's, apart from its alternatives. */
static bool may_be(const char *formula, const char *op) {
    return is_operator(formula, op) || (is_operator(formula, "Mul") && strcmp(op, "Div") == 0) ||
           (is_operator(formula, "Clip6") && strcmp(op, "Clip") == 0);
}

/* Leaves the match as it was where there is none. */
static bool match_operator(fv_onnx_match *m, const char *formula, int value) {
    static const char *const either[] = {"Add", "Mul", "Max"}; /* order of their inputs */
    const fv_onnx_node *node = open_node(m, value);
    if (!node || !may_be(formula, node->op))
        return false;
    const fv_onnx_match before = *m;
    int number = m->im->values[value].producer;
    bool swaps = false, divides = is_operator(formula, "Mul") && strcmp(node->op, "Div") == 0;
    for (size_t i = 0; i < sizeof either / sizeof either[0]; i++)
        swaps = swaps || strcmp(either[i], node->op) == 0;
    for (int swapped = 0; swapped <= swaps; swapped++) {
        bool found =
            divides ? match_division(m, formula, node) : match_inputs(m, formula, node, swapped);
        if (found && add_node(m, number))
            return true;
        *m = before;
    }
    return false;
}

static bool match_letter(fv_onnx_match *m, char letter, int value) {
    const fv_onnx_value *v = &m->im->values[value];
    const fv_onnx_value **known = &m->letters[letter - 'a'];
    if (letter == 'x')
        return value == m->x;
    if (letter == 's' && v->producer >= 0) {
        const fv_onnx_node *node = &m->im->model->nodes[v->producer];
        if (strcmp(node->op, "Shape") == 0)
            return node->input_count == 1 && node->input_values[0] == m->x &&
                   node->attribute_count == 0;
    }
    if (v->kind != FV_VALUE_CONSTANT || (*known && *known != v))
        return false;
    *known = v;
    return true;
}

static bool match_one(fv_onnx_match *m, const char *formula, int value) {
    if (isdigit((unsigned char)*formula))
        return is_number(m, value, read_number(formula));
    return islower((unsigned char)*formula) ? match_letter(m, *formula, value)
                                            : match_operator(m, formula, value);
}

/* The first of the alternatives that there is. */
static bool match_any(fv_onnx_match *m, const char *formula, int value) {
    for (; value >= 0; formula++) {
        if (match_one(m, formula, value))
            return true;
        formula = end_of(formula);
        if (*formula != '|')
            return false;
    }
    return false;
}

/* ---- What else reads the nodes --------------------------------------------------------------- */

static int reads_of(const fv_onnx_match *m, int value) {
    int reads = 0;
    for (int i = 0; i < m->count; i++) {
        const fv_onnx_node *node = &m->im->model->nodes[m->nodes[i]];
        for (size_t k = 0; k < node->input_count; k++)
            reads += node->input_values[k] == value;
    }
    return reads;
}

/* Whether what the nodes give, but for the root's result, is read by them alone. */
static bool are_inner(const fv_onnx_match *m, int root) {
    for (int i = 0; i < m->count; i++) {
        const fv_onnx_node *node = &m->im->model->nodes[m->nodes[i]];
        for (size_t k = 0; k < node->output_count; k++) {
            const fv_onnx_value *out = value_at(m, node->output_values[k]);
            bool result = m->nodes[i] == root && k == 0;
            if (out && !result && out->readers != reads_of(m, node->output_values[k]))
                return false;
        }
    }
    return true;
}

bool fv_onnx_match_formula(const fv_onnx_import *im, const char *formula, int x, int root,
                           fv_onnx_match *m) {
    const fv_onnx_node *node = &im->model->nodes[root];
    if (!may_be(formula, node->op) || node->output_count == 0)
        return false;
    *m = (fv_onnx_match){.im = im, .x = x};
    if (!match_any(m, formula, node->output_values[0]) || !are_inner(m, root))
        return false;
    for (int i = 0; i < m->count; i++)
        if (m->nodes[i] == im->node_number)
            return true;
    return false;
}

const fv_onnx_constant *fv_onnx_letter(const fv_onnx_match *m, char letter) {
    const fv_onnx_value *value = m->letters[letter - 'a'];
    return value ? &value->constant : NULL;
}
