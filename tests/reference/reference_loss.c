/* The oracle of losses and of accuracy. Called by tests/test_loss.c. */
#include "reference.h"
#include <math.h>

static int first_largest(int count, const double *x) {
    int largest = 0;
    for (int i = 1; i < count; i++)
        if (x[i] > x[largest])
            largest = i;
    return largest;
}

/* -log of the softmax at the label = log(sum over k of exp(x_k - x_label)), shifted so that
 * nothing overflows; d / dx_k = softmax_k - (k == label). */
void ref_cross_entropy(int samples, int classes, const double *logits, const int *labels,
                       double *loss, double *accuracy, double *gradient) {
    *loss = *accuracy = 0;
    for (int s = 0; s < samples; s++, logits += classes, gradient += classes) {
        int best = first_largest(classes, logits);
        double sum = 0;
        for (int k = 0; k < classes; k++)
            sum += exp(logits[k] - logits[best]);
        *loss += (log(sum) + logits[best] - logits[labels[s]]) / samples;
        *accuracy += (best == labels[s]) / (double)samples;
        for (int k = 0; k < classes; k++) {
            double softmax = exp(logits[k] - logits[best]) / sum;
            gradient[k] = (softmax - (k == labels[s])) / samples;
        }
    }
}
