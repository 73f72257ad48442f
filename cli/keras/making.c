/* What the classes share when they add layers of ours: names, options, inputs, scales. Called by
 * the class files and build.c. */
#include "keras.h"
#include <string.h>

const fv_shape *input_shape(const making *m, int i) {
    return &m->importer->net->nodes[m->inputs[i].node].output;
}

/* ---- Names ----------------------------------------------------------------------------------- */

/* Another end until no node of the net is called so. */
static void make_unique(const fv_net *net, char name[FV_NAME_SIZE]) {
    size_t size = strlen(name);
    for (int i = 2; fv_net_find(net, name) >= 0; i++) {
        char end[16];
        int length = snprintf(end, sizeof end, "_%d", i);
        size_t room = (size_t)(FV_NAME_SIZE - 1 - length);
        strcpy(name + (size < room ? size : room), end);
    }
}

/* ---- Adding ---------------------------------------------------------------------------------- */

fv_status add_layer(making *m, const char *type_name, const char *suffix, const int *inputs,
                    int count, const void *options, flow *output) {
    fv_net *net = m->importer->net;
    const fv_layer_type *type = fv_layer_type_find(type_name);
    if (!type)
        return fv_fail(FV_UNSUPPORTED, "this fovea has no layer type %s", type_name);
    fv_status status = type->params ? fv_params_check(type->params, options) : FV_OK;
    if (status)
        return status;
    char name[FV_NAME_SIZE];
    snprintf(name, sizeof name, "%.*s%s", FV_NAME_SIZE - 1 - (int)strlen(suffix), m->name, suffix);
    make_unique(net, name);
    int node = fv_net_add(net, type, m->name[0] ? name : NULL, inputs, count, options, 0, 0);
    if (node < 0)
        return net->status;
    *output = (flow){.node = node, .readers = m->readers};
    return FV_OK;
}

fv_status add_plain(making *m, const char *type, const void *options, flow *output) {
    return add_layer(m, type, "", &m->inputs[0].node, 1, options, output);
}

fv_status add_weighted(making *m, const char *type, const void *options, flow *output) {
    fv_status status = add_plain(m, type, options, output);
    if (status || m->importer->net->nodes[output->node].weight_count == 0)
        return status;
    m->importer->sources[output->node] = m->layer;
    return tuning_read(m, output->node);
}

fv_status skip_layer(making *m, const char *why, flow *output) {
    if (why)
        note("layer %s (%s) is left out: %s", m->layer->name, m->layer->class_name, why);
    *output = m->inputs[0];
    output->alone = output->alone && m->readers == 1;
    output->readers = m->readers;
    return FV_OK;
}

fv_status add_pad(making *m, const keras_layer *pad, flow *value) {
    making own = *m;
    flow input = {.node = value->node};
    own.layer = pad;
    own.config = pad->config;
    own.call = &pad->calls[0];
    own.inputs = &input;
    own.input_count = 1;
    own.readers = 2; /* now it is one of its own */
    snprintf(own.name, sizeof own.name, "%.*s%.*s", FV_NAME_SIZE / 2, m->importer->prefix,
             FV_NAME_SIZE / 2 - 1, pad->name);
    fv_status status = class_find(pad->class_name)->make(&own, value);
    value->readers = 1;
    return status;
}

/* ---- Scales ---------------------------------------------------------------------------------- */

/* A constant vector of the input's channels, `count` values given. */
static fv_status add_constant(making *m, const char *suffix, const double *values, int count,
                              const flow *value, flow *output) {
    import_state *importer = m->importer;
    int channels = importer->net->nodes[value->node].output.channels;
    fv_constant_options options = {.shape = {.channels = channels}};
    fv_status status = add_layer(m, "constant", suffix, &value->node, 1, &options, output);
    if (status)
        return status;
    constant_values *all = fv_realloc(importer->constants, (size_t)importer->constant_count,
                                      (size_t)importer->constant_count + 1, sizeof *all);
    float *copy = all ? fv_alloc((size_t)channels, sizeof *copy) : NULL;
    if (all)
        importer->constants = all;
    if (!copy)
        return FV_MEMORY;
    for (int c = 0; c < channels; c++)
        copy[c] = (float)values[count > 1 ? c : 0];
    all[importer->constant_count++] = (constant_values){output->node, copy};
    return FV_OK;
}

static bool all_are(const double *values, int count, double wanted) {
    for (int i = 0; i < count; i++)
        if (values[i] != wanted)
            return false;
    return true;
}

/* `type` (multiply, add) of *value and constant values, called NAME + suffix; the constant is
 * NAME + suffix.constant. */
static fv_status add_operation(making *m, const char *type, const char *suffix,
                               const double *values, int count, flow *value) {
    flow other;
    char own[FV_NAME_SIZE];
    snprintf(own, sizeof own, "%.40s.constant", suffix);
    fv_status status = add_constant(m, own, values, count, value, &other);
    int both[2] = {value->node, other.node};
    fv_join_options options = {.activation = FV_LINEAR};
    return status ? status : add_layer(m, type, suffix, both, 2, &options, value);
}

fv_status add_affine(making *m, const double *scale, const double *offset, int count, flow *value) {
    int channels = m->importer->net->nodes[value->node].output.channels;
    if (count > 1 && count != channels)
        return fv_fail(FV_SHAPE, "it has %d values, but its input has %d channels", count,
                       channels);
    bool moved = !all_are(offset, count, 0);
    fv_status status = FV_OK;
    if (!moved || !all_are(scale, count, 1))
        status = add_operation(m, "multiply", moved ? ".scaled" : "", scale, count, value);
    if (!status && moved)
        status = add_operation(m, "add", "", offset, count, value);
    return status;
}

/* ---- Values ---------------------------------------------------------------------------------- */

fv_status check_last_axis(const making *m, int axis) {
    int last = input_shape(m, 0)->rank + 1;
    if (axis == -1 || axis == last)
        return FV_OK;
    return fv_fail(FV_UNSUPPORTED,
                   "its axis is %d; only the last, %d, which holds the channels, is "
                   "possible",
                   axis, last);
}

fv_status check_axis(const making *m) {
    int axis;
    fv_status status = config_axis(m->config, -1, &axis);
    return status ? status : check_last_axis(m, axis);
}

double explicitly(double value) {
    return value == 0 ? 1e-300 : value; /* 0 again as a float */
}

void simplify_sizes(int values[3]) {
    bool equal =
        (values[1] == 0 || values[1] == values[0]) && (values[2] == 0 || values[2] == values[0]);
    if (equal)
        values[1] = values[2] = 0;
    if (equal && values[0] == 1)
        values[0] = 0;
}
