/* pipeplan calibrate: what stored executions teach about costs. */
#include "reports/calibrated.h"
#include "reports/cli/cli.h"
#include "reports/json.h"

static enum pp_status answer(struct pp_cli *cli, const struct pp_calibration *c,
                             struct pp_err *err) {
    if (!cli->json) {
        return pp_text_calibration(cli->out, c, err);
    }
    json_t *document = pp_json_document("calibrate");
    pp_json_calibration(document, c);
    return pp_cli_answer(cli, document, err);
}

static enum pp_status calibrate(struct pp_cli *cli, const char *db,
                                const struct pp_option_list *executions, struct pp_err *err) {
    struct pp_store *store = NULL;
    struct pp_calibration c = {0};
    PP_TRY(pp_store_open_read(db, &store, err)); /* a database that is not there is not made */
    pp_store_close(store);
    PP_TRY(pp_store_open(db, &store, err));
    enum pp_status status =
        pp_calibrate_executions(store, executions->items, executions->count, &c, err);
    if (status == PP_OK) {
        status = pp_store_add_calibration(store, &c, err);
    }
    if (status == PP_OK) {
        status = answer(cli, &c, err);
    }
    pp_calibration_deinit(&c);
    pp_store_close(store);
    return status;
}

enum pp_status pp_cmd_calibrate(struct pp_cli *cli, int argc, char **argv, struct pp_err *err) {
    const char *db = NULL;
    struct pp_option_list executions = {0};
    const struct pp_option options[] = {
        {"--db", PP_OPT_TEXT, &db, NULL, 0, 0, "FILE", "database that `pipeplan run --db` wrote"},
        {"--execution", PP_OPT_LIST, &executions, NULL, 0, 0, "ID",
         "execution, or a unique beginning of its id; may be repeated. Without it the last"},
    };
    const struct pp_usage usage = {
        .synopsis = "pipeplan calibrate --db FILE [--execution ID]...",
        .about = "Learns from the traces of executions what each module of the model, an action "
                 "and a message take on this machine, and stores it, so that later runs, also of "
                 "other splits and schedules of the model, are predicted in its time.",
        .example = "pipeplan calibrate --db plans.db --execution 3f9c",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
    };
    int32_t count = 0;
    bool helped = false;
    PP_TRY(pp_parse_options(cli, &usage, argc, argv, NULL, 0, &count, &helped, err));
    if (helped) {
        return PP_OK;
    }
    PP_TRY(pp_need_option(db != NULL, "--db", &usage, err));
    return calibrate(cli, db, &executions, err);
}
