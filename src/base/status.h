/* Errors: a status and this thread's last message. Called by every room. */
#ifndef FV_BASE_STATUS_H
#define FV_BASE_STATUS_H

#include <fovea.h>

/* Sets this thread's message (printf style: what is wrong, where, what to do; no final newline,
 * no trailing full stop) and returns `status`, so that `return fv_fail(FV_SHAPE, "...", ...)`
 * is the whole of an error path. Longer messages are cut at 1,023 bytes. */
__attribute__((format(printf, 2, 3))) fv_status fv_fail(fv_status status, const char *format, ...);

/* Puts "prefix: " before this thread's message; returns `status`. For a caller that knows the
 * place (a file name, a layer) which the callee did not. */
__attribute__((format(printf, 2, 3))) fv_status fv_fail_in(fv_status status, const char *format,
                                                           ...);

/* The candidate nearest to `word` by edit distance, if it is near enough to be a misspelling of
 * it; else NULL. `candidates` ends with NULL. */
const char *fv_nearest(const char *word, const char *const *candidates);

#endif
