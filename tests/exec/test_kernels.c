/* The host's kernels through the suite that every device has to pass (kernel_suite.h), at each
 * level of vector instructions; and what is the host's alone. */
#include "exec/host/kernels.h"
#include "tests/exec/kernel_suite.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct pp_host *new_host(void) {
    struct pp_host *host = NULL;
    cr_assert_eq(pp_host_create(&host, NULL), PP_OK);
    return host;
}

static void conforms(int32_t level) {
    struct pp_host *host = new_host();
    if (level >= pp_host_level_count() || !pp_host_use_level(host, level)) {
        pp_host_destroy(host);
        cr_skip_test("this processor has fewer levels of vector instructions");
    }
    printf("%s: ", pp_host_level_name(level));
    struct kernel_counts counts = kernel_suite(&pp_host_ops, host, 1e-5);
    cr_expect_eq(counts.failed, 0);
    cr_expect_gt(counts.passed, 5000);
    pp_host_destroy(host);
}

Test(kernels, the_host_conforms) {
    conforms(0);
}

Test(kernels, the_host_conforms_at_the_next_level) {
    conforms(1);
}

Test(kernels, the_host_conforms_at_the_highest_level) {
    conforms(2);
}

Test(kernels, a_context_takes_the_highest_level_that_the_processor_has) {
    struct pp_host *host = new_host();
    const struct pp_device_ops *taken = host->kernels;
    int32_t level = pp_host_level_count() - 1;
    while (!pp_host_use_level(host, level)) {
        level--;
    }
    cr_expect_eq(host->kernels, taken);
    pp_host_destroy(host);
    pp_host_destroy(NULL);
}

Test(kernels, it_says_what_multiplies) {
    char text[128] = "";
    pp_host_describe(text, sizeof text);
    cr_expect(strncmp(text, "OpenBLAS 0.", 11) == 0 || strcmp(text, "built in (slow)") == 0, "%s",
              text);
    pp_host_describe(text, 5);
    cr_expect_eq(strlen(text), 4);
}

/* ---- side by side ---- */

enum { LENGTH = 150, HEADS = 3, DIM = 20, WIDTH = 3 * HEADS * DIM, RUNS = 40 };

struct worker {
    float qkv[LENGTH * WIDTH], o[LENGTH * HEADS * DIM], lse[LENGTH * HEADS], dqkv[LENGTH * WIDTH];
    float alone[LENGTH * WIDTH];
    int different;
};

static void run_once(struct pp_host *host, struct worker *w) {
    const struct pp_attention_shape s = {1, LENGTH, HEADS, HEADS, DIM, 0};
    memset(w->dqkv, 0xFF, sizeof w->dqkv);
    pp_host_ops.attention(host, w->o, w->lse, w->qkv, &s);
    pp_host_ops.attention_grad(host, w->dqkv, w->o, w->o, w->lse, w->qkv, &s);
    pp_host_ops.linear(host, w->dqkv, w->qkv, w->qkv, LENGTH, DIM, WIDTH, true);
}

static void *run_often(void *worker) {
    struct worker *w = worker;
    struct pp_host *host = new_host();
    for (int i = 0; i < RUNS; i++) {
        run_once(host, w);
        w->different += memcmp(w->dqkv, w->alone, sizeof w->alone) != 0;
    }
    pp_host_destroy(host);
    return NULL;
}

Test(kernels, contexts_side_by_side_give_what_they_give_alone) {
    struct worker *w = calloc(2, sizeof *w);
    struct pp_host *host = new_host();
    pthread_t threads[2];
    pp_host_set_threads(1);
    for (int t = 0; t < 2; t++) {
        for (int i = 0; i < LENGTH * WIDTH; i++) {
            w[t].qkv[i] = (float)((i * 7919 + t * 31) % 201 - 100) / 100;
        }
        run_once(host, &w[t]);
        memcpy(w[t].alone, w[t].dqkv, sizeof w[t].alone);
    }
    for (int t = 0; t < 2; t++) {
        cr_assert_eq(pthread_create(&threads[t], NULL, run_often, &w[t]), 0);
    }
    for (int t = 0; t < 2; t++) {
        pthread_join(threads[t], NULL);
        cr_expect_eq(w[t].different, 0);
    }
    cr_expect(memcmp(w[0].alone, w[1].alone, sizeof w[0].alone) != 0);
    pp_host_destroy(host);
    free(w);
}

/* ---- a run that diverges is seen ---- */

/* One NaN or infinity among the inputs, at any place, shows in the results. */
Test(kernels, nan_and_infinity_are_not_lost) {
    enum { COUNT = 37 };
    struct pp_host *host = new_host();
    for (int32_t level = 0; level < pp_host_level_count(); level++) {
        for (int bad = 0; bad < COUNT && pp_host_use_level(host, level); bad++) {
            float x[COUNT];
            float y[COUNT];
            float gamma[COUNT];
            float rstd = 0;
            const int32_t target = 5;
            double loss = 0;
            for (int i = 0; i < COUNT; i++) {
                x[i] = i == bad ? NAN : (float)i / COUNT;
                gamma[i] = 1;
            }
            pp_host_ops.norm(host, y, &rstd, x, gamma, 1, COUNT, 1e-5F);
            cr_expect(isnan(rstd) && isnan(y[0]));
            pp_host_ops.swiglu(host, y, x, 1, COUNT / 2);
            cr_expect(bad == COUNT - 1 || isnan(y[bad % (COUNT / 2)]));
            pp_host_ops.cross_entropy(host, &loss, x, &target, 1, COUNT, 1);
            cr_expect(isnan(loss) && isnan(x[0]), "a NaN at %d gave a loss of %g", bad, loss);
            for (int i = 0; i < COUNT; i++) {
                x[i] = i == bad ? INFINITY : 0;
            }
            loss = 0;
            pp_host_ops.cross_entropy(host, &loss, x, &target, 1, COUNT, 1);
            cr_expect(!isfinite(loss), "infinity at %d gave a loss of %g", bad, loss);
        }
    }
    pp_host_destroy(host);
}

Test(kernels, nan_in_a_query_key_or_value_reaches_who_sees_it) {
    enum { TOKENS = 20, ONE = 16, ROW = 3 * ONE };
    const struct pp_attention_shape s = {1, TOKENS, 1, 1, ONE, 0};
    struct pp_host *host = new_host();
    for (int part = 0; part < 3; part++) {
        float qkv[TOKENS * ROW];
        float o[TOKENS * ONE];
        float lse[TOKENS];
        for (int i = 0; i < TOKENS * ROW; i++) {
            qkv[i] = (float)(i % 7) / 7;
        }
        qkv[9 * ROW + part * ONE + 3] = NAN;
        pp_host_ops.attention(host, o, lse, qkv, &s);
        for (int t = 0; t < TOKENS; t++) {
            bool sees = part == 0 ? t == 9 : t >= 9;
            cr_expect(!sees || isnan(o[t * ONE + 3]), "part %d, token %d: %g", part, t,
                      (double)o[t * ONE + 3]);
        }
    }
    pp_host_destroy(host);
}
