/* An ONNX file as it is written: nodes, tensors, inputs and outputs by name. read.c decodes
 * the messages, tensor.c the numbers; import.c makes a net of it. */
#ifndef FV_FORMATS_ONNX_MODEL_H
#define FV_FORMATS_ONNX_MODEL_H

#include "base/arena.h"
#include "base/file.h"

enum { FV_ONNX_RANK = 8 }; /* most axes of a tensor */

/* onnx.proto's numbers of element types that are read. */
typedef enum fv_onnx_type {
    FV_ONNX_FLOAT = 1,
    FV_ONNX_UINT8 = 2,
    FV_ONNX_INT8 = 3,
    FV_ONNX_UINT16 = 4,
    FV_ONNX_INT16 = 5,
    FV_ONNX_INT32 = 6,
    FV_ONNX_INT64 = 7,
    FV_ONNX_BOOL = 9,
    FV_ONNX_FLOAT16 = 10,
    FV_ONNX_DOUBLE = 11,
    FV_ONNX_UINT32 = 12,
    FV_ONNX_UINT64 = 13,
    FV_ONNX_BFLOAT16 = 16,
} fv_onnx_type;

typedef struct fv_onnx_tensor {
    const char *name;
    int type; /* fv_onnx_type */
    int rank;
    int64_t size[FV_ONNX_RANK];
    size_t count;
    const unsigned char *bytes; /* little-endian, perhaps not aligned */
} fv_onnx_tensor;

typedef struct fv_onnx_attribute {
    const char *name;
    int type; /* onnx.proto's AttributeType: FLOAT 1, INT 2, STRING 3, TENSOR 4, FLOATS 6, INTS 7 */
    float number;
    int64_t integer;
    const char *text;
    fv_onnx_tensor *tensor;
    float *numbers;
    int64_t *integers;
    size_t count; /* of numbers or integers */
} fv_onnx_attribute;

typedef struct fv_onnx_node {
    const char *op, *name, *domain;    /* "" where not given */
    const char **inputs, **outputs;    /* names; "": left out */
    int *input_values, *output_values; /* their numbers, -1: left out; by import.c */
    size_t input_count, output_count;
    fv_onnx_attribute *attributes;
    size_t attribute_count;
} fv_onnx_node;

/* An array that goes in or out. */
typedef struct fv_onnx_port {
    const char *name;
    int type;
    int rank;                       /* -1: not said */
    int64_t size[FV_ONNX_RANK];     /* -1: varies */
    const char *word[FV_ONNX_RANK]; /* what a size that varies is called, or NULL */
} fv_onnx_port;

typedef struct fv_onnx_file {
    fv_mapping mapping;
    char *location; /* of external data, as the model calls it; NULL: the model's own */
} fv_onnx_file;

typedef struct fv_onnx_model {
    const char *path;
    fv_arena arena; /* of all below */
    fv_file file;
    fv_onnx_file *files; /* the first is the model */
    size_t file_count, file_capacity;
    int64_t ir, opset;    /* versions of the format and of its operators; 0: not said */
    const char *producer; /* "" where not given */
    const char *classes;  /* metadata FV_CLASSES_KEY; NULL: none */
    fv_onnx_node *nodes;
    fv_onnx_tensor *tensors;
    fv_onnx_port *inputs, *outputs;
    size_t node_count, tensor_count, input_count, output_count;
    size_t node_capacity, tensor_capacity, input_capacity, output_capacity;
} fv_onnx_model;

/* Decodes a file; on failure nothing is left to close. Every name is text, every tensor has as many
 * numbers as its sizes say. */
fv_status fv_onnx_open(const char *path, fv_onnx_model *model);
void fv_onnx_close(fv_onnx_model *model);

/* Bytes of an element; 0 for types that are not read. */
size_t fv_onnx_width(int type);
/* Element i of a tensor, as double (64-bit integers beyond 2^53 are rounded). */
double fv_onnx_element(const fv_onnx_tensor *tensor, size_t i);
/* Elements as floats. */
void fv_onnx_to_floats(const fv_onnx_tensor *tensor, float *values);

/* Counts the elements of a tensor by its sizes; FV_FORMAT where they are negative or too many. */
fv_status fv_onnx_count(fv_onnx_tensor *tensor);
/* `size` bytes from place `offset` of a file beside the model. `size` SIZE_MAX: all that follow.
 * FV_FORMAT where the location leaves the model's folder. */
fv_status fv_onnx_external(fv_onnx_model *model, const char *location, size_t offset, size_t size,
                           const unsigned char **bytes, size_t *found);

#endif
