/**
 * @file bounds.h
 * Lower bounds of a schedule's time: certificates of optimality. No order of F, I and W on the
 * given placement is shorter, whatever generator or search made it; one that reaches a bound is
 * optimal, and the search for a better one can end.
 *
 * Of each rank's span (last end - first start), from its own first forward on:
 *
 *   ends    its work, and the idle time that the fill and the drain force on it: before its first
 *           backward only as many forwards as memory holds, after its last forward only backwards
 *           and weights of the microbatches that memory held then
 *   chain   to another rank below, that rank's forwards and backwards, and back up again
 *   memory  every microbatch holds its activations from its forward to the end of its backward, the
 *           weights' part until W; all of that has to pass through the memory limit
 *
 * The makespan adds the way of the first microbatch to each rank. Generalised to costs of every
 * stage and any placement from what holds for rank 0 of one stage a rank and of the V placement
 * (uniform costs): Qi et al., arXiv 2401.10241, appendix B, and arXiv 2405.15362.
 *
 * For schedules with full backwards pass B as I, zeros as W and all of the activations as freed by
 * I. Bidirectional schedules: work and memory only, as either pipeline may come first.
 */
#ifndef PP_SIM_BOUNDS_H
#define PP_SIM_BOUNDS_H

#include "sim/costs.h"
#include "sim/memory.h"

struct pp_bounds {
    int64_t work_ns;     /* busiest rank's F, I and W */
    int64_t ends_ns;     /* span, by fill and drain */
    int64_t chain_ns;    /* span, by the way to another rank and back */
    int64_t memory_ns;   /* span, by memory times time; 0 without limits */
    int64_t span_ns;     /* largest of these */
    int64_t makespan_ns; /* largest, over ranks, of the way to the rank and its span */
};

/**
 * @param s       placement and counts are read, no action; need not be sealed
 * @param costs   f_ns, i_ns, w_ns; transfers may be NULL; pairs are not looked at
 * @param memory  f_adds and w_frees are read; may be NULL without limits
 * @param limit   [rank_count] in the memory's unit; NULL = none
 * @return PP_OK, PP_E_LIMIT (a rank's limit is below one microbatch of a stage), PP_E_NOMEM
 * Cost: O(stages + ranks * microbatches that a limit holds).
 */
enum pp_status pp_bounds_of(const struct pp_sched *s, const struct pp_costs *costs,
                            const struct pp_memory_model *memory, const int64_t *limit,
                            struct pp_bounds *bounds_p, struct pp_err *err);

#endif
