/* See onnx_bytes.h. */
#include "onnx_bytes.h"
#include "files.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void onnx_add(onnx_bytes *m, const void *bytes, size_t size) {
    while (m->size + size > m->room) {
        m->room = m->room ? 2 * m->room : 256;
        m->bytes = realloc(m->bytes, m->room);
        if (!m->bytes)
            fail_msg("the test is out of memory (%zu bytes)", m->room);
    }
    if (size)
        memcpy(m->bytes + m->size, bytes, size);
    m->size += size;
}

static void add_varint(onnx_bytes *m, uint64_t value) {
    do {
        unsigned char byte = (unsigned char)((value & 127) | (value > 127 ? 128 : 0));
        onnx_add(m, &byte, 1);
        value >>= 7;
    } while (value);
}

void onnx_number(onnx_bytes *m, int field, uint64_t value) {
    add_varint(m, (uint64_t)field << 3);
    add_varint(m, value);
}

void onnx_blob(onnx_bytes *m, int field, const void *bytes, size_t size) {
    add_varint(m, (uint64_t)field << 3 | 2);
    add_varint(m, size);
    onnx_add(m, bytes, size);
}

void onnx_string(onnx_bytes *m, int field, const char *text) {
    onnx_blob(m, field, text, strlen(text));
}

void onnx_message(onnx_bytes *m, int field, onnx_bytes *part) {
    onnx_blob(m, field, part->bytes, part->size);
    free(part->bytes);
    *part = (onnx_bytes){0};
}

void onnx_node(onnx_bytes *graph, const char *op, const char *first, const char *second,
               const char *output) {
    onnx_bytes node = {0};
    onnx_string(&node, NODE_INPUT, first);
    if (second)
        onnx_string(&node, NODE_INPUT, second);
    onnx_string(&node, NODE_OUTPUT, output);
    onnx_string(&node, NODE_NAME, output);
    onnx_string(&node, NODE_OPERATOR, op);
    onnx_message(graph, GRAPH_NODE, &node);
}

/* ValueInfoProto { name, TypeProto { Tensor { elem_type, TensorShapeProto { Dimension ... } } } }
 */
void onnx_port(onnx_bytes *graph, int field, const char *name, uint64_t channels) {
    onnx_bytes batch = {0}, size = {0}, shape = {0}, tensor = {0}, type = {0}, port = {0};
    onnx_string(&batch, 2, "N");
    onnx_number(&size, 1, channels);
    onnx_message(&shape, 1, &batch);
    onnx_message(&shape, 1, &size);
    onnx_number(&tensor, 1, 1);
    onnx_message(&tensor, 2, &shape);
    onnx_message(&type, 1, &tensor);
    onnx_string(&port, 1, name);
    onnx_message(&port, 2, &type);
    onnx_message(graph, field, &port);
}

void onnx_write_model(const char *path, onnx_bytes *graph) {
    onnx_bytes model = {0}, opset = {0};
    onnx_number(&opset, 2, 17);
    onnx_string(graph, GRAPH_NAME, "test");
    onnx_number(&model, MODEL_IR, 8);
    onnx_message(&model, MODEL_GRAPH, graph);
    onnx_message(&model, MODEL_OPSET, &opset);
    write_file(path, model.bytes, model.size);
    free(model.bytes);
}
