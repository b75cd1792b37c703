/* pipeplan plan: a recipe in; what it does, and every better legal change, out. */
#include "reports/cli/cli.h"
#include "reports/cli/plan_inputs.h"
#include "reports/plan_json.h"
#include "reports/plan_text.h"
#include "sim/store.h"

enum { DEFAULT_ROWS = 10 };

static json_t *document_of(const struct pp_plan_inputs *in, const struct pp_plan_set *set) {
    json_t *document = pp_json_document("plan");
    json_object_set_new(document, "run_id", json_string(in->run_id));
    json_object_set_new(document, "recipe", pp_json_text(in->stored.recipe_path));
    json_object_set_new(document, "hardware", json_string(in->hw.name));
    json_object_set_new(document, "gpus", json_integer(in->stored.gpu_count));
    json_object_set_new(document, "gpus_given", json_boolean(in->gpus_given));
    json_object_set_new(document, "model",
                        json_pack("{s:o, s:s?, s:i, s:b}", "name",
                                  pp_json_text(in->stored.model_name), "family", in->model.family,
                                  "layers", (int)in->model.layer_count, "shape_known",
                                  in->model.hidden > 0));
    pp_json_plan_set(document, in->recipe, set);
    return document;
}

static void say_nothing_fits(const struct pp_plan_inputs *in, const struct pp_plan_set *set,
                             struct pp_err *err) {
    if (set->plan_count == 0) {
        pp_fail(err, PP_E_NO_FIT, "no change of the pipeline is legal with this batch on %lld GPUs",
                (long long)in->stored.gpu_count);
        pp_hint(err, "other --gpus, or a larger step_scheduler.global_batch_size");
        return;
    }
    pp_fail(err, PP_E_NO_FIT, "none of %d legal plans fits into %.1f GiB a GPU", set->plan_count,
            (double)in->hw.memory_bytes / (1024.0 * 1024.0 * 1024.0));
    if (in->recipe->recompute == PP_RECOMPUTE_NONE) {
        pp_hint(err, "--set distributed.activation_checkpointing=true");
    } else if (pp_recipe_seq_len(in->recipe) == 0) {
        pp_hint(err, "give the real sequence length with --set dataset.seq_len=N");
    } else {
        pp_hint(err, "more --gpus%s, or other --hardware",
                in->stored.search_pp ? "" : ", --search-pp");
    }
}

/* What the exit code should say. The recipe as it is may be illegal in itself: that is an input
 * error even though legal changes are listed. A batch that only does not divide over the GPUs we
 * assumed is not the recipe's fault, as long as a legal change mends it. */
static void judge(const struct pp_plan_inputs *in, const struct pp_plan_set *set,
                  struct pp_err *err) {
    enum pp_status own = set->current_error.status;
    bool assumed = own == PP_E_BATCH && !in->gpus_given && set->current->microbatch_count > 0 &&
                   set->plan_count > 0;
    if (own != PP_OK && own != PP_E_NO_SHAPE && !assumed) {
        *err = set->current_error;
    } else if (set->best < 0 && own != PP_E_NO_SHAPE) {
        say_nothing_fits(in, set, err);
    }
}

static enum pp_status answer(struct pp_cli *cli, const struct pp_plan_inputs *in,
                             const struct pp_plan_set *set, int32_t rows, struct pp_err *err) {
    struct pp_err verdict = {0};
    judge(in, set, &verdict);
    if (!cli->json) {
        fprintf(cli->out, "%s: %s, %d layers, on %lld x %s%s\n\n", in->stored.recipe_path,
                in->stored.model_name, in->model.layer_count, (long long)in->stored.gpu_count,
                in->hw.name, in->gpus_given ? "" : " (assumed from the recipe; --gpus changes it)");
        PP_TRY(pp_text_plan_set(cli->out, in->recipe, set, rows, err));
    }
    json_t *document = cli->json ? document_of(in, set) : NULL;
    if (cli->json && verdict.status != PP_OK) {
        json_object_set_new(document, "error", pp_json_error(&verdict));
    }
    *err = verdict;
    return pp_cli_answer(cli, document, err);
}

static enum pp_status store(struct pp_cli *cli, const char *path, const struct pp_plan_inputs *in,
                            const struct pp_plan_set *set, struct pp_err *err) {
    struct pp_store *s = NULL;
    PP_TRY(pp_store_open(path, &s, err));
    enum pp_status status =
        pp_store_add_run(s, &in->stored, in->recipe, set, in->run_id, cli->stop, NULL, err);
    pp_store_close(s);
    return status;
}

static enum pp_status plan(struct pp_cli *cli, const struct pp_plan_flags *flags, const char *db,
                           int32_t rows, struct pp_err *err) {
    struct pp_plan_inputs in = {0};
    struct pp_plan_set *set = NULL;
    enum pp_status status = pp_plan_inputs_read(&in, flags, err);
    if (status == PP_OK) {
        struct pp_plan_request request = {
            .run_id = in.run_id,
            .recipe = in.recipe,
            .model = &in.model,
            .hw = &in.hw,
            .gpu_count = in.stored.gpu_count,
            .search_pp = in.stored.search_pp,
            .csv = in.csv,
            .stop = cli->stop,
        };
        status = pp_plan_search(&request, &set, err);
    }
    if (status == PP_OK && db != NULL) {
        status = store(cli, db, &in, set, err);
    }
    if (status == PP_OK) {
        status = answer(cli, &in, set, rows, err);
    }
    pp_plan_set_destroy(set);
    pp_plan_inputs_deinit(&in);
    return status;
}

/* Nothing could be planned: the document has the members of any other, with the error in its place.
 */
static enum pp_status answer_failure(struct pp_cli *cli, struct pp_err *err) {
    json_t *document = pp_json_document("plan");
    json_object_set_new(document, "current", json_pack("{s:o}", "error", pp_json_error(err)));
    json_object_set_new(document, "plans", json_array());
    json_object_set_new(document, "error", pp_json_error(err));
    return pp_cli_answer(cli, document, err);
}

enum pp_status pp_cmd_plan(struct pp_cli *cli, int argc, char **argv, struct pp_err *err) {
    struct pp_plan_flags flags = {.hardware = "h100-sxm"};
    struct pp_option_list settings = {.count = 0};
    const char *db = NULL;
    int64_t layers = 0;
    int64_t rows = DEFAULT_ROWS;
    const struct pp_option options[] = {
        {"--model", PP_OPT_TEXT, &flags.model, NULL, 0, 0, "FILE",
         "the model's config.json, or a catalogue id (default: the recipe's model)"},
        {"--layers", PP_OPT_INT, &layers, NULL, 1, PP_MAX_LAYERS, "L",
         "the model's depth, where its shape is unknown"},
        {"--hardware", PP_OPT_TEXT, &flags.hardware, NULL, 0, 0, "NAME",
         "a name that `pipeplan hardware` lists, or a file (default h100-sxm)"},
        {"--gpus", PP_OPT_INT, &flags.gpus, &flags.gpus_given, 1, 1 << 24, "N",
         "the world (default: the recipe's nodes x 8)"},
        {"--search-pp", PP_OPT_FLAG, &flags.search_pp, NULL, 0, 0, "", "try other pp_size, too"},
        {"--set", PP_OPT_LIST, &settings, NULL, 0, 0, "K=V",
         "change the recipe first; may be repeated"},
        {"--db", PP_OPT_TEXT, &db, NULL, 0, 0, "FILE", "store everything in this SQLite database"},
        {"--rows", PP_OPT_INT, &rows, NULL, 0, PP_PLAN_MAX_ROWS, "N",
         "ranked plans to print (default 10)"},
    };
    const struct pp_usage usage = {
        .synopsis = "pipeplan plan RECIPE.yaml [--model config.json] [--hardware NAME] [--gpus N] "
                    "[--db FILE]",
        .about = "Says what a NeMo Automodel recipe does with its pipeline, whether it fits, and "
                 "which legal changes are better.",
        .example = "pipeplan plan recipe.yaml --hardware h100-sxm --gpus 256 --db plans.db",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
    };
    int32_t count = 0;
    bool helped = false;
    PP_TRY(pp_parse_options(cli, &usage, argc, argv, &flags.recipe_path, 1, &count, &helped, err));
    if (helped) {
        return PP_OK;
    }
    PP_TRY(pp_need_option(count == 1, "RECIPE.yaml", &usage, err));
    flags.layers = (int32_t)layers;
    flags.settings = settings.items;
    flags.setting_count = settings.count;
    enum pp_status status = plan(cli, &flags, db, (int32_t)rows, err);
    bool unsaid = err->status != PP_OK && err->status != PP_E_IO; /* nothing was written yet */
    return cli->json && unsaid ? answer_failure(cli, err) : status;
}
