/* Opens pictures that lie in a folder for each class, SPLIT/CLASS/NAME.png or .jpg, as a data set:
 * only their names are read; read.c decodes each when it is wanted. Called by folder.c.
 *
 * The classes are the folders of `train` in the order of their names' bytes. The set goes through
 * all classes evenly: its k-th picture of n of a class comes at the share (k + 1/2) / n, so that
 * its first samples, which a net may hold out, are of all classes. */
#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"
#include "base/text.h"
#include "data/data.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

typedef struct place_of {
    double share;
    uint32_t class, file;
} place_of;

struct fv_pictures {
    char *folder; /* of the split */
    fv_names classes;
    fv_names *files; /* of each class */
    place_of *places;
    size_t count;
};

void fv_pictures_free(fv_pictures *p) {
    for (size_t i = 0; p && p->files && i < p->classes.count; i++)
        fv_free_names(&p->files[i]);
    if (p) {
        fv_free(p->folder);
        fv_free(p->files);
        fv_free(p->places);
        fv_free_names(&p->classes);
    }
    fv_free(p);
}

char *fv_picture_path(const fv_pictures *p, size_t index) {
    const place_of *place = &p->places[index];
    fv_text text = {0};
    fv_text_add(&text, "%s/%s/%s", p->folder, p->classes.items[place->class],
                p->files[place->class].items[place->file]);
    return fv_text_take(&text);
}

/* ---- Names ----------------------------------------------------------------------------------- */

static bool is_class(int folder, const char *name) {
    struct stat info;
    return fstatat(folder, name, &info, 0) == 0 && S_ISDIR(info.st_mode);
}

static bool is_picture(int folder, const char *name) {
    static const char *const endings[] = {".png", ".jpg", ".jpeg"};
    (void)folder;
    size_t length = strlen(name);
    bool is = false;
    for (int i = 0; i < 3; i++) {
        size_t ending = strlen(endings[i]);
        is = is || (length > ending && strcasecmp(name + length - ending, endings[i]) == 0);
    }
    return is;
}

/* The folder of a split, NULL where there is none. */
static fv_status find_split(const char *folder, const char *split, char **path) {
    const char *names[] = {split, strcmp(split, "val") == 0 ? "validation" : NULL};
    *path = NULL;
    for (int i = 0; i < 2 && names[i]; i++) {
        char *found = fv_join_path(folder, names[i]);
        fv_status status = found ? FV_OK : FV_MEMORY;
        bool is = found && fv_is_folder(found);
        if (is && *path)
            status = fv_fail(FV_INVALID, "two data sets for '%s': %s and %s; leave only one there",
                             split, *path, found);
        if (is && !*path)
            *path = found;
        else
            fv_free(found);
        if (status) {
            fv_free(*path);
            return status;
        }
    }
    return FV_OK;
}

/* ---- Classes --------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_among(const char *name, const fv_names *names) {
    return bsearch(&name, names->items, names->count, sizeof *names->items, compare_names);
}

/* All class folders of the split must be classes of the training split, whose labels count. */
static fv_status check_classes(const fv_pictures *p, const char *train) {
    fv_names own;
    fv_status status = fv_list_names(p->folder, is_class, &own);
    for (size_t i = 0; !status && i < own.count; i++)
        if (!is_among(own.items[i], &p->classes))
            status = fv_fail(FV_INVALID, "%s has a class '%s', which is not in %s", p->folder,
                             own.items[i], train);
    fv_free_names(&own);
    return status;
}

/* The classes are those of `train` where that is there, else the split's own. */
static fv_status list_classes(fv_pictures *p, const char *folder) {
    char *train;
    fv_status status = find_split(folder, "train", &train);
    if (status)
        return status;
    const char *source = train ? train : p->folder;
    status = fv_list_names(source, is_class, &p->classes);
    if (!status && (p->classes.count < 1 || p->classes.count > INT32_MAX))
        status = fv_fail(FV_INVALID,
                         "%s has no folders: pictures are expected in one for each class", source);
    for (size_t i = 0; !status && i < p->classes.count; i++)
        status = fv_check_class_name(p->classes.items[i], source);
    if (!status && train && strcmp(train, p->folder) != 0)
        status = check_classes(p, train);
    fv_free(train);
    return status;
}

/* The pictures of one class; there may be none except in training. */
static fv_status list_files(fv_pictures *p, size_t class, bool training) {
    char *path = fv_join_path(p->folder, p->classes.items[class]);
    if (!path)
        return FV_MEMORY;
    fv_status status = FV_OK;
    if (fv_is_folder(path))
        status = fv_list_names(path, is_picture, &p->files[class]);
    if (!status && training && p->files[class].count == 0)
        status = fv_fail(FV_INVALID,
                         "%s has no pictures (.png, .jpg, .jpeg): put some there, or remove the "
                         "folder",
                         path);
    fv_free(path);
    p->count += p->files[class].count;
    return status;
}

/* ---- Order ----------------------------------------------------------------------------------- */

static int by_share(const void *a, const void *b) {
    const place_of *x = a, *y = b;
    if (x->share != y->share)
        return x->share < y->share ? -1 : 1;
    return (x->class > y->class) - (x->class < y->class);
}

static fv_status order_files(fv_pictures *p) {
    if (p->count < 1 || p->count > UINT32_MAX)
        return fv_fail(FV_INVALID, "%s has %zu pictures (.png, .jpg, .jpeg), expected 1 to %u",
                       p->folder, p->count, UINT32_MAX);
    p->places = fv_alloc(p->count, sizeof *p->places);
    if (!p->places)
        return FV_MEMORY;
    place_of *next = p->places;
    for (uint32_t c = 0; c < p->classes.count; c++)
        for (uint32_t f = 0; f < p->files[c].count; f++)
            *next++ = (place_of){((double)f + 0.5) / (double)p->files[c].count, c, f};
    qsort(p->places, p->count, sizeof *p->places, by_share);
    return FV_OK;
}

/* ---- The data set ---------------------------------------------------------------------------- */

/* The input's shape is the first picture's; all others must have it, until it is fitted to a net.
 */
static fv_status add_input(fv_data *data, fv_pictures *p) {
    char *path = fv_picture_path(p, 0);
    fv_shape shape;
    float *values;
    fv_status status = path ? fv_read_array(path, &shape, &values) : FV_MEMORY;
    if (!status) {
        fv_free(values);
        if (shape.rank != 2)
            status = fv_fail(FV_FORMAT, "%s is an array, not a picture", path);
    }
    fv_free(path);
    if (status)
        return status;
    data->columns[data->column_count++] = (fv_column){.field = {.name = "input", .shape = shape},
                                                      .values = fv_shape_count(&shape),
                                                      .pictures = p,
                                                      .fitting = {.needed = true, .from = shape}};
    return FV_OK;
}

static fv_status add_labels(fv_data *data, const fv_pictures *p) {
    float *labels = fv_alloc(p->count, sizeof *labels);
    if (!labels)
        return FV_MEMORY;
    for (size_t i = 0; i < p->count; i++)
        labels[i] = (float)p->places[i].class;
    fv_status status = fv_data_keep(data, "label", &(fv_shape){.channels = 1}, NULL, labels);
    if (!status)
        status = fv_data_name_classes(data, p->classes.items, (int)p->classes.count);
    return status;
}

static fv_status list_pictures(fv_pictures *p, const char *folder, const char *split) {
    fv_status status = list_classes(p, folder);
    if (!status && !(p->files = fv_alloc(p->classes.count, sizeof *p->files)))
        status = FV_MEMORY;
    for (size_t i = 0; !status && i < p->classes.count; i++)
        status = list_files(p, i, strcmp(split, "train") == 0);
    return status ? status : order_files(p);
}

fv_status fv_open_pictures(fv_data *data, const char *folder, const char *split, bool *found) {
    char *path;
    *found = false;
    fv_status status = find_split(folder, split, &path);
    if (status || !path)
        return status;
    *found = true;
    fv_pictures *p = fv_alloc(1, sizeof *p);
    if (!p) {
        fv_free(path);
        return FV_MEMORY;
    }
    p->folder = path;
    status = list_pictures(p, folder, split);
    if (!status)
        status = add_input(data, p);
    if (status) {
        fv_pictures_free(p);
        return status;
    }
    data->count = p->count;
    return add_labels(data, p);
}
