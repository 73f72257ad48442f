/* What a net is for: which layers' outputs it gives to its user, and which layers are there for
 * auxiliary losses only. Called by the build; the public fv_add_output() and its kin. */
#include "net/net.h"

static bool is_judged(const fv_net *net, int n, bool auxiliary) {
    bool any = false;
    for (int i = 0; i < net->loss_count; i++)
        any |= net->losses[i].node == n && net->losses[i].options.auxiliary == auxiliary;
    return any;
}

static bool is_measured(const fv_net *net, int n) {
    bool any = false;
    for (int i = 0; i < net->metric_count; i++)
        any |= net->metrics[i].node == n;
    return any;
}

void fv_net_mark_needed(const fv_net *net, bool *needed) {
    for (int n = net->count - 1; n >= 0; n--) /* a node stands behind those that it reads */
        for (int i = 0; needed[n] && i < net->nodes[n].input_count; i++)
            needed[net->nodes[n].inputs[i]] = true;
}

/* The last layer, unless it is an auxiliary loss's; then the last that is an output on other
 * grounds. Where there is none, the last layer all the same: something must come out. */
static int find_main_output(const fv_net *net) {
    int last = net->count - 1, n = last;
    if (!is_judged(net, last, true))
        return last;
    while (n >= 0 && !net->nodes[n].named_output && !is_judged(net, n, false))
        n--;
    return n >= 0 ? n : last;
}

void fv_net_find_outputs(fv_net *net) {
    net->main_output = find_main_output(net);
    for (int n = 0; n < net->count; n++)
        net->nodes[n].training_only = !fv_net_is_output(net, n) && !is_measured(net, n);
    for (int n = net->count - 1; n >= 0; n--)
        for (int i = 0; !net->nodes[n].training_only && i < net->nodes[n].input_count; i++)
            net->nodes[net->nodes[n].inputs[i]].training_only = false;
}

bool fv_net_is_output(const fv_net *net, int n) {
    return n == net->main_output || net->nodes[n].named_output || is_judged(net, n, false);
}

/* ---- The public functions ------------------------------------------------------------------- */

fv_status fv_add_output(fv_net *net, fv_tensor layer) {
    if (!net || net->status != FV_OK)
        return net ? net->status : FV_MEMORY;
    fv_status status = fv_net_check_node(net, layer, "output");
    if (status)
        return status;
    net->nodes[layer].named_output = true;
    if (net->built)
        fv_net_find_outputs(net);
    return FV_OK;
}

int fv_output_count(const fv_net *net) {
    int count = 0;
    for (int n = 0; net->built && n < net->count; n++)
        count += fv_net_is_output(net, n);
    return count;
}

const char *fv_output_name(const fv_net *net, int index) {
    for (int n = 0; net->built && index >= 0 && n < net->count; n++)
        if (fv_net_is_output(net, n) && index-- == 0)
            return net->nodes[n].name;
    return NULL;
}
