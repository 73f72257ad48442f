/* See files.h. Its fv_system_alloc() takes the place of the library's. */
#include "files.h"

#include "base/alloc.h"
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char folder[] = "/tmp/fovea-test-XXXXXX";

int make_test_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)info, (void)kind, (void)place;
    return remove(path);
}

int remove_test_folder(void **state) {
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *in_folder(const char *name) {
    static char names[16][512];
    static int next;
    char *path = names[next++ % 16];
    snprintf(path, sizeof names[0], "%s/%s", folder, name);
    return path;
}

void write_file(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
        fail_msg("the test cannot write %s", path);
}

unsigned char *read_whole(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    long end = file && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    unsigned char *bytes = end >= 0 ? malloc((size_t)end + 1) : NULL;
    if (!bytes)
        fail_msg("the test cannot read %s", path);
    rewind(file);
    *size = fread(bytes, 1, (size_t)end, file);
    fclose(file);
    return bytes;
}

void expect_message(const char *words) {
    if (!strstr(fv_error_message(), words))
        fail_msg("the message '%s' lacks '%s'", fv_error_message(), words);
}

void expect_failure(fv_status status, fv_status expected, const char *words) {
    if (status != expected)
        fail_msg("status %d, expected %d with '%s'; message '%s'", status, expected, words,
                 fv_error_message());
    expect_message(words);
}

atomic_int allocations_left = -1;

void *fv_system_alloc(size_t bytes) {
    int left = atomic_load(&allocations_left); /* threads allocate too */
    while (left > 0 && !atomic_compare_exchange_weak(&allocations_left, &left, left - 1))
        ;
    if (left == 0)
        return NULL;
    void *block = NULL;
    return posix_memalign(&block, 64, bytes) == 0 ? block : NULL;
}

bool fv_system_may_map(size_t bytes) {
    (void)bytes;
    return true;
}
