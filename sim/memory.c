#include "sim/memory.h"

static int64_t entry(const int64_t *array, int32_t index) {
    return array == NULL ? 0 : array[index];
}

/* What an action does to its rank's memory. */
struct effect {
    int64_t adds;      /* at its start */
    int64_t transient; /* while it runs */
    int64_t frees;     /* at its end */
};

static struct effect effect_of(const struct pp_memory_model *model, const struct pp_action *a) {
    struct effect e = {0};
    if (a->type == PP_F) {
        e.adds = entry(model->f_adds, a->stage);
        e.transient = entry(model->f_transient, a->stage);
        return e;
    }
    e.transient = entry(model->b_transient, a->stage);
    e.frees = (a->type != PP_W ? entry(model->i_frees, a->stage) : 0) +
              (a->type != PP_I ? entry(model->w_frees, a->stage) : 0);
    return e;
}

/* Effect of the cell that begins with action `at`, and how many actions it covers. */
static struct effect cell_effect(const struct pp_sched *s, const struct pp_memory_model *model,
                                 int32_t at, int32_t *size_p) {
    struct effect e = effect_of(model, &s->actions[at]);
    *size_p = 1;
    if (model->pairs_as_one && s->actions[at].pair == 1) {
        struct effect second = effect_of(model, &s->actions[at + 1]);
        e.adds += second.adds;
        e.transient += second.transient;
        e.frees += second.frees;
        *size_p = 2;
    }
    return e;
}

void pp_memory_peaks(const struct pp_sched *s, const struct pp_memory_model *model,
                     struct pp_rank_memory *peaks) {
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        int64_t amount = entry(model->base, rank);
        struct pp_rank_memory peak = {.peak = amount, .peak_action = -1};
        int32_t size;
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at += size) {
            struct effect e = cell_effect(s, model, at, &size);
            amount += e.adds;
            if (amount + e.transient > peak.peak) {
                peak = (struct pp_rank_memory){.peak = amount + e.transient, .peak_action = at};
            }
            amount -= e.frees;
        }
        peaks[rank] = peak;
    }
}

int32_t pp_memory_timeline(const struct pp_trace *trace, const struct pp_memory_model *model,
                           int32_t rank, struct pp_memory_point *points) {
    const struct pp_sched *s = trace->sched;
    int64_t amount = entry(model->base, rank);
    int32_t n = 0;
    points[n++] = (struct pp_memory_point){.time_ns = 0, .amount = amount};
    int32_t size;
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at += size) {
        struct effect e = cell_effect(s, model, at, &size);
        amount += e.adds;
        points[n++] = (struct pp_memory_point){.time_ns = trace->start_ns[at],
                                               .amount = amount + e.transient};
        amount -= e.frees;
        points[n++] =
            (struct pp_memory_point){.time_ns = trace->end_ns[at + size - 1], .amount = amount};
    }
    return n;
}
