/* Places blocks of memory, each with a life in time, in one arena so that blocks alive together do
 * not overlap. Called by the plan. */
#ifndef FV_NET_LAYOUT_H
#define FV_NET_LAYOUT_H

#include <fovea.h>
#include <stddef.h>

typedef struct fv_block {
    size_t bytes;
    int first, last; /* alive from time `first` to `last`, both included */
    size_t *offset;  /* where to write its place */
} fv_block;

typedef struct fv_layout {
    fv_block *blocks;
    int count, capacity;
    fv_status status; /* the first failure of fv_layout_add */
} fv_layout;

/* A block of that size; 0 bytes: none. Its place is written by fv_layout_place. */
void fv_layout_add(fv_layout *layout, size_t bytes, int first, int last, size_t *offset);
/* Largest first, each at the lowest place free during its life; offsets are multiples of 64.
 * *total is the arena's size. Frees the layout. */
fv_status fv_layout_place(fv_layout *layout, size_t *total);

#endif
