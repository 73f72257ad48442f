/* fovea info: a net's layers, totals and memory, before anything runs. Called by main.c. */
#include "cli.h"
#include "json.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

typedef struct info_options {
    int batch, threads;
    bool memory, resolved, exact, json;
} info_options;

static const cli_option info_table[] = {
    {"batch", "N", OPTION_INT, offsetof(info_options, batch), 1, INT_MAX,
     "for the memory; default 1 for inference, the net's for training"},
    {"threads", "N", OPTION_INT, offsetof(info_options, threads), 1, MOST_THREADS,
     "for the memory; default: the processors"},
    {"exact", NULL, OPTION_FLAG, offsetof(info_options, exact), 0, 0,
     "for the memory: with direct algorithms only"},
    {"memory", NULL, OPTION_FLAG, offsetof(info_options, memory), 0, 0,
     "print what inference and training will allocate"},
    {"resolved", NULL, OPTION_FLAG, offsetof(info_options, resolved), 0, 0,
     "print the net's text with all defaults written out"},
    {"json", NULL, OPTION_FLAG, offsetof(info_options, json), 0, 0, "print JSON"},
    {0},
};

enum { DEFAULT_TRAINING_BATCH = 32, TABLE_COLUMNS = 100 };

/* Memory of inference and of training, or why there is no answer. */
typedef struct net_memories {
    int batch[2];
    int threads;
    fv_memory memory[2];
    bool known[2];
} net_memories;

static int measure_memory(const cli_call *call, const fv_net *net, net_memories *memories) {
    const info_options *options = call->options;
    int training_batch = fv_get_train_options(net)->batch;
    memories->batch[0] = options->batch ? options->batch : 1;
    memories->batch[1] = options->batch   ? options->batch
                         : training_batch ? training_batch
                                          : DEFAULT_TRAINING_BATCH;
    memories->threads = options->threads ? options->threads : fv_default_threads();
    for (int i = 0; i < 2; i++) {
        fv_status status = fv_net_memory(net, memories->batch[i], memories->threads, i == 1,
                                         options->exact, &memories->memory[i]);
        memories->known[i] = status == FV_OK;
        if (status && options->memory && !options->json)
            return fail(call);
    }
    return EXIT_SUCCESS;
}

/* ---- Text ------------------------------------------------------------------------------------ */

/* The widths of the columns that depend on the net. */
typedef struct table_widths {
    int name, detail, output;
} table_widths;

static int wider(int width, const char *text) {
    int length = (int)strlen(text);
    return length > width ? length : width;
}

/* "conv 32 3x3 relu" into text[128]. */
static void layer_text(const fv_layer_info *info, char text[128]) {
    bool detail = info->detail && *info->detail;
    snprintf(text, 128, "%s%s%s", info->type, detail ? " " : "", detail ? info->detail : "");
}

static void print_row(const table_widths *widths, const char *name, const char *detail,
                      const char *output, const char *parameters, const char *macs) {
    printf("%-*.*s  %-*.*s  %-*s  %13s  %17s\n", widths->name, widths->name, name, widths->detail,
           widths->detail, detail, widths->output, output, parameters, macs);
}

static int choose_widths(const cli_call *call, const fv_net *net, table_widths *widths) {
    *widths = (struct table_widths){5, 5, 6};
    for (int i = 0; i < fv_layer_count(net); i++) {
        fv_layer_info info;
        if (fv_layer_describe(net, i, &info))
            return fail(call);
        char layer[128], output[64];
        layer_text(&info, layer);
        widths->name = wider(widths->name, info.name);
        widths->detail = wider(widths->detail, layer);
        widths->output = wider(widths->output, shape_text(&info.output, output));
    }
    int left = TABLE_COLUMNS - 2 - 2 - 2 - 13 - 2 - 17;
    widths->name = widths->name < 24 ? widths->name : 24;
    left -= widths->name + widths->output;
    widths->detail = widths->detail < left ? widths->detail : left;
    return EXIT_SUCCESS;
}

static int print_layers(const cli_call *call, const fv_net *net) {
    table_widths widths;
    int status = choose_widths(call, net, &widths);
    if (status)
        return status;
    int64_t macs = 0;
    print_row(&widths, "name", "layer", "output", "parameters", "multiply-adds");
    char parameter_text[32], mac_text[32];
    for (int i = 0; i < fv_layer_count(net); i++) {
        fv_layer_info info;
        if (fv_layer_describe(net, i, &info))
            return fail(call);
        char layer[128], output[64];
        layer_text(&info, layer);
        macs += info.macs;
        print_row(&widths, info.name, layer, shape_text(&info.output, output),
                  count_text(info.parameters, parameter_text), count_text(info.macs, mac_text));
    }
    print_row(&widths, "total", "", "", count_text(fv_parameter_count(net), parameter_text),
              count_text(macs, mac_text));
    return EXIT_SUCCESS;
}

static void print_memory_row(const char *name, size_t inference, size_t training) {
    char first[32], second[32];
    printf("%-12s  %17s  %17s\n", name, count_text((int64_t)inference, first),
           count_text((int64_t)training, second));
}

static void print_memory(const net_memories *memories) {
    const fv_memory *inference = &memories->memory[0], *training = &memories->memory[1];
    printf("\n%-12s  %17s  %17s\n", "bytes", "inference", "training");
    printf("%-12s  %17d  %17d\n", "batch", memories->batch[0], memories->batch[1]);
    printf("%-12s  %17d  %17d\n", "threads", memories->threads, memories->threads);
    print_memory_row("weights", inference->weights, training->weights);
    print_memory_row("packed", inference->packed, training->packed);
    print_memory_row("activations", inference->activations, training->activations);
    print_memory_row("scratch", inference->scratch, training->scratch);
    print_memory_row("gradients", inference->gradients, training->gradients);
    print_memory_row("optimizer", inference->optimizer, training->optimizer);
    print_memory_row("total", inference->total, training->total);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void memory_json(cli_json *json, const char *key, const fv_memory *memory, bool known,
                        bool training) {
    if (!known) {
        put_json_null(json, key);
        return;
    }
    put_json_begin_object(json, key);
    put_json_integer(json, "weights", (int64_t)memory->weights);
    put_json_integer(json, "packed", (int64_t)memory->packed);
    put_json_integer(json, "activations", (int64_t)memory->activations);
    put_json_integer(json, "scratch", (int64_t)memory->scratch);
    if (training) {
        put_json_integer(json, "gradients", (int64_t)memory->gradients);
        put_json_integer(json, "optimizer", (int64_t)memory->optimizer);
    }
    put_json_integer(json, "total", (int64_t)memory->total);
    put_json_end_object(json);
}

/* Prints the layers' array and adds up their costs. */
static fv_status layers_json(cli_json *json, const fv_net *net) {
    put_json_begin_array(json, "layers");
    for (int i = 0; i < fv_layer_count(net); i++) {
        fv_layer_info info;
        fv_status status = fv_layer_describe(net, i, &info);
        if (status)
            return status;
        put_json_begin_object(json, NULL);
        put_json_string(json, "name", info.name);
        put_json_string(json, "type", info.type);
        put_json_begin_array(json, "output");
        for (int axis = 0; axis < info.output.rank; axis++) {
            if (info.output.size[axis] == FV_ANY)
                put_json_null(json, NULL);
            else
                put_json_integer(json, NULL, info.output.size[axis]);
        }
        put_json_integer(json, NULL, info.output.channels);
        put_json_end_array(json);
        put_json_integer(json, "parameters", info.parameters);
        put_json_integer(json, "macs", info.macs);
        put_json_end_object(json);
    }
    put_json_end_array(json);
    return FV_OK;
}

static int print_json(const cli_call *call, const fv_net *net, const net_memories *memories) {
    int64_t macs = 0, activations = 0;
    for (int i = 0; i < fv_layer_count(net); i++) {
        fv_layer_info info;
        if (fv_layer_describe(net, i, &info))
            return fail(call);
        macs += info.macs;
        activations += info.activations;
    }
    cli_json json = {.file = stdout};
    put_json_begin_object(&json, NULL);
    put_json_integer(&json, "parameters", fv_parameter_count(net));
    put_json_integer(&json, "macs", macs);
    put_json_integer(&json, "activations", activations);
    put_json_begin_object(&json, "batch");
    put_json_integer(&json, "inference", memories->batch[0]);
    put_json_integer(&json, "training", memories->batch[1]);
    put_json_end_object(&json);
    put_json_integer(&json, "threads", memories->threads);
    put_json_begin_object(&json, "memory");
    memory_json(&json, "inference", &memories->memory[0], memories->known[0], false);
    memory_json(&json, "training", &memories->memory[1], memories->known[1], true);
    put_json_end_object(&json);
    fv_status status = layers_json(&json, net);
    put_json_end_object(&json);
    put_json_finish(&json);
    return status ? fail(call) : EXIT_SUCCESS;
}

/* ---- The verb -------------------------------------------------------------------------------- */

static int print_resolved(const cli_call *call, const fv_net *net) {
    char *text = fv_net_print(net, true);
    if (!text)
        return fail(call);
    fputs(text, stdout);
    fv_free_memory(text);
    return EXIT_SUCCESS;
}

static int print_info(const cli_call *call, const fv_net *net) {
    const info_options *options = call->options;
    net_memories memories = {0};
    if (options->resolved)
        return print_resolved(call, net);
    if (options->memory || options->json) {
        int status = measure_memory(call, net, &memories);
        if (status)
            return status;
    }
    if (options->json)
        return print_json(call, net, &memories);
    int status = print_layers(call, net);
    if (!status && options->memory)
        print_memory(&memories);
    return status;
}

static int run(const cli_call *call) {
    const info_options *options = call->options;
    if (options->resolved && options->json)
        return wrong_use(call, "--resolved prints text: it does not go with --json");
    fv_net *net = fv_net_load(call->operands[0]);
    if (!net)
        return fail(call);
    int status = print_info(call, net);
    fv_net_free(net);
    return status;
}

const cli_verb verb_info = {
    .name = "info",
    .summary = "prints the layers of a net, its parameters, cost and memory",
    .usage = "NET|MODEL [options]",
    .details =
        "Multiply-adds are those of one sample; bytes are exact for the batch and the number\n"
        "of threads. JSON: parameters, macs, activations, batch, threads, memory {inference,\n"
        "training}, layers; null where sizes that vary leave no answer.\n",
    .options = info_table,
    .options_size = sizeof(info_options),
    .least_operands = 1,
    .most_operands = 1,
    .run = run,
};
