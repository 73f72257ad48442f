/* What an operator asks of the node that is being imported: its inputs, its attributes, and how it
 * is refused. Called by the operators. */
#include "formats/onnx/import.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Inputs and outputs --------------------------------------------------------------------- */

static fv_onnx_value *value_of(const fv_onnx_import *im, const int *numbers, size_t count,
                               size_t i) {
    return i < count && numbers[i] >= 0 ? &im->values[numbers[i]] : NULL;
}

fv_onnx_value *fv_onnx_in(const fv_onnx_import *im, size_t i) {
    return value_of(im, im->node->input_values, im->node->input_count, i);
}

fv_onnx_value *fv_onnx_out(const fv_onnx_import *im, size_t i) {
    return value_of(im, im->node->output_values, im->node->output_count, i);
}

fv_onnx_value *fv_onnx_in_array(const fv_onnx_import *im, size_t i) {
    fv_onnx_value *value = fv_onnx_in(im, i);
    if (value && value->kind == FV_VALUE_ARRAY)
        return value;
    if (value)
        fv_fail(FV_UNSUPPORTED,
                "its input \"%.100s\" is a constant, expected what depends on the net's "
                "input",
                value->name);
    else
        fv_fail(FV_FORMAT, "its input %zu is missing", i + 1);
    return NULL;
}

const fv_onnx_constant *fv_onnx_in_constant(const fv_onnx_import *im, size_t i) {
    const fv_onnx_value *value = fv_onnx_in(im, i);
    if (value && value->kind == FV_VALUE_CONSTANT)
        return &value->constant;
    if (value)
        fv_fail(FV_UNSUPPORTED,
                "its input \"%.100s\" depends on the net's input, expected constants", value->name);
    else
        fv_fail(FV_FORMAT, "its input %zu is missing", i + 1);
    return NULL;
}

fv_status fv_onnx_in_and_out(const fv_onnx_import *im, fv_onnx_value **in, fv_onnx_value **out) {
    *in = fv_onnx_in_array(im, 0);
    *out = fv_onnx_out(im, 0);
    return *in ? FV_OK : fv_error_status();
}

bool fv_onnx_is_batch(const fv_onnx_import *im, double size) {
    const char *name = im->values[im->input].name;
    for (size_t i = 0; i < im->model->input_count; i++) {
        const fv_onnx_port *port = &im->model->inputs[i];
        if (strcmp(port->name, name) == 0 && port->rank > 0 && port->size[0] > 0)
            return isnan(size) || size == (double)port->size[0];
    }
    return isnan(size);
}

bool fv_onnx_is_standard(const fv_onnx_node *node) {
    return node->domain[0] == 0 || strcmp(node->domain, "ai.onnx") == 0;
}

/* ---- Attributes ----------------------------------------------------------------------------- */

const fv_onnx_attribute *fv_onnx_find(const fv_onnx_node *node, const char *name) {
    for (size_t i = 0; i < node->attribute_count; i++)
        if (strcmp(node->attributes[i].name, name) == 0)
            return &node->attributes[i];
    return NULL;
}

int64_t fv_onnx_integer(const fv_onnx_import *im, const char *name, int64_t fallback) {
    const fv_onnx_attribute *attribute = fv_onnx_find(im->node, name);
    return attribute ? attribute->integer : fallback;
}

double fv_onnx_as_written(double number) {
    char text[32];
    for (int digits = 1; digits < 9 && (double)(float)number == number; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        double shorter = strtod(text, NULL);
        if ((float)shorter == (float)number)
            return shorter;
    }
    return number;
}

double fv_onnx_float(const fv_onnx_import *im, const char *name, double fallback) {
    const fv_onnx_attribute *attribute = fv_onnx_find(im->node, name);
    return attribute ? fv_onnx_as_written((double)attribute->number) : fallback;
}

const char *fv_onnx_word(const fv_onnx_import *im, const char *name, const char *fallback) {
    const fv_onnx_attribute *attribute = fv_onnx_find(im->node, name);
    return attribute ? attribute->text : fallback;
}

/* Whole numbers beyond 2^62 mean "to the end": they are cut there. */
static bool to_integer(double number, int64_t *integer) {
    *integer = number > 0x1p62    ? (int64_t)1 << 62
               : number < -0x1p62 ? -((int64_t)1 << 62)
                                  : (int64_t)(isnan(number) ? 0 : number);
    return !isnan(number);
}

fv_status fv_onnx_list(const fv_onnx_import *im, const char *name, size_t input, int most,
                       int64_t *list, int *count) {
    const fv_onnx_attribute *attribute = fv_onnx_find(im->node, name);
    const fv_onnx_value *value = input > 0 ? fv_onnx_in(im, input) : NULL;
    *count = -1;
    if (!attribute && !value)
        return FV_OK;
    size_t found = attribute ? attribute->count : value->constant.count;
    if (!attribute && value->kind != FV_VALUE_CONSTANT)
        return fv_fail(FV_UNSUPPORTED, "%s is known only when the net runs", name);
    if (found > (size_t)most)
        return fv_fail(FV_FORMAT, "%s has %zu numbers, at most %d are possible", name, found, most);
    for (size_t i = 0; i < found; i++) {
        if (attribute && !attribute->integers)
            return fv_fail(FV_FORMAT, "%s holds no whole numbers", name);
        double number = attribute ? 0 : fv_onnx_number(&value->constant, i);
        if (attribute)
            list[i] = attribute->integers[i];
        else if (!to_integer(number, &list[i]))
            return fv_fail(FV_UNSUPPORTED,
                           "%s depends on a size that is known only when the net runs "
                           "(give the input fixed sizes: --set NAME=SIZE)",
                           name);
    }
    *count = (int)found;
    return FV_OK;
}

fv_status fv_onnx_scalar(const fv_onnx_import *im, const char *name, size_t input, double fallback,
                         double *number) {
    const fv_onnx_value *value = input > 0 ? fv_onnx_in(im, input) : NULL;
    *number = fv_onnx_float(im, name, fallback);
    if (!value)
        return FV_OK;
    if (value->kind != FV_VALUE_CONSTANT || value->constant.count != 1)
        return fv_fail(FV_UNSUPPORTED, "%s is no constant number", name);
    *number = fv_onnx_as_written(fv_onnx_number(&value->constant, 0));
    return FV_OK;
}

int fv_onnx_axis(int64_t axis, int rank) {
    if (axis >= -rank && axis < rank)
        return (int)(axis < 0 ? axis + rank : axis);
    fv_fail(FV_FORMAT, "there is no axis %lld: its input has %d", (long long)axis, rank);
    return -1;
}

fv_status fv_onnx_slices(const fv_onnx_import *im, int rank, int64_t *begin, int64_t *end,
                         int64_t *axes, int64_t *step, int *count) {
    int ends, axis_count, steps;
    unsigned seen = 0;
    fv_status status = fv_onnx_list(im, "starts", 1, FV_ONNX_RANK, begin, count);
    if (status == FV_OK)
        status = fv_onnx_list(im, "ends", 2, FV_ONNX_RANK, end, &ends);
    if (status == FV_OK)
        status = fv_onnx_list(im, "axes", 3, FV_ONNX_RANK, axes, &axis_count);
    if (status == FV_OK)
        status = fv_onnx_list(im, "steps", 4, FV_ONNX_RANK, step, &steps);
    if (status != FV_OK)
        return status;
    if (*count < 0 || ends != *count || (axis_count >= 0 && axis_count != *count) ||
        (steps >= 0 && steps != *count))
        return fv_fail(FV_FORMAT, "starts, ends, axes and steps have different lengths");
    for (int i = 0; i < *count; i++) {
        int axis = fv_onnx_axis(axis_count >= 0 ? axes[i] : i, rank);
        if (axis < 0)
            return fv_error_status();
        if (seen >> axis & 1)
            return fv_fail(FV_FORMAT, "it names axis %d twice", axis);
        seen |= 1U << axis;
        axes[i] = axis;
        step[i] = steps >= 0 ? step[i] : 1;
        if (step[i] == 0 || step[i] > INT32_MAX || step[i] < -INT32_MAX)
            return fv_fail(FV_FORMAT, "a step is 0 or too large");
    }
    return FV_OK;
}
