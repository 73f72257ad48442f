/* Optimisers: their state and the numbers of each step (defaults: net/train_line.c). The updates,
 * for each weight w with gradient g at step t (from 1), are kernels (kernels/update.c):
 *
 *   sgd       Keras:   v = momentum v - lr g;  w += v        (nesterov: w += momentum v - lr g)
 *             PyTorch: v = momentum v + g;     w -= lr v     (nesterov: w -= lr (g + momentum v))
 *   adagrad   a += g^2                                                    (Duchi et al. 2011)
 *             Keras:   w -= lr g / sqrt(a + eps);  PyTorch: w -= lr g / (sqrt(a) + eps)
 *   rmsprop   a = rho a + (1 - rho) g^2;  centered: b = rho b + (1 - rho) g, else b = 0
 *             Keras:   v = momentum v + lr g / sqrt(a - b^2 + eps);  w -= v
 *             PyTorch: v = momentum v + g / (sqrt(a - b^2) + eps);   w -= lr v
 *   adadelta  a = rho a + (1 - rho) g^2;  d = sqrt(s + eps) / sqrt(a + eps) g;
 *             s = rho s + (1 - rho) d^2;  w -= lr d                        (Zeiler 2012)
 *   adam      m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2           (Kingma & Ba 2015)
 *   (adamw)   Keras:   w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)
 *             PyTorch: w -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)
 *             amsgrad: the largest v so far in place of v                (Reddi et al. 2018)
 *   adamax    m as adam's                                               (Kingma & Ba 2015, 7.1)
 *             Keras:   u = max(b2 u, |g|);        w -= lr / (1 - b1^t) m / (u + eps)
 *             PyTorch: u = max(b2 u, |g| + eps);  w -= lr / (1 - b1^t) m / u
 *   nadam     m, v as adam's; mu_t = b1 (1 - 0.96^(d t) / 2), M_t = mu_1 mu_2 ... mu_t, d = 1
 *             (Keras) or 0.004 (PyTorch):                               (Dozat 2016)
 *             w -= lr (mu_(t+1) / (1 - M_(t+1)) m + (1 - mu_t) / (1 - M_t) g)
 *                  / (sqrt(v / (1 - b2^t)) + eps)
 *   lion      w -= lr sign(b1 m + (1 - b1) g);  m = b2 m + (1 - b2) g   (Chen et al. 2023)
 *   lamb      m, v as adam's; d = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps);
 *             w -= lr |w| / |d| d, the norms over one whole weight      (You et al. 2020, as Keras)
 */
#include "train/train.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

typedef struct optimizer_type {
    const char *name;
    int slots;
    size_t kernel;                                  /* its place in fv_kernels */
    void (*correct)(fv_optimizer *o, int64_t step); /* NULL: every step is alike */
    bool decoupled;                                 /* weight decay is, in PyTorch's formula too */
    bool norms;                                     /* see fv_optimizer */
} optimizer_type;

/* ---- What depends on the step ---------------------------------------------------------------- */

static void correct_adam(fv_optimizer *o, int64_t step) {
    double c1 = 1 - pow(o->train.beta1, (double)step);
    double c2 = sqrt(1 - pow(o->train.beta2, (double)step));
    o->rate = (o->numbers.torch ? 1 : c2) / c1;
    o->root = o->numbers.torch ? 1 / c2 : 1;
}

static void correct_adamax(fv_optimizer *o, int64_t step) {
    o->rate = 1 / (1 - pow(o->train.beta1, (double)step));
}

static void correct_lamb(fv_optimizer *o, int64_t step) {
    o->rate = 1 / (1 - pow(o->train.beta1, (double)step));
    o->root = 1 / sqrt(1 - pow(o->train.beta2, (double)step));
}

static double nadam_momentum(const fv_optimizer *o, int64_t step) {
    double exponent = o->numbers.torch ? 0.004 : 1;
    return o->train.beta1 * (1 - 0.5 * pow(0.96, exponent * (double)step));
}

/* The product of all momenta goes on from the last step; a resumed run multiplies it anew, which
 * gives the same bits. */
static void correct_nadam(fv_optimizer *o, int64_t step) {
    if (o->product_step >= step || o->product_step == 0) {
        o->product_step = 0;
        o->product = 1;
    }
    while (o->product_step < step && o->product > 0)
        o->product *= nadam_momentum(o, ++o->product_step);
    o->product_step = step;
    double now = nadam_momentum(o, step), next = nadam_momentum(o, step + 1);
    o->rate = next / (1 - o->product * next);
    o->gradient_rate = (1 - now) / (1 - o->product);
    o->root = 1 / sqrt(1 - pow(o->train.beta2, (double)step));
}

void fv_optimizer_begin_step(fv_optimizer *o, int64_t step, double lr) {
    o->lr = lr;
    if (o->correct)
        o->correct(o, step);
    o->numbers = fv_optimizer_numbers(o, 1);
}

fv_update fv_optimizer_numbers(const fv_optimizer *o, double factor) {
    double lr = o->lr * factor;
    fv_update numbers = o->numbers;
    numbers.lr = (real)lr;
    numbers.rate = (real)(lr * o->rate);
    numbers.gradient_rate = (real)(lr * o->gradient_rate);
    numbers.root = (real)o->root;
    return numbers;
}

/* ---- Making ---------------------------------------------------------------------------------- */

#define KERNEL(name) .kernel = offsetof(fv_kernels, name)

static const optimizer_type types[] = {
    {.name = "sgd", .slots = 1, KERNEL(sgd)},
    {.name = "adagrad", .slots = 1, KERNEL(adagrad)},
    {.name = "rmsprop", .slots = 1, KERNEL(rmsprop)},
    {.name = "adadelta", .slots = 2, KERNEL(adadelta)},
    {.name = "adam", .slots = 2, KERNEL(adam), .correct = correct_adam},
    {.name = "adamw", .slots = 2, KERNEL(adam), .correct = correct_adam, .decoupled = true},
    {.name = "adamax", .slots = 2, KERNEL(adamax), .correct = correct_adamax},
    {.name = "nadam", .slots = 2, KERNEL(nadam), .correct = correct_nadam},
    {.name = "lion", .slots = 1, KERNEL(lion), .decoupled = true},
    {.name = "lamb",
     .slots = 2,
     KERNEL(lamb),
     .correct = correct_lamb,
     .decoupled = true,
     .norms = true},
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
                       .nesterov = o->nesterov,
                       .centered = o->centered,
                       .amsgrad = o->amsgrad,
                       .torch = o->formula == FV_TORCH};
}

/* Some state is kept only where an option asks for it. */
static int count_slots(const optimizer_type *type, const fv_train_options *o) {
    if (strcmp(type->name, "sgd") == 0)
        return o->momentum != 0;
    if (strcmp(type->name, "rmsprop") == 0)
        return type->slots + (o->momentum != 0) + o->centered;
    if (type->kernel == offsetof(fv_kernels, adam))
        return type->slots + o->amsgrad;
    return type->slots;
}

fv_status fv_optimizer_make(const fv_train_options *options, const fv_kernels *kernels,
                            fv_optimizer *optimizer) {
    fv_train_options all = *options;
    fv_train_resolve(&all);
    const optimizer_type *type = find_type(all.optimizer);
    if (!type)
        return fv_fail_unknown("optimizer", options->optimizer, fv_optimizer_names);
    *optimizer = (fv_optimizer){.train = all,
                                .update = kernel_of(type, kernels),
                                .slots = count_slots(type, &all),
                                .start = strcmp(type->name, "adagrad") == 0 ? all.accumulator : 0,
                                .decoupled = type->decoupled || all.formula != FV_TORCH,
                                .norms = type->norms,
                                .numbers = round_numbers(&all),
                                .lr = all.lr,
                                .rate = 1,
                                .root = 1,
                                .correct = type->correct};
    return FV_OK;
}
