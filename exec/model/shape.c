/* What numbers of a model go together, and how many parameters they make. */
#include "exec/model/shape.h"

#include <math.h>

enum { MAX_VOCAB = 1 << 24, MAX_EXPERTS = 4096 };

#define MAX_PARAMS 0x1p45 /* with 16 bytes each still far from overflow */

static enum pp_status check_count(struct pp_err *err, const char *name, int64_t value,
                                  int64_t least, int64_t most) {
    if (value >= least && value <= most) {
        return PP_OK;
    }
    return pp_fail(err, PP_E_MODEL, "%s is %lld, expected %lld to %lld", name, (long long)value,
                   (long long)least, (long long)most);
}

static enum pp_status check_attention(const struct pp_shape *s, struct pp_err *err) {
    PP_TRY(check_count(err, "heads", s->heads, 1, PP_SHAPE_MAX_WIDTH));
    PP_TRY(check_count(err, "kv_heads", s->kv_heads, 1, s->heads));
    PP_TRY(check_count(err, "head_dim", s->head_dim, 2, PP_SHAPE_MAX_WIDTH));
    PP_TRY(check_count(err, "window", s->window, 0, INT32_MAX));
    if (s->heads % s->kv_heads != 0) {
        pp_fail(err, PP_E_MODEL, "%d heads cannot share %d kv_heads: not a multiple", s->heads,
                s->kv_heads);
        pp_hint(err, "choose kv_heads that divides heads");
        return PP_E_MODEL;
    }
    if (s->head_dim % 2 != 0) {
        return pp_fail(err, PP_E_MODEL, "head_dim is %d, expected an even number: RoPE turns pairs",
                       s->head_dim);
    }
    return check_count(err, "heads * head_dim", (int64_t)s->heads * s->head_dim, 1,
                       PP_SHAPE_MAX_WIDTH);
}

static enum pp_status check_mlps(const struct pp_shape *s, struct pp_err *err) {
    int32_t moe_count = 0;
    for (int32_t layer = 0; layer < s->layers; layer++) {
        moe_count += pp_shape_is_moe(s, layer);
    }
    PP_TRY(check_count(err, "experts", s->experts, 0, MAX_EXPERTS));
    PP_TRY(check_count(err, "shared_ffn", s->shared_ffn, 0, PP_SHAPE_MAX_WIDTH));
    if (moe_count < s->layers) {
        PP_TRY(check_count(err, "ffn", s->ffn, 1, PP_SHAPE_MAX_WIDTH));
    }
    if (moe_count == 0) {
        return PP_OK;
    }
    PP_TRY(check_count(err, "expert_ffn", s->expert_ffn, 1, PP_SHAPE_MAX_WIDTH));
    if (s->experts_per_token < 1 || s->experts_per_token > s->experts) {
        return pp_fail(err, PP_E_MODEL, "a token takes %d of %d experts, expected 1 to %d",
                       s->experts_per_token, s->experts, s->experts);
    }
    return PP_OK;
}

static enum pp_status check_total(const struct pp_shape *s, struct pp_err *err) {
    double total = 0;
    for (int32_t module = -1; module <= s->layers; module++) {
        total += (double)pp_shape_module_params(s, module);
    }
    if (total > MAX_PARAMS) {
        return pp_fail(err, PP_E_MODEL, "the model has %.3g parameters, expected at most %.3g",
                       total, MAX_PARAMS);
    }
    return PP_OK;
}

enum pp_status pp_shape_check(const struct pp_shape *s, struct pp_err *err) {
    PP_TRY(check_count(err, "layers", s->layers, 1, PP_SHAPE_MAX_LAYERS));
    PP_TRY(check_count(err, "hidden", s->hidden, 1, PP_SHAPE_MAX_WIDTH));
    PP_TRY(check_count(err, "vocab", s->vocab, 2, MAX_VOCAB));
    PP_TRY(check_attention(s, err));
    PP_TRY(check_mlps(s, err));
    if (!isfinite(s->rope_theta) || s->rope_theta <= 0) {
        return pp_fail(err, PP_E_MODEL, "rope_theta is %g, expected a number above 0",
                       (double)s->rope_theta);
    }
    if (!isfinite(s->norm_epsilon) || s->norm_epsilon < 0) {
        return pp_fail(err, PP_E_MODEL, "norm_epsilon is %g, expected 0 or a small positive number",
                       (double)s->norm_epsilon);
    }
    return check_total(s, err);
}

int64_t pp_shape_module_params(const struct pp_shape *s, int32_t module) {
    int64_t d = s->hidden;
    if (module == -1) {
        return s->vocab * d;
    }
    if (module == s->layers) {
        return d + s->vocab * d;
    }
    int64_t attention = d * s->head_dim * 2 * ((int64_t)s->heads + s->kv_heads);
    int64_t mlp = 3 * d * s->ffn;
    if (pp_shape_is_moe(s, module)) {
        mlp = s->experts * (d + 3 * d * s->expert_ffn) + 3 * d * s->shared_ffn;
    }
    return 2 * d + attention + mlp;
}
