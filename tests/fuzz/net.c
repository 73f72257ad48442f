/* Fuzz target: the .net text. What is parsed must print to a text that parses to the same text. */
#include "net/net.h"
#include "fuzz.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    enum { MOST_WEIGHTS = 1 << 18 }; /* as of a small model file: no time goes into filling them */
    fv_net *net = fv_net_parse_model((const char *)bytes, size, "fuzz", NULL, 0, MOST_WEIGHTS);
    if (!net)
        return 0;
    char *first = fv_net_print(net, true), *second = NULL;
    fv_net *again =
        first ? fv_net_parse_model(first, strlen(first), "again", NULL, 0, MOST_WEIGHTS) : NULL;
    if (again)
        second = fv_net_print(again, true);
    if (!second || strcmp(first, second) != 0)
        abort();
    fv_free_memory(first);
    fv_free_memory(second);
    fv_net_free(again);
    fv_net_free(net);
    return 0;
}
