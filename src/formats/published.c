/* The names of layers in published weights, where they are not those of the net here. The other
 * nets of torchvision (resnet, densenet, googlenet, squeezenet, mobilenet_v2, alexnet) have
 * torchvision's names already, and so timm's where it took those over. Called by load_weights.c. */
#include "formats/published.h"
#include <stdio.h>
#include <string.h>

/* ---- VGG: a convolution's index counts its activation and the pools above ----------------------
 */

static const fv_name_pair vgg11[] = {
    {"conv1_1", "features.0"},  {"conv2_1", "features.3"},  {"conv3_1", "features.6"},
    {"conv3_2", "features.8"},  {"conv4_1", "features.11"}, {"conv4_2", "features.13"},
    {"conv5_1", "features.16"}, {"conv5_2", "features.18"}, {NULL, NULL}};

static const fv_name_pair vgg13[] = {{"conv1_1", "features.0"},
                                     {"conv1_2", "features.2"},
                                     {"conv2_1", "features.5"},
                                     {"conv2_2", "features.7"},
                                     {"conv3_1", "features.10"},
                                     {"conv3_2", "features.12"},
                                     {"conv4_1", "features.15"},
                                     {"conv4_2", "features.17"},
                                     {"conv5_1", "features.20"},
                                     {"conv5_2", "features.22"},
                                     {NULL, NULL}};

static const fv_name_pair vgg16[] = {{"conv1_1", "features.0"},  {"conv1_2", "features.2"},
                                     {"conv2_1", "features.5"},  {"conv2_2", "features.7"},
                                     {"conv3_1", "features.10"}, {"conv3_2", "features.12"},
                                     {"conv3_3", "features.14"}, {"conv4_1", "features.17"},
                                     {"conv4_2", "features.19"}, {"conv4_3", "features.21"},
                                     {"conv5_1", "features.24"}, {"conv5_2", "features.26"},
                                     {"conv5_3", "features.28"}, {NULL, NULL}};

static const fv_name_pair vgg19[] = {{"conv1_1", "features.0"},
                                     {"conv1_2", "features.2"},
                                     {"conv2_1", "features.5"},
                                     {"conv2_2", "features.7"},
                                     {"conv3_1", "features.10"},
                                     {"conv3_2", "features.12"},
                                     {"conv3_3", "features.14"},
                                     {"conv3_4", "features.16"},
                                     {"conv4_1", "features.19"},
                                     {"conv4_2", "features.21"},
                                     {"conv4_3", "features.23"},
                                     {"conv4_4", "features.25"},
                                     {"conv5_1", "features.28"},
                                     {"conv5_2", "features.30"},
                                     {"conv5_3", "features.32"},
                                     {"conv5_4", "features.34"},
                                     {NULL, NULL}};

static const fv_name_pair torchvision_head[] = {
    {"fc6", "classifier.0"}, {"fc7", "classifier.3"}, {"fc8", "classifier.6"}, {NULL, NULL}};

/* fc1 and fc2 are convolutions of 7x7 and 1x1 cells there. */
static const fv_name_pair timm_head[] = {
    {"fc6", "pre_logits.fc1"}, {"fc7", "pre_logits.fc2"}, {"fc8", "head.fc"}, {NULL, NULL}};

static const fv_name_group torchvision_vgg11[] = {{vgg11, NULL}, {torchvision_head, NULL}, {0}};
static const fv_name_group torchvision_vgg13[] = {{vgg13, NULL}, {torchvision_head, NULL}, {0}};
static const fv_name_group torchvision_vgg16[] = {{vgg16, NULL}, {torchvision_head, NULL}, {0}};
static const fv_name_group torchvision_vgg19[] = {{vgg19, NULL}, {torchvision_head, NULL}, {0}};
static const fv_name_group timm_vgg11[] = {{vgg11, NULL}, {timm_head, NULL}, {0}};
static const fv_name_group timm_vgg13[] = {{vgg13, NULL}, {timm_head, NULL}, {0}};
static const fv_name_group timm_vgg16[] = {{vgg16, NULL}, {timm_head, NULL}, {0}};
static const fv_name_group timm_vgg19[] = {{vgg19, NULL}, {timm_head, NULL}, {0}};

/* ---- timm's mobilenetv2_100: its bottlenecks stand in stages -----------------------------------
 */

static const fv_name_pair mobilenet_stem[] = {{"features.0.0", "conv_stem"},
                                              {"features.0.1", "bn1"},
                                              {"features.1.conv.0.0", "blocks.0.0.conv_dw"},
                                              {"features.1.conv.0.1", "blocks.0.0.bn1"},
                                              {"features.1.conv.1", "blocks.0.0.conv_pw"},
                                              {"features.1.conv.2", "blocks.0.0.bn2"},
                                              {"features.18.0", "conv_head"},
                                              {"features.18.1", "bn2"},
                                              {"classifier.1", "classifier"},
                                              {NULL, NULL}};

static const fv_name_pair mobilenet_blocks[] = {{"features.2", "blocks.1.0"},
                                                {"features.3", "blocks.1.1"},
                                                {"features.4", "blocks.2.0"},
                                                {"features.5", "blocks.2.1"},
                                                {"features.6", "blocks.2.2"},
                                                {"features.7", "blocks.3.0"},
                                                {"features.8", "blocks.3.1"},
                                                {"features.9", "blocks.3.2"},
                                                {"features.10", "blocks.3.3"},
                                                {"features.11", "blocks.4.0"},
                                                {"features.12", "blocks.4.1"},
                                                {"features.13", "blocks.4.2"},
                                                {"features.14", "blocks.5.0"},
                                                {"features.15", "blocks.5.1"},
                                                {"features.16", "blocks.5.2"},
                                                {"features.17", "blocks.6.0"},
                                                {NULL, NULL}};

static const fv_name_pair mobilenet_block[] = {{"conv.0.0", "conv_pw"},
                                               {"conv.0.1", "bn1"},
                                               {"conv.1.0", "conv_dw"},
                                               {"conv.1.1", "bn2"},
                                               {"conv.2", "conv_pwl"},
                                               {"conv.3", "bn3"},
                                               {NULL, NULL}};

static const fv_name_group timm_mobilenet[] = {
    {mobilenet_stem, NULL}, {mobilenet_blocks, mobilenet_block}, {0}};

/* ---- The list ----------------------------------------------------------------------------------
 */

const fv_published fv_published_nets[] = {
    {"torchvision's vgg11", torchvision_vgg11},
    {"torchvision's vgg13", torchvision_vgg13},
    {"torchvision's vgg16", torchvision_vgg16},
    {"torchvision's vgg19", torchvision_vgg19},
    {"timm's vgg11", timm_vgg11},
    {"timm's vgg13", timm_vgg13},
    {"timm's vgg16", timm_vgg16},
    {"timm's vgg19", timm_vgg19},
    {"timm's mobilenetv2_100", timm_mobilenet},
    {NULL, NULL},
};

/* "features.2" and "conv.0.0" of "features.2.conv.0.0", where both are in their lists. */
static bool join(const fv_name_pair *begin, const fv_name_pair *ends, const char *layer,
                 char name[FV_PUBLISHED_SIZE]) {
    size_t size = strlen(begin->own);
    if (strncmp(layer, begin->own, size) != 0 || layer[size] != '.')
        return false;
    for (const fv_name_pair *end = ends; end->own; end++)
        if (strcmp(layer + size + 1, end->own) == 0)
            return snprintf(name, FV_PUBLISHED_SIZE, "%s.%s", begin->published, end->published) > 0;
    return false;
}

bool fv_published_name(const fv_published *net, const char *layer, char name[FV_PUBLISHED_SIZE]) {
    for (const fv_name_group *group = net->groups; group->begins; group++)
        for (const fv_name_pair *begin = group->begins; begin->own; begin++)
            if (group->ends) {
                if (join(begin, group->ends, layer, name))
                    return true;
            } else if (strcmp(layer, begin->own) == 0) {
                return snprintf(name, FV_PUBLISHED_SIZE, "%s", begin->published) > 0;
            }
    return false;
}
