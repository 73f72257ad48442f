/* One bit a value: where a ReLU let through, and where dropout keeps. */
#include "kernels/local.h"
#include "kernels/philox.h"

enum { WORD = 64 }; /* bits are written in words of 8 bytes, little endian by construction */

static void put_word(uint8_t *bits, uint64_t word) {
    for (int i = 0; i < 8; i++)
        bits[i] = (uint8_t)(word >> (8 * i));
}

static uint64_t get_word(const uint8_t *bits) {
    uint64_t word = 0;
    for (int i = 0; i < 8; i++)
        word |= (uint64_t)bits[i] << (8 * i);
    return word;
}

void FV_LOCAL(positive_bits)(size_t count, const real *y, uint8_t *bits) {
    for (size_t i = 0; i < count; i += WORD, bits += WORD / 8) {
        uint64_t word = 0;
        if (i + WORD <= count)
            for (int j = 0; j < WORD; j += VL)
                word |= (uint64_t)mask_bits(load(y + i + j) > 0) << j;
        else
            for (size_t j = i; j < count; j++)
                word |= (uint64_t)(y[j] > 0) << (j - i);
        put_word(bits, word);
    }
}

void FV_LOCAL(between_bits)(size_t count, real low, real high, const real *y, uint8_t *bits) {
    for (size_t i = 0; i < count; i += WORD, bits += WORD / 8) {
        uint64_t word = 0;
        if (i + WORD <= count)
            for (int j = 0; j < WORD; j += VL) {
                vec v = load(y + i + j);
                word |= (uint64_t)mask_bits((v > low) & (v < high)) << j;
            }
        else
            for (size_t j = i; j < count; j++)
                word |= (uint64_t)(y[j] > low && y[j] < high) << (j - i);
        put_word(bits, word);
    }
}

void FV_LOCAL(scale_rest)(size_t count, const uint8_t *bits, real scale, real *y) {
    for (size_t i = 0; i < count; i += WORD, bits += WORD / 8) {
        uint64_t word = get_word(bits);
        if (i + WORD <= count)
            for (int j = 0; j < WORD; j += VL, word >>= VL % 64) {
                vec v = load(y + i + j);
                store(y + i + j, choose(bits_mask((uint32_t)word), v, scale * v));
            }
        else
            for (size_t j = i; j < count; j++, word >>= 1)
                y[j] = word & 1 ? y[j] : scale * y[j];
    }
}

void FV_LOCAL(keep_bits)(size_t count, const uint8_t *bits, real scale, const real *x, real *y) {
    for (size_t i = 0; i < count; i += WORD, bits += WORD / 8) {
        uint64_t word = get_word(bits);
        if (i + WORD <= count)
            for (int j = 0; j < WORD; j += VL, word >>= VL % 64)
                store(y + i + j,
                      keep_where(bits_mask((uint32_t)word), splat(scale) * load(x + i + j)));
        else
            for (size_t j = i; j < count; j++, word >>= 1)
                y[j] = word & 1 ? scale * x[j] : 0;
    }
}

/* A block of four words gives eight 16-bit numbers, that is, one byte of bits. */
void FV_LOCAL(random_bits)(size_t count, const uint32_t key[2], const uint32_t stream[3],
                           uint32_t threshold, uint8_t *bits) {
    size_t bytes = fv_bit_bytes(count);
    for (size_t b = 0; b < bytes; b += LANES) {
        uint32_t words[4][LANES], packed[LANES] = {0};
        philox_blocks((uint32_t)b, key, stream, words);
        for (int w = 0; w < 4; w++)
            for (int i = 0; i < LANES; i++) {
                uint32_t low = (words[w][i] & 0xFFFF) >= threshold;
                uint32_t high = (words[w][i] >> 16) >= threshold;
                packed[i] |= (low | high << 1) << (2 * w);
            }
        for (size_t i = 0; i < LANES && b + i < bytes; i++)
            bits[b + i] = (uint8_t)packed[i];
    }
}
