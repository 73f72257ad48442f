/* The layers and weights that an ONNX model becomes, in a draft net: their names, and what joins a
 * layer that is there already: factors and shifts of its channels, an activation. Called by the
 * operators. */
#include "formats/onnx/import.h"
#include "layers/activation.h"
#include <ctype.h>
#include <math.h>
#include <string.h>

enum { MOST_LAYERS = 10000 }; /* as many as a .net text may have */

/* ---- Names ---------------------------------------------------------------------------------- */

static bool is_allowed(char c) {
    return isalnum((unsigned char)c) || strchr("_-./", c);
}

/* A layer's name out of ONNX's, which may hold anything: "/features/conv_1/Conv_output_0". False
 * where none is left, or too much. */
static bool clean(const char *from, size_t size, char name[FV_NAME_SIZE]) {
    static const char output[] = "_output_0";
    const size_t tail = sizeof output - 1;
    size_t used = 0;
    for (; size > 0 && *from == '/'; size--)
        from++;
    if (size > tail && strncmp(from + size - tail, output, tail) == 0)
        size -= tail;
    if (size == 0 || size >= FV_NAME_SIZE)
        return false;
    for (size_t i = 0; i < size && from[i]; i++)
        name[used++] = from[i] && is_allowed(from[i]) ? from[i] : '_';
    name[used] = 0;
    return used < 4 || strcmp(name + used - 4, ".pre") != 0;
}

/* Of the node's weight: "conv1" of "conv1.weight". */
static bool name_of_weight(const fv_onnx_import *im, char name[FV_NAME_SIZE]) {
    static const char ending[] = ".weight";
    const size_t tail = sizeof ending - 1;
    for (size_t i = 0; i < im->node->input_count; i++) {
        const char *input = im->node->inputs[i];
        size_t size = strlen(input);
        if (size > tail && strcmp(input + size - tail, ending) == 0)
            return clean(input, size - tail, name);
    }
    return false;
}

/* Of PyTorch's module: "layer1.0.conv1" of the node "/layer1/layer1.0/conv1/Conv". A part that
 * begins the next one, as "layer1" does "layer1.0", is said by it. */
static bool name_of_module(const fv_onnx_import *im, char name[FV_NAME_SIZE]) {
    const char *part = im->node->name, *end = strrchr(part, '/');
    char path[FV_NAME_SIZE];
    size_t used = 0;
    if (*part != '/' || end == part || strncmp(end + 1, im->node->op, strlen(im->node->op)) != 0)
        return false;
    while (part < end) {
        const char *next = strchr(++part, '/');
        size_t size = (size_t)(next - part);
        bool said = next < end && strncmp(next + 1, part, size) == 0 && next[1 + size] == '.';
        if (used + size + 1 >= FV_NAME_SIZE)
            return false;
        if (!said) {
            if (used > 0)
                path[used++] = '.';
            memcpy(path + used, part, size);
            used += size;
        }
        part = next;
    }
    return clean(path, used, name);
}

/* The next free name of a layer of the node; NULL: its type's. */
static const char *find_name(const fv_onnx_import *im, char name[FV_NAME_SIZE]) {
    const fv_onnx_node *node = im->node;
    const char *input = im->values[im->input].name;
    if (!node)
        return clean(input, strlen(input), name) ? name : NULL;
    if (name_of_weight(im, name) && fv_net_find(im->draft, name) < 0)
        return name;
    if (name_of_module(im, name) && fv_net_find(im->draft, name) < 0)
        return name;
    const char *output = node->output_count > 0 ? node->outputs[0] : "";
    bool number = output[strspn(output, "0123456789")] == 0; /* as older exporters call values */
    size_t size = im->is_own ? strcspn(output, ":") : strlen(output); /* fovea: LAYER:WORD */
    if (!number && clean(output, size, name) && fv_net_find(im->draft, name) < 0)
        return name;
    if (clean(node->name, strlen(node->name), name) && fv_net_find(im->draft, name) < 0)
        return name;
    return NULL;
}

/* ---- Layers --------------------------------------------------------------------------------- */

/* Layers that only put numbers in order have their type's names; constants too, but for those that
 * fovea itself wrote as a layer. */
static bool has_own_name(const fv_onnx_import *im, const char *type) {
    static const char *const unnamed[] = {"flatten", "reshape", "permute", "constant"};
    bool own = true;
    if (im->is_own && im->node && strcmp(im->node->op, "Expand") == 0)
        return true;
    for (size_t i = 0; i < sizeof unnamed / sizeof unnamed[0]; i++)
        own = own && strcmp(type, unnamed[i]) != 0;
    return own;
}

fv_status fv_onnx_add(fv_onnx_import *im, const char *type_name, int count, const fv_tensor *inputs,
                      const void *options, fv_tensor *layer) {
    const fv_layer_type *type = fv_layer_type_find(type_name);
    char name[FV_NAME_SIZE];
    if (im->draft->count >= MOST_LAYERS)
        return fv_fail(FV_UNSUPPORTED, "the net has more than %d layers", MOST_LAYERS);
    void *defaults = options ? NULL : fv_alloc(1, type->options_size);
    const void *given = options ? options : defaults;
    fv_status status = given ? FV_OK : FV_MEMORY;
    if (status == FV_OK && type->params)
        status = fv_params_check(type->params, given);
    if (status == FV_OK) {
        const char *own = has_own_name(im, type_name) ? find_name(im, name) : NULL;
        *layer = fv_net_add(im->draft, type, own, inputs, count, given, 0, 0);
        status = im->draft->status;
    }
    fv_free(defaults);
    return status;
}

fv_status fv_onnx_add1(fv_onnx_import *im, const char *type, fv_tensor input, const void *options,
                       fv_tensor *layer) {
    return fv_onnx_add(im, type, 1, &input, options, layer);
}

fv_status fv_onnx_rename(fv_onnx_import *im, fv_tensor layer, const char *output) {
    fv_node *node = &im->draft->nodes[layer];
    char name[FV_NAME_SIZE];
    if (!clean(output, strlen(output), name) || fv_net_find(im->draft, name) >= 0)
        return FV_OK;
    char *copy = fv_copy_string(name);
    if (!copy || fv_lookup_add(&im->draft->names, name, layer) != FV_OK) {
        fv_free(copy);
        return FV_MEMORY;
    }
    fv_free(node->name);
    node->name = copy;
    return FV_OK;
}

fv_status fv_onnx_add_constant(fv_onnx_import *im, fv_shape shape, float *values,
                               fv_tensor *layer) {
    fv_constant_options options = {.shape = shape};
    if (!values)
        return FV_MEMORY;
    fv_status status = fv_onnx_add1(im, "constant", 0, &options, layer);
    if (status == FV_OK)
        return fv_onnx_give(im, *layer, "weight", fv_shape_count(&shape), values);
    fv_free(values);
    return status;
}

/* ---- Weights -------------------------------------------------------------------------------- */

/* Weights that are used again and again are copied: a small file must not fill the memory. */
fv_status fv_onnx_check_count(const fv_onnx_import *im, size_t count) {
    enum { FREE = 1 << 22, TIMES = 4 };
    size_t bytes = FREE;
    for (size_t i = 0; i < im->model->file_count; i++)
        bytes += im->model->files[i].mapping.size;
    return (im->given + count) / TIMES <= bytes
               ? FV_OK
               : fv_fail(FV_UNSUPPORTED, "the model's layers have far more weights than its file");
}

static fv_status add_weight(fv_onnx_import *im, const fv_onnx_weight *weight) {
    fv_status status = fv_onnx_check_count(im, weight->count);
    if (status != FV_OK)
        return status;
    im->given += weight->count;
    void *grown = fv_arena_grow(&im->model->arena, im->weights, im->weight_count,
                                &im->weight_capacity, sizeof *im->weights);
    if (!grown)
        return FV_MEMORY;
    im->weights = grown;
    im->weights[im->weight_count++] = *weight;
    return FV_OK;
}

fv_status fv_onnx_give(fv_onnx_import *im, fv_tensor layer, const char *name, size_t count,
                       float *values) {
    fv_onnx_weight weight = {.layer = layer, .name = name, .count = count, .values = values};
    fv_status status = values ? add_weight(im, &weight) : FV_MEMORY;
    if (status != FV_OK)
        fv_free(values);
    return status;
}

fv_status fv_onnx_give_constant(fv_onnx_import *im, fv_tensor layer, const char *name,
                                const fv_onnx_constant *constant) {
    if (constant->kind != FV_NUMBER_FLOAT)
        return fv_fail(FV_FORMAT, "its %s has whole numbers, expected floats", name);
    if (fv_onnx_check_known(constant) != FV_OK)
        return fv_error_status();
    if (!constant->tensor || constant->tensor->type != FV_ONNX_FLOAT)
        return fv_onnx_give(im, layer, name, constant->count, fv_onnx_floats(constant));
    return add_weight(im, &(fv_onnx_weight){.layer = layer,
                                            .name = name,
                                            .count = constant->count,
                                            .tensor = constant->tensor});
}

fv_status fv_onnx_own(fv_onnx_import *im, fv_tensor layer, const char *name,
                      fv_onnx_weight **weight) {
    *weight = NULL;
    for (size_t i = im->weight_count; i-- > 0 && !*weight;) /* mostly one of the last */
        if (im->weights[i].layer == layer && strcmp(im->weights[i].name, name) == 0)
            *weight = &im->weights[i];
    if (!*weight || (*weight)->values)
        return FV_OK;
    (*weight)->values = fv_alloc((*weight)->count, sizeof(float));
    if (!(*weight)->values)
        return FV_MEMORY;
    fv_onnx_to_floats((*weight)->tensor, (*weight)->values);
    return FV_OK;
}

/* ---- What joins a layer --------------------------------------------------------------------- */

bool fv_onnx_is_open(const fv_onnx_import *im, const fv_onnx_value *value) {
    const fv_onnx_array *array = &value->array;
    if (im->is_own && value->name[0] && !strchr(value->name, ':'))
        return false; /* the end of a layer: what follows is another */
    if (value->readers > 1 || value->is_output || array->shared || array->layer == 0)
        return false;
    return im->draft->nodes[array->layer].activation == FV_LINEAR;
}

/* Types of layers whose outputs can be scaled and shifted by their weights. `bias_at`: where the
 * options say that there is no bias. `rows`: an output's weights lie behind one another. */
typedef struct affine_type {
    const char *name;
    size_t bias_at;
    bool rows;
} affine_type;

static const affine_type *find_affine(const char *type) {
    static const affine_type types[] = {
        {"conv", offsetof(fv_conv_options, no_bias), true},
        {"depthwise_conv", offsetof(fv_depthwise_conv_options, no_bias), true},
        {"dense", offsetof(fv_dense_options, no_bias), true},
        {"conv_transpose", offsetof(fv_conv_transpose_options, no_bias), false},
        {"batch_norm", offsetof(fv_batch_norm_options, no_bias), true},
        {"group_norm", offsetof(fv_group_norm_options, no_bias), true},
        {"instance_norm", offsetof(fv_instance_norm_options, no_bias), true}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, type) == 0)
            return &types[i];
    return NULL;
}

/* Multiplies the weights of each output; conv_transpose has them (inputs, outputs / groups, cells).
 */
static void scale_weights(const fv_onnx_import *im, const affine_type *type, fv_tensor layer,
                          const fv_onnx_weight *w, size_t channels, const float *scale) {
    size_t row = w->count / channels;
    if (type->rows) {
        for (size_t i = 0; i < w->count; i++)
            w->values[i] *= scale[i / row];
        return;
    }
    const fv_conv_transpose_options *o = im->draft->nodes[layer].options;
    const fv_weight_spec *spec = &im->draft->nodes[layer].weights[0].spec;
    size_t groups = o->groups > 0 ? (size_t)o->groups : 1, outputs = channels / groups;
    size_t inputs = spec->size[0] / groups, cells = w->count / spec->size[0] / outputs;
    for (size_t i = 0; i < w->count; i++) {
        size_t output = i / cells % outputs, group = i / cells / outputs / inputs;
        w->values[i] *= scale[group * outputs + output];
    }
}

/* The layer's bias, made where it had none. */
static fv_status find_bias(fv_onnx_import *im, const affine_type *type, fv_tensor layer,
                           size_t channels, fv_onnx_weight **bias) {
    fv_node *node = &im->draft->nodes[layer];
    fv_status status = fv_onnx_own(im, layer, "bias", bias);
    if (status != FV_OK || *bias)
        return status;
    status = fv_onnx_give(im, layer, "bias", channels, fv_alloc(channels, sizeof(float)));
    if (status != FV_OK)
        return status;
    *(bool *)(void *)((char *)node->options + type->bias_at) = false;
    return fv_onnx_own(im, layer, "bias", bias);
}

fv_status fv_onnx_join_affine(fv_onnx_import *im, const fv_onnx_value *value, int channels,
                              const float *scale, const float *shift, bool *joined) {
    fv_tensor layer = value->array.layer;
    const fv_node *node = &im->draft->nodes[layer];
    const affine_type *type = find_affine(node->type->name);
    fv_onnx_weight *weight, *bias;
    *joined = type && fv_onnx_is_open(im, value) && node->output.channels == channels;
    if (!*joined)
        return FV_OK;
    fv_status status = fv_onnx_own(im, layer, "weight", &weight);
    if (status == FV_OK && scale && !weight) {
        *joined = false;
        return FV_OK;
    }
    if (status == FV_OK && scale)
        scale_weights(im, type, layer, weight, (size_t)channels, scale);
    if (status == FV_OK)
        status = fv_onnx_own(im, layer, "bias", &bias);
    if (status == FV_OK && (shift || bias))
        status = find_bias(im, type, layer, (size_t)channels, &bias);
    for (int c = 0; status == FV_OK && bias && c < channels; c++)
        bias->values[c] = bias->values[c] * (scale ? scale[c] : 1) + (shift ? shift[c] : 0);
    return status;
}

/* ---- Activations ---------------------------------------------------------------------------- */

/* Sets the layer's own activation, where its type has that option. */
static bool join_activation(fv_onnx_import *im, const fv_onnx_value *value,
                            fv_activation activation, double constant) {
    fv_node *node = &im->draft->nodes[value->array.layer];
    if (!fv_onnx_is_open(im, value) || !node->type->params ||
        constant != fv_activation_constant(activation))
        return false;
    const fv_param *param = fv_param_find(node->type->params, "activation");
    if (!param || param->choices != fv_activation_names)
        return false;
    int chosen = (int)activation;
    memcpy((char *)node->options + param->offset, &chosen, sizeof chosen);
    node->activation = activation;
    return true;
}

static const void *constant_options(fv_activation activation, double constant,
                                    fv_leaky_relu_options *leaky, fv_elu_options *elu,
                                    fv_hard_sigmoid_options *sigmoid) {
    leaky->slope = elu->alpha = sigmoid->slope = constant;
    return activation == FV_LEAKY_RELU     ? (const void *)leaky
           : activation == FV_ELU          ? (const void *)elu
           : activation == FV_HARD_SIGMOID ? (const void *)sigmoid
                                           : NULL;
}

fv_status fv_onnx_activate(fv_onnx_import *im, fv_onnx_value *value, fv_activation activation,
                           double constant, fv_onnx_value *out) {
    fv_leaky_relu_options leaky;
    fv_elu_options elu;
    fv_hard_sigmoid_options sigmoid;
    fv_tensor layer = value->array.layer;
    if (constant == 0)
        constant = fv_activation_constant(activation);
    if (join_activation(im, value, activation, constant)) {
        fv_onnx_set_like(out, value, layer);
        return FV_OK;
    }
    fv_status status =
        fv_onnx_add1(im, fv_activation_names[activation], layer,
                     constant_options(activation, constant, &leaky, &elu, &sigmoid), &layer);
    if (status == FV_OK)
        fv_onnx_set_like(out, value, layer);
    return status;
}
