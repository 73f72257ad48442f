/* Tests of src/base/pool.c: every unit once, on 1 to 64 threads, whatever the jobs look like. Most
 * telling when compiled with -fsanitize=thread: the units' results are plain memory on purpose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/pool.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static const int thread_counts[] = {1, 2, 3, 64};
#define THREAD_COUNTS 4
#define MOST_UNITS 1000

typedef struct job {
    int threads, units, number;
    int runs[MOST_UNITS], numbers[MOST_UNITS];
    atomic_int busy[64]; /* 1 while a unit runs under that thread number */
    atomic_int mistakes;
} job;

static void count_unit(void *argument, int unit, int thread) {
    job *this = argument;
    if (unit < 0 || unit >= this->units || thread < 0 || thread >= this->threads ||
        atomic_exchange(&this->busy[thread], 1) != 0) {
        atomic_fetch_add(&this->mistakes, 1);
        return;
    }
    this->runs[unit]++;
    this->numbers[unit] = this->number;
    atomic_store(&this->busy[thread], 0);
}

static void run_and_check(fv_pool *pool, job *this, int units, int number) {
    this->threads = fv_pool_threads(pool);
    this->units = units;
    this->number = number;
    memset(this->runs, 0, sizeof this->runs);
    fv_pool_run(pool, units, count_unit, this);
    assert_int_equal(atomic_load(&this->mistakes), 0);
    for (int unit = 0; unit < units; unit++) {
        assert_int_equal(this->runs[unit], 1);
        assert_int_equal(this->numbers[unit], number);
    }
    if (units < MOST_UNITS) {
        assert_int_equal(this->runs[units], 0);
    }
}

static void test_every_unit_once(void **state) {
    (void)state;
    static job this;
    const int unit_counts[] = {0, 1, 2, 3, 63, 64, 65, MOST_UNITS};
    for (int t = 0; t < THREAD_COUNTS; t++) {
        fv_pool *pool = fv_pool_new(thread_counts[t]);
        assert_non_null(pool);
        assert_int_equal(fv_pool_threads(pool), thread_counts[t]);
        for (int u = 0; u < 8; u++) {
            run_and_check(pool, &this, unit_counts[u], u);
        }
        fv_pool_free(pool);
    }
}

/* Jobs so short that workers are often late: two jobs alternate, of different size and work. */
static void double_unit(void *argument, int unit, int thread) {
    (void)thread;
    ((int *)argument)[unit] *= 2;
}

static void add_unit(void *argument, int unit, int thread) {
    (void)thread;
    ((int *)argument)[unit] += unit;
}

static void test_many_short_jobs(void **state) {
    (void)state;
    for (int t = 0; t < THREAD_COUNTS; t++) {
        fv_pool *pool = fv_pool_new(thread_counts[t]);
        assert_non_null(pool);
        for (int number = 0; number < 3000; number++) {
            int values[7], units = number % 8;
            for (int i = 0; i < 7; i++) {
                values[i] = number; /* on the stack: a late unit of an old job would harm it */
            }
            fv_pool_run(pool, units, double_unit, values);
            fv_pool_run(pool, 7, add_unit, values);
            for (int i = 0; i < 7; i++) {
                assert_int_equal(values[i], (i < units ? 2 * number : number) + i);
            }
        }
        fv_pool_free(pool);
    }
}

static void test_reuse_after_idle(void **state) {
    (void)state;
    static job this;
    for (int t = 0; t < THREAD_COUNTS; t++) {
        fv_pool *pool = fv_pool_new(thread_counts[t]);
        assert_non_null(pool);
        for (int round = 0; round < 4; round++) {
            usleep(20000); /* all workers are asleep by then */
            run_and_check(pool, &this, 100, round);
            run_and_check(pool, &this, 2, round);
        }
        usleep(20000);
        fv_pool_free(pool);
    }
}

/* Each of the two units waits for the other one: both threads must come. */
typedef struct meeting {
    atomic_int here, met;
} meeting;

static void meet(void *argument, int unit, int thread) {
    (void)unit;
    (void)thread;
    meeting *this = argument;
    atomic_fetch_add(&this->here, 1);
    for (int i = 0; i < 5000 && atomic_load(&this->here) < 2; i++) {
        usleep(1000);
    }
    atomic_fetch_add(&this->met, atomic_load(&this->here) == 2);
}

static void test_workers_take_part(void **state) {
    (void)state;
    if (fv_cpu_count() < 2) {
        skip();
    }
    fv_pool *pool = fv_pool_new(2);
    assert_non_null(pool);
    for (unsigned round = 0; round < 3; round++) {
        meeting this = {0};
        usleep(10000 * round); /* while they spin, and while they sleep */
        fv_pool_run(pool, 2, meet, &this);
        assert_int_equal(atomic_load(&this.met), 2);
    }
    fv_pool_free(pool);
}

/* A unit that takes long on a worker, when the caller has nothing left to do. */
static void slow_on_workers(void *argument, int unit, int thread) {
    usleep(thread > 0 ? 3000 : 500);
    ((int *)argument)[unit] = 1;
}

static void test_caller_waits(void **state) {
    (void)state;
    for (int t = 0; t < THREAD_COUNTS; t++) {
        fv_pool *pool = fv_pool_new(thread_counts[t]);
        assert_non_null(pool);
        for (int round = 0; round < 10; round++) {
            int finished[8] = {0};
            fv_pool_run(pool, 8, slow_on_workers, finished);
            for (int i = 0; i < 8; i++) {
                assert_int_equal(finished[i], 1);
            }
        }
        fv_pool_free(pool);
    }
}

static void test_two_pools(void **state) {
    (void)state;
    static job first, second;
    fv_pool *a = fv_pool_new(2), *b = fv_pool_new(3);
    assert_non_null(a);
    assert_non_null(b);
    for (int i = 0; i < 100; i++) {
        run_and_check(a, &first, 10, i);
        run_and_check(b, &second, 11, i);
    }
    fv_pool_free(a);
    run_and_check(b, &second, 12, 0);
    fv_pool_free(b);
}

static void append_unit(void *argument, int unit, int thread) {
    int *list = argument;
    assert_int_equal(thread, 0);
    list[++list[0]] = unit;
}

static void test_no_pool(void **state) {
    (void)state;
    int list[6] = {0};
    assert_int_equal(fv_pool_threads(NULL), 1);
    fv_pool_run(NULL, 5, append_unit, list);
    assert_int_equal(list[0], 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(list[i + 1], i); /* in order */
    }
    fv_pool_run(NULL, 0, append_unit, list);
    assert_int_equal(list[0], 5);
    fv_pool_free(NULL);
}

static void test_start_and_stop(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++) {
        fv_pool *pool = fv_pool_new(i % 2 ? 64 : 2);
        assert_non_null(pool);
        fv_pool_free(pool);
    }
    const int refused[] = {0, -1, INT_MIN, INT_MAX};
    for (int i = 0; i < 4; i++) {
        assert_null(fv_pool_new(refused[i]));
        assert_non_null(strstr(fv_error_message(), "threads are not possible"));
    }
}

static atomic_int signals_of_others;
static pthread_t main_thread;

static void note_signal(int signal) {
    (void)signal;
    if (!pthread_equal(pthread_self(), main_thread)) {
        atomic_fetch_add(&signals_of_others, 1);
    }
}

static void test_signals_stay_with_the_program(void **state) {
    (void)state;
    main_thread = pthread_self();
    struct sigaction action = {.sa_handler = note_signal}, before;
    sigaction(SIGUSR1, &action, &before);
    fv_pool *pool = fv_pool_new(3);
    assert_non_null(pool);
    sigset_t usr1, old;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, &old); /* only workers could take it now */
    kill(getpid(), SIGUSR1);
    usleep(10000);
    assert_int_equal(atomic_load(&signals_of_others), 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL); /* this thread takes it here */
    assert_int_equal(atomic_load(&signals_of_others), 0);
    fv_pool_free(pool);
    sigaction(SIGUSR1, &before, NULL);
}

static void test_cpu_count(void **state) {
    (void)state;
    int count = fv_cpu_count();
    assert_true(count >= 1);
    assert_int_equal(fv_default_threads(), count);
#ifdef CPU_COUNT
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++) {
        if (CPU_ISSET(i, &all)) {
            CPU_SET(i, &one);
        }
    }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    int restricted = fv_cpu_count();
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    assert_int_equal(restricted, 1);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_unit_once),
        cmocka_unit_test(test_many_short_jobs),
        cmocka_unit_test(test_reuse_after_idle),
        cmocka_unit_test(test_workers_take_part),
        cmocka_unit_test(test_caller_waits),
        cmocka_unit_test(test_two_pools),
        cmocka_unit_test(test_no_pool),
        cmocka_unit_test(test_start_and_stop),
        cmocka_unit_test(test_signals_stay_with_the_program),
        cmocka_unit_test(test_cpu_count),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
