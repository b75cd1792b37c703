/**
 * @file gen_zb.h
 * Private to ZB1P and ZB2P: a pipeline with one stage a rank, played forward action by action with
 * the true costs of every stage and within its memory limit. Whoever decides what comes next, in
 * rounds or by time, the times are those that an evaluation of the order will find.
 *
 * Stage = rank; forwards, backwards for the input and backwards for the weights each come in the
 * order of their microbatches, so an order is a list of types.
 */
#ifndef PP_SIM_GEN_ZB_H
#define PP_SIM_GEN_ZB_H

#include "sim/gen_priv.h"

struct pp_zb_stage {
    int64_t clock_ns;
    int64_t span_ns; /* least it can still be: all its work, and the idle time so far */
    int64_t memory;
    int32_t f_count, i_count, w_count;
    int32_t lead; /* forwards before the first I; by time: most in flight at any time */
};

/* How many forwards a stage runs before its first I. */
enum pp_zb_lead {
    PP_ZB_LEAD_ENDED,   /* those that end before the first gradient arrives */
    PP_ZB_LEAD_STARTED, /* those that start before it */
    PP_ZB_LEAD_1F1B,    /* p - stage */
    PP_ZB_LEAD_DOUBLE,  /* 2 (p - stage) - 1 */
    PP_ZB_LEAD_MEMORY,  /* all that memory holds */
};

struct pp_zb_variant {
    enum pp_zb_lead lead;
    bool by_time;           /* the earliest action of all stages comes next; else in rounds */
    bool prefers_gradients; /* puts a forward off where it would delay the next I */
    bool spreads;           /* in rounds: stages before put theirs off, too */
    bool fills_any_gap;     /* runs W even in a gap that is too short for it and not the worst */
    bool counts_fill;       /* idle time counts from 0 on, not from the first F */
    int32_t holds;          /* stage n holds back n times as many W's, whatever the gaps; 0 = no */
};

struct pp_zb_play {
    const struct pp_gen_model *model;
    int32_t stage_count, microbatch_count;
    int64_t *limit;             /* [stage_count] at least the activations of one microbatch */
    struct pp_zb_stage *stages; /* [stage_count] */
    int64_t *f_end_ns;          /* [stage_count][microbatch_count] */
    int64_t *i_end_ns;          /* likewise */
    uint8_t *order;             /* [stage_count][3 * microbatch_count] enum pp_action_type */
    int64_t *scratch;           /* [stage_count] for whoever decides */
    int32_t *winner;            /* [2 * stage_count] likewise */
    struct pp_zb_variant variant;
    int64_t worst_span_ns; /* of all stages */
    int64_t peak;          /* of all stages */
};

struct pp_zb_result {
    int64_t span_ns, makespan_ns;
    int64_t peak; /* of the worst rank, in the model's unit */
};

/** Plays one variant; the order is in play->order. Cost: O(stages * microbatches), by time with a
 *  factor of the logarithm of the stages. */
struct pp_zb_result pp_zb_play_variant(struct pp_zb_play *play, struct pp_zb_variant variant);

/* ---- gen_zb_play.c ---- */

/** When the input of a stage's next F, the gradient of its next I is there; both must be known. */
int64_t pp_zb_f_ready(const struct pp_zb_play *p, int32_t stage);
int64_t pp_zb_i_ready(const struct pp_zb_play *p, int32_t stage);

/** Time of the W's that memory needs before the next F. */
int64_t pp_zb_forced_ns(const struct pp_zb_play *p, int32_t stage);

/** Run the next F or I, and before it the W's that memory needs or that fill the gap. There must be
 *  room for the F when all W's have run. */
void pp_zb_put_f(struct pp_zb_play *p, int32_t stage);
void pp_zb_put_i(struct pp_zb_play *p, int32_t stage);

/* ---- gen_zb_rounds.c, gen_zb_time.c: all F and I ---- */

void pp_zb_play_rounds(struct pp_zb_play *p);
void pp_zb_play_by_time(struct pp_zb_play *p);

#endif
