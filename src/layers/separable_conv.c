/* separable_conv: a depthwise convolution without bias, then a 1x1 convolution with bias and
 * activation, one sample at a time; what lies between them is kept for the backward pass. Stored
 * weights: depthwise_weight [kernel cells][channels x multiplier], weight [channels x
 * multiplier][filters]. (Chollet 2017) */
#include "layers/activation.h"
#include "layers/conv.h"
#include "layers/conv_params.h"
#include <string.h>

static const fv_param params[] = {
    FV_CONV_FILTERS(fv_separable_conv_options),
    FV_CONV_KERNEL(fv_separable_conv_options, 2),
    FV_CONV_ACTIVATION(fv_separable_conv_options, 3),
    FV_CONV_MULTIPLIER(fv_separable_conv_options),
    FV_CONV_SLIDE(fv_separable_conv_options),
    FV_CONV_DILATION(fv_separable_conv_options),
    FV_CONV_BORDER(fv_separable_conv_options),
    FV_CONV_BIAS(fv_separable_conv_options),
    FV_CONV_INIT(fv_separable_conv_options, depthwise_init, "how the depthwise weights start"),
    FV_CONV_INIT(fv_separable_conv_options, init, "how the weights of the 1x1 convolution start"),
    FV_CONV_BIAS_INIT(fv_separable_conv_options),
    {0}};

/* ---- The two convolutions -----------------------------------------------------------------------
 */

static fv_conv_options depthwise(const fv_separable_conv_options *o, const fv_shape *input) {
    fv_depthwise_conv_options first = {.multiplier = o->multiplier,
                                       .padding = o->padding,
                                       .no_bias = true,
                                       .init = o->depthwise_init};
    memcpy(first.kernel, o->kernel, sizeof first.kernel);
    memcpy(first.stride, o->stride, sizeof first.stride);
    memcpy(first.dilation, o->dilation, sizeof first.dilation);
    memcpy(first.pad, o->pad, sizeof first.pad);
    return fv_conv_depthwise_options(&first, input);
}

static fv_conv_options pointwise(const fv_separable_conv_options *o) {
    return (fv_conv_options){.filters = o->filters,
                             .kernel = {1},
                             .activation = o->activation,
                             .no_bias = o->no_bias,
                             .init = o->init,
                             .bias_init = o->bias_init};
}

/* Both, with their memory. */
typedef struct separable {
    fv_conv_geometry first, second;
    size_t middle;                      /* values between them, a sample */
    size_t first_packed, second_packed; /* bytes */
    size_t scratch[2];                  /* bytes of each */
} separable;

static separable measure(const fv_separable_conv_options *o, const fv_shape *input,
                         const fv_shape *output, const fv_setting *setting) {
    const fv_kernels *k = setting->kernels;
    fv_conv_options first = depthwise(o, input), second = pointwise(o);
    fv_shape middle = *output;
    middle.channels = first.filters;
    int uses = fv_conv_uses(setting);
    separable s = {
        .first = fv_conv_geometry_of(&first, input, uses, k),
        .second = fv_conv_geometry_of(&second, &middle,
                                      setting->training ? uses | FV_CONV_INPUT_GRADIENT : uses, k),
        .middle = fv_shape_count(&middle)};
    s.first_packed = fv_round_up(fv_conv_direct_packed(&s.first, k), 64);
    s.second_packed = fv_round_up(fv_conv_direct_packed(&s.second, k), 64);
    s.scratch[0] = fv_round_up(fv_conv_direct_scratch(&s.first, k), 64);
    s.scratch[1] = fv_round_up(fv_conv_direct_scratch(&s.second, k), 64);
    return s;
}

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_separable_conv_options *o = options;
    fv_inference second = {0};
    fv_status status = fv_conv_check_multiplier(o->multiplier, inputs);
    if (status)
        return status;
    fv_conv_options conv = depthwise(o, inputs);
    status = fv_conv_infer(&conv, inputs, inference);
    if (status)
        return status;
    conv = pointwise(o);
    status = fv_conv_infer(&conv, &inference->output, &second);
    inference->weights[0].name = "depthwise_weight";
    inference->weights[1] = second.weights[0];
    inference->weights[2] = second.weights[1];
    inference->weight_count = 1 + second.weight_count;
    inference->output = second.output;
    inference->activation = second.activation;
    if (__builtin_add_overflow(inference->macs, second.macs, &inference->macs))
        inference->macs = INT64_MAX;
    return status;
}

/* Kept in training: the activation's notes, then the middle. */
static void prepare(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan) {
    (void)count;
    const fv_separable_conv_options *o = options;
    separable s = measure(o, inputs, output, setting);
    size_t middle = fv_round_up(s.middle * sizeof(real), 64);
    fv_activation_prepare(o->activation, fv_shape_count(output), setting, plan);
    plan->spent[0] = plan->spent[1] = plan->spent[2] = true;
    plan->packed = s.first_packed + s.second_packed +
                   fv_conv_bias_count(o->filters, 1, setting->kernels) * sizeof(real);
    plan->scratch = s.scratch[0] + s.scratch[1] + middle;
    plan->keep_input = (s.first.uses & FV_CONV_WEIGHT_GRADIENT) != 0;
    if (plan->keep_input)
        plan->kept = fv_round_up(plan->kept, 64) + middle;
}

/* ---- Running ------------------------------------------------------------------------------------
 */

typedef struct parts {
    fv_conv_direct first, second;
    real *bias;   /* packed; NULL: none */
    real *middle; /* of one sample, in scratch */
} parts;

static parts open_parts(const separable *s, const fv_call *call) {
    unsigned char *packed = (unsigned char *)call->packed;
    real *bias = (real *)(packed + s->first_packed + s->second_packed);
    return (parts){
        .first = fv_conv_direct_open(&s->first, call->kernels, call->packed, call->scratch),
        .second = fv_conv_direct_open(&s->second, call->kernels, (real *)(packed + s->first_packed),
                                      call->scratch + s->scratch[0]),
        .bias = call->weight_count > 2 ? bias : NULL,
        .middle = (real *)(call->scratch + s->scratch[0] + s->scratch[1])};
}

static separable measure_call(const fv_call *call) {
    return measure(call->options, call->in_shape[0], call->out_shape, call->setting);
}

/* Where sample `i` keeps its middle. */
static real *kept_middle(const separable *s, const fv_call *call, int i) {
    size_t end = (size_t)(i + 1) * call->plan->kept;
    return (real *)(call->kept + end - fv_round_up(s->middle * sizeof(real), 64));
}

static void pack(const fv_call *call) {
    separable s = measure_call(call);
    parts p = open_parts(&s, call);
    fv_conv_direct_pack(&p.first, call->pool, call->weights[0]);
    fv_conv_direct_pack(&p.second, call->pool, call->weights[1]);
    if (p.bias)
        fv_conv_pack_bias(call->weights[2], s.second.filters, 1, call->kernels, p.bias);
}

static void forward(const fv_call *call) {
    separable s = measure_call(call);
    parts p = open_parts(&s, call);
    size_t in = fv_conv_input_count(&s.first), out = fv_conv_output_count(&s.second);
    bool keep = (s.first.uses & FV_CONV_WEIGHT_GRADIENT) != 0;
    for (int i = 0; i < call->samples; i++) {
        const real *x = call->in[0] + (size_t)i * in;
        real *middle = keep ? kept_middle(&s, call, i) : p.middle;
        fv_conv_sample_output(&p.first, x, NULL, false, middle);
        fv_conv_sample_output(&p.second, middle, p.bias, call->activation == FV_RELU,
                              call->out + (size_t)i * out);
    }
    fv_activation_forward(call, 0, call->samples, FV_RELU);
}

/* From dy to the gradients of the 1x1 convolution, and to the middle's in p->middle. */
static void backward_second(const separable *s, const parts *p, const fv_call *call, int i,
                            bool add) {
    const real *dy = call->out_gradient + (size_t)i * fv_conv_output_count(&s->second);
    dy = fv_conv_border_gradient(&s->second, dy, p->second.gradient_copy);
    if (call->weight_gradients[1])
        fv_conv_sample_weight_gradient(
            &p->second,
            fv_conv_pad_input(&s->second, NULL, kept_middle(s, call, i), p->second.input_copy), dy,
            add, call->weight_gradients[1]);
    if (call->weight_gradients[2])
        fv_conv_sample_bias_gradient(&p->second, dy, call->weight_gradients[2]);
    fv_conv_sample_input_gradient(&p->second, dy, NULL, false, p->middle);
}

static void backward_first(const separable *s, const parts *p, const fv_call *call, int i,
                           bool add) {
    size_t in = fv_conv_input_count(&s->first);
    const real *x = call->in[0] + (size_t)i * in;
    const real *dy = fv_conv_border_gradient(&s->first, p->middle, p->first.gradient_copy);
    if (call->weight_gradients[0])
        fv_conv_sample_weight_gradient(&p->first,
                                       fv_conv_pad_input(&s->first, NULL, x, p->first.input_copy),
                                       dy, add, call->weight_gradients[0]);
    if (call->in_gradient[0])
        fv_conv_sample_input_gradient(&p->first, dy, NULL, false,
                                      call->in_gradient[0] + (size_t)i * in);
}

static void backward(const fv_call *call) {
    separable s = measure_call(call);
    parts p = open_parts(&s, call);
    fv_activation_backward(call, 0, call->samples);
    if (call->first && call->weight_gradients[2])
        memset(call->weight_gradients[2], 0, (size_t)s.second.filters * sizeof(real));
    for (int i = 0; i < call->samples; i++) {
        bool add = i > 0 || !call->first;
        backward_second(&s, &p, call, i, add);
        backward_first(&s, &p, call, i, add);
    }
}

const fv_layer_type fv_layer_separable_conv = {
    .name = "separable_conv",
    .help = "a depthwise convolution, then a 1x1 convolution",
    .options_size = sizeof(fv_separable_conv_options),
    .params = params,
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = infer,
    .prepare = prepare,
    .pack = pack,
    .forward = forward,
    .backward = backward};
