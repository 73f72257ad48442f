/* The `train` statement: its parameter table, and the defaults of each optimiser. Called by the
 * parser, the printer, train and the manual. */
#include "net/net.h"
#include <float.h>
#include <stddef.h>
#include <string.h>

const char *const fv_optimizer_names[] = {"sgd",  "adagrad", "rmsprop", "adadelta",
                                          "adam", "adamw",   "adamax",  "nadam",
                                          "lion", "lamb",    NULL};
static const char *const schedule_names[] = {"constant",   "step",    "multi_step", "exponential",
                                             "polynomial", "inverse", "cosine",     "restarts",
                                             "one_cycle",  "plateau", NULL};
static const char *const formula_names[] = {"keras", "torch", NULL};
static const char *const last_batch_names[] = {"short", "drop", "carry", NULL};

static const char optimizers_own[] = "the optimizer's";

#define FIELD(name) .key = #name, .offset = offsetof(fv_train_options, name)

const fv_param fv_train_params[] = {
    {FIELD(loss), .type = FV_PARAM_NAME, .choices = fv_loss_names, .fallback_text = "cross_entropy",
     .help = "what is made small"},
    {FIELD(optimizer), .type = FV_PARAM_NAME, .choices = fv_optimizer_names, .fallback_text = "sgd",
     .help = "how the weights follow their gradients"},
    {FIELD(formula), .type = FV_PARAM_CHOICE, .choices = formula_names,
     .help = "whose formula and defaults where frameworks differ"},
    {FIELD(lr), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1e6,
     .fallback_text = optimizers_own, .help = "learning rate"},
    {FIELD(momentum), .type = FV_PARAM_NUMBER, .low = 0, .high = 1, .exclusive_high = true,
     .help = "share of the last step that sgd and rmsprop keep"},
    {FIELD(nesterov), .type = FV_PARAM_BOOL, .help = "sgd's momentum looks ahead"},
    {FIELD(rho), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1, .exclusive_high = true,
     .fallback_text = optimizers_own, .help = "decay of rmsprop's and adadelta's means"},
    {FIELD(centered), .type = FV_PARAM_BOOL,
     .help = "rmsprop divides by the deviation, not by the mean square"},
    {FIELD(beta1), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1, .exclusive_high = true,
     .fallback_text = optimizers_own, .help = "decay of the mean gradient"},
    {FIELD(beta2), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1, .exclusive_high = true,
     .fallback_text = optimizers_own, .help = "decay of the mean squared gradient"},
    {FIELD(amsgrad), .type = FV_PARAM_BOOL,
     .help = "adam and adamw divide by the largest mean square so far"},
    {FIELD(accumulator), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1e6,
     .fallback_text = optimizers_own, .help = "what adagrad's sum of squares starts with"},
    {FIELD(epsilon), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1,
     .fallback_text = optimizers_own, .help = "keeps divisors above 0"},
    {FIELD(weight_decay), .type = FV_PARAM_NUMBER, .low = 0, .high = 1e3,
     .fallback_text = optimizers_own,
     .help = "shrinks weights: w -= lr weight_decay w before each step; with formula=torch it is "
             "added to the gradient instead (but for adamw, lion, lamb)"},
    {FIELD(clip_value), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1e12,
     .fallback_text = "none", .help = "largest size of a gradient's values"},
    {FIELD(clip_norm), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1e12,
     .fallback_text = "none", .help = "longest gradient of each weight tensor"},
    {FIELD(global_clip_norm), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1e12,
     .fallback_text = "none", .help = "longest gradient of all weights together"},
    {FIELD(accumulate), .type = FV_PARAM_INT, .low = 1, .high = 1e6, .fallback = 1,
     .help = "batches whose mean gradient makes one step"},
    {FIELD(ema), .type = FV_PARAM_NUMBER, .low = 0, .high = 1, .exclusive_high = true,
     .help = "share of the old average of weights, with which validation and the saved model work; "
             "0: the weights themselves"},
    {FIELD(l1), .type = FV_PARAM_NUMBER, .low = 0, .high = 1e6,
     .help = "adds l1 times the sum of |w| to the loss, for layers without an l1 of their own"},
    {FIELD(l2), .type = FV_PARAM_NUMBER, .low = 0, .high = 1e6,
     .help = "adds l2 times the sum of w^2 to the loss, for layers without an l2 of their own"},
    {FIELD(schedule), .type = FV_PARAM_CHOICE, .choices = schedule_names,
     .help = "how the learning rate changes from step to step"},
    {FIELD(end), .type = FV_PARAM_NUMBER, .low = 0, .high = 1e6,
     .help = "polynomial, cosine, restarts: the last learning rate; plateau: the lowest"},
    {FIELD(gamma), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1e6, .fallback = 0.1,
     .help = "step, multi_step, exponential, plateau: what the rate is multiplied with; inverse: "
             "how fast it falls"},
    {FIELD(power), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 100, .fallback = 1,
     .help = "exponent of polynomial and inverse"},
    {FIELD(multiply), .type = FV_PARAM_NUMBER, .low = 1, .high = 1e3, .fallback = 1,
     .help = "restarts: each period is so many times the last"},
    {FIELD(every), .type = FV_PARAM_COUNT, .low = 1, .high = 1e12, .fallback_text = "none",
     .help = "step: the rate falls each so many steps"},
    {FIELD(decay_steps), .type = FV_PARAM_COUNT, .low = 1, .high = 1e12,
     .fallback_text = "the run's, without the warmup",
     .help = "steps that the schedule takes to its end, restarts to its first"},
    {FIELD(warmup), .type = FV_PARAM_COUNT, .low = 0, .high = 1e12,
     .help = "steps in which the rate rises from 0, before the schedule begins"},
    {FIELD(milestones), .type = FV_PARAM_NUMBERS, .most = 16,
     .offset2 = offsetof(fv_train_options, milestone_count), .low = 1, .high = 1e12,
     .fallback_text = "none", .help = "multi_step: steps at which the rate falls"},
    {FIELD(patience), .type = FV_PARAM_INT, .low = 1, .high = 1e6, .fallback = 10,
     .help = "plateau: epochs without a lower validation loss until the rate falls"},
    {FIELD(early_stopping), .type = FV_PARAM_INT, .low = 0, .high = 1e6,
     .help = "epochs without a lower validation loss until the run ends; 0: never"},
    {FIELD(min_delta), .type = FV_PARAM_NUMBER, .low = 0, .high = 1e6,
     .fallback_text = "plateau: 0.0001, early_stopping: 0",
     .help = "by how much a lower validation loss must be lower"},
    {FIELD(restore_best), .type = FV_PARAM_BOOL,
     .help = "end with the weights of the lowest validation loss"},
    {FIELD(batch), .type = FV_PARAM_INT, .low = 1, .high = 1048576, .fallback = 32,
     .help = "samples of a step"},
    {FIELD(epochs), .type = FV_PARAM_INT, .low = 1, .high = 1e6, .fallback = 1,
     .fallback_text = "1 without steps", .help = "passes over the data; not together with steps"},
    {FIELD(steps), .type = FV_PARAM_COUNT, .low = 1, .high = 1e12,
     .fallback_text = "those of the epochs", .help = "stop after so many steps"},
    {FIELD(log_every), .type = FV_PARAM_INT, .low = 0, .high = 1e9,
     .help = "log the batch's loss each so many steps, dropout off; 0: never"},
    {FIELD(holdout), .type = FV_PARAM_INT, .low = 0, .high = 1e9,
     .help = "keep the first so many training samples for validation"},
    {FIELD(last_batch), .type = FV_PARAM_CHOICE, .choices = last_batch_names,
     .help = "the rest of an epoch: a short batch, dropped, or carried into the next epoch"},
    {FIELD(test_samples), .type = FV_PARAM_INT, .low = 0, .high = 1e9,
     .help = "the final test uses the first so many samples; 0: all"},
    {.key = NULL},
};

/* What each optimiser has, and its defaults by formula (Keras 3, PyTorch 2; PyTorch has no lion and
 * lamb, which are alike in both). Weight decay is any optimiser's, but only adamw has a default. */
static const struct optimizer_defaults {
    const char *optimizer;
    fv_formula formula;
    const char *keys;
    double lr, rho, beta1, beta2, epsilon, accumulator, weight_decay;
} optimizer_defaults[] = {
    {"sgd", FV_KERAS, "momentum nesterov", .lr = 0.01},
    {"sgd", FV_TORCH, "momentum nesterov", .lr = 0.001},
    {"adagrad", FV_KERAS, "accumulator epsilon", .lr = 0.001, .accumulator = 0.1, .epsilon = 1e-7},
    {"adagrad", FV_TORCH, "accumulator epsilon", .lr = 0.01, .epsilon = 1e-10},
    {"rmsprop", FV_KERAS, "momentum rho centered epsilon", .lr = 0.001, .rho = 0.9,
     .epsilon = 1e-7},
    {"rmsprop", FV_TORCH, "momentum rho centered epsilon", .lr = 0.01, .rho = 0.99,
     .epsilon = 1e-8},
    {"adadelta", FV_KERAS, "rho epsilon", .lr = 0.001, .rho = 0.95, .epsilon = 1e-7},
    {"adadelta", FV_TORCH, "rho epsilon", .lr = 1, .rho = 0.9, .epsilon = 1e-6},
    {"adam", FV_KERAS, "beta1 beta2 amsgrad epsilon", .lr = 0.001, .beta1 = 0.9, .beta2 = 0.999,
     .epsilon = 1e-7},
    {"adam", FV_TORCH, "beta1 beta2 amsgrad epsilon", .lr = 0.001, .beta1 = 0.9, .beta2 = 0.999,
     .epsilon = 1e-8},
    {"adamw", FV_KERAS, "beta1 beta2 amsgrad epsilon weight_decay", .lr = 0.001, .beta1 = 0.9,
     .beta2 = 0.999, .epsilon = 1e-7, .weight_decay = 0.004},
    {"adamw", FV_TORCH, "beta1 beta2 amsgrad epsilon weight_decay", .lr = 0.001, .beta1 = 0.9,
     .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.01},
    {"adamax", FV_KERAS, "beta1 beta2 epsilon", .lr = 0.001, .beta1 = 0.9, .beta2 = 0.999,
     .epsilon = 1e-7},
    {"adamax", FV_TORCH, "beta1 beta2 epsilon", .lr = 0.002, .beta1 = 0.9, .beta2 = 0.999,
     .epsilon = 1e-8},
    {"nadam", FV_KERAS, "beta1 beta2 epsilon", .lr = 0.001, .beta1 = 0.9, .beta2 = 0.999,
     .epsilon = 1e-7},
    {"nadam", FV_TORCH, "beta1 beta2 epsilon", .lr = 0.002, .beta1 = 0.9, .beta2 = 0.999,
     .epsilon = 1e-8},
    {"lion", FV_KERAS, "beta1 beta2", .lr = 0.001, .beta1 = 0.9, .beta2 = 0.99},
    {"lion", FV_TORCH, "beta1 beta2", .lr = 0.001, .beta1 = 0.9, .beta2 = 0.99},
    {"lamb", FV_KERAS, "beta1 beta2 epsilon", .lr = 0.001, .beta1 = 0.9, .beta2 = 0.999,
     .epsilon = 1e-7},
    {"lamb", FV_TORCH, "beta1 beta2 epsilon", .lr = 0.001, .beta1 = 0.9, .beta2 = 0.999,
     .epsilon = 1e-7},
};

static const char *const schedule_keys[] = {
    [FV_CONSTANT] = "",
    [FV_STEP] = "gamma every",
    [FV_MULTI_STEP] = "gamma milestones",
    [FV_EXPONENTIAL] = "gamma decay_steps",
    [FV_POLYNOMIAL] = "end power decay_steps",
    [FV_INVERSE] = "gamma power decay_steps",
    [FV_COSINE] = "end decay_steps",
    [FV_RESTARTS] = "end multiply decay_steps",
    [FV_ONE_CYCLE] = "decay_steps",
    [FV_PLATEAU] = "end gamma patience min_delta",
};

static bool has_word(const char *words, const char *word) {
    size_t size = strlen(word);
    for (const char *at = words; (at = strstr(at, word)) != NULL; at += size)
        if ((at == words || at[-1] == ' ') && (at[size] == ' ' || at[size] == 0))
            return true;
    return false;
}

static const struct optimizer_defaults *find_defaults(const fv_train_options *options) {
    const char *name = options->optimizer[0] ? options->optimizer : "sgd";
    for (size_t i = 0; i < sizeof optimizer_defaults / sizeof *optimizer_defaults; i++)
        if (strcmp(optimizer_defaults[i].optimizer, name) == 0 &&
            optimizer_defaults[i].formula == options->formula)
            return &optimizer_defaults[i];
    return NULL;
}

bool fv_train_uses(const fv_train_options *options, const char *key) {
    static const char common[] = "loss optimizer formula lr batch epochs steps log_every holdout "
                                 "last_batch test_samples";
    const struct optimizer_defaults *defaults = find_defaults(options);
    return has_word(common, key) || (defaults && has_word(defaults->keys, key)) ||
           ((unsigned)options->schedule <= FV_PLATEAU &&
            has_word(schedule_keys[options->schedule], key));
}

static double either(double given, double fallback) {
    return given != 0 ? given : fallback;
}

static void resolve_schedule(fv_train_options *options) {
    if (fv_train_uses(options, "gamma"))
        options->gamma = either(options->gamma, 0.1);
    if (fv_train_uses(options, "power"))
        options->power = either(options->power, 1);
    if (fv_train_uses(options, "multiply"))
        options->multiply = either(options->multiply, 1);
    if (fv_train_uses(options, "patience") && options->patience == 0)
        options->patience = 10;
}

void fv_train_resolve(fv_train_options *options) {
    if (!options->loss[0]) {
        strcpy(options->loss, "cross_entropy");
    }
    if (!options->optimizer[0]) {
        strcpy(options->optimizer, "sgd");
    }
    const struct optimizer_defaults *defaults = find_defaults(options);
    if (defaults) {
        options->lr = either(options->lr, defaults->lr);
        options->rho = either(options->rho, defaults->rho);
        options->beta1 = either(options->beta1, defaults->beta1);
        options->beta2 = either(options->beta2, defaults->beta2);
        options->epsilon = either(options->epsilon, defaults->epsilon);
        options->accumulator = either(options->accumulator, defaults->accumulator);
        options->weight_decay = either(options->weight_decay, defaults->weight_decay);
    }
    resolve_schedule(options);
    options->batch = options->batch ? options->batch : 32;
    options->epochs = options->epochs || options->steps ? options->epochs : 1;
}

fv_status fv_train_check(const fv_train_options *options) {
    fv_status status = fv_params_check(fv_train_params, options);
    if (status != FV_OK)
        return status;
    int clips =
        (options->clip_value != 0) + (options->clip_norm != 0) + (options->global_clip_norm != 0);
    if (clips > 1)
        return fv_fail(FV_INVALID, "the train line has more than one of clip_value, clip_norm and "
                                   "global_clip_norm: keep one");
    if (options->schedule == FV_STEP && options->every == 0)
        return fv_fail(FV_INVALID, "schedule=step needs every=STEPS");
    if (options->schedule == FV_MULTI_STEP && options->milestone_count == 0)
        return fv_fail(FV_INVALID, "schedule=multi_step needs milestones=STEP,STEP,...");
    return FV_OK;
}
