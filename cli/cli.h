/* What the verbs share: the record that each of them is, messages, and the helpers of common.c.
 * Called by main.c and every verb. */
#ifndef FOVEA_CLI_CLI_H
#define FOVEA_CLI_CLI_H

#include "options.h"
#include <fovea.h>
#include <stdint.h>
#include <stdio.h>

/* Exit statuses beside EXIT_SUCCESS (0) and EXIT_FAILURE (1); 128 + signal when interrupted. */
enum { EXIT_WRONG_USE = 2 };

/* The most threads that --threads takes. */
enum { MOST_THREADS = 1024 };

/* One call of the program. */
typedef struct cli_call {
    const struct cli_verb *verb;
    const void *options; /* the verb's struct */
    const char *const *operands;
    int operand_count;
    int argc; /* the program's whole command line, for the line that says how to resume */
    char **argv;
} cli_call;

/* A verb is a record; main.c lists them. */
typedef struct cli_verb {
    const char *name;
    const char *summary; /* one line, for `fovea help` */
    const char *usage;   /* what follows the verb */
    const char *details; /* the text of `--help`, ends with a newline; may be NULL */
    const cli_option *options;
    size_t options_size;
    int least_operands, most_operands;
    bool raw; /* all words are operands: a program of its own reads the options */
    int (*run)(const cli_call *call);
} cli_verb;

extern const cli_verb *const verbs[]; /* ended by NULL */
const cli_verb *verb_find(const char *name);
void verb_print_help(const cli_verb *verb, FILE *file);
void print_overview(FILE *file);
int unknown_verb(const char *name); /* says so; EXIT_WRONG_USE */

extern const cli_verb verb_train, verb_test, verb_predict, verb_run, verb_info, verb_bench,
    verb_check, verb_convert, verb_export, verb_data, verb_version, verb_help;

/* ---- Messages, to standard error after "fovea VERB: " ---------------------------------------- */

int fail(const cli_call *call); /* the library's last message; EXIT_FAILURE */
__attribute__((format(printf, 2, 3))) int fail_with(const cli_call *call, const char *format,
                                                    ...); /* EXIT_FAILURE */
__attribute__((format(printf, 2, 3))) int wrong_use(const cli_call *call, const char *format,
                                                    ...); /* EXIT_WRONG_USE */
int out_of_memory(const cli_call *call);                  /* EXIT_FAILURE */

/* ---- Helpers --------------------------------------------------------------------------------- */

bool ends_with(const char *text, const char *ending);
/* A new string, printf style; NULL when out of memory. */
__attribute__((format(printf, 1, 2))) char *text_new(const char *format, ...);
/* "28x28x1" into text[64], `*` for sizes that vary; returns it. */
const char *shape_text(const fv_shape *shape, char text[64]);
/* 1199882 as "1,199,882" into text[32]; returns it. */
const char *count_text(int64_t count, char text[32]);

/* Splits "mnist:test" into a new string "mnist" and the split; *split is `fallback` where none was
 * written. NULL when out of memory. */
char *data_name(const char *text, const char *fallback, const char **split);
/* Opens NAME|PATH[:SPLIT]. */
fv_data *data_open(const char *text, const char *fallback_split);

/* Whether the name is that of a file with weights in it, by its suffix. */
bool is_model_file(const char *path);
/* Loads `count` models into nets[]; returns 0, or an exit status after a message. Free them all
 * with models_free() in either case (nets[] starts as NULLs). */
int models_load(const cli_call *call, const char *const *paths, int count, fv_net **nets);
void models_free(fv_net **nets, int count);
/* The layer of that name; the one whose output is the net's main output. */
fv_status find_layer(const fv_net *net, const char *name, fv_layer_info *info);
fv_status main_output(const fv_net *net, fv_layer_info *info);
bool input_varies(const fv_net *net); /* a size of its input is `*` */
/* The input shape of a net with sizes that vary, for a sample of shape `sample`. */
fv_shape input_shape_for(const fv_net *net, const fv_shape *sample);

/* Makes a folder and those above it; false with errno set. */
bool make_folder(const char *path);
double seconds_now(void); /* of a clock that never jumps */

#endif
