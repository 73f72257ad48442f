/* What each activation, initialiser, padding, loss and metric comes to. A word of the library that
 * is missing here fails the test of the manual. */
#include "formulas.h"
#include <stddef.h>

const word_line activation_formulas[] = {
    {"linear", "x"},
    {"relu", "max(x, 0)"},
    {"sigmoid", "1 / (1 + exp(-x))"},
    {"tanh", "(exp(x) - exp(-x)) / (exp(x) + exp(-x))"},
    {"softmax", "exp(x_c) / sum over the channels k of exp(x_k)"},
    {"relu6", "min(max(x, 0), 6)"},
    {"leaky_relu", "x where x > 0, else 0.01 x"},
    {"elu", "x where x > 0, else exp(x) - 1 (Clevert et al. 2016)"},
    {"selu", "1.0507 times x where x > 0, else times 1.6733 (exp(x) - 1) (Klambauer et al. 2017)"},
    {"gelu", "x / 2 (1 + erf(x / sqrt(2))) (Hendrycks & Gimpel 2016)"},
    {"gelu_tanh", "x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))"},
    {"silu", "x / (1 + exp(-x)), also called swish"},
    {"mish", "x tanh(log(1 + exp(x)))"},
    {"hard_sigmoid", "min(max(x / 6 + 1/2, 0), 1)"},
    {"hard_swish", "x min(max(x / 6 + 1/2, 0), 1)"},
    {"softplus", "log(1 + exp(x))"},
    {"softsign", "x / (1 + |x|)"},
    {"scaled_tanh", "1.7159 tanh(2/3 x) (LeCun et al. 1998)"},
    {"log_softmax", "x_c - log(sum over the channels k of exp(x_k))"},
    {NULL, NULL}};

const word_line initialiser_formulas[] = {
    {"default", "what the key has where it is not given"},
    {"glorot_uniform", "uniform between +-sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010)"},
    {"glorot_normal", "cut normal, deviation sqrt(2 / (fan_in + fan_out))"},
    {"he_uniform", "uniform between +-sqrt(6 / fan_in) (He et al. 2015)"},
    {"he_normal", "cut normal, deviation sqrt(2 / fan_in)"},
    {"lecun_uniform", "uniform between +-sqrt(3 / fan_in) (LeCun et al. 1998)"},
    {"lecun_normal", "cut normal, deviation sqrt(1 / fan_in)"},
    {"normal", "normal(s): normal, deviation s"},
    {"constant", "constant(v): all are v"},
    {"truncated_normal", "truncated_normal(s): normal of deviation s, cut at two of them"},
    {"uniform", "uniform(a): uniform between +-a"},
    {"orthogonal", "orthogonal(v): rows or columns orthonormal, times v; without it times 1 (Saxe "
                   "et al. 2014)"},
    {"kaiming_normal", "normal, deviation sqrt(2 / fan_in); Caffe's msra"},
    {"kaiming_normal_out", "normal, deviation sqrt(2 / fan_out), as in ResNet"},
    {"sign", "-1 or 1, at random"},
    {"fan_in_uniform", "uniform between +-1 / sqrt(fan_in), as in PyTorch"},
    {NULL, NULL}};

const word_line padding_formulas[] = {
    {"valid", "P is what pad says, before and after together, and 0 without it; "
              "out = floor((W - F + P) / S) + 1"},
    {"same", "out = ceil(W / S), P = max((out - 1) S + F - W, 0), before = floor(P / 2): the odd "
             "cell goes behind, as in TensorFlow"},
    {"same_lower", "as same, but before = ceil(P / 2): the odd cell goes in front, as ONNX has it"},
    {"causal", "on one axis only: before = P = F - 1, so that no output sees later inputs; "
               "out = floor((W - 1) / S) + 1"},
    {NULL, NULL}};

const word_line loss_formulas[] = {
    {"cross_entropy", "sum over the channels c of t_c (log(sum over k of exp(z_k)) - z_c)"},
    {"binary_cross_entropy", "log(1 + exp(z)) - t z: each channel is a question of its own"},
    {"mse", "(y - t)^2"},
    {"mae", "|y - t|"},
    {"huber", "(y - t)^2 / 2 where |y - t| <= delta, else delta (|y - t| - delta / 2)"},
    {"smooth_l1", "huber / delta"},
    {"hinge", "max(1 - t y, 0), t being -1 or 1; 0 becomes -1"},
    {"kl", "sum over the channels c of t_c log(t_c / y_c), both cut to 1e-7 and 1"},
    {"cosine", "1 - sum t_c y_c / (|t| |y|) over the channels"},
    {"focal", "a (1 - q)^gamma times binary_cross_entropy, p = sigmoid(z), q = t p + (1 - t)(1 - "
              "p), a = t alpha + (1 - t)(1 - alpha) (Lin et al. 2017)"},
    {"dice", "1 - (2 sum t y + smooth) / (sum t + sum y + smooth), sums over a sample (Milletari "
             "et al. 2016)"},
    {"tversky", "1 - (h + smooth) / (h + alpha sum (1 - t) y + beta sum t (1 - y) + smooth), h = "
                "sum t y (Salehi et al. 2017)"},
    {"iou", "boxes: 1 - I / U, I the area of the intersection, U that of the union"},
    {"giou", "iou + (C - U) / C, C the smallest box around both (Rezatofighi et al. 2019)"},
    {"diou", "iou + r^2 / d^2, r the distance of the centers, d the diagonal of C (Zheng et al. "
             "2020)"},
    {"ciou", "diou + a v, v = 4 / pi^2 (atan(w_t / h_t) - atan(w / h))^2, a = v / (iou + v)"},
    {"ssim", "pictures: 1 - structural similarity in gaussian windows of 11x11 cells, deviation "
             "1.5 (Wang et al. 2004)"},
    {"total_variation", "mean |difference| of neighbours along each axis; has no target (Rudin et "
                        "al. 1992)"},
    {"rbf", "y_t + log(exp(-margin) + sum over k of exp(-y_k)): outputs are penalties, the "
            "smallest is the answer (LeCun et al. 1998)"},
    {NULL, NULL}};

const word_line metric_formulas[] = {
    {"accuracy", "share of places whose answer is their class"},
    {"top_k", "share of places whose class is among the k largest outputs"},
    {"precision", "right answers / answers of that class, mean over the classes; of one channel: "
                  "of class 1"},
    {"recall", "right answers / places of that class, mean over the classes; of one channel: of "
               "class 1"},
    {"f1", "2 precision recall / (precision + recall), mean over the classes; of one channel: of "
           "class 1"},
    {"auc",
     "area under the curve of true over false positives, exactly; mean over the classes, each "
     "against the rest"},
    {"mae", "mean of |y - t|"},
    {"mse", "mean of (y - t)^2"},
    {"r2", "1 - sum (y - t)^2 / sum (t - mean t)^2, mean over the channels"},
    {"mean_iou", "places of a class that are found / places of it or taken for it, mean over the "
                 "classes; of one channel: over both"},
    {"dice",
     "f1 of each sample by itself, mean over the classes that occur in it, then over samples"},
    {"psnr", "10 log10(range^2 / mse) of a sample, mean over samples"},
    {"ssim", "structural similarity (see the loss): 1 for equal pictures"},
    {NULL, NULL}};
