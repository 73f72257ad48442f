/* Files: bounded reading, reading of parts, read-only mapping, atomic writing, folders. Called by
 * data, formats, train and the .net parser. */
#include "base/file.h"

#include "base/alloc.h"
#include "base/status.h"
#include "base/text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static fv_status not_a_file(const char *path, mode_t mode) {
    if (S_ISDIR(mode)) {
        return fv_fail(FV_IO, "%s is a folder; a file is needed", path);
    }
    return fv_fail(FV_IO, "%s is a device or pipe; a file is needed", path);
}

/* Opens a regular file for reading. Without O_NONBLOCK a pipe would wait for its writer here. */
static fv_status open_file(const char *path, int *descriptor, struct stat *info) {
    *descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*descriptor < 0) {
        return fv_fail(FV_IO, "cannot open %s: %s", path, strerror(errno));
    }
    fv_status status = FV_OK;
    if (fstat(*descriptor, info) != 0) {
        status = fv_fail(FV_IO, "cannot read %s: %s", path, strerror(errno));
    } else if (!S_ISREG(info->st_mode)) {
        status = not_a_file(path, info->st_mode);
    } else if ((uintmax_t)info->st_size >= SIZE_MAX) {
        status = fv_fail(FV_FORMAT, "%s is larger than can be addressed", path);
    }
    if (status != FV_OK) {
        close(*descriptor);
        return status;
    }
    return FV_OK;
}

static fv_status read_exactly(int descriptor, char *bytes, size_t size, const char *path) {
    size_t done = 0;
    while (done < size) {
        ssize_t got = read(descriptor, bytes + done, size - done);
        if (got > 0) {
            done += (size_t)got;
        } else if (got == 0) {
            return fv_fail(FV_IO, "%s became shorter while it was read", path);
        } else if (errno != EINTR) {
            return fv_fail(FV_IO, "cannot read %s: %s", path, strerror(errno));
        }
    }
    return FV_OK;
}

fv_status fv_read_file(const char *path, size_t limit, char **bytes, size_t *size) {
    *bytes = NULL;
    *size = 0;
    int descriptor;
    struct stat info;
    fv_status status = open_file(path, &descriptor, &info);
    if (status != FV_OK) {
        return status;
    }
    size_t length = (size_t)info.st_size;
    char *contents = NULL;
    if (length > limit) {
        status = fv_fail(FV_FORMAT, "%s has %zu bytes; at most %zu are allowed here", path, length,
                         limit);
    } else {
        contents = fv_alloc(length + 1, 1);
        status = contents ? read_exactly(descriptor, contents, length, path) : FV_MEMORY;
    }
    close(descriptor);
    if (status != FV_OK) {
        fv_free(contents);
        return status;
    }
    *bytes = contents;
    *size = length;
    return FV_OK;
}

/* ---- Reading here and there ------------------------------------------------------------------ */

static void note_change(const struct stat *info, int64_t changed[2]) {
    changed[0] = info->st_mtim.tv_sec;
    changed[1] = info->st_mtim.tv_nsec;
}

fv_status fv_file_open(fv_file *file, const char *path) {
    *file = (fv_file){.path = fv_copy_string(path)};
    if (!file->path) {
        return FV_MEMORY;
    }
    struct stat info;
    fv_status status = open_file(path, &file->descriptor, &info);
    if (status != FV_OK) {
        fv_free(file->path);
        *file = (fv_file){0};
        return status;
    }
    file->size = (size_t)info.st_size;
    note_change(&info, file->changed);
    return FV_OK;
}

void fv_file_close(fv_file *file) {
    if (file->path) {
        close(file->descriptor);
    }
    fv_free(file->path);
    *file = (fv_file){0};
}

enum { CUT_SHORT = -1 };

int fv_file_read(const fv_file *file, size_t at, size_t size, void *bytes) {
    for (size_t done = 0; done < size;) {
        ssize_t got =
            pread(file->descriptor, (char *)bytes + done, size - done, (off_t)(at + done));
        if (got > 0) {
            done += (size_t)got;
        } else if (got == 0) {
            return CUT_SHORT;
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

fv_status fv_file_failed(const fv_file *file, int error) {
    if (error == CUT_SHORT) {
        return fv_fail(FV_IO, "%s became shorter since it was opened: load it again", file->path);
    }
    return fv_fail(FV_IO, "cannot read %s: %s", file->path, strerror(error));
}

fv_status fv_file_unchanged(const fv_file *file) {
    struct stat info;
    int64_t changed[2];
    if (fstat(file->descriptor, &info) != 0) {
        return fv_file_failed(file, errno);
    }
    note_change(&info, changed);
    if ((size_t)info.st_size == file->size && changed[0] == file->changed[0] &&
        changed[1] == file->changed[1]) {
        return FV_OK;
    }
    return fv_fail(FV_IO,
                   "%s was written to since it was loaded: load it again (a new version put in its "
                   "place by renaming, as fovea does, leaves the old one whole)",
                   file->path);
}

fv_status fv_map_open_file(const fv_file *file, fv_mapping *mapping) {
    *mapping = (fv_mapping){.bytes = (const unsigned char *)""};
    if (file->size == 0) { /* mmap() refuses 0 bytes */
        return FV_OK;
    }
    void *bytes = mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, file->descriptor, 0);
    if (bytes == MAP_FAILED) {
        return fv_fail(FV_IO, "cannot map %s: %s", file->path, strerror(errno));
    }
    *mapping = (fv_mapping){.bytes = bytes, .size = file->size};
    return FV_OK;
}

fv_status fv_map_file(const char *path, fv_mapping *mapping) {
    fv_file file;
    *mapping = (fv_mapping){.bytes = (const unsigned char *)""};
    fv_status status = fv_file_open(&file, path);
    if (status == FV_OK) {
        status = fv_map_open_file(&file, mapping);
        fv_file_close(&file);
    }
    return status;
}

void fv_unmap_file(fv_mapping *mapping) {
    if (mapping->size > 0) {
        munmap((void *)(uintptr_t)mapping->bytes, mapping->size);
    }
    *mapping = (fv_mapping){0};
}

static void write_error(fv_writer *writer) {
    writer->status =
        fv_fail(FV_IO, "cannot write %s: %s; nothing was changed", writer->path, strerror(errno));
}

/* Creates a file PATH.PROCESS-N.tmp that was not there before. */
static fv_status create_temporary(fv_writer *writer) {
    size_t size = strlen(writer->path) + 40;
    char *name = fv_alloc(size, 1);
    if (!name) {
        return FV_MEMORY;
    }
    bool taken = true;
    for (int attempt = 0; attempt < 1000 && taken; attempt++) {
        snprintf(name, size, "%s.%ld-%d.tmp", writer->path, (long)getpid(), attempt);
        writer->file = fopen(name, "wbxe"); /* exclusive, closed on exec */
        taken = !writer->file && errno == EEXIST;
    }
    if (!writer->file) {
        write_error(writer);
        fv_free(name);
        return FV_IO;
    }
    writer->temporary = name;
    return FV_OK;
}

fv_status fv_writer_open(fv_writer *writer, const char *path) {
    *writer = (fv_writer){0};
    struct stat info;
    /* rename() would put the new file in the place of a device. */
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        return writer->status = not_a_file(path, info.st_mode);
    }
    writer->path = fv_copy_string(path);
    writer->status = writer->path ? create_temporary(writer) : FV_MEMORY;
    fv_status status = writer->status;
    if (status != FV_OK) {
        fv_writer_abort(writer);
        writer->status = status; /* for a caller that checks at the end only */
    }
    return status;
}

void fv_write(fv_writer *writer, const void *bytes, size_t size) {
    if (writer->status == FV_OK && size > 0 && fwrite(bytes, 1, size, writer->file) != size) {
        write_error(writer);
    }
}

/* Makes the rename itself last through a power failure, as far as the system can do that: some
 * folders and file systems cannot be synced, and the file is whole either way. */
static void sync_folder_of(const char *path) {
    char *folder = fv_copy_string(path);
    if (!folder) {
        return;
    }
    char *slash = strrchr(folder, '/');
    if (slash) {
        slash[slash == folder ? 1 : 0] = 0;
    }
    int descriptor = open(slash ? folder : ".", O_RDONLY | O_CLOEXEC);
    if (descriptor >= 0) {
        (void)fsync(descriptor);
        close(descriptor);
    }
    fv_free(folder);
}

fv_status fv_writer_commit(fv_writer *writer) {
    if (writer->status == FV_OK &&
        (fflush(writer->file) != 0 || ferror(writer->file) || fsync(fileno(writer->file)) != 0)) {
        write_error(writer);
    }
    if (writer->status == FV_OK) {
        FILE *file = writer->file;
        writer->file = NULL;
        if (fclose(file) != 0 || rename(writer->temporary, writer->path) != 0) {
            write_error(writer);
        }
    }
    fv_status status = writer->status;
    if (status == FV_OK) {
        sync_folder_of(writer->path);
        fv_free(writer->temporary); /* the name is gone: nothing to remove */
        writer->temporary = NULL;
    }
    fv_writer_abort(writer);
    return status;
}

void fv_writer_abort(fv_writer *writer) {
    if (writer->file) {
        fclose(writer->file);
    }
    if (writer->temporary) {
        unlink(writer->temporary);
    }
    fv_free(writer->temporary);
    fv_free(writer->path);
    *writer = (fv_writer){0};
}

static fv_status make_one_folder(const char *path) {
    if (mkdir(path, 0777) == 0) {
        return FV_OK;
    }
    int error = errno; /* the look at the folder changes it */
    if (fv_is_folder(path)) {
        return FV_OK;
    }
    return fv_fail(FV_IO, "cannot make the folder %s: %s", path, strerror(error));
}

fv_status fv_make_folder(const char *path) {
    if (!*path) {
        return fv_fail(FV_INVALID, "the name of the folder is empty");
    }
    char *prefix = fv_copy_string(path);
    if (!prefix) {
        return FV_MEMORY;
    }
    fv_status status = FV_OK;
    size_t length = strlen(path);
    for (size_t end = 1; end <= length && status == FV_OK; end++) {
        if (path[end] == '/' || path[end] == 0) {
            prefix[end] = 0;
            status = make_one_folder(prefix);
            prefix[end] = path[end];
        }
    }
    fv_free(prefix);
    return status;
}

bool fv_is_file(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool fv_is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

void fv_remove_stale(const char *path) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    fv_text folder = {0};
    fv_text_add(&folder, "%.*s", slash ? (int)(slash - path + 1) : 2, slash ? path : "./");
    DIR *open = folder.failed ? NULL : opendir(folder.bytes);
    for (struct dirent *entry = open ? readdir(open) : NULL; entry; entry = readdir(open)) {
        size_t size = strlen(entry->d_name), stem = strlen(name);
        bool stale = size > stem + 4 && strncmp(entry->d_name, name, stem) == 0 &&
                     entry->d_name[stem] == '.' && strcmp(entry->d_name + size - 4, ".tmp") == 0;
        if (stale)
            unlinkat(dirfd(open), entry->d_name, 0);
    }
    if (open)
        closedir(open);
    fv_text_free(&folder);
}
