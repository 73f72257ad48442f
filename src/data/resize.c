/* A data set whose inputs are made to fit a net. Called by train before a run or a test. */
#include "base/alloc.h"
#include "base/status.h"
#include "data/data.h"
#include "net/net.h"
#include <math.h>

/* Room for the resized inputs, bytes or floats as in `data`; all else is as there. */
static fv_data *make_set(const fv_data *data, const fv_shape *shape) {
    size_t values = fv_shape_count(shape), count;
    if (!fv_size_product(data->count, values, &count)) {
        fv_fail(FV_MEMORY, "%zu resized samples of %zu values are more than any memory holds",
                data->count, values);
        return NULL;
    }
    fv_data *set = fv_data_slice(data, 0, data->count);
    if (!set)
        return NULL;
    fv_column *input = &set->columns[0];
    bool bytes = input->bytes != NULL;
    void *memory = fv_alloc(count, bytes ? sizeof *input->bytes : sizeof *input->floats);
    input->field.shape = *shape;
    input->values = values;
    input->bytes = bytes ? memory : NULL;
    input->floats = bytes ? NULL : memory;
    input->borrowed = false;
    if (memory)
        return set;
    fv_data_free(set);
    return NULL;
}

static fv_status resize_samples(const fv_net *net, const fv_data *data, fv_data *set, float *from,
                                float *to) {
    fv_shape shape = fv_data_shape(data);
    fv_column *input = &set->columns[0];
    for (size_t i = 0; i < set->count; i++) {
        size_t start = i * input->values;
        fv_column_read(&data->columns[0], i, 1, from);
        fv_status status = fv_fit_picture(net, &shape, from, &input->field.shape, to);
        if (status)
            return status;
        for (size_t v = 0; v < input->values; v++)
            if (input->bytes)
                input->bytes[start + v] = (uint8_t)lrintf(fminf(fmaxf(to[v], 0), 255));
            else
                input->floats[start + v] = to[v];
    }
    return FV_OK;
}

fv_status fv_data_fit(const fv_net *net, const fv_data **data, fv_data **made) {
    *made = NULL;
    fv_status status = fv_data_ready(*data);
    if (status)
        return status;
    const fv_input_options *input = net->nodes[0].options;
    fv_shape from = fv_data_shape(*data), to = fv_input_shape(net);
    if (input->resize == FV_RESIZE_NONE || fv_same_shape(&from, &to))
        return FV_OK;
    fv_data *set = make_set(*data, &to);
    float *before = fv_alloc(fv_shape_count(&from), sizeof *before);
    float *after = fv_alloc(fv_shape_count(&to), sizeof *after);
    status = set && before && after ? resize_samples(net, *data, set, before, after) : FV_MEMORY;
    fv_free(before);
    fv_free(after);
    if (status) {
        fv_data_free(set);
        return status;
    }
    *data = *made = set;
    return FV_OK;
}
