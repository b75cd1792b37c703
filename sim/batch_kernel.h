/**
 * @file batch_kernel.h
 * Private to the batch: its sweep, written once. A file that includes it says with what
 * instructions, by these macros:
 *   KERNEL_NAME           the function
 *   KERNEL_TARGET         attribute of all functions
 *   KERNEL_VECTORS        how many vectors hold the lanes
 *   kernel_vector         type; kernel_load, kernel_store, kernel_add, kernel_max on it
 */
#include "sim/batch_priv.h"

/* The lanes of one figure, in registers. */
struct kernel_lanes {
    kernel_vector v[KERNEL_VECTORS];
};

KERNEL_TARGET static inline struct kernel_lanes lanes_load(const struct pp_batch_lanes *from) {
    struct kernel_lanes x;
    for (int i = 0; i < KERNEL_VECTORS; i++) {
        x.v[i] = kernel_load(&from->ns[i * (PP_BATCH_LANES / KERNEL_VECTORS)]);
    }
    return x;
}

KERNEL_TARGET static inline void lanes_store(struct pp_batch_lanes *to, struct kernel_lanes x) {
    for (int i = 0; i < KERNEL_VECTORS; i++) {
        kernel_store(&to->ns[i * (PP_BATCH_LANES / KERNEL_VECTORS)], x.v[i]);
    }
}

KERNEL_TARGET static inline struct kernel_lanes lanes_add(struct kernel_lanes x,
                                                          struct kernel_lanes y) {
    for (int i = 0; i < KERNEL_VECTORS; i++) {
        x.v[i] = kernel_add(x.v[i], y.v[i]);
    }
    return x;
}

KERNEL_TARGET static inline struct kernel_lanes lanes_max(struct kernel_lanes x,
                                                          struct kernel_lanes y) {
    for (int i = 0; i < KERNEL_VECTORS; i++) {
        x.v[i] = kernel_max(x.v[i], y.v[i]);
    }
    return x;
}

/* When the input of an action arrives. */
KERNEL_TARGET static inline struct kernel_lanes input_at(const struct pp_batch_work *w,
                                                         uint64_t word) {
    return lanes_add(lanes_load(&w->slots[pp_sweep_in(word)]),
                     lanes_load(&w->costs[pp_sweep_key(word)].transfer));
}

/* One run, action by action. @return when its rank is free */
KERNEL_TARGET static inline struct kernel_lanes run_in_order(const struct pp_batch_work *w,
                                                             const uint64_t *word, int32_t count,
                                                             struct kernel_lanes free_at) {
    struct pp_batch_lanes *slots = w->slots;
    const struct pp_batch_cost *costs = w->costs;
    for (const uint64_t *until = word + count; word < until; word++) {
        const struct pp_batch_cost *cost = &costs[pp_sweep_key(*word)];
        struct kernel_lanes input =
            lanes_add(lanes_load(&slots[pp_sweep_in(*word)]), lanes_load(&cost->transfer));
        free_at = lanes_add(lanes_max(free_at, input), lanes_load(&cost->duration));
        lanes_store(&slots[pp_sweep_out(*word)], free_at);
    }
    return free_at;
}

/* The same with pairs as one: both parts start when both could, and end together. */
KERNEL_TARGET static inline struct kernel_lanes run_as_one(const struct pp_batch_work *w,
                                                           const uint64_t *word,
                                                           struct pp_sweep_run run,
                                                           struct kernel_lanes free_at) {
    const struct pp_action *a = &w->s->actions[run.at];
    for (const struct pp_action *end = a + run.count; a < end; a++, word++) {
        struct kernel_lanes start = lanes_max(free_at, input_at(w, *word));
        const struct pp_batch_lanes *duration = &w->costs[pp_sweep_key(*word)].duration;
        uint64_t first = *word;
        if (a->pair == 1) {
            duration = &w->pairs[a->stage];
            start = lanes_max(start, input_at(w, *++word));
            a++;
        }
        free_at = lanes_add(start, lanes_load(duration));
        lanes_store(&w->slots[pp_sweep_out(first)], free_at);
        lanes_store(&w->slots[pp_sweep_out(*word)], free_at);
    }
    return free_at;
}

/* A rank's first action starts when its input arrives; a pair as one when both do. */
KERNEL_TARGET static void note_first(const struct pp_batch_work *w, struct pp_sweep_run run,
                                     const uint64_t *word, bool as_one) {
    struct kernel_lanes start = input_at(w, *word);
    if (as_one && w->s->actions[run.at].pair == 1) {
        start = lanes_max(start, input_at(w, word[1]));
    }
    lanes_store(&w->first[run.rank], start);
}

KERNEL_TARGET void KERNEL_NAME(const struct pp_batch_work *w, bool as_one) {
    const uint64_t *last = w->sweep.words + w->sweep.word_count;
    for (const uint64_t *word = w->sweep.words; word < last;) {
        struct pp_sweep_run run = pp_sweep_run_of(*word++);
        if (run.is_first) {
            note_first(w, run, word, as_one);
        }
        struct kernel_lanes free_at = lanes_load(&w->last[run.rank]);
        free_at =
            as_one ? run_as_one(w, word, run, free_at) : run_in_order(w, word, run.count, free_at);
        lanes_store(&w->last[run.rank], free_at);
        word += run.count;
    }
}
