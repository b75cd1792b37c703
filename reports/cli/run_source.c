#include "reports/cli/run_source.h"

#include "costmodel/split.h"
#include "reports/cli/plan_inputs.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_SEQ_LEN = 256, KEY_BYTES = 128 };

/* ---- the model ---- */

static enum pp_status parse_model(const char *name, const char *text,
                                  const struct pp_recipe *recipe, struct pp_model *model_p,
                                  struct pp_err *err) {
    struct pp_doc *doc = NULL;
    PP_TRY(pp_doc_parse(name, text, strlen(text), &doc, err));
    enum pp_status status =
        pp_model_from_node(doc, pp_doc_root(doc), recipe != NULL ? recipe->doc : NULL,
                           recipe != NULL ? recipe->model_config : NULL, model_p, err);
    pp_doc_destroy(doc);
    return status;
}

static enum pp_status read_model_file(const char *path, struct pp_model *model_p,
                                      struct pp_err *err) {
    char *text = NULL;
    size_t size = 0;
    PP_TRY(pp_read_file(path, PP_DOC_MAX_BYTES, &text, &size, err));
    enum pp_status status = parse_model(path, text, NULL, model_p, err);
    free(text);
    return status;
}

static enum pp_status find_known(const char *id, struct pp_model *model_p, struct pp_err *err) {
    struct pp_catalogue *cat = NULL;
    PP_TRY(pp_catalogue_open(&cat, err));
    const struct pp_model *known = pp_catalogue_find(cat, id);
    if (known != NULL) {
        *model_p = *known;
    }
    pp_catalogue_close(cat);
    if (known == NULL) {
        pp_fail(err, PP_E_NO_SHAPE, "the shape of %.120s is not known", id);
        pp_hint(err, "give its config.json, or that of a small model as deep, with --model");
        return PP_E_NO_SHAPE;
    }
    return PP_OK;
}

/* The model that the plan was made for. */
static enum pp_status read_planned_model(struct pp_store *store, const char *run_id,
                                         const struct pp_recipe *recipe, struct pp_model *model_p,
                                         struct pp_err *err) {
    char *name = NULL;
    char *text = NULL;
    int32_t layers = 0;
    PP_TRY(pp_store_read_model(store, run_id, &name, &text, &layers, err));
    enum pp_status status;
    if (text != NULL) {
        status = parse_model(name, text, recipe, model_p, err);
    } else if (recipe->model_config != NULL &&
               pp_model_from_node(recipe->doc, recipe->model_config, NULL, NULL, model_p, NULL) ==
                   PP_OK) {
        status = PP_OK; /* the recipe writes the whole shape itself */
    } else {
        status = find_known(name != NULL ? name : "the plan's model", model_p, err);
    }
    if (status == PP_OK && layers > 0) {
        model_p->layer_count = layers;
    }
    free(name);
    free(text);
    return status;
}

/* ---- a plan ---- */

/* The recipe as it was planned: its text, then the run's own settings. */
static enum pp_status read_recipe(const struct pp_stored_run *run, struct pp_recipe **recipe_p,
                                  struct pp_err *err) {
    struct pp_doc *doc = NULL;
    if (run->recipe_path == NULL || run->recipe_text == NULL) {
        return pp_fail(err, PP_E_STORE, "the recipe of run %s cannot be read back", run->run_id);
    }
    PP_TRY(pp_doc_parse(run->recipe_path, run->recipe_text, strlen(run->recipe_text), &doc, err));
    json_t *settings = json_loads(run->settings, 0, NULL);
    for (size_t i = 0; i < json_array_size(settings); i++) {
        struct pp_setting setting;
        char key[KEY_BYTES];
        const char *text = json_string_value(json_array_get(settings, i));
        enum pp_status status =
            text == NULL ? pp_fail(err, PP_E_STORE, "the settings of run %s cannot be read back",
                                   run->run_id)
                         : pp_setting_parse(text, key, sizeof key, &setting, err);
        if (status == PP_OK) {
            status = pp_doc_set(doc, setting.dotted, setting.value, err);
        }
        if (status != PP_OK) {
            json_decref(settings);
            pp_doc_destroy(doc);
            return status;
        }
    }
    json_decref(settings);
    return pp_recipe_from_doc(doc, recipe_p, err);
}

static enum pp_status take_batch(struct pp_run_source *s, const struct pp_run_options *o,
                                 int64_t seq_len, int64_t microbatch_size, struct pp_err *err) {
    s->seq_len = (int32_t)(o->seq_len > 0 ? o->seq_len : seq_len);
    s->microbatch_size = (int32_t)(o->microbatch_size > 0 ? o->microbatch_size : microbatch_size);
    int64_t tokens = (int64_t)s->seq_len * s->microbatch_size;
    if (seq_len > INT32_MAX || tokens > INT32_MAX / 2) {
        return pp_fail(err, PP_E_RANGE,
                       "a microbatch of %lld tokens is more than the executor takes",
                       (long long)tokens);
    }
    return PP_OK;
}

static enum pp_status take_plan_model(struct pp_run_source *s, const struct pp_run_options *o,
                                      struct pp_store *store, struct pp_model *model_p,
                                      struct pp_err *err) {
    struct pp_recipe *recipe = NULL;
    const struct pp_plan *plan = &s->plan.plan;
    PP_TRY(read_recipe(&s->plan.run, &recipe, err));
    int64_t seq_len = pp_recipe_seq_len(recipe);
    enum pp_status status = take_batch(s, o, seq_len > 0 ? seq_len : PP_PLAN_ASSUMED_SEQ_LEN,
                                       plan->config.microbatch_size, err);
    if (status == PP_OK && o->model == NULL) {
        status = read_planned_model(store, s->plan.run.run_id, recipe, model_p, err);
    }
    pp_recipe_destroy(recipe);
    return status == PP_OK && o->model != NULL ? read_model_file(o->model, model_p, err) : status;
}

/* ---- stages ---- */

static enum pp_status take_stages(struct pp_run_source *s, const struct pp_model *model,
                                  struct pp_err *err) {
    int32_t parts = s->step->part_count;
    const int32_t *counts = s->has_plan ? s->plan.plan.layer_counts : NULL;
    int64_t layers = 0;
    for (int32_t part = 0; counts != NULL && part < parts; part++) {
        layers += counts[part];
    }
    if (counts != NULL && layers != model->layer_count) {
        pp_fail(err, PP_E_VALUE, "the plan splits %lld layers, %s has %d", (long long)layers,
                model->id, model->layer_count);
        pp_hint(err, "give a config.json of %lld layers", (long long)layers);
        return PP_E_VALUE;
    }
    if (counts == NULL && parts > model->layer_count) {
        return pp_fail(err, PP_E_SPLIT, "%d stages for the %d layers of %s", parts,
                       model->layer_count, model->id);
    }
    s->stages = calloc((size_t)parts, sizeof *s->stages);
    s->split = calloc((size_t)s->step->stage_count, sizeof *s->split);
    if (s->stages == NULL || s->split == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d stages", parts);
    }
    int32_t next = 0;
    for (int32_t part = 0; part < parts; part++) {
        int32_t count =
            counts != NULL ? counts[part] : pp_split_layers_of(model->layer_count, parts, part);
        s->stages[part] = (struct pp_stage_modules){.embedding = part == 0,
                                                    .head = part + 1 == parts,
                                                    .layer_begin = next,
                                                    .layer_end = next + count};
        next += count;
    }
    for (int32_t stage = 0; stage < s->step->stage_count; stage++) { /* a copy holds the same */
        const struct pp_stage_modules *m = &s->stages[stage % parts];
        s->split[stage] = (struct pp_split_stage){.embedding = m->embedding,
                                                  .head = m->head,
                                                  .layer_begin = m->layer_begin,
                                                  .layer_end = m->layer_end};
    }
    return PP_OK;
}

static enum pp_status repeat(struct pp_run_source *s, const struct pp_sched *flush, int64_t count,
                             struct pp_err *err) {
    if (count > PP_SCHED_MAX_MICROBATCHES) {
        return pp_fail(err, PP_E_RANGE, "a step of %lld flushes is too long to run",
                       (long long)count);
    }
    s->flush_count = (int32_t)count;
    return pp_sched_repeat(flush, s->flush_count, &s->step, err);
}

static bool wants_model(const struct pp_run_options *o, bool there_is_one) {
    return o->workload != NULL ? strcmp(o->workload, "transformer") == 0 : there_is_one;
}

static enum pp_status init_plan(struct pp_run_source *s, const struct pp_run_options *o,
                                struct pp_store *store, struct pp_model *model_p,
                                struct pp_err *err) {
    PP_TRY(pp_stored_plan_load(store, o->plan_id, &s->plan, err));
    s->has_plan = true;
    const struct pp_plan *plan = &s->plan.plan;
    s->name = plan->config.schedule != NULL ? plan->config.schedule->name : "no pipeline";
    s->costs = pp_replay_costs(&s->plan.replay, plan);
    PP_TRY(repeat(s, s->plan.replay.sched,
                  o->flushes > 0 ? o->flushes : pp_max_i64(plan->flush_count, 1), err));
    s->has_model = wants_model(o, true);
    return s->has_model ? take_plan_model(s, o, store, model_p, err) : PP_OK;
}

static enum pp_status check_limit(const struct pp_run_source *s, const struct pp_cost_options *o,
                                  struct pp_err *err) {
    if (!o->has_limit) {
        return PP_OK;
    }
    struct pp_activation worst;
    struct pp_activation *peaks = malloc((size_t)s->flush->rank_count * sizeof *peaks);
    if (peaks == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d ranks", s->flush->rank_count);
    }
    enum pp_status status = pp_stage_costs_peaks(&s->flag_costs, s->flush, peaks, err);
    if (status == PP_OK) {
        status = pp_activation_check(o, s->flush, peaks, &worst, err);
    }
    free(peaks);
    return status;
}

static enum pp_status init_schedule(struct pp_run_source *s, const struct pp_run_options *o,
                                    const struct pp_usage *usage, struct pp_model *model_p,
                                    struct pp_err *err) {
    const struct pp_schedule_info *info = NULL;
    PP_TRY(pp_sched_options_make(&o->sched, &o->costs, usage, &info, &s->flush, err));
    s->name = info != NULL ? info->name : o->sched.csv;
    PP_TRY(pp_stage_costs_init(&s->flag_costs, &o->costs, s->flush, err));
    s->costs = s->flag_costs.costs;
    PP_TRY(check_limit(s, &o->costs, err));
    PP_TRY(repeat(s, s->flush, o->flushes > 0 ? o->flushes : 1, err));
    s->has_model = wants_model(o, o->model != NULL);
    if (!s->has_model) {
        return PP_OK;
    }
    PP_TRY(pp_need_option(o->model != NULL, "--model", usage, err));
    PP_TRY(take_batch(s, o, DEFAULT_SEQ_LEN, 1, err));
    return read_model_file(o->model, model_p, err);
}

enum pp_status pp_run_source_init(struct pp_run_source *source, const struct pp_run_options *o,
                                  const struct pp_usage *usage, struct pp_store *store,
                                  struct pp_err *err) {
    struct pp_model model = {0};
    *source = (struct pp_run_source){0};
    PP_TRY(o->plan_id != NULL ? init_plan(source, o, store, &model, err)
                              : init_schedule(source, o, usage, &model, err));
    if (!source->has_model) {
        return PP_OK;
    }
    if (source->step->slice_count > 1) {
        pp_fail(err, PP_E_VALUE,
                "%s runs slices of sequences, for which the executor's attention "
                "has no cache yet",
                source->name);
        pp_hint(err, "--workload spin");
        return PP_E_VALUE;
    }
    PP_TRY(pp_run_shape(&model, &source->shape, &source->remarks, err));
    return take_stages(source, &model, err);
}

void pp_run_source_deinit(struct pp_run_source *source) {
    if (source->has_plan) {
        pp_stored_plan_deinit(&source->plan);
    }
    pp_sched_destroy(source->step);
    pp_stage_costs_deinit(&source->flag_costs);
    pp_sched_destroy(source->flush);
    free(source->stages);
    free(source->split);
    *source = (struct pp_run_source){0};
}
