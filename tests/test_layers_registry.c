/* Every layer type has a line in oracles.def, and every line a layer type. That every line has an
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

static void test_every_layer_has_an_oracle(void **state) {
    (void)state;
    for (const fv_layer_type *const *type = fv_layer_types; *type; type++) {
        int lines = 0;
        for (int i = 0; i < HELD; i++)
            lines += strcmp(held[i], (*type)->name) == 0;
        if (lines != 1)
            fail_msg("layer type %s has %d lines in tests/oracles.def", (*type)->name, lines);
    }
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
