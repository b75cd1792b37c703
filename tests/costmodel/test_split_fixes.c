#include "costmodel/split.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static int pick(uint32_t *state, int low, int high) {
    return low + (int)(next_random(state) % (uint32_t)(high - low + 1));
}

static struct pp_split_request random_request(uint32_t *state, int max_layers, int max_pp) {
    return (struct pp_split_request){
        .layer_count = pick(state, 1, max_layers),
        .pp_size = pick(state, -1, max_pp),
        .has_layers_per_stage = pick(state, 0, 3) != 0,
        .layers_per_stage = pick(state, -1, max_layers + 3),
        .round = (enum pp_round)pick(state, 0, 3),
        .kind = pick(state, 0, 1) == 0 ? PP_KIND_SINGLE : PP_KIND_MULTI,
    };
}

static const char *show(const struct pp_split_request *r) {
    static char text[120];
    snprintf(text, sizeof text, "layers %d pp %d lps %d%s round %d %s", r->layer_count, r->pp_size,
             r->layers_per_stage, r->has_layers_per_stage ? "" : " (null)", (int)r->round,
             r->kind == PP_KIND_SINGLE ? "single" : "multi");
    return text;
}

static bool accepted(const struct pp_split_request *r) {
    struct pp_split split;
    return pp_split_stages(r, &split, NULL) == PP_OK;
}

static struct pp_split_request apply(struct pp_split_request r, const struct pp_split_fix *fix) {
    if (fix->sets_layers_per_stage) {
        r.has_layers_per_stage = true;
        r.layers_per_stage = fix->layers_per_stage;
    }
    r.round = fix->sets_round ? fix->round : r.round;
    r.pp_size = fix->sets_pp ? fix->pp_size : r.pp_size;
    if (fix->sets_schedule) {
        r.kind = fix->kind;
        r.placement = PP_PLACE_LOOP;
    }
    return r;
}

static int changes(const struct pp_split_fix *f) {
    return f->sets_layers_per_stage + f->sets_round + f->sets_pp + f->sets_schedule;
}

/* The rank of a fix as the header words it, as numbers to compare from left to right. */
static void rank_of(const struct pp_split_request *r, const struct pp_split_fix *f,
                    int64_t key[6]) {
    int64_t from = r->layers_per_stage;
    if (!r->has_layers_per_stage) {
        int64_t pp = r->pp_size < 1 ? 1 : r->pp_size;
        int64_t stages = pp * (r->kind == PP_KIND_SINGLE ? 1 : 2);
        from = (r->layer_count + stages - 1) / stages;
    }
    key[0] = changes(f);
    key[1] = f->sets_layers_per_stage ? llabs(f->layers_per_stage - from) : 0;
    key[2] = !f->sets_round;
    key[3] = !f->sets_pp;
    key[4] = !f->sets_schedule;
    key[5] = f->sets_pp ? llabs((int64_t)f->pp_size - r->pp_size) : 0;
}

static int compare(const int64_t a[6], const int64_t b[6]) {
    for (int i = 0; i < 6; i++) {
        if (a[i] != b[i]) {
            return a[i] < b[i] ? -1 : 1;
        }
    }
    return 0;
}

static bool needs_every_change(const struct pp_split_request *r, const struct pp_split_fix *f) {
    for (int keep = 0; keep < 15; keep++) {
        struct pp_split_fix part = *f;
        part.sets_layers_per_stage &= (keep & 1) != 0;
        part.sets_round &= (keep & 2) != 0;
        part.sets_pp &= (keep & 4) != 0;
        part.sets_schedule &= (keep & 8) != 0;
        struct pp_split_request changed = apply(*r, &part);
        if (changes(&part) < changes(f) && accepted(&changed)) {
            return false;
        }
    }
    return true;
}

Test(split_fixes, every_fix_works_and_they_are_in_order) {
    uint32_t state = 20260901;
    int refused = 0;
    for (int i = 0; i < 30000; i++) {
        struct pp_split_request r = random_request(&state, i % 2 == 0 ? 40 : 130, 20);
        bool v = r.kind == PP_KIND_MULTI && i % 3 == 0;
        r.placement = v ? PP_PLACE_V : PP_PLACE_LOOP;
        struct pp_split_fix fixes[PP_SPLIT_MAX_FIXES];
        int32_t n = pp_split_fixes(&r, fixes);
        if (accepted(&r)) {
            cr_assert_eq(n, 0, "%s", show(&r));
            continue;
        }
        refused++;
        cr_assert(n >= 1 && n <= PP_SPLIT_MAX_FIXES, "%s", show(&r));
        int64_t before[6] = {0};
        for (int32_t k = 0; k < n; k++) {
            struct pp_split_request changed = apply(r, &fixes[k]);
            cr_assert(accepted(&changed), "%s: fix %d does not work", show(&r), k);
            cr_assert(needs_every_change(&r, &fixes[k]), "%s: fix %d does more than needed",
                      show(&r), k);
            int64_t key[6];
            rank_of(&r, &fixes[k], key);
            cr_assert(compare(before, key) <= 0, "%s: fix %d out of order", show(&r), k);
            memcpy(before, key, sizeof key);
        }
    }
    cr_assert_gt(refused, 10000);
}

/* Every change of every option, tried out. */
struct brute {
    const struct pp_split_request *req;
    bool any;
    int64_t best[6];
    int single_option_kinds; /* bit set of single options that work */
};

static void brute_try(struct brute *b, const struct pp_split_fix *fix) {
    struct pp_split_request changed = apply(*b->req, fix);
    if (changes(fix) == 0 || !accepted(&changed)) {
        return;
    }
    int64_t key[6];
    rank_of(b->req, fix, key);
    if (!b->any || compare(key, b->best) < 0) {
        memcpy(b->best, key, sizeof key);
        b->any = true;
    }
    if (changes(fix) == 1) {
        b->single_option_kinds |= fix->sets_layers_per_stage + 2 * fix->sets_round +
                                  4 * fix->sets_pp + 8 * fix->sets_schedule;
    }
}

static void brute_force(struct brute *b) {
    const struct pp_split_request *r = b->req;
    for (int lps = 0; lps <= r->layer_count + 3; lps++) {
        for (int round = 0; round <= 2; round++) {
            for (int pp = 0; pp <= r->layer_count + 3; pp++) {
                for (int kind = 0; kind <= 1; kind++) {
                    struct pp_split_fix fix = {
                        .sets_layers_per_stage =
                            lps > 0 && !(r->has_layers_per_stage && lps == r->layers_per_stage),
                        .layers_per_stage = lps,
                        .sets_round = round > 0 && round != (int)r->round,
                        .round = (enum pp_round)round,
                        .sets_pp = pp > 0 && pp != r->pp_size,
                        .pp_size = pp,
                        .sets_schedule = kind == 1,
                        .kind = r->kind == PP_KIND_SINGLE ? PP_KIND_MULTI : PP_KIND_SINGLE,
                    };
                    brute_try(b, &fix);
                }
            }
        }
    }
}

Test(split_fixes, the_first_is_the_best_there_is) {
    uint32_t state = 7;
    for (int i = 0; i < 400; i++) {
        struct pp_split_request r = random_request(&state, 24, 12);
        struct pp_split_fix fixes[PP_SPLIT_MAX_FIXES];
        int32_t n = pp_split_fixes(&r, fixes);
        if (n == 0) {
            continue;
        }
        struct brute b = {.req = &r};
        brute_force(&b);
        int64_t first[6];
        rank_of(&r, &fixes[0], first);
        cr_assert_eq(compare(first, b.best), 0, "%s", show(&r));
        int kinds = 0;
        for (int32_t k = 0; k < n; k++) {
            if (changes(&fixes[k]) == 1) {
                kinds |= fixes[k].sets_layers_per_stage + 2 * fixes[k].sets_round +
                         4 * fixes[k].sets_pp + 8 * fixes[k].sets_schedule;
            }
        }
        cr_assert_eq(kinds, b.single_option_kinds, "%s: a single option is missing", show(&r));
    }
}

enum { TEXT_BYTES = 112 };

static const char *text_of(const struct pp_split_fix *fix, char out[TEXT_BYTES]) {
    char layers[32] = "";
    char round[32] = "";
    char pp[32] = "";
    if (fix->sets_layers_per_stage) {
        snprintf(layers, sizeof layers, ", layers_per_stage %d", fix->layers_per_stage);
    }
    if (fix->sets_round) {
        snprintf(round, sizeof round, ", rounding %s", pp_round_name(fix->round));
    }
    if (fix->sets_pp) {
        snprintf(pp, sizeof pp, ", pp_size %d", fix->pp_size);
    }
    const char *kind = !fix->sets_schedule           ? ""
                       : fix->kind == PP_KIND_SINGLE ? ", a single-stage schedule"
                                                     : ", a multi-stage schedule";
    char all[TEXT_BYTES + 32];
    snprintf(all, sizeof all, "%s%s%s%s", layers, round, pp, kind);
    pp_copy(out, TEXT_BYTES, all[0] == ',' ? all + 2 : all);
    return out;
}

static void expect(struct pp_split_request r, const char *wanted) {
    struct pp_split_fix fixes[PP_SPLIT_MAX_FIXES];
    int32_t n = pp_split_fixes(&r, fixes);
    char all[1024] = "";
    for (int32_t k = 0; k < n; k++) {
        char text[TEXT_BYTES];
        strcat(strcat(all, k == 0 ? "" : "; "), text_of(&fixes[k], text));
    }
    cr_expect_str_eq(all, wanted, "%s\n got: %s\nwant: %s", show(&r), all, wanted);
}

Test(split_fixes, examples) {
    expect((struct pp_split_request){28, 4, 6, true, PP_ROUND_NONE, PP_KIND_SINGLE, PP_PLACE_LOOP},
           "rounding down; pp_size 5; layers_per_stage 7");
    expect((struct pp_split_request){32, 4, 7, true, PP_ROUND_NONE, PP_KIND_MULTI, PP_PLACE_LOOP},
           "rounding up; pp_size 1; layers_per_stage 4");
    expect((struct pp_split_request){12, 8, 0, false, PP_ROUND_NONE, PP_KIND_MULTI, PP_PLACE_LOOP},
           "pp_size 6; a single-stage schedule");
    expect((struct pp_split_request){32, 4, 0, true, PP_ROUND_NONE, PP_KIND_MULTI, PP_PLACE_LOOP},
           "layers_per_stage 1; layers_per_stage 3, rounding up; layers_per_stage 3, rounding "
           "down; layers_per_stage 3, pp_size 1; layers_per_stage 8, a single-stage schedule");
    expect((struct pp_split_request){32, 4, 8, true, PP_ROUND_COUNT, PP_KIND_SINGLE, PP_PLACE_LOOP},
           "rounding up; rounding down");
    expect((struct pp_split_request){1, 8, 3, true, PP_ROUND_NONE, PP_KIND_MULTI, PP_PLACE_LOOP},
           "pp_size 1, a single-stage schedule");
    expect((struct pp_split_request){32, 4, 2, true, PP_ROUND_NONE, PP_KIND_MULTI, PP_PLACE_V},
           "pp_size 8; a multi-stage schedule; layers_per_stage 4");
}

Test(split_fixes, hostile_values_neither_overflow_nor_take_long) {
    const int32_t odd[] = {INT32_MIN, -1, 0, 1, 2, 65535, 65536, 65537, 99999, 100000, INT32_MAX};
    enum { ODD = sizeof odd / sizeof odd[0] };
    clock_t begin = clock();
    for (int i = 0; i < ODD * ODD * ODD * 6; i += 397) {
        struct pp_split_request r = {
            .layer_count = odd[i % ODD],
            .pp_size = odd[i / ODD % ODD],
            .layers_per_stage = odd[i / ODD / ODD % ODD],
            .has_layers_per_stage = true,
            .round = (enum pp_round)(i / ODD / ODD / ODD % 3),
            .kind = i / ODD / ODD / ODD / 3 == 0 ? PP_KIND_SINGLE : PP_KIND_MULTI,
        };
        struct pp_split_fix fixes[PP_SPLIT_MAX_FIXES];
        int32_t n = pp_split_fixes(&r, fixes);
        bool can = r.layer_count >= 1 && r.layer_count <= PP_MAX_LAYERS && !accepted(&r);
        cr_assert_eq(n > 0, can, "%s", show(&r));
        for (int32_t k = 0; k < n; k++) {
            struct pp_split_request changed = apply(r, &fixes[k]);
            cr_assert(accepted(&changed), "%s", show(&r));
        }
    }
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    cr_assert_lt(seconds, 30.0);
}
