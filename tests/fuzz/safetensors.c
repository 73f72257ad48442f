/* Fuzz target: safetensors, the container and the models in it. */
#include "formats/formats.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    const char *path = fuzz_file("model.safetensors", bytes, size);
    fv_tensors tensors;
    if (path && fv_tensors_open(path, &tensors) == FV_OK)
        fv_tensors_close(&tensors);
    fv_net_free(path ? fv_net_load(path) : NULL);
    return 0;
}
