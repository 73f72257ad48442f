/* A growing string, and numbers as short exact text. Called wherever text is made: the printer of
 * .net files, JSON, tables, messages. */
#include "base/text.h"

#include "base/alloc.h"
#include "base/status.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool fail(fv_text *text) {
    text->failed = true;
    return false;
}

/* Room for `more` bytes and the final 0. */
static bool reserve(fv_text *text, size_t more) {
    if (text->failed) {
        return false;
    }
    size_t needed, doubled;
    if (!fv_sum(text->size, more, &needed) || !fv_sum(needed, 1, &needed) ||
        !fv_size_product(needed, 2, &doubled)) {
        fv_fail(FV_MEMORY, "out of memory: a text is longer than can be addressed");
        return fail(text);
    }
    if (needed <= text->capacity) {
        return true;
    }
    char *bytes = fv_realloc(text->bytes, text->capacity, doubled, 1);
    if (!bytes) {
        return fail(text);
    }
    text->bytes = bytes;
    text->capacity = doubled;
    return true;
}

void fv_text_add_bytes(fv_text *text, const char *bytes, size_t size) {
    if (!reserve(text, size)) {
        return;
    }
    if (size > 0) {
        memcpy(text->bytes + text->size, bytes, size);
    }
    text->size += size;
    text->bytes[text->size] = 0;
}

void fv_text_add(fv_text *text, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    if (size < 0) {
        fv_fail(FV_MEMORY, "a text cannot be made: %s", strerror(errno));
        fail(text);
    } else if (reserve(text, (size_t)size)) {
        vsnprintf(text->bytes + text->size, (size_t)size + 1, format, again);
        text->size += (size_t)size;
    }
    va_end(again);
    va_end(arguments);
}

char *fv_text_take(fv_text *text) {
    bool whole = reserve(text, 0); /* an empty string is a string too */
    char *bytes = whole ? text->bytes : NULL;
    if (whole) {
        text->bytes = NULL;
    }
    fv_text_free(text);
    return bytes;
}

void fv_text_free(fv_text *text) {
    fv_free(text->bytes);
    *text = (fv_text){0};
}

void fv_text_add_number(fv_text *text, double value) {
    char digits[40];
    if (fabs(value) < 1e15 && value == floor(value)) {
        snprintf(digits, sizeof digits, "%.0f", value); /* 100, where %g would find 1e+02 */
    } else {
        for (int precision = 1; precision <= 17; precision++) {
            snprintf(digits, sizeof digits, "%.*g", precision, value);
            if (strtod(digits, NULL) == value) {
                break;
            }
        }
    }
    /* The program may have set a locale with another decimal point, perhaps of several bytes. */
    for (const char *c = digits; *c; c++) {
        if (strchr("+-0123456789aefin", *c)) {
            fv_text_add_bytes(text, c, 1);
        } else if (c > digits && strchr("0123456789", c[-1])) {
            fv_text_add_bytes(text, ".", 1);
        }
    }
}
