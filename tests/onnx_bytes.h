/* Bytes of ONNX messages, field by field, for files that no writer would make. Called by
 * test_onnx_hostile.c. */
#ifndef FV_TESTS_ONNX_BYTES_H
#define FV_TESTS_ONNX_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* A message that grows; free `bytes`. */
typedef struct onnx_bytes {
    unsigned char *bytes;
    size_t size, room;
} onnx_bytes;

void onnx_add(onnx_bytes *message, const void *bytes, size_t size);
void onnx_number(onnx_bytes *message, int field, uint64_t value);
void onnx_blob(onnx_bytes *message, int field, const void *bytes, size_t size);
void onnx_string(onnx_bytes *message, int field, const char *text);
/* Adds a message and frees it. */
void onnx_message(onnx_bytes *message, int field, onnx_bytes *part);

/* Fields of onnx.proto. */
enum {
    MODEL_IR = 1,
    MODEL_GRAPH = 7,
    MODEL_OPSET = 8,
    GRAPH_NODE = 1,
    GRAPH_NAME = 2,
    GRAPH_INITIALIZER = 5,
    GRAPH_INPUT = 11,
    GRAPH_OUTPUT = 12,
    NODE_INPUT = 1,
    NODE_OUTPUT = 2,
    NODE_NAME = 3,
    NODE_OPERATOR = 4,
    NODE_ATTRIBUTE = 5,
    ATTRIBUTE_NAME = 1,
    ATTRIBUTE_GRAPH = 6,
    ATTRIBUTE_TYPE = 20,
    TENSOR_DIMS = 1,
    TENSOR_TYPE = 2,
    TENSOR_NAME = 8,
    TENSOR_RAW = 9,
    TENSOR_EXTERNAL = 13,
    TENSOR_LOCATION = 14,
};

/* Adds a node of one or two inputs (second NULL: one). */
void onnx_node(onnx_bytes *graph, const char *op, const char *first, const char *second,
               const char *output);
/* Adds an input or output of floats: N, channels. */
void onnx_port(onnx_bytes *graph, int field, const char *name, uint64_t channels);
/* Writes the model of a graph, which it frees. */
void onnx_write_model(const char *path, onnx_bytes *graph);

#endif
