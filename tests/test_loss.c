/* Holds the losses to their oracle: value, accuracy and gradient over batches of random, equal and
 * extreme outputs; and the check of a loss against the net that it is to train. */
#include "reference/reference.h"
#include "support.h"
#include "train/train.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_SAMPLES = 7, MOST_CLASSES = 1000 };

/* A net of which only the last layer matters. NULL activation: none after the dense layer. */
static fv_net *net_ending_in(const char *activation) {
    fv_net *net = fv_net_new();
    assert_non_null(net);
    fv_tensor x = fv_input(net, .shape = {2, {4, 4}, 1});
    x = fv_flatten(net, x);
    x = fv_dense(net, x, .units = 3);
    if (activation)
        fv_add_layer1(net, activation, x, NULL, 0);
    assert_int_equal(fv_net_build(net), FV_OK);
    return net;
}

static const fv_loss_type *cross_entropy(void) {
    const fv_loss_type *loss = NULL;
    fv_net *net = net_ending_in("softmax");
    assert_int_equal(fv_loss_find("cross_entropy", net, &loss), FV_OK);
    fv_net_free(net);
    assert_non_null(loss);
    assert_int_equal(loss->takes_over, FV_SOFTMAX);
    return loss;
}

typedef struct batch {
    int samples, classes, labels[MOST_SAMPLES];
    real *outputs;
} batch;

/* The library's samples one by one against the oracle's mean over the batch. */
static void check_batch(const fv_loss_type *type, const batch *b) {
    size_t classes = (size_t)b->classes, count = classes * (size_t)b->samples;
    double *outputs = new_doubles(count), *gradient = new_doubles(count);
    double *bound = new_doubles(count), loss, accuracy, sum = 0;
    guarded got = guard_new(count * sizeof(real));
    real scale = 1 / (real)b->samples;
    int correct = 0;
    to_double(count, b->outputs, outputs);
    ref_cross_entropy(b->samples, b->classes, outputs, b->labels, &loss, &accuracy, gradient);
    for (int s = 0; s < b->samples; s++) {
        size_t row = (size_t)s * classes;
        fv_sample_loss one =
            type->sample(b->outputs + row, b->classes, b->labels[s], scale, (real *)got.data + row);
        fv_sample_loss again =
            type->sample(b->outputs + row, b->classes, b->labels[s], scale, NULL);
        if (!(one.loss == again.loss) || one.correct != again.correct)
            fail_case("without a gradient the loss is another");
        sum += one.loss;
        correct += one.correct;
    }
    if (!(fabs(sum / b->samples - loss) <= 1e-12 * (1 + fabs(loss))))
        fail_case("loss is %.17g, not %.17g", sum / b->samples, loss);
    if (!(fabs((double)correct / b->samples - accuracy) <= 1e-15))
        fail_case("accuracy is %d of %d, not %g", correct, b->samples, accuracy);
    /* softmax, the scale, their product and the difference are rounded. */
    for (size_t i = 0; i < count; i++)
        bound[i] = 4 * ROUNDING * fabs(gradient[i]) + 1e-36;
    for (int s = 0; s < b->samples; s++)
        bound[(size_t)s * classes + (size_t)b->labels[s]] = 4 * ROUNDING * (double)scale;
    expect_close("gradient", count, got.data, gradient, bound);
    guard_check(&got, "gradient");
    guard_free(&got);
    free(outputs);
    free(gradient);
    free(bound);
}

static void test_random_outputs(void **state) {
    (void)state;
    static const int classes[] = {1, 2, 3, 5, 10, 33, MOST_CLASSES};
    static const real spreads[] = {0, 1, 10, 100, (real)1e4, (real)1e30};
    const fv_loss_type *type = cross_entropy();
    real *outputs = calloc(MOST_SAMPLES * MOST_CLASSES, sizeof(real));
    assert_non_null(outputs);
    for (unsigned i = 0; i < 7 * 6 * MOST_SAMPLES; i++) {
        numbers n = {i};
        batch b = {.samples = 1 + (int)(i % MOST_SAMPLES),
                   .classes = classes[i / MOST_SAMPLES % 7],
                   .outputs = outputs};
        real spread = spreads[i / MOST_SAMPLES / 7];
        describe("%d samples of %d classes, outputs to %g", b.samples, b.classes, (double)spread);
        numbers_floats(&n, (size_t)(b.samples * b.classes), outputs);
        for (int k = 0; k < b.samples * b.classes; k++)
            outputs[k] *= spread; /* 0: all are equal, and the first counts as the largest */
        for (int s = 0; s < b.samples; s++)
            b.labels[s] = s % 3 == 0   ? 0
                          : s % 3 == 1 ? b.classes - 1
                                       : numbers_below(&n, b.classes);
        check_batch(type, &b);
    }
    free(outputs);
}

/* Ties: the first of the largest is what the net says. */
static void test_ties(void **state) {
    (void)state;
    const fv_loss_type *type = cross_entropy();
    const real outputs[] = {1, 3, 3, 2};
    assert_true(type->sample(outputs, 4, 1, 1, NULL).correct);
    assert_false(type->sample(outputs, 4, 2, 1, NULL).correct);
}

/* A loss that is no number must not look like one. */
static void test_not_a_number(void **state) {
    (void)state;
    const fv_loss_type *type = cross_entropy();
    for (int i = 0; i < 3; i++) {
        real outputs[3] = {1, 2, 3};
        outputs[i] = NAN;
        assert_true(isfinite(type->sample(outputs, 3, 1, 1, NULL).loss) == 0);
    }
}

static void expect_refusal(const char *loss, const char *activation, const char *part) {
    const fv_loss_type *type;
    fv_net *net = net_ending_in(activation);
    assert_int_equal(fv_loss_find(loss, net, &type), FV_INVALID);
    assert_non_null(strstr(fv_error_message(), part));
    fv_net_free(net);
}

static void test_fits_the_net(void **state) {
    (void)state;
    const fv_loss_type *type = NULL;
    fv_net *net = net_ending_in(NULL);
    assert_int_equal(fv_loss_find("", net, &type), FV_OK); /* the default, on logits */
    assert_string_equal(type->name, "cross_entropy");
    fv_net_free(net);
    expect_refusal("cross_entropy", "sigmoid", "softmax");
    expect_refusal("cross_entropi", "softmax", "cross_entropy");

    net = fv_net_new();
    assert_non_null(net);
    fv_tensor x = fv_input(net, .shape = {2, {4, 5}, 1});
    fv_conv(net, x, .filters = 3, .kernel = {3, 3});
    assert_int_equal(fv_net_build(net), FV_OK);
    assert_int_equal(fv_loss_find("", net, &type), FV_SHAPE);
    assert_non_null(strstr(fv_error_message(), "2x3x3"));
    fv_net_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_outputs),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_not_a_number),
        cmocka_unit_test(test_fits_the_net),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
