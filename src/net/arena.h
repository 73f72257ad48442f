/* Places all that a plan needs in one arena, by the lives of its buffers. Called by plan.c. */
#ifndef FV_NET_ARENA_H
#define FV_NET_ARENA_H

#include "net/plan.h"

/* Bytes of a sample of the node's output. */
size_t fv_sample_bytes(const fv_node_plan *p);

/* Fills all offsets of the plan, the sizes of arena and threads' blocks, and plan->memory. When all
 * else is known. FV_SHAPE where it is more than this machine can address. */
fv_status fv_place_arena(fv_plan *plan);

#endif
