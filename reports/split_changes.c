#include "reports/split_changes.h"

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
   one. Two full stages a rank suit every schedule that any count suits, so small ones end there. */
static int32_t legal_layers(const struct pp_split_request *asked) {
    struct pp_split_request r = *asked;
    bool upwards = asked->layer_count < 1;
    int64_t per_stage = asked->has_layers_per_stage ? asked->layers_per_stage : 1;
    int64_t enough = upwards ? INT64_C(2) * asked->pp_size * per_stage : PP_MAX_LAYERS;
    int32_t nearest = upwards ? 1 : PP_MAX_LAYERS;
    for (int64_t i = 0; i < enough && i < PP_MAX_LAYERS; i++) {
        r.layer_count = nearest + (int32_t)(upwards ? i : -i);
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

/* Automodel places its stages where its order does not look for them. */
static bool would_hang(const struct pp_schedule_info *info) {
    return info->placement != info->automodel_placement;
}

/* Schedules of one kind and placement need the same other changes: the likeliest stands for them.
 */
static bool is_like_earlier(const struct pp_schedule_info *const *nearest, int32_t index) {
    for (int32_t i = 0; i < index; i++) {
        if (nearest[i]->kind == nearest[index]->kind &&
            nearest[i]->placement == nearest[index]->placement && !would_hang(nearest[i])) {
            return true;
        }
    }
    return false;
}

static void search_schedules(struct search *s) {
    const struct pp_schedule_info *nearest[MAX_SCHEDULES];
    PP_ASSERT(pp_schedule_torch_count() <= MAX_SCHEDULES);
    pp_schedule_nearest(s->asked->schedule, nearest);
    for (int32_t i = 0; i < pp_schedule_torch_count(); i++) {
        struct pp_split_request req = s->asked->req;
        pp_split_use_schedule(&req, nearest[i]);
        if (!would_hang(nearest[i]) && (works(&req) || !is_like_earlier(nearest, i))) {
            search_under(s, s->asked->req, nearest[i]);
        }
    }
}

int32_t pp_split_changes(const struct pp_split_asked *asked, struct pp_split_change *changes) {
    struct search s = {.asked = asked, .found = calloc(MAX_FOUND, sizeof *s.found)};
    if (s.found == NULL) {
        return 0; /* advice only: the error itself is told all the same */
    }
    if (asked->info != NULL) {
        search_under(&s, asked->req, NULL);
    } else {
        search_schedules(&s);
    }
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
