/* Holds activation layers to their oracles (layer_cases.h). */
#include "layer_cases.h"
#include <string.h>

static bool activation_infer(const layer_case *c, wanted *w) {
    for (int i = 0; fv_activation_names[i]; i++)
        if (strcmp(c->oracle->type, fv_activation_names[i]) == 0)
            w->activation = (fv_activation)i;
    return same_output(c, w);
}

static void activation_cases(const oracle *self) {
    check_shapes(self, NULL, "no options");
}

#define ACTIVATION_ORACLE(name)                                                                    \
    {                                                                                              \
        .type = name, .cases = activation_cases, .infer = activation_infer,                        \
        .forward = copy_forward, .backward = copy_backward                                         \
    }

static const oracle oracles[] = {
    ACTIVATION_ORACLE("relu"),
    ACTIVATION_ORACLE("sigmoid"),
    ACTIVATION_ORACLE("tanh"),
    ACTIVATION_ORACLE("softmax"),
};

int main(void) {
    return run_family("activation", oracles, sizeof oracles / sizeof oracles[0]);
}
