/* Normal random numbers for gaussian_noise, as its head comment defines them. */
#include "kernels/local.h"
#include "kernels/philox.h"
#include "kernels/vecmath.h"

/* Of the words a and b of LANES blocks: radius cos(angle) and radius sin(angle) (Box & Muller
 * 1958). Both uniform numbers are exact in a float. */
static void normal_pairs(const uint32_t a[LANES], const uint32_t b[LANES], real cosine[LANES],
                         real sine[LANES]) {
    real radius[LANES], turns[LANES];
    for (int i = 0; i < LANES; i++) {
        radius[i] = ((real)(a[i] >> 9) + (real)0.5) * (real)0x1p-23;
        turns[i] = (real)(b[i] >> 8) * (real)0x1p-24;
    }
    for (int i = 0; i < LANES; i += VL) {
        vec c = {0}, s = {0};
        vec_turn(load(turns + i), &c, &s);
        store(cosine + i, c);
        store(sine + i, s);
        store(radius + i, -2 * vec_log(load(radius + i)));
    }
    for (int i = 0; i < LANES; i++) {
        radius[i] = FV_SQRT(radius[i]);
        cosine[i] *= radius[i];
        sine[i] *= radius[i];
    }
}

void FV_LOCAL(add_normals)(size_t count, const uint32_t key[2], const uint32_t stream[3],
                           real deviation, real *y) {
    for (size_t i = 0; i < count; i += 4 * LANES) {
        uint32_t words[4][LANES];
        real normal[4][LANES];
        philox_blocks((uint32_t)(i / 4), key, stream, words);
        normal_pairs(words[0], words[1], normal[0], normal[1]);
        normal_pairs(words[2], words[3], normal[2], normal[3]);
        for (size_t j = i; j < count && j < i + 4 * LANES; j++)
            y[j] += deviation * normal[(j - i) % 4][(j - i) / 4];
    }
}
