/* Losses. Cross-entropy is computed together with the softmax before it, from the logits z:
 * loss = log(sum_k exp(z_k)) - z_label, gradient = softmax(z) - onehot(label); stable for any z. */
#include "train/train.h"
#include <math.h>
#include <string.h>

static fv_sample_loss cross_entropy(const real *z, int channels, int label, real scale,
                                    real *gradient) {
    int best = 0;
    for (int c = 1; c < channels; c++)
        if (z[c] > z[best])
            best = c;
    double largest = (double)z[best], sum = 0;
    for (int c = 0; c < channels; c++)
        sum += exp((double)z[c] - largest);
    if (gradient) {
        for (int c = 0; c < channels; c++)
            gradient[c] = (real)(exp((double)z[c] - largest) / sum) * scale;
        gradient[label] -= scale;
    }
    return (fv_sample_loss){.loss = log(sum) + largest - (double)z[label],
                            .correct = best == label};
}

static const fv_loss_type types[] = {
    {.name = "cross_entropy", .takes_over = FV_SOFTMAX, .sample = cross_entropy}};

fv_status fv_loss_find(const char *name, const fv_net *net, const fv_loss_type **loss) {
    const fv_node *last = &net->nodes[net->count - 1];
    char place[128], shape[64];
    *loss = NULL;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!*name || strcmp(types[i].name, name) == 0)
            *loss = &types[i];
    if (!*loss)
        return fv_fail_unknown("loss", name, fv_loss_names);
    if (last->output.rank != 0)
        return fv_fail(FV_SHAPE,
                       "%s needs a vector of classes, but the output of %s is %s (end the net "
                       "with flatten and dense)",
                       (*loss)->name, fv_node_place(net, last, place),
                       fv_shape_text(&last->output, shape));
    if (last->activation != (*loss)->takes_over && last->activation != FV_LINEAR)
        return fv_fail(FV_INVALID, "%s needs softmax (or no activation) at the end of %s, not %s",
                       (*loss)->name, fv_node_place(net, last, place),
                       fv_activation_names[last->activation]);
    return FV_OK;
}
