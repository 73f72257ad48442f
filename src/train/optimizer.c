/* Optimisers: their defaults in Keras and in PyTorch, and the numbers of each step. The updates,
 * for each weight w with gradient g, are kernels (kernels/update.c):
 *
 *   sgd       Keras:   v = momentum v - lr g;  w += v
 *             PyTorch: v = momentum v + g;     w -= lr v     (they differ when lr changes)
 *   adadelta  a = rho a + (1 - rho) g^2;  d = sqrt(s + eps) / sqrt(a + eps) g;
 *             s = rho s + (1 - rho) d^2;  w -= lr d                        (Zeiler 2012)
 *   adam      m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2           (Kingma & Ba 2015)
 *             Keras:   w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)
 *             PyTorch: w -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)
 */
#include "train/train.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

typedef struct defaults {
    double lr, momentum, rho, beta1, beta2, epsilon;
} defaults;

typedef struct optimizer_type {
    const char *name;
    int slots;
    size_t kernel; /* its place in fv_kernels */
    bool adam;
    defaults by_formula[2]; /* FV_KERAS, FV_TORCH */
} optimizer_type;

static const optimizer_type types[] = {
    {.name = "sgd",
     .slots = 1,
     .kernel = offsetof(fv_kernels, sgd),
     .by_formula = {{.lr = 0.01}, {.lr = 0.001}}},
    {.name = "adadelta",
     .slots = 2,
     .kernel = offsetof(fv_kernels, adadelta),
     .by_formula = {{.lr = 0.001, .rho = 0.95, .epsilon = 1e-7},
                    {.lr = 1.0, .rho = 0.9, .epsilon = 1e-6}}},
    {.name = "adam",
     .slots = 2,
     .kernel = offsetof(fv_kernels, adam),
     .adam = true,
     .by_formula = {{.lr = 0.001, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-7},
                    {.lr = 0.001, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8}}},
};

const char *const fv_optimizer_names[] = {"sgd", "adadelta", "adam", NULL};

static double or_default(double value, double fallback) {
    return value != 0 ? value : fallback;
}

static fv_update_kernel *kernel_of(const optimizer_type *type, const fv_kernels *kernels) {
    const unsigned char *table = (const unsigned char *)kernels;
    fv_update_kernel *kernel;
    memcpy(&kernel, table + type->kernel, sizeof kernel);
    return kernel;
}

fv_status fv_optimizer_make(const fv_train_options *options, const fv_kernels *kernels,
                            fv_optimizer *optimizer) {
    const optimizer_type *type = options->optimizer[0] ? NULL : &types[0];
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, options->optimizer) == 0)
            type = &types[i];
    if (!type) {
        const char *near = fv_nearest(options->optimizer, fv_optimizer_names);
        return fv_fail(FV_INVALID, "unknown optimizer %s%s%s", options->optimizer,
                       near ? ": did you mean " : " (known: sgd, adadelta, adam)",
                       near ? near : "");
    }
    const defaults *d = &type->by_formula[options->formula == FV_TORCH];
    *optimizer = (fv_optimizer){.name = type->name,
                                .update = kernel_of(type, kernels),
                                .slots = type->slots,
                                .adam = type->adam,
                                .lr = or_default(options->lr, d->lr),
                                .beta1 = or_default(options->beta1, d->beta1),
                                .beta2 = or_default(options->beta2, d->beta2)};
    fv_update *u = &optimizer->numbers;
    u->torch = options->formula == FV_TORCH;
    u->lr = (real)optimizer->lr;
    u->momentum = (real)or_default(options->momentum, d->momentum);
    double rho = or_default(options->rho, d->rho);
    u->rho = (real)rho;
    u->new_rho = (real)(1 - rho);
    u->beta1 = (real)optimizer->beta1;
    u->new_beta1 = (real)(1 - optimizer->beta1);
    u->beta2 = (real)optimizer->beta2;
    u->new_beta2 = (real)(1 - optimizer->beta2);
    u->epsilon = (real)or_default(options->epsilon, d->epsilon);
    if (type == &types[0] && u->momentum == 0)
        optimizer->slots = 0;
    return FV_OK;
}

void fv_optimizer_begin_step(fv_optimizer *optimizer, int64_t step) {
    if (!optimizer->adam)
        return;
    double c1 = 1 - pow(optimizer->beta1, (double)step);
    double c2 = sqrt(1 - pow(optimizer->beta2, (double)step));
    bool torch = optimizer->numbers.torch;
    optimizer->numbers.correction1 = (real)(optimizer->lr / c1 * (torch ? 1 : c2));
    optimizer->numbers.correction2 = (real)(torch ? 1 / c2 : 1);
}
