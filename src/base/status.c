/* This thread's last error message, the suggestion for a misspelt name, and what this build is.
 * Called by every room. */
#include "base/status.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_BYTES 1024
#define LONGEST_WORD 63 /* longer words are no names of ours, and get no suggestion */

/* What of the library outlives a call: each thread has its own. */
static _Thread_local char message[MESSAGE_BYTES];
static _Thread_local fv_status last_status;

fv_status fv_fail(fv_status status, const char *format, ...) {
    char text[MESSAGE_BYTES] = ""; /* apart, since the arguments may hold the old message */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(message, text, sizeof message);
    last_status = status;
    return status;
}

fv_status fv_fail_in(fv_status status, const char *format, ...) {
    char prefix[MESSAGE_BYTES] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    return fv_fail(status, "%s: %s", prefix, message);
}

const char *fv_error_message(void) {
    return message;
}

fv_status fv_error_status(void) {
    return last_status;
}

const char *fv_version(void) {
    return FV_VERSION;
}

const char *fv_features(void) {
    return FV_FEATURES;
}

static int smaller(int a, int b) {
    return a < b ? a : b;
}

/* Levenshtein's distance: insertions, deletions and replacements that turn a into b, capitals and
 * small letters being equal. Row i of his table holds the distances from a[0..i) to each b[0..j).
 */
static int edit_distance(const char *a, const char *b) {
    int row[LONGEST_WORD + 1];
    int b_length = (int)strlen(b);
    for (int j = 0; j <= b_length; j++) {
        row[j] = j;
    }
    for (int i = 0; a[i]; i++) {
        int diagonal = row[0];
        row[0] = i + 1;
        for (int j = 0; j < b_length; j++) {
            bool same = tolower((unsigned char)a[i]) == tolower((unsigned char)b[j]);
            int replaced = diagonal + (same ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = smaller(replaced, smaller(row[j], row[j + 1]) + 1);
        }
    }
    return row[b_length];
}

const char *fv_nearest(const char *word, const char *const *candidates) {
    int length = (int)strnlen(word, LONGEST_WORD + 1);
    if (length == 0 || length > LONGEST_WORD) {
        return NULL;
    }
    /* A third of the letters, rounded up, so that two swapped letters of four are near. */
    int least = smaller((length + 2) / 3, 3) + 1;
    const char *nearest = NULL;
    for (; *candidates; candidates++) {
        int candidate_length = (int)strnlen(*candidates, LONGEST_WORD + 1);
        if (candidate_length > LONGEST_WORD) {
            continue;
        }
        int distance = edit_distance(word, *candidates);
        /* With every letter replaced nothing is left in common. */
        bool related = distance < length || distance < candidate_length;
        if (distance < least && related) {
            least = distance;
            nearest = *candidates;
        }
    }
    return nearest;
}
