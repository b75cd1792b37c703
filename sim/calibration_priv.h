/* What fitting and using a calibration share. */
#ifndef PP_SIM_CALIBRATION_PRIV_H
#define PP_SIM_CALIBRATION_PRIV_H

#include "sim/calibration.h"

/** What the rows say of one action of a stage, without what is beyond modules.
 *  @param split  [stage_count] of the schedule; not read if by_stage
 *  @return PP_OK, PP_E_NOT_FOUND */
enum pp_status pp_calibration_explain(const struct pp_calibration *c,
                                      const struct pp_split_stage *split, int32_t stage_count,
                                      int32_t stage, enum pp_action_type type, int64_t *ns_p,
                                      struct pp_err *err);

#endif
