/* What the fuzz targets share: the bytes drawn as files. */
#ifndef FV_TESTS_FUZZ_H
#define FV_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* LLVM's libFuzzer calls this with the bytes that it drew. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Writes them to a file `name` ("a" or "folder/a", whose folders are made) in a folder of this
 * process in /dev/shm; returns its path, valid until the next call. NULL where it cannot be
 * written. */
const char *fuzz_file(const char *name, const uint8_t *bytes, size_t size);
/* That folder. */
const char *fuzz_folder(void);
/* Removes all that is in it. */
void fuzz_empty_folder(void);

#endif
