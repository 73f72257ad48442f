/* fovea-keras: started by the command for files of Keras, see cli/keras.c. What goes wrong is one
 * line on standard error; exit status 1. */
#include "keras.h"
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED /* their shadow memory is larger than any limit */
#endif

void note(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("note: ", stderr);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    va_end(values);
}

/* Time and memory in proportion to the file, generously: a damaged one may send libhdf5 round in
 * circles or have it ask for anything. */
static void set_limits(const char *path) {
    enum { SECONDS = 5, BYTES_A_SECOND = 4 << 20, TIMES = 10 };
    static const rlim_t least = (rlim_t)1 << 30;
    struct stat about;
    rlim_t size = stat(path, &about) == 0 ? (rlim_t)about.st_size : 0;
    struct rlimit time = {SECONDS + size / BYTES_A_SECOND, RLIM_INFINITY};
    struct rlimit core = {0, 0};
    setrlimit(RLIMIT_CPU, &time);
    setrlimit(RLIMIT_CORE, &core);
#ifndef SANITIZED
    struct rlimit memory = {least + size * TIMES, RLIM_INFINITY};
    setrlimit(RLIMIT_AS, &memory);
#else
    (void)least;
#endif
}

int main(int count, char **arguments) {
    fv_status status;
    if (count == 4)
        set_limits(arguments[2]);
    if (count == 4 && strcmp(arguments[1], "import") == 0) {
        status = keras_import(arguments[2], arguments[3]);
    } else if (count == 4 && strcmp(arguments[1], "export") == 0) {
        status = keras_export(arguments[2], arguments[3]);
    } else {
        fputs("usage: fovea-keras import IN.keras|IN.h5 OUT.safetensors\n"
              "       fovea-keras export IN.safetensors OUT.keras\n",
              stderr);
        return 2;
    }
    if (status)
        fprintf(stderr, "%s\n", fv_error_message());
    return status ? 1 : 0;
}
