/**
 * @file trace.h
 * What happened: start and end of every action of a schedule. The simulator and the executor both
 * write it, so metrics, pictures and comparisons serve both.
 */
#ifndef PP_SIM_TRACE_H
#define PP_SIM_TRACE_H

#include "sim/schedule.h"

struct pp_trace {
    const struct pp_sched *sched; /* not owned; must outlive the trace */
    int64_t *start_ns;            /* [action_count], same order as sched->actions */
    int64_t *end_ns;              /* [action_count + 1]; the last entry stays 0, so that an action
                                     without predecessor has an end to start from */
    int64_t *queue_ns; /* [action_count] when its rank handed it to its lane; what follows
                          until start_ns it waited there (a SEND for its RECV). NULL: not
                          recorded */
};

/** Arrays for a sealed schedule, all zero. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_trace_init(struct pp_trace *trace, const struct pp_sched *s, struct pp_err *err);
/** The same with queue_ns. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_trace_init_queued(struct pp_trace *trace, const struct pp_sched *s,
                                    struct pp_err *err);
void pp_trace_deinit(struct pp_trace *trace);

/** What an action waited for last: it started at the end of `action`, plus lag_ns. */
struct pp_binding {
    int32_t action; /* -1: nothing */
    int64_t lag_ns; /* >= 0; transfer without an action of its own (compute-only schedules) */
};

/** Of ties: the compute action before on the same rank, then the lowest index. */
typedef struct pp_binding pp_binding_of(const void *context, const struct pp_trace *trace,
                                        int32_t at);

#endif
