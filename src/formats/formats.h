/* Model files. safetensors.c reads and writes the container (tensors by name, metadata);
 * model.c turns a net into one and back; npz.c writes NumPy archives. Called by the public fv_save,
 * fv_export and fv_net_load, and by train's checkpoints. */
#ifndef FV_FORMATS_FORMATS_H
#define FV_FORMATS_FORMATS_H

#include "base/file.h"
#include "net/net.h"

typedef struct fv_tensor_entry {
    char *name;
    char dtype[16]; /* "F32", "F64", "I64", ... "F8_E5M2FNUZ" */
    int rank;
    size_t size[8];
    size_t count;               /* product of the sizes */
    const unsigned char *bytes; /* in the mapped file; to be written: the caller's */
} fv_tensor_entry;

/* A safetensors file, its tensors mapped; its header is read. Every rule of the format is checked
 * before it returns: header length, JSON, no duplicate names, offsets without holes or overlaps,
 * sizes against dtype. */
typedef struct fv_tensors {
    fv_file file;
    fv_mapping mapping;
    fv_tensor_entry *entries;
    size_t count;
    char **keys, **values; /* __metadata__ */
    size_t metadata_count;
} fv_tensors;

fv_status fv_tensors_open(const char *path, fv_tensors *tensors);
void fv_tensors_close(fv_tensors *tensors);
const fv_tensor_entry *fv_tensors_find(const fv_tensors *tensors, const char *name);
const char *fv_tensors_metadata(const fv_tensors *tensors, const char *key); /* NULL: none */

/* Writes a file atomically: tensors sorted as the format's own writer does (dtype size, then name),
 * metadata keys sorted, header padded to 8 bytes: equal contents give equal files. keys/values:
 * `pairs`. */
fv_status fv_tensors_write(const char *path, const fv_tensor_entry *entries, size_t count,
                           const char *const *keys, const char *const *values, size_t pairs);

/* A model as tensors: LAYER.weight ... in PyTorch's order and the net's text and class names as
 * metadata ("fovea.version", "fovea.net", "fovea.classes": a JSON array). `extra` tensors and pairs
 * (a checkpoint's) are added. */
typedef struct fv_model_extra {
    const fv_tensor_entry *entries;
    size_t count;
    const char *const *keys, *const *values;
    size_t pairs;
} fv_model_extra;

/* A net's weights as tensors: names, shapes and values as in files, in the order of its layers.
 * They are copies; free them with fv_net_tensors_free. */
typedef struct fv_net_tensors {
    fv_tensor_entry *entries;
    size_t count;
    float *values; /* what entries[].bytes point into */
} fv_net_tensors;

fv_status fv_net_tensors_make(const fv_net *net, fv_net_tensors *tensors);
void fv_net_tensors_free(fv_net_tensors *tensors);

fv_status fv_model_write(const fv_net *net, const char *path, const fv_model_extra *extra);
/* FV_UNSUPPORTED where this build cannot write models: a run asks before it begins. */
fv_status fv_model_supported(void);
/* The weights of an open file into a built net of the same layers; every tensor must be there in
 * the right shape and dtype F32; else FV_FORMAT or FV_SHAPE naming the tensor and both shapes. */
fv_status fv_model_read_weights(const fv_tensors *tensors, fv_net *net);
/* A net from a model file: its text parsed, its weights found, its class names set. They stay in
 * the file until they are wanted (net.h). */
fv_net *fv_model_load(const char *path, const char *const *settings, int setting_count);

/* The class names as a JSON array into *text, for the metadata FV_CLASSES_KEY of files; the caller
 * frees it, after a failure too. */
#define FV_CLASSES_KEY "fovea.classes"
fv_status fv_classes_to_json(const fv_net *net, char **text);
/* And from there into the net. */
fv_status fv_classes_from_json(const char *text, fv_net *net);

fv_status fv_npz_write(const fv_net *net, const char *path);
/* The net as an ONNX model (IR 8, opset 17) that takes and gives arrays N, channels, sizes; equal
 * nets give equal files. FV_UNSUPPORTED names the layer that ONNX has no form for. */
fv_status fv_onnx_export(const fv_net *net, const char *path);
/* A net from an ONNX model (opset 6 to 28), by the layers that its operators are here; settings
 * that name a size of the input ("height=224") fix it, the others are as in .net files. Weights
 * stay in the file where all of them lie there as layers want them. FV_UNSUPPORTED names the node
 * that has no counterpart. */
fv_net *fv_onnx_load(const char *path, const char *const *settings, int count);

#endif
