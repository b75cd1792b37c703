/* The workspace that draws samples, behind vary.h. One thread a workspace. */
#ifndef PP_SIM_VARY_DRAW_H
#define PP_SIM_VARY_DRAW_H

#include "sim/vary.h"

struct pp_vary_work {
    const struct pp_sched *s;
    const struct pp_vary *vary;
    bool pairs_as_one;
    int64_t *cells;     /* owns the tables that follow */
    int64_t *plain_ns;  /* [stage_count][column] durations as given */
    int64_t *stage_ns;  /* likewise, with this sample's factors of rank and stage; plain_ns if
                           there are none */
    int64_t *factor;    /* [pipelines][microbatch_count] of a unit; NULL: 1 */
    int64_t *arrive_ns; /* [stage_count][2] transfer of the input of backward, forward */
};

/** @param costs, vary  checked; vary must outlive the workspace, and costs are copied
 *  @return PP_OK, PP_E_NOMEM */
enum pp_status pp_vary_work_init(struct pp_vary_work *w, const struct pp_sched *s,
                                 const struct pp_costs *costs, const struct pp_vary *vary,
                                 struct pp_err *err);
void pp_vary_work_deinit(struct pp_vary_work *w);

/** @return PP_OK, PP_E_RANGE (an action above PP_COST_MAX_NS). No allocation. */
enum pp_status pp_vary_work_durations(struct pp_vary_work *w, int32_t sample, int64_t *duration_ns,
                                      struct pp_err *err);

/** The same of transfers. Where action_sd is 0 those of all samples are the same. */
enum pp_status pp_vary_work_transfers(const struct pp_vary_work *w, int32_t sample,
                                      int64_t *transfer_ns, struct pp_err *err);

#endif
