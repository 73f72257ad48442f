/* Fuzz target: the config.json of Keras' files, as a tree of layers and as a net. The HDF5 file
 * beside it is empty: libhdf5 1.10 has faults of its own, which is why fovea-keras is a program of
 * its own. */
#include "keras.h"
#include "fuzz.h"

enum { MOST_WEIGHTS = 1 << 20 };

void note(const char *format, ...) {
    (void)format;
}

static void make_net(const json_t *config, keras_model *model, store *file, bool keras_2) {
    import_state state = {
        .net = fv_net_new(), .file = file, .keras_2 = keras_2, .most = MOST_WEIGHTS};
    if (state.net && net_make(&state, model) == FV_OK && weights_read(&state) == FV_OK)
        training_read(json_object_get(config, "compile_config"), state.net);
    import_state_free(&state);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    json_error_t error;
    json_t *config = json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES, &error);
    store *file = store_new();
    for (int legacy = 0; config && file && legacy < 2; legacy++) {
        keras_model *model;
        if (model_read(config, &model) == FV_OK) {
            if (variables_locate(model, file, legacy) == FV_OK)
                make_net(config, model, file, legacy);
            model_free(model);
        }
    }
    store_close(file);
    json_decref(config);
    return 0;
}
