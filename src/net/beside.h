/* Which layers that mix samples do their part of each sample beside the layer that makes their
 * input. Called by plan.c. */
#ifndef FV_NET_BESIDE_H
#define FV_NET_BESIDE_H

#include "net/plan.h"

/* Sets behind, ahead, measured_by and spread_by of all nodes. After the segments are cut and it is
 * known what is recomputed. */
void fv_find_beside(fv_plan *plan);

#endif
