/* fovea data: the known data sets, where each was found, or how to get it. Called by main.c. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>

/* Prints one set; returns whether it is on this machine. */
static bool print_set(const fv_known_data *set) {
    char *place = fv_data_find(set->name);
    printf("%s: %s\n", set->name, set->description);
    if (place)
        printf("  found in %s\n", place);
    else
        printf("  not found; %s\n", set->how_to_get);
    bool found = place != NULL;
    fv_free_memory(place);
    return found;
}

static int unknown_set(const cli_call *call, const char *name) {
    cli_guess guess = {.word = name};
    for (int i = 0; fv_data_known(i); i++)
        guess_offer(&guess, fv_data_known(i)->name);
    if (guess.best)
        return fail_with(call, "unknown data set %s; did you mean %s?", name, guess.best);
    return fail_with(call, "unknown data set %s; `fovea data` lists them", name);
}

static int run(const cli_call *call) {
    const char *name = call->operand_count ? call->operands[0] : NULL;
    const fv_known_data *set;
    for (int i = 0; (set = fv_data_known(i)) != NULL; i++) {
        if (!name)
            print_set(set);
        else if (strcmp(set->name, name) == 0)
            return print_set(set) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    return name ? unknown_set(call, name) : EXIT_SUCCESS;
}

const cli_verb verb_data = {
    .name = "data",
    .summary = "lists the known data sets and where each was found",
    .usage = "[NAME]",
    .details =
        "Sets are looked for in $FOVEA_DATA, in ~/.local/share/fovea and where the\n"
        "distribution puts them. With a NAME: that one; exit status 1 when it is not found.\n",
    .most_operands = 1,
    .run = run,
};
