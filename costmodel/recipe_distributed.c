/* distributed.*: strategy, parallel sizes, recomputation, precision. */
#include "costmodel/nearest.h"
#include "costmodel/recipe_fields.h"
#include "costmodel/recipe_parts.h"

#include <string.h>

#define AT(field) offsetof(struct pp_recipe, field)

static bool is_one_of(const char *text, const char *const *words) {
    for (; *words != NULL; words++) {
        if (strcmp(text, *words) == 0) {
            return true;
        }
    }
    return false;
}

static enum pp_status read_strategy(struct pp_recipe *r, struct pp_err *err) {
    static const char *const known[] = {"fsdp2", "megatron_fsdp", "megatron-fsdp", "mfsdp", "ddp"};
    static const char key[] = "distributed.strategy";
    const char *text = "fsdp2";
    const struct pp_field field = {key, PP_FIELD_TEXT, false, 0, 0, 0};
    PP_TRY(pp_fields_read(r->doc, &field, 1, &text, err));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (pp_equal_nocase(text, known[i])) {
            pp_copy(r->strategy, sizeof r->strategy, known[i]);
            return PP_OK;
        }
    }
    pp_node_fail(err, r->doc, pp_doc_find(r->doc, key), PP_E_VALUE,
                 "%s is '%.60s'; expected fsdp2, megatron_fsdp or ddp", key, text);
    const char *nearest = pp_nearest(text, known, sizeof known / sizeof *known);
    if (nearest != NULL) {
        pp_hint(err, "did you mean %s?", nearest);
    }
    return PP_E_VALUE;
}

/* Automodel's words, any case, with - for _ */
static bool recompute_from_word(const char *text, enum pp_recompute *mode_p) {
    static const char *const none[] = {"false", "off", "none", "disabled", "no", NULL};
    static const char *const full[] = {"true", "on", "full", "enabled", "yes", NULL};
    char word[16] = "";
    if (!pp_copy(word, sizeof word, text)) {
        return false;
    }
    for (char *p = word; *p != '\0'; p++) {
        *p = *p == '-' ? '_' : pp_lower(*p);
    }
    if (is_one_of(word, none)) {
        *mode_p = PP_RECOMPUTE_NONE;
    } else if (is_one_of(word, full)) {
        *mode_p = PP_RECOMPUTE_FULL;
    } else if (strcmp(word, "selective") == 0) {
        *mode_p = PP_RECOMPUTE_SELECTIVE;
    } else {
        return false;
    }
    return true;
}

static enum pp_status read_recompute(struct pp_recipe *r, struct pp_err *err) {
    static const char key[] = "distributed.activation_checkpointing";
    const struct pp_node *node = pp_field_find(r->doc, key);
    if (node == NULL) {
        return PP_OK;
    }
    struct pp_field_value view = pp_field_view(node);
    if (view.kind == PP_NODE_BOOL) {
        r->recompute = view.boolean ? PP_RECOMPUTE_FULL : PP_RECOMPUTE_NONE;
        return PP_OK;
    }
    if (view.kind != PP_NODE_STRING) {
        return pp_field_type_error(r->doc, node, key, "true, false, full or selective", err);
    }
    if (!recompute_from_word(pp_node_text(node), &r->recompute)) {
        return pp_node_fail(err, r->doc, node, PP_E_VALUE,
                            "%s is '%.60s'; expected true, false, full or selective", key,
                            pp_node_text(node));
    }
    bool supports_selective = strcmp(r->strategy, "fsdp2") == 0 || strcmp(r->strategy, "ddp") == 0;
    if (r->recompute == PP_RECOMPUTE_SELECTIVE && !supports_selective) {
        return pp_node_fail(err, r->doc, node, PP_E_VALUE,
                            "%s is selective, which only fsdp2 and ddp support", key);
    }
    return PP_OK;
}

/* Without a policy bf16 computation and fp32 reduction. A policy's own gaps mean "do not cast". */
static enum pp_status read_policy(struct pp_recipe *r, struct pp_err *err) {
    static const struct pp_field param = {
        "distributed.mp_policy.param_dtype", PP_FIELD_DTYPE, true, AT(param_dtype), 0, 0};
    static const struct pp_field reduce = {
        "distributed.mp_policy.reduce_dtype", PP_FIELD_DTYPE, true, AT(reduce_dtype), 0, 0};
    static const struct pp_field output = {
        "distributed.mp_policy.output_dtype", PP_FIELD_DTYPE, true, 0, 0, 0};
    r->param_dtype = PP_DTYPE_BF16;
    r->reduce_dtype = PP_DTYPE_FP32;
    if (pp_field_find(r->doc, "distributed.mp_policy") == NULL) {
        return PP_OK;
    }
    enum pp_dtype ignored = PP_DTYPE_BF16; /* checked here, compared by a lint */
    PP_TRY(pp_fields_read(r->doc, &output, 1, &ignored, err));
    r->param_dtype = r->model_dtype;
    PP_TRY(pp_fields_read(r->doc, &param, 1, r, err));
    r->reduce_dtype = r->param_dtype;
    return pp_fields_read(r->doc, &reduce, 1, r, err);
}

static enum pp_status read_reshard(struct pp_recipe *r, struct pp_err *err) {
    static const struct pp_field field = {
        "distributed.reshard_after_forward", PP_FIELD_BOOL, true, AT(reshard_after_forward), 0, 0};
    PP_TRY(pp_fields_read(r->doc, &field, 1, r, err));
    r->has_reshard_after_forward = pp_field_find(r->doc, field.key) != NULL;
    return PP_OK;
}

enum pp_status pp_recipe_read_distributed(struct pp_recipe *r, struct pp_err *err) {
    static const char *const mappings[] = {"distributed", "distributed.mp_policy", NULL};
    static const struct pp_field fields[] = {
        {"distributed.pp_size", PP_FIELD_INT32, true, AT(pp_size), 1, PP_MAX_RANKS},
        {"distributed.tp_size", PP_FIELD_INT32, true, AT(tp_size), 1, PP_MAX_RANKS},
        {"distributed.cp_size", PP_FIELD_INT32, true, AT(cp_size), 1, PP_MAX_RANKS},
        {"distributed.ep_size", PP_FIELD_INT32, true, AT(ep_size), 1, PP_MAX_RANKS},
        {"distributed.dp_size", PP_FIELD_INT32, true, AT(dp_size), 1, PP_MAX_RANKS},
        {"distributed.dp_replicate_size", PP_FIELD_INT32, true, AT(dp_replicate_size), 1,
         PP_MAX_RANKS},
        {"distributed.sequence_parallel", PP_FIELD_BOOL, true, AT(sequence_parallel), 0, 0},
        {"distributed.defer_fsdp_grad_sync", PP_FIELD_BOOL, true, AT(defer_fsdp_grad_sync), 0, 0},
    };
    r->pp_size = r->tp_size = r->cp_size = r->ep_size = 1;
    r->defer_fsdp_grad_sync = true;
    PP_TRY(pp_fields_want_mappings(r->doc, mappings, err));
    PP_TRY(read_strategy(r, err));
    PP_TRY(pp_fields_read(r->doc, fields, sizeof fields / sizeof *fields, r, err));
    PP_TRY(read_recompute(r, err));
    PP_TRY(read_reshard(r, err));
    return read_policy(r, err);
}
