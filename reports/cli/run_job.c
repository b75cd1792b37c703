#include "reports/cli/run_job.h"

#include "sim/lower.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what it takes ---- */

int64_t pp_run_available_bytes(void) {
    long long kib = 0;
    char line[128];
    FILE *file = fopen("/proc/meminfo", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "MemAvailable: %lld kB", &kib) == 1) {
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kib > 0 ? (int64_t)kib * 1024
                   : (int64_t)sysconf(_SC_PHYS_PAGES) * (int64_t)sysconf(_SC_PAGESIZE);
}

static void put_shape(struct pp_text *t, const struct pp_shape *s) {
    pp_text_printf(t, "layers %d hidden %lld vocab %lld heads %d %d %d ffn %lld window %d ",
                   s->layers, (long long)s->hidden, (long long)s->vocab, s->heads, s->kv_heads,
                   s->head_dim, (long long)s->ffn, s->window);
    pp_text_printf(t, "experts %d %d %lld %lld rope %a norm %a", s->experts, s->experts_per_token,
                   (long long)s->expert_ffn, (long long)s->shared_ffn, (double)s->rope_theta,
                   (double)s->norm_epsilon);
    for (int32_t layer = 0; layer < s->layers; layer++) {
        pp_text_printf(t, " %d%d", pp_shape_is_moe(s, layer), pp_shape_is_windowed(s, layer));
    }
}

static enum pp_status hash_text(struct pp_text *t, char hash[PP_HASH_BYTES], struct pp_err *err) {
    enum pp_status status =
        t->failed ? pp_fail(err, PP_E_NOMEM, "out of memory for the key of a run") : PP_OK;
    if (status == PP_OK) {
        pp_sha256_hex(t->bytes, t->size, hash);
    }
    pp_text_free(t);
    return status;
}

/* What a module, or a stage of spin, takes depends on this and on nothing else. */
static enum pp_status make_model_key(struct pp_run_job *job, struct pp_err *err) {
    const struct pp_run_source *s = job->source;
    const int64_t *scale = job->options->spin_scale;
    struct pp_text t = {0};
    if (s->has_model) {
        put_shape(&t, &s->shape);
        pp_text_printf(&t, " batch %d x %d", s->microbatch_size, s->seq_len);
    } else {
        pp_text_printf(&t, "spin %lld/%lld", (long long)scale[0], (long long)scale[1]);
    }
    for (int32_t stage = 0; !s->has_model && stage < s->step->stage_count; stage++) {
        pp_text_printf(&t, " %lld %lld %lld %lld", (long long)s->costs.f_ns[stage],
                       (long long)s->costs.i_ns[stage], (long long)s->costs.w_ns[stage],
                       (long long)s->costs.b_ns[stage]);
    }
    return hash_text(&t, job->model_key, err);
}

static enum pp_status make_transformer(struct pp_run_job *job, struct pp_err *err) {
    const struct pp_run_options *o = job->options;
    const struct pp_run_source *s = job->source;
    const struct pp_transformer_config config = {
        .shape = s->shape,
        .stage_count = s->step->part_count,
        .stages = s->stages,
        .sequences = s->microbatch_size,
        .length = s->seq_len,
        .microbatches = s->step->microbatch_count * (s->step->stage_count / s->step->part_count),
        .seed = (uint64_t)o->seed,
        .scale_in_schedule = o->scale_in_schedule,
        .optimizer = {.learning_rate = o->learning_rate_value,
                      .beta1 = 0.9F,
                      .beta2 = 0.95F,
                      .epsilon = 1e-8F,
                      .weight_decay = 0.1F},
    };
    return pp_transformer_create(&config, &job->transformer, err);
}

/* Bytes of messages and stashes; spin has none. */
static enum pp_status make_sizes(struct pp_run_job *job, struct pp_err *err) {
    size_t n = (size_t)job->lowered->stage_count;
    job->size_columns = calloc(3 * n, sizeof *job->size_columns);
    if (job->size_columns == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the sizes of %zu stages", n);
    }
    int64_t *at = job->size_columns;
    job->sizes = (struct pp_program_sizes){
        .input_bytes = at, .stash_bytes = at + n, .fixed_bytes = at + 2 * n};
    if (!job->source->has_model) {
        return PP_OK;
    }
    PP_TRY(make_transformer(job, err));
    pp_transformer_sizes(job->transformer, job->lowered, (int64_t)sizeof(float), at, at + n,
                         at + 2 * n);
    return PP_OK;
}

static enum pp_status take_ranks(struct pp_run_job *job, struct pp_err *err) {
    int32_t ranks = job->lowered->rank_count;
    job->rank_begin = job->mpi != NULL ? job->control.process : 0;
    job->rank_end = job->mpi != NULL ? job->control.process + 1 : ranks;
    if (job->mpi != NULL && job->control.process_count != ranks) {
        pp_fail(err, PP_E_VALUE, "%d processes were started for %d ranks",
                job->control.process_count, ranks);
        pp_hint(err, "mpirun -n %d", ranks);
        return PP_E_VALUE;
    }
    return PP_OK;
}

/* What a checkpoint of it belongs to: whoever goes on must train the same. */
static enum pp_status make_checkpoint_key(struct pp_run_job *job, struct pp_err *err) {
    const struct pp_run_source *s = job->source;
    struct pp_text t = {0};
    pp_text_printf(&t, "%s rate %s scale %d microbatches %d", job->model_key,
                   job->options->learning_rate, job->options->scale_in_schedule,
                   s->step->microbatch_count * (s->step->stage_count / s->step->part_count));
    for (int32_t part = 0; s->stages != NULL && part < s->step->part_count; part++) {
        pp_text_printf(&t, " %d-%d", s->stages[part].layer_begin, s->stages[part].layer_end);
    }
    job->checkpoint.seed = (uint64_t)job->options->seed;
    job->checkpoint.stage_count = s->step->part_count;
    pp_copy(job->checkpoint.program, sizeof job->checkpoint.program, job->program->hash);
    return hash_text(&t, job->checkpoint.model, err);
}

enum pp_status pp_run_job_plan(struct pp_run_job *job, struct pp_store *store, struct pp_err *err) {
    const struct pp_lower_options lower = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    const struct pp_run_options *o = job->options;
    PP_TRY(pp_sched_lower(job->source->step, &lower, &job->lowered, err));
    PP_TRY(take_ranks(job, err));
    PP_TRY(make_sizes(job, err));
    PP_TRY(make_model_key(job, err));
    gethostname(job->machine, sizeof job->machine - 1);
    const struct pp_run_place place = {.model_key = job->model_key,
                                       .device = o->device,
                                       .transport = job->mpi != NULL ? "mpi" : "local",
                                       .machine = job->machine};
    PP_TRY(pp_run_expect_init(&job->expect, job->source, o, job->lowered, job->sizes.input_bytes,
                              &place, store, err));
    PP_TRY(pp_program_create(job->lowered, &job->sizes, &job->expect.trace, &job->program, err));
    PP_TRY(make_checkpoint_key(job, err));
    if (o->fault != NULL) {
        PP_TRY(pp_fault_parse(o->fault, job->lowered, &job->fault, err));
    }
    return pp_program_check_memory(job->program, job->rank_begin, job->rank_end,
                                   pp_run_available_bytes(), err);
}

/* ---- the ranks ---- */

static enum pp_status open_transformers(struct pp_run_job *job, int32_t count, struct pp_err *err) {
    job->hosts = calloc((size_t)count, sizeof(struct pp_host *));
    job->ranks = calloc((size_t)count, sizeof(struct pp_transformer_rank *));
    if (job->hosts == NULL || job->ranks == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d ranks", count);
    }
    pp_host_set_threads(1); /* ranks share the machine */
    for (int32_t i = 0; i < count; i++) {
        PP_TRY(pp_host_create(&job->hosts[i], err));
        PP_TRY(pp_transformer_open(job->transformer, job->lowered, job->rank_begin + i,
                                   &pp_host_ops, job->hosts[i], &job->ranks[i], err));
        job->contexts[i] = job->ranks[i];
    }
    job->compute = &pp_transformer_ops;
    return PP_OK;
}

/* How long an action takes: what it is expected to take. */
static int64_t spin_duration(const struct pp_run_job *job, int32_t at) {
    const struct pp_sched *s = job->lowered;
    const struct pp_action *a = &s->actions[at];
    const struct pp_costs *c = &job->expect.costs;
    if (c->pair_ns != NULL && a->pair != 0) {
        return c->pair_ns[s->actions[a->pair == 1 ? at : at - 1].stage];
    }
    switch ((enum pp_action_type)a->type) {
    case PP_F:
        return c->f_ns[a->stage];
    case PP_I:
        return c->i_ns[a->stage];
    case PP_W:
        return c->w_ns[a->stage];
    case PP_B:
        return c->b_ns[a->stage];
    case PP_SEND_F:
    case PP_RECV_F:
    case PP_SEND_B:
    case PP_RECV_B:
    case PP_UNSHARD:
    case PP_RESHARD:
    case PP_REDUCE_GRAD:
    case PP_OFFLOAD:
    case PP_RELOAD:
    case PP_ACTION_TYPE_COUNT:
        break;
    }
    return 0;
}

static enum pp_status open_spins(struct pp_run_job *job, int32_t count, struct pp_err *err) {
    size_t n = (size_t)job->lowered->action_count;
    job->spins = calloc((size_t)count, sizeof(struct pp_spin *));
    job->spin_ns = calloc(n, sizeof *job->spin_ns);
    if (job->spins == NULL || job->spin_ns == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %zu actions", n);
    }
    for (int32_t at = 0; at < job->lowered->action_count; at++) {
        job->spin_ns[at] = spin_duration(job, at);
    }
    for (int32_t i = 0; i < count; i++) {
        PP_TRY(pp_spin_create(job->program, job->spin_ns, &job->spins[i], err));
        job->contexts[i] = job->spins[i];
    }
    job->compute = job->expect.costs.pair_ns != NULL ? &pp_spin_overlap_ops : &pp_spin_ops;
    return PP_OK;
}

static enum pp_status break_on_purpose(struct pp_run_job *job, int32_t count, struct pp_err *err) {
    if (job->fault.kind == PP_FAULT_NONE) {
        return PP_OK;
    }
    PP_TRY(pp_fault_wrap(&job->transport, job->program, &job->fault, err));
    job->faulty = calloc((size_t)count, sizeof *job->faulty);
    if (job->faulty == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d ranks", count);
    }
    for (int32_t i = 0; i < count; i++) {
        pp_fault_wrap_compute(&job->faulty[i], job->compute, job->contexts[i], &job->fault);
        job->contexts[i] = &job->faulty[i];
    }
    job->compute = &job->faulty[0].ops;
    return PP_OK;
}

enum pp_status pp_run_job_open(struct pp_run_job *job, struct pp_err *err) {
    int32_t count = job->rank_end - job->rank_begin;
    job->contexts = calloc((size_t)count, sizeof(void *));
    if (job->contexts == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d ranks", count);
    }
    return job->transformer != NULL ? open_transformers(job, count, err)
                                    : open_spins(job, count, err);
}

enum pp_status pp_run_job_connect(struct pp_run_job *job, struct pp_err *err) {
    if (job->mpi != NULL) {
        PP_TRY(pp_mpi_open(job->mpi, job->program, &job->transport, err));
        PP_TRY(pp_mpi_clock_offset(job->mpi, &job->clock_offset_ns, err));
    } else {
        const struct pp_local_options local = {.buffers = (int32_t)job->options->buffers,
                                               .latency_ns = job->options->latency_ns};
        PP_TRY(pp_local_open(job->program, &local, &job->transport, err));
        job->is_local = true;
    }
    return break_on_purpose(job, job->rank_end - job->rank_begin, err);
}

void pp_run_job_deinit(struct pp_run_job *job) {
    int32_t count = job->rank_end - job->rank_begin;
    if (job->faulty != NULL) {
        pp_fault_unwrap(&job->transport);
    }
    if (job->is_local) {
        pp_local_close(&job->transport);
    } else if (job->transport.ops != NULL) {
        pp_mpi_close(job->mpi, &job->transport);
    }
    for (int32_t i = 0; i < count; i++) {
        if (job->ranks != NULL) {
            pp_transformer_close(job->ranks[i]);
        }
        if (job->hosts != NULL) {
            pp_host_destroy(job->hosts[i]);
        }
        if (job->spins != NULL) {
            pp_spin_destroy(job->spins[i]);
        }
    }
    free(job->faulty);
    free(job->contexts);
    free(job->ranks);
    free(job->hosts);
    free(job->spins);
    free(job->spin_ns);
    pp_transformer_destroy(job->transformer);
    pp_program_destroy(job->program);
    pp_run_expect_deinit(&job->expect);
    free(job->size_columns);
    pp_sched_destroy(job->lowered);
}
