/* Files: whole-file reading with a bound, reading of parts, read-only mapping, and atomic writing
 * (temporary name in the same folder, fsync, rename). Called by data, formats, train and the .net
 * parser. */
#ifndef FV_BASE_FILE_H
#define FV_BASE_FILE_H

#include <fovea.h>
#include <stdbool.h>
#include <stdio.h>

/* The whole file, with a 0 byte after it (not counted in *size). Refuses folders and devices
 * (FV_IO) and files larger than `limit` bytes (FV_FORMAT: says both sizes). The caller frees *bytes
 * with fv_free. */
fv_status fv_read_file(const char *path, size_t limit, char **bytes, size_t *size);

/* A file kept open, to be read here and there by any number of threads. Its memory stays its own: a
 * file that another program cuts short gives an error, where a mapped one would raise SIGBUS. */
typedef struct fv_file {
    char *path; /* for messages; NULL: not open */
    int descriptor;
    size_t size;
    int64_t changed[2]; /* when it was last written to: seconds, nanoseconds */
} fv_file;

fv_status fv_file_open(fv_file *file, const char *path);
void fv_file_close(fv_file *file);
/* Reads `size` bytes from place `at`. Returns 0, or what went wrong for fv_file_failed() to say on
 * the caller's thread: workers cannot leave a message there. */
int fv_file_read(const fv_file *file, size_t at, size_t size, void *bytes);
fv_status fv_file_failed(const fv_file *file, int error);
/* FV_IO when it was written to since it was opened: what has been read may be old and new. */
fv_status fv_file_unchanged(const fv_file *file);

/* A file mapped read-only. An empty file maps to size 0. */
typedef struct fv_mapping {
    const unsigned char *bytes;
    size_t size;
} fv_mapping;

fv_status fv_map_file(const char *path, fv_mapping *mapping);
fv_status fv_map_open_file(const fv_file *file, fv_mapping *mapping);
void fv_unmap_file(fv_mapping *mapping);

/* Atomic writing: fv_writer_open, fv_write..., then exactly one of fv_writer_commit (fsync,
 * rename over `path`, fsync of the folder) or fv_writer_abort (temporary file removed). An error
 * of fv_write is kept and returned by commit, which then aborts; so callers may check once. */
typedef struct fv_writer {
    FILE *file;
    char *path, *temporary;
    fv_status status;
} fv_writer;

fv_status fv_writer_open(fv_writer *writer, const char *path);
void fv_write(fv_writer *writer, const void *bytes, size_t size);
fv_status fv_writer_commit(fv_writer *writer);
void fv_writer_abort(fv_writer *writer);

/* Removes what a killed writer of `path` left behind: path.*.tmp in its folder. Only where no other
 * process writes that path. */
void fv_remove_stale(const char *path);

/* Creates a folder and those above it; FV_OK when it is there already. */
fv_status fv_make_folder(const char *path);

bool fv_is_file(const char *path);
bool fv_is_folder(const char *path);

#endif
