/* `pipeplan models`: the catalogue, or the shape and size of one config.json. */
#include "costmodel/model.h"
#include "reports/cli/cli.h"
#include "reports/json.h"
#include "reports/table.h"

#include <string.h>

/* ---- the catalogue ---- */

/* Depth is known of every entry, the rest only where hidden is not 0. */
static bool has_shape(const struct pp_model *m) {
    return m->hidden > 0;
}

static json_t *params_json(const struct pp_model *m, bool active) {
    return has_shape(m) ? json_integer(pp_model_total_params(m, active)) : json_null();
}

static json_t *entry_json(const struct pp_model *m) {
    json_t *row = json_object();
    json_object_set_new(row, "id", json_string(m->id));
    json_object_set_new(row, "family", json_string(m->family));
    json_object_set_new(row, "layers", json_integer(m->layer_count));
    json_object_set_new(row, "hidden", has_shape(m) ? json_integer(m->hidden) : json_null());
    json_object_set_new(row, "parameters_total", params_json(m, false));
    json_object_set_new(row, "parameters_active", params_json(m, true));
    json_object_set_new(row, "source", json_string(m->source));
    return row;
}

static void entry_row(const struct pp_model *m, struct pp_table *t) {
    char total[PP_NUMBER_BYTES];
    char active[PP_NUMBER_BYTES];
    pp_table_cell(t, "%s", m->id);
    pp_table_cell(t, "%s", m->family);
    pp_table_cell(t, "%d", m->layer_count);
    if (has_shape(m)) {
        pp_table_cell(t, "%lld", (long long)m->hidden);
        pp_table_cell(t, "%s", pp_count_text(pp_model_total_params(m, false), total));
        pp_table_cell(t, "%s", pp_count_text(pp_model_total_params(m, true), active));
    } else {
        pp_table_cell(t, "-");
        pp_table_cell(t, "-");
        pp_table_cell(t, "-");
    }
}

static enum pp_status catalogue_json(struct pp_cli *cli, const struct pp_catalogue *cat) {
    json_t *rows = json_array();
    for (int32_t i = 0; i < pp_catalogue_count(cat); i++) {
        json_array_append_new(rows, entry_json(pp_catalogue_at(cat, i)));
    }
    json_t *document = pp_json_document(cli->command);
    json_object_set_new(document, "models", rows);
    return pp_cli_answer(cli, document, NULL);
}

static enum pp_status catalogue_table(struct pp_cli *cli, const struct pp_catalogue *cat,
                                      struct pp_err *err) {
    struct pp_table t;
    pp_table_init(&t, "llrrrr");
    pp_table_row(&t,
                 (const char *const[]){"id", "family", "layers", "hidden", "parameters", "active"});
    for (int32_t i = 0; i < pp_catalogue_count(cat); i++) {
        entry_row(pp_catalogue_at(cat, i), &t);
    }
    enum pp_status status = pp_table_print(&t, cli->out, err);
    pp_table_deinit(&t);
    return status;
}

static enum pp_status show_catalogue(struct pp_cli *cli, struct pp_err *err) {
    struct pp_catalogue *cat = NULL;
    PP_TRY(pp_catalogue_open(&cat, err));
    enum pp_status status = cli->json ? catalogue_json(cli, cat) : catalogue_table(cli, cat, err);
    pp_catalogue_close(cat);
    return status;
}

/* ---- one config ---- */

/* A figure of the shape; 0 is shown as it is: "none" in every case. */
struct figure {
    const char *name;
    int64_t value;
};

enum { MAX_FIGURES = 32 };

static int32_t figures_of(const struct pp_model *m, struct figure figures[MAX_FIGURES]) {
    const struct figure all[] = {
        {"layers", m->layer_count},
        {"hidden", m->hidden},
        {"vocab", m->vocab},
        {"heads", m->heads},
        {"kv_heads", m->kv_heads},
        {"head_dim", m->head_dim},
        {"q_rank", m->q_rank},
        {"kv_rank", m->kv_rank},
        {"qk_nope_dim", m->qk_nope_dim},
        {"qk_rope_dim", m->qk_rope_dim},
        {"v_dim", m->v_dim},
        {"sliding_window", m->sliding_window},
        {"ffn", m->ffn},
        {"experts", m->experts},
        {"experts_per_token", m->experts_per_token},
        {"expert_ffn", m->expert_ffn},
        {"shared_ffn", m->shared_ffn},
        {"mtp_layers", m->mtp_layers},
    };
    _Static_assert(sizeof all <= sizeof(struct figure[MAX_FIGURES]), "room for every figure");
    memcpy(figures, all, sizeof all);
    return sizeof all / sizeof all[0];
}

static int32_t moe_layers(const struct pp_model *m) {
    int32_t count = 0;
    for (int32_t layer = 0; layer < m->layer_count; layer++) {
        count += pp_model_is_moe_layer(m, layer);
    }
    return count;
}

static enum pp_status config_json(struct pp_cli *cli, const struct pp_model *m) {
    json_t *shape = json_object();
    struct figure figures[MAX_FIGURES];
    int32_t count = figures_of(m, figures);
    for (int32_t i = 0; i < count; i++) {
        json_object_set_new(shape, figures[i].name, json_integer(figures[i].value));
    }
    json_object_set_new(shape, "moe_layers", json_integer(moe_layers(m)));
    json_object_set_new(shape, "attention",
                        json_string(m->attention == PP_ATTENTION_MLA ? "mla" : "gqa"));
    json_object_set_new(shape, "gated", json_boolean(m->gated));
    json_object_set_new(shape, "tied_embeddings", json_boolean(m->tied));
    json_t *document = pp_json_document(cli->command);
    json_object_set_new(document, "id", json_string(m->id));
    json_object_set_new(document, "family", json_string(m->family));
    json_object_set_new(document, "parameters_total",
                        json_integer(pp_model_total_params(m, false)));
    json_object_set_new(document, "parameters_active",
                        json_integer(pp_model_total_params(m, true)));
    json_object_set_new(document, "shape", shape);
    return pp_cli_answer(cli, document, NULL);
}

static enum pp_status config_table(struct pp_cli *cli, const struct pp_model *m,
                                   struct pp_err *err) {
    fprintf(cli->out, "%s: %s, %s attention, %s MLP%s\n\n", m->id, m->family,
            m->attention == PP_ATTENTION_MLA ? "latent" : "grouped-query",
            m->gated ? "gated" : "plain", m->tied ? ", tied embeddings" : "");
    struct pp_table t;
    pp_table_init(&t, "lr");
    pp_table_row(&t, (const char *const[]){"figure", "value"});
    pp_table_cell(&t, "parameters_total");
    pp_table_cell(&t, "%lld", (long long)pp_model_total_params(m, false));
    pp_table_cell(&t, "parameters_active");
    pp_table_cell(&t, "%lld", (long long)pp_model_total_params(m, true));
    struct figure figures[MAX_FIGURES];
    int32_t count = figures_of(m, figures);
    for (int32_t i = 0; i < count; i++) {
        if (figures[i].value != 0) {
            pp_table_cell(&t, "%s", figures[i].name);
            pp_table_cell(&t, "%lld", (long long)figures[i].value);
        }
    }
    if (m->experts > 0) {
        pp_table_cell(&t, "moe_layers");
        pp_table_cell(&t, "%d", moe_layers(m));
    }
    enum pp_status status = pp_table_print(&t, cli->out, err);
    pp_table_deinit(&t);
    return status;
}

static enum pp_status show_config(struct pp_cli *cli, const char *path, struct pp_err *err) {
    struct pp_doc *doc = NULL;
    struct pp_model m;
    PP_TRY(pp_doc_read(path, &doc, err));
    enum pp_status status = pp_model_from_node(doc, pp_doc_root(doc), NULL, NULL, &m, err);
    pp_doc_destroy(doc);
    PP_TRY(status);
    return cli->json ? config_json(cli, &m) : config_table(cli, &m, err);
}

enum pp_status pp_cmd_models(struct pp_cli *cli, int argc, char **argv, struct pp_err *err) {
    const struct pp_usage usage = {
        .synopsis = "pipeplan models [CONFIG.json]",
        .about = "The models this program knows, or the shape and parameter counts of a Hugging "
                 "Face config.json.",
        .example = "pipeplan models config.json",
    };
    const char *path = NULL;
    int32_t count;
    bool helped;
    PP_TRY(pp_parse_options(cli, &usage, argc, argv, &path, 1, &count, &helped, err));
    if (helped) {
        return PP_OK;
    }
    return count == 0 ? show_catalogue(cli, err) : show_config(cli, path, err);
}
