#include "sim/costs.h"

int64_t pp_costs_transfer_ns(const struct pp_costs *c, const struct pp_sched *s, bool forward,
                             int32_t stage) {
    const int64_t *recv_ns = forward ? c->recv_f_ns : c->recv_b_ns;
    int32_t from = forward ? pp_sched_stage_before(s, stage) : pp_sched_stage_after(s, stage);
    return recv_ns == NULL || from < 0 || s->stage_rank[from] == s->stage_rank[stage]
               ? 0
               : recv_ns[stage];
}

static enum pp_status check(int64_t ns, const char *what, int32_t stage, struct pp_err *err) {
    if (ns >= 0 && ns <= PP_COST_MAX_NS) {
        return PP_OK;
    }
    return pp_fail(err, PP_E_RANGE, "%s of stage %d: got %lld ns, need 0 to %lld", what, stage,
                   (long long)ns, (long long)PP_COST_MAX_NS);
}

/* Whether all are in range; transfers that nobody is charged, too. */
static bool are_plain(const struct pp_costs *c, int32_t stage_count) {
    const int64_t *columns[] = {c->f_ns,    c->i_ns,      c->w_ns,      c->b_ns,
                                c->pair_ns, c->recv_f_ns, c->recv_b_ns, c->offload_ns};
    bool out = false;
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        for (int32_t stage = 0; columns[i] != NULL && stage < stage_count; stage++) {
            out |= (uint64_t)columns[i][stage] > (uint64_t)PP_COST_MAX_NS;
        }
    }
    return !out;
}

enum pp_status pp_costs_check(const struct pp_costs *c, const struct pp_sched *s,
                              struct pp_err *err) {
    const struct {
        const int64_t *ns;
        const char *what;
    } columns[] = {{c->f_ns, "F"}, {c->i_ns, "I"},       {c->w_ns, "W"},
                   {c->b_ns, "B"}, {c->pair_ns, "pair"}, {c->offload_ns, "offload"}};
    if (are_plain(c, s->stage_count)) {
        return PP_OK;
    }
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
            if (columns[i].ns != NULL) {
                PP_TRY(check(columns[i].ns[stage], columns[i].what, stage, err));
            }
        }
        for (int forward = 0; forward < 2; forward++) {
            PP_TRY(check(pp_costs_transfer_ns(c, s, forward == 1, stage), "transfer", stage, err));
        }
    }
    return PP_OK;
}
