/* dropout: in training each value is set to 0 with probability `rate` and the others grow by
 * 1 / (1 - rate), so that inference needs no change (Srivastava et al. 2014, "inverted").
 * spatial_dropout: the same for whole channels of a sample (Tompson et al. 2015).
 *
 * Value i of a sample is kept where the i-th 16-bit number of a Philox stream is at least
 * round(rate x 65536). The stream's key is the seed, its counter {block, index of the sample in
 * the data set, epoch, purpose + 256 node}; a block of four words gives eight numbers, low halves
 * first. In spatial_dropout number i decides on channel i. */
#include "base/random.h"
#include "layers/layer.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

static const fv_param params[] = {
    {.key = "rate",
     .type = FV_PARAM_NUMBER,
     .offset = offsetof(fv_dropout_options, rate),
     .required = true,
     .position = 1,
     .low = 0,
     .high = 1,
     .exclusive_high = true,
     .help = "share of the values (or channels) that training sets to 0"},
    {0}};

static uint32_t threshold(const fv_dropout_options *options) {
    return (uint32_t)lround(options->rate * 65536);
}

/* By the rate as rounded, so that the expectation is exact. */
static real growth(const fv_dropout_options *options) {
    uint32_t dropped = threshold(options);
    return dropped >= 65536 ? 0 : (real)(65536.0 / (65536.0 - dropped));
}

static void prepare(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan) {
    (void)options, (void)inputs, (void)count;
    if (setting->training)
        plan->kept = fv_bit_bytes(fv_shape_count(output));
}

/* The decisions on `count` values or channels of a sample. */
static const unsigned char *draw(const fv_call *call, int s, size_t count) {
    unsigned char *bits = call->kept + (size_t)s * call->plan->kept;
    uint32_t key[2] = {(uint32_t)call->seed, (uint32_t)(call->seed >> 32)};
    uint32_t stream[3] = {call->indices[s], call->epochs[s], FV_PURPOSE_DROPOUT | call->node << 8};
    call->kernels->random_bits(count, key, stream, threshold(call->options), bits);
    return bits;
}

static void forward(const fv_call *call) {
    size_t values = fv_shape_count(call->out_shape);
    if (!fv_call_draws(call)) {
        memcpy(call->out, call->in[0], (size_t)call->samples * values * sizeof(real));
        return;
    }
    for (int s = 0; s < call->samples; s++) {
        const unsigned char *bits = draw(call, s, values);
        call->kernels->keep_bits(values, bits, growth(call->options),
                                 call->in[0] + (size_t)s * values, call->out + (size_t)s * values);
    }
}

static void backward(const fv_call *call) {
    size_t values = fv_shape_count(call->out_shape);
    if (!call->in_gradient[0])
        return;
    if (!fv_call_draws(call)) {
        memcpy(call->in_gradient[0], call->out_gradient,
               (size_t)call->samples * values * sizeof(real));
        return;
    }
    for (int s = 0; s < call->samples; s++)
        call->kernels->keep_bits(values, call->kept + (size_t)s * call->plan->kept,
                                 growth(call->options), call->out_gradient + (size_t)s * values,
                                 call->in_gradient[0] + (size_t)s * values);
}

const fv_layer_type fv_layer_dropout = {
    .name = "dropout",
    .help = "training sets a share of the values to 0; inference passes all through",
    .options_size = sizeof(fv_dropout_options),
    .params = params,
    .min_inputs = 1,
    .max_inputs = 1,
    .identity = true,
    .infer = fv_infer_same,
    .prepare = prepare,
    .forward = forward,
    .backward = backward};

/* ---- spatial_dropout ---------------------------------------------------------------------------
 */

static void spatial_prepare(const void *options, const fv_shape *inputs, int count,
                            const fv_shape *output, const fv_setting *setting,
                            fv_layer_plan *plan) {
    (void)options, (void)inputs, (void)count;
    if (!setting->training)
        return;
    plan->kept = fv_bit_bytes((size_t)output->channels);
    plan->scratch = (size_t)output->channels * sizeof(real);
}

/* y = x times the factor of its channel, by the sample's bits. */
static void keep_channels(const fv_call *call, const unsigned char *bits, const real *x, real *y) {
    size_t channels = (size_t)call->out_shape->channels;
    real *factor = (real *)(void *)call->scratch;
    for (size_t c = 0; c < channels; c++)
        factor[c] = 1;
    call->kernels->keep_bits(channels, bits, growth(call->options), factor, factor);
    call->kernels->affine(fv_shape_count(call->out_shape) / channels, (int)channels, x, NULL,
                          factor, NULL, y);
}

static void spatial_forward(const fv_call *call) {
    size_t values = fv_shape_count(call->out_shape);
    if (!fv_call_draws(call)) {
        memcpy(call->out, call->in[0], (size_t)call->samples * values * sizeof(real));
        return;
    }
    for (int s = 0; s < call->samples; s++)
        keep_channels(call, draw(call, s, (size_t)call->out_shape->channels),
                      call->in[0] + (size_t)s * values, call->out + (size_t)s * values);
}

static void spatial_backward(const fv_call *call) {
    size_t values = fv_shape_count(call->out_shape);
    if (!call->in_gradient[0])
        return;
    if (!fv_call_draws(call)) {
        memcpy(call->in_gradient[0], call->out_gradient,
               (size_t)call->samples * values * sizeof(real));
        return;
    }
    for (int s = 0; s < call->samples; s++)
        keep_channels(call, call->kept + (size_t)s * call->plan->kept,
                      call->out_gradient + (size_t)s * values,
                      call->in_gradient[0] + (size_t)s * values);
}

const fv_layer_type fv_layer_spatial_dropout = {
    .name = "spatial_dropout",
    .help = "training sets a share of the channels to 0; inference passes all through",
    .options_size = sizeof(fv_dropout_options),
    .params = params,
    .min_inputs = 1,
    .max_inputs = 1,
    .identity = true,
    .infer = fv_infer_same,
    .prepare = spatial_prepare,
    .forward = spatial_forward,
    .backward = spatial_backward};
