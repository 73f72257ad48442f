/* ONNX out: the files hold the nodes, constants, inputs and outputs that they should (read back
 * with nanopb), with the weights' own values; equal nets give equal files; what ONNX cannot say is
 * refused by the layer's name; and whatever fails leaves nothing behind. That ONNX Runtime computes
 * the same from them is held by peers/onnx_export.py. */
#include "files.h"
#include "formats/onnx/export.h"
#include "onnx_text.h"
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef FV_HAVE_ONNX

static fv_net *parse(const char *text) {
    fv_net *net = fv_net_parse(text, "test.net");
    if (!net)
        fail_msg("%s", fv_error_message());
    return net;
}

/* Files in the folder of the tests. */
static int file_count(void) {
    char path[512];
    snprintf(path, sizeof path, "%s", in_folder("."));
    DIR *folder = opendir(path);
    assert_non_null(folder);
    int count = -2; /* . and .. */
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* Exports the net and reads it back; the caller frees the text. */
static onnx_text exported(const fv_net *net) {
    const char *path = in_folder("a.onnx");
    if (fv_export(net, path) != FV_OK)
        fail_msg("%s", fv_error_message());
    assert_int_equal(file_count(), 1);
    onnx_text text = onnx_text_read(net, path);
    unlink(in_folder("a.onnx"));
    return text;
}

/* ---- What the files hold -------------------------------------------------------------------- */

static void usual_net(void **state) {
    (void)state;
    fv_net *net = parse("input 6x5x2 scale=0.5 mean=0.25,0.75 deviation=2\n"
                        "conv 4 3x3 relu padding=same stride=2\n"
                        "batch_norm\n"
                        "maxpool 2 stride=1\n"
                        "dropout 0.5\n"
                        "flatten\n"
                        "dense 3 softmax\n");
    onnx_text d = exported(net);
    assert_string_equal(d.ports.bytes, "in input1[N,2,6,5]\nout dense1[N,3]\n");
    assert_string_equal(
        d.nodes.bytes,
        "input1:Mul = Mul(input1, input1:number)\n"
        "input1:Sub = Sub(input1:Mul, input1:numbers)\n"
        "input1:Div = Div(input1:Sub, input1:number_2)\n"
        "conv1:Conv = Conv(input1:Div, conv1.weight, conv1.bias) kernel_shape=3,3 strides=2,2 "
        "dilations=1,1 pads=0,1,1,1 group=1\n"
        "conv1 = Relu(conv1:Conv)\n"
        "batch_norm1 = BatchNormalization(conv1, batch_norm1.weight, batch_norm1.bias, "
        "batch_norm1.running_mean, batch_norm1.running_var) epsilon=0.001\n"
        "maxpool1 = MaxPool(batch_norm1) kernel_shape=2,2 strides=1,1 pads=0,0,0,0 ceil_mode=0\n"
        "flatten1 = Flatten(maxpool1)\n"
        "dense1:Gemm = Gemm(flatten1, dense1.weight, dense1.bias) transB=1\n"
        "dense1 = Softmax(dense1:Gemm) axis=1\n");
    assert_string_equal(d.tensors.bytes,
                        "float input1:number[] 0.5\nfloat input1:numbers[2,1,1] 0.25 0.75\n"
                        "float input1:number_2[] 2\n"
                        "float conv1.weight[4,2,3,3]\nfloat conv1.bias[4]\n"
                        "float batch_norm1.weight[4]\nfloat batch_norm1.bias[4]\n"
                        "float batch_norm1.running_mean[4]\nfloat batch_norm1.running_var[4]\n"
                        "float dense1.weight[3,16]\nfloat dense1.bias[3]\n");
    assert_string_equal(d.other.bytes, "opset 17\n");
    assert_int_equal(d.weights, fv_weight_count(net));
    onnx_text_free(&d);
    fv_net_free(net);
}

/* A flattened vector has its channels first in ONNX; layers that count its values want ours, and a
 * dense layer behind them its own again. */
static void order_of_vectors(void **state) {
    (void)state;
    fv_net *net = parse("input 2x3x4\nflatten\nrelu\nprelu\ndense 2\noutput flatten1\n");
    onnx_text d = exported(net);
    assert_string_equal(d.nodes.bytes,
                        "flatten1:folded = Flatten(input1)\n"
                        "relu1 = Relu(flatten1:folded)\n"
                        "prelu1:Reshape = Reshape(relu1, prelu1:integers)\n"
                        "prelu1:Transpose = Transpose(prelu1:Reshape) perm=0,2,3,1\n"
                        "prelu1:Flatten = Flatten(prelu1:Transpose)\n"
                        "prelu1 = PRelu(prelu1:Flatten, prelu1.weight)\n"
                        "dense1:Reshape = Reshape(prelu1, dense1:integers)\n"
                        "dense1:Transpose = Transpose(dense1:Reshape) perm=0,3,1,2\n"
                        "dense1:Flatten = Flatten(dense1:Transpose)\n"
                        "dense1 = Gemm(dense1:Flatten, dense1.weight, dense1.bias) transB=1\n"
                        "flatten1:Reshape = Reshape(flatten1:folded, flatten1:integers)\n"
                        "flatten1:Transpose = Transpose(flatten1:Reshape) perm=0,2,3,1\n"
                        "flatten1 = Flatten(flatten1:Transpose)\n");
    assert_string_equal(d.tensors.bytes,
                        "int64 prelu1:integers[4] 0 4 2 3\nfloat prelu1.weight[24]\n"
                        "int64 dense1:integers[4] 0 2 3 4\n"
                        "float dense1.weight[2,24]\nfloat dense1.bias[2]\n"
                        "int64 flatten1:integers[4] 0 4 2 3\n");
    assert_string_equal(d.ports.bytes, "in input1[N,4,2,3]\nout flatten1[N,24]\nout dense1[N,2]\n");
    onnx_text_free(&d);
    fv_net_free(net);
}

/* Outputs that have no value of their own are copies; what only trains is left out. */
static void outputs(void **state) {
    (void)state;
    fv_net *net = parse("input *x*x2\na: conv 3 1\nb: dropout 0.5\nside: conv 1 1 from=a\n"
                        "c: conv 2 1 from=b\noutput input1,b\nloss mse of=side auxiliary=true\n"
                        "loss mse of=c\n");
    onnx_text d = exported(net);
    assert_string_equal(d.ports.bytes,
                        "in input1[N,2,H,W]\nout input1:Identity[N,2,?,?]\nout b[N,3,?,?]\n"
                        "out c[N,2,?,?]\n");
    assert_string_equal(
        d.nodes.bytes,
        "a = Conv(input1, a.weight, a.bias) kernel_shape=1,1 strides=1,1 dilations=1,1 "
        "pads=0,0,0,0 group=1\n"
        "c = Conv(a, c.weight, c.bias) kernel_shape=1,1 strides=1,1 dilations=1,1 pads=0,0,0,0 "
        "group=1\n"
        "input1:Identity = Identity(input1)\n"
        "b = Identity(a)\n");
    onnx_text_free(&d);
    fv_net_free(net);
}

/* A layer may be called as another's weight would be. */
static void names(void **state) {
    (void)state;
    fv_net *net = parse("input 4\nx: dense 3\nx.weight: dense 2\nx.weight_: relu\n");
    onnx_text d = exported(net);
    assert_string_equal(d.nodes.bytes,
                        "x = Gemm(input1, x.weight__, x.bias) transB=1\n"
                        "x.weight = Gemm(x, x.weight.weight, x.weight.bias) transB=1\n"
                        "x.weight_ = Relu(x.weight)\n");
    onnx_text_free(&d);
    fv_net_free(net);
}

/* Weights that are not in the file as the net has them: a table's kernels among zeros, the cells of
 * sub-sampling. */
static void expanded_weights(void **state) {
    (void)state;
    fv_net *net = parse("input 2x3\nconv 2 1 table=0+2,1\nsubsample 2\n");
    const float links[] = {3, 5, 7}, coefficients[] = {11, 13};
    assert_int_equal(fv_set_weight(net, 0, links), FV_OK);
    assert_int_equal(fv_set_weight(net, 2, coefficients), FV_OK);
    onnx_text d = exported(net);
    assert_string_equal(d.tensors.bytes,
                        "float conv1:weight[2,3,1] 3 0 5 0 7 0\nfloat conv1.bias[2]\n"
                        "float subsample1:weight[2,1,2] 11 11 13 13\nfloat subsample1.bias[2]\n");
    onnx_text_free(&d);
    fv_net_free(net);
}

static void class_names(void **state) {
    (void)state;
    static const char *const classes[] = {"cat", "Hund \"Rex\""};
    fv_net *net = parse("input 4\ndense 2\n");
    assert_int_equal(fv_set_class_names(net, classes, 2), FV_OK);
#ifdef FV_HAVE_JSON
    onnx_text d = exported(net);
    assert_string_equal(d.other.bytes,
                        "opset 17\nfovea.classes: [\"cat\",\"Hund \\\"Rex\\\"\"]\n"
                        "The classes of the last layer, in the order of its channels: cat, Hund "
                        "\"Rex\"\n");
    onnx_text_free(&d);
#else
    expect_failure(fv_export(net, in_folder("a.onnx")), FV_UNSUPPORTED, "JSON");
#endif
    fv_net_free(net);
}

/* One net for each layer type; their files hold nodes. What these compute is for ONNX Runtime. */
static const char *const layers[][2] = {
    {"input", ""},
    {"conv", "conv 2 3x3 gelu padding=same"},
    {"depthwise_conv", "depthwise_conv 3x3 gelu_tanh"},
    {"separable_conv", "separable_conv 5 3x3 scaled_tanh"},
    {"conv_transpose", "conv_transpose 4 3 stride=2 padding=same"},
    {"local", "local 2 3 stride=2 padding=same"},
    {"maxpool", "maxpool 3 stride=2 ceil=true"},
    {"avgpool", "avgpool 3 stride=2 pad=1 ceil=true count_include_pad=true"},
    {"global_maxpool", "global_maxpool"},
    {"global_avgpool", "global_avgpool keep=true"},
    {"adaptive_maxpool", "adaptive_maxpool 5x3"},
    {"adaptive_avgpool", "adaptive_avgpool 5x3"},
    {"subsample", "subsample 2"},
    {"rbf", "flatten\nrbf 3"},
    {"constant", "constant 2x3"},
    {"dense", "flatten\ndense 3"},
    {"flatten", "flatten"},
    {"reshape", "reshape 2x128"},
    {"permute", "permute 3,1,2"},
    {"pad", "pad 1 mode=reflect"},
    {"crop", "crop 1:0x2:1"},
    {"slice", "slice 1 3"},
    {"concat", "concat from=input1,input1"},
    {"add", "a: global_avgpool\nadd from=input1,a"},
    {"multiply", "multiply from=input1,input1"},
    {"maximum", "maximum from=input1,input1"},
    {"upsample", "upsample size=13x5"},
    {"depth_to_space", "depth_to_space 2"},
    {"space_to_depth", "space_to_depth 2 order=crd"},
    {"dropout", "dropout 0.5"},
    {"relu", "relu"},
    {"sigmoid", "sigmoid"},
    {"tanh", "tanh"},
    {"softmax", "softmax"},
    {"relu6", "relu6"},
    {"leaky_relu", "leaky_relu"},
    {"elu", "elu"},
    {"selu", "selu"},
    {"gelu", "gelu"},
    {"gelu_tanh", "gelu_tanh"},
    {"silu", "silu"},
    {"mish", "mish"},
    {"hard_sigmoid", "hard_sigmoid"},
    {"hard_swish", "hard_swish"},
    {"softplus", "softplus"},
    {"softsign", "softsign"},
    {"scaled_tanh", "scaled_tanh"},
    {"log_softmax", "log_softmax"},
    {"prelu", "prelu"},
    {"batch_norm", "batch_norm scale=false"},
    {"layer_norm", "layer_norm all=true scale=false"},
    {"group_norm", "group_norm 2"},
    {"instance_norm", "instance_norm scale=false bias=false"},
    {"rms_norm", "rms_norm"},
    {"lrn", "lrn 4 formula=torch"},
    {"l2_normalize", "l2_normalize"},
    {"spatial_dropout", "spatial_dropout 0.5"},
    {"gaussian_noise", "gaussian_noise 0.5"},
};
enum { LAYERS = sizeof layers / sizeof layers[0] };

static fv_net *layer_net(int i) {
    char text[200];
    snprintf(text, sizeof text, "input 8x8x4\n%s\n", layers[i][1]);
    return parse(text);
}

static void all_layers(void **state) {
    (void)state;
    for (int t = 0; fv_layer_types[t]; t++) {
        int i = 0;
        while (i < LAYERS && strcmp(layers[i][0], fv_layer_types[t]->name) != 0)
            i++;
        if (i == LAYERS)
            fail_msg("no net has the layer %s", fv_layer_types[t]->name);
        fv_net *net = layer_net(i);
        onnx_text d = exported(net);
        assert_true(d.nodes.size > 0);
        onnx_text_free(&d);
        fv_net_free(net);
    }
}

static void equal_files(void **state) {
    (void)state;
    for (int i = 0; i < LAYERS; i++) {
        size_t size[2];
        unsigned char *bytes[2];
        for (int k = 0; k < 2; k++) {
            fv_net *net = layer_net(i);
            assert_int_equal(fv_export(net, in_folder("a.onnx")), FV_OK);
            bytes[k] = read_whole(in_folder("a.onnx"), &size[k]);
            fv_net_free(net);
        }
        assert_int_equal(size[0], size[1]);
        assert_memory_equal(bytes[0], bytes[1], size[0]);
        free(bytes[0]);
        free(bytes[1]);
    }
    unlink(in_folder("a.onnx"));
}

/* ---- What fails ----------------------------------------------------------------------------- */

static void refused(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"input *x*x3\np: adaptive_avgpool 2\n",
         "p (test.net:2): adaptive_avgpool has no ONNX form: its windows follow from an input size "
         "that varies"},
        {"input *x*x3\nmaxpool 2 stride=3 ceil=true\n", "maxpool has no ONNX form: ceil=true"},
        {"input *x*x3\nconv 4 3 padding=same stride=2 dilation=2\n",
         "conv has no ONNX form: padding=same"},
        {"input *x*x*x8\nrelu\ndepth_to_space 2\n", "several sizes that vary"},
        {"input *x*x*x8\nspace_to_depth 2 order=crd\nrelu\n", "several sizes that vary"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fv_net *net = parse(cases[i][0]);
        expect_failure(fv_export(net, in_folder("a.onnx")), FV_UNSUPPORTED, cases[i][1]);
        fv_net_free(net);
    }
    fv_net *net = fv_net_new();
    assert_non_null(net);
    expect_failure(fv_export(net, in_folder("a.onnx")), FV_INVALID, "not built");
    fv_net_free(net);
    assert_int_equal(file_count(), 0);
}

/* protobuf counts bytes with 31 bits; nothing is read from weights that large. */
static void too_large(void **state) {
    (void)state;
    fv_net *net = parse("input 4\ndense 2\n");
    fv_export_graph graph = {.prefix = "big"};
    const size_t size[] = {1 << 15, 1 << 14};
    const fv_shape shape = {.channels = 4};
    int x = fv_export_input(&graph, "x", &shape);
    fv_export_weight(&graph, net, 0, 2, size);
    fv_export_output(&graph, fv_export_1(&graph, "Relu", x), &shape);
    assert_int_equal(graph.status, FV_OK);
    expect_failure(fv_export_write(&graph, in_folder("a.onnx")), FV_UNSUPPORTED,
                   "too large for one ONNX file");
    assert_int_equal(file_count(), 0);
    fv_export_free(&graph);
    fv_net_free(net);
}

/* Fails each allocation in turn; nothing is left but the file that was there. */
static void fail_allocations(const fv_net *net) {
    char path[512]; /* in_folder() takes its own back */
    snprintf(path, sizeof path, "%s", in_folder("a.onnx"));
    fv_status status = FV_MEMORY;
    int count = 0;
    for (; status != FV_OK; count++) {
        write_file(path, "old", 3);
        allocations_left = count;
        status = fv_export(net, path);
        allocations_left = -1;
        assert_int_equal(file_count(), 1);
        if (status == FV_OK)
            break;
        size_t size;
        unsigned char *bytes = read_whole(path, &size);
        if (status != FV_MEMORY || size != 3)
            fail_msg("allocation %d: status %d, %zu bytes left; %s", count, status, size,
                     fv_error_message());
        free(bytes);
    }
    assert_true(count > 5);
    unlink(path);
}

static void allocations(void **state) {
    (void)state;
    static const char *const classes[] = {"cat", "dog"};
    for (int i = 0; i < LAYERS; i++) {
        fv_net *net = layer_net(i);
        fail_allocations(net);
        fv_net_free(net);
    }
    fv_net *net = parse("input 3x2x2 mean=1,2\nflatten\na: dropout 0.5\nconv 2 1 from=input1 "
                        "table=0,1\nflatten\ndense 2\noutput a\n");
    assert_int_equal(fv_set_class_names(net, classes, 2), FV_OK);
    fail_allocations(net);
    fv_net_free(net);
}

/* A disk that is full after `most` bytes. */
static void write_errors(void **state) {
    (void)state;
    fv_net *net = parse("input 40\ndense 300\n");
    const char *path = in_folder("a.onnx");
    write_file(path, "old", 3);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (rlim_t most = 2; most < 50000; most += 12000) {
        struct rlimit limit = {.rlim_cur = most, .rlim_max = before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        fv_status status = fv_export(net, path);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        expect_failure(status, FV_IO, "File too large");
        assert_int_equal(file_count(), 1);
    }
    signal(SIGXFSZ, handler);
    size_t size;
    unsigned char *bytes = read_whole(path, &size);
    assert_int_equal(size, 3);
    assert_memory_equal(bytes, "old", 3);
    free(bytes);
    unlink(path);
    expect_failure(fv_export(net, in_folder("none/a.onnx")), FV_IO, "none/a.onnx");
    assert_int_equal(file_count(), 0);
    fv_net_free(net);
}

#else

static void no_onnx(void **state) {
    (void)state;
    fv_net *net = fv_net_parse("input 4\ndense 2\n", "test.net");
    assert_non_null(net);
    expect_failure(fv_export(net, in_folder("a.onnx")), FV_UNSUPPORTED, "no ONNX");
    fv_net_free(net);
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
#ifdef FV_HAVE_ONNX
        cmocka_unit_test(usual_net),   cmocka_unit_test(order_of_vectors),
        cmocka_unit_test(outputs),     cmocka_unit_test(names),
        cmocka_unit_test(class_names), cmocka_unit_test(expanded_weights),
        cmocka_unit_test(all_layers),  cmocka_unit_test(equal_files),
        cmocka_unit_test(refused),     cmocka_unit_test(too_large),
        cmocka_unit_test(allocations), cmocka_unit_test(write_errors),
#else
        cmocka_unit_test(no_onnx),
#endif
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
