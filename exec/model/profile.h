/** @file profile.h How long modules took lately: the last 64 times of each module and kind. */
#ifndef PP_EXEC_MODEL_PROFILE_H
#define PP_EXEC_MODEL_PROFILE_H

#include "sim/profile.h"

enum { PP_PROFILE_KEPT = 64, PP_PROFILE_KINDS = 3 };

struct pp_profile_times {
    int64_t ns[PP_PROFILE_KEPT];
    int32_t count; /* ever */
};

struct pp_profile {
    int32_t first, module_count;    /* modules first .. first + module_count - 1 */
    struct pp_profile_times *times; /* [module_count][PP_PROFILE_KINDS] */
};

/** @return PP_OK, PP_E_NOMEM */
enum pp_status pp_profile_init(struct pp_profile *profile, int32_t first, int32_t module_count,
                               struct pp_err *err);
void pp_profile_deinit(struct pp_profile *profile);

/** @param type  PP_F, PP_I or PP_W */
void pp_profile_add(struct pp_profile *profile, int32_t module, enum pp_action_type type,
                    int64_t ns);

/** compute.h's `profile`: rows of what ever ran. */
int32_t pp_profile_rows(const struct pp_profile *profile, struct pp_profile_row *rows,
                        int32_t room);

#endif
