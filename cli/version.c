/* fovea version, also --version: this build and what it does on this machine. Called by main.c. */
#include "cli.h"
#include <stdlib.h>

static int run(const cli_call *call) {
    const char *instruction_set = fv_instruction_set();
    if (!instruction_set)
        return fail(call);
    printf("fovea %s\n", fv_version());
    printf("instruction set: %s\n", instruction_set);
    printf("threads: %d\n", fv_default_threads());
    printf("optional parts: %s\n", *fv_features() ? fv_features() : "none");
    return EXIT_SUCCESS;
}

const cli_verb verb_version = {.name = "version",
                               .summary =
                                   "prints version, instruction set, threads, optional parts",
                               .usage = "",
                               .run = run};
