/* fovea check: starts fovea-check, the gradient checker, a program of its own because it is the
 * library compiled for double. Called by main.c. */
#include "cli.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Becomes `folder`/fovea-check; comes back only when that cannot be started. */
static void become(const char *folder, const cli_call *call, char **words) {
    char *path = text_new("%s/fovea-check", folder);
    if (path) {
        words[0] = path;
        for (int i = 0; i < call->operand_count; i++)
            words[i + 1] = call->argv[call->argc - call->operand_count + i];
        execv(path, words);
    }
    free(path);
}

static int run(const cli_call *call) {
    char **words = calloc((size_t)call->operand_count + 2, sizeof *words);
    if (!words)
        return out_of_memory(call);
    char folder[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (length > 0) {
        folder[length] = 0;
        *strrchr(folder, '/') = 0;
        become(folder, call, words);
    }
    become(FV_LIBEXEC, call, words);
    int reason = errno;
    free(words);
    return fail_with(call, "cannot start %s/fovea-check: %s", FV_LIBEXEC, strerror(reason));
}

const cli_verb verb_check = {
    .name = "check",
    .summary = "checks the gradients of every layer of a net",
    .usage = "NET",
    .details = "Compares each layer's gradients with central differences, in double precision.\n"
               "Kinks (relu at 0, pool ties) are skipped and counted. Exit status 1 when a\n"
               "gradient is wrong.\n",
    .least_operands = 1,
    .most_operands = INT_MAX,
    .raw = true,
    .run = run,
};
