/* From a .net text to a net: the text is read, then what no single line shows is checked, then the
 * net is built. Called by formats: .net files, texts, and model files, which hold that of theirs.
 */
#include "base/text.h"
#include "net/reader.h"
#include <stdio.h>
#include <string.h>

/* The text that was asked for. */
static fv_status open_text(fv_parser *p, const fv_net_text *text) {
    fv_source *source = fv_alloc(1, sizeof *source);
    if (!source) {
        return FV_MEMORY;
    }
    p->source = p->sources[p->source_count++] = source;
    source->text = text->bytes;
    source->size = text->size;
    source->name = fv_copy_string(text->name);
    source->path = text->is_file ? fv_copy_string(text->name) : NULL;
    return source->name && (source->path || !text->is_file) ? FV_OK : FV_MEMORY;
}

/* Forgets all that was read. */
static void close_texts(fv_parser *p) {
    for (int i = 0; i < p->source_count; i++) {
        fv_free_source(p->sources[i]);
    }
    p->source_count = 0;
    fv_free(p->setting_used);
    p->setting_used = NULL;
}

static fv_status read_text(fv_parser *p, const fv_net_text *text) {
    fv_scope scope = {.blocks = FV_MOST_BLOCKS, .above = -1};
    fv_status status = open_text(p, text);
    scope.type_counts = fv_alloc(fv_layer_type_count(), sizeof *scope.type_counts);
    p->setting_used = fv_alloc((size_t)p->setting_count, sizeof *p->setting_used);
    p->net = fv_net_new();
    if (p->net && status == FV_OK) {
        p->net->source = fv_copy_string(text->name);
    }
    bool whole = scope.type_counts && p->setting_used && p->net && p->net->source;
    p->scope = &scope;
    p->train_given = 0;
    p->expanded = 0;
    status = status == FV_OK && whole ? fv_read_source(p) : FV_MEMORY;
    if (status == FV_OK && p->net->count == 0) {
        status = fv_place(p, p->words,
                          fv_fail(FV_INVALID, "the net has no layers; it starts with an "
                                              "input line, such as \"input 28x28x1\""));
    }
    p->scope = NULL;
    fv_free(scope.type_counts);
    return status;
}

/* The text is read once more, up to the layer that the complaint is about, for the message to have
 * its place. */
static fv_status blame(fv_parser *p, const fv_net_text *text, int node) {
    char *complaint = fv_copy_string(fv_error_message());
    if (!complaint) {
        return FV_MEMORY;
    }
    close_texts(p);
    fv_net_free(p->net);
    p->net = NULL;
    p->blamed = node;
    p->complaint = complaint;
    fv_status status = read_text(p, text);
    fv_free(complaint);
    return status;
}

/* Of a net that was read: every setting was about something, every output but the last goes
 * somewhere. */
static fv_status check(fv_parser *p, const fv_net_text *text) {
    fv_statement train = {.what = "train", .params = fv_train_params, .options = &p->net->train};
    fv_status status = fv_apply_settings(p, &train, "train");
    if (status == FV_OK) {
        status = fv_check_settings_used(p);
    }
    if (status != FV_OK) {
        return status;
    }
    int unread;
    status = fv_net_find_unread(p->net, &unread);
    return status == FV_INVALID ? blame(p, text, unread) : status;
}

fv_net *fv_net_read(const fv_net_text *text) {
    if (text->size > FV_MOST_TEXT) {
        fv_fail(FV_FORMAT, "%.300s: %zu bytes; a .net text has at most %d", text->name, text->size,
                FV_MOST_TEXT);
        return NULL;
    }
    fv_parser *p = fv_alloc(1, sizeof *p);
    if (!p) {
        return NULL;
    }
    p->settings = text->settings;
    p->setting_count = text->setting_count;
    p->find = text->find;
    fv_status status = fv_check_settings(p);
    if (status == FV_OK) {
        status = read_text(p, text);
    }
    if (status == FV_OK) {
        status = check(p, text);
    }
    if (status == FV_OK) {
        status =
            text->empty ? fv_net_build_empty(p->net, text->most_weights) : fv_net_build(p->net);
    }
    fv_net *net = p->net;
    close_texts(p);
    fv_free(p);
    if (status != FV_OK) {
        fv_net_free(net);
        return NULL;
    }
    return net;
}

fv_net *fv_net_parse_with(const char *text, size_t size, const char *name,
                          const char *const *settings, int setting_count) {
    return fv_net_read(&(fv_net_text){.bytes = text,
                                      .size = size,
                                      .name = name,
                                      .settings = settings,
                                      .setting_count = setting_count});
}

fv_net *fv_net_parse_model(const char *text, size_t size, const char *name,
                           const char *const *settings, int setting_count, size_t most_weights) {
    return fv_net_read(&(fv_net_text){.bytes = text,
                                      .size = size,
                                      .name = name,
                                      .settings = settings,
                                      .setting_count = setting_count,
                                      .empty = true,
                                      .most_weights = most_weights});
}
