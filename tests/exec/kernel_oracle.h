/* The formulas of exec/device.h in float64, as plainly as they can be written. Entries that
 * accumulate do so here, too. test_kernels.c checks every gradient by finite differences. */
#ifndef PP_TESTS_KERNEL_ORACLE_H
#define PP_TESTS_KERNEL_ORACLE_H

#include "exec/device.h"

#include <math.h>
#include <string.h>

/* ---- linear: y += x w^T, dx += dy w, dw += dy^T x ---- */

static inline void oracle_linear(double *y, const double *x, const double *w, int64_t tokens,
                                 int64_t in, int64_t out) {
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t o = 0; o < out; o++) {
            for (int64_t i = 0; i < in; i++) {
                y[t * out + o] += x[t * in + i] * w[o * in + i];
            }
        }
    }
}

static inline void oracle_linear_input_grad(double *dx, const double *dy, const double *w,
                                            int64_t tokens, int64_t in, int64_t out) {
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t o = 0; o < out; o++) {
            for (int64_t i = 0; i < in; i++) {
                dx[t * in + i] += dy[t * out + o] * w[o * in + i];
            }
        }
    }
}

static inline void oracle_linear_weight_grad(double *dw, const double *dy, const double *x,
                                             int64_t tokens, int64_t in, int64_t out) {
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t o = 0; o < out; o++) {
            for (int64_t i = 0; i < in; i++) {
                dw[o * in + i] += dy[t * out + o] * x[t * in + i];
            }
        }
    }
}

/* ---- embedding ---- */

static inline void oracle_embed(double *y, const double *table, const int32_t *ids, int64_t tokens,
                                int64_t width) {
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t i = 0; i < width; i++) {
            y[t * width + i] = table[ids[t] * width + i];
        }
    }
}

static inline void oracle_embed_grad(double *dtable, const double *dy, const int32_t *ids,
                                     int64_t tokens, int64_t width) {
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t i = 0; i < width; i++) {
            dtable[ids[t] * width + i] += dy[t * width + i];
        }
    }
}

/* ---- RMSNorm ---- */

static inline void oracle_norm(double *y, double *rstd, const double *x, const double *gamma,
                               int64_t tokens, int64_t width, double epsilon) {
    for (int64_t t = 0; t < tokens; t++) {
        double squares = 0;
        for (int64_t i = 0; i < width; i++) {
            squares += x[t * width + i] * x[t * width + i];
        }
        rstd[t] = 1 / sqrt(squares / (double)width + epsilon);
        for (int64_t i = 0; i < width; i++) {
            y[t * width + i] = x[t * width + i] * rstd[t] * gamma[i];
        }
    }
}

/* d y_i / d x_j = gamma_i rstd (i == j) - gamma_i x_i x_j rstd^3 / width */
static inline void oracle_norm_grad(double *dx, double *dgamma, const double *dy, const double *x,
                                    const double *gamma, int64_t tokens, int64_t width,
                                    double epsilon) {
    for (int64_t t = 0; t < tokens; t++) {
        double squares = 0;
        double along = 0;
        for (int64_t i = 0; i < width; i++) {
            squares += x[t * width + i] * x[t * width + i];
            along += dy[t * width + i] * gamma[i] * x[t * width + i];
        }
        double rstd = 1 / sqrt(squares / (double)width + epsilon);
        for (int64_t i = 0; i < width; i++) {
            dx[t * width + i] += rstd * (dy[t * width + i] * gamma[i] -
                                         x[t * width + i] * rstd * rstd * along / (double)width);
            dgamma[i] += dy[t * width + i] * x[t * width + i] * rstd;
        }
    }
}

/* ---- rotary positions ---- */

static inline void oracle_rope(double *qkv, const struct pp_attention_shape *s, double theta,
                               bool back) {
    int64_t dim = s->head_dim;
    int64_t width = (s->heads + 2 * s->kv_heads) * dim;
    for (int64_t t = 0; t < (int64_t)s->sequences * s->length; t++) {
        for (int64_t h = 0; h < s->heads + s->kv_heads; h++) {
            for (int64_t i = 0; i < dim / 2; i++) {
                double angle = (double)(t % s->length) * pow(theta, -2.0 * (double)i / (double)dim);
                angle = back ? -angle : angle;
                double *low = &qkv[t * width + h * dim + i];
                double *high = low + dim / 2;
                double x = *low;
                double y = *high;
                *low = x * cos(angle) - y * sin(angle);
                *high = x * sin(angle) + y * cos(angle);
            }
        }
    }
}

/* ---- attention ---- */

struct oracle_place {
    int64_t q, k, v; /* of a head in a packed row */
    int64_t width, dim, first;
};

static inline struct oracle_place oracle_place(const struct pp_attention_shape *s, int64_t head) {
    int64_t dim = s->head_dim;
    int64_t shared = head / (s->heads / s->kv_heads);
    return (struct oracle_place){head * dim,
                                 (s->heads + shared) * dim,
                                 (s->heads + s->kv_heads + shared) * dim,
                                 (s->heads + 2 * s->kv_heads) * dim,
                                 dim,
                                 0};
}

static inline bool oracle_sees(const struct pp_attention_shape *s, int64_t query, int64_t key) {
    return key <= query && (s->window == 0 || query - key < s->window);
}

/* Probabilities of one query; [length], 0 where it does not see. @return the logarithm of the sum
 */
static inline double oracle_probabilities(double *p, const double *qkv,
                                          const struct pp_attention_shape *s, int64_t sequence,
                                          int64_t query, int64_t head) {
    struct oracle_place at = oracle_place(s, head);
    const double *rows = qkv + sequence * s->length * at.width;
    double most = -INFINITY;
    double sum = 0;
    for (int64_t key = 0; key < s->length; key++) {
        p[key] = -INFINITY;
        if (oracle_sees(s, query, key)) {
            p[key] = 0;
            for (int64_t i = 0; i < at.dim; i++) {
                p[key] += rows[query * at.width + at.q + i] * rows[key * at.width + at.k + i];
            }
            p[key] /= sqrt((double)at.dim);
        }
        most = fmax(most, p[key]);
    }
    for (int64_t key = 0; key < s->length; key++) {
        sum += exp(p[key] - most);
    }
    for (int64_t key = 0; key < s->length; key++) {
        p[key] = exp(p[key] - most) / sum;
    }
    return most + log(sum);
}

/* p: [length] of scratch */
static inline void oracle_attention(double *o, double *lse, double *p, const double *qkv,
                                    const struct pp_attention_shape *s) {
    for (int64_t t = 0; t < (int64_t)s->sequences * s->length; t++) {
        for (int64_t h = 0; h < s->heads; h++) {
            struct oracle_place at = oracle_place(s, h);
            int64_t sequence = t / s->length;
            double *to = o + (t * s->heads + h) * at.dim;
            lse[t * s->heads + h] = oracle_probabilities(p, qkv, s, sequence, t % s->length, h);
            memset(to, 0, (size_t)at.dim * sizeof to[0]);
            for (int64_t key = 0; key < s->length; key++) {
                for (int64_t i = 0; i < at.dim; i++) {
                    to[i] += p[key] * qkv[(sequence * s->length + key) * at.width + at.v + i];
                }
            }
        }
    }
}

/* dqkv must begin with zeros; p and dp: [length] of scratch */
static inline void oracle_attention_grad(double *dqkv, double *p, double *dp, const double *do_,
                                         const double *qkv, const struct pp_attention_shape *s) {
    for (int64_t t = 0; t < (int64_t)s->sequences * s->length; t++) {
        for (int64_t h = 0; h < s->heads; h++) {
            struct oracle_place at = oracle_place(s, h);
            int64_t first = t / s->length * s->length;
            const double *from = do_ + (t * s->heads + h) * at.dim;
            double along = 0;
            oracle_probabilities(p, qkv, s, t / s->length, t % s->length, h);
            for (int64_t key = 0; key < s->length; key++) {
                dp[key] = 0;
                for (int64_t i = 0; i < at.dim; i++) {
                    dp[key] += from[i] * qkv[(first + key) * at.width + at.v + i];
                    dqkv[(first + key) * at.width + at.v + i] += p[key] * from[i];
                }
                along += p[key] * dp[key];
            }
            for (int64_t key = 0; key < s->length; key++) {
                double ds = p[key] * (dp[key] - along) / sqrt((double)at.dim);
                for (int64_t i = 0; i < at.dim; i++) {
                    dqkv[t * at.width + at.q + i] += ds * qkv[(first + key) * at.width + at.k + i];
                    dqkv[(first + key) * at.width + at.k + i] += ds * qkv[t * at.width + at.q + i];
                }
            }
        }
    }
}

/* ---- SwiGLU ---- */

static inline void oracle_swiglu(double *a, const double *gate_up, int64_t tokens, int64_t ffn) {
    for (int64_t i = 0; i < tokens * ffn; i++) {
        double gate = gate_up[i / ffn * 2 * ffn + i % ffn];
        double up = gate_up[i / ffn * 2 * ffn + ffn + i % ffn];
        a[i] = gate / (1 + exp(-gate)) * up;
    }
}

static inline void oracle_swiglu_grad(double *gate_up, const double *da, int64_t tokens,
                                      int64_t ffn) {
    for (int64_t i = 0; i < tokens * ffn; i++) {
        double *gate = &gate_up[i / ffn * 2 * ffn + i % ffn];
        double g = *gate;
        double up = gate[ffn];
        double sigmoid = 1 / (1 + exp(-g));
        *gate = da[i] * up * (sigmoid + g * sigmoid / (1 + exp(g)));
        gate[ffn] = da[i] * g * sigmoid;
    }
}

/* ---- cross-entropy ---- */

/* sum over the others of e^(x - x_target): p - 1 = -others / (1 + others) keeps its digits */
static inline double oracle_cross_entropy(double *logits, const int32_t *targets, int64_t tokens,
                                          int64_t vocab, double scale) {
    double loss = 0;
    for (int64_t t = 0; t < tokens; t++) {
        double *x = logits + t * vocab;
        double wanted = x[targets[t]];
        double most = -INFINITY;
        double others = 0;
        for (int64_t i = 0; i < vocab; i++) {
            most = fmax(most, x[i]);
        }
        for (int64_t i = 0; i < vocab; i++) {
            others += i == targets[t] ? 0 : exp(x[i] - most);
        }
        double target = exp(wanted - most);
        double sum = others + target;
        loss += wanted == most ? log1p(others) : log(sum) + most - wanted;
        for (int64_t i = 0; i < vocab; i++) {
            x[i] = scale * (i == targets[t] ? -others / sum : exp(x[i] - most) / sum);
        }
    }
    return loss;
}

/* ---- mixture of experts ---- */

/* For choices that are given: weight[T][per_token] */
static inline void oracle_route_weights(double *weight, const double *logits, const int32_t *choice,
                                        int64_t tokens, int64_t experts, int64_t per_token) {
    for (int64_t t = 0; t < tokens; t++) {
        double most = -INFINITY;
        double sum = 0;
        for (int64_t i = 0; i < per_token; i++) {
            most = fmax(most, logits[t * experts + choice[t * per_token + i]]);
        }
        for (int64_t i = 0; i < per_token; i++) {
            sum += exp(logits[t * experts + choice[t * per_token + i]] - most);
        }
        for (int64_t i = 0; i < per_token; i++) {
            weight[t * per_token + i] =
                exp(logits[t * experts + choice[t * per_token + i]] - most) / sum;
        }
    }
}

/* dlogits must begin with zeros */
static inline void oracle_route_grad(double *dlogits, const double *weight, const double *dweight,
                                     const int32_t *choice, int64_t tokens, int64_t experts,
                                     int64_t per_token) {
    for (int64_t i = 0; i < tokens * per_token; i++) { /* d weight_j / d logit_i */
        for (int64_t j = i / per_token * per_token; j < (i / per_token + 1) * per_token; j++) {
            dlogits[i / per_token * experts + choice[i]] +=
                dweight[j] * weight[j] * ((i == j) - weight[i]);
        }
    }
}

/* row[tokens * per_token] is each choice's in rows; y += weight * rows */
static inline void oracle_combine(double *y, const double *weight, const double *rows,
                                  const int32_t *row, int64_t tokens, int64_t per_token,
                                  int64_t width) {
    for (int64_t i = 0; i < tokens * per_token; i++) {
        for (int64_t j = 0; j < width; j++) {
            y[i / per_token * width + j] += weight[i] * rows[row[i] * width + j];
        }
    }
}

/* dweight must begin with zeros */
static inline void oracle_combine_grad(double *drows, double *dweight, const double *dy,
                                       const double *weight, const double *rows, const int32_t *row,
                                       int64_t tokens, int64_t per_token, int64_t width) {
    for (int64_t i = 0; i < tokens * per_token; i++) {
        for (int64_t j = 0; j < width; j++) {
            drows[row[i] * width + j] = weight[i] * dy[i / per_token * width + j];
            dweight[i] += rows[row[i] * width + j] * dy[i / per_token * width + j];
        }
    }
}

/* A gather is a combination with weights of one, the other way. */
static inline void oracle_gather(double *rows, const double *x, const int32_t *row, int64_t tokens,
                                 int64_t per_token, int64_t width) {
    for (int64_t i = 0; i < tokens * per_token; i++) {
        for (int64_t j = 0; j < width; j++) {
            rows[row[i] * width + j] = x[i / per_token * width + j];
        }
    }
}

/* ---- optimizer ---- */

static inline void oracle_adamw(double *parameter, double *m, double *v, const double *grad,
                                int64_t count, const struct pp_adamw *o) {
    double beta1 = (double)o->beta1;
    double beta2 = (double)o->beta2;
    for (int64_t i = 0; i < count; i++) {
        m[i] = beta1 * m[i] + (1 - beta1) * grad[i];
        v[i] = beta2 * v[i] + (1 - beta2) * grad[i] * grad[i];
        double m_hat = m[i] / (1 - pow(beta1, (double)o->step));
        double v_hat = v[i] / (1 - pow(beta2, (double)o->step));
        parameter[i] -= (double)o->learning_rate * (m_hat / (sqrt(v_hat) + (double)o->epsilon) +
                                                    (double)o->weight_decay * parameter[i]);
    }
}

#endif
