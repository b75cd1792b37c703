#include "sim/bounds.h"

#include <stdlib.h>

/* No order takes longer, so a bound need not be larger: 2^24 actions of PP_COST_MAX_NS. */
static const int64_t MOST_NS = (int64_t)1 << 62;

/* What the bounds of a rank need of its stages. A microbatch comes to the lowest of them first, on
 * the way down, and last on the way up. */
struct rank {
    int32_t stage_count, lowest, highest;
    int64_t f_ns, i_ns, w_ns; /* of all stages together, one microbatch */
    int64_t longest_f_ns, longest_i_ns, longest_w_ns;
    int64_t least_adds, least_kept; /* activations of F, and what of them stays until W */
    __int128 held;                  /* memory times time of one microbatch, all stages */
};

struct bounds {
    const struct pp_sched *s;
    const struct pp_costs *costs;
    const struct pp_memory_model *memory;
    const int64_t *limit;
    struct rank *ranks;
    int64_t *down_ns;  /* [stage_count] from a microbatch's first F to its F here */
    int64_t *up_ns;    /* [stage_count] from the end of its I here to that of its last */
    int64_t *chain_ns; /* [stage_count] from the first F here to the last I, by what follows */
};

static int64_t entry(const int64_t *array, int32_t index) {
    return array == NULL ? 0 : array[index];
}

static bool is_bidirectional(const struct bounds *b) {
    return b->s->part_count < b->s->stage_count;
}

static void sum_ways(struct bounds *b) {
    const struct pp_sched *s = b->s;
    b->down_ns[0] = b->up_ns[0] = 0;
    for (int32_t stage = 1; stage < s->stage_count; stage++) {
        bool is_hop = s->stage_rank[stage] != s->stage_rank[stage - 1];
        b->down_ns[stage] = b->down_ns[stage - 1] + b->costs->f_ns[stage - 1] +
                            (is_hop ? entry(b->costs->recv_f_ns, stage) : 0);
        b->up_ns[stage] = b->up_ns[stage - 1] + b->costs->i_ns[stage - 1] +
                          (is_hop ? entry(b->costs->recv_b_ns, stage - 1) : 0);
    }
}

/* From the start of a microbatch's F on `from` to the end of its I on `to`. */
static int64_t way(const struct bounds *b, int32_t from, int32_t to) {
    int32_t top = from < b->s->part_count ? b->s->part_count - 1 : b->s->stage_count - 1;
    return b->down_ns[top] - b->down_ns[from] + b->costs->f_ns[top] + b->costs->i_ns[top] +
           b->up_ns[top] - b->up_ns[to];
}

static void sum_ranks(struct bounds *b) {
    for (int32_t r = 0; r < b->s->rank_count; r++) {
        b->ranks[r] = (struct rank){.least_adds = INT64_MAX, .least_kept = INT64_MAX};
    }
    for (int32_t stage = 0; stage < b->s->stage_count; stage++) {
        struct rank *r = &b->ranks[b->s->stage_rank[stage]];
        int64_t f = b->costs->f_ns[stage];
        int64_t i = b->costs->i_ns[stage];
        int64_t w = b->costs->w_ns[stage];
        r->lowest = r->stage_count++ == 0 ? stage : r->lowest;
        r->highest = stage;
        r->f_ns += f;
        r->i_ns += i;
        r->w_ns += w;
        r->longest_f_ns = pp_max_i64(r->longest_f_ns, f);
        r->longest_i_ns = pp_max_i64(r->longest_i_ns, i);
        r->longest_w_ns = pp_max_i64(r->longest_w_ns, w);
        if (b->limit != NULL) {
            int64_t adds = entry(b->memory->f_adds, stage);
            int64_t kept = entry(b->memory->w_frees, stage);
            r->least_adds = pp_min_i64(r->least_adds, adds);
            r->least_kept = pp_min_i64(r->least_kept, kept);
            r->held += (__int128)adds * way(b, stage, stage) + (__int128)kept * w;
        }
    }
}

/* How many times `share` fits into `room`, at most `most`. */
static int64_t times(int64_t room, int64_t share, int64_t most) {
    return share > 0 ? pp_min_i64(room / share, most) : most;
}

static int64_t unit_count(const struct bounds *b, const struct rank *r) {
    return (int64_t)r->stage_count * b->s->microbatch_count;
}

/* Microbatches of the rank's stages whose activations fit its memory at once. */
static int64_t held(const struct bounds *b, int32_t rank) {
    const struct rank *r = &b->ranks[rank];
    int64_t all = unit_count(b, r);
    return b->limit == NULL ? all : times(b->limit[rank], r->least_adds, all);
}

/* Idle time before the first I: until then there are only forwards. */
static int64_t fill_idle(const struct bounds *b, int32_t rank) {
    const struct rank *r = &b->ranks[rank];
    int64_t wait = way(b, r->lowest, r->highest) - b->costs->i_ns[r->highest];
    int64_t work =
        pp_min_i64(held(b, rank) * r->longest_f_ns, r->f_ns * (int64_t)b->s->microbatch_count);
    return pp_max_i64(0, wait - work);
}

/* Idle time between the end of the last F and that of the last I. Memory held `waiting` units
 * before their I then and some more before their W; the W of the last I comes later still. */
static int64_t drain_idle(const struct bounds *b, int32_t rank) {
    const struct rank *r = &b->ranks[rank];
    int64_t wait = way(b, r->highest, r->lowest) - b->costs->f_ns[r->highest];
    int64_t most = held(b, rank);
    int64_t work = 0;
    for (int64_t waiting = 1; waiting <= most; waiting++) {
        int64_t others = unit_count(b, r) - waiting;
        int64_t with_w = b->limit == NULL ? others
                                          : times(b->limit[rank] - waiting * r->least_adds,
                                                  r->least_kept, others);
        work =
            pp_max_i64(work, waiting * r->longest_i_ns + (waiting - 1 + with_w) * r->longest_w_ns);
    }
    return pp_max_i64(0, wait - work);
}

static int64_t work_bound(const struct bounds *b, int32_t rank) {
    const struct rank *r = &b->ranks[rank];
    return (r->f_ns + r->i_ns + r->w_ns) * (int64_t)b->s->microbatch_count;
}

/* Where memory holds every microbatch, both waits may be the same. */
static int64_t ends_bound(const struct bounds *b, int32_t rank) {
    int64_t fill = fill_idle(b, rank);
    int64_t drain = drain_idle(b, rank);
    bool apart = held(b, rank) < unit_count(b, &b->ranks[rank]);
    return work_bound(b, rank) + (apart ? fill + drain : pp_max_i64(fill, drain));
}

/* From the top stage down: all F and I of a rank have to come between the first F and the last I of
 * its lowest stage, and so of the stages before. */
static void find_chains(struct bounds *b) {
    for (int32_t stage = b->s->stage_count - 1; stage >= 0; stage--) {
        int32_t rank = b->s->stage_rank[stage];
        const struct rank *r = &b->ranks[rank];
        int64_t t = b->costs->f_ns[stage] + b->costs->i_ns[stage];
        if (stage + 1 < b->s->stage_count) {
            t = b->down_ns[stage + 1] - b->down_ns[stage] + b->chain_ns[stage + 1] +
                b->up_ns[stage + 1] - b->up_ns[stage];
        }
        if (stage == r->lowest) {
            t = pp_max_i64(t, (r->f_ns + r->i_ns) * (int64_t)b->s->microbatch_count +
                                  fill_idle(b, rank));
        }
        b->chain_ns[stage] = t;
    }
}

static int64_t memory_bound(const struct bounds *b, int32_t rank) {
    __int128 held = b->ranks[rank].held * b->s->microbatch_count;
    if (held == 0) {
        return 0;
    }
    __int128 least = (held + b->limit[rank] - 1) / b->limit[rank];
    return least < MOST_NS ? (int64_t)least : MOST_NS;
}

static void take_rank(const struct bounds *b, int32_t rank, struct pp_bounds *out) {
    const struct rank *r = &b->ranks[rank];
    int64_t work = work_bound(b, rank);
    int64_t memory = memory_bound(b, rank);
    int64_t span = pp_max_i64(work, memory);
    int64_t way_here = 0;
    if (!is_bidirectional(b)) {
        int64_t ends = ends_bound(b, rank);
        int64_t chain = b->chain_ns[r->lowest] + b->costs->w_ns[r->lowest];
        out->ends_ns = pp_max_i64(out->ends_ns, ends);
        out->chain_ns = pp_max_i64(out->chain_ns, chain);
        span = pp_max_i64(span, pp_max_i64(ends, chain));
        way_here = b->down_ns[r->lowest];
    }
    out->work_ns = pp_max_i64(out->work_ns, work);
    out->memory_ns = pp_max_i64(out->memory_ns, memory);
    out->span_ns = pp_max_i64(out->span_ns, span);
    out->makespan_ns = pp_max_i64(out->makespan_ns, way_here + span);
}

static enum pp_status check_limits(const struct bounds *b, struct pp_err *err) {
    for (int32_t stage = 0; b->limit != NULL && stage < b->s->stage_count; stage++) {
        int32_t rank = b->s->stage_rank[stage];
        int64_t adds = entry(b->memory->f_adds, stage);
        if (adds > b->limit[rank]) {
            return pp_fail(err, PP_E_LIMIT,
                           "rank %d: the activations of one microbatch of stage %d take %lld, the "
                           "limit is %lld",
                           rank, stage, (long long)adds, (long long)b->limit[rank]);
        }
    }
    return PP_OK;
}

enum pp_status pp_bounds_of(const struct pp_sched *s, const struct pp_costs *costs,
                            const struct pp_memory_model *memory, const int64_t *limit,
                            struct pp_bounds *bounds_p, struct pp_err *err) {
    struct bounds b = {
        .s = s, .costs = costs, .memory = memory, .limit = memory == NULL ? NULL : limit};
    PP_TRY(check_limits(&b, err));
    size_t n = (size_t)s->stage_count;
    b.ranks = malloc((size_t)s->rank_count * sizeof *b.ranks);
    b.down_ns = malloc(3 * n * sizeof *b.down_ns);
    struct pp_bounds out = {0};
    enum pp_status status = PP_OK;
    if (b.ranks == NULL || b.down_ns == NULL) {
        status =
            pp_fail(err, PP_E_NOMEM, "out of memory for the bounds of %d stages", s->stage_count);
    } else {
        b.up_ns = b.down_ns + n;
        b.chain_ns = b.up_ns + n;
        sum_ways(&b);
        sum_ranks(&b);
        find_chains(&b);
        for (int32_t rank = 0; rank < s->rank_count; rank++) {
            take_rank(&b, rank, &out);
        }
        *bounds_p = out;
    }
    free(b.down_ns);
    free(b.ranks);
    return status;
}
