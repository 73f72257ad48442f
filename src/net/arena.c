/* The plan's arena: how long each buffer lives, and where it is. Time is counted in steps: packing
 * is -1, forward of node n is n, the loss is N (the number of nodes), backward of node n is 2N - n.
 * See arena.h. */
#include "net/arena.h"
#include "net/fold.h"
#include "net/layout.h"

enum { PACKING = -1 }; /* the step before all others */

size_t fv_sample_bytes(const fv_node_plan *p) {
    return fv_shape_count(&p->shape) * sizeof(real);
}

/* ---- Lives
 * ------------------------------------------------------------------------------------------ */

typedef struct life {
    int first, last;
    bool crosses; /* used in more than one segment, or in another pass */
} life;

static int backward_time(const fv_plan *plan, int node) {
    return 2 * plan->net->count - node;
}

static void extend(life *l, int time) {
    l->first = time < l->first ? time : l->first;
    l->last = time > l->last ? time : l->last;
}

/* Units of a segment run side by side: what one of them uses lives for the whole segment. */
static void extend_segment(const fv_plan *plan, life *l, int segment, bool backward) {
    const fv_segment *s = &plan->segments[segment];
    extend(l, backward ? backward_time(plan, s->last) : s->first);
    extend(l, backward ? backward_time(plan, s->first) : s->last);
}

/* Of the node that makes the first input of n. */
static int segment_before(const fv_plan *plan, int n) {
    return plan->nodes[plan->nodes[plan->net->nodes[n].inputs[0]].root].segment;
}

/* Whether input i of node n lies in the memory of `root`, and n runs. */
static bool reads(const fv_plan *plan, int n, int i, int root) {
    return plan->nodes[n].runs && plan->nodes[plan->net->nodes[n].inputs[i]].root == root;
}

/* Of a root's output: from its forward to its last reader. */
static life output_life(const fv_plan *plan, int root) {
    const fv_net *net = plan->net;
    const fv_node_plan *own = &plan->nodes[root];
    life l = {.first = root, .last = root};
    bool kept = own->layer.keep_output, until_end = own->tapped;
    for (int n = root + 1; n < net->count; n++)
        for (int i = 0; i < net->nodes[n].input_count; i++) {
            if (!reads(plan, n, i, root))
                continue;
            int reader = fv_forward_node(plan, n);
            extend(&l, reader);
            l.crosses |= plan->nodes[reader].segment != own->segment;
            until_end |= plan->nodes[n].tapped && plan->nodes[n].root == root;
            if (plan->nodes[n].layer.keep_input && plan->nodes[n].wants_gradient &&
                !own->recomputed.any) {
                kept = true;
                extend_segment(plan, &l, plan->nodes[n].segment, true);
                if (plan->nodes[n].ahead)
                    extend_segment(plan, &l, own->segment, true);
            }
            if (plan->nodes[n].recomputed.any && !own->recomputed.any) {
                kept = true;
                extend_segment(plan, &l, plan->nodes[n].recomputed.from, true);
            }
        }
    if (own->layer.keep_output)
        extend_segment(plan, &l, own->segment, true);
    if (until_end)
        extend(&l, 2 * net->count + 1);
    l.crosses |= kept || until_end;
    return l;
}

/* Whether a loss judges this root's output, perhaps through a view. */
static bool loss_of(const fv_plan *plan, int root) {
    bool any = false;
    for (int n = root; n < plan->net->count; n++)
        any |= plan->nodes[n].root == root && plan->nodes[n].loss;
    return any;
}

/* Of a root's gradient: from the backward of its last reader (or the loss) to its own. */
static life gradient_life(const fv_plan *plan, int root) {
    const fv_net *net = plan->net;
    life l = {.first = backward_time(plan, root),
              .last = backward_time(plan, root),
              .crosses = plan->nodes[root].mixes};
    bool read = false;
    for (int n = root + 1; n < net->count; n++)
        for (int i = 0; i < net->nodes[n].input_count; i++)
            if (reads(plan, n, i, root)) {
                read |= !plan->nodes[n].view;
                if (plan->nodes[root].spread_by)
                    continue; /* it writes right before the root's own backward */
                extend(&l, backward_time(plan, n));
                l.crosses |= plan->nodes[n].segment != plan->nodes[root].segment;
            }
    if (plan->nodes[root].ahead)
        extend_segment(plan, &l, segment_before(plan, root), true);
    if (!read || loss_of(plan, root)) { /* the loss writes it, or nobody: then zeros */
        extend(&l, net->count);
        l.crosses = true;
    }
    if (root == 0 && plan->input_gradient) {
        extend(&l, 2 * net->count + 1);
        l.crosses = true;
    }
    return l;
}

static int reader_count(const fv_plan *plan, int root, int *last, int *slot) {
    const fv_net *net = plan->net;
    int count = 0;
    for (int n = root + 1; n < net->count; n++)
        for (int i = 0; i < net->nodes[n].input_count; i++)
            if (reads(plan, n, i, root) && !plan->nodes[n].view) {
                count++;
                *last = n;
                *slot = i;
            }
    return count;
}

/* ---- Places
 * ------------------------------------------------------------------------------------------ */

typedef struct placing {
    fv_plan *plan;
    fv_layout batch, thread; /* the arena's common part, and one thread's block */
} placing;

/* A buffer for values like those of `node`, used in a segment, that lives as `l` says. */
static void place_buffer(placing *at, int node, int segment, life l, fv_buffer *buffer) {
    fv_plan *plan = at->plan;
    const fv_segment *s = &plan->segments[segment];
    bool batch = l.crosses || s->whole_batch;
    *buffer = (fv_buffer){.place = batch ? FV_PLACE_BATCH : FV_PLACE_THREAD,
                          .sample = fv_sample_bytes(&plan->nodes[node])};
    if (!batch) {
        fv_layout_add(&at->thread, buffer->sample * (size_t)s->group, l.first, l.last,
                      &buffer->offset);
        return;
    }
    /* Its first and last users are segments that run as a whole. */
    life whole = l;
    for (int n = 0; n < plan->net->count; n++) {
        int own = plan->nodes[n].segment;
        if (!plan->nodes[n].runs)
            continue;
        if (l.first <= n && n <= l.last)
            extend_segment(plan, &whole, own, false);
        if (l.first <= backward_time(plan, n) && backward_time(plan, n) <= l.last)
            extend_segment(plan, &whole, own, true);
    }
    fv_layout_add(&at->batch, buffer->sample * (size_t)plan->batch, whole.first, whole.last,
                  &buffer->offset);
}

static void place_again(placing *at, int node) {
    const fv_plan *plan = at->plan;
    fv_node_plan *p = &at->plan->nodes[node];
    if (!p->recomputed.any)
        return;
    life l = {.first = backward_time(plan, plan->segments[p->recomputed.from].last),
              .last = backward_time(plan, plan->segments[p->recomputed.to].first),
              .crosses = p->recomputed.batch};
    place_buffer(at, node, p->recomputed.from, l, &p->again);
}

static void place_root(placing *at, int node) {
    fv_plan *plan = at->plan;
    fv_node_plan *p = &plan->nodes[node];
    int last = node, slot = 0;
    place_buffer(at, node, p->segment, output_life(plan, node), &p->output);
    place_again(at, node);
    if (!p->wants_gradient)
        return;
    place_buffer(at, node, p->segment, gradient_life(plan, node), &p->gradient);
    int readers = reader_count(plan, node, &last, &slot);
    bool loss = loss_of(plan, node); /* it writes before any layer does */
    p->unjudged = readers + loss == 0;
    if (readers > 0 && !loss)
        plan->nodes[last].first_writer[slot] = true;
}

/* For the gradients of inputs that another layer, loss or input has written first. Each has its
 * own, since a layer may read one output twice. */
static void place_extras(placing *at, int node) {
    fv_plan *plan = at->plan;
    fv_node_plan *p = &plan->nodes[node];
    const fv_node *own = &plan->net->nodes[node];
    int time = backward_time(plan, node);
    for (int i = 0; i < own->input_count && !p->view && p->wants_gradient; i++) {
        int root = plan->nodes[own->inputs[i]].root;
        if (plan->nodes[root].wants_gradient && !p->first_writer[i])
            place_buffer(at, root, p->segment,
                         (life){.first = time, .last = time, .crosses = p->mixes}, &p->extra[i]);
    }
}

static void place_notes(placing *at, int node) {
    fv_plan *plan = at->plan;
    fv_node_plan *p = &plan->nodes[node];
    const fv_layer_plan *layer = &p->layer;
    int forward = node, backward = backward_time(plan, node);
    life kept = {.first = forward, .last = forward};
    extend_segment(plan, &kept, p->segment, false);
    extend_segment(plan, &kept, p->segment, true);
    if (p->behind)
        extend_segment(plan, &kept, segment_before(plan, node), false);
    fv_layout_add(&at->batch, layer->kept * (size_t)plan->batch, kept.first, kept.last, &p->kept);
    fv_layout_add(&at->batch, layer->packed, PACKING, 2 * plan->net->count + 1, &p->packed);
    fv_layout_add(&at->thread, layer->scratch, forward, forward, &p->scratch[0]);
    fv_layout_add(&at->batch, layer->shared, forward, forward, &p->shared[0]);
    if (!plan->training)
        return;
    fv_layout_add(&at->thread, layer->scratch, backward, backward, &p->scratch[1]);
    fv_layout_add(&at->batch, layer->shared, backward, backward, &p->shared[1]);
    life held = {.first = backward, .last = backward};
    extend_segment(plan, &held, p->segment, true);
    fv_layout_add(&at->thread, layer->held, held.first, held.last, &p->held);
}

/* Values of the layer's weights that are staged together. */
static size_t staged_bytes(const fv_node *node, const fv_layer_plan *layer) {
    size_t bytes = 0;
    for (int w = 0; w < node->weight_count; w++) {
        size_t outputs = node->weights[w].spec.size[0], count = node->weights[w].count;
        if (layer->slice && (size_t)layer->slice < outputs)
            count = count / outputs * (size_t)layer->slice;
        bytes += layer->spent[w] ? fv_round_up(count * sizeof(real), 64) : 0;
    }
    return bytes;
}

/* Weights that are in the net's file: those that the layer reads again are kept in the arena; those
 * that it only packs share one room, which is free for activations afterwards, and so do those that
 * take up the map of the layer behind. */
static void place_weights(placing *at) {
    fv_plan *plan = at->plan;
    const fv_net *net = plan->net;
    size_t staging = 0, largest = 0;
    for (int n = 0; n < net->count; n++) {
        const fv_node *node = &net->nodes[n];
        fv_node_plan *p = &plan->nodes[n];
        if (!p->runs)
            continue;
        size_t staged = fv_fold_bytes(plan, n);
        if (plan->from_file)
            staged += staged_bytes(node, &p->layer);
        staging = staged > staging ? staged : staging;
        for (int w = 0; w < node->weight_count && plan->from_file; w++) {
            size_t count = node->weights[w].count;
            largest = count > largest ? count : largest;
            if (!p->layer.spent[w])
                fv_layout_add(&at->batch, count * sizeof(real), PACKING, 2 * net->count + 1,
                              &p->weights[w]);
        }
    }
    size_t most = FV_READ_BYTES / sizeof(float);
    fv_layout_add(&at->batch, staging, PACKING, PACKING, &plan->staging);
    fv_layout_add(&at->thread, (largest < most ? largest : most) * sizeof(float), PACKING, PACKING,
                  &plan->reading);
}

static void place_segment_sums(placing *at, fv_segment *s) {
    fv_plan *plan = at->plan;
    if (!s->apart)
        return;
    size_t units = s->whole_batch ? 1 : (size_t)s->units;
    fv_layout_add(&at->batch, units * s->weight_count * sizeof(real), backward_time(plan, s->last),
                  backward_time(plan, s->first), &s->partials);
}

/* ---- The sum
 * ------------------------------------------------------------------------------------------ */

/* Weights from a file that the arena keeps. */
static size_t kept_weights(const fv_plan *plan) {
    size_t bytes = 0;
    for (int n = 0; n < plan->net->count; n++)
        for (int w = 0; w < plan->net->nodes[n].weight_count; w++)
            if (plan->nodes[n].runs && !plan->nodes[n].layer.spent[w])
                bytes += fv_round_up(plan->net->nodes[n].weights[w].count * sizeof(real), 64);
    return bytes;
}

/* What of the arena is what: activations are the rest of it, which the layout shares. */
static void count_memory(fv_plan *plan) {
    fv_memory *m = &plan->memory;
    size_t all = plan->net->weight_size * sizeof(real);
    m->weights = plan->from_file ? kept_weights(plan) : all;
    for (int n = 0; n < plan->net->count; n++)
        m->packed += fv_round_up(plan->nodes[n].layer.packed, 64);
    if (plan->training)
        m->gradients = fv_round_up(all, 64);
    m->scratch = plan->thread_bytes * (size_t)plan->threads;
    m->activations = plan->threads_at - m->packed - m->gradients;
    if (plan->from_file)
        m->activations -= m->weights;
    m->total = plan->arena_bytes + (plan->from_file ? 0 : m->weights);
}

/* ---- All of it ---------------------------------------------------------------------------------
 */

fv_status fv_place_arena(fv_plan *plan) {
    placing at = {.plan = plan};
    const fv_net *net = plan->net;
    int end = 2 * net->count + 1;
    for (int n = 0; n < net->count; n++) {
        fv_node_plan *p = &plan->nodes[n];
        if (!p->runs)
            continue;
        if (p->root == n && !p->feeds)
            place_root(&at, n);
        place_extras(&at, n);
        place_notes(&at, n);
        if (p->tap.place != FV_PLACE_NONE) {
            p->tap.sample = fv_sample_bytes(p);
            fv_layout_add(&at.batch, p->tap.sample * (size_t)plan->batch, 0, end, &p->tap.offset);
        }
    }
    for (int i = 0; i < plan->segment_count; i++)
        place_segment_sums(&at, &plan->segments[i]);
    if (plan->training)
        fv_layout_add(&at.batch, net->weight_size * sizeof(real), 0, end, &plan->gradients);
    place_weights(&at);
    fv_status status = fv_layout_place(&at.thread, &plan->thread_bytes);
    fv_status other = fv_layout_place(&at.batch, &plan->threads_at);
    size_t blocks;
    if (!status && !other &&
        (!fv_size_product(plan->thread_bytes, (size_t)plan->threads, &blocks) ||
         !fv_sum(plan->threads_at, blocks, &plan->arena_bytes)))
        return fv_fail(FV_SHAPE, "the net needs more memory than this machine can address");
    if (!status && !other)
        count_memory(plan);
    return status ? status : other;
}
