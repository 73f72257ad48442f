/* A first program in C++20: builds a net and runs a picture through it.
 *
 *     c++ -std=c++20 first.cpp $(pkg-config --cflags --libs fovea) -o first
 *     ./first
 */
#include <cstdio>
#include <fovea.h>
#include <memory>
#include <vector>

using net_pointer = std::unique_ptr<fv_net, decltype(&fv_net_free)>;
using session_pointer = std::unique_ptr<fv_session, decltype(&fv_session_free)>;

static net_pointer build() {
    net_pointer net(fv_net_new(), fv_net_free);
    fv_tensor x = fv_input(net.get(), .shape = {2, {28, 28}, 1}, .scale = 1.0 / 255);
    x = fv_conv(net.get(), x, .filters = 16, .kernel = {3, 3}, .activation = FV_RELU);
    x = fv_maxpool(net.get(), x, .size = {2, 2});
    x = fv_flatten(net.get(), x);
    fv_dense(net.get(), x, .units = 10, .activation = FV_SOFTMAX);
    if (fv_net_build(net.get()) != FV_OK) // the first error of all the lines above
        net.reset();
    return net;
}

int main() {
    net_pointer net = build();
    session_pointer session(net ? fv_session_new(net.get(), nullptr) : nullptr, fv_session_free);
    const std::vector<float> picture(28 * 28, 128);
    if (!session || fv_session_run(session.get(), picture.data(), 1) != FV_OK) {
        std::fprintf(stderr, "first: %s\n", fv_error_message());
        return 1;
    }
    fv_shape shape;
    const float *probabilities = fv_session_output(session.get(), nullptr, &shape);
    for (int i = 0; i < shape.channels; i++)
        std::printf("class %d: %.4f\n", i, double(probabilities[i]));
}
