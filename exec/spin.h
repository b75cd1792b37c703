/**
 * @file spin.h
 * The workload that only lets time pass: actions last as long as they are told and compute nothing,
 * so that order and timing can be tested and rehearsed without numerics. It waits by sleeping to an
 * absolute time, so that more ranks than cores keep true time.
 */
#ifndef PP_EXEC_SPIN_H
#define PP_EXEC_SPIN_H

#include "exec/compute.h"

/** One a rank; the context of pp_spin_ops. */
struct pp_spin;

/**
 * @param duration_ns  [action_count of the program], not owned; what a lane has to do one after the
 *                     other it does one after the other. Parts of a pair run at once if `overlaps`
 *                     of the table is used (pp_spin_overlap_ops), else one after the other
 * @return PP_OK, PP_E_NOMEM
 */
enum pp_status pp_spin_create(const struct pp_program *program, const int64_t *duration_ns,
                              struct pp_spin **spin_p, struct pp_err *err);
void pp_spin_destroy(struct pp_spin *spin);

extern const struct pp_compute_ops pp_spin_ops, pp_spin_overlap_ops;

#endif
