/* Ranks on threads over the local transport, for the thread sanitizer: a plain program, as
 * Criterion cannot run under it. Several schedules with and without buffers, each some steps, then
 * failures. The workload takes in what it is given, so that data which race are seen. */
#include "exec/drive.h"
#include "exec/fault.h"
#include "exec/local/local.h"
#include "sim/engine.h"
#include "sim/generate.h"
#include "sim/lower.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STAGES = 32, RANKS = 4, BYTES = 256, STEPS = 20 };

struct subject {
    struct pp_sched *plain, *lowered;
    struct pp_trace expected, trace;
    struct pp_program *program;
    struct pp_transport transport;
    struct pp_rank *ranks[RANKS];
    void *arenas[RANKS];
    struct pp_drive *drive;
};

static void must(bool fine, const char *what, const struct pp_err *err) {
    if (!fine) {
        fprintf(stderr, "%s: %s\n", what, err->message);
        exit(1);
    }
}

/* ---- a workload ---- */

/* One a rank: gradients of its stages. */
struct sums {
    uint64_t of[STAGES][4];
};

static uint64_t read_all(const void *data, uint64_t sum) {
    for (int i = 0; data != NULL && i < BYTES; i++) {
        sum = sum * 31 + ((const unsigned char *)data)[i];
    }
    return sum;
}

static void write_all(void *data, uint64_t value) {
    if (data != NULL) {
        memset(data, (int)(value & 255), BYTES);
    }
}

static enum pp_status start(void *context, const struct pp_work *w, struct pp_err *err) {
    struct sums *sums = context;
    (void)err;
    uint64_t sum = read_all(w->input, 1);
    if (w->action.type == PP_F) {
        write_all(w->output, sum);
        write_all(w->stash, sum);
    } else if (w->action.type == PP_I || w->action.type == PP_B) {
        write_all(w->input_grad, read_all(w->output_grad, sum));
    } else if (w->action.type == PP_REDUCE_GRAD && w->copy_grad != NULL) {
        sums->of[w->action.stage][0] += *(const uint64_t *)w->copy_grad;
    }
    sums->of[w->action.stage][1] += sum;
    return PP_OK;
}

static const void *exchange(void *context, int32_t stage, int64_t *bytes_p) {
    struct sums *sums = context;
    *bytes_p = sizeof sums->of[stage];
    return sums->of[stage];
}

static const struct pp_compute_ops ops = {
    .api = PP_COMPUTE_API, .name = "sums", .start = start, .exchange = exchange};

/* ---- runs ---- */

static void make_program(struct subject *x, const char *name) {
    static int64_t ns[STAGES], bytes[STAGES];
    const struct pp_schedule_info *info = NULL;
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    struct pp_runtime runtime = pp_runtime_of(PP_RUNTIME_OURS);
    struct pp_engine *engine = NULL;
    struct pp_err err = {0};
    for (int32_t i = 0; i < STAGES; i++) {
        ns[i] = 1000;
        bytes[i] = BYTES;
    }
    const struct pp_engine_costs costs = {
        .compute = {.f_ns = ns, .i_ns = ns, .w_ns = ns, .b_ns = ns, .offload_ns = ns}};
    const struct pp_program_sizes sizes = {.input_bytes = bytes, .stash_bytes = bytes};
    must(pp_schedule_find(name, &info, &err) == PP_OK, "schedule", &err);
    const struct pp_gen_config config = {.rank_count = RANKS,
                                         .stages_per_rank = info->default_stages_per_rank,
                                         .microbatch_count = 2 * RANKS};
    must(pp_schedule_generate(info, &config, &x->plain, &err) == PP_OK &&
             pp_sched_lower(x->plain, &options, &x->lowered, &err) == PP_OK &&
             pp_engine_create(x->lowered, &runtime, &engine, NULL, &err) == PP_OK &&
             pp_trace_init(&x->expected, x->lowered, &err) == PP_OK &&
             pp_trace_init_queued(&x->trace, x->lowered, &err) == PP_OK &&
             pp_engine_run(engine, &costs, NULL, &x->expected, &err) == PP_OK &&
             pp_program_create(x->lowered, &sizes, &x->expected, &x->program, &err) == PP_OK,
         "program", &err);
    pp_engine_destroy(engine);
}

static void make(struct subject *x, const struct pp_fault *fault, int32_t buffers,
                 struct sums sums[RANKS]) {
    struct pp_err err = {0};
    const struct pp_local_options local = {.buffers = buffers};
    const struct pp_drive_options drive = {.threads = true, .deadline_ns = 300000000};
    must(pp_local_open(x->program, &local, &x->transport, &err) == PP_OK, "local", &err);
    must(pp_fault_wrap(&x->transport, x->program, fault, &err) == PP_OK, "fault", &err);
    for (int32_t rank = 0; rank < RANKS; rank++) {
        x->arenas[rank] = malloc((size_t)x->program->arena_bytes[rank] + 1);
        struct pp_rank_config config = {.program = x->program,
                                        .rank = rank,
                                        .compute = &ops,
                                        .compute_context = &sums[rank],
                                        .transport = x->transport.ops,
                                        .endpoint = x->transport.endpoints[rank],
                                        .arena = x->arenas[rank],
                                        .trace = &x->trace};
        must(pp_rank_create(&config, &x->ranks[rank], &err) == PP_OK, "rank", &err);
    }
    must(pp_drive_create(x->ranks, RANKS, x->program, &drive, &x->drive, &err) == PP_OK, "drive",
         &err);
}

static void unmake(struct subject *x) {
    pp_drive_destroy(x->drive);
    for (int32_t rank = 0; rank < RANKS; rank++) {
        pp_rank_destroy(x->ranks[rank]);
        free(x->arenas[rank]);
    }
    pp_fault_unwrap(&x->transport);
    pp_local_close(&x->transport);
}

static void run(struct subject *x, int32_t buffers) {
    static struct sums sums[RANKS];
    const struct pp_fault none = {.kind = PP_FAULT_NONE};
    struct pp_failure failure = {.kind = PP_FAIL_NONE};
    struct pp_err err = {0};
    int32_t wrong = -1;
    make(x, &none, buffers, sums);
    for (int64_t step = 0; step < STEPS; step++) {
        must(pp_drive_step(x->drive, step, &failure, &err) == PP_OK, "step", &err);
        pp_trace_settle(&x->trace);
        must(pp_program_in_order(x->program, &x->trace, &wrong), "order", &err);
    }
    unmake(x);
}

/* A message that is lost, one that is changed, and one that never ends. */
static void run_into(struct subject *x, const char *text) {
    static struct sums sums[RANKS];
    struct pp_fault fault;
    struct pp_failure failure = {.kind = PP_FAIL_NONE};
    struct pp_err err = {0};
    must(pp_fault_parse(text, x->lowered, &fault, &err) == PP_OK, "fault", &err);
    make(x, &fault, 0, sums);
    must(pp_drive_step(x->drive, 0, &failure, &err) == PP_E_RUN, "a fault went unseen", &err);
    must(failure.kind == PP_FAIL_MESSAGE || failure.kind == PP_FAIL_DEADLINE, text, &err);
    pp_failure_deinit(&failure);
    unmake(x);
}

int main(void) {
    static const char *const names[] = {"1F1B",     "Interleaved1F1B", "ZBVZeroBubble",
                                        "DualPipe", "Hanayo",          "PipeOffload"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct subject x = {0};
        make_program(&x, names[i]);
        run(&x, 0);
        run(&x, 1);
        if (i == 0) {
            run_into(&x, "drop:2SEND_F7");
            run_into(&x, "corrupt:1SEND_F3");
            run_into(&x, "stall:1SEND_B2");
        }
        pp_program_destroy(x.program);
        pp_trace_deinit(&x.expected);
        pp_trace_deinit(&x.trace);
        pp_sched_destroy(x.lowered);
        pp_sched_destroy(x.plain);
    }
    return 0;
}
