/* Makes the plan: shapes, segments, what each layer needs, and a place for all of it. Time is
 * counted in steps: packing is -1, forward of node n is n, the loss is N (the number of nodes),
 * backward of node n is 2N - n. See plan.h. */
#include "net/plan.h"
#include "net/beside.h"
#include "net/feed.h"
#include "net/fold.h"
#include "net/layout.h"
#include "net/recompute.h"
#include "net/residual.h"
#include <limits.h>
#include <string.h>

enum {
    PACKING = -1, /* the step before all others */
    MAX_UNITS = 32,
    MIN_UNITS = 4,
    MAX_THREADS = 4096,
    GROUP_BYTES = 128 << 10, /* activations of a group, to stay in the second cache */
};
static const size_t partial_bytes = (size_t)16 << 20; /* of all units together */

/* ---- Shapes, roots, gradients ------------------------------------------------------------------
 */

/* While weights learn all nodes run; else those whose outputs are kept, and what these need. */
static bool *choose_nodes(const fv_plan *plan) {
    const fv_net *net = plan->net;
    bool *runs = fv_alloc((size_t)net->count, sizeof *runs);
    for (int n = 0; runs && n < net->count; n++)
        runs[n] = (plan->training && !plan->frozen) || plan->nodes[n].tapped ||
                  plan->nodes[n].tap.place != FV_PLACE_NONE;
    if (runs)
        fv_net_mark_needed(net, runs);
    return runs;
}

static fv_status infer_shapes(fv_plan *plan, const fv_shape *input) {
    const fv_net *net = plan->net;
    bool *runs = choose_nodes(plan);
    fv_shape *shapes = fv_alloc((size_t)net->count, sizeof *shapes);
    int64_t *macs = fv_alloc((size_t)net->count, sizeof *macs);
    fv_status status =
        runs && shapes && macs ? fv_net_shapes(net, input, runs, shapes, macs) : FV_MEMORY;
    for (int n = 0; !status && n < net->count; n++) {
        plan->nodes[n].runs = runs[n];
        plan->nodes[n].shape = shapes[n];
        plan->nodes[n].macs = macs[n];
    }
    fv_free(runs);
    fv_free(shapes);
    fv_free(macs);
    return status;
}

static fv_status choose_input(const fv_net *net, const fv_shape *asked, fv_shape *input) {
    const fv_shape *own = &net->nodes[0].output;
    char text[2][64];
    *input = asked->rank == 0 && asked->channels == 0 ? *own : *asked;
    bool fits = input->rank == own->rank && input->channels == own->channels;
    for (int i = 0; fits && i < own->rank; i++) {
        fits = own->size[i] == FV_ANY || input->size[i] == own->size[i];
        if (fits && input->size[i] < 1)
            return fv_fail(FV_SHAPE, "the net's input %s varies in size: say which shape is meant",
                           fv_shape_text(own, text[0]));
    }
    return fits ? FV_OK
                : fv_fail(FV_SHAPE, "the net takes %s, but %s was given",
                          fv_shape_text(own, text[0]), fv_shape_text(input, text[1]));
}

/* Whether training changes a weight of it, or a statistic. */
static bool learns(const fv_plan *plan, const fv_node *node) {
    bool any = false;
    for (int w = 0; w < node->weight_count; w++)
        any |= !node->weights[w].spec.statistic || node->weights[w].spec.updated;
    return any && !node->tuning.freeze && !plan->frozen;
}

static void find_roots(fv_plan *plan) {
    const fv_net *net = plan->net;
    for (int n = 0; n < net->count; n++) {
        const fv_node *node = &net->nodes[n];
        fv_node_plan *p = &plan->nodes[n];
        p->root = p->summed_by ? plan->nodes[p->summed_by].root
                  : p->view    ? plan->nodes[node->inputs[0]].root
                  : p->sum     ? fv_residual_root(plan, n)
                               : n;
        if (!p->runs)
            continue;
        p->wants_gradient = learns(plan, node) || (plan->input_gradient && n == 0);
        for (int i = 0; i < node->input_count; i++)
            p->wants_gradient |= plan->nodes[node->inputs[i]].wants_gradient;
        p->wants_gradient &= plan->training;
    }
}

/* ---- Segments
 * ------------------------------------------------------------------------------------ */

static void cut_segments(fv_plan *plan) {
    const fv_net *net = plan->net;
    for (int n = 0; n < net->count; n++) {
        const fv_layer_type *type = net->nodes[n].type;
        if (!plan->nodes[n].runs)
            continue;
        bool whole = type->whole_batch || plan->nodes[n].layer.whole_batch;
        plan->nodes[n].mixes =
            type->mixes_samples && plan->training && !net->nodes[n].tuning.freeze && !plan->frozen;
        fv_segment *last = plan->segment_count ? &plan->segments[plan->segment_count - 1] : NULL;
        if (last && !last->whole_batch && !whole && !plan->nodes[n].mixes)
            last->last = n;
        else
            plan->segments[plan->segment_count++] =
                (fv_segment){.first = n, .last = n, .whole_batch = whole};
        plan->nodes[n].segment = plan->segment_count - 1;
    }
}

/* Those whose gradients are summed a unit apart. */
static void own_weights(const fv_plan *plan, fv_segment *s) {
    size_t begin = SIZE_MAX, end = 0;
    for (int n = s->first + plan->nodes[s->first].mixes; n <= s->last; n++)
        for (int w = 0; plan->nodes[n].runs && w < plan->net->nodes[n].weight_count; w++) {
            const fv_weight *weight = &plan->net->nodes[n].weights[w];
            begin = weight->offset < begin ? weight->offset : begin;
            end = weight->offset + fv_round_up(weight->count, 16);
        }
    s->weights = end ? begin : 0;
    s->weight_count = end ? end - begin : 0;
    s->apart = plan->training && s->weight_count > 0 &&
               (!s->whole_batch || (plan->accumulates && !plan->nodes[s->first].layer.adds));
}

/* Units as small as memory for their partial sums allows, so that many threads find work. */
static void cut_units(const fv_plan *plan, fv_segment *s) {
    int units = plan->batch < MAX_UNITS ? plan->batch : MAX_UNITS;
    if (plan->training)
        while (units > MIN_UNITS && (size_t)units * s->weight_count * sizeof(real) > partial_bytes)
            units /= 2;
    s->unit_samples = (plan->batch + units - 1) / units;
    s->units = (plan->batch + s->unit_samples - 1) / s->unit_samples;
}

/* ---- What layers need
 * ------------------------------------------------------------------------------ */

static void prepare_layers(fv_plan *plan) {
    const fv_net *net = plan->net;
    for (int n = 0; n < net->count; n++) {
        const fv_node *node = &net->nodes[n];
        fv_node_plan *p = &plan->nodes[n];
        fv_shape inputs[FV_MAX_INPUTS];
        if (!p->runs)
            continue;
        p->setting = (fv_setting){.kernels = plan->kernels,
                                  .batch = plan->batch,
                                  .training = plan->training,
                                  .exact = plan->exact,
                                  .forced = plan->forced,
                                  .frozen = plan->training && !learns(plan, node)};
        for (int i = 0; i < node->input_count; i++) {
            inputs[i] = plan->nodes[node->inputs[i]].shape;
            p->setting.input_gradient |= plan->nodes[node->inputs[i]].wants_gradient;
        }
        if (node->type->prepare && !p->view)
            node->type->prepare(node->options, inputs, node->input_count, &p->shape, &p->setting,
                                &p->layer);
        for (int w = 0; p->folded && w < node->weight_count; w++)
            p->layer.spent[w] = true;
    }
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

static size_t sample_bytes(const fv_node_plan *p) {
    return fv_shape_count(&p->shape) * sizeof(real);
}

/* A buffer for values like those of `node`, used in a segment, that lives as `l` says. */
static void place_buffer(placing *at, int node, int segment, life l, fv_buffer *buffer) {
    fv_plan *plan = at->plan;
    const fv_segment *s = &plan->segments[segment];
    bool batch = l.crosses || s->whole_batch;
    *buffer = (fv_buffer){.place = batch ? FV_PLACE_BATCH : FV_PLACE_THREAD,
                          .sample = sample_bytes(&plan->nodes[node])};
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

static void choose_groups(fv_plan *plan) {
    for (int i = 0; i < plan->segment_count; i++) {
        fv_segment *s = &plan->segments[i];
        size_t bytes = 1;
        for (int n = s->first; n <= s->last; n++) {
            size_t sample = plan->nodes[n].feeds ? 0 : sample_bytes(&plan->nodes[n]);
            bytes = sample > bytes ? sample : bytes;
        }
        size_t fit = GROUP_BYTES / bytes;
        s->group = fit < 1 ? 1 : fit > (size_t)s->unit_samples ? s->unit_samples : (int)fit;
    }
}

static void place_segment_sums(placing *at, fv_segment *s) {
    fv_plan *plan = at->plan;
    if (!s->apart)
        return;
    size_t units = s->whole_batch ? 1 : (size_t)s->units;
    fv_layout_add(&at->batch, units * s->weight_count * sizeof(real), backward_time(plan, s->last),
                  backward_time(plan, s->first), &s->partials);
}

static fv_status place_all(fv_plan *plan) {
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
            p->tap.sample = sample_bytes(p);
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
    return status ? status : other;
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

fv_status fv_plan_find_output(const fv_net *net, const char *name, int *node, bool *before) {
    size_t length = strlen(name);
    *node = fv_net_find(net, name);
    *before = false;
    if (*node < 0 && length > 4 && strcmp(name + length - 4, ".pre") == 0) {
        char *base = fv_copy_string(name);
        if (!base)
            return FV_MEMORY;
        base[length - 4] = 0;
        *node = fv_net_find(net, base);
        *before = true;
        fv_free(base);
    }
    return *node >= 0
               ? FV_OK
               : fv_fail(FV_INVALID, "the net has no layer %s (fovea info lists them)", name);
}

/* Which nodes only share their input's memory. Those that are the identity at inference do also
 * where a net is run for its input's gradient: without samples' numbers they draw nothing. */
static void find_views(fv_plan *plan) {
    for (int n = 0; n < plan->net->count; n++) {
        const fv_layer_type *type = plan->net->nodes[n].type;
        plan->nodes[n].view = type->view || (type->identity && (!plan->training || plan->frozen));
    }
}

static fv_status mark_outputs(fv_plan *plan, const fv_plan_options *options) {
    plan->nodes[plan->net->main_output].tapped = true;
    for (int n = 0; n < plan->net->count && !options->outputs && !plan->training; n++)
        plan->nodes[n].tapped |= fv_net_is_output(plan->net, n);
    for (int i = 0; i < options->loss_count; i++) {
        fv_node_plan *p = &plan->nodes[options->losses[i].node];
        p->tapped = p->loss = true;
        p->raw |= options->losses[i].raw;
    }
    for (const char *const *names = options->outputs; names && *names; names++) {
        int node;
        bool before;
        fv_status status = fv_plan_find_output(plan->net, *names, &node, &before);
        if (status)
            return status;
        fv_node_plan *p = &plan->nodes[node];
        if (before && !p->view)
            p->tap.place = FV_PLACE_BATCH;
        else
            p->tapped = true;
    }
    return FV_OK;
}

static fv_status check_options(const fv_plan_options *o) {
    if (o->batch < 1 || o->batch > 1 << 20)
        return fv_fail(FV_INVALID, "batch %d is out of range: 1 to 1048576", o->batch);
    if (o->threads < 1 || o->threads > MAX_THREADS)
        return fv_fail(FV_INVALID, "%d threads are out of range: 1 to %d", o->threads, MAX_THREADS);
    return FV_OK;
}

/* The batch's buffers must be countable before they are added up. */
static fv_status check_sizes(const fv_plan *plan) {
    size_t total = 0;
    for (int n = 0; n < plan->net->count; n++) {
        const fv_node_plan *p = &plan->nodes[n];
        size_t bytes, notes, all;
        if (!fv_size_product(sample_bytes(p), 3 * (size_t)plan->batch, &bytes) ||
            !fv_size_product(p->layer.kept, (size_t)plan->batch, &notes) ||
            !fv_sum(bytes, notes, &all) || !fv_sum(total, all, &total) ||
            !fv_sum(total, p->layer.scratch, &total) || !fv_sum(total, p->layer.packed, &total) ||
            total > (size_t)1 << 56)
            return fv_fail(FV_SHAPE,
                           "the net needs more memory than this machine can address at "
                           "batch %d (use a smaller batch)",
                           plan->batch);
    }
    return FV_OK;
}

static fv_status fill_plan(fv_plan *plan, const fv_plan_options *options) {
    const fv_net *net = plan->net;
    fv_shape input;
    plan->nodes = fv_alloc((size_t)net->count, sizeof *plan->nodes);
    plan->segments = fv_alloc((size_t)net->count, sizeof *plan->segments);
    if (!plan->nodes || !plan->segments)
        return FV_MEMORY;
    fv_status status = choose_input(net, &options->input, &input);
    find_views(plan);
    if (!status)
        status = mark_outputs(plan, options);
    if (!status)
        status = infer_shapes(plan, &input);
    if (!status)
        status = fv_find_folds(plan);
    if (!status)
        status = fv_find_residuals(plan);
    if (!status)
        status = fv_find_feeds(plan);
    if (status)
        return status;
    find_roots(plan);
    prepare_layers(plan);
    cut_segments(plan);
    for (int i = 0; i < plan->segment_count; i++) {
        own_weights(plan, &plan->segments[i]);
        cut_units(plan, &plan->segments[i]);
    }
    choose_groups(plan);
    status = fv_find_recomputed(plan);
    fv_find_beside(plan);
    if (!status)
        status = check_sizes(plan);
    if (!status)
        status = place_all(plan);
    if (!status)
        count_memory(plan);
    return status;
}

fv_status fv_plan_make(fv_plan *plan, const fv_net *net, const fv_plan_options *options) {
    *plan = (fv_plan){.net = net,
                      .kernels = fv_kernels_get(),
                      .batch = options->batch,
                      .threads = options->threads,
                      .training = options->training,
                      .exact = options->exact,
                      .frozen = options->frozen,
                      .accumulates = options->accumulates,
                      .from_file = net->file.path && (!options->training || options->frozen),
                      .input_gradient = options->input_gradient};
    fv_status status = plan->kernels ? check_options(options) : FV_INVALID;
    if (!status)
        status = fv_forced_algorithm(&plan->forced);
    if (!status)
        status = fill_plan(plan, options);
    if (status)
        fv_plan_free(plan);
    return status;
}

void fv_plan_free(fv_plan *plan) {
    fv_free(plan->nodes);
    fv_free(plan->segments);
    *plan = (fv_plan){0};
}
