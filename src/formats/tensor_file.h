/* Tensors by name, of a .safetensors file or an .npz archive, as floats. Called by load_weights.c.
 */
#ifndef FV_FORMATS_TENSOR_FILE_H
#define FV_FORMATS_TENSOR_FILE_H

#include "base/npy.h"
#include "formats/formats.h"

typedef struct fv_tensor_file {
    fv_tensors tensors;  /* of an archive: what its members say of themselves, without bytes */
    struct zip *archive; /* NULL: a .safetensors file */
    uint64_t *members;   /* of each tensor: its index in the archive */
    fv_npy_layout *layouts;
    unsigned char *piece; /* where members are unpacked to */
} fv_tensor_file;

/* Opens a file of one of these suffixes. What it says of its tensors is read and checked, but not
 * the values of an archive. */
fv_status fv_tensor_file_open(const char *path, fv_tensor_file *file);
void fv_tensor_file_close(fv_tensor_file *file);
/* Whether the tensor's numbers can be read as floats: F32, F64, F16, BF16. */
bool fv_tensor_is_real(const fv_tensor_entry *entry);
/* The values of tensor `index`, which is such a one: entries[index].count of them. */
fv_status fv_tensor_file_read(const fv_tensor_file *file, size_t index, float *values);

#endif
