/* From nodes to a net with weights: the block of weights, their initialisers, class names. */
#include "base/random.h"
#include "net/net.h"
#include <math.h>
#include <string.h>

enum { WEIGHT_ALIGNMENT = 16 }; /* values: kernels may work on whole vectors of one weight */

fv_status fv_net_find_unread(const fv_net *net, int *unread) {
    bool *is_read = fv_alloc((size_t)net->count, sizeof *is_read);
    if (!is_read)
        return FV_MEMORY;
    for (int n = 0; n < net->count; n++)
        for (int i = 0; i < net->nodes[n].input_count; i++)
            is_read[net->nodes[n].inputs[i]] = true;
    is_read[net->count - 1] = true; /* by the caller */
    for (int i = 0; i < net->loss_count; i++)
        is_read[net->losses[i].node] = true;
    for (int i = 0; i < net->metric_count; i++)
        is_read[net->metrics[i].node] = true;
    for (*unread = 0; *unread < net->count && is_read[*unread];)
        ++*unread;
    fv_free(is_read);
    if (*unread == net->count)
        return FV_OK;
    return fv_fail(FV_INVALID,
                   "no layer or loss reads the output of %s, and it is not the last; name it in a "
                   "from= or of=, or leave it out",
                   net->nodes[*unread].name);
}

/* Gives each weight its place; the size of all is in net->weight_size. */
static fv_status place_weights(fv_net *net) {
    size_t size = 0;
    for (int n = 0; n < net->count; n++)
        for (int w = 0; w < net->nodes[n].weight_count; w++) {
            fv_weight *weight = &net->nodes[n].weights[w];
            weight->offset = size;
            if (!fv_sum(size, fv_round_up(weight->count, WEIGHT_ALIGNMENT), &size))
                return fv_fail(FV_SHAPE, "the net has too many weights for this machine");
        }
    net->weight_size = size;
    return FV_OK;
}

/* Of all weights, statistics too. */
static size_t value_count(const fv_net *net) {
    size_t count = 0;
    for (int n = 0; n < net->count; n++)
        for (int w = 0; w < net->nodes[n].weight_count; w++)
            count += net->nodes[n].weights[w].count;
    return count;
}

fv_status fv_net_build_empty(fv_net *net, size_t most) {
    if (!net)
        return fv_fail(FV_MEMORY, "there is no net (fv_net_new() failed)");
    if (net->status != FV_OK)
        return fv_fail(net->status, "%s", net->message ? net->message : "out of memory");
    if (net->built)
        return FV_OK;
    if (net->count == 0)
        return fv_fail(FV_INVALID, "the net has no layers (start with `input 28x28x1`)");
    int unread;
    fv_status status = fv_net_find_unread(net, &unread);
    if (!status)
        status = place_weights(net);
    if (status)
        return status;
    if (value_count(net) > most)
        return fv_fail(FV_FORMAT, "%s: the net has %zu weights, but the file holds at most %zu",
                       net->source ? net->source : "net", value_count(net), most);
    net->weights = fv_alloc(net->weight_size, sizeof(real));
    if (!net->weights)
        return fv_fail_in(FV_MEMORY, "weights of the net");
    net->built = true;
    return FV_OK;
}

fv_status fv_net_build(fv_net *net) {
    if (net && net->built)
        return FV_OK;
    fv_status status = fv_net_build_empty(net, SIZE_MAX);
    if (!status)
        status = fv_net_initialize(net, 0);
    if (!status)
        net->initialized = false; /* fv_fit draws them again with its own seed */
    return status;
}

/* A normal cut at two deviations, which by the cut shrinks to 0.8796 of its deviation. */
static double cut_normal(fv_random *random) {
    double z;
    do
        z = fv_random_normal(random);
    while (fabs(z) > 2);
    return z / 0.87962566103423978;
}

/* One weight value. The uniform kinds have limit sqrt(3 v), the normal kinds deviation sqrt(v). */
static double draw(const fv_weight_spec *spec, fv_random *random) {
    double in = (double)spec->fan_in, out = (double)spec->fan_out;
    switch (spec->init.kind) {
    case FV_INIT_GLOROT_UNIFORM:
        return (2 * fv_random_uniform(random) - 1) * sqrt(6 / (in + out));
    case FV_INIT_HE_UNIFORM:
        return (2 * fv_random_uniform(random) - 1) * sqrt(6 / in);
    case FV_INIT_LECUN_UNIFORM:
        return (2 * fv_random_uniform(random) - 1) * sqrt(3 / in);
    case FV_INIT_GLOROT_NORMAL:
        return cut_normal(random) * sqrt(2 / (in + out));
    case FV_INIT_HE_NORMAL:
        return cut_normal(random) * sqrt(2 / in);
    case FV_INIT_LECUN_NORMAL:
        return cut_normal(random) * sqrt(1 / in);
    case FV_INIT_NORMAL:
        return fv_random_normal(random) * spec->init.value;
    case FV_INIT_SIGN:
        return fv_random_uniform(random) < 0.5 ? -1 : 1;
    default:
        break;
    }
    return spec->init.value;
}

fv_status fv_net_initialize(fv_net *net, uint64_t seed) {
    if (!net->built)
        return fv_fail(FV_INVALID, "the net is not built yet: call fv_net_build() first");
    uint32_t stream = 0;
    for (int n = 0; n < net->count; n++)
        for (int w = 0; w < net->nodes[n].weight_count; w++, stream++) {
            const fv_weight *weight = &net->nodes[n].weights[w];
            fv_random random;
            fv_random_start(&random, seed, FV_PURPOSE_INIT, stream);
            for (size_t i = 0; i < weight->count; i++)
                net->weights[weight->offset + i] = weight->spec.values
                                                       ? weight->spec.values[i]
                                                       : (real)draw(&weight->spec, &random);
        }
    net->initialized = true;
    return FV_OK;
}

void fv_set_train_options(fv_net *net, const fv_train_options *options) {
    net->train = *options;
}

const fv_train_options *fv_get_train_options(const fv_net *net) {
    return &net->train;
}
