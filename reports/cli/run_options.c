#include "reports/cli/run_options.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_STEPS = 1 << 30, MAX_SEQ_LEN = 1 << 20, MAX_FACTOR = 1 << 20, MAX_BUFFERS = 1 << 16 };

static int32_t append(struct pp_option *rows, int32_t count, const struct pp_option *more,
                      size_t more_count) {
    memcpy(rows + count, more, more_count * sizeof *more);
    return count + (int32_t)more_count;
}

#define APPEND(rows, count, more) append(rows, count, more, sizeof(more) / sizeof(more)[0])

static int32_t what_rows(struct pp_run_options *o, struct pp_option *rows, int32_t count) {
    const struct pp_option plan[] = {
        {"", PP_OPT_HEADING, NULL, NULL, 0, 0, "", "WHAT: a plan of the database, or a schedule"},
        {"--db", PP_OPT_TEXT, &o->db, NULL, 0, 0, "FILE",
         "database with the plan; the run is stored there, too"},
        {"--plan", PP_OPT_TEXT, &o->plan_id, NULL, 0, 0, "ID",
         "plan, or a unique beginning of its id"},
    };
    count = APPEND(rows, count, plan);
    pp_sched_options_rows(&o->sched, rows + count);
    count += PP_SCHED_OPTION_COUNT;
    const struct pp_option work[] = {
        {"--flushes", PP_OPT_INT, &o->flushes, NULL, 1, PP_SCHED_MAX_MICROBATCHES, "N",
         "flushes of a step (default: the plan's, or 1)"},
        {"", PP_OPT_HEADING, NULL, NULL, 0, 0, "", "WORK"},
        {"--model", PP_OPT_TEXT, &o->model, NULL, 0, 0, "FILE",
         "config.json of what is trained (default: the plan's model); a small one rehearses a "
         "big plan of as many layers"},
        {"--workload", PP_OPT_TEXT, &o->workload, NULL, 0, 0, "W",
         "transformer, or spin: actions only take the time that COSTS or the plan say (default: "
         "spin "
         "without a model)"},
        {"--seq-len", PP_OPT_INT, &o->seq_len, NULL, 1, MAX_SEQ_LEN, "N",
         "tokens a sequence (default: the plan's, or 256)"},
        {"--microbatch-size", PP_OPT_INT, &o->microbatch_size, NULL, 1, MAX_SEQ_LEN, "N",
         "sequences a microbatch (default: the plan's, or 1)"},
        {"--steps", PP_OPT_INT, &o->steps, NULL, 1, MAX_STEPS, "N",
         "optimizer steps, with those before --resume (default 5)"},
        {"--seed", PP_OPT_INT, &o->seed, NULL, 0, INT64_MAX, "N",
         "of parameters and data (default 1)"},
        {"--learning-rate", PP_OPT_TEXT, &o->learning_rate, NULL, 0, 0, "R",
         "AdamW's (default 1e-3)"},
        {"--scale-grads-in-schedule", PP_OPT_FLAG, &o->scale_in_schedule, NULL, 0, 0, "",
         "divide gradients by the microbatches at REDUCE_GRAD, not every loss before"},
        {"--spin-scale", PP_OPT_RATIO, o->spin_scale, NULL, 0, 0, "A/B",
         "spin: actions take this share of their time"},
    };
    return APPEND(rows, count, work);
}

static int32_t where_rows(struct pp_run_options *o, struct pp_option *rows, int32_t count) {
    const struct pp_option where[] = {
        {"", PP_OPT_HEADING, NULL, NULL, 0, 0, "", "WHERE"},
        {"--device", PP_OPT_TEXT, &o->device, NULL, 0, 0, "D", "host (default), or cuda"},
        {"--transport", PP_OPT_TEXT, &o->transport, NULL, 0, 0, "T",
         "local: ranks of this process; mpi: a process a rank, under mpirun (default there)"},
        {"--drive", PP_OPT_TEXT, &o->drive, NULL, 0, 0, "T",
         "local: ranks (a thread each, default), or one (one thread for all)"},
        {"--buffers", PP_OPT_INT, &o->buffers, NULL, 0, MAX_BUFFERS, "K",
         "local: messages a channel may hold (default 0: rendezvous)"},
        {"--latency", PP_OPT_DURATION, &o->latency_ns, NULL, 0, PP_COST_MAX_NS, "D",
         "local: of a message (default 0)"},
    };
    return APPEND(rows, count, where);
}

static int32_t keep_rows(struct pp_run_options *o, struct pp_option *rows, int32_t count) {
    const struct pp_option keep[] = {
        {"", PP_OPT_HEADING, NULL, NULL, 0, 0, "", "WHAT IS KEPT"},
        {"--trace-every", PP_OPT_INT, &o->trace_every, NULL, 0, MAX_STEPS, "N",
         "store the trace of every Nth step and of the last (default 1; 0: none)"},
        {"--checkpoint", PP_OPT_TEXT, &o->checkpoint, NULL, 0, 0, "DIR",
         "write checkpoints there, the last at the end or when stopped by SIGTERM"},
        {"--checkpoint-every", PP_OPT_INT, &o->checkpoint_every, NULL, 1, MAX_STEPS, "N",
         "also every N steps"},
        {"--resume", PP_OPT_FLAG, &o->resume, NULL, 0, 0, "",
         "go on from the newest checkpoint of --checkpoint"},
        {"--run-dir", PP_OPT_TEXT, &o->run_folder, NULL, 0, 0, "DIR",
         "recent events of every rank, readable after its death"},
        {"", PP_OPT_HEADING, NULL, NULL, 0, 0, "", "FAILURES"},
        {"--deadline", PP_OPT_DURATION, &o->deadline_ns, NULL, 1, INT64_MAX / 4, "D",
         "an action may take this long (default 30s) ..."},
        {"--deadline-factor", PP_OPT_INT, &o->deadline_factor, NULL, 0, MAX_FACTOR, "N",
         "... or this often what is expected of it, if that is longer (default 50)"},
        {"--fault", PP_OPT_TEXT, &o->fault, NULL, 0, 0, "F",
         "break something on purpose: drop:0SEND_F3, kill:2F1@4, stall, delay, corrupt, ..."},
        {"--poison", PP_OPT_FLAG, &o->poison, NULL, 0, 0, "",
         "fill buffers with NaNs before every step"},
    };
    return APPEND(rows, count, keep);
}

static enum pp_status check_word(const char *flag, const char *word, const char *first,
                                 const char *second, struct pp_err *err) {
    if (word == NULL || strcmp(word, first) == 0 || strcmp(word, second) == 0) {
        return PP_OK;
    }
    return pp_fail(err, PP_E_VALUE, "%s %.40s: expected %s or %s", flag, word, first, second);
}

static enum pp_status refuse(const char *what, const char *hint, struct pp_err *err) {
    pp_fail(err, PP_E_USAGE, "%s", what);
    pp_hint(err, "%s", hint);
    return PP_E_USAGE;
}

static enum pp_status check_device(const struct pp_run_options *o, struct pp_err *err) {
    PP_TRY(check_word("--device", o->device, "host", "cuda", err));
    if (o->transport != NULL &&
        (strcmp(o->transport, "nccl") == 0 || strcmp(o->transport, "gpu-local") == 0)) {
        pp_fail(err, PP_E_ENV, "--transport %s: this pipeplan has none", o->transport);
        pp_hint(err, "--transport local or mpi");
        return PP_E_ENV;
    }
    if (strcmp(o->device, "cuda") == 0) {
        pp_fail(err, PP_E_ENV, "--device cuda: this pipeplan cannot run on a GPU yet");
        pp_hint(err, "--device host");
        return PP_E_ENV;
    }
    return PP_OK;
}

/* What a plan brings itself. NULL: nothing of it was given, too. */
static const char *plans_own_flag(const struct pp_run_options *o) {
    const struct pp_sched_options *s = &o->sched;
    const struct pp_cost_options *c = &o->costs;
    const struct {
        bool given;
        const char *name;
    } flags[] = {
        {s->has_schedule, "--schedule"},
        {s->csv != NULL, "--csv"},
        {s->has_pp, "--pp"},
        {s->has_stages_per_rank, "--stages-per-rank"},
        {s->has_stages, "--stages"},
        {s->has_microbatches, "--microbatches"},
        {s->has_group, "--group"},
        {s->has_slices, "--slices"},
        {c->has_f, "--t-f"},
        {c->has_i, "--t-i"},
        {c->has_w, "--t-w"},
        {c->has_pair, "--t-fb"},
        {c->has_p2p, "--t-p2p"},
        {c->file != NULL, "--costs"},
        {c->per_stage, "--per-stage"},
        {c->has_limit, "--memory-limit"},
    };
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (flags[i].given) {
            return flags[i].name;
        }
    }
    return NULL;
}

static enum pp_status check_plan(const struct pp_run_options *o, struct pp_err *err) {
    const char *own = plans_own_flag(o);
    if (own != NULL) {
        pp_fail(err, PP_E_USAGE, "--plan brings its own schedule and costs, %s does not go with it",
                own);
        pp_hint(err, "leave %s out", own);
        return PP_E_USAGE;
    }
    return o->db == NULL ? refuse("--plan needs the database it is in", "add --db FILE", err)
                         : PP_OK;
}

static enum pp_status check_learning_rate(struct pp_run_options *o, struct pp_err *err) {
    char *end = NULL;
    o->learning_rate_value = strtof(o->learning_rate, &end);
    if (end == o->learning_rate || *end != '\0') {
        return pp_fail(err, PP_E_USAGE, "--learning-rate '%.40s' is no number such as 3e-4",
                       o->learning_rate);
    }
    if (!(o->learning_rate_value >= 0 && o->learning_rate_value < 1e6F)) {
        return pp_fail(err, PP_E_RANGE, "--learning-rate %.40s: expected 0 to 1e6",
                       o->learning_rate);
    }
    return PP_OK;
}

static enum pp_status check(struct pp_run_options *o, struct pp_err *err) {
    bool by_name = o->sched.has_schedule || o->sched.csv != NULL;
    PP_TRY(check_word("--workload", o->workload, "transformer", "spin", err));
    PP_TRY(check_word("--drive", o->drive, "ranks", "one", err));
    PP_TRY(check_device(o, err));
    PP_TRY(check_word("--transport", o->transport, "local", "mpi", err));
    PP_TRY(check_learning_rate(o, err));
    PP_TRY(o->plan_id != NULL ? check_plan(o, err) : PP_OK);
    if (o->plan_id == NULL && !by_name) {
        return refuse("nothing to run",
                      "name a plan (--db FILE --plan ID) or a schedule "
                      "(--schedule NAME --pp P --microbatches M)",
                      err);
    }
    if (o->resume && o->checkpoint == NULL) {
        return refuse("--resume needs the folder to resume from", "add --checkpoint DIR", err);
    }
    if (o->checkpoint_every > 0 && o->checkpoint == NULL) {
        return refuse("--checkpoint-every needs a folder", "add --checkpoint DIR", err);
    }
    return PP_OK;
}

enum pp_status pp_run_options_parse(struct pp_cli *cli, int argc, char **argv,
                                    struct pp_run_options *o, struct pp_run_usage *usage,
                                    bool *helped_p, struct pp_err *err) {
    int32_t count = what_rows(o, usage->rows, 0);
    pp_cost_options_rows(&o->costs, usage->rows + count);
    count += PP_COST_OPTION_COUNT;
    count = where_rows(o, usage->rows, count);
    count = keep_rows(o, usage->rows, count);
    PP_ASSERT(count <= PP_RUN_OPTION_COUNT);
    usage->usage = (struct pp_usage){
        .synopsis = "pipeplan run (--db FILE --plan ID | --schedule NAME --pp P --microbatches M) "
                    "[--model config.json] [--steps N]",
        .about = "Runs the schedule of a plan, the very one that was simulated, on this machine's "
                 "processors: a transformer that trains, or actions that only take their time. "
                 "Every action's times go into the database, where `compare` and `calibrate` read "
                 "them. With mpirun: one process a rank.",
        .example = "pipeplan run --db plans.db --plan 3f9c --model small.json --seq-len 128",
        .options = usage->rows,
        .option_count = count,
    };
    int32_t positional = 0;
    PP_TRY(pp_parse_options(cli, &usage->usage, argc, argv, NULL, 0, &positional, helped_p, err));
    return *helped_p ? PP_OK : check(o, err);
}
