/* Optimisers and losses between Keras' compile_config and our train and loss lines. Called by
 * import.c and export.c. */
#include "keras.h"
#include <ctype.h>
#include <math.h>
#include <string.h>

/* ---- Names ----------------------------------------------------------------------------------- */

static const char *const optimizers[][2] = {
    {"SGD", "sgd"},   {"Adagrad", "adagrad"}, {"RMSprop", "rmsprop"}, {"Adadelta", "adadelta"},
    {"Adam", "adam"}, {"AdamW", "adamw"},     {"Adamax", "adamax"},   {"Nadam", "nadam"},
    {"Lion", "lion"}, {"Lamb", "lamb"}};

/* The first of several names of one of our losses is that which is written. */
static const struct loss_name {
    const char *class_name, *name; /* in small letters, without _ */
    const char *ours;
} losses[] = {
    {"SparseCategoricalCrossentropy", "sparsecategoricalcrossentropy", "cross_entropy"},
    {"CategoricalCrossentropy", "categoricalcrossentropy", "cross_entropy"},
    {"BinaryCrossentropy", "binarycrossentropy", "binary_cross_entropy"},
    {"MeanSquaredError", "meansquarederror", "mse"},
    {"MeanSquaredError", "mse", "mse"},
    {"MeanAbsoluteError", "meanabsoluteerror", "mae"},
    {"MeanAbsoluteError", "mae", "mae"},
    {"Huber", "huber", "huber"},
    {"Hinge", "hinge", "hinge"},
    {"KLDivergence", "kldivergence", "kl"},
};

static void small_letters(const char *text, char small[64]) {
    size_t used = 0;
    for (; *text && used < 63; text++)
        if (isalnum((unsigned char)*text))
            small[used++] = (char)tolower((unsigned char)*text);
    small[used] = 0;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static double number_or(const json_t *config, const char *key, double fallback) {
    const json_t *value = json_object_get(config, key);
    return json_is_number(value) && isfinite(json_number_value(value)) ? json_number_value(value)
                                                                       : fallback;
}

/* A number that Keras keeps as a float, without the digits that a float does not have. */
static double as_written(double value) {
    char text[32];
    snprintf(text, sizeof text, "%.7g", value);
    double shorter = strtod(text, NULL);
    return (float)shorter == (float)value ? shorter : value;
}

static void read_rate(const json_t *config, fv_train_options *train) {
    const json_t *rate = json_object_get(config, "learning_rate");
    if (!rate)
        rate = json_object_get(config, "lr");
    if (json_is_object(rate)) {
        const json_t *own = json_object_get(rate, "config");
        train->lr = number_or(own, "initial_learning_rate", 0);
        note("the schedule of its learning rate is left out; train starts with lr=%g", train->lr);
    } else if (json_is_number(rate)) {
        train->lr = as_written(json_number_value(rate));
    }
}

/* Only what differs from the optimiser's own default. */
static void simplify(fv_train_options *train) {
    fv_train_options usual = {.loss = ""};
    strcpy(usual.optimizer, train->optimizer);
    fv_train_resolve(&usual);
    double *const fields[] = {&train->rho,     &train->beta1,       &train->beta2,
                              &train->epsilon, &train->accumulator, &train->weight_decay};
    const double defaults[] = {usual.rho,     usual.beta1,       usual.beta2,
                               usual.epsilon, usual.accumulator, usual.weight_decay};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (*fields[i] == defaults[i])
            *fields[i] = 0;
}

static void read_numbers(const json_t *config, fv_train_options *train) {
    read_rate(config, train);
    train->momentum = as_written(number_or(config, "momentum", 0));
    train->nesterov = json_is_true(json_object_get(config, "nesterov"));
    train->centered = json_is_true(json_object_get(config, "centered"));
    train->amsgrad = json_is_true(json_object_get(config, "amsgrad"));
    train->rho = as_written(number_or(config, "rho", 0));
    train->beta1 = as_written(number_or(config, "beta_1", 0));
    train->beta2 = as_written(number_or(config, "beta_2", 0));
    train->epsilon = as_written(number_or(config, "epsilon", 0));
    train->accumulator = as_written(number_or(config, "initial_accumulator_value", 0));
    train->weight_decay = as_written(number_or(config, "weight_decay", 0));
    train->clip_value = number_or(config, "clipvalue", 0);
    train->clip_norm = number_or(config, "clipnorm", 0);
    train->global_clip_norm = number_or(config, "global_clipnorm", 0);
    if (json_is_true(json_object_get(config, "use_ema")))
        train->ema = number_or(config, "ema_momentum", 0.99);
    double steps = number_or(config, "gradient_accumulation_steps", 0);
    train->accumulate = steps >= 2 && steps <= 1e6 ? (int)steps : 0;
    simplify(train);
}

static bool read_optimizer(const json_t *json, fv_train_options *train) {
    const char *name =
        json_is_string(json) ? json_string_value(json) : config_text(json, "class_name");
    char wanted[64], known[64];
    small_letters(name ? name : "", wanted);
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++) {
        small_letters(optimizers[i][0], known);
        if (strcmp(known, wanted) != 0)
            continue;
        snprintf(train->optimizer, sizeof train->optimizer, "%s", optimizers[i][1]);
        read_numbers(json_object_get(json, "config"), train);
        return true;
    }
    return false;
}

/* What cross-entropies demand of the output: a softmax (sigmoid), or what it takes logits from. */
static bool output_fits(const fv_net *net, const char *loss, bool logits) {
    const fv_node *last = &net->nodes[net->count - 1];
    bool cross = strcmp(loss, "cross_entropy") == 0,
         binary = strcmp(loss, "binary_cross_entropy") == 0;
    if (!cross && !binary)
        return true;
    return last->activation == (logits ? FV_LINEAR : cross ? FV_SOFTMAX : FV_SIGMOID);
}

/* A name, or a class with a config. */
static bool read_loss(const json_t *json, const fv_net *net, fv_loss_options *loss) {
    const json_t *config = json_object_get(json, "config");
    const char *name = json_is_string(json)     ? json_string_value(json)
                       : json_is_string(config) ? json_string_value(config)
                                                : config_text(json, "class_name");
    char wanted[64], class_name[64];
    small_letters(name ? name : "", wanted);
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        small_letters(losses[i].class_name, class_name);
        if (strcmp(wanted, losses[i].name) != 0 && strcmp(wanted, class_name) != 0)
            continue;
        snprintf(loss->type, sizeof loss->type, "%s", losses[i].ours);
        loss->label_smoothing = number_or(config, "label_smoothing", 0);
        if (strcmp(loss->type, "huber") == 0 && number_or(config, "delta", 1) != 1)
            loss->delta = number_or(config, "delta", 1);
        return output_fits(net, loss->type, json_is_true(json_object_get(config, "from_logits")));
    }
    return false;
}

fv_status training_read(const json_t *compiled, fv_net *net) {
    const json_t *optimizer = json_object_get(compiled, "optimizer_config");
    const json_t *json = json_object_get(compiled, "loss");
    fv_train_options train = {.loss = ""};
    fv_loss_options loss = {.type = ""};
    if (!optimizer)
        optimizer = json_object_get(compiled, "optimizer");
    if (optimizer && !json_is_null(optimizer) &&
        (!read_optimizer(optimizer, &train) || fv_train_check(&train) != FV_OK)) {
        note("its optimizer is left out: fovea has no counterpart");
        train = (fv_train_options){.loss = ""};
    }
    if (json && !json_is_null(json) && !read_loss(json, net, &loss)) {
        note("its loss is left out: fovea has no counterpart, or none for this output");
        loss = (fv_loss_options){.type = ""};
    }
    fv_status status = FV_OK;
    if (loss.label_smoothing != 0 || loss.delta != 0)
        status = fv_net_add_loss(net, net->count - 1, &loss, 0);
    else
        snprintf(train.loss, sizeof train.loss, "%s", loss.type);
    net->train = train;
    return status;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static json_t *number_or_null(double value) {
    return value != 0 ? json_real(value) : json_null();
}

static void set_number(json_t *config, const fv_train_options *train, const char *ours,
                       const char *key, double value) {
    if (fv_train_uses(train, ours))
        json_object_set_new(config, key, json_real(value));
}

static json_t *optimizer_config(const fv_train_options *t) {
    json_t *c = json_object();
    json_object_set_new(c, "learning_rate", json_real(t->lr));
    set_number(c, t, "momentum", "momentum", t->momentum);
    set_number(c, t, "rho", "rho", t->rho);
    set_number(c, t, "beta1", "beta_1", t->beta1);
    set_number(c, t, "beta2", "beta_2", t->beta2);
    set_number(c, t, "epsilon", "epsilon", t->epsilon);
    set_number(c, t, "accumulator", "initial_accumulator_value", t->accumulator);
    if (fv_train_uses(t, "nesterov"))
        json_object_set_new(c, "nesterov", json_boolean(t->nesterov));
    if (fv_train_uses(t, "centered"))
        json_object_set_new(c, "centered", json_boolean(t->centered));
    if (fv_train_uses(t, "amsgrad"))
        json_object_set_new(c, "amsgrad", json_boolean(t->amsgrad));
    json_object_set_new(c, "weight_decay", number_or_null(t->weight_decay));
    json_object_set_new(c, "clipvalue", number_or_null(t->clip_value));
    json_object_set_new(c, "clipnorm", number_or_null(t->clip_norm));
    json_object_set_new(c, "global_clipnorm", number_or_null(t->global_clip_norm));
    json_object_set_new(c, "use_ema", json_boolean(t->ema > 0));
    json_object_set_new(c, "ema_momentum", json_real(t->ema > 0 ? t->ema : 0.99));
    if (t->accumulate > 1)
        json_object_set_new(c, "gradient_accumulation_steps", json_integer(t->accumulate));
    return c;
}

static json_t *write_optimizer(const fv_net *net) {
    fv_train_options train = net->train;
    fv_train_resolve(&train);
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++)
        if (strcmp(optimizers[i][1], train.optimizer) == 0)
            return json_pack("{s:s, s:s, s:o, s:n}", "module", "keras.optimizers", "class_name",
                             optimizers[i][0], "config", optimizer_config(&train),
                             "registered_name");
    return NULL;
}

static json_t *loss_config(const fv_loss_options *loss, const char *class_name, bool logits) {
    json_t *config = json_object();
    if (strstr(class_name, "Crossentropy"))
        json_object_set_new(config, "from_logits", json_boolean(logits));
    if (loss->label_smoothing != 0)
        json_object_set_new(config, "label_smoothing", json_real(loss->label_smoothing));
    if (strcmp(class_name, "Huber") == 0)
        json_object_set_new(config, "delta", json_real(loss->delta != 0 ? loss->delta : 1));
    return config;
}

/* Of targets that are class indices, as ours: with smoothing Keras wants them one-hot. */
static json_t *write_loss(const fv_net *net) {
    fv_loss_options loss = {.type = ""};
    if (net->loss_count > 1)
        return NULL;
    if (net->loss_count == 1)
        loss = net->losses[0].options;
    else
        snprintf(loss.type, sizeof loss.type, "%s",
                 net->train.loss[0] ? net->train.loss : "cross_entropy");
    bool plain = loss.class_weight_count == 0 && loss.ignore_count == 0 && !loss.through[0] &&
                 (!loss.target[0] || strcmp(loss.target, "label") == 0) &&
                 (net->loss_count == 0 || net->losses[0].node == net->count - 1);
    bool logits = net->nodes[net->count - 1].activation == FV_LINEAR;
    bool smooth = loss.label_smoothing != 0 && strcmp(loss.type, "cross_entropy") == 0;
    for (size_t i = smooth ? 1 : 0; plain && i < sizeof losses / sizeof *losses; i++)
        if (strcmp(losses[i].ours, loss.type) == 0)
            return json_pack("{s:s, s:s, s:o, s:n}", "module", "keras.losses", "class_name",
                             losses[i].class_name, "config",
                             loss_config(&loss, losses[i].class_name, logits), "registered_name");
    return NULL;
}

json_t *training_write(const fv_net *net) {
    const fv_train_options *t = &net->train;
    if (net->loss_count == 0 && !t->loss[0] && !t->optimizer[0] && t->lr == 0)
        return json_null(); /* nothing is said of training */
    json_t *optimizer = write_optimizer(net), *loss = write_loss(net);
    if (!optimizer || !loss) {
        note("the losses are left out: Keras has no counterpart");
        json_decref(optimizer);
        json_decref(loss);
        return json_null();
    }
    return json_pack("{s:o, s:o, s:n, s:n, s:n, s:b, s:i, s:b}", "optimizer", optimizer, "loss",
                     loss, "loss_weights", "metrics", "weighted_metrics", "run_eagerly", 0,
                     "steps_per_execution", 1, "jit_compile", 0);
}
