/* Holds the library to numbers made by PyTorch, Keras and ONNX Runtime: tests/golden/make.py made
 * golden.safetensors and says what a case is. Each case is a net, weights and an input, and either
 * the output at inference, or the loss and the weights after training steps. */
#include "formats/formats.h"
#include "train/train.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Of the largest value of what is compared, as float arithmetic allows over short sums. */
static const double tolerance = 1e-5;

static fv_tensors file;
static const char *golden_path;
static int wrong;

static const fv_tensor_entry *find(const char *name, const char *part) {
    char key[500];
    snprintf(key, sizeof key, "%s.%s", name, part);
    return fv_tensors_find(&file, key);
}

static const char *metadata(const char *name, const char *part) {
    char key[500];
    snprintf(key, sizeof key, "%s.%s", name, part);
    return fv_tensors_metadata(&file, key);
}

/* A copy, since tensors in a file need not be aligned. */
static float *values_of(const fv_tensor_entry *entry) {
    float *values = calloc(entry->count, sizeof *values);
    assert_non_null(values);
    memcpy(values, entry->bytes, entry->count * sizeof *values);
    return values;
}

static void report(const char *name, const char *what) {
    print_error("%s: %s (made by %s)\n%s", name, what, metadata(name, "origin"),
                metadata(name, "net"));
    wrong++;
}

static void compare(const char *name, const char *what, size_t count, const float *got,
                    const fv_tensor_entry *wanted_entry) {
    char text[300];
    if (wanted_entry->count != count) {
        snprintf(text, sizeof text, "%s has %zu values, not %zu", what, count, wanted_entry->count);
        report(name, text);
        return;
    }
    float *wanted = values_of(wanted_entry);
    double largest = 0;
    size_t worst = 0;
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)wanted[i]));
        double before = fabs((double)got[worst] - (double)wanted[worst]);
        worst = fabs((double)got[i] - (double)wanted[i]) > before || isnan(got[i]) ? i : worst;
    }
    if (!(fabs((double)got[worst] - (double)wanted[worst]) <= tolerance * largest)) {
        snprintf(text, sizeof text, "%s: value %zu is %.9g, not %.9g", what, worst,
                 (double)got[worst], (double)wanted[worst]);
        report(name, text);
    }
    free(wanted);
}

/* Sets, or with `after` compares, all weights of the net that the case has. */
static void visit_weights(const char *name, fv_net *net, bool after) {
    for (int n = 0; n < net->count; n++)
        for (int w = 0; w < net->nodes[n].weight_count; w++) {
            const fv_weight *weight = &net->nodes[n].weights[w];
            char part[200];
            snprintf(part, sizeof part, "%s.%s.%s", after ? "after" : "weights", net->nodes[n].name,
                     weight->spec.name);
            const fv_tensor_entry *entry = find(name, part);
            if (!entry || entry->count != weight->count) {
                report(name, entry ? "a weight has another size" : "a weight is not in the file");
                continue;
            }
            float *values = values_of(entry);
            if (after) {
                float *got = calloc(weight->count, sizeof *got);
                assert_non_null(got);
                fv_weight_to_file(weight, net->weights + weight->offset, got);
                compare(name, part, weight->count, got, entry);
                free(got);
            } else {
                fv_weight_from_file(weight, values, net->weights + weight->offset);
            }
            free(values);
        }
}

static void check_output(const char *name, const fv_net *net, const float *input, int samples) {
    const fv_tensor_entry *wanted = find(name, "output");
    for (int exact = 0; exact < 2; exact++) {
        fv_session_options options = {.batch = samples, .threads = 1, .exact = exact};
        fv_session *session = fv_session_new(net, &options);
        fv_shape shape;
        if (!session || fv_session_run(session, input, samples)) {
            report(name, fv_error_message());
        } else {
            const float *output = fv_session_output(session, NULL, &shape);
            compare(name, exact ? "exact output" : "output",
                    (size_t)samples * fv_shape_count(&shape), output, wanted);
        }
        fv_session_free(session);
    }
}

/* The shape of one sample of a tensor: samples, sizes, channels. */
static fv_shape sample_shape(const fv_tensor_entry *entry) {
    fv_shape shape = {.rank = entry->rank - 2, .channels = (int)entry->size[entry->rank - 1]};
    for (int i = 0; i < shape.rank; i++)
        shape.size[i] = (int)entry->size[i + 1];
    return shape;
}

static int find_targets(const char *name, fv_target targets[4], float *memory[4]) {
    char prefix[300];
    int count = 0;
    snprintf(prefix, sizeof prefix, "%s.target.", name);
    for (size_t i = 0; i < file.count && count < 4; i++) {
        if (strncmp(file.entries[i].name, prefix, strlen(prefix)) != 0)
            continue;
        memory[count] = values_of(&file.entries[i]);
        targets[count] = (fv_target){.field = file.entries[i].name + strlen(prefix),
                                     .shape = sample_shape(&file.entries[i]),
                                     .values = memory[count]};
        count++;
    }
    return count;
}

static void check_training(const char *name, fv_net *net, const float *input, int samples) {
    fv_target targets[4];
    float *memory[4] = {NULL};
    int count = find_targets(name, targets, memory);
    fv_trainer_options options = {.batch = samples, .threads = 1};
    fv_trainer *trainer = fv_trainer_new(net, &options);
    fv_status status = trainer ? FV_OK : FV_INVALID;
    for (int step = 0; !status && step < atoi(metadata(name, "steps")); step++) {
        fv_score score;
        status = fv_trainer_step_targets(trainer, input, targets, count, samples, &score);
        float loss = (float)score.loss;
        if (!status && step == 0)
            compare(name, "loss", 1, &loss, find(name, "loss"));
    }
    if (status)
        report(name, fv_error_message());
    else
        visit_weights(name, net, true);
    fv_trainer_free(trainer);
    for (int i = 0; i < count; i++)
        free(memory[i]);
}

static void check_case(const char *name) {
    const fv_tensor_entry *input = find(name, "input");
    fv_net *net = fv_net_parse(metadata(name, "net"), name);
    assert_non_null(input);
    if (!net || fv_net_make_room(net)) {
        report(name, fv_error_message());
        return;
    }
    float *values = values_of(input);
    visit_weights(name, net, false);
    if (metadata(name, "steps"))
        check_training(name, net, values, (int)input->size[0]);
    else
        check_output(name, net, values, (int)input->size[0]);
    free(values);
    fv_net_free(net);
}

static void frameworks_give_these_numbers(void **state) {
    (void)state;
    int cases = 0;
    if (fv_tensors_open(golden_path, &file) == FV_UNSUPPORTED)
        skip();
    if (file.count == 0)
        fail_msg("%s", fv_error_message());
    for (size_t i = 0; i < file.metadata_count; i++) {
        char name[200];
        size_t size = strlen(file.keys[i]);
        if (size < 5 || size >= sizeof name || strcmp(file.keys[i] + size - 4, ".net") != 0)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)size - 4, file.keys[i]);
        check_case(name);
        cases++;
    }
    print_message("%d cases, %d of them not as they should be; %s\n", cases, wrong,
                  fv_tensors_metadata(&file, "versions"));
    fv_tensors_close(&file);
    assert_true(cases > 200);
    assert_int_equal(wrong, 0);
}

int main(int count, char **arguments) {
    golden_path = count > 1 ? arguments[1] : "tests/golden/golden.safetensors";
    const struct CMUnitTest tests[] = {cmocka_unit_test(frameworks_give_these_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
