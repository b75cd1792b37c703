/* Finding a schedule by name, and helping whoever typed another one. */
#include "sim/generate.h"

#include "costmodel/nearest.h"

#include <stdio.h>
#include <string.h>

/* Names in Automodel's documentation of pp_schedule that PyTorch refuses. */
static const struct {
    const char *name, *works, *remark;
} documented[] = {
    {"interleaved_1f1b", "Interleaved1F1B", ""},
    {"looped_bfs", "LoopedBFS", ""},
    {"dfs", "LoopedBFS", " (breadth-first; the depth-first schedule is Interleaved1F1B)"},
    {"v_schedule", "ZBVZeroBubble", ""},
    {"zero_bubble", "InterleavedZeroBubble", ""},
};

enum { DOCUMENTED_COUNT = sizeof documented / sizeof documented[0], MAX_LISTED = 64 };

/* What Automodel's documentation means by a name; -1 if it does not have it. */
static int32_t find_documented(const char *name) {
    for (int32_t i = 0; i < DOCUMENTED_COUNT; i++) {
        if (pp_equal_nocase(name, documented[i].name)) {
            return i;
        }
    }
    return -1;
}

/* The first `count` schedules, likeliest first. */
static void order_by_likeness(const char *name, int32_t count,
                              const struct pp_schedule_info **nearest) {
    PP_ASSERT(count <= MAX_LISTED);
    int32_t meant = find_documented(name);
    const char *works = meant >= 0 ? documented[meant].works : name;
    bool listed[MAX_LISTED] = {false};
    for (int32_t n = 0; n < count; n++) {
        int32_t best = -1;
        int32_t best_distance = 0;
        for (int32_t i = 0; i < count; i++) {
            int32_t d = pp_word_distance(works, pp_schedule_at(i)->name);
            if (!listed[i] && (best < 0 || d < best_distance)) {
                best = i;
                best_distance = d;
            }
        }
        PP_ASSERT(best >= 0); /* as many rounds as names */
        listed[best] = true;
        nearest[n] = pp_schedule_at(best);
    }
}

void pp_schedule_nearest(const char *name, const struct pp_schedule_info **nearest) {
    order_by_likeness(name, pp_schedule_torch_count(), nearest);
}

static void list_names(const char *name, int32_t count, char *out, size_t size) {
    const struct pp_schedule_info *nearest[MAX_LISTED];
    order_by_likeness(name, count, nearest);
    size_t used = 0;
    out[0] = '\0';
    for (int32_t n = 0; n < count; n++) {
        int wrote = snprintf(out + used, size - used, "%s%s", n == 0 ? "" : ", ", nearest[n]->name);
        used += (size_t)wrote < size - used ? (size_t)wrote : 0;
    }
}

/* Looks among the first `count` schedules. */
static enum pp_status find(const char *name, int32_t count, const struct pp_schedule_info **info_p,
                           struct pp_err *err) {
    for (int32_t i = 0; i < count; i++) {
        if (pp_equal_nocase(name, pp_schedule_at(i)->name)) {
            *info_p = pp_schedule_at(i);
            return PP_OK;
        }
    }
    pp_fail(err, PP_E_SCHEDULE, "unknown schedule '%.60s'", name);
    int32_t meant = find_documented(name);
    if (meant >= 0) {
        pp_hint(err, "PyTorch does not know this name; use %s%s", documented[meant].works,
                documented[meant].remark);
        return PP_E_SCHEDULE;
    }
    char names[PP_ERR_HINT_BYTES];
    list_names(name, count, names, sizeof names);
    pp_hint(err, "known schedules: %s", names);
    return PP_E_SCHEDULE;
}

enum pp_status pp_schedule_find(const char *name, const struct pp_schedule_info **info_p,
                                struct pp_err *err) {
    return find(name, pp_schedule_count(), info_p, err);
}

enum pp_status pp_schedule_find_torch(const char *name, const struct pp_schedule_info **info_p,
                                      struct pp_err *err) {
    return find(name, pp_schedule_torch_count(), info_p, err);
}
