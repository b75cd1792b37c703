/**
 * @file split.h
 * How many virtual stages a model gets, which layers each holds and which rank holds each stage:
 * NeMo Automodel's arithmetic, exactly (Automodel 36044ad3, pipelining/functional.py,
 * calculate_virtual_stages, generate_hf_model_fqn_per_model_part, stage_ids_this_rank).
 *
 *   n = ceil(layers / layers_per_stage), rounded up or down to a multiple of pp, split evenly with
 *   the first (layers mod n) stages one layer larger. Embedding, head and norms are not counted.
 *
 * Where Automodel's own behaviour is an accident (layers_per_stage 0, a bad rounding word that is
 * only noticed when rounding is needed) we refuse, with a code. All functions are pure.
 */
#ifndef PP_COSTMODEL_SPLIT_H
#define PP_COSTMODEL_SPLIT_H

#include "costmodel/base.h"

enum { PP_MAX_LAYERS = 100000, PP_MAX_RANKS = 65536 };

/** PP_ROUND_COUNT stands for a word that pp_round_parse refused, so that fixes can be asked for. */
enum pp_round { PP_ROUND_NONE, PP_ROUND_UP, PP_ROUND_DOWN, PP_ROUND_COUNT };

enum pp_schedule_kind {
    PP_KIND_SINGLE, /* one stage a rank: 1F1B, GPipe */
    PP_KIND_MULTI,  /* two or more stages a rank */
};

enum pp_placement {
    PP_PLACE_LOOP, /* stage s on rank s mod pp */
    PP_PLACE_V,    /* rank r holds r and 2*pp-1-r; zig-zag for more waves */
};

struct pp_split_request {
    int32_t layer_count;
    int32_t pp_size;
    int32_t layers_per_stage; /* read only if has_layers_per_stage */
    bool has_layers_per_stage;
    enum pp_round round;
    enum pp_schedule_kind kind;
    enum pp_placement placement; /* V takes exactly two stages a rank (Automodel) */
};

struct pp_split {
    int32_t stage_count; /* virtual stages over all ranks */
    int32_t stages_per_rank;
};

/**
 * Virtual stage count, as Automodel computes it.
 *
 * On PP_E_SPLIT *split_p is written too (the count that does not fit the layers); on every other
 * error it is untouched.
 * @return PP_OK, PP_E_RANGE (layer_count outside 1..PP_MAX_LAYERS, pp_size outside 1..PP_MAX_RANKS,
 *         layers_per_stage < 1), PP_E_ROUND (round is none of the words, see PP_ROUND_COUNT),
 *         PP_E_NODIV, PP_E_SINGLE, PP_E_MULTI, PP_E_SPLIT, PP_E_PLACEMENT
 */
enum pp_status pp_split_stages(const struct pp_split_request *req, struct pp_split *split_p,
                               struct pp_err *err);

/** Layers of stage `stage` of `stage_count`: floor(L/n), one more on the first L mod n. */
int32_t pp_split_layers_of(int32_t layer_count, int32_t stage_count, int32_t stage);

/** First layer of stage `stage` (0-based); for stage == stage_count the layer count. */
int32_t pp_split_first_layer(int32_t layer_count, int32_t stage_count, int32_t stage);

/** Checks 1 <= stage_count <= layer_count. @return PP_OK, PP_E_SPLIT */
enum pp_status pp_split_check(int32_t layer_count, int32_t stage_count, struct pp_err *err);

/**
 * Rank of every stage.
 * @param stage_rank  [stage_count], written on success
 * @return PP_OK (also for no stages: nothing is written), PP_E_PLACEMENT (stage_count negative or
 *         not a multiple of pp_size). V with other than two stages a rank zig-zags, as PyTorch
 * does; Automodel refuses it (pp_place_check_automodel).
 */
enum pp_status pp_place(enum pp_placement placement, int32_t pp_size, int32_t stage_count,
                        int32_t *stage_rank, struct pp_err *err);

/** Automodel's extra rule: V wants exactly two stages a rank. @return PP_OK, PP_E_PLACEMENT */
enum pp_status pp_place_check_automodel(enum pp_placement placement, int32_t pp_size,
                                        int32_t stage_count, struct pp_err *err);

/** "up", "down", or "none". */
const char *pp_round_name(enum pp_round round);

/** Parses "up" or "down" (case-sensitive, as Automodel). @return PP_OK, PP_E_ROUND */
enum pp_status pp_round_parse(const char *word, enum pp_round *round_p, struct pp_err *err);

/** One option change: which flags a user would change so that a refused split succeeds. */
struct pp_split_fix {
    bool sets_layers_per_stage, sets_round, sets_pp, sets_schedule;
    int32_t layers_per_stage;
    enum pp_round round;
    int32_t pp_size;
    enum pp_schedule_kind kind; /* of a schedule whose stages are placed in a loop */
};

enum { PP_SPLIT_MAX_FIXES = 8 };

/**
 * Option changes that make a refused request succeed, best first: fewest options changed, then the
 * smallest change of layers per stage (0 if a fix leaves it alone; where the request has none, the
 * distance from the ceil(layers / stages) it implies), then those that touch rounding, pp, schedule
 * in that order, then the nearest pp_size, ties to the larger value.
 *
 * Every fix is verified against pp_split_stages, and none holds a change it would work without. Of
 * one set of options the nearest in each direction is given. Fixes that change more options are
 * left out once three that change fewer are known. Never empty for a refused request with
 * 1 <= layer_count <= PP_MAX_LAYERS; out-of-range fields of `req` are treated as wrong options; a
 * request that is not refused has none.
 * @param fixes  [PP_SPLIT_MAX_FIXES]
 * @return number of fixes written
 * Cost: microseconds for real models. The search is exact up to a thousand layers; beyond, a limit
 * on trials (some 50 ms) may leave better ones out.
 */
int32_t pp_split_fixes(const struct pp_split_request *req, struct pp_split_fix *fixes);

#endif
