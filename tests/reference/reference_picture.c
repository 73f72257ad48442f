/* The oracle of losses on whole pictures. Called by reference_loss.c and tests/test_*.c. */
#include "reference.h"
#include <math.h>

enum { WINDOW = 11, CELLS = WINDOW * WINDOW };

static void gaussian(double weight[CELLS]) {
    double sum = 0;
    for (int i = 0; i < CELLS; i++) {
        double row = i / WINDOW - 5, column = i % WINDOW - 5;
        sum += weight[i] = exp(-(row * row + column * column) / (2 * 1.5 * 1.5));
    }
    for (int i = 0; i < CELLS; i++)
        weight[i] /= sum;
}

/* One window of weighted cells: S = l s with l = (2 mx my + C1) / (mx^2 + my^2 + C1) and
 * s = (2 sxy + C2) / (sxx + syy + C2), (co)variances about the weighted means; by[i] = dS / dx_i.
 */
static double window_similarity(double range, const double g[CELLS], const double x[CELLS],
                                const double y[CELLS], double by[CELLS]) {
    double c1 = 0.01 * 0.01 * range * range, c2 = 0.03 * 0.03 * range * range;
    double mx = 0, my = 0, sxx = 0, syy = 0, sxy = 0;
    for (int i = 0; i < CELLS; i++) {
        mx += g[i] * x[i];
        my += g[i] * y[i];
    }
    for (int i = 0; i < CELLS; i++) {
        sxx += g[i] * (x[i] - mx) * (x[i] - mx);
        syy += g[i] * (y[i] - my) * (y[i] - my);
        sxy += g[i] * (x[i] - mx) * (y[i] - my);
    }
    double below1 = mx * mx + my * my + c1, below2 = sxx + syy + c2;
    double l = (2 * mx * my + c1) / below1, s = (2 * sxy + c2) / below2;
    for (int i = 0; i < CELLS; i++) {
        double by_l = g[i] * (2 * my - 2 * mx * l) / below1;
        double by_s = g[i] * (2 * (y[i] - my) - 2 * (x[i] - mx) * s) / below2;
        by[i] = s * by_l + l * by_s;
    }
    return l * s;
}

double ref_ssim(int rows, int columns, int channels, double range, const double *x, const double *y,
                double *gradient) {
    double g[CELLS], a[CELLS], b[CELLS], by[CELLS], sum = 0;
    double windows = (double)(rows - WINDOW + 1) * (columns - WINDOW + 1) * channels;
    gaussian(g);
    for (int i = 0; i < rows * columns * channels; i++)
        gradient[i] = 0;
    for (int r = 0; r + WINDOW <= rows; r++)
        for (int q = 0; q + WINDOW <= columns; q++)
            for (int c = 0; c < channels; c++) {
                int at[CELLS];
                for (int i = 0; i < CELLS; i++) {
                    at[i] = ((r + i / WINDOW) * columns + q + i % WINDOW) * channels + c;
                    a[i] = x[at[i]];
                    b[i] = y[at[i]];
                }
                sum += window_similarity(range, g, a, b, by) / windows;
                for (int i = 0; i < CELLS; i++)
                    gradient[at[i]] += by[i] / windows;
            }
    return sum;
}

/* Axis by axis: values `step` apart are neighbours unless the first lies in the last cell. */
double ref_total_variation(const fv_shape *shape, const double *x, double *gradient) {
    int count = shape->channels, pairs = 0;
    double sum = 0;
    for (int axis = 0; axis < shape->rank; axis++)
        count *= shape->size[axis];
    for (int i = 0; i < count; i++)
        gradient[i] = 0;
    for (int axis = 0, step = count; axis < shape->rank; axis++) {
        int size = shape->size[axis];
        step /= size;
        for (int i = 0; i < count; i++)
            if (i / step % size < size - 1) {
                double d = x[i + step] - x[i];
                pairs++;
                sum += fabs(d);
                gradient[i + step] += (d > 0) - (d < 0);
                gradient[i] -= (d > 0) - (d < 0);
            }
    }
    for (int i = 0; i < count; i++)
        gradient[i] /= pairs;
    return sum / pairs;
}
