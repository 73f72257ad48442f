/* Losses on boxes, four numbers a place. Called by objective.c. With the intersection I, the union
 * U, the smallest box C around both, the distance of the centers rho, the diagonal d of C:
 *
 * iou   1 - I / U
 * giou  1 - I / U + (C - U) / C (Rezatofighi et al. 2019)
 * diou  1 - I / U + rho^2 / d^2 (Zheng et al. 2020)
 * ciou  diou + a v, v = 4 / pi^2 (atan(w_t / h_t) - atan(w / h))^2, a = v / (1 - I / U + v), which
 *       the gradient takes as a constant
 *
 * Divisors have 1e-7 added, as in torchvision. Each number carries its derivatives by the four
 * outputs along. */
#include "base/status.h"
#include "layers/layer.h"
#include "train/loss.h"
#include <math.h>

typedef struct dual {
    double v, d[4];
} dual;

static dual constant(double v) {
    return (dual){.v = v};
}

/* a x + b y */
static dual combine(double a, dual x, double b, dual y) {
    dual z = {.v = a * x.v + b * y.v};
    for (int i = 0; i < 4; i++)
        z.d[i] = a * x.d[i] + b * y.d[i];
    return z;
}

static dual plus(dual x, dual y) {
    return combine(1, x, 1, y);
}

static dual minus(dual x, dual y) {
    return combine(1, x, -1, y);
}

static dual times(dual x, dual y) {
    dual z = combine(y.v, x, x.v, y);
    z.v = x.v * y.v;
    return z;
}

static dual over(dual x, dual y) {
    dual z = combine(1 / y.v, x, -x.v / (y.v * y.v), y);
    z.v = x.v / y.v;
    return z;
}

static dual larger(dual x, dual y) {
    return x.v < y.v ? y : x;
}

static dual smaller(dual x, dual y) {
    return x.v > y.v ? y : x;
}

/* atan(w / h); a box without any size has no slope. */
static dual slant(dual w, dual h) {
    double square = w.v * w.v + h.v * h.v;
    if (!(square > 0))
        return constant(square);
    dual z = combine(h.v / square, w, -w.v / square, h);
    z.v = atan(w.v / h.v);
    return z;
}

typedef struct box {
    dual x1, y1, x2, y2;
} box;

static box read_box(const real *numbers, fv_box_format format, bool output) {
    dual n[4];
    for (int i = 0; i < 4; i++) {
        n[i] = constant((double)numbers[i]);
        n[i].d[i] = output;
    }
    if (format == FV_BOX_CORNERS)
        return (box){n[0], n[1], n[2], n[3]};
    return (box){combine(1, n[0], -0.5, n[2]), combine(1, n[1], -0.5, n[3]),
                 combine(1, n[0], 0.5, n[2]), combine(1, n[1], 0.5, n[3])};
}

/* What all of them begin with. */
typedef struct overlap {
    box a, b;
    dual iou, united, outer_width, outer_height;
} overlap;

static const double epsilon = 1e-7;

static dual area(box b) {
    return times(minus(b.x2, b.x1), minus(b.y2, b.y1));
}

static overlap overlap_of(box a, box b) {
    dual width = minus(smaller(a.x2, b.x2), larger(a.x1, b.x1));
    dual height = minus(smaller(a.y2, b.y2), larger(a.y1, b.y1));
    dual common = width.v > 0 && height.v > 0 ? times(width, height) : constant(0);
    overlap o = {.a = a, .b = b};
    o.united = minus(plus(area(a), area(b)), common);
    o.iou = over(common, plus(o.united, constant(epsilon)));
    o.outer_width = minus(larger(a.x2, b.x2), smaller(a.x1, b.x1));
    o.outer_height = minus(larger(a.y2, b.y2), smaller(a.y1, b.y1));
    return o;
}

static dual iou(const overlap *o) {
    return minus(constant(1), o->iou);
}

static dual giou(const overlap *o) {
    dual outer = times(o->outer_width, o->outer_height);
    dual waste = over(minus(outer, o->united), plus(outer, constant(epsilon)));
    return plus(iou(o), waste);
}

static dual diou(const overlap *o) {
    dual x = combine(0.5, plus(o->a.x1, o->a.x2), -0.5, plus(o->b.x1, o->b.x2));
    dual y = combine(0.5, plus(o->a.y1, o->a.y2), -0.5, plus(o->b.y1, o->b.y2));
    dual diagonal =
        plus(plus(times(o->outer_width, o->outer_width), times(o->outer_height, o->outer_height)),
             constant(epsilon));
    return plus(iou(o), over(plus(times(x, x), times(y, y)), diagonal));
}

static dual ciou(const overlap *o) {
    dual wanted = slant(minus(o->b.x2, o->b.x1), minus(o->b.y2, o->b.y1));
    dual got = slant(minus(o->a.x2, o->a.x1), minus(o->a.y2, o->a.y1));
    dual difference = minus(wanted, got), v = times(difference, difference);
    const double pi = 3.14159265358979323846;
    v = combine(4 / (pi * pi), v, 0, v);
    double alpha = v.v / (1 - o->iou.v + v.v + epsilon);
    return combine(1, diou(o), alpha, v);
}

static double run_boxes(const fv_loss_block *b, dual (*loss)(const overlap *)) {
    double sum = 0;
    for (size_t r = 0; r < b->rows; r++) {
        if (!(b->weights[r] > 0))
            continue;
        overlap o = overlap_of(read_box(b->outputs + 4 * r, b->options->boxes, true),
                               read_box(b->targets + 4 * r, b->options->boxes, false));
        dual one = loss(&o);
        sum += b->weights[r] * one.v;
        for (int i = 0; b->gradient && i < 4; i++)
            b->gradient[4 * r + (size_t)i] += (real)(b->scale * b->weights[r] * one.d[i]);
    }
    return sum;
}

static double run_iou(const fv_loss_block *block) {
    return run_boxes(block, iou);
}

static double run_giou(const fv_loss_block *block) {
    return run_boxes(block, giou);
}

static double run_diou(const fv_loss_block *block) {
    return run_boxes(block, diou);
}

static double run_ciou(const fv_loss_block *block) {
    return run_boxes(block, ciou);
}

static fv_status fits(const fv_shape *shape) {
    char text[64];
    return shape->channels == 4 ? FV_OK
                                : fv_fail(FV_SHAPE,
                                          "a box is 4 numbers, but the output is %s (end it with 4 "
                                          "channels)",
                                          fv_shape_text(shape, text));
}

#define BOX_LOSS(word)                                                                             \
    const fv_loss_type fv_loss_##word = {                                                          \
        .name = #word, .mean = FV_MEAN_ROWS, .fits = fits, .run = run_##word}

BOX_LOSS(iou);
BOX_LOSS(giou);
BOX_LOSS(diou);
BOX_LOSS(ciou);
