/* lrn: y_c = x_c / (k + a sum of x^2 over `size` channels around c)^beta (Krizhevsky et al. 2012).
 * a is alpha with formula keras, as in the paper and TensorFlow, else alpha / size. The window of c
 * is c - size / 2 to c + size / 2; of an even size it lacks the last of these, with formula torch,
 * or the first. Backward: see lrn_back in kernels/normalize.c. */
#include "layers/layer.h"
#include "layers/meaning.h"
#include <stddef.h>

static const fv_param params[] = {
    {.key = "size",
     .type = FV_PARAM_INT,
     .offset = offsetof(fv_lrn_options, size),
     .position = 1,
     .low = 1,
     .high = 1 << 20,
     .fallback = 5,
     .help = "channels of the window"},
    {.key = "formula",
     .type = FV_PARAM_CHOICE,
     .offset = offsetof(fv_lrn_options, formula),
     .choices = fv_formula_names,
     .help =
         "keras: alpha 1, beta 0.5, alpha not divided; torch, onnx: 1e-4, 0.75; caffe: 1, 0.75"},
    {.key = "alpha",
     .type = FV_PARAM_NUMBER,
     .offset = offsetof(fv_lrn_options, alpha),
     .low = FV_ABOVE_ZERO,
     .high = 1e6,
     .fallback_text = "by the formula",
     .help = "factor of the squares; all formulas but keras divide it by size"},
    {.key = "beta",
     .type = FV_PARAM_NUMBER,
     .offset = offsetof(fv_lrn_options, beta),
     .low = FV_ABOVE_ZERO,
     .high = 1e6,
     .fallback_text = "by the formula",
     .help = "the power"},
    {.key = "k",
     .type = FV_PARAM_NUMBER,
     .offset = offsetof(fv_lrn_options, k),
     .low = FV_ABOVE_ZERO,
     .high = 1e6,
     .fallback = 1,
     .help = "added to the sum"},
    {0}};

fv_lrn_window fv_lrn_of(const fv_lrn_options *o, int channels) {
    static const double alphas[] = {
        [FV_KERAS] = 1, [FV_TORCH] = 1e-4, [FV_ONNX] = 1e-4, [FV_CAFFE] = 1};
    int size = o->size ? o->size : 5, less = (size - 1) / 2, more = size / 2;
    double alpha = o->alpha != 0 ? o->alpha : alphas[o->formula];
    double beta = o->formula == FV_KERAS ? 0.5 : 0.75;
    bool torch = o->formula == FV_TORCH;
    return (fv_lrn_window){.channels = channels,
                           .before = torch ? more : less,
                           .after = torch ? less : more,
                           .alpha = (real)(o->formula == FV_KERAS ? alpha : alpha / size),
                           .beta = (real)(o->beta != 0 ? o->beta : beta),
                           .k = (real)(o->k != 0 ? o->k : 1)};
}

static void prepare(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan) {
    (void)inputs, (void)count;
    fv_lrn_window l = fv_lrn_of(options, output->channels);
    plan->keep_input = setting->training;
    plan->scratch =
        (4 * (size_t)l.channels + 2 * ((size_t)l.before + (size_t)l.after)) * sizeof(real);
}

static size_t row_count(const fv_call *call) {
    return (size_t)call->samples * fv_shape_count(call->out_shape) /
           (size_t)call->out_shape->channels;
}

static void forward(const fv_call *call) {
    fv_lrn_window l = fv_lrn_of(call->options, call->out_shape->channels);
    call->kernels->lrn(&l, row_count(call), call->in[0], (real *)(void *)call->scratch, call->out);
}

static void backward(const fv_call *call) {
    fv_lrn_window l = fv_lrn_of(call->options, call->out_shape->channels);
    if (call->in_gradient[0])
        call->kernels->lrn_back(&l, row_count(call), call->in[0], call->out_gradient,
                                (real *)(void *)call->scratch, call->in_gradient[0]);
}

const fv_layer_type fv_layer_lrn = {.name = "lrn",
                                    .help = "divides by the strength of neighbouring channels",
                                    .options_size = sizeof(fv_lrn_options),
                                    .params = params,
                                    .min_inputs = 1,
                                    .max_inputs = 1,
                                    .infer = fv_infer_same,
                                    .prepare = prepare,
                                    .forward = forward,
                                    .backward = backward};
