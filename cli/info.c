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

enum { DEFAULT_TRAINING_BATCH = 32, TABLE_COLUMNS = 100, LONGEST_NAME = 24 };

/* Memory of inference and of training; not known where the input's sizes vary. */
typedef struct net_memories {
    int batch[2], threads;
    bool known;
    fv_memory memory[2];
} net_memories;

/* Sums over the layers, of one sample. */
typedef struct net_costs {
    int64_t macs, activations;
} net_costs;

static fv_status add_costs(const fv_net *net, net_costs *costs) {
    for (int i = 0; i < fv_layer_count(net); i++) {
        fv_layer_info info;
        fv_status status = fv_layer_describe(net, i, &info);
        if (status)
            return status;
        costs->macs += info.macs;
        costs->activations += info.activations;
    }
    return FV_OK;
}

static int measure_memory(const cli_call *call, const fv_net *net, net_memories *memories) {
    const info_options *options = call->options;
    int training_batch = fv_get_train_options(net)->batch;
    memories->batch[0] = options->batch ? options->batch : 1;
    memories->batch[1] = options->batch   ? options->batch
                         : training_batch ? training_batch
                                          : DEFAULT_TRAINING_BATCH;
    memories->threads = options->threads ? options->threads : fv_default_threads();
    memories->known = !input_varies(net);
    if (!memories->known && !options->json)
        return fail_with(call, "the input's sizes vary (*): memory is known for a fixed size only");
    for (int i = 0; memories->known && i < 2; i++)
        if (fv_net_memory(net, memories->batch[i], memories->threads, i == 1, options->exact,
                          &memories->memory[i]))
            return fail(call);
    return EXIT_SUCCESS;
}

/* ---- Text ------------------------------------------------------------------------------------ */

/* The widths of the table's columns. */
typedef struct table_widths {
    int name, layer, output, parameters, macs;
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

/* A column of text, its end left out where it is too long. */
static void print_cell(const char *text, int width) {
    if ((int)strlen(text) <= width)
        printf("%-*s  ", width, text);
    else
        printf("%.*s...  ", width - 3, text);
}

static void print_row(const table_widths *widths, const char *name, const char *layer,
                      const char *output, const char *parameters, const char *macs) {
    print_cell(name, widths->name);
    print_cell(layer, widths->layer);
    print_cell(output, widths->output);
    printf("%*s  %*s\n", widths->parameters, parameters, widths->macs, macs);
}

/* Wide enough for every text, but for long names and layers, so that a row fits a page. */
static table_widths choose_widths(const fv_net *net, int64_t macs) {
    table_widths widths = {.name = 5, .layer = 5, .output = 6, .parameters = 10, .macs = 13};
    char text[128], number[32];
    widths.parameters = wider(widths.parameters, count_text(fv_parameter_count(net), number));
    widths.macs = wider(widths.macs, count_text(macs, number));
    for (int i = 0; i < fv_layer_count(net); i++) {
        fv_layer_info info;
        if (fv_layer_describe(net, i, &info))
            continue;
        layer_text(&info, text);
        widths.layer = wider(widths.layer, text);
        widths.name = wider(widths.name, info.name);
        widths.output = wider(widths.output, shape_text(&info.output, text));
    }
    widths.name = widths.name < LONGEST_NAME ? widths.name : LONGEST_NAME;
    int gaps = 2 * 4;
    int left = TABLE_COLUMNS - gaps - widths.name - widths.output - widths.parameters - widths.macs;
    widths.layer = widths.layer < left ? widths.layer : left;
    return widths;
}

static int print_layers(const cli_call *call, const fv_net *net, const net_costs *costs) {
    table_widths widths = choose_widths(net, costs->macs);
    print_row(&widths, "name", "layer", "output", "parameters", "multiply-adds");
    char parameters[32], macs[32];
    for (int i = 0; i < fv_layer_count(net); i++) {
        fv_layer_info info;
        if (fv_layer_describe(net, i, &info))
            return fail(call);
        char layer[128], output[64];
        layer_text(&info, layer);
        print_row(&widths, info.name, layer, shape_text(&info.output, output),
                  count_text(info.parameters, parameters), count_text(info.macs, macs));
    }
    print_row(&widths, "total", "", "", count_text(fv_parameter_count(net), parameters),
              count_text(costs->macs, macs));
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

/* Prints the layers' array. */
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

static int print_json(const cli_call *call, const fv_net *net, const net_costs *costs,
                      const net_memories *memories) {
    cli_json json = {.file = stdout};
    put_json_begin_object(&json, NULL);
    put_json_integer(&json, "parameters", fv_parameter_count(net));
    put_json_integer(&json, "macs", costs->macs);
    put_json_integer(&json, "activations", costs->activations);
    put_json_begin_object(&json, "batch");
    put_json_integer(&json, "inference", memories->batch[0]);
    put_json_integer(&json, "training", memories->batch[1]);
    put_json_end_object(&json);
    put_json_integer(&json, "threads", memories->threads);
    put_json_begin_object(&json, "memory");
    memory_json(&json, "inference", &memories->memory[0], memories->known, false);
    memory_json(&json, "training", &memories->memory[1], memories->known, true);
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
    net_costs costs = {0};
    if (options->resolved)
        return print_resolved(call, net);
    if (add_costs(net, &costs))
        return fail(call);
    if (options->memory || options->json) {
        int status = measure_memory(call, net, &memories);
        if (status)
            return status;
    }
    if (options->json)
        return print_json(call, net, &costs, &memories);
    int status = print_layers(call, net, &costs);
    if (!status && options->memory)
        print_memory(&memories);
    return status;
}

static int run(const cli_call *call) {
    const info_options *options = call->options;
    if (options->resolved && options->json)
        return wrong_use(call, "--resolved prints text: it does not go with --json");
    fv_net *net = net_load(call, call->operands[0], NULL);
    if (!net)
        return EXIT_FAILURE;
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
