/* Philox4x32-10 (see base/random.h) for LANES counters at once, that the compilers vectorise:
 * words[w] are word w of the blocks first, first + 1, ... of the stream. For the kernels that draw.
 */
#ifndef FV_KERNELS_PHILOX_H
#define FV_KERNELS_PHILOX_H

#include "kernels/vec.h"

enum { LANES = 16 };

FV_INLINE void philox_blocks(uint32_t first, const uint32_t key[2], const uint32_t stream[3],
                             uint32_t words[4][LANES]) {
    uint32_t k0 = key[0], k1 = key[1];
    for (uint32_t i = 0; i < LANES; i++) {
        words[0][i] = first + i;
        words[1][i] = stream[0];
        words[2][i] = stream[1];
        words[3][i] = stream[2];
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < LANES; i++) {
            uint64_t p = (uint64_t)words[0][i] * 0xD2511F53u;
            uint64_t q = (uint64_t)words[2][i] * 0xCD9E8D57u;
            uint32_t x = (uint32_t)(q >> 32) ^ words[1][i] ^ k0;
            uint32_t y = (uint32_t)(p >> 32) ^ words[3][i] ^ k1;
            words[0][i] = x;
            words[1][i] = (uint32_t)q;
            words[2][i] = y;
            words[3][i] = (uint32_t)p;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

#endif
