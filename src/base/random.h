/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy
 * as 1, 2, 3", SC 2011). A number is a pure function of seed, purpose, epoch and sample; there
 * is no state, so neither threads nor call order can change it. */
#ifndef FV_BASE_RANDOM_H
#define FV_BASE_RANDOM_H

#include <stdint.h>

/* Ten rounds on counter[4] with key[2]; the result replaces the counter. */
void fv_philox(uint32_t counter[4], const uint32_t key[2]);

/* What a stream of numbers is for: two purposes never share numbers. */
typedef enum fv_purpose {
    FV_PURPOSE_INIT = 1, /* stream: weight index in the net */
    FV_PURPOSE_SHUFFLE,  /* stream: epoch */
    FV_PURPOSE_DROPOUT,  /* stream: node, epoch and sample, see dropout.c */
    FV_PURPOSE_BENCH,    /* inputs for timing and for the gradient check */
    FV_PURPOSE_NOISE,    /* stream: node, epoch and sample, see gaussian_noise.c */
} fv_purpose;

/* A sequential reader of one stream, for code that draws numbers one after another. */
typedef struct fv_random {
    uint32_t key[2], counter[4], block[4];
    int used;
    double spare; /* the second normal of a Box-Muller pair */
    int has_spare;
} fv_random;

void fv_random_start(fv_random *random, uint64_t seed, fv_purpose purpose, uint32_t stream);
uint32_t fv_random_bits(fv_random *random);
double fv_random_uniform(fv_random *random);                         /* [0, 1), 53 bits */
double fv_random_normal(fv_random *random);                          /* mean 0, deviation 1 */
uint32_t fv_random_below(fv_random *random, uint32_t bound);         /* unbiased, bound >= 1 */
void fv_shuffle(uint32_t *items, uint32_t count, fv_random *random); /* Fisher-Yates */

#endif
