/* Copies boxes of cells, see box.h. */
#include "layers/box.h"
#include <string.h>

fv_box fv_box_of(const fv_shape *part, const fv_shape *whole, const int at[4]) {
    int missing = 3 - part->rank;
    fv_box box = {.size = {1, 1, 1, (size_t)part->channels},
                  .whole = {1, 1, 1, (size_t)whole->channels},
                  .at = {0, 0, 0, (size_t)at[3]}};
    for (int i = missing; i < 3; i++) {
        box.size[i] = (size_t)part->size[i - missing];
        box.whole[i] = (size_t)whole->size[i - missing];
        box.at[i] = (size_t)at[i - missing];
    }
    return box;
}

/* As runs that lie side by side in both arrays: of channels, and of whole inner axes. */
typedef struct runs {
    size_t count[3], step[3]; /* steps within the whole array */
    size_t first, length;
} runs;

static runs runs_of(const fv_box *b) {
    runs r = {.first = b->at[3], .length = b->size[3]};
    size_t step = b->whole[3];
    for (int i = 2; i >= 0; i--) {
        bool joins = r.length == step;
        r.step[i] = step;
        r.count[i] = joins ? 1 : b->size[i];
        r.length *= joins ? b->size[i] : 1;
        r.first += b->at[i] * step;
        step *= b->whole[i];
    }
    return r;
}

void fv_box_take(const fv_box *box, const real *whole, real *part) {
    runs r = runs_of(box);
    for (size_t a = 0; a < r.count[0]; a++)
        for (size_t b = 0; b < r.count[1]; b++)
            for (size_t c = 0; c < r.count[2]; c++, part += r.length)
                memcpy(part, whole + r.first + a * r.step[0] + b * r.step[1] + c * r.step[2],
                       r.length * sizeof(real));
}

void fv_box_put(const fv_box *box, const real *part, real *whole) {
    runs r = runs_of(box);
    for (size_t a = 0; a < r.count[0]; a++)
        for (size_t b = 0; b < r.count[1]; b++)
            for (size_t c = 0; c < r.count[2]; c++, part += r.length)
                memcpy(whole + r.first + a * r.step[0] + b * r.step[1] + c * r.step[2], part,
                       r.length * sizeof(real));
}

void fv_box_forward(const fv_call *call, const fv_box *box) {
    size_t in = fv_shape_count(call->in_shape[0]), out = fv_shape_count(call->out_shape);
    for (int s = 0; s < call->samples; s++)
        fv_box_take(box, call->in[0] + (size_t)s * in, call->out + (size_t)s * out);
}

void fv_box_backward(const fv_call *call, const fv_box *box) {
    size_t in = fv_shape_count(call->in_shape[0]), out = fv_shape_count(call->out_shape);
    if (!call->in_gradient[0])
        return;
    memset(call->in_gradient[0], 0, (size_t)call->samples * in * sizeof(real));
    for (int s = 0; s < call->samples; s++)
        fv_box_put(box, call->out_gradient + (size_t)s * out,
                   call->in_gradient[0] + (size_t)s * in);
}

fv_status fv_check_axis(const fv_shape *input, int axis) {
    char text[64];
    if (axis >= 0 && axis <= input->rank)
        return FV_OK;
    return fv_fail(FV_SHAPE, "there is no axis %d: the input %s has %d spatial axes", axis,
                   fv_shape_text(input, text), input->rank);
}
