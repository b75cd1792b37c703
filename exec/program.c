/* What an action of the program is bound to but its buffers: channel and number of its message, and
 * what it waits for. */
#include "exec/program_priv.h"

#include <stdlib.h>
#include <string.h>

int32_t pp_program_copy_of(const struct pp_program *program, int32_t stage) {
    const struct pp_sched *s = program->sched;
    if (s->part_count == s->stage_count) {
        return -1;
    }
    return stage < s->part_count ? stage + s->part_count : stage - s->part_count;
}

/* ---- channels ---- */

enum { OF_EXCHANGE = PP_TRANSFER_TYPE_COUNT, OF_COUNT };

struct channels {
    struct pp_program *program;
    int32_t (*of)[OF_COUNT];  /* [stage_count] channel by type of SEND or RECV; of the exchange the
                                 outgoing one; -1 */
    int32_t *sent, *received; /* [channel_count] so far */
    bool exchanges;
};

/* The channel of a stage's messages of one kind. @return whether there is one */
static bool channel_of(const struct channels *c, int32_t stage, int32_t kind,
                       struct pp_channel *channel_p) {
    const struct pp_sched *s = c->program->sched;
    int32_t peer;
    if (kind == OF_EXCHANGE) {
        peer = c->exchanges ? pp_program_copy_of(c->program, stage) : -1;
    } else {
        int32_t type = kind + PP_SEND_F;
        peer = type == PP_SEND_F || type == PP_RECV_B ? pp_sched_stage_after(s, stage)
                                                      : pp_sched_stage_before(s, stage);
    }
    if (peer < 0 || s->stage_rank[peer] == s->stage_rank[stage]) {
        return false;
    }
    bool comes_in = kind == PP_RECV_F - PP_SEND_F || kind == PP_RECV_B - PP_SEND_F;
    *channel_p = (struct pp_channel){.from_rank = s->stage_rank[comes_in ? peer : stage],
                                     .to_rank = s->stage_rank[comes_in ? stage : peer],
                                     .copies = kind == OF_EXCHANGE};
    return true;
}

static int compare_channels(const void *left, const void *right) {
    const struct pp_channel *a = left;
    const struct pp_channel *b = right;
    if (a->from_rank != b->from_rank) {
        return a->from_rank < b->from_rank ? -1 : 1;
    }
    if (a->to_rank != b->to_rank) {
        return a->to_rank < b->to_rank ? -1 : 1;
    }
    return (a->copies > b->copies) - (a->copies < b->copies);
}

static enum pp_status list_channels(struct channels *c, struct pp_err *err) {
    struct pp_program *p = c->program;
    size_t stages = (size_t)p->sched->stage_count;
    p->channels = malloc(stages * OF_COUNT * sizeof *p->channels);
    if (p->channels == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the channels of %zu stages", stages);
    }
    int32_t count = 0;
    for (int32_t i = 0; i < p->sched->stage_count * OF_COUNT; i++) {
        count += channel_of(c, i / OF_COUNT, i % OF_COUNT, &p->channels[count]);
    }
    qsort(p->channels, (size_t)count, sizeof *p->channels, compare_channels);
    for (int32_t i = 0; i < count; i++) {
        if (i == 0 || compare_channels(&p->channels[i], &p->channels[i - 1]) != 0) {
            p->channels[p->channel_count++] = p->channels[i];
        }
    }
    for (int32_t i = 0; i < p->sched->stage_count * OF_COUNT; i++) {
        struct pp_channel key;
        int32_t *of = &c->of[i / OF_COUNT][i % OF_COUNT];
        *of = -1;
        if (channel_of(c, i / OF_COUNT, i % OF_COUNT, &key)) {
            const struct pp_channel *found =
                bsearch(&key, p->channels, (size_t)p->channel_count, sizeof key, compare_channels);
            *of = (int32_t)(found - p->channels);
        }
    }
    return PP_OK;
}

static enum pp_status number_message(struct channels *c, int32_t at, struct pp_err *err) {
    struct pp_program *p = c->program;
    const struct pp_action *a = &p->sched->actions[at];
    struct pp_bound *b = &p->bound[at];
    if (a->type == PP_REDUCE_GRAD && c->exchanges) {
        if (a->microbatch >= 0) {
            return pp_fail(err, PP_E_ARG,
                           "stage %d exchanges gradients with its copy, stage %d, more than once: "
                           "lower without reduce_every",
                           a->stage, pp_program_copy_of(p, a->stage));
        }
        b->channel = c->of[a->stage][OF_EXCHANGE];
        if (b->channel >= 0) {
            b->sequence = c->sent[b->channel]++;
            p->channels[b->channel].message_count++;
        }
    } else if (a->type >= PP_SEND_F && a->type <= PP_RECV_B) {
        b->channel = c->of[a->stage][a->type - PP_SEND_F];
        bool is_send = a->type == PP_SEND_F || a->type == PP_SEND_B;
        b->sequence = is_send ? c->sent[b->channel]++ : c->received[b->channel]++;
        p->channels[b->channel].message_count += is_send;
    }
    return PP_OK;
}

/* Do the k-th of both sides belong together? */
static enum pp_status check_numbers(const struct channels *c, struct pp_err *err) {
    const struct pp_program *p = c->program;
    const struct pp_sched *s = p->sched;
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        if ((a->type == PP_RECV_F || a->type == PP_RECV_B) &&
            p->bound[at].sequence != p->bound[s->producer[at]].sequence) {
            char text[PP_ACTION_TEXT_BYTES];
            enum pp_status status = pp_fail(
                err, PP_E_ARG,
                "%s of rank %d is receive %d of its channel, but what it is to get is send %d",
                pp_action_text(a, text), s->stage_rank[a->stage], p->bound[at].sequence,
                p->bound[s->producer[at]].sequence);
            pp_hint(err, "lower the compute order with PP_LOWER_OURS");
            return status;
        }
    }
    return PP_OK;
}

static enum pp_status bind_channels(struct pp_program *p, struct pp_err *err) {
    const struct pp_sched *s = p->sched;
    size_t stages = (size_t)s->stage_count;
    struct channels c = {.program = p};
    int32_t *block = calloc(stages * 3 * OF_COUNT, sizeof *block);
    if (block == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the channels of %zu stages", stages);
    }
    c.of = (int32_t(*)[OF_COUNT])block;
    c.sent = block + stages * OF_COUNT;
    c.received = c.sent + stages * OF_COUNT;
    for (int32_t at = 0; at < s->action_count && !c.exchanges; at++) {
        c.exchanges = s->actions[at].type == PP_REDUCE_GRAD && s->part_count < s->stage_count;
    }
    enum pp_status status = list_channels(&c, err);
    for (int32_t at = 0; at < s->action_count && status == PP_OK; at++) {
        status = number_message(&c, at, err);
    }
    if (status == PP_OK) {
        status = check_numbers(&c, err);
    }
    free(block);
    return status;
}

/* ---- waits ---- */

/* Of the stages, the last so far; -1. */
struct gathered {
    int32_t unshard, reshard;
};

/* What compute on the same rank must stand before compute action `at`? A schedule sealed does not
 * promise it: to run in another order would be to wait for itself. */
static enum pp_status check_order(const struct pp_sched *s, int32_t at, struct pp_err *err) {
    int32_t producer = s->producer[at];
    if (producer < at || !pp_action_is_compute(&s->actions[producer]) ||
        s->stage_rank[s->actions[producer].stage] != s->stage_rank[s->actions[at].stage]) {
        return PP_OK;
    }
    char text[PP_ACTION_TEXT_BYTES];
    char other[PP_ACTION_TEXT_BYTES];
    return pp_fail(err, PP_E_DEADLOCK, "rank %d runs %s before %s, which makes its input",
                   s->stage_rank[s->actions[at].stage], pp_action_text(&s->actions[at], text),
                   pp_action_text(&s->actions[producer], other));
}

static void wait_for_compute(struct pp_program *p, int32_t at, int32_t before) {
    if (before >= 0) {
        pp_bound_wait(&p->bound[at], before);
    }
    if (before >= 0 && p->sched->actions[before].pair == 2) {
        pp_bound_wait(&p->bound[at], before - 1); /* the two may end in either order */
    }
}

static void wait_for_inputs(struct pp_program *p, int32_t at, const struct gathered *of_stage) {
    const struct pp_sched *s = p->sched;
    const struct pp_action *a = &s->actions[at];
    struct pp_bound *b = &p->bound[at];
    int32_t producer = a->type == PP_W ? -1 : s->producer[at];
    if (producer >= 0 && !pp_action_is_compute(&s->actions[producer])) {
        pp_bound_wait(b, producer);
    }
    if (s->reload != NULL && s->reload[at] >= 0) {
        pp_bound_wait(b, s->reload[at]);
    }
    if (of_stage->unshard >= 0) {
        pp_bound_wait(b, of_stage->unshard);
    }
    bool same = a->pair == 2 && a[-1].stage == a->stage && a[-1].microbatch == a->microbatch;
    if (a->pair == 2 && (same || producer == at - 1)) {
        pp_bound_wait(b, at - 1);
    }
}

static enum pp_status bind_waits(struct pp_program *p, struct pp_err *err) {
    const struct pp_sched *s = p->sched;
    struct gathered *gathered = malloc((size_t)s->stage_count * sizeof *gathered);
    if (gathered == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d stages", s->stage_count);
    }
    memset(gathered, -1, (size_t)s->stage_count * sizeof *gathered);
    enum pp_status status = PP_OK;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        int32_t compute = -1;
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
            const struct pp_action *a = &s->actions[at];
            struct gathered *of_stage = &gathered[a->stage];
            if (pp_action_is_compute(a)) {
                status = status == PP_OK ? check_order(s, at, err) : status;
                wait_for_inputs(p, at, of_stage);
                compute = at;
                continue;
            }
            wait_for_compute(p, at, compute);
            if (a->type == PP_UNSHARD) {
                if (of_stage->reshard >= 0) {
                    pp_bound_wait(&p->bound[at], of_stage->reshard);
                }
                of_stage->unshard = at;
            } else if (a->type == PP_RESHARD) {
                of_stage->reshard = at;
            }
        }
    }
    free(gathered);
    return status;
}

/* ---- the object ---- */

static enum pp_status check_sizes(const struct pp_sched *s, const struct pp_program_sizes *sizes,
                                  struct pp_err *err) {
    static const char *const names[] = {"input", "stash", "fixed"};
    const int64_t *const figures[] = {sizes->input_bytes, sizes->stash_bytes, sizes->fixed_bytes};
    for (int32_t kind = 0; kind < 3; kind++) {
        for (int32_t stage = 0; figures[kind] != NULL && stage < s->stage_count; stage++) {
            if (kind == 0 && pp_sched_stage_before(s, stage) < 0) {
                continue;
            }
            int64_t bytes = figures[kind][stage];
            if (bytes < 0 || bytes >= PP_PROGRAM_MAX_BYTES) {
                return pp_fail(err, PP_E_RANGE,
                               "%s_bytes of stage %d: got %lld, need 0 to 2^50 - 1", names[kind],
                               stage, (long long)bytes);
            }
        }
    }
    return PP_OK;
}

static enum pp_status set_fixed(struct pp_program *p, const int64_t *fixed_bytes,
                                struct pp_err *err) {
    const struct pp_sched *s = p->sched;
    for (int32_t stage = 0; fixed_bytes != NULL && stage < s->stage_count; stage++) {
        int64_t *sum = &p->fixed_bytes[s->stage_rank[stage]];
        if (!pp_add_i64(*sum, fixed_bytes[stage], sum)) {
            return pp_fail(err, PP_E_RANGE, "rank %d: fixed_bytes of its stages are above 2^63",
                           s->stage_rank[stage]);
        }
    }
    return PP_OK;
}

static void set_expected(struct pp_program *p, const struct pp_trace *expected) {
    for (int32_t at = 0; at < p->sched->action_count; at++) {
        p->expected_ns[at] = expected->end_ns[at] - expected->start_ns[at];
        p->expected_makespan_ns = pp_max_i64(p->expected_makespan_ns, expected->end_ns[at]);
    }
}

static void hash_words(struct pp_sha256 *h, const int64_t *words, int32_t count) {
    pp_sha256_add(h, words, (size_t)count * sizeof *words);
}

/* Of all that says what is run; little-endian machines agree. */
static void set_hash(struct pp_program *p, const struct pp_program_sizes *sizes) {
    const struct pp_sched *s = p->sched;
    struct pp_sha256 h;
    pp_sha256_begin(&h);
    hash_words(&h,
               (const int64_t[]){s->rank_count, s->stage_count, s->microbatch_count, s->part_count,
                                 s->slice_count, s->action_count},
               6);
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        hash_words(&h,
                   (const int64_t[]){s->stage_rank[stage], pp_program_input_bytes(s, sizes, stage),
                                     sizes->stash_bytes[stage],
                                     sizes->fixed_bytes != NULL ? sizes->fixed_bytes[stage] : 0},
                   4);
    }
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        uint32_t word[3] = {(uint32_t)a->stage, (uint32_t)a->microbatch,
                            (uint32_t)a->type << 8 | a->pair};
        pp_sha256_add(&h, word, sizeof word);
    }
    pp_sha256_end(&h, p->hash);
}

static enum pp_status fill(struct pp_program *p, const struct pp_program_source *source,
                           struct pp_err *err) {
    PP_TRY(set_fixed(p, source->sizes->fixed_bytes, err));
    PP_TRY(bind_channels(p, err));
    PP_TRY(bind_waits(p, err));
    PP_TRY(pp_program_check_expected(p, source->expected, err));
    PP_TRY(pp_program_plan_slots(p, source, err));
    PP_TRY(pp_program_check_expected(p, source->expected, err)); /* now with gates */
    PP_TRY(pp_program_run_on_paper(p, err));
    set_expected(p, source->expected);
    set_hash(p, source->sizes);
    return PP_OK;
}

static bool allocate(struct pp_program *p) {
    size_t actions = (size_t)p->sched->action_count;
    size_t ranks = (size_t)p->sched->rank_count;
    p->bound = malloc(actions * sizeof *p->bound);
    p->expected_ns = malloc(actions * sizeof *p->expected_ns);
    p->arena_bytes = calloc(ranks, sizeof *p->arena_bytes);
    p->host_bytes = calloc(ranks, sizeof *p->host_bytes);
    p->fixed_bytes = calloc(ranks, sizeof *p->fixed_bytes);
    if (p->bound == NULL || p->expected_ns == NULL || p->arena_bytes == NULL ||
        p->host_bytes == NULL || p->fixed_bytes == NULL) {
        return false;
    }
    for (size_t at = 0; at < actions; at++) {
        p->bound[at] = (struct pp_bound){.input = -1,
                                         .output = -1,
                                         .output_grad = -1,
                                         .input_grad = -1,
                                         .stash = -1,
                                         .host_input = -1,
                                         .host_stash = -1,
                                         .message = -1,
                                         .channel = -1};
    }
    return true;
}

enum pp_status pp_program_create(const struct pp_sched *lowered,
                                 const struct pp_program_sizes *sizes,
                                 const struct pp_trace *expected, struct pp_program **program_p,
                                 struct pp_err *err) {
    PP_ASSERT(lowered->sealed && expected->sched == lowered);
    if (!lowered->lowered) {
        return pp_fail(err, PP_E_ARG, "the schedule is compute-only: a program needs its messages");
    }
    PP_TRY(check_sizes(lowered, sizes, err));
    struct pp_program *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for a program");
    }
    p->sched = lowered;
    struct pp_program_source source = {.sizes = sizes, .expected = expected};
    enum pp_status status =
        allocate(p) ? fill(p, &source, err)
                    : pp_fail(err, PP_E_NOMEM, "out of memory for a program of %d actions",
                              lowered->action_count);
    if (status != PP_OK) {
        pp_program_destroy(p);
        return status;
    }
    *program_p = p;
    return PP_OK;
}

void pp_program_destroy(struct pp_program *program) {
    if (program == NULL) {
        return;
    }
    free(program->bound);
    free(program->channels);
    free(program->arena_bytes);
    free(program->host_bytes);
    free(program->fixed_bytes);
    free(program->expected_ns);
    free(program);
}

int32_t pp_program_receiver(const struct pp_program *program, int32_t send) {
    const struct pp_sched *s = program->sched;
    int32_t rank = program->channels[program->bound[send].channel].to_rank;
    int32_t at = s->rank_begin[rank];
    while (s->producer[at] != send) {
        at++;
        PP_ASSERT(at < s->rank_begin[rank + 1]); /* seal saw to it */
    }
    return at;
}
