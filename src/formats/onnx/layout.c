/* How a layer's numbers lie as an array of ONNX: factors of its axes, in the order of memory. To
 * reshape or transpose changes only what is noted here; numbers move when an operator wants them in
 * an order of its own, as few axes at a time as can be. Called by the operators. */
#include "formats/onnx/import.h"
#include <limits.h>
#include <string.h>

const fv_shape *fv_onnx_shape(const fv_onnx_import *im, fv_tensor layer) {
    return &im->draft->nodes[layer].output;
}

/* ---- Sizes ---------------------------------------------------------------------------------- */

/* FV_ANY where one varies, 0 where the product is too large. */
static int product(const int *sizes, int count) {
    int64_t all = 1;
    for (int i = 0; i < count; i++) {
        if (sizes[i] == FV_ANY)
            return FV_ANY;
        all *= sizes[i];
        if (all > INT_MAX)
            return 0;
    }
    return (int)all;
}

int fv_onnx_size(const fv_onnx_array *a, int axis) {
    return product(a->factor + a->begin[axis], a->begin[axis + 1] - a->begin[axis]);
}

int64_t fv_onnx_sample(const fv_onnx_array *a) {
    int size = product(a->factor, a->count);
    return size == FV_ANY ? -1 : size;
}

/* Joins factors of an axis that lie behind one another in memory too. */
static void tidy(fv_onnx_array *a) {
    for (int axis = 0; axis < a->rank; axis++)
        for (int f = a->begin[axis]; f + 1 < a->begin[axis + 1];) {
            int at = 0;
            while (a->order[at] != f)
                at++;
            int both = product(a->factor + f, 2);
            if (at + 1 == a->count || a->order[at + 1] != f + 1 || both <= 0) {
                f++;
                continue;
            }
            a->factor[f] = both;
            memmove(a->factor + f + 1, a->factor + f + 2,
                    (size_t)(a->count - f - 2) * sizeof a->factor[0]);
            memmove(a->order + at + 1, a->order + at + 2,
                    (size_t)(a->count - at - 2) * sizeof a->order[0]);
            a->count--;
            for (int i = 0; i < a->count; i++)
                a->order[i] -= a->order[i] > f;
            for (int i = axis + 1; i <= a->rank; i++)
                a->begin[i]--;
        }
}

/* ---- From layers to arrays ------------------------------------------------------------------ */

fv_status fv_onnx_set_array(fv_onnx_import *im, fv_onnx_value *value, fv_tensor layer, int rank,
                            int count, const int *axes) {
    const fv_shape *shape = fv_onnx_shape(im, layer);
    fv_onnx_array a = {.layer = layer, .rank = rank};
    int factor_of[FV_ONNX_RANK];
    bool one = count == 0 && shape->rank == 0 && shape->channels == 1; /* a number a sample */
    if (count != shape->rank + 1 && !one)
        return fv_fail(FV_UNSUPPORTED, "it gives an array of other axes than its input has");
    for (int axis = 0; axis < rank; axis++) {
        int at = 0, size = 1;
        while (at < count && axes[at] != axis)
            at++;
        if (at < count)
            size = at < shape->rank ? shape->size[at] : shape->channels;
        a.begin[axis] = factor_of[axis] = a.count;
        if (size != 1)
            a.factor[a.count++] = size;
        a.begin[axis + 1] = a.count;
    }
    for (int at = 0, place = 0; at < count; at++)
        if (a.begin[axes[at]] < a.begin[axes[at] + 1])
            a.order[place++] = factor_of[axes[at]];
    value->kind = FV_VALUE_ARRAY;
    value->array = a;
    return FV_OK;
}

int fv_onnx_standard_axes(int rank, int *axes) {
    int count = 0;
    for (int axis = 2; axis < rank; axis++)
        axes[count++] = axis;
    if (rank > 1)
        axes[count++] = 1;
    return count;
}

int fv_onnx_axes_to_last(int rank, int axis, int *axes) {
    int count = 0;
    for (int other = 1; other < rank; other++)
        if (other != axis)
            axes[count++] = other;
    axes[count++] = axis;
    return count;
}

fv_status fv_onnx_set_standard(fv_onnx_import *im, fv_onnx_value *value, fv_tensor layer,
                               int rank) {
    int axes[FV_ONNX_RANK], count = fv_onnx_standard_axes(rank, axes);
    if (fv_onnx_shape(im, layer)->rank == 0 && rank > 2) { /* a vector: its spatial axes are 1 */
        axes[0] = 1;
        count = 1;
    }
    return fv_onnx_set_array(im, value, layer, rank, count, axes);
}

void fv_onnx_set_like(fv_onnx_value *value, const fv_onnx_value *like, fv_tensor layer) {
    bool shared = layer == like->array.layer && (like->array.shared || like->readers > 1);
    value->kind = FV_VALUE_ARRAY;
    value->array = like->array;
    value->array.layer = layer;
    value->array.shared = shared;
}

void fv_onnx_set_view(fv_onnx_value *value, const fv_onnx_value *in, const fv_onnx_array *view) {
    fv_onnx_array array = *view; /* it may be the value's own */
    fv_onnx_set_like(value, in, array.layer);
    array.shared = value->array.shared;
    value->array = array;
}

/* ---- From arrays to layers ------------------------------------------------------------------ */

static bool same_shape(const fv_shape *x, const fv_shape *y) {
    bool same = x->rank == y->rank && x->channels == y->channels;
    for (int i = 0; same && i < x->rank; i++)
        same = x->size[i] == y->size[i];
    return same;
}

/* A layer that puts numbers in order: that which is there already, if several want the same. */
static fv_status add_once(fv_onnx_import *im, const char *type, const void *options,
                          fv_tensor *layer) {
    for (int n = *layer + 1; n < im->draft->count; n++) {
        const fv_node *node = &im->draft->nodes[n];
        if (strcmp(node->type->name, type) == 0 && node->inputs[0] == *layer &&
            (!options || memcmp(node->options, options, node->type->options_size) == 0)) {
            *layer = n;
            return FV_OK;
        }
    }
    return fv_onnx_add1(im, type, *layer, options, layer);
}

/* The same numbers under another shape. */
static fv_status view(fv_onnx_import *im, fv_tensor *layer, const fv_shape *shape) {
    if (same_shape(fv_onnx_shape(im, *layer), shape))
        return FV_OK;
    if (shape->rank == 0)
        return add_once(im, "flatten", NULL, layer);
    return add_once(im, "reshape", &(fv_reshape_options){.shape = *shape}, layer);
}

/* Runs of factors that stay together on their way to another order. */
typedef struct runs {
    int count;
    int begin[FV_ONNX_FACTORS + 1]; /* place of the run's first factor in memory */
    int first[FV_ONNX_FACTORS];     /* and in the new order */
} runs;

static runs find_runs(const fv_onnx_array *a, const int *place_of) {
    runs r = {0};
    for (int i = 0; i < a->count; i++)
        if (i == 0 || place_of[a->order[i]] != place_of[a->order[i - 1]] + 1) {
            r.begin[r.count] = i;
            r.first[r.count++] = place_of[a->order[i]];
        }
    r.begin[r.count] = a->count;
    return r;
}

/* Which run comes i-th in the new order. */
static int run_at(const runs *r, int i) {
    for (int k = 0; k < r->count; k++) {
        int before = 0;
        for (int j = 0; j < r->count; j++)
            before += r->first[j] < r->first[k];
        if (before == i)
            return k;
    }
    return 0;
}

/* Blocks of factors, behind one another in memory, and the order in which they are wanted. */
typedef struct blocks {
    int count; /* at most 4, as many as axes that a layer permutes */
    int begin[5];
    int wanted[4];
} blocks;

/* All runs at once if they are few; else one to its place, the runs that stood there behind it: any
 * order is reached by such moves. */
static blocks next_move(const runs *r) {
    blocks b = {0};
    if (r->count <= 4) {
        b.count = r->count;
        memcpy(b.begin, r->begin, (size_t)(r->count + 1) * sizeof b.begin[0]);
        for (int i = 0; i < r->count; i++)
            b.wanted[i] = run_at(r, i);
        return b;
    }
    int to = 0;
    while (run_at(r, to) == to)
        to++;
    int from = run_at(r, to);
    const int ends[] = {0, r->begin[to], r->begin[from], r->begin[from + 1], r->begin[r->count]};
    for (int i = 0; i < 4; i++)
        if (ends[i] < ends[i + 1]) {
            b.begin[b.count] = ends[i];
            b.wanted[b.count] = b.count;
            b.begin[++b.count] = ends[i + 1];
        }
    int moved = to > 0; /* the block that changes places with the one behind it */
    b.wanted[moved] = moved + 1;
    b.wanted[moved + 1] = moved;
    return b;
}

/* Moves the blocks by a layer. */
static fv_status move_blocks(fv_onnx_import *im, const blocks *b, fv_onnx_array *a) {
    fv_shape shape = {.rank = b->count - 1};
    fv_permute_options options = {.count = b->count};
    int order[FV_ONNX_FACTORS], count = 0, sizes[FV_ONNX_FACTORS];
    for (int i = 0; i < a->count; i++)
        sizes[i] = a->factor[a->order[i]];
    for (int i = 0; i < b->count; i++) {
        int size = product(sizes + b->begin[i], b->begin[i + 1] - b->begin[i]), w = b->wanted[i];
        *(i + 1 < b->count ? &shape.size[i] : &shape.channels) = size;
        options.axes[i] = w + 1;
        for (int k = b->begin[w]; k < b->begin[w + 1]; k++)
            order[count++] = a->order[k];
    }
    if (shape.channels <= 0)
        return fv_fail(FV_UNSUPPORTED,
                       "the order of an axis whose size varies changes (give the input "
                       "fixed sizes: --set NAME=SIZE)");
    fv_status status = view(im, &a->layer, &shape);
    if (status == FV_OK)
        status = add_once(im, "permute", &options, &a->layer);
    memcpy(a->order, order, (size_t)count * sizeof order[0]);
    return status;
}

/* Moves numbers so that the factors lie in the order wanted[]. */
static fv_status move(fv_onnx_import *im, const fv_onnx_array *array, const int *wanted,
                      fv_tensor *layer) {
    int place_of[FV_ONNX_FACTORS] = {0};
    fv_onnx_array a = *array;
    for (int i = 0; i < a.count; i++)
        place_of[wanted[i]] = i;
    fv_status status = FV_OK;
    for (runs r = find_runs(&a, place_of); r.count > 1 && status == FV_OK;
         r = find_runs(&a, place_of)) {
        const blocks b = next_move(&r);
        status = move_blocks(im, &b, &a);
    }
    *layer = a.layer;
    return status;
}

fv_status fv_onnx_arrange(fv_onnx_import *im, const fv_onnx_array *a, int count, const int *axes,
                          fv_tensor *layer) {
    int wanted[FV_ONNX_FACTORS], found = 0;
    fv_shape shape = {.rank = count > 0 ? count - 1 : 0, .channels = 1};
    if (count > 4)
        return fv_fail(FV_UNSUPPORTED,
                       "its input has %d axes; at most five, with the batch's, can be "
                       "here",
                       count + 1);
    for (int i = 0; i < count; i++) {
        int size = fv_onnx_size(a, axes[i]);
        *(i + 1 < count ? &shape.size[i] : &shape.channels) = size;
        for (int f = a->begin[axes[i]]; f < a->begin[axes[i] + 1]; f++)
            wanted[found++] = f;
    }
    if (found != a->count)
        return fv_fail(FV_UNSUPPORTED, "its input has other axes than it works on");
    if (shape.channels == FV_ANY)
        return fv_fail(FV_UNSUPPORTED,
                       "the axis of its channels varies (give the input fixed sizes: "
                       "--set NAME=SIZE)");
    fv_status status = move(im, a, wanted, layer);
    return status == FV_OK ? view(im, layer, &shape) : status;
}

fv_status fv_onnx_standard(fv_onnx_import *im, const fv_onnx_array *a, fv_tensor *layer) {
    int axes[FV_ONNX_RANK], count = fv_onnx_standard_axes(a->rank, axes);
    return fv_onnx_arrange(im, a, count, axes, layer);
}

fv_status fv_onnx_arrange_last(fv_onnx_import *im, const fv_onnx_array *a, int axis, int *axes,
                               int *count, fv_tensor *layer) {
    *count = fv_onnx_axes_to_last(a->rank, axis, axes);
    return fv_onnx_arrange(im, a, *count, axes, layer);
}

/* Whether the axes, in this order, lie behind one another in memory. */
static bool lie_so(const fv_onnx_array *a, int count, const int *axes) {
    int at = 0;
    for (int i = 0; i < count; i++)
        for (int f = a->begin[axes[i]]; f < a->begin[axes[i] + 1]; f++)
            if (a->order[at++] != f)
                return false;
    return true;
}

/* The axes by where their first factors lie, those of size 1 in front. */
static int axes_in_memory(const fv_onnx_array *a, int *axes) {
    int count = 0;
    for (int axis = 1; axis < a->rank; axis++)
        if (a->begin[axis] == a->begin[axis + 1])
            axes[count++] = axis;
    for (int i = 0; i < a->count; i++)
        for (int axis = 1; axis < a->rank; axis++)
            if (a->begin[axis] == a->order[i] && a->begin[axis] < a->begin[axis + 1])
                axes[count++] = axis;
    return count;
}

int fv_onnx_axes_as_is(const fv_onnx_array *a, int *axes) {
    int count = fv_onnx_standard_axes(a->rank, axes);
    if (lie_so(a, count, axes))
        return count;
    count = axes_in_memory(a, axes);
    return lie_so(a, count, axes) && fv_onnx_size(a, axes[count - 1]) != FV_ANY
               ? count
               : fv_onnx_standard_axes(a->rank, axes);
}

fv_status fv_onnx_vector(fv_onnx_import *im, const fv_onnx_array *a, fv_tensor *layer) {
    fv_shape shape = {.channels = (int)fv_onnx_sample(a)};
    *layer = a->layer;
    return view(im, layer, &shape);
}

void fv_onnx_places(const fv_onnx_array *a, size_t *places) {
    size_t step[FV_ONNX_FACTORS], values = 1;
    for (int i = a->count - 1; i >= 0; i--) {
        step[a->order[i]] = values;
        values *= (size_t)a->factor[a->order[i]];
    }
    for (size_t i = 0; i < values; i++) {
        size_t rest = i, place = 0;
        for (int f = a->count - 1; f >= 0; f--) {
            place += rest % (size_t)a->factor[f] * step[f];
            rest /= (size_t)a->factor[f];
        }
        places[i] = place;
    }
}

/* ---- Other sizes and axes ------------------------------------------------------------------- */

/* Parts factor f into `outer` times what is left. False where there is no room. */
static bool split(fv_onnx_array *a, int f, int outer) {
    if (a->count == FV_ONNX_FACTORS)
        return false;
    int at = 0;
    while (a->order[at] != f)
        at++;
    for (int i = 0; i < a->count; i++)
        a->order[i] += a->order[i] > f;
    memmove(a->order + at + 2, a->order + at + 1, (size_t)(a->count - at - 1) * sizeof a->order[0]);
    memmove(a->factor + f + 2, a->factor + f + 1, (size_t)(a->count - f - 1) * sizeof a->factor[0]);
    a->order[at + 1] = f + 1;
    a->factor[f + 1] = a->factor[f] / outer;
    a->factor[f] = outer;
    a->count++;
    return true;
}

/* Gives the factors to axes of these sizes, parting some; false where they do not fit so. A size
 * that varies is a factor of its own. */
static bool refine(fv_onnx_array *a, int rank, const int64_t *sizes) {
    int f = 0;
    for (int axis = 1; axis < rank; axis++) {
        int64_t rest = sizes[axis];
        a->begin[axis] = f;
        if (rest == FV_ANY) {
            if (f == a->count || a->factor[f] != FV_ANY)
                return false;
            f++;
            continue;
        }
        for (; rest > 1; f++) {
            if (f == a->count || a->factor[f] == FV_ANY)
                return false;
            if (rest % a->factor[f] != 0 && (a->factor[f] % rest != 0 || !split(a, f, (int)rest)))
                return false;
            rest /= a->factor[f];
        }
    }
    a->rank = rank;
    a->begin[0] = a->begin[1] = 0;
    if (rank == 1)
        return a->count == 0;
    a->begin[rank] = f;
    return f == a->count;
}

/* The numbers in ONNX's order, as one factor. */
static fv_status line_up(fv_onnx_import *im, fv_onnx_array *a) {
    int wanted[FV_ONNX_FACTORS];
    for (int i = 0; i < a->count; i++)
        wanted[i] = i;
    fv_status status = move(im, a, wanted, &a->layer);
    a->factor[0] = product(a->factor, a->count);
    a->count = a->factor[0] > 1;
    a->order[0] = 0;
    return status;
}

fv_status fv_onnx_reshape(fv_onnx_import *im, const fv_onnx_array *array, int rank,
                          const int64_t *sizes, fv_onnx_array *reshaped) {
    *reshaped = *array;
    if (!refine(reshaped, rank, sizes)) {
        *reshaped = *array;
        if (fv_onnx_sample(array) < 0)
            return fv_fail(FV_UNSUPPORTED,
                           "its input's sizes vary (give the input fixed sizes: --set "
                           "NAME=SIZE)");
        if (fv_onnx_sample(array) == 0)
            return fv_fail(FV_UNSUPPORTED, "its input has more than 2^31 values a sample");
        fv_status status = line_up(im, reshaped);
        if (status != FV_OK)
            return status;
        if (!refine(reshaped, rank, sizes))
            return fv_fail(FV_SHAPE,
                           "its input has %lld values a sample, which the shape does not "
                           "hold",
                           (long long)fv_onnx_sample(array));
    }
    tidy(reshaped);
    return FV_OK;
}

fv_status fv_onnx_transpose(const fv_onnx_array *a, const int *axes, fv_onnx_array *t) {
    int moved[FV_ONNX_FACTORS] = {0}, count = 0;
    if (axes[0] != 0)
        return fv_fail(FV_UNSUPPORTED, "it moves the batch's axis");
    *t = *a;
    for (int axis = 0; axis < a->rank; axis++) {
        t->begin[axis] = count;
        for (int f = a->begin[axes[axis]]; f < a->begin[axes[axis] + 1]; f++) {
            t->factor[count] = a->factor[f];
            moved[f] = count++;
        }
    }
    t->begin[a->rank] = count;
    for (int i = 0; i < a->count; i++)
        t->order[i] = moved[a->order[i]];
    tidy(t);
    return FV_OK;
}
