#include "reports/cli/cost_options.h"

#include <stdlib.h>
#include <string.h>

void pp_cost_options_rows(struct pp_cost_options *o, struct pp_option *rows) {
    const struct pp_option table[PP_COST_OPTION_COUNT] = {
        {"", PP_OPT_HEADING, NULL, NULL, 0, 0, "", "COSTS (a bare duration is in us):"},
        {"--t-f", PP_OPT_DURATION, &o->f_ns, &o->has_f, 0, 0, "D",
         "forward of a rank's whole share; default 1us"},
        {"--t-i", PP_OPT_DURATION, &o->i_ns, &o->has_i, 0, 0, "D",
         "its backward for the input; default 1us"},
        {"--t-w", PP_OPT_DURATION, &o->w_ns, &o->has_w, 0, 0, "D",
         "its backward for the weights; default 1us"},
        {"--t-fb", PP_OPT_DURATION, &o->pair_ns, &o->has_pair, 0, 0, "D",
         "an overlapped pair; default: one part after the other"},
        {"--t-p2p", PP_OPT_DURATION, &o->p2p_ns, &o->has_p2p, 0, 0, "D",
         "transfer between two ranks, on lanes its latency; default 0"},
        {"--t-offload", PP_OPT_DURATION, &o->offload_ns, NULL, 0, 0, "D",
         "a rank's whole activations to host memory, one way; default 0"},
        {"--per-stage", PP_OPT_FLAG, &o->per_stage, NULL, 0, 0, "",
         "durations are a stage's, not a rank's"},
        {"--costs", PP_OPT_TEXT, &o->file, NULL, 0, 0, "FILE.csv",
         "durations of each stage: columns stage,f,i,w"},
        {"--mem-w", PP_OPT_RATIO, o->mem_w, NULL, 0, 0, "R",
         "share of activations that W frees; default 1"},
        {"--memory-limit", PP_OPT_RATIO, o->limit, &o->has_limit, 0, 0, "K",
         "exit 1 if a rank holds more than K shares"},
    };
    memcpy(rows, table, sizeof table);
}

/* ---- durations ---- */

static enum pp_status check_options(const struct pp_cost_options *o, struct pp_err *err) {
    if (o->file != NULL && (o->has_f || o->has_i || o->has_w)) {
        pp_fail(err, PP_E_USAGE, "--costs and %s both give durations",
                o->has_f   ? "--t-f"
                : o->has_i ? "--t-i"
                           : "--t-w");
        pp_hint(err, "leave one of them out");
        return PP_E_USAGE;
    }
    if (o->mem_w[0] > o->mem_w[1]) {
        return pp_fail(err, PP_E_RANGE, "--mem-w is %lld/%lld, expected 0 to 1",
                       (long long)o->mem_w[0], (long long)o->mem_w[1]);
    }
    return PP_OK;
}

/* The arrays behind the cost model, [stage_count] each. */
enum column {
    COLUMN_F,
    COLUMN_I,
    COLUMN_W,
    COLUMN_B,
    COLUMN_PAIR,
    COLUMN_P2P,
    COLUMN_OFFLOAD,
    COLUMN_ADDS,
    COLUMN_I_FREES,
    COLUMN_W_FREES,
    COLUMN_COUNT
};

static int64_t *column_of(const struct pp_stage_costs *c, const struct pp_sched *s,
                          enum column column) {
    return c->columns + (size_t)column * (size_t)s->stage_count;
}

/* Stages, and slices of the sequence, among which a rank's whole share is divided. */
static int64_t parts_of(const struct pp_sched *s, int32_t rank) {
    return (int64_t)pp_sched_shares_of(s, rank) * s->slice_count;
}

/* Each stage of a rank takes its part of the rank's share, rounded once. */
static void share_out(const struct pp_stage_costs *c, const struct pp_cost_options *o,
                      const struct pp_sched *s) {
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        int64_t v = o->per_stage ? 1 : parts_of(s, s->stage_rank[stage]);
        if (o->file == NULL) {
            column_of(c, s, COLUMN_F)[stage] = pp_div_round_i64(o->f_ns, v);
            column_of(c, s, COLUMN_I)[stage] = pp_div_round_i64(o->i_ns, v);
            column_of(c, s, COLUMN_W)[stage] = pp_div_round_i64(o->w_ns, v);
            column_of(c, s, COLUMN_B)[stage] = pp_div_round_i64(o->i_ns + o->w_ns, v);
        } else {
            column_of(c, s, COLUMN_B)[stage] =
                column_of(c, s, COLUMN_I)[stage] + column_of(c, s, COLUMN_W)[stage];
        }
        column_of(c, s, COLUMN_PAIR)[stage] = pp_div_round_i64(o->pair_ns, v);
        column_of(c, s, COLUMN_P2P)[stage] = o->p2p_ns;
        column_of(c, s, COLUMN_OFFLOAD)[stage] = pp_div_round_i64(o->offload_ns, v);
        column_of(c, s, COLUMN_ADDS)[stage] = o->mem_w[1];
        column_of(c, s, COLUMN_I_FREES)[stage] = o->mem_w[1] - o->mem_w[0];
        column_of(c, s, COLUMN_W_FREES)[stage] = o->mem_w[0];
    }
}

/* floor(limit * per_share), at most INT64_MAX. */
static int64_t scaled_limit(const int64_t limit[2], int64_t per_share) {
    __int128 units = (__int128)limit[0] * per_share / limit[1];
    return units < INT64_MAX ? (int64_t)units : INT64_MAX;
}

static void link_columns(struct pp_stage_costs *c, const struct pp_cost_options *o,
                         const struct pp_sched *s) {
    c->costs = (struct pp_costs){
        .f_ns = column_of(c, s, COLUMN_F),
        .i_ns = column_of(c, s, COLUMN_I),
        .w_ns = column_of(c, s, COLUMN_W),
        .b_ns = column_of(c, s, COLUMN_B),
        .pair_ns = o->has_pair ? column_of(c, s, COLUMN_PAIR) : NULL,
        .recv_f_ns = column_of(c, s, COLUMN_P2P),
        .recv_b_ns = column_of(c, s, COLUMN_P2P),
        .offload_ns = column_of(c, s, COLUMN_OFFLOAD),
    };
    c->memory = (struct pp_memory_model){
        .f_adds = column_of(c, s, COLUMN_ADDS),
        .i_frees = column_of(c, s, COLUMN_I_FREES),
        .w_frees = column_of(c, s, COLUMN_W_FREES),
        .pairs_as_one = o->has_pair,
    };
    c->share = o->mem_w[1];
    int64_t *limit = column_of(c, s, COLUMN_COUNT);
    for (int32_t rank = 0; o->has_limit && rank < s->rank_count; rank++) {
        limit[rank] = scaled_limit(o->limit, parts_of(s, rank) * c->share);
    }
    c->limit = o->has_limit ? limit : NULL;
}

enum pp_status pp_stage_costs_init(struct pp_stage_costs *c, const struct pp_cost_options *o,
                                   const struct pp_sched *s, struct pp_err *err) {
    *c = (struct pp_stage_costs){0};
    PP_TRY(check_options(o, err));
    size_t cells = (size_t)s->stage_count * COLUMN_COUNT + (size_t)s->rank_count;
    c->columns = calloc(cells, sizeof *c->columns);
    if (c->columns == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the costs of %d stages", s->stage_count);
    }
    if (o->file != NULL) {
        enum pp_status status =
            pp_cost_file_read(o->file, s->stage_count, column_of(c, s, COLUMN_F),
                              column_of(c, s, COLUMN_I), column_of(c, s, COLUMN_W), err);
        if (status != PP_OK) {
            pp_stage_costs_deinit(c);
            return status;
        }
    }
    share_out(c, o, s);
    link_columns(c, o, s);
    enum pp_status status = pp_costs_check(&c->costs, s, err);
    if (status != PP_OK) {
        pp_stage_costs_deinit(c);
    }
    return status;
}

struct pp_gen_costs pp_stage_costs_for_generator(const struct pp_stage_costs *c) {
    return (struct pp_gen_costs){
        .times = c->costs,
        .f_adds = c->memory.f_adds,
        .i_frees = c->memory.i_frees,
        .w_frees = c->memory.w_frees,
        .limit = c->limit,
    };
}

void pp_stage_costs_deinit(struct pp_stage_costs *c) {
    free(c->columns);
    *c = (struct pp_stage_costs){0};
}

/* ---- activations ---- */

/* With transfers to the host the peak depends on when they run. */
static enum pp_status timed_peaks(const struct pp_stage_costs *c, const struct pp_sched *s,
                                  struct pp_rank_memory *memory, struct pp_err *err) {
    struct pp_eval *eval = NULL;
    struct pp_trace trace = {0};
    enum pp_status status = pp_eval_create(s, &eval, NULL, err);
    if (status == PP_OK) {
        status = pp_trace_init(&trace, s, err);
    }
    if (status == PP_OK) {
        status = pp_eval_run(eval, &c->costs, &trace, err);
    }
    if (status == PP_OK) {
        pp_memory_peaks_timed(&trace, &c->memory, memory);
    }
    pp_trace_deinit(&trace);
    pp_eval_destroy(eval);
    return status;
}

enum pp_status pp_stage_costs_peaks(const struct pp_stage_costs *c, const struct pp_sched *s,
                                    struct pp_activation *peaks, struct pp_err *err) {
    struct pp_rank_memory *memory = malloc((size_t)s->rank_count * sizeof *memory);
    if (memory == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d ranks", s->rank_count);
    }
    enum pp_status status = PP_OK;
    if (s->reload == NULL) {
        pp_memory_peaks(s, &c->memory, memory);
    } else {
        status = timed_peaks(c, s, memory, err);
    }
    for (int32_t rank = 0; status == PP_OK && rank < s->rank_count; rank++) {
        peaks[rank] = (struct pp_activation){
            .rank = rank,
            .action = memory[rank].peak_action,
            .units = memory[rank].peak,
            .per_share = parts_of(s, rank) * c->share,
        };
    }
    free(memory);
    return status;
}

/* a/b > c/d, exactly: 2^53 units at most times 2^46 a share need more than 64 bits. */
static bool is_more(int64_t a, int64_t b, int64_t c, int64_t d) {
    return (__int128)a * d > (__int128)c * b;
}

enum pp_status pp_activation_check(const struct pp_cost_options *o, const struct pp_sched *s,
                                   const struct pp_activation *peaks, struct pp_activation *worst_p,
                                   struct pp_err *err) {
    struct pp_activation worst = peaks[0];
    for (int32_t rank = 1; rank < s->rank_count; rank++) {
        const struct pp_activation *p = &peaks[rank];
        if (is_more(p->units, p->per_share, worst.units, worst.per_share)) {
            worst = *p;
        }
    }
    if (!o->has_limit || !is_more(worst.units, worst.per_share, o->limit[0], o->limit[1])) {
        return PP_OK;
    }
    char peak[PP_FRACTION_BYTES];
    char limit[PP_FRACTION_BYTES];
    char action[PP_ACTION_TEXT_BYTES];
    *worst_p = worst;
    pp_fail(err, PP_E_LIMIT,
            "activations of rank %d reach %s whole shares of a microbatch at %s, above the limit "
            "of %s",
            worst.rank, pp_fraction_text(worst.units, worst.per_share, peak),
            pp_action_text(&s->actions[worst.action], action),
            pp_fraction_text(o->limit[0], o->limit[1], limit));
    pp_hint(err, "raise --memory-limit, or take a schedule that holds less");
    return PP_E_LIMIT;
}

const char *pp_fraction_text(int64_t num, int64_t den, char out[PP_FRACTION_BYTES]) {
    if (num % den == 0) {
        snprintf(out, PP_FRACTION_BYTES, "%lld", (long long)(num / den));
    } else {
        snprintf(out, PP_FRACTION_BYTES, "%.10g", (double)num / (double)den);
    }
    return out;
}
