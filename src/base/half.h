/* Numbers of 16 bits as floats: IEEE 754's half precision, and bfloat16, the upper half of a float.
 * Called by whatever reads arrays from files. */
#ifndef FV_BASE_HALF_H
#define FV_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float fv_float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float fv_bfloat_to_float(uint16_t bits) {
    return fv_float_of_bits((uint32_t)bits << 16);
}

/* Sign, 5 bits of exponent (bias 15), 10 of fraction; exponent 0: fraction x 2^-24, 31: infinite
 * or no number. */
static inline float fv_half_to_float(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 31;
    uint32_t fraction = bits & 0x3FF;
    if (exponent == 0) {
        float tiny = (float)fraction * 0x1p-24f;
        return sign ? -tiny : tiny;
    }
    exponent = exponent == 31 ? 255 : exponent + 127 - 15;
    return fv_float_of_bits(sign | exponent << 23 | fraction << 13);
}

#endif
