/* Reads CIFAR-10 and CIFAR-100 in their binary form (Krizhevsky 2009): rows of one label, or of two
 * (coarse and fine), and 32x32 pixels, first all red ones, then green, then blue. Called by
 * folder.c.
 *
 * Of a split these are the files data_batch_*.bin and test_batch.bin, train.bin and test.bin (the
 * official names), or SPLIT_*.bin. */
#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"
#include "data/data.h"
#include <stdlib.h>
#include <string.h>

enum { SIDE = 32, PIXELS = SIDE * SIDE, COLOURS = 3, VALUES = PIXELS * COLOURS };
enum { CLASSES_10 = 10, CLASSES_100 = 100, COARSE = 20 };

/* ---- Finding files --------------------------------------------------------------------------- */

static bool begins_with(const char *name, const char *start) {
    return strncmp(name, start, strlen(start)) == 0;
}

static bool is_bin(int folder, const char *name) {
    (void)folder;
    size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, ".bin") == 0;
}

static bool is_batch(const char *name) {
    return begins_with(name, "data_batch_");
}

static bool of_split(const char *name, const char *split) {
    size_t length = strlen(split);
    bool named = begins_with(name, split) && (name[length] == '_' || name[length] == '.');
    return named || (strcmp(split, "train") == 0 && is_batch(name));
}

/* Numbers at the end in their order: batch_2 before batch_10. */
static int by_length(const void *a, const void *b) {
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    size_t m = strlen(x), n = strlen(y);
    return m != n ? (m > n) - (m < n) : strcmp(x, y);
}

fv_status fv_find_cifar(const char *folder, const char *split, fv_names *names) {
    fv_status status = fv_list_names(folder, is_bin, names);
    if (status)
        return status;
    size_t found = 0;
    for (size_t i = 0; i < names->count; i++)
        if (of_split(names->items[i], split))
            names->items[found++] = names->items[i];
    names->count = found;
    qsort(names->items, found, sizeof *names->items, by_length);
    for (size_t i = 1; !status && i < found; i++)
        if (is_batch(names->items[i]) != is_batch(names->items[0]))
            status = fv_fail(FV_INVALID, "two data sets for '%s' in %s: %s and %s; leave only one",
                             split, folder, names->items[0], names->items[i]);
    if (status)
        fv_free_names(names);
    return status;
}

/* ---- Class names ----------------------------------------------------------------------------- */

/* The file with the names of the classes, beside the data or in the folder above; *path is NULL
 * where there is none. */
static fv_status find_names(const char *folder, int labels, char **path) {
    static const char *const files[2][4] = {
        {"batches.meta.txt", "classes.txt", "../batches.meta.txt", "../classes.txt"},
        {"fine_label_names.txt", "classes.txt", "../fine_label_names.txt", "../classes.txt"}};
    for (int i = 0; i < 4; i++) {
        *path = fv_join_path(folder, files[labels - 1][i]);
        if (!*path)
            return FV_MEMORY;
        if (fv_is_file(*path))
            return FV_OK;
        fv_free(*path);
    }
    *path = NULL;
    return FV_OK;
}

static fv_status read_names(const char *path, fv_names *names) {
    fv_status status = fv_read_lines(path, names);
    if (!status && (names->count < 1 || names->count > 256))
        status = fv_fail(FV_FORMAT, "%s has %zu names of classes, expected 1 to 256, one a line",
                         path, names->count);
    for (size_t i = 0; !status && i < names->count; i++)
        status = fv_check_class_name(names->items[i], path);
    return status;
}

/* ---- Rows ------------------------------------------------------------------------------------ */

typedef struct cifar {
    int labels; /* of a row: 1 or 2; 0: not known yet */
    size_t rows, classes;
    const char *names_path; /* NULL: the classes have no names */
    uint8_t *pixels, *coarse, *fine;
} cifar;

static fv_status count_rows(cifar *c, const char *path, size_t size, size_t *rows) {
    if (c->labels == 0)
        c->labels = size % (VALUES + 1) && size % (VALUES + 2) == 0 ? 2 : 1;
    size_t row = VALUES + (size_t)c->labels;
    *rows = size / row;
    if (size > 0 && size % row == 0)
        return FV_OK;
    return fv_fail(FV_FORMAT,
                   "%s has %zu bytes, which is no whole number of CIFAR's rows of %zu bytes (%d "
                   "label%s, 32x32x3 pixels): is it cut off?",
                   path, size, row, c->labels, c->labels > 1 ? "s" : "");
}

/* Room for `rows` more. */
static fv_status grow(uint8_t **values, size_t old, size_t rows, size_t size) {
    uint8_t *grown = fv_realloc(*values, old * size, (old + rows) * size, 1);
    if (grown)
        *values = grown;
    return grown ? FV_OK : FV_MEMORY;
}

static fv_status check_label(const cifar *c, const char *path, size_t row, const char *what,
                             uint8_t label, size_t classes) {
    if (label < classes)
        return FV_OK;
    return fv_fail(FV_FORMAT, "%s: the %slabel of picture %zu is %d, but there are %zu classes%s%s",
                   path, what, row, label, classes, c->names_path ? " in " : "",
                   c->names_path ? c->names_path : "");
}

static fv_status take_row(cifar *c, const char *path, size_t row, const uint8_t *bytes) {
    size_t place = c->rows + row;
    fv_status status = FV_OK;
    if (c->labels == 2) {
        status = check_label(c, path, row, "coarse ", bytes[0], COARSE);
        c->coarse[place] = *bytes++;
    }
    if (!status)
        status = check_label(c, path, row, "", bytes[0], c->classes);
    c->fine[place] = *bytes++;
    uint8_t *pixel = c->pixels + place * VALUES;
    for (int p = 0; p < PIXELS; p++)
        for (int colour = 0; colour < COLOURS; colour++)
            *pixel++ = bytes[colour * PIXELS + p];
    return status;
}

static fv_status take_rows(cifar *c, const char *path, const uint8_t *file, size_t size) {
    size_t rows;
    fv_status status = count_rows(c, path, size, &rows);
    if (!status)
        status = grow(&c->pixels, c->rows, rows, VALUES);
    if (!status)
        status = grow(&c->fine, c->rows, rows, 1);
    if (!status && c->labels == 2)
        status = grow(&c->coarse, c->rows, rows, 1);
    for (size_t row = 0; !status && row < rows; row++)
        status = take_row(c, path, row, file + row * (VALUES + (size_t)c->labels));
    c->rows += status ? 0 : rows;
    return status;
}

/* ---- The data set ---------------------------------------------------------------------------- */

/* Takes the values over, also where it fails. */
static fv_status keep(fv_data *data, cifar *c) {
    const fv_shape picture = {2, {SIDE, SIDE}, COLOURS}, number = {.channels = 1};
    data->count = c->rows;
    fv_status status = fv_data_keep(data, "input", &picture, c->pixels, NULL);
    c->pixels = NULL;
    if (!status && c->labels == 2) {
        status = fv_data_keep(data, "coarse", &number, c->coarse, NULL);
        c->coarse = NULL;
    }
    if (!status) {
        status = fv_data_keep(data, "label", &number, c->fine, NULL);
        c->fine = NULL;
    }
    return status;
}

/* The first file says how many labels a row has, and so which names the classes have. */
static fv_status take_file(cifar *c, const char *folder, const char *name, char **names_path,
                           fv_names *classes) {
    char *path = fv_join_path(folder, name), *file;
    size_t size, rows;
    fv_status status = path ? fv_read_file(path, SIZE_MAX / 2, &file, &size) : FV_MEMORY;
    if (status) {
        fv_free(path);
        return status;
    }
    bool first = c->labels == 0;
    status = count_rows(c, path, size, &rows);
    if (!status && first)
        status = find_names(folder, c->labels, names_path);
    if (!status && first && *names_path)
        status = read_names(*names_path, classes);
    c->names_path = *names_path;
    c->classes = classes->count ? classes->count : c->labels == 2 ? CLASSES_100 : CLASSES_10;
    if (!status)
        status = take_rows(c, path, (const uint8_t *)file, size);
    fv_free(file);
    fv_free(path);
    return status;
}

fv_status fv_read_cifar(fv_data *data, const char *folder, const fv_names *names) {
    cifar c = {0};
    char *names_path = NULL;
    fv_names classes = {0};
    fv_status status = FV_OK;
    for (size_t i = 0; !status && i < names->count; i++)
        status = take_file(&c, folder, names->items[i], &names_path, &classes);
    if (!status)
        status = keep(data, &c);
    if (!status && classes.count > 0)
        status = fv_data_name_classes(data, classes.items, (int)classes.count);
    fv_free(c.pixels);
    fv_free(c.coarse);
    fv_free(c.fine);
    fv_free(names_path);
    fv_free_names(&classes);
    return status;
}
