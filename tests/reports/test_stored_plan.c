/* Plans read back from the database and played again. */
#include "tests/sim/store_support.h"

#include "reports/stored_plan.h"

static struct pp_store *open_stored(const struct stored *s) {
    struct pp_store *store = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_store_open_read(s->path, &store, &err), PP_OK, "%s", err.message);
    return store;
}

Test(stored_plan, replaying_gives_the_time_and_the_peaks_that_were_stored) {
    struct stored s;
    stored_init(&s);
    stored_add(&s);
    struct pp_store *store = open_stored(&s);
    for (int32_t i = 0; i < s.set->plan_count; i += 1 + s.set->plan_count / 12) {
        const struct pp_plan *in = &s.set->plans[i];
        struct pp_stored_plan out;
        struct pp_err err = {0};
        int64_t last_ns = 0;
        cr_assert_eq(pp_stored_plan_load(store, in->id, &out, &err), PP_OK, "%s", err.message);
        for (int32_t a = 0; a < out.replay.sched->action_count; a++) {
            int64_t end_ns = out.replay.trace.end_ns[a];
            last_ns = end_ns > last_ns ? end_ns : last_ns;
        }
        cr_assert_eq(last_ns, in->flush_ns);
        for (int32_t rank = 0; rank < in->config.pp_size; rank++) {
            struct pp_memory_point *points = NULL;
            int32_t count = 0;
            int64_t highest = 0;
            cr_assert_eq(pp_stored_plan_memory(&out, rank, 1, &points, &count, &err), PP_OK);
            for (int32_t k = 0; k < count; k++) {
                highest = points[k].amount > highest ? points[k].amount : highest;
            }
            cr_assert_eq(highest, in->peak_bytes[rank]);
            cr_assert_leq(llabs(points[0].amount - in->base_bytes[rank]), 4, "up to rounding");
            free(points);
        }
        pp_stored_plan_deinit(&out);
    }
    pp_store_close(store);
    stored_deinit(&s);
}

/* Each row is well-formed by itself, but its schedule would run the stages elsewhere. */
Test(stored_plan, a_split_that_does_not_belong_to_its_schedule_is_refused) {
    static const char *const edits[] = {
        "stages_per_rank = stages_per_rank + 1",
        "stage_ranks = (SELECT json_group_array(0) FROM json_each(stage_ranks))",
        "uses_csv = 1",
    };
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        struct stored s;
        char sql[256];
        stored_init(&s);
        stored_add(&s);
        snprintf(sql, sizeof sql, "UPDATE plan_rows SET %s", edits[i]);
        change_rows(s.path, sql);
        struct pp_store *store = open_stored(&s);
        for (int32_t k = 0; k < s.set->plan_count; k += 1 + s.set->plan_count / 12) {
            struct pp_stored_plan out;
            struct pp_err err = {0};
            cr_assert_neq(pp_stored_plan_load(store, s.set->plans[k].id, &out, &err), PP_OK,
                          "%s was taken", edits[i]);
            cr_assert(err.message[0] != '\0');
        }
        pp_store_close(store);
        stored_deinit(&s);
    }
}
