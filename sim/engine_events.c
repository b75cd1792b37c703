/* Not here yet: links are not shared so far. */
#include "sim/engine_priv.h"
#include <stdlib.h>
struct pp_engine_events {
    int x;
};
struct pp_engine_events *pp_engine_events_create(const struct pp_engine *e) {
    (void)e;
    return calloc(1, sizeof(struct pp_engine_events));
}
void pp_engine_events_destroy(struct pp_engine_events *ev) {
    free(ev);
}
void pp_engine_play(struct pp_engine *e, const struct pp_network *net, int64_t *start_ns,
                    int64_t *end_ns, int64_t *event_count_p) {
    (void)net;
    if (event_count_p != NULL)
        *event_count_p = e->step_count;
    pp_engine_sweep(e, start_ns, end_ns);
}
