/* conv: y(p, f) = bias(f) + sum over kernel cells k and channels c of x(p S + k D - P, c) w(k, c,
 * f) with stride S, dilation D and padding P, the cross-correlation that the field calls
 * convolution, in one to three axes. With groups a filter sees the channels of its group alone;
 * with a table those that the table names. Stored weights: [kernel cells][channels /
 * groups][filters]; in files PyTorch's (filters, channels / groups, kernel). With a table: [kernel
 * cells][links] and (links, kernel). */
#include "layers/conv.h"
#include "layers/activation.h"
#include "layers/conv_params.h"

static const fv_param params[] = {
    FV_CONV_FILTERS(fv_conv_options),
    FV_CONV_KERNEL(fv_conv_options, 2),
    FV_CONV_ACTIVATION(fv_conv_options, 3),
    FV_CONV_SLIDE(fv_conv_options),
    FV_CONV_DILATION(fv_conv_options),
    FV_CONV_GROUPS(fv_conv_options),
    FV_CONV_BORDER(fv_conv_options),
    FV_CONV_BIAS(fv_conv_options),
    FV_CONV_INIT(fv_conv_options, init, "how the weights start"),
    FV_CONV_BIAS_INIT(fv_conv_options),
    {.key = "table",
     .type = FV_PARAM_TABLE,
     .offset = offsetof(fv_conv_options, table),
     .fallback_text = "all",
     .help = "channels that each filter sees, from 0: 0-2,1-3,0+4 for three filters"},
    {0}};

/* ---- Shapes and weights -------------------------------------------------------------------------
 */

fv_status fv_conv_check_groups(int groups, const fv_shape *input, int filters) {
    char text[64];
    if (input->channels % groups == 0 && filters % groups == 0)
        return FV_OK;
    return fv_fail(FV_SHAPE,
                   "groups=%d does not divide both the %d channels of the input %s and the %d "
                   "filters (choose a divisor of both)",
                   groups, input->channels, fv_shape_text(input, text), filters);
}

/* A kernel for each link; on average a filter sees links / filters channels. */
static fv_weight_spec table_weight(const fv_conv_options *o, int rank, const fv_axis *axes,
                                   int channels) {
    int links = fv_conv_links(o);
    fv_weight_spec w = {.name = "weight",
                        .rank = rank + 1,
                        .size = {(size_t)links},
                        .init = fv_init_or(o->init, FV_INIT_GLOROT_UNIFORM)};
    size_t cells = 1;
    for (int i = 0; i < rank; i++) {
        w.size[1 + i] = (size_t)axes[i].kernel;
        w.axes[i] = 1 + i;
        cells *= (size_t)axes[i].kernel; /* at most 2^60 */
    }
    w.fan_in = cells > SIZE_MAX >> 12 ? SIZE_MAX : cells * (size_t)links / (size_t)o->filters;
    w.fan_out = cells > SIZE_MAX >> 12 ? SIZE_MAX : cells * (size_t)links / (size_t)channels;
    return w;
}

fv_status fv_conv_infer(const fv_conv_options *o, const fv_shape *input, fv_inference *inference) {
    int groups = o->groups ? o->groups : 1;
    bool table = fv_conv_has_table(o);
    fv_axis axes[3];
    fv_status status = fv_slide(input,
                                &(fv_slide_options){.kernel = o->kernel,
                                                    .stride = o->stride,
                                                    .dilation = o->dilation,
                                                    .padding = o->padding,
                                                    .pad = o->pad,
                                                    .what = "kernel"},
                                axes);
    if (!status && table)
        status = fv_conv_check_table(o, input);
    if (!status)
        status = fv_conv_check_groups(groups, input, o->filters);
    if (!status)
        status = fv_conv_check_sizes(axes, input, input->channels, o->filters);
    if (status)
        return status;
    fv_weight_spec *w = inference->weights;
    w[0] = table ? table_weight(o, input->rank, axes, input->channels)
                 : fv_conv_weight("weight", input->rank, axes, o->filters, input->channels / groups,
                                  o->init);
    w[1] = fv_conv_bias(o->filters, &w[0], o->bias_init);
    inference->weight_count = o->no_bias ? 1 : 2;
    inference->output = *input;
    inference->output.channels = o->filters;
    for (int i = 0; i < input->rank; i++)
        inference->output.size[i] = axes[i].out;
    inference->macs = fv_conv_macs(&w[0], &inference->output);
    inference->activation = o->activation;
    return FV_OK;
}

/* ---- Algorithms ---------------------------------------------------------------------------------
 */

enum { PRODUCTS, WINOGRAD };

static const fv_conv_algorithm *algorithm(const fv_layer_plan *plan) {
    return plan->algorithm == WINOGRAD ? &fv_conv_by_winograd : &fv_conv_by_products;
}

int fv_conv_uses(const fv_setting *setting) {
    int uses = FV_CONV_OUTPUT;
    if (setting->training && setting->input_gradient)
        uses |= FV_CONV_INPUT_GRADIENT;
    if (setting->training && !setting->frozen)
        uses |= FV_CONV_WEIGHT_GRADIENT;
    return uses;
}

static fv_conv_geometry measure(const fv_conv_options *o, const fv_shape *input,
                                const fv_setting *setting) {
    return fv_conv_geometry_of(o, input, fv_conv_uses(setting), setting->kernels);
}

/* Of a table: all channels' weights. */
static size_t dense_bytes(const fv_conv_geometry *g) {
    return fv_conv_cells(g) * (size_t)g->channels * (size_t)g->filters * sizeof(real);
}

void fv_conv_prepare(const fv_conv_options *o, const fv_shape *input, const fv_shape *output,
                     const fv_setting *setting, fv_layer_plan *plan) {
    fv_conv_geometry g = measure(o, input, setting);
    bool table = fv_conv_has_table(o);
    fv_activation_prepare(o->activation, fv_shape_count(output), setting, plan);
    plan->keep_input = (g.uses & FV_CONV_WEIGHT_GRADIENT) != 0;
    plan->spent[0] = plan->spent[1] = true;
    plan->algorithm = !table && fv_conv_winograd_fits(&g, setting) ? WINOGRAD : PRODUCTS;
    if (plan->algorithm == WINOGRAD)
        plan->words = g.axis[1].kernel == 3 ? "winograd 4x4" : "winograd 2x2";
    else
        plan->words = g.depthwise ? "depthwise" : "products";
    algorithm(plan)->prepare(&g, setting, plan);
    if (!table)
        return;
    plan->packed += dense_bytes(&g);
    if (g.uses & FV_CONV_WEIGHT_GRADIENT)
        plan->held = dense_bytes(&g);
}

void fv_conv_pack(const fv_conv_options *o, const fv_call *call) {
    fv_conv_geometry g = measure(o, call->in_shape[0], call->setting);
    fv_call dense = *call;
    if (fv_conv_has_table(o)) {
        real *weights = call->packed + (call->plan->packed - dense_bytes(&g)) / sizeof(real);
        fv_conv_expand_table(o, g.channels, fv_conv_cells(&g), call->weights[0], weights);
        dense.weights[0] = weights;
    }
    algorithm(call->plan)->pack(&g, &dense);
}

void fv_conv_forward(const fv_conv_options *o, const fv_call *call) {
    fv_conv_geometry g = measure(o, call->in_shape[0], call->setting);
    algorithm(call->plan)->forward(&g, call);
    bool bounded = call->plan->algorithm == PRODUCTS && call->activation == FV_RELU6;
    fv_activation_forward(call, 0, call->samples, bounded ? FV_RELU6 : FV_RELU);
}

/* A table's gradients of all weights are held from call to call; the last one picks the links'. */
void fv_conv_backward(const fv_conv_options *o, const fv_call *call) {
    fv_conv_geometry g = measure(o, call->in_shape[0], call->setting);
    bool table = fv_conv_has_table(o) && call->weight_gradients[0];
    fv_call dense = *call;
    if (table)
        dense.weight_gradients[0] = (real *)call->held;
    fv_activation_backward(call, 0, call->samples);
    algorithm(call->plan)->backward(&g, &dense);
    if (table && call->last)
        fv_conv_gather_table(o, g.channels, fv_conv_cells(&g), dense.weight_gradients[0],
                             call->weight_gradients[0]);
}

bool fv_conv_takes_feed(const fv_conv_options *o, const fv_feeder *feeder, const fv_kernels *k) {
    if (feeder->type != &fv_layer_conv || fv_conv_has_table(feeder->options) ||
        fv_conv_has_table(o) || feeder->activation == FV_SOFTMAX ||
        feeder->activation == FV_LOG_SOFTMAX)
        return false;
    fv_conv_geometry g = fv_conv_geometry_of(o, feeder->output, FV_CONV_OUTPUT, k);
    fv_conv_geometry own = fv_conv_geometry_of(feeder->options, feeder->input, FV_CONV_OUTPUT, k);
    return fv_conv_window_takes_feed(&g, &own);
}

/* ---- The record ---------------------------------------------------------------------------------
 */

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    return fv_conv_infer(options, inputs, inference);
}

static void prepare(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan) {
    (void)count;
    fv_conv_prepare(options, inputs, output, setting, plan);
}

static bool takes_feed(const void *options, const fv_feeder *feeder, const fv_kernels *kernels) {
    return fv_conv_takes_feed(options, feeder, kernels);
}

/* Not where the depthwise kernels do it. */
static bool takes_addend(const void *options, const fv_shape *input) {
    int groups = ((const fv_conv_options *)options)->groups;
    return groups <= 1 || groups != input->channels;
}

static void pack(const fv_call *call) {
    fv_conv_pack(call->options, call);
}

static void forward(const fv_call *call) {
    fv_conv_forward(call->options, call);
}

static void backward(const fv_call *call) {
    fv_conv_backward(call->options, call);
}

const fv_layer_type fv_layer_conv = {.name = "conv",
                                     .help = "convolution in as many axes as the input has",
                                     .options_size = sizeof(fv_conv_options),
                                     .params = params,
                                     .min_inputs = 1,
                                     .max_inputs = 1,
                                     .takes_affine = true,
                                     .infer = infer,
                                     .prepare = prepare,
                                     .takes_feed = takes_feed,
                                     .takes_addend = takes_addend,
                                     .pack = pack,
                                     .forward = forward,
                                     .backward = backward};
