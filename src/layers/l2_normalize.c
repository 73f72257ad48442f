/* l2_normalize: y = x / sqrt(max(sum over the channels of x^2, epsilon)), at each place, as
 * TensorFlow's. dx = (dy - y sum(dy y)) / length, or dy / sqrt(epsilon) where epsilon divides. */
#include "layers/layer.h"
#include <stddef.h>

static const fv_param params[] = {{.key = "epsilon",
                                   .type = FV_PARAM_NUMBER,
                                   .offset = offsetof(fv_l2_normalize_options, epsilon),
                                   .low = FV_ABOVE_ZERO,
                                   .high = 1e6,
                                   .fallback = 1e-12,
                                   .help = "least sum of squares to divide by"},
                                  {0}};

static void prepare(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan) {
    (void)options, (void)inputs, (void)count;
    size_t places = fv_shape_count(output) / (size_t)output->channels;
    plan->keep_input = setting->training;
    plan->kept = setting->training ? 2 * places * sizeof(real) : 0;
}

static fv_row_norm norm_of(const fv_call *call, size_t *rows) {
    const fv_l2_normalize_options *o = call->options;
    size_t length = (size_t)call->out_shape->channels;
    *rows = (size_t)call->samples * fv_shape_count(call->out_shape) / length;
    return (fv_row_norm){
        .length = length, .unit_length = true, .epsilon = o->epsilon != 0 ? o->epsilon : 1e-12};
}

static void forward(const fv_call *call) {
    size_t rows;
    fv_row_norm norm = norm_of(call, &rows);
    real *notes = call->setting->training ? (real *)(void *)call->kept : NULL;
    call->kernels->norm_rows(&norm, rows, call->in[0], notes, call->out);
}

static void backward(const fv_call *call) {
    size_t rows;
    fv_row_norm norm = norm_of(call, &rows);
    if (call->in_gradient[0])
        call->kernels->norm_rows_back(&norm, rows, call->in[0], (const real *)(void *)call->kept,
                                      call->out_gradient, call->in_gradient[0], NULL, NULL);
}

const fv_layer_type fv_layer_l2_normalize = {.name = "l2_normalize",
                                             .help = "each place's channels to length 1",
                                             .options_size = sizeof(fv_l2_normalize_options),
                                             .params = params,
                                             .min_inputs = 1,
                                             .max_inputs = 1,
                                             .infer = fv_infer_same,
                                             .prepare = prepare,
                                             .forward = forward,
                                             .backward = backward};
