/* Layers whose map of each channel the weights of the layer before take up at inference: fold.c. */
#ifndef FV_NET_FOLD_H
#define FV_NET_FOLD_H

#include "net/plan.h"

/* Marks them: `fold` of the layer before, `folded` and `view` of the map. readers[n]: how many
 * inputs of nodes that run read the output of node n. */
void fv_find_folds(fv_plan *plan, const int *readers);
/* Room that packing node n needs for it; 0 where it takes up nothing. */
size_t fv_fold_bytes(const fv_plan *plan, int n);
/* Puts weights and bias with the map in them into a call of node n's pack(). map_weights: the
 * map's, all of them. room: fv_fold_bytes, aligned; what comes from the file is changed in place.
 */
void fv_fold(const fv_plan *plan, int n, const real *const *map_weights, unsigned char *room,
             fv_call *call);

#endif
