#include "reports/cli/split_cases.h"

#include <stdlib.h>

/* A schedule adds at most its own name, or what pp_split_fixes knows. */
enum { MAX_SCHEDULES = 64, MAX_FOUND = MAX_SCHEDULES * PP_SPLIT_MAX_FIXES, ENOUGH = 3 };

struct found {
    struct pp_split_change change;
    int32_t option_count;
    int64_t layers_distance;
};

struct search {
    const struct pp_split_asked *asked;
    int32_t count;
    struct found *found; /* [MAX_FOUND] */
};

void pp_split_use_schedule(struct pp_split_request *req, const struct pp_schedule_info *info) {
    req->kind = info->kind;
    req->placement = info->automodel_placement;
}

static bool works(const struct pp_split_request *req) {
    struct pp_split split;
    return pp_split_stages(req, &split, NULL) == PP_OK;
}

static bool layers_in_range(const struct pp_split_request *req) {
    return req->layer_count >= 1 && req->layer_count <= PP_MAX_LAYERS;
}

static void add(struct search *s, const struct pp_split_change *change) {
    const struct pp_split_fix *rest = &change->rest;
    const struct pp_split_request *req = &s->asked->req;
    struct found f = {.change = *change};
    f.option_count = change->sets_layers + (change->schedule != NULL) +
                     rest->sets_layers_per_stage + rest->sets_round + rest->sets_pp;
    if (rest->sets_layers_per_stage && req->has_layers_per_stage) {
        f.layers_distance = llabs((long long)rest->layers_per_stage - req->layers_per_stage);
    }
    int32_t at = s->count++;
    for (; at > 0; at--) { /* equal ones stay in the order they came */
        const struct found *before = &s->found[at - 1];
        if (before->option_count < f.option_count ||
            (before->option_count == f.option_count &&
             before->layers_distance <= f.layers_distance)) {
            break;
        }
        s->found[at] = *before;
    }
    s->found[at] = f;
}

/* The schedule that stands for its kind in advice. */
static const struct pp_schedule_info *representative(enum pp_schedule_kind kind) {
    const struct pp_schedule_info *info = NULL;
    pp_schedule_find(kind == PP_KIND_SINGLE ? "1F1B" : "Interleaved1F1B", &info, NULL);
    PP_ASSERT(info != NULL && info->kind == kind && info->automodel_placement == PP_PLACE_LOOP);
    return info;
}

/* The layer count nearest to one out of range that needs no other change; else the nearest legal
   one. */
static int32_t legal_layers(const struct pp_split_request *asked) {
    struct pp_split_request r = *asked;
    int32_t step = asked->layer_count < 1 ? 1 : -1;
    int32_t nearest = step > 0 ? 1 : PP_MAX_LAYERS;
    for (r.layer_count = nearest; layers_in_range(&r); r.layer_count += step) {
        if (works(&r)) {
            return r.layer_count;
        }
    }
    return nearest;
}

/* Everything that works under one schedule; `schedule` is NULL where the user's own is known. */
static void search_under(struct search *s, struct pp_split_request req,
                         const struct pp_schedule_info *schedule) {
    struct pp_split_change change = {.schedule = schedule};
    if (schedule != NULL) {
        pp_split_use_schedule(&req, schedule);
    }
    if (!layers_in_range(&req)) {
        req.layer_count = legal_layers(&req);
        change.sets_layers = true;
        change.layer_count = req.layer_count;
    }
    if (works(&req)) {
        add(s, &change);
        return;
    }
    struct pp_split_fix fixes[PP_SPLIT_MAX_FIXES];
    int32_t count = pp_split_fixes(&req, fixes);
    for (int32_t i = 0; i < count; i++) {
        change.rest = fixes[i];
        change.schedule = fixes[i].sets_schedule ? representative(fixes[i].kind) : schedule;
        if (schedule == NULL || !fixes[i].sets_schedule) {
            add(s, &change);
        }
    }
}

static void search_all(struct search *s) {
    const struct pp_split_asked *asked = s->asked;
    if (asked->info != NULL) {
        search_under(s, asked->req, NULL);
        return;
    }
    const struct pp_schedule_info *nearest[MAX_SCHEDULES];
    PP_ASSERT(pp_schedule_count() <= MAX_SCHEDULES);
    pp_schedule_nearest(asked->schedule, nearest);
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        if (nearest[i]->placement == nearest[i]->automodel_placement) { /* else it would hang */
            search_under(s, asked->req, nearest[i]);
        }
    }
}

int32_t pp_split_changes(const struct pp_split_asked *asked, struct pp_split_change *changes) {
    struct search s = {.asked = asked, .found = calloc(MAX_FOUND, sizeof *s.found)};
    if (s.found == NULL) {
        return 0; /* advice only: the error itself is told all the same */
    }
    search_all(&s);
    int32_t count = 0;
    for (int32_t i = 0; i < s.count && count < PP_SPLIT_MAX_CHANGES; i++) {
        if (count >= ENOUGH && s.found[i].option_count > s.found[i - 1].option_count) {
            break;
        }
        changes[count++] = s.found[i].change;
    }
    free(s.found);
    return count;
}

json_t *pp_split_change_json(const struct pp_split_change *change) {
    const struct pp_split_fix *rest = &change->rest;
    json_t *object = json_object();
    if (change->sets_layers) {
        json_object_set_new(object, "--layers", json_integer(change->layer_count));
    }
    if (rest->sets_layers_per_stage) {
        json_object_set_new(object, "--layers-per-stage", json_integer(rest->layers_per_stage));
    }
    if (rest->sets_round) {
        json_object_set_new(object, "--round", json_string(pp_round_name(rest->round)));
    }
    if (rest->sets_pp) {
        json_object_set_new(object, "--pp", json_integer(rest->pp_size));
    }
    if (change->schedule != NULL) {
        json_object_set_new(object, "--schedule", json_string(change->schedule->name));
    }
    return object;
}

void pp_split_change_text(const struct pp_split_change *change, struct pp_text *out) {
    json_t *object = pp_split_change_json(change);
    const char *blank = "";
    const char *flag;
    json_t *value;
    json_object_foreach(object, flag, value) {
        pp_text_printf(out, "%s%s ", blank, flag);
        if (json_is_integer(value)) {
            pp_text_printf(out, "%lld", (long long)json_integer_value(value));
        } else {
            pp_text_puts(out, json_string_value(value));
        }
        blank = " ";
    }
    json_decref(object);
}
