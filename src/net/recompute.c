/* An output that the backward pass reads need not be kept where its layer computes it again
 * (fv_layer_type.recomputes) from what is kept anyway: a batch norm's from its input, which its own
 * gradient needs, a sum from two such. See recompute.h. */
#include "net/recompute.h"

/* Layers that are run again, one after another, for one output: a chain of sums, each of which
 * reads the one before, keeps every second. */
enum { MOST_STEPS = 2, NEVER = 1 << 20 };

/* Whether the backward pass of n reads its input i, and that lies in the memory of `root`. */
static bool reads_back(const fv_plan *plan, int n, int i, int root) {
    const fv_node_plan *p = &plan->nodes[n];
    return p->wants_gradient && !p->view && p->layer.keep_input &&
           plan->nodes[plan->net->nodes[n].inputs[i]].root == root;
}

/* Whether it lasts until the backward pass whatever is decided here. */
static bool is_held(const fv_plan *plan, int root) {
    bool any = plan->nodes[root].layer.keep_output;
    for (int n = root; n < plan->net->count; n++)
        any |= plan->nodes[n].root == root &&
               (plan->nodes[n].tapped || plan->nodes[n].tap.place != FV_PLACE_NONE);
    return any;
}

static bool is_read_back(const fv_plan *plan, int root) {
    bool any = false;
    for (int n = root + 1; n < plan->net->count; n++)
        for (int i = 0; i < plan->net->nodes[n].input_count; i++)
            any |= reads_back(plan, n, i, root);
    return any;
}

/* steps[n]: how many layers must run for the output of n in the backward pass. 0: it is kept. */
static void count_steps(const fv_plan *plan, int *steps) {
    const fv_net *net = plan->net;
    for (int n = 0; n < net->count; n++) {
        const fv_node_plan *p = &plan->nodes[n];
        const fv_node *node = &net->nodes[n];
        steps[n] = NEVER;
        if (!p->runs || p->root != n)
            continue;
        if (is_held(plan, n)) {
            steps[n] = 0;
            continue;
        }
        int most = node->type->recomputes && p->layer.scratch == 0 ? 0 : NEVER;
        for (int i = 0; i < node->input_count; i++) {
            int input = steps[plan->nodes[node->inputs[i]].root];
            most = input > most ? input : most;
        }
        if (most < MOST_STEPS)
            steps[n] = most + 1;
        else if (is_read_back(plan, n))
            steps[n] = 0;
    }
}

/* One more segment that needs the output in the backward pass. */
static void need(fv_node_plan *p, int segment, bool batch) {
    fv_recomputed *r = &p->recomputed;
    r->from = !r->any || segment > r->from ? segment : r->from;
    r->to = !r->any || segment < r->to ? segment : r->to;
    r->batch |= batch || r->from != r->to;
    r->any = true;
}

/* Who is read back or is an input of what is computed again, from the last node to the first. */
static void mark(fv_plan *plan, const int *steps) {
    const fv_net *net = plan->net;
    for (int root = net->count - 1; root > 0; root--) {
        fv_node_plan *own = &plan->nodes[root];
        if (steps[root] == 0 || steps[root] == NEVER)
            continue;
        for (int n = root + 1; n < net->count; n++)
            for (int i = 0; i < net->nodes[n].input_count; i++) {
                const fv_node_plan *p = &plan->nodes[n];
                if (reads_back(plan, n, i, root))
                    need(own, p->segment, p->mixes || plan->segments[p->segment].whole_batch);
                if (plan->nodes[net->nodes[n].inputs[i]].root == root && p->recomputed.any)
                    need(own, p->recomputed.from, p->recomputed.batch);
            }
    }
}

fv_status fv_find_recomputed(fv_plan *plan) {
    if (!plan->training)
        return FV_OK;
    int *steps = fv_alloc((size_t)plan->net->count, sizeof *steps);
    if (!steps)
        return FV_MEMORY;
    count_steps(plan, steps);
    mark(plan, steps);
    for (int n = plan->net->count - 1; n >= 0; n--)
        if (plan->nodes[n].recomputed.any)
            plan->segments[plan->nodes[n].recomputed.from].recomputes = n;
    fv_free(steps);
    return FV_OK;
}
