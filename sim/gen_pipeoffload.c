/* PipeOffload: the chunks of GISH, but a microbatch follows the one before it after a fixed time
 * instead of in groups, so that activations come and go evenly; those of the chunks that live
 * longest, the first, wait for their backward in the host's memory.
 *
 * In slots of a third of a chunk's work, microbatch i, chunk k, rank d, with v chunks a rank:
 *
 *   F  3vi + 3S(k) + d
 *   I  3vi + 3S(v-1) + p + 2(p-1-d) + 3S(v-1-k), W right after
 *   S(k) = gk + floor(k / (v / gcd(g, v))), g = ceil(p/2)
 *
 * The S(k) differ modulo v, so no two forwards of a rank meet, nor two backwards. As in GISH the
 * slots give the order only. */
#include "sim/gen_offload.h"

#include <stdlib.h>

struct pattern {
    int32_t *chunk;  /* [v] by S modulo v */
    int32_t *behind; /* [v] by chunk: S / v, microbatches that the chunk lags behind the first */
    int32_t length;  /* S(v-1) */
};

static enum pp_status pattern_init(struct pattern *pattern, const struct pp_gen_config *c,
                                   struct pp_err *err) {
    int32_t v = c->stages_per_rank;
    int32_t group = (c->rank_count + 1) / 2;
    int32_t block = v / (int32_t)pp_gcd_i64(group, v);
    int32_t *chunk = malloc(2 * (size_t)v * sizeof *chunk);
    if (chunk == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d chunks", v);
    }
    *pattern = (struct pattern){.chunk = chunk, .behind = chunk + v};
    for (int32_t k = 0; k < v; k++) {
        pattern->length = group * k + k / block;
        pattern->chunk[pattern->length % v] = k;
        pattern->behind[k] = pattern->length / v;
    }
    return PP_OK;
}

/* Adds what stands at place `u` of the forwards, or of the backwards, if there is anything. */
static void push(const struct pattern *pattern, const struct pp_gen_config *c, int64_t u,
                 bool forward, int32_t rank, struct pp_order *order) {
    int32_t k = pattern->chunk[u % c->stages_per_rank];
    int64_t microbatch = u / c->stages_per_rank - pattern->behind[k];
    if (microbatch < 0 || microbatch >= c->microbatch_count) {
        return;
    }
    if (forward) {
        pp_order_push(order, PP_F, k * c->rank_count + rank, (int32_t)microbatch);
        return;
    }
    int32_t stage = (c->stages_per_rank - 1 - k) * c->rank_count + rank;
    pp_order_push(order, PP_I, stage, (int32_t)microbatch);
    pp_order_push(order, PP_W, stage, (int32_t)microbatch);
}

/* Merges a rank's forwards and backwards by slot. */
static void push_rank(const struct pattern *pattern, const struct pp_gen_config *c, int32_t rank,
                      struct pp_order *order) {
    int64_t place_count =
        (int64_t)c->stages_per_rank * (c->microbatch_count - 1) + pattern->length + 1;
    int64_t backward_slot =
        (int64_t)3 * pattern->length + c->rank_count + 2 * (c->rank_count - 1 - rank);
    int64_t forward = 0;
    for (int64_t backward = 0; backward < place_count; backward++) {
        while (forward < place_count && 3 * forward + rank < 3 * backward + backward_slot) {
            push(pattern, c, forward++, true, rank, order);
        }
        push(pattern, c, backward, false, rank, order);
    }
}

/* How many chunks of a rank its lane can carry there and back while it computes one microbatch. */
static int32_t carried_chunks(const struct pp_gen_config *c, const struct pp_gen_model *m,
                              int32_t rank) {
    int64_t compute_ns = 0;
    for (int32_t k = 0; k < c->stages_per_rank; k++) {
        int32_t stage = k * c->rank_count + rank;
        compute_ns += m->f_ns[stage] + m->i_ns[stage] + m->w_ns[stage];
    }
    int32_t n = 0;
    for (int64_t lane_ns = 0; n < c->stages_per_rank; n++) {
        lane_ns += 2 * m->offload_ns[n * c->rank_count + rank];
        if (lane_ns > compute_ns) {
            break;
        }
    }
    return n;
}

/* A rank's activations of one microbatch. */
static int64_t share_of(const struct pp_gen_config *c, const struct pp_gen_model *m, int32_t rank) {
    int64_t share = 0;
    for (int32_t chunk = 0; chunk < c->stages_per_rank; chunk++) {
        share += m->adds[chunk * c->rank_count + rank];
    }
    return share;
}

/* Plans half of the rank's chunks or, under a limit, the fewest that keep it; no more than the lane
 * carries. */
static enum pp_status plan_rank(struct pp_offload *o, const struct pp_gen_config *c, int32_t rank,
                                struct pp_err *err) {
    const struct pp_gen_model *m = o->order->model;
    int32_t most = carried_chunks(c, m, rank);
    int32_t half = (c->stages_per_rank + 1) / 2;
    if (m->limit[rank] == INT64_MAX) {
        pp_offload_plan(o, rank, (half < most ? half : most) * c->rank_count);
        return PP_OK;
    }
    int32_t too_few = -1;
    int32_t enough = most + 1; /* if anything is */
    while (too_few + 1 < enough) {
        int32_t n = enough > most ? most : (too_few + enough) / 2;
        pp_offload_plan(o, rank, n * c->rank_count);
        bool fits = pp_offload_peak(o) <= m->limit[rank];
        if (!fits && n == most) {
            return pp_fail(
                err, PP_E_LIMIT,
                "memory limit of rank %d: it would hold %.4g whole shares of a "
                "microbatch with %d of its %d chunks offloaded, as many as its transfers "
                "have time for",
                rank, (double)pp_offload_peak(o) / (double)share_of(c, m, rank), most,
                c->stages_per_rank);
        }
        *(fits ? &enough : &too_few) = n;
    }
    pp_offload_plan(o, rank, enough * c->rank_count);
    return PP_OK;
}

static enum pp_status emit(const struct pp_gen_config *c, const struct pp_order *order,
                           struct pp_sched *s, struct pp_err *err) {
    struct pp_offload offload;
    PP_TRY(pp_offload_init(&offload, order, err));
    enum pp_status status = PP_OK;
    for (int32_t rank = 0; rank < c->rank_count && status == PP_OK; rank++) {
        status = plan_rank(&offload, c, rank, err);
        if (status == PP_OK) {
            status = pp_offload_emit(&offload, s, err);
        }
    }
    pp_offload_deinit(&offload);
    return status;
}

static enum pp_status order_and_emit(const struct pp_gen_config *c,
                                     const struct pp_gen_model *model, struct pp_sched *s,
                                     struct pp_err *err) {
    struct pattern pattern = {0};
    struct pp_order order;
    PP_TRY(pattern_init(&pattern, c, err));
    enum pp_status status = pp_order_init(&order, s, model, err);
    if (status == PP_OK) {
        for (int32_t rank = 0; rank < c->rank_count; rank++) {
            push_rank(&pattern, c, rank, &order);
        }
        bool runs = pp_order_time(&order);
        PP_ASSERT(runs); /* a chunk follows the one before it by half of the ranks or more */
        status = emit(c, &order, s, err);
        pp_order_deinit(&order);
    }
    free(pattern.chunk);
    return status;
}

static enum pp_status generate_pipeoffload(const struct pp_gen_config *c, struct pp_sched *s,
                                           struct pp_err *err) {
    struct pp_gen_model model;
    PP_TRY(pp_gen_model_init(&model, c, s, err));
    enum pp_status status = order_and_emit(c, &model, s, err);
    pp_gen_model_deinit(&model);
    return status;
}

const struct pp_schedule_info pp_gen_info_pipeoffload = {
    .name = "PipeOffload",
    .kind = PP_KIND_MULTI,
    .placement = PP_PLACE_LOOP,
    .automodel_placement = PP_PLACE_LOOP,
    .min_stages_per_rank = 1,
    .default_stages_per_rank = 2,
    .splits_backward = true,
    .offloads = true,
    .uses_costs = true,
    .microbatch_rule = "any",
    .bubble = "2*(p-1)/(3*m+2*(p-1)) for F = I = W, at most",
    .memory =
        "p*(v+2)/(8*v)+1/v for v = 2, p even, m >= p and no transfer time; little more for others",
    .source = "Wan et al., PipeOffload, arXiv 2503.01328",
    .check = pp_gen_check_any,
    .generate = generate_pipeoffload,
};
