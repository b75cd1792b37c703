/* The shipped model catalogue: data/models files, compiled in. A file holds `models`, a list of
 * {id, aliases, source, shape | depth}; `shared` are keys that all shapes of the file have. */
#include "costmodel/embedded.h"
#include "costmodel/model.h"
#include "costmodel/split.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 128 };

/* A name a model is reached by: its id or an alias. */
struct name {
    char text[NAME_BYTES];
    char loose[NAME_BYTES]; /* last path component, letters and digits only, lower case */
    int32_t model;
    bool is_id;
};

struct pp_catalogue {
    struct pp_model *models;
    int32_t model_count, model_capacity;
    struct name *names;
    int32_t name_count, name_capacity;
};

/** Makes room for one more element. */
static bool grow(void **array_p, size_t element_size, int32_t count, int32_t *capacity_p) {
    if (count < *capacity_p) {
        return true;
    }
    int32_t capacity = *capacity_p < 16 ? 16 : *capacity_p * 2;
    void *array = realloc(*array_p, (size_t)capacity * element_size);
    if (array == NULL) {
        return false;
    }
    *array_p = array;
    *capacity_p = capacity;
    return true;
}

static void loosen(const char *text, char loose[NAME_BYTES]) {
    size_t end = strlen(text);
    while (end > 0 && text[end - 1] == '/') {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && text[begin - 1] != '/') {
        begin--;
    }
    size_t n = 0;
    for (size_t i = begin; i < end && n + 1 < NAME_BYTES; i++) {
        char c = pp_lower(text[i]);
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
            loose[n++] = c;
        }
    }
    loose[n] = '\0';
}

static enum pp_status add_name(struct pp_catalogue *cat, const char *text, bool is_id,
                               struct pp_err *err) {
    void *names = cat->names;
    if (!grow(&names, sizeof *cat->names, cat->name_count, &cat->name_capacity)) {
        return pp_fail(err, PP_E_NOMEM, "out of memory reading the model catalogue");
    }
    cat->names = names;
    struct name *name = &cat->names[cat->name_count++];
    name->model = cat->model_count; /* the entry being read */
    name->is_id = is_id;
    pp_copy(name->text, sizeof name->text, text);
    loosen(text, name->loose);
    return PP_OK;
}

static enum pp_status read_names(struct pp_catalogue *cat, const struct pp_doc *doc,
                                 const struct pp_node *entry, const char **id_p,
                                 struct pp_err *err) {
    const struct pp_node *id = pp_node_get(entry, "id");
    if (id == NULL || pp_node_text(id) == NULL) {
        return pp_node_fail(err, doc, entry, PP_E_KEY, "a catalogue entry has no id");
    }
    *id_p = pp_node_text(id);
    PP_TRY(add_name(cat, *id_p, true, err));
    const struct pp_node *aliases = pp_node_get(entry, "aliases");
    for (int32_t i = 0; aliases != NULL && i < pp_node_count(aliases); i++) {
        const char *text = pp_node_text(pp_node_item(aliases, i));
        if (text == NULL) {
            return pp_node_fail(err, doc, aliases, PP_E_TYPE, "an alias of %s is not a string",
                                *id_p);
        }
        PP_TRY(add_name(cat, text, false, err));
    }
    return PP_OK;
}

static enum pp_status read_shape(const struct pp_doc *doc, const struct pp_node *shared,
                                 const struct pp_node *entry, struct pp_model *m,
                                 struct pp_err *err) {
    const struct pp_node *shape = pp_node_get(entry, "shape");
    if (shape != NULL) {
        return pp_model_from_node(doc, shared != NULL ? shared : shape, doc, shape, m, err);
    }
    int64_t depth = 0;
    const struct pp_node *node = pp_node_get(entry, "depth");
    if (node == NULL || !pp_node_get_int(node, &depth) || depth < 1 || depth > PP_MAX_LAYERS) {
        return pp_node_fail(err, doc, entry, PP_E_KEY,
                            "a catalogue entry has neither a shape nor a depth");
    }
    *m = (struct pp_model){.layer_count = (int32_t)depth};
    return PP_OK;
}

static enum pp_status read_entry(struct pp_catalogue *cat, const struct pp_doc *doc,
                                 const struct pp_node *shared, const struct pp_node *entry,
                                 struct pp_err *err) {
    const char *id = NULL;
    PP_TRY(read_names(cat, doc, entry, &id, err));
    void *models = cat->models;
    if (!grow(&models, sizeof *cat->models, cat->model_count, &cat->model_capacity)) {
        return pp_fail(err, PP_E_NOMEM, "out of memory reading the model catalogue");
    }
    cat->models = models;
    struct pp_model m;
    PP_TRY(read_shape(doc, shared, entry, &m, err));
    pp_copy(m.id, sizeof m.id, id);
    const struct pp_node *source = pp_node_get(entry, "source");
    const char *text = source != NULL ? pp_node_text(source) : NULL;
    pp_copy(m.source, sizeof m.source, text != NULL ? text : "");
    cat->models[cat->model_count++] = m;
    return PP_OK;
}

static enum pp_status read_file(struct pp_catalogue *cat, const struct pp_embedded_file *file,
                                struct pp_err *err) {
    struct pp_doc *doc = NULL;
    PP_TRY(pp_doc_parse(file->name, file->text, strlen(file->text), &doc, err));
    const struct pp_node *shared = pp_doc_find(doc, "shared");
    const struct pp_node *models = pp_doc_find(doc, "models");
    enum pp_status status = PP_OK;
    for (int32_t i = 0; models != NULL && i < pp_node_count(models) && status == PP_OK; i++) {
        status = read_entry(cat, doc, shared, pp_node_item(models, i), err);
    }
    pp_doc_destroy(doc);
    return status;
}

enum pp_status pp_catalogue_open(struct pp_catalogue **cat_p, struct pp_err *err) {
    struct pp_catalogue *cat = calloc(1, sizeof *cat);
    if (cat == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory reading the model catalogue");
    }
    for (const struct pp_embedded_file *file = pp_embedded_models; file->name != NULL; file++) {
        enum pp_status status = read_file(cat, file, err);
        if (status != PP_OK) {
            pp_catalogue_close(cat);
            return status;
        }
    }
    *cat_p = cat;
    return PP_OK;
}

void pp_catalogue_close(struct pp_catalogue *cat) {
    if (cat != NULL) {
        free(cat->models);
        free(cat->names);
        free(cat);
    }
}

int32_t pp_catalogue_count(const struct pp_catalogue *cat) {
    return cat->model_count;
}

const struct pp_model *pp_catalogue_at(const struct pp_catalogue *cat, int32_t index) {
    return index >= 0 && index < cat->model_count ? &cat->models[index] : NULL;
}

const struct pp_model *pp_catalogue_find(const struct pp_catalogue *cat, const char *model_id) {
    for (int32_t want_id = 1; want_id >= 0; want_id--) {
        for (int32_t i = 0; i < cat->name_count; i++) {
            if (cat->names[i].is_id == (want_id == 1) &&
                strcmp(cat->names[i].text, model_id) == 0) {
                return &cat->models[cat->names[i].model];
            }
        }
    }
    char loose[NAME_BYTES];
    loosen(model_id, loose);
    for (int32_t i = 0; loose[0] != '\0' && i < cat->name_count; i++) {
        if (strcmp(cat->names[i].loose, loose) == 0) {
            return &cat->models[cat->names[i].model];
        }
    }
    return NULL;
}
