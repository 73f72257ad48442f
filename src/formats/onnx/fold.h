/* What the parts of folding share: fold.c, fold_values.c and fold_axes.c. */
#ifndef FV_FORMATS_ONNX_FOLD_H
#define FV_FORMATS_ONNX_FOLD_H

#include "formats/onnx/import.h"

/* A node whose inputs are all constants, up to the first that is left out. */
typedef struct fv_onnx_fold_call {
    const fv_onnx_constant *in[FV_ONNX_FACTORS];
    size_t count;
    fv_onnx_constant *out;
} fv_onnx_fold_call;

typedef fv_status fv_onnx_fold_operator(fv_onnx_import *im, const fv_onnx_fold_call *c);

/* Of an element type of onnx.proto. */
fv_onnx_kind fv_onnx_kind_of(int type);
/* A constant of that kind with these sizes; NULL with a message, or its numbers to be filled. */
double *fv_onnx_make(fv_onnx_import *im, fv_onnx_kind kind, int rank, const int64_t *size,
                     fv_onnx_constant *out);
/* The same numbers under other sizes. */
fv_status fv_onnx_resized(fv_onnx_import *im, const fv_onnx_constant *c, int rank,
                          const int64_t *size, fv_onnx_constant *out);
/* A list of sizes into size[FV_ONNX_RANK]; FV_UNSUPPORTED where one is not known. */
fv_status fv_onnx_sizes_of(const fv_onnx_constant *list, int64_t *size);
/* The sizes that x and those sizes both broadcast to. */
fv_status fv_onnx_broadcast(const fv_onnx_constant *x, const int64_t *size, int rank, int64_t *both,
                            int *both_rank);

/* Value by value, and what joins values: NULL for other operators. */
fv_onnx_fold_operator *fv_onnx_fold_values(const char *op);
fv_onnx_fold_operator fv_onnx_fold_where;
/* The same numbers under other sizes, in another order, or parts of them. */
fv_onnx_fold_operator fv_onnx_fold_reshape, fv_onnx_fold_flatten, fv_onnx_fold_squeeze,
    fv_onnx_fold_unsqueeze, fv_onnx_fold_transpose, fv_onnx_fold_expand, fv_onnx_fold_slice,
    fv_onnx_fold_gather, fv_onnx_fold_concat;

#endif
