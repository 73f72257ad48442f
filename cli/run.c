/* fovea run: raw arrays through a net, any layer's output written as an array. Called by main.c. */
#include "cli.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct run_options {
    const char *folder;
    cli_texts inputs, outputs;
    int threads;
    bool exact;
} run_options;

static const cli_option run_table[] = {
    {"input", "[NAME=]X.npy", OPTION_TEXTS, offsetof(run_options, inputs), 0, 0,
     "the array to run, batch axis first; NAME: the input layer"},
    {"output", "NAME", OPTION_TEXTS, offsetof(run_options, outputs), 0, 0,
     "a layer to write: conv1, or conv1.pre before its activation; default: the outputs"},
    {"output-dir", "DIR", OPTION_TEXT, offsetof(run_options, folder), 0, 0,
     "folder for the arrays, DIR/NAME.npy"},
    {"threads", "N", OPTION_INT, offsetof(run_options, threads), 1, MOST_THREADS,
     "default: the processors"},
    {"exact", NULL, OPTION_FLAG, offsetof(run_options, exact), 0, 0, "direct algorithms only"},
    {0},
};

enum { MOST_SAMPLES = 64 }; /* of one pass through the net */

/* A layer's output for all samples. */
typedef struct layer_tap {
    const char *name;
    char *path;
    fv_shape shape;
    size_t sample; /* values of one */
    float *values;
} layer_tap;

typedef struct array_run {
    const cli_call *call;
    const run_options *options;
    fv_net *net;
    fv_session *session;
    int rank;
    size_t sizes[5]; /* of the input array */
    float *input;
    fv_shape shape;
    layer_tap *taps;
    int tap_count;
} array_run;

static void array_run_free(array_run *run) {
    for (int i = 0; run->taps && i < run->tap_count; i++) {
        free(run->taps[i].path);
        free(run->taps[i].values);
    }
    free(run->taps);
    fv_free_memory(run->input);
    fv_session_free(run->session);
    fv_net_free(run->net);
}

/* ---- The input ------------------------------------------------------------------------------- */

/* The file of the one --input; its NAME, where written, must be the input layer's. */
static int input_path(const array_run *run, const char **path) {
    fv_layer_info input;
    if (fv_layer_describe(run->net, 0, &input))
        return fail(run->call);
    if (run->options->inputs.count > 1)
        return wrong_use(run->call, "the net has one input, %s, but --input is given %d times",
                         input.name, run->options->inputs.count);
    const char *text = run->options->inputs.items[0];
    const char *equals = strchr(text, '=');
    *path = text;
    if (!equals || memchr(text, '/', (size_t)(equals - text)))
        return EXIT_SUCCESS;
    size_t length = (size_t)(equals - text);
    if (strlen(input.name) != length || memcmp(input.name, text, length) != 0)
        return wrong_use(run->call, "the net has no input %.*s; its input is %s", (int)length, text,
                         input.name);
    *path = equals + 1;
    return EXIT_SUCCESS;
}

/* "64x28x28x1" into text[128]. */
static void sizes_text(int rank, const size_t *sizes, char text[128]) {
    size_t used = 0;
    snprintf(text, 128, "a single number");
    for (int i = 0; i < rank && used < 100; i++)
        used += (size_t)snprintf(text + used, 128 - used, "%s%zu", i ? "x" : "", sizes[i]);
}

/* Checks the array's axes against the net's input: samples, then the sample's own. */
static bool array_fits(array_run *run) {
    fv_shape wanted = fv_input_shape(run->net);
    bool fits = run->rank == wanted.rank + 2 && run->sizes[0] > 0;
    for (int i = 0; fits && i < wanted.rank; i++) {
        size_t size = run->sizes[i + 1];
        fits = wanted.size[i] == FV_ANY ? size > 0 && size <= INT32_MAX
                                        : size == (size_t)wanted.size[i];
        wanted.size[i] = (int)size;
    }
    run->shape = wanted;
    return fits && run->sizes[run->rank - 1] == (size_t)wanted.channels;
}

static int read_input(array_run *run) {
    const char *path = NULL;
    int status = input_path(run, &path);
    if (status)
        return status;
    if (fv_read_npy(path, &run->rank, run->sizes, &run->input))
        return fail(run->call);
    if (array_fits(run))
        return EXIT_SUCCESS;
    char found[128], wanted[64];
    fv_shape shape = fv_input_shape(run->net);
    sizes_text(run->rank, run->sizes, found);
    return fail_with(run->call, "%s is %s, but the net's input is Nx%s, N being 1 or more samples",
                     path, found, shape_text(&shape, wanted));
}

/* ---- The outputs ----------------------------------------------------------------------------- */

/* DIR/NAME.npy, with `/` and `:` in NAME as `_`. */
static char *tap_path(const char *folder, const char *name) {
    char *path = text_new("%s/%s.npy", folder, name);
    for (char *c = path ? path + strlen(folder) + 1 : NULL; c && *c; c++)
        if (*c == '/' || *c == ':')
            *c = '_';
    return path;
}

static int choose_taps(array_run *run) {
    const cli_texts *names = &run->options->outputs;
    run->tap_count = names->count ? names->count : fv_output_count(run->net);
    run->taps = calloc((size_t)run->tap_count, sizeof *run->taps);
    if (!run->taps)
        return out_of_memory(run->call);
    for (int i = 0; i < run->tap_count; i++) {
        layer_tap *tap = &run->taps[i];
        tap->name = names->count ? names->items[i] : fv_output_name(run->net, i);
        tap->path = tap_path(run->options->folder, tap->name);
        if (!tap->path)
            return out_of_memory(run->call);
        for (int j = 0; j < i; j++)
            if (strcmp(run->taps[j].path, tap->path) == 0)
                return wrong_use(run->call, "the outputs %s and %s would both be written to %s",
                                 run->taps[j].name, tap->name, tap->path);
    }
    return EXIT_SUCCESS;
}

static int open_session(array_run *run) {
    const cli_texts *names = &run->options->outputs; /* its array ends with NULL */
    size_t batch = run->sizes[0] < MOST_SAMPLES ? run->sizes[0] : MOST_SAMPLES;
    run->session = fv_session_new(run->net, &(fv_session_options){
                                                .batch = (int)batch,
                                                .threads = run->options->threads,
                                                .exact = run->options->exact,
                                                .shape = run->shape,
                                                .outputs = names->count ? names->items : NULL,
                                            });
    return run->session ? EXIT_SUCCESS : fail(run->call);
}

/* Copies what a pass gave for samples [first, first + count). */
static int collect(array_run *run, size_t first, size_t count) {
    for (int i = 0; i < run->tap_count; i++) {
        layer_tap *tap = &run->taps[i];
        const float *values = fv_session_output(run->session, tap->name, &tap->shape);
        if (!values)
            return fail(run->call);
        if (!tap->values) {
            tap->sample = fv_shape_count(&tap->shape);
            size_t bytes;
            if (__builtin_mul_overflow(tap->sample, sizeof(float), &bytes))
                return out_of_memory(run->call);
            tap->values = calloc(run->sizes[0], bytes);
        }
        if (!tap->values)
            return out_of_memory(run->call);
        memcpy(tap->values + first * tap->sample, values, count * tap->sample * sizeof(float));
    }
    return EXIT_SUCCESS;
}

static int run_samples(array_run *run) {
    size_t sample = fv_shape_count(&run->shape);
    for (size_t first = 0; first < run->sizes[0]; first += MOST_SAMPLES) {
        size_t left = run->sizes[0] - first;
        size_t count = left < MOST_SAMPLES ? left : MOST_SAMPLES;
        if (fv_session_run(run->session, run->input + first * sample, (int)count))
            return fail(run->call);
        int status = collect(run, first, count);
        if (status)
            return status;
    }
    return EXIT_SUCCESS;
}

static int write_taps(const array_run *run) {
    if (!make_folder(run->options->folder))
        return fail_with(run->call, "cannot make the folder %s: %s", run->options->folder,
                         strerror(errno));
    for (int i = 0; i < run->tap_count; i++) {
        const layer_tap *tap = &run->taps[i];
        size_t sizes[5] = {run->sizes[0]};
        int rank = 1;
        for (int axis = 0; axis < tap->shape.rank; axis++)
            sizes[rank++] = (size_t)tap->shape.size[axis];
        sizes[rank++] = (size_t)tap->shape.channels;
        if (fv_write_npy(tap->path, rank, sizes, tap->values))
            return fail(run->call);
    }
    return EXIT_SUCCESS;
}

static int run(const cli_call *call) {
    array_run run = {.call = call, .options = call->options};
    if (run.options->inputs.count == 0)
        return wrong_use(call, "--input is missing");
    if (!run.options->folder)
        return wrong_use(call, "--output-dir is missing");
    run.net = fv_net_load(call->operands[0]);
    int status = run.net ? EXIT_SUCCESS : fail(call);
    int (*const stages[])(array_run *) = {choose_taps, read_input, open_session, run_samples};
    for (size_t i = 0; !status && i < sizeof stages / sizeof *stages; i++)
        status = stages[i](&run);
    if (!status)
        status = write_taps(&run);
    array_run_free(&run);
    return status;
}

const cli_verb verb_run = {
    .name = "run",
    .summary = "runs an array through a net and writes any layer's output",
    .usage = "MODEL --input [NAME=]X.npy --output-dir DIR [options]",
    .details = "The array holds float samples along its first axis, channels along its last; the\n"
               "input line's scale and mean apply. Without --output each output of the net is\n"
               "written. In file names `/` and `:` become `_`. A .net file runs with its first\n"
               "weights, drawn from seed 0.\n",
    .options = run_table,
    .options_size = sizeof(run_options),
    .least_operands = 1,
    .most_operands = 1,
    .run = run,
};
