/* ONNX nodes of normalisations: by an operator where ONNX has one of the same meaning, else by its
 * formula. Called by export.c by its table. */
#include "formats/onnx/export.h"
#include "layers/meaning.h"

/* ---- Parts ---------------------------------------------------------------------------------- */

/* `count` times the value. */
static int repeated(fv_export_graph *g, const char *word, int count, float value) {
    const size_t size[] = {(size_t)count};
    float *floats = g->status ? NULL : fv_alloc(size[0], sizeof *floats);
    for (int i = 0; floats && i < count; i++)
        floats[i] = value;
    return fv_export_floats(g, word, 1, size, floats);
}

/* x times the layer's scale plus its bias, where it has them. */
static int scale_and_shift(const fv_export_call *c, int x) {
    int rank = c->node->output.rank;
    if (fv_export_find_weight(c, "weight"))
        x = fv_export_2(c->graph, "Mul", x, fv_export_channel_weight(c, "weight", rank));
    if (fv_export_find_weight(c, "bias"))
        x = fv_export_2(c->graph, "Add", x, fv_export_channel_weight(c, "bias", rank));
    return x;
}

/* The weight, or as many ones or zeros where the layer has none. */
static int weight_or(const fv_export_call *c, const char *name, int count, float value) {
    return fv_export_find_weight(c, name) ? fv_export_weight_in(c, name)
                                          : repeated(c->graph, name, count, value);
}

static int square(fv_export_graph *g, int x) {
    return fv_export_2(g, "Mul", x, x);
}

/* Back to the sizes that `like` has. */
static int reshape_like(fv_export_graph *g, int x, int like) {
    return fv_export_2(g, "Reshape", x, fv_export_1(g, "Shape", like));
}

/* ---- Over the batch ------------------------------------------------------------------------- */

int fv_export_batch_norm(const fv_export_call *c) {
    fv_export_graph *g = c->graph;
    int channels = c->node->output.channels;
    int inputs[5] = {fv_export_in(c, 0)};
    inputs[1] = weight_or(c, "weight", channels, 1);
    inputs[2] = weight_or(c, "bias", channels, 0);
    inputs[3] = fv_export_weight_in(c, "running_mean");
    inputs[4] = fv_export_weight_in(c, "running_var");
    int y = fv_export_node_of(g, "BatchNormalization", 5, inputs);
    fv_export_set_number(g, "epsilon", fv_batch_norm_epsilon(c->node->options));
    return y;
}

/* ---- Over channels or all values of a sample ------------------------------------------------ */

static int layer_normalization(const fv_export_call *c, int x, int axis, int weight, int bias) {
    const fv_layer_norm_options *o = c->node->options;
    fv_export_graph *g = c->graph;
    int inputs[] = {x, weight, bias};
    int y = fv_export_node_of(g, "LayerNormalization", bias == FV_EXPORT_NONE ? 2 : 3, inputs);
    fv_export_set(g, "axis", axis);
    fv_export_set_number(g, "epsilon", fv_norm_epsilon(o->epsilon, o->formula));
    return y;
}

/* Over all values of a sample, as the instances of one channel, where no scale says the sizes. */
static int normalize_all(const fv_export_call *c) {
    const fv_layer_norm_options *o = c->node->options;
    fv_export_graph *g = c->graph;
    int x = fv_export_in(c, 0), one = fv_export_reshape(g, x, 3, (const int64_t[]){0, 1, -1});
    int scale = repeated(g, "weight", 1, 1), bias = repeated(g, "bias", 1, 0);
    int y = fv_export_3(g, "InstanceNormalization", one, scale, bias);
    fv_export_set_number(g, "epsilon", fv_norm_epsilon(o->epsilon, o->formula));
    y = reshape_like(g, y, x);
    return o->no_bias ? y : fv_export_2(g, "Add", y, fv_export_weight_in(c, "bias"));
}

int fv_export_layer_norm(const fv_export_call *c) {
    const fv_layer_norm_options *o = c->node->options;
    const fv_shape *shape = &c->node->output;
    int rank = o->all ? 0 : shape->rank; /* axes that the channels must come behind */
    if (o->all && o->no_scale)
        return normalize_all(c);
    int x = fv_export_channels_last(c->graph, fv_export_in(c, 0), rank);
    int weight = weight_or(c, "weight", shape->channels, 1), bias = fv_export_weight_in(c, "bias");
    int y = layer_normalization(c, x, 1 + rank, weight, bias);
    return fv_export_channels_first(c->graph, y, rank);
}

/* x / sqrt(mean over the channels of x^2 + epsilon) */
int fv_export_rms_norm(const fv_export_call *c) {
    const fv_rms_norm_options *o = c->node->options;
    fv_export_graph *g = c->graph;
    int x = fv_export_in(c, 0);
    int mean = fv_export_reduce(g, "ReduceMean", square(g, x), 1);
    int sum = fv_export_2(g, "Add", mean, fv_export_number(g, o->epsilon != 0 ? o->epsilon : 1e-6));
    return scale_and_shift(c, fv_export_2(g, "Div", x, fv_export_1(g, "Sqrt", sum)));
}

/* x / sqrt(max(sum over the channels of x^2, epsilon)) */
int fv_export_l2_normalize(const fv_export_call *c) {
    const fv_l2_normalize_options *o = c->node->options;
    fv_export_graph *g = c->graph;
    int x = fv_export_in(c, 0);
    int sum = fv_export_reduce(g, "ReduceSum", square(g, x), 1);
    int most =
        fv_export_2(g, "Max", sum, fv_export_number(g, o->epsilon != 0 ? o->epsilon : 1e-12));
    return fv_export_2(g, "Div", x, fv_export_1(g, "Sqrt", most));
}

/* ---- Of groups of channels ------------------------------------------------------------------ */

/* Each group as one channel. */
static int normalize_groups(const fv_export_call *c, int groups, double epsilon) {
    fv_export_graph *g = c->graph;
    int x = fv_export_in(c, 0);
    int parts = fv_export_reshape(g, x, 3, (const int64_t[]){0, groups, -1});
    int scale = repeated(g, "weight", groups, 1), bias = repeated(g, "bias", groups, 0);
    int y = fv_export_3(g, "InstanceNormalization", parts, scale, bias);
    fv_export_set_number(g, "epsilon", epsilon);
    return scale_and_shift(c, reshape_like(g, y, x));
}

int fv_export_group_norm(const fv_export_call *c) {
    const fv_group_norm_options *o = c->node->options;
    return normalize_groups(c, o->groups ? o->groups : 32, fv_norm_epsilon(o->epsilon, o->formula));
}

int fv_export_instance_norm(const fv_export_call *c) {
    const fv_instance_norm_options *o = c->node->options;
    double epsilon = fv_norm_epsilon(o->epsilon, o->formula);
    int channels = c->node->output.channels;
    if (c->node->output.rank == 0)
        return normalize_groups(c, channels, epsilon);
    int x = fv_export_in(c, 0), weight = weight_or(c, "weight", channels, 1);
    int bias = weight_or(c, "bias", channels, 0);
    int y = fv_export_3(c->graph, "InstanceNormalization", x, weight, bias);
    fv_export_set_number(c->graph, "epsilon", epsilon);
    return y;
}

/* ---- By neighbouring channels --------------------------------------------------------------- */

/* The sum of x^2 over the window of each channel is the mean over it, times its size, of a picture
 * whose rows are the channels. */
static int lrn_by_formula(const fv_export_call *c, const fv_lrn_window *l) {
    fv_export_graph *g = c->graph;
    int64_t size = (int64_t)l->before + l->after + 1;
    int x = fv_export_in(c, 0), all = square(g, x);
    int rows = fv_export_reshape(g, all, 4, (const int64_t[]){0, 1, l->channels, -1});
    int mean = fv_export_1(g, "AveragePool", rows);
    fv_export_set_all(g, "kernel_shape", 2, (const int64_t[]){size, 1});
    fv_export_set_all(g, "pads", 4, (const int64_t[]){l->before, 0, l->after, 0});
    fv_export_set(g, "count_include_pad", 1);
    int sum = fv_export_2(g, "Mul", mean, fv_export_number(g, (double)l->alpha * (double)size));
    int base = fv_export_2(g, "Add", sum, fv_export_number(g, (double)l->k));
    int power = fv_export_2(g, "Pow", base, fv_export_number(g, (double)l->beta));
    return fv_export_2(g, "Div", x, reshape_like(g, power, x));
}

/* ONNX divides alpha by the size. ONNX Runtime has it for pictures and odd sizes only. */
int fv_export_lrn(const fv_export_call *c) {
    fv_lrn_window l = fv_lrn_of(c->node->options, c->node->output.channels);
    fv_export_graph *g = c->graph;
    int64_t size = (int64_t)l.before + l.after + 1;
    if (size % 2 == 0 || c->node->output.rank != 2)
        return lrn_by_formula(c, &l);
    int y = fv_export_1(g, "LRN", fv_export_in(c, 0));
    fv_export_set(g, "size", size);
    fv_export_set_number(g, "alpha", (double)l.alpha * (double)size);
    fv_export_set_number(g, "beta", (double)l.beta);
    fv_export_set_number(g, "bias", (double)l.k);
    return y;
}
