/* See layer_expect.h. */
#include "layer_expect.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Memory ---------------------------------------------------------------------------------- */

static real *new_reals(size_t count) {
    real *reals = calloc(count ? count : 1, sizeof(real));
    if (!reals)
        fail_case("the test is out of memory");
    return reals;
}

static void make_sums(const expectation *e, sums *s) {
    for (int i = 0; i < MOST_INPUTS; i++) {
        s->x[i] = new_doubles(e->in[i]);
        s->dx[i] = new_doubles(e->in[i]);
    }
    for (int i = 0; i < FV_MAX_WEIGHTS; i++) {
        s->w[i] = new_doubles(e->want.weights[i].count);
        s->dw[i] = new_doubles(e->want.weights[i].count);
        s->next[i] = new_doubles(e->want.weights[i].count);
    }
    s->z = new_doubles(e->out);
    s->y = new_doubles(e->out);
    s->dy = new_doubles(e->out);
    s->dz = new_doubles(e->out);
}

static void free_sums(sums *s) {
    for (int i = 0; i < MOST_INPUTS; i++) {
        free(s->x[i]);
        free(s->dx[i]);
    }
    for (int i = 0; i < FV_MAX_WEIGHTS; i++) {
        free(s->w[i]);
        free(s->dw[i]);
        free(s->next[i]);
    }
    double *others[] = {s->z, s->y, s->dy, s->dz};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        free(others[i]);
}

/* The constants of fovea.h. */
static double default_constant(fv_activation activation) {
    return activation == FV_LEAKY_RELU ? 0.01 : activation == FV_HARD_SIGMOID ? 1.0 / 6 : 1;
}

expectation expectation_new(const layer_case *c, const wanted *want) {
    expectation e = {.c = *c, .want = *want};
    e.activation = c->linear ? FV_LINEAR : want->activation;
    e.constant = want->constant != 0 ? want->constant : default_constant(e.activation);
    e.out = (size_t)c->samples * fv_shape_count(&want->output);
    size_t most = e.out;
    for (int i = 0; i < MOST_INPUTS; i++) {
        e.in[i] = i < c->input_count ? values_in(c, i) : 0;
        if (i == 0 && c->input_count == 0)
            e.in[0] = e.out;
        e.x[i] = new_reals(e.in[i]);
        most = e.in[i] > most ? e.in[i] : most;
    }
    for (int i = 0; i < FV_MAX_WEIGHTS; i++) {
        e.w[i] = new_reals(want->weights[i].count);
        most = want->weights[i].count > most ? want->weights[i].count : most;
    }
    e.dy = new_reals(e.out);
    make_sums(&e, &e.value);
    make_sums(&e, &e.size);
    e.bound = new_doubles(most);
    e.bound_z = new_doubles(e.out);
    e.gradient[0] = new_doubles(e.out);
    e.gradient[1] = new_doubles(e.out);
    return e;
}

void expectation_free(expectation *e) {
    for (int i = 0; i < MOST_INPUTS; i++)
        free(e->x[i]);
    for (int i = 0; i < FV_MAX_WEIGHTS; i++)
        free(e->w[i]);
    free(e->dy);
    free(e->bound);
    free(e->bound_z);
    free(e->gradient[0]);
    free(e->gradient[1]);
    free_sums(&e->value);
    free_sums(&e->size);
}

/* ---- The oracle on new data -------------------------------------------------------------------
 */

static void draw(numbers *n, bool integers, size_t count, real *x) {
    if (integers)
        numbers_integers(n, 3, count, x);
    else
        numbers_floats(n, count, x);
}

static void draw_all(expectation *e) {
    const layer_case *c = &e->c;
    numbers n = {c->seed + e->integers + 2 * c->training + 4 * c->frozen};
    for (int i = 0; i < MOST_INPUTS; i++)
        draw(&n, e->integers, e->in[i], e->x[i]);
    for (size_t i = 0; i < e->in[0] && c->bytes; i++)
        e->x[0][i] = (real)numbers_below(&n, 256);
    for (int i = 0; i < e->want.weight_count; i++)
        draw(&n, e->integers, e->want.weights[i].count, e->w[i]);
    draw(&n, e->integers, e->out, e->dy);
    if (c->oracle->adjust)
        c->oracle->adjust(c, e->integers, e->x, e->w);
}

static void fill_operands(const expectation *e, sums *s, bool absolute) {
    for (int i = 0; i < MOST_INPUTS; i++)
        to_double(e->in[i], e->x[i], s->x[i]);
    for (int i = 0; i < e->want.weight_count; i++)
        to_double(e->want.weights[i].count, e->w[i], s->w[i]);
    to_double(e->out, e->dy, s->dy);
    if (!absolute)
        return;
    for (int i = 0; i < MOST_INPUTS; i++)
        to_absolute(e->in[i], s->x[i], s->x[i]);
    for (int i = 0; i < e->want.weight_count; i++)
        to_absolute(e->want.weights[i].count, s->w[i], s->w[i]);
    to_absolute(e->out, s->dy, s->dy);
}

static void clear(size_t count, double *x) {
    memset(x, 0, count * sizeof(double));
}

static void run_forward(const expectation *e, sums *s) {
    clear(e->out, s->z);
    for (int i = 0; i < e->want.weight_count; i++)
        clear(e->want.weights[i].count, s->next[i]);
    e->c.oracle->forward(&e->c, s);
}

static void run_backward(const expectation *e, sums *s) {
    for (int i = 0; i < e->c.input_count; i++)
        clear(e->in[i], s->dx[i]);
    for (int i = 0; i < e->want.weight_count; i++)
        clear(e->want.weights[i].count, s->dw[i]);
    e->c.oracle->backward(&e->c, s);
}

static void activate(const expectation *e, const double *z, double *y) {
    int channels = e->want.output.channels;
    ref_activate(e->activation, e->constant, e->out / (size_t)channels, channels, z, y);
}

void expect_forward(expectation *e, bool integers, bool training, bool frozen) {
    const oracle *o = e->c.oracle;
    e->integers = integers;
    e->c.training = training;
    e->c.frozen = frozen;
    draw_all(e);
    fill_operands(e, &e->value, false);
    fill_operands(e, &e->size, true);
    run_forward(e, &e->value);
    if (o->forward_size)
        o->forward_size(&e->c, &e->value, &e->size);
    else
        run_forward(e, &e->size);
    activate(e, e->value.z, e->value.y);
    e->backward_known = false;
}

/* ---- Bounds ---------------------------------------------------------------------------------- */

static double larger(double a, double b) {
    return a > b ? a : b;
}

/* A sum of n products, in any order, is off by at most n roundings of the sum of absolute values
 * (Higham 2002, 3.1); 8 more for bias, activation and division. Other than direct algorithms may
 * be off by 1e-4 of the largest. */
static void sum_bound(size_t terms, bool exact, size_t count, const double *value,
                      const double *size, double *bound) {
    double least = 0;
    if (!exact)
        for (size_t i = 0; i < count; i++)
            least = larger(least, 1e-4 * fabs(value[i]));
    for (size_t i = 0; i < count; i++)
        bound[i] = larger(least, ((double)terms + 8) * ROUNDING * size[i] + 1e-36);
}

static bool over_channels(fv_activation activation) {
    return activation == FV_SOFTMAX || activation == FV_LOG_SOFTMAX;
}

/* Of the softmaxes, for a row of channels: relative errors double in exp, absolute ones in log. */
static void softmax_bound(const expectation *e, size_t row, double *bound) {
    size_t end = row + (size_t)e->want.output.channels;
    double largest = -INFINITY, worst = 0;
    const double *y = e->value.y, *z = e->value.z;
    for (size_t i = row; i < end; i++) {
        largest = larger(largest, z[i]);
        worst = larger(worst, bound[i]);
    }
    for (size_t i = row; i < end; i++) {
        double roundings = 16 + e->want.output.channels + (largest - z[i]);
        if (e->activation == FV_SOFTMAX)
            bound[i] = y[i] * (expm1(2 * worst) + ROUNDING * roundings) + 1e-36;
        else
            bound[i] = 2 * worst + ROUNDING * roundings * (1 + fabs(y[i]) + fabs(largest));
    }
}

/* From a bound on z to one on y, in place. No activation is steeper than 2 (but leaky_relu and elu
 * by their constants); exp, tanh and erf are taken to be good to 8 roundings. */
static void activation_bound(const expectation *e, double *bound) {
    const double *y = e->value.y, *z = e->value.z;
    size_t channels = (size_t)e->want.output.channels;
    for (size_t i = 0; i < e->out; i += channels)
        if (over_channels(e->activation))
            softmax_bound(e, i, bound);
    if (over_channels(e->activation) || e->activation == FV_LINEAR || e->activation == FV_RELU)
        return;
    bool narrow = e->activation == FV_SIGMOID || e->activation == FV_TANH;
    double steepest = narrow ? 1 : larger(2, fabs(e->constant));
    for (size_t i = 0; i < e->out; i++)
        bound[i] = steepest * bound[i] +
                   16 * ROUNDING * (narrow ? fabs(y[i]) : 1 + fabs(y[i]) + fabs(z[i]));
}

static double steps_at_kinks(const expectation *e, size_t i) {
    bool near = e->activation == FV_HARD_SWISH && fabs(fabs(e->value.z[i]) - 3) <= e->bound_z[i];
    return near ? 0.5 : 0;
}

/* Derivatives that a layer takes at its own z, which may be off. Second derivatives are at most 2;
 * hard_swish's first has steps. */
static double by_input(const expectation *e, size_t i) {
    switch (e->activation) {
    case FV_GELU:
    case FV_GELU_TANH:
    case FV_SILU:
    case FV_MISH:
    case FV_HARD_SWISH:
    case FV_SOFTPLUS:
    case FV_SOFTSIGN:
        return 2 * e->bound_z[i] + steps_at_kinks(e, i);
    default:
        return 0;
    }
}

/* Of the softmaxes: the absolute values that enter dz_c = y_c (dy_c - sum over k of dy_k y_k), and
 * dz_c = dy_c - exp(y_c) sum over k of dy_k. */
static void softmax_gradient_size(const expectation *e, size_t row, const double *y, double *dz) {
    size_t end = row + (size_t)e->want.output.channels;
    const double *dy = e->size.dy;
    bool logarithm = e->activation == FV_LOG_SOFTMAX;
    double sum = 0;
    for (size_t i = row; i < end; i++)
        sum += logarithm ? dy[i] : dy[i] * fabs(y[i]);
    for (size_t i = row; i < end; i++)
        dz[i] = logarithm ? dy[i] + exp(y[i]) * (1 + fabs(y[i])) * sum : fabs(y[i]) * (dy[i] + sum);
}

/* The absolute values that enter dz; an error of `e` in a derivative counts as e / (8 ROUNDING). */
static void gradient_size(const expectation *e, const double *y, double *size_dz) {
    const double *dy = e->size.dy, *dz = e->value.dz;
    size_t channels = (size_t)e->want.output.channels;
    for (size_t i = 0; i < e->out; i += channels)
        if (over_channels(e->activation))
            softmax_gradient_size(e, i, y, size_dz);
    for (size_t i = 0; i < e->out && !over_channels(e->activation); i++)
        switch (e->activation) {
        case FV_LINEAR:
        case FV_RELU:
        case FV_RELU6:
        case FV_SIGMOID:
            size_dz[i] = fabs(dz[i]);
            break;
        case FV_TANH:
            size_dz[i] = dy[i] * (1 + y[i] * y[i]);
            break;
        default:
            size_dz[i] = dy[i] * (2 + fabs(e->constant) + fabs(e->value.z[i]) + y[i] * y[i] +
                                  by_input(e, i) / (8 * ROUNDING));
        }
}

void expect_backward(expectation *e, const real *own_y) {
    const oracle *o = e->c.oracle;
    int channels = e->want.output.channels;
    size_t bytes = e->out * sizeof(double);
    double *y = new_doubles(e->out);
    to_double(e->out, own_y, y);
    ref_activation_gradient(e->activation, e->constant, e->out / (size_t)channels, channels,
                            e->value.z, y, e->value.dy, e->value.dz);
    gradient_size(e, y, e->size.dz);
    free(y);
    if (e->backward_known && memcmp(e->gradient[0], e->value.dz, bytes) == 0 &&
        memcmp(e->gradient[1], e->size.dz, bytes) == 0)
        return;
    memcpy(e->gradient[0], e->value.dz, bytes);
    memcpy(e->gradient[1], e->size.dz, bytes);
    run_backward(e, &e->value);
    if (o->backward_size)
        o->backward_size(&e->c, &e->value, &e->size);
    else
        run_backward(e, &e->size);
    e->backward_known = true;
}

/* ---- Comparison ------------------------------------------------------------------------------ */

static bool must_be_equal(const expectation *e) {
    bool rounds =
        e->activation != FV_LINEAR && e->activation != FV_RELU && e->activation != FV_RELU6;
    return e->integers && !rounds && !e->want.inexact;
}

void compare_output(expectation *e, bool exact, const real *y) {
    sum_bound(e->want.terms_z, exact, e->out, e->value.z, e->size.z, e->bound_z);
    memcpy(e->bound, e->bound_z, e->out * sizeof(double));
    activation_bound(e, e->bound);
    expect_close("output", e->out, y, e->value.y, must_be_equal(e) ? NULL : e->bound);
}

static void compare(expectation *e, const char *what, size_t terms, bool exact, size_t count,
                    const real *got, const double *value, const double *size) {
    size_t more = over_channels(e->activation) ? (size_t)e->want.output.channels : 0;
    sum_bound(terms + more, exact, count, value, size, e->bound);
    expect_close(what, count, got, value, must_be_equal(e) ? NULL : e->bound);
}

void compare_next(expectation *e, bool exact, int w, const real *next) {
    compare(e, e->want.weights[w].name, e->want.terms_z, exact, e->want.weights[w].count, next,
            e->value.next[w], e->size.next[w]);
}

void compare_input_gradient(expectation *e, bool exact, int input, const real *dx) {
    static const char *const names[MOST_INPUTS] = {"gradient of the input", "gradient of input 2",
                                                   "gradient of input 3", "gradient of input 4"};
    compare(e, names[input], e->want.terms_dx, exact, e->in[input], dx, e->value.dx[input],
            e->size.dx[input]);
}

void compare_weight_gradient(expectation *e, bool exact, int w, const real *dw) {
    char what[64] = "gradient of ";
    strncat(what, e->want.weights[w].name, sizeof what - strlen(what) - 1);
    compare(e, what, e->want.terms_dw, exact, e->want.weights[w].count, dw, e->value.dw[w],
            e->size.dw[w]);
}

/* ---- The oracle's own gradients ---------------------------------------------------------------
 */

/* <dz, z> */
static double objective(expectation *e, sums *s) {
    double sum = 0;
    run_forward(e, s);
    for (size_t i = 0; i < e->out; i++)
        sum += s->dz[i] * s->z[i];
    return sum;
}

/* At a few places of one operand. */
static void check_differences(expectation *e, const char *what, size_t count, double *operand,
                              const double *gradient) {
    enum { PLACES = 8 };
    const double h = 1e-5;
    numbers n = {e->c.seed + count};
    for (int i = 0; i < PLACES && count > 0; i++) {
        size_t at = (size_t)(numbers_next(&n) % count);
        double kept = operand[at];
        operand[at] = kept + h;
        double up = objective(e, &e->value);
        operand[at] = kept - h;
        double down = objective(e, &e->value);
        operand[at] = kept;
        double difference = (up - down) / (2 * h);
        double allowed = 1e-6 * (1 + fabs(gradient[at])) + 1e-10 * fabs(up);
        if (!(fabs(difference - gradient[at]) <= allowed))
            fail_case("the oracle's gradient of %s[%zu of %zu] is %.9g, but differences give %.9g",
                      what, at, count, gradient[at], difference);
    }
}

void check_oracle_gradients(expectation *e) {
    expect_forward(e, false, true, false);
    memcpy(e->value.dz, e->value.dy, e->out * sizeof(double));
    run_backward(e, &e->value);
    for (int i = 0; i < e->c.input_count; i++)
        check_differences(e, "an input", e->in[i], e->value.x[i], e->value.dx[i]);
    for (int i = 0; i < e->want.weight_count; i++)
        if (!e->want.weights[i].statistic)
            check_differences(e, e->want.weights[i].name, e->want.weights[i].count, e->value.w[i],
                              e->value.dw[i]);
}
