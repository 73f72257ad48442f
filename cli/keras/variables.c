/* Where in the HDF5 file a layer's variables lie. In a .keras file: layers/conv2d_1/vars/0, named
 * by the layers' classes in their order (keras/src/saving/saving_lib.py). In a whole-model .h5:
 * listed for each layer of the outer model by model_weights/LAYER's attribute weight_names, of a
 * model in the model first all that learn, then all that do not (keras/src/legacy/saving). Called
 * by import.c.
 */
#include "base/text.h"
#include "keras.h"
#include <ctype.h>
#include <string.h>

/* ---- Which variables a layer has ------------------------------------------------------------- */

typedef struct variable {
    char names[64]; /* "kernel|depthwise_kernel" */
    bool learns;
} variable;

/* "use_bias", or "!mean": the key must be true, or missing. */
static bool is_there(const json_t *config, const char *condition) {
    if (*condition == '!')
        return !json_object_get(config, condition + 1) ||
               json_is_null(json_object_get(config, condition + 1));
    return !json_is_false(json_object_get(config, condition));
}

/* The class's words about variables that hold for this layer's config; how many. */
static int list_variables(const keras_class *class, const json_t *config,
                          variable list[MOST_VARIABLES]) {
    int count = 0;
    for (const char *word = class->variables; word && *word;) {
        size_t size = strcspn(word, " ");
        bool learns = *word != '-';
        char text[64];
        snprintf(text, sizeof text, "%.*s", (int)size - !learns, word + !learns);
        char *condition = strchr(text, ':');
        if (condition)
            *condition++ = 0;
        if ((!condition || is_there(config, condition)) && count < MOST_VARIABLES) {
            list[count].learns = learns;
            strcpy(list[count++].names, text);
        }
        word += size + (word[size] == ' ');
    }
    return count;
}

static fv_status find_class(const keras_layer *layer, const keras_class **class) {
    *class = class_find(layer->class_name);
    if (*class)
        return FV_OK;
    return fv_fail(FV_UNSUPPORTED, "layer %.80s is a %.80s, which has no counterpart in fovea",
                   layer->name ? layer->name : "?", layer->class_name);
}

/* ---- .keras ---------------------------------------------------------------------------------- */

/* As Python has it: re.sub("(.)([A-Z][a-z]+)", r"\1_\2"), then ("([a-z])([A-Z])", r"\1_\2"), then
 * lower(): an _ before a capital that begins a word of small letters or follows a small letter. */
static void snake_case(const char *class_name, char text[128]) {
    size_t used = 0;
    const char *from = class_name;
    for (size_t i = 0; from[i] && used < 126; i++) {
        bool capital = isupper((unsigned char)from[i]) && i > 0;
        bool word = capital && islower((unsigned char)from[i + 1]);
        bool after = capital && islower((unsigned char)from[i - 1]);
        if ((word || after) && used > 0 && text[used - 1] != '_')
            text[used++] = '_';
        if (isalnum((unsigned char)from[i]) || from[i] == '_')
            text[used++] = (char)tolower((unsigned char)from[i]);
    }
    text[used] = 0;
}

fv_status group_name(json_t *seen, const char *class_name, char name[160]) {
    char base[128];
    snake_case(class_name, base);
    json_int_t before = json_integer_value(json_object_get(seen, base));
    if (before > 0)
        snprintf(name, 160, "%s_%lld", base, (long long)before);
    else
        snprintf(name, 160, "%s", base);
    return json_object_set_new(seen, base, json_integer(before + 1)) == 0
               ? FV_OK
               : fv_fail(FV_FORMAT, "the class %.80s is no UTF-8", class_name);
}

static fv_status locate_layer(keras_layer *layer, const char *path) {
    const keras_class *class;
    variable list[MOST_VARIABLES];
    fv_status status = find_class(layer, &class);
    if (status || layer->operation)
        return status;
    int count = list_variables(class, layer->config, list);
    for (int i = 0; i < count && !status; i++) {
        fv_text text = {0};
        fv_text_add(&text, "%s/vars/%d", path, i);
        layer->variables[i] = fv_text_take(&text);
        status = layer->variables[i] ? FV_OK : FV_MEMORY;
        layer->variable_count += !status;
    }
    return status;
}

static fv_status locate_model(keras_model *model, const char *path);

static fv_status locate_one(keras_layer *layer, json_t *seen, const char *path) {
    char name[160];
    fv_status status = layer->operation ? FV_OK : group_name(seen, layer->class_name, name);
    if (status)
        return status;
    fv_text text = {0};
    fv_text_add(&text, "%slayers/%s", path, layer->operation ? "" : name);
    char *own = fv_text_take(&text);
    if (!own)
        return FV_MEMORY;
    if (layer->model) {
        fv_text below = {0};
        fv_text_add(&below, "%s/", own);
        char *inner = fv_text_take(&below);
        status = inner ? locate_model(layer->model, inner) : FV_MEMORY;
        fv_free(inner);
    } else {
        status = locate_layer(layer, own);
    }
    fv_free(own);
    return status;
}

/* `path` is "" or ends with a slash. Models are at most MOST_DEPTH deep. */
static fv_status locate_model(keras_model *model, const char *path) {
    json_t *seen = json_object();
    fv_status status = seen ? FV_OK : FV_MEMORY;
    for (int i = 0; i < model->count && !status; i++)
        status = locate_one(&model->layers[i], seen, path);
    json_decref(seen);
    return status;
}

/* ---- Whole-model .h5 ------------------------------------------------------------------------- */

/* The list of one group, taken in order. */
typedef struct listing {
    const char *group; /* the outer layer's name */
    texts names;
    size_t next;
} listing;

/* Whether "scope/depthwise_kernel:0" ends with one of "kernel|depthwise_kernel"; TensorFlow may
 * have put a _1 behind it. */
static bool names_agree(const char *path, const char *names) {
    const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
    for (const char *name = names; *name;) {
        size_t size = strcspn(name, "|");
        const char *rest = last + size;
        if (strncmp(last, name, size) == 0) {
            rest += *rest == '_' ? 1 + strspn(rest + 1, "0123456789") : 0;
            rest += *rest == ':' ? 1 + strspn(rest + 1, "0123456789") : 0;
            if (!*rest)
                return true;
        }
        name += size + (name[size] == '|');
    }
    return false;
}

static fv_status take_name(listing *l, keras_layer *layer, int index, const variable *wanted) {
    if (l->next >= l->names.count)
        return fv_fail(FV_FORMAT,
                       "layer %.80s needs %.40s, but the file lists only %zu weights for %.80s",
                       layer->name, wanted->names, l->names.count, l->group);
    const char *name = l->names.items[l->next++];
    if (!names_agree(name, wanted->names))
        return fv_fail(FV_FORMAT,
                       "weight %zu of %.80s is %.80s, but %.40s of layer %.80s should stand there",
                       l->next, l->group, name, wanted->names, layer->name);
    fv_text text = {0};
    fv_text_add(&text, "model_weights/%s/%s", l->group, name);
    layer->variables[index] = fv_text_take(&text);
    return layer->variables[index] ? FV_OK : FV_MEMORY;
}

/* Takes the variables of a layer that learn, or those that do not, or (both) all. */
static fv_status take_layer(listing *l, keras_layer *layer, bool learning, bool both) {
    const keras_class *class;
    variable list[MOST_VARIABLES];
    fv_status status = find_class(layer, &class);
    if (status)
        return status;
    layer->variable_count = list_variables(class, layer->config, list);
    for (int i = 0; i < layer->variable_count && !status; i++)
        if (both || (layer->trainable && list[i].learns) == learning)
            status = take_name(l, layer, i, &list[i]);
    return status;
}

static fv_status take_model(listing *l, keras_model *model, bool learning) {
    fv_status status = FV_OK;
    for (int i = 0; i < model->count && !status; i++)
        status = model->layers[i].model ? take_model(l, model->layers[i].model, learning)
                                        : take_layer(l, &model->layers[i], learning, false);
    return status;
}

static fv_status locate_outer(keras_layer *layer, store *file) {
    listing l = {.group = layer->name};
    fv_text text = {0};
    fv_text_add(&text, "model_weights/%s", layer->name ? layer->name : "");
    char *group = fv_text_take(&text);
    fv_status status = !group        ? FV_MEMORY
                       : layer->name ? store_texts(file, group, "weight_names", &l.names)
                                     : FV_OK;
    fv_free(group);
    if (!status && layer->model) {
        status = take_model(&l, layer->model, true);
        if (!status)
            status = take_model(&l, layer->model, false);
    } else if (!status) {
        status = take_layer(&l, layer, true, true);
    }
    if (!status && l.next < l.names.count)
        status =
            fv_fail(FV_FORMAT, "the file lists %zu weights for layer %.80s (%.80s), which has %zu",
                    l.names.count, layer->name, layer->class_name, l.next);
    texts_free(&l.names);
    return status;
}

fv_status variables_locate(keras_model *model, store *file, bool legacy) {
    fv_status status = FV_OK;
    if (!legacy)
        return locate_model(model, "");
    for (int i = 0; i < model->count && !status; i++)
        status = locate_outer(&model->layers[i], file);
    return status;
}
