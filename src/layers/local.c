/* local: an unshared convolution, each output place p with kernels of its own:
 *   y(p, f) = bias(p, f) + sum over cells k, channels c of x(p S + k - P, c) w(p, k, c, f)
 * Each weight meets a sample once, so it runs over the whole batch, and the rows of a product are
 * the samples; the kernel is cut where it reaches beyond the input. Threads own places (of the
 * output; of the input for its gradient), and each sum is made in order by one of them: the same
 * bits for any number of threads. Stored weights, and in files: (places, cells x channels,
 * filters).
 */
#include "layers/activation.h"
#include "layers/conv.h"
#include "layers/conv_params.h"
#include <limits.h>
#include <string.h>

enum { UNIT_PLACES = 4 }; /* speed only */

static const fv_param params[] = {FV_CONV_FILTERS(fv_local_options),
                                  FV_CONV_KERNEL(fv_local_options, 2),
                                  FV_CONV_ACTIVATION(fv_local_options, 3),
                                  FV_CONV_SLIDE(fv_local_options),
                                  FV_CONV_BORDER(fv_local_options),
                                  FV_CONV_BIAS(fv_local_options),
                                  FV_CONV_INIT(fv_local_options, init, "how the weights start"),
                                  FV_CONV_BIAS_INIT(fv_local_options),
                                  {0}};

/* ---- Shapes -------------------------------------------------------------------------------------
 */

static fv_status slide(const fv_local_options *o, const fv_shape *input, fv_axis axes[3]) {
    return fv_slide(input,
                    &(fv_slide_options){.kernel = o->kernel,
                                        .stride = o->stride,
                                        .padding = o->padding,
                                        .pad = o->pad,
                                        .what = "kernel"},
                    axes);
}

/* Places are counted by an int. */
static fv_status check_places(const fv_shape *shape, const fv_shape *input) {
    size_t places = 1;
    char text[64];
    for (int i = 0; i < shape->rank; i++) {
        if (shape->size[i] == FV_ANY)
            return fv_fail(FV_SHAPE,
                           "local has weights for each place, so its input's sizes must be known, "
                           "but it is %s",
                           fv_shape_text(input, text));
        if (!fv_size_product(places, (size_t)shape->size[i], &places) || places > 1 << 30)
            return fv_fail(FV_SHAPE, "local has more than 2^30 places for the input %s",
                           fv_shape_text(input, text));
    }
    return FV_OK;
}

static fv_status infer(const void *options, const fv_shape *inputs, int count,
                       fv_inference *inference) {
    (void)count;
    const fv_local_options *o = options;
    size_t places = 1;
    fv_axis axes[3];
    fv_status status = slide(o, inputs, axes);
    if (!status)
        status = check_places(inputs, inputs);
    if (status)
        return status;
    inference->output = *inputs;
    inference->output.channels = o->filters;
    for (int i = 0; i < inputs->rank; i++)
        inference->output.size[i] = axes[i].out;
    status = check_places(&inference->output, inputs);
    for (int i = 0; i < inputs->rank; i++)
        places *= (size_t)axes[i].out;
    fv_weight_spec *w = inference->weights;
    w[0] = fv_conv_weight("weight", inputs->rank, axes, o->filters, inputs->channels, o->init);
    inference->macs = fv_conv_macs(&w[0], &inference->output);
    w[1] = fv_conv_bias(o->filters, &w[0], o->bias_init);
    w[0].rank = 3;
    w[0].output_axis = 2; /* of all places together */
    w[1].rank = 2;
    for (int i = 0; i < 3; i++)
        w[0].axes[i] = w[1].axes[i] = i;
    w[0].size[0] = w[1].size[0] = places;
    w[0].size[1] = w[0].fan_in;
    w[0].size[2] = w[1].size[1] = (size_t)o->filters;
    inference->weight_count = o->no_bias ? 1 : 2;
    inference->activation = o->activation;
    return status;
}

/* ---- Geometry -----------------------------------------------------------------------------------
 */

/* Axes that the input lacks come first. */
typedef struct geometry {
    fv_axis axis[3];
    int channels, filters;
    int places, input_places;
    ptrdiff_t in, out; /* values of a sample */
} geometry;

static geometry measure(const fv_local_options *o, const fv_shape *input) {
    geometry g = {.channels = input->channels,
                  .filters = o->filters,
                  .places = 1,
                  .input_places = 1,
                  .in = input->channels,
                  .out = o->filters};
    fv_axis axes[3];
    slide(o, input, axes); /* infer has checked it */
    for (int i = 0; i < 3; i++) {
        int missing = 3 - input->rank;
        g.axis[i] = i < missing ? (fv_axis){.in = 1, .out = 1, .kernel = 1, .stride = 1}
                                : axes[i - missing];
        g.places *= g.axis[i].out;
        g.input_places *= g.axis[i].in;
    }
    g.in *= g.input_places;
    g.out *= g.places;
    return g;
}

static int cell_count(const geometry *g) {
    return g->axis[0].kernel * g->axis[1].kernel * g->axis[2].kernel;
}

/* Weights of one place. */
static ptrdiff_t place_weights(const geometry *g) {
    return (ptrdiff_t)cell_count(g) * g->channels * g->filters;
}

static int smaller(int a, int b) {
    return a < b ? a : b;
}

static int larger(int a, int b) {
    return a > b ? a : b;
}

/* The kernel of an output place: cells low <= k < high of each axis lie in the input. */
typedef struct window {
    int start[3], low[3], high[3];
} window;

static window window_of(const geometry *g, int place) {
    const fv_axis *a = g->axis;
    const int at[3] = {place / a[2].out / a[1].out, place / a[2].out % a[1].out, place % a[2].out};
    window w;
    for (int i = 0; i < 3; i++) {
        w.start[i] = at[i] * a[i].stride - a[i].before;
        w.low[i] = larger(0, -w.start[i]);
        w.high[i] = larger(w.low[i], smaller(a[i].kernel, a[i].in - w.start[i]));
    }
    return w;
}

/* Kernel rows of the window as terms: where they begin in the input, and their cell's number. */
static int list_rows(const geometry *g, const window *w, ptrdiff_t *input, ptrdiff_t *cell) {
    const fv_axis *a = g->axis;
    int terms = 0;
    if (w->low[2] == w->high[2])
        return 0;
    for (int kd = w->low[0]; kd < w->high[0]; kd++)
        for (int kh = w->low[1]; kh < w->high[1]; kh++, terms++) {
            ptrdiff_t row = (ptrdiff_t)(w->start[0] + kd) * a[1].in + w->start[1] + kh;
            input[terms] = (row * a[2].in + w->start[2] + w->low[2]) * g->channels;
            cell[terms] = ((ptrdiff_t)kd * a[1].kernel + kh) * a[2].kernel + w->low[2];
        }
    return terms;
}

/* ---- Memory -------------------------------------------------------------------------------------
 */

/* Kernel cells, at most, through which an input place reaches outputs. */
static size_t most_readers(const geometry *g) {
    size_t count = 1;
    for (int i = 0; i < 3; i++) {
        const fv_axis *a = &g->axis[i];
        count *= (size_t)smaller((a->kernel + a->stride - 1) / a->stride, a->out);
    }
    return count;
}

/* Bytes of a list of offsets, of kernel rows or readers. */
static size_t list_bytes(const geometry *g) {
    size_t rows = (size_t)g->axis[0].kernel * (size_t)g->axis[1].kernel, readers = most_readers(g);
    return fv_round_up((rows > readers ? rows : readers) * sizeof(ptrdiff_t), 64);
}

/* Reals of a panel: a place's weights, the batch's gradients, the readers' weights transposed. */
static size_t panel_count(const geometry *g, const fv_setting *setting) {
    size_t depth = (size_t)cell_count(g) * (size_t)g->channels;
    size_t back = most_readers(g) * (size_t)g->filters, batch = (size_t)setting->batch;
    if (setting->training && !setting->frozen && batch > depth)
        depth = batch;
    if (setting->training && setting->input_gradient && back > depth)
        depth = back;
    return depth * (size_t)setting->kernels->panel;
}

static void prepare(const void *options, const fv_shape *inputs, int count, const fv_shape *output,
                    const fv_setting *setting, fv_layer_plan *plan) {
    (void)count;
    const fv_local_options *o = options;
    geometry g = measure(o, inputs);
    fv_activation_prepare(o->activation, fv_shape_count(output), setting, plan);
    plan->keep_input = setting->training && !setting->frozen;
    plan->scratch = 2 * list_bytes(&g) + panel_count(&g, setting) * sizeof(real);
    if (!o->no_bias) /* a copy of one place's, to be read in whole vectors */
        plan->scratch += (size_t)setting->kernels->panel * sizeof(real);
}

/* A pass, as the threads see it. */
typedef struct pass {
    const fv_call *call;
    geometry g;
} pass;

/* A thread's memory. */
typedef struct memory {
    ptrdiff_t *a_offset, *b_offset;
    real *panel, *bias;
} memory;

static memory memory_of(const pass *p, int thread) {
    unsigned char *scratch = p->call->scratch + (size_t)thread * p->call->scratch_stride;
    real *panel = (real *)(scratch + 2 * list_bytes(&p->g));
    return (memory){.a_offset = (ptrdiff_t *)scratch,
                    .b_offset = (ptrdiff_t *)(scratch + list_bytes(&p->g)),
                    .panel = panel,
                    .bias = panel + panel_count(&p->g, p->call->setting)};
}

static int unit_count(int places) {
    return (places + UNIT_PLACES - 1) / UNIT_PLACES;
}

/* ---- Forward ------------------------------------------------------------------------------------
 */

static const real *place_bias(const pass *p, const memory *m, int place, int f, int columns) {
    const fv_call *call = p->call;
    if (!call->weights[1])
        return NULL;
    memset(m->bias, 0, (size_t)call->kernels->panel * sizeof(real));
    memcpy(m->bias, call->weights[1] + (ptrdiff_t)place * p->g.filters + f,
           (size_t)columns * sizeof(real));
    return m->bias;
}

/* Samples are the rows; the place's weights go through the panel as they are met. */
static void forward_place(const pass *p, const memory *m, int place) {
    const geometry *g = &p->g;
    const fv_call *call = p->call;
    const fv_kernels *k = call->kernels;
    window w = window_of(g, place);
    int depth = cell_count(g) * g->channels;
    fv_product product = {.rows = call->samples,
                          .depth = (w.high[2] - w.low[2]) * g->channels,
                          .terms = list_rows(g, &w, m->a_offset, m->b_offset),
                          .a = call->in[0],
                          .a_offset = m->a_offset,
                          .a_row = g->in,
                          .a_column = 1,
                          .b = m->panel,
                          .b_offset = m->b_offset,
                          .b_row = k->panel,
                          .c_row = g->out,
                          .relu = call->activation == FV_RELU};
    for (int t = 0; t < product.terms; t++)
        m->b_offset[t] *= (ptrdiff_t)g->channels * k->panel;
    for (int f = 0; f < g->filters; f += k->panel) {
        product.columns = smaller(g->filters - f, k->panel);
        k->pack(call->weights[0] + place * place_weights(g) + f, g->filters, false, depth,
                product.columns, m->panel);
        product.bias = place_bias(p, m, place, f, product.columns);
        product.c = call->out + (ptrdiff_t)place * g->filters + f;
        k->product(&product);
    }
}

static void forward_unit(void *argument, int unit, int thread) {
    const pass *p = argument;
    memory m = memory_of(p, thread);
    int end = smaller((unit + 1) * UNIT_PLACES, p->g.places);
    for (int place = unit * UNIT_PLACES; place < end; place++)
        forward_place(p, &m, place);
}

static void activate_sample(void *argument, int sample, int thread) {
    (void)thread;
    const pass *p = argument;
    fv_activation_forward(p->call, sample, 1, FV_RELU);
}

static void forward(const fv_call *call) {
    pass p = {.call = call, .g = measure(call->options, call->in_shape[0])};
    fv_pool_run(call->pool, unit_count(p.g.places), forward_unit, &p);
    fv_pool_run(call->pool, call->samples, activate_sample, &p);
}

/* ---- Weight gradient
 * ------------------------------------------------------------------------------
 */

/* dW(place, k) = sum over samples of x^T dy; of cells beyond the input 0. */
static void weight_gradient(const pass *p, const memory *m, int place) {
    const geometry *g = &p->g;
    const fv_call *call = p->call;
    const fv_kernels *k = call->kernels;
    const ptrdiff_t zero = 0;
    window w = window_of(g, place);
    int terms = list_rows(g, &w, m->a_offset, m->b_offset);
    real *dw = call->weight_gradients[0] + place * place_weights(g);
    fv_product product = {.rows = (w.high[2] - w.low[2]) * g->channels,
                          .depth = call->samples,
                          .terms = 1,
                          .a_offset = &zero,
                          .a_row = 1,
                          .a_column = g->in,
                          .b = m->panel,
                          .b_offset = &zero,
                          .b_row = k->panel,
                          .c_row = g->filters};
    if (terms * (w.high[2] - w.low[2]) < cell_count(g))
        memset(dw, 0, (size_t)place_weights(g) * sizeof(real));
    for (int f = 0; f < g->filters; f += k->panel) {
        product.columns = smaller(g->filters - f, k->panel);
        k->pack(call->out_gradient + (ptrdiff_t)place * g->filters + f, g->out, false,
                call->samples, product.columns, m->panel);
        for (int t = 0; t < terms; t++) {
            product.a = call->in[0] + m->a_offset[t];
            product.c = dw + m->b_offset[t] * g->channels * g->filters + f;
            k->product(&product);
        }
    }
}

static void bias_gradient(const pass *p, int place) {
    ptrdiff_t first = (ptrdiff_t)place * p->g.filters;
    real *db = p->call->weight_gradients[1] + first;
    memset(db, 0, (size_t)p->g.filters * sizeof(real));
    p->call->kernels->add_rows((size_t)p->call->samples, p->g.filters, p->g.out,
                               p->call->out_gradient + first, db);
}

static void weight_unit(void *argument, int unit, int thread) {
    const pass *p = argument;
    memory m = memory_of(p, thread);
    int end = smaller((unit + 1) * UNIT_PLACES, p->g.places);
    for (int place = unit * UNIT_PLACES; place < end; place++) {
        weight_gradient(p, &m, place);
        if (p->call->weight_gradients[1])
            bias_gradient(p, place);
    }
}

/* ---- Input gradient
 * -------------------------------------------------------------------------------
 */

/* Output places [first, last] of an axis whose kernels reach input cell `at`. */
static void readers_of(const fv_axis *a, int at, int *first, int *last) {
    int cell = at + a->before, past = cell - a->kernel + 1; /* o stride >= past */
    *first = past > 0 ? (past + a->stride - 1) / a->stride : 0;
    *last = smaller(cell / a->stride, a->out - 1);
}

/* Places that read an input place: where their dy lies, and the weights of the cell that does. */
static int list_readers(const geometry *g, int input, ptrdiff_t *dy, ptrdiff_t *weights) {
    const fv_axis *a = g->axis;
    const int at[3] = {input / a[2].in / a[1].in, input / a[2].in % a[1].in, input % a[2].in};
    int first[3], last[3], terms = 0;
    for (int i = 0; i < 3; i++)
        readers_of(&a[i], at[i], &first[i], &last[i]);
    for (int d = first[0]; d <= last[0]; d++)
        for (int h = first[1]; h <= last[1]; h++)
            for (int w = first[2]; w <= last[2]; w++, terms++) {
                int kd = at[0] + a[0].before - d * a[0].stride;
                int kh = at[1] + a[1].before - h * a[1].stride;
                int kw = at[2] + a[2].before - w * a[2].stride;
                ptrdiff_t place = ((ptrdiff_t)d * a[1].out + h) * a[2].out + w;
                ptrdiff_t cell = ((ptrdiff_t)kd * a[1].kernel + kh) * a[2].kernel + kw;
                dy[terms] = place * g->filters;
                weights[terms] = place * place_weights(g) + cell * g->channels * g->filters;
            }
    return terms;
}

/* dx(input place) = sum over its readers of dy W^T. */
static void input_gradient(const pass *p, const memory *m, int input) {
    const geometry *g = &p->g;
    const fv_call *call = p->call;
    const fv_kernels *k = call->kernels;
    ptrdiff_t block = (ptrdiff_t)g->filters * k->panel;
    fv_product product = {.rows = call->samples,
                          .depth = g->filters,
                          .a = call->out_gradient,
                          .a_offset = m->a_offset,
                          .a_row = g->out,
                          .a_column = 1,
                          .b = m->panel,
                          .b_offset = m->b_offset,
                          .b_row = k->panel,
                          .c_row = g->in};
    for (int c = 0; c < g->channels; c += k->panel) {
        product.columns = smaller(g->channels - c, k->panel);
        product.terms = list_readers(g, input, m->a_offset, m->b_offset);
        for (int t = 0; t < product.terms; t++) {
            k->pack(call->weights[0] + m->b_offset[t] + (ptrdiff_t)c * g->filters, g->filters, true,
                    g->filters, product.columns, m->panel + t * block);
            m->b_offset[t] = t * block;
        }
        product.c = call->in_gradient[0] + (ptrdiff_t)input * g->channels + c;
        k->product(&product);
    }
}

static void input_unit(void *argument, int unit, int thread) {
    const pass *p = argument;
    memory m = memory_of(p, thread);
    int end = smaller((unit + 1) * UNIT_PLACES, p->g.input_places);
    for (int input = unit * UNIT_PLACES; input < end; input++)
        input_gradient(p, &m, input);
}

static void activate_sample_back(void *argument, int sample, int thread) {
    (void)thread;
    const pass *p = argument;
    fv_activation_backward(p->call, sample, 1);
}

static void backward(const fv_call *call) {
    pass p = {.call = call, .g = measure(call->options, call->in_shape[0])};
    fv_pool_run(call->pool, call->samples, activate_sample_back, &p);
    if (call->weight_gradients[0])
        fv_pool_run(call->pool, unit_count(p.g.places), weight_unit, &p);
    if (call->in_gradient[0])
        fv_pool_run(call->pool, unit_count(p.g.input_places), input_unit, &p);
}

const fv_layer_type fv_layer_local = {.name = "local",
                                      .help = "convolution with kernels of its own at each place",
                                      .options_size = sizeof(fv_local_options),
                                      .params = params,
                                      .min_inputs = 1,
                                      .max_inputs = 1,
                                      .whole_batch = true,
                                      .infer = infer,
                                      .prepare = prepare,
                                      .forward = forward,
                                      .backward = backward};
