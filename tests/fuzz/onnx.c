/* Fuzz target: ONNX files, beside which lie numbers that they may refer to (external.bin). A net
 * that loads and is small runs once. */
#include "fuzz.h"
#include <fovea.h>
#include <stdbool.h>
#include <stdlib.h>

static const size_t most_memory = (size_t)64 << 20;
static const int64_t most_macs = 1 << 26; /* with the sanitizers about a second */

/* Numbers between -1 and 1, the same for every input. */
static const char *write_numbers(void) {
    enum { COUNT = 4096 };
    static float values[COUNT];
    for (int i = 0; i < COUNT; i++)
        values[i] = (float)(i * 37 % 201 - 100) / 100;
    return fuzz_file("external.bin", (const uint8_t *)values, sizeof values);
}

/* Nets whose sizes vary are none: what they need is not known before. */
static bool is_small(const fv_net *net) {
    fv_memory memory;
    fv_layer_info layer;
    int64_t macs = 0;
    for (int i = 0; i < fv_layer_count(net); i++) {
        if (fv_layer_describe(net, i, &layer) != FV_OK)
            abort();
        macs = layer.macs > most_macs - macs ? most_macs : macs + layer.macs;
    }
    return macs < most_macs && fv_net_memory(net, 1, 1, false, false, &memory) == FV_OK &&
           memory.total < most_memory;
}

static void run_once(const fv_net *net) {
    fv_shape shape = fv_input_shape(net);
    fv_session *session = fv_session_new(net, &(fv_session_options){.threads = 1});
    float *input = session ? calloc(fv_shape_count(&shape), sizeof *input) : NULL;
    for (size_t i = 0; input && i < fv_shape_count(&shape); i++)
        input[i] = (float)(i % 7) / 7;
    if (input && fv_session_run(session, input, 1) == FV_OK &&
        !fv_session_output(session, NULL, &shape))
        abort();
    free(input);
    fv_session_free(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    fuzz_empty_folder();
    if (!write_numbers())
        return 0;
    const char *path = fuzz_file("model.onnx", bytes, size);
    fv_net *net = path ? fv_net_load(path) : NULL;
    if (net && is_small(net))
        run_once(net);
    fv_net_free(net);
    return 0;
}
