/* A layer that mixes samples sees each value three times a pass: it measures samples, joins what it
 * found, and runs them. Where the layer that makes its input goes by samples, measuring follows
 * that layer, and the gradient that the input gets is made when that layer is about to use it:
 * neither goes over memory once more. See beside.h. */
#include "net/beside.h"

/* Whether n is the only one that adds to the gradient of this root. */
static bool only_writer(const fv_plan *plan, int root, int n) {
    bool only = true;
    for (int other = root; other < plan->net->count; other++) {
        const fv_node_plan *p = &plan->nodes[other];
        only &= !(p->root == root && p->loss);
        for (int i = 0; i < plan->net->nodes[other].input_count; i++)
            if (other > root && other != n && p->runs && !p->view)
                only &= plan->nodes[plan->net->nodes[other].inputs[i]].root != root;
    }
    return only;
}

static bool can_be_ahead(const fv_plan *plan, int root, int n) {
    const fv_node_plan *p = &plan->nodes[root];
    return root > 0 && p->wants_gradient && !p->mixes && !p->recomputed.any &&
           only_writer(plan, root, n);
}

void fv_find_beside(fv_plan *plan) {
    for (int n = 1; n < plan->net->count; n++) {
        fv_node_plan *own = &plan->nodes[n];
        int root = plan->nodes[plan->net->nodes[n].inputs[0]].root;
        fv_node_plan *before = &plan->nodes[root];
        if (!own->runs || !own->mixes || plan->segments[before->segment].whole_batch)
            continue;
        own->behind = !before->measured_by;
        if (own->behind)
            before->measured_by = n;
        own->ahead = can_be_ahead(plan, root, n);
        if (own->ahead)
            before->spread_by = n;
    }
}
