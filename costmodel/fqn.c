#include "costmodel/fqn.h"

#include "costmodel/split.h"

static const char *const encoder_names[] = {
    "vision_tower",          "visual",
    "vision_model",          "image_encoder",
    "vision_encoder",        "embed_vision",
    "audio_tower",           "audio_encoder",
    "audio_model",           "mm_projector",
    "multi_modal_projector", "multimodal_projector",
    "vision_projector",      "vit_large_projector",
    "audio_projector",
};

enum { ENCODER_COUNT = sizeof encoder_names / sizeof encoder_names[0] };

const char *pp_fqn_encoder_name(int32_t index) {
    return index >= 0 && index < ENCODER_COUNT ? encoder_names[index] : NULL;
}

/* Where names go; `name` is rebuilt for each. */
struct writer {
    pp_fqn_visit *visit;
    void *context;
    int32_t stage;
    struct pp_text name;
};

static void emit(struct writer *w, const char *prefix, const char *last) {
    w->name.size = 0;
    pp_text_puts(&w->name, prefix);
    pp_text_puts(&w->name, last);
    if (!w->name.failed) {
        w->visit(w->context, w->stage, w->name.bytes);
    }
}

static void emit_first(struct writer *w, const struct pp_fqn_options *o, const char *prefix) {
    if (!o->without_embeddings) {
        emit(w, prefix, "embed_tokens");
    }
    for (int32_t i = 0; o->with_encoders && i < ENCODER_COUNT; i++) {
        emit(w, "model.", encoder_names[i]);
    }
    for (int32_t i = 0; i < o->extra_count; i++) {
        emit(w, "", o->extra_names[i]);
    }
}

static void emit_layers(struct writer *w, const char *prefix, int32_t first, int32_t end) {
    for (int32_t layer = first; layer < end; layer++) {
        w->name.size = 0;
        pp_text_printf(&w->name, "%slayers.%d", prefix, layer);
        if (!w->name.failed) {
            w->visit(w->context, w->stage, w->name.bytes);
        }
    }
}

enum pp_status pp_fqn_generate(int32_t layer_count, int32_t stage_count,
                               const struct pp_fqn_options *options, pp_fqn_visit *visit,
                               void *context, struct pp_err *err) {
    PP_TRY(pp_split_check(layer_count, stage_count, err));
    const char *prefix = options->prefix != NULL ? options->prefix : "model.";
    struct writer w = {.visit = visit, .context = context};
    for (int32_t s = 0; s < stage_count; s++) {
        w.stage = s;
        if (s == 0) {
            emit_first(&w, options, prefix);
        }
        emit_layers(&w, prefix, pp_split_first_layer(layer_count, stage_count, s),
                    pp_split_first_layer(layer_count, stage_count, s + 1));
        if (s == stage_count - 1) {
            emit(&w, prefix, "norm");
            if (!options->without_lm_head) {
                emit(&w, "", options->lm_head != NULL ? options->lm_head : "lm_head");
            }
        }
        if (!options->without_rotary_emb) {
            emit(&w, prefix, "rotary_emb");
        }
    }
    bool failed = w.name.failed;
    pp_text_free(&w.name);
    return failed ? pp_fail(err, PP_E_NOMEM, "out of memory building module names") : PP_OK;
}
