/* The command line of a verb: a table of options, read into a struct of the verb's own. The same
 * table makes `--help`, so help cannot differ from what is understood. Called by main.c. */
#ifndef FOVEA_CLI_OPTIONS_H
#define FOVEA_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef struct cli_texts {
    const char **items;
    int count;
} cli_texts;

/* What an option's field in the struct is. */
typedef enum cli_option_type {
    OPTION_FLAG,   /* bool */
    OPTION_TEXT,   /* const char *: NULL when not given */
    OPTION_TEXTS,  /* cli_texts: the option may be repeated */
    OPTION_INT,    /* int, low to high */
    OPTION_NUMBER, /* double, above low, up to high */
    OPTION_SEED,   /* uint64_t */
} cli_option_type;

typedef struct cli_option {
    const char *name;  /* without the dashes; NULL ends a table */
    const char *value; /* what the value is called in help; NULL for a flag */
    cli_option_type type;
    size_t offset; /* of the field */
    double low, high;
    const char *help; /* one line */
} cli_option;

/* The arguments of one call. `options` is the struct, zeros where nothing was given. */
typedef struct cli_arguments {
    void *options;
    cli_texts operands;
    bool help; /* --help was given: the rest was not read */
} cli_arguments;

/* Reads argv[0..argc-1] by the table. Options and operands may stand in any order; `--` ends the
 * options. On a mistake the message goes to standard error after "fovea CONTEXT: " and false is
 * returned. Free the arguments in either case. */
bool arguments_read(cli_arguments *arguments, const cli_option *table, size_t options_size,
                    const char *context, int argc, char **argv);
void arguments_free(cli_arguments *arguments, const cli_option *table);

/* Help's list of the options. */
void options_print(const cli_option *table, FILE *file);

/* Looks for the name that was meant: offer each name to it; `best` is then the nearest, or NULL
 * when none is near enough to be a misspelling. */
typedef struct cli_guess {
    const char *word, *best;
    size_t distance;
} cli_guess;

void guess_offer(cli_guess *guess, const char *name);

#endif
