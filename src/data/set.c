/* A data set in memory: named fields added one by one, cut into slices, looked at. Called by the
 * readers of folders, train and, through fovea.h, by the command and users' programs.
 */
#include "base/alloc.h"
#include "base/status.h"
#include "data/data.h"
#include "layers/layer.h"
#include <math.h>
#include <string.h>

/* ---- Adding fields ---------------------------------------------------------------------------
 */

fv_data *fv_data_new(size_t count) {
    if (count < 1) {
        fv_fail(FV_INVALID, "a data set needs 1 sample or more");
        return NULL;
    }
    fv_data *data = fv_alloc(1, sizeof *data);
    if (!data)
        return NULL;
    data->count = count;
    data->place = fv_copy_string("memory");
    if (!data->place) {
        fv_free(data);
        return NULL;
    }
    return data;
}

static const fv_column *find_column(const fv_data *data, const char *name) {
    for (int i = 0; i < data->column_count; i++)
        if (strcmp(data->columns[i].field.name, name) == 0)
            return &data->columns[i];
    return NULL;
}

static fv_status check_name(const fv_data *data, const char *name) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "_-.";
    const size_t most = sizeof data->columns[0].field.name - 1;
    size_t length = strlen(name);
    if (length < 1 || length > most || name[strspn(name, allowed)])
        return fv_fail(FV_INVALID,
                       "the field '%.64s': a name has 1 to %zu letters (A to Z), digits, '_', '-' "
                       "or '.'",
                       name, most);
    if (find_column(data, name))
        return fv_fail(FV_INVALID, "the data set has a field '%s' already", name);
    if (data->column_count == 0 && strcmp(name, "input") != 0)
        return fv_fail(FV_INVALID, "the field '%s' comes before the input: add 'input' first",
                       name);
    if (data->column_count > FV_MOST_FIELDS)
        return fv_fail(FV_INVALID, "the field '%s' is one too many: at most %d beside the input",
                       name, FV_MOST_FIELDS);
    return FV_OK;
}

/* All values of the set must fit memory as floats. */
static fv_status check_shape(const fv_data *data, const char *name, const fv_shape *shape,
                             size_t *values) {
    char text[64];
    bool good = shape->rank >= 0 && shape->rank <= 3;
    if (!good)
        return fv_fail(FV_INVALID, "the field '%s' has %d spatial sizes, expected 0 to 3", name,
                       shape->rank);
    for (int axis = 0; axis < shape->rank; axis++)
        good = good && shape->size[axis] > 0;
    if (!good || shape->channels < 1)
        return fv_fail(FV_INVALID, "the field '%s' is of %s: all sizes must be 1 or more", name,
                       fv_shape_text(shape, text));
    *values = (size_t)shape->channels;
    for (int axis = 0; good && axis < shape->rank; axis++)
        good = fv_size_product(*values, (size_t)shape->size[axis], values);
    size_t bytes;
    if (!good || !fv_size_product(*values, sizeof(float), &bytes) ||
        !fv_size_product(bytes, data->count, &bytes))
        return fv_fail(FV_INVALID,
                       "the field '%s': %zu samples of %s are more than any memory holds", name,
                       data->count, fv_shape_text(shape, text));
    return FV_OK;
}

/* Largest class index + 1; 0 where some value is none. Negative ones are of no class. */
static int count_classes(const fv_column *column, size_t count) {
    const float most = 1 << 24; /* up to there floats hold all whole numbers */
    float largest = -1;
    for (size_t i = 0; i < count * column->values; i++) {
        float value = column->bytes ? (float)column->bytes[i] : column->floats[i];
        if (!(fabsf(value) < most) || value != truncf(value))
            return 0;
        largest = value > largest ? value : largest;
    }
    return (int)largest + 1;
}

/* The name and shape are checked. */
static void append(fv_data *data, const char *name, const fv_shape *shape, size_t values,
                   uint8_t *bytes, float *floats) {
    fv_column *column = &data->columns[data->column_count++];
    *column = (fv_column){.values = values, .bytes = bytes, .floats = floats};
    memcpy(column->field.name, name, strlen(name) + 1);
    column->field.shape = (fv_shape){.rank = shape->rank, .channels = shape->channels};
    memcpy(column->field.shape.size, shape->size, (size_t)shape->rank * sizeof shape->size[0]);
    if (strcmp(name, "label") == 0 && shape->channels == 1)
        data->classes = count_classes(column, data->count);
}

fv_status fv_data_keep(fv_data *data, const char *field, const fv_shape *shape, uint8_t *bytes,
                       float *floats) {
    size_t values;
    fv_status status = check_name(data, field);
    if (!status)
        status = check_shape(data, field, shape, &values);
    if (status) {
        fv_free(bytes);
        fv_free(floats);
        return status;
    }
    append(data, field, shape, values, bytes, floats);
    return FV_OK;
}

/* Copies `values` of `size` bytes each into new memory. */
static fv_status copy_values(const fv_data *data, const char *field, const fv_shape *shape,
                             const void *values, size_t size, void **copy) {
    size_t sample;
    fv_status status = check_name(data, field);
    if (!status)
        status = check_shape(data, field, shape, &sample);
    if (!status && !values)
        status = fv_fail(FV_INVALID, "the field '%s' is given no values", field);
    if (status)
        return status;
    *copy = fv_alloc(data->count * sample, size);
    if (!*copy)
        return FV_MEMORY;
    memcpy(*copy, values, data->count * sample * size);
    return FV_OK;
}

fv_status fv_data_add(fv_data *data, const char *field, fv_shape shape, const float *values) {
    void *copy;
    fv_status status = copy_values(data, field, &shape, values, sizeof *values, &copy);
    return status ? status : fv_data_keep(data, field, &shape, NULL, copy);
}

fv_status fv_data_add_bytes(fv_data *data, const char *field, fv_shape shape,
                            const uint8_t *values) {
    void *copy;
    fv_status status = copy_values(data, field, &shape, values, sizeof *values, &copy);
    return status ? status : fv_data_keep(data, field, &shape, copy, NULL);
}

void fv_data_free(fv_data *data) {
    for (int i = 0; data && i < data->column_count; i++)
        if (!data->columns[i].borrowed) {
            fv_free(data->columns[i].bytes);
            fv_free(data->columns[i].floats);
            fv_pictures_free(data->columns[i].pictures);
        }
    if (data) {
        fv_free(data->place);
        fv_free(data->own_names);
    }
    fv_free(data);
}

/* ---- Class names -----------------------------------------------------------------------------
 */

/* The pointers and, behind them, the text that they point to are one block. */
fv_status fv_data_name_classes(fv_data *data, const char *const *names, int count) {
    size_t size = (size_t)count * sizeof *names;
    for (int i = 0; i < count; i++)
        if (!fv_sum(size, strlen(names[i]) + 1, &size))
            return fv_fail(FV_MEMORY, "%d class names are more than any memory holds", count);
    const char **copies = fv_alloc(size, 1);
    if (!copies)
        return FV_MEMORY;
    char *text = (char *)(copies + count);
    for (int i = 0; i < count; i++) {
        size_t length = strlen(names[i]) + 1;
        copies[i] = memcpy(text, names[i], length);
        text += length;
    }
    fv_free(data->own_names);
    data->own_names = copies;
    data->class_names = copies;
    data->classes = count;
    return FV_OK;
}

/* ---- Looking at them -------------------------------------------------------------------------
 */

fv_status fv_data_ready(const fv_data *data) {
    return data->column_count > 0
               ? FV_OK
               : fv_fail(FV_INVALID, "the data set has no field 'input' yet: add it first");
}

fv_data *fv_data_slice(const fv_data *data, size_t first, size_t count) {
    if (fv_data_ready(data))
        return NULL;
    if (count < 1 || first > data->count || count > data->count - first) {
        fv_fail(FV_INVALID, "no slice of %zu samples from sample %zu on in a data set of %zu",
                count, first, data->count);
        return NULL;
    }
    fv_data *slice = fv_alloc(1, sizeof *slice);
    if (!slice)
        return NULL;
    *slice = *data;
    slice->own_names = NULL;
    slice->place = fv_copy_string(data->place);
    if (!slice->place) {
        fv_free(slice);
        return NULL;
    }
    slice->count = count;
    slice->first += (uint32_t)first;
    for (int i = 0; i < slice->column_count; i++) {
        fv_column *column = &slice->columns[i];
        column->borrowed = true;
        if (column->bytes)
            column->bytes += first * fv_column_stored(column);
        else if (column->floats)
            column->floats += first * fv_column_stored(column);
        column->first_picture += first;
    }
    return slice;
}

size_t fv_data_count(const fv_data *data) {
    return data->count;
}

fv_shape fv_data_shape(const fv_data *data) {
    return data->columns[0].field.shape;
}

const char *fv_data_field(const fv_data *data, int index, fv_shape *shape) {
    if (index < 0 || index >= data->column_count)
        return NULL;
    if (shape)
        *shape = data->columns[index].field.shape;
    return data->columns[index].field.name;
}

int fv_data_fields(const fv_data *data, fv_field fields[FV_MOST_FIELDS]) {
    for (int i = 1; i < data->column_count; i++)
        fields[i - 1] = data->columns[i].field;
    return data->column_count > 0 ? data->column_count - 1 : 0;
}

bool fv_data_bytes(const fv_data *data) {
    return data->columns[0].floats == NULL;
}

const fv_column *fv_data_label(const fv_data *data) {
    return find_column(data, "label");
}

int fv_data_classes(const fv_data *data) {
    return data->classes;
}

const char *fv_data_class_name(const fv_data *data, int index) {
    bool known = data->class_names && index >= 0 && index < data->classes;
    return known ? data->class_names[index] : NULL;
}

const char *fv_data_place(const fv_data *data) {
    return data->place;
}
