/* See onnx_text.h. nanopb hands each name, list and message within a message to a callback. */
#include "onnx_text.h"
#ifdef FV_HAVE_ONNX
#include "files.h"
#include "onnx.pb.h"
#include <pb_decode.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool read_text(pb_istream_t *stream, const pb_field_t *field, void **argument) {
    (void)field;
    fv_text *text = *argument;
    char bytes[512];
    size_t size = stream->bytes_left;
    assert_true(size < sizeof bytes);
    if (!pb_read(stream, (pb_byte_t *)bytes, size))
        return false;
    fv_text_add(text, "%s%.*s", text->size > 0 ? ", " : "", (int)size, bytes);
    return true;
}

static pb_callback_t into(fv_text *text) {
    return (pb_callback_t){.funcs.decode = read_text, .arg = text};
}

static bool read_integers(pb_istream_t *stream, const pb_field_t *field, void **argument) {
    (void)field;
    fv_text *text = *argument;
    uint64_t value;
    if (!pb_decode_varint(stream, &value))
        return false;
    fv_text_add(text, "%s%lld", text->size > 0 ? "," : "", (long long)value);
    return true;
}

static pb_callback_t integers_into(fv_text *text) {
    return (pb_callback_t){.funcs.decode = read_integers, .arg = text};
}

static const char *words(const fv_text *text) {
    return text->bytes ? text->bytes : "";
}

static bool read_attribute(pb_istream_t *stream, const pb_field_t *field, void **argument) {
    (void)field;
    fv_text *line = *argument, name = {0}, string = {0}, list = {0};
    fv_onnx_AttributeProto proto = fv_onnx_AttributeProto_init_zero;
    proto.name = into(&name);
    proto.s = into(&string);
    proto.ints = integers_into(&list);
    if (!pb_decode(stream, fv_onnx_AttributeProto_fields, &proto))
        return false;
    fv_text_add(line, " %s=", words(&name));
    if (proto.type == fv_onnx_AttributeProto_AttributeType_INT)
        fv_text_add(line, "%lld", (long long)proto.i);
    else if (proto.type == fv_onnx_AttributeProto_AttributeType_FLOAT)
        fv_text_add(line, "%g", (double)proto.f);
    else if (proto.type == fv_onnx_AttributeProto_AttributeType_INTS)
        fv_text_add(line, "%s", words(&list));
    else
        fv_text_add(line, "%s", words(&string));
    assert_int_equal(proto.has_i, proto.type == fv_onnx_AttributeProto_AttributeType_INT);
    assert_int_equal(proto.has_f, proto.type == fv_onnx_AttributeProto_AttributeType_FLOAT);
    fv_text_free(&name);
    fv_text_free(&string);
    fv_text_free(&list);
    return true;
}

static bool read_node(pb_istream_t *stream, const pb_field_t *field, void **argument) {
    (void)field;
    onnx_text *d = *argument;
    fv_text name = {0}, op = {0}, in = {0}, out = {0}, attributes = {0};
    fv_onnx_NodeProto proto = fv_onnx_NodeProto_init_zero;
    proto.name = into(&name);
    proto.op_type = into(&op);
    proto.input = into(&in);
    proto.output = into(&out);
    proto.attribute = (pb_callback_t){.funcs.decode = read_attribute, .arg = &attributes};
    if (!pb_decode(stream, fv_onnx_NodeProto_fields, &proto))
        return false;
    assert_string_equal(words(&name), words(&out));
    fv_text_add(&d->nodes, "%s = %s(%s)%s\n", words(&out), words(&op), words(&in),
                words(&attributes));
    fv_text_free(&name);
    fv_text_free(&op);
    fv_text_free(&in);
    fv_text_free(&out);
    fv_text_free(&attributes);
    return true;
}

typedef struct raw {
    unsigned char *bytes;
    size_t size;
} raw;

static bool read_raw(pb_istream_t *stream, const pb_field_t *field, void **argument) {
    (void)field;
    raw *data = *argument;
    data->size = stream->bytes_left;
    data->bytes = malloc(data->size + 1);
    return data->bytes && pb_read(stream, data->bytes, data->size);
}

/* The bytes of a constant called as a weight are that weight's. */
static void compare_weight(onnx_text *d, const char *name, const raw *data) {
    fv_weight_info info;
    for (int i = 0; d->net && i < fv_weight_count(d->net); i++) {
        assert_int_equal(fv_weight_describe(d->net, i, &info), FV_OK);
        if (strcmp(info.name, name) != 0)
            continue;
        float *values = malloc(info.count * sizeof *values);
        assert_non_null(values);
        assert_int_equal(fv_get_weight(d->net, i, values), FV_OK);
        assert_int_equal(data->size, info.count * sizeof *values);
        assert_memory_equal(data->bytes, values, data->size);
        d->weights++;
        free(values);
    }
}

/* Short constants with their values. */
static void add_values(fv_text *text, int type, const raw *data) {
    bool integers = type == fv_onnx_TensorProto_DataType_INT64;
    size_t count = data->size / (integers ? 8 : 4);
    for (size_t i = 0; count <= 12 && i < count; i++) {
        int64_t whole;
        float number;
        if (integers)
            memcpy(&whole, data->bytes + 8 * i, sizeof whole);
        else
            memcpy(&number, data->bytes + 4 * i, sizeof number);
        if (integers)
            fv_text_add(text, " %lld", (long long)whole);
        else
            fv_text_add(text, " %g", (double)number);
    }
}

static bool read_tensor(pb_istream_t *stream, const pb_field_t *field, void **argument) {
    (void)field;
    onnx_text *d = *argument;
    fv_text name = {0}, dims = {0};
    raw data = {0};
    fv_onnx_TensorProto proto = fv_onnx_TensorProto_init_zero;
    proto.name = into(&name);
    proto.dims = integers_into(&dims);
    proto.raw_data = (pb_callback_t){.funcs.decode = read_raw, .arg = &data};
    if (!pb_decode(stream, fv_onnx_TensorProto_fields, &proto))
        return false;
    bool integers = proto.data_type == fv_onnx_TensorProto_DataType_INT64;
    assert_true(integers || proto.data_type == fv_onnx_TensorProto_DataType_FLOAT);
    int weights = d->weights;
    compare_weight(d, words(&name), &data);
    fv_text_add(&d->tensors, "%s %s[%s]", integers ? "int64" : "float", words(&name), words(&dims));
    if (weights == d->weights)
        add_values(&d->tensors, proto.data_type, &data);
    fv_text_add(&d->tensors, "\n");
    fv_text_free(&name);
    fv_text_free(&dims);
    free(data.bytes);
    return true;
}

static bool read_size(pb_istream_t *stream, const pb_field_t *field, void **argument) {
    (void)field;
    fv_text *text = *argument, name = {0};
    /* nanopb clears a oneof before it reads into it, and callbacks with it: so by hand. */
    uint32_t tag;
    pb_wire_type_t wire;
    bool end = false;
    while (pb_decode_tag(stream, &wire, &tag, &end)) {
        if (tag == fv_onnx_TensorShapeProto_Dimension_dim_value_tag) {
            uint64_t value;
            if (!pb_decode_varint(stream, &value))
                return false;
            fv_text_add(&name, "%lld", (long long)value);
        } else {
            pb_istream_t part;
            if (!pb_make_string_substream(stream, &part))
                return false;
            void *to = &name;
            if (!read_text(&part, NULL, &to) || !pb_close_string_substream(stream, &part))
                return false;
        }
    }
    fv_text_add(text, "%s%s", text->size > 0 ? "," : "", name.size > 0 ? name.bytes : "?");
    fv_text_free(&name);
    return end;
}

/* The type of a port: also a oneof. */
static bool read_type(pb_istream_t *stream, fv_text *sizes) {
    fv_onnx_TypeProto_Tensor proto = fv_onnx_TypeProto_Tensor_init_zero;
    uint32_t tag;
    pb_wire_type_t wire;
    bool end = false;
    pb_istream_t part;
    while (pb_decode_tag(stream, &wire, &tag, &end)) {
        assert_int_equal(tag, fv_onnx_TypeProto_tensor_type_tag);
        proto.shape.dim = (pb_callback_t){.funcs.decode = read_size, .arg = sizes};
        if (!pb_make_string_substream(stream, &part) ||
            !pb_decode_ex(&part, fv_onnx_TypeProto_Tensor_fields, &proto, PB_DECODE_NOINIT) ||
            !pb_close_string_substream(stream, &part))
            return false;
        assert_int_equal(proto.elem_type, fv_onnx_TensorProto_DataType_FLOAT);
    }
    return end;
}

static bool read_port(pb_istream_t *stream, onnx_text *d, const char *what) {
    fv_text name = {0}, sizes = {0};
    uint32_t tag;
    pb_wire_type_t wire;
    bool end = false;
    pb_istream_t part;
    while (pb_decode_tag(stream, &wire, &tag, &end)) {
        void *to = &name;
        if (!pb_make_string_substream(stream, &part) ||
            !(tag == fv_onnx_ValueInfoProto_type_tag ? read_type(&part, &sizes)
                                                     : read_text(&part, NULL, &to)) ||
            !pb_close_string_substream(stream, &part))
            return false;
    }
    fv_text_add(&d->ports, "%s %s[%s]\n", what, words(&name), words(&sizes));
    fv_text_free(&name);
    fv_text_free(&sizes);
    return end;
}

static bool read_input(pb_istream_t *stream, const pb_field_t *field, void **argument) {
    (void)field;
    return read_port(stream, *argument, "in");
}

static bool read_output(pb_istream_t *stream, const pb_field_t *field, void **argument) {
    (void)field;
    return read_port(stream, *argument, "out");
}

static bool read_opset(pb_istream_t *stream, const pb_field_t *field, void **argument) {
    (void)field;
    onnx_text *d = *argument;
    fv_text domain = {0};
    fv_onnx_OperatorSetIdProto proto = fv_onnx_OperatorSetIdProto_init_zero;
    proto.domain = into(&domain);
    if (!pb_decode(stream, fv_onnx_OperatorSetIdProto_fields, &proto))
        return false;
    fv_text_add(&d->other, "opset %s%lld\n", words(&domain), (long long)proto.version);
    fv_text_free(&domain);
    return true;
}

static bool read_metadata(pb_istream_t *stream, const pb_field_t *field, void **argument) {
    (void)field;
    onnx_text *d = *argument;
    fv_text key = {0}, value = {0};
    fv_onnx_StringStringEntryProto proto = fv_onnx_StringStringEntryProto_init_zero;
    proto.key = into(&key);
    proto.value = into(&value);
    if (!pb_decode(stream, fv_onnx_StringStringEntryProto_fields, &proto))
        return false;
    fv_text_add(&d->other, "%s: %s\n", words(&key), words(&value));
    fv_text_free(&key);
    fv_text_free(&value);
    return true;
}

onnx_text onnx_text_read(const fv_net *net, const char *path) {
    onnx_text d = {.net = net};
    size_t size;
    unsigned char *bytes = read_whole(path, &size);
    fv_text producer = {0}, version = {0}, graph = {0}, doc = {0};
    fv_onnx_ModelProto model = fv_onnx_ModelProto_init_zero;
    model.producer_name = into(&producer);
    model.producer_version = into(&version);
    model.doc_string = into(&doc);
    model.opset_import = (pb_callback_t){.funcs.decode = read_opset, .arg = &d};
    model.metadata_props = (pb_callback_t){.funcs.decode = read_metadata, .arg = &d};
    model.graph.name = into(&graph);
    model.graph.node = (pb_callback_t){.funcs.decode = read_node, .arg = &d};
    model.graph.initializer = (pb_callback_t){.funcs.decode = read_tensor, .arg = &d};
    model.graph.input = (pb_callback_t){.funcs.decode = read_input, .arg = &d};
    model.graph.output = (pb_callback_t){.funcs.decode = read_output, .arg = &d};
    pb_istream_t stream = pb_istream_from_buffer(bytes, size);
    if (!pb_decode_ex(&stream, fv_onnx_ModelProto_fields, &model, PB_DECODE_NOINIT))
        fail_msg("nanopb: %s", PB_GET_ERROR(&stream));
    assert_int_equal(model.ir_version, 8);
    assert_string_equal(words(&producer), "fovea");
    assert_string_equal(words(&version), fv_version());
    assert_true(graph.size > 0);
    fv_text_add(&d.other, "%s%s", words(&doc), doc.size > 0 ? "\n" : "");
    fv_text_free(&producer);
    fv_text_free(&version);
    fv_text_free(&graph);
    fv_text_free(&doc);
    free(bytes);
    return d;
}

void onnx_text_free(onnx_text *text) {
    fv_text_free(&text->nodes);
    fv_text_free(&text->tensors);
    fv_text_free(&text->ports);
    fv_text_free(&text->other);
}

#endif
