/* One vector type for all kernels, by the compilers' vector extensions: 64 bytes with AVX-512, 32
 * with AVX, else 16. Included by the kernel files only, which are compiled once for each
 * instruction set. */
#ifndef FV_KERNELS_VEC_H
#define FV_KERNELS_VEC_H

#include "base/real.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* A function of this instruction set: product becomes fv_product_v3. */
#define FV_JOIN_(name, isa) fv_##name##_##isa
#define FV_JOIN(name, isa) FV_JOIN_(name, isa)
#define FV_LOCAL(name) FV_JOIN(name, FV_ISA)

/* FV_WIDE: vectors of 64 bytes on any processor, so that tests see what AVX-512 would do. */
#if defined(__AVX512F__) || defined(FV_WIDE)
#define FV_VEC_BYTES 64
#define FV_TILE_ROWS 14 /* 28 sums, 2 columns and a broadcast in 32 registers */
#elif defined(__AVX__)
#define FV_VEC_BYTES 32
#define FV_TILE_ROWS 6 /* 12 sums in 16 registers */
#else
#define FV_VEC_BYTES 16
#define FV_TILE_ROWS 6
#endif

#ifdef FV_DOUBLE
typedef int64_t lane;
#else
typedef int32_t lane;
#endif

enum { VL = FV_VEC_BYTES / sizeof(real), PANEL = 2 * VL };

typedef real vec __attribute__((vector_size(FV_VEC_BYTES), aligned(sizeof(real)), may_alias));
typedef lane ivec __attribute__((vector_size(FV_VEC_BYTES), aligned(sizeof(real)), may_alias));

#if defined(__clang__)
#define FV_UNROLL _Pragma("unroll")
#else
#define FV_UNROLL _Pragma("GCC unroll 16")
#endif
#define FV_INLINE static inline __attribute__((always_inline))

FV_INLINE vec load(const real *p) {
    return *(const vec *)p;
}

FV_INLINE void store(real *p, vec v) {
    *(vec *)p = v;
}

/* The first `count` values only. */
FV_INLINE void store_some(real *p, vec v, int count) {
    memcpy(p, &v, (size_t)count * sizeof(real));
}

FV_INLINE vec load_some(const real *p, int count) {
    vec v = {0};
    memcpy(&v, p, (size_t)count * sizeof(real));
    return v;
}

FV_INLINE vec splat(real x) {
    return x - (vec){0};
}

/* mask lanes are all ones or all zeros, as comparisons give them. */
FV_INLINE vec keep_where(ivec mask, vec v) {
    return (vec)((ivec)v & mask);
}

FV_INLINE vec choose(ivec mask, vec yes, vec no) {
#if !defined(FV_DOUBLE) && defined(__AVX__) && FV_VEC_BYTES == 32 /* else compilers find it */
    return (vec)_mm256_blendv_ps((__m256)no, (__m256)yes, (__m256)mask);
#else
    return (vec)(((ivec)yes & mask) | ((ivec)no & ~mask));
#endif
}

FV_INLINE ivec choose_lanes(ivec mask, ivec yes, ivec no) {
    return (ivec)choose(mask, (vec)yes, (vec)no);
}

/* The larger, and the smaller, of each pair of lanes: those of b where one of them is NaN. */
FV_INLINE vec larger(vec a, vec b) {
#if !defined(FV_DOUBLE) && defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif !defined(FV_DOUBLE) && defined(__AVX__) && FV_VEC_BYTES == 32
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#elif !defined(FV_DOUBLE) && defined(__SSE__) && FV_VEC_BYTES == 16
    return (vec)_mm_max_ps((__m128)a, (__m128)b);
#else
    return choose(a > b, a, b);
#endif
}

FV_INLINE vec smaller(vec a, vec b) {
#if !defined(FV_DOUBLE) && defined(__AVX512F__)
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif !defined(FV_DOUBLE) && defined(__AVX__) && FV_VEC_BYTES == 32
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
#elif !defined(FV_DOUBLE) && defined(__SSE__) && FV_VEC_BYTES == 16
    return (vec)_mm_min_ps((__m128)a, (__m128)b);
#else
    return choose(a < b, a, b);
#endif
}

/* max(v, 0) that lets NaN through. */
FV_INLINE vec rectify(vec v) {
    return larger((vec){0}, v);
}

/* A bound for smaller(): `most`, or none where that is 0. */
FV_INLINE vec upper_bound(real most) {
    return splat(most == 0 ? (real)INFINITY : most);
}

/* Lanes of a and b in turn: of their first halves, and of their second. */
#if FV_VEC_BYTES == 64 && !defined(FV_DOUBLE)
#define FV_LOW_LANES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define FV_HIGH_LANES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif FV_VEC_BYTES == 64 || (FV_VEC_BYTES == 32 && !defined(FV_DOUBLE))
#define FV_LOW_LANES 0, 8, 1, 9, 2, 10, 3, 11
#define FV_HIGH_LANES 4, 12, 5, 13, 6, 14, 7, 15
#elif FV_VEC_BYTES == 32 || !defined(FV_DOUBLE)
#define FV_LOW_LANES 0, 4, 1, 5
#define FV_HIGH_LANES 2, 6, 3, 7
#else
#define FV_LOW_LANES 0, 2
#define FV_HIGH_LANES 1, 3
#endif
FV_INLINE vec interleave_low(vec a, vec b) {
    return __builtin_shufflevector(a, b, FV_LOW_LANES);
}

FV_INLINE vec interleave_high(vec a, vec b) {
    return __builtin_shufflevector(a, b, FV_HIGH_LANES);
}

/* Bit i of the result is lane i of the mask. */
FV_INLINE uint32_t mask_bits(ivec mask) {
#if !defined(FV_DOUBLE) && defined(__AVX512DQ__)
    return (uint32_t)_mm512_movepi32_mask((__m512i)mask);
#elif !defined(FV_DOUBLE) && defined(__AVX__) && FV_VEC_BYTES == 32
    return (uint32_t)_mm256_movemask_ps((__m256)mask);
#elif !defined(FV_DOUBLE) && defined(__SSE__) && FV_VEC_BYTES == 16
    return (uint32_t)_mm_movemask_ps((__m128)mask);
#else
    uint32_t bits = 0;
    for (int i = 0; i < VL; i++)
        bits |= (uint32_t)(mask[i] & 1) << i;
    return bits;
#endif
}

/* The reverse: lane i is all ones where bit i is set. */
FV_INLINE ivec bits_mask(uint32_t bits) {
    ivec lanes = (lane)bits - (ivec){0};
    ivec weights;
    for (int i = 0; i < VL; i++)
        weights[i] = (lane)1 << i;
    return (lanes & weights) != 0;
}

#endif
