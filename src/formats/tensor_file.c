/* Reads tensors of .safetensors files and .npz archives (a zip of .npy arrays, stored or deflated).
 * The sizes that a file gives are checked against each other before anything is read by them; what
 * an archive's members unpack to is read piece by piece, and never more than their arrays have room
 * for. Called by load_weights.c. */
#include "formats/tensor_file.h"
#include "base/alloc.h"
#include "base/half.h"
#include "base/status.h"
#include <stdio.h>
#include <string.h>
#ifdef FV_HAVE_ZIP
#include <zip.h>
#endif

static bool has_suffix(const char *text, const char *suffix) {
    size_t size = strlen(text), tail = strlen(suffix);
    return size > tail && strcmp(text + size - tail, suffix) == 0;
}

bool fv_tensor_is_real(const fv_tensor_entry *entry) {
    static const char *const real_types[] = {"F32", "F64", "F16", "BF16"};
    bool found = false;
    for (size_t i = 0; i < sizeof real_types / sizeof *real_types; i++)
        found = found || strcmp(entry->dtype, real_types[i]) == 0;
    return found;
}

/* ---- safetensors: the mapped bytes, which need not be aligned ---------------------------------
 */

static void read_halves(const fv_tensor_entry *entry, bool brain, float *values) {
    for (size_t i = 0; i < entry->count; i++) {
        uint16_t bits;
        memcpy(&bits, entry->bytes + i * sizeof bits, sizeof bits);
        values[i] = brain ? fv_bfloat_to_float(bits) : fv_half_to_float(bits);
    }
}

static void read_doubles(const fv_tensor_entry *entry, float *values) {
    for (size_t i = 0; i < entry->count; i++) {
        double value;
        memcpy(&value, entry->bytes + i * sizeof value, sizeof value);
        values[i] = (float)value;
    }
}

static void read_mapped(const fv_tensor_entry *entry, float *values) {
    if (strcmp(entry->dtype, "F32") == 0)
        memcpy(values, entry->bytes, entry->count * sizeof *values);
    else if (strcmp(entry->dtype, "F64") == 0)
        read_doubles(entry, values);
    else
        read_halves(entry, strcmp(entry->dtype, "BF16") == 0, values);
}

/* ---- npz ------------------------------------------------------------------------------------- */

#ifdef FV_HAVE_ZIP

enum {
    MOST_MEMBERS = 100000,
    PIECE = 1 << 16,    /* bytes of a member that are unpacked at a time */
    HEADER_SIZE = 4096, /* an array's header is much shorter */
    MOST_NAME = 512,
};

static fv_status fail_member(const char *name, zip_file_t *member) {
    return fv_fail(FV_FORMAT, "member \"%.200s\" cannot be unpacked: %s", name,
                   member ? zip_file_strerror(member)
                          : "it is damaged, encrypted or packed by "
                            "another method than deflate");
}

/* Reads exactly `size` bytes. */
static bool read_exactly(zip_file_t *member, unsigned char *bytes, size_t size) {
    while (size > 0) {
        zip_int64_t read = zip_fread(member, bytes, size);
        if (read <= 0 || (size_t)read > size)
            return false;
        bytes += read;
        size -= (size_t)read;
    }
    return true;
}

/* What the member says of its array. */
static fv_status read_layout(zip_t *archive, zip_uint64_t index, const char *name, size_t size,
                             fv_npy_layout *layout) {
    unsigned char bytes[HEADER_SIZE];
    size_t there = size < HEADER_SIZE ? size : HEADER_SIZE;
    zip_file_t *member = zip_fopen_index(archive, index, 0);
    fv_status status = member && read_exactly(member, bytes, there)
                           ? fv_npy_read_layout(name, bytes, there, size, layout)
                           : fail_member(name, member);
    if (member)
        zip_fclose(member);
    return status;
}

/* Member `index`, NAME.npy, as a tensor NAME. */
static fv_status add_member(fv_tensor_file *file, zip_uint64_t index) {
    zip_stat_t about;
    const zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE;
    if (zip_stat_index(file->archive, index, 0, &about) != 0 || (about.valid & needed) != needed)
        return fv_fail(FV_FORMAT, "the archive's list of members is damaged");
    size_t length = strlen(about.name);
    if (!has_suffix(about.name, ".npy") || length > MOST_NAME || about.size > SIZE_MAX / 2)
        return fv_fail(FV_FORMAT,
                       "member \"%.200s\" is no array: expected NAME.npy, as numpy.savez "
                       "writes it",
                       about.name);
    size_t at = file->tensors.count;
    fv_npy_layout *layout = &file->layouts[at];
    fv_status status = read_layout(file->archive, index, about.name, (size_t)about.size, layout);
    if (status != FV_OK)
        return status;
    fv_tensor_entry *entry = &file->tensors.entries[at];
    entry->name = fv_copy_string(about.name);
    if (entry->name == NULL)
        return FV_MEMORY;
    entry->name[length - strlen(".npy")] = 0;
    snprintf(entry->dtype, sizeof entry->dtype, "%s", layout->dtype);
    entry->rank = layout->rank;
    memcpy(entry->size, layout->sizes, sizeof layout->sizes);
    entry->count = layout->count;
    file->members[at] = index;
    file->tensors.count++;
    return FV_OK;
}

static fv_status fail_archive(int error) {
    zip_error_t reason;
    zip_error_init_with_code(&reason, error);
    bool damaged = error == ZIP_ER_NOZIP || error == ZIP_ER_INCONS;
    fv_status status = fv_fail(error == ZIP_ER_MEMORY ? FV_MEMORY
                               : damaged              ? FV_FORMAT
                                                      : FV_IO,
                               "no archive that can be read: %s", zip_error_strerror(&reason));
    zip_error_fini(&reason);
    return status;
}

static fv_status open_archive(const char *path, fv_tensor_file *file) {
    int error;
    if (!fv_is_file(path))
        return fv_fail(FV_IO, "there is no such file");
    file->archive = zip_open(path, ZIP_RDONLY, &error);
    if (file->archive == NULL)
        return fail_archive(error);
    zip_int64_t count = zip_get_num_entries(file->archive, 0);
    if (count < 0 || count > MOST_MEMBERS)
        return fv_fail(FV_FORMAT, "an archive of %lld members; at most %d are read",
                       (long long)count, MOST_MEMBERS);
    file->tensors.entries = fv_alloc((size_t)count, sizeof *file->tensors.entries);
    file->members = fv_alloc((size_t)count, sizeof *file->members);
    file->layouts = fv_alloc((size_t)count, sizeof *file->layouts);
    file->piece = fv_alloc(PIECE, 1);
    bool whole = file->tensors.entries != NULL && file->members != NULL && file->layouts != NULL &&
                 file->piece != NULL;
    fv_status status = whole ? FV_OK : FV_MEMORY;
    for (zip_int64_t i = 0; i < count && status == FV_OK; i++)
        status = add_member(file, (zip_uint64_t)i);
    return status;
}

/* Unpacks the header, which was checked, and then the values, piece by piece. After the last byte
 * libzip compares the checksum. */
static bool unpack(zip_file_t *member, const fv_npy_layout *layout, unsigned char *piece,
                   float *values) {
    size_t most = PIECE / layout->value_size;
    bool good = read_exactly(member, piece, layout->start);
    for (size_t done = 0; good && done < layout->count;) {
        size_t count = layout->count - done < most ? layout->count - done : most;
        good = read_exactly(member, piece, count * layout->value_size);
        if (good)
            fv_npy_to_floats(layout, count, piece, values + done);
        done += count;
    }
    return good && zip_fread(member, piece, 1) == 0;
}

static fv_status read_member(const fv_tensor_file *file, size_t index, float *values) {
    const char *name = file->tensors.entries[index].name;
    zip_file_t *member = zip_fopen_index(file->archive, file->members[index], 0);
    fv_status status = member && unpack(member, &file->layouts[index], file->piece, values)
                           ? FV_OK
                           : fail_member(name, member);
    if (member)
        zip_fclose(member);
    return status;
}

static void close_archive(fv_tensor_file *file) {
    if (file->archive != NULL)
        zip_discard(file->archive);
}

#else

static fv_status open_archive(const char *path, fv_tensor_file *file) {
    (void)path, (void)file;
    return fv_fail(FV_UNSUPPORTED,
                   "this build reads no .npz files: build fovea with libzip (-Dzip=enabled)");
}

static fv_status read_member(const fv_tensor_file *file, size_t index, float *values) {
    (void)file, (void)index, (void)values;
    return FV_UNSUPPORTED;
}

static void close_archive(fv_tensor_file *file) {
    (void)file;
}

#endif

/* ---- Both ------------------------------------------------------------------------------------ */

fv_status fv_tensor_file_open(const char *path, fv_tensor_file *file) {
    *file = (fv_tensor_file){0};
    if (has_suffix(path, ".safetensors"))
        return fv_tensors_open(path, &file->tensors);
    if (!has_suffix(path, ".npz"))
        return fv_fail(FV_INVALID,
                       "%s: weights are read from files that end in .safetensors or .npz", path);
    fv_status status = open_archive(path, file);
    if (status != FV_OK) {
        fv_fail_in(status, "%s", path);
        fv_tensor_file_close(file);
    }
    return status;
}

void fv_tensor_file_close(fv_tensor_file *file) {
    close_archive(file);
    fv_tensors_close(&file->tensors);
    fv_free(file->members);
    fv_free(file->layouts);
    fv_free(file->piece);
    *file = (fv_tensor_file){0};
}

fv_status fv_tensor_file_read(const fv_tensor_file *file, size_t index, float *values) {
    if (file->archive != NULL)
        return read_member(file, index, values);
    read_mapped(&file->tensors.entries[index], values);
    return FV_OK;
}
