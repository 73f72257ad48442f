/* Parameters, blocks, repetition and nets from nets: each text is the same net as a flat one, every
 * mistake is an error that shows its place and where that is used, and no text takes forever. */
#include "files.h"
#include "net/net.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- Texts that are the same net ------------------------------------------------------------- */

typedef struct pair {
    const char *text, *flat;
} pair;

static const pair pairs[] = {
    /* Expressions */
    {"param a=3 b=x\ninput {a}x{ a * 2 }x1\n", "input 3x6x1"},
    {"param a=7\ninput {a - 2 - 1}x{12/2/3}x{(a+1)/(2*2)}", "input 4x2x2"},
    {"param a=-3\ninput {-a}x{2 - -2}x{--1}", "input 3x4x1"},
    {"param a=2\nparam b={a*a}\nparam c={b+1}\ninput {c}", "input 5"},
    {"param type=relu n=first\n{n}: input 3 # {not read}\n{type}", "first: input 3\nrelu"},
    {"param t=ta\ninput 3\n{t}nh", "input 3\ntanh"},
    {"input 2x2x{9223372036854775807 - 9223372036854775804}", "input 2x2x3"},
    {"input {(((1)))}", "input 1"},
    {"input {12 / -4 + 5}x{12/-1 + 14}x1", "input 2x2x1"},
    /* Repeats */
    {"input 3\nrepeat 3\nrelu\nend\ntanh", "input 3\nrelu\nrelu\nrelu\ntanh"},
    {"input 3\nrepeat 0\nnonsense {\nend\ntanh", "input 3\ntanh"},
    {"input 3\nrepeat 2 k=-1\nx{k}: relu\nend", "input 3\nx-1: relu\nx0: relu"},
    {"param n=2\ninput 3\n  repeat {n}\nrepeat {i + 1} j=5\n a{i}{j}: relu\n end\n end # both",
     "input 3\na05: relu\na15: relu\na16: relu"},
    {"input 3\nrepeat 2\nrepeat 1\nx{i}: relu\nend\ny{i}: tanh\nend",
     NULL}, /* the inner i hides the outer, so x0 comes twice */
    {"input 3\nrepeat 1\nrepeat: relu\nend: tanh\nend", "input 3\nrepeat: relu\nend: tanh"},
    /* Blocks */
    {"block pair(n, act=relu)\nx: dense {n} {act}\ny: dense {n}\nend\n"
     "input 3\np: pair 4\nq: pair 5 tanh\npair act=sigmoid n=6",
     "input 3\np.x: dense 4 relu\np.y: dense 4\nq.x: dense 5 tanh\nq.y: dense 5\n"
     "pair3.x: dense 6 sigmoid\npair3.y: dense 6"},
    {"block basic(f, stride=1)\n"
     "  conv1: conv {f} 3x3 stride={stride} pad=1\n  conv 1 1x1\n  conv {f} 1x1\n"
     "  d: conv {f} 1 stride={stride} from=in\n  add from=conv3,d relu\nend\n"
     "input 8x8x1\nlayer1.0: basic 2 stride=2\nrelu\nadd from=layer1.0,relu1",
     "input 8x8x1\nlayer1.0.conv1: conv 2 3x3 stride=2 pad=1\nlayer1.0.conv2: conv 1 1x1\n"
     "layer1.0.conv3: conv 2 1x1\nlayer1.0.d: conv 2 1 stride=2 from=input1\n"
     "layer1.0.add1: add from=layer1.0.conv3,layer1.0.d relu\nrelu1: relu\n"
     "add1: add from=layer1.0.add1,relu1"},
    {"block none()\nrelu\nend\nblock none2 ( )\ntanh\nend\nblock none3\nsigmoid\nend\n"
     "input 3\nnone\nnone2\nnone3",
     "input 3\nnone1.relu1: relu\nnone21.tanh1: tanh\nnone31.sigmoid1: sigmoid"},
    /* Names: the block's own first, then those outside; the input's name everywhere */
    {"block b()\nx: relu\ny: add from=x,x2\nend\nx: input 3\nx2: tanh\nz: b",
     "x: input 3\nx2: tanh\nz.x: relu\nz.y: add from=z.x,x2"},
    {"block inner()\na: relu from=in\nend\nblock outer()\na: tanh\nb: inner\nadd from=a,b,in\nend\n"
     "input 3\nouter from=input1",
     "input 3\nouter1.a: tanh\nouter1.b.a: relu\n"
     "outer1.add1: add from=outer1.a,outer1.b.a,input1"},
    /* Inputs */
    {"block join(f)\nadd from=in\nmultiply from=in2,in1,add1\nend\n"
     "a: input 3\nb: relu\nc: join 1 from=a,b",
     "a: input 3\nb: relu\nc.add1: add from=a,b\nc.multiply1: multiply from=b,a,c.add1"},
    {"block first()\nrelu\nend\na: input 3\nb: tanh\nfirst from=a,b\nadd from=first1,b",
     "a: input 3\nb: tanh\nfirst1.relu1: relu from=a\nadd1: add from=first1.relu1,b"},
    {"block dense_layer(g)\nconv {g} 1x1\nconcat from=in,conv1\nend\n"
     "input 2x2x1\nrepeat 2 i=1\nd{i}: dense_layer 3\nend",
     "input 2x2x1\nd1.conv1: conv 3 1x1\nd1.concat1: concat from=input1,d1.conv1\n"
     "d2.conv1: conv 3 1x1\nd2.concat1: concat from=d1.concat1,d2.conv1"},
    /* A block may have the input, or no layers at all: then its output is its input */
    {"block all()\ninput 3\nrelu\nend\nx: all", "x.input1: input 3\nx.relu1: relu"},
    {"block n(k)\nrepeat {k}\nrelu\nend\nend\na: input 3\nb: tanh\nc: n 0 from=a\nd: n 2\n"
     "add from=b,c,d",
     "a: input 3\nb: tanh\nd.relu1: relu from=a\nd.relu2: relu\nadd1: add from=b,a,d.relu2"},
    /* A block sees the parameters of the file, not those of who uses it */
    {"param n=2\nblock leaf()\ndense {n}\nend\nblock tree(n)\nleaf\nend\ninput 3\ntree 5",
     "input 3\ntree1.leaf1.dense1: dense 2"},
    /* Losses in blocks */
    {"block head(w)\nx: dense 2\nloss mse weight={w}\nmetric mae of=x\nend\n"
     "input 3\na: head 0.5\nhead 2",
     "input 3\na.x: dense 2\nhead2.x: dense 2\nloss mse of=a.x weight=0.5\n"
     "loss mse of=head2.x weight=2\nmetric mae of=a.x\nmetric mae of=head2.x"},
};

static char *printed(const char *text) {
    fv_net *net = fv_net_parse(text, "t.net");
    if (!net) {
        fail_msg("'%s' gives '%s'", text, fv_error_message());
    }
    char *flat = fv_net_print(net, true);
    assert_non_null(flat);
    fv_net_free(net);
    return flat;
}

static void texts_are_their_flat_ones(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (!pairs[i].flat) {
            assert_null(fv_net_parse(pairs[i].text, "t.net"));
            expect_message("taken by line 4; give this layer another one, as with its variable");
            continue;
        }
        char *got = printed(pairs[i].text), *wanted = printed(pairs[i].flat);
        if (strcmp(got, wanted) != 0) {
            fail_msg("'%s' is\n%s\nexpected\n%s", pairs[i].text, got, wanted);
        }
        fv_free_memory(got);
        fv_free_memory(wanted);
    }
}

/* ---- Errors ---------------------------------------------------------------------------------- */

#define BASIC "block basic(f, s=1)\n conv {f} 1x1\nend\ninput 4x4x1\n"

/* The whole message, but for the "t.net:" at its start; a last "*" stands for anything. */
static const pair faults[] = {
    /* Expressions */
    {"input {3", "1:7: this brace has no other; an expression is written {...}\ninput {3\n      ^"},
    {"input 3}", "1:8: this brace has no other*"},
    {"input {}", "1:8: a number, a parameter or a parenthesis is missing*"},
    {"input {3 4}", "1:10: \"4\" is not expected here*"},
    {"input {3x}", "1:9: \"x\" is not expected here*"},
    {"input {3 + }", "1:12: a number, a parameter*"},
    {"input {(3}", "1:8: this parenthesis is not closed*"},
    {"input {3)}", "1:9: \")\" is not expected*"},
    {"input {n}", "1:8: unknown parameter \"n\"; a line such as `param n=16` above makes one*"},
    {"param depth=3\ninput {detph + 1}",
     "2:8: unknown parameter \"detph\" (did you mean \"depth\"?); known: depth*"},
    {"param a=x\ninput {a + 1}", "2:8: a is \"x\", which is no whole number*"},
    {"param a=1.5\ninput {a*2}", "2:8: a is \"1.5\", which is no whole number*"},
    {"param a=99999999999999999999\ninput {-a}", "2:9: a is \"99999999999999999999\", which*"},
    {"input {7 / 2}", "1:10: 7 / 2 is no whole number*"},
    {"input {7 / (1 - 1)}", "1:10: division by 0*"},
    {"input {9223372036854775807 + 1}", "1:28: the number is too large*"},
    {"input {-9223372036854775807 - 2}", "1:29: the number is too large*"},
    {"input {4294967296 * 4294967296}", "1:19: the number is too large*"},
    {"input {(0 - 9223372036854775807 - 1) / -1}", "1:38: the number is too large*"},
    {"input {9223372036854775808}", "1:8: the number is too large*"},
    {"input {123456789012345678901234567890}", "1:8: the number is too large*"},
    {"param a=16\ninput 3\nflatten {a} {a}",
     "3:9: unexpected \"16\"; flatten takes no values\nflatten 16 16\n        ^"}, /* the line as it
                                                                                      is read */
    /* param */
    {"param", "1:1: param needs a parameter and its default*"},
    {"param a", "1:7: expected a parameter and its value, as in depth=20*"},
    {"param a=", "1:7: expected a parameter and its value*"},
    {"param 2a=3", "1:7: \"2a\" is no name of a parameter*"},
    {"param =3", "1:7: \"\" is no name*"},
    {"param a=3 a=4", "1:11: the parameter a is given twice*"},
    {"input 3\nrepeat 1\nparam a=3\nend", "3:1: param stands outside of blocks and repeats*"},
    {"parma a=3", "1:1: unknown layer \"parma\" (did you mean \"param\"?)*"},
    /* repeat */
    {"repeat", "1:1: a repeat needs how often: a whole number from 0*"},
    {"repeat x\nend", "1:8: \"x\" does not say how often*"},
    {"repeat -1\nend", "1:8: \"-1\" does not say how often*"},
    {"repeat 1000001\nend", "1:8: \"1000001\" does not say how often: a whole number from 0 to "
                            "1000000*"},
    {"repeat 3 i\nend", "1:10: behind its number a repeat has nothing but*"},
    {"repeat 3 i=a\nend", "1:10: behind its number*"},
    {"repeat 3 i=1 j=1\nend", "1:14: behind its number*"},
    {"input 3\n  repeat 3\nrelu", "2:3: this repeat has no `end`\n  repeat 3\n  ^"},
    {"input 3\nrepeat 2\nrepeat 3\nrelu\nend", "2:1: this repeat has no `end`*"},
    {"input 3\nend", "2:1: no block or repeat is open that this `end` could close*"},
    {"input 3\nrepaet 2", "2:1: unknown layer \"repaet\" (did you mean \"repeat\"?)*"},
    {"input 3\nrepeat 2\nx: relu\nend",
     "3:1: the name \"x\" is taken by line 3; give this layer another one, as with its variable: "
     "name{i}*"},
    /* block */
    {"block", "1:1: a block needs a name*"},
    {"block (a)", "1:1: a block needs a name*"},
    {"block a.b", "1:7: a block needs a name of letters, digits*"},
    {"block conv\nend", "1:7: \"conv\" is no name for a block*"},
    {"block train\nend", "1:7: \"train\" is no name for a block*"},
    {"block a\nend\nblock a\nend", "3:7: a block above is called \"a\" too*"},
    {"block a b\nend", "1:9: a block's parameters stand in parentheses*"},
    {"block a(b\nend", "1:8: a block's parameters stand in parentheses*"},
    {"block a(b) c\nend", "1:8: a block's parameters stand in parentheses*"},
    {"block a(b,)\nend", "1:11: \"\" is no name of a parameter*"},
    {"block a(b c)\nend", "1:9: \"b c\" is no name of a parameter*"},
    {"block a(from)\nend", "1:9: \"from\" is no name of a parameter*"},
    {"block a(b, b)\nend", "1:12: two parameters are called b*"},
    {"block a(b=)\nend", "1:9: b has no value*"},
    {"block a(b)\nrelu", "1:1: this block has no `end`*"},
    {"block a()\nrelu\nblock b()\nrelu\nend",
     "3:1: a block stands outside of others and of repeats; the block of line 1 has no `end` above "
     "this line*"},
    {"input 3\nrepeat 1\nblock b()\nend\nend", "3:1: a block stands outside of others and of "
                                               "repeats; the repeat of line 2 has no `end`*"},
    {"block a()\nrelu\nb\nend\nblock b()\na\nend\ninput 3\nb",
     "3:1: unknown layer \"b\"*"}, /* only blocks above, so that none is in itself */
    {"block a()\na\nend\ninput 3\na", "2:1: unknown layer \"a\"*"},
    {"block body()\nrelu\nend\ninput 3\nbdoy", "5:1: unknown layer \"bdoy\" (did you mean "
                                               "\"body\"?)*"},
    /* Instances: where the block is used is said behind */
    {BASIC "basic", "5:1: basic needs a value for f\nbasic\n^"},
    {BASIC "basic 1 2 3", "5:11: unexpected \"3\"; basic takes 2 values*"},
    {BASIC "basic s=1 3", "5:11: \"3\" has no key, but stands after a key=value*"},
    {BASIC "basic 1 f=2", "5:9: f is given twice; keep one*"},
    {BASIC "basic 1 x=2", "5:9: unknown parameter of basic \"x\"; known: f, s, from*"},
    {BASIC "basic 1 s=", "5:9: s has no value*"},
    {BASIC "basic 1 from=input1 from=input1", "5:21: from is given twice*"},
    {BASIC "basic 1 from=inptu1",
     "5:14: no layer is called \"inptu1\" above this line; did you mean \"input1\"?*"},
    {BASIC "input1: basic 1", "5:1: the name \"input1\" is taken by line 4*"},
    {BASIC "x: basic 1\nx: basic 1", "6:1: the name \"x\" is taken by a block above*"},
    {BASIC "x.conv1: conv 1 1x1\nx: basic 1",
     "2:2: the name of this line, \"x.conv1\" is taken by line 5; give this layer another one, as "
     "in NAME: TYPE\n conv 1 1x1\n ^\nin x (t.net:6)"},
    {BASIC "x/0: basic 0",
     "2:7: filters is 0; allowed is 1 to 16777216\n conv 0 1x1\n      ^\nin x/0 (t.net:5)"},
    {"block a(n)\nreul\nend\nblock b()\nx: a 1\nend\ninput 3\nrepeat 1\ny{i}: b\nend",
     "2:1: unknown layer \"reul\" (did you mean \"relu\"?)*\nreul\n^\nin y0.x (t.net:5)\n"
     "in y0 (t.net:9)"},
    {"block a(n)\ndense {m}\nend\ninput 3\na 1",
     "2:8: unknown parameter \"m\"; known: n\ndense {m}\n       ^\n"
     "in a1 (t.net:5)"},
    {"block a()\nin: relu\nend\ninput 3\na", "2:1: \"in\" is no name in a block*"},
    {"block a()\nin2: relu\nend\ninput 3\na", "2:1: \"in2\" is no name in a block*"},
    {"block a()\nrelu from=in2\nend\ninput 3\na",
     "2:11: there is no \"in2\" here: the block was given 1 input\nrelu from=in2\n          ^\n"
     "in a1 (t.net:5)"},
    {"block a()\nrelu from=in\nend\na", "2:11: there is no \"in\" here: the block was given 0*"},
    {"block a()\nrelu from=in0\nend\ninput 3\na", "2:11: no layer is called \"in0\"*"},
    {"input 3\nrelu from=in", "2:11: no layer is called \"in\" above*"},
    {"block a()\nrelu\ntanh from=in\nend\ninput 3\nb: a",
     "2:1: no layer or loss reads the output of b.relu1, and it is not the last; name it in a "
     "from=, of= or output line, or leave it out\nrelu\n^\nin b (t.net:6)"},
    {"block a()\nlong_name: relu\nend\ninput 3\n"
     "a234567890123456789012345678901234567890123456789012345: a",
     "2:1: \"a234567890123456789012345678901234567890123456789012345.long_name\" is no name; a "
     "name has 1 to 63*"},
    {"block a()\nx: relu\nend\ninput 3\na: a\nrelu from=a.y",
     "6:11: no layer is called \"a.y\" above this line; did you mean \"a.x\"?*"},
    {"block a()\nsome: relu\nadd from=sone,in\nend\ninput 3\na",
     "3:10: no layer is called \"sone\" above this line; did you mean \"some\"?*"},
    /* use, of a text that is no file */
    {"use", "1:1: use needs the name of a net*"},
    {"use ./a.net", "1:5: \"./a.net\" is a path, beside which file is not known*"},
    {"use no-such-net", "1:5: no net is called \"no-such-net\"; looked in*"},
    {"input 3\nuse small", "2:1: use is the whole net: nothing but param lines may stand above*"},
    {"train lr=1\nuse small", "2:1: use is the whole net*"},
    {"use small n", "1:11: expected a parameter and its value*"},
    {"use small n=2 n=3", "1:15: the parameter n is given twice*"},
};

static void every_fault_has_its_place(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        if (fv_net_parse(faults[i].text, "t.net")) {
            fail_msg("'%s' is read without error", faults[i].text);
        }
        const char *got = fv_error_message(), *wanted = faults[i].flat;
        size_t size = strcspn(wanted, "*");
        bool good = strncmp(got, "t.net:", 6) == 0 && strncmp(got + 6, wanted, size) == 0;
        const char *rest = wanted[size] ? wanted + size + 1 : wanted + size;
        const char *tail = strlen(got) > strlen(rest) ? got + strlen(got) - strlen(rest) : got;
        if (!good || strcmp(wanted[size] ? tail : got + 6 + size, rest) != 0) {
            fail_msg("'%s' gives '%s', not '%s'", faults[i].text, got, wanted);
        }
    }
}

/* ---- Limits ---------------------------------------------------------------------------------- */

/* `before`, then `text` COUNT times, then `after`. The caller frees it. */
static char *repeated(const char *before, const char *text, int count, const char *after) {
    size_t size = strlen(text);
    char *whole = malloc(strlen(before) + size * (size_t)count + strlen(after) + 1);
    assert_non_null(whole);
    char *end = whole + sprintf(whole, "%s", before);
    for (int i = 0; i < count; i++) {
        memcpy(end, text, size);
        end += size;
    }
    strcpy(end, after);
    return whole;
}

static void expect_fault(char *text, const char *words) {
    assert_null(fv_net_parse(text, "t.net"));
    expect_message(words);
    free(text);
}

static void everything_has_a_limit(void **state) {
    (void)state;
    expect_fault(repeated("input 3\n", "repeat 10\n", 33, ""), "this repeat has no `end`");
    char *text = repeated("input 3\n", "repeat 1\n", 33, "relu\n");
    char *closed = repeated(text, "end\n", 33, "");
    free(text);
    expect_fault(closed, "t.net:34:1: repeats and blocks more than 32 deep");
    text = repeated("", "repeat 1000\n", 4, "");
    closed = repeated(text, "end\n", 4, "");
    free(text);
    expect_fault(closed, "blocks and repeats come to more than 200000 lines");
    expect_fault(repeated("repeat 1000000\n", "\n", 1, "end"), "more than 200000 lines");
    expect_fault(repeated("repeat 1000\nrepeat 0\n", "#\n", 1000, "end\nend"), "more than 200000");
    expect_fault(repeated("input 3\nrepeat 10000\nrelu\nend", "", 0, ""), "at most 10000 layers");
    expect_fault(repeated("input {", "(", 4000, "1}"), "parentheses and signs in one another");
    expect_fault(repeated("input {", "-", 4000, "1}"), "parentheses and signs in one another");
    expect_fault(repeated("param a=", "x", 3000, "\ninput {a}{a}"),
                 "with its expressions replaced the line has more than 4096 bytes");
    text = malloc(100000);
    assert_non_null(text);
    char *end = text;
    for (int i = 0; i < 101; i++) {
        end += sprintf(end, "block b%d()\nrelu\nend\n", i);
    }
    expect_fault(text, "t.net:301:1: a file has at most 100 blocks");
    text = malloc(1000);
    assert_non_null(text);
    end = text + sprintf(text, "block b(");
    for (int i = 0; i < 33; i++) {
        end += sprintf(end, "%sp%d", i > 0 ? "," : "", i);
    }
    sprintf(end, ")\nend");
    expect_fault(text, "a block has at most 32 parameters");
    expect_fault(
        repeated("block a()\nadd from=in,in\nend\ninput 3\nx: relu\nadd from=x", ",x", 16, ""),
        "more than 16 inputs");
}

/* Blocks that use the one above twice: 2^40 layers, were nothing bounded. */
static void blocks_do_not_explode(void **state) {
    (void)state;
    char text[4096], *end = text;
    end += sprintf(end, "block b0()\nrelu\nend\n");
    for (int i = 1; i <= 30; i++) {
        end += sprintf(end, "block b%d()\nb%d\nb%d\nend\n", i, i - 1, i - 1);
    }
    sprintf(end, "input 3\nx: b30\n");
    assert_null(fv_net_parse(text, "t.net"));
    assert_true(strncmp(fv_error_message(), "t.net:", 6) == 0);
    sprintf(end, "input 3\nx: b10\n");
    fv_net *net = fv_net_parse(text, "t.net");
    assert_non_null(net);
    assert_int_equal(fv_layer_count(net), 1025);
    fv_net_free(net);
}

/* Not all of a deep chain of uses is shown, and its head is. */
static void deep_places_are_cut(void **state) {
    (void)state;
    char text[2048], *end = text + sprintf(text, "block b0()\nrleu\nend\n");
    for (int i = 1; i <= 9; i++) {
        end += sprintf(end, "block b%d()\nx: b%d\nend\n", i, i - 1);
    }
    sprintf(end, "input 3\nx: b9");
    assert_null(fv_net_parse(text, "t.net"));
    expect_message("in x.x.x.x.x.x.x.x.x.x (t.net:5)\nin x.x.x.x.x.x.x.x.x (t.net:8)\n");
    expect_message("(t.net:14)\n...");
}

/* ---- Files that use files -------------------------------------------------------------------- */

static void write_text(const char *name, const char *text) {
    write_file(in_folder(name), text, strlen(text));
}

static fv_net *load(const char *name, const char *a, const char *b) {
    const char *settings[] = {a, b};
    return fv_net_load_with(in_folder(name), settings, (a != NULL) + (b != NULL));
}

static int units(const fv_net *net) {
    return net->nodes[net->count - 1].output.channels;
}

static void nets_use_nets(void **state) {
    (void)state;
    write_text("base.net", "param width=3 act=relu\ninput 2\ndense {width} {act}\n"
                           "train lr=0.1 epochs=3 batch=7\n");
    write_text("wide.net", "# wide\nparam width=5\nuse ./base.net width={width * 2}\n"
                           "train lr=0.2 steps=9\nloss mse\n");
    write_text("named.net", "use base act=tanh\n");
    fv_net *net = load("wide.net", NULL, NULL);
    if (!net) {
        fail_msg("%s", fv_error_message());
    }
    assert_int_equal(units(net), 10);
    assert_true(net->train.lr == 0.2 && net->train.batch == 7); /* the user's, and what it left */
    assert_true(net->train.steps == 9 && net->train.epochs == 0);
    assert_int_equal(net->loss_count, 1);
    assert_string_equal(net->source, in_folder("base.net"));
    fv_net_free(net);
    /* Settings: of the file's own parameter, or of the one that it uses */
    net = load("wide.net", "width=1", "act=sigmoid");
    assert_non_null(net);
    assert_int_equal(units(net), 2);
    assert_int_equal(net->nodes[1].activation, FV_SIGMOID);
    fv_net_free(net);
    net = load("base.net", "width=9", "width=8");
    assert_non_null(net);
    assert_int_equal(units(net), 8);
    fv_net_free(net);
    assert_null(load("wide.net", "witdh=1", NULL));
    expect_message("setting \"witdh=1\": unknown parameter \"witdh\" (did you mean \"width\"?)");
    assert_null(load("wide.net", "width=1", "act=1 2"));
    expect_message("one word");
    /* By name */
    setenv("FOVEA_NETS", in_folder("."), 1);
    net = fv_net_load("named");
    assert_non_null(net);
    assert_int_equal(net->nodes[1].activation, FV_TANH);
    fv_net_free(net);
    net = fv_net_parse("use base width=4", "t.net");
    assert_non_null(net);
    assert_int_equal(units(net), 4);
    fv_net_free(net);
    assert_null(fv_net_parse("use bsae", "t.net"));
    expect_message("did you mean \"base\"?");
    /* A model's text is flat */
    assert_null(fv_net_parse_with("use base", 8, "t.net", NULL, 0));
    expect_message("t.net:1:1: this text may not use another net");
    unsetenv("FOVEA_NETS");
}

static const pair wrong_uses[] = {
    {"use ./self.net", "the net \"./self.net\" would use itself"},
    {"use ./ring.net", "would use itself"},
    {"use ./base.net\nuse ./base.net", "self.net:2:1: the use line is the whole net"},
    {"use ./base.net\nrelu", "self.net:2:1: the use line is the whole net"},
    {"use ./base.net\nrepeat 2\nend", "self.net:2:1: the use line is the whole net"},
    {"use ./base.net\nblock b()\nend", "self.net:2:1: the use line is the whole net"},
    {"use ./base.net\nparam a=1", "self.net:2:1: a param line stands above the use line"},
    {"use ./base.net wdith=4",
     "self.net:1:16: unknown parameter \"wdith\" (did you mean \"width\"?); known: act, width\n"
     "use ./base.net wdith=4\n               ^"},
    {"use ./plain.net width=4", "self.net:1:17: width=: that net has no parameters"},
    {"use ./missing.net", "missing.net"},
    {"use .", "self.net:1:5: "},
    {"\nuse ./base.net act=rleu",
     "base.net:3:9: unknown activation \"rleu\" (did you mean \"relu\"?)"},
    {"\nuse ./base.net act=rleu", "dense 3 rleu\n        ^\nused by "},
    {"\nuse ./base.net act=rleu", "self.net:2"},
    {"use ./empty.net", "self.net:1:1: the net has no layers"},
};

static void wrong_uses_are_named(void **state) {
    (void)state;
    write_text("base.net", "param width=3 act=relu\ninput 2\ndense {width} {act}\n");
    write_text("plain.net", "input 2\n");
    write_text("empty.net", "param a=1\n");
    write_text("ring.net", "use ./self.net");
    for (size_t i = 0; i < sizeof wrong_uses / sizeof *wrong_uses; i++) {
        write_text("self.net", wrong_uses[i].text);
        assert_null(load("self.net", NULL, NULL));
        expect_message(wrong_uses[i].flat);
    }
    for (int i = 0; i < 9; i++) {
        char name[32], text[32];
        snprintf(name, sizeof name, "chain%d.net", i);
        snprintf(text, sizeof text, i == 8 ? "input 3" : "use ./chain%d.net", i + 1);
        write_text(name, text);
    }
    assert_null(load("chain0.net", NULL, NULL));
    expect_message("more than 8 nets use one another");
    fv_net *net = load("chain1.net", NULL, NULL);
    assert_non_null(net);
    fv_net_free(net);
}

/* ---- No memory, any bytes -------------------------------------------------------------------- */

static const char whole[] = "param n=2 a=relu\n"
                            "block inner(f, s=1)\n  c: conv {f} 1x1 {a}\n  add from=c,in\nend\n"
                            "block outer(f)\n  repeat {n}\n    x{i}: inner {f}\n  end\nend\n"
                            "input 4x4x2\n"
                            "y: outer {n * (3 - 2)} from=input1\n"
                            "outer f=2\n"
                            "loss mse of=y\n";

static void no_memory_is_an_error(void **state) {
    (void)state;
    write_text("whole.net", whole);
    write_text("user.net", "use ./whole.net a=tanh\n");
    fv_net *net = NULL;
    int failures = 0;
    for (; !net; failures++) {
        allocations_left = failures;
        net = load("user.net", "n=2", NULL);
        allocations_left = -1;
        if (!net && fv_error_status() != FV_MEMORY) {
            fail_msg("allocation %d: '%s'", failures, fv_error_message());
        }
    }
    assert_true(failures > 100);
    fv_net_free(net);
}

/* Any change of the text is a net that prints and reads back, or an error with a place. */
static void changed_texts_are_harmless(void **state) {
    (void)state;
    static const char bytes[] = " \n{}()=:+-*/,.#019aifnxend";
    uint64_t random = 1;
    for (int i = 0; i < 4000; i++) {
        char text[sizeof whole];
        memcpy(text, whole, sizeof whole);
        for (int change = 0; change < 1 + i % 3; change++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            text[(random >> 33) % (sizeof whole - 1)] = bytes[(random >> 20) % (sizeof bytes - 1)];
        }
        fv_net *net = fv_net_parse(text, "t.net");
        if (!net) {
            assert_true(strncmp(fv_error_message(), "t.net:", 6) == 0);
            continue;
        }
        char *flat = fv_net_print(net, false);
        fv_net *again = flat ? fv_net_parse(flat, "t.net") : NULL;
        if (!again) {
            fail_msg("'%s' prints as '%s': %s", text, flat, fv_error_message());
        }
        fv_free_memory(flat);
        fv_net_free(net);
        fv_net_free(again);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_their_flat_ones),  cmocka_unit_test(every_fault_has_its_place),
        cmocka_unit_test(everything_has_a_limit),     cmocka_unit_test(blocks_do_not_explode),
        cmocka_unit_test(deep_places_are_cut),        cmocka_unit_test(nets_use_nets),
        cmocka_unit_test(wrong_uses_are_named),       cmocka_unit_test(no_memory_is_an_error),
        cmocka_unit_test(changed_texts_are_harmless),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
