/* dense: y = x W + b over all inputs of a sample. Its weights are the big thing, so it runs over
 * the whole batch, and a thread owns a block of them: sums over the samples are made in order by
 * one thread, the same bits for any number of threads. Stored weights: [inputs][units]; in files
 * PyTorch's (units, inputs), inputs channels first.
 *
 * At inference they are packed once, and that copy is all there is. In training the backward pass
 * reads them as they are, and they are other ones in each step: where they are many a thread packs
 * a block of them into its scratch, multiplies, and goes on to the next, so that there is no second
 * copy. */
#include "layers/activation.h"
#include <limits.h>
#include <stddef.h>
#include <string.h>

enum {
    FORWARD_ROWS = 24,   /* speed only: samples of a forward unit */
    FORWARD_PANELS = 2,  /* speed only: panels of units of a forward unit */
    FORWARD_DEPTH = 384, /* speed only: inputs of one product; their weights fit the first cache */
    PACKED_VALUES = 2 << 20, /* most weights that have a packed copy in training */
    BLOCK_UNITS = 16,        /* speed only: without, forward units at least where there are rows */
    BLOCK_ROWS = 48,         /* speed only: ... and samples, panels and inputs of a block */
    BLOCK_PANELS = 16,
    BLOCK_DEPTH = 120,
    SLICE_VALUES = 2 << 20, /* memory only: weights that are read from a file together */
    BACKWARD_INPUTS = 64,   /* inputs of a backward unit; a multiple of every panel */
};

static const fv_param params[] = {{.key = "units",
                                   .type = FV_PARAM_INT,
                                   .offset = offsetof(fv_dense_options, units),
                                   .required = true,
                                   .position = 1,
                                   .low = 1,
                                   .high = 1 << 24,
                                   .help = "outputs"},
                                  {.key = "activation",
                                   .type = FV_PARAM_CHOICE,
                                   .offset = offsetof(fv_dense_options, activation),
                                   .position = 2,
                                   .choices = fv_activation_names,
                                   .help = "applied to the output"},
                                  {.key = "bias",
                                   .type = FV_PARAM_NOT,
                                   .offset = offsetof(fv_dense_options, no_bias),
                                   .help = "a number added to each output"},
                                  {.key = "init",
                                   .type = FV_PARAM_INIT,
                                   .offset = offsetof(fv_dense_options, init),
                                   .fallback_text = "glorot_uniform",
                                   .help = "how the weights start"},
                                  {.key = "bias_init",
                                   .type = FV_PARAM_INIT,
                                   .offset = offsetof(fv_dense_options, bias_init),
                                   .fallback_text = "constant(0)",
                                   .help = "how the biases start"},
                                  {0}};

/* The file's axes: (units, channels, spatial...); stored: (spatial..., channels, units). */
static void describe_weights(const fv_dense_options *o, const fv_shape *input,
                             fv_inference *inference) {
    size_t inputs = (size_t)input->channels, units = (size_t)o->units, spatial = 1;
    fv_weight_spec *w = &inference->weights[0];
    *w = (fv_weight_spec){.name = "weight", .flat = true, .fan_in = inputs, .fan_out = units};
    int axes = 0;
    for (; axes < 3 && input->size[axes] > 0; axes++) {
        w->size[2 + axes] = (size_t)input->size[axes];
        w->axes[axes] = 2 + axes;
        spatial *= (size_t)input->size[axes];
    }
    w->rank = axes + 2;
    w->size[0] = units;
    w->size[1] = inputs / spatial;
    w->axes[axes] = 1;
    w->axes[axes + 1] = 0;
    w->init = fv_init_or(o->init, FV_INIT_GLOROT_UNIFORM);
    inference->weight_count = o->no_bias ? 1 : 2;
    inference->weights[1] = (fv_weight_spec){.name = "bias",
                                             .bias = true,
                                             .rank = 1,
                                             .size = {units},
                                             .fan_in = inputs,
                                             .fan_out = units,
                                             .init = fv_init_or(o->bias_init, FV_INIT_CONSTANT)};
}

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_dense_options *o = options;
    char text[64];
    if (inputs[0].rank != 0)
        return fv_fail(FV_SHAPE,
                       "dense needs a vector, but its input is %s (put a `flatten` line before "
                       "it)",
                       fv_shape_text(&inputs[0], text));
    describe_weights(o, &inputs[0], inference);
    inference->output = (fv_shape){.channels = o->units};
    inference->activation = o->activation;
    inference->macs = (int64_t)inputs[0].channels * o->units;
    return FV_OK;
}

/* ---- Sizes, in reals ----------------------------------------------------------------------------
 */

static size_t packed_weights(int inputs, int units, const fv_kernels *k) {
    return (size_t)fv_panels(units, k) * (size_t)k->panel * (size_t)inputs;
}

/* Whether pack() packs the weights; else only the bias. */
static bool packs_all(int inputs, int units, const fv_setting *setting) {
    return !setting->training || (int64_t)inputs * units <= PACKED_VALUES;
}

static bool call_packs_all(const fv_call *call) {
    return packs_all(call->in_shape[0]->channels, call->out_shape->channels, call->setting);
}

/* Where pack() leaves the bias. */
static real *packed_bias(const fv_call *call) {
    int inputs = call_packs_all(call) ? call->in_shape[0]->channels : 0;
    return call->packed + packed_weights(inputs, call->out_shape->channels, call->kernels);
}

/* A backward unit's block of x, and of the weights transposed. */
static size_t block_inputs(int batch) {
    return (size_t)batch * BACKWARD_INPUTS;
}

static size_t block_weights(int units) {
    return (size_t)BACKWARD_INPUTS * (size_t)units;
}

static size_t packed_gradient(int batch, int units, const fv_kernels *k) {
    return (size_t)fv_panels(units, k) * (size_t)k->panel * (size_t)batch;
}

/* Units whose weights are read from a file together: whole panels. */
static int slice_units(int inputs, const fv_kernels *k) {
    int panels = SLICE_VALUES / k->panel / inputs;
    return (panels > 1 ? panels : 1) * k->panel;
}

/* How the work is cut: units of `rows` samples x `panels` panels of outputs, in products of `depth`
 * inputs. Where a unit packs its weights, panels are many, so that it reads long stretches of them,
 * and rows as many as leave work for all threads. */
typedef struct cut {
    int rows, panels, depth, groups, units;
} cut;

static int at_least(int least, int value) {
    return value > least ? value : least;
}

static cut cut_forward(int inputs, int units, int samples, const fv_setting *setting) {
    int panels = fv_panels(units, setting->kernels);
    bool packed = packs_all(inputs, units, setting);
    cut c = {.rows = FORWARD_ROWS, .panels = FORWARD_PANELS, .depth = FORWARD_DEPTH};
    if (!packed) {
        c.panels = at_least(FORWARD_PANELS, panels / BLOCK_UNITS);
        c.panels = c.panels < BLOCK_PANELS ? c.panels : BLOCK_PANELS;
        c.depth = BLOCK_DEPTH;
    }
    c.groups = (panels + c.panels - 1) / c.panels;
    int parts = (BLOCK_UNITS + c.groups - 1) / c.groups;
    if (!packed)
        c.rows = at_least(BLOCK_ROWS, (samples + parts - 1) / parts);
    c.units = (samples + c.rows - 1) / c.rows * c.groups;
    return c;
}

static cut cut_call(const fv_call *call) {
    return cut_forward(call->in_shape[0]->channels, call->out_shape->channels, call->samples,
                       call->setting);
}

static void prepare(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan) {
    (void)count;
    const fv_dense_options *o = options;
    const fv_kernels *k = setting->kernels;
    fv_activation_prepare(o->activation, fv_shape_count(output), setting, plan);
    bool packed = packs_all(inputs[0].channels, o->units, setting);
    plan->packed = (packed_weights(packed ? inputs[0].channels : 0, o->units, k) +
                    (size_t)fv_panels(o->units, k) * (size_t)k->panel) *
                   sizeof(real);
    plan->spent[0] = !setting->training;
    plan->spent[1] = true;
    if (!setting->training) {
        plan->slice = slice_units(inputs[0].channels, k);
        return;
    }
    const cut c = cut_forward(inputs[0].channels, o->units, setting->batch, setting);
    size_t forward = packed ? 0 : (size_t)c.depth * (size_t)c.panels * (size_t)k->panel;
    size_t backward = block_inputs(setting->batch) + block_weights(o->units);
    plan->keep_input = plan->adds = true;
    plan->scratch = (forward > backward ? forward : backward) * sizeof(real);
    plan->shared = packed_gradient(setting->batch, o->units, k) * sizeof(real);
}

/* ---- Packing
 * -------------------------------------------------------------------------------------- */

static void pack_panel(void *argument, int panel, int thread) {
    (void)thread;
    const fv_call *call = argument;
    const fv_kernels *k = call->kernels;
    int inputs = call->in_shape[0]->channels, first = panel * k->panel;
    int columns = call->outputs - first < k->panel ? call->outputs - first : k->panel;
    k->pack(call->weights[0] + first, call->outputs, false, inputs, columns,
            call->packed + (size_t)(call->first_output + first) * (size_t)inputs);
}

static void pack(const fv_call *call) {
    const fv_kernels *k = call->kernels;
    real *bias = packed_bias(call);
    if (call_packs_all(call))
        fv_pool_run(call->pool, fv_panels(call->outputs, k), pack_panel, (void *)(uintptr_t)call);
    for (int u = 0; u < fv_panels(call->outputs, k) * k->panel; u++)
        bias[call->first_output + u] =
            call->weights[1] && u < call->outputs ? call->weights[1][u] : 0;
}

/* ---- Forward
 * -------------------------------------------------------------------------------------- */

/* The weights of inputs [i, i + depth) for `columns` units from u on: panels `depth` rows high, or
 * as high as there are inputs. */
static const real *forward_weights(const fv_call *call, int i, int depth, int u, int columns,
                                   real *block) {
    const fv_kernels *k = call->kernels;
    int inputs = call->in_shape[0]->channels, units = call->out_shape->channels;
    if (call_packs_all(call))
        return call->packed + (ptrdiff_t)u * inputs + (ptrdiff_t)i * k->panel;
    k->pack(call->weights[0] + (ptrdiff_t)i * units + u, units, false, depth, columns, block);
    return block;
}

static void forward_unit(void *argument, int unit, int thread) {
    const fv_call *call = argument;
    const fv_kernels *k = call->kernels;
    const ptrdiff_t zero = 0;
    int inputs = call->in_shape[0]->channels, units = call->out_shape->channels;
    const cut c = cut_call(call);
    int row = unit / c.groups * c.rows, first = unit % c.groups * c.panels * k->panel;
    int end = first + c.panels * k->panel < units ? first + c.panels * k->panel : units;
    const real *bias = packed_bias(call);
    fv_product p = {.rows = call->samples - row < c.rows ? call->samples - row : c.rows,
                    .terms = 1,
                    .a_offset = &zero,
                    .a_row = inputs,
                    .a_column = 1,
                    .b_offset = &zero,
                    .b_row = k->panel,
                    .c_row = units};
    for (int i = 0; i < inputs; i += c.depth) {
        p.depth = inputs - i < c.depth ? inputs - i : c.depth;
        p.a = call->in[0] + (ptrdiff_t)row * inputs + i;
        p.add = i > 0;
        p.relu = call->activation == FV_RELU && i + p.depth == inputs;
        p.b = forward_weights(call, i, p.depth, first, end - first,
                              (real *)(call->scratch + (size_t)thread * call->scratch_stride));
        ptrdiff_t high = call_packs_all(call) ? inputs : p.depth;
        for (int u = first; u < end; u += k->panel, p.b += high * k->panel) {
            p.columns = end - u < k->panel ? end - u : k->panel;
            p.c = call->out + (ptrdiff_t)row * units + u;
            p.bias = i == 0 ? bias + u : NULL;
            k->product(&p);
        }
    }
}

static void forward(const fv_call *call) {
    const cut c = cut_call(call);
    fv_pool_run(call->pool, c.units, forward_unit, (void *)(uintptr_t)call);
    fv_activation_forward(call, 0, call->samples, FV_RELU);
}

/* ---- Backward
 * --------------------------------------------------------------------------------------- */

/* dW = x^T dy for the inputs [first, first + width). */
static void weight_gradient(const fv_call *call, int first, int width, real *block) {
    const fv_kernels *k = call->kernels;
    const ptrdiff_t zero = 0;
    int inputs = call->in_shape[0]->channels, units = call->out_shape->channels;
    /* A dense copy: rows of x lie a power of two apart and would fall into the same cache sets. */
    for (int s = 0; s < call->samples; s++)
        memcpy(block + (ptrdiff_t)s * width, call->in[0] + (ptrdiff_t)s * inputs + first,
               (size_t)width * sizeof(real));
    fv_product p = {.rows = width,
                    .depth = call->samples,
                    .terms = 1,
                    .a = block,
                    .a_offset = &zero,
                    .a_row = 1,
                    .a_column = width,
                    .b_offset = &zero,
                    .b_row = k->panel,
                    .c_row = units,
                    .add = !call->first};
    for (int u = 0; u < units; u += k->panel) {
        p.columns = units - u < k->panel ? units - u : k->panel;
        p.b = (const real *)call->shared + (ptrdiff_t)u * call->samples;
        p.c = call->weight_gradients[0] + (ptrdiff_t)first * units + u;
        k->product(&p);
    }
}

/* dx = dy W^T for the inputs [first, first + width). */
static void input_gradient(const fv_call *call, int first, int width, real *block) {
    const fv_kernels *k = call->kernels;
    const ptrdiff_t zero = 0;
    int inputs = call->in_shape[0]->channels, units = call->out_shape->channels;
    k->pack(call->weights[0] + (ptrdiff_t)first * units, units, true, units, width, block);
    fv_product p = {.rows = call->samples,
                    .depth = units,
                    .terms = 1,
                    .a = call->out_gradient,
                    .a_offset = &zero,
                    .a_row = units,
                    .a_column = 1,
                    .b_offset = &zero,
                    .b_row = k->panel,
                    .c_row = inputs};
    for (int i = 0; i < width; i += k->panel) {
        p.columns = width - i < k->panel ? width - i : k->panel;
        p.b = block + (ptrdiff_t)i * units;
        p.c = call->in_gradient[0] + first + i;
        k->product(&p);
    }
}

static void backward_unit(void *argument, int unit, int thread) {
    const fv_call *call = argument;
    int inputs = call->in_shape[0]->channels, units = call->out_shape->channels;
    real *scratch = (real *)(call->scratch + (size_t)thread * call->scratch_stride);
    int first = unit * BACKWARD_INPUTS;
    int width = inputs - first < BACKWARD_INPUTS ? inputs - first : BACKWARD_INPUTS;
    if (call->weight_gradients[0])
        weight_gradient(call, first, width, scratch);
    if (call->in_gradient[0])
        input_gradient(call, first, width, scratch + block_inputs(call->setting->batch));
    if (unit == 0 && call->weight_gradients[1]) {
        if (call->first)
            memset(call->weight_gradients[1], 0, (size_t)units * sizeof(real));
        call->kernels->add_rows((size_t)call->samples, units, units, call->out_gradient,
                                call->weight_gradients[1]);
    }
}

static void backward(const fv_call *call) {
    int inputs = call->in_shape[0]->channels, units = call->out_shape->channels;
    fv_activation_backward(call, 0, call->samples);
    call->kernels->pack(call->out_gradient, units, false, call->samples, units,
                        (real *)call->shared);
    fv_pool_run(call->pool, (inputs + BACKWARD_INPUTS - 1) / BACKWARD_INPUTS, backward_unit,
                (void *)(uintptr_t)call);
}

const fv_layer_type fv_layer_dense = {.name = "dense",
                                      .help = "every output sees every input",
                                      .options_size = sizeof(fv_dense_options),
                                      .params = params,
                                      .min_inputs = 1,
                                      .max_inputs = 1,
                                      .takes_affine = true,
                                      .whole_batch = true,
                                      .infer = infer,
                                      .prepare = prepare,
                                      .pack = pack,
                                      .forward = forward,
                                      .backward = backward};
