/**
 * @file fqn.h
 * Module names of each pipeline stage: the lists Automodel generates, and the check of lists that a
 * user wrote (module_fqns_per_model_part).
 * Source: Automodel 36044ad3, generate_hf_model_fqn_per_model_part.
 */
#ifndef PP_COSTMODEL_FQN_H
#define PP_COSTMODEL_FQN_H

#include "costmodel/base.h"

/** Options of the generator; zero plus PP_FQN_DEFAULT matches Automodel's defaults. */
struct pp_fqn_options {
    const char *prefix;  /* text model prefix, "model." by default */
    const char *lm_head; /* "lm_head" by default */
    bool without_embeddings;
    bool without_lm_head;
    bool without_rotary_emb;
    bool with_encoders; /* the 15 multimodal names on stage 0 */
};

/** Called once per name, stages in order, names in list order. */
typedef void pp_fqn_visit(void *context, int32_t stage, const char *name);

/**
 * Generates the lists for an even split.
 * @return PP_OK, PP_E_SPLIT (stage_count < 1 or > layer_count)
 */
enum pp_status pp_fqn_generate(int32_t layer_count, int32_t stage_count,
                               const struct pp_fqn_options *options, pp_fqn_visit *visit,
                               void *context, struct pp_err *err);

/** Lists as read from a recipe. names[part_begin[k] .. part_begin[k+1]-1] are part k's. */
struct pp_fqn_lists {
    int32_t part_count;
    int32_t *part_begin; /* [part_count + 1] */
    const char **names;
};

/**
 * Checks user-written lists: every layer exactly once, ascending over the parts, embedding in the
 * first part, norm and head in the last, only known names, part count a multiple of pp_size.
 * @param layer_counts  [part_count], layers a part holds, written on success; may be NULL
 * @return PP_OK, PP_E_FQN naming part, module and what was expected
 */
enum pp_status pp_fqn_check(const struct pp_fqn_lists *lists, int32_t layer_count, int32_t pp_size,
                            int32_t *layer_counts, struct pp_err *err);

#endif
