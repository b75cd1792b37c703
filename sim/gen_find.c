/* Finding a schedule by name, and helping whoever typed another one. */
#include "sim/generate.h"

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

enum {
    DOCUMENTED_COUNT = sizeof documented / sizeof documented[0],
    MAX_NAME = 32,
    MAX_LISTED = 64
};

static int lower(char c) {
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static int least(int a, int b) {
    return a < b ? a : b;
}

/* Letters to insert, delete or replace, ignoring case; of long names only the beginning counts. */
static int distance(const char *a, const char *b) {
    int row[MAX_NAME + 1];
    int b_size = (int)strnlen(b, MAX_NAME);
    for (int j = 0; j <= b_size; j++) {
        row[j] = j;
    }
    for (int i = 1; i <= MAX_NAME && a[i - 1] != '\0'; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= b_size; j++) {
            int above = row[j];
            int replaced = diagonal + (lower(a[i - 1]) != lower(b[j - 1]));
            row[j] = least(replaced, 1 + least(above, row[j - 1]));
            diagonal = above;
        }
    }
    return row[b_size];
}

/* What Automodel's documentation means by a name; -1 if it does not have it. */
static int32_t find_documented(const char *name) {
    for (int32_t i = 0; i < DOCUMENTED_COUNT; i++) {
        if (pp_equal_nocase(name, documented[i].name)) {
            return i;
        }
    }
    return -1;
}

void pp_schedule_nearest(const char *name, const struct pp_schedule_info **nearest) {
    PP_ASSERT(pp_schedule_count() <= MAX_LISTED);
    int32_t meant = find_documented(name);
    const char *works = meant >= 0 ? documented[meant].works : name;
    bool listed[MAX_LISTED] = {false};
    for (int32_t n = 0; n < pp_schedule_count(); n++) {
        int32_t best = -1;
        int best_distance = 0;
        for (int32_t i = 0; i < pp_schedule_count(); i++) {
            int d = distance(works, pp_schedule_at(i)->name);
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

static void list_names(const char *name, char *out, size_t size) {
    const struct pp_schedule_info *nearest[MAX_LISTED];
    pp_schedule_nearest(name, nearest);
    size_t used = 0;
    out[0] = '\0';
    for (int32_t n = 0; n < pp_schedule_count(); n++) {
        int wrote = snprintf(out + used, size - used, "%s%s", n == 0 ? "" : ", ", nearest[n]->name);
        used += (size_t)wrote < size - used ? (size_t)wrote : 0;
    }
}

enum pp_status pp_schedule_find(const char *name, const struct pp_schedule_info **info_p,
                                struct pp_err *err) {
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
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
    list_names(name, names, sizeof names);
    pp_hint(err, "known schedules: %s", names);
    return PP_E_SCHEDULE;
}
