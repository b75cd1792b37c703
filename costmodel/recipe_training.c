/* What is trained, on what, with which batch sizes, on how many nodes. */
#include "costmodel/recipe_fields.h"
#include "costmodel/recipe_parts.h"

#include <stdio.h>
#include <string.h>

#define AT(field) offsetof(struct pp_recipe, field)

int32_t pp_dtype_bytes(enum pp_dtype dtype) {
    switch (dtype) {
    case PP_DTYPE_BF16:
    case PP_DTYPE_FP16:
        return 2;
    case PP_DTYPE_FP32:
        return 4;
    case PP_DTYPE_OTHER:
        return 8;
    }
    return 8;
}

bool pp_dtype_from_name(const char *name, enum pp_dtype *dtype_p) {
    static const struct {
        const char *name;
        enum pp_dtype dtype;
    } known[] = {
        {"bfloat16", PP_DTYPE_BF16}, {"float16", PP_DTYPE_FP16}, {"half", PP_DTYPE_FP16},
        {"float32", PP_DTYPE_FP32},  {"float", PP_DTYPE_FP32},   {"float64", PP_DTYPE_OTHER},
        {"double", PP_DTYPE_OTHER},  {"uint8", PP_DTYPE_OTHER},  {"int8", PP_DTYPE_OTHER},
        {"int16", PP_DTYPE_OTHER},   {"short", PP_DTYPE_OTHER},  {"int32", PP_DTYPE_OTHER},
        {"int", PP_DTYPE_OTHER},     {"int64", PP_DTYPE_OTHER},  {"long", PP_DTYPE_OTHER},
        {"bool", PP_DTYPE_OTHER},
    };
    if (pp_equal_nocase(name, "bf16")) { /* the one short name, never with "torch." */
        *dtype_p = PP_DTYPE_BF16;
        return true;
    }
    char prefix[7] = "";
    if (!pp_copy(prefix, sizeof prefix, name) && pp_equal_nocase(prefix, "torch.")) {
        name += sizeof prefix - 1;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (pp_equal_nocase(name, known[i].name)) {
            *dtype_p = known[i].dtype;
            return true;
        }
    }
    return false;
}

static const char *last_component(const char *dotted) {
    const char *point = strrchr(dotted, '.');
    return point != NULL ? point + 1 : dotted;
}

/* The string at `key`, or NULL: absent, null or not a string. For keys that others judge. */
static const char *find_text(const struct pp_doc *doc, const char *key) {
    const struct pp_node *node = pp_field_find(doc, key);
    return node != NULL && pp_field_view(node).kind == PP_NODE_STRING ? pp_node_text(node) : NULL;
}

static enum pp_status read_batches(struct pp_recipe *r, struct pp_err *err) {
    static const struct pp_field fields[] = {
        {"step_scheduler.global_batch_size", PP_FIELD_INT64, true, AT(global_batch_size), 1,
         PP_RECIPE_MAX_GLOBAL_BATCH},
        {"step_scheduler.local_batch_size", PP_FIELD_INT32, false, AT(local_batch_size), 1,
         PP_RECIPE_MAX_BATCH},
    };
    r->local_batch_size = 1;
    return pp_fields_read(r->doc, fields, sizeof fields / sizeof *fields, r, err);
}

static enum pp_status read_data(struct pp_recipe *r, struct pp_err *err) {
    static const struct pp_field fields[] = {
        /* the last one given wins: of these, the pipeline reads only seq_len itself */
        {"dataloader.collate_fn.max_length", PP_FIELD_INT64, true, AT(dataset_seq_len), 1,
         PP_RECIPE_MAX_SEQ_LEN},
        {"dataset.seq_length", PP_FIELD_INT64, true, AT(dataset_seq_len), 1, PP_RECIPE_MAX_SEQ_LEN},
        {"dataset.seq_len", PP_FIELD_INT64, true, AT(dataset_seq_len), 1, PP_RECIPE_MAX_SEQ_LEN},
        {"packed_sequence.packed_sequence_size", PP_FIELD_INT64, true, AT(packed_sequence_size), 0,
         PP_RECIPE_MAX_SEQ_LEN},
    };
    return pp_fields_read(r->doc, fields, sizeof fields / sizeof *fields, r, err);
}

static enum pp_status read_model_dtype(struct pp_recipe *r, struct pp_err *err) {
    static const char *const keys[] = {"model.config.torch_dtype", "model.torch_dtype"};
    r->model_dtype = PP_DTYPE_BF16;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *text = find_text(r->doc, keys[i]);
        if (text != NULL && pp_equal_nocase(text, "auto")) {
            continue; /* whatever the checkpoint has, which is bf16 nearly always */
        }
        const struct pp_field field = {keys[i], PP_FIELD_DTYPE, true, AT(model_dtype), 0, 0};
        PP_TRY(pp_fields_read(r->doc, &field, 1, r, err));
    }
    return PP_OK;
}

static enum pp_status read_model_id(struct pp_recipe *r, struct pp_err *err) {
    static const struct pp_field fields[] = {
        {"model.config.pretrained_model_name_or_path", PP_FIELD_TEXT, true, AT(model_id), 0, 0},
        {"model.pretrained_model_name_or_path", PP_FIELD_TEXT, true, AT(model_id), 0, 0},
    };
    const struct pp_node *config = pp_field_find(r->doc, "model.config");
    if (config != NULL && pp_node_kind(config) == PP_NODE_MAPPING) {
        r->model_config = pp_doc_find(r->doc, "model.config");
    } else if (config != NULL) {
        const struct pp_field name = {"model.config", PP_FIELD_TEXT, true, AT(model_id), 0, 0};
        PP_TRY(pp_fields_read(r->doc, &name, 1, r, err));
    }
    return pp_fields_read(r->doc, fields, sizeof fields / sizeof *fields, r, err);
}

static enum pp_status read_attention(struct pp_recipe *r, struct pp_err *err) {
    const char *name = "";
    const struct pp_field fields[] = {
        {"model.attn_implementation", PP_FIELD_TEXT, true, 0, 0, 0},
        {"model.backend.attn", PP_FIELD_TEXT, true, 0, 0, 0},
    };
    PP_TRY(pp_fields_read(r->doc, fields, sizeof fields / sizeof *fields, &name, err));
    pp_copy(r->attention_backend, sizeof r->attention_backend, name);
    const struct pp_field optimizations = {"model.backend.enable_fsdp_optimizations",
                                           PP_FIELD_BOOL,
                                           true,
                                           AT(enable_fsdp_optimizations),
                                           0,
                                           0};
    return pp_fields_read(r->doc, &optimizations, 1, r, err);
}

bool pp_recipe_wants_fused_loss(const struct pp_recipe *r) {
    const char *loss = find_text(r->doc, "loss_fn._target_");
    if (loss == NULL) {
        loss = find_text(r->doc, "loss_fn");
    }
    return loss != NULL && strcmp(last_component(loss), "FusedLinearCrossEntropy") == 0;
}

static enum pp_status read_optimizer(struct pp_recipe *r, struct pp_err *err) {
    static const struct pp_field field = {"optimizer._target_", PP_FIELD_TEXT, true, 0, 0, 0};
    const char *target = "";
    PP_TRY(pp_fields_read(r->doc, &field, 1, &target, err));
    pp_copy(r->optimizer, sizeof r->optimizer, last_component(target));
    return PP_OK;
}

static enum pp_status read_peft(struct pp_recipe *r, struct pp_err *err) {
    static const struct pp_field dim = {"peft.dim", PP_FIELD_INT32, false, AT(peft_dim),
                                        1,          1 << 20};
    if (pp_field_find(r->doc, "peft") == NULL) {
        return PP_OK;
    }
    r->peft = true;
    r->peft_dim = 8; /* PeftConfig's default */
    return pp_fields_read(r->doc, &dim, 1, r, err);
}

static enum pp_status read_nodes(struct pp_recipe *r, struct pp_err *err) {
    static const struct pp_field fields[] = {
        /* the last one given wins */
        {"slurm.nodes", PP_FIELD_INT32, true, AT(node_count), 1, PP_MAX_RANKS},
        {"benchmark.num_nodes", PP_FIELD_INT32, true, AT(node_count), 1, PP_MAX_RANKS},
        {"ci.nodes", PP_FIELD_INT32, true, AT(node_count), 1, PP_MAX_RANKS},
    };
    return pp_fields_read(r->doc, fields, sizeof fields / sizeof *fields, r, err);
}

enum pp_status pp_recipe_read_training(struct pp_recipe *r, struct pp_err *err) {
    static const char *const mappings[] = {"step_scheduler",
                                           "dataset",
                                           "packed_sequence",
                                           "model",
                                           "model.backend",
                                           "peft",
                                           "optimizer",
                                           "ci",
                                           "benchmark",
                                           "slurm",
                                           NULL};
    PP_TRY(pp_fields_want_mappings(r->doc, mappings, err));
    PP_TRY(read_batches(r, err));
    PP_TRY(read_data(r, err));
    PP_TRY(read_model_id(r, err));
    PP_TRY(read_model_dtype(r, err));
    PP_TRY(read_attention(r, err));
    PP_TRY(read_optimizer(r, err));
    PP_TRY(read_peft(r, err));
    return read_nodes(r, err);
}
