#include "costmodel/model.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum pp_status parse(const char *text, struct pp_model *m, struct pp_err *err) {
    struct pp_doc *doc = NULL;
    enum pp_status status = pp_doc_parse("config.json", text, strlen(text), &doc, err);
    if (status == PP_OK) {
        status = pp_model_from_node(doc, pp_doc_root(doc), NULL, NULL, m, err);
    }
    pp_doc_destroy(doc);
    return status;
}

static int64_t total_of(const char *text, bool active) {
    struct pp_model m;
    struct pp_err err = {0};
    cr_assert_eq(parse(text, &m, &err), PP_OK, "%s", err.message);
    return pp_model_total_params(&m, active);
}

static const char *const tiny = "{\"model_type\": \"llama\", \"hidden_size\": 64, "
                                "\"num_hidden_layers\": 3, \"num_attention_heads\": 4, "
                                "\"intermediate_size\": 128, \"vocab_size\": 100}";

Test(model, a_tiny_llama_by_hand) {
    /* layer: 4 * 64 * 64 attention, 3 * 64 * 128 MLP, 2 * 64 norms */
    const int64_t layer = 4 * 64 * 64 + 3 * 64 * 128 + 2 * 64;
    cr_assert_eq(total_of(tiny, false), 3 * layer + 2 * 64 * 100 + 64);
    cr_assert_eq(total_of(tiny, true), 3 * layer + 2 * 64 * 100 + 64);
}

/* One line of a totals table: file, 11 tab-separated columns, total, active, first and last layer. */
static void check_row(char *line, const char *dir) {
    char *cells[16] = {0};
    int n = 0;
    for (char *at = line; at != NULL && n < 16; n++) {
        cells[n] = at;
        at = strchr(at, '\t');
        if (at != NULL) {
            *at++ = '\0';
        }
    }
    cr_assert(n >= 14, "%s", line);
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, cells[0]);
    struct pp_doc *doc = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_doc_read(path, &doc, &err), PP_OK, "%s: %s", path, err.message);
    struct pp_model m;
    cr_assert_eq(pp_model_from_node(doc, pp_doc_root(doc), NULL, NULL, &m, &err), PP_OK, "%s: %s",
                 path, err.message);
    pp_doc_destroy(doc);
    cr_assert_eq(m.layer_count, atoi(cells[3]), "%s", path);
    cr_assert_eq(m.tied, strcmp(cells[9], "True") == 0, "%s", path);
    cr_expect_eq(pp_model_total_params(&m, false), atoll(cells[12]), "%s: total %lld, not %s",
                 path, (long long)pp_model_total_params(&m, false), cells[12]);
    cr_expect_eq(pp_model_total_params(&m, true), atoll(cells[13]), "%s: active %lld, not %s", path,
                 (long long)pp_model_total_params(&m, true), cells[13]);
    char layers[64];
    snprintf(layers, sizeof layers, "%lld,%lld", (long long)pp_model_layer_params(&m, 0, false),
             (long long)pp_model_layer_params(&m, m.layer_count - 1, false));
    cr_expect_str_eq(layers, cells[14], "%s: layers %s, not %s", path, layers, cells[14]);
}

Test(model, agrees_with_every_published_config) {
    const char *dir = PP_SHARED_DIR "/models";
    FILE *f = fopen(PP_SHARED_DIR "/models/models.tsv", "r");
    if (f == NULL) {
        cr_skip_test("no %s", dir);
    }
    char line[4096];
    int rows = 0;
    cr_assert_not_null(fgets(line, sizeof line, f));
    while (fgets(line, sizeof line, f) != NULL) {
        check_row(line, dir);
        rows++;
    }
    fclose(f);
    cr_assert_eq(rows, 36);
}
