/* The data sets that fovea knows by name: what they are, how to get them, their class names, and
 * where they lie on this machine. Called by folder.c and, through fovea.h, by `fovea data`. */
#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"
#include "base/text.h"
#include "data/data.h"
#include <stdlib.h>
#include <string.h>

typedef struct known_set {
    fv_known_data data;
    int classes;
    const char *const *class_names;
    const char *const *folders; /* where it may lie below its own, ended by NULL */
} known_set;

static const char *const digits[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
static const char *const clothes[] = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                      "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
static const char *const things[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                     "dog",      "frog",       "horse", "ship", "truck"};
static const char *const itself[] = {"", NULL};
static const char *const cifar_folders[] = {"/cifar-10-batches-bin", "/lossless", "", NULL};

static const known_set known_sets[] = {
    {{"mnist", "handwritten digits, 28x28 grey, 10 classes: 60,000 to train, 10,000 to test",
      "put the four IDX files train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
      "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz in $FOVEA_DATA/mnist or "
      "~/.local/share/fovea/mnist"},
     10,
     digits,
     itself},
    {{"fashion-mnist",
      "pieces of clothing, 28x28 grey, 10 classes: 60,000 to train, 10,000 to test",
      "apt-get install dataset-fashion-mnist"},
     10,
     clothes,
     itself},
    {{"cifar10", "things and animals, 32x32 colour, 10 classes: 50,000 to train, 10,000 to test",
      "unpack cifar-10-binary.tar.gz (www.cs.toronto.edu/~kriz/cifar.html) in $FOVEA_DATA/cifar10 "
      "or ~/.local/share/fovea/cifar10"},
     10,
     things,
     cifar_folders},
};

enum { KNOWN_COUNT = sizeof known_sets / sizeof known_sets[0] };

/* Where sets are looked for, in this order: below an environment variable, or (NULL) below `/`. */
static const struct {
    const char *variable, *folder;
} places[] = {{"FOVEA_DATA", ""}, {"HOME", "/.local/share/fovea"}, {NULL, "/usr/share/datasets"}};

enum { PLACE_COUNT = sizeof places / sizeof places[0] };

const fv_known_data *fv_data_known(int index) {
    return index >= 0 && index < KNOWN_COUNT ? &known_sets[index].data : NULL;
}

static const known_set *find_known(const char *name) {
    for (int i = 0; i < KNOWN_COUNT; i++)
        if (strcmp(known_sets[i].data.name, name) == 0)
            return &known_sets[i];
    return NULL;
}

const char *const *fv_known_classes(const char *name, int *classes) {
    const known_set *known = find_known(name);
    *classes = known ? known->classes : 0;
    return known ? known->class_names : NULL;
}

static void fail_not_found(const char *name, const char *looked) {
    const known_set *known = find_known(name);
    const char *names[KNOWN_COUNT + 1] = {NULL};
    for (int i = 0; i < KNOWN_COUNT; i++)
        names[i] = known_sets[i].data.name;
    const char *nearest = fv_nearest(name, names);
    if (known)
        fv_fail(FV_IO, "the data set %s is not on this machine (looked for %s); to get it: %s",
                name, looked, known->data.how_to_get);
    else if (nearest)
        fv_fail(FV_INVALID, "no data set '%s'; did you mean '%s'? `fovea data` lists them", name,
                nearest);
    else
        fv_fail(FV_INVALID,
                "no data set or folder '%s' (looked for %s); `fovea data` lists the known sets",
                name, looked);
}

/* The first of `folders` that is there, below `base`; NULL: none. False: out of memory. */
static bool find_below(const char *base, const char *const *folders, char **found) {
    for (*found = NULL; *folders; folders++) {
        fv_text text = {0};
        fv_text_add(&text, "%s%s", base, *folders);
        char *folder = fv_text_take(&text);
        if (!folder || fv_is_folder(folder)) {
            *found = folder;
            return folder != NULL;
        }
        fv_free(folder);
    }
    return true;
}

/* Any name that is a folder in one of the places is found, known or not. */
char *fv_data_find(const char *name) {
    fv_text looked = {0};
    const known_set *known = find_known(name);
    for (int i = 0; i < PLACE_COUNT; i++) {
        const char *root = places[i].variable ? getenv(places[i].variable) : "";
        if (!root || (places[i].variable && !*root))
            continue;
        fv_text text = {0};
        fv_text_add(&text, "%s%s/%s", root, places[i].folder, name);
        char *base = fv_text_take(&text), *folder = NULL;
        if (!base || !find_below(base, known ? known->folders : itself, &folder) || folder) {
            fv_free(base);
            fv_text_free(&looked);
            return folder;
        }
        fv_text_add(&looked, "%s%s", looked.size ? ", " : "", base);
        fv_free(base);
    }
    char *list = fv_text_take(&looked);
    if (list)
        fail_not_found(name, list);
    fv_free(list);
    return NULL;
}
