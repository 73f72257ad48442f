/* fovea export: writes a model in another format. Called by main.c. */
#include "cli.h"
#include <stdlib.h>

typedef struct export_options {
    cli_texts settings;
} export_options;

static const cli_option export_table[] = {
    {"set", "KEY=VALUE", OPTION_TEXTS, offsetof(export_options, settings), 0, 0,
     "LAYER.KEY: changes a setting of the net, such as input1.scale=1/255"},
    {0},
};

static int run(const cli_call *call) {
    const export_options *options = call->options;
    fv_net *net = net_load(call, call->operands[0], &options->settings);
    if (!net)
        return EXIT_FAILURE;
    int status = net_export(call, net, call->operands[1]);
    fv_net_free(net);
    return status;
}

const cli_verb verb_export = {
    .name = "export",
    .summary = "writes a model in another format",
    .usage = "MODEL OUT.safetensors|.npz|.onnx|.keras|.net [options]",
    .details =
        "The suffix of OUT says which: .safetensors is a model, .npz the weights as NumPy\n"
        "arrays in PyTorch's order of axes, .onnx an ONNX model (opset 17; its arrays have the\n"
        "channels before the sizes, its input takes values as they are in the data), .keras a\n"
        "file of Keras 3, .net the net's text without weights. MODEL may be one of Keras, too\n"
        "(.keras, or .h5 of Keras 2). An existing file is replaced when the new one is whole.\n",
    .options = export_table,
    .options_size = sizeof(export_options),
    .least_operands = 2,
    .most_operands = 2,
    .run = run,
};
