/* LeNet-5's connection table: a convolution whose filters see some of the channels each (LeCun et
 * al. 1998, table I). Weights are stored as [kernel cells][links], links by filter, then by
 * channel; the products run over all channels, with zeros where there is no link. Called by conv.c.
 */
#include "layers/conv.h"
#include <string.h>

static int links_of(uint64_t channels) {
    return __builtin_popcountll(channels);
}

bool fv_conv_has_table(const fv_conv_options *o) {
    return fv_conv_links(o) > 0;
}

int fv_conv_links(const fv_conv_options *o) {
    int links = 0;
    for (int f = 0; f < FV_MOST_TABLE; f++)
        links += links_of(o->table[f]);
    return links;
}

fv_status fv_conv_check_table(const fv_conv_options *o, const fv_shape *input) {
    char text[64];
    int rows = 0;
    for (int f = 0; f < FV_MOST_TABLE; f++) {
        if (o->table[f] && input->channels < 64 && o->table[f] >> input->channels)
            return fv_fail(FV_SHAPE,
                           "table: filter %d sees channel %d, but the input %s has %d channels, "
                           "counted from 0",
                           f, 63 - __builtin_clzll(o->table[f]), fv_shape_text(input, text),
                           input->channels);
        rows = o->table[f] ? f + 1 : rows;
    }
    for (int f = 0; f < rows; f++)
        if (!o->table[f])
            return fv_fail(FV_SHAPE, "table: filter %d sees no channel of the input %s", f,
                           fv_shape_text(input, text));
    if (rows != o->filters)
        return fv_fail(FV_SHAPE,
                       "table says what %d filters see of the input %s, but there are %d filters",
                       rows, fv_shape_text(input, text), o->filters);
    if (input->channels > FV_MOST_TABLE)
        return fv_fail(FV_SHAPE, "a table is for at most %d channels, but the input is %s",
                       FV_MOST_TABLE, fv_shape_text(input, text));
    if (o->groups > 1)
        return fv_fail(FV_SHAPE, "table and groups=%d exclude each other (input %s; leave one out)",
                       o->groups, fv_shape_text(input, text));
    return FV_OK;
}

void fv_conv_expand_table(const fv_conv_options *o, int channels, size_t cells, const real *links,
                          real *dense) {
    memset(dense, 0, cells * (size_t)channels * (size_t)o->filters * sizeof(real));
    for (size_t i = 0; i < cells; i++, dense += (ptrdiff_t)channels * o->filters)
        for (int f = 0; f < o->filters; f++)
            for (int c = 0; c < channels; c++)
                if (o->table[f] >> c & 1)
                    dense[(ptrdiff_t)c * o->filters + f] = *links++;
}

void fv_conv_gather_table(const fv_conv_options *o, int channels, size_t cells, const real *dense,
                          real *links) {
    for (size_t i = 0; i < cells; i++, dense += (ptrdiff_t)channels * o->filters)
        for (int f = 0; f < o->filters; f++)
            for (int c = 0; c < channels; c++)
                if (o->table[f] >> c & 1)
                    *links++ = dense[(ptrdiff_t)c * o->filters + f];
}
