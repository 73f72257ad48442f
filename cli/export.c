/* fovea export: writes a model in another format. Called by main.c. */
#include "cli.h"
#include <stdlib.h>

static int run(const cli_call *call) {
    fv_net *net = fv_net_load(call->operands[0]);
    if (!net)
        return fail(call);
    fv_status status = fv_export(net, call->operands[1]);
    fv_net_free(net);
    return status ? fail(call) : EXIT_SUCCESS;
}

const cli_verb verb_export = {
    .name = "export",
    .summary = "writes a model in another format",
    .usage = "MODEL OUT.safetensors|.npz|.onnx|.net",
    .details =
        "The suffix of OUT says which: .safetensors is a model, .npz the weights as NumPy\n"
        "arrays in PyTorch's order of axes, .onnx an ONNX model (opset 17; its arrays have the\n"
        "channels before the sizes, its input takes values as they are in the data), .net the\n"
        "net's text without weights. An existing file is replaced when the new one is whole.\n",
    .least_operands = 2,
    .most_operands = 2,
    .run = run,
};
