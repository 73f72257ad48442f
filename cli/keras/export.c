/* fovea-keras export: a model of ours as a .keras file of Keras 3: config.json (a Functional
 * model), metadata.json, model.weights.h5. Equal nets give equal files. Called by program.c. */
#include "export.h"
#include "base/text.h"
#include <stdarg.h>
#include <string.h>

static const char written_for[] = "3.15.0", no_date[] = "1980-01-01@00:00:00";

fv_status cannot(const char *format, ...) {
    char text[512];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    return fv_fail(FV_UNSUPPORTED, "%s", text);
}

static fv_status no_memory(void) {
    return fv_fail(FV_MEMORY, "out of memory for the model's config");
}

/* ---- Layers ---------------------------------------------------------------------------------- */

static json_t *shape_json(const fv_shape *shape) {
    json_t *list = json_pack("[n]");
    for (int i = 0; i < shape->rank; i++)
        json_array_append_new(list, shape->size[i] == FV_ANY ? json_null()
                                                             : json_integer(shape->size[i]));
    json_array_append_new(list, json_integer(shape->channels));
    return list;
}

static json_t *tensor_json(const tensor *t) {
    return json_pack("{s:s, s:{s:o, s:s, s:[s,i,i]}}", "class_name", "__keras_tensor__", "config",
                     "shape", shape_json(&t->shape), "dtype", "float32", "keras_history", t->name,
                     0, 0);
}

/* A name that no other layer has, without the slash that Keras does not allow. */
static fv_status take_name(writing *w, const char *suffix, tensor *output) {
    json_t *names = w->exporter->names;
    snprintf(output->name, sizeof output->name - 8, "%s%s", w->node->name, suffix);
    for (char *c = output->name; *c; c++)
        *c = *c == '/' ? '.' : *c;
    size_t size = strlen(output->name);
    for (int i = 2; json_object_get(names, output->name); i++)
        snprintf(output->name + size, sizeof output->name - size, "_%d", i);
    return json_object_set_new(names, output->name, json_true()) == 0 ? FV_OK : no_memory();
}

/* [t], [[t, t]] of layers, [t, t] of functions, [t, argument]. */
static json_t *arguments_json(const layer_text *text, const tensor *inputs, int count) {
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, tensor_json(&inputs[i]));
    if (count > 1 && !text->operation)
        list = json_pack("[o]", list);
    if (text->argument)
        json_array_append_new(list, text->argument);
    return list;
}

static json_t *layer_json(const writing *w, const layer_text *text, const char *class_name,
                          json_t *config, const tensor *inputs, int count, const char *name) {
    char module[64];
    if (text->operation)
        snprintf(module, sizeof module, "keras.src.ops.%s", text->operation);
    else
        snprintf(module, sizeof module, "keras.layers");
    json_object_set_new(config, "name", json_string(name));
    if (!text->operation) {
        json_object_set_new(config, "dtype", json_string("float32"));
        if (w->node->weight_count > 0)
            json_object_set_new(config, "trainable", json_boolean(!w->node->tuning.freeze));
    }
    json_t *nodes = json_array();
    if (count > 0)
        json_array_append_new(nodes,
                              json_pack("{s:o, s:o}", "args", arguments_json(text, inputs, count),
                                        "kwargs", text->keywords ? text->keywords : json_object()));
    return json_pack("{s:s, s:s, s:o, s:s?, s:s, s:o}", "module", module, "class_name", class_name,
                     "config", config, "registered_name", text->operation ? class_name : NULL,
                     "name", name, "inbound_nodes", nodes);
}

void *grow(void *block, int count, size_t size) {
    bool full = (count & (count - 1)) == 0; /* 0, 1, 2, 4, 8 ... elements */
    size_t room = count > 0 ? 2 * (size_t)count : 1;
    return full ? fv_realloc(block, (size_t)count, room, size) : block;
}

/* Takes `json` over. */
static fv_status keep_layer(exporter *e, json_t *json, const char *class_name, bool operation,
                            const tensor *inputs, int count) {
    added_layer *layers = json ? grow(e->layers, e->layer_count, sizeof *layers) : NULL;
    if (!layers) {
        json_decref(json);
        return no_memory();
    }
    e->layers = layers;
    added_layer *own = &layers[e->layer_count++];
    *own = (added_layer){.json = json, .operation = operation, .input_count = count};
    snprintf(own->class_name, sizeof own->class_name, "%s", class_name);
    for (int i = 0; i < count; i++)
        own->inputs[i] = inputs[i].layer;
    return FV_OK;
}

fv_status emit(writing *w, const layer_text *text, json_t *config, const tensor *inputs, int count,
               const fv_shape *shape, tensor *output) {
    char class_name[64];
    /* *output may be one of the inputs */
    tensor made = {.shape = *shape, .layer = w->exporter->layer_count};
    if (text->axes > 0)
        snprintf(class_name, sizeof class_name, "%s%dD%s", text->class_name, text->axes,
                 text->ending ? text->ending : "");
    else
        snprintf(class_name, sizeof class_name, "%s", text->class_name);
    fv_status status = config ? FV_OK : no_memory();
    if (!status)
        status = take_name(w, text->suffix ? text->suffix : "", &made);
    if (status) {
        json_decref(config);
        return status;
    }
    json_t *layer = layer_json(w, text, class_name, config, inputs, count, made.name);
    status = keep_layer(w->exporter, layer, class_name, text->operation, inputs, count);
    if (!status)
        *output = made;
    return status;
}

fv_status emit_plain(writing *w, const char *class_name, int axes, json_t *config, tensor *output) {
    return emit(w, &(layer_text){.class_name = class_name, .axes = axes}, config, w->inputs, 1,
                &w->node->output, output);
}

/* ---- The model ------------------------------------------------------------------------------- */

static const export_type *find_type(const char *name) {
    static const export_type *const tables[] = {export_conv_types, export_pool_types,
                                                export_plain_types};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const export_type *type = tables[t]; type->name; type++)
            if (strcmp(type->name, name) == 0)
                return type;
    return NULL;
}

static fv_status write_node(exporter *e, int n) {
    const fv_node *node = &e->net->nodes[n];
    writing w = {.exporter = e, .node = node, .index = n};
    const export_type *type = find_type(node->type->name);
    fv_status status = type ? FV_OK : cannot("Keras has no such layer");
    for (int i = 0; i < node->input_count; i++) {
        w.inputs[i] = e->outputs[node->inputs[i]];
        if (!status && !w.inputs[i].name[0] && !type->constants)
            status = cannot("Keras has no constants but in a product or sum with one other layer");
    }
    if (!status)
        status = type->write(&w, &e->outputs[n]);
    return status ? fv_fail_in(status, "layer %s (%s)", node->name, node->type->name) : FV_OK;
}

static fv_status write_layers(exporter *e) {
    fv_status status = FV_OK;
    int left_out = 0;
    for (int n = 0; n < e->net->count && !status; n++)
        if (e->net->nodes[n].training_only)
            left_out++;
        else
            status = write_node(e, n);
    if (!status && left_out > 0)
        note("%d layers that only auxiliary losses need are left out", left_out);
    for (int i = 0; i < fv_output_count(e->net) && !status; i++)
        if (!output_tensor(e, i)->name[0])
            status = cannot("its output %s is a constant, which Keras has not",
                            fv_output_name(e->net, i));
    return status;
}

static json_t *history_json(const tensor *t) {
    return json_pack("[s, i, i]", t->name, 0, 0);
}

/* One history, or a list of them. */
static json_t *outputs_json(const exporter *e) {
    int count = fv_output_count(e->net);
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, history_json(output_tensor(e, i)));
    json_t *own = count == 1 ? json_incref(json_array_get(list, 0)) : json_incref(list);
    json_decref(list);
    return own;
}

/* In the order that they will have in Keras, as Keras writes them too: by that the groups of
 * weights are named, and whoever reads the file need not know how Keras orders layers. */
static json_t *layers_json(const exporter *e, const int *order, int count) {
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append(list, e->layers[order[i]].json);
    return list;
}

static json_t *config_json(const exporter *e, const int *order, int count) {
    json_t *config = json_pack("{s:s, s:b, s:o, s:o, s:o}", "name", "fovea", "trainable", 1,
                               "layers", layers_json(e, order, count), "input_layers",
                               history_json(&e->input), "output_layers", outputs_json(e));
    return json_pack("{s:s, s:s, s:o, s:s, s:{s:n}, s:o}", "module", "keras.src.models.functional",
                     "class_name", "Functional", "config", config, "registered_name", "Functional",
                     "build_config", "input_shape", "compile_config", training_write(e->net));
}

static json_t *metadata_json(const fv_net *net) {
    json_t *metadata = json_pack("{s:s, s:s}", "keras_version", written_for, "date_saved", no_date);
    if (net->class_count == 0)
        return metadata;
    json_t *classes = json_array();
    for (int i = 0; i < net->class_count; i++)
        json_array_append_new(classes, json_string(net->class_names[i]));
    json_object_set_new(metadata, "fovea", json_pack("{s:o}", "classes", classes));
    return metadata;
}

/* Takes `config` over. */
static fv_status write_archive(const exporter *e, json_t *config, store *file, const char *path) {
    json_t *metadata = metadata_json(e->net);
    char *config_text = config ? json_dumps(config, JSON_SORT_KEYS) : NULL;
    char *metadata_text = metadata ? json_dumps(metadata, JSON_SORT_KEYS) : NULL;
    char *weights = NULL;
    size_t size = 0;
    fv_status status = config_text && metadata_text
                           ? store_image(file, &weights, &size)
                           : fv_fail(FV_INVALID, "a name in it is not UTF-8, or memory ran out");
    if (!status)
        status =
            archive_write(path,
                          (const member[]){{"metadata.json", metadata_text, strlen(metadata_text)},
                                           {"config.json", config_text, strlen(config_text)},
                                           {"model.weights.h5", weights, size}},
                          3);
    free(config_text);
    free(metadata_text);
    fv_free(weights);
    json_decref(config);
    json_decref(metadata);
    return status;
}

static fv_status write_model(const exporter *e, const char *path) {
    int count = 0, *order = fv_alloc((size_t)e->layer_count, sizeof *order);
    store *file = store_new();
    fv_status status = order && file ? find_order(e, order, &count) : no_memory();
    if (!status && count < e->layer_count)
        note("%d layers that no output needs are left out", e->layer_count - count);
    if (!status)
        status = weights_write(e, order, count, file);
    if (!status)
        status = write_archive(e, config_json(e, order, count), file, path);
    store_close(file);
    fv_free(order);
    return status;
}

fv_status keras_export(const char *path, const char *output) {
    exporter e = {.net = fv_net_load(path), .names = json_object()};
    fv_status status = e.net ? FV_OK : fv_error_status();
    if (!status) {
        e.outputs = fv_alloc((size_t)e.net->count, sizeof *e.outputs);
        status = e.outputs && e.names ? FV_OK : no_memory();
    }
    if (!status)
        status = write_layers(&e);
    if (!status)
        status = write_model(&e, output);
    for (int i = 0; i < e.layer_count; i++)
        json_decref(e.layers[i].json);
    fv_free(e.layers);
    fv_free(e.variables);
    fv_free(e.outputs);
    json_decref(e.names);
    fv_net_free((fv_net *)(uintptr_t)e.net);
    return status;
}
