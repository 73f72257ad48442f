/* Decodes an ONNX file by nanopb's primitives, field by field: the messages are walked where they
 * lie in the mapped file, so that tensors are only pointed at. Called by import.c. */
#include "base/alloc.h"
#include "base/status.h"
#include "formats/formats.h"
#include "formats/onnx/model.h"
#include <stdint.h>
#include <string.h>

#ifdef FV_HAVE_ONNX

#include "onnx.pb.h"
#include <pb_decode.h>

enum { MOST_NODES = 1 << 18 }; /* and tensors; far beyond any net, so that memory is bounded */

/* ---- Fields --------------------------------------------------------------------------------- */

/* A message that is being walked: its bytes, and the field that was met. */
typedef struct message {
    pb_istream_t stream;
    uint32_t tag;
    pb_wire_type_t wire;
} message;

static fv_status damaged(void) {
    return fv_fail(FV_FORMAT,
                   "damaged: what stands there is no ONNX message (the file may have been "
                   "cut short)");
}

static message message_of(const unsigned char *bytes, size_t size) {
    return (message){.stream = pb_istream_from_buffer(bytes, size)};
}

/* The next field; false at the end, or with *status set. */
static bool next(message *m, fv_status *status) {
    bool end = false;
    if (*status != FV_OK || m->stream.bytes_left == 0)
        return false;
    if (pb_decode_tag(&m->stream, &m->wire, &m->tag, &end))
        return true;
    *status = end ? FV_OK : damaged();
    return false;
}

static fv_status skip(message *m) {
    return pb_skip_field(&m->stream, m->wire) ? FV_OK : damaged();
}

/* The bytes of a string, a message or packed numbers. */
static fv_status bytes_of(message *m, const unsigned char **bytes, size_t *size) {
    uint64_t length;
    if (m->wire != PB_WT_STRING || !pb_decode_varint(&m->stream, &length) ||
        length > m->stream.bytes_left)
        return damaged();
    *bytes = m->stream.state;
    *size = (size_t)length;
    m->stream.state = (pb_byte_t *)m->stream.state + length;
    m->stream.bytes_left -= (size_t)length;
    return FV_OK;
}

static fv_status inner(message *m, message *part) {
    const unsigned char *bytes = NULL;
    size_t size = 0;
    fv_status status = bytes_of(m, &bytes, &size);
    if (status == FV_OK)
        *part = message_of(bytes, size);
    return status;
}

static fv_status text(message *m, fv_onnx_model *model, const char **string) {
    const unsigned char *bytes = NULL;
    size_t size = 0;
    fv_status status = bytes_of(m, &bytes, &size);
    if (status != FV_OK)
        return status;
    if (memchr(bytes, 0, size))
        return fv_fail(FV_FORMAT, "damaged: a name has a byte 0 in it");
    *string = fv_arena_text(&model->arena, bytes, size);
    return *string ? FV_OK : FV_MEMORY;
}

static fv_status integer(message *m, int64_t *value) {
    uint64_t bits;
    if (m->wire != PB_WT_VARINT || !pb_decode_varint(&m->stream, &bits))
        return damaged();
    *value = (int64_t)bits;
    return FV_OK;
}

static fv_status small_integer(message *m, int *value) {
    int64_t wide = 0;
    fv_status status = integer(m, &wide);
    if (status == FV_OK)
        *value = wide < INT32_MIN || wide > INT32_MAX ? -1 : (int)wide;
    return status;
}

/* ---- Lists of numbers: of one field, or packed in one --------------------------------------- */

/* Takes one number of a list; `wire` says how it is written. */
static bool number_bits(pb_istream_t *stream, pb_wire_type_t wire, uint64_t *bits) {
    uint32_t half = 0;
    if (wire == PB_WT_VARINT)
        return pb_decode_varint(stream, bits);
    if (wire == PB_WT_64BIT)
        return pb_decode_fixed64(stream, bits);
    bool good = wire == PB_WT_32BIT && pb_decode_fixed32(stream, &half);
    *bits = half;
    return good;
}

typedef struct bits_list {
    uint64_t *items;
    size_t count, capacity;
} bits_list;

static fv_status add_bits(fv_onnx_model *model, pb_istream_t *stream, pb_wire_type_t wire,
                          bits_list *list) {
    uint64_t bits;
    void *items;
    if (!number_bits(stream, wire, &bits))
        return damaged();
    items = fv_arena_grow(&model->arena, list->items, list->count, &list->capacity,
                          sizeof *list->items);
    if (!items)
        return FV_MEMORY;
    list->items = items;
    list->items[list->count++] = bits;
    return FV_OK;
}

/* `unpacked`: how a number of the list is written. */
static fv_status add_list(fv_onnx_model *model, message *m, pb_wire_type_t unpacked,
                          bits_list *list) {
    message part;
    if (m->wire != PB_WT_STRING)
        return m->wire == unpacked ? add_bits(model, &m->stream, unpacked, list) : damaged();
    fv_status status = inner(m, &part);
    while (status == FV_OK && part.stream.bytes_left > 0)
        status = add_bits(model, &part.stream, unpacked, list);
    return status;
}

/* ---- Tensors -------------------------------------------------------------------------------- */

/* What is met of a tensor before its type and sizes are known. */
typedef struct tensor_parts {
    bits_list dims, numbers;
    const unsigned char *raw, *packed; /* packed: float_data or double_data in one piece */
    size_t raw_size, packed_size;
    int typed; /* the field that numbers came in; 0: none */
    bool has_raw, external, segmented;
    const char *location;
    int64_t offset, length; /* -1: not said */
} tensor_parts;

static fv_status refuse_parts(const fv_onnx_tensor *t, const char *what) {
    return fv_fail(FV_FORMAT, "tensor \"%.100s\": %s", t->name, what);
}

/* Which fields hold the numbers of which types. */
static int field_of(int type) {
    switch ((fv_onnx_type)type) {
    case FV_ONNX_FLOAT:
        return fv_onnx_TensorProto_float_data_tag;
    case FV_ONNX_DOUBLE:
        return fv_onnx_TensorProto_double_data_tag;
    case FV_ONNX_INT64:
        return fv_onnx_TensorProto_int64_data_tag;
    case FV_ONNX_UINT32:
    case FV_ONNX_UINT64:
        return fv_onnx_TensorProto_uint64_data_tag;
    case FV_ONNX_UINT8:
    case FV_ONNX_INT8:
    case FV_ONNX_UINT16:
    case FV_ONNX_INT16:
    case FV_ONNX_INT32:
    case FV_ONNX_BOOL:
    case FV_ONNX_FLOAT16:
    case FV_ONNX_BFLOAT16:
        break;
    }
    return fv_onnx_TensorProto_int32_data_tag;
}

static fv_status add_typed(fv_onnx_model *model, message *m, tensor_parts *parts) {
    bool is_float = m->tag == fv_onnx_TensorProto_float_data_tag;
    bool is_double = m->tag == fv_onnx_TensorProto_double_data_tag;
    parts->typed = (int)m->tag;
    if ((is_float || is_double) && m->wire == PB_WT_STRING && !parts->packed &&
        parts->numbers.count == 0)
        return bytes_of(m, &parts->packed, &parts->packed_size);
    if (parts->packed)
        return fv_fail(FV_FORMAT, "damaged: a tensor's numbers come in several pieces");
    return add_list(model, m,
                    is_float    ? PB_WT_32BIT
                    : is_double ? PB_WT_64BIT
                                : PB_WT_VARINT,
                    &parts->numbers);
}

static fv_status decimal(const char *string, int64_t *value) {
    *value = string[0] ? 0 : -1;
    for (const char *c = string; *c || *value < 0; c++) {
        if (*c < '0' || *c > '9' || *value > (INT64_MAX - 9) / 10)
            return fv_fail(FV_FORMAT, "external data: \"%.40s\" is no number of bytes", string);
        *value = 10 * *value + (*c - '0');
    }
    return FV_OK;
}

static fv_status add_external(fv_onnx_model *model, message *m, tensor_parts *parts) {
    message entry;
    const char *key = "", *value = "";
    fv_status status = inner(m, &entry);
    while (next(&entry, &status)) {
        if (entry.tag == fv_onnx_StringStringEntryProto_key_tag)
            status = text(&entry, model, &key);
        else if (entry.tag == fv_onnx_StringStringEntryProto_value_tag)
            status = text(&entry, model, &value);
        else
            status = skip(&entry);
    }
    if (status == FV_OK && strcmp(key, "location") == 0)
        parts->location = value;
    else if (status == FV_OK && strcmp(key, "offset") == 0)
        status = decimal(value, &parts->offset);
    else if (status == FV_OK && strcmp(key, "length") == 0)
        status = decimal(value, &parts->length);
    return status;
}

static fv_status read_part(fv_onnx_model *model, message *m, fv_onnx_tensor *t,
                           tensor_parts *parts) {
    int where = 0;
    fv_status status;
    switch (m->tag) {
    case fv_onnx_TensorProto_dims_tag:
        return add_list(model, m, PB_WT_VARINT, &parts->dims);
    case fv_onnx_TensorProto_data_type_tag:
        return small_integer(m, &t->type);
    case fv_onnx_TensorProto_name_tag:
        return text(m, model, &t->name);
    case fv_onnx_TensorProto_raw_data_tag:
        parts->has_raw = true;
        return bytes_of(m, &parts->raw, &parts->raw_size);
    case fv_onnx_TensorProto_float_data_tag:
    case fv_onnx_TensorProto_double_data_tag:
    case fv_onnx_TensorProto_int32_data_tag:
    case fv_onnx_TensorProto_int64_data_tag:
    case fv_onnx_TensorProto_uint64_data_tag:
        return add_typed(model, m, parts);
    case fv_onnx_TensorProto_external_data_tag:
        return add_external(model, m, parts);
    case fv_onnx_TensorProto_data_location_tag:
        status = small_integer(m, &where);
        parts->external = where == fv_onnx_TensorProto_DataLocation_EXTERNAL;
        return status;
    case fv_onnx_TensorProto_segment_tag:
        parts->segmented = true;
        return skip(m);
    default:
        return skip(m);
    }
}

/* The numbers of a list in the type's own width. */
static fv_status narrow(fv_onnx_model *model, const bits_list *numbers, fv_onnx_tensor *t) {
    size_t width = fv_onnx_width(t->type);
    unsigned char *bytes = fv_arena_new(&model->arena, numbers->count, width);
    for (size_t i = 0; bytes && i < numbers->count; i++)
        memcpy(bytes + i * width, &numbers->items[i], width);
    t->bytes = bytes;
    return bytes ? FV_OK : FV_MEMORY;
}

static fv_status find_external(fv_onnx_model *model, const tensor_parts *parts, size_t needed,
                               fv_onnx_tensor *t) {
    size_t found;
    if (!parts->location)
        return refuse_parts(t, "its data is external, but no file is named");
    size_t size = parts->length >= 0 ? (size_t)parts->length : needed;
    fv_status status =
        fv_onnx_external(model, parts->location, parts->offset >= 0 ? (size_t)parts->offset : 0,
                         size, &t->bytes, &found);
    if (status == FV_OK && found != needed)
        return refuse_parts(t, "its external data has another length than its sizes need");
    return status == FV_OK ? FV_OK : fv_fail_in(status, "tensor \"%.100s\"", t->name);
}

/* Points t->bytes at the numbers, as many as the sizes say. */
static fv_status find_numbers(fv_onnx_model *model, const tensor_parts *parts, fv_onnx_tensor *t) {
    size_t needed = t->count * fv_onnx_width(t->type);
    if (parts->external)
        return find_external(model, parts, needed, t);
    if (parts->has_raw && parts->raw_size == needed) {
        t->bytes = parts->raw;
        return FV_OK;
    }
    if (parts->has_raw)
        return fv_fail(FV_FORMAT,
                       "tensor \"%.100s\": its sizes need %zu bytes, but the file has %zu", t->name,
                       needed, parts->raw_size);
    if (t->count > 0 && parts->typed != field_of(t->type))
        return refuse_parts(t, "its numbers are missing, or stand where those of another type do");
    if (parts->packed && parts->packed_size == needed) {
        t->bytes = parts->packed;
        return FV_OK;
    }
    if (parts->packed || parts->numbers.count != t->count)
        return refuse_parts(t, "the file has more or fewer numbers than its sizes say");
    return narrow(model, &parts->numbers, t);
}

static fv_status read_tensor(fv_onnx_model *model, message *m, fv_onnx_tensor *t) {
    message part;
    tensor_parts parts = {.offset = -1, .length = -1};
    *t = (fv_onnx_tensor){.name = ""};
    fv_status status = inner(m, &part);
    while (next(&part, &status))
        status = read_part(model, &part, t, &parts);
    if (status != FV_OK)
        return fv_fail_in(status, "tensor \"%.100s\"", t->name);
    if (parts.segmented)
        return fv_fail(FV_UNSUPPORTED, "tensor \"%.100s\" comes in segments, which are not read",
                       t->name);
    if (parts.has_raw + parts.external + (parts.typed != 0) > 1)
        return refuse_parts(t, "its numbers are there twice");
    if (parts.dims.count > FV_ONNX_RANK)
        return refuse_parts(t, "it has more than 8 axes");
    if (fv_onnx_width(t->type) == 0)
        return fv_fail(FV_UNSUPPORTED,
                       "tensor \"%.100s\" has elements of type %d of onnx.proto, expected floats, "
                       "whole numbers or truth values",
                       t->name, t->type);
    t->rank = (int)parts.dims.count;
    for (int a = 0; a < t->rank; a++)
        t->size[a] = (int64_t)parts.dims.items[a];
    status = fv_onnx_count(t);
    return status == FV_OK ? find_numbers(model, &parts, t) : status;
}

/* ---- Nodes ---------------------------------------------------------------------------------- */

static fv_status set_numbers(fv_onnx_model *model, const bits_list *list, fv_onnx_attribute *a) {
    a->count = list->count;
    a->numbers = fv_arena_new(&model->arena, list->count, sizeof *a->numbers);
    for (size_t i = 0; a->numbers && i < list->count; i++)
        memcpy(&a->numbers[i], &list->items[i], sizeof *a->numbers);
    return a->numbers ? FV_OK : FV_MEMORY;
}

static fv_status read_attribute(fv_onnx_model *model, message *m, fv_onnx_attribute *a) {
    message part;
    bits_list floats = {0}, integers = {0};
    uint32_t bits;
    fv_status status = inner(m, &part);
    *a = (fv_onnx_attribute){.name = "", .text = ""};
    while (next(&part, &status)) {
        switch (part.tag) {
        case fv_onnx_AttributeProto_name_tag:
            status = text(&part, model, &a->name);
            break;
        case fv_onnx_AttributeProto_type_tag:
            status = small_integer(&part, &a->type);
            break;
        case fv_onnx_AttributeProto_f_tag:
            if (part.wire != PB_WT_32BIT || !pb_decode_fixed32(&part.stream, &bits))
                return damaged();
            memcpy(&a->number, &bits, sizeof bits);
            break;
        case fv_onnx_AttributeProto_i_tag:
            status = integer(&part, &a->integer);
            break;
        case fv_onnx_AttributeProto_s_tag:
            status = text(&part, model, &a->text);
            break;
        case fv_onnx_AttributeProto_t_tag:
            a->tensor = fv_arena_new(&model->arena, 1, sizeof *a->tensor);
            status = a->tensor ? read_tensor(model, &part, a->tensor) : FV_MEMORY;
            break;
        case fv_onnx_AttributeProto_floats_tag:
            status = add_list(model, &part, PB_WT_32BIT, &floats);
            break;
        case fv_onnx_AttributeProto_ints_tag:
            status = add_list(model, &part, PB_WT_VARINT, &integers);
            break;
        default:
            status = skip(&part);
        }
    }
    if (status == FV_OK && floats.count > 0)
        return set_numbers(model, &floats, a);
    if (integers.count > 0) {
        a->integers = (int64_t *)integers.items; /* the same bits */
        a->count = integers.count;
    }
    return status;
}

static fv_status add_name(fv_onnx_model *model, message *m, const char ***names, size_t *count,
                          size_t *capacity) {
    void *grown = fv_arena_grow(&model->arena, (void *)*names, *count, capacity, sizeof **names);
    if (!grown)
        return FV_MEMORY;
    *names = grown;
    return text(m, model, &(*names)[(*count)++]);
}

static fv_status read_node(fv_onnx_model *model, message *m, fv_onnx_node *n) {
    message part;
    size_t inputs = 0, outputs = 0, attributes = 0;
    fv_status status = inner(m, &part);
    *n = (fv_onnx_node){.op = "", .name = "", .domain = ""};
    while (next(&part, &status)) {
        void *grown;
        switch (part.tag) {
        case fv_onnx_NodeProto_input_tag:
            status = add_name(model, &part, &n->inputs, &n->input_count, &inputs);
            break;
        case fv_onnx_NodeProto_output_tag:
            status = add_name(model, &part, &n->outputs, &n->output_count, &outputs);
            break;
        case fv_onnx_NodeProto_name_tag:
            status = text(&part, model, &n->name);
            break;
        case fv_onnx_NodeProto_op_type_tag:
            status = text(&part, model, &n->op);
            break;
        case fv_onnx_NodeProto_domain_tag:
            status = text(&part, model, &n->domain);
            break;
        case fv_onnx_NodeProto_attribute_tag:
            grown = fv_arena_grow(&model->arena, n->attributes, n->attribute_count, &attributes,
                                  sizeof *n->attributes);
            n->attributes = grown ? grown : n->attributes;
            status = grown ? read_attribute(model, &part, &n->attributes[n->attribute_count++])
                           : FV_MEMORY;
            break;
        default:
            status = skip(&part);
        }
    }
    if (status == FV_OK && n->op[0] == 0)
        status = fv_fail(FV_FORMAT, "it has no operator");
    if (status == FV_OK && n->output_count == 0)
        status = fv_fail(FV_FORMAT, "it has no output");
    return status == FV_OK ? FV_OK : fv_fail_in(status, "node \"%.100s\" (%.40s)", n->name, n->op);
}

/* ---- What goes in and out ------------------------------------------------------------------- */

static fv_status read_size(fv_onnx_model *model, message *m, fv_onnx_port *port) {
    message part;
    if (port->rank == FV_ONNX_RANK)
        return fv_fail(FV_FORMAT, "\"%.100s\" has more than 8 axes", port->name);
    int axis = port->rank++;
    port->size[axis] = -1;
    fv_status status = inner(m, &part);
    while (next(&part, &status)) {
        if (part.tag == fv_onnx_TensorShapeProto_Dimension_dim_value_tag)
            status = integer(&part, &port->size[axis]);
        else if (part.tag == fv_onnx_TensorShapeProto_Dimension_dim_param_tag)
            status = text(&part, model, &port->word[axis]);
        else
            status = skip(&part);
    }
    return status;
}

static fv_status read_shape(fv_onnx_model *model, message *m, fv_onnx_port *port) {
    message part;
    fv_status status = inner(m, &part);
    port->rank = 0;
    while (next(&part, &status))
        status = part.tag == fv_onnx_TensorShapeProto_dim_tag ? read_size(model, &part, port)
                                                              : skip(&part);
    return status;
}

static fv_status read_type(fv_onnx_model *model, message *m, fv_onnx_port *port) {
    message type, tensor;
    fv_status status = inner(m, &type);
    while (next(&type, &status)) {
        if (type.tag != fv_onnx_TypeProto_tensor_type_tag) {
            status = skip(&type);
            continue;
        }
        status = inner(&type, &tensor);
        while (next(&tensor, &status)) {
            if (tensor.tag == fv_onnx_TypeProto_Tensor_elem_type_tag)
                status = small_integer(&tensor, &port->type);
            else if (tensor.tag == fv_onnx_TypeProto_Tensor_shape_tag)
                status = read_shape(model, &tensor, port);
            else
                status = skip(&tensor);
        }
    }
    return status;
}

static fv_status read_port(fv_onnx_model *model, message *m, fv_onnx_port *port) {
    message part;
    fv_status status = inner(m, &part);
    *port = (fv_onnx_port){.name = "", .rank = -1};
    while (next(&part, &status)) {
        if (part.tag == fv_onnx_ValueInfoProto_name_tag)
            status = text(&part, model, &port->name);
        else if (part.tag == fv_onnx_ValueInfoProto_type_tag)
            status = read_type(model, &part, port);
        else
            status = skip(&part);
    }
    return status;
}

/* ---- The graph and the model ---------------------------------------------------------------- */

/* Room for one more; NULL with a message. */
static void *add_item(fv_onnx_model *model, void *items, size_t *count, size_t *capacity,
                      size_t size) {
    if (*count >= MOST_NODES) {
        fv_fail(FV_UNSUPPORTED, "more than %d nodes or tensors", MOST_NODES);
        return NULL;
    }
    void *grown = fv_arena_grow(&model->arena, items, *count, capacity, size);
    *count += grown != NULL;
    return grown;
}

static fv_status read_initializer(fv_onnx_model *model, message *m, fv_onnx_tensor *t) {
    fv_status status = read_tensor(model, m, t);
    if (status == FV_OK && t->name[0] == 0)
        return fv_fail(FV_FORMAT, "an initialiser has no name");
    return status;
}

static fv_status read_graph_field(fv_onnx_model *model, message *m) {
    void *grown;
    switch (m->tag) {
    case fv_onnx_GraphProto_node_tag:
        grown = add_item(model, model->nodes, &model->node_count, &model->node_capacity,
                         sizeof *model->nodes);
        model->nodes = grown ? grown : model->nodes;
        return grown ? read_node(model, m, &model->nodes[model->node_count - 1])
                     : fv_error_status();
    case fv_onnx_GraphProto_initializer_tag:
        grown = add_item(model, model->tensors, &model->tensor_count, &model->tensor_capacity,
                         sizeof *model->tensors);
        model->tensors = grown ? grown : model->tensors;
        return grown ? read_initializer(model, m, &model->tensors[model->tensor_count - 1])
                     : fv_error_status();
    case fv_onnx_GraphProto_input_tag:
        grown = add_item(model, model->inputs, &model->input_count, &model->input_capacity,
                         sizeof *model->inputs);
        model->inputs = grown ? grown : model->inputs;
        return grown ? read_port(model, m, &model->inputs[model->input_count - 1])
                     : fv_error_status();
    case fv_onnx_GraphProto_output_tag:
        grown = add_item(model, model->outputs, &model->output_count, &model->output_capacity,
                         sizeof *model->outputs);
        model->outputs = grown ? grown : model->outputs;
        return grown ? read_port(model, m, &model->outputs[model->output_count - 1])
                     : fv_error_status();
    case fv_onnx_GraphProto_sparse_initializer_tag:
        return fv_fail(FV_UNSUPPORTED, "it has sparse initialisers, which are not read");
    default:
        return skip(m);
    }
}

static fv_status read_graph(fv_onnx_model *model, message *m) {
    message part;
    fv_status status = inner(m, &part);
    while (next(&part, &status))
        status = read_graph_field(model, &part);
    return status;
}

static fv_status read_opset(fv_onnx_model *model, message *m) {
    message part;
    const char *domain = "";
    int64_t version = 0;
    fv_status status = inner(m, &part);
    while (next(&part, &status)) {
        if (part.tag == fv_onnx_OperatorSetIdProto_domain_tag)
            status = text(&part, model, &domain);
        else if (part.tag == fv_onnx_OperatorSetIdProto_version_tag)
            status = integer(&part, &version);
        else
            status = skip(&part);
    }
    if (status == FV_OK && (*domain == 0 || strcmp(domain, "ai.onnx") == 0))
        model->opset = version;
    return status;
}

static fv_status read_metadata(fv_onnx_model *model, message *m) {
    message part;
    const char *key = "", *value = "";
    fv_status status = inner(m, &part);
    while (next(&part, &status)) {
        if (part.tag == fv_onnx_StringStringEntryProto_key_tag)
            status = text(&part, model, &key);
        else if (part.tag == fv_onnx_StringStringEntryProto_value_tag)
            status = text(&part, model, &value);
        else
            status = skip(&part);
    }
    if (status == FV_OK && strcmp(key, FV_CLASSES_KEY) == 0)
        model->classes = value;
    return status;
}

static fv_status read_model(fv_onnx_model *model) {
    const fv_mapping *mapping = &model->files[0].mapping;
    message m = message_of(mapping->bytes, mapping->size);
    bool graph = false;
    fv_status status = FV_OK;
    while (next(&m, &status)) {
        switch (m.tag) {
        case fv_onnx_ModelProto_graph_tag:
            graph = true;
            status = read_graph(model, &m);
            break;
        case fv_onnx_ModelProto_ir_version_tag:
            status = integer(&m, &model->ir);
            break;
        case fv_onnx_ModelProto_opset_import_tag:
            status = read_opset(model, &m);
            break;
        case fv_onnx_ModelProto_producer_name_tag:
            status = text(&m, model, &model->producer);
            break;
        case fv_onnx_ModelProto_metadata_props_tag:
            status = read_metadata(model, &m);
            break;
        default:
            status = skip(&m);
        }
    }
    if (status == FV_OK && !graph)
        return fv_fail(FV_FORMAT, "it holds no graph: is it an ONNX model?");
    return status;
}

fv_status fv_onnx_open(const char *path, fv_onnx_model *model) {
    *model = (fv_onnx_model){.path = path, .producer = ""};
    fv_status status = fv_file_open(&model->file, path);
    if (status != FV_OK)
        return status;
    model->files =
        fv_arena_grow(&model->arena, NULL, 0, &model->file_capacity, sizeof *model->files);
    status = model->files ? fv_map_open_file(&model->file, &model->files[0].mapping) : FV_MEMORY;
    model->file_count = status == FV_OK;
    if (status == FV_OK) {
        status = read_model(model);
        if (status != FV_OK)
            fv_fail_in(status, "%s", path);
    }
    if (status != FV_OK)
        fv_onnx_close(model);
    return status;
}

void fv_onnx_close(fv_onnx_model *model) {
    for (size_t i = 0; i < model->file_count; i++)
        fv_unmap_file(&model->files[i].mapping);
    fv_file_close(&model->file);
    fv_arena_free(&model->arena);
    *model = (fv_onnx_model){0};
}

#endif
