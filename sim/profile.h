/**
 * @file profile.h
 * How long the modules of a model took where it was run: what an execution measures, the database
 * keeps and a calibration learns from. By module, not by stage, so that what one split has shown
 * tells the cost of every other split of the same model.
 */
#ifndef PP_SIM_PROFILE_H
#define PP_SIM_PROFILE_H

#include "sim/schedule.h"

enum { PP_MODULE_EMBEDDING = -1 }; /* 0..layers-1: a layer; layers: final norm, head and loss */

struct pp_profile_row {
    int32_t module;
    enum pp_action_type type;     /* PP_F, PP_I or PP_W; B counts as I and W */
    int64_t median_ns, spread_ns; /* of one microbatch; spread: median absolute deviation */
    int32_t count;                /* how often it ran */
};

#endif
