/* The .net text: one statement a line, each made a node as it is read. Called by the public
 * fv_net_parse, and by formats: .net files, and model files, which hold the text of their net. */
#include "base/text.h"
#include "net/net.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_LINE = 4096, /* bytes of a line */
    MOST_PARAMS = 64, /* bits of statement.given */
};

typedef struct parser {
    const char *name, *text; /* the source, for messages */
    size_t size;
    size_t line_start, line_size; /* of the line being read, in text */
    int line_number;
    char words[MOST_LINE + 1]; /* that line, with a 0 after each word that was read */
    const char *const *settings;
    int setting_count;
    bool *setting_used;
    int *type_counts;     /* see fv_default_name */
    uint64_t train_given; /* of all train statements */
    size_t most_weights;  /* of a model file, plus 1; 0: the weights are drawn */
    fv_net *net;
} parser;

typedef struct statement {
    const fv_layer_type *type; /* NULL: train, loss, metric */
    const char *what;          /* the type's name, or "train" */
    const fv_param *params;
    void *options;
    uint64_t given;       /* bit i: params[i] has a value */
    fv_tuning tuning;     /* layers only */
    uint64_t tuned;       /* bit i: fv_tuning_params[i] has a value */
    const char *tuned_at; /* its first word; NULL: none */
    bool keyed;           /* a key=value was read, so that no bare value may follow */
    bool from;            /* its inputs were named */
    int inputs[FV_MAX_INPUTS], input_count;
} statement;

/* ---- Messages with a place ------------------------------------------------------------------ */

static bool continues_character(char byte) { /* of UTF-8 */
    return ((unsigned char)byte & 0xC0) == 0x80;
}

static bool is_control(char byte) {
    return ((unsigned char)byte < 0x20 && byte != '\t') || byte == 0x7F;
}

/* Some 100 bytes of the line around `column`, and below it the blanks that lead to the caret. */
static void cut_excerpt(const parser *p, size_t column, char excerpt[128], char caret[128]) {
    const char *line = p->text + p->line_start;
    size_t begin = 0, end = p->line_size, used = 0, blanks = 0;
    if (p->line_size > 100) {
        begin = column > 60 ? column - 60 : 0;
        end = begin + 100 < end ? begin + 100 : end;
        while (begin < column && continues_character(line[begin])) {
            begin++;
        }
        while (end > column && end < p->line_size && continues_character(line[end])) {
            end--;
        }
    }
    for (int i = 0; begin > 0 && i < 3; i++) {
        excerpt[used++] = '.';
        caret[blanks++] = ' ';
    }
    for (size_t i = begin; i < end; i++) {
        excerpt[used++] = is_control(line[i]) ? '?' : line[i];
        if (i < column && !continues_character(line[i])) {
            caret[blanks++] = line[i] == '\t' ? '\t' : ' ';
        }
    }
    excerpt[used] = 0;
    caret[blanks] = 0;
}

/* Of a failed status: puts "file:line:column: " before this thread's message, and the source line
 * with a caret after it. `at` points into p->words. Returns the status. */
static fv_status place(const parser *p, const char *at, fv_status status) {
    if (status == FV_OK || status == FV_MEMORY) {
        return status;
    }
    size_t column = (size_t)(at - p->words);
    char excerpt[128], caret[128];
    cut_excerpt(p, column, excerpt, caret);
    size_t length = strlen(p->name);
    const char *name = length > 300 ? p->name + length - 300 : p->name;
    return fv_fail(status, "%s:%d:%zu: %.440s\n%s\n%s^", name, p->line_number, column + 1,
                   fv_error_message(), excerpt, caret);
}

/* The layer whose name is nearest; NULL: none is near. */
static const char *nearest_layer(const parser *p, const char *name) {
    const fv_net *net = p->net;
    const char **names = fv_alloc((size_t)net->count + 1, sizeof *names);
    for (int i = 0; names && i < net->count; i++) {
        names[i] = net->nodes[i].name;
    }
    const char *nearest = names ? fv_nearest(name, names) : NULL;
    fv_free(names);
    return nearest;
}

static fv_status fail_no_layer(const parser *p, const char *name, const char *where) {
    const char *nearest = nearest_layer(p, name);
    return fv_fail(FV_INVALID, "no layer is called \"%.63s\"%s%s%s%s", name, where,
                   nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                   nearest ? "\"?" : "");
}

static fv_status fail_unknown_type(const char *word) {
    enum { STATEMENTS = 4, MOST_TYPES = 200 };
    const char *names[MOST_TYPES + STATEMENTS + 1] = {NULL};
    int count = 0;
    while (fv_layer_types[count] && count < MOST_TYPES) {
        names[count] = fv_layer_types[count]->name;
        count++;
    }
    names[count] = "train";
    names[count + 1] = "loss";
    names[count + 2] = "metric";
    names[count + 3] = "output";
    return fv_fail_unknown("layer", word, names);
}

static fv_status fail_unknown_key(const statement *s, const char *key) {
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

/* ---- Settings: LAYER.KEY=VALUE -------------------------------------------------------------- */

/* The '.' before the key; NULL when it is no setting. */
static const char *setting_dot(const char *setting) {
    const char *equals = strchr(setting, '=');
    const char *dot = equals ? memrchr(setting, '.', (size_t)(equals - setting)) : NULL;
    return dot && dot > setting && dot + 1 < equals && equals[1] ? dot : NULL;
}

static bool setting_is_for(const char *setting, const char *layer) {
    size_t size = (size_t)(setting_dot(setting) - setting);
    return strlen(layer) == size && memcmp(setting, layer, size) == 0;
}

static fv_status apply_setting(statement *s, const char *setting) {
    const char *start = setting_dot(setting) + 1, *equals = strchr(setting, '=');
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int)(equals - start < 63 ? equals - start : 63), start);
    const fv_param *param = fv_param_find(s->params, key);
    const fv_param *tuning = s->type && !param ? fv_param_find(fv_tuning_params, key) : NULL;
    fv_status status = param    ? fv_param_parse(param, equals + 1, s->options)
                       : tuning ? fv_param_parse(tuning, equals + 1, &s->tuning)
                                : fail_unknown_key(s, key);
    if (status != FV_OK) {
        return fv_fail_in(status, "setting \"%.200s\"", setting);
    }
    if (tuning) {
        s->tuned |= 1ull << (tuning - fv_tuning_params);
    } else {
        s->given |= 1ull << (param - s->params);
    }
    if (!s->type) { /* the one of epochs and steps that was set last counts */
        fv_train_options *train = s->options;
        train->epochs = strcmp(key, "steps") == 0 ? 0 : train->epochs;
        train->steps = strcmp(key, "epochs") == 0 ? 0 : train->steps;
    }
    return FV_OK;
}

/* Later settings replace earlier ones. */
static fv_status apply_settings(parser *p, statement *s, const char *layer) {
    fv_status status = FV_OK;
    for (int i = 0; i < p->setting_count && status == FV_OK; i++) {
        if (setting_is_for(p->settings[i], layer)) {
            p->setting_used[i] = true;
            status = apply_setting(s, p->settings[i]);
        }
    }
    return status;
}

static fv_status check_settings_used(const parser *p) {
    for (int i = 0; i < p->setting_count; i++) {
        if (!p->setting_used[i]) {
            const char *setting = p->settings[i];
            size_t size = (size_t)(setting_dot(setting) - setting);
            char layer[FV_NAME_SIZE];
            snprintf(layer, sizeof layer, "%.*s", (int)(size < 63 ? size : 63), setting);
            return fv_fail_in(fail_no_layer(p, layer, " in this net"), "setting \"%.200s\"",
                              setting);
        }
    }
    return FV_OK;
}

/* ---- Values --------------------------------------------------------------------------------- */

/* The next word after *cursor, ended with a 0; NULL at the end of the line. */
static char *next_word(char **cursor) {
    char *word = *cursor + strspn(*cursor, " \t");
    char *end = word + strcspn(word, " \t");
    *cursor = *end ? end + 1 : end;
    *end = 0;
    return end > word ? word : NULL;
}

static fv_status set_value(const parser *p, statement *s, const fv_param *param, const char *word,
                           const char *value) {
    uint64_t bit = 1ull << (param - s->params);
    if (s->given & bit) {
        return place(p, word, fv_fail(FV_INVALID, "%s is given twice; keep one", param->key));
    }
    s->given |= bit;
    return place(p, value, fv_param_parse(param, value, s->options));
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
static const fv_param *next_positional(const statement *s) {
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
static fv_status read_bare(const parser *p, statement *s, const char *word) {
    const fv_param *param = find_choice(s->params, word, true);
    if (s->keyed && !param) {
        return place(p, word,
                     fv_fail(FV_INVALID,
                             "\"%.40s\" has no key, but stands after a key=value; "
                             "values without a key come first",
                             word));
    }
    if (!param) {
        const fv_param *keyed = find_choice(s->params, word, false);
        if (keyed) {
            return place(
                p, word,
                fv_fail(FV_INVALID, "\"%s\" needs its key here: %s=%s", word, keyed->key, word));
        }
        param = next_positional(s);
    }
    if (!param && !s->params) {
        return place(
            p, word,
            fv_fail(FV_INVALID, "unexpected \"%.40s\"; %s takes no values", word, s->what));
    }
    if (!param) {
        return place(p, word,
                     fv_fail(FV_INVALID,
                             "unexpected \"%.40s\"; other values of %s are written "
                             "key=value, without blanks",
                             word, s->what));
    }
    return set_value(p, s, param, word, word);
}

/* from=a,b: layers above this line. */
static fv_status read_inputs(const parser *p, statement *s, const char *word, const char *value) {
    if (s->from) {
        return place(p, word, fv_fail(FV_INVALID, "from is given twice; keep one"));
    }
    s->from = true;
    s->input_count = 0;
    for (const char *start = value;; start++) {
        size_t size = strcspn(start, ",");
        char name[FV_NAME_SIZE];
        snprintf(name, sizeof name, "%.*s", (int)(size < 63 ? size : 63), start);
        int input = size < sizeof name ? fv_net_find(p->net, name) : -1;
        if (input < 0) {
            return place(p, start, fail_no_layer(p, name, " above this line"));
        }
        if (s->input_count == FV_MAX_INPUTS) {
            return place(p, start, fv_fail(FV_INVALID, "more than %d inputs", FV_MAX_INPUTS));
        }
        s->inputs[s->input_count++] = input;
        start += size;
        if (!*start) {
            return FV_OK;
        }
    }
}

/* A key of fv_tuning, which any layer with weights takes. */
static fv_status read_tuning(const parser *p, statement *s, const fv_param *param, const char *word,
                             const char *value) {
    uint64_t bit = 1ull << (param - fv_tuning_params);
    if (s->tuned & bit) {
        return place(p, word, fv_fail(FV_INVALID, "%s is given twice; keep one", param->key));
    }
    s->tuned |= bit;
    s->tuned_at = s->tuned_at ? s->tuned_at : word;
    return place(p, value, fv_param_parse(param, value, &s->tuning));
}

static fv_status read_value(const parser *p, statement *s, char *word) {
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
        return place(p, word, fail_unknown_key(s, word));
    }
    if (!*value) {
        return place(
            p, value,
            fv_fail(FV_INVALID, "%s has no value; write %s=VALUE without blanks", word, word));
    }
    return from     ? read_inputs(p, s, word, value)
           : tuning ? read_tuning(p, s, tuning, word, value)
                    : set_value(p, s, param, word, value);
}

static fv_status read_values(const parser *p, statement *s, char *cursor) {
    for (char *word = next_word(&cursor); word; word = next_word(&cursor)) {
        fv_status status = read_value(p, s, word);
        if (status != FV_OK) {
            return status;
        }
    }
    return FV_OK;
}

static fv_status check_required(const statement *s) {
    for (const fv_param *param = s->params; param && param->key; param++) {
        if (param->required && !(s->given >> (param - s->params) & 1)) {
            return fv_fail(FV_INVALID, "%s needs %s: %s", s->what, param->key, param->help);
        }
    }
    return fv_params_check(s->params, s->options);
}

/* ---- Statements ----------------------------------------------------------------------------- */

static fv_status read_train(parser *p, const char *word, char *cursor) {
    fv_train_options *train = &p->net->train;
    statement s = {
        .what = "train", .params = fv_train_params, .options = train, .given = p->train_given};
    fv_status status = read_values(p, &s, cursor);
    p->train_given = s.given;
    if (status == FV_OK && train->epochs && train->steps) {
        status = place(p, word, fv_fail(FV_INVALID, "both epochs and steps are given; keep one"));
    }
    return status;
}

/* `given`: as written, not made of type and ordinal. */
static fv_status check_name(const parser *p, const char *name, bool given) {
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
    int other = fv_net_find(p->net, name);
    if (other >= 0) {
        return fv_fail(FV_INVALID,
                       "the name %s\"%s\" is taken by line %d; give this layer another "
                       "one, as in NAME: TYPE",
                       given ? "" : "of this line, ", name, p->net->nodes[other].line);
    }
    return FV_OK;
}

static fv_status add_layer(parser *p, statement *s, const char *name, const char *word,
                           char *cursor) {
    fv_status status = read_values(p, s, cursor);
    if (status == FV_OK) {
        status = apply_settings(p, s, name);
    }
    if (status == FV_OK) {
        status = place(p, word, check_required(s));
    }
    if (status == FV_OK && fv_net_add(p->net, s->type, name, s->inputs, s->input_count, s->options,
                                      p->line_number, (int)(word - p->words) + 1) < 0) {
        status = place(p, word, p->net->status);
    }
    if (status == FV_OK && s->tuned) {
        status = place(p, s->tuned_at ? s->tuned_at : word,
                       fv_tune(p->net, p->net->count - 1, &s->tuning));
    }
    return status;
}

static fv_status read_layer(parser *p, const char *given_name, const char *word, char *cursor) {
    const fv_layer_type *type = fv_layer_type_find(word);
    if (!type) {
        return place(p, word, fail_unknown_type(word));
    }
    char default_name[FV_NAME_SIZE];
    fv_default_name(type, p->type_counts, default_name);
    const char *name = given_name ? given_name : default_name;
    fv_status status = place(p, given_name ? given_name : word, check_name(p, name, given_name));
    if (status != FV_OK) {
        return status;
    }
    statement s = {.type = type, .what = type->name, .params = type->params};
    if (type->max_inputs > 0) {
        s.inputs[s.input_count++] = p->net->count - 1;
    }
    s.options = fv_alloc(1, type->options_size);
    status = s.options ? add_layer(p, &s, name, word, cursor) : FV_MEMORY;
    fv_free(s.options);
    return status;
}

/* The node that of= names; else the last so far. */
static fv_status find_judged(const parser *p, const char *of, int *node) {
    *node = *of ? fv_net_find(p->net, of) : p->net->count - 1;
    return *node >= 0 ? FV_OK
           : *of      ? fail_no_layer(p, of, " above this line")
                      : fv_fail(FV_INVALID, "it comes after the layer that it judges");
}

/* The values of a loss or metric statement into its options, whose `of` is given, and its node. */
static fv_status read_judge(const parser *p, statement *s, const char *of, const char *word,
                            char *cursor, int *node) {
    fv_status status = read_values(p, s, cursor);
    if (status == FV_OK) {
        status = place(p, word, check_required(s));
    }
    return status == FV_OK ? place(p, word, find_judged(p, of, node)) : status;
}

static fv_status read_loss(parser *p, const char *word, char *cursor) {
    fv_loss_options options = {0};
    statement s = {.what = "loss", .params = fv_loss_params, .options = &options};
    int node = -1;
    fv_status status = read_judge(p, &s, options.of, word, cursor, &node);
    return status == FV_OK ? place(p, word, fv_net_add_loss(p->net, node, &options, p->line_number))
                           : status;
}

static fv_status read_metric(parser *p, const char *word, char *cursor) {
    fv_metric_options options = {0};
    statement s = {.what = "metric", .params = fv_metric_params, .options = &options};
    int node = -1;
    fv_status status = read_judge(p, &s, options.of, word, cursor, &node);
    return status == FV_OK
               ? place(p, word, fv_net_add_metric(p->net, node, &options, p->line_number))
               : status;
}

/* output a,b: layers above this line. */
static fv_status read_output(const parser *p, const char *word, char *cursor) {
    const char *list = next_word(&cursor), *rest = next_word(&cursor);
    if (!list) {
        return place(p, word, fv_fail(FV_INVALID, "output of which layer? write output NAME"));
    }
    if (rest) {
        return place(p, rest,
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
        int node = size < sizeof name ? fv_net_find(p->net, name) : -1;
        status = place(p, start,
                       node < 0 ? fail_no_layer(p, name, " above this line")
                                : fv_add_output(p->net, node));
        start += size;
        if (!*start) {
            break;
        }
    }
    return status;
}

/* [name:] type values, from p->words. */
static fv_status read_statement(parser *p) {
    char *cursor = p->words, *word = next_word(&cursor), *name = NULL;
    if (!word) {
        return FV_OK;
    }
    char *colon = strchr(word, ':');
    if (colon) {
        name = word;
        *colon = 0;
        word = colon[1] ? colon + 1 : next_word(&cursor);
        if (!word) {
            return place(p, name, fv_fail(FV_INVALID, "a layer's type must follow its name"));
        }
    }
    bool train = strcmp(word, "train") == 0, loss = strcmp(word, "loss") == 0;
    bool output = strcmp(word, "output") == 0;
    if (!train && !loss && !output && strcmp(word, "metric") != 0) {
        return read_layer(p, name, word, cursor);
    }
    if (name) {
        return place(p, name,
                     fv_fail(FV_INVALID, "%s %s statement has no name", output ? "an" : "a", word));
    }
    return train    ? read_train(p, word, cursor)
           : loss   ? read_loss(p, word, cursor)
           : output ? read_output(p, word, cursor)
                    : read_metric(p, word, cursor);
}

/* ---- Lines ---------------------------------------------------------------------------------- */

static fv_status read_line(parser *p) {
    const char *line = p->text + p->line_start;
    if (p->line_size > MOST_LINE) {
        return place(p, p->words + MOST_LINE,
                     fv_fail(FV_FORMAT, "this line has %zu bytes; at most %d are allowed",
                             p->line_size, MOST_LINE));
    }
    for (size_t i = 0; i < p->line_size; i++) {
        if (is_control(line[i])) {
            return place(p, p->words + i,
                         fv_fail(FV_FORMAT, "byte 0x%02x is not allowed; a .net file is plain text",
                                 line[i]));
        }
    }
    memcpy(p->words, line, p->line_size);
    p->words[p->line_size] = 0;
    p->words[strcspn(p->words, "#")] = 0;
    return read_statement(p);
}

/* Makes the line at `start` the parser's; returns where the next one starts. */
static size_t take_line(parser *p, size_t start) {
    const char *line = p->text + start, *end = memchr(line, '\n', p->size - start);
    size_t size = end ? (size_t)(end - line) : p->size - start;
    p->line_start = start;
    p->line_size = end && size > 0 && line[size - 1] == '\r' ? size - 1 : size;
    p->line_number++;
    return start + size + (end ? 1 : 0);
}

/* Some editors begin a text with a byte-order mark. */
static size_t first_line(const parser *p) {
    return p->size >= 3 && memcmp(p->text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

static fv_status read_lines(parser *p) {
    fv_status status = FV_OK;
    size_t next = first_line(p);
    do {
        next = take_line(p, next);
        status = read_line(p);
    } while (status == FV_OK && next < p->size);
    return status;
}

/* Every output but the last must go somewhere. */
static fv_status check_all_read(parser *p) {
    int unread;
    fv_status status = fv_net_find_unread(p->net, &unread);
    if (status != FV_INVALID) {
        return status;
    }
    const fv_node *node = &p->net->nodes[unread];
    p->line_number = 0; /* back to its line, for the message */
    for (size_t next = first_line(p); p->line_number < node->line;) {
        next = take_line(p, next);
    }
    return place(p, p->words + node->column - 1, status);
}

static fv_status begin(parser *p) {
    if (p->size > FV_MOST_TEXT) {
        return fv_fail(FV_FORMAT, "%.300s: %zu bytes; a .net text has at most %d", p->name, p->size,
                       FV_MOST_TEXT);
    }
    for (int i = 0; i < p->setting_count; i++) {
        if (!setting_dot(p->settings[i])) {
            return fv_fail(FV_INVALID,
                           "setting \"%.200s\": expected LAYER.KEY=VALUE or "
                           "train.KEY=VALUE, such as train.lr=0.1",
                           p->settings[i]);
        }
    }
    size_t types = 0;
    while (fv_layer_types[types]) {
        types++;
    }
    p->setting_used = fv_alloc((size_t)p->setting_count, sizeof *p->setting_used);
    p->type_counts = fv_alloc(types, sizeof *p->type_counts);
    p->net = fv_net_new();
    if (!p->setting_used || !p->type_counts || !p->net) {
        return FV_MEMORY;
    }
    p->net->source = fv_copy_string(p->name);
    return p->net->source ? FV_OK : FV_MEMORY;
}

static fv_status finish(parser *p) {
    if (p->net->count == 0) {
        return place(p, p->words,
                     fv_fail(FV_INVALID, "the net has no layers; it starts with an "
                                         "input line, such as \"input 28x28x1\""));
    }
    statement train = {.what = "train", .params = fv_train_params, .options = &p->net->train};
    fv_status status = apply_settings(p, &train, "train");
    if (status == FV_OK) {
        status = check_settings_used(p);
    }
    if (status == FV_OK) {
        status = check_all_read(p);
    }
    if (status != FV_OK) {
        return status;
    }
    return p->most_weights ? fv_net_build_in_file(p->net, p->most_weights - 1)
                           : fv_net_build(p->net);
}

static fv_net *parse(parser *p) {
    fv_status status = begin(p);
    if (status == FV_OK) {
        status = read_lines(p);
    }
    if (status == FV_OK) {
        status = finish(p);
    }
    fv_free(p->setting_used);
    fv_free(p->type_counts);
    if (status == FV_OK) {
        return p->net;
    }
    fv_net_free(p->net);
    return NULL;
}

fv_net *fv_net_parse_with(const char *text, size_t size, const char *name,
                          const char *const *settings, int setting_count) {
    parser p = {.name = name,
                .text = text,
                .size = size,
                .settings = settings,
                .setting_count = setting_count};
    return parse(&p);
}

fv_net *fv_net_parse_model(const char *text, size_t size, const char *name,
                           const char *const *settings, int setting_count, size_t most_weights) {
    parser p = {.name = name,
                .text = text,
                .size = size,
                .settings = settings,
                .setting_count = setting_count,
                .most_weights = most_weights + 1};
    return parse(&p);
}

fv_net *fv_net_parse(const char *text, const char *name) {
    if (!text) {
        fv_fail(FV_INVALID, "no text of a net was given");
        return NULL;
    }
    return fv_net_parse_with(text, strlen(text), name ? name : "net", NULL, 0);
}
