/**
 * @file split_changes.h
 * A split as a user asks for it, and the option changes that make a refused one work.
 */
#ifndef PP_REPORTS_SPLIT_CHANGES_H
#define PP_REPORTS_SPLIT_CHANGES_H

#include "costmodel/split.h"
#include "sim/generate.h"

#include <jansson.h>

/** Values out of range are kept as the nearest refused value, so that fixes can be asked for. */
struct pp_split_asked {
    struct pp_split_request req;
    const char *schedule;                /* as written */
    const struct pp_schedule_info *info; /* NULL if unknown */
};

/** Options of `pipeplan split` to change together. */
struct pp_split_change {
    bool sets_layers;
    int32_t layer_count;
    const struct pp_schedule_info *schedule; /* NULL: as it is */
    struct pp_split_fix rest;
};

enum { PP_SPLIT_MAX_CHANGES = 8 };

/** How Automodel places and counts stages under a schedule. */
void pp_split_use_schedule(struct pp_split_request *req, const struct pp_schedule_info *info);

/**
 * Changes that make a refused split succeed: fewest options first, then the smallest change of
 * layers per stage, then as pp_split_fixes orders them. Each was tried. Another layer count is
 * offered only where the one given is out of range.
 * @param changes  [PP_SPLIT_MAX_CHANGES]; @return their number
 */
int32_t pp_split_changes(const struct pp_split_asked *asked, struct pp_split_change *changes);

/** {"--layers-per-stage": 4, "--round": "up"} */
json_t *pp_split_change_json(const struct pp_split_change *change);

/** "--layers-per-stage 4 --round up" */
void pp_split_change_text(const struct pp_split_change *change, struct pp_text *out);

#endif
