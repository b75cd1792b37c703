/* Random amounts of memory for the tests of peaks, timelines and causes. */
#ifndef PP_TESTS_RANDOM_MEMORY_H
#define PP_TESTS_RANDOM_MEMORY_H

#include "sim/memory.h"
#include "tests/sim/sim_support.h"

enum { RM_STAGES = 64 };

struct drawn_memory {
    int64_t f_adds[RM_STAGES], i_frees[RM_STAGES], w_frees[RM_STAGES];
    int64_t f_transient[RM_STAGES], b_transient[RM_STAGES], base[RM_STAGES];
    int64_t unshard[RM_STAGES], grad[RM_STAGES];
    int64_t recv_f[RM_STAGES], recv_b[RM_STAGES], send_f[RM_STAGES], send_b[RM_STAGES];
    int64_t limit[RM_STAGES];     /* of a rank */
    struct pp_memory_model model; /* of all of them; those of lowered schedules only count there */
};

/* Each amount below `most`, limits below 8 of it; what F adds is what I and W free. */
static inline void draw_memory(struct drawn_memory *m, int32_t most, uint64_t *seed) {
    int64_t *const amounts[] = {m->i_frees, m->w_frees, m->f_transient, m->b_transient,
                                m->base,    m->unshard, m->grad,        m->recv_f,
                                m->recv_b,  m->send_f,  m->send_b};
    for (int32_t s = 0; s < RM_STAGES; s++) {
        for (size_t k = 0; k < sizeof amounts / sizeof amounts[0]; k++) {
            amounts[k][s] = random_below(seed, most);
        }
        m->f_adds[s] = m->i_frees[s] + m->w_frees[s];
        m->limit[s] = random_below(seed, 8 * most);
    }
    m->model = (struct pp_memory_model){.f_adds = m->f_adds,
                                        .i_frees = m->i_frees,
                                        .w_frees = m->w_frees,
                                        .f_transient = m->f_transient,
                                        .b_transient = m->b_transient,
                                        .base = m->base,
                                        .unshard_adds = m->unshard,
                                        .grad_adds = m->grad,
                                        .recv_f_adds = m->recv_f,
                                        .recv_b_adds = m->recv_b,
                                        .send_f_adds = m->send_f,
                                        .send_b_adds = m->send_b};
}

#endif
