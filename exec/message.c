/* Envelopes and checksums. Every step of the checksum is a bijection of the word that goes in and
 * of what was there before, so that no change within one word goes unseen. */
#include "exec/message.h"
#include "exec/where.h"

#include <stdio.h>
#include <string.h>

static const uint64_t MAGIC = 0x706970656d736731; /* "pipemsg1" */

enum { LANES = 8, WORD = sizeof(uint64_t), BLOCK = LANES * WORD };

/* ---- where ---- */

const char *pp_where(const struct pp_sched *s, int32_t action, char out[PP_WHERE_BYTES]) {
    const struct pp_action *a = &s->actions[action];
    char text[PP_ACTION_TEXT_BYTES];
    pp_action_text(a, text);
    if (a->microbatch >= 0) {
        snprintf(out, PP_WHERE_BYTES, "rank %d stage %d microbatch %d: %s", pp_rank_of(s, action),
                 a->stage, a->microbatch, text);
    } else {
        snprintf(out, PP_WHERE_BYTES, "rank %d stage %d: %s", pp_rank_of(s, action), a->stage,
                 text);
    }
    return out;
}

/* ---- checksum ---- */

static inline uint64_t mix(uint64_t state, uint64_t word) {
    uint64_t x = state ^ word;
    x ^= x >> 32; /* so that high bits, too, change many */
    return x * 0x9e3779b97f4a7c15;
}

static inline void mix_block(uint64_t lanes[LANES], const unsigned char *bytes) {
    uint64_t words[LANES];
    memcpy(words, bytes, BLOCK);
    for (int i = 0; i < LANES; i++) {
        lanes[i] = mix(lanes[i], words[i]);
    }
}

uint64_t pp_checksum(const void *data, size_t size) {
    uint64_t lanes[LANES] = {1, 2, 3, 4, 5, 6, 7, 8};
    const unsigned char *bytes = data;
    size_t left = size;
    for (; left >= BLOCK; left -= BLOCK, bytes += BLOCK) {
        mix_block(lanes, bytes);
    }
    if (left > 0) {
        unsigned char last[BLOCK] = {0};
        memcpy(last, bytes, left);
        mix_block(lanes, last);
    }
    uint64_t sum = size;
    for (int i = 0; i < LANES; i++) {
        sum = mix(sum, lanes[i]);
    }
    return sum ^ sum >> 32;
}

/* ---- envelope ---- */

static uint64_t program_id(const struct pp_program *program) {
    uint64_t id;
    memcpy(&id, program->hash, sizeof id);
    return id;
}

void pp_envelope_fill(struct pp_envelope *e, const struct pp_message *m, int64_t posted_ns) {
    if (m->envelope != NULL) {
        *e = *m->envelope;
        e->posted_ns = posted_ns;
        return;
    }
    const struct pp_action *a = &m->program->sched->actions[m->index];
    *e = (struct pp_envelope){.magic = MAGIC,
                              .program = program_id(m->program),
                              .step = m->step,
                              .channel = m->channel,
                              .sequence = m->sequence,
                              .stage = a->stage,
                              .microbatch = a->microbatch,
                              .type = a->type,
                              .bytes = m->bytes,
                              .checksum = pp_checksum(m->data, (size_t)m->bytes),
                              .posted_ns = posted_ns};
}

/* What a RECV is to get: its SEND, or of an exchange the other copy's REDUCE_GRAD, whose number may
 * be another one. */
static struct pp_action awaited(const struct pp_message *m, const struct pp_envelope *e) {
    const struct pp_sched *s = m->program->sched;
    struct pp_action a = s->actions[m->index];
    if (a.type == PP_REDUCE_GRAD) {
        a.stage = pp_program_copy_of(m->program, a.stage);
        a.microbatch = e->microbatch;
        return a;
    }
    return s->actions[s->producer[m->index]];
}

static enum pp_status wrong(const struct pp_message *m, const char *what, struct pp_err *err) {
    char where[PP_WHERE_BYTES];
    const struct pp_channel *channel = &m->program->channels[m->channel];
    return pp_fail(err, PP_E_RUN, "%s, message %d from rank %d to rank %d in step %lld: %s",
                   pp_where(m->program->sched, m->index, where), m->sequence, channel->from_rank,
                   channel->to_rank, (long long)m->step, what);
}

static const char *name_of(const struct pp_envelope *e, char out[PP_ACTION_TEXT_BYTES]) {
    struct pp_action a = {.stage = e->stage, .microbatch = e->microbatch};
    if (e->type < 0 || e->type >= PP_ACTION_TYPE_COUNT) {
        snprintf(out, PP_ACTION_TEXT_BYTES, "type %d", e->type);
        return out;
    }
    a.type = (uint8_t)e->type;
    return pp_action_text(&a, out);
}

/* Is it of this run, this step, this channel? */
static enum pp_status check_origin(const struct pp_envelope *e, const struct pp_message *m,
                                   struct pp_err *err) {
    char what[256];
    if (e->magic != MAGIC) {
        return wrong(m, "what came is no message of a pipeline", err);
    }
    if (e->program != program_id(m->program)) {
        return wrong(m, "what came is of another program; all processes must run the same", err);
    }
    if (e->step != m->step) {
        snprintf(what, sizeof what, "a message of step %lld came: %s", (long long)e->step,
                 e->step < m->step ? "it was sent twice, or one of that step was lost"
                                   : "one or more were lost");
        return wrong(m, what, err);
    }
    if (e->channel != m->channel) {
        snprintf(what, sizeof what, "a message of channel %d came, not of channel %d", e->channel,
                 m->channel);
        return wrong(m, what, err);
    }
    return PP_OK;
}

static enum pp_status check_content(const struct pp_envelope *e, const struct pp_message *m,
                                    const void *data, struct pp_err *err) {
    struct pp_action a = awaited(m, e);
    char came[PP_ACTION_TEXT_BYTES];
    char due[PP_ACTION_TEXT_BYTES];
    char what[256];
    pp_action_text(&a, due);
    name_of(e, came);
    if (e->sequence > m->sequence) {
        snprintf(what, sizeof what,
                 "%s came too early, as message %d; %s and what else was to come before it were "
                 "lost or overtaken",
                 came, e->sequence, due);
    } else if (e->sequence < m->sequence) {
        snprintf(what, sizeof what, "%s came too late, as message %d again (doubled); due is %s",
                 came, e->sequence, due);
    } else if (e->stage != a.stage || e->microbatch != a.microbatch || e->type != a.type) {
        snprintf(what, sizeof what, "%s came in place of %s", came, due);
    } else if (e->bytes != m->bytes) {
        snprintf(what, sizeof what, "%s came with %lld bytes, expected %lld", came,
                 (long long)e->bytes, (long long)m->bytes);
    } else if (data != NULL && e->checksum != pp_checksum(data, (size_t)e->bytes)) {
        snprintf(what, sizeof what, "the data of %s were changed on the way (checksum)", came);
    } else {
        return PP_OK;
    }
    return wrong(m, what, err);
}

enum pp_status pp_envelope_check(const struct pp_envelope *e, const struct pp_message *expected,
                                 const void *data, struct pp_err *err) {
    PP_TRY(check_origin(e, expected, err));
    return check_content(e, expected, data, err);
}
