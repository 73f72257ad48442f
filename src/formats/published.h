/* What torchvision and timm call the layers of nets that have other names here. Called by
 * load_weights.c. */
#ifndef FV_FORMATS_PUBLISHED_H
#define FV_FORMATS_PUBLISHED_H

#include <fovea.h>

/* Two names of one layer, or of the beginnings or ends of several layers' names. */
typedef struct fv_name_pair {
    const char *own, *published;
} fv_name_pair;

/* Layers: with `ends` each of `begins` and, behind a dot, each of those. Lists end with NULL. */
typedef struct fv_name_group {
    const fv_name_pair *begins, *ends;
} fv_name_group;

typedef struct fv_published {
    const char *who;                   /* "torchvision's vgg16"; NULL ends the list */
    const fv_name_group *const groups; /* ended by a NULL begins */
} fv_published;

extern const fv_published fv_published_nets[];

enum { FV_PUBLISHED_SIZE = 128 };
/* The published name of the layer; false: it has none. */
bool fv_published_name(const fv_published *net, const char *layer, char name[FV_PUBLISHED_SIZE]);

#endif
