/* Training through program, runtime and local transport: everything between a schedule's name and
 * a step. */
#ifndef PP_TESTS_PIPELINE_SUPPORT_H
#define PP_TESTS_PIPELINE_SUPPORT_H

#include "exec/drive.h"
#include "exec/local/local.h"
#include "sim/engine.h"
#include "sim/lower.h"
#include "tests/exec/train_support.h"

enum { TRAINING_RANKS = 8, TRAINING_STAGES = 64 };

struct training_options {
    int32_t reduce_every;
    bool threads, casts;
};

struct training {
    struct pp_transformer *transformer;
    struct pp_sched *lowered;
    struct pp_trace expected;
    struct pp_program *program;
    struct pp_transport transport;
    struct pp_device_ops device;
    struct pp_host *hosts[TRAINING_RANKS];
    struct pp_transformer_rank *contexts[TRAINING_RANKS];
    void *arenas[TRAINING_RANKS], *host_arenas[TRAINING_RANKS];
    struct pp_rank *ranks[TRAINING_RANKS];
    struct pp_drive *drive;
    int64_t host_bytes; /* of all ranks: was anything offloaded? */
};

/* Expected times of every action between 500 and 1500 ns, drawn. */
static inline void expect_times(struct training *t, uint64_t seed) {
    struct pp_runtime runtime = pp_runtime_of(PP_RUNTIME_OURS);
    int64_t times[6][TRAINING_STAGES];
    for (int32_t i = 0; i < 6 * TRAINING_STAGES; i++) {
        times[i / TRAINING_STAGES][i % TRAINING_STAGES] = 500 + random_below(&seed, 1000);
    }
    struct pp_engine_costs costs = {.compute = {.f_ns = times[0],
                                                .i_ns = times[1],
                                                .w_ns = times[2],
                                                .b_ns = times[3],
                                                .recv_f_ns = times[4],
                                                .recv_b_ns = times[4],
                                                .offload_ns = times[5]}};
    struct pp_engine *e = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_engine_create(t->lowered, &runtime, &e, NULL, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_trace_init(&t->expected, t->lowered, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_engine_run(e, &costs, NULL, &t->expected, &err), PP_OK, "%s", err.message);
    pp_engine_destroy(e);
}

static inline void make_program(struct training *t, int32_t reduce_every, uint64_t seed,
                                const struct pp_sched *order) {
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    options.reduce_every = reduce_every;
    struct pp_err err = {0};
    cr_assert_leq(order->stage_count, TRAINING_STAGES);
    cr_assert_leq(order->rank_count, TRAINING_RANKS);
    cr_assert_eq(pp_sched_lower(order, &options, &t->lowered, &err), PP_OK, "%s", err.message);
    expect_times(t, seed);
    int64_t input[TRAINING_STAGES];
    int64_t stash[TRAINING_STAGES];
    int64_t fixed[TRAINING_STAGES];
    pp_transformer_sizes(t->transformer, t->lowered, sizeof(float), input, stash, fixed);
    struct pp_program_sizes sizes = {input, stash, fixed};
    cr_assert_eq(pp_program_create(t->lowered, &sizes, &t->expected, &t->program, &err), PP_OK,
                 "%s", err.message);
}

static inline void open_rank(struct training *t, int32_t rank) {
    struct pp_err err = {0};
    cr_assert_eq(pp_host_create(&t->hosts[rank], &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_transformer_open(t->transformer, t->lowered, rank, &t->device, t->hosts[rank],
                                     &t->contexts[rank], &err),
                 PP_OK, "%s", err.message);
    t->arenas[rank] = take_buffer(t->program->arena_bytes[rank]);
    t->host_arenas[rank] = take_buffer(t->program->host_bytes[rank]);
    t->host_bytes += t->program->host_bytes[rank];
    struct pp_rank_config config = {.program = t->program,
                                    .rank = rank,
                                    .compute = &pp_transformer_ops,
                                    .compute_context = t->contexts[rank],
                                    .transport = t->transport.ops,
                                    .endpoint = t->transport.endpoints[rank],
                                    .arena = t->arenas[rank],
                                    .host_arena = t->host_arenas[rank]};
    cr_assert_eq(pp_rank_create(&config, &t->ranks[rank], &err), PP_OK, "%s", err.message);
}

/* Of a sealed compute-only schedule. */
static inline void open_training(struct training *t, const struct pp_transformer_config *config,
                                 const struct pp_sched *order,
                                 const struct training_options *options) {
    *t = (struct training){.transformer = make_transformer(config, order->part_count),
                           .device = test_device(options->casts)};
    make_program(t, options->reduce_every, (uint64_t)order->action_count, order);
    struct pp_err err = {0};
    struct pp_local_options rendezvous = {0};
    cr_assert_eq(pp_local_open(t->program, &rendezvous, &t->transport, &err), PP_OK, "%s",
                 err.message);
    for (int32_t i = 0; i < order->rank_count; i++) {
        open_rank(t, i);
    }
    struct pp_drive_options drive = {.threads = options->threads,
                                     .deadline_ns = (int64_t)60000000000};
    cr_assert_eq(pp_drive_create(t->ranks, order->rank_count, t->program, &drive, &t->drive, &err),
                 PP_OK, "%s", err.message);
}

static inline void close_training(struct training *t) {
    pp_drive_destroy(t->drive);
    for (int32_t i = 0; i < t->lowered->rank_count; i++) {
        pp_rank_destroy(t->ranks[i]);
        pp_transformer_close(t->contexts[i]);
        pp_host_destroy(t->hosts[i]);
        give_buffer(t->arenas[i], t->program->arena_bytes[i]);
        give_buffer(t->host_arenas[i], t->program->host_bytes[i]);
    }
    pp_local_close(&t->transport);
    pp_program_destroy(t->program);
    pp_trace_deinit(&t->expected);
    pp_sched_destroy(t->lowered);
    pp_transformer_destroy(t->transformer);
}

/* One step from poisoned arenas. @return the mean loss of its microbatches */
static inline double train_step(struct training *t, int64_t step) {
    struct pp_err err = {0};
    struct pp_failure failure = {0};
    int32_t ranks = t->lowered->rank_count;
    for (int32_t i = 0; i < ranks; i++) {
        memset(t->arenas[i], POISON, (size_t)t->program->arena_bytes[i]);
        memset(t->host_arenas[i], POISON, (size_t)t->program->host_bytes[i]);
        cr_assert_eq(pp_transformer_ops.begin_step(t->contexts[i], step, &err), PP_OK);
    }
    cr_assert_eq(pp_drive_step(t->drive, step, &failure, &err), PP_OK, "%s", err.message);
    double loss = 0;
    for (int32_t i = 0; i < ranks; i++) {
        loss += pp_transformer_ops.loss(t->contexts[i]);
        cr_assert_eq(pp_transformer_ops.end_step(t->contexts[i], step, &err), PP_OK);
    }
    return loss /
           (t->lowered->microbatch_count * (t->lowered->stage_count / t->lowered->part_count));
}

#endif
