/* See drive.h. */
#include "drive.h"
#include <stdlib.h>
#include <string.h>

static int drive_threads(const drive *d) {
    return d->whole && d->pool ? fv_pool_threads(d->pool) : 1;
}

/* Whether forward or backward may write to weight_gradients at all. */
static bool any_weight_moves(const fv_inference *inference) {
    bool any = false;
    for (int i = 0; i < inference->weight_count; i++)
        any |= !inference->weights[i].statistic || inference->weights[i].updated;
    return any;
}

static bool mixes(const drive *d) {
    return d->type->mixes_samples && d->training && !d->setting.frozen;
}

static void plan_layer(drive *d) {
    d->setting =
        (fv_setting){.kernels = d->kernels,
                     .batch = d->batch,
                     .training = d->training,
                     .exact = d->exact,
                     .frozen = d->training && (d->frozen || !any_weight_moves(&d->inference))};
    if (fv_forced_algorithm(&d->setting.forced))
        abort(); /* FOVEA_ALGO names none */
    for (int i = 0; i < d->input_count; i++)
        d->setting.input_gradient |= d->training && d->wants_gradient[i];
    d->plan = (fv_layer_plan){0};
    if (d->type->prepare)
        d->type->prepare(d->options, d->inputs, d->input_count, &d->inference.output, &d->setting,
                         &d->plan);
    d->whole = d->type->whole_batch || d->plan.whole_batch || mixes(d);
}

/* A gap of canaries after each thread's scratch. */
static void make_scratch(drive *d) {
    d->scratch_stride = (d->plan.scratch + 63) / 64 * 64 + 64;
    if (d->plan.scratch)
        d->scratch = guard_new(d->scratch_stride * (size_t)drive_threads(d));
    d->held = guard_new(d->plan.held);
    d->shared = guard_new(d->plan.shared);
}

static void make_weights(drive *d) {
    for (int i = 0; i < d->inference.weight_count; i++) {
        const fv_weight_spec *spec = &d->inference.weights[i];
        d->weight_count[i] = 1;
        for (int axis = 0; axis < spec->rank; axis++)
            d->weight_count[i] *= spec->size[axis];
        d->weights[i] = guard_new(d->weight_count[i] * sizeof(real));
        if (d->training && !d->setting.frozen)
            d->weight_gradients[i] = guard_new(d->weight_count[i] * sizeof(real));
    }
}

static void make_inputs(drive *d) {
    size_t samples = (size_t)d->samples;
    if (d->input_count == 0) {
        d->in_count[0] = d->out_count;
        d->in[0] = guard_new(samples * d->out_count * (d->bytes ? 1 : sizeof(real)));
    }
    for (int i = 0; i < d->input_count; i++) {
        d->in_count[i] = fv_shape_count(&d->inputs[i]);
        d->in[i] = guard_new(samples * d->in_count[i] * sizeof(real));
        if (d->training && d->wants_gradient[i])
            d->in_gradient[i] = guard_new(samples * d->in_count[i] * sizeof(real));
    }
}

fv_status drive_prepare(drive *d) {
    d->inference = (fv_inference){0};
    fv_status status = d->type->infer(d->options, d->inputs, d->input_count, &d->inference);
    if (status)
        return status;
    if (d->inference.activation_constant == 0)
        d->inference.activation_constant = fv_activation_constant(d->inference.activation);
    plan_layer(d);
    size_t samples = (size_t)d->samples;
    d->out_count = fv_shape_count(&d->inference.output);
    make_inputs(d);
    d->out = guard_new(samples * d->out_count * sizeof(real));
    if (d->training)
        d->out_gradient = guard_new(samples * d->out_count * sizeof(real));
    d->kept = guard_new(samples * d->plan.kept);
    d->packed = guard_new(d->plan.packed);
    make_scratch(d);
    make_weights(d);
    return FV_OK;
}

static real *at(const guarded *g, size_t index) {
    return g->data ? (real *)g->data + index : NULL;
}

enum { MOST_SAMPLES = 64 };

/* The data of `samples` samples from number `first` on. `sources` is memory for the call. */
static void point_inputs(const drive *d, size_t first, int samples,
                         const void *sources[MOST_SAMPLES], fv_call *call) {
    size_t size = d->in_count[0] * (d->bytes ? 1 : sizeof(real));
    for (int s = 0; s < samples && d->input_count == 0; s++)
        sources[s] = (unsigned char *)d->in[0].data + (first + (size_t)s) * size;
    call->source = d->input_count == 0 ? sources : NULL;
    call->input_count = d->input_count;
    for (int i = 0; i < d->input_count; i++) {
        call->in_shape[i] = &d->inputs[i];
        call->in[i] = at(&d->in[i], first * d->in_count[i]);
        call->in_gradient[i] = at(&d->in_gradient[i], first * d->in_count[i]);
    }
}

static fv_call make_call(const drive *d, int first, int samples,
                         const void *sources[MOST_SAMPLES]) {
    size_t start = (size_t)first;
    fv_call call = {.options = d->options,
                    .kernels = d->kernels,
                    .plan = &d->plan,
                    .setting = &d->setting,
                    .pool = d->whole ? d->pool : NULL,
                    .samples = samples,
                    .weight_count = d->inference.weight_count,
                    .outputs = (int)d->inference.weights[0].size[0],
                    .out_shape = &d->inference.output,
                    .out = at(&d->out, start * d->out_count),
                    .out_gradient = at(&d->out_gradient, start * d->out_count),
                    .first = first == 0,
                    .last = first + samples == d->samples,
                    .packed = d->packed.data,
                    .scratch = d->scratch.data,
                    .held = d->held.data,
                    .shared = d->shared.data,
                    .scratch_stride = d->scratch_stride,
                    .activation = d->linear ? FV_LINEAR : d->inference.activation,
                    .activation_constant = (real)d->inference.activation_constant,
                    .source_bytes = d->bytes,
                    .seed = d->seed,
                    .node = d->node,
                    .epochs = d->epochs ? d->epochs + first : NULL,
                    .indices = d->indices ? d->indices + first : NULL};
    if (d->kept.data)
        call.kept = (unsigned char *)d->kept.data + start * d->plan.kept;
    point_inputs(d, start, samples, sources, &call);
    for (int i = 0; i < d->inference.weight_count; i++) {
        call.weights[i] = d->packed_once && d->plan.spent[i] ? NULL : d->weights[i].data;
        call.weight_gradients[i] = d->weight_gradients[i].data;
    }
    return call;
}

static void check_scratch_gaps(const drive *d) {
    const unsigned char *bytes = d->scratch.data;
    for (int t = 0; bytes && t < drive_threads(d); t++)
        for (size_t i = d->plan.scratch; i < d->scratch_stride; i++)
            if (bytes[(size_t)t * d->scratch_stride + i] != 0xFF)
                fail_case("scratch of thread %d: written %zu bytes past its end", t,
                          i - d->plan.scratch + 1);
}

static void check_guards(const drive *d) {
    for (int i = 0; i < MOST_INPUTS; i++) {
        guard_check(&d->in[i], "input");
        guard_check(&d->in_gradient[i], "gradient of the input");
    }
    guard_check(&d->out, "output");
    guard_check(&d->out_gradient, "gradient of the output");
    guard_check(&d->kept, "what backward needs kept");
    guard_check(&d->packed, "packed weights");
    guard_check(&d->scratch, "scratch");
    guard_check(&d->held, "scratch held from call to call");
    guard_check(&d->shared, "shared scratch");
    check_scratch_gaps(d);
    for (int i = 0; i < d->inference.weight_count; i++) {
        guard_check(&d->weights[i], d->inference.weights[i].name);
        guard_check(&d->weight_gradients[i], "gradient of the weights");
    }
}

/* Of everything that a pass only reads. */
static uint64_t hash_of_inputs(const drive *d) {
    uint64_t hash = 0;
    for (int i = 0; i < MOST_INPUTS; i++)
        hash = hash * 31 + guard_hash(&d->in[i]);
    for (int i = 0; i < d->inference.weight_count; i++)
        hash = hash * 31 + guard_hash(&d->weights[i]);
    return hash;
}

/* A pass in one call or, for sample layers, in two, between which only `held` lasts. */
static void run(drive *d, void (*pass)(const fv_call *), bool whole) {
    const void *sources[MOST_SAMPLES];
    bool split = !whole && d->first_call > 0 && d->first_call < d->samples;
    int first = split ? d->first_call : d->samples;
    uint64_t hash = hash_of_inputs(d);
    guard_clear(&d->scratch);
    guard_clear(&d->held);
    guard_clear(&d->shared);
    fv_call call = make_call(d, 0, first, sources);
    pass(&call);
    if (split) {
        guard_clear(&d->scratch);
        call = make_call(d, first, d->samples - first, sources);
        pass(&call);
    }
    check_guards(d);
    if (hash_of_inputs(d) != hash)
        fail_case("the input or the weights were changed");
}

void drive_forward(drive *d) {
    d->packed_once = false;
    if (d->type->pack)
        run(d, d->type->pack, true);
    d->packed_once = true; /* and what the layer called spent is out of its reach */
    if (mixes(d)) {
        run(d, d->type->measure, false);
        run(d, d->type->join, true);
    }
    run(d, d->type->forward, d->whole && !mixes(d));
}

void drive_backward(drive *d) {
    for (int i = 0; i < MOST_INPUTS && !d->plan.keep_input; i++)
        guard_clear(&d->in[i]);
    if (!d->plan.keep_output)
        guard_clear(&d->out);
    if (mixes(d)) {
        run(d, d->type->measure_back, false);
        run(d, d->type->join_back, true);
    }
    run(d, d->type->backward, d->whole && !mixes(d));
}

void drive_free(drive *d) {
    guarded *all[] = {&d->out,     &d->out_gradient, &d->kept,  &d->packed,
                      &d->scratch, &d->held,         &d->shared};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        guard_free(all[i]);
    for (int i = 0; i < MOST_INPUTS; i++) {
        guard_free(&d->in[i]);
        guard_free(&d->in_gradient[i]);
    }
    for (int i = 0; i < FV_MAX_WEIGHTS; i++) {
        guard_free(&d->weights[i]);
        guard_free(&d->weight_gradients[i]);
    }
}
