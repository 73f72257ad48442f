/* A data set in memory: opened from a folder with IDX files, cut into slices, read a sample at a
 * time. Called by train, the loader and, through fovea.h, by the command and users' programs. */
#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"
#include "base/text.h"
#include "data/data.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

/* A split is the files whose names begin with one of its prefixes. */
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

typedef struct split_files {
    char *pictures, *labels; /* paths */
} split_files;

static const data_split *find_split(const char *name) {
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++)
        if (strcmp(splits[i].name, name) == 0)
            return &splits[i];
    const char *nearest = fv_nearest(name, split_names);
    fv_fail(FV_INVALID, "no split '%s': expected train, val or test%s%s%s", name,
            nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    return NULL;
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

static bool begins_with(const char *name, const char *prefix) {
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* Keeps the path of a file that was found for *slot; a second one is an error. */
static fv_status keep_file(char **slot, const char *folder, const char *name, const char *what) {
    fv_text text = {0};
    fv_text_add(&text, "%s/%s", folder, name);
    char *path = fv_text_take(&text);
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

/* Goes through the folder and keeps the split's two files. */
static fv_status find_files(const char *folder, const data_split *split, split_files *files) {
    DIR *directory = opendir(folder);
    if (!directory)
        return fv_fail(FV_IO, "cannot read the folder %s: %s", folder, strerror(errno));
    fv_status status = FV_OK;
    struct dirent *entry;
    while (!status && (entry = readdir(directory))) {
        const char *name = entry->d_name;
        if (!begins_with(name, split->prefixes[0]) && !begins_with(name, split->prefixes[1]))
            continue;
        int axes = name_axes(name);
        if (axes == 1 && strstr(name, "labels"))
            status = keep_file(&files->labels, folder, name, "labels");
        else if (axes > 1)
            status = keep_file(&files->pictures, folder, name, "pictures");
    }
    closedir(directory);
    if (!status && !files->pictures)
        status = fv_fail(FV_IO,
                         "%s has no pictures for '%s': looked for a file that begins with %s and "
                         "ends with idxN-ubyte or idxN-ubyte.gz, N 2 to 4",
                         folder, split->name, split->looked_for);
    if (!status && !files->labels)
        status = fv_fail(FV_IO,
                         "%s has no labels for '%s': looked for a file that begins with %s, has "
                         "'labels' in its name and ends with idx1-ubyte or idx1-ubyte.gz",
                         folder, split->name, split->looked_for);
    return status;
}

static fv_status read_pictures(fv_data *data, const char *path) {
    int rank;
    size_t sizes[4];
    fv_status status = fv_read_idx(path, &rank, sizes, &data->pixels);
    if (status)
        return status;
    if (rank < 2)
        return fv_fail(FV_FORMAT, "%s: has 1 axis, expected 2 to 4: samples and their sizes", path);
    /* The axes after the count are spatial: pictures of one channel, or a volume. */
    data->shape = (fv_shape){.rank = rank - 1, .channels = 1};
    for (int axis = 1; axis < rank; axis++) {
        if (sizes[axis] > INT_MAX)
            return fv_fail(FV_FORMAT, "%s: axis %d has size %zu, expected %d or less", path,
                           axis + 1, sizes[axis], INT_MAX);
        data->shape.size[axis - 1] = (int)sizes[axis];
    }
    data->count = sizes[0];
    return FV_OK;
}

static fv_status read_labels(fv_data *data, const split_files *files) {
    int rank;
    size_t sizes[4];
    fv_status status = fv_read_idx(files->labels, &rank, sizes, &data->labels);
    if (status)
        return status;
    if (rank != 1)
        return fv_fail(FV_FORMAT, "%s: labels with %d axes, expected 1", files->labels, rank);
    if (sizes[0] != data->count)
        return fv_fail(FV_FORMAT, "%s has %zu labels, but %s has %zu pictures", files->labels,
                       sizes[0], files->pictures, data->count);
    return FV_OK;
}

/* A set whose labels go past the known classes is not the known one: it has no names. */
static void count_classes(fv_data *data, const char *name) {
    int largest = 0, known;
    for (size_t i = 0; i < data->count; i++)
        largest = data->labels[i] > largest ? data->labels[i] : largest;
    const char *const *names = fv_known_classes(name, &known);
    data->classes = largest < known ? known : largest + 1;
    data->class_names = largest < known ? names : NULL;
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
        status = read_pictures(data, files.pictures);
    if (!status)
        status = read_labels(data, &files);
    fv_free(files.pictures);
    fv_free(files.labels);
    if (status) {
        fv_data_free(data);
        return NULL;
    }
    count_classes(data, name);
    return data;
}

void fv_data_free(fv_data *data) {
    if (data && !data->owner) {
        fv_free(data->pixels);
        fv_free(data->labels);
        fv_free(data->place);
    }
    fv_free(data);
}

fv_data *fv_data_slice(const fv_data *data, size_t first, size_t count) {
    if (count < 1 || first > data->count || count > data->count - first) {
        fv_fail(FV_INVALID, "no slice of %zu samples from sample %zu on in a data set of %zu",
                count, first, data->count);
        return NULL;
    }
    fv_data *slice = fv_alloc(1, sizeof *slice);
    if (!slice)
        return NULL;
    *slice = *data;
    slice->owner = data->owner ? data->owner : data;
    slice->count = count;
    slice->pixels += first * fv_shape_count(&data->shape);
    slice->labels += first;
    slice->first += (uint32_t)first;
    return slice;
}

size_t fv_data_count(const fv_data *data) {
    return data->count;
}

fv_shape fv_data_shape(const fv_data *data) {
    return data->shape;
}

int fv_data_classes(const fv_data *data) {
    return data->classes;
}

const char *fv_data_class_name(const fv_data *data, int index) {
    bool known = data->class_names && index >= 0 && index < data->classes;
    return known ? data->class_names[index] : NULL;
}

const char *fv_data_place(const fv_data *data) {
    return data->place;
}

fv_status fv_data_sample(const fv_data *data, size_t index, float *values, int *label) {
    if (index >= data->count)
        return fv_fail(FV_INVALID, "no sample %zu in a data set of %zu (the first is 0)", index,
                       data->count);
    size_t size = fv_shape_count(&data->shape);
    const uint8_t *bytes = data->pixels + index * size;
    for (size_t i = 0; i < size; i++)
        values[i] = bytes[i];
    *label = data->labels[index];
    return FV_OK;
}

bool fv_data_bytes(const fv_data *data) {
    (void)data;
    return true;
}

int fv_data_fields(const fv_data *data, fv_field fields[FV_MOST_FIELDS]) {
    (void)data;
    fields[0] = (fv_field){.name = "label", .shape = {.channels = 1}};
    return 1;
}

void fv_data_point(const fv_data *data, size_t first, int count, const void **source,
                   float *const *targets) {
    size_t values = fv_shape_count(&data->shape);
    for (int s = 0; s < count; s++) {
        source[s] = data->pixels + (first + (size_t)s) * values;
        if (targets[0])
            targets[0][s] = data->labels[first + (size_t)s];
    }
}
