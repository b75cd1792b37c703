/* Routing on the host worked out by hand: order, ties, and experts that nobody chose. */
#include "exec/host/host.h"

#include <criterion/criterion.h>
#include <math.h>

enum { TOKENS = 4, EXPERTS = 5, CHOSEN = 2, ROWS = TOKENS * CHOSEN };

struct routed {
    struct pp_routing r;
    float probability[TOKENS * EXPERTS], weight[ROWS];
    int32_t choice[ROWS], row[ROWS], token[ROWS], offsets[EXPERTS + 1];
    struct pp_host *host;
};

static void route(struct routed *x, const float *logits) {
    x->r = (struct pp_routing){.tokens = TOKENS,
                               .experts = EXPERTS,
                               .per_token = CHOSEN,
                               .probability = x->probability,
                               .weight = x->weight,
                               .choice = x->choice,
                               .row = x->row,
                               .token = x->token,
                               .offsets = x->offsets};
    cr_assert_eq(pp_host_create(&x->host, NULL), PP_OK);
    pp_host_ops.route(x->host, &x->r, logits);
}

static void expect_ints(const char *what, const int32_t *got, const int32_t *expected,
                        int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        cr_expect_eq(got[i], expected[i], "%s[%d] is %d, expected %d", what, i, got[i],
                     expected[i]);
    }
}

/* Expert 2 has no rows; tokens of an expert are in ascending order. */
Test(kernels_moe, tokens_are_sorted_by_expert) {
    static const float logits[] = {0, 3, -9, 1, 2, 5, 1, -9, 4, 2, 0, 1, -9, 2, 3, 4, 5, -9, 0, 0};
    static const int32_t choice[] = {1, 4, 0, 3, 4, 3, 1, 0};
    static const int32_t offsets[] = {0, 2, 4, 4, 6, 8};
    static const int32_t token[] = {1, 3, 0, 3, 1, 2, 0, 2};
    static const int32_t row[] = {2, 6, 0, 4, 7, 5, 3, 1};
    struct routed x;
    route(&x, logits);
    expect_ints("choice", x.choice, choice, ROWS);
    expect_ints("offsets", x.offsets, offsets, EXPERTS + 1);
    expect_ints("token", x.token, token, ROWS);
    expect_ints("row", x.row, row, ROWS);
    cr_expect_float_eq(x.weight[0], 0.731058579, 1e-6); /* 1 / (1 + e^-1) */
    cr_expect_float_eq(x.weight[1], 0.268941421, 1e-6);
    pp_host_destroy(x.host);
}

Test(kernels_moe, ties_go_to_the_lower_number) {
    static const float logits[] = {0, 0, 0, 0, 0, 1, 2, 2, 2, 1, 7, 1, 1, 1, 7, 3, 3, 4, 3, 3};
    static const int32_t choice[] = {0, 1, 1, 2, 0, 4, 2, 0};
    struct routed x;
    route(&x, logits);
    expect_ints("choice", x.choice, choice, ROWS);
    for (int32_t i = 0; i < 6; i++) {
        cr_expect_eq(x.weight[i], 0.5F);
    }
    pp_host_destroy(x.host);
}

/* Logits that differ by more than an exponential can show: the far ones have probability 0, and
 * tie. */
Test(kernels_moe, far_logits_neither_overflow_nor_give_nan) {
    static const float logits[] = {3e38F, -3e38F, 0, 1, -3e38F, -1e4F, -2e4F, -3e4F, -4e4F, -5e4F,
                                   1e4F,  1e4F,   0, 0, 1e4F,   -500,  0,     500,   0,     0};
    static const int32_t choice[] = {0, 1, 0, 1, 0, 1, 2, 0};
    struct routed x;
    route(&x, logits);
    expect_ints("choice", x.choice, choice, ROWS);
    for (int32_t t = 0; t < TOKENS; t++) {
        float sum = x.weight[2 * t] + x.weight[2 * t + 1];
        cr_expect_float_eq(sum, 1, 1e-6, "token %d's weights add up to %g", t, (double)sum);
    }
    pp_host_destroy(x.host);
}

/* Not numbers in, no crash: a training run that diverges is told by its loss. */
Test(kernels_moe, nan_still_gives_a_valid_order) {
    float logits[TOKENS * EXPERTS];
    struct routed x;
    for (int32_t i = 0; i < TOKENS * EXPERTS; i++) {
        logits[i] = i % 3 == 0 ? NAN : (float)i;
    }
    route(&x, logits);
    cr_expect_eq(x.offsets[EXPERTS], ROWS);
    for (int32_t i = 0; i < ROWS; i++) {
        cr_expect(x.choice[i] >= 0 && x.choice[i] < EXPERTS);
        cr_expect_eq(x.token[x.row[i]], i / CHOSEN);
    }
    pp_host_destroy(x.host);
}
