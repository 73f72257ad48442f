/* See drive.h. */
#include "drive.h"
#include <string.h>

static int drive_threads(const drive *d) {
    return d->type->whole_batch && d->pool ? fv_pool_threads(d->pool) : 1;
}

static void plan_layer(drive *d) {
    int inputs = d->type->max_inputs > 0;
    d->setting = (fv_setting){.kernels = d->kernels,
                              .batch = d->batch,
                              .training = d->training,
                              .exact = d->exact,
                              .input_gradient = d->input_gradient};
    d->plan = (fv_layer_plan){0};
    if (d->type->prepare)
        d->type->prepare(d->options, &d->input, inputs, &d->inference.output, &d->setting,
                         &d->plan);
}

/* A gap of canaries after each thread's scratch. */
static void make_scratch(drive *d) {
    d->scratch_stride = (d->plan.scratch + 63) / 64 * 64 + 64;
    if (d->plan.scratch)
        d->scratch = guard_new(d->scratch_stride * (size_t)drive_threads(d));
    d->held = guard_new(d->plan.held);
    d->shared = guard_new(d->plan.shared);
}

fv_status drive_prepare(drive *d) {
    d->inference = (fv_inference){0};
    fv_status status =
        d->type->infer(d->options, &d->input, d->type->max_inputs > 0, &d->inference);
    if (status)
        return status;
    plan_layer(d);
    size_t samples = (size_t)d->samples;
    d->out_count = fv_shape_count(&d->inference.output);
    d->in_count = d->type->max_inputs > 0 ? fv_shape_count(&d->input) : d->out_count;
    d->in = guard_new(samples * d->in_count * (d->bytes ? 1 : sizeof(real)));
    d->out = guard_new(samples * d->out_count * sizeof(real));
    d->kept = guard_new(samples * d->plan.kept);
    d->packed = guard_new(d->plan.packed);
    make_scratch(d);
    for (int i = 0; i < d->inference.weight_count; i++) {
        const fv_weight_spec *spec = &d->inference.weights[i];
        d->weight_count[i] = 1;
        for (int axis = 0; axis < spec->rank; axis++)
            d->weight_count[i] *= spec->size[axis];
        d->weights[i] = guard_new(d->weight_count[i] * sizeof(real));
        if (d->training)
            d->weight_gradients[i] = guard_new(d->weight_count[i] * sizeof(real));
    }
    if (d->training) {
        d->out_gradient = guard_new(samples * d->out_count * sizeof(real));
        if (d->input_gradient)
            d->in_gradient = guard_new(samples * d->in_count * sizeof(real));
    }
    return FV_OK;
}

static real *at(const guarded *g, size_t index) {
    return g->data ? (real *)g->data + index : NULL;
}

enum { MOST_SAMPLES = 64 };

/* The call for `samples` samples from number `first` on. `sources` is its memory. */
static fv_call make_call(const drive *d, int first, int samples,
                         const void *sources[MOST_SAMPLES]) {
    size_t start = (size_t)first;
    fv_call call = {.options = d->options,
                    .kernels = d->kernels,
                    .plan = &d->plan,
                    .setting = &d->setting,
                    .pool = d->type->whole_batch ? d->pool : NULL,
                    .samples = samples,
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
                    .source_bytes = d->bytes,
                    .seed = d->seed,
                    .node = d->node,
                    .epochs = d->epochs ? d->epochs + first : NULL,
                    .indices = d->indices ? d->indices + first : NULL};
    if (d->kept.data)
        call.kept = (unsigned char *)d->kept.data + start * d->plan.kept;
    if (d->type->max_inputs > 0) {
        call.input_count = 1;
        call.in_shape[0] = &d->input;
        call.in[0] = at(&d->in, start * d->in_count);
        call.in_gradient[0] = at(&d->in_gradient, start * d->in_count);
    } else {
        size_t size = d->in_count * (d->bytes ? 1 : sizeof(real));
        for (int s = 0; s < samples; s++)
            sources[s] = (unsigned char *)d->in.data + (start + (size_t)s) * size;
        call.source = sources;
    }
    for (int i = 0; i < d->inference.weight_count; i++) {
        call.weights[i] = d->weights[i].data;
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
    guard_check(&d->in, "input");
    guard_check(&d->out, "output");
    guard_check(&d->in_gradient, "gradient of the input");
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
    uint64_t hash = guard_hash(&d->in);
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
    if (d->type->pack)
        run(d, d->type->pack, true);
    run(d, d->type->forward, d->type->whole_batch);
}

void drive_backward(drive *d) {
    if (!d->plan.keep_input)
        guard_clear(&d->in);
    if (!d->plan.keep_output)
        guard_clear(&d->out);
    run(d, d->type->backward, d->type->whole_batch);
}

void drive_free(drive *d) {
    guarded *all[] = {&d->in,     &d->out,     &d->in_gradient, &d->out_gradient, &d->kept,
                      &d->packed, &d->scratch, &d->held,        &d->shared};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        guard_free(all[i]);
    for (int i = 0; i < FV_MAX_WEIGHTS; i++) {
        guard_free(&d->weights[i]);
        guard_free(&d->weight_gradients[i]);
    }
}
