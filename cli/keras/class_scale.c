/* Layers that scale and move values: Rescaling, Normalization, and sums and products with a number.
 * Behind the input its own line does it, elsewhere constant layers. Called by build.c. */
#include "keras.h"
#include <math.h>
#include <string.h>

enum { MOST_SCALES = 4096 };

/* As given, or all of them again where there is one for `count`. */
static void repeat(double *values, int given, int count) {
    for (int i = given; i < count && given == 1; i++)
        values[i] = values[0];
}

/* Whether the input line can hold one value for each of `count` channels. */
static bool input_holds(const making *m, int count) {
    const fv_input_options *o = m->importer->net->nodes[0].options;
    return count <= 4 && (count == 1 || count == o->shape.channels);
}

static bool are_all(const double *values, int count, double wanted) {
    int equal = 0;
    while (equal < count && values[equal] == wanted)
        equal++;
    return equal == count;
}

/* (y scale + offset) / divisor behind the input line's own y = (x s - m) / d: where one factor
 * scales all channels s becomes s scale, m m scale - offset d; else m becomes m - offset d / scale
 * and d d divisor / scale. */
static void fold_into_input(const making *m, const double *scale, const double *offset,
                            const double *divisor, int count) {
    fv_input_options *o = m->importer->net->nodes[0].options;
    int all = count > o->means ? count : o->means;
    all = all > o->deviations ? all : o->deviations;
    bool uniform = are_all(scale, count, scale[0]) && are_all(divisor, count, 1);
    repeat(o->mean, o->means, all);
    repeat(o->deviation, o->deviations, all);
    for (int c = 0; c < all; c++) {
        int i = count > 1 ? c : 0;
        double mean = o->means ? o->mean[c] : 0, deviation = o->deviations ? o->deviation[c] : 1;
        o->mean[c] = uniform ? mean * scale[0] - offset[i] * deviation
                             : mean - offset[i] * deviation / scale[i];
        o->deviation[c] = uniform ? deviation : deviation * divisor[i] / scale[i];
    }
    if (uniform)
        o->scale = (o->scale != 0 ? o->scale : 1) * scale[0];
    o->means = are_all(o->mean, all, 0) ? 0 : all;
    o->deviations = are_all(o->deviation, all, 1) ? 0 : all;
    if (o->scale == 1)
        o->scale = 0;
}

/* y = (x scale + offset) / divisor. */
static fv_status make_scale(making *m, double *scale, double *offset, double *divisor, int count,
                            flow *output) {
    bool positive = true;
    for (int c = 0; c < count; c++)
        positive = positive && scale[c] / divisor[c] > 0 && isfinite(scale[c] / divisor[c]);
    if (m->inputs[0].alone && m->inputs[0].node == 0 && positive && input_holds(m, count)) {
        fold_into_input(m, scale, offset, divisor, count);
        return skip_layer(m, NULL, output);
    }
    for (int c = 0; c < count; c++) {
        scale[c] /= divisor[c];
        offset[c] /= divisor[c];
    }
    *output = m->inputs[0];
    output->readers = m->readers;
    output->alone = false;
    return add_affine(m, scale, offset, count, output);
}

/* ---- Rescaling and Normalization ---------------------------------------------------------------
 */

static fv_status make_rescaling(making *m, flow *output) {
    double *scale = fv_alloc(3 * MOST_SCALES, sizeof *scale);
    if (!scale)
        return FV_MEMORY;
    double *offset = scale + MOST_SCALES, *divisor = offset + MOST_SCALES;
    int scales, offsets;
    fv_status status = config_numbers(m->config, "scale", MOST_SCALES, scale, &scales);
    if (!status)
        status = config_numbers(m->config, "offset", MOST_SCALES, offset, &offsets);
    if (!status && (scales == 0 || (scales > 1 && offsets > 1 && scales != offsets)))
        status = fv_fail(FV_FORMAT, "its config has %d scales and %d offsets", scales, offsets);
    int count = !status && offsets > scales ? offsets : scales;
    if (!status) {
        repeat(scale, scales, count);
        repeat(offset, offsets ? offsets : 1, count);
        for (int c = 0; c < count; c++)
            divisor[c] = 1;
        status = make_scale(m, scale, offset, divisor, count, output);
    }
    fv_free(scale);
    return status;
}

/* Statistics that adapt() left among the weights. */
static fv_status read_adapted(making *m, double *mean, double *variance, int *count) {
    array arrays[2] = {{0}, {0}};
    double *const to[2] = {mean, variance};
    fv_status status = FV_OK;
    size_t size[2] = {0, 0};
    for (int i = 0; i < 2 && !status; i++) {
        status = store_read(m->importer->file, m->layer->variables[i], MOST_SCALES, &arrays[i]);
        size[i] = !status;
        for (int a = 0; a < arrays[i].rank && !status; a++)
            size[i] *= arrays[i].size[a];
        for (size_t c = 0; c < size[i]; c++)
            to[i][c] = (double)arrays[i].values[c];
    }
    if (!status && (size[0] != size[1] || size[0] == 0))
        status = fv_fail(FV_FORMAT, "its mean has %zu values, its variance %zu", size[0], size[1]);
    *count = (int)size[0];
    fv_free(arrays[0].values);
    fv_free(arrays[1].values);
    return status;
}

static fv_status read_statistics(making *m, double *mean, double *variance, int *count) {
    int variances;
    if (m->layer->variable_count > 0)
        return read_adapted(m, mean, variance, count);
    fv_status status = config_numbers(m->config, "mean", MOST_SCALES, mean, count);
    if (!status)
        status = config_numbers(m->config, "variance", MOST_SCALES, variance, &variances);
    if (!status && (*count != variances || variances == 0))
        status = fv_fail(FV_FORMAT, "its config has %d means and %d variances", *count, variances);
    return status;
}

/* One mean for each channel (axis -1) or one for all (axis null). */
static fv_status check_normalization(const making *m) {
    bool inverted = false;
    const json_t *axis = json_object_get(m->config, "axis");
    fv_status status = config_bool(m->config, "invert", &inverted);
    if (!status && inverted)
        status = fv_fail(FV_UNSUPPORTED, "its invert=true has no counterpart in fovea");
    if (status || json_is_null(axis) || (json_is_array(axis) && json_array_size(axis) == 0))
        return status;
    return check_axis(m);
}

static fv_status make_normalization(making *m, flow *output) {
    double *mean = fv_alloc(3 * MOST_SCALES, sizeof *mean);
    if (!mean)
        return FV_MEMORY;
    double *variance = mean + MOST_SCALES, *ones = variance + MOST_SCALES;
    int count = 0;
    fv_status status = check_normalization(m);
    if (!status)
        status = read_statistics(m, mean, variance, &count);
    for (int c = 0; c < count && !status; c++) {
        double deviation = sqrt(variance[c]);
        variance[c] = deviation > 1e-7 ? deviation : 1e-7; /* Keras' epsilon */
        mean[c] = -mean[c];
        ones[c] = 1;
    }
    if (!status)
        status = make_scale(m, ones, mean, variance, count, output);
    fv_free(mean);
    return status;
}

/* ---- Arithmetic with a number: x + 3.0, 1.0 / 255 * x ------------------------------------------
 */

/* The number, and whether it stands first, of arguments that are a list of it and the input. */
static fv_status read_number(const making *m, double *number, bool *first) {
    const json_t *list = m->call->arguments, *a = json_array_get(list, 0);
    const json_t *b = json_array_get(list, 1);
    *first = json_is_number(a);
    if (m->input_count != 1)
        return fv_fail(FV_UNSUPPORTED, "of several layers' outputs it has no counterpart in fovea");
    if (m->call->keywords || json_array_size(list) != 2 || !(*first || json_is_number(b)))
        return fv_fail(FV_UNSUPPORTED,
                       "it is called with other arguments than layers' outputs and one number");
    *number = json_number_value(*first ? a : b);
    return FV_OK;
}

fv_status add_number(making *m, flow *output) {
    const char *operation = m->layer->class_name;
    double number = 0, scale = 1, offset = 0, divisor = 1;
    bool first;
    fv_status status = read_number(m, &number, &first);
    if (status)
        return status;
    if (strcmp(operation, "Add") == 0) {
        offset = number;
    } else if (strcmp(operation, "Subtract") == 0) {
        scale = first ? -1 : 1;
        offset = first ? number : -number;
    } else if (strcmp(operation, "Multiply") == 0) {
        scale = number;
    } else if (number != 0 && !first) {
        scale = 1 / number;
    } else {
        return fv_fail(FV_UNSUPPORTED, "it divides a number by a layer's output, or by 0");
    }
    return make_scale(m, &scale, &offset, &divisor, 1, output);
}

const keras_class scale_classes[] = {
    {"Rescaling", ANY_AXES, 1, NULL, false, false, make_rescaling},
    {"Normalization", ANY_AXES, 1, "-mean:!mean -variance:!mean -count:!mean", false, false,
     make_normalization},
    /* keras.ops */
    {"Subtract", ANY_AXES, 2, NULL, true, false, add_number},
    {"Divide", ANY_AXES, 2, NULL, true, false, add_number},
    {"TrueDivide", ANY_AXES, 2, NULL, true, false, add_number},
    {.name = NULL},
};
