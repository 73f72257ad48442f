/* Zip files, by libzip: members of bounded size read into memory, and archives whose bytes depend
 * on their members alone. Called by import.c and export.c. */
#include "base/file.h"
#include "keras.h"
#include <string.h>
#include <zip.h>

enum {
    COPY_SIZE = 1 << 16,
    NEW_YEAR_1980 = 1 << 5 | 1, /* the first day that a zip can name: no real time is kept */
    FREE_SIZE = 64 << 20,       /* bytes that a member may have however small it is packed */
    MOST_EXPANSION = 100        /* beyond that: times its packed size; weights do not reach 2 */
};

/* ---- Reading --------------------------------------------------------------------------------- */

/* The size that the archive promises, checked against what it holds. */
static fv_status check_size(const zip_stat_t *stat, const char *name, size_t most) {
    if (!(stat->valid & ZIP_STAT_SIZE) || !(stat->valid & ZIP_STAT_COMP_SIZE))
        return fv_fail(FV_FORMAT, "the size of %s is not known", name);
    if (stat->size > most)
        return fv_fail(FV_FORMAT, "%s has %llu bytes; at most %zu are read", name,
                       (unsigned long long)stat->size, most);
    if (stat->size > FREE_SIZE && stat->size / MOST_EXPANSION > stat->comp_size)
        return fv_fail(FV_FORMAT,
                       "%s grows from %llu to %llu bytes: a decompression bomb, no model", name,
                       (unsigned long long)stat->comp_size, (unsigned long long)stat->size);
    return FV_OK;
}

/* Exactly `size` bytes: neither fewer nor more than promised. */
static fv_status read_member(zip_file_t *file, const char *name, char *bytes, size_t size) {
    size_t done = 0;
    zip_int64_t got = 1;
    char more;
    while (done < size && (got = zip_fread(file, bytes + done, size - done)) > 0)
        done += (size_t)got;
    if (done < size)
        return fv_fail(FV_FORMAT, "%s is damaged or cut off after %zu of %zu bytes", name, done,
                       size);
    if (zip_fread(file, &more, 1) != 0) /* also compares the check sum */
        return fv_fail(FV_FORMAT, "%s is damaged, or longer than the %zu bytes that it says", name,
                       size);
    return FV_OK;
}

static fv_status read_from(zip_t *archive, const char *name, size_t most, char **bytes,
                           size_t *size) {
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_stat(archive, name, 0, &stat) != 0)
        return fv_fail(FV_FORMAT, "there is no %s in it: no file that Keras 3 saved", name);
    fv_status status = check_size(&stat, name, most);
    if (status)
        return status;
    *size = (size_t)stat.size;
    zip_file_t *file = zip_fopen_index(archive, stat.index, 0);
    if (!file)
        return fv_fail(FV_FORMAT, "%s cannot be read: %s", name, zip_strerror(archive));
    *bytes = fv_alloc(*size + 1, 1);
    status = *bytes ? read_member(file, name, *bytes, *size) : FV_MEMORY;
    zip_fclose(file);
    if (status) {
        fv_free(*bytes);
        *bytes = NULL;
    }
    return status;
}

fv_status archive_read(const char *path, const char *name, size_t most, char **bytes,
                       size_t *size) {
    *bytes = NULL;
    int code = 0;
    zip_t *archive = zip_open(path, ZIP_RDONLY, &code);
    if (!archive) {
        zip_error_t error;
        zip_error_init_with_code(&error, code);
        fv_fail(code == ZIP_ER_NOENT || code == ZIP_ER_OPEN ? FV_IO : FV_FORMAT,
                "no readable .keras file: %s", zip_error_strerror(&error));
        zip_error_fini(&error);
        return fv_error_status();
    }
    fv_status status = read_from(archive, name, most, bytes, size);
    zip_discard(archive);
    return status;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static fv_status fail_zip(zip_t *archive) {
    return fv_fail(FV_IO, "the archive cannot be made: %s", zip_strerror(archive));
}

static fv_status add_member(zip_t *archive, const member *m) {
    zip_source_t *source = zip_source_buffer(archive, m->bytes, m->size, 0);
    zip_int64_t index =
        source ? zip_file_add(archive, m->name, source, ZIP_FL_ENC_UTF_8) : (zip_int64_t)-1;
    if (index < 0) {
        zip_source_free(source);
        return fail_zip(archive);
    }
    if (zip_set_file_compression(archive, (zip_uint64_t)index, ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(archive, (zip_uint64_t)index, 0, NEW_YEAR_1980, 0) != 0)
        return fail_zip(archive);
    return FV_OK;
}

/* Makes the archive in memory, in `buffer`. */
static fv_status fill(zip_source_t *buffer, const member *members, int count) {
    zip_error_t error;
    zip_error_init(&error);
    zip_t *archive = zip_open_from_source(buffer, ZIP_TRUNCATE, &error);
    fv_status status = FV_OK;
    if (!archive)
        status = fv_fail(FV_IO, "the archive cannot be made: %s", zip_error_strerror(&error));
    zip_error_fini(&error);
    if (status)
        return status;
    zip_source_keep(buffer); /* one reference is the archive's, one stays the caller's */
    for (int i = 0; i < count && !status; i++)
        status = add_member(archive, &members[i]);
    if (!status && zip_close(archive) == 0)
        return FV_OK;
    if (!status)
        status = fail_zip(archive);
    zip_discard(archive);
    return status;
}

static fv_status copy_out(zip_source_t *buffer, const char *path) {
    fv_writer writer;
    char *bytes = fv_alloc(COPY_SIZE, 1);
    fv_status status = bytes ? fv_writer_open(&writer, path) : FV_MEMORY;
    if (!status) {
        zip_int64_t size = zip_source_open(buffer) == 0 ? 0 : -1;
        while (size >= 0 && (size = zip_source_read(buffer, bytes, COPY_SIZE)) > 0)
            fv_write(&writer, bytes, (size_t)size);
        zip_source_close(buffer);
        if (size == 0) {
            status = fv_writer_commit(&writer);
        } else {
            fv_writer_abort(&writer);
            status = fv_fail(FV_IO, "the archive made in memory cannot be read");
        }
    }
    fv_free(bytes);
    return status;
}

fv_status archive_write(const char *path, const member *members, int count) {
    zip_source_t *buffer = zip_source_buffer_create(NULL, 0, 0, NULL);
    if (!buffer)
        return fv_fail(FV_MEMORY, "out of memory for the archive");
    fv_status status = fill(buffer, members, count);
    if (!status)
        status = copy_out(buffer, path);
    zip_source_free(buffer);
    return status;
}
