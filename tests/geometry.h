/* Geometries of sliding windows, numbered: kernels, strides, sizes and paddings in 1 to 3 axes, all
 * with all. Called by tests/test_layers_conv.c and test_layers_pool.c. */
#ifndef FV_TESTS_GEOMETRY_H
#define FV_TESTS_GEOMETRY_H

#include "layer_cases.h"

typedef struct geometry {
    fv_shape input;
    int kernel[3], stride[3], dilation[3], pad[3][2];
    fv_padding padding;
} geometry;

enum {
    GEOMETRY_KERNELS = 6,
    GEOMETRY_STRIDES = 6,
    GEOMETRY_SIZES = 5,
    GEOMETRY_PADDINGS = 4, /* valid, same, same_lower, explicit */
    GEOMETRIES = 3 * GEOMETRY_KERNELS * GEOMETRY_STRIDES * GEOMETRY_SIZES * GEOMETRY_PADDINGS,
};

/* Dilation is 1. Explicit padding is asymmetric; at_most_half: no more than half the window. */
geometry make_geometry(int number, int channels, bool at_most_half);

/* Windows of more axes than the input has. */
enum { MISFITS = 3 };
extern const geometry misfits[MISFITS];

const char *geometry_text(const geometry *g, char text[192]);

#endif
