/**
 * @file causes.h
 * Why a rank is idle, to the nanosecond, and the critical path.
 *
 * Every action's start was held up by something: its binding, the action whose end (plus a lag, the
 * latency of a transfer) came last of all that it waited for. Followed back from an action,
 * bindings make a chain without holes down to time 0: the critical path of that action.
 *
 * A rank's compute lane is idle in gaps: before its first compute action, between two, and after
 * its last until the trace ends. The causes of a gap are what the chain that ended it was doing
 * meanwhile, moment by moment; of the last gap, the chain of the action that ends last (of ties the
 * lowest index).
 *
 * Time that the chain spends in SEND, RECV or a lag is exposed p2p; in UNSHARD or REDUCE_GRAD, an
 * exposed collective; in OFFLOAD or RELOAD, memory; before anything (a rank may begin later than 0)
 * it is fill. In compute of another rank it is, by the first of these that holds:
 *
 *   flush       the gap lies between two flushes of a step
 *   fill        no backward (I or B) of the rank's flush stands before the gap
 *   drain       no F of the rank's flush stands after it
 *   memory      since the rank's next F had its input, the rank has had no room for it: what it
 *               holds + what the F adds, its transient included, is above the limit
 *   imbalance   until the rank has waited, in time that none of these explains, as long as it
 *               computes less than the busiest rank of the trace: no order could spare it that
 *   dependency  the rest: another order might
 *
 * A rank's flush begins with the first compute action of its list whose microbatch belongs to a
 * later flush than all before.
 *
 * Chains are walked only inside gaps. The causes of a rank sum to its idle time exactly.
 */
#ifndef PP_SIM_CAUSES_H
#define PP_SIM_CAUSES_H

#include "sim/memory.h"
#include "sim/trace.h"

/* cause, member in JSON (with _ns), words */
#define PP_CAUSE_LIST(X)                                                                           \
    X(PP_CAUSE_FILL, "fill", "the pipeline fills")                                                 \
    X(PP_CAUSE_DRAIN, "drain", "the pipeline drains")                                              \
    X(PP_CAUSE_IMBALANCE, "imbalance", "a slower stage")                                           \
    X(PP_CAUSE_DEPENDENCY, "dependency", "another rank's result, by this order")                   \
    X(PP_CAUSE_P2P, "p2p", "exposed transfers")                                                    \
    X(PP_CAUSE_COLLECTIVE, "collective", "exposed collectives")                                    \
    X(PP_CAUSE_MEMORY, "memory", "no memory to go on with")                                        \
    X(PP_CAUSE_FLUSH, "flush", "between two flushes")

enum pp_cause {
#define PP_CAUSE_ENUM(name, text, words) name,
    PP_CAUSE_LIST(PP_CAUSE_ENUM)
#undef PP_CAUSE_ENUM
        PP_CAUSE_COUNT
};

/** "fill", ...; "the pipeline fills", ... Never NULL. */
const char *pp_cause_text(enum pp_cause cause);
const char *pp_cause_words(enum pp_cause cause);

/** Where bindings come from, and what else causes need to know. */
struct pp_cause_inputs {
    pp_binding_of *binding;     /* pp_eval_binding, pp_engine_binding */
    const void *context;        /* its first argument */
    int32_t flush_microbatches; /* microbatches a flush of a schedule of several; 0: one flush */
    const struct pp_memory_model *memory; /* with `limit`, for the cause memory; may be NULL */
    const int64_t *limit;                 /* [rank_count], of that memory */
    struct pp_memory_work *memory_work;   /* of a lowered trace; NULL: there the cause memory is
                                             OFFLOAD and RELOAD only */
    const int64_t *recv_f_ns; /* [stage_count] as in pp_costs, for the cause memory in compute-only
                                 traces; NULL: zeros */
};

struct pp_idle {
    int64_t ns[PP_CAUSE_COUNT];
};

/**
 * @param ranks  [rank_count]; each sums to makespan - busy of the rank, makespan being the last end
 *               of any action, communication included
 * Cost: O(actions + steps of the chains inside gaps), no allocation.
 */
void pp_idle_of(const struct pp_trace *trace, const struct pp_cause_inputs *in,
                struct pp_idle *ranks);

/** One piece of one gap, for pictures. */
struct pp_idle_piece {
    int64_t start_ns, end_ns;
    enum pp_cause cause;
    int32_t action; /* that the chain was in; -1 none */
};
/** Called in order of time; pieces fill the rank's gaps without holes and sum to pp_idle_of's. */
typedef void pp_idle_visit(void *context, const struct pp_idle_piece *piece);
/** Cost: O(actions of all ranks + n log n for the n steps of each chain), no allocation. */
void pp_idle_pieces(const struct pp_trace *trace, const struct pp_cause_inputs *in, int32_t rank,
                    pp_idle_visit *visit, void *context);

/**
 * The critical path: actions from the first to the one that ends last (of ties the lowest index).
 * @param path  [path_capacity]; the last so many if there are more
 * @return how many actions the path has
 */
int32_t pp_critical_path(const struct pp_trace *trace, const struct pp_cause_inputs *in,
                         int32_t *path, int32_t path_capacity);

#endif
