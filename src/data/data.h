/* Data sets inside the library: named fields of as many samples each, which stay bytes in memory
 * where they are, or pictures in their files; the loader batches them in the order of a permutation
 * while the last batch trains. Called by train and the public functions.
 *
 * A folder is opened as a data set by its files' names. For each split it holds
 * - two IDX files, of pictures (field "input") and of labels (field "label"), or
 * - arrays SPLIT-FIELD.npy: train-input.npy, train-label.npy, test-mask.npy ... Their first axis is
 *   the samples, the last one the channels, those between are spatial; where there is one axis only
 *   (not in the input), a sample is one number. uint8 stays bytes, other types become floats.
 * Fields are in the order of their names, after the input. Or
 * - CIFAR's binary files (cifar.c), or
 * - SPLIT/CLASS/ with the pictures of each class (picture_folder.c). */
#ifndef FV_DATA_DATA_H
#define FV_DATA_DATA_H

#include "base/pool.h"
#include <fovea.h>
#include <stdbool.h>
#include <stdint.h>

enum { FV_MOST_FIELDS = 8 }; /* beside the input */

/* What samples consist of: the input, a label, a mask ... */
typedef struct fv_field {
    char name[32];
    fv_shape shape; /* of one sample */
} fv_field;

/* How samples that are not as a net wants them are made to fit it, each time that one is read. */
typedef struct fv_fitting {
    bool needed;
    fv_shape from; /* of a sample in memory; pictures have shapes of their own */
    fv_resize resize;
    int side; /* see fv_input_options */
} fv_fitting;

typedef struct fv_pictures fv_pictures; /* picture_folder.c */

/* A field with its values, all samples one after another: `bytes` or `floats`, the others NULL; or
 * pictures, which are read as bytes. */
typedef struct fv_column {
    fv_field field;
    size_t values; /* of one sample */
    uint8_t *bytes;
    float *floats;
    fv_pictures *pictures;
    size_t first_picture; /* that of sample 0 */
    fv_fitting fitting;   /* of the stored samples to the field's shape; pictures need it always */
    bool borrowed;        /* from another data set, which frees them */
} fv_column;

struct fv_data {
    size_t count;
    int column_count;
    fv_column columns[1 + FV_MOST_FIELDS]; /* the input first */
    uint32_t first; /* of a view: index of its sample 0 in the order of the set that it shows */
    int classes;    /* largest label + 1; 0: no labels that are class indices */
    const char *const *class_names; /* `classes` of them; NULL: not known */
    void *own_names;                /* what class_names points into; NULL: static or borrowed */
    char *place;                    /* its folder, or "memory" */
};

/* FV_OK when the set has its input, without which it can be used for nothing. */
fv_status fv_data_ready(const fv_data *data);
/* As fv_data_add(), but takes over `bytes` or `floats` (the other NULL), also where it fails. */
fv_status fv_data_keep(fv_data *data, const char *field, const fv_shape *shape, uint8_t *bytes,
                       float *floats);
/* Copies the names of all classes. */
fv_status fv_data_name_classes(fv_data *data, const char *const *names, int count);
/* Whether the inputs are read as bytes. */
bool fv_data_bytes(const fv_data *data);
/* The fields without the input; returns their number. */
int fv_data_fields(const fv_data *data, fv_field fields[FV_MOST_FIELDS]);
/* The column of the field "label"; NULL: none. */
const fv_column *fv_data_label(const fv_data *data);
/* Values that one sample has where it is stored, before it is made to fit. */
size_t fv_column_stored(const fv_column *column);
/* Stored samples [first, first + count) of a column in memory as floats. */
void fv_column_read(const fv_column *column, size_t first, size_t count, float *values);
/* Bytes of one input, as fv_data_read() writes it. */
size_t fv_data_input_size(const fv_data *data);
/* Reads `count` samples: order[first], order[first + 1] ..., or, with `order` NULL, first, first +
 * 1 ...: their inputs (bytes or floats) and field f (without the input) as floats to targets[f],
 * one sample after another; not where that is NULL. Pictures are decoded by the threads of `pool`
 * (NULL: by this one). */
fv_status fv_data_read(const fv_data *data, fv_pool *pool, const uint32_t *order, size_t first,
                       int count, void *inputs, float *const *targets);

/* Reads an IDX file, gzipped or not (told by its first bytes): unsigned bytes, 1 to 4 axes. The
 * whole of it is checked: magic, count against length, nothing after the end. sizes[0] is the
 * count. */
fv_status fv_read_idx(const char *path, int *rank, size_t sizes[4], uint8_t **bytes);

/* The class names of a known set, *classes of them; NULL and 0 when it is not known. */
const char *const *fv_known_classes(const char *name, int *classes);

/* Makes values of shape `from` into those of `to`, as fv_fit_picture() does. */
fv_status fv_fit_values(const fv_fitting *fitting, const fv_shape *from, const float *values,
                        const fv_shape *to, float *fitted);

/* Where the samples are pictures, or of another size than the net's input whose line says how to
 * resize: points *data to *made, whose inputs have the net's shape (bytes are rounded to bytes),
 * and whose other fields are borrowed from *data, which must outlive it; the caller frees it. Else
 * changes nothing: *made is NULL. The inputs are made once, by `threads` threads, where all take at
 * most `keep` bytes; else each is made whenever it is read. */
fv_status fv_data_fit(const fv_net *net, int threads, size_t keep, const fv_data **data,
                      fv_data **made);
/* What to keep on this machine: a quarter of its memory, at most 1 GiB. */
size_t fv_keep_bytes(void);

/* ---- Names in folders (listing.c) --------------------------------------------------------------
 */

typedef struct fv_names {
    size_t count;
    const char **items; /* in the order of their bytes */
    char *text;         /* what they point into */
} fv_names;

/* The names in a folder that `wanted` takes (which gets the folder's file descriptor), without
 * those that begin with a dot. */
fv_status fv_list_names(const char *folder, bool (*wanted)(int folder, const char *name),
                        fv_names *names);
/* The lines of a text file without blanks at their ends and without empty ones, in their order. */
fv_status fv_read_lines(const char *path, fv_names *names);
void fv_free_names(fv_names *names);
/* FV_FORMAT where a name of a class is not UTF-8 or has control characters; `place`: where. */
fv_status fv_check_class_name(const char *name, const char *place);
/* "folder/name", which the caller frees; NULL: out of memory. */
char *fv_join_path(const char *folder, const char *name);

/* ---- CIFAR's binary files (cifar.c) ------------------------------------------------------------
 */

/* The files of a split ("train", "val", "test"); none: names->count is 0. */
fv_status fv_find_cifar(const char *folder, const char *split, fv_names *names);
/* Reads them into a new data set, with the names of the classes. */
fv_status fv_read_cifar(fv_data *data, const char *folder, const fv_names *names);

/* ---- Pictures in a folder for each class (picture_folder.c) ------------------------------------
 */

/* Finds the pictures of a split; *found is false, and FV_OK, where there is no folder for it. */
fv_status fv_open_pictures(fv_data *data, const char *folder, const char *split, bool *found);
/* The path of a picture, which the caller frees; NULL: out of memory. */
char *fv_picture_path(const fv_pictures *pictures, size_t index);
void fv_pictures_free(fv_pictures *pictures);

/* The order of an epoch: a true permutation of 0..count-1, a function of seed and epoch alone. */
void fv_epoch_order(uint32_t *order, uint32_t count, uint64_t seed, uint32_t epoch);

typedef struct fv_batch {
    int samples;
    const void *const *source; /* `samples` pointers to the inputs, bytes or floats */
    bool bytes;
    /* The other fields: of field f (from 0, without the input) all samples in order, as floats. */
    const float *const *targets;
    const uint32_t *epochs;  /* the epoch (from 0) in which each sample is drawn */
    const uint32_t *indices; /* its index in the data set */
} fv_batch;

/* Gives the batches of a training run in order, from step `first_step` on (0: the start); a
 * thread of its own prepares the next, and where that takes decoding or resizing, `threads` do. The
 * batch of a step is a function of the other arguments alone. */
typedef struct fv_loader fv_loader;
fv_loader *fv_loader_new(const fv_data *data, int batch, uint64_t seed, fv_last_batch last,
                         int64_t first_step, int threads);
/* The next batch, valid until the call after. NULL with a message on failure. */
const fv_batch *fv_loader_next(fv_loader *loader);
/* Seconds that fv_loader_next() has waited for batches that were not ready; NULL: 0. */
double fv_loader_waited(const fv_loader *loader);
void fv_loader_free(fv_loader *loader);
/* Steps of one epoch: rounded up for FV_LAST_SHORT, else down. 0 when a dropped batch leaves none.
 */
int64_t fv_epoch_steps(size_t count, int batch, fv_last_batch last);

#endif
