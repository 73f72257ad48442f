/* Reads IDX files, the format of MNIST: bytes 0, 0, type, axes; each axis' size as a big-endian
 * 32-bit number; then the values. Plain or gzipped, told by the first bytes. Called by folder.c. */
#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"
#include "data/data.h"
#include <limits.h>
#include <string.h>
#ifdef FV_HAVE_ZLIB
#define ZLIB_CONST
#include <zlib.h>
#endif

enum { TYPE_BYTE = 0x08, MAX_AXES = 4, MAX_HEADER = 4 + 4 * MAX_AXES };

typedef struct idx_header {
    int rank;
    size_t sizes[MAX_AXES];
    size_t start; /* of the values in the file */
    size_t count; /* of the values: the product of the sizes */
} idx_header;

static size_t read_big_endian(const uint8_t *bytes) {
    return (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
}

/* Of the types that the format knows beside unsigned bytes; NULL: no such type. */
static const char *type_name(uint8_t type) {
    switch (type) {
    case 0x09:
        return "signed bytes";
    case 0x0b:
        return "16-bit integers";
    case 0x0c:
        return "32-bit integers";
    case 0x0d:
        return "32-bit floats";
    case 0x0e:
        return "64-bit floats";
    default:
        return NULL;
    }
}

static fv_status check_magic(const char *path, const uint8_t *bytes, size_t size) {
    if (size < 4)
        return fv_fail(FV_FORMAT, "%s: too short for an IDX file: %zu bytes, expected 8 or more",
                       path, size);
    bool zeros = bytes[0] == 0 && bytes[1] == 0;
    if (zeros && type_name(bytes[2]))
        return fv_fail(FV_UNSUPPORTED,
                       "%s: holds %s (type 0x%02x); only unsigned bytes (type 0x08) can be read",
                       path, type_name(bytes[2]), bytes[2]);
    if (!zeros || bytes[2] != TYPE_BYTE || bytes[3] < 1 || bytes[3] > MAX_AXES)
        return fv_fail(FV_FORMAT,
                       "%s: not an IDX file of unsigned bytes: its magic number is "
                       "0x%02x%02x%02x%02x, expected 0x00000801 to 0x0000080%d (1 to %d axes)",
                       path, bytes[0], bytes[1], bytes[2], bytes[3], MAX_AXES, MAX_AXES);
    return FV_OK;
}

/* "60000x28x28" into text[64]; returns it. */
static const char *sizes_text(const idx_header *header, char text[64]) {
    size_t used = 0;
    for (int axis = 0; axis < header->rank; axis++)
        used +=
            (size_t)snprintf(text + used, 64 - used, "%s%zu", axis ? "x" : "", header->sizes[axis]);
    return text;
}

/* The header at the start of `bytes`, of which `size` are there. */
static fv_status read_header(const char *path, const uint8_t *bytes, size_t size,
                             idx_header *header) {
    fv_status status = check_magic(path, bytes, size);
    if (status)
        return status;
    header->rank = bytes[3];
    header->start = 4 + 4 * (size_t)header->rank;
    if (size < header->start)
        return fv_fail(FV_FORMAT, "%s: cut off inside its header: %zu bytes, expected %zu", path,
                       size, header->start);
    for (int axis = 0; axis < header->rank; axis++)
        header->sizes[axis] = read_big_endian(bytes + 4 + 4 * axis);
    char text[64];
    header->count = 1;
    for (int axis = 0; axis < header->rank; axis++) {
        if (header->sizes[axis] == 0)
            return fv_fail(FV_FORMAT, "%s: axis %d of %d has size 0 (%s), expected 1 or more", path,
                           axis + 1, header->rank, sizes_text(header, text));
        if (!fv_size_product(header->count, header->sizes[axis], &header->count) ||
            header->count > SIZE_MAX / 2)
            return fv_fail(FV_FORMAT, "%s: its sizes %s are more values than any memory holds",
                           path, sizes_text(header, text));
    }
    return FV_OK;
}

static fv_status check_length(const char *path, const idx_header *header, size_t size) {
    char text[64];
    size_t values = size - header->start;
    if (values < header->count)
        return fv_fail(FV_FORMAT, "%s: cut off: its header says %s = %zu values, found %zu", path,
                       sizes_text(header, text), header->count, values);
    if (values > header->count)
        return fv_fail(FV_FORMAT,
                       "%s: goes on after its end: its header says %s = %zu values, found %zu or "
                       "more",
                       path, sizes_text(header, text), header->count, values);
    return FV_OK;
}

#ifdef FV_HAVE_ZLIB
/* Unpacks from stream->next_in (up to input_end) to stream->next_out, until the output is full
 * (Z_OK), the file ends (Z_STREAM_END), or something is wrong (another of zlib's codes). */
static int unpack(z_stream *stream, const uint8_t *input_end, const uint8_t *output_end) {
    int code;
    do {
        size_t input = (size_t)(input_end - stream->next_in);
        size_t output = (size_t)(output_end - stream->next_out);
        stream->avail_in = input < UINT_MAX ? (uInt)input : UINT_MAX;
        stream->avail_out = output < UINT_MAX ? (uInt)output : UINT_MAX;
        code = inflate(stream, Z_NO_FLUSH);
        if (code == Z_STREAM_END && stream->next_in < input_end)
            code = inflateReset(stream); /* a gzip file may have several members */
    } while (code == Z_OK && stream->next_out < output_end);
    return code;
}

static fv_status unpack_failed(const char *path, int code, size_t size, size_t unpacked) {
    if (code == Z_MEM_ERROR)
        return fv_fail(FV_MEMORY, "%s: out of memory while unpacking", path);
    if (code == Z_BUF_ERROR)
        return fv_fail(FV_FORMAT,
                       "%s: cut off: the gzip data does not end within the file's %zu bytes "
                       "(%zu bytes unpacked)",
                       path, size, unpacked);
    return fv_fail(FV_FORMAT, "%s: damaged gzip data after %zu unpacked bytes", path, unpacked);
}

/* The unpacked file into *bytes: at most one byte more than its header promises. */
static fv_status unpack_stream(const char *path, z_stream *stream, const uint8_t *file, size_t size,
                               uint8_t **bytes, size_t *unpacked) {
    uint8_t first[MAX_HEADER];
    stream->next_in = file;
    stream->next_out = first;
    int code = unpack(stream, file + size, first + sizeof first);
    *unpacked = (size_t)(stream->next_out - first);
    if (code != Z_OK && code != Z_STREAM_END)
        return unpack_failed(path, code, size, *unpacked);
    idx_header header;
    fv_status status = read_header(path, first, *unpacked, &header);
    if (status)
        return status;
    /* Deflate shrinks at most 1032:1, so a larger promise cannot be kept: do not allocate it. */
    if (header.count / 1032 > size) {
        char text[64];
        return fv_fail(FV_FORMAT,
                       "%s: its header says %s values, more than %zu bytes can unpack to", path,
                       sizes_text(&header, text), size);
    }
    size_t most = header.start + header.count + 1;
    *bytes = fv_alloc(most, 1);
    if (!*bytes)
        return FV_MEMORY;
    inflateReset(stream);
    stream->next_in = file;
    stream->next_out = *bytes;
    code = unpack(stream, file + size, *bytes + most);
    *unpacked = (size_t)(stream->next_out - *bytes);
    if (code != Z_OK && code != Z_STREAM_END)
        return unpack_failed(path, code, size, *unpacked);
    return FV_OK;
}

static fv_status unpack_gzip(const char *path, const uint8_t *file, size_t size, uint8_t **bytes,
                             size_t *unpacked) {
    z_stream stream = {0};
    if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) /* 16: with gzip's header and checksum */
        return fv_fail(FV_MEMORY, "%s: out of memory while unpacking", path);
    fv_status status = unpack_stream(path, &stream, file, size, bytes, unpacked);
    inflateEnd(&stream);
    return status;
}
#else
static fv_status unpack_gzip(const char *path, const uint8_t *file, size_t size, uint8_t **bytes,
                             size_t *unpacked) {
    (void)file, (void)size, (void)bytes, (void)unpacked;
    return fv_fail(FV_UNSUPPORTED,
                   "%s is gzipped, and this build reads no gzip files: build with -Dzlib=enabled, "
                   "or unpack it with gunzip",
                   path);
}
#endif

fv_status fv_read_idx(const char *path, int *rank, size_t sizes[4], uint8_t **bytes) {
    char *file = NULL;
    size_t size;
    fv_status status = fv_read_file(path, SIZE_MAX / 2, &file, &size);
    if (status)
        return status;
    uint8_t *whole = (uint8_t *)file;
    if (size >= 2 && whole[0] == 0x1f && whole[1] == 0x8b) {
        whole = NULL;
        status = unpack_gzip(path, (uint8_t *)file, size, &whole, &size);
        fv_free(file);
    }
    idx_header header = {0};
    if (!status)
        status = read_header(path, whole, size, &header);
    if (!status)
        status = check_length(path, &header, size);
    if (status) {
        fv_free(whole);
        return status;
    }
    memmove(whole, whole + header.start, header.count);
    *rank = header.rank;
    memcpy(sizes, header.sizes, sizeof header.sizes);
    *bytes = whole;
    return FV_OK;
}
