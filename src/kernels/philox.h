/* Philox4x32-10 (see base/random.h) for LANES counters at once: words[w] are word w of the blocks
 * first, first + 1, ... of the stream. For the kernels that draw. */
#ifndef FV_KERNELS_PHILOX_H
#define FV_KERNELS_PHILOX_H

#include "kernels/vec.h"

enum {
    LANES = 16,
    WORDS = FV_VEC_BYTES / sizeof(uint64_t), /* of a vector, each in the low half of a lane */
    TOGETHER = 2, /* speed only: vectors, as each waits for its products */
};

typedef uint64_t wvec
    __attribute__((vector_size(FV_VEC_BYTES), aligned(sizeof(uint64_t)), may_alias));
typedef uint32_t narrow_wvec
    __attribute__((vector_size(FV_VEC_BYTES / 2), aligned(sizeof(uint32_t)), may_alias));

/* The products of the lanes' low halves and `factor`, which is less than 2^32. */
FV_INLINE wvec multiply_low(wvec a, uint64_t factor) {
#if defined(__AVX512F__)
    return (wvec)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64((long long)factor));
#elif defined(__AVX2__) && FV_VEC_BYTES == 32
    return (wvec)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x((long long)factor));
#elif defined(__SSE2__) && FV_VEC_BYTES == 16
    return (wvec)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x((long long)factor));
#else
    return (a & 0xFFFFFFFFu) * factor;
#endif
}

/* High halves of the state's lanes hold what is left of products: nothing reads them. */
FV_INLINE void philox_vectors(wvec state[4][TOGETHER], const uint32_t key[2]) {
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        FV_UNROLL
        for (int v = 0; v < TOGETHER; v++) {
            wvec p = multiply_low(state[0][v], 0xD2511F53u);
            wvec q = multiply_low(state[2][v], 0xCD9E8D57u);
            state[0][v] = (q >> 32) ^ state[1][v] ^ k0;
            state[2][v] = (p >> 32) ^ state[3][v] ^ k1;
            state[1][v] = q;
            state[3][v] = p;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

FV_INLINE void philox_blocks(uint32_t first, const uint32_t key[2], const uint32_t stream[3],
                             uint32_t words[4][LANES]) {
    wvec number = {0};
    for (int i = 0; i < (int)WORDS; i++)
        number[i] = (uint64_t)i;
    for (int i = 0; i < LANES; i += TOGETHER * (int)WORDS) {
        wvec state[4][TOGETHER];
        for (int v = 0; v < TOGETHER; v++) {
            state[0][v] = number + (first + (uint32_t)i + (uint32_t)v * (uint32_t)WORDS);
            for (int w = 1; w < 4; w++)
                state[w][v] = stream[w - 1] - (wvec){0};
        }
        philox_vectors(state, key);
        for (int v = 0; v < TOGETHER; v++)
            for (int w = 0; w < 4; w++)
                *(narrow_wvec *)(words[w] + i + v * (int)WORDS) =
                    __builtin_convertvector(state[w][v], narrow_wvec);
    }
}

#endif
