/* ONNX out and in again: nets come back with the same layers, weights and outputs; what ONNX says
 * in other layers computes the same. Then what an imported net is good for: settings, training,
 * saving.
 */
#include "files.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed;

/* -1 to 1 (a linear congruential generator: Knuth's MMIX). */
static float draw(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)(seed >> 40) / (float)(1 << 23) - 1;
}

/* Every weight another number, of a variance a positive one. */
static void draw_weights(fv_net *net) {
    for (int w = 0; w < fv_weight_count(net); w++) {
        fv_weight_info info;
        assert_int_equal(fv_weight_describe(net, w, &info), FV_OK);
        float *values = malloc(info.count * sizeof *values);
        assert_non_null(values);
        for (size_t i = 0; i < info.count; i++)
            values[i] = strstr(info.name, "running_var") ? 1.25f + draw() : draw();
        assert_int_equal(fv_set_weight(net, w, values), FV_OK);
        free(values);
    }
}

static fv_net *parse(const char *text) {
    fv_net *net = fv_net_parse(text, "test.net");
    if (!net)
        fail_msg("%s\n%s", fv_error_message(), text);
    draw_weights(net);
    return net;
}

static fv_net *exported_and_read(const fv_net *net, const char *file) {
    const char *path = in_folder(file);
    fv_net *again = fv_export(net, path) == FV_OK ? fv_net_load(path) : NULL;
    if (!again) {
        char *text = fv_net_print(net, false);
        print_error("%s\n%s", fv_error_message(), text);
        fv_free_memory(text);
        fail();
    }
    return again;
}

/* Prints both nets. */
__attribute__((format(printf, 3, 4))) static void differ(const fv_net *net, const fv_net *again,
                                                         const char *format, ...) {
    va_list values;
    char what[400], *first = fv_net_print(net, false), *second = fv_net_print(again, false);
    va_start(values, format);
    vsnprintf(what, sizeof what, format, values);
    va_end(values);
    print_error("%s\n---- exported\n%s---- read\n%s", what, first, second);
    fv_free_memory(first);
    fv_free_memory(second);
    fail();
}

/* ---- Comparing nets -------------------------------------------------------------------------- */

enum { SAMPLES = 3 };

/* A session that has run numbers, the same each time, of fixed sizes for those that vary. */
static fv_session *run(const fv_net *net) {
    fv_session_options options = {.batch = SAMPLES, .exact = true};
    fv_shape shape = fv_input_shape(net);
    for (int i = 0; i < shape.rank; i++)
        if (shape.size[i] == FV_ANY) {
            shape.size[i] = 9 + i;
            options.shape = shape;
        }
    for (int i = 0; i < shape.rank && options.shape.rank; i++)
        options.shape.size[i] = shape.size[i];
    size_t count = SAMPLES * fv_shape_count(&shape);
    float *input = malloc(count * sizeof *input);
    fv_session *session = fv_session_new(net, &options);
    assert_non_null(input);
    seed = 77;
    for (size_t i = 0; i < count; i++)
        input[i] = 2 * draw();
    if (!session || fv_session_run(session, input, SAMPLES) != FV_OK)
        fail_msg("%s", fv_error_message());
    free(input);
    return session;
}

static void same_values(const fv_net *net, const fv_net *again, const char *name,
                        const fv_session *first, const fv_session *second) {
    fv_shape shape, other;
    const float *a = fv_session_output(first, name, &shape);
    const float *b = fv_session_output(second, fv_output_count(net) > 1 ? name : NULL, &other);
    if (!a || !b || shape.rank != other.rank || shape.channels != other.channels)
        differ(net, again, "output %s: %s", name, fv_error_message());
    for (int i = 0; i < shape.rank; i++)
        if (shape.size[i] != other.size[i])
            differ(net, again, "output %s: size %d is %d", name, i, other.size[i]);
    size_t count = SAMPLES * fv_shape_count(&shape);
    double largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)a[i]));
    assert_true(largest > 0);
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= 1e-5 * largest))
            differ(net, again, "output %s: value %zu is %.9g, not %.9g", name, i, (double)b[i],
                   (double)a[i]);
}

static void same_outputs(const fv_net *net, const fv_net *again) {
    if (fv_output_count(net) != fv_output_count(again))
        differ(net, again, "%d outputs, not %d", fv_output_count(again), fv_output_count(net));
    fv_session *first = run(net), *second = run(again);
    for (int i = 0; i < fv_output_count(net); i++)
        same_values(net, again, fv_output_name(net, i), first, second);
    fv_session_free(first);
    fv_session_free(second);
}

static bool same_shape(const fv_shape *a, const fv_shape *b) {
    bool same = a->rank == b->rank && a->channels == b->channels;
    for (int i = 0; same && i < a->rank; i++)
        same = a->size[i] == b->size[i];
    return same;
}

/* Number, names, types, shapes, parameters and multiply-adds. */
static void same_layers(const fv_net *net, const fv_net *again) {
    if (fv_layer_count(net) != fv_layer_count(again))
        differ(net, again, "%d layers, not %d", fv_layer_count(again), fv_layer_count(net));
    for (int i = 0; i < fv_layer_count(net); i++) {
        fv_layer_info a, b;
        assert_int_equal(fv_layer_describe(net, i, &a), FV_OK);
        assert_int_equal(fv_layer_describe(again, i, &b), FV_OK);
        if (strcmp(a.name, b.name) != 0 || strcmp(a.type, b.type) != 0)
            differ(net, again, "layer %d is %s, a %s, not %s, a %s", i, b.name, b.type, a.name,
                   a.type);
        if (!same_shape(&a.output, &b.output) || a.parameters != b.parameters || a.macs != b.macs)
            differ(net, again, "%s: %lld parameters, not %lld; %lld multiply-adds, not %lld",
                   a.name, (long long)b.parameters, (long long)a.parameters, (long long)b.macs,
                   (long long)a.macs);
    }
}

static void same_weights(const fv_net *net, const fv_net *again) {
    assert_int_equal(fv_weight_count(net), fv_weight_count(again));
    for (int w = 0; w < fv_weight_count(net); w++) {
        fv_weight_info a, b;
        assert_int_equal(fv_weight_describe(net, w, &a), FV_OK);
        assert_int_equal(fv_weight_describe(again, w, &b), FV_OK);
        if (strcmp(a.name, b.name) != 0 || a.rank != b.rank || a.count != b.count ||
            a.parameter != b.parameter)
            differ(net, again, "weight %s (%zu values), not %s (%zu)", b.name, b.count, a.name,
                   a.count);
        float *first = malloc(a.count * sizeof *first), *second = malloc(a.count * sizeof *first);
        assert_non_null(first);
        assert_non_null(second);
        assert_int_equal(fv_get_weight(net, w, first), FV_OK);
        assert_int_equal(fv_get_weight(again, w, second), FV_OK);
        if (memcmp(first, second, a.count * sizeof *first) != 0)
            differ(net, again, "weight %s has other bits", a.name);
        free(first);
        free(second);
    }
}

/* What was read is exported to the same file. */
static void same_file(const fv_net *net, const fv_net *again) {
    size_t first_size, second_size;
    if (fv_export(again, in_folder("second.onnx")) != FV_OK)
        differ(net, again, "exported again: %s", fv_error_message());
    unsigned char *first = read_whole(in_folder("first.onnx"), &first_size);
    unsigned char *second = read_whole(in_folder("second.onnx"), &second_size);
    if (first_size != second_size || memcmp(first, second, first_size) != 0)
        differ(net, again, "exported again: %zu bytes, not %zu, or others", second_size,
               first_size);
    free(first);
    free(second);
}

static void comes_back(fv_net *net) {
    fv_net *again = exported_and_read(net, "first.onnx");
    same_layers(net, again);
    same_weights(net, again);
    same_outputs(net, again);
    same_file(net, again);
    fv_net_free(again);
    fv_net_free(net);
}

/* ---- Nets that come back as they were ---------------------------------------------------------
 */

static const char *const nets[] = {
    "input 8x7x3\nconv 4 3x3\n",
    "input 8x7x4\nconv 6 3x2 stride=2x1 dilation=1x2 groups=2 pad=1:0x0:2 bias=false\n",
    "input 8x7x3\nconv 4 3x3 padding=same stride=2 relu\n",
    "input 8x7x3\nconv 4 4x4 padding=same_lower\n",
    "input 9x3\nconv 4 3 padding=causal dilation=2\n",
    "input 4x5x6x2\nconv 3 2x3x2 stride=1x2x1\n",
    "input 8x8x16\nconv 16 3x3 pad=1 relu\n",
    "input 8x7x4\ndepthwise_conv 3x3 multiplier=2 relu6\n",
    "input 5x4x3\nconv_transpose 4 3x3 stride=2 pad=1 output_pad=1\n",
    "input 6x3\nconv_transpose 4 3 stride=2 pad=1:0 elu\n",
    "input 8x7x3\nconv 4 3x3 bias=false\nbatch_norm relu\n",
    "input 8x7x3\nbatch_norm formula=torch\nconv 4 3x3 pad=1\n",
    "input 9\ndense 6\nbatch_norm\ndense 4 softmax\n",
    "input 8x7x3\nmaxpool 2\n",
    "input 8x7x3\nmaxpool 3 stride=2 pad=1 ceil=true\nconv 2 1x1\n",
    "input 8x7x3\nmaxpool 3x2 stride=2 padding=same\n",
    "input 8x7x3\navgpool 3 stride=2 pad=1 count_include_pad=true\n",
    "input 8x7x3\navgpool 2 padding=same_lower stride=1\n",
    "input 9x3\nmaxpool 3 stride=2\navgpool 2\n",
    "input 4x5x6x2\nmaxpool 2\n",
    "input 5x4x3\nglobal_avgpool\ndense 4\n",
    "input 5x4x3\nglobal_maxpool keep=true\nconv 2 1x1\n",
    "input 4x5x6x2\nglobal_avgpool\n",
    "input 5x4x3\nflatten\ndense 4 relu\ndense 3 softmax\n",
    "input 5x4x3\nconv 4 2 relu\nflatten\ndense 4 bias=false\n",
    "input 9\ndense 4 tanh\n",
    "input 4x3x2x2\nflatten\ndense 4 log_softmax\n",
    "input 6x5x4\nc: conv 4 3x3 padding=same\nsum: add relu from=c,input1\n",
    "input 6x5x4\na: conv 4 3x3 pad=1 bias=false\nb: batch_norm relu\nc: conv 4 3x3 pad=1\n"
    "d: batch_norm\ne: add from=d,input1\nf: relu\ng: global_avgpool\nh: dense 3 softmax\n",
    "input 6x5x4\na: global_avgpool keep=true\nb: conv 2 1x1 relu\nc: conv 4 1x1 sigmoid\n"
    "d: multiply from=input1,c\n",
    "input 6x5x4\na: conv 2 3x3 pad=1\nb: concat from=a,input1\nc: conv 3 1x1\n",
    "input 6x5x4\na: maxpool 3 stride=1 pad=1\nb: concat axis=2 from=input1,a,input1\n",
    "input 6x5x4\na: sigmoid\nb: maximum from=input1,a\n",
    "input 9\na: dense 4\nb: concat from=a,input1\nc: dense 2\n",
    "input 6x5x4\nslice 1 3\nconv 2 1x1\n",
    "input 6x5x4\nslice 2 axis=1\n",
    "input 6x5x4\npad 1:2x0:1 value=0.5\n",
    "input 6x5x4\npad 2:1x1:0 mode=reflect\n",
    "input 6x5x4\npad 2:1x1:0 mode=replicate\n",
    "input 6x5x4\npermute 2,1,3\n",
    "input 6x5x4\nupsample 2x3\n",
    "input 6x5x4\nupsample 2 mode=bilinear\n",
    "input 6x5x4\nupsample 2 mode=bilinear align_corners=true\n",
    "input 6x5x4\nupsample size=13x7\n",
    "input 6x5x4x2\nupsample size=7x3x9\n",
    "input 6x5x4\nupsample size=9x4 mode=bilinear\n",
    "input 6x5x4\ncrop 1:2x0:1\n",
    "input 6x4\ncrop 1:2\n",
    "input *x*x4\ncrop 1:2x0:1\nconv 2 3x3\n",
    "input 6x5x4\ndepth_to_space 2\n",
    "input 6x5x4\ndepth_to_space 2 order=crd\n",
    "input 6x4x4\nspace_to_depth 2\n",
    "input 6x5x5\nlrn 5 formula=onnx alpha=0.5\n",
    "input 6x5x4\ngroup_norm 2\n",
    "input 6x5x4\ninstance_norm formula=torch\n",
    "input 9\nlayer_norm\n",
    "input 6x5x4\nprelu\n",
    "input 6x5x4\nleaky_relu 0.3\nelu 0.5\nhard_sigmoid 0.2\n",
    "input 6x5x3 scale=1/255\nconv 2 3x3\n",
    "input 6x5x3 scale=0.5 mean=0.1,0.2,0.3 deviation=0.5,0.25,2\nconv 2 3x3 pad=1\n",
    "input *x*x3\nconv 4 3x3 stride=2 relu\nconv 2 3x3 padding=same\nglobal_avgpool\ndense 3\n",
    "input 6x5x3\na: conv 2 3x3 sigmoid\nb: global_avgpool\nc: dense 3\noutput a\n",
    "input 8x7x3\nlocal 4 3x2 stride=2x1 pad=1:0x0:2\n",
    "input 9x3\nlocal 4 3 padding=same stride=2 relu bias=false\n",
    "input 4x5x6x2\nlocal 3 2x3x2 stride=1x2x1 tanh\n",
    "input 5x4x3\nlocal 2 5x4\n",
    "input 5x6x2\nconv 3 1x1 relu\nlocal 2 3 stride=3 pad=0:1x0:0\nlocal 4 1x1\nflatten\ndense 2\n",
    "input 9x2\nadaptive_maxpool 4\nadaptive_maxpool 3\n",
    "input 8x8x4\nadaptive_avgpool 3x5\nconv 2 2x2\n",
    "input 8x8x4\nadaptive_maxpool 4x3 \nrelu\n",
    "input 5x4x6x2\nadaptive_avgpool 3x4x2\nadaptive_maxpool 2x3x2\n",
    "input 5x4x2\nadaptive_avgpool 7\n",
    "input 4x5x3\na: adaptive_avgpool 3x2\nb: adaptive_maxpool 3x2 from=input1\nadd from=a,b\n",
    "input 4x5x3\np: constant 4x5x3\nconstant2: constant 3 from=input1\nadd from=input1,p\n"
    "multiply from=add1,constant2\n",
    "input 6x5x3\nlayer.1-conv_x: conv 2 3x3\nlayer.2: relu\n",
};

static void nets_come_back(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++)
        comes_back(parse(nets[i]));
}

static const char *const activations[] = {
    "relu",       "sigmoid",  "tanh",     "softmax",     "relu6",       "leaky_relu",
    "elu",        "selu",     "gelu",     "gelu_tanh",   "silu",        "mish",
    "hard_swish", "softplus", "softsign", "scaled_tanh", "log_softmax", "hard_sigmoid",
};

/* Of a layer with weights, of one without, and of a vector. */
static void activations_come_back(void **state) {
    (void)state;
    static const char *const texts[] = {
        "input 6x5x4\nconv 3 2x2 %s\n",
        "input 6x5x4\nmaxpool 2\n%s\nconv 2 1x1\n",
        "input 9\ndense 6 %s\ndense 4\n",
    };
    for (size_t i = 0; i < sizeof activations / sizeof activations[0]; i++)
        for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
            char text[200];
            snprintf(text, sizeof text, texts[t], activations[i]);
            comes_back(parse(text));
        }
}

static void a_net_built_in_c(void **state) {
    (void)state;
    fv_net *net = fv_net_new();
    fv_tensor x = fv_input(net, .shape = {2, {12, 11}, 3}), y, both[2];
    x = fv_conv(net, x, .filters = 8, .kernel = {3}, .padding = FV_SAME, .stride = {2},
                .activation = FV_RELU);
    y = fv_depthwise_conv(net, x, .kernel = {3}, .padding = FV_SAME, .activation = FV_SILU);
    both[0] = fv_batch_norm(net, y, .formula = FV_TORCH);
    both[1] = x;
    x = fv_add(net, both, 2, .activation = FV_RELU);
    both[0] = fv_maxpool(net, x, .size = {3}, .stride = {1}, .padding = FV_SAME);
    both[1] = fv_conv(net, x, .filters = 4, .kernel = {1});
    x = fv_concat(net, both, 2, .axis = 0);
    x = fv_dense(net, fv_flatten(net, x), .units = 10, .activation = FV_SOFTMAX);
    assert_true(x >= 0);
    if (fv_net_build(net) != FV_OK)
        fail_msg("%s", fv_error_message());
    draw_weights(net);
    comes_back(net);
}

static void class_names_come_back(void **state) {
    (void)state;
#ifndef FV_HAVE_JSON
    skip();
#endif
    static const char *const classes[] = {"cat", "Hund \"Rex\""};
    fv_net *net = parse("input 4\ndense 2\n");
    assert_int_equal(fv_set_class_names(net, classes, 2), FV_OK);
    fv_net *again = exported_and_read(net, "first.onnx");
    assert_string_equal(fv_class_name(again, 0), classes[0]);
    assert_string_equal(fv_class_name(again, 1), classes[1]);
    same_file(net, again);
    fv_net_free(again);
    fv_net_free(net);
}

/* ---- Nets that compute the same ----------------------------------------------------------------
 */

/* ONNX says these in several nodes, which come back as other layers. */
static const char *const other_layers[] = {
    "separable_conv 5 3x3 multiplier=2",
    "conv 4 3 table=0-1,2,3,0+3",
    "adaptive_maxpool 4x2",
    "adaptive_avgpool 4x2",
    "adaptive_avgpool 1",
    "subsample 2",
    "reshape 2x128",
    "reshape 256\ndense 3",
    "reshape 256",
    "flatten",
    "flatten\nrelu\nprelu\ndense 2",
    "flatten\nbatch_norm\ndropout 0.5\ndense 2",
    "flatten\nslice 7 100\ndense 2",
    "permute 3,1,2",
    "crop 1:0x2:1",
    "a: global_avgpool\nadd from=input1,a",
    "a: global_avgpool\nb: global_maxpool keep=true from=input1\nc: reshape 4\nadd from=a,c",
    "a: flatten\nb: dense 5 from=a\nconcat from=a,b",
    "upsample size=13x5",
    "upsample size=16x4",
    "space_to_depth 2 order=crd",
    "dropout 0.5",
    "spatial_dropout 0.5\nconv 3 1x1",
    "gaussian_noise 0.5\nconv 3 1x1",
    "batch_norm scale=false",
    "batch_norm bias=false",
    "layer_norm",
    "layer_norm all=true",
    "layer_norm all=true scale=false",
    "group_norm 2 scale=false bias=false",
    "instance_norm scale=false bias=false",
    "rms_norm",
    "l2_normalize",
    "prelu shared=true",
    "avgpool 3 stride=2 pad=1 ceil=true count_include_pad=true",
    "maxpool 2 stride=3 ceil=true",
    "lrn 5",
    "conv 3 3x3 scaled_tanh\nsoftmax",
};

static void other_layers_compute_the_same(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof other_layers / sizeof other_layers[0]; i++) {
        char text[300];
        snprintf(text, sizeof text, "input 8x8x4\n%s\n", other_layers[i]);
        fv_net *net = parse(text), *again = exported_and_read(net, "first.onnx");
        same_outputs(net, again);
        fv_net_free(again);
        fv_net_free(net);
    }
}

/* ---- Settings, training, saving ----------------------------------------------------------------
 */

static const char usual[] = "input 8x8x2\nconv 6 3x3 relu pad=1\nbatch_norm\nmaxpool 2\nflatten\n"
                            "dense 8 relu\ndense 3 softmax\n";

static const char *usual_file(void) {
    fv_net *net = parse(usual);
    const char *path = in_folder("usual.onnx");
    assert_int_equal(fv_export(net, path), FV_OK);
    fv_net_free(net);
    return path;
}

static void settings(void **state) {
    (void)state;
    const char *path = usual_file();
    const char *const good[] = {"train.lr=0.125", "train.optimizer=adam", "input1.scale=0.5"};
    fv_net *net = fv_net_load_with(path, good, 3), *plain = fv_net_load(path);
    if (!net || !plain)
        fail_msg("%s", fv_error_message());
    assert_true(fv_get_train_options(net)->lr == 0.125);
    assert_string_equal(fv_get_train_options(net)->optimizer, "adam");
    char *text = fv_net_print(net, false);
    assert_non_null(strstr(text, "scale=0.5"));
    fv_free_memory(text);
    same_weights(net, plain);
    fv_net_free(net);
    fv_net_free(plain);
    static const char *const bad[][2] = {{"train.nonsense=1", "nonsense"},
                                         {"train.lr=fast", "fast"},
                                         {"nosuch.scale=1", "nosuch"},
                                         {"scale", "scale"}};
    for (int i = 0; i < 4; i++) {
        assert_null(fv_net_load_with(path, bad[i], 1));
        expect_failure(fv_error_status(), FV_INVALID, bad[i][1]);
    }
}

/* Steps of a copy that is read and of the net itself do the same. */
static void training(void **state) {
    (void)state;
    enum { BATCH = 8 };
    const char *const options[] = {"train.loss=cross_entropy", "train.lr=0.05"};
    float input[BATCH * 128], losses[2][5];
    int labels[BATCH];
    char text[400];
    snprintf(text, sizeof text, "%strain %s %s\n", usual, options[0] + 6, options[1] + 6);
    seed = 5;
    fv_net *pair[2] = {parse(text), NULL};
    pair[1] = exported_and_read(pair[0], "trained.onnx");
    fv_net_free(pair[1]);
    pair[1] = fv_net_load_with(in_folder("trained.onnx"), options, 2);
    if (!pair[1])
        fail_msg("%s", fv_error_message());
    for (int i = 0; i < BATCH; i++) {
        labels[i] = i % 3;
        for (int k = 0; k < 128; k++)
            input[i * 128 + k] = draw() + (float)labels[i];
    }
    for (int n = 0; n < 2; n++) {
        fv_trainer *trainer =
            fv_trainer_new(pair[n], &(fv_trainer_options){.batch = BATCH, .threads = 1});
        if (!trainer)
            fail_msg("%s", fv_error_message());
        for (int step = 0; step < 5; step++) {
            fv_score score;
            if (fv_trainer_step(trainer, input, labels, BATCH, &score) != FV_OK)
                fail_msg("step %d: %s", step, fv_error_message());
            losses[n][step] = (float)score.loss;
        }
        fv_trainer_free(trainer);
    }
    assert_true(losses[1][4] < losses[1][0]);
    for (int step = 0; step < 5; step++)
        if (!(fabsf(losses[0][step] - losses[1][step]) <= 1e-4f * losses[0][0]))
            fail_msg("loss of step %d: %g, not %g", step, (double)losses[1][step],
                     (double)losses[0][step]);
    fv_net_free(pair[0]);
    fv_net_free(pair[1]);
}

/* Saved while the weights may still be in the ONNX file; that may then go. */
static void saving(void **state) {
    (void)state;
    fv_net *net = fv_net_load(usual_file());
    if (!net)
        fail_msg("%s", fv_error_message());
    if (fv_save(net, in_folder("usual.safetensors")) == FV_UNSUPPORTED) {
        fv_net_free(net);
        skip();
    }
    fv_net *saved = fv_net_load(in_folder("usual.safetensors"));
    if (!saved)
        fail_msg("%s", fv_error_message());
    remove(in_folder("usual.onnx"));
    same_layers(net, saved);
    same_weights(net, saved);
    same_outputs(net, saved);
    char *first = fv_net_print(net, true), *second = fv_net_print(saved, true);
    assert_string_equal(first, second);
    fv_free_memory(first);
    fv_free_memory(second);
    fv_net_free(saved);
    fv_net_free(net);
}

/* Weights are set, others drawn: what is in the file does not come back. */
static void changing(void **state) {
    (void)state;
    fv_net *net = fv_net_load(usual_file()), *other = fv_net_load(in_folder("usual.onnx"));
    assert_non_null(net);
    assert_non_null(other);
    seed = 99;
    draw_weights(net);
    seed = 99;
    draw_weights(other);
    same_weights(net, other);
    assert_int_equal(fv_net_initialize(net, 3), FV_OK);
    fv_net *plain = fv_net_parse(usual, "test.net");
    assert_non_null(plain);
    assert_int_equal(fv_net_initialize(plain, 3), FV_OK);
    same_weights(net, plain);
    fv_net_free(plain);
    fv_net_free(other);
    fv_net_free(net);
}

static void without_memory(void **state) {
    (void)state;
    char path[512]; /* in_folder() takes its own back */
    snprintf(path, sizeof path, "%s", usual_file());
    for (int count = 0;; count++) {
        allocations_left = count;
        fv_net *net = fv_net_load(path);
        allocations_left = -1;
        if (net) {
            assert_true(count > 20);
            fv_net_free(net);
            return;
        }
        if (fv_error_status() != FV_MEMORY)
            fail_msg("allocation %d: status %d, %s", count, fv_error_status(), fv_error_message());
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nets_come_back),
        cmocka_unit_test(activations_come_back),
        cmocka_unit_test(a_net_built_in_c),
        cmocka_unit_test(class_names_come_back),
        cmocka_unit_test(other_layers_compute_the_same),
        cmocka_unit_test(settings),
        cmocka_unit_test(training),
        cmocka_unit_test(saving),
        cmocka_unit_test(changing),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
