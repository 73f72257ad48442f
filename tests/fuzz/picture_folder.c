/* Fuzz target: folders of pictures by class, which are made to fit a net. The bytes are the net's
 * input and a list of files. These are
 *   four bytes: resize and channels, side, height, width of the input
 * and for each file
 *   a byte: its place in paths[]; past them: the length of a class's name, which follows
 *   a byte: 0: two bytes of a length, and what the file holds (whose formats the target picture
 * has) else the channels (1 to 4), and three bytes: the height, two of the width, of an array
 *           (which a picture's name does not hide) whose values count up. */
#include "data/data.h"
#include "fuzz.h"
#include <fovea.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NAME = 32, MOST_FILES = 8, MOST_VALUES = 1 << 16, MOST_SIZE = 16 };

static const char *const paths[] = {"train/a/1.png", "train/a/2.PNG",       "train/b/1.jpeg",
                                    "train/c/1.jpg", "train/c/1.txt",       "val/a/1.png",
                                    "val/d/1.png",   "validation/b/1.jpeg", "test/a/1.png",
                                    "test/b/2.png",  "train/1.png"};
enum { PATHS = sizeof paths / sizeof *paths };

typedef struct drawn {
    const uint8_t *bytes;
    size_t size;
    bool counting; /* all files are arrays that count up */
} drawn;

/* The next byte, 0 behind the last. */
static uint8_t draw(drawn *d) {
    if (d->size == 0)
        return 0;
    d->size--;
    return *d->bytes++;
}

/* ---- Files ----------------------------------------------------------------------------------- */

static void draw_path(drawn *d, char path[MOST_NAME + 32]) {
    size_t choice = draw(d);
    if (choice < PATHS) {
        snprintf(path, MOST_NAME + 32, "set/%s", paths[choice]);
        return;
    }
    char name[MOST_NAME];
    size_t length = (choice - PATHS) % (MOST_NAME - 1);
    for (size_t i = 0; i < length; i++) {
        char byte = (char)draw(d);
        name[i] = byte && byte != '/' ? byte : '_';
    }
    name[length] = 0;
    snprintf(path, MOST_NAME + 32, "set/train/%s/1.png", name);
}

/* The file of an array of bytes; returns its size. */
static size_t make_array(int height, int width, int channels, uint8_t *file) {
    enum { START = 10, HEADER = 118 };
    memcpy(file, "\x93NUMPY\x01\x00\x76\x00", START);
    memset(file + START, ' ', HEADER);
    int used = snprintf((char *)file + START, HEADER,
                        "{'descr': '|u1', 'fortran_order': False, 'shape': (%d, %d, %d), }", height,
                        width, channels);
    file[START + used] = ' ';
    file[START + HEADER - 1] = '\n';
    size_t values = (size_t)height * (size_t)width * (size_t)channels;
    for (size_t i = 0; i < values; i++)
        file[START + HEADER + i] = (uint8_t)i;
    return START + HEADER + values;
}

static void draw_file(drawn *d) {
    static uint8_t file[128 + MOST_VALUES];
    char path[MOST_NAME + 32];
    draw_path(d, path);
    int channels = draw(d) % 5, first = draw(d), second = draw(d);
    if (channels > 0) {
        int height = first + 1, width = 1 + second + 256 * draw(d);
        int most = MOST_VALUES / channels / height;
        fuzz_file(path, file, make_array(height, width < most ? width : most, channels, file));
        return;
    }
    size_t size = (size_t)first * 256 + (size_t)second;
    size = size < d->size ? size : d->size;
    fuzz_file(path, d->bytes, size);
    d->bytes += size;
    d->size -= size;
    d->counting = false;
}

/* ---- The target ------------------------------------------------------------------------------ */

/* A net of an input alone. */
static fv_net *draw_net(drawn *d) {
    static const fv_resize kinds[] = {FV_RESIZE_NONE, FV_RESIZE_NEAREST, FV_RESIZE_BILINEAR,
                                      FV_RESIZE_ANTIALIAS};
    int kind = draw(d), side = draw(d) % (2 * MOST_SIZE);
    int height = draw(d) % MOST_SIZE + 1, width = draw(d) % MOST_SIZE + 1;
    fv_net *net = fv_net_new();
    fv_input(net, .shape = {2, {height, width}, kind & 4 ? 3 : 1}, .resize = kinds[kind & 3],
             .side = side);
    if (fv_net_build(net) != FV_OK) {
        fv_net_free(net);
        return NULL;
    }
    return net;
}

/* Resizing takes means: of bytes, between 0 and 255 but for rounding. */
static void read_all(const fv_data *data, bool counting) {
    fv_shape shape = fv_data_shape(data);
    size_t count = fv_shape_count(&shape);
    float *values = malloc(count * sizeof *values);
    int label;
    for (size_t i = 0; values && i < fv_data_count(data); i++) {
        if (fv_data_sample(data, i, values, &label) != FV_OK)
            continue;
        if (label < 0 || label >= fv_data_classes(data) || !fv_data_class_name(data, label))
            abort();
        for (size_t v = 0; counting && v < count; v++)
            if (!(values[v] > -0.01F && values[v] < 255.01F))
                abort();
    }
    free(values);
}

/* Whether the inputs are kept, all read at once, or not. */
static void read_fitted(const fv_net *net, const fv_data *data, bool keep, bool counting) {
    const fv_data *used = data;
    fv_data *made;
    if (fv_data_fit(net, 1, keep ? (size_t)1 << 20 : 0, &used, &made) != FV_OK)
        return;
    read_all(used, counting);
    fv_data_free(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const char *const splits[] = {"train", "val", "test"};
    drawn d = {bytes, size, true};
    char folder[96];
    fv_net *net = draw_net(&d);
    fuzz_empty_folder();
    for (int i = 0; i < MOST_FILES && d.size > 0; i++)
        draw_file(&d);
    snprintf(folder, sizeof folder, "%s/set", fuzz_folder());
    for (int i = 0; i < 3; i++) {
        fv_data *data = fv_data_open(folder, splits[i]);
        if (data)
            read_all(data, d.counting);
        for (int keep = 0; data && net && keep < 2; keep++)
            read_fitted(net, data, keep, d.counting);
        fv_data_free(data);
    }
    fv_net_free(net);
    return 0;
}
