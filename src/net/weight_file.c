/* Weights in the order of files, and weights that stay in their file until they are wanted: a
 * session reads each layer's when it packs them, training reads all. The file is read (pread), not
 * mapped: see ARCHITECTURE.md. Called by execute.c, net.c, weights.c and formats. */
#include "net/net.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

int fv_weight_file_shape(const fv_weight *weight, size_t size[FV_MAX_RANK]) {
    const fv_weight_spec *spec = &weight->spec;
    for (int i = 0; i < spec->rank; i++)
        size[i] = spec->size[i];
    if (!spec->flat)
        return spec->rank;
    size[1] = weight->count / spec->size[0];
    return 2;
}

/* ---- From one order to the other ---------------------------------------------------------------
 *
 * In the file a weight is rows (its first axis) of columns (all others). A few rows are taken at a
 * time, column by column: where the library keeps the rows innermost, as convolutions do, each
 * line of the cache is then written once, and the file's rows are read as streams. */

enum { ROWS = 16 };

/* The columns in the file's order, and where the library keeps them. */
typedef struct walk {
    int rank;
    size_t size[FV_MAX_RANK], step[FV_MAX_RANK]; /* of the file's axes; steps in the library */
    size_t at[FV_MAX_RANK], place;               /* of the column, without the row */
} walk;

static walk begin_walk(const fv_weight_spec *spec, size_t column) {
    walk w = {.rank = spec->rank};
    size_t step = 1;
    for (int i = spec->rank - 1; i >= 0; i--) {
        w.size[spec->axes[i]] = spec->size[spec->axes[i]];
        w.step[spec->axes[i]] = step;
        step *= spec->size[spec->axes[i]];
    }
    for (int i = spec->rank - 1; i >= 1; i--) {
        w.at[i] = column % w.size[i];
        column /= w.size[i];
        w.place += w.at[i] * w.step[i];
    }
    return w;
}

/* On to the next column, as an odometer turns. */
static void next_column(walk *w) {
    for (int i = w->rank - 1; i >= 1; i--) {
        w->place += w->step[i];
        if (++w->at[i] < w->size[i])
            return;
        w->place -= w->step[i] * w->size[i];
        w->at[i] = 0;
    }
}

static size_t row_count(const fv_weight *weight) {
    return weight->spec.size[0];
}

static size_t column_count(const fv_weight *weight) {
    return weight->count / row_count(weight);
}

/* A part of a weight, in the file's order at `file`, where rows lie `file_row` apart. */
typedef struct part {
    size_t row, rows, column, columns, file_row;
} part;

/* Turns a square of the file's rows: each row's line of the cache is read whole before the next,
 * since rows a power of two apart would drive each other out of it. */
static void turn(const float *from, size_t row, size_t columns, real to[restrict ROWS][ROWS]) {
    for (size_t r = 0; r < ROWS; r++)
        for (size_t c = 0; c < columns; c++)
            to[c][r] = (real)from[r * row + c];
}

static void place_part(const fv_weight *weight, const part *p, const float *file, real *values) {
    for (size_t done = 0; done < p->rows; done += ROWS) {
        walk w = begin_walk(&weight->spec, p->column);
        size_t rows = p->rows - done < ROWS ? p->rows - done : ROWS, step = w.step[0];
        const float *from = file + done * p->file_row;
        real *to = values + (p->row + done) * step, square[ROWS][ROWS];
        if (rows == ROWS && step == 1)
            for (size_t c = 0; c < p->columns; c++, next_column(&w)) {
                size_t left = p->columns - c;
                if (c % ROWS == 0)
                    turn(from + c, p->file_row, left < ROWS ? left : ROWS, square);
                memcpy(to + w.place, square[c % ROWS], sizeof square[0]);
            }
        else
            for (size_t c = 0; c < p->columns; c++, next_column(&w))
                for (size_t r = 0; r < rows; r++)
                    to[w.place + r * step] = (real)from[r * p->file_row + c];
    }
}

void fv_weight_from_file(const fv_weight *weight, const float *file, real *values) {
    const part all = {.rows = row_count(weight),
                      .columns = column_count(weight),
                      .file_row = column_count(weight)};
    place_part(weight, &all, file, values);
}

void fv_weight_to_file(const fv_weight *weight, const real *values, float *file) {
    size_t rows = row_count(weight), columns = column_count(weight);
    for (size_t first = 0; first < rows; first += ROWS) {
        walk w = begin_walk(&weight->spec, 0);
        size_t end = rows - first < ROWS ? rows : first + ROWS;
        for (size_t c = 0; c < columns; c++, next_column(&w))
            for (size_t r = first; r < end; r++)
                file[r * columns + c] = (float)values[w.place + r * w.step[0]];
    }
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

typedef struct reading {
    const fv_file *file;
    const fv_weight *weight;
    size_t rows, columns; /* of what a buffer holds */
    unsigned char *buffers;
    size_t stride;
    real *values;
    atomic_int error; /* of fv_file_read() */
} reading;

/* Whole rows lie one after another in the file; of longer ones, a part each. */
static int read_part(const reading *r, const part *p, float *buffer) {
    size_t row = column_count(r->weight);
    size_t at = r->weight->file_at + (p->row * row + p->column) * sizeof *buffer;
    if (p->columns == row)
        return fv_file_read(r->file, at, p->rows * row * sizeof *buffer, buffer);
    int error = 0;
    for (size_t i = 0; i < p->rows && !error; i++)
        error = fv_file_read(r->file, at + i * row * sizeof *buffer, p->columns * sizeof *buffer,
                             buffer + i * p->columns);
    return error;
}

static void read_unit(void *argument, int unit, int thread) {
    reading *r = argument;
    float *buffer = (float *)(void *)(r->buffers + (size_t)thread * r->stride);
    size_t rows = row_count(r->weight), columns = column_count(r->weight);
    part p = {.row = (size_t)unit * r->rows};
    p.rows = rows - p.row < r->rows ? rows - p.row : r->rows;
    for (; p.column < columns && !atomic_load(&r->error); p.column += p.columns) {
        p.columns = columns - p.column < r->columns ? columns - p.column : r->columns;
        p.file_row = p.columns;
        int error = read_part(r, &p, buffer);
        if (error)
            atomic_store(&r->error, error);
        else
            place_part(r->weight, &p, buffer, r->values);
    }
}

fv_status fv_weight_read(const fv_net *net, const fv_weight *weight, fv_pool *pool,
                         unsigned char *buffers, size_t stride, real *values) {
    const size_t fit = FV_READ_BYTES / sizeof(float), most = fit / ROWS;
    size_t rows = row_count(weight), columns = column_count(weight);
    reading r = {.file = &net->file,
                 .weight = weight,
                 .rows = columns > most ? ROWS : fit / columns / ROWS * ROWS,
                 .columns = columns > most ? most : columns,
                 .buffers = buffers,
                 .stride = stride,
                 .values = values};
    fv_pool_run(pool, (int)((rows + r.rows - 1) / r.rows), read_unit, &r);
    int error = atomic_load(&r.error);
    return error ? fv_file_failed(&net->file, error) : FV_OK;
}

fv_weight fv_weight_outputs(const fv_weight *weight, size_t first, size_t count) {
    fv_weight some = *weight;
    some.spec.size[0] = count;
    some.count = column_count(weight) * count;
    some.file_at += first * column_count(weight) * sizeof(float);
    return some;
}

fv_status fv_weight_values(const fv_net *net, const fv_weight *weight, float *file) {
    if (!net->file.path) {
        fv_status status =
            fv_net_draw((fv_net *)(uintptr_t)net); /* what it means stays as it was */
        if (!status)
            fv_weight_to_file(weight, net->weights + weight->offset, file);
        return status;
    }
    int error = fv_file_read(&net->file, weight->file_at, weight->count * sizeof *file, file);
    return error ? fv_file_failed(&net->file, error) : fv_file_unchanged(&net->file);
}

/* ---- All of a net's ----------------------------------------------------------------------------
 */

void fv_net_leave_in_file(fv_net *net, fv_file *file) {
    net->file = *file;
    *file = (fv_file){0};
}

static fv_status read_all(const fv_net *net, unsigned char *buffer, real *values) {
    fv_status status = FV_OK;
    for (int n = 0; n < net->count; n++)
        for (int w = 0; !status && w < net->nodes[n].weight_count; w++) {
            const fv_weight *weight = &net->nodes[n].weights[w];
            status = fv_weight_read(net, weight, NULL, buffer, 0, values + weight->offset);
        }
    return status ? status : fv_file_unchanged(&net->file);
}

fv_status fv_net_read_weights(fv_net *net) {
    if (!net->file.path)
        return fv_net_draw(net);
    unsigned char *buffer = fv_alloc(FV_READ_BYTES, 1);
    real *values = fv_alloc(net->weight_size, sizeof *values);
    fv_status status = buffer && values ? read_all(net, buffer, values) : FV_MEMORY;
    fv_free(buffer);
    if (status) {
        fv_free(values);
        return status;
    }
    net->weights = values;
    fv_file_close(&net->file);
    return FV_OK;
}
