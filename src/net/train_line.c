/* The `train` statement: its parameter table, and the defaults of each optimiser. Called by the
 * parser, the printer, train and the manual. */
#include "net/net.h"
#include <float.h>
#include <stddef.h>
#include <string.h>

const char *const fv_optimizer_names[] = {"sgd", "adadelta", "adam", NULL};
static const char *const formula_names[] = {"keras", "torch", NULL};
static const char *const last_batch_names[] = {"short", "drop", "carry", NULL};

#define FIELD(name) .key = #name, .offset = offsetof(fv_train_options, name)

const fv_param fv_train_params[] = {
    {FIELD(loss), .type = FV_PARAM_NAME, .choices = fv_loss_names, .fallback_text = "cross_entropy",
     .help = "what is made small"},
    {FIELD(optimizer), .type = FV_PARAM_NAME, .choices = fv_optimizer_names, .fallback_text = "sgd",
     .help = "how the weights follow their gradients"},
    {FIELD(formula), .type = FV_PARAM_CHOICE, .choices = formula_names,
     .help = "whose formula and defaults where frameworks differ"},
    {FIELD(lr), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1e6,
     .fallback_text = "the optimizer's", .help = "learning rate"},
    {FIELD(momentum), .type = FV_PARAM_NUMBER, .low = 0, .high = 1, .exclusive_high = true,
     .help = "share of the last step that sgd keeps"},
    {FIELD(rho), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1, .exclusive_high = true,
     .fallback_text = "the optimizer's", .help = "decay of adadelta's means"},
    {FIELD(beta1), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1, .exclusive_high = true,
     .fallback_text = "the optimizer's", .help = "decay of adam's mean gradient"},
    {FIELD(beta2), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1, .exclusive_high = true,
     .fallback_text = "the optimizer's", .help = "decay of adam's mean squared gradient"},
    {FIELD(epsilon), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1,
     .fallback_text = "the optimizer's", .help = "keeps divisors above 0"},
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

/* Defaults by optimizer and formula, as documented by Keras 3 and PyTorch 2. */
static const struct optimizer_defaults {
    const char *optimizer;
    fv_formula formula;
    double lr, rho, beta1, beta2, epsilon;
} optimizer_defaults[] = {
    {"sgd", FV_KERAS, .lr = 0.01},
    {"sgd", FV_TORCH, .lr = 0.001},
    {"adadelta", FV_KERAS, .lr = 0.001, .rho = 0.95, .epsilon = 1e-7},
    {"adadelta", FV_TORCH, .lr = 1, .rho = 0.9, .epsilon = 1e-6},
    {"adam", FV_KERAS, .lr = 0.001, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-7},
    {"adam", FV_TORCH, .lr = 0.001, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8},
};

static double either(double given, double fallback) {
    return given != 0 ? given : fallback;
}

void fv_train_resolve(fv_train_options *options) {
    if (!options->loss[0]) {
        strcpy(options->loss, "cross_entropy");
    }
    if (!options->optimizer[0]) {
        strcpy(options->optimizer, "sgd");
    }
    for (size_t i = 0; i < sizeof optimizer_defaults / sizeof *optimizer_defaults; i++) {
        const struct optimizer_defaults *defaults = &optimizer_defaults[i];
        if (strcmp(defaults->optimizer, options->optimizer) == 0 &&
            defaults->formula == options->formula) {
            options->lr = either(options->lr, defaults->lr);
            options->rho = either(options->rho, defaults->rho);
            options->beta1 = either(options->beta1, defaults->beta1);
            options->beta2 = either(options->beta2, defaults->beta2);
            options->epsilon = either(options->epsilon, defaults->epsilon);
        }
    }
    options->batch = options->batch ? options->batch : 32;
    options->epochs = options->epochs || options->steps ? options->epochs : 1;
}
