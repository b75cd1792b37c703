#include "costmodel/split.h"

#include <stdio.h>
#include <string.h>

static enum pp_status check_ranges(const struct pp_split_request *req, struct pp_err *err) {
    if (req->layer_count < 1 || req->layer_count > PP_MAX_LAYERS) {
        return pp_fail(err, PP_E_RANGE, "layer count is %d, expected 1 to %d", req->layer_count,
                       PP_MAX_LAYERS);
    }
    if (req->pp_size < 1 || req->pp_size > PP_MAX_RANKS) {
        return pp_fail(err, PP_E_RANGE, "pp_size is %d, expected 1 to %d", req->pp_size,
                       PP_MAX_RANKS);
    }
    if (req->has_layers_per_stage && req->layers_per_stage < 1) {
        return pp_fail(err, PP_E_RANGE, "layers_per_stage is %d, expected at least 1",
                       req->layers_per_stage);
    }
    if ((int)req->round < 0 || req->round >= PP_ROUND_COUNT) {
        return pp_fail(err, PP_E_ROUND, "rounding is neither up nor down");
    }
    return PP_OK;
}

/* The count before rounding, and after: 64 bits, so that no sum of two legal values overflows. */
static int64_t asked_stages(const struct pp_split_request *req) {
    return pp_div_ceil_i64(req->layer_count, req->layers_per_stage);
}

static int64_t round_stages(int64_t n, int64_t pp, enum pp_round round) {
    int64_t over = n % pp;
    if (over == 0) {
        return n;
    }
    return round == PP_ROUND_UP ? n + pp - over : n - over;
}

static enum pp_status fail_nodiv(const struct pp_split_request *req, int64_t n,
                                 struct pp_err *err) {
    pp_fail(err, PP_E_NODIV,
            "%d layers at %d a stage make %lld stages, and %lld is not a multiple of pp_size %d",
            req->layer_count, req->layers_per_stage, (long long)n, (long long)n, req->pp_size);
    pp_hint(err, "rounding up would make %lld stages, rounding down %lld",
            (long long)round_stages(n, req->pp_size, PP_ROUND_UP),
            (long long)round_stages(n, req->pp_size, PP_ROUND_DOWN));
    return PP_E_NODIV;
}

/* Stages a rank against what the schedule kind takes. */
static enum pp_status check_kind(const struct pp_split_request *req, int64_t asked, int64_t n,
                                 struct pp_err *err) {
    int64_t per_rank = n / req->pp_size;
    bool single = req->kind == PP_KIND_SINGLE;
    if (single ? per_rank == 1 : per_rank >= 2) {
        return PP_OK;
    }
    char rounded[48] = "";
    if (n != asked) {
        snprintf(rounded, sizeof rounded, ", rounded %s to %lld", pp_round_name(req->round),
                 (long long)n);
    }
    return pp_fail(err, single ? PP_E_SINGLE : PP_E_MULTI,
                   "%d layers at %d a stage make %lld stages%s: %lld on each of %d ranks; a "
                   "%s-stage schedule needs %s",
                   req->layer_count, req->layers_per_stage, (long long)asked, rounded,
                   (long long)per_rank, req->pp_size, single ? "single" : "multi",
                   single ? "exactly 1" : "at least 2");
}

enum pp_status pp_split_check(int32_t layer_count, int32_t stage_count, struct pp_err *err) {
    if (stage_count < 1) {
        return pp_fail(err, PP_E_SPLIT, "%d stages, expected at least 1", stage_count);
    }
    if (stage_count > layer_count) {
        return pp_fail(err, PP_E_SPLIT,
                       "%d stages for %d layers: every stage needs at least one layer", stage_count,
                       layer_count);
    }
    return PP_OK;
}

enum pp_status pp_split_stages(const struct pp_split_request *req, struct pp_split *split_p,
                               struct pp_err *err) {
    PP_TRY(check_ranges(req, err));
    int64_t n;
    if (req->has_layers_per_stage) {
        int64_t asked = asked_stages(req);
        if (asked % req->pp_size != 0 && req->round == PP_ROUND_NONE) {
            return fail_nodiv(req, asked, err);
        }
        n = round_stages(asked, req->pp_size, req->round);
        PP_TRY(check_kind(req, asked, n, err));
    } else {
        n = (int64_t)req->pp_size * (req->kind == PP_KIND_SINGLE ? 1 : 2);
    }
    *split_p = (struct pp_split){.stage_count = (int32_t)n,
                                 .stages_per_rank = (int32_t)(n / req->pp_size)};
    return pp_split_check(req->layer_count, (int32_t)n, err);
}

int32_t pp_split_layers_of(int32_t layer_count, int32_t stage_count, int32_t stage) {
    PP_ASSERT(stage_count >= 1 && stage >= 0 && stage < stage_count);
    return layer_count / stage_count + (stage < layer_count % stage_count);
}

int32_t pp_split_first_layer(int32_t layer_count, int32_t stage_count, int32_t stage) {
    PP_ASSERT(stage_count >= 1 && stage >= 0 && stage <= stage_count);
    int32_t larger = layer_count % stage_count;
    int64_t first = (int64_t)stage * (layer_count / stage_count);
    return (int32_t)(first + (stage < larger ? stage : larger));
}

static enum pp_status check_places(int32_t pp_size, int32_t stage_count, struct pp_err *err) {
    if (pp_size < 1) {
        return pp_fail(err, PP_E_PLACEMENT, "pp_size is %d, expected at least 1", pp_size);
    }
    if (stage_count < 0 || stage_count % pp_size != 0) {
        return pp_fail(err, PP_E_PLACEMENT,
                       "%d stages cannot be shared evenly by %d ranks; expected a multiple of %d",
                       stage_count, pp_size, pp_size);
    }
    return PP_OK;
}

enum pp_status pp_place(enum pp_placement placement, int32_t pp_size, int32_t stage_count,
                        int32_t *stage_rank, struct pp_err *err) {
    PP_TRY(check_places(pp_size, stage_count, err));
    for (int32_t s = 0; s < stage_count; s++) {
        int32_t column = s % pp_size;
        bool back = placement == PP_PLACE_V && (s / pp_size) % 2 == 1;
        stage_rank[s] = back ? pp_size - 1 - column : column;
    }
    return PP_OK;
}

enum pp_status pp_place_check_automodel(enum pp_placement placement, int32_t pp_size,
                                        int32_t stage_count, struct pp_err *err) {
    PP_TRY(check_places(pp_size, stage_count, err));
    int32_t per_rank = stage_count / pp_size;
    if (placement == PP_PLACE_V && per_rank != 2) {
        return pp_fail(err, PP_E_PLACEMENT,
                       "%d stages on %d ranks are %d a rank; V placement takes exactly 2",
                       stage_count, pp_size, per_rank);
    }
    return PP_OK;
}

const char *pp_round_name(enum pp_round round) {
    switch (round) {
    case PP_ROUND_UP:
        return "up";
    case PP_ROUND_DOWN:
        return "down";
    case PP_ROUND_NONE:
    case PP_ROUND_COUNT:
        break;
    }
    return "none";
}

enum pp_status pp_round_parse(const char *word, enum pp_round *round_p, struct pp_err *err) {
    if (strcmp(word, "up") == 0) {
        *round_p = PP_ROUND_UP;
    } else if (strcmp(word, "down") == 0) {
        *round_p = PP_ROUND_DOWN;
    } else {
        pp_fail(err, PP_E_ROUND, "rounding is \"%.40s\", expected up or down", word);
        pp_hint(err, "write it in lower case, or leave rounding out");
        return PP_E_ROUND;
    }
    return PP_OK;
}
