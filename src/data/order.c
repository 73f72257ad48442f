/* In which order the samples of an epoch are drawn, and how many steps it has. Pure functions, so
 * that a resumed run goes on exactly as the first would have. Called by the loader and train. */
#include "base/random.h"
#include "data/data.h"

void fv_epoch_order(uint32_t *order, uint32_t count, uint64_t seed, uint32_t epoch) {
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    fv_random random;
    fv_random_start(&random, seed, FV_PURPOSE_SHUFFLE, epoch);
    fv_shuffle(order, count, &random);
}

int64_t fv_epoch_steps(size_t count, int batch, fv_last_batch last) {
    size_t size = (size_t)batch, steps = count / size;
    if (last == FV_LAST_SHORT && count % size)
        steps++;
    return (int64_t)steps;
}
