/* Files of Keras: read and written by fovea-keras, a program of its own because libhdf5 may crash
 * on hostile files. Its other file is a model of ours in a folder for the moment, which is removed
 * whatever happens. Called by common.c and export.c. */
#include "cli.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

bool is_keras_file(const char *path) {
    return ends_with(path, ".h5") || ends_with(path, ".keras");
}

/* ---- A folder for the moment ----------------------------------------------------------------- */

static char *make_scratch(void) {
    const char *parent = getenv("TMPDIR");
    char *folder = text_new("%s/fovea-XXXXXX", parent && *parent ? parent : "/tmp");
    if (folder && !mkdtemp(folder)) {
        free(folder);
        return NULL;
    }
    return folder;
}

/* With the files that lie in it, half-written ones too. */
static void remove_scratch(char *folder) {
    DIR *open = opendir(folder);
    for (struct dirent *entry = open ? readdir(open) : NULL; entry; entry = readdir(open))
        unlinkat(dirfd(open), entry->d_name, 0); /* fails for . and .. */
    if (open)
        closedir(open);
    rmdir(folder);
    free(folder);
}

/* ---- The program ----------------------------------------------------------------------------- */

/* Signals that end this program wait until the folder is removed. */
static void choose_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGCHLD);
}

/* Starts FOLDER/fovea-keras with its messages into `messages`; 0 or an errno. */
static int start_in(const char *folder, char *const words[], int messages, pid_t *child) {
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    sigset_t none;
    char *path = text_new("%s/fovea-keras", folder);
    if (!path)
        return ENOMEM;
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, messages, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, messages, STDERR_FILENO);
    int failure = posix_spawn(child, path, &actions, &attributes, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    free(path);
    return failure;
}

/* Beside this program, as in the build folder, or where it was installed. */
static int start(char *const words[], int messages, pid_t *child) {
    char folder[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (length > 0) {
        folder[length] = 0;
        *strrchr(folder, '/') = 0;
        if (start_in(folder, words, messages, child) == 0)
            return 0;
    }
    return start_in(FV_LIBEXEC, words, messages, child);
}

/* Waits for the child; a signal that is to end this program ends it at once. Returns that signal.
 */
static int wait_for(pid_t child, const sigset_t *signals, int *ended) {
    int interrupted = 0;
    signal(SIGCHLD, SIG_DFL); /* should it be ignored, nobody would hear of the child's end */
    while (waitpid(child, ended, WNOHANG) == 0) {
        int number = sigwaitinfo(signals, NULL);
        if (number > 0 && number != SIGCHLD) {
            interrupted = number;
            kill(child, SIGKILL);
            waitpid(child, ended, 0);
            break;
        }
    }
    return interrupted;
}

/* What the program said, a line each after "fovea VERB: ". Names in it are the file's: nothing that
 * steers a terminal is let through. */
static void repeat_messages(const cli_call *call, int messages) {
    FILE *file = fdopen(dup(messages), "r");
    char *line = NULL;
    size_t size = 0;
    if (file)
        rewind(file);
    while (file && getline(&line, &size, file) > 0) {
        for (char *c = line; *c; c++)
            *c = ((unsigned char)*c < 0x20 && *c != '\n') || *c == 0x7F ? '?' : *c;
        fprintf(stderr, "fovea %s: %s", call->verb->name, line);
    }
    free(line);
    if (file)
        fclose(file);
}

static int judge(const cli_call *call, const char *path, int ended, int messages) {
    if (WIFSIGNALED(ended) && WTERMSIG(ended) == SIGXCPU)
        return fail_with(call,
                         "the reader of Keras files did not come to an end with %s: it is "
                         "damaged or hostile",
                         path);
    if (WIFSIGNALED(ended) && (WTERMSIG(ended) == SIGINT || WTERMSIG(ended) == SIGTERM))
        return fail_with(call, "interrupted while reading or writing %s", path);
    if (WIFSIGNALED(ended))
        return fail_with(call, "the reader of Keras files crashed on %s: it is damaged or hostile",
                         path);
    repeat_messages(call, messages);
    return WEXITSTATUS(ended) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* fovea-keras ACTION IN OUT; 0, or an exit status after a message. `path`: the Keras file. Called
 * with the signals blocked; *interrupted: the one that came. */
static int run_program(const cli_call *call, const char *action, const char *in, const char *out,
                       const char *path, const sigset_t *signals, int *interrupted) {
    char *words[] = {"fovea-keras", (char *)(uintptr_t)action, (char *)(uintptr_t)in,
                     (char *)(uintptr_t)out, NULL};
    pid_t child;
    int ended, messages = memfd_create("messages", MFD_CLOEXEC);
    if (messages < 0)
        return fail_with(call, "cannot make a file in memory: %s", strerror(errno));
    int failure = start(words, messages, &child);
    int status = EXIT_FAILURE;
    if (failure == ENOENT)
        status = fail_with(call,
                           "%s: this build has no Keras files: build fovea with -Dhdf5=enabled "
                           "(it takes libhdf5, jansson and libzip)",
                           path);
    else if (failure)
        status = fail_with(call, "cannot start %s/fovea-keras: %s", FV_LIBEXEC, strerror(failure));
    else if ((*interrupted = wait_for(child, signals, &ended)) == 0)
        status = judge(call, path, ended, messages);
    close(messages);
    return status;
}

/* ---- Both ways ------------------------------------------------------------------------------- */

/* Lets a signal that came in the meantime do what it does. */
static void unblock(const sigset_t *before, int interrupted) {
    if (interrupted)
        raise(interrupted);
    sigprocmask(SIG_SETMASK, before, NULL);
}

fv_net *keras_load(const cli_call *call, const char *path, const char *const *settings, int count) {
    sigset_t signals, before;
    int interrupted = 0;
    fv_net *net = NULL;
    choose_signals(&signals);
    sigprocmask(SIG_BLOCK, &signals, &before);
    char *folder = make_scratch();
    char *model = folder ? text_new("%s/model.safetensors", folder) : NULL;
    if (!model)
        fail_with(call, "cannot make a folder in $TMPDIR or /tmp: %s", strerror(errno));
    else if (run_program(call, "import", path, model, path, &signals, &interrupted) == 0) {
        net = fv_net_load_with(model, settings, count);
        if (!net)
            fail(call);
    }
    if (folder)
        remove_scratch(folder);
    free(model);
    unblock(&before, interrupted);
    return net;
}

int keras_save(const cli_call *call, const fv_net *net, const char *path) {
    sigset_t signals, before;
    int interrupted = 0, status = EXIT_FAILURE;
    choose_signals(&signals);
    sigprocmask(SIG_BLOCK, &signals, &before);
    char *folder = make_scratch();
    char *model = folder ? text_new("%s/model.safetensors", folder) : NULL;
    if (!model)
        fail_with(call, "cannot make a folder in $TMPDIR or /tmp: %s", strerror(errno));
    else if (fv_save(net, model))
        fail(call);
    else
        status = run_program(call, "export", model, path, path, &signals, &interrupted);
    if (folder)
        remove_scratch(folder);
    free(model);
    unblock(&before, interrupted);
    return status;
}
