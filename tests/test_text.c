/* The .net text: what is printed reads back as the same net, every mistake is an error that names
 * its place and shows a caret under it, and no text at all brings the parser down. */
#include "files.h"
#include "folders.h"
#include "net/net.h"
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char small[] = "input 6x6x1 scale=1/255\n"
                            "conv 2 3x3 relu pad=1 init=normal(0.1)\n"
                            "maxpool 3x3 stride=2\n"
                            "a: dropout 0.25\n"
                            "flatten\n"
                            "dense 3 softmax bias=false from=flatten1\n"
                            "\n"
                            "train loss=cross_entropy optimizer=adam lr=0.01 epochs=2\n";

/* ---- Errors ---------------------------------------------------------------------------------- */

typedef struct fault {
    const char *text;
    int line, column;
    const char *words; /* of the message */
} fault;

static const fault faults[] = {
    /* Statements */
    {"", 1, 1, "no layers"},
    {"# nothing\n\n  \n", 3, 1, "starts with an input line"},
    {"train lr=1", 1, 1, "no layers"},
    {"conv 2 5x5", 1, 1, "first layer must be an input"},
    {"input 3\ninput 3", 2, 1, "a second input"},
    {"input 3\n\n  cnov 3", 3, 3,
     "unknown layer \"cnov\" (did you mean \"conv\"?); known: input, "},
    {"input 3\nTrain lr=1", 2, 1, "did you mean \"train\"?"},
    {"input 3\nx: train lr=1", 2, 1, "has no name"},
    {"input 3\nx: output input1", 2, 1, "an output statement has no name"},
    {"input 3\nouptut input1", 2, 1, "did you mean \"output\"?"},
    {"input 3\n output", 2, 2, "output of which layer?"},
    {"input 3\noutput input1,nosuch", 2, 15, "no layer is called \"nosuch\" above this line"},
    {"input 3\noutput input1,", 2, 15, "no layer is called \"\""},
    {"input 3\noutput relu1\nrelu", 2, 8, "no layer is called \"relu1\" above this line"},
    {"input 3\noutput input1 input1", 2, 15, "names stand with commas"},
    {"input 3\na: relu\nrelu from=input1\noutput relu2", 2, 4, "no layer or loss reads"},
    {"input 3\nloss mse auxiliary=1", 2, 20, "auxiliary is \"1\""},
    /* Names */
    {"input 3\nx:", 2, 1, "type must follow"},
    {"a: input 3\nrelu\n a: relu", 3, 2, "\"a\" is taken by line 1"},
    {"relu1: input 3\nrelu", 2, 1, "name of this line, \"relu1\" is taken by line 1"},
    {"b.pre: input 3", 1, 1, "may not end in \".pre\""},
    {"train: input 3", 1, 1, "no name for a layer"},
    {": input 3", 1, 1, "is no name"},
    {"a=b: input 3", 1, 1, "is no name"},
    {"\xC3\xA9: input 3", 1, 1, "is no name"},
    {"a123456789012345678901234567890123456789012345678901234567890123: input 3", 1, 1,
     "1 to 63 letters"},
    /* Keys */
    {"input 3\n\tdense\t3 untis=4", 2, 10,
     "unknown key of dense \"untis\" (did you mean \"units\""},
    {"input 3\ndense 3 zzz=4", 2, 9, "known: units, activation, bias, init, bias_init, lr,"},
    {"input 3 from=input1", 1, 9, "known: shape, scale, mean, deviation, resize, side"},
    {"input 3\ndense 3 units=4", 2, 9, "units is given twice"},
    {"input 3\ndense 3 bias=true bias=true", 2, 19, "bias is given twice"},
    {"input 3\ndense 3 relu tanh", 2, 14, "activation is given twice"},
    {"input 3\ntrain lr=1\ntrain rho=0.9 lr=2", 3, 15, "lr is given twice"},
    {"input 3\ndense 3 bias=", 2, 14, "bias has no value"},
    {"input 3\ntrain lr = 1", 2, 7, "key=value, without blanks"},
    {"input 3\ntrain epochs=1\ntrain steps=2", 3, 1, "both epochs and steps"},
    /* Values without keys */
    {"input 3\nflatten 3", 2, 9, "flatten takes no values"},
    {"input 3\ndense 3 relu 4", 2, 14, "unexpected \"4\""},
    {"input 9x1\nconv 1 3 padding=same pad=1:0", 2, 1, "exclude each other"},
    {"input 9x1\nconv 1 3 padding=same pad=0:1", 2, 1, "exclude each other"},
    {"input 3\ndense bias=true 3", 2, 17, "values without a key come first"},
    {"input 9x9x1\nconv 3 same", 2, 8, "needs its key here: padding=same"},
    {"input 9x9x1\nconv 3 3x3 rleu", 2, 12, "unknown activation \"rleu\" (did you mean \"relu\"?)"},
    {"input 9x9x1\nconv 3", 2, 1, "conv needs kernel: "},
    {"input 9x9x1\nconv relu 3x3", 2, 11, "filters is \"3x3\"; expected a whole number"},
    /* Numbers */
    {"input 3\ndense 0", 2, 7, "units is 0; allowed is 1 to "},
    {"input 3\ndense -1", 2, 7, "units is -1; allowed"},
    {"input 3\ndense 2.5", 2, 7, "a whole number"},
    {"input 3\ndense 99999999999999999999", 2, 7, "allowed is 1 to"},
    {"input 3\ndense 0x10", 2, 7, "a whole number"},
    {"input 3\ndense 3/1", 2, 7, "a whole number"},
    {"input 3\ndropout 1", 2, 9, "rate is 1; allowed is 0 to less than 1"},
    {"input 3\ndropout nan", 2, 9, "rate is \"nan\"; expected a number"},
    {"input 3\ndropout inf", 2, 9, "expected a number"},
    {"input 3\ndropout 0.5x", 2, 9, "expected a number"},
    {"input 3\ndropout 0,5", 2, 9, "expected a number"},
    {"input 3\ndropout 1e999", 2, 9, "expected a number"},
    {"input 3\ndropout 1/0", 2, 9, "expected a number"},
    {"input 3\ndropout 0/0", 2, 9, "expected a number"},
    {"input 3\ndropout 1/2/3", 2, 9, "expected a number"},
    {"input 3\ndropout /2", 2, 9, "expected a number"},
    {"input 3\ntrain lr=0", 2, 10, "lr is 0; allowed is more than 0, at most 1000000"},
    {"input 3\ntrain rho=1", 2, 11, "rho is 1; allowed is more than 0, less than 1"},
    {"input 3\ntrain epochs=-1", 2, 14, "epochs is -1; allowed is 1 to 1000000"},
    {"input 3\ntrain batch=1048577", 2, 13, "batch is 1048577; allowed is 1 to 1048576"},
    {"input 3\ntrain steps=1e13", 2, 13, "allowed is 1 to 1000000000000"},
    {"input 2x2x3 mean=1,,2", 1, 18, "mean is \"\"; expected a number"},
    {"input 2x2x3 mean=1,2,3,4,5", 1, 18, "at most 4 numbers"},
    {"input 2x2x3 deviation=0", 1, 23, "deviation is 0; allowed is 1e-30 to 1e+30"},
    {"input 2x2x3 deviation=1,1,-1", 1, 23, "deviation is -1; allowed"},
    {"input 2x2x3 deviation=1,2", 1, 1, "2 deviations were given for an input of 3 channels"},
    {"input 2x2x3 mean=1,2", 1, 1, "2 means were given for an input of 3 channels"},
    {"input 2x2x3 side=0 resize=nearest", 1, 18, "side is 0; allowed is 1 to 65536"},
    {"input 2x2x3 side=4", 1, 1, "add resize=antialias"},
    {"input 4x2x3 side=3 resize=nearest", 1, 1, "input of 4x2x3 cannot be cut out of pictures"},
    {"input 2x4x3 side=3 resize=nearest", 1, 1, "cannot be cut out of pictures whose side is 3"},
    {"input *x4x3 side=8 resize=nearest", 1, 1, "of known sizes out, not one of *x4x3"},
    {"input 4x3 side=8 resize=nearest", 1, 1, "side=8 is for pictures, and the input 4x3 is none"},
    {"input 2x2x3 resize=cubic", 1, 20, "known: none, nearest, bilinear, antialias"},
    /* Other types */
    {"input 3\ndense 3 bias=yes", 2, 14, "bias is \"yes\"; expected true or false"},
    {"input 3\ntrain optimizer=adma", 2, 17,
     "(did you mean \"adam\"?); known: sgd, adagrad, rmsprop, adadelta, adam, adamw"},
    {"input 3\ntrain last_batch=keep", 2, 18, "known: short, drop, carry"},
    {"input 9x9x1\nconv 3 3x3x3x3", 2, 8, "at most 3 sizes"},
    {"input 9x9x1\nconv 3 3x", 2, 8, "a whole number"},
    {"input 9x9x1\nconv 3 3x0", 2, 8, "kernel is 0; allowed is 1 to"},
    {"input 9x9x1\nconv 3 3 pad=1:2:3", 2, 14, "before:after"},
    {"input 9x9x1\nconv 3 3 pad=1x1x1x1", 2, 14, "at most 3 axes"},
    {"input 9x9x1\nconv 3 3 pad=-1", 2, 14, "pad is -1; allowed is 0 to"},
    {"input 9x9x9x9x1", 1, 7, "at most 3 sizes and the channels"},
    {"input 9x9x*", 1, 7, "a number of channels last"},
    {"input 9x**x1", 1, 7, "a whole number"},
    {"input 3\ndense 3 init=he", 2, 14, "unknown init \"he\""},
    {"input 3\ndense 3 init=he_normal(2)", 2, 14, "no number in parentheses"},
    {"input 3\ndense 3 init=normal", 2, 14, "its number, such as normal(0.1)"},
    {"input 3\ndense 3 init=normal()", 2, 14, "its number"},
    {"input 3\ndense 3 init=normal(1", 2, 14, "its number"},
    {"input 3\ndense 3 init=normal(", 2, 14, "its number"},
    {"input 3\ndense 3 init=normal(-1)", 2, 14, "init is -1; allowed is 0 to"},
    {"input 3\ndense 3 init=constant(x)", 2, 14, "its value"},
    /* Inputs */
    {"input 3\nrelu from=b", 2, 11, "no layer is called \"b\" above this line"},
    {"start: input 3\nrelu from=strat", 2, 11, "did you mean \"start\"?"},
    {"input 3\nrelu from=relu1", 2, 11, "above this line"},
    {"input 3\nrelu from=input1,", 2, 18, "no layer is called \"\""},
    {"input 3\nrelu from=input1 from=input1", 2, 18, "from is given twice"},
    {"input 3\nrelu from=input1,input1", 2, 1, "takes 1 input, but 2 were given"},
    {"a: input 3\nrelu from=a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a", 2, 43, "more than 16 inputs"},
    /* Shapes */
    {"input 3x3x1\n  c: conv 2 5x5", 2, 6, "kernel of 5 cells is larger than axis 1"},
    {"input 3\nconv 2 5x5", 2, 1, "vector of 3 values"},
    {"input 3\n\nb: relu\ntanh from=input1\ntrain lr=1", 3, 4,
     "no layer or loss reads the output of b,"},
    {"input *x*x1\nflatten", 2, 1, "cannot flatten *x*x1"},
    /* Bytes */
    {"input 3\nrelu\x01", 2, 5, "byte 0x01 is not allowed"},
    {"input 3\nre\rlu", 2, 3, "byte 0x0d"},
    {"input 3\n# \x7F", 2, 3, "byte 0x7f"},
};

/* The message is "t.net:LINE:COLUMN: ...words...", the line itself, and a caret under the column:
 * as many characters before it as in the line, the same ones tabs. */
static void check_message(const char *text, const fault *wanted) {
    const char *message = fv_error_message();
    char place[64], shown[3][1024] = {"", "", ""};
    snprintf(place, sizeof place, "t.net:%d:%d: ", wanted->line, wanted->column);
    if (strncmp(message, place, strlen(place)) != 0 || !strstr(message, wanted->words)) {
        fail_msg("'%s' gives '%s', not '%s' and '%s'", text, message, place, wanted->words);
    }
    for (int i = 0; i < 3; i++) {
        size_t size = strcspn(message, "\n");
        memcpy(shown[i], message, size);
        message += size + (i < 2);
    }
    assert_int_equal(*message, 0);
    for (int i = 1; i < wanted->line; i++) {
        text = strchr(text, '\n') + 1;
    }
    char line[1024];
    snprintf(line, sizeof line, "%.*s", (int)strcspn(text, "\n"), text);
    for (char *c = line; *c; c++) {
        *c = (*c > 0 && *c < 32 && *c != '\t') || *c == 127 ? '?' : *c;
    }
    assert_string_equal(shown[1], line);
    char caret[1024] = "";
    for (int i = 0; i < wanted->column - 1; i++) {
        caret[i] = line[i] == '\t' ? '\t' : ' ';
    }
    strcat(caret, "^");
    assert_string_equal(shown[2], caret);
}

static void every_fault_has_its_place(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        fv_net *net = fv_net_parse(faults[i].text, "t.net");
        if (net) {
            fail_msg("'%s' is read without error", faults[i].text);
        }
        check_message(faults[i].text, &faults[i]);
    }
}

static void expect_fault(const char *text, size_t size, const char *words) {
    assert_null(fv_net_parse_with(text, size, "t.net", NULL, 0));
    expect_message(words);
}

static void a_zero_byte_has_its_place(void **state) {
    (void)state;
    static const char text[] = "input 3\nre\0lu";
    expect_fault(text, sizeof text - 1, "t.net:2:3: byte 0x00 is not allowed");
    expect_message("\nre?lu\n  ^");
    assert_null(fv_net_parse(NULL, NULL));
    expect_message("no text");
}

/* The excerpt of a long line shows the column, cut between characters. */
static void long_lines_are_cut(void **state) {
    (void)state;
    char text[1024] = "input 3\ndense 3 ";
    for (int i = 0; i < 30; i++) {
        strcat(text, "          ");
    }
    strcat(text, "zzz=1 # ");
    for (int i = 0; i < 60; i++) {
        strcat(text, "\xC3\xA9\xC3\xA9");
    }
    expect_fault(text, strlen(text), "t.net:2:309: unknown key");
    const char *line = strchr(fv_error_message(), '\n') + 1, *caret = strchr(line, '\n') + 1;
    assert_memory_equal(line, "...   ", 6);
    assert_memory_equal(line + strcspn(caret, "^"), "zzz=1", 5);
    assert_memory_equal(caret - 3, "\xC3\xA9\n", 3);
    assert_true(strlen(fv_error_message()) < 400);
}

/* ---- Limits ---------------------------------------------------------------------------------- */

static char *filled(size_t size, char byte) {
    char *text = malloc(size + 1);
    assert_non_null(text);
    memset(text, byte, size);
    text[size] = 0;
    return text;
}

static void lines_have_a_limit(void **state) {
    (void)state;
    char *text = filled(5 << 20, ' ');
    expect_fault(text, 5 << 20, "t.net:1:4097: this line has 5242880 bytes; at most 4096");
    memcpy(text, "input 3", 7);
    text[4096] = '\n';
    memcpy(text + 4097, "relu", 4);
    fv_net *net = fv_net_parse_with(text, 4101, "t.net", NULL, 0);
    assert_non_null(net);
    assert_int_equal(fv_layer_count(net), 2);
    fv_net_free(net);
    text[4096] = ' ';
    text[4097] = '\n';
    expect_fault(text, 4098, "t.net:1:4097: this line has 4097 bytes");
    free(text);
}

static void texts_have_a_limit(void **state) {
    (void)state;
    size_t most = 16 << 20;
    char *text = filled(most + 1, '\n');
    memcpy(text, "input 3", 7);
    fv_net *net = fv_net_parse_with(text, most, "t.net", NULL, 0);
    assert_non_null(net);
    fv_net_free(net);
    expect_fault(text, most + 1, "t.net: 16777217 bytes; a .net text has at most 16777216");
    write_file(in_folder("large.net"), text, most + 1);
    free(text);
    assert_null(fv_net_load(in_folder("large.net")));
    expect_message("large.net");
    expect_message("16777217");
}

static void layers_have_a_limit(void **state) {
    (void)state;
    enum { LAYERS = 100001 };
    char *text = malloc(8 + 5 * (size_t)LAYERS + 1), *end = text;
    assert_non_null(text);
    end += sprintf(end, "input 3\n");
    for (int i = 1; i < LAYERS; i++) {
        end += sprintf(end, "relu\n");
    }
    expect_fault(text, (size_t)(end - text), "a net has at most");
    free(text);
}

/* ---- What the text says ---------------------------------------------------------------------- */

static fv_net *parse(const char *text) {
    fv_net *net = fv_net_parse(text, "t.net");
    if (!net) {
        fail_msg("'%s' gives '%s'", text, fv_error_message());
    }
    return net;
}

static void values_reach_the_options(void **state) {
    (void)state;
    fv_net *net =
        parse("\xEF\xBB\xBF# byte-order mark, line ends of Windows\r\n"
              "  first:input *x12x2 mean=1/2,-3e-1 resize=bilinear scale=2 deviation=4\t\r\n"
              "\r\n"
              "conv relu 4 3x5 stride=2 pad=0:1x2 bias=false init=normal(0.5)#rest\r\n"
              "avgpool 2 from=conv1 count_include_pad=true\n"
              "b: conv 2 1 pad=1:2 bias_init=constant(-1)");
    const fv_input_options *input = net->nodes[0].options;
    assert_int_equal(net->count, 4);
    assert_string_equal(net->source, "t.net");
    assert_string_equal(net->nodes[0].name, "first");
    assert_int_equal(net->nodes[0].line, 2);
    assert_int_equal(net->nodes[0].column, 9);
    assert_int_equal(input->shape.rank, 2);
    assert_int_equal(input->shape.size[0], FV_ANY);
    assert_int_equal(input->shape.size[1], 12);
    assert_int_equal(input->shape.channels, 2);
    assert_true(input->means == 2 && input->mean[0] == 0.5 && input->mean[1] == -0.3);
    assert_true(input->resize == FV_RESIZE_BILINEAR && input->scale == 2);
    assert_true(input->deviations == 1 && input->deviation[0] == 4 && input->side == 0);
    const fv_conv_options *conv = net->nodes[1].options;
    assert_string_equal(net->nodes[1].name, "conv1");
    assert_int_equal(conv->filters, 4);
    assert_memory_equal(conv->kernel, ((int[]){3, 5, 0}), sizeof conv->kernel);
    assert_memory_equal(conv->stride, ((int[]){2, 0, 0}), sizeof conv->stride);
    assert_memory_equal(conv->pad, ((int[]){0, 1, 2, 2, 0, 0}), sizeof conv->pad);
    assert_true(conv->activation == FV_RELU && conv->no_bias && conv->padding == FV_VALID);
    assert_true(conv->init.kind == FV_INIT_NORMAL && conv->init.value == 0.5);
    const fv_pool_options *pool = net->nodes[2].options;
    assert_int_equal(net->nodes[2].inputs[0], 1);
    assert_true(pool->count_include_pad && pool->size[0] == 2 && pool->size[1] == 0);
    const fv_conv_options *last = net->nodes[3].options;
    assert_int_equal(net->nodes[3].inputs[0], 2);
    assert_memory_equal(last->pad, ((int[]){1, 2, 1, 2, 1, 2}), sizeof last->pad);
    assert_true(last->bias_init.kind == FV_INIT_CONSTANT && last->bias_init.value == -1);
    assert_true(net->built && net->train.lr == 0 && !net->train.optimizer[0]);
    fv_net_free(net);
}

static void train_lines_are_one(void **state) {
    (void)state;
    fv_net *net = parse("train lr=0.5 optimizer=sgd momentum=0.9 formula=torch\n"
                        "input 3\n"
                        "train steps=1000000000000 last_batch=carry holdout=5 beta1=1/3\n");
    const fv_train_options *train = fv_get_train_options(net);
    assert_true(train->lr == 0.5 && train->momentum == 0.9 && train->beta1 == 1.0 / 3);
    assert_string_equal(train->optimizer, "sgd");
    assert_true(train->formula == FV_TORCH && train->last_batch == FV_LAST_CARRY);
    assert_true(train->steps == 1000000000000 && train->holdout == 5 && train->batch == 0);
    fv_net_free(net);
}

/* ---- Settings -------------------------------------------------------------------------------- */

static fv_net *parse_with(const char *a, const char *b) {
    const char *settings[] = {a, b};
    return fv_net_parse_with(small, strlen(small), "t.net", settings, b ? 2 : 1);
}

static void settings_replace_values(void **state) {
    (void)state;
    fv_net *net = parse_with("conv1.filters=5", "conv1.filters=4");
    assert_non_null(net);
    assert_int_equal(((const fv_conv_options *)net->nodes[1].options)->filters, 4);
    assert_int_equal(net->nodes[1].output.channels, 4);
    fv_net_free(net);
    net = parse_with("a.rate=0", "train.lr=1/8");
    assert_non_null(net);
    assert_true(((const fv_dropout_options *)net->nodes[3].options)->rate == 0);
    assert_true(net->train.lr == 0.125);
    fv_net_free(net);
    net = parse_with("train.steps=7", NULL); /* takes the place of epochs=2 */
    assert_non_null(net);
    assert_true(net->train.steps == 7 && net->train.epochs == 0);
    fv_net_free(net);
    net = parse_with("train.steps=7", "train.epochs=3");
    assert_non_null(net);
    assert_true(net->train.steps == 0 && net->train.epochs == 3);
    fv_net_free(net);
    const char *missing = "input 3\ndense";
    net =
        fv_net_parse_with(missing, strlen(missing), "t.net", (const char *[]){"dense1.units=2"}, 1);
    assert_non_null(net);
    fv_net_free(net);
}

static void wrong_settings_are_named(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"conv2.filters=5",
         "setting \"conv2.filters=5\": no layer is called \"conv2\" in this net; "
         "did you mean \"conv1\"?"},
        {"conv1.filtres=5",
         "setting \"conv1.filtres=5\": unknown key of conv \"filtres\" (did you"},
        {"conv1.filters=0", "setting \"conv1.filters=0\": filters is 0; allowed is 1 to"},
        {"conv1.from=a", "unknown key"},
        {"train.lr=-1", "setting \"train.lr=-1\": lr is -1"},
        {"train.rate=1", "unknown key of train"},
        {"conv1=3", "setting \"conv1=3\": the net has no parameters; a layer's key"},
        {"=3", "expected LAYER.KEY=VALUE"},
        {"a=b c", "one word without blanks"},
        {"a=b{", "one word without blanks"},
        {"conv1.filters", "expected LAYER.KEY=VALUE"},
        {"conv1.filters=", "expected LAYER.KEY=VALUE"},
        {".filters=3", "expected LAYER.KEY=VALUE"},
        {"conv1.=3", "expected LAYER.KEY=VALUE"},
        {"", "expected LAYER.KEY=VALUE"},
        {"conv1.kernel=9", "t.net:2:1: kernel of 9 cells is larger"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_null(parse_with(wrong[i][0], NULL));
        expect_message(wrong[i][1]);
    }
}

/* ---- Round trips ----------------------------------------------------------------------------- */

static bool same_layers(const fv_net *a, const fv_net *b) {
    bool same = a->count == b->count;
    for (int i = 0; same && i < a->count; i++) {
        const fv_node *x = &a->nodes[i], *y = &b->nodes[i];
        same = x->type == y->type && strcmp(x->name, y->name) == 0 &&
               memcmp(&x->output, &y->output, sizeof x->output) == 0 &&
               x->input_count == y->input_count &&
               memcmp(x->inputs, y->inputs, sizeof x->inputs) == 0;
    }
    return same;
}

/* The printed net reads back as the same net, and prints as the same text. */
static void check_round_trip(const fv_net *net) {
    for (int resolved = 0; resolved < 2; resolved++) {
        char *text = fv_net_print(net, resolved);
        assert_non_null(text);
        fv_net *again = parse(text);
        char *text_again = fv_net_print(again, resolved);
        assert_string_equal(text, text_again);
        assert_true(same_layers(net, again));
        if (resolved) { /* and nothing but defaults was added */
            char *plain = fv_net_print(net, true);
            assert_string_equal(plain, text);
            fv_free_memory(plain);
        }
        fv_free_memory(text);
        fv_free_memory(text_again);
        fv_net_free(again);
    }
}

static void print_is_aligned(void **state) {
    (void)state;
    fv_net *net = parse(small);
    char *text = fv_net_print(net, false);
    assert_string_equal(text, "   input    6x6x1 scale=1/255\n"
                              "   conv     2 3x3 relu pad=1 init=normal(0.1)\n"
                              "   maxpool  3x3 stride=2\n"
                              "a: dropout  0.25\n"
                              "   flatten\n"
                              "   dense    3 softmax bias=false\n"
                              "\n"
                              "train       loss=cross_entropy optimizer=adam lr=0.01 epochs=2\n");
    fv_free_memory(text);
    text = fv_net_print(net, true);
    assert_string_equal(
        text,
        "input1:   input    6x6x1 scale=1/255 mean=0 deviation=1 resize=none\n"
        "conv1:    conv     2 3x3 relu stride=1 dilation=1 groups=1 padding=valid pad=1 bias=true "
        "init=normal(0.1) bias_init=constant(0)\n"
        "maxpool1: maxpool  3x3 stride=2 padding=valid pad=0 ceil=false\n"
        "a:        dropout  0.25\n"
        "flatten1: flatten\n"
        "dense1:   dense    3 softmax bias=false init=glorot_uniform "
        "bias_init=constant(0)\n"
        "\n"
        "train              loss=cross_entropy optimizer=adam formula=keras lr=0.01 "
        "beta1=0.9 beta2=0.999\n"
        "train              amsgrad=false epsilon=1e-07 batch=32 epochs=2 log_every=0 "
        "holdout=0\n"
        "train              last_batch=short test_samples=0\n");
    fv_free_memory(text);
    fv_net_free(net);
}

/* Nets built in C print too; values that cannot be printed are refused. */
static void built_nets_are_printed(void **state) {
    (void)state;
    fv_net *net = fv_net_new();
    fv_tensor x = fv_input(net, .shape = {.rank = 1, .size = {9}, .channels = 2});
    x = fv_conv(net, x, .filters = 3, .kernel = {3}, .pad = {{1, 0}});
    fv_tanh(net, x);
    assert_int_equal(fv_net_build(net), FV_OK);
    char *text = fv_net_print(net, false);
    assert_string_equal(text, "input  9x2\nconv   3 3 pad=1:0x0\ntanh\n");
    fv_free_memory(text);
    check_round_trip(net);
    fv_set_train_options(net, &(fv_train_options){.formula = (fv_formula)7});
    assert_null(fv_net_print(net, false));
    expect_message("formula is 7");
    fv_net_free(net);
}

/* ---- Generated texts ------------------------------------------------------------------------- */

static uint64_t random_state;

static int below(int bound) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (int)((random_state >> 33) % (uint64_t)bound);
}

static const char *pick(const char *const *words) {
    int count = 0;
    while (words[count]) {
        count++;
    }
    return words[below(count)];
}

/* One layer that fits 12x12 pictures of any size left, with options of every type. */
static int add_random_layer(char *text, int layer) {
    static const char *const activations[] = {" relu", " tanh", " sigmoid", " linear", "", NULL};
    static const char *const kernels[] = {"1", "2x1", "1x3", "2", NULL};
    static const char *const more[] = {"",
                                       " stride=1x2",
                                       " padding=same",
                                       " pad=1",
                                       " pad=1:0x0:1",
                                       " pad=2x0",
                                       " padding=same stride=2",
                                       NULL};
    static const char *const inits[] = {"",
                                        " init=he_normal",
                                        " bias_init=constant(0.1)",
                                        " init=normal(1/3) bias=false",
                                        " init=default",
                                        " init=lecun_uniform bias_init=normal(1e-3)",
                                        " bias=true",
                                        NULL};
    static const char *const others[] = {"dropout 0.5", "dropout 0", "dropout 1/3", "relu",
                                         "sigmoid",     "tanh",      "softmax",     NULL};
    int used = 0;
    if (below(3) == 0) {
        used += sprintf(text + used, "n%d.%s/x-_: ", layer, below(2) ? "a" : "B");
    }
    switch (below(4)) {
    case 0:
        used += sprintf(text + used, "conv %d %s%s%s%s", 1 + below(4), pick(kernels),
                        pick(activations), pick(more), pick(inits));
        break;
    case 1:
        used += sprintf(text + used, "maxpool 2%s", below(2) ? " stride=1 pad=1" : "x1 stride=1");
        break;
    case 2:
        used += sprintf(text + used, "avgpool 3 padding=same stride=1%s",
                        below(2) ? " count_include_pad=true" : "");
        break;
    default:
        used += sprintf(text + used, "%s", pick(others));
    }
    return used;
}

static void write_random_net(char *text) {
    static const char *const inputs[] = {"12x12x1", "14x11x2 scale=1/255 mean=0.1,0.2",
                                         "*x*x3 mean=5", "12x*x1 resize=nearest", NULL};
    static const char *const trains[] = {
        "\n",
        "train batch=7 lr=1e-3\n",
        "train optimizer=adadelta\ntrain formula=torch\n",
        "train steps=9 log_every=3 loss=cross_entropy last_batch=drop\n",
        "train optimizer=adam beta1=0.5 beta2=0.25 epsilon=1e-9 rho=0.1 momentum=0.7\n",
        "train optimizer=rmsprop centered=true schedule=multi_step milestones=2,30 gamma=0.5\n",
        "train optimizer=adamw formula=torch schedule=restarts multiply=2 decay_steps=7 end=1e-4\n"
        "train warmup=5 ema=0.99 l2=1e-4 global_clip_norm=1 accumulate=3\n",
        "train optimizer=sgd nesterov=true schedule=plateau patience=2 min_delta=0.01\n"
        "train early_stopping=3 restore_best=true clip_value=5\n",
        NULL};
    text += sprintf(text, "%sinput %s\n", below(2) ? "first: " : "", pick(inputs));
    int layers = below(8);
    for (int i = 0; i < layers; i++) {
        text += add_random_layer(text, i);
        text += sprintf(text, "%s\n", below(4) == 0 && i > 0 ? " from=named" : "");
        text += sprintf(text, "%s", i == 0 ? "named: relu\n" : "");
    }
    sprintf(text, "%s", pick(trains));
}

static void generated_nets_read_back(void **state) {
    (void)state;
    random_state = 1;
    int read = 0;
    for (int i = 0; i < 400; i++) {
        char text[4096];
        write_random_net(text);
        fv_net *net = fv_net_parse(text, "t.net");
        if (net) { /* a few do not fit */
            check_round_trip(net);
            fv_net_free(net);
            read++;
        } else if (!strstr(fv_error_message(), "larger than axis") &&
                   !strstr(fv_error_message(), "no layer or loss reads")) {
            fail_msg("'%s' gives '%s'", text, fv_error_message());
        }
    }
    assert_true(read > 200);
}

/* Any text is a net, which then reads back, or an error with a place. */
static void check_any(const char *text, size_t size) {
    fv_net *net = fv_net_parse_with(text, size, "t.net", NULL, 0);
    if (net) {
        check_round_trip(net);
        fv_net_free(net);
        return;
    }
    int line = 0, column = 0;
    assert_int_equal(sscanf(fv_error_message(), "t.net:%d:%d: ", &line, &column), 2);
    assert_true(line >= 1 && column >= 1);
    size_t length = strlen(fv_error_message());
    assert_int_equal(fv_error_message()[length - 1], '^');
}

static void cut_texts_are_harmless(void **state) {
    (void)state;
    for (size_t size = 0; size <= strlen(small); size++) {
        char *copy = malloc(size ? size : 1); /* of that size, for the sanitizer */
        assert_non_null(copy);
        memcpy(copy, small, size);
        check_any(copy, size);
        free(copy);
    }
}

static void change(char *text, size_t *size) {
    static const char bytes[] = " \t\n\n#=::xx*,./()-0123456789abrlu_\r\x80\xff\0";
    size_t at = (size_t)below((int)*size);
    size_t count = (size_t)below(8) + 1;
    count = at + count > *size ? *size - at : count;
    switch (below(4)) {
    case 0: /* another byte */
        text[at] = bytes[below(sizeof bytes)];
        return;
    case 1: /* one more */
        memmove(text + at + 1, text + at, *size - at);
        text[at] = bytes[below(sizeof bytes)];
        (*size)++;
        return;
    case 2: /* some left out */
        memmove(text + at, text + at + count, *size - at - count);
        *size -= count;
        return;
    default: /* some twice */
        memmove(text + at + count, text + at, *size - at);
        *size += count;
    }
}

static void changed_texts_are_harmless(void **state) {
    (void)state;
    random_state = 2;
    for (int i = 0; i < 4000; i++) {
        char text[sizeof small + 64];
        size_t size = strlen(small);
        memcpy(text, small, size);
        for (int changes = 1 + below(3); changes > 0; changes--) {
            change(text, &size);
        }
        check_any(text, size);
    }
}

static void random_bytes_are_harmless(void **state) {
    (void)state;
    random_state = 3;
    for (int i = 0; i < 2000; i++) {
        char text[64];
        size_t size = (size_t)below(sizeof text);
        for (size_t j = 0; j < size; j++) {
            text[j] = (char)below(below(2) ? 256 : 128);
        }
        check_any(text, size);
    }
}

static void no_memory_is_an_error(void **state) {
    (void)state;
    fv_net *net = NULL;
    int failures = 0;
    for (; !net; failures++) {
        allocations_left = failures;
        net = parse_with("conv1.filters=3", NULL);
        if (!net) {
            expect_message("out of memory");
        }
    }
    char *text = NULL;
    for (int left = 0; !text; left++, failures++) {
        allocations_left = left;
        text = fv_net_print(net, true);
    }
    allocations_left = -1;
    assert_true(failures > 40);
    fv_free_memory(text);
    fv_net_free(net);
}

/* ---- Parameters ------------------------------------------------------------------------------ */

static void options_from_c_are_checked(void **state) {
    (void)state;
    const fv_param *conv = fv_layer_type_find("conv")->params;
    fv_conv_options o = {.filters = 1, .kernel = {3}};
    assert_int_equal(fv_params_check(conv, &o), FV_OK);
    expect_failure(fv_params_check(conv, &(fv_conv_options){.kernel = {3}}), FV_INVALID,
                   "filters is missing");
    expect_failure(fv_params_check(conv, &(fv_conv_options){.filters = 1}), FV_INVALID,
                   "kernel is missing");
    o.kernel[2] = 3; /* a gap */
    expect_failure(fv_params_check(conv, &o), FV_INVALID, "kernel is 0");
    o.kernel[2] = 0;
    o.pad[2][1] = -1;
    expect_failure(fv_params_check(conv, &o), FV_INVALID, "pad is -1");
    o.pad[2][1] = 0;
    o.activation = (fv_activation)99;
    expect_failure(fv_params_check(conv, &o), FV_INVALID, "activation is 99");
    o.activation = FV_LINEAR;
    o.init = (fv_init){(fv_init_kind)-1, 0};
    expect_failure(fv_params_check(conv, &o), FV_INVALID, "init is -1");
    o.init = (fv_init){FV_INIT_NORMAL, NAN};
    expect_failure(fv_params_check(conv, &o), FV_INVALID, "init is nan");
    const fv_param *input = fv_layer_type_find("input")->params;
    fv_input_options in = {.shape = {.rank = 4, .channels = 1}};
    expect_failure(fv_params_check(input, &in), FV_INVALID, "shape has 4 sizes");
    in.shape = (fv_shape){.rank = 1, .size = {FV_ANY}, .channels = FV_ANY};
    expect_failure(fv_params_check(input, &in), FV_INVALID, "shape is -1");
    in.shape.channels = 1;
    in.means = 5;
    expect_failure(fv_params_check(input, &in), FV_INVALID, "mean has 5 numbers");
    in.means = 1;
    in.mean[0] = INFINITY;
    expect_failure(fv_params_check(input, &in), FV_INVALID, "mean is inf");
    const fv_param *dropout = fv_layer_type_find("dropout")->params;
    assert_int_equal(fv_params_check(dropout, &(fv_dropout_options){0}), FV_OK);
    expect_failure(fv_params_check(dropout, &(fv_dropout_options){NAN}), FV_INVALID, "rate is nan");
}

static void train_options_are_checked(void **state) {
    (void)state;
    fv_train_options train = {0};
    assert_int_equal(fv_params_check(fv_train_params, &train), FV_OK);
    train.lr = NAN;
    expect_failure(fv_params_check(fv_train_params, &train), FV_INVALID, "lr is nan");
    train = (fv_train_options){.batch = -3};
    expect_failure(fv_params_check(fv_train_params, &train), FV_INVALID, "batch is -3");
    train = (fv_train_options){.optimizer = "adma"};
    expect_failure(fv_params_check(fv_train_params, &train), FV_INVALID, "unknown optimizer");
    memset(train.optimizer, 'a', sizeof train.optimizer);
    expect_failure(fv_params_check(fv_train_params, &train), FV_INVALID, "longer than 31");
    assert_null(fv_param_find(fv_train_params, "rate"));
    assert_null(fv_param_find(NULL, "rate"));
    assert_true(fv_param_find(fv_train_params, "lr")->type == FV_PARAM_NUMBER);
}

static void train_defaults_follow_the_formula(void **state) {
    (void)state;
    fv_train_options train = {.optimizer = "adadelta"};
    fv_train_resolve(&train);
    assert_true(train.lr == 0.001 && train.rho == 0.95 && train.epsilon == 1e-7);
    assert_true(train.batch == 32 && train.epochs == 1 && train.steps == 0 && train.beta1 == 0);
    train = (fv_train_options){.optimizer = "adadelta", .formula = FV_TORCH, .rho = 0.5};
    fv_train_resolve(&train);
    assert_true(train.lr == 1 && train.rho == 0.5 && train.epsilon == 1e-6);
    train = (fv_train_options){.steps = 5};
    fv_train_resolve(&train);
    assert_true(train.lr == 0.01 && train.epochs == 0);
    assert_string_equal(train.optimizer, "sgd");
    assert_string_equal(train.loss, "cross_entropy");
}

/* A program may use a locale with a decimal comma. */
static void the_locale_does_not_matter(void **state) {
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", NULL};
    const char *set = NULL;
    for (int i = 0; names[i] && !set; i++) {
        set = setlocale(LC_ALL, names[i]);
    }
    if (!set || strcmp(localeconv()->decimal_point, ",") != 0) {
        skip(); /* none is installed */
    }
    fv_net *net = parse(small);
    check_round_trip(net);
    assert_true(net->train.lr == 0.01);
    fv_net_free(net);
    net = fv_net_parse("input 3\ndropout 0,5", "t.net");
    setlocale(LC_ALL, "C");
    assert_null(net);
}

/* ---- Files and names ------------------------------------------------------------------------- */

static void nets_are_found_by_name(void **state) {
    (void)state;
    write_file(in_folder("tiny-one.net"), "input 3\n", 8);
    write_file(in_folder("broken.net"), "inptu 3\n", 8);
    char folder[512];
    snprintf(folder, sizeof folder, "%s", in_folder(""));
    folder[strlen(folder) - 1] = 0;
    setenv("FOVEA_NETS", folder, 1);
    fv_net *net = fv_net_load("tiny-one");
    assert_non_null(net);
    assert_string_equal(net->source, in_folder("tiny-one.net"));
    fv_net_free(net);
    net = fv_net_load_with(in_folder("tiny-one.net"), (const char *[]){"train.lr=2"}, 1);
    assert_non_null(net);
    assert_true(net->train.lr == 2);
    fv_net_free(net);
    net = fv_net_load("lecture-keras"); /* of this source tree */
    assert_non_null(net);
    fv_net_free(net);
    assert_null(fv_net_load("broken"));
    expect_message("broken.net:1:1: unknown layer \"inptu\" (did you mean \"input\"?)");
    assert_null(fv_net_load("tiny-oen"));
    expect_message("no net is called \"tiny-oen\"; looked in ");
    expect_message(folder);
    expect_message(FV_SOURCE_NETS);
    expect_message("did you mean \"tiny-one\"?");
    assert_null(fv_net_load("zzzzzzzzzz"));
    assert_null(strstr(fv_error_message(), "did you mean"));
    assert_null(fv_net_load(in_folder("absent.net")));
    expect_message("absent.net");
    assert_null(fv_net_load(folder)); /* a folder is no net */
    assert_null(fv_net_load(in_folder("absent.safetensors")));
    assert_null(fv_net_load(NULL));
    assert_null(fv_net_load(""));
    expect_message("no name");
    unsetenv("FOVEA_NETS");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fault_has_its_place),
        cmocka_unit_test(a_zero_byte_has_its_place),
        cmocka_unit_test(long_lines_are_cut),
        cmocka_unit_test(lines_have_a_limit),
        cmocka_unit_test(texts_have_a_limit),
        cmocka_unit_test(layers_have_a_limit),
        cmocka_unit_test(values_reach_the_options),
        cmocka_unit_test(train_lines_are_one),
        cmocka_unit_test(settings_replace_values),
        cmocka_unit_test(wrong_settings_are_named),
        cmocka_unit_test(print_is_aligned),
        cmocka_unit_test(built_nets_are_printed),
        cmocka_unit_test(generated_nets_read_back),
        cmocka_unit_test(cut_texts_are_harmless),
        cmocka_unit_test(changed_texts_are_harmless),
        cmocka_unit_test(random_bytes_are_harmless),
        cmocka_unit_test(no_memory_is_an_error),
        cmocka_unit_test(options_from_c_are_checked),
        cmocka_unit_test(train_options_are_checked),
        cmocka_unit_test(train_defaults_follow_the_formula),
        cmocka_unit_test(the_locale_does_not_matter),
        cmocka_unit_test(nets_are_found_by_name),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
