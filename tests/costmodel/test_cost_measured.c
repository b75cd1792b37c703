/* How the uncalibrated costs compare with published step times, to catch mistakes of magnitude.
 * Calibration is later work; so are rows with options the formulas do not know. */
#include "costmodel/cost.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 32, MAX_ROWS = 512 };

enum column {
    ID = 0,
    MODEL = 2,
    LAYERS,
    HIDDEN,
    FFN,
    HEADS,
    KV_HEADS,
    VOCAB,
    SEQ,
    MOE,
    GPU,
    GPUS,
    TP,
    PP,
    VP,
    CP,
    EP,
    DP,
    GBS,
    MBS,
    SCHEDULE,
    RECOMPUTE,
    DTYPE,
    OPTIMIZER,
    METRIC,
    VALUE,
    UNIT,
    CONFIDENCE,
};

static int split_cells(char *line, char *cells[COLUMNS]) {
    int n = 0;
    for (char *at = line; at != NULL && n < COLUMNS; n++) {
        cells[n] = at;
        at = strchr(at, '\t');
        if (at != NULL) {
            *at++ = '\0';
        }
    }
    return n;
}

static int64_t number(const char *cell, int64_t absent) {
    while (*cell == '~') {
        cell++;
    }
    return *cell >= '0' && *cell <= '9' ? atoll(cell) : absent;
}

static const char *machine_of(const char *gpu) {
    if (strstr(gpu, "A100") != NULL) {
        return "a100-80-sxm";
    }
    if (strstr(gpu, "B200") != NULL && strstr(gpu, "GB200") == NULL) {
        return "b200";
    }
    return strstr(gpu, "H100") != NULL ? "h100-sxm" : NULL;
}

/* Dense, one schedule of the 1F1B family, everything needed stated. */
static bool wanted(char *cells[COLUMNS]) {
    return strcmp(cells[METRIC], "iter_time") == 0 && cells[MOE][0] == '\0' &&
           machine_of(cells[GPU]) != NULL && strncmp(cells[DTYPE], "fp8", 3) != 0 &&
           number(cells[LAYERS], 0) > 0 && number(cells[HEADS], 0) > 0 &&
           number(cells[MBS], 0) > 0 && number(cells[GBS], 0) > 0 && number(cells[DP], 0) > 0 &&
           number(cells[VOCAB], 0) > 0 && number(cells[PP], 0) > 0 && number(cells[TP], 16) <= 8 &&
           number(cells[LAYERS], 0) % number(cells[PP], 1) == 0;
}

static struct pp_model model_of(char *cells[COLUMNS]) {
    struct pp_model m = {.layer_count = (int32_t)number(cells[LAYERS], 0),
                         .hidden = number(cells[HIDDEN], 0),
                         .heads = number(cells[HEADS], 0),
                         .vocab = number(cells[VOCAB], 0)};
    m.kv_heads = number(cells[KV_HEADS], m.heads);
    m.ffn = number(cells[FFN], 4 * m.hidden);
    m.gated = strstr(cells[MODEL], "lama") != NULL;
    m.head_dim = m.hidden / m.heads;
    return m;
}

static struct pp_train train_of(char *cells[COLUMNS]) {
    struct pp_train t = {.seq_len = number(cells[SEQ], 0),
                         .microbatch_size = (int32_t)number(cells[MBS], 0),
                         .tp = (int32_t)number(cells[TP], 1),
                         .cp = (int32_t)number(cells[CP], 1),
                         .ep = 1,
                         .dp = (int32_t)number(cells[DP], 1),
                         .pp = (int32_t)number(cells[PP], 1),
                         .state_dtype = PP_DTYPE_FP32,
                         .reduce_dtype = PP_DTYPE_FP32,
                         .defer_grad_sync = true,
                         .fused_cross_entropy = true};
    t.sequence_parallel =
        strncmp(cells[ID], "simumax", 7) == 0 ||
        (strstr(cells[RECOMPUTE], "SP") != NULL && strstr(cells[RECOMPUTE], "no SP") == NULL);
    if (strncmp(cells[RECOMPUTE], "full", 4) == 0) {
        t.recompute = PP_RECOMPUTE_FULL;
    } else if (strncmp(cells[RECOMPUTE], "sel", 3) == 0) {
        t.recompute = PP_RECOMPUTE_SELECTIVE;
    }
    return t;
}

/* Seconds of an even 1F1B or interleaved step: m turns of the slowest rank, the others once. */
static double predict_s(char *cells[COLUMNS]) {
    struct pp_hardware hw;
    cr_assert_eq(pp_hardware_load(machine_of(cells[GPU]), &hw, NULL), PP_OK);
    struct pp_model m = model_of(cells);
    struct pp_train t = train_of(cells);
    struct pp_cost_table *table = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_cost_table_create(&m, &hw, &t, &table, &err), PP_OK, "%s: %s", cells[ID],
                 err.message);
    double sum = 0, slowest = 0;
    struct pp_stage_cost c, heaviest = {0};
    for (int32_t r = 0; r < t.pp; r++) {
        int32_t each = m.layer_count / t.pp;
        pp_cost_stage(table,
                      &(struct pp_stage_shape){.first_layer = r * each,
                                               .layer_count = each,
                                               .has_embedding = r == 0,
                                               .has_head = r == t.pp - 1},
                      &c);
        double ns = (double)(c.f_ns + c.i_ns + c.w_ns);
        sum += ns;
        if (ns > slowest) {
            slowest = ns;
            heaviest = c;
        }
    }
    struct pp_step_cost step;
    pp_cost_step(table, &heaviest, &step);
    pp_cost_table_destroy(table);
    double microbatches = (double)(number(cells[GBS], 0) / t.dp / t.microbatch_size);
    double chunks = (double)number(cells[VP], 1);
    double p2p = (double)(heaviest.recv_ns + heaviest.recv_grad_ns);
    return (microbatches * (slowest + (t.pp > 1 ? chunks * p2p : 0)) + (sum - slowest) / chunks +
            (double)(step.grad_sync_ns + step.param_gather_ns + step.optimizer_ns)) /
           1e9;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

Test(cost_measured, dense_step_times_are_of_the_right_size) {
    FILE *f = fopen(PP_SHARED_DIR "/golden/measured.tsv", "r");
    if (f == NULL) {
        cr_skip_test("../shared is not there");
    }
    char line[8192];
    char *cells[COLUMNS];
    double errors[MAX_ROWS], bias = 0;
    int n = 0;
    while (n < MAX_ROWS && fgets(line, sizeof line, f) != NULL) {
        if (split_cells(line, cells) <= CONFIDENCE || !wanted(cells)) {
            continue;
        }
        double measured = atof(cells[VALUE]) * (strcmp(cells[UNIT], "ms") == 0 ? 1e-3 : 1);
        double predicted = predict_s(cells);
        printf("%-50.50s tp%s pp%s mbs%s %9.3f s, measured %9.3f s: %+6.1f %%\n", cells[ID],
               cells[TP], cells[PP], cells[MBS], predicted, measured,
               100 * (predicted / measured - 1));
        bias += predicted / measured - 1;
        errors[n++] = fabs(predicted / measured - 1);
    }
    fclose(f);
    cr_assert_gt(n, 40);
    qsort(errors, (size_t)n, sizeof *errors, by_value);
    printf("%d rows: median error %.1f %%, 90th percentile %.1f %%, worst %.1f %%, bias %+.1f %%\n",
           n, 100 * errors[n / 2], 100 * errors[n * 9 / 10], 100 * errors[n - 1], 100 * bias / n);
    cr_expect_lt(errors[n / 2], 0.25);
    cr_expect_lt(errors[n * 9 / 10], 0.6);
}

/* Peak of a rank under Megatron's distributed optimizer: 6 + 12 / dp bytes a parameter, activations
 * of the microbatches in flight, the widest transient, and one bf16 gradient buffer for each
 * distinct linear shape, which Transformer Engine keeps. */
static double peak_bytes(const struct pp_cost_table *table, const struct pp_model *m,
                         const struct pp_train *t, int32_t rank) {
    int32_t each = m->layer_count / t->pp;
    struct pp_stage_cost c;
    pp_cost_stage(table,
                  &(struct pp_stage_shape){.first_layer = rank * each,
                                           .layer_count = each,
                                           .has_embedding = rank == 0,
                                           .has_head = rank == t->pp - 1},
                  &c);
    double h = (double)m->hidden, q = (double)(m->heads * m->head_dim);
    double buffers = h * (q + 2 * (double)(m->kv_heads * m->head_dim)) + q * h +
                     3 * h * (double)m->ffn + (rank == t->pp - 1 ? h * (double)m->vocab : 0);
    return (double)c.param_count * (6 + 12.0 / (t->dp * t->cp)) +
           (double)((t->pp - rank) * c.activation_bytes + c.b_transient_bytes) +
           2 * buffers / t->tp;
}

/* Largest torch.cuda.max_memory_allocated of any rank, GiB: SimuMax v1.2's B200 runs (4dcaae51,
 * docs/b200), Megatron-LM with sequence parallelism, bf16, no recompute, microbatch 1. */
static const struct {
    const char *name;
    int32_t layers;
    int64_t hidden, ffn, heads, kv_heads, seq_len;
    int32_t tp, pp, cp, dp;
    double gib;
} peaks[] = {
    {"llama3_70b_l12_tp1_pp2_dp4_mbc4", 12, 8192, 28672, 64, 8, 4096, 1, 2, 1, 4, 66.55},
    {"llama3_70b_l12_tp4_pp1_dp2_mbc4", 12, 8192, 28672, 64, 8, 4096, 4, 1, 1, 2, 39.07},
    {"llama3_70b_l12_tp8_pp1_dp1_mbc4", 12, 8192, 28672, 64, 8, 4096, 8, 1, 1, 1, 28.29},
    {"llama3_405b_l4_tp2_pp1_dp4_mbc4", 4, 16384, 53248, 128, 16, 4096, 2, 1, 1, 4, 81.59},
    {"llama3_405b_l4_tp8_pp1_dp1_mbc4", 4, 16384, 53248, 128, 16, 4096, 8, 1, 1, 1, 38.57},
    {"llama3_70b_l12_tp2_cp4_pp1_dp1_seq32768_mbc4", 12, 8192, 28672, 64, 8, 32768, 2, 1, 4, 1,
     68.43},
    {"llama3_70b_l12_tp1_cp8_pp1_dp1_seq32768_mbc4", 12, 8192, 28672, 64, 8, 32768, 1, 1, 8, 1,
     104.51},
    {"llama3_405b_l4_tp1_cp8_pp1_dp1_seq32768_mbc4", 4, 16384, 53248, 128, 16, 32768, 1, 1, 8, 1,
     139.22},
    {"llama3_70b_l12_tp1_cp8_pp1_dp1_seq131072_mbc4", 12, 8192, 28672, 64, 8, 131072, 1, 1, 8, 1,
     147.99},
    {"llama3_405b_l4_tp2_cp4_pp1_dp1_seq131072_mbc4", 4, 16384, 53248, 128, 16, 131072, 2, 1, 4, 1,
     118.13},
};

Test(cost_measured, peaks_of_cut_llamas) {
    struct pp_hardware hw;
    cr_assert_eq(pp_hardware_load("b200", &hw, NULL), PP_OK);
    double total = 0;
    const int n = sizeof peaks / sizeof peaks[0];
    for (int i = 0; i < n; i++) {
        struct pp_model m = {.layer_count = peaks[i].layers,
                             .hidden = peaks[i].hidden,
                             .heads = peaks[i].heads,
                             .kv_heads = peaks[i].kv_heads,
                             .head_dim = peaks[i].hidden / peaks[i].heads,
                             .ffn = peaks[i].ffn,
                             .gated = true,
                             .vocab = 128256};
        struct pp_train t = {.seq_len = peaks[i].seq_len,
                             .microbatch_size = 1,
                             .tp = peaks[i].tp,
                             .cp = peaks[i].cp,
                             .ep = 1,
                             .dp = peaks[i].dp,
                             .pp = peaks[i].pp,
                             .sequence_parallel = true,
                             .defer_grad_sync = true,
                             .fused_cross_entropy = true};
        struct pp_cost_table *table = NULL;
        cr_assert_eq(pp_cost_table_create(&m, &hw, &t, &table, NULL), PP_OK);
        double peak = 0;
        for (int32_t r = 0; r < t.pp; r++) {
            peak = fmax(peak, peak_bytes(table, &m, &t, r));
        }
        pp_cost_table_destroy(table);
        double ratio = peak / (peaks[i].gib * 1024 * 1024 * 1024);
        printf("%-45s %+5.2f %%\n", peaks[i].name, 100 * (ratio - 1));
        cr_expect_float_eq(ratio, 1, 0.012, "%s: %.3f", peaks[i].name, ratio);
        total += fabs(ratio - 1);
    }
    printf("%d peaks: mean error %.2f %%\n", n, 100 * total / n);
    cr_expect_lt(total / n, 0.005);
}
