/* The list of losses, and what their options are by default. Called by objective.c. */
#include "train/loss.h"
#include "net/net.h"
#include <string.h>

static const fv_loss_type *const types[] = {
    &fv_loss_cross_entropy, &fv_loss_binary_cross_entropy,
    &fv_loss_mse,           &fv_loss_mae,
    &fv_loss_huber,         &fv_loss_smooth_l1,
    &fv_loss_hinge,         &fv_loss_kl,
    &fv_loss_cosine,        &fv_loss_focal,
    &fv_loss_dice,          &fv_loss_tversky,
    &fv_loss_iou,           &fv_loss_giou,
    &fv_loss_diou,          &fv_loss_ciou,
    &fv_loss_ssim,          &fv_loss_total_variation,
    &fv_loss_rbf,
};

const fv_loss_type *fv_loss_find(const char *name) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!*name || strcmp(types[i]->name, name) == 0)
            return types[i];
    fv_fail_unknown("loss", name, fv_loss_names);
    return NULL;
}

static double or (double given, double fallback) {
    return given != 0 ? given : fallback;
}

void fv_loss_resolve(const fv_loss_type *type, fv_loss_options *o) {
    o->weight = or (o->weight, 1);
    o->delta = or (o->delta, 1);
    o->alpha = or (o->alpha, type == &fv_loss_focal ? 0.25 : 0.5);
    o->beta = or (o->beta, 0.5);
    o->gamma = or (o->gamma, 2);
    o->smooth = or (o->smooth, 1);
    o->margin = or (o->margin, 0.1);
}
