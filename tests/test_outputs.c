/* What a net gives out and what only trains: auxiliary losses and their layers, outputs, what runs
 * at inference and what it costs, layers that are the identity there. */
#include "files.h"
#include "net/net.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIDE = 10, VALUES = SIDE * SIDE, CLASSES = 3, SAMPLES = 24 };

/* A net with a side classifier, written in its middle or at its end; and without it. */
static const char trunk[] = "input 10x10x1 scale=1/255\nstem: conv 16 3x3 relu padding=same\n"
                            "maxpool 2x2\nmid: conv 16 3x3 relu padding=same\n";
static const char side[] = "side: conv 8 1x1 relu from=mid\nside_flat: flatten\n"
                           "side_dense: dense 20 relu\nside_class: dense 3 softmax\n";
static const char top[] = "global_avgpool from=mid\nclass: dense 3 softmax\n";
static const char losses[] = "loss cross_entropy of=side_class weight=0.3 auxiliary=true\n"
                             "loss cross_entropy of=class\n";
static const char train[] = "train optimizer=adam lr=0.01 batch=8 epochs=3\n";

static fv_net *parse(const char *const *parts) {
    char text[2048] = "";
    for (; *parts; parts++)
        strcat(text, *parts);
    fv_net *net = fv_net_parse(text, "test.net");
    if (!net)
        fail_msg("%s", fv_error_message());
    return net;
}

static fv_net *net_with_side(bool last, const char *more) {
    return parse((const char *[]){trunk, last ? top : side, last ? side : top, losses, more, NULL});
}

static fv_net *net_without(void) {
    return parse((const char *[]){trunk, top, "loss cross_entropy of=class\n", train, NULL});
}

/* Weights of the same names. */
static void copy_weights(const fv_net *from, fv_net *to) {
    float values[8192];
    for (int w = 0; w < fv_weight_count(to); w++) {
        fv_weight_info wanted, info;
        int found = -1;
        assert_int_equal(fv_weight_describe(to, w, &wanted), FV_OK);
        assert_true(wanted.count <= 8192);
        for (int i = 0; i < fv_weight_count(from); i++) {
            assert_int_equal(fv_weight_describe(from, i, &info), FV_OK);
            found = strcmp(info.name, wanted.name) == 0 ? i : found;
        }
        assert_true(found >= 0);
        assert_int_equal(fv_get_weight(from, found, values), FV_OK);
        assert_int_equal(fv_set_weight(to, w, values), FV_OK);
    }
}

static float pictures[SAMPLES * VALUES], labels[SAMPLES];

static int set_up(void **state) {
    unsigned seed = 7;
    for (int i = 0; i < SAMPLES * VALUES; i++) {
        seed = seed * 1664525u + 1013904223u;
        pictures[i] = (float)(seed >> 24);
    }
    for (int s = 0; s < SAMPLES; s++)
        labels[s] = (float)(s % CLASSES);
    return make_test_folder(state);
}

static fv_data *make_data(const char *field) {
    fv_data *data = fv_data_new(SAMPLES);
    assert_non_null(data);
    assert_int_equal(fv_data_add(data, "input", (fv_shape){2, {SIDE, SIDE}, 1}, pictures), FV_OK);
    assert_int_equal(fv_data_add(data, field, (fv_shape){.channels = 1}, labels), FV_OK);
    return data;
}

static fv_session *open_session(const fv_net *net, int batch, int threads,
                                const char *const *outputs) {
    fv_session_options o = {
        .batch = batch, .threads = threads, .outputs = outputs, .profile = true};
    fv_session *session = fv_session_new(net, &o);
    if (!session)
        fail_msg("%s", fv_error_message());
    return session;
}

static void expect_words(const char *words) {
    if (!strstr(fv_error_message(), words))
        fail_msg("\"%s\" is not in: %s", words, fv_error_message());
}

static fv_layer_info describe(const fv_net *net, const char *name) {
    fv_layer_info info;
    assert_int_equal(fv_layer_describe(net, fv_net_find(net, name), &info), FV_OK);
    return info;
}

/* ---- What only trains ------------------------------------------------------------------------ */

static void side_layers_only_train(void **state) {
    (void)state;
    static const char *const names[] = {"side", "side_flat", "side_dense", "side_class"};
    for (int last = 0; last < 2; last++) {
        fv_net *net = net_with_side(last, train), *plain = net_without();
        int only = 0;
        int64_t parameters = 0;
        for (int n = 0; n < fv_layer_count(net); n++) {
            fv_layer_info info;
            assert_int_equal(fv_layer_describe(net, n, &info), FV_OK);
            only += info.training_only;
            parameters += info.training_only ? info.parameters : 0;
        }
        assert_int_equal(only, 4);
        for (int i = 0; i < 4; i++)
            assert_true(describe(net, names[i]).training_only);
        assert_int_equal(parameters, 16 * 8 + 8 + 200 * 20 + 20 + 20 * 3 + 3);
        assert_int_equal(fv_parameter_count(net), fv_parameter_count(plain));
        assert_int_equal(fv_output_count(net), 1);
        assert_string_equal(fv_output_name(net, 0), "class");
        assert_null(fv_output_name(net, 1));
        assert_null(fv_output_name(net, -1));
        fv_net_free(net);
        fv_net_free(plain);
    }
}

static void inference_is_that_of_the_net_without(void **state) {
    (void)state;
    for (int last = 0; last < 2; last++)
        for (int batch = 1; batch < 12; batch += 4)
            for (int threads = 1; threads < 4; threads += 2) {
                fv_net *net = net_with_side(last, train), *plain = net_without();
                copy_weights(net, plain);
                fv_session *with = open_session(net, batch, threads, NULL);
                fv_session *without = open_session(plain, batch, threads, NULL);
                fv_memory a, b, promised;
                fv_session_memory(with, &a);
                fv_session_memory(without, &b);
                assert_int_equal(a.packed, b.packed);
                assert_int_equal(a.activations, b.activations);
                assert_int_equal(a.scratch, b.scratch);
                assert_int_equal(fv_net_memory(net, batch, threads, false, false, &promised),
                                 FV_OK);
                assert_memory_equal(&promised, &a, sizeof a);
                assert_int_equal(fv_session_run(with, pictures, batch), FV_OK);
                assert_int_equal(fv_session_run(without, pictures, batch), FV_OK);
                assert_memory_equal(fv_session_output(with, NULL, NULL),
                                    fv_session_output(without, NULL, NULL),
                                    (size_t)batch * CLASSES * sizeof(float));
                for (int n = 0; n < fv_layer_count(net); n++)
                    if (strncmp(net->nodes[n].name, "side", 4) == 0)
                        assert_true(fv_session_seconds(with, n) == 0);
                fv_session_free(with);
                fv_session_free(without);
                fv_net_free(net);
                fv_net_free(plain);
            }
}

static double cross_entropy(const float *outputs, int samples) {
    double sum = 0;
    for (int s = 0; s < samples; s++)
        sum -= log((double)outputs[s * CLASSES + (int)labels[s]]);
    return sum / samples;
}

static void training_adds_the_loss_that_tests_leave_out(void **state) {
    (void)state;
    static const char *const kept[] = {"side_class", NULL};
    for (int last = 0; last < 2; last++) {
        fv_net *net = net_with_side(last, train), *plain = net_without();
        fv_data *data = make_data("label");
        fv_score trained, tested, same;
        int indices[SAMPLES];
        copy_weights(net, plain);
        fv_session *session = open_session(net, SAMPLES, 2, kept);
        assert_int_equal(fv_session_run(session, pictures, SAMPLES), FV_OK);
        double main = cross_entropy(fv_session_output(session, NULL, NULL), SAMPLES);
        double aside = cross_entropy(fv_session_output(session, "side_class", NULL), SAMPLES);
        fv_session_free(session);
        assert_true(aside > 0.5); /* it would show */
        const fv_net *nets[] = {net, plain};
        assert_int_equal(fv_evaluate(nets, 1, data, 0, 2, false, &tested), FV_OK);
        assert_int_equal(fv_evaluate(nets + 1, 1, data, 0, 2, false, &same), FV_OK);
        assert_true(fabs(tested.loss - main) <= 1e-5);
        assert_true(tested.loss == same.loss && tested.accuracy == same.accuracy);
        assert_int_equal(fv_evaluate(nets, 2, data, 0, 2, false, &same), FV_OK); /* an ensemble */
        assert_true(fabs(same.loss - main) <= 1e-5);
        for (int s = 0; s < SAMPLES; s++)
            indices[s] = (int)labels[s];
        fv_trainer *trainer = fv_trainer_new(net, &(fv_trainer_options){.batch = SAMPLES});
        assert_non_null(trainer);
        assert_int_equal(fv_trainer_step(trainer, pictures, indices, SAMPLES, &trained), FV_OK);
        assert_true(fabs(trained.loss - (main + 0.3 * aside)) <= 1e-5);
        assert_true(trained.accuracy == tested.accuracy); /* the main classifier's */
        fv_trainer_free(trainer);
        fv_data_free(data);
        fv_net_free(net);
        fv_net_free(plain);
    }
}

/* A step moves the side's weights, and through them the trunk's otherwise than without it. */
static void the_side_teaches(void **state) {
    (void)state;
    fv_net *net = net_with_side(true, train), *plain = net_without();
    int indices[8];
    copy_weights(net, plain);
    for (int s = 0; s < 8; s++)
        indices[s] = (int)labels[s];
    real *before = malloc(net->weight_size * sizeof *before);
    memcpy(before, net->weights, net->weight_size * sizeof *before);
    fv_net *const nets[] = {net, plain};
    for (int i = 0; i < 2; i++) {
        fv_trainer *trainer = fv_trainer_new(nets[i], NULL);
        assert_non_null(trainer);
        assert_int_equal(fv_trainer_step(trainer, pictures, indices, 8, NULL), FV_OK);
        fv_trainer_free(trainer);
    }
    for (int n = 1; n < net->count; n++)
        if (net->nodes[n].weight_count) {
            const fv_weight *w = &net->nodes[n].weights[0];
            assert_memory_not_equal(before + w->offset, net->weights + w->offset,
                                    w->count * sizeof(real));
        }
    const fv_weight *stem = &net->nodes[1].weights[0], *alone = &plain->nodes[1].weights[0];
    assert_memory_not_equal(net->weights + stem->offset, plain->weights + alone->offset,
                            stem->count * sizeof(real));
    free(before);
    fv_net_free(net);
    fv_net_free(plain);
}

static void its_target_is_asked_for_in_training_only(void **state) {
    (void)state;
    fv_net *net = parse((const char *[]){
        trunk, side, top, "loss cross_entropy of=class\n",
        "loss cross_entropy of=side_class target=coarse auxiliary=true\n", train, NULL});
    fv_data *data = make_data("label");
    const fv_net *nets[] = {net};
    fv_score score;
    assert_int_equal(fv_evaluate(nets, 1, data, 0, 1, false, &score), FV_OK);
    assert_int_equal(fv_fit(net, data, &(fv_fit_options){0}), FV_INVALID);
    expect_words("needs the target 'coarse'");
    fv_data_free(data);
    fv_net_free(net);
}

static void one_loss_must_not_be_auxiliary(void **state) {
    (void)state;
    fv_net *net = parse((const char *[]){trunk, top, "loss cross_entropy auxiliary=true\n", NULL});
    assert_int_equal(fv_output_count(net), 1); /* the last layer all the same */
    assert_string_equal(fv_output_name(net, 0), "class");
    assert_null(fv_trainer_new(net, NULL));
    expect_words("all losses of the net are auxiliary");
    fv_session_free(open_session(net, 1, 1, NULL));
    fv_net_free(net);
}

/* A metric is measured in tests: the layers that it needs run there. It does not move the output.
 */
static void a_metric_needs_its_layers(void **state) {
    (void)state;
    fv_net *net = net_with_side(true, "metric accuracy of=side_class\n");
    fv_data *data = make_data("label");
    const fv_net *nets[] = {net};
    fv_score score;
    assert_false(describe(net, "side_class").training_only);
    assert_false(describe(net, "side").training_only);
    assert_int_equal(fv_output_count(net), 1);
    assert_string_equal(fv_output_name(net, 0), "class");
    fv_session *session = open_session(net, SAMPLES, 1, (const char *[]){"side_class", NULL});
    assert_int_equal(fv_session_run(session, pictures, SAMPLES), FV_OK);
    const float *outputs = fv_session_output(session, "side_class", NULL);
    int right = 0;
    for (int s = 0; s < SAMPLES; s++, outputs += CLASSES) {
        int best = outputs[1] > outputs[0];
        best = outputs[2] > outputs[best] ? 2 : best;
        right += best == (int)labels[s];
    }
    fv_session_free(session);
    assert_int_equal(fv_evaluate(nets, 1, data, 5, 2, false, &score), FV_OK);
    assert_int_equal(score.metric_count, 1);
    assert_true(fabs(score.metrics[0].value - (double)right / SAMPLES) <= 1e-12);
    fv_data_free(data);
    fv_net_free(net);
}

/* Though the side's loss does not run, it says that the side gives logits: above 0 is class 1. */
static void a_metric_knows_the_auxiliary_loss(void **state) {
    (void)state;
    fv_net *net = parse((const char *[]){
        trunk, "side: global_avgpool\nquestion: dense 1\n", top, "loss cross_entropy of=class\n",
        "loss binary_cross_entropy of=question target=yes auxiliary=true\n",
        "metric accuracy of=question target=yes\n", NULL});
    fv_data *data = make_data("label");
    const fv_net *nets[] = {net};
    fv_score score;
    float yes[SAMPLES];
    fv_session *session = open_session(net, SAMPLES, 1, (const char *[]){"question", NULL});
    assert_int_equal(fv_session_run(session, pictures, SAMPLES), FV_OK);
    const float *logits = fv_session_output(session, "question", NULL);
    float largest = 0;
    for (int s = 0; s < SAMPLES; s++) {
        yes[s] = logits[s] > 0;
        largest = fmaxf(largest, logits[s]);
    }
    fv_session_free(session);
    assert_true(largest > 0 && largest < 0.5F); /* the threshold 1/2 would give other answers */
    assert_int_equal(fv_data_add(data, "yes", (fv_shape){.channels = 1}, yes), FV_OK);
    assert_int_equal(fv_evaluate(nets, 1, data, 0, 1, false, &score), FV_OK);
    assert_true(score.metrics[0].value == 1);
    fv_data_free(data);
    fv_net_free(net);
}

/* ---- Taps ------------------------------------------------------------------------------------ */

static void a_tap_runs_what_it_needs(void **state) {
    (void)state;
    fv_net *net = net_with_side(false, train);
    fv_session *some = open_session(net, 3, 2, (const char *[]){"side.pre", "side_flat", NULL});
    fv_session *all = open_session(net, 3, 2, (const char *[]){"side_class", "side", NULL});
    fv_shape shape;
    assert_int_equal(fv_session_run(some, pictures, 3), FV_OK);
    assert_int_equal(fv_session_run(all, pictures, 3), FV_OK);
    const float *flat = fv_session_output(some, "side_flat", &shape);
    assert_int_equal(shape.channels, 200);
    const float *before = fv_session_output(some, "side.pre", NULL);
    assert_memory_equal(flat, fv_session_output(all, "side", NULL), 3 * 200 * sizeof *flat);
    for (int i = 0; i < 3 * 200; i++)
        assert_true(flat[i] == (before[i] > 0 ? before[i] : 0));
    assert_true(fv_session_seconds(some, fv_net_find(net, "side_dense")) == 0);
    assert_true(fv_session_seconds(some, fv_net_find(net, "side_class")) == 0);
    assert_true(fv_session_seconds(all, fv_net_find(net, "side_class")) > 0);
    assert_null(fv_session_output(some, "side_class", NULL));
    expect_words("not kept");
    assert_null(fv_session_output(some, "nosuch", NULL));
    expect_words("no layer nosuch");
    assert_memory_equal(fv_session_output(some, NULL, NULL), fv_session_output(all, "class", NULL),
                        3 * CLASSES * sizeof(float));
    fv_session_free(some);
    fv_session_free(all);
    fv_net_free(net);
}

/* What does not run need not fit the sizes of this run either. */
static void what_does_not_run_need_not_fit(void **state) {
    (void)state;
    fv_net *net = fv_net_parse("input *x*x1\nconv 4 3x3\nwide: avgpool 7x7\n"
                               "global_avgpool from=conv1\nloss mse of=wide auxiliary=true\n",
                               "any.net");
    assert_non_null(net);
    fv_session_options small = {.shape = {2, {5, 5}, 1}};
    fv_session *session = fv_session_new(net, &small);
    assert_non_null(session);
    assert_int_equal(fv_session_run(session, pictures, 1), FV_OK);
    fv_session_free(session);
    small.outputs = (const char *[]){"wide", NULL};
    assert_null(fv_session_new(net, &small));
    expect_words("wide");
    fv_net_free(net);
}

/* ---- Outputs --------------------------------------------------------------------------------- */

static void expect_outputs(const fv_net *net, const char *const *names) {
    int count = 0;
    for (; names[count]; count++)
        assert_string_equal(fv_output_name(net, count), names[count]);
    assert_int_equal(fv_output_count(net), count);
}

static void outputs_stand_in_the_order_of_layers(void **state) {
    (void)state;
    fv_net *net =
        parse((const char *[]){trunk, side, top, "output side_class,mid\n", losses, NULL});
    static const char *const three[] = {"mid", "side_class", "class", NULL};
    expect_outputs(net, three);
    assert_false(describe(net, "side").training_only); /* an output needs it */
    fv_session *session = open_session(net, 2, 1, NULL);
    fv_shape shape;
    assert_int_equal(fv_session_run(session, pictures, 2), FV_OK);
    assert_non_null(fv_session_output(session, "mid", &shape));
    assert_int_equal(fv_shape_count(&shape), 5 * 5 * 16);
    assert_non_null(fv_session_output(session, "side_class", NULL));
    assert_ptr_equal(fv_session_output(session, "class", NULL),
                     fv_session_output(session, NULL, NULL));
    assert_int_equal(fv_add_output(net, 1), FV_BUSY);
    fv_session_free(session);
    session = open_session(net, 2, 1, (const char *[]){"mid", NULL});
    assert_null(fv_session_output(session, "side_class", NULL));
    fv_session_free(session);
    fv_net_free(net);

    /* Two losses are two outputs; the last layer is one whatever it is. */
    net = parse((const char *[]){trunk, "a: conv 2 1x1\nb: conv 2 1x1 from=mid\nrelu\n",
                                 "loss mse of=b\nloss mse of=a\n", NULL});
    expect_outputs(net, (const char *[]){"a", "b", "relu1", NULL});
    fv_net_free(net);
}

/* Of a net that ends with a side, a named output may be the main one. */
static void a_named_output_is_the_main_one(void **state) {
    (void)state;
    fv_net *net =
        parse((const char *[]){trunk, top, side, "output class\n",
                               "loss cross_entropy of=side_class auxiliary=true\n", NULL});
    expect_outputs(net, (const char *[]){"class", NULL});
    assert_true(describe(net, "side_class").training_only);
    fv_net_free(net);
}

static void outputs_from_c(void **state) {
    (void)state;
    fv_net *net = fv_net_new();
    fv_tensor x = fv_input(net, .shape = {2, {8, 8}, 1});
    fv_tensor a = fv_conv(net, x, .filters = 2, .kernel = {3});
    fv_tensor b = fv_conv(net, x, .filters = 3, .kernel = {3});
    assert_int_equal(fv_output_count(net), 0);
    assert_null(fv_output_name(net, 0));
    assert_int_equal(fv_add_output(net, 9), FV_INVALID);
    expect_words("no layer 9");
    assert_int_equal(fv_add_output(net, -1), FV_INVALID);
    assert_int_equal(fv_add_output(NULL, 0), FV_MEMORY);
    assert_int_equal(fv_add_output(net, a), FV_OK);
    assert_int_equal(fv_add_output(net, a), FV_OK);
    assert_int_equal(fv_net_build(net), FV_OK);
    expect_outputs(net, (const char *[]){"conv1", "conv2", NULL});
    /* After building, what is added counts at once. */
    assert_int_equal(fv_loss(net, b, .type = "mse", .auxiliary = true), FV_OK);
    expect_outputs(net, (const char *[]){"conv1", NULL});
    assert_true(describe(net, "conv2").training_only);
    assert_int_equal(fv_metric(net, b, .type = "mse"), FV_OK);
    assert_false(describe(net, "conv2").training_only);
    assert_int_equal(fv_add_output(net, b), FV_OK);
    expect_outputs(net, (const char *[]){"conv1", "conv2", NULL});
    fv_net_free(net);
    net = fv_net_new(); /* a failure carries on */
    x = fv_input(net, .shape = {2, {2, 2}, 1});
    a = fv_conv(net, x, .filters = 2, .kernel = {3});
    assert_int_equal(fv_add_output(net, a), FV_SHAPE);
    assert_int_equal(fv_net_build(net), FV_SHAPE);
    fv_net_free(net);
}

/* ---- Files ----------------------------------------------------------------------------------- */

static void model_files_keep_it_all(void **state) {
    (void)state;
    fv_net *net =
        parse((const char *[]){trunk, top, side, "output stem,mid\n", losses, train, NULL});
    assert_int_equal(fv_save(net, in_folder("aux.safetensors")), FV_OK);
    fv_net *again = fv_net_load(in_folder("aux.safetensors"));
    if (!again)
        fail_msg("%s", fv_error_message());
    for (int resolved = 0; resolved < 2; resolved++) {
        char *text = fv_net_print(net, resolved), *same = fv_net_print(again, resolved);
        assert_non_null(strstr(text, "output"));
        assert_non_null(strstr(text, "weight=0.3 auxiliary=true\n"));
        assert_true(!resolved || strcmp(text, same) == 0);
        fv_free_memory(text);
        fv_free_memory(same);
    }
    expect_outputs(again, (const char *[]){"stem", "mid", "class", NULL});
    assert_memory_equal(net->weights, again->weights, net->weight_size * sizeof(real));
    assert_int_equal(fv_parameter_count(again), fv_parameter_count(net));
    assert_true(describe(again, "side_dense").training_only);
    assert_false(describe(again, "class").training_only);
    fv_net_free(net);
    fv_net_free(again);
}

/* Many outputs are printed in several statements, each of which reads back. */
static void many_outputs_are_printed(void **state) {
    (void)state;
    char text[16384] = "input 2x2x1\n";
    for (int i = 0; i < 200; i++)
        sprintf(text + strlen(text), "layer_of_a_long_name_%d: relu\n", i);
    for (int i = 0; i < 200; i++)
        sprintf(text + strlen(text), "output layer_of_a_long_name_%d\n", i);
    fv_net *net = fv_net_parse(text, "many.net");
    assert_non_null(net);
    assert_int_equal(fv_output_count(net), 200);
    char *printed = fv_net_print(net, false);
    fv_net *again = fv_net_parse(printed, "again.net");
    if (!again)
        fail_msg("%s", fv_error_message());
    assert_int_equal(fv_output_count(again), 200);
    for (const char *line = printed; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 100);
    fv_free_memory(printed);
    fv_net_free(again);
    fv_net_free(net);
}

typedef struct stop {
    int64_t step;
    double validation; /* of the last epoch */
} stop;

static bool watch(void *argument, const fv_progress *now) {
    stop *s = argument;
    if (now->event == FV_EVENT_EPOCH)
        s->validation = now->val_loss;
    return s->step == 0 || now->step < s->step;
}

static void training_resumes(void **state) {
    (void)state;
    fv_data *data = make_data("label");
    fv_net *whole = net_with_side(false, train), *parts = net_with_side(false, train);
    stop never = {0}, then = {.step = 5};
    fv_fit_options options = {.seed = 3,
                              .validate = data,
                              .threads = 2,
                              .observer = watch,
                              .argument = &never,
                              .folder = in_folder("whole")};
    assert_int_equal(fv_fit(whole, data, &options), FV_OK);
    char folder[512];
    snprintf(folder, sizeof folder, "%s", in_folder("parts"));
    options.folder = folder;
    options.argument = &then;
    options.resume = true;
    assert_int_equal(fv_fit(parts, data, &options), FV_INTERRUPTED);
    then.step = 0;
    options.threads = 1;
    assert_int_equal(fv_fit(parts, data, &options), FV_OK);
    assert_memory_equal(whole->weights, parts->weights, whole->weight_size * sizeof(real));
    /* Validation is the test: without the side. */
    const fv_net *nets[] = {whole};
    fv_score score;
    assert_int_equal(fv_evaluate(nets, 1, data, 8, 1, false, &score), FV_OK);
    assert_true(never.validation == score.loss && then.validation == score.loss);
    fv_data_free(data);
    fv_net_free(whole);
    fv_net_free(parts);
}

/* ---- A model that a loss goes through ---------------------------------------------------------
 */

static double loss_through(const char *model) {
    char text[1024];
    snprintf(text, sizeof text,
             "input 10x10x1 scale=1/255\nconv 1 3x3 padding=same\n"
             "loss mse target=input through=%s\n",
             model);
    fv_net *net = fv_net_parse(text, "through.net");
    fv_trainer *trainer = net ? fv_trainer_new(net, NULL) : NULL;
    if (!trainer)
        fail_msg("%s", fv_error_message());
    fv_score score = {.loss = NAN};
    for (int i = 0; i < 2; i++) /* the second loss depends on the gradient of the first */
        assert_int_equal(fv_trainer_step_targets(trainer, pictures, NULL, 0, 4, &score), FV_OK);
    fv_trainer_free(trainer);
    fv_net_free(net);
    return score.loss;
}

static void a_loss_goes_through_the_main_output(void **state) {
    (void)state;
    double got[3];
    for (int i = 0; i < 3; i++) {
        fv_net *net = i < 2 ? net_with_side(i, train) : net_without();
        fv_net *source = net_with_side(false, train);
        char path[512];
        copy_weights(source, net);
        snprintf(path, sizeof path, "%s", in_folder("through.safetensors"));
        assert_int_equal(fv_save(net, path), FV_OK);
        got[i] = loss_through(path);
        fv_net_free(source);
        fv_net_free(net);
    }
    assert_true(isfinite(got[2]) && got[2] > 0);
    assert_true(got[0] == got[2] && got[1] == got[2]);
}

/* ---- Layers that are the identity at inference ------------------------------------------------
 */

static const char with_noise[] = "input 10x10x1 scale=1/255\ngaussian_noise 0.1\n"
                                 "conv 16 3x3 relu\nspatial_dropout 0.2\nmaxpool 2x2\n"
                                 "dropout 0.25\nflatten\ndropout 0.5\ndense 3\ndropout 0.1\n";
static const char noiseless[] = "input 10x10x1 scale=1/255\nconv 16 3x3 relu\nmaxpool 2x2\n"
                                "flatten\ndense 3\n";

static void dropout_and_noise_cost_nothing(void **state) {
    (void)state;
    fv_net *net = parse((const char *[]){with_noise, NULL});
    fv_net *plain = parse((const char *[]){noiseless, NULL});
    copy_weights(net, plain);
    for (int batch = 1; batch < 12; batch += 5) {
        fv_session *with = open_session(net, batch, 2, NULL);
        fv_session *without = open_session(plain, batch, 2, NULL);
        fv_memory a, b;
        fv_session_memory(with, &a);
        fv_session_memory(without, &b);
        assert_int_equal(a.total, b.total);
        assert_int_equal(fv_session_run(with, pictures, batch), FV_OK);
        assert_int_equal(fv_session_run(without, pictures, batch), FV_OK);
        assert_memory_equal(fv_session_output(with, NULL, NULL),
                            fv_session_output(without, NULL, NULL),
                            (size_t)batch * 3 * sizeof(float));
        fv_session_free(with);
        fv_session_free(without);
    }
    for (int n = 0; n < fv_layer_count(net); n++) {
        fv_layer_info info;
        assert_int_equal(fv_layer_describe(net, n, &info), FV_OK);
        bool none = strstr(info.type, "dropout") || strstr(info.type, "noise") ||
                    strcmp(info.type, "flatten") == 0;
        assert_int_equal(info.activations, none ? 0 : (int64_t)fv_shape_count(&info.output));
    }
    fv_net_free(net);
    fv_net_free(plain);
}

/* A view has no activation: before it is as after it. */
static void views_can_be_kept(void **state) {
    (void)state;
    fv_net *net = parse((const char *[]){with_noise, NULL});
    static const char *const names[] = {"gaussian_noise1", "spatial_dropout1.pre", "conv1",
                                        "dropout1",        "flatten1.pre",         "dropout2.pre",
                                        "maxpool1",        "dropout3.pre",         NULL};
    fv_session *session = open_session(net, 2, 2, names);
    assert_int_equal(fv_session_run(session, pictures, 2), FV_OK);
    const float *pool = fv_session_output(session, "maxpool1", NULL);
    for (int i = 3; i < 6; i++)
        assert_memory_equal(pool, fv_session_output(session, names[i], NULL),
                            2 * 4 * 4 * 16 * sizeof(float));
    assert_memory_equal(fv_session_output(session, "conv1", NULL),
                        fv_session_output(session, "spatial_dropout1.pre", NULL),
                        2 * 8 * 8 * 16 * sizeof(float));
    assert_memory_equal(fv_session_output(session, "dropout3.pre", NULL),
                        fv_session_output(session, NULL, NULL), 2 * 3 * sizeof(float));
    const float *noise = fv_session_output(session, "gaussian_noise1", NULL);
    for (int i = 0; i < 2 * VALUES; i++)
        assert_true(noise[i] == (float)((double)pictures[i] * (double)(float)(1 / 255.)) ||
                    fabsf(noise[i] - pictures[i] / 255) <= 1e-6F);
    fv_session_free(session);
    fv_net_free(net);
}

/* The lecture's sum, without its slip: 15,237,608 numbers of a picture, not 24M. */
static void activations_of_vgg16(void **state) {
    (void)state;
    static const int blocks[][2] = {{2, 64}, {2, 128}, {3, 256}, {3, 512}, {3, 512}};
    fv_net *net = fv_net_new();
    fv_tensor x = fv_input(net, .shape = {2, {224, 224}, 3});
    for (int b = 0; b < 5; b++) {
        for (int i = 0; i < blocks[b][0]; i++)
            x = fv_conv(net, x, .filters = blocks[b][1], .kernel = {3}, .padding = FV_SAME,
                        .activation = FV_RELU);
        x = fv_maxpool(net, x, .size = {2});
    }
    x = fv_flatten(net, x);
    for (int i = 0; i < 2; i++) {
        x = fv_dense(net, x, .units = 4096, .activation = FV_RELU);
        x = fv_dropout(net, x, .rate = 0.5);
    }
    x = fv_dense(net, x, .units = 1000, .activation = FV_SOFTMAX);
    assert_true(x >= 0);
    int64_t activations = 0; /* known without the weights */
    for (int n = 0; n < fv_layer_count(net); n++) {
        fv_layer_info info;
        assert_int_equal(fv_layer_describe(net, n, &info), FV_OK);
        activations += info.activations;
    }
    assert_int_equal(activations, 15237608);
    assert_int_equal(fv_parameter_count(net), 138357544);
    fv_net_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(side_layers_only_train),
        cmocka_unit_test(inference_is_that_of_the_net_without),
        cmocka_unit_test(training_adds_the_loss_that_tests_leave_out),
        cmocka_unit_test(the_side_teaches),
        cmocka_unit_test(its_target_is_asked_for_in_training_only),
        cmocka_unit_test(one_loss_must_not_be_auxiliary),
        cmocka_unit_test(a_metric_needs_its_layers),
        cmocka_unit_test(a_metric_knows_the_auxiliary_loss),
        cmocka_unit_test(a_tap_runs_what_it_needs),
        cmocka_unit_test(what_does_not_run_need_not_fit),
        cmocka_unit_test(outputs_stand_in_the_order_of_layers),
        cmocka_unit_test(a_named_output_is_the_main_one),
        cmocka_unit_test(outputs_from_c),
        cmocka_unit_test(model_files_keep_it_all),
        cmocka_unit_test(many_outputs_are_printed),
        cmocka_unit_test(training_resumes),
        cmocka_unit_test(a_loss_goes_through_the_main_output),
        cmocka_unit_test(dropout_and_noise_cost_nothing),
        cmocka_unit_test(views_can_be_kept),
        cmocka_unit_test(activations_of_vgg16),
    };
    return cmocka_run_group_tests(tests, set_up, remove_test_folder);
}
