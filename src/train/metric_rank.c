/* auc: the area under the ROC curve, exactly: the share of pairs of a positive and a negative place
 * in which the positive one has the larger output, ties counting half (Hanley & McNeil 1982). Of
 * several channels each is a class against the rest, and the mean is over those that have both.
 * Called by metric.c. */
#include "train/metric.h"
#include <math.h>
#include <stdlib.h>

struct fv_ranked {
    real score;
    bool positive;
};

/* One column more than channels: it is sorted in the end. */
static fv_status grow(fv_metric *m, size_t rows, size_t channels) {
    size_t room = m->room ? m->room : 1024, held = m->room * (channels + 1), asked;
    while (room < m->held + rows)
        room *= 2;
    if (!fv_size_product(room, channels + 1, &asked))
        return fv_fail(FV_MEMORY,
                       "auc of %zu places of %zu classes needs more memory than there is", room,
                       channels);
    struct fv_ranked *ranked = m->ranked ? fv_realloc(m->ranked, held, asked, sizeof *ranked)
                                         : fv_alloc(asked, sizeof *ranked);
    if (!ranked)
        return FV_MEMORY;
    m->ranked = ranked;
    m->room = room;
    return FV_OK;
}

static fv_status add(fv_metric *m, const fv_metric_sample *s) {
    fv_status status = m->held + s->rows > m->room ? grow(m, s->rows, s->channels) : FV_OK;
    if (status)
        return status;
    for (size_t r = 0; r < s->rows; r++) {
        if (s->labels[r] < 0)
            continue;
        for (size_t c = 0; c < s->channels; c++) {
            size_t at = r * s->channels + c;
            m->sum += isfinite(s->outputs[at]) ? 0 : NAN;
            m->ranked[m->held * s->channels + c] = (struct fv_ranked){
                m->answer == FV_ANSWER_SMALLEST ? -s->outputs[at] : s->outputs[at],
                (double)s->values[at] > 0.5};
        }
        m->held++;
    }
    return FV_OK;
}

static int by_score(const void *left, const void *right) {
    real a = ((const struct fv_ranked *)left)->score, b = ((const struct fv_ranked *)right)->score;
    return (a > b) - (a < b);
}

/* Of sorted places: each positive one wins against the negatives below, and half against equals. */
static double area(const struct fv_ranked *sorted, size_t count) {
    double below = 0, wins = 0, positives = 0;
    for (size_t first = 0, next; first < count; first = next) {
        double up = 0, down = 0;
        for (next = first; next < count && sorted[next].score == sorted[first].score; next++) {
            up += sorted[next].positive;
            down += !sorted[next].positive;
        }
        wins += up * (below + down / 2);
        below += down;
        positives += up;
    }
    return positives > 0 && below > 0 ? wins / (positives * below) : NAN;
}

static double result(fv_metric *m) {
    size_t channels = (size_t)m->judged.shape.channels, classes = 0;
    double sum = 0;
    if (m->held == 0 || isnan(m->sum))
        return NAN;
    struct fv_ranked *one = m->ranked + m->room * channels;
    for (size_t c = 0; c < channels; c++) {
        for (size_t i = 0; i < m->held; i++)
            one[i] = m->ranked[i * channels + c];
        qsort(one, m->held, sizeof *one, by_score);
        double value = area(one, m->held);
        if (!isnan(value)) {
            sum += value;
            classes++;
        }
    }
    return classes > 0 ? sum / (double)classes : NAN;
}

const fv_metric_type fv_metric_auc = {.name = "auc", .add = add, .result = result};
