#include "costmodel/split.h"

#include <stdio.h>
#include <string.h>

/* Options a fix may change, as bits; a set of them is a mask. */
enum { SET_LAYERS = 1, SET_ROUND = 2, SET_PP = 4, SET_KIND = 8, MASK_COUNT = 16 };

/* Levels (numbers of options changed) are searched until this many fixes are known: one that
   changes more is noise beside three that change less. */
enum { ENOUGH_FIXES = 3 };

/* Over all levels a mask gives at most one fix a rounding word, kind of schedule and direction: at
   most twice 53. */
enum { MAX_CANDIDATES = 128 };

struct candidate {
    struct pp_split_fix fix;
    unsigned mask;
    int64_t layers_distance, pp_distance;
};

/* Trials of one search: ends the search for absurd sizes after some 50 ms. A thousand layers need
   at most a million and a half. */
enum { MAX_TRIALS = 4000000 };

struct search {
    const struct pp_split_request *req;
    int64_t layers_from; /* what a change of layers per stage is measured from */
    int32_t trials_left;
    int32_t count;
    struct candidate found[MAX_CANDIDATES];
};

static int64_t distance(int64_t a, int64_t b) {
    return a > b ? a - b : b - a;
}

static int32_t clamp(int64_t v, int32_t low, int32_t high) {
    return v < low ? low : v > high ? high : (int32_t)v;
}

static int32_t bit_count(unsigned mask) {
    int32_t n = 0;
    for (; mask != 0; mask &= mask - 1) {
        n++;
    }
    return n;
}

/* Layers per stage that the request stands for: its own, or where it has none those of the largest
   stage of the split it gets. */
static int64_t implied_layers(const struct pp_split_request *req) {
    if (req->has_layers_per_stage) {
        return req->layers_per_stage;
    }
    int64_t pp = clamp(req->pp_size, 1, PP_MAX_RANKS);
    return pp_div_ceil_i64(req->layer_count, pp * (req->kind == PP_KIND_SINGLE ? 1 : 2));
}

static struct pp_split_request changed(const struct pp_split_request *req,
                                       const struct pp_split_fix *fix, unsigned mask) {
    struct pp_split_request r = *req;
    if ((mask & SET_LAYERS) != 0) {
        r.has_layers_per_stage = true;
        r.layers_per_stage = fix->layers_per_stage;
    }
    r.round = (mask & SET_ROUND) != 0 ? fix->round : r.round;
    r.pp_size = (mask & SET_PP) != 0 ? fix->pp_size : r.pp_size;
    if ((mask & SET_KIND) != 0) {
        r.kind = fix->kind;
        r.placement = PP_PLACE_LOOP;
    }
    return r;
}

static bool works(const struct pp_split_request *req, const struct pp_split_fix *fix,
                  unsigned mask) {
    struct pp_split_request r = changed(req, fix, mask);
    struct pp_split split;
    return pp_split_stages(&r, &split, NULL) == PP_OK;
}

/* Works, and would not if any of its changes were left out. */
static bool works_only_whole(struct search *s, const struct pp_split_fix *fix, unsigned mask) {
    if (s->trials_left < MASK_COUNT) {
        return false;
    }
    s->trials_left--;
    if (!works(s->req, fix, mask)) {
        return false;
    }
    for (unsigned part = (mask - 1) & mask; part != 0; part = (part - 1) & mask) {
        s->trials_left--;
        if (works(s->req, fix, part)) {
            return false;
        }
    }
    return true;
}

/* Where pp sizes that can work lie, once everything else is chosen. Only narrows the scan: what is
   found is verified. */
static void pp_window(const struct pp_split_request *r, int32_t *low_p, int32_t *high_p) {
    *low_p = 1;
    *high_p = clamp(r->layer_count, 1, PP_MAX_RANKS); /* a stage needs a layer */
    if (!r->has_layers_per_stage || r->layers_per_stage < 1) {
        return;
    }
    int64_t n = pp_div_ceil_i64(r->layer_count, r->layers_per_stage);
    bool single = r->kind == PP_KIND_SINGLE;
    if (single && r->round != PP_ROUND_DOWN) {
        *low_p = (int32_t)n;
    }
    if (!single || r->round != PP_ROUND_UP) {
        *high_p = clamp(n, 1, *high_p);
    }
}

/* Sets the pp size nearest to the request's in one direction (where the mask has pp). */
static bool find_pp(struct search *s, struct pp_split_fix *fix, unsigned mask, int32_t direction) {
    if ((mask & SET_PP) == 0) {
        return works_only_whole(s, fix, mask);
    }
    struct pp_split_request r = changed(s->req, fix, mask & ~(unsigned)SET_PP);
    int32_t low;
    int32_t high;
    pp_window(&r, &low, &high);
    int64_t pp = (int64_t)s->req->pp_size + direction;
    if (direction < 0 && pp > high) {
        pp = high;
    } else if (direction > 0 && pp < low) {
        pp = low;
    }
    for (; pp >= low && pp <= high && s->trials_left >= MASK_COUNT; pp += direction) {
        fix->pp_size = (int32_t)pp;
        if (works_only_whole(s, fix, mask)) {
            return true;
        }
    }
    return false;
}

/* The next layers per stage in a direction that gives another stage count; 0 at the end. There are
   about 2 * sqrt(layers) different counts. */
static int32_t next_layers(int32_t layer_count, int32_t layers, int32_t direction) {
    int64_t n = pp_div_ceil_i64(layer_count, layers);
    if (direction < 0) {
        return (int32_t)(pp_div_ceil_i64(layer_count, n) - 1);
    }
    return n == 1 ? 0 : (int32_t)pp_div_ceil_i64(layer_count, n - 1);
}

static int32_t first_layers(const struct search *s, int32_t direction) {
    int64_t from = s->layers_from;
    if (direction > 0) {
        int64_t v = from + 1 < 1 ? 1 : from + 1;
        return v > s->req->layer_count ? 0 : (int32_t)v;
    }
    int64_t v = s->req->has_layers_per_stage ? from - 1 : from; /* null -> set is a change */
    return v < 1 ? 0 : clamp(v, 1, s->req->layer_count);
}

static void add(struct search *s, const struct pp_split_fix *fix, unsigned mask) {
    PP_ASSERT(s->count < MAX_CANDIDATES);
    struct candidate *c = &s->found[s->count++];
    *c = (struct candidate){.fix = *fix, .mask = mask};
    if ((mask & SET_LAYERS) != 0) {
        c->layers_distance = distance(fix->layers_per_stage, s->layers_from);
    }
    if ((mask & SET_PP) != 0) {
        c->pp_distance = distance(fix->pp_size, s->req->pp_size);
    }
}

/* What every fix of one search has in common. */
struct wanted {
    unsigned mask;
    enum pp_round round;
    enum pp_schedule_kind kind;
};

/* The nearest fix of one sort in the given directions. */
static void find(struct search *s, const struct wanted *wanted, int32_t layers_direction,
                 int32_t pp_direction) {
    unsigned mask = wanted->mask;
    struct pp_split_fix fix = {
        .sets_layers_per_stage = (mask & SET_LAYERS) != 0,
        .sets_round = (mask & SET_ROUND) != 0,
        .sets_pp = (mask & SET_PP) != 0,
        .sets_schedule = (mask & SET_KIND) != 0,
        .round = wanted->round,
        .kind = wanted->kind,
    };
    if (!fix.sets_layers_per_stage) {
        if (find_pp(s, &fix, mask, pp_direction)) {
            add(s, &fix, mask);
        }
        return;
    }
    for (int32_t v = first_layers(s, layers_direction); v > 0;
         v = next_layers(s->req->layer_count, v, layers_direction)) {
        fix.layers_per_stage = v;
        if (find_pp(s, &fix, mask, pp_direction)) {
            add(s, &fix, mask);
            return;
        }
    }
}

static void find_directions(struct search *s, const struct wanted *wanted) {
    for (int32_t layers = -1; layers <= 1; layers += 2) {
        for (int32_t pp = -1; pp <= 1; pp += 2) {
            bool repeats = (layers > 0 && (wanted->mask & SET_LAYERS) == 0) ||
                           (pp > 0 && (wanted->mask & SET_PP) == 0);
            if (!repeats) {
                find(s, wanted, layers, pp);
            }
        }
    }
}

static void find_rounds(struct search *s, struct wanted wanted) {
    if ((wanted.mask & SET_ROUND) == 0) {
        find_directions(s, &wanted);
        return;
    }
    for (wanted.round = PP_ROUND_UP; wanted.round <= PP_ROUND_DOWN; wanted.round++) {
        if (wanted.round != s->req->round) {
            find_directions(s, &wanted);
        }
    }
}

/* Another schedule is always one placed in a loop: whatever fits a V fits it, too. */
static void find_mask(struct search *s, unsigned mask) {
    const enum pp_schedule_kind kinds[] = {PP_KIND_SINGLE, PP_KIND_MULTI};
    const struct pp_split_request *req = s->req;
    if ((mask & SET_KIND) == 0) {
        find_rounds(s, (struct wanted){.mask = mask, .kind = req->kind});
        return;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i] != req->kind || req->placement != PP_PLACE_LOOP) {
            find_rounds(s, (struct wanted){.mask = mask, .kind = kinds[i]});
        }
    }
}

/* Negative, 0 or positive as a - b, in the order that the header promises. */
static int64_t compare(const struct candidate *a, const struct candidate *b) {
    const unsigned first_touches[] = {SET_ROUND, SET_PP, SET_KIND};
    int64_t d = bit_count(a->mask) - bit_count(b->mask);
    d = d != 0 ? d : a->layers_distance - b->layers_distance;
    for (size_t i = 0; i < sizeof first_touches / sizeof first_touches[0] && d == 0; i++) {
        d = (int64_t)(b->mask & first_touches[i]) - (int64_t)(a->mask & first_touches[i]);
    }
    d = d != 0 ? d : a->pp_distance - b->pp_distance;
    d = d != 0 ? d : (int64_t)b->fix.pp_size - a->fix.pp_size;
    d = d != 0 ? d : (int64_t)b->fix.layers_per_stage - a->fix.layers_per_stage;
    return d != 0 ? d : (int64_t)a->fix.round - (int64_t)b->fix.round;
}

static void sort(struct search *s) {
    for (int32_t i = 1; i < s->count; i++) {
        struct candidate c = s->found[i];
        int32_t k = i;
        for (; k > 0 && compare(&c, &s->found[k - 1]) < 0; k--) {
            s->found[k] = s->found[k - 1];
        }
        s->found[k] = c;
    }
}

/* One that always works, for sizes so absurd that the search ended empty. */
static void add_last_resort(struct search *s) {
    const struct pp_split_request *req = s->req;
    struct pp_split_fix fix = {.layers_per_stage = req->layer_count,
                               .round = PP_ROUND_UP,
                               .pp_size = 1,
                               .kind = PP_KIND_SINGLE};
    unsigned mask = SET_LAYERS | SET_ROUND | SET_PP | SET_KIND;
    for (unsigned bit = SET_KIND; bit != 0; bit >>= 1) {
        if (works(req, &fix, mask & ~bit)) {
            mask &= ~bit;
        }
    }
    fix.sets_layers_per_stage = (mask & SET_LAYERS) != 0;
    fix.sets_round = (mask & SET_ROUND) != 0;
    fix.sets_pp = (mask & SET_PP) != 0;
    fix.sets_schedule = (mask & SET_KIND) != 0;
    add(s, &fix, mask);
}

int32_t pp_split_fixes(const struct pp_split_request *req, struct pp_split_fix *fixes) {
    if (req->layer_count < 1 || req->layer_count > PP_MAX_LAYERS ||
        works(req, &(struct pp_split_fix){0}, 0)) {
        return 0;
    }
    struct search s = {.req = req, .layers_from = implied_layers(req), .trials_left = MAX_TRIALS};
    for (int32_t level = 1; level <= 4 && s.count < ENOUGH_FIXES; level++) {
        for (unsigned mask = 1; mask < MASK_COUNT; mask++) {
            if (bit_count(mask) == level) {
                find_mask(&s, mask);
            }
        }
    }
    if (s.count == 0) {
        add_last_resort(&s);
    }
    sort(&s);
    int32_t n = s.count < PP_SPLIT_MAX_FIXES ? s.count : PP_SPLIT_MAX_FIXES;
    for (int32_t i = 0; i < n; i++) {
        fixes[i] = s.found[i].fix;
    }
    return n;
}
