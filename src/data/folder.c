/* Opens a folder as a data set: finds the files of a split by their names (see data.h) and reads
 * them; IDX files and arrays here, other kinds in files of their own. Called, through fovea.h, by
 * the command and users' programs. */
#include "base/alloc.h"
#include "base/file.h"
#include "base/npy.h"
#include "base/status.h"
#include "data/data.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

/* A split is the IDX files whose names begin with one of its prefixes, and the arrays of its name.
 */
typedef struct data_split {
    const char *name;
    const char *prefixes[2];
    const char *looked_for; /* for messages */
} data_split;

static const data_split splits[] = {
    {"train", {"train-", "train-"}, "train-"},
    {"val", {"val-", "val-"}, "val-"},
    {"test", {"t10k-", "test-"}, "t10k- or test-"},
};
static const char *const split_names[] = {"train", "val", "test", NULL};

enum { MOST_ARRAYS = 1 + FV_MOST_FIELDS };

typedef struct array_file {
    char *path;
    char field[32];
} array_file;

typedef struct split_files {
    char *pictures, *labels; /* paths of IDX files */
    int array_count;
    array_file arrays[MOST_ARRAYS]; /* the input first, then by name */
} split_files;

/* ---- Finding files ---------------------------------------------------------------------------
 */

static const data_split *find_split(const char *name) {
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++)
        if (strcmp(splits[i].name, name) == 0)
            return &splits[i];
    const char *nearest = fv_nearest(name, split_names);
    fv_fail(FV_INVALID, "no split '%s': expected train, val or test%s%s%s", name,
            nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    return NULL;
}

static bool begins_with(const char *name, const char *prefix) {
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* N of a file name that ends with idxN-ubyte or idxN-ubyte.gz; 0: another name. */
static int name_axes(const char *name) {
    size_t length = strlen(name), ending = strlen("idxN-ubyte");
    if (length > 3 && strcmp(name + length - 3, ".gz") == 0)
        length -= 3;
    if (length < ending)
        return 0;
    const char *end = name + length - ending;
    bool fits = strncmp(end, "idx", 3) == 0 && end[3] >= '1' && end[3] <= '4' &&
                strncmp(end + 4, "-ubyte", 6) == 0;
    return fits ? end[3] - '0' : 0;
}

/* Keeps the path of a file that was found for *slot; a second one is an error. */
static fv_status keep_file(char **slot, const char *folder, const char *name, const char *what) {
    char *path = fv_join_path(folder, name);
    if (!path)
        return FV_MEMORY;
    if (!*slot) {
        *slot = path;
        return FV_OK;
    }
    fv_status status =
        fv_fail(FV_INVALID, "two files of %s: %s and %s; leave only one there", what, *slot, path);
    fv_free(path);
    return status;
}

static bool comes_before(const char *field, const char *other) {
    if (strcmp(field, "input") == 0 || strcmp(other, "input") == 0)
        return strcmp(field, "input") == 0;
    return strcmp(field, other) < 0;
}

/* Keeps the array of a field whose name is `length` bytes at `field`, in its place. */
static fv_status keep_array(split_files *files, const char *folder, const char *name,
                            const char *field, size_t length) {
    array_file array = {0};
    if (length >= sizeof array.field)
        return fv_fail(FV_INVALID, "%s/%s: the name of a field has at most %zu letters", folder,
                       name, sizeof array.field - 1);
    if (files->array_count == MOST_ARRAYS)
        return fv_fail(FV_INVALID, "%s/%s is one array too many: at most %d for each split", folder,
                       name, MOST_ARRAYS);
    memcpy(array.field, field, length);
    array.path = fv_join_path(folder, name);
    if (!array.path)
        return FV_MEMORY;
    int place = files->array_count++;
    for (; place > 0 && comes_before(array.field, files->arrays[place - 1].field); place--)
        files->arrays[place] = files->arrays[place - 1];
    files->arrays[place] = array;
    return FV_OK;
}

/* Keeps the file of that name if it is one of the split's. */
static fv_status sort_file(const char *folder, const char *name, const data_split *split,
                           split_files *files) {
    size_t length = strlen(name), start = strlen(split->name) + 1, ending = strlen(".npy");
    if (length >= start + ending && begins_with(name, split->name) && name[start - 1] == '-' &&
        strcmp(name + length - ending, ".npy") == 0)
        return keep_array(files, folder, name, name + start, length - start - ending);
    if (!begins_with(name, split->prefixes[0]) && !begins_with(name, split->prefixes[1]))
        return FV_OK;
    int axes = name_axes(name);
    if (axes == 1 && strstr(name, "labels"))
        return keep_file(&files->labels, folder, name, "labels");
    if (axes > 1)
        return keep_file(&files->pictures, folder, name, "pictures");
    return FV_OK;
}

static bool has_files(const split_files *files) {
    return files->pictures || files->labels || files->array_count > 0;
}

/* Whether the files make one data set. */
static fv_status check_files(const char *folder, const data_split *split,
                             const split_files *files) {
    const char *idx = files->pictures ? files->pictures : files->labels;
    if (idx && files->array_count > 0)
        return fv_fail(FV_INVALID,
                       "two data sets for '%s': %s and %s; leave only the IDX files or only the "
                       "arrays there",
                       split->name, idx, files->arrays[0].path);
    if (files->array_count > 0 && strcmp(files->arrays[0].field, "input") != 0)
        return fv_fail(FV_INVALID, "%s is there, but not %s/%s-input.npy, the samples themselves",
                       files->arrays[0].path, folder, split->name);
    if (files->array_count > 0)
        return FV_OK;
    if (!files->pictures)
        return fv_fail(FV_INVALID,
                       "%s has no pictures for '%s': looked for a file that begins with %s and "
                       "ends with idxN-ubyte or idxN-ubyte.gz, N 2 to 4",
                       folder, split->name, split->looked_for);
    if (!files->labels)
        return fv_fail(FV_INVALID,
                       "%s has no labels for '%s': looked for a file that begins with %s, has "
                       "'labels' in its name and ends with idx1-ubyte or idx1-ubyte.gz",
                       folder, split->name, split->looked_for);
    return FV_OK;
}

/* Goes through the folder and keeps the split's files. */
static fv_status find_files(const char *folder, const data_split *split, split_files *files) {
    DIR *directory = opendir(folder);
    if (!directory)
        return fv_fail(FV_IO, "cannot read the folder %s: %s", folder, strerror(errno));
    fv_status status = FV_OK;
    struct dirent *entry;
    while (!status && (entry = readdir(directory)))
        status = sort_file(folder, entry->d_name, split, files);
    closedir(directory);
    return status || !has_files(files) ? status : check_files(folder, split, files);
}

static void free_files(split_files *files) {
    fv_free(files->pictures);
    fv_free(files->labels);
    for (int i = 0; i < files->array_count; i++)
        fv_free(files->arrays[i].path);
}

/* ---- Reading them ----------------------------------------------------------------------------
 */

/* A file's axes, the first of them the samples, then `spatial` ones, as a shape. */
static fv_status make_shape(const char *path, const size_t *sizes, int rank, int spatial,
                            fv_shape *shape) {
    *shape = (fv_shape){.rank = spatial, .channels = 1};
    for (int axis = 1; axis < rank; axis++) {
        if (sizes[axis] > INT_MAX)
            return fv_fail(FV_FORMAT, "%s: axis %d has size %zu, expected %d or less", path,
                           axis + 1, sizes[axis], INT_MAX);
        if (axis <= spatial)
            shape->size[axis - 1] = (int)sizes[axis];
        else
            shape->channels = (int)sizes[axis];
    }
    return FV_OK;
}

/* The axes after the count are spatial: pictures of one channel, or a volume. */
static fv_status read_pictures(fv_data *data, const char *path) {
    int rank;
    size_t sizes[4];
    uint8_t *bytes;
    fv_shape shape;
    fv_status status = fv_read_idx(path, &rank, sizes, &bytes);
    if (status)
        return status;
    if (rank < 2)
        status =
            fv_fail(FV_FORMAT, "%s: has 1 axis, expected 2 to 4: samples and their sizes", path);
    if (!status)
        status = make_shape(path, sizes, rank, rank - 1, &shape);
    if (status) {
        fv_free(bytes);
        return status;
    }
    data->count = sizes[0];
    status = fv_data_keep(data, "input", &shape, bytes, NULL);
    return status ? fv_fail_in(status, "%s", path) : FV_OK;
}

static fv_status read_labels(fv_data *data, const split_files *files) {
    int rank;
    size_t sizes[4];
    uint8_t *bytes;
    fv_status status = fv_read_idx(files->labels, &rank, sizes, &bytes);
    if (status)
        return status;
    if (rank != 1)
        status = fv_fail(FV_FORMAT, "%s: labels with %d axes, expected 1", files->labels, rank);
    else if (sizes[0] != data->count)
        status = fv_fail(FV_FORMAT, "%s has %zu labels, but %s has %zu pictures", files->labels,
                         sizes[0], files->pictures, data->count);
    if (status) {
        fv_free(bytes);
        return status;
    }
    return fv_data_keep(data, "label", &(fv_shape){.channels = 1}, bytes, NULL);
}

/* Whether the array holds a field of the data set, and of what shape. */
static fv_status check_array(const fv_data *data, const split_files *files, int index,
                             const fv_npy *array, fv_shape *shape) {
    const char *path = files->arrays[index].path;
    int least = index == 0 ? 2 : 1;
    if (array->rank < least)
        return fv_fail(FV_FORMAT,
                       "%s: has %d axes, expected %d to 5: samples, spatial sizes, channels (one "
                       "channel too; vectors have 2 axes)",
                       path, array->rank, least);
    if (index > 0 && array->sizes[0] != data->count)
        return fv_fail(FV_FORMAT, "%s has %zu samples, but %s has %zu", path, array->sizes[0],
                       files->arrays[0].path, data->count);
    int spatial = array->rank > 2 ? array->rank - 2 : 0;
    return make_shape(path, array->sizes, array->rank, spatial, shape);
}

static fv_status read_array(fv_data *data, const split_files *files, int index) {
    const array_file *file = &files->arrays[index];
    fv_npy array;
    fv_shape shape;
    fv_status status = fv_read_npy_values(file->path, &array);
    if (status)
        return status;
    status = check_array(data, files, index, &array, &shape);
    if (status) {
        fv_free(array.bytes);
        fv_free(array.floats);
        return status;
    }
    data->count = array.sizes[0];
    status = fv_data_keep(data, file->field, &shape, array.bytes, array.floats);
    return status ? fv_fail_in(status, "%s", file->path) : FV_OK;
}

static fv_status read_files(fv_data *data, const split_files *files) {
    fv_status status = FV_OK;
    for (int i = 0; !status && i < files->array_count; i++)
        status = read_array(data, files, i);
    if (files->array_count > 0)
        return status;
    status = read_pictures(data, files->pictures);
    return status ? status : read_labels(data, files);
}

/* What has no IDX files and no arrays: CIFAR's files, then folders of pictures. */
static fv_status read_other(fv_data *data, const data_split *split) {
    fv_names names;
    bool found = true;
    fv_status status = fv_find_cifar(data->place, split->name, &names);
    if (status)
        return status;
    if (names.count > 0)
        status = fv_read_cifar(data, data->place, &names);
    else
        status = fv_open_pictures(data, data->place, split->name, &found);
    fv_free_names(&names);
    if (status || found)
        return status;
    return fv_fail(FV_IO,
                   "%s has no pictures for '%s': looked for a file that begins with %s and ends "
                   "with idxN-ubyte or idxN-ubyte.gz, N 2 to 4, an array %s-input.npy, CIFAR's "
                   "files %s_*.bin, and a folder %s with the pictures of each class in its own",
                   data->place, split->name, split->looked_for, split->name,
                   strcmp(split->name, "train") == 0 ? "data_batch" : split->name, split->name);
}

/* A set whose labels go past the known classes is not the known one: it has no names. */
static void name_classes(fv_data *data, const char *name) {
    int known;
    const char *const *names = fv_known_classes(name, &known);
    if (!data->class_names && data->classes > 0 && data->classes <= known) {
        data->classes = known;
        data->class_names = names;
    }
}

/* The folder of a data set: a path, or a name to be looked for. Known names go first. */
static char *find_folder(const char *name) {
    int known;
    bool slash = strchr(name, '/') != NULL;
    fv_known_classes(name, &known);
    if (!known && fv_is_folder(name))
        return fv_copy_string(name);
    if (!slash && *name)
        return fv_data_find(name);
    fv_fail(FV_IO, "no folder '%s'; `fovea data` lists the known data sets", name);
    return NULL;
}

fv_data *fv_data_open(const char *name, const char *split_name) {
    const data_split *split = find_split(split_name);
    char *folder = split ? find_folder(name) : NULL;
    fv_data *data = folder ? fv_alloc(1, sizeof *data) : NULL;
    if (!data) {
        fv_free(folder);
        return NULL;
    }
    data->place = folder;
    split_files files = {0};
    fv_status status = find_files(folder, split, &files);
    if (!status)
        status = has_files(&files) ? read_files(data, &files) : read_other(data, split);
    free_files(&files);
    if (status) {
        fv_data_free(data);
        return NULL;
    }
    name_classes(data, name);
    return data;
}
