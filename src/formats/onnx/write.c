/* Encodes an ONNX graph (IR 8, opset 17) as protobuf by nanopb: callbacks write names, lists and
 * messages within messages. A message is sized before it is written, by the same callbacks on a
 * stream that only counts; weights are converted in the writing pass alone, one at a time. Called
 * by export.c. */
#include "formats/onnx/export.h"
#ifdef FV_HAVE_ONNX
#include "onnx.pb.h"
#include <inttypes.h>
#include <pb_encode.h>
#include <string.h>
#endif

#ifdef FV_HAVE_ONNX

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw_data is written as it is stored");

enum { IR_VERSION = 8, OPSET = 17 };

static bool only_counts(const pb_ostream_t *stream) {
    return stream->callback == NULL;
}

/* ---- Fields --------------------------------------------------------------------------------- */

typedef bool encoder(pb_ostream_t *stream, const pb_field_t *field, void *const *argument);

/* nanopb hands the argument back as it got it, and nothing here writes through it. */
static pb_callback_t by(encoder *encode, const void *argument) {
    return (pb_callback_t){.funcs.encode = encode, .arg = (void *)(uintptr_t)argument};
}

static bool text(pb_ostream_t *stream, const pb_field_t *field, void *const *argument) {
    const char *string = *argument;
    return pb_encode_tag_for_field(stream, field) &&
           pb_encode_string(stream, (const pb_byte_t *)string, strlen(string));
}

static pb_callback_t string_field(const char *string) {
    return by(text, string);
}

/* A list and its owner: most callbacks need both. */
typedef struct list {
    const fv_export_graph *graph;
    const void *items;
    size_t count;
} list;

static bool integers(pb_ostream_t *stream, const pb_field_t *field, void *const *argument) {
    const list *l = *argument;
    const int64_t *values = l->items;
    for (size_t i = 0; i < l->count; i++)
        if (!pb_encode_tag_for_field(stream, field) ||
            !pb_encode_varint(stream, (uint64_t)values[i]))
            return false;
    return true;
}

static const char *name_of(const fv_export_graph *graph, int value) {
    return value == FV_EXPORT_NONE ? "" : graph->values[value];
}

/* Names of values, for int values. */
static bool names(pb_ostream_t *stream, const pb_field_t *field, void *const *argument) {
    const list *l = *argument;
    const int *values = l->items;
    for (size_t i = 0; i < l->count; i++) {
        const char *name = name_of(l->graph, values[i]);
        if (!text(stream, field, &(void *){(void *)(uintptr_t)name}))
            return false;
    }
    return true;
}

static bool message(pb_ostream_t *stream, const pb_field_t *field, const pb_msgdesc_t *type,
                    const void *contents) {
    return pb_encode_tag_for_field(stream, field) && pb_encode_submessage(stream, type, contents);
}

/* ---- Nodes ---------------------------------------------------------------------------------- */

static bool encode_attribute(pb_ostream_t *stream, const pb_field_t *field,
                             const fv_export_attribute *a) {
    static const fv_onnx_AttributeProto_AttributeType types[] = {
        [FV_EXPORT_FLOAT] = fv_onnx_AttributeProto_AttributeType_FLOAT,
        [FV_EXPORT_INT] = fv_onnx_AttributeProto_AttributeType_INT,
        [FV_EXPORT_STRING] = fv_onnx_AttributeProto_AttributeType_STRING,
        [FV_EXPORT_INTS] = fv_onnx_AttributeProto_AttributeType_INTS};
    list values = {.items = a->integers, .count = (size_t)a->count};
    fv_onnx_AttributeProto proto = fv_onnx_AttributeProto_init_zero;
    proto.name = string_field(a->name);
    proto.has_type = true;
    proto.type = types[a->type];
    proto.has_f = a->type == FV_EXPORT_FLOAT;
    proto.f = a->number;
    proto.has_i = a->type == FV_EXPORT_INT;
    proto.i = a->integers[0];
    if (a->type == FV_EXPORT_STRING)
        proto.s = string_field(a->text);
    if (a->type == FV_EXPORT_INTS)
        proto.ints = by(integers, &values);
    return message(stream, field, fv_onnx_AttributeProto_fields, &proto);
}

static bool attributes(pb_ostream_t *stream, const pb_field_t *field, void *const *argument) {
    const list *l = *argument;
    const fv_export_attribute *items = l->items;
    for (size_t i = 0; i < l->count; i++)
        if (!encode_attribute(stream, field, &items[i]))
            return false;
    return true;
}

/* A node has the name of its output. */
static bool nodes(pb_ostream_t *stream, const pb_field_t *field, void *const *argument) {
    const fv_export_graph *g = *argument;
    for (size_t i = 0; i < g->node_count; i++) {
        const fv_export_node *n = &g->nodes[i];
        list inputs = {g, n->inputs, (size_t)n->input_count}, output = {g, &n->output, 1};
        list all = {g, g->attributes + n->first_attribute, n->attribute_count};
        fv_onnx_NodeProto proto = fv_onnx_NodeProto_init_zero;
        proto.input = by(names, &inputs);
        proto.output = by(names, &output);
        proto.name = string_field(g->values[n->output]);
        proto.op_type = string_field(n->op);
        proto.attribute = by(attributes, &all);
        if (!message(stream, field, fv_onnx_NodeProto_fields, &proto))
            return false;
    }
    return true;
}

/* ---- Tensors -------------------------------------------------------------------------------- */

/* A weight in the order that files have; false, with the thread's message, where it cannot be had.
 */
static bool write_weight(pb_ostream_t *stream, const fv_export_tensor *tensor) {
    float *values = fv_alloc(tensor->count, sizeof *values);
    if (!values)
        return false;
    bool written =
        fv_get_weight(tensor->net, tensor->weight, values) == FV_OK &&
        pb_encode_string(stream, (const pb_byte_t *)values, tensor->count * sizeof *values);
    fv_free(values);
    return written;
}

static bool raw_data(pb_ostream_t *stream, const pb_field_t *field, void *const *argument) {
    const fv_export_tensor *t = *argument;
    const void *bytes = t->integers ? (const void *)t->integers : t->floats;
    size_t size;
    if (!pb_encode_tag_for_field(stream, field) ||
        !fv_size_product(t->count, t->integers ? sizeof *t->integers : sizeof *t->floats, &size))
        return false;
    if (t->net && !only_counts(stream))
        return write_weight(stream, t);
    return pb_encode_string(stream, bytes, size);
}

static bool tensors(pb_ostream_t *stream, const pb_field_t *field, void *const *argument) {
    const fv_export_graph *g = *argument;
    for (size_t i = 0; i < g->tensor_count; i++) {
        const fv_export_tensor *t = &g->tensors[i];
        int64_t sizes[FV_EXPORT_RANK];
        for (int k = 0; k < t->rank; k++)
            sizes[k] = (int64_t)t->size[k];
        list dims = {.items = sizes, .count = (size_t)t->rank};
        fv_onnx_TensorProto proto = fv_onnx_TensorProto_init_zero;
        proto.dims = by(integers, &dims);
        proto.has_data_type = true;
        proto.data_type =
            t->integers ? fv_onnx_TensorProto_DataType_INT64 : fv_onnx_TensorProto_DataType_FLOAT;
        proto.name = string_field(g->values[t->value]);
        proto.raw_data = by(raw_data, t);
        if (!message(stream, field, fv_onnx_TensorProto_fields, &proto))
            return false;
    }
    return true;
}

/* ---- What goes in and out ------------------------------------------------------------------- */

static bool encode_size(pb_ostream_t *stream, const pb_field_t *field, int size, const char *name) {
    fv_onnx_TensorShapeProto_Dimension proto = fv_onnx_TensorShapeProto_Dimension_init_zero;
    if (size != FV_ANY) {
        proto.which_value = fv_onnx_TensorShapeProto_Dimension_dim_value_tag;
        proto.value.dim_value = size;
    } else if (name) {
        proto.which_value = fv_onnx_TensorShapeProto_Dimension_dim_param_tag;
        proto.value.dim_param = string_field(name);
    }
    return message(stream, field, fv_onnx_TensorShapeProto_Dimension_fields, &proto);
}

/* "N", channels, sizes. Those that vary have names in the input; in outputs nobody knows them. */
static bool sizes_of(pb_ostream_t *stream, const pb_field_t *field, const fv_shape *shape,
                     bool input) {
    static const char *const axes[] = {"D", "H", "W"};
    bool good = encode_size(stream, field, FV_ANY, "N") &&
                encode_size(stream, field, shape->channels, NULL);
    for (int i = 0; i < shape->rank && good; i++)
        good = encode_size(stream, field, shape->size[i], input ? axes[3 - shape->rank + i] : NULL);
    return good;
}

static bool input_sizes(pb_ostream_t *stream, const pb_field_t *field, void *const *argument) {
    return sizes_of(stream, field, *argument, true);
}

static bool output_sizes(pb_ostream_t *stream, const pb_field_t *field, void *const *argument) {
    return sizes_of(stream, field, *argument, false);
}

static bool encode_ports(pb_ostream_t *stream, const pb_field_t *field,
                         const fv_export_graph *graph, const fv_export_port *ports, size_t count,
                         encoder *sizes) {
    for (size_t i = 0; i < count; i++) {
        fv_onnx_ValueInfoProto proto = fv_onnx_ValueInfoProto_init_zero;
        proto.name = string_field(graph->values[ports[i].value]);
        proto.has_type = true;
        proto.type.which_value = fv_onnx_TypeProto_tensor_type_tag;
        fv_onnx_TypeProto_Tensor *type = &proto.type.value.tensor_type;
        *type = (fv_onnx_TypeProto_Tensor)fv_onnx_TypeProto_Tensor_init_zero;
        type->has_elem_type = type->has_shape = true;
        type->elem_type = fv_onnx_TensorProto_DataType_FLOAT;
        type->shape.dim = by(sizes, &ports[i].shape);
        if (!message(stream, field, fv_onnx_ValueInfoProto_fields, &proto))
            return false;
    }
    return true;
}

static bool inputs(pb_ostream_t *stream, const pb_field_t *field, void *const *argument) {
    const fv_export_graph *g = *argument;
    return encode_ports(stream, field, g, g->inputs, g->input_count, input_sizes);
}

static bool outputs(pb_ostream_t *stream, const pb_field_t *field, void *const *argument) {
    const fv_export_graph *g = *argument;
    return encode_ports(stream, field, g, g->outputs, g->output_count, output_sizes);
}

/* ---- The model ------------------------------------------------------------------------------ */

static bool opset(pb_ostream_t *stream, const pb_field_t *field, void *const *argument) {
    (void)argument;
    fv_onnx_OperatorSetIdProto proto = fv_onnx_OperatorSetIdProto_init_zero;
    proto.domain = string_field("");
    proto.has_version = true;
    proto.version = OPSET;
    return message(stream, field, fv_onnx_OperatorSetIdProto_fields, &proto);
}

static bool metadata(pb_ostream_t *stream, const pb_field_t *field, void *const *argument) {
    const fv_export_graph *g = *argument;
    if (!g->classes)
        return true;
    fv_onnx_StringStringEntryProto proto = fv_onnx_StringStringEntryProto_init_zero;
    proto.key = string_field(FV_CLASSES_KEY);
    proto.value = string_field(g->classes);
    return message(stream, field, fv_onnx_StringStringEntryProto_fields, &proto);
}

static fv_onnx_ModelProto model_of(const fv_export_graph *g) {
    fv_onnx_ModelProto model = fv_onnx_ModelProto_init_zero;
    model.has_ir_version = true;
    model.ir_version = IR_VERSION;
    model.producer_name = string_field("fovea");
    model.producer_version = string_field(fv_version());
    if (g->doc)
        model.doc_string = string_field(g->doc);
    model.opset_import = by(opset, g);
    model.metadata_props = by(metadata, g);
    model.has_graph = true;
    model.graph.name = string_field("fovea");
    model.graph.node = by(nodes, g);
    model.graph.initializer = by(tensors, g);
    model.graph.input = by(inputs, g);
    model.graph.output = by(outputs, g);
    return model;
}

static bool to_file(pb_ostream_t *stream, const pb_byte_t *bytes, size_t size) {
    fv_writer *writer = stream->state;
    fv_write(writer, bytes, size);
    return writer->status == FV_OK;
}

/* Fills *size; FV_UNSUPPORTED where protobuf cannot hold the model. */
static fv_status measure(const fv_onnx_ModelProto *model, size_t *size) {
    if (pb_get_encoded_size(size, fv_onnx_ModelProto_fields, model) && *size <= INT32_MAX)
        return FV_OK;
    return fv_fail(FV_UNSUPPORTED,
                   "the model is too large for one ONNX file, which holds at most %" PRId32
                   " bytes (export it as .safetensors)",
                   INT32_MAX);
}

fv_status fv_export_write(const fv_export_graph *graph, const char *path) {
    fv_onnx_ModelProto model = model_of(graph);
    size_t size;
    fv_status status = measure(&model, &size);
    if (status != FV_OK)
        return fv_fail_in(status, "%s", path);
    fv_writer writer;
    status = fv_writer_open(&writer, path);
    if (status != FV_OK)
        return status;
    pb_ostream_t stream = {.callback = to_file, .state = &writer, .max_size = SIZE_MAX};
    if (pb_encode(&stream, fv_onnx_ModelProto_fields, &model))
        return fv_writer_commit(&writer);
    if (writer.status != FV_OK)
        return fv_writer_commit(&writer); /* its error; removes what was written */
    status = fv_error_status();           /* of a weight */
    fv_writer_abort(&writer);
    return status;
}

#else

fv_status fv_export_write(const fv_export_graph *graph, const char *path) {
    (void)graph;
    return fv_fail(FV_UNSUPPORTED,
                   "%s: this build has no ONNX: build fovea with nanopb and onnx.proto "
                   "(-Donnx=enabled)",
                   path);
}

#endif
