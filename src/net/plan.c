/* Makes the plan: shapes, segments and what each layer needs; arena.c finds a place for it. See
 * plan.h. */
#include "net/plan.h"
#include "net/arena.h"
#include "net/beside.h"
#include "net/feed.h"
#include "net/fold.h"
#include "net/recompute.h"
#include "net/residual.h"
#include <stdint.h>
#include <string.h>

enum {
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

static void choose_groups(fv_plan *plan) {
    for (int i = 0; i < plan->segment_count; i++) {
        fv_segment *s = &plan->segments[i];
        size_t bytes = 1;
        for (int n = s->first; n <= s->last; n++) {
            size_t sample = plan->nodes[n].feeds ? 0 : fv_sample_bytes(&plan->nodes[n]);
            bytes = sample > bytes ? sample : bytes;
        }
        size_t fit = GROUP_BYTES / bytes;
        s->group = fit < 1 ? 1 : fit > (size_t)s->unit_samples ? s->unit_samples : (int)fit;
    }
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
        if (!fv_size_product(fv_sample_bytes(p), 3 * (size_t)plan->batch, &bytes) ||
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

/* What layers do at inference of those behind and before them. */
static fv_status find_fusions(fv_plan *plan) {
    const fv_net *net = plan->net;
    int *readers = fv_alloc((size_t)net->count, sizeof *readers);
    if (!readers)
        return FV_MEMORY;
    for (int n = 0; n < net->count; n++)
        for (int i = 0; plan->nodes[n].runs && i < net->nodes[n].input_count; i++)
            readers[net->nodes[n].inputs[i]]++;
    fv_find_folds(plan, readers);
    fv_find_residuals(plan, readers);
    fv_find_feeds(plan, readers);
    fv_free(readers);
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
    if (!status && !plan->training)
        status = find_fusions(plan);
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
    if (!status) {
        fv_find_beside(plan);
        status = check_sizes(plan);
    }
    if (!status)
        status = fv_place_arena(plan);
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
