/* The lines of a .net text, in the order in which they are executed: what stands in braces is
 * replaced, `repeat` reads lines again, `use` reads another file, `param` names numbers; all other
 * lines are statements (text.c) or blocks (block.c). Called by text.c, once for a net. */
#include "net/reader.h"
#include <stdio.h>
#include <string.h>

typedef enum keyword { STATEMENT, PARAM, USE, BLOCK, REPEAT, END } keyword;

static const char *const keywords[] = {
    [PARAM] = "param", [USE] = "use", [BLOCK] = "block", [REPEAT] = "repeat", [END] = "end"};

/* ---- One line ------------------------------------------------------------------------------- */

static bool is_control(char byte) {
    return ((unsigned char)byte < 0x20 && byte != '\t') || byte == 0x7F;
}

/* The line at *at, without its comment, into p->words; moves *at to the next one. */
static fv_status take_line(fv_parser *p, fv_cursor *at) {
    const char *line = p->source->text + at->next;
    size_t rest = p->source->size - at->next;
    const char *end = memchr(line, '\n', rest);
    size_t size = end ? (size_t)(end - line) : rest;
    p->shown = line;
    p->shown_size = end && size > 0 && line[size - 1] == '\r' ? size - 1 : size;
    p->line_number = ++at->line_number;
    at->next += size + (end ? 1 : 0);
    p->words[0] = 0;
    if (p->depth > 0 && ++p->expanded > FV_MOST_EXPANDED) {
        return fv_place(
            p, p->words,
            fv_fail(FV_INVALID, "blocks and repeats come to more than %d lines", FV_MOST_EXPANDED));
    }
    if (p->shown_size > FV_MOST_LINE) {
        return fv_place(p, p->words + FV_MOST_LINE,
                        fv_fail(FV_FORMAT, "this line has %zu bytes; at most %d are allowed",
                                p->shown_size, FV_MOST_LINE));
    }
    for (size_t i = 0; i < p->shown_size; i++) {
        if (is_control(line[i])) {
            return fv_place(p, p->words + i,
                            fv_fail(FV_FORMAT,
                                    "byte 0x%02x is not allowed; a .net file is plain text",
                                    line[i]));
        }
    }
    memcpy(p->words, line, p->shown_size);
    p->words[p->shown_size] = 0;
    p->words[strcspn(p->words, "#")] = 0;
    return FV_OK;
}

/* The line's first word, and what that means. */
static keyword find_keyword(const fv_parser *p, const char **word) {
    *word = p->words + strspn(p->words, " \t");
    size_t size = strcspn(*word, " \t");
    for (keyword k = PARAM; k <= END; k++) {
        if (strlen(keywords[k]) == size && memcmp(*word, keywords[k], size) == 0) {
            return k;
        }
    }
    return STATEMENT;
}

/* Puts the expressions' values into p->words, which messages then show. */
static fv_status replace_expressions(fv_parser *p) {
    const char *at = p->words;
    if (!p->words[strcspn(p->words, "{}")]) {
        return FV_OK;
    }
    fv_status status = fv_replace_expressions(p->words, p->scope->variables, p->line, &at);
    if (status != FV_OK) {
        return fv_place(p, at, status);
    }
    p->shown = p->line;
    p->shown_size = strlen(p->line);
    memcpy(p->words, p->line, p->shown_size + 1);
    return FV_OK;
}

/* ---- Bodies --------------------------------------------------------------------------------- */

static fv_status fail_unclosed(fv_parser *p, fv_cursor opening, const char *what) {
    const char *word;
    fv_status status = take_line(p, &opening);
    find_keyword(p, &word);
    return status == FV_OK ? fv_place(p, word, fv_fail(FV_INVALID, "this %s has no `end`", what))
                           : status;
}

fv_status fv_skip_body(fv_parser *p, fv_cursor opening, fv_cursor *at, const char *what) {
    for (int open = 1; open > 0;) {
        if (at->next >= p->source->size) {
            return fail_unclosed(p, opening, what);
        }
        const char *word;
        fv_status status = take_line(p, at);
        keyword k = find_keyword(p, &word);
        if (status == FV_OK && k == BLOCK) {
            status = fv_place(p, word,
                              fv_fail(FV_INVALID,
                                      "a block stands outside of others and of repeats; the %s of "
                                      "line %d has no `end` above this line",
                                      what, opening.line_number + 1));
        }
        if (status != FV_OK) {
            return status;
        }
        open += k == REPEAT ? 1 : k == END ? -1 : 0;
    }
    return FV_OK;
}

/* ---- repeat --------------------------------------------------------------------------------- */

/* COUNT [NAME=START] of a repeat, which begins with `word`. */
static fv_status read_range(const fv_parser *p, const char *word, char *cursor, int64_t *count,
                            int64_t *start, fv_variable *variable) {
    enum { MOST_COUNT = 1000000, MOST_START = 1000000000 };
    char *number = fv_next_word(&cursor), *name = fv_next_word(&cursor);
    if (!number || !fv_read_integer(number, count) || *count < 0 || *count > MOST_COUNT) {
        return fv_place(p, number ? number : word,
                        fv_fail(FV_INVALID,
                                "%s%.40s%s how often: a whole number from 0 to %d, "
                                "as in `repeat 3` or `repeat {depth - 1} i=1`",
                                number ? "\"" : "a repeat needs", number ? number : "",
                                number ? "\" does not say" : "", MOST_COUNT));
    }
    snprintf(variable->name, sizeof variable->name, "i");
    char *equals = name ? strchr(name, '=') : NULL, *more = fv_next_word(&cursor);
    if (name && equals) {
        *equals = 0;
    }
    bool good = !name || (equals && fv_is_identifier(name) && fv_read_integer(equals + 1, start) &&
                          *start >= -MOST_START && *start <= MOST_START);
    if (!good || more) {
        return fv_place(p, good ? more : name,
                        fv_fail(FV_INVALID, "behind its number a repeat has nothing but the name "
                                            "of its variable and where that starts, as in i=1"));
    }
    snprintf(variable->name, sizeof variable->name, "%s", name ? name : "i");
    return FV_OK;
}

static fv_status read_repeat(fv_parser *p, const char *word, char *cursor, fv_cursor here,
                             fv_cursor *at) {
    char value[24];
    fv_variable variable = {.value = value, .outer = p->scope->variables};
    int64_t count = 0, start = 0;
    fv_status status = read_range(p, word, cursor, &count, &start, &variable);
    if (status == FV_OK && p->depth == FV_MOST_DEPTH) {
        status = fv_place(
            p, word, fv_fail(FV_INVALID, "repeats and blocks more than %d deep", FV_MOST_DEPTH));
    }
    fv_cursor body = *at;
    if (status == FV_OK) {
        status = fv_skip_body(p, here, at, keywords[REPEAT]);
    }
    p->depth++;
    p->scope->variables = &variable;
    for (int64_t i = 0; i < count && status == FV_OK; i++) {
        snprintf(value, sizeof value, "%lld", (long long)(start + i));
        status = fv_read_body(p, body);
    }
    p->scope->variables = variable.outer;
    p->depth--;
    return status;
}

/* ---- param ---------------------------------------------------------------------------------- */

static fv_variable *find_variable(fv_variable *variables, const char *name) {
    while (variables && strcmp(variables->name, name) != 0) {
        variables = variables->outer;
    }
    return variables;
}

static void free_variables(fv_variable *variables) {
    while (variables) {
        fv_variable *outer = variables->outer;
        fv_free(variables->value);
        fv_free(variables);
        variables = outer;
    }
}

/* Puts NAME=VALUE, from a param or use line, before *list. */
static fv_status add_variable(const fv_parser *p, char *word, fv_variable **list,
                              const char *value) {
    char *equals = strchr(word, '=');
    if (!equals || !equals[1]) {
        return fv_place(p, word,
                        fv_fail(FV_INVALID, "expected a parameter and its value, as in depth=20"));
    }
    *equals = 0;
    if (!fv_is_identifier(word)) {
        return fv_place(p, word,
                        fv_fail(FV_INVALID,
                                "\"%.70s\" is no name of a parameter, which has "
                                "letters, digits and \"_\"",
                                word));
    }
    if (find_variable(*list, word)) {
        return fv_place(p, word,
                        fv_fail(FV_INVALID, "the parameter %s is given twice; keep one", word));
    }
    fv_variable *variable = fv_alloc(1, sizeof *variable);
    if (!variable) {
        return FV_MEMORY;
    }
    snprintf(variable->name, sizeof variable->name, "%s", word);
    variable->outer = *list;
    *list = variable;
    variable->value = fv_copy_string(value ? value : equals + 1);
    return variable->value ? FV_OK : FV_MEMORY;
}

/* What takes the place of a parameter's default: the caller's setting, else what the use line
 * gives. `word` begins with the name. */
static const char *given_value(fv_parser *p, const char *word) {
    char name[FV_NAME_SIZE];
    size_t size = strcspn(word, "=");
    snprintf(name, sizeof name, "%.*s", (int)(size < sizeof name ? size : sizeof name - 1), word);
    const char *setting = fv_parameter_setting(p, name);
    fv_variable *given = find_variable(p->source->given, name);
    return setting ? setting : given ? given->value : NULL;
}

static fv_status read_param(fv_parser *p, const char *first, char *cursor) {
    char *word = fv_next_word(&cursor);
    if (!word || p->source->used) {
        return fv_place(p, first,
                        fv_fail(FV_INVALID, word ? "a param line stands above the use line"
                                                 : "param needs a parameter and its default, as in "
                                                   "`param depth=20`"));
    }
    fv_status status = FV_OK;
    for (; word && status == FV_OK; word = fv_next_word(&cursor)) {
        status = add_variable(p, word, &p->source->parameters, given_value(p, word));
    }
    p->scope->variables = p->source->parameters;
    return status;
}

/* ---- use ------------------------------------------------------------------------------------ */

fv_status fv_fail_used(void) {
    return fv_fail(FV_INVALID, "the use line is the whole net: only train, loss, metric and output "
                               "lines may follow");
}

static fv_status check_use(const fv_parser *p, const char *word, const char *name) {
    fv_status status = FV_OK;
    if (!name) {
        status = fv_fail(FV_INVALID, "use needs the name of a net, as in `use resnet50 conv4=23`");
    } else if (p->source->began || p->source->used) {
        status = fv_fail(FV_INVALID, "use is the whole net: nothing but param lines may stand "
                                     "above it");
    } else if (!p->find) {
        status = fv_fail(FV_INVALID, "this text may not use another net");
    } else if (p->source_count == FV_MOST_USES) {
        status = fv_fail(FV_INVALID, "more than %d nets use one another", FV_MOST_USES);
    }
    return fv_place(p, word, status);
}

/* Another source that p->source uses: its text, which stands first among the parser's then. */
static fv_status open_source(fv_parser *p, const char *name) {
    fv_source *source = fv_alloc(1, sizeof *source);
    if (!source) {
        return FV_MEMORY;
    }
    p->sources[p->source_count++] = source;
    source->user = p->source;
    fv_status status = fv_place(
        p, name, p->find(name, p->source->path, &source->path, &source->owned, &source->size));
    source->text = source->owned;
    for (const fv_source *user = p->source; status == FV_OK && user; user = user->user) {
        if (user->path && strcmp(user->path, source->path) == 0) {
            status =
                fv_place(p, name, fv_fail(FV_INVALID, "the net \"%.200s\" would use itself", name));
        }
    }
    source->name = status == FV_OK ? fv_copy_string(source->path) : NULL;
    fv_free(p->net->source);
    p->net->source = source->name ? fv_copy_string(source->name) : NULL;
    return status == FV_OK && !p->net->source ? FV_MEMORY : status;
}

/* Reads a source that is open, as if its lines stood in place of the use line. */
static fv_status read_used(fv_parser *p, fv_source *source) {
    fv_scope scope = {.outer = p->scope,
                      .user = p->source,
                      .line = p->line_number,
                      .blocks = FV_MOST_BLOCKS,
                      .above = -1};
    fv_source *user = p->source;
    fv_scope *outer = p->scope;
    scope.type_counts = fv_alloc(fv_layer_type_count(), sizeof *scope.type_counts);
    p->source = source;
    p->scope = &scope;
    fv_status status = scope.type_counts ? fv_read_source(p) : FV_MEMORY;
    fv_free(scope.type_counts);
    p->source = user;
    p->scope = outer;
    p->scope->above = scope.above;
    p->train_given = 0; /* what follows takes the place of what was used */
    return status;
}

/* Whether the net that was used has every parameter that its use line gives. */
static fv_status check_given(const fv_parser *p, const fv_source *used) {
    enum { MOST = 64 };
    const char *names[MOST + 1] = {NULL};
    int count = 0;
    for (const fv_variable *v = used->parameters; v && count < MOST; v = v->outer) {
        names[count++] = v->name;
    }
    for (const fv_variable *given = used->given; given; given = given->outer) {
        if (!find_variable(used->parameters, given->name)) {
            fv_status status =
                count > 0 ? fv_fail_unknown("parameter", given->name, names)
                          : fv_fail(FV_INVALID, "%s=: that net has no parameters", given->name);
            const char *at = strstr(p->words, given->name);
            return fv_place(p, at ? at : p->words, status);
        }
    }
    return FV_OK;
}

/* use NAME [PARAMETER=VALUE ...] */
static fv_status read_use(fv_parser *p, const char *word, char *cursor, fv_cursor here) {
    char *name = fv_next_word(&cursor);
    fv_status status = check_use(p, word, name);
    if (status != FV_OK) {
        return status;
    }
    fv_variable *given = NULL;
    for (char *next = fv_next_word(&cursor); next && status == FV_OK;
         next = fv_next_word(&cursor)) {
        status = add_variable(p, next, &given, NULL);
    }
    status = status == FV_OK ? open_source(p, name) : status;
    fv_source *source = p->sources[p->source_count - 1];
    if (status != FV_OK) {
        free_variables(given);
        return status;
    }
    source->given = given;
    p->source->used = true;
    status = read_used(p, source);
    if (status == FV_OK) {
        status = take_line(p, &here);
    }
    return status == FV_OK ? check_given(p, source) : status;
}

/* ---- Sources -------------------------------------------------------------------------------- */

static fv_status check_place(const fv_parser *p, const char *word, keyword k) {
    bool outside = k == PARAM || k == USE || k == BLOCK;
    fv_status status = FV_OK;
    if (k == END) {
        status = fv_fail(FV_INVALID, "no block or repeat is open that this `end` could close");
    } else if (outside && p->depth > 0) {
        status = fv_fail(FV_INVALID, "%s stands outside of blocks and repeats", keywords[k]);
    } else if (p->source->used && (k == BLOCK || k == REPEAT || k == USE)) {
        status = fv_fail_used();
    }
    return fv_place(p, word, status);
}

/* The line that was taken from `here`. */
static fv_status read_line(fv_parser *p, fv_cursor here, fv_cursor *at) {
    const char *first;
    keyword k = find_keyword(p, &first);
    fv_status status = check_place(p, first, k);
    if (status == FV_OK) {
        status = replace_expressions(p);
    }
    char *cursor = p->words;
    if (status != FV_OK || k == STATEMENT) {
        return status == FV_OK ? fv_read_statement(p) : status;
    }
    const char *word = fv_next_word(&cursor);
    p->source->began = p->source->began || k == BLOCK || k == REPEAT;
    return k == PARAM    ? read_param(p, word, cursor)
           : k == USE    ? read_use(p, word, cursor, here)
           : k == REPEAT ? read_repeat(p, word, cursor, here, at)
                         : fv_read_block(p, word, cursor, here, at);
}

fv_status fv_read_body(fv_parser *p, fv_cursor body) {
    for (;;) { /* its `end` was found before */
        const char *word;
        fv_cursor here = body;
        fv_status status = take_line(p, &body);
        if (status != FV_OK || find_keyword(p, &word) == END) {
            return status;
        }
        status = read_line(p, here, &body);
        if (status != FV_OK) {
            return status;
        }
    }
}

void fv_free_source(fv_source *source) {
    fv_free_blocks(source);
    free_variables(source->parameters);
    free_variables(source->given);
    fv_free(source->name);
    fv_free(source->path);
    fv_free(source->owned);
    fv_free(source);
}

/* Some editors begin a text with a byte-order mark. */
static size_t first_line(const fv_source *source) {
    return source->size >= 3 && memcmp(source->text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

fv_status fv_read_source(fv_parser *p) {
    fv_cursor at = {.next = first_line(p->source)};
    fv_status status;
    do {
        fv_cursor here = at;
        status = take_line(p, &at);
        if (status == FV_OK) {
            status = read_line(p, here, &at);
        }
    } while (status == FV_OK && at.next < p->source->size);
    return status;
}
