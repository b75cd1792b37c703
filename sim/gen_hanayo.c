/* Hanayo: the stages go down and up the ranks in waves. Its authors describe the order by what it
 * prefers, not by a closed form. Here a microbatch is a chain of steps, its forwards and then its
 * backwards, and list scheduling makes the order: the step that can start earliest runs next.
 *
 * The first pass prefers what is furthest along its chain, and wastes time at the end, where
 * nothing is left to fill gaps. So the next pass goes backward in time and prefers what ended late
 * in the pass before, the one after that forward again ("justification" in project planning), until
 * neither direction gains. Mirrored in time the chain has the same form, so one function runs both.
 * With even costs, no transfers and m >= 2p the idle time mostly ends at the least that a wave
 * allows, (p-1)/v of a microbatch's work. */
#include "sim/gen_priv.h"
#include "sim/gen_tournament.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_PASSES = 16 };

/* What the steps of a chain take in one direction of time. */
struct way {
    int64_t *duration, *lag; /* [step_count]; lag: transfer from the step before */
};

/* The step that a rank would run next. */
struct choice {
    int64_t start; /* INT64_MAX if none can run yet */
    int32_t step;
};

struct wave {
    int32_t rank_count, microbatch_count;
    int32_t step_count;     /* of a microbatch: two a stage */
    int32_t own_count;      /* of them on each rank */
    int32_t in_flight;      /* most microbatches between their first and last step */
    struct way forth, back; /* back: mirrored in time */
    int64_t *held;          /* [step_count] activations that the step adds, its mirror frees */
    const int64_t *limit;   /* [rank_count] */
    int32_t *step_rank;     /* [step_count] */
    /* A pass. An item is step * microbatch_count + microbatch, in the pass's direction. */
    const struct way *way;
    int32_t item_count, row_size; /* of the schedule, of a rank */
    int64_t *key, *end;           /* [item_count] the smaller key first */
    int32_t *done;                /* [step_count] microbatches that have run it */
    int32_t *open;                /* [rank_count][own_count] the rank's steps that can run */
    int32_t *open_count;          /* [rank_count] */
    int32_t *open_at;             /* [step_count] place among them; -1 if it cannot run */
    int64_t *free_at;             /* [rank_count] */
    struct choice *choice;        /* [rank_count] */
    struct pp_tournament next;    /* of the ranks, by the start of their choice */
    int32_t *row, *row_used;      /* [rank_count][row_size] items in order; [rank_count] */
    /* The best pass so far. */
    int32_t *best_row;
    int64_t best_ns;
    bool best_is_back;
    int64_t *numbers; /* own the arrays above */
    int32_t *indices;
};

/* --- a pass ----------------------------------------------------------------------------------- */

/* Can the next microbatch's `step` run, now or later, as far as is known? */
static bool can_run(const struct wave *w, int32_t step) {
    int32_t microbatch = w->done[step];
    return step == 0 ? microbatch < w->microbatch_count &&
                           microbatch - w->done[w->step_count - 1] < w->in_flight
                     : microbatch < w->done[step - 1];
}

/* Puts a step among those of its rank that can run, or takes it out. */
static void look_at(struct wave *w, int32_t step) {
    int32_t rank = w->step_rank[step];
    int32_t *open = w->open + rank * w->own_count;
    if (can_run(w, step) == (w->open_at[step] >= 0)) {
        return;
    }
    if (w->open_at[step] < 0) {
        w->open_at[step] = w->open_count[rank];
        open[w->open_count[rank]++] = step;
    } else {
        int32_t last = open[--w->open_count[rank]];
        open[w->open_at[step]] = last;
        w->open_at[last] = w->open_at[step];
        w->open_at[step] = -1;
    }
}

/* When the next microbatch's `step`, which can run, could start. */
static int64_t start_of(const struct wave *w, int32_t step) {
    int64_t free_at = w->free_at[w->step_rank[step]];
    if (step == 0) {
        return free_at;
    }
    int64_t arrival = w->end[(step - 1) * w->microbatch_count + w->done[step]] + w->way->lag[step];
    return arrival > free_at ? arrival : free_at;
}

/* Equal starts: the smaller key; equal keys: the earlier step. */
static void choose(struct wave *w, int32_t rank) {
    struct choice best = {.start = INT64_MAX};
    int64_t best_key = INT64_MAX;
    for (int32_t i = 0; i < w->open_count[rank]; i++) {
        int32_t step = w->open[rank * w->own_count + i];
        int64_t start = start_of(w, step);
        if (start > best.start) {
            continue;
        }
        int64_t key = w->key[step * w->microbatch_count + w->done[step]];
        if (start < best.start || key < best_key || (key == best_key && step < best.step)) {
            best = (struct choice){.start = start, .step = step};
            best_key = key;
        }
    }
    w->choice[rank] = best;
}

static void choose_again(struct wave *w, int32_t rank) {
    choose(w, rank);
    pp_tournament_set(&w->next, rank, w->choice[rank].start);
}

static void begin_pass(struct wave *w) {
    memset(w->done, 0, (size_t)w->step_count * sizeof *w->done);
    memset(w->free_at, 0, (size_t)w->rank_count * sizeof *w->free_at);
    memset(w->row_used, 0, (size_t)w->rank_count * sizeof *w->row_used);
    memset(w->open_count, 0, (size_t)w->rank_count * sizeof *w->open_count);
    memset(w->open_at, -1, (size_t)w->step_count * sizeof *w->open_at);
    look_at(w, 0);
    for (int32_t rank = 0; rank < w->rank_count; rank++) {
        choose(w, rank);
        w->next.start_ns[rank] = w->choice[rank].start;
    }
    pp_tournament_begin(&w->next);
}

/* List scheduling by `key`. @return the end of the last step */
static int64_t run_pass(struct wave *w) {
    int64_t last = 0;
    begin_pass(w);
    for (int32_t n = 0; n < w->item_count; n++) {
        int32_t rank = pp_tournament_first(&w->next);
        struct choice next = w->choice[rank];
        PP_ASSERT(next.start != INT64_MAX); /* what is in flight can always go on */
        int32_t item = next.step * w->microbatch_count + w->done[next.step]++;
        int64_t end = next.start + w->way->duration[next.step];
        w->end[item] = w->free_at[rank] = end;
        w->row[rank * w->row_size + w->row_used[rank]++] = item;
        last = end > last ? end : last;
        look_at(w, next.step);
        int32_t after = next.step + 1 < w->step_count ? next.step + 1 : 0; /* one may enter */
        look_at(w, after);
        choose_again(w, rank);
        if (w->step_rank[after] != rank) {
            choose_again(w, w->step_rank[after]);
        }
    }
    return last;
}

/* Does every rank of the pass keep its memory limit? The same in both directions of time. */
static bool fits(const struct wave *w) {
    for (int32_t rank = 0; rank < w->rank_count; rank++) {
        int64_t held = 0;
        for (int32_t i = 0; i < w->row_size && w->limit[rank] != INT64_MAX; i++) {
            held += w->held[w->row[rank * w->row_size + i] / w->microbatch_count];
            if (held > w->limit[rank]) {
                return false;
            }
        }
    }
    return true;
}

/* --- the passes ------------------------------------------------------------------------------- */

/* The step furthest along the chain: backwards before forwards, of these the deepest stage's. */
static int64_t first_pass(struct wave *w) {
    for (int32_t item = 0; item < w->item_count; item++) {
        w->key[item] = -(item / w->microbatch_count);
    }
    w->way = &w->forth;
    return run_pass(w);
}

/* The other direction of time: what ended last comes first. */
static int64_t next_pass(struct wave *w) {
    for (int32_t item = 0; item < w->item_count; item++) {
        w->key[item] = -w->end[w->item_count - 1 - item];
    }
    w->way = w->way == &w->forth ? &w->back : &w->forth;
    return run_pass(w);
}

static void keep(struct wave *w, int64_t ns) {
    memcpy(w->best_row, w->row, (size_t)w->item_count * sizeof *w->row);
    w->best_ns = ns;
    w->best_is_back = w->way == &w->back;
}

/* The first pass, with the most microbatches in flight that fit. */
static enum pp_status fit_first_pass(struct wave *w, struct pp_err *err) {
    int32_t fitting = 0;
    int32_t most = w->in_flight;
    while (most > 0) {
        int64_t ns = first_pass(w);
        bool fit = fits(w);
        if (fit && w->in_flight == most) {
            keep(w, ns);
            return PP_OK;
        }
        if (fit) {
            fitting = w->in_flight;
        } else {
            most = w->in_flight - 1;
        }
        w->in_flight = (fitting + most + 1) / 2;
    }
    return pp_fail(err, PP_E_LIMIT, "Hanayo: not even one microbatch at a time fits the limit");
}

static void justify(struct wave *w) {
    int32_t in_vain = 0;
    for (int32_t pass = 0; pass < MAX_PASSES && in_vain < 2; pass++) {
        int64_t ns = next_pass(w);
        in_vain++;
        if (ns < w->best_ns && fits(w)) {
            keep(w, ns);
            in_vain = 0;
        }
    }
}

/* --- setting up, writing down ----------------------------------------------------------------- */

static int32_t stage_of(const struct wave *w, int32_t step) {
    return step < w->step_count / 2 ? step : w->step_count - 1 - step;
}

/* Microbatches enough to keep the busiest rank at work while one passes the chain, with as much
 * time for waiting as for running and sending. */
static int32_t in_flight_of(const struct wave *w) {
    int64_t chain_ns = 0;
    int64_t most_ns = 1;
    int64_t *busy_ns = w->free_at; /* before the first pass */
    for (int32_t step = 0; step < w->step_count; step++) {
        int64_t *busy = &busy_ns[w->step_rank[step]];
        *busy += w->forth.duration[step];
        chain_ns += w->forth.duration[step] + w->forth.lag[step];
        most_ns = *busy > most_ns ? *busy : most_ns;
    }
    int64_t count = (2 * chain_ns + most_ns - 1) / most_ns;
    return count < 1 ? 1 : count < w->microbatch_count ? (int32_t)count : w->microbatch_count;
}

static void fill_steps(struct wave *w, const struct pp_sched *s, const struct pp_gen_model *m) {
    int32_t last = w->step_count - 1;
    for (int32_t step = 0; step <= last; step++) {
        bool forward = step < s->stage_count;
        int32_t stage = stage_of(w, step);
        w->step_rank[step] = s->stage_rank[stage];
        w->held[step] = forward ? m->adds[stage] : -m->adds[stage];
        w->forth.duration[step] = forward ? m->f_ns[stage] : m->b_ns[stage];
        w->forth.lag[step] = forward ? m->recv_f_ns[stage] : m->recv_b_ns[stage];
        w->back.duration[last - step] = w->forth.duration[step];
        if (step > 0) {
            w->back.lag[last - step + 1] = w->forth.lag[step];
        }
    }
}

static enum pp_status write_rows(const struct wave *w, struct pp_sched *s, struct pp_err *err) {
    for (int32_t rank = 0; rank < w->rank_count; rank++) {
        struct pp_gen_row row = {.s = s, .rank = rank, .status = PP_OK, .err = err};
        const int32_t *items = w->best_row + rank * w->row_size;
        for (int32_t i = 0; i < w->row_size; i++) {
            int32_t item =
                w->best_is_back ? w->item_count - 1 - items[w->row_size - 1 - i] : items[i];
            int32_t step = item / w->microbatch_count;
            pp_gen_row_add(&row, step < s->stage_count ? PP_F : PP_B, stage_of(w, step),
                           item % w->microbatch_count);
        }
        PP_TRY(row.status);
    }
    return PP_OK;
}

static enum pp_status check_hanayo(const struct pp_gen_config *c, struct pp_err *err) {
    if (c->stages_per_rank % 2 == 0) {
        return PP_OK;
    }
    pp_fail(err, PP_E_STAGES, "Hanayo needs two stages a rank for each wave: got %d",
            c->stages_per_rank);
    pp_hint(err, "nearest counts that work: %d and %d", c->stages_per_rank - 1,
            c->stages_per_rank + 1);
    return PP_E_STAGES;
}

static int64_t *take_numbers(int64_t **from_p, size_t count) {
    int64_t *piece = *from_p;
    *from_p += count;
    return piece;
}

static int32_t *take_indices(int32_t **from_p, size_t count) {
    int32_t *piece = *from_p;
    *from_p += count;
    return piece;
}

static enum pp_status wave_init(struct wave *w, const struct pp_sched *s, struct pp_err *err) {
    size_t p = (size_t)s->rank_count;
    size_t steps = 2 * (size_t)s->stage_count;
    size_t items = steps * (size_t)s->microbatch_count;
    *w = (struct wave){.rank_count = s->rank_count,
                       .microbatch_count = s->microbatch_count,
                       .step_count = (int32_t)steps,
                       .own_count = (int32_t)(steps / p),
                       .item_count = (int32_t)items,
                       .row_size = (int32_t)(items / p)};
    w->numbers = calloc(5 * steps + 2 * items + 2 * p, sizeof *w->numbers);
    w->indices = calloc(4 * steps + 2 * items + 4 * p, sizeof *w->indices);
    w->choice = calloc(p, sizeof *w->choice);
    if (w->numbers == NULL || w->indices == NULL || w->choice == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory to order %zu actions", items);
    }
    int64_t *numbers = w->numbers;
    w->forth.duration = take_numbers(&numbers, steps);
    w->forth.lag = take_numbers(&numbers, steps);
    w->back.duration = take_numbers(&numbers, steps);
    w->back.lag = take_numbers(&numbers, steps);
    w->held = take_numbers(&numbers, steps);
    w->key = take_numbers(&numbers, items);
    w->end = take_numbers(&numbers, items);
    w->free_at = take_numbers(&numbers, p);
    w->next.start_ns = take_numbers(&numbers, p);
    int32_t *indices = w->indices;
    w->step_rank = take_indices(&indices, steps);
    w->done = take_indices(&indices, steps);
    w->open = take_indices(&indices, steps);
    w->open_at = take_indices(&indices, steps);
    w->open_count = take_indices(&indices, p);
    w->row = take_indices(&indices, items);
    w->best_row = take_indices(&indices, items);
    w->row_used = take_indices(&indices, p);
    w->next.winner = take_indices(&indices, 2 * p);
    w->next.count = s->rank_count;
    return PP_OK;
}

static enum pp_status order(struct wave *w, const struct pp_gen_model *m, struct pp_sched *s,
                            struct pp_err *err) {
    fill_steps(w, s, m);
    w->limit = m->limit;
    w->in_flight = in_flight_of(w);
    PP_TRY(fit_first_pass(w, err));
    justify(w);
    return write_rows(w, s, err);
}

static enum pp_status generate_hanayo(const struct pp_gen_config *c, struct pp_sched *s,
                                      struct pp_err *err) {
    struct pp_gen_model model = {0};
    struct wave w = {0};
    PP_TRY(pp_gen_model_init(&model, c, s, err));
    enum pp_status status = wave_init(&w, s, err);
    if (status == PP_OK) {
        status = order(&w, &model, s, err);
    }
    free(w.numbers);
    free(w.indices);
    free(w.choice);
    pp_gen_model_deinit(&model);
    return status;
}

const struct pp_schedule_info pp_gen_info_hanayo = {
    .name = "Hanayo",
    .kind = PP_KIND_MULTI,
    .placement = PP_PLACE_V,
    .automodel_placement = PP_PLACE_V,
    .min_stages_per_rank = 2,
    .default_stages_per_rank = 2,
    .uses_costs = true,
    .microbatch_rule = "any; stages a rank even, two a wave",
    .bubble = "(p-1)/(v*m+p-1) for v = 2, m >= 3*p/2 and m <= 4*p, else at least",
    .memory = "min(m, 2*p) for zero p2p, at most",
    .source = "Liu et al., Hanayo, arXiv 2308.15762; order by list scheduling and justification",
    .check = check_hanayo,
    .generate = generate_hanayo,
};
