/* See support.h. */
#include "support.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* GCC defines macros, Clang has features. */
#ifndef __has_feature
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define GUARD_ASAN 1
#include <sanitizer/asan_interface.h>
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define GUARD_TSAN 1
#endif

/* ---- Guarded buffers ------------------------------------------------------------------------- */

enum { FRONT = 256, BACK = 512, CANARY = 0xFF };

/* With AddressSanitizer the canaries are out of bounds while the buffer lives. */
static void forbid(const guarded *g, bool forbidden) {
#ifdef GUARD_ASAN
    unsigned char *back = g->block + FRONT + g->bytes + g->readable;
    if (forbidden) {
        __asan_poison_memory_region(g->block, FRONT);
        __asan_poison_memory_region(back, BACK - g->readable);
    } else {
        __asan_unpoison_memory_region(g->block, FRONT);
        __asan_unpoison_memory_region(back, BACK - g->readable);
    }
#else
    (void)g;
    (void)forbidden;
#endif
}

guarded guard_new(size_t bytes) {
    return guard_new_readable(bytes, 0);
}

guarded guard_new_readable(size_t bytes, size_t readable) {
    guarded g = {.bytes = bytes, .readable = readable};
    size_t whole = (FRONT + bytes + BACK + 63) / 64 * 64;
    g.block = aligned_alloc(64, whole);
    if (!g.block)
        fail_case("the test is out of memory (%zu bytes)", whole);
    memset(g.block, CANARY, whole);
    g.data = bytes ? g.block + FRONT : NULL;
    forbid(&g, true);
    return g;
}

void guard_clear(const guarded *g) {
    if (g->data)
        memset(g->data, CANARY, g->bytes);
}

static bool all_canaries(const unsigned char *bytes, size_t count) {
    return bytes[0] == CANARY && memcmp(bytes, bytes + 1, count - 1) == 0;
}

void guard_check(const guarded *g, const char *what) {
    if (!g->block)
        return;
    forbid(g, false);
    if (all_canaries(g->block, FRONT) && all_canaries(g->block + FRONT + g->bytes, BACK)) {
        forbid(g, true);
        return;
    }
    for (size_t i = 0; i < FRONT; i++)
        if (g->block[i] != CANARY)
            fail_case("%s: written %zu bytes in front of it", what, FRONT - i);
    for (size_t i = 0; i < BACK; i++)
        if (g->block[FRONT + g->bytes + i] != CANARY)
            fail_case("%s: written %zu bytes past its end", what, i + 1);
    forbid(g, true);
}

void guard_free(guarded *g) {
    if (g->block)
        forbid(g, false);
    free(g->block);
    *g = (guarded){0};
}

/* FNV-1a over words of eight bytes and the bytes that are left. */
uint64_t guard_hash(const guarded *g) {
    const unsigned char *bytes = g->data;
    uint64_t hash = 0xcbf29ce484222325u;
    size_t i = 0;
    for (; i + 8 <= g->bytes; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        hash = (hash ^ word) * 0x100000001b3u;
    }
    for (; i < g->bytes; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

/* ---- Numbers --------------------------------------------------------------------------------- */

/* SplitMix64 (Steele, Lea and Flood 2014). */
uint64_t numbers_next(numbers *n) {
    uint64_t z = n->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int numbers_below(numbers *n, int bound) {
    return (int)(numbers_next(n) % (uint64_t)bound);
}

void numbers_integers(numbers *n, int limit, size_t count, real *x) {
    for (size_t i = 0; i < count; i++)
        x[i] = (real)(numbers_below(n, 2 * limit + 1) - limit);
}

void numbers_floats(numbers *n, size_t count, real *x) {
    for (size_t i = 0; i < count; i++)
        x[i] = (real)((double)(numbers_next(n) >> 11) * 0x1p-52 - 1);
}

double *new_doubles(size_t count) {
    double *doubles = calloc(count ? count : 1, sizeof(double));
    if (!doubles)
        fail_case("the test is out of memory (%zu doubles)", count);
    return doubles;
}

void to_double(size_t count, const real *x, double *y) {
    for (size_t i = 0; i < count; i++)
        y[i] = (double)x[i];
}

void to_absolute(size_t count, const double *x, double *y) {
    for (size_t i = 0; i < count; i++)
        y[i] = fabs(x[i]);
}

/* ---- Comparison ------------------------------------------------------------------------------ */

static char running_case[512] = "";

void describe(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(running_case, sizeof running_case, format, arguments);
    va_end(arguments);
}

void fail_case(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fail_msg("%s: %s", running_case, text);
    abort(); /* fail_msg() does not return */
}

void expect_close(const char *what, size_t count, const real *got, const double *wanted,
                  const double *bound) {
    for (size_t i = 0; i < count; i++) {
        double difference = fabs((double)got[i] - wanted[i]);
        double most = bound ? bound[i] : 0;
        if (!(difference <= most))
            fail_case("%s[%zu of %zu] is %.9g, not %.9g (off by %.3g, allowed %.3g)", what, i,
                      count, (double)got[i], wanted[i], difference, most);
    }
}

void expect_same_bits(const char *what, size_t bytes, const void *got, const void *wanted) {
    if (bytes && memcmp(got, wanted, bytes) != 0)
        fail_case("%s: the bits differ", what);
}

/* ---- This machine ---------------------------------------------------------------------------- */

#ifdef FV_HAVE_WIDE
extern const fv_kernels fv_kernels_wide; /* v4's vectors and tiles, on any machine that has v3 */
#endif

int kernel_tables(const fv_kernels *tables[MOST_TABLES]) {
    static const char *const names[] = {"generic", "v2", "v3", "v4"};
    int count = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const fv_kernels *kernels = fv_kernels_by_name(names[i]);
        printf("kernels %s: %s\n", names[i], kernels ? "tested" : "not on this machine");
        if (kernels)
            tables[count++] = kernels;
    }
#ifdef FV_HAVE_WIDE
    if (fv_kernels_by_name("v3")) {
        printf("kernels wide (v4's vectors and tiles without its instructions): tested\n");
        tables[count++] = &fv_kernels_wide;
    }
#endif
    if (count == 0)
        fail_case("no kernels at all");
    return count;
}

bool full_run(void) {
#if defined(GUARD_ASAN) || defined(GUARD_TSAN)
    return false;
#else
    const char *full = getenv("FV_FULL");
    return full && *full && *full != '0';
#endif
}

bool races_only(void) {
#ifdef GUARD_TSAN
    return true;
#else
    return false;
#endif
}
