/* The oracles of losses (reference_loss.c, reference_box.c, reference_picture.c): see reference.h.
 */
#ifndef FV_TESTS_REFERENCE_LOSS_H
#define FV_TESTS_REFERENCE_LOSS_H

#include <fovea.h>

/* What a loss judges. Outputs are those before the softmax or sigmoid where the loss is
 * cross_entropy, binary_cross_entropy or focal. */
typedef struct ref_judged {
    const fv_loss_options *options; /* zeros are defaults */
    int samples;
    fv_shape shape;        /* of one sample's output */
    const double *outputs; /* samples x shape */
    const double *targets; /* the same; or NULL: */
    const double *indices; /* a class index for each place */
} ref_judged;

/* The loss without its options' weight, and its gradient by the outputs. A row is a place of a
 * sample, its t the target's values: where it has an index, one-hot (of one channel the index
 * itself, but for cross_entropy and rbf). Smoothing: (1 - e) t + e / channels, or e / 2 where each
 * channel is a question of its own (binary_cross_entropy, focal). Rows whose index is to be ignored
 * do not count anywhere. Class weights: a row's loss is times that of its class (of the largest t;
 * one channel has two classes).
 *
 * Means over rows:
 *   cross_entropy         -sum_c t_c log softmax_c. With formula torch class weights multiply
 *                         each term, and with indices the divisor is the sum of the rows' weights
 *   kl                    sum_c t log(t / y), both cut to [1e-7, 1]
 *   cosine                1 - cos of output and target over the channels
 *   rbf                   y_t + log(exp(-margin) + sum_k exp(-y_k)) (LeCun et al. 1998, (9))
 *   iou, giou, diou, ciou torchvision's *_box_iou_loss
 * Means over rows and channels:
 *   binary_cross_entropy  -t log sigmoid(z) - (1 - t) log(1 - sigmoid(z))
 *   focal                 a_t (1 - p_t)^gamma times that (Lin et al. 2017), as in torchvision
 *   mse, mae, huber, smooth_l1 (huber / delta)
 *   hinge                 max(1 - t y, 0), where t = 0 means -1
 * Means over samples:
 *   dice, tversky         over all values of a sample
 *   ssim                  1 - that of Wang et al. 2004 (11 x 11 gaussian, 1.5), windows inside
 *   total_variation       mean |difference| of all pairs of neighbours along the axes */
double ref_loss(const ref_judged *judged, double *gradient);

/* One box each, in corners. */
double ref_box_loss(const char *type, const double output[4], const double target[4],
                    double gradient[4]);

/* One picture of rows x columns, of `channels` interleaved: similarity, and its gradient by x. */
double ref_ssim(int rows, int columns, int channels, double range, const double *x, const double *y,
                double *gradient);
double ref_total_variation(const fv_shape *shape, const double *x, double *gradient);

/* Softmax cross-entropy of the logits, mean over the samples: the loss, the share of samples whose
 * first largest logit is at their label, and the gradient of that mean. */
void ref_cross_entropy(int samples, int classes, const double *logits, const int *labels,
                       double *loss, double *accuracy, double *gradient);

#endif
