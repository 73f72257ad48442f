/* A data set whose pictures are made to fit a net. Called by train before a run or a test. */
#include "base/alloc.h"
#include "base/status.h"
#include "data/data.h"
#include "net/net.h"
#include <math.h>

static bool same_shape(const fv_shape *a, const fv_shape *b) {
    bool same = a->rank == b->rank && a->channels == b->channels;
    for (int i = 0; same && i < a->rank; i++)
        same = a->size[i] == b->size[i];
    return same;
}

/* Room for the resized samples; labels and names as in `data`. */
static fv_data *make_set(const fv_data *data, const fv_shape *shape) {
    const fv_data *owner = data->owner ? data->owner : data;
    size_t bytes;
    fv_data *set = fv_alloc(1, sizeof *set);
    if (!set)
        return NULL;
    *set = (fv_data){.shape = *shape,
                     .count = data->count,
                     .classes = data->classes,
                     .class_names = data->class_names};
    set->place = fv_copy_string(fv_data_place(data));
    set->labels = fv_alloc(data->count, 1);
    if (fv_size_product(data->count, fv_shape_count(shape), &bytes))
        set->pixels = fv_alloc(bytes, 1);
    if (!set->place || !set->labels || !set->pixels) {
        fv_data_free(set);
        return NULL;
    }
    for (size_t i = 0; i < data->count; i++)
        set->labels[i] = owner->labels[data->first + i];
    return set;
}

static fv_status resize_samples(const fv_net *net, const fv_data *data, fv_data *set, float *from,
                                float *to) {
    fv_shape shape = fv_data_shape(data);
    size_t values = fv_shape_count(&set->shape);
    for (size_t i = 0; i < set->count; i++) {
        int label;
        fv_status status = fv_data_sample(data, i, from, &label);
        if (!status)
            status = fv_fit_picture(net, &shape, from, &set->shape, to);
        if (status)
            return status;
        for (size_t v = 0; v < values; v++)
            set->pixels[i * values + v] = (uint8_t)lrintf(fminf(fmaxf(to[v], 0), 255));
    }
    return FV_OK;
}

fv_status fv_data_fit(const fv_net *net, const fv_data **data, fv_data **made) {
    const fv_input_options *input = net->nodes[0].options;
    fv_shape from = fv_data_shape(*data), to = fv_input_shape(net);
    *made = NULL;
    if (input->resize == FV_RESIZE_NONE || same_shape(&from, &to))
        return FV_OK;
    fv_data *set = make_set(*data, &to);
    float *before = fv_alloc(fv_shape_count(&from), sizeof *before);
    float *after = fv_alloc(fv_shape_count(&to), sizeof *after);
    fv_status status =
        set && before && after ? resize_samples(net, *data, set, before, after) : FV_MEMORY;
    fv_free(before);
    fv_free(after);
    if (status) {
        fv_data_free(set);
        return status;
    }
    *data = *made = set;
    return FV_OK;
}
