/**
 * @file fqn.h
 * Module names of each pipeline stage: the lists Automodel generates, and the check of lists that a
 * user wrote (module_fqns_per_model_part).
 * Source: Automodel 36044ad3, generate_hf_model_fqn_per_model_part.
 *
 * Order inside a part: embed_tokens, encoders, extra names (first part), layers, norm, head (last
 * part), rotary_emb (every part).
 */
#ifndef PP_COSTMODEL_FQN_H
#define PP_COSTMODEL_FQN_H

#include "costmodel/base.h"

/** Options of the generator; zero matches Automodel's defaults but for `with_encoders`, which
 *  Automodel sets. */
struct pp_fqn_options {
    const char *prefix;  /* text model prefix with its dot; NULL = "model."; "" = none */
    const char *lm_head; /* full name of the head; NULL = "lm_head" */
    bool without_embeddings;
    bool without_lm_head;
    bool without_rotary_emb;
    bool with_encoders;             /* the 15 multimodal names, under "model.", in part 0 */
    const char *const *extra_names; /* [extra_count] full names for part 0; may be NULL */
    int32_t extra_count;
};

/** The multimodal names of part 0, without prefix: "vision_tower", ...; NULL past the last. */
const char *pp_fqn_encoder_name(int32_t index);

/** Called once per name, stages in order, names in list order. `name` lives only for the call. */
typedef void pp_fqn_visit(void *context, int32_t stage, const char *name);

/**
 * Generates the lists for an even split.
 * @return PP_OK, PP_E_SPLIT (stage_count < 1 or > layer_count), PP_E_NOMEM (a prefix of absurd
 *         length; names may have been visited)
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
 * Checks user-written lists: every layer exactly once, ascending over the parts; embedding once and
 * in the first part, norm and head once and in the last; rotary embedding anywhere; encoders in the
 * first part; no other names; a middle part holds a layer; part count a multiple of pp_size.
 *
 * The text model's prefix is taken from the first name that ends in "layers.<number>"; the head and
 * the encoders may stand under any dotted beginning of that prefix. Automodel itself checks none of
 * this: it drops omitted layers, copies repeated ones and ignores unknown names silently.
 * @param layer_counts  [part_count], layers a part holds, written on success; may be NULL
 * @return PP_OK, PP_E_FQN naming part, module and what was expected
 * Cost: O(names).
 */
enum pp_status pp_fqn_check(const struct pp_fqn_lists *lists, int32_t layer_count, int32_t pp_size,
                            int32_t *layer_counts, struct pp_err *err);

#endif
