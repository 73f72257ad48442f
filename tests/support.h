/* What the tests of kernels and layers share: buffers that notice writes outside them, repeatable
 * numbers, comparison with a reference, the kernels of this machine. Called by tests/test_*.c. */
#ifndef FV_TESTS_SUPPORT_H
#define FV_TESTS_SUPPORT_H

#include "kernels/kernels.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Guarded buffers ------------------------------------------------------------------------- */

/* `bytes` of memory, 64-byte aligned, between canaries. It starts as NaN (every byte 0xFF), so what
 * nobody wrote shows. Writes outside are noticed by guard_check(), reads by AddressSanitizer. */
typedef struct guarded {
    unsigned char *block;
    size_t bytes;
    size_t readable; /* bytes past the end that may be read (see fv_product's b), never written */
    void *data;      /* NULL where bytes is 0 */
} guarded;

guarded guard_new(size_t bytes);
guarded guard_new_readable(size_t bytes, size_t readable);
void guard_clear(const guarded *g);                   /* to NaN again */
void guard_check(const guarded *g, const char *what); /* fails the test if a canary is gone */
void guard_free(guarded *g);
uint64_t guard_hash(const guarded *g); /* of the data, to see that it did not change */

/* ---- Numbers --------------------------------------------------------------------------------- */

typedef struct numbers {
    uint64_t state;
} numbers;

uint64_t numbers_next(numbers *n);
int numbers_below(numbers *n, int bound);
void numbers_integers(numbers *n, int limit, size_t count, real *x); /* -limit to limit */
void numbers_floats(numbers *n, size_t count, real *x);              /* -1 to 1 */

double *new_doubles(size_t count); /* zeros */
void to_double(size_t count, const real *x, double *y);
void to_absolute(size_t count, const double *x, double *y);

/* ---- Comparison ------------------------------------------------------------------------------ */

/* Half the distance of 1 to the next real: the largest relative error of one rounding. */
#define ROUNDING (sizeof(real) == sizeof(float) ? 0x1p-24 : 0x1p-53)

/* Names the running case in failure messages. */
__attribute__((format(printf, 1, 2))) void describe(const char *format, ...);
__attribute__((format(printf, 1, 2), noreturn)) void fail_case(const char *format, ...);

/* Fails unless |got - wanted| <= bound for each value. `bound` NULL: equal. */
void expect_close(const char *what, size_t count, const real *got, const double *wanted,
                  const double *bound);
void expect_same_bits(const char *what, size_t bytes, const void *got, const void *wanted);

/* ---- This machine ---------------------------------------------------------------------------- */

enum { MOST_TABLES = 5 };

/* The kernels that this machine can run; says on standard output which those are. */
int kernel_tables(const fv_kernels *tables[MOST_TABLES]);

/* FV_FULL=1 in the environment: all cases, not a choice of them. Not under sanitizers, which see
 * the same code in the choice and take ten times as long. */
bool full_run(void);

/* ThreadSanitizer looks on: what runs on one thread need not be tested. */
bool races_only(void);

#endif
