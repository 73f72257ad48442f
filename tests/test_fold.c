/* Batch norm that the weights before it take up at inference, convolutions that the layer behind
 * carries out, and sums that the convolution before them does: the same outputs as without, from
 * memory and from a file; and where it must not be. */
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

enum { MOST_LAYERS = 16 };

typedef struct setting {
    int batch, threads;
    bool exact;
} setting;

static const setting usual = {3, 2, false};
static const setting settings[] = {
    {3, 2, false}, {3, 2, true}, {3, 1, false}, {1, 1, false}, {1, 2, false}};
enum { SETTINGS = sizeof settings / sizeof settings[0] };

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
static float *run(const fv_net *net, const char *const *outputs, setting at, size_t *count,
                  int *folded) {
    fv_shape in = fv_input_shape(net), out;
    fv_session *session = fv_session_new(net, &(fv_session_options){.batch = at.batch,
                                                                    .threads = at.threads,
                                                                    .exact = at.exact,
                                                                    .outputs = outputs,
                                                                    .profile = true});
    if (!session)
        fail_msg("%s", fv_error_message());
    size_t values = (size_t)at.batch * fv_shape_count(&in);
    float *x = calloc(values, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < values; i++)
        x[i] = sinf((float)i);
    for (int again = 0; again < 2; again++) /* the first leaves its traces in memory */
        assert_int_equal(fv_session_run(session, x, at.batch), FV_OK);
    const float *y = fv_session_output(session, NULL, &out);
    *count = (size_t)at.batch * fv_shape_count(&out);
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
    for (int i = 0; i < SETTINGS; i++) {
        size_t count, plain_count;
        int folded, none;
        float *y = run(net, NULL, settings[i], &count, &folded);
        float *plain = run(net, names, settings[i], &plain_count, &none);
        double most = 0, worst = 0;
        assert_int_equal(count, plain_count);
        for (size_t k = 0; k < count; k++) {
            most = fmax(most, fabs((double)plain[k]));
            worst = fmax(worst, fabs((double)y[k] - (double)plain[k]));
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

/* The names of all layers of the type counted, before their activation. The caller frees them. */
static void before_activation(const fv_net *net, char *names[MOST_LAYERS + 1]) {
    int count = 0;
    for (int i = 0; i < fv_layer_count(net); i++) {
        fv_layer_info info;
        assert_int_equal(fv_layer_describe(net, i, &info), FV_OK);
        if (strcmp(info.type, counted) != 0)
            continue;
        assert_true(count < MOST_LAYERS);
        size_t size = strlen(info.name) + 5;
        names[count] = malloc(size);
        assert_non_null(names[count]);
        snprintf(names[count++], size, "%s.pre", info.name);
    }
    names[count] = NULL;
}

/* A sum that its convolution carries out has the bits of one that is a pass of its own. */
static void check_sum(const char *text, int wanted) {
    char *names[MOST_LAYERS + 1];
    counted = "add";
    check(text, wanted);
    fv_net *net = parse(text);
    set_weights(net);
    before_activation(net, names);
    for (int i = 0; i < SETTINGS; i++) {
        size_t count, apart_count;
        int carried, none;
        float *y = run(net, NULL, settings[i], &count, &carried);
        float *apart = run(net, (const char *const *)names, settings[i], &apart_count, &none);
        assert_int_equal(count, apart_count);
        assert_int_equal(carried, wanted);
        assert_int_equal(none, 0);
        if (memcmp(y, apart, count * sizeof *y) != 0)
            fail_msg("other bits with batch %d, threads %d:\n%s", settings[i].batch,
                     settings[i].threads, text);
        free(y);
        free(apart);
    }
    for (int i = 0; names[i]; i++)
        free(names[i]);
    fv_net_free(net);
    counted = "batch_norm";
}

static void sums_that_a_convolution_carries_out(void **state) {
    (void)state;
    check_sum("input 9x8x5\nconv 5 1x1\nadd relu from=conv1,input1\n", 1);
    check_sum("input 9x8x5\nconv 5 3x3 padding=same\nadd from=input1,conv1\n", 1);
    check_sum("input 9x8x3\nx: conv 17 3x3 relu\nconv 17 3x3 padding=same bias=false\n"
              "b: batch_norm\nadd relu6 from=b,x\n",
              1);
    check_sum("input 14x11x3\nx: conv 24 3x3 relu\nconv 24 3x3 padding=same bias=false\n"
              "b: batch_norm\nadd relu from=x,b\nconv 7 3x3\n",
              1);
    check_sum("input 13x13x16\nx: conv 64 1x1\nconv 16 1x1 relu\nc: conv 64 3x3 padding=same\n"
              "add relu6 from=c,x\n",
              1);
    check_sum("input 12x9x16\nc: conv 24 5x5 padding=same\nx: conv 24 1x1 from=input1\n"
              "d: conv 24 5x5 padding=same from=c\nadd relu from=d,x\n",
              1);
    check_sum("input 9x8x3\nconv 5 3x3\nc: conv 20 1x1\nb: batch_norm\n" /* both are one's */
              "d: conv 20 3x3 from=input1\ne: batch_norm\nadd silu from=b,e\n",
              1);
    check_sum("input 9x8x6\nx: conv 6 1x1 relu\nc: conv 6 3x3 groups=2 pad=1\n"
              "add leaky_relu from=c,x\n",
              1);
    check_sum("input 9x8x6\nx: conv 6 1x1\nconv 4 1x1\nc: conv 6 1x1 table=0+1,1,2,3,2,0-3\n"
              "add softmax from=c,x\n",
              1);
    check_sum("input 33x17\nx: conv 17 3\nc: conv 17 3 padding=same\nadd tanh from=c,x\n", 1);
    check_sum("input 5x6x7x3\nx: conv 9 2x2x2\nc: conv 9 3x3x3 padding=same\nadd relu from=x,c\n",
              1);
    check_sum("input 9x8x5\nx: conv 6 1x1\nconv 6 1x1 bias=false\nbatch_norm\nd: dropout 0.5\n"
              "add relu from=d,x\n",
              1);
    check_sum("input 9x8x5\nconv 6 1x1\nmaxpool 2 stride=1\nx: dropout 0.5\n"
              "c: conv 6 3x3 padding=same\nadd relu from=x,c\nflatten\ndense 3\n",
              1);
}

/* The sum lies in the other input's memory only where that is not needed any more. */
static void sums_and_memory(void **state) {
    (void)state;
    static const char block[] = "input 11x9x16\nx: conv 16 1x1 relu\nconv 16 3x3 pad=1 relu\n"
                                "c: conv 16 3x3 pad=1\na: add relu from=c,x\n";
    static const struct {
        const char *rest;
        int sums;
    } rests[] = {
        {"", 1},
        {"conv 5 3x3 relu\nd: conv 16 1x1 pad=1\nadd relu from=d,a\n", 2},
        {"conv 5 3x3\nd: conv 16 1x1 pad=1\ne: add from=d,a\nf: conv 16 1x1\n"
         "add relu from=f,e\n",
         3},
        {"multiply from=a,x\n", 1},
        {"f: flatten from=x\ng: dense 4\nflatten from=a\nh: dense 4\nmultiply from=h,g\n", 1},
        {"d: dropout 0.5 from=x\nmaximum from=a,d\n", 1},
        {"d: conv 16 1x1\nadd from=d,x\n", 2},
        {"d: conv 16 1x1 from=x\ne: add from=d,a\nmultiply from=e,a\n", 2},
        {"d: conv 16 1x1 from=x\ne: add from=d,x\nmultiply from=e,a\n", 2},
        {"conv 37 1x1\ndepthwise_conv 3x3\n", 1},
        {"flatten\ndense 7\n", 1}};
    for (size_t i = 0; i < sizeof rests / sizeof rests[0]; i++) {
        char text[1024];
        snprintf(text, sizeof text, "%s%s", block, rests[i].rest);
        check_sum(text, rests[i].sums);
    }
}

static void sums_that_stay(void **state) {
    (void)state;
    check_sum("input 9x8x4\nc: conv 4 1x1\nadd from=c,c\n", 0);               /* with itself */
    check_sum("input 9x8x4\nc: conv 4 1x1\nx: maxpool 1\nadd from=c,x\n", 0); /* two readers */
    check_sum("input 9x8x4\nconv 4 1x1\nb: batch_norm\nx: maxpool 1\nadd from=b,x\n", 0);
    check_sum("input 9x8x4\nconv 4 1x1\nd: dropout 0.5\nadd from=d,input1\nadd from=d,add1\n", 0);
    check_sum("input 9x8x4\nc: conv 4 1x1\nadd from=c,input1,input1\n", 0);
    check_sum("input 9x8x4\nx: global_avgpool\nc: conv 4 3x3 from=input1\nadd from=c,x\n", 0);
    check_sum("input 9x8x4\nc: conv 4 9x8\nadd from=c,input1\n", 0); /* one place of its own */
    check_sum("input 9x8x4\nc: conv 4 1x1\nx: maxpool 1 from=input1\nadd from=c,x\n", 0);
    check_sum("input 9x8x4\nc: conv 4 1x1 relu\nadd from=c,input1\n", 0);
    check_sum("input 9x8x4\nconv 4 1x1\nb: batch_norm relu\nadd from=b,input1\n", 0);
    check_sum("input 9x8x4\nc: depthwise_conv 3x3 pad=1\nadd from=c,input1\n", 0);
    check_sum("input 9x8x4\nc: conv 4 3x3 pad=1 groups=4\nadd from=c,input1\n", 0);
    check_sum("input 9x8x4\nc: avgpool 1\nadd from=c,input1\n", 0);
    check_sum("input 7\nc: dense 7\nadd from=c,input1\n", 0);
    counted = "multiply";
    check("input 9x8x4\nc: conv 4 1x1\nmultiply from=c,input1\n", 0);
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
        float *y = run(net, names, usual, &count, &folded);
        assert_int_equal(folded, ask == 2);
        all_layers(net, all);
        float *plain = run(net, all, usual, &plain_count, &folded);
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

/* The same of a sum and what comes before it; what it adds may be asked for. */
static void outputs_of_sums(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int carried;
    } asked[] = {{"c", 0}, {"c.pre", 0}, {"b", 0}, {"a.pre", 0}, {"a", 1}, {"x", 1}, {"x.pre", 1}};
    fv_net *net = parse("input 6x6x3\nx: conv 4 3x3 relu\nconv 7 1x1\nc: conv 4 1x1\n"
                        "b: batch_norm\na: add relu from=b,x\nconv 2 1x1\n");
    set_weights(net);
    const char *all[MOST_LAYERS + 1];
    float input[6 * 6 * 3];
    for (int i = 0; i < 6 * 6 * 3; i++)
        input[i] = cosf((float)i);
    all_layers(net, all);
    fv_session *plain = fv_session_new(net, &(fv_session_options){.outputs = all});
    assert_non_null(plain);
    assert_int_equal(fv_session_run(plain, input, 1), FV_OK);
    counted = "add";
    for (size_t ask = 0; ask < sizeof asked / sizeof asked[0]; ask++) {
        size_t count;
        int carried;
        fv_shape shape;
        const char *names[] = {asked[ask].name, NULL};
        free(run(net, names, usual, &count, &carried));
        assert_int_equal(carried, asked[ask].carried);
        fv_session *session = fv_session_new(net, &(fv_session_options){.outputs = names});
        assert_non_null(session);
        assert_int_equal(fv_session_run(session, input, 1), FV_OK);
        const float *y = fv_session_output(session, names[0], &shape);
        assert_non_null(y);
        const float *wanted = fv_session_output(plain, names[0], &shape);
        for (size_t i = 0; wanted && i < fv_shape_count(&shape); i++)
            assert_true(fabsf(y[i] - wanted[i]) <= 1e-5F * (1 + fabsf(wanted[i])));
        assert_true(wanted || strstr(names[0], ".pre"));
        if (strcmp(names[0], "a") == 0)
            assert_null(fv_session_output(session, "a.pre", &shape));
        fv_session_free(session);
    }
    counted = "batch_norm";
    fv_session_free(plain);
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
    float *y = run(net, NULL, usual, &count, &folded),
          *plain = run(net, all, usual, &plain_count, &(int){0});
    assert_int_equal(folded, 1);
    for (size_t i = 0; i < count; i++)
        assert_true(fabsf(y[i] - plain[i]) <= 1e-4F * (1 + fabsf(plain[i])));
    free(y);
    free(plain);
    fv_net_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_that_take_it_up),
        cmocka_unit_test(layers_that_must_not),
        cmocka_unit_test(layers_that_are_fed),
        cmocka_unit_test(layers_that_must_not_be),
        cmocka_unit_test(the_same_bits),
        cmocka_unit_test(outputs_that_are_asked_for),
        cmocka_unit_test(training_goes_on),
        cmocka_unit_test(sums_that_a_convolution_carries_out),
        cmocka_unit_test(sums_and_memory),
        cmocka_unit_test(sums_that_stay),
        cmocka_unit_test(outputs_of_sums),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
