#include "costmodel/split.h"
#include "tests/packed_table.h"

#define PACKED(name) PP_TEST_DIR "/costmodel/" name ".packed"
#define NEMO(name) PP_SHARED_DIR "/golden/nemo/" name ".tsv"

static void put_split(const struct pp_split_request *req, struct pp_text *out) {
    struct pp_split split = {-7, -7};
    enum pp_status status = pp_split_stages(req, &split, NULL);
    if (status == PP_OK) {
        pp_text_printf(out, "%d/%d", split.stage_count, split.stages_per_rank);
    } else if (status == PP_E_SPLIT) {
        pp_text_printf(out, "E_SPLIT:%d/%d", split.stage_count, split.stages_per_rank);
    } else {
        pp_text_puts(out, pp_status_code(status));
        cr_assert(split.stage_count == -7 && split.stages_per_rank == -7);
    }
}

static struct pp_split_request request_of(char *const *keys) {
    return (struct pp_split_request){
        .layer_count = atoi(keys[0]),
        .has_layers_per_stage = strcmp(keys[1], "null") != 0,
        .layers_per_stage = atoi(keys[1]),
        .pp_size = atoi(keys[2]),
    };
}

static void stages_result(char *const *keys, struct pp_text *out) {
    struct pp_split_request req = request_of(keys);
    req.kind = strcmp(keys[3], "single") == 0 ? PP_KIND_SINGLE : PP_KIND_MULTI;
    if (strcmp(keys[4], "null") != 0) {
        cr_assert_eq(pp_round_parse(keys[4], &req.round, NULL), PP_OK);
    }
    put_split(&req, out);
}

static void wide_result(char *const *keys, struct pp_text *out) {
    struct pp_split_request req = request_of(keys);
    for (int cell = 0; cell < 6; cell++) {
        req.kind = cell < 3 ? PP_KIND_SINGLE : PP_KIND_MULTI;
        req.round = (enum pp_round)(cell % 3);
        pp_text_puts(out, cell == 0 ? "" : " ");
        put_split(&req, out);
    }
}

static void layers_result(char *const *keys, struct pp_text *out) {
    int stage_count = atoi(keys[0]);
    int layer_count = atoi(keys[1]);
    if (pp_split_check(layer_count, stage_count, NULL) != PP_OK) {
        pp_text_puts(out, "E_SPLIT");
        return;
    }
    for (int s = 0; s < stage_count; s++) {
        pp_text_printf(out, "%s%d", s == 0 ? "" : ",",
                       pp_split_layers_of(layer_count, stage_count, s));
    }
}

static void stage_ids_result(char *const *keys, struct pp_text *out) {
    int pp = atoi(keys[0]);
    int stage_count = atoi(keys[1]);
    enum pp_placement placement = strcmp(keys[2], "v") == 0 ? PP_PLACE_V : PP_PLACE_LOOP;
    static int32_t stage_rank[4096];
    if (pp_place(placement, pp, stage_count, stage_rank, NULL) != PP_OK ||
        pp_place_check_automodel(placement, pp, stage_count, NULL) != PP_OK) {
        pp_text_puts(out, "E_PLACEMENT");
        return;
    }
    const char *comma = "";
    for (int s = 0; s < stage_count; s++) {
        if (stage_rank[s] == atoi(keys[3])) {
            pp_text_printf(out, "%s%d", comma, s);
            comma = ",";
        }
    }
}

static bool stages_row(char **f, int count, char **keys, struct pp_text *wanted) {
    cr_assert_eq(count, 10);
    memcpy(keys, f, 5 * sizeof *keys);
    if (strcmp(f[5], "ok") == 0) {
        pp_text_printf(wanted, "%s/%s", f[6], f[7]);
    } else if (strcmp(f[5], "split_error") == 0) {
        pp_text_printf(wanted, "E_SPLIT:%s/%s", f[6], f[7]);
    } else {
        pp_text_puts(wanted, strncmp(f[9], "Number of v", 11) == 0 ? "E_NODIV"
                             : strncmp(f[9], "Single", 6) == 0     ? "E_SINGLE"
                                                                   : "E_MULTI");
    }
    return true;
}

static bool wide_row(char **f, int count, char **keys, struct pp_text *wanted) {
    cr_assert_eq(count, 9);
    memcpy(keys, f, 3 * sizeof *keys);
    for (int cell = 0; cell < 6; cell++) {
        pp_text_printf(wanted, "%s%s", cell == 0 ? "" : " ", f[3 + cell]);
    }
    return true;
}

static bool layers_row(char **f, int count, char **keys, struct pp_text *wanted) {
    cr_assert_eq(count, 4);
    memcpy(keys, f, 2 * sizeof *keys);
    pp_text_puts(wanted, strcmp(f[2], "ok") == 0 ? f[3] : "E_SPLIT");
    return true;
}

static bool stage_ids_row(char **f, int count, char **keys, struct pp_text *wanted) {
    cr_assert_eq(count, 6);
    memcpy(keys, f, 4 * sizeof *keys);
    pp_text_puts(wanted, strcmp(f[4], "ok") == 0 ? f[5] : "E_PLACEMENT");
    return strcmp(f[2], "loop") == 0 || strcmp(f[2], "v") == 0;
}

Test(split, stage_counts_agree_with_automodel) {
    cr_assert_eq(packed_check(PACKED("virtual_stages"), stages_result), 9174);
}

Test(split, stage_counts_agree_with_automodel_on_the_wide_grid) {
    cr_assert_eq(packed_check(PACKED("virtual_stages_wide"), wide_result), 17259);
}

Test(split, layers_agree_with_automodel) {
    cr_assert_eq(packed_check(PACKED("layer_split"), layers_result), 2775);
}

Test(split, placement_agrees_with_automodel) {
    cr_assert_eq(packed_check(PACKED("stage_ids"), stage_ids_result), 500);
}

Test(split, stage_counts_agree_row_by_row) {
    cr_assert_gt(table_check(NEMO("virtual_stages"), stages_row, stages_result), 9000);
}

Test(split, wide_stage_counts_agree_row_by_row) {
    cr_assert_gt(table_check(NEMO("virtual_stages_wide"), wide_row, wide_result), 17000);
}

Test(split, layers_agree_row_by_row) {
    cr_assert_gt(table_check(NEMO("layer_split"), layers_row, layers_result), 2000);
}

Test(split, placement_agrees_row_by_row) {
    cr_assert_gt(table_check(NEMO("stage_ids"), stage_ids_row, stage_ids_result), 400);
}

/* Automodel's odd inputs, integers only. Where it crashes, or lets a bad word pass because it did
   not look, we refuse. */
static const struct edge {
    int layers, per_stage, pp; /* per_stage -1000: null */
    const char *kind, *round, *result;
} edges[] = {
    {32, 7, 4, "multi", "UP", "E_ROUND"},
    {32, 8, 4, "single", "UP", "E_ROUND"},
    {32, 8, 4, "single", "garbage", "E_ROUND"},
    {32, 7, 4, "multi", "", "E_ROUND"},
    {32, 7, 4, "multi", "nearest", "E_ROUND"},
    {32, 0, 4, "multi", NULL, "E_RANGE"},
    {32, -4, 4, "multi", NULL, "E_RANGE"},
    {32, -4, 4, "multi", "up", "E_RANGE"},
    {0, 4, 4, "single", NULL, "E_RANGE"},
    {0, 4, 4, "multi", NULL, "E_RANGE"},
    {0, -1000, 4, "multi", NULL, "E_RANGE"},
    {0, 4, 4, "single", "up", "E_RANGE"},
    {32, 4, 1, "multi", NULL, "8/8"},
    {32, 32, 1, "single", NULL, "1/1"},
    {32, -1000, 1, "single", NULL, "1/1"},
    {32, -1000, 1, "multi", NULL, "2/2"},
    {32, 8, 0, "multi", NULL, "E_RANGE"},
    {32, -1000, 0, "single", NULL, "E_RANGE"},
    {32, 64, 4, "single", "down", "E_SINGLE"},
    {32, 64, 4, "single", "up", "4/1"},
    {32, 64, 4, "multi", "down", "E_MULTI"},
    {3, -1000, 4, "single", NULL, "E_SPLIT:4/1"},
    {3, -1000, 2, "multi", NULL, "E_SPLIT:4/2"},
    {7, 1, 4, "multi", "up", "E_SPLIT:8/2"},
    {7, 2, 4, "single", "up", "4/1"},
    {2, 1, 4, "single", "up", "E_SPLIT:4/1"},
    {61, 4, 8, "multi", NULL, "16/2"},
    {61, -1000, 8, "multi", NULL, "16/2"},
    {32, 4, 4, "multi", "up", "8/2"},
    {32, 10, 4, "single", NULL, "4/1"},
    {32, 11, 4, "single", "up", "4/1"},
    {5, 1, 4, "multi", "up", "E_SPLIT:8/2"},
    {6, 1, 4, "multi", "down", "E_MULTI"},
    /* hostile */
    {INT32_MAX, 1, 1, "multi", NULL, "E_RANGE"},
    {INT32_MIN, 1, 1, "multi", NULL, "E_RANGE"},
    {32, INT32_MAX, 1, "single", NULL, "1/1"},
    {32, INT32_MIN, 1, "single", NULL, "E_RANGE"},
    {32, 1, INT32_MAX, "multi", "up", "E_RANGE"},
    {100000, 1, 65536, "multi", "up", "E_SPLIT:131072/2"},
    {100000, -1000, 65536, "multi", NULL, "E_SPLIT:131072/2"},
};

Test(split, odd_values_are_refused_or_right) {
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        const struct edge *e = &edges[i];
        struct pp_split_request req = {
            .layer_count = e->layers,
            .pp_size = e->pp,
            .has_layers_per_stage = e->per_stage != -1000,
            .layers_per_stage = e->per_stage,
            .kind = strcmp(e->kind, "single") == 0 ? PP_KIND_SINGLE : PP_KIND_MULTI,
        };
        struct pp_err err = {0};
        if (e->round != NULL && pp_round_parse(e->round, &req.round, &err) != PP_OK) {
            cr_assert_neq(err.message[0], '\0');
            req.round = PP_ROUND_COUNT;
        }
        struct pp_text got = {0};
        put_split(&req, &got);
        cr_assert_str_eq(got.bytes, e->result, "edge %zu", i);
        pp_text_free(&got);
    }
}

Test(split, messages_state_what_was_found_and_needed) {
    struct pp_split_request req = {.layer_count = 32,
                                   .pp_size = 4,
                                   .layers_per_stage = 64,
                                   .has_layers_per_stage = true,
                                   .round = PP_ROUND_DOWN};
    struct pp_split split;
    struct pp_err err = {0};
    cr_assert_eq(pp_split_stages(&req, &split, &err), PP_E_SINGLE);
    cr_assert_str_eq(err.message, "32 layers at 64 a stage make 1 stages, rounded down to 0: 0 on "
                                  "each of 4 ranks; a single-stage schedule needs exactly 1");
    req.round = PP_ROUND_NONE;
    cr_assert_eq(pp_split_stages(&req, &split, &err), PP_E_NODIV);
    cr_assert_str_eq(err.hint, "rounding up would make 4 stages, rounding down 0");
}

Test(split, first_layer_is_the_sum_of_those_before) {
    for (int layers = 1; layers < 70; layers++) {
        for (int stages = 1; stages <= layers; stages++) {
            int sum = 0;
            for (int s = 0; s < stages; s++) {
                cr_assert_eq(pp_split_first_layer(layers, stages, s), sum);
                sum += pp_split_layers_of(layers, stages, s);
            }
            cr_assert_eq(pp_split_first_layer(layers, stages, stages), layers);
            cr_assert_eq(sum, layers);
        }
    }
}

Test(split, v_with_more_waves_zigzags) {
    int32_t rank[12];
    const int32_t wanted[12] = {0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0};
    cr_assert_eq(pp_place(PP_PLACE_V, 3, 12, rank, NULL), PP_OK);
    cr_assert_arr_eq(rank, wanted, sizeof wanted);
    cr_assert_eq(pp_place(PP_PLACE_LOOP, 3, 10, rank, NULL), PP_E_PLACEMENT);
    cr_assert_eq(pp_place(PP_PLACE_LOOP, 0, 10, rank, NULL), PP_E_PLACEMENT);
    cr_assert_eq(pp_place(PP_PLACE_LOOP, 3, -3, rank, NULL), PP_E_PLACEMENT);
}
