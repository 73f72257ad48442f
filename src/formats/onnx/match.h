/* Formulas that are found in an ONNX graph, as exporters write layers that ONNX has no operator
 * for. Called by patterns.c. */
#ifndef FV_FORMATS_ONNX_MATCH_H
#define FV_FORMATS_ONNX_MATCH_H

#include "formats/onnx/import.h"

enum { FV_MATCH_NODES = 24 };

typedef struct fv_onnx_match {
    const fv_onnx_import *im;
    int x;                            /* the value that x is */
    int nodes[FV_MATCH_NODES], count; /* that the formula is made of */
    const fv_onnx_value *letters[26]; /* the constants that letters are; NULL: not in it */
    bool reduces, keeps; /* whether it has reductions, and these keep the axis with size 1 */
    int64_t axis;        /* theirs, as it is given */
    const fv_onnx_node *pool;
} fv_onnx_match;

/* Whether node `root` gives that formula of value x, by nodes that nothing else reads and that are
 * not imported yet. A formula is OPERATOR(part,...), a part another, a number (met within 1/1000),
 * x, or another letter for constants; a|b is either part. The inputs of Add, Mul and Max may be
 * swapped, and Mul(y,number) may be a division. Of its own are Clip6(y), a Clip to 0 and 6, and the
 * letter s, the sizes of x. Reductions are over the same one axis. */
bool fv_onnx_match_formula(const fv_onnx_import *im, const char *formula, int x, int root,
                           fv_onnx_match *match);

#endif
