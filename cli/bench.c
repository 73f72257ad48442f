/* fovea bench: the speed of inference or training on made-up samples. Called by main.c. */
#include "cli.h"
#include "json.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench_options {
    int batch, threads;
    double seconds;
    bool train, layers, exact, json;
} bench_options;

static const cli_option bench_table[] = {
    {"batch", "N", OPTION_INT, offsetof(bench_options, batch), 1, INT_MAX,
     "samples of a run; default 1, with --train the net's"},
    {"threads", "N", OPTION_INT, offsetof(bench_options, threads), 1, MOST_THREADS,
     "default: the processors"},
    {"train", NULL, OPTION_FLAG, offsetof(bench_options, train), 0, 0,
     "time training steps instead of inference"},
    {"seconds", "S", OPTION_NUMBER, offsetof(bench_options, seconds), 0, 86400,
     "how long to measure; default 2"},
    {"layers", NULL, OPTION_FLAG, offsetof(bench_options, layers), 0, 0, "also time each layer"},
    {"exact", NULL, OPTION_FLAG, offsetof(bench_options, exact), 0, 0, "direct algorithms only"},
    {"json", NULL, OPTION_FLAG, offsetof(bench_options, json), 0, 0, "print JSON"},
    {0},
};

enum { DEFAULT_TRAINING_BATCH = 32, WARM_UP = 3, LEAST_RUNS = 5, MOST_RUNS = 1000000 };

/* What is timed: `session` or `trainer`. */
typedef struct benchmark {
    const cli_call *call;
    const bench_options *options;
    fv_net *net;
    fv_session *session;
    fv_trainer *trainer;
    int batch, threads;
    double seconds;
    float *input;
    int *labels;
    int64_t macs;
    double *times; /* seconds of each run, sorted at the end */
    size_t runs, capacity;
} benchmark;

typedef struct bench_figures {
    double median_ms, min_ms; /* a sample */
    double samples_per_second, gflops;
} bench_figures;

/* What a run that looks at each layer shows. */
typedef struct bench_layers {
    double *ms;         /* a sample, summed over the threads: of all passes together, and ... */
    double (*parts)[3]; /* ... by fv_pass, in training */
    const char **algorithms;
    double peak; /* GFLOP/s of a thread's multiply-adds */
} bench_layers;

static const double peak_seconds = 0.1;

static void bench_free(benchmark *bench) {
    fv_session_free(bench->session);
    fv_trainer_free(bench->trainer);
    fv_net_free(bench->net);
    free(bench->input);
    free(bench->labels);
    free(bench->times);
}

/* Made-up pictures of noise and labels in turn: the arithmetic does not depend on them. */
static int make_samples(benchmark *bench) {
    fv_shape shape = fv_input_shape(bench->net);
    if (input_varies(bench->net))
        return fail_with(bench->call, "the input's sizes vary (*): there is no size to time");
    fv_layer_info last;
    if (main_output(bench->net, &last))
        return fail(bench->call);
    size_t batch = (size_t)bench->batch, count;
    if (__builtin_mul_overflow(batch, fv_shape_count(&shape), &count))
        return out_of_memory(bench->call);
    bench->input = calloc(count, sizeof(float));
    bench->labels = calloc(batch, sizeof(int));
    if (!bench->input || !bench->labels)
        return out_of_memory(bench->call);
    uint32_t state = 1; /* Numerical Recipes' linear congruential generator */
    for (size_t i = 0; i < count; i++) {
        state = 1664525u * state + 1013904223u;
        bench->input[i] = (float)(state >> 24);
    }
    for (size_t i = 0; i < batch; i++)
        bench->labels[i] = (int)(i % (size_t)last.output.channels);
    return EXIT_SUCCESS;
}

/* The session or the trainer. */
static int open_runs(benchmark *bench, bool profile) {
    const bench_options *options = bench->options;
    if (options->train)
        bench->trainer = fv_trainer_new(bench->net, &(fv_trainer_options){.batch = bench->batch,
                                                                          .threads = bench->threads,
                                                                          .exact = options->exact,
                                                                          .profile = profile});
    else
        bench->session = fv_session_new(bench->net, &(fv_session_options){.batch = bench->batch,
                                                                          .threads = bench->threads,
                                                                          .exact = options->exact,
                                                                          .profile = profile});
    return bench->trainer || bench->session ? EXIT_SUCCESS : fail(bench->call);
}

static int bench_open(benchmark *bench) {
    const bench_options *options = bench->options;
    bench->net = net_load(bench->call, bench->call->operands[0], NULL);
    if (!bench->net)
        return EXIT_FAILURE;
    int training_batch = fv_get_train_options(bench->net)->batch;
    bench->batch = options->batch    ? options->batch
                   : !options->train ? 1
                   : training_batch  ? training_batch
                                     : DEFAULT_TRAINING_BATCH;
    bench->threads = options->threads ? options->threads : fv_default_threads();
    bench->seconds = options->seconds > 0 ? options->seconds : 2;
    for (int i = 0; i < fv_layer_count(bench->net); i++) {
        fv_layer_info info;
        if (fv_layer_describe(bench->net, i, &info))
            return fail(bench->call);
        bench->macs += info.training_only && !options->train ? 0 : info.macs;
    }
    int status = make_samples(bench);
    if (status)
        return status;
    return open_runs(bench, false);
}

/* ---- Measuring ------------------------------------------------------------------------------- */

static fv_status run_once(const benchmark *bench) {
    if (bench->trainer)
        return fv_trainer_step(bench->trainer, bench->input, bench->labels, bench->batch, NULL);
    return fv_session_run(bench->session, bench->input, bench->batch);
}

static bool keep_time(benchmark *bench, double seconds) {
    if (bench->runs == bench->capacity) {
        size_t capacity = bench->capacity ? 2 * bench->capacity : 1024;
        double *times = realloc(bench->times, capacity * sizeof *times);
        if (!times)
            return false;
        bench->times = times;
        bench->capacity = capacity;
    }
    bench->times[bench->runs++] = seconds;
    return true;
}

static int compare_times(const void *a, const void *b) {
    double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

/* The forward pass; in training also the gradients of input and weights. */
static int pass_count(const benchmark *bench) {
    return bench->options->train ? 3 : 1;
}

static int measure(benchmark *bench, bench_figures *figures) {
    for (int i = 0; i < WARM_UP; i++)
        if (run_once(bench))
            return fail(bench->call);
    double begin = seconds_now(), before = begin;
    while (bench->runs < MOST_RUNS &&
           (bench->runs < LEAST_RUNS || before - begin < bench->seconds)) {
        if (run_once(bench))
            return fail(bench->call);
        double now = seconds_now();
        if (!keep_time(bench, now - before))
            return out_of_memory(bench->call);
        before = now;
    }
    qsort(bench->times, bench->runs, sizeof *bench->times, compare_times);
    double median = bench->times[bench->runs / 2] / bench->batch;
    figures->median_ms = 1e3 * median;
    figures->min_ms = 1e3 * bench->times[0] / bench->batch;
    figures->samples_per_second = 1 / median;
    figures->gflops = 2e-9 * (double)bench->macs * pass_count(bench) / median;
    return EXIT_SUCCESS;
}

/* Runs for as long as the figures were measured; then reads what the layers took. */
static int run_layers(benchmark *bench, bench_layers *layers) {
    int64_t samples = 0;
    fv_status status = FV_OK;
    double begin = seconds_now();
    while (!status && (samples == 0 || seconds_now() - begin < bench->seconds)) {
        status = run_once(bench);
        samples += bench->batch;
    }
    for (int i = 0; i < fv_layer_count(bench->net); i++) {
        layers->ms[i] = 0;
        for (fv_pass pass = FV_PASS_PACK; pass <= FV_PASS_BACKWARD; pass++) {
            double seconds = bench->trainer            ? fv_trainer_seconds(bench->trainer, pass, i)
                             : pass == FV_PASS_FORWARD ? fv_session_seconds(bench->session, i)
                                                       : 0;
            layers->parts[i][pass] = 1e3 * seconds / (double)samples;
            layers->ms[i] += layers->parts[i][pass];
        }
        layers->algorithms[i] = bench->trainer ? fv_trainer_algorithm(bench->trainer, i)
                                               : fv_session_algorithm(bench->session, i);
    }
    return status ? fail(bench->call) : EXIT_SUCCESS;
}

/* Milliseconds a sample of each layer, by a session or trainer of its own: looking at the clock
 * takes time, which must not be in the figures above. */
static int measure_layers(benchmark *bench, bench_layers *layers) {
    fv_session_free(bench->session);
    fv_trainer_free(bench->trainer);
    bench->session = NULL;
    bench->trainer = NULL;
    int status = open_runs(bench, true);
    if (!status)
        status = run_layers(bench, layers);
    if (status)
        return status;
    layers->peak = fv_peak_gflops(bench->threads, peak_seconds) / bench->threads;
    return layers->peak <= 0 ? fail(bench->call) : EXIT_SUCCESS;
}

/* ---- Printing -------------------------------------------------------------------------------- */

/* GFLOP/s of a thread while it runs the layer; 0 where it has no multiply-adds. Counted are those
 * of the direct algorithm. */
static double layer_gflops(const benchmark *bench, const bench_layers *layers, int i,
                           int64_t macs) {
    return layers->ms[i] > 0 ? 2e-6 * (double)macs * pass_count(bench) / layers->ms[i] : 0;
}

static void print_layer(const benchmark *bench, const bench_layers *layers, double total, int i) {
    fv_layer_info info;
    if (fv_layer_describe(bench->net, i, &info))
        return;
    char layer[128];
    snprintf(layer, sizeof layer, "%s %s", info.type, info.detail ? info.detail : "");
    double gflops = layer_gflops(bench, layers, i, info.macs);
    printf("%-20.20s  %-25.25s  %-12s  %10.6f  %5.1f%%  %8.1f  %6.1f%%", info.name, layer,
           layers->algorithms[i], layers->ms[i], total > 0 ? 100 * layers->ms[i] / total : 0,
           gflops, 100 * gflops / layers->peak);
    for (int pass = FV_PASS_PACK; bench->options->train && pass <= FV_PASS_BACKWARD; pass++)
        printf("  %10.6f", layers->parts[i][pass]);
    putchar('\n');
}

static void print_layers(const benchmark *bench, const bench_layers *layers) {
    double total = 0;
    for (int i = 0; i < fv_layer_count(bench->net); i++)
        total += layers->ms[i];
    printf("\nthe most that a thread can do: %.1f GFLOP/s\n", layers->peak);
    printf("\n%-20s  %-25s  %-12s  %10s  %6s  %8s  %7s", "name", "layer", "algorithm", "thread ms",
           "share", "GFLOP/s", "of most");
    if (bench->options->train)
        printf("  %10s  %10s  %10s", "packing", "forward", "backward");
    putchar('\n');
    for (int i = 0; i < fv_layer_count(bench->net); i++)
        print_layer(bench, layers, total, i);
}

static void print_text(const benchmark *bench, const bench_figures *figures,
                       const bench_layers *layers) {
    printf("%s, batch %d, threads %d, %s: %zu runs\n",
           bench->options->train ? "training" : "inference", bench->batch, bench->threads,
           fv_instruction_set(), bench->runs);
    printf("median %.4f ms a sample  min %.4f ms  %.0f samples/s  %.1f GFLOP/s\n",
           figures->median_ms, figures->min_ms, figures->samples_per_second, figures->gflops);
    if (layers)
        print_layers(bench, layers);
}

static const char *const pass_names[] = {"packing_ms", "forward_ms", "backward_ms"};

static void print_json(const benchmark *bench, const bench_figures *figures,
                       const bench_layers *layers) {
    cli_json json = {.file = stdout};
    put_json_begin_object(&json, NULL);
    put_json_number(&json, "median_ms", figures->median_ms);
    put_json_number(&json, "min_ms", figures->min_ms);
    put_json_number(&json, "samples_per_second", figures->samples_per_second);
    put_json_number(&json, "gflops", figures->gflops);
    if (layers) {
        put_json_number(&json, "peak_gflops", layers->peak);
        put_json_begin_array(&json, "layers");
    }
    for (int i = 0; layers && i < fv_layer_count(bench->net); i++) {
        fv_layer_info info;
        if (fv_layer_describe(bench->net, i, &info))
            continue;
        put_json_begin_object(&json, NULL);
        put_json_string(&json, "name", info.name);
        put_json_string(&json, "type", info.type);
        put_json_string(&json, "algorithm", layers->algorithms[i]);
        put_json_number(&json, "thread_ms", layers->ms[i]);
        for (int pass = FV_PASS_PACK; bench->options->train && pass <= FV_PASS_BACKWARD; pass++)
            put_json_number(&json, pass_names[pass], layers->parts[i][pass]);
        put_json_integer(&json, "macs", info.macs);
        put_json_number(&json, "gflops", layer_gflops(bench, layers, i, info.macs));
        put_json_end_object(&json);
    }
    if (layers)
        put_json_end_array(&json);
    put_json_end_object(&json);
    put_json_finish(&json);
}

static int measure_and_print(benchmark *bench) {
    bench_figures figures = {0};
    int status = measure(bench, &figures);
    if (status)
        return status;
    size_t count = (size_t)fv_layer_count(bench->net);
    bench_layers layers = {0}, *asked = bench->options->layers ? &layers : NULL;
    if (asked) {
        layers.ms = calloc(count, sizeof *layers.ms);
        layers.parts = calloc(count, sizeof *layers.parts);
        layers.algorithms = calloc(count, sizeof *layers.algorithms);
        status = layers.ms && layers.parts && layers.algorithms ? measure_layers(bench, &layers)
                                                                : out_of_memory(bench->call);
    }
    if (!status && bench->options->json)
        print_json(bench, &figures, asked);
    else if (!status)
        print_text(bench, &figures, asked);
    free(layers.ms);
    free(layers.parts);
    free(layers.algorithms);
    return status;
}

static int run(const cli_call *call) {
    benchmark bench = {.call = call, .options = call->options};
    int status = bench_open(&bench);
    if (!status)
        status = measure_and_print(&bench);
    bench_free(&bench);
    return status;
}

const cli_verb verb_bench = {
    .name = "bench",
    .summary = "measures the speed of a net",
    .usage = "NET|MODEL [options]",
    .details =
        "Times runs on made-up samples. JSON: median_ms and min_ms (a sample),\n"
        "samples_per_second, gflops (2 x multiply-adds x (1, or 3 in training) / time); with\n"
        "--layers also peak_gflops (of a thread's multiply-adds) and layers [{name, type,\n"
        "algorithm, thread_ms, macs, gflops}], milliseconds a sample summed over the threads; in\n"
        "training also packing_ms (of weights, before each step), forward_ms, backward_ms.\n",
    .options = bench_table,
    .options_size = sizeof(bench_options),
    .least_operands = 1,
    .most_operands = 1,
    .run = run,
};
