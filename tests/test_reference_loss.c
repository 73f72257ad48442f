/* Holds the oracles of losses to PyTorch 2.15, Keras 3.15 and TensorFlow 2.21 (double precision, on
 * the CPU), and to central differences. The numbers are loss and gradient, every fifth value, of
 *   torch.nn.functional: cross_entropy(z, index or shares, weight, label_smoothing, ignore_index),
 *     binary_cross_entropy_with_logits, mse_loss, l1_loss, huber_loss, smooth_l1_loss,
 *     cosine_embedding_loss, kl_div(log y, shares, reduction="batchmean");
 *   the formulas of torchvision.ops's sigmoid_focal_loss, box_iou, generalized_box_iou_loss,
 *     distance_box_iou_loss, complete_box_iou_loss and of LeCun et al. 1998 (9), written in torch;
 *   keras.losses: SparseCategoricalCrossentropy(ignore_class), CategoricalCrossentropy with sample
 *     weights, BinaryCrossentropy, BinaryFocalCrossentropy(apply_class_balancing=True), Hinge,
 *     Huber, CosineSimilarity, KLDivergence, Dice, Tversky (whose code has alpha for missed and
 *     beta for false positives, other than its manual and the paper; given here as 0.3, 0.8);
 *   tf.image.ssim(x, y, 1), tf.image.total_variation. */
#include "doubles.h"
#include "reference/reference.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 6, CHANNELS = 4, COUNT = ROWS * CHANNELS, SHOWN = 5 };

/* What a loss is fed with. */
typedef enum food_kind { INDICES, SHARES, BITS, VALUES, BOXES } food_kind;

typedef struct known {
    fv_loss_options options;
    food_kind food;
    double loss, gradient[SHOWN];
} known;

static const known from_torch[] = {
    {{.type = "cross_entropy"},
     INDICES,
     2.332668888064741,
     {0.008212691207428369, 0.04614921224733649, 0.03093474207814309, 0.06450619711466059,
      0.06884653460726559}},
    {{.type = "cross_entropy", .formula = FV_TORCH, .ignore = {1}, .ignore_count = 1},
     INDICES,
     2.115665724692526,
     {0.01231903681114255, 0.06922381837100473, 0.04640211311721464, 0, 0.1032698019108984}},
    {{.type = "cross_entropy", .label_smoothing = 0.1},
     INDICES,
     2.281418888064741,
     {0.004046024540761704, 0.04198254558066983, 0.02676807541147643, 0.06033953044799394,
      0.06467986794059892}},
    {{.type = "cross_entropy",
      .formula = FV_TORCH,
      .class_weights = {1, 2, 0.5, 3},
      .class_weight_count = 4},
     INDICES,
     2.32782000707388,
     {0.002737563735809456, 0.03076614149822432, 0.06186948415628618, 0.08600826281954745,
      0.02294884486908853}},
    {{.type = "cross_entropy",
      .formula = FV_TORCH,
      .class_weights = {1, 2, 0.5, 3},
      .class_weight_count = 4,
      .label_smoothing = 0.1,
      .ignore = {1},
      .ignore_count = 1},
     INDICES,
     1.997598801007112,
     {0.001036328037459851, 0.04884024561535403, 0.1037608390384215, 0, 0.0456022029363402}},
    {{.type = "cross_entropy"},
     SHARES,
     1.814443530332804,
     {-0.002203975459238297, 0.02050818660631085, -0.03388007273667172, 0.05573426729009918,
      -0.002582036821305843}},
    {{.type = "cross_entropy",
      .formula = FV_TORCH,
      .class_weights = {1, 2, 0.5, 3},
      .class_weight_count = 4,
      .label_smoothing = 0.1},
     SHARES,
     3.09985576604082,
     {0.003961631469165046, 0.009722349476181957, 0.008578480425609226, 0.05832585590417706,
      0.0533813972544051}},
    {{.type = "binary_cross_entropy"},
     BITS,
     0.9172353529452328,
     {-0.0296228959427085, -0.009644800687540936, -0.02874893671365052, -0.008923542373226725,
      0.01382550949299308}},
    {{.type = "mse"},
     VALUES,
     2.44375,
     {0.008333333333333331, 0, -0.09166666666666667, 0.1583333333333333, 0.06666666666666667}},
    {{.type = "mae"},
     VALUES,
     1.279166666666667,
     {0.04166666666666666, 0, -0.04166666666666666, 0.04166666666666666, 0.04166666666666666}},
    {{.type = "huber", .delta = 0.7},
     VALUES,
     0.6872916666666665,
     {0.004166666666666666, 0, -0.02916666666666666, 0.02916666666666666, 0.02916666666666666}},
    {{.type = "smooth_l1", .delta = 0.7},
     VALUES,
     0.981845238095238,
     {0.00595238095238095, 0, -0.04166666666666666, 0.04166666666666666, 0.04166666666666666}},
    {{.type = "cosine"},
     VALUES,
     1.088397548856421,
     {0.03795442481259952, -0.05473581530852797, -0.01748013197464956, 0.01585085632401598,
      0.04334551388536691}},
    {{.type = "focal"},
     BITS,
     0.2270368236534925,
     {-0.007520988160235358, -0.0003550582682091503, -0.007022534112433649, -0.0002832986238136587,
      0.002995460076265817}},
    {{.type = "focal", .alpha = 0.4, .gamma = 1.5},
     BITS,
     0.2686015696857132,
     {-0.01247953575405202, -0.0009929929948753764, -0.01179282688016208, -0.0008230431933264068,
      0.003516479885463878}},
    {{.type = "kl"},
     SHARES,
     0.5780052532874914,
     {-0.2113936914541242, -0.09260188994343928, -0.3492018491220893, -0.02266430776402559,
      -0.1729173730046474}},
    {{.type = "rbf", .margin = 0.3},
     INDICES,
     1.92188629985267,
     {-0.02304574834286802, -0.006542818288607298, -0.02633066406942518, -0.002410043129577099,
      -0.01509436435759973}},
    {{.type = "iou"},
     BOXES,
     0.7423945445370128,
     {-0.01264801489736247, 0.04395794495165981, -0.03974117584412952, 0, 0.02444444435390946}},
    {{.type = "giou"},
     BOXES,
     0.9809443351439575,
     {-0.006903090395420003, 0.05552819269430034, -0.04853279569752485, -0.007801617883578627,
      0.02444444435390947}},
    {{.type = "diou"},
     BOXES,
     0.8327961172654819,
     {-0.01656741339510016, 0.04106691213340693, -0.03981644825481442, -0.01243275324919709,
      0.02354074065181234}},
    {{.type = "ciou"},
     BOXES,
     0.8420987235785832,
     {-0.01602995439373307, 0.04346062861883904, -0.04037822022303809, -0.01458716340279886,
      0.0235407407182256}},
};

static const known from_keras[] = {
    {{.type = "cross_entropy", .ignore = {1}, .ignore_count = 1},
     INDICES,
     2.115665724692526,
     {0.01231903681114255, 0.06922381837100473, 0.04640211311721464, 0, 0.1032698019108984}},
    {{.type = "cross_entropy", .class_weights = {1, 2, 0.5, 3}, .class_weight_count = 4},
     INDICES,
     3.491730010610821,
     {0.004106345603714184, 0.04614921224733649, 0.09280422623442927, 0.1290123942293212,
      0.03442326730363279}},
    {{.type = "cross_entropy",
      .label_smoothing = 0.1,
      .class_weights = {1, 2, 0.5, 3},
      .class_weight_count = 4},
     INDICES,
     3.404855010610822,
     {0.002023012270380851, 0.04198254558066981, 0.08030422623442927, 0.1206790608959878,
      0.03233993397029945}},
    {{.type = "binary_cross_entropy", .label_smoothing = 0.1},
     BITS,
     0.9120270196118995,
     {-0.02753956260937516, -0.007561467354207598, -0.02666560338031718, -0.006840209039893391,
      0.01174217615965975}},
    {{.type = "focal", .alpha = 0.4, .gamma = 1.5, .label_smoothing = 0.1},
     BITS,
     0.24852317731545,
     {-0.01117811932905372, -0.001081167451176909, -0.01057972166925148, -0.000920610816626458,
      0.003329836012988845}},
    {{.type = "hinge"},
     BITS,
     1.233333333333333,
     {-0.04166666666666666, -0, -0.04166666666666666, -0, 0.04166666666666666}},
    {{.type = "huber", .delta = 0.7},
     VALUES,
     0.6872916666666665,
     {0.004166666666666666, 0, -0.02916666666666666, 0.02916666666666666, 0.02916666666666666}},
    {{.type = "cosine"},
     VALUES,
     1.088397548856461,
     {0.03795442481260852, -0.05473581530854325, -0.01748013197465556, 0.01585085632401916,
      0.04334551388537526}},
    {{.type = "kl"},
     SHARES,
     0.5780052532874914,
     {-0.2113936914541242, -0.09260188994343926, -0.3492018491220893, -0.02266430776402559,
      -0.1729173730046474}},
    {{.type = "dice", .smooth = 1e-7},
     BITS,
     0.7315947122466094,
     {-0.09619970570147993, -0.09619970570147993, -0.09619970570147993, -0.09619970570147993,
      0.01491140479234723}},
    {{.type = "tversky", .smooth = 1e-7, .alpha = 0.8, .beta = 0.3},
     BITS,
     0.7039079795788941,
     {-0.09716760048947415, -0.09716760048947415, -0.09716760048947415, -0.09716760048947415,
      0.02903419669024159}},
};

static const double boxes[COUNT] = {2, 2, 5, 4, 0.5, -0.5, 2.5, 2, 1,   0, 4, 5,
                                    3, 3, 4, 6, 2,   1,    4,   5, 2.5, 2, 7, 8};
static const double near_boxes[COUNT] = {1, 1, 4, 5, 0, 0, 2, 1, 2, 1, 3, 6,
                                         0, 0, 1, 1, 1, 2, 5, 4, 3, 3, 6, 7};
static const double classes[ROWS] = {2, 0, 3, 1, 1, 2};

typedef struct meal {
    double outputs[COUNT], targets[COUNT];
    bool indices;
} meal;

static double saw(int i, int a, int b, int m) {
    return ((i * a + b) % m - m / 2) / 10.0;
}

static void softmax_of(double *y) {
    ref_activation(FV_SOFTMAX, ROWS, CHANNELS, y, y);
}

static meal cook(food_kind food, const fv_loss_options *o) {
    meal m = {.indices = food == INDICES};
    bool positive = food == SHARES && strcmp(o->type, "kl") == 0;
    for (int i = 0; i < COUNT; i++) {
        int r = i / CHANNELS, c = i % CHANNELS;
        m.outputs[i] = saw(i, 37, 11, 41);
        m.targets[i] = food == SHARES   ? (r * 7 + c * 5) % 9 + 1
                       : food == BITS   ? (r * 3 + c * 5) % 4 < 2
                       : food == VALUES ? saw(i, 23, 5, 31)
                                        : boxes[i];
        if (food == BOXES)
            m.outputs[i] = near_boxes[i] + m.outputs[i] * 0.05;
        if (strcmp(o->type, "rbf") == 0)
            m.outputs[i] += 2.1; /* penalties are positive */
    }
    for (int r = 0; food == SHARES && r < ROWS; r++) {
        double *t = m.targets + (size_t)r * CHANNELS, sum = t[0] + t[1] + t[2] + t[3];
        for (int c = 0; c < CHANNELS; c++)
            t[c] /= sum;
    }
    if (positive || strcmp(o->type, "dice") == 0 || strcmp(o->type, "tversky") == 0)
        softmax_of(m.outputs);
    return m;
}

static ref_judged judge(const fv_loss_options *o, const meal *m) {
    /* Dice and Tversky take all rows as one sample, as Keras does. */
    bool whole = strcmp(o->type, "dice") == 0 || strcmp(o->type, "tversky") == 0;
    return (ref_judged){.options = o,
                        .samples = whole ? 1 : ROWS / 2,
                        .shape = {1, {whole ? ROWS : 2}, CHANNELS},
                        .outputs = m->outputs,
                        .targets = m->indices ? NULL : m->targets,
                        .indices = m->indices ? classes : NULL};
}

static double loss_of(const void *argument, const double *x) {
    ref_judged j = *(const ref_judged *)argument;
    double unused[COUNT];
    j.outputs = x;
    return ref_loss(&j, unused);
}

/* Keras lengthens divisors by 1e-7 here and there. Where a value is on a kink (VALUES: equal to its
 * target) there are no differences; ciou's gradient holds a factor of its loss constant. */
static void check_known(const known *k, double bound) {
    meal m = cook(k->food, &k->options);
    ref_judged j = judge(&k->options, &m);
    double gradient[COUNT], loss = ref_loss(&j, gradient);
    expect_doubles(k->options.type, 1, &loss, &k->loss, bound * (1 + fabs(k->loss)));
    for (int i = 0; i < SHOWN; i++)
        expect_doubles(k->options.type, 1, gradient + (size_t)i * 5, k->gradient + i, bound);
    for (int i = 0; i < COUNT; i++)
        if (k->food == VALUES)
            m.outputs[i] += 0.01234;
    if (strcmp(k->options.type, "ciou") == 0)
        return;
    ref_loss(&j, gradient);
    expect_differences(k->options.type, loss_of, &j, COUNT, m.outputs, gradient,
                       strcmp(k->options.type, "kl") == 0 ? 1e-6 : 1e-8); /* 1 / y is steep */
}

static void test_torch(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof from_torch / sizeof *from_torch; i++)
        check_known(&from_torch[i], 1e-11);
}

static void test_keras(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof from_keras / sizeof *from_keras; i++)
        check_known(&from_keras[i], 1e-7);
}

/* One output channel: the index is the target. All rows ignored: nothing to divide by. */
static void test_odd_cases(void **state) {
    (void)state;
    fv_loss_options o = {.type = "binary_cross_entropy"};
    double z[2] = {0, log(3)}, index[2] = {1, 0}, gradient[2];
    ref_judged j = {.options = &o, .samples = 2, .shape = {.channels = 1}, .outputs = z};
    j.indices = index;
    double loss = ref_loss(&j, gradient); /* sigmoid: 0.5, 0.75 */
    assert_true(fabs(loss - (log(2) + log(4)) / 2) <= 1e-15);
    expect_doubles("gradient", 2, gradient, (double[]){-0.25, 0.375}, 1e-15);
    o.ignore[0] = 0, o.ignore[1] = 1, o.ignore_count = 2;
    assert_true(ref_loss(&j, gradient) == 0 && gradient[0] == 0 && gradient[1] == 0);
    o = (fv_loss_options){.type = "dice"}; /* smooth 1: 1 - (2 + 1) / (1 + 1.5 + 1) */
    j.samples = 1, j.shape = (fv_shape){1, {2}, 1};
    j.outputs = (double[]){1, 0.5}, j.indices = (double[]){1, 0};
    loss = ref_loss(&j, gradient);
    assert_true(fabs(loss - (1 - 3 / 3.5)) <= 1e-15);
}

/* Boxes as centers: the same loss, the gradient by differences. */
static void test_centers(void **state) {
    (void)state;
    static const char *const types[] = {"iou", "giou", "diou", "ciou"};
    for (int k = 0; k < 4; k++) {
        fv_loss_options corners = {.boxes = FV_BOX_CORNERS}, centers = {.boxes = FV_BOX_CENTER};
        strcpy(corners.type, types[k]);
        strcpy(centers.type, types[k]);
        meal a = cook(BOXES, &corners), b = a;
        for (int i = 0; i < COUNT; i++) {
            int side = i % 4;
            const double *x = a.outputs + i - side, *t = a.targets + i - side;
            b.outputs[i] = side < 2 ? (x[side] + x[side + 2]) / 2 : x[side] - x[side - 2];
            b.targets[i] = side < 2 ? (t[side] + t[side + 2]) / 2 : t[side] - t[side - 2];
        }
        ref_judged j = judge(&corners, &a), i = judge(&centers, &b);
        double gradient[COUNT], wanted = ref_loss(&j, gradient), loss = ref_loss(&i, gradient);
        expect_doubles(types[k], 1, &loss, &wanted, 1e-12);
        if (k < 3)
            expect_differences(types[k], loss_of, &i, COUNT, b.outputs, gradient, 1e-8);
    }
}

enum { HIGH = 13, WIDE = 12, COLOURS = 2, VALUES_2D = HIGH * WIDE * COLOURS };

static double similarity_to(const void *argument, const double *x) {
    double unused[VALUES_2D];
    return ref_ssim(HIGH, WIDE, COLOURS, 1, x, argument, unused);
}

static double variation_of(const void *argument, const double *x) {
    double unused[VALUES_2D];
    return ref_total_variation(argument, x, unused);
}

/* tf.image.ssim works in float. Neighbours differ by 0.05 or more, far from total variation's
 * kinks. */
static void test_pictures(void **state) {
    (void)state;
    static const double shown[] = {-1.670362764e-07, 0.003017024603,  -0.0001260914287,
                                   0.03202842921,    -1.01167534e-05, 0.0001268197666};
    double x[VALUES_2D], y[VALUES_2D], gradient[VALUES_2D];
    for (int i = 0; i < VALUES_2D; i++) {
        x[i] = (i * 37 + 11) % 41 / 40.0;
        y[i] = (i * 23 + 5) % 31 / 30.0 * 0.5 + x[i] * 0.5;
    }
    double similarity = ref_ssim(HIGH, WIDE, COLOURS, 1, x, y, gradient);
    expect_doubles("ssim", 1, &similarity, (double[]){0.6895068884}, 1e-6);
    for (int i = 0; i < 6; i++)
        expect_doubles("gradient", 1, gradient + (size_t)i * 60, shown + i, 1e-6);
    expect_differences("ssim", similarity_to, y, VALUES_2D, x, gradient, 1e-8);
    fv_shape shape = {2, {HIGH, WIDE}, COLOURS};
    double variation = ref_total_variation(&shape, x, gradient);
    expect_doubles("total variation", 1, &variation, (double[]){224.55 / 574}, 1e-12);
    expect_differences("total variation", variation_of, &shape, VALUES_2D, x, gradient, 1e-8);
    shape = (fv_shape){1, {3}, 1};
    variation = ref_total_variation(&shape, (double[]){1, 4, 2}, gradient);
    assert_true(variation == 2.5);
    expect_doubles("gradient", 3, gradient, (double[]){-0.5, 1, -0.5}, 0);
}

/* Losses of pictures, by way of ref_loss(): a mean over the samples. */
static void test_picture_samples(void **state) {
    (void)state;
    double x[2 * VALUES_2D], y[2 * VALUES_2D], gradient[2 * VALUES_2D], one[VALUES_2D];
    numbers n = {5};
    random_doubles(&n, 2 * VALUES_2D, x);
    random_doubles(&n, 2 * VALUES_2D, y);
    fv_loss_options o = {.type = "ssim"};
    ref_judged j = {&o, 2, {2, {HIGH, WIDE}, COLOURS}, x, y, NULL};
    double loss = ref_loss(&j, gradient), wanted = 0;
    for (size_t s = 0; s < 2; s++)
        wanted +=
            (1 - ref_ssim(HIGH, WIDE, COLOURS, 1, x + s * VALUES_2D, y + s * VALUES_2D, one)) / 2;
    assert_true(fabs(loss - wanted) <= 1e-12);
    for (int i = 0; i < VALUES_2D; i++)
        one[i] /= -2;
    expect_doubles("gradient", VALUES_2D, gradient + VALUES_2D, one, 1e-15);
}

/* Equal logits: log(classes); and the gradient by central differences. */
static void test_cross_entropy(void **state) {
    (void)state;
    enum { SAMPLES = 3, CLASSES = 4, LOGITS = SAMPLES * CLASSES };
    const int labels[SAMPLES] = {2, 0, 3};
    double x[LOGITS] = {0}, gradient[LOGITS], unused[LOGITS], loss, accuracy, up, down;
    ref_cross_entropy(SAMPLES, CLASSES, x, labels, &loss, &accuracy, gradient);
    assert_true(fabs(loss - log(4)) <= 1e-15);
    assert_true(fabs(accuracy - 1 / 3.0) <= 1e-15); /* of equals the first counts */
    expect_doubles("gradient", 3, gradient, (double[]){1 / 12.0, 1 / 12.0, -3 / 12.0}, 1e-15);
    numbers n = {1};
    random_doubles(&n, LOGITS, x);
    ref_cross_entropy(SAMPLES, CLASSES, x, labels, &loss, &accuracy, gradient);
    for (int i = 0; i < LOGITS; i++) {
        double kept = x[i], h = 1e-5;
        x[i] = kept + h;
        ref_cross_entropy(SAMPLES, CLASSES, x, labels, &up, &accuracy, unused);
        x[i] = kept - h;
        ref_cross_entropy(SAMPLES, CLASSES, x, labels, &down, &accuracy, unused);
        x[i] = kept;
        assert_true(fabs((up - down) / (2 * h) - gradient[i]) <= 1e-9);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torch),         cmocka_unit_test(test_keras),
        cmocka_unit_test(test_odd_cases),     cmocka_unit_test(test_centers),
        cmocka_unit_test(test_pictures),      cmocka_unit_test(test_picture_samples),
        cmocka_unit_test(test_cross_entropy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
