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
    for (int n = 0; n < net->count; n++)
        is_read[n] |= net->nodes[n].named_output;
    for (*unread = 0; *unread < net->count && is_read[*unread];)
        ++*unread;
    fv_free(is_read);
    if (*unread == net->count)
        return FV_OK;
    return fv_fail(FV_INVALID,
                   "no layer or loss reads the output of %s, and it is not the last; name it in a "
                   "from=, of= or output line, or leave it out",
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

fv_status fv_net_build_in_file(fv_net *net, size_t most) {
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
    fv_net_find_outputs(net);
    net->built = true;
    return FV_OK;
}

fv_status fv_net_build(fv_net *net) {
    return fv_net_build_in_file(net, SIZE_MAX); /* its weights are drawn when first asked for */
}

/* What of its deviation a normal keeps when it is cut at two of them. */
static const double kept_deviation = 0.87962566103423978;

/* A normal cut at two deviations, stretched to deviation 1 again. */
static double cut_normal(fv_random *random) {
    double z;
    do
        z = fv_random_normal(random);
    while (fabs(z) > 2);
    return z / kept_deviation;
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
    case FV_INIT_TRUNCATED_NORMAL:
        return cut_normal(random) * kept_deviation * spec->init.value;
    case FV_INIT_UNIFORM:
        return (2 * fv_random_uniform(random) - 1) * spec->init.value;
    case FV_INIT_KAIMING_NORMAL:
        return fv_random_normal(random) * sqrt(2 / in);
    case FV_INIT_KAIMING_NORMAL_OUT:
        return fv_random_normal(random) * sqrt(2 / out);
    case FV_INIT_FAN_IN_UNIFORM:
        return (2 * fv_random_uniform(random) - 1) / sqrt(in);
    case FV_INIT_CONSTANT:
    case FV_INIT_DEFAULT:
    case FV_INIT_ORTHOGONAL:
        break;
    }
    return spec->init.value;
}

/* ---- Orthogonal weights: normals made orthonormal by Gram and Schmidt, in double ---------------
 */

/* In eight lanes side by side, which vectors hold. */
static double dot(size_t count, const double *x, const double *y) {
    enum { LANES = 8 };
    double sums[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            sums[j] += x[i + j] * y[i + j];
    for (; i < count; i++)
        sum += x[i] * y[i];
    for (size_t j = 0; j < LANES; j++)
        sum += sums[j];
    return sum;
}

/* The modified Gram-Schmidt process on `rows` of `count` values, rows <= count. Some rows at a time
 * meet each row before them, so that it is read once for all of these. */
static void orthonormalize(size_t rows, size_t count, double *x) {
    enum { BLOCK = 16 };
    for (size_t first = 0; first < rows; first += BLOCK) {
        size_t end = first + BLOCK < rows ? first + BLOCK : rows;
        for (size_t q = 0; q < end; q++) {
            double *known = x + q * count;
            double norm = q < first ? 1 : sqrt(dot(count, known, known));
            for (size_t i = 0; q >= first && i < count; i++)
                known[i] /= norm;
            for (size_t r = first > q ? first : q + 1; r < end; r++) {
                double *row = x + r * count, share = dot(count, known, row);
                for (size_t i = 0; i < count; i++)
                    row[i] -= share * known[i];
            }
        }
    }
}

/* The file's matrix of outputs x rest has orthonormal rows, or columns where those are fewer. */
static fv_status draw_orthogonal(const fv_weight *weight, fv_random *random, real *values) {
    size_t outputs = weight->spec.size[0], rest = weight->count / outputs;
    size_t rows = outputs < rest ? outputs : rest, count = weight->count / rows;
    double gain = weight->spec.init.value != 0 ? weight->spec.init.value : 1;
    double *x = fv_alloc(weight->count, sizeof *x);
    float *file = fv_alloc(weight->count, sizeof *file);
    fv_status status = x && file ? FV_OK : FV_MEMORY;
    if (!status) {
        for (size_t i = 0; i < weight->count; i++)
            x[i] = fv_random_normal(random);
        orthonormalize(rows, count, x);
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < count; c++)
                file[outputs <= rest ? r * count + c : c * rows + r] =
                    (float)(gain * x[r * count + c]);
        fv_weight_from_file(weight, file, values);
    }
    fv_free(x);
    fv_free(file);
    return status;
}

static fv_status draw_weight(const fv_weight *weight, fv_random *random, real *values) {
    if (weight->spec.init.kind == FV_INIT_ORTHOGONAL && !weight->spec.values)
        return draw_orthogonal(weight, random, values);
    for (size_t i = 0; i < weight->count; i++)
        values[i] =
            weight->spec.values ? weight->spec.values[i] : (real)draw(&weight->spec, random);
    return FV_OK;
}

static fv_status draw_weights(const fv_net *net, uint64_t seed, real *values) {
    uint32_t stream = 0;
    for (int n = 0; n < net->count; n++)
        for (int w = 0; w < net->nodes[n].weight_count; w++, stream++) {
            const fv_weight *weight = &net->nodes[n].weights[w];
            fv_random random;
            fv_random_start(&random, seed, FV_PURPOSE_INIT, stream);
            fv_status status = draw_weight(weight, &random, values + weight->offset);
            if (status)
                return fv_fail_in(status, "the weights of %s", net->nodes[n].name);
        }
    return FV_OK;
}

fv_status fv_net_make_room(fv_net *net) {
    if (net->weights)
        return FV_OK;
    net->weights = fv_alloc(net->weight_size, sizeof *net->weights);
    if (!net->weights)
        return fv_fail_in(FV_MEMORY, "weights of the net");
    fv_file_close(&net->file);
    return FV_OK;
}

/* In the lock, and into memory of its own until it is whole: another thread may ask, too. */
fv_status fv_net_draw(fv_net *net) {
    pthread_mutex_lock(&net->drawing);
    fv_status status = FV_OK;
    if (!net->weights) {
        real *values = fv_alloc(net->weight_size, sizeof *values);
        status = values ? draw_weights(net, 0, values) : FV_MEMORY;
        if (status)
            fv_free(values);
        else
            net->weights = values;
    }
    pthread_mutex_unlock(&net->drawing);
    return status;
}

fv_status fv_net_initialize(fv_net *net, uint64_t seed) {
    if (!net->built)
        return fv_fail(FV_INVALID, "the net is not built yet: call fv_net_build() first");
    fv_status status = fv_net_make_room(net);
    if (!status)
        status = draw_weights(net, seed, net->weights);
    net->initialized |= !status;
    return status;
}

void fv_set_train_options(fv_net *net, const fv_train_options *options) {
    net->train = *options;
}

const fv_train_options *fv_get_train_options(const fv_net *net) {
    return &net->train;
}
