/* At inference a layer may make the output of the layer before while it needs it, a few rows at a
 * time, where nobody else reads that (a depthwise convolution behind a 1x1 convolution): then there
 * is no such array. A norm between them that is folded is no obstacle. Called by plan.c. */
#include "net/feed.h"
#include "net/fold.h"

/* The node whose numbers are input 0 of node n, where n is the only one that reads them; else -1.
 */
static int only_source(const fv_plan *plan, const int *readers, int n) {
    int before = plan->net->nodes[n].inputs[0];
    bool ours = true;
    for (;; before = plan->net->nodes[before].inputs[0]) {
        const fv_node_plan *p = &plan->nodes[before];
        ours &= readers[before] == 1 && !p->tapped && p->tap.place == FV_PLACE_NONE;
        if (!p->folded)
            return ours && !p->view ? before : -1;
    }
}

static bool can_feed(const fv_plan *plan, int from, int n) {
    const fv_node *node = &plan->net->nodes[n], *before = &plan->net->nodes[from];
    int fold = plan->nodes[from].fold;
    fv_feeder feeder = {.type = before->type,
                        .options = before->options,
                        .input = &plan->nodes[before->inputs[0]].shape,
                        .output = &plan->nodes[from].shape,
                        .activation = (fold ? &plan->net->nodes[fold] : before)->activation};
    return before->input_count == 1 &&
           node->type->takes_feed(node->options, &feeder, plan->kernels);
}

void fv_find_feeds(fv_plan *plan, const int *readers) {
    const fv_net *net = plan->net;
    for (int n = 1; n < net->count; n++) {
        if (!plan->nodes[n].runs || !net->nodes[n].type->takes_feed)
            continue;
        int from = only_source(plan, readers, n);
        if (from > 0 && can_feed(plan, from, n)) {
            plan->nodes[n].fed_by = from;
            plan->nodes[from].feeds = n;
        }
    }
}
