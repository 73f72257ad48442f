/* fovea predict: what a model, or several as an ensemble, says about pictures, arrays and samples
 * of data sets. Called by main.c. */
#include "cli.h"
#include "json.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct predict_options {
    const char *out;
    int top, threads;
    bool exact, json;
    cli_texts settings;
} predict_options;

static const cli_option predict_table[] = {
    {"top", "N", OPTION_INT, offsetof(predict_options, top), 1, INT_MAX,
     "how many classes to tell; default 3"},
    {"threads", "N", OPTION_INT, offsetof(predict_options, threads), 1, MOST_THREADS,
     "default: the processors"},
    {"exact", NULL, OPTION_FLAG, offsetof(predict_options, exact), 0, 0, "direct algorithms only"},
    {"json", NULL, OPTION_FLAG, offsetof(predict_options, json), 0, 0, "print JSON"},
    {"out", "DIR", OPTION_TEXT, offsetof(predict_options, out), 0, 0,
     "also write the JSON to DIR/predictions.json"},
    {"set", "KEY=VALUE", OPTION_TEXTS, offsetof(predict_options, settings), 0, 0,
     "LAYER.KEY: changes a setting of the net, such as input1.scale=1/255"},
    {0},
};

enum { DEFAULT_TOP = 3, MOST_VALUES_PRINTED = 16 };

/* One of the models, with a session for the input shape of the last file. */
typedef struct ensemble_member {
    fv_session *session;
    fv_shape shape;
    float *input;
} ensemble_member;

/* An output of the nets, and what the last file gave. */
typedef struct net_output {
    const char *name; /* in the first model */
    bool classes;     /* it tells classes: a softmax over a plain vector */
    bool main;        /* the last: its classes have names, and each model may call it its own way */
    fv_shape shape;
    size_t size;
    double *mean; /* over the models */
} net_output;

typedef struct predict_run {
    const cli_call *call;
    const predict_options *options;
    int count;
    fv_net **nets;
    ensemble_member *members;
    int output_count;
    net_output *outputs;
    char *set; /* the data set opened last, as NAME:SPLIT */
    fv_data *data;
} predict_run;

static void predict_run_free(predict_run *run) {
    for (int i = 0; run->members && i < run->count; i++) {
        fv_session_free(run->members[i].session);
        free(run->members[i].input);
    }
    for (int i = 0; i < run->output_count; i++)
        free(run->outputs[i].mean);
    models_free(run->nets, run->count);
    fv_data_free(run->data);
    free(run->members);
    free(run->outputs);
    free(run->nets);
    free(run->set);
}

static int load_models(predict_run *run) {
    const cli_call *call = run->call;
    run->nets = calloc((size_t)run->count, sizeof(fv_net *));
    run->members = calloc((size_t)run->count, sizeof(ensemble_member));
    if (!run->nets || !run->members)
        return out_of_memory(call);
    return models_load(call, call->operands, run->count, &run->options->settings, run->nets);
}

/* Whether the layer is a softmax, or one is a word of its settings. */
static bool ends_with_softmax(const fv_layer_info *info) {
    static const char word[] = "softmax";
    size_t length = strlen(word);
    bool found = strcmp(info->type, word) == 0;
    for (const char *at = info->detail; (at = strstr(at, word)); at += length)
        found |= (at == info->detail || at[-1] == ' ') && (at[length] == ' ' || at[length] == 0);
    return found;
}

/* Those of the first model; the others must have as many. */
static int list_outputs(predict_run *run) {
    const cli_call *call = run->call;
    const fv_net *net = run->nets[0];
    int count = fv_output_count(net);
    for (int i = 1; i < run->count; i++)
        if (fv_output_count(run->nets[i]) != count)
            return fail_with(call, "the models do not fit together: %s has %d outputs, %s has %d",
                             call->operands[0], count, call->operands[i],
                             fv_output_count(run->nets[i]));
    run->outputs = calloc((size_t)count, sizeof *run->outputs);
    if (!run->outputs)
        return out_of_memory(call);
    for (; run->output_count < count; run->output_count++) {
        net_output *output = &run->outputs[run->output_count];
        fv_layer_info info;
        output->name = fv_output_name(net, run->output_count);
        if (find_layer(net, output->name, &info))
            return fail(call);
        output->classes = info.output.rank == 0 && ends_with_softmax(&info);
        output->main = run->output_count == count - 1;
    }
    return EXIT_SUCCESS;
}

/* ---- Reading a file or a sample -------------------------------------------------------------- */

/* Splits "mnist:test:17" into "mnist:test" (new, NULL: it is none) and 17. */
static char *sample_name(const char *text, size_t *index) {
    const char *colon = strrchr(text, ':');
    if (!colon || colon[1] < '0' || colon[1] > '9' || access(text, F_OK) == 0)
        return NULL;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(colon + 1, &end, 10);
    if (*end || errno)
        return NULL;
    *index = (size_t)number;
    return text_new("%.*s", (int)(colon - text), text);
}

/* Sample `index` of `set`, which stays open for the next one; takes `set` over. */
static int read_sample(predict_run *run, char *set, size_t index, fv_shape *shape, float **values) {
    if (!run->data || strcmp(run->set, set) != 0) {
        fv_data_free(run->data);
        free(run->set);
        run->set = set;
        run->data = data_open(set, "test");
    } else {
        free(set);
    }
    if (!run->data)
        return fail(run->call);
    *shape = fv_data_shape(run->data);
    *values = calloc(fv_shape_count(shape), sizeof(float));
    if (!*values)
        return out_of_memory(run->call);
    int label;
    if (fv_data_sample(run->data, index, *values, &label) == FV_OK)
        return EXIT_SUCCESS;
    free(*values);
    return fail(run->call);
}

/* ---- Running --------------------------------------------------------------------------------- */

static bool same_shape(const fv_shape *a, const fv_shape *b) {
    bool same = a->rank == b->rank && a->channels == b->channels;
    for (int i = 0; same && i < a->rank; i++)
        same = a->size[i] == b->size[i];
    return same;
}

/* Makes the member's session for `shape`, unless it has it. */
static int member_prepare(predict_run *run, int index, const fv_shape *shape) {
    ensemble_member *member = &run->members[index];
    if (member->session && same_shape(&member->shape, shape))
        return EXIT_SUCCESS;
    fv_session_free(member->session);
    free(member->input);
    member->shape = *shape;
    member->input = calloc(fv_shape_count(shape), sizeof(float));
    member->session =
        fv_session_new(run->nets[index], &(fv_session_options){.batch = 1,
                                                               .threads = run->options->threads,
                                                               .exact = run->options->exact,
                                                               .shape = *shape});
    if (!member->input)
        return out_of_memory(run->call);
    return member->session ? EXIT_SUCCESS : fail(run->call);
}

/* Adds what model `index` gives to the mean. */
static int add_output(predict_run *run, net_output *output, int index) {
    const cli_call *call = run->call;
    fv_shape shape;
    const float *values =
        fv_session_output(run->members[index].session, output->main ? NULL : output->name, &shape);
    if (!values)
        return fail_with(call, "%s: %s", call->operands[index], fv_error_message());
    if (index == 0) {
        output->shape = shape;
        output->size = fv_shape_count(&shape);
        free(output->mean);
        output->mean = calloc(output->size, sizeof(double));
        if (!output->mean)
            return out_of_memory(call);
    } else if (!same_shape(&shape, &output->shape)) {
        char first[64], other[64];
        return fail_with(call, "the models do not fit together: %s of %s is %s, of %s %s",
                         output->name, call->operands[0], shape_text(&output->shape, first),
                         call->operands[index], shape_text(&shape, other));
    }
    for (size_t i = 0; i < output->size; i++)
        output->mean[i] += (double)values[i] / run->count;
    return EXIT_SUCCESS;
}

static int predict_values(predict_run *run, const fv_shape *from, const float *values) {
    for (int i = 0; i < run->count; i++) {
        const fv_net *net = run->nets[i];
        fv_shape shape = input_shape_for(net, from);
        int status = member_prepare(run, i, &shape);
        if (status)
            return status;
        ensemble_member *member = &run->members[i];
        if (fv_fit_picture(net, from, values, &shape, member->input) ||
            fv_session_run(member->session, member->input, 1))
            return fail(run->call);
        for (int o = 0; !status && o < run->output_count; o++)
            status = add_output(run, &run->outputs[o], i);
        if (status)
            return status;
    }
    return EXIT_SUCCESS;
}

static int predict_file(predict_run *run, const char *file) {
    fv_shape shape;
    float *values;
    size_t index;
    char *set = sample_name(file, &index);
    int status;
    if (set) {
        status = read_sample(run, set, index, &shape, &values);
        if (status)
            return status;
        status = predict_values(run, &shape, values);
        free(values);
        return status;
    }
    if (fv_read_array(file, &shape, &values))
        return fail(run->call);
    status = predict_values(run, &shape, values);
    fv_free_memory(values);
    return status;
}

/* ---- Printing -------------------------------------------------------------------------------- */

/* The indices of the `top` largest outputs, largest first, the first of equals first. */
static int *largest(const double *values, size_t size, size_t top) {
    int *order = calloc(top + 1, sizeof *order);
    bool *used = calloc(size + 1, sizeof *used);
    for (size_t k = 0; order && used && k < top; k++) {
        size_t best = size;
        for (size_t i = 0; i < size; i++)
            if (!used[i] && (best == size || values[i] > values[best]))
                best = i;
        used[best] = true;
        order[k] = (int)best;
    }
    if (!used) {
        free(order);
        order = NULL;
    }
    free(used);
    return order;
}

static const char *class_text(const predict_run *run, const net_output *output, int index,
                              char text[16]) {
    const char *name = output->main ? fv_class_name(run->nets[0], index) : NULL;
    snprintf(text, 16, "%d", index);
    return name ? name : text;
}

/* "digit.png:", with the output's name where there are several. */
static void print_label(const predict_run *run, const net_output *output, const char *file) {
    bool several = run->output_count > 1;
    printf("%s%s%s:", file, several ? " " : "", several ? output->name : "");
}

static int print_classes(const predict_run *run, const net_output *output, const char *file,
                         cli_json *json) {
    size_t top = run->options->top ? (size_t)run->options->top : DEFAULT_TOP;
    if (top > output->size)
        top = output->size;
    int *order = largest(output->mean, output->size, top);
    if (!order)
        return out_of_memory(run->call);
    put_json_string(json, "kind", "classes");
    put_json_begin_array(json, "classes");
    if (!run->options->json)
        print_label(run, output, file);
    for (size_t k = 0; k < top; k++) {
        char text[16];
        const char *name = class_text(run, output, order[k], text);
        double probability = output->mean[order[k]];
        if (!run->options->json)
            printf("%s %s %.4f", k ? "," : "", name, probability);
        put_json_begin_object(json, NULL);
        put_json_integer(json, "index", order[k]);
        put_json_string(json, "name", name);
        put_json_float(json, "probability", (float)probability);
        put_json_end_object(json);
    }
    put_json_end_array(json);
    if (!run->options->json)
        printf("\n");
    free(order);
    return EXIT_SUCCESS;
}

static int print_values(const predict_run *run, const net_output *output, const char *file,
                        cli_json *json) {
    const fv_shape *shape = &output->shape;
    put_json_string(json, "kind", "values");
    put_json_begin_array(json, "values");
    for (size_t i = 0; i < output->size; i++)
        put_json_float(json, NULL, (float)output->mean[i]);
    put_json_end_array(json);
    put_json_begin_array(json, "shape");
    for (int i = 0; i < shape->rank; i++)
        put_json_integer(json, NULL, shape->size[i]);
    put_json_integer(json, NULL, shape->channels);
    put_json_end_array(json);
    if (run->options->json)
        return EXIT_SUCCESS;
    print_label(run, output, file);
    for (size_t i = 0; i < output->size && i < MOST_VALUES_PRINTED; i++)
        printf(" %.6g", output->mean[i]);
    char text[64];
    if (output->size > MOST_VALUES_PRINTED)
        printf(" ... (%s values; --json prints all)", shape_text(shape, text));
    printf("\n");
    return EXIT_SUCCESS;
}

/* Prints what is known of one file, as text and into the JSON. */
static int print_prediction(const predict_run *run, const char *file, cli_json *json) {
    put_json_begin_object(json, NULL);
    put_json_string(json, "file", file);
    put_json_begin_object(json, "outputs");
    int status = EXIT_SUCCESS;
    for (int o = 0; !status && o < run->output_count; o++) {
        const net_output *output = &run->outputs[o];
        put_json_begin_object(json, output->name);
        status = (output->classes ? print_classes : print_values)(run, output, file, json);
        put_json_end_object(json);
    }
    put_json_end_object(json);
    put_json_end_object(json);
    return status;
}

/* DIR/predictions.json, by way of a temporary file. */
static int write_predictions(const predict_run *run, const char *text, size_t size) {
    const char *folder = run->options->out;
    if (!make_folder(folder))
        return fail_with(run->call, "cannot make the folder %s: %s", folder, strerror(errno));
    char *path = text_new("%s/predictions.json", folder);
    char *temporary = text_new("%s/predictions.json.%ld.tmp", folder, (long)getpid());
    FILE *file = path && temporary ? fopen(temporary, "w") : NULL;
    bool written = file && fwrite(text, 1, size, file) == size;
    if (file && fclose(file) != 0)
        written = false;
    written = written && rename(temporary, path) == 0;
    int reason = errno;
    if (!written && file)
        remove(temporary);
    free(path);
    free(temporary);
    return written ? EXIT_SUCCESS
                   : fail_with(run->call, "cannot write %s/predictions.json: %s", folder,
                               strerror(reason));
}

/* ---- The verb -------------------------------------------------------------------------------- */

/* Predicts for each file; one that fails does not keep the others from being done. */
static int predict_all(predict_run *run, cli_json *json) {
    const cli_call *call = run->call;
    int status = EXIT_SUCCESS;
    put_json_begin_array(json, NULL);
    for (int i = run->count; i < call->operand_count; i++) {
        if (predict_file(run, call->operands[i]) || print_prediction(run, call->operands[i], json))
            status = EXIT_FAILURE;
    }
    put_json_end_array(json);
    put_json_finish(json);
    return status;
}

static int predict(predict_run *run) {
    char *text = NULL;
    size_t size = 0;
    cli_json json = {.file = open_memstream(&text, &size)};
    if (!json.file)
        return out_of_memory(run->call);
    int status = predict_all(run, &json);
    if (fclose(json.file) != 0) {
        free(text);
        return out_of_memory(run->call);
    }
    if (run->options->json)
        fwrite(text, 1, size, stdout);
    if (run->options->out && write_predictions(run, text, size))
        status = EXIT_FAILURE;
    free(text);
    return status;
}

static int run(const cli_call *call) {
    predict_run run = {.call = call, .options = call->options};
    while (run.count < call->operand_count && is_model_file(call->operands[run.count]))
        run.count++;
    if (run.count == 0)
        return wrong_use(call,
                         "the first operand must be a model: a .safetensors file, as `fovea train` "
                         "writes it, .onnx, .keras or .h5; %s has no trained weights",
                         call->operands[0]);
    if (run.count == call->operand_count)
        return wrong_use(call, "no file to predict for after the model");
    int status = load_models(&run);
    if (!status)
        status = list_outputs(&run);
    if (!status)
        status = predict(&run);
    predict_run_free(&run);
    return status;
}

const cli_verb verb_predict = {
    .name = "predict",
    .summary = "tells what a model sees in pictures, arrays or samples",
    .usage = "MODEL... FILE... [options]",
    .details =
        "Leading operands that end in .safetensors, .onnx, .keras or .h5 are the models; several\n"
        "are an ensemble, whose outputs are averaged by name. A FILE is a PNG or JPEG picture, a\n"
        ".npy array, or a sample of a data set: mnist:test:17. A file that fails does not\n"
        "stop the others; the exit status is then 1. fovea(1) shows the JSON.\n",
    .options = predict_table,
    .options_size = sizeof(predict_options),
    .least_operands = 2,
    .most_operands = INT_MAX,
    .run = run,
};
