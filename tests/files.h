/* What the tests of src/data share: a folder of their own, files in it, messages, and allocations
 * that fail. Called by test_data.c, test_idx.c and test_picture.c. */
#ifndef FV_TESTS_FILES_H
#define FV_TESTS_FILES_H

#include <fovea.h>
#include <stdatomic.h>

/* Group set-up and tear-down: makes and removes the folder. */
int make_test_folder(void **state);
int remove_test_folder(void **state);

/* The path of `name` in the folder; each call has a buffer of its own, sixteen in turn. */
const char *in_folder(const char *name);

void write_file(const char *path, const void *bytes, size_t size);
/* The caller frees it. */
unsigned char *read_whole(const char *path, size_t *size);

/* Fails unless the status is that, and the message holds the words. */
void expect_failure(fv_status status, fv_status expected, const char *words);
void expect_message(const char *words);

/* How many allocations succeed from now on; negative: all. */
extern atomic_int allocations_left;

#endif
