/* A growing string. Called wherever text is made: the printer, JSON, messages. */
#ifndef FV_BASE_TEXT_H
#define FV_BASE_TEXT_H

#include <fovea.h>
#include <stdbool.h>

typedef struct fv_text {
    char *bytes; /* ends with 0; NULL while empty */
    size_t size, capacity;
    bool failed; /* out of memory: later appends do nothing; check once at the end */
} fv_text;

__attribute__((format(printf, 2, 3))) void fv_text_add(fv_text *text, const char *format, ...);
void fv_text_add_bytes(fv_text *text, const char *bytes, size_t size);
/* The string, which the caller frees with fv_free; NULL when an append failed. Empties `text`. */
char *fv_text_take(fv_text *text);
void fv_text_free(fv_text *text);

/* The shortest decimal text that reads back as the same double ("0.1", "1e-07", "128"). */
void fv_text_add_number(fv_text *text, double value);

#endif
