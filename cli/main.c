/* The fovea program: finds the verb, reads its options and starts it. The verbs are records, one
 * file each; a new verb is a file and a line in the table below. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>

const cli_verb *const verbs[] = {
    &verb_train, &verb_test,   &verb_predict, &verb_run,     &verb_info, &verb_bench, &verb_check,
    &verb_data,  &verb_export, &verb_convert, &verb_version, &verb_help, NULL};

/* Promised, but not in this version. */
static const char *const later_verbs[] = {"show", "view", NULL};

const cli_verb *verb_find(const char *name) {
    for (int i = 0; verbs[i]; i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    return NULL;
}

int unknown_verb(const char *name) {
    for (int i = 0; later_verbs[i]; i++) {
        if (strcmp(later_verbs[i], name) == 0) {
            fprintf(stderr, "fovea: the verb %s is not in this version\n", name);
            return EXIT_WRONG_USE;
        }
    }
    cli_guess guess = {.word = name};
    for (int i = 0; verbs[i]; i++)
        guess_offer(&guess, verbs[i]->name);
    const char *kind = *name == '-' ? "option" : "verb";
    if (guess.best)
        fprintf(stderr, "fovea: unknown %s %s; did you mean %s?\n", kind, name, guess.best);
    else
        fprintf(stderr, "fovea: unknown %s %s; `fovea help` lists the verbs\n", kind, name);
    return EXIT_WRONG_USE;
}

static int check_operands(const cli_call *call) {
    const cli_verb *verb = call->verb;
    if (call->operand_count < verb->least_operands)
        return wrong_use(call, "too few operands; usage: fovea %s %s", verb->name, verb->usage);
    if (call->operand_count > verb->most_operands)
        return wrong_use(call, "unexpected operand '%s'", call->operands[verb->most_operands]);
    return EXIT_SUCCESS;
}

/* A verb whose options another program reads; only --help is answered here. */
static int start_raw(const cli_verb *verb, int argc, char **argv) {
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            verb_print_help(verb, stdout);
            return EXIT_SUCCESS;
        }
    }
    cli_call call = {.verb = verb,
                     .operands = (const char *const *)argv + 2,
                     .operand_count = argc - 2,
                     .argc = argc,
                     .argv = argv};
    int status = check_operands(&call);
    return status ? status : verb->run(&call);
}

static int start(const cli_verb *verb, int argc, char **argv) {
    cli_arguments arguments;
    int status = EXIT_WRONG_USE;
    if (arguments_read(&arguments, verb->options, verb->options_size, verb->name, argc - 2,
                       argv + 2)) {
        cli_call call = {.verb = verb,
                         .options = arguments.options,
                         .operands = arguments.operands.items,
                         .operand_count = arguments.operands.count,
                         .argc = argc,
                         .argv = argv};
        status = EXIT_SUCCESS;
        if (arguments.help)
            verb_print_help(verb, stdout);
        else if ((status = check_operands(&call)) == EXIT_SUCCESS)
            status = verb->run(&call);
    }
    arguments_free(&arguments, verb->options);
    return status;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_overview(stderr);
        return EXIT_WRONG_USE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "--help") == 0)
        name += 2;
    const cli_verb *verb = verb_find(name);
    if (!verb)
        return unknown_verb(name);
    int status = verb->raw ? start_raw(verb, argc, argv) : start(verb, argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "fovea: cannot write to standard output\n");
        return EXIT_FAILURE;
    }
    return status;
}
