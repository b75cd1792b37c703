/* The cost table: each layer kind once, then stages by counting kinds. */
#include "costmodel/cost_priv.h"
#include "costmodel/model_priv.h"

#include <math.h>
#include <stdlib.h>

enum { KIND_COUNT = 4 }; /* moe or dense, windowed or full attention */

/* Members of a stage's cost that are sums over its parts; the transients are maxima. */
#define ADDITIVE_MEMBERS(X)                                                                        \
    X(f_ns)                                                                                        \
    X(i_ns)                                                                                        \
    X(w_ns)                                                                                        \
    X(param_count)                                                                                 \
    X(expert_count)                                                                                \
    X(trainable_count)                                                                             \
    X(expert_trainable_count)                                                                      \
    X(weight_bytes)                                                                                \
    X(grad_bytes)                                                                                  \
    X(optimizer_bytes)                                                                             \
    X(activation_bytes)                                                                            \
    X(weight_grad_bytes)                                                                           \
    X(logits_bytes)
#define FLOPS_MEMBERS(X) X(f_flops) X(i_flops) X(w_flops)
#define TRANSIENT_MEMBERS(X) X(f_transient_bytes) X(b_transient_bytes)

struct pp_cost_table {
    struct pp_cost_context context;
    struct pp_stage_cost kinds[KIND_COUNT]; /* one layer */
    struct pp_stage_cost embedding;
    struct pp_stage_cost head, head_beside_embedding; /* differ if tied: one matrix or none */
    int64_t gathered_bytes[KIND_COUNT]; /* of one layer, part of its weights or transients */
    int64_t embedding_gathered_bytes;
    int64_t head_gathered_bytes[2]; /* by whether it is beside the embedding */
    int64_t output_bytes;
    int64_t message_ns[2];             /* by whether the neighbour is on another node */
    int32_t *kinds_before[KIND_COUNT]; /* [layer_count + 1]: layers of the kind before a layer */
};

static bool is_windowed(const struct pp_model *m, int32_t layer) {
    return m->sliding_window > 0 &&
           (m->sliding_every <= 1 || ((int64_t)layer + 1) % m->sliding_every != 0);
}

static struct pp_layer_kind kind_of(int32_t index) {
    return (struct pp_layer_kind){.moe = index / 2 == 1, .windowed = index % 2 == 1};
}

static int32_t kind_index(const struct pp_model *m, int32_t layer) {
    return (pp_model_is_moe_layer(m, layer) ? 2 : 0) + (is_windowed(m, layer) ? 1 : 0);
}

/** Gathering parameters and scattering gradients each microbatch, as far as it shows: with a
 *  pipeline FSDP does not prefetch, without one it does; reductions hide behind the backward. */
static void add_fsdp_time(const struct pp_cost_context *c, const struct pp_holding *h,
                          struct pp_work *work) {
    const struct pp_train *t = &c->train;
    struct pp_group dense = pp_shard_group(c, false), routed = pp_shard_group(c, true);
    if (t->reshard_after_forward) {
        double bytes = pp_dtype_bytes(t->param_dtype);
        double gather = pp_gather_ns(&c->hw, dense, h->dense * bytes) +
                        (h->routed > 0 ? pp_gather_ns(&c->hw, routed, h->routed * bytes) : 0);
        work->f_ns = t->pp > 1 ? work->f_ns + gather : fmax(work->f_ns, gather);
        work->i_ns = t->pp > 1 ? work->i_ns + gather : fmax(work->i_ns, gather);
    }
    if (!t->defer_grad_sync) {
        double bytes = pp_dtype_bytes(t->reduce_dtype);
        double scatter =
            pp_gather_ns(&c->hw, dense, h->trained_dense * bytes) +
            (h->routed > 0 ? pp_gather_ns(&c->hw, routed, h->trained_routed * bytes) : 0);
        work->w_ns += fmax(0, scatter - work->i_ns - work->w_ns);
    }
}

static void set_work(const struct pp_work *work, struct pp_stage_cost *cost) {
    cost->f_ns = pp_round_i64(work->f_ns);
    cost->i_ns = pp_round_i64(work->i_ns);
    cost->w_ns = pp_round_i64(work->w_ns);
    cost->f_flops = pp_round_i64(work->f_flops);
    cost->i_flops = pp_round_i64(work->i_flops);
    cost->w_flops = pp_round_i64(work->w_flops);
}

static void set_memory(const struct pp_cost_context *c, const struct pp_holding *h,
                       const struct pp_activation *a, struct pp_stage_cost *cost) {
    struct pp_states s = pp_states_of(c, h);
    cost->param_count = pp_round_i64(h->dense + h->routed);
    cost->expert_count = pp_round_i64(h->routed);
    cost->trainable_count = pp_round_i64(h->trained_dense + h->trained_routed);
    cost->expert_trainable_count = pp_round_i64(h->trained_routed);
    cost->weight_bytes = pp_round_i64(s.weight);
    cost->grad_bytes = pp_round_i64(s.grad);
    cost->optimizer_bytes = pp_round_i64(s.optimizer);
    cost->activation_bytes = pp_round_i64(a->kept);
    cost->weight_grad_bytes = pp_round_i64(a->weight_grad);
    cost->f_transient_bytes = pp_round_i64(a->f_transient + s.gathered);
    cost->b_transient_bytes = pp_round_i64(a->b_transient + s.gathered + s.grad_unsharded);
}

/* Parameters gathered where these are used: resident, or while an action runs. */
static int64_t gathered_of(const struct pp_cost_context *c, const struct pp_holding *h) {
    return pp_round_i64(pp_states_of(c, h).unsharded);
}

static void make_layer(const struct pp_cost_context *c, struct pp_layer_kind kind,
                       struct pp_stage_cost *cost, int64_t *gathered_p) {
    struct pp_work work;
    double again_ns = 0;
    pp_layer_work(c, kind, &work, &again_ns);
    switch (c->train.recompute) {
    case PP_RECOMPUTE_NONE:
        break;
    case PP_RECOMPUTE_SELECTIVE: /* norms and activation functions, no products */
        work.i_ns += again_ns;
        break;
    case PP_RECOMPUTE_FULL:
        work.i_ns += work.f_ns;
        work.i_flops += work.f_flops;
        break;
    }
    struct pp_holding holding = pp_layer_holding(c, kind.moe);
    add_fsdp_time(c, &holding, &work);
    struct pp_activation activation = pp_layer_activation(c, kind.moe);
    set_work(&work, cost);
    set_memory(c, &holding, &activation, cost);
    *gathered_p = gathered_of(c, &holding);
}

static void make_ends(struct pp_cost_table *table) {
    const struct pp_cost_context *c = &table->context;
    struct pp_work work;
    struct pp_holding holding = pp_embedding_holding(c);
    struct pp_activation activation = {0};
    pp_embedding_work(c, &work);
    add_fsdp_time(c, &holding, &work);
    set_work(&work, &table->embedding);
    set_memory(c, &holding, &activation, &table->embedding);
    table->embedding_gathered_bytes = gathered_of(c, &holding);

    for (int32_t beside = 0; beside < 2; beside++) {
        struct pp_stage_cost *cost = beside == 1 ? &table->head_beside_embedding : &table->head;
        double logits = 0;
        holding = pp_head_holding(c, beside == 0 || !c->model.tied);
        activation = pp_head_activation(c, &logits);
        pp_head_work(c, &work);
        add_fsdp_time(c, &holding, &work);
        set_work(&work, cost);
        set_memory(c, &holding, &activation, cost);
        cost->logits_bytes = pp_round_i64(logits);
        table->head_gathered_bytes[beside] = gathered_of(c, &holding);
    }
    double output = pp_output_bytes(c);
    table->output_bytes = pp_round_i64(output);
    table->message_ns[0] = pp_round_i64(pp_message_ns(&c->hw, false, output));
    table->message_ns[1] = pp_round_i64(pp_message_ns(&c->hw, true, output));
}

static void add_scaled(struct pp_stage_cost *sum, const struct pp_stage_cost *part, int64_t count) {
#define ADD_SCALED(member) sum->member += count * part->member;
    ADDITIVE_MEMBERS(ADD_SCALED)
    FLOPS_MEMBERS(ADD_SCALED)
#undef ADD_SCALED
#define MAXIMUM(member)                                                                            \
    if (count > 0 && part->member > sum->member) {                                                 \
        sum->member = part->member;                                                                \
    }
    TRANSIENT_MEMBERS(MAXIMUM)
#undef MAXIMUM
}

/** Would `count` parts like this stay within the integers that callers add up? */
static bool fits(const struct pp_stage_cost *part, double count) {
    const double limit = 0x1p53, flops_limit = 0x1p61;
    bool fine = true;
#define FITS(member) fine = fine && (double)part->member * count <= limit;
    ADDITIVE_MEMBERS(FITS)
    TRANSIENT_MEMBERS(FITS)
#undef FITS
#define FITS(member) fine = fine && (double)part->member * count <= flops_limit;
    FLOPS_MEMBERS(FITS)
#undef FITS
    return fine;
}

static enum pp_status check_results(const struct pp_cost_table *table, struct pp_err *err) {
    double layers = table->context.model.layer_count;
    bool fine = fits(&table->embedding, 2) && fits(&table->head, 2) &&
                fits(&table->head_beside_embedding, 2) && (double)table->output_bytes <= 0x1p53 &&
                (double)table->message_ns[0] <= 0x1p53 && (double)table->message_ns[1] <= 0x1p53;
    for (int32_t k = 0; k < KIND_COUNT; k++) {
        fine = fine && fits(&table->kinds[k], 2 * layers);
    }
    if (fine) {
        return PP_OK;
    }
    const struct pp_train *t = &table->context.train;
    pp_fail(err, PP_E_RANGE,
            "sequence length %lld times microbatch size %d gives costs beyond 2^53 ns or bytes",
            (long long)t->seq_len, t->microbatch_size);
    pp_hint(err, "use a shorter sequence or a smaller microbatch");
    return PP_E_RANGE;
}

static enum pp_status check_train(const struct pp_train *t, struct pp_err *err) {
    const struct {
        const char *name;
        int64_t value, low, high;
    } limits[] = {
        {"sequence length", t->seq_len, 1, INT64_C(1) << 40},
        {"microbatch size", t->microbatch_size, 1, INT32_MAX},
        {"tp size", t->tp, 1, PP_MAX_RANKS},
        {"cp size", t->cp, 1, PP_MAX_RANKS},
        {"ep size", t->ep, 1, PP_MAX_RANKS},
        {"dp size", t->dp, 1, PP_MAX_RANKS},
        {"pp size", t->pp, 1, PP_MAX_RANKS},
        {"dp_replicate size", t->dp_replicate, 0, PP_MAX_RANKS},
        {"adapter rank", t->peft ? t->peft_dim : 1, 1, 1000000},
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        if (limits[i].value < limits[i].low || limits[i].value > limits[i].high) {
            return pp_fail(err, PP_E_RANGE, "%s is %lld, expected %lld to %lld", limits[i].name,
                           (long long)limits[i].value, (long long)limits[i].low,
                           (long long)limits[i].high);
        }
    }
    return PP_OK;
}

static enum pp_status check_groups(const struct pp_model *m, const struct pp_train *t,
                                   struct pp_err *err) {
    if (m->heads % t->tp != 0) {
        return pp_fail(err, PP_E_MODEL, "%lld attention heads are not divisible by tp size %d",
                       (long long)m->heads, t->tp);
    }
    if (m->experts % t->ep != 0) {
        return pp_fail(err, PP_E_MODEL, "%lld experts are not divisible by ep size %d",
                       (long long)m->experts, t->ep);
    }
    int64_t ranks = (int64_t)t->dp * t->cp * t->tp;
    if (m->experts > 0 && ranks % t->ep != 0) {
        return pp_fail(err, PP_E_WORLD,
                       "dp %d * cp %d * tp %d = %lld ranks are not divisible by ep size %d", t->dp,
                       t->cp, t->tp, (long long)ranks, t->ep);
    }
    if (t->dp_replicate > 1 && t->dp % t->dp_replicate != 0) {
        return pp_fail(err, PP_E_WORLD, "dp size %d is not divisible by dp_replicate size %d",
                       t->dp, t->dp_replicate);
    }
    return PP_OK;
}

/** Files are checked as they are read; this is for machines made in C. */
static enum pp_status check_hardware(const struct pp_hardware *hw, struct pp_err *err) {
    bool fine = hw->bf16_flops_per_s > 0 && hw->memory_bytes_per_s > 0 && hw->sm_count > 0 &&
                hw->gpus_per_node > 0 && hw->intra_node.bytes_per_s > 0 &&
                hw->inter_node.bytes_per_s > 0 && hw->gemm_efficiency > 0 &&
                hw->grouped_gemm_efficiency > 0 && hw->attention_forward_efficiency > 0 &&
                hw->attention_backward_efficiency > 0 && hw->memory_efficiency > 0 &&
                hw->intra_link_efficiency > 0 && hw->inter_link_efficiency > 0;
    return fine ? PP_OK
                : pp_fail(err, PP_E_RANGE,
                          "hardware '%s' has a rate or an efficiency that is not positive",
                          hw->name);
}

static void make_context(const struct pp_model *model, const struct pp_hardware *hw,
                         const struct pp_train *train, struct pp_cost_context *c) {
    *c = (struct pp_cost_context){.model = *model, .hw = *hw, .train = *train};
    c->tp = train->tp;
    c->cp = train->cp;
    c->ep = model->experts > 0 ? train->ep : 1;
    c->tokens = (double)train->seq_len * train->microbatch_size / c->cp;
    c->moe_tokens = c->tokens / c->tp;
    c->stream_share = train->sequence_parallel ? 1 / c->tp : 1;
    c->width = pp_dtype_bytes(train->param_dtype);
}

static enum pp_status count_kinds(struct pp_cost_table *table, struct pp_err *err) {
    const struct pp_model *m = &table->context.model;
    size_t row = (size_t)m->layer_count + 1;
    int32_t *counts = calloc(row * KIND_COUNT, sizeof *counts);
    if (counts == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the costs of %d layers", m->layer_count);
    }
    for (int32_t k = 0; k < KIND_COUNT; k++) {
        table->kinds_before[k] = counts + row * (size_t)k;
    }
    for (int32_t layer = 0; layer < m->layer_count; layer++) {
        for (int32_t k = 0; k < KIND_COUNT; k++) {
            table->kinds_before[k][layer + 1] =
                table->kinds_before[k][layer] + (kind_index(m, layer) == k);
        }
    }
    return PP_OK;
}

enum pp_status pp_cost_table_create(const struct pp_model *model, const struct pp_hardware *hw,
                                    const struct pp_train *train, struct pp_cost_table **table_p,
                                    struct pp_err *err) {
    if (model->hidden == 0) {
        pp_fail(err, PP_E_NO_SHAPE, "the shape of %s is not known, only its depth", model->id);
        pp_hint(err, "give its config.json with --model");
        return PP_E_NO_SHAPE;
    }
    PP_TRY(pp_model_check(model, err));
    PP_TRY(check_hardware(hw, err));
    PP_TRY(check_train(train, err));
    PP_TRY(check_groups(model, train, err));
    struct pp_cost_table *table = calloc(1, sizeof *table);
    if (table == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for costs");
    }
    make_context(model, hw, train, &table->context);
    enum pp_status status = count_kinds(table, err);
    if (status != PP_OK) {
        goto cleanup;
    }
    for (int32_t k = 0; k < KIND_COUNT; k++) {
        if (table->kinds_before[k][model->layer_count] > 0) { /* others are never added */
            make_layer(&table->context, kind_of(k), &table->kinds[k], &table->gathered_bytes[k]);
        }
    }
    make_ends(table);
    status = check_results(table, err);
cleanup:
    if (status != PP_OK) {
        pp_cost_table_destroy(table);
        return status;
    }
    *table_p = table;
    return PP_OK;
}

void pp_cost_table_destroy(struct pp_cost_table *table) {
    if (table != NULL) {
        free(table->kinds_before[0]);
        free(table);
    }
}

void pp_cost_stage(const struct pp_cost_table *table, const struct pp_stage_shape *shape,
                   struct pp_stage_cost *cost_p) {
    struct pp_stage_cost cost = {0};
    int32_t first = shape->first_layer, end = first + shape->layer_count;
    PP_ASSERT(first >= 0 && shape->layer_count >= 0 && end <= table->context.model.layer_count);
    for (int32_t k = 0; k < KIND_COUNT; k++) {
        add_scaled(&cost, &table->kinds[k],
                   table->kinds_before[k][end] - table->kinds_before[k][first]);
    }
    if (shape->has_embedding) {
        add_scaled(&cost, &table->embedding, 1);
    } else {
        cost.recv_ns = table->message_ns[shape->prev_other_node];
    }
    if (shape->has_head) {
        add_scaled(&cost, shape->has_embedding ? &table->head_beside_embedding : &table->head, 1);
    } else {
        cost.activation_bytes += table->output_bytes;
        cost.recv_grad_ns = table->message_ns[shape->next_other_node];
    }
    cost.p2p_bytes = table->output_bytes;
    *cost_p = cost;
}

/* Adds what `count` parts bring; of the transients that of the part that makes the stage's, found
 * as add_scaled finds them. */
static void add_gathered(struct pp_gathered_bytes *g, struct pp_stage_cost *most, bool is_resident,
                         const struct pp_stage_cost *part, int64_t bytes, int64_t count) {
    if (is_resident) {
        g->resident += count * bytes;
        return;
    }
    if (count > 0 && part->f_transient_bytes > most->f_transient_bytes) {
        most->f_transient_bytes = part->f_transient_bytes;
        g->f_transient = bytes;
    }
    if (count > 0 && part->b_transient_bytes > most->b_transient_bytes) {
        most->b_transient_bytes = part->b_transient_bytes;
        g->b_transient = bytes;
    }
}

void pp_cost_gathered(const struct pp_cost_table *table, const struct pp_stage_shape *shape,
                      struct pp_gathered_bytes *gathered_p) {
    struct pp_gathered_bytes g = {0};
    struct pp_stage_cost most = {0};
    bool is_resident = !table->context.train.reshard_after_forward;
    int32_t first = shape->first_layer, end = first + shape->layer_count;
    for (int32_t k = 0; k < KIND_COUNT; k++) {
        add_gathered(&g, &most, is_resident, &table->kinds[k], table->gathered_bytes[k],
                     table->kinds_before[k][end] - table->kinds_before[k][first]);
    }
    if (shape->has_embedding) {
        add_gathered(&g, &most, is_resident, &table->embedding, table->embedding_gathered_bytes, 1);
    }
    if (shape->has_head) {
        bool beside = shape->has_embedding;
        add_gathered(&g, &most, is_resident, beside ? &table->head_beside_embedding : &table->head,
                     table->head_gathered_bytes[beside], 1);
    }
    *gathered_p = g;
}

/** One collective over the dense and one over the routed part of a rank's parameters. */
static double sync_ns(const struct pp_cost_context *c, double dense, double routed, double bytes) {
    double ns = pp_gather_ns(&c->hw, pp_shard_group(c, false), dense * bytes);
    return routed > 0 ? ns + pp_gather_ns(&c->hw, pp_shard_group(c, true), routed * bytes) : ns;
}

/** HSDP: what each shard adds up over the replicas. */
static double replicate_ns(const struct pp_cost_context *c, double trained, double bytes) {
    struct pp_group shard = pp_shard_group(c, false);
    struct pp_group replicas = {c->train.dp_replicate, shard.size * shard.stride};
    return c->train.dp_replicate > 1
               ? pp_reduce_pair_ns(&c->hw, replicas, trained * bytes / shard.size)
               : 0;
}

void pp_cost_step(const struct pp_cost_table *table, const struct pp_stage_cost *stage_or_sum,
                  struct pp_step_cost *step_p) {
    const struct pp_cost_context *c = &table->context;
    const struct pp_train *t = &c->train;
    double routed = (double)stage_or_sum->expert_count;
    double dense = (double)stage_or_sum->param_count - routed;
    double trained_routed = (double)stage_or_sum->expert_trainable_count;
    double trained_dense = (double)stage_or_sum->trainable_count - trained_routed;
    double reduce = pp_dtype_bytes(t->reduce_dtype), state = pp_dtype_bytes(t->state_dtype);
    struct pp_step_cost step = {0};
    double sync = replicate_ns(c, trained_dense + trained_routed, reduce);
    if (t->defer_grad_sync) { /* otherwise each W carries what shows */
        sync += sync_ns(c, trained_dense, trained_routed, reduce);
    }
    step.grad_sync_ns = pp_round_i64(sync);
    if (!t->reshard_after_forward) { /* otherwise F and I carry it */
        step.param_gather_ns =
            pp_round_i64(sync_ns(c, dense, routed, pp_dtype_bytes(t->param_dtype)));
    }
    /* Adam reads parameter, gradient and both moments and writes all but the gradient. */
    double owned = trained_dense / pp_shard_group(c, false).size +
                   trained_routed / pp_shard_group(c, true).size;
    step.optimizer_ns = pp_round_i64(pp_traffic_ns(&c->hw, owned * 7 * state));
    *step_p = step;
}

int64_t pp_cost_reserved_bytes(const struct pp_cost_table *table) {
    const struct pp_train *t = &table->context.train;
    int64_t communicators = (t->pp > 1) + (t->tp > 1) + (t->cp > 1) + (t->ep > 1) +
                            ((int64_t)t->dp * t->cp > 1) + (t->dp_replicate > 1);
    return table->context.hw.reserved_bytes + communicators * table->context.hw.communicator_bytes;
}

int64_t pp_cost_with_slack(const struct pp_cost_table *table, int64_t allocated_bytes) {
    double slack = table->context.hw.allocator_slack_frac;
    return allocated_bytes + pp_round_i64((double)allocated_bytes * slack);
}
