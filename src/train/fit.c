/* The training loop: steps, epochs, validation, logs, checkpoints, and which weights it ends with;
 * fv_fit of the public header. */
#include "base/file.h"
#include "base/text.h"
#include "formats/formats.h"
#include "train/train.h"
#include <math.h>
#include <string.h>
#include <time.h>

typedef struct fit {
    fv_net *net;
    const fv_data *data, *validate; /* the samples trained on, and those measured */
    fv_data *held, *rest;           /* the net's holdout and what it leaves; NULL: none */
    fv_data *resized[2];            /* data and validate made to fit the net; NULL: they do */
    const fv_fit_options *options;
    fv_train_options train; /* the net's, with the options' overrides */
    int batch;
    int64_t step_batches;       /* batches of a step (accumulate); at an epoch's end fewer */
    size_t count;               /* samples of an epoch */
    int64_t steps, epoch_steps; /* of the run; of a whole epoch where epochs have whole steps */
    int64_t epoch_batches;
    fv_trainer *trainer;
    fv_evaluator evaluator; /* for validation and step logs */
    bool evaluates;
    fv_loader *loader;
    fv_log log, step_log;
    char *checkpoint, *model;
    fv_run_position position;
    int64_t epoch_begin; /* the step at which this epoch began, or the run was resumed */
    double epoch_time, epoch_waited; /* the clock and the loader then */
    bool stopped;                    /* early */
} fit;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- Counting steps and epochs
 *
 * A step is an update. It takes step_batches batches; where an epoch has no more, the rest. Carried
 * batches run on across epochs, and so do their steps.
 * --------------------------------------------------------------------- */

static double step_samples(const fit *f) {
    return (double)f->batch * (double)f->step_batches;
}

/* The first batch of step `step` (from 0). */
static int64_t first_batch(const fit *f, int64_t step) {
    if (f->train.last_batch == FV_LAST_CARRY)
        return step * f->step_batches;
    return step / f->epoch_steps * f->epoch_batches + step % f->epoch_steps * f->step_batches;
}

/* Whole epochs after `step` steps. */
static int64_t epochs_done(const fit *f, int64_t step) {
    if (f->train.last_batch == FV_LAST_CARRY)
        return (int64_t)((double)step * step_samples(f) / (double)f->count);
    return step / f->epoch_steps;
}

/* The step at which epoch `epoch` (from 0) ends. */
static int64_t epoch_end(const fit *f, int64_t epoch) {
    int64_t end = (epoch + 1) * f->epoch_steps;
    if (f->train.last_batch == FV_LAST_CARRY)
        end = (int64_t)ceil((double)(epoch + 1) * (double)f->count / step_samples(f));
    return end < f->steps ? end : f->steps;
}

static fv_status count_steps(fit *f) {
    f->step_batches = f->train.accumulate > 1 ? f->train.accumulate : 1;
    f->epoch_batches = fv_epoch_steps(f->count, f->batch, f->train.last_batch);
    if (f->epoch_batches < 1 && f->train.last_batch == FV_LAST_CARRY)
        f->epoch_batches = 1;
    f->epoch_steps = (f->epoch_batches + f->step_batches - 1) / f->step_batches;
    if (f->epoch_batches < 1)
        return fv_fail(FV_INVALID,
                       "%zu samples do not fill a batch of %d, and last_batch=drop leaves it out "
                       "(use a smaller batch)",
                       f->count, f->batch);
    int epochs = f->train.epochs ? f->train.epochs : 1;
    f->steps = f->train.steps;
    if (f->steps == 0 && f->train.last_batch == FV_LAST_CARRY)
        f->steps = (int64_t)ceil((double)epochs * (double)f->count / step_samples(f));
    else if (f->steps == 0)
        f->steps = epochs * f->epoch_steps;
    return FV_OK;
}

static bool tell(const fit *f, const fv_progress *progress) {
    return !f->options->observer || f->options->observer(f->options->argument, progress);
}

static void tell_note(const fit *f, const char *note) {
    fv_progress p = {.event = FV_EVENT_NOTE, .step = f->position.step, .note = note};
    tell(f, &p);
}

/* ---- Setting up
 * ----------------------------------------------------------------------------------------- */

/* Takes the holdout from the front of the data, then the limit from the front of the rest. */
static fv_status choose_samples(fit *f) {
    size_t count = fv_data_count(f->data), held = (size_t)f->train.holdout;
    size_t left = count > held ? count - held : 0, limit = f->options->limit;
    f->validate = f->options->validate;
    if (left == 0)
        return fv_fail(FV_INVALID, "the net holds out %zu samples, but %s has only %zu", held,
                       fv_data_place(f->data), count);
    if (held > 0 && !f->validate && !(f->validate = f->held = fv_data_slice(f->data, 0, held)))
        return fv_error_status();
    if (held == 0 && (limit == 0 || limit >= left))
        return FV_OK;
    f->rest = fv_data_slice(f->data, held, limit && limit < left ? limit : left);
    f->data = f->rest;
    return f->rest ? FV_OK : fv_error_status();
}

static fv_status check_validation(const fit *f) {
    const char *what = f->train.early_stopping           ? "early_stopping"
                       : f->train.restore_best           ? "restore_best"
                       : f->train.schedule == FV_PLATEAU ? "schedule=plateau"
                                                         : NULL;
    if (!what || f->validate)
        return FV_OK;
    return fv_fail(FV_INVALID,
                   "%s goes by the validation loss, but there is no validation data: give some, or "
                   "the train line a holdout",
                   what);
}

static fv_status resolve(fit *f) {
    const fv_fit_options *o = f->options;
    f->train = f->net->train;
    if (o->epochs < 0 || o->batch < 0 || o->threads < 0 || o->lr < 0 || !isfinite(o->lr))
        return fv_fail(FV_INVALID, "epochs, batch, threads and lr must be positive numbers");
    if (o->epochs) {
        f->train.epochs = o->epochs;
        f->train.steps = 0;
    }
    if (f->train.steps && f->train.epochs)
        return fv_fail(FV_INVALID, "the train line has both epochs and steps: give one of them");
    if (o->batch)
        f->train.batch = o->batch;
    if (o->lr != 0)
        f->train.lr = o->lr;
    f->batch = f->train.batch ? f->train.batch : 32;
    fv_status status = fv_train_check(&f->train);
    if (!status)
        status = choose_samples(f);
    if (!status)
        status = check_validation(f);
    if (status)
        return status;
    f->count = fv_data_count(f->data);
    if (f->count > UINT32_MAX)
        return fv_fail(FV_INVALID, "%zu samples: at most 2^32 are possible", f->count);
    int threads = o->threads ? o->threads : fv_default_threads();
    size_t keep = fv_keep_bytes();
    status = fv_data_fit(f->net, threads, keep, &f->data, &f->resized[0]);
    if (!status && f->validate)
        status = fv_data_fit(f->net, threads, keep, &f->validate, &f->resized[1]);
    if (!status)
        status = fv_check_data(f->net, f->data, true);
    if (!status && f->validate)
        status = fv_check_data(f->net, f->validate, false);
    return status ? status : count_steps(f);
}

static char *path_in(const char *folder, const char *name) {
    fv_text text = {0};
    fv_text_add(&text, "%s/%s", folder, name);
    return fv_text_take(&text);
}

static fv_status open_log(fit *f, fv_log *log, const char *name, const char *header, int column) {
    char *path = path_in(f->options->folder, name);
    fv_status status = path ? fv_log_open(log, path, header, column, f->position.step) : FV_MEMORY;
    fv_free(path);
    return status;
}

/* The name of metric m: its type, or OF.TYPE where several have that type. */
static void add_metric_name(const fv_net *net, int m, fv_text *text) {
    const char *type = net->metrics[m].options.type;
    int alike = 0;
    for (int i = 0; i < net->metric_count; i++)
        alike += strcmp(net->metrics[i].options.type, type) == 0;
    if (alike > 1)
        fv_text_add(text, "%s.", net->nodes[net->metrics[m].node].name);
    fv_text_add(text, "%s", type);
}

static fv_status open_epoch_log(fit *f) {
    fv_text header = {0};
    fv_text_add(&header, "epoch,step,loss,accuracy,val_loss,val_accuracy,seconds,"
                         "samples_per_second,lr");
    for (int m = 0; m < f->net->metric_count; m++) {
        fv_text_add(&header, ",val_");
        add_metric_name(f->net, m, &header);
    }
    fv_text_add(&header, ",data_seconds");
    fv_status status = header.failed ? FV_MEMORY : open_log(f, &f->log, "log.csv", header.bytes, 1);
    fv_text_free(&header);
    return status;
}

static fv_status resume(fit *f) {
    char isa[16];
    const char *present = f->trainer->runner.plan.kernels->name;
    fv_status status =
        fv_checkpoint_read(f->checkpoint, f->trainer, f->batch, f->count, &f->position, isa);
    if (status || strcmp(isa, present) == 0)
        return status;
    char note[200];
    snprintf(note, sizeof note,
             "the checkpoint was written with the instruction set %s, this run has %s, which "
             "rounds its own way (FOVEA_ISA=%s would go on with the same bits)",
             isa, present, isa);
    tell_note(f, note);
    return FV_OK;
}

static fv_status open_folder(fit *f) {
    const char *folder = f->options->folder;
    if (!folder)
        return FV_OK;
    f->checkpoint = path_in(folder, "checkpoint.safetensors");
    f->model = path_in(folder, "model.safetensors");
    if (!f->checkpoint || !f->model)
        return FV_MEMORY;
    fv_status status = fv_model_supported();
    if (!status)
        status = fv_make_folder(folder);
    if (status)
        return status;
    fv_remove_stale(f->checkpoint);
    fv_remove_stale(f->model);
    if (f->options->resume && fv_is_file(f->checkpoint))
        status = resume(f);
    if (!status)
        status = open_epoch_log(f);
    if (!status && f->train.log_every)
        status = open_log(f, &f->step_log, "steps.csv", "step,samples,loss,accuracy", 0);
    return status;
}

static fv_status bind_fields(fit *f) {
    fv_field fields[FV_MOST_FIELDS];
    return fv_objective_bind(&f->trainer->objective, fields, fv_data_fields(f->data, fields));
}

static fv_status start_position(fit *f) {
    f->position = (fv_run_position){.best_loss = INFINITY,
                                    .stop.best = INFINITY,
                                    .plateau.best = INFINITY,
                                    .plateau_factor = 1};
    if (f->train.restore_best)
        f->position.best = fv_alloc(f->net->weight_size, sizeof *f->position.best);
    return f->train.restore_best && !f->position.best ? FV_MEMORY : FV_OK;
}

static fv_status open_trainer(fit *f) {
    fv_trainer_options options = {.batch = f->batch,
                                  .threads = f->options->threads,
                                  .seed = f->options->seed,
                                  .exact = f->options->exact};
    fv_train_options train = f->train;
    train.steps = f->steps;
    fv_status status = f->net->initialized ? fv_net_read_weights(f->net)
                                           : fv_net_initialize(f->net, f->options->seed);
    if (status)
        return status;
    f->trainer = fv_trainer_open(f->net, &train, &options);
    return f->trainer ? FV_OK : fv_error_status();
}

/* Whether a run that is resumed had ended already. */
static bool is_done(const fit *f) {
    return f->position.step >= f->steps || f->stopped;
}

static fv_status open_fit(fit *f) {
    fv_status status = start_position(f);
    if (!status)
        status = open_trainer(f);
    if (!status)
        status = open_folder(f);
    f->evaluates = !status && (f->validate || f->train.log_every);
    if (f->evaluates) {
        status = fv_evaluator_open(&f->evaluator, f->net, f->batch, f->trainer->runner.plan.threads,
                                   f->options->exact, f->trainer->runner.pool);
        f->evaluates = !status;
    }
    if (!status)
        status = bind_fields(f);
    f->stopped = f->train.early_stopping && f->position.stop.wait >= f->train.early_stopping;
    if (status || is_done(f))
        return status;
    f->loader = fv_loader_new(f->data, f->batch, f->trainer->seed, f->train.last_batch,
                              first_batch(f, f->position.step), f->trainer->runner.plan.threads);
    return f->loader ? FV_OK : fv_error_status();
}

static void close_fit(fit *f) {
    fv_loader_free(f->loader);
    if (f->evaluates)
        fv_evaluator_close(&f->evaluator);
    fv_trainer_free(f->trainer);
    fv_log_close(&f->log);
    fv_log_close(&f->step_log);
    fv_data_free(f->resized[0]);
    fv_data_free(f->resized[1]);
    fv_data_free(f->held);
    fv_data_free(f->rest);
    fv_free(f->checkpoint);
    fv_free(f->model);
    fv_free(f->position.best);
}

/* ---- Telling the observer
 * ---------------------------------------------------------------------------------- */

static fv_progress progress(const fit *f, fv_event event) {
    const fv_run_position *p = &f->position;
    int64_t epoch = epochs_done(f, p->step - 1);
    int64_t begin = epoch > 0 ? epoch_end(f, epoch - 1) : 0;
    double seconds = now() - f->epoch_time;
    double rate = (double)(p->step - f->epoch_begin) / (seconds > 0 ? seconds : 1e-9);
    return (fv_progress){.event = event,
                         .epoch = (int)epoch + 1,
                         .epochs = f->train.steps ? 0 : (f->train.epochs ? f->train.epochs : 1),
                         .step = p->step,
                         .steps = f->steps,
                         .epoch_step = p->step - begin,
                         .epoch_steps = epoch_end(f, epoch) - begin,
                         .loss = p->samples ? p->loss_sum / (double)p->samples : NAN,
                         .accuracy = p->samples ? p->accuracy_sum / (double)p->samples : NAN,
                         .val_loss = NAN,
                         .val_accuracy = NAN,
                         .lr = f->trainer->optimizer.lr,
                         .seconds = seconds,
                         .data_seconds = fv_loader_waited(f->loader) - f->epoch_waited,
                         .samples_per_second = rate * step_samples(f),
                         .seconds_left = (double)(f->steps - p->step) / rate};
}

/* ---- Steps and epochs
 * ----------------------------------------------------------------------------------------- */

static fv_status save_checkpoint(const fit *f) {
    if (!f->checkpoint)
        return FV_OK;
    return fv_checkpoint_write(f->checkpoint, f->trainer, f->batch, f->count, &f->position);
}

/* The (last) batch just trained on, with dropout off. */
static fv_status log_step(fit *f, const fv_batch *batch, bool *go_on) {
    fv_score score;
    fv_field fields[FV_MOST_FIELDS];
    fv_status status = fv_evaluator_refresh(&f->evaluator);
    /* Validation bound it to the fields of other data. */
    if (!status)
        status =
            fv_objective_bind(&f->evaluator.objective, fields, fv_data_fields(f->data, fields));
    if (!status)
        status = fv_evaluator_batch(&f->evaluator, batch, &score);
    if (status)
        return status;
    fv_progress p = progress(f, FV_EVENT_LOG);
    p.loss = score.loss;
    p.accuracy = score.accuracy;
    *go_on &= tell(f, &p);
    if (!f->step_log.file)
        return FV_OK;
    return fv_log_line(&f->step_log, "%lld,%lld,%.9g,%.9g", (long long)p.step,
                       (long long)p.step * f->batch * f->step_batches, p.loss, p.accuracy);
}

static fv_status check_weights(const fit *f) {
    int n = fv_trainer_broken_weights(f->trainer);
    char place[128];
    if (n < 0)
        return FV_OK;
    return fv_fail(FV_NUMERIC,
                   "step %lld: the weights of layer %s are no longer finite numbers (lower the "
                   "learning rate)",
                   (long long)f->position.step, fv_node_place(f->net, &f->net->nodes[n], place));
}

/* With the average of weights, where there is one. */
static fv_status validate(fit *f, fv_score *score) {
    real *own = f->net->weights;
    if (f->trainer->average)
        f->net->weights = f->trainer->average;
    fv_status status = fv_evaluator_refresh(&f->evaluator);
    if (!status)
        status = fv_evaluator_data(&f->evaluator, f->validate, score);
    fv_run_position *p = &f->position;
    if (!status && score->loss < p->best_loss) {
        p->best_loss = score->loss;
        p->best_step = p->step;
        if (p->best)
            memcpy(p->best, f->net->weights, f->net->weight_size * sizeof *p->best);
    }
    f->net->weights = own;
    return status;
}

/* What follows from the epoch's validation loss. */
static void wait_for_lower(fit *f, double loss) {
    const fv_train_options *o = &f->trainer->train;
    fv_run_position *p = &f->position;
    double least = o->min_delta != 0 ? o->min_delta : 1e-4;
    if (fv_patience_end(&p->stop, loss, o->min_delta, o->early_stopping) && o->early_stopping)
        f->stopped = true;
    if (o->schedule == FV_PLATEAU && fv_patience_end(&p->plateau, loss, least, o->patience)) {
        p->plateau.wait = 0;
        p->plateau_factor *= o->gamma;
        f->trainer->plateau = p->plateau_factor;
    }
}

static fv_status log_epoch(fit *f, const fv_progress *p) {
    fv_text row = {0};
    fv_text_add(&row, "%d,%lld,%.9g,%.9g,%.9g,%.9g,%.3f,%.1f,%.9g", p->epoch, (long long)p->step,
                p->loss, p->accuracy, p->val_loss, p->val_accuracy, p->seconds,
                p->samples_per_second, p->lr);
    for (int m = 0; m < f->net->metric_count; m++)
        fv_text_add(&row, ",%.9g",
                    p->validation && m < p->validation->metric_count
                        ? p->validation->metrics[m].value
                        : NAN);
    fv_text_add(&row, ",%.3f", p->data_seconds);
    fv_status status = row.failed ? FV_MEMORY : fv_log_line(&f->log, "%s", row.bytes);
    fv_text_free(&row);
    return status;
}

static void begin_epoch(fit *f) {
    f->epoch_begin = f->position.step;
    f->epoch_time = now();
    f->epoch_waited = fv_loader_waited(f->loader);
}

/* The row comes before the checkpoint: a run killed between the two writes the row again. */
static fv_status end_epoch(fit *f, bool *go_on) {
    fv_score score;
    fv_progress p = progress(f, FV_EVENT_EPOCH);
    fv_status status = check_weights(f);
    if (!status && f->validate) {
        status = validate(f, &score);
        p.val_loss = score.loss;
        p.val_accuracy = score.accuracy;
        p.validation = &score;
    }
    if (!status && f->log.file)
        status = log_epoch(f, &p);
    if (!status && f->validate)
        wait_for_lower(f, score.loss);
    f->position.loss_sum = f->position.accuracy_sum = 0;
    f->position.samples = 0;
    if (!status)
        status = save_checkpoint(f);
    if (!status)
        *go_on &= tell(f, &p);
    begin_epoch(f);
    return status;
}

/* The batches of one step; *batch is the last of them. */
static fv_status add_batches(fit *f, const fv_batch **batch) {
    int64_t count = first_batch(f, f->position.step + 1) - first_batch(f, f->position.step);
    fv_run_position *p = &f->position;
    for (int64_t i = 0; i < count; i++) {
        fv_score score;
        *batch = fv_loader_next(f->loader);
        if (!*batch)
            return fv_error_status();
        fv_status status = fv_trainer_add(f->trainer, *batch, &score);
        if (status)
            return status;
        p->loss_sum += score.loss * (*batch)->samples;
        p->accuracy_sum += score.accuracy * (*batch)->samples;
        p->samples += (*batch)->samples;
    }
    return FV_OK;
}

static fv_status one_step(fit *f, bool *go_on) {
    const fv_batch *batch = NULL;
    fv_status status = add_batches(f, &batch);
    if (status)
        return status;
    fv_trainer_update(f->trainer);
    fv_run_position *p = &f->position;
    p->step = f->trainer->step;
    fv_progress report = progress(f, FV_EVENT_STEP);
    *go_on &= tell(f, &report);
    if (f->train.log_every && p->step % f->train.log_every == 0)
        status = log_step(f, batch, go_on);
    bool ended = epochs_done(f, p->step) > epochs_done(f, p->step - 1) || p->step == f->steps;
    if (!status && ended)
        status = end_epoch(f, go_on);
    return status;
}

/* The net ends with the best weights, or the average, as the train line asks. */
static void choose_weights(fit *f) {
    const fv_run_position *p = &f->position;
    char text[200];
    real *chosen = p->best && p->best_step > 0 ? p->best : f->trainer->average;
    if (f->stopped) {
        snprintf(text, sizeof text,
                 "stopped after step %lld: the validation loss has not fallen for %d epochs",
                 (long long)p->step, p->stop.wait);
        tell_note(f, text);
    }
    if (p->best && p->best_step > 0) {
        snprintf(text, sizeof text, "the weights of step %lld are restored: validation loss %.6g",
                 (long long)p->best_step, p->best_loss);
        tell_note(f, text);
    }
    if (chosen && p->step > 0)
        memcpy(f->net->weights, chosen, f->net->weight_size * sizeof *chosen);
}

static fv_status run(fit *f) {
    bool go_on = true;
    begin_epoch(f);
    while (!is_done(f)) {
        fv_status status = one_step(f, &go_on);
        if (status)
            return status;
        if (!go_on && !is_done(f)) {
            status = save_checkpoint(f);
            return status ? status
                          : fv_fail(FV_INTERRUPTED, "stopped after step %lld of %lld%s",
                                    (long long)f->position.step, (long long)f->steps,
                                    f->checkpoint ? "; the checkpoint is saved" : "");
        }
    }
    choose_weights(f);
    return f->model ? fv_save(f->net, f->model) : FV_OK;
}

fv_status fv_fit(fv_net *net, const fv_data *data, const fv_fit_options *options) {
    static const fv_fit_options defaults = {0};
    fit f = {.net = net, .data = data, .options = options ? options : &defaults};
    fv_status status = fv_net_acquire_as_is(net, true);
    if (status)
        return status;
    status = resolve(&f);
    if (!status)
        status = open_fit(&f);
    if (!status)
        status = run(&f);
    close_fit(&f);
    fv_net_release(net, true);
    return status;
}
