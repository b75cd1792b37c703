/* Every schedule trains: through program, runtime and transport it gives the loss and gradients of
 * a run without a pipeline, and the losses that PyTorch gives for the same model and data. */
#include "tests/exec/pipeline_support.h"

#include <math.h>

/* ---- every schedule ---- */

enum { MODEL_LAYERS = 8, MOST_MICROBATCHES = 32, STAGES_A_RANK_MOST = 4 };

/* Unpipelined runs, by number of microbatches, made when asked for. */
struct references {
    enum model_kind kind;
    bool made[MOST_MICROBATCHES + 1];
    struct pipeline runs[MOST_MICROBATCHES + 1];
    double losses[MOST_MICROBATCHES + 1];
};

struct tally {
    int32_t schedules, bitwise, ascending, bidirectional, offloading;
    double worst;
};

static struct pp_transformer_config config_of(enum model_kind kind, int32_t microbatches) {
    struct pp_transformer_config c = small_config(kind, MODEL_LAYERS, microbatches);
    c.length = 5;
    return c;
}

static const struct pipeline *reference_of(struct references *r, int32_t microbatches) {
    cr_assert_leq(microbatches, MOST_MICROBATCHES);
    if (!r->made[microbatches]) {
        struct pp_transformer_config c = config_of(r->kind, microbatches);
        open_pipeline(&r->runs[microbatches], &c, 1);
        r->losses[microbatches] = run_step(&r->runs[microbatches], 0, false, true);
        r->made[microbatches] = true;
    }
    return &r->runs[microbatches];
}

static void close_references(struct references *r) {
    for (int32_t m = 0; m <= MOST_MICROBATCHES; m++) {
        if (r->made[m]) {
            close_pipeline(&r->runs[m]);
        }
    }
}

/* Does every stage take its microbatches in, in I and in W, in the order of their numbers? Then its
 * sums are those of a run without a pipeline. */
static bool is_ascending(const struct pp_sched *s) {
    int32_t last[2][TRAINING_STAGES];
    memset(last, -1, sizeof last);
    for (int32_t i = 0; i < s->action_count; i++) {
        const struct pp_action *a = &s->actions[i];
        for (int32_t part = 0; part < 2; part++) {
            if (a->type == PP_B || a->type == (part == 0 ? PP_I : PP_W)) {
                if (a->microbatch < last[part][a->stage]) {
                    return false;
                }
                last[part][a->stage] = a->microbatch;
            }
        }
    }
    return s->part_count == s->stage_count;
}

/* Both copies of a stage hold the same parameters and gradients, to the bit. */
static void expect_equal_copies(const struct training *t, const char *what) {
    int32_t parts = t->lowered->part_count;
    struct tensors first = list_tensors(t->contexts, t->lowered->rank_count, parts, false);
    struct tensors all = list_tensors(t->contexts, t->lowered->rank_count, parts, true);
    int32_t copies = 0;
    for (int32_t i = 0; i < all.count; i++) {
        const struct pp_state *copy = &all.states[i];
        const struct pp_state *state = find_tensor(&first, copy->name);
        if (copy->data != state->data) {
            struct difference d = {.bitwise = true};
            compare_floats(copy->data, state->data, state->count, &d);
            if (state->grad != NULL) {
                compare_floats(copy->grad, state->grad, state->count, &d);
            }
            cr_assert(d.bitwise, "%s: copies of %s differ by %g", what, state->name, d.relative);
            copies++;
        }
    }
    cr_assert_eq(copies, parts == t->lowered->stage_count ? 0 : first.count);
    free(first.states);
    free(all.states);
}

static struct difference compare_grads(const struct tensors *a, const struct tensors *b) {
    struct difference d = {.bitwise = true};
    cr_assert_eq(a->count, b->count);
    for (int32_t i = 0; i < a->count; i++) {
        if (a->states[i].grad != NULL) {
            const struct pp_state *other = find_tensor(b, a->states[i].name);
            compare_floats(a->states[i].grad, other->grad, other->count, &d);
        }
    }
    return d;
}

/* @return the loss; the run stays open */
static double run_order(struct training *t, enum model_kind kind, const struct pp_sched *order,
                        struct training_options options) {
    int32_t directions = order->stage_count / order->part_count;
    int32_t microbatches = order->microbatch_count * directions;
    struct pp_transformer_config c = config_of(kind, microbatches);
    options.reduce_every = directions == 1 ? microbatches % 3 : 0;
    open_training(t, &c, order, &options);
    return train_step(t, 0);
}

static void expect_same_as_unpipelined(struct references *r, const struct pp_sched *order,
                                       const char *what, struct tally *tally) {
    int32_t microbatches = order->microbatch_count * (order->stage_count / order->part_count);
    const struct pipeline *whole = reference_of(r, microbatches);
    struct training alone;
    struct training threads;
    double loss = run_order(&alone, r->kind, order, (struct training_options){0});
    double threads_loss = run_order(&threads, r->kind, order,
                                    (struct training_options){.threads = true, .casts = true});
    struct tensors a = list_tensors(alone.contexts, order->rank_count, order->part_count, false);
    struct tensors b = list_tensors(threads.contexts, order->rank_count, order->part_count, false);
    struct tensors expected = list_tensors(whole->ranks, 1, 1, false);
    cr_assert(compare_tensors(&b, &a).bitwise && loss == threads_loss, "%s: threads differ", what);
    struct difference d = compare_grads(&a, &expected);
    bool ascending = is_ascending(order);
    double loss_error = fabs(loss - r->losses[microbatches]) / loss;
    if (ascending) {
        d.bitwise = d.bitwise && compare_tensors(&a, &expected).bitwise;
        cr_assert(d.bitwise, "%s: off by %g", what, d.relative);
    }
    bool one_direction = order->part_count == order->stage_count; /* else two sums are added */
    cr_assert(d.relative <= 1e-6 && loss_error <= (one_direction ? 0 : 1e-12),
              "%s: off by %g, loss by %g", what, d.relative, loss_error);
    expect_equal_copies(&alone, what);
    tally->schedules++;
    tally->bitwise += d.bitwise;
    tally->ascending += ascending;
    tally->bidirectional += order->part_count != order->stage_count;
    tally->offloading += alone.host_bytes > 0;
    tally->worst = d.relative > tally->worst ? d.relative : tally->worst;
    free(a.states);
    free(b.states);
    free(expected.states);
    close_training(&alone);
    close_training(&threads);
}

/* Orders of a schedule by its name, at 2 and 4 ranks: all, or where that takes long the first and
 * some. @return how many */
static int32_t run_schedule(struct references *r, const struct pp_schedule_info *info,
                            struct tally *tally) {
    int32_t before = tally->schedules;
    int32_t met = 0;
    for (int32_t ranks = 2; ranks <= 4; ranks += 2) {
        for (int32_t v = 1; v <= STAGES_A_RANK_MOST; v++) {
            for (int32_t m = ranks; m <= 3 * ranks; m += ranks) {
                struct pp_gen_config config = {
                    .rank_count = ranks, .stages_per_rank = v, .microbatch_count = m};
                struct pp_sched *order = NULL;
                if (pp_schedule_generate(info, &config, &order, NULL) != PP_OK) {
                    continue;
                }
                if (met++ % CASE_STEP == 0) {
                    char what[96];
                    snprintf(what, sizeof what, "%s pp %d v %d m %d", info->name, ranks, v, m);
                    expect_same_as_unpipelined(r, order, what, tally);
                }
                pp_sched_destroy(order);
            }
        }
    }
    return tally->schedules - before;
}

static void run_all_schedules(enum model_kind kind) {
    struct references *r = calloc(1, sizeof *r);
    struct tally tally = {0};
    r->kind = kind;
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        if (!info->takes_slices) { /* refused: see transformer::schedules_that_do_not_fit */
            cr_assert_gt(run_schedule(r, info, &tally), 0, "%s did not run", info->name);
        }
    }
    printf("model %d: %d orders, %d bitwise as without a pipeline (%d accumulate in ascending "
           "order), the others off by at most %.2g; %d with two copies, %d offload\n",
           (int)kind, tally.schedules, tally.bitwise, tally.ascending, tally.worst,
           tally.bidirectional, tally.offloading);
    cr_assert(tally.bidirectional > 0 && tally.offloading > 0 && tally.ascending > 0 &&
              tally.ascending < tally.schedules);
    close_references(r);
    free(r);
}

Test(training, every_schedule_gives_the_gradients_of_no_pipeline) {
    run_all_schedules(DENSE_MODEL);
}

Test(training, every_schedule_trains_a_mixture) {
    run_all_schedules(MOE_SHARED_MODEL);
}

Test(training, flushes_are_one_step) {
    struct references *r = calloc(1, sizeof *r);
    struct tally tally = {0};
    static const char *const names[] = {"1F1B", "ZBVZeroBubble", "DualPipe"};
    for (int32_t i = 0; i < 3; i++) {
        struct pp_sched *flush = make_schedule(names[i], 2, i == 0 ? 1 : 2, 4);
        struct pp_sched *step = NULL;
        cr_assert_eq(pp_sched_repeat(flush, 3, &step, NULL), PP_OK);
        expect_same_as_unpipelined(r, step, names[i], &tally);
        pp_sched_destroy(step);
        pp_sched_destroy(flush);
    }
    close_references(r);
    free(r);
}

/* ---- PyTorch ---- */

enum { TORCH_STEPS = 30 };

/* As tests/peer/train_reference.py says. */
static struct pp_transformer_config torch_config(bool moe) {
    struct pp_transformer_config c = {
        .shape = {.layers = 4,
                  .hidden = 64,
                  .vocab = 96,
                  .heads = 4,
                  .kv_heads = 2,
                  .head_dim = 16,
                  .ffn = 160,
                  .rope_theta = 10000,
                  .norm_epsilon = 1e-5f},
        .sequences = 2,
        .length = 32,
        .microbatches = 4,
        .seed = 8,
        .scale_in_schedule = true,
        .optimizer = {.learning_rate = 3e-3f,
                      .beta1 = 0.9f,
                      .beta2 = 0.95f,
                      .epsilon = 1e-8f,
                      .weight_decay = 0.1f},
    };
    if (moe) {
        c.shape.moe[0] = 0xe;
        c.shape.experts = 8;
        c.shape.experts_per_token = 2;
        c.shape.expert_ffn = 48;
        c.shape.shared_ffn = 64;
    } else {
        c.shape.window = 8;
        c.shape.windowed[0] = 0xa;
    }
    return c;
}

struct torch_losses {
    double single[TORCH_STEPS], precise[TORCH_STEPS]; /* in float32, in float64 */
};

static struct torch_losses read_torch_losses(const char *model) {
    struct torch_losses losses;
    char *text = NULL;
    size_t size = 0;
    struct pp_err err = {0};
    cr_assert_eq(pp_read_file(PP_TEST_DIR "/exec/torch_losses.tsv", 1 << 20, &text, &size, &err),
                 PP_OK, "%s", err.message);
    int32_t found = 0;
    for (char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        char name[16];
        int step;
        double single;
        double precise;
        if (sscanf(line, "%15s %d %lf %lf", name, &step, &single, &precise) == 4 &&
            strcmp(name, model) == 0) {
            cr_assert_eq(step, found);
            losses.single[found] = single;
            losses.precise[found++] = precise;
        }
    }
    cr_assert_eq(found, TORCH_STEPS);
    free(text);
    return losses;
}

static void keep_worst(double *worst, double a, double b) {
    double error = fabs(a - b) / b;
    *worst = error <= *worst ? *worst : error;
}

static void expect_torch_losses(bool moe, const char *schedule, int32_t v, bool scale) {
    const char *model = moe ? "moe" : "dense";
    struct torch_losses expected = read_torch_losses(model);
    struct pp_transformer_config c = torch_config(moe);
    c.scale_in_schedule = scale;
    struct pp_sched *order = make_schedule(schedule, 2, v, 4);
    struct training t;
    struct training_options options = {.casts = scale};
    open_training(&t, &c, order, &options);
    double worst = 0;         /* ours from PyTorch's, both float32 */
    double worst_precise = 0; /* ours from PyTorch's in float64 */
    double worst_torch = 0;   /* PyTorch's float32 from its float64 */
    double loss = 0;
    for (int32_t step = 0; step < TORCH_STEPS; step++) {
        loss = train_step(&t, step);
        keep_worst(&worst, loss, expected.single[step]);
        keep_worst(&worst_precise, loss, expected.precise[step]);
        keep_worst(&worst_torch, expected.single[step], expected.precise[step]);
        cr_assert_leq(worst, 1e-4, "%s step %d: loss %.9g, PyTorch %.9g", schedule, step, loss,
                      expected.single[step]);
    }
    printf("%s %s: losses off from PyTorch's float32 by at most %.2g, from its float64 by %.2g; it "
           "from itself by %.2g\n",
           model, schedule, worst, worst_precise, worst_torch);
    cr_assert_lt(loss, 0.6 * expected.single[0]); /* it learns */
    cr_assert_lt(worst_torch, 1e-5); /* else the seed says nothing: see train_reference.py */
    close_training(&t);
    pp_sched_destroy(order);
}

Test(training, dense_losses_are_pytorchs) {
    expect_torch_losses(false, "1F1B", 1, true);
    expect_torch_losses(false, "ZBVZeroBubble", 2, false);
}

Test(training, mixture_losses_are_pytorchs) {
    expect_torch_losses(true, "1F1B", 1, false);
    expect_torch_losses(true, "ZBH1", 1, true);
}
