/* Messages. A channel is a source and a tag on one communicator: MPI keeps what has both in order,
 * so no communicator a channel is needed, which all processes would have to make together.
 *
 * Envelope and data are two messages with a tag each: data are sent from and received to where they
 * are, uncopied, and a receive posts both at once, so that the k-th envelope and the k-th data of a
 * channel meet the k-th receive. The envelope is checked before its data are waited for: they may
 * never come, or be of another size. */
#include "exec/mpi/mpi_priv.h"

#include "exec/clock.h"
#include "exec/where.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct slot {
    MPI_Request envelope_request, data_request;
    struct pp_envelope envelope;
    bool checked; /* the envelope came and is right */
};

/* One that this process has a side of. A message has the slot of its number; some more than
 * messages a step, for what faults send twice. */
struct channel {
    int peer, tag;
    bool outgoing;
    struct slot *slots; /* [slot_count] */
    uint32_t slot_count, posted;
    uint32_t *post_of; /* [message_count] by sequence: its last post */
};

struct endpoint {
    struct pp_mpi *mpi;
    const struct pp_program *program;
    struct channel *channels; /* [channel_count]; empty where this rank has no side */
    void **pointers;          /* [rank_count] */
};

/* ---- types for many bytes ---- */

/* A type of which one element is `bytes`. */
static int make_large_type(int64_t bytes, MPI_Datatype *type_p) {
    MPI_Datatype piece, pieces, parts[2];
    int error = MPI_Type_contiguous(PP_MPI_PIECE_BYTES, MPI_BYTE, &piece);
    if (error != MPI_SUCCESS) {
        return error;
    }
    error = MPI_Type_contiguous((int)(bytes / PP_MPI_PIECE_BYTES), piece, &pieces);
    MPI_Type_free(&piece);
    if (error != MPI_SUCCESS) {
        return error;
    }
    int rest = (int)(bytes % PP_MPI_PIECE_BYTES);
    const int counts[2] = {1, rest};
    const MPI_Aint offsets[2] = {0, (MPI_Aint)(bytes - rest)};
    parts[0] = pieces;
    parts[1] = MPI_BYTE;
    error = MPI_Type_create_struct(2, counts, offsets, parts, type_p);
    MPI_Type_free(&pieces);
    return error == MPI_SUCCESS ? MPI_Type_commit(type_p) : error;
}

static int post_data(const struct endpoint *e, const struct channel *c, const struct pp_message *m,
                     MPI_Request *request) {
    MPI_Datatype type = MPI_BYTE;
    int count = (int)m->bytes, tag = PP_MPI_TAG_DATA + c->tag;
    bool large = m->bytes > PP_MPI_PIECE_BYTES;
    if (large) {
        int error = make_large_type(m->bytes, &type);
        if (error != MPI_SUCCESS) {
            return error;
        }
        count = 1;
    }
    int error = c->outgoing ? MPI_Isend(m->data, count, type, c->peer, tag, e->mpi->comm, request)
                            : MPI_Irecv(m->data, count, type, c->peer, tag, e->mpi->comm, request);
    if (large) {
        MPI_Type_free(&type); /* MPI keeps it until the message is done */
    }
    return error;
}

/* ---- posting ---- */

static enum pp_status fail_at(struct endpoint *e, const struct pp_message *m, const char *what,
                              int error, struct pp_err *err) {
    char where[PP_WHERE_BYTES], text[2 * PP_WHERE_BYTES];
    const struct pp_channel *channel = &e->program->channels[m->channel];
    snprintf(text, sizeof text, "%s, message %d from rank %d to rank %d in step %lld: %s",
             pp_where(e->program->sched, m->index, where), m->sequence, channel->from_rank,
             channel->to_rank, (long long)m->step, what);
    return pp_mpi_fail(e->mpi, text, error, err);
}

/* A slot whose last message was never asked for again, as of one that was sent twice, may be used
 * again once that is done. */
static bool is_free(struct slot *slot) {
    int done = 0;
    return MPI_Test(&slot->envelope_request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done &&
           MPI_Test(&slot->data_request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done;
}

static enum pp_status post(struct endpoint *e, const struct pp_message *m, struct pp_err *err) {
    struct channel *c = &e->channels[m->channel];
    struct slot *slot = &c->slots[c->posted % c->slot_count];
    if (!is_free(slot)) {
        return fail_at(e, m, "more messages are under way than a step has", MPI_ERR_PENDING, err);
    }
    c->post_of[m->sequence] = c->posted++;
    slot->checked = false;
    int tag = PP_MPI_TAG_ENVELOPE + c->tag, size = sizeof slot->envelope;
    int error;
    if (c->outgoing) {
        pp_envelope_fill(&slot->envelope, m, pp_now_ns() + e->mpi->clock_offset_ns);
        error = MPI_Isend(&slot->envelope, size, MPI_BYTE, c->peer, tag, e->mpi->comm,
                          &slot->envelope_request);
    } else {
        error = MPI_Irecv(&slot->envelope, size, MPI_BYTE, c->peer, tag, e->mpi->comm,
                          &slot->envelope_request);
    }
    if (error == MPI_SUCCESS && m->bytes > 0) {
        error = post_data(e, c, m, &slot->data_request);
    }
    return error == MPI_SUCCESS ? PP_OK : fail_at(e, m, "posting", error, err);
}

static enum pp_status mpi_post(void *endpoint, const struct pp_message *m, struct pp_err *err) {
    return post(endpoint, m, err);
}

/* ---- testing ---- */

static enum pp_status test_send(struct endpoint *e, struct slot *slot, const struct pp_message *m,
                                bool *done_p, struct pp_err *err) {
    int done = 0, error = MPI_Test(&slot->envelope_request, &done, MPI_STATUS_IGNORE);
    if (error == MPI_SUCCESS && done) {
        error = MPI_Test(&slot->data_request, &done, MPI_STATUS_IGNORE);
    }
    *done_p = error == MPI_SUCCESS && done;
    return error == MPI_SUCCESS ? PP_OK : fail_at(e, m, "sending", error, err);
}

static enum pp_status test_envelope(struct endpoint *e, struct slot *slot,
                                    const struct pp_message *m, struct pp_err *err) {
    MPI_Status status;
    int done = 0, size = 0, error = MPI_Test(&slot->envelope_request, &done, &status);
    if (error != MPI_SUCCESS) {
        return fail_at(e, m, "receiving its envelope", error, err);
    }
    if (!done) {
        return PP_OK;
    }
    MPI_Get_count(&status, MPI_BYTE, &size);
    if (size != (int)sizeof slot->envelope) {
        slot->envelope.magic = 0; /* cut off: whatever it says is not what was sent */
    }
    PP_TRY(pp_envelope_check(&slot->envelope, m, NULL, err));
    slot->checked = true;
    return PP_OK;
}

static enum pp_status test_receive(struct endpoint *e, struct slot *slot,
                                   const struct pp_message *m, bool *done_p, struct pp_err *err) {
    *done_p = false;
    if (!slot->checked) {
        PP_TRY(test_envelope(e, slot, m, err));
    }
    if (!slot->checked) {
        return PP_OK;
    }
    MPI_Count came = 0;
    if (m->bytes > 0) {
        MPI_Status status;
        int done = 0, error = MPI_Test(&slot->data_request, &done, &status);
        if (error != MPI_SUCCESS) {
            return fail_at(e, m, "receiving its data", error, err);
        }
        if (!done) {
            return PP_OK;
        }
        MPI_Get_elements_x(&status, MPI_BYTE, &came);
    }
    if (came != m->bytes) {
        char what[128];
        snprintf(what, sizeof what, "%lld bytes of data came, expected %lld", (long long)came,
                 (long long)m->bytes);
        return fail_at(e, m, what, MPI_ERR_COUNT, err);
    }
    *done_p = true;
    return pp_envelope_check(&slot->envelope, m, m->data, err);
}

static struct slot *slot_of(struct channel *c, const struct pp_message *m) {
    return &c->slots[c->post_of[m->sequence] % c->slot_count];
}

static enum pp_status mpi_test(void *endpoint, const struct pp_message *m, bool *done_p,
                               struct pp_err *err) {
    struct endpoint *e = endpoint;
    struct channel *c = &e->channels[m->channel];
    struct slot *slot = slot_of(c, m);
    return c->outgoing ? test_send(e, slot, m, done_p, err) : test_receive(e, slot, m, done_p, err);
}

/* Other processes may always do something further. */
static bool mpi_under_way(void *endpoint) {
    (void)endpoint;
    return true;
}

static int64_t mpi_peer_posted_ns(void *endpoint, const struct pp_message *m) {
    struct endpoint *e = endpoint;
    return slot_of(&e->channels[m->channel], m)->envelope.posted_ns - e->mpi->clock_offset_ns;
}

/* Receives are taken back. What MPI has begun to move it may go on moving whenever it is called:
 * the process must not call it again but to leave (control's abort, or exit without MPI_Finalize).
 */
static void give_up(MPI_Request *request, bool receive) {
    int done = 0;
    if (*request == MPI_REQUEST_NULL) {
        return;
    }
    if (receive) {
        MPI_Cancel(request);
        MPI_Test(request, &done, MPI_STATUS_IGNORE);
    }
    if (!done) {
        MPI_Request_free(request);
    }
}

static void mpi_abort(void *endpoint) {
    struct endpoint *e = endpoint;
    e->mpi->failed = true;
    for (int32_t i = 0; i < e->program->channel_count; i++) {
        struct channel *c = &e->channels[i];
        for (uint32_t k = 0; k < c->slot_count; k++) {
            give_up(&c->slots[k].data_request, !c->outgoing);
            give_up(&c->slots[k].envelope_request, !c->outgoing);
        }
    }
}

/* ---- life ---- */

static const struct pp_transport_ops mpi_ops = {.api = PP_TRANSPORT_API,
                                                .name = "mpi",
                                                .post_send = mpi_post,
                                                .post_recv = mpi_post,
                                                .test = mpi_test,
                                                .under_way = mpi_under_way,
                                                .peer_posted_ns = mpi_peer_posted_ns,
                                                .abort = mpi_abort};

/* The first process whose program is not process 0's; process_count if there is none. */
static int find_stranger(struct pp_mpi *mpi, const char *own, char *first, int *stranger_p) {
    memcpy(first, own, PP_HASH_BYTES);
    int error = MPI_Bcast(first, PP_HASH_BYTES, MPI_CHAR, 0, mpi->comm);
    int mine = memcmp(first, own, PP_HASH_BYTES) == 0 ? mpi->process_count : mpi->process;
    return error != MPI_SUCCESS ? error
                                : MPI_Allreduce(&mine, stranger_p, 1, MPI_INT, MPI_MIN, mpi->comm);
}

static enum pp_status check_program(struct pp_mpi *mpi, const struct pp_program *program,
                                    struct pp_err *err) {
    char first[PP_HASH_BYTES], other[PP_HASH_BYTES];
    int stranger = 0;
    PP_MPI_TRY(mpi, "comparing programs", find_stranger(mpi, program->hash, first, &stranger));
    if (stranger < mpi->process_count) {
        memcpy(other, program->hash, sizeof other);
        PP_MPI_TRY(mpi, "comparing programs",
                   MPI_Bcast(other, PP_HASH_BYTES, MPI_CHAR, stranger, mpi->comm));
        pp_fail(err, PP_E_RUN, "process %d runs program %.12s, process 0 runs %.12s", stranger,
                other, first);
        pp_hint(err, "start all processes with the same command and the same files");
        return PP_E_RUN;
    }
    if (mpi->process_count != program->sched->rank_count) {
        pp_fail(err, PP_E_RUN, "the schedule has %d ranks, but %d processes were started",
                program->sched->rank_count, mpi->process_count);
        pp_hint(err, "mpirun -n %d", program->sched->rank_count);
        return PP_E_RUN;
    }
    return PP_OK;
}

static bool open_channel(struct endpoint *e, int32_t index) {
    const struct pp_channel *of = &e->program->channels[index];
    struct channel *c = &e->channels[index];
    bool outgoing = of->from_rank == e->mpi->process;
    if (!outgoing && of->to_rank != e->mpi->process) {
        return true;
    }
    *c = (struct channel){
        .peer = outgoing ? of->to_rank : of->from_rank, .tag = of->copies, .outgoing = outgoing};
    uint32_t count = (uint32_t)of->message_count + 2;
    c->slots = calloc(count, sizeof *c->slots);
    c->post_of = calloc(count, sizeof *c->post_of);
    if (c->slots == NULL || c->post_of == NULL) {
        return false;
    }
    for (; c->slot_count < count; c->slot_count++) {
        struct slot *slot = &c->slots[c->slot_count];
        slot->envelope_request = slot->data_request = MPI_REQUEST_NULL;
    }
    return true;
}

static void close_endpoint(struct endpoint *e) {
    for (int32_t i = 0; e->channels != NULL && i < e->program->channel_count; i++) {
        free(e->channels[i].slots);
        free(e->channels[i].post_of);
    }
    free(e->channels);
    free((void *)e->pointers);
    free(e);
}

static struct endpoint *open_endpoint(struct pp_mpi *mpi, const struct pp_program *program) {
    struct endpoint *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return NULL;
    }
    e->mpi = mpi;
    e->program = program;
    e->channels = calloc((size_t)program->channel_count + 1, sizeof *e->channels);
    e->pointers = (void **)calloc((size_t)program->sched->rank_count, sizeof *e->pointers);
    bool good = e->channels != NULL && e->pointers != NULL;
    for (int32_t i = 0; good && i < program->channel_count; i++) {
        good = open_channel(e, i);
    }
    if (!good) {
        close_endpoint(e);
        return NULL;
    }
    e->pointers[mpi->process] = e;
    return e;
}

enum pp_status pp_mpi_open(struct pp_mpi *mpi, const struct pp_program *program,
                           struct pp_transport *transport_p, struct pp_err *err) {
    PP_TRY(check_program(mpi, program, err));
    struct endpoint *e = open_endpoint(mpi, program);
    if (e == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d channels", program->channel_count);
    }
    *transport_p = (struct pp_transport){.ops = &mpi_ops, .endpoints = e->pointers, .state = e};
    return PP_OK;
}

void pp_mpi_close(struct pp_mpi *mpi, struct pp_transport *transport) {
    (void)mpi;
    if (transport->state != NULL) {
        close_endpoint(transport->state);
    }
    *transport = (struct pp_transport){0};
}
