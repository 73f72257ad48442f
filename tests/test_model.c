/* Model files: a net that is saved and loaded is the same net, its tensors mean what PyTorch's
 * mean, damaged files are refused, and .npz archives hold the same numbers. */
#include "formats/formats.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef FV_HAVE_ZIP
#include <zip.h>
#endif

#include <cmocka.h>

static char folder[] = "/tmp/fovea-model-XXXXXX";

static const char net_text[] = "input    5x4x2 scale=0.5\n"
                               "conv     3 3x2 relu\n"
                               "flatten\n"
                               "dense    4\n";

/* A path in the folder; each call gives one of four texts in turn. */
static const char *in_folder(const char *name) {
    static char paths[4][sizeof folder + 40];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

/* Fails when anything but these was left behind, a temporary file for instance. */
static int remove_folder(void **state) {
    (void)state;
    static const char *const names[] = {"a.safetensors", "b.safetensors", "a.npz", "b.npz",
                                        "a.net"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unlink(in_folder(names[i]));
    return rmdir(folder);
}

static void expect_message(const char *part) {
    if (strstr(fv_error_message(), part) == NULL)
        fail_msg("message \"%s\", expected \"%s\" in it", fv_error_message(), part);
}

static fv_net *new_net(uint64_t seed) {
    fv_net *net = fv_net_parse(net_text, "test.net");
    if (net == NULL)
        fail_msg("%s", fv_error_message());
    assert_int_equal(fv_net_initialize(net, seed), FV_OK);
    return net;
}

static void unsaved_net(void **state) {
    (void)state;
    fv_net *net = fv_net_new();
    assert_non_null(net);
    assert_int_equal(fv_save(net, in_folder("a.safetensors")), FV_INVALID);
    expect_message("not built");
    assert_int_equal(access(in_folder("a.safetensors"), F_OK), -1);
    fv_net_free(net);
}

static void class_names(void **state) {
    (void)state;
    const char *first[] = {"cat", "dog"}, *second[] = {"one"};
    fv_net *net = new_net(1);
    assert_null(fv_class_name(net, 0));
    assert_int_equal(fv_set_class_names(net, first, 2), FV_OK);
    assert_string_equal(fv_class_name(net, 1), "dog");
    assert_null(fv_class_name(net, 2));
    assert_null(fv_class_name(net, -1));
    assert_int_equal(fv_set_class_names(net, first, -1), FV_INVALID);
    assert_string_equal(fv_class_name(net, 0), "cat");
    assert_int_equal(fv_set_class_names(net, second, 1), FV_OK);
    assert_string_equal(fv_class_name(net, 0), "one");
    assert_int_equal(fv_set_class_names(net, NULL, 0), FV_OK);
    assert_null(fv_class_name(net, 0));
    fv_net_free(net);
}

static void export_suffixes(void **state) {
    (void)state;
    static const char *const unknown[] = {"a.txt", "a", ""};
    fv_net *net = new_net(1);
    assert_int_equal(fv_export(net, in_folder("a.keras")), FV_UNSUPPORTED);
    expect_message("not in this version");
    expect_message("a.keras");
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(fv_export(net, in_folder(unknown[i])), FV_INVALID);
        expect_message(".safetensors, .npz, .onnx and .net");
    }
    fv_net_free(net);
}

static unsigned char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    unsigned char *bytes = calloc(1, 1 << 20);
    assert_non_null(bytes);
    *size = fread(bytes, 1, (1 << 20) - 1, file);
    assert_int_equal(fclose(file), 0);
    return bytes;
}

#if defined FV_HAVE_JSON || defined FV_HAVE_ZIP

static void expect_same_files(const char *a, const char *b) {
    size_t a_size, b_size;
    unsigned char *a_bytes = read_file(a, &a_size), *b_bytes = read_file(b, &b_size);
    assert_int_equal(a_size, b_size);
    assert_memory_equal(a_bytes, b_bytes, a_size);
    free(a_bytes);
    free(b_bytes);
}

#endif

static void exported_text(void **state) {
    (void)state;
    fv_net *net = new_net(1);
    assert_int_equal(fv_export(net, in_folder("a.net")), FV_OK);
    size_t size;
    char *text = (char *)read_file(in_folder("a.net"), &size);
    char *printed = fv_net_print(net, false);
    assert_string_equal(text, printed);
    fv_net *again = fv_net_load(in_folder("a.net"));
    assert_non_null(again);
    assert_int_equal(fv_parameter_count(again), fv_parameter_count(net));
    fv_free_memory(printed);
    free(text);
    fv_net_free(again);
    fv_net_free(net);
}

#ifdef FV_HAVE_JSON

static void write_file(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void same_bytes(void **state) {
    (void)state;
    const char *names[] = {"a", "b \"quoted\"", "\xc3\xa9", ""};
    fv_net *net = new_net(7);
    assert_int_equal(fv_set_class_names(net, names, 4), FV_OK);
    assert_int_equal(fv_save(net, in_folder("a.safetensors")), FV_OK);
    fv_net *loaded = fv_net_load(in_folder("a.safetensors"));
    if (loaded == NULL)
        fail_msg("%s", fv_error_message());
    assert_true(loaded->initialized);
    assert_int_equal(loaded->weight_size, net->weight_size);
    assert_memory_equal(loaded->weights, net->weights, net->weight_size * sizeof *net->weights);
    for (int i = 0; i < 4; i++)
        assert_string_equal(fv_class_name(loaded, i), names[i]);
    assert_null(fv_class_name(loaded, 4));
    assert_int_equal(fv_export(loaded, in_folder("b.safetensors")), FV_OK);
    expect_same_files(in_folder("a.safetensors"), in_folder("b.safetensors"));
    fv_net_free(loaded);
    fv_net_free(net);
}

/* What names a place or a time would make equal models different files. */
static void only_the_model(void **state) {
    (void)state;
    fv_net *net = new_net(7);
    assert_int_equal(fv_save(net, in_folder("a.safetensors")), FV_OK);
    fv_tensors tensors;
    assert_int_equal(fv_tensors_open(in_folder("a.safetensors"), &tensors), FV_OK);
    assert_int_equal(tensors.count, 4);
    assert_int_equal(tensors.metadata_count, 2);
    assert_string_equal(fv_tensors_metadata(&tensors, "fovea.version"), "1");
    char *text = fv_net_print(net, true);
    assert_string_equal(fv_tensors_metadata(&tensors, "fovea.net"), text);
    assert_null(strstr(text, folder));
    assert_null(strstr(text, "test.net"));
    fv_free_memory(text);
    fv_tensors_close(&tensors);
    fv_net_free(net);
}

/* A checkpoint's additions are kept beside the model and do not disturb it. */
static void additions(void **state) {
    (void)state;
    static const double values[2] = {1, 2};
    const fv_tensor_entry entry = {.name = "optimizer.x",
                                   .dtype = "F64",
                                   .rank = 1,
                                   .size = {2},
                                   .count = 2,
                                   .bytes = (const unsigned char *)values};
    const char *key = "fovea.epoch", *value = "3";
    const fv_model_extra extra = {&entry, 1, &key, &value, 1};
    fv_net *net = new_net(7);
    assert_int_equal(fv_model_write(net, in_folder("a.safetensors"), &extra), FV_OK);
    fv_tensors tensors;
    assert_int_equal(fv_tensors_open(in_folder("a.safetensors"), &tensors), FV_OK);
    assert_string_equal(fv_tensors_metadata(&tensors, key), value);
    assert_memory_equal(fv_tensors_find(&tensors, "optimizer.x")->bytes, values, sizeof values);
    fv_tensors_close(&tensors);
    fv_net *loaded = fv_model_load(in_folder("a.safetensors"), NULL, 0);
    assert_non_null(loaded);
    assert_memory_equal(loaded->weights, net->weights, net->weight_size * sizeof *net->weights);
    fv_net_free(loaded);
    fv_net_free(net);
}

/* ---- The tensors mean what PyTorch's mean -----------------------------------------------------
 */

static const float *tensor(const fv_tensors *tensors, const char *name, int rank,
                           const size_t *size) {
    const fv_tensor_entry *entry = fv_tensors_find(tensors, name);
    assert_non_null(entry);
    assert_string_equal(entry->dtype, "F32");
    assert_int_equal(entry->rank, rank);
    for (int i = 0; i < rank; i++)
        assert_int_equal(entry->size[i], size[i]);
    return (const float *)(const void *)entry->bytes;
}

/* The net of net_text in plain loops over PyTorch's layouts: x [C][H][W], weight [O][C][KH][KW],
 * dense [O][channels first]. y[4]; bound[4] is the sum of the absolute terms. */
static void plain_net(const fv_tensors *tensors, double x[2][5][4], double y[4], double bound[4]) {
    const float *w1 = tensor(tensors, "conv1.weight", 4, (size_t[]){3, 2, 3, 2});
    const float *b1 = tensor(tensors, "conv1.bias", 1, (size_t[]){3});
    const float *w2 = tensor(tensors, "dense1.weight", 2, (size_t[]){4, 27});
    const float *b2 = tensor(tensors, "dense1.bias", 1, (size_t[]){4});
    double h[3][3][3], size[3][3][3];
    for (int o = 0; o < 3; o++)
        for (int r = 0; r < 3; r++)
            for (int s = 0; s < 3; s++) {
                h[o][r][s] = b1[o];
                size[o][r][s] = fabs(b1[o]);
                for (int c = 0; c < 2; c++)
                    for (int i = 0; i < 3; i++)
                        for (int j = 0; j < 2; j++) {
                            double term = x[c][r + i][s + j] * w1[((o * 2 + c) * 3 + i) * 2 + j];
                            h[o][r][s] += term;
                            size[o][r][s] += fabs(term);
                        }
                h[o][r][s] = h[o][r][s] > 0 ? h[o][r][s] : 0;
            }
    for (int o = 0; o < 4; o++) {
        y[o] = b2[o];
        bound[o] = fabs(b2[o]);
        for (int i = 0; i < 27; i++) {
            y[o] += w2[o * 27 + i] * h[i / 9][i / 3 % 3][i % 3];
            bound[o] += fabs(w2[o * 27 + i]) * size[i / 9][i / 3 % 3][i % 3];
        }
    }
}

static void pytorch_layouts(void **state) {
    (void)state;
    float input[5 * 4 * 2];
    double x[2][5][4], wanted[4], bound[4];
    for (int i = 0; i < 40; i++) {
        input[i] = (float)(i * 7 % 11) - 4;
        x[i % 2][i / 8][i / 2 % 4] = 0.5 * input[i];
    }
    fv_net *net = new_net(3);
    for (size_t i = 0; i < net->weight_size; i++) /* biases too */
        net->weights[i] = (real)sin(1.7 * (double)i);
    assert_int_equal(fv_save(net, in_folder("a.safetensors")), FV_OK);
    fv_tensors tensors;
    assert_int_equal(fv_tensors_open(in_folder("a.safetensors"), &tensors), FV_OK);
    plain_net(&tensors, x, wanted, bound);
    fv_tensors_close(&tensors);
    fv_session *session = fv_session_new(net, &(fv_session_options){.exact = true});
    assert_non_null(session);
    assert_int_equal(fv_session_run(session, input, 1), FV_OK);
    fv_shape shape;
    const float *output = fv_session_output(session, NULL, &shape);
    assert_int_equal(fv_shape_count(&shape), 4);
    for (int i = 0; i < 4; i++)
        if (!(fabs(output[i] - wanted[i]) <= 40 * 0x1p-24 * bound[i]))
            fail_msg("output %d: %g, expected %g", i, output[i], wanted[i]);
    fv_session_free(session);
    fv_net_free(net);
}

/* ---- Files that do not fit, or are damaged ----------------------------------------------------
 */

static void expect_refused(const char *path, const char *part) {
    fv_net *net = fv_net_load(path);
    if (net != NULL)
        fail_msg("%s was loaded, expected \"%s\"", path, part);
    expect_message(path);
    expect_message(part);
}

static void other_shape(void **state) {
    (void)state;
    fv_net *net = new_net(1);
    assert_int_equal(fv_save(net, in_folder("a.safetensors")), FV_OK);
    const char *setting = "dense1.units=7";
    assert_null(fv_model_load(in_folder("a.safetensors"), &setting, 1));
    expect_message("a.safetensors");
    expect_message("\"dense1.weight\" is [4, 27] in the file, the net needs [7, 27]");
    fv_net_free(net);
}

/* The weights of `net` with metadata of the caller's; edits one entry first. */
static void write_variant(const fv_net *net, const char *text, const char *version,
                          const char *classes, void (*edit)(fv_net_tensors *tensors)) {
    fv_net_tensors tensors;
    assert_int_equal(fv_net_tensors_make(net, &tensors), FV_OK);
    if (edit != NULL)
        edit(&tensors);
    const char *keys[] = {"fovea.net", "fovea.version", "fovea.classes"};
    const char *values[] = {text, version, classes};
    assert_int_equal(fv_tensors_write(in_folder("a.safetensors"), tensors.entries, tensors.count,
                                      keys, values, classes == NULL ? 2 : 3),
                     FV_OK);
    fv_net_tensors_free(&tensors);
}

static void rename_bias(fv_net_tensors *tensors) {
    strcpy(tensors->entries[1].name, "conv9.bias");
}

static void make_integer(fv_net_tensors *tensors) {
    strcpy(tensors->entries[1].dtype, "I32");
}

static void flatten_weight(fv_net_tensors *tensors) {
    tensors->entries[0].rank = 1;
    tensors->entries[0].size[0] = tensors->entries[0].count;
}

static void wrong_contents(void **state) {
    (void)state;
    const char *path = in_folder("a.safetensors");
    fv_net *net = new_net(1);
    write_variant(net, net_text, "1", "[\"x\"]", NULL);
    fv_net *good = fv_net_load(path);
    assert_non_null(good);
    fv_net_free(good);
    write_variant(net, net_text, "1", NULL, rename_bias);
    expect_refused(path, "tensor \"conv1.bias\" is missing, the net needs [3]");
    write_variant(net, net_text, "1", NULL, make_integer);
    expect_refused(path, "tensor \"conv1.bias\" is I32, expected F32");
    write_variant(net, net_text, "1", NULL, flatten_weight);
    expect_refused(path, "tensor \"conv1.weight\" is [36] in the file, the net needs [3, 2, 3, 2]");
    write_variant(net, net_text, "2", NULL, NULL);
    expect_refused(path, "another version (\"2\", expected \"1\")");
    write_variant(net, net_text, "1", "[\"x\", 1]", NULL);
    expect_refused(path, "fovea.classes[1] is no text");
    write_variant(net, net_text, "1", "{\"x\": 1}", NULL);
    expect_refused(path, "fovea.classes is no JSON array");
    write_variant(net, net_text, "1", "[\"x", NULL);
    expect_refused(path, "fovea.classes is no JSON array");
    write_variant(net, "input 5x4x2\nconvolution 3 3x2\n", "1", NULL, NULL);
    expect_refused(path, "convolution");
    write_variant(net, "", "1", NULL, NULL);
    expect_refused(path, "");
    fv_net_free(net);
}

static void weights_only(void **state) {
    (void)state;
    const float value = 1;
    const fv_tensor_entry entry = {
        .name = "conv1.bias", .dtype = "F32", .count = 1, .bytes = (const unsigned char *)&value};
    assert_int_equal(fv_tensors_write(in_folder("a.safetensors"), &entry, 1, NULL, NULL, 0), FV_OK);
    expect_refused(in_folder("a.safetensors"), "only weights, no net");
    expect_message("fovea.net");
}

/* A file that does not fit leaves the net as it was, even where its first tensors do. */
static void all_or_nothing(void **state) {
    (void)state;
    fv_net *net = new_net(1), *other = new_net(2);
    write_variant(other, net_text, "1", NULL, make_integer);
    size_t size = net->weight_size * sizeof *net->weights;
    real *before = malloc(size);
    assert_non_null(before);
    memcpy(before, net->weights, size);
    fv_tensors tensors;
    assert_int_equal(fv_tensors_open(in_folder("a.safetensors"), &tensors), FV_OK);
    assert_int_equal(fv_model_read_weights(&tensors, net), FV_FORMAT);
    assert_memory_equal(net->weights, before, size);
    fv_tensors_close(&tensors);
    free(before);
    fv_net_free(other);
    fv_net_free(net);
}

/* Another writer may place the tensors at odd addresses. */
static void unaligned(void **state) {
    (void)state;
    const char *path = in_folder("a.safetensors");
    fv_net *net = new_net(1);
    assert_int_equal(fv_save(net, path), FV_OK);
    size_t size;
    unsigned char *bytes = read_file(path, &size);
    size_t data = 8 + bytes[0] + ((size_t)bytes[1] << 8);
    memmove(bytes + data + 1, bytes + data, size - data);
    bytes[data] = ' ';
    bytes[0]++; /* even before: no carry */
    write_file(path, bytes, size + 1);
    free(bytes);
    fv_net *loaded = fv_net_load(path);
    if (loaded == NULL)
        fail_msg("%s", fv_error_message());
    assert_memory_equal(loaded->weights, net->weights, net->weight_size * sizeof *net->weights);
    fv_net_free(loaded);
    fv_net_free(net);
}

static void cut_short(void **state) {
    (void)state;
    const char *path = in_folder("a.safetensors"), *cut_path = in_folder("b.safetensors");
    fv_net *net = new_net(1);
    assert_int_equal(fv_save(net, path), FV_OK);
    size_t size;
    unsigned char *bytes = read_file(path, &size);
    for (size_t cut = 0; cut < size; cut += 64) {
        write_file(cut_path, bytes, cut);
        expect_refused(cut_path, cut < 8 ? "too few" : "cut short");
    }
    write_file(cut_path, bytes, size - 1);
    expect_refused(cut_path, "cut short");
    free(bytes);
    fv_net_free(net);
}

/* A turned bit gives an error that names the file, or a net that works; never a crash. */
static void bit_flips(void **state) {
    (void)state;
    const char *path = in_folder("b.safetensors");
    fv_net *net = new_net(1);
    assert_int_equal(fv_save(net, path), FV_OK);
    size_t size;
    unsigned refused = 0;
    unsigned char *bytes = read_file(path, &size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        write_file(path, bytes, size);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        fv_net *loaded = fv_net_load(path);
        if (loaded == NULL) {
            expect_message(path);
            refused++;
        }
        fv_net_free(loaded);
    }
    assert_true(refused > 1000);
    free(bytes);
    fv_net_free(net);
}

static void unwritable(void **state) {
    (void)state;
    fv_net *net = new_net(1);
    assert_int_equal(fv_save(net, in_folder("missing/a.safetensors")), FV_IO);
    expect_message("missing/a.safetensors");
    assert_int_equal(fv_save(net, folder), FV_IO);
    expect_message(folder);
    const char *bad_name = "\xff";
    assert_int_equal(fv_set_class_names(net, &bad_name, 1), FV_OK);
    write_file(in_folder("a.safetensors"), "old", 3);
    assert_int_equal(fv_save(net, in_folder("a.safetensors")), FV_INVALID);
    expect_message("UTF-8");
    size_t size;
    unsigned char *bytes = read_file(in_folder("a.safetensors"), &size);
    assert_int_equal(size, 3);
    free(bytes);
    fv_net_free(net);
}

#else

static void no_json(void **state) {
    (void)state;
    fv_net *net = new_net(1);
    assert_int_equal(fv_save(net, in_folder("a.safetensors")), FV_UNSUPPORTED);
    expect_message("-Djson=enabled");
    assert_null(fv_model_load(in_folder("a.safetensors"), NULL, 0));
    expect_message("-Djson=enabled");
    fv_net_free(net);
}

#endif

/* ---- .npz -------------------------------------------------------------------------------------
 */

#ifdef FV_HAVE_ZIP

/* The entry's bytes, unpacked by libzip; the caller frees them. */
static unsigned char *unpack(zip_t *archive, const char *name, size_t *size) {
    zip_stat_t information;
    assert_int_equal(zip_stat(archive, name, 0, &information), 0);
    assert_int_equal(information.comp_method, ZIP_CM_STORE);
    *size = (size_t)information.size;
    unsigned char *bytes = calloc(1, *size + 1);
    assert_non_null(bytes);
    zip_file_t *file = zip_fopen(archive, name, 0);
    assert_non_null(file);
    assert_int_equal(zip_fread(file, bytes, *size), *size);
    assert_int_equal(zip_fclose(file), 0);
    return bytes;
}

/* Checks the entry by the description of NEP 1. */
static void expect_array(zip_t *archive, const char *name, const char *shape,
                         const fv_tensor_entry *tensor) {
    size_t size;
    char dictionary[200];
    unsigned char *bytes = unpack(archive, name, &size);
    assert_memory_equal(bytes, "\x93NUMPY\x01\x00", 8);
    size_t data = 10 + bytes[8] + ((size_t)bytes[9] << 8);
    assert_int_equal(data % 64, 0);
    assert_int_equal(bytes[data - 1], '\n');
    int length = snprintf(dictionary, sizeof dictionary,
                          "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }", shape);
    assert_memory_equal(bytes + 10, dictionary, (size_t)length);
    for (size_t i = 10 + (size_t)length; i < data - 1; i++)
        assert_int_equal(bytes[i], ' ');
    assert_int_equal(size - data, tensor->count * sizeof(float));
    assert_memory_equal(bytes + data, tensor->bytes, size - data);
    free(bytes);
}

static void npz_contents(void **state) {
    (void)state;
    fv_net *net = new_net(5);
    assert_int_equal(fv_export(net, in_folder("a.npz")), FV_OK);
    fv_net_tensors tensors;
    assert_int_equal(fv_net_tensors_make(net, &tensors), FV_OK);
    assert_int_equal(tensors.count, 4);
    zip_t *archive = zip_open(in_folder("a.npz"), ZIP_RDONLY | ZIP_CHECKCONS, NULL);
    assert_non_null(archive);
    assert_int_equal(zip_get_num_entries(archive, 0), 4);
    expect_array(archive, "conv1.weight.npy", "(3, 2, 3, 2)", &tensors.entries[0]);
    expect_array(archive, "conv1.bias.npy", "(3,)", &tensors.entries[1]);
    expect_array(archive, "dense1.weight.npy", "(4, 27)", &tensors.entries[2]);
    expect_array(archive, "dense1.bias.npy", "(4,)", &tensors.entries[3]);
    zip_discard(archive);
    fv_net_tensors_free(&tensors);
    fv_net_free(net);
}

/* Whatever the time and the time zone. */
static void npz_same_bytes(void **state) {
    (void)state;
    fv_net *net = new_net(5);
    assert_int_equal(setenv("TZ", "Pacific/Auckland", 1), 0);
    assert_int_equal(fv_export(net, in_folder("a.npz")), FV_OK);
    assert_int_equal(setenv("TZ", "America/Los_Angeles", 1), 0);
    assert_int_equal(fv_export(net, in_folder("b.npz")), FV_OK);
    assert_int_equal(unsetenv("TZ"), 0);
    expect_same_files(in_folder("a.npz"), in_folder("b.npz"));
    fv_net_free(net);
}

static void npz_refused(void **state) {
    (void)state;
    fv_net *net = new_net(5);
    assert_int_equal(fv_export(net, in_folder("missing/a.npz")), FV_IO);
    expect_message("missing/a.npz");
    fv_net_free(net);
    net = fv_net_parse("input 4x4x1\nmaxpool 2x2\n", "pool.net");
    assert_non_null(net);
    assert_int_equal(fv_export(net, in_folder("b.npz")), FV_INVALID);
    expect_message("no weights");
    fv_net_free(net);
}

#else

static void no_zip(void **state) {
    (void)state;
    fv_net *net = new_net(1);
    assert_int_equal(fv_export(net, in_folder("a.npz")), FV_UNSUPPORTED);
    expect_message("-Dzip=enabled");
    fv_net_free(net);
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsaved_net),     cmocka_unit_test(class_names),
        cmocka_unit_test(export_suffixes), cmocka_unit_test(exported_text),
#ifdef FV_HAVE_JSON
        cmocka_unit_test(same_bytes),      cmocka_unit_test(only_the_model),
        cmocka_unit_test(additions),       cmocka_unit_test(pytorch_layouts),
        cmocka_unit_test(other_shape),     cmocka_unit_test(wrong_contents),
        cmocka_unit_test(weights_only),    cmocka_unit_test(all_or_nothing),
        cmocka_unit_test(unaligned),       cmocka_unit_test(cut_short),
        cmocka_unit_test(bit_flips),       cmocka_unit_test(unwritable),
#else
        cmocka_unit_test(no_json),
#endif
#ifdef FV_HAVE_ZIP
        cmocka_unit_test(npz_contents),    cmocka_unit_test(npz_same_bytes),
        cmocka_unit_test(npz_refused),
#else
        cmocka_unit_test(no_zip),
#endif
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
