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

/* A layer for the match; *made false, and nothing has changed: its constants do not fit. */
typedef fv_status fv_onnx_make_layer(fv_onnx_import *im, const fv_onnx_match *match,
                                     fv_activation activation, bool *made);

/* The constant that a letter is; NULL: it is not in the formula. */
const fv_onnx_constant *fv_onnx_letter(const fv_onnx_match *match, char letter);
/* Whether an attribute holds these numbers; where it is not there, whether it `may_lack`. */
bool fv_onnx_holds(const fv_onnx_node *node, const char *name, bool may_lack, size_t count,
                   const int64_t *numbers);
/* The one axis that the node reduces, by its attribute or second input, as it is given; NaN: it is
 * not one, or not known. */
double fv_onnx_reduced_axis(const fv_onnx_import *im, const fv_onnx_node *node);

/* Windows that are gathered by matrices of indices (import_windows.c): local layers by their
 * formula; adaptive pools by the nodes from this one on, which set *found. */
fv_onnx_make_layer fv_onnx_make_local;
fv_status fv_onnx_find_adaptive_pool(fv_onnx_import *im, bool *found);

#endif
