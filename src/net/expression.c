/* What stands in braces in a .net line: {2 * filters} is replaced by the whole number that it
 * comes to, {name} by that parameter's text as it is. Called by expand.c for each line with braces.
 *
 *   sum     = product { ("+" | "-") product }
 *   product = factor { ("*" | "/") factor }        division must leave no remainder
 *   factor  = ["-"] ( number | name | "(" sum ")" ) */
#include "net/reader.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NESTING = 50 }; /* parentheses and signs in one another */

typedef struct expression {
    const char *at, *end;
    const fv_variable *variables;
    int nesting;
} expression;

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Bytes of the identifier at `text`; 0: there is none. */
static size_t identifier_size(const char *text, const char *end) {
    size_t size = 0;
    while (text + size < end && (is_letter(text[size]) || (size > 0 && is_digit(text[size])))) {
        size++;
    }
    return size;
}

bool fv_is_identifier(const char *name) {
    size_t size = strlen(name);
    return size > 0 && size < FV_NAME_SIZE && identifier_size(name, name + size) == size;
}

bool fv_read_integer(const char *text, int64_t *value) {
    const char *digit = text + (*text == '-');
    *value = 0;
    bool whole = is_digit(*digit);
    for (; whole && *digit; digit++) {
        int64_t next = *text == '-' ? '0' - *digit : *digit - '0';
        whole = is_digit(*digit) && !__builtin_mul_overflow(*value, 10, value) &&
                !__builtin_add_overflow(*value, next, value);
    }
    return whole;
}

/* ---- Variables ------------------------------------------------------------------------------ */

static fv_status fail_no_variable(const fv_variable *variables, const char *name) {
    enum { MOST = 64 };
    const char *names[MOST + 1] = {NULL};
    int count = 0;
    for (; variables && count < MOST; variables = variables->outer) {
        names[count++] = variables->name;
    }
    return count > 0 ? fv_fail_unknown("parameter", name, names)
                     : fv_fail(FV_INVALID,
                               "unknown parameter \"%s\"; a line such as `param %s=16` "
                               "above makes one",
                               name, name);
}

/* The value of the name that stands at e->at, and moves behind it. */
static fv_status read_variable(expression *e, const char **value) {
    size_t size = identifier_size(e->at, e->end);
    char name[FV_NAME_SIZE];
    snprintf(name, sizeof name, "%.*s", (int)(size < FV_NAME_SIZE ? size : FV_NAME_SIZE - 1),
             e->at);
    for (const fv_variable *v = e->variables; v; v = v->outer) {
        if (strlen(v->name) == size && strcmp(v->name, name) == 0) {
            e->at += size;
            *value = v->value;
            return FV_OK;
        }
    }
    return fail_no_variable(e->variables, name);
}

/* ---- Integers ------------------------------------------------------------------------------- */

static void skip_blanks(expression *e) {
    while (e->at < e->end && (*e->at == ' ' || *e->at == '\t')) {
        e->at++;
    }
}

/* The next byte that is no blank; 0 at the end. */
static char peek(expression *e) {
    skip_blanks(e);
    return e->at < e->end ? *e->at : 0;
}

static fv_status fail_large(void) {
    return fv_fail(FV_INVALID, "the number is too large: at most 2^63 - 1 is possible");
}

static fv_status read_number(expression *e, int64_t *value) {
    char digits[24];
    size_t size = 0;
    while (e->at + size < e->end && is_digit(e->at[size])) {
        size++;
    }
    snprintf(digits, sizeof digits, "%.*s", (int)(size < 23 ? size : 23), e->at);
    if (size > 22 || !fv_read_integer(digits, value)) {
        return fail_large();
    }
    e->at += size;
    return FV_OK;
}

static fv_status read_sum(expression *e, int64_t *value);

static fv_status read_named(expression *e, int64_t *value) {
    const char *start = e->at, *text = NULL;
    fv_status status = read_variable(e, &text);
    if (status == FV_OK && !fv_read_integer(text, value)) {
        int size = (int)(e->at - start);
        e->at = start;
        return fv_fail(FV_INVALID, "%.*s is \"%.40s\", which is no whole number to reckon with",
                       size, start, text);
    }
    return status;
}

static fv_status read_parenthesis(expression *e, int64_t *value) {
    const char *start = e->at++;
    fv_status status = read_sum(e, value);
    if (status == FV_OK && peek(e) != ')') {
        e->at = start;
        return fv_fail(FV_INVALID, "this parenthesis is not closed within the braces");
    }
    e->at += status == FV_OK;
    return status;
}

static fv_status read_negative(expression *e, int64_t *value);

static fv_status read_factor(expression *e, int64_t *value) {
    char next = peek(e);
    if (e->nesting == MOST_NESTING) {
        return fv_fail(FV_INVALID, "more than %d parentheses and signs in one another",
                       MOST_NESTING);
    }
    e->nesting++;
    fv_status status = next == '('      ? read_parenthesis(e, value)
                       : next == '-'    ? read_negative(e, value)
                       : is_digit(next) ? read_number(e, value)
                       : is_letter(next)
                           ? read_named(e, value)
                           : fv_fail(FV_INVALID, "a number, a parameter or a parenthesis is "
                                                 "missing here");
    e->nesting--;
    return status;
}

static fv_status read_negative(expression *e, int64_t *value) {
    e->at++;
    fv_status status = read_factor(e, value);
    return status == FV_OK && __builtin_sub_overflow(0, *value, value) ? fail_large() : status;
}

static fv_status divide(int64_t *value, int64_t divisor) {
    if (divisor == 0) {
        return fv_fail(FV_INVALID, "division by 0");
    }
    if (divisor == -1) { /* where the remainder may overflow */
        return __builtin_sub_overflow(0, *value, value) ? fail_large() : FV_OK;
    }
    if (*value % divisor != 0) {
        return fv_fail(FV_INVALID, "%lld / %lld is no whole number", (long long)*value,
                       (long long)divisor);
    }
    *value /= divisor;
    return FV_OK;
}

static fv_status read_product(expression *e, int64_t *value) {
    fv_status status = read_factor(e, value);
    while (status == FV_OK && (peek(e) == '*' || peek(e) == '/')) {
        const char *sign = e->at++;
        int64_t other = 0;
        status = read_factor(e, &other);
        if (status != FV_OK) {
            return status;
        }
        status = *sign == '/'                                   ? divide(value, other)
                 : __builtin_mul_overflow(*value, other, value) ? fail_large()
                                                                : FV_OK;
        e->at = status == FV_OK ? e->at : sign;
    }
    return status;
}

static fv_status read_sum(expression *e, int64_t *value) {
    fv_status status = read_product(e, value);
    while (status == FV_OK && (peek(e) == '+' || peek(e) == '-')) {
        const char *sign = e->at++;
        int64_t other = 0;
        status = read_product(e, &other);
        bool large = *sign == '+' ? __builtin_add_overflow(*value, other, value)
                                  : __builtin_sub_overflow(*value, other, value);
        if (status == FV_OK && large) {
            e->at = sign;
            status = fail_large();
        }
    }
    return status;
}

/* ---- Lines ---------------------------------------------------------------------------------- */

/* The line that is being made. */
typedef struct made {
    char *bytes; /* FV_MOST_LINE + 1 */
    size_t size;
} made;

static fv_status append(made *m, const char *bytes, size_t size) {
    if (size > FV_MOST_LINE - m->size) {
        return fv_fail(FV_INVALID, "with its expressions replaced the line has more than %d bytes",
                       FV_MOST_LINE);
    }
    memcpy(m->bytes + m->size, bytes, size);
    m->size += size;
    return FV_OK;
}

/* From e->at, behind the opening brace, to e->end, the closing one. */
static fv_status append_value(expression *e, made *m) {
    skip_blanks(e);
    const char *start = e->at, *text = NULL;
    const char *behind = start + identifier_size(start, e->end);
    bool alone = behind > start && behind + strspn(behind, " \t") == e->end;
    if (alone) {
        fv_status status = read_variable(e, &text);
        return status == FV_OK ? append(m, text, strlen(text)) : status;
    }
    int64_t value = 0;
    fv_status status = read_sum(e, &value);
    if (status == FV_OK && peek(e)) {
        return fv_fail(FV_INVALID,
                       "\"%c\" is not expected here; an expression is made of numbers, "
                       "parameters, + - * / and parentheses",
                       *e->at);
    }
    char digits[24];
    int size = snprintf(digits, sizeof digits, "%lld", (long long)value);
    return status == FV_OK ? append(m, digits, (size_t)size) : status;
}

fv_status fv_replace_expressions(const char *line, const fv_variable *variables, char *result,
                                 const char **at) {
    made m = {.bytes = result};
    fv_status status = FV_OK;
    *at = line;
    while (status == FV_OK && **at) {
        size_t plain = strcspn(*at, "{}");
        status = append(&m, *at, plain);
        *at += plain;
        if (status != FV_OK || !**at) {
            continue;
        }
        const char *end = strchr(*at, '}');
        if (**at == '}' || !end) {
            return fv_fail(FV_INVALID, "this brace has no other; an expression is written {...}");
        }
        expression e = {.at = *at + 1, .end = end, .variables = variables};
        status = append_value(&e, &m);
        *at = status == FV_OK ? end + 1 : e.at;
    }
    result[m.size] = 0;
    return status;
}
