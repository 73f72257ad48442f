/* One sample on several threads, which share each layer: the same bits as on one, whatever the
 * layer's algorithm, and however many threads there are for how little work. */
#include <fovea.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The outputs of `samples` samples, which the caller frees. */
static float *run(const fv_net *net, int threads, int samples, bool exact, size_t *count) {
    fv_shape in = fv_input_shape(net), out;
    fv_session *session = fv_session_new(
        net, &(fv_session_options){.threads = threads, .batch = samples, .exact = exact});
    if (!session)
        fail_msg("%s", fv_error_message());
    size_t values = (size_t)samples * fv_shape_count(&in);
    float *x = calloc(values, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < values; i++)
        x[i] = sinf((float)i * 0.37F);
    for (int again = 0; again < 3; again++) /* threads take their units in another order */
        assert_int_equal(fv_session_run(session, x, samples), FV_OK);
    const float *y = fv_session_output(session, NULL, &out);
    *count = (size_t)samples * fv_shape_count(&out);
    float *copy = malloc(*count * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, y, *count * sizeof *copy);
    free(x);
    fv_session_free(session);
    return copy;
}

static void check(const char *text) {
    fv_net *net = fv_net_parse(text, "test.net");
    if (!net)
        fail_msg("%s", fv_error_message());
    for (int samples = 1; samples <= 3; samples += 2)
        for (int exact = 0; exact < 2; exact++) {
            size_t count;
            float *one = run(net, 1, samples, exact, &count);
            bool any = false;
            for (size_t i = 0; i < count; i++)
                any = any || one[i] != 0;
            assert_true(any);
            for (int threads = 2; threads <= 7; threads += threads == 2 ? 1 : 4) {
                float *several = run(net, threads, samples, exact, &count);
                if (memcmp(one, several, count * sizeof *one) != 0)
                    fail_msg("%d threads give other bits than one:\n%s", threads, text);
                free(several);
            }
            free(one);
        }
    fv_net_free(net);
}

static void threads_share_layers(void **state) {
    (void)state;
    check("input 56x56x16\nconv 32 3x3 pad=1 relu\n");    /* Winograd, many blocks */
    check("input 13x14x64\nconv 96 3x3 pad=1 tanh\n");    /* Winograd, few blocks */
    check("input 5x5x16\nconv 16 3x3 pad=1\n");           /* less than a tile a thread */
    check("input 23x21x3\nconv 20 7x7 stride=2 pad=3\n"); /* rows */
    check("input 9x9x24\nconv 40 1x1 relu\n");            /* one row of pixels */
    check("input 1x1x24\nconv 5 1x1\n");
    check("input 9x8x12\nconv 18 3x3 groups=3 stride=2x1 dilation=2 padding=same\n");
    check("input 11x10x9\ndepthwise_conv 3x3 multiplier=2 relu6\n");
    check("input 31x5\nconv 7 5 stride=2\n");
    check("input 6x7x8x3\nconv 5 3x2x3 relu\n");
    check("input 9x9x8\nseparable_conv 12 3x3\nconv_transpose 6 3x3 stride=2\n");
    check("input 14x13x5\nmaxpool 3 stride=2 pad=1\n");
    check("input 14x13x5\nmaxpool 3x2 stride=2 padding=same\n");
    check("input 14x13x5\navgpool 3 stride=2 pad=1 count_include_pad=true\n");
    check("input 14x13x5\navgpool 3 stride=2 ceil=true\nadaptive_avgpool 3\n");
    check("input 6x6x6x2\nmaxpool 2\nglobal_maxpool\n");
    check("input 9x9x6\nglobal_avgpool keep=true\nmultiply from=input1,global_avgpool1\n");
    check("input 12x12x16\nc: conv 16 3x3 pad=1\nbatch_norm relu\nmaxpool 2\nconv 16 1x1\n"
          "add relu from=maxpool1,conv2\nglobal_avgpool\ndense 10 softmax\n");
    check("input 71x70x3 scale=1/255 mean=0.4,0.5,0.6 deviation=0.2\nmaxpool 2\n");
    check("input 40x37x2\na: conv 7 1x1\nb: conv 5 1x1\nconcat from=a,b,input1\n");
    check("input 40x37x4\na: maxpool 1x2 stride=1\nconcat axis=2 from=a,input1\n");
    check("input 40x37x4\na: maxpool 9x1 stride=1\nconcat axis=1 from=a,input1,a\n");
    check("input 300\na: dense 5000\nb: dense 300 relu\nconcat from=b,a,b\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_share_layers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
