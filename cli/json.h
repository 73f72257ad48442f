/* A JSON printer: values go to a file as they come. `key` is NULL inside arrays and at the top.
 * Called by the verbs that know --json. */
#ifndef FOVEA_CLI_JSON_H
#define FOVEA_CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct cli_json {
    FILE *file;
    bool comma; /* a value stands before the next */
} cli_json;

void put_json_begin_object(cli_json *json, const char *key);
void put_json_end_object(cli_json *json);
void put_json_begin_array(cli_json *json, const char *key);
void put_json_end_array(cli_json *json);
void put_json_string(cli_json *json, const char *key, const char *text);
void put_json_integer(cli_json *json, const char *key, int64_t value);
/* The shortest text that reads back as the same double or float; null where it is no number. */
void put_json_number(cli_json *json, const char *key, double value);
void put_json_float(cli_json *json, const char *key, float value);
void put_json_bool(cli_json *json, const char *key, bool value);
void put_json_null(cli_json *json, const char *key);
void put_json_finish(cli_json *json); /* a final newline */

#endif
