/* The progress line of a training run, on standard error: an observer for fv_fit. Called by
 * train.c. */
#ifndef FOVEA_CLI_PROGRESS_H
#define FOVEA_CLI_PROGRESS_H

#include <fovea.h>

typedef struct cli_progress {
    bool terminal; /* a line may be rewritten */
    int shown;     /* columns of the line that stands there now */
    double drawn;  /* when it was drawn */
    int64_t step;  /* the last step heard of */
} cli_progress;

cli_progress progress_begin(void);
/* An fv_observer; its argument is a progress. Returns false once a signal came. */
fv_observer progress_observe;
void progress_clear(cli_progress *progress); /* takes the line away */

#endif
