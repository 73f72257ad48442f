/* Draws training progress: on a terminal one line that is rewritten, and a line that stays for each
 * epoch and each logged step; elsewhere only the lines that stay. Called by train.c. */
#include "progress.h"
#include "cli.h"
#include "interrupt.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LONGEST_BAR = 30, SHORTEST_BAR = 4, LINE = 256 };

cli_progress progress_begin(void) {
    return (cli_progress){.terminal = isatty(STDERR_FILENO) == 1, .drawn = -1};
}

void progress_clear(cli_progress *progress) {
    if (progress->shown)
        fprintf(stderr, "\r%*s\r", progress->shown, "");
    progress->shown = 0;
}

static int terminal_columns(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

/* Large losses need no fractions. */
static const char *loss_text(double loss, char text[32]) {
    snprintf(text, 32, fabs(loss) < 1000 ? "%.4f" : "%.1f", loss);
    return text;
}

/* "  accuracy 0.9909"; nothing for a net without classes. */
static const char *accuracy_text(const char *name, double accuracy, char text[32]) {
    text[0] = 0;
    if (!isnan(accuracy))
        snprintf(text, 32, "  %s %.4f", name, accuracy);
    return text;
}

static const char *time_text(double seconds, char text[32]) {
    int64_t whole = seconds >= 0 && seconds < 1e15 ? (int64_t)(seconds + 0.5) : 0;
    if (whole < 60)
        snprintf(text, 32, "%" PRId64 "s", whole);
    else if (whole < 3600)
        snprintf(text, 32, "%" PRId64 "m%02" PRId64 "s", whole / 60, whole % 60);
    else
        snprintf(text, 32, "%" PRId64 "h%02" PRId64 "m", whole / 3600, whole / 60 % 60);
    return text;
}

/* "epoch 3/12", or "step 510/1562" where steps are counted. */
static void place_text(const fv_progress *now, char text[64]) {
    if (now->epochs > 0)
        snprintf(text, 64, "epoch %d/%d", now->epoch, now->epochs);
    else
        snprintf(text, 64, "step %" PRId64 "/%" PRId64, now->step, now->steps);
}

/* "  7% waiting for data", where that is worth a look: not for the first batch of a tiny run. */
static const char *waiting_text(const fv_progress *now, char text[32]) {
    double share = now->seconds > 0 ? now->data_seconds / now->seconds : 0;
    text[0] = 0;
    if (share > 0.02 && now->data_seconds > 0.05)
        snprintf(text, 32, "  %.0f%% waiting for data", 100 * share);
    return text;
}

static double share_done(const fv_progress *now) {
    int64_t done = now->epochs > 0 ? now->epoch_step : now->step;
    int64_t all = now->epochs > 0 ? now->epoch_steps : now->steps;
    double share = all > 0 ? (double)done / (double)all : 0;
    return share > 1 ? 1 : share;
}

/* " [=====>    ]", of a length that fits `columns`; empty where too few are left. */
static void bar_text(double share, int columns, char text[LINE]) {
    int cells = columns - 3 < LONGEST_BAR ? columns - 3 : LONGEST_BAR;
    text[0] = 0;
    if (cells < SHORTEST_BAR)
        return;
    int full = (int)(share * cells);
    text[0] = ' ';
    text[1] = '[';
    memset(text + 2, ' ', (size_t)cells);
    memset(text + 2, '=', (size_t)full);
    if (full < cells)
        text[2 + full] = '>';
    text[2 + cells] = ']';
    text[3 + cells] = 0;
}

static void draw(cli_progress *progress, const fv_progress *now) {
    double time = seconds_now();
    if (progress->drawn >= 0 && time - progress->drawn < 0.1)
        return;
    progress->drawn = time;
    char place[64], numbers[LINE], bar[LINE], line[3 * LINE], loss[32], left[32], accuracy[32];
    char waiting[32];
    place_text(now, place);
    snprintf(numbers, sizeof numbers, " %2.0f%%  loss %s%s  %.0f samples/s%s  %s left",
             100 * share_done(now), loss_text(now->loss, loss),
             accuracy_text("accuracy", now->accuracy, accuracy), now->samples_per_second,
             waiting_text(now, waiting), time_text(now->seconds_left, left));
    int columns = terminal_columns() - 1; /* a full last column would wrap */
    bar_text(share_done(now), columns - (int)strlen(place) - (int)strlen(numbers), bar);
    snprintf(line, sizeof line, "%s%s%s", place, bar, numbers);
    int length = (int)strlen(line) < columns ? (int)strlen(line) : columns;
    int rest = progress->shown > length ? progress->shown - length : 0;
    fprintf(stderr, "\r%.*s%*s", length, line, rest, "");
    fflush(stderr);
    progress->shown = length;
}

static void print_epoch(const fv_progress *now) {
    char loss[32], accuracy[32], waiting[32];
    fprintf(stderr, "epoch %d", now->epoch);
    if (now->epochs > 0)
        fprintf(stderr, "/%d", now->epochs);
    fprintf(stderr, "  loss %s%s", loss_text(now->loss, loss),
            accuracy_text("accuracy", now->accuracy, accuracy));
    if (!isnan(now->val_loss))
        fprintf(stderr, "  val_loss %s%s", loss_text(now->val_loss, loss),
                accuracy_text("val_accuracy", now->val_accuracy, accuracy));
    for (int i = 0; now->validation && i < now->validation->metric_count; i++)
        fprintf(stderr, "  val_%s %.4f", now->validation->metrics[i].name,
                now->validation->metrics[i].value);
    fprintf(stderr, "  lr %.4g  %.0f samples/s  %.1f s%s\n", now->lr, now->samples_per_second,
            now->seconds, waiting_text(now, waiting));
}

bool progress_observe(void *argument, const fv_progress *now) {
    cli_progress *progress = argument;
    char loss[32], accuracy[32];
    if (now->event != FV_EVENT_NOTE)
        progress->step = now->step;
    switch (now->event) {
    case FV_EVENT_STEP:
        if (progress->terminal)
            draw(progress, now);
        break;
    case FV_EVENT_LOG:
        progress_clear(progress);
        fprintf(stderr, "step %" PRId64 "  loss %s%s\n", now->step, loss_text(now->loss, loss),
                accuracy_text("accuracy", now->accuracy, accuracy));
        break;
    case FV_EVENT_EPOCH:
        progress_clear(progress);
        print_epoch(now);
        break;
    case FV_EVENT_NOTE:
        progress_clear(progress);
        fprintf(stderr, "%s\n", now->note);
        break;
    }
    return interrupt_signal() == 0;
}
