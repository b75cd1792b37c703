#include "sim/batch_priv.h"

#include <stdlib.h>
#include <string.h>

/* What keeps a stage's rank busy. */
struct counts {
    int32_t actions[PP_SWEEP_TYPE_COUNT]; /* parts of pairs included */
    int32_t parts[PP_SWEEP_TYPE_COUNT];   /* of pairs */
    int32_t pairs;                        /* whose first part is on this stage */
    bool receives[2];                     /* from another rank: gradients, activations */
};

struct pp_batch {
    struct pp_batch_work work;
    pp_batch_sweep *sweep;
    struct counts *counts; /* [stage_count] */
    int64_t *busy_ns;      /* [rank_count] of the cost set at hand */
};

/* ---- instructions ---- */

/* @return NULL if the processor lacks them */
static pp_batch_sweep *sweep_of(enum pp_simd simd) {
#ifdef __x86_64__
    bool has_avx512 =
        __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vl") != 0;
    if (has_avx512 && (simd == PP_SIMD_AVX512 || simd == PP_SIMD_BEST)) {
        return pp_batch_sweep_avx512;
    }
    if (__builtin_cpu_supports("avx2") != 0 && (simd == PP_SIMD_AVX2 || simd == PP_SIMD_BEST)) {
        return pp_batch_sweep_avx2;
    }
#endif
    return simd == PP_SIMD_NONE || simd == PP_SIMD_BEST ? pp_batch_sweep_scalar : NULL;
}

/* ---- life ---- */

static void count_all(const struct pp_sched *s, struct counts *counts) {
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        counts[a->stage].actions[a->type]++;
        counts[a->stage].parts[a->type] += a->pair != 0;
        counts[a->stage].pairs += a->pair == 1;
    }
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        int32_t from[2] = {pp_sched_stage_after(s, stage), pp_sched_stage_before(s, stage)};
        for (int forward = 0; forward < 2; forward++) {
            counts[stage].receives[forward] =
                from[forward] >= 0 && s->stage_rank[from[forward]] != s->stage_rank[stage];
        }
    }
}

/* @param bytes  a multiple of PP_BATCH_ALIGN, > 0 */
static void *aligned_zeros(size_t bytes) {
    void *room = aligned_alloc(PP_BATCH_ALIGN, bytes);
    return room == NULL ? NULL : memset(room, 0, bytes);
}

static enum pp_status allocate(struct pp_batch *b, struct pp_err *err) {
    struct pp_batch_work *w = &b->work;
    size_t stages = (size_t)w->s->stage_count;
    size_t ranks = (size_t)w->s->rank_count;
    w->costs = aligned_zeros(stages * PP_SWEEP_TYPE_COUNT * sizeof *w->costs);
    w->pairs = aligned_zeros(stages * sizeof *w->pairs);
    w->slots = aligned_zeros((size_t)w->sweep.slot_count * sizeof *w->slots);
    w->first = aligned_zeros(ranks * sizeof *w->first);
    w->last = aligned_zeros(ranks * sizeof *w->last);
    b->counts = calloc(stages, sizeof *b->counts);
    b->busy_ns = malloc(ranks * sizeof *b->busy_ns);
    if (w->costs == NULL || w->pairs == NULL || w->slots == NULL || w->first == NULL ||
        w->last == NULL || b->counts == NULL || b->busy_ns == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory to evaluate %d actions in a batch",
                       w->s->action_count);
    }
    return PP_OK;
}

enum pp_status pp_batch_create(const struct pp_sched *s, enum pp_simd simd,
                               struct pp_batch **batch_p, struct pp_err *err) {
    PP_ASSERT(s->sealed);
    pp_batch_sweep *sweep = sweep_of(simd);
    if (s->lowered || s->reload != NULL) {
        return pp_fail(err, PP_E_ARG,
                       "a batch evaluates compute-only schedules without OFFLOAD, got one with %s",
                       s->lowered ? "communication" : "OFFLOAD");
    }
    if (sweep == NULL) {
        return pp_fail(err, PP_E_ARG, "this processor has no %s",
                       simd == PP_SIMD_AVX2 ? "AVX2" : "AVX-512 (F and VL)");
    }
    struct pp_batch *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for a batch");
    }
    b->sweep = sweep;
    b->work.s = s;
    enum pp_status status = pp_sweep_init(&b->work.sweep, s, NULL, err);
    if (status == PP_OK) {
        status = allocate(b, err);
    }
    if (status != PP_OK) {
        pp_batch_destroy(b);
        return status;
    }
    count_all(s, b->counts);
    *batch_p = b;
    return PP_OK;
}

void pp_batch_destroy(struct pp_batch *b) {
    if (b != NULL) {
        pp_sweep_deinit(&b->work.sweep);
        free(b->work.costs);
        free(b->work.pairs);
        free(b->work.slots);
        free(b->work.first);
        free(b->work.last);
        free(b->counts);
        free(b->busy_ns);
        free(b);
    }
}

/* ---- running ---- */

static enum pp_status check(const struct pp_batch *b, const struct pp_costs *costs, int32_t n,
                            struct pp_err *err) {
    for (int32_t i = 0; i < n; i++) {
        if ((costs[i].pair_ns == NULL) != (costs[0].pair_ns == NULL)) {
            return pp_fail(err, PP_E_ARG,
                           "cost sets 0 and %d: one has durations of pairs, the other has none", i);
        }
        struct pp_err why = {0};
        enum pp_status status = pp_costs_check(&costs[i], b->work.s, &why);
        if (status != PP_OK) {
            return pp_fail(err, status, "cost set %d: %s", i, why.message);
        }
    }
    return PP_OK;
}

/* Puts one cost set into a lane. */
static void fill_lane(const struct pp_batch *b, const struct pp_costs *c, int lane) {
    const struct pp_sched *s = b->work.s;
    const int64_t *durations[PP_SWEEP_TYPE_COUNT] = {
        [PP_F] = c->f_ns, [PP_I] = c->i_ns, [PP_W] = c->w_ns, [PP_B] = c->b_ns};
    for (int32_t type = PP_F; type <= PP_B; type++) {
        const int64_t *transfers = type == PP_F ? c->recv_f_ns : c->recv_b_ns;
        bool receives = type != PP_W && transfers != NULL;
        for (int32_t stage = 0; stage < s->stage_count; stage++) {
            if (b->counts[stage].actions[type] > 0) {
                struct pp_batch_cost *cost = &b->work.costs[pp_sweep_key_of(s, type, stage)];
                bool charged = receives && b->counts[stage].receives[type == PP_F];
                cost->duration.ns[lane] = durations[type][stage];
                cost->transfer.ns[lane] = charged ? transfers[stage] : 0;
            }
        }
    }
    for (int32_t stage = 0; c->pair_ns != NULL && stage < s->stage_count; stage++) {
        b->work.pairs[stage].ns[lane] = c->pair_ns[stage];
    }
}

/* Busy time of the ranks, which no order changes. */
static void add_busy(const struct pp_batch *b, int lane, bool as_one, struct pp_batch_result *r) {
    const struct pp_sched *s = b->work.s;
    memset(b->busy_ns, 0, (size_t)s->rank_count * sizeof *b->busy_ns);
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        const struct counts *counts = &b->counts[stage];
        int64_t busy = as_one ? counts->pairs * b->work.pairs[stage].ns[lane] : 0;
        for (int32_t type = PP_F; type <= PP_B; type++) {
            int64_t times = counts->actions[type] - (as_one ? counts->parts[type] : 0);
            busy += times * b->work.costs[pp_sweep_key_of(s, type, stage)].duration.ns[lane];
        }
        b->busy_ns[s->stage_rank[stage]] += busy;
    }
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        r->max_busy_ns = pp_max_i64(r->max_busy_ns, b->busy_ns[rank]);
        r->total_busy_ns += b->busy_ns[rank];
    }
}

static struct pp_batch_result result_of(const struct pp_batch *b, int lane, bool as_one) {
    struct pp_batch_result r = {0};
    for (int32_t rank = 0; rank < b->work.s->rank_count; rank++) {
        int64_t last = b->work.last[rank].ns[lane];
        r.makespan_ns = pp_max_i64(r.makespan_ns, last);
        r.span_ns = pp_max_i64(r.span_ns, last - b->work.first[rank].ns[lane]);
    }
    add_busy(b, lane, as_one, &r);
    return r;
}

enum pp_status pp_batch_run(struct pp_batch *b, const struct pp_costs *costs, int32_t count,
                            struct pp_batch_result *results, struct pp_err *err) {
    PP_TRY(check(b, costs, count, err));
    bool as_one = count > 0 && costs[0].pair_ns != NULL && b->work.sweep.has_pairs;
    for (int32_t at = 0; at < count; at += PP_BATCH_LANES) {
        int sets = count - at < PP_BATCH_LANES ? count - at : PP_BATCH_LANES;
        for (int lane = 0; lane < sets; lane++) { /* the rest: costs of sets before, or zeros */
            fill_lane(b, &costs[at + lane], lane);
        }
        memset(b->work.last, 0, (size_t)b->work.s->rank_count * sizeof *b->work.last);
        b->sweep(&b->work, as_one);
        for (int lane = 0; lane < sets; lane++) {
            results[at + lane] = result_of(b, lane, as_one);
        }
    }
    return PP_OK;
}
