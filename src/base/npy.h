/* .npy files, NumPy's arrays. Called by data for pictures and arrays, by formats for the members of
 * .npz archives; the public fv_read_npy and fv_write_npy. */
#ifndef FV_BASE_NPY_H
#define FV_BASE_NPY_H

#include <fovea.h>

/* What a file says of its array. */
typedef struct fv_npy_layout {
    int rank;
    size_t sizes[5];
    size_t count; /* values: the product of the sizes */
    size_t start; /* of the first, from the file's beginning */
    int type;
    const char *dtype; /* as safetensors names it: "F32", "I64" ... */
    size_t value_size; /* bytes */
} fv_npy_layout;

/* Reads the beginning of a file of `size` bytes, of which `there` lie at `bytes`: all that comes
 * before the values, and that they are as many as the file has room for. `path` is for messages. */
fv_status fv_npy_read_layout(const char *path, const unsigned char *bytes, size_t there,
                             size_t size, fv_npy_layout *layout);
/* The first values of an array as floats; `bytes` are those of the values, aligned or not. */
void fv_npy_to_floats(const fv_npy_layout *layout, size_t count, const unsigned char *bytes,
                      float *values);

/* A .npy file that lies in memory, as fv_read_npy gives it. */
fv_status fv_decode_npy(const char *path, const unsigned char *file, size_t size, int *rank,
                        size_t sizes[5], float **values);

/* A .npy file as it is: its values stay bytes where they are uint8, else they become floats; the
 * other is NULL. But for halves they lie where the file was read to, so it needs no more memory
 * than the file. Freed with fv_free. */
typedef struct fv_npy {
    int rank;
    size_t sizes[5];
    uint8_t *bytes;
    float *floats;
} fv_npy;

fv_status fv_read_npy_values(const char *path, fv_npy *array);

#endif
