/* Which outputs the backward pass computes again instead of finding them kept. Called by plan.c. */
#ifndef FV_NET_RECOMPUTE_H
#define FV_NET_RECOMPUTE_H

#include "net/plan.h"

/* Fills `recomputed` of the nodes; after the segments are cut and the layers prepared. */
fv_status fv_find_recomputed(fv_plan *plan);

#endif
