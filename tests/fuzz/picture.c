/* Fuzz target: pictures (PNG, JPEG) and arrays (.npy), which are told by their first bytes. */
#include "fuzz.h"
#include <fovea.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    const char *path = fuzz_file("picture", bytes, size);
    fv_shape shape;
    float *values;
    if (path && fv_read_array(path, &shape, &values) == FV_OK)
        fv_free_memory(values);
    return 0;
}
