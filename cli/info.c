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

enum {
    DEFAULT_TRAINING_BATCH = 32,
    VALUE_BYTES = 4,
    TABLE_COLUMNS = 100,
    LONGEST_NAME = 20,
    SHORTEST_NAME = 11,
    SHORTEST_LAYER = 25, /* "separable_conv 256 3x3...": with its kernel */
};

/* Of layers that only train. */
static const char training_mark[] = "*", marked_layers[] = "with layers marked *";

/* Memory of inference and of training; not known where the input's sizes vary, that of training not
 * where the net has no loss that it could be trained with. */
typedef struct net_memories {
    int batch[2], threads;
    bool known, trains;
    fv_memory memory[2];
} net_memories;

/* Sums over the layers, of one sample; in training also over those that only train. */
typedef struct net_costs {
    int64_t macs, activations;
    int64_t training_parameters, training_macs;
    int training_layers; /* that only train */
} net_costs;

static fv_status add_costs(const fv_net *net, net_costs *costs) {
    for (int i = 0; i < fv_layer_count(net); i++) {
        fv_layer_info info;
        fv_status status = fv_layer_describe(net, i, &info);
        if (status)
            return status;
        costs->training_parameters += info.parameters;
        costs->training_macs += info.macs;
        costs->training_layers += info.training_only;
        costs->macs += info.training_only ? 0 : info.macs;
        costs->activations += info.training_only ? 0 : info.activations;
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
    if (!memories->known)
        return EXIT_SUCCESS;
    if (fv_net_memory(net, memories->batch[0], memories->threads, false, options->exact,
                      &memories->memory[0]))
        return fail(call);
    fv_status status = fv_net_memory(net, memories->batch[1], memories->threads, true,
                                     options->exact, &memories->memory[1]);
    memories->trains = status == FV_OK;
    /* A net without a loss that fits, as one from an ONNX file, cannot be trained as it is. */
    return status == FV_OK || status == FV_INVALID || status == FV_SHAPE ? EXIT_SUCCESS
                                                                         : fail(call);
}

/* ---- Text ------------------------------------------------------------------------------------ */

/* The widths of the table's columns. */
typedef struct table_widths {
    int name, layer, output, parameters, macs, bytes;
} table_widths;

/* A row of the table, as text; NULL: an empty cell. */
typedef struct table_row {
    const char *name, *layer, *output, *parameters, *macs, *bytes;
    bool marked;
} table_row;

static int wider(int width, const char *text) {
    int length = (int)strlen(text);
    return length > width ? length : width;
}

static int smaller(int a, int b) {
    return a < b ? a : b;
}

/* "conv 32 3x3 relu" into text[128]. */
static void layer_text(const fv_layer_info *info, char text[128]) {
    bool detail = info->detail && *info->detail;
    snprintf(text, 128, "%s%s%s", info->type, detail ? " " : "", detail ? info->detail : "");
}

/* Of one sample's output; NULL where it has no memory of its own, or sizes vary. */
static const char *bytes_text(const fv_layer_info *info, char text[32]) {
    return info->activations ? count_text(info->activations * VALUE_BYTES, text) : NULL;
}

/* A column of text, its end left out where it is too long. */
static void print_cell(const char *text, int width) {
    if (!text || (int)strlen(text) <= width)
        printf("%-*s  ", width, text ? text : "");
    else
        printf("%.*s...  ", width - 3, text);
}

/* The same for a name: of a long one the middle is left out. */
static void print_name(const char *name, bool marked, int width) {
    int length = (int)strlen(name), room = width - marked, end = (room - 3) / 2;
    const char *mark = marked ? training_mark : "";
    char text[128];
    if (length <= room)
        snprintf(text, sizeof text, "%s%s", name, mark);
    else
        snprintf(text, sizeof text, "%.*s...%s%s", room - 3 - end, name, name + length - end, mark);
    print_cell(text, width);
}

static void print_row(const table_widths *widths, const table_row *row) {
    print_name(row->name, row->marked, widths->name);
    print_cell(row->layer, widths->layer);
    print_cell(row->output, widths->output);
    printf("%*s  %*s", widths->parameters, row->parameters, widths->macs, row->macs);
    if (row->bytes)
        printf("  %*s", widths->bytes, row->bytes);
    printf("\n");
}

/* Wide enough for every text, but for long names and layers, so that a row fits a page. */
static table_widths choose_widths(const fv_net *net, const net_costs *costs) {
    table_widths widths = {.name = 11, .layer = 5, .output = 6, .macs = 13, .bytes = 12};
    char text[128], number[32];
    widths.parameters = wider(10, count_text(costs->training_parameters, number));
    widths.macs = wider(widths.macs, count_text(costs->training_macs, number));
    widths.bytes = wider(widths.bytes, count_text(costs->activations * VALUE_BYTES, number));
    if (costs->training_layers > 0)
        widths.layer = wider(widths.layer, marked_layers);
    for (int i = 0; i < fv_layer_count(net); i++) {
        fv_layer_info info;
        if (fv_layer_describe(net, i, &info))
            continue;
        layer_text(&info, text);
        widths.layer = wider(widths.layer, text);
        snprintf(text, sizeof text, "%s%s", info.name, info.training_only ? training_mark : "");
        widths.name = wider(widths.name, text);
        widths.output = wider(widths.output, shape_text(&info.output, text));
    }
    int gaps = 2 * 5;
    int left =
        TABLE_COLUMNS - gaps - widths.output - widths.parameters - widths.macs - widths.bytes;
    if (left < SHORTEST_NAME + SHORTEST_LAYER) /* numbers beyond reason */
        left = SHORTEST_NAME + SHORTEST_LAYER;
    int layer = smaller(widths.layer, SHORTEST_LAYER);
    widths.name = smaller(widths.name, smaller(LONGEST_NAME, left - layer));
    widths.layer = smaller(widths.layer, left - widths.name);
    return widths;
}

static void print_totals(const table_widths *widths, const fv_net *net, const net_costs *costs) {
    char parameters[32], macs[32], bytes[32];
    print_row(widths, &(table_row){.name = "total",
                                   .parameters = count_text(fv_parameter_count(net), parameters),
                                   .macs = count_text(costs->macs, macs),
                                   .bytes = count_text(costs->activations * VALUE_BYTES, bytes)});
    if (costs->training_layers == 0)
        return;
    print_row(widths, &(table_row){.name = "in training",
                                   .layer = marked_layers,
                                   .parameters = count_text(costs->training_parameters, parameters),
                                   .macs = count_text(costs->training_macs, macs)});
}

/* "58.1 MiB" into text[32]. */
static const char *size_text(int64_t values, char text[32]) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double size = (double)values * VALUE_BYTES / 1024;
    int unit = 0;
    for (; unit < 3 && size >= 1024; unit++)
        size /= 1024;
    snprintf(text, 32, "%.1f %s", size, units[unit]);
    return text;
}

/* What a lecture calls the memory for computation, and that for the model: numbers of 4 bytes. */
static void print_sizes(const fv_net *net, const net_costs *costs) {
    char count[32], size[32];
    if (costs->activations > 0)
        printf("\nMemory for computation: %s activations of a sample x 4 bytes = %s.\n",
               count_text(costs->activations, count), size_text(costs->activations, size));
    else
        printf("\nMemory for computation: not known, since the input's sizes vary (*).\n");
    printf("Memory for parameters:  %s parameters x 4 bytes = %s.\n",
           count_text(fv_parameter_count(net), count), size_text(fv_parameter_count(net), size));
}

static int print_layers(const cli_call *call, const fv_net *net, const net_costs *costs) {
    table_widths widths = choose_widths(net, costs);
    print_row(&widths, &(table_row){"name", "layer", "output", "parameters", "multiply-adds",
                                    "output bytes", false});
    for (int i = 0; i < fv_layer_count(net); i++) {
        fv_layer_info info;
        if (fv_layer_describe(net, i, &info))
            return fail(call);
        char layer[128], output[64], parameters[32], macs[32], bytes[32];
        layer_text(&info, layer);
        print_row(&widths, &(table_row){.name = info.name,
                                        .marked = info.training_only,
                                        .layer = layer,
                                        .output = shape_text(&info.output, output),
                                        .parameters = count_text(info.parameters, parameters),
                                        .macs = count_text(info.macs, macs),
                                        .bytes = bytes_text(&info, bytes)});
    }
    print_totals(&widths, net, costs);
    print_sizes(net, costs);
    return EXIT_SUCCESS;
}

static void print_memory_row(const net_memories *memories, const char *name, size_t inference,
                             size_t training) {
    char first[32], second[32];
    printf("%-12s  %17s  %17s\n", name, count_text((int64_t)inference, first),
           memories->trains ? count_text((int64_t)training, second) : "-");
}

static void print_memory(const net_memories *memories) {
    const fv_memory *inference = &memories->memory[0], *training = &memories->memory[1];
    printf("\n%-12s  %17s  %17s\n", "bytes", "inference", "training");
    printf("%-12s  %17d  %17d\n", "batch", memories->batch[0], memories->batch[1]);
    printf("%-12s  %17d  %17d\n", "threads", memories->threads, memories->threads);
    print_memory_row(memories, "weights", inference->weights, training->weights);
    print_memory_row(memories, "packed", inference->packed, training->packed);
    print_memory_row(memories, "activations", inference->activations, training->activations);
    print_memory_row(memories, "scratch", inference->scratch, training->scratch);
    print_memory_row(memories, "gradients", inference->gradients, training->gradients);
    print_memory_row(memories, "optimizer", inference->optimizer, training->optimizer);
    print_memory_row(memories, "total", inference->total, training->total);
    if (!memories->trains)
        printf("\nTraining needs a loss that fits the last layer: %s.\n", fv_error_message());
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
        put_json_integer(json, "activations", info.activations);
        put_json_bool(json, "training_only", info.training_only);
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
    put_json_begin_object(&json, "training");
    put_json_integer(&json, "parameters", costs->training_parameters);
    put_json_integer(&json, "macs", costs->training_macs);
    put_json_end_object(&json);
    put_json_begin_object(&json, "batch");
    put_json_integer(&json, "inference", memories->batch[0]);
    put_json_integer(&json, "training", memories->batch[1]);
    put_json_end_object(&json);
    put_json_integer(&json, "threads", memories->threads);
    put_json_begin_object(&json, "memory");
    memory_json(&json, "inference", &memories->memory[0], memories->known, false);
    memory_json(&json, "training", &memories->memory[1], memories->trains, true);
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
        "Multiply-adds and output bytes are those of one sample; what a layer gives out without\n"
        "memory of its own has no bytes. Layers marked * run in training only. --memory is exact\n"
        "for the batch and the number of threads. JSON: parameters, macs, activations, training\n"
        "{parameters, macs}, batch, threads, memory {inference, training}, layers; null where\n"
        "sizes that vary leave no answer.\n",
    .options = info_table,
    .options_size = sizeof(info_options),
    .least_operands = 1,
    .most_operands = 1,
    .run = run,
};
