/* Samples read from a data set: copied from memory, or decoded from their files, and made to fit.
 * Called by the loader, by evaluation and, through fovea.h, by the command and users' programs. */
#include "base/alloc.h"
#include "base/status.h"
#include "data/data.h"
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

/* ---- One sample ------------------------------------------------------------------------------ */

size_t fv_column_stored(const fv_column *column) {
    return column->fitting.needed ? fv_shape_count(&column->fitting.from) : column->values;
}

void fv_column_read(const fv_column *column, size_t first, size_t count, float *values) {
    size_t stored = fv_column_stored(column), start = first * stored, size = count * stored;
    if (column->floats)
        memcpy(values, column->floats + start, size * sizeof *values);
    else
        for (size_t i = 0; i < size; i++)
            values[i] = column->bytes[start + i];
}

static fv_status fit_picture(const fv_column *column, size_t index, float *values) {
    char *path = fv_picture_path(column->pictures, column->first_picture + index);
    if (!path)
        return FV_MEMORY;
    fv_shape shape;
    float *picture;
    fv_status status = fv_read_array(path, &shape, &picture);
    if (!status) {
        status = fv_fit_values(&column->fitting, &shape, picture, &column->field.shape, values);
        fv_free(picture);
        if (status)
            fv_fail_in(status, "%s", path);
    }
    fv_free(path);
    return status;
}

static fv_status fit_stored(const fv_column *column, size_t index, float *values) {
    float *stored = fv_alloc(fv_column_stored(column), sizeof *stored);
    if (!stored)
        return FV_MEMORY;
    fv_column_read(column, index, 1, stored);
    fv_status status = fv_fit_values(&column->fitting, &column->fitting.from, stored,
                                     &column->field.shape, values);
    fv_free(stored);
    return status;
}

/* A sample as floats of the field's shape. */
static fv_status read_values(const fv_column *column, size_t index, float *values) {
    if (column->pictures)
        return fit_picture(column, index, values);
    if (column->fitting.needed)
        return fit_stored(column, index, values);
    fv_column_read(column, index, 1, values);
    return FV_OK;
}

static fv_status read_rounded(const fv_column *column, size_t index, uint8_t *bytes) {
    float *values = fv_alloc(column->values, sizeof *values);
    if (!values)
        return FV_MEMORY;
    fv_status status = read_values(column, index, values);
    for (size_t i = 0; !status && i < column->values; i++)
        bytes[i] = (uint8_t)lrintf(fminf(fmaxf(values[i], 0), 255));
    fv_free(values);
    return status;
}

/* A sample as fv_data_read() writes it. */
static fv_status read_input(const fv_column *column, size_t index, void *out) {
    if (column->floats)
        return read_values(column, index, out);
    if (column->fitting.needed)
        return read_rounded(column, index, out);
    memcpy(out, column->bytes + index * column->values, column->values);
    return FV_OK;
}

/* ---- Many ------------------------------------------------------------------------------------ */

typedef struct reading {
    const fv_column *input;
    const uint32_t *order;
    size_t first, size;
    unsigned char *inputs;
    /* Messages are of the thread that fails: the first sample's is carried to the caller. */
    pthread_mutex_t mutex;
    int failed;
    fv_status status;
    char message[1024];
} reading;

static size_t sample_at(const uint32_t *order, size_t place) {
    return order ? order[place] : place;
}

static void read_one(void *argument, int unit, int thread) {
    (void)thread;
    reading *r = argument;
    size_t index = sample_at(r->order, r->first + (size_t)unit);
    fv_status status = read_input(r->input, index, r->inputs + (size_t)unit * r->size);
    if (!status)
        return;
    pthread_mutex_lock(&r->mutex);
    if (!r->status || unit < r->failed) {
        r->status = status;
        r->failed = unit;
        strncpy(r->message, fv_error_message(), sizeof r->message - 1);
    }
    pthread_mutex_unlock(&r->mutex);
}

size_t fv_data_input_size(const fv_data *data) {
    return data->columns[0].values * (fv_data_bytes(data) ? 1 : sizeof(float));
}

fv_status fv_data_read(const fv_data *data, fv_pool *pool, const uint32_t *order, size_t first,
                       int count, void *inputs, float *const *targets) {
    reading r = {.input = &data->columns[0],
                 .order = order,
                 .first = first,
                 .size = fv_data_input_size(data),
                 .inputs = inputs};
    pthread_mutex_init(&r.mutex, NULL);
    fv_pool_run(r.input->fitting.needed ? pool : NULL, count, read_one, &r);
    pthread_mutex_destroy(&r.mutex);
    if (r.status)
        return fv_fail(r.status, "%s", r.message);
    for (int f = 0; f + 1 < data->column_count; f++) {
        const fv_column *column = &data->columns[f + 1];
        for (int i = 0; targets[f] && i < count; i++)
            fv_column_read(column, sample_at(order, first + (size_t)i), 1,
                           targets[f] + (size_t)i * column->values);
    }
    return FV_OK;
}

fv_status fv_data_sample(const fv_data *data, size_t index, float *values, int *label) {
    fv_status status = fv_data_ready(data);
    if (status)
        return status;
    if (index >= data->count)
        return fv_fail(FV_INVALID, "no sample %zu in a data set of %zu (the first is 0)", index,
                       data->count);
    status = read_values(&data->columns[0], index, values);
    const fv_column *labels = fv_data_label(data);
    float value = 0;
    if (labels && labels->values == 1)
        fv_column_read(labels, index, 1, &value);
    *label = fabsf(value) < (float)INT_MAX ? (int)value : 0;
    return status;
}
