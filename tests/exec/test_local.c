/* The local transport by itself: what is done when, and that it keeps order. */
#include "tests/exec/runtime_support.h"

static struct program_case c;
static struct pp_transport t;
static struct pp_err err;

static void open_local(int32_t buffers, int64_t latency_ns) {
    make_timed_case(&c, make_schedule("GPipe", 2, 1, 6), 1000, 10);
    cr_assert_eq(
        pp_local_open(c.program, &(struct pp_local_options){buffers, latency_ns}, &t, &err), PP_OK,
        "%s", err.message);
}

static void close_local(void) {
    pp_local_close(&t);
    program_case_deinit(&c);
}

static struct pp_message message(enum pp_action_type type, int32_t microbatch, void *data) {
    int32_t at = 0;
    while (c.lowered->actions[at].type != type || c.lowered->actions[at].microbatch != microbatch) {
        at++;
    }
    const struct pp_bound *b = &c.program->bound[at];
    return (struct pp_message){.program = c.program,
                               .index = at,
                               .channel = b->channel,
                               .sequence = b->sequence,
                               .bytes = b->message_bytes,
                               .data = data};
}

static bool is_done(int32_t rank, const struct pp_message *m) {
    bool done = false;
    cr_assert_eq(t.ops->test(t.endpoints[rank], m, &done, &err), PP_OK, "%s", err.message);
    return done;
}

static void post(const struct pp_message *m) {
    int32_t rank = c.lowered->stage_rank[c.lowered->actions[m->index].stage];
    enum pp_action_type type = c.lowered->actions[m->index].type;
    bool sends = type == PP_SEND_F || type == PP_SEND_B;
    cr_assert_eq((sends ? t.ops->post_send : t.ops->post_recv)(t.endpoints[rank], m, &err), PP_OK);
}

/* Which side comes first makes no difference. */
Test(local, rendezvous_is_done_when_both_are_there) {
    open_local(0, 0);
    for (int32_t k = 0; k < 4; k++) {
        unsigned char out[192];
        unsigned char in[192] = {0};
        memset(out, 17 + k, sizeof out);
        struct pp_message send = message(PP_SEND_F, k, out);
        struct pp_message receive = message(PP_RECV_F, k, in);
        const struct pp_message *first = k % 2 == 0 ? &send : &receive;
        post(first);
        cr_assert_not(is_done(k % 2 == 0 ? 0 : 1, first));
        post(k % 2 == 0 ? &receive : &send);
        cr_assert(is_done(0, &send));
        cr_assert(is_done(1, &receive));
        cr_assert_arr_eq(in, out, sizeof in);
        cr_assert_gt(t.ops->peer_posted_ns(t.endpoints[1], &receive), 0);
        cr_assert_leq(t.ops->peer_posted_ns(t.endpoints[1], &receive),
                      t.ops->done_ns(t.endpoints[1], &receive));
        cr_assert_not(t.ops->under_way(t.endpoints[1]));
    }
    close_local();
}

Test(local, buffers_take_as_many_as_there_are) {
    open_local(2, 0);
    unsigned char out[6][192];
    unsigned char in[6][192] = {{0}};
    struct pp_message send[6];
    struct pp_message receive[6];
    for (int32_t k = 0; k < 6; k++) {
        memset(out[k], 40 + k, sizeof out[k]);
        send[k] = message(PP_SEND_F, k, out[k]);
        receive[k] = message(PP_RECV_F, k, in[k]);
    }
    for (int32_t k = 0; k < 5; k++) {
        post(&send[k]);
        cr_assert_eq(is_done(0, &send[k]), k < 2, "%d", k);
    }
    memset(out[0], 0, sizeof out[0]); /* taken: the buffer may be used again */
    post(&receive[0]);
    cr_assert(is_done(1, &receive[0]));
    cr_assert_eq(in[0][100], 40);
    cr_assert_not(is_done(0, &send[3]));
    cr_assert(is_done(0, &send[2]));
    for (int32_t k = 1; k < 6; k++) {
        post(&receive[k]);
        if (k == 4) {
            cr_assert(is_done(0, &send[3]));
            cr_assert(is_done(0, &send[4]));
        }
    }
    cr_assert_not(is_done(1, &receive[5]));
    post(&send[5]);
    for (int32_t k = 1; k < 6; k++) {
        cr_assert(is_done(0, &send[k]));
        cr_assert(is_done(1, &receive[k]));
        cr_assert_eq(in[k][191], 40 + k);
    }
    close_local();
}

Test(local, latency_delays_the_receiver_only) {
    open_local(0, 30000000);
    unsigned char out[192] = {1};
    unsigned char in[192];
    struct pp_message send = message(PP_SEND_F, 0, out);
    struct pp_message receive = message(PP_RECV_F, 0, in);
    post(&send);
    int64_t begin_ns = pp_now_ns();
    post(&receive);
    cr_assert(is_done(0, &send));
    while (!is_done(1, &receive)) {
        cr_assert(t.ops->under_way(t.endpoints[1]));
    }
    cr_assert_geq(pp_now_ns() - begin_ns, 30000000);
    cr_assert_not(t.ops->under_way(t.endpoints[1]));
    close_local();
}

Test(local, messages_without_bytes) {
    open_local(0, 0);
    struct pp_message send = message(PP_SEND_F, 0, NULL);
    struct pp_message receive = message(PP_RECV_F, 0, NULL);
    send.bytes = receive.bytes = 0;
    post(&send);
    post(&receive);
    cr_assert(is_done(0, &send));
    cr_assert(is_done(1, &receive));
    close_local();
}

/* A wrong size is told, and not written beyond. */
Test(local, a_wrong_size_is_told) {
    open_local(0, 0);
    unsigned char out[192] = {1};
    unsigned char in[192] = {0};
    struct pp_message send = message(PP_SEND_F, 0, out);
    struct pp_message receive = message(PP_RECV_F, 0, in);
    receive.bytes = 8;
    post(&send);
    post(&receive);
    bool done = false;
    cr_assert_eq(t.ops->test(t.endpoints[1], &receive, &done, &err), PP_E_RUN);
    cr_assert_not_null(strstr(err.message, "192 bytes, expected 8"), "%s", err.message);
    cr_assert_eq(in[0], 0);
    close_local();
}

/* Random posting on both sides, over many times the ring: the k-th meets the k-th. */
Test(local, keeps_the_order_of_a_channel) {
    for (int32_t buffers = 0; buffers < 4; buffers++) {
        open_local(buffers, 0);
        uint64_t state = (uint64_t)buffers;
        static uint64_t out[6][24];
        static uint64_t in[6][24];
        for (int64_t step = 0; step < 200; step++) {
            int32_t sent = 0;
            int32_t received = 0;
            struct pp_message send[6];
            struct pp_message receive[6];
            while (sent < 6 || received < 6) {
                if (received == 6 || (sent < 6 && random_below(&state, 2) == 0)) {
                    for (int i = 0; i < 24; i++) {
                        out[sent][i] = next_random(&state);
                    }
                    send[sent] = message(PP_SEND_F, sent, out[sent]);
                    send[sent].step = step;
                    post(&send[sent++]);
                } else {
                    receive[received] = message(PP_RECV_F, received, in[received]);
                    receive[received].step = step;
                    post(&receive[received++]);
                }
            }
            for (int32_t k = 0; k < 6; k++) {
                cr_assert(is_done(0, &send[k]));
            }
            for (int32_t k = 0; k < 6; k++) {
                cr_assert(is_done(1, &receive[k]));
                cr_assert_arr_eq(in[k], out[k], sizeof in[k]);
            }
        }
        close_local();
    }
}
