/* How many multiply-adds this machine can do: the public fv_peak_gflops. */
#include "base/alloc.h"
#include "base/pool.h"
#include "base/status.h"
#include "kernels/kernels.h"
#include <time.h>

enum { ROUNDS = 1 << 14 }; /* between looks at the clock: some hundred microseconds */

typedef struct measure {
    const fv_kernels *kernels;
    double seconds;
    double *rates; /* multiply-adds a second, of each thread */
} measure;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* The best stretch counts: others are those in which the thread did not run. */
static void measure_thread(void *argument, int unit, int thread) {
    const measure *m = argument;
    double begin = now(), before = begin;
    (void)thread;
    while (before - begin < m->seconds) {
        int64_t count;
        m->kernels->multiply_adds(ROUNDS, (real)0.5, &count);
        double after = now(), rate = (double)count / (after - before);
        m->rates[unit] = rate > m->rates[unit] ? rate : m->rates[unit];
        before = after;
    }
}

double fv_peak_gflops(int threads, double seconds) {
    measure m = {.kernels = fv_kernels_get(), .seconds = seconds};
    threads = threads > 0 ? threads : fv_cpu_count();
    fv_pool *pool = m.kernels ? fv_pool_new(threads) : NULL;
    double gflops = -1;
    m.rates = pool ? fv_alloc((size_t)threads, sizeof *m.rates) : NULL;
    if (m.rates) {
        fv_pool_run(pool, threads, measure_thread, &m);
        gflops = 0;
        for (int t = 0; t < threads; t++)
            gflops += 2e-9 * m.rates[t];
    }
    fv_free(m.rates);
    fv_pool_free(pool);
    return gflops;
}
