/* Using what was learned: costs of the stages of any split. */
#include "sim/calibration.h"

#include "sim/calibration_priv.h"

#include <stdio.h>
#include <stdlib.h>

void pp_calibration_deinit(struct pp_calibration *c) {
    free(c->model_key);
    free(c->device);
    free(c->transport);
    free(c->machine);
    free(c->rows);
    free(c->executions);
    *c = (struct pp_calibration){0};
}

const char *pp_lag_text(enum pp_lag_kind kind) {
    static const char *const texts[PP_LAG_COUNT] = {
#define LAG_TEXT(name, text) [name] = text,
        PP_LAG_LIST(LAG_TEXT)
#undef LAG_TEXT
    };
    PP_ASSERT((unsigned)kind < PP_LAG_COUNT);
    return texts[kind];
}

void pp_calibrated_costs_deinit(struct pp_calibrated_costs *costs) {
    free(costs->block);
    free(costs->places);
    *costs = (struct pp_calibrated_costs){0};
}

/* ---- rows ---- */

static const struct pp_profile_row *find_row(const struct pp_calibration *c, int32_t module,
                                             enum pp_action_type type) {
    int32_t low = 0;
    int32_t high = c->row_count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        const struct pp_profile_row *row = &c->rows[middle];
        if (row->module < module || (row->module == module && row->type < type)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found = low < c->row_count && c->rows[low].module == module && c->rows[low].type == type;
    return found ? &c->rows[low] : NULL;
}

static enum pp_status not_seen(const struct pp_calibration *c, const char *what, int32_t number,
                               enum pp_action_type type, struct pp_err *err) {
    char place[48] = "";
    if (number >= 0) {
        snprintf(place, sizeof place, "%s %d", what, number);
    }
    pp_fail(err, PP_E_NOT_FOUND, "calibration %.12s has not seen %s of %s",
            c->id[0] == '\0' ? "(new)" : c->id, pp_action_type_text(type),
            number >= 0 ? place : what);
    pp_hint(err, "run such a plan once, then `pipeplan calibrate`");
    return PP_E_NOT_FOUND;
}

/* Adds a module's row; B is its I and W. A module that was seen, but not doing this, has nothing to
 * do for it: an embedding has no I. */
static enum pp_status add_module(const struct pp_calibration *c, const char *what, int32_t module,
                                 int32_t number, enum pp_action_type type, int64_t *ns_p,
                                 struct pp_err *err) {
    if (type == PP_B) {
        PP_TRY(add_module(c, what, module, number, PP_I, ns_p, err));
        return add_module(c, what, module, number, PP_W, ns_p, err);
    }
    const struct pp_profile_row *row = find_row(c, module, type);
    if (row == NULL && find_row(c, module, PP_F) == NULL && find_row(c, module, PP_W) == NULL) {
        return not_seen(c, what, number, type, err);
    }
    *ns_p += row == NULL ? 0 : row->median_ns;
    return PP_OK;
}

/* A stage whose B was seen, but not its I and W, is taken to need half of it for each. */
static enum pp_status explain_stage(const struct pp_calibration *c, int32_t stage,
                                    enum pp_action_type type, int64_t *ns_p, struct pp_err *err) {
    const struct pp_profile_row *row = find_row(c, stage, type);
    const struct pp_profile_row *b = find_row(c, stage, PP_B);
    const struct pp_profile_row *i = find_row(c, stage, PP_I);
    const struct pp_profile_row *w = find_row(c, stage, PP_W);
    if (row != NULL) {
        *ns_p = row->median_ns;
    } else if (type == PP_B && i != NULL && w != NULL) {
        *ns_p = i->median_ns + w->median_ns;
    } else if (type != PP_F && b != NULL) {
        *ns_p = type == PP_I ? b->median_ns / 2 : b->median_ns - b->median_ns / 2;
    } else {
        return not_seen(c, "stage", stage, type, err);
    }
    return PP_OK;
}

enum pp_status pp_calibration_explain(const struct pp_calibration *c,
                                      const struct pp_split_stage *split, int32_t stage_count,
                                      int32_t stage, enum pp_action_type type, int64_t *ns_p,
                                      struct pp_err *err) {
    if (c->by_stage) {
        return explain_stage(c, stage, type, ns_p, err);
    }
    const struct pp_split_stage *s = &split[stage];
    int64_t ns = 0;
    if (s->embedding) {
        PP_TRY(add_module(c, "the embedding", PP_MODULE_EMBEDDING, -1, type, &ns, err));
    }
    for (int32_t layer = s->layer_begin; layer < s->layer_end; layer++) {
        PP_TRY(add_module(c, "layer", layer, layer, type, &ns, err));
    }
    if (s->head) {
        int32_t layers = 0;
        for (int32_t k = 0; k < stage_count; k++) {
            layers = split[k].layer_end > layers ? split[k].layer_end : layers;
        }
        PP_TRY(add_module(c, "the head", layers, -1, type, &ns, err));
    }
    *ns_p = ns;
    return PP_OK;
}

/* ---- costs ---- */

/* Beyond modules. A split backward is one action more than a fused one: where only one of the two
 * forms was seen, the other has as much beyond its modules, and what an action takes at least once
 * more or less. */
static int64_t beyond_ns(const struct pp_calibration *c, enum pp_action_type type) {
    const struct pp_action_fit *fits = c->actions;
    bool has_b = fits[PP_B].count > 0;
    bool has_parts = fits[PP_I].count > 0 && fits[PP_W].count > 0;
    if (fits[type].count > 0 || type == PP_F || (type == PP_B ? !has_parts : !has_b)) {
        return fits[type].median_ns;
    }
    int64_t b_ns = has_b ? fits[PP_B].median_ns : fits[PP_I].median_ns + fits[PP_W].median_ns;
    int64_t once_ns = has_b ? b_ns : pp_min_i64(fits[PP_I].median_ns, fits[PP_W].median_ns);
    if (fits[PP_F].count > 0) {
        once_ns = pp_min_i64(once_ns, fits[PP_F].median_ns);
    }
    return has_b ? once_ns + (b_ns - once_ns) / 2 : b_ns - once_ns;
}

/* Where rows of stages had to be halved or joined for it, they hold what is beyond them, too. */
static enum pp_status price(const struct pp_calibration *c, const struct pp_sched *sched,
                            const struct pp_split_stage *split, enum pp_action_type type,
                            int64_t *ns, struct pp_err *err) {
    for (int32_t s = 0; s < sched->stage_count; s++) {
        int64_t explained_ns = 0;
        PP_TRY(pp_calibration_explain(c, split, sched->stage_count, s, type, &explained_ns, err));
        int64_t more_ns = c->by_stage && c->actions[type].count == 0 ? 0 : beyond_ns(c, type);
        more_ns += c->lags[PP_LAG_COMPUTE].median_ns;
        ns[s] = pp_max_i64(1, explained_ns + more_ns);
    }
    return PP_OK;
}

enum cost_column {
    COL_F,
    COL_I,
    COL_W,
    COL_B,
    COL_LATENCY,
    COL_OFFLOAD,
    COL_F_BYTES,
    COL_B_BYTES,
    COL_UNSHARD,
    COL_REDUCE,
    COLUMN_COUNT
};

static void fill_the_rest(const struct pp_calibration *c, const struct pp_sched *sched,
                          const int64_t *message_bytes, int64_t *const columns[COLUMN_COUNT]) {
    /* what compute waits before it starts is in its own cost already */
    int64_t wake_ns =
        pp_max_i64(0, c->lags[PP_LAG_WAKE].median_ns - c->lags[PP_LAG_COMPUTE].median_ns);
    int64_t latency_ns = c->lags[PP_LAG_POST].median_ns + c->link.alpha_ns + wake_ns;
    for (int32_t s = 0; s < sched->stage_count; s++) {
        int32_t after = pp_sched_stage_after(sched, s);
        columns[COL_LATENCY][s] = latency_ns;
        columns[COL_OFFLOAD][s] =
            pp_max_i64(c->actions[PP_OFFLOAD].median_ns, c->actions[PP_RELOAD].median_ns);
        columns[COL_F_BYTES][s] = message_bytes == NULL ? 0 : message_bytes[s];
        columns[COL_B_BYTES][s] = message_bytes == NULL || after < 0 ? 0 : message_bytes[after];
        columns[COL_UNSHARD][s] = c->actions[PP_UNSHARD].median_ns;
        columns[COL_REDUCE][s] = c->actions[PP_REDUCE_GRAD].median_ns;
    }
}

static void fill_network(const struct pp_calibration *c, int32_t rank_count,
                         struct pp_calibrated_costs *out) {
    int32_t *node = out->places;
    int32_t *nic = out->places + rank_count;
    for (int32_t r = 0; r < rank_count; r++) {
        node[r] = 0;
        nic[r] = r;
    }
    out->network = (struct pp_network){.node = node,
                                       .nic = nic,
                                       .port_bytes_per_s = c->link.bytes_per_s,
                                       .nic_bytes_per_s = c->link.bytes_per_s};
    out->sizes_matter = c->link.bytes_per_s > 0;
}

enum pp_status pp_calibration_costs(const struct pp_calibration *c, const struct pp_sched *sched,
                                    const struct pp_split_stage *split,
                                    const int64_t *message_bytes, struct pp_calibrated_costs *out,
                                    struct pp_err *err) {
    if (split == NULL && !c->by_stage) {
        pp_fail(err, PP_E_NOT_FOUND, "calibration %.12s is of modules, but the stages have none",
                c->id);
        return PP_E_NOT_FOUND;
    }
    size_t stages = (size_t)sched->stage_count;
    *out = (struct pp_calibrated_costs){0};
    out->block = calloc(COLUMN_COUNT * stages, sizeof *out->block);
    out->places = calloc(2 * (size_t)sched->rank_count, sizeof *out->places);
    enum pp_status status = out->block == NULL || out->places == NULL
                                ? pp_fail(err, PP_E_NOMEM, "out of memory for costs")
                                : PP_OK;
    int64_t *columns[COLUMN_COUNT];
    for (size_t k = 0; status == PP_OK && k < COLUMN_COUNT; k++) {
        columns[k] = out->block + k * stages;
    }
    for (int type = PP_F; status == PP_OK && type <= PP_B; type++) {
        status = price(c, sched, split, (enum pp_action_type)type, columns[type], err);
    }
    if (status != PP_OK) {
        pp_calibrated_costs_deinit(out);
        return status;
    }
    fill_the_rest(c, sched, message_bytes, columns);
    fill_network(c, sched->rank_count, out);
    out->f_ns = columns[COL_F];
    out->i_ns = columns[COL_I];
    out->w_ns = columns[COL_W];
    out->b_ns = columns[COL_B];
    out->costs = (struct pp_engine_costs){.compute = {.f_ns = columns[COL_F],
                                                      .i_ns = columns[COL_I],
                                                      .w_ns = columns[COL_W],
                                                      .b_ns = columns[COL_B],
                                                      .recv_f_ns = columns[COL_LATENCY],
                                                      .recv_b_ns = columns[COL_LATENCY],
                                                      .offload_ns = columns[COL_OFFLOAD]},
                                          .message_f_bytes = columns[COL_F_BYTES],
                                          .message_b_bytes = columns[COL_B_BYTES],
                                          .unshard_ns = columns[COL_UNSHARD],
                                          .reduce_ns = columns[COL_REDUCE]};
    return PP_OK;
}
