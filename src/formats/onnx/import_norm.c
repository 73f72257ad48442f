/* ONNX's normalisations. A batch norm whose statistics are fixed is a factor and a shift of each
 * channel, which the layer before takes up; the others are layers of their own. Called by
 * import.c by its table. */
#include "formats/onnx/import.h"
#include <math.h>
#include <string.h>

/* ---- Layers on one axis --------------------------------------------------------------------- */

fv_status fv_onnx_add_on_channels(fv_onnx_import *im, const fv_onnx_value *x, const char *type,
                                  const void *options, fv_onnx_value *out) {
    fv_tensor layer = x->array.layer;
    bool own = fv_onnx_has_channels(im, &x->array, 1);
    fv_status status = own ? FV_OK : fv_onnx_standard(im, &x->array, &layer);
    if (status == FV_OK)
        status = fv_onnx_add1(im, type, layer, options, &layer);
    if (status != FV_OK)
        return status;
    if (!own)
        return fv_onnx_set_standard(im, out, layer, x->array.rank);
    fv_onnx_set_like(out, x, layer);
    return FV_OK;
}

static fv_status give_pair(fv_onnx_import *im, fv_tensor layer, const fv_onnx_constant *weight,
                           const fv_onnx_constant *bias) {
    fv_status status = weight ? fv_onnx_give_constant(im, layer, "weight", weight) : FV_OK;
    return status == FV_OK && bias ? fv_onnx_give_constant(im, layer, "bias", bias) : status;
}

fv_status fv_onnx_add_on_axis(fv_onnx_import *im, const fv_onnx_value *x, int axis,
                              const char *type, const void *options, const fv_onnx_constant *weight,
                              const fv_onnx_constant *bias, fv_onnx_value *out) {
    int axes[FV_ONNX_RANK], count;
    fv_tensor layer;
    fv_status status = fv_onnx_arrange_last(im, &x->array, axis, axes, &count, &layer);
    if (status == FV_OK)
        status = fv_onnx_add1(im, type, layer, options, &layer);
    if (status == FV_OK)
        status = give_pair(im, layer, weight, bias);
    return status == FV_OK ? fv_onnx_set_array(im, out, layer, x->array.rank, count, axes) : status;
}

/* ---- What the nodes say --------------------------------------------------------------------- */

/* Layers take no 0 for epsilon: the smallest there is, which changes nothing but 0 / 0. */
static double epsilon_of(const fv_onnx_import *im) {
    double epsilon = fv_onnx_float(im, "epsilon", 1e-5);
    return epsilon == 0 ? 1e-37 : epsilon;
}

/* Input i: as many constants; NULL with a message. */
static const fv_onnx_constant *constants(const fv_onnx_import *im, size_t i, int64_t count) {
    const fv_onnx_constant *c = fv_onnx_in_constant(im, i);
    if (!c || (count > 0 && c->count == (size_t)count))
        return c;
    fv_fail(FV_FORMAT, "its input %zu has %zu numbers, expected %lld", i + 1, c->count,
            (long long)count);
    return NULL;
}

/* Whether input i is what fovea's exporter writes where a layer has no weight: all of them `value`,
 * called LAYER:NAME. */
static bool is_filler(const fv_onnx_import *im, size_t i, double value) {
    const fv_onnx_value *in = fv_onnx_in(im, i);
    bool filler = im->is_own && in && in->kind == FV_VALUE_CONSTANT && strchr(in->name, ':');
    for (size_t k = 0; filler && k < in->constant.count; k++)
        filler = fv_onnx_number(&in->constant, k) == value;
    return filler;
}

/* Size of axis 1, the channels; -1 and a message: there is none, or it varies. */
static int channels_of(const fv_onnx_array *a) {
    int channels = a->rank >= 2 ? fv_onnx_size(a, 1) : 0;
    if (channels >= 1)
        return channels;
    fv_fail(FV_UNSUPPORTED, "its input has no channels, or their number varies");
    return -1;
}

/* Only the first output is made. */
static fv_status check_outputs(const fv_onnx_import *im) {
    for (size_t i = 1; i < im->node->output_count; i++) {
        const fv_onnx_value *out = fv_onnx_out(im, i);
        if (out && out->readers > 0)
            return fv_fail(FV_UNSUPPORTED, "its output %zu is read", i + 1);
    }
    return fv_onnx_out(im, 0) ? FV_OK : fv_fail(FV_FORMAT, "it has no output");
}

/* ---- By statistics that are fixed ----------------------------------------------------------- */

typedef struct statistics {
    const fv_onnx_constant *scale, *bias, *mean, *variance;
    double epsilon;
} statistics;

/* y = x a + b with a = scale / sqrt(variance + epsilon), b = bias - mean a, where the layer before
 * can take it up. */
static fv_status join_statistics(fv_onnx_import *im, const fv_onnx_value *x, const statistics *s,
                                 bool *joined) {
    size_t count = s->scale->count;
    float *a = fv_alloc(count, sizeof *a), *b = fv_alloc(count, sizeof *b);
    fv_status status = a && b ? FV_OK : FV_MEMORY;
    for (size_t c = 0; status == FV_OK && c < count; c++) {
        double factor =
            fv_onnx_number(s->scale, c) / sqrt(fv_onnx_number(s->variance, c) + s->epsilon);
        a[c] = (float)factor;
        b[c] = (float)(fv_onnx_number(s->bias, c) - fv_onnx_number(s->mean, c) * factor);
    }
    if (status == FV_OK)
        status = fv_onnx_join_affine(im, x, (int)count, a, b, joined);
    fv_free(a);
    fv_free(b);
    return status;
}

static fv_status add_batch_norm(fv_onnx_import *im, const fv_onnx_value *x, const statistics *s) {
    fv_onnx_value *out = fv_onnx_out(im, 0);
    fv_batch_norm_options options = {.formula = FV_ONNX, .epsilon = s->epsilon};
    options.no_scale = is_filler(im, 1, 1);
    options.no_bias = is_filler(im, 2, 0);
    fv_status status = fv_onnx_add_on_channels(im, x, "batch_norm", &options, out);
    fv_tensor layer = out->array.layer;
    if (status == FV_OK)
        status = give_pair(im, layer, options.no_scale ? NULL : s->scale,
                           options.no_bias ? NULL : s->bias);
    if (status == FV_OK)
        status = fv_onnx_give_constant(im, layer, "running_mean", s->mean);
    return status == FV_OK ? fv_onnx_give_constant(im, layer, "running_var", s->variance) : status;
}

fv_status fv_onnx_batch_norm(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0);
    int channels = x ? channels_of(&x->array) : -1;
    const fv_onnx_constant *c[4];
    bool joined = false;
    if (channels < 0 || check_outputs(im) != FV_OK)
        return fv_error_status();
    if (fv_onnx_integer(im, "training_mode", 0) != 0 || fv_onnx_integer(im, "spatial", 1) == 0)
        return fv_fail(FV_UNSUPPORTED, "it works by the statistics of the batch, or of each place");
    for (size_t i = 0; i < 4; i++)
        if (!(c[i] = constants(im, 1 + i, channels)))
            return fv_error_status();
    const statistics s = {c[0], c[1], c[2], c[3], epsilon_of(im)};
    fv_status status = FV_OK;
    if (!im->is_own && fv_onnx_has_channels(im, &x->array, 1))
        status = join_statistics(im, x, &s, &joined);
    if (status != FV_OK)
        return status;
    if (!joined)
        return add_batch_norm(im, x, &s);
    fv_onnx_set_like(fv_onnx_out(im, 0), x, x->array.layer);
    return FV_OK;
}

/* ---- Groups of channels --------------------------------------------------------------------- */

/* Gives the numbers of groups, each again for all channels of its group. */
static fv_status give_spread(fv_onnx_import *im, fv_tensor layer, const char *name,
                             const fv_onnx_constant *c) {
    enum { MOST = 1 << 24 }; /* so that a small file does not fill the memory */
    size_t channels = (size_t)fv_onnx_shape(im, layer)->channels, each = channels / c->count;
    if (channels > MOST)
        return fv_fail(FV_UNSUPPORTED, "its input has %zu channels, at most %d are possible",
                       channels, MOST);
    float *values = fv_alloc(channels, sizeof *values);
    for (size_t i = 0; values && i < channels; i++)
        values[i] = (float)fv_onnx_number(c, i / each);
    return fv_onnx_give(im, layer, name, channels, values);
}

/* The one node that reads the value; NULL: there are more, or it is an output. */
static const fv_onnx_node *only_reader(const fv_onnx_import *im, const fv_onnx_node *node) {
    int output = node->output_count > 0 ? node->output_values[0] : -1;
    const fv_onnx_value *value = output >= 0 ? &im->values[output] : NULL;
    return value && value->readers == 1 && value->reader >= 0 ? &im->model->nodes[value->reader]
                                                              : NULL;
}

/* Whether factors follow that the layer can take up as its scale. */
static bool scale_follows(const fv_onnx_import *im) {
    const fv_onnx_node *next = only_reader(im, im->node);
    if (next && strcmp(next->op, "Reshape") == 0)
        next = only_reader(im, next);
    return next && strcmp(next->op, "Mul") == 0;
}

/* group_norm of x's own layer, whose channels are groups behind one another. scale and bias are one
 * for each group or channel. A bias that follows makes one where there is none. */
static fv_status add_group_norm(fv_onnx_import *im, const fv_onnx_value *x, int groups,
                                const fv_onnx_constant *scale, const fv_onnx_constant *bias) {
    fv_group_norm_options options = {
        .groups = groups, .formula = FV_ONNX, .epsilon = epsilon_of(im)};
    fv_tensor layer;
    options.no_scale = is_filler(im, 1, 1) && !scale_follows(im);
    options.no_bias = is_filler(im, 2, 0);
    fv_status status = fv_onnx_add1(im, "group_norm", x->array.layer, &options, &layer);
    if (status == FV_OK && !options.no_scale)
        status = give_spread(im, layer, "weight", scale);
    if (status == FV_OK && !options.no_bias)
        status = give_spread(im, layer, "bias", bias);
    if (status == FV_OK)
        fv_onnx_set_like(fv_onnx_out(im, 0), x, layer);
    return status;
}

/* Whether axis 1 parts the channels of the array's layer into groups: with the factors behind it in
 * memory it makes the channels, as after a Reshape to N, groups, all others. */
static bool are_groups(const fv_onnx_import *im, const fv_onnx_array *a) {
    int64_t values = 1, channels = fv_onnx_shape(im, a->layer)->channels;
    if (a->begin[2] - a->begin[1] != 1) /* none: one group of all values */
        return a->begin[2] == a->begin[1];
    for (int at = a->count - 1; at >= 0 && values > 0 && values <= channels; at--) {
        values *= a->factor[a->order[at]];
        if (a->order[at] == a->begin[1])
            return at < a->count - 1 && values == channels;
    }
    return false;
}

/* A group norm is written as the instance norm of a Reshape to N, groups, all others. */
fv_status fv_onnx_instance_norm(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0), *out = fv_onnx_out(im, 0);
    int channels = x ? channels_of(&x->array) : -1;
    const fv_onnx_constant *scale = channels > 0 ? constants(im, 1, channels) : NULL;
    const fv_onnx_constant *bias = scale ? constants(im, 2, channels) : NULL;
    if (!bias || check_outputs(im) != FV_OK)
        return fv_error_status();
    if (!fv_onnx_has_channels(im, &x->array, 1) && are_groups(im, &x->array))
        return add_group_norm(im, x, channels, scale, bias);
    fv_instance_norm_options options = {.formula = FV_ONNX, .epsilon = epsilon_of(im)};
    options.no_scale = is_filler(im, 1, 1) && !scale_follows(im);
    options.no_bias = is_filler(im, 2, 0);
    fv_status status = fv_onnx_add_on_channels(im, x, "instance_norm", &options, out);
    return status == FV_OK ? give_pair(im, out->array.layer, options.no_scale ? NULL : scale,
                                       options.no_bias ? NULL : bias)
                           : status;
}

/* Operator set 18 has a scale and a bias for each group, 21 for each channel. */
fv_status fv_onnx_group_norm(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0), moved = fv_onnx_between();
    int channels = x ? channels_of(&x->array) : -1;
    int64_t groups = fv_onnx_integer(im, "num_groups", 0);
    if (channels < 0)
        return fv_error_status();
    if (groups < 1 || groups > channels || channels % groups != 0)
        return fv_fail(FV_FORMAT, "its %lld groups do not divide its %d channels",
                       (long long)groups, channels);
    int64_t count = im->model->opset < 21 ? groups : channels;
    const fv_onnx_constant *scale = constants(im, 1, count);
    const fv_onnx_constant *bias = scale ? constants(im, 2, count) : NULL;
    if (!bias || check_outputs(im) != FV_OK)
        return fv_error_status();
    if (fv_onnx_has_channels(im, &x->array, 1))
        return add_group_norm(im, x, (int)groups, scale, bias);
    fv_tensor layer;
    fv_status status = fv_onnx_standard(im, &x->array, &layer);
    if (status == FV_OK)
        status = fv_onnx_set_standard(im, &moved, layer, x->array.rank);
    return status == FV_OK ? add_group_norm(im, &moved, (int)groups, scale, bias) : status;
}

/* ---- The axes from one on ------------------------------------------------------------------- */

/* Whether the layer has axis 1 as its channels and the others before it in their order, each an
 * axis of its own. */
static bool is_standard(const fv_onnx_import *im, const fv_onnx_array *a) {
    const fv_shape *shape = fv_onnx_shape(im, a->layer);
    int place = 0;
    for (int axis = 2; axis <= a->rank; axis++) {
        int own = axis == a->rank ? 1 : axis;
        for (int f = a->begin[own]; f < a->begin[own + 1]; f++)
            if (a->order[place++] != f)
                return false;
    }
    bool standard = shape->rank == a->rank - 2 && shape->channels == fv_onnx_size(a, 1);
    for (int i = 0; standard && i < shape->rank; i++)
        standard = shape->size[i] == fv_onnx_size(a, 2 + i);
    return standard;
}

/* Over all values of a sample, with a scale and a bias for each of them in the order of files. */
static fv_status normalize_all(fv_onnx_import *im, const fv_onnx_value *x,
                               fv_layer_norm_options *options, const fv_onnx_constant *scale,
                               const fv_onnx_constant *bias) {
    fv_tensor layer;
    options->all = true;
    fv_status status = fv_onnx_add1(im, "layer_norm", x->array.layer, options, &layer);
    if (status == FV_OK)
        status = give_pair(im, layer, scale, bias);
    if (status == FV_OK)
        fv_onnx_set_like(fv_onnx_out(im, 0), x, layer);
    return status;
}

/* Over several axes at the end: as one. */
static fv_status normalize_joined(fv_onnx_import *im, const fv_onnx_value *x, int axis,
                                  int64_t values, const fv_layer_norm_options *options,
                                  const fv_onnx_constant *scale, const fv_onnx_constant *bias) {
    fv_onnx_value joined = fv_onnx_between(), normal = fv_onnx_between(), *out = fv_onnx_out(im, 0);
    int64_t sizes[FV_ONNX_RANK], own[FV_ONNX_RANK];
    for (int a = 1; a < x->array.rank; a++)
        sizes[a] = own[a] = fv_onnx_size(&x->array, a);
    sizes[axis] = values;
    joined.kind = FV_VALUE_ARRAY;
    fv_status status = fv_onnx_reshape(im, &x->array, axis + 1, sizes, &joined.array);
    if (status == FV_OK)
        status =
            fv_onnx_add_on_axis(im, &joined, axis, "layer_norm", options, scale, bias, &normal);
    if (status == FV_OK)
        status = fv_onnx_reshape(im, &normal.array, x->array.rank, own, &out->array);
    if (status == FV_OK)
        out->kind = FV_VALUE_ARRAY;
    return status;
}

/* The product of the sizes from that axis on; -1 and a message: one varies, or it is too large. */
static int64_t values_from(const fv_onnx_array *a, int axis) {
    int64_t values = 1;
    for (int i = axis; i < a->rank && values > 0 && values <= INT32_MAX; i++)
        values *= fv_onnx_size(a, i);
    if (axis > 0 && values > 0 && values <= INT32_MAX)
        return values;
    fv_fail(FV_UNSUPPORTED, "it works over the batch, or over an axis whose size varies");
    return -1;
}

fv_status fv_onnx_layer_norm(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0), *out = fv_onnx_out(im, 0);
    fv_layer_norm_options options = {.formula = FV_ONNX, .epsilon = epsilon_of(im)};
    int axis = x ? fv_onnx_axis(fv_onnx_integer(im, "axis", -1), x->array.rank) : -1;
    int64_t values = axis >= 0 ? values_from(&x->array, axis) : -1;
    const fv_onnx_constant *scale = values > 0 ? constants(im, 1, values) : NULL, *bias = NULL;
    if (!scale || check_outputs(im) != FV_OK)
        return fv_error_status();
    options.no_bias = !fv_onnx_in(im, 2) || is_filler(im, 2, 0);
    if (!options.no_bias && !(bias = constants(im, 2, values)))
        return fv_error_status();
    options.no_scale = is_filler(im, 1, 1);
    scale = options.no_scale ? NULL : scale;
    if (axis == 1 && x->array.rank > 2 && is_standard(im, &x->array))
        return normalize_all(im, x, &options, scale, bias);
    if (axis < x->array.rank - 1)
        return normalize_joined(im, x, axis, values, &options, scale, bias);
    return fv_onnx_add_on_axis(im, x, axis, "layer_norm", &options, scale, bias, out);
}

fv_status fv_onnx_rms_norm(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0);
    fv_rms_norm_options options = {.epsilon = epsilon_of(im)};
    int axis = x ? fv_onnx_axis(fv_onnx_integer(im, "axis", -1), x->array.rank) : -1;
    int64_t values = axis >= 0 ? values_from(&x->array, axis) : -1;
    const fv_onnx_constant *scale = values > 0 ? constants(im, 1, values) : NULL;
    if (!scale)
        return fv_error_status();
    if (axis != x->array.rank - 1)
        return fv_fail(FV_UNSUPPORTED, "it works over several axes");
    return fv_onnx_add_on_axis(im, x, axis, "rms_norm", &options, scale, NULL, fv_onnx_out(im, 0));
}

/* x / sqrt(sum of x^2); of zeros it is 0, which the smallest epsilon keeps. */
fv_status fv_onnx_lp_norm(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0);
    const fv_l2_normalize_options options = {.epsilon = 1e-37};
    int axis = x ? fv_onnx_axis(fv_onnx_integer(im, "axis", -1), x->array.rank) : -1;
    if (axis < 0)
        return fv_error_status();
    if (axis == 0 || fv_onnx_integer(im, "p", 2) != 2)
        return fv_fail(FV_UNSUPPORTED,
                       "it works over the batch, or by another norm than the 2-norm");
    return fv_onnx_add_on_axis(im, x, axis, "l2_normalize", &options, NULL, NULL,
                               fv_onnx_out(im, 0));
}

/* ---- By neighbouring channels --------------------------------------------------------------- */

/* Numbers of 0 mean the default to a layer. */
fv_status fv_onnx_lrn(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0);
    fv_lrn_options options = {.formula = FV_ONNX,
                              .alpha = fv_onnx_float(im, "alpha", 1e-4),
                              .beta = fv_onnx_float(im, "beta", 0.75),
                              .k = fv_onnx_float(im, "bias", 1)};
    int64_t size = fv_onnx_integer(im, "size", 0);
    if (!x)
        return fv_error_status();
    if (size < 1 || size > INT32_MAX)
        return fv_fail(FV_FORMAT, "its size is %lld", (long long)size);
    if (options.alpha == 0 || options.beta == 0 || options.k == 0)
        return fv_fail(FV_UNSUPPORTED, "its alpha, beta or bias is 0");
    options.size = (int)size;
    return channels_of(&x->array) < 0
               ? fv_error_status()
               : fv_onnx_add_on_channels(im, x, "lrn", &options, fv_onnx_out(im, 0));
}
