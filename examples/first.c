/* A first program: trains a net on a data set, saves it, and says how good it is.
 *
 *     cc first.c $(pkg-config --cflags --libs fovea) -o first
 *     ./first first.net mnist
 */
#include <fovea.h>
#include <stdio.h>

/* The net of first.net, built in C. */
static fv_net *build(void) {
    fv_net *net = fv_net_new();
    fv_tensor x = fv_input(net, .shape = {2, {28, 28}, 1}, .scale = 1.0 / 255);
    x = fv_conv(net, x, .filters = 16, .kernel = {3, 3}, .activation = FV_RELU);
    x = fv_maxpool(net, x, .size = {2, 2});
    x = fv_flatten(net, x);
    x = fv_dropout(net, x, .rate = 0.25);
    fv_dense(net, x, .units = 10, .activation = FV_SOFTMAX);
    fv_set_train_options(
        net, &(fv_train_options){.loss = "cross_entropy", .optimizer = "adam", .epochs = 1});
    if (fv_net_build(net) != FV_OK) { /* the first error of all the lines above */
        fv_net_free(net);
        return NULL;
    }
    return net;
}

static fv_status train(fv_net *net, const fv_data *samples, const fv_data *test, const char *file) {
    const fv_net *const nets[] = {net};
    fv_score score;
    fv_status status = fv_fit(net, samples, &(fv_fit_options){.validate = test, .seed = 1});
    if (status == FV_OK)
        status = fv_save(net, file);
    if (status == FV_OK)
        status = fv_evaluate(nets, 1, test, 0, 0, false, &score);
    if (status == FV_OK)
        printf("%s: accuracy %.4f, loss %.4f\n", file, score.accuracy, score.loss);
    return status;
}

int main(int count, char **arguments) {
    if (count != 3)
        return fprintf(stderr, "usage: first NET DATA\n"), 2;
    fv_net *read = fv_net_load(arguments[1]), *built = build();
    fv_data *samples = fv_data_open(arguments[2], "train"),
            *test = fv_data_open(arguments[2], "test");
    bool good = read && built && samples && test &&
                train(read, samples, test, "read.safetensors") == FV_OK &&
                train(built, samples, test, "built.safetensors") == FV_OK;
    if (!good)
        fprintf(stderr, "first: %s\n", fv_error_message());
    fv_data_free(samples);
    fv_data_free(test);
    fv_net_free(read);
    fv_net_free(built);
    return good ? 0 : 1;
}
