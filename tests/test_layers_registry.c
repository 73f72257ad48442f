/* Every layer type has a line in oracles.def, or this file does not compile, and every line a layer
 * type. That every line has an
 * oracle is the affair of the families' programs (layer_cases.c). */
#include "layers/layer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char *const held[] = {
#define ORACLE(family, type) #type,
#include "oracles.def"
#undef ORACLE
};
enum { HELD = sizeof held / sizeof held[0] };

/* For the compiler: oracle_of_fv_layer_X exists where X has a line in oracles.def, and each layer
 * type of layers.def uses its own. So the tests do not build where an oracle is missing. */
enum {
#define ORACLE(family, type) oracle_of_fv_layer_##type,
#include "oracles.def"
#undef ORACLE
};

static const int oracle_of_layer[] = {
#define LAYER(record) oracle_of_##record,
#include "layers/layers.def"
#undef LAYER
};

static void test_every_layer_has_an_oracle(void **state) {
    (void)state;
    assert_int_equal(sizeof oracle_of_layer / sizeof *oracle_of_layer, HELD);
    for (int i = 0; i < HELD; i++)
        assert_string_equal(fv_layer_types[i]->name, held[oracle_of_layer[i]]);
}

static void test_every_oracle_has_a_layer(void **state) {
    (void)state;
    for (int i = 0; i < HELD; i++)
        if (!fv_layer_type_find(held[i]))
            fail_msg("tests/oracles.def names %s, which is no layer type", held[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_layer_has_an_oracle),
                                       cmocka_unit_test(test_every_oracle_has_a_layer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
