/* The registry of layer types: layers.def as a table. */
#include "layers/layer.h"
#include <stdlib.h>
#include <string.h>

#define LAYER(record) extern const fv_layer_type record;
#include "layers/layers.def"
#undef LAYER

#define LAYER(record) &record,
const fv_layer_type *const fv_layer_types[] = {
#include "layers/layers.def"
    NULL};
#undef LAYER

const fv_layer_type *fv_layer_type_find(const char *name) {
    for (const fv_layer_type *const *type = fv_layer_types; *type; type++)
        if (strcmp((*type)->name, name) == 0)
            return *type;
    return NULL;
}

fv_status fv_forced_algorithm(fv_algorithm *algorithm) {
    static const char *const names[] = {"", "direct", "winograd", "winograd-batch"};
    const char *wanted = getenv("FOVEA_ALGO");
    for (int i = 0; i <= FV_WINOGRAD_BATCH; i++)
        if (!wanted || strcmp(wanted, names[i]) == 0) {
            *algorithm = (fv_algorithm)i;
            return FV_OK;
        }
    return fv_fail(FV_INVALID, "FOVEA_ALGO=%s is no algorithm: direct, winograd, winograd-batch",
                   wanted);
}
