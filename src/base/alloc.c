/* Memory: zeroed, aligned blocks, and the large blocks that arenas are made of. Every room
 * allocates through here. A block carries no header: its owner knows its size. */
#include "base/alloc.h"

#include "base/status.h"
#include <stdlib.h>
#include <string.h>
#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#endif

static void *out_of_memory(size_t bytes) {
    fv_fail(FV_MEMORY, "out of memory: the system does not give %zu bytes more", bytes);
    return NULL;
}

void *fv_alloc(size_t count, size_t size) {
    size_t bytes;
    if (!fv_size_product(count, size, &bytes)) {
        fv_fail(FV_MEMORY,
                "out of memory: %zu elements of %zu bytes are more than can be addressed", count,
                size);
        return NULL;
    }
    void *block = fv_system_alloc(bytes > 0 ? bytes : 1);
    return block ? memset(block, 0, bytes) : out_of_memory(bytes);
}

void *fv_realloc(void *block, size_t old_count, size_t new_count, size_t size) {
    void *moved = fv_alloc(new_count, size);
    if (!moved) {
        return NULL;
    }
    size_t kept = old_count < new_count ? old_count : new_count;
    if (block && kept > 0) {
        memcpy(moved, block, kept * size); /* no overflow: kept is at most what was allocated */
    }
    fv_free(block);
    return moved;
}

void fv_free(void *block) {
    free(block);
}

/* Fresh pages of an anonymous mapping read as zero, and touch no memory before they are used. */
#ifdef MAP_ANONYMOUS
void *fv_map(size_t bytes) {
    size_t size = bytes > 0 ? bytes : 1;
    void *block = MAP_FAILED;
    if (fv_system_may_map(bytes)) {
        block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    if (block == MAP_FAILED) {
        return out_of_memory(bytes);
    }
#ifdef MADV_HUGEPAGE
    (void)madvise(block, size, MADV_HUGEPAGE); /* a wish: without it the block works the same */
#endif
    return block;
}

void fv_unmap(void *block, size_t bytes) {
    if (block) {
        munmap(block, bytes > 0 ? bytes : 1);
    }
}
#else
void *fv_map(size_t bytes) {
    return fv_system_may_map(bytes) ? fv_alloc(bytes, 1) : out_of_memory(bytes);
}

void fv_unmap(void *block, size_t bytes) {
    (void)bytes;
    fv_free(block);
}
#endif

char *fv_copy_string(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = fv_alloc(size, 1);
    return copy ? memcpy(copy, text, size) : NULL;
}

void fv_free_memory(void *memory) {
    fv_free(memory);
}
