/* The gradients of one training step as a file, for comparison with other frameworks
 * (gradients.py): gradients MODEL INPUT.npy LABELS.npy OUT.safetensors [SETTING...] INPUT.npy:
 * samples x the input's sizes, channels last. Each tensor of OUT is called as the weight. */
#include "base/alloc.h"
#include "formats/formats.h"
#include "train/train.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SETTINGS = 16 };

static int fail(void) {
    fprintf(stderr, "gradients: %s\n", fv_error_message());
    return 1;
}

/* After it the trainer's gradients are those of the batch: its learning rate moves nothing. */
static fv_trainer *step(fv_net *net, char **paths, bool exact) {
    int rank, label_rank;
    size_t sizes[5], label_sizes[5];
    float *input, *label;
    if (fv_read_npy(paths[0], &rank, sizes, &input) ||
        fv_read_npy(paths[1], &label_rank, label_sizes, &label))
        return NULL;
    int samples = (int)sizes[0], *labels = calloc(sizes[0], sizeof *labels);
    for (int i = 0; labels && i < samples; i++)
        labels[i] = (int)label[i];
    fv_trainer *trainer =
        fv_trainer_new(net, &(fv_trainer_options){.batch = samples, .exact = exact});
    fv_score score;
    if (trainer && labels && fv_trainer_step(trainer, input, labels, samples, &score) == FV_OK)
        printf("loss %.9g\n", score.loss);
    else
        trainer = NULL;
    free(labels);
    fv_free_memory(input);
    fv_free_memory(label);
    return trainer;
}

static fv_status write_gradients(const fv_trainer *trainer, const char *path) {
    const fv_net *net = trainer->net;
    const real *gradients = fv_runner_gradients(&trainer->runner);
    fv_net_tensors tensors;
    fv_status status = fv_net_tensors_make(net, &tensors);
    if (status)
        return status;
    size_t count = 0, made = 0;
    for (int n = 0; n < net->count; n++)
        for (int w = 0; w < net->nodes[n].weight_count; w++, made++) {
            const fv_weight *weight = &net->nodes[n].weights[w];
            if (weight->spec.statistic)
                continue;
            fv_weight_to_file(weight, gradients + weight->offset,
                              (float *)(uintptr_t)tensors.entries[made].bytes);
            fv_tensor_entry kept = tensors.entries[count];
            tensors.entries[count++] = tensors.entries[made];
            tensors.entries[made] = kept;
        }
    status = fv_tensors_write(path, tensors.entries, count, NULL, NULL, 0);
    fv_net_tensors_free(&tensors);
    return status;
}

int main(int count, char **words) {
    if (count < 6 || count - 6 > MOST_SETTINGS) {
        fprintf(stderr, "usage: gradients MODEL INPUT.npy LABELS.npy OUT.safetensors "
                        "exact|default [SETTING...]\n");
        return 2;
    }
    fv_net *net = fv_net_load_with(words[1], (const char *const *)words + 6, count - 6);
    fv_trainer *trainer = net ? step(net, words + 2, strcmp(words[5], "exact") == 0) : NULL;
    if (!trainer || write_gradients(trainer, words[4]))
        return fail();
    fv_trainer_free(trainer);
    fv_net_free(net);
    return 0;
}
