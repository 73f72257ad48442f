/* A data set whose inputs are made to fit a net. Called by train before a run or a test. */
#include "base/alloc.h"
#include "base/status.h"
#include "data/data.h"
#include "net/net.h"
#include <unistd.h>

enum { PART = 1024 }; /* samples that are made before a failure is noticed */

size_t fv_keep_bytes(void) {
    const size_t most = (size_t)1 << 30;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t memory;
    if (pages < 1 || page < 1 || !fv_size_product((size_t)pages, (size_t)page, &memory))
        return most;
    return memory / 4 < most ? memory / 4 : most;
}

static bool same_fitting(const fv_column *input, const fv_input_options *options,
                         const fv_shape *to) {
    return input->fitting.resize == options->resize && input->fitting.side == options->side &&
           fv_same_shape(&input->field.shape, to);
}

static bool needs_fitting(const fv_column *input, const fv_input_options *options,
                          const fv_shape *to) {
    for (int axis = 0; axis < to->rank; axis++)
        if (to->size[axis] == FV_ANY)
            return false;
    if (input->fitting.needed)
        return !same_fitting(input, options, to);
    return options->resize != FV_RESIZE_NONE &&
           (options->side > 0 || !fv_same_shape(&input->field.shape, to));
}

/* A view of `data` whose inputs are made to fit when they are read. */
static fv_data *make_view(const fv_data *data, const fv_input_options *options,
                          const fv_shape *to) {
    fv_data *view = fv_data_slice(data, 0, data->count);
    if (!view)
        return NULL;
    fv_column *input = &view->columns[0];
    if (!input->fitting.needed)
        input->fitting.from = input->field.shape;
    input->fitting.needed = true;
    input->fitting.resize = options->resize;
    input->fitting.side = options->side;
    input->field.shape = *to;
    input->values = fv_shape_count(to);
    return view;
}

/* Makes all inputs of the view. */
static fv_status make_inputs(fv_data *view, fv_pool *pool, unsigned char *inputs) {
    float *const targets[FV_MOST_FIELDS] = {NULL};
    size_t size = fv_data_input_size(view);
    for (size_t i = 0; i < view->count; i += PART) {
        int count = view->count - i < PART ? (int)(view->count - i) : PART;
        fv_status status = fv_data_read(view, pool, NULL, i, count, inputs + i * size, targets);
        if (status)
            return status;
    }
    fv_column *input = &view->columns[0];
    bool floats = input->floats != NULL;
    *input = (fv_column){.field = input->field,
                         .values = input->values,
                         .bytes = floats ? NULL : inputs,
                         .floats = floats ? (float *)(void *)inputs : NULL};
    return FV_OK;
}

static fv_status keep_inputs(fv_data *view, int threads, size_t bytes) {
    unsigned char *inputs = fv_alloc(bytes, 1);
    fv_pool *pool = inputs ? fv_pool_new(threads) : NULL;
    fv_status status = pool ? make_inputs(view, pool, inputs) : fv_error_status();
    fv_pool_free(pool);
    if (status)
        fv_free(inputs);
    return status;
}

fv_status fv_data_fit(const fv_net *net, int threads, size_t keep, const fv_data **data,
                      fv_data **made) {
    *made = NULL;
    fv_status status = fv_data_ready(*data);
    if (status)
        return status;
    const fv_input_options *options = net->nodes[0].options;
    fv_shape to = fv_input_shape(net);
    if (!needs_fitting(&(*data)->columns[0], options, &to))
        return FV_OK;
    fv_data *view = make_view(*data, options, &to);
    if (!view)
        return fv_error_status();
    size_t bytes;
    bool kept = fv_size_product(view->count, fv_data_input_size(view), &bytes) && bytes <= keep;
    status = kept ? keep_inputs(view, threads, bytes) : FV_OK;
    if (status) {
        fv_data_free(view);
        return status;
    }
    *data = *made = view;
    return FV_OK;
}
