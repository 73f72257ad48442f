/* Makes the manual page fovea.net(5): the template with each marked line replaced by mdoc text
 * from the layer records, the tables of the statements and the lists of words, so that the page
 * cannot go stale.
 * Without a template it lists the names that the page must hold, for the test. Called by the
 * build. */
#include "base/text.h"
#include "folders.h"
#include "formulas.h"
#include "net/net.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Text ------------------------------------------------------------------------------------ */

/* Plain text, with what mdoc would take for its own escaped. */
static void put_text(const char *text) {
    if (*text == '.' || *text == '\'')
        fputs("\\&", stdout);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout); /* a minus, no hyphen */
        else
            putchar(*text);
    }
}

/* As put_text, and empties it. */
static void put_made(fv_text *made) {
    put_text(made->bytes ? made->bytes : "");
    fv_text_free(made);
}

static void put_number(double number) {
    fv_text made = {0};
    fv_text_add_number(&made, number);
    put_made(&made);
}

static int count_words(const char *const *words) {
    int count = 0;
    while (words[count])
        count++;
    return count;
}

/* "valid or same". */
static void put_words(const char *const *words) {
    int count = count_words(words);
    for (int i = 0; i < count; i++) {
        put_text(words[i]);
        fputs(i + 2 < count ? ", " : i + 2 == count ? " or " : "", stdout);
    }
}

/* Lists of words that have a section of their own. */
static const struct {
    const char *const *words;
    const char *section;
    const word_line *formulas;
} lists[] = {
    {fv_activation_names, "ACTIVATIONS", activation_formulas},
    {fv_init_names, "INITIALISERS", initialiser_formulas},
    {fv_padding_names, "PADDING", padding_formulas},
    {fv_loss_names, "LOSSES", loss_formulas},
    {fv_metric_names, "METRICS", metric_formulas},
};

enum { LISTS = sizeof lists / sizeof *lists };

static const char *find_formula(const word_line *formulas, const char *word) {
    while (formulas->word && strcmp(formulas->word, word) != 0)
        formulas++;
    return formulas->text;
}

/* Where its words are listed: their section; else the words themselves. */
static void put_choices(const char *const *words) {
    for (int i = 0; i < LISTS; i++)
        if (lists[i].words == words) {
            printf("one of those in %s", lists[i].section);
            return;
        }
    put_words(words);
}

/* ---- Parameters ------------------------------------------------------------------------------ */

/* "1 to 16777216", "more than 0, less than 1". */
static void put_range(const char *what, const fv_param *param) {
    bool above = param->low == FV_ABOVE_ZERO;
    printf("%s ", what);
    if (above)
        fputs("more than 0, ", stdout);
    else
        put_number(param->low);
    fputs(above ? "" : " to ", stdout);
    fputs(param->exclusive_high ? "less than " : above ? "at most " : "", stdout);
    put_number(param->high);
}

static void put_kind(const fv_param *param) {
    switch (param->type) {
    case FV_PARAM_INT:
    case FV_PARAM_COUNT:
        put_range("whole number,", param);
        return;
    case FV_PARAM_NUMBER:
        put_range("number,", param);
        return;
    case FV_PARAM_NUMBERS:
        printf("1 to %d", param->most ? param->most : 4);
        put_range(" numbers, each", param);
        return;
    case FV_PARAM_BOOL:
    case FV_PARAM_NOT:
        fputs("true or false", stdout);
        return;
    case FV_PARAM_CHOICE:
        put_choices(param->choices);
        return;
    case FV_PARAM_SIZES:
        put_range("sizes, each", param);
        return;
    case FV_PARAM_PADS:
        put_range("pads, each", param);
        return;
    case FV_PARAM_SHAPE:
        put_range("shape, each size", param);
        return;
    case FV_PARAM_INIT:
        put_choices(fv_init_names);
        return;
    case FV_PARAM_NAME:
        if (param->choices)
            put_choices(param->choices);
        else
            printf("name of at most %d letters", (param->most ? param->most : 32) - 1);
        return;
    case FV_PARAM_TABLE:
        fputs("for each filter the channels that it sees", stdout);
        return;
    }
}

/* What a value is where none is given; `defaults` is an options struct of zeros. */
static void put_default(const fv_param *params, const fv_param *param, const void *defaults) {
    if (param->required) {
        fputs("; required", stdout);
        return;
    }
    if (!param->fallback_text) {
        fv_text made = {0};
        fv_param_print(param, defaults, &made);
        fputs(made.size > 0 ? "; default: " : "", stdout);
        put_made(&made);
        return;
    }
    fputs("; default: ", stdout);
    bool other_key = fv_param_find(params, param->fallback_text) != NULL;
    fputs(other_key ? "as " : "", stdout);
    put_text(param->fallback_text);
}

static bool put_params(const fv_param *params, size_t options_size) {
    if (!params || !params->key)
        return true;
    void *defaults = calloc(1, options_size);
    if (!defaults)
        return false;
    puts(".Bl -tag -compact -width test_samples");
    for (const fv_param *param = params; param->key; param++) {
        printf(".It Cm %s\n", param->key);
        put_text(param->help);
        puts("\n.br");
        put_kind(param);
        put_default(params, param, defaults);
        putchar('\n');
    }
    puts(".El");
    free(defaults);
    return true;
}

/* ---- What replaces the marked lines ---------------------------------------------------------- */

/* conv filters kernel [activation] [key=value ...] */
static void put_usage(const fv_layer_type *type) {
    bool keyed = false;
    printf(".D1 Cm %s", type->name);
    for (const fv_param *param = type->params; param && param->key; param++) {
        keyed = keyed || param->position == 0;
        if (param->position > 0)
            printf(param->required ? " Ar %s" : " Oo Ar %s Oc", param->key);
    }
    if (type->max_inputs > 1)
        fputs(" Cm from Ns = Ns Ar name , ...", stdout);
    puts(keyed ? " Op Ar key Ns = Ns Ar value ...\n.Pp" : "\n.Pp");
}

/* Sections of their own, after the names of all types, for there are many. */
static bool put_layers(void) {
    bool good = true;
    for (int i = 0; fv_layer_types[i]; i++) {
        fputs(i ? ",\n" : "The types are\n", stdout);
        fputs(fv_layer_types[i]->name, stdout);
    }
    puts(".");
    for (int i = 0; fv_layer_types[i]; i++) {
        const fv_layer_type *type = fv_layer_types[i];
        printf(".Ss %s\n", type->name);
        if (type->params || type->max_inputs > 1)
            put_usage(type);
        put_text(type->help);
        puts(type->params ? "\n.Pp" : "");
        good = put_params(type->params, type->options_size) && good;
    }
    return good;
}

static bool put_train(void) {
    return put_params(fv_train_params, sizeof(fv_train_options));
}

static bool put_tuning(void) {
    return put_params(fv_tuning_params, sizeof(fv_tuning));
}

static bool put_loss(void) {
    return put_params(fv_loss_params, sizeof(fv_loss_options));
}

static bool put_metric(void) {
    return put_params(fv_metric_params, sizeof(fv_metric_options));
}

/* The keys of its own that a loss or metric has. */
static void put_keys(const char *const *words, int index) {
    const fv_judge_type *types = words == fv_loss_names     ? fv_loss_types
                                 : words == fv_metric_names ? fv_metric_types
                                                            : NULL;
    if (types && *types[index].keys)
        printf("; keys: %s", types[index].keys);
}

/* The words of a section with their formulas; a metric may also be a loss. */
static bool put_list(const char *section) {
    puts(".Bl -tag -compact -width kaiming_normal_out");
    for (int i = 0; i < LISTS; i++)
        for (int w = 0; strcmp(lists[i].section, section) == 0 && lists[i].words[w]; w++) {
            const char *word = lists[i].words[w], *text = find_formula(lists[i].formulas, word);
            if (!text && lists[i].words == fv_metric_names)
                text = find_formula(loss_formulas, word);
            if (!text)
                continue;
            printf(".It Cm %s\n", word);
            put_text(text);
            put_keys(lists[i].words, w);
            putchar('\n');
        }
    puts(".El");
    return true;
}

static bool put_activations(void) {
    return put_list("ACTIVATIONS");
}

static bool put_initialisers(void) {
    return put_list("INITIALISERS");
}

static bool put_paddings(void) {
    return put_list("PADDING");
}

static bool put_losses(void) {
    return put_list("LOSSES");
}

static bool put_metrics(void) {
    return put_list("METRICS");
}

/* Whether the parameter's default is the optimizer's own. */
static bool is_optimizers(const fv_param *param) {
    return param->type == FV_PARAM_NUMBER && param->fallback_text &&
           strcmp(param->fallback_text, "the optimizer's") == 0;
}

/* One optimizer by one formula: the defaults that training fills in; blank what it does not use. */
static void put_optimizer(const char *name, const char *formula, int formula_value) {
    fv_train_options options = {.formula = (fv_formula)formula_value};
    snprintf(options.optimizer, sizeof options.optimizer, "%s", name);
    fv_train_resolve(&options);
    printf(".It %s Ta %s", name, formula);
    for (const fv_param *param = fv_train_params; param->key; param++) {
        if (is_optimizers(param)) {
            fv_text made = {0};
            fv_param_print(param, &options, &made);
            fputs(made.size > 0 ? " Ta " : " Ta", stdout);
            put_made(&made);
        }
    }
    putchar('\n');
}

static bool put_optimizers(void) {
    const fv_param *optimizers = fv_param_find(fv_train_params, "optimizer");
    const fv_param *formulas = fv_param_find(fv_train_params, "formula");
    if (!optimizers || !formulas)
        return false;
    puts(".Bl -column optimizer formula 0.001 0.95 0.9 0.999 accumulator 0.0001 0.004");
    fputs(".It optimizer Ta formula", stdout);
    for (const fv_param *param = fv_train_params; param->key; param++)
        if (is_optimizers(param))
            printf(" Ta %s", param->key);
    putchar('\n');
    for (int i = 0; optimizers->choices[i]; i++)
        for (int f = 0; formulas->choices[f]; f++)
            put_optimizer(optimizers->choices[i], formulas->choices[f], f);
    puts(".El");
    return true;
}

static bool put_nets(void) {
    puts(".It Pa " FV_NETS_FOLDER "/NAME.net");
    return true;
}

/* ---- The page -------------------------------------------------------------------------------- */

static const struct {
    const char *line;
    bool (*put)(void);
} marks[] = {{".\\\" @layers@\n", put_layers},
             {".\\\" @tuning@\n", put_tuning},
             {".\\\" @activations@\n", put_activations},
             {".\\\" @initialisers@\n", put_initialisers},
             {".\\\" @paddings@\n", put_paddings},
             {".\\\" @train@\n", put_train},
             {".\\\" @loss@\n", put_loss},
             {".\\\" @losses@\n", put_losses},
             {".\\\" @metric@\n", put_metric},
             {".\\\" @metrics@\n", put_metrics},
             {".\\\" @optimizers@\n", put_optimizers},
             {".\\\" @nets@\n", put_nets}};

static bool put_line(const char *line) {
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (strcmp(marks[i].line, line) == 0)
            return marks[i].put();
    fputs(line, stdout);
    return true;
}

static bool put_page(FILE *template) {
    char *line = NULL;
    size_t capacity = 0;
    bool good = true;
    while (good && getline(&line, &capacity, template) > 0)
        good = put_line(line);
    free(line);
    return good && !ferror(template);
}

/* Lines "SECTION" and "SECTION KEY". */
static void list_names(const char *section, const fv_param *params) {
    puts(section);
    for (; params && params->key; params++)
        printf("%s %s\n", section, params->key);
}

int main(int count, char **arguments) {
    if (count != 2) {
        for (int i = 0; fv_layer_types[i]; i++)
            list_names(fv_layer_types[i]->name, fv_layer_types[i]->params);
        list_names("LEARNING", fv_tuning_params);
        list_names("TRAINING", fv_train_params);
        list_names("LOSSES", fv_loss_params);
        list_names("METRICS", fv_metric_params);
        for (int i = 0; i < LISTS; i++)
            for (int w = 0; lists[i].words[w]; w++)
                printf("%s %s\n", lists[i].section, lists[i].words[w]);
        return EXIT_SUCCESS;
    }
    FILE *template = fopen(arguments[1], "r");
    bool good = template && put_page(template);
    if (template)
        fclose(template);
    if (!good || fflush(stdout) != 0)
        fprintf(stderr, "cannot make the manual page from %s\n", arguments[1]);
    return good && !ferror(stdout) ? EXIT_SUCCESS : EXIT_FAILURE;
}
