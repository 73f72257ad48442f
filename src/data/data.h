/* Data sets inside the library. Samples stay bytes in memory; the loader batches them in the
 * order of a permutation while the last batch trains. Called by train and the public functions. */
#ifndef FV_DATA_DATA_H
#define FV_DATA_DATA_H

#include <fovea.h>
#include <stdbool.h>
#include <stdint.h>

enum { FV_MOST_FIELDS = 8 };

/* What samples consist of: the input, a label, a mask ... */
typedef struct fv_field {
    char name[32];
    fv_shape shape; /* of one sample */
} fv_field;

/* A data set with its memory, or (with `owner` set) a view of another's samples. */
struct fv_data {
    const fv_data *owner; /* of the memory; NULL: this one */
    fv_shape shape;
    size_t count;
    uint8_t *pixels; /* count x fv_shape_count(&shape) bytes */
    uint8_t *labels; /* count of them */
    uint32_t first;  /* index of sample 0 in the owner's order */
    int classes;
    const char *const *class_names; /* `classes` of them, static; NULL: not known */
    char *place;
};

/* Whether the inputs are bytes. */
bool fv_data_bytes(const fv_data *data);
/* The fields without the input; returns their number. */
int fv_data_fields(const fv_data *data, fv_field fields[FV_MOST_FIELDS]);
/* Of samples [first, first + count): points `source` at the inputs, and writes field f (without the
 * input) as floats to targets[f], one sample after another; not where that is NULL. */
void fv_data_point(const fv_data *data, size_t first, int count, const void **source,
                   float *const *targets);

/* Reads an IDX file, gzipped or not (told by its first bytes): unsigned bytes, 1 to 4 axes. The
 * whole of it is checked: magic, count against length, nothing after the end. sizes[0] is the
 * count. */
fv_status fv_read_idx(const char *path, int *rank, size_t sizes[4], uint8_t **bytes);

/* The class names of a known set, *classes of them; NULL and 0 when it is not known. */
const char *const *fv_known_classes(const char *name, int *classes);

/* A .npy file that lies in memory, as fv_read_npy gives it; `path` is for messages. */
fv_status fv_decode_npy(const char *path, const unsigned char *file, size_t size, int *rank,
                        size_t sizes[5], float **values);

/* Where the samples are of another size than the net's input, and its input line says how to
 * resize: points *data to *made, all samples resized and rounded to bytes, which the caller frees.
 * Else changes nothing: *made is NULL. */
fv_status fv_data_fit(const fv_net *net, const fv_data **data, fv_data **made);

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
 * thread of its own prepares the next. The batch of a step is a function of the arguments alone. */
typedef struct fv_loader fv_loader;
fv_loader *fv_loader_new(const fv_data *data, int batch, uint64_t seed, fv_last_batch last,
                         int64_t first_step);
/* The next batch, valid until the call after. NULL with a message on failure. */
const fv_batch *fv_loader_next(fv_loader *loader);
void fv_loader_free(fv_loader *loader);
/* Steps of one epoch: rounded up for FV_LAST_SHORT, else down. 0 when a dropped batch leaves none.
 */
int64_t fv_epoch_steps(size_t count, int batch, fv_last_batch last);

#endif
