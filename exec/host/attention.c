/*
 * Causal attention in blocks of queries by keys, each a few matrix products; keys that no query of
 * the block sees are left out. Over several blocks of keys the softmax is carried along: rows are
 * scaled again when their greatest score grows (Milakov & Gimelshein, 2018; Dao et al., 2022). The
 * backward pass makes the probabilities again from lse.
 */
#include "exec/host/kernels.h"
#include "exec/host/product.h"
#include "exec/host/simd.h"

#include <math.h>

/* One head of one sequence. */
struct head {
    const float *q, *k, *v; /* rows of the first token */
    float *dq, *dk, *dv;
    int64_t stride;       /* between tokens, of all six */
    const float *o, *do_; /* backward */
    float *out;           /* forward */
    int64_t out_stride;   /* of o, do_ and out */
    float *lse_out;       /* forward: [length], lse_stride apart */
    const float *lse;     /* backward */
    int64_t lse_stride;
    int64_t length, head_dim, window;
    float scale;
};

struct block {
    int64_t query, queries, key, keys;
};

static int64_t first_key(const struct head *h, int64_t query) {
    return h->window > 0 ? pp_max_i64(query - h->window + 1, 0) : 0;
}

static struct pp_matrix rows_of(const float *at, int64_t row, int64_t stride) {
    return (struct pp_matrix){at + row * stride, stride, false};
}

static struct pp_matrix turned(struct pp_matrix m) {
    m.transposed = !m.transposed;
    return m;
}

/* Keys from..to-1 of the block are seen by its query number `i`; what the others hold becomes 0. */
static void mask(const struct head *h, const struct block *b, int64_t i, float *row, int64_t *from,
                 int64_t *to) {
    int64_t query = b->query + i;
    *from = pp_max_i64(first_key(h, query) - b->key, 0);
    *to = pp_min_i64(query + 1 - b->key, b->keys);
    if (*to <= *from) {
        *from = *to = 0;
    }
    memset(row, 0, (size_t)*from * sizeof row[0]);
    memset(row + *to, 0, (size_t)(b->keys - *to) * sizeof row[0]);
}

static void scale_row(float *row, float factor, int64_t count) {
    for (int64_t i = 0; i < count; i += PP_LANES) {
        pp_put(row + i, pp_get(row + i, count - i) * factor, count - i);
    }
}

/* What a block's rows have seen so far. */
struct seen {
    float most[PP_HOST_QUERIES];
    double total[PP_HOST_QUERIES]; /* of e^(score - most) */
};

static void softmax(const struct head *h, const struct block *b, float *scores, struct seen *seen) {
    for (int64_t i = 0; i < b->queries; i++) {
        float *row = scores + i * b->keys;
        int64_t from = 0;
        int64_t to = 0;
        mask(h, b, i, row, &from, &to);
        if (to == from) {
            continue;
        }
        float before = seen->most[i];
        float most = pp_row_greatest(row + from, to - from);
        most = before > most ? before : most;
        double sum = pp_row_exp(row + from, most, to - from);
        if (seen->total[i] > 0 && before < most) {
            double factor = exp((double)before - (double)most);
            scale_row(h->out + (b->query + i) * h->out_stride, (float)factor, h->head_dim);
            seen->total[i] *= factor;
        }
        seen->most[i] = most;
        seen->total[i] += sum;
    }
}

static void forward(struct pp_host *host, const struct head *h) {
    struct pp_matrix scores = {host->scores, 0, false};
    for (int64_t query = 0; query < h->length; query += PP_HOST_QUERIES) {
        struct block b = {query, pp_min_i64(PP_HOST_QUERIES, h->length - query), 0, 0};
        struct seen seen = {.total = {0}};
        for (int64_t i = 0; i < b.queries; i++) {
            seen.most[i] = -INFINITY;
        }
        int64_t first = first_key(h, query);
        for (b.key = first; b.key < query + b.queries; b.key += PP_HOST_KEYS) {
            b.keys = pp_min_i64(PP_HOST_KEYS, query + b.queries - b.key);
            scores.stride = b.keys;
            pp_product(host->scores, b.keys, rows_of(h->q, query, h->stride),
                       turned(rows_of(h->k, b.key, h->stride)), b.queries, b.keys, h->head_dim,
                       h->scale, false);
            softmax(h, &b, host->scores, &seen);
            pp_product(h->out + query * h->out_stride, h->out_stride, scores,
                       rows_of(h->v, b.key, h->stride), b.queries, h->head_dim, b.keys, 1.0F,
                       b.key > first);
        }
        for (int64_t i = 0; i < b.queries; i++) {
            scale_row(h->out + (query + i) * h->out_stride, (float)(1 / seen.total[i]),
                      h->head_dim);
            h->lse_out[(query + i) * h->lse_stride] =
                (float)((double)seen.most[i] + log(seen.total[i]));
        }
    }
}

/* Scores become probabilities p, and dp (what the product left there) p * (dp - sum of p dp). */
static void softmax_grad(const struct head *h, const struct block *b, float *scores, float *dscores,
                         const float *along) {
    for (int64_t i = 0; i < b->queries; i++) {
        float *p = scores + i * b->keys;
        float *dp = dscores + i * b->keys;
        int64_t from = 0;
        int64_t to = 0;
        mask(h, b, i, p, &from, &to);
        mask(h, b, i, dp, &from, &to);
        float lse = h->lse[(b->query + i) * h->lse_stride];
        for (int64_t j = from; j < to; j += PP_LANES) {
            int64_t left = to - j;
            pp_vector x = pp_exp(pp_get(p + j, left) - lse);
            pp_put(p + j, x, left);
            pp_put(dp + j, x * (pp_get(dp + j, left) - along[i]), left);
        }
    }
}

static void backward_block(struct pp_host *host, const struct head *h, const struct block *b,
                           const float *along, bool first) {
    struct pp_matrix q = rows_of(h->q, b->query, h->stride);
    struct pp_matrix k = rows_of(h->k, b->key, h->stride);
    struct pp_matrix v = rows_of(h->v, b->key, h->stride);
    struct pp_matrix do_ = rows_of(h->do_, b->query, h->out_stride);
    struct pp_matrix p = {host->scores, b->keys, false};
    struct pp_matrix ds = {host->dscores, b->keys, false};
    pp_product(host->scores, b->keys, q, turned(k), b->queries, b->keys, h->head_dim, h->scale,
               false);
    pp_product(host->dscores, b->keys, do_, turned(v), b->queries, b->keys, h->head_dim, 1.0F,
               false);
    softmax_grad(h, b, host->scores, host->dscores, along);
    pp_product(h->dv + b->key * h->stride, h->stride, turned(p), do_, b->keys, h->head_dim,
               b->queries, 1.0F, true);
    pp_product(h->dk + b->key * h->stride, h->stride, turned(ds), q, b->keys, h->head_dim,
               b->queries, h->scale, true);
    pp_product(h->dq + b->query * h->stride, h->stride, ds, k, b->queries, h->head_dim, b->keys,
               h->scale, !first);
}

static void backward(struct pp_host *host, const struct head *h) {
    for (int64_t query = 0; query < h->length; query += PP_HOST_QUERIES) {
        struct block b = {query, pp_min_i64(PP_HOST_QUERIES, h->length - query), 0, 0};
        float along[PP_HOST_QUERIES]; /* sum of p dp = o do_ */
        for (int64_t i = 0; i < b.queries; i++) {
            int64_t row = (query + i) * h->out_stride;
            along[i] = (float)pp_dot(h->o + row, h->do_ + row, h->head_dim);
        }
        int64_t first = first_key(h, query);
        for (b.key = first; b.key < query + b.queries; b.key += PP_HOST_KEYS) {
            b.keys = pp_min_i64(PP_HOST_KEYS, query + b.queries - b.key);
            backward_block(host, h, &b, along, b.key == first);
        }
    }
}

/* The parts of one head of one sequence in the packed rows. */
static struct head head_of(const struct pp_attention_shape *s, const float *qkv, int64_t sequence,
                           int64_t head) {
    int64_t dim = s->head_dim;
    int64_t stride = (s->heads + 2 * s->kv_heads) * dim;
    const float *row = qkv + sequence * s->length * stride;
    int64_t shared = head / (s->heads / s->kv_heads);
    return (struct head){.q = row + head * dim,
                         .k = row + (s->heads + shared) * dim,
                         .v = row + (s->heads + s->kv_heads + shared) * dim,
                         .stride = stride,
                         .out_stride = s->heads * dim,
                         .lse_stride = s->heads,
                         .length = s->length,
                         .head_dim = dim,
                         .window = s->window,
                         .scale = (float)(1 / sqrt((double)dim))};
}

void KERNEL(attention)(void *context, void *o, float *lse, const void *qkv,
                       const struct pp_attention_shape *s) {
    for (int64_t q = 0; q < s->sequences; q++) {
        for (int64_t i = 0; i < s->heads; i++) {
            struct head h = head_of(s, qkv, q, i);
            h.out = (float *)o + q * s->length * h.out_stride + i * h.head_dim;
            h.lse_out = lse + q * s->length * h.lse_stride + i;
            forward(context, &h);
        }
    }
}

void KERNEL(attention_grad)(void *context, void *dqkv, const void *do_, const void *o,
                            const float *lse, const void *qkv, const struct pp_attention_shape *s) {
    int64_t width = (s->heads + 2 * s->kv_heads) * s->head_dim;
    memset(dqkv, 0, (size_t)(s->sequences * s->length * width) * sizeof(float)); /* of k and v */
    for (int64_t q = 0; q < s->sequences; q++) {
        for (int64_t i = 0; i < s->heads; i++) {
            struct head h = head_of(s, qkv, q, i);
            int64_t out = q * s->length * h.out_stride + i * h.head_dim;
            h.dq = (float *)dqkv + (h.q - (const float *)qkv);
            h.dk = (float *)dqkv + (h.k - (const float *)qkv);
            h.dv = (float *)dqkv + (h.v - (const float *)qkv);
            h.o = (const float *)o + out;
            h.do_ = (const float *)do_ + out;
            h.lse = lse + q * s->length * h.lse_stride + i;
            backward(context, &h);
        }
    }
}
