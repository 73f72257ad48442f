/* Layers of several inputs. The functions keras.ops.add ... are of the same names. Called by
 * build.c. */
#include "keras.h"
#include <string.h>

static fv_status make_concat(making *m, flow *output) {
    fv_concat_options o = {0};
    int nodes[FV_MAX_INPUTS], axis, rank = input_shape(m, 0)->rank;
    fv_status status = config_axis(m->config, -1, &axis);
    if (status)
        return status;
    axis += axis < 0 ? rank + 2 : 0;
    if (axis < 1 || axis > rank + 1)
        return fv_fail(FV_UNSUPPORTED, "its axis is %d; 1 to %d are those of a sample", axis,
                       rank + 1);
    o.axis = axis == rank + 1 ? 0 : axis;
    for (int i = 0; i < m->input_count; i++)
        nodes[i] = m->inputs[i].node;
    return add_layer(m, "concat", "", nodes, m->input_count, &o, output);
}

static fv_status make_join(making *m, const char *type, const char *suffix, flow *output) {
    fv_join_options o = {.activation = FV_LINEAR};
    int nodes[FV_MAX_INPUTS];
    if (m->call->keywords)
        return fv_fail(FV_UNSUPPORTED, "it is called with other arguments than layers' outputs");
    for (int i = 0; i < m->input_count; i++) {
        nodes[i] = m->inputs[i].node;
        if (m->layer->operation && input_shape(m, i)->rank != input_shape(m, 0)->rank)
            return fv_fail(FV_UNSUPPORTED, "its inputs differ in how many axes they have");
    }
    return add_layer(m, type, suffix, nodes, m->input_count, &o, output);
}

static fv_status make_add(making *m, flow *output) {
    return m->call->arguments ? add_number(m, output) : make_join(m, "add", "", output);
}

static fv_status make_multiply(making *m, flow *output) {
    return m->call->arguments ? add_number(m, output) : make_join(m, "multiply", "", output);
}

static fv_status make_maximum(making *m, flow *output) {
    return make_join(m, "maximum", "", output);
}

/* The sum, times 1 / n. */
static fv_status make_average(making *m, flow *output) {
    double scale = 1.0 / m->input_count, offset = 0;
    fv_status status = make_join(m, "add", ".sum", output);
    return status ? status : add_affine(m, &scale, &offset, 1, output);
}

const keras_class join_classes[] = {
    {"Concatenate", ANY_AXES, 2, NULL, false, false, make_concat},
    {"Add", ANY_AXES, 2, NULL, true, false, make_add},
    {"Multiply", ANY_AXES, 2, NULL, true, false, make_multiply},
    {"Maximum", ANY_AXES, 2, NULL, false, false, make_maximum},
    {"Average", ANY_AXES, 2, NULL, false, false, make_average},
    {.name = NULL},
};
