#include "reports/stored_plan.h"

#include "sim/schedule_csv.h"

#include <stdlib.h>
#include <string.h>

/* A database may have been edited by hand: split and schedule must still belong together. */
static enum pp_status check_placement(const struct pp_plan *plan, const struct pp_sched *sched,
                                      struct pp_err *err) {
    bool same = plan->stage_count == sched->stage_count &&
                plan->microbatch_count == sched->microbatch_count;
    for (int32_t s = 0; same && s < plan->stage_count; s++) {
        same = plan->stage_rank[s] == sched->stage_rank[s];
    }
    if (same) {
        return PP_OK;
    }
    pp_fail(err, PP_E_STORE, "the stages of plan %s do not lie where its schedule runs them",
            plan->id);
    pp_hint(err, "the database was changed from outside; plan again into a new one");
    return PP_E_STORE;
}

static enum pp_status make_schedule(struct pp_stored_plan *s, struct pp_err *err) {
    const struct pp_sched *sched = NULL;
    if (s->plan.config.uses_csv) {
        struct pp_csv_expect expect = {.rank_count = s->plan.config.pp_size,
                                       .stage_count = s->plan.stage_count};
        const char *text = s->run.csv_text != NULL ? s->run.csv_text : "";
        PP_TRY(
            pp_sched_csv_parse("the stored schedule", text, strlen(text), &expect, &s->csv, err));
    }
    PP_TRY(pp_replay_schedule(&s->plan, s->csv, &sched, &s->own, err));
    PP_TRY(check_placement(&s->plan, sched, err));
    PP_TRY(pp_replay_init(&s->replay, sched, err));
    return pp_replay_run(&s->replay, &s->plan, err);
}

enum pp_status pp_stored_plan_load(struct pp_store *store, const char *id,
                                   struct pp_stored_plan *stored_p, struct pp_err *err) {
    struct pp_stored_plan s = {0};
    char run_id[33];
    PP_TRY(pp_store_read_plan(store, id, &s.plan, run_id, err));
    enum pp_status status = pp_store_read_run(store, run_id, &s.run, err);
    if (status == PP_OK) {
        status = make_schedule(&s, err);
    }
    if (status != PP_OK) {
        pp_stored_plan_deinit(&s);
        return status;
    }
    *stored_p = s;
    return PP_OK;
}

void pp_stored_plan_deinit(struct pp_stored_plan *s) {
    pp_replay_deinit(&s->replay);
    pp_sched_destroy(s->own);
    pp_sched_destroy(s->csv);
    pp_stored_run_deinit(&s->run);
    pp_plan_deinit(&s->plan);
    *s = (struct pp_stored_plan){0};
}

/* Slack is a share of what is allocated, so one factor per rank turns allocated bytes into the
 * plan's: it is known at the peak. */
static void count_as_plan(const struct pp_plan *plan, int32_t rank, struct pp_memory_point *points,
                          int32_t count) {
    int64_t allocated_peak = 1;
    for (int32_t i = 0; i < count; i++) {
        allocated_peak = points[i].amount > allocated_peak ? points[i].amount : allocated_peak;
    }
    double factor =
        (double)(plan->peak_bytes[rank] - plan->reserved_bytes) / (double)allocated_peak;
    for (int32_t i = 0; i < count; i++) {
        points[i].amount = pp_round_i64((double)points[i].amount * factor) + plan->reserved_bytes;
    }
}

enum pp_status pp_stored_plan_memory(const struct pp_stored_plan *s, int32_t rank,
                                     int32_t flush_count, struct pp_memory_point **points_p,
                                     int32_t *count_p, struct pp_err *err) {
    PP_ASSERT(s->plan.has_costs && flush_count >= 1);
    const struct pp_sched *sched = s->replay.sched;
    struct pp_memory_model model = pp_replay_memory(&s->replay);
    int32_t actions = sched->rank_begin[rank + 1] - sched->rank_begin[rank];
    size_t room = (size_t)flush_count * (2 * (size_t)actions + 1);
    struct pp_memory_point *points = malloc(room * sizeof *points);
    if (points == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the timeline of rank %d", rank);
    }
    int32_t count = pp_memory_timeline(&s->replay.trace, &model, rank, points);
    count_as_plan(&s->plan, rank, points, count);
    for (int32_t flush = 1; flush < flush_count; flush++) {
        for (int32_t i = 0; i < count; i++) {
            points[flush * count + i] = points[i];
            points[flush * count + i].time_ns += flush * s->plan.flush_ns;
        }
    }
    *points_p = points;
    *count_p = flush_count * count;
    return PP_OK;
}
