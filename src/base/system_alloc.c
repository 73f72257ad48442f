/* The bottom of the allocation seam, alone in a file so that a test can define these two functions
 * itself, which keeps this one out of the link. Called by alloc.c only. */
#include "base/alloc.h"

#include <stdlib.h>

void *fv_system_alloc(size_t bytes) {
    void *block = NULL;
    /* Unlike aligned_alloc(), it takes any size: address sanitizers then see the exact end. */
    return posix_memalign(&block, 64, bytes) == 0 ? block : NULL;
}

bool fv_system_may_map(size_t bytes) {
    (void)bytes;
    return true;
}
