/* Envelopes and checksums. */
#include "tests/exec/runtime_support.h"

static struct program_case c;

static void open_case(void) {
    make_timed_case(&c, make_schedule("1F1B", 3, 1, 6), 1000, 10);
}

/* ---- checksum ---- */

Test(message, any_flipped_bit_changes_the_checksum) {
    unsigned char data[300];
    uint64_t state = 1;
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (unsigned char)next_random(&state);
    }
    for (size_t size = 1; size < sizeof data; size += size < 140 ? 1 : 37) {
        uint64_t sum = pp_checksum(data, size);
        for (size_t bit = 0; bit < 8 * size; bit++) {
            data[bit / 8] ^= (unsigned char)(1 << bit % 8);
            cr_assert_neq(pp_checksum(data, size), sum, "bit %zu of %zu bytes", bit, size);
            data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
        cr_assert_eq(pp_checksum(data, size), sum);
    }
}

/* Also of zeros, which weak sums like, and two bits at once. */
Test(message, any_two_flipped_bits_change_the_checksum) {
    unsigned char data[192] = {0};
    uint64_t sum = pp_checksum(data, sizeof data);
    for (size_t a = 0; a < 8 * sizeof data; a++) {
        data[a / 8] ^= (unsigned char)(1 << a % 8);
        for (size_t b = a + 1; b < 8 * sizeof data; b++) {
            data[b / 8] ^= (unsigned char)(1 << b % 8);
            cr_assert_neq(pp_checksum(data, sizeof data), sum, "bits %zu and %zu", a, b);
            data[b / 8] ^= (unsigned char)(1 << b % 8);
        }
        data[a / 8] ^= (unsigned char)(1 << a % 8);
    }
}

Test(message, checksum_tells_sizes_apart) {
    static const unsigned char zeros[200];
    for (size_t a = 0; a < sizeof zeros; a++) {
        for (size_t b = 0; b < a; b++) {
            cr_assert_neq(pp_checksum(zeros, a), pp_checksum(zeros, b));
        }
    }
    cr_assert_eq(pp_checksum(NULL, 0), pp_checksum(zeros, 0));
}

Test(message, checksum_does_not_mind_where_data_lie) {
    unsigned char data[400];
    unsigned char moved[408];
    uint64_t state = 2;
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (unsigned char)next_random(&state);
    }
    for (size_t at = 0; at < 8; at++) {
        memcpy(moved + at, data, sizeof data);
        cr_assert_eq(pp_checksum(moved + at, sizeof data), pp_checksum(data, sizeof data));
    }
}

/* ---- envelope ---- */

static int32_t find(enum pp_action_type type, int32_t stage, int32_t microbatch) {
    int32_t at = 0;
    const struct pp_action *a = c.lowered->actions;
    while (a[at].type != type || a[at].stage != stage || a[at].microbatch != microbatch) {
        cr_assert_lt(++at, c.lowered->action_count);
    }
    return at;
}

static struct pp_message message(int32_t action, void *data) {
    const struct pp_bound *b = &c.program->bound[action];
    return (struct pp_message){.program = c.program,
                               .index = action,
                               .channel = b->channel,
                               .sequence = b->sequence,
                               .step = 4,
                               .bytes = b->message_bytes,
                               .data = data};
}

static unsigned char data[192];
static struct pp_envelope envelope;
static struct pp_message receive;

/* 0SEND_F3 to 1RECV_F3. */
static void send_one(void) {
    open_case();
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (unsigned char)i;
    }
    struct pp_message send = message(find(PP_SEND_F, 0, 3), data);
    pp_envelope_fill(&envelope, &send, 123);
    receive = message(find(PP_RECV_F, 1, 3), data);
}

static void expect_wrong(const char *what) {
    struct pp_err err = {0};
    cr_assert_eq(pp_envelope_check(&envelope, &receive, data, &err), PP_E_RUN);
    cr_assert_not_null(strstr(err.message, what), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "rank 1 stage 1 microbatch 3: 1RECV_F3"), "%s",
                       err.message);
}

Test(message, envelope_says_what_it_is) {
    send_one();
    cr_assert(envelope.stage == 0 && envelope.microbatch == 3 && envelope.type == PP_SEND_F);
    cr_assert(envelope.step == 4 && envelope.bytes == 192 && envelope.posted_ns == 123);
    cr_assert_eq(envelope.checksum, pp_checksum(data, sizeof data));
    cr_assert_eq(pp_envelope_check(&envelope, &receive, data, NULL), PP_OK);
    program_case_deinit(&c);
}

Test(message, what_is_wrong_is_told) {
    send_one();
    struct pp_envelope good = envelope;
    envelope.magic++;
    expect_wrong("no message");
    envelope = good;
    envelope.program ^= 1;
    expect_wrong("another program");
    envelope = good;
    envelope.step = 3;
    expect_wrong("step 3");
    envelope = good;
    envelope.step = 5;
    expect_wrong("lost");
    envelope = good;
    envelope.sequence++;
    expect_wrong("too early");
    envelope = good;
    envelope.sequence--;
    expect_wrong("doubled");
    envelope = good;
    envelope.channel++;
    expect_wrong("channel");
    envelope = good;
    envelope.microbatch = 2;
    expect_wrong("0SEND_F2 came in place of 0SEND_F3");
    envelope = good;
    envelope.bytes = 191;
    expect_wrong("191 bytes, expected 192");
    envelope = good;
    envelope.type = 99;
    expect_wrong("type 99");
    envelope = good;
    data[77] ^= 4;
    expect_wrong("changed");
    cr_assert_eq(pp_envelope_check(&envelope, &receive, NULL, NULL), PP_OK, "only the envelope");
    program_case_deinit(&c);
}

Test(message, says_something_else_on_purpose) {
    send_one();
    struct pp_message send = message(find(PP_SEND_F, 0, 4), data);
    send.envelope = &envelope;
    struct pp_envelope e;
    pp_envelope_fill(&e, &send, 999);
    cr_assert(e.microbatch == 3 && e.posted_ns == 999);
    program_case_deinit(&c);
}

/* Of an exchange the other copy is expected, whichever number its REDUCE_GRAD has. */
Test(message, exchange_expects_the_other_copy) {
    make_timed_case(&c, make_schedule("DualPipe", 4, 2, 8), 1000, 10);
    int32_t stage = 1;
    int32_t copy = pp_program_copy_of(c.program, stage);
    struct pp_message in = message(find(PP_REDUCE_GRAD, stage, -1), NULL);
    struct pp_message out = message(find(PP_REDUCE_GRAD, copy, -1), NULL);
    struct pp_envelope e;
    cr_assert_geq(out.channel, 0);
    in.channel = out.channel;
    in.sequence = out.sequence;
    pp_envelope_fill(&e, &out, 1);
    cr_assert_eq(pp_envelope_check(&e, &in, NULL, NULL), PP_OK);
    e.stage = stage;
    cr_assert_eq(pp_envelope_check(&e, &in, NULL, NULL), PP_E_RUN);
    program_case_deinit(&c);
}
