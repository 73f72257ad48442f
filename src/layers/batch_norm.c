/* batch_norm: y = (x - mean) / sqrt(variance + epsilon) scale(c) + bias(c) (Ioffe & Szegedy 2015;
 * see fv_batch_norm_options for the formulas). In training mean and variance of each channel are
 * those of the batch, all places counted alike, which join() finds; frozen and in inference they
 * are the running ones. Either way the rest is an affine map of each sample.
 *
 * Backward, with n values a channel and u = (x - mean) / deviation:
 *   dx = scale (dy - sum(dy) / n - u sum(dy u) / n) / deviation, dscale = sum dy u, dbias = sum dy.
 *
 * The sums of parts of the batch are made apart and joined in their order: a part is a sample,
 * whose sums are made where it is in the cache, behind the layer that made it; where samples are
 * too small for that, it is some rows. They depend on batch and shape alone. All are in double, and
 * those of x of differences to the part's first row. */
#include "layers/activation.h"
#include "layers/meaning.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

enum {
    SAMPLE_PLACES = 16, /* a sample of fewer is no part of its own */
    MOST_PARTS = 64,
    PART_VALUES = 8192 /* speed only: of rows */
};

static const fv_param params[] = {{.key = "activation",
                                   .type = FV_PARAM_CHOICE,
                                   .offset = offsetof(fv_batch_norm_options, activation),
                                   .position = 1,
                                   .choices = fv_activation_names,
                                   .help = "applied to the output"},
                                  {.key = "formula",
                                   .type = FV_PARAM_CHOICE,
                                   .offset = offsetof(fv_batch_norm_options, formula),
                                   .choices = fv_formula_names,
                                   .help = "whose momentum, epsilon and stored variance"},
                                  {.key = "momentum",
                                   .type = FV_PARAM_NUMBER,
                                   .offset = offsetof(fv_batch_norm_options, momentum),
                                   .low = FV_ABOVE_ZERO,
                                   .high = 1,
                                   .fallback_text = "by the formula",
                                   .help = "share of the old running statistics that a step keeps"},
                                  {.key = "epsilon",
                                   .type = FV_PARAM_NUMBER,
                                   .offset = offsetof(fv_batch_norm_options, epsilon),
                                   .low = FV_ABOVE_ZERO,
                                   .high = 1e6,
                                   .fallback_text = "by the formula",
                                   .help = "added to the variance"},
                                  {.key = "scale",
                                   .type = FV_PARAM_NOT,
                                   .offset = offsetof(fv_batch_norm_options, no_scale),
                                   .help = "a factor on each channel"},
                                  {.key = "bias",
                                   .type = FV_PARAM_NOT,
                                   .offset = offsetof(fv_batch_norm_options, no_bias),
                                   .help = "a number added to each channel"},
                                  {.key = "init",
                                   .type = FV_PARAM_INIT,
                                   .offset = offsetof(fv_batch_norm_options, init),
                                   .fallback_text = "constant(1)",
                                   .help = "how the factors start"},
                                  {.key = "bias_init",
                                   .type = FV_PARAM_INIT,
                                   .offset = offsetof(fv_batch_norm_options, bias_init),
                                   .fallback_text = "constant(0)",
                                   .help = "how the added numbers start"},
                                  {0}};

/* What each formula has where the options are silent. */
typedef struct defaults {
    double momentum, epsilon;
    bool unbiased; /* the stored variance */
} defaults;

static const defaults formulas[] = {[FV_KERAS] = {0.99, 1e-3, false},
                                    [FV_TORCH] = {0.9, 1e-5, true},
                                    [FV_ONNX] = {0.9, 1e-5, false},
                                    [FV_CAFFE] = {0.999, 1e-5, true}};

double fv_batch_norm_epsilon(const fv_batch_norm_options *o) {
    return o->epsilon != 0 ? o->epsilon : formulas[o->formula].epsilon;
}

/* ---- Weights -----------------------------------------------------------------------------------
 */

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_batch_norm_options *o = options;
    size_t channels = (size_t)inputs[0].channels;
    const fv_weight_spec each = {
        .rank = 1, .size = {channels}, .fan_in = channels, .fan_out = channels};
    fv_weight_spec all[] = {each, each, each, each};
    all[0].name = "weight";
    all[0].init = o->init.kind ? o->init : (fv_init){FV_INIT_CONSTANT, 1};
    all[1].name = "bias";
    all[1].init = fv_init_or(o->bias_init, FV_INIT_CONSTANT);
    all[0].bias = all[1].bias = true;
    all[2].name = "running_mean";
    all[2].init = (fv_init){FV_INIT_CONSTANT, 0};
    all[3].name = "running_var";
    all[3].init = (fv_init){FV_INIT_CONSTANT, 1};
    all[2].statistic = all[2].updated = all[3].statistic = all[3].updated = true;
    for (int w = 0; w < 4; w++)
        if ((w != 0 || !o->no_scale) && (w != 1 || !o->no_bias))
            inference->weights[inference->weight_count++] = all[w];
    inference->output = inputs[0];
    inference->activation = o->activation;
    return FV_OK;
}

/* The call's weights and gradients by their meaning; scale and bias NULL where there is none. */
typedef struct weights {
    const real *scale, *bias, *mean, *variance;
    real *dscale, *dbias, *new_mean, *new_variance;
} weights;

static weights weights_of(const fv_call *call) {
    const fv_batch_norm_options *o = call->options;
    int bias = o->no_scale ? 0 : 1, mean = bias + (o->no_bias ? 0 : 1);
    return (weights){.scale = o->no_scale ? NULL : call->weights[0],
                     .bias = o->no_bias ? NULL : call->weights[bias],
                     .mean = call->weights[mean],
                     .variance = call->weights[mean + 1],
                     .dscale = o->no_scale ? NULL : call->weight_gradients[0],
                     .dbias = o->no_bias ? NULL : call->weight_gradients[bias],
                     .new_mean = call->weight_gradients[mean],
                     .new_variance = call->weight_gradients[mean + 1]};
}

/* ---- The plan ----------------------------------------------------------------------------------
 */

static bool by_batch(const fv_setting *setting) {
    return setting->training && !setting->frozen;
}

static size_t places_of(const fv_shape *shape) {
    return fv_shape_count(shape) / (size_t)shape->channels;
}

static bool by_sample(const fv_shape *shape) {
    return places_of(shape) >= SAMPLE_PLACES;
}

/* Rows (places of samples) of a part. */
static size_t part_rows(const fv_shape *shape, const fv_setting *setting) {
    size_t channels = (size_t)shape->channels, places = places_of(shape);
    if (by_sample(shape))
        return places;
    size_t rows = ((size_t)setting->batch * places + MOST_PARTS - 1) / MOST_PARTS;
    size_t least = (PART_VALUES + channels - 1) / channels;
    return rows > least ? rows : least;
}

/* A sum and a sum of products for each channel. */
static size_t sums_bytes(const fv_shape *shape) {
    return 2 * (size_t)shape->channels * sizeof(double);
}

/* packed: mean, factor and offset of each channel, and of the batch's statistics 1 / deviation, and
 * for the backward pass slope and offset of fv_kernels.affine_back, whose factor is the same. A
 * sample's sums are at the end of what is kept of it. */
static void prepare(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan) {
    (void)inputs, (void)count;
    const fv_batch_norm_options *o = options;
    size_t rows = part_rows(output, setting);
    size_t parts = (places_of(output) * (size_t)setting->batch + rows - 1) / rows;
    fv_activation_prepare(o->activation, fv_shape_count(output), setting, plan);
    plan->packed = 6 * (size_t)output->channels * sizeof(real);
    if (!by_batch(setting)) {
        plan->spent[0] = plan->spent[1] = plan->spent[2] = plan->spent[3] = true;
        return;
    }
    plan->keep_input = plan->adds = true;
    plan->shared = sums_bytes(output);
    if (by_sample(output))
        plan->kept = fv_round_up(plan->kept, sizeof(double)) + sums_bytes(output);
    else
        plan->shared += parts * sums_bytes(output);
}

/* ---- By running statistics ---------------------------------------------------------------------
 */

static void pack(const fv_call *call) {
    if (by_batch(call->setting))
        return;
    int channels = call->out_shape->channels;
    double epsilon = fv_batch_norm_epsilon(call->options);
    weights w = weights_of(call);
    real *mean = call->packed, *factor = mean + channels, *offset = factor + channels;
    for (int c = 0; c < channels; c++) {
        double scale = w.scale ? (double)w.scale[c] : 1;
        mean[c] = w.mean[c];
        factor[c] = (real)(scale / sqrt((double)w.variance[c] + epsilon));
        offset[c] = w.bias ? w.bias[c] : 0;
    }
}

static void forward(const fv_call *call) {
    int channels = call->out_shape->channels;
    size_t rows = (size_t)call->samples * fv_shape_count(call->out_shape) / (size_t)channels;
    const real *mean = call->packed;
    call->kernels->affine(rows, channels, call->in[0], mean, mean + channels, mean + 2 * channels,
                          call->out);
    fv_activation_forward(call, 0, call->samples, FV_LINEAR);
}

static void backward_by_running(const fv_call *call) {
    int channels = call->out_shape->channels;
    size_t rows = (size_t)call->samples * fv_shape_count(call->out_shape) / (size_t)channels;
    if (!call->in_gradient[0])
        return;
    fv_activation_backward(call, 0, call->samples);
    call->kernels->affine(rows, channels, call->out_gradient, NULL, call->packed + channels, NULL,
                          call->in_gradient[0]);
}

/* ---- By the batch's statistics -----------------------------------------------------------------
 */

typedef struct batch {
    const fv_call *call;
    const real *dy; /* NULL: forward */
    int channels, parts;
    size_t rows, part_rows;
    double count;
    double *sums;                 /* of all parts */
    real *mean, *factor, *offset; /* packed */
    real *inverse, *slope, *offset_back;
} batch;

static batch batch_of(const fv_call *call, const real *dy) {
    size_t channels = (size_t)call->out_shape->channels;
    batch b = {.call = call,
               .dy = dy,
               .channels = call->out_shape->channels,
               .rows = (size_t)call->samples * places_of(call->out_shape),
               .part_rows = part_rows(call->out_shape, call->setting),
               .sums = (double *)(void *)call->shared};
    b.parts = (int)((b.rows + b.part_rows - 1) / b.part_rows);
    b.count = (double)b.rows;
    b.mean = call->packed;
    b.factor = b.mean + channels;
    b.offset = b.factor + channels;
    b.inverse = b.offset + channels;
    b.slope = b.inverse + channels;
    b.offset_back = b.slope + channels;
    return b;
}

static size_t first_row(const batch *b, int part) {
    return (size_t)part * b->part_rows;
}

static size_t rows_in(const batch *b, int part) {
    size_t left = b->rows - first_row(b, part);
    return left < b->part_rows ? left : b->part_rows;
}

static const real *first_values(const batch *b, int part) {
    return b->call->in[0] + first_row(b, part) * (size_t)b->channels;
}

static double *sums_in(const batch *b, int part) {
    const fv_call *call = b->call;
    if (!by_sample(call->out_shape))
        return b->sums + (size_t)(part + 1) * 2 * (size_t)b->channels;
    unsigned char *end = call->kept + (size_t)(part + 1) * call->plan->kept;
    return (double *)(void *)(end - sums_bytes(call->out_shape));
}

/* Of x and its square, or of dy and dy (x - mean). */
static void sum_part(void *argument, int part, int thread) {
    (void)thread;
    const batch *b = argument;
    const real *x = first_values(b, part);
    const real *dy = b->dy ? b->dy + first_row(b, part) * (size_t)b->channels : NULL;
    b->call->kernels->channel_sums(rows_in(b, part), b->channels, x, dy ? b->mean : x, dy,
                                   sums_in(b, part));
}

/* Of samples that are parts: the others' sums are made when they are joined. */
static void sum_samples(const fv_call *call, const real *dy) {
    batch b = batch_of(call, dy);
    for (int part = 0; part < b.parts && by_sample(call->out_shape); part++)
        sum_part(&b, part, 0);
}

static void measure(const fv_call *call) {
    sum_samples(call, NULL);
}

static void measure_back(const fv_call *call) {
    fv_activation_backward(call, 0, call->samples);
    sum_samples(call, call->out_gradient);
}

static void begin_join(batch *b) {
    if (!by_sample(b->call->out_shape))
        fv_pool_run(b->call->pool, b->parts, sum_part, b);
    memset(b->sums, 0, sums_bytes(b->call->out_shape));
}

static real mixed(const fv_batch_norm_options *o, real old, double new) {
    double momentum = o->momentum != 0 ? o->momentum : formulas[o->formula].momentum;
    return (real)(momentum * (double)old + (1 - momentum) * new);
}

/* Mean and deviation, and the next running ones. sums: mean, and variance x count. */
static void turn(const batch *b) {
    const fv_batch_norm_options *o = b->call->options;
    weights w = weights_of(b->call);
    for (int c = 0; c < b->channels; c++) {
        double mean = b->sums[c], variance = b->sums[b->channels + c] / b->count;
        variance = variance < 0 ? 0 : variance;
        double inverse = 1 / sqrt(variance + fv_batch_norm_epsilon(o));
        b->mean[c] = (real)mean;
        b->inverse[c] = (real)inverse;
        b->factor[c] = (real)(w.scale ? inverse * (double)w.scale[c] : inverse);
        b->offset[c] = w.bias ? w.bias[c] : 0;
        if (formulas[o->formula].unbiased)
            variance *= b->count / (b->count > 1 ? b->count - 1 : 1);
        w.new_mean[c] = mixed(o, w.mean[c], mean);
        w.new_variance[c] = mixed(o, w.variance[c], variance);
    }
}

/* Means and variances of the parts to those of the whole (Chan et al. 1979). */
static void join(const fv_call *call) {
    batch b = batch_of(call, NULL);
    begin_join(&b);
    for (int part = 0; part < b.parts; part++) {
        const double *sums = sums_in(&b, part), rows = (double)rows_in(&b, part);
        const real *from = first_values(&b, part);
        for (int c = 0; c < b.channels; c++)
            b.sums[c] += (rows * (double)from[c] + sums[c]) / b.count;
    }
    for (int part = 0; part < b.parts; part++) {
        const double *sums = sums_in(&b, part), rows = (double)rows_in(&b, part);
        const real *from = first_values(&b, part);
        for (int c = 0; c < b.channels; c++) {
            double lift = sums[c] / rows, apart = (double)from[c] + lift - b.sums[c];
            b.sums[b.channels + c] += sums[b.channels + c] - sums[c] * lift + rows * apart * apart;
        }
    }
    turn(&b);
}

/* The gradients of scale and bias, and what spreads the output's gradient over x. */
static void join_back(const fv_call *call) {
    batch b = batch_of(call, call->out_gradient);
    weights w = weights_of(call);
    begin_join(&b);
    for (int part = 0; part < b.parts; part++)
        for (int i = 0; i < 2 * b.channels; i++)
            b.sums[i] += sums_in(&b, part)[i];
    for (int c = 0; c < b.channels; c++) {
        double sum = b.sums[c], product = b.sums[b.channels + c];
        double inverse = (double)b.inverse[c], factor = (double)b.factor[c];
        if (w.dscale)
            w.dscale[c] = (real)(product * inverse) + (call->first ? 0 : w.dscale[c]);
        if (w.dbias)
            w.dbias[c] = (real)sum + (call->first ? 0 : w.dbias[c]);
        b.slope[c] = (real)(factor * inverse * inverse * product / b.count);
        b.offset_back[c] = (real)(factor * sum / b.count);
    }
}

static void backward(const fv_call *call) {
    if (!by_batch(call->setting)) {
        backward_by_running(call);
        return;
    }
    batch b = batch_of(call, call->out_gradient);
    if (call->in_gradient[0])
        call->kernels->affine_back(b.rows, b.channels, call->in[0], b.mean, b.dy,
                                   &(fv_affine_back){b.factor, b.slope, b.offset_back},
                                   call->in_gradient[0]);
}

/* By the running statistics. */
static void affine(const void *options, int channels, const real *const *all, real *scale,
                   real *shift) {
    fv_call call = {.options = options};
    for (int i = 0; i < FV_MAX_WEIGHTS; i++)
        call.weights[i] = all[i];
    weights w = weights_of(&call);
    double epsilon = fv_batch_norm_epsilon(options);
    for (int c = 0; c < channels; c++) {
        double factor = 1 / sqrt((double)w.variance[c] + epsilon);
        factor *= w.scale ? (double)w.scale[c] : 1;
        scale[c] = (real)factor;
        shift[c] = (real)((w.bias ? (double)w.bias[c] : 0) - (double)w.mean[c] * factor);
    }
}

const fv_layer_type fv_layer_batch_norm = {
    .name = "batch_norm",
    .help = "each channel of the batch to mean 0 and deviation 1",
    .options_size = sizeof(fv_batch_norm_options),
    .params = params,
    .min_inputs = 1,
    .max_inputs = 1,
    .mixes_samples = true,
    .recomputes = true,
    .infer = infer,
    .prepare = prepare,
    .affine = affine,
    .pack = pack,
    .measure = measure,
    .join = join,
    .measure_back = measure_back,
    .join_back = join_back,
    .forward = forward,
    .backward = backward};
