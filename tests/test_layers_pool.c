/* Holds pooling layers to their oracles (layer_cases.h). */
#include "geometry.h"
#include <math.h>
#include <string.h>

/* ---- What they share --------------------------------------------------------------------------
 */

typedef bool make_pool(const layer_case *c, ref_pool *pool);

static bool pool_infer(const layer_case *c, make_pool *make, wanted *w) {
    ref_pool pool;
    if (!make(c, &pool))
        return false;
    w->output = ref_window_output(&pool.window, pool.channels);
    w->terms_z = w->terms_dx = ref_pool_cells(&pool);
    w->work = (int64_t)(ref_pool_cells(&pool) * fv_shape_count(&w->output));
    return true;
}

static void max_forward(const layer_case *c, make_pool *make, sums *v) {
    ref_pool pool;
    make(c, &pool);
    ref_maxpool(&pool, v->x[0], v->z);
}

static void max_backward(const layer_case *c, make_pool *make, sums *v) {
    ref_pool pool;
    make(c, &pool);
    ref_maxpool_back(&pool, v->x[0], v->dz, v->dx[0]);
}

/* Nothing is rounded forward; backward adds up what the same winners get. */
static void max_forward_size(const layer_case *c, const sums *value, sums *size) {
    (void)c, (void)value, (void)size;
}

static void max_backward_size(const layer_case *c, make_pool *make, const sums *value, sums *size) {
    ref_pool pool;
    make(c, &pool);
    memset(size->dx[0], 0, values_in(c, 0) * sizeof(double));
    ref_maxpool_back(&pool, value->x[0], size->dz, size->dx[0]);
}

static void average_forward(const layer_case *c, make_pool *make, sums *v) {
    ref_pool pool;
    make(c, &pool);
    ref_avgpool(&pool, v->x[0], v->z);
}

static void average_backward(const layer_case *c, make_pool *make, sums *v) {
    ref_pool pool;
    make(c, &pool);
    ref_avgpool_back(&pool, v->dz, v->dx[0]);
}

/* ---- maxpool, avgpool ------------------------------------------------------------------------ */

static bool sliding_pool(const layer_case *c, ref_pool *pool) {
    const fv_pool_options *o = c->options;
    *pool = (ref_pool){.samples = c->samples,
                       .channels = c->inputs[0].channels,
                       .count_include_pad = o->count_include_pad};
    return ref_pool_window(&c->inputs[0], o, &pool->window);
}

/* Padding of more than half the window is refused whatever the shape. */
static void want_reason(const layer_case *c, wanted *w) {
    const fv_pool_options *o = c->options;
    for (int axis = 0; axis < c->inputs[0].rank; axis++)
        for (int side = 0; side < 2; side++)
            if (o->pad[axis][side] > (o->size[axis] ? o->size[axis] : o->size[0]) / 2)
                w->says = "more than half the window";
}

static bool maxpool_infer(const layer_case *c, wanted *w) {
    want_reason(c, w);
    return pool_infer(c, sliding_pool, w);
}

static void maxpool_forward(const layer_case *c, sums *v) {
    max_forward(c, sliding_pool, v);
}

static void maxpool_backward(const layer_case *c, sums *v) {
    max_backward(c, sliding_pool, v);
}

static void maxpool_backward_size(const layer_case *c, const sums *value, sums *size) {
    max_backward_size(c, sliding_pool, value, size);
}

static bool avgpool_infer(const layer_case *c, wanted *w) {
    ref_pool pool;
    want_reason(c, w);
    w->inexact = sliding_pool(c, &pool) && !ref_avgpool_exact(&pool);
    return pool_infer(c, sliding_pool, w);
}

static void avgpool_forward(const layer_case *c, sums *v) {
    average_forward(c, sliding_pool, v);
}

static void avgpool_backward(const layer_case *c, sums *v) {
    average_backward(c, sliding_pool, v);
}

static void pool_case(const oracle *self, numbers *n, const geometry *g, bool any_work) {
    fv_pool_options o = {.padding = g->padding, .ceil = numbers_below(n, 3) == 0};
    if (strcmp(self->type, "avgpool") == 0)
        o.count_include_pad = numbers_below(n, 2);
    memcpy(o.size, g->kernel, sizeof o.size);
    memcpy(o.stride, g->stride, sizeof o.stride);
    memcpy(o.pad, g->pad, sizeof o.pad);
    layer_case c = make_case(self, n, &o, &g->input);
    c.any_work = any_work;
    char text[192];
    check_case(&c, "%s%s%s", geometry_text(g, text), o.ceil ? " ceil" : "",
               o.count_include_pad ? " count_include_pad" : "");
}

/* Windows of 256 cells and of more; and padding of more than half the window. */
static void pool_special_cases(const oracle *self) {
    static const geometry list[] = {
        {.input = {2, {17, 16}, 3}, .kernel = {16, 16}},
        {.input = {2, {19, 35}, 5}, .kernel = {17, 17}},
        {.input = {2, {18, 19}, 75}, .kernel = {17, 17}, .stride = {1, 1}},
        {.input = {1, {700}, 5}, .kernel = {300}, .stride = {100}},
        {.input = {3, {5, 4, 3}, 3}, .kernel = {7, 8, 5}, .stride = {1}, .padding = FV_SAME},
        {.input = {1, {9}, 2}, .kernel = {3}, .pad = {{0, 2}}},
        {.input = {1, {12}, 3}, .kernel = {4}, .stride = {2}, .padding = FV_CAUSAL}};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        pool_case(self, &(numbers){i}, &list[i], true);
    for (int i = 0; i < MISFITS; i++)
        pool_case(self, &(numbers){0}, &misfits[i], false);
}

static void pool_cases(const oracle *self) {
    for (int number = 0; number < GEOMETRIES; number++) {
        numbers n = {(uint64_t)number};
        int choice = numbers_below(&n, 2 * CHANNELS); /* half of the geometries are left out */
        for (int i = 0; i < CHANNELS; i++)
            if (full_run() || i == choice) {
                geometry g = make_geometry(number, channel_list[i], true);
                pool_case(self, &n, &g, false);
            }
    }
    pool_special_cases(self);
}

/* ---- global_maxpool, global_avgpool -----------------------------------------------------------
 */

static bool global_pool(const layer_case *c, ref_pool *pool) {
    *pool = (ref_pool){.samples = c->samples, .channels = c->inputs[0].channels, .adaptive = true};
    fv_shape input = c->inputs[0];
    int ones[3] = {0};
    for (int axis = 0; axis < input.rank; axis++)
        ones[axis] = 1;
    return ref_adaptive_window(&input, ones, &pool->window);
}

static bool global_infer(const layer_case *c, wanted *w) {
    const fv_global_pool_options *o = c->options;
    if (!pool_infer(c, global_pool, w))
        return false;
    if (!o->keep)
        w->output = (fv_shape){.channels = c->inputs[0].channels};
    return true;
}

static void global_maxpool_forward(const layer_case *c, sums *v) {
    max_forward(c, global_pool, v);
}

static void global_maxpool_backward(const layer_case *c, sums *v) {
    max_backward(c, global_pool, v);
}

static void global_maxpool_backward_size(const layer_case *c, const sums *value, sums *size) {
    max_backward_size(c, global_pool, value, size);
}

static bool global_avgpool_infer(const layer_case *c, wanted *w) {
    ref_pool pool;
    w->inexact = global_pool(c, &pool) && !ref_avgpool_exact(&pool);
    return global_infer(c, w);
}

static void global_avgpool_forward(const layer_case *c, sums *v) {
    average_forward(c, global_pool, v);
}

static void global_avgpool_backward(const layer_case *c, sums *v) {
    average_backward(c, global_pool, v);
}

static void global_cases(const oracle *self) {
    check_shapes(self, &(fv_global_pool_options){0}, "to a vector");
    check_shapes(self, &(fv_global_pool_options){.keep = true}, "keep");
}

/* ---- adaptive_maxpool, adaptive_avgpool -------------------------------------------------------
 */

static bool adaptive_pool(const layer_case *c, ref_pool *pool) {
    const fv_adaptive_pool_options *o = c->options;
    *pool = (ref_pool){.samples = c->samples, .channels = c->inputs[0].channels, .adaptive = true};
    return ref_adaptive_window(&c->inputs[0], o->size, &pool->window);
}

static bool adaptive_maxpool_infer(const layer_case *c, wanted *w) {
    return pool_infer(c, adaptive_pool, w);
}

static void adaptive_maxpool_forward(const layer_case *c, sums *v) {
    max_forward(c, adaptive_pool, v);
}

static void adaptive_maxpool_backward(const layer_case *c, sums *v) {
    max_backward(c, adaptive_pool, v);
}

static void adaptive_maxpool_backward_size(const layer_case *c, const sums *value, sums *size) {
    max_backward_size(c, adaptive_pool, value, size);
}

static bool adaptive_avgpool_infer(const layer_case *c, wanted *w) {
    ref_pool pool;
    w->inexact = adaptive_pool(c, &pool) && !ref_avgpool_exact(&pool);
    return pool_infer(c, adaptive_pool, w);
}

static void adaptive_avgpool_forward(const layer_case *c, sums *v) {
    average_forward(c, adaptive_pool, v);
}

static void adaptive_avgpool_backward(const layer_case *c, sums *v) {
    average_backward(c, adaptive_pool, v);
}

static void adaptive_cases(const oracle *self) {
    static const int sizes[][3] = {{1}, {2}, {3, 1}, {4, 7}, {5, 2, 3}, {2, 4, 1}, {20}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        fv_adaptive_pool_options o = {{sizes[i][0], sizes[i][1], sizes[i][2]}};
        char text[48];
        check_shapes(self, &o, sizes_text(o.size, text));
    }
}

/* ---- subsample --------------------------------------------------------------------------------
 */

static bool subsample_pool(const layer_case *c, ref_pool *pool) {
    const fv_subsample_options *o = c->options;
    fv_pool_options sliding = {0};
    memcpy(sliding.size, o->size, sizeof sliding.size);
    memcpy(sliding.stride, o->stride, sizeof sliding.stride);
    *pool = (ref_pool){.samples = c->samples, .channels = c->inputs[0].channels};
    return ref_pool_window(&c->inputs[0], &sliding, &pool->window);
}

static bool subsample_infer(const layer_case *c, wanted *w) {
    size_t channels = (size_t)c->inputs[0].channels;
    if (!pool_infer(c, subsample_pool, w))
        return false;
    ref_pool pool;
    subsample_pool(c, &pool);
    w->activation = ((const fv_subsample_options *)c->options)->activation;
    want_bias(w, "weight", channels);
    want_bias(w, "bias", channels);
    w->terms_dw = (size_t)(c->samples * ref_cells(pool.window.out)) * w->terms_z;
    return true;
}

static void subsample_forward(const layer_case *c, sums *v) {
    ref_pool pool;
    subsample_pool(c, &pool);
    ref_subsample(&pool, v->x[0], v->w[0], v->w[1], v->z);
}

static void subsample_backward(const layer_case *c, sums *v) {
    ref_pool pool;
    subsample_pool(c, &pool);
    ref_subsample_back(&pool, v->x[0], v->w[0], v->dz, v->dx[0], v->dw[0], v->dw[1]);
}

static void subsample_case(const oracle *self, numbers *n, const geometry *g) {
    fv_subsample_options o = {.activation = some_activation(n)};
    memcpy(o.size, g->kernel, sizeof o.size);
    memcpy(o.stride, g->stride, sizeof o.stride);
    layer_case c = make_case(self, n, &o, &g->input);
    char text[192];
    check_case(&c, "%s %s", geometry_text(g, text), fv_activation_names[o.activation]);
}

/* The geometries without padding come first. */
static void subsample_cases(const oracle *self) {
    for (int number = 0; number < GEOMETRIES / GEOMETRY_PADDINGS; number++) {
        numbers n = {(uint64_t)number};
        int choice = numbers_below(&n, CHANNELS);
        for (int i = 0; i < CHANNELS; i++)
            if (full_run() || i == choice) {
                geometry g = make_geometry(number, channel_list[i], false);
                subsample_case(self, &n, &g);
            }
    }
    for (int i = 0; i < MISFITS; i++)
        subsample_case(self, &(numbers){0}, &misfits[i]);
}

/* ---- The list -------------------------------------------------------------------------------- */

static const oracle oracles[] = {
    {.type = "maxpool",
     .cases = pool_cases,
     .infer = maxpool_infer,
     .forward = maxpool_forward,
     .backward = maxpool_backward,
     .forward_size = max_forward_size,
     .backward_size = maxpool_backward_size},
    {.type = "avgpool",
     .cases = pool_cases,
     .infer = avgpool_infer,
     .forward = avgpool_forward,
     .backward = avgpool_backward},
    {.type = "global_maxpool",
     .cases = global_cases,
     .infer = global_infer,
     .forward = global_maxpool_forward,
     .backward = global_maxpool_backward,
     .forward_size = max_forward_size,
     .backward_size = global_maxpool_backward_size},
    {.type = "global_avgpool",
     .cases = global_cases,
     .infer = global_avgpool_infer,
     .forward = global_avgpool_forward,
     .backward = global_avgpool_backward},
    {.type = "adaptive_maxpool",
     .cases = adaptive_cases,
     .infer = adaptive_maxpool_infer,
     .forward = adaptive_maxpool_forward,
     .backward = adaptive_maxpool_backward,
     .forward_size = max_forward_size,
     .backward_size = adaptive_maxpool_backward_size},
    {.type = "adaptive_avgpool",
     .cases = adaptive_cases,
     .infer = adaptive_avgpool_infer,
     .forward = adaptive_avgpool_forward,
     .backward = adaptive_avgpool_backward},
    {.type = "subsample",
     .cases = subsample_cases,
     .infer = subsample_infer,
     .forward = subsample_forward,
     .backward = subsample_backward},
};

int main(void) {
    return run_family("pool", oracles, sizeof oracles / sizeof oracles[0]);
}
