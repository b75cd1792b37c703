/* Costs with nothing left out. */
#include "sim/gen_priv.h"

#include <stdlib.h>

enum { COLUMN_COUNT = 10, UNIT_NS = 1000, ENOUGH_NS = 1 << 20 };

static void copy_or(int64_t *to, const int64_t *from, int32_t count, int64_t otherwise) {
    for (int32_t i = 0; i < count; i++) {
        to[i] = from == NULL ? otherwise : from[i];
    }
}

/* 1 us for each of F, I and W of a rank's whole share of a microbatch. */
static void fill_unit_times(struct pp_gen_model *m, const struct pp_sched *s) {
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        int64_t parts = (int64_t)pp_sched_shares_of(s, s->stage_rank[stage]) * s->slice_count;
        m->f_ns[stage] = m->i_ns[stage] = m->w_ns[stage] = pp_div_round_i64(UNIT_NS, parts);
        m->b_ns[stage] = 2 * m->f_ns[stage];
    }
}

static void fill(struct pp_gen_model *m, const struct pp_gen_costs *c, const struct pp_sched *s) {
    int32_t n = s->stage_count;
    fill_unit_times(m, s);
    if (c->times.f_ns != NULL) {
        copy_or(m->f_ns, c->times.f_ns, n, 0);
        copy_or(m->i_ns, c->times.i_ns, n, 0);
        copy_or(m->w_ns, c->times.w_ns, n, 0);
        copy_or(m->b_ns, c->times.b_ns, n, 0);
    }
    copy_or(m->recv_f_ns, c->times.recv_f_ns, n, 0);
    copy_or(m->recv_b_ns, c->times.recv_b_ns, n, 0);
    copy_or(m->offload_ns, c->times.offload_ns, n, 0);
    copy_or(m->adds, c->f_adds, n, 1);
    copy_or(m->i_frees, c->i_frees, n, 0);
    copy_or(m->w_frees, c->w_frees, n, 1);
    copy_or(m->limit, c->limit, s->rank_count, INT64_MAX);
    for (int32_t stage = 0; stage < n; stage++) {
        int32_t before = pp_sched_stage_before(s, stage);
        int32_t after = pp_sched_stage_after(s, stage);
        if (before < 0 || s->stage_rank[before] == s->stage_rank[stage]) {
            m->recv_f_ns[stage] = 0;
        }
        if (after < 0 || s->stage_rank[after] == s->stage_rank[stage]) {
            m->recv_b_ns[stage] = 0;
        }
    }
}

/* Orders are chosen by ratios of times: the same costs in another unit give the same order. So
 * times are divided by what they have in common, and then doubled until what a search halves or
 * quarters loses nothing. */
static void normalize(struct pp_gen_model *m, int32_t stage_count) {
    int64_t *const columns[] = {m->f_ns,      m->i_ns,      m->w_ns,      m->b_ns,
                                m->recv_f_ns, m->recv_b_ns, m->offload_ns};
    enum { TIME_COUNT = sizeof columns / sizeof columns[0] };
    int64_t common = 0;
    int64_t most = 0;
    for (int32_t i = 0; i < TIME_COUNT; i++) {
        for (int32_t stage = 0; stage < stage_count; stage++) {
            common = pp_gcd_i64(common, columns[i][stage]);
            most = pp_max_i64(most, columns[i][stage]);
        }
    }
    if (most == 0) {
        return;
    }
    int64_t factor = 1;
    while (most / common * factor < ENOUGH_NS) {
        factor *= 2;
    }
    for (int32_t i = 0; i < TIME_COUNT; i++) {
        for (int32_t stage = 0; stage < stage_count; stage++) {
            columns[i][stage] = columns[i][stage] / common * factor;
        }
    }
}

enum pp_status pp_gen_model_init(struct pp_gen_model *model, const struct pp_gen_config *c,
                                 const struct pp_sched *s, struct pp_err *err) {
    static const struct pp_gen_costs none = {0};
    size_t n = (size_t)s->stage_count;
    struct pp_gen_model m = {0};
    m.block = calloc(COLUMN_COUNT * n + (size_t)s->rank_count, sizeof *m.block);
    if (m.block == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the costs of %d stages", s->stage_count);
    }
    int64_t **columns[COLUMN_COUNT] = {&m.f_ns,      &m.i_ns,      &m.w_ns,       &m.b_ns,
                                       &m.recv_f_ns, &m.recv_b_ns, &m.offload_ns, &m.adds,
                                       &m.i_frees,   &m.w_frees};
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        *columns[i] = m.block + i * n;
    }
    m.limit = m.block + COLUMN_COUNT * n;
    fill(&m, c->costs == NULL ? &none : c->costs, s);
    normalize(&m, s->stage_count);
    *model = m;
    return PP_OK;
}

void pp_gen_model_deinit(struct pp_gen_model *model) {
    free(model->block);
    *model = (struct pp_gen_model){0};
}
