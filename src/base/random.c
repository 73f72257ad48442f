/* Philox4x32-10 and what is drawn from it. Called by the initialisers, the epoch's order, dropout
 * and the gradient check.
 *
 * Where a number lies: the key is the seed; the last word of the counter holds, in its low 8 bits,
 * the purpose, in every use of Philox here, so that no two purposes share a block. A sequential
 * stream uses
 *     key     = { seed's low word, seed's high word }
 *     counter = { block's low word, block's high word, stream, purpose }
 * and takes the four words of block 0, then those of block 1, and so on. */
#include "base/random.h"

#include <math.h>

static uint32_t high_word(uint64_t value) {
    return (uint32_t)(value >> 32);
}

void fv_philox(uint32_t counter[4], const uint32_t key[2]) {
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t product0 = (uint64_t)0xD2511F53u * counter[0];
        uint64_t product1 = (uint64_t)0xCD9E8D57u * counter[2];
        counter[0] = high_word(product1) ^ counter[1] ^ k0;
        counter[1] = (uint32_t)product1;
        counter[2] = high_word(product0) ^ counter[3] ^ k1;
        counter[3] = (uint32_t)product0;
        k0 += 0x9E3779B9u; /* Weyl sequences: the golden ratio and sqrt(3) - 1 */
        k1 += 0xBB67AE85u;
    }
}

void fv_random_start(fv_random *random, uint64_t seed, fv_purpose purpose, uint32_t stream) {
    *random = (fv_random){
        .key = {(uint32_t)seed, high_word(seed)},
        .counter = {0, 0, stream, (uint32_t)purpose},
        .used = 4, /* no block is made yet */
    };
}

uint32_t fv_random_bits(fv_random *random) {
    if (random->used == 4) {
        for (int i = 0; i < 4; i++) {
            random->block[i] = random->counter[i];
        }
        fv_philox(random->block, random->key);
        if (++random->counter[0] == 0) {
            random->counter[1]++;
        }
        random->used = 0;
    }
    return random->block[random->used++];
}

double fv_random_uniform(fv_random *random) {
    uint64_t high = fv_random_bits(random);
    uint64_t low = fv_random_bits(random);
    return (double)((high << 32 | low) >> 11) * 0x1p-53;
}

/* Box and Muller 1958: two uniform numbers make two independent normal ones. */
double fv_random_normal(fv_random *random) {
    if (random->has_spare) {
        random->has_spare = 0;
        return random->spare;
    }
    double radius = sqrt(-2 * log(1 - fv_random_uniform(random))); /* 1 - u is never 0 */
    double angle = 6.283185307179586 * fv_random_uniform(random);
    random->spare = radius * sin(angle);
    random->has_spare = 1;
    return radius * cos(angle);
}

/* Lemire 2019: of the 2^32 products bits * bound, each high word 0..bound-1 gets as many as any
 * other once the first 2^32 mod bound of each low word's range are left out. */
uint32_t fv_random_below(fv_random *random, uint32_t bound) {
    uint32_t left_out = (uint32_t)(0x100000000u % bound);
    uint64_t product;
    do {
        product = (uint64_t)fv_random_bits(random) * bound;
    } while ((uint32_t)product < left_out);
    return high_word(product);
}

void fv_shuffle(uint32_t *items, uint32_t count, fv_random *random) {
    for (uint32_t i = count; i > 1; i--) {
        uint32_t j = fv_random_below(random, i);
        uint32_t last = items[i - 1];
        items[i - 1] = items[j];
        items[j] = last;
    }
}
