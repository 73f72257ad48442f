/* Sums of two arrays that the convolution which makes the later of them carries out: residual.c. */
#ifndef FV_NET_RESIDUAL_H
#define FV_NET_RESIDUAL_H

#include "net/plan.h"

/* Marks them: `sum` and `addend` of the convolution, `summed_by` and `view` of the add. readers:
 * see fv_find_folds(), after which it comes, and before fv_find_feeds(). */
void fv_find_residuals(fv_plan *plan, const int *readers);
/* The root of a convolution with a `sum`, once those of the nodes before it are known: the
 * addend's, whose memory the sum overwrites, where nobody needs that any more; else itself. */
int fv_residual_root(const fv_plan *plan, int n);

#endif
