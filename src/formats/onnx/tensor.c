/* The numbers of an ONNX model: element types, and data in files beside the model. Called by
 * read.c and the importer. */
#include "base/alloc.h"
#include "base/half.h"
#include "base/status.h"
#include "base/text.h"
#include "formats/onnx/model.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

size_t fv_onnx_width(int type) {
    switch ((fv_onnx_type)type) {
    case FV_ONNX_UINT8:
    case FV_ONNX_INT8:
    case FV_ONNX_BOOL:
        return 1;
    case FV_ONNX_UINT16:
    case FV_ONNX_INT16:
    case FV_ONNX_FLOAT16:
    case FV_ONNX_BFLOAT16:
        return 2;
    case FV_ONNX_FLOAT:
    case FV_ONNX_INT32:
    case FV_ONNX_UINT32:
        return 4;
    case FV_ONNX_DOUBLE:
    case FV_ONNX_INT64:
    case FV_ONNX_UINT64:
        return 8;
    }
    return 0;
}

double fv_onnx_element(const fv_onnx_tensor *tensor, size_t i) {
    size_t width = fv_onnx_width(tensor->type);
    uint64_t bits = 0;
    memcpy(&bits, tensor->bytes + i * width, width); /* little-endian, as this machine is */
    switch ((fv_onnx_type)tensor->type) {
    case FV_ONNX_FLOAT:
        return fv_float_of_bits((uint32_t)bits);
    case FV_ONNX_DOUBLE: {
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    case FV_ONNX_FLOAT16:
        return fv_half_to_float((uint16_t)bits);
    case FV_ONNX_BFLOAT16:
        return fv_bfloat_to_float((uint16_t)bits);
    case FV_ONNX_INT8:
        return (int8_t)bits;
    case FV_ONNX_INT16:
        return (int16_t)bits;
    case FV_ONNX_INT32:
        return (int32_t)bits;
    case FV_ONNX_INT64:
        return (double)(int64_t)bits;
    case FV_ONNX_BOOL:
        return bits != 0;
    case FV_ONNX_UINT8:
    case FV_ONNX_UINT16:
    case FV_ONNX_UINT32:
    case FV_ONNX_UINT64:
        break;
    }
    return (double)bits;
}

void fv_onnx_to_floats(const fv_onnx_tensor *tensor, float *values) {
    if (tensor->type == FV_ONNX_FLOAT && tensor->count > 0)
        memcpy(values, tensor->bytes, tensor->count * sizeof *values);
    for (size_t i = 0; tensor->type != FV_ONNX_FLOAT && i < tensor->count; i++)
        values[i] = (float)fv_onnx_element(tensor, i);
}

fv_status fv_onnx_count(fv_onnx_tensor *tensor) {
    const size_t most = (size_t)1 << 56;
    size_t sizes = 1; /* without those of 0, as importers multiply some of them only */
    bool none = false;
    for (int a = 0; a < tensor->rank; a++) {
        size_t size = tensor->size[a] > 0 ? (size_t)tensor->size[a] : 1;
        if (tensor->size[a] < 0 || !fv_size_product(sizes, size, &sizes) || sizes > most)
            return fv_fail(FV_FORMAT, "tensor \"%.100s\": its sizes are negative or too large",
                           tensor->name);
        none = none || tensor->size[a] == 0;
    }
    tensor->count = none ? 0 : sizes;
    return FV_OK;
}

/* ---- Data beside the model ------------------------------------------------------------------ */

static bool leaves_folder(const char *location) {
    if (location[0] == '/' || location[0] == 0)
        return true;
    for (const char *part = location; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == 0))
            return true;
    }
    return false;
}

/* Whether the file that `path` leads to, by links too, lies in the folder that `folder` leads to.
 */
static bool lies_in(const char *path, const char *folder) {
    char *real_path = realpath(path, NULL), *real_folder = realpath(folder, NULL);
    size_t size = real_folder ? strlen(real_folder) : 0;
    bool inside = real_path && real_folder && strncmp(real_path, real_folder, size) == 0 &&
                  (real_path[size] == '/' || strcmp(real_folder, "/") == 0);
    free(real_path);
    free(real_folder);
    return inside;
}

/* Into *path, which the caller frees, where the location lies; it is checked. */
static fv_status find_beside(const char *model, const char *location, char **path) {
    const char *slash = strrchr(model, '/');
    size_t size = slash ? (size_t)(slash - model) + 1 : 0;
    fv_text folder = {0}, text = {0};
    fv_text_add_bytes(&folder, model, size);
    fv_text_add(&folder, "%s", size > 0 ? "" : "./");
    fv_text_add_bytes(&text, folder.bytes ? folder.bytes : "", folder.size);
    fv_text_add(&text, "%s", location);
    *path = folder.failed ? NULL : fv_text_take(&text);
    fv_text_free(&text);
    fv_status status = *path ? FV_OK : FV_MEMORY;
    if (status == FV_OK && fv_is_file(*path) && !lies_in(*path, folder.bytes))
        status = fv_fail(FV_FORMAT,
                         "external data in \"%.200s\": a link that leads out of the model's folder "
                         "(copy the file into it)",
                         location);
    fv_text_free(&folder);
    return status;
}

static fv_status open_beside(fv_onnx_model *model, const char *location, fv_onnx_file **found) {
    for (size_t i = 1; i < model->file_count; i++)
        if (strcmp(model->files[i].location, location) == 0) {
            *found = &model->files[i];
            return FV_OK;
        }
    if (leaves_folder(location))
        return fv_fail(FV_FORMAT,
                       "external data in \"%.200s\": only files in the model's own folder are read "
                       "(move it there)",
                       location);
    void *files = fv_arena_grow(&model->arena, model->files, model->file_count,
                                &model->file_capacity, sizeof *model->files);
    if (!files)
        return FV_MEMORY;
    model->files = files;
    fv_onnx_file *file = &model->files[model->file_count];
    *file = (fv_onnx_file){.location = fv_arena_text(&model->arena, location, strlen(location))};
    char *path = NULL;
    fv_status status = file->location ? find_beside(model->path, location, &path) : FV_MEMORY;
    if (status == FV_OK)
        status = fv_map_file(path, &file->mapping);
    model->file_count += status == FV_OK;
    fv_free(path);
    *found = file;
    return status;
}

fv_status fv_onnx_external(fv_onnx_model *model, const char *location, size_t offset, size_t size,
                           const unsigned char **bytes, size_t *found) {
    fv_onnx_file *file = NULL;
    fv_status status = open_beside(model, location, &file);
    if (status != FV_OK)
        return status;
    size_t all = file->mapping.size;
    if (offset > all || (size != SIZE_MAX && size > all - offset))
        return fv_fail(FV_FORMAT,
                       "external data in \"%.200s\": the file has %zu bytes, and the model wants "
                       "them from byte %zu on (it was cut short, or is another model's)",
                       location, all, offset);
    *bytes = file->mapping.bytes + offset;
    *found = size == SIZE_MAX ? all - offset : size;
    return FV_OK;
}
