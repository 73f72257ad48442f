/* Holds convolutions to their oracles (layer_cases.h). */
#include "geometry.h"
#include <stdlib.h>
#include <string.h>

/* ---- What they share --------------------------------------------------------------------------
 */

static int or_one(int value) {
    return value ? value : 1;
}

/* Padding by word and by number exclude each other. */
static bool pads_clash(fv_padding padding, const int pad[3][2], wanted *w) {
    bool clash = false;
    for (int axis = 0; axis < 3; axis++)
        clash |= padding != FV_VALID && (pad[axis][0] > 0 || pad[axis][1] > 0);
    if (clash) {
        w->refusal = FV_INVALID;
        w->says = "exclude";
    }
    return clash;
}

/* Weight and bias of a convolution; `places`: of the output. */
static void want_conv(const layer_case *c, const ref_conv *conv, bool no_bias, wanted *w) {
    size_t cells = (size_t)ref_cells(conv->window.kernel);
    want_weight(w, "weight", ref_conv_weights(conv));
    if (!no_bias)
        want_bias(w, "bias",
                  (size_t)w->output.channels *
                      (size_t)(conv->local ? ref_cells(conv->window.out) : 1));
    w->macs = ref_conv_macs(conv);
    w->terms_z = cells * (size_t)(conv->channels / conv->groups) + 1;
    w->terms_dx = cells * (size_t)(conv->filters / conv->groups);
    w->terms_dw = (size_t)(ref_cells(conv->window.out) * c->samples);
}

/* y with the bias in weight `bias`, of `columns` values. */
static void add_bias(const layer_case *c, const ref_conv *conv, size_t columns, const double *bias,
                     double *y) {
    size_t places = (size_t)(c->samples * ref_cells(conv->window.out));
    ref_bias(places * (size_t)conv->filters / columns, columns, bias, y);
}

static void add_bias_back(const layer_case *c, const ref_conv *conv, size_t columns,
                          const double *dy, double *dbias) {
    size_t places = (size_t)(c->samples * ref_cells(conv->window.out));
    ref_bias_back(places * (size_t)conv->filters / columns, columns, dy, dbias);
}

/* The geometry into options. */
static void put_geometry(const geometry *g, int kernel[3], int stride[3], int dilation[3],
                         int pad[3][2]) {
    memcpy(kernel, g->kernel, sizeof g->kernel);
    memcpy(stride, g->stride, sizeof g->stride);
    memcpy(dilation, g->dilation, sizeof g->dilation);
    memcpy(pad, g->pad, sizeof g->pad);
}

typedef void geometry_case(const oracle *self, numbers *n, const geometry *g, int filters);

/* Each geometry with each number of channels, and `most` numbers of filters for each of them; of
 * these `chosen` quarters of one for a geometry, on average, unless the run is full. */
static void geometry_cases(const oracle *self, geometry_case *run, int chosen, int most) {
    static const int dilations[][3] = {{0}, {0}, {2}, {1, 3, 2}};
    for (int number = 0; number < GEOMETRIES; number++) {
        numbers n = {(uint64_t)number};
        for (int pair = 0; pair < CHANNELS * most; pair++) {
            numbers m = {(uint64_t)number * 1000 + (uint64_t)pair};
            int channels = pair % CHANNELS, row = pair / CHANNELS;
            int filters = (number + 5 * row + 2 * channels) % CHANNELS;
            if (!full_run() && numbers_below(&n, 4 * CHANNELS * most) >= chosen)
                continue;
            geometry g = make_geometry(number, channel_list[channels], false);
            const int *dilation = dilations[numbers_below(&m, 4)];
            for (int axis = 0; axis < g.input.rank; axis++)
                g.dilation[axis] = dilation[axis];
            run(self, &m, &g, channel_list[filters]);
        }
    }
    numbers n = {1};
    for (int i = 0; i < MISFITS; i++)
        run(self, &n, &misfits[i], 4);
    geometry clash = {.input = {1, {9}, 2}, .kernel = {3}, .pad = {{1, 1}}, .padding = FV_SAME};
    run(self, &n, &clash, 4);
}

/* ---- conv ------------------------------------------------------------------------------------ */

static bool table_given(const fv_conv_options *o) {
    bool given = false;
    for (int f = 0; f < FV_MOST_TABLE; f++)
        given |= o->table[f] != 0;
    return given;
}

/* Each filter sees a channel, and only channels that there are. */
static bool table_fits(const layer_case *c, const fv_conv_options *o) {
    int channels = c->inputs[0].channels;
    bool fits = o->filters <= FV_MOST_TABLE && channels <= FV_MOST_TABLE && o->groups <= 1;
    for (int f = 0; f < FV_MOST_TABLE; f++) {
        fits = fits && (o->table[f] != 0) == (f < o->filters);
        for (int k = channels; k < FV_MOST_TABLE; k++)
            fits = fits && !(o->table[f] >> k & 1);
    }
    return fits;
}

static bool conv_of(const layer_case *c, ref_conv *conv) {
    const fv_conv_options *o = c->options;
    *conv = (ref_conv){.samples = c->samples,
                       .channels = c->inputs[0].channels,
                       .filters = o->filters,
                       .groups = or_one(o->groups),
                       .table = table_given(o) ? o->table : NULL};
    return ref_conv_window(&c->inputs[0], o, &conv->window) && conv->channels % conv->groups == 0 &&
           conv->filters % conv->groups == 0 && (!conv->table || table_fits(c, o));
}

static bool conv_infer(const layer_case *c, wanted *w) {
    const fv_conv_options *o = c->options;
    ref_conv conv;
    if (pads_clash(o->padding, o->pad, w) || !conv_of(c, &conv))
        return false;
    w->output = ref_window_output(&conv.window, o->filters);
    w->activation = o->activation;
    want_conv(c, &conv, o->no_bias, w);
    return true;
}

static void conv_forward(const layer_case *c, sums *v) {
    const fv_conv_options *o = c->options;
    ref_conv conv;
    conv_of(c, &conv);
    ref_conv_forward(&conv, v->x[0], v->w[0], v->z);
    if (!o->no_bias)
        add_bias(c, &conv, (size_t)o->filters, v->w[1], v->z);
}

static void conv_backward(const layer_case *c, sums *v) {
    const fv_conv_options *o = c->options;
    ref_conv conv;
    conv_of(c, &conv);
    ref_conv_back(&conv, v->dz, v->w[0], v->dx[0]);
    ref_conv_weights_back(&conv, v->x[0], v->dz, v->dw[0]);
    if (!o->no_bias)
        add_bias_back(c, &conv, (size_t)o->filters, v->dz, v->dw[1]);
}

/* Groups are 1 for a half; then 2, 3, one for each channel, or a number that may not divide. */
static int some_groups(numbers *n, geometry *g, int *filters) {
    int kind = numbers_below(n, 40), groups = kind < 20   ? 0
                                              : kind < 26 ? 2
                                              : kind < 32 ? 3
                                              : kind < 39 ? g->input.channels
                                                          : 5;
    if (kind >= 20 && kind < 32) {
        g->input.channels *= groups;
        *filters *= groups;
    } else if (kind < 39 && groups > 1)
        *filters = groups * (1 + numbers_below(n, 3));
    return groups;
}

static void conv_case(const oracle *self, numbers *n, const geometry *given, int filters,
                      bool any_work) {
    geometry g = *given;
    fv_conv_options o = {.activation = some_activation(n),
                         .padding = g.padding,
                         .no_bias = numbers_below(n, 3) == 0};
    if (any_work && numbers_below(n, 4)) /* others make the oracle of a large case slow */
        o.activation = numbers_below(n, 2) ? FV_RELU : FV_LINEAR;
    o.groups = any_work ? 0 : some_groups(n, &g, &filters);
    o.filters = filters;
    put_geometry(&g, o.kernel, o.stride, o.dilation, o.pad);
    layer_case c = make_case(self, n, &o, &g.input);
    c.any_work = any_work;
    char text[192];
    check_case(&c, "%d filters of %d groups, %s, %s%s", filters, o.groups, geometry_text(&g, text),
               fv_activation_names[o.activation], o.no_bias ? ", no bias" : "");
}

static void conv_geometry_case(const oracle *self, numbers *n, const geometry *g, int filters) {
    conv_case(self, n, g, filters, false);
}

/* The shapes of the lecture's nets and a few larger ones, where other algorithms pay. */
static void conv_lecture_cases(const oracle *self, numbers *n) {
    static const struct {
        int size[2], channels, filters, kernel;
        fv_padding padding;
    } list[] = {
        {{28, 28}, 1, 32, 3, FV_VALID}, {{26, 26}, 32, 64, 3, FV_VALID},
        {{28, 28}, 1, 32, 5, FV_SAME},  {{14, 14}, 32, 64, 5, FV_SAME},
        {{15, 17}, 33, 40, 3, FV_SAME}, {{12, 31}, 16, 48, 5, FV_VALID},
        {{16, 16}, 64, 64, 3, FV_SAME}, {{20, 9}, 64, 17, 1, FV_VALID},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        geometry g = {.input = {2, {list[i].size[0], list[i].size[1]}, list[i].channels},
                      .kernel = {list[i].kernel},
                      .padding = list[i].padding};
        conv_case(self, n, &g, list[i].filters, true);
    }
}

/* Square kernels in the plane at stride 1, where Winograd's algorithm may be chosen: tiles that fit
 * the output and that do not, with padding and without. */
static void conv_plane_cases(const oracle *self, numbers *n) {
    static const int sizes[] = {3, 4, 6, 7, 10, 13, 14, 18};
    static const int channels[][2] = {{16, 16}, {24, 64}, {48, 32}, {64, 48}};
    static const int pads[2][2] = {{0, 1}, {2, 1}};
    for (int i = 0; i < 8; i++)
        for (int variant = 0; variant < 3 * 4 * 2; variant++) {
            int pair = variant % 4, padding = variant / 4 % 3;
            geometry g = {.input = {2, {sizes[i], sizes[(i + 3 * variant) % 8]}, channels[pair][0]},
                          .kernel = {variant < 12 ? 3 : 5},
                          .padding = padding == 1 ? FV_SAME : FV_VALID};
            if (padding == 2)
                memcpy(g.pad, pads, sizeof pads);
            if (full_run() || variant % 2 == i % 2)
                conv_case(self, n, &g, channels[pair][1], true);
        }
}

/* Connection tables, some of which do not fit. */
static void conv_table_cases(const oracle *self) {
    for (int i = 0; i < (full_run() ? 400 : 60); i++) {
        numbers n = {(uint64_t)i};
        fv_shape input = {1 + i % 3, {6, 5, 4}, channel_list[numbers_below(&n, CHANNELS)]};
        fv_conv_options o = {.filters = channel_list[numbers_below(&n, CHANNELS)],
                             .kernel = {1 + numbers_below(&n, 3)},
                             .stride = {1 + numbers_below(&n, 2)},
                             .padding = numbers_below(&n, 2) ? FV_SAME : FV_VALID,
                             .activation = some_activation(&n),
                             .no_bias = numbers_below(&n, 2)};
        uint64_t all = input.channels < 64 ? ((uint64_t)1 << input.channels) - 1 : UINT64_MAX;
        for (int f = 0; f < o.filters; f++)
            o.table[f] = (numbers_next(&n) & all) | (uint64_t)1
                                                        << numbers_below(&n, input.channels);
        int wrong = numbers_below(&n, 12);
        if (wrong == 0)
            o.table[numbers_below(&n, o.filters)] = 0;
        else if (wrong == 1 && input.channels < 64)
            o.table[0] |= (uint64_t)1 << input.channels;
        else if (wrong == 2)
            o.groups = 2;
        layer_case c = make_case(self, &n, &o, &input);
        check_case(&c, "table %d for %d filters, kernel %d, stride %d", i, o.filters, o.kernel[0],
                   o.stride[0]);
    }
}

static void conv_cases(const oracle *self) {
    geometry_cases(self, conv_geometry_case, 2, 3);
    for (int i = 0; i < 20; i++) {
        geometry g = {.input = {i % 10 ? 1 : 2, {3 + i, 4}, channel_list[i % CHANNELS]},
                      .kernel = {1 + i % 4},
                      .dilation = {1 + i % 3},
                      .stride = {1 + i / 10},
                      .padding = FV_CAUSAL};
        conv_case(self, &(numbers){(uint64_t)i}, &g, channel_list[(i + 3) % CHANNELS], false);
    }
    numbers n = {1};
    conv_lecture_cases(self, &n);
    conv_plane_cases(self, &n);
    conv_table_cases(self);
}

/* ---- depthwise_conv ---------------------------------------------------------------------------
 */

/* The options of the depthwise convolution in them, as those of a convolution in groups. */
static bool depthwise_of(const layer_case *c, const fv_depthwise_conv_options *o, ref_conv *conv) {
    fv_conv_options window = {.padding = o->padding};
    memcpy(window.kernel, o->kernel, sizeof window.kernel);
    memcpy(window.stride, o->stride, sizeof window.stride);
    memcpy(window.dilation, o->dilation, sizeof window.dilation);
    memcpy(window.pad, o->pad, sizeof window.pad);
    int channels = c->inputs[0].channels;
    *conv = (ref_conv){.samples = c->samples,
                       .channels = channels,
                       .filters = channels * or_one(o->multiplier),
                       .groups = channels};
    return ref_conv_window(&c->inputs[0], &window, &conv->window);
}

static bool depthwise_conv_infer(const layer_case *c, wanted *w) {
    const fv_depthwise_conv_options *o = c->options;
    ref_conv conv;
    if (pads_clash(o->padding, o->pad, w) || !depthwise_of(c, o, &conv))
        return false;
    w->output = ref_window_output(&conv.window, conv.filters);
    w->activation = o->activation;
    want_conv(c, &conv, o->no_bias, w);
    return true;
}

static void depthwise_conv_forward(const layer_case *c, sums *v) {
    const fv_depthwise_conv_options *o = c->options;
    ref_conv conv;
    depthwise_of(c, o, &conv);
    ref_conv_forward(&conv, v->x[0], v->w[0], v->z);
    if (!o->no_bias)
        add_bias(c, &conv, (size_t)conv.filters, v->w[1], v->z);
}

static void depthwise_conv_backward(const layer_case *c, sums *v) {
    const fv_depthwise_conv_options *o = c->options;
    ref_conv conv;
    depthwise_of(c, o, &conv);
    ref_conv_back(&conv, v->dz, v->w[0], v->dx[0]);
    ref_conv_weights_back(&conv, v->x[0], v->dz, v->dw[0]);
    if (!o->no_bias)
        add_bias_back(c, &conv, (size_t)conv.filters, v->dz, v->dw[1]);
}

static void depthwise_conv_case(const oracle *self, numbers *n, const geometry *g, int filters) {
    fv_depthwise_conv_options o = {.activation = some_activation(n),
                                   .padding = g->padding,
                                   .multiplier = filters % 4,
                                   .no_bias = numbers_below(n, 3) == 0};
    put_geometry(g, o.kernel, o.stride, o.dilation, o.pad);
    layer_case c = make_case(self, n, &o, &g->input);
    char text[192];
    check_case(&c, "multiplier %d, %s, %s%s", o.multiplier, geometry_text(g, text),
               fv_activation_names[o.activation], o.no_bias ? ", no bias" : "");
}

static void depthwise_conv_cases(const oracle *self) {
    geometry_cases(self, depthwise_conv_case, 2, 1);
}

/* ---- separable_conv ---------------------------------------------------------------------------
 */

static bool separable_of(const layer_case *c, ref_conv *first, ref_conv *second) {
    const fv_separable_conv_options *o = c->options;
    fv_depthwise_conv_options depthwise = {.multiplier = o->multiplier, .padding = o->padding};
    memcpy(depthwise.kernel, o->kernel, sizeof depthwise.kernel);
    memcpy(depthwise.stride, o->stride, sizeof depthwise.stride);
    memcpy(depthwise.dilation, o->dilation, sizeof depthwise.dilation);
    memcpy(depthwise.pad, o->pad, sizeof depthwise.pad);
    if (!depthwise_of(c, &depthwise, first))
        return false;
    *second = (ref_conv){
        .samples = c->samples, .channels = first->filters, .filters = o->filters, .groups = 1};
    fv_shape middle = ref_window_output(&first->window, first->filters);
    return ref_conv_window(&middle, &(fv_conv_options){.kernel = {1}}, &second->window);
}

static bool separable_conv_infer(const layer_case *c, wanted *w) {
    const fv_separable_conv_options *o = c->options;
    ref_conv first, second;
    if (pads_clash(o->padding, o->pad, w) || !separable_of(c, &first, &second))
        return false;
    size_t cells = (size_t)ref_cells(first.window.kernel), filters = (size_t)o->filters;
    w->output = ref_window_output(&second.window, o->filters);
    w->activation = o->activation;
    want_weight(w, "depthwise_weight", ref_conv_weights(&first));
    want_weight(w, "weight", ref_conv_weights(&second));
    if (!o->no_bias)
        want_bias(w, "bias", filters);
    w->macs = ref_conv_macs(&first) + ref_conv_macs(&second);
    w->terms_z = cells + (size_t)first.filters + 1;
    w->terms_dx = filters + cells * (size_t)(first.filters / first.channels);
    w->terms_dw = filters + cells + (size_t)(ref_cells(first.window.out) * c->samples);
    return true;
}

static size_t middle_values(const ref_conv *second) {
    return (size_t)second->samples * (size_t)(ref_cells(second->window.in) * second->channels);
}

static void separable_conv_forward(const layer_case *c, sums *v) {
    const fv_separable_conv_options *o = c->options;
    ref_conv first, second;
    separable_of(c, &first, &second);
    double *middle = new_doubles(middle_values(&second));
    ref_conv_forward(&first, v->x[0], v->w[0], middle);
    ref_conv_forward(&second, middle, v->w[1], v->z);
    if (!o->no_bias)
        add_bias(c, &second, (size_t)o->filters, v->w[2], v->z);
    free(middle);
}

static void separable_conv_backward(const layer_case *c, sums *v) {
    const fv_separable_conv_options *o = c->options;
    ref_conv first, second;
    separable_of(c, &first, &second);
    double *middle = new_doubles(middle_values(&second));
    double *dmiddle = new_doubles(middle_values(&second));
    ref_conv_forward(&first, v->x[0], v->w[0], middle);
    ref_conv_weights_back(&second, middle, v->dz, v->dw[1]);
    ref_conv_back(&second, v->dz, v->w[1], dmiddle);
    ref_conv_weights_back(&first, v->x[0], dmiddle, v->dw[0]);
    ref_conv_back(&first, dmiddle, v->w[0], v->dx[0]);
    if (!o->no_bias)
        add_bias_back(c, &second, (size_t)o->filters, v->dz, v->dw[2]);
    free(middle);
    free(dmiddle);
}

static void separable_conv_case(const oracle *self, numbers *n, const geometry *g, int filters) {
    fv_separable_conv_options o = {.filters = filters,
                                   .activation = some_activation(n),
                                   .padding = g->padding,
                                   .multiplier = numbers_below(n, 4),
                                   .no_bias = numbers_below(n, 3) == 0};
    put_geometry(g, o.kernel, o.stride, o.dilation, o.pad);
    layer_case c = make_case(self, n, &o, &g->input);
    char text[192];
    check_case(&c, "%d filters, multiplier %d, %s, %s%s", filters, o.multiplier,
               geometry_text(g, text), fv_activation_names[o.activation],
               o.no_bias ? ", no bias" : "");
}

static void separable_conv_cases(const oracle *self) {
    geometry_cases(self, separable_conv_case, 1, 1);
}

/* ---- conv_transpose ---------------------------------------------------------------------------
 */

/* The convolution that goes from the output back to the input. */
static bool transpose_of(const layer_case *c, ref_conv *conv) {
    const fv_conv_transpose_options *o = c->options;
    *conv = (ref_conv){.samples = c->samples,
                       .channels = o->filters,
                       .filters = c->inputs[0].channels,
                       .groups = or_one(o->groups)};
    return ref_transpose_window(&c->inputs[0], o, &conv->window) &&
           conv->channels % conv->groups == 0 && conv->filters % conv->groups == 0;
}

/* As large as the stride it is refused whatever the shape. */
static void want_output_pad(const layer_case *c, const ref_window *window, wanted *w) {
    const fv_conv_transpose_options *o = c->options;
    for (int axis = 0; axis < c->inputs[0].rank && !w->says; axis++) {
        int pad = o->output_pad[axis] ? o->output_pad[axis] : o->output_pad[0];
        int stride = o->stride[axis] ? o->stride[axis] : or_one(o->stride[0]);
        if (pad >= stride && pad > 0) {
            w->refusal = FV_INVALID;
            w->says = "output_pad";
        } else if (window->in[axis] < 1)
            return; /* refused for the shape before the next axis is looked at */
    }
}

static bool conv_transpose_infer(const layer_case *c, wanted *w) {
    const fv_conv_transpose_options *o = c->options;
    ref_conv conv;
    if (pads_clash(o->padding, o->pad, w))
        return false;
    if (!transpose_of(c, &conv)) {
        want_output_pad(c, &conv.window, w);
        return false;
    }
    w->output = c->inputs[0];
    w->output.channels = o->filters;
    for (int axis = 0; axis < w->output.rank; axis++)
        w->output.size[axis] = conv.window.in[axis];
    w->activation = o->activation;
    want_conv(c, &conv, o->no_bias, w);
    size_t cells = (size_t)ref_cells(conv.window.kernel);
    w->terms_z = cells * (size_t)(conv.filters / conv.groups) + 1;
    w->terms_dx = cells * (size_t)(conv.channels / conv.groups);
    w->terms_dw = (size_t)(ref_cells(conv.window.in) * c->samples);
    return true;
}

static void conv_transpose_forward(const layer_case *c, sums *v) {
    const fv_conv_transpose_options *o = c->options;
    ref_conv conv;
    transpose_of(c, &conv);
    ref_conv_back(&conv, v->x[0], v->w[0], v->z);
    if (!o->no_bias)
        ref_bias((size_t)(c->samples * ref_cells(conv.window.in)), (size_t)o->filters, v->w[1],
                 v->z);
}

static void conv_transpose_backward(const layer_case *c, sums *v) {
    const fv_conv_transpose_options *o = c->options;
    ref_conv conv;
    transpose_of(c, &conv);
    ref_conv_forward(&conv, v->dz, v->w[0], v->dx[0]);
    ref_conv_weights_back(&conv, v->dz, v->x[0], v->dw[0]);
    if (!o->no_bias)
        ref_bias_back((size_t)(c->samples * ref_cells(conv.window.in)), (size_t)o->filters, v->dz,
                      v->dw[1]);
}

static void conv_transpose_case(const oracle *self, numbers *n, const geometry *given,
                                int filters) {
    geometry g = *given;
    fv_conv_transpose_options o = {.activation = some_activation(n),
                                   .padding = g.padding == FV_VALID ? FV_VALID : FV_SAME,
                                   .no_bias = numbers_below(n, 3) == 0};
    o.groups = some_groups(n, &g, &filters);
    o.filters = filters;
    put_geometry(&g, o.kernel, o.stride, o.dilation, o.pad);
    for (int axis = 0; axis < g.input.rank && o.padding == FV_VALID; axis++) {
        int stride = g.stride[axis] ? g.stride[axis] : or_one(g.stride[0]);
        o.output_pad[axis] = numbers_below(n, 2) ? numbers_below(n, stride) : 0;
    }
    layer_case c = make_case(self, n, &o, &g.input);
    char texts[2][192];
    check_case(&c, "%d filters of %d groups, %s, output_pad %s, %s%s", filters, o.groups,
               geometry_text(&g, texts[0]), sizes_text(o.output_pad, texts[1]),
               fv_activation_names[o.activation], o.no_bias ? ", no bias" : "");
}

static void conv_transpose_cases(const oracle *self) {
    geometry_cases(self, conv_transpose_case, 2, 1);
}

/* ---- local ------------------------------------------------------------------------------------
 */

static bool local_of(const layer_case *c, ref_conv *conv) {
    const fv_local_options *o = c->options;
    fv_conv_options window = {.padding = o->padding};
    memcpy(window.kernel, o->kernel, sizeof window.kernel);
    memcpy(window.stride, o->stride, sizeof window.stride);
    memcpy(window.pad, o->pad, sizeof window.pad);
    *conv = (ref_conv){.samples = c->samples,
                       .channels = c->inputs[0].channels,
                       .filters = o->filters,
                       .groups = 1,
                       .local = true};
    return ref_conv_window(&c->inputs[0], &window, &conv->window);
}

static bool local_infer(const layer_case *c, wanted *w) {
    const fv_local_options *o = c->options;
    ref_conv conv;
    if (pads_clash(o->padding, o->pad, w) || !local_of(c, &conv))
        return false;
    w->output = ref_window_output(&conv.window, o->filters);
    w->activation = o->activation;
    w->refuses_any = true;
    want_conv(c, &conv, o->no_bias, w);
    return true;
}

static size_t local_biases(const ref_conv *conv) {
    return (size_t)(ref_cells(conv->window.out) * conv->filters);
}

static void local_forward(const layer_case *c, sums *v) {
    ref_conv conv;
    local_of(c, &conv);
    ref_conv_forward(&conv, v->x[0], v->w[0], v->z);
    if (!((const fv_local_options *)c->options)->no_bias)
        add_bias(c, &conv, local_biases(&conv), v->w[1], v->z);
}

static void local_backward(const layer_case *c, sums *v) {
    ref_conv conv;
    local_of(c, &conv);
    ref_conv_back(&conv, v->dz, v->w[0], v->dx[0]);
    ref_conv_weights_back(&conv, v->x[0], v->dz, v->dw[0]);
    if (!((const fv_local_options *)c->options)->no_bias)
        add_bias_back(c, &conv, local_biases(&conv), v->dz, v->dw[1]);
}

static void local_case(const oracle *self, numbers *n, const geometry *g, int filters) {
    fv_local_options o = {.filters = filters,
                          .activation = some_activation(n),
                          .padding = g->padding,
                          .no_bias = numbers_below(n, 3) == 0};
    memcpy(o.kernel, g->kernel, sizeof o.kernel);
    memcpy(o.stride, g->stride, sizeof o.stride);
    memcpy(o.pad, g->pad, sizeof o.pad);
    layer_case c = make_case(self, n, &o, &g->input);
    geometry without = *g;
    memset(without.dilation, 0, sizeof without.dilation);
    char text[192];
    check_case(&c, "%d filters, %s, %s%s", filters, geometry_text(&without, text),
               fv_activation_names[o.activation], o.no_bias ? ", no bias" : "");
}

static void local_cases(const oracle *self) {
    geometry_cases(self, local_case, 1, 1);
}

/* ---- The list -------------------------------------------------------------------------------- */

#define CONVOLUTION(name)                                                                          \
    {                                                                                              \
        .type = #name, .cases = name##_cases, .infer = name##_infer, .forward = name##_forward,    \
        .backward = name##_backward                                                                \
    }

static const oracle oracles[] = {CONVOLUTION(conv), CONVOLUTION(depthwise_conv),
                                 CONVOLUTION(separable_conv), CONVOLUTION(conv_transpose),
                                 CONVOLUTION(local)};

int main(void) {
    return run_family("conv", oracles, sizeof oracles / sizeof oracles[0]);
}
