/* Reads and writes .npy files (numpy.lib.format: "\x93NUMPY", version, header length, a Python
 * dictionary of dtype, order and shape, the values). Called by data, by formats for the members of
 * .npz archives and, through fovea.h, by the command. */
#include "base/npy.h"
#include "base/alloc.h"
#include "base/file.h"
#include "base/half.h"
#include "base/status.h"
#include "base/text.h"
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are stored as they are in files");

enum { MAGIC_SIZE = 6, MAX_AXES = 5 };
static const unsigned char magic[MAGIC_SIZE] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

enum npy_type { NPY_F4, NPY_F8, NPY_F2, NPY_U1, NPY_I4, NPY_I8, NPY_TYPES };
static const char *const type_names[NPY_TYPES] = {"<f4", "<f8", "<f2", "|u1", "<i4", "<i8"};
static const char *const dtypes[NPY_TYPES] = {"F32", "F64", "F16", "U8", "I32", "I64"};
static const size_t type_sizes[NPY_TYPES] = {4, 8, 2, 1, 4, 8};

typedef struct npy_header {
    char descr[16];
    bool has_descr, has_order, has_shape;
    bool fortran;
    int rank;
    size_t sizes[MAX_AXES];
} npy_header;

/* ---- The dictionary ----------------------------------------------------------------------- */

typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_space(cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t'))
        c->at++;
}

/* Steps over `word`, and space before it, when it comes next. */
static bool accept(cursor *c, const char *word) {
    skip_space(c);
    size_t length = strlen(word);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0)
        return false;
    c->at += length;
    return true;
}

/* 'text' or "text", of less than 16 bytes. */
static bool read_string(cursor *c, char text[16]) {
    char quote = accept(c, "'") ? '\'' : '"';
    if (quote == '"' && !accept(c, "\""))
        return false;
    for (size_t length = 0; length < 16 && c->at < c->end; length++) {
        text[length] = *c->at++;
        if (text[length] == quote) {
            text[length] = 0;
            return true;
        }
    }
    return false;
}

static bool read_size(cursor *c, size_t *size) {
    skip_space(c);
    const char *start = c->at;
    *size = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        if (!fv_size_product(*size, 10, size) || !fv_sum(*size, (size_t)(*c->at - '0'), size))
            return false;
    return c->at > start;
}

/* "(60000, 28)", "(3,)", "()". */
static bool read_shape(cursor *c, npy_header *header) {
    if (!accept(c, "("))
        return false;
    for (header->rank = 0; !accept(c, ")"); header->rank++) {
        if (header->rank == MAX_AXES || !read_size(c, &header->sizes[header->rank]))
            return false;
        if (!accept(c, ","))
            return header->rank++, accept(c, ")");
    }
    return true;
}

static bool read_entry(cursor *c, npy_header *header) {
    char key[16];
    if (!read_string(c, key) || !accept(c, ":"))
        return false;
    bool *seen;
    bool good;
    if (strcmp(key, "descr") == 0) {
        seen = &header->has_descr;
        good = read_string(c, header->descr);
    } else if (strcmp(key, "fortran_order") == 0) {
        seen = &header->has_order;
        header->fortran = accept(c, "True");
        good = header->fortran || accept(c, "False");
    } else if (strcmp(key, "shape") == 0) {
        seen = &header->has_shape;
        good = read_shape(c, header);
    } else {
        return false;
    }
    good = good && !*seen;
    *seen = true;
    return good;
}

static bool read_dictionary(cursor *c, npy_header *header) {
    if (!accept(c, "{"))
        return false;
    while (!accept(c, "}")) {
        if (!read_entry(c, header))
            return false;
        if (!accept(c, ",")) {
            if (!accept(c, "}"))
                return false;
            break;
        }
    }
    skip_space(c);
    return c->at == c->end && header->has_descr && header->has_order && header->has_shape;
}

/* ---- Reading ------------------------------------------------------------------------------ */

/* Where the dictionary lies: *length bytes from *start on. */
static fv_status find_dictionary(const char *path, const unsigned char *bytes, size_t there,
                                 size_t size, size_t *start, size_t *length) {
    if (there < MAGIC_SIZE + 4 || memcmp(bytes, magic, MAGIC_SIZE) != 0)
        return fv_fail(FV_FORMAT, "%s: not a .npy file: it does not begin with \\x93NUMPY", path);
    int version = bytes[MAGIC_SIZE];
    if (version < 1 || version > 3)
        return fv_fail(FV_FORMAT, "%s: .npy version %d, expected 1 to 3", path, version);
    *start = version == 1 ? MAGIC_SIZE + 4 : MAGIC_SIZE + 6;
    if (there < *start)
        return fv_fail(FV_FORMAT, "%s: cut off inside its header: %zu bytes", path, size);
    *length = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    if (version > 1)
        *length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (*length > size - *start)
        return fv_fail(FV_FORMAT, "%s: its header says it has %zu bytes, but only %zu follow", path,
                       *length, size - *start);
    return *length <= there - *start
               ? FV_OK
               : fv_fail(FV_UNSUPPORTED, "%s: a header of %zu bytes is too long for an array", path,
                         *length);
}

/* Checks all up to the values, which begin at *start. */
static fv_status read_header(const char *path, const unsigned char *bytes, size_t there,
                             size_t size, npy_header *header, size_t *start) {
    size_t length = 0;
    fv_status status = find_dictionary(path, bytes, there, size, start, &length);
    if (status)
        return status;
    cursor c = {(const char *)bytes + *start, (const char *)bytes + *start + length};
    *start += length;
    if (!read_dictionary(&c, header))
        return fv_fail(FV_FORMAT,
                       "%s: its header is damaged or not that of one array of numbers with at most "
                       "%d axes: expected {'descr': '<f4', 'fortran_order': False, 'shape': (2, "
                       "3)}",
                       path, MAX_AXES);
    return FV_OK;
}

/* How many values of which type; refuses what is not read here. */
static fv_status check_header(const char *path, const npy_header *header, size_t bytes,
                              fv_npy_layout *layout) {
    int type = 0;
    while (type < NPY_TYPES && strcmp(header->descr, type_names[type]) != 0)
        type++;
    if (type == NPY_TYPES)
        return fv_fail(FV_UNSUPPORTED,
                       "%s: dtype '%s' is not read (float16, float32, float64, uint8, int32 and "
                       "int64 are); save it as x.astype('float32')",
                       path, header->descr);
    if (header->fortran)
        return fv_fail(FV_UNSUPPORTED,
                       "%s: the array is in Fortran order; save it as numpy.ascontiguousarray(x)",
                       path);
    size_t needed = type_sizes[type];
    for (int axis = 0; axis < header->rank; axis++) {
        if (header->sizes[axis] == 0)
            return fv_fail(FV_FORMAT, "%s: the array is empty: axis %d has size 0", path, axis);
        if (!fv_size_product(needed, header->sizes[axis], &needed))
            return fv_fail(FV_FORMAT, "%s: its shape is of more values than any memory holds",
                           path);
    }
    if (needed != bytes)
        return fv_fail(FV_FORMAT,
                       "%s: %s: its header says that %zu bytes of values follow, found %zu", path,
                       bytes < needed ? "cut off" : "goes on after its end", needed, bytes);
    layout->type = type;
    layout->dtype = dtypes[type];
    layout->value_size = type_sizes[type];
    layout->count = needed / type_sizes[type];
    return FV_OK;
}

fv_status fv_npy_read_layout(const char *path, const unsigned char *bytes, size_t there,
                             size_t size, fv_npy_layout *layout) {
    npy_header header = {0};
    fv_status status = read_header(path, bytes, there, size, &header, &layout->start);
    if (!status)
        status = check_header(path, &header, size - layout->start, layout);
    layout->rank = header.rank;
    memcpy(layout->sizes, header.sizes, sizeof header.sizes);
    return status;
}

static float read_value(const unsigned char *bytes, int type) {
    float single;
    double value;
    uint16_t half;
    int32_t word;
    int64_t number;
    switch (type) {
    case NPY_F4:
        memcpy(&single, bytes, sizeof single);
        return single;
    case NPY_F8:
        memcpy(&value, bytes, sizeof value);
        return (float)value;
    case NPY_F2:
        memcpy(&half, bytes, sizeof half);
        return fv_half_to_float(half);
    case NPY_I4:
        memcpy(&word, bytes, sizeof word);
        return (float)word;
    case NPY_I8:
        memcpy(&number, bytes, sizeof number);
        return (float)number;
    default:
        return bytes[0];
    }
}

void fv_npy_to_floats(const fv_npy_layout *layout, size_t count, const unsigned char *bytes,
                      float *values) {
    for (size_t i = 0; i < count; i++)
        values[i] = read_value(bytes + i * layout->value_size, layout->type);
}

fv_status fv_decode_npy(const char *path, const unsigned char *file, size_t size, int *rank,
                        size_t sizes[5], float **values) {
    fv_npy_layout layout;
    fv_status status = fv_npy_read_layout(path, file, size, size, &layout);
    if (status)
        return status;
    float *array = fv_alloc(layout.count, sizeof *array);
    if (!array)
        return FV_MEMORY;
    fv_npy_to_floats(&layout, layout.count, file + layout.start, array);
    *rank = layout.rank;
    memcpy(sizes, layout.sizes, sizeof layout.sizes);
    *values = array;
    return FV_OK;
}

fv_status fv_read_npy(const char *path, int *rank, size_t sizes[5], float **values) {
    char *file;
    size_t size;
    fv_status status = fv_read_file(path, SIZE_MAX / 2, &file, &size);
    if (status)
        return status;
    status = fv_decode_npy(path, (const unsigned char *)file, size, rank, sizes, values);
    fv_free(file);
    return status;
}

fv_status fv_read_npy_values(const char *path, fv_npy *array) {
    char *file;
    size_t size;
    fv_npy_layout layout;
    fv_status status = fv_read_file(path, SIZE_MAX / 2, &file, &size);
    if (status)
        return status;
    unsigned char *bytes = (unsigned char *)file;
    status = fv_npy_read_layout(path, bytes, size, size, &layout);
    if (status) {
        fv_free(file);
        return status;
    }
    *array = (fv_npy){.rank = layout.rank};
    memcpy(array->sizes, layout.sizes, sizeof layout.sizes);
    if (layout.type == NPY_U1) {
        array->bytes = memmove(bytes, bytes + layout.start, layout.count);
        return FV_OK;
    }
    if (layout.value_size < sizeof(float)) { /* half as much room as floats need */
        status = fv_decode_npy(path, bytes, size, &array->rank, array->sizes, &array->floats);
        fv_free(file);
        return status;
    }
    /* Else a float takes no more room than a value of the file, and is written in front of it. */
    for (size_t i = 0; i < layout.count; i++) {
        float value = read_value(bytes + layout.start + i * layout.value_size, layout.type);
        memcpy(bytes + i * sizeof value, &value, sizeof value);
    }
    array->floats = (void *)bytes;
    return FV_OK;
}

/* ---- Writing ------------------------------------------------------------------------------ */

/* The file up to the values: as NumPy pads it, a multiple of 64 bytes, the last a newline. */
static char *make_header(int rank, const size_t *sizes, size_t *length) {
    fv_text text = {0};
    fv_text_add_bytes(&text, (const char *)magic, MAGIC_SIZE);
    fv_text_add_bytes(&text, "\1\0\0\0", 4); /* version 1.0, header length */
    fv_text_add(&text, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int axis = 0; axis < rank; axis++)
        fv_text_add(&text, axis ? ", %zu" : "%zu", sizes[axis]);
    fv_text_add(&text, rank == 1 ? ",), }" : "), }");
    *length = fv_round_up(text.size + 1, 64);
    fv_text_add(&text, "%*s\n", (int)(*length - text.size - 1), "");
    char *header = fv_text_take(&text);
    if (header) {
        header[8] = (char)((*length - 10) & 0xff);
        header[9] = (char)((*length - 10) >> 8);
    }
    return header;
}

fv_status fv_write_npy(const char *path, int rank, const size_t *sizes, const float *values) {
    if (rank < 0 || rank > MAX_AXES)
        return fv_fail(FV_INVALID, "%s: an array of %d axes; at most %d can be written", path, rank,
                       MAX_AXES);
    size_t bytes = sizeof *values;
    for (int axis = 0; axis < rank; axis++)
        if (sizes[axis] == 0 || !fv_size_product(bytes, sizes[axis], &bytes))
            return fv_fail(FV_INVALID, "%s: axis %d of size %zu makes the array empty or too large",
                           path, axis, sizes[axis]);
    size_t length;
    char *header = make_header(rank, sizes, &length);
    if (!header)
        return FV_MEMORY;
    fv_writer writer;
    fv_status status = fv_writer_open(&writer, path);
    if (!status) {
        fv_write(&writer, header, length);
        fv_write(&writer, values, bytes);
        status = fv_writer_commit(&writer);
    }
    fv_free(header);
    return status;
}
