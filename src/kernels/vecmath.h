/* exp, tanh, log and the like of a whole vector, for the kernel files: polynomials after a
 * reduction of the range, good to about two units in the last place; too large arguments give
 * exactly what the function tends to, and NaN stays NaN. In the double build they are libm's, lane
 * by lane. */
#ifndef FV_KERNELS_VECMATH_H
#define FV_KERNELS_VECMATH_H

#include "kernels/vec.h"
#include <math.h>

#ifdef FV_DOUBLE
#define FV_EXP exp
#define FV_LOG log
#define FV_POW pow
#define FV_SQRT sqrt
#else
#define FV_EXP expf
#define FV_LOG logf
#define FV_POW powf
#define FV_SQRT sqrtf
#endif

FV_INLINE ivec sign_bits(vec x) {
    return (ivec)x & (ivec)splat((real)-0.0);
}

FV_INLINE vec absolute(vec x) {
    return (vec)((ivec)x & ~(ivec)splat((real)-0.0));
}

#ifdef FV_DOUBLE

FV_INLINE vec vec_exp(vec x) {
    for (int i = 0; i < VL; i++)
        x[i] = exp(x[i]);
    return x;
}

FV_INLINE vec vec_expm1(vec x) {
    for (int i = 0; i < VL; i++)
        x[i] = expm1(x[i]);
    return x;
}

FV_INLINE vec vec_log(vec x) {
    for (int i = 0; i < VL; i++)
        x[i] = log(x[i]);
    return x;
}

FV_INLINE vec vec_log1p(vec x) {
    for (int i = 0; i < VL; i++)
        x[i] = log1p(x[i]);
    return x;
}

FV_INLINE vec vec_tanh(vec x) {
    for (int i = 0; i < VL; i++)
        x[i] = tanh(x[i]);
    return x;
}

FV_INLINE vec vec_normal_density(vec x) {
    return vec_exp(x * x / -2) * (real)0.3989422804014327;
}

FV_INLINE vec vec_normal_tail(vec x) {
    for (int i = 0; i < VL; i++)
        x[i] = erfc(fabs(x[i]) * 0.7071067811865476) / 2;
    return x;
}

FV_INLINE void vec_turn(vec turns, vec *cosine, vec *sine) {
    for (int i = 0; i < VL; i++) {
        (*cosine)[i] = cos(6.283185307179586 * turns[i]);
        (*sine)[i] = sin(6.283185307179586 * turns[i]);
    }
}

#else

/* To the nearest whole number, |x| < 2^22: beyond 2^23 floats have no fraction. */
FV_INLINE vec nearest(vec x) {
    const vec large = splat(12582912);
    return (x + large) - large;
}

/* 2^n for whole n from -126 to 127. */
FV_INLINE vec power_of_two(vec n) {
    return (vec)((__builtin_convertvector(n, ivec) + 127) << 23);
}

/* n = the nearest whole number of log 2 in x; the rest has at most log(2) / 2. log 2 in two parts
 * (Cody & Waite 1980): n times the first is exact. */
FV_INLINE vec log2_rest(vec x, vec *n) {
    *n = nearest(x * 1.44269504f);
    return (x - *n * 0.693359375f) + *n * 2.12194440e-4f;
}

/* exp(x) - 1 for |x| <= log(2) / 2: the series up to x^7; x^8 / 8! is below half a unit. */
FV_INLINE vec small_expm1(vec x) {
    vec sum = splat(1.0f / 5040);
    sum = sum * x + 1.0f / 720;
    sum = sum * x + 1.0f / 120;
    sum = sum * x + 1.0f / 24;
    sum = sum * x + 1.0f / 6;
    sum = sum * x + 0.5f;
    return x + x * x * sum;
}

/* In two factors, so that results may be infinite or denormal. */
FV_INLINE vec vec_exp(vec x) {
    vec n;
    x = choose(x > 89, splat(89), x);
    x = choose(x < -104, splat(-104), x);
    vec power = 1 + small_expm1(log2_rest(x, &n));
    vec half = nearest(n * 0.5f);
    return power * power_of_two(half) * power_of_two(n - half);
}

/* For x <= 60. */
FV_INLINE vec vec_expm1(vec x) {
    vec n;
    x = choose(x < -30, splat(-30), x);
    vec power = small_expm1(log2_rest(x, &n)), factor = power_of_two(n);
    return factor * power + (factor - 1);
}

/* log((1 + s) / (1 - s)) for |s| <= 1/3: 2 (s + s^3 / 3 + s^5 / 5 ...). */
FV_INLINE vec log_ratio(vec s) {
    vec square = s * s, sum = splat(1.0f / 15);
    sum = sum * square + 1.0f / 13;
    sum = sum * square + 1.0f / 11;
    sum = sum * square + 1.0f / 9;
    sum = sum * square + 1.0f / 7;
    sum = sum * square + 1.0f / 5;
    sum = sum * square + 1.0f / 3;
    return 2 * s + 2 * s * square * sum;
}

/* For normal x > 0: x = 2^n m with m from sqrt(1/2) to sqrt(2). */
FV_INLINE vec vec_log(vec x) {
    ivec shifted = (ivec)x - (ivec)splat(0.70710678f);
    vec n = __builtin_convertvector(shifted >> 23, vec);
    vec m = (vec)((ivec)x - (shifted >> 23 << 23));
    return (log_ratio((m - 1) / (m + 1)) - n * 2.12194440e-4f) + n * 0.693359375f;
}

/* log(1 + x) for 0 <= x <= 1. */
FV_INLINE vec vec_log1p(vec x) {
    return log_ratio(x / (2 + x));
}

FV_INLINE vec vec_tanh(vec x) {
    vec e = vec_expm1(-2 * absolute(x));
    return (vec)((ivec)(-e / (2 + e)) | sign_bits(x));
}

/* exp(-x^2 / 2). With x cut to 12 bits its square is exact; what the cut leaves out is small. */
FV_INLINE vec half_square_exp(vec x) {
    vec cut = (vec)((ivec)x & -4096);
    vec rest = (x - cut) * (x + cut) * -0.5f;
    return vec_exp(cut * cut * -0.5f) * (1 + small_expm1(rest));
}

FV_INLINE vec vec_normal_density(vec x) {
    x = choose(absolute(x) > 15, splat(15), x);
    return half_square_exp(x) * 0.39894228f;
}

/* The normal distribution's tail P(X > |x|) = erfc(|x| / sqrt 2) / 2 = exp(-x^2 / 2) r(u), u = 1 /
 * (1 + |x| / 4): r is a polynomial fitted by least squares of the relative error, 4e-8 at most up
 * to |x| = 14.6, where the tail becomes 0. */
FV_INLINE vec vec_normal_tail(vec x) {
    x = absolute(x);
    x = choose(x > 15, splat(15), x);
    vec u = 1 / (1 + 0.25f * x), r = splat(0.033362962f);
    r = r * u - 0.19304138f;
    r = r * u + 0.38770342f;
    r = r * u - 0.32382849f;
    r = r * u + 0.29653317f;
    r = r * u - 0.016140843f;
    r = r * u + 0.12010615f;
    r = r * u + 0.095133483f;
    r = r * u + 0.10019115f;
    r = r * u - 1.9635048e-5f;
    return half_square_exp(x) * r;
}

/* Cosine and sine of 2 pi turns, 0 <= turns < 1: the series within an eighth of a turn around the
 * nearest quarter q, where (cos, sin) is (c, s), (-s, c), (-c, -s), (s, -c), (c, s). */
FV_INLINE void vec_turn(vec turns, vec *cosine, vec *sine) {
    vec q = nearest(turns * 4);
    vec x = (turns - q * 0.25f) * 6.28318531f, square = x * x;
    vec s = splat(1.0f / 362880), c = splat(-1.0f / 3628800);
    s = s * square - 1.0f / 5040;
    s = s * square + 1.0f / 120;
    s = s * square - 1.0f / 6;
    s = x + x * square * s;
    c = c * square + 1.0f / 40320;
    c = c * square - 1.0f / 720;
    c = c * square + 1.0f / 24;
    c = c * square - 0.5f;
    c = 1 + square * c;
    ivec quarter = __builtin_convertvector(q, ivec);
    ivec odd = (quarter & 1) != 0;
    *cosine = (vec)((ivec)choose(odd, s, c) ^ (((quarter + 1) & 2) << 30));
    *sine = (vec)((ivec)choose(odd, c, s) ^ ((quarter & 2) << 30));
}

#endif
#endif
