#include "reports/cli/plan_inputs.h"

#include "sim/schedule_csv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

enum { KEY_BYTES = 128 };

enum pp_status pp_setting_parse(const char *text, char *buffer, size_t size,
                                struct pp_setting *setting_p, struct pp_err *err) {
    while (*text == '-') {
        text++;
    }
    const char *equals = strchr(text, '=');
    size_t length = equals == NULL ? 0 : (size_t)(equals - text);
    if (length == 0 || length >= size) {
        pp_fail(err, PP_E_USAGE, "--set %.80s: expected key=value", text);
        pp_hint(err, "such as --set distributed.pipeline.pp_microbatch_size=2");
        return PP_E_USAGE;
    }
    memcpy(buffer, text, length);
    buffer[length] = '\0';
    *setting_p = (struct pp_setting){.dotted = buffer, .value = equals + 1};
    return PP_OK;
}

static enum pp_status read_recipe(struct pp_plan_inputs *in, const struct pp_plan_flags *flags,
                                  struct pp_err *err) {
    size_t n = (size_t)flags->setting_count;
    struct pp_setting *settings = calloc(n + 1, sizeof *settings);
    char(*keys)[KEY_BYTES] = calloc(n + 1, sizeof *keys);
    json_t *list = json_array();
    enum pp_status status = settings == NULL || keys == NULL || list == NULL
                                ? pp_fail(err, PP_E_NOMEM, "out of memory for the settings")
                                : PP_OK;
    for (int32_t i = 0; status == PP_OK && i < flags->setting_count; i++) {
        status = pp_setting_parse(flags->settings[i], keys[i], KEY_BYTES, &settings[i], err);
        if (status == PP_OK) {
            json_array_append_new(list,
                                  json_sprintf("%s=%s", settings[i].dotted, settings[i].value));
        }
    }
    if (status == PP_OK) {
        status =
            pp_recipe_read(flags->recipe_path, settings, flags->setting_count, &in->recipe, err);
    }
    if (status == PP_OK) {
        in->settings_json = json_dumps(list, JSON_COMPACT);
        in->stored.recipe_path = flags->recipe_path;
        in->stored.recipe_text = pp_doc_text(in->recipe->doc);
        in->stored.settings = in->settings_json;
    }
    json_decref(list);
    free(settings);
    free(keys);
    return status;
}

/* A depth that the recipe itself changes: model.config.num_hidden_layers, also under text_config.
 */
static int64_t depth_in_recipe(const struct pp_recipe *recipe) {
    int64_t depth = 0;
    if (recipe->model_config == NULL) {
        return 0;
    }
    const struct pp_node *node = pp_node_get(recipe->model_config, "num_hidden_layers");
    if (node == NULL) {
        const struct pp_node *text = pp_node_get(recipe->model_config, "text_config");
        node = text == NULL ? NULL : pp_node_get(text, "num_hidden_layers");
    }
    return node != NULL && pp_node_get_int(node, &depth) ? depth : 0;
}

static enum pp_status read_config(struct pp_plan_inputs *in, const char *path, struct pp_err *err) {
    struct pp_doc *doc = NULL;
    size_t size = 0;
    PP_TRY(pp_read_file(path, PP_DOC_MAX_BYTES, &in->model_text, &size, err));
    PP_TRY(pp_doc_parse(path, in->model_text, size, &doc, err));
    enum pp_status status = pp_model_from_node(doc, pp_doc_root(doc), in->recipe->doc,
                                               in->recipe->model_config, &in->model, err);
    pp_doc_destroy(doc);
    in->stored.model_text = in->model_text;
    return status;
}

/* By id in the catalogue; the recipe may shorten it. @return whether it was found */
static bool find_in_catalogue(struct pp_plan_inputs *in, const struct pp_catalogue *cat,
                              const char *id) {
    const struct pp_model *known = pp_catalogue_find(cat, id);
    if (known == NULL) {
        return false;
    }
    in->model = *known;
    int64_t depth = depth_in_recipe(in->recipe);
    if (depth > 0 && depth <= PP_MAX_LAYERS) {
        in->model.layer_count = (int32_t)depth;
    }
    return true;
}

/* A recipe may write the whole shape itself (model.config with hidden_size and so on). */
static bool shape_in_recipe(struct pp_plan_inputs *in) {
    const struct pp_recipe *r = in->recipe;
    return r->model_config != NULL &&
           pp_model_from_node(r->doc, r->model_config, NULL, NULL, &in->model, NULL) == PP_OK;
}

static enum pp_status unknown_depth(const struct pp_plan_inputs *in, struct pp_err *err) {
    pp_fail(err, PP_E_NO_SHAPE, "%s is not in the catalogue", in->model_name);
    pp_hint(err, "give its config.json with --model, or its depth with --layers");
    return PP_E_NO_SHAPE;
}

static enum pp_status find_model(struct pp_plan_inputs *in, const struct pp_plan_flags *flags,
                                 struct pp_err *err) {
    const char *id = flags->model != NULL ? flags->model : in->recipe->model_id;
    struct pp_catalogue *cat = NULL;
    pp_copy(in->model_name, sizeof in->model_name, id != NULL ? id : "the recipe's model");
    in->stored.model_name = in->model_name;
    if (flags->model != NULL && access(flags->model, F_OK) == 0) {
        PP_TRY(read_config(in, flags->model, err));
    } else {
        PP_TRY(pp_catalogue_open(&cat, err));
        bool known = (flags->model == NULL && shape_in_recipe(in)) ||
                     (id != NULL && find_in_catalogue(in, cat, id));
        pp_catalogue_close(cat);
        if (!known && flags->model != NULL) {
            pp_fail(err, PP_E_FILE, "--model %s: neither a file nor a model of the catalogue",
                    flags->model);
            pp_hint(err, "`pipeplan models` lists the catalogue");
            return PP_E_FILE;
        }
        if (!known) {
            in->model = (struct pp_model){.layer_count = (int32_t)depth_in_recipe(in->recipe)};
        }
    }
    if (flags->layers > 0) {
        in->model.layer_count = flags->layers;
    }
    in->stored.layers = flags->layers;
    return in->model.layer_count > 0 ? PP_OK : unknown_depth(in, err);
}

/* A relative path counts from the working directory, as in the framework, else from the recipe. */
static enum pp_status read_csv(struct pp_plan_inputs *in, struct pp_err *err) {
    const char *path = in->recipe->pipeline.pp_schedule_csv;
    const char *recipe_path = in->stored.recipe_path;
    const char *slash = strrchr(recipe_path, '/');
    struct pp_text beside = {0};
    size_t size = 0;
    if (path == NULL || in->recipe->pp_size <= 1) {
        return PP_OK;
    }
    if (path[0] != '/' && slash != NULL && access(path, F_OK) != 0) {
        pp_text_add(&beside, recipe_path, (size_t)(slash - recipe_path) + 1);
        pp_text_puts(&beside, path);
    }
    bool use_beside = beside.bytes != NULL && !beside.failed && access(beside.bytes, F_OK) == 0;
    enum pp_status status =
        pp_read_file(use_beside ? beside.bytes : path, PP_CSV_MAX_BYTES, &in->csv_text, &size, err);
    pp_text_free(&beside);
    PP_TRY(status);
    in->stored.csv_text = in->csv_text;
    struct pp_csv_expect expect = {.rank_count = in->recipe->pp_size};
    return pp_sched_csv_parse(path, in->csv_text, size, &expect, &in->csv, err);
}

enum pp_status pp_plan_inputs_read(struct pp_plan_inputs *in, const struct pp_plan_flags *flags,
                                   struct pp_err *err) {
    size_t size = 0;
    PP_TRY(read_recipe(in, flags, err));
    PP_TRY(pp_hardware_load(flags->hardware, &in->hw, err));
    PP_TRY(pp_hardware_text(flags->hardware, &in->hardware_text, &size, err));
    in->stored.hardware_name = in->hw.name;
    in->stored.hardware_text = in->hardware_text;
    PP_TRY(find_model(in, flags, err));
    PP_TRY(read_csv(in, err));
    in->gpus_given = flags->gpus_given;
    in->stored.gpu_count = flags->gpus;
    in->stored.search_pp = flags->search_pp;
    if (!flags->gpus_given) {
        PP_TRY(pp_plan_default_gpus(in->recipe, &in->stored.gpu_count, err));
    }
    return pp_run_id(&in->stored, in->run_id, err);
}

void pp_plan_inputs_deinit(struct pp_plan_inputs *in) {
    pp_recipe_destroy(in->recipe);
    pp_sched_destroy(in->csv);
    free(in->settings_json);
    free(in->model_text);
    free(in->hardware_text);
    free(in->csv_text);
    *in = (struct pp_plan_inputs){0};
}
