/* The frame in which layer types are held to their oracles: what a case and an oracle are, and
 * the running of a case on every instruction set of this machine: exactly on small integers where
 * the layer only adds, multiplies and compares, else within a bound from the length of its sums.
 * The oracle's own gradients are held to central differences. FV_FULL=1 runs the whole product of
 * cases instead of a choice of them. Called by tests/test_layers_*.c, one program a family.
 *
 * How to add a layer type:
 * 1. tests/oracles.def: a line ORACLE(family, name). test_layers_registry fails for a layer type
 *    without a line, and the family's program for a line without an oracle.
 * 2. tests/reference/: its formulas as naive loops in double.
 * 3. tests/test_layers_FAMILY.c: an `oracle` in its list: infer(), forward(), backward() (on the
 *    arrays of `sums`, samples together), and cases(), which calls
 *        layer_case c = make_case(self, &n, &options, &input);
 *        check_case(&c, "the options as text");
 *    for as many options, sizes and channels as there are (full_run(): all of them).
 * Functions that may be NULL have defaults that are right for layers that add and multiply. */
#ifndef FV_TESTS_LAYER_CASES_H
#define FV_TESTS_LAYER_CASES_H

#include "drive.h"
#include "reference/reference.h"
#include "support.h"

enum { MOST_CASE_SAMPLES = 17 };

/* Number in the data set and epoch of each sample: random layers depend on them. */
extern const uint32_t sample_epochs[MOST_CASE_SAMPLES], sample_indices[MOST_CASE_SAMPLES];

typedef struct oracle oracle;

/* A layer with its options on inputs of given shapes. Made by make_case(); a cases() function may
 * change any field before check_case(). */
typedef struct layer_case {
    const oracle *oracle;
    const fv_layer_type *type;
    const void *options;
    int input_count;
    fv_shape inputs[MOST_INPUTS];
    int samples, first_call, batch;   /* see drive.h */
    bool wants_gradient[MOST_INPUTS]; /* in training */
    bool bytes, linear;               /* see drive.h */
    bool any_work;                    /* run it however long it takes */
    uint64_t seed;
    uint32_t node;

    /* Of the pass at hand, set by the frame. `frozen`: training, but nobody wants the gradients of
     * the weights; batch_norm then uses its running statistics. */
    bool training, frozen;
} layer_case;

/* What infer() should say. */
typedef struct wanted_weight {
    const char *name;
    size_t count;
    bool statistic, updated, bias; /* see fv_weight_spec */
} wanted_weight;

typedef struct wanted {
    fv_shape output;
    int64_t macs;
    int weight_count;
    wanted_weight weights[FV_MAX_WEIGHTS];
    fv_activation activation;
    double constant;  /* the activation's; 0: its default */
    bool refuses_any; /* sizes of FV_ANY are refused; else they are passed on */
    /* Of a case that is refused: 0 is FV_SHAPE. With `says` the message has these words, else the
     * shapes of the inputs (of two that differ). */
    fv_status refusal;
    const char *says;

    /* For the frame: terms of the longest sum in z, dx and dw, and the terms that the oracle adds
     * for a sample, which decide whether a case is too long (0: macs, or values of the output). */
    size_t terms_z, terms_dx, terms_dw;
    int64_t work;
    bool inexact; /* results are rounded even on small integers */
} wanted;

/* The arrays of one pass, samples together. z is the output before the activation, next[w] what
 * forward makes of an `updated` weight in training. */
typedef struct sums {
    double *x[MOST_INPUTS], *w[FV_MAX_WEIGHTS], *z, *y, *next[FV_MAX_WEIGHTS];
    double *dy, *dz, *dx[MOST_INPUTS], *dw[FV_MAX_WEIGHTS];
} sums;

struct oracle {
    const char *type;
    void (*cases)(const oracle *self);
    /* False: the layer must refuse. *w comes zeroed. */
    bool (*infer)(const layer_case *c, wanted *w);
    /* z (and next) from x and w; dx and dw from x, w, z and dz. What they write is 0 before.
     * backward is NULL for the input layer. */
    void (*forward)(const layer_case *c, sums *v);
    void (*backward)(const layer_case *c, sums *v);
    /* What an error of one rounding in each term may add up to: a result is allowed to be off by
     * (terms + 8) roundings of size->z, dx, dw, next. `value` holds the pass itself; size holds
     * absolute values of x, w, dz. NULL: forward and backward over these absolute values. */
    void (*forward_size)(const layer_case *c, const sums *value, sums *size);
    void (*backward_size)(const layer_case *c, const sums *value, sums *size);
    /* Changes the numbers drawn for x and w (small integers or -1 to 1), as where a variance must
     * be positive. NULL: nothing to change. */
    void (*adjust)(const layer_case *c, bool integers, real *const *x, real *const *w);
};

/* ---- For cases() ------------------------------------------------------------------------------
 */

/* The minor choices of a case (samples, gradients wanted, ...) follow from `n`, so that all of them
 * meet all others. */
layer_case make_case(const oracle *o, numbers *n, const void *options, const fv_shape *input);
layer_case make_join(const oracle *o, numbers *n, const void *options, const fv_shape *inputs,
                     int count);

/* Runs it in all modes. The text names the options in messages; type, shapes and samples are put in
 * front of it. */
__attribute__((format(printf, 2, 3))) void check_case(const layer_case *c, const char *format, ...);

/* Channels that are and are not multiples of vectors. */
enum { CHANNELS = 9 };
extern const int channel_list[CHANNELS];

/* Cases of options that work on any shape: a few shapes of each rank with all channels. */
void check_shapes(const oracle *self, const void *options, const char *text);

/* One of the activations that can be fused. */
fv_activation some_activation(numbers *n);

size_t values_in(const layer_case *c, int input); /* of all samples */

/* "1x2x3" */
const char *sizes_text(const int sizes[3], char text[48]);

/* ---- Oracles that several share ---------------------------------------------------------------
 */

bool same_output(const layer_case *c, wanted *w); /* the input's shape, no weights */
void copy_forward(const layer_case *c, sums *v);
void copy_backward(const layer_case *c, sums *v);

/* A weight of what infer() should say. */
void want_weight(wanted *w, const char *name, size_t count);
void want_bias(wanted *w, const char *name, size_t count);

/* ---- The programs ------------------------------------------------------------------------------
 */

/* Runs the oracles of a family, each a test; each line of the family in oracles.def must have one.
 * The result of main(). */
int run_family(const char *family, const oracle *oracles, int count);

#endif
