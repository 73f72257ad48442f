/* add, multiply, maximum of two or more inputs, place by place. An input with one place, where the
 * output has more, counts for each of them. Of equal largest values the first input gets the
 * gradient. */
#include "layers/activation.h"
#include <stddef.h>
#include <string.h>

static const fv_param params[] = {{.key = "activation",
                                   .type = FV_PARAM_CHOICE,
                                   .offset = offsetof(fv_join_options, activation),
                                   .position = 1,
                                   .choices = fv_activation_names,
                                   .help = "applied to the output"},
                                  {0}};

/* ---- Shapes ---------------------------------------------------------------------------------- */

static bool has_one_place(const fv_shape *shape) {
    for (int i = 0; i < shape->rank; i++)
        if (shape->size[i] != 1)
            return false;
    return true;
}

/* The input that the others must fit: the first with several places, else that of most axes. */
static int leader(const fv_shape *inputs, int count) {
    int most = 0;
    for (int i = 0; i < count; i++) {
        if (!has_one_place(&inputs[i]))
            return i;
        most = inputs[i].rank > inputs[most].rank ? i : most;
    }
    return most;
}

static bool fits(const fv_shape *shape, fv_shape *output) {
    if (shape->channels != output->channels)
        return false;
    if (has_one_place(shape))
        return true;
    bool equal = shape->rank == output->rank;
    for (int i = 0; equal && i < shape->rank; i++) {
        if (output->size[i] == FV_ANY)
            output->size[i] = shape->size[i];
        equal = shape->size[i] == output->size[i] || shape->size[i] == FV_ANY;
    }
    return equal;
}

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    char text[2][64];
    int first = leader(inputs, count);
    inference->output = inputs[first];
    inference->activation = ((const fv_join_options *)options)->activation;
    for (int i = 0; i < count; i++)
        if (!fits(&inputs[i], &inference->output))
            return fv_fail(FV_SHAPE,
                           "inputs %d and %d have different shapes, %s and %s; they must be equal, "
                           "or one a vector of as many channels",
                           first + 1, i + 1, fv_shape_text(&inputs[first], text[0]),
                           fv_shape_text(&inputs[i], text[1]));
    return FV_OK;
}

/* ---- The operations -------------------------------------------------------------------------- */

/* Joins values of input i to those of the inputs before it. `winners`: NULL but for maximum. */
typedef void join_values(size_t count, int input, const real *x, real *y, uint8_t *winners);

static void add_values(size_t count, int input, const real *x, real *y, uint8_t *winners) {
    (void)input, (void)winners;
    for (size_t k = 0; k < count; k++)
        y[k] += x[k];
}

static void multiply_values(size_t count, int input, const real *x, real *y, uint8_t *winners) {
    (void)input, (void)winners;
    for (size_t k = 0; k < count; k++)
        y[k] *= x[k];
}

/* NaN always wins. */
static void largest_values(size_t count, int input, const real *x, real *y, uint8_t *winners) {
    for (size_t k = 0; winners && k < count; k++)
        winners[k] = x[k] > y[k] || x[k] != x[k] ? (uint8_t)input : winners[k];
    for (size_t k = 0; k < count; k++)
        y[k] = x[k] > y[k] || x[k] != x[k] ? x[k] : y[k];
}

/* Joins one sample of input i, for each place where it has but one. */
static void join_input(const fv_call *call, int input, int sample, join_values *join, real *y,
                       uint8_t *winners) {
    size_t in = fv_shape_count(call->in_shape[input]), out = fv_shape_count(call->out_shape);
    const real *x = call->in[input] + (size_t)sample * in;
    for (size_t p = 0; p < out; p += in)
        join(in, input, x, y + p, winners ? winners + p : NULL);
}

/* ---- Notes: the activation's, then maximum's winners, a byte a value ------------------------- */

static size_t activation_notes(const fv_join_options *o, const fv_shape *output,
                               const fv_setting *setting) {
    fv_layer_plan plan = {0};
    fv_activation_prepare(o->activation, fv_shape_count(output), setting, &plan);
    return fv_round_up(plan.kept, 64);
}

static uint8_t *winners_of(const fv_call *call, int sample) {
    return call->kept + (size_t)sample * call->plan->kept +
           activation_notes(call->options, call->out_shape, call->setting);
}

/* An input of one place needs the gradients of all places before they are added up. */
static void prepare(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan) {
    const fv_join_options *o = options;
    size_t values = fv_shape_count(output);
    fv_activation_prepare(o->activation, values, setting, plan);
    for (int i = 0; setting->training && i < count; i++)
        if (fv_shape_count(&inputs[i]) != values)
            plan->scratch = values * sizeof(real);
}

static void multiply_prepare(const void *options, const fv_shape *inputs, int count,
                             const fv_shape *output, const fv_setting *setting,
                             fv_layer_plan *plan) {
    prepare(options, inputs, count, output, setting, plan);
    plan->keep_input = setting->training;
}

static void maximum_prepare(const void *options, const fv_shape *inputs, int count,
                            const fv_shape *output, const fv_setting *setting,
                            fv_layer_plan *plan) {
    prepare(options, inputs, count, output, setting, plan);
    if (setting->training)
        plan->kept =
            activation_notes(options, output, setting) + fv_round_up(fv_shape_count(output), 64);
}

/* ---- Forward --------------------------------------------------------------------------------- */

static void forward(const fv_call *call, join_values *join, bool winners) {
    size_t out = fv_shape_count(call->out_shape), first = fv_shape_count(call->in_shape[0]);
    for (int s = 0; s < call->samples; s++) {
        real *y = call->out + (size_t)s * out;
        uint8_t *notes = winners && call->setting->training ? winners_of(call, s) : NULL;
        for (size_t p = 0; p < out; p += first)
            memcpy(y + p, call->in[0] + (size_t)s * first, first * sizeof(real));
        if (notes)
            memset(notes, 0, out);
        for (int i = 1; i < call->input_count; i++)
            join_input(call, i, s, join, y, notes);
    }
    fv_activation_forward(call, 0, call->samples, FV_LINEAR);
}

/* At inference: some places of a sample through the join and the activation while they are in the
 * first cache; threads may share them. */
typedef struct stretch_work {
    const fv_call *call;
    join_values *join;
    int sample;
    size_t values; /* of a stretch: whole places */
} stretch_work;

enum { STRETCH_VALUES = 4096 }; /* speed only */

static void join_stretch(void *argument, int unit, int thread) {
    const stretch_work *w = argument;
    const fv_call *call = w->call;
    size_t channels = (size_t)call->out_shape->channels, all = fv_shape_count(call->out_shape);
    size_t begin = (size_t)unit * w->values, left = all - begin;
    size_t count = left < w->values ? left : w->values;
    real *y = call->out + (size_t)w->sample * all + begin;
    (void)thread;
    for (int i = 0; i < call->input_count; i++) {
        size_t in = fv_shape_count(call->in_shape[i]), step = in == all ? count : channels;
        const real *x = call->in[i] + (size_t)w->sample * in + (in == all ? begin : 0);
        for (size_t p = 0; p < count; p += step)
            if (i == 0)
                memcpy(y + p, x, step * sizeof(real));
            else
                w->join(step, i, x, y + p, NULL);
    }
    call->kernels->activate(call->activation, call->activation_constant, count / channels,
                            (int)channels, y);
}

static void infer_forward(const fv_call *call, join_values *join) {
    size_t channels = (size_t)call->out_shape->channels, all = fv_shape_count(call->out_shape);
    size_t places = channels < STRETCH_VALUES ? STRETCH_VALUES / channels : 1;
    stretch_work w = {.call = call, .join = join, .values = places * channels};
    for (w.sample = 0; w.sample < call->samples; w.sample++)
        fv_pool_run(call->pool, (int)((all + w.values - 1) / w.values), join_stretch, &w);
}

static void add_forward(const fv_call *call) {
    if (call->setting->training)
        forward(call, add_values, false);
    else
        infer_forward(call, add_values);
}

static void multiply_forward(const fv_call *call) {
    if (call->setting->training)
        forward(call, multiply_values, false);
    else
        infer_forward(call, multiply_values);
}

static void maximum_forward(const fv_call *call) {
    if (call->setting->training)
        forward(call, largest_values, true);
    else
        infer_forward(call, largest_values);
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* The gradient of one sample of input i, as if it had all places: `count` values. */
typedef void share_gradient(const fv_call *call, int input, int sample, size_t count,
                            const real *dy, real *share);

static void add_share(const fv_call *call, int input, int sample, size_t count, const real *dy,
                      real *share) {
    (void)call, (void)input, (void)sample;
    memcpy(share, dy, count * sizeof(real));
}

/* dy times all other inputs. */
static void multiply_share(const fv_call *call, int input, int sample, size_t count, const real *dy,
                           real *share) {
    memcpy(share, dy, count * sizeof(real));
    for (int i = 0; i < call->input_count; i++)
        if (i != input)
            join_input(call, i, sample, multiply_values, share, NULL);
}

static void maximum_share(const fv_call *call, int input, int sample, size_t count, const real *dy,
                          real *share) {
    const uint8_t *winners = winners_of(call, sample);
    for (size_t k = 0; k < count; k++)
        share[k] = winners[k] == input ? dy[k] : 0;
}

static void backward(const fv_call *call, share_gradient *give) {
    size_t out = fv_shape_count(call->out_shape);
    fv_activation_backward(call, 0, call->samples);
    for (int i = 0; i < call->input_count; i++) {
        size_t in = fv_shape_count(call->in_shape[i]);
        for (int s = 0; s < call->samples && call->in_gradient[i]; s++) {
            const real *dy = call->out_gradient + (size_t)s * out;
            real *dx = call->in_gradient[i] + (size_t)s * in;
            give(call, i, s, out, dy, in == out ? dx : (real *)call->scratch);
            if (in == out)
                continue;
            memset(dx, 0, in * sizeof(real));
            call->kernels->add_rows(out / in, (int)in, (ptrdiff_t)in, (real *)call->scratch, dx);
        }
    }
}

static void add_backward(const fv_call *call) {
    backward(call, add_share);
}

static void multiply_backward(const fv_call *call) {
    backward(call, multiply_share);
}

static void maximum_backward(const fv_call *call) {
    backward(call, maximum_share);
}

const fv_layer_type fv_layer_add = {.name = "add",
                                    .help = "sum of the inputs",
                                    .options_size = sizeof(fv_join_options),
                                    .params = params,
                                    .min_inputs = 2,
                                    .max_inputs = FV_MAX_INPUTS,
                                    .recomputes = true,
                                    .sum = true,
                                    .infer = infer,
                                    .prepare = prepare,
                                    .forward = add_forward,
                                    .backward = add_backward};

const fv_layer_type fv_layer_multiply = {.name = "multiply",
                                         .help = "product of the inputs",
                                         .options_size = sizeof(fv_join_options),
                                         .params = params,
                                         .min_inputs = 2,
                                         .max_inputs = FV_MAX_INPUTS,
                                         .infer = infer,
                                         .prepare = multiply_prepare,
                                         .forward = multiply_forward,
                                         .backward = multiply_backward};

const fv_layer_type fv_layer_maximum = {.name = "maximum",
                                        .help = "largest of the inputs",
                                        .options_size = sizeof(fv_join_options),
                                        .params = params,
                                        .min_inputs = 2,
                                        .max_inputs = FV_MAX_INPUTS,
                                        .infer = infer,
                                        .prepare = maximum_prepare,
                                        .forward = maximum_forward,
                                        .backward = maximum_backward};
