/* ONNX nodes of what slides over its input: windows with their padding, the convolutions, LeNet-5's
 * sub-sampling. Weights are in files as ONNX wants them. Called by export.c by its table. */
#include "formats/onnx/export.h"
#include "formats/onnx/windows.h"
#include "layers/conv.h"
#include "layers/meaning.h"
#include <string.h>

/* ---- Windows -------------------------------------------------------------------------------- */

/* Cells from a kernel's first to its last. */
static int reach(const fv_axis *axis) {
    return axis->dilation * (axis->kernel - 1) + 1;
}

/* fv_slide() leaves the padding of an axis open whose size varies. With a step of 1 it does not
 * depend on the size. */
static bool pad_varying(fv_axis *axis, fv_padding padding) {
    int total = reach(axis) - 1;
    if (axis->in != FV_ANY || padding == FV_VALID)
        return true;
    axis->before = padding == FV_CAUSAL ? total
                   : padding == FV_SAME ? total / 2
                                        : total - total / 2;
    axis->after = total - axis->before;
    return padding == FV_CAUSAL || axis->stride == 1;
}

bool fv_export_window_of(const fv_export_call *c, const fv_slide_options *options,
                         fv_export_window *window) {
    const fv_shape *input = fv_export_shape_in(c, 0);
    bool dilated = false;
    *window = (fv_export_window){.rank = input->rank};
    fv_slide(input, options, window->axes); /* the layer has checked it */
    for (int i = 0; i < input->rank; i++) {
        dilated = dilated || window->axes[i].dilation > 1;
        if (!pad_varying(&window->axes[i], options->padding))
            window->automatic = options->padding == FV_SAME ? "SAME_UPPER" : "SAME_LOWER";
    }
    if (!window->automatic || !dilated)
        return true;
    fv_export_refuse(c,
                     "padding=%s with a stride, a dilation and an input whose size varies (give "
                     "the input fixed sizes)",
                     fv_padding_names[options->padding]);
    return false;
}

void fv_export_set_window(fv_export_graph *g, const fv_export_window *w, bool dilation) {
    int64_t kernel[3], stride[3], dilations[3], pads[6];
    for (int i = 0; i < w->rank; i++) {
        kernel[i] = w->axes[i].kernel;
        stride[i] = w->axes[i].stride;
        dilations[i] = w->axes[i].dilation;
        pads[i] = w->axes[i].before;
        pads[w->rank + i] = w->axes[i].after;
    }
    fv_export_set_all(g, "kernel_shape", w->rank, kernel);
    fv_export_set_all(g, "strides", w->rank, stride);
    if (dilation)
        fv_export_set_all(g, "dilations", w->rank, dilations);
    if (w->automatic)
        fv_export_set_text(g, "auto_pad", w->automatic);
    else
        fv_export_set_all(g, "pads", 2 * w->rank, pads);
}

int fv_export_pad(fv_export_graph *g, int x, int rank, const fv_axis *axes) {
    int64_t pads[10] = {0};
    for (int i = 0; i < rank; i++) {
        pads[2 + i] = axes[i].before;
        pads[rank + 4 + i] = axes[i].after;
    }
    return fv_export_2(g, "Pad", x, fv_export_list(g, 2 * (rank + 2), pads));
}

/* ---- Convolutions --------------------------------------------------------------------------- */

/* Conv of x; bias FV_EXPORT_NONE: without. */
static int convolve(const fv_export_call *c, const fv_export_window *window, int64_t groups, int x,
                    int weight, int bias) {
    fv_export_graph *g = c->graph;
    int inputs[] = {x, weight, bias};
    int y = fv_export_node_of(g, "Conv", bias == FV_EXPORT_NONE ? 2 : 3, inputs);
    fv_export_set_window(g, window, true);
    fv_export_set(g, "group", groups);
    return y;
}

/* The links' kernels as those of a convolution that sees all channels, zero where there is no link.
 */
static int table_weight(const fv_export_call *c, const fv_conv_options *o) {
    const fv_weight *weight = fv_export_find_weight(c, "weight");
    const fv_weight_spec *spec = &weight->spec;
    size_t channels = (size_t)fv_export_shape_in(c, 0)->channels, filters = (size_t)o->filters;
    size_t cells = weight->count / spec->size[0];
    size_t size[5] = {filters, channels};
    for (int i = 1; i < spec->rank; i++)
        size[1 + i] = spec->size[i];
    float *links = fv_export_values(c, "weight");
    float *dense = links ? fv_alloc(filters * channels, cells * sizeof *dense) : NULL;
    if (dense) {
        const float *next = links;
        for (size_t f = 0; f < filters; f++)
            for (size_t k = 0; k < channels; k++)
                if (o->table[f] >> k & 1) {
                    memcpy(dense + (f * channels + k) * cells, next, cells * sizeof *dense);
                    next += cells;
                }
    }
    fv_free(links);
    return fv_export_floats(c->graph, "weight", spec->rank + 1, size, dense);
}

static int conv(const fv_export_call *c, const fv_conv_options *o) {
    fv_export_window window;
    if (!fv_export_window_of(c,
                             &(fv_slide_options){.kernel = o->kernel,
                                                 .stride = o->stride,
                                                 .dilation = o->dilation,
                                                 .padding = o->padding,
                                                 .pad = o->pad,
                                                 .what = "kernel"},
                             &window))
        return FV_EXPORT_NONE;
    int weight = fv_conv_has_table(o) ? table_weight(c, o) : fv_export_weight_in(c, "weight");
    int bias = fv_export_weight_in(c, "bias");
    return convolve(c, &window, o->groups ? o->groups : 1, fv_export_in(c, 0), weight, bias);
}

int fv_export_conv(const fv_export_call *c) {
    return conv(c, c->node->options);
}

int fv_export_depthwise_conv(const fv_export_call *c) {
    fv_conv_options options = fv_conv_depthwise_options(c->node->options, fv_export_shape_in(c, 0));
    return conv(c, &options);
}

int fv_export_separable_conv(const fv_export_call *c) {
    const fv_separable_conv_options *o = c->node->options;
    const fv_shape *input = fv_export_shape_in(c, 0);
    fv_export_window window, point = {.rank = input->rank};
    if (!fv_export_window_of(c,
                             &(fv_slide_options){.kernel = o->kernel,
                                                 .stride = o->stride,
                                                 .dilation = o->dilation,
                                                 .padding = o->padding,
                                                 .pad = o->pad,
                                                 .what = "kernel"},
                             &window))
        return FV_EXPORT_NONE;
    for (int i = 0; i < input->rank; i++)
        point.axes[i] = (fv_axis){.kernel = 1, .stride = 1, .dilation = 1};
    int depthwise = convolve(c, &window, input->channels, fv_export_in(c, 0),
                             fv_export_weight_in(c, "depthwise_weight"), FV_EXPORT_NONE);
    int weight = fv_export_weight_in(c, "weight"), bias = fv_export_weight_in(c, "bias");
    return convolve(c, &point, 1, depthwise, weight, bias);
}

int fv_export_conv_transpose(const fv_export_call *c) {
    const fv_conv_transpose_options *o = c->node->options;
    fv_export_graph *g = c->graph;
    fv_export_window window = {.rank = fv_export_shape_in(c, 0)->rank};
    int64_t more[3];
    fv_conv_transpose_axes(o, fv_export_shape_in(c, 0), window.axes); /* the layer has checked it */
    for (int i = 0; i < window.rank; i++) {
        int room = window.axes[i].stride - reach(&window.axes[i]);
        more[i] = o->padding == FV_SAME ? (room > 0 ? room : 0) : fv_size_at(o->output_pad, i, 0);
    }
    int inputs[3] = {fv_export_in(c, 0)};
    inputs[1] = fv_export_weight_in(c, "weight");
    inputs[2] = fv_export_weight_in(c, "bias");
    int y = fv_export_node_of(g, "ConvTranspose", o->no_bias ? 2 : 3, inputs);
    fv_export_set_window(g, &window, true);
    fv_export_set_all(g, "output_padding", window.rank, more);
    fv_export_set(g, "group", o->groups ? o->groups : 1);
    return y;
}

/* ---- Sub-sampling --------------------------------------------------------------------------- */

/* coefficient(c) x sum of the window + bias(c): a convolution of each channel by a kernel whose
 * cells are all the coefficient. */
int fv_export_subsample(const fv_export_call *c) {
    static const int no_pad[3][2] = {{0}};
    const fv_subsample_options *o = c->node->options;
    const fv_shape *input = fv_export_shape_in(c, 0);
    size_t channels = (size_t)input->channels, cells = 1, size[5] = {channels, 1};
    fv_export_window window;
    if (!fv_export_window_of(c,
                             &(fv_slide_options){.kernel = o->size,
                                                 .stride = o->stride[0] ? o->stride : o->size,
                                                 .pad = no_pad,
                                                 .what = "window"},
                             &window))
        return FV_EXPORT_NONE;
    for (int i = 0; i < input->rank; i++) {
        size[2 + i] = (size_t)window.axes[i].kernel;
        cells *= size[2 + i]; /* at most 2^60 */
    }
    float *coefficients = fv_export_values(c, "weight");
    float *kernels = coefficients ? fv_alloc(channels, cells * sizeof *kernels) : NULL;
    for (size_t i = 0; kernels && i < channels * cells; i++)
        kernels[i] = coefficients[i / cells];
    fv_free(coefficients);
    int weight = fv_export_floats(c->graph, "weight", 2 + input->rank, size, kernels);
    return convolve(c, &window, input->channels, fv_export_in(c, 0), weight,
                    fv_export_weight_in(c, "bias"));
}

/* ---- Local ---------------------------------------------------------------------------------- */

/* For each output place the values of its patch. NULL when out of memory. */
static int64_t *patches(const fv_export_call *c, const fv_export_window *w, size_t places,
                        size_t depth) {
    int channels = fv_export_shape_in(c, 0)->channels;
    int64_t *index = c->graph->status ? NULL : fv_alloc(places, depth * sizeof *index);
    for (size_t i = 0; index && i < places * depth; i++)
        index[i] = fv_onnx_patch_value(w->axes, w->rank, channels, i / depth, i % depth);
    return index;
}

/* ONNX has no such layer: the patches are gathered, and places are the batch of a MatMul of samples
 * by their weights (places, cells x channels, filters). */
int fv_export_local(const fv_export_call *c) {
    const fv_local_options *o = c->node->options;
    const fv_shape *output = &c->node->output;
    const fv_weight_spec *spec = &fv_export_find_weight(c, "weight")->spec;
    size_t filters = (size_t)o->filters, size[] = {spec->size[0], spec->size[1]};
    fv_export_graph *g = c->graph;
    fv_export_window w;
    if (!fv_export_window_of(c,
                             &(fv_slide_options){.kernel = o->kernel,
                                                 .stride = o->stride,
                                                 .padding = o->padding,
                                                 .pad = o->pad,
                                                 .what = "kernel"},
                             &w))
        return FV_EXPORT_NONE;
    int x =
        fv_export_channels_last(g, fv_export_pad(g, fv_export_in(c, 0), w.rank, w.axes), w.rank);
    x = fv_export_1(g, "Flatten", x);
    int index = fv_export_integers(g, "patches", 2, size, patches(c, &w, size[0], size[1]));
    x = fv_export_2(g, "Gather", x, index);
    fv_export_set(g, "axis", 1);
    x = fv_export_transpose(g, x, 3, (const int64_t[]){1, 0, 2}); /* places, samples, depth */
    x = fv_export_2(g, "MatMul", x, fv_export_weight_in(c, "weight"));
    if (!o->no_bias) {
        const size_t each[] = {size[0], 1, filters};
        x = fv_export_2(g, "Add", x, fv_export_weight_as(c, "bias", 3, each));
    }
    x = fv_export_transpose(g, x, 3, (const int64_t[]){1, 2, 0}); /* samples, filters, places */
    int64_t sizes[5] = {0, o->filters};
    for (int i = 0; i < output->rank; i++)
        sizes[2 + i] = output->size[i];
    return fv_export_reshape(g, x, 2 + output->rank, sizes);
}
