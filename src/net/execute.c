/* The executor: takes units of samples through segments, and whole batches through the layers
 * that want them. See execute.h and plan.h. */
#include "net/execute.h"
#include "net/fold.h"
#include <string.h>
#include <time.h>

enum { PASSES = FV_PASS_BACKWARD + 1 };

/* One pass over one segment, as the threads see it. */
typedef struct pass {
    fv_runner *runner;
    const fv_samples *samples;
    const fv_segment *segment;
    bool backward;
    bool over_batch; /* one call for all samples, with the pool */
    bool together;   /* all threads work on each layer, see runs_together() */
} pass;

/* Where a thread stands: samples [first, first + count) of the batch. */
typedef struct stand {
    int first, count, thread, unit;
    bool begins, ends; /* first and last group of its unit */
} stand;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static unsigned char *thread_block(const fv_runner *r, int thread) {
    return r->arena + r->plan.threads_at + (size_t)thread * r->plan.thread_bytes;
}

static real *buffer_at(const fv_runner *r, const fv_buffer *buffer, const stand *at) {
    if (buffer->place == FV_PLACE_NONE)
        return NULL;
    unsigned char *base = buffer->place == FV_PLACE_THREAD
                              ? thread_block(r, at->thread)
                              : r->arena + (size_t)at->first * buffer->sample;
    return (real *)(base + buffer->offset);
}

static const fv_node_plan *root_of(const fv_plan *plan, int node) {
    return &plan->nodes[plan->nodes[node].root];
}

/* Where the pass finds the output that lies in this root's memory. */
static real *values_at(const pass *p, const fv_node_plan *root, const stand *at) {
    bool again = p->backward && root->recomputed.any;
    return buffer_at(p->runner, again ? &root->again : &root->output, at);
}

/* ---- Filling a call
 * ------------------------------------------------------------------------------ */

/* Of a weight that is not spent. */
static real *kept_weight(const fv_runner *r, int n, int w) {
    const fv_plan *plan = &r->plan;
    if (plan->nodes[n].layer.spent[w])
        return NULL;
    return plan->from_file ? (real *)(r->arena + plan->nodes[n].weights[w])
                           : plan->net->weights + plan->net->nodes[n].weights[w].offset;
}

static void point_weights(const pass *p, const stand *at, int n, fv_call *call) {
    const fv_plan *plan = &p->runner->plan;
    const fv_node *node = &plan->net->nodes[n];
    const fv_segment *s = p->segment;
    real *sums = NULL;
    if (plan->training && !plan->nodes[n].setting.frozen) {
        sums = (real *)(p->runner->arena + plan->gradients);
        if (s->apart && (s->whole_batch || !p->over_batch)) /* this unit's own */
            sums = (real *)(p->runner->arena + s->partials) + (size_t)at->unit * s->weight_count -
                   s->weights;
    }
    for (int w = 0; w < node->weight_count; w++) {
        call->weights[w] = kept_weight(p->runner, n, w);
        call->weight_gradients[w] = sums ? sums + node->weights[w].offset : NULL;
    }
}

static fv_call make_call(const pass *p, const stand *at, int n) {
    const fv_runner *r = p->runner;
    const fv_plan *plan = &r->plan;
    const fv_node *node = &plan->net->nodes[n];
    const fv_node_plan *own = &plan->nodes[n];
    const fv_samples *samples = p->samples;
    int last = own->sum ? own->sum : own->fold ? own->fold : n; /* whose activation it applies */
    fv_call call = {.options = node->options,
                    .kernels = plan->kernels,
                    .plan = &own->layer,
                    .setting = &own->setting,
                    .samples = at->count,
                    .input_count = node->input_count,
                    .weight_count = node->weight_count,
                    .out_shape = &own->shape,
                    .out = values_at(p, root_of(plan, n), at),
                    .out_gradient = buffer_at(r, &root_of(plan, n)->gradient, at),
                    .first = at->begins,
                    .last = at->ends,
                    .kept = r->arena + own->kept + (size_t)at->first * own->layer.kept,
                    .packed = (real *)(r->arena + own->packed),
                    .scratch = thread_block(r, at->thread) + own->scratch[p->backward],
                    .held = thread_block(r, at->thread) + own->held,
                    .shared = r->arena + own->shared[p->backward],
                    .scratch_stride = plan->thread_bytes,
                    .activation =
                        plan->nodes[last].raw ? FV_LINEAR : plan->net->nodes[last].activation,
                    .activation_constant = (real)plan->net->nodes[last].activation_constant,
                    .seed = samples->seed,
                    .node = (uint32_t)n,
                    .source_bytes = samples->bytes,
                    .source_reals = samples->reals};
    if (samples->source)
        call.source = samples->source + at->first;
    if (p->over_batch || p->together)
        call.pool = r->pool;
    if (samples->epochs) {
        call.epochs = samples->epochs + at->first;
        call.indices = samples->indices + at->first;
    }
    for (int i = 0; i < node->input_count; i++) {
        const fv_node_plan *input = root_of(plan, node->inputs[i]);
        const fv_buffer *gradient = own->first_writer[i] ? &input->gradient : &own->extra[i];
        call.in_shape[i] = &plan->nodes[node->inputs[i]].shape;
        call.in[i] = values_at(p, input, at);
        call.in_gradient[i] = buffer_at(r, gradient, at);
    }
    if (own->sum)
        call.addend = values_at(p, root_of(plan, own->addend), at);
    point_weights(p, at, n, &call);
    if (own->fold)
        call.weight_count = 2; /* with a bias, whatever the options say */
    return call;
}

/* ---- One node, forward and backward
 * ---------------------------------------------------------------- */

/* With the output before the activation asked for: run without it, copy, then apply it. */
static void forward_tapped(const fv_runner *r, const stand *at, const fv_node *node,
                           const fv_node_plan *own, fv_call *call) {
    fv_activation activation = call->activation;
    call->activation = FV_LINEAR;
    node->type->forward(call);
    memcpy(buffer_at(r, &own->tap, at), call->out, own->tap.sample * (size_t)at->count);
    size_t values = fv_shape_count(&own->shape) * (size_t)at->count;
    call->kernels->activate(activation, call->activation_constant,
                            values / (size_t)own->shape.channels, own->shape.channels, call->out);
}

typedef void node_step(const pass *p, const stand *at, int n);

static void forward_node(const pass *p, const stand *at, int n) {
    const fv_node *node = &p->runner->plan.net->nodes[n];
    const fv_node_plan *own = &p->runner->plan.nodes[n];
    fv_call call = make_call(p, at, n), before;
    if (own->fed_by) {
        before = make_call(p, at, own->fed_by);
        call.feed = &before;
    }
    if (own->tap.place != FV_PLACE_NONE)
        forward_tapped(p->runner, at, node, own, &call);
    else
        node->type->forward(&call);
}

/* Gradients of an output with several readers: the later ones are added to the first. */
static void add_extra_gradients(const pass *p, const stand *at, int n) {
    const fv_plan *plan = &p->runner->plan;
    const fv_node *node = &plan->net->nodes[n];
    for (int i = 0; i < node->input_count; i++) {
        const fv_node_plan *input = root_of(plan, node->inputs[i]);
        const fv_buffer *extra = &plan->nodes[n].extra[i];
        if (extra->place == FV_PLACE_NONE)
            continue;
        plan->kernels->add(fv_shape_count(&input->shape) * (size_t)at->count,
                           buffer_at(p->runner, extra, at),
                           buffer_at(p->runner, &input->gradient, at));
    }
}

static void backward_node(const pass *p, const stand *at, int n) {
    const fv_node *node = &p->runner->plan.net->nodes[n];
    const fv_node_plan *own = &p->runner->plan.nodes[n];
    if (!node->type->backward || !own->wants_gradient)
        return;
    fv_call call = make_call(p, at, n);
    node->type->backward(&call);
    add_extra_gradients(p, at, n);
}

static double *seconds_of(const fv_runner *r, int thread, fv_pass in, int n) {
    size_t nodes = (size_t)r->plan.net->count;
    return &r->seconds[((size_t)thread * PASSES + in) * nodes + (size_t)n];
}

static void recompute_node(const pass *p, const stand *at, int n) {
    const fv_call call = make_call(p, at, n);
    p->runner->plan.net->nodes[n].type->forward(&call);
}

/* ---- Nodes that mix samples, see fv_layer_type.mixes_samples */

static void measure_node(const pass *p, const stand *at, int n) {
    const fv_call call = make_call(p, at, n);
    const fv_layer_type *type = p->runner->plan.net->nodes[n].type;
    (p->backward ? type->measure_back : type->measure)(&call);
}

static void join_node(const pass *p, const stand *at, int n) {
    const fv_call call = make_call(p, at, n);
    const fv_layer_type *type = p->runner->plan.net->nodes[n].type;
    (p->backward ? type->join_back : type->join)(&call);
}

/* A layer that all threads work on counts for each of them. */
static void run_timed(const pass *p, const stand *at, int n, node_step *step) {
    const fv_runner *runner = p->runner;
    double begin = runner->seconds ? now() : 0;
    step(p, at, n);
    if (runner->seconds)
        *seconds_of(runner, at->thread, p->backward ? FV_PASS_BACKWARD : FV_PASS_FORWARD, n) +=
            (now() - begin) * (p->together || p->over_batch ? runner->plan.threads : 1);
}

static void run_node(const pass *p, const stand *at, int n) {
    const fv_node_plan *own = &p->runner->plan.nodes[n];
    if (!own->runs || own->view || own->feeds)
        return;
    if (p->backward && own->spread_by)
        run_timed(p, at, own->spread_by, backward_node);
    run_timed(p, at, n, p->backward ? backward_node : forward_node);
    if (!p->backward && own->measured_by)
        run_timed(p, at, own->measured_by, measure_node);
}

/* ---- Segments
 * ----------------------------------------------------------------------------------------- */

/* What the segment's backward pass needs again, of these samples: for the whole batch, or a group.
 */
static void recompute(const pass *p, const stand *at, bool batch) {
    const fv_plan *plan = &p->runner->plan;
    const fv_segment *s = p->segment;
    for (int n = s->recomputes; n > 0 && n <= s->last; n++) {
        const fv_recomputed *own = &plan->nodes[n].recomputed;
        if (own->any && own->batch == batch && &plan->segments[own->from] == s) {
            run_timed(p, at, n, recompute_node);
        }
    }
}

static void recompute_sample(void *argument, int sample, int thread) {
    recompute(argument, &(stand){.first = sample, .count = 1, .thread = thread}, true);
}

static void run_unit(void *argument, int unit, int thread) {
    const pass *p = argument;
    const fv_segment *s = p->segment;
    int mixes = p->runner->plan.nodes[s->first].mixes; /* it waits for the others */
    int begin = unit * s->unit_samples, end = begin + s->unit_samples;
    end = end < p->samples->count ? end : p->samples->count;
    for (int first = begin; first < end; first += s->group) {
        stand at = {.first = first,
                    .count = end - first < s->group ? end - first : s->group,
                    .thread = thread,
                    .unit = unit,
                    .begins = first == begin,
                    .ends = first + s->group >= end};
        if (p->backward)
            recompute(p, &at, false);
        for (int n = s->last; p->backward && n >= s->first + mixes; n--)
            run_node(p, &at, n);
        if (p->backward && mixes)
            run_timed(p, &at, s->first, measure_node);
        if (!p->backward)
            for (int n = s->first; n <= s->last; n++)
                run_node(p, &at, n);
    }
}

static int unit_count(const pass *p) {
    return (p->samples->count + p->segment->unit_samples - 1) / p->segment->unit_samples;
}

/* The units' sums into the gradients, a slice of the weights a thread. */
enum { SUM_SLICE = 4096 };

static void sum_slice(void *argument, int slice, int thread) {
    (void)thread;
    const pass *p = argument;
    const fv_segment *s = p->segment;
    const fv_plan *plan = &p->runner->plan;
    size_t first = (size_t)slice * SUM_SLICE;
    size_t count = s->weight_count - first < SUM_SLICE ? s->weight_count - first : SUM_SLICE;
    real *parts = (real *)(p->runner->arena + s->partials) + first;
    real *sums = (real *)(p->runner->arena + plan->gradients) + s->weights + first;
    plan->kernels->tree_sum(count, s->whole_batch ? 1 : unit_count(p), s->weight_count, parts,
                            p->samples->adds ? parts : sums);
    if (p->samples->adds)
        plan->kernels->add(count, parts, sums);
}

/* At inference, of fewer samples than would give each thread a unit, all threads take each layer
 * together. */
static bool runs_together(const pass *p) {
    const fv_plan *plan = &p->runner->plan;
    return !plan->training && !p->segment->whole_batch && plan->threads > 1 && unit_count(p) == 1;
}

/* The node's step over the whole batch, with the pool. */
static void run_over_batch(pass *p, int n, node_step *step) {
    const fv_segment *s = p->segment;
    const stand at = {.count = p->samples->count,
                      .begins = !p->backward || !p->samples->adds || (s->whole_batch && s->apart),
                      .ends = true};
    p->over_batch = true;
    run_timed(p, &at, n, step);
    p->over_batch = false;
}

/* What a node that mixes samples does of each, where no other node has done it. */
static void mix_sample(void *argument, int sample, int thread) {
    const pass *p = argument;
    const stand at = {.first = sample, .count = 1, .thread = thread};
    run_timed(p, &at, p->segment->first, p->backward ? backward_node : measure_node);
}

static void run_mixing(pass *p) {
    const fv_node_plan *own = &p->runner->plan.nodes[p->segment->first];
    if (!p->backward && !own->behind)
        fv_pool_run(p->runner->pool, p->samples->count, mix_sample, p);
    run_over_batch(p, p->segment->first, join_node);
    if (p->backward && !own->ahead)
        fv_pool_run(p->runner->pool, p->samples->count, mix_sample, p);
}

static void run_segment(pass *p) {
    const fv_segment *s = p->segment;
    const fv_plan *plan = &p->runner->plan;
    bool mixes = plan->nodes[s->first].mixes;
    p->together = runs_together(p);
    if (p->together) {
        run_unit(p, 0, 0);
        return;
    }
    if (p->backward && s->recomputes > 0)
        fv_pool_run(p->runner->pool, p->samples->count, recompute_sample, p);
    if (mixes && !p->backward)
        run_mixing(p);
    if (s->whole_batch)
        run_over_batch(p, s->first, p->backward ? backward_node : forward_node);
    else
        fv_pool_run(p->runner->pool, unit_count(p), run_unit, p);
    if (p->backward && s->apart)
        fv_pool_run(p->runner->pool, (int)((s->weight_count + SUM_SLICE - 1) / SUM_SLICE),
                    sum_slice, p);
    if (mixes && p->backward)
        run_mixing(p);
}

static bool learns(const fv_plan *plan, const fv_segment *s) {
    bool any = false;
    for (int n = s->first; n <= s->last; n++)
        any |= plan->nodes[n].wants_gradient;
    return any;
}

void fv_runner_forward(fv_runner *runner, const fv_samples *samples) {
    for (int i = 0; i < runner->plan.segment_count; i++) {
        pass p = {.runner = runner, .samples = samples, .segment = &runner->plan.segments[i]};
        run_segment(&p);
    }
}

/* An output that is read by nobody and judged by no loss adds nothing. */
static void clear_unjudged(fv_runner *runner, const fv_samples *samples) {
    for (int n = 0; n < runner->plan.net->count; n++) {
        const fv_node_plan *own = &runner->plan.nodes[n];
        if (own->unjudged)
            memset(fv_runner_output_gradient(runner, n), 0,
                   own->gradient.sample * (size_t)samples->count);
    }
}

void fv_runner_backward(fv_runner *runner, const fv_samples *samples) {
    clear_unjudged(runner, samples);
    for (int i = runner->plan.segment_count - 1; i >= 0; i--) {
        pass p = {.runner = runner,
                  .samples = samples,
                  .segment = &runner->plan.segments[i],
                  .backward = true};
        if (learns(&runner->plan, p.segment))
            run_segment(&p);
    }
}

/* ---- Packing
 * --------------------------------------------------------------------------------------- */

/* The node's weights from the net's file (or their part for these outputs): those that are spent
 * into the room for staging, from *staged on. */
static fv_status read_weights(const fv_runner *r, int n, fv_call *call, size_t *staged) {
    const fv_plan *plan = &r->plan;
    const fv_node *node = &plan->net->nodes[n];
    for (int w = 0; w < node->weight_count; w++) {
        fv_weight some = node->weights[w];
        if (plan->nodes[n].layer.slice)
            some = fv_weight_outputs(&node->weights[w], (size_t)call->first_output,
                                     (size_t)call->outputs);
        real *values = kept_weight(r, n, w);
        if (!values) {
            values = (real *)(r->arena + plan->staging + *staged);
            *staged += fv_round_up(some.count * sizeof(real), 64);
        }
        fv_status status =
            fv_weight_read(plan->net, &some, r->pool, thread_block(r, 0) + plan->reading,
                           plan->thread_bytes, values);
        if (status)
            return status;
        call->weights[w] = values;
    }
    return FV_OK;
}

/* All the node's weights: where the net has them, or read from its file. */
static fv_status find_weights(const fv_runner *r, int n, fv_call *call, size_t *staged) {
    const fv_plan *plan = &r->plan;
    const fv_node *node = &plan->net->nodes[n];
    for (int w = 0; w < node->weight_count && !plan->from_file; w++)
        call->weights[w] = plan->net->weights + node->weights[w].offset;
    return plan->from_file ? read_weights(r, n, call, staged) : FV_OK;
}

/* The map of the layer behind into the call's weights. */
static fv_status take_up(const fv_runner *r, int n, fv_call *call, size_t staged) {
    fv_call map = {0};
    fv_status status = find_weights(r, r->plan.nodes[n].fold, &map, &staged);
    if (!status)
        fv_fold(&r->plan, n, map.weights, r->arena + r->plan.staging + staged, call);
    return status;
}

static fv_status pack_node(fv_runner *runner, int n) {
    const fv_plan *plan = &runner->plan;
    const fv_node *node = &plan->net->nodes[n];
    const fv_samples none = {0};
    const stand at = {0};
    pass p = {
        .runner = runner, .samples = &none, .segment = &plan->segments[plan->nodes[n].segment]};
    fv_call call = make_call(&p, &at, n);
    int slice = plan->from_file ? plan->nodes[n].layer.slice : 0;
    int end = node->weight_count ? (int)node->weights[0].spec.size[0] : 0;
    fv_status status = FV_OK;
    call.pool = runner->pool;
    do {
        call.first_output += call.outputs;
        int left = end - call.first_output;
        call.outputs = slice && slice < left ? slice : left;
        size_t staged = 0;
        status = find_weights(runner, n, &call, &staged);
        if (!status && plan->nodes[n].fold)
            status = take_up(runner, n, &call, staged);
        if (!status && node->type->pack)
            node->type->pack(&call);
    } while (!status && slice && call.first_output + call.outputs < end);
    return status;
}

fv_status fv_runner_pack(fv_runner *runner) {
    const fv_plan *plan = &runner->plan;
    fv_status status = FV_OK;
    for (int n = 0; !status && n < plan->net->count; n++)
        if (plan->nodes[n].runs && !plan->nodes[n].folded) {
            double begin = runner->seconds ? now() : 0;
            status = pack_node(runner, n);
            if (runner->seconds)
                *seconds_of(runner, 0, FV_PASS_PACK, n) += (now() - begin) * plan->threads;
        }
    return status || !plan->from_file ? status : fv_file_unchanged(&plan->net->file);
}

/* ---- Opening and asking
 * ---------------------------------------------------------------------------------- */

fv_status fv_runner_open(fv_runner *runner, const fv_net *net, const fv_plan_options *options,
                         fv_pool *pool, bool profile) {
    fv_plan_options asked = *options;
    if (pool)
        asked.threads = fv_pool_threads(pool); /* each of them needs its block of the arena */
    *runner = (fv_runner){0};
    fv_status status = net->file.path ? FV_OK : fv_net_draw((fv_net *)(uintptr_t)net);
    if (!status)
        status = fv_plan_make(&runner->plan, net, &asked);
    if (status)
        return status;
    runner->arena = fv_map(runner->plan.arena_bytes);
    runner->pool = pool ? pool : fv_pool_new(asked.threads);
    if (profile)
        runner->seconds =
            fv_alloc((size_t)asked.threads * PASSES * (size_t)net->count, sizeof *runner->seconds);
    if (!runner->arena || !runner->pool || (profile && !runner->seconds)) {
        fv_runner_close(runner, !pool);
        return FV_MEMORY;
    }
    return FV_OK;
}

void fv_runner_close(fv_runner *runner, bool own_pool) {
    if (runner->arena)
        fv_unmap(runner->arena, runner->plan.arena_bytes);
    if (own_pool)
        fv_pool_free(runner->pool);
    fv_free(runner->seconds);
    fv_plan_free(&runner->plan);
    *runner = (fv_runner){0};
}

double fv_runner_seconds(const fv_runner *runner, fv_pass in, int node) {
    double sum = 0;
    if (!runner->seconds || in > FV_PASS_BACKWARD || node < 0 || node >= runner->plan.net->count)
        return 0;
    for (int t = 0; t < runner->plan.threads; t++)
        sum += *seconds_of(runner, t, in, node);
    return sum;
}

const char *fv_runner_algorithm(const fv_runner *runner, int node) {
    if (node < 0 || node >= runner->plan.net->count)
        return "";
    const fv_node_plan *p = &runner->plan.nodes[node];
    return p->folded        ? "folded"
           : p->summed_by   ? "in the conv"
           : p->feeds       ? "in the next"
           : p->view        ? "view"
           : p->layer.words ? p->layer.words
                            : "";
}

real *fv_runner_output(const fv_runner *runner, int node, bool before_activation) {
    const stand at = {0};
    const fv_node_plan *own = &runner->plan.nodes[node];
    bool tap = before_activation && !own->view; /* a view has no activation of its own */
    return buffer_at(runner, tap ? &own->tap : &root_of(&runner->plan, node)->output, &at);
}

real *fv_runner_output_gradient(const fv_runner *runner, int node) {
    const stand at = {0};
    return buffer_at(runner, &root_of(&runner->plan, node)->gradient, &at);
}

real *fv_runner_gradients(const fv_runner *runner) {
    return (real *)(runner->arena + runner->plan.gradients);
}
