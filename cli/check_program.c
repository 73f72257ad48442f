/* fovea-check: the program behind `fovea check NET`, linked with the library compiled for double.
 * Every weight's gradient is compared with the central difference (L(w + h) - L(w - h)) / 2h of the
 * loss, in double, dropout and all (its mask is a function of the seed). Where the two sides of a
 * step disagree with each other, a kink lies between (relu at 0, a tie in a pool): skipped,
 * counted. Inputs and the targets of all losses are random, of a kind that fits each loss. */
#include "base/random.h"
#include "train/train.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 3, PER_WEIGHT = 40 };
static const double step = 1e-6, tolerance = 1e-5;

typedef struct check {
    fv_net *net;
    fv_trainer *trainer;
    float *input;
    fv_field fields[FV_MOST_LOSSES]; /* targets of the losses */
    float *targets[FV_MOST_LOSSES];
    int field_count;
    const void *source[BATCH];
    uint32_t epochs[BATCH], indices[BATCH];
    real *gradients; /* the analytic ones */
} check;

typedef struct tally {
    int checked, kinks, wrong;
    double worst; /* relative error */
} tally;

/* The loss in double, of the same samples with the same dropout; with its gradient when asked. */
static double loss(check *c, bool backward) {
    fv_trainer *t = c->trainer;
    fv_samples samples = {
        .count = BATCH, .source = c->source, .seed = 1, .epochs = c->epochs, .indices = c->indices};
    fv_batch batch = {
        .samples = BATCH, .source = c->source, .targets = (const float *const *)c->targets};
    fv_score score = {.loss = NAN};
    fv_runner_pack(&t->runner);
    fv_runner_forward(&t->runner, &samples);
    fv_objective_run(&t->objective, &t->runner, &batch, true, &score);
    if (backward)
        fv_runner_backward(&t->runner, &samples);
    return score.loss;
}

static void check_one(check *c, size_t index, double middle, tally *t) {
    real *weight = &c->net->weights[index], kept = *weight;
    double h = step * fmax(1, fabs((double)kept));
    *weight = (real)((double)kept + h);
    double above = loss(c, false);
    *weight = (real)((double)kept - h);
    double below = loss(c, false);
    *weight = kept;
    double ahead = (above - middle) / h, behind = (middle - below) / h;
    double difference = (above - below) / (2 * h), analytic = (double)c->gradients[index];
    double scale = fmax(fmax(fabs(difference), fabs(analytic)), 1e-3 * fmax(1, fabs(middle)));
    double error = fabs(difference - analytic) / scale;
    /* On a smooth piece the one-sided slopes differ by about h; at a kink, by much more. */
    if (!(error <= tolerance) && fabs(ahead - behind) > 10 * tolerance * scale) {
        t->kinks++;
        return;
    }
    t->checked++;
    t->worst = error > t->worst || isnan(error) ? error : t->worst;
    if (!(error <= tolerance))
        t->wrong++;
}

/* Some values of each weight, spread over it by the seed. */
static int check_weights(check *c) {
    int wrong = 0;
    double middle = loss(c, true);
    memcpy(c->gradients, fv_runner_gradients(&c->trainer->runner),
           c->net->weight_size * sizeof(real));
    printf("%-24s %10s %8s %8s   %s\n", "weight", "values", "checked", "kinks", "worst error");
    for (int n = 0; n < c->net->count; n++)
        for (int w = 0; w < c->net->nodes[n].weight_count; w++) {
            const fv_weight *weight = &c->net->nodes[n].weights[w];
            if (weight->spec.statistic || c->net->nodes[n].tuning.freeze)
                continue; /* it has no gradient */
            tally t = {0};
            fv_random random;
            char name[160];
            fv_random_start(&random, 2, FV_PURPOSE_BENCH, (uint32_t)(n * FV_MAX_WEIGHTS + w));
            for (size_t i = 0; i < PER_WEIGHT && i < weight->count; i++) {
                size_t at = weight->count <= PER_WEIGHT
                                ? i
                                : (size_t)(fv_random_uniform(&random) * (double)weight->count);
                check_one(c, weight->offset + at, middle, &t);
            }
            snprintf(name, sizeof name, "%s.%s", c->net->nodes[n].name, weight->spec.name);
            printf("%-24s %10zu %8d %8d   %.1e  %s\n", name, weight->count, t.checked, t.kinks,
                   t.worst,
                   t.wrong     ? "WRONG"
                   : t.checked ? "ok"
                               : "NOT CHECKED");
            wrong += t.wrong + (t.checked == 0);
        }
    return wrong;
}

static bool open_check(check *c, const char *path) {
    c->net = fv_net_load(path);
    if (!c->net || fv_net_read_weights(c->net)) /* a model's are in its file */
        return false;
    /* Weights of everyday size, biases that are not all zero; statistics as they start. */
    for (int n = 0; n < c->net->count; n++)
        for (int w = 0; w < c->net->nodes[n].weight_count; w++) {
            const fv_weight *weight = &c->net->nodes[n].weights[w];
            size_t fan_in = weight->spec.fan_in > 0 ? weight->spec.fan_in : 1;
            double limit = sqrt(3.0 / (double)fan_in);
            fv_random random;
            if (weight->spec.statistic)
                continue;
            fv_random_start(&random, 3, FV_PURPOSE_INIT, (uint32_t)(n * FV_MAX_WEIGHTS + w));
            for (size_t i = 0; i < weight->count; i++)
                c->net->weights[weight->offset + i] =
                    (real)((2 * fv_random_uniform(&random) - 1) * limit);
        }
    fv_trainer_options options = {.batch = BATCH};
    c->trainer = fv_trainer_new(c->net, &options);
    return c->trainer != NULL;
}

/* ---- Targets -------------------------------------------------------------------------------- */

static bool is_one_of(const fv_loss_type *type, const fv_loss_type *const *types) {
    while (*types && *types != type)
        types++;
    return *types != NULL;
}

/* A box of some size within (0, 1). */
static void draw_box(fv_random *random, fv_box_format format, float *box) {
    for (int axis = 0; axis < 2; axis++) {
        double size = 0.2 + 0.5 * fv_random_uniform(random);
        double first = (1 - size) * fv_random_uniform(random);
        bool corners = format == FV_BOX_CORNERS;
        box[axis] = (float)(corners ? first : first + size / 2);
        box[axis + 2] = (float)(corners ? first + size : size);
    }
}

/* The targets of one place: probabilities, boxes, or just numbers from 0 to 1. */
static void draw_place(const fv_loss_term *term, fv_random *random, float *values) {
    static const fv_loss_type *const boxes[] = {&fv_loss_iou, &fv_loss_giou, &fv_loss_diou,
                                                &fv_loss_ciou, NULL};
    static const fv_loss_type *const distributions[] = {&fv_loss_cross_entropy, &fv_loss_kl, NULL};
    int channels = term->judged.shape.channels;
    float sum = 0;
    if (is_one_of(term->type, boxes)) {
        draw_box(random, term->options.boxes, values);
        return;
    }
    for (int k = 0; k < channels; k++)
        sum += values[k] = (float)fv_random_uniform(random);
    for (int k = 0; is_one_of(term->type, distributions) && k < channels; k++)
        values[k] /= sum;
    for (int k = 0; term->type == &fv_loss_hinge && k < channels; k++)
        values[k] = values[k] < 0.5F ? -1 : 1;
}

/* The field that a loss is compared with, unless an earlier one has made it. */
static bool make_target(check *c, const fv_loss_term *term, fv_random *random) {
    const fv_judged *judged = &term->judged;
    fv_shape shape = judged->shape;
    bool indices = term->type->classes;
    for (int f = 0; f < c->field_count; f++)
        if (strcmp(c->fields[f].name, judged->target) == 0)
            return true;
    if (term->type->no_target || strcmp(judged->target, "input") == 0)
        return true;
    if (indices)
        shape.channels = 1;
    size_t values = fv_shape_count(&shape), places = values / (size_t)shape.channels;
    float *target = c->targets[c->field_count] = fv_alloc(values * BATCH, sizeof *target);
    fv_field *field = &c->fields[c->field_count++];
    snprintf(field->name, sizeof field->name, "%s", judged->target);
    field->shape = shape;
    for (size_t p = 0; target && p < places * BATCH; p++)
        if (indices)
            target[p] = (float)fv_random_below(random, (uint32_t)judged->shape.channels);
        else
            draw_place(term, random, target + p * (size_t)shape.channels);
    return target != NULL;
}

/* By its definition ciou has a gradient that is not its derivative. */
static bool can_be_checked(const fv_objective *objective) {
    for (int i = 0; i < objective->term_count; i++)
        if (objective->terms[i].type == &fv_loss_ciou) {
            fv_fail(FV_INVALID, "the gradient of loss ciou takes its factor a as a constant, so "
                                "differences cannot confirm it (check the net with diou)");
            return false;
        }
    return true;
}

static bool make_samples(check *c) {
    const fv_input_options *input = c->net->nodes[0].options;
    fv_objective *objective = &c->trainer->objective;
    size_t values = fv_shape_count(&c->trainer->runner.plan.nodes[0].shape);
    double scale = input->scale != 0 ? input->scale : 1;
    fv_random random;
    fv_random_start(&random, 1, FV_PURPOSE_BENCH, 0);
    c->input = fv_alloc(values * BATCH, sizeof *c->input);
    c->gradients = fv_alloc(c->net->weight_size, sizeof *c->gradients);
    if (!c->input || !c->gradients || !can_be_checked(objective))
        return false;
    for (size_t i = 0; i < values * BATCH; i++)
        c->input[i] = (float)(fv_random_uniform(&random) / scale);
    for (int s = 0; s < BATCH; s++) {
        c->source[s] = c->input + (size_t)s * values;
        c->indices[s] = (uint32_t)s;
    }
    for (int i = 0; i < objective->term_count; i++)
        if (!make_target(c, &objective->terms[i], &random))
            return false;
    return fv_objective_bind(objective, c->fields, c->field_count) == FV_OK;
}

static void close_check(check *c) {
    fv_trainer_free(c->trainer);
    fv_net_free(c->net);
    fv_free(c->input);
    fv_free(c->gradients);
    for (int f = 0; f < c->field_count; f++)
        fv_free(c->targets[f]);
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: fovea check NET\n");
        return 2;
    }
    check c = {0};
    int wrong = -1;
    if (open_check(&c, arguments[1]) && make_samples(&c))
        wrong = check_weights(&c);
    else
        fprintf(stderr, "fovea check: %s\n", fv_error_message());
    if (wrong >= 0)
        printf("%s: the gradients %s central differences to %.0e\n", arguments[1],
               wrong ? "DO NOT MATCH" : "match", tolerance);
    close_check(&c);
    return wrong == 0 ? 0 : 1;
}
