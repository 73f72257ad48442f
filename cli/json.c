/* Prints JSON (RFC 8259): strings escaped and made valid UTF-8, numbers by shortest round trip.
 * Called by the verbs that know --json. */
#include "json.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* The length of the UTF-8 sequence at `text` (RFC 3629), 0 when it is none. */
static int utf8_length(const unsigned char *text) {
    if (*text < 0x80)
        return 1;
    int length = *text >= 0xf0 ? 4 : *text >= 0xe0 ? 3 : 2;
    if (*text < 0xc2 || *text > 0xf4)
        return 0;
    for (int i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    bool too_long = (*text == 0xe0 && text[1] < 0xa0) || (*text == 0xf0 && text[1] < 0x90);
    bool surrogate = *text == 0xed && text[1] > 0x9f;
    bool too_large = *text == 0xf4 && text[1] > 0x8f;
    return too_long || surrogate || too_large ? 0 : length;
}

static void print_string(FILE *file, const char *text) {
    const unsigned char *bytes = (const unsigned char *)text;
    fputc('"', file);
    while (*bytes) {
        int length = utf8_length(bytes);
        if (length == 0) /* file names may hold any bytes; JSON may not */
            fputs("\\ufffd", file);
        else if (*bytes == '"' || *bytes == '\\')
            fprintf(file, "\\%c", *bytes);
        else if (*bytes < 0x20)
            fprintf(file, "\\u%04x", *bytes);
        else
            fwrite(bytes, 1, (size_t)length, file);
        bytes += length ? length : 1;
    }
    fputc('"', file);
}

/* The comma and the key that stand before a value. */
static void start_value(cli_json *json, const char *key) {
    if (json->comma)
        fputs(", ", json->file);
    json->comma = true;
    if (key) {
        print_string(json->file, key);
        fputs(": ", json->file);
    }
}

static void begin(cli_json *json, const char *key, char bracket) {
    start_value(json, key);
    fputc(bracket, json->file);
    json->comma = false;
}

static void end(cli_json *json, char bracket) {
    fputc(bracket, json->file);
    json->comma = true;
}

void put_json_begin_object(cli_json *json, const char *key) {
    begin(json, key, '{');
}

void put_json_end_object(cli_json *json) {
    end(json, '}');
}

void put_json_begin_array(cli_json *json, const char *key) {
    begin(json, key, '[');
}

void put_json_end_array(cli_json *json) {
    end(json, ']');
}

void put_json_string(cli_json *json, const char *key, const char *text) {
    start_value(json, key);
    print_string(json->file, text);
}

void put_json_integer(cli_json *json, const char *key, int64_t value) {
    start_value(json, key);
    fprintf(json->file, "%" PRId64, value);
}

void put_json_number(cli_json *json, const char *key, double value) {
    if (!isfinite(value)) {
        put_json_null(json, key);
        return;
    }
    char text[32];
    int digits = 0;
    do
        snprintf(text, sizeof text, "%.*g", ++digits, value);
    while (digits < 17 && strtod(text, NULL) != value);
    start_value(json, key);
    fputs(text, json->file);
}

void put_json_float(cli_json *json, const char *key, float value) {
    if (!isfinite(value)) {
        put_json_null(json, key);
        return;
    }
    char text[32];
    int digits = 0;
    do
        snprintf(text, sizeof text, "%.*g", ++digits, (double)value);
    while (digits < 9 && strtof(text, NULL) != value);
    start_value(json, key);
    fputs(text, json->file);
}

void put_json_bool(cli_json *json, const char *key, bool value) {
    start_value(json, key);
    fputs(value ? "true" : "false", json->file);
}

void put_json_null(cli_json *json, const char *key) {
    start_value(json, key);
    fputs("null", json->file);
}

void put_json_finish(cli_json *json) {
    fputc('\n', json->file);
}
