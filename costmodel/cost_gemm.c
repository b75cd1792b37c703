/* Times of single kernels. Forms and constants: reference costs.md section 6, "Functional form that
 * worked" (tile and wave quantised GEMM, grouped GEMM) and item 7 (attention on causal FLOPs). */
#include "costmodel/cost_priv.h"

#include <math.h>

static const double weight_grad_factor = 1.03; /* NT against NN products: 1.02 to 1.04 */
static const double backward_traffic = 1.6;    /* element-wise bytes, backward over forward */
static const double flash_backward = 2.5;      /* five products instead of two */
static const double pipeline_depth_k = 60;     /* fill of the inner loop, in elements of k */

/** Tiles of the better of the two large tile shapes; both have the same area. */
static double tile_count(double m, double n) {
    double wide = ceil(m / 128) * ceil(n / 256);
    double tall = ceil(m / 256) * ceil(n / 128);
    return wide < tall ? wide : tall;
}

double pp_gemm_ns(const struct pp_hardware *hw, double width, double m, double n, double k) {
    const double tile_area = 128.0 * 256.0;
    double sms = hw->sm_count;
    double tiles = tile_count(m, n);
    double q = hw->gemm_wave_share;
    double waves = q * ceil(tiles / sms) + (1 - q) * tiles / sms;
    double compute = waves * sms * tile_area * 2 * (k + pipeline_depth_k) /
                     ((double)hw->bf16_flops_per_s * hw->gemm_efficiency) * 1e9;
    double memory = width * (m * k + k * n + m * n) /
                    ((double)hw->memory_bytes_per_s * hw->memory_efficiency) * 1e9;
    double ns = cbrt(compute * compute * compute + memory * memory * memory);
    if (hw->gemm_duration_exponent > 0 && ns > 1e6) { /* long products meet the power limit */
        ns *= pow(ns / 1e6, hw->gemm_duration_exponent);
    }
    return ns + (double)hw->launch_ns;
}

double pp_traffic_ns(const struct pp_hardware *hw, double bytes) {
    return bytes / ((double)hw->memory_bytes_per_s * hw->memory_efficiency) * 1e9 +
           (double)hw->launch_ns;
}

void pp_work_product(const struct pp_cost_context *c, double tokens, double in, double out,
                     bool trained, struct pp_work *work) {
    double flops = 2 * tokens * in * out;
    work->f_ns += pp_gemm_ns(&c->hw, c->width, tokens, out, in);
    work->i_ns += pp_gemm_ns(&c->hw, c->width, tokens, in, out);
    work->f_flops += flops;
    work->i_flops += flops;
    if (trained) {
        work->w_ns += pp_gemm_ns(&c->hw, c->width, in, out, tokens) * weight_grad_factor;
        work->w_flops += flops;
    }
}

void pp_work_linear(const struct pp_cost_context *c, double tokens, double in, double out,
                    struct pp_work *work) {
    pp_work_product(c, tokens, in, out, !c->train.peft, work);
    if (c->train.peft) {
        double rank = c->train.peft_dim;
        pp_work_product(c, tokens, in, rank, true, work);
        pp_work_product(c, tokens, rank, out, true, work);
    }
}

/** One grouped product: compute that few tokens an expert make inefficient, against the traffic of
 *  all local experts' weights, in quadrature. */
static double grouped_ns(const struct pp_cost_context *c, double tokens, double experts, double in,
                         double out) {
    const struct pp_hardware *hw = &c->hw;
    double padded = tokens + experts * hw->grouped_gemm_half_tokens;
    double compute =
        2 * padded * in * out / ((double)hw->bf16_flops_per_s * hw->grouped_gemm_efficiency) * 1e9;
    double memory = c->width * experts * in * out /
                    ((double)hw->memory_bytes_per_s * hw->memory_efficiency) * 1e9;
    return sqrt(compute * compute + memory * memory) + (double)hw->launch_ns;
}

void pp_work_grouped(const struct pp_cost_context *c, struct pp_work *work) {
    const struct pp_model *m = &c->model;
    double tokens = c->moe_tokens * (double)m->experts_per_token; /* balanced routing */
    double experts = (double)m->experts / c->ep;
    double h = (double)m->hidden, f = (double)m->expert_ffn;
    double up = m->gated ? 2 * f : f;
    double once = grouped_ns(c, tokens, experts, h, up) + grouped_ns(c, tokens, experts, f, h);
    double flops = 2 * tokens * h * (up + f);
    work->f_ns += once;
    work->i_ns += once;
    work->f_flops += flops;
    work->i_flops += flops;
    if (!c->train.peft) {
        work->w_ns += once * weight_grad_factor;
        work->w_flops += flops;
        return;
    }
    double rank = c->train.peft_dim;
    double adapter =
        grouped_ns(c, tokens, experts, h + up, rank) + grouped_ns(c, tokens, experts, f + h, rank);
    double adapter_flops = 2 * tokens * rank * (2 * h + up + f);
    work->f_ns += adapter;
    work->i_ns += adapter;
    work->w_ns += adapter * weight_grad_factor;
    work->f_flops += adapter_flops;
    work->i_flops += adapter_flops;
    work->w_flops += adapter_flops;
}

/** Query-key pairs that a causal, perhaps windowed, mask leaves of one sequence. */
static double pair_count(const struct pp_cost_context *c, bool windowed) {
    double s = (double)c->train.seq_len;
    double window = (double)c->model.sliding_window;
    return windowed && window < s ? s * window - window * window / 2 : s * s / 2;
}

void pp_work_attention(const struct pp_cost_context *c, bool windowed, struct pp_work *work) {
    const struct pp_model *m = &c->model;
    const struct pp_hardware *hw = &c->hw;
    bool latent = m->attention == PP_ATTENTION_MLA;
    double qk = (double)(latent ? m->qk_nope_dim + m->qk_rope_dim : m->head_dim);
    double v = (double)(latent ? m->v_dim : m->head_dim);
    double heads = (double)m->heads / c->tp;
    double flops =
        2 * c->train.microbatch_size * pair_count(c, windowed) / c->cp * heads * (qk + v);
    double chunk = (double)c->train.seq_len / c->cp;
    double peak = (double)hw->bf16_flops_per_s;
    double forward = flops / (peak * hw->attention_forward_efficiency) * 1e9 +
                     hw->attention_forward_ns_per_token * chunk;
    double backward = flash_backward * flops / (peak * hw->attention_backward_efficiency) * 1e9 +
                      hw->attention_backward_ns_per_token * chunk;
    double exchange = pp_context_exchange_ns(c); /* runs beside the kernels, twice as much back */
    work->f_ns += fmax(forward, exchange);
    work->i_ns += fmax(backward, 2 * exchange);
    work->f_flops += flops;
    work->i_flops += flash_backward * flops;
}

void pp_work_traffic(const struct pp_cost_context *c, double bytes, struct pp_work *work) {
    work->f_ns += pp_traffic_ns(&c->hw, bytes);
    work->i_ns += pp_traffic_ns(&c->hw, backward_traffic * bytes);
}
