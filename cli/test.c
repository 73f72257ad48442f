/* fovea test: accuracy, loss and metrics of a model, or of several as an ensemble, on a data set.
 * Called by main.c. */
#include "cli.h"
#include "json.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

typedef struct test_options {
    const char *data;
    int threads;
    bool exact, json, confusion;
} test_options;

static const cli_option test_table[] = {
    {"data", "D", OPTION_TEXT, offsetof(test_options, data), 0, 0,
     "data set, NAME|PATH[:SPLIT]; the split is test unless written"},
    {"threads", "N", OPTION_INT, offsetof(test_options, threads), 1, MOST_THREADS,
     "default: the processors"},
    {"exact", NULL, OPTION_FLAG, offsetof(test_options, exact), 0, 0, "direct algorithms only"},
    {"confusion", NULL, OPTION_FLAG, offsetof(test_options, confusion), 0, 0,
     "also count the samples (or places) of each class by the class that the model names"},
    {"json", NULL, OPTION_FLAG, offsetof(test_options, json), 0, 0, "print JSON"},
    {0},
};

/* Counts by class: what a sample is (a row), and what the model names it. */
typedef struct confusion {
    int classes; /* 0: not asked for */
    int64_t *counts;
} confusion;

static void print_text(const fv_score *score, const confusion *table) {
    printf("test");
    if (!isnan(score->accuracy))
        printf(" accuracy %.4f ", score->accuracy);
    printf(" loss %.4f  samples %zu\n", score->loss, score->samples);
    for (int i = 0; i < score->metric_count; i++)
        printf("%s %.6g\n", score->metrics[i].name, score->metrics[i].value);
    if (table->classes)
        printf("confusion: a row for each class, a column for what it was taken for\n");
    for (int row = 0; row < table->classes; row++) {
        printf("%4d", row);
        for (int column = 0; column < table->classes; column++)
            printf(" %6" PRId64, table->counts[row * table->classes + column]);
        printf("\n");
    }
}

static void print_json(const fv_score *score, const confusion *table) {
    cli_json json = {.file = stdout};
    put_json_begin_object(&json, NULL);
    put_json_number(&json, "accuracy", score->accuracy);
    put_json_number(&json, "loss", score->loss);
    put_json_integer(&json, "samples", (int64_t)score->samples);
    if (score->metric_count > 0)
        put_json_begin_object(&json, "metrics");
    for (int i = 0; i < score->metric_count; i++)
        put_json_number(&json, score->metrics[i].name, score->metrics[i].value);
    if (score->metric_count > 0)
        put_json_end_object(&json);
    if (table->classes)
        put_json_begin_array(&json, "confusion");
    for (int row = 0; row < table->classes; row++) {
        put_json_begin_array(&json, NULL);
        for (int column = 0; column < table->classes; column++)
            put_json_integer(&json, NULL, table->counts[row * table->classes + column]);
        put_json_end_array(&json);
    }
    if (table->classes)
        put_json_end_array(&json);
    put_json_end_object(&json);
    put_json_finish(&json);
}

/* Of the main output's channels; one channel stands for two classes. */
static int count_classes(const fv_net *net) {
    fv_layer_info last;
    if (main_output(net, &last) != FV_OK)
        return 0;
    return last.output.channels == 1 ? 2 : last.output.channels;
}

/* Room for the counts, where they are asked for. */
static bool make_table(const test_options *options, const fv_net *net, confusion *table) {
    if (!options->confusion)
        return true;
    table->classes = count_classes(net);
    table->counts =
        calloc((size_t)table->classes * (size_t)table->classes + 1, sizeof *table->counts);
    return table->counts != NULL;
}

static int evaluate(const cli_call *call, const fv_net *const *nets) {
    const test_options *options = call->options;
    fv_score score;
    confusion table = {0};
    fv_data *data = data_open(options->data, "test");
    if (!data)
        return fail(call);
    if (!make_table(options, nets[0], &table)) {
        fv_data_free(data);
        return out_of_memory(call);
    }
    fv_status status =
        fv_evaluate(nets, call->operand_count, data, 0, options->threads, options->exact, &score);
    if (!status && table.classes)
        status = fv_confusion(nets[0], data, 0, options->threads, table.classes, table.counts);
    fv_data_free(data);
    if (!status)
        (options->json ? print_json : print_text)(&score, &table);
    free(table.counts);
    return status ? fail(call) : EXIT_SUCCESS;
}

static int run(const cli_call *call) {
    if (!((const test_options *)call->options)->data)
        return wrong_use(call, "--data is missing");
    if (((const test_options *)call->options)->confusion && call->operand_count > 1)
        return wrong_use(call, "--confusion takes one model");
    fv_net **nets = calloc((size_t)call->operand_count, sizeof(fv_net *));
    if (!nets)
        return out_of_memory(call);
    int status = models_load(call, call->operands, call->operand_count, nets);
    if (!status)
        status = evaluate(call, (const fv_net *const *)nets);
    models_free(nets, call->operand_count);
    free(nets);
    return status;
}

const cli_verb verb_test = {
    .name = "test",
    .summary = "measures a model on a data set",
    .usage = "MODEL... --data D [options]",
    .details =
        "Prints accuracy (where the net has classes), mean loss, and each metric of the net.\n"
        "Several models are an ensemble: the probabilities of their classes are averaged, and\n"
        "their metrics are not measured. JSON, of what there is: {\"accuracy\":, \"loss\":,\n"
        "\"samples\":, \"metrics\": {NAME: VALUE, ...}, \"confusion\": [[COUNT, ...], ...]}.\n",
    .options = test_table,
    .options_size = sizeof(test_options),
    .least_operands = 1,
    .most_operands = INT32_MAX,
    .run = run,
};
