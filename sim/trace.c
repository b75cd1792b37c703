#include "sim/trace.h"

#include "sim/schedule_room.h"

#include <stdlib.h>

static enum pp_status init(struct pp_trace *trace, const struct pp_sched *s, bool queued,
                           struct pp_err *err) {
    PP_ASSERT(s->sealed);
    /* Half a page over whole pages: the start and the end of an action, and of its neighbours, then
     * never fall on the same cache set. Worth a third of a re-evaluation with 64 ranks. */
    size_t n = ((size_t)s->action_count + 512) / 512 * 512 + 256;
    int64_t *times = pp_room_alloc_zero((queued ? 3 : 2) * n * sizeof *times);
    if (times == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for a trace of %d actions", s->action_count);
    }
    *trace = (struct pp_trace){.sched = s,
                               .start_ns = times,
                               .end_ns = times + n,
                               .queue_ns = queued ? times + 2 * n : NULL};
    return PP_OK;
}

enum pp_status pp_trace_init(struct pp_trace *trace, const struct pp_sched *s, struct pp_err *err) {
    return init(trace, s, false, err);
}

enum pp_status pp_trace_init_queued(struct pp_trace *trace, const struct pp_sched *s,
                                    struct pp_err *err) {
    return init(trace, s, true, err);
}

void pp_trace_deinit(struct pp_trace *trace) {
    free(trace->start_ns); /* one block for all arrays */
    *trace = (struct pp_trace){0};
}
