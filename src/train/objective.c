/* The net's losses on a batch: which node, which field of the data, what they come to, and the
 * gradients of the outputs. Called by the training step and by evaluation.
 *
 * A loss runs over blocks of places, or of one sample, on all threads. Blocks follow from the
 * shapes alone, and their sums are added in order, so the threads cannot matter. */
#include "train/train.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK_VALUES = 8192 }; /* speed only */

struct fv_block_sums {
    double sum, divisor;
    size_t counted, correct, read; /* read: places before one with a wrong class index */
};

/* ---- Opening -------------------------------------------------------------------------------- */

static bool takes_over(const fv_loss_type *type, fv_activation activation) {
    return activation != FV_LINEAR &&
           (activation == type->takes_over[0] || activation == type->takes_over[1]);
}

/* The first layer that reads what lies in the memory of `root`; views do not count. -1: none. */
static int reader_of(const fv_net *net, int root) {
    for (int n = root + 1; n < net->count; n++)
        for (int i = 0; i < net->nodes[n].input_count && !net->nodes[n].type->view; i++)
            if (fv_judged_make(net, net->nodes[n].inputs[i], "", "").root == root)
                return n;
    return -1;
}

/* Decides whether the loss sees the output before its activation. */
static fv_status take_over(fv_loss_term *term, const fv_net *net) {
    const fv_loss_type *type = term->type;
    const fv_node *root = &net->nodes[term->judged.root];
    char place[128], other[128];
    if (type->takes_over[0] == FV_LINEAR || root->activation == FV_LINEAR)
        return FV_OK;
    fv_node_place(net, root, place);
    if (!takes_over(type, root->activation))
        return fv_fail(FV_INVALID, "%s needs %s (or no activation) at the end of %s, not %s",
                       type->name, fv_activation_names[type->takes_over[0]], place,
                       fv_activation_names[root->activation]);
    if (!type->binary && root->output.channels != term->judged.shape.channels)
        return fv_fail(FV_SHAPE,
                       "%s of %s: its %s is over %d channels, but %d classes are judged (put the "
                       "activation behind the flatten)",
                       term->what, place, fv_activation_names[root->activation],
                       root->output.channels, term->judged.shape.channels);
    int reader = reader_of(net, term->judged.root);
    if (reader >= 0)
        return fv_fail(FV_INVALID,
                       "%s takes over the %s of %s, but %s reads its output too (leave it out "
                       "there, and put it in a layer of its own for %s)",
                       term->what, fv_activation_names[root->activation], place,
                       fv_node_place(net, &net->nodes[reader], other), net->nodes[reader].name);
    term->raw = true;
    return FV_OK;
}

/* A loss that takes an activation over must not share the output with one that needs it. */
static fv_status check_sharing(const fv_objective *o) {
    for (int i = 0; i < o->term_count; i++)
        for (int k = 0; k < o->term_count; k++) {
            const fv_loss_term *a = &o->terms[i], *b = &o->terms[k];
            const fv_node *node = &o->net->nodes[a->judged.root];
            char place[128];
            if (a->raw && !b->raw && a->judged.root == b->judged.root)
                return fv_fail(FV_INVALID,
                               "%s takes over the %s of %s, whose output %s judges too (leave it "
                               "out there, and put it in a layer of its own for %s)",
                               a->what, fv_activation_names[node->activation],
                               fv_node_place(o->net, node, place), b->what, b->what);
        }
    return FV_OK;
}

static fv_status check_options(const fv_loss_term *term, const fv_net *net) {
    char place[128];
    fv_node_place(net, &net->nodes[term->judged.node], place);
    int weights = term->options.class_weight_count, channels = term->judged.shape.channels;
    int classes = term->type->binary && channels == 1 ? 2 : channels;
    if (weights && weights != classes)
        return fv_fail(FV_SHAPE, "%s of %s has %d class weights, but %d classes", term->what, place,
                       weights, classes);
    const fv_shape *shape = term->through ? &term->through->shape : &term->judged.shape;
    fv_status status = term->type->fits ? term->type->fits(shape) : FV_OK;
    return status ? fv_fail_in(status, "%s of %s", term->what, place) : FV_OK;
}

static fv_status open_term(fv_objective *o, const fv_loss_options *options, int node,
                           bool load_models) {
    fv_loss_term *term = &o->terms[o->term_count++];
    term->type = fv_loss_find(options->type);
    if (!term->type)
        return FV_INVALID;
    term->options = *options;
    fv_loss_resolve(term->type, &term->options);
    snprintf(term->what, sizeof term->what, "loss %s", term->type->name);
    term->judged = fv_judged_make(o->net, node, term->what, term->options.target);
    term->judged.classes = term->type->classes;
    term->judged.ignore = term->options.ignore;
    term->judged.ignore_count = term->options.ignore_count;
    fv_status status = take_over(term, o->net);
    if (!status && *options->through && load_models &&
        !(term->through = fv_through_new(options, &term->judged, o->net)))
        status = fv_error_status();
    if (!status && !(*options->through && !load_models))
        status = check_options(term, o->net);
    fv_answer answer = term->type->answer;
    bool binary = answer == FV_ANSWER_BINARY;
    if (o->answer < 0 && answer && !options->auxiliary &&
        (!binary || term->judged.shape.channels == 1))
        o->answer = o->term_count - 1;
    return status;
}

/* What the runner must keep for the losses. */
static void list_nodes(fv_objective *o) {
    bool input = false;
    for (int i = 0; i < o->term_count; i++) {
        const fv_loss_term *term = &o->terms[i];
        o->plan[o->loss_count++] = (fv_plan_loss){.node = term->judged.root, .raw = term->raw};
        input |= !term->type->no_target && strcmp(term->judged.target, "input") == 0;
    }
    if (input)
        o->plan[o->loss_count++] = (fv_plan_loss){.node = 0};
}

/* Validation and tests need a loss that is not auxiliary. */
static fv_status check_losses(const fv_net *net) {
    bool other = net->loss_count == 0;
    for (int i = 0; i < net->loss_count; i++)
        other |= !net->losses[i].options.auxiliary;
    if (net->loss_count > 0 && net->train.loss[0])
        return fv_fail(FV_INVALID,
                       "the net has a loss of its own (%s) beside the train line's "
                       "loss=%s: keep one of them",
                       net->losses[0].options.type, net->train.loss);
    return other ? FV_OK
                 : fv_fail(FV_INVALID, "all losses of the net are auxiliary, so that none is left "
                                       "for validation and tests (one must not be)");
}

static fv_status open_terms(fv_objective *o, const fv_net *net, bool training, bool load_models) {
    *o = (fv_objective){.net = net, .answer = -1};
    fv_loss_options single = {0};
    fv_status status = check_losses(net);
    snprintf(single.type, sizeof single.type, "%s", net->train.loss);
    if (status)
        return status;
    if (net->loss_count == 0)
        status = open_term(o, &single, net->main_output, load_models);
    for (int i = 0; !status && i < net->loss_count; i++)
        if (training || !net->losses[i].options.auxiliary)
            status = open_term(o, &net->losses[i].options, net->losses[i].node, load_models);
    if (!status)
        status = check_sharing(o);
    list_nodes(o);
    if (status)
        fv_objective_close(o);
    return status;
}

fv_status fv_objective_open(fv_objective *o, const fv_net *net, bool training) {
    return open_terms(o, net, training, true);
}

void fv_objective_close(fv_objective *o) {
    for (int i = 0; i < o->term_count; i++)
        fv_through_free(o->terms[i].through);
    fv_free(o->blocks);
    fv_free(o->scratch);
    *o = (fv_objective){0};
}

fv_status fv_objective_bind(fv_objective *o, const fv_field *fields, int count) {
    fv_status status = FV_OK;
    for (int i = 0; !status && i < o->term_count; i++)
        if (!o->terms[i].type->no_target)
            status = fv_judged_bind(&o->terms[i].judged, o->net, fields, count);
    return status;
}

fv_status fv_objective_check(const fv_net *net, const fv_field *fields, int count, int classes,
                             bool training) {
    fv_objective o;
    char place[128];
    fv_status status = open_terms(&o, net, training, false);
    if (!status)
        status = fv_objective_bind(&o, fields, count);
    for (int i = 0; !status && i < o.term_count; i++) {
        const fv_judged *judged = &o.terms[i].judged;
        if (judged->indices && judged->ignore_count == 0 && strcmp(judged->target, "label") == 0 &&
            classes > judged->shape.channels)
            status = fv_fail(FV_SHAPE, "labels up to %d, but the net has %d outputs (give %s %d)",
                             classes - 1, judged->shape.channels,
                             fv_node_place(net, &net->nodes[judged->node], place), classes);
    }
    fv_objective_close(&o);
    return status;
}

/* ---- One block of one loss ------------------------------------------------------------------ */

/* A loss on a batch, and where each thread has its room. */
typedef struct pass {
    const fv_objective *objective;
    const fv_loss_term *term;
    const fv_runner *runner;
    const fv_batch *batch;
    const fv_shape *shape;         /* of what is compared: of the output, or of features */
    const real *outputs, *targets; /* targets: features; NULL: of the batch */
    real *gradient;
    double scale;
    bool answers, count_only; /* count_only: just the divisor */
    size_t rows, block_rows, channels;
    size_t weights_at, labels_at, numbers_at, thread_bytes;
} pass;

/* The weight of each place, and what that adds to the divisor. Under torch's formula classes weigh
 * the targets themselves. */
static void weigh(const pass *p, size_t rows, real *values, const int *labels, double *weights,
                  struct fv_block_sums *sums) {
    const fv_loss_options *o = &p->term->options;
    bool torch = o->formula == FV_TORCH;
    for (size_t r = 0; r < rows; r++) {
        int label = labels[r];
        double of_class = o->class_weight_count && label >= 0 ? o->class_weights[label] : 1;
        weights[r] = label < 0 ? 0 : torch ? 1 : of_class;
        sums->divisor += label < 0 ? 0 : torch && p->term->judged.indices ? of_class : 1;
        sums->counted += label >= 0;
        for (size_t c = 0; torch && o->class_weight_count && c < p->channels; c++)
            values[r * p->channels + c] *= (real)o->class_weights[c];
    }
}

static void smooth_targets(const pass *p, size_t count, real *values) {
    double share = p->term->options.label_smoothing;
    double classes = p->term->type->binary ? 2 : (double)p->channels;
    for (size_t i = 0; share > 0 && i < count; i++)
        values[i] = (real)((double)values[i] * (1 - share) + share / classes);
}

/* Targets, labels and weights of the block. */
static bool read_block(const pass *p, size_t first, size_t rows, real *values, int *labels,
                       double *weights, struct fv_block_sums *sums) {
    bool features = p->targets || p->term->type->no_target;
    sums->read = rows;
    if (features) {
        for (size_t r = 0; r < rows; r++) {
            weights[r] = 1;
            labels[r] = 0;
        }
        sums->divisor = (double)rows;
    } else {
        sums->read =
            fv_judged_read(&p->term->judged, p->runner, p->batch, first, rows, values, labels);
        if (sums->read < rows)
            return false;
        smooth_targets(p, rows * p->channels, values);
        weigh(p, rows, values, labels, weights, sums);
    }
    if (p->term->type->mean == FV_MEAN_VALUES)
        sums->divisor *= (double)p->channels;
    else if (p->term->type->mean == FV_MEAN_SAMPLES)
        sums->divisor = 1;
    return true;
}

static size_t count_correct(const pass *p, const real *outputs, size_t rows, const int *labels) {
    size_t correct = 0;
    for (size_t r = 0; r < rows; r++)
        correct += labels[r] == fv_answer_of(p->term->type->answer, outputs + r * p->channels,
                                             (int)p->channels, 0);
    return correct;
}

static void run_block(void *argument, int unit, int thread) {
    const pass *p = argument;
    struct fv_block_sums *sums = &p->objective->blocks[unit];
    unsigned char *room = p->objective->scratch + (size_t)thread * p->thread_bytes;
    real *values = (real *)room;
    double *weights = (double *)(room + p->weights_at);
    int *labels = (int *)(room + p->labels_at);
    size_t first = (size_t)unit * p->block_rows, at = first * p->channels;
    size_t rows = p->rows - first < p->block_rows ? p->rows - first : p->block_rows;
    *sums = (struct fv_block_sums){0};
    if (!read_block(p, first, rows, values, labels, weights, sums) || p->count_only)
        return;
    fv_loss_block block = {.options = &p->term->options,
                           .shape = p->shape,
                           .rows = rows,
                           .channels = (int)p->channels,
                           .outputs = p->outputs + at,
                           .targets = p->targets ? p->targets + at : values,
                           .weights = weights,
                           .scale = p->scale,
                           .gradient = p->gradient ? p->gradient + at : NULL,
                           .scratch = (double *)(room + p->numbers_at)};
    sums->sum = p->term->type->run(&block);
    if (p->answers)
        sums->correct = count_correct(p, p->outputs + at, rows, labels);
}

/* ---- A batch -------------------------------------------------------------------------------- */

static size_t block_count(const pass *p) {
    return (p->rows + p->block_rows - 1) / p->block_rows;
}

/* Places the parts of a thread's room, and grows what is too small. */
static fv_status make_room(fv_objective *o, pass *p) {
    size_t threads = (size_t)fv_pool_threads(p->runner->pool), numbers = 0, bytes;
    if (p->term->type->scratch)
        numbers = p->term->type->scratch(p->shape);
    p->weights_at = fv_round_up(p->block_rows * p->channels * sizeof(real), 64);
    p->labels_at = p->weights_at + fv_round_up(p->block_rows * sizeof(double), 64);
    p->numbers_at = p->labels_at + fv_round_up(p->block_rows * sizeof(int), 64);
    p->thread_bytes = p->numbers_at + fv_round_up(numbers * sizeof(double), 64);
    if (!fv_size_product(threads, p->thread_bytes, &bytes))
        return fv_fail(FV_MEMORY, "%s needs more memory than there is", p->term->what);
    if (o->scratch_room < bytes) {
        fv_free(o->scratch);
        o->scratch = fv_alloc(bytes, 1);
        o->scratch_room = o->scratch ? bytes : 0;
    }
    if (o->block_room < block_count(p)) {
        fv_free(o->blocks);
        o->blocks = fv_alloc(block_count(p), sizeof *o->blocks);
        o->block_room = o->blocks ? block_count(p) : 0;
    }
    return o->scratch && o->blocks ? FV_OK : FV_MEMORY;
}

static pass make_pass(const fv_objective *o, const fv_loss_term *term, const fv_runner *runner,
                      const fv_batch *batch, bool gradients) {
    const fv_through *through = term->through;
    pass p = {.objective = o,
              .term = term,
              .runner = runner,
              .batch = batch,
              .answers = o->answer >= 0 && term == &o->terms[o->answer]};
    p.shape = through ? &through->shape : &term->judged.shape;
    p.outputs =
        through ? fv_through_features(through) : fv_runner_output(runner, term->judged.root, false);
    p.targets = through ? through->targets : NULL;
    p.channels = (size_t)p.shape->channels;
    size_t places = fv_shape_count(p.shape) / p.channels;
    p.rows = places * (size_t)batch->samples;
    p.block_rows = p.channels < BLOCK_VALUES ? BLOCK_VALUES / p.channels : 1;
    if (term->type->mean == FV_MEAN_SAMPLES)
        p.block_rows = places;
    if (p.block_rows > p.rows)
        p.block_rows = p.rows;
    if (gradients && fv_runner_output_gradient(runner, term->judged.root))
        p.gradient = through ? fv_through_gradient(through)
                             : fv_runner_output_gradient(runner, term->judged.root);
    return p;
}

/* All blocks, summed in their order. */
static fv_status run_blocks(const fv_objective *o, pass *p, struct fv_block_sums *total) {
    size_t count = block_count(p);
    *total = (struct fv_block_sums){0};
    fv_pool_run(p->runner->pool, (int)count, run_block, p);
    for (size_t i = 0; i < count; i++) {
        const struct fv_block_sums *one = &o->blocks[i];
        size_t first = i * p->block_rows;
        size_t rows = p->rows - first < p->block_rows ? p->rows - first : p->block_rows;
        if (one->read < rows)
            return fv_judged_fail(&p->term->judged, o->net, p->batch, first + one->read);
        total->sum += one->sum;
        total->divisor += one->divisor;
        total->counted += one->counted;
        total->correct += one->correct;
    }
    return FV_OK;
}

/* The gradient's divisor: counted first where places may be left out or weigh differently. */
static fv_status find_divisor(const fv_objective *o, pass *p, double *divisor) {
    const fv_loss_options *options = &p->term->options;
    fv_mean mean = p->term->type->mean;
    *divisor = mean == FV_MEAN_VALUES ? (double)p->rows * (double)p->channels
               : mean == FV_MEAN_ROWS ? (double)p->rows
                                      : (double)p->batch->samples;
    if (!p->gradient || mean == FV_MEAN_SAMPLES ||
        (options->ignore_count == 0 && options->class_weight_count == 0))
        return FV_OK;
    struct fv_block_sums total;
    p->count_only = true;
    fv_status status = run_blocks(o, p, &total);
    p->count_only = false;
    *divisor = total.divisor;
    return status;
}

static fv_status run_term(fv_objective *o, int index, fv_runner *runner, const fv_batch *batch,
                          bool gradients) {
    fv_loss_term *term = &o->terms[index];
    fv_status status = FV_OK;
    if (term->through)
        status = fv_through_forward(term->through, &term->judged, runner, batch, gradients);
    if (status)
        return status;
    pass p = make_pass(o, term, runner, batch, gradients);
    struct fv_block_sums total;
    double divisor = 0;
    status = make_room(o, &p);
    if (!status)
        status = find_divisor(o, &p, &divisor);
    p.scale = divisor > 0 ? term->options.weight / divisor : 0;
    if (!status)
        status = run_blocks(o, &p, &total);
    if (status)
        return status;
    if (term->through && p.gradient)
        fv_through_backward(term->through, batch->samples,
                            fv_runner_output_gradient(runner, term->judged.root));
    o->batch.sums[index] = total.sum;
    o->batch.divisors[index] = total.divisor;
    if (p.answers) {
        o->batch.counted = total.counted;
        o->batch.correct = total.correct;
    }
    return FV_OK;
}

/* Losses add to the gradients of the nodes that they judge. */
static void clear_gradients(const fv_objective *o, const fv_runner *runner, int samples) {
    for (int i = 0; i < o->loss_count; i++) {
        int node = o->plan[i].node;
        real *gradient = fv_runner_output_gradient(runner, node);
        if (gradient)
            memset(gradient, 0,
                   fv_shape_count(&runner->plan.nodes[node].shape) * (size_t)samples *
                       sizeof *gradient);
    }
}

fv_status fv_objective_run(fv_objective *o, fv_runner *runner, const fv_batch *batch,
                           bool gradients, fv_score *score) {
    fv_status status = FV_OK;
    o->batch = (fv_totals){.samples = (size_t)batch->samples};
    if (gradients)
        clear_gradients(o, runner, batch->samples);
    for (int i = 0; !status && i < o->term_count; i++)
        status = run_term(o, i, runner, batch, gradients);
    if (!status)
        *score = fv_objective_score(o, &o->batch);
    return status;
}

/* ---- Sums ----------------------------------------------------------------------------------- */

void fv_totals_add(fv_totals *totals, const fv_totals *more) {
    totals->samples += more->samples;
    totals->counted += more->counted;
    totals->correct += more->correct;
    for (int i = 0; i < FV_MOST_LOSSES; i++) {
        totals->sums[i] += more->sums[i];
        totals->divisors[i] += more->divisors[i];
    }
}

fv_score fv_objective_score(const fv_objective *o, const fv_totals *totals) {
    fv_score score = {.samples = totals->samples, .accuracy = NAN};
    for (int i = 0; i < o->term_count; i++)
        if (totals->divisors[i] > 0)
            score.loss += o->terms[i].options.weight * totals->sums[i] / totals->divisors[i];
    if (totals->counted > 0)
        score.accuracy = (double)totals->correct / (double)totals->counted;
    return score;
}
