/* Many small blocks that are freed together. Called by readers of files whose contents are lists of
 * lists. */
#ifndef FV_BASE_ARENA_H
#define FV_BASE_ARENA_H

#include <stddef.h>

typedef struct fv_arena {
    struct fv_arena_block *blocks; /* the newest first */
    size_t used, size;             /* bytes of the newest */
} fv_arena;

/* Zeroed, 64-byte aligned where that matters (from 64 bytes on, else 16); NULL with FV_MEMORY's
 * message. A count of 0 gives a valid pointer. */
void *fv_arena_new(fv_arena *arena, size_t count, size_t size);
/* `items` with room for one more than `count`: itself, or a copy twice as large. Begin with NULL
 * and *capacity 0. NULL as above. */
void *fv_arena_grow(fv_arena *arena, void *items, size_t count, size_t *capacity, size_t size);
/* A string of `size` bytes, with a 0 behind. */
char *fv_arena_text(fv_arena *arena, const void *bytes, size_t size);
void fv_arena_free(fv_arena *arena);

#endif
