/* How long modules took lately. */
#include "exec/model/profile.h"

#include <stdlib.h>
#include <string.h>

enum pp_status pp_profile_init(struct pp_profile *profile, int32_t first, int32_t module_count,
                               struct pp_err *err) {
    struct pp_profile p = {.first = first, .module_count = module_count};
    p.times = calloc((size_t)module_count * PP_PROFILE_KINDS, sizeof *p.times);
    if (p.times == NULL) {
        return pp_fail(err, PP_E_NOMEM, "no memory for the profile of %d modules", module_count);
    }
    *profile = p;
    return PP_OK;
}

void pp_profile_deinit(struct pp_profile *profile) {
    free(profile->times);
    *profile = (struct pp_profile){0};
}

void pp_profile_add(struct pp_profile *profile, int32_t module, enum pp_action_type type,
                    int64_t ns) {
    struct pp_profile_times *t =
        &profile->times[(module - profile->first) * PP_PROFILE_KINDS + (int32_t)type];
    t->ns[t->count % PP_PROFILE_KEPT] = ns;
    t->count = t->count == INT32_MAX - PP_PROFILE_KEPT ? PP_PROFILE_KEPT : t->count + 1;
}

static int order(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Sorts. An even number has two in the middle: half their sum. */
static int64_t median(int64_t *values, int32_t count) {
    qsort(values, (size_t)count, sizeof *values, order);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

static struct pp_profile_row row_of(const struct pp_profile_times *t) {
    int64_t values[PP_PROFILE_KEPT];
    int32_t kept = t->count < PP_PROFILE_KEPT ? t->count : PP_PROFILE_KEPT;
    memcpy(values, t->ns, (size_t)kept * sizeof *values);
    struct pp_profile_row row = {.median_ns = median(values, kept), .count = t->count};
    for (int32_t i = 0; i < kept; i++) {
        values[i] =
            values[i] < row.median_ns ? row.median_ns - values[i] : values[i] - row.median_ns;
    }
    row.spread_ns = median(values, kept);
    return row;
}

int32_t pp_profile_rows(const struct pp_profile *profile, struct pp_profile_row *rows,
                        int32_t room) {
    static const enum pp_action_type types[PP_PROFILE_KINDS] = {PP_F, PP_I, PP_W};
    int32_t count = 0;
    for (int32_t i = 0; i < profile->module_count * PP_PROFILE_KINDS; i++) {
        const struct pp_profile_times *t = &profile->times[i];
        if (t->count == 0) {
            continue;
        }
        if (count < room) {
            rows[count] = row_of(t);
            rows[count].module = profile->first + i / PP_PROFILE_KINDS;
            rows[count].type = types[i % PP_PROFILE_KINDS];
        }
        count++;
    }
    return count;
}
