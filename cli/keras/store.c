/* HDF5 files, by libhdf5: arrays and texts by their paths, of bounded sizes. Only what Keras writes
 * is read: no links that lead elsewhere, no arrays in other files, no filters. Called by
 * variables.c, weights.c, import.c and export.c. */
#include "keras.h"
#include <hdf5.h>
#include <string.h>

enum { MOST_TEXTS = 1 << 20, GROWTH = 1 << 20 };

struct store {
    hid_t file;
};

/* ---- Opening --------------------------------------------------------------------------------- */

static void be_quiet(void) {
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* messages are ours */
    H5PLset_loading_state(0);              /* no code from anywhere */
}

static store *wrap(hid_t file) {
    store *s = file >= 0 ? fv_alloc(1, sizeof *s) : NULL;
    if (s)
        s->file = file;
    else if (file >= 0)
        H5Fclose(file);
    return s;
}

store *store_open(const char *path) {
    be_quiet();
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0)
        fv_fail(FV_FORMAT, "no readable HDF5 file");
    return wrap(file);
}

/* Properties of a file in memory, never on disk. */
static hid_t in_memory(void) {
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (access >= 0 && H5Pset_fapl_core(access, GROWTH, 0) < 0) {
        H5Pclose(access);
        return -1;
    }
    return access;
}

store *store_open_image(const char *bytes, size_t size) {
    be_quiet();
    hid_t access = in_memory(), file = -1;
    if (size > 0 && access >= 0 && H5Pset_file_image(access, (void *)(uintptr_t)bytes, size) >= 0)
        file = H5Fopen("weights", H5F_ACC_RDONLY, access);
    if (access >= 0)
        H5Pclose(access);
    if (file < 0)
        fv_fail(FV_FORMAT, "its weights are no readable HDF5 file");
    return wrap(file);
}

store *store_new(void) {
    be_quiet();
    hid_t access = in_memory();
    hid_t file = access >= 0 ? H5Fcreate("weights", H5F_ACC_TRUNC, H5P_DEFAULT, access) : -1;
    if (access >= 0)
        H5Pclose(access);
    if (file < 0)
        fv_fail(FV_MEMORY, "cannot make an HDF5 file in memory");
    return wrap(file);
}

void store_close(store *file) {
    if (!file)
        return;
    H5Fclose(file->file);
    fv_free(file);
}

/* ---- Paths ----------------------------------------------------------------------------------- */

/* Whether each part of the path is there and a hard link; 1, 0, or -1 after a message. */
static int look(store *file, const char *path) {
    char *part = fv_copy_string(path);
    int found = part ? 1 : -1;
    for (size_t i = 1; found == 1 && i <= strlen(path); i++) {
        if (path[i] && path[i] != '/')
            continue;
        part[i] = 0;
        H5L_info_t info;
        if (H5Lexists(file->file, part, H5P_DEFAULT) <= 0)
            found = 0;
        else if (H5Lget_info(file->file, part, &info, H5P_DEFAULT) < 0 ||
                 info.type != H5L_TYPE_HARD) {
            fv_fail(FV_FORMAT, "%s leads to another place; only what lies in the file is read",
                    part);
            found = -1;
        }
        part[i] = path[i];
    }
    fv_free(part);
    return found;
}

static fv_status fail_damaged(const char *path, const char *what) {
    return fv_fail(FV_FORMAT, "%s of %s cannot be read: the file is damaged", what, path);
}

/* ---- Attributes ------------------------------------------------------------------------------ */

typedef struct attribute {
    hid_t object, id, type;
    size_t count;
} attribute;

static void attribute_close(attribute *a) {
    if (a->type >= 0)
        H5Tclose(a->type);
    if (a->id >= 0)
        H5Aclose(a->id);
    if (a->object >= 0)
        H5Oclose(a->object);
}

/* Opens it; a->id is -1 where there is none. */
static fv_status attribute_open(store *file, const char *group, const char *name, attribute *a) {
    *a = (attribute){.object = -1, .id = -1, .type = -1};
    int found = *group ? look(file, group) : 1;
    if (found < 0)
        return FV_FORMAT;
    a->object = found ? H5Oopen(file->file, *group ? group : "/", H5P_DEFAULT) : -1;
    if (found && a->object < 0)
        return fail_damaged(*group ? group : "/", "the group");
    if (!found || H5Aexists(a->object, name) <= 0)
        return FV_OK;
    a->id = H5Aopen(a->object, name, H5P_DEFAULT);
    a->type = a->id >= 0 ? H5Aget_type(a->id) : -1;
    hid_t space = a->id >= 0 ? H5Aget_space(a->id) : -1;
    hssize_t count = space >= 0 ? H5Sget_simple_extent_npoints(space) : -1;
    if (space >= 0)
        H5Sclose(space);
    if (a->type < 0 || count < 0)
        return fail_damaged(name, "the type");
    if (count > MOST_TEXTS)
        return fv_fail(FV_FORMAT, "the attribute %s has %lld entries; at most %d are read", name,
                       (long long)count, MOST_TEXTS);
    a->count = (size_t)count;
    return FV_OK;
}

/* Appends copies of texts of varying length. */
static fv_status read_varying(const attribute *a, const char *name, texts *list) {
    char **found = fv_alloc(a->count + 1, sizeof *found);
    if (!found)
        return FV_MEMORY;
    fv_status status = H5Aread(a->id, a->type, found) < 0 ? fail_damaged(name, "the text") : FV_OK;
    for (size_t i = 0; i < a->count && !status; i++) {
        list->items[list->count] = fv_copy_string(found[i] ? found[i] : "");
        status = list->items[list->count] ? FV_OK : FV_MEMORY;
        list->count += !status;
    }
    for (size_t i = 0; i < a->count; i++)
        H5free_memory(found[i]);
    fv_free(found);
    return status;
}

/* ... of texts of one length, ended by it or by a 0. */
static fv_status read_fixed(const attribute *a, const char *name, texts *list) {
    size_t width = H5Tget_size(a->type), bytes;
    if (width == 0 || !fv_size_product(width, a->count, &bytes) || bytes > MOST_JSON)
        return fv_fail(FV_FORMAT, "the attribute %s has texts of %zu bytes; at most %d are read",
                       name, width, MOST_JSON);
    char *found = fv_alloc(bytes + 1, 1);
    if (!found)
        return FV_MEMORY;
    fv_status status = H5Aread(a->id, a->type, found) < 0 ? fail_damaged(name, "the text") : FV_OK;
    for (size_t i = 0; i < a->count && !status; i++) {
        size_t length = strnlen(found + i * width, width);
        char *copy = fv_alloc(length + 1, 1);
        if (!copy) {
            status = FV_MEMORY;
            continue;
        }
        memcpy(copy, found + i * width, length);
        list->items[list->count++] = copy;
    }
    fv_free(found);
    return status;
}

/* Appends the texts of one attribute; *found: there is one. An empty list may be of any type. */
static fv_status add_texts(store *file, const char *group, const char *name, texts *list,
                           bool *found) {
    attribute a;
    fv_status status = attribute_open(file, group, name, &a);
    *found = !status && a.id >= 0;
    if (*found && a.count > 0) {
        char **items = fv_realloc(list->items, list->count, list->count + a.count, sizeof *items);
        if (items)
            list->items = items;
        if (!items)
            status = FV_MEMORY;
        else if (H5Tget_class(a.type) != H5T_STRING)
            status = fv_fail(FV_FORMAT, "the attribute %s is no text", name);
        else
            status = H5Tis_variable_str(a.type) > 0 ? read_varying(&a, name, list)
                                                    : read_fixed(&a, name, list);
    }
    attribute_close(&a);
    return status;
}

void texts_free(texts *list) {
    for (size_t i = 0; i < list->count; i++)
        fv_free(list->items[i]);
    fv_free(list->items);
    *list = (texts){0};
}

fv_status store_texts(store *file, const char *group, const char *name, texts *list) {
    *list = (texts){0};
    bool found;
    fv_status status = add_texts(file, group, name, list, &found);
    for (int part = 0; !status && (part == 0 || found) && list->count < MOST_TEXTS; part++) {
        char piece[64];
        snprintf(piece, sizeof piece, "%.40s%d", name, part);
        status = add_texts(file, group, piece, list, &found);
    }
    if (status)
        texts_free(list);
    return status;
}

fv_status store_text(store *file, const char *group, const char *name, char **text) {
    texts list = {0};
    bool found;
    *text = NULL;
    fv_status status = add_texts(file, group, name, &list, &found);
    if (!status && found && list.count != 1)
        status =
            fv_fail(FV_FORMAT, "the attribute %s has %zu texts; expected one", name, list.count);
    if (!status && found) {
        *text = list.items[0];
        list.count = 0;
    }
    texts_free(&list);
    return status;
}

/* ---- Arrays ---------------------------------------------------------------------------------- */

/* Numbers of floating point, in one piece, in this file. */
static fv_status check_layout(hid_t set, const char *path) {
    hid_t type = H5Dget_type(set), plan = H5Dget_create_plist(set);
    fv_status status = FV_OK;
    H5D_layout_t layout = plan >= 0 ? H5Pget_layout(plan) : H5D_LAYOUT_ERROR;
    if (type < 0 || plan < 0)
        status = fail_damaged(path, "the type");
    else if (H5Tget_class(type) != H5T_FLOAT)
        status = fv_fail(FV_FORMAT, "%s holds no floating-point numbers", path);
    else if ((layout != H5D_CONTIGUOUS && layout != H5D_COMPACT) ||
             H5Pget_external_count(plan) != 0)
        status = fv_fail(FV_FORMAT,
                         "%s is compressed or not in one piece, which Keras never writes (save the "
                         "model by Keras again)",
                         path);
    if (type >= 0)
        H5Tclose(type);
    if (plan >= 0)
        H5Pclose(plan);
    return status;
}

static fv_status read_sizes(hid_t set, const char *path, size_t most, array *a, size_t *count) {
    hid_t space = H5Dget_space(set);
    hsize_t sizes[FV_MAX_RANK] = {0};
    int rank = space >= 0 ? H5Sget_simple_extent_ndims(space) : -1;
    bool good = rank >= 0 && rank <= FV_MAX_RANK && H5Sis_simple(space) > 0 &&
                H5Sget_simple_extent_dims(space, sizes, NULL) >= 0;
    if (space >= 0)
        H5Sclose(space);
    if (!good)
        return fv_fail(FV_FORMAT, "%s has %d axes; at most %d are read", path, rank, FV_MAX_RANK);
    *count = 1;
    a->rank = rank;
    for (int i = 0; i < rank && good; i++) {
        a->size[i] = (size_t)sizes[i];
        good = fv_size_product(*count, a->size[i], count) && *count <= most;
    }
    return good ? FV_OK
                : fv_fail(FV_FORMAT, "%s has more values than the %zu that are expected", path,
                          most);
}

fv_status store_read(store *file, const char *path, size_t most, array *a) {
    *a = (array){0};
    size_t count = 0;
    int found = look(file, path);
    if (found <= 0)
        return found < 0 ? FV_FORMAT : fv_fail(FV_FORMAT, "there is no %s in the file", path);
    hid_t set = H5Dopen2(file->file, path, H5P_DEFAULT);
    if (set < 0)
        return fv_fail(FV_FORMAT, "%s is no array", path);
    fv_status status = check_layout(set, path);
    if (!status)
        status = read_sizes(set, path, most, a, &count);
    if (!status) {
        a->values = fv_alloc(count, sizeof *a->values);
        status = a->values ? FV_OK : FV_MEMORY;
    }
    if (!status && count > 0 &&
        H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, a->values) < 0)
        status = fail_damaged(path, "the array");
    H5Dclose(set);
    if (status) {
        fv_free(a->values);
        a->values = NULL;
    }
    return status;
}

/* ---- Writing --------------------------------------------------------------------------------- */

/* Links made with this make the groups above them, too. */
static hid_t with_groups(void) {
    hid_t links = H5Pcreate(H5P_LINK_CREATE);
    if (links >= 0)
        H5Pset_create_intermediate_group(links, 1);
    return links;
}

fv_status store_add_group(store *file, const char *path) {
    hid_t links = with_groups();
    hid_t group = H5Gcreate2(file->file, path, links, H5P_DEFAULT, H5P_DEFAULT);
    if (links >= 0)
        H5Pclose(links);
    if (group < 0)
        return fv_fail(FV_MEMORY, "cannot add the group %s to the HDF5 file", path);
    H5Gclose(group);
    return FV_OK;
}

fv_status store_write(store *file, const char *path, const array *a) {
    hsize_t sizes[FV_MAX_RANK] = {0};
    for (int i = 0; i < a->rank; i++)
        sizes[i] = a->size[i];
    hid_t space = H5Screate_simple(a->rank, sizes, NULL);
    hid_t links = with_groups(), plan = H5Pcreate(H5P_DATASET_CREATE), set = -1;
    if (plan >= 0 && H5Pset_obj_track_times(plan, false) >= 0) /* equal nets, equal files */
        set = H5Dcreate2(file->file, path, H5T_IEEE_F32LE, space, links, plan, H5P_DEFAULT);
    bool written =
        set >= 0 && H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, a->values) >= 0;
    if (set >= 0)
        H5Dclose(set);
    if (plan >= 0)
        H5Pclose(plan);
    if (links >= 0)
        H5Pclose(links);
    if (space >= 0)
        H5Sclose(space);
    return written ? FV_OK : fv_fail(FV_MEMORY, "cannot add %s to the HDF5 file", path);
}

fv_status store_image(store *file, char **bytes, size_t *size) {
    *bytes = NULL;
    H5Fflush(file->file, H5F_SCOPE_GLOBAL);
    ssize_t length = H5Fget_file_image(file->file, NULL, 0);
    if (length <= 0)
        return fv_fail(FV_MEMORY, "cannot finish the HDF5 file");
    *size = (size_t)length;
    *bytes = fv_alloc(*size, 1);
    if (!*bytes)
        return FV_MEMORY;
    return H5Fget_file_image(file->file, *bytes, *size) == length
               ? FV_OK
               : fv_fail(FV_MEMORY, "cannot finish the HDF5 file");
}
