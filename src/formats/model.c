/* A net as a model file and back: its text and class names are metadata, its weights tensors.
 * Called by the public fv_save, fv_export and fv_net_load, and by train's checkpoints. */
#include "base/alloc.h"
#include "base/status.h"
#include "base/text.h"
#include "formats/formats.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef FV_HAVE_JSON
#include <jansson.h>
#endif

/* Of the metadata; a reader refuses a version that it does not know. */
static const char version_key[] = "fovea.version", version[] = "1";
static const char net_key[] = "fovea.net", classes_key[] = FV_CLASSES_KEY;

/* ---- Class names ----------------------------------------------------------------------------- */

static void free_names(char **names, int count) {
    for (int i = 0; names != NULL && i < count; i++)
        fv_free(names[i]);
    fv_free(names);
}

fv_status fv_set_class_names(fv_net *net, const char *const *names, int count) {
    if (count < 0)
        return fv_fail(FV_INVALID, "%d class names, expected 0 or more", count);
    char **copies = NULL;
    if (count > 0) {
        copies = fv_alloc((size_t)count, sizeof *copies);
        if (copies == NULL)
            return FV_MEMORY;
    }
    for (int i = 0; i < count; i++) {
        copies[i] = fv_copy_string(names[i]);
        if (copies[i] == NULL) {
            free_names(copies, count);
            return FV_MEMORY;
        }
    }
    free_names(net->class_names, net->class_count);
    net->class_names = copies;
    net->class_count = count;
    return FV_OK;
}

const char *fv_class_name(const fv_net *net, int index) {
    return index >= 0 && index < net->class_count ? net->class_names[index] : NULL;
}

#ifdef FV_HAVE_JSON

fv_status fv_classes_to_json(const fv_net *net, char **text) {
    json_t *array = json_array();
    bool good = array != NULL;
    for (int i = 0; good && i < net->class_count; i++)
        good = json_array_append_new(array, json_string(net->class_names[i])) == 0;
    size_t size = good ? json_dumpb(array, NULL, 0, JSON_COMPACT) : 0;
    fv_status status = FV_OK;
    if (size == 0)
        status = fv_fail(FV_INVALID, "a class name is not UTF-8, or memory ran out");
    else if ((*text = fv_alloc(size + 1, 1)) == NULL)
        status = FV_MEMORY;
    else if (json_dumpb(array, *text, size, JSON_COMPACT) != size)
        status = fv_fail(FV_MEMORY, "out of memory for the class names");
    json_decref(array);
    return status;
}

static fv_status set_classes(fv_net *net, const json_t *array) {
    size_t count = json_array_size(array);
    if (!json_is_array(array) || count > INT_MAX)
        return fv_fail(FV_FORMAT, "%s is no JSON array of names", classes_key);
    const char **names = fv_alloc(count, sizeof *names);
    if (names == NULL)
        return FV_MEMORY;
    fv_status status = FV_OK;
    for (size_t i = 0; i < count && status == FV_OK; i++) {
        names[i] = json_string_value(json_array_get(array, i));
        if (names[i] == NULL)
            status = fv_fail(FV_FORMAT, "%s[%zu] is no text, expected a name", classes_key, i);
    }
    if (status == FV_OK)
        status = fv_set_class_names(net, names, (int)count);
    fv_free(names);
    return status;
}

fv_status fv_classes_from_json(const char *text, fv_net *net) {
    json_error_t error;
    json_t *array = json_loads(text, 0, &error);
    fv_status status = set_classes(net, array);
    json_decref(array);
    return status;
}

#else

fv_status fv_classes_to_json(const fv_net *net, char **text) {
    (void)net, (void)text;
    return fv_fail(FV_UNSUPPORTED, "this build has no JSON: build fovea with -Djson=enabled");
}

fv_status fv_classes_from_json(const char *text, fv_net *net) {
    (void)text, (void)net;
    return fv_fail(FV_UNSUPPORTED, "this build has no JSON: build fovea with -Djson=enabled");
}

#endif

fv_status fv_model_supported(void) {
#ifdef FV_HAVE_JSON
    return FV_OK;
#else
    return fv_fail(FV_UNSUPPORTED,
                   "this build has no model files: build fovea with -Djson=enabled");
#endif
}

/* ---- Writing --------------------------------------------------------------------------------- */

static char *tensor_name(const fv_node *node, const fv_weight *weight) {
    fv_text text = {0};
    fv_text_add(&text, "%s.%s", node->name, weight->spec.name);
    return fv_text_take(&text);
}

void fv_net_tensors_free(fv_net_tensors *tensors) {
    for (size_t i = 0; i < tensors->count; i++)
        fv_free(tensors->entries[i].name);
    fv_free(tensors->entries);
    fv_free(tensors->values);
    *tensors = (fv_net_tensors){0};
}

static fv_status add_weight(const fv_net *net, const fv_node *node, const fv_weight *weight,
                            fv_net_tensors *tensors) {
    float *values = tensors->values + weight->offset;
    fv_status status = fv_weight_values(net, weight, values);
    if (status != FV_OK)
        return status;
    fv_tensor_entry *entry = &tensors->entries[tensors->count++];
    *entry = (fv_tensor_entry){.name = tensor_name(node, weight),
                               .dtype = "F32",
                               .count = weight->count,
                               .bytes = (const unsigned char *)values};
    entry->rank = fv_weight_file_shape(weight, entry->size);
    return entry->name == NULL ? FV_MEMORY : FV_OK;
}

fv_status fv_net_tensors_make(const fv_net *net, fv_net_tensors *tensors) {
    *tensors = (fv_net_tensors){0};
    if (!net->built)
        return fv_fail(FV_INVALID, "the net is not built yet and has no weights to write: call "
                                   "fv_net_build first");
    size_t count = 0;
    for (int i = 0; i < net->count; i++)
        count += (size_t)net->nodes[i].weight_count;
    tensors->entries = fv_alloc(count, sizeof *tensors->entries);
    tensors->values = fv_alloc(net->weight_size, sizeof *tensors->values);
    fv_status status = tensors->entries == NULL || tensors->values == NULL ? FV_MEMORY : FV_OK;
    for (int i = 0; i < net->count && status == FV_OK; i++) {
        const fv_node *node = &net->nodes[i];
        for (int w = 0; w < node->weight_count && status == FV_OK; w++)
            status = add_weight(net, node, &node->weights[w], tensors);
    }
    if (status != FV_OK)
        fv_net_tensors_free(tensors);
    return status;
}

/* The net's text, which the caller frees with fv_free_memory. */
static fv_status print_net(const fv_net *net, bool resolved, char **text) {
    fv_status status = fv_params_check(fv_train_params, &net->train); /* set by C code */
    *text = status == FV_OK ? fv_net_print(net, resolved) : NULL;
    return status == FV_OK && *text == NULL ? FV_MEMORY : status;
}

/* Writes the net's tensors with its text, class names (NULL: none) and what is extra. */
static fv_status write_model(const fv_net_tensors *tensors, const char *text, const char *classes,
                             const fv_model_extra *extra, const char *path) {
    size_t count = tensors->count + extra->count, pairs = 0;
    fv_tensor_entry *entries = fv_alloc(count, sizeof *entries);
    const char **keys = fv_alloc(3 + extra->pairs, sizeof *keys);
    const char **values = fv_alloc(3 + extra->pairs, sizeof *values);
    fv_status status = FV_MEMORY;
    if (entries != NULL && keys != NULL && values != NULL) {
        for (size_t i = 0; i < tensors->count; i++)
            entries[i] = tensors->entries[i];
        for (size_t i = 0; i < extra->count; i++)
            entries[tensors->count + i] = extra->entries[i];
        keys[pairs] = version_key, values[pairs++] = version;
        keys[pairs] = net_key, values[pairs++] = text;
        if (classes != NULL)
            keys[pairs] = classes_key, values[pairs++] = classes;
        for (size_t i = 0; i < extra->pairs; i++, pairs++)
            keys[pairs] = extra->keys[i], values[pairs] = extra->values[i];
        status = fv_tensors_write(path, entries, count, keys, values, pairs);
    }
    fv_free(entries);
    fv_free(keys);
    fv_free(values);
    return status;
}

fv_status fv_model_write(const fv_net *net, const char *path, const fv_model_extra *extra) {
    const fv_model_extra none = {0};
    fv_net_tensors tensors;
    char *text = NULL, *classes = NULL;
    fv_status status = fv_net_tensors_make(net, &tensors);
    if (status != FV_OK)
        return status;
    /* With every default written out: the file means the same when a default changes. */
    status = print_net(net, true, &text);
    if (status == FV_OK && net->class_count > 0)
        status = fv_classes_to_json(net, &classes);
    if (status == FV_OK)
        status = write_model(&tensors, text, classes, extra == NULL ? &none : extra, path);
    fv_free(classes);
    fv_free_memory(text);
    fv_net_tensors_free(&tensors);
    return status;
}

fv_status fv_save(const fv_net *net, const char *path) {
    return fv_model_write(net, path, NULL);
}

static fv_status write_text(const fv_net *net, const char *path) {
    char *text;
    fv_status status = print_net(net, false, &text);
    if (status != FV_OK)
        return status;
    fv_writer writer;
    status = fv_writer_open(&writer, path);
    if (status == FV_OK) {
        fv_write(&writer, text, strlen(text));
        status = fv_writer_commit(&writer);
    }
    fv_free_memory(text);
    return status;
}

/* libhdf5 is not trusted in the host's process: the command starts a program of its own. */
static fv_status refuse_keras(const fv_net *net, const char *path) {
    (void)net;
    return fv_fail(FV_UNSUPPORTED,
                   "%s: the library does not write files of Keras; save a model and use `fovea "
                   "export model.safetensors %s`",
                   path, path);
}

/* What fv_export writes, by suffix. */
static const struct {
    const char *suffix;
    fv_status (*write)(const fv_net *net, const char *path);
} exports[] = {{".safetensors", fv_save},
               {".npz", fv_npz_write},
               {".net", write_text},
               {".onnx", fv_onnx_export},
               {".keras", refuse_keras}};

static bool ends_with(const char *text, const char *end) {
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

fv_status fv_export(const fv_net *net, const char *path) {
    static const char known[] = ".safetensors, .npz, .onnx and .net";
    for (size_t i = 0; i < sizeof exports / sizeof exports[0]; i++) {
        if (ends_with(path, exports[i].suffix))
            return exports[i].write(net, path);
    }
    return fv_fail(FV_INVALID, "%s: no format of that suffix: it must be one of %s", path, known);
}

/* ---- Reading --------------------------------------------------------------------------------- */

enum { SIZES_TEXT = 192 };

/* "[32, 1, 3, 3]" into text; returns it. */
static const char *sizes_text(int rank, const size_t *size, char text[SIZES_TEXT]) {
    int used = snprintf(text, SIZES_TEXT, "[");
    for (int i = 0; i < rank; i++)
        used +=
            snprintf(text + used, (size_t)(SIZES_TEXT - used), i == 0 ? "%zu" : ", %zu", size[i]);
    snprintf(text + used, (size_t)(SIZES_TEXT - used), "]");
    return text;
}

/* The tensor of a weight, checked; NULL with a message when there is none that fits. */
static fv_status find_weight(const fv_tensors *tensors, const fv_node *node,
                             const fv_weight *weight, const fv_tensor_entry **found) {
    size_t size[FV_MAX_RANK];
    int rank = fv_weight_file_shape(weight, size);
    char needed[SIZES_TEXT], there[SIZES_TEXT];
    sizes_text(rank, size, needed);
    char *name = tensor_name(node, weight);
    if (name == NULL)
        return FV_MEMORY;
    const fv_tensor_entry *entry = fv_tensors_find(tensors, name);
    fv_status status = FV_OK;
    if (entry == NULL)
        status = fv_fail(FV_FORMAT,
                         "tensor \"%s\" is missing, the net needs %s: the file is of "
                         "another net",
                         name, needed);
    else if (strcmp(entry->dtype, "F32") != 0)
        status = fv_fail(FV_FORMAT, "tensor \"%s\" is %s, expected F32: store it as F32", name,
                         entry->dtype);
    else if (entry->rank != rank || memcmp(entry->size, size, (size_t)rank * sizeof size[0]) != 0)
        status = fv_fail(FV_SHAPE, "tensor \"%s\" is %s in the file, the net needs %s", name,
                         sizes_text(entry->rank, entry->size, there), needed);
    fv_free(name);
    *found = entry;
    return status;
}

static fv_status read_weight(const fv_tensor_entry *entry, const fv_weight *weight, fv_net *net) {
    real *values = net->weights + weight->offset;
    if ((uintptr_t)entry->bytes % _Alignof(float) == 0) {
        fv_weight_from_file(weight, (const float *)(const void *)entry->bytes, values);
        return FV_OK;
    }
    float *aligned = fv_alloc(weight->count, sizeof *aligned);
    if (aligned == NULL)
        return FV_MEMORY;
    memcpy(aligned, entry->bytes, weight->count * sizeof *aligned);
    fv_weight_from_file(weight, aligned, values);
    fv_free(aligned);
    return FV_OK;
}

/* Checks all weights and notes where they are, or (with `read`) reads them. */
static fv_status visit_weights(const fv_tensors *tensors, fv_net *net, bool read) {
    for (int i = 0; i < net->count; i++) {
        const fv_node *node = &net->nodes[i];
        for (int w = 0; w < node->weight_count; w++) {
            const fv_tensor_entry *entry = NULL;
            fv_weight *weight = &net->nodes[i].weights[w];
            fv_status status = find_weight(tensors, node, weight, &entry);
            if (status == FV_OK && read)
                status = read_weight(entry, weight, net);
            else if (status == FV_OK)
                weight->file_at = (size_t)(entry->bytes - tensors->mapping.bytes);
            if (status != FV_OK)
                return status;
        }
    }
    return FV_OK;
}

fv_status fv_model_read_weights(const fv_tensors *tensors, fv_net *net) {
    /* First all are checked, so that a file that does not fit leaves the net as it was. */
    fv_status status = visit_weights(tensors, net, false);
    if (status == FV_OK)
        status = fv_net_make_room(net);
    return status == FV_OK ? visit_weights(tensors, net, true) : status;
}

/* Where the weights are, and the class names. */
static fv_status find_parts(const fv_tensors *tensors, fv_net *net) {
    fv_status status = visit_weights(tensors, net, false);
    const char *classes = fv_tensors_metadata(tensors, classes_key);
    if (status == FV_OK && classes != NULL)
        status = fv_classes_from_json(classes, net);
    return status;
}

/* The net of an open file, complete; NULL with a message. */
static fv_net *read_net(fv_tensors *tensors, const char *path, const char *const *settings,
                        int setting_count) {
    const char *text = fv_tensors_metadata(tensors, net_key);
    const char *written = fv_tensors_metadata(tensors, version_key);
    if (text == NULL) {
        fv_fail(FV_FORMAT,
                "%s: only weights, no net: its metadata has no \"%s\". Give a model file that "
                "fovea saved, or make one of these weights and their net: `fovea convert NET "
                "WEIGHTS OUT`",
                path, net_key);
        return NULL;
    }
    if (written != NULL && strcmp(written, version) != 0) {
        fv_fail(FV_FORMAT,
                "%s: a model of another version (\"%.20s\", expected \"%s\"): use a "
                "newer fovea",
                path, written, version);
        return NULL;
    }
    size_t most = tensors->mapping.size / sizeof(float);
    fv_net *net = fv_net_parse_model(text, strlen(text), path, settings, setting_count, most);
    if (net == NULL)
        return NULL;
    fv_status status = find_parts(tensors, net);
    if (status != FV_OK) {
        fv_fail_in(status, "%s", path);
        fv_net_free(net);
        return NULL;
    }
    fv_net_leave_in_file(net, &tensors->file);
    net->initialized = true;
    return net;
}

fv_net *fv_model_load(const char *path, const char *const *settings, int setting_count) {
    fv_tensors tensors;
    if (fv_tensors_open(path, &tensors) != FV_OK)
        return NULL;
    fv_net *net = read_net(&tensors, path, settings, setting_count);
    fv_tensors_close(&tensors);
    return net;
}
