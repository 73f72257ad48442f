/* Weights from elsewhere: by the net's own names and by published ones, of any type and container;
 * what does not fit is named and changes nothing. Transfer: what agrees is copied, what is frozen
 * does not learn. */
#include "base/half.h"
#include "files.h"
#include "formats/formats.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef FV_HAVE_ZIP
#include <zip.h>
#endif

#include <cmocka.h>

static const char text[] = "input    5x4x2\n"
                           "conv     3 3x2 bias=false\n"
                           "batch_norm relu\n"
                           "flatten\n"
                           "dense    4 softmax\n";

static fv_net *new_net(const char *net_text, uint64_t seed) {
    fv_net *net = fv_net_parse(net_text, "w.net");
    if (!net)
        fail_msg("%s", fv_error_message());
    assert_int_equal(fv_net_initialize(net, seed), FV_OK);
    return net;
}

static void expect_same_weights(const fv_net *a, const fv_net *b) {
    assert_int_equal(a->weight_size, b->weight_size);
    assert_memory_equal(a->weights, b->weights, a->weight_size * sizeof *a->weights);
}

static void expect_load(fv_net *net, const char *path) {
    if (fv_load_weights(net, path))
        fail_msg("%s", fv_error_message());
}

/* The net as it was, and a message with the file's name and those words. */
static void expect_refused(const char *net_text, const char *path, fv_status status,
                           const char *words) {
    fv_net *net = new_net(net_text, 7), *before = new_net(net_text, 7);
    expect_failure(fv_load_weights(net, path), status, words);
    expect_message(path);
    expect_same_weights(net, before);
    assert_null(fv_class_name(net, 0));
    fv_net_free(net);
    fv_net_free(before);
}

/* 0, the least, below normal, 1, the largest, infinite, no number; both signs. */
static void halves(void **state) {
    (void)state;
    static const struct {
        uint16_t bits;
        float value;
    } cases[] = {{0, 0},      {1, 0x1p-24f},         {0x03FF, 0x1.FF8p-15f}, {0x0400, 0x1p-14f},
                 {0x3C00, 1}, {0x3555, 0x1.554p-2f}, {0x7BFF, 65504},        {0x7C00, INFINITY}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(fv_half_to_float(cases[i].bits) == cases[i].value);
        assert_true(fv_half_to_float((uint16_t)(cases[i].bits | 0x8000)) == -cases[i].value);
    }
    assert_true(signbit(fv_half_to_float(0x8000)));
    assert_true(isnan(fv_half_to_float(0x7C01)) && isnan(fv_half_to_float(0xFFFF)));
    assert_true(fv_bfloat_to_float(0x3FC0) == 1.5f && fv_bfloat_to_float(0xC000) == -2);
}

#if defined FV_HAVE_JSON || defined FV_HAVE_ZIP
static void own_names(void **state) {
    (void)state;
    fv_net *from = new_net(text, 1);
    static const char *const files[] = {
#ifdef FV_HAVE_JSON
        "own.safetensors",
#endif
#ifdef FV_HAVE_ZIP
        "own.npz",
#endif
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        fv_net *to = new_net(text, 2);
        assert_int_equal(fv_export(from, in_folder(files[i])), FV_OK);
        expect_load(to, in_folder(files[i]));
        expect_same_weights(from, to);
        assert_true(to->initialized);
        fv_net_free(to);
    }
    fv_net_free(from);
}
#endif

#ifdef FV_HAVE_JSON

/* ---- Files ------------------------------------------------------------------------------------
 */

enum { MOST = 100 };

/* Tensors to be written: names, shapes and floats, of which each tensor has its own. */
typedef struct tensors {
    fv_tensor_entry entries[MOST];
    float *values[MOST];
    size_t count;
} tensors;

static void add_tensor(tensors *t, const char *name, int rank, const size_t *size,
                       const float *values) {
    assert_true(t->count < MOST);
    size_t count = 1;
    fv_tensor_entry *entry = &t->entries[t->count];
    *entry = (fv_tensor_entry){.name = strdup(name), .dtype = "F32", .rank = rank};
    for (int i = 0; i < rank; i++) {
        entry->size[i] = size[i];
        count *= size[i];
    }
    entry->count = count;
    t->values[t->count] = malloc(count * sizeof(double));
    memcpy(t->values[t->count], values, count * sizeof *values);
    entry->bytes = (const unsigned char *)t->values[t->count++];
}

/* All weights of the net, by their names. */
static tensors take_tensors(const fv_net *net) {
    tensors t = {.count = 0};
    for (int i = 0; i < fv_weight_count(net); i++) {
        fv_weight_info weight;
        assert_int_equal(fv_weight_describe(net, i, &weight), FV_OK);
        float *values = malloc(weight.count * sizeof *values);
        assert_int_equal(fv_get_weight(net, i, values), FV_OK);
        add_tensor(&t, weight.name, weight.rank, weight.size, values);
        free(values);
    }
    return t;
}

static void free_tensors(tensors *t) {
    for (size_t i = 0; i < t->count; i++) {
        free(t->entries[i].name);
        free(t->values[i]);
    }
}

static fv_tensor_entry *find(tensors *t, const char *name) {
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->entries[i].name, name) == 0)
            return &t->entries[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static void rename_tensor(tensors *t, const char *old, const char *new) {
    fv_tensor_entry *entry = find(t, old);
    free(entry->name);
    entry->name = strdup(new);
}

static void write_tensors(const tensors *t, const char *path) {
    if (fv_tensors_write(path, t->entries, t->count, NULL, NULL, 0))
        fail_msg("%s", fv_error_message());
}

/* ---- All types ----------------------------------------------------------------------
 */

/* Numbers that every type holds exactly, as bytes of that type in place of floats. */
static void store_as(fv_tensor_entry *entry, float *values, const char *dtype) {
    float *copy = malloc(entry->count * sizeof *copy);
    memcpy(copy, values, entry->count * sizeof *copy);
    strcpy(entry->dtype, dtype);
    for (size_t i = 0; i < entry->count; i++) {
        double wide = copy[i];
        uint32_t bits;
        memcpy(&bits, &copy[i], sizeof bits);
        int exponent = (int)(bits >> 23 & 255) - 127 + 15;
        uint16_t brain = (uint16_t)(bits >> 16);
        uint16_t half =
            (uint16_t)((bits >> 16 & 0x8000) | (uint32_t)exponent << 10 | (bits >> 13 & 0x3FF));
        if (strcmp(dtype, "F64") == 0)
            memcpy((char *)values + 8 * i, &wide, sizeof wide);
        else
            memcpy((char *)values + 2 * i, strcmp(dtype, "F16") == 0 ? &half : &brain, 2);
    }
    free(copy);
}

static void all_types(void **state) {
    (void)state;
    fv_net *from = new_net(text, 1), *to = new_net(text, 2);
    for (int i = 0; i < fv_weight_count(from); i++) {
        fv_weight_info weight;
        fv_weight_describe(from, i, &weight);
        float *values = malloc(weight.count * sizeof *values);
        for (size_t j = 0; j < weight.count; j++)
            values[j] = ((float)((j * 7 + (size_t)i) % 127) - 63.5f) / 32;
        assert_int_equal(fv_set_weight(from, i, values), FV_OK);
        free(values);
    }
    static const char *const types[] = {"F64", "F16", "BF16", "F32"};
    tensors t = take_tensors(from);
    assert_true(t.count > 4);
    for (size_t i = 0; i < t.count; i++)
        if (i % 4 < 3)
            store_as(&t.entries[i], t.values[i], types[i % 4]);
    write_tensors(&t, in_folder("types.safetensors"));
    expect_load(to, in_folder("types.safetensors"));
    expect_same_weights(from, to);
    strcpy(t.entries[3].dtype, "I32");
    write_tensors(&t, in_folder("types.safetensors"));
    expect_refused(text, in_folder("types.safetensors"), FV_FORMAT,
                   "is of type I32; F32, F64, F16 and BF16 are read");
    free_tensors(&t);
    fv_net_free(from);
    fv_net_free(to);
}

/* PyTorch's counts of batches are left out; nothing else is. */
static void counts_of_batches(void **state) {
    (void)state;
    fv_net *from = new_net(text, 1), *to = new_net(text, 2);
    tensors t = take_tensors(from);
    add_tensor(&t, "batch_norm1.num_batches_tracked", 0, NULL, (float[]){0, 0});
    fv_tensor_entry *count = &t.entries[t.count - 1];
    write_tensors(&t, in_folder("counts.safetensors"));
    expect_refused(text, in_folder("counts.safetensors"), FV_FORMAT,
                   "tensor \"batch_norm1.num_batches_tracked\" [] is none of the net");
    strcpy(count->dtype, "I64");
    write_tensors(&t, in_folder("counts.safetensors"));
    expect_load(to, in_folder("counts.safetensors"));
    expect_same_weights(from, to);
    rename_tensor(&t, "batch_norm1.num_batches_tracked", "batch_norm1.batches");
    write_tensors(&t, in_folder("counts.safetensors"));
    expect_refused(text, in_folder("counts.safetensors"), FV_FORMAT, "batch_norm1.batches");
    free_tensors(&t);
    fv_net_free(from);
    fv_net_free(to);
}

/* ---- What does not fit ------------------------------------------------------------------------
 */

static void misfits_are_named(void **state) {
    (void)state;
    fv_net *from = new_net(text, 1);
    tensors t = take_tensors(from);
    const char *path = in_folder("misfit.safetensors");
    rename_tensor(&t, "dense1.bias", "dense1.bais");
    write_tensors(&t, path);
    expect_refused(text, path, FV_FORMAT,
                   "tensor \"dense1.bias\" [4] of the net is missing; the file has 7 tensors, the "
                   "first is \"");
    rename_tensor(&t, "dense1.bais", "dense1.bias");
    add_tensor(&t, "extra", 2, (const size_t[]){1, 2}, (const float[]){1, 2});
    write_tensors(&t, path);
    expect_refused(text, path, FV_FORMAT, "tensor \"extra\" [1, 2] is none of the net");
    free(t.entries[--t.count].name);
    free(t.values[t.count]);
    fv_tensor_entry *weight = find(&t, "conv1.weight");
    weight->size[2] = 2;
    weight->size[3] = 3; /* as many values, in another shape */
    write_tensors(&t, path);
    expect_refused(text, path, FV_SHAPE,
                   "tensor \"conv1.weight\" is [3, 2, 2, 3] in the file, the net's conv1.weight is "
                   "[3, 2, 3, 2]");
    weight->rank = 1;
    weight->size[0] = 36;
    write_tensors(&t, path);
    expect_refused(text, path, FV_SHAPE, "is [36] in the file");
    t.count = 0;
    write_tensors(&t, path);
    expect_refused(text, path, FV_FORMAT, "is missing: the file has none");
    t.count = 7;
    free_tensors(&t);
    fv_net_free(from);
    expect_refused(text, in_folder("nowhere.safetensors"), FV_IO, "nowhere");
    expect_refused(text, in_folder("weights.bin"), FV_INVALID, "end in .safetensors or .npz");
    write_file(in_folder("no.safetensors"), "nonsense", 8);
    expect_refused(text, in_folder("no.safetensors"), FV_FORMAT, "no.safetensors");
}

static void busy_nets_are_refused(void **state) {
    (void)state;
    fv_net *net = new_net(text, 1), *unbuilt = fv_net_new();
    assert_int_equal(fv_export(net, in_folder("busy.safetensors")), FV_OK);
    fv_session *session = fv_session_new(net, NULL);
    assert_non_null(session);
    expect_failure(fv_load_weights(net, in_folder("busy.safetensors")), FV_BUSY, "session");
    fv_net *model = new_net(text, 2);
    expect_failure(fv_init_from(net, model, 0, NULL), FV_BUSY, "session");
    fv_session_free(session);
    expect_load(net, in_folder("busy.safetensors"));
    expect_failure(fv_load_weights(unbuilt, in_folder("busy.safetensors")), FV_INVALID, "built");
    expect_failure(fv_init_from(unbuilt, model, 0, NULL), FV_INVALID, "built");
    expect_failure(fv_init_from(net, unbuilt, 0, NULL), FV_INVALID, "built");
    fv_net_free(model);
    fv_net_free(unbuilt);
    fv_net_free(net);
}

static void class_names_are_taken(void **state) {
    (void)state;
    fv_net *from = new_net(text, 1), *to = new_net(text, 2);
    const char *names[] = {"a", "b", "c", "d"};
    assert_int_equal(fv_set_class_names(from, names, 4), FV_OK);
    assert_int_equal(fv_save(from, in_folder("classes.safetensors")), FV_OK);
    expect_load(to, in_folder("classes.safetensors"));
    assert_string_equal(fv_class_name(to, 3), "d");
    tensors t = take_tensors(from);
    const char *path = in_folder("bad-classes.safetensors");
    assert_int_equal(fv_tensors_write(path, t.entries, t.count, (const char *[]){"fovea.classes"},
                                      (const char *[]){"{}"}, 1),
                     FV_OK);
    expect_refused(text, path, FV_FORMAT, "no JSON array of names");
    free_tensors(&t);
    fv_net_free(from);
    fv_net_free(to);
}

/* ---- Published names --------------------------------------------------------------------------
 */

static const char vgg_text[] =
    "block c(f)\nconv {f} 3x3 pad=1\nend\n" /* never used: names are those of the net alone */
    "input 32x32x1\n"
    "conv1_1: conv 1 3x3 pad=1\nmaxpool 2x2\nconv2_1: conv 1 3x3 pad=1\nmaxpool 2x2\n"
    "conv3_1: conv 1 3x3 pad=1\nconv3_2: conv 1 3x3 pad=1\nmaxpool 2x2\n"
    "conv4_1: conv 1 3x3 pad=1\nconv4_2: conv 1 3x3 pad=1\n"
    "conv5_1: conv 2 3x3 pad=1\nconv5_2: conv 3 3x3 pad=1\n"
    "flatten\nfc6: dense 5\nfc7: dense 6\nfc8: dense 4 softmax\n";

static const char *const vgg_layers[][3] = {
    /* ours, torchvision's, timm's */
    {"conv1_1", "features.0", "features.0"},   {"conv2_1", "features.3", "features.3"},
    {"conv3_1", "features.6", "features.6"},   {"conv3_2", "features.8", "features.8"},
    {"conv4_1", "features.11", "features.11"}, {"conv4_2", "features.13", "features.13"},
    {"conv5_1", "features.16", "features.16"}, {"conv5_2", "features.18", "features.18"},
    {"fc6", "classifier.0", "pre_logits.fc1"}, {"fc7", "classifier.3", "pre_logits.fc2"},
    {"fc8", "classifier.6", "head.fc"},
};

/* The net's tensors by the names of that column. */
static tensors rename_vgg(const fv_net *net, int column) {
    tensors t = take_tensors(net);
    for (size_t i = 0; i < sizeof vgg_layers / sizeof *vgg_layers; i++)
        for (int bias = 0; bias < 2; bias++) {
            char old[64], new[64];
            const char *part = bias ? "bias" : "weight";
            snprintf(old, sizeof old, "%s.%s", vgg_layers[i][0], part);
            snprintf(new, sizeof new, "%s.%s", vgg_layers[i][column], part);
            rename_tensor(&t, old, new);
        }
    return t;
}

static void vgg_of_torchvision_and_timm(void **state) {
    (void)state;
    fv_net *from = new_net(vgg_text, 1);
    const char *path = in_folder("vgg.safetensors");
    for (int column = 1; column <= 2; column++) {
        fv_net *to = new_net(vgg_text, 2);
        tensors t = rename_vgg(from, column);
        if (column == 2) { /* dense layers as convolutions */
            fv_tensor_entry *fc6 = find(&t, "pre_logits.fc1.weight");
            fv_tensor_entry *fc7 = find(&t, "pre_logits.fc2.weight");
            fc6->rank = fc7->rank = 4;
            memcpy(fc6->size, (const size_t[]){5, 3, 4, 4}, 4 * sizeof(size_t));
            memcpy(fc7->size, (const size_t[]){6, 5, 1, 1}, 4 * sizeof(size_t));
        }
        write_tensors(&t, path);
        expect_load(to, path);
        expect_same_weights(from, to);
        free_tensors(&t);
        fv_net_free(to);
    }
    fv_net_free(from);
}

/* A message is about the names that come nearest. */
static void published_misfits_are_named(void **state) {
    (void)state;
    fv_net *from = new_net(vgg_text, 1);
    tensors t = rename_vgg(from, 1);
    const char *path = in_folder("vgg.safetensors");
    find(&t, "classifier.6.weight")->size[0] = 6; /* six classes */
    find(&t, "classifier.6.weight")->size[1] = 4;
    write_tensors(&t, path);
    expect_refused(vgg_text, path, FV_SHAPE,
                   "tensor \"classifier.6.weight\" is [6, 4] in the file, the net's fc8.weight is "
                   "[4, 6]");
    rename_tensor(&t, "classifier.6.weight", "classifier.7.weight");
    write_tensors(&t, path);
    expect_refused(vgg_text, path, FV_FORMAT,
                   "tensor \"classifier.6.weight\" [4, 6] of torchvision's vgg11 is missing");
    rename_tensor(&t, "classifier.7.weight", "classifier.6.weight");
    find(&t, "classifier.6.weight")->size[0] = 4;
    find(&t, "classifier.6.weight")->size[1] = 6;
    add_tensor(&t, "features.1.weight", 1, (const size_t[]){1}, (const float[]){1});
    write_tensors(&t, path);
    expect_refused(vgg_text, path, FV_FORMAT,
                   "tensor \"features.1.weight\" [1] is none of torchvision's vgg11");
    free_tensors(&t);
    fv_net_free(from);
}

static const char mobilenet_text[] =
    "input 8x8x3\n"
    "features.0.0: conv 4 3x3 pad=1 bias=false\nfeatures.0.1: batch_norm relu6\n"
    "features.1.conv.0.0: depthwise_conv 3x3 pad=1 bias=false\nfeatures.1.conv.0.1: batch_norm\n"
    "features.1.conv.1: conv 4 1x1 bias=false\nfeatures.1.conv.2: batch_norm\n"
    "features.12.conv.0.0: conv 4 1x1 bias=false\nfeatures.12.conv.0.1: batch_norm\n"
    "features.12.conv.1.0: depthwise_conv 3x3 pad=1 bias=false\n"
    "features.12.conv.1.1: batch_norm\n"
    "features.12.conv.2: conv 4 1x1 bias=false\nfeatures.12.conv.3: batch_norm\n"
    "features.18.0: conv 5 1x1 bias=false\nfeatures.18.1: batch_norm\n"
    "global_avgpool\nclassifier.1: dense 3\n";

static const char *const mobilenet_layers[][2] = {
    {"features.0.0", "conv_stem"},
    {"features.0.1", "bn1"},
    {"features.1.conv.0.0", "blocks.0.0.conv_dw"},
    {"features.1.conv.0.1", "blocks.0.0.bn1"},
    {"features.1.conv.1", "blocks.0.0.conv_pw"},
    {"features.1.conv.2", "blocks.0.0.bn2"},
    {"features.12.conv.0.0", "blocks.4.1.conv_pw"},
    {"features.12.conv.0.1", "blocks.4.1.bn1"},
    {"features.12.conv.1.0", "blocks.4.1.conv_dw"},
    {"features.12.conv.1.1", "blocks.4.1.bn2"},
    {"features.12.conv.2", "blocks.4.1.conv_pwl"},
    {"features.12.conv.3", "blocks.4.1.bn3"},
    {"features.18.0", "conv_head"},
    {"features.18.1", "bn2"},
    {"classifier.1", "classifier"},
};

static void mobilenet_of_timm(void **state) {
    (void)state;
    fv_net *from = new_net(mobilenet_text, 1), *to = new_net(mobilenet_text, 2);
    tensors t = take_tensors(from);
    for (size_t i = 0; i < t.count; i++) {
        char *dot = strrchr(t.entries[i].name, '.'), new[128] = "";
        for (size_t j = 0; j < sizeof mobilenet_layers / sizeof *mobilenet_layers; j++)
            if (strlen(mobilenet_layers[j][0]) == (size_t)(dot - t.entries[i].name) &&
                strncmp(mobilenet_layers[j][0], t.entries[i].name,
                        (size_t)(dot - t.entries[i].name)) == 0)
                snprintf(new, sizeof new, "%s%s", mobilenet_layers[j][1], dot);
        assert_true(new[0]);
        free(t.entries[i].name);
        t.entries[i].name = strdup(new);
    }
    write_tensors(&t, in_folder("mobilenet.safetensors"));
    expect_load(to, in_folder("mobilenet.safetensors"));
    expect_same_weights(from, to);
    free_tensors(&t);
    fv_net_free(from);
    fv_net_free(to);
}

#endif

/* ---- Archives ---------------------------------------------------------------------------------
 */

#ifdef FV_HAVE_ZIP

/* A member: a .npy header with that dictionary, and the values. */
typedef struct member {
    const char *name, *dictionary;
    const void *values;
    size_t size;
} member;

static void write_archive(const char *path, const member *members, size_t count, bool deflate) {
    unsigned char *bytes[8];
    zip_t *archive = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
    assert_non_null(archive);
    for (size_t i = 0; i < count; i++) {
        size_t length = members[i].dictionary ? strlen(members[i].dictionary) : 0;
        size_t start = members[i].dictionary ? 10 + length : 0;
        bytes[i] = malloc(start + members[i].size + 1);
        if (start > 0) {
            memcpy(bytes[i], "\x93NUMPY\1", 8);
            bytes[i][8] = (unsigned char)(length & 255);
            bytes[i][9] = (unsigned char)(length >> 8);
            memcpy(bytes[i] + 10, members[i].dictionary, length);
        }
        memcpy(bytes[i] + start, members[i].values, members[i].size);
        zip_source_t *source = zip_source_buffer(archive, bytes[i], start + members[i].size, 0);
        zip_int64_t index = zip_file_add(archive, members[i].name, source, 0);
        assert_true(index >= 0);
        zip_set_file_compression(archive, (zip_uint64_t)index,
                                 deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
    }
    assert_int_equal(zip_close(archive), 0);
    for (size_t i = 0; i < count; i++)
        free(bytes[i]);
}

#define ARRAY(type, shape) "{'descr': '" type "', 'fortran_order': False, 'shape': " shape ", }\n"

static const char dense_text[] = "input 2\ndense 2\n";
static const float four[] = {1, -2, 3, 0.5f}, two[] = {-1, 4};

static void archives(void **state) {
    (void)state;
    const char *path = in_folder("a.npz");
    const double wide[] = {-1, 4};
    const uint16_t half[] = {0x3C00, 0xC000, 0x4200, 0x3800};
    const int64_t batches = 9;
    for (int deflate = 0; deflate < 2; deflate++) {
        write_archive(path,
                      (const member[]){{"dense1.bias.npy", ARRAY("<f8", "(2,)"), wide, sizeof wide},
                                       {"dense1.weight.npy", ARRAY("<f2", "(2, 2)"), half, 8},
                                       {"x.num_batches_tracked.npy", ARRAY("<i8", "()"), &batches,
                                        sizeof batches}},
                      3, deflate);
        fv_net *net = new_net(dense_text, 1);
        expect_load(net, path);
        float got[4];
        assert_int_equal(fv_get_weight(net, 0, got), FV_OK);
        assert_memory_equal(got, four, sizeof four);
        assert_int_equal(fv_get_weight(net, 1, got), FV_OK);
        assert_memory_equal(got, two, sizeof two);
        fv_net_free(net);
    }
}

/* More values than a piece of unpacking holds. */
static void large_members(void **state) {
    (void)state;
    static const char large_text[] = "input 300\ndense 301\n";
    fv_net *from = new_net(large_text, 1), *to = new_net(large_text, 2);
    assert_int_equal(fv_export(from, in_folder("large.npz")), FV_OK);
    expect_load(to, in_folder("large.npz"));
    expect_same_weights(from, to);
    fv_net_free(from);
    fv_net_free(to);
}

static const struct {
    member member;
    fv_status status;
    const char *words;
} bad_members[] = {
    {{"dense1.weight", ARRAY("<f4", "(2, 2)"), four, 16}, FV_FORMAT, "is no array: expected"},
    {{".npy", ARRAY("<f4", "(2, 2)"), four, 16}, FV_FORMAT, "is no array: expected"},
    {{"dense1.weight.npy", NULL, "text", 4}, FV_FORMAT, "dense1.weight.npy: not a .npy file"},
    {{"dense1.weight.npy", NULL, "", 0}, FV_FORMAT, "not a .npy file"},
    {{"dense1.weight.npy", ARRAY("<f4", "(2, 3)"), four, 16},
     FV_FORMAT,
     "cut off: its header says that 24 bytes of values follow, found 16"},
    {{"dense1.weight.npy", ARRAY("<f4", "(2, 1)"), four, 16}, FV_FORMAT, "goes on after its end"},
    /* what the header promises is not believed */
    {{"dense1.weight.npy", ARRAY("<f4", "(1000000, 1000000)"), four, 16}, FV_FORMAT, "cut off"},
    {{"dense1.weight.npy", ARRAY("<f4", "(99999999999, 99999999999)"), four, 16},
     FV_FORMAT,
     "more values than any memory holds"},
    {{"dense1.weight.npy", ARRAY("<c8", "(2, 1)"), four, 16}, FV_UNSUPPORTED, "dtype '<c8'"},
    {{"dense1.weight.npy", ARRAY("<i4", "(2, 2)"), four, 16}, FV_FORMAT, "is of type I32"},
    {{"dense1.weight.npy", ARRAY("<f4", "(1, 4)"), four, 16},
     FV_SHAPE,
     "is [1, 4] in the file, the net's dense1.weight is [2, 2]"},
};

static void bad_archives(void **state) {
    (void)state;
    const char *path = in_folder("bad.npz");
    const member bias = {"dense1.bias.npy", ARRAY("<f4", "(2,)"), two, sizeof two};
    for (size_t i = 0; i < sizeof bad_members / sizeof *bad_members; i++) {
        write_archive(path, (const member[]){bad_members[i].member, bias}, 2, i % 2);
        expect_refused(dense_text, path, bad_members[i].status, bad_members[i].words);
    }
    write_file(path, "no archive at all", 17);
    expect_refused(dense_text, path, FV_FORMAT, "no archive that can be read");
    expect_refused(dense_text, in_folder("nowhere.npz"), FV_IO, "there is no such file");
}

/* A megabyte of zeros packs into a kilobyte: nothing of it is unpacked but the header, since no
 * weight of the net has that shape. */
static void bombs_are_not_unpacked(void **state) {
    (void)state;
    enum { SIZE = 16 << 20 };
    void *zeros = calloc(SIZE, 1);
    write_archive(in_folder("bomb.npz"),
                  (const member[]){{"dense1.weight.npy", ARRAY("<f4", "(2048, 2048)"), zeros, SIZE},
                                   {"dense1.bias.npy", ARRAY("<f4", "(2,)"), two, sizeof two}},
                  2, true);
    free(zeros);
    expect_refused(dense_text, in_folder("bomb.npz"), FV_SHAPE, "is [2048, 2048] in the file");
}

/* Any byte changed, any end cut off: an error that changes nothing, or the right numbers. */
static void damaged_archives(void **state) {
    (void)state;
    fv_net *before = new_net(dense_text, 7), *after = new_net(dense_text, 7);
    assert_int_equal(fv_set_weight(after, 0, four), FV_OK);
    assert_int_equal(fv_set_weight(after, 1, two), FV_OK);
    for (int deflate = 0; deflate < 2; deflate++) {
        const member members[] = {{"dense1.weight.npy", ARRAY("<f4", "(2, 2)"), four, sizeof four},
                                  {"dense1.bias.npy", ARRAY("<f4", "(2,)"), two, sizeof two}};
        write_archive(in_folder("whole.npz"), members, 2, deflate);
        size_t size;
        unsigned char *bytes = read_whole(in_folder("whole.npz"), &size);
        for (size_t i = 0; i < 2 * size; i++) {
            fv_net *net = new_net(dense_text, 7);
            unsigned char byte = bytes[i / 2];
            bytes[i / 2] ^= i % 2 ? 0xFF : 1;
            write_file(in_folder("damaged.npz"), bytes, size);
            fv_status status = fv_load_weights(net, in_folder("damaged.npz"));
            bytes[i / 2] = byte;
            expect_same_weights(net, status ? before : after);
            if (i < size) {
                write_file(in_folder("damaged.npz"), bytes, i);
                assert_int_not_equal(fv_load_weights(net, in_folder("damaged.npz")), FV_OK);
            }
            fv_net_free(net);
        }
        free(bytes);
    }
    fv_net_free(before);
    fv_net_free(after);
}

static void no_memory_changes_nothing(void **state) {
    (void)state;
    fv_net *from = new_net(text, 1), *before = new_net(text, 7), *net = new_net(text, 7);
    assert_int_equal(fv_export(from, in_folder("memory.npz")), FV_OK);
    int failures = 0;
    for (fv_status status = FV_MEMORY; status; failures++) {
        allocations_left = failures;
        status = fv_load_weights(net, in_folder("memory.npz"));
        allocations_left = -1;
        assert_true(status == FV_OK || status == FV_MEMORY);
        expect_same_weights(net, status ? before : from);
    }
    assert_true(failures > 10);
    fv_net_free(from);
    fv_net_free(before);
    fv_net_free(net);
}

#endif

/* ---- Transfer ---------------------------------------------------------------------------------
 */

static void a_net_starts_from_another(void **state) {
    (void)state;
    static const char model_text[] = "input    5x4x2\n"
                                     "conv     3 3x2 bias=false\n"
                                     "batch_norm relu\n"
                                     "flatten\n"
                                     "old: dense 7\n"
                                     "dense1: dense 9 softmax\n";
    fv_net *model = new_net(model_text, 1), *net = new_net(text, 2), *drawn = new_net(text, 3);
    char *report;
    assert_int_equal(fv_init_from(net, model, 3, &report), FV_OK);
    assert_string_equal(report, "dense1.weight is [4, 27], in the model [9, 7]\n"
                                "dense1.bias is [4], in the model [9]\n"
                                "old.weight is only in the model\n"
                                "old.bias is only in the model\n");
    fv_free_memory(report);
    assert_true(net->initialized);
    for (int i = 0; i < fv_weight_count(net); i++) {
        float got[200], wanted[200];
        fv_weight_info weight;
        fv_weight_describe(net, i, &weight);
        assert_int_equal(fv_get_weight(net, i, got), FV_OK);
        assert_int_equal(fv_get_weight(i < 5 ? model : drawn, i, wanted), FV_OK);
        assert_memory_equal(got, wanted, weight.count * sizeof *got);
    }
    /* All of it, and nothing of it */
    fv_net *same = new_net(model_text, 5), *other = new_net("input 3\nx: dense 2", 1);
    assert_int_equal(fv_init_from(same, model, 3, &report), FV_OK);
    assert_string_equal(report, "");
    fv_free_memory(report);
    expect_same_weights(same, model);
    expect_failure(fv_init_from(same, other, 9, NULL), FV_INVALID, "nothing to start from");
    expect_same_weights(same, model);
    assert_int_equal(fv_init_from(net, model, 3, NULL), FV_OK);
    assert_int_equal(fv_init_from(other, model, 3, &report), FV_INVALID);
    expect_failure(fv_init_from(net, net, 3, NULL), FV_INVALID, "itself");
    fv_net_free(model);
    fv_net_free(net);
    fv_net_free(drawn);
    fv_net_free(same);
    fv_net_free(other);
}

static void layers_are_frozen(void **state) {
    (void)state;
    fv_net *net = new_net("input 6x6x1\nlayer1.a: conv 2 3x3 lr=2\nlayer1.r: relu\n"
                          "layer2.a: conv 2 3x3\nflatten\nfc: dense 3\n",
                          1);
    int count = -1;
    assert_int_equal(fv_freeze(net, "layer[13].*", &count), FV_OK);
    assert_int_equal(count, 1);
    assert_true(net->nodes[1].tuning.freeze && net->nodes[1].tuning.lr == 2);
    assert_true(!net->nodes[2].tuning.freeze && !net->nodes[3].tuning.freeze);
    char *printed = fv_net_print(net, false);
    assert_non_null(strstr(printed, "lr=2 freeze=true"));
    fv_free_memory(printed);
    assert_int_equal(fv_freeze(net, "*", NULL), FV_OK);
    assert_true(net->nodes[3].tuning.freeze && net->nodes[5].tuning.freeze);
    expect_failure(fv_freeze(net, "layer1.r", &count), FV_INVALID,
                   "\"layer1.r\" matches no layer with weights; those are: layer1.a, layer2.a, fc");
    expect_failure(fv_freeze(net, "", NULL), FV_INVALID, "matches no layer");
    char pattern[300];
    memset(pattern, '*', 299);
    pattern[299] = 0;
    expect_failure(fv_freeze(net, pattern, NULL), FV_INVALID, "a pattern of 299 bytes");
    assert_int_equal(count, 1);
    fv_net_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves),
#if defined FV_HAVE_JSON || defined FV_HAVE_ZIP
        cmocka_unit_test(own_names),
#endif
#ifdef FV_HAVE_JSON
        cmocka_unit_test(all_types),
        cmocka_unit_test(counts_of_batches),
        cmocka_unit_test(misfits_are_named),
        cmocka_unit_test(busy_nets_are_refused),
        cmocka_unit_test(class_names_are_taken),
        cmocka_unit_test(vgg_of_torchvision_and_timm),
        cmocka_unit_test(published_misfits_are_named),
        cmocka_unit_test(mobilenet_of_timm),
#endif
#ifdef FV_HAVE_ZIP
        cmocka_unit_test(archives),
        cmocka_unit_test(large_members),
        cmocka_unit_test(bad_archives),
        cmocka_unit_test(bombs_are_not_unpacked),
        cmocka_unit_test(damaged_archives),
        cmocka_unit_test(no_memory_changes_nothing),
#endif
        cmocka_unit_test(a_net_starts_from_another),
        cmocka_unit_test(layers_are_frozen),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
