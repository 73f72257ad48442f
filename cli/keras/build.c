/* From the tree of layers to a net: walks each model in an order in which inputs come first, and
 * has the classes add their layers. Called by import.c. */
#include "keras.h"
#include <string.h>

/* ---- Classes --------------------------------------------------------------------------------- */

static fv_status make_model(import_state *importer, const keras_model *model, flow input,
                            flow outputs[FV_MAX_INPUTS]);

static fv_status make_no_input(making *m, flow *output) {
    (void)output;
    return fv_fail(FV_UNSUPPORTED, "%s is an input that its model does not name as such",
                   m->layer->name ? m->layer->name : "it");
}

/* Its variables are none; a model's own layers have theirs. */
static const keras_class frame_classes[] = {
    {"InputLayer", ANY_AXES, 0, NULL, false, false, make_no_input}, {.name = NULL}};

const keras_class *class_find(const char *name) {
    static const keras_class *const tables[] = {frame_classes,      conv_classes,  pool_classes,
                                                norm_classes,       shape_classes, join_classes,
                                                activation_classes, scale_classes};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const keras_class *class = tables[t]; class->name; class ++)
            if (strcmp(class->name, name) == 0)
                return class;
    return NULL;
}

/* ---- The input ------------------------------------------------------------------------------- */

static fv_status read_input_size(const json_t *json, int *size) {
    json_int_t value = json_integer_value(json);
    if (!json_is_null(json) && (!json_is_integer(json) || value < 1 || value > 1 << 24))
        return fv_fail(FV_FORMAT, "the shape of its input is no list of sizes");
    *size = json_is_null(json) ? FV_ANY : (int)value;
    return FV_OK;
}

/* [null, 28, 28, 1], the batch first. */
static fv_status read_input_shape(const json_t *config, fv_shape *shape) {
    static const char *const keys[] = {"batch_shape", "batch_input_shape", "build_input_shape"};
    const json_t *sizes = NULL;
    int size[4] = {0};
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !json_is_array(sizes); i++)
        sizes = json_object_get(config, keys[i]);
    size_t count = json_array_size(sizes);
    if (count < 2 || count > 5)
        return fv_fail(FV_UNSUPPORTED,
                       count ? "its input has %zu axes with the batch's; 2 to 5 are possible"
                             : "the shape of its input is not known (call the model once on some "
                               "data before saving it)",
                       count);
    for (size_t i = 1; i < count; i++) {
        fv_status status = read_input_size(json_array_get(sizes, i), &size[i - 1]);
        if (status)
            return status;
    }
    *shape = (fv_shape){.rank = (int)count - 2, .channels = size[count - 2]};
    for (int i = 0; i < shape->rank; i++)
        shape->size[i] = size[i];
    if (shape->channels == FV_ANY)
        return fv_fail(FV_UNSUPPORTED,
                       "the last axis of its input, the channels, has no fixed size");
    return FV_OK;
}

/* Letters that a name of ours may not have become _; so do those that would mean something else. */
static void copy_name(const char *prefix, const char *from, char name[FV_NAME_SIZE]) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_-./";
    name[0] = 0;
    if (!from)
        return;
    snprintf(name, FV_NAME_SIZE, "%s%s", prefix, from);
    for (char *c = name; *c; c++)
        if (!strchr(allowed, *c))
            *c = '_';
    size_t size = strlen(name);
    if (strcmp(name, "train") == 0 || (size >= 4 && strcmp(name + size - 4, ".pre") == 0))
        name[size - 1] = '_';
    if (size == 0)
        strcpy(name, "_");
}

/* Types of arrays do not matter: values are what they are. */
static fv_status make_input(import_state *importer, const keras_layer *layer, flow *value) {
    fv_input_options o = {.scale = 0};
    making m = {.importer = importer, .layer = layer, .config = layer->config, .readers = 1};
    fv_status status = read_input_shape(layer->config, &o.shape);
    if (!status && (json_is_true(json_object_get(layer->config, "sparse")) ||
                    json_is_true(json_object_get(layer->config, "ragged"))))
        status = fv_fail(FV_UNSUPPORTED, "its input is sparse or ragged");
    copy_name("", layer->name, m.name);
    if (!status)
        status = add_layer(&m, "input", "", NULL, 0, &o, value);
    value->alone = true;
    return status;
}

/* ---- One layer ------------------------------------------------------------------------------- */

/* A policy's name: "float32", also as {"class_name": "DTypePolicy", "config": {"name": ...}}. */
static fv_status check_type(const json_t *config) {
    const json_t *type = json_object_get(config, "dtype");
    const char *name = json_is_string(type) ? json_string_value(type)
                                            : config_text(json_object_get(type, "config"), "name");
    const char *policy = config_text(type, "class_name");
    static const char *const real_types[] = {"float32",  "float64",       "float16",
                                             "bfloat16", "mixed_float16", "mixed_bfloat16"};
    bool known = !type || json_is_null(type);
    for (size_t i = 0; name && i < sizeof real_types / sizeof *real_types; i++)
        known = known || strcmp(name, real_types[i]) == 0;
    json_t *quantized = json_object_get(config, "quantization_config");
    if (known && !(policy && strstr(policy, "Quantized")) &&
        (!quantized || json_is_null(quantized)))
        return FV_OK;
    return fv_fail(FV_UNSUPPORTED, "its numbers are of the type %.40s; floating point is possible",
                   name ? name : "unknown");
}

static fv_status check_layer(const making *m, const keras_class *class) {
    const char *format = "channels_last";
    fv_status status = config_word(m->config, "data_format", &format);
    if (status)
        return status;
    if (strcmp(format, "channels_last") != 0)
        return fv_fail(FV_UNSUPPORTED,
                       "its data_format is %.40s; only channels_last can be read (a model with "
                       "channels_first goes by way of ONNX)",
                       format);
    if (!class->arguments && (m->call->arguments || m->call->keywords))
        return fv_fail(FV_UNSUPPORTED, "it is called with other arguments than layers' outputs");
    if ((class->inputs == 1 && m->input_count != 1) ||
        (class->inputs == 2 && m->input_count < 2 && !m->call->arguments))
        return fv_fail(FV_FORMAT, "it has %d inputs; expected %s", m->input_count,
                       class->inputs == 1 ? "one" : "two or more");
    int rank = input_shape(m, 0)->rank;
    if (class->axes != ANY_AXES && class->axes != rank)
        return fv_fail(FV_SHAPE, "it works along %d axes, but its input has %d", class->axes, rank);
    return check_type(m->config);
}

/* Pads that no reader takes in become layers. */
static fv_status settle_pads(making *m, const keras_class *class) {
    fv_status status = FV_OK;
    for (int i = 0; i < m->input_count && !status; i++) {
        const keras_layer *pad = m->inputs[i].pad;
        if (!pad)
            continue;
        size_t size = strlen(m->layer->name);
        bool takes = class->pads && strncmp(pad->name, m->layer->name, size) == 0 &&
                     strcmp(pad->name + size, ".pad") == 0;
        if (!takes) {
            m->inputs[i].pad = NULL;
            status = add_pad(m, pad, &m->inputs[i]);
        }
    }
    return status;
}

static fv_status make_layer(import_state *importer, const keras_layer *layer, int call,
                            flow *inputs, flow *output) {
    const keras_class *class = class_find(layer->class_name); /* variables.c has seen it */
    making m = {.importer = importer,
                .layer = layer,
                .config = layer->config,
                .call = &layer->calls[call],
                .axes = class->axes,
                .inputs = inputs,
                .input_count = layer->calls[call].input_count,
                .readers = layer->readers};
    char name[FV_NAME_SIZE];
    copy_name(importer->prefix, layer->name, name);
    snprintf(m.name, sizeof m.name, "%s", name);
    fv_status status = FV_OK;
    if (m.input_count == 0)
        status = make_no_input(&m, output);
    if (!status && layer->call_count > 1 && layer->variable_count > 0)
        status = fv_fail(FV_UNSUPPORTED,
                         "it is used %d times with the same weights; each layer here has its own",
                         layer->call_count);
    if (!status)
        status = settle_pads(&m, class);
    if (!status)
        status = check_layer(&m, class);
    if (!status)
        status = class->make(&m, output);
    return status ? fv_fail_in(status, "layer %.80s (%.80s)", layer->name, layer->class_name)
                  : FV_OK;
}

/* ---- One model ------------------------------------------------------------------------------- */

typedef struct walk {
    import_state *importer;
    const keras_model *model;
    flow **values; /* by layer and call */
} walk;

static void walk_free(walk *w) {
    for (int i = 0; w->values && i < w->model->count; i++)
        fv_free(w->values[i]);
    fv_free(w->values);
}

static fv_status walk_begin(walk *w) {
    w->values = fv_alloc((size_t)w->model->count + 1, sizeof *w->values);
    for (int i = 0; w->values && i < w->model->count; i++) {
        int calls = w->model->layers[i].call_count;
        w->values[i] = fv_alloc((size_t)calls, sizeof(flow));
        if (!w->values[i])
            return FV_MEMORY;
        for (int c = 0; c < calls; c++)
            w->values[i][c].node = -1;
    }
    return w->values ? FV_OK : FV_MEMORY;
}

/* Copies the inputs of a call; false when one is not there yet. */
static bool gather(const walk *w, const layer_call *call, flow inputs[FV_MAX_INPUTS]) {
    for (int i = 0; i < call->input_count; i++) {
        inputs[i] = w->values[call->inputs[i].layer][call->inputs[i].call];
        if (inputs[i].node < 0)
            return false;
    }
    return true;
}

/* A model in the model: its layers are called MODEL.LAYER. */
static fv_status make_inner(import_state *importer, const keras_layer *layer, int call,
                            flow *inputs, flow *output) {
    flow outputs[FV_MAX_INPUTS];
    char kept[FV_NAME_SIZE];
    making m = {.importer = importer, .layer = layer};
    fv_status status = FV_OK;
    if (layer->call_count > 1 || layer->calls[call].input_count != 1)
        status =
            fv_fail(FV_UNSUPPORTED,
                    "it is used %d times, on %d inputs; a model in the model may be used once, "
                    "on one input",
                    layer->call_count, layer->calls[call].input_count);
    if (!status && layer->model->output_count != 1)
        status = fv_fail(FV_UNSUPPORTED, "a model in the model with %d outputs; one is possible",
                         layer->model->output_count);
    if (!status && inputs[0].pad) {
        const keras_layer *pad = inputs[0].pad;
        inputs[0].pad = NULL;
        status = add_pad(&m, pad, &inputs[0]);
    }
    memcpy(kept, importer->prefix, sizeof kept);
    snprintf(importer->prefix, sizeof importer->prefix, "%.30s%.30s.", kept, layer->name);
    if (!status)
        status = make_model(importer, layer->model, inputs[0], outputs);
    memcpy(importer->prefix, kept, sizeof kept);
    if (!status) {
        *output = outputs[0];
        output->readers = layer->readers;
        output->alone = output->alone && layer->readers == 1;
    }
    return status;
}

/* Makes what can be made now; *made counts, *left too. */
static fv_status walk_once(walk *w, int *made, int *left) {
    fv_status status = FV_OK;
    flow inputs[FV_MAX_INPUTS];
    *made = *left = 0;
    for (int i = 0; i < w->model->count && !status; i++) {
        const keras_layer *layer = &w->model->layers[i];
        for (int c = 0; c < layer->call_count && !status; c++) {
            if (w->values[i][c].node >= 0)
                continue;
            if (!gather(w, &layer->calls[c], inputs)) {
                ++*left;
                continue;
            }
            ++*made;
            status = layer->model ? make_inner(w->importer, layer, c, inputs, &w->values[i][c])
                                  : make_layer(w->importer, layer, c, inputs, &w->values[i][c]);
        }
    }
    return status;
}

static fv_status walk_all(walk *w) {
    int made = 1, left = 1;
    fv_status status = FV_OK;
    while (!status && left > 0 && made > 0)
        status = walk_once(w, &made, &left);
    if (!status && left > 0)
        status = fv_fail(FV_FORMAT, "%d layers of %.80s read each other in a circle", left,
                         w->model->name ? w->model->name : "the model");
    return status;
}

static fv_status make_model(import_state *importer, const keras_model *model, flow input,
                            flow outputs[FV_MAX_INPUTS]) {
    walk w = {.importer = importer, .model = model};
    fv_status status = walk_begin(&w);
    if (!status) {
        int readers = model->layers[model->input].readers;
        w.values[model->input][0] = input;
        w.values[model->input][0].alone = input.alone && readers == 1;
        w.values[model->input][0].readers = readers;
        status = walk_all(&w);
    }
    for (int i = 0; i < model->output_count && !status; i++) {
        reference r = model->outputs[i];
        making m = {.importer = importer, .layer = &model->layers[r.layer]};
        outputs[i] = w.values[r.layer][r.call];
        if (outputs[i].pad)
            status = add_pad(&m, outputs[i].pad, &outputs[i]);
        outputs[i].pad = NULL;
    }
    walk_free(&w);
    return status;
}

/* ---- The net --------------------------------------------------------------------------------- */

/* Room for a source for each node that there can be: a layer makes at most 6. */
enum { MOST_NODES = 10000 };

static fv_status set_outputs(import_state *importer, const keras_model *model,
                             const flow *outputs) {
    fv_net *net = importer->net;
    fv_status status = FV_OK;
    bool only = model->output_count == 1;
    if (only && outputs[0].node != net->count - 1)
        return fv_fail(FV_FORMAT, "its output is %s, but other layers come after it",
                       net->nodes[outputs[0].node].name);
    for (int i = 0; i < model->output_count && !only && !status; i++)
        status = fv_add_output(net, outputs[i].node);
    return status;
}

void import_state_free(import_state *importer) {
    for (int i = 0; i < importer->constant_count; i++)
        fv_free(importer->constants[i].values);
    fv_free(importer->constants);
    fv_free(importer->sources);
    fv_net_free(importer->net);
}

fv_status net_make(import_state *importer, const keras_model *model) {
    flow input, outputs[FV_MAX_INPUTS];
    importer->sources = fv_alloc(MOST_NODES, sizeof *importer->sources);
    if (!importer->sources)
        return FV_MEMORY;
    fv_status status = make_input(importer, &model->layers[model->input], &input);
    if (!status)
        status = make_model(importer, model, input, outputs);
    if (!status)
        status = set_outputs(importer, model, outputs);
    size_t most = importer->most;
    for (int i = 0; i < importer->constant_count; i++)
        most += importer->net->nodes[importer->constants[i].node].weights[0].count;
    if (!status)
        status = fv_net_build_in_file(importer->net, most);
    return status ? status : fv_net_make_room(importer->net);
}
