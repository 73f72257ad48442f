/* flatten: one vector a sample, in the order of memory (spatial axes, then channels). Only a
 * view: no number moves. */
#include "layers/layer.h"
#include <limits.h>

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)options, (void)count;
    char text[64];
    int64_t values = inputs[0].channels;
    fv_shape *output = &inference->output;
    for (int i = 0; i < inputs[0].rank; i++) {
        if (inputs[0].size[i] == FV_ANY)
            return fv_fail(FV_SHAPE,
                           "cannot flatten %s: a dense layer needs a fixed number of inputs "
                           "(give the input fixed sizes)",
                           fv_shape_text(&inputs[0], text));
        values *= inputs[0].size[i];
        if (values > INT_MAX)
            return fv_fail(FV_SHAPE, "flattening %s gives more than 2147483647 values",
                           fv_shape_text(&inputs[0], text));
        output->size[i] = inputs[0].size[i]; /* remembered, see fv_shape */
    }
    output->rank = 0;
    output->channels = (int)values;
    return FV_OK;
}

const fv_layer_type fv_layer_flatten = {.name = "flatten",
                                        .help = "one vector a sample: spatial axes, then channels",
                                        .min_inputs = 1,
                                        .max_inputs = 1,
                                        .view = true,
                                        .infer = infer};
