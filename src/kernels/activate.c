/* Activation functions over rows of channels, in place, and the factors of their derivatives. Each
 * elementwise function is written once for a whole vector; its formula is in fovea.h. */
#include "kernels/local.h"
#include "kernels/vecmath.h"

typedef vec vector_function(vec x, real constant);

/* y = f(y), element by element. */
FV_INLINE void map(size_t count, real *y, vector_function *f, real constant) {
    for (size_t i = 0; i < count; i += VL) {
        int some = count - i < VL ? (int)(count - i) : VL;
        vec v = f(some == VL ? load(y + i) : load_some(y + i, some), constant);
        if (some == VL)
            store(y + i, v);
        else
            store_some(y + i, v, some);
    }
}

/* gradient *= f(seen). */
FV_INLINE void map_back(size_t count, const real *seen, real *gradient, vector_function *f,
                        real constant) {
    for (size_t i = 0; i < count; i += VL) {
        int some = count - i < VL ? (int)(count - i) : VL;
        vec v = f(some == VL ? load(seen + i) : load_some(seen + i, some), constant);
        if (some == VL)
            store(gradient + i, load(gradient + i) * v);
        else
            store_some(gradient + i, load_some(gradient + i, some) * v, some);
    }
}

static const real selu_scale = (real)1.0507009873554805, selu_alpha = (real)1.6732632423543772;
static const real lecun_scale = (real)1.7159, lecun_slope = (real)(2.0 / 3);

/* ---- Elementwise functions ------------------------------------------------------------------- */

static inline vec relu(vec x, real constant) {
    (void)constant;
    return rectify(x);
}

static inline vec relu6(vec x, real constant) {
    (void)constant;
    return choose(x > 6, splat(6), rectify(x));
}

static inline vec leaky_relu(vec x, real slope) {
    return choose(x > 0, x, slope * x);
}

static inline vec elu(vec x, real alpha) {
    return choose(x > 0, x, alpha * vec_expm1(x));
}

static inline vec selu(vec x, real constant) {
    (void)constant;
    return selu_scale * elu(x, selu_alpha);
}

static inline vec sigmoid(vec x, real constant) {
    (void)constant;
    return 1 / (1 + vec_exp(-x));
}

static inline vec tanh_of(vec x, real constant) {
    (void)constant;
    return vec_tanh(x);
}

static inline vec scaled_tanh(vec x, real constant) {
    (void)constant;
    return lecun_scale * vec_tanh(lecun_slope * x);
}

static inline vec silu(vec x, real constant) {
    return x * sigmoid(x, constant);
}

/* x - x P(X > x) for x > 0, so that no small number is the difference of large ones. */
static inline vec gelu(vec x, real constant) {
    (void)constant;
    vec part = choose(absolute(x) > 15, splat(0), x * vec_normal_tail(x));
    return choose(x > 0, x - part, part);
}

static inline vec gelu_tanh_inner(vec x) {
    return (real)0.7978845608028654 * (x + (real)0.044715 * x * x * x);
}

/* (1 + tanh(u)) / 2 = sigmoid(2 u) */
static inline vec gelu_tanh(vec x, real constant) {
    return x * sigmoid(2 * gelu_tanh_inner(x), constant);
}

/* With e = exp(x): tanh(log(1 + e)) = n / (n + 2), n = e (e + 2). Beyond 30 it is 1. */
static inline vec mish(vec x, real constant) {
    (void)constant;
    vec e = vec_exp(choose(x > 30, splat(30), x));
    vec n = e * (e + 2);
    return choose(x > 30, x, x * (n / (n + 2)));
}

static inline vec hard_sigmoid(vec x, real slope) {
    return choose(x * slope > (real)0.5, splat(1), rectify(x * slope + (real)0.5));
}

static inline vec hard_swish(vec x, real constant) {
    (void)constant;
    return x * hard_sigmoid(x, (real)(1.0 / 6));
}

static inline vec softplus(vec x, real constant) {
    (void)constant;
    return rectify(x) + vec_log1p(vec_exp(-absolute(x)));
}

static inline vec softsign(vec x, real constant) {
    (void)constant;
    return x / (1 + absolute(x));
}

/* ---- Their derivatives, by the outputs y ------------------------------------------------------
 */

static inline vec relu_slope(vec y, real constant) {
    (void)constant;
    return choose(y > 0, splat(1), splat(0));
}

static inline vec relu6_slope(vec y, real constant) {
    (void)constant;
    return choose((y > 0) & (y < 6), splat(1), splat(0));
}

static inline vec leaky_relu_slope(vec y, real slope) {
    return choose(y > 0, splat(1), splat(slope));
}

static inline vec elu_slope(vec y, real alpha) {
    return choose(y > 0, splat(1), y + alpha);
}

static inline vec selu_slope(vec y, real constant) {
    (void)constant;
    return choose(y > 0, splat(selu_scale), y + selu_scale * selu_alpha);
}

static inline vec sigmoid_slope(vec y, real constant) {
    (void)constant;
    return y * (1 - y);
}

static inline vec tanh_of_slope(vec y, real constant) {
    (void)constant;
    return (1 - y) * (1 + y);
}

static inline vec scaled_tanh_slope(vec y, real constant) {
    return lecun_scale * lecun_slope * tanh_of_slope(y / lecun_scale, constant);
}

static inline vec hard_sigmoid_slope(vec y, real slope) {
    return choose((y > 0) & (y < 1), splat(slope), splat(0));
}

static inline vec softsign_slope(vec y, real constant) {
    (void)constant;
    vec rest = 1 - absolute(y);
    return rest * rest;
}

/* ---- ... and by the inputs x ------------------------------------------------------------------
 */

/* P(X <= x) + x density(x) */
static inline vec gelu_slope(vec x, real constant) {
    (void)constant;
    vec tail = vec_normal_tail(x);
    vec finite = choose(absolute(x) > 15, splat(0), x);
    return choose(x > 0, 1 - tail, tail) + finite * vec_normal_density(x);
}

static inline vec gelu_tanh_slope(vec x, real constant) {
    vec u = 2 * gelu_tanh_inner(x), s = sigmoid(u, constant);
    vec inner = (real)0.7978845608028654 * (1 + 3 * (real)0.044715 * x * x);
    vec finite = choose(absolute(x) > 15, splat(0), x * inner);
    return s + 2 * finite * s * sigmoid(-u, constant);
}

static inline vec silu_slope(vec x, real constant) {
    vec s = sigmoid(x, constant), finite = choose(absolute(x) > 104, splat(0), x);
    return s + finite * s * sigmoid(-x, constant);
}

/* With mish's e and d = n + 2: tanh' sigmoid = 4 e (1 + e) / d^2. */
static inline vec mish_slope(vec x, real constant) {
    (void)constant;
    vec e = vec_exp(choose(x > 30, splat(30), x));
    vec n = e * (e + 2), d = n + 2;
    vec finite = choose(x < -104, splat(0), x);
    return choose(x > 30, splat(1), n / d + 4 * finite * (e / d) * ((1 + e) / d));
}

/* 0 at -3, 1 at 3, where PyTorch's is. */
static inline vec hard_swish_slope(vec x, real constant) {
    (void)constant;
    vec inside = x * (real)(1.0 / 3) + (real)0.5;
    return choose(x <= -3, splat(0), choose(x >= 3, splat(1), inside));
}

static inline vec softplus_slope(vec x, real constant) {
    return sigmoid(x, constant);
}

/* ---- Over the channels ------------------------------------------------------------------------
 */

static real largest_of(int channels, const real *y) {
    real largest = y[0];
    for (int c = 1; c < channels; c++)
        largest = y[c] > largest ? y[c] : largest;
    return largest;
}

static real sum_of(int channels, const real *y) {
    real sum = 0;
    for (int c = 0; c < channels; c++)
        sum += y[c];
    return sum;
}

static inline vec exp_less(vec x, real largest) {
    return vec_exp(x - largest);
}

/* exp of the difference to the row's largest: no overflow, and at least one term is 1. */
static void softmax_row(int channels, real *y) {
    map((size_t)channels, y, exp_less, largest_of(channels, y));
    real sum = sum_of(channels, y);
    for (int c = 0; c < channels; c++)
        y[c] /= sum;
}

/* dx_c = y_c (dy_c - sum_k dy_k y_k) */
static void softmax_back_row(int channels, const real *y, real *gradient) {
    real sum = 0;
    for (int c = 0; c < channels; c++)
        sum += gradient[c] * y[c];
    for (int c = 0; c < channels; c++)
        gradient[c] = y[c] * (gradient[c] - sum);
}

/* The exponentials are summed in blocks and not kept. */
static void log_softmax_row(int channels, real *y) {
    enum { BLOCK = 256 }; /* speed only */
    real block[BLOCK], largest = largest_of(channels, y), sum = 0;
    for (int c = 0; c < channels; c += BLOCK) {
        int count = channels - c < BLOCK ? channels - c : BLOCK;
        memcpy(block, y + c, (size_t)count * sizeof(real));
        map((size_t)count, block, exp_less, largest);
        sum += sum_of(count, block);
    }
    real rest = FV_LOG(sum);
    for (int c = 0; c < channels; c++)
        y[c] = (y[c] - largest) - rest;
}

static inline vec exp_times(vec y, real factor) {
    return factor * vec_exp(y);
}

/* dx_c = dy_c - exp(y_c) sum_k dy_k */
static void log_softmax_back_row(int channels, const real *y, real *gradient) {
    enum { BLOCK = 256 }; /* speed only */
    real block[BLOCK], sum = sum_of(channels, gradient);
    for (int c = 0; c < channels; c += BLOCK) {
        int count = channels - c < BLOCK ? channels - c : BLOCK;
        memcpy(block, y + c, (size_t)count * sizeof(real));
        map((size_t)count, block, exp_times, sum);
        for (int i = 0; i < count; i++)
            gradient[c + i] -= block[i];
    }
}

/* ---- With slopes that learn --------------------------------------------------------------------
 */

void FV_LOCAL(prelu)(size_t rows, int channels, const real *restrict x, const real *restrict slope,
                     real *restrict y) {
    for (size_t r = 0; r < rows; r++, x += channels, y += channels)
        for (int c = 0; c < channels; c++)
            y[c] = x[c] > 0 ? x[c] : slope[c] * x[c];
}

void FV_LOCAL(prelu_back)(size_t rows, int channels, const real *restrict x,
                          const real *restrict slope, const real *restrict dy, real *restrict dx,
                          real *restrict sums) {
    for (size_t r = 0; r < rows; r++, x += channels, dy += channels) {
        for (int c = 0; c < channels && dx; c++)
            dx[c] = x[c] > 0 ? dy[c] : slope[c] * dy[c];
        for (int c = 0; c < channels && sums; c++)
            sums[c] += x[c] > 0 ? 0 : dy[c] * x[c];
        dx += dx ? channels : 0;
    }
}

/* ---- By kind ----------------------------------------------------------------------------------
 */

typedef struct activation {
    void (*forward)(size_t count, real *y, real constant);
    void (*backward)(size_t count, const real *seen, real *gradient, real constant);
} activation;

/* An elementwise function and its derivative, over arrays. */
#define ELEMENTWISE(name)                                                                          \
    static void name##_array(size_t count, real *y, real constant) {                               \
        map(count, y, name, constant);                                                             \
    }                                                                                              \
    static void name##_array_back(size_t count, const real *seen, real *gradient, real constant) { \
        map_back(count, seen, gradient, name##_slope, constant);                                   \
    }

ELEMENTWISE(relu)
ELEMENTWISE(sigmoid)
ELEMENTWISE(tanh_of)
ELEMENTWISE(relu6)
ELEMENTWISE(leaky_relu)
ELEMENTWISE(elu)
ELEMENTWISE(selu)
ELEMENTWISE(gelu)
ELEMENTWISE(gelu_tanh)
ELEMENTWISE(silu)
ELEMENTWISE(mish)
ELEMENTWISE(hard_sigmoid)
ELEMENTWISE(hard_swish)
ELEMENTWISE(softplus)
ELEMENTWISE(softsign)
ELEMENTWISE(scaled_tanh)

static const activation activations[] = {
    [FV_RELU] = {relu_array, relu_array_back},
    [FV_SIGMOID] = {sigmoid_array, sigmoid_array_back},
    [FV_TANH] = {tanh_of_array, tanh_of_array_back},
    [FV_RELU6] = {relu6_array, relu6_array_back},
    [FV_LEAKY_RELU] = {leaky_relu_array, leaky_relu_array_back},
    [FV_ELU] = {elu_array, elu_array_back},
    [FV_SELU] = {selu_array, selu_array_back},
    [FV_GELU] = {gelu_array, gelu_array_back},
    [FV_GELU_TANH] = {gelu_tanh_array, gelu_tanh_array_back},
    [FV_SILU] = {silu_array, silu_array_back},
    [FV_MISH] = {mish_array, mish_array_back},
    [FV_HARD_SIGMOID] = {hard_sigmoid_array, hard_sigmoid_array_back},
    [FV_HARD_SWISH] = {hard_swish_array, hard_swish_array_back},
    [FV_SOFTPLUS] = {softplus_array, softplus_array_back},
    [FV_SOFTSIGN] = {softsign_array, softsign_array_back},
    [FV_SCALED_TANH] = {scaled_tanh_array, scaled_tanh_array_back},
    [FV_LOG_SOFTMAX] = {NULL, NULL},
};

void FV_LOCAL(activate)(fv_activation kind, real constant, size_t rows, int channels, real *y) {
    if (activations[kind].forward)
        activations[kind].forward(rows * (size_t)channels, y, constant);
    for (size_t r = 0; r < rows && kind == FV_SOFTMAX; r++)
        softmax_row(channels, y + r * (size_t)channels);
    for (size_t r = 0; r < rows && kind == FV_LOG_SOFTMAX; r++)
        log_softmax_row(channels, y + r * (size_t)channels);
}

void FV_LOCAL(activate_back)(fv_activation kind, real constant, size_t rows, int channels,
                             const real *seen, real *gradient) {
    if (activations[kind].backward)
        activations[kind].backward(rows * (size_t)channels, seen, gradient, constant);
    for (size_t r = 0; r < rows && kind == FV_SOFTMAX; r++)
        softmax_back_row(channels, seen + r * (size_t)channels, gradient + r * (size_t)channels);
    for (size_t r = 0; r < rows && kind == FV_LOG_SOFTMAX; r++)
        log_softmax_back_row(channels, seen + r * (size_t)channels,
                             gradient + r * (size_t)channels);
}
