/* The plan: everything about a run that is known before it starts. For each layer its algorithm
 * and the place of every buffer; for the whole the segments and the exact size of the arena.
 * Called by execute.c, session.c and train. */
#ifndef FV_NET_PLAN_H
#define FV_NET_PLAN_H

#include "net/net.h"

/* Where an array lives: for the whole batch in the arena, or for a few samples in each thread's
 * block of it. Offsets are bytes, to the first sample. */
typedef enum fv_place { FV_PLACE_NONE, FV_PLACE_BATCH, FV_PLACE_THREAD } fv_place;

typedef struct fv_buffer {
    fv_place place;
    size_t offset;
    size_t sample; /* bytes a sample */
} fv_buffer;

/* An output that is not kept for the backward pass but computed again there, from segment `from`
 * back to `to`: before that segment for the whole batch, or, where it is but one of a few samples
 * at a time, in it. */
typedef struct fv_recomputed {
    bool any, batch;
    int from, to;
} fv_recomputed;

typedef struct fv_node_plan {
    bool runs;     /* at inference only what something kept or judged needs; else all that
                      follows is 0 */
    bool view;     /* its output is its input's memory */
    bool folded;   /* ... since the weights of the layer before have taken it up */
    int fold;      /* the node that this one's weights take up; 0: none */
    int sum;       /* the add that this convolution carries out too (residual.c); 0: none */
    int addend;    /* ... and the node whose output is added */
    int summed_by; /* of that add: the convolution, whose output it is a view of; 0: none */
    int feeds;     /* the node that makes its output while it needs it (feed.c); 0: none */
    int fed_by;    /* ... and that node's own; 0: none */
    bool mixes;    /* samples, in this plan: see fv_layer_type.mixes_samples. Where its input is
                      made a few samples at a time and by node b, what it does of samples it does
                      beside b, while they are in the cache: */
    bool behind;   /* measure() right behind b's forward */
    bool ahead;    /* backward() right ahead of b's */
    int measured_by, spread_by; /* b's own: the node that does; 0: none */
    fv_shape shape;             /* of its output */
    int64_t macs;
    fv_setting setting;
    fv_layer_plan layer;
    int root; /* the node whose memory holds this one's output (itself, but for views) */
    int segment;
    bool wants_gradient;              /* weights in it or before it learn */
    bool unjudged;                    /* wants a gradient, but nobody reads it and no loss does */
    bool loss, raw;                   /* a loss judges its output; ... before its activation */
    bool first_writer[FV_MAX_INPUTS]; /* its backward is the first to write that gradient */
    fv_buffer output, gradient;       /* of roots */
    fv_recomputed recomputed;         /* of roots */
    fv_buffer again;                  /* ... and where */
    fv_buffer extra[FV_MAX_INPUTS];   /* else where its backward writes that gradient, then added */
    fv_buffer tap;                    /* copy of the output before its activation, when asked for */
    bool tapped;                      /* its output must last until the next run */
    size_t kept, packed;              /* offsets of what the layer asked for */
    size_t weights[FV_MAX_WEIGHTS];   /* plan.from_file: of those that are not spent */
    size_t scratch[2], shared[2];     /* ... in the forward and in the backward pass */
    size_t held;
} fv_node_plan;

/* Consecutive nodes whose samples do not mix, or one whole-batch node. The first may be one that
 * mixes them: then the segment begins with its join() over the batch, and ends in the backward pass
 * with its join_back(). A unit is a few samples
 * that one thread takes through the whole segment, `group` at a time. Units depend on the batch
 * and the shapes, never on the threads; the weight gradients of each are summed apart and joined
 * in a fixed tree. */
typedef struct fv_segment {
    int first, last; /* nodes */
    bool whole_batch;
    bool apart;     /* weight gradients go through partials */
    int recomputes; /* the first node that is recomputed here, see fv_recomputed; 0: none */
    int unit_samples, units, group;
    size_t weights, weight_count; /* the part of the net's weights that its nodes own */
    size_t partials;              /* offset of units (1: the whole batch) x weight_count sums */
} fv_segment;

typedef struct fv_plan {
    const fv_net *net;
    const fv_kernels *kernels;
    int batch, threads;
    bool training, exact;
    fv_algorithm forced;
    bool input_gradient, frozen, accumulates; /* see fv_plan_options */
    bool from_file; /* the net's weights are in its file: see place_weights() */
    fv_node_plan *nodes;
    fv_segment *segments;
    int segment_count;
    size_t gradients;        /* offset of net->weight_size sums (training) */
    size_t staging, reading; /* room for a layer's weights while it packs them; from_file: in
                                a thread's block, for what it reads of the file */
    size_t threads_at, thread_bytes; /* offset of the threads' blocks, and the size of one */
    size_t arena_bytes;
    fv_memory memory;
} fv_plan;

/* A node that a loss judges; raw: the loss computes its activation too. */
typedef struct fv_plan_loss {
    int node;
    bool raw;
} fv_plan_loss;

typedef struct fv_plan_options {
    int batch, threads;
    bool training, exact;
    bool input_gradient;        /* of the loss by the input layer's output, see execute.h */
    bool frozen;                /* no weight learns, whatever their tuning says */
    bool accumulates;           /* the gradients of batches are added, see fv_samples.adds */
    const fv_plan_loss *losses; /* their outputs are kept, and in training their gradients */
    int loss_count;
    fv_shape input; /* rank 0 and no channels: the net's own */
    /* Names to keep beside the main output, ended by NULL. NULL: in training none, at inference all
     * outputs of the net. */
    const char *const *outputs;
} fv_plan_options;

/* Makes the plan of a built net, allocating nothing of its arena. */
fv_status fv_plan_make(fv_plan *plan, const fv_net *net, const fv_plan_options *options);
void fv_plan_free(fv_plan *plan);

/* The node whose step forward does the work of node n, which is no view of its own. */
static inline int fv_forward_node(const fv_plan *plan, int n) {
    const fv_node_plan *p = &plan->nodes[n];
    return p->feeds ? p->feeds : p->summed_by ? p->summed_by : n;
}

/* The node and kind of an output's name; "conv1.pre" sets *before. FV_INVALID when unknown. */
fv_status fv_plan_find_output(const fv_net *net, const char *name, int *node, bool *before);

#endif
