/* The values of an options struct, read from text and checked by its parameter table (param_text.c
 * writes them). Called by the .net parser, and by the builder to check what C code set. */
#include "base/text.h"
#include "net/net.h"
#include <float.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A stretch of a value's text. */
typedef struct part {
    const char *text;
    size_t size;
} part;

/* ---- Messages ------------------------------------------------------------------------------- */

static fv_status fail_expected(const fv_param *param, part got, const char *expected) {
    return fv_fail(FV_INVALID, "%s is \"%.*s\"; expected %s", param->key,
                   (int)(got.size < 40 ? got.size : 40), got.text, expected);
}

static void add_range(fv_text *text, const fv_param *param) {
    bool above = param->low == FV_ABOVE_ZERO;
    if (above) {
        fv_text_add(text, "more than 0, ");
    } else {
        fv_text_add_number(text, param->low);
        fv_text_add(text, " to ");
    }
    fv_text_add(text, "%s", param->exclusive_high ? "less than " : above ? "at most " : "");
    fv_text_add_number(text, param->high);
}

static fv_status fail_range(const fv_param *param, double value) {
    fv_text text = {0};
    fv_text_add(&text, "%s is ", param->key);
    fv_text_add_number(&text, value);
    fv_text_add(&text, "; allowed is ");
    add_range(&text, param);
    char *message = fv_text_take(&text);
    if (!message) {
        return FV_MEMORY;
    }
    fv_status status = fv_fail(FV_INVALID, "%s", message);
    fv_free(message);
    return status;
}

fv_status fv_fail_unknown(const char *what, const char *word, const char *const *known) {
    enum { LONG = 250 }; /* bytes of a list that a message has no room for */
    const char *near = fv_nearest(word, known);
    fv_text list = {0};
    for (int i = 0; known[i] && list.size < LONG; i++) {
        fv_text_add(&list, "%s%s", i > 0 ? ", " : "", known[i]);
    }
    if (list.size >= LONG) {
        fv_text_add(&list, " ... (fovea.net(5) lists all)");
    }
    char *names = fv_text_take(&list);
    if (!names) {
        return FV_MEMORY;
    }
    fv_status status =
        fv_fail(FV_INVALID, "unknown %s \"%.63s\"%s%s%s; known: %s", what, word,
                near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "", names);
    fv_free(names);
    return status;
}

/* ---- Numbers -------------------------------------------------------------------------------- */

/* Decimal text of the C locale, whatever locale the program has set. Not "inf", "nan", "0x10". */
static bool read_decimal(part text, double *value) {
    char digits[64];
    if (text.size == 0 || text.size >= sizeof digits) {
        return false;
    }
    memcpy(digits, text.text, text.size);
    digits[text.size] = 0;
    locale_t locale = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    if (!locale || digits[strspn(digits, "0123456789.eE+-")]) {
        freelocale(locale);
        return false;
    }
    char *end = digits;
    *value = strtod_l(digits, &end, locale);
    freelocale(locale);
    return !*end && isfinite(*value);
}

static bool read_number(part text, double *value) {
    const char *slash = memchr(text.text, '/', text.size);
    if (!slash) {
        return read_decimal(text, value);
    }
    size_t size = (size_t)(slash - text.text);
    double divisor;
    if (!read_decimal((part){text.text, size}, value) ||
        !read_decimal((part){slash + 1, text.size - size - 1}, &divisor)) {
        return false;
    }
    *value /= divisor;
    return isfinite(*value);
}

/* Written so that NaN is out of range. */
static fv_status check_number(const fv_param *param, double value) {
    bool below = value <= param->high && (value < param->high || !param->exclusive_high);
    return below && value >= param->low ? FV_OK : fail_range(param, value);
}

static fv_status parse_number(const fv_param *param, part text, double *value) {
    double number;
    if (!read_number(text, &number)) {
        return fail_expected(param, text, "a number, such as 0.5, 1e-7 or 1/255");
    }
    *value = number == 0 ? 0 : number; /* no negative zero */
    return check_number(param, number);
}

static fv_status parse_whole(const fv_param *param, part text, int64_t *value) {
    double number;
    if (!read_decimal(text, &number) || number != floor(number)) {
        return fail_expected(param, text, "a whole number");
    }
    if (check_number(param, number) != FV_OK || !(fabs(number) < 9e15)) {
        return fail_range(param, number);
    }
    *value = (int64_t)number;
    return FV_OK;
}

static fv_status parse_int(const fv_param *param, part text, int *value) {
    int64_t number = 0;
    fv_status status = parse_whole(param, text, &number);
    if (status != FV_OK) {
        return status;
    }
    if (number < INT_MIN || number > INT_MAX) {
        return fail_range(param, (double)number);
    }
    *value = (int)number;
    return FV_OK;
}

/* ---- Reading a value ------------------------------------------------------------------------ */

/* Cuts "3x3" at each separator. Returns the number of parts, most + 1 when there are more. */
static int split(part text, char separator, part *parts, int most) {
    for (int count = 0; count < most; count++) {
        const char *end = memchr(text.text, separator, text.size);
        size_t size = end ? (size_t)(end - text.text) : text.size;
        parts[count] = (part){text.text, size};
        if (!end) {
            return count + 1;
        }
        text = (part){end + 1, text.size - size - 1};
    }
    return most + 1;
}

static int most_numbers(const fv_param *param) {
    return param->most ? param->most : 4;
}

static fv_status parse_numbers(const fv_param *param, part text, double *values, int *count) {
    part parts[FV_MOST_TABLE];
    int most = most_numbers(param) < FV_MOST_TABLE ? most_numbers(param) : FV_MOST_TABLE;
    int given = split(text, ',', parts, most);
    if (given > most) {
        char expected[64];
        snprintf(expected, sizeof expected, "at most %d numbers, such as 0.5,0.4", most);
        return fail_expected(param, text, expected);
    }
    for (int i = 0; i < given; i++) {
        fv_status status = parse_number(param, parts[i], &values[i]);
        if (status != FV_OK) {
            return status;
        }
    }
    *count = given;
    return FV_OK;
}

static fv_status parse_bool(const fv_param *param, part text, bool inverted, bool *value) {
    bool yes = strcmp(text.text, "true") == 0;
    if (!yes && strcmp(text.text, "false") != 0) {
        return fail_expected(param, text, "true or false");
    }
    *value = yes != inverted;
    return FV_OK;
}

static int find_word(const char *const *words, part text) {
    for (int i = 0; words[i]; i++) {
        if (strlen(words[i]) == text.size && memcmp(words[i], text.text, text.size) == 0) {
            return i;
        }
    }
    return -1;
}

static fv_status parse_choice(const fv_param *param, part text, int *value) {
    int found = find_word(param->choices, text);
    if (found < 0) {
        return fv_fail_unknown(param->key, text.text, param->choices);
    }
    *value = found;
    return FV_OK;
}

static fv_status parse_sizes(const fv_param *param, part text, int sizes[3]) {
    part parts[3];
    int count = split(text, 'x', parts, 3);
    if (count > 3) {
        return fail_expected(param, text, "at most 3 sizes, such as 3x3");
    }
    memset(sizes, 0, 3 * sizeof *sizes);
    for (int i = 0; i < count; i++) {
        fv_status status = parse_int(param, parts[i], &sizes[i]);
        if (status != FV_OK) {
            return status;
        }
    }
    return FV_OK;
}

static fv_status parse_pads(const fv_param *param, part text, int pads[3][2]) {
    part axes[3], sides[2];
    int count = split(text, 'x', axes, 3);
    if (count > 3) {
        return fail_expected(param, text, "at most 3 axes, such as 1x1");
    }
    memset(pads, 0, 3 * sizeof *pads);
    for (int i = 0; i < count; i++) {
        int given = split(axes[i], ':', sides, 2);
        if (given > 2) {
            return fail_expected(param, text, "before:after, such as 0:1x0:1");
        }
        for (int side = 0; side < 2; side++) {
            fv_status status = parse_int(param, sides[given == 2 ? side : 0], &pads[i][side]);
            if (status != FV_OK) {
                return status;
            }
        }
    }
    for (int i = 1; count == 1 && i < 3; i++) { /* one stands for all axes */
        memcpy(pads[i], pads[0], sizeof pads[0]);
    }
    return FV_OK;
}

static fv_status parse_shape(const fv_param *param, part text, fv_shape *shape) {
    part parts[4];
    int count = split(text, 'x', parts, 4);
    if (count > 4) {
        return fail_expected(param, text, "at most 3 sizes and the channels, such as 28x28x1");
    }
    *shape = (fv_shape){.rank = count - 1};
    for (int i = 0; i < count; i++) {
        int *size = i < count - 1 ? &shape->size[i] : &shape->channels;
        if (parts[i].size == 1 && parts[i].text[0] == '*') {
            *size = FV_ANY;
            continue;
        }
        fv_status status = parse_int(param, parts[i], size);
        if (status != FV_OK) {
            return status;
        }
    }
    return shape->channels == FV_ANY
               ? fail_expected(param, text, "a number of channels last, such as *x*x3")
               : FV_OK;
}

bool fv_init_has_value(fv_init_kind kind) {
    return kind == FV_INIT_NORMAL || kind == FV_INIT_CONSTANT || kind == FV_INIT_UNIFORM ||
           kind == FV_INIT_TRUNCATED_NORMAL || kind == FV_INIT_ORTHOGONAL;
}

static fv_status check_init(const fv_param *param, fv_init init) {
    if (!fv_init_has_value(init.kind)) {
        return FV_OK;
    }
    fv_param range = *param;
    range.low = init.kind == FV_INIT_CONSTANT ? -1e6 : 0;
    range.high = 1e6;
    return check_number(&range, init.value);
}

static fv_status parse_init(const fv_param *param, part text, fv_init *init) {
    char word[32] = "";
    const char *open = memchr(text.text, '(', text.size);
    size_t size = open ? (size_t)(open - text.text) : text.size;
    memcpy(word, text.text, size < sizeof word ? size : sizeof word - 1);
    int kind = find_word(fv_init_names, (part){text.text, size});
    if (kind < 0) {
        return fv_fail_unknown(param->key, word, fv_init_names);
    }
    *init = (fv_init){.kind = (fv_init_kind)kind};
    if (!fv_init_has_value(init->kind)) {
        return open ? fail_expected(param, text, "no number in parentheses for this one") : FV_OK;
    }
    if (!open && init->kind == FV_INIT_ORTHOGONAL) {
        return FV_OK;
    }
    if (!open || text.text[text.size - 1] != ')' ||
        !read_number((part){open + 1, text.size - size - 2}, &init->value)) {
        return fail_expected(param, text,
                             init->kind == FV_INIT_CONSTANT ? "its value, such as constant(0.1)"
                                                            : "its number, such as normal(0.1)");
    }
    return check_init(param, *init);
}

/* "0-2": bits 0 to 2. */
static fv_status parse_range(const fv_param *param, part text, uint64_t *bits) {
    part ends[2];
    double number[2];
    int count = split(text, '-', ends, 2);
    bool fits = count <= 2;
    for (int i = 0; fits && i < count; i++) {
        fits = read_decimal(ends[i], &number[i]) && number[i] == floor(number[i]) &&
               number[i] >= 0 && number[i] < FV_MOST_TABLE;
    }
    if (!fits || (count == 2 && number[1] < number[0])) {
        return fail_expected(param, text, "channels 0 to 63, such as 0-2 or 0+1+4");
    }
    for (int bit = (int)number[0]; bit <= (int)number[count - 1]; bit++) {
        *bits |= 1ull << bit;
    }
    return FV_OK;
}

/* "0-2,1-3,0+1+4": for each filter the channels that it sees. */
static fv_status parse_table(const fv_param *param, part text, uint64_t table[FV_MOST_TABLE]) {
    part rows[FV_MOST_TABLE], ranges[FV_MOST_TABLE];
    int count = split(text, ',', rows, FV_MOST_TABLE);
    if (count > FV_MOST_TABLE) {
        return fail_expected(param, text, "at most 64 filters");
    }
    memset(table, 0, FV_MOST_TABLE * sizeof *table);
    for (int row = 0; row < count; row++) {
        int parts = split(rows[row], '+', ranges, FV_MOST_TABLE);
        for (int i = 0; i < parts; i++) {
            fv_status status = parts > FV_MOST_TABLE
                                   ? fail_expected(param, rows[row], "at most 64 channels")
                                   : parse_range(param, ranges[i], &table[row]);
            if (status != FV_OK) {
                return status;
            }
        }
    }
    return FV_OK;
}

static int name_bytes(const fv_param *param) {
    return param->most ? param->most : 32;
}

static fv_status parse_name(const fv_param *param, part text, char *name) {
    if (param->choices && find_word(param->choices, text) < 0) {
        return fv_fail_unknown(param->key, text.text, param->choices);
    }
    size_t bytes = (size_t)name_bytes(param);
    if (text.size >= bytes) {
        char expected[64];
        snprintf(expected, sizeof expected, "a name of at most %zu letters", bytes - 1);
        return fail_expected(param, text, expected);
    }
    memset(name, 0, bytes);
    memcpy(name, text.text, text.size);
    return FV_OK;
}

fv_status fv_param_parse(const fv_param *param, const char *text, void *options) {
    void *field = (char *)options + param->offset;
    part all = {text, strlen(text)};
    switch (param->type) {
    case FV_PARAM_INT:
        return parse_int(param, all, field);
    case FV_PARAM_COUNT:
        return parse_whole(param, all, field);
    case FV_PARAM_NUMBER:
        return parse_number(param, all, field);
    case FV_PARAM_NUMBERS:
        return parse_numbers(param, all, field, (int *)((char *)options + param->offset2));
    case FV_PARAM_BOOL:
    case FV_PARAM_NOT:
        return parse_bool(param, all, param->type == FV_PARAM_NOT, field);
    case FV_PARAM_CHOICE:
        return parse_choice(param, all, field);
    case FV_PARAM_SIZES:
        return parse_sizes(param, all, field);
    case FV_PARAM_PADS:
        return parse_pads(param, all, field);
    case FV_PARAM_SHAPE:
        return parse_shape(param, all, field);
    case FV_PARAM_INIT:
        return parse_init(param, all, field);
    case FV_PARAM_NAME:
        return parse_name(param, all, field);
    case FV_PARAM_TABLE:
        return parse_table(param, all, field);
    }
    return fv_fail(FV_INVALID, "%s has no type", param->key);
}

const fv_param *fv_param_find(const fv_param *params, const char *key) {
    for (; params && params->key; params++) {
        if (strcmp(params->key, key) == 0) {
            return params;
        }
    }
    return NULL;
}

/* ---- Checking a value ----------------------------------------------------------------------- */

static bool all_zero(const int *values, int count) {
    int bits = 0;
    for (int i = 0; i < count; i++) {
        bits |= values[i];
    }
    return bits == 0;
}

bool fv_param_is_default(const fv_param *param, const void *options) {
    const void *field = (const char *)options + param->offset;
    switch (param->type) {
    case FV_PARAM_INT:
    case FV_PARAM_CHOICE:
        return *(const int *)field == 0;
    case FV_PARAM_COUNT:
        return *(const int64_t *)field == 0;
    case FV_PARAM_NUMBER:
        return *(const double *)field == 0;
    case FV_PARAM_NUMBERS:
        return *(const int *)((const char *)options + param->offset2) == 0;
    case FV_PARAM_BOOL:
    case FV_PARAM_NOT:
        return !*(const bool *)field;
    case FV_PARAM_SIZES:
        return all_zero(field, 3);
    case FV_PARAM_PADS:
        return all_zero(field, 6);
    case FV_PARAM_SHAPE:
        return ((const fv_shape *)field)->channels == 0;
    case FV_PARAM_INIT:
        return ((const fv_init *)field)->kind == FV_INIT_DEFAULT;
    case FV_PARAM_NAME:
        return *(const char *)field == 0;
    case FV_PARAM_TABLE:
        return *(const uint64_t *)field == 0;
    }
    return true;
}

static fv_status check_ints(const fv_param *param, const int *values, int count) {
    for (int i = 0; i < count; i++) {
        fv_status status = check_number(param, values[i]);
        if (status != FV_OK) {
            return status;
        }
    }
    return FV_OK;
}

static fv_status check_numbers(const fv_param *param, const double *values, int count) {
    if (count < 0 || count > most_numbers(param)) {
        return fv_fail(FV_INVALID, "%s has %d numbers; allowed are 1 to %d", param->key, count,
                       most_numbers(param));
    }
    for (int i = 0; i < count; i++) {
        fv_status status = check_number(param, values[i]);
        if (status != FV_OK) {
            return status;
        }
    }
    return FV_OK;
}

/* A value of an enum that has words; `value` may come from C and be anything. */
static fv_status check_word(const fv_param *param, int value, const char *const *words) {
    for (int i = 0; words[i]; i++) {
        if (i == value) {
            return FV_OK;
        }
    }
    return fv_fail(FV_INVALID, "%s is %d, which is none of its values", param->key, value);
}

static fv_status check_shape(const fv_param *param, const fv_shape *shape) {
    if (shape->rank < 0 || shape->rank > 3) {
        return fv_fail(FV_INVALID, "%s has %d sizes; allowed are 0 to 3", param->key, shape->rank);
    }
    for (int i = 0; i < shape->rank; i++) {
        if (shape->size[i] != FV_ANY) {
            fv_status status = check_number(param, shape->size[i]);
            if (status != FV_OK) {
                return status;
            }
        }
    }
    return check_number(param, shape->channels);
}

static fv_status check_name(const fv_param *param, const char *name) {
    size_t bytes = (size_t)name_bytes(param);
    if (!memchr(name, 0, bytes)) {
        return fv_fail(FV_INVALID, "%s is longer than %zu letters", param->key, bytes - 1);
    }
    if (param->choices && find_word(param->choices, (part){name, strlen(name)}) < 0) {
        return fv_fail_unknown(param->key, name, param->choices);
    }
    return FV_OK;
}

/* A value that is given, that is, not zero. */
static fv_status check_value(const fv_param *param, const void *options) {
    const void *field = (const char *)options + param->offset;
    const int *sizes = field;
    switch (param->type) {
    case FV_PARAM_INT:
        return check_ints(param, field, 1);
    case FV_PARAM_COUNT:
        return check_number(param, (double)*(const int64_t *)field);
    case FV_PARAM_NUMBER:
        return check_number(param, *(const double *)field);
    case FV_PARAM_NUMBERS:
        return check_numbers(param, field, *(const int *)((const char *)options + param->offset2));
    case FV_PARAM_BOOL:
    case FV_PARAM_NOT:
        return FV_OK;
    case FV_PARAM_CHOICE:
        return check_word(param, *(const int *)field, param->choices);
    case FV_PARAM_SIZES:
        return check_ints(param, field, sizes[2] ? 3 : sizes[1] ? 2 : 1);
    case FV_PARAM_PADS:
        return check_ints(param, field, 6);
    case FV_PARAM_SHAPE:
        return check_shape(param, field);
    case FV_PARAM_INIT: {
        fv_status status = check_word(param, (int)((const fv_init *)field)->kind, fv_init_names);
        return status == FV_OK ? check_init(param, *(const fv_init *)field) : status;
    }
    case FV_PARAM_NAME:
        return check_name(param, field);
    case FV_PARAM_TABLE:
        return FV_OK;
    }
    return FV_OK;
}

bool fv_param_allows_zero(const fv_param *param) {
    return (param->type == FV_PARAM_INT || param->type == FV_PARAM_NUMBER) && param->low <= 0;
}

fv_status fv_params_check(const fv_param *params, const void *options) {
    for (const fv_param *param = params; param && param->key; param++) {
        if (!fv_param_is_default(param, options)) {
            fv_status status = check_value(param, options);
            if (status != FV_OK) {
                return status;
            }
        } else if (param->required && !fv_param_allows_zero(param)) {
            return fv_fail(FV_INVALID, "%s is missing: %s", param->key, param->help);
        }
    }
    return FV_OK;
}
