/*
 * Causal attention in blocks of queries by keys. Scores lie the other way round, a row a key: so a
 * vector holds as many queries, their softmax needs no sum across it, and every product of forward
 * and backward reads its operands where they are but for a block's queries (and do_), which are
 * turned once. Keys that no query sees are left out, on the diagonal in steps of STEP.
 *
 * Over several blocks of keys the softmax is carried along: rows are scaled again when their
 * greatest score grows (Milakov & Gimelshein, 2018; Dao et al., 2022). The backward pass makes the
 * probabilities again from lse.
 */
#include "exec/host/kernels.h"
#include "exec/host/tile.h"

#include <float.h>
#include <math.h>

enum { Q = PP_HOST_QUERIES, STEP = 16 };

/* One head of one sequence. */
struct head {
    const float *q, *k, *v; /* rows of the first token */
    float *dq, *dk, *dv;    /* backward */
    int64_t stride;         /* between tokens, of all six */
    const float *o, *do_;   /* backward */
    float *out;             /* forward */
    int64_t out_stride;     /* of o, do_ and out */
    float *lse_out;         /* forward: [length], lse_stride apart */
    const float *lse;       /* backward */
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

/* to[head_dim][Q] = factor times rows, which are turned; zeros in what is left of a vector. */
static void turn(float *to, const float *rows, int64_t stride, const struct block *b,
                 int64_t head_dim, float factor) {
    int64_t wide = (b->queries + PP_LANES - 1) / PP_LANES * PP_LANES;
    for (int64_t i = 0; i < wide; i++) {
        const float *row = rows + i * stride;
        for (int64_t j = 0; j < head_dim; j++) {
            to[j * Q + i] = i < b->queries ? factor * row[j] : 0;
        }
    }
}

/* The first query of the block, in steps of STEP, that sees key number `i` of it. */
static int64_t first_query(const struct block *b, int64_t i) {
    return pp_max_i64(b->key + i - b->query, 0) / STEP * STEP;
}

/* scores[keys][Q] = rows of keys (or values) times what was turned. */
static void score(float *scores, const float *rows, int64_t stride, const float *turned,
                  const struct block *b, int64_t head_dim) {
    struct pp_tiles p = {.b = turned,
                         .c_stride = Q,
                         .a_row = stride,
                         .a_inner = 1,
                         .b_stride = Q,
                         .inner = head_dim};
    int64_t wide = (b->queries + PP_LANES - 1) / PP_LANES * PP_LANES;
    int64_t all = pp_min_i64(pp_max_i64(b->query + STEP - b->key, 0), b->keys);
    for (int64_t i = 0; i < b->keys; i += p.rows) {
        int64_t skip = first_query(b, i);
        p.rows = i < all ? all - i : pp_min_i64(STEP, b->keys - i);
        p.c = scores + i * Q + skip;
        p.a = rows + i * stride;
        p.b = turned + skip;
        p.columns = wide - skip;
        pp_tiles(&p);
    }
}

/* to (+)= scores' columns times rows of keys (or values), which end where the columns' sight does.
 */
static void gather_keys(float *to, int64_t to_stride, const float *scores, const float *rows,
                        int64_t stride, const struct block *b, int64_t head_dim, bool accumulate) {
    struct pp_tiles p = {.b = rows,
                         .c_stride = to_stride,
                         .a_row = 1,
                         .a_inner = Q,
                         .b_stride = stride,
                         .columns = head_dim,
                         .accumulate = accumulate};
    for (int64_t i = 0; i < b->queries; i += STEP) {
        p.rows = pp_min_i64(STEP, b->queries - i);
        p.inner = pp_max_i64(pp_min_i64(b->query + i + p.rows - b->key, b->keys), 0);
        p.c = to + i * to_stride;
        p.a = scores + i;
        pp_tiles(&p);
    }
}

/* to += scores times rows of queries (or do_), which begin where the keys are seen. */
static void gather_queries(float *to, int64_t to_stride, const float *scores, const float *rows,
                           int64_t stride, const struct block *b, int64_t head_dim) {
    struct pp_tiles p = {.c_stride = to_stride,
                         .a_row = Q,
                         .a_inner = 1,
                         .b_stride = stride,
                         .columns = head_dim,
                         .accumulate = true};
    int64_t all = pp_min_i64(pp_max_i64(b->query + STEP - b->key, 0), b->keys);
    for (int64_t i = 0; i < b->keys; i += p.rows) {
        int64_t skip = first_query(b, i);
        p.rows = i < all ? all - i : pp_min_i64(STEP, b->keys - i);
        p.inner = b->queries - skip;
        p.c = to + i * to_stride;
        p.a = scores + i * Q + skip;
        p.b = rows + skip * stride;
        pp_tiles(&p);
    }
}

/* Scores become -infinity where a query does not see the key. */
static void mask(const struct head *h, const struct block *b, float *scores) {
    pp_mask lane = {0};
    for (int32_t i = 0; i < PP_LANES; i++) {
        lane[i] = i;
    }
    for (int64_t i = 0; i < b->keys; i++) {
        int64_t first = b->key + i - b->query;                       /* query that sees it */
        int64_t end = h->window > 0 ? first + h->window : INT32_MAX; /* and the first no more */
        if (first <= 0 && end >= b->queries) {
            continue;
        }
        int32_t low = (int32_t)pp_max_i64(first, 0);
        int32_t high = (int32_t)pp_max_i64(pp_min_i64(end, Q), 0);
        for (int32_t j = 0; j < (int32_t)b->queries; j += PP_LANES) {
            float *at = scores + i * Q + j;
            pp_mask query = lane + j;
            pp_put(
                at,
                pp_pick((query >= low) & (query < high), pp_get(at, PP_LANES), pp_all(-INFINITY)),
                PP_LANES);
        }
    }
}

static void scale_row(float *row, float factor, int64_t count) {
    for (int64_t i = 0; i < count; i += PP_LANES) {
        pp_put(row + i, pp_get(row + i, count - i) * factor, count - i);
    }
}

/* What a block's queries have seen so far. -FLT_MAX: nothing. */
struct seen {
    float most[Q], total[Q], factor[Q]; /* sum of e^(score - most); what `most` rose by, e^-it */
};

static void softmax(const struct block *b, float *scores, struct seen *seen) {
    for (int64_t j = 0; j < b->queries; j += PP_LANES) {
        pp_vector before = pp_get(seen->most + j, PP_LANES);
        pp_vector most = before;
        for (int64_t i = 0; i < b->keys; i++) {
            most = pp_greater(pp_get(scores + i * Q + j, PP_LANES), most);
        }
        pp_vector factor = pp_exp(before - most);
        pp_vector sum = {0};
        for (int64_t i = 0; i < b->keys; i++) {
            pp_vector p = pp_exp(pp_get(scores + i * Q + j, PP_LANES) - most);
            pp_put(scores + i * Q + j, p, PP_LANES);
            sum += p;
        }
        pp_put(seen->most + j, most, PP_LANES);
        pp_put(seen->total + j, pp_get(seen->total + j, PP_LANES) * factor + sum, PP_LANES);
        pp_put(seen->factor + j, factor, PP_LANES);
    }
}

static void forward(struct pp_host *host, const struct head *h) {
    for (int64_t query = 0; query < h->length; query += Q) {
        struct block b = {query, pp_min_i64(Q, h->length - query), 0, 0};
        struct seen seen;
        float *out = h->out + query * h->out_stride;
        for (int64_t i = 0; i < Q; i++) {
            seen.most[i] = -FLT_MAX;
            seen.total[i] = 0;
        }
        turn(host->q, h->q + query * h->stride, h->stride, &b, h->head_dim, h->scale);
        int64_t first = first_key(h, query);
        for (b.key = first; b.key < query + b.queries; b.key += PP_HOST_KEYS) {
            b.keys = pp_min_i64(PP_HOST_KEYS, query + b.queries - b.key);
            score(host->scores, h->k + b.key * h->stride, h->stride, host->q, &b, h->head_dim);
            mask(h, &b, host->scores);
            softmax(&b, host->scores, &seen);
            for (int64_t i = 0; i < b.queries && b.key > first; i++) {
                scale_row(out + i * h->out_stride, seen.factor[i], h->head_dim);
            }
            gather_keys(out, h->out_stride, host->scores, h->v + b.key * h->stride, h->stride, &b,
                        h->head_dim, b.key > first);
        }
        for (int64_t i = 0; i < b.queries; i++) {
            scale_row(out + i * h->out_stride, 1 / seen.total[i], h->head_dim);
            h->lse_out[(query + i) * h->lse_stride] =
                (float)((double)seen.most[i] + log((double)seen.total[i]));
        }
    }
}

/* Scores become probabilities p, and dp (what the product left there) scale * p * (dp - along). */
static void softmax_grad(const struct block *b, float *scores, float *dscores, const float *lse,
                         const float *along, float scale) {
    for (int64_t i = 0; i < b->keys; i++) {
        for (int64_t j = first_query(b, i) / PP_LANES * PP_LANES; j < b->queries; j += PP_LANES) {
            float *p = scores + i * Q + j;
            float *dp = dscores + i * Q + j;
            pp_vector x = pp_exp(pp_get(p, PP_LANES) - pp_get(lse + j, PP_LANES));
            pp_vector rise = pp_get(dp, PP_LANES) - pp_get(along + j, PP_LANES);
            pp_put(p, x, PP_LANES);
            pp_put(dp, x * scale * rise, PP_LANES);
        }
    }
}

static void backward(struct pp_host *host, const struct head *h) {
    for (int64_t query = 0; query < h->length; query += Q) {
        struct block b = {query, pp_min_i64(Q, h->length - query), 0, 0};
        float lse[Q] = {0};
        float along[Q] = {0}; /* sum of p dp = o do_ */
        const float *do_ = h->do_ + query * h->out_stride;
        const float *q = h->q + query * h->stride;
        for (int64_t i = 0; i < b.queries; i++) {
            const float *o = h->o + (query + i) * h->out_stride;
            lse[i] = h->lse[(query + i) * h->lse_stride];
            along[i] = (float)pp_dot(o, do_ + i * h->out_stride, h->head_dim);
        }
        turn(host->q, q, h->stride, &b, h->head_dim, h->scale);
        turn(host->do_, do_, h->out_stride, &b, h->head_dim, 1);
        int64_t first = first_key(h, query);
        for (b.key = first; b.key < query + b.queries; b.key += PP_HOST_KEYS) {
            b.keys = pp_min_i64(PP_HOST_KEYS, query + b.queries - b.key);
            int64_t at = b.key * h->stride;
            score(host->scores, h->k + at, h->stride, host->q, &b, h->head_dim);
            score(host->dscores, h->v + at, h->stride, host->do_, &b, h->head_dim);
            mask(h, &b, host->scores);
            softmax_grad(&b, host->scores, host->dscores, lse, along, h->scale);
            gather_queries(h->dv + at, h->stride, host->scores, do_, h->out_stride, &b,
                           h->head_dim);
            gather_queries(h->dk + at, h->stride, host->dscores, q, h->stride, &b, h->head_dim);
            gather_keys(h->dq + query * h->stride, h->stride, host->dscores, h->k + at, h->stride,
                        &b, h->head_dim, b.key > first);
        }
    }
}

/* The parts of one head of one sequence in the packed rows. */
static struct head head_of(const struct pp_attention_shape *s, const float *qkv, int64_t sequence,
                           int64_t head) {
    PP_ASSERT(s->head_dim <= PP_HOST_HEAD_DIM);
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
