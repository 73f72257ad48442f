/* Holds normalisation and noise layers to their oracles (layer_cases.h). */
#include "layer_cases.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Where samples, places and channels are -----------------------------------------------------
 */

static int channels_of(const layer_case *c) {
    return c->inputs[0].channels;
}

static int rows_of(const layer_case *c) {
    return (int)(values_in(c, 0) / (size_t)channels_of(c));
}

static int places_of(const layer_case *c) {
    return rows_of(c) / c->samples;
}

/* ---- dropout and spatial_dropout: the contract at the top of src/layers/dropout.c ---------------
 */

static bool is_spatial(const layer_case *c) {
    return strcmp(c->oracle->type, "spatial_dropout") == 0;
}

static double dropout_threshold(const layer_case *c) {
    return round(((const fv_dropout_options *)c->options)->rate * 65536);
}

static double dropout_factor(const layer_case *c, int sample, size_t value) {
    enum { PURPOSE_DROPOUT = 3 };
    uint32_t key[2] = {(uint32_t)c->seed, (uint32_t)(c->seed >> 32)};
    uint32_t stream[3] = {sample_indices[sample], sample_epochs[sample],
                          PURPOSE_DROPOUT + c->node * 256};
    double threshold = dropout_threshold(c);
    size_t number = is_spatial(c) ? value % (size_t)channels_of(c) : value;
    return ref_philox_half(key, stream, number) >= threshold ? 65536 / (65536 - threshold) : 0;
}

static void dropout(const layer_case *c, const double *x, double *y) {
    size_t values = fv_shape_count(&c->inputs[0]);
    for (int s = 0; s < c->samples; s++)
        for (size_t i = 0; i < values; i++)
            y[(size_t)s * values + i] = x[(size_t)s * values + i] * dropout_factor(c, s, i);
}

static void dropout_forward(const layer_case *c, sums *v) {
    if (c->training)
        dropout(c, v->x[0], v->z);
    else
        copy_forward(c, v);
}

static void dropout_backward(const layer_case *c, sums *v) {
    dropout(c, v->dz, v->dx[0]);
}

/* Exact where what is kept grows by a power of two. */
static bool dropout_infer(const layer_case *c, wanted *w) {
    int kept = 65536 - (int)dropout_threshold(c);
    w->inexact = (kept & (kept - 1)) != 0;
    return same_output(c, w);
}

static void dropout_cases(const oracle *self) {
    static const double rates[] = {0.5, 0, 1e-6, 0.1, 0.25, 0.75, 0.999};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++)
        if (i < 2 || full_run() || i % 2 == 0)
            check_shapes(self, &(fv_dropout_options){.rate = rates[i]}, "some rate");
}

/* ---- gaussian_noise: the contract at the top of src/layers/gaussian_noise.c ---------------------
 */

static void noise_forward(const layer_case *c, sums *v) {
    enum { PURPOSE_NOISE = 5 };
    double deviation = ((const fv_gaussian_noise_options *)c->options)->deviation;
    uint32_t key[2] = {(uint32_t)c->seed, (uint32_t)(c->seed >> 32)};
    size_t values = fv_shape_count(&c->inputs[0]);
    copy_forward(c, v);
    for (int s = 0; s < c->samples && c->training; s++) {
        uint32_t stream[3] = {sample_indices[s], sample_epochs[s], PURPOSE_NOISE + c->node * 256};
        for (size_t i = 0; i < values; i++)
            v->z[(size_t)s * values + i] += deviation * ref_normal(key, stream, i);
    }
}

/* The angle is a float of 24 bits times 2 pi, and a normal at most 6. */
static void noise_forward_size(const layer_case *c, const sums *value, sums *size) {
    (void)value;
    double deviation = ((const fv_gaussian_noise_options *)c->options)->deviation;
    for (size_t i = 0; i < values_in(c, 0); i++)
        size->z[i] = size->x[0][i] + (c->training ? 6 * deviation : 0);
}

static bool noise_infer(const layer_case *c, wanted *w) {
    w->inexact = true;
    return same_output(c, w);
}

static void noise_cases(const oracle *self) {
    check_shapes(self, &(fv_gaussian_noise_options){.deviation = 0.1}, "deviation 0.1");
    check_shapes(self, &(fv_gaussian_noise_options){.deviation = 3}, "deviation 3");
    check_shapes(self, &(fv_gaussian_noise_options){.deviation = 0}, "none");
}

/* ---- batch_norm, layer_norm, group_norm, instance_norm ------------------------------------------
 */

typedef struct norm_setting {
    ref_norm norm;
    fv_formula formula;
    double momentum;
    int scale, bias, mean, variance; /* weights; -1: none */
    fv_activation activation;
} norm_setting;

static void number_weights(norm_setting *s, bool no_scale, bool no_bias) {
    int next = 0;
    s->scale = no_scale ? -1 : next++;
    s->bias = no_bias ? -1 : next++;
    bool batch = s->norm.kind == REF_NORM_BATCH;
    s->mean = batch ? next++ : -1;
    s->variance = batch ? next : -1;
}

static norm_setting batch_setting(const fv_batch_norm_options *o) {
    norm_setting s = {.norm = {.kind = REF_NORM_BATCH}, .formula = o->formula};
    s.norm.epsilon = o->epsilon != 0 ? o->epsilon : ref_batch_norm_epsilon(o->formula);
    s.momentum = o->momentum != 0 ? o->momentum : ref_batch_norm_momentum(o->formula);
    s.activation = o->activation;
    number_weights(&s, o->no_scale, o->no_bias);
    return s;
}

static norm_setting sample_setting(ref_norm_kind kind, fv_formula formula, double epsilon,
                                   bool no_scale, bool no_bias) {
    norm_setting s = {.norm = {.kind = kind}, .formula = formula};
    s.norm.epsilon = epsilon != 0 ? epsilon : ref_layer_norm_epsilon(formula);
    number_weights(&s, no_scale, no_bias);
    return s;
}

static norm_setting setting_of(const layer_case *c) {
    norm_setting s;
    if (strcmp(c->oracle->type, "batch_norm") == 0)
        s = batch_setting(c->options);
    else if (strcmp(c->oracle->type, "layer_norm") == 0) {
        const fv_layer_norm_options *o = c->options;
        s = sample_setting(o->all ? REF_NORM_SAMPLE : REF_NORM_LAYER, o->formula, o->epsilon,
                           o->no_scale, o->no_bias);
    } else if (strcmp(c->oracle->type, "group_norm") == 0) {
        const fv_group_norm_options *o = c->options;
        s = sample_setting(REF_NORM_GROUP, o->formula, o->epsilon, o->no_scale, o->no_bias);
        s.norm.groups = o->groups ? o->groups : 32;
    } else {
        const fv_instance_norm_options *o = c->options;
        s = sample_setting(REF_NORM_INSTANCE, o->formula, o->epsilon, o->no_scale, o->no_bias);
    }
    s.norm.samples = c->samples;
    s.norm.places = places_of(c);
    s.norm.channels = channels_of(c);
    return s;
}

/* batch_norm at inference or frozen. */
static bool uses_running(const layer_case *c, const norm_setting *s) {
    return s->norm.kind == REF_NORM_BATCH && (!c->training || c->frozen);
}

typedef struct moments {
    double *mean, *variance;
} moments;

static moments moments_of(const layer_case *c, const norm_setting *s, const sums *v) {
    size_t sets = (size_t)ref_norm_sets(&s->norm);
    moments m = {new_doubles(sets), new_doubles(sets)};
    if (uses_running(c, s)) {
        memcpy(m.mean, v->w[s->mean], sets * sizeof(double));
        memcpy(m.variance, v->w[s->variance], sets * sizeof(double));
    } else
        ref_norm_statistics(&s->norm, v->x[0], m.mean, m.variance);
    return m;
}

static void free_moments(moments *m) {
    free(m->mean);
    free(m->variance);
}

static const double *weight_or(const sums *v, int index) {
    return index < 0 ? NULL : v->w[index];
}

static void norm_forward(const layer_case *c, sums *v) {
    norm_setting s = setting_of(c);
    moments m = moments_of(c, &s, v);
    size_t bytes = (size_t)channels_of(c) * sizeof(double);
    ref_norm_forward(&s.norm, v->x[0], m.mean, m.variance, weight_or(v, s.scale),
                     weight_or(v, s.bias), v->z);
    if (s.norm.kind == REF_NORM_BATCH && !uses_running(c, &s)) {
        memcpy(v->next[s.mean], v->w[s.mean], bytes);
        memcpy(v->next[s.variance], v->w[s.variance], bytes);
        ref_running_statistics(s.formula, s.momentum, channels_of(c), rows_of(c), m.mean,
                               m.variance, v->next[s.mean], v->next[s.variance]);
    }
    free_moments(&m);
}

static void norm_backward(const layer_case *c, sums *v) {
    norm_setting s = setting_of(c);
    moments m = moments_of(c, &s, v);
    ref_norm_gradient(&s.norm, uses_running(c, &s), v->x[0], m.mean, m.variance,
                      weight_or(v, s.scale), v->dz, v->dx[0], s.scale < 0 ? NULL : v->dw[s.scale],
                      s.bias < 0 ? NULL : v->dw[s.bias]);
    free_moments(&m);
}

/* ---- Their sizes: the absolute values that enter
 * -------------------------------------------------- */

/* With the mean of |x| of each set, so that normalized_size() counts what enters the mean. */
static moments moments_size(const layer_case *c, const norm_setting *s, const sums *value) {
    moments m = moments_of(c, s, value);
    int sets = ref_norm_sets(&s->norm), values = (int)values_in(c, 0);
    for (int i = 0; i < sets; i++)
        m.mean[i] = uses_running(c, s) ? fabs(m.mean[i]) : 0;
    for (int i = 0; i < values && !uses_running(c, s); i++)
        m.mean[ref_norm_set(&s->norm, i)] += fabs(value->x[0][i]) * sets / values;
    return m;
}

/* |x| + |mean| over the deviation: its rounding is what is left where x and mean cancel. */
static double normalized_size(const norm_setting *s, const moments *m, const sums *value, int i) {
    int set = ref_norm_set(&s->norm, i);
    return (fabs(value->x[0][i]) + m->mean[set]) / sqrt(m->variance[set] + s->norm.epsilon);
}

static double scale_size(const norm_setting *s, const sums *value, int i) {
    return s->scale < 0 ? 1 : fabs(value->w[s->scale][ref_norm_scale(&s->norm, i)]);
}

static void norm_forward_size(const layer_case *c, const sums *value, sums *size) {
    norm_setting s = setting_of(c);
    moments m = moments_size(c, &s, value);
    for (int i = 0; i < (int)values_in(c, 0); i++) {
        size->z[i] = normalized_size(&s, &m, value, i) * scale_size(&s, value, i);
        if (s.bias >= 0)
            size->z[i] += fabs(value->w[s.bias][ref_norm_scale(&s.norm, i)]);
    }
    for (int i = 0; i < channels_of(c) && s.mean >= 0 && !uses_running(c, &s); i++) {
        size->next[s.mean][i] = fabs(value->w[s.mean][i]) + m.mean[i];
        size->next[s.variance][i] = fabs(value->next[s.variance][i]);
    }
    free_moments(&m);
}

/* dx = (g - mean(g) - h mean(g h)) / deviation, dscale = sum of dz h, dbias = sum of dz. */
static void norm_backward_size(const layer_case *c, const sums *value, sums *size) {
    norm_setting s = setting_of(c);
    moments m = moments_size(c, &s, value);
    int sets = ref_norm_sets(&s.norm), values = (int)values_in(c, 0);
    double *mean_g = new_doubles((size_t)sets), *mean_gh = new_doubles((size_t)sets);
    for (int p = 0; p < ref_norm_scales(&s.norm); p++) {
        if (s.scale >= 0)
            size->dw[s.scale][p] = 0;
        if (s.bias >= 0)
            size->dw[s.bias][p] = 0;
    }
    for (int i = 0; i < values; i++) {
        double g = size->dz[i] * scale_size(&s, value, i), h = normalized_size(&s, &m, value, i);
        int set = ref_norm_set(&s.norm, i), scale = ref_norm_scale(&s.norm, i);
        mean_g[set] += uses_running(c, &s) ? 0 : g * sets / values;
        mean_gh[set] += uses_running(c, &s) ? 0 : g * h * sets / values;
        if (s.scale >= 0)
            size->dw[s.scale][scale] += size->dz[i] * h;
        if (s.bias >= 0)
            size->dw[s.bias][scale] += size->dz[i];
    }
    for (int i = 0; i < values; i++) {
        int set = ref_norm_set(&s.norm, i);
        double g = size->dz[i] * scale_size(&s, value, i), h = normalized_size(&s, &m, value, i);
        size->dx[0][i] =
            (g + mean_g[set] + h * mean_gh[set]) / sqrt(m.variance[set] + s.norm.epsilon);
    }
    free(mean_g);
    free(mean_gh);
    free_moments(&m);
}

/* ---- Their cases
 * --------------------------------------------------------------------------------- */

static bool norm_infer(const layer_case *c, wanted *w) {
    norm_setting s = setting_of(c);
    bool all = s.norm.kind == REF_NORM_SAMPLE;
    size_t scales = all ? fv_shape_count(&c->inputs[0]) : (size_t)channels_of(c);
    w->activation = s.activation;
    w->inexact = true;
    w->refuses_any = all && (s.scale >= 0 || s.bias >= 0);
    w->terms_dw = (size_t)rows_of(c);
    if (s.scale >= 0)
        want_bias(w, "weight", scales);
    if (s.bias >= 0)
        want_bias(w, "bias", scales);
    for (int i = 0; i < 2 && s.mean >= 0; i++)
        w->weights[w->weight_count++] = (wanted_weight){.name = i ? "running_var" : "running_mean",
                                                        .count = scales,
                                                        .statistic = true,
                                                        .updated = true};
    bool divides = s.norm.kind != REF_NORM_GROUP || channels_of(c) % s.norm.groups == 0;
    return same_output(c, w) && divides;
}

/* Variances are positive. Values that share one are spread, so that none is near 0, where all is
 * steep: every other value is moved by 1. */
static void norm_adjust(const layer_case *c, bool integers, real *const *x, real *const *w) {
    norm_setting s = setting_of(c);
    int *seen = calloc((size_t)ref_norm_sets(&s.norm), sizeof(int));
    if (!seen)
        fail_case("the test is out of memory");
    for (int i = 0; i < (int)values_in(c, 0) && !integers; i++)
        x[0][i] += (real)(seen[ref_norm_set(&s.norm, i)]++ % 2);
    free(seen);
    for (int i = 0; s.variance >= 0 && i < channels_of(c); i++)
        w[s.variance][i] =
            (w[s.variance][i] < 0 ? -w[s.variance][i] : w[s.variance][i]) + (real)0.5;
}

enum { FORMULAS = FV_CAFFE + 1 };

static void batch_cases(const oracle *self) {
    for (fv_formula f = FV_KERAS; f <= FV_CAFFE; f++)
        for (int variant = 0; variant < 4; variant++) {
            fv_batch_norm_options o = {.formula = f,
                                       .no_scale = variant & 1,
                                       .no_bias = variant & 2,
                                       .activation = variant == 1 ? FV_RELU : FV_LINEAR};
            if (variant == 3)
                o.momentum = 0.6, o.epsilon = 0.01;
            if (variant == 0 || full_run() || variant == (int)f)
                check_shapes(self, &o, fv_formula_names[f]);
        }
    fv_batch_norm_options o = {.activation = FV_SOFTPLUS};
    numbers n = {1};
    layer_case c = make_case(self, &n, &o, &(fv_shape){2, {61, 67}, 17}); /* sums in parts */
    c.any_work = true;
    check_case(&c, "many rows");
}

static void layer_cases(const oracle *self) {
    for (int variant = 0; variant < 8; variant++) {
        fv_layer_norm_options o = {.all = variant & 1,
                                   .formula = (fv_formula)(variant / 2 % FORMULAS),
                                   .no_scale = variant == 4 || variant == 7,
                                   .no_bias = variant >= 6,
                                   .epsilon = variant == 5 ? 0.1 : 0};
        check_shapes(self, &o, o.all ? "all" : "channels");
    }
}

static void group_cases(const oracle *self) {
    static const int groups[] = {0, 1, 2, 4, 8, 33};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        fv_group_norm_options o = {.groups = groups[i],
                                   .formula = (fv_formula)(i % FORMULAS),
                                   .no_scale = i == 2,
                                   .no_bias = i == 2 || i == 3,
                                   .epsilon = i == 4 ? 0.1 : 0};
        check_shapes(self, &o, "some groups");
    }
}

static void instance_cases(const oracle *self) {
    for (int variant = 0; variant < 4; variant++)
        check_shapes(self,
                     &(fv_instance_norm_options){.formula = (fv_formula)variant,
                                                 .no_scale = variant & 1,
                                                 .no_bias = variant & 2,
                                                 .epsilon = variant == 2 ? 0.1 : 0},
                     fv_formula_names[variant]);
}

/* ---- rms_norm, l2_normalize
 * ---------------------------------------------------------------------- */

/* The first channel is 1/2 or more, so that no row is near 0, where both are steep. */
static void row_adjust(const layer_case *c, bool integers, real *const *x, real *const *w) {
    (void)integers, (void)w;
    for (int r = 0; r < rows_of(c); r++) {
        real *first = &x[0][r * channels_of(c)];
        *first += *first < 0 ? (real)-0.5 : (real)0.5;
    }
}

static double rms_epsilon(const layer_case *c) {
    double epsilon = ((const fv_rms_norm_options *)c->options)->epsilon;
    return epsilon != 0 ? epsilon : 1e-6;
}

static bool rms_infer(const layer_case *c, wanted *w) {
    const fv_rms_norm_options *o = c->options;
    w->inexact = true;
    w->terms_dw = (size_t)rows_of(c);
    if (!o->no_scale)
        want_bias(w, "weight", (size_t)channels_of(c));
    return same_output(c, w);
}

static const double *rms_scale(const layer_case *c, const sums *v) {
    return ((const fv_rms_norm_options *)c->options)->no_scale ? NULL : v->w[0];
}

static void rms_forward(const layer_case *c, sums *v) {
    ref_rms_norm(rows_of(c), channels_of(c), rms_epsilon(c), v->x[0], rms_scale(c, v), v->z);
}

static void rms_backward(const layer_case *c, sums *v) {
    const double *scale = rms_scale(c, v);
    ref_rms_norm_gradient(rows_of(c), channels_of(c), rms_epsilon(c), v->x[0], scale, v->dz,
                          v->dx[0], scale ? v->dw[0] : NULL);
}

/* dx = r g - r^3 x mean(g x) with a plus. */
static void rms_backward_size(const layer_case *c, const sums *value, sums *size) {
    int channels = channels_of(c);
    const double *scale = rms_scale(c, size);
    (void)value;
    rms_backward(c, size);
    for (int r = 0; r < rows_of(c); r++) {
        const double *x = size->x[0] + (size_t)r * (size_t)channels;
        double squares = 0;
        for (int i = 0; i < channels; i++)
            squares += x[i] * x[i] / channels;
        for (int i = 0; i < channels; i++) {
            int at = r * channels + i;
            double plain = size->dz[at] * (scale ? scale[i] : 1) / sqrt(squares + rms_epsilon(c));
            size->dx[0][at] = plain + fabs(size->dx[0][at] - plain);
        }
    }
}

static void rms_cases(const oracle *self) {
    check_shapes(self, &(fv_rms_norm_options){0}, "defaults");
    check_shapes(self, &(fv_rms_norm_options){.epsilon = 0.1}, "epsilon 0.1");
    check_shapes(self, &(fv_rms_norm_options){.no_scale = true}, "no scale");
}

static double l2_epsilon(const layer_case *c) {
    double epsilon = ((const fv_l2_normalize_options *)c->options)->epsilon;
    return epsilon != 0 ? epsilon : 1e-12;
}

static bool inexact_infer(const layer_case *c, wanted *w) {
    w->inexact = true;
    return same_output(c, w);
}

static void l2_forward(const layer_case *c, sums *v) {
    ref_l2_normalize(rows_of(c), channels_of(c), l2_epsilon(c), v->x[0], v->z);
}

static void l2_backward(const layer_case *c, sums *v) {
    ref_l2_normalize_gradient(rows_of(c), channels_of(c), l2_epsilon(c), v->x[0], v->dz, v->dx[0]);
}

/* dx = r dy - r^3 x sum(dy x) with a plus. */
static void l2_backward_size(const layer_case *c, const sums *value, sums *size) {
    int channels = channels_of(c);
    (void)value;
    l2_backward(c, size);
    for (int r = 0; r < rows_of(c); r++) {
        const double *x = size->x[0] + (size_t)r * (size_t)channels;
        double length = sqrt(fmax(pow(ref_length((size_t)channels, x), 2), l2_epsilon(c)));
        for (int i = 0; i < channels; i++) {
            double plain = size->dz[r * channels + i] / length;
            double *dx = &size->dx[0][r * channels + i];
            *dx = plain + fabs(*dx - plain);
        }
    }
}

/* The last epsilon is above the squares of many rows; none is as near to it as differences are. */
static void l2_cases(const oracle *self) {
    check_shapes(self, &(fv_l2_normalize_options){0}, "default");
    check_shapes(self, &(fv_l2_normalize_options){.epsilon = 1.7}, "epsilon 1.7");
}

/* ---- lrn
 * ------------------------------------------------------------------------------------------ */

static void lrn_forward(const layer_case *c, sums *v) {
    ref_lrn(rows_of(c), channels_of(c), c->options, v->x[0], v->z);
}

static void lrn_backward(const layer_case *c, sums *v) {
    ref_lrn_gradient(rows_of(c), channels_of(c), c->options, v->x[0], v->dz, v->dx[0]);
}

/* dx_i = dy_i base_i^-beta less a sum: the first is y_i dy_i / x_i, the rest is made a sum. */
static void lrn_backward_size(const layer_case *c, const sums *value, sums *size) {
    (void)value;
    double *y = new_doubles(values_in(c, 0));
    lrn_backward(c, size);
    ref_lrn(rows_of(c), channels_of(c), c->options, size->x[0], y);
    for (size_t i = 0; i < values_in(c, 0); i++) {
        double x = size->x[0][i], plain = x > 0 ? y[i] / x * size->dz[i] : size->dz[i];
        size->dx[0][i] = plain + fabs(plain - size->dx[0][i]);
    }
    free(y);
}

/* base^-beta is exp(-beta log base): beta times the rounding of log base, which is small. */
static bool lrn_infer(const layer_case *c, wanted *w) {
    const fv_lrn_options *o = c->options;
    w->terms_z = w->terms_dx = (size_t)(o->size ? o->size : 5) + 8;
    return inexact_infer(c, w);
}

/* Even sizes are a matter of torch and onnx; larger windows than there are channels. */
static void lrn_cases(const oracle *self) {
    static const int sizes[] = {0, 1, 2, 3, 4, 7, 70};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (fv_formula f = FV_KERAS; f <= FV_CAFFE; f++) {
            fv_lrn_options o = {.size = sizes[i], .formula = f};
            bool even = sizes[i] && sizes[i] % 2 == 0;
            if (i % 3 == 1)
                o.alpha = 0.7, o.beta = 0.6, o.k = 2;
            if (i % 3 == 2)
                o.alpha = 2, o.beta = 1.25;
            if (!even || f == FV_TORCH || f == FV_ONNX)
                if (full_run() || i == 0 || i % FORMULAS == f || even)
                    check_shapes(self, &o, fv_formula_names[f]);
        }
}

/* ---- The list
 * ------------------------------------------------------------------------------------- */

#define DROPOUT_ORACLE(name)                                                                       \
    {                                                                                              \
        .type = name, .cases = dropout_cases, .infer = dropout_infer, .forward = dropout_forward,  \
        .backward = dropout_backward                                                               \
    }
#define NORM_ORACLE(name, cases_of)                                                                \
    {                                                                                              \
        .type = name, .cases = cases_of, .infer = norm_infer, .forward = norm_forward,             \
        .backward = norm_backward, .forward_size = norm_forward_size,                              \
        .backward_size = norm_backward_size, .adjust = norm_adjust                                 \
    }

static const oracle oracles[] = {
    DROPOUT_ORACLE("dropout"),
    DROPOUT_ORACLE("spatial_dropout"),
    {.type = "gaussian_noise",
     .cases = noise_cases,
     .infer = noise_infer,
     .forward = noise_forward,
     .backward = copy_backward,
     .forward_size = noise_forward_size},
    NORM_ORACLE("batch_norm", batch_cases),
    NORM_ORACLE("layer_norm", layer_cases),
    NORM_ORACLE("group_norm", group_cases),
    NORM_ORACLE("instance_norm", instance_cases),
    {.type = "rms_norm",
     .cases = rms_cases,
     .infer = rms_infer,
     .forward = rms_forward,
     .backward = rms_backward,
     .backward_size = rms_backward_size,
     .adjust = row_adjust},
    {.type = "l2_normalize",
     .cases = l2_cases,
     .infer = inexact_infer,
     .forward = l2_forward,
     .backward = l2_backward,
     .backward_size = l2_backward_size,
     .adjust = row_adjust},
    {.type = "lrn",
     .cases = lrn_cases,
     .infer = lrn_infer,
     .forward = lrn_forward,
     .backward = lrn_backward,
     .backward_size = lrn_backward_size},
};

int main(void) {
    return run_family("norm", oracles, sizeof oracles / sizeof oracles[0]);
}
