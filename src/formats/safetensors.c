/* The safetensors container (github.com/huggingface/safetensors, README "Format"): 8 bytes of
 * header length, a JSON header, the tensors' bytes, all little-endian. Nothing in a file is trusted
 * before it is checked. Called by model.c and by train's checkpoints. */
#include "base/alloc.h"
#include "base/status.h"
#include "formats/formats.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#ifdef FV_HAVE_JSON
#include <jansson.h>
#endif

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are mapped as they are stored");

void fv_tensors_close(fv_tensors *tensors) {
    for (size_t i = 0; i < tensors->count; i++)
        fv_free(tensors->entries[i].name);
    for (size_t i = 0; i < tensors->metadata_count; i++) {
        fv_free(tensors->keys[i]);
        fv_free(tensors->values[i]);
    }
    fv_free(tensors->entries);
    fv_free(tensors->keys);
    fv_free(tensors->values);
    fv_unmap_file(&tensors->mapping);
    fv_file_close(&tensors->file);
    *tensors = (fv_tensors){0};
}

const fv_tensor_entry *fv_tensors_find(const fv_tensors *tensors, const char *name) {
    for (size_t i = 0; i < tensors->count; i++)
        if (strcmp(tensors->entries[i].name, name) == 0)
            return &tensors->entries[i];
    return NULL;
}

const char *fv_tensors_metadata(const fv_tensors *tensors, const char *key) {
    for (size_t i = 0; i < tensors->metadata_count; i++)
        if (strcmp(tensors->keys[i], key) == 0)
            return tensors->values[i];
    return NULL;
}

#ifdef FV_HAVE_JSON

enum { HEADER_LIMIT = 100000000, LENGTH_SIZE = 8, HEADER_ALIGNMENT = 8, SHOWN_SIZE = 100 };
enum { MOST_AXES = 8 }; /* of fv_tensor_entry.size */

static const char metadata_name[] = "__metadata__";

typedef struct dtype {
    const char *name;
    size_t bits;
} dtype;

static const dtype dtypes[] = {
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},   {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"I16", 16}, {"U16", 16},
    {"F16", 16},    {"BF16", 16},   {"I32", 32},    {"U32", 32},        {"F32", 32}, {"C64", 64},
    {"F64", 64},    {"I64", 64},    {"U64", 64},    {"F8_E5M2FNUZ", 8}};

/* Bits of one value; 0 for a name that is no dtype. */
static size_t dtype_bits(const char *name) {
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return dtypes[i].bits;
    return 0;
}

/* Bytes of `count` values; false where they overflow or are no whole number of bytes. */
static bool value_bytes(size_t count, size_t bits, size_t *bytes) {
    size_t total;
    if (!fv_size_product(count, bits, &total) || total % 8 != 0)
        return false;
    *bytes = total / 8;
    return true;
}

/* Text from a file, made fit for a message: printable and short. Returns `shown`. */
static const char *show(const char *text, char shown[SHOWN_SIZE]) {
    size_t i = 0;
    for (; text[i] != 0 && i < SHOWN_SIZE - 1; i++)
        shown[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    shown[i] = 0;
    return shown;
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* Checks the first 8 bytes and gives the size of the JSON that follows them. */
static fv_status header_size(const fv_file *file, size_t *size) {
    /* And the first of the header, where there is one. */
    unsigned char bytes[LENGTH_SIZE + 1] = {0};
    size_t there = file->size < sizeof bytes ? file->size : sizeof bytes;
    int error = fv_file_read(file, 0, there, bytes);
    if (error)
        return fv_file_failed(file, error);
    if (file->size < LENGTH_SIZE)
        return fv_fail(FV_FORMAT,
                       "%zu bytes are too few for a safetensors file: it was cut short, or is of "
                       "another format",
                       file->size);
    uint64_t length = 0;
    for (int i = LENGTH_SIZE - 1; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > HEADER_LIMIT)
        return fv_fail(FV_FORMAT,
                       "header length %" PRIu64 ", expected at most %d: the file is damaged, or "
                       "not safetensors",
                       length, HEADER_LIMIT);
    if (length > file->size - LENGTH_SIZE)
        return fv_fail(FV_FORMAT,
                       "a header of %" PRIu64 " bytes is announced but only %zu follow: the file "
                       "was cut short",
                       length, file->size - LENGTH_SIZE);
    if (length == 0 || bytes[LENGTH_SIZE] != '{')
        return fv_fail(FV_FORMAT, "the header does not begin with {, expected a JSON object: the "
                                  "file is damaged, or not safetensors");
    *size = (size_t)length;
    return FV_OK;
}

/* The value of a JSON whole number from 0 up that fits; false for anything else. */
static bool read_size(const json_t *json, size_t *size) {
    json_int_t value = json_integer_value(json);
    *size = (size_t)value;
    return json_is_integer(json) && value >= 0 && (json_int_t)*size == value;
}

static fv_status read_shape(const json_t *json, fv_tensor_entry *entry) {
    if (!json_is_array(json))
        return fv_fail(FV_FORMAT, "no shape, expected \"shape\": [sizes]");
    if (json_array_size(json) > MOST_AXES)
        return fv_fail(FV_FORMAT, "a shape of %zu axes, expected at most %d", json_array_size(json),
                       MOST_AXES);
    entry->rank = (int)json_array_size(json);
    entry->count = 1;
    for (int i = 0; i < entry->rank; i++) {
        if (!read_size(json_array_get(json, (size_t)i), &entry->size[i]))
            return fv_fail(FV_FORMAT, "shape[%d] is no whole number from 0 up", i);
        if (!fv_size_product(entry->count, entry->size[i], &entry->count))
            return fv_fail(FV_FORMAT, "the product of the shape is too large for this machine");
    }
    return FV_OK;
}

/* data_offsets: [begin, end) in the data, which must be as long as shape and dtype say. */
static fv_status read_offsets(const json_t *json, size_t expected, size_t data_size,
                              size_t *begin) {
    size_t end;
    if (json_array_size(json) != 2 || !read_size(json_array_get(json, 0), begin) ||
        !read_size(json_array_get(json, 1), &end))
        return fv_fail(FV_FORMAT, "data_offsets are no two whole numbers from 0 up, expected "
                                  "\"data_offsets\": [begin, end]");
    if (end < *begin || end - *begin != expected)
        return fv_fail(FV_FORMAT,
                       "data_offsets [%zu, %zu] do not fit shape and dtype, expected %zu bytes",
                       *begin, end, expected);
    if (end > data_size)
        return fv_fail(FV_FORMAT,
                       "data_offsets [%zu, %zu] go past the end of the data, expected at most %zu: "
                       "the file was cut short or is damaged",
                       *begin, end, data_size);
    return FV_OK;
}

static fv_status read_entry(const json_t *json, const unsigned char *data, size_t data_size,
                            fv_tensor_entry *entry) {
    char shown[SHOWN_SIZE];
    const char *type = json_string_value(json_object_get(json, "dtype"));
    if (type == NULL)
        return fv_fail(FV_FORMAT, "no dtype, expected {\"dtype\": ..., \"shape\": ..., "
                                  "\"data_offsets\": ...}");
    size_t bits = dtype_bits(type);
    if (bits == 0)
        return fv_fail(FV_FORMAT,
                       "dtype \"%s\" is not known, expected F32, F64, I64 or another "
                       "of the format's",
                       show(type, shown));
    memcpy(entry->dtype, type, strlen(type) + 1);
    fv_status status = read_shape(json_object_get(json, "shape"), entry);
    if (status != FV_OK)
        return status;
    size_t bytes = 0, begin = 0;
    if (!value_bytes(entry->count, bits, &bytes))
        return fv_fail(FV_FORMAT, "%zu values of %zu bits are too many, or no whole bytes",
                       entry->count, bits);
    status = read_offsets(json_object_get(json, "data_offsets"), bytes, data_size, &begin);
    if (status == FV_OK)
        entry->bytes = data + begin;
    return status;
}

static fv_status read_metadata(json_t *json, fv_tensors *tensors) {
    if (!json_is_object(json))
        return fv_fail(FV_FORMAT, "%s is no object, expected texts by name", metadata_name);
    size_t size = json_object_size(json);
    tensors->keys = fv_alloc(size, sizeof *tensors->keys);
    tensors->values = fv_alloc(size, sizeof *tensors->values);
    if (tensors->keys == NULL || tensors->values == NULL)
        return FV_MEMORY;
    const char *key;
    json_t *value;
    json_object_foreach(json, key, value) {
        char shown[SHOWN_SIZE];
        if (!json_is_string(value))
            return fv_fail(FV_FORMAT, "%s \"%s\" is no text, expected a string", metadata_name,
                           show(key, shown));
        size_t i = tensors->metadata_count++;
        tensors->keys[i] = fv_copy_string(key);
        tensors->values[i] = fv_copy_string(json_string_value(value));
        if (tensors->keys[i] == NULL || tensors->values[i] == NULL)
            return FV_MEMORY;
    }
    return FV_OK;
}

/* By place in the file; an empty tensor comes before the one that begins where it does. */
static int compare_places(const void *left, const void *right) {
    const fv_tensor_entry *a = left, *b = right;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? -1 : 1;
    if ((a->count == 0) != (b->count == 0))
        return a->count == 0 ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* Sorts the entries by place and checks that they fill the data: no holes, no overlaps. */
static fv_status check_places(fv_tensors *tensors, const unsigned char *data, size_t data_size) {
    char shown[SHOWN_SIZE];
    qsort(tensors->entries, tensors->count, sizeof *tensors->entries, compare_places);
    size_t end = 0;
    for (size_t i = 0; i < tensors->count; i++) {
        const fv_tensor_entry *entry = &tensors->entries[i];
        size_t begin = (size_t)(entry->bytes - data), bytes = 0;
        if (begin != end)
            return fv_fail(FV_FORMAT,
                           "tensor \"%s\": data_offsets begin at %zu, expected %zu, where the "
                           "tensor before it ends: %s, the file is damaged",
                           show(entry->name, shown), begin, end,
                           begin > end ? "a hole" : "an overlap");
        value_bytes(entry->count, dtype_bits(entry->dtype), &bytes);
        end += bytes;
    }
    if (end != data_size)
        return fv_fail(FV_FORMAT,
                       "%zu bytes of data, expected the %zu that the tensors have: the file is "
                       "damaged",
                       data_size, end);
    return FV_OK;
}

static fv_status read_header(json_t *root, const unsigned char *data, size_t data_size,
                             fv_tensors *tensors) {
    char shown[SHOWN_SIZE];
    tensors->entries = fv_alloc(json_object_size(root), sizeof *tensors->entries);
    if (tensors->entries == NULL)
        return FV_MEMORY;
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value) {
        fv_status status;
        if (strcmp(name, metadata_name) == 0) {
            status = read_metadata(value, tensors);
        } else {
            fv_tensor_entry *entry = &tensors->entries[tensors->count++];
            entry->name = fv_copy_string(name);
            status = entry->name == NULL ? FV_MEMORY : read_entry(value, data, data_size, entry);
            if (status != FV_OK)
                fv_fail_in(status, "tensor \"%s\"", show(name, shown));
        }
        if (status != FV_OK)
            return status;
    }
    return check_places(tensors, data, data_size);
}

/* Reads the JSON of the header, `size` bytes. */
static fv_status load_header(const fv_file *file, size_t size, json_t **root) {
    char *text = fv_alloc(size, 1);
    if (text == NULL)
        return FV_MEMORY;
    int failed = fv_file_read(file, LENGTH_SIZE, size, text);
    /* jansson refuses to nest deeper than its JSON_PARSER_MAX_DEPTH (2,048). */
    json_error_t error;
    *root = failed ? NULL : json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    fv_free(text);
    if (failed)
        return fv_file_failed(file, failed);
    if (*root == NULL) {
        char shown[SHOWN_SIZE];
        return fv_fail(FV_FORMAT, "the header is not valid JSON: byte %d: %s: the file is damaged",
                       error.position, show(error.text, shown));
    }
    return FV_OK;
}

static fv_status read_file(fv_tensors *tensors) {
    const fv_mapping *file = &tensors->mapping;
    size_t size = 0;
    json_t *root = NULL;
    fv_status status = header_size(&tensors->file, &size);
    if (status == FV_OK)
        status = load_header(&tensors->file, size, &root);
    if (status != FV_OK)
        return status;
    size_t data = LENGTH_SIZE + size;
    status = read_header(root, file->bytes + data, file->size - data, tensors);
    json_decref(root);
    return status;
}

fv_status fv_tensors_open(const char *path, fv_tensors *tensors) {
    *tensors = (fv_tensors){0};
    fv_status status = fv_file_open(&tensors->file, path);
    if (status == FV_OK)
        status = fv_map_open_file(&tensors->file, &tensors->mapping);
    if (status != FV_OK) {
        fv_tensors_close(tensors);
        return status;
    }
    status = read_file(tensors);
    if (status != FV_OK) {
        fv_fail_in(status, "%s", path);
        fv_tensors_close(tensors);
    }
    return status;
}

/* ---- Writing --------------------------------------------------------------------------------- */

/* As the format's own writer orders them: larger dtypes first, so that all are aligned; then by
 * name. */
static int compare_entries(const void *left, const void *right) {
    const fv_tensor_entry *a = left, *b = right;
    size_t a_bits = dtype_bits(a->dtype), b_bits = dtype_bits(b->dtype);
    if (a_bits != b_bits)
        return a_bits > b_bits ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* The bytes of an entry that is to be written; FV_INVALID when its facts do not fit together. */
static fv_status entry_bytes(const fv_tensor_entry *entry, size_t *bytes) {
    size_t bits = dtype_bits(entry->dtype), count = 1;
    bool good = bits != 0 && entry->rank >= 0 && entry->rank <= MOST_AXES;
    for (int i = 0; good && i < entry->rank; i++)
        good = fv_size_product(count, entry->size[i], &count);
    if (!good || count != entry->count || !value_bytes(count, bits, bytes) ||
        strcmp(entry->name, metadata_name) == 0)
        return fv_fail(FV_INVALID,
                       "tensor \"%s\": name, dtype \"%s\", shape and count %zu do not "
                       "make a tensor",
                       entry->name, entry->dtype, entry->count);
    return FV_OK;
}

static json_t *entry_json(const fv_tensor_entry *entry, size_t begin, size_t end) {
    json_t *shape = json_array();
    bool good = shape != NULL;
    for (int i = 0; good && i < entry->rank; i++)
        good = json_array_append_new(shape, json_integer((json_int_t)entry->size[i])) == 0;
    if (!good) {
        json_decref(shape);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", entry->dtype, "shape", shape, "data_offsets",
                     (json_int_t)begin, (json_int_t)end);
}

static fv_status add_entries(json_t *root, const fv_tensor_entry *sorted, size_t count) {
    size_t end = 0;
    for (size_t i = 0; i < count; i++) {
        size_t begin = end, bytes = 0;
        fv_status status = entry_bytes(&sorted[i], &bytes);
        if (status != FV_OK)
            return status;
        if (json_object_get(root, sorted[i].name) != NULL)
            return fv_fail(FV_INVALID, "two tensors are named \"%s\"", sorted[i].name);
        if (!fv_sum(begin, bytes, &end))
            return fv_fail(FV_INVALID, "the tensors are too large for one file");
        if (json_object_set_new(root, sorted[i].name, entry_json(&sorted[i], begin, end)) != 0)
            return fv_fail(FV_INVALID, "tensor \"%s\": the name is not UTF-8, or memory ran out",
                           sorted[i].name);
    }
    return FV_OK;
}

static fv_status add_metadata(json_t *root, const char *const *keys, const char *const *values,
                              size_t pairs) {
    json_t *metadata = json_object();
    if (json_object_set_new(root, metadata_name, metadata) != 0)
        return fv_fail(FV_MEMORY, "out of memory for the header");
    for (size_t i = 0; i < pairs; i++) {
        if (json_object_get(metadata, keys[i]) != NULL)
            return fv_fail(FV_INVALID, "two texts are named \"%s\"", keys[i]);
        if (json_object_set_new(metadata, keys[i], json_string(values[i])) != 0)
            return fv_fail(FV_INVALID, "text \"%s\" is not UTF-8, or memory ran out", keys[i]);
    }
    return FV_OK;
}

/* The length and the header, padded with spaces; the caller frees *bytes. */
static fv_status header_bytes(const json_t *root, char **bytes, size_t *size) {
    const size_t flags = JSON_COMPACT | JSON_SORT_KEYS;
    size_t length = json_dumpb(root, NULL, 0, flags),
           padded = fv_round_up(length, HEADER_ALIGNMENT);
    if (length == 0)
        return fv_fail(FV_MEMORY, "out of memory for the header");
    if (padded > HEADER_LIMIT)
        return fv_fail(FV_INVALID, "a header of %zu bytes, the format allows %d: shorten the texts",
                       padded, HEADER_LIMIT);
    char *text = fv_alloc(LENGTH_SIZE + padded, 1);
    if (text == NULL)
        return FV_MEMORY;
    for (int i = 0; i < LENGTH_SIZE; i++)
        text[i] = (char)(padded >> (8 * i) & 0xff);
    memset(text + LENGTH_SIZE + length, ' ', padded - length);
    if (json_dumpb(root, text + LENGTH_SIZE, length, flags) != length) {
        fv_free(text);
        return fv_fail(FV_MEMORY, "out of memory for the header");
    }
    *bytes = text;
    *size = LENGTH_SIZE + padded;
    return FV_OK;
}

static fv_status write_file(const char *path, const char *header, size_t size,
                            const fv_tensor_entry *sorted, size_t count) {
    fv_writer writer;
    fv_status status = fv_writer_open(&writer, path);
    if (status != FV_OK)
        return status;
    fv_write(&writer, header, size);
    for (size_t i = 0; i < count; i++) {
        size_t bytes = 0;
        value_bytes(sorted[i].count, dtype_bits(sorted[i].dtype), &bytes);
        if (bytes > 0)
            fv_write(&writer, sorted[i].bytes, bytes);
    }
    return fv_writer_commit(&writer);
}

/* The header of the sorted entries, as header_bytes gives it. */
static fv_status make_header(const fv_tensor_entry *sorted, size_t count, const char *const *keys,
                             const char *const *values, size_t pairs, char **bytes, size_t *size) {
    json_t *root = json_object();
    fv_status status = root == NULL ? fv_fail(FV_MEMORY, "out of memory for the header") : FV_OK;
    if (status == FV_OK && pairs > 0)
        status = add_metadata(root, keys, values, pairs);
    if (status == FV_OK)
        status = add_entries(root, sorted, count);
    if (status == FV_OK)
        status = header_bytes(root, bytes, size);
    json_decref(root);
    return status;
}

fv_status fv_tensors_write(const char *path, const fv_tensor_entry *entries, size_t count,
                           const char *const *keys, const char *const *values, size_t pairs) {
    fv_tensor_entry *sorted = fv_alloc(count, sizeof *sorted);
    if (sorted == NULL)
        return FV_MEMORY;
    if (count > 0) {
        memcpy(sorted, entries, count * sizeof *sorted);
        qsort(sorted, count, sizeof *sorted, compare_entries);
    }
    char *header = NULL;
    size_t size = 0;
    fv_status status = make_header(sorted, count, keys, values, pairs, &header, &size);
    if (status != FV_OK)
        fv_fail_in(status, "%s", path);
    else
        status = write_file(path, header, size, sorted, count);
    fv_free(header);
    fv_free(sorted);
    return status;
}

#else

static fv_status no_json(const char *path) {
    return fv_fail(FV_UNSUPPORTED,
                   "%s: this build has no model files: build fovea with jansson (-Djson=enabled)",
                   path);
}

fv_status fv_tensors_open(const char *path, fv_tensors *tensors) {
    *tensors = (fv_tensors){0};
    return no_json(path);
}

fv_status fv_tensors_write(const char *path, const fv_tensor_entry *entries, size_t count,
                           const char *const *keys, const char *const *values, size_t pairs) {
    (void)entries, (void)count, (void)keys, (void)values, (void)pairs;
    return no_json(path);
}

#endif
