/* conv_transpose: the transpose of the convolution that leads from its output to its input (Zeiler
 * et al. 2010), so forward is that convolution's input gradient, and backward its forward and
 * weight gradient: y(p, f) = bias(f) + sum over cells k, places q with q S + k D - P = p, channels
 * c of x(q, c) w(k, f, c). Stored weights: [kernel cells][filters / groups][channels]; in files
 * PyTorch's (channels, filters / groups, kernel). */
#include "layers/activation.h"
#include "layers/conv.h"
#include "layers/conv_params.h"
#include "layers/meaning.h"
#include <limits.h>
#include <string.h>

static const char *const paddings[] = {"valid", "same", NULL};

static const fv_param params[] = {
    FV_CONV_FILTERS(fv_conv_transpose_options),
    FV_CONV_KERNEL(fv_conv_transpose_options, 2),
    FV_CONV_ACTIVATION(fv_conv_transpose_options, 3),
    FV_CONV_STRIDE(fv_conv_transpose_options, "step of the kernel along each axis of the output"),
    FV_CONV_DILATION(fv_conv_transpose_options),
    FV_CONV_GROUPS(fv_conv_transpose_options),
    FV_CONV_PADDING(fv_conv_transpose_options, paddings,
                    "valid: none but pad; same: input x stride outputs, as TensorFlow cuts them"),
    FV_CONV_PAD(fv_conv_transpose_options,
                "cells taken from the output, before:after along each axis"),
    {.key = "output_pad",
     .type = FV_PARAM_SIZES,
     .offset = offsetof(fv_conv_transpose_options, output_pad),
     .low = 0,
     .high = 1 << 20,
     .help = "cells added to the output's end along each axis, less than the stride"},
    FV_CONV_BIAS(fv_conv_transpose_options),
    FV_CONV_INIT(fv_conv_transpose_options, init, "how the weights start"),
    FV_CONV_BIAS_INIT(fv_conv_transpose_options),
    {0}};

/* ---- Shapes -------------------------------------------------------------------------------------
 */

/* Of the convolution from the output (`in`) to the input (`out`). The output's size or FV_ANY. */
static fv_status axis_back(const fv_conv_transpose_options *o, const fv_shape *input, int i,
                           fv_axis *axis) {
    char text[64];
    *axis = (fv_axis){.in = FV_ANY,
                      .out = input->size[i],
                      .kernel = fv_size_at(o->kernel, i, 1),
                      .stride = fv_size_at(o->stride, i, 1),
                      .dilation = fv_size_at(o->dilation, i, 1),
                      .before = o->pad[i][0],
                      .after = o->pad[i][1]};
    int more = fv_size_at(o->output_pad, i, 0);
    int64_t reach = (int64_t)axis->dilation * (axis->kernel - 1) + 1;
    if (more >= axis->stride && more > 0)
        return fv_fail(FV_INVALID, "output_pad=%d must be less than the stride %d", more,
                       axis->stride);
    if (reach > INT_MAX / 2)
        return fv_fail(FV_SHAPE, "kernel of %d cells with dilation %d is too large", axis->kernel,
                       axis->dilation);
    if (o->padding == FV_SAME) {
        int total = reach > axis->stride ? (int)reach - axis->stride : 0;
        axis->before = total / 2;
        axis->after = total - total / 2;
        more = reach < axis->stride ? axis->stride - (int)reach : 0;
    }
    if (axis->out == FV_ANY)
        return FV_OK;
    int64_t size =
        ((int64_t)axis->out - 1) * axis->stride - axis->before - axis->after + reach + more;
    if (size < 1 || size > INT_MAX)
        return fv_fail(FV_SHAPE,
                       "axis %d of the output would have %lld cells: kernel %d, stride %d and pad "
                       "%d:%d do not go with the input %s",
                       i + 1, (long long)size, axis->kernel, axis->stride, axis->before,
                       axis->after, fv_shape_text(input, text));
    axis->in = (int)size;
    return FV_OK;
}

fv_status fv_conv_transpose_axes(const fv_conv_transpose_options *o, const fv_shape *input,
                                 fv_axis axes[3]) {
    fv_status status = fv_slide_check(input, &(fv_slide_options){.kernel = o->kernel,
                                                                 .stride = o->stride,
                                                                 .dilation = o->dilation,
                                                                 .padding = o->padding,
                                                                 .pad = o->pad,
                                                                 .what = "kernel"});
    for (int i = 0; !status && o->padding == FV_SAME && i < 3; i++)
        if (o->output_pad[i] > 0)
            status = fv_fail(FV_INVALID, "padding=same and output_pad= exclude each other (leave "
                                         "one out)");
    for (int i = 0; !status && i < input->rank; i++)
        status = axis_back(o, input, i, &axes[i]);
    return status;
}

static int group_count(const fv_conv_transpose_options *o) {
    return o->groups ? o->groups : 1;
}

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_conv_transpose_options *o = options;
    fv_axis axes[3];
    fv_status status = fv_conv_transpose_axes(o, inputs, axes);
    if (!status)
        status = fv_conv_check_groups(group_count(o), inputs, o->filters);
    if (!status)
        status = fv_conv_check_sizes(axes, inputs, inputs->channels, o->filters);
    if (status)
        return status;
    fv_weight_spec *w = inference->weights;
    w[0] = fv_conv_weight("weight", inputs->rank, axes, inputs->channels,
                          o->filters / group_count(o), o->init);
    w[0].output_axis = 1;
    w[1] = fv_conv_bias(o->filters, &w[0], o->bias_init);
    inference->weight_count = o->no_bias ? 1 : 2;
    inference->output = *inputs;
    inference->output.channels = o->filters;
    for (int i = 0; i < inputs->rank; i++)
        inference->output.size[i] = axes[i].in;
    inference->macs = fv_conv_macs(&w[0], inputs);
    inference->activation = o->activation;
    return FV_OK;
}

/* ---- Running ------------------------------------------------------------------------------------
 */

static fv_conv_geometry measure(const void *options, const fv_shape *input,
                                const fv_setting *setting) {
    const fv_conv_transpose_options *o = options;
    fv_conv_geometry g = {.channels = o->filters,
                          .filters = input->channels,
                          .groups = group_count(o),
                          .uses = FV_CONV_INPUT_GRADIENT};
    if (setting->training && setting->input_gradient)
        g.uses |= FV_CONV_OUTPUT;
    if (setting->training && !setting->frozen)
        g.uses |= FV_CONV_WEIGHT_GRADIENT;
    fv_conv_transpose_axes(o, input, g.axis); /* infer has checked it */
    fv_conv_measure(&g, input->rank, setting->kernels);
    return g;
}

static void prepare(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan) {
    (void)count;
    const fv_conv_transpose_options *o = options;
    const fv_kernels *k = setting->kernels;
    fv_conv_geometry g = measure(o, inputs, setting);
    fv_activation_prepare(o->activation, fv_shape_count(output), setting, plan);
    plan->keep_input = (g.uses & FV_CONV_WEIGHT_GRADIENT) != 0;
    plan->spent[0] = plan->spent[1] = true;
    plan->packed =
        fv_conv_direct_packed(&g, k) + fv_conv_bias_count(g.channels, g.groups, k) * sizeof(real);
    plan->scratch = fv_conv_direct_scratch(&g, k);
}

/* Behind the weights; NULL where there is none. */
static real *packed_bias(const fv_conv_geometry *g, const fv_call *call) {
    return call->weight_count > 1
               ? call->packed + fv_conv_direct_packed(g, call->kernels) / sizeof(real)
               : NULL;
}

static void pack(const fv_call *call) {
    fv_conv_geometry g = measure(call->options, call->in_shape[0], call->setting);
    fv_conv_direct d = fv_conv_direct_open(&g, call->kernels, call->packed, call->scratch);
    fv_conv_direct_pack(&d, call->pool, call->weights[0]);
    if (call->weights[1])
        fv_conv_pack_bias(call->weights[1], g.channels, g.groups, call->kernels,
                          packed_bias(&g, call));
}

static void forward(const fv_call *call) {
    fv_conv_geometry g = measure(call->options, call->in_shape[0], call->setting);
    fv_conv_direct d = fv_conv_direct_open(&g, call->kernels, call->packed, call->scratch);
    size_t in = fv_conv_output_count(&g), out = fv_conv_input_count(&g);
    for (int s = 0; s < call->samples; s++) {
        const real *x = call->in[0] + (size_t)s * in;
        fv_conv_sample_input_gradient(&d, fv_conv_border_gradient(&g, x, d.gradient_copy),
                                      packed_bias(&g, call), call->activation == FV_RELU,
                                      call->out + (size_t)s * out);
    }
    fv_activation_forward(call, 0, call->samples, FV_RELU);
}

static void backward(const fv_call *call) {
    fv_conv_geometry g = measure(call->options, call->in_shape[0], call->setting);
    fv_conv_direct d = fv_conv_direct_open(&g, call->kernels, call->packed, call->scratch);
    size_t in = fv_conv_output_count(&g), out = fv_conv_input_count(&g);
    real *dw = call->weight_gradients[0], *db = call->weight_gradients[1];
    fv_activation_backward(call, 0, call->samples);
    if (call->first && db)
        memset(db, 0, (size_t)g.channels * sizeof(real));
    for (size_t s = 0; s < (size_t)call->samples; s++) {
        const real *gradient = call->out_gradient + s * out;
        if (dw)
            fv_conv_sample_weight_gradient(
                &d, fv_conv_pad_input(&g, NULL, gradient, d.input_copy),
                fv_conv_border_gradient(&g, call->in[0] + s * in, d.gradient_copy),
                s > 0 || !call->first, dw);
        if (db)
            call->kernels->add_rows(out / (size_t)g.channels, g.channels, g.channels, gradient, db);
        if (call->in_gradient[0])
            fv_conv_sample_output(&d, gradient, NULL, false, call->in_gradient[0] + s * in);
    }
}

const fv_layer_type fv_layer_conv_transpose = {
    .name = "conv_transpose",
    .help = "transpose of a convolution: more cells out than in",
    .options_size = sizeof(fv_conv_transpose_options),
    .params = params,
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = infer,
    .prepare = prepare,
    .pack = pack,
    .forward = forward,
    .backward = backward};
