/* gaussian_noise: in training y = x + deviation n, n normal with mean 0 and deviation 1; inference
 * passes x through.
 *
 * The normals of a sample come from a Philox stream: the key is the seed, the counter {block, index
 * of the sample in the data set, epoch, purpose + 256 node}, with purpose 5. A block's four words
 * w0 to w3 give values 4 block to 4 block + 3 (Box & Muller 1958):
 *   r cos(a), r sin(a) with r = sqrt(-2 log((floor(w0 / 2^9) + 1/2) / 2^23)),
 *   a = 2 pi floor(w1 / 2^8) / 2^24; then the same with w2, w3. */
#include "base/random.h"
#include "layers/layer.h"
#include <stddef.h>
#include <string.h>

static const fv_param params[] = {{.key = "deviation",
                                   .type = FV_PARAM_NUMBER,
                                   .offset = offsetof(fv_gaussian_noise_options, deviation),
                                   .required = true,
                                   .position = 1,
                                   .low = 0,
                                   .high = 1e6,
                                   .help = "standard deviation of what training adds"},
                                  {0}};

static void forward(const fv_call *call) {
    const fv_gaussian_noise_options *o = call->options;
    size_t values = fv_shape_count(call->out_shape);
    uint32_t key[2] = {(uint32_t)call->seed, (uint32_t)(call->seed >> 32)};
    memcpy(call->out, call->in[0], (size_t)call->samples * values * sizeof(real));
    for (int s = 0; s < call->samples && fv_call_draws(call); s++) {
        uint32_t stream[3] = {call->indices[s], call->epochs[s],
                              FV_PURPOSE_NOISE | call->node << 8};
        call->kernels->add_normals(values, key, stream, (real)o->deviation,
                                   call->out + (size_t)s * values);
    }
}

static void backward(const fv_call *call) {
    size_t values = fv_shape_count(call->out_shape);
    if (call->in_gradient[0])
        memcpy(call->in_gradient[0], call->out_gradient,
               (size_t)call->samples * values * sizeof(real));
}

const fv_layer_type fv_layer_gaussian_noise = {
    .name = "gaussian_noise",
    .help = "training adds normal random numbers; inference passes all through",
    .options_size = sizeof(fv_gaussian_noise_options),
    .params = params,
    .min_inputs = 1,
    .max_inputs = 1,
    .identity = true,
    .infer = fv_infer_same,
    .forward = forward,
    .backward = backward};
