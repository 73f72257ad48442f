/* fovea help: the list of verbs, or one verb's help. Called by main.c. */
#include "cli.h"
#include <ctype.h>
#include <stdlib.h>

void print_overview(FILE *file) {
    fprintf(file, "usage: fovea VERB [operands] [--option value]\n\n"
                  "Trains and runs convolutional networks.\n\n");
    for (int i = 0; verbs[i]; i++)
        fprintf(file, "  %-8s  %s\n", verbs[i]->name, verbs[i]->summary);
    fprintf(file, "\n`fovea help VERB` tells more of each; fovea(1) is the manual.\n");
}

void verb_print_help(const cli_verb *verb, FILE *file) {
    fprintf(file, "usage: fovea %s%s%s\n\n", verb->name, *verb->usage ? " " : "", verb->usage);
    fprintf(file, "%c%s.\n", toupper((unsigned char)*verb->summary), verb->summary + 1);
    if (verb->details)
        fprintf(file, "\n%s", verb->details);
    if (verb->raw)
        return;
    fprintf(file, "\nOptions:\n");
    options_print(verb->options, file);
}

static int run(const cli_call *call) {
    if (call->operand_count == 0) {
        print_overview(stdout);
        return EXIT_SUCCESS;
    }
    const cli_verb *verb = verb_find(call->operands[0]);
    if (!verb)
        return unknown_verb(call->operands[0]);
    verb_print_help(verb, stdout);
    return EXIT_SUCCESS;
}

const cli_verb verb_help = {.name = "help",
                            .summary = "lists the verbs, or tells more of one",
                            .usage = "[VERB]",
                            .most_operands = 1,
                            .run = run};
