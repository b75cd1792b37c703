/**
 * @file spin.h
 * The `spin` workload: actions that last as long as they are told and compute nothing, so that
 * order and timing can be tested without numerics. Waits by sleeping to an absolute time, so that
 * more ranks than cores keep true time.
 */
#ifndef PP_EXEC_SPIN_H
#define PP_EXEC_SPIN_H

#include "exec/runtime.h"

struct pp_spin {
    const int64_t *duration_ns; /* [action_count], not owned */
    int64_t *until_ns;          /* [action_count] when an action that was started ends; 0 before */
    int32_t action_count;
};

/** @return PP_OK, PP_E_NOMEM */
enum pp_status pp_spin_init(struct pp_spin *spin, const struct pp_sched *s,
                            const int64_t *duration_ns, struct pp_err *err);
void pp_spin_deinit(struct pp_spin *spin);

/** Table for pp_exec_run; its context is a `struct pp_spin`. */
extern const struct pp_compute_ops pp_spin_ops;

#endif
