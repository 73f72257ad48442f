/* The public session: a net ready to run. A thin cover over a runner. */
#include "net/execute.h"

struct fv_session {
    fv_net *net;
    fv_runner runner;
    const void **source; /* one pointer a sample */
    float *copy;         /* of the last output asked for, where real is not float */
};

static int thread_count(int threads) {
    return threads ? threads : fv_default_threads();
}

static fv_status open_session(fv_session *session, const fv_session_options *o) {
    fv_plan_options options = {.batch = o->batch ? o->batch : 1,
                               .threads = thread_count(o->threads),
                               .exact = o->exact,
                               .input = o->shape,
                               .outputs = o->outputs};
    fv_status status = fv_runner_open(&session->runner, session->net, &options, NULL, o->profile);
    if (status)
        return status;
    session->source = fv_alloc((size_t)options.batch, sizeof *session->source);
    return session->source ? FV_OK : FV_MEMORY;
}

fv_session *fv_session_new(const fv_net *net, const fv_session_options *options) {
    static const fv_session_options defaults = {0};
    fv_session *session = fv_alloc(1, sizeof *session);
    if (!session)
        return NULL;
    /* The count of users is bookkeeping: the net's meaning stays const. */
    fv_net *counted = (fv_net *)(uintptr_t)net;
    if (fv_net_acquire(counted, false)) {
        fv_free(session);
        return NULL;
    }
    session->net = counted;
    if (open_session(session, options ? options : &defaults) || fv_runner_pack(&session->runner)) {
        fv_session_free(session);
        return NULL;
    }
    return session;
}

void fv_session_free(fv_session *session) {
    if (!session)
        return;
    fv_runner_close(&session->runner, true);
    fv_free(session->source);
    fv_free(session->copy);
    fv_net_release(session->net, false);
    fv_free(session);
}

fv_status fv_session_run(fv_session *session, const float *input, int samples) {
    const fv_plan *plan = &session->runner.plan;
    if (samples < 1 || samples > plan->batch)
        return fv_fail(FV_INVALID, "a run of %d samples: this session takes 1 to %d", samples,
                       plan->batch);
    size_t values = fv_shape_count(&plan->nodes[0].shape);
    for (int s = 0; s < samples; s++)
        session->source[s] = input + (size_t)s * values;
    fv_samples batch = {.count = samples, .source = session->source};
    fv_runner_forward(&session->runner, &batch);
    return FV_OK;
}

/* Where real is double, the caller still gets floats. */
static const float *as_float(fv_session *session, const real *values, size_t count) {
    if (sizeof(real) == sizeof(float))
        return (const float *)(const void *)values;
    fv_free(session->copy);
    session->copy = fv_alloc(count, sizeof(float));
    for (size_t i = 0; session->copy && i < count; i++)
        session->copy[i] = (float)values[i];
    return session->copy;
}

const float *fv_session_output(const fv_session *session, const char *name, fv_shape *shape) {
    const fv_plan *plan = &session->runner.plan;
    int node = plan->net->main_output;
    bool before = false;
    if (name && fv_plan_find_output(plan->net, name, &node, &before))
        return NULL;
    const fv_node_plan *p = &plan->nodes[node];
    if (before && (!p->view || p->folded || p->summed_by) ? p->tap.place == FV_PLACE_NONE
                                                          : !p->tapped) {
        fv_fail(FV_INVALID, "the output %s was not kept: name it in fv_session_options.outputs",
                name);
        return NULL;
    }
    if (shape)
        *shape = p->shape;
    return as_float((fv_session *)(uintptr_t)session,
                    fv_runner_output(&session->runner, node, before),
                    fv_shape_count(&p->shape) * (size_t)plan->batch);
}

double fv_session_seconds(const fv_session *session, int index) {
    return fv_runner_seconds(&session->runner, FV_PASS_FORWARD, index);
}

const char *fv_session_algorithm(const fv_session *session, int index) {
    return fv_runner_algorithm(&session->runner, index);
}

void fv_session_memory(const fv_session *session, fv_memory *memory) {
    *memory = session->runner.plan.memory;
}
