/* Names and the numbers they stand for, found by hashing. Called by the net for its layers, and by
 * what looks up tensors by name. */
#ifndef FV_NET_LOOKUP_H
#define FV_NET_LOOKUP_H

#include <fovea.h>

typedef struct fv_lookup {
    char **names; /* count of them, in the order in which they came */
    int *values;
    int count, capacity;
    int *slots; /* slot_count of them: index + 1 into names, or 0; half of them at least are free */
    int slot_count;
} fv_lookup;

/* The name's value; -1: it is not there. */
int fv_lookup_find(const fv_lookup *names, const char *name);
/* Adds a name (copied) that is not there. FV_OK or FV_MEMORY. */
fv_status fv_lookup_add(fv_lookup *names, const char *name, int value);
void fv_lookup_free(fv_lookup *names);

#endif
