/* Convolution by Winograd's algorithm inside the layers room: conv_winograd.c decides whether and
 * how, and packs; conv_winograd_forward.c and conv_winograd_backward.c run it. */
#ifndef FV_LAYERS_CONV_WINOGRAD_H
#define FV_LAYERS_CONV_WINOGRAD_H

#include "layers/conv.h"

enum {
    FV_WINOGRAD_ALL = FV_WINOGRAD_POINTS * FV_WINOGRAD_POINTS, /* points of a patch */
    FV_WINOGRAD_DEPTH = 64, /* speed only: channels (or filters) whose kernels' points are made at a
                               time, to stay in the second cache */
};

/* Arrays of points: [36][tiles or channels][row], `step` from point to point. */
typedef struct fv_points {
    ptrdiff_t row, step;
} fv_points;

typedef struct fv_winograd {
    const fv_kernels *k;
    const fv_winograd_form *form;
    bool whole_batch;  /* else a few samples, with packed points of the kernels */
    int rows, columns; /* tiles of a sample */
    int chunk;         /* tiles that go through together; of any samples */
    int channels, filters;
    int group;                       /* panels of filters that a unit makes */
    int block;                       /* channels of a unit of the weight gradient */
    fv_points input, output;         /* of a chunk */
    fv_points made;                  /* of a panel of channels, or a group of filters */
    fv_points kernel, kernel_turned; /* of a group's kernels; of a panel's, filters first */
    fv_points sums;                  /* of a unit of the weight gradient */
} fv_winograd;

fv_winograd fv_winograd_measure(const fv_conv_geometry *g, const fv_setting *setting,
                                bool whole_batch);

/* Values of 36 such points with `rows` rows. */
size_t fv_points_count(fv_points points, int rows);

/* One point of the packed kernels, forward and turned, in values. */
size_t fv_winograd_forward_point(const fv_winograd *w);
size_t fv_winograd_back_point(const fv_winograd *w);

/* One pass over some tiles of a call's samples. */
typedef struct fv_winograd_pass {
    const fv_conv_geometry *g;
    const fv_call *call;
    fv_winograd w;
    const real *forward, *bias, *back; /* packed; NULL where they are made on the way */
    real *sums;                        /* of the kernels' points, from call to call; or NULL */
    real *v, *z;                       /* points of the chunk: of the input, of the gradient */
    int first, count;                  /* the chunk */
    int parts;                         /* that it is cut into for the threads */
} fv_winograd_pass;

fv_winograd_pass fv_winograd_open(const fv_conv_geometry *g, const fv_call *call);

/* This thread's memory beside the points of its chunk. */
real *fv_winograd_scratch(const fv_winograd_pass *p, int thread);
size_t fv_winograd_scratch_count(const fv_winograd *w, const fv_setting *setting);

/* The points of the chunk's inputs into p->v, by the pool's threads. */
void fv_winograd_transform_inputs(fv_winograd_pass *p, fv_pool *pool);

/* Tile `t` of the call: its sample, and the patch of `size` cells from `before` cells in front of
 * the tile on, in a picture of height x width; *at: the value of its first cell there. */
fv_patch fv_winograd_patch(const fv_winograd *w, int t, int size, const int before[2],
                           const int picture[2], int channels, ptrdiff_t *at);

/* Some channels and filters of the weights, and their points. */
fv_winograd_kernels fv_winograd_block(const fv_winograd *w, int channels, int filters,
                                      fv_points points);

/* Kernels' points on the way. Filters [f, f + columns) and channels [c, c + count) of the weights.
 */
void fv_winograd_make_kernels(const fv_winograd_pass *p, int c, int count, int f, int columns,
                              fv_points to, real *points);

void fv_winograd_forward(const fv_conv_geometry *g, const fv_call *call);
void fv_winograd_backward(const fv_conv_geometry *g, const fv_call *call);

#endif
