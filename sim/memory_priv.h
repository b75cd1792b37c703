/* Memory moment by moment, for what looks at it along a trace: peaks, timelines, causes. */
#ifndef PP_SIM_MEMORY_PRIV_H
#define PP_SIM_MEMORY_PRIV_H

#include "sim/memory.h"

/* What an action does to its rank's memory. */
struct pp_memory_effect {
    int64_t adds;      /* at its start */
    int64_t transient; /* while it runs */
    int64_t frees;     /* at its end */
};

/* Of F, I, W, B, OFFLOAD or RELOAD. */
struct pp_memory_effect pp_memory_effect_of(const struct pp_memory_model *model,
                                            const struct pp_action *a);

/* A moment at which a rank's memory changes. */
struct pp_memory_moment {
    int64_t time_ns;
    int32_t action; /* that changes it */
};

/* A rank's compute actions and its transfers to the host are two rows, each in order. Their
 * moments are taken by time, and at the same time by place in the rank's list. Of a lowered trace
 * the moments stand in the workspace, and `compute` is the next of them. */
struct pp_memory_walk {
    const struct pp_trace *trace;
    const struct pp_memory_model *model;
    const struct pp_memory_work *work; /* NULL: compute-only */
    int32_t compute, host;             /* next action of either row; `end` after the last */
    int32_t end;
    bool running;   /* the start of `compute` has been taken */
    int64_t amount; /* after the moments taken so far */
};

struct pp_memory_walk pp_memory_walk_begin(const struct pp_trace *trace,
                                           const struct pp_memory_model *model, int32_t rank);

/* The same of a lowered trace; the workspace serves one walk at a time. */
struct pp_memory_walk pp_memory_walk_begin_lowered(struct pp_memory_work *work,
                                                   const struct pp_trace *trace,
                                                   const struct pp_memory_model *model,
                                                   int32_t rank);
int64_t pp_memory_walk_next_lowered_ns(const struct pp_memory_walk *w);
bool pp_memory_walk_step_lowered(struct pp_memory_walk *w, struct pp_memory_moment *m);

/* When the next moment is; INT64_MAX after the last. */
int64_t pp_memory_walk_next_ns(const struct pp_memory_walk *w);

/* Takes the next moment: `amount` is from then on. @return false after the last */
bool pp_memory_walk_step(struct pp_memory_walk *w, struct pp_memory_moment *m);

#endif
