/* fovea-keras import: a .keras or .h5 file as a model file of ours. Called by program.c. */
#include "base/file.h"
#include "keras.h"
#include <string.h>
#include <sys/stat.h>

enum { MOST_DIMENSION = 1 << 30 };
static const size_t most_weights = (size_t)1 << 36; /* bytes of a weights file */

/* The parts of a file. */
typedef struct parts {
    json_t *config;   /* {"class_name":, "config":} */
    json_t *compiled; /* optimiser and loss; may be NULL */
    json_t *metadata; /* of a .keras file; may be NULL */
    store *file;
    size_t size; /* bytes of the HDF5 file */
    bool legacy, keras_2;
} parts;

static void parts_close(parts *p) {
    json_decref(p->config);
    json_decref(p->compiled);
    json_decref(p->metadata);
    store_close(p->file);
}

static fv_status parse(const char *bytes, size_t size, const char *what, json_t **json) {
    json_error_t error;
    *json = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &error);
    if (*json)
        return FV_OK;
    return fv_fail(FV_FORMAT, "%s is no JSON: %s (line %d, column %d)", what, error.text,
                   error.line, error.column);
}

/* ---- .keras ---------------------------------------------------------------------------------- */

static fv_status read_member(const char *path, const char *name, json_t **json) {
    char *bytes;
    size_t size;
    fv_status status = archive_read(path, name, MOST_JSON, &bytes, &size);
    if (!status)
        status = parse(bytes, size, name, json);
    fv_free(bytes);
    return status;
}

static fv_status open_archive(const char *path, parts *p) {
    char *bytes = NULL;
    fv_status status = read_member(path, "config.json", &p->config);
    if (!status)
        status = read_member(path, "metadata.json", &p->metadata);
    if (!status)
        status = archive_read(path, "model.weights.h5", most_weights, &bytes, &p->size);
    if (!status) {
        p->file = store_open_image(bytes, p->size);
        status = p->file ? FV_OK : fv_error_status();
        json_t *compiled = json_object_get(p->config, "compile_config");
        p->compiled = json_incref(compiled);
    }
    fv_free(bytes);
    return status;
}

/* ---- .h5 ------------------------------------------------------------------------------------- */

/* "2.4.0": Keras 2. Before that weights were in other orders. */
static fv_status check_version(parts *p) {
    char *version = NULL, *backend = NULL;
    fv_status status = store_text(p->file, "", "keras_version", &version);
    if (!status && !version)
        status = store_text(p->file, "model_weights", "keras_version", &version);
    if (!status)
        status = store_text(p->file, "model_weights", "backend", &backend);
    if (!status && (!version || version[0] < '2'))
        status = fv_fail(FV_UNSUPPORTED,
                         "it was saved by Keras %.20s; files of Keras 2 and 3 can be read",
                         version ? version : "1");
    if (!status && backend && strcmp(backend, "theano") == 0)
        status = fv_fail(FV_UNSUPPORTED,
                         "it was saved with the backend theano, which flips kernels (save it with "
                         "TensorFlow)");
    p->keras_2 = version && version[0] == '2';
    fv_free(version);
    fv_free(backend);
    return status;
}

static fv_status read_attribute(const parts *p, const char *name, json_t **json) {
    char *text;
    fv_status status = store_text(p->file, "", name, &text);
    if (!status && text)
        status = parse(text, strlen(text), name, json);
    fv_free(text);
    return status;
}

static fv_status open_hdf5(const char *path, parts *p) {
    struct stat about;
    p->legacy = true;
    p->file = store_open(path);
    if (!p->file || stat(path, &about) != 0)
        return p->file ? fv_fail(FV_IO, "cannot be read") : fv_error_status();
    p->size = (size_t)about.st_size;
    fv_status status = read_attribute(p, "model_config", &p->config);
    if (!status && !p->config)
        status = fv_fail(FV_FORMAT, "it holds no model, at most weights (save the whole model: "
                                    "model.save(\"model.keras\"))");
    if (!status)
        status = read_attribute(p, "training_config", &p->compiled);
    return status ? status : check_version(p);
}

/* ---- The net --------------------------------------------------------------------------------- */

/* Names of the classes, which our own export leaves in metadata.json. */
static fv_status set_classes(fv_net *net, const json_t *metadata) {
    const json_t *list = json_object_get(json_object_get(metadata, "fovea"), "classes");
    size_t count = json_array_size(list);
    if (count == 0 || count > MOST_DIMENSION)
        return FV_OK;
    const char **names = fv_alloc(count, sizeof *names);
    fv_status status = names ? FV_OK : FV_MEMORY;
    for (size_t i = 0; i < count && !status; i++) {
        names[i] = json_string_value(json_array_get(list, i));
        if (!names[i])
            status = fv_fail(FV_FORMAT, "metadata.json: class %zu has no name", i);
    }
    if (!status)
        status = fv_set_class_names(net, names, (int)count);
    fv_free(names);
    return status;
}

static fv_status make_net(const parts *p, const keras_model *model, const char *output) {
    import_state importer = {.net = fv_net_new(),
                             .file = p->file,
                             .keras_2 = p->keras_2,
                             .most = p->size / 2}; /* weights of 16 bits or more */
    fv_status status = importer.net ? net_make(&importer, model) : FV_MEMORY;
    if (!status)
        status = weights_read(&importer);
    if (!status)
        status = training_read(p->compiled, importer.net);
    if (!status)
        status = set_classes(importer.net, p->metadata);
    if (!status)
        status = fv_save(importer.net, output);
    import_state_free(&importer);
    return status;
}

static bool is_archive(const char *path) {
    static const char suffix[] = ".keras";
    size_t size = strlen(path), tail = sizeof suffix - 1;
    return size > tail && strcmp(path + size - tail, suffix) == 0;
}

fv_status keras_import(const char *path, const char *output) {
    parts p = {0};
    keras_model *model = NULL;
    fv_status status = fv_is_file(path) ? FV_OK : fv_fail(FV_IO, "no such file");
    if (!status)
        status = is_archive(path) ? open_archive(path, &p) : open_hdf5(path, &p);
    if (!status)
        status = model_read(p.config, &model);
    if (!status)
        status = variables_locate(model, p.file, p.legacy);
    if (!status)
        status = make_net(&p, model, output);
    model_free(model);
    parts_close(&p);
    return status ? fv_fail_in(status, "%s", path) : FV_OK;
}
