/* The registry of layer types: layers.def as a table. */
#include "layers/layer.h"
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
