/* Nets from files: by path, told by suffix, or by the name of one of the installed nets. The public
 * fv_net_load. */
#include "base/file.h"
#include "base/text.h"
#include "folders.h"
#include "formats/formats.h"
#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static bool has_suffix(const char *text, const char *suffix) {
    size_t size = strlen(text), tail = strlen(suffix);
    return size > tail && strcmp(text + size - tail, suffix) == 0;
}

/* Where nets are looked for by name, in this order; returns how many folders. */
static int net_folders(const char *folders[3]) {
    int count = 0;
    const char *chosen = getenv("FOVEA_NETS");
    if (chosen && *chosen) {
        folders[count++] = chosen;
    }
    folders[count++] = FV_NETS_FOLDER;
    folders[count++] = FV_SOURCE_NETS;
    return count;
}

/* Copies into `near` the name of the net in this folder that is nearest to `name`, if one is
 * nearer than what stands there. */
static void find_near(const char *folder, const char *name, char near[FV_NAME_SIZE]) {
    DIR *open = opendir(folder);
    for (struct dirent *entry = open ? readdir(open) : NULL; entry; entry = readdir(open)) {
        size_t size = strlen(entry->d_name);
        if (!has_suffix(entry->d_name, ".net") || size - 4 >= FV_NAME_SIZE) {
            continue;
        }
        char found[FV_NAME_SIZE];
        memcpy(found, entry->d_name, size - 4);
        found[size - 4] = 0;
        const char *candidates[] = {near[0] ? near : found, found, NULL};
        const char *nearest = fv_nearest(name, candidates);
        if (nearest == found) {
            memcpy(near, found, sizeof found);
        }
    }
    if (open) {
        closedir(open);
    }
}

static fv_status fail_unknown_net(const char *name) {
    const char *folders[3];
    char near[FV_NAME_SIZE] = "";
    fv_text places = {0};
    int count = net_folders(folders);
    for (int i = 0; i < count; i++) {
        find_near(folders[i], name, near);
        fv_text_add(&places, "%s%s", i > 0 ? ", " : "", folders[i]);
    }
    char *looked = fv_text_take(&places);
    if (!looked) {
        return FV_MEMORY;
    }
    fv_fail(FV_IO,
            "no net is called \"%.63s\"; looked in %.600s%s%s%s (a file is given with its "
            "suffix or a slash, as ./%.63s)",
            name, looked, near[0] ? "; did you mean \"" : "", near, near[0] ? "\"?" : "", name);
    fv_free(looked);
    return FV_IO;
}

/* Into *path, which the caller frees, the path of NAME.net in the folders of nets. */
static fv_status find_named(const char *name, char **path) {
    const char *folders[3];
    int count = net_folders(folders);
    for (int i = 0; i < count; i++) {
        fv_text text = {0};
        fv_text_add(&text, "%s/%s.net", folders[i], name);
        *path = fv_text_take(&text);
        if (!*path) {
            return FV_MEMORY;
        }
        if (fv_is_file(*path)) {
            return FV_OK;
        }
        fv_free(*path);
    }
    *path = NULL;
    return fail_unknown_net(name);
}

/* With a slash or a suffix, which begins with a letter: squeezenet1.1 has none. */
static bool is_path(const char *name) {
    const char *dot = strrchr(name, '.');
    return strchr(name, '/') || (dot && isalpha((unsigned char)dot[1]));
}

/* The path of a file that a file named `beside` names. */
static fv_status find_beside(const char *name, const char *beside, char **path) {
    if (!beside) {
        return fv_fail(FV_INVALID,
                       "\"%.200s\" is a path, beside which file is not known: a text that is no "
                       "file can use nets by their names only",
                       name);
    }
    while (name[0] == '.' && name[1] == '/') {
        name += 2;
    }
    const char *slash = *name == '/' ? NULL : strrchr(beside, '/');
    fv_text text = {0};
    fv_text_add_bytes(&text, beside, slash ? (size_t)(slash - beside) + 1 : 0);
    fv_text_add(&text, "%s", name);
    *path = fv_text_take(&text);
    return *path ? FV_OK : FV_MEMORY;
}

/* See fv_net_finder. */
static fv_status find_net(const char *name, const char *beside, char **path, char **text,
                          size_t *size) {
    fv_status status = is_path(name) ? find_beside(name, beside, path) : find_named(name, path);
    return status == FV_OK ? fv_read_file(*path, FV_MOST_TEXT, text, size) : status;
}

static fv_net *load_text(const char *path, const char *const *settings, int setting_count) {
    char *text;
    size_t size;
    if (fv_read_file(path, FV_MOST_TEXT, &text, &size) != FV_OK) {
        return NULL;
    }
    fv_net *net = fv_net_read(&(fv_net_text){.bytes = text,
                                             .size = size,
                                             .name = path,
                                             .is_file = true,
                                             .find = find_net,
                                             .settings = settings,
                                             .setting_count = setting_count});
    fv_free(text);
    return net;
}

static fv_net *load_named(const char *name, const char *const *settings, int setting_count) {
    char *path;
    if (find_named(name, &path) != FV_OK) {
        return NULL;
    }
    fv_net *net = load_text(path, settings, setting_count);
    fv_free(path);
    return net;
}

fv_net *fv_net_load_with(const char *path, const char *const *settings, int count) {
    if (!path || !*path) {
        fv_fail(FV_INVALID, "no name of a net was given");
        return NULL;
    }
    if (has_suffix(path, ".keras") || has_suffix(path, ".h5")) {
        fv_fail(FV_UNSUPPORTED,
                "%s: the library does not read files of Keras; convert it: `fovea export %s "
                "model.safetensors`",
                path, path);
        return NULL;
    }
    if (has_suffix(path, ".safetensors")) {
        return fv_model_load(path, settings, count);
    }
    if (has_suffix(path, ".onnx")) {
        return fv_onnx_load(path, settings, count);
    }
    return is_path(path) ? load_text(path, settings, count) : load_named(path, settings, count);
}

fv_net *fv_net_load(const char *path) {
    return fv_net_load_with(path, NULL, 0);
}

fv_net *fv_net_parse(const char *text, const char *name) {
    if (!text) {
        fv_fail(FV_INVALID, "no text of a net was given");
        return NULL;
    }
    return fv_net_read(&(fv_net_text){
        .bytes = text, .size = strlen(text), .name = name ? name : "net", .find = find_net});
}
