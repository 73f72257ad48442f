/* A net's weights one by one, in the order of axes that files have. The public fv_weight_count and
 * its kin. */
#include "net/net.h"
#include <stdio.h>

int fv_weight_count(const fv_net *net) {
    int count = 0;
    for (int n = 0; net->built && n < net->count; n++)
        count += net->nodes[n].weight_count;
    return count;
}

/* Weight `index` of all, and its node; NULL with a message when there is none. */
static const fv_weight *find_weight(const fv_net *net, int index, const fv_node **node) {
    int before = 0;
    for (int n = 0; net->built && index >= 0 && n < net->count; n++) {
        *node = &net->nodes[n];
        if (index - before < (*node)->weight_count)
            return &(*node)->weights[index - before];
        before += (*node)->weight_count;
    }
    fv_fail(FV_INVALID, "there is no weight %d: the net has %d%s", index, fv_weight_count(net),
            net->built ? "" : " before fv_net_build()");
    return NULL;
}

fv_status fv_weight_describe(const fv_net *net, int index, fv_weight_info *info) {
    const fv_node *node;
    const fv_weight *weight = find_weight(net, index, &node);
    if (!weight)
        return FV_INVALID;
    *info = (fv_weight_info){.count = weight->count, .parameter = !weight->spec.statistic};
    info->rank = fv_weight_file_shape(weight, info->size);
    snprintf(info->name, sizeof info->name, "%s.%s", node->name, weight->spec.name);
    return FV_OK;
}

fv_status fv_get_weight(const fv_net *net, int index, float *values) {
    const fv_node *node;
    const fv_weight *weight = find_weight(net, index, &node);
    if (!weight)
        return FV_INVALID;
    return fv_weight_values(net, weight, values);
}

fv_status fv_set_weight(fv_net *net, int index, const float *values) {
    const fv_node *node;
    const fv_weight *weight = find_weight(net, index, &node);
    fv_status status = weight ? fv_net_acquire(net, true) : FV_INVALID;
    if (status)
        return status;
    fv_weight_from_file(weight, values, net->weights + weight->offset);
    net->initialized = true;
    fv_net_release(net, true);
    return FV_OK;
}
