/* Messages and small helpers that several verbs need. Called by the verbs. */
#include "cli.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* ---- Messages -------------------------------------------------------------------------------- */

int fail(const cli_call *call) {
    fprintf(stderr, "fovea %s: %s\n", call->verb->name, fv_error_message());
    return EXIT_FAILURE;
}

int fail_with(const cli_call *call, const char *format, ...) {
    va_list values;
    va_start(values, format);
    fprintf(stderr, "fovea %s: ", call->verb->name);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    va_end(values);
    return EXIT_FAILURE;
}

int wrong_use(const cli_call *call, const char *format, ...) {
    va_list values;
    va_start(values, format);
    fprintf(stderr, "fovea %s: ", call->verb->name);
    vfprintf(stderr, format, values);
    fprintf(stderr, "; see `fovea help %s`\n", call->verb->name);
    va_end(values);
    return EXIT_WRONG_USE;
}

int out_of_memory(const cli_call *call) {
    return fail_with(call, "out of memory");
}

/* ---- Text ------------------------------------------------------------------------------------ */

bool ends_with(const char *text, const char *ending) {
    size_t length = strlen(text), tail = strlen(ending);
    return length >= tail && strcmp(text + length - tail, ending) == 0;
}

char *text_new(const char *format, ...) {
    char *text = NULL;
    va_list values;
    va_start(values, format);
    if (vasprintf(&text, format, values) < 0)
        text = NULL;
    va_end(values);
    return text;
}

const char *shape_text(const fv_shape *shape, char text[64]) {
    size_t used = 0;
    for (int i = 0; i < shape->rank && i < 3; i++) {
        if (shape->size[i] == FV_ANY)
            used += (size_t)snprintf(text + used, 64 - used, "*x");
        else
            used += (size_t)snprintf(text + used, 64 - used, "%dx", shape->size[i]);
    }
    snprintf(text + used, 64 - used, "%d", shape->channels);
    return text;
}

const char *count_text(int64_t count, char text[32]) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRId64, count);
    char *end = text;
    for (int i = 0; i < length; i++) {
        *end++ = digits[i];
        int left = length - 1 - i;
        if (left > 0 && left % 3 == 0 && digits[i] != '-')
            *end++ = ',';
    }
    *end = 0;
    return text;
}

/* ---- Data and models ------------------------------------------------------------------------- */

char *data_name(const char *text, const char *fallback, const char **split) {
    static const char *const splits[] = {"train", "val", "test"};
    const char *colon = strrchr(text, ':');
    *split = fallback;
    for (size_t i = 0; colon && i < sizeof splits / sizeof *splits; i++) {
        if (strcmp(colon + 1, splits[i]) == 0) {
            *split = splits[i];
            return text_new("%.*s", (int)(colon - text), text);
        }
    }
    return text_new("%s", text);
}

fv_data *data_open(const char *text, const char *fallback_split) {
    const char *split;
    char *name = data_name(text, fallback_split, &split);
    fv_data *data = name ? fv_data_open(name, split) : NULL;
    free(name);
    return data;
}

bool is_model_file(const char *path) {
    return ends_with(path, ".safetensors") || ends_with(path, ".onnx") || is_keras_file(path);
}

fv_net *net_load(const cli_call *call, const char *path, const cli_texts *settings) {
    const char *const *items = settings ? settings->items : NULL;
    int count = settings ? settings->count : 0;
    if (is_keras_file(path))
        return keras_load(call, path, items, count);
    fv_net *net = fv_net_load_with(path, items, count);
    if (!net)
        fail(call);
    return net;
}

int net_export(const cli_call *call, const fv_net *net, const char *path) {
    if (ends_with(path, ".keras"))
        return keras_save(call, net, path);
    return fv_export(net, path) ? fail(call) : EXIT_SUCCESS;
}

int models_load(const cli_call *call, const char *const *paths, int count,
                const cli_texts *settings, fv_net **nets) {
    for (int i = 0; i < count; i++) {
        if (!is_model_file(paths[i]))
            return wrong_use(call,
                             "%s has no trained weights: give a model: a .safetensors file, as "
                             "`fovea train` writes it, .onnx, .keras or .h5",
                             paths[i]);
    }
    for (int i = 0; i < count; i++) {
        nets[i] = net_load(call, paths[i], settings);
        if (!nets[i])
            return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

void models_free(fv_net **nets, int count) {
    for (int i = 0; nets && i < count; i++)
        fv_net_free(nets[i]);
}

fv_status find_layer(const fv_net *net, const char *name, fv_layer_info *info) {
    fv_status status = FV_INVALID;
    for (int i = 0; status == FV_INVALID && i < fv_layer_count(net); i++) {
        fv_status described = fv_layer_describe(net, i, info);
        if (described || strcmp(info->name, name) == 0)
            status = described;
    }
    return status;
}

fv_status main_output(const fv_net *net, fv_layer_info *info) {
    return find_layer(net, fv_output_name(net, fv_output_count(net) - 1), info);
}

bool input_varies(const fv_net *net) {
    fv_shape shape = fv_input_shape(net);
    bool varies = false;
    for (int i = 0; i < shape.rank; i++)
        varies = varies || shape.size[i] == FV_ANY;
    return varies;
}

fv_shape input_shape_for(const fv_net *net, const fv_shape *sample) {
    fv_shape shape = fv_input_shape(net);
    for (int i = 0; i < shape.rank && i < sample->rank; i++)
        if (shape.size[i] == FV_ANY)
            shape.size[i] = sample->size[i];
    return shape;
}

/* ---- The system ------------------------------------------------------------------------------ */

bool make_folder(const char *path) {
    char *copy = text_new("%s", path);
    if (!copy) {
        errno = ENOMEM;
        return false;
    }
    for (char *slash = copy + 1; *copy && *slash; slash++) {
        if (*slash != '/')
            continue;
        *slash = 0;
        mkdir(copy, 0777); /* whether this helped shows at the last one */
        *slash = '/';
    }
    bool made = mkdir(copy, 0777) == 0;
    struct stat status;
    if (!made && errno == EEXIST && stat(copy, &status) == 0)
        made = S_ISDIR(status.st_mode);
    free(copy);
    return made;
}

double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
