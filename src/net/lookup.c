/* A hash table from names to numbers, by open addressing. Called by net.c, so that a net of
 * thousands of layers is read in a moment, and by formats for tensors. */
#include "net/lookup.h"
#include "base/alloc.h"
#include <limits.h>
#include <stdint.h>
#include <string.h>

/* FNV-1a (Fowler, Noll and Vo). */
static uint32_t hash(const char *name) {
    uint32_t sum = 2166136261u;
    for (; *name; name++) {
        sum = (sum ^ (unsigned char)*name) * 16777619u;
    }
    return sum;
}

/* The slot of that name, or the free one where it belongs. slot_count is a power of two. */
static int *find_slot(const fv_lookup *names, const char *name) {
    uint32_t mask = (uint32_t)names->slot_count - 1;
    for (uint32_t i = hash(name) & mask;; i = (i + 1) & mask) {
        int *slot = &names->slots[i];
        if (*slot == 0 || strcmp(names->names[*slot - 1], name) == 0) {
            return slot;
        }
    }
}

int fv_lookup_find(const fv_lookup *names, const char *name) {
    int index = names->count > 0 ? *find_slot(names, name) : 0;
    return index > 0 ? names->values[index - 1] : -1;
}

/* Room for twice as many; nothing changes on failure but the capacities' blocks. */
static fv_status grow(fv_lookup *names) {
    enum { FIRST = 32 };
    int capacity = names->capacity ? 2 * names->capacity : FIRST;
    size_t old = (size_t)names->capacity, new = (size_t)capacity;
    char **words = fv_realloc(names->names, old, new, sizeof *words);
    names->names = words ? words : names->names;
    int *values = words ? fv_realloc(names->values, old, new, sizeof *values) : NULL;
    names->values = values ? values : names->values;
    int *slots = values ? fv_alloc(2 * new, sizeof *slots) : NULL;
    if (!slots) {
        return FV_MEMORY;
    }
    fv_free(names->slots);
    names->slots = slots;
    names->slot_count = 2 * capacity;
    names->capacity = capacity;
    for (int i = 0; i < names->count; i++) {
        *find_slot(names, names->names[i]) = i + 1;
    }
    return FV_OK;
}

fv_status fv_lookup_add(fv_lookup *names, const char *name, int value) {
    if (names->count == names->capacity && (names->capacity > INT_MAX / 4 || grow(names))) {
        return FV_MEMORY;
    }
    char *copy = fv_copy_string(name);
    if (!copy) {
        return FV_MEMORY;
    }
    int *slot = find_slot(names, name);
    names->names[names->count] = copy;
    names->values[names->count] = value;
    *slot = ++names->count;
    return FV_OK;
}

void fv_lookup_free(fv_lookup *names) {
    for (int i = 0; i < names->count; i++) {
        fv_free(names->names[i]);
    }
    fv_free(names->names);
    fv_free(names->values);
    fv_free(names->slots);
    *names = (fv_lookup){0};
}
