/* A model's JSON as a tree: Sequential and Functional models, models in models, and who reads whose
 * output. Knows nothing of what a layer does. Called by import.c. */
#include "keras.h"
#include <limits.h>
#include <string.h>

/* What reading a tree needs beside the JSON. */
typedef struct reading {
    int depth;  /* models around this one */
    int layers; /* of all models so far */
} reading;

static fv_status read_model(reading *r, const json_t *json, bool trainable, keras_model **model);

void model_free(keras_model *model) {
    for (int i = 0; model && i < model->count; i++) {
        keras_layer *layer = &model->layers[i];
        for (int v = 0; v < layer->variable_count; v++)
            fv_free(layer->variables[v]);
        fv_free(layer->calls);
        model_free(layer->model);
    }
    if (model)
        fv_free(model->layers);
    fv_free(model);
}

bool is_model_class(const char *class_name) {
    return strcmp(class_name, "Sequential") == 0 || strcmp(class_name, "Functional") == 0 ||
           strcmp(class_name, "Model") == 0;
}

/* ---- Layers ---------------------------------------------------------------------------------- */

/* A class of the user's own may do anything, whatever its name. */
static fv_status check_origin(const json_t *json, const keras_layer *layer) {
    const char *module = config_text(json, "module");
    const char *registered = config_text(json, "registered_name");
    if ((module && strncmp(module, "keras", 5) != 0 && strncmp(module, "tf_keras", 8) != 0) ||
        (registered && strchr(registered, '>')))
        return fv_fail(
            FV_UNSUPPORTED,
            "layer %.80s is of the class %.80s from %.80s, which is not Keras' own; only "
            "its Python code knows what it does",
            layer->name, layer->class_name, registered ? registered : module);
    return FV_OK;
}

static fv_status read_layer(reading *r, const json_t *json, bool trainable, keras_layer *layer) {
    const json_t *config = json_object_get(json, "config");
    const char *module = config_text(json, "module");
    layer->class_name = config_text(json, "class_name");
    layer->name = config_text(json, "name");
    if (!layer->name)
        layer->name = config_text(config, "name");
    layer->config = config;
    if (!layer->class_name || (!json_is_object(config) && !json_is_array(config)))
        return fv_fail(FV_FORMAT, "a layer of its config has no class_name or no config");
    if (!layer->name) /* an old Sequential in a model */
        layer->name = layer->class_name;
    if (++r->layers > MOST_LAYERS)
        return fv_fail(FV_FORMAT, "it has more than %d layers", MOST_LAYERS);
    layer->operation = module && (strncmp(module, "keras.src.ops", 13) == 0 ||
                                  strncmp(module, "keras.ops", 9) == 0);
    layer->trainable = trainable && !json_is_false(json_object_get(config, "trainable"));
    fv_status status = check_origin(json, layer);
    if (status || !is_model_class(layer->class_name))
        return status;
    return read_model(r, json, layer->trainable, &layer->model);
}

static fv_status new_layers(keras_model *model, size_t count) {
    if (count > MOST_LAYERS)
        return fv_fail(FV_FORMAT, "it has more than %d layers", MOST_LAYERS);
    model->layers = fv_alloc(count + 1, sizeof *model->layers);
    return model->layers ? FV_OK : FV_MEMORY;
}

static fv_status new_calls(keras_layer *layer, size_t count) {
    if (count > MOST_LAYERS)
        return fv_fail(FV_FORMAT, "layer %.80s is used more than %d times", layer->name,
                       MOST_LAYERS);
    layer->calls = fv_alloc(count, sizeof *layer->calls);
    layer->call_count = layer->calls ? (int)count : 0;
    return layer->calls ? FV_OK : FV_MEMORY;
}

/* ---- Sequential ------------------------------------------------------------------------------ */

/* Without an InputLayer the input's shape stands in the first layer's config or the model's. */
static void add_missing_input(keras_model *model, const json_t *config, const json_t *first) {
    const json_t *first_config = json_object_get(first, "config");
    bool own = json_object_get(first_config, "batch_input_shape") ||
               json_object_get(first_config, "batch_shape");
    model->layers[model->count++] =
        (keras_layer){.class_name = "InputLayer", .config = own ? first_config : config};
}

static bool is_input(const json_t *json) {
    const char *class_name = config_text(json, "class_name");
    return class_name && strcmp(class_name, "InputLayer") == 0;
}

static fv_status read_sequential(reading *r, const json_t *config, bool trainable,
                                 keras_model *model) {
    const json_t *list = json_is_array(config) ? config : json_object_get(config, "layers");
    size_t count = json_array_size(list);
    model->sequential = true;
    if (count == 0)
        return fv_fail(FV_FORMAT, "the Sequential model %.80s has no layers",
                       model->name ? model->name : "");
    fv_status status = new_layers(model, count);
    if (!status && !is_input(json_array_get(list, 0)))
        add_missing_input(model, config, json_array_get(list, 0));
    for (size_t i = 0; i < count && !status; i++)
        status = read_layer(r, json_array_get(list, i), trainable, &model->layers[model->count++]);
    for (int i = 0; i < model->count && !status; i++) {
        status = new_calls(&model->layers[i], 1);
        if (!status && i > 0) {
            model->layers[i].calls[0].inputs[0] = (reference){i - 1, 0};
            model->layers[i].calls[0].input_count = 1;
        }
        model->layers[i].readers = 1;
    }
    model->outputs[0] = (reference){model->count - 1, 0};
    model->output_count = 1;
    return status;
}

/* ---- Functional ------------------------------------------------------------------------------ */

/* One Functional model: its layers by name. */
typedef struct graph {
    keras_model *model;
    json_t *index; /* name: number */
} graph;

static fv_status add_names(graph *g) {
    for (int i = 0; i < g->model->count; i++) {
        const char *name = g->model->layers[i].name;
        if (json_object_get(g->index, name))
            return fv_fail(FV_FORMAT, "two of its layers are called %.80s", name);
        if (json_object_set_new(g->index, name, json_integer(i)) != 0)
            return fv_fail(FV_FORMAT, "the name %.80s is no UTF-8", name);
    }
    return FV_OK;
}

/* ["conv1", 0, 0, ...]: layer, call, output. */
static bool is_history(const json_t *json) {
    return json_array_size(json) >= 3 && json_is_string(json_array_get(json, 0)) &&
           json_is_integer(json_array_get(json, 1)) && json_is_integer(json_array_get(json, 2));
}

static fv_status read_history(const graph *g, const json_t *json, reference *ref) {
    const char *name = json_string_value(json_array_get(json, 0));
    const json_t *found = json_object_get(g->index, name);
    json_int_t call = json_integer_value(json_array_get(json, 1));
    if (!is_history(json) || !found)
        return fv_fail(FV_FORMAT, "it reads the output of a layer \"%.80s\" that there is not",
                       name ? name : "");
    if (json_integer_value(json_array_get(json, 2)) != 0)
        return fv_fail(FV_UNSUPPORTED, "it reads a second output of %.80s; layers here have one",
                       name);
    ref->layer = (int)json_integer_value(found);
    keras_layer *layer = &g->model->layers[ref->layer];
    /* Keras counts calls outside this model too: a layer that is used once has but one output. */
    ref->call = layer->call_count <= 1 ? 0 : call >= 0 && call < layer->call_count ? (int)call : -1;
    if (ref->call < 0)
        return fv_fail(FV_FORMAT, "it reads the output of call %lld of %.80s, which has %d",
                       (long long)call, name, layer->call_count);
    layer->readers++;
    return FV_OK;
}

static fv_status add_input(const graph *g, const json_t *history, layer_call *call) {
    if (call->input_count == FV_MAX_INPUTS)
        return fv_fail(FV_UNSUPPORTED, "it has more than %d inputs", FV_MAX_INPUTS);
    return read_history(g, history, &call->inputs[call->input_count++]);
}

/* Tensors, also in lists, become inputs; *other: there is something else, null not counted. */
static fv_status read_argument(const graph *g, const json_t *json, int depth, layer_call *call,
                               bool *other) {
    const char *class_name = config_text(json, "class_name");
    if (class_name && strcmp(class_name, "__keras_tensor__") == 0)
        return add_input(g, json_object_get(json_object_get(json, "config"), "keras_history"),
                         call);
    fv_status status = FV_OK;
    if (json_is_array(json) && depth < 4) {
        for (size_t i = 0; i < json_array_size(json) && !status; i++)
            status = read_argument(g, json_array_get(json, i), depth + 1, call, other);
        return status;
    }
    *other = *other || (json && !json_is_null(json));
    return status;
}

/* {"args": [...], "kwargs": {...}} of Keras 3. */
static fv_status read_arguments(const graph *g, const json_t *node, layer_call *call) {
    const json_t *arguments = json_object_get(node, "args");
    const json_t *keywords = json_object_get(node, "kwargs");
    bool other = false, keyed = false;
    fv_status status = read_argument(g, arguments, 0, call, &other);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)keywords, key, value) {
        bool plain = strcmp(key, "training") == 0 && json_is_false(value); /* as at inference */
        if (!status && !plain)
            status = read_argument(g, value, 0, call, &keyed);
    }
    call->arguments = other ? arguments : NULL;
    call->keywords = keyed ? keywords : NULL;
    return status;
}

/* A list of [name, call, output, {keywords}] of Keras 2. */
static fv_status read_old_arguments(const graph *g, const json_t *node, layer_call *call) {
    bool single = is_history(node);
    size_t count = single ? 1 : json_array_size(node);
    fv_status status = FV_OK;
    for (size_t i = 0; i < count && !status; i++) {
        const json_t *history = single ? node : json_array_get(node, i);
        const json_t *keywords = json_array_get(history, 3);
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)(uintptr_t)keywords, key, value) {
            bool plain =
                json_is_null(value) || (strcmp(key, "training") == 0 && json_is_false(value));
            call->keywords = plain ? call->keywords : keywords;
        }
        status = add_input(g, history, call);
    }
    return status;
}

static fv_status read_calls(const graph *g, const json_t *nodes, keras_layer *layer) {
    fv_status status = FV_OK;
    for (size_t i = 0; i < json_array_size(nodes) && !status; i++) {
        const json_t *node = json_array_get(nodes, i);
        status = json_is_object(node) ? read_arguments(g, node, &layer->calls[i])
                                      : read_old_arguments(g, node, &layer->calls[i]);
    }
    return status ? fv_fail_in(status, "layer %.80s (%.80s)", layer->name, layer->class_name)
                  : status;
}

/* The layers of input_layers or output_layers: one history, or lists or objects of them. */
static fv_status read_ends(const graph *g, const json_t *json, int depth, reference *ends,
                           int *count) {
    if (is_history(json)) {
        if (*count == FV_MAX_INPUTS)
            return fv_fail(FV_UNSUPPORTED, "the model has more than %d inputs or outputs",
                           FV_MAX_INPUTS);
        return read_history(g, json, &ends[(*count)++]);
    }
    fv_status status = FV_OK;
    for (size_t i = 0; i < json_array_size(json) && depth < 4 && !status; i++)
        status = read_ends(g, json_array_get(json, i), depth + 1, ends, count);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value) {
        if (depth < 4 && !status)
            status = read_ends(g, value, depth + 1, ends, count);
    }
    return status;
}

static fv_status read_all_ends(const graph *g, const json_t *config) {
    keras_model *model = g->model;
    reference inputs[FV_MAX_INPUTS];
    int count = 0;
    fv_status status = read_ends(g, json_object_get(config, "input_layers"), 0, inputs, &count);
    if (!status && count != 1)
        return fv_fail(FV_UNSUPPORTED, "the model %.80s has %d inputs; nets here have one",
                       model->name ? model->name : "", count);
    if (status)
        return status;
    model->input = inputs[0].layer;
    model->layers[model->input].readers--; /* it was counted as read */
    status = read_ends(g, json_object_get(config, "output_layers"), 0, model->outputs,
                       &model->output_count);
    if (!status && model->output_count == 0)
        status =
            fv_fail(FV_FORMAT, "the model %.80s has no outputs", model->name ? model->name : "");
    return status;
}

static fv_status read_graph(graph *g, const json_t *config, const json_t *list) {
    keras_model *model = g->model;
    fv_status status = add_names(g);
    for (int i = 0; i < model->count && !status; i++) { /* before any history is read */
        const json_t *nodes = json_object_get(json_array_get(list, (size_t)i), "inbound_nodes");
        size_t calls = json_array_size(nodes);
        status = new_calls(&model->layers[i], calls ? calls : 1);
    }
    for (int i = 0; i < model->count && !status; i++)
        status = read_calls(g, json_object_get(json_array_get(list, (size_t)i), "inbound_nodes"),
                            &model->layers[i]);
    return status ? status : read_all_ends(g, config);
}

static fv_status read_functional(reading *r, const json_t *config, bool trainable,
                                 keras_model *model) {
    const json_t *list = json_object_get(config, "layers");
    size_t count = json_array_size(list);
    fv_status status = new_layers(model, count);
    for (size_t i = 0; i < count && !status; i++)
        status = read_layer(r, json_array_get(list, i), trainable, &model->layers[model->count++]);
    if (status)
        return status;
    graph g = {.model = model, .index = json_object()};
    status = g.index ? read_graph(&g, config, list) : FV_MEMORY;
    json_decref(g.index);
    return status;
}

/* ---- Models ---------------------------------------------------------------------------------- */

static fv_status read_model(reading *r, const json_t *json, bool trainable, keras_model **result) {
    const char *class_name = config_text(json, "class_name");
    const json_t *config = json_object_get(json, "config");
    if (!class_name || !is_model_class(class_name))
        return fv_fail(FV_UNSUPPORTED,
                       "the model is of the class %.80s; Sequential and Functional models can be "
                       "read (a subclass is Python code)",
                       class_name ? class_name : "?");
    if (r->depth == MOST_DEPTH)
        return fv_fail(FV_FORMAT, "models within models, more than %d deep", MOST_DEPTH);
    keras_model *model = *result = fv_alloc(1, sizeof *model);
    if (!model)
        return FV_MEMORY;
    model->name = config_text(config, "name");
    trainable = trainable && !json_is_false(json_object_get(config, "trainable"));
    r->depth++;
    fv_status status = strcmp(class_name, "Sequential") == 0
                           ? read_sequential(r, config, trainable, model)
                           : read_functional(r, config, trainable, model);
    r->depth--;
    return status;
}

fv_status model_read(const json_t *json, keras_model **model) {
    reading r = {0};
    *model = NULL;
    fv_status status = read_model(&r, json, true, model);
    if (status) {
        model_free(*model);
        *model = NULL;
    }
    return status;
}
