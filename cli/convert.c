/* fovea convert: a net and weights from elsewhere become a model. Called by main.c. */
#include "cli.h"
#include <stdlib.h>

static int run(const cli_call *call) {
    fv_net *net = fv_net_load(call->operands[0]);
    if (!net)
        return fail(call);
    fv_status status = fv_load_weights(net, call->operands[1]);
    if (!status)
        status = fv_export(net, call->operands[2]);
    fv_net_free(net);
    return status ? fail(call) : EXIT_SUCCESS;
}

const cli_verb verb_convert = {
    .name = "convert",
    .summary = "makes a model of a net and of weights from elsewhere",
    .usage = "NET WEIGHTS.safetensors|.npz OUT",
    .details =
        "WEIGHTS has a tensor for each weight of the net, in PyTorch's order of axes, under the\n"
        "net's own names (resnet50: those of torchvision) or those of torchvision's and timm's\n"
        "vgg and of timm's mobilenetv2_100. A tensor that is missing, left over or of another\n"
        "shape is an error. OUT may be of any format that `fovea export` writes.\n",
    .least_operands = 3,
    .most_operands = 3,
    .run = run,
};
