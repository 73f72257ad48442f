/* Layers whose windows ONNX has no operator for, and which fovea writes as Gathers by matrices of
 * indices: local, and adaptive pools of windows that differ. They are taken where the matrix holds,
 * number for number, what the layer's geometry gives (windows.h), whoever wrote the file. Called by
 * patterns.c. */
#include "formats/onnx/match.h"
#include "formats/onnx/windows.h"
#include <limits.h>
#include <math.h>
#include <string.h>

/* ---- Nodes and constants -------------------------------------------------------------------- */

static int64_t integer_of(const fv_onnx_node *node, const char *name, int64_t fallback) {
    const fv_onnx_attribute *attribute = fv_onnx_find(node, name);
    return attribute ? attribute->integer : fallback;
}

/* A matrix of whole numbers that has some. */
static bool is_index(const fv_onnx_constant *c) {
    return c && c->kind == FV_NUMBER_WHOLE && c->rank == 2 && c->count > 0;
}

/* Whether the constant has these sizes of floats. */
static bool are_floats(const fv_onnx_constant *c, int rank, const int64_t *size) {
    return c->kind == FV_NUMBER_FLOAT && c->rank == rank &&
           memcmp(c->size, size, (size_t)rank * sizeof *size) == 0;
}

/* The sizes of an array with spatial axes, all of them known; false: it is another. */
static bool shape_of(const fv_onnx_array *a, fv_shape *shape) {
    *shape = (fv_shape){.rank = a->rank - 2};
    if (a->rank < 3 || a->rank > 5)
        return false;
    bool known = (shape->channels = fv_onnx_size(a, 1)) >= 1;
    for (int i = 0; i < shape->rank; i++)
        known = (shape->size[i] = fv_onnx_size(a, 2 + i)) >= 1 && known;
    return known;
}

/* ---- local: its nodes ----------------------------------------------------------------------- */

/* The formula's nodes; those that have no attributes to look at are left out. */
typedef struct local_nodes {
    const fv_onnx_node *pad; /* NULL: none */
    const fv_onnx_node *to_last, *flatten, *gather, *to_places, *back, *reshape;
} local_nodes;

/* The match has them from the first to the last. */
static local_nodes nodes_of(const fv_onnx_match *m) {
    const fv_onnx_node *nodes = m->im->model->nodes;
    int pads = m->letters['p' - 'a'] ? 1 : 0, adds = m->letters['b' - 'a'] ? 1 : 0;
    const int *at = m->nodes + pads;
    return (local_nodes){pads ? &nodes[m->nodes[0]] : NULL,
                         &nodes[at[0]],
                         &nodes[at[1]],
                         &nodes[at[2]],
                         &nodes[at[3]],
                         &nodes[at[5 + adds]], /* at[4] is the MatMul */
                         &nodes[at[6 + adds]]};
}

/* Whether the attributes are those of patches of a padded input with its channels last, times the
 * weights of their places. */
static bool are_local(const local_nodes *n, int rank) {
    int64_t to_last[5] = {0}, to_places[3] = {1, 0, 2}, back[3] = {1, 2, 0};
    for (int i = 2; i < rank; i++)
        to_last[i - 1] = i;
    to_last[rank - 1] = 1;
    const fv_onnx_attribute *mode = n->pad ? fv_onnx_find(n->pad, "mode") : NULL;
    bool zeros = !n->pad || (n->pad->attribute_count == (mode ? 1U : 0U) &&
                             (!mode || strcmp(mode->text, "constant") == 0));
    return zeros && fv_onnx_holds(n->to_last, "perm", false, (size_t)rank, to_last) &&
           integer_of(n->flatten, "axis", 1) == 1 && integer_of(n->gather, "axis", 0) == 1 &&
           fv_onnx_holds(n->to_places, "perm", false, 3, to_places) &&
           fv_onnx_holds(n->back, "perm", false, 3, back) &&
           integer_of(n->reshape, "allowzero", 0) == 0;
}

/* ---- local: its geometry -------------------------------------------------------------------- */

/* Padding, as Pad has it: of all axes, first before them, then behind. */
static bool read_pads(const fv_onnx_constant *pads, int rank, fv_axis *axes) {
    enum { MOST = 1 << 20 };
    if (!pads)
        return true;
    bool fits = pads->kind == FV_NUMBER_WHOLE && pads->count == 2 * ((size_t)rank + 2);
    for (int i = 0; fits && i < rank + 2; i++) {
        double before = fv_onnx_number(pads, (size_t)i),
               after = fv_onnx_number(pads, (size_t)(rank + 2 + i));
        int most = i < 2 ? 0 : MOST;
        fits = before >= 0 && before <= most && after >= 0 && after <= most;
        if (fits && i >= 2) {
            axes[i - 2].before = (int)before;
            axes[i - 2].after = (int)after;
        }
    }
    return fits;
}

static int64_t padded(const fv_axis *axis) {
    return (int64_t)axis->before + axis->in + axis->after;
}

/* Whether the values of the padded input can be counted by an int. */
static bool is_countable(const fv_axis *axes, const fv_shape *in) {
    int64_t values = in->channels;
    for (int i = 0; i < in->rank && values <= INT_MAX; i++)
        values = padded(&axes[i]) <= INT_MAX ? values * padded(&axes[i]) : INT64_MAX;
    return values <= INT_MAX;
}

/* The kernel, by how far the first patch goes along each axis before it begins anew. */
static bool find_kernel(const fv_onnx_constant *index, const fv_shape *in, fv_axis *axes) {
    int64_t depth = index->size[1], count = in->channels, step = in->channels;
    for (int a = in->rank - 1; a >= 0; a--) {
        int kernel = 1;
        while (kernel < padded(&axes[a]) && kernel * count < depth &&
               fv_onnx_number(index, (size_t)(kernel * count)) == (double)(kernel * step))
            kernel++;
        axes[a].kernel = kernel;
        count *= kernel;
        step *= padded(&axes[a]);
    }
    return count == depth;
}

/* The step of each axis, by where the patches of the first place and its next begin. Of an axis
 * with one place it does not matter: as the others, if that leaves it one. */
static bool find_stride(const fv_onnx_constant *index, const fv_shape *in, const int *out,
                        fv_axis *axes) {
    int64_t places = 1, step = in->channels;
    int largest = 1;
    for (int a = in->rank - 1; a >= 0; a--) {
        if (out[a] > 1) {
            if (places >= index->size[0])
                return false;
            double stride = fv_onnx_number(index, (size_t)(places * index->size[1])) / (double)step;
            if (!(stride >= 1 && stride <= (double)padded(&axes[a])))
                return false;
            axes[a].stride = (int)stride;
            largest = axes[a].stride > largest ? axes[a].stride : largest;
        }
        places *= out[a];
        step *= padded(&axes[a]);
    }
    for (int a = 0; a < in->rank; a++) {
        int least = (int)padded(&axes[a]) - axes[a].kernel + 1;
        if (out[a] == 1)
            axes[a].stride = largest > least ? largest : least;
    }
    return places == index->size[0];
}

/* The output's sizes from the list of the Reshape: N, filters, sizes. */
static bool read_output(const fv_onnx_constant *sizes, const fv_shape *in, int64_t filters,
                        int *out) {
    bool fits = sizes->count == (size_t)in->rank + 2 && fv_onnx_number(sizes, 0) == 0 &&
                fv_onnx_number(sizes, 1) == (double)filters;
    for (int i = 0; fits && i < in->rank; i++) {
        double size = fv_onnx_number(sizes, (size_t)(2 + i));
        fits = size >= 1 && size <= 1 << 30;
        out[i] = fits ? (int)size : 0;
        fits = fits && size == out[i];
    }
    return fits;
}

static void set_options(fv_local_options *o, int rank, const fv_axis *axes) {
    for (int i = 0; i < rank; i++) {
        o->kernel[i] = axes[i].kernel;
        o->stride[i] = axes[i].stride;
        o->pad[i][0] = axes[i].before;
        o->pad[i][1] = axes[i].after;
    }
    fv_onnx_shorten(o->kernel, rank, 0);
    fv_onnx_shorten(o->stride, rank, 1);
}

/* Whether the layer of these options has those places, and the matrix what it gathers for them. */
static bool gathers(const fv_onnx_constant *index, const fv_shape *in, const fv_local_options *o,
                    const int *out) {
    fv_axis axes[3];
    const fv_slide_options slide = {
        .kernel = o->kernel, .stride = o->stride, .pad = o->pad, .what = "kernel"};
    if (fv_slide(in, &slide, axes) != FV_OK)
        return false;
    for (int i = 0; i < in->rank; i++)
        if (axes[i].out != out[i])
            return false;
    size_t depth = (size_t)index->size[1];
    for (size_t i = 0; i < index->count; i++)
        if (fv_onnx_number(index, i) !=
            (double)fv_onnx_patch_value(axes, in->rank, in->channels, i / depth, i % depth))
            return false;
    return true;
}

/* The options, out of the constants that the formula has; false: it is no local layer. */
static bool read_local(const fv_onnx_match *m, const fv_shape *in, fv_local_options *o) {
    const fv_onnx_constant *index = fv_onnx_letter(m, 'i'), *w = fv_onnx_letter(m, 'w'),
                           *b = fv_onnx_letter(m, 'b');
    fv_axis axes[3] = {{0}};
    int out[3];
    for (int i = 0; i < in->rank; i++)
        axes[i] = (fv_axis){.in = in->size[i], .stride = 1};
    if (!is_index(index) || w->rank != 3 || w->size[2] < 1 || w->size[2] > INT_MAX ||
        !read_pads(fv_onnx_letter(m, 'p'), in->rank, axes) || !is_countable(axes, in) ||
        !read_output(fv_onnx_letter(m, 'r'), in, w->size[2], out) ||
        !find_kernel(index, in, axes) || !find_stride(index, in, out, axes))
        return false;
    const int64_t filters = w->size[2];
    *o = (fv_local_options){.filters = (int)filters, .no_bias = !b};
    set_options(o, in->rank, axes);
    return are_floats(w, 3, (const int64_t[]){index->size[0], index->size[1], filters}) &&
           (!b || are_floats(b, 3, (const int64_t[]){index->size[0], 1, filters})) &&
           gathers(index, in, o, out);
}

fv_status fv_onnx_make_local(fv_onnx_import *im, const fv_onnx_match *m, fv_activation none,
                             bool *made) {
    const fv_onnx_value *x = &im->values[m->x];
    const fv_onnx_constant *b = fv_onnx_letter(m, 'b');
    const local_nodes nodes = nodes_of(m);
    fv_local_options options;
    fv_shape in;
    fv_tensor layer;
    (void)none;
    *made = shape_of(&x->array, &in) && are_local(&nodes, x->array.rank) &&
            read_local(m, &in, &options);
    if (!*made)
        return FV_OK;
    fv_status status = fv_onnx_standard(im, &x->array, &layer);
    if (status == FV_OK)
        status = fv_onnx_add1(im, "local", layer, &options, &layer);
    if (status == FV_OK)
        status = fv_onnx_give_constant(im, layer, "weight", fv_onnx_letter(m, 'w'));
    if (status == FV_OK && b)
        status = fv_onnx_give_constant(im, layer, "bias", b);
    return status == FV_OK ? fv_onnx_set_standard(im, fv_onnx_out(im, 0), layer, x->array.rank)
                           : status;
}

/* ---- Adaptive pools: one axis --------------------------------------------------------------- */

/* What has been followed of a pool: for each axis a Gather whose rows become an axis behind it, a
 * Mul where it is a mean, and a reduction of the new axis. */
typedef struct pooling {
    const fv_onnx_import *im;
    int value, rank;     /* what the last of the nodes gives */
    int size[3];         /* of the output; the input's where an axis is left as it is */
    int next;            /* axis, from 0: all before are settled */
    bool average;        /* if any was */
    int nodes[9], count; /* in their order */
} pooling;

/* The value that is the node's other input; -1: it has not two, or not this one. */
static int other_input(const fv_onnx_node *node, int value) {
    if (node->input_count != 2)
        return -1;
    return node->input_values[0] == value   ? node->input_values[1]
           : node->input_values[1] == value ? node->input_values[0]
                                            : -1;
}

static const fv_onnx_constant *constant_at(const fv_onnx_import *im, int value) {
    const fv_onnx_value *v = value >= 0 ? &im->values[value] : NULL;
    return v && v->kind == FV_VALUE_CONSTANT ? &v->constant : NULL;
}

/* Steps to the node of that operator which reads the value as its first input, or as either of a
 * Mul's, and as the only one; NULL: there is none. */
static const fv_onnx_node *step(pooling *p, const char *op) {
    const fv_onnx_value *v = &p->im->values[p->value];
    if (v->readers != 1 || v->reader <= p->im->node_number || p->im->done[v->reader])
        return NULL;
    const fv_onnx_node *node = &p->im->model->nodes[v->reader];
    bool standard = node->domain[0] == 0 || strcmp(node->domain, "ai.onnx") == 0;
    bool first = strcmp(op, "Mul") == 0 || node->input_values[0] == p->value;
    if (!standard || !first || strcmp(node->op, op) != 0 || node->output_count != 1 ||
        node->output_values[0] < 0)
        return NULL;
    p->nodes[p->count++] = v->reader;
    p->value = node->output_values[0];
    return node;
}

/* Whether the matrix has the cells of the windows that part an axis of `in` into as many as it has
 * rows. */
static bool are_windows(const fv_onnx_constant *cells, int64_t in) {
    if (!is_index(cells) || cells->size[0] > INT_MAX ||
        cells->size[1] != fv_onnx_longest_window(in, cells->size[0]))
        return false;
    for (size_t i = 0; i < cells->count; i++) {
        int64_t window = (int64_t)i / cells->size[1], cell = (int64_t)i % cells->size[1];
        if (fv_onnx_number(cells, i) !=
            (double)fv_onnx_window_cell(in, cells->size[0], window, cell))
            return false;
    }
    return true;
}

/* Whether the constant is what each cell counts in its window's mean, where the axes of the windows
 * have `behind` others behind them. */
static bool are_shares(const fv_onnx_constant *shares, const fv_onnx_constant *cells, int64_t in,
                       int behind) {
    const int64_t size[5] = {cells->size[0], cells->size[1], 1, 1, 1};
    if (!shares || !are_floats(shares, 2 + behind, size))
        return false;
    for (size_t i = 0; i < shares->count; i++) {
        int64_t window = (int64_t)i / size[1], cell = (int64_t)i % size[1];
        if ((float)fv_onnx_number(shares, i) != fv_onnx_window_share(in, size[0], window, cell))
            return false;
    }
    return true;
}

/* Whether the node reduces that axis of `rank`, which goes. */
static bool drops(const pooling *p, const fv_onnx_node *node, int axis, int rank) {
    double reduced = fv_onnx_reduced_axis(p->im, node);
    return node->input_count <= 2 && integer_of(node, "keepdims", 1) == 0 &&
           (reduced == axis || reduced == axis - rank);
}

/* Follows the nodes of one axis from the Gather on, which has been stepped to. */
static bool follow_axis(pooling *p, const fv_onnx_node *gather) {
    const int gathered = p->value;
    const fv_onnx_constant *cells =
        gather->input_count == 2 ? constant_at(p->im, gather->input_values[1]) : NULL;
    int64_t at = integer_of(gather, "axis", 0);
    at += at < 0 ? p->rank : 0;
    if (at < 2 + p->next || at >= p->rank)
        return false;
    int axis = (int)at - 2, in = p->size[axis];
    bool goes_on = are_windows(cells, in);
    const fv_onnx_node *mul = goes_on ? step(p, "Mul") : NULL, *reduction;
    if (!goes_on || (p->next > 0 && p->average != (mul != NULL)))
        return false;
    if (mul && !are_shares(constant_at(p->im, other_input(mul, gathered)), cells, in,
                           p->rank - (int)at - 1))
        return false;
    reduction = step(p, mul ? "ReduceSum" : "ReduceMax");
    if (!reduction || !drops(p, reduction, (int)at + 1, p->rank + 1))
        return false;
    p->average = mul != NULL;
    p->size[axis] = (int)cells->size[0];
    p->next = axis + 1;
    return true;
}

/* ---- Adaptive pools: all axes --------------------------------------------------------------- */

/* Follows the axes, in their order, as far as they go; false: not even one does. */
static bool follow_pool(pooling *p) {
    pooling longer = *p;
    const fv_onnx_node *gather = p->im->node;
    longer.nodes[longer.count++] = p->im->node_number;
    longer.value = gather->output_values[0];
    while (gather && follow_axis(&longer, gather)) {
        *p = longer;
        gather = p->next + 2 < p->rank ? step(&longer, "Gather") : NULL;
    }
    return p->count > 0;
}

/* Adds the layer as the last of the nodes. */
static fv_status add_pool(fv_onnx_import *im, const fv_onnx_array *a, const pooling *p) {
    fv_adaptive_pool_options options = {0};
    fv_tensor layer;
    memcpy(options.size, p->size, (size_t)(p->rank - 2) * sizeof *p->size);
    fv_onnx_shorten(options.size, p->rank - 2, 0);
    im->node = &im->model->nodes[p->nodes[p->count - 1]];
    for (int i = 0; i < p->count; i++)
        im->done[p->nodes[i]] = true;
    fv_status status = fv_onnx_standard(im, a, &layer);
    if (status == FV_OK)
        status = fv_onnx_add1(im, p->average ? "adaptive_avgpool" : "adaptive_maxpool", layer,
                              &options, &layer);
    return status == FV_OK ? fv_onnx_set_standard(im, fv_onnx_out(im, 0), layer, p->rank) : status;
}

fv_status fv_onnx_find_adaptive_pool(fv_onnx_import *im, bool *found) {
    const fv_onnx_value *x = fv_onnx_in(im, 0);
    fv_shape in;
    if (strcmp(im->node->op, "Gather") != 0 || im->node->output_count != 1 || !x ||
        x->kind != FV_VALUE_ARRAY || !shape_of(&x->array, &in))
        return FV_OK;
    pooling p = {.im = im, .rank = x->array.rank};
    memcpy(p.size, in.size, sizeof p.size);
    *found = follow_pool(&p);
    return *found ? add_pool(im, &x->array, &p) : FV_OK;
}
