/* See geometry.h. */
#include "geometry.h"
#include <stdio.h>

static const int kernel_list[GEOMETRY_KERNELS][3] = {{1}, {2}, {3}, {5}, {3, 1, 2}, {2, 5, 3}};
static const int stride_list[GEOMETRY_STRIDES][3] = {{0}, {1}, {2}, {3}, {1, 2, 1}, {2, 1, 3}};
/* Sizes along each axis; 0 stands for the kernel's own. */
static const int size_list[GEOMETRY_SIZES][3] = {
    {1, 1, 1}, {0, 0, 0}, {7, 5, 4}, {6, 8, 3}, {13, 10, 5}};
static const int pad_list[3][2] = {{0, 1}, {2, 1}, {1, 0}};

geometry make_geometry(int number, int channels, bool at_most_half) {
    static const fv_padding paddings[GEOMETRY_PADDINGS] = {FV_VALID, FV_SAME, FV_SAME_LOWER,
                                                           FV_VALID};
    geometry g = {.input = {.rank = 1 + number % 3, .channels = channels}};
    number /= 3;
    const int *kernel = kernel_list[number % GEOMETRY_KERNELS];
    number /= GEOMETRY_KERNELS;
    const int *stride = stride_list[number % GEOMETRY_STRIDES];
    number /= GEOMETRY_STRIDES;
    const int *size = size_list[number % GEOMETRY_SIZES];
    int padding = number / GEOMETRY_SIZES;
    g.padding = paddings[padding];
    for (int axis = 0; axis < g.input.rank; axis++) {
        int cells = kernel[axis] ? kernel[axis] : kernel[0];
        g.kernel[axis] = kernel[axis];
        g.stride[axis] = stride[axis];
        g.input.size[axis] = size[axis] ? size[axis] : cells;
        for (int side = 0; side < 2 && padding == 3; side++) {
            int pad = pad_list[(axis + cells) % 3][side];
            g.pad[axis][side] = at_most_half && pad > cells / 2 ? cells / 2 : pad;
        }
    }
    return g;
}

const geometry misfits[MISFITS] = {
    {.input = {0, {0}, 7}, .kernel = {2}},
    {.input = {1, {9}, 2}, .kernel = {2, 2}},
    {.input = {2, {9, 8}, 1}, .kernel = {3, 3, 3}},
};

const char *geometry_text(const geometry *g, char text[192]) {
    static const char *const paddings[] = {"", " same", " same_lower", " causal"};
    char sizes[3][48];
    int used = snprintf(text, 192, "kernel %s stride %s%s", sizes_text(g->kernel, sizes[0]),
                        sizes_text(g->stride, sizes[1]), paddings[g->padding]);
    if (g->dilation[0])
        used += snprintf(text + used, 192 - (size_t)used, " dilation %s",
                         sizes_text(g->dilation, sizes[2]));
    if (g->padding == FV_VALID)
        snprintf(text + used, 192 - (size_t)used, " pad %d:%dx%d:%dx%d:%d", g->pad[0][0],
                 g->pad[0][1], g->pad[1][0], g->pad[1][1], g->pad[2][0], g->pad[2][1]);
    return text;
}
