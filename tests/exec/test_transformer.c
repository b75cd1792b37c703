/* The transformer run by hand: its gradients are those of an independent model in double precision,
 * and neither splits into stages nor I + W instead of B change a bit. */
#include "tests/exec/train_support.h"
#include "tests/exec/transformer_oracle.h"

static const double step_of_difference = 1e-5;

struct sample {
    double loss;
    int32_t microbatches;
    int32_t *ids, *targets; /* [microbatches][sequences * length] */
};

static struct sample draw_sample(const struct pp_transformer *t,
                                 const struct pp_transformer_config *c) {
    int32_t tokens = c->sequences * c->length;
    size_t bytes = (size_t)(c->microbatches * tokens) * sizeof(int32_t);
    struct sample s = {
        .microbatches = c->microbatches, .ids = malloc(bytes), .targets = malloc(bytes)};
    int32_t sequence[64];
    for (int32_t i = 0; i < c->microbatches * c->sequences; i++) {
        pp_draw_tokens(t, 0, i / c->sequences, i % c->sequences, sequence);
        memcpy(s.ids + i * c->length, sequence, (size_t)c->length * sizeof(int32_t));
        memcpy(s.targets + i * c->length, sequence + 1, (size_t)c->length * sizeof(int32_t));
    }
    return s;
}

static double sample_loss(const struct oracle *o, const struct sample *s) {
    int32_t tokens = o->sequences * o->length;
    double sum = 0;
    for (int32_t m = 0; m < s->microbatches; m++) {
        sum += oracle_loss(o, s->ids + m * tokens, s->targets + m * tokens);
    }
    return sum / s->microbatches;
}

static double slope(struct oracle *o, const struct sample *s, double *value) {
    double at = *value;
    *value = at + step_of_difference;
    double above = sample_loss(o, s);
    *value = at - step_of_difference;
    double below = sample_loss(o, s);
    *value = at;
    return (above - below) / (2 * step_of_difference);
}

/* @return |gradient - slope| / |slope| over some entries of a tensor */
static double gradient_error(struct oracle *o, const struct sample *s, const struct pp_state *state,
                             struct oracle_tensor *t, uint64_t *seed) {
    double off = 0;
    double size = 0;
    int32_t count = t->count < 24 / CASE_STEP + 4 ? (int32_t)t->count : 24 / CASE_STEP + 4;
    for (int32_t i = 0; i < count; i++) {
        int64_t at = count == t->count ? i : random_below(seed, (int32_t)t->count);
        double expected = slope(o, s, &t->data[at]);
        off += pow((double)state->grad[at] - expected, 2);
        size += expected * expected;
    }
    return size == 0 ? sqrt(off) : sqrt(off / size);
}

static void expect_gradients(enum model_kind kind, bool scale_in_schedule) {
    struct pp_transformer_config c = small_config(kind, 3, 2);
    c.scale_in_schedule = scale_in_schedule;
    struct pipeline p;
    open_pipeline(&p, &c, 2);
    double loss = run_step(&p, 0, true, false);
    struct tensors t = list_tensors(p.ranks, p.stages, p.stages, false);
    struct oracle o = {.shape = &c.shape, .sequences = c.sequences, .length = c.length};
    for (int32_t i = 0; i < t.count; i += 3) {
        oracle_add(&o, t.states[i].name, t.states[i].data, t.states[i].count);
    }
    struct sample s = draw_sample(p.transformer, &c);
    double expected = sample_loss(&o, &s);
    cr_assert_lt(fabs(loss - expected) / expected, 1e-6, "loss %.9g, expected %.9g", loss,
                 expected);
    double worst = 0;
    uint64_t seed = 5;
    for (int32_t i = 0; i < o.tensor_count; i++) {
        double error = gradient_error(&o, &s, &t.states[3 * i], &o.tensors[i], &seed);
        cr_assert_lt(error, 1e-5, "%s: gradient off by %.3g", o.tensors[i].name, error);
        worst = error > worst ? error : worst;
    }
    printf("model %d: %d tensors, loss off by %.2g, worst gradient by %.2g\n", (int)kind,
           o.tensor_count, fabs(loss - expected) / expected, worst);
    free(s.ids);
    free(s.targets);
    free(t.states);
    oracle_free(&o);
    close_pipeline(&p);
}

Test(transformer, gradients_dense) {
    expect_gradients(DENSE_MODEL, true);
}

Test(transformer, gradients_mixture_with_shared_expert) {
    expect_gradients(MOE_SHARED_MODEL, false);
}

Test(transformer, gradients_mixture) {
    expect_gradients(MOE_MODEL, true);
}

/* Three steps with the optimizer, so that parameters and moments count as well. */
static void train_by_hand(struct pipeline *p, const struct pp_transformer_config *c, int32_t stages,
                          bool split, double losses[3]) {
    open_pipeline(p, c, stages);
    for (int32_t step = 0; step < 3; step++) {
        losses[step] = run_step(p, step, split, true);
    }
}

Test(transformer, neither_stages_nor_split_backwards_change_a_bit) {
    for (int32_t kind = 0; kind < MODEL_KIND_COUNT; kind++) {
        struct pp_transformer_config c = small_config(kind, 4, 3);
        struct pipeline whole;
        double expected[3];
        train_by_hand(&whole, &c, 1, false, expected);
        struct tensors a = list_tensors(whole.ranks, 1, 1, false);
        for (int32_t stages = 1; stages <= 6; stages++) { /* 5 and 6: some hold no layer */
            for (int32_t split = 0; split < 2; split++) {
                struct pipeline p;
                double losses[3];
                train_by_hand(&p, &c, stages, split == 1, losses);
                struct tensors b = list_tensors(p.ranks, stages, stages, false);
                struct difference d = compare_tensors(&a, &b);
                cr_assert(d.bitwise, "model %d, %d stages, split %d: off by %g", kind, stages,
                          split, d.relative);
                cr_assert_eq(memcmp(losses, expected, sizeof losses), 0);
                free(b.states);
                close_pipeline(&p);
            }
        }
        cr_assert(isfinite(expected[2]));
        free(a.states);
        close_pipeline(&whole);
    }
}
