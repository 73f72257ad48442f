/* Fuzz target: weights from .npz archives. All of a file fits a net, or the net is as it was. */
#include "fuzz.h"
#include <fovea.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most, unsigned seed);

/* ---- Archives whose checksums are right -------------------------------------------------------
 * libzip compares the checksum of what it unpacks: without this nearly all values that the fuzzer
 * changes would be refused there. Offsets and signatures are those of PKWARE's APPNOTE. */

enum { FILE_HEADER = 30, ENTRY = 46, END = 22 };

static uint32_t number(const uint8_t *bytes, int count) {
    uint32_t value = 0;
    for (int i = 0; i < count; i++)
        value |= (uint32_t)bytes[i] << 8 * i;
    return value;
}

static void put_checksum(uint8_t *bytes, uint32_t value) {
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
}

/* The member of an entry, which must be stored as it is, and where it says that it is. */
static void mend_member(uint8_t *bytes, size_t size, uint8_t *entry) {
    size_t length = number(entry + 20, 4), header = number(entry + 42, 4);
    if (number(entry + 10, 2) != 0 || header + FILE_HEADER > size)
        return;
    size_t start =
        header + FILE_HEADER + number(bytes + header + 26, 2) + number(bytes + header + 28, 2);
    if (start > size || length > size - start)
        return;
    uint32_t checksum = (uint32_t)crc32(0, bytes + start, (uInt)length);
    put_checksum(bytes + header + 14, checksum);
    put_checksum(entry + 16, checksum);
}

static void mend_checksums(uint8_t *bytes, size_t size) {
    size_t end = size;
    while (end >= END && number(bytes + end - END, 4) != 0x06054b50)
        end--;
    if (end < END)
        return;
    size_t at = number(bytes + end - END + 16, 4);
    while (at + ENTRY <= size && number(bytes + at, 4) == 0x02014b50) {
        size_t names = number(bytes + at + 28, 2) + number(bytes + at + 30, 2);
        mend_member(bytes, size, bytes + at);
        at += ENTRY + names + number(bytes + at + 32, 2);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most, unsigned seed) {
    size = LLVMFuzzerMutate(bytes, size, most);
    if (seed % 4 != 0)
        mend_checksums(bytes, size);
    return size;
}

/* ---- The target ------------------------------------------------------------------------------ */

enum { MOST_VALUES = 256 };

/* All weights of the net, one after the other; returns how many. */
static size_t all_weights(const fv_net *net, float values[MOST_VALUES]) {
    size_t count = 0;
    fv_weight_info info;
    for (int i = 0; fv_weight_describe(net, i, &info) == FV_OK; i++) {
        if (count + info.count > MOST_VALUES || fv_get_weight(net, i, values + count) != FV_OK)
            abort();
        count += info.count;
    }
    return count;
}

static fv_net *load_net(void) {
    fv_net *net = fv_net_load(FV_FUZZ_FOLDER "/npz.net");
    if (!net)
        abort();
    return net;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static float before[MOST_VALUES], after[MOST_VALUES];
    const char *path = fuzz_file("weights.npz", bytes, size);
    fv_net *net = load_net();
    size_t count = all_weights(net, before);
    bool loaded = path && fv_load_weights(net, path) == FV_OK;
    if (all_weights(net, after) != count ||
        (!loaded && memcmp(before, after, count * sizeof *before) != 0))
        abort();
    fv_net_free(net);
    return 0;
}
