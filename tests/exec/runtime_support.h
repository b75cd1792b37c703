/* Runs of programs in this process, for tests: endpoints, arenas, ranks and who drives them. */
#ifndef PP_TESTS_RUNTIME_SUPPORT_H
#define PP_TESTS_RUNTIME_SUPPORT_H

#include "exec/clock.h"
#include "exec/drive.h"
#include "exec/fault.h"
#include "exec/local/local.h"
#include "exec/spin.h"
#include "tests/exec/program_support.h"
#include "tests/exec/token_support.h"

enum { RUN_RANKS = 32 };

/* A program of a schedule whose actions take as long on every stage; messages take no time. */
static inline void make_timed_case(struct program_case *c, struct pp_sched *order, int64_t f_ns,
                                   int64_t others_ns) {
    *c = (struct program_case){0};
    for (int32_t stage = 0; stage < PROGRAM_STAGES; stage++) {
        c->times[0][stage] = c->times[1][stage] = c->times[2][stage] = f_ns;
        c->times[3][stage] = 2 * f_ns;
        c->times[4][stage] = others_ns;
        c->input_bytes[stage] = 192;
        c->stash_bytes[stage] = 320;
    }
    c->costs = (struct pp_engine_costs){.compute = {.f_ns = c->times[0],
                                                    .i_ns = c->times[1],
                                                    .w_ns = c->times[2],
                                                    .b_ns = c->times[3],
                                                    .offload_ns = c->times[4]},
                                        .unshard_ns = c->times[4],
                                        .reduce_ns = c->times[4]};
    c->sizes =
        (struct pp_program_sizes){.input_bytes = c->input_bytes, .stash_bytes = c->stash_bytes};
    c->lowered = lower(order, PP_LOWER_OURS);
    pp_sched_destroy(order);
    program_case_expect(c);
    program_case_create(c);
}

/* How a run is made. Zero: rendezvous, one thread, work is done at once. */
struct how {
    int32_t buffers;
    int64_t latency_ns;
    bool threads, overlaps;
    int32_t most_polls;
    int64_t deadline_ns;
    struct pp_fault fault; /* PP_FAULT_NONE: none */
};

struct run {
    struct how how;
    const struct pp_program *program;
    struct token_model model;
    struct token tokens[RUN_RANKS];
    struct pp_fault_compute faulty[RUN_RANKS];
    struct pp_transport transport;
    struct pp_rank *ranks[RUN_RANKS];
    void *arenas[RUN_RANKS], *host_arenas[RUN_RANKS];
    struct pp_trace trace;
    struct pp_drive *drive;
    const struct pp_compute_ops *ops; /* as the ranks have it */
    void *contexts[RUN_RANKS];
    struct pp_failure failure;
    struct pp_err err;
};

static inline void *run_arena(int64_t bytes) {
    return bytes == 0 ? NULL : aligned_alloc(64, ((size_t)bytes + 63) / 64 * 64);
}

/* Ranks over contexts that are given, or tokens. */
static inline void run_open_ranks(struct run *r, const struct pp_compute_ops *ops) {
    const struct pp_program *p = r->program;
    struct pp_local_options local = {.buffers = r->how.buffers, .latency_ns = r->how.latency_ns};
    struct pp_drive_options drive = {.threads = r->how.threads, .deadline_ns = r->how.deadline_ns};
    bool has_fault = r->how.fault.kind != PP_FAULT_NONE;
    cr_assert_leq(p->sched->rank_count, RUN_RANKS);
    cr_assert_eq(pp_local_open(p, &local, &r->transport, &r->err), PP_OK, "%s", r->err.message);
    if (has_fault) {
        cr_assert_eq(pp_fault_wrap(&r->transport, p, &r->how.fault, &r->err), PP_OK, "%s",
                     r->err.message);
    }
    cr_assert_eq(pp_trace_init_queued(&r->trace, p->sched, NULL), PP_OK);
    for (int32_t i = 0; i < p->sched->rank_count; i++) {
        if (has_fault) {
            pp_fault_wrap_compute(&r->faulty[i], ops, r->contexts[i], &r->how.fault);
            r->contexts[i] = &r->faulty[i];
        }
        r->ops = has_fault ? &r->faulty[i].ops : ops;
        r->arenas[i] = run_arena(p->arena_bytes[i]);
        r->host_arenas[i] = run_arena(p->host_bytes[i]);
        struct pp_rank_config config = {.program = p,
                                        .rank = i,
                                        .compute = r->ops,
                                        .compute_context = r->contexts[i],
                                        .transport = r->transport.ops,
                                        .endpoint = r->transport.endpoints[i],
                                        .arena = r->arenas[i],
                                        .host_arena = r->host_arenas[i],
                                        .trace = &r->trace};
        cr_assert_eq(pp_rank_create(&config, &r->ranks[i], &r->err), PP_OK, "%s", r->err.message);
    }
    cr_assert_eq(pp_drive_create(r->ranks, p->sched->rank_count, p, &drive, &r->drive, &r->err),
                 PP_OK, "%s", r->err.message);
}

static inline void run_open(struct run *r, const struct program_case *c, const struct how *how) {
    *r = (struct run){.how = *how, .program = c->program};
    token_model_init(&r->model, c->program, &c->sizes);
    r->model.most_polls = how->most_polls;
    for (int32_t i = 0; i < c->program->sched->rank_count; i++) {
        token_init(&r->tokens[i], &r->model, (uint64_t)i);
        r->contexts[i] = &r->tokens[i];
    }
    run_open_ranks(r, how->overlaps ? &token_overlap_ops : &token_ops);
}

static inline void run_close(struct run *r) {
    const struct pp_program *p = r->program;
    pp_drive_destroy(r->drive);
    for (int32_t i = 0; i < p->sched->rank_count; i++) {
        pp_rank_destroy(r->ranks[i]);
        free(r->arenas[i]);
        free(r->host_arenas[i]);
        if (r->model.program != NULL) {
            token_deinit(&r->tokens[i]);
        }
    }
    if (r->how.fault.kind != PP_FAULT_NONE) {
        pp_fault_unwrap(&r->transport);
    }
    pp_local_close(&r->transport);
    pp_trace_deinit(&r->trace);
    token_model_deinit(&r->model);
    pp_failure_deinit(&r->failure);
}

static inline enum pp_status run_step(struct run *r, int64_t step) {
    const struct pp_program *p = r->program;
    for (int32_t i = 0; i < p->sched->rank_count; i++) {
        token_poison(r->arenas[i], p->arena_bytes[i]);
        token_poison(r->host_arenas[i], p->host_bytes[i]);
        if (r->ops->begin_step != NULL) {
            cr_assert_eq(r->ops->begin_step(r->contexts[i], step, NULL), PP_OK);
        }
    }
    pp_failure_deinit(&r->failure);
    enum pp_status status = pp_drive_step(r->drive, step, &r->failure, &r->err);
    if (status == PP_OK) {
        pp_trace_settle(&r->trace);
    }
    return status;
}

/* A step goes through, and everything in it was right. */
static inline void run_step_well(struct run *r, int64_t step, const char *what) {
    int32_t wrong = -1;
    char text[PP_ACTION_TEXT_BYTES] = "";
    enum pp_status status = run_step(r, step);
    cr_assert_eq(status, PP_OK, "%s: %s", what, r->err.message);
    cr_assert_eq(r->failure.kind, PP_FAIL_NONE);
    for (int32_t i = 0; r->model.program != NULL && i < r->program->sched->rank_count; i++) {
        const char *verdict = token_verdict(&r->tokens[i], i);
        cr_assert_null(verdict, "%s: rank %d: %s", what, i, verdict);
    }
    bool in_order = pp_program_in_order(r->program, &r->trace, &wrong);
    if (!in_order) {
        pp_action_text(&r->program->sched->actions[wrong], text);
    }
    cr_assert(in_order, "%s: %s is out of order", what, text);
}

#endif
