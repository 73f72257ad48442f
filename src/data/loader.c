/* The loader: a thread of its own copies the samples of the next batch together, field by field,
 * while the caller works on the last one. Two slots: one is the caller's, the other is being
 * filled. Called by the training loop. */
#include "base/alloc.h"
#include "base/status.h"
#include "data/data.h"
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

typedef struct batch_slot {
    uint8_t *inputs;                      /* bytes or floats */
    const void **source;                  /* of each sample in `inputs` */
    float *fields[FV_MOST_FIELDS];        /* the others, without the input */
    const float *targets[FV_MOST_FIELDS]; /* the same, for the batch */
    uint32_t *epochs, *indices;
    fv_batch batch;
} batch_slot;

struct fv_loader {
    const fv_data *data;
    int batch;
    uint64_t seed;
    fv_last_batch last;
    int64_t epoch_steps;
    size_t sample_size; /* bytes */

    /* The filling thread's alone, while it runs. */
    uint32_t *order, order_epoch;
    bool ordered;  /* `order` is that of order_epoch */
    int64_t step;  /* to be filled next */
    fv_pool *pool; /* decodes and resizes; NULL: there is nothing of the kind to do */

    batch_slot slots[2];
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* Under the mutex. Batch k of this loader (from 0) is in slot k % 2. */
    int64_t filled; /* batches that were filled */
    int64_t asked;  /* batches that the caller asked for: it may use the last of them */
    bool stop;
    fv_status status; /* why batch `filled` could not be filled, and its message */
    char message[1024];

    double waited; /* seconds, of the caller */
};

/* Where a step begins: its epoch, its position in that epoch's order, its samples. False when the
 * epochs no longer fit the 32 bits that the random numbers have for them. */
static bool locate_step(const fv_loader *loader, int64_t step, uint32_t *epoch, size_t *position,
                        int *samples) {
    uint64_t count = loader->data->count, batch = (uint64_t)loader->batch;
    uint64_t first, end; /* samples since the start, whole epochs */
    if (loader->last == FV_LAST_CARRY) {
        if (__builtin_mul_overflow((uint64_t)step, batch, &first))
            return false;
        end = first + batch;
    } else {
        uint64_t steps = (uint64_t)loader->epoch_steps, whole = (uint64_t)step / steps;
        if (__builtin_mul_overflow(whole, count, &first))
            return false;
        uint64_t next = first + count;
        first += (uint64_t)step % steps * batch;
        end = first + batch < next ? first + batch : next;
    }
    *position = (size_t)(first % count);
    *samples = (int)(end - first);
    *epoch = (uint32_t)(first / count);
    return end > first && (end - 1) / count <= UINT32_MAX;
}

/* Samples of one epoch, from `position` of its order on, to the slot's place `done`. */
static fv_status fill_part(fv_loader *loader, batch_slot *slot, int done, uint32_t epoch,
                           size_t position, int count) {
    const fv_data *data = loader->data;
    if (!loader->ordered || loader->order_epoch != epoch) {
        fv_epoch_order(loader->order, (uint32_t)data->count, loader->seed, epoch);
        loader->order_epoch = epoch;
        loader->ordered = true;
    }
    float *targets[FV_MOST_FIELDS];
    for (int f = 0; f + 1 < data->column_count; f++)
        targets[f] = slot->fields[f] + (size_t)done * data->columns[f + 1].values;
    for (int i = 0; i < count; i++) {
        slot->epochs[done + i] = epoch;
        slot->indices[done + i] = data->first + loader->order[position + (size_t)i];
    }
    return fv_data_read(data, loader->pool, loader->order, position, count,
                        slot->inputs + (size_t)done * loader->sample_size, targets);
}

static fv_status fill_slot(fv_loader *loader, batch_slot *slot) {
    const size_t count = loader->data->count;
    uint32_t epoch;
    size_t position;
    int samples;
    if (!locate_step(loader, loader->step, &epoch, &position, &samples))
        return fv_fail(FV_INVALID, "no batch: a run has at most 2^32 epochs");
    for (int done = 0; done < samples;) {
        if (position == count) { /* carried into the next epoch */
            position = 0;
            epoch++;
        }
        size_t left = count - position;
        int part = left < (size_t)(samples - done) ? (int)left : samples - done;
        fv_status status = fill_part(loader, slot, done, epoch, position, part);
        if (status)
            return status;
        done += part;
        position += (size_t)part;
    }
    slot->batch.samples = samples;
    loader->step++;
    return FV_OK;
}

/* Batch k goes where batch k - 2 was. It is filled only once the caller has asked for batch k - 1
 * and so has done with k - 2. */
static void *run_filler(void *argument) {
    fv_loader *loader = argument;
    pthread_mutex_lock(&loader->mutex);
    for (;;) {
        while (!loader->stop && (loader->status || loader->filled > loader->asked))
            pthread_cond_wait(&loader->changed, &loader->mutex);
        if (loader->stop)
            break;
        batch_slot *slot = &loader->slots[loader->filled % 2];
        pthread_mutex_unlock(&loader->mutex);
        fv_status status = fill_slot(loader, slot);
        pthread_mutex_lock(&loader->mutex);
        loader->filled += !status;
        loader->status = status;
        if (status)
            strncpy(loader->message, fv_error_message(), sizeof loader->message - 1);
        pthread_cond_broadcast(&loader->changed);
    }
    pthread_mutex_unlock(&loader->mutex);
    return NULL;
}

/* Memory for `capacity` samples of `size` bytes; NULL with a message. */
static void *make_array(size_t capacity, size_t size) {
    size_t bytes;
    if (fv_size_product(capacity, size, &bytes))
        return fv_alloc(bytes, 1);
    fv_fail(FV_MEMORY, "a batch of %zu samples of %zu bytes is larger than any memory", capacity,
            size);
    return NULL;
}

static bool make_slot(batch_slot *slot, size_t capacity, const fv_loader *loader) {
    const fv_data *data = loader->data;
    slot->inputs = make_array(capacity, loader->sample_size);
    if (!slot->inputs)
        return false;
    for (int f = 0; f + 1 < data->column_count; f++) {
        slot->fields[f] = make_array(capacity, data->columns[f + 1].values * sizeof(float));
        if (!slot->fields[f])
            return false;
        slot->targets[f] = slot->fields[f];
    }
    slot->source = fv_alloc(capacity, sizeof *slot->source);
    slot->epochs = fv_alloc(capacity, sizeof *slot->epochs);
    slot->indices = fv_alloc(capacity, sizeof *slot->indices);
    if (!slot->source || !slot->epochs || !slot->indices)
        return false;
    for (size_t i = 0; i < capacity; i++)
        slot->source[i] = slot->inputs + i * loader->sample_size;
    slot->batch = (fv_batch){.source = slot->source,
                             .bytes = fv_data_bytes(data),
                             .targets = slot->targets,
                             .epochs = slot->epochs,
                             .indices = slot->indices};
    return true;
}

static void free_slot(batch_slot *slot) {
    fv_free(slot->inputs);
    for (int f = 0; f < FV_MOST_FIELDS; f++)
        fv_free(slot->fields[f]);
    fv_free(slot->source);
    fv_free(slot->epochs);
    fv_free(slot->indices);
}

/* The thread takes no signals: they are for the threads of the program. */
static bool start_filler(fv_loader *loader) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&loader->thread, NULL, run_filler, loader);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    loader->started = error == 0;
    if (error)
        fv_fail(FV_MEMORY, "cannot start the loader's thread: %s", strerror(error));
    return loader->started;
}

static bool check_arguments(const fv_data *data, int batch, fv_last_batch last,
                            int64_t first_step) {
    if (batch < 1 || first_step < 0) {
        fv_fail(FV_INVALID,
                "a loader needs a batch of 1 or more (not %d) and a first step of 0 or "
                "more (not %lld)",
                batch, (long long)first_step);
        return false;
    }
    if (fv_data_ready(data))
        return false;
    if (data->count < 1 || data->count > UINT32_MAX) {
        fv_fail(FV_INVALID, "a data set of %zu samples; expected 1 to %u", data->count, UINT32_MAX);
        return false;
    }
    if (last == FV_LAST_DROP && (size_t)batch > data->count) {
        fv_fail(FV_INVALID,
                "a batch of %d is more than the %zu samples, and last_batch=drop leaves none",
                batch, data->count);
        return false;
    }
    return true;
}

fv_loader *fv_loader_new(const fv_data *data, int batch, uint64_t seed, fv_last_batch last,
                         int64_t first_step, int threads) {
    if (!check_arguments(data, batch, last, first_step))
        return NULL;
    fv_loader *loader = fv_alloc(1, sizeof *loader);
    if (!loader)
        return NULL;
    loader->data = data;
    loader->batch = batch;
    loader->seed = seed;
    loader->last = last;
    loader->epoch_steps = fv_epoch_steps(data->count, batch, last);
    loader->sample_size = fv_data_input_size(data);
    loader->step = first_step;
    pthread_mutex_init(&loader->mutex, NULL);
    pthread_cond_init(&loader->changed, NULL);
    size_t capacity = (size_t)batch; /* only carried batches are larger than the data set */
    if (last != FV_LAST_CARRY && capacity > data->count)
        capacity = data->count;
    loader->order = fv_alloc(data->count, sizeof *loader->order);
    bool decodes = data->columns[0].fitting.needed;
    if (decodes)
        loader->pool = fv_pool_new(threads);
    if (!loader->order || (decodes && !loader->pool) ||
        !make_slot(&loader->slots[0], capacity, loader) ||
        !make_slot(&loader->slots[1], capacity, loader) || !start_filler(loader)) {
        fv_loader_free(loader);
        return NULL;
    }
    return loader;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Until the batch asked for is filled, or cannot be. */
static void wait_for_batch(fv_loader *loader) {
    double begin = now();
    while (loader->filled < loader->asked && !loader->status)
        pthread_cond_wait(&loader->changed, &loader->mutex);
    loader->waited += now() - begin;
}

const fv_batch *fv_loader_next(fv_loader *loader) {
    pthread_mutex_lock(&loader->mutex);
    loader->asked++;
    pthread_cond_broadcast(&loader->changed);
    if (loader->filled < loader->asked)
        wait_for_batch(loader);
    bool ready = loader->filled >= loader->asked;
    const batch_slot *slot = &loader->slots[(loader->asked - 1) % 2];
    pthread_mutex_unlock(&loader->mutex);
    if (ready)
        return &slot->batch;
    fv_fail(loader->status, "%s", loader->message);
    return NULL;
}

double fv_loader_waited(const fv_loader *loader) {
    return loader ? loader->waited : 0;
}

void fv_loader_free(fv_loader *loader) {
    if (!loader)
        return;
    if (loader->started) {
        pthread_mutex_lock(&loader->mutex);
        loader->stop = true;
        pthread_cond_broadcast(&loader->changed);
        pthread_mutex_unlock(&loader->mutex);
        pthread_join(loader->thread, NULL);
    }
    for (int i = 0; i < 2; i++)
        free_slot(&loader->slots[i]);
    fv_pool_free(loader->pool);
    fv_free(loader->order);
    pthread_mutex_destroy(&loader->mutex);
    pthread_cond_destroy(&loader->changed);
    fv_free(loader);
}
