/* Holds the oracles of normalisation to PyTorch 2.15 (double precision, on the CPU) and to central
 * differences. The numbers were printed by torch.nn.functional: batch_norm(x, 0, 1, s, b, True,
 * 0.1, 1e-5), the same with False (frozen), layer_norm of the channels (1e-3) and of all (1e-5),
 * group_norm (2 groups, 1e-3), instance_norm (1e-5), rms_norm (1e-6), normalize,
 * local_response_norm(x, size, 0.7, 0.6, 1.5), on x of 2 samples, 3 places, 4 channels, after
 * y.backward(dy). */
#include "doubles.h"
#include "reference/reference.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SAMPLES = 2, PLACES = 3, CHANNELS = 4, COUNT = SAMPLES * PLACES * CHANNELS, SHOWN = 5 };

/* Every fifth value of y and dx; the first four of the gradients of scale and bias. */
static const struct known {
    const char *name;
    double y[SHOWN], dx[SHOWN], dscale[4], dbias[4];
} known[] = {
    {"batch",
     {-0.9176587960398628, 1.865927021066645, -0.6942769659313708, 1.717410414837238,
      -0.7344267630084083},
     {0.2425932878648255, 0.1346527863585499, 0.05585583346879596, -0.2054361434076993,
      -0.2189471980947909},
     {0.1236816222962316, 0.1236816222962316, -0.05717575013552474, 0.7061151753917997},
     {-7.5, 6.300000000000001, 1.5, -3.3}},
    {"frozen",
     {-1.016493859286064, 1.667749275562, -0.5303287600696678, 1.674992125059062,
      -0.8531950874288514},
     {-0.8164938592860644, 2.1212991306744, 0.3181972560418007, -1.049994750039375,
      -1.224740788929097},
     {1.437029192343474, -6.194193461569249, 0.02121315040278679, 2.109989450079124},
     {-7.5, 6.300000000000001, 1.5, -3.3}},
    {"layer",
     {-0.4916934779611726, 0.4576246709318381, -0.6691496051182059, 1.626427973841852,
      1.138299210236412},
     {-0.9398325043017963, 3.211751649441737, 1.137582071221891, -0.4012396792933944,
      -2.519298326732349},
     {-5.533544491842792, -0.0645618683489102, -0.5546888175628998, 2.178965706240704},
     {-7.5, 6.300000000000001, 1.5, -3.3}},
    {"all",
     {-0.9479584174976969, 1.75160539980726, -1.19057427487041, 1.83478888162626,
      -0.315729810994044},
     {-1.01500844305445, 1.831320437874966, 0.4322567419619595, -0.2894033247208085,
      -2.053290971833939},
     {2.035925761269665, -2.733315146893592, -0.3766071284622401, -1.341750174312587},
     {-2.3, 2.3, 0.7, -0.8999999999999999}},
    {"group",
     {-1.085925137742831, 1.284258027723173, -0.8439777212703051, 1.953261837747796,
      -0.2316401834908153},
     {-1.373520985778234, 1.5270601312779, 0.3081586753212157, -0.5760230265837047,
      -1.301452778765336},
     {-1.594665247937095, -1.366855926803224, -0.2385693284272354, 0.3556358741259372},
     {-7.5, 6.300000000000001, 1.5, -3.3}},
    {"instance",
     {-1.296198868635181, 1.55235858875156, -0.3385320035491002, 2.243297245753329,
      -0.4256880023660667},
     {0.06595722110596265, 0.04637553484041437, -0.1545864734674413, 7.848942945115467e-07,
      -0.1030576489782941},
     {-0.1741021732538227, -0.1741021732538231, 0.157897170030612, 0.4898965133150467},
     {-7.5, 6.300000000000001, 1.5, -3.3}},
    {"rms",
     {-0.5874076747349115, 1.369305823218941, -1.60356601971981, 1.363228708049945,
      -0.5091749425149676},
     {-0.8739695247353572, 1.314533635933673, 0.6681523889038529, -0.5400254671137076,
      -0.9153026682439667},
     {-1.348858771298772, -1.379382576275486, -0.3610637621051603, 1.292322461517964},
     {0}},
    {"l2",
     {-0.2937038999241769, 0.5477225575051661, -0.5345224838248488, 0.3894939865127869,
      -0.2545875386086577},
     {-0.3964012167240755, 0.5659799760886717, 0.1813558427262879, -0.1671795760366996,
      -0.4886329610068286},
     {0},
     {0}},
    {"lrn 3",
     {-0.5794116883198744, 0.6791101658841581, -0.5242463272195902, 0.738105943317399,
      -0.476763976074273},
     {-0.6577324279839958, 0.680792060470478, 0.1813332073951277, -0.2945670574566805,
      -0.9896288651902566},
     {0},
     {0}},
    {"lrn 4",
     {-0.6051979980397727, 0.7257525128304625, -0.5456790843189802, 0.6722647560997309,
      -0.4923758012840931},
     {-0.7156036499913787, 0.7502847045681715, 0.1929362927318322, -0.2863893704700646,
      -1.031562757829396},
     {0},
     {0}},
    {"lrn 5",
     {-0.5525871835078502, 0.7534689387077614, -0.5597125987894896, 0.7161587585627762,
      -0.454636888105536},
     {-0.6502639334630083, 0.7676279861556355, 0.2057443764385759, -0.2352171430557338,
      -0.9581799835769972},
     {0},
     {0}},
};

static const struct known *known_as(const char *name) {
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0)
            return &known[i];
    fail_msg("nothing is known as %s", name);
    return NULL;
}

/* The numbers that both sides start from. */
typedef struct data {
    double x[COUNT], dy[COUNT], scale[COUNT], bias[COUNT];
    double mean[COUNT], variance[COUNT];
    double y[COUNT], dx[COUNT], dscale[COUNT], dbias[COUNT];
} data;

static data make_data(bool all) {
    data d = {0};
    for (int i = 0; i < COUNT; i++) {
        d.x[i] = ((i * 37 + 11) % 41 - 20) / 10.0;
        d.dy[i] = ((i * 23 + 5) % 31 - 15) / 10.0;
        d.scale[i] = 1 + i / (all ? 8.0 : 4.0);
        d.bias[i] = i / (all ? 20.0 : 10.0) - 0.2;
    }
    return d;
}

static void expect_known(const char *name, const data *d, bool scale, bool bias) {
    const struct known *k = known_as(name);
    for (int i = 0; i < SHOWN; i++) {
        expect_doubles(name, 1, d->y + (size_t)i * 5, k->y + i, 1e-14);
        expect_doubles(name, 1, d->dx + (size_t)i * 5, k->dx + i, 1e-13);
    }
    if (scale)
        expect_doubles(name, 4, d->dscale, k->dscale, 1e-13);
    if (bias)
        expect_doubles(name, 4, d->dbias, k->dbias, 1e-13);
}

/* ---- With mean and variance --------------------------------------------------------------------
 */

typedef struct question {
    ref_norm norm;
    bool fixed;
    const data *data;
    enum { BY_X, BY_SCALE, BY_BIAS } by;
} question;

static double weighted(const void *argument, const double *v) {
    const question *q = argument;
    const data *d = q->data;
    double mean[COUNT], variance[COUNT], y[COUNT];
    const double *x = q->by == BY_X ? v : d->x;
    memcpy(mean, d->mean, sizeof mean);
    memcpy(variance, d->variance, sizeof variance);
    if (!q->fixed)
        ref_norm_statistics(&q->norm, x, mean, variance);
    ref_norm_forward(&q->norm, x, mean, variance, q->by == BY_SCALE ? v : d->scale,
                     q->by == BY_BIAS ? v : d->bias, y);
    return dot(COUNT, d->dy, y);
}

static void check_norm(const char *name, ref_norm norm, bool fixed) {
    data d = make_data(norm.kind == REF_NORM_SAMPLE);
    if (fixed) {
        memcpy(d.mean, (double[]){0.1, 0.2, -0.3, 0.4}, 4 * sizeof(double));
        memcpy(d.variance, (double[]){1.5, 0.5, 2, 1}, 4 * sizeof(double));
    } else
        ref_norm_statistics(&norm, d.x, d.mean, d.variance);
    ref_norm_forward(&norm, d.x, d.mean, d.variance, d.scale, d.bias, d.y);
    ref_norm_gradient(&norm, fixed, d.x, d.mean, d.variance, d.scale, d.dy, d.dx, d.dscale,
                      d.dbias);
    expect_known(name, &d, true, true);
    data copy = d; /* expect_differences() moves what it tries */
    size_t scales = (size_t)ref_norm_scales(&norm);
    question q = {norm, fixed, &d, BY_X};
    expect_differences(name, weighted, &q, COUNT, copy.x, d.dx, 1e-7);
    q.by = BY_SCALE;
    expect_differences(name, weighted, &q, scales, copy.scale, d.dscale, 1e-8);
    q.by = BY_BIAS;
    expect_differences(name, weighted, &q, scales, copy.bias, d.dbias, 1e-8);
}

static void test_norms(void **state) {
    (void)state;
    ref_norm n = {REF_NORM_BATCH, SAMPLES, PLACES, CHANNELS, 2, 1e-5};
    check_norm("batch", n, false);
    check_norm("frozen", n, true);
    n.kind = REF_NORM_SAMPLE;
    check_norm("all", n, false);
    n.kind = REF_NORM_INSTANCE;
    check_norm("instance", n, false);
    n.epsilon = 1e-3;
    n.kind = REF_NORM_LAYER;
    check_norm("layer", n, false);
    n.kind = REF_NORM_GROUP;
    check_norm("group", n, false);
}

/* Without scale and bias they are 1 and 0. */
static void test_without_scale(void **state) {
    (void)state;
    ref_norm n = {REF_NORM_LAYER, SAMPLES, PLACES, CHANNELS, 0, 1e-3};
    data a = make_data(false), b = a;
    for (int i = 0; i < COUNT; i++)
        a.scale[i] = 1, a.bias[i] = 0;
    ref_norm_statistics(&n, a.x, a.mean, a.variance);
    ref_norm_forward(&n, a.x, a.mean, a.variance, a.scale, a.bias, a.y);
    ref_norm_forward(&n, a.x, a.mean, a.variance, NULL, NULL, b.y);
    expect_doubles("y", COUNT, b.y, a.y, 0);
    ref_norm_gradient(&n, false, a.x, a.mean, a.variance, a.scale, a.dy, a.dx, NULL, NULL);
    ref_norm_gradient(&n, false, a.x, a.mean, a.variance, NULL, a.dy, b.dx, NULL, NULL);
    expect_doubles("dx", COUNT, b.dx, a.dx, 0);
}

/* PyTorch's running statistics from 0 and 1 (above, batch_norm); the other formulas by hand: n is
 * 6, so biased variances are 5 / 6 of PyTorch's. */
static void test_running(void **state) {
    (void)state;
    static const double torch_mean[] = {-0.011666666666666665, -0.05166666666666667,
                                        -0.02333333333333333, 0.005000000000000003};
    static const double torch_variance[] = {1.0429666666666666, 1.0429666666666666,
                                            1.0798666666666668, 1.1195};
    ref_norm n = {REF_NORM_BATCH, SAMPLES, PLACES, CHANNELS, 0, 0};
    data d = make_data(false);
    ref_norm_statistics(&n, d.x, d.mean, d.variance);
    for (fv_formula f = FV_KERAS; f <= FV_CAFFE; f++) {
        double mean[CHANNELS] = {0}, variance[CHANNELS] = {1, 1, 1, 1};
        double m = ref_batch_norm_momentum(f), wanted_mean[CHANNELS], wanted[CHANNELS];
        ref_running_statistics(f, m, CHANNELS, SAMPLES * PLACES, d.mean, d.variance, mean,
                               variance);
        bool biased = f == FV_KERAS || f == FV_ONNX;
        for (int c = 0; c < CHANNELS; c++) {
            double unbiased = (torch_variance[c] - 0.9) / 0.1;
            wanted_mean[c] = torch_mean[c] / 0.1 * (1 - m);
            wanted[c] = m + (1 - m) * unbiased * (biased ? 5.0 / 6 : 1);
        }
        expect_doubles("running mean", CHANNELS, mean, wanted_mean, 1e-14);
        expect_doubles("running variance", CHANNELS, variance, wanted, 1e-14);
    }
    double mean = 0, variance = 1; /* one value: no unbiased variance */
    ref_running_statistics(FV_CAFFE, 0.5, 1, 1, (double[]){3}, (double[]){0}, &mean, &variance);
    assert_true(mean == 1.5 && variance == 0.5);
}

/* ---- Without a mean ----------------------------------------------------------------------------
 */

static double weighted_rms(const void *argument, const double *x) {
    const data *d = argument;
    double y[COUNT];
    ref_rms_norm(SAMPLES * PLACES, CHANNELS, 1e-6, x, d->scale, y);
    return dot(COUNT, d->dy, y);
}

static double weighted_rms_scale(const void *argument, const double *scale) {
    const data *d = argument;
    double y[COUNT];
    ref_rms_norm(SAMPLES * PLACES, CHANNELS, 1e-6, d->x, scale, y);
    return dot(COUNT, d->dy, y);
}

static void test_rms(void **state) {
    (void)state;
    data d = make_data(false);
    int rows = SAMPLES * PLACES;
    ref_rms_norm(rows, CHANNELS, 1e-6, d.x, d.scale, d.y);
    ref_rms_norm_gradient(rows, CHANNELS, 1e-6, d.x, d.scale, d.dy, d.dx, d.dscale);
    expect_known("rms", &d, true, false);
    data copy = d;
    expect_differences("rms", weighted_rms, &d, COUNT, copy.x, d.dx, 1e-8);
    expect_differences("scale", weighted_rms_scale, &d, CHANNELS, copy.scale, d.dscale, 1e-8);
}

static double weighted_l2(const void *argument, const double *x) {
    const data *d = argument;
    double y[COUNT];
    ref_l2_normalize(SAMPLES * PLACES, CHANNELS, d->variance[0], x, y);
    return dot(COUNT, d->dy, y);
}

/* In the second round epsilon, kept in variance[0], is above the sums of squares of some rows; none
 * is near it. */
static void test_l2(void **state) {
    (void)state;
    int rows = SAMPLES * PLACES;
    for (int round = 0; round < 2; round++) {
        data d = make_data(false);
        d.variance[0] = round ? 5 : 1e-12;
        ref_l2_normalize(rows, CHANNELS, d.variance[0], d.x, d.y);
        ref_l2_normalize_gradient(rows, CHANNELS, d.variance[0], d.x, d.dy, d.dx);
        if (round == 0)
            expect_known("l2", &d, false, false);
        data copy = d;
        expect_differences("l2", weighted_l2, &d, COUNT, copy.x, d.dx, 1e-8);
    }
}

typedef struct lrn_question {
    fv_lrn_options options;
    const data *data;
} lrn_question;

static double weighted_lrn(const void *argument, const double *x) {
    const lrn_question *q = argument;
    double y[COUNT];
    ref_lrn(SAMPLES * PLACES, CHANNELS, &q->options, x, y);
    return dot(COUNT, q->data->dy, y);
}

/* PyTorch's scaling for sizes 3, 4 and 5; Keras's alpha is that of torch / size; ONNX's even window
 * is torch's from behind. */
static void test_lrn(void **state) {
    (void)state;
    static const char *const names[] = {"lrn 3", "lrn 4", "lrn 5"};
    int rows = SAMPLES * PLACES;
    for (int size = 3; size <= 5; size++)
        for (fv_formula f = FV_KERAS; f <= FV_CAFFE; f++) {
            data d = make_data(false);
            lrn_question q = {{size, f, f == FV_KERAS ? 0.7 / size : 0.7, 0.6, 1.5}, &d};
            ref_lrn(rows, CHANNELS, &q.options, d.x, d.y);
            ref_lrn_gradient(rows, CHANNELS, &q.options, d.x, d.dy, d.dx);
            if (f != FV_ONNX || size % 2)
                expect_known(names[size - 3], &d, false, false);
            data copy = d;
            expect_differences("lrn", weighted_lrn, &q, COUNT, copy.x, d.dx, 1e-8);
        }
    double ramp[] = {1, 2, 3}, y[3]; /* ONNX, size 2: c and c + 1; torch: c - 1 and c */
    ref_lrn(1, 3, &(fv_lrn_options){2, FV_ONNX, 2, 1, 1}, ramp, y);
    expect_doubles("onnx", 3, y, (double[]){1 / 6.0, 2 / 14.0, 3 / 10.0}, 1e-15);
    ref_lrn(1, 3, &(fv_lrn_options){2, FV_TORCH, 2, 1, 1}, ramp, y);
    expect_doubles("torch", 3, y, (double[]){1 / 2.0, 2 / 6.0, 3 / 14.0}, 1e-15);
    ref_lrn(1, 1, &(fv_lrn_options){0}, ramp, y); /* TensorFlow's defaults: 1 / sqrt(1 + 1) */
    expect_doubles("defaults", 1, y, (double[]){sqrt(0.5)}, 1e-15);
    ref_lrn(1, 1, &(fv_lrn_options){.formula = FV_CAFFE}, ramp, y);
    expect_doubles("defaults", 1, y, (double[]){pow(1.2, -0.75)}, 1e-15);
    ref_lrn(1, 1, &(fv_lrn_options){.formula = FV_TORCH}, ramp, y);
    expect_doubles("defaults", 1, y, (double[]){pow(1 + 2e-5, -0.75)}, 1e-15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms),   cmocka_unit_test(test_without_scale),
        cmocka_unit_test(test_running), cmocka_unit_test(test_rms),
        cmocka_unit_test(test_l2),      cmocka_unit_test(test_lrn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
