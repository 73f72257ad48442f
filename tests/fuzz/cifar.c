/* Fuzz target: folders of files, CIFAR's above all, that make a data set. The bytes are a list of
 * files, not their contents: in rows of 3073 or 3074 bytes the fuzzer would hardly find the labels.
 * A file is
 *   a byte: its place in names[]; past them: the length of a name, which follows
 *   of .bin: rows, labels of a row, bytes beyond the rows, and a byte for each label
 *   of others: the length of a text, and the text. */
#include "fuzz.h"
#include <fovea.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIXELS = 3 * 32 * 32, MOST_LABELS = 2, MOST_ROWS = 2, MOST_EXTRA = 2, MOST_FILES = 8 };
enum { MOST_NAME = 32 };

static const char *const names[] = {"data_batch_1.bin",
                                    "data_batch_2.bin",
                                    "data_batch_10.bin",
                                    "test_batch.bin",
                                    "train.bin",
                                    "test.bin",
                                    "train_0.bin",
                                    "val_0.bin",
                                    "val.bin",
                                    "batches.meta.txt",
                                    "classes.txt",
                                    "fine_label_names.txt",
                                    "../batches.meta.txt",
                                    "../classes.txt",
                                    "../fine_label_names.txt",
                                    "train-images-idx3-ubyte",
                                    "train-labels-idx1-ubyte",
                                    "train-input.npy",
                                    "train-label.npy",
                                    "train-mask.npy"};
enum { NAMES = sizeof names / sizeof *names };

typedef struct drawn {
    const uint8_t *bytes;
    size_t size;
} drawn;

/* The next byte, 0 behind the last. */
static uint8_t draw(drawn *d) {
    if (d->size == 0)
        return 0;
    d->size--;
    return *d->bytes++;
}

static void draw_name(drawn *d, char name[MOST_NAME]) {
    size_t choice = draw(d);
    if (choice < NAMES) {
        snprintf(name, MOST_NAME, "%s", names[choice]);
        return;
    }
    size_t length = (choice - NAMES) % (MOST_NAME - 1);
    for (size_t i = 0; i < length; i++) {
        char byte = (char)draw(d);
        name[i] = byte && byte != '/' ? byte : '_';
    }
    name[length] = 0;
}

static size_t draw_rows(drawn *d, uint8_t *file) {
    size_t rows = draw(d) % (MOST_ROWS + 1), labels = draw(d) % MOST_LABELS + 1;
    size_t extra = draw(d) % (MOST_EXTRA + 1), size = 0;
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < labels; i++)
            file[size++] = draw(d);
        memset(file + size, (int)row, PIXELS);
        size += PIXELS;
    }
    memset(file + size, 0, extra);
    return size + extra;
}

static void draw_file(drawn *d) {
    static uint8_t rows[MOST_ROWS * (PIXELS + MOST_LABELS) + MOST_EXTRA];
    char name[MOST_NAME], path[MOST_NAME + 8];
    draw_name(d, name);
    snprintf(path, sizeof path, "set/%s", name);
    size_t length = strlen(name);
    if (length > 4 && strcmp(name + length - 4, ".bin") == 0) {
        fuzz_file(path, rows, draw_rows(d, rows));
        return;
    }
    size_t size = draw(d);
    size = size < d->size ? size : d->size;
    fuzz_file(path, d->bytes, size);
    d->bytes += size;
    d->size -= size;
}

/* What was opened can be read, and its labels are among its classes. */
static void read_all(const fv_data *data) {
    fv_shape shape = fv_data_shape(data);
    float *values = malloc(fv_shape_count(&shape) * sizeof *values);
    int label, classes = fv_data_classes(data);
    for (size_t i = 0; values && i < fv_data_count(data); i++)
        if (fv_data_sample(data, i, values, &label) != FV_OK || (classes > 0 && label >= classes))
            abort();
    for (int i = 0; i < classes; i++)
        if (fv_data_class_name(data, i) && !fv_data_class_name(data, i)[0])
            abort();
    free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const char *const splits[] = {"train", "val", "test"};
    drawn d = {bytes, size};
    char folder[96];
    fuzz_empty_folder();
    for (int i = 0; i < MOST_FILES && d.size > 0; i++)
        draw_file(&d);
    snprintf(folder, sizeof folder, "%s/set", fuzz_folder());
    for (int i = 0; i < 3; i++) {
        fv_data *data = fv_data_open(folder, splits[i]);
        if (data)
            read_all(data);
        fv_data_free(data);
    }
    return 0;
}
