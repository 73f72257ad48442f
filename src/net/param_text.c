/* The values of an options struct as text, by its parameter table: as params.c reads them. Called
 * by the .net printer, by fovea info and by the manual. */
#include "base/text.h"
#include "net/net.h"
#include <math.h>
#include <string.h>

/* 1/255, which is the same number, where the decimal text is long. */
static void add_number(fv_text *text, double value) {
    size_t start = text->size;
    fv_text_add_number(text, value);
    double divisor = round(1 / value);
    if (text->size - start > 8 && divisor >= 2 && divisor <= 1e6 && 1 / divisor == value) {
        text->size = start;
        fv_text_add(text, "1/%.0f", divisor);
    }
}

static void add_numbers(fv_text *text, const double *values, int count) {
    for (int i = 0; i < count; i++) {
        fv_text_add(text, "%s", i > 0 ? "," : "");
        add_number(text, values[i]);
    }
}

static void add_sizes(fv_text *text, const int sizes[3]) {
    for (int i = 0; i < 3 && sizes[i] != 0; i++) {
        fv_text_add(text, "%s%d", i > 0 ? "x" : "", sizes[i]);
    }
}

/* {before, after} of 3 axes. One value where all are alike; else trailing zeros are left out. */
static void add_pads(fv_text *text, const int pads[6]) {
    bool alike = memcmp(pads, pads + 2, 4 * sizeof *pads) == 0;
    int count = alike ? 1 : (pads[4] | pads[5]) == 0 ? 2 : 3;
    for (int i = 0; i < count; i++) {
        fv_text_add(text, "%s%d", i > 0 ? "x" : "", pads[2 * i]);
        if (pads[2 * i + 1] != pads[2 * i]) {
            fv_text_add(text, ":%d", pads[2 * i + 1]);
        }
    }
}

static void add_shape(fv_text *text, const fv_shape *shape) {
    for (int i = 0; i < shape->rank; i++) {
        if (shape->size[i] == FV_ANY) {
            fv_text_add(text, "*x");
        } else {
            fv_text_add(text, "%dx", shape->size[i]);
        }
    }
    fv_text_add(text, "%d", shape->channels);
}

static void add_init(fv_text *text, fv_init init) {
    fv_text_add(text, "%s", fv_init_names[init.kind]);
    if (fv_init_has_value(init.kind) && (init.value != 0 || init.kind != FV_INIT_ORTHOGONAL)) {
        fv_text_add(text, "(");
        add_number(text, init.value);
        fv_text_add(text, ")");
    }
}

/* "0-2,1-3,0+1+4", as parse_table reads it. */
static void add_table(fv_text *text, const uint64_t table[FV_MOST_TABLE]) {
    for (int row = 0; row < FV_MOST_TABLE && table[row]; row++) {
        const char *before = row > 0 ? "," : "";
        for (int first = 0; first < FV_MOST_TABLE; first++) {
            int last = first;
            if (!(table[row] >> first & 1)) {
                continue;
            }
            while (last + 1 < FV_MOST_TABLE && (table[row] >> (last + 1) & 1)) {
                last++;
            }
            fv_text_add(text, last > first ? "%s%d-%d" : "%s%d", before, first, last);
            before = "+";
            first = last;
        }
    }
}

/* What zero in the field means; nothing where that cannot be said in one value. */
static void add_default(const fv_param *param, fv_text *text) {
    switch (param->type) {
    case FV_PARAM_INT:
    case FV_PARAM_COUNT:
    case FV_PARAM_NUMBER:
    case FV_PARAM_NUMBERS:
    case FV_PARAM_SIZES:
    case FV_PARAM_PADS:
        if (!param->fallback_text) {
            add_number(text, param->fallback);
        }
        return;
    case FV_PARAM_BOOL:
    case FV_PARAM_NOT:
        fv_text_add(text, "%s", param->type == FV_PARAM_NOT ? "true" : "false");
        return;
    case FV_PARAM_CHOICE:
        fv_text_add(text, "%s", param->choices[(int)param->fallback]);
        return;
    case FV_PARAM_INIT:
    case FV_PARAM_NAME:
        fv_text_add(text, "%s", param->fallback_text ? param->fallback_text : "");
        return;
    case FV_PARAM_SHAPE:
    case FV_PARAM_TABLE:
        return;
    }
}

void fv_param_print(const fv_param *param, const void *options, fv_text *text) {
    const void *field = (const char *)options + param->offset;
    if (fv_param_is_default(param, options) && !(param->required && fv_param_allows_zero(param))) {
        add_default(param, text);
        return;
    }
    switch (param->type) {
    case FV_PARAM_INT:
        fv_text_add(text, "%d", *(const int *)field);
        return;
    case FV_PARAM_COUNT:
        fv_text_add(text, "%lld", (long long)*(const int64_t *)field);
        return;
    case FV_PARAM_NUMBER:
        add_number(text, *(const double *)field);
        return;
    case FV_PARAM_NUMBERS:
        add_numbers(text, field, *(const int *)((const char *)options + param->offset2));
        return;
    case FV_PARAM_BOOL:
    case FV_PARAM_NOT:
        fv_text_add(text, "%s", param->type == FV_PARAM_NOT ? "false" : "true");
        return;
    case FV_PARAM_CHOICE:
        fv_text_add(text, "%s", param->choices[*(const int *)field]);
        return;
    case FV_PARAM_SIZES:
        add_sizes(text, field);
        return;
    case FV_PARAM_PADS:
        add_pads(text, field);
        return;
    case FV_PARAM_SHAPE:
        add_shape(text, field);
        return;
    case FV_PARAM_INIT:
        add_init(text, *(const fv_init *)field);
        return;
    case FV_PARAM_NAME:
        fv_text_add(text, "%s", (const char *)field);
        return;
    case FV_PARAM_TABLE:
        add_table(text, field);
        return;
    }
}
