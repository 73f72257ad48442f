/* The oracle of losses on boxes: torchvision's box_iou_loss, generalized_, distance_ and complete_.
 * Called by reference_loss.c and tests/test_*.c. */
#include "reference.h"
#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846, epsilon = 1e-7;

/* A number and its derivatives by x1, y1, x2, y2 of the output. */
typedef struct term {
    double value, by[4];
} term;

/* Intersection: where both sides overlap, an edge of the output counts if it is the inner one. */
static term intersection(const double a[4], const double b[4]) {
    double width = fmin(a[2], b[2]) - fmax(a[0], b[0]);
    double height = fmin(a[3], b[3]) - fmax(a[1], b[1]);
    if (!(width > 0 && height > 0))
        return (term){0};
    return (term){width * height,
                  {a[0] > b[0] ? -height : 0, a[1] > b[1] ? -width : 0, a[2] < b[2] ? height : 0,
                   a[3] < b[3] ? width : 0}};
}

static term area(const double a[4]) {
    double width = a[2] - a[0], height = a[3] - a[1];
    return (term){width * height, {-height, -width, height, width}};
}

static term whole(const double a[4], const double b[4], const term *common) {
    term own = area(a);
    term u = {own.value + area(b).value - common->value, {0}};
    for (int i = 0; i < 4; i++)
        u.by[i] = own.by[i] - common->by[i];
    return u;
}

static term quotient(const term *x, const term *y) {
    double below = y->value + epsilon;
    term q = {x->value / below, {0}};
    for (int i = 0; i < 4; i++)
        q.by[i] = x->by[i] / below - x->value * y->by[i] / (below * below);
    return q;
}

/* The smallest box around both: its sides; an edge of the output counts if it is the outer one. */
static void around(const double a[4], const double b[4], term *width, term *height) {
    *width = (term){fmax(a[2], b[2]) - fmin(a[0], b[0]),
                    {a[0] < b[0] ? -1 : 0, 0, a[2] > b[2] ? 1 : 0, 0}};
    *height = (term){fmax(a[3], b[3]) - fmin(a[1], b[1]),
                     {0, a[1] < b[1] ? -1 : 0, 0, a[3] > b[3] ? 1 : 0}};
}

/* (C - U) / C */
static term waste(const double a[4], const double b[4], const term *united) {
    term w, h, c, empty;
    around(a, b, &w, &h);
    c.value = w.value * h.value;
    empty.value = c.value - united->value;
    for (int i = 0; i < 4; i++) {
        c.by[i] = w.by[i] * h.value + w.value * h.by[i];
        empty.by[i] = c.by[i] - united->by[i];
    }
    return quotient(&empty, &c);
}

/* Square of the centers' distance over that of the diagonal. */
static term distance(const double a[4], const double b[4]) {
    double x = (a[0] + a[2] - b[0] - b[2]) / 2, y = (a[1] + a[3] - b[1] - b[3]) / 2;
    term w, h, diagonal, rho = {x * x + y * y, {x, y, x, y}};
    around(a, b, &w, &h);
    diagonal.value = w.value * w.value + h.value * h.value;
    for (int i = 0; i < 4; i++)
        diagonal.by[i] = 2 * w.value * w.by[i] + 2 * h.value * h.by[i];
    return quotient(&rho, &diagonal);
}

/* v = 4 / pi^2 (atan(w_t / h_t) - atan(w / h))^2 times a = v / (1 - iou + v), which is a constant
 * for the gradient. */
static term slant(const double a[4], const double b[4], double iou) {
    double w = a[2] - a[0], h = a[3] - a[1];
    double difference = atan((b[2] - b[0]) / (b[3] - b[1])) - atan(w / h);
    double v = 4 / (pi * pi) * difference * difference;
    double alpha = v / (1 - iou + v + epsilon);
    double by_w = -8 / (pi * pi) * difference * h / (w * w + h * h) * alpha;
    double by_h = 8 / (pi * pi) * difference * w / (w * w + h * h) * alpha;
    return (term){alpha * v, {-by_w, -by_h, by_w, by_h}};
}

double ref_box_loss(const char *type, const double output[4], const double target[4],
                    double gradient[4]) {
    term common = intersection(output, target), united = whole(output, target, &common);
    term iou = quotient(&common, &united), more[2] = {{0, {0}}, {0, {0}}};
    if (strcmp(type, "giou") == 0)
        more[0] = waste(output, target, &united);
    if (strcmp(type, "diou") == 0 || strcmp(type, "ciou") == 0)
        more[0] = distance(output, target);
    if (strcmp(type, "ciou") == 0)
        more[1] = slant(output, target, iou.value);
    for (int i = 0; i < 4; i++)
        gradient[i] = -iou.by[i] + more[0].by[i] + more[1].by[i];
    return 1 - iou.value + more[0].value + more[1].value;
}
