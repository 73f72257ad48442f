/* The oracle of random numbers: Philox4x32-10, one block at a time. Called by tests/test_*.c. */
#include "reference.h"
#include <math.h>

/* Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011: ten
 * rounds of two 32 x 32 -> 64 bit products; the key grows by Weyl constants between rounds. */
void ref_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t result[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (uint32_t round = 0; round < 10; round++) {
        uint32_t k0 = key[0] + round * 0x9E3779B9u, k1 = key[1] + round * 0xBB67AE85u;
        uint64_t product0 = 0xD2511F53ull * c0, product1 = 0xCD9E8D57ull * c2;
        c0 = (uint32_t)(product1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)product1;
        c2 = (uint32_t)(product0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)product0;
    }
    result[0] = c0;
    result[1] = c1;
    result[2] = c2;
    result[3] = c3;
}

uint32_t ref_philox_half(const uint32_t key[2], const uint32_t stream[3], size_t i) {
    uint32_t counter[4] = {(uint32_t)(i / 8), stream[0], stream[1], stream[2]}, block[4];
    ref_philox(counter, key, block);
    uint32_t word = block[i % 8 / 2];
    return i % 2 == 0 ? word & 0xFFFF : word >> 16;
}

double ref_normal(const uint32_t key[2], const uint32_t stream[3], size_t i) {
    const double pi = 3.14159265358979323846;
    uint32_t counter[4] = {(uint32_t)(i / 4), stream[0], stream[1], stream[2]}, block[4];
    ref_philox(counter, key, block);
    const uint32_t *pair = block + i % 4 / 2 * 2;
    double radius = sqrt(-2 * log((pair[0] / 512 + 0.5) / 8388608));
    double angle = 2 * pi * (pair[1] / 256) / 16777216;
    return radius * (i % 2 == 0 ? cos(angle) : sin(angle));
}
