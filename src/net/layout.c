/* The memory planner: see layout.h. */
#include "net/layout.h"
#include "base/alloc.h"
#include "base/status.h"
#include <stdlib.h>

enum { ALIGNMENT = 64 };

void fv_layout_add(fv_layout *layout, size_t bytes, int first, int last, size_t *offset) {
    *offset = 0;
    if (bytes == 0 || layout->status)
        return;
    if (layout->count == layout->capacity) {
        int capacity = layout->capacity ? 2 * layout->capacity : 64;
        fv_block *blocks =
            fv_realloc(layout->blocks, (size_t)layout->capacity, (size_t)capacity, sizeof *blocks);
        if (!blocks) {
            layout->status = FV_MEMORY;
            return;
        }
        layout->blocks = blocks;
        layout->capacity = capacity;
    }
    layout->blocks[layout->count++] =
        (fv_block){.bytes = bytes, .first = first, .last = last, .offset = offset};
}

/* Larger blocks first; equal ones by age, so that the result is the same everywhere. */
static int by_size(const void *left, const void *right) {
    const fv_block *a = left, *b = right;
    if (a->bytes != b->bytes)
        return a->bytes > b->bytes ? -1 : 1;
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    return a->last < b->last ? -1 : a->last > b->last;
}

static bool overlap_in_time(const fv_block *a, const fv_block *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* The lowest offset at which `block` meets none of the placed blocks alive with it; these are in
 * the order of their offsets. */
static size_t lowest_place(const fv_block *const *placed, int count, const fv_block *block) {
    size_t offset = 0;
    for (int i = 0; i < count; i++) {
        const fv_block *other = placed[i];
        size_t end = fv_round_up(*other->offset + other->bytes, ALIGNMENT);
        if (!overlap_in_time(block, other))
            continue;
        if (*other->offset >= offset + block->bytes)
            break;
        offset = end > offset ? end : offset;
    }
    return offset;
}

static void insert(const fv_block **placed, int count, const fv_block *block) {
    int at = count;
    for (; at > 0 && *placed[at - 1]->offset > *block->offset; at--)
        placed[at] = placed[at - 1];
    placed[at] = block;
}

fv_status fv_layout_place(fv_layout *layout, size_t *total) {
    fv_status status = layout->status;
    const fv_block **placed = fv_alloc((size_t)layout->count, sizeof *placed);
    *total = 0;
    if (!status && !placed)
        status = FV_MEMORY;
    if (!status && layout->count > 0) {
        qsort(layout->blocks, (size_t)layout->count, sizeof *layout->blocks, by_size);
        for (int i = 0; i < layout->count; i++) {
            fv_block *block = &layout->blocks[i];
            *block->offset = lowest_place(placed, i, block);
            insert(placed, i, block);
            size_t end = fv_round_up(*block->offset + block->bytes, ALIGNMENT);
            *total = end > *total ? end : *total;
        }
    }
    fv_free(placed);
    fv_free(layout->blocks);
    *layout = (fv_layout){0};
    return status;
}
