/* Executions for tests: a lowered program, traces of it that the engine makes, a database. */
#ifndef PP_TESTS_EXECUTION_SUPPORT_H
#define PP_TESTS_EXECUTION_SUPPORT_H

#include "sim/engine.h"
#include "sim/execution.h"
#include "sim/lower.h"
#include "sim/waits.h"
#include "tests/sim/sim_support.h"
#include "tests/sim/sqlite_support.h"

#include <unistd.h>

/* One program of a model of `layers` layers, and how long its modules really take. */
struct executed {
    struct pp_sched *order, *sched;
    char hash[65];
    int32_t layers;
    struct pp_split_stage split[64];
    int64_t message_bytes[64];
    int64_t module_ns[66][PP_W + 1]; /* [module + 1] */
    int64_t f_ns[64], i_ns[64], w_ns[64], b_ns[64], latency_ns[64];
    char path[64];
};

static inline void executed_init(struct executed *x, const char *schedule, int32_t ranks,
                                 int32_t stages_per_rank, int32_t microbatches, int32_t layers) {
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    struct pp_err err = {0};
    *x = (struct executed){.layers = layers};
    x->order = make_schedule(schedule, ranks, stages_per_rank, microbatches);
    cr_assert_eq(pp_sched_lower(x->order, &options, &x->sched, &err), PP_OK, "%s", err.message);
    pp_sched_csv_sha256(x->sched, x->hash);
    int32_t stages = x->sched->stage_count;
    for (int32_t s = 0; s < stages; s++) {
        x->split[s] = (struct pp_split_stage){.embedding = s == 0,
                                              .layer_begin = layers * s / stages,
                                              .layer_end = layers * (s + 1) / stages,
                                              .head = s == stages - 1};
        x->message_bytes[s] = s == 0 ? 0 : 4096;
    }
    strcpy(x->path, "/tmp/pp_store_XXXXXX");
    close(mkstemp(x->path));
}

static inline void executed_deinit(struct executed *x) {
    char side[80];
    pp_sched_destroy(x->order);
    pp_sched_destroy(x->sched);
    unlink(x->path);
    snprintf(side, sizeof side, "%s-wal", x->path);
    unlink(side);
    snprintf(side, sizeof side, "%s-shm", x->path);
    unlink(side);
}

static inline struct pp_store *open_store(const char *path) {
    struct pp_store *store = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_store_open(path, &store, &err), PP_OK, "%s", err.message);
    return store;
}

/* ---- traces ---- */

/* Costs of modules: embedding and head of their own, layers alike but not the same. */
static inline void draw_modules(struct executed *x, uint64_t *seed) {
    for (int32_t m = 0; m < x->layers + 2; m++) {
        for (int t = PP_F; t <= PP_W; t++) {
            x->module_ns[m][t] = 50000 + random_below(seed, 200000);
            x->module_ns[m][t] *= m > 0 || t != PP_I; /* an embedding has no I */
        }
    }
}

/* What a stage takes of one type: its modules and an overhead. */
static inline int64_t stage_ns(const struct executed *x, int32_t stage, enum pp_action_type type) {
    const struct pp_split_stage *s = &x->split[stage];
    int64_t sum = s->embedding ? x->module_ns[0][type] : 0;
    for (int32_t layer = s->layer_begin; layer < s->layer_end; layer++) {
        sum += x->module_ns[layer + 1][type];
    }
    return sum + (s->head ? x->module_ns[x->layers + 1][type] : 0);
}

/* The trace that modules, `overhead_ns` an action and `latency_ns` a message give. */
static inline struct pp_trace executed_trace(struct executed *x, int64_t overhead_ns,
                                             int64_t latency_ns) {
    struct pp_runtime runtime = pp_runtime_of(PP_RUNTIME_OURS);
    struct pp_engine *engine = NULL;
    struct pp_trace t = {0};
    struct pp_err err = {0};
    for (int32_t s = 0; s < x->sched->stage_count; s++) {
        x->f_ns[s] = stage_ns(x, s, PP_F) + overhead_ns;
        x->i_ns[s] = stage_ns(x, s, PP_I) + overhead_ns;
        x->w_ns[s] = stage_ns(x, s, PP_W) + overhead_ns;
        x->b_ns[s] = stage_ns(x, s, PP_I) + stage_ns(x, s, PP_W) + overhead_ns;
        x->latency_ns[s] = latency_ns;
    }
    struct pp_engine_costs costs = {.compute = {.f_ns = x->f_ns,
                                                .i_ns = x->i_ns,
                                                .w_ns = x->w_ns,
                                                .b_ns = x->b_ns,
                                                .recv_f_ns = x->latency_ns,
                                                .recv_b_ns = x->latency_ns}};
    cr_assert_eq(pp_engine_create(x->sched, &runtime, &engine, NULL, &err), PP_OK, "%s",
                 err.message);
    cr_assert_eq(pp_trace_init_queued(&t, x->sched, &err), PP_OK);
    cr_assert_eq(pp_engine_run(engine, &costs, NULL, &t, &err), PP_OK, "%s", err.message);
    pp_engine_destroy(engine);
    memcpy(t.queue_ns, t.start_ns, (size_t)x->sched->action_count * sizeof *t.queue_ns);
    return t;
}

/* Everything that waits for something that now ends later starts later. */
static inline void push_on(const struct pp_trace *before, struct pp_trace *t,
                           struct pp_waits *waits, int32_t held) {
    for (bool moved = true; moved;) {
        moved = false;
        for (int32_t at = 0; at < t->sched->action_count; at++) {
            struct pp_binding b = pp_waits_binding(waits, t, at);
            int64_t ready_ns = b.action < 0 ? 0 : t->end_ns[b.action];
            if (at != held && t->start_ns[at] < ready_ns) {
                t->start_ns[at] = ready_ns;
                t->end_ns[at] = ready_ns + before->end_ns[at] - before->start_ns[at];
                moved = true;
            }
        }
    }
}

/* ---- stored ---- */

static inline struct pp_execution_inputs executed_inputs(const struct executed *x) {
    return (struct pp_execution_inputs){.program_hash = x->hash,
                                        .workload = "transformer",
                                        .model_key = "a model",
                                        .split = x->split,
                                        .device = "host",
                                        .transport = "local",
                                        .machine = "here",
                                        .options = "{\"threads\":true}",
                                        .predicted_makespan_ns = 123456,
                                        .started_at = 1700000000};
}

static inline struct pp_execution *begin_execution(struct pp_store *store, const struct executed *x,
                                                   const struct pp_execution_inputs *inputs) {
    struct pp_execution *e = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_store_add_program(store, x->hash, x->sched, x->message_bytes, &err), PP_OK,
                 "%s", err.message);
    cr_assert_eq(pp_execution_begin(store, inputs, &e, &err), PP_OK, "%s", err.message);
    return e;
}

static inline void add_step(struct pp_execution *e, int64_t number, const struct pp_trace *t) {
    struct pp_execution_step step = {.step = number,
                                     .has_loss = true,
                                     .loss = 2.5 / (double)(number + 1),
                                     .wall_ns = 1000000 + number,
                                     .trace = t,
                                     .keep_trace = true};
    struct pp_err err = {0};
    cr_assert_eq(pp_execution_add_step(e, &step, &err), PP_OK, "%s", err.message);
}

/* The modules' own times, as an execution measures them. */
static inline void add_profile(struct pp_execution *e, const struct executed *x) {
    struct pp_profile_row rows[66 * 3];
    int32_t count = 0;
    for (int32_t m = -1; m <= x->layers; m++) {
        for (int t = PP_F; t <= PP_W; t++) {
            rows[count++] = (struct pp_profile_row){.module = m,
                                                    .type = (enum pp_action_type)t,
                                                    .median_ns = x->module_ns[m + 1][t],
                                                    .spread_ns = 10,
                                                    .count = 4};
        }
    }
    struct pp_err err = {0};
    cr_assert_eq(pp_execution_add_profile(e, rows, count, &err), PP_OK, "%s", err.message);
}

#endif
