/* Blocks of a .net text and their instances, and what names mean within them. Called by expand.c
 * for `block` lines, by text.c for lines whose first word is a block. */
#include "base/text.h"
#include "net/reader.h"
#include <stdio.h>
#include <string.h>

/* ---- Names ---------------------------------------------------------------------------------- */

void fv_join_name(const fv_scope *scope, const char *name, char joined[FV_JOINED_SIZE]) {
    snprintf(joined, FV_JOINED_SIZE, "%s%.*s", scope->prefix, FV_NAME_SIZE, name);
}

int fv_find_layer(const fv_parser *p, const char *name) {
    int node = -1;
    for (const fv_scope *s = p->scope; s && node < 0; s = s->outer) {
        char joined[FV_JOINED_SIZE];
        fv_join_name(s, name, joined);
        node = fv_net_find(p->net, joined);
    }
    return node;
}

fv_status fv_fail_no_layer(const fv_parser *p, const char *name, const char *where) {
    const fv_lookup *known = &p->net->names;
    const char *prefix = p->scope ? p->scope->prefix : ""; /* all is read: no scope */
    size_t size = strlen(prefix), count = 0;
    const char **names = fv_alloc(2 * (size_t)known->count + 1, sizeof *names);
    for (int i = 0; names && i < known->count; i++) {
        if (size > 0 && strncmp(known->names[i], prefix, size) == 0) { /* the block's own */
            names[count++] = known->names[i] + size;
        }
        names[count++] = known->names[i];
    }
    const char *nearest = names ? fv_nearest(name, names) : NULL;
    fv_free(names);
    return fv_fail(FV_INVALID, "no layer is called \"%.63s\"%s%s%s%s", name, where,
                   nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                   nearest ? "\"?" : "");
}

/* "in": 0, "in3": 3; -1 where the name is none of these, or is none here. */
static int input_number(const fv_scope *scope, const char *name) {
    int64_t number = 0;
    bool is_input = scope->prefix[0] && strncmp(name, "in", 2) == 0 &&
                    (!name[2] || (fv_read_integer(name + 2, &number) && number > 0));
    return !is_input ? -1 : number > FV_MAX_INPUTS ? FV_MAX_INPUTS : (int)number;
}

/* Adds what one name stands for: a layer, or with `in` the instance's inputs. */
static fv_status add_inputs(const fv_parser *p, const char *name, int *inputs, int *count) {
    const fv_scope *scope = p->scope;
    int number = input_number(scope, name), node = number < 0 ? fv_find_layer(p, name) : 0;
    if (node < 0) {
        return fv_fail_no_layer(p, name, " above this line");
    }
    if (number > scope->input_count || (number == 0 && scope->input_count == 0)) {
        return fv_fail(FV_INVALID, "there is no \"%s\" here: the block was given %d input%s", name,
                       scope->input_count, scope->input_count == 1 ? "" : "s");
    }
    int first = number > 0 ? number - 1 : 0, end = number == 0 ? scope->input_count : first + 1;
    for (int i = first; i < end; i++) {
        if (*count == FV_MAX_INPUTS) {
            return fv_fail(FV_INVALID, "more than %d inputs", FV_MAX_INPUTS);
        }
        inputs[(*count)++] = number < 0 ? node : scope->inputs[i];
    }
    return FV_OK;
}

fv_status fv_read_inputs(const fv_parser *p, const char *value, int *inputs, int *count) {
    *count = 0;
    for (const char *start = value;; start++) {
        size_t size = strcspn(start, ",");
        char name[FV_NAME_SIZE + 1]; /* one more than a name has, which is then none */
        snprintf(name, sizeof name, "%.*s", (int)(size < FV_NAME_SIZE ? size : FV_NAME_SIZE),
                 start);
        fv_status status = add_inputs(p, name, inputs, count);
        if (status != FV_OK) {
            return fv_place(p, start, status);
        }
        start += size;
        if (!*start) {
            return FV_OK;
        }
    }
}

/* ---- Definitions ---------------------------------------------------------------------------- */

int fv_find_block(const fv_parser *p, const char *name) {
    const fv_source *source = p->source;
    for (int i = 0; i < source->block_count && i < p->scope->blocks; i++) {
        if (strcmp(source->blocks[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

void fv_free_blocks(fv_source *source) {
    for (int i = 0; i < source->block_count; i++) {
        for (int j = 0; j < source->blocks[i].parameter_count; j++) {
            fv_free(source->blocks[i].defaults[j]);
        }
    }
    fv_free(source->blocks);
}

static int find_parameter(const fv_block *block, const char *name) {
    for (int i = 0; i < block->parameter_count; i++) {
        if (strcmp(block->parameters[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

/* "stride=1" or "filters", one of a block's parameters. */
static fv_status add_parameter(fv_block *block, char *word) {
    char *equals = strchr(word, '=');
    if (equals) {
        *equals = 0;
    }
    if (!fv_is_identifier(word) || strcmp(word, "from") == 0) {
        return fv_fail(FV_INVALID,
                       "\"%.70s\" is no name of a parameter, which has letters, digits "
                       "and \"_\" and is not \"from\"",
                       word);
    }
    if (find_parameter(block, word) >= 0) {
        return fv_fail(FV_INVALID, "two parameters are called %s", word);
    }
    if (equals && !equals[1]) {
        return fv_fail(FV_INVALID, "%s has no value; write %s=VALUE without blanks", word, word);
    }
    if (block->parameter_count == FV_MOST_PARAMETERS) {
        return fv_fail(FV_INVALID, "a block has at most %d parameters", FV_MOST_PARAMETERS);
    }
    int index = block->parameter_count++;
    snprintf(block->parameters[index], FV_NAME_SIZE, "%s", word);
    block->defaults[index] = equals ? fv_copy_string(equals + 1) : NULL;
    return equals && !block->defaults[index] ? FV_MEMORY : FV_OK;
}

/* "(filters, stride=1)", or nothing; `cursor` is behind the block's name. */
static fv_status read_parameters(const fv_parser *p, fv_block *block, char *cursor) {
    char *start = cursor + strspn(cursor, " \t"), *end = strchr(start, ')');
    if (!*start) {
        return FV_OK;
    }
    if (*start != '(' || !end || end[1 + strspn(end + 1, " \t")]) {
        return fv_place(p, start,
                        fv_fail(FV_INVALID, "a block's parameters stand in parentheses behind its "
                                            "name, as in `block basic(filters, stride=1)`"));
    }
    *end = 0;
    start++;
    for (bool more = start[strspn(start, " \t")] != 0; more;) {
        char *comma = start + strcspn(start, ",");
        more = *comma != 0;
        *comma = 0;
        char *word = start + strspn(start, " \t");
        size_t size = strcspn(word, " \t");
        if (word[size] && !word[size + strspn(word + size, " \t")]) {
            word[size] = 0; /* blanks before the comma */
        }
        fv_status status = fv_place(p, word, add_parameter(block, word));
        if (status != FV_OK) {
            return status;
        }
        start = comma + 1;
    }
    return FV_OK;
}

/* The name at *cursor, into block->name; moves *cursor behind it. */
static fv_status read_block_name(const fv_parser *p, fv_block *block, const char *word,
                                 char **cursor) {
    static const char *const taken[] = {"param", "use",  "block",  "repeat", "end",
                                        "train", "loss", "metric", "output", NULL};
    char *name = *cursor + strspn(*cursor, " \t");
    size_t size = strcspn(name, " \t(");
    snprintf(block->name, sizeof block->name, "%.*s",
             (int)(size < FV_NAME_SIZE ? size : FV_NAME_SIZE - 1), name);
    *cursor = name + size;
    if (size >= FV_NAME_SIZE || !fv_is_identifier(block->name)) {
        return fv_place(p, size > 0 ? name : word,
                        fv_fail(FV_INVALID,
                                "a block needs a name of letters, digits and \"_\", as in "
                                "`block basic(filters, stride=1)`"));
    }
    bool is_taken = fv_layer_type_find(block->name) != NULL;
    for (int i = 0; taken[i]; i++) {
        is_taken = is_taken || strcmp(taken[i], block->name) == 0;
    }
    fv_status status = is_taken ? fv_fail(FV_INVALID,
                                          "\"%s\" is no name for a block: it is that "
                                          "of a layer type or statement",
                                          block->name)
                       : fv_find_block(p, block->name) >= 0
                           ? fv_fail(FV_INVALID, "a block above is called \"%s\" too", block->name)
                           : FV_OK;
    return fv_place(p, name, status);
}

fv_status fv_read_block(fv_parser *p, const char *word, char *cursor, fv_cursor here,
                        fv_cursor *at) {
    fv_source *source = p->source;
    if (source->block_count == FV_MOST_BLOCKS) {
        return fv_place(p, word,
                        fv_fail(FV_INVALID, "a file has at most %d blocks", FV_MOST_BLOCKS));
    }
    fv_block *blocks = fv_realloc(source->blocks, (size_t)source->block_count,
                                  (size_t)source->block_count + 1, sizeof *blocks);
    if (!blocks) {
        return FV_MEMORY;
    }
    source->blocks = blocks;
    fv_block *block = &blocks[source->block_count];
    fv_status status = read_block_name(p, block, word, &cursor);
    if (status == FV_OK) {
        source->block_count++; /* what was read of it is freed with the source */
        status = read_parameters(p, block, cursor);
    }
    block->body = *at;
    return status == FV_OK ? fv_skip_body(p, here, at, "block") : status;
}

/* ---- Instances ------------------------------------------------------------------------------ */

/* The values of an instance's line: its arguments are copied, since its block's lines come next. */
typedef struct instance {
    const fv_block *block;
    fv_variable arguments[FV_MOST_PARAMETERS];
    int positional; /* so many parameters were given without their name */
    bool keyed, from;
    fv_scope scope;
} instance;

static fv_status fail_unknown_argument(const fv_block *block, const char *key) {
    const char *names[FV_MOST_PARAMETERS + 2] = {NULL};
    for (int i = 0; i < block->parameter_count; i++) {
        names[i] = block->parameters[i];
    }
    names[block->parameter_count] = "from";
    char what[96];
    snprintf(what, sizeof what, "parameter of %.63s", block->name);
    return fv_fail_unknown(what, key, names);
}

static fv_status set_argument(instance *it, int index, const char *value) {
    fv_variable *argument = &it->arguments[index];
    if (argument->value) {
        return fv_fail(FV_INVALID, "%s is given twice; keep one", it->block->parameters[index]);
    }
    argument->value = fv_copy_string(value);
    return argument->value ? FV_OK : FV_MEMORY;
}

static fv_status read_bare_argument(const fv_parser *p, instance *it, const char *word) {
    if (it->keyed) {
        return fv_place(p, word,
                        fv_fail(FV_INVALID,
                                "\"%.40s\" has no key, but stands after a key=value; "
                                "values without a key come first",
                                word));
    }
    int count = it->block->parameter_count;
    if (it->positional == count) {
        return fv_place(p, word,
                        fv_fail(FV_INVALID, "unexpected \"%.40s\"; %s takes %d value%s", word,
                                it->block->name, count, count == 1 ? "" : "s"));
    }
    return fv_place(p, word, set_argument(it, it->positional++, word));
}

static fv_status read_argument(const fv_parser *p, instance *it, char *word) {
    char *equals = strchr(word, '=');
    if (!equals) {
        return read_bare_argument(p, it, word);
    }
    it->keyed = true;
    *equals = 0;
    int index = find_parameter(it->block, word);
    bool from = strcmp(word, "from") == 0;
    if (index < 0 && !from) {
        return fv_place(p, word, fail_unknown_argument(it->block, word));
    }
    if (!equals[1]) {
        return fv_place(
            p, word,
            fv_fail(FV_INVALID, "%s has no value; write %s=VALUE without blanks", word, word));
    }
    if (!from) {
        return fv_place(p, word, set_argument(it, index, equals + 1));
    }
    if (it->from) {
        return fv_place(p, word, fv_fail(FV_INVALID, "from is given twice; keep one"));
    }
    it->from = true;
    return fv_read_inputs(p, equals + 1, it->scope.inputs, &it->scope.input_count);
}

/* Defaults for the arguments that are not given, and all of them as variables before those of the
 * file. */
static fv_status complete_arguments(const fv_parser *p, instance *it) {
    const fv_block *block = it->block;
    it->scope.variables = p->source->parameters;
    for (int i = 0; i < block->parameter_count; i++) {
        fv_variable *argument = &it->arguments[i];
        if (!argument->value && !block->defaults[i]) {
            return fv_fail(FV_INVALID, "%s needs a value for %s", block->name,
                           block->parameters[i]);
        }
        fv_status status = argument->value ? FV_OK : set_argument(it, i, block->defaults[i]);
        if (status != FV_OK) {
            return status;
        }
        snprintf(argument->name, sizeof argument->name, "%s", block->parameters[i]);
        argument->outer = it->scope.variables;
        it->scope.variables = argument;
    }
    return FV_OK;
}

/* The name in full, checked, with its dot as the prefix of the instance's layers. */
static fv_status name_instance(fv_parser *p, instance *it, int block, const char *given,
                               const char *word) {
    fv_scope *outer = p->scope;
    char own[FV_NAME_SIZE + 16], name[FV_JOINED_SIZE];
    snprintf(own, sizeof own, "%s%d", it->block->name, ++outer->block_counts[block]);
    fv_join_name(outer, given ? given : own, name);
    fv_status status = fv_place(p, given ? given : word, fv_check_name(p, name, given != NULL));
    if (status == FV_OK) {
        snprintf(it->scope.prefix, sizeof it->scope.prefix, "%.63s.", name);
    }
    return status;
}

/* Reads the block's lines in the instance's scope; the last layer then goes by its name. */
static fv_status read_layers(fv_parser *p, instance *it) {
    fv_scope *scope = &it->scope, *outer = p->scope;
    char name[FV_NAME_SIZE];
    snprintf(name, sizeof name, "%.*s", (int)strlen(scope->prefix) - 1, scope->prefix);
    scope->type_counts = fv_alloc(fv_layer_type_count(), sizeof *scope->type_counts);
    p->scope = scope;
    p->depth++;
    fv_status status = scope->type_counts ? fv_read_body(p, it->block->body) : FV_MEMORY;
    p->depth--;
    p->scope = outer;
    fv_free(scope->type_counts);
    outer->above = scope->above;
    return status == FV_OK && scope->above >= 0 ? fv_lookup_add(&p->net->names, name, scope->above)
                                                : status;
}

static fv_status read_into(fv_parser *p, instance *it, int block, const char *given_name,
                           const char *word, char *cursor) {
    fv_scope *scope = &it->scope;
    if (p->depth == FV_MOST_DEPTH) {
        return fv_place(p, word,
                        fv_fail(FV_INVALID, "repeats and blocks more than %d deep", FV_MOST_DEPTH));
    }
    scope->inputs[0] = p->scope->above;
    scope->input_count = p->scope->above >= 0;
    fv_status status = name_instance(p, it, block, given_name, word);
    for (char *next = fv_next_word(&cursor); next && status == FV_OK;
         next = fv_next_word(&cursor)) {
        status = read_argument(p, it, next);
    }
    if (status == FV_OK) {
        status = fv_place(p, word, complete_arguments(p, it));
    }
    scope->above = scope->input_count > 0 ? scope->inputs[0] : -1;
    return status == FV_OK ? read_layers(p, it) : status;
}

fv_status fv_read_instance(fv_parser *p, int block, const char *given_name, const char *word,
                           char *cursor) {
    instance *it = fv_alloc(1, sizeof *it);
    if (!it) {
        return FV_MEMORY;
    }
    it->block = &p->source->blocks[block];
    it->scope =
        (fv_scope){.outer = p->scope, .user = p->source, .line = p->line_number, .blocks = block};
    fv_status status = read_into(p, it, block, given_name, word, cursor);
    for (int i = 0; i < it->block->parameter_count; i++) {
        fv_free(it->arguments[i].value);
    }
    fv_free(it);
    return status;
}
