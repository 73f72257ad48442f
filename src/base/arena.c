/* Memory in blocks, see arena.h. */
#include "base/arena.h"
#include "base/alloc.h"
#include <string.h>

enum { BLOCK = 64 << 10, HEADER = 64 };

struct fv_arena_block {
    struct fv_arena_block *next;
};

static struct fv_arena_block *add_block(fv_arena *arena, size_t bytes) {
    struct fv_arena_block *block = fv_alloc(bytes, 1);
    if (!block)
        return NULL;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->used = HEADER;
    arena->size = bytes;
    return block;
}

void *fv_arena_new(fv_arena *arena, size_t count, size_t size) {
    size_t bytes, all;
    if (!fv_size_product(count, size, &bytes) || !fv_sum(bytes, 2 * HEADER, &all))
        return fv_alloc(count, size); /* says that it is too much */
    size_t place = fv_round_up(arena->used, bytes < 64 ? 16 : 64);
    if (!arena->blocks || place > arena->size || bytes > arena->size - place) {
        if (!add_block(arena, all > BLOCK ? all : BLOCK))
            return NULL;
        place = arena->used;
    }
    arena->used = place + bytes;
    return (unsigned char *)arena->blocks + place;
}

void *fv_arena_grow(fv_arena *arena, void *items, size_t count, size_t *capacity, size_t size) {
    if (count < *capacity)
        return items;
    size_t larger = count < 2 ? 2 : 2 * count;
    void *copy = fv_arena_new(arena, larger, size);
    if (!copy)
        return NULL;
    if (count > 0)
        memcpy(copy, items, count * size);
    *capacity = larger;
    return copy;
}

char *fv_arena_text(fv_arena *arena, const void *bytes, size_t size) {
    char *text = fv_arena_new(arena, size + 1, 1);
    if (text && size > 0)
        memcpy(text, bytes, size);
    return text;
}

void fv_arena_free(fv_arena *arena) {
    for (struct fv_arena_block *block = arena->blocks, *next; block; block = next) {
        next = block->next;
        fv_free(block);
    }
    *arena = (fv_arena){0};
}
