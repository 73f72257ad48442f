/* The thread pool. Called by the executor and the layers; the job's units are handed out by an
 * atomic counter, so whoever is awake takes the next one.
 *
 * Why a worker that is late for job N cannot harm job N+1: the job's fields are read only by a
 * thread that holds a unit, and whether it holds one is decided by a single atomic subtraction
 * from `unclaimed`. Falls it before job N+1 is published, it finds no unit; falls it after, the
 * unit is one of job N+1, whose fields were written before. And the fields are not written again
 * until `unfinished` is 0, that is, while nobody holds a unit. Hence the caller waits for units
 * that were taken, never for a worker that sleeps. */
#include "base/pool.h"

#include "base/alloc.h"
#include "base/status.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/* How often a thread looks for work before it sleeps: some tens of microseconds. */
#define SPINS 2000
/* More are surely a mistake, and would eat the memory before the system says no. */
#define MOST_THREADS 4096

typedef struct worker {
    fv_pool *pool;
    pthread_t thread;
    int index;
} worker;

struct fv_pool {
    /* The job. */
    fv_work *work;
    void *argument;
    int units;

    /* Units not yet taken (less than 0 after attempts that came too late), and units not yet done;
     * apart from each other, since idle threads look at the first one all the time. */
    _Alignas(64) atomic_int unclaimed;
    _Alignas(64) atomic_int unfinished;

    int threads;
    int useful; /* workers that can run at once: no more are ever woken */
    int spins;  /* none where threads outnumber processors: they would keep work from running */
    int started;
    worker *workers;

    pthread_mutex_t lock; /* of the rest */
    pthread_cond_t wake;  /* a token or `stop` is there */
    pthread_cond_t done;  /* `unfinished` has become 0 */
    int asleep;           /* workers that wait for a token which nobody made yet */
    int tokens;           /* each lets one sleeper go on */
    bool stop;
};

int fv_cpu_count(void) {
#ifdef CPU_COUNT
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) {
        return CPU_COUNT(&set);
    }
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

int fv_default_threads(void) {
    return fv_cpu_count();
}

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* Takes units until none is left. True when this thread did the job's last one. */
static bool work_on(fv_pool *pool, int thread) {
    bool last = false;
    int left;
    while ((left = atomic_fetch_sub(&pool->unclaimed, 1)) > 0) {
        pool->work(pool->argument, pool->units - left, thread);
        last = atomic_fetch_sub(&pool->unfinished, 1) == 1;
    }
    return last;
}

/* Waits until there may be work; false when the pool ends. */
static bool wait_for_work(fv_pool *pool) {
    for (int i = 0; i < pool->spins; i++) {
        if (atomic_load(&pool->unclaimed) > 0) {
            return true;
        }
        pause_briefly();
    }
    pthread_mutex_lock(&pool->lock);
    /* Jobs are published under the lock: none can slip in between this look and the sleep. */
    if (atomic_load(&pool->unclaimed) <= 0) {
        pool->asleep++;
        while (pool->tokens == 0 && !pool->stop) {
            pthread_cond_wait(&pool->wake, &pool->lock);
        }
        pool->tokens -= pool->tokens > 0;
    }
    bool stop = pool->stop;
    pthread_mutex_unlock(&pool->lock);
    return !stop;
}

static void *worker_main(void *argument) {
    worker *self = argument;
    fv_pool *pool = self->pool;
    while (wait_for_work(pool)) {
        if (work_on(pool, self->index)) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->lock);
        }
    }
    return NULL;
}

/* Starts threads - 1 workers, with all signals blocked: those are for the program's own threads. */
static int start_workers(fv_pool *pool) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    while (error == 0 && pool->started < pool->threads - 1) {
        worker *next = &pool->workers[pool->started];
        *next = (worker){.pool = pool, .index = pool->started + 1};
        error = pthread_create(&next->thread, NULL, worker_main, next);
        pool->started += error == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

fv_pool *fv_pool_new(int threads) {
    if (threads < 1 || threads > MOST_THREADS) {
        fv_fail(FV_INVALID, "%d threads are not possible; give 1 to %d", threads, MOST_THREADS);
        return NULL;
    }
    fv_pool *pool = fv_alloc(1, sizeof *pool);
    worker *workers = fv_alloc((size_t)threads, sizeof *workers);
    if (!pool || !workers) {
        fv_free(workers);
        fv_free(pool);
        return NULL;
    }
    int processors = fv_cpu_count();
    pool->threads = threads;
    pool->useful = (threads < processors ? threads : processors) - 1;
    pool->spins = threads <= processors ? SPINS : 0;
    pool->workers = workers;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    int error = start_workers(pool);
    if (error != 0) {
        fv_fail(FV_MEMORY, "thread %d of %d cannot be started: %s; ask for fewer threads",
                pool->started + 2, threads, strerror(error));
        fv_pool_free(pool);
        return NULL;
    }
    return pool;
}

void fv_pool_free(fv_pool *pool) {
    if (!pool) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->started; i++) {
        pthread_join(pool->workers[i].thread, NULL);
    }
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    fv_free(pool->workers);
    fv_free(pool);
}

int fv_pool_threads(const fv_pool *pool) {
    return pool ? pool->threads : 1;
}

/* Publishes the job and wakes as many sleepers as can help with it. */
static void publish(fv_pool *pool, int units, fv_work *work, void *argument) {
    pool->work = work;
    pool->argument = argument;
    pool->units = units;
    atomic_store(&pool->unfinished, units);
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->unclaimed, units);
    int helpers = units - 1 < pool->useful ? units - 1 : pool->useful;
    int wakes = helpers - (pool->started - pool->asleep); /* those awake will see the job */
    wakes = wakes < pool->asleep ? wakes : pool->asleep;
    if (wakes > 0) {
        pool->asleep -= wakes;
        pool->tokens += wakes;
    }
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < wakes; i++) {
        pthread_cond_signal(&pool->wake);
    }
}

/* Waits for the units that workers still hold. */
static void wait_until_done(fv_pool *pool) {
    for (int i = 0; i < pool->spins && atomic_load(&pool->unfinished) > 0; i++) {
        pause_briefly();
    }
    if (atomic_load(&pool->unfinished) == 0) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->unfinished) > 0) {
        pthread_cond_wait(&pool->done, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
}

void fv_pool_run(fv_pool *pool, int units, fv_work *work, void *argument) {
    if (!pool || pool->threads == 1 || units <= 1) {
        for (int unit = 0; unit < units; unit++) {
            work(argument, unit, 0);
        }
        return;
    }
    publish(pool, units, work, argument);
    work_on(pool, 0);
    wait_until_done(pool);
}
