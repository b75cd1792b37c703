/**
 * @file runtime.h
 * Runs a sealed schedule and records what happened in a trace: the same schedule object that was
 * simulated, the same trace object that the simulator writes.
 *
 * The interpreter is a pollable state machine, never a blocking loop: each rank has a cursor, and a
 * rank whose next action waits for another rank is skipped. One thread drives all ranks, so a wait
 * cycle is seen at once (no rank can advance and nothing is in flight). What an action does sits
 * behind a const table of operations; `spin` (spin.h) is the first one.
 */
#ifndef PP_EXEC_RUNTIME_H
#define PP_EXEC_RUNTIME_H

#include "sim/schedule.h"
#include "sim/trace.h"

enum { PP_COMPUTE_API = 1 };

/** What a backend does with an action. Every entry is required. */
struct pp_compute_ops {
    int32_t api;      /* PP_COMPUTE_API */
    const char *name; /* "spin" */
    /** Nanoseconds since some fixed moment; never goes back. */
    int64_t (*now_ns)(void *context);
    /** Starts action `index` of the schedule; its inputs are there. Must not block. */
    enum pp_status (*start)(void *context, const struct pp_sched *s, int32_t index,
                            struct pp_err *err);
    /** Has action `index` ended? */
    bool (*done)(void *context, const struct pp_sched *s, int32_t index);
    /** Called when no rank could advance: wait until something may have ended. */
    void (*idle)(void *context);
};

/**
 * Runs one flush. Times in the trace count from the call.
 * @param trace  initialised for `s`; written on success
 * @return PP_OK, PP_E_DEADLOCK (names the first rank that waits, and for what), a status of
 *         ops->start, PP_E_ARG (the schedule offloads activations), PP_E_NOMEM
 */
enum pp_status pp_exec_run(const struct pp_sched *s, const struct pp_compute_ops *ops,
                           void *context, struct pp_trace *trace, struct pp_err *err);

#endif
