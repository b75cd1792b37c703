/**
 * @file gen_priv.h
 * Private to the generators: the list of all schedules, the rules that several share, costs with
 * nothing left out, and a writer of one rank's row that remembers the first failure, so that
 * generators read like the orders they describe.
 *
 * In every generator P or p = ranks, v = stages a rank, m = microbatches, r = rank. The orders of
 * PyTorch's schedules are those of 2.14.1 (torch.distributed.pipelining.schedules); the others name
 * their papers in their rows.
 */
#ifndef PP_SIM_GEN_PRIV_H
#define PP_SIM_GEN_PRIV_H

#include "sim/generate.h"
#include "sim/schedule_add.h"

struct pp_gen_row {
    struct pp_sched *s;
    int32_t rank;
    enum pp_status status; /* of the first call that failed; later calls do nothing */
    struct pp_err *err;
};

static inline void pp_gen_row_add(struct pp_gen_row *row, enum pp_action_type type, int32_t stage,
                                  int32_t microbatch) {
    if (row->status == PP_OK && !pp_sched_try_add(row->s, row->rank, type, stage, microbatch)) {
        row->status = pp_sched_add(row->s, row->rank, type, stage, microbatch, row->err);
    }
}
void pp_gen_row_idle(struct pp_gen_row *row, int32_t count);
void pp_gen_row_pair(struct pp_gen_row *row, int32_t forward_stage, int32_t forward_microbatch,
                     int32_t backward_stage, int32_t backward_microbatch);

typedef void pp_gen_fill_row(const struct pp_gen_config *c, struct pp_gen_row *row);

/** Fills every rank's row in turn. */
enum pp_status pp_gen_rows(const struct pp_gen_config *c, pp_gen_fill_row *fill, struct pp_sched *s,
                           struct pp_err *err);

/** Units of a microbatch's sequence; at least 1. */
int32_t pp_gen_slices(const struct pp_schedule_info *info, const struct pp_gen_config *c);

/** Microbatch numbers that every stage runs: units, of its own pipeline. */
int32_t pp_gen_unit_count(const struct pp_schedule_info *info, const struct pp_gen_config *c);

/**
 * The costs of a configuration with nothing left out, for generators that choose by them.
 * Durations of a stage's unit, transfers 0 between stages of one rank; times in a unit of its own:
 * the same whatever all are multiplied by.
 */
struct pp_gen_model {
    int64_t *f_ns, *i_ns, *w_ns, *b_ns; /* [stage_count] */
    int64_t *recv_f_ns, *recv_b_ns;     /* [stage_count] from the stage before, after */
    int64_t *offload_ns;                /* [stage_count] one way */
    int64_t *adds, *i_frees, *w_frees;  /* [stage_count] activations */
    int64_t *limit;                     /* [rank_count]; INT64_MAX where none was given */
    int64_t *block;                     /* owns all */
};
enum pp_status pp_gen_model_init(struct pp_gen_model *model, const struct pp_gen_config *c,
                                 const struct pp_sched *s, struct pp_err *err);
void pp_gen_model_deinit(struct pp_gen_model *model);

/* Microbatch rules that several schedules share. */
enum pp_status pp_gen_check_any(const struct pp_gen_config *c, struct pp_err *err);
enum pp_status pp_gen_check_rounds(const struct pp_gen_config *c, struct pp_err *err);
/** Two pipelines, one from each end: even ranks, even microbatches, `least` (even) or more. */
enum pp_status pp_gen_check_two_ends(const struct pp_gen_config *c, int32_t least,
                                     struct pp_err *err);

/* Every schedule, PyTorch's first. Adding one: a generator that ends in its
 * `const struct pp_schedule_info pp_gen_info_ID`, and a line here. */
#define PP_SCHEDULE_LIST(X)                                                                        \
    X(gpipe)                                                                                       \
    X(1f1b)                                                                                        \
    X(interleaved_1f1b)                                                                            \
    X(looped_bfs)                                                                                  \
    X(interleaved_zero_bubble)                                                                     \
    X(zbv_zero_bubble)                                                                             \
    X(dualpipev)                                                                                   \
    X(zbh1)                                                                                        \
    X(zbh2)                                                                                        \
    X(zb1p)                                                                                        \
    X(zb2p)                                                                                        \
    X(vmin)                                                                                        \
    X(vhalf)                                                                                       \
    X(vzb)                                                                                         \
    X(v1f1b)                                                                                       \
    X(dualpipe)                                                                                    \
    X(chimera)                                                                                     \
    X(hanayo)                                                                                      \
    X(gis)                                                                                         \
    X(gish)                                                                                        \
    X(pipeoffload)                                                                                 \
    X(seq1f1b)                                                                                     \
    X(1f1b_overlap)                                                                                \
    X(interleaved_1f1b_overlap)

#define PP_SCHEDULE_INFO(id) extern const struct pp_schedule_info pp_gen_info_##id;
PP_SCHEDULE_LIST(PP_SCHEDULE_INFO)
#undef PP_SCHEDULE_INFO

#endif
