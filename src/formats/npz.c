/* NumPy archives: a zip of one .npy array (NEP 1, version 1.0) for each weight, in PyTorch's order
 * of axes; numpy.load reads them. Equal nets give equal files. Called by the public fv_export. */
#include "base/alloc.h"
#include "base/status.h"
#include "base/text.h"
#include "formats/formats.h"
#include <string.h>
#ifdef FV_HAVE_ZIP
#include <zip.h>
#endif

#ifdef FV_HAVE_ZIP

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "\"<f4\" is written as it is stored");

enum { COPY_SIZE = 1 << 16 };
enum { NEW_YEAR_1980 = 1 << 5 | 1 }; /* the first day that a zip can name: no real time is kept */

/* The header of a .npy file: magic, version, size and a Python dictionary, padded so that the
 * values begin at a multiple of 64 bytes. The caller frees *bytes. */
static fv_status npy_header(const fv_tensor_entry *entry, char **bytes, size_t *size) {
    enum { PREFIX = 10, ALIGNMENT = 64 };
    fv_text text = {0};
    fv_text_add_bytes(&text, "\x93NUMPY\x01\x00\x00\x00", PREFIX);
    fv_text_add(&text, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < entry->rank; i++)
        fv_text_add(&text, i == 0 ? "%zu" : ", %zu", entry->size[i]);
    fv_text_add(&text, entry->rank == 1 ? ",), }" : "), }");
    while ((text.size + 1) % ALIGNMENT != 0 && !text.failed)
        fv_text_add_bytes(&text, " ", 1);
    fv_text_add_bytes(&text, "\n", 1);
    *size = text.size;
    *bytes = fv_text_take(&text);
    if (*bytes == NULL)
        return FV_MEMORY;
    size_t length = *size - PREFIX; /* a few hundred at most: fits two bytes */
    (*bytes)[PREFIX - 2] = (char)(length & 0xff);
    (*bytes)[PREFIX - 1] = (char)(length >> 8);
    return FV_OK;
}

static fv_status zip_fail(zip_t *archive) {
    return fv_fail(FV_IO, "the archive cannot be made: %s", zip_strerror(archive));
}

/* Adds NAME.npy, stored without compression. libzip reads header and values when it closes. */
static fv_status add_array(zip_t *archive, const fv_tensor_entry *entry, char *header,
                           size_t size) {
    fv_text text = {0};
    fv_text_add(&text, "%s.npy", entry->name);
    char *name = fv_text_take(&text);
    if (name == NULL)
        return FV_MEMORY;
    zip_buffer_fragment_t parts[2] = {
        {.data = (zip_uint8_t *)header, .length = size},
        {.data = (zip_uint8_t *)(uintptr_t)entry->bytes, .length = entry->count * sizeof(float)}};
    zip_source_t *source = zip_source_buffer_fragment(archive, parts, 2, 0);
    zip_int64_t index = source == NULL ? -1 : zip_file_add(archive, name, source, ZIP_FL_ENC_UTF_8);
    fv_free(name);
    if (index < 0) {
        zip_source_free(source);
        return zip_fail(archive);
    }
    if (zip_set_file_compression(archive, (zip_uint64_t)index, ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(archive, (zip_uint64_t)index, 0, NEW_YEAR_1980, 0) != 0)
        return zip_fail(archive);
    return FV_OK;
}

/* Fills the archive and closes it; headers: tensors->count pointers for the caller to free. */
static fv_status fill_archive(zip_t *archive, const fv_net_tensors *tensors, char **headers) {
    fv_status status = FV_OK;
    for (size_t i = 0; i < tensors->count && status == FV_OK; i++) {
        size_t size;
        status = npy_header(&tensors->entries[i], &headers[i], &size);
        if (status == FV_OK)
            status = add_array(archive, &tensors->entries[i], headers[i], size);
    }
    if (status == FV_OK && zip_close(archive) == 0)
        return FV_OK;
    if (status == FV_OK)
        status = zip_fail(archive);
    zip_discard(archive);
    return status;
}

/* Makes the archive in memory, in `buffer`. */
static fv_status make_archive(zip_source_t *buffer, const fv_net_tensors *tensors) {
    char **headers = fv_alloc(tensors->count, sizeof *headers);
    if (headers == NULL)
        return FV_MEMORY;
    zip_error_t error;
    zip_error_init(&error);
    fv_status status;
    zip_t *archive = zip_open_from_source(buffer, ZIP_TRUNCATE, &error);
    if (archive == NULL) {
        status = fv_fail(FV_IO, "the archive cannot be made: %s", zip_error_strerror(&error));
    } else {
        zip_source_keep(buffer); /* one reference is the archive's, one stays the caller's */
        status = fill_archive(archive, tensors, headers);
    }
    zip_error_fini(&error);
    for (size_t i = 0; i < tensors->count; i++)
        fv_free(headers[i]);
    fv_free(headers);
    return status;
}

static fv_status write_archive(zip_source_t *buffer, const char *path) {
    char *bytes = fv_alloc(COPY_SIZE, 1);
    if (bytes == NULL)
        return FV_MEMORY;
    fv_writer writer;
    fv_status status = fv_writer_open(&writer, path);
    if (status == FV_OK) {
        zip_int64_t size = zip_source_open(buffer) == 0 ? 0 : -1;
        while (size >= 0 && (size = zip_source_read(buffer, bytes, COPY_SIZE)) > 0)
            fv_write(&writer, bytes, (size_t)size);
        zip_source_close(buffer);
        if (size == 0) {
            status = fv_writer_commit(&writer);
        } else {
            fv_writer_abort(&writer);
            status = fv_fail(FV_IO, "%s: the archive made in memory cannot be read", path);
        }
    }
    fv_free(bytes);
    return status;
}

fv_status fv_npz_write(const fv_net *net, const char *path) {
    fv_net_tensors tensors;
    fv_status status = fv_net_tensors_make(net, &tensors);
    if (status != FV_OK)
        return status;
    zip_source_t *buffer = zip_source_buffer_create(NULL, 0, 0, NULL);
    if (tensors.count == 0)
        status = fv_fail(FV_INVALID, "the net has no weights, and an .npz file cannot be empty");
    else if (buffer == NULL)
        status = fv_fail(FV_MEMORY, "out of memory for the archive");
    else
        status = make_archive(buffer, &tensors);
    if (status != FV_OK)
        fv_fail_in(status, "%s", path);
    else
        status = write_archive(buffer, path);
    zip_source_free(buffer);
    fv_net_tensors_free(&tensors);
    return status;
}

#else

fv_status fv_npz_write(const fv_net *net, const char *path) {
    (void)net;
    return fv_fail(FV_UNSUPPORTED,
                   "%s: this build has no .npz files: build fovea with libzip (-Dzip=enabled)",
                   path);
}

#endif
