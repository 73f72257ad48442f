/* Values of a Keras layer's config, with their types and ranges checked. Called by model.c and the
 * classes. */
#include "keras.h"
#include <limits.h>
#include <math.h>
#include <string.h>

enum { MOST_SIZE = 1 << 24 };

static fv_status fail_expected(const char *key, const char *expected) {
    return fv_fail(FV_FORMAT, "its config's %s is no %s", key, expected);
}

/* NULL when missing or null. */
static const json_t *value_of(const json_t *config, const char *key) {
    const json_t *value = json_object_get(config, key);
    return json_is_null(value) ? NULL : value;
}

fv_status config_bool(const json_t *config, const char *key, bool *value) {
    const json_t *found = value_of(config, key);
    if (!found)
        return FV_OK;
    if (!json_is_boolean(found))
        return fail_expected(key, "true or false");
    *value = json_is_true(found);
    return FV_OK;
}

static fv_status read_int(const json_t *found, const char *key, int low, int high, int *value) {
    json_int_t number = json_integer_value(found);
    if (!json_is_integer(found) || number < low || number > high)
        return fv_fail(FV_FORMAT, "its config's %s is no integer from %d to %d", key, low, high);
    *value = (int)number;
    return FV_OK;
}

fv_status config_int(const json_t *config, const char *key, int low, int high, int *value) {
    const json_t *found = value_of(config, key);
    return found ? read_int(found, key, low, high, value) : FV_OK;
}

fv_status config_number(const json_t *config, const char *key, double *value) {
    const json_t *found = value_of(config, key);
    if (!found)
        return FV_OK;
    if (!json_is_number(found) || !isfinite(json_number_value(found)))
        return fail_expected(key, "number");
    *value = json_number_value(found);
    return FV_OK;
}

const char *config_text(const json_t *config, const char *key) {
    return json_string_value(json_object_get(config, key));
}

fv_status config_word(const json_t *config, const char *key, const char **value) {
    const json_t *found = value_of(config, key);
    if (!found)
        return FV_OK;
    if (!json_is_string(found))
        return fail_expected(key, "word");
    *value = json_string_value(found);
    return FV_OK;
}

fv_status config_sizes(const json_t *config, const char *key, int count, int values[3]) {
    const json_t *found = value_of(config, key);
    if (!found)
        return FV_OK;
    if (!json_is_array(found)) {
        fv_status status = read_int(found, key, 1, MOST_SIZE, &values[0]);
        for (int i = 1; i < count && !status; i++)
            values[i] = values[0];
        return status;
    }
    size_t size = json_array_size(found);
    if (size < 1 || size > 3 || (count > 0 && size != (size_t)count))
        return fv_fail(FV_FORMAT, "its config's %s has %zu numbers; expected %d", key, size, count);
    fv_status status = FV_OK;
    for (size_t i = 0; i < size && !status; i++)
        status = read_int(json_array_get(found, i), key, 1, MOST_SIZE, &values[i]);
    return status;
}

/* One axis: a number stands for both sides. */
static fv_status read_pad(const json_t *found, const char *key, int pad[2]) {
    if (!json_is_array(found)) {
        fv_status status = read_int(found, key, 0, MOST_SIZE, &pad[0]);
        pad[1] = pad[0];
        return status;
    }
    if (json_array_size(found) != 2)
        return fail_expected(key, "number or pair of numbers");
    fv_status status = read_int(json_array_get(found, 0), key, 0, MOST_SIZE, &pad[0]);
    return status ? status : read_int(json_array_get(found, 1), key, 0, MOST_SIZE, &pad[1]);
}

fv_status config_pads(const json_t *config, const char *key, int axes, int values[3][2]) {
    const json_t *found = value_of(config, key);
    fv_status status = FV_OK;
    if (!found)
        return FV_OK;
    if (axes == 1 && json_is_array(found) && json_array_size(found) == 2)
        return read_pad(found, key, values[0]);
    if (json_is_array(found) && json_array_size(found) != (size_t)axes)
        return fv_fail(FV_FORMAT, "its config's %s has %zu entries; expected %d", key,
                       json_array_size(found), axes);
    for (int i = 0; i < axes && !status; i++)
        status = read_pad(json_is_array(found) ? json_array_get(found, (size_t)i) : found, key,
                          values[i]);
    return status;
}

/* Lists within lists count as one: a mean may have axes of size 1. */
static fv_status add_numbers(const json_t *found, const char *key, int depth, int most,
                             double *values, int *count) {
    if (json_is_array(found) && depth > 0) {
        fv_status status = FV_OK;
        for (size_t i = 0; i < json_array_size(found) && !status; i++)
            status = add_numbers(json_array_get(found, i), key, depth - 1, most, values, count);
        return status;
    }
    if (!json_is_number(found) || !isfinite(json_number_value(found)))
        return fail_expected(key, "number or list of numbers");
    if (*count >= most)
        return fv_fail(FV_UNSUPPORTED, "its config's %s has more than %d numbers", key, most);
    values[(*count)++] = json_number_value(found);
    return FV_OK;
}

fv_status config_numbers(const json_t *config, const char *key, int most, double *values,
                         int *count) {
    const json_t *found = value_of(config, key);
    *count = 0;
    if (config_text(found, "class_name")) /* an array: {"class_name": "__numpy__", "config": ...} */
        found = value_of(value_of(found, "config"), "value");
    return found ? add_numbers(found, key, 5, most, values, count) : FV_OK;
}

fv_status config_axis(const json_t *config, int fallback, int *axis) {
    const json_t *found = value_of(config, "axis");
    *axis = fallback;
    if (json_is_array(found) && json_array_size(found) == 1)
        found = json_array_get(found, 0);
    return found ? read_int(found, "axis", -8, 8, axis) : FV_OK;
}
