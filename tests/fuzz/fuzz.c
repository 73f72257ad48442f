/* The bytes drawn as a file, for readers that take a path. */
#include "fuzz.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[256];

static void remove_folder(void) {
    if (path[0])
        unlink(path);
    rmdir(folder);
}

const char *fuzz_folder(void) {
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "/dev/shm/fovea-fuzz-%ld", (long)getpid());
        mkdir(folder, 0700);
        atexit(remove_folder);
    }
    return folder;
}

const char *fuzz_file(const char *name, const uint8_t *bytes, size_t size) {
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    FILE *file = fopen(path, "wb");
    if (!file)
        return NULL;
    size_t written = fwrite(bytes, 1, size, file);
    return fclose(file) == 0 && written == size ? path : NULL;
}
