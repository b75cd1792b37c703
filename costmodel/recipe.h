/**
 * @file recipe.h
 * A NeMo Automodel recipe, as far as pipeline planning reads it, with Automodel's defaults and
 * meaning (Automodel 36044ad3: pipelining/config.py, recipes/_dist_utils.py,
 * recipes/llm/train_ft.py).
 *
 * Reading never guesses: a key of the wrong type, an unknown pipeline key or an illegal value is an
 * error with file, line and column. What Automodel ignores or overwrites becomes a lint. Keys that
 * we do not read may hold anything.
 *
 * Strings are taken as Automodel's loader takes them: none and None are null, "4" is 4, 1e-8 is a
 * float, quoted or not (pp_value_translate). Environment references (${VAR}) are not resolved.
 */
#ifndef PP_COSTMODEL_RECIPE_H
#define PP_COSTMODEL_RECIPE_H

#include "costmodel/doc.h"
#include "costmodel/fqn.h"
#include "costmodel/split.h"

enum pp_recompute { PP_RECOMPUTE_NONE, PP_RECOMPUTE_SELECTIVE, PP_RECOMPUTE_FULL };

/** Limits of what a recipe may ask for: the tokens of a local batch stay below 2^48, those of a
 * step below 2^58. */
enum {
    PP_RECIPE_MAX_BATCH = 1 << 20,        /* sequences a microbatch, a local batch */
    PP_RECIPE_MAX_GLOBAL_BATCH = 1 << 30, /* sequences a step */
    PP_RECIPE_MAX_SEQ_LEN = 1 << 27,      /* tokens */
};

enum pp_dtype { PP_DTYPE_BF16, PP_DTYPE_FP16, PP_DTYPE_FP32, PP_DTYPE_OTHER };

/** Bytes of one element; 8, the largest, for PP_DTYPE_OTHER. */
int32_t pp_dtype_bytes(enum pp_dtype dtype);

/**
 * A dtype name as Automodel's dtype_from_str takes it: any case, with or without "torch.", and
 * "bf16"; not "fp16" or "fp32". Real and integer dtypes beside the three become PP_DTYPE_OTHER.
 * @return false if Automodel does not know the name (or means a complex number)
 */
bool pp_dtype_from_name(const char *name, enum pp_dtype *dtype_p);

/** The 14 fields of Automodel's PipelineConfig, in its order. Strings live in the recipe. */
struct pp_pipeline_config {
    const char *pp_schedule;     /* "1f1b"; NULL if null */
    const char *pp_schedule_csv; /* NULL = none (an empty string counts as none) */
    int32_t pp_microbatch_size;  /* 1 */
    int32_t pp_batch_size;       /* 1; recipes overwrite it with step_scheduler.local_batch_size */
    int32_t layers_per_stage;    /* read only if has_layers_per_stage */
    bool has_layers_per_stage;
    enum pp_round round; /* round_virtual_stages_to_pp_multiple */
    bool has_fqns;
    struct pp_fqn_lists fqns;                    /* module_fqns_per_model_part */
    bool patch_inner_model;                      /* true */
    bool patch_causal_lm_model;                  /* true */
    bool patch_stage_backward_maybe_with_nosync; /* false; recipes overwrite it */
    const char *dtype;                           /* NULL = from mp_policy */
    bool scale_grads_in_schedule;                /* false */
    const char *loss_fn;                         /* NULL; recipes take the top-level loss_fn */
    int64_t pp_seq_len;                          /* 0 = unset */
};

enum pp_lint_level { PP_LINT_INFO, PP_LINT_WARNING, PP_LINT_ERROR };

/** One remark about a recipe. */
struct pp_lint {
    enum pp_lint_level level;
    const char *code; /* static, such as "W_BATCH_OVERWRITTEN" */
    char message[400];
    char key[128];        /* dotted key it is about; may be empty */
    int32_t line, column; /* 0 = unknown */
};

struct pp_recipe {
    struct pp_doc *doc;                 /* owned; the verbatim text is pp_doc_text(doc) */
    struct pp_pipeline_config pipeline; /* with pp_size 1, where Automodel ignores the block: as
                                           written if it is legal, else the defaults */
    bool has_pipeline_block;            /* distributed.pipeline is there and not null */

    /* distributed.* */
    char strategy[24];                          /* lower case; "fsdp2" */
    int32_t pp_size, tp_size, cp_size, ep_size; /* 1 */
    int32_t dp_size, dp_replicate_size;         /* 0 = derive from the world */
    bool sequence_parallel;
    enum pp_recompute recompute; /* activation_checkpointing */
    bool defer_fsdp_grad_sync;   /* true */
    bool has_reshard_after_forward, reshard_after_forward;
    enum pp_dtype param_dtype, reduce_dtype; /* mp_policy; bf16 and fp32 without one. A policy that
                                                leaves one out: the model's, the parameters' */

    /* step_scheduler.* */
    int64_t global_batch_size; /* 0 = not given */
    int32_t local_batch_size;  /* 1 */

    /* data: sequence length a step sees; 0 = unknown */
    int64_t dataset_seq_len; /* dataset.seq_len, else dataset.seq_length (linted: the pipeline does
                                not read it), else dataloader.collate_fn.max_length (VLM recipes) */
    int64_t packed_sequence_size;

    /* model.* */
    const char *model_id; /* pretrained_model_name_or_path, NULL if none */
    struct pp_node
        *model_config; /* model.config mapping (overrides such as num_hidden_layers); may be NULL */
    enum pp_dtype model_dtype; /* model.torch_dtype / config.torch_dtype; bf16 */
    bool enable_fsdp_optimizations;
    char attention_backend[24]; /* model.backend.attn or attn_implementation; may be empty */
    bool fused_cross_entropy;   /* loss_fn is FusedLinearCrossEntropy and Automodel keeps it: with
                                   pp_size > 1 only if patch_causal_lm_model */
    char optimizer[64];         /* optimizer._target_, last component */

    /* peft */
    bool peft;
    int32_t peft_dim;

    /* where it ran: ci.nodes, benchmark.num_nodes, slurm.nodes; 0 = unknown */
    int32_t node_count;

    int32_t lint_count;
    struct pp_lint *lints;
};

/** One `--set dotted.key=value`. */
struct pp_setting {
    const char *dotted;
    const char *value;
};

/**
 * Reads a recipe from a file, applies settings in order (the last wins), resolves defaults.
 * Does not judge whether the pipeline is legal for a model or a world: planning does.
 * @return PP_OK, PP_E_FILE, PP_E_SYNTAX, PP_E_TYPE, PP_E_KEY, PP_E_VALUE, PP_E_RANGE, PP_E_ROUND,
 *         PP_E_PIPELINE (pp_size > 1 without a pipeline block, without a schedule name, or with
 *         another strategy than fsdp2), PP_E_NOMEM
 */
enum pp_status pp_recipe_read(const char *path, const struct pp_setting *settings,
                              int32_t setting_count, struct pp_recipe **recipe_p,
                              struct pp_err *err);

/** The same from a document; takes ownership of `doc` on success and on failure. */
enum pp_status pp_recipe_from_doc(struct pp_doc *doc, struct pp_recipe **recipe_p,
                                  struct pp_err *err);

void pp_recipe_destroy(struct pp_recipe *recipe);

/** Sequence length a microbatch has: packed size, else dataset length, else pp_seq_len, else 0.
 *  (pp_seq_len comes last because recipes call update_seq_len with the real length on each step.)
 */
int64_t pp_recipe_seq_len(const struct pp_recipe *recipe);

/**
 * The recipe's text with only these keys changed, comments and layout kept: a scalar or a value in
 * brackets is replaced in place, a missing key is added at its mapping's end (block or flow), with
 * the mappings it needs. Starts from the verbatim text: settings the document was read with are not
 * in it. Values that YAML would read as something else are quoted.
 * @param out  appended to on success; verified by parsing it again and comparing every key
 * @return PP_OK, PP_E_TYPE (not a mapping), PP_E_VALUE (a key whose place is not editable, such as
 *         one behind an alias or one that holds a block of several lines), PP_E_NOMEM
 */
enum pp_status pp_recipe_rewrite(const struct pp_doc *doc, const struct pp_setting *settings,
                                 int32_t setting_count, struct pp_text *out, struct pp_err *err);

#endif
