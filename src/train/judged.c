/* What a loss or metric judges, and what it compares that with: a field of the data, or the sample
 * itself. Called by objective.c, through.c and metric.c. */
#include "base/text.h"
#include "train/train.h"
#include <string.h>

static int root_of(const fv_net *net, int node) {
    while (net->nodes[node].type->view)
        node = net->nodes[node].inputs[0];
    return node;
}

fv_judged fv_judged_make(const fv_net *net, int node, const char *what, const char *target) {
    return (fv_judged){.what = what,
                       .node = node,
                       .root = root_of(net, node),
                       .shape = net->nodes[node].output,
                       .target = *target ? target : "label",
                       .field = FV_TARGET_NONE};
}

size_t fv_judged_places(const fv_judged *j) {
    return fv_shape_count(&j->shape) / (size_t)j->shape.channels;
}

/* ---- Binding -------------------------------------------------------------------------------- */

static fv_status fit_shape(fv_judged *j, const fv_net *net, const fv_shape *target) {
    char place[128], text[2][64];
    bool sizes = fv_sizes_fit(&j->shape, target);
    j->indices =
        j->field >= 0 && sizes && target->channels == 1 && (j->classes || j->shape.channels > 1);
    if (j->indices || (sizes && target->channels == j->shape.channels))
        return FV_OK;
    bool single = target->rank == 0 && target->channels == 1 && j->shape.rank > 0;
    return fv_fail(FV_SHAPE, "%s compares the output of %s, %s, with %s, which is %s (%s)", j->what,
                   fv_node_place(net, &net->nodes[j->node], place),
                   fv_shape_text(&j->shape, text[0]), j->target, fv_shape_text(target, text[1]),
                   single ? "for one number a sample, end the net with flatten and dense"
                          : "it must be of the same shape, or of one channel with class indices");
}

static fv_status fail_no_field(const fv_judged *j, const fv_net *net, const fv_field *fields,
                               int count) {
    char place[128];
    fv_text known = {0};
    for (int i = 0; i < count; i++)
        fv_text_add(&known, "%s%s", i ? ", " : "", fields[i].name);
    fv_status status = fv_fail(
        FV_INVALID, "%s of %s needs the target '%s', but the data has %s%s (target= names another)",
        j->what, fv_node_place(net, &net->nodes[j->node], place), j->target,
        count ? "only " : "none", known.bytes ? known.bytes : "");
    fv_text_free(&known);
    return status;
}

fv_status fv_judged_bind(fv_judged *j, const fv_net *net, const fv_field *fields, int count) {
    j->field = FV_TARGET_NONE;
    if (strcmp(j->target, "input") == 0) {
        j->field = FV_TARGET_INPUT;
        return fit_shape(j, net, &net->nodes[0].output);
    }
    for (int f = 0; f < count; f++)
        if (strcmp(fields[f].name, j->target) == 0)
            j->field = f;
    if (j->field == FV_TARGET_NONE)
        return fail_no_field(j, net, fields, count);
    return fit_shape(j, net, &fields[j->field].shape);
}

/* ---- Reading -------------------------------------------------------------------------------- */

static bool is_ignored(const fv_judged *j, double number) {
    bool any = false;
    for (int i = 0; i < j->ignore_count; i++)
        any |= number == j->ignore[i];
    return any;
}

int fv_answer_of(fv_answer answer, const real *outputs, int channels, double positive) {
    int best = 0;
    if (answer == FV_ANSWER_BINARY)
        return (double)outputs[0] > positive;
    for (int c = 1; c < channels; c++)
        if (answer == FV_ANSWER_SMALLEST ? outputs[c] < outputs[best] : outputs[c] > outputs[best])
            best = c;
    return best;
}

static size_t read_indices(const fv_judged *j, const float *numbers, size_t rows, real *values,
                           int *labels) {
    int channels = j->shape.channels;
    if (values)
        memset(values, 0, rows * (size_t)channels * sizeof *values);
    for (size_t r = 0; r < rows; r++) {
        int label = -1;
        if (!is_ignored(j, (double)numbers[r])) {
            if (!(numbers[r] >= 0 && numbers[r] < (float)channels))
                return r;
            label = (int)numbers[r];
            if ((float)label != numbers[r])
                return r;
            if (values)
                values[r * (size_t)channels + (size_t)label] = 1;
        }
        if (labels)
            labels[r] = label;
    }
    return rows;
}

size_t fv_judged_read(const fv_judged *j, const fv_runner *runner, const fv_batch *batch,
                      size_t row, size_t rows, real *values, int *labels) {
    size_t channels = (size_t)j->shape.channels;
    const float *numbers = j->field >= 0 ? batch->targets[j->field] : NULL;
    const real *input = numbers ? NULL : fv_runner_output(runner, 0, false);
    if (j->indices)
        return read_indices(j, numbers + row, rows, values, labels);
    for (size_t r = 0; r < rows; r++) {
        size_t from = (row + r) * channels, best = 0;
        for (size_t c = 0; c < channels; c++) {
            real value = numbers ? (real)numbers[from + c] : input[from + c];
            if (values)
                values[r * channels + c] = value;
            if (value > (numbers ? (real)numbers[from + best] : input[from + best]))
                best = c;
        }
        double first = numbers ? (double)numbers[from] : (double)input[from];
        if (labels)
            labels[r] = channels > 1 ? (int)best : is_ignored(j, first) ? -1 : first > 0.5;
    }
    return rows;
}

fv_status fv_judged_fail(const fv_judged *j, const fv_net *net, const fv_batch *batch, size_t row) {
    char place[128];
    return fv_fail(
        FV_INVALID,
        "%s %g of sample %zu: %s of %s takes classes 0 to %d (ignore= leaves others out)",
        j->target, (double)batch->targets[j->field][row], row / fv_judged_places(j), j->what,
        fv_node_place(net, &net->nodes[j->node], place), j->shape.channels - 1);
}
