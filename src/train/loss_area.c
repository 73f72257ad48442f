/* Losses on areas: how much of what was meant was found, over all values of a sample. With
 * hit = sum t y, false = sum (1 - t) y, missed = sum t (1 - y):
 *
 * tversky  1 - (hit + smooth) / (hit + alpha false + beta missed + smooth) (Salehi et al. 2017)
 * dice     1 - (2 sum t y + smooth) / (sum t + sum y + smooth) (Milletari et al. 2016)
 *
 * Called by objective.c. */
#include "train/loss.h"

/* 1 - (a hit + smooth) / (b hit + c sum y + d sum t + smooth): both are of this form. */
typedef struct ratio {
    double a, b, c, d;
} ratio;

static double run_ratio(const fv_loss_block *block, ratio k) {
    double hit = 0, found = 0, meant = 0, smooth = block->options->smooth;
    size_t channels = (size_t)block->channels;
    for (size_t r = 0; r < block->rows; r++)
        for (size_t i = r * channels; block->weights[r] > 0 && i < (r + 1) * channels; i++) {
            hit += (double)block->targets[i] * (double)block->outputs[i];
            found += (double)block->outputs[i];
            meant += (double)block->targets[i];
        }
    double above = k.a * hit + smooth;
    double below = k.b * hit + k.c * found + k.d * meant + smooth;
    for (size_t r = 0; block->gradient && r < block->rows; r++)
        for (size_t i = r * channels; block->weights[r] > 0 && i < (r + 1) * channels; i++) {
            double t = (double)block->targets[i];
            double slope = (k.a * t * below - above * (k.b * t + k.c)) / (below * below);
            block->gradient[i] -= (real)(block->scale * slope);
        }
    return 1 - above / below;
}

static double run_dice(const fv_loss_block *block) {
    return run_ratio(block, (ratio){.a = 2, .c = 1, .d = 1});
}

static double run_tversky(const fv_loss_block *block) {
    double alpha = block->options->alpha, beta = block->options->beta;
    return run_ratio(block, (ratio){.a = 1, .b = 1 - alpha - beta, .c = alpha, .d = beta});
}

const fv_loss_type fv_loss_dice = {.name = "dice", .mean = FV_MEAN_SAMPLES, .run = run_dice};
const fv_loss_type fv_loss_tversky = {
    .name = "tversky", .mean = FV_MEAN_SAMPLES, .run = run_tversky};
