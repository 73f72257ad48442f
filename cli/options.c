/* Reads the command line of a verb by its table of options, checks every value, and prints the
 * table for `--help`. Called by main.c. */
#include "options.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- The nearest name ------------------------------------------------------------------------ */

enum { LONGEST_NAME = 63 };

/* Levenshtein's distance: how many letters to add, drop or change. One row of the table at a time;
 * row[j] is the distance of the first i letters of a to the first j of b. */
static size_t edit_distance(const char *a, const char *b) {
    size_t row[LONGEST_NAME + 1], length = strlen(b);
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < length; j++) {
            size_t change = diagonal + (a[i] != b[j]);
            size_t add_or_drop = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
            diagonal = row[j + 1];
            row[j + 1] = change < add_or_drop ? change : add_or_drop;
        }
    }
    return row[length];
}

void guess_offer(cli_guess *guess, const char *name) {
    size_t length = strlen(guess->word);
    if (length > LONGEST_NAME || strlen(name) > LONGEST_NAME)
        return;
    size_t distance = edit_distance(guess->word, name);
    size_t near_enough = length < 6 ? 1 + (length > 2) : length / 3 + 1;
    if (distance <= near_enough && (!guess->best || distance < guess->distance)) {
        guess->best = name;
        guess->distance = distance;
    }
}

/* ---- Values ---------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static bool mistake(const char *context, const char *format,
                                                          ...) {
    va_list values;
    va_start(values, format);
    fprintf(stderr, "fovea %s: ", context);
    vfprintf(stderr, format, values);
    fprintf(stderr, "; see `fovea help %s`\n", context);
    va_end(values);
    return false;
}

static bool read_int(const char *text, double low, double high, int *value) {
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    bool starts_well = (*text >= '0' && *text <= '9') || *text == '-';
    if (!starts_well || *end || errno || (double)number < low || (double)number > high)
        return false;
    *value = (int)number;
    return true;
}

static bool read_number(const char *text, double low, double high, double *value) {
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end || !(number > low && number <= high))
        return false;
    *value = number;
    return true;
}

static bool read_seed(const char *text, uint64_t *value) {
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || number > UINT64_MAX)
        return false;
    *value = number;
    return true;
}

/* Puts one option's value into its field. */
static bool set_value(const cli_option *option, const char *context, const char *text,
                      void *options) {
    void *field = (char *)options + option->offset;
    switch (option->type) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return true;
    case OPTION_TEXT:
        if (!*text)
            return mistake(context, "--%s: the value is empty", option->name);
        *(const char **)field = text;
        return true;
    case OPTION_TEXTS: {
        cli_texts *list = field;
        list->items[list->count++] = text;
        return true;
    }
    case OPTION_INT:
        if (read_int(text, option->low, option->high, field))
            return true;
        return mistake(context, "--%s must be a whole number from %.0f to %.0f, not '%s'",
                       option->name, option->low, option->high, text);
    case OPTION_NUMBER:
        if (read_number(text, option->low, option->high, field))
            return true;
        return mistake(context, "--%s must be a number above %g, at most %g, not '%s'",
                       option->name, option->low, option->high, text);
    case OPTION_SEED:
        break;
    }
    if (read_seed(text, field))
        return true;
    return mistake(context, "--%s must be a whole number from 0 to 18446744073709551615, not '%s'",
                   option->name, text);
}

/* ---- The command line ------------------------------------------------------------------------ */

static const cli_option *find_option(const cli_option *table, const char *name, size_t length) {
    for (; table && table->name; table++)
        if (strlen(table->name) == length && memcmp(table->name, name, length) == 0)
            return table;
    return NULL;
}

static bool unknown_option(const cli_option *table, const char *context, const char *text,
                           size_t length) {
    char name[LONGEST_NAME + 1];
    snprintf(name, sizeof name, "%.*s", (int)(length < LONGEST_NAME ? length : LONGEST_NAME),
             text[1] == '-' ? text + 2 : text + 1);
    cli_guess guess = {.word = name};
    for (; table && table->name; table++)
        guess_offer(&guess, table->name);
    const char *dashes = text[1] == '-' ? "--" : "-";
    if (guess.best)
        return mistake(context, "unknown option %s%s (did you mean --%s?)", dashes, name,
                       guess.best);
    return mistake(context, "unknown option %s%s", dashes, name);
}

/* Reads the option at argv[*index]; leaves *index on its last word. */
static bool read_option(cli_arguments *arguments, const cli_option *table, const char *context,
                        int argc, char **argv, int *index) {
    const char *text = argv[*index];
    const char *equals = strchr(text, '=');
    size_t length = equals ? (size_t)(equals - text) : strlen(text);
    if (text[1] != '-')
        return unknown_option(table, context, text, length - 1);
    if (strcmp(text, "--help") == 0) {
        arguments->help = true;
        return true;
    }
    const cli_option *option = find_option(table, text + 2, length - 2);
    if (!option)
        return unknown_option(table, context, text, length - 2);
    const char *value = equals ? equals + 1 : NULL;
    if (!option->value && value)
        return mistake(context, "--%s takes no value", option->name);
    if (option->value && !value) {
        if (*index + 1 >= argc)
            return mistake(context, "--%s needs a value (%s)", option->name, option->value);
        value = argv[++*index];
    }
    return set_value(option, context, value, arguments->options);
}

/* Memory for the struct and for every list, each large enough for all words. */
static bool arguments_allocate(cli_arguments *arguments, const cli_option *table,
                               size_t options_size, int argc) {
    size_t words = (size_t)argc + 1;
    arguments->options = calloc(1, options_size + 1);
    arguments->operands.items = calloc(words, sizeof(char *));
    if (!arguments->options || !arguments->operands.items)
        return false;
    for (; table && table->name; table++) {
        if (table->type != OPTION_TEXTS)
            continue;
        cli_texts *list = (void *)((char *)arguments->options + table->offset);
        list->items = calloc(words, sizeof(char *));
        if (!list->items)
            return false;
    }
    return true;
}

bool arguments_read(cli_arguments *arguments, const cli_option *table, size_t options_size,
                    const char *context, int argc, char **argv) {
    *arguments = (struct cli_arguments){0};
    if (!arguments_allocate(arguments, table, options_size, argc)) {
        fprintf(stderr, "fovea %s: out of memory\n", context);
        return false;
    }
    bool options_ended = false;
    for (int i = 0; i < argc && !arguments->help; i++) {
        if (options_ended || argv[i][0] != '-' || !argv[i][1])
            arguments->operands.items[arguments->operands.count++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            options_ended = true;
        else if (!read_option(arguments, table, context, argc, argv, &i))
            return false;
    }
    return true;
}

void arguments_free(cli_arguments *arguments, const cli_option *table) {
    for (; arguments->options && table && table->name; table++)
        if (table->type == OPTION_TEXTS)
            free(((cli_texts *)(void *)((char *)arguments->options + table->offset))->items);
    free(arguments->options);
    free(arguments->operands.items);
    *arguments = (struct cli_arguments){0};
}

void options_print(const cli_option *table, FILE *file) {
    for (; table && table->name; table++) {
        char text[64];
        snprintf(text, sizeof text, "--%s%s%s", table->name, table->value ? " " : "",
                 table->value ? table->value : "");
        fprintf(file, "  %-20s  %s\n", text, table->help);
    }
    fprintf(file, "  %-20s  %s\n", "--help", "print this help");
}
