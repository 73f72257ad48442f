/* Names in folders and in text files, for the readers of data sets. Called by folder.c, cifar.c and
 * picture_folder.c. */
#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"
#include "base/text.h"
#include "data/data.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

char *fv_join_path(const char *folder, const char *name) {
    fv_text text = {0};
    fv_text_add(&text, "%s/%s", folder, name);
    return fv_text_take(&text);
}

void fv_free_names(fv_names *names) {
    fv_free(names->items);
    fv_free(names->text);
    *names = (fv_names){0};
}

/* The names in `text`, each with a 0 behind it; takes the text over, also where it fails. */
static fv_status split_names(fv_text *text, size_t count, fv_names *names) {
    *names = (fv_names){.text = fv_text_take(text)};
    names->items = fv_alloc(count, sizeof *names->items);
    if (!names->text || !names->items) {
        fv_free_names(names);
        return FV_MEMORY;
    }
    for (const char *name = names->text; names->count < count; name += strlen(name) + 1)
        names->items[names->count++] = name;
    return FV_OK;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

fv_status fv_list_names(const char *folder, bool (*wanted)(int folder, const char *name),
                        fv_names *names) {
    *names = (fv_names){0};
    DIR *directory = opendir(folder);
    if (!directory)
        return fv_fail(FV_IO, "cannot read the folder %s: %s", folder, strerror(errno));
    fv_text text = {0};
    size_t count = 0;
    struct dirent *entry;
    while ((entry = readdir(directory)))
        if (entry->d_name[0] != '.' && wanted(dirfd(directory), entry->d_name)) {
            fv_text_add_bytes(&text, entry->d_name, strlen(entry->d_name) + 1);
            count++;
        }
    closedir(directory);
    fv_status status = split_names(&text, count, names);
    if (!status)
        qsort(names->items, names->count, sizeof *names->items, compare_names);
    return status;
}

/* Adds a line without the blanks at its ends, unless nothing is left. */
static size_t add_line(fv_text *text, const char *line, size_t length) {
    static const char blanks[] = " \t\r";
    while (length > 0 && strchr(blanks, line[length - 1]))
        length--;
    while (length > 0 && strchr(blanks, *line))
        line++, length--;
    if (length == 0)
        return 0;
    fv_text_add_bytes(text, line, length);
    fv_text_add_bytes(text, "", 1);
    return 1;
}

fv_status fv_read_lines(const char *path, fv_names *names) {
    char *file;
    size_t size, count = 0;
    *names = (fv_names){0};
    fv_status status = fv_read_file(path, (size_t)1 << 20, &file, &size);
    if (status)
        return status;
    if (memchr(file, 0, size)) {
        fv_free(file);
        return fv_fail(FV_FORMAT, "%s is no text file", path);
    }
    fv_text text = {0};
    for (const char *line = file, *end; line; line = end ? end + 1 : NULL) {
        end = strchr(line, '\n');
        count += add_line(&text, line, end ? (size_t)(end - line) : strlen(line));
    }
    fv_free(file);
    return split_names(&text, count, names);
}

/* Bytes of the UTF-8 character at `text`; 0: it is none, or a control character. */
static size_t character_bytes(const unsigned char *text) {
    static const struct {
        unsigned char mask, lead;
        uint32_t least;
    } kinds[] = {{0x80, 0, 0x20}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t kind = 0; kind < 4; kind++) {
        if ((text[0] & kinds[kind].mask) != kinds[kind].lead)
            continue;
        uint32_t code = text[0] & (unsigned char)~kinds[kind].mask;
        for (size_t i = 1; i <= kind; i++) {
            if ((text[i] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (text[i] & 0x3f);
        }
        bool good = code >= kinds[kind].least && code != 0x7f && !(code >= 0x80 && code < 0xa0) &&
                    !(code >= 0xd800 && code < 0xe000) && code <= 0x10ffff;
        return good ? kind + 1 : 0;
    }
    return 0;
}

fv_status fv_check_class_name(const char *name, const char *place) {
    const unsigned char *at = (const unsigned char *)name;
    while (*at) {
        size_t bytes = character_bytes(at);
        if (bytes == 0)
            return fv_fail(FV_FORMAT,
                           "%s: the name of a class has control characters or is not UTF-8 (byte "
                           "0x%02x): rename it",
                           place, *at);
        at += bytes;
    }
    return FV_OK;
}
