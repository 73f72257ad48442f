/* The nets in nets/: parameters and multiply-adds to the unit, as their papers and the frameworks'
 * models have them (counted by PyTorch's modules), and that they are printed as what they are. A
 * file that is not in the table fails. Argument: the folder. */
#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"
#include "net/net.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *folder;

typedef struct expected {
    const char *name;
    int64_t parameters, macs;
    int64_t training; /* parameters with those that only training has; 0: the same */
} expected;

/* Multiply-adds of lenet5: 117,600 + 150,000 + 48,000 + 10,080 + 840; the sums of subsampling have
 * none. Of vgg16-gap: those of vgg16's convolutions, and 512 x 1000. Of the ResNets for CIFAR, 6 n
 * + 2 deep: 442,368 + 14,155,776 n - 2 x 1,179,648 + 640. */
static const expected nets[] = {
    {"alexnet", 60965224, 724406816, 0},
    {"alexnet-torchvision", 61100840, 714188480, 0},
    {"densenet121", 7978856, 2834161664, 0},
    {"googlenet", 6998552, 1582671872, 13378280},
    {"googlenet-torchvision", 6624904, 1498376192, 13004888},
    {"lecture-keras", 1199882, 11992448, 0},
    {"lecture-tensorflow", 3274634, 13883904, 0},
    {"lenet5", 60000, 326520, 0},
    {"lenet5-modern", 61706, 416520, 0},
    {"mobilenet_v2", 3504872, 300774272, 0},
    {"resnet-cifar", 269722, 40551040, 0},
    {"resnet101", 44549160, 7801405440, 0},
    {"resnet110", 1727962, 252887680, 0},
    {"resnet1202", 19421274, 2829238912, 0},
    {"resnet152", 60192808, 11513626624, 0},
    {"resnet18", 11689512, 1814073344, 0},
    {"resnet20", 269722, 40551040, 0},
    {"resnet32", 464154, 68862592, 0},
    {"resnet34", 21797672, 3663761408, 0},
    {"resnet44", 658586, 97174144, 0},
    {"resnet50", 25557032, 4089184256, 0},
    {"resnet56", 853018, 125485696, 0},
    {"squeezenet1.1", 1235496, 349151936, 0},
    {"vgg11", 132863336, 7609090048, 0},
    {"vgg13", 133047848, 11308466176, 0},
    {"vgg16", 138357544, 15470264320, 0},
    {"vgg16-gap", 15227688, 15347142656, 0},
    {"vgg19", 143667240, 19632062464, 0},
};

enum { NETS = sizeof nets / sizeof nets[0] };

/* A net that is named after `use` in one of the folder. */
static fv_status find_net(const char *name, const char *beside, char **path, char **text,
                          size_t *size) {
    (void)beside;
    char full[1000];
    snprintf(full, sizeof full, "%s/%s.net", folder, name);
    *path = fv_copy_string(full);
    return *path ? fv_read_file(full, FV_MOST_TEXT, text, size) : FV_MEMORY;
}

/* Without drawing its weights, which takes seconds. */
static fv_net *read_net(const char *text, size_t size, const char *name) {
    fv_net *net = fv_net_read(&(fv_net_text){.bytes = text,
                                             .size = size,
                                             .name = name,
                                             .is_file = true,
                                             .find = find_net,
                                             .in_file = true,
                                             .most_weights = SIZE_MAX});
    if (!net)
        fail_msg("%s", fv_error_message());
    return net;
}

static fv_net *load(const char *name) {
    char *path, *text;
    size_t size;
    if (find_net(name, NULL, &path, &text, &size))
        fail_msg("%s", fv_error_message());
    fv_net *net = read_net(text, size, path);
    fv_free(text);
    fv_free(path);
    return net;
}

/* Sums over the layers: all parameters; multiply-adds and activations of what runs at inference. */
static fv_layer_info totals(const fv_net *net) {
    fv_layer_info sum = {0}, layer;
    for (int i = 0; i < fv_layer_count(net); i++) {
        assert_int_equal(fv_layer_describe(net, i, &layer), FV_OK);
        sum.parameters += layer.parameters;
        sum.macs += layer.training_only ? 0 : layer.macs;
        sum.activations += layer.training_only ? 0 : layer.activations;
    }
    return sum;
}

static bool is(const char *net, const char *what, int64_t got, int64_t wanted) {
    if (got != wanted)
        print_error("%s: %s %lld, not %lld\n", net, what, (long long)got, (long long)wanted);
    return got == wanted;
}

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

/* What is printed reads back as the same net, and prints as the same text. */
static void check_read_back(const fv_net *net, const char *name) {
    for (int resolved = 0; resolved < 2; resolved++) {
        char *text = fv_net_print(net, resolved);
        assert_non_null(text);
        fv_net *again = read_net(text, strlen(text), name);
        char *text_again = fv_net_print(again, resolved);
        assert_string_equal(text, text_again);
        assert_true(same_layers(net, again));
        fv_free_memory(text);
        fv_free_memory(text_again);
        fv_net_free(again);
    }
}

static void to_the_unit_and_back(void **state) {
    (void)state;
    bool all = true;
    for (const expected *e = nets; e < nets + NETS; e++) {
        fv_net *net = load(e->name);
        fv_layer_info sum = totals(net);
        all &= is(e->name, "parameters", fv_parameter_count(net), e->parameters);
        all &= is(e->name, "parameters in training", sum.parameters,
                  e->training ? e->training : e->parameters);
        all &= is(e->name, "multiply-adds", sum.macs, e->macs);
        check_read_back(net, e->name);
        fv_net_free(net);
    }
    assert_true(all);
}

/* The lecture's "memory" of VGG: the values of all outputs, and of the picture. */
static void values_of_vgg16(void **state) {
    (void)state;
    fv_net *net = load("vgg16");
    assert_true(is("vgg16", "values", totals(net).activations, 15237608));
    fv_net_free(net);
}

static void every_file_is_in_the_table(void **state) {
    (void)state;
    DIR *open = opendir(folder);
    assert_non_null(open);
    int found = 0;
    for (struct dirent *file = readdir(open); file; file = readdir(open)) {
        size_t length = strlen(file->d_name);
        if (length < 4 || strcmp(file->d_name + length - 4, ".net") != 0)
            continue;
        bool known = false;
        for (int i = 0; i < NETS; i++)
            known |= strlen(nets[i].name) == length - 4 &&
                     strncmp(nets[i].name, file->d_name, length - 4) == 0;
        if (!known)
            print_error("%s has no line in the table\n", file->d_name);
        found += known;
    }
    closedir(open);
    assert_int_equal(found, NETS);
}

int main(int argc, char **argv) {
    if (argc != 2)
        return fprintf(stderr, "usage: test_nets FOLDER\n"), 2;
    folder = argv[1];
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(to_the_unit_and_back),
        cmocka_unit_test(values_of_vgg16),
        cmocka_unit_test(every_file_is_in_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
