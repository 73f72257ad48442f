/* The CSV logs of a run: log.csv and steps.csv. Called by fit.c. */
#include "base/file.h"
#include "base/text.h"
#include "train/train.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const size_t log_limit = (size_t)1 << 30;

/* The number in column `column` of a line; -1 where there is none (the header). */
static int64_t step_of(const char *line, const char *end, int column) {
    for (int i = 0; i < column; i++) {
        line = memchr(line, ',', (size_t)(end - line));
        if (!line++)
            return -1;
    }
    char *stop;
    long long step = strtoll(line, &stop, 10);
    return stop > line && (*stop == ',' || *stop == '\n') ? (int64_t)step : -1;
}

static int count_commas(const char *text, const char *end) {
    int commas = 0;
    for (; text < end; text++)
        commas += *text == ',';
    return commas;
}

/* A line whose end is its newline. An earlier version wrote fewer columns: those left are empty. */
static void keep_line(const char *line, const char *end, int commas, fv_text *kept) {
    fv_text_add_bytes(kept, line, (size_t)(end - line));
    for (int i = count_commas(line, end); i < commas; i++)
        fv_text_add(kept, ",");
    fv_text_add(kept, "\n");
}

/* The header, then the whole lines of the old file up to `step`. */
static fv_status keep_lines(const char *path, const char *header, int column, int64_t step,
                            fv_text *kept) {
    char *bytes;
    size_t size;
    fv_text_add(kept, "%s\n", header);
    if (step == 0 || !fv_is_file(path))
        return FV_OK;
    fv_status status = fv_read_file(path, log_limit, &bytes, &size);
    if (status)
        return status;
    const char *line = bytes;
    int commas = count_commas(header, header + strlen(header));
    for (const char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        int64_t at = step_of(line, end + 1, column);
        if (at > 0 && at <= step)
            keep_line(line, end, commas, kept);
    }
    fv_free(bytes);
    return FV_OK;
}

fv_status fv_log_open(fv_log *log, const char *path, const char *header, int step_column,
                      int64_t step) {
    fv_writer writer;
    fv_text kept = {0};
    *log = (fv_log){0};
    fv_status status = keep_lines(path, header, step_column, step, &kept);
    if (!status && kept.failed)
        status = FV_MEMORY;
    if (!status)
        status = fv_writer_open(&writer, path);
    if (!status) {
        fv_write(&writer, kept.bytes, kept.size);
        status = fv_writer_commit(&writer);
    }
    fv_text_free(&kept);
    if (status)
        return status;
    log->path = fv_copy_string(path);
    log->file = fopen(path, "a");
    if (!log->path || !log->file) {
        fv_log_close(log);
        return fv_fail(FV_IO, "%s: cannot be opened: %s", path, strerror(errno));
    }
    return FV_OK;
}

fv_status fv_log_line(fv_log *log, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int written = vfprintf(log->file, format, arguments);
    va_end(arguments);
    if (written < 0 || fputc('\n', log->file) == EOF || fflush(log->file) != 0)
        return fv_fail(FV_IO, "%s: cannot be written: %s (is the disk full?)", log->path,
                       strerror(errno));
    return FV_OK;
}

void fv_log_close(fv_log *log) {
    if (log->file)
        fclose(log->file);
    fv_free(log->path);
    *log = (fv_log){0};
}
