/* Batch norm that the weights before it take up at inference, and convolutions that the layer
 * behind carries out: the same outputs as without, from memory and from a file; and where it must
 * not be. */
#include "files.h"
#include <fovea.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { BATCH = 3, MOST_LAYERS = 16 };

static fv_net *parse(const char *text) {
    fv_net *net = fv_net_parse(text, "test.net");
    if (!net)
        fail_msg("%s\n%s", fv_error_message(), text);
    return net;
}

/* Numbers from -1 to 1; variances from 0.5 to 1.5. */
static void fill(const char *name, size_t count, float *values) {
    static uint32_t state = 7;
    bool variance = strstr(name, "running_var") != NULL;
    for (size_t i = 0; i < count; i++) {
        state = 1664525u * state + 1013904223u;
        values[i] = (float)(state >> 8) / (float)(1 << 23) - 1;
        if (variance)
            values[i] = 1 + values[i] / 2;
    }
}

static void set_weights(fv_net *net) {
    for (int w = 0; w < fv_weight_count(net); w++) {
        fv_weight_info info;
        assert_int_equal(fv_weight_describe(net, w, &info), FV_OK);
        float *values = calloc(info.count, sizeof *values);
        assert_non_null(values);
        fill(info.name, info.count, values);
        assert_int_equal(fv_set_weight(net, w, values), FV_OK);
        free(values);
    }
}

static const char *counted = "batch_norm"; /* layers of this type, in *folded */

/* The main output of a run that keeps these outputs (NULL: the net's); *folded: how many of the
 * layers counted took no time. The caller frees it. */
static float *run(const fv_net *net, const char *const *outputs, bool exact, size_t *count,
                  int *folded) {
    fv_shape in = fv_input_shape(net), out;
    fv_session *session = fv_session_new(
        net,
        &(fv_session_options){
            .batch = BATCH, .threads = 2, .exact = exact, .outputs = outputs, .profile = true});
    if (!session)
        fail_msg("%s", fv_error_message());
    float *x = calloc(BATCH * fv_shape_count(&in), sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < BATCH * fv_shape_count(&in); i++)
        x[i] = sinf((float)i);
    assert_int_equal(fv_session_run(session, x, BATCH), FV_OK);
    const float *y = fv_session_output(session, NULL, &out);
    *count = BATCH * fv_shape_count(&out);
    float *copy = malloc(*count * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, y, *count * sizeof *copy);
    *folded = 0;
    for (int i = 0; i < fv_layer_count(net); i++) {
        fv_layer_info info;
        assert_int_equal(fv_layer_describe(net, i, &info), FV_OK);
        *folded += strcmp(info.type, counted) == 0 && fv_session_seconds(session, i) == 0;
    }
    free(x);
    fv_session_free(session);
    return copy;
}

/* The names of all layers; a net whose outputs are all kept folds nothing. */
static void all_layers(const fv_net *net, const char *names[MOST_LAYERS + 1]) {
    int count = fv_layer_count(net);
    assert_true(count <= MOST_LAYERS);
    for (int i = 0; i < count; i++) {
        fv_layer_info info;
        assert_int_equal(fv_layer_describe(net, i, &info), FV_OK);
        names[i] = info.name;
    }
    names[count] = NULL;
}

static void compare(const fv_net *net, const char *text, int wanted) {
    const char *names[MOST_LAYERS + 1];
    all_layers(net, names);
    for (int exact = 0; exact < 2; exact++) {
        size_t count, plain_count;
        int folded, none;
        float *y = run(net, NULL, exact, &count, &folded);
        float *plain = run(net, names, exact, &plain_count, &none);
        double most = 0, worst = 0;
        assert_int_equal(count, plain_count);
        for (size_t i = 0; i < count; i++) {
            most = fmax(most, fabs((double)plain[i]));
            worst = fmax(worst, fabs((double)y[i] - (double)plain[i]));
        }
        if (!(worst <= 2e-5 * most) || most == 0 || folded != wanted || none != 0)
            fail_msg("worst %g of %g, folded %d (%d with all outputs kept), expected %d:\n%s",
                     worst, most, folded, none, wanted, text);
        free(y);
        free(plain);
    }
}

/* From memory, and with the weights in a file. */
static void check(const char *text, int wanted) {
    const char *path = in_folder("fold.safetensors");
    fv_net *net = parse(text);
    set_weights(net);
    compare(net, text, wanted);
    assert_int_equal(fv_save(net, path), FV_OK);
    fv_net_free(net);
    fv_net *loaded = fv_net_load(path);
    if (!loaded)
        fail_msg("%s", fv_error_message());
    compare(loaded, text, wanted);
    fv_net_free(loaded);
    unlink(path);
}

static void layers_that_take_it_up(void **state) {
    (void)state;
    check("input 9x8x3\nconv 5 3x3\nbatch_norm relu\n", 1);
    check("input 9x8x3\nconv 5 3x3 bias=false\nbatch_norm relu formula=torch\n", 1);
    check("input 12x12x16\nconv 16 3x3 padding=same bias=false\nbatch_norm\n", 1); /* Winograd */
    check("input 12x12x16\nconv 16 3x3 padding=same\nbatch_norm tanh scale=false\n", 1);
    check("input 9x8x6\nconv 4 3x3 groups=2 stride=2\nbatch_norm bias=false\n", 1);
    check("input 9x8x6\nconv 6 2x2 table=0+1,1,2,3-5,4,0-5\nbatch_norm relu6\n", 0);
    check("input 17x4\nconv 5 3 bias=false\nbatch_norm silu\n", 1);
    check("input 5x6x7x2\nconv 3 2x2x2 bias=false\nbatch_norm\n", 1);
    check("input 9x8x5\ndepthwise_conv 3x3 multiplier=2 bias=false\nbatch_norm relu\n", 1);
    check("input 9x8x5\ndepthwise_conv 3x3\nbatch_norm leaky_relu\n", 1);
    check("input 7\ndense 9\nbatch_norm relu\ndense 4 bias=false\nbatch_norm softmax\n", 2);
    check("input 5x4x3\nflatten\ndense 33 bias=false\nbatch_norm\n", 1);
    check("input 4096\ndense 300\nbatch_norm relu\n", 1); /* read from a file in slices */
    check("input 8x8x4\nconv 8 1x1 bias=false\nbatch_norm relu\nconv 4 1x1 bias=false\n"
          "batch_norm\nadd relu from=batch_norm2,input1\n",
          2);
}

static void layers_that_must_not(void **state) {
    (void)state;
    check("input 9x8x3\nconv 5 3x3 relu\nbatch_norm\n", 0);             /* an activation between */
    check("input 9x8x3\nbatch_norm\nconv 4 1x1\n", 0);                  /* nothing before */
    check("input 9x8x3\nconv 4 1x1\nmaxpool 2\nbatch_norm\n", 0);       /* something between */
    check("input 9x8x3\nconv 4 1x1\nbatch_norm\nbatch_norm relu\n", 1); /* the second stays */
    check("input 9x8x3\nc: conv 3 1x1\nb: batch_norm\nadd from=c,b\n", 0); /* two readers */
    check("input 9x8x3\nconv 3 1x1\ndropout 0.5\nbatch_norm\n", 0);
    check("input 9x8x4\nlayer_norm\nconv 4 3x3\nlayer_norm\n", 0);
}

/* A 1x1 convolution that a depthwise one carries out. */
static void layers_that_are_fed(void **state) {
    (void)state;
    counted = "conv";
    check("input 9x13x3\nconv 37 1x1 relu\ndepthwise_conv 3x3 pad=1\n", 1);
    check("input 9x13x3\nconv 20 1x1 bias=false\nbatch_norm relu6\n"
          "depthwise_conv 3x3 padding=same bias=false\nbatch_norm relu6\nconv 5 1x1\n",
          1);
    check("input 21x29x5\nconv 33 1x1 silu\ndepthwise_conv 5x3 stride=2 pad=2x1 tanh\n", 1);
    check("input 15x16x2\nconv 18 1x1 bias=false\ndepthwise_conv 3x3 dilation=3 stride=2\n", 1);
    check("input 15x16x2\nconv 16 1x1\ndepthwise_conv 2x2 stride=3\n", 1);
    check("input 3x300x2\nconv 3 1x1\ndepthwise_conv 3x7 padding=same\n", 1); /* two stretches */
    check("input 40x3\nconv 9 1 tanh\ndepthwise_conv 3 padding=same\n", 1);
    check("input 9x13x3\nconv 8 1x1\nconv 8 3x3 groups=8\nconv 4 1x1\nglobal_avgpool\n", 1);
    check("input 12x12x4\nconv 4 1x1\nd: depthwise_conv 3x3 padding=same\nadd from=input1,d\n", 1);
    counted = "batch_norm";
}

static void layers_that_must_not_be(void **state) {
    (void)state;
    counted = "conv";
    check("input 9x13x3\nconv 8 3x3\ndepthwise_conv 3x3\n", 0);
    check("input 9x31x3\nconv 8 1x1 stride=2\ndepthwise_conv 3x3\n", 0);
    check("input 9x13x3\nconv 8 1x1 pad=1\ndepthwise_conv 3x3\n", 0);
    check("input 9x13x4\nconv 8 1x1 groups=2\ndepthwise_conv 3x3\n", 0);
    check("input 9x13x3\nconv 8 1x1 softmax\ndepthwise_conv 3x3\n", 0);
    check("input 9x13x3\nconv 8 1x1\nmaxpool 1\ndepthwise_conv 3x3\n", 0); /* between them */
    check("input 9x13x3\nconv 8 1x1\ndepthwise_conv 3x3 multiplier=2\n", 0);
    check("input 9x13x3\nconv 8 1x1\nconv 8 3x3 groups=4\n", 0);
    check("input 9x9x3\nconv 8 1x1\ndepthwise_conv 3x3\n", 0); /* short rows */
    check("input 9x13x3\nc: conv 8 1x1\nd: depthwise_conv 3x3 padding=same\nadd from=c,d\n", 0);
    check("input 9x13x3\nc: conv 8 1x1 bias=false\nb: batch_norm\n"
          "d: depthwise_conv 3x3 padding=same\nadd from=b,d\n",
          0);
    check("input 5x9x13x3\nconv 8 1x1x1\ndepthwise_conv 3x3x3\n", 0);
    counted = "batch_norm";
}

/* One sample, which the threads share. */
static void the_same_bits(void **state) {
    (void)state;
    fv_net *net = parse("input 40x150x3\nconv 70 1x1 silu\ndepthwise_conv 5x5 stride=2 pad=2\n"
                        "depthwise_conv 3x3 pad=1 multiplier=2\n");
    fv_shape in = fv_input_shape(net), out;
    float *x = calloc(fv_shape_count(&in), sizeof *x), *first = NULL;
    set_weights(net);
    assert_non_null(x);
    for (size_t i = 0; i < fv_shape_count(&in); i++)
        x[i] = sinf((float)i);
    for (int threads = 1; threads < 6; threads++) {
        fv_session *session = fv_session_new(net, &(fv_session_options){.threads = threads});
        assert_non_null(session);
        assert_int_equal(fv_session_run(session, x, 1), FV_OK);
        const float *y = fv_session_output(session, NULL, &out);
        size_t bytes = fv_shape_count(&out) * sizeof *y;
        if (!first) {
            first = malloc(bytes);
            assert_non_null(first);
            memcpy(first, y, bytes);
        }
        assert_memory_equal(first, y, bytes);
        fv_session_free(session);
    }
    free(first);
    free(x);
    fv_net_free(net);
}

/* Whoever asks for the layer before, or for the norm before its activation, gets it. */
static void outputs_that_are_asked_for(void **state) {
    (void)state;
    static const char text[] = "input 6x6x3\nc: conv 4 3x3\nb: batch_norm relu\nconv 2 1x1\n";
    fv_net *net = parse(text);
    set_weights(net);
    for (int ask = 0; ask < 4; ask++) {
        static const char *const asked[] = {"c", "b.pre", "b", "c.pre"};
        size_t count, plain_count;
        int folded;
        const char *names[] = {asked[ask], NULL}, *all[MOST_LAYERS + 1];
        fv_shape shape;
        float *y = run(net, names, false, &count, &folded);
        assert_int_equal(folded, ask == 2);
        all_layers(net, all);
        float *plain = run(net, all, false, &plain_count, &folded);
        for (size_t i = 0; i < count; i++)
            assert_true(fabsf(y[i] - plain[i]) <= 1e-5F * (1 + fabsf(plain[i])));
        free(y);
        free(plain);
        fv_session *session = fv_session_new(net, &(fv_session_options){.outputs = names});
        assert_non_null(session);
        assert_int_equal(fv_session_run(session, (float[6 * 6 * 3]){1}, 1), FV_OK);
        assert_non_null(fv_session_output(session, asked[ask], &shape));
        if (ask == 2) /* b is kept, but not what was before its activation */
            assert_null(fv_session_output(session, "b.pre", &shape));
        fv_session_free(session);
    }
    fv_net_free(net);
}

/* Training and what it validates with see the same net. */
static void training_goes_on(void **state) {
    (void)state;
    fv_net *net = parse("input 6x6x3\nconv 8 3x3 bias=false\nbatch_norm relu\nflatten\ndense 2\n"
                        "train loss=cross_entropy lr=0.1 batch=8\n");
    fv_trainer *trainer = fv_trainer_new(net, NULL);
    float x[8 * 108];
    int labels[8];
    fv_score score = {0}, first;
    assert_non_null(trainer);
    for (int i = 0; i < 8 * 108; i++)
        x[i] = sinf((float)i * (float)(1 + i / 108 % 2));
    for (int i = 0; i < 8; i++)
        labels[i] = i % 2;
    assert_int_equal(fv_trainer_step(trainer, x, labels, 8, &first), FV_OK);
    for (int i = 0; i < 60; i++)
        assert_int_equal(fv_trainer_step(trainer, x, labels, 8, &score), FV_OK);
    assert_true(score.loss < first.loss / 4);
    fv_trainer_free(trainer);
    size_t count, plain_count;
    int folded;
    const char *all[MOST_LAYERS + 1];
    all_layers(net, all);
    float *y = run(net, NULL, false, &count, &folded),
          *plain = run(net, all, false, &plain_count, &(int){0});
    assert_int_equal(folded, 1);
    for (size_t i = 0; i < count; i++)
        assert_true(fabsf(y[i] - plain[i]) <= 1e-4F * (1 + fabsf(plain[i])));
    free(y);
    free(plain);
    fv_net_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_that_take_it_up), cmocka_unit_test(layers_that_must_not),
        cmocka_unit_test(layers_that_are_fed),    cmocka_unit_test(layers_that_must_not_be),
        cmocka_unit_test(the_same_bits),          cmocka_unit_test(outputs_that_are_asked_for),
        cmocka_unit_test(training_goes_on),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
