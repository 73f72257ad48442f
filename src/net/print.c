/* A net as .net text, which the parser reads back into the same net. Called by the public
 * fv_net_print, and by the model files, which hold the text of their net. */
#include "base/text.h"
#include "net/net.h"
#include <stdio.h>
#include <string.h>

enum { WIDEST_TRAIN = 100 }; /* columns, after which a train or output statement goes on anew */

size_t fv_layer_type_count(void) {
    size_t count = 0;
    while (fv_layer_types[count]) {
        count++;
    }
    return count;
}

void fv_default_name(const fv_layer_type *type, int *counts, char name[FV_NAME_SIZE]) {
    int index = 0;
    while (fv_layer_types[index] && fv_layer_types[index] != type) {
        index++;
    }
    counts[index]++;
    snprintf(name, FV_NAME_SIZE, "%.50s%d", type->name, counts[index]);
}

/* ---- Values --------------------------------------------------------------------------------- */

static bool is_shown(const fv_param *param, const void *options, bool resolved) {
    return resolved || param->required || !fv_param_is_default(param, options);
}

/* Where the default is another key's value (a pool's stride: its size), that value. */
static void add_value(const fv_param *params, const fv_param *param, const void *options,
                      fv_text *text) {
    if (param->fallback_text && fv_param_is_default(param, options)) {
        const fv_param *other = fv_param_find(params, param->fallback_text);
        param = other ? other : param;
    }
    fv_param_print(param, options, text);
}

/* " key=value", or " value"; nothing where the value cannot be said. */
static void add_word(const fv_param *params, const fv_param *param, const void *options,
                     bool with_key, fv_text *text) {
    fv_text value = {0};
    add_value(params, param, options, &value);
    if (value.size > 0) {
        fv_text_add(text, " %s%s%s", with_key ? param->key : "", with_key ? "=" : "", value.bytes);
    }
    text->failed = text->failed || value.failed;
    fv_text_free(&value);
}

static const fv_param *at_position(const fv_param *params, int position) {
    for (const fv_param *param = params; param && param->key; param++) {
        if (param->position == position) {
            return param;
        }
    }
    return NULL;
}

/* Positional values first, without their keys until one is left out; a CHOICE is known by its
 * word. Then the others. Returns in `text` " 32 3x3 relu padding=same". */
static void add_values(const fv_param *params, const void *options, bool resolved, fv_text *text) {
    int bare = 0; /* so many positions stand before a gap */
    const fv_param *param;
    bool gap = false;
    for (int position = 1; (param = at_position(params, position)); position++) {
        bool shown = is_shown(param, options, resolved);
        if (shown && (!gap || param->type == FV_PARAM_CHOICE)) {
            add_word(params, param, options, false, text);
        }
        gap = gap || !shown;
        bare = gap ? bare : position;
    }
    for (param = params; param && param->key; param++) {
        bool done =
            param->position > 0 && (param->position <= bare || param->type == FV_PARAM_CHOICE);
        if (!done && is_shown(param, options, resolved)) {
            add_word(params, param, options, true, text);
        }
    }
}

/* ---- Lines ---------------------------------------------------------------------------------- */

typedef struct printer {
    const fv_net *net;
    bool resolved;
    int name_width, type_width; /* 0: no layer's name is shown */
    int *type_counts;           /* see fv_default_name */
    fv_text text;
} printer;

static bool name_is_shown(printer *p, const fv_node *node) {
    char name[FV_NAME_SIZE];
    fv_default_name(node->type, p->type_counts, name);
    return p->resolved || strcmp(name, node->name) != 0;
}

static void measure(printer *p) {
    p->type_width = (int)strlen("train");
    for (int i = 0; i < p->net->count; i++) {
        const fv_node *node = &p->net->nodes[i];
        int type = (int)strlen(node->type->name), name = (int)strlen(node->name) + 2;
        p->type_width = type > p->type_width ? type : p->type_width;
        if (name_is_shown(p, node) && name > p->name_width) {
            p->name_width = name;
        }
    }
    memset(p->type_counts, 0, fv_layer_type_count() * sizeof *p->type_counts);
}

static void add_inputs(const printer *p, int index, fv_text *values) {
    const fv_node *node = &p->net->nodes[index];
    bool above = node->input_count == 1 && node->inputs[0] == index - 1;
    for (int i = 0; !above && i < node->input_count; i++) {
        fv_text_add(values, "%s%s", i > 0 ? "," : " from=", p->net->nodes[node->inputs[i]].name);
    }
}

static void add_layer(printer *p, int index) {
    const fv_node *node = &p->net->nodes[index];
    fv_text values = {0};
    add_values(node->type->params, node->options, p->resolved, &values);
    add_values(fv_tuning_params, &node->tuning, false, &values);
    add_inputs(p, index, &values);
    if (name_is_shown(p, node)) {
        fv_text_add(&p->text, "%s:%*s", node->name, p->name_width - (int)strlen(node->name) - 1,
                    "");
    } else {
        fv_text_add(&p->text, "%*s", p->name_width, "");
    }
    if (values.size > 0) {
        fv_text_add(&p->text, "%-*s %s\n", p->type_width, node->type->name, values.bytes);
    } else {
        fv_text_add(&p->text, "%s\n", node->type->name);
    }
    p->text.failed = p->text.failed || values.failed;
    fv_text_free(&values);
}

/* A loss or metric statement, the judged layer by its name. What its type does not use is not
 * written even when resolved. */
static void add_judge(printer *p, const char *what, const fv_param *params, const void *options) {
    fv_text values = {0};
    add_values(params, options, false, &values);
    fv_text_add(&p->text, "%*s%-*s %s\n", p->name_width, "", p->type_width, what,
                values.bytes ? values.bytes : "");
    p->text.failed = p->text.failed || values.failed;
    fv_text_free(&values);
}

/* The outputs that were named, in statements of at most some hundred columns. */
static void add_outputs(printer *p) {
    int type_width = p->type_width > 6 ? p->type_width : 6, column = 0;
    for (int i = 0; i < p->net->count; i++) {
        const char *name = p->net->nodes[i].name;
        int size = (int)strlen(name) + 1;
        if (!p->net->nodes[i].named_output) {
            continue;
        }
        if (column == 0 || column + size > WIDEST_TRAIN) {
            fv_text_add(&p->text, "%s%*s%-*s  ", column ? "\n" : "", p->name_width, "", type_width,
                        "output");
            column = p->name_width + type_width + 2;
        } else {
            fv_text_add(&p->text, ",");
        }
        fv_text_add(&p->text, "%s", name);
        column += size;
    }
    fv_text_add(&p->text, "%s", column > 0 ? "\n" : "");
}

static void add_judges(printer *p) {
    const fv_net *net = p->net;
    for (int i = 0; i < net->loss_count; i++) {
        fv_loss_options options = net->losses[i].options;
        snprintf(options.of, sizeof options.of, "%s", net->nodes[net->losses[i].node].name);
        if (p->resolved && !options.target[0])
            strcpy(options.target, "label");
        if (p->resolved && options.weight == 0)
            options.weight = 1;
        add_judge(p, "loss", fv_loss_params, &options);
    }
    for (int i = 0; i < net->metric_count; i++) {
        fv_metric_options options = net->metrics[i].options;
        snprintf(options.of, sizeof options.of, "%s", net->nodes[net->metrics[i].node].name);
        if (p->resolved && !options.target[0])
            strcpy(options.target, "label");
        add_judge(p, "metric", fv_metric_params, &options);
    }
}

static void add_train(printer *p, const fv_train_options *options) {
    int width = p->name_width + p->type_width, column = 0;
    for (const fv_param *param = fv_train_params; param->key; param++) {
        fv_text word = {0};
        bool judged = p->net->loss_count > 0 && !p->net->train.loss[0] &&
                      strcmp(param->key, "loss") == 0; /* loss lines say it */
        if (!judged &&
            is_shown(param, options, p->resolved && fv_train_uses(options, param->key))) {
            add_word(fv_train_params, param, options, true, &word);
        }
        int size = (int)word.size;
        if (size > 0 && (column == 0 || column + size > WIDEST_TRAIN)) {
            fv_text_add(&p->text, "\n%-*s ", width, "train");
            column = width + 1;
        }
        fv_text_add_bytes(&p->text, size > 0 ? word.bytes : "", word.size);
        column += size;
        p->text.failed = p->text.failed || word.failed;
        fv_text_free(&word);
    }
    fv_text_add(&p->text, "%s", column > 0 ? "\n" : "");
}

char *fv_net_print(const fv_net *net, bool resolved) {
    fv_train_options train = net->train;
    if (fv_params_check(fv_train_params, &train) != FV_OK) { /* set by C code */
        return NULL;
    }
    if (resolved) {
        fv_train_resolve(&train);
    }
    printer p = {.net = net, .resolved = resolved};
    p.type_counts = fv_alloc(fv_layer_type_count() + 1, sizeof *p.type_counts);
    if (!p.type_counts) {
        return NULL;
    }
    measure(&p);
    for (int i = 0; i < net->count; i++) {
        add_layer(&p, i);
    }
    add_outputs(&p);
    add_judges(&p);
    add_train(&p, &train);
    fv_free(p.type_counts);
    return fv_text_take(&p.text);
}
