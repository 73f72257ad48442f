/* fovea train: from a net and a data set to a folder with the trained model. Called by main.c. */
#include "cli.h"
#include "interrupt.h"
#include "progress.h"
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct train_options {
    const char *data, *out, *init;
    int epochs, batch, threads, limit;
    double lr;
    uint64_t seed;
    bool resume, exact;
    cli_texts settings, frozen;
} train_options;

static const cli_option train_table[] = {
    {"data", "D", OPTION_TEXT, offsetof(train_options, data), 0, 0,
     "data set, NAME|PATH[:SPLIT]; default mnist if found, else fashion-mnist"},
    {"epochs", "N", OPTION_INT, offsetof(train_options, epochs), 1, INT_MAX,
     "passes over the data; default: the net's"},
    {"batch", "N", OPTION_INT, offsetof(train_options, batch), 1, INT_MAX,
     "samples of a step; default: the net's"},
    {"lr", "X", OPTION_NUMBER, offsetof(train_options, lr), 0, 1e6,
     "learning rate; default: the net's"},
    {"seed", "N", OPTION_SEED, offsetof(train_options, seed), 0, 0,
     "of weights, order and dropout; default 0"},
    {"threads", "N", OPTION_INT, offsetof(train_options, threads), 1, MOST_THREADS,
     "default: the processors; the result is the same"},
    {"limit", "N", OPTION_INT, offsetof(train_options, limit), 1, INT_MAX,
     "train on the first N samples only"},
    {"out", "DIR", OPTION_TEXT, offsetof(train_options, out), 0, 0,
     "the run's folder; default runs/NET"},
    {"resume", NULL, OPTION_FLAG, offsetof(train_options, resume), 0, 0,
     "go on from the folder's checkpoint, if there is one"},
    {"exact", NULL, OPTION_FLAG, offsetof(train_options, exact), 0, 0, "direct algorithms only"},
    {"set", "KEY=VALUE", OPTION_TEXTS, offsetof(train_options, settings), 0, 0,
     "change the net: train.lr=0.1, conv2.filters=8"},
    {"init", "MODEL", OPTION_TEXT, offsetof(train_options, init), 0, 0,
     "start from its weights where names and shapes agree"},
    {"freeze", "PATTERN", OPTION_TEXTS, offsetof(train_options, frozen), 0, 0,
     "layers that do not learn: 'conv*'; may be repeated"},
    {0},
};

/* What a run needs; the data sets below are views of those above. */
typedef struct train_run {
    const cli_call *call;
    const train_options *options;
    char *folder, *set, *model;
    const char *split;
    fv_net *net;
    fv_data *data, *validation_data, *test_data;
    fv_data *test_part;
    const fv_data *validate, *test; /* those to use */
    const char *validate_name;
} train_run;

static void train_run_free(train_run *run) {
    fv_data *const sets[] = {run->test_part, run->test_data, run->validation_data, run->data};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        fv_data_free(sets[i]);
    fv_net_free(run->net);
    free(run->folder);
    free(run->set);
    free(run->model);
}

/* ---- Before the training --------------------------------------------------------------------- */

/* "runs/lenet5" for "nets/lenet5.net"; the .1 of squeezenet1.1 is no suffix. */
static char *default_folder(const char *net) {
    const char *slash = strrchr(net, '/'), *name = slash ? slash + 1 : net;
    const char *dot = strrchr(name, '.');
    bool suffix = dot && dot > name && !(dot[1] >= '0' && dot[1] <= '9');
    int length = suffix ? (int)(dot - name) : (int)strlen(name);
    return text_new("runs/%.*s", length, name);
}

static bool holds_run(const char *folder) {
    static const char *const files[] = {"log.csv", "checkpoint.safetensors", "model.safetensors"};
    bool found = false;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = text_new("%s/%s", folder, files[i]);
        found = found || (path && access(path, F_OK) == 0);
        free(path);
    }
    return found;
}

static int choose_folder(train_run *run) {
    const train_options *options = run->options;
    run->folder =
        options->out ? text_new("%s", options->out) : default_folder(run->call->operands[0]);
    run->model = run->folder ? text_new("%s/model.safetensors", run->folder) : NULL;
    if (!run->model)
        return out_of_memory(run->call);
    if (!options->resume && holds_run(run->folder))
        return fail_with(run->call,
                         "%s already holds a run: go on with --resume, or choose another folder "
                         "with --out",
                         run->folder);
    return EXIT_SUCCESS;
}

static int choose_data(train_run *run) {
    if (run->options->data) {
        run->set = data_name(run->options->data, "train", &run->split);
    } else {
        char *place = fv_data_find("mnist");
        run->set = text_new("%s", place ? "mnist" : "fashion-mnist");
        run->split = "train";
        fv_free_memory(place);
        if (run->set)
            fprintf(stderr, "no --data given: using %s\n", run->set);
    }
    return run->set ? EXIT_SUCCESS : out_of_memory(run->call);
}

/* The samples to train on and, unless the net holds out some of them, those to validate with: the
 * set's val split, else (open_test_data) its test split. */
static int open_training_data(train_run *run) {
    run->data = fv_data_open(run->set, run->split);
    if (!run->data)
        return fail(run->call);
    if (fv_get_train_options(run->net)->holdout > 0)
        run->validate_name = "held out";
    else if ((run->validate = run->validation_data = fv_data_open(run->set, "val")) != NULL)
        run->validate_name = "of val";
    else if (fv_error_status() != FV_IO) /* there are files of that split */
        return fail(run->call);
    return EXIT_SUCCESS;
}

static int open_test_data(train_run *run) {
    run->test = run->test_data = fv_data_open(run->set, "test");
    if (!run->test_data)
        return fail(run->call);
    if (!run->validate_name) {
        run->validate = run->test_data;
        run->validate_name = "of test";
    }
    int samples = fv_get_train_options(run->net)->test_samples;
    if (samples > 0 && (size_t)samples < fv_data_count(run->test_data)) {
        run->test = run->test_part = fv_data_slice(run->test_data, 0, (size_t)samples);
        if (!run->test_part)
            return fail(run->call);
    }
    return EXIT_SUCCESS;
}

/* Gives the data's class names to the net, so that they are saved with the model. */
static int name_classes(train_run *run) {
    int classes = fv_data_classes(run->data);
    const char **names = calloc((size_t)classes + 1, sizeof *names);
    if (!names)
        return out_of_memory(run->call);
    bool known = classes > 0;
    for (int i = 0; i < classes; i++) {
        names[i] = fv_data_class_name(run->data, i);
        known = known && names[i];
    }
    fv_status status = known ? fv_set_class_names(run->net, names, classes) : FV_OK;
    free(names);
    return status ? fail(run->call) : EXIT_SUCCESS;
}

/* The weights of --init, where they fit; says which do not. */
static int start_from_model(train_run *run) {
    fv_net *model = net_load(run->call, run->options->init, NULL);
    if (!model)
        return EXIT_FAILURE;
    char *report = NULL;
    fv_status status = fv_init_from(run->net, model, run->options->seed, &report);
    fv_net_free(model);
    if (status)
        return fail(run->call);
    fprintf(stderr, "weights of %s%s\n%s", run->options->init, *report ? ", but for these:" : "",
            report);
    fv_free_memory(report);
    return EXIT_SUCCESS;
}

/* What --init and --freeze ask for. */
static int transfer(train_run *run) {
    const cli_texts *frozen = &run->options->frozen;
    int status = run->options->init ? start_from_model(run) : EXIT_SUCCESS;
    for (int i = 0; i < frozen->count && !status; i++) {
        int count;
        if (fv_freeze(run->net, frozen->items[i], &count))
            return fail(run->call);
        fprintf(stderr, "%d layer%s frozen: %s\n", count, count == 1 ? "" : "s", frozen->items[i]);
    }
    return status;
}

static int prepare(train_run *run) {
    const cli_texts *settings = &run->options->settings;
    int status = choose_folder(run);
    if (status)
        return status;
    run->net = net_load(run->call, run->call->operands[0], settings);
    if (!run->net)
        return EXIT_FAILURE;
    if ((status = transfer(run)) || (status = choose_data(run)) ||
        (status = open_training_data(run)) || (status = open_test_data(run)) ||
        (status = name_classes(run)))
        return status;
    char parameters[32], samples[32], held[32];
    int64_t holdout = fv_get_train_options(run->net)->holdout;
    int64_t count = (int64_t)fv_data_count(run->data) - holdout, limit = run->options->limit;
    fprintf(stderr, "%s parameters; training on %s samples of %s, validating on %s %s\n",
            count_text(fv_parameter_count(run->net), parameters),
            count_text(limit && limit < count ? limit : count, samples), fv_data_place(run->data),
            count_text(holdout ? holdout : (int64_t)fv_data_count(run->validate), held),
            run->validate_name);
    return EXIT_SUCCESS;
}

/* ---- The training and what follows ----------------------------------------------------------- */

/* Prints a word so that a shell reads it back as it is. */
static void print_quoted(const char *word) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-+=.,:/@%";
    if (*word && !word[strspn(word, plain)]) {
        fputs(word, stderr);
        return;
    }
    fputc('\'', stderr);
    for (; *word; word++)
        if (*word == '\'')
            fputs("'\\''", stderr);
        else
            fputc(*word, stderr);
    fputc('\'', stderr);
}

static int say_how_to_resume(const train_run *run, int64_t step) {
    const cli_call *call = run->call;
    fprintf(stderr, "interrupted at step %lld: saved; resume with:", (long long)step);
    bool resume = run->options->resume;
    for (int i = 0; i < call->argc; i++) {
        if (strcmp(call->argv[i], "--") == 0 && !resume) { /* after it no option is read */
            fputs(" --resume", stderr);
            resume = true;
        }
        fputc(' ', stderr);
        print_quoted(call->argv[i]);
    }
    fputs(resume ? "\n" : " --resume\n", stderr);
    return 128 + interrupt_signal();
}

static int fit(train_run *run) {
    const train_options *options = run->options;
    cli_progress progress = progress_begin();
    interrupt_watch();
    fv_status status = fv_fit(run->net, run->data,
                              &(fv_fit_options){
                                  .epochs = options->epochs,
                                  .batch = options->batch,
                                  .lr = options->lr,
                                  .seed = options->seed,
                                  .threads = options->threads,
                                  .exact = options->exact,
                                  .limit = (size_t)options->limit,
                                  .validate = run->validate,
                                  .folder = run->folder,
                                  .resume = options->resume,
                                  .observer = progress_observe,
                                  .argument = &progress,
                              });
    interrupt_unwatch();
    progress_clear(&progress);
    if (status == FV_INTERRUPTED)
        return say_how_to_resume(run, progress.step);
    if (status)
        return fail(run->call);
    if (!interrupt_signal())
        return EXIT_SUCCESS;
    fprintf(stderr, "interrupted after the last step; model: %s\n", run->model);
    return 128 + interrupt_signal();
}

static int test(train_run *run) {
    const fv_net *const nets[] = {run->net};
    fv_score score;
    if (fv_evaluate(nets, 1, run->test, 0, run->options->threads, run->options->exact, &score))
        return fail(run->call);
    fprintf(stderr, "model: %s\n", run->model);
    printf("test");
    if (!isnan(score.accuracy))
        printf(" accuracy %.4f ", score.accuracy);
    printf(" loss %.4f\n", score.loss);
    return EXIT_SUCCESS;
}

static int run(const cli_call *call) {
    train_run run = {.call = call, .options = call->options};
    int status = prepare(&run);
    if (!status)
        status = fit(&run);
    if (!status)
        status = test(&run);
    train_run_free(&run);
    return status;
}

const cli_verb verb_train = {
    .name = "train",
    .summary = "trains a net on a data set",
    .usage = "NET [--data D] [options]",
    .details =
        "NET is a .net file, the name of an installed net (lecture-keras) or a model to train\n"
        "further. The run's folder gets model.safetensors, checkpoint.safetensors, log.csv and,\n"
        "where the net asks for it, steps.csv; an existing run is refused without --resume.\n"
        "After each epoch the net is validated on the samples that it holds out, else on the\n"
        "data's val split, else on test. An interrupt (Ctrl-C) saves and says how to resume.\n"
        "The last line printed is the result on the test split:\n"
        "test accuracy 0.9909  loss 0.0281\n",
    .options = train_table,
    .options_size = sizeof(train_options),
    .least_operands = 1,
    .most_operands = 1,
    .run = run,
};
