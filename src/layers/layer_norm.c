/* layer_norm, rms_norm: y = (x - mean) / sqrt(variance + epsilon) scale + bias over the channels of
 * each place or all values of a sample (Ba et al. 2016; Zhang & Sennrich 2019). group_norm,
 * instance_norm: over the places and channels of each group (Wu & He 2018; Ulyanov et al. 2016). A
 * sample's result depends on nothing but that sample.
 *
 * Backward, with n values sharing mean and variance, u = (x - mean) / deviation, g = dy scale:
 *   dx = (g - sum(g) / n - u sum(g u) / n) / deviation, dscale = sum dy u, dbias = sum dy. */
#include "layers/layer.h"
#include "layers/meaning.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

#define NORM_PARAMS(owner)                                                                         \
    {.key = "formula",                                                                             \
     .type = FV_PARAM_CHOICE,                                                                      \
     .offset = offsetof(owner, formula),                                                           \
     .choices = fv_formula_names,                                                                  \
     .help = "whose epsilon: keras 1e-3, others 1e-5"},                                            \
        {.key = "epsilon",                                                                         \
         .type = FV_PARAM_NUMBER,                                                                  \
         .offset = offsetof(owner, epsilon),                                                       \
         .low = FV_ABOVE_ZERO,                                                                     \
         .high = 1e6,                                                                              \
         .fallback_text = "by the formula",                                                        \
         .help = "added to the variance"},                                                         \
        {.key = "scale",                                                                           \
         .type = FV_PARAM_NOT,                                                                     \
         .offset = offsetof(owner, no_scale),                                                      \
         .help = "a factor on each output"},                                                       \
    {                                                                                              \
        .key = "bias", .type = FV_PARAM_NOT, .offset = offsetof(owner, no_bias),                   \
        .help = "a number added to each output"                                                    \
    }

static const fv_param layer_params[] = {
    {.key = "all",
     .type = FV_PARAM_BOOL,
     .offset = offsetof(fv_layer_norm_options, all),
     .help = "mean and variance of all the sample's values, not of each place's channels"},
    NORM_PARAMS(fv_layer_norm_options),
    {0}};
static const fv_param group_params[] = {{.key = "groups",
                                         .type = FV_PARAM_INT,
                                         .offset = offsetof(fv_group_norm_options, groups),
                                         .position = 1,
                                         .low = 1,
                                         .high = 1 << 24,
                                         .fallback = 32,
                                         .help = "of neighbouring channels; divides them"},
                                        NORM_PARAMS(fv_group_norm_options),
                                        {0}};
static const fv_param instance_params[] = {NORM_PARAMS(fv_instance_norm_options), {0}};
static const fv_param rms_params[] = {{.key = "epsilon",
                                       .type = FV_PARAM_NUMBER,
                                       .offset = offsetof(fv_rms_norm_options, epsilon),
                                       .low = FV_ABOVE_ZERO,
                                       .high = 1e6,
                                       .fallback = 1e-6,
                                       .help = "added to the mean square"},
                                      {.key = "scale",
                                       .type = FV_PARAM_NOT,
                                       .offset = offsetof(fv_rms_norm_options, no_scale),
                                       .help = "a factor on each output"},
                                      {0}};

/* The options of all four as one. */
typedef struct norm_options {
    bool center, no_scale, no_bias;
    double epsilon;
} norm_options;

double fv_norm_epsilon(double epsilon, fv_formula formula) {
    return epsilon != 0 ? epsilon : formula == FV_KERAS ? 1e-3 : 1e-5;
}

/* ---- Weights -----------------------------------------------------------------------------------
 */

/* weight and bias, those that there are: one for each channel or, with `all`, for each value. */
static void describe_weights(const norm_options *o, const fv_shape *input, bool all,
                             fv_inference *inference) {
    fv_weight_spec spec = {.rank = all ? 1 + input->rank : 1, .bias = true};
    spec.size[0] = (size_t)input->channels;
    for (int i = 1; i < spec.rank; i++) {
        spec.size[i] = (size_t)input->size[i - 1];
        spec.axes[i - 1] = i;
    }
    spec.axes[spec.rank - 1] = 0;
    spec.fan_in = spec.fan_out = spec.size[0];
    inference->output = *input;
    if (!o->no_scale) {
        spec.name = "weight";
        spec.init = (fv_init){FV_INIT_CONSTANT, 1};
        inference->weights[inference->weight_count++] = spec;
    }
    if (!o->no_bias) {
        spec.name = "bias";
        spec.init = (fv_init){FV_INIT_CONSTANT, 0};
        inference->weights[inference->weight_count++] = spec;
    }
}

/* Weights and gradients of the call; NULL where there is none. */
typedef struct affine {
    const real *scale, *bias;
    real *dscale, *dbias;
} affine;

static affine affine_of(const norm_options *o, const fv_call *call) {
    int bias = o->no_scale ? 0 : 1;
    return (affine){.scale = o->no_scale ? NULL : call->weights[0],
                    .bias = o->no_bias ? NULL : call->weights[bias],
                    .dscale = o->no_scale ? NULL : call->weight_gradients[0],
                    .dbias = o->no_bias ? NULL : call->weight_gradients[bias]};
}

/* The same for backward, which adds to the gradients: on the first call of a unit from 0. */
static affine affine_back_of(const norm_options *o, const fv_call *call, size_t count) {
    affine a = affine_of(o, call);
    if (call->first && a.dscale)
        memset(a.dscale, 0, count * sizeof(real));
    if (call->first && a.dbias)
        memset(a.dbias, 0, count * sizeof(real));
    return a;
}

static size_t place_count(const fv_shape *shape) {
    return fv_shape_count(shape) / (size_t)shape->channels;
}

/* ---- Rows: layer_norm, rms_norm ----------------------------------------------------------------
 */

static norm_options layer_options(const fv_layer_norm_options *o) {
    return (norm_options){true, o->no_scale, o->no_bias, fv_norm_epsilon(o->epsilon, o->formula)};
}

static norm_options rms_options(const fv_rms_norm_options *o) {
    return (norm_options){false, o->no_scale, true, o->epsilon != 0 ? o->epsilon : 1e-6};
}

static fv_status layer_infer(const void *options, const fv_shape *inputs, int count,
                             fv_inference *inference) {
    (void)count;
    const fv_layer_norm_options *o = options;
    norm_options norm = layer_options(o);
    char text[64];
    for (int i = 0; i < inputs[0].rank && o->all && !(o->no_scale && o->no_bias); i++)
        if (inputs[0].size[i] == FV_ANY)
            return fv_fail(FV_SHAPE,
                           "layer_norm all=true has a weight for each value, but its input is %s, "
                           "whose size varies (give the input line fixed sizes, or leave out all)",
                           fv_shape_text(&inputs[0], text));
    describe_weights(&norm, &inputs[0], o->all, inference);
    return FV_OK;
}

static fv_status rms_infer(const void *options, const fv_shape *inputs, int count,
                           fv_inference *inference) {
    (void)count;
    norm_options norm = rms_options(options);
    describe_weights(&norm, &inputs[0], false, inference);
    return FV_OK;
}

static void prepare_rows(size_t rows, const fv_setting *setting, fv_layer_plan *plan) {
    plan->keep_input = setting->training;
    plan->kept = setting->training ? 2 * rows * sizeof(real) : 0;
}

static void layer_prepare(const void *options, const fv_shape *inputs, int count,
                          const fv_shape *output, const fv_setting *setting, fv_layer_plan *plan) {
    (void)inputs, (void)count;
    const fv_layer_norm_options *o = options;
    prepare_rows(o->all ? 1 : place_count(output), setting, plan);
}

static void rms_prepare(const void *options, const fv_shape *inputs, int count,
                        const fv_shape *output, const fv_setting *setting, fv_layer_plan *plan) {
    (void)options, (void)inputs, (void)count;
    prepare_rows(place_count(output), setting, plan);
}

static void forward_rows(const norm_options *o, size_t length, const fv_call *call) {
    affine a = affine_of(o, call);
    size_t rows = (size_t)call->samples * fv_shape_count(call->out_shape) / length;
    fv_row_norm norm = {.length = length,
                        .center = o->center,
                        .epsilon = o->epsilon,
                        .scale = a.scale,
                        .bias = a.bias};
    real *notes = call->setting->training ? (real *)(void *)call->kept : NULL;
    call->kernels->norm_rows(&norm, rows, call->in[0], notes, call->out);
}

static void backward_rows(const norm_options *o, size_t length, const fv_call *call) {
    affine a = affine_back_of(o, call, length);
    size_t rows = (size_t)call->samples * fv_shape_count(call->out_shape) / length;
    fv_row_norm norm = {
        .length = length, .center = o->center, .epsilon = o->epsilon, .scale = a.scale};
    call->kernels->norm_rows_back(&norm, rows, call->in[0], (const real *)(void *)call->kept,
                                  call->out_gradient, call->in_gradient[0], a.dscale, a.dbias);
}

static size_t layer_length(const fv_call *call) {
    const fv_layer_norm_options *o = call->options;
    return o->all ? fv_shape_count(call->out_shape) : (size_t)call->out_shape->channels;
}

static void layer_forward(const fv_call *call) {
    norm_options norm = layer_options(call->options);
    forward_rows(&norm, layer_length(call), call);
}

static void layer_backward(const fv_call *call) {
    norm_options norm = layer_options(call->options);
    backward_rows(&norm, layer_length(call), call);
}

static void rms_forward(const fv_call *call) {
    norm_options norm = rms_options(call->options);
    forward_rows(&norm, (size_t)call->out_shape->channels, call);
}

static void rms_backward(const fv_call *call) {
    norm_options norm = rms_options(call->options);
    backward_rows(&norm, (size_t)call->out_shape->channels, call);
}

/* ---- Groups of channels: group_norm, instance_norm ---------------------------------------------
 */

static int group_count(const fv_group_norm_options *o) {
    return o->groups ? o->groups : 32;
}

static norm_options group_options(const fv_group_norm_options *o) {
    return (norm_options){true, o->no_scale, o->no_bias, fv_norm_epsilon(o->epsilon, o->formula)};
}

static norm_options instance_options(const fv_instance_norm_options *o) {
    return (norm_options){true, o->no_scale, o->no_bias, fv_norm_epsilon(o->epsilon, o->formula)};
}

static fv_status group_infer(const void *options, const fv_shape *inputs, int count,
                             fv_inference *inference) {
    (void)count;
    int groups = group_count(options);
    norm_options norm = group_options(options);
    char text[64];
    if (inputs[0].channels % groups)
        return fv_fail(FV_SHAPE,
                       "group_norm has %d groups, but its input is %s: they do not divide its %d "
                       "channels (choose groups=)",
                       groups, fv_shape_text(&inputs[0], text), inputs[0].channels);
    describe_weights(&norm, &inputs[0], false, inference);
    return FV_OK;
}

static fv_status instance_infer(const void *options, const fv_shape *inputs, int count,
                                fv_inference *inference) {
    (void)count;
    norm_options norm = instance_options(options);
    describe_weights(&norm, &inputs[0], false, inference);
    return FV_OK;
}

/* A thread's scratch: two sums for each channel, then five numbers. */
static void prepare_groups(int groups, const fv_shape *output, const fv_setting *setting,
                           fv_layer_plan *plan) {
    size_t channels = (size_t)output->channels;
    plan->scratch = 2 * channels * sizeof(double) + 5 * channels * sizeof(real);
    plan->keep_input = setting->training;
    plan->kept = setting->training ? 2 * (size_t)groups * sizeof(real) : 0;
}

static void group_prepare(const void *options, const fv_shape *inputs, int count,
                          const fv_shape *output, const fv_setting *setting, fv_layer_plan *plan) {
    (void)inputs, (void)count;
    prepare_groups(group_count(options), output, setting, plan);
}

static void instance_prepare(const void *options, const fv_shape *inputs, int count,
                             const fv_shape *output, const fv_setting *setting,
                             fv_layer_plan *plan) {
    (void)options, (void)inputs, (void)count;
    prepare_groups(output->channels, output, setting, plan);
}

typedef struct grouping {
    int groups, size, channels; /* size: channels of a group */
    size_t places, values;      /* of a sample */
    double count;               /* values of a group */
    double *sums;
    real *mean, *inverse, *factor, *slope, *offset; /* one for each channel */
} grouping;

static grouping grouping_of(const fv_call *call, int groups) {
    int channels = call->out_shape->channels;
    grouping g = {.groups = groups,
                  .size = channels / groups,
                  .channels = channels,
                  .places = place_count(call->out_shape),
                  .values = fv_shape_count(call->out_shape),
                  .sums = (double *)(void *)call->scratch};
    g.count = (double)g.size * (double)g.places;
    g.mean = (real *)(void *)(g.sums + 2 * (size_t)channels);
    g.inverse = g.mean + channels;
    g.factor = g.inverse + channels;
    g.slope = g.factor + channels;
    g.offset = g.slope + channels;
    return g;
}

/* Mean and 1 / deviation of each group, written for each of its channels. The sums are of
 * differences to the group's first value. */
static void measure(const fv_call *call, const grouping *g, double epsilon, const real *x) {
    for (int c = 0; c < g->channels; c++)
        g->mean[c] = x[c - c % g->size];
    call->kernels->channel_sums(g->places, g->channels, x, g->mean, NULL, g->sums);
    for (int first = 0; first < g->channels; first += g->size) {
        double sum = 0, square = 0, shift = (double)g->mean[first];
        for (int c = first; c < first + g->size; c++) {
            sum += g->sums[c];
            square += g->sums[g->channels + c];
        }
        double lift = sum / g->count, variance = square / g->count - lift * lift;
        variance = variance < 0 ? 0 : variance;
        for (int c = first; c < first + g->size; c++) {
            g->mean[c] = (real)(shift + lift);
            g->inverse[c] = (real)(1 / sqrt(variance + epsilon));
        }
    }
}

/* Notes: mean and 1 / deviation of each group. */
static void put_notes(const grouping *g, real *notes) {
    for (int i = 0; i < g->groups; i++) {
        notes[2 * i] = g->mean[i * g->size];
        notes[2 * i + 1] = g->inverse[i * g->size];
    }
}

static void get_notes(const grouping *g, const real *notes) {
    for (int c = 0; c < g->channels; c++) {
        g->mean[c] = notes[2 * (c / g->size)];
        g->inverse[c] = notes[2 * (c / g->size) + 1];
    }
}

static real *notes_of(const fv_call *call, int sample) {
    return (real *)(void *)(call->kept + (size_t)sample * call->plan->kept);
}

static void forward_groups(const norm_options *o, int groups, const fv_call *call) {
    grouping g = grouping_of(call, groups);
    affine a = affine_of(o, call);
    for (int s = 0; s < call->samples; s++) {
        const real *x = call->in[0] + (size_t)s * g.values;
        measure(call, &g, o->epsilon, x);
        if (call->setting->training)
            put_notes(&g, notes_of(call, s));
        for (int c = 0; c < g.channels; c++) {
            g.factor[c] = a.scale ? g.inverse[c] * a.scale[c] : g.inverse[c];
            g.offset[c] = a.bias ? a.bias[c] : 0;
        }
        call->kernels->affine(g.places, g.channels, x, g.mean, g.factor, g.offset,
                              call->out + (size_t)s * g.values);
    }
}

/* Adds the sample's sums to the gradients of scale and bias. */
static void add_gradients(const grouping *g, const affine *a) {
    for (int c = 0; c < g->channels && a->dscale; c++)
        a->dscale[c] += (real)(g->sums[g->channels + c] * (double)g->inverse[c]);
    for (int c = 0; c < g->channels && a->dbias; c++)
        a->dbias[c] += (real)g->sums[c];
}

/* The numbers of dx, see fv_kernels.affine_back. */
static void turn_back(const grouping *g, const affine *a) {
    for (int first = 0; first < g->channels; first += g->size) {
        double sum = 0, product = 0, inverse = (double)g->inverse[first];
        for (int c = first; c < first + g->size; c++) {
            double scale = a->scale ? (double)a->scale[c] : 1;
            sum += scale * g->sums[c];
            product += scale * g->sums[g->channels + c];
        }
        for (int c = first; c < first + g->size; c++) {
            g->factor[c] = a->scale ? g->inverse[c] * a->scale[c] : g->inverse[c];
            g->slope[c] = (real)(product / g->count * inverse * inverse * inverse);
            g->offset[c] = (real)(sum / g->count * inverse);
        }
    }
}

static void backward_groups(const norm_options *o, int groups, const fv_call *call) {
    grouping g = grouping_of(call, groups);
    affine a = affine_back_of(o, call, (size_t)g.channels);
    for (int s = 0; s < call->samples; s++) {
        const real *x = call->in[0] + (size_t)s * g.values;
        const real *dy = call->out_gradient + (size_t)s * g.values;
        get_notes(&g, notes_of(call, s));
        call->kernels->channel_sums(g.places, g.channels, x, g.mean, dy, g.sums);
        add_gradients(&g, &a);
        if (!call->in_gradient[0])
            continue;
        turn_back(&g, &a);
        call->kernels->affine_back(g.places, g.channels, x, g.mean, dy,
                                   &(fv_affine_back){g.factor, g.slope, g.offset},
                                   call->in_gradient[0] + (size_t)s * g.values);
    }
}

static void group_forward(const fv_call *call) {
    norm_options norm = group_options(call->options);
    forward_groups(&norm, group_count(call->options), call);
}

static void group_backward(const fv_call *call) {
    norm_options norm = group_options(call->options);
    backward_groups(&norm, group_count(call->options), call);
}

static void instance_forward(const fv_call *call) {
    norm_options norm = instance_options(call->options);
    forward_groups(&norm, call->out_shape->channels, call);
}

static void instance_backward(const fv_call *call) {
    norm_options norm = instance_options(call->options);
    backward_groups(&norm, call->out_shape->channels, call);
}

/* ---- The records -------------------------------------------------------------------------------
 */

const fv_layer_type fv_layer_layer_norm = {
    .name = "layer_norm",
    .help = "each place's channels (or the whole sample) to mean 0 and deviation 1",
    .options_size = sizeof(fv_layer_norm_options),
    .params = layer_params,
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = layer_infer,
    .prepare = layer_prepare,
    .forward = layer_forward,
    .backward = layer_backward};

const fv_layer_type fv_layer_group_norm = {
    .name = "group_norm",
    .help = "each sample's groups of channels to mean 0 and deviation 1",
    .options_size = sizeof(fv_group_norm_options),
    .params = group_params,
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = group_infer,
    .prepare = group_prepare,
    .forward = group_forward,
    .backward = group_backward};

const fv_layer_type fv_layer_instance_norm = {
    .name = "instance_norm",
    .help = "each sample's channels to mean 0 and deviation 1",
    .options_size = sizeof(fv_instance_norm_options),
    .params = instance_params,
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = instance_infer,
    .prepare = instance_prepare,
    .forward = instance_forward,
    .backward = instance_backward};

const fv_layer_type fv_layer_rms_norm = {.name = "rms_norm",
                                         .help = "each place's channels to mean square 1",
                                         .options_size = sizeof(fv_rms_norm_options),
                                         .params = rms_params,
                                         .min_inputs = 1,
                                         .max_inputs = 1,
                                         .infer = rms_infer,
                                         .prepare = rms_prepare,
                                         .forward = rms_forward,
                                         .backward = rms_backward};
