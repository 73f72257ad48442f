/* The most multiply-adds that a core can do: independent chains of them in registers, as many as a
 * register tile of the product has sums. What `fovea bench` compares layers with. */
#include "kernels/local.h"

enum { CHAINS = 2 * FV_TILE_ROWS };

/* CHAINS x VL multiply-adds `rounds` times; their sum, so that they are done. */
double FV_LOCAL(multiply_adds)(size_t rounds, real factor, int64_t *count) {
    vec sums[CHAINS];
    vec a = splat(factor), b = splat(1 - factor);
    real all[VL];
    double sum = 0;
    for (int i = 0; i < CHAINS; i++)
        sums[i] = splat((real)i);
    for (size_t round = 0; round < rounds; round++) {
        FV_UNROLL
        for (int i = 0; i < CHAINS; i++)
            sums[i] = sums[i] * a + b; /* stays near 1: factor < 1 */
    }
    for (int i = 1; i < CHAINS; i++)
        sums[0] += sums[i];
    store(all, sums[0]);
    for (int i = 0; i < VL; i++)
        sum += (double)all[i];
    *count = (int64_t)rounds * CHAINS * VL;
    return sum;
}
