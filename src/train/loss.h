/* What a loss is: a record and one function that judges a block of outputs. The records stand in
 * loss*.c; objective.c runs them over a batch. */
#ifndef FV_TRAIN_LOSS_H
#define FV_TRAIN_LOSS_H

#include "base/real.h"
#include <fovea.h>
#include <stddef.h>

/* What a loss is given: `rows` places of `channels` values. */
typedef struct fv_loss_block {
    const fv_loss_options *options; /* every default filled in */
    const fv_shape *shape;          /* of one sample */
    size_t rows;
    int channels;
    const real *outputs, *targets; /* rows x channels; targets NULL where the loss has none */
    const double *weights;         /* of each row; 0: it does not count */
    double scale;                  /* of the gradient */
    real *gradient;                /* += scale * d loss / d outputs; NULL: not wanted */
    double *scratch;               /* as many as fv_loss_type.scratch says */
} fv_loss_block;

/* How the outputs of a place name a class. */
typedef enum fv_answer {
    FV_ANSWER_NONE = 0,
    FV_ANSWER_LARGEST,  /* the first of the largest */
    FV_ANSWER_SMALLEST, /* the first of the smallest */
    FV_ANSWER_BINARY,   /* of one channel: class 1 where it is larger than some number */
} fv_answer;

/* What the sum over all blocks is divided by. */
typedef enum fv_mean { FV_MEAN_VALUES = 0, FV_MEAN_ROWS, FV_MEAN_SAMPLES } fv_mean;

typedef struct fv_loss_type {
    const char *name;
    /* Activations that it computes together with its own formula, from the output before them: a
     * layer ends with one of these or with none. FV_LINEAR: it takes outputs as they are. */
    fv_activation takes_over[2];
    bool classes; /* a target of a single number is always a class index */
    bool binary;  /* each channel is a question of its own: smoothing goes to 1/2 */
    bool no_target;
    fv_answer answer;
    fv_mean mean; /* FV_MEAN_SAMPLES: a block is one whole sample */
    /* Whether it can judge outputs of that shape; NULL: any. */
    fv_status (*fits)(const fv_shape *shape);
    size_t (*scratch)(const fv_shape *shape); /* doubles for one block; NULL: none */
    double (*run)(const fv_loss_block *block);
} fv_loss_type;

/* The loss of that name ("": cross_entropy); NULL with a message. */
const fv_loss_type *fv_loss_find(const char *name);
/* Writes its defaults into what is not given. */
void fv_loss_resolve(const fv_loss_type *type, fv_loss_options *options);

extern const fv_loss_type fv_loss_cross_entropy, fv_loss_binary_cross_entropy, fv_loss_focal,
    fv_loss_kl, fv_loss_rbf; /* loss_class.c */
extern const fv_loss_type fv_loss_mse, fv_loss_mae, fv_loss_huber, fv_loss_smooth_l1, fv_loss_hinge,
    fv_loss_cosine;                                                              /* loss_value.c */
extern const fv_loss_type fv_loss_dice, fv_loss_tversky;                         /* loss_area.c */
extern const fv_loss_type fv_loss_iou, fv_loss_giou, fv_loss_diou, fv_loss_ciou; /* loss_box.c */
extern const fv_loss_type fv_loss_ssim, fv_loss_total_variation; /* loss_picture.c */

/* Mean structural similarity of two pictures of that shape (loss_picture.c). gradient: += scale *
 * d ssim / d x; NULL: not wanted. `scratch`: fv_ssim_scratch() doubles. */
double fv_ssim(const fv_shape *shape, double range, const real *x, const real *y, double scale,
               real *gradient, double *scratch);
size_t fv_ssim_scratch(const fv_shape *shape);
fv_status fv_ssim_fits(const fv_shape *shape);

#endif
