/* Holds every layer type to its oracle in tests/reference/, on every instruction set of this
 * machine: exactly on small integers where the layer only adds, multiplies and compares, else
 * within a bound from the length of its sums. A layer type without an oracle fails the test.
 * FV_FULL=1 runs the whole product of cases instead of a choice of them. */
#include "drive.h"
#include "reference/reference.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const fv_kernels *tables[MOST_TABLES];
static int table_count;
static fv_pool *pools[3]; /* none, 1 thread, 3 threads */
static unsigned case_count, refused_count, run_count;
static unsigned other_algorithm_count; /* of the runs: not the layer's first, direct one */

/* ---- A case and its oracle ------------------------------------------------------------------- */

typedef struct oracle oracle;

typedef struct layer_case {
    const oracle *oracle;
    const fv_layer_type *type;
    const void *options;
    fv_shape input;
    int samples, first_call, batch;
    bool input_gradient, bytes, linear;
    uint64_t seed;
    uint32_t node;
    const char *detail; /* the options as text */
} layer_case;

enum { MOST_OPERANDS = 2, MOST_CASE_SAMPLES = 17 };

/* The arrays of one pass, samples together. z is the output before the activation. */
typedef struct sums {
    double *x, *w[MOST_OPERANDS], *z, *y, *dy, *dz, *dx, *dw[MOST_OPERANDS];
} sums;

/* `sizes`: the sums are wanted over absolute values, from which the bounds on rounding follow; the
 * arrays then hold absolute values already (x does not where `signed_x` is set). */
struct oracle {
    const char *type;
    void (*cases)(const oracle *self);
    /* False: the layer must refuse with FV_SHAPE. */
    bool (*output)(const layer_case *c, fv_shape *output, int64_t *macs);
    int (*weights)(const layer_case *c, size_t counts[MOST_OPERANDS]);
    fv_activation (*activation)(const layer_case *c);
    bool (*exact)(const layer_case *c); /* on small integers; NULL: always */
    void (*forward)(const layer_case *c, bool training, bool sizes, sums *v);
    void (*backward)(const layer_case *c, bool sizes, sums *v);
    bool signed_x;
    /* Terms of the longest sum in z, dx and dw. */
    void (*terms)(const layer_case *c, size_t *z, size_t *dx, size_t *dw);
};

/* ---- What a case should give ----------------------------------------------------------------- */

typedef struct expectation {
    const layer_case *c;
    fv_activation activation;
    fv_shape output;
    int weight_count;
    size_t weights[MOST_OPERANDS], in, out; /* values of all samples */
    real *x, *w[MOST_OPERANDS], *dy;        /* the data */
    sums value, size;                       /* the reference, and its sums of absolute values */
    double *bound;                          /* for one comparison */
    size_t terms_z, terms_dx, terms_dw;
    bool backward_known; /* value.dx and so on are those of value.dz */
} expectation;

static real *new_reals(size_t count) {
    real *reals = calloc(count ? count : 1, sizeof(real));
    if (!reals)
        fail_case("the test is out of memory");
    return reals;
}

static void make_sums(const expectation *e, sums *s) {
    s->x = new_doubles(e->in);
    s->dx = new_doubles(e->in);
    s->z = new_doubles(e->out);
    s->y = new_doubles(e->out);
    s->dy = new_doubles(e->out);
    s->dz = new_doubles(e->out);
    for (int i = 0; i < MOST_OPERANDS; i++) {
        s->w[i] = new_doubles(e->weights[i]);
        s->dw[i] = new_doubles(e->weights[i]);
    }
}

static void free_sums(sums *s) {
    double *all[] = {s->x, s->w[0], s->w[1], s->z, s->y, s->dy, s->dz, s->dx, s->dw[0], s->dw[1]};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static expectation make_expectation(const layer_case *c, const fv_shape *output) {
    expectation e = {.c = c, .output = *output};
    e.activation = c->linear ? FV_LINEAR : c->oracle->activation(c);
    e.out = (size_t)c->samples * fv_shape_count(output);
    e.in = c->type->max_inputs > 0 ? (size_t)c->samples * fv_shape_count(&c->input) : e.out;
    if (c->oracle->weights)
        e.weight_count = c->oracle->weights(c, e.weights);
    c->oracle->terms(c, &e.terms_z, &e.terms_dx, &e.terms_dw);
    e.x = new_reals(e.in);
    e.dy = new_reals(e.out);
    for (int i = 0; i < MOST_OPERANDS; i++)
        e.w[i] = new_reals(e.weights[i]);
    make_sums(&e, &e.value);
    make_sums(&e, &e.size);
    e.bound = new_doubles(larger(larger(e.in, e.out), larger(e.weights[0], e.weights[1])));
    return e;
}

static void free_expectation(expectation *e) {
    free(e->x);
    free(e->dy);
    for (int i = 0; i < MOST_OPERANDS; i++)
        free(e->w[i]);
    free(e->bound);
    free_sums(&e->value);
    free_sums(&e->size);
}

static void draw(numbers *n, bool integers, bool bytes, size_t count, real *x) {
    if (bytes)
        for (size_t i = 0; i < count; i++)
            x[i] = (real)numbers_below(n, 256);
    else if (integers)
        numbers_integers(n, 3, count, x);
    else
        numbers_floats(n, count, x);
}

/* New data, and what forward should make of it. */
static void expect_forward(expectation *e, bool integers, bool training) {
    const layer_case *c = e->c;
    numbers n = {c->seed + integers + 2 * training};
    draw(&n, integers, c->bytes, e->in, e->x);
    draw(&n, integers, false, e->out, e->dy);
    to_double(e->in, e->x, e->value.x);
    to_double(e->out, e->dy, e->value.dy);
    to_absolute(e->in, e->value.x, e->size.x);
    if (c->oracle->signed_x)
        to_double(e->in, e->x, e->size.x);
    to_absolute(e->out, e->value.dy, e->size.dy);
    for (int i = 0; i < e->weight_count; i++) {
        draw(&n, integers, false, e->weights[i], e->w[i]);
        to_double(e->weights[i], e->w[i], e->value.w[i]);
        to_absolute(e->weights[i], e->value.w[i], e->size.w[i]);
    }
    c->oracle->forward(c, training, false, &e->value);
    c->oracle->forward(c, training, true, &e->size);
    int channels = e->output.channels;
    ref_activation(e->activation, e->out / (size_t)channels, channels, e->value.z, e->value.y);
    e->backward_known = false;
}

/* The absolute values that enter dz: see ref_activation_gradient. 1 - y * y may cancel. */
static void gradient_sizes(expectation *e, const double *y) {
    int channels = e->output.channels;
    const double *dy = e->size.dy;
    double *dz = e->size.dz;
    for (size_t row = 0; row < e->out; row += (size_t)channels) {
        double sum = 0;
        for (int c = 0; c < channels; c++)
            sum += dy[row + (size_t)c] * fabs(y[row + (size_t)c]);
        for (size_t i = row; i < row + (size_t)channels; i++)
            dz[i] = e->activation == FV_SOFTMAX ? fabs(y[i]) * (dy[i] + sum)
                    : e->activation == FV_TANH  ? dy[i] * (1 + y[i] * y[i])
                                                : fabs(e->value.dz[i]);
    }
}

/* What backward should give, from the outputs that the layer itself had: whether a ReLU near its
 * kink let through is forward's affair. */
static void expect_backward(expectation *e, const double *y) {
    int channels = e->output.channels;
    size_t bytes = e->out * sizeof(double);
    double *dz = new_doubles(e->out);
    ref_activation_gradient(e->activation, e->out / (size_t)channels, channels, y, e->value.dy, dz);
    if (!e->backward_known || memcmp(dz, e->value.dz, bytes) != 0) {
        memcpy(e->value.dz, dz, bytes);
        gradient_sizes(e, y);
        e->c->oracle->backward(e->c, false, &e->value);
        e->c->oracle->backward(e->c, true, &e->size);
        e->backward_known = true;
    }
    free(dz);
}

/* ---- Bounds ---------------------------------------------------------------------------------- */

/* A sum of n products, in any order, is off by at most n roundings of the sum of absolute values
 * (Higham 2002, 3.1); 8 more for bias, activation and division. Other than direct algorithms may
 * be off by 1e-4 of the largest. */
static void sum_bound(size_t terms, bool exact, size_t count, const double *value,
                      const double *size, double *bound) {
    double least = 0;
    if (!exact)
        for (size_t i = 0; i < count; i++)
            least = fmax(least, 1e-4 * fabs(value[i]));
    for (size_t i = 0; i < count; i++)
        bound[i] = fmax(least, ((double)terms + 8) * ROUNDING * size[i] + 1e-36);
}

/* From a bound on z to one on y, in place. exp, tanh are taken to be good to 8 roundings. */
static void activation_bound(const expectation *e, double *bound) {
    int channels = e->output.channels;
    const double *y = e->value.y, *z = e->value.z;
    for (size_t row = 0; row < e->out; row += (size_t)channels) {
        double largest = -INFINITY, worst = 0;
        for (size_t i = row; i < row + (size_t)channels; i++) {
            largest = fmax(largest, z[i]);
            worst = fmax(worst, bound[i]);
        }
        for (size_t i = row; i < row + (size_t)channels; i++) {
            double roundings = 16 + channels + (largest - z[i]);
            if (e->activation == FV_SOFTMAX)
                bound[i] = y[i] * (expm1(2 * worst) + ROUNDING * roundings) + 1e-36;
            else if (e->activation == FV_SIGMOID || e->activation == FV_TANH)
                bound[i] += 16 * ROUNDING * fabs(y[i]);
        }
    }
}

static bool must_be_equal(const expectation *e, bool integers) {
    const oracle *o = e->c->oracle;
    return integers && (e->activation == FV_LINEAR || e->activation == FV_RELU) &&
           (!o->exact || o->exact(e->c));
}

/* ---- One run --------------------------------------------------------------------------------- */

typedef struct mode {
    bool integers, training, exact;
    const fv_kernels *kernels;
} mode;

/* Number in the data set and epoch of each sample, for dropout. */
static const uint32_t sample_epochs[MOST_CASE_SAMPLES] = {0, 1, 7, 7};
static const uint32_t sample_indices[MOST_CASE_SAMPLES] = {5, 0, 59999, 4000000000u};

static drive make_drive(const layer_case *c, const mode *m, fv_pool *pool) {
    return (drive){.type = c->type,
                   .options = c->options,
                   .input = c->input,
                   .kernels = m->kernels,
                   .pool = pool,
                   .samples = c->samples,
                   .batch = c->batch,
                   .first_call = c->first_call,
                   .training = m->training,
                   .exact = m->exact,
                   .input_gradient = m->training && c->input_gradient,
                   .bytes = c->bytes,
                   .linear = c->linear,
                   .seed = c->seed,
                   .node = c->node,
                   .epochs = sample_epochs,
                   .indices = sample_indices};
}

static void fill_drive(drive *d, const expectation *e) {
    size_t count = (size_t)d->samples * d->in_count;
    if (d->bytes)
        for (size_t i = 0; i < count; i++)
            ((unsigned char *)d->in.data)[i] = (unsigned char)e->x[i];
    else
        memcpy(d->in.data, e->x, count * sizeof(real));
    for (int i = 0; i < e->weight_count; i++)
        memcpy(d->weights[i].data, e->w[i], e->weights[i] * sizeof(real));
}

static void compare_forward(expectation *e, const mode *m, const real *y) {
    sum_bound(e->terms_z, m->exact, e->out, e->value.z, e->size.z, e->bound);
    activation_bound(e, e->bound);
    expect_close("output", e->out, y, e->value.y, must_be_equal(e, m->integers) ? NULL : e->bound);
}

static void compare_backward(expectation *e, const mode *m, const drive *d) {
    bool equal = must_be_equal(e, m->integers);
    size_t more = e->activation == FV_SOFTMAX ? (size_t)e->output.channels : 0;
    if (d->in_gradient.data) {
        sum_bound(e->terms_dx + more, m->exact, e->in, e->value.dx, e->size.dx, e->bound);
        expect_close("gradient of the input", e->in, d->in_gradient.data, e->value.dx,
                     equal ? NULL : e->bound);
    }
    for (int i = 0; i < e->weight_count; i++) {
        sum_bound(e->terms_dw + more, m->exact, e->weights[i], e->value.dw[i], e->size.dw[i],
                  e->bound);
        expect_close(i ? "gradient of the bias" : "gradient of the weights", e->weights[i],
                     d->weight_gradients[i].data, e->value.dw[i], equal ? NULL : e->bound);
    }
}

/* With direct algorithms a sample's output does not depend on the batch that it is in. */
static void compare_single(const expectation *e, const mode *m, const real *y) {
    drive d = make_drive(e->c, m, NULL);
    d.samples = d.batch = 1;
    if (drive_prepare(&d))
        fail_case("a batch of one is refused");
    fill_drive(&d, e);
    drive_forward(&d);
    expect_same_bits("output of a batch of one", d.out_count * sizeof(real), d.out.data, y);
    drive_free(&d);
}

/* Forward and, in training, backward; all against the oracle. The drive is left for the caller. */
static drive run_once(expectation *e, const mode *m, fv_pool *pool) {
    drive d = make_drive(e->c, m, pool);
    if (drive_prepare(&d))
        fail_case("refused: %s", fv_error_message());
    fill_drive(&d, e);
    drive_forward(&d);
    compare_forward(e, m, d.out.data);
    if (!m->training && m->exact)
        compare_single(e, m, d.out.data);
    if (m->training && e->c->type->backward) {
        double *y = new_doubles(e->out);
        to_double(e->out, d.out.data, y);
        expect_backward(e, y);
        free(y);
        memcpy(d.out_gradient.data, e->dy, e->out * sizeof(real));
        drive_backward(&d);
        compare_backward(e, m, &d);
    }
    run_count++;
    other_algorithm_count += d.plan.algorithm != 0;
    return d;
}

static void expect_same_run(const drive *got, const drive *wanted) {
    expect_same_bits("output by another number of threads", got->out.bytes, got->out.data,
                     wanted->out.data);
    expect_same_bits("gradient of the input by another number of threads", got->in_gradient.bytes,
                     got->in_gradient.data, wanted->in_gradient.data);
    for (int i = 0; i < got->inference.weight_count; i++)
        expect_same_bits("gradient of the weights by another number of threads",
                         got->weight_gradients[i].bytes, got->weight_gradients[i].data,
                         wanted->weight_gradients[i].data);
}

/* Layers that run over the whole batch: any number of threads gives the same bits. */
static void run_mode(expectation *e, const mode *m) {
    describe("%s %s, %s, %s data, %s, %s", e->c->type->name, e->c->detail, m->kernels->name,
             m->integers ? "integer" : "random", m->training ? "training" : "inference",
             m->exact ? "exact" : "fast");
    drive first = run_once(e, m, NULL);
    for (int p = 1; e->c->type->whole_batch && p < 3; p++) {
        drive other = run_once(e, m, pools[p]);
        expect_same_run(&other, &first);
        drive_free(&other);
    }
    drive_free(&first);
}

/* ---- One case -------------------------------------------------------------------------------- */

static void shape_text(const fv_shape *shape, char text[64]) {
    text[0] = 0;
    for (int i = 0; i < shape->rank; i++)
        sprintf(text + strlen(text), "%dx", shape->size[i]);
    sprintf(text + strlen(text), "%d", shape->channels);
}

/* The layer says why it cannot be, with the shape of its input. */
static void check_refusal(const layer_case *c) {
    fv_inference inference = {0};
    char text[64];
    shape_text(&c->input, text);
    fv_status status = c->type->infer(c->options, &c->input, 1, &inference);
    if (status != FV_SHAPE)
        fail_case("infer() gives status %d where no output exists", (int)status);
    if (!strstr(fv_error_message(), text))
        fail_case("the message does not name the input %s: %s", text, fv_error_message());
    refused_count++;
}

static void check_inference(const layer_case *c, const fv_shape *output, int64_t macs) {
    fv_inference inference = {0};
    size_t counts[MOST_OPERANDS] = {0};
    int weights = c->oracle->weights ? c->oracle->weights(c, counts) : 0;
    if (c->type->infer(c->options, &c->input, c->type->max_inputs > 0, &inference))
        fail_case("infer() refuses: %s", fv_error_message());
    bool same =
        inference.output.rank == output->rank && inference.output.channels == output->channels;
    for (int i = 0; i < output->rank; i++)
        same = same && inference.output.size[i] == output->size[i];
    if (!same)
        fail_case("infer() gives another output shape: rank %d, %d x %d x %d, %d channels",
                  inference.output.rank, inference.output.size[0], inference.output.size[1],
                  inference.output.size[2], inference.output.channels);
    assert_int_equal(inference.macs, macs);
    assert_int_equal(inference.weight_count, weights);
    for (int i = 0; i < weights; i++) {
        size_t count = 1;
        for (int axis = 0; axis < inference.weights[i].rank; axis++)
            count *= inference.weights[i].size[axis];
        assert_int_equal(count, counts[i]);
        assert_string_equal(inference.weights[i].name, i ? "bias" : "weight");
    }
    assert_int_equal(inference.activation, c->oracle->activation(c));
}

static void run_data(expectation *e, bool integers, bool training, int exact_modes) {
    expect_forward(e, integers, training);
    for (int t = 0; t < table_count; t++)
        for (int exact = 0; exact < 2; exact++)
            if (exact_modes & (1 << exact))
                run_mode(e, &(mode){.integers = integers,
                                    .training = training,
                                    .exact = exact,
                                    .kernels = tables[t]});
}

static void check_case(const layer_case *c) {
    fv_shape output = {0};
    int64_t macs = 0;
    describe("%s %s", c->type->name, c->detail);
    case_count++;
    if (!c->oracle->output(c, &output, &macs)) {
        check_refusal(c);
        return;
    }
    check_inference(c, &output, macs);
    if (c->type->view)
        return;
    enum { FAST = 1, EXACT = 2 };
    expectation e = make_expectation(c, &output);
    run_data(&e, true, true, EXACT);
    run_data(&e, false, true, FAST | EXACT);
    run_data(&e, false, false, c->seed & 1 ? FAST : EXACT);
    free_expectation(&e);
}

/* The minor choices of a case follow from its number, so that all of them meet all others. */
static layer_case make_case(const oracle *o, numbers *n, const void *options,
                            const fv_shape *input) {
    layer_case c = {.oracle = o,
                    .type = fv_layer_type_find(o->type),
                    .options = options,
                    .input = *input,
                    .samples = numbers_below(n, 2) ? 3 : 1,
                    .input_gradient = numbers_below(n, 4) != 0,
                    .linear = numbers_below(n, 5) == 0,
                    .seed = numbers_next(n),
                    .node = (uint32_t)numbers_below(n, 1000),
                    .detail = ""};
    if (!c.type)
        fail_case("there is no layer type %s", o->type);
    c.first_call = c.samples > 1 ? numbers_below(n, c.samples) : 0;
    c.batch = c.samples + numbers_below(n, 2);
    return c;
}

static const int channel_list[] = {1, 2, 3, 5, 8, 16, 17, 33, 64};
enum { CHANNELS = sizeof channel_list / sizeof channel_list[0] };

/* ---- Geometry of sliding windows ------------------------------------------------------------- */

static const int kernel_list[][3] = {{1}, {2}, {3}, {5}, {3, 1, 2}, {2, 5, 3}};
static const int stride_list[][3] = {{0}, {1}, {2}, {3}, {1, 2, 1}, {2, 1, 3}};
/* Sizes along each axis; 0 stands for the kernel's own. */
static const int size_list[][3] = {{1, 1, 1}, {0, 0, 0}, {7, 5, 4}, {6, 8, 3}, {13, 10, 5}};
enum {
    KERNELS = sizeof kernel_list / sizeof kernel_list[0],
    STRIDES = sizeof stride_list / sizeof stride_list[0],
    SIZES = sizeof size_list / sizeof size_list[0],
    PADDINGS = 3, /* valid, same, explicit */
    GEOMETRIES = 3 * KERNELS * STRIDES * SIZES * PADDINGS,
};

typedef struct geometry {
    fv_shape input;
    int kernel[3], stride[3], pad[3][2];
    fv_padding padding;
} geometry;

/* Explicit padding is asymmetric, and no more than half the window for pools. */
static const int pad_list[3][2] = {{0, 1}, {2, 1}, {1, 0}};

static geometry make_geometry(int number, int channels, bool at_most_half) {
    geometry g = {.input = {.rank = 1 + number % 3, .channels = channels}};
    number /= 3;
    const int *kernel = kernel_list[number % KERNELS];
    number /= KERNELS;
    const int *stride = stride_list[number % STRIDES];
    number /= STRIDES;
    const int *size = size_list[number % SIZES];
    int padding = number / SIZES;
    g.padding = padding == 1 ? FV_SAME : FV_VALID;
    for (int axis = 0; axis < g.input.rank; axis++) {
        int cells = kernel[axis] ? kernel[axis] : kernel[0];
        g.kernel[axis] = kernel[axis];
        g.stride[axis] = stride[axis];
        g.input.size[axis] = size[axis] ? size[axis] : cells;
        for (int side = 0; side < 2 && padding == 2; side++) {
            int pad = pad_list[(axis + cells) % 3][side];
            g.pad[axis][side] = at_most_half && pad > cells / 2 ? cells / 2 : pad;
        }
    }
    return g;
}

static const char *geometry_text(const geometry *g, char text[160]) {
    sprintf(text, "kernel %dx%dx%d stride %dx%dx%d pad %d:%dx%d:%dx%d:%d%s on %dx%dx%d rank %d",
            g->kernel[0], g->kernel[1], g->kernel[2], g->stride[0], g->stride[1], g->stride[2],
            g->pad[0][0], g->pad[0][1], g->pad[1][0], g->pad[1][1], g->pad[2][0], g->pad[2][1],
            g->padding == FV_SAME ? " same" : "", g->input.size[0], g->input.size[1],
            g->input.size[2], g->input.rank);
    return text;
}

static fv_shape window_output(const ref_window *w, int channels) {
    fv_shape output = {.rank = w->rank, .channels = channels};
    for (int axis = 0; axis < w->rank; axis++)
        output.size[axis] = w->out[axis];
    return output;
}

/* Windows need as many axes as they have themselves. */
static bool axes_fit(const fv_shape *input, const int sizes[3]) {
    bool fit = input->rank > 0;
    for (int axis = input->rank; axis < 3; axis++)
        fit = fit && sizes[axis] == 0;
    return fit;
}

static const geometry misfits[] = {
    {.input = {0, {0}, 7}, .kernel = {2}},
    {.input = {1, {9}, 2}, .kernel = {2, 2}},
    {.input = {2, {9, 8}, 1}, .kernel = {3, 3, 3}},
};
enum { MISFITS = sizeof misfits / sizeof misfits[0] };

/* ---- conv ------------------------------------------------------------------------------------ */

static bool conv_output(const layer_case *c, fv_shape *output, int64_t *macs) {
    const fv_conv_options *o = c->options;
    ref_window w;
    if (!axes_fit(&c->input, o->kernel) || !ref_conv_window(&c->input, o, &w))
        return false;
    *output = window_output(&w, o->filters);
    *macs = (int64_t)ref_cells(w.out) * ref_cells(w.kernel) * c->input.channels * o->filters;
    return true;
}

static int conv_weights(const layer_case *c, size_t counts[MOST_OPERANDS]) {
    const fv_conv_options *o = c->options;
    ref_window w;
    ref_conv_window(&c->input, o, &w);
    counts[0] = (size_t)ref_cells(w.kernel) * (size_t)c->input.channels * (size_t)o->filters;
    counts[1] = o->no_bias ? 0 : (size_t)o->filters;
    return o->no_bias ? 1 : 2;
}

static fv_activation conv_activation(const layer_case *c) {
    return ((const fv_conv_options *)c->options)->activation;
}

static void conv_forward(const layer_case *c, bool training, bool sizes, sums *v) {
    (void)training, (void)sizes;
    const fv_conv_options *o = c->options;
    ref_window w;
    ref_conv_window(&c->input, o, &w);
    ref_conv(&w, c->samples, c->input.channels, o->filters, v->x, v->w[0],
             o->no_bias ? NULL : v->w[1], v->z);
}

static void conv_backward(const layer_case *c, bool sizes, sums *v) {
    (void)sizes;
    const fv_conv_options *o = c->options;
    ref_window w;
    ref_conv_window(&c->input, o, &w);
    ref_conv_input_gradient(&w, c->samples, c->input.channels, o->filters, v->dz, v->w[0], v->dx);
    ref_conv_weight_gradient(&w, c->samples, c->input.channels, o->filters, v->x, v->dz, v->dw[0]);
    if (!o->no_bias)
        ref_bias_gradient((size_t)c->samples * (size_t)ref_cells(w.out), o->filters, v->dz,
                          v->dw[1]);
}

static void conv_terms(const layer_case *c, size_t *z, size_t *dx, size_t *dw) {
    const fv_conv_options *o = c->options;
    ref_window w;
    ref_conv_window(&c->input, o, &w);
    *z = (size_t)ref_cells(w.kernel) * (size_t)c->input.channels + 1;
    *dx = (size_t)ref_cells(w.kernel) * (size_t)o->filters;
    *dw = (size_t)ref_cells(w.out) * (size_t)c->samples;
}

static void conv_case(const oracle *self, numbers *n, const geometry *g, int filters,
                      int64_t most_macs) {
    fv_conv_options o = {.filters = filters,
                         .activation = (fv_activation)numbers_below(n, FV_SOFTMAX + 1),
                         .padding = g->padding,
                         .no_bias = numbers_below(n, 3) == 0};
    memcpy(o.kernel, g->kernel, sizeof o.kernel);
    memcpy(o.stride, g->stride, sizeof o.stride);
    memcpy(o.pad, g->pad, sizeof o.pad);
    layer_case c = make_case(self, n, &o, &g->input);
    char text[160], detail[256];
    fv_shape output;
    int64_t macs = 0;
    if (conv_output(&c, &output, &macs) && macs * c.samples > most_macs)
        return;
    sprintf(detail, "%d to %d channels, %s, %s%s, %d samples (%d first)", c.input.channels, filters,
            geometry_text(g, text), fv_activation_names[o.activation], o.no_bias ? ", no bias" : "",
            c.samples, c.first_call);
    c.detail = detail;
    check_case(&c);
}

/* The shapes of the lecture's nets and a few larger ones, where other algorithms pay. */
static void conv_lecture_cases(const oracle *self, numbers *n) {
    static const struct {
        int size[2], channels, filters, kernel;
        fv_padding padding;
    } list[] = {
        {{28, 28}, 1, 32, 3, FV_VALID}, {{26, 26}, 32, 64, 3, FV_VALID},
        {{28, 28}, 1, 32, 5, FV_SAME},  {{14, 14}, 32, 64, 5, FV_SAME},
        {{15, 17}, 33, 40, 3, FV_SAME}, {{12, 31}, 16, 48, 5, FV_VALID},
        {{16, 16}, 64, 64, 3, FV_SAME}, {{20, 9}, 64, 17, 1, FV_VALID},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        geometry g = {.input = {2, {list[i].size[0], list[i].size[1]}, list[i].channels},
                      .kernel = {list[i].kernel},
                      .padding = list[i].padding};
        conv_case(self, n, &g, list[i].filters, INT64_MAX);
    }
}

/* Square kernels in the plane at stride 1, where Winograd's algorithm may be chosen: tiles that fit
 * the output and that do not, with padding and without. */
static void conv_plane_cases(const oracle *self, numbers *n) {
    static const int sizes[] = {3, 4, 6, 7, 10, 13, 14, 18};
    static const int channels[][2] = {{16, 16}, {16, 48}, {32, 24}, {48, 16}};
    for (int i = 0; i < 8; i++)
        for (int variant = 0; variant < 3 * 4 * 2; variant++) {
            int pair = variant % 4, padding = variant / 4 % 3;
            geometry g = {.input = {2, {sizes[i], sizes[(i + 3 * variant) % 8]}, channels[pair][0]},
                          .kernel = {variant < 12 ? 3 : 5},
                          .padding = padding == 1 ? FV_SAME : FV_VALID};
            if (padding == 2)
                memcpy(g.pad, pad_list, 2 * sizeof g.pad[0]);
            conv_case(self, n, &g, channels[pair][1], INT64_MAX);
        }
}

static void conv_cases(const oracle *self) {
    int64_t most = full_run() ? 300000 : 100000;
    for (int number = 0; number < GEOMETRIES; number++) {
        numbers n = {(uint64_t)number};
        for (int pair = 0; pair < CHANNELS * CHANNELS; pair++) {
            numbers m = {(uint64_t)number * 1000 + (uint64_t)pair};
            if (!full_run() && numbers_below(&n, CHANNELS * CHANNELS) >= 2)
                continue;
            geometry g = make_geometry(number, channel_list[pair % CHANNELS], false);
            conv_case(self, &m, &g, channel_list[pair / CHANNELS], most);
        }
    }
    numbers n = {1};
    for (int i = 0; i < MISFITS; i++)
        conv_case(self, &n, &misfits[i], 4, most);
    conv_lecture_cases(self, &n);
    conv_plane_cases(self, &n);
}

/* ---- maxpool, avgpool ------------------------------------------------------------------------ */

static bool pool_output(const layer_case *c, fv_shape *output, int64_t *macs) {
    const fv_pool_options *o = c->options;
    ref_window w;
    *macs = 0;
    if (!axes_fit(&c->input, o->size) || !ref_pool_window(&c->input, o, &w))
        return false;
    *output = window_output(&w, c->input.channels);
    return true;
}

static fv_activation no_activation(const layer_case *c) {
    (void)c;
    return FV_LINEAR;
}

static ref_window pool_window(const layer_case *c) {
    ref_window w;
    ref_pool_window(&c->input, c->options, &w);
    return w;
}

static void maxpool_forward(const layer_case *c, bool training, bool sizes, sums *v) {
    (void)training, (void)sizes;
    ref_window w = pool_window(c);
    ref_maxpool(&w, c->samples, c->input.channels, v->x, v->z);
}

static void maxpool_backward(const layer_case *c, bool sizes, sums *v) {
    (void)sizes;
    ref_window w = pool_window(c);
    ref_maxpool_gradient(&w, c->samples, c->input.channels, v->x, v->dz, v->dx);
}

static void pool_terms(const layer_case *c, size_t *z, size_t *dx, size_t *dw) {
    ref_window w = pool_window(c);
    *z = *dx = (size_t)ref_cells(w.kernel);
    *dw = 0;
}

static void avgpool_forward(const layer_case *c, bool training, bool sizes, sums *v) {
    (void)training, (void)sizes;
    const fv_pool_options *o = c->options;
    ref_window w = pool_window(c);
    ref_avgpool(&w, o->count_include_pad, c->samples, c->input.channels, v->x, v->z);
}

static void avgpool_backward(const layer_case *c, bool sizes, sums *v) {
    (void)sizes;
    const fv_pool_options *o = c->options;
    ref_window w = pool_window(c);
    ref_avgpool_gradient(&w, o->count_include_pad, c->samples, c->input.channels, v->dz, v->dx);
}

/* Where all divisors are powers of two. */
static bool avgpool_exact(const layer_case *c) {
    const fv_pool_options *o = c->options;
    ref_window w = pool_window(c);
    int cells = ref_cells(w.kernel);
    bool powers = true;
    for (int axis = 0; axis < 3; axis++)
        powers = powers && w.kernel[axis] <= 2;
    return powers || (o->count_include_pad && (cells & (cells - 1)) == 0);
}

/* Cases of more than `most` cells under all windows are left out: the oracle takes its time. */
static void pool_case(const oracle *self, numbers *n, const geometry *g, size_t most) {
    fv_pool_options o = {.padding = g->padding, .count_include_pad = numbers_below(n, 2)};
    memcpy(o.size, g->kernel, sizeof o.size);
    memcpy(o.stride, g->stride, sizeof o.stride);
    memcpy(o.pad, g->pad, sizeof o.pad);
    layer_case c = make_case(self, n, &o, &g->input);
    ref_window w;
    if (ref_pool_window(&c.input, &o, &w) &&
        (size_t)(ref_cells(w.out) * ref_cells(w.kernel) * c.input.channels * c.samples) > most)
        return;
    char text[160], detail[256];
    sprintf(detail, "%d channels, %s%s, %d samples (%d first)", c.input.channels,
            geometry_text(g, text), o.count_include_pad ? ", count_include_pad" : "", c.samples,
            c.first_call);
    c.detail = detail;
    check_case(&c);
}

static void pool_cases(const oracle *self) {
    size_t most = full_run() ? 300000 : 100000;
    for (int number = 0; number < GEOMETRIES; number++) {
        numbers n = {(uint64_t)number};
        int choice = numbers_below(&n, 2 * CHANNELS); /* half of the geometries are left out */
        for (int i = 0; i < CHANNELS; i++)
            if (full_run() || i == choice) {
                geometry g = make_geometry(number, channel_list[i], true);
                pool_case(self, &n, &g, most);
            }
    }
    for (int i = 0; i < MISFITS; i++)
        pool_case(self, &(numbers){0}, &misfits[i], most);
    /* Windows of 256 cells and of more. */
    static const geometry large[] = {
        {.input = {2, {17, 16}, 3}, .kernel = {16, 16}},
        {.input = {2, {19, 35}, 5}, .kernel = {17, 17}},
        {.input = {1, {700}, 5}, .kernel = {300}, .stride = {100}},
        {.input = {3, {5, 4, 3}, 3}, .kernel = {7, 8, 5}, .stride = {1}, .padding = FV_SAME}};
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        numbers n = {i};
        pool_case(self, &n, &large[i], SIZE_MAX);
    }
}

/* ---- dense ----------------------------------------------------------------------------------- */

static bool dense_output(const layer_case *c, fv_shape *output, int64_t *macs) {
    const fv_dense_options *o = c->options;
    *output = (fv_shape){.channels = o->units};
    *macs = (int64_t)c->input.channels * o->units;
    return c->input.rank == 0;
}

static int dense_weights(const layer_case *c, size_t counts[MOST_OPERANDS]) {
    const fv_dense_options *o = c->options;
    counts[0] = (size_t)c->input.channels * (size_t)o->units;
    counts[1] = o->no_bias ? 0 : (size_t)o->units;
    return o->no_bias ? 1 : 2;
}

static fv_activation dense_activation(const layer_case *c) {
    return ((const fv_dense_options *)c->options)->activation;
}

static void dense_forward(const layer_case *c, bool training, bool sizes, sums *v) {
    (void)training, (void)sizes;
    const fv_dense_options *o = c->options;
    ref_dense(c->samples, c->input.channels, o->units, v->x, v->w[0], o->no_bias ? NULL : v->w[1],
              v->z);
}

static void dense_backward(const layer_case *c, bool sizes, sums *v) {
    (void)sizes;
    const fv_dense_options *o = c->options;
    ref_dense_input_gradient(c->samples, c->input.channels, o->units, v->dz, v->w[0], v->dx);
    ref_dense_weight_gradient(c->samples, c->input.channels, o->units, v->x, v->dz, v->dw[0]);
    if (!o->no_bias)
        ref_bias_gradient((size_t)c->samples, o->units, v->dz, v->dw[1]);
}

static void dense_terms(const layer_case *c, size_t *z, size_t *dx, size_t *dw) {
    const fv_dense_options *o = c->options;
    *z = (size_t)c->input.channels + 1;
    *dx = (size_t)o->units;
    *dw = (size_t)c->samples;
}

static void dense_case(const oracle *self, numbers *n, const fv_shape *input, int units,
                       int samples) {
    fv_dense_options o = {.units = units,
                          .activation = (fv_activation)numbers_below(n, FV_SOFTMAX + 1),
                          .no_bias = numbers_below(n, 3) == 0};
    layer_case c = make_case(self, n, &o, input);
    char text[64], detail[128];
    c.samples = samples;
    c.batch = samples + numbers_below(n, 3);
    shape_text(input, text);
    sprintf(detail, "%s to %d, %s%s, %d samples", text, units, fv_activation_names[o.activation],
            o.no_bias ? ", no bias" : "", samples);
    c.detail = detail;
    check_case(&c);
}

static void dense_cases(const oracle *self) {
    static const int sizes[] = {1, 2, 3, 5, 8, 10, 16, 17, 33, 64, 130, 300};
    static const int samples[] = {1, 2, 3, 6, 7, 13, 17};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    unsigned chosen = 0;
    for (int inputs = 0; inputs < COUNT; inputs++)
        for (int units = 0; units < COUNT; units++)
            for (int s = 0; s < 7; s++) {
                numbers n = {(uint64_t)(inputs * 10000 + units * 100 + s)};
                fv_shape input = {.channels = sizes[inputs]};
                if (full_run() || chosen++ % 3 == 0)
                    dense_case(self, &n, &input, sizes[units], samples[s]);
            }
    numbers n = {2};
    dense_case(self, &n, &(fv_shape){0, {3, 5}, 30}, 7, 3);   /* flattened pictures */
    dense_case(self, &n, &(fv_shape){0, {0}, 1000}, 130, 17); /* several blocks of inputs */
    dense_case(self, &n, &(fv_shape){2, {3, 5}, 2}, 7, 3);    /* refused */
}

/* ---- Layers that keep their input's shape -----------------------------------------------------
 */

static bool same_output(const layer_case *c, fv_shape *output, int64_t *macs) {
    *output = c->input;
    *macs = 0;
    return true;
}

static void one_term(const layer_case *c, size_t *z, size_t *dx, size_t *dw) {
    (void)c;
    *z = *dx = 1;
    *dw = 0;
}

static size_t input_values(const layer_case *c) {
    return (size_t)c->samples * fv_shape_count(&c->input);
}

static void copy_forward(const layer_case *c, bool training, bool sizes, sums *v) {
    (void)training, (void)sizes;
    memcpy(v->z, v->x, input_values(c) * sizeof(double));
}

static void copy_backward(const layer_case *c, bool sizes, sums *v) {
    (void)sizes;
    memcpy(v->dx, v->dz, input_values(c) * sizeof(double));
}

static fv_activation own_activation(const layer_case *c) {
    for (int i = 0; fv_activation_names[i]; i++)
        if (strcmp(c->oracle->type, fv_activation_names[i]) == 0)
            return (fv_activation)i;
    return FV_LINEAR;
}

/* All channels on a few shapes of each rank. */
static void shape_cases(const oracle *self, const void *options) {
    static const fv_shape shapes[] = {{0, {0}, 0},       {1, {1}, 0},       {1, {70}, 0},
                                      {2, {1, 1}, 0},    {2, {7, 6}, 0},    {2, {16, 16}, 0},
                                      {3, {2, 3, 5}, 0}, {3, {4, 4, 4}, 0}, {2, {13, 1}, 0}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int k = 0; k < CHANNELS; k++) {
            numbers n = {i * CHANNELS + (uint64_t)k};
            fv_shape input = shapes[i];
            input.channels = channel_list[k];
            layer_case c = make_case(self, &n, options, &input);
            char text[64], detail[128];
            shape_text(&input, text);
            sprintf(detail, "%s, %d samples (%d first)", text, c.samples, c.first_call);
            c.detail = detail;
            check_case(&c);
        }
}

static void plain_cases(const oracle *self) {
    shape_cases(self, NULL);
}

/* ---- flatten --------------------------------------------------------------------------------- */

static bool flat_output(const layer_case *c, fv_shape *output, int64_t *macs) {
    *output = (fv_shape){.channels = (int)fv_shape_count(&c->input)};
    *macs = 0;
    return true;
}

/* ---- dropout: the contract at the top of src/layers/dropout.c ----------------------------------
 */

static double dropout_threshold(const layer_case *c) {
    return round(((const fv_dropout_options *)c->options)->rate * 65536);
}

static double dropout_factor(const layer_case *c, int sample, size_t value) {
    enum { PURPOSE_DROPOUT = 3 };
    uint32_t key[2] = {(uint32_t)c->seed, (uint32_t)(c->seed >> 32)};
    uint32_t stream[3] = {sample_indices[sample], sample_epochs[sample],
                          PURPOSE_DROPOUT + c->node * 256};
    double threshold = dropout_threshold(c);
    return ref_philox_half(key, stream, value) >= threshold ? 65536 / (65536 - threshold) : 0;
}

static void dropout(const layer_case *c, const double *x, double *y) {
    size_t values = fv_shape_count(&c->input);
    for (int s = 0; s < c->samples; s++)
        for (size_t i = 0; i < values; i++)
            y[(size_t)s * values + i] = x[(size_t)s * values + i] * dropout_factor(c, s, i);
}

static void dropout_forward(const layer_case *c, bool training, bool sizes, sums *v) {
    if (training)
        dropout(c, v->x, v->z);
    else
        copy_forward(c, training, sizes, v);
}

static void dropout_backward(const layer_case *c, bool sizes, sums *v) {
    (void)sizes;
    dropout(c, v->dz, v->dx);
}

/* Where what is kept grows by a power of two. */
static bool dropout_exact(const layer_case *c) {
    int kept = 65536 - (int)dropout_threshold(c);
    return (kept & (kept - 1)) == 0;
}

static void dropout_cases(const oracle *self) {
    static const double rates[] = {0.5, 0, 1e-6, 0.1, 0.25, 0.75, 0.999};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++)
        if (i < 2 || full_run() || i % 2 == 0)
            shape_cases(self, &(fv_dropout_options){.rate = rates[i]});
}

/* ---- input ----------------------------------------------------------------------------------- */

static bool input_output(const layer_case *c, fv_shape *output, int64_t *macs) {
    *output = ((const fv_input_options *)c->options)->shape;
    *macs = 0;
    return true;
}

static void input_forward(const layer_case *c, bool training, bool sizes, sums *v) {
    (void)training;
    fv_input_options o = *(const fv_input_options *)c->options;
    o.scale = sizes ? fabs(o.scale) : o.scale;
    for (int i = 0; i < 4; i++)
        o.mean[i] = sizes ? -fabs(o.mean[i]) : o.mean[i];
    ref_input(&o, c->samples, v->x, v->z);
}

static void no_backward(const layer_case *c, bool sizes, sums *v) {
    (void)c, (void)sizes, (void)v;
}

static bool input_exact(const layer_case *c) {
    const fv_input_options *o = c->options;
    return o->scale == 0 && o->means == 0;
}

static void input_cases(const oracle *self) {
    static const fv_shape shapes[] = {{0, {0}, 5},     {1, {9}, 1},       {2, {28, 28}, 1},
                                      {2, {7, 5}, 3},  {3, {3, 4, 5}, 2}, {2, {6, 6}, 4},
                                      {2, {64, 64}, 3}};
    static const double scales[] = {0, 1 / 255.0, -0.5, 2};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (unsigned variant = 0; variant < 24; variant++) {
            numbers n = {i * 100 + variant};
            fv_input_options o = {.shape = shapes[i],
                                  .scale = scales[variant % 4],
                                  .mean = {0.485, -0.456, 0.406, 1}};
            int means = (int)(variant / 4 % 3);
            o.means = means < 2 ? means : o.shape.channels > 4 ? 0 : o.shape.channels;
            layer_case c = make_case(self, &n, &o, &(fv_shape){0});
            c.bytes = variant / 12;
            char text[64], detail[128];
            shape_text(&o.shape, text);
            sprintf(detail, "%s of %s, scale %g, %d means, %d samples", text,
                    c.bytes ? "bytes" : "floats", o.scale, o.means, c.samples);
            c.detail = detail;
            check_case(&c);
        }
}

/* ---- The list -------------------------------------------------------------------------------- */

#define ACTIVATION_ORACLE(name)                                                                    \
    {                                                                                              \
        .type = name, .cases = plain_cases, .output = same_output, .activation = own_activation,   \
        .forward = copy_forward, .backward = copy_backward, .terms = one_term                      \
    }

static const oracle oracles[] = {
    {.type = "input",
     .cases = input_cases,
     .output = input_output,
     .activation = no_activation,
     .exact = input_exact,
     .forward = input_forward,
     .backward = no_backward,
     .terms = one_term},
    {.type = "conv",
     .cases = conv_cases,
     .output = conv_output,
     .weights = conv_weights,
     .activation = conv_activation,
     .forward = conv_forward,
     .backward = conv_backward,
     .terms = conv_terms},
    {.type = "maxpool",
     .cases = pool_cases,
     .output = pool_output,
     .activation = no_activation,
     .forward = maxpool_forward,
     .backward = maxpool_backward,
     .signed_x = true,
     .terms = pool_terms},
    {.type = "avgpool",
     .cases = pool_cases,
     .output = pool_output,
     .activation = no_activation,
     .exact = avgpool_exact,
     .forward = avgpool_forward,
     .backward = avgpool_backward,
     .terms = pool_terms},
    {.type = "dense",
     .cases = dense_cases,
     .output = dense_output,
     .weights = dense_weights,
     .activation = dense_activation,
     .forward = dense_forward,
     .backward = dense_backward,
     .terms = dense_terms},
    {.type = "flatten", .cases = plain_cases, .output = flat_output, .activation = no_activation},
    {.type = "dropout",
     .cases = dropout_cases,
     .output = same_output,
     .activation = no_activation,
     .exact = dropout_exact,
     .forward = dropout_forward,
     .backward = dropout_backward,
     .terms = one_term},
    ACTIVATION_ORACLE("relu"),
    ACTIVATION_ORACLE("sigmoid"),
    ACTIVATION_ORACLE("tanh"),
    ACTIVATION_ORACLE("softmax"),
};
enum { ORACLES = sizeof oracles / sizeof oracles[0] };

static void test_every_layer_has_an_oracle(void **state) {
    (void)state;
    for (const fv_layer_type *const *type = fv_layer_types; *type; type++) {
        bool held = false;
        for (int i = 0; i < ORACLES; i++)
            held = held || strcmp(oracles[i].type, (*type)->name) == 0;
        if (!held)
            fail_msg("layer type %s has no oracle in tests/test_layers.c", (*type)->name);
    }
}

/* ---- Weights in files ------------------------------------------------------------------------ */

/* The shape in files, and which of its axes each axis of the stored array is. */
static void expect_spec(const fv_weight_spec *spec, int rank, const size_t *size, const int *axes,
                        size_t fan_in, size_t fan_out) {
    assert_int_equal(spec->rank, rank);
    for (int i = 0; i < rank; i++) {
        assert_int_equal(spec->size[i], size[i]);
        assert_int_equal(spec->axes[i], axes[i]);
    }
    assert_int_equal(spec->fan_in, fan_in);
    assert_int_equal(spec->fan_out, fan_out);
}

/* PyTorch's (filters, channels, kernel...), stored [kernel...][channels][filters]. */
static void test_convolution_weights(void **state) {
    (void)state;
    static const int axes[3][5] = {{2, 1, 0}, {2, 3, 1, 0}, {2, 3, 4, 1, 0}};
    const size_t size[5] = {7, 3, 2, 4, 5}, cells[3] = {2, 2 * 4, 2 * 4 * 5};
    const fv_layer_type *conv = fv_layer_type_find("conv");
    for (int rank = 1; rank <= 3; rank++) {
        fv_shape input = {rank, {6, 6, 6}, 3};
        fv_conv_options o = {.filters = 7, .kernel = {2, rank > 1 ? 4 : 0, rank > 2 ? 5 : 0}};
        fv_inference inference = {0};
        assert_int_equal(conv->infer(&o, &input, 1, &inference), FV_OK);
        expect_spec(&inference.weights[0], rank + 2, size, axes[rank - 1], cells[rank - 1] * 3,
                    cells[rank - 1] * 7);
        expect_spec(&inference.weights[1], 1, size, (const int[]){0}, cells[rank - 1] * 3,
                    cells[rank - 1] * 7);
        assert_int_equal(inference.weights[0].init.kind, FV_INIT_GLOROT_UNIFORM);
        assert_int_equal(inference.weights[1].init.kind, FV_INIT_CONSTANT);
    }
}

/* PyTorch's (units, inputs); of a flattened picture its inputs are channels first, ours last. */
static void test_dense_weights(void **state) {
    (void)state;
    const fv_layer_type *dense = fv_layer_type_find("dense");
    fv_dense_options o = {.units = 7, .init = {FV_INIT_NORMAL, 0.5}};
    fv_inference inference = {0};
    assert_int_equal(dense->infer(&o, &(fv_shape){.channels = 30}, 1, &inference), FV_OK);
    expect_spec(&inference.weights[0], 2, (const size_t[]){7, 30}, (const int[]){1, 0}, 30, 7);
    assert_int_equal(inference.weights[0].init.kind, FV_INIT_NORMAL);
    assert_true(inference.weights[0].init.value == 0.5);
    inference = (fv_inference){0};
    assert_int_equal(dense->infer(&o, &(fv_shape){0, {3, 5}, 30}, 1, &inference), FV_OK);
    expect_spec(&inference.weights[0], 4, (const size_t[]){7, 2, 3, 5}, (const int[]){2, 3, 1, 0},
                30, 7);
    expect_spec(&inference.weights[1], 1, (const size_t[]){7}, (const int[]){0}, 30, 7);
}

/* Padding that would leave a window without a real cell. */
static void test_pool_padding(void **state) {
    (void)state;
    static const char *const types[] = {"maxpool", "avgpool"};
    for (int i = 0; i < 2; i++) {
        const fv_layer_type *pool = fv_layer_type_find(types[i]);
        fv_pool_options o = {.size = {3}, .pad = {{0, 2}}};
        fv_inference inference = {0};
        assert_int_equal(pool->infer(&o, &(fv_shape){1, {9}, 2}, 1, &inference), FV_SHAPE);
        assert_non_null(strstr(fv_error_message(), "0:2"));
    }
}

/* ---- The tests ------------------------------------------------------------------------------- */

static void test_oracle(void **state) {
    const oracle *o = *state;
    const fv_layer_type *type = fv_layer_type_find(o->type);
    if (races_only() && type && !type->whole_batch)
        skip();
    case_count = refused_count = run_count = other_algorithm_count = 0;
    o->cases(o);
    print_message("%s: %u cases, %u of them refused; %u runs, %u by other than direct algorithms\n",
                  o->type, case_count, refused_count, run_count, other_algorithm_count);
    assert_true(case_count > 0);
}

static int set_up(void **state) {
    (void)state;
    table_count = kernel_tables(tables);
    pools[1] = fv_pool_new(1);
    pools[2] = fv_pool_new(3);
    return pools[1] && pools[2] ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    fv_pool_free(pools[1]);
    fv_pool_free(pools[2]);
    return 0;
}

int main(void) {
    enum { OTHERS = 4 };
    struct CMUnitTest tests[OTHERS + ORACLES] = {
        cmocka_unit_test(test_every_layer_has_an_oracle),
        cmocka_unit_test(test_convolution_weights),
        cmocka_unit_test(test_dense_weights),
        cmocka_unit_test(test_pool_padding),
    };
    for (int i = 0; i < ORACLES; i++)
        tests[OTHERS + i] = (struct CMUnitTest){.name = oracles[i].type,
                                                .test_func = test_oracle,
                                                .initial_state = (void *)(uintptr_t)&oracles[i]};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
