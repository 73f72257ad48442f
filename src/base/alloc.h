/* The allocation seam: all memory of the library comes from here. Tests replace
 * fv_system_alloc() at link time to make each allocation fail in turn. */
#ifndef FV_BASE_ALLOC_H
#define FV_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed memory for `count` elements of `size` bytes, 64-byte aligned; NULL with FV_MEMORY's
 * message set when there is none or the product overflows. A count of 0 gives a valid pointer. */
void *fv_alloc(size_t count, size_t size);

/* Grows or shrinks; new bytes are zero. On failure the old block is untouched and NULL returns. */
void *fv_realloc(void *block, size_t old_count, size_t new_count, size_t size);

void fv_free(void *block);

/* A large block of its own (the arena): page aligned, zeroed by the system, huge pages asked for.
 */
void *fv_map(size_t bytes);
void fv_unmap(void *block, size_t bytes);

char *fv_copy_string(const char *text); /* NULL (message set) when out of memory */

/* The seam itself, in a file of its own: bytes > 0, 64-byte aligned; NULL when out of memory.
 * fv_map() asks it first whether it may map (`bytes` as asked, the block unused). */
void *fv_system_alloc(size_t bytes);
bool fv_system_may_map(size_t bytes);

/* *product = a * b, false on overflow. */
static inline bool fv_size_product(size_t a, size_t b, size_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}

static inline bool fv_sum(size_t a, size_t b, size_t *sum) {
    return !__builtin_add_overflow(a, b, sum);
}

static inline size_t fv_round_up(size_t value, size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

#endif
