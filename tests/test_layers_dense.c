/* Holds layers on vectors, and the input layer, to their oracles (layer_cases.h). */
#include "layer_cases.h"
#include <math.h>
#include <string.h>

/* ---- input: x is the source ------------------------------------------------------------------ */

static bool input_infer(const layer_case *c, wanted *w) {
    const fv_input_options *o = c->options;
    w->output = o->shape;
    w->inexact = o->scale != 0 || o->means != 0 || o->deviations != 0;
    return true;
}

static void input_forward(const layer_case *c, sums *v) {
    ref_input(c->options, c->samples, v->x[0], v->z);
}

static void input_forward_size(const layer_case *c, const sums *value, sums *size) {
    (void)value;
    fv_input_options o = *(const fv_input_options *)c->options;
    o.scale = fabs(o.scale);
    for (int i = 0; i < 4; i++)
        o.mean[i] = -fabs(o.mean[i]);
    ref_input(&o, c->samples, size->x[0], size->z);
}

static void input_cases(const oracle *self) {
    static const fv_shape shapes[] = {{0, {0}, 5},     {1, {9}, 1},       {2, {28, 28}, 1},
                                      {2, {7, 5}, 3},  {3, {3, 4, 5}, 2}, {2, {6, 6}, 4},
                                      {2, {64, 64}, 3}};
    static const double scales[] = {0, 1 / 255.0, -0.5, 2};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (unsigned variant = 0; variant < 72; variant++) {
            numbers n = {i * 100 + variant};
            fv_input_options o = {.shape = shapes[i],
                                  .scale = scales[variant % 4],
                                  .mean = {0.485, -0.456, 0.406, 1},
                                  .deviation = {0.229, 0.224, 3.5, 1}};
            int means = (int)(variant / 4 % 3);
            o.means = means < 2 ? means : o.shape.channels > 4 ? 0 : o.shape.channels;
            int deviations = (int)(variant / 24);
            o.deviations = deviations < 2         ? deviations
                           : o.shape.channels > 4 ? 0
                                                  : o.shape.channels;
            layer_case c = make_join(self, &n, &o, NULL, 0);
            c.bytes = variant / 12 % 2;
            check_case(&c, "shape %zu of %s, scale %g, %d means, %d deviations", i,
                       c.bytes ? "bytes" : "floats", o.scale, o.means, o.deviations);
        }
}

/* ---- dense ----------------------------------------------------------------------------------- */

static bool dense_infer(const layer_case *c, wanted *w) {
    const fv_dense_options *o = c->options;
    size_t inputs = (size_t)c->inputs[0].channels, units = (size_t)o->units;
    w->output = (fv_shape){.channels = o->units};
    w->macs = (int64_t)(inputs * units);
    w->activation = o->activation;
    want_weight(w, "weight", inputs * units);
    if (!o->no_bias)
        want_bias(w, "bias", units);
    w->terms_z = inputs + 1;
    w->terms_dx = units;
    w->terms_dw = (size_t)c->samples;
    return c->inputs[0].rank == 0;
}

static void dense_forward(const layer_case *c, sums *v) {
    const fv_dense_options *o = c->options;
    ref_dense(c->samples, c->inputs[0].channels, o->units, v->x[0], v->w[0],
              o->no_bias ? NULL : v->w[1], v->z);
}

static void dense_backward(const layer_case *c, sums *v) {
    const fv_dense_options *o = c->options;
    int inputs = c->inputs[0].channels;
    ref_dense_input_gradient(c->samples, inputs, o->units, v->dz, v->w[0], v->dx[0]);
    ref_dense_weight_gradient(c->samples, inputs, o->units, v->x[0], v->dz, v->dw[0]);
    if (!o->no_bias)
        ref_bias_back((size_t)c->samples, (size_t)o->units, v->dz, v->dw[1]);
}

static void dense_case(const oracle *self, numbers *n, const fv_shape *input, int units,
                       int samples) {
    fv_dense_options o = {
        .units = units, .activation = some_activation(n), .no_bias = numbers_below(n, 3) == 0};
    layer_case c = make_case(self, n, &o, input);
    c.samples = samples;
    c.batch = samples + numbers_below(n, 3);
    c.any_work = true;
    check_case(&c, "to %d, %s%s", units, fv_activation_names[o.activation],
               o.no_bias ? ", no bias" : "");
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

/* ---- rbf ------------------------------------------------------------------------------------- */

/* Its weights are a statistic unless they learn. */
static bool rbf_infer(const layer_case *c, wanted *w) {
    const fv_rbf_options *o = c->options;
    size_t inputs = (size_t)c->inputs[0].channels, units = (size_t)o->units;
    w->output = (fv_shape){.channels = o->units};
    w->macs = (int64_t)(inputs * units);
    want_weight(w, "weight", inputs * units);
    w->weights[0].statistic = !o->learn;
    w->terms_z = inputs;
    w->terms_dx = units;
    w->terms_dw = (size_t)c->samples;
    return c->inputs[0].rank == 0;
}

static void rbf_forward(const layer_case *c, sums *v) {
    const fv_rbf_options *o = c->options;
    ref_rbf(c->samples, c->inputs[0].channels, o->units, v->x[0], v->w[0], v->z);
}

static void rbf_backward(const layer_case *c, sums *v) {
    const fv_rbf_options *o = c->options;
    ref_rbf_back(c->samples, c->inputs[0].channels, o->units, v->x[0], v->w[0], v->dz, v->dx[0],
                 v->dw[0]);
}

static void negate(size_t count, double *x) {
    for (size_t i = 0; i < count; i++)
        x[i] = -x[i];
}

static size_t rbf_weights(const layer_case *c) {
    return (size_t)(((const fv_rbf_options *)c->options)->units * c->inputs[0].channels);
}

/* (|x| + |w|)^2 is what |x| and -|w| give. */
static void rbf_forward_size(const layer_case *c, const sums *value, sums *size) {
    (void)value;
    negate(rbf_weights(c), size->w[0]);
    rbf_forward(c, size);
    negate(rbf_weights(c), size->w[0]);
}

static void rbf_backward_size(const layer_case *c, const sums *value, sums *size) {
    (void)value;
    memset(size->dx[0], 0, values_in(c, 0) * sizeof(double));
    memset(size->dw[0], 0, rbf_weights(c) * sizeof(double));
    negate(rbf_weights(c), size->w[0]);
    rbf_backward(c, size);
    negate(rbf_weights(c), size->w[0]);
    negate(rbf_weights(c), size->dw[0]);
}

static void rbf_cases(const oracle *self) {
    static const int sizes[] = {1, 2, 3, 5, 10, 16, 17, 33, 64, 84};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    for (int inputs = 0; inputs < COUNT; inputs++)
        for (int units = 0; units < COUNT; units++) {
            numbers n = {(uint64_t)(inputs * 100 + units)};
            fv_rbf_options o = {.units = sizes[units], .learn = numbers_below(&n, 2)};
            fv_shape input = {.channels = sizes[inputs]};
            layer_case c = make_case(self, &n, &o, &input);
            check_case(&c, "%d units%s", o.units, o.learn ? ", learn" : "");
        }
    fv_shape picture = {2, {3, 5}, 2};
    layer_case c = make_case(self, &(numbers){3}, &(fv_rbf_options){.units = 3}, &picture);
    check_case(&c, "refused");
}

/* ---- The list -------------------------------------------------------------------------------- */

static const oracle oracles[] = {
    {.type = "input",
     .cases = input_cases,
     .infer = input_infer,
     .forward = input_forward,
     .forward_size = input_forward_size},
    {.type = "dense",
     .cases = dense_cases,
     .infer = dense_infer,
     .forward = dense_forward,
     .backward = dense_backward},
    {.type = "rbf",
     .cases = rbf_cases,
     .infer = rbf_infer,
     .forward = rbf_forward,
     .backward = rbf_backward,
     .forward_size = rbf_forward_size,
     .backward_size = rbf_backward_size},
};

int main(void) {
    return run_family("dense", oracles, sizeof oracles / sizeof oracles[0]);
}
