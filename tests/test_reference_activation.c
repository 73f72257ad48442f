/* Holds the oracles of activations to PyTorch 2.15 (double precision, on the CPU) and to central
 * differences. The numbers were printed by
 *   y = f(x); y.backward(torch.arange(1., 9.)); print(y, x.grad)
 * with f of torch.nn.functional: relu, ... gelu(x, approximate="tanh"), hardsigmoid, hardswish,
 * softplus(x, threshold=100). */
#include "doubles.h"
#include "reference/reference.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { COUNT = 8 };

static const double inputs[COUNT] = {-7.5, -3.2, -1.1, -0.3, 0.2, 0.9, 2.6, 6.7};
static const double weights[COUNT] = {1, 2, 3, 4, 5, 6, 7, 8};

/* Values and gradients. */
static const struct known {
    fv_activation kind;
    double y[COUNT], dx[COUNT];
} known[] = {
    {FV_LINEAR, {-7.5, -3.2, -1.1, -0.3, 0.2, 0.9, 2.6, 6.7}, {1, 2, 3, 4, 5, 6, 7, 8}},
    {FV_RELU, {0, 0, 0, 0, 0.2, 0.9, 2.6, 6.7}, {0, 0, 0, 0, 5, 6, 7, 8}},
    {FV_SIGMOID,
     {0.0005527786369235996, 0.03916572279676436, 0.2497398944048823, 0.425557483188341,
      0.549833997312478, 0.7109495026250039, 0.9308615796566533, 0.9987706013787226},
     {0.0005524730727021604, 0.07526353790914274, 0.5621096386425618, 0.9778332467629834,
      1.2375828635593, 1.233001844053581, 0.4505080942304139, 0.009823097602458855}},
    {FV_TANH,
     {-0.9999993881955461, -0.9966823978396512, -0.8004990217606297, -0.2913126124515909,
      0.197375320224904, 0.7162978701990245, 0.9890274022010992, 0.999996969716367},
     {1.223608533447504e-06, 0.01324839567320658, 1.077603948480825, 3.660547847306517,
      4.805214914830583, 2.921504166890049, 0.1527735838674162, 4.84844646673838e-05}},
    {FV_RELU6, {0, 0, 0, 0, 0.2, 0.9, 2.6, 6}, {0, 0, 0, 0, 5, 6, 7, 0}},
    {FV_LEAKY_RELU,
     {-0.075, -0.032, -0.011, -0.003, 0.2, 0.9, 2.6, 6.7},
     {0.01, 0.02, 0.03, 0.04, 5, 6, 7, 8}},
    {FV_ELU,
     {-0.9994469156298522, -0.9592377960216338, -0.6671289163019205, -0.2591817793182821, 0.2, 0.9,
      2.6, 6.7},
     {0.0005530843701478336, 0.08152440795673241, 0.9986132510942387, 2.963272882726872, 5, 6, 7,
      8}},
    {FV_SELU,
     {-1.757126963580787, -1.686435336901525, -1.172878908010631, -0.455667315379122,
      0.2101401974710961, 0.9456308886199324, 2.731822567124249, 7.039696615281719},
     {0.0009723772665898928, 0.1433280078917039, 1.755661298510237, 5.209728101873019,
      5.253504936777402, 6.304205924132883, 7.354906911488364, 8.405607898843844}},
    {FV_GELU,
     {-2.393918396847994e-13, -0.002198841401330753, -0.1492326670410209, -0.1146265733433142,
      0.1158519418878206, 0.7343458871879165, 2.587880911138331, 6.69999999993018},
     {-1.793821487813784e-12, -0.01388388861354326, -0.311914001368269, 1.070688932691561,
      3.287341241170971, 6.332499597372719, 7.214581723887047, 8.000000003739023}},
    {FV_GELU_TANH,
     {-0, -0.001869565162084363, -0.1494189538254891, -0.1146290764572407, 0.1158514297821063,
      0.7342284887097207, 2.588346082314757, 6.699999999999927},
     {0, -0.01298628417475552, -0.3109783877074414, 1.070818193444793, 3.287290745978498,
      6.330403228557699, 7.215738883307411, 8.000000000006448}},
    {FV_SILU,
     {-0.004145839776926997, -0.1253303129496459, -0.2747138838453706, -0.1276672449565023,
      0.1099667994624956, 0.6398545523625035, 2.420240107107299, 6.691763029237442},
     {-0.003590769408342603, -0.1625118757157281, 0.1308990807078291, 1.408879958724469,
      2.99668655927425, 5.375398675398245, 7.68735210259565, 8.055979564966256}},
    {FV_MISH,
     {-0.004146985642582228, -0.1277826815170206, -0.307648447302402, -0.1511331771383345,
      0.1325990018621592, 0.7612059289525154, 2.575261622371174, 6.699979746989613},
     {-0.003592907090395362, -0.1703967536233316, 0.07936485952531333, 1.634043507742809,
      3.623122702099204, 6.167509203190514, 7.254255007797208, 8.000299466593683}},
    {FV_HARD_SIGMOID,
     {0, 0, 0.3166666666666667, 0.45, 0.5333333333333333, 0.65, 0.9333333333333332, 1},
     {0, 0, 0.5000000149011612, 0.6666666865348816, 0.833333358168602, 1.000000029802322,
      1.166666701436043, 0}},
    {FV_HARD_SWISH,
     {-0, -0, -0.3483333333333333, -0.135, 0.1066666666666667, 0.585, 2.426666666666666, 6.7},
     {0, 0, 0.3999999999999999, 1.6, 2.833333333333333, 4.800000000000001, 9.566666666666666, 8}},
    {FV_SOFTPLUS,
     {0.0005529314753607964, 0.03995333316243035, 0.2873353251154308, 0.5543552444685271,
      0.7981388693815918, 1.241153874732088, 2.67164469196767, 6.701230154951713},
     {0.0005527786369235996, 0.0783314455935287, 0.7492196832146473, 1.702229932753364,
      2.74916998656239, 4.265697015750024, 6.516031057596572, 7.99016481102978}},
    {FV_SOFTSIGN,
     {-0.8823529411764706, -0.7619047619047619, -0.5238095238095238, -0.2307692307692308,
      0.1666666666666667, 0.4736842105263158, 0.7222222222222222, 0.8701298701298701},
     {0.01384083044982699, 0.1133786848072563, 0.6802721088435375, 2.366863905325443,
      3.472222222222222, 1.662049861495845, 0.5401234567901234, 0.1349300050598752}},
    {FV_SCALED_TANH,
     {-1.715744203594187, -1.66842313505588, -1.072609800397215, -0.3386763119739127,
      0.2274404659999082, 0.9215233520119288, 1.611999880239184, 1.715447345011446},
     {0.0002077191106510379, 0.1248534704122688, 2.090822339404215, 4.397476411924159,
      5.619176806002184, 4.883985131293663, 0.9403750695502878, 0.004827683021712516}},
    {FV_SOFTMAX,
     {6.658327823889818e-07, 4.907173870049578e-05, 0.00040072815613337, 0.0008918369126741355,
      0.00147039048792138, 0.002961002826090514, 0.01620837369677504, 0.9780179303489226},
     {-4.639248750601456e-06, -0.0002928399371399388, -0.001990652527736999, -0.003538441762211546,
      -0.00436351371057044, -0.005826034722655258, -0.01568303387741581, 0.03169915578648197}},
    {FV_LOG_SOFTMAX,
     {-14.22222727542527, -9.922227275425275, -7.822227275425275, -7.022227275425275,
      -6.522227275425275, -5.822227275425274, -4.122227275425274, -0.02222727542527484},
     {0.999976030019834, 1.998233417406782, 2.985573786379199, 3.967893871143731, 4.94706594243483,
      5.893403898260742, 6.416498546916098, -27.20864549256121}},
};
enum { KINDS = sizeof known / sizeof known[0] };

/* PyTorch's hardsigmoid has its 1/6 in float where it goes backward. */
static void test_known(void **state) {
    (void)state;
    double y[COUNT], dx[COUNT];
    assert_int_equal(KINDS, FV_LOG_SOFTMAX + 1);
    for (int i = 0; i < KINDS; i++) {
        const struct known *k = &known[i];
        double constant = ref_activation_constant(k->kind);
        ref_activate(k->kind, constant, 1, COUNT, inputs, y);
        expect_doubles("y", COUNT, y, k->y, 1e-14 * 8);
        ref_activate_gradient(k->kind, constant, 1, COUNT, inputs, weights, dx);
        expect_doubles("dx", COUNT, dx, k->dx, k->kind == FV_HARD_SIGMOID ? 5e-8 : 1e-13);
    }
}

/* Constants other than the defaults, by hand. */
static void test_constants(void **state) {
    (void)state;
    const double x[2] = {-0.5, 0.5}, one[2] = {1, 1};
    double y[2], dx[2];
    ref_activate(FV_LEAKY_RELU, 0.3, 1, 2, x, y);
    expect_doubles("leaky_relu", 2, y, (double[]){-0.15, 0.5}, 1e-15);
    ref_activate(FV_ELU, 2, 1, 2, x, y);
    expect_doubles("elu", 2, y, (double[]){2 * (exp(-0.5) - 1), 0.5}, 1e-15);
    ref_activate(FV_HARD_SIGMOID, 0.2, 1, 2, x, y);
    expect_doubles("hard_sigmoid", 2, y, (double[]){0.4, 0.6}, 1e-15);
    ref_activate_gradient(FV_HARD_SIGMOID, 0.2, 1, 2, x, one, dx);
    expect_doubles("its slope", 2, dx, (double[]){0.2, 0.2}, 0);
}

/* Far out, where careless formulas overflow. */
static void test_extremes(void **state) {
    (void)state;
    double y[3];
    ref_activate(FV_SOFTMAX, 0, 1, 3, (double[]){1000, 1000 + log(2), -1e9}, y);
    expect_doubles("softmax", 3, y, (double[]){1 / 3.0, 2 / 3.0, 0}, 1e-12);
    ref_activate(FV_LOG_SOFTMAX, 0, 1, 3, (double[]){1000, 1000, -1e9}, y);
    expect_doubles("log_softmax", 3, y, (double[]){-log(2), -log(2), -1e9 - 1000 - log(2)}, 1e-6);
    ref_activate(FV_SIGMOID, 0, 1, 3, (double[]){0, log(3), -800}, y);
    expect_doubles("sigmoid", 3, y, (double[]){0.5, 0.75, 0}, 1e-12);
    ref_activate(FV_SOFTPLUS, 0, 1, 3, (double[]){0, 800, -800}, y);
    expect_doubles("softplus", 3, y, (double[]){log(2), 800, 0}, 1e-12);
    ref_activate(FV_MISH, 0, 1, 3, (double[]){0, 800, -800}, y);
    expect_doubles("mish", 3, y, (double[]){0, 800, 0}, 1e-12);
}

typedef struct question {
    fv_activation kind;
    double constant;
    const double *dy;
} question;

static double weighted(const void *argument, const double *x) {
    const question *q = argument;
    double y[COUNT];
    ref_activate(q->kind, q->constant, 2, COUNT / 2, x, y);
    return dot(COUNT, q->dy, y);
}

/* By both ways to the gradient: from the inputs and from the outputs. x keeps
 * 0.05 from the kinks, which lie at 0, 6, and +-0.5 / slope. */
static void test_differences(void **state) {
    (void)state;
    static const double constants[] = {0.01, 0.3, 1.5};
    for (unsigned i = 0; i < 3 * KINDS; i++) {
        numbers n = {i};
        question q = {known[i / 3].kind, constants[i % 3], weights};
        double x[COUNT], y[COUNT], dx[COUNT];
        random_doubles(&n, COUNT, x);
        for (int k = 0; k < COUNT; k++)
            x[k] = k == 0 ? 6.2 : x[k] * 0.2 + (k % 2 ? 0.6 : -0.6); /* 0.4 to 0.8 from 0 */
        if (q.kind == FV_HARD_SIGMOID && i % 3)
            q.constant = 0.5; /* kinks at +-1 */
        ref_activate_gradient(q.kind, q.constant, 2, COUNT / 2, x, weights, dx);
        expect_differences("activation", weighted, &q, COUNT, x, dx, 1e-7);
        ref_activate(q.kind, q.constant, 2, COUNT / 2, x, y);
        ref_activation_gradient(q.kind, q.constant, 2, COUNT / 2, x, y, weights, dx);
        expect_differences("by outputs", weighted, &q, COUNT, x, dx, 1e-7);
    }
}

/* ---- prelu -------------------------------------------------------------------------------------
 */

enum { ROWS = 6, CHANNELS = 4, VALUES = ROWS * CHANNELS };

typedef struct prelu {
    bool shared;
    const double *x, *slope, *dy;
} prelu;

static double prelu_of_x(const void *argument, const double *x) {
    const prelu *p = argument;
    double y[VALUES];
    ref_prelu(ROWS, CHANNELS, p->shared, x, p->slope, y);
    return dot(VALUES, p->dy, y);
}

static double prelu_of_slope(const void *argument, const double *slope) {
    const prelu *p = argument;
    double y[VALUES];
    ref_prelu(ROWS, CHANNELS, p->shared, p->x, slope, y);
    return dot(VALUES, p->dy, y);
}

/* torch.nn.functional.prelu with four slopes; every fifth value. */
static void test_prelu(void **state) {
    (void)state;
    static const double y5[] = {-0.09, 1.2, -0.24, 1.3, -0.07};
    static const double dx5[] = {-0.1, 1.2, 0.09, -0.6, -0.15};
    double slope[CHANNELS] = {0.1, 0.2, 0.3, 0.4}, dslope[CHANNELS];
    double x[VALUES], dy[VALUES], y[VALUES], dx[VALUES];
    for (int i = 0; i < VALUES; i++) {
        x[i] = ((i * 37 + 11) % 41 - 20) / 10.0;
        dy[i] = ((i * 23 + 5) % 31 - 15) / 10.0;
    }
    ref_prelu(ROWS, CHANNELS, false, x, slope, y);
    ref_prelu_gradient(ROWS, CHANNELS, false, x, slope, dy, dx, dslope);
    for (int i = 0; i < 5; i++) {
        expect_doubles("y", 1, y + (size_t)i * 5, y5 + i, 1e-14);
        expect_doubles("dx", 1, dx + (size_t)i * 5, dx5 + i, 1e-14);
    }
    expect_doubles("dslope", 4, dslope, (double[]){4.03, -5.01, -1.09, 2.33}, 1e-13);
    for (int i = 0; i < VALUES; i++)
        x[i] += 0.05; /* away from the kink */
    for (int shared = 0; shared < 2; shared++) {
        prelu p = {shared, x, slope, dy};
        ref_prelu_gradient(ROWS, CHANNELS, shared, x, slope, dy, dx, dslope);
        expect_differences("prelu by x", prelu_of_x, &p, VALUES, x, dx, 1e-9);
        double trial[CHANNELS] = {0.1, 0.2, 0.3, 0.4};
        expect_differences("by slope", prelu_of_slope, &p, shared ? 1 : CHANNELS, trial, dslope,
                           1e-9);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),    cmocka_unit_test(test_constants),
        cmocka_unit_test(test_extremes), cmocka_unit_test(test_differences),
        cmocka_unit_test(test_prelu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
