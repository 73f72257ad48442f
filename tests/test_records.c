/* Every layer type's record and every parameter table against tests/golden/records.txt: keys,
 * ranges, defaults and words are a contract with the nets that users have written, so a change must
 * be meant. Where one is, copy the file that the failing test names over the golden one. */
#include "base/text.h"
#include "net/net.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *golden_path;

static void add_params(fv_text *text, const char *section, const fv_param *params) {
    for (; params && params->key; params++) {
        fv_text_add(text, "%s.%s type=%d position=%d low=%.9g high=%.9g%s fallback=%.9g", section,
                    params->key, (int)params->type, params->position, params->low, params->high,
                    params->exclusive_high ? " exclusive" : "", params->fallback);
        fv_text_add(text, "%s%s%s", params->required ? " required" : "",
                    params->fallback_text ? " default=" : "",
                    params->fallback_text ? params->fallback_text : "");
        for (int i = 0; params->choices && params->choices[i]; i++)
            fv_text_add(text, "%s%s", i > 0 ? "," : " words=", params->choices[i]);
        fv_text_add(text, "\n");
    }
}

static void add_type(fv_text *text, const fv_layer_type *type) {
    fv_text_add(text, "%s inputs=%d-%d%s%s%s%s\n", type->name, type->min_inputs, type->max_inputs,
                type->whole_batch ? " whole_batch" : "",
                type->mixes_samples ? " mixes_samples" : "", type->view ? " view" : "",
                type->identity ? " identity" : "");
    add_params(text, type->name, type->params);
}

static char *read_golden(void) {
    FILE *file = fopen(golden_path, "rb");
    char *text = calloc(1, 1 << 20);
    if (!file || !text)
        fail_msg("%s cannot be read", golden_path);
    size_t size = fread(text, 1, (1 << 20) - 1, file);
    fclose(file);
    assert_true(size > 0);
    return text;
}

static void show_difference(const char *got, const char *wanted) {
    size_t line = 0, i = 0;
    for (; got[i] && got[i] == wanted[i]; i++)
        line = got[i] == '\n' ? i + 1 : line;
    print_error("is    %.*s\nnot   %.*s\n", (int)strcspn(got + line, "\n"), got + line,
                (int)strcspn(wanted + line, "\n"), wanted + line);
}

static void records_are_as_promised(void **state) {
    (void)state;
    fv_text text = {0};
    for (const fv_layer_type *const *type = fv_layer_types; *type; type++)
        add_type(&text, *type);
    add_params(&text, "train", fv_train_params);
    add_params(&text, "loss", fv_loss_params);
    add_params(&text, "metric", fv_metric_params);
    add_params(&text, "tuning", fv_tuning_params);
    char *got = fv_text_take(&text), *wanted = read_golden();
    assert_non_null(got);
    if (strcmp(got, wanted) != 0) {
        FILE *file = fopen("records.txt", "wb");
        show_difference(got, wanted);
        if (file) {
            fputs(got, file);
            fclose(file);
        }
        fail_msg("records differ from %s (records.txt here has the present ones)", golden_path);
    }
    fv_free(got);
    free(wanted);
}

int main(int count, char **arguments) {
    golden_path = count > 1 ? arguments[1] : "tests/golden/records.txt";
    const struct CMUnitTest tests[] = {cmocka_unit_test(records_are_as_promised)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
