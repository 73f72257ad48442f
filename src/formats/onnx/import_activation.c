/* ONNX's activations: they join the layer that gives their input where it has none yet, else they
 * are layers of their own. Called by import.c by its table. */
#include "formats/onnx/import.h"
#include "layers/activation.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* ---- Of one value --------------------------------------------------------------------------- */

static const struct {
    const char *op;
    fv_activation activation;
    const char *attribute; /* of its constant; NULL: it has none */
    double fallback;
} activations[] = {{"Relu", FV_RELU, NULL, 0},
                   {"Sigmoid", FV_SIGMOID, NULL, 0},
                   {"Tanh", FV_TANH, NULL, 0},
                   {"LeakyRelu", FV_LEAKY_RELU, "alpha", 0.01},
                   {"Elu", FV_ELU, "alpha", 1},
                   {"Selu", FV_SELU, NULL, 0},
                   {"HardSigmoid", FV_HARD_SIGMOID, "alpha", 0.2},
                   {"HardSwish", FV_HARD_SWISH, NULL, 0},
                   {"Mish", FV_MISH, NULL, 0},
                   {"Softplus", FV_SOFTPLUS, NULL, 0},
                   {"Softsign", FV_SOFTSIGN, NULL, 0}};

static bool is_near(double number, double wanted) {
    return fabs(number - wanted) <= 1e-3 * fabs(wanted);
}

/* Constants that a layer here cannot have. */
static fv_status check_constants(const fv_onnx_import *im, fv_activation activation,
                                 double constant) {
    if (activation == FV_SELU && !(is_near(fv_onnx_float(im, "alpha", 1.67326319), 1.67326319) &&
                                   is_near(fv_onnx_float(im, "gamma", 1.05070102), 1.05070102)))
        return fv_fail(FV_UNSUPPORTED, "its alpha or gamma is not that of the SELU paper");
    if (activation != FV_HARD_SIGMOID)
        return FV_OK;
    double beta = fv_onnx_float(im, "beta", 0.5);
    if (beta != 0.5 || !(constant > 0))
        return fv_fail(FV_UNSUPPORTED, "alpha is %g and beta %g, expected above 0 and 0.5",
                       constant, beta);
    return FV_OK;
}

fv_status fv_onnx_activation(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0);
    size_t at = 0;
    if (!x)
        return fv_error_status();
    while (strcmp(activations[at].op, im->node->op) != 0)
        at++;
    fv_activation activation = activations[at].activation;
    const char *attribute = activations[at].attribute;
    double constant = attribute ? fv_onnx_float(im, attribute, activations[at].fallback) : 0;
    fv_status status = check_constants(im, activation, constant);
    if (attribute && constant == 0)
        activation = FV_RELU;
    if (status == FV_OK && attribute &&
        (float)constant == (float)fv_activation_constant(activation))
        constant = fv_activation_constant(activation); /* 1/6 is no float */
    return status == FV_OK ? fv_onnx_activate(im, x, activation, constant, fv_onnx_out(im, 0))
                           : status;
}

fv_status fv_onnx_gelu(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0);
    const char *how = fv_onnx_word(im, "approximate", "none");
    bool by_tanh = strcmp(how, "tanh") == 0;
    if (!x)
        return fv_error_status();
    if (!by_tanh && strcmp(how, "none") != 0)
        return fv_fail(FV_FORMAT, "approximate is \"%.40s\", expected none or tanh", how);
    return fv_onnx_activate(im, x, by_tanh ? FV_GELU_TANH : FV_GELU, 0, fv_onnx_out(im, 0));
}

/* f(factor x) / factor */
static fv_status activate_scaled(fv_onnx_import *im, fv_onnx_value *x, fv_activation activation,
                                 double factor) {
    fv_onnx_value inner = fv_onnx_between(), outer = fv_onnx_between(), *out = fv_onnx_out(im, 0);
    const float before = (float)factor, after = (float)(1 / factor);
    if (factor == 1)
        return fv_onnx_activate(im, x, activation, 0, out);
    if (!isfinite(before) || !isfinite(after) || before == 0 || after == 0)
        return fv_fail(FV_UNSUPPORTED, "its alpha is 0, no number, or too large");
    fv_status status = fv_onnx_scale(im, x, factor, &inner);
    if (status == FV_OK)
        status = fv_onnx_activate(im, &inner, activation, 0, &outer);
    return status == FV_OK ? fv_onnx_scale(im, &outer, 1 / factor, out) : status;
}

/* x sigmoid(alpha x) */
fv_status fv_onnx_swish(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0);
    return x ? activate_scaled(im, x, FV_SILU, fv_onnx_float(im, "alpha", 1)) : fv_error_status();
}

/* max(x, 0) + min(alpha (exp(x / alpha) - 1), 0) */
fv_status fv_onnx_celu(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0);
    double alpha = fv_onnx_float(im, "alpha", 1);
    if (!x)
        return fv_error_status();
    if (!(alpha > 0))
        return fv_fail(FV_UNSUPPORTED, "its alpha is %g, expected a number above 0", alpha);
    return activate_scaled(im, x, FV_ELU, 1 / alpha);
}

/* ---- Slopes that learn ---------------------------------------------------------------------- */

/* The axis that there is one slope for each of; 0: there is none. */
static int axis_of(const fv_onnx_constant *slope, const fv_onnx_array *a) {
    for (int i = 0; i < slope->rank; i++) {
        int axis = a->rank - slope->rank + i;
        if (axis >= 1 && slope->size[i] == (int64_t)slope->count &&
            slope->size[i] == fv_onnx_size(a, axis))
            return axis;
    }
    return 0;
}

fv_status fv_onnx_prelu(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0), *out = fv_onnx_out(im, 0);
    const fv_onnx_constant *slope = x ? fv_onnx_in_constant(im, 1) : NULL;
    fv_tensor layer;
    if (!slope)
        return fv_error_status();
    const fv_prelu_options options = {.shared = slope->count == 1};
    int axis = axis_of(slope, &x->array);
    if (!options.shared && axis == 0)
        return fv_fail(FV_UNSUPPORTED, "its %zu slopes are neither one nor one for each channel",
                       slope->count);
    if (!options.shared && !fv_onnx_has_channels(im, &x->array, axis))
        return fv_onnx_add_on_axis(im, x, axis, "prelu", &options, slope, NULL, out);
    fv_status status = fv_onnx_add1(im, "prelu", x->array.layer, &options, &layer);
    if (status != FV_OK)
        return status;
    fv_onnx_set_like(out, x, layer);
    return fv_onnx_give_constant(im, layer, "weight", slope);
}

/* ---- Bounds --------------------------------------------------------------------------------- */

/* The smaller of x and a number: -max(-x, -number). */
static fv_status at_most(fv_onnx_import *im, fv_onnx_value *x, double number, fv_onnx_value *out) {
    fv_onnx_value minus = fv_onnx_between(), least = fv_onnx_between();
    fv_status status = fv_onnx_scale(im, x, -1, &minus);
    if (status == FV_OK)
        status = fv_onnx_at_least(im, &minus, -number, &least);
    return status == FV_OK ? fv_onnx_scale(im, &least, -1, out) : status;
}

/* Operator sets up to 10 have the bounds as attributes, and the largest floats for none. */
static fv_status find_bounds(const fv_onnx_import *im, double *low, double *high) {
    fv_status status = fv_onnx_scalar(im, "min", 1, -INFINITY, low);
    if (status == FV_OK)
        status = fv_onnx_scalar(im, "max", 2, INFINITY, high);
    if (status == FV_OK && (isnan(*low) || isnan(*high)))
        return fv_fail(FV_UNSUPPORTED, "a bound is no number");
    return status;
}

fv_status fv_onnx_clip(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0), *out = fv_onnx_out(im, 0);
    fv_onnx_value between = fv_onnx_between();
    double low, high;
    fv_status status = x ? find_bounds(im, &low, &high) : fv_error_status();
    if (status != FV_OK)
        return status;
    bool bounded_below = low > -(double)FLT_MAX, bounded_above = high < (double)FLT_MAX;
    if (low == 0 && high == 6)
        return fv_onnx_activate(im, x, FV_RELU6, 0, out);
    if (!bounded_below && !bounded_above) {
        fv_onnx_set_like(out, x, x->array.layer);
        return FV_OK;
    }
    if (!bounded_above)
        return fv_onnx_at_least(im, x, low, out);
    if (!bounded_below)
        return at_most(im, x, high, out);
    status = fv_onnx_at_least(im, x, low, &between);
    return status == FV_OK ? at_most(im, &between, high, out) : status;
}

/* ---- Over an axis --------------------------------------------------------------------------- */

/* An activation over all values of a sample. */
static fv_status activate_sample(fv_onnx_import *im, fv_onnx_value *x, fv_activation activation) {
    fv_onnx_value vector = fv_onnx_between();
    fv_tensor layer;
    if (fv_onnx_sample(&x->array) < 1)
        return fv_fail(FV_UNSUPPORTED,
                       "the sizes of its input vary (give the input fixed sizes: --set "
                       "NAME=SIZE)");
    fv_status status = fv_onnx_vector(im, &x->array, &layer);
    if (status != FV_OK)
        return status;
    if (layer == x->array.layer)
        return fv_onnx_activate(im, x, activation, 0, fv_onnx_out(im, 0));
    fv_onnx_set_like(&vector, x, layer);
    return fv_onnx_activate(im, &vector, activation, 0, fv_onnx_out(im, 0));
}

/* ... over one axis. */
static fv_status activate_axis(fv_onnx_import *im, fv_onnx_value *x, fv_activation activation,
                               int axis) {
    fv_onnx_value moved = fv_onnx_between();
    int axes[FV_ONNX_RANK], count;
    fv_tensor layer;
    fv_status status = fv_onnx_arrange_last(im, &x->array, axis, axes, &count, &layer);
    if (status != FV_OK)
        return status;
    if (layer == x->array.layer)
        return fv_onnx_activate(im, x, activation, 0, fv_onnx_out(im, 0));
    status = fv_onnx_set_array(im, &moved, layer, x->array.rank, count, axes);
    return status == FV_OK ? fv_onnx_activate(im, &moved, activation, 0, fv_onnx_out(im, 0))
                           : status;
}

/* Up to operator set 12 Softmax works over all axes from the given one on. */
fv_status fv_onnx_softmax(fv_onnx_import *im) {
    fv_onnx_value *x = fv_onnx_in_array(im, 0);
    bool all_behind = im->model->opset < 13, alone = true;
    fv_activation activation =
        strcmp(im->node->op, "LogSoftmax") == 0 ? FV_LOG_SOFTMAX : FV_SOFTMAX;
    int axis =
        !x ? -1 : fv_onnx_axis(fv_onnx_integer(im, "axis", all_behind ? 1 : -1), x->array.rank);
    if (axis < 0)
        return fv_error_status();
    if (axis == 0)
        return fv_fail(FV_UNSUPPORTED, "it works over the batch");
    for (int behind = axis + 1; behind < x->array.rank; behind++)
        alone = alone && fv_onnx_size(&x->array, behind) == 1;
    if (alone || !all_behind)
        return activate_axis(im, x, activation, axis);
    return axis == 1 ? activate_sample(im, x, activation)
                     : fv_fail(FV_UNSUPPORTED, "it works over several axes, and not over all");
}
