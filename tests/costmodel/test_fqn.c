#include "costmodel/fqn.h"
#include "costmodel/split.h"
#include "tests/packed_table.h"

#include <jansson.h>

/* Appends "a,b;c,d": parts by semicolons, names by commas. */
struct join {
    struct pp_text *out;
    int32_t stage;
};

static void join_name(void *context, int32_t stage, const char *name) {
    struct join *j = context;
    pp_text_puts(j->out, j->out->size > 0 && j->stage == stage ? "," : "");
    for (; j->stage < stage; j->stage++) {
        pp_text_puts(j->out, j->stage < 0 ? "" : ";");
    }
    pp_text_puts(j->out, name);
}

/* Keys as tests/tools/pack_nemo.sh writes them: "letters:prefix:lm_head", "stages/layers". */
static void lists_result(char *const *keys, struct pp_text *out) {
    char *variant = strdup(keys[0]);
    char *prefix = strchr(variant, ':') + 1;
    char *lm_head = strchr(prefix, ':') + 1;
    prefix[-1] = lm_head[-1] = '\0';
    const char *encoders[32];
    int32_t encoder_count = 0;
    char names[32][48];
    for (; pp_fqn_encoder_name(encoder_count) != NULL; encoder_count++) {
        snprintf(names[encoder_count], sizeof names[0], "model.%s",
                 pp_fqn_encoder_name(encoder_count));
        encoders[encoder_count] = names[encoder_count];
    }
    struct pp_fqn_options options = {
        .prefix = prefix,
        .lm_head = lm_head,
        .with_encoders = strchr(variant, 'e') != NULL,
        .without_embeddings = strchr(variant, 'n') != NULL,
        .without_lm_head = strchr(variant, 'h') != NULL,
        .without_rotary_emb = strchr(variant, 'r') != NULL,
        .extra_names = encoders,
        .extra_count = strchr(variant, 'x') != NULL ? encoder_count : 0,
    };
    struct pp_text lists = {0};
    struct join j = {&lists, 0};
    cr_assert_eq(pp_fqn_generate(atoi(strchr(keys[1], '/') + 1), atoi(keys[1]), &options, join_name,
                                 &j, NULL),
                 PP_OK);
    pp_text_puts(out, lists.bytes);
    pp_text_free(&lists);
    free(variant);
}

Test(fqn, lists_agree_with_automodel) {
    cr_assert_eq(packed_check(PP_TEST_DIR "/costmodel/fqn_lists.packed", lists_result), 91);
}

static const char *text_or(const json_t *row, const char *key, const char *other) {
    const char *s = json_string_value(json_object_get(row, key));
    return s != NULL ? s : other;
}

static void check_row(const json_t *row) {
    char variant[256];
    char counts[64];
    snprintf(variant, sizeof variant, "%s%s%s%s%s:%s:%s",
             json_is_false(json_object_get(row, "include_multimodal_encoders")) ? "-" : "e",
             json_is_false(json_object_get(row, "include_embeddings")) ? "n" : "",
             json_is_false(json_object_get(row, "include_lm_head")) ? "h" : "",
             json_is_false(json_object_get(row, "include_rotary_emb")) ? "r" : "",
             json_object_get(row, "extra_module_fqns") != NULL ? "x" : "",
             text_or(row, "fqn_prefix", "model."), text_or(row, "lm_head_fqn", "lm_head"));
    snprintf(counts, sizeof counts, "%lld/%lld",
             (long long)json_integer_value(json_object_get(row, "num_stages")),
             (long long)json_integer_value(json_object_get(row, "num_layers")));
    struct pp_text wanted = {0};
    size_t part;
    size_t i;
    json_t *names;
    json_t *name;
    json_array_foreach(json_object_get(row, "result"), part, names) {
        pp_text_puts(&wanted, part == 0 ? "" : ";");
        json_array_foreach(names, i, name) {
            pp_text_puts(&wanted, i == 0 ? "" : ",");
            pp_text_puts(&wanted, json_string_value(name));
        }
    }
    struct pp_text got = {0};
    lists_result((char *const[]){variant, counts}, &got);
    cr_assert_str_eq(got.bytes, wanted.bytes, "%s %s", variant, counts);
    pp_text_free(&got);
    pp_text_free(&wanted);
}

Test(fqn, lists_agree_row_by_row) {
    FILE *f = fopen(PP_SHARED_DIR "/golden/nemo/fqn_lists.jsonl", "r");
    if (f == NULL) {
        cr_skip_test("../shared is not there");
    }
    int rows = 0;
    json_t *row;
    while ((row = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)) != NULL) {
        check_row(row);
        json_decref(row);
        rows++;
    }
    fclose(f);
    cr_assert_gt(rows, 80);
}

/* Splits "a,b;c,d" (a copy) into lists and checks them. */
static enum pp_status check_text(const char *text, int layers, int pp, int32_t *counts,
                                 struct pp_err *err) {
    char *copy = strdup(text);
    const char *names[4096];
    int32_t begin[257] = {0};
    struct pp_fqn_lists lists = {.part_begin = begin, .names = names};
    int32_t n = 0;
    char *part = copy;
    while (part != NULL) {
        char *next = strchr(part, ';');
        if (next != NULL) {
            *next++ = '\0';
        }
        char *save;
        for (char *name = strtok_r(part, ",", &save); name != NULL && n < 4096;
             name = strtok_r(NULL, ",", &save)) {
            names[n++] = name;
        }
        begin[++lists.part_count] = n;
        part = lists.part_count < 256 ? next : NULL;
    }
    enum pp_status status = pp_fqn_check(&lists, layers, pp, counts, err);
    free(copy);
    return status;
}

Test(fqn, generated_lists_pass_the_check) {
    const char *const prefixes[] = {"model.", "", "model.language_model.", "a.b.c."};
    for (size_t p = 0; p < sizeof prefixes / sizeof prefixes[0]; p++) {
        for (int layers = 1; layers <= 40; layers += 3) {
            for (int stages = 1; stages <= layers; stages++) {
                struct pp_fqn_options o = {.prefix = prefixes[p], .with_encoders = stages % 2 == 0};
                struct pp_text text = {0};
                struct join j = {&text, 0};
                int32_t counts[40];
                struct pp_err err = {0};
                cr_assert_eq(pp_fqn_generate(layers, stages, &o, join_name, &j, NULL), PP_OK);
                cr_assert_eq(check_text(text.bytes, layers, stages, counts, &err), PP_OK, "%s",
                             err.message);
                for (int s = 0; s < stages; s++) {
                    cr_assert_eq(counts[s], pp_split_layers_of(layers, stages, s));
                }
                pp_text_free(&text);
            }
        }
    }
}

static const struct refusal {
    const char *lists;
    int layers, pp;
    const char *says; /* NULL: accepted */
} refusals[] = {
    {"m.embed_tokens,m.layers.0;m.layers.1,m.norm,lm_head", 2, 2, NULL},
    {"m.embed_tokens,m.rotary_emb,m.layers.0;m.layers.1,m.norm,m.lm_head,m.rotary_emb", 2, 2, NULL},
    {"m.embed_tokens;m.layers.0,m.layers.1;m.norm,lm_head", 2, 3, NULL},
    {"vision_tower,m.embed_tokens,m.layers.0;m.layers.1,m.norm,lm_head", 2, 2, NULL},
    {"m.embed_tokens,m.layers.0;m.layers.1;m.norm,lm_head", 2, 2, "3 parts, expected a multiple"},
    {"m.embed_tokens,m.layers.0;m.layers.1,m.norm,lm_head", 3, 2, "end with layer 1"},
    {"m.embed_tokens,m.layers.0,m.layers.1;m.layers.2,m.norm,lm_head", 2, 2,
     "part 1 lists m.layers.2, but the model has 2 layers (0 to 1)"},
    {"m.embed_tokens,m.layers.0;m.layers.0,m.layers.1,m.norm,lm_head", 2, 2,
     "part 1 lists m.layers.0, which stands before already"},
    {"m.embed_tokens,m.layers.1;m.layers.0,m.norm,lm_head", 2, 2,
     "part 0 lists m.layers.1 where layer 0 was expected"},
    {"m.layers.0;m.embed_tokens,m.layers.1,m.norm,lm_head", 2, 2,
     "part 1 lists m.embed_tokens, which belongs in the first part (0)"},
    {"m.embed_tokens,m.layers.0,m.norm;m.layers.1,lm_head", 2, 2,
     "part 0 lists m.norm, which belongs in the last part (1)"},
    {"m.embed_tokens,m.layers.0,lm_head;m.layers.1,m.norm", 2, 2, "part 0 lists lm_head"},
    {"m.embed_tokens,m.layers.0;m.layers.1,m.norm", 2, 2, "no part lists lm_head"},
    {"m.layers.0;m.layers.1,m.norm,lm_head", 2, 2, "no part lists embed_tokens"},
    {"m.embed_tokens,m.embed_tokens,m.layers.0;m.layers.1,m.norm,lm_head", 2, 2, "twice"},
    {"m.embed_tokens,m.layers.0;m.visual,m.layers.1,m.norm,lm_head", 2, 2,
     "part 1 lists the encoder m.visual"},
    {"m.embed_tokens,m.layers.0.mlp;m.layers.0,m.layers.1,m.norm,lm_head", 2, 2,
     "part 0 lists m.layers.0.mlp, which is not a module"},
    {"m.embed_tokens,m.layers.00;m.layers.1,m.norm,lm_head", 2, 2, "m.layers.00, which is not"},
    {"m.embed_tokens,m.layers.99999999999999999999;m.layers.1,m.norm,lm_head", 2, 2,
     "but the model has 2"},
    {"m.embed_tokens,m.layers.0;;m.layers.1,m.norm,lm_head", 2, 3, "part 1 holds no layer"},
    {";m.embed_tokens,m.layers.0,m.norm,lm_head", 1, 2, "part 0 holds no layer"},
    {"embed,head", 1, 1, "no part lists a layer"},
    {"", 1, 1, "no part lists a layer"},
    {"m.layers.0", 0, 1, "expected at least 1"},
    {"m.layers.0", 1, 0, "expected at least 1"},
};

Test(fqn, check_names_part_and_module) {
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *r = &refusals[i];
        struct pp_err err = {0};
        int32_t counts[8] = {-1, -1};
        enum pp_status status = check_text(r->lists, r->layers, r->pp, counts, &err);
        cr_expect_eq(status, r->says == NULL ? PP_OK : PP_E_FQN, "%zu: %s", i, err.message);
        cr_expect(r->says == NULL || strstr(err.message, r->says) != NULL, "%zu: %s", i,
                  err.message);
        cr_expect(r->says == NULL || counts[0] == -1, "%zu: output written on failure", i);
    }
}

Test(fqn, mutated_lists_never_crash) {
    const char *good = "model.embed_tokens,model.layers.0,model.layers.1;model.layers.2,model.norm,"
                       "lm_head,model.rotary_emb";
    const char bytes[] = "model.layrs,;0123456789\x80 ";
    uint32_t state = 99;
    for (int i = 0; i < 20000; i++) {
        char text[256];
        strcpy(text, good);
        for (int k = 0; k < 1 + i % 4; k++) {
            state = state * 1664525u + 1013904223u;
            size_t at = (state >> 8) % strlen(text);
            char c = bytes[(state >> 20) % (sizeof bytes - 1)];
            if (state % 3 == 0) {
                memmove(text + at, text + at + 1, strlen(text + at));
            } else {
                text[at] = c;
            }
        }
        struct pp_err err = {0};
        enum pp_status status = check_text(text, 3, 2, NULL, &err);
        cr_assert(status == PP_E_FQN || status == PP_OK);
    }
}
