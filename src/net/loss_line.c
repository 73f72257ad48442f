/* The `loss` and `metric` statements and the keys of fv_tuning: their parameter tables, and adding
 * them to a net. Called by the parser, the printer, the public functions and the manual. */
#include "base/text.h"
#include "net/net.h"
#include <stddef.h>
#include <string.h>

const char *const fv_loss_names[] = {"cross_entropy", "binary_cross_entropy",
                                     "mse",           "mae",
                                     "huber",         "smooth_l1",
                                     "hinge",         "kl",
                                     "cosine",        "focal",
                                     "dice",          "tversky",
                                     "iou",           "giou",
                                     "diou",          "ciou",
                                     "ssim",          "total_variation",
                                     "rbf",           NULL};
const char *const fv_metric_names[] = {"accuracy", "top_k", "precision", "recall", "f1",
                                       "auc",      "mae",   "mse",       "r2",     "mean_iou",
                                       "dice",     "psnr",  "ssim",      NULL};

const fv_judge_type fv_loss_types[] = {
    {"cross_entropy", "label_smoothing class_weights ignore formula"},
    {"binary_cross_entropy", "label_smoothing class_weights ignore"},
    {"mse", "ignore through layer"},
    {"mae", "ignore through layer"},
    {"huber", "ignore delta through layer"},
    {"smooth_l1", "ignore delta through layer"},
    {"hinge", "ignore"},
    {"kl", "ignore"},
    {"cosine", "ignore through layer"},
    {"focal", "label_smoothing class_weights ignore alpha gamma"},
    {"dice", "ignore smooth"},
    {"tversky", "ignore alpha beta smooth"},
    {"iou", "boxes"},
    {"giou", "boxes"},
    {"diou", "boxes"},
    {"ciou", "boxes"},
    {"ssim", "through layer"},
    {"total_variation", ""},
    {"rbf", "ignore margin"},
    {NULL, NULL}};

const fv_judge_type fv_metric_types[] = {{"accuracy", "threshold ignore"},
                                         {"top_k", "k ignore"},
                                         {"precision", "threshold ignore"},
                                         {"recall", "threshold ignore"},
                                         {"f1", "threshold ignore"},
                                         {"auc", "ignore"},
                                         {"mae", "ignore"},
                                         {"mse", "ignore"},
                                         {"r2", "ignore"},
                                         {"mean_iou", "threshold ignore"},
                                         {"dice", "threshold ignore"},
                                         {"psnr", "range ignore"},
                                         {"ssim", "range"},
                                         {NULL, NULL}};

static const char *const box_names[] = {"corners", "center", NULL};

#define LOSS(name) .key = #name, .offset = offsetof(fv_loss_options, name)

const fv_param fv_loss_params[] = {
    {LOSS(type), .type = FV_PARAM_NAME, .choices = fv_loss_names, .position = 1, .required = true,
     .help = "what is made small"},
    {LOSS(of), .type = FV_PARAM_NAME, .most = 64, .fallback_text = "the last layer above",
     .help = "the layer whose output it judges"},
    {LOSS(target), .type = FV_PARAM_NAME, .most = 64, .fallback_text = "label",
     .help = "what it is compared with: a field of the data, or input: the sample itself"},
    {LOSS(weight), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1e6, .fallback = 1,
     .help = "factor of this loss in the sum"},
    {LOSS(label_smoothing), .type = FV_PARAM_NUMBER, .low = 0, .high = 1, .exclusive_high = true,
     .help = "share of each target that is spread evenly over the classes (binary: over 0 and 1)"},
    {LOSS(class_weights), .type = FV_PARAM_NUMBERS, .most = FV_MOST_CLASS_WEIGHTS,
     .offset2 = offsetof(fv_loss_options, class_weight_count), .low = 0, .high = 1e6,
     .fallback_text = "none", .help = "a factor for each class, of places whose target it is"},
    {LOSS(ignore), .type = FV_PARAM_NUMBERS, .offset2 = offsetof(fv_loss_options, ignore_count),
     .low = -1e6, .high = 1e6, .fallback_text = "none",
     .help = "class indices (of one channel: targets) that do not count"},
    {LOSS(formula), .type = FV_PARAM_CHOICE, .choices = fv_formula_names,
     .help = "with class weights the mean divides by the count (keras) or by their sum (torch)"},
    {LOSS(delta), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1e6, .fallback = 1,
     .help = "where huber and smooth_l1 turn from square to straight"},
    {LOSS(alpha), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1e6,
     .fallback_text = "the loss's",
     .help = "focal: weight (0.25); tversky: of false positives (0.5)"},
    {LOSS(beta), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1e6, .fallback = 0.5,
     .help = "tversky: weight of false negatives"},
    {LOSS(gamma), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 100, .fallback = 2,
     .help = "focal: how much easy samples fade"},
    {LOSS(smooth), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1e6, .fallback = 1,
     .help = "dice, tversky: added above and below the fraction line"},
    {LOSS(margin), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1e3, .fallback = 0.1,
     .help = "rbf: penalty of the class \"none of these\""},
    {LOSS(boxes), .type = FV_PARAM_CHOICE, .choices = box_names,
     .help = "four numbers: x1, y1, x2, y2 or center x, center y, width, height"},
    {LOSS(through), .type = FV_PARAM_NAME, .most = 200, .fallback_text = "nothing",
     .help = "a trained model that output and target go through first"},
    {LOSS(layer), .type = FV_PARAM_NAME, .most = 64, .fallback_text = "its last",
     .help = "the layer of that model whose outputs are compared"},
    {LOSS(auxiliary), .type = FV_PARAM_BOOL,
     .help = "only helps training: left out of validation and tests"},
    {.key = NULL},
};

#define METRIC(name) .key = #name, .offset = offsetof(fv_metric_options, name)

const fv_param fv_metric_params[] = {
    {METRIC(type), .type = FV_PARAM_NAME, .choices = fv_metric_names, .position = 1,
     .required = true, .help = "what is measured"},
    {METRIC(of), .type = FV_PARAM_NAME, .most = 64, .fallback_text = "the last layer above",
     .help = "the layer whose output is measured"},
    {METRIC(target), .type = FV_PARAM_NAME, .most = 64, .fallback_text = "label",
     .help = "what it is compared with: a field of the data, or input: the sample itself"},
    {METRIC(k), .type = FV_PARAM_INT, .low = 1, .high = 1e6, .fallback = 5,
     .help = "top_k: so many best classes may hold the right one"},
    {METRIC(threshold), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1, .fallback = 0.5,
     .exclusive_high = true, .help = "of outputs with one channel: positive from here on"},
    {METRIC(range), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1e6, .fallback = 1,
     .help = "psnr, ssim: largest possible value less smallest"},
    {METRIC(ignore), .type = FV_PARAM_NUMBERS, .offset2 = offsetof(fv_metric_options, ignore_count),
     .low = -1e6, .high = 1e6, .fallback_text = "none",
     .help = "class indices (of one channel: targets) that do not count"},
    {.key = NULL},
};

#define TUNING(name) .key = #name, .offset = offsetof(fv_tuning, name)

const fv_param fv_tuning_params[] = {
    {TUNING(lr), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1e6, .fallback = 1,
     .help = "factor on the learning rate of its weights"},
    {TUNING(bias_lr), .type = FV_PARAM_NUMBER, .low = FV_ABOVE_ZERO, .high = 1e6,
     .fallback_text = "lr", .help = "the same for biases, scales and shifts"},
    {.key = "decay",
     .offset = offsetof(fv_tuning, no_decay),
     .type = FV_PARAM_NOT,
     .help = "weight decay applies to its weights"},
    {.key = "bias_decay",
     .offset = offsetof(fv_tuning, no_bias_decay),
     .type = FV_PARAM_NOT,
     .help = "... and to its biases, scales and shifts"},
    {TUNING(l1), .type = FV_PARAM_NUMBER, .low = 0, .high = 1e6,
     .help = "adds l1 times the sum of |w| to the loss"},
    {TUNING(l2), .type = FV_PARAM_NUMBER, .low = 0, .high = 1e6,
     .help = "adds l2 times the sum of w^2 to the loss"},
    {TUNING(max_norm), .type = FV_PARAM_NUMBER, .low = 0, .high = 1e6, .fallback_text = "none",
     .help = "longest allowed vector of an output's weights"},
    {TUNING(freeze), .type = FV_PARAM_BOOL,
     .help = "its weights do not learn; batch_norm uses its running statistics"},
    {.key = NULL},
};

/* ---- Adding ------------------------------------------------------------------------------------
 */

fv_status fv_net_check_node(const fv_net *net, int node, const char *what) {
    if (net->built && atomic_load(&net->users) != 0)
        return fv_fail(FV_BUSY, "a %s cannot be added while the net is in use", what);
    return node >= 0 && node < net->count
               ? FV_OK
               : fv_fail(FV_INVALID, "%s: there is no layer %d in this net", what, node);
}

/* Whether `words`, apart by spaces, has `word`. */
static bool has_word(const char *words, const char *word) {
    size_t length = strlen(word);
    for (const char *at = words; (at = strstr(at, word)); at += length)
        if ((at == words || at[-1] == ' ') && (at[length] == ' ' || at[length] == 0))
            return true;
    return false;
}

/* Whether the value says something other than nothing, into *given. */
static fv_status find_given(const fv_param *param, const void *options, const void *nothing,
                            bool *given) {
    fv_text text[2] = {0};
    fv_param_print(param, options, &text[0]);
    fv_param_print(param, nothing, &text[1]);
    const char *value = text[0].bytes ? text[0].bytes : "";
    *given = strcmp(value, text[1].bytes ? text[1].bytes : "") != 0;
    bool failed = text[0].failed || text[1].failed;
    fv_text_free(&text[0]);
    fv_text_free(&text[1]);
    return failed ? FV_MEMORY : FV_OK;
}

/* The options of every type. */
static const char common[] = "type of target weight auxiliary";

/* An option that the type does not have must not be given. */
static fv_status check_keys(const char *what, const fv_judge_type *types, const fv_param *params,
                            const void *options, const void *nothing, const char *name) {
    const fv_judge_type *type = types;
    while (type->name && strcmp(type->name, name) != 0)
        type++;
    for (const fv_param *param = params; type->name && param->key; param++) {
        bool given;
        if (has_word(common, param->key) || has_word(type->keys, param->key))
            continue;
        if (find_given(param, options, nothing, &given))
            return FV_MEMORY;
        if (given)
            return fv_fail(FV_INVALID, "%s %s has no option %s; it has %s", what, name, param->key,
                           *type->keys ? type->keys : "none of its own");
    }
    return FV_OK;
}

fv_status fv_net_add_loss(fv_net *net, int node, const fv_loss_options *options, int line) {
    fv_status status = fv_net_check_node(net, node, "loss");
    if (!status)
        status = fv_params_check(fv_loss_params, options);
    if (!status)
        status = check_keys("loss", fv_loss_types, fv_loss_params, options, &(fv_loss_options){0},
                            options->type);
    if (!status && net->loss_count == FV_MOST_LOSSES)
        status = fv_fail(FV_INVALID, "a net has at most %d losses", FV_MOST_LOSSES);
    if (!status && !net->losses && !(net->losses = fv_alloc(FV_MOST_LOSSES, sizeof *net->losses)))
        status = FV_MEMORY;
    if (!status)
        net->losses[net->loss_count++] =
            (fv_net_loss){.options = *options, .node = node, .line = line};
    if (!status && net->built)
        fv_net_find_outputs(net);
    return status;
}

fv_status fv_net_add_metric(fv_net *net, int node, const fv_metric_options *options, int line) {
    fv_status status = fv_net_check_node(net, node, "metric");
    if (!status)
        status = fv_params_check(fv_metric_params, options);
    if (!status)
        status = check_keys("metric", fv_metric_types, fv_metric_params, options,
                            &(fv_metric_options){0}, options->type);
    if (!status && net->metric_count == FV_MOST_METRICS)
        status = fv_fail(FV_INVALID, "a net has at most %d metrics", FV_MOST_METRICS);
    if (!status && !net->metrics &&
        !(net->metrics = fv_alloc(FV_MOST_METRICS, sizeof *net->metrics)))
        status = FV_MEMORY;
    if (!status)
        net->metrics[net->metric_count++] =
            (fv_net_metric){.options = *options, .node = node, .line = line};
    if (!status && net->built)
        fv_net_find_outputs(net);
    return status;
}

/* The node that `of` names; without a name, `given`. -1 with a message. */
static int judged_node(const fv_net *net, const char *of, int given) {
    if (!memchr(of, 0, 64) || !*of)
        return given;
    int node = fv_net_find(net, of);
    if (node < 0)
        fv_fail(FV_INVALID, "of=%s: there is no layer of that name", of);
    return node;
}

fv_status fv_add_loss(fv_net *net, fv_tensor layer, const fv_loss_options *options) {
    if (!net || net->status != FV_OK)
        return net ? net->status : FV_MEMORY;
    int node = judged_node(net, options->of, layer);
    return node < 0 && *options->of ? FV_INVALID : fv_net_add_loss(net, node, options, 0);
}

fv_status fv_add_metric(fv_net *net, fv_tensor layer, const fv_metric_options *options) {
    if (!net || net->status != FV_OK)
        return net ? net->status : FV_MEMORY;
    int node = judged_node(net, options->of, layer);
    return node < 0 && *options->of ? FV_INVALID : fv_net_add_metric(net, node, options, 0);
}

fv_status fv_tune(fv_net *net, fv_tensor layer, const fv_tuning *tuning) {
    fv_status status = fv_net_check_node(net, layer, "tuning");
    if (!status)
        status = fv_params_check(fv_tuning_params, tuning);
    if (!status && net->nodes[layer].weight_count == 0)
        status = fv_fail(FV_INVALID, "%s has no weights that could learn", net->nodes[layer].name);
    if (!status)
        net->nodes[layer].tuning = *tuning;
    return status;
}
