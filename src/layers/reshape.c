/* reshape: the same numbers, in the order of memory, under another shape. Only a view: no number
 * moves. */
#include "layers/layer.h"
#include <limits.h>
#include <stddef.h>

static const fv_param params[] = {{.key = "shape",
                                   .type = FV_PARAM_SHAPE,
                                   .offset = offsetof(fv_reshape_options, shape),
                                   .required = true,
                                   .position = 1,
                                   .low = 1,
                                   .high = 1 << 24,
                                   .help = "of the output; one size may be *: what is left"},
                                  {0}};

/* Values of a shape without the sizes that are FV_ANY, whose number is added to *any. Saturates:
 * check_sizes() in net.c has refused inputs that large. */
static int64_t known_values(const fv_shape *shape, int *any) {
    int64_t values = shape->channels;
    for (int i = 0; i < shape->rank; i++)
        if (shape->size[i] == FV_ANY)
            ++*any;
        else
            values = values > INT64_MAX / shape->size[i] ? INT64_MAX : values * shape->size[i];
    return values;
}

/* As a flatten layer does it: a vector remembers the sizes that were folded into it. */
static void remember_sizes(const fv_shape *input, fv_shape *output) {
    for (int i = 0; i < 3; i++)
        output->size[i] = input->size[i];
}

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    fv_shape output = ((const fv_reshape_options *)options)->shape;
    int varying = 0, open = 0;
    int64_t values = known_values(inputs, &varying), wanted = known_values(&output, &open);
    char text[2][64];
    if (open > 1)
        return fv_fail(FV_SHAPE, "the shape %s leaves %d sizes open; at most one can be",
                       fv_shape_text(&output, text[0]), open);
    for (int i = output.rank; i < 3; i++)
        output.size[i] = 0;
    inference->output = output;
    if (varying > 0 && output.rank == 0)
        return fv_fail(FV_SHAPE,
                       "cannot make %s a vector of %d values, since its size varies (give the "
                       "input fixed sizes)",
                       fv_shape_text(inputs, text[0]), output.channels);
    if (varying > 0) /* known, and checked, when a session is opened */
        return FV_OK;
    if (open ? values % wanted != 0 : values != wanted)
        return fv_fail(FV_SHAPE, "%s has %lld values, which do not fit into %s",
                       fv_shape_text(inputs, text[0]), (long long)values,
                       fv_shape_text(&output, text[1]));
    for (int i = 0; i < output.rank; i++)
        if (output.size[i] == FV_ANY &&
            fv_set_size(values / wanted, inputs, &inference->output.size[i]))
            return FV_SHAPE;
    if (output.rank == 0)
        remember_sizes(inputs, &inference->output);
    return FV_OK;
}

const fv_layer_type fv_layer_reshape = {.name = "reshape",
                                        .help = "the same numbers under another shape",
                                        .options_size = sizeof(fv_reshape_options),
                                        .params = params,
                                        .min_inputs = 1,
                                        .max_inputs = 1,
                                        .view = true,
                                        .infer = infer};
