/* See pictures.h. */
#include "pictures.h"
#include "files.h"
#include <stdio.h>
#include <stdlib.h>

static unsigned noise(unsigned *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 24;
}

static size_t put_header(unsigned char *bytes, int axes, const int *sizes) {
    bytes[2] = 8;
    bytes[3] = (unsigned char)axes;
    for (int i = 0; i < axes; i++)
        for (int b = 0; b < 4; b++)
            bytes[4 + 4 * i + b] = (unsigned char)(sizes[i] >> (24 - 8 * b));
    return 4 + 4 * (size_t)axes;
}

void make_pictures(const char *folder, const char *split, int count, int size, int classes) {
    int sizes[3] = {count, size, size};
    size_t pixels = (size_t)count * (size_t)size * (size_t)size;
    unsigned char *pictures = calloc(pixels + 16, 1), *labels = calloc((size_t)count + 8, 1);
    unsigned state = (unsigned)(split[0] * 7 + split[1]);
    unsigned char *p = pictures + put_header(pictures, 3, sizes);
    unsigned char *l = labels + put_header(labels, 1, sizes);
    for (int i = 0; i < count; i++) {
        int label = (int)(noise(&state) % (unsigned)classes);
        l[i] = (unsigned char)label;
        for (int y = 0; y < size; y++)
            for (int x = 0; x < size; x++)
                *p++ = (unsigned char)(noise(&state) / 4 + (x * classes / size == label) * 120u);
    }
    char path[600];
    snprintf(path, sizeof path, "%s/%s-images-idx3-ubyte", folder, split);
    write_file(path, pictures, pixels + 16);
    snprintf(path, sizeof path, "%s/%s-labels-idx1-ubyte", folder, split);
    write_file(path, labels, (size_t)count + 8);
    free(pictures);
    free(labels);
}
