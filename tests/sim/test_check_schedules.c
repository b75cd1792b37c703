/* Verdicts on real schedules: which placement of receives completes on which channels. */
#include "sim/schedule_csv.h"
#include "tests/sim/check_support.h"

/* ---- executor.md 2.3: rendezvous, pp 2, 3, 4, 8 with m = pp, 2 pp, 4 pp ---- */

enum placement { ASAP, DEFERRED, HOISTED, PLACEMENT_COUNT };

struct family {
    const char *name;
    int32_t stages_per_rank;
};

/* Do receives meet sends of the same name on every directed pair of ranks? */
static bool keeps_fifo(const struct pp_sched *s) {
    for (int32_t at = 0; at < s->action_count; at++) {
        for (int32_t other = at + 1; is_recv(&s->actions[at]) && other < s->action_count; other++) {
            const struct pp_action *a = &s->actions[at];
            const struct pp_action *b = &s->actions[other];
            int32_t from = s->producer[at];
            int32_t from_other = is_recv(b) ? s->producer[other] : -1;
            if (from_other >= 0 && s->stage_rank[a->stage] == s->stage_rank[b->stage] &&
                s->stage_rank[s->actions[from].stage] ==
                    s->stage_rank[s->actions[from_other].stage] &&
                from > from_other) {
                return false;
            }
        }
    }
    return true;
}

struct cell {
    int completes, right, of; /* right: completes and every receive gets what it names */
};

static void count(const struct pp_sched *s, struct cell cells[PP_CHANNELS_COUNT]) {
    bool fifo = keeps_fifo(s);
    for (enum pp_channels channels = 0; channels < PP_CHANNELS_COUNT; channels++) {
        struct pp_comms comms = {.channels = channels};
        bool completes = pp_check_run(s, &comms, NULL, NULL) == PP_OK;
        cells[channels].completes += completes;
        cells[channels].right += completes && fifo;
        cells[channels].of++;
    }
}

static void count_family(const struct family *f,
                         struct cell cells[PLACEMENT_COUNT][PP_CHANNELS_COUNT]) {
    static const int32_t ranks[] = {2, 3, 4, 8};
    for (int i = 0; i < 12; i++) {
        int32_t p = ranks[i / 3];
        struct pp_gen_config c = {
            .rank_count = p, .stages_per_rank = f->stages_per_rank, .microbatch_count = p << i % 3};
        struct pp_sched *s = NULL;
        if (pp_schedule_generate(find_schedule(f->name), &c, &s, NULL) != PP_OK) {
            continue; /* DualPipeV needs two microbatches a rank */
        }
        struct pp_sched *asap = lower(s, PP_LOWER_TORCH);
        struct pp_sched *deferred = defer_receives(asap, true);
        struct pp_sched *hoisted = hoist_receives(asap);
        count(asap, cells[ASAP]);
        count(deferred, cells[DEFERRED]);
        count(hoisted, cells[HOISTED]);
        pp_sched_destroy(hoisted);
        pp_sched_destroy(deferred);
        pp_sched_destroy(asap);
        pp_sched_destroy(s);
    }
}

Test(check_schedules, placements_of_receives_complete_where_they_are_known_to) {
    static const struct {
        const char *name;
        struct family of[4];
    } groups[] = {
        {"1F1B", {{"1F1B", 1}}},
        {"Interleaved1F1B", {{"Interleaved1F1B", 2}, {"Interleaved1F1B", 3}}},
        {"IZB ZBV DualPipeV",
         {{"InterleavedZeroBubble", 2}, {"ZBVZeroBubble", 2}, {"DualPipeV", 2}}},
        {"GPipe LoopedBFS", {{"GPipe", 1}, {"LoopedBFS", 2}, {"LoopedBFS", 3}}},
    };
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        struct cell cells[PLACEMENT_COUNT][PP_CHANNELS_COUNT] = {0};
        for (const struct family *f = groups[g].of; f->name != NULL; f++) {
            count_family(f, cells);
        }
        for (int placement = 0; placement < PLACEMENT_COUNT; placement++) {
            static const char *const names[] = {"asap", "deferred", "hoisted"};
            const struct cell *c = cells[placement];
            cr_log_info("%-18s %-8s rank %d/%d/%d pair %d/%d/%d directed %d/%d/%d", groups[g].name,
                        names[placement], c[PP_CHANNELS_RANK].completes, c[PP_CHANNELS_RANK].right,
                        c[PP_CHANNELS_RANK].of, c[PP_CHANNELS_PAIR].completes,
                        c[PP_CHANNELS_PAIR].right, c[PP_CHANNELS_PAIR].of,
                        c[PP_CHANNELS_DIRECTED].completes, c[PP_CHANNELS_DIRECTED].right,
                        c[PP_CHANNELS_DIRECTED].of);
        }
    }
}
