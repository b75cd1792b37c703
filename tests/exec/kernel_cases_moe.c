/* Routing, and what goes along it. */
#include "tests/exec/kernel_harness.h"
#include "tests/exec/kernel_oracle.h"

struct moe_size {
    int32_t tokens, experts, per_token;
    int32_t levels; /* > 0: logits take so few values that they tie */
    int32_t used;   /* > 0: only so many experts are ever chosen */
};

/* The routing's arrays as the host sees them. */
struct routed {
    const struct moe_size *size;
    struct pp_routing on_device;
    struct tensor *logits, *probability, *weight, *choice, *row, *token, *offsets;
    int32_t *choices, *rows, *tokens, *bounds;
    double *weights;
};

static int32_t *ints_now(struct suite *s, const struct tensor *t) {
    const double *now = download(s, t);
    int32_t *ints = (int32_t *)scratch(s, t->count);
    for (int64_t i = 0; i < t->count; i++) {
        ints[i] = (int32_t)now[i];
    }
    return ints;
}

static struct tensor *moe_logits(struct suite *s, const struct moe_size *z) {
    double *values = scratch(s, (int64_t)z->tokens * z->experts);
    for (int64_t i = 0; i < (int64_t)z->tokens * z->experts; i++) {
        values[i] = 4 * uniform(s) - 2;
        values[i] = z->levels > 0 ? floor(uniform(s) * z->levels) : values[i];
        values[i] -= z->used > 0 && i % z->experts >= z->used ? 20 : 0;
    }
    return input(s, ACT, (int64_t)z->tokens * z->experts, values);
}

static struct routed route(struct suite *s, const struct moe_size *z) {
    int64_t choices = (int64_t)z->tokens * z->per_token;
    struct routed r = {.size = z,
                       .logits = moe_logits(s, z),
                       .probability = poisoned(s, FLOAT, (int64_t)z->tokens * z->experts),
                       .weight = poisoned(s, FLOAT, choices),
                       .choice = poisoned(s, INT, choices),
                       .row = poisoned(s, INT, choices),
                       .token = poisoned(s, INT, choices),
                       .offsets = poisoned(s, INT, z->experts + 1)};
    r.on_device = (struct pp_routing){.tokens = z->tokens,
                                      .experts = z->experts,
                                      .per_token = z->per_token,
                                      .probability = r.probability->device,
                                      .weight = r.weight->device,
                                      .choice = r.choice->device,
                                      .row = r.row->device,
                                      .token = r.token->device,
                                      .offsets = r.offsets->device};
    s->ops->route(s->context, &r.on_device, r.logits->device);
    r.choices = ints_now(s, r.choice);
    r.rows = ints_now(s, r.row);
    r.tokens = ints_now(s, r.token);
    r.bounds = ints_now(s, r.offsets);
    r.weights = download(s, r.weight);
    return r;
}

static void check_probability(struct suite *s, const struct routed *r) {
    const struct moe_size *z = r->size;
    double *expected = scratch(s, r->probability->count);
    for (int32_t t = 0; t < z->tokens; t++) {
        double sum = 0;
        for (int32_t e = 0; e < z->experts; e++) {
            sum += exp(r->logits->at[t * z->experts + e]);
        }
        for (int32_t e = 0; e < z->experts; e++) {
            expected[t * z->experts + e] = exp(r->logits->at[t * z->experts + e]) / sum;
        }
    }
    check_close(s, "probability", r->probability, expected);
}

/* By the device's own probabilities: they, not ours, say what ties. */
static bool is_before(const double *p, int32_t a, int32_t b) {
    return p[a] > p[b] || (p[a] == p[b] && a < b);
}

static void check_choice(struct suite *s, const struct routed *r) {
    const struct moe_size *z = r->size;
    const double *p = download(s, r->probability);
    for (int32_t t = 0; t < z->tokens; t++) {
        const double *mine = p + (int64_t)t * z->experts;
        for (int32_t i = 0; i < z->per_token; i++) {
            int32_t chosen = r->choices[t * z->per_token + i];
            int32_t better = 0; /* as many experts stand before it as choices */
            if (chosen < 0 || chosen >= z->experts) {
                check(s, false, "token %d: choice %d is no expert: %d", t, i, chosen);
                return;
            }
            for (int32_t e = 0; e < z->experts; e++) {
                better += is_before(mine, e, chosen);
            }
            check(s, better == i, "token %d: choice %d is expert %d, behind %d others", t, i,
                  chosen, better);
        }
    }
    double *weights = scratch(s, r->weight->count);
    oracle_route_weights(weights, r->logits->at, r->choices, z->tokens, z->experts, z->per_token);
    check_close(s, "weight", r->weight, weights);
}

static void check_order(struct suite *s, const struct routed *r) {
    const struct moe_size *z = r->size;
    int32_t place = 0;
    check(s, r->bounds[0] == 0, "offsets begin at %d", r->bounds[0]);
    for (int32_t e = 0; e < z->experts; e++) {
        for (int32_t i = 0; i < z->tokens * z->per_token; i++) {
            if (r->choices[i] == e) {
                check(s, r->rows[i] == place && r->tokens[place] == i / z->per_token,
                      "token %d's row of expert %d is %d, expected %d; it says token %d",
                      i / z->per_token, e, r->rows[i], place, r->tokens[place]);
                place++;
            }
        }
        check(s, r->bounds[e + 1] == place, "expert %d ends at %d, expected %d", e,
              r->bounds[e + 1], place);
    }
}

static void route_case(struct suite *s, const void *what) {
    const struct moe_size *z = what;
    struct routed r = route(s, z);
    check_probability(s, &r);
    check_choice(s, &r);
    check_order(s, &r);
    struct tensor *dweight = random_input(s, FLOAT, r.weight->count, 1);
    struct tensor *dlogits = poisoned(s, ACT, r.logits->count);
    s->ops->route_grad(s->context, dlogits->device, &r.on_device, dweight->device);
    double *weights = scratch(s, r.weight->count);
    oracle_route_weights(weights, r.logits->at, r.choices, z->tokens, z->experts, z->per_token);
    oracle_route_grad(dlogits->at, weights, dweight->at, r.choices, z->tokens, z->experts,
                      z->per_token);
    check_close(s, "dlogits", dlogits, dlogits->at);
}

/* gather, combine and their gradients, by the routing as the device made it. */
static void way_case(struct suite *s, const void *what) {
    enum { WIDTH = 21 };
    const struct moe_size *z = what;
    struct routed r = route(s, z);
    int64_t choices = (int64_t)z->tokens * z->per_token;
    struct tensor *x = random_input(s, ACT, (int64_t)z->tokens * WIDTH, 1);
    struct tensor *rows = random_input(s, ACT, choices * WIDTH, 1);
    struct tensor *gathered = poisoned(s, ACT, choices * WIDTH);
    struct tensor *dx = random_start(s, ACT, (int64_t)z->tokens * WIDTH);
    struct tensor *y = random_start(s, ACT, (int64_t)z->tokens * WIDTH);
    struct tensor *drows = poisoned(s, ACT, choices * WIDTH);
    struct tensor *dweight = poisoned(s, FLOAT, choices);
    s->ops->gather(s->context, gathered->device, x->device, &r.on_device, WIDTH);
    s->ops->gather_grad(s->context, dx->device, rows->device, &r.on_device, WIDTH);
    s->ops->combine(s->context, y->device, rows->device, &r.on_device, WIDTH);
    s->ops->combine_grad(s->context, drows->device, dweight->device, x->device, rows->device,
                         &r.on_device, WIDTH);
    double *ones = scratch(s, choices);
    for (int64_t i = 0; i < choices; i++) {
        ones[i] = 1;
    }
    oracle_gather(gathered->at, x->at, r.rows, z->tokens, z->per_token, WIDTH);
    oracle_combine(dx->at, ones, rows->at, r.rows, z->tokens, z->per_token, WIDTH);
    oracle_combine(y->at, r.weights, rows->at, r.rows, z->tokens, z->per_token, WIDTH);
    oracle_combine_grad(drows->at, dweight->at, x->at, r.weights, rows->at, r.rows, z->tokens,
                        z->per_token, WIDTH);
    check_close_by(s, "gather", gathered, gathered->at, 0);
    check_close(s, "gather_grad", dx, dx->at);
    check_close(s, "combine", y, y->at);
    check_close(s, "combine_grad", drows, drows->at);
    check_close(s, "dweight", dweight, dweight->at);
}

static void experts_case(struct suite *s, const void *what) {
    enum { IN = 19, OUT = 34 };
    const struct moe_size *z = what;
    struct routed r = route(s, z);
    int64_t choices = (int64_t)z->tokens * z->per_token;
    struct tensor *x = random_input(s, ACT, choices * IN, 1);
    struct tensor *w = random_input(s, ACT, (int64_t)z->experts * IN * OUT, 1);
    struct tensor *dy = random_input(s, ACT, choices * OUT, 1);
    struct tensor *y = poisoned(s, ACT, choices * OUT);
    struct tensor *dx = poisoned(s, ACT, choices * IN);
    struct tensor *dw = random_start(s, FLOAT, (int64_t)z->experts * IN * OUT);
    s->ops->experts_linear(s->context, y->device, x->device, w->device, &r.on_device, IN, OUT);
    s->ops->experts_input_grad(s->context, dx->device, dy->device, w->device, &r.on_device, IN,
                               OUT);
    s->ops->experts_weight_grad(s->context, dw->device, dy->device, x->device, &r.on_device, IN,
                                OUT);
    for (int32_t e = 0; e < z->experts; e++) {
        int64_t first = r.bounds[e];
        int64_t count = r.bounds[e + 1] - first;
        int64_t weight = (int64_t)e * IN * OUT;
        oracle_linear(y->at + first * OUT, x->at + first * IN, w->at + weight, count, IN, OUT);
        oracle_linear_input_grad(dx->at + first * IN, dy->at + first * OUT, w->at + weight, count,
                                 IN, OUT);
        oracle_linear_weight_grad(dw->at + weight, dy->at + first * OUT, x->at + first * IN, count,
                                  IN, OUT);
    }
    check_close(s, "y", y, y->at);
    check_close(s, "dx", dx, dx->at);
    check_close(s, "dw", dw, dw->at);
}

void kernel_cases_moe(struct suite *s) {
    static const struct moe_size sizes[] = {
        {1, 1, 1, 0, 0},   {1, 8, 2, 0, 0},  {7, 4, 4, 0, 0},  {33, 8, 1, 0, 0}, {33, 8, 2, 0, 0},
        {20, 17, 3, 0, 0}, {40, 6, 2, 2, 0}, {10, 5, 5, 1, 0}, {25, 9, 2, 0, 3}, {3, 64, 6, 0, 0},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const struct moe_size *z = &sizes[i];
        s->group = "route";
        run_case(s, route_case, z, "%d tokens, %d of %d, %d levels, %d used", z->tokens,
                 z->per_token, z->experts, z->levels, z->used);
        s->group = "gather and combine";
        run_case(s, way_case, z, "%d tokens, %d of %d", z->tokens, z->per_token, z->experts);
        s->group = "experts";
        run_case(s, experts_case, z, "%d tokens, %d of %d, %d used", z->tokens, z->per_token,
                 z->experts, z->used);
    }
}
