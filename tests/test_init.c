/* Initialisers: the limits, means and deviations that their formulas promise, orthonormal rows or
 * columns of orthogonal weights as files have them, and the same bits from the same seed. */
#include "net/net.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A conv of 5x5x8 to 40: fans of 200 and 1000, 8000 weights. */
enum { IN = 200, OUT = 1000, COUNT = 8000 };

static fv_net *make_net(const char *layers) {
    fv_net *net = fv_net_parse(layers, "init.net");
    if (!net || fv_net_draw(net))
        fail_msg("%s: %s", layers, fv_error_message());
    return net;
}

static fv_net *make_conv(const char *init) {
    char text[200];
    snprintf(text, sizeof text, "input 9x9x8\nconv 40 5x5 init=%s\n", init);
    return make_net(text);
}

/* limit: no value is beyond it, and one comes near; 0: there is none. */
static void expect_spread(const char *init, double deviation, double limit) {
    fv_net *net = make_conv(init);
    double sum = 0, squares = 0, most = 0;
    assert_int_equal(net->nodes[1].weights[0].count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        double w = (double)net->weights[net->nodes[1].weights[0].offset + (size_t)i];
        sum += w;
        squares += w * w;
        most = fmax(most, fabs(w));
    }
    double mean = sum / COUNT, found = sqrt(squares / COUNT - mean * mean);
    if (!(fabs(mean) <= 4 * deviation / sqrt(COUNT)) ||
        !(fabs(found - deviation) <= 0.04 * deviation))
        fail_msg("%s: mean %g, deviation %g, expected 0 and %g", init, mean, found, deviation);
    if (!(limit > 0 ? most <= limit * 1.000001 && most > 0.99 * limit : most > 3 * deviation))
        fail_msg("%s: the largest is %g, the limit %g", init, most, limit);
    fv_net_free(net);
}

/* Of normals cut at two deviations, by the deviation that is left. */
static double cut(double deviation) {
    return 2 * deviation / 0.87962566103423978;
}

static void values_spread_as_promised(void **state) {
    (void)state;
    const double third = sqrt(3);
    expect_spread("glorot_uniform", sqrt(2.0 / (IN + OUT)), sqrt(6.0 / (IN + OUT)));
    expect_spread("glorot_normal", sqrt(2.0 / (IN + OUT)), cut(sqrt(2.0 / (IN + OUT))));
    expect_spread("he_uniform", sqrt(2.0 / IN), sqrt(6.0 / IN));
    expect_spread("he_normal", sqrt(2.0 / IN), cut(sqrt(2.0 / IN)));
    expect_spread("lecun_uniform", sqrt(1.0 / IN), sqrt(3.0 / IN));
    expect_spread("lecun_normal", sqrt(1.0 / IN), cut(sqrt(1.0 / IN)));
    expect_spread("normal(0.3)", 0.3, 0);
    expect_spread("truncated_normal(0.3)", 0.3 * 0.87962566103423978, 0.6);
    expect_spread("uniform(0.3)", 0.3 / third, 0.3);
    expect_spread("kaiming_normal", sqrt(2.0 / IN), 0);
    expect_spread("kaiming_normal_out", sqrt(2.0 / OUT), 0);
    expect_spread("fan_in_uniform", 1 / sqrt(IN) / third, 1 / sqrt(IN));
    fv_net *net = make_conv("constant(-0.25)");
    for (int i = 0; i < COUNT; i++)
        assert_true(net->weights[net->nodes[1].weights[0].offset + (size_t)i] == (real)-0.25);
    fv_net_free(net);
}

/* Rows of the file's matrix (or columns, where they are fewer) times themselves: gain^2 or 0. */
static void expect_orthogonal(const char *layers, double gain) {
    fv_net *net = make_net(layers);
    const fv_weight *weight = &net->nodes[1].weights[0];
    size_t outputs = weight->spec.size[0], rest = weight->count / outputs;
    float *file = calloc(weight->count, sizeof *file);
    assert_non_null(file);
    fv_weight_to_file(weight, net->weights + weight->offset, file);
    size_t vectors = outputs < rest ? outputs : rest, length = weight->count / vectors;
    size_t next = outputs <= rest ? rest : 1, step = outputs <= rest ? 1 : rest;
    for (size_t a = 0; a < vectors; a++)
        for (size_t b = 0; b <= a; b++) {
            double sum = 0;
            for (size_t i = 0; i < length; i++)
                sum += (double)file[a * next + i * step] * (double)file[b * next + i * step];
            if (!(fabs(sum - (a == b ? gain * gain : 0)) <= 1e-5 * gain * gain))
                fail_msg("%s: %zu by %zu is %g", layers, a, b, sum);
        }
    free(file);
    fv_net_free(net);
}

static void orthogonal_weights_are(void **state) {
    (void)state;
    expect_orthogonal("input 9x9x8\nconv 40 5x5 init=orthogonal\n", 1);
    expect_orthogonal("input 9x9x2\nconv 70 3x3 init=orthogonal(3)\n", 3);
    expect_orthogonal("input 50\ndense 50 init=orthogonal\n", 1);
    expect_orthogonal("input 33\ndense 1 init=orthogonal\n", 1);
    expect_orthogonal("input 1\ndense 33 init=orthogonal(0.5)\n", 0.5);
}

static void a_seed_gives_its_bits(void **state) {
    (void)state;
    static const char *const inits[] = {"orthogonal", "truncated_normal(1)", "kaiming_normal"};
    for (int i = 0; i < 3; i++) {
        fv_net *a = make_conv(inits[i]), *b = make_conv(inits[i]);
        assert_memory_equal(a->weights, b->weights, a->weight_size * sizeof(real));
        assert_int_equal(fv_net_initialize(a, 7), FV_OK);
        assert_memory_not_equal(a->weights, b->weights, a->weight_size * sizeof(real));
        assert_int_equal(fv_net_initialize(b, 7), FV_OK);
        assert_memory_equal(a->weights, b->weights, a->weight_size * sizeof(real));
        fv_net_free(a);
        fv_net_free(b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_spread_as_promised),
        cmocka_unit_test(orthogonal_weights_are),
        cmocka_unit_test(a_seed_gives_its_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
