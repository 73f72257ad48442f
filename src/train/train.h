/* Training inside the library: losses, optimisers, the step, evaluation, checkpoints. fit.c ties
 * them together. */
#ifndef FV_TRAIN_TRAIN_H
#define FV_TRAIN_TRAIN_H

#include "data/data.h"
#include "net/execute.h"
#include "train/loss.h"
#include <stdio.h>

/* ---- What a loss or metric judges, and by what (judged.c) --------------------------------------
 */

enum { FV_TARGET_NONE = -1, FV_TARGET_INPUT = -2 };

typedef struct fv_judged {
    const char *what; /* "loss mse", for messages */
    int node, root;   /* whose output; the node whose memory holds it (itself, but for views) */
    fv_shape shape;
    const char *target;
    bool classes; /* a target of a single number is always a class index */
    const double *ignore;
    int ignore_count;
    /* Set by fv_judged_bind(): */
    int field;    /* of the batch's targets, or FV_TARGET_... */
    bool indices; /* its values are class indices */
} fv_judged;

/* `target` "": label. */
fv_judged fv_judged_make(const fv_net *net, int node, const char *what, const char *target);
/* Finds the target among the fields of the data (without the input) and checks its shape. */
fv_status fv_judged_bind(fv_judged *judged, const fv_net *net, const fv_field *fields, int count);
/* Targets of `rows` places from place `row` of the batch on. values (rows x channels, may be NULL):
 * class indices become one-hot. labels (may be NULL): the class, -1 for an ignored one; of
 * values the first largest, of one channel whether it is above 1/2. Returns rows, or how many come
 * before one that is no class index. */
size_t fv_judged_read(const fv_judged *judged, const fv_runner *runner, const fv_batch *batch,
                      size_t row, size_t rows, real *values, int *labels);
/* The message for place `row`. */
fv_status fv_judged_fail(const fv_judged *judged, const fv_net *net, const fv_batch *batch,
                         size_t row);
/* Places of a sample. */
size_t fv_judged_places(const fv_judged *judged);
/* The class that a place's outputs name. `positive`: of one channel, class 1 is above it. */
int fv_answer_of(fv_answer answer, const real *outputs, int channels, double positive);

/* ---- A loss through another net (through.c) ---------------------------------------------------
 */

typedef struct fv_through {
    fv_net *model;
    fv_net *head; /* the model up to its layer: shares the nodes and weights */
    fv_shape shape;
    fv_runner runner;
    bool opened;
    const void **source;
    real *targets;  /* features of the batch's targets */
    real *pictures; /* the targets themselves */
} fv_through;

/* Loads the model; `judged`: what is to go through it. */
fv_through *fv_through_new(const fv_loss_options *options, const fv_judged *judged,
                           const fv_net *net);
void fv_through_free(fv_through *through);
/* Runs the targets and then the outputs of a batch through the model; both features are then there,
 * and the gradient of the latter is zero. */
fv_status fv_through_forward(fv_through *through, const fv_judged *judged, const fv_runner *runner,
                             const fv_batch *batch, bool gradients);
real *fv_through_features(const fv_through *through);
real *fv_through_gradient(const fv_through *through);
/* Adds the gradient of the outputs. */
void fv_through_backward(fv_through *through, int samples, real *gradient);

/* ---- The objective (objective.c): the net's losses on a batch ---------------------------------
 */

typedef struct fv_loss_term {
    const fv_loss_type *type;
    fv_loss_options options; /* with all defaults */
    char what[48];
    fv_judged judged;
    bool raw; /* judges the output before its activation */
    fv_through *through;
} fv_loss_term;

/* Sums over batches, of which a score is made. */
typedef struct fv_totals {
    size_t samples, counted, correct; /* places with a class, and those that were right */
    double sums[FV_MOST_LOSSES], divisors[FV_MOST_LOSSES];
} fv_totals;

typedef struct fv_objective {
    const fv_net *net;
    int term_count;
    fv_loss_term terms[FV_MOST_LOSSES];
    int answer;     /* the first loss with classes; -1: none */
    int loss_count; /* for fv_plan_options: judged nodes, and the input where it is a target */
    fv_plan_loss plan[FV_MOST_LOSSES + 1];
    fv_totals batch; /* of the last run */
    struct fv_block_sums *blocks;
    size_t block_room;
    unsigned char *scratch; /* of all threads */
    size_t scratch_room;
} fv_objective;

/* Finds the losses, in training the auxiliary ones too, and checks them against the layers that
 * they judge. It stays where it is opened: terms point into it. */
fv_status fv_objective_open(fv_objective *objective, const fv_net *net, bool training);
void fv_objective_close(fv_objective *objective);
/* Finds each loss's target among the fields of the data (without the input); checks their shapes.
 */
fv_status fv_objective_bind(fv_objective *objective, const fv_field *fields, int count);
/* After fv_runner_forward() on the batch. gradients: also writes those of the outputs, for
 * fv_runner_backward(). Same bits for any number of threads. */
fv_status fv_objective_run(fv_objective *objective, fv_runner *runner, const fv_batch *batch,
                           bool gradients, fv_score *score);
/* Adds the last run's sums; a score of sums. */
void fv_totals_add(fv_totals *totals, const fv_totals *more);
fv_score fv_objective_score(const fv_objective *objective, const fv_totals *totals);
/* Whether samples of `count` fields would do, without loading what losses go through. */
fv_status fv_objective_check(const fv_net *net, const fv_field *fields, int count, int classes,
                             bool training);

/* ---- Metrics (metric.c): measured over a data set ----------------------------------------------
 */

typedef struct fv_metric fv_metric;

typedef struct fv_metrics {
    const fv_net *net;
    int count;
    fv_metric *metrics;
    real *outputs, *values; /* of one sample */
    int *labels;
    double *scratch;
} fv_metrics;

/* The net's metrics; `objective` knows how its outputs name a class. */
fv_status fv_metrics_open(fv_metrics *metrics, const fv_net *net, const fv_objective *objective);
/* Only the counts of classes of the first loss with classes, for fv_confusion(). */
fv_status fv_metrics_open_confusion(fv_metrics *metrics, const fv_net *net,
                                    const fv_objective *objective, int classes, int64_t *counts);
void fv_metrics_close(fv_metrics *metrics);
/* Adds the nodes that they read to `losses` (of room), for fv_plan_options. */
int fv_metrics_plan(const fv_metrics *metrics, fv_plan_loss *losses, int count);
fv_status fv_metrics_bind(fv_metrics *metrics, const fv_field *fields, int count);
void fv_metrics_begin(fv_metrics *metrics);
fv_status fv_metrics_add(fv_metrics *metrics, const fv_runner *runner, const fv_batch *batch);
void fv_metrics_score(fv_metrics *metrics, fv_score *score);

/* ---- Schedules (schedule.c) ------------------------------------------------------------------ */

/* How long a loss has not fallen. Starts with best = infinity. */
typedef struct fv_patience {
    double best;
    int wait;
} fv_patience;

/* Fills in decay_steps where the schedule needs it: the run's steps (0: not known) without the
 * warmup. */
fv_status fv_schedule_prepare(fv_train_options *resolved, int64_t steps);
/* The learning rate of step `step` (from 0). plateau: the product of all its reductions. */
double fv_schedule_rate(const fv_train_options *resolved, int64_t step, double plateau);
/* Takes in the loss of one more epoch: whether it is the patience-th without a lower one. */
bool fv_patience_end(fv_patience *patience, double loss, double min_delta, int most);

/* ---- Optimisers (optimizer.c)
 * --------------------------------------------------------------------- */

enum { FV_MAX_SLOTS = 3 };

typedef struct fv_optimizer {
    fv_train_options train; /* resolved */
    fv_update_kernel *update;
    int slots;         /* arrays of state as large as the weights */
    double start;      /* what slot 0 starts with */
    bool decoupled;    /* weight decay goes to the weights, not to their gradients */
    bool norms;        /* lamb_moments first; then each weight's rate times |w| / |direction| */
    fv_update numbers; /* of the last fv_optimizer_begin_step */
    /* Of this step, in double: see fv_update. rate and gradient_rate without lr. */
    double lr, rate, root, gradient_rate;
    double product; /* nadam: of its momenta up to product_step */
    int64_t product_step;
    void (*correct)(struct fv_optimizer *optimizer, int64_t step);
} fv_optimizer;

/* The net's optimiser with all defaults filled in. */
fv_status fv_optimizer_make(const fv_train_options *options, const fv_kernels *kernels,
                            fv_optimizer *optimizer);
/* Sets the numbers of a step (from 1) with this learning rate. */
void fv_optimizer_begin_step(fv_optimizer *optimizer, int64_t step, double lr);
/* The step's numbers for a weight whose learning rate is `factor` times the others'. */
fv_update fv_optimizer_numbers(const fv_optimizer *optimizer, double factor);

/* ---- The step (trainer.c)
 * --------------------------------------------------------------------------- */

/* A weight that learns, and how. */
typedef struct fv_learner {
    const fv_weight *weight;
    double factor;           /* on the learning rate */
    double decay;            /* weight decay, 0: none */
    double l1, l2, max_norm; /* 0: none */
    int first_chunk, chunk_count;
    /* Of the running step: */
    fv_update numbers;
    double clip; /* factor on its gradient */
} fv_learner;

typedef struct fv_chunk { /* a piece of one weight, worked on by one thread */
    size_t offset, count;
    int learner;
    double sums[2]; /* what it adds to a norm or penalty */
} fv_chunk;

struct fv_trainer {
    fv_net *net;
    bool owns_net; /* released when the trainer is freed */
    fv_runner runner;
    fv_objective objective;
    fv_train_options train; /* resolved */
    fv_optimizer optimizer;
    /* Arrays in the order of net->weights: */
    real *slots[FV_MAX_SLOTS];
    real *average; /* of the weights (ema); NULL: none */
    int added;     /* batches, whose gradients are in the runner's */
    fv_learner *learners;
    int learner_count;
    fv_chunk *chunks;
    int chunk_count;
    int64_t step;   /* steps done, that is, updates */
    double plateau; /* what reductions on plateau have multiplied the learning rate with */
    uint64_t seed;
    const void **source; /* for fv_trainer_step */
    float *labels;
    uint32_t *epochs, *indices;
};

/* The net is acquired already. options as the public ones; train: the train line, whose `steps` are
 * those of the run (0: not known). */
fv_trainer *fv_trainer_open(fv_net *net, const fv_train_options *train,
                            const fv_trainer_options *options);
/* Forward, loss and backward on a batch whose fields the objective is bound to; its gradient is
 * added to those since the last update. On failure no weight has changed. */
fv_status fv_trainer_add(fv_trainer *trainer, const fv_batch *batch, fv_score *score);
/* One step with the mean of the gradients added (update.c). */
void fv_trainer_update(fv_trainer *trainer);
/* Arrays as large as the weights that training with these options keeps. */
int fv_trainer_arrays(const fv_optimizer *optimizer);

/* From gradients to weights (update.c). */
fv_status fv_update_open(fv_trainer *trainer);
void fv_update_statistics(fv_trainer *trainer);
double fv_update_penalty(fv_trainer *trainer); /* l1, l2 */

/* The first node with a weight that is no finite number; -1: none. */
int fv_trainer_broken_weights(const fv_trainer *trainer);

/* ---- Evaluation (evaluate.c)
 * --------------------------------------------------------------------------- */

typedef struct fv_evaluator {
    fv_runner runner;
    fv_objective objective;
    fv_metrics metrics;
    bool owns_pool;
} fv_evaluator;

/* `pool`: shared, or NULL for one of its own. */
fv_status fv_evaluator_open(fv_evaluator *evaluator, const fv_net *net, int batch, int threads,
                            bool exact, fv_pool *pool);
void fv_evaluator_close(fv_evaluator *evaluator);
/* Takes in the net's present weights. */
fv_status fv_evaluator_refresh(fv_evaluator *evaluator);
/* The losses of one batch, to whose fields the objective is bound; no metrics. */
fv_status fv_evaluator_batch(fv_evaluator *evaluator, const fv_batch *batch, fv_score *score);
/* Losses and metrics over a data set, to whose fields both are bound first. */
fv_status fv_evaluator_data(fv_evaluator *evaluator, const fv_data *data, fv_score *score);

/* Whether samples and targets of `data` fit the net, for training or else for a test; the message
 * names both shapes. */
fv_status fv_check_data(const fv_net *net, const fv_data *data, bool training);

/* ---- Checkpoints (checkpoint.c) and logs (log.c)
 * ----------------------------------------------------------- */

/* Where a run stands, besides weights and optimiser state. */
typedef struct fv_run_position {
    int64_t step;                  /* done */
    double loss_sum, accuracy_sum; /* of the running epoch, over `samples` */
    int64_t samples;
    double best_loss; /* of validation so far; infinity before the first */
    int64_t best_step;
    fv_patience stop, plateau; /* of early stopping and of schedule=plateau */
    double plateau_factor;     /* on the learning rate */
    real *best;                /* restore_best: the weights of best_step; NULL: not kept */
} fv_run_position;

fv_status fv_checkpoint_write(const char *path, const fv_trainer *trainer, int batch,
                              size_t data_count, const fv_run_position *position);
/* Restores weights, optimiser state and position. The file must come from the same net, optimiser,
 * batch and number of samples, and the same seed or (options' seed 0) sets trainer->seed; else
 * FV_INVALID saying what differs. isa: the instruction set of the run that wrote it, which rounds
 * its own way.
 */
fv_status fv_checkpoint_read(const char *path, fv_trainer *trainer, int batch, size_t data_count,
                             fv_run_position *position, char isa[16]);

/* A CSV file that grows by lines. Opening drops lines whose column `step_column` (from 0) is
 * beyond `step`: a resumed run writes them again. */
typedef struct fv_log {
    FILE *file;
    char *path;
} fv_log;

fv_status fv_log_open(fv_log *log, const char *path, const char *header, int step_column,
                      int64_t step);
__attribute__((format(printf, 2, 3))) fv_status fv_log_line(fv_log *log, const char *format, ...);
void fv_log_close(fv_log *log);

#endif
