/* The statements of a .net text: one a line, each made a node as it is read. Called by expand.c for
 * each line that is executed. */
#include "base/text.h"
#include "net/reader.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PARAMS = 64 }; /* bits of fv_statement.given */

/* ---- Messages ------------------------------------------------------------------------------- */

static fv_status fail_unknown_type(const fv_parser *p, const char *word) {
    static const char *const statements[] = {"train", "loss",  "metric", "output", "param",
                                             "use",   "block", "repeat", "end"};
    enum { STATEMENTS = sizeof statements / sizeof *statements, MOST_TYPES = 200 };
    const char *names[MOST_TYPES + STATEMENTS + FV_MOST_BLOCKS + 1] = {NULL};
    int count = 0;
    while (fv_layer_types[count] && count < MOST_TYPES) {
        names[count] = fv_layer_types[count]->name;
        count++;
    }
    for (int i = 0; i < STATEMENTS; i++) {
        names[count++] = statements[i];
    }
    for (int i = 0; i < p->source->block_count && i < p->scope->blocks; i++) {
        names[count++] = p->source->blocks[i].name;
    }
    return fv_fail_unknown("layer", word, names);
}

fv_status fv_fail_unknown_key(const fv_statement *s, const char *key) {
    const char *keys[2 * MOST_PARAMS + 2] = {NULL};
    int count = 0;
    for (const fv_param *param = s->params; param && param->key && count < MOST_PARAMS; param++) {
        keys[count++] = param->key;
    }
    for (const fv_param *param = fv_tuning_params; s->type && param->key; param++) {
        keys[count++] = param->key;
    }
    if (s->type && s->type->max_inputs > 0) {
        keys[count++] = "from";
    }
    char what[96];
    snprintf(what, sizeof what, "key of %.63s", s->what);
    return fv_fail_unknown(what, key, keys);
}

/* ---- Values --------------------------------------------------------------------------------- */

/* The next word after *cursor, ended with a 0; NULL at the end of the line. */
char *fv_next_word(char **cursor) {
    char *word = *cursor + strspn(*cursor, " \t");
    char *end = word + strcspn(word, " \t");
    *cursor = *end ? end + 1 : end;
    *end = 0;
    return end > word ? word : NULL;
}

static fv_status set_value(const fv_parser *p, fv_statement *s, const fv_param *param,
                           const char *word, const char *value) {
    uint64_t bit = 1ull << (param - s->params);
    if (s->given & bit) {
        return fv_place(p, word, fv_fail(FV_INVALID, "%s is given twice; keep one", param->key));
    }
    s->given |= bit;
    return fv_place(p, value, fv_param_parse(param, value, s->options));
}

/* The CHOICE, among the positional or the other parameters, that has this word; else NULL. */
static const fv_param *find_choice(const fv_param *params, const char *word, bool positional) {
    for (const fv_param *param = params; param && param->key; param++) {
        if (param->type == FV_PARAM_CHOICE && (param->position > 0) == positional) {
            for (int i = 0; param->choices[i]; i++) {
                if (strcmp(param->choices[i], word) == 0) {
                    return param;
                }
            }
        }
    }
    return NULL;
}

/* The first positional parameter without a value; NULL: all have one. */
static const fv_param *next_positional(const fv_statement *s) {
    const fv_param *next = NULL;
    for (const fv_param *param = s->params; param && param->key; param++) {
        bool given = s->given >> (param - s->params) & 1;
        if (param->position > 0 && !given && (!next || param->position < next->position)) {
            next = param;
        }
    }
    return next;
}

/* A value without its key: a word of a positional CHOICE, wherever it stands, or the next
 * positional value, which stands before all keys. */
static fv_status read_bare(const fv_parser *p, fv_statement *s, const char *word) {
    const fv_param *param = find_choice(s->params, word, true);
    if (s->keyed && !param) {
        return fv_place(p, word,
                        fv_fail(FV_INVALID,
                                "\"%.40s\" has no key, but stands after a key=value; "
                                "values without a key come first",
                                word));
    }
    if (!param) {
        const fv_param *keyed = find_choice(s->params, word, false);
        if (keyed) {
            return fv_place(
                p, word,
                fv_fail(FV_INVALID, "\"%s\" needs its key here: %s=%s", word, keyed->key, word));
        }
        param = next_positional(s);
    }
    if (!param && !s->params) {
        return fv_place(
            p, word,
            fv_fail(FV_INVALID, "unexpected \"%.40s\"; %s takes no values", word, s->what));
    }
    if (!param) {
        return fv_place(p, word,
                        fv_fail(FV_INVALID,
                                "unexpected \"%.40s\"; other values of %s are written "
                                "key=value, without blanks",
                                word, s->what));
    }
    return set_value(p, s, param, word, word);
}

/* from=a,b: layers above this line. */
static fv_status read_from(const fv_parser *p, fv_statement *s, const char *word,
                           const char *value) {
    if (s->from) {
        return fv_place(p, word, fv_fail(FV_INVALID, "from is given twice; keep one"));
    }
    s->from = true;
    return fv_read_inputs(p, value, s->inputs, &s->input_count);
}

/* A key of fv_tuning, which any layer with weights takes. */
static fv_status read_tuning(const fv_parser *p, fv_statement *s, const fv_param *param,
                             const char *word, const char *value) {
    uint64_t bit = 1ull << (param - fv_tuning_params);
    if (s->tuned & bit) {
        return fv_place(p, word, fv_fail(FV_INVALID, "%s is given twice; keep one", param->key));
    }
    s->tuned |= bit;
    s->tuned_at = s->tuned_at ? s->tuned_at : word;
    return fv_place(p, value, fv_param_parse(param, value, &s->tuning));
}

static fv_status read_value(const fv_parser *p, fv_statement *s, char *word) {
    char *equals = strchr(word, '=');
    if (!equals) {
        return read_bare(p, s, word);
    }
    s->keyed = true;
    *equals = 0;
    char *value = equals + 1;
    const fv_param *param = fv_param_find(s->params, word);
    const fv_param *tuning = s->type && !param ? fv_param_find(fv_tuning_params, word) : NULL;
    bool from = s->type && s->type->max_inputs > 0 && strcmp(word, "from") == 0;
    if (!param && !tuning && !from) {
        return fv_place(p, word, fv_fail_unknown_key(s, word));
    }
    if (!*value) {
        return fv_place(
            p, value,
            fv_fail(FV_INVALID, "%s has no value; write %s=VALUE without blanks", word, word));
    }
    return from     ? read_from(p, s, word, value)
           : tuning ? read_tuning(p, s, tuning, word, value)
                    : set_value(p, s, param, word, value);
}

static fv_status read_values(const fv_parser *p, fv_statement *s, char *cursor) {
    for (char *word = fv_next_word(&cursor); word; word = fv_next_word(&cursor)) {
        fv_status status = read_value(p, s, word);
        if (status != FV_OK) {
            return status;
        }
    }
    return FV_OK;
}

static fv_status check_required(const fv_statement *s) {
    for (const fv_param *param = s->params; param && param->key; param++) {
        if (param->required && !(s->given >> (param - s->params) & 1)) {
            return fv_fail(FV_INVALID, "%s needs %s: %s", s->what, param->key, param->help);
        }
    }
    return fv_params_check(s->params, s->options);
}

/* ---- Statements ----------------------------------------------------------------------------- */

static fv_status read_train(fv_parser *p, const char *word, char *cursor) {
    fv_train_options *train = &p->net->train;
    fv_statement s = {
        .what = "train", .params = fv_train_params, .options = train, .given = p->train_given};
    fv_status status = read_values(p, &s, cursor);
    p->train_given = s.given;
    bool epochs = s.given >> (fv_param_find(fv_train_params, "epochs") - fv_train_params) & 1;
    bool steps = s.given >> (fv_param_find(fv_train_params, "steps") - fv_train_params) & 1;
    if (status == FV_OK && epochs && steps) {
        return fv_place(p, word, fv_fail(FV_INVALID, "both epochs and steps are given; keep one"));
    }
    train->epochs = steps ? 0 : train->epochs; /* as a file that is used may say */
    train->steps = epochs ? 0 : train->steps;
    return status;
}

/* The name is that of a layer or of an instance of a block. */
static fv_status fail_taken(const fv_parser *p, const char *name, bool given, int other) {
    const fv_node *node = &p->net->nodes[other];
    const char *of_line = given ? "" : "of this line, ";
    if (strcmp(node->name, name) != 0) {
        return fv_fail(FV_INVALID, "the name %s\"%s\" is taken by a block above", of_line, name);
    }
    return fv_fail(
        FV_INVALID, "the name %s\"%s\" is taken by line %d; give this layer another one, %s",
        of_line, name, node->line,
        node->line == p->line_number ? "as with its variable: name{i}" : "as in NAME: TYPE");
}

/* Whether the last part of the name is `in` or `in` and a number. */
static bool is_input_name(const char *name) {
    return strncmp(name, "in", 2) == 0 && !name[2 + strspn(name + 2, "0123456789")];
}

fv_status fv_check_name(const fv_parser *p, const char *name, bool given) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_-./";
    size_t size = strlen(name);
    if (size == 0 || size >= FV_NAME_SIZE || name[strspn(name, allowed)]) {
        return fv_fail(FV_INVALID,
                       "\"%.70s\" is no name; a name has 1 to %d letters, digits, "
                       "\"_\", \"-\", \".\" or \"/\"",
                       name, FV_NAME_SIZE - 1);
    }
    if (size >= 4 && strcmp(name + size - 4, ".pre") == 0) {
        return fv_fail(FV_INVALID, "a name may not end in \".pre\": it stands for a layer before "
                                   "its activation");
    }
    if (strcmp(name, "train") == 0) {
        return fv_fail(FV_INVALID, "\"train\" is no name for a layer: it is the training's own");
    }
    if (p->scope->prefix[0] && is_input_name(name + strlen(p->scope->prefix))) {
        return fv_fail(FV_INVALID, "\"%s\" is no name in a block: it is the block's input",
                       name + strlen(p->scope->prefix));
    }
    int other = fv_net_find(p->net, name);
    if (other >= 0) {
        return fail_taken(p, name, given, other);
    }
    return FV_OK;
}

static fv_status add_layer(fv_parser *p, fv_statement *s, const char *name, const char *word,
                           char *cursor) {
    fv_status status = read_values(p, s, cursor);
    if (status == FV_OK) {
        status = fv_apply_settings(p, s, name);
    }
    if (status == FV_OK) {
        status = fv_place(p, word, check_required(s));
    }
    if (status == FV_OK && fv_net_add(p->net, s->type, name, s->inputs, s->input_count, s->options,
                                      p->line_number, (int)(word - p->words) + 1) < 0) {
        status = fv_place(p, word, p->net->status);
    }
    if (status == FV_OK && s->tuned) {
        status = fv_place(p, s->tuned_at ? s->tuned_at : word,
                          fv_tune(p->net, p->net->count - 1, &s->tuning));
    }
    p->scope->above = p->net->count - 1;
    if (status == FV_OK && p->complaint && p->blamed == p->scope->above) {
        status = fv_place(p, word, fv_fail(FV_INVALID, "%s", p->complaint));
    }
    return status;
}

static fv_status read_layer(fv_parser *p, const char *given_name, const char *word, char *cursor) {
    const fv_layer_type *type = fv_layer_type_find(word);
    if (!type) {
        return fv_place(p, word, fail_unknown_type(p, word));
    }
    char default_name[FV_NAME_SIZE], name[FV_JOINED_SIZE];
    fv_default_name(type, p->scope->type_counts, default_name);
    fv_join_name(p->scope, given_name ? given_name : default_name, name);
    fv_status status =
        fv_place(p, given_name ? given_name : word, fv_check_name(p, name, given_name));
    if (status != FV_OK) {
        return status;
    }
    fv_statement s = {.type = type, .what = type->name, .params = type->params};
    if (type->max_inputs > 0) {
        s.inputs[s.input_count++] = p->scope->above;
    }
    s.options = fv_alloc(1, type->options_size);
    status = s.options ? add_layer(p, &s, name, word, cursor) : FV_MEMORY;
    fv_free(s.options);
    return status;
}

/* The node that of= names; else the one above. */
static fv_status find_judged(const fv_parser *p, const char *of, int *node) {
    *node = *of ? fv_find_layer(p, of) : p->scope->above;
    return *node >= 0 ? FV_OK
           : *of      ? fv_fail_no_layer(p, of, " above this line")
                      : fv_fail(FV_INVALID, "it comes after the layer that it judges");
}

/* The values of a loss or metric statement into its options, whose `of` is given, and its node. */
static fv_status read_judge(const fv_parser *p, fv_statement *s, const char *of, const char *word,
                            char *cursor, int *node) {
    fv_status status = read_values(p, s, cursor);
    if (status == FV_OK) {
        status = fv_place(p, word, check_required(s));
    }
    return status == FV_OK ? fv_place(p, word, find_judged(p, of, node)) : status;
}

static fv_status read_loss(fv_parser *p, const char *word, char *cursor) {
    fv_loss_options options = {0};
    fv_statement s = {.what = "loss", .params = fv_loss_params, .options = &options};
    int node = -1;
    fv_status status = read_judge(p, &s, options.of, word, cursor, &node);
    return status == FV_OK
               ? fv_place(p, word, fv_net_add_loss(p->net, node, &options, p->line_number))
               : status;
}

static fv_status read_metric(fv_parser *p, const char *word, char *cursor) {
    fv_metric_options options = {0};
    fv_statement s = {.what = "metric", .params = fv_metric_params, .options = &options};
    int node = -1;
    fv_status status = read_judge(p, &s, options.of, word, cursor, &node);
    return status == FV_OK
               ? fv_place(p, word, fv_net_add_metric(p->net, node, &options, p->line_number))
               : status;
}

/* output a,b: layers above this line. */
static fv_status read_output(const fv_parser *p, const char *word, char *cursor) {
    const char *list = fv_next_word(&cursor), *rest = fv_next_word(&cursor);
    if (!list) {
        return fv_place(p, word, fv_fail(FV_INVALID, "output of which layer? write output NAME"));
    }
    if (rest) {
        return fv_place(p, rest,
                        fv_fail(FV_INVALID,
                                "unexpected \"%.40s\"; names stand with commas "
                                "and without blanks, as in output a,b",
                                rest));
    }
    fv_status status = FV_OK;
    for (const char *start = list; status == FV_OK; start++) {
        size_t size = strcspn(start, ",");
        char name[FV_NAME_SIZE];
        snprintf(name, sizeof name, "%.*s", (int)(size < 63 ? size : 63), start);
        int node = size < sizeof name ? fv_find_layer(p, name) : -1;
        status = fv_place(p, start,
                          node < 0 ? fv_fail_no_layer(p, name, " above this line")
                                   : fv_add_output(p->net, node));
        start += size;
        if (!*start) {
            break;
        }
    }
    return status;
}

/* A layer, or the layers of a block. */
static fv_status read_layers(fv_parser *p, const char *name, const char *word, char *cursor) {
    int block = fv_find_block(p, word);
    if (p->source->used && (block >= 0 || fv_layer_type_find(word))) {
        return fv_place(p, word, fv_fail_used());
    }
    return block >= 0 ? fv_read_instance(p, block, name, word, cursor)
                      : read_layer(p, name, word, cursor);
}

/* [name:] type values, from p->words. */
fv_status fv_read_statement(fv_parser *p) {
    char *cursor = p->words, *word = fv_next_word(&cursor), *name = NULL;
    if (!word) {
        return FV_OK;
    }
    char *colon = strchr(word, ':');
    if (colon) {
        name = word;
        *colon = 0;
        word = colon[1] ? colon + 1 : fv_next_word(&cursor);
        if (!word) {
            return fv_place(p, name, fv_fail(FV_INVALID, "a layer's type must follow its name"));
        }
    }
    p->source->began = true;
    bool train = strcmp(word, "train") == 0, loss = strcmp(word, "loss") == 0;
    bool output = strcmp(word, "output") == 0;
    if (!train && !loss && !output && strcmp(word, "metric") != 0) {
        return read_layers(p, name, word, cursor);
    }
    if (name) {
        return fv_place(
            p, name, fv_fail(FV_INVALID, "%s %s statement has no name", output ? "an" : "a", word));
    }
    return train    ? read_train(p, word, cursor)
           : loss   ? read_loss(p, word, cursor)
           : output ? read_output(p, word, cursor)
                    : read_metric(p, word, cursor);
}
