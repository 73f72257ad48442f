/* Layers that make the output of the layer before themselves at inference: feed.c. */
#ifndef FV_NET_FEED_H
#define FV_NET_FEED_H

#include "net/plan.h"

/* Marks them: `fed_by` of the layer, `feeds` of the one before. readers: see
 * fv_find_folds(), after which it comes. */
void fv_find_feeds(fv_plan *plan, const int *readers);

#endif
