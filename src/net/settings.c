/* Changes to a .net text that the caller asks for: LAYER.KEY=VALUE, train.KEY=VALUE and, of its
 * parameters, NAME=VALUE. Called by text.c and expand.c while they read. */
#include "base/text.h"
#include "net/reader.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The '.' before the key; NULL where the setting is about no layer. */
static const char *setting_dot(const char *setting) {
    const char *equals = strchr(setting, '=');
    const char *dot = equals ? memrchr(setting, '.', (size_t)(equals - setting)) : NULL;
    return dot && dot > setting && dot + 1 < equals && equals[1] ? dot : NULL;
}

/* Bytes of the parameter's name; 0 where the setting is about none. */
static size_t parameter_size(const char *setting) {
    const char *equals = strchr(setting, '=');
    size_t size = equals ? (size_t)(equals - setting) : 0;
    return size > 0 && equals[1] && !memchr(setting, '.', size) ? size : 0;
}

/* A parameter's value is one word of a line. */
static bool is_word(const char *value) {
    for (const char *c = value; *c; c++) {
        if ((unsigned char)*c <= ' ' || strchr("#{}\x7F", *c)) {
            return false;
        }
    }
    return strlen(value) < FV_MOST_LINE;
}

fv_status fv_check_settings(const fv_parser *p) {
    for (int i = 0; i < p->setting_count; i++) {
        const char *setting = p->settings[i];
        size_t parameter = parameter_size(setting);
        if (!setting_dot(setting) && parameter == 0) {
            return fv_fail(FV_INVALID,
                           "setting \"%.200s\": expected LAYER.KEY=VALUE, train.KEY=VALUE or "
                           "PARAMETER=VALUE, such as train.lr=0.1",
                           setting);
        }
        if (parameter > 0 && !is_word(setting + parameter + 1)) {
            return fv_fail(FV_INVALID,
                           "setting \"%.200s\": a parameter's value is one word without "
                           "blanks, \"#\" and braces",
                           setting);
        }
    }
    return FV_OK;
}

/* ---- Keys of layers and of train ------------------------------------------------------------- */

static bool is_for_layer(const char *setting, const char *layer) {
    const char *dot = setting_dot(setting);
    size_t size = dot ? (size_t)(dot - setting) : 0;
    return dot && strlen(layer) == size && memcmp(setting, layer, size) == 0;
}

static fv_status apply_setting(fv_statement *s, const char *setting) {
    const char *start = setting_dot(setting) + 1, *equals = strchr(setting, '=');
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int)(equals - start < 63 ? equals - start : 63), start);
    const fv_param *param = fv_param_find(s->params, key);
    const fv_param *tuning = s->type && !param ? fv_param_find(fv_tuning_params, key) : NULL;
    fv_status status = param    ? fv_param_parse(param, equals + 1, s->options)
                       : tuning ? fv_param_parse(tuning, equals + 1, &s->tuning)
                                : fv_fail_unknown_key(s, key);
    if (status != FV_OK) {
        return fv_fail_in(status, "setting \"%.200s\"", setting);
    }
    if (tuning) {
        s->tuned |= 1ull << (tuning - fv_tuning_params);
    } else {
        s->given |= 1ull << (param - s->params);
    }
    if (!s->type) { /* the one of epochs and steps that was set last counts */
        fv_train_options *train = s->options;
        train->epochs = strcmp(key, "steps") == 0 ? 0 : train->epochs;
        train->steps = strcmp(key, "epochs") == 0 ? 0 : train->steps;
    }
    return FV_OK;
}

fv_status fv_apply_settings(fv_parser *p, fv_statement *s, const char *layer) {
    fv_status status = FV_OK;
    for (int i = 0; i < p->setting_count && status == FV_OK; i++) {
        if (is_for_layer(p->settings[i], layer)) {
            p->setting_used[i] = true;
            status = apply_setting(s, p->settings[i]);
        }
    }
    return status;
}

/* ---- Parameters ------------------------------------------------------------------------------ */

const char *fv_parameter_setting(fv_parser *p, const char *name) {
    const char *value = NULL;
    for (int i = 0; i < p->setting_count; i++) {
        size_t size = parameter_size(p->settings[i]);
        bool named = size == strlen(name) && memcmp(p->settings[i], name, size) == 0;
        if (size > 0 && named && !p->setting_used[i]) {
            p->setting_used[i] = true;
            value = p->settings[i] + size + 1;
        }
    }
    return value;
}

static fv_status fail_no_parameter(const fv_parser *p, const char *name) {
    enum { MOST = 64 };
    const char *names[MOST + 1] = {NULL};
    int count = 0;
    for (int i = 0; i < p->source_count; i++) {
        for (const fv_variable *v = p->sources[i]->parameters; v && count < MOST; v = v->outer) {
            names[count++] = v->name;
        }
    }
    return count > 0 ? fv_fail_unknown("parameter", name, names)
                     : fv_fail(FV_INVALID, "the net has no parameters; a layer's key is set by "
                                           "LAYER.KEY=VALUE");
}

fv_status fv_check_settings_used(const fv_parser *p) {
    for (int i = 0; i < p->setting_count; i++) {
        const char *setting = p->settings[i], *dot = setting_dot(setting);
        if (!p->setting_used[i]) {
            size_t size = dot ? (size_t)(dot - setting) : parameter_size(setting);
            char name[FV_NAME_SIZE];
            snprintf(name, sizeof name, "%.*s", (int)(size < 63 ? size : 63), setting);
            fv_status status =
                dot ? fv_fail_no_layer(p, name, " in this net") : fail_no_parameter(p, name);
            return fv_fail_in(status, "setting \"%.200s\"", setting);
        }
    }
    return FV_OK;
}
