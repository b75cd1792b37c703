/* The arenas. Slots of one size are a class; a slot that has been free longest is taken first, so
 * that a gate is seldom still to be waited for. */
#include "exec/program_priv.h"

#include <stdlib.h>
#include <string.h>

struct size_class {
    int64_t bytes;
    bool on_host;
    int32_t into;          /* class that it was merged into, itself if none */
    int32_t count, peak;   /* tenants at once */
    int32_t joint_peak;    /* together with the next class */
    int32_t first, newest; /* slots that are free, longest first; -1 */
};

struct slot {
    int64_t offset;
    int32_t tenant; /* the last */
    int32_t next;   /* free after it; -1 */
};

struct planner {
    struct pp_program *program;
    const struct pp_sched *s;
    const struct pp_program_sizes *sizes;
    struct pp_tenants tenants; /* of the rank */
    int32_t *by_end;           /* [tenants.count] by free_ns */
    struct slot *slots;        /* [tenants.count] */
    int32_t slot_count;
    struct size_class *classes; /* host memory last, large sizes first */
    int32_t class_count;
    int32_t *first_stage, *next_stage; /* [rank_count], [stage_count] stages of a rank; -1 */
};

struct by_end {
    int64_t free_ns;
    int32_t tenant;
};

static int compare_ends(const void *left, const void *right) {
    const struct by_end *a = left;
    const struct by_end *b = right;
    if (a->free_ns != b->free_ns) {
        return a->free_ns < b->free_ns ? -1 : 1;
    }
    return (a->tenant > b->tenant) - (a->tenant < b->tenant);
}

static void sort_ends(struct planner *p, struct by_end *ends) {
    for (int32_t t = 0; t < p->tenants.count; t++) {
        ends[t] = (struct by_end){p->tenants.list[t].free_ns, t};
    }
    qsort(ends, (size_t)p->tenants.count, sizeof *ends, compare_ends);
    for (int32_t t = 0; t < p->tenants.count; t++) {
        p->by_end[t] = ends[t].tenant;
    }
}

/* ---- classes ---- */

static int compare_classes(const void *left, const void *right) {
    const struct size_class *a = left;
    const struct size_class *b = right;
    if (a->on_host != b->on_host) {
        return a->on_host ? 1 : -1;
    }
    return (a->bytes < b->bytes) - (a->bytes > b->bytes);
}

static void add_class(struct planner *p, int64_t bytes, bool on_host) {
    if (bytes > 0) {
        p->classes[p->class_count++] =
            (struct size_class){.bytes = pp_round_to_slot(bytes), .on_host = on_host};
    }
}

/* One a size that the rank's tenants may have. */
static void list_classes(struct planner *p, int32_t rank) {
    p->class_count = 0;
    for (int32_t stage = p->first_stage[rank]; stage >= 0; stage = p->next_stage[stage]) {
        int64_t input_bytes = pp_program_input_bytes(p->s, p->sizes, stage);
        int32_t after = pp_sched_stage_after(p->s, stage);
        add_class(p, input_bytes, false);
        add_class(p, p->sizes->stash_bytes[stage], false);
        add_class(p, pp_program_input_bytes(p->s, p->sizes, after), false);
        if (p->s->reload != NULL) {
            add_class(p, input_bytes, true);
            add_class(p, p->sizes->stash_bytes[stage], true);
        }
    }
    qsort(p->classes, (size_t)p->class_count, sizeof *p->classes, compare_classes);
    int32_t count = 0;
    for (int32_t i = 0; i < p->class_count; i++) {
        if (i == 0 || compare_classes(&p->classes[i], &p->classes[count - 1]) != 0) {
            p->classes[count++] = p->classes[i];
        }
    }
    p->class_count = count;
}

static void find_classes(struct planner *p) {
    for (int32_t t = 0; t < p->tenants.count; t++) {
        struct pp_tenant *tenant = &p->tenants.list[t];
        int32_t low = 0;
        int32_t high = p->class_count - 1;
        struct size_class key = {.bytes = tenant->bytes, .on_host = tenant->on_host};
        while (low < high) {
            int32_t middle = low + (high - low) / 2;
            if (compare_classes(&p->classes[middle], &key) < 0) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        tenant->size_class = low;
    }
}

/* How many tenants a class, and it together with the next one, holds at once. */
static void count_peaks(struct planner *p) {
    for (int32_t i = 0; i < p->class_count; i++) {
        p->classes[i].count = p->classes[i].peak = p->classes[i].joint_peak = 0;
    }
    int32_t ended = 0;
    for (int32_t t = 0; t < p->tenants.count; t++) {
        while (p->tenants.list[p->by_end[ended]].free_ns <= p->tenants.list[t].made_ns) {
            p->classes[p->tenants.list[p->by_end[ended++]].size_class].count--;
        }
        int32_t i = p->tenants.list[t].size_class;
        struct size_class *c = &p->classes[i];
        c->count++;
        c->peak = c->count > c->peak ? c->count : c->peak;
        if (i + 1 < p->class_count && c->count + c[1].count > c->joint_peak) {
            c->joint_peak = c->count + c[1].count;
        }
        if (i > 0 && c->count + c[-1].count > c[-1].joint_peak) {
            c[-1].joint_peak = c->count + c[-1].count;
        }
    }
}

/* Bytes saved if class `i` took in the next one: its slots are larger, but fewer are needed where
 * the two are not full at the same time. */
static double gain(const struct planner *p, int32_t i) {
    if (i < 0 || i + 1 >= p->class_count || p->classes[i].on_host != p->classes[i + 1].on_host) {
        return 0;
    }
    const struct size_class *c = &p->classes[i];
    return (double)c->bytes * (c->peak - c->joint_peak) + (double)c[1].bytes * c[1].peak;
}

/* Chooses merges that save memory: of neighbours that gain, those that gain more than with the
 * next. Sets `into` to the numbers to be. @return how many classes are left */
static int32_t choose_merges(struct planner *p) {
    int32_t count = 0;
    bool merged = false;
    for (int32_t i = 0; i < p->class_count; i++) {
        double with_last = merged ? 0 : gain(p, i - 1);
        merged = with_last > 0 && with_last >= gain(p, i);
        p->classes[i].into = merged ? count - 1 : count++;
    }
    return count;
}

/* @return whether any were merged */
static bool merge_classes(struct planner *p) {
    count_peaks(p);
    int32_t count = choose_merges(p);
    bool any = count < p->class_count;
    for (int32_t t = 0; any && t < p->tenants.count; t++) {
        p->tenants.list[t].size_class = p->classes[p->tenants.list[t].size_class].into;
    }
    int32_t last = -1;
    for (int32_t i = 0; any && i < p->class_count; i++) {
        int32_t into = p->classes[i].into;
        if (into != last) { /* the first of those merged is the largest */
            p->classes[into] = p->classes[i];
        }
        last = into;
    }
    p->class_count = count;
    return any;
}

/* ---- slots ---- */

static enum pp_status new_slot(struct planner *p, int32_t rank, const struct size_class *c,
                               int32_t *slot_p, struct pp_err *err) {
    int64_t *bytes = c->on_host ? &p->program->host_bytes[rank] : &p->program->arena_bytes[rank];
    int64_t offset = *bytes;
    if (!pp_add_i64(offset, c->bytes, bytes)) {
        return pp_fail(err, PP_E_RANGE, "the %s of rank %d is above 2^63 bytes",
                       c->on_host ? "host arena" : "arena", rank);
    }
    p->slots[p->slot_count] = (struct slot){.offset = offset, .next = -1};
    *slot_p = p->slot_count++;
    return PP_OK;
}

static void free_slot(struct planner *p, int32_t number) {
    struct size_class *c = &p->classes[p->tenants.list[p->slots[number].tenant].size_class];
    p->slots[number].next = -1;
    if (c->first < 0) {
        c->first = number;
    } else {
        p->slots[c->newest].next = number;
    }
    c->newest = number;
}

/* Takes the slot that is free longest, with a gate where needed: compute of the rank before `first`
 * has ended anyway. */
static void reuse_slot(struct planner *p, struct size_class *c, const struct pp_tenant *t) {
    const struct pp_tenant *before = &p->tenants.list[p->slots[c->first].tenant];
    if (!pp_action_is_compute(&p->s->actions[before->last])) {
        pp_bound_wait(&p->program->bound[t->first], before->last);
    }
    PP_ASSERT(before->last < t->first);
    c->first = p->slots[c->first].next;
}

static enum pp_status assign_slots(struct planner *p, int32_t rank, struct pp_err *err) {
    p->slot_count = 0;
    for (int32_t i = 0; i < p->class_count; i++) {
        p->classes[i].first = p->classes[i].newest = -1;
    }
    int32_t ended = 0;
    for (int32_t i = 0; i < p->tenants.count; i++) {
        struct pp_tenant *t = &p->tenants.list[i];
        while (p->tenants.list[p->by_end[ended]].free_ns <= t->made_ns) {
            free_slot(p, p->tenants.list[p->by_end[ended++]].slot);
        }
        struct size_class *c = &p->classes[t->size_class];
        if (c->first < 0) {
            PP_TRY(new_slot(p, rank, c, &t->slot, err));
        } else {
            t->slot = c->first;
            reuse_slot(p, c, t);
        }
        p->slots[t->slot].tenant = i;
    }
    return PP_OK;
}

static void set_offset(const struct planner *p, int64_t *number_p) {
    *number_p = *number_p < 0 ? -1 : p->slots[p->tenants.list[*number_p].slot].offset;
}

static void set_offsets(struct planner *p, int32_t rank) {
    for (int32_t at = p->s->rank_begin[rank]; at < p->s->rank_begin[rank + 1]; at++) {
        struct pp_bound *b = &p->program->bound[at];
        set_offset(p, &b->input);
        set_offset(p, &b->output);
        set_offset(p, &b->output_grad);
        set_offset(p, &b->input_grad);
        set_offset(p, &b->stash);
        set_offset(p, &b->host_input);
        set_offset(p, &b->host_stash);
        set_offset(p, &b->message);
    }
}

/* ---- all ranks ---- */

enum { MERGE_ROUNDS = 8 };

static enum pp_status plan_rank(struct planner *p, int32_t rank, struct by_end *ends,
                                struct pp_err *err) {
    pp_tenants_find(&p->tenants, rank);
    sort_ends(p, ends);
    list_classes(p, rank);
    find_classes(p);
    for (int32_t round = 0; round < MERGE_ROUNDS && merge_classes(p); round++) {
    }
    PP_TRY(assign_slots(p, rank, err));
    set_offsets(p, rank);
    return PP_OK;
}

static void link_stages(struct planner *p) {
    memset(p->first_stage, -1, (size_t)p->s->rank_count * sizeof *p->first_stage);
    for (int32_t stage = p->s->stage_count - 1; stage >= 0; stage--) {
        int32_t *first = &p->first_stage[p->s->stage_rank[stage]];
        p->next_stage[stage] = *first;
        *first = stage;
    }
}

/* Most tenants of a rank: two an F, OFFLOAD or RELOAD, one an I, B or RECV. */
static int32_t most_tenants(const struct pp_sched *s) {
    int32_t most = 0;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        int32_t count = 0;
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
            const struct pp_action *a = &s->actions[at];
            bool makes = a->type == PP_F || a->type == PP_I || a->type == PP_B ||
                         a->type == PP_RECV_F || a->type == PP_RECV_B;
            count += makes + (a->type == PP_F) + 2 * pp_action_is_offload(a);
        }
        most = count > most ? count : most;
    }
    return most;
}

enum pp_status pp_program_plan_slots(struct pp_program *program,
                                     const struct pp_program_source *source, struct pp_err *err) {
    const struct pp_sched *s = program->sched;
    struct planner p = {.program = program, .s = s, .sizes = source->sizes};
    p.tenants = (struct pp_tenants){
        .program = program, .s = s, .sizes = source->sizes, .expected = source->expected};
    size_t units = (size_t)s->stage_count * (size_t)s->microbatch_count;
    size_t tenants = (size_t)most_tenants(s) + 1;
    size_t stages = (size_t)s->stage_count;
    struct by_end *ends = malloc(tenants * sizeof *ends);
    p.tenants.units = malloc(units * sizeof *p.tenants.units);
    p.tenants.list = malloc(tenants * sizeof *p.tenants.list);
    p.by_end = malloc(tenants * sizeof *p.by_end);
    p.slots = malloc(tenants * sizeof *p.slots);
    p.classes = malloc(5 * stages * sizeof *p.classes);
    p.first_stage = malloc((size_t)s->rank_count * sizeof *p.first_stage);
    p.next_stage = malloc(stages * sizeof *p.next_stage);
    enum pp_status status = PP_OK;
    if (ends == NULL || p.tenants.units == NULL || p.tenants.list == NULL || p.by_end == NULL ||
        p.slots == NULL || p.classes == NULL || p.first_stage == NULL || p.next_stage == NULL) {
        status =
            pp_fail(err, PP_E_NOMEM, "out of memory to plan the arenas of %d ranks", s->rank_count);
    } else {
        memset(p.tenants.units, -1, units * sizeof *p.tenants.units);
        link_stages(&p);
    }
    for (int32_t rank = 0; rank < s->rank_count && status == PP_OK; rank++) {
        status = plan_rank(&p, rank, ends, err);
    }
    free(ends);
    free(p.tenants.units);
    free(p.tenants.list);
    free(p.by_end);
    free(p.slots);
    free(p.classes);
    free(p.first_stage);
    free(p.next_stage);
    return status;
}
