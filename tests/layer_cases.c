/* See layer_cases.h. */
#include "layer_cases.h"
#include "layer_expect.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const fv_kernels *tables[MOST_TABLES];
static int table_count;
static fv_pool *pools[3]; /* none, 1 thread, 3 threads */

static struct {
    unsigned cases, refused, runs, gradients;
    unsigned others; /* of the runs: not by the layer's first, direct algorithm */
} counts;

/* ---- One run --------------------------------------------------------------------------------- */

typedef struct mode {
    bool exact;
    const fv_kernels *kernels;
} mode;

const uint32_t sample_epochs[MOST_CASE_SAMPLES] = {0, 1, 7, 7};
const uint32_t sample_indices[MOST_CASE_SAMPLES] = {5, 0, 59999, 4000000000u};

static drive make_drive(const layer_case *c, const mode *m, fv_pool *pool) {
    drive d = {.type = c->type,
               .options = c->options,
               .input_count = c->input_count,
               .kernels = m->kernels,
               .pool = pool,
               .samples = c->samples,
               .batch = c->batch,
               .first_call = c->first_call,
               .training = c->training,
               .frozen = c->frozen,
               .exact = m->exact,
               .bytes = c->bytes,
               .linear = c->linear,
               .seed = c->seed,
               .node = c->node,
               .epochs = sample_epochs,
               .indices = sample_indices};
    for (int i = 0; i < c->input_count; i++) {
        d.inputs[i] = c->inputs[i];
        d.wants_gradient[i] = c->wants_gradient[i] || c->frozen;
    }
    return d;
}

/* The first samples of the data. */
static void fill_drive(drive *d, const expectation *e) {
    for (int i = 0; i < MOST_INPUTS; i++) {
        size_t count = (size_t)d->samples * d->in_count[i];
        if (d->bytes)
            for (size_t k = 0; k < count; k++)
                ((unsigned char *)d->in[i].data)[k] = (unsigned char)e->x[i][k];
        else if (count > 0)
            memcpy(d->in[i].data, e->x[i], count * sizeof(real));
    }
    for (int i = 0; i < e->want.weight_count; i++)
        memcpy(d->weights[i].data, e->w[i], e->want.weights[i].count * sizeof(real));
}

/* Next values of statistics; backward must leave them. */
static void compare_updated(expectation *e, const mode *m, const drive *d) {
    for (int i = 0; i < e->want.weight_count; i++)
        if (e->want.weights[i].updated && d->weight_gradients[i].data)
            compare_next(e, m->exact, i, d->weight_gradients[i].data);
}

static void compare_backward(expectation *e, const mode *m, const drive *d) {
    for (int i = 0; i < d->input_count; i++)
        if (d->in_gradient[i].data)
            compare_input_gradient(e, m->exact, i, d->in_gradient[i].data);
    for (int i = 0; i < e->want.weight_count; i++)
        if (!e->want.weights[i].statistic && d->weight_gradients[i].data)
            compare_weight_gradient(e, m->exact, i, d->weight_gradients[i].data);
    compare_updated(e, m, d);
}

/* With direct algorithms a sample's output does not depend on the batch that it is in. */
static void compare_single(const expectation *e, const mode *m, const real *y) {
    drive d = make_drive(&e->c, m, NULL);
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
    drive d = make_drive(&e->c, m, pool);
    if (drive_prepare(&d))
        fail_case("refused: %s", fv_error_message());
    fill_drive(&d, e);
    drive_forward(&d);
    compare_output(e, m->exact, d.out.data);
    compare_updated(e, m, &d);
    if (!e->c.training && m->exact)
        compare_single(e, m, d.out.data);
    if (e->c.training && e->c.type->backward) {
        expect_backward(e, d.out.data);
        memcpy(d.out_gradient.data, e->dy, e->out * sizeof(real));
        drive_backward(&d);
        compare_backward(e, m, &d);
    }
    counts.runs++;
    counts.others += d.plan.algorithm != 0;
    return d;
}

static void expect_same_run(const drive *got, const drive *first) {
    expect_same_bits("output by another number of threads", got->out.bytes, got->out.data,
                     first->out.data);
    for (int i = 0; i < got->input_count; i++)
        expect_same_bits("gradient of an input by another number of threads",
                         got->in_gradient[i].bytes, got->in_gradient[i].data,
                         first->in_gradient[i].data);
    for (int i = 0; i < got->inference.weight_count; i++)
        expect_same_bits("gradient of the weights by another number of threads",
                         got->weight_gradients[i].bytes, got->weight_gradients[i].data,
                         first->weight_gradients[i].data);
}

/* Layers that run over the whole batch: any number of threads gives the same bits. */
static void run_mode(expectation *e, const mode *m, const char *text) {
    describe("%s, %s, %s data, %s%s, %s", text, m->kernels->name,
             e->integers ? "integer" : "random", e->c.training ? "training" : "inference",
             e->c.frozen ? " frozen" : "", m->exact ? "exact" : "fast");
    drive first = run_once(e, m, NULL);
    for (int p = 1; first.whole && p < 3; p++) {
        drive other = run_once(e, m, pools[p]);
        expect_same_run(&other, &first);
        drive_free(&other);
    }
    drive_free(&first);
}

enum { FAST = 1, EXACT = 2 };

static void run_modes(expectation *e, int exact_modes, const char *text) {
    for (int t = 0; t < table_count; t++)
        for (int exact = 0; exact < 2; exact++)
            if (exact_modes & (1 << exact))
                run_mode(e, &(mode){.exact = exact, .kernels = tables[t]}, text);
}

/* ---- What infer() says ------------------------------------------------------------------------
 */

static const char *shape_text(const fv_shape *shape, char text[64]) {
    text[0] = 0;
    for (int i = 0; i < shape->rank; i++)
        sprintf(text + strlen(text), shape->size[i] == FV_ANY ? "*x" : "%dx", shape->size[i]);
    sprintf(text + strlen(text), "%d", shape->channels);
    return text;
}

static bool same_shape(const fv_shape *a, const fv_shape *b) {
    bool same = a->rank == b->rank && a->channels == b->channels;
    for (int i = 0; i < a->rank && same; i++)
        same = a->size[i] == b->size[i];
    return same;
}

/* How many of the different shapes of the inputs, of which there are *differ, the message names. */
static int shapes_named(const layer_case *c, int *differ) {
    int named = 0;
    *differ = 0;
    for (int i = 0; i < c->input_count; i++) {
        char text[64];
        bool before = false;
        for (int k = 0; k < i; k++)
            before |= same_shape(&c->inputs[i], &c->inputs[k]);
        *differ += !before;
        named += !before && strstr(fv_error_message(), shape_text(&c->inputs[i], text));
    }
    return named;
}

static void check_refusal(const layer_case *c, const wanted *want) {
    fv_inference inference = {0};
    fv_status expected = want->refusal ? want->refusal : FV_SHAPE;
    fv_status status = c->type->infer(c->options, c->inputs, c->input_count, &inference);
    if (status != expected)
        fail_case("infer() gives status %d where no output exists (%s)", (int)status,
                  status ? fv_error_message() : "no error");
    if (want->says && !strstr(fv_error_message(), want->says))
        fail_case("the message lacks \"%s\": %s", want->says, fv_error_message());
    int differ = 0, named = shapes_named(c, &differ);
    if (!want->says && named < (differ < 2 ? differ : 2))
        fail_case("the message does not name the input's shape: %s", fv_error_message());
    counts.refused++;
}

static void check_weights(const fv_inference *inference, const wanted *want) {
    if (inference->weight_count != want->weight_count)
        fail_case("infer() gives %d weights, not %d", inference->weight_count, want->weight_count);
    for (int i = 0; i < want->weight_count; i++) {
        const fv_weight_spec *spec = &inference->weights[i];
        const wanted_weight *w = &want->weights[i];
        size_t count = 1;
        for (int axis = 0; axis < spec->rank; axis++)
            count *= spec->size[axis];
        if (strcmp(spec->name, w->name) != 0 || count != w->count)
            fail_case("weight %d is %s of %zu values, not %s of %zu", i, spec->name, count, w->name,
                      w->count);
        if (spec->statistic != w->statistic || spec->updated != w->updated || spec->bias != w->bias)
            fail_case("weight %s: statistic %d, updated %d, bias %d, not %d, %d, %d", w->name,
                      spec->statistic, spec->updated, spec->bias, w->statistic, w->updated,
                      w->bias);
    }
}

/* A vector may remember the sizes that were folded into it, and what lies beyond an input's axes
 * may be handed on; else axes that do not exist have size 0. */
static bool writes_beyond(const layer_case *c, const fv_shape *output) {
    for (int axis = output->rank; axis > 0 && axis < 3; axis++) {
        bool known = output->size[axis] == 0;
        for (int i = 0; i < c->input_count; i++)
            known |= output->size[axis] == c->inputs[i].size[axis];
        if (!known)
            return true;
    }
    return false;
}

static void check_inference(const layer_case *c, const wanted *want) {
    fv_inference got = {0};
    char texts[2][64];
    if (c->type->infer(c->options, c->inputs, c->input_count, &got))
        fail_case("infer() refuses: %s", fv_error_message());
    if (!same_shape(&got.output, &want->output))
        fail_case("infer() gives the output %s, not %s", shape_text(&got.output, texts[0]),
                  shape_text(&want->output, texts[1]));
    if (writes_beyond(c, &got.output))
        fail_case("infer() writes a size beyond the output's axes");
    if (got.macs != want->macs)
        fail_case("infer() gives %lld macs, not %lld", (long long)got.macs, (long long)want->macs);
    if (got.activation != want->activation)
        fail_case("infer() gives activation %d, not %d", (int)got.activation,
                  (int)want->activation);
    if (want->constant != 0 && got.activation_constant != want->constant)
        fail_case("infer() gives the activation's constant %g, not %g", got.activation_constant,
                  want->constant);
    check_weights(&got, want);
    if (c->type->view && fv_shape_count(&got.output) != fv_shape_count(&c->inputs[0]))
        fail_case("a view of another number of values");
}

/* Sizes that vary are passed on or refused; those of 1 stay, as they may mean a broadcast. */
static void check_any(const layer_case *c, const wanted *want) {
    fv_shape inputs[MOST_INPUTS];
    fv_inference got = {0};
    bool any = false;
    char text[64];
    for (int i = 0; i < c->input_count; i++) {
        inputs[i] = c->inputs[i];
        for (int axis = 0; axis < inputs[i].rank; axis++)
            if (inputs[i].size[axis] > 1) {
                inputs[i].size[axis] = FV_ANY;
                any = true;
            }
    }
    if (!any)
        return;
    fv_status status = c->type->infer(c->options, inputs, c->input_count, &got);
    if (status != (want->refuses_any ? FV_SHAPE : FV_OK))
        fail_case("sizes that vary give status %d: %s", (int)status,
                  status ? fv_error_message() : "no error");
    if (status)
        return;
    fv_shape known = want->output;
    for (int axis = 0; axis < known.rank; axis++)
        if (got.output.size[axis] == FV_ANY)
            known.size[axis] = FV_ANY;
    if (!same_shape(&got.output, &known))
        fail_case("sizes that vary give %s", shape_text(&got.output, text));
    check_weights(&got, want);
}

/* ---- One case -------------------------------------------------------------------------------- */

static bool too_long(const layer_case *c, const wanted *want) {
    int64_t most = full_run() ? 300000 : 100000, work = want->work ? want->work : want->macs;
    if (work == 0)
        work = (int64_t)fv_shape_count(&want->output);
    return !c->any_work && work * c->samples > most;
}

static bool any_weight_learns(const wanted *want) {
    bool any = false;
    for (int i = 0; i < want->weight_count; i++)
        any |= !want->weights[i].statistic;
    return any;
}

/* The first cases that are small. */
static void check_gradients(expectation *e) {
    enum { MOST_CHECKS = 24, MOST_VALUES = 1500 };
    size_t values = e->out;
    for (int i = 0; i < e->c.input_count; i++)
        values += e->in[i];
    if (!e->c.oracle->backward || values > MOST_VALUES || counts.gradients >= MOST_CHECKS)
        return;
    check_oracle_gradients(e);
    counts.gradients++;
}

static void run_case(const layer_case *c, const wanted *want, const char *text) {
    expectation e = expectation_new(c, want);
    int either = c->seed & 1 ? FAST : EXACT;
    check_gradients(&e);
    expect_forward(&e, true, true, false);
    run_modes(&e, EXACT, text);
    expect_forward(&e, false, true, false);
    run_modes(&e, FAST | EXACT, text);
    expect_forward(&e, false, false, false);
    run_modes(&e, either, text);
    if (any_weight_learns(want) && c->input_count > 0 && (full_run() || c->seed & 2)) {
        expect_forward(&e, false, true, true);
        run_modes(&e, either, text);
    }
    expectation_free(&e);
}

void check_case(const layer_case *c, const char *format, ...) {
    char options[256], text[512], shape[64];
    wanted want = {0};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(options, sizeof options, format, arguments);
    va_end(arguments);
    int used = snprintf(text, sizeof text, "%s", c->oracle->type);
    for (int i = 0; i < c->input_count; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, i ? " + %s" : " %s",
                         shape_text(&c->inputs[i], shape));
    snprintf(text + used, sizeof text - (size_t)used, ", %s, %d samples (%d first)%s", options,
             c->samples, c->first_call, c->linear ? ", linear" : "");
    describe("%s", text);
    bool exists = c->oracle->infer(c, &want);
    if (exists && too_long(c, &want))
        return;
    counts.cases++;
    if (!exists) {
        check_refusal(c, &want);
        return;
    }
    check_inference(c, &want);
    check_any(c, &want);
    if (!c->type->view)
        run_case(c, &want, text);
}

/* ---- For cases() ------------------------------------------------------------------------------
 */

layer_case make_join(const oracle *o, numbers *n, const void *options, const fv_shape *inputs,
                     int count) {
    layer_case c = {.oracle = o,
                    .type = fv_layer_type_find(o->type),
                    .options = options,
                    .input_count = count,
                    .samples = numbers_below(n, 2) ? 3 : 1,
                    .linear = numbers_below(n, 5) == 0,
                    .seed = numbers_next(n),
                    .node = (uint32_t)numbers_below(n, 1000)};
    for (int i = 0; i < count; i++) {
        c.inputs[i] = inputs[i];
        c.wants_gradient[i] = numbers_below(n, 4) != 0;
    }
    c.first_call = c.samples > 1 ? numbers_below(n, c.samples) : 0;
    c.batch = c.samples + numbers_below(n, 2);
    return c;
}

layer_case make_case(const oracle *o, numbers *n, const void *options, const fv_shape *input) {
    return make_join(o, n, options, input, 1);
}

const int channel_list[CHANNELS] = {1, 2, 3, 5, 8, 16, 17, 33, 64};

void check_shapes(const oracle *self, const void *options, const char *text) {
    static const fv_shape shapes[] = {{0, {0}, 0},       {1, {1}, 0},       {1, {70}, 0},
                                      {2, {1, 1}, 0},    {2, {7, 6}, 0},    {2, {16, 16}, 0},
                                      {3, {2, 3, 5}, 0}, {3, {4, 4, 4}, 0}, {2, {13, 1}, 0}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int k = 0; k < CHANNELS; k++) {
            numbers n = {i * CHANNELS + (uint64_t)k};
            fv_shape input = shapes[i];
            input.channels = channel_list[k];
            layer_case c = make_case(self, &n, options, &input);
            check_case(&c, "%s", text);
        }
}

fv_activation some_activation(numbers *n) {
    return (fv_activation)numbers_below(n, FV_LOG_SOFTMAX + 1);
}

size_t values_in(const layer_case *c, int input) {
    return (size_t)c->samples * fv_shape_count(&c->inputs[input]);
}

const char *sizes_text(const int sizes[3], char text[48]) {
    sprintf(text, "%dx%dx%d", sizes[0], sizes[1], sizes[2]);
    return text;
}

/* ---- Oracles that several share ---------------------------------------------------------------
 */

bool same_output(const layer_case *c, wanted *w) {
    w->output = c->inputs[0];
    return true;
}

void copy_forward(const layer_case *c, sums *v) {
    memcpy(v->z, v->x[0], values_in(c, 0) * sizeof(double));
}

void copy_backward(const layer_case *c, sums *v) {
    memcpy(v->dx[0], v->dz, values_in(c, 0) * sizeof(double));
}

void want_weight(wanted *w, const char *name, size_t count) {
    w->weights[w->weight_count++] = (wanted_weight){.name = name, .count = count};
}

void want_bias(wanted *w, const char *name, size_t count) {
    w->weights[w->weight_count++] = (wanted_weight){.name = name, .count = count, .bias = true};
}

/* ---- The programs ------------------------------------------------------------------------------
 */

static const struct {
    const char *family, *type;
} lines[] = {
#define ORACLE(family, type) {#family, #type},
#include "oracles.def"
#undef ORACLE
};

static struct {
    const char *family;
    const oracle *oracles;
    int count;
} running;

static void test_every_line_has_an_oracle(void **state) {
    (void)state;
    int expected = 0;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (strcmp(lines[i].family, running.family) != 0)
            continue;
        bool held = false;
        for (int k = 0; k < running.count; k++)
            held = held || strcmp(running.oracles[k].type, lines[i].type) == 0;
        if (!held)
            fail_msg("tests/test_layers_%s.c has no oracle of %s", running.family, lines[i].type);
        expected++;
    }
    assert_int_equal(running.count, expected);
}

static void test_oracle(void **state) {
    const oracle *o = *state;
    const fv_layer_type *type = fv_layer_type_find(o->type);
    if (!type)
        fail_msg("there is no layer type %s", o->type);
    if (races_only() && !type->whole_batch && !type->mixes_samples)
        skip();
    memset(&counts, 0, sizeof counts);
    o->cases(o);
    print_message("%s: %u cases, %u of them refused; %u runs, %u by other than direct algorithms; "
                  "gradients of the oracle held to differences in %u cases\n",
                  o->type, counts.cases, counts.refused, counts.runs, counts.others,
                  counts.gradients);
    assert_true(counts.cases > 0);
    assert_true(counts.gradients > 0 || !o->backward || type->view);
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

int run_family(const char *family, const oracle *oracles, int count) {
    struct CMUnitTest *tests = calloc((size_t)count + 1, sizeof *tests);
    if (!tests)
        return 1;
    running.family = family;
    running.oracles = oracles;
    running.count = count;
    tests[0] = (struct CMUnitTest)cmocka_unit_test(test_every_line_has_an_oracle);
    for (int i = 0; i < count; i++)
        tests[1 + i] = (struct CMUnitTest){.name = oracles[i].type,
                                           .test_func = test_oracle,
                                           .initial_state = (void *)(uintptr_t)&oracles[i]};
    /* The macro counts an array; this is the function behind it. */
    int failed = _cmocka_run_group_tests(family, tests, (size_t)count + 1, set_up, tear_down);
    free(tests);
    return failed;
}
