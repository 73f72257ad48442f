/* fovea test: accuracy and loss of a model, or of several as an ensemble, on a data set. Called by
 * main.c. */
#include "cli.h"
#include "json.h"
#include <stdlib.h>

typedef struct test_options {
    const char *data;
    int threads;
    bool exact, json;
} test_options;

static const cli_option test_table[] = {
    {"data", "D", OPTION_TEXT, offsetof(test_options, data), 0, 0,
     "data set, NAME|PATH[:SPLIT]; the split is test unless written"},
    {"threads", "N", OPTION_INT, offsetof(test_options, threads), 1, MOST_THREADS,
     "default: the processors"},
    {"exact", NULL, OPTION_FLAG, offsetof(test_options, exact), 0, 0, "direct algorithms only"},
    {"json", NULL, OPTION_FLAG, offsetof(test_options, json), 0, 0, "print JSON"},
    {0},
};

static void print_score(const fv_score *score, bool as_json) {
    if (!as_json) {
        printf("test accuracy %.4f  loss %.4f  samples %zu\n", score->accuracy, score->loss,
               score->samples);
        return;
    }
    cli_json json = {.file = stdout};
    put_json_begin_object(&json, NULL);
    put_json_number(&json, "accuracy", score->accuracy);
    put_json_number(&json, "loss", score->loss);
    put_json_integer(&json, "samples", (int64_t)score->samples);
    put_json_end_object(&json);
    put_json_finish(&json);
}

static int evaluate(const cli_call *call, const fv_net *const *nets) {
    const test_options *options = call->options;
    fv_data *data = data_open(options->data, "test");
    if (!data)
        return fail(call);
    fv_score score;
    fv_status status =
        fv_evaluate(nets, call->operand_count, data, 0, options->threads, options->exact, &score);
    fv_data_free(data);
    if (status)
        return fail(call);
    print_score(&score, options->json);
    return EXIT_SUCCESS;
}

static int run(const cli_call *call) {
    if (!((const test_options *)call->options)->data)
        return wrong_use(call, "--data is missing");
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
    .details = "Prints accuracy and mean loss. Several models are an ensemble: their outputs are\n"
               "averaged. JSON: {\"accuracy\":, \"loss\":, \"samples\":}.\n",
    .options = test_table,
    .options_size = sizeof(test_options),
    .least_operands = 1,
    .most_operands = INT32_MAX,
    .run = run,
};
