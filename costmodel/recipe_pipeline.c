/* distributed.pipeline: the 14 fields of Automodel's PipelineConfig. */
#include "costmodel/nearest.h"
#include "costmodel/recipe_fields.h"
#include "costmodel/recipe_parts.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK "distributed.pipeline"
#define AT(field) offsetof(struct pp_pipeline_config, field)

static const char *const known_keys[] = {
    "pp_schedule",
    "pp_schedule_csv",
    "pp_microbatch_size",
    "pp_batch_size",
    "layers_per_stage",
    "round_virtual_stages_to_pp_multiple",
    "module_fqns_per_model_part",
    "patch_inner_model",
    "patch_causal_lm_model",
    "patch_stage_backward_maybe_with_nosync",
    "dtype",
    "scale_grads_in_schedule",
    "loss_fn",
    "pp_seq_len",
};
enum { KNOWN_COUNT = sizeof known_keys / sizeof *known_keys };

/* The fields that need no rule of their own. */
static const struct pp_field plain_fields[] = {
    {BLOCK ".pp_schedule", PP_FIELD_TEXT, true, AT(pp_schedule), 0, 0},
    {BLOCK ".pp_schedule_csv", PP_FIELD_TEXT, true, AT(pp_schedule_csv), 0, 0},
    {BLOCK ".pp_microbatch_size", PP_FIELD_INT32, false, AT(pp_microbatch_size), 1,
     PP_RECIPE_MAX_BATCH},
    {BLOCK ".pp_batch_size", PP_FIELD_INT32, false, AT(pp_batch_size), 1, PP_RECIPE_MAX_BATCH},
    {BLOCK ".layers_per_stage", PP_FIELD_INT32, true, AT(layers_per_stage), 1, INT32_MAX},
    {BLOCK ".patch_inner_model", PP_FIELD_BOOL, false, AT(patch_inner_model), 0, 0},
    {BLOCK ".patch_causal_lm_model", PP_FIELD_BOOL, false, AT(patch_causal_lm_model), 0, 0},
    {BLOCK ".patch_stage_backward_maybe_with_nosync", PP_FIELD_BOOL, false,
     AT(patch_stage_backward_maybe_with_nosync), 0, 0},
    {BLOCK ".dtype", PP_FIELD_TEXT, true, AT(dtype), 0, 0},
    {BLOCK ".scale_grads_in_schedule", PP_FIELD_BOOL, false, AT(scale_grads_in_schedule), 0, 0},
    {BLOCK ".pp_seq_len", PP_FIELD_INT64, true, AT(pp_seq_len), 1, PP_RECIPE_MAX_SEQ_LEN},
};

static bool is_known(const char *key) {
    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        if (strcmp(key, known_keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

static enum pp_status refuse_key(const struct pp_doc *doc, const struct pp_node *block,
                                 int32_t index, const char *key, struct pp_err *err) {
    struct pp_place place = pp_node_key_place(block, index);
    pp_node_fail(err, doc, pp_node_pair(block, index, NULL), PP_E_KEY, BLOCK " has no key '%.80s'",
                 key);
    if (place.line > 0) {
        pp_err_place(err, NULL, place.line, place.column);
    }
    const char *nearest = pp_nearest(key, known_keys, KNOWN_COUNT);
    if (nearest != NULL) {
        pp_hint(err, "did you mean %s?", nearest);
    } else if (strcmp(key, "_target_") == 0) {
        pp_hint(err, "remove it: the block holds only the settings themselves");
    } else {
        pp_hint(err, "remove it; the keys are pp_schedule, pp_microbatch_size, layers_per_stage, "
                     "round_virtual_stages_to_pp_multiple and ten rarer ones");
    }
    return PP_E_KEY;
}

static enum pp_status refuse_unknown_keys(const struct pp_doc *doc, const struct pp_node *block,
                                          struct pp_err *err) {
    for (int32_t i = 0; i < pp_node_count(block); i++) {
        const char *key = NULL;
        pp_node_pair(block, i, &key);
        if (!is_known(key)) {
            return refuse_key(doc, block, i, key, err);
        }
    }
    return PP_OK;
}

static enum pp_status read_round(const struct pp_doc *doc, enum pp_round *round_p,
                                 struct pp_err *err) {
    static const char key[] = BLOCK ".round_virtual_stages_to_pp_multiple";
    const struct pp_node *node = pp_field_find(doc, key);
    if (node == NULL) {
        return PP_OK;
    }
    if (pp_field_view(node).kind != PP_NODE_STRING) {
        return pp_field_type_error(doc, node, key, "up, down or null", err);
    }
    const char *word = pp_node_text(node);
    if (strcmp(word, "up") == 0) {
        *round_p = PP_ROUND_UP;
    } else if (strcmp(word, "down") == 0) {
        *round_p = PP_ROUND_DOWN;
    } else {
        pp_node_fail(err, doc, node, PP_E_ROUND, "%s is '%.60s'; expected up, down or null", key,
                     word);
        pp_hint(err, "the word is compared letter by letter, in lower case");
        return PP_E_ROUND;
    }
    return PP_OK;
}

static enum pp_status check_dtype(const struct pp_doc *doc, struct pp_err *err) {
    static const struct pp_field field = {BLOCK ".dtype", PP_FIELD_DTYPE, true, 0, 0, 0};
    enum pp_dtype ignored = PP_DTYPE_BF16;
    return pp_fields_read(doc, &field, 1, &ignored, err);
}

/* A dotted name, or a mapping with a _target_. */
static enum pp_status read_loss(const struct pp_doc *doc, const char **loss_p, struct pp_err *err) {
    const struct pp_node *node = pp_field_find(doc, BLOCK ".loss_fn");
    if (node != NULL && pp_node_kind(node) == PP_NODE_MAPPING) {
        node = pp_node_get(node, "_target_");
    }
    if (node == NULL) {
        return PP_OK;
    }
    if (pp_field_view(node).kind != PP_NODE_STRING) {
        return pp_field_type_error(doc, node, BLOCK ".loss_fn", "a dotted name", err);
    }
    *loss_p = pp_node_text(node);
    return PP_OK;
}

static enum pp_status count_names(const struct pp_doc *doc, const struct pp_node *parts,
                                  const char *key, int32_t *count_p, struct pp_err *err) {
    *count_p = 0;
    for (int32_t i = 0; i < pp_node_count(parts); i++) {
        const struct pp_node *part = pp_node_item(parts, i);
        if (pp_node_kind(part) != PP_NODE_SEQUENCE) {
            return pp_field_type_error(doc, part, key, "a list of lists of module names", err);
        }
        for (int32_t k = 0; k < pp_node_count(part); k++) {
            const struct pp_node *name = pp_node_item(part, k);
            if (pp_node_kind(name) != PP_NODE_STRING) {
                return pp_field_type_error(doc, name, key, "a module name", err);
            }
        }
        *count_p += pp_node_count(part);
    }
    return PP_OK;
}

/* One block of memory: the offsets behind the names. */
static enum pp_status read_fqns(const struct pp_doc *doc, struct pp_pipeline_config *p,
                                struct pp_err *err) {
    static const char key[] = BLOCK ".module_fqns_per_model_part";
    const struct pp_node *parts = pp_field_find(doc, key);
    if (parts == NULL) {
        return PP_OK;
    }
    if (pp_node_kind(parts) != PP_NODE_SEQUENCE) {
        return pp_field_type_error(doc, parts, key, "a list of lists of module names", err);
    }
    int32_t part_count = pp_node_count(parts);
    if (part_count == 0) {
        return pp_node_fail(err, doc, parts, PP_E_VALUE,
                            "%s is an empty list; expected one list a stage, or null", key);
    }
    int32_t name_count = 0;
    PP_TRY(count_names(doc, parts, key, &name_count, err));
    struct pp_fqn_lists lists = {.part_count = part_count};
    lists.names = malloc((size_t)name_count * sizeof *lists.names + 1);
    lists.part_begin = malloc(((size_t)part_count + 1) * sizeof *lists.part_begin);
    if (lists.names == NULL || lists.part_begin == NULL) {
        free(lists.names);
        free(lists.part_begin);
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d module names", name_count);
    }
    int32_t at = 0;
    for (int32_t i = 0; i < part_count; i++) {
        const struct pp_node *part = pp_node_item(parts, i);
        lists.part_begin[i] = at;
        for (int32_t k = 0; k < pp_node_count(part); k++) {
            lists.names[at++] = pp_node_text(pp_node_item(part, k));
        }
    }
    lists.part_begin[part_count] = at;
    p->fqns = lists;
    p->has_fqns = true;
    return PP_OK;
}

/* Automodel looks the class up by name even when a CSV gives the order. */
static enum pp_status require_name(const struct pp_doc *doc, const struct pp_pipeline_config *p,
                                   struct pp_err *err) {
    if (p->pp_schedule != NULL) {
        return PP_OK;
    }
    const struct pp_node *node = pp_doc_find(doc, BLOCK ".pp_schedule");
    const char *what = p->pp_schedule_csv != NULL
                           ? "is null; with a CSV, too, the name decides how many stages a rank "
                             "has and where they are"
                           : "and pp_schedule_csv are both null; expected a schedule";
    pp_node_fail(err, doc, node, PP_E_PIPELINE, BLOCK ".pp_schedule %s", what);
    pp_hint(err, "name the schedule, such as 1f1b or interleaved1f1b");
    return PP_E_PIPELINE;
}

static const struct pp_pipeline_config default_config = {
    .pp_schedule = "1f1b",
    .pp_microbatch_size = 1,
    .pp_batch_size = 1,
    .patch_inner_model = true,
    .patch_causal_lm_model = true,
};

/* null takes a text field's default away, which pp_fields_read leaves in place */
static void apply_null_schedule(const struct pp_doc *doc, struct pp_pipeline_config *p) {
    const struct pp_node *node = pp_doc_find(doc, BLOCK ".pp_schedule");
    if (node != NULL && pp_field_find(doc, BLOCK ".pp_schedule") == NULL) {
        p->pp_schedule = NULL;
    }
    if (p->pp_schedule_csv != NULL && *p->pp_schedule_csv == '\0') {
        p->pp_schedule_csv = NULL;
    }
    p->has_layers_per_stage = p->layers_per_stage > 0;
}

static enum pp_status read_block(const struct pp_doc *doc, const struct pp_node *block,
                                 struct pp_pipeline_config *config_p, struct pp_err *err) {
    struct pp_pipeline_config p = default_config;
    if (pp_node_kind(block) != PP_NODE_MAPPING) {
        return pp_field_type_error(doc, block, BLOCK, "a mapping", err);
    }
    PP_TRY(refuse_unknown_keys(doc, block, err));
    PP_TRY(pp_fields_read(doc, plain_fields, sizeof plain_fields / sizeof *plain_fields, &p, err));
    apply_null_schedule(doc, &p);
    PP_TRY(read_round(doc, &p.round, err));
    PP_TRY(check_dtype(doc, err));
    PP_TRY(read_loss(doc, &p.loss_fn, err));
    PP_TRY(require_name(doc, &p, err));
    PP_TRY(read_fqns(doc, &p, err)); /* last: it allocates */
    *config_p = p;
    return PP_OK;
}

static enum pp_status refuse_missing_block(const struct pp_recipe *r, struct pp_err *err) {
    pp_node_fail(err, r->doc, pp_doc_find(r->doc, "distributed.pp_size"), PP_E_PIPELINE,
                 "distributed.pp_size is %d, but there is no " BLOCK
                 " block that says how to pipeline",
                 r->pp_size);
    pp_hint(err, "add " BLOCK " with pp_schedule and pp_microbatch_size; an empty one, "
                 "pipeline: {}, takes the defaults");
    return PP_E_PIPELINE;
}

static enum pp_status require_fsdp2(const struct pp_recipe *r, struct pp_err *err) {
    if (strcmp(r->strategy, "fsdp2") == 0) {
        return PP_OK;
    }
    pp_node_fail(err, r->doc, pp_doc_find(r->doc, "distributed.strategy"), PP_E_PIPELINE,
                 "distributed.strategy is %s with pp_size %d; only fsdp2 can be pipelined",
                 r->strategy, r->pp_size);
    pp_hint(err, "use strategy: fsdp2, or pp_size: 1");
    return PP_E_PIPELINE;
}

enum pp_status pp_recipe_read_pipeline(struct pp_recipe *r, struct pp_err *err) {
    const struct pp_node *block = pp_field_find(r->doc, BLOCK);
    r->pipeline = default_config;
    r->has_pipeline_block = block != NULL;
    if (r->pp_size <= 1) {
        if (block != NULL) {
            /* Automodel drops the block unread: what is wrong in it is nobody's error */
            (void)read_block(r->doc, block, &r->pipeline, NULL);
        }
        return PP_OK;
    }
    PP_TRY(require_fsdp2(r, err));
    return block != NULL ? read_block(r->doc, block, &r->pipeline, err)
                         : refuse_missing_block(r, err);
}
