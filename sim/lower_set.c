/* The order in which CPython walks a set of small ints (Objects/setobject.c of 3.11 and 3.14, told
 * apart by experiment): an open hash table with linear runs and perturbed jumps, tombstones, and a
 * rebuild when it is three fifths full. */
#include "sim/lower_priv.h"

enum { LEAST_SLOTS = 8, RUN = 9, PERTURB_SHIFT = 5 };

int32_t pp_stage_set_most_slots(int32_t most) {
    int32_t count = LEAST_SLOTS;
    while (count <= 4 * most) {
        count *= 2;
    }
    return count;
}

static void clear(int32_t *slots, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        slots[i] = PP_STAGE_SET_EMPTY;
    }
}

void pp_stage_set_clear(struct pp_stage_set *set) {
    set->slot_count = LEAST_SLOTS;
    set->used = 0;
    set->filled = 0;
    clear(set->slots, LEAST_SLOTS);
}

/* Where a walk for `stage` stops: at it, or at the first empty slot. *removed_p: the last tombstone
 * on the way, or -1. */
static int32_t find(const struct pp_stage_set *set, int32_t stage, int32_t *removed_p) {
    uint32_t mask = (uint32_t)set->slot_count - 1;
    uint32_t perturb = (uint32_t)stage;
    uint32_t at = perturb & mask;
    *removed_p = -1;
    for (;;) {
        uint32_t last = at + RUN <= mask ? at + RUN : at;
        for (uint32_t i = at; i <= last; i++) {
            int32_t key = set->slots[i];
            if (key == stage || key == PP_STAGE_SET_EMPTY) {
                return (int32_t)i;
            }
            if (key == PP_STAGE_SET_REMOVED) {
                *removed_p = (int32_t)i;
            }
        }
        perturb >>= PERTURB_SHIFT;
        at = (5 * at + 1 + perturb) & mask;
    }
}

/* Rebuilds without tombstones, in slot order. */
static void rebuild(struct pp_stage_set *set, int32_t *spare) {
    int32_t old_count = set->slot_count;
    for (int32_t i = 0; i < old_count; i++) {
        spare[i] = set->slots[i];
    }
    set->slot_count = pp_stage_set_most_slots(set->used);
    set->filled = set->used;
    clear(set->slots, set->slot_count);
    for (int32_t i = 0; i < old_count; i++) {
        if (spare[i] >= 0) {
            int32_t removed = -1;
            set->slots[find(set, spare[i], &removed)] = spare[i];
        }
    }
}

void pp_stage_set_add(struct pp_stage_set *set, int32_t stage, int32_t *spare) {
    int32_t removed = -1;
    int32_t at = find(set, stage, &removed);
    set->used++;
    if (removed >= 0) {
        set->slots[removed] = stage;
        return;
    }
    set->slots[at] = stage;
    set->filled++;
    if (5 * set->filled >= 3 * (set->slot_count - 1)) {
        rebuild(set, spare);
    }
}

void pp_stage_set_remove(struct pp_stage_set *set, int32_t stage) {
    int32_t removed = -1;
    set->slots[find(set, stage, &removed)] = PP_STAGE_SET_REMOVED;
    set->used--;
}
