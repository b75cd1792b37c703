#include "costmodel/fqn.h"

#include <string.h>

/* Modules that stand exactly once, in a part of their own. */
enum unique { EMBEDDING, NORM, HEAD, UNIQUE_COUNT };

struct check {
    const struct pp_fqn_lists *lists;
    int32_t layer_count;
    const char *prefix; /* of the text model, not terminated: a piece of a name */
    size_t prefix_size;
    int32_t next_layer; /* the one expected next */
    bool seen[UNIQUE_COUNT];
    int32_t part; /* where we are */
    int32_t part_layers;
    struct pp_err *err;
};

static const char *const unique_names[UNIQUE_COUNT] = {"embed_tokens", "norm", "lm_head"};

/* The number at the end of "layers.<number>" or -1; *stem_p is how much stands before "layers". */
static int64_t layer_number(const char *name, size_t *stem_p) {
    const char *dot = strrchr(name, '.');
    static const char word[] = "layers";
    size_t word_size = sizeof word - 1;
    if (dot == NULL || (size_t)(dot - name) < word_size ||
        memcmp(dot - word_size, word, word_size) != 0) {
        return -1;
    }
    size_t stem = (size_t)(dot - name) - word_size;
    size_t digits = strspn(dot + 1, "0123456789");
    bool whole_word = stem == 0 || name[stem - 1] == '.';
    if (!whole_word || digits == 0 || dot[1 + digits] != '\0' || (digits > 1 && dot[1] == '0')) {
        return -1;
    }
    int64_t n = 0;
    for (size_t i = 0; i < digits && n < INT32_MAX; i++) {
        n = n * 10 + (dot[1 + i] - '0');
    }
    *stem_p = stem;
    return n < INT32_MAX ? n : INT32_MAX; /* so large is out of range anyway */
}

static bool in_text_model(const struct check *c, const char *name, const char *last) {
    return strncmp(name, c->prefix, c->prefix_size) == 0 &&
           strcmp(name + c->prefix_size, last) == 0;
}

/* `last` under any dotted beginning of the prefix, or under none. */
static bool around_text_model(const struct check *c, const char *name, const char *last) {
    size_t size = strlen(name);
    size_t last_size = strlen(last);
    if (size < last_size || strcmp(name + size - last_size, last) != 0) {
        return false;
    }
    size_t stem = size - last_size;
    return stem == 0 ||
           (stem <= c->prefix_size && name[stem - 1] == '.' && memcmp(name, c->prefix, stem) == 0);
}

/* Encoders stay at "model." whatever the text model's prefix is (nested models), or stand under a
   beginning of it. */
static bool is_encoder(const struct check *c, const char *name) {
    for (int32_t i = 0; pp_fqn_encoder_name(i) != NULL; i++) {
        const char *last = pp_fqn_encoder_name(i);
        bool at_model = strncmp(name, "model.", 6) == 0 && strcmp(name + 6, last) == 0;
        if (at_model || around_text_model(c, name, last)) {
            return true;
        }
    }
    return false;
}

static enum unique unique_of(const struct check *c, const char *name) {
    if (around_text_model(c, name, unique_names[HEAD])) {
        return HEAD;
    }
    for (enum unique u = EMBEDDING; u < HEAD; u++) {
        if (in_text_model(c, name, unique_names[u])) {
            return u;
        }
    }
    return UNIQUE_COUNT;
}

static enum pp_status check_layer(struct check *c, const char *name, int64_t layer) {
    if (layer >= c->layer_count) {
        return pp_fail(c->err, PP_E_FQN,
                       "part %d lists %.80s, but the model has %d layers (0 to %d)", c->part, name,
                       c->layer_count, c->layer_count - 1);
    }
    if (layer < c->next_layer) {
        return pp_fail(c->err, PP_E_FQN,
                       "part %d lists %.80s, which stands before already; every layer must stand "
                       "exactly once",
                       c->part, name);
    }
    if (layer > c->next_layer) {
        return pp_fail(c->err, PP_E_FQN,
                       "part %d lists %.80s where layer %d was expected: every layer exactly once, "
                       "in ascending order over the parts",
                       c->part, name, c->next_layer);
    }
    c->next_layer++;
    c->part_layers++;
    return PP_OK;
}

static enum pp_status check_unique(struct check *c, const char *name, enum unique u) {
    int32_t wanted = u == EMBEDDING ? 0 : c->lists->part_count - 1;
    if (c->part != wanted) {
        return pp_fail(c->err, PP_E_FQN, "part %d lists %.80s, which belongs in the %s part (%d)",
                       c->part, name, u == EMBEDDING ? "first" : "last", wanted);
    }
    if (c->seen[u]) {
        return pp_fail(c->err, PP_E_FQN, "part %d lists %.80s twice, expected it once", c->part,
                       name);
    }
    c->seen[u] = true;
    return PP_OK;
}

static enum pp_status fail_unknown(struct check *c, const char *name) {
    pp_fail(c->err, PP_E_FQN,
            "part %d lists %.80s, which is not a module of the text model \"%.*s\" (embed_tokens, "
            "layers.<number>, norm, lm_head, rotary_emb) nor a known encoder",
            c->part, name, (int)(c->prefix_size < 80 ? c->prefix_size : 80), c->prefix);
    pp_hint(c->err, "name whole modules: a listed module keeps all its children");
    return PP_E_FQN;
}

static enum pp_status check_name(struct check *c, const char *name) {
    size_t stem;
    int64_t layer = layer_number(name, &stem);
    if (layer >= 0 && stem == c->prefix_size && memcmp(name, c->prefix, stem) == 0) {
        return check_layer(c, name, layer);
    }
    enum unique u = unique_of(c, name);
    if (u != UNIQUE_COUNT) {
        return check_unique(c, name, u);
    }
    if (in_text_model(c, name, "rotary_emb")) {
        return PP_OK;
    }
    if (!is_encoder(c, name)) {
        return fail_unknown(c, name);
    }
    return c->part == 0 ? PP_OK
                        : pp_fail(c->err, PP_E_FQN,
                                  "part %d lists the encoder %.80s, which belongs in the first "
                                  "part (0)",
                                  c->part, name);
}

static enum pp_status check_part(struct check *c) {
    c->part_layers = 0;
    int32_t begin = c->lists->part_begin[c->part];
    int32_t end = c->lists->part_begin[c->part + 1];
    for (int32_t i = begin; i < end; i++) {
        PP_TRY(check_name(c, c->lists->names[i]));
    }
    bool at_an_end = c->part == 0 || c->part == c->lists->part_count - 1;
    if (c->part_layers == 0 && !(at_an_end && end > begin)) {
        return pp_fail(c->err, PP_E_FQN, "part %d holds no layer, expected at least one", c->part);
    }
    return PP_OK;
}

static void count_layers(const struct pp_fqn_lists *lists, int32_t *layer_counts) {
    for (int32_t part = 0; part < lists->part_count; part++) {
        layer_counts[part] = 0;
        for (int32_t i = lists->part_begin[part]; i < lists->part_begin[part + 1]; i++) {
            size_t stem;
            layer_counts[part] += layer_number(lists->names[i], &stem) >= 0;
        }
    }
}

static enum pp_status check_complete(const struct check *c) {
    if (c->next_layer < c->layer_count) {
        return pp_fail(c->err, PP_E_FQN,
                       "the lists end with layer %d, but the model has %d layers (0 to %d)",
                       c->next_layer - 1, c->layer_count, c->layer_count - 1);
    }
    for (enum unique u = EMBEDDING; u < UNIQUE_COUNT; u++) {
        if (!c->seen[u]) {
            return pp_fail(c->err, PP_E_FQN, "no part lists %s, expected it in the %s part (%d)",
                           unique_names[u], u == EMBEDDING ? "first" : "last",
                           u == EMBEDDING ? 0 : c->lists->part_count - 1);
        }
    }
    return PP_OK;
}

static enum pp_status find_prefix(struct check *c) {
    for (int32_t i = 0; i < c->lists->part_begin[c->lists->part_count]; i++) {
        size_t stem;
        if (layer_number(c->lists->names[i], &stem) >= 0) {
            c->prefix = c->lists->names[i];
            c->prefix_size = stem;
            return PP_OK;
        }
    }
    return pp_fail(
        c->err, PP_E_FQN,
        "no part lists a layer; expected names such as model.layers.0 to model.layers.%d",
        c->layer_count - 1);
}

static enum pp_status check_part_count(const struct pp_fqn_lists *lists, int32_t layer_count,
                                       int32_t pp_size, struct pp_err *err) {
    if (layer_count < 1 || pp_size < 1) {
        return pp_fail(err, PP_E_FQN, "%d layers and pp_size %d, expected at least 1 of each",
                       layer_count, pp_size);
    }
    if (lists->part_count < 1 || lists->part_count % pp_size != 0) {
        return pp_fail(err, PP_E_FQN,
                       "module_fqns_per_model_part has %d parts, expected a multiple of pp_size %d",
                       lists->part_count, pp_size);
    }
    return PP_OK;
}

enum pp_status pp_fqn_check(const struct pp_fqn_lists *lists, int32_t layer_count, int32_t pp_size,
                            int32_t *layer_counts, struct pp_err *err) {
    PP_TRY(check_part_count(lists, layer_count, pp_size, err));
    struct check c = {.lists = lists, .layer_count = layer_count, .err = err};
    PP_TRY(find_prefix(&c));
    for (c.part = 0; c.part < lists->part_count; c.part++) {
        PP_TRY(check_part(&c));
    }
    PP_TRY(check_complete(&c));
    if (layer_counts != NULL) {
        count_layers(lists, layer_counts);
    }
    return PP_OK;
}
