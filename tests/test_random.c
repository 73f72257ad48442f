/* Tests of src/base/random.c: Philox against the published vectors, and the distributions. All
 * seeds are fixed: the bounds (5 standard errors) hold or do not hold for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/random.h>
#include <math.h>
#include <string.h>

/* The lines "philox4x32 10" of Random123's kat_vectors: counter, key, result. */
static const struct {
    uint32_t counter[4], key[2], result[4];
} vectors[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

static void test_known_answers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint32_t counter[4];
        memcpy(counter, vectors[i].counter, sizeof counter);
        fv_philox(counter, vectors[i].key);
        assert_memory_equal(counter, vectors[i].result, sizeof counter);
    }
}

/* The layout that random.c documents; a change of it would change every trained net. */
static void test_layout(void **state) {
    (void)state;
    fv_random random;
    fv_random_start(&random, 0x0123456789abcdefu, FV_PURPOSE_SHUFFLE, 77);
    const uint32_t key[2] = {0x89abcdef, 0x01234567};
    for (uint32_t block = 0; block < 3; block++) {
        uint32_t expected[4] = {block, 0, 77, FV_PURPOSE_SHUFFLE};
        fv_philox(expected, key);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(fv_random_bits(&random), expected[i]);
        }
    }
    fv_random_start(&random, 0x0123456789abcdefu, FV_PURPOSE_SHUFFLE, 77);
    random.counter[0] = 0xffffffff; /* the block's number carries into its high word */
    for (int i = 0; i < 4; i++) {
        fv_random_bits(&random);
    }
    uint32_t expected[4] = {0, 1, 77, FV_PURPOSE_SHUFFLE};
    fv_philox(expected, key);
    assert_int_equal(fv_random_bits(&random), expected[0]);
}

/* Streams that differ in one of seed, purpose and number share nothing; equal ones share all. */
static void test_streams(void **state) {
    (void)state;
    const struct {
        uint64_t seed;
        fv_purpose purpose;
        uint32_t stream;
    } streams[] = {
        {1, FV_PURPOSE_INIT, 0},    {2, FV_PURPOSE_INIT, 0}, {0x100000001u, FV_PURPOSE_INIT, 0},
        {1, FV_PURPOSE_SHUFFLE, 0}, {1, FV_PURPOSE_INIT, 1}, {1, FV_PURPOSE_INIT, 0},
    };
    uint32_t numbers[6][8];
    for (int i = 0; i < 6; i++) {
        fv_random random;
        fv_random_start(&random, streams[i].seed, streams[i].purpose, streams[i].stream);
        for (int j = 0; j < 8; j++) {
            numbers[i][j] = fv_random_bits(&random);
        }
    }
    for (int i = 0; i < 5; i++) {
        for (int k = i + 1; k < 5; k++) {
            for (int j = 0; j < 8; j++) {
                assert_int_not_equal(numbers[i][j], numbers[k][j]);
            }
        }
    }
    assert_memory_equal(numbers[0], numbers[5], sizeof numbers[0]);
}

static void assert_near(double value, double expected, double bound) {
    if (!(fabs(value - expected) <= bound)) {
        fail_msg("%g is not within %g of %g", value, bound, expected);
    }
}

#define DRAWS 200000

static void test_uniform(void **state) {
    (void)state;
    fv_random random;
    fv_random_start(&random, 1, FV_PURPOSE_BENCH, 0);
    double sum = 0, squares = 0, neighbours = 0, before = 0;
    int bins[20] = {0}, fine = 0;
    for (int i = 0; i < DRAWS; i++) {
        double u = fv_random_uniform(&random);
        assert_true(u >= 0 && u < 1);
        sum += u;
        squares += (u - 0.5) * (u - 0.5);
        neighbours += (u - 0.5) * (before - 0.5);
        before = u;
        bins[(int)(u * 20)]++;
        double scaled = u * 0x1p32;
        fine += scaled > floor(scaled); /* bits below the 32nd */
    }
    double root = sqrt(DRAWS);
    assert_near(sum / DRAWS, 0.5, 5 * sqrt(1.0 / 12) / root);
    assert_near(squares / DRAWS, 1.0 / 12, 5 * sqrt(1.0 / 180) / root);
    assert_near(neighbours / DRAWS, 0, 5 * (1.0 / 12) / root);
    for (int i = 0; i < 20; i++) {
        assert_near(bins[i], DRAWS / 20.0, 5 * sqrt(DRAWS / 20.0));
    }
    assert_true(fine > DRAWS - 10);
}

static void test_normal(void **state) {
    (void)state;
    fv_random random;
    fv_random_start(&random, 2, FV_PURPOSE_BENCH, 0);
    double powers[5] = {0}, neighbours = 0, before = 0;
    int beyond_two = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = fv_random_normal(&random);
        double power = 1;
        for (int k = 0; k < 5; k++, power *= x) {
            powers[k] += power / DRAWS;
        }
        neighbours += x * before / DRAWS; /* also of the two of a pair */
        before = x;
        beyond_two += fabs(x) > 2;
    }
    double root = sqrt(DRAWS);
    assert_near(powers[1], 0, 5 / root);
    assert_near(powers[2], 1, 5 * sqrt(2) / root);
    assert_near(powers[3], 0, 5 * sqrt(15) / root);
    assert_near(powers[4], 3, 5 * sqrt(96) / root);
    assert_near(neighbours, 0, 5 / root);
    assert_near(beyond_two, 0.0455003 * DRAWS, 5 * sqrt(0.0455 * DRAWS));
}

/* 2^32 is 4/3 of this bound: a modulo would draw its lower third twice as often, a product without
 * rejection its multiples of three. */
static void test_below(void **state) {
    (void)state;
    const uint32_t bound = 3u << 30;
    fv_random random;
    fv_random_start(&random, 3, FV_PURPOSE_BENCH, 0);
    int remainders[3] = {0}, thirds[3] = {0}, sevenths[7] = {0};
    for (int i = 0; i < DRAWS; i++) {
        uint32_t drawn = fv_random_below(&random, bound);
        assert_true(drawn < bound);
        remainders[drawn % 3]++;
        thirds[drawn >> 30]++;
        drawn = fv_random_below(&random, 7);
        assert_true(drawn < 7);
        sevenths[drawn]++;
        assert_int_equal(fv_random_below(&random, 1), 0);
    }
    for (int i = 0; i < 3; i++) {
        assert_near(remainders[i], DRAWS / 3.0, 5 * sqrt(DRAWS / 3.0));
        assert_near(thirds[i], DRAWS / 3.0, 5 * sqrt(DRAWS / 3.0));
    }
    for (int i = 0; i < 7; i++) {
        assert_near(sevenths[i], DRAWS / 7.0, 5 * sqrt(DRAWS / 7.0));
    }
}

static void test_shuffle_permutes(void **state) {
    (void)state;
    const uint32_t counts[] = {0, 1, 2, 3, 1000};
    for (int c = 0; c < 5; c++) {
        uint32_t items[1000], moved = 0;
        int seen[1000] = {0};
        for (uint32_t i = 0; i < 1000; i++) {
            items[i] = i;
        }
        fv_random random;
        fv_random_start(&random, 4, FV_PURPOSE_SHUFFLE, 0);
        fv_shuffle(items, counts[c], &random);
        for (uint32_t i = 0; i < 1000; i++) {
            assert_true(items[i] < 1000);
            seen[items[i]]++;
            moved += items[i] != i;
            assert_true(i < counts[c] || items[i] == i); /* nothing past the end is touched */
        }
        for (int i = 0; i < 1000; i++) {
            assert_int_equal(seen[i], 1);
        }
        assert_true(counts[c] < 1000 || moved > 950);
    }
}

/* Every one of the 24 orders of four items comes up equally often. */
static void test_shuffle_is_fair(void **state) {
    (void)state;
    const int rounds = 48000;
    int seen[256] = {0}, orders = 0;
    fv_random random;
    fv_random_start(&random, 5, FV_PURPOSE_SHUFFLE, 0);
    for (int i = 0; i < rounds; i++) {
        uint32_t items[4] = {0, 1, 2, 3};
        fv_shuffle(items, 4, &random);
        seen[items[0] << 6 | items[1] << 4 | items[2] << 2 | items[3]]++;
    }
    for (int i = 0; i < 256; i++) {
        if (seen[i] > 0) {
            orders++;
            assert_near(seen[i], rounds / 24.0, 5 * sqrt(rounds / 24.0));
        }
    }
    assert_int_equal(orders, 24);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),    cmocka_unit_test(test_layout),
        cmocka_unit_test(test_streams),          cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_normal),           cmocka_unit_test(test_below),
        cmocka_unit_test(test_shuffle_permutes), cmocka_unit_test(test_shuffle_is_fair),
    };
    return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
