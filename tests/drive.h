/* Drives one layer record through its life as the executor does: infer, prepare, pack, forward,
 * backward; each buffer exactly as large as the contract of layers/layer.h promises, between
 * canaries. Called by tests/layer_cases.c. */
#ifndef FV_TESTS_DRIVE_H
#define FV_TESTS_DRIVE_H

#include "layers/layer.h"
#include "support.h"

enum { MOST_INPUTS = 4 };

typedef struct drive {
    /* What to run: set before drive_prepare(). */
    const fv_layer_type *type;
    const void *options;
    int input_count; /* 0: the input layer, which reads in[0] as its source */
    fv_shape inputs[MOST_INPUTS];
    const fv_kernels *kernels;
    fv_pool *pool;  /* of layers that run over the whole batch */
    int samples;    /* of the run */
    int batch;      /* that was planned for; at least `samples` */
    int first_call; /* sample layers: so many samples in a first call, the rest in a second */
    bool training, exact;
    bool
        frozen; /* training without gradients of the weights; so it is without weights that learn */
    bool wants_gradient[MOST_INPUTS]; /* of the inputs, in training */
    bool bytes;                       /* the input layer reads bytes */
    bool linear;                      /* the loss takes over the layer's activation */
    uint64_t seed;
    uint32_t node;
    const uint32_t *epochs, *indices;

    /* What comes of it. The caller fills `in` and `weights` after drive_prepare(), and
     * `out_gradient` after drive_forward(). `in` holds bytes where `bytes` is set. */
    fv_inference inference;
    fv_setting setting;
    fv_layer_plan plan;
    bool whole;                              /* runs over the whole batch */
    bool packed_once;                        /* weights that pack() spent are gone */
    size_t in_count[MOST_INPUTS], out_count; /* values a sample */
    size_t weight_count[FV_MAX_WEIGHTS];
    guarded in[MOST_INPUTS], in_gradient[MOST_INPUTS], out, out_gradient;
    guarded weights[FV_MAX_WEIGHTS], weight_gradients[FV_MAX_WEIGHTS];
    guarded kept, packed, scratch, held, shared;
    size_t scratch_stride;
} drive;

/* Infers, plans and allocates; fails as infer does. */
fv_status drive_prepare(drive *d);
/* Packs and runs. Afterwards canaries, input and weights are checked. */
void drive_forward(drive *d);
/* Takes away what the plan does not say backward needs, then runs and checks as above. */
void drive_backward(drive *d);
void drive_free(drive *d);

#endif
