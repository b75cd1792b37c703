/* What every generator owes, whatever the counts and costs: each stage runs F before its backward,
 * I before W, each once for every microbatch; stages follow one another; no rank does two things at
 * once; the peak stays within the limit; it runs to its end without any buffer. Checked on the
 * trace, by rules written down here once more and not by those of sealing. */
#include "sim/check.h"
#include "sim/lower.h"
#include "tests/sim/sail_support.h"

enum { CASES = 1200 / (CASE_STEP > 1 ? 3 : 1) };

struct moment {
    int64_t start_ns, end_ns;
    int32_t count;
};

struct seen {
    const struct pp_sched *s;
    const struct pp_trace *t;
    struct moment *f, *back, *w; /* [stage_count][microbatch_count] */
    const char *what;
};

static struct moment *slot(const struct seen *v, struct moment *of, int32_t stage, int32_t mb) {
    return &of[(int64_t)stage * v->s->microbatch_count + mb];
}

static void note_moment(struct moment *m, const struct pp_trace *t, int32_t at) {
    m->start_ns = t->start_ns[at];
    m->end_ns = t->end_ns[at];
    m->count++;
}

static void collect(struct seen *v) {
    const struct pp_sched *s = v->s;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        int64_t free_ns = 0;
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
            const struct pp_action *a = &s->actions[at];
            if (a->type > PP_B) {
                continue;
            }
            cr_assert_eq(s->stage_rank[a->stage], rank, "%s", v->what);
            cr_assert_geq(v->t->start_ns[at], free_ns, "%s: rank %d does two things", v->what,
                          rank);
            free_ns = v->t->end_ns[at];
            if (a->type == PP_F) {
                note_moment(slot(v, v->f, a->stage, a->microbatch), v->t, at);
            }
            if (a->type == PP_I || a->type == PP_B) {
                note_moment(slot(v, v->back, a->stage, a->microbatch), v->t, at);
            }
            if (a->type == PP_W || a->type == PP_B) {
                note_moment(slot(v, v->w, a->stage, a->microbatch), v->t, at);
            }
        }
    }
}

/* The order of one stage and microbatch, and after its neighbours. p2p is paid between ranks. */
static void check_one(const struct seen *v, int32_t stage, int32_t mb, int64_t p2p_ns) {
    const struct pp_sched *s = v->s;
    const struct moment *f = slot(v, v->f, stage, mb);
    const struct moment *back = slot(v, v->back, stage, mb);
    const struct moment *w = slot(v, v->w, stage, mb);
    cr_assert(f->count == 1 && back->count == 1 && w->count == 1,
              "%s: stage %d microbatch %d runs %d F, %d I or B, %d W or B", v->what, stage, mb,
              f->count, back->count, w->count);
    cr_assert_leq(f->end_ns, back->start_ns, "%s: stage %d microbatch %d", v->what, stage, mb);
    cr_assert(back->start_ns == w->start_ns || back->end_ns <= w->start_ns,
              "%s: stage %d microbatch %d", v->what, stage, mb);
    bool begins = stage == 0 || stage == s->part_count;
    if (!begins) {
        int64_t wait_ns = s->stage_rank[stage - 1] == s->stage_rank[stage] ? 0 : p2p_ns;
        cr_assert_leq(slot(v, v->f, stage - 1, mb)->end_ns + wait_ns, f->start_ns,
                      "%s: F of stage %d microbatch %d", v->what, stage, mb);
        cr_assert_leq(back->end_ns + wait_ns, slot(v, v->back, stage - 1, mb)->start_ns,
                      "%s: backward of stage %d microbatch %d", v->what, stage - 1, mb);
    }
    if (mb % s->slice_count != 0) {
        cr_assert_leq(slot(v, v->f, stage, mb - 1)->end_ns, f->start_ns, "%s: slices", v->what);
        cr_assert_leq(back->end_ns, slot(v, v->back, stage, mb - 1)->start_ns, "%s: slices",
                      v->what);
    }
}

static void check_all(const struct pp_sched *s, const struct pp_trace *t, int64_t p2p_ns,
                      const char *what) {
    size_t slots = (size_t)s->stage_count * (size_t)s->microbatch_count;
    struct moment *block = calloc(3 * slots, sizeof *block);
    struct seen v = {
        .s = s, .t = t, .f = block, .back = block + slots, .w = block + 2 * slots, .what = what};
    collect(&v);
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        for (int32_t mb = 0; mb < s->microbatch_count; mb++) {
            check_one(&v, stage, mb, p2p_ns);
        }
    }
    free(block);
}

/* Lowered our way it needs no buffer where each direction has its channel; PyTorch's way not even
 * where all of a rank's transfers stand in one queue. */
static void check_rendezvous(const struct pp_sched *s, const char *what) {
    static const enum pp_lower_mode modes[] = {PP_LOWER_OURS, PP_LOWER_TORCH};
    static const enum pp_channels channels[] = {PP_CHANNELS_DIRECTED, PP_CHANNELS_RANK};
    for (int i = 0; i < 2; i++) {
        struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(modes[i]);
        struct pp_comms comms = {.channels = channels[i]};
        struct pp_sched *lowered = NULL;
        struct pp_err err = {0};
        cr_assert_eq(pp_sched_lower(s, &options, &lowered, &err), PP_OK, "%s: %s", what,
                     err.message);
        cr_assert_eq(pp_check_run(lowered, &comms, NULL, &err), PP_OK, "%s: %s", what, err.message);
        pp_sched_destroy(lowered);
    }
}

/* A random question to a random schedule: counts, costs of every stage, memory. */
struct question {
    const struct pp_schedule_info *info;
    struct pp_gen_config config;
    int64_t p2p_ns;
    int64_t mem_w[2];
    bool has_limit;
    int32_t limit_shares;
};

static struct question draw_question(uint64_t *seed) {
    struct question q = {.info = pp_schedule_at(random_below(seed, pp_schedule_count()))};
    bool any = q.info->max_stages_per_rank == 0;
    q.config = (struct pp_gen_config){
        .rank_count = 1 + random_below(seed, 8),
        .stages_per_rank = any ? q.info->min_stages_per_rank + random_below(seed, 4)
                               : q.info->default_stages_per_rank,
        .microbatch_count = 1 + random_below(seed, 24),
        .group = q.info->takes_group ? random_below(seed, 8) : 0,
        .slice_count = q.info->takes_slices ? random_below(seed, 4) : 0};
    q.p2p_ns = random_below(seed, 2) == 0 ? 0 : random_below(seed, 500);
    q.mem_w[1] = 1 + random_below(seed, 8);
    q.mem_w[0] = random_below(seed, (int32_t)q.mem_w[1] + 1);
    q.has_limit = random_below(seed, 3) == 0;
    q.limit_shares = 1 + random_below(seed, 16);
    return q;
}

/* Stages differ: a first and last one with more to do, and some noise. */
static void vary_costs(struct sail_costs *c, const struct pp_sched *s, uint64_t *seed) {
    int64_t *f = c->columns;
    int64_t *i = f + s->stage_count;
    int64_t *w = i + s->stage_count;
    int64_t *b = w + s->stage_count;
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        f[stage] += random_below(seed, 300);
        i[stage] += random_below(seed, 300);
        w[stage] += random_below(seed, 300);
        b[stage] = i[stage] + w[stage];
    }
}

static void check_peaks(const struct pp_trace *t, const struct question *q,
                        const struct sail_costs *costs, const char *what) {
    struct pp_rank_memory peaks[64];
    pp_memory_peaks_timed(t, &costs->memory, peaks);
    for (int32_t rank = 0; rank < t->sched->rank_count && q->info->uses_costs && q->has_limit;
         rank++) {
        cr_assert_leq(peaks[rank].peak, costs->gen.limit[rank], "%s: rank %d above its limit", what,
                      rank);
    }
}

/* Runs one question. @return whether the schedule took it */
static bool answer(const struct question *q, uint64_t *seed) {
    struct pp_err err = {0};
    struct pp_sched *s = NULL;
    struct pp_gen_config config = q->config;
    enum pp_status status = pp_schedule_begin(q->info, &config, &s, &err);
    if (status != PP_OK) {
        cr_assert_neq(err.message[0], '\0');
        return false;
    }
    struct sail_row row = {.p = config.rank_count,
                           .m = config.microbatch_count,
                           .f_ns = 1000,
                           .i_ns = 1000,
                           .w_ns = 1000,
                           .p2p_ns = q->p2p_ns,
                           .limit = q->has_limit ? q->limit_shares : 0,
                           .mem_w = {q->mem_w[0], q->mem_w[1]}};
    struct sail_costs costs;
    sail_costs_init(&costs, &row, s);
    vary_costs(&costs, s, seed);
    config.costs = &costs.gen;
    char what[160];
    snprintf(what, sizeof what, "%s p %d v %d m %d g %d s %d limit %d", q->info->name, row.p,
             config.stages_per_rank, row.m, config.group, config.slice_count,
             q->has_limit ? q->limit_shares : 0);
    status = pp_schedule_finish(q->info, &config, s, &err);
    cr_assert(status == PP_OK || (status == PP_E_LIMIT && q->has_limit), "%s: %s", what,
              err.message);
    if (status == PP_OK) {
        struct pp_eval *eval = NULL;
        struct pp_trace trace;
        cr_assert_eq(pp_eval_create(s, &eval, NULL, &err), PP_OK, "%s: %s", what, err.message);
        cr_assert_eq(pp_trace_init(&trace, s, &err), PP_OK);
        cr_assert_eq(pp_eval_run(eval, &costs.gen.times, &trace, &err), PP_OK);
        check_all(s, &trace, q->p2p_ns, what);
        check_peaks(&trace, q, &costs, what);
        check_rendezvous(s, what);
        pp_trace_deinit(&trace);
        pp_eval_destroy(eval);
    }
    free(costs.columns);
    pp_sched_destroy(s);
    return status == PP_OK;
}

Test(semantics, every_schedule_owes_the_same_whatever_it_is_asked) {
    uint64_t seed = 20261122;
    int taken[64] = {0};
    for (int i = 0; i < CASES; i++) {
        struct question q = draw_question(&seed);
        for (int32_t n = 0; n < pp_schedule_count(); n++) {
            taken[n] += pp_schedule_at(n) == q.info && answer(&q, &seed);
        }
    }
    for (int32_t n = 0; n < pp_schedule_count(); n++) {
        cr_log_info("%s: %d questions", pp_schedule_at(n)->name, taken[n]);
        cr_expect_gt(taken[n], CASES / pp_schedule_count() / 10, "%s", pp_schedule_at(n)->name);
    }
}
