/* An ONNX file as text, for tests to compare: read back with nanopb, whatever is not as every file
 * of ours is fails the test. Called by test_onnx_export.c. */
#ifndef FV_TESTS_ONNX_TEXT_H
#define FV_TESTS_ONNX_TEXT_H

#include "base/text.h"

typedef struct onnx_text {
    fv_text nodes;     /* "y = Op(x, w) attribute=1,2" each on a line */
    fv_text tensors;   /* "float NAME[4,3] VALUES": those of at most 12 that are no weight's */
    fv_text ports;     /* "in NAME[N,3,H,W]", "out ..." */
    fv_text other;     /* operator sets, metadata, the document */
    const fv_net *net; /* constants called as its weights have their values */
    int weights;       /* how many are */
} onnx_text;

onnx_text onnx_text_read(const fv_net *net, const char *path);
void onnx_text_free(onnx_text *text);

#endif
