/* Fuzz target: IDX files, gzipped or not. */
#include "base/alloc.h"
#include "data/data.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    const char *path = fuzz_file("train-images-idx3-ubyte", bytes, size);
    int rank;
    size_t sizes[4];
    uint8_t *values;
    if (path && fv_read_idx(path, &rank, sizes, &values) == FV_OK)
        fv_free(values);
    return 0;
}
