/* The bytes drawn as files, for readers that take a path. */
#include "fuzz.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place) {
    (void)info, (void)type;
    if (place->level > 0)
        remove(path);
    return 0;
}

void fuzz_empty_folder(void) {
    enum { MOST_OPEN = 8 };
    nftw(fuzz_folder(), remove_entry, MOST_OPEN, FTW_DEPTH | FTW_PHYS);
}

static void remove_folder(void) {
    fuzz_empty_folder();
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

/* The folders of a path below folder[]; one that is there is left as it is. */
static void make_folders(char *path) {
    for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
}

const char *fuzz_file(const char *name, const uint8_t *bytes, size_t size) {
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    make_folders(path);
    FILE *file = fopen(path, "wb");
    if (!file)
        return NULL;
    size_t written = fwrite(bytes, 1, size, file);
    return fclose(file) == 0 && written == size ? path : NULL;
}
