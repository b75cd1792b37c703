/**
 * @file gen_priv.h
 * Private to the generators: their entry points and rules, and a writer of one rank's row that
 * remembers the first failure, so that generators read like the orders they describe.
 *
 * In every generator P = ranks, v = stages a rank, m = microbatches, r = rank, as in the facts on
 * PyTorch 2.14.1 (torch.distributed.pipelining.schedules), whose orders these are.
 */
#ifndef PP_SIM_GEN_PRIV_H
#define PP_SIM_GEN_PRIV_H

#include "sim/generate.h"

struct pp_gen_row {
    struct pp_sched *s;
    int32_t rank;
    enum pp_status status; /* of the first call that failed; later calls do nothing */
    struct pp_err *err;
};

void pp_gen_row_add(struct pp_gen_row *row, enum pp_action_type type, int32_t stage,
                    int32_t microbatch);
void pp_gen_row_idle(struct pp_gen_row *row, int32_t count);
void pp_gen_row_pair(struct pp_gen_row *row, int32_t forward_stage, int32_t forward_microbatch,
                     int32_t backward_stage, int32_t backward_microbatch);

typedef void pp_gen_fill_row(const struct pp_gen_config *c, struct pp_gen_row *row);

/** Fills every rank's row in turn. */
enum pp_status pp_gen_rows(const struct pp_gen_config *c, pp_gen_fill_row *fill, struct pp_sched *s,
                           struct pp_err *err);

/* Microbatch rules. */
enum pp_status pp_gen_check_any(const struct pp_gen_config *c, struct pp_err *err);
enum pp_status pp_gen_check_1f1b(const struct pp_gen_config *c, struct pp_err *err);
enum pp_status pp_gen_check_rounds(const struct pp_gen_config *c, struct pp_err *err);
enum pp_status pp_gen_check_dualpipev(const struct pp_gen_config *c, struct pp_err *err);

/* Generators; the configuration has been checked. */
enum pp_status pp_gen_gpipe(const struct pp_gen_config *c, struct pp_sched *s, struct pp_err *err);
enum pp_status pp_gen_1f1b(const struct pp_gen_config *c, struct pp_sched *s, struct pp_err *err);
enum pp_status pp_gen_looped_bfs(const struct pp_gen_config *c, struct pp_sched *s,
                                 struct pp_err *err);
enum pp_status pp_gen_interleaved_1f1b(const struct pp_gen_config *c, struct pp_sched *s,
                                       struct pp_err *err);
enum pp_status pp_gen_interleaved_zero_bubble(const struct pp_gen_config *c, struct pp_sched *s,
                                              struct pp_err *err);
enum pp_status pp_gen_zbv(const struct pp_gen_config *c, struct pp_sched *s, struct pp_err *err);
enum pp_status pp_gen_dualpipev(const struct pp_gen_config *c, struct pp_sched *s,
                                struct pp_err *err);

#endif
