/* The thread pool. Called by the executor and the layers. A pool runs one job at a time; its
 * threads spin briefly for the next job, then sleep, so that other processes are not starved. */
#ifndef FV_BASE_POOL_H
#define FV_BASE_POOL_H

#include <fovea.h>

typedef struct fv_pool fv_pool;

/* Work on unit `unit` (0 <= unit < units) on thread `thread` (0 <= thread < fv_pool_threads). */
typedef void fv_work(void *argument, int unit, int thread);

/* threads >= 1, the caller's included: threads - 1 are started. NULL with a message on failure
 * (out of memory, the system starts no more threads). */
fv_pool *fv_pool_new(int threads);
void fv_pool_free(fv_pool *pool);
int fv_pool_threads(const fv_pool *pool);

/* Runs work for each unit once, on any thread, in any order, and returns when all are done.
 * The caller works too, as thread 0. Not reentrant: work must not call fv_pool_run.
 * A NULL pool runs the units in order on the caller's thread. */
void fv_pool_run(fv_pool *pool, int units, fv_work *work, void *argument);

/* Processors this process may use (its affinity mask), at least 1. */
int fv_cpu_count(void);

#endif
