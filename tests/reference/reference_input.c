/* The oracle of the input layer: scale, mean and deviation. Called by tests/test_layers_dense.c. */
#include "reference.h"

void ref_input(const fv_input_options *options, int samples, const double *x, double *y) {
    int channels = options->shape.channels;
    size_t pixels = (size_t)samples;
    for (int axis = 0; axis < options->shape.rank; axis++)
        pixels *= (size_t)options->shape.size[axis];
    for (size_t p = 0; p < pixels; p++)
        for (int c = 0; c < channels; c++, x++, y++) {
            double scale = options->scale != 0 ? options->scale : 1;
            double mean = options->means == 0   ? 0
                          : options->means == 1 ? options->mean[0]
                                                : options->mean[c];
            double deviation = options->deviations == 0   ? 1
                               : options->deviations == 1 ? options->deviation[0]
                                                          : options->deviation[c];
            *y = (*x * scale - mean) / deviation;
        }
}
