/* From a model as the planner knows it to a shape that the executor runs. */
#ifndef PP_REPORTS_CLI_RUN_MODEL_H
#define PP_REPORTS_CLI_RUN_MODEL_H

#include "costmodel/model.h"
#include "exec/model/shape.h"

enum { PP_RUN_MODEL_REMARKS = 6 };

/* What the executor does otherwise than the model says; of no weight for times and memory. */
struct pp_run_remarks {
    const char *items[PP_RUN_MODEL_REMARKS];
    int32_t count;
};

/*
 * @return PP_OK; PP_E_NO_SHAPE; PP_E_MODEL: what the executor has no kernels for (MLA, learned
 *         positions, MLPs without a gate), with the hint to
 *         rehearse with another --model of as many layers
 */
enum pp_status pp_run_shape(const struct pp_model *m, struct pp_shape *shape_p,
                            struct pp_run_remarks *remarks_p, struct pp_err *err);

#endif
