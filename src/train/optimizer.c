/* Optimisers: their state and the numbers of each step (defaults: net/train_line.c). The updates,
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

typedef struct optimizer_type {
    const char *name;
    int slots;
    size_t kernel; /* its place in fv_kernels */
    bool adam;
} optimizer_type;

static const optimizer_type types[] = {
    {.name = "sgd", .slots = 1, .kernel = offsetof(fv_kernels, sgd)},
    {.name = "adadelta", .slots = 2, .kernel = offsetof(fv_kernels, adadelta)},
    {.name = "adam", .slots = 2, .kernel = offsetof(fv_kernels, adam), .adam = true},
};

static const optimizer_type *find_type(const char *name) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

static fv_update_kernel *kernel_of(const optimizer_type *type, const fv_kernels *kernels) {
    const unsigned char *table = (const unsigned char *)kernels;
    fv_update_kernel *kernel;
    memcpy(&kernel, table + type->kernel, sizeof kernel);
    return kernel;
}

/* In single precision 1 - 0.999 would be off by 1e-5: it is rounded once, from double. */
static fv_update round_numbers(const fv_train_options *o) {
    return (fv_update){.lr = (real)o->lr,
                       .momentum = (real)o->momentum,
                       .rho = (real)o->rho,
                       .new_rho = (real)(1 - o->rho),
                       .beta1 = (real)o->beta1,
                       .new_beta1 = (real)(1 - o->beta1),
                       .beta2 = (real)o->beta2,
                       .new_beta2 = (real)(1 - o->beta2),
                       .epsilon = (real)o->epsilon,
                       .torch = o->formula == FV_TORCH};
}

fv_status fv_optimizer_make(const fv_train_options *options, const fv_kernels *kernels,
                            fv_optimizer *optimizer) {
    fv_train_options all = *options;
    fv_train_resolve(&all);
    const optimizer_type *type = find_type(all.optimizer);
    if (!type)
        return fv_fail_unknown("optimizer", options->optimizer, fv_optimizer_names);
    bool plain = strcmp(type->name, "sgd") == 0 && all.momentum == 0;
    *optimizer = (fv_optimizer){.name = type->name,
                                .update = kernel_of(type, kernels),
                                .slots = plain ? 0 : type->slots,
                                .numbers = round_numbers(&all),
                                .lr = all.lr,
                                .beta1 = all.beta1,
                                .beta2 = all.beta2,
                                .adam = type->adam};
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
