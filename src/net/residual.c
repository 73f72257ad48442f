/* At inference an add of two arrays, as a residual block ends with, costs no pass over memory: the
 * convolution that makes the later of them adds the other to its output before it stores that
 * (takes_addend), and applies the add's activation. A norm that is folded between them is no
 * obstacle. Then the add only shares the convolution's output, which lies in the other array's
 * memory where that is not needed any more. Called by plan.c. */
#include "net/residual.h"
#include "net/fold.h"

/* The node that computes what lies in node n's output. */
static int writer_of(const fv_plan *plan, int n) {
    while (plan->nodes[n].view)
        n = plan->nodes[n].summed_by ? plan->nodes[n].summed_by : plan->net->nodes[n].inputs[0];
    return n;
}

/* The convolution whose output, perhaps through views, is node n's, where it could add something to
 * that before anybody sees it; else 0. */
static int taker_of(const fv_plan *plan, const int *readers, int n) {
    const fv_net *net = plan->net;
    for (;; n = net->nodes[n].inputs[0]) {
        const fv_node *node = &net->nodes[n];
        const fv_node_plan *p = &plan->nodes[n];
        if (readers[n] != 1 || p->tapped || p->tap.place != FV_PLACE_NONE || p->summed_by ||
            node->activation != FV_LINEAR)
            return 0;
        if (p->view)
            continue;
        return node->type->takes_addend &&
                       node->type->takes_addend(node->options, &plan->nodes[node->inputs[0]].shape)
                   ? n
                   : 0;
    }
}

/* The convolution that can carry out add n, whose input i it makes; 0: none. */
static int carrier_of(const fv_plan *plan, const int *readers, int n, int i) {
    const fv_node *node = &plan->net->nodes[n];
    const fv_shape *shape = &plan->nodes[n].shape;
    int taker = taker_of(plan, readers, node->inputs[i]), other = node->inputs[1 - i];
    bool fits = fv_same_shape(&plan->nodes[taker].shape, shape) &&
                fv_same_shape(&plan->nodes[other].shape, shape);
    return fits && writer_of(plan, other) < taker ? taker : 0;
}

void fv_find_residuals(fv_plan *plan, const int *readers) {
    const fv_net *net = plan->net;
    for (int n = 1; n < net->count; n++) {
        const fv_node *node = &net->nodes[n];
        fv_node_plan *p = &plan->nodes[n];
        if (!p->runs || !node->type->sum || node->input_count != 2 || p->tap.place != FV_PLACE_NONE)
            continue;
        for (int i = 0; i < 2 && !p->summed_by; i++)
            p->summed_by = carrier_of(plan, readers, n, i);
        if (!p->summed_by)
            continue;
        int first = writer_of(plan, node->inputs[0]) == p->summed_by;
        p->view = true;
        plan->nodes[p->summed_by].sum = n;
        plan->nodes[p->summed_by].addend = node->inputs[first];
    }
}

int fv_residual_root(const fv_plan *plan, int n) {
    const fv_net *net = plan->net;
    int root = plan->nodes[plan->nodes[n].addend].root;
    for (int j = root; j < n; j++)
        if (plan->nodes[j].root == root && plan->nodes[j].tapped)
            return n;
    for (int m = root + 1; m < net->count; m++)
        for (int i = 0; plan->nodes[m].runs && i < net->nodes[m].input_count; i++) {
            int input = net->nodes[m].inputs[i];
            bool reads = input < n && plan->nodes[input].root == root;
            if (reads && fv_forward_node(plan, m) >= n && m != plan->nodes[n].sum)
                return n;
        }
    return root;
}
